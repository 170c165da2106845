//! `lb-*`, `ls-lb-*`, `lr-lb-*`: load balancers.

use std::net::{IpAddr, SocketAddr};

use weft_ovsdb::model::{Datum, Uuid};

use super::{router, switch};
use crate::command::{Command, Cx};
use crate::common::{by_name, not_found, suggest};
use crate::error::{Error, fail};
use crate::replica::Row;

const LB: &str = "Load_Balancer";
const LS: &str = "Logical_Switch";
const LR: &str = "Logical_Router";
const OF_SWITCH: &[&str] = &[LB, LS];
const OF_ROUTER: &[&str] = &[LB, LR];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lb-add",
        (3, 5),
        "LB VIP[:PORT] IP[:PORT]... [PROTOCOL [ADDRESS_FAMILY]]",
        &[
            "--may-exist",
            "--add-duplicate",
            "--reject",
            "--event",
            "--template",
        ],
        &[LB],
        "create a load balancer or add a VIP to an existing one",
        add,
    ),
    Command::new(
        "lb-del",
        (1, 2),
        "LB [VIP]",
        &["--if-exists"],
        &[LB],
        "remove a load balancer or just the VIP from it",
        del,
    ),
    Command::new(
        "lb-list",
        (0, 1),
        "[LB]",
        &[],
        &[LB],
        "print load balancers",
        list,
    ),
    Command::new(
        "lr-lb-add",
        (2, 2),
        "ROUTER LB",
        &["--may-exist"],
        OF_ROUTER,
        "add a load balancer to ROUTER",
        |cx| {
            let router = router::get(cx, cx.arg(0))?;
            attach(cx, LR, router)
        },
    ),
    Command::new(
        "lr-lb-del",
        (1, 2),
        "ROUTER [LB]",
        &["--if-exists"],
        OF_ROUTER,
        "remove load balancers from ROUTER",
        |cx| {
            let router = router::get(cx, cx.arg(0))?;
            detach(cx, LR, router, "router")
        },
    ),
    Command::new(
        "lr-lb-list",
        (1, 1),
        "ROUTER",
        &[],
        OF_ROUTER,
        "print load balancers of ROUTER",
        |cx| {
            let router = router::get(cx, cx.arg(0))?;
            list_of(cx, LR, router)
        },
    ),
    Command::new(
        "ls-lb-add",
        (2, 2),
        "SWITCH LB",
        &["--may-exist"],
        OF_SWITCH,
        "add a load balancer to SWITCH",
        |cx| {
            let switch = switch::get(cx, cx.arg(0))?;
            attach(cx, LS, switch)
        },
    ),
    Command::new(
        "ls-lb-del",
        (1, 2),
        "SWITCH [LB]",
        &["--if-exists"],
        OF_SWITCH,
        "remove load balancers from SWITCH",
        |cx| {
            let switch = switch::get(cx, cx.arg(0))?;
            detach(cx, LS, switch, "switch")
        },
    ),
    Command::new(
        "ls-lb-list",
        (1, 1),
        "SWITCH",
        &[],
        OF_SWITCH,
        "print load balancers of SWITCH",
        |cx| {
            let switch = switch::get(cx, cx.arg(0))?;
            list_of(cx, LS, switch)
        },
    ),
];

