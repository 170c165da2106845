//! What every router does alike, written once over the set of all routers: the flows that depend on no row.
//!
//! Guarantees: one row per flow in the southbound, however many routers there are.

use weft_lang::action::{CallName, NestedKind};
use weft_lang::{Action, Expr, field, pred};

use super::static_route::over_ip6;
use super::{port, set};
use crate::output::SetName;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// The flows of all enabled routers.
pub struct Common;

impl Feature for Common {
    const NAME: &'static str = "router_common";
    const PER: &'static [Per] = &[Per::All];
    // Where routers are protected differently it matters which they are.
    const READS: &'static [&'static str] = &[port::Routers::NAME];

    fn run(cx: &Cx<'_>, _: Key) {
        let flow = |stage, priority, match_: Expr, actions: Vec<Action>| {
            cx.flow(SetName::Routers, stage, priority, match_, actions, None)
        };
        admission_and_input(&flow);
        routing(&flow);
        resolution(&flow);
        egress(&flow);
    }
}

fn admission_and_input(flow: &impl Fn(Stage, u16, Expr, Vec<Action>)) {
    use Stage::{LrInAdmission, LrInIpInput, LrInLookupNeighbor};
    flow(
        LrInAdmission,
        100,
        Expr::any([pred::VLAN_PRESENT, field::ETH_SRC.bit(40).is_set()]),
        vec![Action::Drop],
    );
    flow(
        LrInLookupNeighbor,
        0,
        Expr::TRUE,
        vec![set(pipeline::NEIGHBOR_KNOWN, 1), Action::NEXT],
    );

    let drop = || vec![Action::Drop];
    let net = |text: &str| text.parse::<ipnet::Ipv4Net>().expect("a literal network");
    let martians = Expr::any([
        pred::IP4_SRC_MCAST,
        field::IP4_SRC.eq(std::net::Ipv4Addr::BROADCAST),
        field::IP4_SRC.within(net("127.0.0.0/8")),
        field::IP4_DST.within(net("127.0.0.0/8")),
        field::IP4_SRC.within(net("0.0.0.0/8")),
        field::IP4_DST.within(net("0.0.0.0/8")),
    ]);
    flow(LrInIpInput, 100, martians, drop());
    flow(LrInIpInput, 85, Expr::any([pred::ARP, pred::ND]), drop());
    flow(
        LrInIpInput,
        84,
        Expr::any([pred::ND_RS, pred::ND_RA]),
        vec![Action::NEXT],
    );
    flow(LrInIpInput, 83, pred::IP6_MCAST_RSVD, drop());
    flow(LrInIpInput, 50, pred::ETH_BCAST, drop());
    let expired = || Expr::all([field::IP_TTL.one_of([0u8, 1]), !pred::IP_LATER_FRAG]);
    let multicast = || Expr::any([pred::IP4_MCAST, pred::IP6_MCAST]);
    flow(LrInIpInput, 32, Expr::all([expired(), multicast()]), drop());
    flow(LrInIpInput, 30, field::IP_TTL.one_of([0u8, 1]), drop());
}

fn routing(flow: &impl Fn(Stage, u16, Expr, Vec<Action>)) {
    let no_group = || pipeline::ECMP_GROUP.field().eq(0);
    flow(
        Stage::LrInIpRoutingPre,
        0,
        Expr::TRUE,
        vec![set(pipeline::ROUTE_TABLE, 0), Action::NEXT],
    );
    flow(
        Stage::LrInIpRouting,
        10550,
        Expr::any([pred::ND_RS, pred::ND_RA]),
        vec![Action::Drop],
    );
    flow(
        Stage::LrInIpRoutingEcmp,
        150,
        no_group(),
        vec![Action::NEXT],
    );
    flow(
        Stage::LrInPolicy,
        0,
        Expr::TRUE,
        vec![set(pipeline::ECMP_GROUP, 0), Action::NEXT],
    );
    flow(Stage::LrInPolicyEcmp, 150, no_group(), vec![Action::NEXT]);
}

/// The next hop's MAC address: what is known, and a question if nothing is.
fn resolution(flow: &impl Fn(Stage, u16, Expr, Vec<Action>)) {
    let next_hop4 = pipeline::NEXT_HOP_IP4.field();
    let next_hop6 = pipeline::NEXT_HOP_IP6.field();
    flow(
        Stage::LrInArpResolve,
        500,
        Expr::any([pred::IP4_MCAST, pred::IP6_MCAST]),
        vec![Action::NEXT],
    );
    flow(
        Stage::LrInArpResolve,
        1,
        pred::IP4,
        vec![
            Action::call(CallName::GetArp, [field::OUTPORT, next_hop4]),
            Action::NEXT,
        ],
    );
    flow(
        Stage::LrInArpResolve,
        1,
        pred::IP6,
        vec![
            Action::call(CallName::GetNd, [field::OUTPORT, next_hop6]),
            Action::NEXT,
        ],
    );

    flow(
        Stage::LrInArpResolve,
        2,
        over_ip6(),
        vec![
            Action::call(CallName::GetNd, [field::OUTPORT, next_hop6]),
            Action::NEXT,
        ],
    );

    let unresolved = || field::ETH_DST.eq([0u8; 6]);
    let ask4 = Action::nested(
        NestedKind::Arp,
        [
            Action::set(field::ETH_DST, [0xffu8; 6]),
            Action::Move(field::ARP_SPA, pipeline::SOURCE_IP4.field()),
            Action::Move(field::ARP_TPA, next_hop4),
            Action::set(field::ARP_OP, 1),
            Action::Output,
        ],
    );
    let ask6 = || {
        Action::nested(
            NestedKind::NdNs,
            [Action::Move(field::ND_TARGET, next_hop6), Action::Output],
        )
    };
    flow(
        Stage::LrInArpRequest,
        110,
        Expr::all([unresolved(), over_ip6()]),
        vec![ask6()],
    );
    flow(
        Stage::LrInArpRequest,
        100,
        Expr::all([unresolved(), pred::IP4]),
        vec![ask4],
    );
    flow(
        Stage::LrInArpRequest,
        100,
        Expr::all([unresolved(), pred::IP6]),
        vec![ask6()],
    );
}

fn egress(flow: &impl Fn(Stage, u16, Expr, Vec<Action>)) {
    flow(
        Stage::LrOutChkDnatLocal,
        0,
        Expr::TRUE,
        vec![set(pipeline::DNAT_LOCAL, 0), Action::NEXT],
    );
    flow(Stage::LrOutSnat, 120, pred::ND_NS, vec![Action::NEXT]);
}
