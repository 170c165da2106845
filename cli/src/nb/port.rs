//! `lsp-*`: logical switch ports.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports::SWITCH;
use super::switch::{self, named_lines};
use crate::address::check_addresses;
use crate::command::{Command, Cx, MANY};
use crate::error::{Error, fail, nearest};
use crate::replica::string_set;

const LS: &str = SWITCH.owners;
const LSP: &str = SWITCH.table;
const BOTH: &[&str] = &[LS, LSP];

/// Types of ports: ovn-nb(5), column `type` of `Logical_Switch_Port`.
const TYPES: &[&str] = &[
    "",
    "router",
    "localnet",
    "localport",
    "l2gateway",
    "vtep",
    "external",
    "virtual",
    "remote",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lsp-add",
        (2, 4),
        "SWITCH PORT [PARENT TAG]",
        &["--may-exist"],
        BOTH,
        "add logical port PORT on SWITCH (with PARENT on TAG)",
        add,
    ),
    Command::new(
        "lsp-del",
        (1, 1),
        "PORT",
        &["--if-exists"],
        BOTH,
        "delete PORT from its attached switch",
        |cx| SWITCH.del(cx),
    ),
    Command::new(
        "lsp-list",
        (1, 1),
        "SWITCH",
        &[],
        BOTH,
        "print the names of all logical ports on SWITCH",
        list,
    ),
    Command::new(
        "lsp-get-parent",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get the parent of PORT if set",
        |cx| print_optional(cx, "parent_name"),
    ),
    Command::new(
        "lsp-get-tag",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get the PORT's tag if set",
        |cx| print_optional(cx, "tag"),
    ),
    Command::new(
        "lsp-set-addresses",
        (1, MANY),
        "PORT [ADDRESS]...",
        &[],
        BOTH,
        "set MAC or MAC+IP addresses for PORT",
        set_addresses,
    ),
    Command::new(
        "lsp-get-addresses",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get a list of MAC or MAC+IP addresses on PORT",
        |cx| print_set(cx, "addresses"),
    ),
    Command::new(
        "lsp-set-port-security",
        (1, MANY),
        "PORT [ADDRS]...",
        &[],
        BOTH,
        "set port security addresses for PORT",
        set_port_security,
    ),
    Command::new(
        "lsp-get-port-security",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get PORT's port security addresses",
        |cx| print_set(cx, "port_security"),
    ),
    Command::new(
        "lsp-get-up",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get state of PORT ('up' or 'down')",
        |cx| {
            let port = port(cx)?;
            let up = cx
                .db
                .row(LSP, port)
                .and_then(|row| row.bool("up"))
                .unwrap_or(false);
            cx.line(if up { "up" } else { "down" });
            Ok(())
        },
    ),
    Command::new(
        "lsp-set-enabled",
        (2, 2),
        "PORT STATE",
        &[],
        BOTH,
        "set administrative state of PORT ('enabled' or 'disabled')",
        |cx| SWITCH.set_enabled(cx),
    ),
    Command::new(
        "lsp-get-enabled",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get administrative state of PORT",
        |cx| SWITCH.get_enabled(cx),
    ),
    Command::new(
        "lsp-set-type",
        (2, 2),
        "PORT TYPE",
        &[],
        BOTH,
        "set the type for PORT",
        set_type,
    ),
    Command::new(
        "lsp-get-type",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get the type for PORT",
        |cx| {
            let port = port(cx)?;
            let text = cx.db.row(LSP, port).map(|row| row.str("type").to_string());
            cx.line(text.unwrap_or_default());
            Ok(())
        },
    ),
    Command::new(
        "lsp-set-options",
        (1, MANY),
        "PORT KEY=VALUE...",
        &[],
        BOTH,
        "set options related to the type of PORT",
        |cx| SWITCH.set_options(cx),
    ),
    Command::new(
        "lsp-get-options",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get the type specific options for PORT",
        |cx| {
            let port = port(cx)?;
            let row = cx.db.row(LSP, port).cloned().unwrap_or_default();
            row.map("options")
                .iter()
                .for_each(|(key, value)| cx.line(format!("{key}={value}")));
            Ok(())
        },
    ),
    Command::new(
        "lsp-set-dhcpv4-options",
        (1, 2),
        "PORT [DHCP_OPTIONS_UUID]",
        &[],
        DHCP,
        "set dhcpv4 options for PORT",
        |cx| set_dhcp(cx, "dhcpv4_options", true),
    ),
    Command::new(
        "lsp-get-dhcpv4-options",
        (1, 1),
        "PORT",
        &[],
        DHCP,
        "get the dhcpv4 options for PORT",
        |cx| get_dhcp(cx, "dhcpv4_options"),
    ),
    Command::new(
        "lsp-set-dhcpv6-options",
        (1, 2),
        "PORT [DHCP_OPTIONS_UUID]",
        &[],
        DHCP,
        "set dhcpv6 options for PORT",
        |cx| set_dhcp(cx, "dhcpv6_options", false),
    ),
    Command::new(
        "lsp-get-dhcpv6-options",
        (1, 1),
        "PORT",
        &[],
        DHCP,
        "get the dhcpv6 options for PORT",
        |cx| get_dhcp(cx, "dhcpv6_options"),
    ),
    Command::new(
        "lsp-get-ls",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get the logical switch which the port belongs to",
        |cx| {
            let port = port(cx)?;
            let owner = SWITCH.owner_of(cx, port);
            named_lines(
                cx,
                owner.into_iter().map(|(uuid, name)| (name, uuid)).collect(),
            );
            Ok(())
        },
    ),
];

