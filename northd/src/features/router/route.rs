//! Routes to connected networks, and what all routes have in common.
//!
//! Guarantees: the longest prefix wins; among equal lengths a connected network goes before a static route, and a route by
//! destination before one by source. Link-local destinations stay on the link they were asked for on. Routes of a table
//! apply to packets from ports of that table only, connected networks to all.

use ipnet::{Ipv4Net, Ipv6Net};
use weft_lang::{Action, Expr, field};
use weft_schemas::nb;

use super::hop::Hop;
use super::numbers::Numbers;
use super::port;
use super::static_route::table_number;
use super::{Ip, bfd, set};
use crate::address::{Prefixed, parse_prefixed};
use crate::pipeline::{self, Stage};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// A network that routes lead to; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Prefix {
    /// IPv4.
    V4(Ipv4Net),
    /// IPv6.
    V6(Ipv6Net),
}

/// `ip_prefix`: a network, or one address.
pub fn parse_prefix(text: &str) -> Option<Prefix> {
    match parse_prefixed(text)? {
        Prefixed::V4(net) => Some(Prefix::V4(net.trunc())),
        Prefixed::V6(net) => Some(Prefix::V6(net.trunc())),
    }
}

impl Prefix {
    /// Matches packets to the network, or from it.
    pub fn matches(self, by_source: bool) -> Expr {
        match self {
            Prefix::V4(net) => if by_source {
                field::IP4_SRC
            } else {
                field::IP4_DST
            }
            .within(net),
            Prefix::V6(net) => if by_source {
                field::IP6_SRC
            } else {
                field::IP6_DST
            }
            .within(net),
        }
    }

    fn length(self) -> u16 {
        match self {
            Prefix::V4(net) => net.prefix_len().into(),
            Prefix::V6(net) => net.prefix_len().into(),
        }
    }
}

/// Where a route comes from; among prefixes of one length the later goes first.
#[derive(Clone, Copy)]
pub enum Origin {
    /// A static route by source.
    StaticBySource,
    /// A static route by destination.
    Static,
    /// A network of a port.
    Connected,
}

/// The priority of the flow of a route.
pub fn priority(prefix: Prefix, origin: Origin) -> u16 {
    prefix.length() * 3 + origin as u16
}

/// Per router port: the networks it is in.
pub struct Connected;

impl Feature for Connected {
    const NAME: &'static str = "router_connected_routes";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let watched = bfd::has_sessions(cx, &port.name);
        let flow = |prefix: Prefix, limit: Option<Expr>, source: Ip| {
            let hop = Hop {
                port: port.clone(),
                source,
                via: None,
            };
            let match_ = Expr::all(limit.into_iter().chain([prefix.matches(false)]));
            let priority = priority(prefix, Origin::Connected);
            let (stage, hint) = (Stage::LrInIpRouting, Some(port.uuid));
            if watched {
                // The peer takes it as proof of being a neighbour that nobody has counted the hop (RFC 5881, 5).
                let session = Expr::all([match_.clone(), bfd::is_control()]);
                let mut actions = hop.alone(prefix);
                actions.retain(|action| *action != Action::DecTtl);
                cx.flow(port.router, stage, priority + 1, session, actions, hint);
            }
            cx.flow(
                port.router,
                stage,
                priority,
                match_,
                hop.alone(prefix),
                hint,
            );
        };
        for net in &port.v4 {
            flow(Prefix::V4(net.trunc()), None, Ip::V4(net.addr()));
        }
        for net in &port.v6 {
            flow(Prefix::V6(net.trunc()), None, Ip::V6(net.addr()));
        }
        let link_local = Ipv6Net::new_assert(port.link_local, 64).trunc();
        flow(
            Prefix::V6(link_local),
            Some(field::INPORT.eq(&port.name)),
            Ip::V6(port.link_local),
        );
    }
}

/// Per router port: the table that packets from it are routed by.
pub struct PortTable;

impl Feature for PortTable {
    const NAME: &'static str = "router_port_table";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME, Numbers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let Some(table) = &port.route_table else {
            return;
        };
        let Some(number) = table_number(cx, port.router, table) else {
            return;
        };
        let actions = vec![set(pipeline::ROUTE_TABLE, u64::from(number)), Action::NEXT];
        let from_here = field::INPORT.eq(&port.name);
        port.flow(cx, Stage::LrInIpRoutingPre, 100, from_here, actions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_connected_before_static() {
        let wide = parse_prefix("10.0.0.0/8").unwrap();
        let narrow = parse_prefix("10.0.0.0/9").unwrap();
        assert!(priority(narrow, Origin::StaticBySource) > priority(wide, Origin::Connected));
        assert!(priority(wide, Origin::Connected) > priority(wide, Origin::Static));
        assert!(priority(wide, Origin::Static) > priority(wide, Origin::StaticBySource));
    }
}
