//! Interfaces of the integration bridge: who they are and their OpenFlow port numbers.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Str, Uuid};

use crate::bridge::{BRIDGE, IntegrationBridge};
use crate::index::Index;
use crate::program::{Controller, Key, Read};

/// Publishes [`Iface`] for every interface that is on the integration bridge; keyed by interface.
pub const IFACE: Kind<Controller> = Kind::pure("iface", &["bridge"], iface);

/// An interface of the integration bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iface {
    /// Its OpenFlow port number; absent while Open vSwitch has not given it one, or could not.
    pub ofport: Option<u32>,
    /// external_ids:iface-id-ver.
    pub version: Option<Str>,
    /// external_ids:encap-ip.
    pub encap_ip: Option<Str>,
    /// Whether BFD sees the other end.
    pub bfd_up: bool,
    /// Its MTU; where Open vSwitch does not know it, the one that it is to have.
    pub mtu: Option<u16>,
}

fn iface(cx: &Cx<'_, Controller>, key: Key) {
    let vs = cx.vs_rec();
    let uuid = key.row();
    let Some(bridge) = cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global) else {
        return;
    };
    let Some(port) = cx.lookup_one(Index::PortOfInterface, uuid) else {
        return;
    };
    if !cx.lookup(Index::BridgeOfPort, port).contains(&bridge.uuid) {
        return;
    }
    let Some(row) = cx.vs().interface.tracked(uuid, &vs) else {
        return;
    };
    let ofport = row
        .ofport()
        .and_then(|n| u32::try_from(n).ok())
        .filter(|&n| n > 0);
    cx.publish(Iface {
        ofport,
        version: row.external_ids().nonempty("iface-id-ver").cloned(),
        encap_ip: row.external_ids().nonempty("encap-ip").cloned(),
        bfd_up: row
            .bfd_status()
            .get("state")
            .is_some_and(|state| &**state == "up"),
        mtu: row
            .mtu()
            .or(*row.mtu_request())
            .and_then(|mtu| u16::try_from(mtu).ok()),
    });
}

/// The OpenFlow port of a port row of the integration bridge (its first interface).
pub fn ofport_of(cx: &Cx<'_, Controller>, port: Uuid) -> Option<u32> {
    iface_of(cx, port)?.ofport
}

/// The first interface of a port row of the integration bridge.
pub fn iface_of(cx: &Cx<'_, Controller>, port: Uuid) -> Option<Arc<Iface>> {
    let vs = cx.vs_rec();
    let row = cx.vs().port.tracked(port, &vs)?;
    let iface = row.interfaces().first().copied()?;
    cx.value::<Iface>(IFACE.id(), Key::Row(iface))
}
