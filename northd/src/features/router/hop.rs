//! Next hops: the port of a router that reaches an address.
//!
//! Guarantees: of the networks that hold the address the one with the longest prefix decides, among several ports in it the
//! one whose row sorts first, so that the choice is always the same. What is asked depends on that port and on which
//! lengths of prefixes the router has, not on its other ports.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use weft_lang::{Action, field};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::port::{self, RouterPort};
use super::route::Prefix;
use super::{Ip, loopback, set};
use crate::address::Prefixed;
use crate::index::{ById, joined_id, network_digest};
use crate::pipeline;
use crate::program::{Cx, Feature, Key, Per};

/// Publishes [`Lengths`] per router.
pub struct Networks;

/// The lengths of the prefixes that the ports of a router have, longest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lengths {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

impl Feature for Networks {
    const NAME: &'static str = "router_networks";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(router) = cx.lr(key.row()) else {
            return;
        };
        let mut lengths = Lengths::default();
        for port in router
            .ports()
            .iter()
            .filter_map(|uuid| port::port(cx, *uuid))
        {
            lengths.v4.extend(port.v4.iter().map(Ipv4Net::prefix_len));
            lengths.v6.extend(port.v6.iter().map(Ipv6Net::prefix_len));
        }
        for list in [&mut lengths.v4, &mut lengths.v6] {
            list.sort_unstable_by(|a, b| b.cmp(a));
            list.dedup();
        }
        cx.publish(lengths);
    }
}

/// Where packets of a route or policy go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The port they leave by.
    pub port: Arc<RouterPort>,
    /// Its address there.
    pub source: Ip,
    /// The next hop; for connected networks `None`, the destination itself.
    pub via: Option<Ip>,
}

impl Hop {
    /// [`Hop::actions`] of a route for `prefix`: the next hop of IPv4 packets may be an IPv6 address.
    pub fn actions_for(&self, prefix: Prefix) -> Vec<Action> {
        let mut actions = self.actions();
        if let (Prefix::V4(_), Ip::V6(_)) = (prefix, self.source) {
            // Before `next;`.
            actions.insert(actions.len() - 1, set(pipeline::NEXT_HOP_OVER_IP6, 1));
        }
        actions
    }

    /// [`Hop::actions`] in place of those of a route, which may have chosen an IPv6 address for an IPv4 packet.
    pub fn instead(&self) -> Vec<Action> {
        let mut actions = self.actions();
        if matches!(self.source, Ip::V4(_)) {
            actions.insert(actions.len() - 1, set(pipeline::NEXT_HOP_OVER_IP6, 0));
        }
        actions
    }

    /// Sets next hop, own address, source MAC and output port.
    pub fn actions(&self) -> Vec<Action> {
        let next_hop = self.source.next_hop();
        let destination = match (self.via, self.source) {
            (Some(via), _) => Action::set(next_hop, via),
            (None, Ip::V4(_)) => Action::Move(next_hop, field::IP4_DST),
            (None, Ip::V6(_)) => Action::Move(next_hop, field::IP6_DST),
        };
        vec![
            destination,
            Action::set(self.source.source(), self.source),
            Action::set(field::ETH_SRC, self.port.mac),
            Action::set(field::OUTPORT, &self.port.name),
            loopback(),
            Action::NEXT,
        ]
    }

    /// [`Hop::actions`] of a route that shares the load with no other.
    pub fn alone(&self, prefix: Prefix) -> Vec<Action> {
        let mut actions = vec![Action::DecTtl, set(pipeline::ECMP_GROUP, 0)];
        actions.extend(self.actions_for(prefix));
        actions
    }
}

/// Why a next hop cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHop {
    /// The port that was named is not one of the router.
    NoSuchPort,
    /// It has no address of the family.
    NoAddress,
    /// No port has a network that holds the next hop.
    Unreachable,
}

/// The address of a text that is nothing else.
pub fn parse_hop(text: &str) -> Option<Ip> {
    match text.parse().ok()? {
        IpAddr::V4(ip) => Some(Ip::V4(ip)),
        IpAddr::V6(ip) => Some(Ip::V6(ip)),
    }
}

fn source(port: &RouterPort, via: Ip) -> Option<Ip> {
    match via {
        Ip::V4(address) => port.source_v4(address).map(Ip::V4),
        Ip::V6(address) => port.source_v6(address).map(Ip::V6),
    }
}

/// The port that reaches a next hop, with its address there. A port that is named may also lead to a next hop outside its
/// networks.
pub fn choose(cx: &Cx<'_>, router: Uuid, via: Ip, wanted: Option<&str>) -> Result<Hop, NoHop> {
    let Some(name) = wanted else {
        return find(cx, router, via).ok_or(NoHop::Unreachable);
    };
    let port = cx
        .lrp_named(name)
        .and_then(|uuid| port::port(cx, uuid))
        .filter(|port| port.router == router)
        .ok_or(NoHop::NoSuchPort)?;
    let first = match via {
        Ip::V4(_) => port.v4.first().map(|net| Ip::V4(net.addr())),
        Ip::V6(_) => Some(Ip::V6(
            port.v6.first().map_or(port.link_local, |net| net.addr()),
        )),
    };
    let source = source(&port, via).or(first).ok_or(NoHop::NoAddress)?;
    Ok(Hop {
        port,
        source,
        via: Some(via),
    })
}

fn find(cx: &Cx<'_>, router: Uuid, via: Ip) -> Option<Hop> {
    let hop = |port: Arc<RouterPort>| {
        let source = source(&port, via)?;
        Some(Hop {
            port,
            source,
            via: Some(via),
        })
    };
    if let Ip::V6(ip) = via
        && ip.is_unicast_link_local()
    {
        // It says nothing about the port: every port has such a network.
        let row = cx.lr(router)?;
        let mut ports = row.ports().iter().filter_map(|uuid| port::port(cx, *uuid));
        return ports.find(|port| port.enabled).and_then(hop);
    }
    let lengths = cx.value::<Lengths>(Networks::ID, Key::Row(router))?;
    let networks: Vec<Prefixed> = match via {
        Ip::V4(ip) => {
            let net = |length: &u8| Ipv4Net::new(ip, *length).ok().map(Prefixed::V4);
            lengths.v4.iter().filter_map(net).collect()
        }
        Ip::V6(ip) => {
            let net = |length: &u8| Ipv6Net::new(ip, *length).ok().map(Prefixed::V6);
            lengths.v6.iter().filter_map(net).collect()
        }
    };
    networks.into_iter().find_map(|network| {
        let there = cx.by_id(
            ById::PortsInNetwork,
            joined_id(router, network_digest(network)),
        );
        let mut ports = there.iter().filter_map(|uuid| port::port(cx, *uuid));
        ports.find(|port| port.router == router).and_then(hop)
    })
}
