//! `acl-*`: access control lists of switches and port groups.

use std::cmp::Reverse;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::router_port::parse_priority;
use super::{function, group, references, switch};
use crate::command::{Command, Cx};
use crate::common::not_found;
use crate::error::{Error, fail};
use crate::matching::check_match;
use crate::records;
use crate::replica::Row;

const ACL: &str = "ACL";
const SAMPLE: &str = "Sample";
const TABLES: &[&str] = &[ACL, "Logical_Switch", "Port_Group"];
/// What `acl-add` reads besides: what a match can name.
const ADD_TABLES: &[&str] = &[
    ACL,
    "Logical_Switch",
    "Port_Group",
    "Address_Set",
    "Logical_Switch_Port",
    SAMPLE,
    "Network_Function_Group",
];
const ACTIONS: &[&str] = &[
    "allow",
    "allow-related",
    "allow-stateless",
    "drop",
    "reject",
    "pass",
];
/// The last tier that ACLs can be in.
const TIER_MAX: i64 = 3;
const SEVERITIES: &[&str] = &["alert", "warning", "notice", "info", "debug"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "acl-add",
        (5, 6),
        "{SWITCH | PORTGROUP} DIRECTION PRIORITY MATCH ACTION [FUNCTION-GROUP]",
        &[
            "--log",
            "--may-exist",
            "--type=",
            "--name=",
            "--severity=",
            "--meter=",
            "--label=",
            "--apply-after-lb",
            "--tier=",
            "--sample-new=",
            "--sample-est=",
        ],
        ADD_TABLES,
        "add an ACL to SWITCH or PORTGROUP",
        add,
    ),
    Command::new(
        "acl-del",
        (1, 4),
        "{SWITCH | PORTGROUP} [DIRECTION [PRIORITY MATCH]]",
        &["--type=", "--tier="],
        TABLES,
        "remove ACLs from SWITCH or PORTGROUP",
        del,
    ),
    Command::new(
        "acl-list",
        (1, 1),
        "{SWITCH | PORTGROUP}",
        &["--type="],
        TABLES,
        "print ACLs of SWITCH or PORTGROUP",
        list,
    ),
];

/// The row that has the ACLs: its table and UUID.
fn owner(cx: &Cx<'_>) -> Result<(&'static str, Uuid), Error> {
    let name = cx.arg(0);
    match cx.value("--type") {
        Some("switch") => return Ok(("Logical_Switch", switch::get(cx, name)?)),
        Some("port-group") => {
            let found = group::find(cx, name)?;
            return Ok((
                "Port_Group",
                found.ok_or_else(|| not_found("port group", name))?,
            ));
        }
        Some(other) => return fail(format!("Invalid value '{other}' for option --type")),
        None => {}
    }
    match (switch::find(cx, name, true)?, group::find(cx, name)?) {
        (Some(_), Some(_)) => fail(format!(
            "Same name '{name}' exists in both port-groups and logical switches. Specify --type=port-group \
             or switch, or use a UUID."
        )),
        (Some(switch), None) => Ok(("Logical_Switch", switch)),
        (None, Some(group)) => Ok(("Port_Group", group)),
        (None, None) => fail(format!("'{name}' is not found for port-group or switch.")),
    }
}

/// A direction, which may be abbreviated.
pub(super) fn direction(text: &str) -> Result<&'static str, Error> {
    let full = ["to-lport", "from-lport"]
        .into_iter()
        .find(|full| !text.is_empty() && full.starts_with(text));
    full.ok_or_else(|| {
        Error::new(format!(
            "{text}: direction must be \"to-lport\" or \"from-lport\""
        ))
    })
}

fn acls(cx: &Cx<'_>, table: &str, owner: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(table, owner)
        .map(|row| row.refs("acls"))
        .unwrap_or_default();
    refs.into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(ACL, uuid)?.clone())))
        .collect()
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (table, owner) = owner(cx)?;
    let asked = asked(cx)?;
    let same = |row: &Row| {
        (row.str("direction"), row.int("priority"), row.str("match"))
            == (asked.direction, Some(asked.priority), cx.arg(3))
    };
    if acls(cx, table, owner).iter().any(|(_, row)| same(row)) {
        if cx.has("--may-exist") {
            return Ok(());
        }
        let what = if table == "Port_Group" { "pg" } else { "ls" };
        return fail(format!(
            "Same ACL already existed on the {what} {}.",
            cx.arg(0)
        ));
    }
    let acl = cx.db.insert(ACL, None)?;
    write(cx, acl, asked)?;
    cx.db.add_ref(table, owner, "acls", acl)
}

