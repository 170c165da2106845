//! Mirrors, control plane protection, forwarding groups.

use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::router_port::parse_priority;
use super::{acl, ports, router, switch};
use crate::command::{Command, Cx, MANY};
use crate::common::{by_name, not_found, parse_mac};
use crate::error::{Error, fail};
use crate::matching::check_match;
use crate::replica::{Row, string_set};

const MIRROR: &str = "Mirror";
const RULE: &str = "Mirror_Rule";
const LSP: &str = "Logical_Switch_Port";
const LS: &str = "Logical_Switch";
const LR: &str = "Logical_Router";
const COPP: &str = "Copp";
const FWD: &str = "Forwarding_Group";
const OF_MIRROR: &[&str] = &[MIRROR, LSP];
/// Apart from the others: databases of 23.03 have no such table.
const OF_MIRROR_RULE: &[&str] = &[MIRROR, RULE];
const OF_COPP: &[&str] = &[COPP, LS, LR];
const OF_FWD: &[&str] = &[FWD, LS, LSP];

/// What controllers handle in software and a meter can protect: ovn-nb(5), table `Copp`.
const PROTOCOLS: &[&str] = &[
    "arp",
    "arp-resolve",
    "dhcpv4-opts",
    "dhcpv4-relay",
    "dhcpv4-relay",
    "dhcpv6-opts",
    "dns",
    "event-elb",
    "icmp4-error",
    "icmp6-error",
    "igmp",
    "nd-na",
    "nd-ns",
    "nd-ns-resolve",
    "nd-ra-opts",
    "tcp-reset",
    "bfd",
    "reject",
    "svc-monitor",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "mirror-add",
        (4, 5),
        "NAME TYPE [INDEX] {to-lport | from-lport | both} {IP | MIRROR-ID | PORT}",
        &[],
        OF_MIRROR,
        "add a mirror with given name",
        add_mirror,
    ),
    Command::new(
        "mirror-del",
        (0, 1),
        "[NAME]",
        &[],
        OF_MIRROR,
        "remove mirrors",
        |cx| {
            let named = |row: &Row| cx.args.is_empty() || row.str("name") == cx.arg(0);
            let gone: Vec<Uuid> = cx
                .db
                .rows(MIRROR)
                .filter(|(_, row)| named(row))
                .map(|(uuid, _)| uuid)
                .collect();
            gone.into_iter().for_each(|uuid| cx.db.delete(MIRROR, uuid));
            Ok(())
        },
    ),
    Command::new(
        "mirror-list",
        (0, 0),
        "",
        &[],
        OF_MIRROR_RULE,
        "print mirrors",
        list_mirrors,
    ),
    Command::new(
        "mirror-rule-add",
        (4, 4),
        "MIRROR PRIORITY MATCH {mirror | skip}",
        &[],
        OF_MIRROR_RULE,
        "add a rule to an lport MIRROR",
        add_rule,
    ),
    Command::new(
        "mirror-rule-del",
        (1, 3),
        "MIRROR [PRIORITY [MATCH]]",
        &[],
        OF_MIRROR_RULE,
        "remove rules from MIRROR",
        del_rules,
    ),
    Command::new(
        "lsp-attach-mirror",
        (2, 2),
        "PORT MIRROR",
        &[],
        OF_MIRROR,
        "attach source PORT to MIRROR",
        |cx| {
            let (port, mirror) = (ports::SWITCH.get(cx, cx.arg(0))?, mirror(cx)?);
            if cx
                .db
                .row(LSP, port)
                .is_some_and(|row| row.refs("mirror_rules").contains(&mirror))
            {
                let (port, mirror) = (cx.arg(0), cx.arg(1));
                return fail(format!(
                    "mirror {mirror} is already attached to the logical port {port}."
                ));
            }
            cx.db.add_ref(LSP, port, "mirror_rules", mirror)
        },
    ),
    Command::new(
        "lsp-detach-mirror",
        (2, 2),
        "PORT MIRROR",
        &[],
        OF_MIRROR,
        "detach source PORT from MIRROR",
        |cx| {
            let (port, mirror) = (ports::SWITCH.get(cx, cx.arg(0))?, mirror(cx)?);
            cx.db.remove_ref(LSP, port, "mirror_rules", mirror)
        },
    ),
    Command::new(
        "copp-add",
        (3, 3),
        "NAME PROTO METER",
        &[],
        OF_COPP,
        "add a copp policy for PROTO packets on NAME based on an existing METER",
        add_copp,
    ),
    Command::new(
        "copp-del",
        (1, 2),
        "NAME [PROTO]",
        &[],
        OF_COPP,
        "delete the copp policy for PROTO packets on NAME, or all of NAME",
        del_copp,
    ),
    Command::new(
        "copp-list",
        (1, 1),
        "NAME",
        &[],
        OF_COPP,
        "list all copp policies defined for NAME",
        |cx| {
            let found = by_name(cx, COPP, "name", "copps", cx.arg(0))?;
            let row = found
                .and_then(|uuid| cx.db.row(COPP, uuid))
                .cloned()
                .unwrap_or_default();
            row.map("meters")
                .into_iter()
                .for_each(|(protocol, meter)| cx.line(format!("{protocol}: {meter}")));
            Ok(())
        },
    ),
    Command::new(
        "ls-copp-add",
        (2, 2),
        "NAME SWITCH",
        &[],
        OF_COPP,
        "add a NAME copp policy on SWITCH",
        |cx| {
            let copp = copp(cx)?;
            let switch = switch::get(cx, cx.arg(1))?;
            cx.db.set(LS, switch, "copp", Datum::one(Atom::Uuid(copp)))
        },
    ),
    Command::new(
        "lr-copp-add",
        (2, 2),
        "NAME ROUTER",
        &[],
        OF_COPP,
        "add a NAME copp policy on ROUTER",
        |cx| {
            let copp = copp(cx)?;
            let router = router::get(cx, cx.arg(1))?;
            cx.db.set(LR, router, "copp", Datum::one(Atom::Uuid(copp)))
        },
    ),
    Command::new(
        "fwd-group-add",
        (5, MANY),
        "GROUP SWITCH VIP VMAC PORT...",
        &["--liveness"],
        OF_FWD,
        "add a forwarding group on SWITCH",
        add_group,
    ),
    Command::new(
        "fwd-group-del",
        (1, 1),
        "GROUP",
        &["--if-exists"],
        OF_FWD,
        "delete a forwarding group",
        |cx| {
            let Some(group) = by_name(cx, FWD, "name", "forwarding groups", cx.arg(0))? else {
                return Ok(());
            };
            let owner = cx
                .db
                .rows(LS)
                .find(|(_, row)| row.refs("forwarding_groups").contains(&group));
            if let Some(owner) = owner.map(|(uuid, _)| uuid) {
                cx.db.remove_ref(LS, owner, "forwarding_groups", group)?;
            }
            cx.db.delete(FWD, group);
            Ok(())
        },
    ),
    Command::new(
        "fwd-group-list",
        (0, 1),
        "[SWITCH]",
        &[],
        OF_FWD,
        "print forwarding groups",
        list_groups,
    ),
];

