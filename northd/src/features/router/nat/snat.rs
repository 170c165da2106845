//! Sources: outwards in `lr_out_snat`, replies inwards in `lr_in_unsnat`.
//!
//! The longest inner prefix wins, as among routes; a rule with a priority of its own stands above all without.

use weft_lang::action::{NatKind, NatTarget};
use weft_lang::{Action, Expr, field, pred};

use super::super::set;
use super::Writer;
use crate::pipeline::{self, Stage};

/// Above every priority that follows from a prefix length.
const WITH_PRIORITY: u16 = 1000;
/// What a prefix adds at a distributed gateway port, where two flows per rule are needed.
const AT_PORT: u16 = 128;

/// Replies: back to the inner address.
pub(super) fn unsnat(writer: &Writer<'_>) {
    let rule = writer.rule;
    if !rule.kind.is_snat() {
        return;
    }
    let stage = Stage::LrInUnsnat;
    let ours = [pred::IP, rule.to_external()];
    let plain = |kind| {
        vec![if rule.stateless {
            Action::NEXT
        } else {
            Action::CtNat(kind, None)
        }]
    };
    if rule.place.port().is_none() {
        writer.flow(stage, 90, Expr::all(ours), plain(NatKind::Snat));
        return;
    }
    let central = || rule.place.central();
    let looped = |yes: bool| field::FLAGS_LOOPBACK.eq(u64::from(yes));
    let [ip, to_external] = ours;
    let comes = Expr::all([ip, to_external, writer.comes_in()]);
    let from_outside = Expr::all([comes.clone(), looped(false), central()]);
    writer.flow(stage, 100, from_outside, plain(writer.zone(NatKind::Snat)));
    if !rule.stateless {
        // What came round by the egress loopback after a translation has its state in the other zone.
        let in_snat_zone = field::FLAGS_USE_SNAT_ZONE.eq(1);
        let from_inside = Expr::all([comes, looped(true), in_snat_zone, central()]);
        writer.flow(stage, 100, from_inside, plain(NatKind::Snat));
    }
}

/// First packets: the outer address.
pub(super) fn write(writer: &Writer<'_>) {
    let rule = writer.rule;
    if !rule.kind.is_snat() {
        return;
    }
    let at_port = rule.place.port().is_some();
    let length = u16::from(rule.logical.prefix_len());
    let priority = match (rule.priority, at_port) {
        (0, false) => length + 1,
        (0, true) => length + 1 + AT_PORT,
        (own, _) => WITH_PRIORITY + own,
    };
    let ours = Expr::all([
        pred::IP,
        rule.from_logical(),
        writer.goes_out(),
        rule.place.resident(),
    ]);
    let mut peers = Expr::TRUE;
    if let Some(allowed) = &rule.allowed {
        peers = rule.dst().in_set(allowed);
    } else if let Some(exempted) = &rule.exempted {
        let exempt = Expr::all([ours.clone(), rule.dst().in_set(exempted)]);
        writer.flow(Stage::LrOutSnat, priority + 2, exempt, vec![Action::NEXT]);
    }
    let ours = Expr::all([ours, peers, rule.condition.clone()]);
    let target = || {
        Some(NatTarget {
            ip: rule.external,
            ports: rule.ports,
        })
    };
    let stage = Stage::LrOutSnat;
    let mut actions = writer.own_mac();
    if rule.stateless {
        actions.extend([Action::set(rule.src(), rule.external), Action::NEXT]);
        writer.flow(stage, priority, ours, actions);
    } else if at_port {
        let translated = pipeline::DNAT_LOCAL.field().eq(1);
        let mut looping = actions.clone();
        looping.push(set(pipeline::DNAT_LOCAL, 0));
        looping.push(Action::CtNat(NatKind::Snat, target()));
        let loops = Expr::all([ours.clone(), translated]);
        writer.flow(stage, priority + 1, loops, looping);
        actions.push(Action::CtNat(writer.zone(NatKind::Snat), target()));
        writer.flow(stage, priority, ours, actions);
    } else {
        // Replies keep the addresses they have: whoever began the connection knows them.
        let first = Expr::any([!pred::CT_TRK, !pred::CT_RPL]);
        actions.push(Action::CtNat(NatKind::Snat, target()));
        writer.flow(stage, priority, Expr::all([ours, first]), actions);
    }
}
