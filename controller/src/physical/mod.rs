//! Between logical ports and OpenFlow ports: the flows that ovn-architecture(7) describes for tables 0 and 37 to 41, 64
//! and 65.

pub mod chassis_mac;
pub mod hairpin;
mod large;
pub mod multicast;
pub mod neighbors;
mod output;
pub mod port_security;
pub mod tunnel;
mod vif;

use weft_engine::{Cx, Kind};
use weft_openflow::{Action, ActionList, Field, Match};
use weft_ovsdb::model::Uuid;

use crate::binding::{BINDING, Place, others};
use crate::config::{ME, Me};
use crate::flow::{REG_CT_ZONE, REG_DNAT_ZONE, REG_FLAGS, REG_OUTPORT, REG_SNAT_ZONE, emit};
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Key, Read};
use crate::tables::{self, flag};
use crate::zones::{DATAPATH_ZONES, DatapathZones, PORT_ZONE};

/// Flows that do not depend on anything.
pub const DEFAULTS: Kind<Controller> = Kind::pure("physical-defaults", &[], defaults);

/// Everything about one logical port; keyed by port binding.
pub const PORT: Kind<Controller> = Kind::pure(
    "physical-port",
    &[
        "me",
        "binding",
        "local-datapath",
        "port-zone",
        "datapath-zones",
        "tunnel",
        "link",
    ],
    port,
);

/// The bit of a VLAN TCI that says that there is a tag.
pub(crate) const VLAN_PRESENT: u32 = 0x1000;

/// A logical port as flows need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// Its row.
    pub uuid: Uuid,
    /// Its datapath's row.
    pub datapath: Uuid,
    /// Its datapath's tunnel key.
    pub dp_key: u32,
    /// Its own tunnel key.
    pub key: u32,
}

impl Port {
    /// The port if its datapath matters here.
    pub fn local(cx: &Cx<'_, Controller>, uuid: Uuid) -> Option<Port> {
        let rec = cx.sb_rec();
        let row = cx.sb().port_binding.tracked(uuid, &rec)?;
        let local = cx.value::<Local>(LOCAL.id(), Key::Row(*row.datapath()))?;
        Some(Port {
            uuid,
            datapath: *row.datapath(),
            dp_key: local.key,
            key: port_key(*row.tunnel_key())?,
        })
    }

    /// Matches packets to this port.
    pub fn to(&self) -> Match {
        Match::any()
            .with(Field::Metadata, self.dp_key)
            .with(REG_OUTPORT, self.key)
    }

    pub(crate) fn cookie(&self) -> u32 {
        self.uuid.short()
    }
}

/// A tunnel key of a port, if it is one.
pub(crate) fn port_key(key: i64) -> Option<u32> {
    u32::try_from(key)
        .ok()
        .filter(|key| (1..1 << 16).contains(key))
}

/// Sets the zones of a port and its datapath.
pub(crate) fn load_zones(cx: &Cx<'_, Controller>, port: &Port, out: &mut Vec<Action>) {
    if let Some(zone) = cx.value::<u16>(PORT_ZONE.id(), Key::Row(port.uuid)) {
        out.push(Action::set(REG_CT_ZONE, *zone));
    }
    if let Some(zones) = cx.value::<DatapathZones>(DATAPATH_ZONES.id(), Key::Row(port.datapath)) {
        out.push(Action::set(REG_DNAT_ZONE, zones.dnat));
        out.push(Action::set(REG_SNAT_ZONE, zones.snat));
    }
}

