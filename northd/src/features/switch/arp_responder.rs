//! Answers to ARP requests and neighbour solicitations for addresses that the northbound gives to ports.
//!
//! Guarantees: a question for a known address is answered where it is asked and floods nothing. A port's question for its
//! own address gets no answer (that is how hosts detect duplicates). Ports that could have any address (`unknown`), whose
//! addresses move (`virtual`) or which stand for the world outside (`external`, questions from `localnet`) are left to
//! answer for themselves, and so is everybody on a switch that lets VLAN tags pass.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr};

use super::defaults::{Switches, vlan_passthru};
use super::{PER_PORT, SwitchPort, arp_answer, arp_request_for, nd_answer, solicitation_for};
use crate::address::Mac;
use crate::features::port_address::{SwitchPortAddresses, addresses};
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Whether ports that are down are answered for (`NB_Global.options:ignore_lsp_down`).
#[derive(Clone, Copy, PartialEq, Eq)]
struct AnswerForDown(bool);

/// Publishes [`AnswerForDown`], so that other options of `NB_Global` wake no port.
pub struct Policy;

impl Feature for Policy {
    const NAME: &'static str = "arp_policy";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let ignore = cx
            .global_option("ignore_lsp_down")
            .is_none_or(|value| &*value != "false");
        cx.publish(AnswerForDown(ignore));
    }
}

/// Per switch port.
pub struct Responder;

impl Feature for Responder {
    const NAME: &'static str = "switch_arp_responder";
    const PER: &'static [Per] = PER_PORT;
    const READS: &'static [&'static str] =
        &[SwitchPortAddresses::NAME, Switches::NAME, Policy::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if port.kind == PortType::Localnet {
            // Every chassis would answer a question from outside, and confuse the switches there.
            port.flow(
                cx,
                Stage::LsInArpRsp,
                100,
                port.is_inport(),
                vec![Action::NEXT],
            );
        }
        if !answers(cx, &port) {
            return;
        }
        let Some(known) = addresses(cx, port.uuid).filter(|known| !known.unknown) else {
            return;
        };
        for addresses in known.all() {
            for ip in addresses.ip4s() {
                answer_arp(cx, &port, addresses.mac, ip);
            }
            for ip in addresses.ip6s() {
                answer_nd(cx, &port, addresses.mac, ip);
            }
        }
    }
}

/// Whether the switch answers for the port at all.
fn answers(cx: &Cx<'_>, port: &SwitchPort) -> bool {
    if matches!(port.kind, PortType::Virtual | PortType::External) || vlan_passthru(cx, port.switch)
    {
        return false;
    }
    let even_if_down = matches!(port.kind, PortType::Router | PortType::Localport)
        || cx
            .value::<AnswerForDown>(Policy::ID, Key::Global)
            .is_none_or(|answer| answer.0);
    even_if_down || cx.lsp(port.uuid).is_some_and(|row| *row.up() == Some(true))
}

fn answer_arp(cx: &Cx<'_>, port: &SwitchPort, mac: Mac, ip: Ipv4Addr) {
    let own = Expr::all([arp_request_for(ip), port.is_inport()]);
    port.flow(cx, Stage::LsInArpRsp, 100, own, vec![Action::NEXT]);
    port.flow(
        cx,
        Stage::LsInArpRsp,
        50,
        arp_request_for(ip),
        arp_answer(mac),
    );
}

fn answer_nd(cx: &Cx<'_>, port: &SwitchPort, mac: Mac, ip: Ipv6Addr) {
    let own = Expr::all([solicitation_for(ip), port.is_inport()]);
    port.flow(cx, Stage::LsInArpRsp, 100, own, vec![Action::NEXT]);
    let kind = if port.kind == PortType::Router {
        NestedKind::NdNaRouter
    } else {
        NestedKind::NdNa
    };
    port.flow(
        cx,
        Stage::LsInArpRsp,
        50,
        solicitation_for(ip),
        nd_answer(kind, mac, ip),
    );
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map, set};

    #[test]
    fn who_is_answered_for() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "vif", |port| {
            port.addresses = set(["0a:00:00:00:00:01 10.0.0.1 fd00::1"])
        });
        bed.port(switch, "bare", |port| {
            port.addresses = set(["0a:00:00:00:00:02"])
        });
        bed.port(switch, "any", |port| {
            port.addresses = set(["0a:00:00:00:00:03 10.0.0.3", "unknown"])
        });
        for kind in ["virtual", "external", "localport"] {
            bed.port(switch, kind, |port| {
                port.type_ = kind.into();
                port.addresses = set(["0a:00:00:00:00:04 10.0.0.4"]);
            });
        }
        bed.port(switch, "net", |port| {
            port.type_ = "localnet".into();
            port.addresses = set(["unknown"]);
        });
        insta::assert_snapshot!(bed.flows_of_ports("ls_in_arp_rsp"));
    }

    #[test]
    fn ports_that_are_down_only_when_told_to_look() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let vif = bed.port(switch, "vif", |port| {
            port.addresses = set(["0a:00:00:00:00:01 10.0.0.1"])
        });
        let answered = |bed: &mut Bed| bed.flows_of_ports("10.0.0.1").lines().count();
        assert_eq!(answered(&mut bed), 2);
        bed.global(|global| global.options = map([("ignore_lsp_down", "false")]));
        assert_eq!(answered(&mut bed), 0);
        bed.edit_port(vif, |port| port.up = Some(true));
        assert_eq!(answered(&mut bed), 2);
    }

    #[test]
    fn a_router_answers_as_one() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let flows = bed.flows_of_ports("ls_in_arp_rsp");
        assert!(
            flows.contains("nd_na_router { eth.src = 0a:00:00:00:00:01;"),
            "{flows}"
        );
        assert!(flows.contains("fe80::800:ff:fe00:1"), "{flows}");
        bed.edit_switch(switch, |switch| {
            switch.other_config = map([("vlan-passthru", "true")])
        });
        assert_eq!(bed.flows_of_ports("ls_in_arp_rsp"), "");
    }
}
