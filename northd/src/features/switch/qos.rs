//! QoS rules: DSCP, packet marks and rate limits.
//!
//! Guarantees: of the rules of a switch and direction the one of the highest priority that matches applies, marks and
//! limits each for themselves; a rule that cannot be used loses only what is wrong with it and is reported.

use weft_lang::{Action, Expr, field, parse_match};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use crate::features::acl::references;
use crate::index::ById;
use crate::output::DpSet;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Largest DSCP: it has six bits.
const MAX_DSCP: i64 = 63;

/// Per QoS rule.
pub struct Qos;

impl Feature for Qos {
    const NAME: &'static str = "qos";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Qos)];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let switches = DpSet::new(cx.by_id(ById::SwitchOfQos, uuid).to_vec());
        let Some(row) = cx.qos(uuid).filter(|_| !switches.is_empty()) else {
            return;
        };
        let name = format!("{} {}", row.direction(), row.priority());
        let complain = |column: &'static str, message: String| {
            cx.diagnose::<nb::Qos>(&name, uuid, column, message);
        };
        let text = row.match_();
        let match_ = match parse_match(text) {
            Ok(match_) => match_,
            Err(error) => {
                complain(
                    "match",
                    format!("\"{text}\": {error}: the rule is left out"),
                );
                return;
            }
        };
        references::check(cx, &match_, false, &complain);
        let (mark, meter) = match &**row.direction() {
            "to-lport" => (Stage::LsOutQosMark, Stage::LsOutQosMeter),
            _ => (Stage::LsInQosMark, Stage::LsInQosMeter),
        };
        let priority = u16::try_from(*row.priority()).unwrap_or(0).min(32767);
        let rule = Rule {
            uuid,
            switches,
            priority,
            match_,
        };
        let number = |wanted: &str| row.action().iter().find(|(key, _)| **key == *wanted);
        rule.flow(
            cx,
            mark,
            marks(&|key| number(key).map(|(_, n)| *n), &complain),
        );
        let number = |wanted: &str| row.bandwidth().iter().find(|(key, _)| **key == *wanted);
        rule.flow(
            cx,
            meter,
            limit(&|key| number(key).map(|(_, n)| *n), &complain),
        );
    }
}

/// A rule that can be used.
struct Rule {
    uuid: Uuid,
    switches: DpSet,
    priority: u16,
    match_: Expr,
}

impl Rule {
    /// Does something and goes on; nothing needs no flow.
    fn flow(&self, cx: &Cx<'_>, stage: Stage, mut actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        actions.push(Action::NEXT);
        let match_ = self.match_.clone();
        let hint = Some(self.uuid);
        cx.flow(&self.switches, stage, self.priority, match_, actions, hint);
    }
}

