//! Routers that relay multicast between their switches (`mcast_relay`).
//!
//! Guarantees: a packet to a registered group leaves through the ports to the switches that have receivers, with one hop
//! less to live; ports with `mcast_flood` get every multicast packet, reports and queries as they are (and none that the
//! router sent itself, since those have no hop to lose). What nobody wants is dropped.

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::ports::relaying_router;
use super::{Mark, Marks, ip_multicast, is_on, reports};
use crate::features::router::port;
use crate::index::PortType;
use crate::output::{Mcast, McastGroup, Output};
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Whether a router port wants all multicast: then groups need not list it.
fn floods(cx: &Cx<'_>, port: Uuid) -> bool {
    cx.lrp(port)
        .is_some_and(|row| is_on(row.options(), "mcast_flood"))
}

/// The router ports by which relaying routers are on a switch, but for those that flood: router and name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Relays(pub(super) Vec<(Uuid, Str)>);

/// Publishes [`Relays`] of a switch that has any.
pub struct Links;

impl Feature for Links {
    const NAME: &'static str = "multicast_links";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let mut relays: Vec<(Uuid, Str)> = cx
            .ports_of(key.row(), PortType::Router)
            .iter()
            .filter(|lsp| cx.switch_of(**lsp) == Some(key.row()))
            .filter(|lsp| cx.lsp(**lsp).is_some_and(|l| *l.enabled() != Some(false)))
            .filter_map(|lsp| relaying_router(cx, *lsp, PortType::Router))
            .filter(|port| !floods(cx, port.uuid))
            .map(|port| (port.router, port.name.clone()))
            .collect();
        relays.sort_unstable();
        relays.dedup();
        if !relays.is_empty() {
            cx.publish(Relays(relays));
        }
    }
}

/// `clone { outport = "_MC_static"; ip.ttl--; next; };`
pub(super) fn copy_to_static() -> Action {
    Action::nested(
        NestedKind::Clone,
        [
            Action::set(field::OUTPORT, Mcast::Static.name()),
            Action::DecTtl,
            Action::NEXT,
        ],
    )
}

/// Per router: multicast that is for no registered group.
pub struct Routers;

impl Feature for Routers {
    const NAME: &'static str = "multicast_router";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, Marks::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let router = key.row();
        if port::router(cx, router).is_none_or(|router| !router.relays_multicast) {
            return;
        }
        let flow = |stage, priority, match_, actions: Vec<Action>| {
            cx.flow(router, stage, priority, match_, actions, None);
        };
        let floods = Mark::Static.is_set(cx, router);
        if floods {
            for report in reports() {
                let last_hop = Expr::all([report.clone(), field::IP_TTL.eq(1)]);
                flow(Stage::LrInIpInput, 120, last_hop, vec![Action::NEXT]);
                let as_it_is = [
                    Action::set(field::OUTPORT, Mcast::Static.name()),
                    Action::NEXT,
                ];
                let copy = Action::nested(NestedKind::Clone, as_it_is);
                flow(Stage::LrInIpRouting, 10_460, report, vec![copy]);
            }
        }
        let rest = if floods {
            copy_to_static()
        } else {
            Action::Drop
        };
        flow(Stage::LrInIpRouting, 10_450, ip_multicast(), vec![rest]);
    }
}

/// Per router port.
pub struct Ports;

impl Feature for Ports {
    const NAME: &'static str = "multicast_router_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME, Marks::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let router = port.router;
        if port::router(cx, router).is_none_or(|router| !router.relays_multicast) {
            return;
        }
        if floods(cx, key.row()) && port.enabled {
            Mark::Static.set(cx, router);
            cx.emit(Output::McastMember {
                dp: router,
                group: McastGroup::Known(Mcast::Static),
                port: port.name.clone(),
            });
        }
        if !Mark::Static.is_set(cx, router) {
            return;
        }
        for report in reports() {
            cx.flow(
                router,
                Stage::LrInIpRouting,
                10_550,
                Expr::all([field::ETH_SRC.eq(port.mac), report]),
                vec![Action::Drop],
                Some(port.uuid),
            );
        }
    }
}
