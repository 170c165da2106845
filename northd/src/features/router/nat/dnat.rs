//! Destinations: inwards in `lr_in_dnat`, replies outwards in `lr_out_undnat`.

use weft_lang::action::{NatKind, NatTarget};
use weft_lang::{Action, Expr, field, pred};

use super::Writer;
use super::force;
use super::rule::Place;
use crate::pipeline::Stage;

/// Rules with exemptions stand above those without.
const BASE: u16 = 100;

pub(super) fn write(writer: &Writer<'_>) {
    let rule = writer.rule;
    if rule.kind.is_dnat() {
        inwards(writer);
        if rule.place.port().is_some() {
            let replies = Expr::all([
                pred::IP,
                rule.from_logical(),
                writer.goes_out(),
                rule.place.central(),
            ]);
            let mut actions = writer.own_mac();
            actions.push(if rule.stateless {
                Action::NEXT
            } else {
                Action::CtNat(writer.zone(NatKind::Dnat), None)
            });
            writer.flow(Stage::LrOutUndnat, 100, replies, actions);
        }
    }
    if rule.place.port().is_none() {
        replies_of_gateway_router(writer);
    }
}

fn inwards(writer: &Writer<'_>) {
    let rule = writer.rule;
    let ours = || {
        Expr::all([
            pred::IP,
            rule.to_external(),
            writer.comes_in(),
            rule.place.central(),
        ])
    };
    let mut peers = Expr::TRUE;
    if let Some(set) = &rule.allowed {
        peers = rule.src().in_set(set);
    } else if let Some(set) = &rule.exempted {
        let exempt = Expr::all([ours(), rule.src().in_set(set)]);
        writer.flow(
            Stage::LrInDnat,
            BASE + 2 + rule.priority,
            exempt,
            vec![Action::NEXT],
        );
    }
    let mut actions = Vec::new();
    if matches!(rule.place, Place::Router) {
        if force::is_forced(writer.cx, rule.router) {
            actions.push(Action::set(field::FLAGS_FORCE_SNAT_FOR_DNAT, 1));
        }
        // The inner address may be behind the port the packet came by.
        actions.push(Action::set(field::FLAGS_LOOPBACK, 1));
    }
    let inside = rule.logical.addr();
    if rule.stateless {
        actions.extend([Action::set(rule.dst(), inside), Action::NEXT]);
    } else {
        let target = NatTarget {
            ip: inside,
            ports: rule.ports,
        };
        actions.push(Action::CtNat(writer.zone(NatKind::Dnat), Some(target)));
    }
    let match_ = Expr::all([ours(), peers, rule.condition.clone()]);
    writer.flow(Stage::LrInDnat, BASE + rule.priority, match_, actions);
}

/// A gateway router sends everything through the connection table, which knows what is a reply.
fn replies_of_gateway_router(writer: &Writer<'_>) {
    let discovery = Expr::any([pred::ND, pred::ND_RS, pred::ND_RA]);
    writer.common(Stage::LrOutUndnat, 100, discovery, vec![Action::NEXT]);
    let undo = vec![
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::CtNat(NatKind::Dnat, None),
    ];
    writer.common(Stage::LrOutUndnat, 50, pred::IP, undo);
    let new = Expr::all([pred::IP, pred::CT_NEW]);
    let commit = vec![Action::ct_commit([]), Action::NEXT];
    writer.common(Stage::LrOutPostUndnat, 50, new, commit);
}
