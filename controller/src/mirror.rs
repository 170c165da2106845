//! Mirrors of the southbound: Open vSwitch copies the packets of ports that are here.
//!
//! Guarantees: a mirror exists here for as long as a port that asks for it does and there is somewhere to send the copies;
//! only ports with an interface of their own are copied. A tunnel (`gre`, `erspan`) is the controller's port; the port of a
//! `local` mirror is whoever's put the mirror's sink into its interface's `external_ids:mirror-id`.

use std::net::IpAddr;
use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Set, Str, Uuid};
use weft_schemas::sb;

use crate::binding::{Attachment, BINDING, Place, attached_port};
use crate::bridge::{BRIDGE, IntegrationBridge, OwnPort};
use crate::index::Index;
use crate::physical::diagnose;
use crate::program::{Controller, Diagnostic, Key, Output, Read, SbRead};

/// Emits a mirror; keyed by its row in the southbound.
pub const MIRROR: Kind<Controller> = Kind::pure("mirror", &["bridge", "iface", "binding"], mirror);

/// A mirror of Open vSwitch that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnMirror {
    /// Its name.
    pub name: Str,
    /// Ports of which what they send is copied.
    pub from: Set<Uuid>,
    /// Ports of which what they get is copied.
    pub to: Set<Uuid>,
    /// The port that gets the copies.
    pub output: Uuid,
}

/// The name of the tunnel port of a mirror.
pub fn tunnel_name(mirror: &str) -> Str {
    format!("ovn-{mirror}").into()
}

fn mirror(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().mirror.tracked(key.row(), &rec) else {
        return;
    };
    let Some(bridge) = cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global) else {
        return;
    };
    let ports = copied(cx, row);
    if ports.is_empty() {
        return;
    }
    let complain = |message: String| {
        cx.diagnose(Diagnostic {
            row: format!("Mirror {}", row.name()),
            column: "sink",
            message,
            uuid: key.row(),
        });
    };
    let output = match &**row.type_() {
        "gre" | "erspan" => {
            let Ok(address) = row.sink().parse::<IpAddr>() else {
                complain(format!(
                    "\"{}\" is no IP address: nothing is mirrored",
                    row.sink()
                ));
                return;
            };
            let port = tunnel(&bridge.name, row, address);
            let name = port.name.clone();
            cx.emit(Output::VsPort(Arc::new(port)));
            cx.lookup_one(Index::VsPortByName, &*name)
        }
        "local" => {
            let port = target(cx, row.sink(), bridge.uuid);
            if port.is_none() {
                let sink = row.sink();
                complain(format!(
                    "no interface here has mirror-id={sink}: nothing is mirrored"
                ));
            }
            port
        }
        other => {
            complain(format!(
                "\"{other}\" is none of gre, erspan, local: nothing is mirrored"
            ));
            return;
        }
    };
    let Some(output) = output else { return };
    let only = |asked: bool| -> Set<Uuid> {
        let ports = ports.iter().copied();
        ports.filter(|port| asked && *port != output).collect()
    };
    let (from, to) = (
        &**row.filter() != "to-lport",
        &**row.filter() != "from-lport",
    );
    cx.emit(Output::Mirror(Arc::new(OwnMirror {
        name: row.name().clone(),
        from: only(from),
        to: only(to),
        output,
    })));
}

type MirrorRef<'a, 'x, 'y> = sb::MirrorRef<'a, SbRead<'x, 'y>>;

/// The ports of Open vSwitch whose packets are copied.
fn copied(cx: &Cx<'_, Controller>, row: MirrorRef<'_, '_, '_>) -> Vec<Uuid> {
    let rec = cx.sb_rec();
    let mut ports = Vec::new();
    for &uuid in cx.lookup(Index::PortsOfMirror, row.uuid()) {
        let Some(place) = cx.value::<Place>(BINDING.id(), Key::Row(uuid)) else {
            continue;
        };
        let Some(binding) = cx.sb().port_binding.tracked(uuid, &rec) else {
            continue;
        };
        match &*place {
            Place::Here(Attachment { parent: None, .. }) => {
                ports.extend(attached_port(cx, binding))
            }
            Place::Here(_) | Place::HereLogical => diagnose(
                cx,
                uuid,
                "mirror_rules",
                format!(
                    "the port has no interface of its own: {} does not copy it",
                    row.name()
                ),
            ),
            _ => {}
        }
    }
    ports
}

/// The tunnel of a mirror.
fn tunnel(bridge: &Str, row: MirrorRef<'_, '_, '_>, to: IpAddr) -> OwnPort {
    let kind = match (&**row.type_(), to) {
        ("gre", IpAddr::V4(_)) => "gre",
        ("gre", IpAddr::V6(_)) => "ip6gre",
        (_, IpAddr::V4(_)) => "erspan",
        (_, IpAddr::V6(_)) => "ip6erspan",
    };
    let index = Str::from(row.index().to_string());
    let mut options: Vec<(Str, Str)> = vec![
        ("key".into(), index.clone()),
        ("remote_ip".into(), to.to_string().into()),
    ];
    if kind.ends_with("erspan") {
        options.push(("erspan_idx".into(), index));
        options.push(("erspan_ver".into(), "1".into()));
    }
    OwnPort {
        bridge: bridge.clone(),
        name: tunnel_name(row.name()),
        kind: kind.into(),
        options: options.into(),
        bfd: Default::default(),
        mark: ("ovn-mirror", row.name().clone()),
        ids: Default::default(),
        mtu: None,
    }
}

/// The port of the integration bridge that takes the copies of `local` mirrors with that sink.
fn target(cx: &Cx<'_, Controller>, sink: &str, bridge: Uuid) -> Option<Uuid> {
    let ports = cx.lookup(Index::MirrorTarget, sink).iter();
    let mut ports = ports.filter_map(|iface| cx.lookup_one(Index::PortOfInterface, iface));
    ports.find(|port| cx.lookup(Index::BridgeOfPort, port).contains(&bridge))
}