fn find(cx: &Cx<'_>, name: &str, optional: bool) -> Result<Option<Uuid>, Error> {
    let found = by_name(cx, LB, "name", "load balancers", name)?;
    if found.is_none() && !optional {
        return Err(suggest(
            cx,
            LB,
            "name",
            name,
            not_found("load balancer", name),
        ));
    }
    Ok(found)
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    ip: IpAddr,
    port: Option<u16>,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self { ip, port: None });
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Some(Self {
                ip: socket.ip(),
                port: Some(socket.port()).filter(|port| *port != 0),
            });
        }
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        Some(Self {
            ip: inside.parse().ok()?,
            port: None,
        })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, vip_text, ips_text) = (cx.arg(0), cx.arg(1), cx.arg(2));
    let template = cx.has("--template");
    let vip = Endpoint::parse(vip_text);
    if vip.is_none() && !(template && Template::parse(vip_text).is_some()) {
        return fail(format!(
            "{vip_text}: should be an IP address (or an IP address and a port number with : as a separator)."
        ));
    }
    let has_port = match vip {
        Some(vip) => vip.port.is_some(),
        None => vip_text.contains(':'),
    };
    if cx.has("--reject") && cx.has("--event") {
        return fail("--reject and --event can't specified at the same time");
    }
    let protocol = match cx.args.get(3).map(String::as_str) {
        None => "tcp",
        Some(_) if !has_port => {
            return fail("Protocol is unnecessary when no port of vip is given.");
        }
        Some(protocol @ ("tcp" | "udp" | "sctp")) => protocol,
        Some(other) => {
            return fail(format!(
                "{other}: protocol must be one of \"tcp\", \"udp\",  or \"sctp\"."
            ));
        }
    };
    let family = match cx.args.get(4).map(String::as_str) {
        None => "ipv4",
        Some(family @ ("ipv4" | "ipv6")) => family,
        Some(other) => {
            return fail(format!(
                "{other}: address family must be \"ipv4\" or \"ipv6\"."
            ));
        }
    };
    let (backends, vip) = match (template, vip) {
        (false, Some(vip)) => (backends(&vip, ips_text)?, vip.to_string()),
        _ => (template_backends(ips_text)?, vip_text.to_string()),
    };
    let existing = if cx.has("--add-duplicate") {
        None
    } else {
        find(cx, name, true)?
    };
    let lb = match existing {
        Some(lb) => {
            let has = cx
                .db
                .row(LB, lb)
                .is_some_and(|row| row.key("vips", &vip).is_some());
            if has && !cx.has("--may-exist") {
                return fail(format!(
                    "{name}: a load balancer with this vip ({vip}) already exists"
                ));
            }
            lb
        }
        None => {
            let lb = cx.db.insert(LB, None)?;
            cx.db.set_str(LB, lb, "name", name)?;
            if template {
                cx.db
                    .set_key(LB, lb, "options", "address-family", Some(family))?;
            }
            for option in ["reject", "event", "template"] {
                if cx.has(&format!("--{option}")) {
                    cx.db.set_key(LB, lb, "options", option, Some("true"))?;
                }
            }
            lb
        }
    };
    cx.db.set_key(LB, lb, "vips", &vip, Some(&backends))?;
    // One that exists keeps its protocol unless another is asked for.
    if existing.is_none() || cx.args.len() == 4 {
        cx.db.set_str(LB, lb, "protocol", protocol)?;
    }
    Ok(())
}

/// `^NAME`, `^NAME:^PORT` or `^NAME:PORT`.
struct Template;

impl Template {
    fn parse(text: &str) -> Option<Self> {
        let is_name = |text: &str| {
            text.strip_prefix('^').is_some_and(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        let ported = port
            .is_none_or(|port| is_name(port) || port.parse::<u16>().is_ok_and(|port| port != 0));
        (is_name(name) && ported).then_some(Template)
    }
}

/// Backends by name go as they are: what they stand for is only known where they are used.
fn template_backends(text: &str) -> Result<String, Error> {
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match Endpoint::parse(part) {
            Some(backend) => all.push(backend.to_string()),
            None if Template::parse(part).is_some() => all.push(part.to_string()),
            None => {
                return fail(format!(
                    "{part}: should be an IP address or a template, each with or without a port."
                ));
            }
        }
    }
    Ok(all.join(","))
}

fn backends(vip: &Endpoint, text: &str) -> Result<String, Error> {
    let mut backends = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let backend = Endpoint::parse(part);
        let backend = match (backend, vip.port) {
            (Some(backend), Some(_)) if backend.port.is_some() => backend,
            (_, Some(_)) => {
                return fail(format!(
                    "{part}: should be an IP address and a port number with : as a separator."
                ));
            }
            (Some(backend), None) if backend.port.is_none() => backend,
            (_, None) => return fail(format!("{part}: should be an IP address.")),
        };
        if backend.ip.is_ipv4() != vip.ip.is_ipv4() {
            return fail(format!(
                "{part}: IP address family is different from VIP {}.",
                vip.ip
            ));
        }
        backends.push(backend.to_string());
    }
    Ok(backends.join(","))
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(lb) = find(cx, cx.arg(0), true)? else {
        return Ok(());
    };
    if cx.args.len() == 1 {
        cx.db.delete(LB, lb);
        return Ok(());
    }
    let vip =
        Endpoint::parse(cx.arg(1)).map_or_else(|| cx.arg(1).to_string(), |vip| vip.to_string());
    let vips = cx
        .db
        .row(LB, lb)
        .map(|row| row.map("vips").len())
        .unwrap_or(0);
    let has = cx
        .db
        .row(LB, lb)
        .is_some_and(|row| row.key("vips", &vip).is_some());
    match (has, vips) {
        (false, _) if cx.has("--if-exists") => Ok(()),
        (false, _) => fail(format!("vip {vip} is not part of the load balancer.")),
        (true, 1) => {
            cx.db.delete(LB, lb);
            Ok(())
        }
        (true, _) => cx.db.set_key(LB, lb, "vips", &vip, None),
    }
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let rows = cx.db.rows(LB).map(|(uuid, row)| (uuid, row.clone()));
    let wanted = |(uuid, row): &(Uuid, Row)| {
        cx.args.is_empty() || row.str("name") == cx.arg(0) || uuid.to_string() == cx.arg(0)
    };
    let rows = rows.filter(wanted).collect();
    print(cx, rows);
    Ok(())
}

