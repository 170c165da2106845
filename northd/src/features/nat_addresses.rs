//! `Port_Binding.nat_addresses`: what a gateway announces by gratuitous ARP on the switch its router port leads to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weft_ovsdb::model::{Map, Set, Str, Uuid};

use super::router_port::{is_distributed_gateway, redirect_name};
use super::switch_port::gateway_chassis_of;
use crate::address::Addresses;
use crate::features::lb::vip::address_of;
use crate::program::{Cx, Feature, Key, Per};

/// The announcements for a switch port that leads to `lrp`; `option` is its `options:nat-addresses`: `router` for those
/// of the router's translations and load balancers, or a literal `MAC IP...`. The reader lists [`Balanced`] among its
/// `READS`.
pub fn nat_addresses(cx: &Cx<'_>, options: &Map<Str, Str>, lrp: Uuid) -> Set<Str> {
    let option = options.get("nat-addresses").map(|v| &**v);
    let silent_of_balancers = options
        .get("exclude-lb-vips-from-garp")
        .is_some_and(|v| &**v == "true");
    let gateway = gateway_chassis_of(cx, lrp).is_some();
    let distributed = is_distributed_gateway(cx, lrp);
    let Some(row) = cx.lrp(lrp).filter(|_| gateway || distributed) else {
        return Set::default();
    };
    let silent = cx.router_of(lrp).and_then(|router| cx.lr(router));
    if silent.is_some_and(|row| {
        row.options()
            .get("disable_garp_rarp")
            .is_some_and(|v| &**v == "true")
    }) {
        return Set::default();
    }
    let Some(own) = Addresses::of_router_port(row.mac(), row.networks().iter().map(|n| &**n)).0
    else {
        return Set::default();
    };
    let resident = |port: &str| format!(" is_chassis_resident(\"{port}\")");
    let redirect = if distributed {
        resident(&redirect_name(row.name()))
    } else {
        String::new()
    };
    let mut all: Vec<Str> = Vec::new();
    let own_v4: String = own.ip4s().map(|ip| format!(" {ip}")).collect();
    let announces_router = option == Some("router");
    if !own_v4.is_empty() && (distributed || announces_router) {
        all.push(format!("{}{own_v4}{redirect}", own.mac).into());
    }
    match option {
        Some("router") => {
            let router = cx.router_of(lrp).and_then(|router| cx.lr(router));
            let mut central: Vec<Str> = Vec::new();
            for nat in router
                .iter()
                .flat_map(|r| r.nat().iter())
                .filter_map(|&nat| cx.nat(nat))
            {
                match (nat.external_mac(), nat.logical_port()) {
                    (Some(mac), Some(port)) if distributed => {
                        all.push(format!("{mac} {}{}", nat.external_ip(), resident(port)).into());
                    }
                    _ => central.push(nat.external_ip().clone()),
                }
            }
            central.sort_unstable();
            central.dedup();
            if !silent_of_balancers {
                central.extend(balanced(cx, lrp));
            }
            if !central.is_empty() {
                all.push(format!("{} {}{redirect}", own.mac, central.join(" ")).into());
            }
        }
        Some(literal)
            if literal
                .split(' ')
                .next()
                .is_some_and(|mac| mac.parse::<crate::address::Mac>().is_ok()) =>
        {
            all.push(literal.into());
        }
        _ => {}
    }
    Set::from_iter(all)
}

/// The virtual addresses of the load balancers on the router of a port.
fn balanced(cx: &Cx<'_>, lrp: Uuid) -> Vec<Str> {
    let Some(router) = cx.router_of(lrp) else {
        return Vec::new();
    };
    cx.demand(Balanced::ID, Key::Row(router));
    let addresses = cx.value::<Listed>(Balanced::ID, Key::Row(router));
    let all = addresses.iter().flat_map(|all| &all.0);
    all.map(|ip| ip.to_string().into()).collect()
}

/// Addresses, each once, IPv4 before IPv6.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Listed(BTreeSet<IpAddr>);

impl Listed {
    fn take(&mut self, cx: &Cx<'_>, balancers: &[Uuid]) {
        for lb in balancers.iter().filter_map(|lb| cx.load_balancer(*lb)) {
            let addresses = lb.vips().iter().filter_map(|(vip, _)| address_of(vip));
            self.0.extend(addresses);
        }
    }
}

/// Publishes the virtual addresses of a group of load balancers, for those who ask.
pub struct GroupAddresses;

impl Feature for GroupAddresses {
    const NAME: &'static str = "announced_group";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, key: Key) {
        let mut all = Listed::default();
        if let Some(group) = cx.load_balancer_group(key.row()) {
            all.take(cx, group.load_balancer());
        }
        cx.publish(all);
    }
}

/// Publishes those of all load balancers of a router, for those who ask.
pub struct Balanced;

impl Feature for Balanced {
    const NAME: &'static str = "announced_balancers";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[GroupAddresses::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let mut all = Listed::default();
        if let Some(router) = cx.lr(key.row()) {
            all.take(cx, router.load_balancer());
            for group in router.load_balancer_group().iter() {
                cx.demand(GroupAddresses::ID, Key::Row(*group));
                if let Some(listed) = cx.value::<Listed>(GroupAddresses::ID, Key::Row(*group)) {
                    all.0.extend(&listed.0);
                }
            }
        }
        cx.publish(all);
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::output::Output;
    use crate::testing::{Bed, map};

    #[test]
    fn load_balancers_are_announced_unless_that_is_not_wanted() {
        let mut bed = Bed::new();
        let outer = bed.switch("out");
        let link = bed.router_on(outer, "r", "0a:00:00:00:ff:02", &["172.16.0.1/24"]);
        bed.gateway_chassis("r-out", &["ch"]);
        let mut balancer = |vip: &str| {
            bed.insert(nb::LoadBalancer {
                vips: map([(vip, "10.0.0.1:80")]),
                ..Default::default()
            })
        };
        let (own, six, grouped) = (
            balancer("172.16.0.70:80"),
            balancer("[fd99::70]:80"),
            balancer("10.66.0.1"),
        );
        let group = bed.insert(nb::LoadBalancerGroup {
            name: "g".into(),
            load_balancer: [grouped].into_iter().collect(),
        });
        bed.edit_router("r", |row| {
            row.load_balancer = [own, six].into_iter().collect();
            row.load_balancer_group = [group].into_iter().collect();
        });
        let announced = |bed: &mut Bed| {
            let ports = bed.wanted().into_iter().filter_map(|output| match output {
                Output::Port(port) if &*port.logical_port == "out-r" => Some(port),
                _ => None,
            });
            let texts: Vec<String> = ports
                .flat_map(|port| {
                    port.nat_addresses
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                })
                .collect();
            texts.join(", ")
        };
        let own = r#"0a:00:00:00:ff:02 172.16.0.1 is_chassis_resident("cr-r-out")"#;
        let with = |more: [(&str, &str); 1]| {
            let all = [("router-port", "r-out"), ("nat-addresses", "router")];
            all.into_iter()
                .chain(more)
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        bed.edit_port(link, |row| row.options = with([("x", "y")]));
        assert_eq!(
            announced(&mut bed),
            format!(
                r#"0a:00:00:00:ff:02 10.66.0.1 172.16.0.70 fd99::70 is_chassis_resident("cr-r-out"), {own}"#
            )
        );
        bed.edit_port(link, |row| {
            row.options = with([("exclude-lb-vips-from-garp", "true")]);
        });
        assert_eq!(announced(&mut bed), own);
    }
}