fn mirror(cx: &Cx<'_>) -> Result<Uuid, Error> {
    let name = cx.arg(1);
    by_name(cx, MIRROR, "name", "mirrors", name)?.ok_or_else(|| not_found("mirror", name))
}

fn add_mirror(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, ty) = (cx.arg(0), cx.arg(1));
    if cx.db.rows(MIRROR).any(|(_, row)| row.str("name") == name) {
        return fail(format!("Mirror with {name} name already exists."));
    }
    let tunnel = matches!(ty, "gre" | "erspan");
    if !tunnel && !matches!(ty, "local" | "lport") {
        return fail(format!("{ty}: type must be \"gre\" or \"erspan\""));
    }
    // Only tunnels have an index.
    let (index, selection, sink) = match cx.args.len() {
        4 if tunnel => return fail(format!("an index is required for type {ty}")),
        4 => ("0", cx.arg(2), cx.arg(3)),
        _ => (cx.arg(2), cx.arg(3), cx.arg(4)),
    };
    let Ok(index) = index.parse::<i64>() else {
        return fail("Invalid Index");
    };
    let selection = match selection {
        "both" => "both",
        other => acl::direction(other).map_err(|_| {
            Error::new(format!(
                "{other}: selection must be \"to-lport\" or \"from-lport\""
            ))
        })?,
    };
    if tunnel && sink.parse::<IpAddr>().is_err() {
        return fail(format!("Invalid sink ip: {sink}"));
    }
    let mirror = cx.db.insert(MIRROR, None)?;
    for (column, value) in [
        ("name", name),
        ("type", ty),
        ("filter", selection),
        ("sink", sink),
    ] {
        cx.db.set_str(MIRROR, mirror, column, value)?;
    }
    cx.db
        .set(MIRROR, mirror, "index", Datum::one(Atom::Integer(index)))
}

