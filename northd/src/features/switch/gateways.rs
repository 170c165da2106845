//! Switches that only distributed gateway ports and the physical network have ports on (`only_dgp_peer_ports`).
//!
//! Guarantees: `Datapath_Binding.external_ids:only_dgp_peer_ports` is true exactly if the switch has a `localnet` port, and every
//! other one leads to a gateway port at which packets come in on the port's own chassis, or where an inner port that has an
//! address there is. A controller that came to the switch from one of the routers then needs none of the others: a packet for
//! them leaves by the `localnet` port. Not so if
//!
//! * a router has distributed load balancers: they take packets on other chassis too;
//! * a router relays multicast: it makes the copies where the packet is.
//!
//! This is what hundreds of projects on one provider network look like: each host keeps the routers of its own machines.

use weft_ovsdb::model::Uuid;

use crate::features::lb::distributed;
use crate::features::port_address::router_port;
use crate::features::router::central::works_elsewhere;
use crate::features::router::port::{Ports, Routers};
use crate::index::PortType;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Of a switch with a router port that is not such a gateway port; that port demands it.
pub struct OtherRouters;

impl Feature for OtherRouters {
    const NAME: &'static str = "switch_other_routers";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, _: Key) {
        cx.publish(());
    }
}

/// Publishes `()` for a switch with a `localnet` port, which demands it, if only gateway ports are there.
pub struct OnlyGateways;

impl Feature for OnlyGateways {
    const NAME: &'static str = "switch_only_gateways";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[OtherRouters::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let switch = key.row();
        let any = |kind: PortType| !cx.ports_of(switch, kind).is_empty();
        let expected = |kind: &PortType| matches!(kind, PortType::Router | PortType::Localnet);
        let mut others = PortType::ALL.into_iter().filter(|kind| !expected(kind));
        if any(PortType::Router)
            && !others.any(any)
            && cx.value::<()>(OtherRouters::ID, key).is_none()
        {
            cx.publish(());
        }
    }
}

/// Per port of type `router` or `localnet`: what its switch demands.
pub struct Uplinks;

impl Feature for Uplinks {
    const NAME: &'static str = "switch_uplinks";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Uplink)];
    const READS: &'static [&'static str] =
        &[Ports::NAME, Routers::NAME, distributed::OfRouter::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(switch) = cx.switch_of(key.row()) else {
            return;
        };
        let kind = cx.lsp(key.row()).map(|row| PortType::parse(row.type_()));
        if kind == Some(PortType::Localnet) {
            cx.demand(OnlyGateways::ID, Key::Row(switch));
        } else if !is_gateway(cx, key) {
            cx.demand(OtherRouters::ID, Key::Row(switch));
        }
    }
}

/// Whether the port leads to a gateway port into which nothing goes elsewhere.
fn is_gateway(cx: &Cx<'_>, key: Key) -> bool {
    router_port(cx, key.row())
        .is_some_and(|port| port.redirect.is_some() && !works_elsewhere(cx, port.router))
}

/// Whether a controller need not look behind the switch. The reader lists [`OnlyGateways`] among its `READS`.
pub fn is_for_gateways(cx: &Cx<'_>, switch: Uuid) -> bool {
    cx.value::<()>(OnlyGateways::ID, Key::Row(switch)).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use weft_schemas::nb;

    use super::*;
    use crate::output::Output;
    use crate::testing::{Bed, map};

    /// Two projects' routers on the provider network `public`.
    fn bed() -> (Bed, Uuid) {
        let mut bed = Bed::new();
        let public = bed.switch("public");
        bed.port(public, "provnet", |port| port.type_ = "localnet".into());
        for n in 1..=2 {
            let (net, router) = (format!("net{n}"), format!("r{n}"));
            let inner = bed.switch(&net);
            let [mac, outer_mac] = ["01", "02"].map(|last| format!("0a:00:00:0{n}:ff:{last}"));
            bed.router_on(inner, &router, &mac, &[&format!("10.0.{n}.1/24")]);
            bed.router_port_on(public, &router, &outer_mac, &[&format!("172.16.0.{n}/24")]);
            bed.gateway_chassis(&format!("{router}-public"), &["gw"]);
        }
        (bed, public)
    }

    /// The switches that say it, after a comparison with a compilation from scratch.
    fn marked(bed: &mut Bed) -> BTreeSet<String> {
        let wanted = bed.wanted();
        let names = wanted.iter().filter_map(|output| match output {
            Output::Datapath(row) => {
                row.external_ids.get("only_dgp_peer_ports")?;
                row.external_ids.get("name").map(|name| name.to_string())
            }
            _ => None,
        });
        names.collect()
    }

    fn is_marked(bed: &mut Bed) -> bool {
        let marked = marked(bed);
        assert!(marked.iter().all(|name| name == "public"), "{marked:?}");
        !marked.is_empty()
    }

    #[test]
    fn nothing_but_gateway_ports_and_the_network_outside() {
        let (mut bed, public) = bed();
        assert!(is_marked(&mut bed));
        let vm = bed.port(public, "vm", |_| ());
        assert!(!is_marked(&mut bed), "a machine");
        bed.remove_port(vm);
        assert!(is_marked(&mut bed));
        bed.router_on(public, "r3", "0a:00:00:03:ff:02", &["172.16.0.3/24"]);
        assert!(!is_marked(&mut bed), "a router that is everywhere");
        bed.gateway_chassis("r3-public", &["gw"]);
        assert!(is_marked(&mut bed));
        let dangling = bed.port(public, "dangling", |port| {
            port.type_ = "router".into();
            port.options = map([("router-port", "nowhere")]);
        });
        assert!(!is_marked(&mut bed), "a port that leads nowhere");
        bed.remove_port(dangling);
        bed.edit_switch(public, |row| {
            row.ports = row.ports.iter().copied().skip(1).collect()
        });
        assert!(!is_marked(&mut bed), "no way outside");
    }

    #[test]
    fn routers_that_take_packets_elsewhere_are_looked_at() {
        let (mut bed, _) = bed();
        for (relays, wanted) in [("true", false), ("false", true)] {
            bed.edit_router("r2", |row| row.options = map([("mcast_relay", relays)]));
            assert_eq!(is_marked(&mut bed), wanted, "mcast_relay={relays}");
        }
        let lb = bed.insert(nb::LoadBalancer {
            name: "lb".into(),
            vips: map([("172.16.0.9:80", "10.0.2.11:80")]),
            ip_port_mappings: map([("10.0.2.11", "vm:10.0.2.1")]),
            options: map([("distributed", "true")]),
            ..nb::LoadBalancer::default()
        });
        bed.edit_router("r2", |row| row.load_balancer = [lb].into_iter().collect());
        assert!(!is_marked(&mut bed), "distributed load balancers");
    }
}
