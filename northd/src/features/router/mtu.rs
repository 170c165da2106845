//! Packets that are too big for the port they leave by (`gateway_mtu`).
//!
//! Guarantees: such a packet is answered with "fragmentation needed" (RFC 1191, 4) or "packet too big" (RFC 4443, 3.2) by the port
//! it came in by, whether it was measured on the way in or on the way out; it is not forwarded.

use weft_lang::action::{NestedKind, Pipeline};
use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::admission::ETHERNET_BYTES;
use super::port::{self, RouterPort};
use super::{not_looped, set};
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Per router port with an MTU.
pub struct Mtu;

impl Feature for Mtu {
    const NAME: &'static str = "router_mtu";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(out) = port::port(cx, key.row()) else {
            return;
        };
        let Some(mtu_bytes) = out.mtu_bytes else {
            return;
        };
        let hint = Some(out.uuid);
        let measure = vec![
            Action::CheckPktLarger(
                pipeline::PACKET_LARGER.field(),
                mtu_bytes.saturating_add(ETHERNET_BYTES),
            ),
            Action::NEXT,
        ];
        cx.flow(
            out.router,
            Stage::LrInChkPktLen,
            50,
            field::OUTPORT.eq(&out.name),
            measure,
            hint,
        );
        let Some(router) = cx.lr(out.router) else {
            return;
        };
        let arriving = answers(&out, mtu_bytes, None);
        for (match_, action) in arriving {
            cx.flow(
                out.router,
                Stage::LrInIpInput,
                150,
                match_,
                vec![action],
                hint,
            );
        }
        for uuid in router.ports().iter().filter(|uuid| **uuid != out.uuid) {
            let Some(inport) = port::port(cx, *uuid) else {
                continue;
            };
            for (match_, action) in answers(&inport, mtu_bytes, Some(&out)) {
                cx.flow(
                    out.router,
                    Stage::LrInLargerPkts,
                    150,
                    match_,
                    vec![action],
                    hint,
                );
            }
        }
    }
}

/// How `inport` answers a packet that is larger than `mtu_bytes` (and that would leave by `out`).
fn answers(inport: &RouterPort, mtu_bytes: u16, out: Option<&RouterPort>) -> Vec<(Expr, Action)> {
    let too_big = |family: Expr| {
        let leaving = out.map(|out| field::OUTPORT.eq(&out.name));
        let here = [field::INPORT.eq(&inport.name)].into_iter().chain(leaving);
        Expr::all(here.chain([
            family,
            pipeline::PACKET_LARGER.field().is_set(),
            not_looped(),
        ]))
    };
    let head = || {
        [
            set(pipeline::EGRESS_LOOPBACK, 1),
            set(pipeline::PACKET_LARGER, 0),
            Action::set(field::ETH_DST, inport.mac),
        ]
    };
    let again = || Action::NextIn(Pipeline::Ingress, Stage::LrInAdmission.table());
    let mut answers = Vec::with_capacity(2);
    if let Some(net) = inport.v4.first() {
        let error = [
            Action::Move(field::IP4_DST, field::IP4_SRC),
            Action::set(field::IP4_SRC, net.addr()),
            Action::set(field::IP_TTL, 255),
            Action::set(field::ICMP4_TYPE, 3),
            Action::set(field::ICMP4_CODE, 4),
            Action::set(field::ICMP4_FRAG_MTU, mtu_bytes),
            again(),
        ];
        answers.push((
            too_big(pred::IP4),
            Action::nested(NestedKind::Icmp4Error, head().into_iter().chain(error)),
        ));
    }
    if let Some(net) = inport.v6.first() {
        let error = [
            Action::Move(field::IP6_DST, field::IP6_SRC),
            Action::set(field::IP6_SRC, net.addr()),
            Action::set(field::IP_TTL, 255),
            Action::set(field::ICMP6_TYPE, 2),
            Action::set(field::ICMP6_CODE, 0),
            Action::set(field::ICMP6_FRAG_MTU, mtu_bytes),
            again(),
        ];
        answers.push((
            too_big(pred::IP6),
            Action::nested(NestedKind::Icmp6Error, head().into_iter().chain(error)),
        ));
    }
    answers
}
