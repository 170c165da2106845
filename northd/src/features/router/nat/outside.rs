//! On the switches around the router: questions for the outer address reach the router alone and whoever else may know;
//! frames to the Ethernet address of an inner port that is its own gateway reach the router on that port's chassis.

use std::net::IpAddr;

use weft_lang::{Action, Expr, field, pred};

use super::super::port;
use super::Writer;
use super::rule::Place;
use crate::output::Mcast;
use crate::pipeline::{Stage, priority};

pub(super) fn write(writer: &Writer<'_>) {
    let (cx, rule) = (writer.cx, writer.rule);
    let Some(router) = cx.lr(rule.router) else {
        return;
    };
    for uuid in router.ports().iter() {
        let Some(port) = port::port(cx, *uuid).filter(|port| port.enabled) else {
            continue;
        };
        for link in cx.switch_ports_towards(&port.name) {
            let (Some(switch), Some(link)) = (cx.switch_of(*link), cx.lsp(*link)) else {
                continue;
            };
            let flow = |priority, match_: Expr, actions: Vec<Action>| {
                let stage = Stage::LsInL2Lkup;
                cx.flow(switch, stage, priority, match_, actions, Some(rule.uuid));
            };
            let deliver = || vec![Action::set(field::OUTPORT, link.name()), Action::Output];
            let flood = || {
                let group = Mcast::FloodL2.name();
                [Action::set(field::OUTPORT, group), Action::Output]
            };
            if rule.kind.is_dnat() {
                // Flag 1: from a VXLAN tunnel, where the sender's switch has flooded it already.
                let first_hand = field::FLAGS.bit(1).eq(0);
                let mut actions = vec![Action::cloned(deliver())];
                actions.extend(flood());
                let asked = Expr::all([first_hand, question(rule.external)]);
                flow(priority::L2_ROUTER_ADDRESS, asked, actions);
            }
            let Place::Inner(gateway, mac, inner) = &rule.place else {
                continue;
            };
            let questions = Expr::any([field::ARP_OP.eq(1), field::RARP_OP.eq(3), pred::ND_NS]);
            let own = Expr::all([field::ETH_SRC.eq(*mac), questions]);
            flow(priority::L2_SELF_ORIGINATED, own, flood().into());
            if gateway.uuid == port.uuid {
                let to_inner = Expr::all([
                    field::ETH_DST.eq(*mac),
                    Expr::is_chassis_resident(inner.clone()),
                ]);
                flow(priority::L2_UNICAST, to_inner, deliver());
            }
        }
    }
}

fn question(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => Expr::all([field::ARP_OP.eq(1), field::ARP_TPA.eq(ip)]),
        IpAddr::V6(ip) => Expr::all([pred::ND_NS, field::ND_TARGET.eq(ip)]),
    }
}
