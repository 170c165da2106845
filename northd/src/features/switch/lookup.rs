//! Which port a packet goes to: configured addresses, then learned ones, then ports that take unknown addresses.
//!
//! Guarantees: a packet to a configured unicast address reaches that port and no other; if the port is disabled it is
//! dropped. The address of a router port that is bound to a gateway chassis leads there from that chassis only. Nothing is
//! looked up for external ports: they are behind the `localnet` port.

use weft_lang::{Action, Expr, field};

use super::{PER_PORT, SwitchPort, flood};
use crate::address::Mac;
use crate::features::lb::distributed::OfRouter;
use crate::features::port_address::{SwitchPortAddresses, addresses, router_port};
use crate::features::router::gateway::{GatewayPorts, answers_at, takes_at};
use crate::features::router::port::Ports;
use crate::index::PortType;
use crate::output::Mcast;
use crate::pipeline::{Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// Per switch port.
pub struct Lookup;

impl Feature for Lookup {
    const NAME: &'static str = "switch_lookup";
    const PER: &'static [Per] = PER_PORT;
    const READS: &'static [&'static str] = &[
        SwitchPortAddresses::NAME,
        Ports::NAME,
        GatewayPorts::NAME,
        OfRouter::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if !port.enabled {
            // What was learned behind it before.
            port.flow(
                cx,
                Stage::LsInL2Unknown,
                50,
                port.is_outport(),
                vec![Action::Drop],
            );
        }
        let Some(addresses) = addresses(cx, port.uuid) else {
            return;
        };
        if addresses.unknown && port.enabled {
            // One flow however many such ports there are: hence no hint.
            let nobodys = field::OUTPORT.eq("none");
            cx.flow(
                port.switch,
                Stage::LsInL2Unknown,
                50,
                nobodys,
                flood(Mcast::Unknown),
                None,
            );
        }
        if port.kind == PortType::External {
            return;
        }
        for own in &addresses.list {
            to_port(cx, &port, own.mac, Expr::TRUE);
        }
        if let Some(router) = &addresses.from_router {
            to_port(cx, &port, router.mac, where_router_is(cx, &port));
        }
    }
}

fn to_port(cx: &Cx<'_>, port: &SwitchPort, mac: Mac, condition: Expr) {
    let match_ = Expr::all([field::ETH_DST.eq(mac), condition]);
    let actions = if port.enabled {
        port.deliver()
    } else {
        vec![Action::Drop]
    };
    port.flow(cx, Stage::LsInL2Lkup, priority::L2_UNICAST, match_, actions);
}

/// On which chassis the router port behind is.
fn where_router_is(cx: &Cx<'_>, port: &SwitchPort) -> Expr {
    let Some(behind) = router_port(cx, port.uuid) else {
        return Expr::TRUE;
    };
    match behind.redirect {
        Some(_) => takes_at(cx, &behind).here(),
        None => answers_at(cx, &behind).here(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, set};

    #[test]
    fn unicast_by_kind_of_port() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "vif", |port| {
            port.addresses = set(["0a:00:00:00:00:01 10.0.0.1", "0a:00:00:00:00:02"])
        });
        bed.port(switch, "off", |port| {
            port.addresses = set(["0a:00:00:00:00:03", "unknown"]);
            port.enabled = Some(false);
        });
        bed.port(switch, "ext", |port| {
            port.type_ = "external".into();
            port.addresses = set(["0a:00:00:00:00:04"]);
        });
        bed.port(switch, "bad", |port| {
            port.addresses = set(["0a:00:00:00:00"])
        });
        bed.router_on(switch, "r", "0a:00:00:00:00:05", &["10.0.0.1/24"]);
        insta::assert_snapshot!(bed.flows_of_ports("ls_in_l2_"));
        assert!(
            bed.diagnostics()
                .contains("\"0a:00:00:00:00\" is neither an Ethernet address nor a keyword")
        );
    }

    #[test]
    fn unknown_addresses_go_where_somebody_takes_them() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        assert!(
            bed.flows("ls_in_l2_unknown")
                .contains("40 | outport == \"none\" | drop;")
        );
        let any = bed.port(switch, "any", |port| port.addresses = set(["unknown"]));
        bed.port(switch, "too", |port| port.addresses = set(["unknown"]));
        let flows = bed.flows("_MC_unknown");
        assert_eq!(flows.lines().count(), 1, "{flows}");
        bed.remove_port(any);
        assert_eq!(bed.flows("_MC_unknown"), flows);
    }
}
