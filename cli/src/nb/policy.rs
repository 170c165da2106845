//! `lr-policy-*`: routing policies.

use std::cmp::Reverse;
use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::router::{self, LR};
use super::router_port::parse_priority;
use crate::command::{Command, Cx, MANY};
use crate::common::key_values;
use crate::error::{Error, fail};
use crate::matching::check_match;
use crate::replica::{Row, string_set};

const POLICY: &str = "Logical_Router_Policy";
const TABLES: &[&str] = &[LR, POLICY];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lr-policy-add",
        (4, MANY),
        "ROUTER PRIORITY MATCH ACTION [NEXTHOP[,NEXTHOP]...] [KEY=VALUE]...",
        &["--may-exist"],
        TABLES,
        "add a policy to ROUTER",
        add,
    ),
    Command::new(
        "lr-policy-del",
        (1, 3),
        "ROUTER [{PRIORITY | UUID} [MATCH]]",
        &["--if-exists"],
        TABLES,
        "remove policies from ROUTER",
        del,
    ),
    Command::new(
        "lr-policy-list",
        (1, 1),
        "ROUTER",
        &[],
        TABLES,
        "print policies for ROUTER",
        list,
    ),
];

fn policies(cx: &Cx<'_>, router: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(LR, router)
        .map(|row| row.refs("policies"))
        .unwrap_or_default();
    refs.into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(POLICY, uuid)?.clone())))
        .collect()
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let priority = parse_priority(cx.arg(1))?;
    let (match_, action) = (cx.arg(2), cx.arg(3));
    if !matches!(action, "allow" | "drop" | "reroute") {
        return fail(format!(
            "{action}: action must be one of \"allow\", \"drop\", and \"reroute\""
        ));
    }
    check_match(match_)?;
    let reroute = action == "reroute";
    if reroute && cx.args.len() < 5 {
        return fail("Nexthop is required when action is reroute.");
    }
    let nexthops = if reroute {
        nexthops(cx.arg(4))?
    } else {
        Vec::new()
    };
    let options = &cx.args[if reroute { 5 } else { 4 }..];
    if let Some(option) = options.iter().find(|option| !option.contains('=')) {
        return fail(format!("No value specified for the option : {option}"));
    }
    let same = |row: &Row| row.int("priority") == Some(priority) && row.str("match") == match_;
    if policies(cx, router).iter().any(|(_, row)| same(row)) {
        if cx.has("--may-exist") {
            return Ok(());
        }
        return fail(format!(
            "Same routing policy already existed on the logical router {}.",
            cx.arg(0)
        ));
    }
    let policy = cx.db.insert(POLICY, None)?;
    cx.db.set(
        POLICY,
        policy,
        "priority",
        Datum::one(Atom::Integer(priority)),
    )?;
    cx.db.set_str(POLICY, policy, "match", match_)?;
    cx.db.set_str(POLICY, policy, "action", action)?;
    cx.db
        .set(POLICY, policy, "nexthops", string_set(&nexthops))?;
    cx.db.set(POLICY, policy, "options", key_values(options))?;
    cx.db.add_ref(LR, router, "policies", policy)
}

/// Addresses separated by commas, all of one family.
fn nexthops(text: &str) -> Result<Vec<String>, Error> {
    let parse = |part: &str| {
        let address = part.trim().parse::<IpAddr>();
        address.map_err(|_| Error::new(format!("bad next hop argument: {text}")))
    };
    let addresses: Vec<IpAddr> = text.split(',').map(parse).collect::<Result<_, _>>()?;
    if addresses
        .iter()
        .any(|address| address.is_ipv4() != addresses[0].is_ipv4())
    {
        return fail(format!(
            "bad next hops argument, not in the same addr family : {text}"
        ));
    }
    Ok(addresses.iter().map(ToString::to_string).collect())
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    if cx.args.len() == 1 {
        return cx.db.set(LR, router, "policies", Datum::Set(Vec::new()));
    }
    let policies = policies(cx, router);
    if let Ok(uuid) = cx.arg(1).parse::<Uuid>() {
        if cx.args.len() == 3 {
            return fail("uuid must be the only argument");
        }
        if !policies.iter().any(|(policy, _)| *policy == uuid) {
            if cx.has("--if-exists") {
                return Ok(());
            }
            return fail("Logical router policy uuid is not found.");
        }
        return cx.db.remove_ref(LR, router, "policies", uuid);
    }
    let priority = parse_priority(cx.arg(1))?;
    let match_ = (cx.args.len() == 3).then(|| cx.arg(2));
    for (uuid, row) in policies {
        let matches =
            row.int("priority") == Some(priority) && match_.is_none_or(|m| m == row.str("match"));
        if matches {
            cx.db.remove_ref(LR, router, "policies", uuid)?;
            if match_.is_some() {
                break;
            }
        }
    }
    Ok(())
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let mut rows: Vec<Row> = policies(cx, router)
        .into_iter()
        .map(|(_, row)| row)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_cached_key(|row| (Reverse(row.int("priority")), row.str("match").to_string()));
    cx.line("Routing Policies");
    for row in rows {
        let priority = row.int("priority").unwrap_or(0);
        let mut line = format!(
            "{priority:>10} {:>50} {:>15}",
            row.str("match"),
            row.str("action")
        );
        let mut nexthops = row.strs("nexthops");
        if nexthops.is_empty() {
            nexthops.extend(row.opt_str("nexthop"));
        }
        if !nexthops.is_empty() {
            line.push_str(&format!(" {:>25}", nexthops[0]));
            nexthops[1..]
                .iter()
                .for_each(|nexthop| line.push_str(&format!(", {nexthop}")));
        }
        let options: Vec<String> = row
            .map("options")
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        if !options.is_empty() {
            line.push_str(&format!(" {:>20}{}", "", ""));
            line.truncate(line.trim_end().len());
            line.push_str(&format!("               {}", options.join(",")));
        }
        cx.line(line);
    }
    Ok(())
}
