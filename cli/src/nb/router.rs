//! `lr-add`, `lr-del`, `lr-list`: logical routers.

use weft_ovsdb::model::Uuid;

use super::switch;
use crate::command::{Command, Cx};
use crate::common::{by_name, not_found, suggest};
use crate::error::Error;

pub(super) const LR: &str = "Logical_Router";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lr-add",
        (0, 1),
        "[ROUTER]",
        &["--may-exist", "--add-duplicate"],
        &[LR],
        "create a logical router named ROUTER",
        |cx| switch::add_named(cx, LR, "router"),
    ),
    Command::new(
        "lr-del",
        (1, 1),
        "ROUTER",
        &["--if-exists"],
        &[LR],
        "delete ROUTER and all its ports",
        |cx| {
            if let Some(uuid) = find(cx, cx.arg(0), cx.has("--if-exists"))? {
                cx.db.delete(LR, uuid);
            }
            Ok(())
        },
    ),
    Command::new(
        "lr-list",
        (0, 0),
        "",
        &[],
        &[LR],
        "print the names of all logical routers",
        |cx| switch::list(cx, LR),
    ),
];

/// A router by name or UUID; `None` only if `optional`.
pub(super) fn find(cx: &Cx<'_>, name: &str, optional: bool) -> Result<Option<Uuid>, Error> {
    let found = by_name(cx, LR, "name", "logical routers", name)?;
    if found.is_none() && !optional {
        return Err(suggest(cx, LR, "name", name, not_found("router", name)));
    }
    Ok(found)
}

/// A router that must be there.
pub(super) fn get(cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
    find(cx, name, false)?.ok_or_else(|| not_found("router", name))
}
