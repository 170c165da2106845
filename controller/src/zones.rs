//! Conntrack zones: one for each port that is attached here, two for each datapath that matters here.
//!
//! A router can ask for its zone of source translation (`snat-ct-zone`, put into the southbound by northd), so as to share
//! it with what else the host translates; whoever had that zone gets another.

use std::sync::Arc;

use weft_engine::{Cx, Kind, Wake};
use weft_ovsdb::model::EXISTENCE;
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use crate::binding::{BINDING, Place};
use crate::ledger::Ledgers;
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Fact, Key, Output, Read};

/// A zone and whose it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OwnZone {
    /// A port by its name, or a datapath.
    pub owner: Str,
    /// Its number.
    pub zone: u16,
}

fn announce(cx: &Cx<'_, Controller>, owner: Str, zone: u16) {
    cx.emit(Output::Zone(Arc::new(OwnZone { owner, zone })));
}

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
            announce(cx, name, zone);
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
    let asked = asked_zone(cx, uuid);
    let mut zone = |suffix: &'static str, asked: Option<u16>| {
        let name: Str = format!("{uuid}_{suffix}").into();
        let zone = match asked {
            Some(zone) => {
                if let Some(evicted) = ledgers.zones.own_asked(uuid, suffix, &name, zone) {
                    wake(cx, evicted);
                }
                zone
            }
            None => ledgers.zones.own(uuid, suffix, &name)?,
        };
        announce(cx, name, zone);
        Some(zone)
    };
    // What is asked for first: it may be this datapath's other one.
    let snat = zone("snat", asked);
    match (zone("dnat", None), snat) {
        (Some(dnat), Some(snat)) => cx.publish(DatapathZones { dnat, snat }),
        _ => cx.diagnose(Diagnostic {
            row: format!("Datapath_Binding {uuid}"),
            column: "tunnel_key",
            message: "all 65535 conntrack zones are taken: no address translation on it".into(),
            uuid,
        }),
    }
}

/// The zone that northd says a router wants.
fn asked_zone(cx: &Cx<'_, Controller>, uuid: Uuid) -> Option<u16> {
    let rec = cx.sb_rec();
    let row = cx.sb().datapath_binding.tracked(uuid, &rec)?;
    let text = row.external_ids().get("snat-ct-zone")?.clone();
    let zone = text.parse().ok();
    if zone.is_none() {
        cx.diagnose(Diagnostic {
            row: format!("Datapath_Binding {uuid}"),
            column: "external_ids",
            message: format!("snat-ct-zone \"{text}\" is no zone: one is chosen"),
            uuid,
        });
    }
    zone
}

/// Has the units of a row that lost its zone look for another.
fn wake(cx: &Cx<'_, Controller>, row: Uuid) {
    for table in [sb::TableId::PortBinding, sb::TableId::DatapathBinding] {
        cx.wake(Fact::Sb(table as u8, row), EXISTENCE);
    }
}

fn datapath_gone(ledgers: &mut Ledgers, key: Key, _: &mut Wake<'_, Controller>) {
    ledgers.zones.disown(key.row());
}
