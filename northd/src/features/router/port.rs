//! Router ports and routers as the other router features see them: parsed once, published as values.
//!
//! Guarantees: a router port whose `mac` or `networks` cannot be used publishes what is sound of it (a bad network costs that
//! network) and says so; a router that is disabled publishes nothing, so that none of its features has anything to say.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use weft_lang::{Action, Expr};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::address::{Mac, Prefixed, parse_prefixed};
use crate::features::router_port::{is_distributed_gateway, redirect_name};
use crate::output::{Output, SetName};
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// A router, as far as its options concern more than one feature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Router {
    /// Learn neighbours from every ARP request, not only from those for the router (`always_learn_from_arp_request`).
    pub learns_from_requests: bool,
    /// Other routers resolve this one's addresses by asking (`dynamic_neigh_routers` makes *this* router ask).
    pub asks_neighbor_routers: bool,
    /// Relays IP multicast (`mcast_relay`).
    pub relays_multicast: bool,
    /// Bound to one chassis (`options:chassis`).
    pub is_gateway: bool,
}

/// A port of an enabled router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterPort {
    /// The row.
    pub uuid: Uuid,
    /// Unique name.
    pub name: Str,
    /// The router.
    pub router: Uuid,
    /// Ethernet address.
    pub mac: Mac,
    /// IPv4 addresses with their networks, as configured.
    pub v4: Vec<Ipv4Net>,
    /// IPv6 addresses with their networks, as configured, without the link-local one.
    pub v6: Vec<Ipv6Net>,
    /// The link-local address that follows from the Ethernet address (RFC 4291, appendix A).
    pub link_local: Ipv6Addr,
    /// Takes and sends packets.
    pub enabled: bool,
    /// Name of the router port it is linked to, without a switch between.
    pub peer: Option<Str>,
    /// `options:route_table`, for packets that enter here.
    pub route_table: Option<Str>,
    /// `options:gateway_mtu`, bytes of IP packet.
    pub mtu_bytes: Option<u16>,
    /// Name of its `chassisredirect` port, if it works on one chassis of a distributed router.
    pub redirect: Option<Str>,
    /// `options:redirect-type=bridged`.
    pub bridged: bool,
    /// `options:reside-on-redirect-chassis`.
    pub resides: bool,
}

impl RouterPort {
    /// Writes a flow on the port's router, with the port as hint.
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

    /// The port's own address in the network that holds `address`.
    pub fn source_v4(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.v4
            .iter()
            .find(|net| net.contains(&address))
            .map(Ipv4Net::addr)
    }

    /// The same for IPv6; link-local destinations are reached from the link-local address.
    pub fn source_v6(&self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        if address.is_unicast_link_local() {
            return Some(self.link_local);
        }
        self.v6
            .iter()
            .find(|net| net.contains(&address))
            .map(Ipv6Net::addr)
    }

    /// Every IPv6 address of the port, the link-local one last.
    pub fn addresses_v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.v6.iter().map(Ipv6Net::addr).chain([self.link_local])
    }
}

/// Publishes a [`Router`] per enabled router, which is one of all.
pub struct Routers;

impl Feature for Routers {
    const NAME: &'static str = "router";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(router) = cx.lr(key.row()) else {
            return;
        };
        if *router.enabled() == Some(false) {
            return;
        }
        let options = router.options();
        let is = |name: &str, default: bool| options.get(name).map_or(default, |v| &**v == "true");
        cx.emit(Output::Member(SetName::Routers, key.row()));
        cx.publish(Router {
            learns_from_requests: is("always_learn_from_arp_request", true),
            asks_neighbor_routers: is("dynamic_neigh_routers", false),
            relays_multicast: is("mcast_relay", false),
            is_gateway: options.get("chassis").is_some(),
        });
    }
}

/// Publishes a [`RouterPort`] per port of an enabled router.
pub struct Ports;

impl Feature for Ports {
    const NAME: &'static str = "router_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[Routers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(row) = cx.lrp(uuid) else { return };
        let Some(router) = cx.router_of(uuid) else {
            return;
        };
        if cx.value::<Router>(Routers::ID, Key::Row(router)).is_none() {
            return;
        }
        let name = row.name().clone();
        let Ok(mac) = row.mac().parse::<Mac>() else {
            cx.diagnose::<nb::LogicalRouterPort>(
                &name,
                uuid,
                "mac",
                format!("\"{}\" is no Ethernet address (like 0a:00:00:00:00:01): the port carries nothing", row.mac()),
            );
            return;
        };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in row.networks().iter() {
            match parse_prefixed(text) {
                Some(Prefixed::V4(net)) => v4.push(net),
                Some(Prefixed::V6(net)) if net.addr() == mac.link_local() => {}
                Some(Prefixed::V6(net)) => v6.push(net),
                None => cx.diagnose::<nb::LogicalRouterPort>(
                    &name,
                    uuid,
                    "networks",
                    format!(
                        "\"{text}\" is no address with a prefix length (like 10.0.0.1/24): left out"
                    ),
                ),
            }
        }
        let options = row.options();
        cx.publish(RouterPort {
            uuid,
            router,
            mac,
            v4,
            v6,
            link_local: mac.link_local(),
            enabled: *row.enabled() != Some(false),
            peer: row.peer().clone().filter(|peer| !peer.is_empty()),
            route_table: options
                .get("route_table")
                .filter(|table| !table.is_empty())
                .cloned(),
            mtu_bytes: options
                .get("gateway_mtu")
                .and_then(|mtu| mtu.parse().ok())
                .filter(|mtu| *mtu > 0),
            redirect: is_distributed_gateway(cx, uuid).then(|| redirect_name(&name)),
            bridged: options
                .get("redirect-type")
                .is_some_and(|v| &**v == "bridged"),
            resides: options
                .get("reside-on-redirect-chassis")
                .is_some_and(|v| &**v == "true"),
            name,
        });
    }
}

/// The port, if there is one that works.
pub fn port(cx: &Cx<'_>, uuid: Uuid) -> Option<std::sync::Arc<RouterPort>> {
    cx.value(Ports::ID, Key::Row(uuid))
}

/// The router, if it is enabled.
pub fn router(cx: &Cx<'_>, uuid: Uuid) -> Option<std::sync::Arc<Router>> {
    cx.value(Routers::ID, Key::Row(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port() -> RouterPort {
        RouterPort {
            uuid: Uuid(1),
            name: "p".into(),
            router: Uuid(2),
            mac: Mac([0, 0, 0, 0, 0, 1]),
            v4: vec![
                "10.0.0.1/24".parse().unwrap(),
                "10.0.1.1/24".parse().unwrap(),
            ],
            v6: vec!["fd00::1/64".parse().unwrap()],
            link_local: Mac([0, 0, 0, 0, 0, 1]).link_local(),
            enabled: true,
            peer: None,
            route_table: None,
            mtu_bytes: None,
            redirect: None,
            bridged: false,
            resides: false,
        }
    }

    #[test]
    fn the_source_is_in_the_network_of_the_destination() {
        assert_eq!(
            port().source_v4(Ipv4Addr::new(10, 0, 1, 9)),
            Some(Ipv4Addr::new(10, 0, 1, 1))
        );
        assert_eq!(port().source_v4(Ipv4Addr::new(10, 0, 2, 9)), None);
        assert_eq!(
            port().source_v6("fd00::77".parse().unwrap()),
            Some("fd00::1".parse().unwrap())
        );
        assert_eq!(
            port().source_v6("fe80::77".parse().unwrap()),
            Some(port().link_local)
        );
    }
}
