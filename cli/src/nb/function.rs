//! Network functions and groups of them.
//!
//! As documented for releases after 23.03, but that `nf-add` is given the number that the schema asks for in the place where
//! `nfg-add` has it.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports;
use crate::command::{Command, Cx, MANY};
use crate::common::{by_name, not_found};
use crate::error::{Error, fail};
use crate::replica::Row;

const FUNCTION: &str = "Network_Function";
const GROUP: &str = "Network_Function_Group";
const LSP: &str = "Logical_Switch_Port";
const ACL: &str = "ACL";
const MODES: &[&str] = &["inline", "vtap"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "nf-add",
        (3, 4),
        "FUNCTION ID PORT-IN [PORT-OUT]",
        &["--may-exist"],
        &[FUNCTION, LSP],
        "add a network function behind one or two switch ports",
        add_function,
    ),
    Command::new(
        "nf-del",
        (1, 1),
        "FUNCTION",
        &["--if-exists"],
        &[FUNCTION, GROUP],
        "delete a network function that is in no group",
        del_function,
    ),
    Command::new(
        "nf-list",
        (0, 0),
        "",
        &[],
        &[FUNCTION, LSP],
        "print network functions",
        list_functions,
    ),
    Command::new(
        "nfg-add",
        (3, MANY),
        "GROUP ID {inline | vtap} [FUNCTION]...",
        &["--may-exist"],
        &[FUNCTION, GROUP],
        "add a group of network functions",
        add_group,
    ),
    Command::new(
        "nfg-del",
        (1, 1),
        "GROUP",
        &["--if-exists"],
        &[GROUP, ACL],
        "delete a group of network functions that no ACL names",
        del_group,
    ),
    Command::new(
        "nfg-list",
        (0, 1),
        "[GROUP]",
        &[],
        &[GROUP, FUNCTION],
        "print groups of network functions",
        list_groups,
    ),
    Command::new(
        "nfg-add-nf",
        (2, 2),
        "GROUP FUNCTION",
        &["--may-exist"],
        &[GROUP, FUNCTION],
        "add a network function to a group",
        |cx| {
            let (group, function) = (group(cx, cx.arg(0))?, function(cx, cx.arg(1))?);
            if !members(cx, group).contains(&function) {
                return cx.db.add_ref(GROUP, group, "network_function", function);
            }
            if cx.has("--may-exist") {
                return Ok(());
            }
            fail(format!("{} is in group {} already", cx.arg(1), cx.arg(0)))
        },
    ),
    Command::new(
        "nfg-del-nf",
        (2, 2),
        "GROUP FUNCTION",
        &["--if-exists"],
        &[GROUP, FUNCTION],
        "remove a network function from a group",
        |cx| {
            let (group, function) = (group(cx, cx.arg(0))?, function(cx, cx.arg(1))?);
            if members(cx, group).contains(&function) || cx.has("--if-exists") {
                return cx.db.remove_ref(GROUP, group, "network_function", function);
            }
            fail(format!("{} is not in group {}", cx.arg(1), cx.arg(0)))
        },
    ),
];

fn find_function(cx: &Cx<'_>, name: &str) -> Result<Option<Uuid>, Error> {
    by_name(cx, FUNCTION, "name", "network functions", name)
}

fn function(cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
    find_function(cx, name)?.ok_or_else(|| not_found("network function", name))
}

fn find_group(cx: &Cx<'_>, name: &str) -> Result<Option<Uuid>, Error> {
    by_name(cx, GROUP, "name", "network function groups", name)
}

/// A group by name or UUID.
pub(super) fn group(cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
    find_group(cx, name)?.ok_or_else(|| not_found("network function group", name))
}

fn members(cx: &Cx<'_>, group: Uuid) -> Vec<Uuid> {
    let row = cx.db.row(GROUP, group);
    row.map(|row| row.refs("network_function"))
        .unwrap_or_default()
}

fn number(text: &str) -> Result<Datum, Error> {
    match text.parse::<i64>() {
        Ok(id) if (1..=255).contains(&id) => Ok(Datum::one(Atom::Integer(id))),
        _ => fail(format!("{text}: ID must be in range 1...255")),
    }
}

/// The row that a command is to fill: a new one, or with `--may-exist` the one of that name.
fn row(cx: &mut Cx<'_>, table: &str, what: &str, found: Option<Uuid>) -> Result<Uuid, Error> {
    match found {
        Some(_) if !cx.has("--may-exist") => fail(format!(
            "{}: a {what} by this name already exists",
            cx.arg(0)
        )),
        Some(uuid) => Ok(uuid),
        None => cx.db.insert(table, None),
    }
}

