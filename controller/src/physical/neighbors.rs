//! What has been learned or configured about neighbours: MAC_Binding, Static_MAC_Binding and FDB as flows that
//! `get_arp`, `lookup_arp`, `get_fdb` and their like look things up in; and which of them age.

use std::net::IpAddr;

use weft_engine::{Cx, Kind};
use weft_openflow::{Action, Field, Match};
use weft_ovsdb::model::Uuid;

use super::Port;
use super::vif::set_flag;
use crate::address::parse_mac;
use crate::ageing::{self, Ageing, Learned};
use crate::flow::{REG_INPORT, REG_OUTPORT, emit};
use crate::index::Index;
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Key, Read};
use crate::tables::{self, flag};

/// Keyed by row of MAC_Binding.
pub const MAC_BINDING: Kind<Controller> =
    Kind::pure("mac-binding", &["local-datapath"], mac_binding);
/// Keyed by row of Static_MAC_Binding.
pub const STATIC_MAC_BINDING: Kind<Controller> = Kind::pure(
    "static-mac-binding",
    &["local-datapath"],
    static_mac_binding,
);
/// Keyed by row of FDB.
pub const FDB: Kind<Controller> = Kind::pure("fdb", &["local-datapath"], fdb);

/// Priority of what has been learned.
const LEARNED: u16 = 100;
/// Priority of what is configured and beats what has been learned.
const OVERRIDING: u16 = 150;
/// Priority of what is configured and yields to what has been learned.
const YIELDING: u16 = 50;

fn mac_binding(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().mac_binding.tracked(key.row(), &rec) else {
        return;
    };
    let found = binding(
        cx,
        "MAC_Binding",
        key.row(),
        row.logical_port(),
        row.ip(),
        row.mac(),
        LEARNED,
    );
    let Some((port, ip, mac)) = found else { return };
    if let Some(seconds) = ageing::threshold(cx, port.datapath, "mac_binding_age_threshold") {
        let keys = (port.dp_key, port.key);
        ageing::count_neighbor(cx, keys, key.row().short(), ip, mac);
        ageing::announce(
            cx,
            Ageing {
                row: key.row(),
                learned: Learned::Neighbor(port.uuid, ip),
                timestamp_ms: *row.timestamp(),
                seconds,
            },
        );
    }
}

fn static_mac_binding(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().static_mac_binding.tracked(key.row(), &rec) else {
        return;
    };
    let priority = if *row.override_dynamic_mac() {
        OVERRIDING
    } else {
        YIELDING
    };
    binding(
        cx,
        "Static_MAC_Binding",
        key.row(),
        row.logical_port(),
        row.ip(),
        row.mac(),
        priority,
    );
}

fn binding(
    cx: &Cx<'_, Controller>,
    table: &str,
    uuid: Uuid,
    port: &str,
    ip: &str,
    mac: &str,
    priority: u16,
) -> Option<(Port, IpAddr, u64)> {
    let port_uuid = cx.lookup_one(Index::PortByName, port)?;
    let port = Port::local(cx, port_uuid)?;
    let bad = |column: &'static str, text: &str| {
        cx.diagnose(Diagnostic {
            row: table.into(),
            column,
            message: format!("\"{text}\" is not an address: left out"),
            uuid,
        });
    };
    let Ok(address) = ip.parse::<IpAddr>() else {
        bad("ip", ip);
        return None;
    };
    let Some(ethernet) = parse_mac(mac) else {
        bad("mac", mac);
        return None;
    };
    let on = |field: Field| {
        Match::any()
            .with(Field::Metadata, port.dp_key)
            .with(field, port.key)
    };
    let (get, look) = match address {
        IpAddr::V4(ip) => {
            let ip = u32::from(ip);
            (
                on(REG_OUTPORT).with(Field::Reg0, ip),
                on(REG_INPORT)
                    .with(Field::Reg0, ip)
                    .with(Field::EthType, 0x0806u32),
            )
        }
        IpAddr::V6(ip) => {
            let ip = u128::from(ip);
            (
                on(REG_OUTPORT).with(Field::XXReg0, ip),
                on(REG_INPORT)
                    .with(Field::XXReg0, ip)
                    .with(Field::EthType, 0x86ddu32)
                    .with(Field::IpProto, 58u32),
            )
        }
    };
    let cookie = uuid.short();
    let found = set_flag(flag::LOOKUP_MAC);
    emit(
        cx,
        tables::MAC_BINDING,
        priority,
        cookie,
        get,
        [Action::set(Field::EthDst, ethernet), found.clone()],
    );
    emit(
        cx,
        tables::MAC_LOOKUP,
        priority,
        cookie,
        look.with(Field::EthSrc, ethernet),
        [found],
    );
    Some((port, address, ethernet))
}

fn fdb(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().fdb.tracked(uuid, &rec) else {
        return;
    };
    let Some(datapath) = cx.lookup_one(Index::DatapathByKey, *row.dp_key()) else {
        return;
    };
    let Some(local) = cx.value::<Local>(LOCAL.id(), Key::Row(datapath)) else {
        return;
    };
    let Some(ethernet) = parse_mac(row.mac()) else {
        cx.diagnose(Diagnostic {
            row: "FDB".into(),
            column: "mac",
            message: format!("\"{}\" is not an Ethernet address: left out", row.mac()),
            uuid,
        });
        return;
    };
    let Some(port) = super::port_key(*row.port_key()) else {
        return;
    };
    let on = Match::any().with(Field::Metadata, local.key);
    let cookie = uuid.short();
    let get = on.clone().with(Field::EthDst, ethernet);
    emit(
        cx,
        tables::GET_FDB,
        100,
        cookie,
        get,
        [Action::set(REG_OUTPORT, port)],
    );
    let look = on.with(REG_INPORT, port).with(Field::EthSrc, ethernet);
    emit(
        cx,
        tables::LOOKUP_FDB,
        100,
        cookie,
        look,
        [set_flag(flag::LOOKUP_FDB)],
    );
    if let Some(seconds) = ageing::threshold(cx, datapath, "fdb_age_threshold") {
        ageing::announce(
            cx,
            Ageing {
                row: uuid,
                learned: Learned::Place,
                timestamp_ms: *row.timestamp(),
                seconds,
            },
        );
    }
}
