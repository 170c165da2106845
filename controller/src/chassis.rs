//! This chassis's own rows in the southbound: Chassis, its Encaps, Chassis_Private.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Set, Str};

use crate::config::{CONFIG, Config, EncapSetting, ME, Me};
use crate::index::Index;
use crate::program::{Controller, Key, Output, Read};

/// Emits [`OwnChassis`].
pub const OWN: Kind<Controller> = Kind::pure("own-chassis", &["me", "config"], own);

/// What Chassis and Encap should say of us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnChassis {
    /// Name of the chassis.
    pub name: Str,
    /// Name of the host.
    pub hostname: Str,
    /// Features and settings that others look at.
    pub other_config: Map<Str, Str>,
    /// The zones within which tunnels are made; empty means the default zone.
    pub transport_zones: Set<Str>,
    /// Tunnel ends.
    pub encaps: Vec<EncapSetting>,
    /// Options of every tunnel end.
    pub encap_options: Map<Str, Str>,
    /// The address that others are to use where nothing else is said.
    pub encap_default: Option<Str>,
}

/// What this controller can do, in the names northd looks for.
const FEATURES: &[&str] = &[
    "port-up-notif",
    "ovn-ct-lb-related",
    "ct-no-masked-label",
    "mac-binding-timestamp",
    "fdb-timestamp",
];

fn own(cx: &Cx<'_, Controller>, _: Key) {
    let vs = cx.vs_rec();
    let (Some(me), Some(config)) = (
        cx.value::<Me>(ME.id(), Key::Global),
        cx.value::<Config>(CONFIG.id(), Key::Global),
    ) else {
        return;
    };
    if config.encaps.is_empty() {
        return;
    }
    let mut other: Vec<(Str, Str)> = config
        .passed_on
        .iter()
        .map(|(key, value)| (Str::from(*key), value.clone()))
        .collect();
    other.extend(
        FEATURES
            .iter()
            .map(|&feature| (Str::from(feature), Str::from("true"))),
    );
    let bridge = cx.lookup_one(Index::BridgeByName, &*config.bridge);
    let datapath_type = bridge
        .and_then(|uuid| cx.vs().bridge.tracked(uuid, &vs))
        .map_or_else(|| Str::from(""), |row| row.datapath_type().clone());
    other.push(("datapath-type".into(), datapath_type));
    let types = cx
        .lookup_one(Index::OpenVswitch, ())
        .and_then(|uuid| cx.vs().open_vswitch.tracked(uuid, &vs))
        .map(|row| {
            row.iface_types()
                .iter()
                .map(|t| &**t)
                .collect::<Vec<_>>()
                .join(",")
        })
        .unwrap_or_default();
    other.push(("iface-types".into(), types.into()));
    let mut encap_options = vec![(
        Str::from("csum"),
        Str::from(if config.encap_csum { "true" } else { "false" }),
    )];
    if let Some(tos) = &config.encap_tos {
        encap_options.push(("tos".into(), tos.clone()));
    }
    cx.emit(Output::Chassis(Arc::new(OwnChassis {
        name: me.name.clone(),
        hostname: me.hostname.clone(),
        other_config: other.into(),
        transport_zones: config.transport_zones.clone().into(),
        encaps: config.encaps.clone(),
        encap_options: encap_options.into(),
        encap_default: config.encap_default.clone(),
    })));
}
