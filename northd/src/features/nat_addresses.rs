//! `Port_Binding.nat_addresses`: what a gateway announces by gratuitous ARP on the switch its router port leads to.

use weft_ovsdb::model::{Set, Str, Uuid};

use super::router_port::{is_distributed_gateway, redirect_name};
use super::switch_port::gateway_chassis_of;
use crate::address::Addresses;
use crate::program::Cx;

/// The announcements for a switch port that leads to `lrp`; `option` is its `options:nat-addresses`: `router` for those
/// of the router's translations, or a literal `MAC IP...`.
pub fn nat_addresses(cx: &Cx<'_>, option: Option<&str>, lrp: Uuid) -> Set<Str> {
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