/// The mirror that the first argument names.
fn first_mirror(cx: &Cx<'_>) -> Result<Uuid, Error> {
    let name = cx.arg(0);
    by_name(cx, MIRROR, "name", "mirrors", name)?.ok_or_else(|| not_found("mirror", name))
}

fn add_rule(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mirror = first_mirror(cx)?;
    if cx
        .db
        .row(MIRROR, mirror)
        .is_some_and(|row| row.str("type") != "lport")
    {
        return fail(format!(
            "{}: only mirrors of type lport have rules",
            cx.arg(0)
        ));
    }
    let priority = parse_priority(cx.arg(1))?;
    let (match_, action) = (cx.arg(2), cx.arg(3));
    check_match(match_)?;
    if !matches!(action, "mirror" | "skip") {
        return fail(format!(
            "{action}: action must be one of \"mirror\", \"skip\""
        ));
    }
    let same = |row: &Row| (row.int("priority"), row.str("match")) == (Some(priority), match_);
    if rules(cx, mirror).iter().any(|(_, row)| same(row)) {
        return fail(format!("Same mirror rule already exists in {}.", cx.arg(0)));
    }
    let rule = cx.db.insert(RULE, None)?;
    cx.db
        .set(RULE, rule, "priority", Datum::one(Atom::Integer(priority)))?;
    cx.db.set_str(RULE, rule, "match", match_)?;
    cx.db.set_str(RULE, rule, "action", action)?;
    cx.db.add_ref(MIRROR, mirror, "mirror_rules", rule)
}

fn del_rules(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mirror = first_mirror(cx)?;
    let priority = match cx.args.get(1) {
        Some(text) => Some(parse_priority(text)?),
        None => None,
    };
    let match_ = cx.args.get(2).map(|text| text.to_string());
    for (rule, row) in rules(cx, mirror) {
        let at = priority.is_none_or(|priority| row.int("priority") == Some(priority));
        if at && match_.as_ref().is_none_or(|text| row.str("match") == text) {
            cx.db.remove_ref(MIRROR, mirror, "mirror_rules", rule)?;
        }
    }
    Ok(())
}

fn rules(cx: &Cx<'_>, mirror: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(MIRROR, mirror)
        .map(|row| row.refs("mirror_rules"));
    refs.unwrap_or_default()
        .into_iter()
        .filter_map(|rule| Some((rule, cx.db.row(RULE, rule)?.clone())))
        .collect()
}

/// Rules follow what a mirror has had since there were mirrors, the one that is looked at first before the others.
fn list_mirrors(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut rows: Vec<(Uuid, Row)> = cx
        .db
        .rows(MIRROR)
        .map(|(uuid, row)| (uuid, row.clone()))
        .collect();
    rows.sort_by_cached_key(|(_, row)| row.str("name").to_string());
    for (uuid, row) in rows {
        cx.line(format!("{}:", row.str("name")));
        cx.line(format!("  Type     :  {}", row.str("type")));
        cx.line(format!("  Sink     :  {}", row.str("sink")));
        cx.line(format!("  Filter   :  {}", row.str("filter")));
        cx.line(format!("  Index/Key:  {}", row.int("index").unwrap_or(0)));
        let mut rules = rules(cx, uuid);
        rules.sort_by_cached_key(|(_, rule)| {
            let priority = std::cmp::Reverse(rule.int("priority"));
            (priority, rule.str("match").to_string())
        });
        if !rules.is_empty() {
            cx.line("  Rules    :");
        }
        for (_, rule) in rules {
            let (match_, action) = (rule.str("match"), rule.str("action"));
            let priority = rule.int("priority").unwrap_or(0);
            cx.line(format!("    {priority:>5} ({match_}) {action}"));
        }
        cx.line("");
    }
    Ok(())
}

