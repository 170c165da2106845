//! Delivery to router ports.
//!
//! Guarantees: what was routed to an enabled port leaves by it; relayed multicast leaves with the port's own source address.

use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::port;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Per router port.
pub struct Delivery;

impl Feature for Delivery {
    const NAME: &'static str = "router_delivery";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()).filter(|port| port.enabled) else {
            return;
        };
        let Some(router) = port::router(cx, port.router) else {
            return;
        };
        let here = || field::OUTPORT.eq(&port.name);
        let flow = |priority, match_, actions| {
            port.flow(cx, Stage::LrOutDelivery, priority, match_, actions);
        };
        flow(100, here(), vec![Action::Output]);
        if router.relays_multicast {
            let multicast = Expr::all([Expr::any([pred::IP4_MCAST, pred::IP6_MCAST]), here()]);
            flow(
                110,
                multicast,
                vec![Action::set(field::ETH_SRC, port.mac), Action::Output],
            );
        }
    }
}
