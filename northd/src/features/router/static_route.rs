//! Static routes.
//!
//! Guarantees: a route whose next hop no port of the router reaches, or that names a port or an address that is none, is left
//! out and told; one whose BFD session is not up is left out until it is. A discarding route drops, unless an equal one
//! leads somewhere. Another route of a router costs itself and those equal to it.

use std::net::Ipv6Addr;

use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Set, Str, Uuid};
use weft_schemas::nb;

use super::ecmp::{self, Place};
use super::hop::{self, Hop, Networks, NoHop};
use super::numbers::{Numbers, Sort, number};
use super::route::{Origin, Prefix, parse_prefix, priority};
use super::{Ip, bfd, multicast_mac, port, symmetric};
use crate::address::{Mac, Prefixed, parse_prefixed, solicited_node};
use crate::features::port_key::PortKey;
use crate::index::{ById, alike, digest};
use crate::pipeline::{self, Stage};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// A static route that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The row.
    pub uuid: Uuid,
    /// The router.
    pub router: Uuid,
    /// By what equal routes are found.
    pub alike: ecmp::Alike,
    /// `route_table`
    pub table: Str,
    /// By source address instead of destination.
    pub by_source: bool,
    /// The network.
    pub prefix: Prefix,
    /// Where to; `None` drops.
    pub hop: Option<Hop>,
    /// `selection_fields`
    pub selection: Set<Str>,
    /// `options:ecmp_symmetric_reply`
    pub symmetric: bool,
}

impl Route {
    /// Writes a flow on the route's router, with the route as hint.
    pub fn flow(
        &self,
        cx: &Cx<'_>,
        stage: Stage,
        priority: u16,
        match_: Expr,
        actions: impl AsRef<[Action]>,
    ) {
        let hint = Some(self.uuid);
        cx.flow(self.router, stage, priority, match_, actions, hint);
    }

    /// They share the load, if both lead anywhere.
    pub fn shares_with(&self, other: &Route) -> bool {
        self.router == other.router
            && self.table == other.table
            && self.by_source == other.by_source
            && self.prefix == other.prefix
    }

    fn priority(&self) -> u16 {
        let origin = if self.by_source {
            Origin::StaticBySource
        } else {
            Origin::Static
        };
        priority(self.prefix, origin)
    }

    /// Which packets it is for. `None` until the table has its number.
    fn matches(&self, cx: &Cx<'_>) -> Option<Expr> {
        // A route by source in the main table applies whatever table the packet's port names.
        let table = (!self.table.is_empty() || !self.by_source).then(|| {
            Some(pipeline::ROUTE_TABLE.field().eq(u64::from(table_number(
                cx,
                self.router,
                &self.table,
            )?)))
        });
        let table = match table {
            Some(None) => return None,
            Some(some) => some,
            None => None,
        };
        Some(Expr::all(
            table
                .into_iter()
                .chain([self.prefix.matches(self.by_source)]),
        ))
    }
}

/// The number of a route table of a router; 0 is the main one.
pub fn table_number(cx: &Cx<'_>, router: Uuid, table: &str) -> Option<u32> {
    if table.is_empty() {
        return Some(0);
    }
    number(cx, router, Sort::Table, digest(table))
}

/// Per static route: publishes a [`Route`] where it can be used, and says where not.
pub struct Resolved;

impl Feature for Resolved {
    const NAME: &'static str = "router_route";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterStaticRoute)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        Networks::NAME,
        bfd::Sessions::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(&router) = cx.by_id(ById::RouterOfRoute, uuid).first() else {
            return;
        };
        let (Some(_), Some(row)) = (port::router(cx, router), cx.route(uuid)) else {
            return;
        };
        let (prefix, target) = match destination(row.ip_prefix(), row.nexthop()) {
            Ok(found) => found,
            Err((column, what)) => {
                let text = if column == "ip_prefix" {
                    row.ip_prefix()
                } else {
                    row.nexthop()
                };
                complain(
                    cx,
                    uuid,
                    column,
                    &format!("\"{text}\" {what}: the route is left out"),
                );
                return;
            }
        };
        let hop = match target {
            Target::Discard => None,
            Target::Via(via) => match hop::choose(cx, router, via, row.output_port().as_deref()) {
                Ok(hop) => Some(hop),
                Err(why) => {
                    let (column, message) =
                        told(&why, row.output_port().as_deref().unwrap_or_default());
                    complain(
                        cx,
                        uuid,
                        column,
                        &format!("{message}: the route is left out"),
                    );
                    return;
                }
            },
        };
        if row.bfd().is_some_and(|session| !bfd::is_up(cx, session)) {
            return;
        }
        let option = |name: &str| {
            row.options()
                .get(name)
                .is_some_and(|value| &**value == "true")
        };
        cx.publish(Route {
            uuid,
            router,
            alike: alike(row.route_table(), row.policy().as_deref(), row.ip_prefix()),
            table: row.route_table().clone(),
            by_source: row.policy().as_deref() == Some("src-ip"),
            prefix,
            hop,
            selection: row.selection_fields().clone(),
            symmetric: option("ecmp_symmetric_reply"),
        });
    }
}

fn complain(cx: &Cx<'_>, uuid: Uuid, column: &'static str, message: &str) {
    let name = cx
        .route(uuid)
        .map(|row| format!("{} via {}", row.ip_prefix(), row.nexthop()))
        .unwrap_or_default();
    cx.diagnose::<nb::LogicalRouterStaticRoute>(&name, uuid, column, message);
}

