//! The canonical text of actions.

use std::fmt;
use std::net::IpAddr;

use crate::action::{
    Action, Endpoint, Lb, Log, NatTarget, ObsPoint, OptionValue, PacketOption, Sample, TriggerEvent,
};
use crate::constant::{Str, write_quoted};
use crate::expr::write_braced;

/// A list of actions as the `actions` column has it; the empty list is `drop;`.
pub struct Actions<'a>(pub &'a [Action]);

impl fmt::Display for Actions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("drop;")
        } else {
            write_list(f, self.0)
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, actions: &[Action]) -> fmt::Result {
    for (i, action) in actions.iter().enumerate() {
        if i > 0 {
            f.write_str(" ")?;
        }
        write!(f, "{action}")?;
    }
    Ok(())
}

fn write_block(f: &mut fmt::Formatter<'_>, name: &str, actions: &[Action]) -> fmt::Result {
    if actions.is_empty() {
        return write!(f, "{name} {{ }};");
    }
    write!(f, "{name} {{ ")?;
    write_list(f, actions)?;
    f.write_str(" };")
}

/// Writes items with `, ` between them.
fn write_items<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

impl fmt::Display for NatTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        match self.ports {
            None => Ok(()),
            Some((low, high)) if low == high => write!(f, ", {low}"),
            Some((low, high)) => write!(f, ", {low}-{high}"),
        }
    }
}

impl fmt::Display for PacketOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.name)?;
        match &self.value {
            OptionValue::One(value) => write!(f, "{value}"),
            OptionValue::Many(values) => write_braced(f, values),
        }
    }
}

fn write_lb(f: &mut fmt::Formatter<'_>, lb: &Lb) -> fmt::Result {
    f.write_str(lb.kind.name())?;
    if lb.backends.is_empty() && lb.templates.is_empty() {
        return f.write_str(";");
    }
    f.write_str("(backends=")?;
    let backends = lb
        .backends
        .iter()
        .map(|backend| backend as &dyn fmt::Display);
    let templates = lb.templates.iter().map(|text| text as &dyn fmt::Display);
    for (i, backend) in backends.chain(templates).enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        if let Some(port) = lb.behind.get(i) {
            write_quoted(f, port)?;
            f.write_str(":")?;
        }
        write!(f, "{backend}")?;
    }
    if let Some(fields) = &lb.hash_fields {
        f.write_str("; hash_fields=")?;
        write_quoted(f, fields)?;
    }
    if let Some(flag) = lb.flag {
        write!(f, "; {}", flag.name())?;
    }
    f.write_str(");")
}

fn write_log(f: &mut fmt::Formatter<'_>, log: &Log) -> fmt::Result {
    let quoted = |f: &mut fmt::Formatter<'_>, key: &str, value: &Str| {
        write!(f, "{key}=")?;
        write_quoted(f, value)
    };
    f.write_str("log(")?;
    let parts = [
        ("name", &log.name),
        ("verdict", &log.verdict),
        ("severity", &log.severity),
        ("meter", &log.meter),
    ];
    let given = parts
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (*key, value)));
    write_items(f, given, |f, (key, value)| match key {
        "name" | "meter" => quoted(f, key, value),
        _ => write!(f, "{key}={value}"),
    })?;
    f.write_str(");")
}

fn write_sample(f: &mut fmt::Formatter<'_>, sample: &Sample) -> fmt::Result {
    let Sample {
        probability,
        collector_set,
        obs_domain,
        obs_point,
    } = sample;
    write!(
        f,
        "sample(probability={probability},collector_set={collector_set},obs_domain={obs_domain},obs_point="
    )?;
    match obs_point {
        ObsPoint::Id(id) => write!(f, "{id}")?,
        ObsPoint::Cookie => f.write_str("$cookie")?,
        ObsPoint::Field(field) => write!(f, "{field}")?,
    }
    f.write_str(");")
}

fn write_event(f: &mut fmt::Formatter<'_>, event: &TriggerEvent) -> fmt::Result {
    f.write_str("trigger_event(event = ")?;
    write_quoted(f, &event.event)?;
    let meter = event.meter.iter().map(|meter| ("meter", meter));
    for (key, value) in meter.chain(event.options.iter().map(|(key, value)| (&**key, value))) {
        write!(f, ", {key} = ")?;
        write_quoted(f, value)?;
    }
    f.write_str(");")
}

fn write_select(
    f: &mut fmt::Formatter<'_>,
    members: &[(u16, Option<u16>)],
    hash_fields: &Option<Str>,
) -> fmt::Result {
    f.write_str("select(")?;
    if hash_fields.is_some() {
        f.write_str("values=(")?;
    }
    write_items(f, members, |f, (value, weight)| match weight {
        Some(weight) => write!(f, "{value}={weight}"),
        None => write!(f, "{value}"),
    })?;
    if let Some(fields) = hash_fields {
        f.write_str("); hash_fields=")?;
        write_quoted(f, fields)?;
    }
    f.write_str(");")
}