const DHCP: &[&str] = &[LS, LSP, "DHCP_Options"];

fn port(cx: &Cx<'_>) -> Result<Uuid, Error> {
    SWITCH.first(cx)
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let switch = switch::get(cx, cx.arg(0))?;
    let name = cx.arg(1);
    let (parent, tag) = match cx.args.len() {
        2 => (None, None),
        3 => return fail("lsp-add with parent must also specify a tag"),
        _ => {
            let tag = cx
                .arg(3)
                .parse::<i64>()
                .ok()
                .filter(|tag| (0..=4095).contains(tag));
            let tag = tag.ok_or_else(|| {
                Error::new(format!(
                    "{}: invalid tag (must be in range 0 to 4095)",
                    cx.arg(3)
                ))
            })?;
            (Some(cx.arg(2)), Some(tag))
        }
    };
    if let Some(existing) = SWITCH.find(cx, name, true)? {
        return existing_port(cx, existing, switch, parent, tag);
    }
    let port = cx.db.insert(LSP, None)?;
    cx.db.set_str(LSP, port, "name", name)?;
    if let (Some(parent), Some(tag)) = (parent, tag) {
        cx.db.set_str(LSP, port, "parent_name", parent)?;
        cx.db
            .set(LSP, port, "tag_request", Datum::one(Atom::Integer(tag)))?;
    }
    cx.db.add_ref(LS, switch, "ports", port)
}

/// `--may-exist`: fine if it is the same port.
fn existing_port(
    cx: &Cx<'_>,
    port: Uuid,
    switch: Uuid,
    parent: Option<&str>,
    tag: Option<i64>,
) -> Result<(), Error> {
    SWITCH.may_exist(cx, port, switch)?;
    let name = cx.arg(1);
    let Some(row) = cx.db.row(LSP, port) else {
        return Ok(());
    };
    match (parent, row.opt_str("parent_name")) {
        (Some(_), None) => return fail(format!("{name}: port already exists but has no parent")),
        (Some(asked), Some(has)) if asked != has => {
            return fail(format!(
                "{name}: port already exists with different parent {has}"
            ));
        }
        (None, Some(has)) => {
            return fail(format!("{name}: port already exists but has parent {has}"));
        }
        _ => {}
    }
    match (tag, row.int("tag_request")) {
        (Some(_), None) => fail(format!(
            "{name}: port already exists but has no tag_request"
        )),
        (Some(asked), Some(has)) if asked != has => fail(format!(
            "{name}: port already exists with different tag_request {has}"
        )),
        _ => Ok(()),
    }
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let switch = switch::get(cx, cx.arg(0))?;
    SWITCH.list(cx, switch)
}

fn print_optional(cx: &mut Cx<'_>, column: &str) -> Result<(), Error> {
    let port = port(cx)?;
    let value = cx
        .db
        .row(LSP, port)
        .and_then(|row| row.atoms(column).first().map(Atom::to_bare));
    value.into_iter().for_each(|text| cx.line(text));
    Ok(())
}

