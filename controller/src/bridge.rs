//! The integration bridge and the ports of Open vSwitch that the controller keeps.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::config::{CONFIG, Config};
use crate::index::Index;
use crate::program::{Controller, Key, Output, Read};

/// Publishes [`IntegrationBridge`] and emits how it must be.
pub const BRIDGE: Kind<Controller> = Kind::pure("bridge", &["config"], bridge);

/// The integration bridge as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationBridge {
    /// Its row.
    pub uuid: Uuid,
    /// Its name.
    pub name: Str,
}

/// The integration bridge as it must be. Without a row it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Its name.
    pub name: Str,
    /// Its datapath type, if that is said; an existing bridge otherwise keeps its own.
    pub datapath_type: Option<Str>,
}

/// A port that the controller keeps, with its one interface of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnPort {
    /// The bridge it is on.
    pub bridge: Str,
    /// Name of port and interface.
    pub name: Str,
    /// Type of the interface.
    pub kind: Str,
    /// Options of the interface.
    pub options: Map<Str, Str>,
    /// BFD of the interface; empty for none.
    pub bfd: Map<Str, Str>,
    /// The key of external_ids that marks the port as ours and says for what.
    pub mark: (&'static str, Str),
    /// What the interface's external_ids must hold at least.
    pub ids: Map<Str, Str>,
    /// The MTU that the interface is to have, if that is said.
    pub mtu: Option<i64>,
}

/// Keys of Port.external_ids that mark a port as kept by the controller.
pub const MARKS: [&str; 7] = [
    crate::plug::PLUGGED,
    "ovn-mirror",
    "ovn-chassis-id",
    "ovn-localnet-port",
    "ovn-l2gateway-port",
    "ovn-l3gateway-port",
    "ovn-logical-patch-port",
];

fn bridge(cx: &Cx<'_, Controller>, _: Key) {
    let Some(config) = cx.value::<Config>(CONFIG.id(), Key::Global) else {
        return;
    };
    cx.emit(Output::Bridge(Arc::new(Wanted {
        name: config.bridge.clone(),
        datapath_type: config.datapath_type.clone(),
    })));
    if let Some(uuid) = cx.lookup_one(Index::BridgeByName, &*config.bridge) {
        cx.publish(IntegrationBridge {
            uuid,
            name: config.bridge.clone(),
        });
    }
}
