//! From next hop to Ethernet address, as far as it is known without asking.
//!
//! Guarantees: an address that the northbound gives to a switch port is never asked for by a router port on that switch; the same
//! holds for the addresses of routers linked directly or over a switch, unless the asking router has `dynamic_neigh_routers`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::port::{self, RouterPort};
use crate::address::Mac;
use crate::features::port_address::{PortAddresses, SwitchPortAddresses};
use crate::index::{ByName, PortType};
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Writes what `out` knows: that `mac` is behind these addresses.
pub(super) fn known(
    cx: &Cx<'_>,
    out: &RouterPort,
    mac: Mac,
    v4: &[Ipv4Addr],
    v6: &[Ipv6Addr],
    hint: Uuid,
) {
    let flow = |next_hop: Expr| {
        let match_ = Expr::all([field::OUTPORT.eq(&out.name), next_hop]);
        let actions = vec![Action::set(field::ETH_DST, mac), Action::NEXT];
        cx.flow(
            out.router,
            Stage::LrInArpResolve,
            100,
            match_,
            actions,
            Some(hint),
        );
    };
    if !v4.is_empty() {
        flow(pipeline::NEXT_HOP_IP4.field().one_of(v4.iter().copied()));
    }
    if !v6.is_empty() {
        flow(pipeline::NEXT_HOP_IP6.field().one_of(v6.iter().copied()));
    }
}

/// The router ports that a switch leads to.
pub(super) fn routers_on(cx: &Cx<'_>, switch: Uuid) -> impl Iterator<Item = Arc<RouterPort>> {
    cx.ports_of(switch, PortType::Router)
        .iter()
        .filter_map(|port| {
            let name = cx.lsp(*port)?.options().get("router-port").cloned()?;
            port::port(cx, cx.lrp_named(&name)?)
        })
}

/// The address of a virtual port and where it is: with the parent that a chassis has bound it to. While it is nowhere the
/// Ethernet address is zero, so that the router asks and does not rely on what it once learned.
fn virtual_address(cx: &Cx<'_>, port: Uuid) -> Option<(IpAddr, Mac)> {
    let row = cx.lsp(port)?;
    if PortType::parse(row.type_()) != PortType::Virtual {
        return None;
    }
    let ip = row.options().get("virtual-ip")?.parse().ok()?;
    let bound = || {
        let binding = cx.binding(cx.by_name(ByName::Binding, row.name()).first().copied()?)?;
        let parent = cx.lsp_named(binding.virtual_parent().as_deref()?)?;
        let addresses = cx.value::<PortAddresses>(SwitchPortAddresses::ID, Key::Row(parent))?;
        addresses.list.first().map(|first| first.mac)
    };
    Some((ip, bound().unwrap_or_default()))
}

/// Per switch port with addresses of its own.
pub struct SwitchPorts;

impl Feature for SwitchPorts {
    const NAME: &'static str = "router_resolve_switch_ports";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME, SwitchPortAddresses::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(switch) = cx.switch_of(uuid) else {
            return;
        };
        let Some(addresses) = cx.value::<PortAddresses>(SwitchPortAddresses::ID, key) else {
            return;
        };
        // A disabled port takes nothing: the router asks in vain rather than sends in vain.
        if addresses.of_router || cx.lsp(uuid).is_none_or(|lsp| *lsp.enabled() == Some(false)) {
            return;
        }
        if let Some((ip, mac)) = virtual_address(cx, uuid) {
            for out in routers_on(cx, switch) {
                match ip {
                    IpAddr::V4(ip) if out.source_v4(ip).is_some() => {
                        known(cx, &out, mac, &[ip], &[], uuid)
                    }
                    IpAddr::V6(ip) if out.source_v6(ip).is_some() => {
                        known(cx, &out, mac, &[], &[ip], uuid)
                    }
                    _ => {}
                }
            }
            return;
        }
        if addresses.list.is_empty() {
            return;
        }
        for out in routers_on(cx, switch) {
            for set in &addresses.list {
                // One flow per address: that is how the next one costs no more than itself.
                for ip in set.ip4s().filter(|ip| out.source_v4(*ip).is_some()) {
                    known(cx, &out, set.mac, &[ip], &[], uuid);
                }
                for ip in set.ip6s().filter(|ip| out.source_v6(*ip).is_some()) {
                    known(cx, &out, set.mac, &[], &[ip], uuid);
                }
            }
        }
    }
}

/// Per router port: what its neighbours know of it.
pub struct RouterPorts;

impl Feature for RouterPorts {
    const NAME: &'static str = "router_resolve_router_ports";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(me) = port::port(cx, key.row()) else {
            return;
        };
        let v4: Vec<Ipv4Addr> = me.v4.iter().map(|net| net.addr()).collect();
        let v6: Vec<Ipv6Addr> = me.addresses_v6().collect();
        if let Some(peer) = me
            .peer
            .as_deref()
            .and_then(|peer| cx.lrp_named(peer))
            .and_then(|peer| port::port(cx, peer))
        {
            known(cx, &peer, me.mac, &v4, &v6, me.uuid);
            return;
        }
        for link in cx.switch_ports_towards(&me.name) {
            let Some(switch) = cx.switch_of(*link) else {
                continue;
            };
            for out in routers_on(cx, switch).filter(|out| out.router != me.router) {
                if port::router(cx, out.router).is_some_and(|router| !router.asks_neighbor_routers)
                {
                    known(cx, &out, me.mac, &v4, &v6, me.uuid);
                }
            }
        }
    }
}