fn write_ct_commit_v1(
    f: &mut fmt::Formatter<'_>,
    mark: &Option<crate::Const>,
    label: &Option<crate::Const>,
) -> fmt::Result {
    f.write_str("ct_commit(")?;
    let parts = [("ct_mark", mark), ("ct_label", label)];
    let given = parts
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
    write_items(f, given, |f, (key, value)| write!(f, "{key}={value}"))?;
    f.write_str(");")
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output => f.write_str("output;"),
            Action::Drop => f.write_str("drop;"),
            Action::Next(None) => f.write_str("next;"),
            Action::Next(Some(table)) => write!(f, "next({table});"),
            Action::NextIn(pipeline, table) => {
                write!(f, "next(pipeline={},table={table});", pipeline.name())
            }
            Action::Set(field, value) => write!(f, "{field} = {value};"),
            Action::Move(dst, src) => write!(f, "{dst} = {src};"),
            Action::Exchange(a, b) => write!(f, "{a} <-> {b};"),
            Action::Push(field) => write!(f, "push({field});"),
            Action::Pop(field) => write!(f, "pop({field});"),
            Action::DecTtl => f.write_str("ip.ttl--;"),
            Action::CtNext(None) => f.write_str("ct_next;"),
            Action::CtNext(Some(zone)) => write!(f, "ct_next({});", zone.name()),
            Action::CtCommit(parts) if parts.is_empty() => f.write_str("ct_commit { };"),
            Action::CtCommit(parts) => write_block(f, "ct_commit", parts),
            Action::CtCommitV1 { mark, label } => write_ct_commit_v1(f, mark, label),
            Action::CtCommitToZone(zone) => write!(f, "ct_commit_to_zone({});", zone.name()),
            Action::CtCommitNat(None) => f.write_str("ct_commit_nat;"),
            Action::CtCommitNat(Some(zone)) => write!(f, "ct_commit_nat({});", zone.name()),
            Action::CtNat(kind, None) => write!(f, "{};", kind.name()),
            Action::CtNat(kind, Some(target)) => write!(f, "{}({target});", kind.name()),
            Action::CtClear => f.write_str("ct_clear;"),
            Action::CtLb(lb) => write_lb(f, lb),
            Action::CtSnatToVip => f.write_str("ct_snat_to_vip;"),
            Action::Nested(kind, actions) => write_block(f, kind.name(), actions),
            other => write_function(f, other),
        }
    }
}

/// Actions that look like a function.
fn write_function(f: &mut fmt::Formatter<'_>, action: &Action) -> fmt::Result {
    match action {
        Action::Call { result, name, args } => {
            if let Some(result) = result {
                write!(f, "{result} = ")?;
            }
            write!(f, "{}(", name.name())?;
            write_items(f, args, |f, arg| write!(f, "{arg}"))?;
            f.write_str(");")
        }
        Action::PutOptions(kind, result, options) => {
            write!(f, "{result} = {}(", kind.name())?;
            write_items(f, options, |f, option| write!(f, "{option}"))?;
            f.write_str(");")
        }
        Action::CheckPktLarger(result, length) => {
            write!(f, "{result} = check_pkt_larger({length});")
        }
        Action::SetQueue(queue) => write!(f, "set_queue({queue});"),
        Action::SetMeter(rate, None) => write!(f, "set_meter({rate});"),
        Action::SetMeter(rate, Some(burst)) => write!(f, "set_meter({rate}, {burst});"),
        Action::Log(log) => write_log(f, log),
        Action::FwdGroup {
            liveness,
            child_ports,
        } => {
            write!(
                f,
                "fwd_group({}childports=",
                if *liveness { "liveness=\"true\", " } else { "" }
            )?;
            write_items(f, child_ports, |f, port| write_quoted(f, port))?;
            f.write_str(");")
        }
        Action::TriggerEvent(event) => write_event(f, event),
        Action::Igmp => f.write_str("igmp;"),
        Action::HandleDhcpv6Reply => f.write_str("handle_dhcpv6_reply;"),
        Action::BindVport(port, parent) => {
            f.write_str("bind_vport(")?;
            write_quoted(f, port)?;
            write!(f, ", {parent});")
        }
        Action::Select {
            result,
            members,
            hash_fields,
        } => {
            write!(f, "{result} = ")?;
            write_select(f, members, hash_fields)
        }
        Action::CommitEcmpNh { ipv6, proto } => {
            write!(
                f,
                "commit_ecmp_nh(ipv6 = {ipv6}, proto = {});",
                proto.name()
            )
        }
        Action::CommitLbAff {
            vip,
            backend,
            proto,
            timeout,
        } => {
            write!(
                f,
                "commit_lb_aff(vip = \"{vip}\", backend = \"{backend}\", "
            )?;
            if let Some(proto) = proto {
                write!(f, "proto = {}, ", proto.name())?;
            }
            write!(f, "timeout = {timeout});")
        }
        Action::Sample(sample) => write_sample(f, sample),
        Action::MacCacheUse => f.write_str("mac_cache_use;"),
        Action::FloodRemote => f.write_str("flood_remote;"),
        Action::Mirror(port) => {
            f.write_str("mirror(")?;
            write_quoted(f, port)?;
            f.write_str(");")
        }
        Action::DhcpRelayReqChk(result, relay, server) => {
            write!(f, "{result} = dhcp_relay_req_chk({relay}, {server});")
        }
        Action::DhcpRelayRespChk(result, relay, server) => {
            write!(f, "{result} = dhcp_relay_resp_chk({relay}, {server});")
        }
        // Written by `Display` for `Action`, which comes here only for what it does not know.
        _ => Ok(()),
    }
}