fn defaults(cx: &Cx<'_, Controller>, _: Key) {
    let flag_set = |bit: u32| Match::any().with_masked(REG_FLAGS, bit, bit);
    let to = |table: u8| ActionList::from([Action::resubmit(table)]);
    let any = Match::any;
    let drop = ActionList::new;
    emit(cx, tables::PHY_TO_LOG, 0, 0, any(), drop());
    emit(
        cx,
        tables::OUTPUT_LARGE_DETECT,
        0,
        0,
        any(),
        to(tables::REMOTE_OUTPUT),
    );
    // What is answered locally may go back where it came from; it never needs a tunnel.
    emit(
        cx,
        tables::OUTPUT_LARGE_PROCESS,
        10,
        0,
        flag_set(flag::ALLOW_LOOPBACK),
        to(tables::LOCAL_OUTPUT),
    );
    emit(
        cx,
        tables::OUTPUT_LARGE_PROCESS,
        0,
        0,
        any(),
        to(tables::REMOTE_OUTPUT),
    );
    emit(
        cx,
        tables::REMOTE_OUTPUT,
        150,
        0,
        flag_set(flag::LOCAL_ONLY),
        to(tables::LOCAL_OUTPUT),
    );
    let ramp = any().with_masked(
        REG_FLAGS,
        flag::RCV_FROM_RAMP,
        flag::RCV_FROM_RAMP | flag::ALLOW_LOOPBACK,
    );
    emit(
        cx,
        tables::REMOTE_OUTPUT,
        150,
        0,
        ramp,
        to(tables::LOCAL_OUTPUT),
    );
    emit(
        cx,
        tables::REMOTE_OUTPUT,
        0,
        0,
        any(),
        to(tables::LOCAL_OUTPUT),
    );
    emit(cx, tables::LOCAL_OUTPUT, 0, 0, any(), drop());
    let mut clear: Vec<Action> = (0..10).map(|n| Action::set(Field::reg(n), 0u32)).collect();
    clear.push(Action::resubmit(tables::LOG_EGRESS));
    emit(cx, tables::CHECK_LOOPBACK, 0, 0, any(), clear.as_slice());
    emit(cx, tables::SAVE_INPORT, 0, 0, any(), to(tables::LOG_TO_PHY));
    emit(cx, tables::LOG_TO_PHY, 0, 0, any(), drop());
}

fn port(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let Some(place) = cx.value::<Place>(BINDING.id(), key) else {
        return;
    };
    let Some(port) = Port::local(cx, uuid) else {
        return;
    };
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    let kind = &**row.type_();
    // Only a VIF can be at several places.
    let elsewhere = || match cx.value::<Me>(ME.id(), Key::Global) {
        Some(me) if kind.is_empty() => others(&me, row),
        _ => Vec::new(),
    };
    match &*place {
        Place::Here(attachment) => {
            vif::input(cx, &port, kind, attachment);
            vif::output(cx, &port, attachment);
            output::local(cx, &port, kind);
            if kind.is_empty() {
                output::twins(cx, &port, &elsewhere(), attachment.mtu);
            }
        }
        Place::HereLogical if kind == "chassisredirect" => {
            output::redirected(
                cx,
                &port,
                row.options().get("distributed-port").map(|name| &**name),
            );
        }
        Place::HereLogical if kind == "mirror" => {
            let sink = row.mirror_port().as_ref();
            output::mirror(cx, &port, sink.map(|name| &**name));
        }
        Place::HereLogical => {
            output::patch(cx, &port);
            output::local(cx, &port, kind);
        }
        Place::Remote(_) if output::bridged(cx, &port, row) => {}
        Place::Remote(_) if kind.is_empty() => output::remote(cx, &port, row, &elsewhere()),
        Place::Remote(chassis) => output::remote(cx, &port, row, &[*chassis]),
        Place::Coming | Place::Nowhere => {}
    }
}

/// Reports a column of a port binding.
pub(crate) fn diagnose(cx: &Cx<'_, Controller>, port: Uuid, column: &'static str, message: String) {
    let rec = cx.sb_rec();
    let name = cx
        .sb()
        .port_binding
        .tracked(port, &rec)
        .map(|row| row.logical_port().to_string());
    cx.diagnose(Diagnostic {
        row: format!("Port_Binding {}", name.unwrap_or_default()),
        column,
        message,
        uuid: port,
    });
}
