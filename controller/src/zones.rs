//! Conntrack zones: one for each port that is attached here, two for each datapath that matters here.

use weft_engine::{Cx, Kind, Wake};
use weft_ovsdb::model::{Str, Uuid};

use crate::binding::{BINDING, Place};
use crate::ledger::Ledgers;
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Key, Output, Read};

/// Publishes a port's zone (`u16`); keyed by port binding.
pub const PORT_ZONE: Kind<Controller> = Kind::serial(
    "port-zone",
    &["binding", "local-datapath"],
    port_zone,
    port_gone,
);
/// Publishes [`DatapathZones`]; keyed by datapath.
pub const DATAPATH_ZONES: Kind<Controller> = Kind::serial(
    "datapath-zones",
    &["local-datapath"],
    datapath_zones,
    datapath_gone,
);

/// The zones of a datapath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatapathZones {
    /// For destination translation.
    pub dnat: u16,
    /// For source translation.
    pub snat: u16,
}

fn port_zone(cx: &Cx<'_, Controller>, ledgers: &mut Ledgers, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let name = zoned_port(cx, uuid).map(|()| {
        cx.sb()
            .port_binding
            .tracked(uuid, &rec)
            .map(|row| row.logical_port().clone())
    });
    let Some(name) = name.flatten() else {
        ledgers.zones.disown(uuid);
        return;
    };
    match ledgers.zones.own(uuid, "", &name) {
        Some(zone) => {
            cx.emit(Output::Zone(name, zone));
            cx.publish(zone);
        }
        None => cx.diagnose(Diagnostic {
            row: format!("Port_Binding {name}"),
            column: "logical_port",
            message: "all 65535 conntrack zones are taken: no stateful service for it".into(),
            uuid,
        }),
    }
}

/// Whether the port has a zone: those that packets come by, on a datapath that matters here.
fn zoned_port(cx: &Cx<'_, Controller>, uuid: Uuid) -> Option<()> {
    let rec = cx.sb_rec();
    let row = cx.sb().port_binding.tracked(uuid, &rec)?;
    if matches!(&**row.type_(), "patch" | "chassisredirect") {
        return None;
    }
    cx.value::<Local>(LOCAL.id(), Key::Row(*row.datapath()))?;
    cx.value::<Place>(BINDING.id(), Key::Row(uuid))?
        .is_here()
        .then_some(())
}

fn port_gone(ledgers: &mut Ledgers, key: Key, _: &mut Wake<'_, Controller>) {
    ledgers.zones.disown(key.row());
}

fn datapath_zones(cx: &Cx<'_, Controller>, ledgers: &mut Ledgers, key: Key) {
    let uuid = key.row();
    if cx.value::<Local>(LOCAL.id(), key).is_none() {
        ledgers.zones.disown(uuid);
        return;
    }
    let mut zone = |suffix: &'static str| {
        let name: Str = format!("{uuid}_{suffix}").into();
        let zone = ledgers.zones.own(uuid, suffix, &name)?;
        cx.emit(Output::Zone(name, zone));
        Some(zone)
    };
    match (zone("dnat"), zone("snat")) {
        (Some(dnat), Some(snat)) => cx.publish(DatapathZones { dnat, snat }),
        _ => cx.diagnose(Diagnostic {
            row: format!("Datapath_Binding {uuid}"),
            column: "tunnel_key",
            message: "all 65535 conntrack zones are taken: no address translation on it".into(),
            uuid,
        }),
    }
}

fn datapath_gone(ledgers: &mut Ledgers, key: Key, _: &mut Wake<'_, Controller>) {
    ledgers.zones.disown(key.row());
}
