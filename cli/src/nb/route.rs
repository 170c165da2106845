//! `lr-route-*`: static routes.

use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports;
use super::router::{self, LR};
use super::router_port::LRP;
use crate::command::{Command, Cx};
use crate::common::Prefix;
use crate::error::{Error, fail};
use crate::replica::Row;

const ROUTE: &str = "Logical_Router_Static_Route";
const TABLES: &[&str] = &[LR, LRP, ROUTE, "BFD"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lr-route-add",
        (3, 4),
        "ROUTER PREFIX NEXTHOP [PORT]",
        &[
            "--may-exist",
            "--ecmp",
            "--ecmp-symmetric-reply",
            "--policy=",
            "--route-table=",
            "--bfd?",
        ],
        TABLES,
        "add a route to ROUTER",
        add,
    ),
    Command::new(
        "lr-route-del",
        (1, 4),
        "ROUTER [PREFIX [NEXTHOP [PORT]]]",
        &["--if-exists", "--policy=", "--route-table="],
        TABLES,
        "remove routes from ROUTER",
        del,
    ),
    Command::new(
        "lr-route-list",
        (1, 1),
        "ROUTER",
        &["--route-table="],
        TABLES,
        "print routes for ROUTER",
        list,
    ),
];

const DISCARD: &str = "discard";

fn policy<'a>(cx: &Cx<'a>) -> Result<Option<&'a str>, Error> {
    match cx.value("--policy") {
        Some(policy) if !matches!(policy, "src-ip" | "dst-ip") => {
            fail(format!("bad policy: {policy}"))
        }
        policy => Ok(policy),
    }
}

fn prefix(text: &str) -> Result<Prefix, Error> {
    Prefix::parse(text).ok_or_else(|| Error::new(format!("bad prefix argument: {text}")))
}

/// The policy a route has: by destination unless it says otherwise.
fn policy_of(row: &Row) -> &str {
    row.opt_str("policy").unwrap_or("dst-ip")
}

fn nexthop(text: &str, v4: bool) -> Result<String, Error> {
    if text == DISCARD {
        return Ok(text.to_string());
    }
    match text.parse::<IpAddr>() {
        // IPv4 may go over IPv6 (RFC 5549), not the other way round.
        Ok(address) if v4 || address.is_ipv6() => Ok(address.to_string()),
        _ => fail(format!(
            "bad IPv{} nexthop argument: {text}",
            if v4 { 4 } else { 6 }
        )),
    }
}

fn routes(cx: &Cx<'_>, router: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(LR, router)
        .map(|row| row.refs("static_routes"))
        .unwrap_or_default();
    refs.into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(ROUTE, uuid)?.clone())))
        .collect()
}

