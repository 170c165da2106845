//! `Port_Binding` of router ports, and of the `chassisredirect` ports of those that are bound to a gateway.
//!
//! Guarantees: every port of a router that has a datapath has a binding; one with gateway chassis or a HA chassis group
//! has also `cr-<name>`, by which packets reach the chassis that is active.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_schemas::nb;

use super::port_key::{PortKey, port_key, redirect_key};
use super::router::advert::{self, Adverts};
use super::router::central::{Central, is_central};
use super::router::delegation;
use super::router::port::Ports;
use super::switch_port::{external_ids, gateway_chassis_of};
use crate::output::{Output, Port};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// The name of the `chassisredirect` port of a router port.
pub fn redirect_name(port: &str) -> Str {
    format!("cr-{port}").into()
}

/// The port is bound to the chassis of a gateway although its router is distributed.
pub fn is_distributed_gateway(cx: &Cx<'_>, lrp: Uuid) -> bool {
    cx.lrp(lrp)
        .is_some_and(|row| !row.gateway_chassis().is_empty() || row.ha_chassis_group().is_some())
        && gateway_chassis_of(cx, lrp).is_none()
}

/// Emits the rows.
pub struct RouterPort;

impl Feature for RouterPort {
    const NAME: &'static str = "router_port_binding";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] =
        &[PortKey::NAME, Ports::NAME, Adverts::NAME, Central::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(lrp) = cx.lrp(uuid) else { return };
        let Some(datapath) = cx.router_of(uuid) else {
            return;
        };
        let redirected = is_distributed_gateway(cx, uuid);
        if redirected {
            cx.demand(PortKey::ID, redirect_key(uuid));
        }
        let Some(tunnel_key) = port_key(cx, key) else {
            return;
        };
        let name = lrp.name();
        let mac: Str = std::iter::once(&**lrp.mac())
            .chain(lrp.networks().iter().map(|n| &**n))
            .collect::<Vec<_>>()
            .join(" ")
            .into();
        let chassis = gateway_chassis_of(cx, uuid);
        let mut options: Vec<(Str, Str)> = Vec::new();
        options.extend(peer(cx, name, lrp.peer().as_ref()).map(|peer| ("peer".into(), peer)));
        options.extend(redirected.then(|| ("chassis-redirect-port".into(), redirect_name(name))));
        options.extend(
            chassis
                .clone()
                .map(|chassis| ("l3gateway-chassis".into(), chassis)),
        );
        options.extend(advert::binding_options(cx, uuid));
        options.extend(delegation::binding_options(cx, uuid));
        let port = Port {
            logical_port: name.clone(),
            type_: if chassis.is_some() {
                "l3gateway"
            } else {
                "patch"
            }
            .into(),
            datapath,
            tunnel_key: i64::from(tunnel_key),
            options: Map::from_iter(options),
            mac: Set::from_iter([mac]),
            external_ids: external_ids(lrp.external_ids()),
            ..Port::default()
        };
        if redirected && let Some(tunnel_key) = port_key(cx, redirect_key(uuid)) {
            let mut options: Vec<(Str, Str)> = vec![("distributed-port".into(), name.clone())];
            let kind = lrp.options().get("redirect-type");
            options.extend(kind.map(|kind| ("redirect-type".into(), kind.clone())));
            options.extend(is_central(cx, uuid).then(|| ("always-redirect".into(), "true".into())));
            cx.emit(Output::Port(Arc::new(Port {
                logical_port: redirect_name(name),
                type_: "chassisredirect".into(),
                tunnel_key: i64::from(tunnel_key),
                options: Map::from_iter(options),
                ha_group: ha_group(cx, uuid),
                ..port.clone()
            })));
        }
        cx.emit(Output::Port(Arc::new(port)));
    }
}

/// What is at the other end: a router port, or the switch port that leads here.
fn peer(cx: &Cx<'_>, name: &str, configured: Option<&Str>) -> Option<Str> {
    if let Some(peer) = configured.filter(|peer| !peer.is_empty()) {
        return cx.lrp_named(peer).map(|_| peer.clone());
    }
    let first = cx.switch_ports_towards(name).first().copied()?;
    Some(cx.lsp(first)?.name().clone())
}

