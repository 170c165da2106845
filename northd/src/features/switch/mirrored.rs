//! Copies of a port's packets for other logical ports: mirrors of type `lport`.
//!
//! Guarantees: a mirror copies what the port may send (after port security) and what is about to be delivered to it (before
//! port security looks at it), unless its rule of the highest priority that matches says `skip`. Several mirrors of one port
//! do not disturb each other: a packet passes one after the other, counted in a register.
//!
//! Only controllers newer than 23.03 know the action `mirror()`; others leave these flows out.

use weft_lang::{Action, Expr, parse_match};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::SwitchPort;
use crate::features::acl::references;
use crate::features::mirror::{Mirror, MirrorPorts, Mirrors, mirror_port_name};
use crate::features::port_key::mirror_key;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Of the flow that copies everything; rules are above it by their own priority.
const PRIORITY: u16 = 200;
/// So many mirrors can a port have: what the register counts to.
const MAX_MIRRORS: u64 = 15;

/// Per switch port.
pub struct Mirrored;

impl Feature for Mirrored {
    const NAME: &'static str = "switch_mirrored";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Mirrored)];
    const READS: &'static [&'static str] = &[Mirrors::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key).filter(|port| port.enabled) else {
            return;
        };
        let Some(row) = cx.lsp(port.uuid) else { return };
        let (mut from, mut to) = (0, 0);
        for &uuid in row.mirror_rules().iter() {
            let Some(mirror) = cx.value::<Mirror>(Mirrors::ID, Key::Row(uuid)) else {
                continue;
            };
            let Some(sink) = mirror.sink else { continue };
            let complain = |message: String| {
                cx.diagnose::<nb::LogicalSwitchPort>(
                    &port.name,
                    port.uuid,
                    "mirror_rules",
                    message,
                );
            };
            if sink == port.uuid {
                complain(format!(
                    "{} leads back to the port itself: left out",
                    mirror.name
                ));
                continue;
            }
            if from.max(to) == MAX_MIRRORS {
                complain(format!("{} is one mirror too many: left out", mirror.name));
                continue;
            }
            let Some(name) = mirror_port_name(cx, port.switch, sink) else {
                continue;
            };
            cx.demand(MirrorPorts::ID, mirror_key(port.switch, sink));
            let copy = Action::Mirror((&*name).into());
            if mirror.from {
                Direction::From.flows(cx, &port, uuid, from, &copy);
                from += 1;
            }
            if mirror.to {
                Direction::To.flows(cx, &port, uuid, to, &copy);
                to += 1;
            }
        }
    }
}

/// Which packets of the port.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    From,
    To,
}

impl Direction {
    fn stage(self) -> Stage {
        match self {
            Direction::From => Stage::LsInApplyPortSec,
            Direction::To => Stage::LsOutCheckPortSec,
        }
    }

    /// Once more through the stage, for the next mirror and what else the stage does.
    fn again(self) -> Action {
        let pipeline = match self {
            Direction::From => weft_lang::Pipeline::Ingress,
            Direction::To => weft_lang::Pipeline::Egress,
        };
        Action::NextIn(pipeline, self.stage().table())
    }

