//! Network address translation on routers: one unit per rule, one file per thing that is done with packets.
//!
//! Guarantees: on a gateway router packets are translated where the router is, on a router with distributed gateway ports at
//! such a port: on the chassis that is active for it or, for a rule with `external_mac` and `logical_port`, on the chassis
//! of that port. Only that chassis answers for the outer address. A rule costs its own flows: what the rules of a router
//! have in common are equal flows, written once. Of two rules for the same packets one is used; what cannot be used is told.

mod dnat;
pub mod force;
mod loopback;
mod neighbor;
mod outside;
pub mod rule;
mod snat;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use weft_lang::action::NatKind;
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use self::rule::{Place, Rule};
use super::central;
use super::gateway::GatewayPorts;
use super::port::{self, RouterPort};
use super::routable;
use crate::index::{ById, ByName};
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Per rule.
pub struct Nat;

impl Feature for Nat {
    const NAME: &'static str = "nat";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Nat)];
    const READS: &'static [&'static str] =
        &[port::Routers::NAME, port::Ports::NAME, GatewayPorts::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(rule) = rule::rule(cx, key.row()) else {
            return;
        };
        let writer = Writer { cx, rule: &rule };
        neighbor::write(&writer);
        snat::unsnat(&writer);
        dnat::write(&writer);
        snat::write(&writer);
        loopback::write(&writer);
        outside::write(&writer);
        if let Place::Inner(gateway, ..) = &rule.place {
            cx.demand(central::Spread::ID, Key::Row(gateway.uuid));
        }
        if let (true, Some(port)) = (rule.routed, rule.place.port()) {
            let mac = match &rule.place {
                Place::Inner(_, mac, _) => *mac,
                _ => port.mac,
            };
            routable::routes(cx, port, rule.external, mac, rule.uuid);
        }
    }
}

/// A rule being written.
struct Writer<'a> {
    cx: &'a Cx<'a>,
    rule: &'a Rule,
}

impl Writer<'_> {
    fn flow(&self, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        let Rule { router, uuid, .. } = self.rule;
        self.cx
            .flow(*router, stage, priority, match_, actions, Some(*uuid));
    }

    /// What every rule of a router needs alike.
    fn common(&self, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        self.cx
            .flow(self.rule.router, stage, priority, match_, actions, None);
    }

    /// Packets that come by the gateway port; all of them on a gateway router.
    fn comes_in(&self) -> Expr {
        let port = self.rule.place.port();
        port.map_or(Expr::TRUE, |port| field::INPORT.eq(&port.name))
    }

    /// Packets that leave by the gateway port.
    fn goes_out(&self) -> Expr {
        let port = self.rule.place.port();
        port.map_or(Expr::TRUE, |port| field::OUTPORT.eq(&port.name))
    }

    /// `ct_snat`, `ct_dnat`: both in one zone at a distributed gateway port, so that a packet is found by either address, unless
    /// `NB_Global.options:use_common_zone` says otherwise.
    fn zone(&self, kind: NatKind) -> NatKind {
        let common = self.rule.common_zone && self.rule.place.port().is_some();
        match kind {
            NatKind::Snat if common => NatKind::SnatInCzone,
            NatKind::Dnat if common => NatKind::DnatInCzone,
            kind => kind,
        }
    }

    /// The Ethernet address outside of an inner port that is its own gateway.
    fn own_mac(&self) -> Vec<Action> {
        match &self.rule.place {
            Place::Inner(_, mac, _) => vec![Action::set(field::ETH_SRC, *mac)],
            _ => Vec::new(),
        }
    }
}

/// Whether an address of a router is also what a rule of it gives sources: replies to it are not for the router.
pub fn is_source(cx: &Cx<'_>, router: Uuid, ip: IpAddr) -> bool {
    cx.by_name(ByName::NatOutside, &ip.to_string())
        .iter()
        .any(|nat| {
            cx.by_id(ById::RouterOfNat, *nat).first() == Some(&router)
                && cx.nat(*nat).is_some_and(|nat| &**nat.type_() == "snat")
        })
        || force::addresses(cx, router).contains(&ip)
}

/// Packets for such addresses that no connection explains end where the next hop is looked for.
pub fn own_sources(cx: &Cx<'_>, port: &RouterPort, translated: &dyn Fn(IpAddr) -> bool) {
    let flow = |match_: Expr| {
        let drop = [Action::Drop];
        let hint = Some(port.uuid);
        cx.flow(port.router, Stage::LrInArpResolve, 2, match_, drop, hint);
    };
    let v4 = port.v4.iter().map(|net| net.addr());
    let v4: Vec<_> = v4.filter(|ip| translated((*ip).into())).collect();
    if !v4.is_empty() {
        flow(field::IP4_DST.one_of(v4));
    }
    let v6: Vec<_> = port
        .addresses_v6()
        .filter(|ip| translated((*ip).into()))
        .collect();
    if !v6.is_empty() {
        flow(field::IP6_DST.one_of(v6));
    }
}
