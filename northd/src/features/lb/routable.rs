//! Virtual addresses that neighbouring routers have routes to (`Load_Balancer.options:add_route`).
//!
//! Guarantees: as [`crate::features::router::routable`] says, for every distributed gateway port of the routers that the load
//! balancer applies to.

use std::collections::BTreeSet;

use weft_schemas::nb;

use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::vip::{Address, Parsed, balancer};
use crate::features::router::gateway::{GatewayPorts, gateways};
use crate::features::router::{port, routable};
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Routes;

impl Feature for Routes {
    const NAME: &'static str = "lb_routes";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[
        Parsed::NAME,
        GroupPlaces::NAME,
        ListedPlaces::NAME,
        GatewayPorts::NAME,
        port::Routers::NAME,
        port::Ports::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()).filter(|lb| lb.add_route) else {
            return;
        };
        let Some(places) = places_of(cx, lb.uuid) else {
            return;
        };
        let addresses: BTreeSet<_> = lb.vips.iter().map(|vip| &vip.address).collect();
        let distributed = places.routers.iter().filter(|(class, _)| !class.gateway);
        for router in distributed.flat_map(|(_, routers)| routers.as_slice()) {
            for gateway in gateways(cx, *router) {
                for address in &addresses {
                    if let Address::Ip(ip) = address {
                        routable::routes(cx, &gateway, *ip, gateway.mac, lb.uuid);
                    }
                }
            }
        }
    }
}
