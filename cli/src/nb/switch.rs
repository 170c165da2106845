//! `ls-*`: logical switches.

use weft_ovsdb::model::Uuid;

use crate::command::{Command, Cx};
use crate::common::{by_name, not_found, suggest};
use crate::error::{Error, fail};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "ls-add",
        (0, 1),
        "[SWITCH]",
        &["--may-exist", "--add-duplicate"],
        &["Logical_Switch"],
        "create a logical switch named SWITCH",
        add,
    ),
    Command::new(
        "ls-del",
        (1, 1),
        "SWITCH",
        &["--if-exists"],
        &["Logical_Switch"],
        "delete SWITCH and all its ports",
        |cx| {
            if let Some(uuid) = find(cx, cx.arg(0), cx.has("--if-exists"))? {
                cx.db.delete("Logical_Switch", uuid);
            }
            Ok(())
        },
    ),
    Command::new(
        "ls-list",
        (0, 0),
        "",
        &[],
        &["Logical_Switch"],
        "print the names of all logical switches",
        |cx| list(cx, "Logical_Switch"),
    ),
];

/// A switch by name or UUID; `None` only if `optional`.
pub(super) fn find(cx: &Cx<'_>, name: &str, optional: bool) -> Result<Option<Uuid>, Error> {
    let found = by_name(cx, "Logical_Switch", "name", "logical switches", name)?;
    if found.is_none() && !optional {
        let error = not_found("switch", name);
        return Err(suggest(cx, "Logical_Switch", "name", name, error));
    }
    Ok(found)
}

/// A switch that must be there.
pub(super) fn get(cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
    find(cx, name, false)?.ok_or_else(|| not_found("switch", name))
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    add_named(cx, "Logical_Switch", "switch")
}

/// `ls-add` and `lr-add`.
pub(super) fn add_named(cx: &mut Cx<'_>, table: &str, what: &str) -> Result<(), Error> {
    let name = cx.arg(0);
    let (may_exist, duplicate) = (cx.has("--may-exist"), cx.has("--add-duplicate"));
    if may_exist && duplicate {
        return fail("--may-exist and --add-duplicate may not be used together");
    }
    if cx.args.is_empty() && (may_exist || duplicate) {
        let option = if may_exist {
            "--may-exist"
        } else {
            "--add-duplicate"
        };
        return fail(format!("{option} requires specifying a name"));
    }
    if !cx.args.is_empty()
        && !duplicate
        && cx.db.rows(table).any(|(_, row)| row.str("name") == name)
    {
        if may_exist {
            return Ok(());
        }
        return fail(format!("{name}: a {what} with this name already exists"));
    }
    let uuid = cx.db.insert(table, None)?;
    if !cx.args.is_empty() {
        cx.db.set_str(table, uuid, "name", name)?;
    }
    Ok(())
}

/// `UUID (name)` of all rows, by name.
pub(super) fn list(cx: &mut Cx<'_>, table: &str) -> Result<(), Error> {
    let rows = cx
        .db
        .rows(table)
        .map(|(uuid, row)| (row.str("name").to_string(), uuid));
    named_lines(cx, rows.collect());
    Ok(())
}

/// Lists the ports of a switch or router, by name.
pub(super) fn list_ports(cx: &mut Cx<'_>, parent_table: &str, parent: Uuid, port_table: &str) {
    let ports = cx
        .db
        .row(parent_table, parent)
        .map(|row| row.refs("ports"))
        .unwrap_or_default();
    let named = |uuid: Uuid| Some((cx.db.row(port_table, uuid)?.str("name").to_string(), uuid));
    let lines = ports.into_iter().filter_map(named).collect();
    named_lines(cx, lines);
}

/// Prints `UUID (name)`, by name.
pub(super) fn named_lines(cx: &mut Cx<'_>, mut rows: Vec<(String, Uuid)>) {
    rows.sort_unstable();
    rows.into_iter()
        .for_each(|(name, uuid)| cx.line(format!("{uuid} ({name})")));
}