/// The column that is to blame, and why.
fn told(why: &NoHop, port: &str) -> (&'static str, String) {
    match why {
        NoHop::NoSuchPort => ("output_port", format!("the router has no port \"{port}\"")),
        NoHop::NoAddress => (
            "output_port",
            format!("port \"{port}\" has no address of the next hop's family"),
        ),
        NoHop::Unreachable => (
            "nexthop",
            "no port of the router has a network that holds the next hop".to_owned(),
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Discard,
    Via(Ip),
}

/// What a route is for and where it leads, or the column that does not say so and what is wrong with its text.
fn destination(
    ip_prefix: &str,
    nexthop: &str,
) -> Result<(Prefix, Target), (&'static str, &'static str)> {
    let prefix =
        parse_prefix(ip_prefix).ok_or(("ip_prefix", "is no network (like 10.0.0.0/24)"))?;
    let target = match (nexthop, parse_prefixed(nexthop)) {
        ("discard", _) => Target::Discard,
        (_, Some(Prefixed::V4(net))) if net.prefix_len() == 32 => Target::Via(Ip::V4(net.addr())),
        (_, Some(Prefixed::V6(net))) if net.prefix_len() == 128 => Target::Via(Ip::V6(net.addr())),
        _ => return Err(("nexthop", "is neither an address nor \"discard\"")),
    };
    match (prefix, target) {
        (_, Target::Discard)
        | (Prefix::V4(_), Target::Via(_))
        | (Prefix::V6(_), Target::Via(Ip::V6(_))) => Ok((prefix, target)),
        _ => Err(("nexthop", "is not of the family of ip_prefix")),
    }
}

/// Per static route: its flows.
pub struct Static;

impl Feature for Static {
    const NAME: &'static str = "router_static_route";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterStaticRoute)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        Resolved::NAME,
        Numbers::NAME,
        PortKey::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(route) = cx.value::<Route>(Resolved::ID, key) else {
            return;
        };
        let Some(matches) = route.matches(cx) else {
            return;
        };
        let flow =
            |stage, priority, match_, actions| route.flow(cx, stage, priority, match_, actions);
        let members = ecmp::members(cx, &route);
        let Some(hop) = &route.hop else {
            if members.is_empty() {
                flow(
                    Stage::LrInIpRouting,
                    route.priority(),
                    matches,
                    vec![Action::Drop],
                );
            }
            return;
        };
        if members.len() == 1 {
            let actions = hop.alone(route.prefix);
            flow(Stage::LrInIpRouting, route.priority(), matches, actions);
        } else if let Some(place) = Place::of(cx, &route, &members) {
            if place.number == 1 {
                let choice = ecmp::choice(place, &members);
                flow(Stage::LrInIpRouting, route.priority(), matches, choice);
            }
            flow(
                Stage::LrInIpRoutingEcmp,
                100,
                place.is_chosen(),
                hop.actions_for(route.prefix),
            );
            let mixed = matches!((route.prefix, hop.source), (Prefix::V4(_), Ip::V6(_)));
            if route.symmetric && !route.by_source && !mixed {
                symmetric::replies(cx, &route, hop);
            }
        }
        if let Some(Ip::V6(address)) = hop.via {
            let packets = match route.prefix {
                Prefix::V6(_) => pred::IP6,
                Prefix::V4(_) => over_ip6(),
            };
            flow(
                Stage::LrInArpRequest,
                200,
                unresolved(packets, address),
                vec![solicit(address)],
            );
        }
    }
}

/// IPv4 packets to an IPv6 next hop.
pub fn over_ip6() -> Expr {
    Expr::all([pred::IP4, pipeline::NEXT_HOP_OVER_IP6.field().eq(1)])
}

fn unresolved(packets: Expr, next_hop: Ipv6Addr) -> Expr {
    Expr::all([
        field::ETH_DST.eq([0u8; 6]),
        packets,
        pipeline::NEXT_HOP_IP6.field().eq(next_hop),
    ])
}

/// A neighbour solicitation to the solicited-node address, not to the unicast one that has no Ethernet address yet.
fn solicit(next_hop: Ipv6Addr) -> Action {
    let group = solicited_node(next_hop);
    Action::nested(
        weft_lang::action::NestedKind::NdNs,
        [
            Action::set(field::ETH_DST, Mac(multicast_mac(group))),
            Action::set(field::IP6_DST, group),
            Action::set(field::ND_TARGET, next_hop),
            Action::Output,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_says() {
        let hop = Target::Via(Ip::V4("10.0.0.2".parse().unwrap()));
        assert_eq!(
            destination("10.1.2.3/8", "10.0.0.2"),
            Ok((parse_prefix("10.0.0.0/8").unwrap(), hop))
        );
        assert_eq!(
            destination("::/0", "discard").map(|(_, target)| target),
            Ok(Target::Discard)
        );
        for (prefix, nexthop, column) in [
            ("tea", "10.0.0.2", "ip_prefix"),
            ("10.0.0.0/8", "coffee", "nexthop"),
            ("10.0.0.0/8", "10.0.0.2/24", "nexthop"),
            ("fd00::/8", "10.0.0.2", "nexthop"),
        ] {
            assert_eq!(
                destination(prefix, nexthop).map_err(|(column, _)| column),
                Err(column)
            );
        }
    }
}
