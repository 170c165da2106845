//! `show`, `chassis-*`, `lsp-bind` and `lsp-unbind`.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use crate::command::{Command, Cx};
use crate::error::{Error, fail};
use crate::replica::{Row, string, string_map};

const CHASSIS: &str = "Chassis";
const ENCAP: &str = "Encap";
const BINDING: &str = "Port_Binding";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "chassis-add",
        (3, 3),
        "CHASSIS ENCAP-TYPE ENCAP-IP",
        &["--may-exist"],
        &[CHASSIS, ENCAP],
        "create a new chassis named CHASSIS with ENCAP-TYPE tunnels and ENCAP-IP",
        add,
    ),
    Command::new(
        "chassis-del",
        (1, 1),
        "CHASSIS",
        &["--if-exists"],
        &[CHASSIS, ENCAP],
        "delete CHASSIS and all of its encaps and gateway_ports",
        del,
    ),
    Command::new(
        "lsp-bind",
        (2, 2),
        "PORT CHASSIS",
        &["--may-exist"],
        &[CHASSIS, BINDING],
        "bind logical port PORT to CHASSIS",
        bind,
    ),
    Command::new(
        "lsp-unbind",
        (1, 1),
        "PORT",
        &["--if-exists"],
        &[CHASSIS, BINDING],
        "reset the port binding of logical port PORT",
        unbind,
    ),
];

fn named(cx: &Cx<'_>, table: &str, column: &str, name: &str) -> Option<Uuid> {
    cx.db
        .rows(table)
        .find(|(_, row)| row.str(column) == name)
        .map(|(uuid, _)| uuid)
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, types, ip) = (cx.arg(0), cx.arg(1), cx.arg(2));
    if named(cx, CHASSIS, "name", name).is_some() {
        if cx.has("--may-exist") {
            return Ok(());
        }
        return fail(format!(
            "cannot create a chassis named {name} because a chassis named {name} already exists"
        ));
    }
    let mut kinds: Vec<&str> = types.split(',').filter(|ty| !ty.is_empty()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut encaps = Vec::new();
    for ty in kinds {
        let encap = cx.db.insert(ENCAP, None)?;
        cx.db.set_str(ENCAP, encap, "type", ty)?;
        cx.db.set_str(ENCAP, encap, "ip", ip)?;
        cx.db.set_str(ENCAP, encap, "chassis_name", name)?;
        cx.db
            .set(ENCAP, encap, "options", string_map([("csum", "true")]))?;
        encaps.push(Atom::Uuid(encap));
    }
    let chassis = cx.db.insert(CHASSIS, None)?;
    cx.db.set_str(CHASSIS, chassis, "name", name)?;
    cx.db.set(CHASSIS, chassis, "encaps", Datum::set(encaps))
}

/// A chassis by name; `None` only with `--if-exists`.
fn find_chassis(cx: &Cx<'_>, name: &str, optional: bool) -> Result<Option<Uuid>, Error> {
    let found = named(cx, CHASSIS, "name", name);
    if found.is_none() && !optional {
        return fail(format!("no chassis named {name}"));
    }
    Ok(found)
}

fn find_port(cx: &Cx<'_>, optional: bool) -> Result<Option<Uuid>, Error> {
    let name = cx.arg(0);
    let found = named(cx, BINDING, "logical_port", name);
    if found.is_none() && !optional {
        return fail(format!("no port named {name}"));
    }
    Ok(found)
}

fn del(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(chassis) = find_chassis(cx, cx.arg(0), cx.has("--if-exists"))? else {
        return Ok(());
    };
    let encaps = cx
        .db
        .row(CHASSIS, chassis)
        .map(|row| row.refs("encaps"))
        .unwrap_or_default();
    encaps
        .into_iter()
        .for_each(|encap| cx.db.delete(ENCAP, encap));
    cx.db.delete(CHASSIS, chassis);
    Ok(())
}

fn bind(cx: &mut Cx<'_>) -> Result<(), Error> {
    let may_exist = cx.has("--may-exist");
    let Some(port) = find_port(cx, false)? else {
        return Ok(());
    };
    let Some(chassis) = find_chassis(cx, cx.arg(1), false)? else {
        return Ok(());
    };
    let bound = cx
        .db
        .row(BINDING, port)
        .and_then(|row| row.refs("chassis").first().copied());
    if let Some(bound) = bound {
        if may_exist && bound == chassis {
            return Ok(());
        }
        let name = cx
            .db
            .row(CHASSIS, bound)
            .map(|row| row.str("name").to_string());
        return fail(format!(
            "lport ({}) has already been binded to chassis ({})",
            cx.arg(0),
            name.unwrap_or_default()
        ));
    }
    cx.db
        .set(BINDING, port, "up", Datum::one(Atom::Boolean(true)))?;
    cx.db
        .set(BINDING, port, "chassis", Datum::one(Atom::Uuid(chassis)))
}

fn unbind(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(port) = find_port(cx, cx.has("--if-exists"))? else {
        return Ok(());
    };
    cx.db.set(BINDING, port, "up", Datum::Set(Vec::new()))?;
    cx.db.set(BINDING, port, "chassis", Datum::Set(Vec::new()))
}

pub(super) fn show(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut chassis: Vec<(String, Uuid, Row)> = cx
        .db
        .rows(CHASSIS)
        .map(|(uuid, row)| (row.str("name").to_string(), uuid, row.clone()))
        .collect();
    chassis.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let text = |text: &str| string(text).to_text();
    for (name, uuid, row) in chassis {
        cx.line(format!("Chassis {}", text(&name)));
        if !row.str("hostname").is_empty() {
            cx.line(format!("    hostname: {}", text(row.str("hostname"))));
        }
        for encap in row.refs("encaps") {
            let Some(encap) = cx.db.row(ENCAP, encap).cloned() else {
                continue;
            };
            cx.line(format!("    Encap {}", text(encap.str("type"))));
            cx.line(format!("        ip: {}", text(encap.str("ip"))));
            let options = encap.map("options");
            if !options.is_empty() {
                let options: Vec<String> = options
                    .iter()
                    .map(|(k, v)| format!("{}={}", text(k), text(v)))
                    .collect();
                cx.line(format!("        options: {{{}}}", options.join(", ")));
            }
        }
        let mut ports: Vec<String> = cx
            .db
            .rows(BINDING)
            .filter(|(_, row)| row.refs("chassis").contains(&uuid))
            .map(|(_, row)| row.str("logical_port").to_string())
            .collect();
        ports.sort_unstable();
        ports
            .into_iter()
            .for_each(|port| cx.line(format!("    Port_Binding {}", text(&port))));
    }
    Ok(())
}