fn network_of(row: &Row) -> Option<String> {
    Prefix::parse(row.str("ip_prefix")).map(|prefix| prefix.network())
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let policy = policy(cx)?;
    let prefix = prefix(cx.arg(1))?;
    let network = prefix.network();
    let nexthop = nexthop(cx.arg(2), prefix.address.is_ipv4())?;
    let symmetric = cx.has("--ecmp-symmetric-reply");
    let ecmp = cx.has("--ecmp") || symmetric;
    if ecmp && nexthop == DISCARD {
        return fail("ecmp is not valid for discard routes.");
    }
    let port = match cx.args.len() {
        4 => Some(ports::ROUTER.get(cx, cx.arg(3))?),
        _ => None,
    };
    let port_name = port
        .and_then(|port| cx.db.row(LRP, port))
        .map(|row| row.str("name").to_string());
    let table = cx.value("--route-table").unwrap_or("");
    let bfd = bfd(cx, port_name.as_deref(), &nexthop)?;

    let same_prefix = routes(cx, router).into_iter().filter(|(_, row)| {
        policy_of(row) == policy.unwrap_or("dst-ip")
            && network_of(row).as_deref() == Some(network.as_str())
            && row.str("route_table") == table
    });
    if ecmp {
        let mut same = same_prefix.filter(|(_, row)| {
            row.str("nexthop") == nexthop && row.opt_str("output_port") == port_name.as_deref()
        });
        if let Some((existing, _)) = same.next() {
            return if cx.has("--may-exist") {
                update_bfd(cx, existing, bfd)
            } else {
                fail("duplicate nexthop for the same ECMP route")
            };
        }
    } else if let Some((existing, _)) = { same_prefix }.next() {
        if !cx.has("--may-exist") {
            let policy = policy.unwrap_or("dst-ip");
            return fail(format!(
                "duplicate prefix: {network} (policy: {policy}). Use option --ecmp to allow this for ECMP routing."
            ));
        }
        cx.db.set_str(ROUTE, existing, "ip_prefix", &network)?;
        cx.db.set_str(ROUTE, existing, "nexthop", &nexthop)?;
        if let Some(port) = &port_name {
            cx.db.set_str(ROUTE, existing, "output_port", port)?;
        }
        if let Some(policy) = policy {
            cx.db.set_str(ROUTE, existing, "policy", policy)?;
        }
        return update_bfd(cx, existing, bfd);
    }
    let route = cx.db.insert(ROUTE, None)?;
    cx.db.set_str(ROUTE, route, "ip_prefix", &network)?;
    cx.db.set_str(ROUTE, route, "nexthop", &nexthop)?;
    cx.db.set_str(ROUTE, route, "route_table", table)?;
    if let Some(port) = &port_name {
        cx.db.set_str(ROUTE, route, "output_port", port)?;
    }
    if let Some(policy) = policy {
        cx.db.set_str(ROUTE, route, "policy", policy)?;
    }
    if symmetric {
        cx.db.set_key(
            ROUTE,
            route,
            "options",
            "ecmp_symmetric_reply",
            Some("true"),
        )?;
    }
    update_bfd(cx, route, bfd)?;
    cx.db.add_ref(LR, router, "static_routes", route)
}

fn update_bfd(cx: &mut Cx<'_>, route: Uuid, bfd: Option<Uuid>) -> Result<(), Error> {
    match bfd {
        Some(bfd) => cx.db.set(ROUTE, route, "bfd", Datum::one(Atom::Uuid(bfd))),
        None => Ok(()),
    }
}

/// The BFD session of `--bfd[=UUID]`: the one named, the one there is to that nexthop, or a new one.
fn bfd(cx: &mut Cx<'_>, port: Option<&str>, nexthop: &str) -> Result<Option<Uuid>, Error> {
    if !cx.has("--bfd") {
        return Ok(None);
    }
    if let Some(named) = cx.value("--bfd") {
        let found = crate::records::find(cx, "BFD", named)?;
        return found
            .map(Some)
            .ok_or_else(|| Error::new("no entry found in the BFD table"));
    }
    let same = |row: &Row| {
        row.str("dst_ip") == nexthop && port.is_none_or(|p| p == row.str("logical_port"))
    };
    if let Some((uuid, _)) = cx.db.rows("BFD").find(|(_, row)| same(row)) {
        return Ok(Some(uuid));
    }
    let Some(port) = port else {
        return fail("insert entry in the BFD table failed");
    };
    let uuid = cx.db.insert("BFD", None)?;
    cx.db.set_str("BFD", uuid, "logical_port", port)?;
    cx.db.set_str("BFD", uuid, "dst_ip", nexthop)?;
    Ok(Some(uuid))
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let policy = policy(cx)?;
    let table = cx.value("--route-table");
    if cx.args.len() == 1 && policy.is_none() && table.is_none() {
        return cx
            .db
            .set(LR, router, "static_routes", Datum::Set(Vec::new()));
    }
    let network = match cx.args.len() {
        1 => None,
        _ => Some(prefix(cx.arg(1))?),
    };
    let nexthop = match (cx.args.len(), &network) {
        (3.., Some(network)) => Some(
            nexthop(cx.arg(2), network.address.is_ipv4())
                .map_err(|_| Error::new(format!("bad nexthop argument: {}", cx.arg(2))))?,
        ),
        _ => None,
    };
    let port = (cx.args.len() == 4).then(|| cx.arg(3));
    let mut removed = false;
    for (uuid, row) in routes(cx, router) {
        let matches = policy.is_none_or(|policy| policy == policy_of(&row))
            && table.is_none_or(|table| table == row.str("route_table"))
            && network.is_none_or(|n| Some(n.network()) == network_of(&row))
            && nexthop
                .as_deref()
                .is_none_or(|nexthop| nexthop == row.str("nexthop"))
            && port.is_none_or(|port| row.opt_str("output_port") == Some(port));
        if matches {
            cx.db.remove_ref(LR, router, "static_routes", uuid)?;
            removed = true;
        }
    }
    if removed || cx.has("--if-exists") || cx.args.len() == 1 {
        return Ok(());
    }
    let network = network.map(|network| network.network());
    fail(format!(
        "no matching route: policy '{}', prefix '{}', nexthop '{}', output_port '{}'.",
        policy.unwrap_or("any"),
        network.as_deref().unwrap_or("any"),
        nexthop.as_deref().unwrap_or("any"),
        port.unwrap_or("any"),
    ))
}

