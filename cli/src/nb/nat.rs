//! `lr-nat-*`: address translation on routers.

use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports;
use super::router::{self, LR};
use super::router_port::LRP;
use crate::command::{Command, Cx};
use crate::common::{Prefix, parse_mac};
use crate::error::{Error, fail};
use crate::replica::Row;

const NAT: &str = "NAT";
const TABLES: &[&str] = &[LR, LRP, NAT, "Logical_Switch_Port"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lr-nat-add",
        (4, 7),
        "ROUTER TYPE EXTERNAL_IP LOGICAL_IP [LOGICAL_PORT EXTERNAL_MAC] [EXTERNAL_PORT_RANGE]",
        &[
            "--may-exist",
            "--stateless",
            "--portrange",
            "--add-route",
            "--gateway-port=",
        ],
        TABLES,
        "add a NAT to ROUTER",
        add,
    ),
    Command::new(
        "lr-nat-del",
        (1, 4),
        "ROUTER [TYPE [IP] [GATEWAY_PORT]]",
        &["--if-exists"],
        TABLES,
        "remove NATs from ROUTER",
        del,
    ),
    Command::new(
        "lr-nat-list",
        (1, 1),
        "ROUTER",
        &[],
        TABLES,
        "print NATs for ROUTER",
        list,
    ),
];

fn check_type(text: &str) -> Result<&str, Error> {
    if matches!(text, "dnat" | "snat" | "dnat_and_snat") {
        return Ok(text);
    }
    fail(format!(
        "{text}: type must be one of \"dnat\", \"snat\" and \"dnat_and_snat\"."
    ))
}

fn nats(cx: &Cx<'_>, router: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(LR, router)
        .map(|row| row.refs("nat"))
        .unwrap_or_default();
    refs.into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(NAT, uuid)?.clone())))
        .collect()
}

/// The logical side: a network for snat, an address otherwise; in the form in which it is kept.
fn logical_ip(text: &str, ty: &str, v4: bool) -> Result<String, Error> {
    let family = if v4 { "IPv4" } else { "IPv6" };
    if ty == "snat" {
        let prefix = Prefix::parse(text).filter(|prefix| prefix.address.is_ipv4() == v4);
        let error = || Error::new(format!("{text}: should be an {family} address or network."));
        return prefix.map(|prefix| prefix.network()).ok_or_else(error);
    }
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() == v4 => Ok(address.to_string()),
        _ => fail(format!("{text}: Not a valid {family} address.")),
    }
}

/// What is to be added.
struct New<'a> {
    ty: &'a str,
    external: String,
    logical: String,
    port: Option<(&'a str, &'a str)>,
    range: Option<&'a str>,
    stateless: bool,
    gateway: Option<Uuid>,
}

fn parse<'a>(cx: &Cx<'a>) -> Result<New<'a>, Error> {
    let ty = check_type(cx.arg(1))?;
    let external = cx.arg(2).parse::<IpAddr>();
    let Ok(external) = external else {
        return fail(format!("{}: Not a valid IPv4 or IPv6 address.", cx.arg(2)));
    };
    let logical = logical_ip(cx.arg(3), ty, external.is_ipv4())?;
    let ranged = cx.has("--portrange");
    let (port, range) = match (cx.args.len(), ranged) {
        (4, _) => (None, None),
        (5, true) => (None, Some(cx.arg(4))),
        (5, false) => return fail("lr-nat-add with logical_port must also specify external_mac."),
        (6, true) => return fail("lr-nat-add with logical_port must also specify external_mac."),
        (6, false) => (Some((cx.arg(4), cx.arg(5))), None),
        (_, true) => (Some((cx.arg(4), cx.arg(5))), Some(cx.arg(6))),
        (_, false) => return fail("--portrange is needed with an external port range"),
    };
    if let Some((name, mac)) = port {
        if ty != "dnat_and_snat" {
            return fail(
                "logical_port and external_mac are only valid when type is \"dnat_and_snat\".",
            );
        }
        ports::SWITCH.get(cx, name)?;
        if parse_mac(mac).is_none() {
            return fail(format!("invalid mac address {mac}."));
        }
    }
    let stateless = cx.has("--stateless");
    if stateless && ty != "dnat_and_snat" {
        return fail("stateless is not applicable to dnat or snat types");
    }
    let gateway = cx
        .value("--gateway-port")
        .map(|name| ports::ROUTER.get(cx, name))
        .transpose()?;
    Ok(New {
        ty,
        external: external.to_string(),
        logical,
        port,
        range,
        stateless,
        gateway,
    })
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let new = parse(cx)?;
    if let Some(gateway) = new.gateway {
        let ours = cx
            .db
            .row(LR, router)
            .is_some_and(|row| row.refs("ports").contains(&gateway));
        if !ours {
            let (port, router) = (cx.value("--gateway-port").unwrap_or(""), cx.arg(0));
            return fail(format!(
                "{port} is not a router port of logical router: {router}."
            ));
        }
    }
    for (uuid, row) in nats(cx, router) {
        if row.str("type") != new.ty || row.refs("gateway_port").first().copied() != new.gateway {
            continue;
        }
        let same_external = row.str("external_ip") == new.external;
        let same_logical =
            Prefix::parse(row.str("logical_ip")).is_some_and(|p| p.network() == new.logical);
        if same_external && same_logical {
            if !cx.has("--may-exist") {
                let (external, logical) = (&new.external, &new.logical);
                return fail(format!(
                    "{external}, {logical}: a NAT with this external_ip and logical_ip already exists"
                ));
            }
            return set_details(cx, uuid, &new);
        }
        let (same, what, value) = match new.ty {
            "snat" => (same_logical, "logical_ip", &new.logical),
            _ => (same_external, "external_ip", &new.external),
        };
        if same {
            return fail(format!(
                "a NAT with this type ({}), {what} ({value}) already exists",
                new.ty
            ));
        }
    }
    let nat = cx.db.insert(NAT, None)?;
    cx.db.set_str(NAT, nat, "type", new.ty)?;
    cx.db.set_str(NAT, nat, "external_ip", &new.external)?;
    cx.db.set_str(NAT, nat, "logical_ip", &new.logical)?;
    set_details(cx, nat, &new)?;
    let stateless = if new.stateless { "true" } else { "false" };
    cx.db
        .set_key(NAT, nat, "options", "stateless", Some(stateless))?;
    if cx.has("--add-route") {
        cx.db
            .set_key(NAT, nat, "options", "add_route", Some("true"))?;
    }
    if let Some(gateway) = new.gateway {
        cx.db
            .set(NAT, nat, "gateway_port", Datum::one(Atom::Uuid(gateway)))?;
    }
    cx.db.add_ref(LR, router, "nat", nat)
}

