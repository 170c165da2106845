//! Columns of `Logical_Flow` that are made from others, and back.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;
use weft_engine::Program;
use weft_ovsdb::model::{Map, Str};

use crate::output::{LogicalFlow, Origin};
use crate::pipeline::{Pipeline, Stage};
use crate::program::Northd;

pub(super) fn content_of(
    pipeline: &str,
    table: i64,
    priority: i64,
    match_: &str,
    actions: &str,
    meter: Option<&str>,
) -> u64 {
    FxBuildHasher.hash_one((pipeline, table, priority, match_, actions, meter))
}

pub(super) fn content(flow: &LogicalFlow) -> u64 {
    let info = flow.stage.info();
    content_of(
        info.pipeline.as_str(),
        i64::from(info.table),
        i64::from(flow.priority),
        &flow.match_,
        &flow.actions,
        flow.controller_meter.as_deref(),
    )
}

pub(super) fn hint_of(ids: &Map<Str, Str>) -> u32 {
    ids.get("stage-hint")
        .and_then(|text| u32::from_str_radix(text, 16).ok())
        .unwrap_or(0)
}

/// `external_ids`: what operators see beside a flow.
pub(super) fn ids(flow: &LogicalFlow, origin: Origin) -> Map<Str, Str> {
    let mut ids: Vec<(Str, Str)> = vec![("stage-name".into(), flow.stage.info().name.into())];
    if origin.hint != 0 {
        ids.push(("stage-hint".into(), format!("{:08x}", origin.hint).into()));
    }
    if let Some(kind) = Northd::kinds().get(usize::from(origin.kind)) {
        ids.push(("source".into(), kind.name.into()));
    }
    Map::from_iter(ids)
}

/// `tags`: the port without which no packet matches the flow, in the stages where controllers expect to be told. They
/// skip the flow where the port is not theirs.
pub(super) fn tags(flow: &LogicalFlow) -> Map<Str, Str> {
    let port = PER_PORT
        .contains(&flow.stage)
        .then(|| required_port(&flow.match_, flow.stage.info().pipeline))
        .flatten();
    Map::from_iter(port.map(|port| ("in_out_port".into(), port.into())))
}

/// The stages of switches that have flows for single ports. Not the first one: what comes from a VTEP gateway arrives at
/// chassis that do not have its port. Not the ACLs, whose matches are those of users.
const PER_PORT: &[Stage] = &[
    Stage::LsInLookupFdb,
    Stage::LsInPutFdb,
    Stage::LsInPreAcl,
    Stage::LsInPreLb,
    Stage::LsInArpRsp,
    Stage::LsInDhcpOptions,
    Stage::LsInDhcpResponse,
    Stage::LsInExternalPort,
    Stage::LsOutPreAcl,
    Stage::LsOutPreLb,
];

/// The port that a canonical match requires for the packet's end on this side of the switch.
fn required_port(match_: &str, pipeline: Pipeline) -> Option<&str> {
    let begin = match pipeline {
        Pipeline::Ingress => "inport == \"",
        Pipeline::Egress => "outport == \"",
    };
    let mut port = None;
    let (mut depth, mut quoted, mut fresh) = (0_u32, false, true);
    for (at, c) in match_.char_indices() {
        match c {
            // No port of that kind of name is worth the trouble.
            '\\' => return None,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return None,
            '&' if depth == 0 => fresh = true,
            ' ' => {}
            _ if fresh && depth == 0 => {
                fresh = false;
                if let Some(rest) = match_[at..].strip_prefix(begin) {
                    port = rest.split('"').next();
                }
            }
            _ => {}
        }
        fresh &= matches!(c, '&' | ' ');
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_matches_require() {
        let ingress = |text| required_port(text, Pipeline::Ingress);
        assert_eq!(ingress(r#"inport == "a b""#), Some("a b"));
        assert_eq!(ingress(r#"arp.op == 1 && inport == "p""#), Some("p"));
        assert_eq!(
            ingress(r#"inport == "p" && (ip4 || ip6) && ip4.dst == {1.1.1.1, 2.2.2.2}"#),
            Some("p")
        );
        for text in [
            "ip4",
            r#"inport == "p" || ip4"#,
            r#"(inport == "p" || inport == "q") && ip"#,
            r#"!(inport == "p") && ip"#,
            r#"inport == {"p", "q"}"#,
            r#"inport != "p""#,
            r#"outport == "p""#,
        ] {
            assert_eq!(ingress(text), None, "{text}");
        }
        let egress = |text| required_port(text, Pipeline::Egress);
        assert_eq!(egress(r#"ip && outport == "p""#), Some("p"));
    }
}
