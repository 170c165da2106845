//! Routes: connected networks and static routes.
//!
//! Guarantees: the longest prefix wins; among equal lengths a connected network goes before a static route, and a route by
//! destination before one by source. Link-local destinations stay on the link they were asked for on. A route whose next
//! hop no port of the router reaches is left out and told; a discarding one drops. Routes of a table apply to packets from
//! ports of that table only, connected networks to all.

use std::net::Ipv6Addr;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::ecmp::{Groups, Member, RouteGroups};
use super::port::{self, RouterPort};
use super::{Ip, loopback, multicast_mac, set};
use crate::address::{Mac, Prefixed, parse_prefixed, solicited_node};
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

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
    fn matches(self, by_source: bool) -> Expr {
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
enum Origin {
    StaticBySource,
    Static,
    Connected,
}

fn priority(prefix: Prefix, origin: Origin) -> u16 {
    prefix.length() * 3 + origin as u16
}

/// Where packets of a route go.
struct Hop<'a> {
    port: &'a RouterPort,
    source: Ip,
    /// The next hop, or for connected networks the register that holds the destination.
    via: Option<Ip>,
}

impl Hop<'_> {
    /// Sets next hop, own address, source MAC and output port.
    fn actions(&self) -> Vec<Action> {
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

    fn alone(&self) -> Vec<Action> {
        let mut actions = vec![Action::DecTtl, set(pipeline::ECMP_GROUP, 0)];
        actions.extend(self.actions());
        actions
    }
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
        let flow = |prefix: Prefix, limit: Option<Expr>, source: Ip| {
            let hop = Hop {
                port: &port,
                source,
                via: None,
            };
            let match_ = Expr::all(limit.into_iter().chain([prefix.matches(false)]));
            let priority = priority(prefix, Origin::Connected);
            cx.flow(
                port.router,
                Stage::LrInIpRouting,
                priority,
                match_,
                hop.alone(),
                Some(port.uuid),
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
    const READS: &'static [&'static str] = &[port::Ports::NAME, Groups::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let Some(table) = &port.route_table else {
            return;
        };
        let Some(groups) = cx.value::<RouteGroups>(Groups::ID, Key::Row(port.router)) else {
            return;
        };
        let actions = vec![
            set(pipeline::ROUTE_TABLE, groups.table(table)),
            Action::NEXT,
        ];
        let from_here = field::INPORT.eq(&port.name);
        cx.flow(
            port.router,
            Stage::LrInIpRoutingPre,
            100,
            from_here,
            actions,
            Some(port.uuid),
        );
    }
}

/// Publishes the ports of a router for those who look for the one that reaches an address.
pub struct Networks;

/// The value of [`Networks`]: ports sorted by row, so that the choice among several is always the same.
type PortList = Vec<Arc<RouterPort>>;

impl Feature for Networks {
    const NAME: &'static str = "router_networks";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(router) = cx.lr(key.row()) else {
            return;
        };
        let ports: PortList = router
            .ports()
            .iter()
            .filter_map(|uuid| port::port(cx, *uuid))
            .collect();
        cx.publish(ports);
    }
}

/// Per static route: whether it leads anywhere. Traffic must not be shared with a route that is left out.
pub struct Usable;

/// The value of [`Usable`], published only where it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeadsSomewhere;

impl Feature for Usable {
    const NAME: &'static str = "router_usable_route";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterStaticRoute)];
    const READS: &'static [&'static str] = &[Networks::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let routers = cx.by_id(crate::index::ById::RouterOfRoute, key.row());
        let (Some(&router), Some(row)) = (routers.first(), cx.route(key.row())) else {
            return;
        };
        let Some(ports) = cx.value::<PortList>(Networks::ID, Key::Row(router)) else {
            return;
        };
        let reached = match destination(row.ip_prefix(), row.nexthop()) {
            Ok((_, Target::Discard)) => true,
            Ok((_, Target::Via(via))) => choose(&ports, via, row.output_port().as_deref()).is_ok(),
            Err(_) => false,
        };
        if reached {
            cx.publish(LeadsSomewhere);
        }
    }
}

/// Per static route.
pub struct Static;

