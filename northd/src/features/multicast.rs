//! Multicast groups of switches: `_MC_flood` (all enabled ports), `_MC_flood_l2` (all but those to routers),
//! `_MC_unknown` (those with `unknown` among their addresses).
//!
//! One unit per port: a port that comes or goes costs one member, whatever the size of the switch.

use weft_schemas::nb;

use super::port_key::{PortKey, port_key};
use crate::output::{Mcast, Output};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// Emits the memberships of switch ports.
pub struct Multicast;

impl Feature for Multicast {
    const NAME: &'static str = "multicast";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[PortKey::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        let Some(dp) = cx.switch_of(key.row()) else {
            return;
        };
        if *lsp.enabled() == Some(false) || port_key(cx, key).is_none() {
            return;
        }
        let join = |group| {
            cx.emit(Output::McastMember {
                dp,
                group,
                port: lsp.name().clone(),
            })
        };
        join(Mcast::Flood);
        if &**lsp.type_() != "router" {
            join(Mcast::FloodL2);
        }
        if lsp.addresses().iter().any(|a| &**a == "unknown") {
            join(Mcast::Unknown);
        }
    }
}
