//! `show`: an overview of switches and routers.

use weft_ovsdb::model::Uuid;

use super::{router, switch};
use crate::command::Cx;
use crate::error::Error;
use crate::replica::Row;

pub(super) const TABLES: &[&str] = &[
    "Logical_Switch",
    "Logical_Switch_Port",
    "Logical_Router",
    "Logical_Router_Port",
    "NAT",
    "Gateway_Chassis",
];

pub(super) fn show(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (switches, routers): (Vec<Uuid>, Vec<Uuid>) = if cx.args.is_empty() {
        (uuids(cx, "Logical_Switch"), uuids(cx, "Logical_Router"))
    } else {
        let name = cx.arg(0);
        let switch = switch::find(cx, name, true)?;
        let router = router::find(cx, name, true)?;
        (switch.into_iter().collect(), router.into_iter().collect())
    };
    switches.into_iter().for_each(|uuid| show_switch(cx, uuid));
    routers.into_iter().for_each(|uuid| show_router(cx, uuid));
    Ok(())
}

fn uuids(cx: &Cx<'_>, table: &str) -> Vec<Uuid> {
    cx.db.rows(table).map(|(uuid, _)| uuid).collect()
}

/// `(name) (aka other)`: a name that somebody else (Neutron) knows the row by comes second.
fn names(row: &Row, key: &str) -> String {
    let aka = row.key("external_ids", key).filter(|aka| !aka.is_empty());
    let aka = aka.map(|aka| format!(" (aka {aka})")).unwrap_or_default();
    format!("({}){aka}", row.str("name"))
}

fn quoted(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn rows(cx: &Cx<'_>, table: &str, refs: &[Uuid]) -> Vec<(Uuid, Row)> {
    refs.iter()
        .filter_map(|uuid| Some((*uuid, cx.db.row(table, *uuid)?.clone())))
        .collect()
}

fn show_switch(cx: &mut Cx<'_>, uuid: Uuid) {
    let Some(switch) = cx.db.row("Logical_Switch", uuid).cloned() else {
        return;
    };
    cx.line(format!(
        "switch {uuid} {}",
        names(&switch, "neutron:network_name")
    ));
    for (_, port) in rows(cx, "Logical_Switch_Port", &switch.refs("ports")) {
        let aka = port
            .key("external_ids", "neutron:port_name")
            .filter(|aka| !aka.is_empty());
        let aka = aka.map(|aka| format!(" (aka {aka})")).unwrap_or_default();
        cx.line(format!("    port {}{aka}", port.str("name")));
        if let Some(parent) = port.opt_str("parent_name") {
            cx.line(format!("        parent: {parent}"));
        }
        if let Some(tag) = port.int("tag") {
            cx.line(format!("        tag: {tag}"));
        }
        if !port.str("type").is_empty() {
            cx.line(format!("        type: {}", port.str("type")));
        }
        let addresses = port.strs("addresses");
        // A port that takes its router port's addresses says so by its type already.
        let as_router = port.str("type") == "router" && addresses == ["router"];
        if !addresses.is_empty() && !as_router {
            cx.line(format!("        addresses: {}", quoted(&addresses)));
        }
        if let Some(peer) = port.key("options", "router-port") {
            cx.line(format!("        router-port: {peer}"));
        }
    }
}

fn show_router(cx: &mut Cx<'_>, uuid: Uuid) {
    let Some(router) = cx.db.row("Logical_Router", uuid).cloned() else {
        return;
    };
    cx.line(format!(
        "router {uuid} {}",
        names(&router, "neutron:router_name")
    ));
    for (_, port) in rows(cx, "Logical_Router_Port", &router.refs("ports")) {
        cx.line(format!("    port {}", port.str("name")));
        if !port.str("mac").is_empty() {
            cx.line(format!("        mac: \"{}\"", port.str("mac")));
        }
        let networks = port.strs("networks");
        if !networks.is_empty() {
            cx.line(format!("        networks: {}", quoted(&networks)));
        }
        let gateways = rows(cx, "Gateway_Chassis", &port.refs("gateway_chassis"));
        if !gateways.is_empty() {
            let names: Vec<&str> = gateways
                .iter()
                .map(|(_, row)| row.str("chassis_name"))
                .collect();
            cx.line(format!("        gateway chassis: [{}]", names.join(" ")));
        }
    }
    for (uuid, nat) in rows(cx, "NAT", &router.refs("nat")) {
        cx.line(format!("    nat {uuid}"));
        cx.line(format!(
            "        external ip: \"{}\"",
            nat.str("external_ip")
        ));
        if !nat.str("external_port_range").is_empty() {
            cx.line(format!(
                "        external port(s): \"{}\"",
                nat.str("external_port_range")
            ));
        }
        cx.line(format!("        logical ip: \"{}\"", nat.str("logical_ip")));
        cx.line(format!("        type: \"{}\"", nat.str("type")));
    }
}