impl Feature for Static {
    const NAME: &'static str = "router_static_route";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterStaticRoute)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, Networks::NAME, Groups::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(router) = cx
            .by_id(crate::index::ById::RouterOfRoute, uuid)
            .first()
            .copied()
        else {
            return;
        };
        if port::router(cx, router).is_none() {
            return;
        }
        let Some(groups) = cx.value::<RouteGroups>(Groups::ID, Key::Row(router)) else {
            return;
        };
        let Some(route) = Route::read(cx, uuid, &groups) else {
            return;
        };
        let flow = |stage, priority, match_, actions| {
            cx.flow(router, stage, priority, match_, actions, Some(uuid))
        };
        let Target::Via(via) = route.target else {
            flow(
                Stage::LrInIpRouting,
                route.priority(),
                route.matches(),
                vec![Action::Drop],
            );
            return;
        };
        let Some(ports) = cx.value::<PortList>(Networks::ID, Key::Row(router)) else {
            return;
        };
        let hop = match choose(&ports, via, route.output_port.as_deref()) {
            Ok(hop) => hop,
            Err(complaint) => {
                let (column, message) = complaint.told(&route);
                cx.diagnose::<nb::LogicalRouterStaticRoute>(&route.name, uuid, column, message);
                return;
            }
        };
        match groups.members.get(&uuid) {
            None => flow(
                Stage::LrInIpRouting,
                route.priority(),
                route.matches(),
                hop.alone(),
            ),
            Some(member) => {
                if member.number == 1 {
                    flow(
                        Stage::LrInIpRouting,
                        route.priority(),
                        route.matches(),
                        choice(member),
                    );
                }
                let chosen = Expr::all([
                    pipeline::ECMP_GROUP.field().eq(member.group),
                    pipeline::ECMP_MEMBER.field().eq(member.number),
                ]);
                flow(Stage::LrInIpRoutingEcmp, 100, chosen, hop.actions());
            }
        }
        if let Ip::V6(address) = via {
            flow(
                Stage::LrInArpRequest,
                200,
                unresolved(address),
                vec![solicit(address)],
            );
        }
    }
}

/// A static route, parsed.
struct Route {
    name: String,
    prefix: Prefix,
    by_source: bool,
    table: u32,
    target: Target,
    output_port: Option<Str>,
}

#[derive(Clone, Copy)]
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
        | (Prefix::V4(_), Target::Via(Ip::V4(_)))
        | (Prefix::V6(_), Target::Via(Ip::V6(_))) => Ok((prefix, target)),
        _ => Err(("nexthop", "is not of the family of ip_prefix")),
    }
}

impl Route {
    fn read(cx: &Cx<'_>, uuid: Uuid, groups: &RouteGroups) -> Option<Route> {
        let row = cx.route(uuid)?;
        let name = format!("{} via {}", row.ip_prefix(), row.nexthop());
        let complain = |column, text: &str, what: &str| {
            let message = format!("\"{text}\" {what}: the route is left out");
            cx.diagnose::<nb::LogicalRouterStaticRoute>(&name, uuid, column, message);
        };
        let (prefix, target) = match destination(row.ip_prefix(), row.nexthop()) {
            Ok(found) => found,
            Err((column @ "ip_prefix", what)) => {
                complain(column, row.ip_prefix(), what);
                return None;
            }
            Err((column, what)) => {
                complain(column, row.nexthop(), what);
                return None;
            }
        };
        let by_source = row.policy().as_deref() == Some("src-ip");
        let table = groups.table(row.route_table());
        let output_port = row.output_port().clone();
        Some(Route {
            name,
            prefix,
            by_source,
            table,
            target,
            output_port,
        })
    }

    fn priority(&self) -> u16 {
        priority(
            self.prefix,
            if self.by_source {
                Origin::StaticBySource
            } else {
                Origin::Static
            },
        )
    }

    fn matches(&self) -> Expr {
        // A route by source in the main table applies whatever table the packet's port names.
        let table = (self.table != 0 || !self.by_source)
            .then(|| pipeline::ROUTE_TABLE.field().eq(self.table));
        Expr::all(
            table
                .into_iter()
                .chain([self.prefix.matches(self.by_source)]),
        )
    }
}

/// Why a route leads nowhere.
#[derive(Debug, PartialEq, Eq)]
enum NoHop {
    NoSuchPort(String),
    NoAddress(String),
    Unreachable(Ip),
}

impl NoHop {
    fn told(self, route: &Route) -> (&'static str, String) {
        match self {
            NoHop::NoSuchPort(port) => (
                "output_port",
                format!(
                    "the router has no port \"{port}\": {} is left out",
                    route.name
                ),
            ),
            NoHop::NoAddress(port) => (
                "output_port",
                format!(
                    "port \"{port}\" has no address of the next hop's family: {} is left out",
                    route.name
                ),
            ),
            NoHop::Unreachable(_) => (
                "nexthop",
                format!(
                    "no port of the router has a network that holds the next hop: {} is left out",
                    route.name
                ),
            ),
        }
    }
}

