//! `lrp-*`: logical router ports.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::ports::ROUTER;
use super::router::{self, LR};
use crate::command::{Command, Cx, MANY};
use crate::common::{Prefix, parse_mac};
use crate::error::{Error, fail};
use crate::replica::string_set;

pub(super) const LRP: &str = ROUTER.table;
const GC: &str = "Gateway_Chassis";
const BOTH: &[&str] = &[LR, LRP];
const WITH_GC: &[&str] = &[LR, LRP, GC];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lrp-add",
        (4, MANY),
        "ROUTER PORT MAC NETWORK... [COLUMN[:KEY]=VALUE]...",
        &["--may-exist"],
        BOTH,
        "add logical port PORT on ROUTER",
        add,
    ),
    Command::new(
        "lrp-set-gateway-chassis",
        (2, 3),
        "PORT CHASSIS [PRIORITY]",
        &[],
        WITH_GC,
        "set gateway chassis for port PORT",
        set_gateway_chassis,
    ),
    Command::new(
        "lrp-set-options",
        (1, MANY),
        "PORT KEY=VALUE...",
        &[],
        BOTH,
        "set router port options",
        |cx| ROUTER.set_options(cx),
    ),
    Command::new(
        "lrp-del-gateway-chassis",
        (2, 2),
        "PORT CHASSIS",
        &[],
        WITH_GC,
        "delete gateway chassis from port PORT",
        del_gateway_chassis,
    ),
    Command::new(
        "lrp-get-gateway-chassis",
        (1, 1),
        "PORT",
        &[],
        WITH_GC,
        "print the names of all gateway chassis on PORT with PRIORITY",
        get_gateway_chassis,
    ),
    Command::new(
        "lrp-del",
        (1, 1),
        "PORT",
        &["--if-exists"],
        BOTH,
        "delete PORT from its attached router",
        |cx| ROUTER.del(cx),
    ),
    Command::new(
        "lrp-list",
        (1, 1),
        "ROUTER",
        &[],
        BOTH,
        "print the names of all ports on ROUTER",
        list,
    ),
    Command::new(
        "lrp-set-enabled",
        (2, 2),
        "PORT STATE",
        &[],
        BOTH,
        "set administrative state of PORT ('enabled' or 'disabled')",
        |cx| ROUTER.set_enabled(cx),
    ),
    Command::new(
        "lrp-get-enabled",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get administrative state of PORT",
        |cx| ROUTER.get_enabled(cx),
    ),
    Command::new(
        "lrp-set-redirect-type",
        (2, 2),
        "PORT TYPE",
        &[],
        BOTH,
        "set how packets redirected to PORT's gateway chassis travel ('overlay' or 'bridged')",
        |cx| {
            let port = port(cx)?;
            let ty = cx.arg(1);
            if !matches!(ty, "overlay" | "bridged") {
                return fail(format!("Invalid redirect type: {ty}"));
            }
            cx.db
                .set_key(LRP, port, "options", "redirect-type", Some(ty))
        },
    ),
    Command::new(
        "lrp-get-redirect-type",
        (1, 1),
        "PORT",
        &[],
        BOTH,
        "get how packets redirected to PORT's gateway chassis travel",
        |cx| {
            let port = port(cx)?;
            let ty = cx
                .db
                .row(LRP, port)
                .and_then(|row| row.key("options", "redirect-type").map(str::to_string));
            cx.line(ty.unwrap_or_else(|| "overlay".to_string()));
            Ok(())
        },
    ),
];

fn port(cx: &Cx<'_>) -> Result<Uuid, Error> {
    ROUTER.first(cx)
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    let (name, mac) = (cx.arg(1), cx.arg(2));
    // Networks come first, settings of columns after them.
    let networks: Vec<&str> = cx.args[3..]
        .iter()
        .map(String::as_str)
        .take_while(|arg| !arg.contains('='))
        .collect();
    let settings = &cx.args[3 + networks.len()..];
    if networks.is_empty() {
        return fail(format!("{name}: router port requires specifying a network"));
    }
    if parse_mac(mac).is_none() {
        return fail(format!("{name}: invalid mac address {mac}"));
    }
    if let Some(existing) = ROUTER.find(cx, name, true)? {
        return existing_port(cx, existing, router, &networks, settings);
    }
    for network in &networks {
        if Prefix::parse(network).is_none() {
            return fail(format!("{name}: invalid network address: {network}"));
        }
    }
    let port = cx.db.insert(LRP, None)?;
    cx.db.set_str(LRP, port, "name", name)?;
    cx.db.set_str(LRP, port, "mac", mac)?;
    cx.db.set(LRP, port, "networks", string_set(&networks))?;
    for setting in settings {
        crate::generic::assign(cx, LRP, port, setting)?;
    }
    cx.db.add_ref(LR, router, "ports", port)
}