/// What the arguments and options of `acl-add` say, where it is more than a text to be copied.
struct Asked {
    direction: &'static str,
    priority: i64,
    /// What options say, by column.
    columns: Vec<(&'static str, Atom)>,
}

fn asked(cx: &mut Cx<'_>) -> Result<Asked, Error> {
    let direction = direction(cx.arg(1))?;
    let priority = parse_priority(cx.arg(2))?;
    let (match_, action) = (cx.arg(3), cx.arg(4));
    if !ACTIONS.contains(&action) {
        return fail(format!(
            "{action}: action must be one of \"allow\", \"allow-related\", \"allow-stateless\", \"drop\", \
             \"reject\", and \"pass\""
        ));
    }
    check_match(match_)?;
    references::warn(cx.db, match_);
    let mut columns = Vec::new();
    if let Some(text) = cx.value("--tier") {
        columns.push(("tier", Atom::Integer(tier(text)?)));
    }
    let severity = cx.value("--severity");
    if let Some(severity) = severity.filter(|severity| !SEVERITIES.contains(severity)) {
        return fail(format!("bad severity: {severity}"));
    }
    if let Some(text) = cx.value("--label") {
        columns.push(("label", Atom::Integer(label(text, action)?)));
    }
    if let Some(name) = cx.args.get(5) {
        let group = function::group(cx, name)?;
        columns.push(("network_function_group", Atom::Uuid(group)));
    }
    for (option, column) in [
        ("--sample-new", "sample_new"),
        ("--sample-est", "sample_est"),
    ] {
        if let Some(text) = cx.value(option).map(str::to_owned) {
            let found = records::find(cx, SAMPLE, &text)?;
            let sample = found.ok_or_else(|| not_found("sample", &text))?;
            columns.push((column, Atom::Uuid(sample)));
        }
    }
    let log = ["--log", "--severity", "--name", "--meter"]
        .into_iter()
        .any(|option| cx.has(option));
    columns.push(("log", Atom::Boolean(log)));
    Ok(Asked {
        direction,
        priority,
        columns,
    })
}

fn write(cx: &mut Cx<'_>, acl: Uuid, asked: Asked) -> Result<(), Error> {
    let priority = Datum::one(Atom::Integer(asked.priority));
    cx.db.set(ACL, acl, "priority", priority)?;
    for (column, value) in [
        ("direction", asked.direction),
        ("match", cx.arg(3)),
        ("action", cx.arg(4)),
    ] {
        cx.db.set_str(ACL, acl, column, value)?;
    }
    for (option, column) in [
        ("--name", "name"),
        ("--severity", "severity"),
        ("--meter", "meter"),
    ] {
        if let Some(value) = cx.value(option) {
            cx.db.set_str(ACL, acl, column, value)?;
        }
    }
    for (column, value) in asked.columns {
        cx.db.set(ACL, acl, column, Datum::one(value))?;
    }
    if asked.direction == "from-lport" && cx.has("--apply-after-lb") {
        cx.db
            .set_key(ACL, acl, "options", "apply-after-lb", Some("true"))?;
    }
    Ok(())
}

fn tier(text: &str) -> Result<i64, Error> {
    let tier = text.parse().ok();
    tier.filter(|tier| (0..=TIER_MAX).contains(tier))
        .ok_or_else(|| Error::new(format!("{text}: tier must be in range 0...{TIER_MAX}")))
}

fn label(text: &str, action: &str) -> Result<i64, Error> {
    let label = text.parse::<u32>();
    let Ok(label) = label else {
        return fail(format!("{text}: label must in range 0...4294967295"));
    };
    if !matches!(action, "allow" | "allow-related") {
        return fail("label can only be set with actions \"allow\" or \"allow-related\"");
    }
    Ok(i64::from(label))
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (table, owner) = owner(cx)?;
    let tier = cx.value("--tier").map(tier).transpose()?;
    if cx.args.len() == 1 && tier.is_none() {
        return cx.db.set(table, owner, "acls", Datum::Set(Vec::new()));
    }
    let direction = match cx.args.len() {
        1 => None,
        _ => Some(direction(cx.arg(1))?),
    };
    if cx.args.len() == 3 {
        parse_priority(cx.arg(2))?;
        return fail("cannot specify priority without match");
    }
    let rest = match cx.args.len() {
        1 | 2 => None,
        _ => Some((parse_priority(cx.arg(2))?, cx.arg(3))),
    };
    for (uuid, row) in acls(cx, table, owner) {
        let at = |(priority, match_)| {
            row.int("priority") == Some(priority) && row.str("match") == match_
        };
        let there = direction.is_none_or(|direction| row.str("direction") == direction)
            && tier.is_none_or(|tier| row.int("tier") == Some(tier));
        if there && rest.is_none_or(at) {
            cx.db.remove_ref(table, owner, "acls", uuid)?;
            // With priority and match it is one that is meant.
            if rest.is_some() {
                break;
            }
        }
    }
    Ok(())
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (table, owner) = owner(cx)?;
    let after_lb = |row: &Row| row.key("options", "apply-after-lb") == Some("true");
    let mut rows: Vec<Row> = acls(cx, table, owner)
        .into_iter()
        .map(|(_, row)| row)
        .collect();
    rows.sort_by_cached_key(|row| {
        let egress = row.str("direction") == "to-lport";
        (
            egress,
            after_lb(row),
            Reverse(row.int("priority")),
            row.str("match").to_string(),
        )
    });
    for row in rows {
        let priority = row.int("priority").unwrap_or(0);
        let mut line = format!(
            "{:>10} {priority:>5} ({}) {}",
            row.str("direction"),
            row.str("match"),
            row.str("action")
        );
        if row.bool("log") == Some(true) {
            line.push_str(&format!(" log({})", log_details(&row)));
        }
        if let Some(label) = row.int("label").filter(|label| *label != 0) {
            line.push_str(&format!(" label={label}"));
        }
        if after_lb(&row) {
            line.push_str(" [after-lb]");
        }
        cx.line(line);
    }
    Ok(())
}

fn log_details(row: &Row) -> String {
    let name = row.opt_str("name").map(|name| format!("name={name}"));
    let severity = row
        .opt_str("severity")
        .map(|severity| format!("severity={severity}"));
    let meter = row
        .opt_str("meter")
        .map(|meter| format!("meter=\"{meter}\""));
    [name, severity, meter]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(",")
}