fn add_function(cx: &mut Cx<'_>) -> Result<(), Error> {
    let id = number(cx.arg(1))?;
    let ports = cx.args[2..].iter().map(|name| ports::SWITCH.get(cx, name));
    let ports: Vec<Uuid> = ports.collect::<Result<_, _>>()?;
    let found = find_function(cx, cx.arg(0))?;
    let uuid = row(cx, FUNCTION, "network function", found)?;
    cx.db.set_str(FUNCTION, uuid, "name", cx.arg(0))?;
    cx.db.set(FUNCTION, uuid, "id", id)?;
    for (n, column) in ["inport", "outport"].into_iter().enumerate() {
        let port = ports.get(n).map(|port| Atom::Uuid(*port));
        let port = Datum::set(port.into_iter().collect());
        cx.db.set(FUNCTION, uuid, column, port)?;
    }
    Ok(())
}

fn del_function(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(uuid) = find_function(cx, cx.arg(0))? else {
        return missing(cx, "network function");
    };
    let mut groups = cx.db.rows(GROUP);
    let user = groups.find(|(_, row)| row.refs("network_function").contains(&uuid));
    if let Some((_, user)) = user {
        let message = format!("{} is in group {}", cx.arg(0), user.str("name"));
        return fail(message);
    }
    drop(groups);
    cx.db.delete(FUNCTION, uuid);
    Ok(())
}

fn missing(cx: &Cx<'_>, what: &str) -> Result<(), Error> {
    if cx.has("--if-exists") {
        Ok(())
    } else {
        Err(not_found(what, cx.arg(0)))
    }
}

fn list_functions(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = |row: &Row, column: &str| {
        let uuid = row.refs(column).into_iter().next()?;
        Some(cx.db.row(LSP, uuid)?.str("name").to_owned())
    };
    let line = |(uuid, row): (Uuid, &Row)| {
        let inport = port(row, "inport").unwrap_or_default();
        let outport = port(row, "outport").map_or(String::new(), |name| format!(" out:{name}"));
        (
            row.str("name").to_owned(),
            format!("{uuid} ({}) in:{inport}{outport}", row.str("name")),
        )
    };
    let mut lines: Vec<(String, String)> = cx.db.rows(FUNCTION).map(line).collect();
    lines.sort_unstable();
    lines.into_iter().for_each(|(_, line)| cx.line(line));
    Ok(())
}

fn add_group(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (id, mode) = (number(cx.arg(1))?, cx.arg(2));
    if !MODES.contains(&mode) {
        return fail(format!("{mode}: mode must be inline or vtap"));
    }
    let functions = cx.args[3..].iter().map(|name| function(cx, name));
    let functions: Vec<Uuid> = functions.collect::<Result<_, _>>()?;
    let found = find_group(cx, cx.arg(0))?;
    let uuid = row(cx, GROUP, "network function group", found)?;
    for (column, value) in [("name", cx.arg(0)), ("mode", mode)] {
        cx.db.set_str(GROUP, uuid, column, value)?;
    }
    cx.db.set(GROUP, uuid, "id", id)?;
    let functions = Datum::set(functions.into_iter().map(Atom::Uuid).collect());
    cx.db.set(GROUP, uuid, "network_function", functions)
}

fn del_group(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(uuid) = find_group(cx, cx.arg(0))? else {
        return missing(cx, "network function group");
    };
    let names = |row: &Row| row.refs("network_function_group").contains(&uuid);
    if cx.db.rows(ACL).any(|(_, row)| names(row)) {
        return fail(format!("{}: an ACL names it", cx.arg(0)));
    }
    cx.db.delete(GROUP, uuid);
    Ok(())
}

/// All of them, or one with its members.
fn list_groups(cx: &mut Cx<'_>) -> Result<(), Error> {
    if let Some(name) = cx.args.first() {
        let uuid = group(cx, name)?;
        let line = cx.db.row(GROUP, uuid).map(|row| group_line(uuid, row));
        let name = |uuid| Some(cx.db.row(FUNCTION, uuid)?.str("name").to_owned());
        let members: Vec<String> = members(cx, uuid).into_iter().filter_map(name).collect();
        line.into_iter().for_each(|(_, line)| cx.line(line));
        members
            .iter()
            .for_each(|name| cx.line(format!("    {name}")));
        return Ok(());
    }
    let rows = cx.db.rows(GROUP);
    let mut lines: Vec<(String, String)> = rows.map(|(uuid, row)| group_line(uuid, row)).collect();
    lines.sort_unstable();
    lines.into_iter().for_each(|(_, line)| cx.line(line));
    Ok(())
}

/// By what it is sorted, and the line.
fn group_line(uuid: Uuid, row: &Row) -> (String, String) {
    let (name, mode) = (row.str("name"), row.str("mode"));
    (name.to_owned(), format!("{uuid} ({name}) mode:{mode}"))
}