/// `--may-exist`: fine if it is the same port.
fn existing_port(
    cx: &Cx<'_>,
    port: Uuid,
    router: Uuid,
    networks: &[&str],
    settings: &[String],
) -> Result<(), Error> {
    ROUTER.may_exist(cx, port, router)?;
    let name = cx.arg(1);
    let Some(row) = cx.db.row(LRP, port) else {
        return Ok(());
    };
    if parse_mac(row.str("mac")) != parse_mac(cx.arg(2)) {
        return fail(format!(
            "{name}: port already exists with mac {}",
            row.str("mac")
        ));
    }
    let normal = |texts: &[&str]| {
        let mut all: Option<Vec<String>> = texts
            .iter()
            .map(|t| Prefix::parse(t).map(|p| format!("{}/{}", p.address, p.length)))
            .collect();
        all.iter_mut().for_each(|all| all.sort_unstable());
        all
    };
    let Some(asked) = normal(networks) else {
        return fail(format!("{name}: Invalid networks configured"));
    };
    let Some(has) = normal(&row.strs("networks")) else {
        return fail(format!(
            "{name}: Existing port has invalid networks configured"
        ));
    };
    if asked != has {
        return fail(format!(
            "{name}: port already exists with different network"
        ));
    }
    let peer = settings
        .iter()
        .find_map(|setting| setting.strip_prefix("peer="));
    if peer != row.opt_str("peer") {
        return fail(format!("{name}: port already exists with mismatching peer"));
    }
    Ok(())
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let router = router::get(cx, cx.arg(0))?;
    ROUTER.list(cx, router)
}

/// A priority of gateway chassis: 0 to 32767.
pub(super) fn parse_priority(text: &str) -> Result<i64, Error> {
    match text.parse::<i64>() {
        Ok(priority) if (0..=32767).contains(&priority) => Ok(priority),
        _ => fail(format!("{text}: priority must in range 0...32767")),
    }
}

fn set_gateway_chassis(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    let priority = if cx.args.len() == 3 {
        parse_priority(cx.arg(2))?
    } else {
        0
    };
    let name = port_chassis(cx, port);
    let existing = cx
        .db
        .rows(GC)
        .find(|(_, row)| row.str("name") == name)
        .map(|(uuid, _)| uuid);
    let row = match existing {
        Some(row) => row,
        None => {
            let row = cx.db.insert(GC, None)?;
            cx.db.set_str(GC, row, "name", &name)?;
            cx.db.set_str(GC, row, "chassis_name", cx.arg(1))?;
            cx.db.add_ref(LRP, port, "gateway_chassis", row)?;
            row
        }
    };
    cx.db
        .set(GC, row, "priority", Datum::one(Atom::Integer(priority)))
}

/// Name of the gateway chassis row for the port and the chassis in the second argument.
fn port_chassis(cx: &Cx<'_>, port: Uuid) -> String {
    let port = cx.db.row(LRP, port).map_or("", |row| row.str("name"));
    format!("{port}-{}", cx.arg(1))
}

fn del_gateway_chassis(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    let chassis = cx.arg(1);
    let refs = cx
        .db
        .row(LRP, port)
        .map(|row| row.refs("gateway_chassis"))
        .unwrap_or_default();
    let mut rows = refs.into_iter();
    let found = rows.find(|uuid| {
        cx.db
            .row(GC, *uuid)
            .is_some_and(|row| row.str("chassis_name") == chassis)
    });
    let Some(found) = found else {
        return fail(format!(
            "chassis {chassis} is not added to logical port {}",
            cx.arg(0)
        ));
    };
    cx.db.remove_ref(LRP, port, "gateway_chassis", found)?;
    cx.db.delete(GC, found);
    Ok(())
}

fn get_gateway_chassis(cx: &mut Cx<'_>) -> Result<(), Error> {
    let port = port(cx)?;
    let refs = cx
        .db
        .row(LRP, port)
        .map(|row| row.refs("gateway_chassis"))
        .unwrap_or_default();
    let mut rows: Vec<_> = refs
        .into_iter()
        .filter_map(|uuid| cx.db.row(GC, uuid).cloned())
        .collect();
    rows.sort_by_key(|row| {
        (
            std::cmp::Reverse(row.int("priority")),
            row.str("name").to_string(),
        )
    });
    for row in rows {
        cx.line(format!(
            "{} {:5}",
            row.str("name"),
            row.int("priority").unwrap_or(0)
        ));
    }
    Ok(())
}