/// The HA chassis group of a router port: the one it names, or its own made of its gateway chassis.
pub fn ha_group(cx: &Cx<'_>, lrp: Uuid) -> Option<Str> {
    let row = cx.lrp(lrp)?;
    match row.ha_chassis_group() {
        Some(group) => Some(cx.ha_group(*group)?.name().clone()),
        None => (!row.gateway_chassis().is_empty()).then(|| row.name().clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_ovsdb::model::Uuid;

    use super::*;
    use crate::testing::{Bed, map, set};

    /// The options of `cr-r-out`, as text, compared with a compile from scratch.
    fn redirect(bed: &mut Bed) -> String {
        let wanted = bed.wanted();
        let find = |output: &Output| match output {
            Output::Port(port) if &*port.logical_port == "cr-r-out" => Some(port.clone()),
            _ => None,
        };
        let found: Option<Arc<Port>> = wanted.iter().find_map(find);
        let options = found.map(|port| port.options.clone()).unwrap_or_default();
        let text = options.iter().map(|(k, v)| format!("{k}={v}"));
        text.collect::<Vec<_>>().join(" ")
    }

    /// A switch with `vm`, one behind the gateway port `r-out`, and another gateway port `r-more`.
    fn bed() -> (Bed, Uuid) {
        let mut bed = Bed::new();
        let [inner, outer, more] = ["in", "out", "more"].map(|name| bed.switch(name));
        bed.port(inner, "vm", |port| {
            port.addresses = set(["0a:00:00:00:01:01 10.0.0.11"]);
        });
        bed.router_on(inner, "r", "0a:00:00:00:ff:01", &["10.0.0.1/24"]);
        bed.router_port_on(outer, "r", "0a:00:00:00:ff:02", &["172.16.0.1/24"]);
        bed.router_port_on(more, "r", "0a:00:00:00:ff:03", &["172.17.0.1/24"]);
        bed.gateway_chassis("r-out", &["hv1"]);
        bed.gateway_chassis("r-more", &["hv2"]);
        (bed, outer)
    }

    const CENTRAL: &str = "always-redirect=true distributed-port=r-out";
    const NOT: &str = "distributed-port=r-out";

    #[test]
    fn all_is_redirected_unless_packets_go_other_ways() {
        let (mut bed, outer) = bed();
        assert_eq!(redirect(&mut bed), CENTRAL);
        bed.gateway_chassis("r-out", &["hv1", "hv2"]);
        assert_eq!(redirect(&mut bed), CENTRAL);
        for (options, wanted) in [
            (
                map([("redirect-type", "bridged")]),
                "distributed-port=r-out redirect-type=bridged",
            ),
            (
                map([("redirect-type", "overlay")]),
                &*format!("{CENTRAL} redirect-type=overlay"),
            ),
            (map([("always-redirect", "false")]), CENTRAL),
        ] {
            bed.edit_router_port("r-out", |port| port.options = options);
            assert_eq!(redirect(&mut bed), wanted);
        }
        for (relays, wanted) in [("true", NOT), ("false", CENTRAL)] {
            bed.edit_router("r", |router| {
                router.options = map([("mcast_relay", relays)])
            });
            assert_eq!(redirect(&mut bed), wanted, "mcast_relay={relays}");
        }
        let gateway = bed.port(outer, "hw", |port| port.type_ = "vtep".into());
        assert_eq!(redirect(&mut bed), NOT, "with a hardware gateway");
        bed.remove_port(gateway);
        assert_eq!(redirect(&mut bed), CENTRAL);
        bed.edit_router_port("r-out", |port| port.gateway_chassis = Set::default());
        assert_eq!(redirect(&mut bed), "", "no gateway port");
    }

    #[test]
    fn translations_count_where_they_are_made() {
        let (mut bed, _) = bed();
        bed.nat("r", "snat 172.16.0.1 10.0.0.0/24", |_| ());
        bed.nat("r", "dnat_and_snat 172.16.0.5 10.0.0.11", |_| ());
        assert_eq!(redirect(&mut bed), CENTRAL);
        let own = |nat: &mut nb::Nat| {
            nat.external_mac = Some("0a:00:00:00:01:01".into());
            nat.logical_port = Some("vm".into());
        };
        bed.nat("r", "dnat_and_snat 172.17.0.6 10.0.0.11", own);
        assert_eq!(redirect(&mut bed), CENTRAL, "at the other port");
        let rule = bed.nat("r", "dnat_and_snat 172.16.0.6 10.0.0.11", own);
        assert_eq!(redirect(&mut bed), NOT);
        bed.edit_nat(rule, |nat| nat.external_mac = None);
        assert_eq!(redirect(&mut bed), CENTRAL);
    }

    #[test]
    fn distributed_load_balancers_have_gateways_everywhere() {
        let (mut bed, _) = bed();
        let lb = bed.insert(nb::LoadBalancer {
            name: "lb".into(),
            vips: map([("172.16.0.9:80", "10.0.0.11:80")]),
            ip_port_mappings: map([("10.0.0.11", "vm:10.0.0.1")]),
            ..nb::LoadBalancer::default()
        });
        bed.edit_router("r", |router| {
            router.load_balancer = [lb].into_iter().collect()
        });
        assert_eq!(redirect(&mut bed), CENTRAL);
        let row = nb::LoadBalancer {
            options: map([("distributed", "true")]),
            ..bed
                .compiler()
                .inputs()
                .nb
                .load_balancer
                .get(lb)
                .cloned()
                .unwrap()
        };
        bed.put(lb, row);
        assert_eq!(redirect(&mut bed), NOT);
    }
}
