//! Learning neighbours from ARP and neighbour discovery.
//!
//! Guarantees: a router asks the controllers whether what a packet says is known before it has it learned, so that known
//! neighbours cost no packet-in. With `always_learn_from_arp_request=false` a request that is not for the router changes
//! what is known of its sender but teaches nothing new.

use weft_lang::action::CallName::{
    self, LookupArp, LookupArpIp, LookupNd, LookupNdIp, PutArp, PutNd,
};
use weft_lang::{Action, Expr, Field, field, pred};
use weft_schemas::nb;

use super::{port, set};
use crate::features::ageing;
use crate::features::lb::distributed;
use crate::pipeline::{NEIGHBOR_IP_KNOWN, NEIGHBOR_KNOWN, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// How a packet of unknown content is judged when not every request teaches.
enum May {
    /// It may always be learned.
    Always,
    /// Only if the address is known already.
    IfKnown(CallName, Field),
}

/// `reg9[2] = lookup(inport, address, mac); reg9[3] = ...; next;`
fn lookup(call: CallName, address: Field, mac: Field, may: Option<May>) -> Vec<Action> {
    let mut actions = vec![Action::call_into(
        NEIGHBOR_KNOWN.field(),
        call,
        [field::INPORT, address, mac],
    )];
    match may {
        None => {}
        Some(May::Always) => actions.push(set(NEIGHBOR_IP_KNOWN, 1)),
        Some(May::IfKnown(call, address)) => {
            actions.push(Action::call_into(
                NEIGHBOR_IP_KNOWN.field(),
                call,
                [field::INPORT, address],
            ));
        }
    }
    actions.push(Action::NEXT);
    actions
}

/// Per router: what does not depend on ports.
pub struct Learning;

impl Feature for Learning {
    const NAME: &'static str = "router_neighbor_learning";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        ageing::Thresholds::NAME,
        ageing::Refreshers::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(router) = port::router(cx, key.row()) else {
            return;
        };
        let always = router.learns_from_requests;
        let flow = |stage, priority, match_, actions| {
            cx.flow(key.row(), stage, priority, match_, actions, None)
        };
        lookups(always, &|priority, match_, actions| {
            flow(Stage::LrInLookupNeighbor, priority, match_, actions);
        });
        let refreshes = ageing::refreshes(cx, key.row());
        learning(always, refreshes, &|priority, match_, actions| {
            flow(Stage::LrInLearnNeighbor, priority, match_, actions);
        });
    }
}

/// What adds one flow to a stage.
type Add<'a> = &'a dyn Fn(u16, Expr, Vec<Action>);

/// Whether what a packet says of its sender is known; `always` if requests teach too.
fn lookups(always: bool, flow: Add<'_>) {
    let unless = |may: May| (!always).then_some(may);
    let reply = lookup(
        LookupArp,
        field::ARP_SPA,
        field::ARP_SHA,
        unless(May::Always),
    );
    flow(100, field::ARP_OP.eq(2), reply);
    let advertised = lookup(
        LookupNd,
        field::ND_TARGET,
        field::ND_TLL,
        unless(May::Always),
    );
    flow(100, pred::ND_NA, advertised);
    let asker = || unless(May::IfKnown(LookupNdIp, field::IP6_SRC));
    flow(
        100,
        pred::ND_NS,
        lookup(LookupNd, field::IP6_SRC, field::ND_SLL, asker()),
    );
    if !always {
        // An unsolicited advertisement to everybody teaches no more than a request would.
        let link_local: ipnet::Ipv6Net = "fe80::/10".parse().expect("a literal network");
        let multicast: ipnet::Ipv6Net = "ff00::/8".parse().expect("a literal network");
        let unsolicited = Expr::all([
            pred::ND_NA,
            field::IP6_SRC.within(link_local),
            field::IP6_DST.within(multicast),
        ]);
        flow(
            110,
            unsolicited,
            lookup(LookupNd, field::IP6_SRC, field::ND_TLL, asker()),
        );
    }
}

/// What is not known is learned.
fn learning(always: bool, refreshes: bool, flow: Add<'_>) {
    let known = NEIGHBOR_KNOWN.field().eq(1);
    let nothing_to_learn = if always {
        known
    } else {
        Expr::any([known, NEIGHBOR_IP_KNOWN.field().eq(0)])
    };
    let used = refreshes.then_some(Action::MacCacheUse);
    let actions = used.into_iter().chain([Action::NEXT]).collect();
    flow(100, nothing_to_learn, actions);
    let put = |call, address, mac| {
        vec![
            Action::call(call, [field::INPORT, address, mac]),
            Action::NEXT,
        ]
    };
    // RFC 4861, 4.3 and 4.4: solicitations for address detection and advertisements may come without the option.
    let silent = Expr::any([field::IP6_SRC.eq(0), field::ND_SLL.eq(0)]);
    flow(95, Expr::all([pred::ND_NS, silent]), vec![Action::NEXT]);
    let bare = Expr::all([pred::ND_NA, field::ND_TLL.eq(0)]);
    flow(95, bare, put(PutNd, field::ND_TARGET, field::ETH_SRC));
    flow(90, pred::ARP, put(PutArp, field::ARP_SPA, field::ARP_SHA));
    flow(90, pred::ND_NA, put(PutNd, field::ND_TARGET, field::ND_TLL));
    flow(90, pred::ND_NS, put(PutNd, field::IP6_SRC, field::ND_SLL));
}

/// Per router port: ARP requests from its networks.
pub struct PortLookup;

impl Feature for PortLookup {
    const NAME: &'static str = "router_neighbor_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        distributed::OfRouter::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let Some(router) = port::router(cx, port.router) else {
            return;
        };
        let always = router.learns_from_requests;
        let stage = Stage::LrInLookupNeighbor;
        for net in &port.v4 {
            let from_here = || {
                [
                    field::INPORT.eq(&port.name),
                    field::ARP_SPA.within(net.trunc()),
                ]
            };
            let request = || field::ARP_OP.eq(1);
            if !always {
                let for_me = from_here()
                    .into_iter()
                    .chain([field::ARP_TPA.eq(net.addr()), request()]);
                let actions = lookup(LookupArp, field::ARP_SPA, field::ARP_SHA, Some(May::Always));
                port.flow(cx, stage, 110, Expr::all(for_me), actions);
            }
            let may = (!always).then_some(May::IfKnown(LookupArpIp, field::ARP_SPA));
            let actions = lookup(LookupArp, field::ARP_SPA, field::ARP_SHA, may);
            // Elsewhere the question is not answered, and who asks is not learned.
            let resident = super::gateway::takes_at(cx, &port).here();
            let match_ = Expr::all(from_here().into_iter().chain([request(), resident]));
            port.flow(cx, stage, 100, match_, actions);
        }
    }
}