fn list_of(cx: &mut Cx<'_>, table: &str, owner: Uuid) -> Result<(), Error> {
    let refs = cx
        .db
        .row(table, owner)
        .map(|row| row.refs("load_balancer"))
        .unwrap_or_default();
    let rows = refs
        .into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(LB, uuid)?.clone())))
        .collect();
    print(cx, rows);
    Ok(())
}

fn print(cx: &mut Cx<'_>, mut rows: Vec<(Uuid, Row)>) {
    if rows.is_empty() {
        return;
    }
    rows.sort_by_cached_key(|(uuid, row)| {
        let first = row.map("vips").first().map(|(vip, _)| (*vip).to_string());
        (row.str("name").to_string(), first, *uuid)
    });
    let vips = rows
        .iter()
        .flat_map(|(_, row)| row.map("vips"))
        .map(|(vip, _)| vip.len());
    let width = vips.max().unwrap_or(0) + 4;
    cx.line(format!(
        "{:<40}{:<20}{:<11}{:<width$}{}",
        "UUID", "LB", "PROTO", "VIP", "IPs"
    ));
    for (uuid, row) in rows {
        for (at, (vip, ips)) in row.map("vips").into_iter().enumerate() {
            let ported = Endpoint::parse(vip).is_none_or(|vip| vip.port.is_some());
            let protocol = match row.opt_str("protocol") {
                Some(protocol) if ported => protocol,
                None if ported => "tcp",
                _ => "",
            };
            let (uuid, name) = if at == 0 {
                (uuid.to_string(), row.str("name"))
            } else {
                (String::new(), "")
            };
            cx.line(format!(
                "{uuid:<40}{name:<20}{protocol:<11}{vip:<width$}{ips}"
            ));
        }
    }
}

fn attach(cx: &mut Cx<'_>, table: &str, owner: Uuid) -> Result<(), Error> {
    let Some(lb) = find(cx, cx.arg(1), false)? else {
        return Ok(());
    };
    let has = cx
        .db
        .row(table, owner)
        .is_some_and(|row| row.refs("load_balancer").contains(&lb));
    if has {
        if cx.has("--may-exist") {
            return Ok(());
        }
        return fail(format!(
            "{lb} : a load balancer with this UUID already exists"
        ));
    }
    cx.db.add_ref(table, owner, "load_balancer", lb)
}

fn detach(cx: &mut Cx<'_>, table: &str, owner: Uuid, what: &str) -> Result<(), Error> {
    if cx.args.len() == 1 {
        return cx
            .db
            .set(table, owner, "load_balancer", Datum::Set(Vec::new()));
    }
    let Some(lb) = find(cx, cx.arg(1), false)? else {
        return Ok(());
    };
    let has = cx
        .db
        .row(table, owner)
        .is_some_and(|row| row.refs("load_balancer").contains(&lb));
    if !has {
        if cx.has("--if-exists") {
            return Ok(());
        }
        return fail(format!(
            "load balancer {} is not part of any logical {what}.",
            cx.arg(1)
        ));
    }
    cx.db.remove_ref(table, owner, "load_balancer", lb)
}
