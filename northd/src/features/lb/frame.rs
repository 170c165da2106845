//! What surrounds load balancers on every datapath that has some.
//!
//! Guarantees: on a switch, whatever hosts send and receive is tracked, but for neighbour discovery, multicast, health checks
//! and what stateless ACLs let through; connections that return to their sender are turned around. On a router, what
//! belongs to a balanced connection passes with the source translation that it began with. Written once over the sets of
//! datapaths; nothing where nothing is balanced.

use weft_lang::action::{CallName, NatKind};
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::place::{ForceSnat, Router, Routers, router};
use super::set;
use crate::output::{Need, SetName};
use crate::pipeline::{self as p, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// One in all, for switches.
pub struct SwitchFrame;

impl Feature for SwitchFrame {
    const NAME: &'static str = "lb_switch_frame";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let switches = Need::Balanced.set();
        let flow = |stage, priority, match_: Expr, actions: Vec<Action>| {
            cx.flow(&switches, stage, priority, match_, actions, None);
        };
        tracking(&flow);
        hairpin(&flow);
    }
}

/// One in all, for routers.
pub struct RouterFrame;

impl Feature for RouterFrame {
    const NAME: &'static str = "lb_router_frame";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let balanced = SetName::BalancedRouters;
        let flow = |stage, priority, match_: Expr, actions: Vec<Action>| {
            cx.flow(balanced, stage, priority, match_, actions, None);
        };
        known_connections(&flow);
        let gateways = SetName::BalancedGateways;
        let flow = |stage, priority, match_: Expr, actions: Vec<Action>| {
            cx.flow(gateways, stage, priority, match_, actions, None);
        };
        replies(&flow);
    }
}

/// Per router.
pub struct ForcedAddresses;

impl Feature for ForcedAddresses {
    const NAME: &'static str = "lb_forced_addresses";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[Routers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(router) = router(cx, key.row()) {
            force_snat(cx, key.row(), &router);
        }
    }
}

type Flow<'a> = &'a dyn Fn(Stage, u16, Expr, Vec<Action>);

fn tracking(flow: Flow<'_>) {
    let ways = [
        (Stage::LsInPreLb, Stage::LsInPreStateful, field::ETH_DST),
        (Stage::LsOutPreLb, Stage::LsOutPreStateful, field::ETH_SRC),
    ];
    for (pre, send, northd) in ways {
        let discovery = Expr::any([pred::ND, pred::ND_RS, pred::ND_RA, pred::MLDV1, pred::MLDV2]);
        let untracked = [
            pred::ETH_MCAST,
            discovery,
            northd.in_set("svc_monitor_mac"),
            p::ACL_STATELESS.field().eq(1),
        ];
        for match_ in untracked {
            flow(pre, 110, match_, vec![Action::NEXT]);
        }
        flow(pre, 100, pred::IP, vec![set(p::CT_NAT, 1), Action::NEXT]);
        let marked = p::CT_NAT.field().eq(1);
        flow(
            send,
            110,
            marked,
            vec![Action::ct_lb_mark(Vec::new(), None, None)],
        );
    }
}

fn hairpin(flow: Flow<'_>) {
    let check = vec![
        Action::call_into(p::HAIRPIN.field(), CallName::ChkLbHairpin, []),
        Action::call_into(p::HAIRPIN_REPLY.field(), CallName::ChkLbHairpinReply, []),
        Action::NEXT,
    ];
    flow(
        Stage::LsInPreHairpin,
        100,
        Expr::all([pred::IP, pred::CT_TRK]),
        check,
    );
    let returns = || p::HAIRPIN.field().eq(1);
    let replies = || p::HAIRPIN_REPLY.field().eq(1);
    let translate = || vec![Action::CtNat(NatKind::Snat, None)];
    let of = |state: Expr| Expr::all([pred::IP, state, pred::CT_TRK, returns()]);
    let stage = Stage::LsInNatHairpin;
    flow(stage, 100, of(pred::CT_EST), translate());
    flow(
        stage,
        100,
        of(pred::CT_NEW),
        vec![Action::CtSnatToVip, Action::NEXT],
    );
    flow(stage, 90, Expr::all([pred::IP, replies()]), translate());
    let back = vec![
        Action::Exchange(field::ETH_DST, field::ETH_SRC),
        Action::Move(field::OUTPORT, field::INPORT),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Output,
    ];
    flow(
        Stage::LsInHairpin,
        1,
        Expr::any([returns(), replies()]),
        back,
    );
}