fn copp(cx: &Cx<'_>) -> Result<Uuid, Error> {
    let name = cx.arg(0);
    by_name(cx, COPP, "name", "copps", name)?.ok_or_else(|| not_found("copp", name))
}

fn add_copp(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, protocol, meter) = (cx.arg(0), cx.arg(1), cx.arg(2));
    if !PROTOCOLS.contains(&protocol) {
        return fail(format!(
            "Invalid control protocol. Allowed values: {}.",
            PROTOCOLS.join(", ")
        ));
    }
    let copp = match by_name(cx, COPP, "name", "copps", name)? {
        Some(copp) => copp,
        None => {
            let copp = cx.db.insert(COPP, None)?;
            cx.db.set_str(COPP, copp, "name", name)?;
            copp
        }
    };
    cx.db.set_key(COPP, copp, "meters", protocol, Some(meter))
}

fn del_copp(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(copp) = by_name(cx, COPP, "name", "copps", cx.arg(0))? else {
        return Ok(());
    };
    if cx.args.len() == 2 {
        return cx.db.set_key(COPP, copp, "meters", cx.arg(1), None);
    }
    // References to it are weak and go with the row.
    cx.db.delete(COPP, copp);
    Ok(())
}

fn add_group(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, vip, vmac) = (cx.arg(0), cx.arg(2), cx.arg(3));
    if by_name(cx, FWD, "name", "forwarding groups", name)?.is_some() {
        return fail(format!(
            "{name}: a forwarding group by this name already exists"
        ));
    }
    let switch = switch::get(cx, cx.arg(1))?;
    if vip.parse::<IpAddr>().is_err() {
        return fail(format!("invalid ip address {vip}"));
    }
    if parse_mac(vmac).is_none() {
        return fail(format!("invalid mac address {vmac}"));
    }
    let ours = cx
        .db
        .row(LS, switch)
        .map(|row| row.refs("ports"))
        .unwrap_or_default();
    for port in &cx.args[4..] {
        let Some(found) = ports::SWITCH.find(cx, port, true)? else {
            return fail(format!("{port}: logical switch port does not exist"));
        };
        if !ours.contains(&found) {
            return fail(format!(
                "{port}: port already exists but in logical switch {}",
                cx.arg(1)
            ));
        }
    }
    let group = cx.db.insert(FWD, None)?;
    for (column, value) in [("name", name), ("vip", vip), ("vmac", vmac)] {
        cx.db.set_str(FWD, group, column, value)?;
    }
    cx.db
        .set(FWD, group, "child_port", string_set(&cx.args[4..]))?;
    if cx.has("--liveness") {
        cx.db
            .set(FWD, group, "liveness", Datum::one(Atom::Boolean(true)))?;
    }
    cx.db.add_ref(LS, switch, "forwarding_groups", group)
}

fn list_groups(cx: &mut Cx<'_>) -> Result<(), Error> {
    let only = if cx.args.is_empty() {
        None
    } else {
        Some(switch::get(cx, cx.arg(0))?)
    };
    let mut lines: Vec<String> = Vec::new();
    for (_, switch) in cx
        .db
        .rows(LS)
        .filter(|(uuid, _)| only.is_none_or(|only| only == *uuid))
    {
        for group in switch
            .refs("forwarding_groups")
            .into_iter()
            .filter_map(|uuid| cx.db.row(FWD, uuid))
        {
            lines.push(format!(
                "{:<16}{:<14}{:<15}{:<23}{}",
                group.str("name"),
                switch.str("name"),
                group.str("vip"),
                group.str("vmac"),
                group.strs("child_port").join(" ")
            ));
        }
    }
    lines.sort_unstable();
    if !lines.is_empty() {
        cx.line(format!(
            "{:<16}{:<14}{:<16}{:<22}{}",
            "FWD_GROUP", "LS", "VIP", "VMAC", "CHILD_PORTS"
        ));
    }
    lines.into_iter().for_each(|line| cx.line(line));
    Ok(())
}
