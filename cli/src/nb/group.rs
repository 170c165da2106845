//! `pg-*`: port groups.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports;
use crate::command::{Command, Cx, MANY};
use crate::common::{by_name, not_found, suggest};
use crate::error::Error;

const PG: &str = "Port_Group";
const TABLES: &[&str] = &[PG, "Logical_Switch_Port"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "pg-add",
        (1, MANY),
        "PG [PORT]...",
        &[],
        TABLES,
        "create port group PG with optional PORTs",
        |cx| {
            let group = cx.db.insert(PG, None)?;
            cx.db.set_str(PG, group, "name", cx.arg(0))?;
            set_ports(cx, group)
        },
    ),
    Command::new(
        "pg-set-ports",
        (2, MANY),
        "PG PORT...",
        &[],
        TABLES,
        "set PORTs on port group PG",
        |cx| {
            let group = get(cx, cx.arg(0))?;
            set_ports(cx, group)
        },
    ),
    Command::new(
        "pg-del",
        (1, 1),
        "PG",
        &[],
        TABLES,
        "delete port group PG",
        |cx| {
            let group = get(cx, cx.arg(0))?;
            cx.db.delete(PG, group);
            Ok(())
        },
    ),
];

/// A port group by name or UUID; `None` if there is none.
pub(super) fn find(cx: &Cx<'_>, name: &str) -> Result<Option<Uuid>, Error> {
    by_name(cx, PG, "name", "port groups", name)
}

fn get(cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
    find(cx, name)?.ok_or_else(|| suggest(cx, PG, "name", name, not_found("port group", name)))
}

fn set_ports(cx: &mut Cx<'_>, group: Uuid) -> Result<(), Error> {
    let ports: Vec<Atom> = cx.args[1..]
        .iter()
        .map(|name| ports::SWITCH.get(cx, name).map(Atom::Uuid))
        .collect::<Result<_, _>>()?;
    cx.db.set(PG, group, "ports", Datum::set(ports))
}
