//! `lflow-list --vflows`: what else becomes OpenFlow flows.

use std::collections::BTreeMap;

use weft_ovsdb::model::Uuid;

use super::flows::Bridge;
use crate::command::Cx;
use crate::replica::Row;

type Names = BTreeMap<Uuid, String>;

/// Ports, MAC bindings, multicast groups, chassis and load balancers, of one datapath or of all; each with its flows.
pub(super) fn list(cx: &mut Cx<'_>, names: &Names, only: Option<Uuid>, bridge: &Bridge) {
    let of_datapath = |row: &Row| only.is_none_or(|only| row.refs("datapath").contains(&only));
    // With one datapath there is no need to say which.
    let datapath = |row: &Row| {
        let name = row
            .refs("datapath")
            .first()
            .and_then(|uuid| names.get(uuid));
        let name = name.filter(|_| only.is_none());
        name.map_or_else(String::new, |name| format!("datapath=\"{name}\", "))
    };
    section(cx, bridge, "Port Bindings", "Port_Binding", |row| {
        let (port, key) = (row.str("logical_port"), row.int("tunnel_key").unwrap_or(0));
        of_datapath(row)
            .then(|| format!("{}logical_port={port}, tunnel_key={key:<5}", datapath(row)))
    });
    section(cx, bridge, "MAC Bindings", "MAC_Binding", |row| {
        let [port, ip, mac] = ["logical_port", "ip", "mac"].map(|column| row.str(column));
        of_datapath(row)
            .then(|| format!("{}logical_port={port}, ip={ip}, mac={mac}", datapath(row)))
    });
    let ports: BTreeMap<Uuid, String> = cx
        .db
        .rows("Port_Binding")
        .map(|(uuid, row)| (uuid, row.str("logical_port").to_owned()))
        .collect();
    section(cx, bridge, "MC Groups", "Multicast_Group", |row| {
        let (name, key) = (row.str("name"), row.int("tunnel_key").unwrap_or(0));
        let members = row.refs("ports");
        let members: Vec<&str> = members
            .iter()
            .filter_map(|port| Some(&**ports.get(port)?))
            .collect();
        let members = members.join(", ");
        of_datapath(row).then(|| {
            format!(
                "{}name={name}, tunnel_key={key:<5}, ports=({members})",
                datapath(row)
            )
        })
    });
    section(cx, bridge, "Chassis", "Chassis", |row| {
        Some(format!("name={}", row.str("name")))
    });
    let groups: BTreeMap<Uuid, Vec<Uuid>> = cx
        .db
        .rows("Logical_DP_Group")
        .map(|(uuid, row)| (uuid, row.refs("datapaths")))
        .collect();
    section(cx, bridge, "Load Balancers", "Load_Balancer", |row| {
        let columns = ["datapath_group", "ls_datapath_group", "lr_datapath_group"];
        let grouped = columns.iter().flat_map(|column| row.refs(column));
        let grouped = grouped
            .filter_map(|group| groups.get(&group))
            .flatten()
            .copied();
        let mut on: Vec<Uuid> = row.refs("datapaths").into_iter().chain(grouped).collect();
        on.sort_unstable();
        on.dedup();
        if only.is_some_and(|only| !on.contains(&only)) {
            return None;
        }
        let mut text = format!(
            "name=\"{}\", protocol=\"{}\", ",
            row.str("name"),
            row.str("protocol")
        );
        if only.is_none() {
            let on = on.iter().filter_map(|uuid| names.get(uuid));
            on.for_each(|name| text.push_str(&format!("datapath=\"{name}\", ")));
        }
        text.push_str("\n  vips:");
        for (vip, backends) in row.map("vips") {
            text.push_str(&format!("\n    {vip} = {backends}"));
        }
        text.push('\n');
        Some(text)
    });
}

/// The rows of a table that have a text, under a title.
fn section(
    cx: &mut Cx<'_>,
    bridge: &Bridge,
    title: &str,
    table: &str,
    text: impl Fn(&Row) -> Option<String>,
) {
    let rows = cx.db.rows(table);
    let mut rows: Vec<(String, Uuid)> = rows
        .filter_map(|(uuid, row)| Some((text(row)?, uuid)))
        .collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_unstable();
    cx.line(format!("\n{title}:"));
    for (text, row) in rows {
        let uuid = if cx.has("--uuid") {
            format!("uuid={:#010x}, ", row.short())
        } else {
            String::new()
        };
        cx.line(format!("  {uuid}{text}"));
        bridge.show(cx, row);
    }
}
