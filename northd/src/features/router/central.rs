//! Gateway ports behind which other chassis need not look (`always-redirect`).
//!
//! Guarantees: the `chassisredirect` port of a distributed gateway port says `always-redirect` exactly if whatever is routed to
//! the port leaves by its chassis alone. A chassis that cannot be the gateway then needs nothing of what is behind the port,
//! unless something of its own is there. Not so if
//!
//! * a translation gives an inner port an address of its own at this port (`external_mac`, `logical_port`), or the router has
//!   distributed load balancers: then packets come and go on other chassis too;
//! * packets to the gateway go through the physical network behind the port (`redirect-type=bridged`);
//! * the router relays multicast: it makes the copies where the packet is;
//! * there is a hardware gateway (`vtep`) behind the port, to which every chassis has a tunnel of its own.

use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::nat::Nat;
use super::port;
use crate::features::lb::distributed;
use crate::index::PortType;
use crate::program::{Cx, Feature, Key, Per};

/// Of a gateway port at which some inner port has an address of its own; such a rule demands it. (A router can have thousands
/// of rules: nobody goes through them.)
pub struct Spread;

impl Feature for Spread {
    const NAME: &'static str = "router_gateway_spread";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, _: Key) {
        cx.publish(());
    }
}

/// Publishes `()` per gateway port that only its own chassis serves.
pub struct Central;

impl Feature for Central {
    const NAME: &'static str = "router_gateway_central";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        Nat::NAME,
        Spread::NAME,
        distributed::OfRouter::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        if port.redirect.is_none() || port.bridged || cx.value::<()>(Spread::ID, key).is_some() {
            return;
        }
        if works_elsewhere(cx, port.router) {
            return;
        }
        let hardware_gateway = |link: &Uuid| {
            let switch = cx.switch_of(*link);
            switch.is_some_and(|switch| !cx.ports_of(switch, PortType::Vtep).is_empty())
        };
        let links = cx.switch_ports_towards(&port.name);
        if !links.iter().any(hardware_gateway) {
            cx.publish(());
        }
    }
}

/// Whether gateway ports of a router have work on other chassis too, whichever they are: it relays multicast, or has distributed
/// load balancers. The reader lists [`port::Routers`] and [`distributed::OfRouter`] among its `READS`.
pub fn works_elsewhere(cx: &Cx<'_>, router: Uuid) -> bool {
    port::router(cx, router).is_none_or(|router| router.relays_multicast)
        || !distributed::also_at(cx, router).is_empty()
}

/// Whether everything routed to a gateway port leaves by its own chassis. The reader lists [`Central`] among its `READS`.
pub fn is_central(cx: &Cx<'_>, port: Uuid) -> bool {
    cx.value::<()>(Central::ID, Key::Row(port)).is_some()
}