fn print_set(cx: &mut Cx<'_>, column: &str) -> Result<(), Error> {
    let port = port(cx)?;
    let row = cx.db.row(LSP, port).cloned().unwrap_or_default();
    row.strs(column).into_iter().for_each(|text| cx.line(text));
    Ok(())
}

fn set_addresses(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    let addresses = &cx.args[1..];
    addresses
        .iter()
        .try_for_each(|text| check_addresses(text, true))?;
    duplicate_addresses(cx, port, addresses)?;
    cx.db.set(LSP, port, "addresses", string_set(addresses))
}

/// Two ports of a switch must not have the same IP address.
fn duplicate_addresses(cx: &Cx<'_>, port: Uuid, addresses: &[String]) -> Result<(), Error> {
    let Some((switch, switch_name)) = SWITCH.owner_of(cx, port) else {
        return Ok(());
    };
    let wanted: Vec<std::net::IpAddr> = addresses.iter().flat_map(|a| ips(a)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let ports = cx
        .db
        .row(LS, switch)
        .map(|row| row.refs("ports"))
        .unwrap_or_default();
    for other in ports.into_iter().filter(|other| *other != port) {
        let Some(row) = cx.db.row(LSP, other) else {
            continue;
        };
        let dynamic = row.opt_str("dynamic_addresses");
        // A router port's addresses are the router's; stock compares only ports of the same kind.
        if row.str("type") == "router" {
            continue;
        }
        for address in row.strs("addresses").into_iter().chain(dynamic) {
            if let Some(ip) = ips(address).find(|ip| wanted.contains(ip)) {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                return fail(format!(
                    "Error on switch {switch_name}: duplicate {family} address '{ip}' found on logical \
                     switch port '{}'",
                    row.str("name")
                ));
            }
        }
    }
    Ok(())
}

/// The IP addresses of an entry of `addresses`.
fn ips(text: &str) -> impl Iterator<Item = std::net::IpAddr> {
    text.split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
}

fn set_port_security(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    cx.args[1..]
        .iter()
        .try_for_each(|text| check_addresses(text, false))?;
    cx.db
        .set(LSP, port, "port_security", string_set(&cx.args[1..]))
}

fn set_type(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    let ty = cx.arg(1);
    if !TYPES.contains(&ty) {
        let error = Error::new(format!(
            "Logical switch port type '{ty}' is unrecognized. Not setting type."
        ));
        return Err(match nearest(ty, TYPES.iter().copied()) {
            Some(near) => error.help(format!("did you mean '{near}'?")),
            None => error,
        });
    }
    cx.db.set_str(LSP, port, "type", ty)
}

fn set_dhcp(cx: &mut Cx<'_>, column: &str, v4: bool) -> Result<(), Error> {
    let port = port(cx)?;
    if cx.args.len() == 1 {
        return cx.db.set(LSP, port, column, Datum::Set(Vec::new()));
    }
    let options = super::misc::dhcp_options(cx, cx.arg(1))?;
    let cidr = cx
        .db
        .row("DHCP_Options", options)
        .map(|row| row.str("cidr").to_string());
    let cidr = cidr.unwrap_or_default();
    let prefix = crate::common::Prefix::parse(&cidr);
    if prefix.is_none_or(|prefix| prefix.address.is_ipv4() != v4) {
        let family = if v4 { "v4" } else { "v6" };
        return fail(format!("DHCP options cidr '{cidr}' is not IP{family}"));
    }
    cx.db
        .set(LSP, port, column, Datum::one(Atom::Uuid(options)))
}

fn get_dhcp(cx: &mut Cx<'_>, column: &str) -> Result<(), Error> {
    let port = port(cx)?;
    let options = cx
        .db
        .row(LSP, port)
        .and_then(|row| row.refs(column).first().copied());
    let shown = options.and_then(|uuid| {
        Some((
            uuid,
            cx.db.row("DHCP_Options", uuid)?.str("cidr").to_string(),
        ))
    });
    if let Some((uuid, cidr)) = shown {
        cx.line(format!("{uuid} ({cidr})"));
    }
    Ok(())
}
