//! `ecmp_symmetric_reply`: a connection that came in by one of several equal routes is answered through the same next hop.
//!
//! Guarantees: on gateway routers the next hop of the first packet of a connection is kept with the connection (its
//! Ethernet address and the port it came by) and replies go there, before routes and policies, for as long as the route
//! exists. A peer whose Ethernet address changed is learned again from its next packet.

use weft_lang::action::{CallName, Proto};
use weft_lang::{Action, Expr, field, pred};

use super::hop::Hop;
use super::route::Prefix;
use super::static_route::{Route, table_number};
use super::{loopback, port, set};
use crate::features::port_key::port_key;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Key};

/// Priority of routes of replies: before everything but what must not be routed.
const REPLIES: u16 = 10_300;

/// The flows of a member of a group.
pub fn replies(cx: &Cx<'_>, route: &Route, hop: &Hop) {
    if !port::router(cx, route.router).is_some_and(|router| router.is_gateway) {
        return;
    }
    let (Some(table), Some(number)) = (
        table_number(cx, route.router, &route.table),
        port_key(cx, Key::Row(hop.port.uuid)),
    ) else {
        return;
    };
    let flow = |stage, priority, match_, actions: Vec<Action>| {
        route.flow(cx, stage, priority, match_, actions)
    };
    let comes = || Expr::all([field::INPORT.eq(&hop.port.name), route.prefix.matches(true)]);
    let goes = || {
        Expr::all([
            pipeline::ROUTE_TABLE.field().eq(u64::from(table)),
            route.prefix.matches(false),
        ])
    };
    let track = |call| {
        let known = Action::call_into(pipeline::ECMP_REPLY_KNOWN.field(), call, []);
        vec![known, Action::CtNext(None)]
    };
    flow(
        Stage::LrInDefrag,
        100,
        comes(),
        track(CallName::ChkEcmpNhMac),
    );
    flow(Stage::LrInDefrag, 100, goes(), track(CallName::ChkEcmpNh));

    let ipv6 = matches!(route.prefix, Prefix::V6(_));
    for (proto, is_proto) in [
        (Proto::Tcp, pred::TCP),
        (Proto::Udp, pred::UDP),
        (Proto::Sctp, pred::SCTP),
    ] {
        let remember = || {
            vec![
                Action::ct_commit([
                    Action::Move(field::CT_LABEL_ECMP_REPLY_ETH, field::ETH_SRC),
                    Action::set(field::CT_MARK_ECMP_REPLY_PORT, u64::from(number)),
                ]),
                Action::CommitEcmpNh { ipv6, proto },
                Action::NEXT,
            ]
        };
        let new = [comes(), pred::CT_NEW, !pred::CT_EST, is_proto.clone()];
        flow(Stage::LrInEcmpStateful, 100, Expr::all(new), remember());
        let elsewhere = pipeline::ECMP_REPLY_KNOWN.field().eq(0);
        let moved = [comes(), !pred::CT_RPL, pred::CT_EST, is_proto, elsewhere];
        flow(Stage::LrInEcmpStateful, 100, Expr::all(moved), remember());
    }

    let back = vec![
        Action::DecTtl,
        loopback(),
        set(pipeline::ECMP_GROUP, 0),
        Action::set(field::ETH_SRC, hop.port.mac),
        Action::set(hop.source.source(), hop.source),
        Action::set(field::OUTPORT, &hop.port.name),
        Action::NEXT,
    ];
    let reply = || is_reply(number);
    flow(
        Stage::LrInIpRouting,
        REPLIES,
        Expr::all([reply(), goes()]),
        back,
    );
    let before_all = vec![set(pipeline::ECMP_GROUP, 0), Action::NEXT];
    flow(Stage::LrInPolicy, u16::MAX, reply(), before_all);
    // There is no way from ct_label to eth.dst but through a register; the own address that is in it stays.
    let register = pipeline::SOURCE_IP6.field();
    let resolved = vec![
        Action::Push(register),
        Action::Move(register, field::CT_LABEL),
        Action::Move(field::ETH_DST, register.bits(32..=79)),
        Action::Pop(register),
        Action::NEXT,
    ];
    flow(Stage::LrInArpResolve, 200, reply(), resolved);
}

/// A reply of a connection whose next hop is known and behind that port.
fn is_reply(port: u32) -> Expr {
    Expr::all([
        pred::CT_RPL,
        pipeline::ECMP_REPLY_KNOWN.field().eq(1),
        field::CT_MARK_ECMP_REPLY_PORT.eq(u64::from(port)),
    ])
}
