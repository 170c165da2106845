//! HA chassis groups and static MAC bindings.

use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports;
use super::router_port::parse_priority;
use crate::command::{Command, Cx};
use crate::common::{not_found, parse_mac};
use crate::error::{Error, fail};
use crate::records;
use crate::replica::Row;

const GROUP: &str = "HA_Chassis_Group";
const HA: &str = "HA_Chassis";
const SMB: &str = "Static_MAC_Binding";
const OF_HA: &[&str] = &[GROUP, HA];
const OF_SMB: &[&str] = &[SMB, "Logical_Router_Port"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "ha-chassis-group-add",
        (1, 1),
        "GRP",
        &[],
        OF_HA,
        "create an HA chassis group GRP",
        |cx| {
            let group = cx.db.insert(GROUP, None)?;
            cx.db.set_str(GROUP, group, "name", cx.arg(0))
        },
    ),
    Command::new(
        "ha-chassis-group-del",
        (1, 1),
        "GRP",
        &[],
        OF_HA,
        "delete the HA chassis group GRP",
        |cx| {
            let group = ha_group(cx)?;
            cx.db.delete(GROUP, group);
            Ok(())
        },
    ),
    Command::new(
        "ha-chassis-group-list",
        (0, 0),
        "",
        &[],
        OF_HA,
        "list the HA chassis groups",
        list_ha,
    ),
    Command::new(
        "ha-chassis-group-add-chassis",
        (3, 3),
        "GRP CHASSIS PRIORITY",
        &[],
        OF_HA,
        "add an HA chassis with PRIORITY to GRP",
        add_ha,
    ),
    Command::new(
        "ha-chassis-group-remove-chassis",
        (2, 2),
        "GRP CHASSIS",
        &[],
        OF_HA,
        "remove the HA chassis CHASSIS from GRP",
        |cx| {
            let group = ha_group(cx)?;
            let (name, chassis) = (cx.arg(0), cx.arg(1));
            let Some(member) = member(cx, group) else {
                return fail(format!(
                    "{chassis}: ha chassis not found in {name} ha chassis group"
                ));
            };
            cx.db.remove_ref(GROUP, group, "ha_chassis", member)?;
            cx.db.delete(HA, member);
            Ok(())
        },
    ),
    Command::new(
        "static-mac-binding-add",
        (3, 3),
        "LOGICAL_PORT IP MAC",
        &["--may-exist"],
        OF_SMB,
        "add a Static_MAC_Binding entry",
        add_smb,
    ),
    Command::new(
        "static-mac-binding-del",
        (2, 2),
        "LOGICAL_PORT IP",
        &["--if-exists"],
        OF_SMB,
        "delete a Static_MAC_Binding entry",
        |cx| {
            let (port, ip) = (cx.arg(0), address(cx.arg(1))?);
            match smb(cx, port, &ip) {
                Some(found) => cx.db.delete(SMB, found),
                None if cx.has("--if-exists") => {}
                None => {
                    return fail(format!(
                        "no matching Static_MAC_Binding with port {port} and ip {ip}"
                    ));
                }
            }
            Ok(())
        },
    ),
    Command::new(
        "static-mac-binding-list",
        (0, 0),
        "",
        &[],
        OF_SMB,
        "list all Static_MAC_Binding entries",
        list_smb,
    ),
];

fn ha_group(cx: &mut Cx<'_>) -> Result<Uuid, Error> {
    let name = cx.arg(0);
    records::find(cx, GROUP, name)?.ok_or_else(|| not_found("ha_chassi_group", name))
}

/// The row of the chassis in the second argument in a group.
fn member(cx: &Cx<'_>, group: Uuid) -> Option<Uuid> {
    let members = cx.db.row(GROUP, group)?.refs("ha_chassis");
    let named = |uuid: &Uuid| {
        cx.db
            .row(HA, *uuid)
            .is_some_and(|row| row.str("chassis_name") == cx.arg(1))
    };
    members.into_iter().find(named)
}

fn add_ha(cx: &mut Cx<'_>) -> Result<(), Error> {
    let group = ha_group(cx)?;
    let priority = parse_priority(cx.arg(2))?;
    let chassis = match member(cx, group) {
        Some(chassis) => chassis,
        None => {
            let chassis = cx.db.insert(HA, None)?;
            cx.db.set_str(HA, chassis, "chassis_name", cx.arg(1))?;
            cx.db.add_ref(GROUP, group, "ha_chassis", chassis)?;
            chassis
        }
    };
    cx.db
        .set(HA, chassis, "priority", Datum::one(Atom::Integer(priority)))
}

fn list_ha(cx: &mut Cx<'_>) -> Result<(), Error> {
    let groups: Vec<(Uuid, Row)> = cx
        .db
        .rows(GROUP)
        .map(|(uuid, row)| (uuid, row.clone()))
        .collect();
    for (uuid, group) in groups {
        cx.line(format!("{uuid} ({})", group.str("name")));
        for member in group.refs("ha_chassis") {
            let Some(row) = cx.db.row(HA, member).cloned() else {
                continue;
            };
            cx.line(format!("    {member} ({})", row.str("chassis_name")));
            cx.line(format!(
                "    priority {}\n",
                row.int("priority").unwrap_or(0)
            ));
        }
        cx.line("");
    }
    Ok(())
}

fn address(text: &str) -> Result<String, Error> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => fail(format!("{text}: Not a valid IPv4 or IPv6 address.")),
    }
}

fn smb(cx: &Cx<'_>, port: &str, ip: &str) -> Option<Uuid> {
    let mut rows = cx.db.rows(SMB);
    rows.find(|(_, row)| row.str("logical_port") == port && row.str("ip") == ip)
        .map(|(uuid, _)| uuid)
}

fn add_smb(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (port, mac) = (cx.arg(0), cx.arg(2));
    ports::ROUTER.get(cx, port)?;
    let ip = address(cx.arg(1))?;
    if parse_mac(mac).is_none() {
        return fail(format!("invalid mac address {mac}."));
    }
    if let Some(existing) = smb(cx, port, &ip) {
        if !cx.has("--may-exist") {
            return fail(format!(
                "{port}, {ip}: a Static_MAC_Binding with this logical_port and ip already exists"
            ));
        }
        return cx.db.set_str(SMB, existing, "mac", mac);
    }
    let row = cx.db.insert(SMB, None)?;
    for (column, value) in [("logical_port", port), ("ip", &ip), ("mac", mac)] {
        cx.db.set_str(SMB, row, column, value)?;
    }
    Ok(())
}

fn list_smb(cx: &mut Cx<'_>) -> Result<(), Error> {
    let text = |row: &Row| ["logical_port", "ip", "mac"].map(|column| row.str(column).to_string());
    let mut rows: Vec<[String; 3]> = cx.db.rows(SMB).map(|(_, row)| text(row)).collect();
    rows.sort_unstable();
    if !rows.is_empty() {
        rows.insert(0, ["LOGICAL_PORT", "IP", "MAC"].map(str::to_string));
    }
    rows.into_iter()
        .for_each(|[port, ip, mac]| cx.line(format!("{port:<25}{ip:<25}{mac}")));
    Ok(())
}