/// The port that reaches a next hop, with its address there.
fn choose<'a>(
    ports: &'a [Arc<RouterPort>],
    via: Ip,
    wanted: Option<&str>,
) -> Result<Hop<'a>, NoHop> {
    let source = |port: &RouterPort| match via {
        Ip::V4(address) => port.source_v4(address).map(Ip::V4),
        Ip::V6(address) => port.source_v6(address).map(Ip::V6),
    };
    let Some(name) = wanted else {
        // A link-local next hop says nothing about the port: every port has such a network.
        let on_link = |port: &&'a Arc<RouterPort>| {
            !matches!(via, Ip::V6(ip) if ip.is_unicast_link_local()) || port.enabled
        };
        let found = ports
            .iter()
            .filter(on_link)
            .find_map(|port| source(port).map(|source| (port, source)));
        let (port, source) = found.ok_or(NoHop::Unreachable(via))?;
        return Ok(Hop {
            port,
            source,
            via: Some(via),
        });
    };
    let port = ports
        .iter()
        .find(|port| &*port.name == name)
        .ok_or_else(|| NoHop::NoSuchPort(name.to_owned()))?;
    // The next hop may be outside the port's networks: the first address is as good as any then.
    let first = match via {
        Ip::V4(_) => port.v4.first().map(|net| Ip::V4(net.addr())),
        Ip::V6(_) => Some(Ip::V6(
            port.v6.first().map_or(port.link_local, |net| net.addr()),
        )),
    };
    let source = source(port)
        .or(first)
        .ok_or_else(|| NoHop::NoAddress(name.to_owned()))?;
    Ok(Hop {
        port,
        source,
        via: Some(via),
    })
}

/// Picks a member of a group.
fn choice(member: &Member) -> Vec<Action> {
    vec![
        Action::DecTtl,
        loopback(),
        set(pipeline::ECMP_GROUP, member.group),
        Action::Select {
            result: pipeline::ECMP_MEMBER.field(),
            members: (1..=member.of).map(|number| (number, None)).collect(),
            hash_fields: None,
        },
    ]
}

fn unresolved(next_hop: Ipv6Addr) -> Expr {
    Expr::all([
        field::ETH_DST.eq([0u8; 6]),
        pred::IP6,
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
    use std::net::Ipv4Addr;

    use super::*;

    fn port(name: &str, v4: &str) -> Arc<RouterPort> {
        let mac = Mac([0, 0, 0, 0, 0, 1]);
        Arc::new(RouterPort {
            uuid: Uuid(1),
            name: name.into(),
            router: Uuid(2),
            mac,
            v4: vec![v4.parse().unwrap()],
            v6: Vec::new(),
            link_local: mac.link_local(),
            enabled: true,
            peer: None,
            route_table: None,
            mtu_bytes: None,
            redirect: None,
            bridged: false,
            resides: false,
        })
    }

    #[test]
    fn the_longest_prefix_wins_and_connected_before_static() {
        let wide = parse_prefix("10.0.0.0/8").unwrap();
        let narrow = parse_prefix("10.0.0.0/9").unwrap();
        assert!(priority(narrow, Origin::StaticBySource) > priority(wide, Origin::Connected));
        assert!(priority(wide, Origin::Connected) > priority(wide, Origin::Static));
        assert!(priority(wide, Origin::Static) > priority(wide, Origin::StaticBySource));
    }

    #[test]
    fn the_port_whose_network_holds_the_next_hop_is_chosen() {
        let ports = [port("a", "10.0.0.1/24"), port("b", "10.0.1.1/24")];
        let via = |text: &str| Ip::V4(text.parse::<Ipv4Addr>().unwrap());
        let hop = choose(&ports, via("10.0.1.9"), None)
            .map(|hop| (hop.port.name.clone(), hop.source))
            .map_err(|_| ());
        assert_eq!(hop, Ok(("b".into(), via("10.0.1.1"))));
        assert_eq!(
            choose(&ports, via("10.0.2.9"), None).err(),
            Some(NoHop::Unreachable(via("10.0.2.9")))
        );
        let hop = choose(&ports, via("10.0.2.9"), Some("a"))
            .map(|hop| hop.source)
            .map_err(|_| ());
        assert_eq!(
            hop,
            Ok(via("10.0.0.1")),
            "an output port may lead to a next hop outside its networks"
        );
        assert_eq!(
            choose(&ports, via("10.0.2.9"), Some("c")).err(),
            Some(NoHop::NoSuchPort("c".into()))
        );
    }
}
