//! L2 admission of routers.
//!
//! Guarantees: a router takes from a port only frames addressed to that port's Ethernet address or to a multicast one, and
//! remembers the address of the input port for the answers it gives. A disabled port takes nothing.

use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::{port, set};
use crate::features::lb::distributed;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Bytes of an Ethernet header: `check_pkt_larger` measures frames, MTUs are about what is in them.
pub const ETHERNET_BYTES: u16 = 14;

/// Per router port.
pub struct Admission;

impl Feature for Admission {
    const NAME: &'static str = "router_admission";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME, distributed::OfRouter::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()).filter(|port| port.enabled) else {
            return;
        };
        let mut actions = Vec::with_capacity(3);
        if let Some(mtu_bytes) = port.mtu_bytes {
            let larger = pipeline::PACKET_LARGER.field();
            actions.push(Action::CheckPktLarger(
                larger,
                mtu_bytes.saturating_add(ETHERNET_BYTES),
            ));
        }
        actions.push(set(pipeline::INPORT_MAC, port.mac));
        actions.push(Action::NEXT);
        // Multicast comes to every chassis; what is for a gateway port itself must meet the chassis that is active.
        let here = super::gateway::takes_at(cx, &port).here();
        for addressed in [
            Expr::all([field::ETH_DST.eq(port.mac), here]),
            pred::ETH_MCAST,
        ] {
            let match_ = Expr::all([addressed, field::INPORT.eq(&port.name)]);
            port.flow(cx, Stage::LrInAdmission, 50, match_, actions.clone());
        }
    }
}
