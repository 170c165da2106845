//! Addresses that a switch answers for on behalf of a router although the router does not have them
//! (`options:arp_proxy` of a port of type `router`).
//!
//! Guarantees: questions for a listed address or network are answered with the Ethernet address that the list starts with,
//! or else the router port's. An element that does not parse is left out and told.

use ipnet::{Ipv4Net, Ipv6Net};
use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::defaults::{Switches, vlan_passthru};
use super::{SwitchPort, arp_answer, return_to_sender};
use crate::address::{Mac, Prefixed, parse_prefixed};
use crate::features::port_address::router_port;
use crate::features::router::port::Ports;
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Below the answers for addresses that somebody has: a listed network may hold some.
const PRIORITY: u16 = 30;

/// Per switch port of type `router`.
pub struct Proxy;

impl Feature for Proxy {
    const NAME: &'static str = "switch_arp_proxy";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::ArpProxy)];
    const READS: &'static [&'static str] = &[Switches::NAME, Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if port.kind != PortType::Router {
            return;
        }
        let Some(text) = cx
            .lsp(port.uuid)
            .and_then(|row| row.options().get("arp_proxy").cloned())
        else {
            return;
        };
        let Some(router_port) = router_port(cx, port.uuid) else {
            return;
        };
        if vlan_passthru(cx, port.switch) {
            return;
        }
        let (mac, v4, v6) = parse(cx, &port, &text);
        let mac = mac.unwrap_or(router_port.mac);
        if !v4.is_empty() {
            let asked = Expr::all([field::ARP_OP.eq(1), field::ARP_TPA.one_of(v4)]);
            port.flow(cx, Stage::LsInArpRsp, PRIORITY, asked, arp_answer(mac));
        }
        if !v6.is_empty() {
            let asked = Expr::all([pred::ND_NS, field::ND_TARGET.one_of(v6)]);
            port.flow(cx, Stage::LsInArpRsp, PRIORITY, asked, nd_proxy_answer(mac));
        }
    }
}

/// Answers with the address that was asked for.
fn nd_proxy_answer(mac: Mac) -> Vec<Action> {
    let mut inner = vec![
        Action::set(field::ETH_SRC, mac),
        Action::Move(field::IP6_SRC, field::ND_TARGET),
        Action::set(field::ND_TLL, mac),
    ];
    inner.extend(return_to_sender());
    vec![Action::nested(NestedKind::NdNaRouter, inner)]
}

/// `[MAC] ADDRESS[/LENGTH]...`
fn parse(cx: &Cx<'_>, port: &SwitchPort, text: &str) -> (Option<Mac>, Vec<Ipv4Net>, Vec<Ipv6Net>) {
    let (mut mac, mut v4, mut v6) = (None, Vec::new(), Vec::new());
    for (position, word) in text.split_ascii_whitespace().enumerate() {
        match (parse_prefixed(word), word.parse::<Mac>()) {
            (Some(Prefixed::V4(net)), _) => v4.push(net.trunc()),
            (Some(Prefixed::V6(net)), _) => v6.push(net.trunc()),
            (None, Ok(first)) if position == 0 => mac = Some(first),
            _ => {
                let message =
                    format!("\"{word}\" is neither an IP address nor a network: left out");
                cx.diagnose::<nb::LogicalSwitchPort>(
                    &port.name,
                    port.uuid,
                    "options:arp_proxy",
                    message,
                );
            }
        }
    }
    (mac, v4, v6)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map, set};

    #[test]
    fn addresses_networks_and_an_address_of_its_own() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let link = bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let proxy = |bed: &mut Bed, list: &str| {
            bed.edit_port(link, |port| {
                port.addresses = set([]);
                port.options = map([("router-port", "r-sw"), ("arp_proxy", list)]);
            });
            bed.flows_of_ports("ls_in_arp_rsp")
        };
        let plain = proxy(&mut bed, "169.254.1.1 169.254.1.2 x");
        assert!(
            plain.contains("arp.tpa == {169.254.1.1, 169.254.1.2}"),
            "{plain}"
        );
        assert!(plain.contains("eth.src = 0a:00:00:00:00:01"), "{plain}");
        assert!(bed.diagnostics().contains("\"x\" is neither"));
        let own = proxy(&mut bed, "0a:00:00:00:00:99 10.9.0.0/16 fd09::/64");
        insta::assert_snapshot!(own);
    }
}