fn set_details(cx: &mut Cx<'_>, nat: Uuid, new: &New<'_>) -> Result<(), Error> {
    if let Some((port, mac)) = new.port {
        cx.db.set_str(NAT, nat, "logical_port", port)?;
        cx.db.set_str(NAT, nat, "external_mac", mac)?;
    }
    match new.range {
        Some(range) => cx.db.set_str(NAT, nat, "external_port_range", range),
        None => Ok(()),
    }
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    if cx.args.len() == 1 {
        return cx.db.set(LR, router, "nat", Datum::Set(Vec::new()));
    }
    let ty = check_type(cx.arg(1))?;
    let ip = match cx.args.len() {
        2 => None,
        _ => {
            let prefix = Prefix::parse(cx.arg(2));
            let error = || Error::new(format!("{}: Invalid IP address or CIDR", cx.arg(2)));
            Some(prefix.ok_or_else(error)?.network())
        }
    };
    let gateway = match cx.args.len() {
        4 => Some(ports::ROUTER.get(cx, cx.arg(3))?),
        _ => None,
    };
    for (uuid, row) in nats(cx, router) {
        let column = if ty == "snat" {
            "logical_ip"
        } else {
            "external_ip"
        };
        let has = Prefix::parse(row.str(column)).map(|prefix| prefix.network());
        let matches = row.str("type") == ty
            && (ip.is_none() || ip == has)
            && gateway.is_none_or(|gateway| row.refs("gateway_port").contains(&gateway));
        if matches {
            cx.db.remove_ref(LR, router, "nat", uuid)?;
        }
    }
    Ok(())
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let mut rows: Vec<Row> = nats(cx, router).into_iter().map(|(_, row)| row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_cached_key(|row| {
        (
            row.str("type").to_string(),
            row.str("external_ip").to_string(),
            row.str("logical_ip").to_string(),
        )
    });
    let header = [
        "TYPE",
        "GATEWAY_PORT",
        "EXTERNAL_IP",
        "EXTERNAL_PORT",
        "LOGICAL_IP",
        "EXTERNAL_MAC",
        "LOGICAL_PORT",
    ];
    print(cx, header.map(str::to_string));
    for row in rows {
        let gateway = row
            .refs("gateway_port")
            .first()
            .and_then(|uuid| cx.db.row(LRP, *uuid));
        let gateway = gateway
            .map(|row| row.str("name").to_string())
            .unwrap_or_default();
        let text = |column: &str| row.str(column).to_string();
        print(
            cx,
            [
                text("type"),
                gateway,
                text("external_ip"),
                text("external_port_range"),
                text("logical_ip"),
                text("external_mac"),
                text("logical_port"),
            ],
        );
    }
    Ok(())
}

fn print(cx: &mut Cx<'_>, [ty, gateway, external, range, logical, mac, port]: [String; 7]) {
    let line =
        format!("{ty:<17}{gateway:<22}{external:<19}{range:<17}{logical:<20}{mac:<21}{port}");
    cx.line(line.trim_end());
}
