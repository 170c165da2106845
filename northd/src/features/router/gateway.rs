//! Distributed gateway ports: ports of a distributed router that work on one chassis at a time.
//!
//! Guarantees: packets routed to such a port leave by the chassis that is active for it, through a tunnel (by its
//! `chassisredirect` port) or, with `redirect-type=bridged`, through the physical network of the switch behind it;
//! questions for its addresses are answered there only. A port with `reside-on-redirect-chassis` on a switch with a
//! localnet port is answered for there too, so that its traffic passes the gateway's chassis.

use std::sync::Arc;

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::port::{self, RouterPort};
use crate::features::lb::distributed;
use crate::features::router_port::redirect_name;
use crate::index::PortType;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// The distributed gateway ports of a router.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gateways(pub Vec<Arc<RouterPort>>);

/// Publishes [`Gateways`] per enabled router that has some.
pub struct GatewayPorts;

impl Feature for GatewayPorts {
    const NAME: &'static str = "router_gateway_ports";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let (Some(row), Some(_)) = (cx.lr(key.row()), port::router(cx, key.row())) else {
            return;
        };
        let ports = row.ports().iter().filter_map(|uuid| port::port(cx, *uuid));
        let gateways: Vec<_> = ports
            .filter(|port| port.redirect.is_some() && port.router == key.row())
            .collect();
        if !gateways.is_empty() {
            cx.publish(Gateways(gateways));
        }
    }
}

/// The distributed gateway ports of a router. The reader lists [`GatewayPorts`] among its `READS`.
pub fn gateways(cx: &Cx<'_>, router: Uuid) -> Vec<Arc<RouterPort>> {
    cx.value::<Gateways>(GatewayPorts::ID, Key::Row(router))
        .map_or_else(Vec::new, |gateways| gateways.0.clone())
}

/// Whether the switch behind a router port reaches a physical network.
fn on_localnet(cx: &Cx<'_>, port: &RouterPort) -> bool {
    cx.switch_ports_towards(&port.name)
        .first()
        .and_then(|link| cx.switch_of(*link))
        .is_some_and(|switch| !cx.ports_of(switch, PortType::Localnet).is_empty())
}

/// Ports with which something is on a chassis: where any of them is, or everywhere if there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Residence(Vec<Str>);

impl Residence {
    /// `is_chassis_resident("cr-port") || ...`, or nothing to add.
    pub fn here(&self) -> Expr {
        if self.0.is_empty() {
            return Expr::TRUE;
        }
        Expr::any(self.0.iter().cloned().map(Expr::is_chassis_resident))
    }
}

/// On the chassis that is active for a distributed gateway port; everywhere for other ports.
pub fn active_here(port: &RouterPort) -> Expr {
    Residence(port.redirect.iter().cloned().collect()).here()
}

/// Where a port takes what is sent to it: a distributed gateway port on the chassis that is active for it, and on those of
/// the backends that distributed load balancers of the router have. The reader lists [`distributed::OfRouter`] among its `READS`.
pub fn takes_at(cx: &Cx<'_>, port: &RouterPort) -> Residence {
    let own = port.redirect.iter().cloned();
    let more = port
        .redirect
        .iter()
        .flat_map(|_| distributed::also_at(cx, port.router));
    Residence(own.chain(more).collect())
}

/// Where alone questions for the addresses of a port are answered: elsewhere on the physical network they would be answered
/// by every chassis. The reader lists [`GatewayPorts`] and [`distributed::OfRouter`] among its `READS`.
pub fn answers_at(cx: &Cx<'_>, port: &RouterPort) -> Residence {
    let residence = match (&port.redirect, port.resides) {
        (Some(_), _) => takes_at(cx, port),
        (None, false) => return Residence::default(),
        (None, true) => match &gateways(cx, port.router)[..] {
            [only] => Residence(only.redirect.iter().cloned().collect()),
            _ => return Residence::default(),
        },
    };
    if on_localnet(cx, port) {
        residence
    } else {
        Residence::default()
    }
}

/// Per router port: the way to the active chassis.
pub struct Redirect;

impl Feature for Redirect {
    const NAME: &'static str = "router_gateway_redirect";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let Some(redirect) = &port.redirect else {
            return;
        };
        let flow = |stage, priority, match_: Expr, actions: Vec<Action>| {
            port.flow(cx, stage, priority, match_, actions);
        };
        let out = || field::OUTPORT.eq(&port.name);
        let to_redirect = vec![
            Action::set(field::OUTPORT, redirect_name(&port.name)),
            Action::NEXT,
        ];
        flow(Stage::LrInGwRedirect, 50, out(), to_redirect);
        if port.bridged {
            // The physical network takes it to the gateway, which routes it again.
            let elsewhere = Expr::all([out(), !Expr::is_chassis_resident(redirect.clone())]);
            let to_gateway = vec![Action::set(field::ETH_DST, port.mac), Action::NEXT];
            flow(Stage::LrInArpResolve, 50, elsewhere, to_gateway);
        }
    }
}

/// `get_arp(outport, next hop); next;`, for what a bridged gateway does not take.
pub fn ask(v6: bool) -> Vec<Action> {
    let (call, next_hop) = if v6 {
        (CallName::GetNd, pipeline::NEXT_HOP_IP6)
    } else {
        (CallName::GetArp, pipeline::NEXT_HOP_IP4)
    };
    vec![
        Action::call(call, [field::OUTPORT, next_hop.field()]),
        Action::NEXT,
    ]
}