/// Packets of connections that were balanced before.
fn known_connections(flow: Flow<'_>) {
    let stage = Stage::LrInDnat;
    let established = |more: Expr| {
        Expr::all([
            pred::CT_EST,
            !pred::CT_REL,
            !pred::CT_NEW,
            field::CT_MARK_NATTED.eq(1),
            more,
        ])
    };
    let related = |more: Expr| Expr::all([pred::CT_REL, !pred::CT_EST, !pred::CT_NEW, more]);
    let kinds = [
        (field::CT_MARK_FORCE_SNAT, field::FLAGS_FORCE_SNAT_FOR_LB),
        (field::CT_MARK_SKIP_SNAT, field::FLAGS_SKIP_SNAT_FOR_LB),
    ];
    for (mark, flag) in kinds {
        let remember = || Action::set(flag, 1);
        flow(
            stage,
            70,
            established(mark.eq(1)),
            vec![remember(), Action::NEXT],
        );
        flow(
            stage,
            70,
            related(mark.eq(1)),
            vec![remember(), Action::CtCommitNat(None)],
        );
    }
    flow(stage, 50, established(Expr::TRUE), vec![Action::NEXT]);
    flow(
        stage,
        50,
        related(Expr::TRUE),
        vec![Action::CtCommitNat(None)],
    );
    let skipped = Expr::all([field::FLAGS_SKIP_SNAT_FOR_LB.eq(1), pred::IP]);
    flow(Stage::LrOutSnat, 120, skipped, vec![Action::NEXT]);
}

/// Replies through gateway routers: all packets go through the connection table, which knows whose they are.
fn replies(flow: Flow<'_>) {
    let discovery = Expr::any([pred::ND, pred::ND_RS, pred::ND_RA]);
    flow(Stage::LrOutUndnat, 100, discovery, vec![Action::NEXT]);
    let undo = vec![
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::CtNat(NatKind::Dnat, None),
    ];
    flow(Stage::LrOutUndnat, 50, pred::IP, undo);
    let new = Expr::all([pred::IP, pred::CT_NEW]);
    flow(
        Stage::LrOutPostUndnat,
        50,
        new,
        vec![Action::ct_commit([]), Action::NEXT],
    );
}

/// `lb_force_snat_ip` with addresses; that with the ports' own is [`super::port`]'s.
fn force_snat(cx: &Cx<'_>, uuid: Uuid, router: &Router) {
    let Some(ForceSnat::Addresses(all)) = &router.force_snat else {
        return;
    };
    for ip in all {
        let (family, dst) = match ip.is_ipv4() {
            true => (pred::IP4, field::IP4_DST),
            false => (pred::IP6, field::IP6_DST),
        };
        let flow = |stage, priority, match_, action: Action| {
            cx.flow(uuid, stage, priority, match_, [action], Some(uuid));
        };
        let back = Expr::all([family.clone(), dst.eq(*ip)]);
        flow(
            Stage::LrInUnsnat,
            110,
            back,
            Action::CtNat(NatKind::Snat, None),
        );
        let forced = Expr::all([field::FLAGS_FORCE_SNAT_FOR_LB.eq(1), family]);
        flow(
            Stage::LrOutSnat,
            100,
            forced,
            Action::nat_to(NatKind::Snat, *ip),
        );
    }
}