/// The order of the listing: by table, longest prefix first, destination before source routes.
type Order = (String, std::cmp::Reverse<u8>, bool, IpAddr, String);

struct Line {
    order: Order,
    row: Row,
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let only = cx.value("--route-table");
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (_, row) in routes(cx, router) {
        let table = row.str("route_table").to_string();
        let Some(prefix) = Prefix::parse(row.str("ip_prefix")) else {
            tracing::warn!(target: "nbctl", "bad prefix: {}", row.str("ip_prefix"));
            continue;
        };
        if only.is_some_and(|only| only != table) {
            continue;
        }
        let by_source = policy_of(&row) == "src-ip";
        let order = (
            table,
            std::cmp::Reverse(prefix.length),
            by_source,
            prefix.address,
            row.str("nexthop").to_string(),
        );
        let family = if prefix.address.is_ipv4() {
            &mut v4
        } else {
            &mut v6
        };
        family.push(Line { order, row });
    }
    let first = !v4.is_empty();
    print_family(cx, "IPv4 Routes", v4);
    if first && !v6.is_empty() {
        cx.line("");
    }
    print_family(cx, "IPv6 Routes", v6);
    Ok(())
}

fn print_family(cx: &mut Cx<'_>, title: &str, mut lines: Vec<Line>) {
    if lines.is_empty() {
        return;
    }
    lines.sort_by(|a, b| a.order.cmp(&b.order));
    cx.line(title);
    let mut table = None;
    for at in 0..lines.len() {
        let (line, neighbours) = (&lines[at], [at.checked_sub(1), Some(at + 1)]);
        let of = |line: &Line| {
            (
                line.order.0.clone(),
                line.order.1,
                line.order.2,
                line.order.3,
            )
        };
        let ecmp = neighbours
            .into_iter()
            .flatten()
            .filter_map(|i| lines.get(i))
            .any(|n| of(n) == of(line));
        if table.as_ref() != Some(&line.order.0) {
            if table.is_some() {
                cx.line("");
            }
            let name = if line.order.0.is_empty() {
                "<main>"
            } else {
                &line.order.0
            };
            cx.line(format!("Route Table {name}:"));
            table = Some(line.order.0.clone());
        }
        print_route(cx, &line.row, ecmp);
    }
}

fn print_route(cx: &mut Cx<'_>, row: &Row, ecmp: bool) {
    let network = network_of(row).unwrap_or_default();
    let mut text = format!(
        "{network:>25} {:>25} {}",
        row.str("nexthop"),
        policy_of(row)
    );
    if let Some(port) = row.opt_str("output_port") {
        text.push_str(&format!(" {port}"));
    }
    if row.key("external_ids", "ic-learned-route").is_some() {
        text.push_str(" (learned)");
    }
    if ecmp {
        text.push_str(" ecmp");
    }
    if row.key("options", "ecmp_symmetric_reply") == Some("true") {
        text.push_str(" ecmp-symmetric-reply");
    }
    if !row.refs("bfd").is_empty() {
        text.push_str(" bfd");
    }
    cx.line(text);
}
