//! Outer addresses of a router that its neighbours route to without routes of their own (`add_route`).
//!
//! Guarantees: for an address at a distributed gateway port every other router on the switch behind it (or linked to it) has
//! a route to that address alone and knows whose Ethernet address it is, unless it has `dynamic_neigh_routers`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use weft_ovsdb::model::Uuid;

use super::Ip;
use super::hop::Hop;
use super::port::{self, RouterPort};
use super::resolve::{known, routers_on};
use super::route::{Origin, Prefix, priority};
use crate::address::Mac;
use crate::pipeline::Stage;
use crate::program::Cx;

/// The ports of other routers from which a port is one hop away.
fn neighbours(cx: &Cx<'_>, gateway: &RouterPort) -> Vec<Arc<RouterPort>> {
    if let Some(peer) = &gateway.peer {
        let peer = cx.lrp_named(peer).and_then(|peer| port::port(cx, peer));
        return peer.into_iter().collect();
    }
    let links = cx.switch_ports_towards(&gateway.name).iter();
    let switches = links.filter_map(|link| cx.switch_of(*link));
    let others = switches.flat_map(|switch| routers_on(cx, switch).collect::<Vec<_>>());
    others
        .filter(|port| port.router != gateway.router && port.enabled)
        .collect()
}

/// Writes the routes to an address at `gateway`, where `mac` takes it. The reader lists `port::Routers` and `port::Ports`.
pub fn routes(cx: &Cx<'_>, gateway: &RouterPort, ip: IpAddr, mac: Mac, hint: Uuid) {
    for near in neighbours(cx, gateway) {
        let asks = port::router(cx, near.router).is_none_or(|router| router.asks_neighbor_routers);
        let (prefix, source) = match ip {
            IpAddr::V4(ip) => {
                if !asks {
                    known(cx, &near, mac, &[ip], &[], hint);
                }
                let own = near.v4.first().map(|net| Ip::V4(net.addr()));
                (Prefix::V4(Ipv4Net::from(ip)), own)
            }
            IpAddr::V6(ip) => {
                if !asks {
                    known(cx, &near, mac, &[], &[ip], hint);
                }
                let own = near.v6.first().map_or(near.link_local, |net| net.addr());
                (Prefix::V6(Ipv6Net::from(ip)), Some(Ip::V6(own)))
            }
        };
        let Some(source) = source else { continue };
        let hop = Hop {
            port: near.clone(),
            source,
            via: None,
        };
        cx.flow(
            near.router,
            Stage::LrInIpRouting,
            priority(prefix, Origin::Connected),
            prefix.matches(false),
            hop.alone(prefix),
            Some(hint),
        );
    }
}