/// What `action` asks for.
fn marks(
    number: &dyn Fn(&str) -> Option<i64>,
    complain: &dyn Fn(&'static str, String),
) -> Vec<Action> {
    let mut actions = Vec::new();
    match number("dscp").map(|dscp| {
        u64::try_from(dscp)
            .ok()
            .filter(|_| dscp <= MAX_DSCP)
            .ok_or(dscp)
    }) {
        Some(Ok(dscp)) => actions.push(Action::set(field::IP_DSCP, dscp)),
        Some(Err(dscp)) => complain(
            "action:dscp",
            format!("{dscp} is not between 0 and {MAX_DSCP}: packets keep theirs"),
        ),
        None => {}
    }
    match number("mark").map(|mark| u32::try_from(mark).map_err(|_| mark)) {
        Some(Ok(mark)) => actions.push(Action::set(field::PKT_MARK, u64::from(mark))),
        Some(Err(mark)) => complain(
            "action:mark",
            format!("{mark} does not fit into 32 bits: packets are not marked"),
        ),
        None => {}
    }
    actions
}

/// What `bandwidth` asks for.
fn limit(
    number: &dyn Fn(&str) -> Option<i64>,
    complain: &dyn Fn(&'static str, String),
) -> Vec<Action> {
    let fits = |n: i64| u32::try_from(n).ok().filter(|n| *n > 0).map(u64::from);
    let (rate, burst) = (number("rate"), number("burst"));
    let Some(rate) = rate else {
        if let Some(burst) = burst {
            complain(
                "bandwidth:burst",
                format!("{burst} means nothing without a rate: packets are not limited"),
            );
        }
        return Vec::new();
    };
    let Some(kbps) = fits(rate) else {
        let message = format!(
            "{rate} is not between 1 and {}: packets are not limited",
            u32::MAX
        );
        complain("bandwidth:rate", message);
        return Vec::new();
    };
    let allowed = burst.and_then(fits);
    if let (Some(burst), None) = (burst, allowed) {
        let message = format!("{burst} is not between 1 and {}: left out", u32::MAX);
        complain("bandwidth:burst", message);
    }
    vec![Action::SetMeter(kbps, allowed)]
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::{Map, Str, Uuid};
    use weft_schemas::nb;

    use crate::testing::Bed;

    fn numbers(entries: &[(&str, i64)]) -> Map<Str, i64> {
        entries.iter().map(|(key, n)| ((*key).into(), *n)).collect()
    }

    fn rule(bed: &mut Bed, switches: &[Uuid], row: nb::Qos) -> Uuid {
        let uuid = bed.insert(row);
        for switch in switches {
            bed.edit_switch(*switch, |row| {
                row.qos_rules = row.qos_rules.iter().copied().chain([uuid]).collect();
            });
        }
        uuid
    }

    fn row(direction: &str, priority: i64, match_: &str) -> nb::Qos {
        nb::Qos {
            direction: direction.into(),
            priority,
            match_: match_.into(),
            ..nb::Qos::default()
        }
    }

    #[test]
    fn marks_and_limits_in_both_directions() {
        let mut bed = Bed::new();
        let (a, b) = (bed.switch("a"), bed.switch("b"));
        rule(
            &mut bed,
            &[a],
            nb::Qos {
                action: numbers(&[("dscp", 10)]),
                bandwidth: numbers(&[("rate", 1000), ("burst", 200)]),
                ..row("from-lport", 100, "ip4")
            },
        );
        rule(
            &mut bed,
            &[a, b],
            nb::Qos {
                action: numbers(&[("dscp", 0), ("mark", 9)]),
                ..row("to-lport", 200, "ip6")
            },
        );
        let late = rule(
            &mut bed,
            &[b],
            nb::Qos {
                bandwidth: numbers(&[("rate", 77)]),
                ..row("to-lport", 32767, "outport == \"p\" && tcp")
            },
        );
        insta::assert_snapshot!(bed.flows("_qos_"));
        assert_eq!(bed.diagnostics(), "");
        bed.edit_switch(b, |row| {
            row.qos_rules = row
                .qos_rules
                .iter()
                .copied()
                .filter(|r| *r != late)
                .collect()
        });
        assert!(!bed.flows("_qos_").contains("set_meter(77)"));
    }

    #[test]
    fn what_is_wrong_is_left_out_and_the_rest_stands() {
        let mut bed = Bed::new();
        let a = bed.switch("a");
        rule(
            &mut bed,
            &[a],
            nb::Qos {
                action: numbers(&[("dscp", 3)]),
                ..row("from-lport", 1, "ip6 && ")
            },
        );
        rule(
            &mut bed,
            &[a],
            nb::Qos {
                action: numbers(&[("dscp", 64), ("mark", 5)]),
                bandwidth: numbers(&[("rate", 1 << 32)]),
                ..row("from-lport", 2, "ip4.src == $nowhere")
            },
        );
        rule(
            &mut bed,
            &[a],
            nb::Qos {
                bandwidth: numbers(&[("burst", 5)]),
                ..row("from-lport", 3, "ip4")
            },
        );
        insta::assert_snapshot!(bed.flows("_qos_"));
        insta::assert_snapshot!(bed.diagnostics());
    }
}
