//! What chassis learned about ports and datapaths that are gone: `MAC_Binding` and `FDB` rows to be deleted.
//!
//! One unit per learned row, so that a deletion of a port costs the rows learned about it.

use weft_schemas::sb;

use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// MAC bindings whose router port is gone.
pub struct MacBindings;

impl Feature for MacBindings {
    const NAME: &'static str = "stale_mac_binding";
    const PER: &'static [Per] = &[Per::Sb(sb::TableId::MacBinding)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.mac_binding(key.row()) else {
            return;
        };
        let lrp = cx.lrp_named(row.logical_port());
        let lives = lrp.is_some_and(|lrp| cx.router_of(lrp).is_some());
        if !lives {
            cx.emit(Output::Stale(sb::TableId::MacBinding as u8, key.row()));
        }
    }
}

/// Learned Ethernet addresses whose datapath or port is gone.
pub struct Fdb;

impl Feature for Fdb {
    const NAME: &'static str = "stale_fdb";
    const PER: &'static [Per] = &[Per::Sb(sb::TableId::Fdb)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.fdb(key.row()) else { return };
        let (Ok(dp), Ok(port)) = (u32::try_from(*row.dp_key()), u32::try_from(*row.port_key()))
        else {
            return;
        };
        if !cx.bound(dp, port) {
            cx.emit(Output::Stale(sb::TableId::Fdb as u8, key.row()));
        }
    }
}
