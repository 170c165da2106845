//! DHCP options, meters, QoS rules.

use std::cmp::Reverse;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::router_port::parse_priority;
use super::{acl, switch};
use crate::command::{Command, Cx, MANY};
use crate::common::{Prefix, key_values};
use crate::error::{Error, fail};
use crate::matching::check_match;
use crate::records;
use crate::replica::Row;

const DHCP: &str = "DHCP_Options";
const METER: &str = "Meter";
const BAND: &str = "Meter_Band";
const QOS: &str = "QoS";
const LS: &str = "Logical_Switch";
const OF_QOS: &[&str] = &[LS, QOS];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "dhcp-options-create",
        (1, MANY),
        "CIDR [EXTERNAL_IDS]",
        &[],
        &[DHCP],
        "create a DHCP options row with CIDR",
        create_dhcp,
    ),
    Command::new(
        "dhcp-options-del",
        (1, 1),
        "DHCP_OPTIONS_UUID",
        &[],
        &[DHCP],
        "delete DHCP_OPTIONS_UUID",
        |cx| {
            let options = dhcp_options(cx, cx.arg(0))?;
            cx.db.delete(DHCP, options);
            Ok(())
        },
    ),
    Command::new(
        "dhcp-options-list",
        (0, 0),
        "",
        &[],
        &[DHCP],
        "list the DHCP_Options rows",
        |cx| {
            let mut rows: Vec<(String, Uuid)> = cx
                .db
                .rows(DHCP)
                .map(|(uuid, row)| (row.str("cidr").to_string(), uuid))
                .collect();
            rows.sort_unstable();
            rows.into_iter()
                .for_each(|(_, uuid)| cx.line(uuid.to_string()));
            Ok(())
        },
    ),
    Command::new(
        "dhcp-options-set-options",
        (1, MANY),
        "DHCP_OPTIONS_UUID [KEY=VALUE]...",
        &[],
        &[DHCP],
        "set DHCP options for DHCP_OPTIONS_UUID",
        |cx| {
            let options = dhcp_options(cx, cx.arg(0))?;
            cx.db
                .set(DHCP, options, "options", key_values(&cx.args[1..]))
        },
    ),
    Command::new(
        "dhcp-options-get-options",
        (1, 1),
        "DHCP_OPTIONS_UUID",
        &[],
        &[DHCP],
        "print the DHCP options of DHCP_OPTIONS_UUID",
        |cx| {
            let options = dhcp_options(cx, cx.arg(0))?;
            let row = cx.db.row(DHCP, options).cloned().unwrap_or_default();
            row.map("options")
                .into_iter()
                .for_each(|(key, value)| cx.line(format!("{key}={value}")));
            Ok(())
        },
    ),
    Command::new(
        "meter-add",
        (4, 5),
        "NAME ACTION RATE UNIT [BURST]",
        &["--fair"],
        &[METER, BAND],
        "add a meter",
        add_meter,
    ),
    Command::new(
        "meter-del",
        (0, 1),
        "[NAME]",
        &[],
        &[METER],
        "remove meters",
        |cx| {
            let named = |row: &Row| cx.args.is_empty() || row.str("name") == cx.arg(0);
            let gone: Vec<Uuid> = cx
                .db
                .rows(METER)
                .filter(|(_, row)| named(row))
                .map(|(uuid, _)| uuid)
                .collect();
            gone.into_iter().for_each(|uuid| cx.db.delete(METER, uuid));
            Ok(())
        },
    ),
    Command::new(
        "meter-list",
        (0, 0),
        "",
        &[],
        &[METER, BAND],
        "print meters",
        list_meters,
    ),
    Command::new(
        "qos-add",
        (5, 8),
        "SWITCH DIRECTION PRIORITY MATCH [mark=MARK] [rate=RATE [burst=BURST]] [dscp=DSCP]",
        &["--may-exist"],
        OF_QOS,
        "add a QoS rule to SWITCH",
        add_qos,
    ),
    Command::new(
        "qos-del",
        (1, 4),
        "SWITCH [{DIRECTION | UUID} [PRIORITY MATCH]]",
        &[],
        OF_QOS,
        "remove QoS rules from SWITCH",
        del_qos,
    ),
    Command::new(
        "qos-list",
        (1, 1),
        "SWITCH",
        &[],
        OF_QOS,
        "print QoS rules for SWITCH",
        list_qos,
    ),
];

