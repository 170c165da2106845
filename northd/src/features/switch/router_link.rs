//! Questions for and by the routers on a switch.
//!
//! Guarantees: an ARP request or solicitation for an address of a router goes to that router and to the hosts, not to the
//! other routers; one that a router sends goes to the hosts only. With many routers on one switch each would otherwise look
//! at the questions of all others. A switch without hosts, where routers meet, floods what routers ask each other.

use weft_lang::{Action, Expr, field, pred};

use super::{SwitchPort, flood};
use crate::features::multicast;
use crate::features::port_address::router_port;
use crate::features::router::port::Ports;
use crate::output::Mcast;
use crate::pipeline::{Stage, priority};
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port of type `router`.
pub struct RouterLink;

impl Feature for RouterLink {
    const NAME: &'static str = "switch_router_link";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Router)];
    const READS: &'static [&'static str] = &[Ports::NAME, multicast::Marks::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        let Some(router) = router_port(cx, port.uuid).filter(|router| router.enabled) else {
            return;
        };
        let has_hosts = multicast::has_hosts(cx, port.switch);
        let to_owner = if has_hosts {
            let hosts = flood(Mcast::FloodL2);
            [Action::cloned(port.deliver())]
                .into_iter()
                .chain(hosts)
                .collect()
        } else {
            port.deliver()
        };
        // Flag 1: from a VXLAN tunnel, where the sender's switch has flooded it already.
        let first_hand = field::FLAGS.bit(1).eq(0);
        let asked_v4 = router
            .v4
            .iter()
            .map(|net| [field::ARP_OP.eq(1), field::ARP_TPA.eq(net.addr())]);
        let asked_v6 = router
            .addresses_v6()
            .map(|ip| [pred::ND_NS, field::ND_TARGET.eq(ip)]);
        for asked in asked_v4.chain(asked_v6) {
            let asked = Expr::all([first_hand.clone()].into_iter().chain(asked));
            port.flow(
                cx,
                Stage::LsInL2Lkup,
                priority::L2_ROUTER_ADDRESS,
                asked,
                to_owner.clone(),
            );
        }
        if !has_hosts {
            return;
        }
        // 3: a request to translate an Ethernet into an IP address (RFC 903).
        let questions = Expr::any([field::ARP_OP.eq(1), field::RARP_OP.eq(3), pred::ND_NS]);
        let own = Expr::all([field::ETH_SRC.eq(router.mac), questions]);
        port.flow(
            cx,
            Stage::LsInL2Lkup,
            priority::L2_SELF_ORIGINATED,
            own,
            flood(Mcast::FloodL2),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Bed;

    #[test]
    fn questions_reach_their_router_only() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(
            switch,
            "r",
            "0a:00:00:00:00:01",
            &["10.0.0.1/24", "fd00::1/64"],
        );
        assert_eq!(bed.flows_of_ports("_MC_flood_l2"), "", "no hosts");
        let direct = bed.flows_of_ports("ls_in_l2_lkup 80");
        assert_eq!(direct.lines().count(), 3, "to the router alone: {direct}");
        let host = bed.port(switch, "vm", |_| ());
        insta::assert_snapshot!(bed.flows_of_ports("_MC_flood_l2"));
        bed.remove_port(host);
        assert_eq!(bed.flows_of_ports("_MC_flood_l2"), "", "no hosts any more");
        bed.port(switch, "vm", |_| ());
        bed.edit_router_port("r-sw", |port| port.enabled = Some(false));
        assert_eq!(bed.flows_of_ports("_MC_flood_l2"), "");
    }
}
