//! External ports: hosts outside, reached over a `localnet` port, that one chassis speaks for.
//!
//! Guarantees: what such a host sends to a router of the switch is taken up by the chassis that has claimed the external
//! port and by no other, although every chassis with the `localnet` port sees it.

use weft_lang::{Action, Expr, field};

use super::{SwitchPort, arp_request_for, solicitation_for};
use crate::address::Addresses;
use crate::features::port_address::{SwitchPortAddresses, addresses};
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port of type `external`.
pub struct External;

impl Feature for External {
    const NAME: &'static str = "switch_external";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::External)];
    const READS: &'static [&'static str] = &[SwitchPortAddresses::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if port.kind != PortType::External {
            return;
        }
        let Some(own) = addresses(cx, port.uuid) else {
            return;
        };
        let localnets = cx.ports_of(port.switch, PortType::Localnet);
        for localnet in localnets.iter().filter_map(|localnet| cx.lsp(*localnet)) {
            for host in own.all() {
                let elsewhere = Expr::all([
                    field::INPORT.eq(localnet.name()),
                    field::ETH_SRC.eq(host.mac),
                    !Expr::is_chassis_resident(port.name.clone()),
                ]);
                for router in cx.ports_of(port.switch, PortType::Router) {
                    let Some(router) = addresses(cx, *router) else {
                        continue;
                    };
                    for to in router.all().flat_map(towards) {
                        let ignored = Expr::all([elsewhere.clone(), to]);
                        port.flow(
                            cx,
                            Stage::LsInExternalPort,
                            100,
                            ignored,
                            vec![Action::Drop],
                        );
                    }
                }
            }
        }
    }
}

/// Packets to a router: to its Ethernet address, and questions for its addresses.
fn towards(router: &Addresses) -> Vec<Expr> {
    let mut to = vec![field::ETH_DST.eq(router.mac)];
    to.extend(router.ip4s().map(arp_request_for));
    to.extend(router.ip6s().map(solicitation_for));
    to
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, set};

    #[test]
    fn only_the_owner_takes_up_what_the_host_sends() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "ext", |port| {
            port.type_ = "external".into();
            port.addresses = set(["0a:00:00:00:00:07 10.0.0.7"]);
        });
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        assert_eq!(
            bed.flows_of_ports("ls_in_external_port"),
            "",
            "there is no way in"
        );
        bed.port(switch, "net", |port| port.type_ = "localnet".into());
        insta::assert_snapshot!(bed.flows_of_ports("ls_in_external_port"));
    }
}