/// A row of `DHCP_Options` by UUID.
pub(super) fn dhcp_options(cx: &mut Cx<'_>, name: &str) -> Result<Uuid, Error> {
    match records::find(cx, DHCP, name)? {
        Some(uuid) => Ok(uuid),
        None => fail(format!("{name}: dhcp options UUID not found")),
    }
}

fn create_dhcp(cx: &mut Cx<'_>) -> Result<(), Error> {
    let cidr = cx.arg(0);
    if Prefix::parse(cidr).is_none() {
        return fail(format!("Invalid cidr format '{cidr}'"));
    }
    let options = cx.db.insert(DHCP, None)?;
    cx.db.set_str(DHCP, options, "cidr", cidr)?;
    cx.db
        .set(DHCP, options, "external_ids", key_values(&cx.args[1..]))
}

/// A number of a range, or the message.
fn number(
    text: &str,
    least: i64,
    most: i64,
    message: impl FnOnce() -> String,
) -> Result<i64, Error> {
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => fail(message()),
    }
}

const U32_MAX: i64 = u32::MAX as i64;

fn add_meter(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, action, rate, unit) = (cx.arg(0), cx.arg(1), cx.arg(2), cx.arg(3));
    if cx.db.rows(METER).any(|(_, row)| row.str("name") == name) {
        return fail(format!("meter with name \"{name}\" already exists"));
    }
    if name.starts_with("__") {
        return fail("meter names that begin with \"__\" are reserved");
    }
    if action != "drop" {
        return fail("action must be \"drop\"");
    }
    let rate = number(rate, 1, U32_MAX, || {
        "rate must be in the range 1...4294967295".to_string()
    })?;
    if !matches!(unit, "kbps" | "pktps") {
        return fail("unit must be \"kbps\" or \"pktps\"");
    }
    let burst = match cx.args.get(4) {
        Some(burst) => number(burst, 0, U32_MAX, || {
            "burst must be in the range 0...4294967295".to_string()
        })?,
        None => 0,
    };
    let band = cx.db.insert(BAND, None)?;
    cx.db.set_str(BAND, band, "action", action)?;
    cx.db
        .set(BAND, band, "rate", Datum::one(Atom::Integer(rate)))?;
    cx.db
        .set(BAND, band, "burst_size", Datum::one(Atom::Integer(burst)))?;
    let meter = cx.db.insert(METER, None)?;
    cx.db.set_str(METER, meter, "name", name)?;
    cx.db.set_str(METER, meter, "unit", unit)?;
    if cx.has("--fair") {
        cx.db
            .set(METER, meter, "fair", Datum::one(Atom::Boolean(true)))?;
    }
    cx.db.add_ref(METER, meter, "bands", band)
}

fn list_meters(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut rows: Vec<Row> = cx.db.rows(METER).map(|(_, row)| row.clone()).collect();
    rows.sort_by_cached_key(|row| row.str("name").to_string());
    for row in rows {
        let fair = if row.bool("fair") == Some(true) {
            " (fair)"
        } else {
            ""
        };
        cx.line(format!("{}:{fair} bands:", row.str("name")));
        let unit = row.str("unit");
        for band in row.refs("bands") {
            let Some(band) = cx.db.row(BAND, band).cloned() else {
                continue;
            };
            let mut line = format!(
                "  {}: {} {unit}",
                band.str("action"),
                band.int("rate").unwrap_or(0)
            );
            if let Some(burst) = band.int("burst_size").filter(|burst| *burst > 0) {
                let unit = if unit == "kbps" { "kb" } else { "packet" };
                line.push_str(&format!(", {burst} {unit} burst"));
            }
            cx.line(line);
        }
    }
    Ok(())
}

fn qos_rules(cx: &Cx<'_>, switch: Uuid) -> Vec<(Uuid, Row)> {
    let refs = cx
        .db
        .row(LS, switch)
        .map(|row| row.refs("qos_rules"))
        .unwrap_or_default();
    refs.into_iter()
        .filter_map(|uuid| Some((uuid, cx.db.row(QOS, uuid)?.clone())))
        .collect()
}