    /// The flows of the mirror that is number `n` of the port.
    fn flows(self, cx: &Cx<'_>, port: &SwitchPort, mirror: Uuid, n: u64, copy: &Action) {
        let done = pipeline::MIRRORS_DONE.field();
        let due = match self {
            Direction::From => vec![
                port.is_inport(),
                pipeline::PORT_SEC_DROP.field().eq(0),
                done.eq(n),
            ],
            Direction::To => vec![port.is_outport(), done.eq(n)],
        };
        let go_on = [Action::set(done, n + 1), self.again()];
        let write = |priority: u16, rule: Option<Expr>, copies: bool, hint: Uuid| {
            let copy = copies.then(|| copy.clone());
            let actions: Vec<Action> = copy.into_iter().chain(go_on.clone()).collect();
            let match_ = Expr::all(due.iter().cloned().chain(rule));
            cx.flow(
                port.switch,
                self.stage(),
                priority,
                match_,
                actions,
                Some(hint),
            );
        };
        write(PRIORITY, None, true, port.uuid);
        let Some(row) = cx.mirror(mirror) else { return };
        for &uuid in row.mirror_rules().iter() {
            let Some(rule) = cx.mirror_rule(uuid) else {
                continue;
            };
            let complain = |column: &'static str, message: String| {
                cx.diagnose::<nb::MirrorRule>(row.name(), uuid, column, message);
            };
            let text = rule.match_();
            match parse_match(text) {
                Ok(match_) => {
                    references::check(cx, &match_, false, &complain);
                    let priority = u16::try_from(*rule.priority()).unwrap_or(0).min(32767);
                    let copies = &**rule.action() == "mirror";
                    write(PRIORITY + priority, Some(match_), copies, uuid);
                }
                Err(error) => complain(
                    "match",
                    format!("\"{text}\": {error}: the rule is left out"),
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::nb;

    use crate::output::Output;
    use crate::testing::Bed;

    fn mirror(
        bed: &mut Bed,
        name: &str,
        filter: &str,
        kind: &str,
        sink: &str,
        rules: &[Uuid],
    ) -> Uuid {
        bed.insert(nb::Mirror {
            name: name.into(),
            filter: filter.into(),
            type_: kind.into(),
            sink: sink.into(),
            index: 5,
            mirror_rules: rules.iter().copied().collect(),
            ..nb::Mirror::default()
        })
    }

    fn rule(bed: &mut Bed, priority: i64, match_: &str, action: &str) -> Uuid {
        bed.insert(nb::MirrorRule {
            priority,
            match_: match_.into(),
            action: action.into(),
        })
    }

    /// Southbound mirrors, and ports that have to do with mirrors.
    fn rows(bed: &mut Bed) -> String {
        bed.flows("");
        let mut lines: Vec<String> = Vec::new();
        for output in bed.outputs() {
            match output {
                Output::Mirror(m) => lines.push(format!(
                    "mirror {} {} {} {} {}",
                    m.name, m.filter, m.type_, m.sink, m.index
                )),
                Output::Port(port) if port.mirror_port.is_some() || !port.mirrors.is_empty() => {
                    lines.push(format!(
                        "port {} type \"{}\" key {} to {:?} mirrors {:?}",
                        port.logical_port,
                        port.type_,
                        port.tunnel_key,
                        port.mirror_port,
                        port.mirrors
                    ))
                }
                _ => {}
            }
        }
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn mirrors_outside_are_rows_and_those_inside_are_flows() {
        let mut bed = Bed::new();
        let (s, t) = (bed.switch("s"), bed.switch("t"));
        let sink = bed.port(t, "sink", |_| ());
        let skip = rule(&mut bed, 50, "tcp.dst == 22", "skip");
        let only = rule(&mut bed, 10, "ip4", "mirror");
        let bad = rule(&mut bed, 11, "ip4 ||", "mirror");
        let all = [
            mirror(&mut bed, "g", "both", "gre", "10.9.9.9", &[]),
            mirror(&mut bed, "l", "to-lport", "local", "analyser", &[]),
            mirror(&mut bed, "p", "both", "lport", "sink", &[skip, only, bad]),
            mirror(&mut bed, "q", "from-lport", "lport", "sink", &[]),
            mirror(&mut bed, "nowhere", "both", "gre", "over there", &[]),
            mirror(&mut bed, "nobody", "both", "lport", "none", &[]),
        ];
        let a = bed.port(s, "a", |row| row.mirror_rules = all.into_iter().collect());
        bed.port(s, "off", |row| {
            row.mirror_rules = [all[2]].into_iter().collect();
            row.enabled = Some(false);
        });
        insta::assert_snapshot!(bed.flows("reg8[20..23]"));
        insta::assert_snapshot!(rows(&mut bed));
        insta::assert_snapshot!(bed.diagnostics());
        bed.edit_port(a, |row| row.mirror_rules = [all[0]].into_iter().collect());
        assert_eq!(bed.flows("reg8[20..23]"), "");
        assert!(!rows(&mut bed).contains("port mp-"));
        bed.edit_port(a, |row| row.mirror_rules = [all[2]].into_iter().collect());
        assert!(rows(&mut bed).contains("port mp-s-sink"));
        bed.remove_port(sink);
        assert!(!rows(&mut bed).contains("port mp-"), "{}", rows(&mut bed));
    }
}