fn add_qos(cx: &mut Cx<'_>) -> Result<(), Error> {
    let switch = switch::get(cx, cx.arg(0))?;
    let direction = acl::direction(cx.arg(1))?;
    let priority = parse_priority(cx.arg(2))?;
    let match_ = cx.arg(3);
    check_match(match_)?;
    let (mut action, mut bandwidth) = (Vec::new(), Vec::new());
    for arg in &cx.args[4..] {
        match arg.split_once('=') {
            Some(("dscp", value)) => {
                let complaint = || format!("{value}: dscp must be in the range 0...63");
                action.push(("dscp", number(value, 0, 63, complaint)?));
            }
            Some(("mark", value)) => {
                let complaint = || format!("{value}: mark must be in the range 0...4294967295");
                action.push(("mark", number(value, 0, U32_MAX, complaint)?));
            }
            Some((what @ ("rate" | "burst"), value)) => {
                let complaint = || format!("{value}: {what} must be in the range 1...4294967295");
                bandwidth.push((what, number(value, 1, U32_MAX, complaint)?));
            }
            _ => {
                return fail(format!(
                    "{arg}: supported arguments are \"dscp=\", \"rate=\", and \"burst=\""
                ));
            }
        }
    }
    if action.is_empty() && !bandwidth.iter().any(|(what, _)| *what == "rate") {
        return fail("Either \"rate\" and/or \"dscp\" must be specified");
    }
    let same = |row: &Row| {
        (row.str("direction"), row.int("priority"), row.str("match"))
            == (direction, Some(priority), match_)
    };
    if qos_rules(cx, switch).iter().any(|(_, row)| same(row)) {
        if cx.has("--may-exist") {
            return Ok(());
        }
        return fail(format!("Same qos already existed on the ls {}.", cx.arg(0)));
    }
    let qos = cx.db.insert(QOS, None)?;
    cx.db
        .set(QOS, qos, "priority", Datum::one(Atom::Integer(priority)))?;
    cx.db.set_str(QOS, qos, "direction", direction)?;
    cx.db.set_str(QOS, qos, "match", match_)?;
    let integers = |pairs: Vec<(&str, i64)>| {
        Datum::map(
            pairs
                .into_iter()
                .map(|(k, v)| (Atom::String(k.into()), Atom::Integer(v)))
                .collect(),
        )
    };
    cx.db.set(QOS, qos, "action", integers(action))?;
    cx.db.set(QOS, qos, "bandwidth", integers(bandwidth))?;
    cx.db.add_ref(LS, switch, "qos_rules", qos)
}

fn del_qos(cx: &mut Cx<'_>) -> Result<(), Error> {
    let switch = switch::get(cx, cx.arg(0))?;
    if cx.args.len() == 1 {
        return cx.db.set(LS, switch, "qos_rules", Datum::Set(Vec::new()));
    }
    let rules = qos_rules(cx, switch);
    if let Ok(uuid) = cx.arg(1).parse::<Uuid>() {
        return match rules.iter().any(|(rule, _)| *rule == uuid) {
            true => cx.db.remove_ref(LS, switch, "qos_rules", uuid),
            false => fail("uuid is not found"),
        };
    }
    let direction = acl::direction(cx.arg(1))?;
    if cx.args.len() == 3 {
        return fail("cannot specify priority without match");
    }
    let rest = match cx.args.len() {
        2 => None,
        _ => Some((parse_priority(cx.arg(2))?, cx.arg(3))),
    };
    for (uuid, row) in rules {
        let at = |(priority, match_)| {
            row.int("priority") == Some(priority) && row.str("match") == match_
        };
        if row.str("direction") == direction && rest.is_none_or(at) {
            cx.db.remove_ref(LS, switch, "qos_rules", uuid)?;
        }
    }
    Ok(())
}

fn list_qos(cx: &mut Cx<'_>) -> Result<(), Error> {
    let switch = switch::get(cx, cx.arg(0))?;
    let mut rows: Vec<Row> = qos_rules(cx, switch)
        .into_iter()
        .map(|(_, row)| row)
        .collect();
    rows.sort_by_cached_key(|row| {
        (
            row.str("direction") == "to-lport",
            Reverse(row.int("priority")),
            row.str("match").to_string(),
        )
    });
    for row in rows {
        let mut line = format!(
            "{:>10} {:>5} ({})",
            row.str("direction"),
            row.int("priority").unwrap_or(0),
            row.str("match")
        );
        for (column, key) in [
            ("bandwidth", "rate"),
            ("bandwidth", "burst"),
            ("action", "dscp"),
            ("action", "mark"),
        ] {
            if let Some(Atom::Integer(value)) = row
                .columns
                .get(column)
                .and_then(|datum| datum.value(&Atom::String(key.into())))
            {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        cx.line(line);
    }
    Ok(())
}
