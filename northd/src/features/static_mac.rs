//! `Static_MAC_Binding`: MAC bindings that a user configures, handed to the chassis.

use std::net::IpAddr;
use std::sync::Arc;

use weft_schemas::nb;

use crate::address::Mac;
use crate::output::{Output, StaticMac};
use crate::program::{Cx, Feature, Key, Per};

/// Emits the rows.
pub struct StaticMacs;

impl Feature for StaticMacs {
    const NAME: &'static str = "static_mac";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::StaticMacBinding)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.static_mac(key.row()) else {
            return;
        };
        let name = row.logical_port();
        let say = |column, message: String| {
            cx.diagnose::<nb::StaticMacBinding>(name, key.row(), column, message);
        };
        let Some(datapath) = cx.lrp_named(name).and_then(|lrp| cx.router_of(lrp)) else {
            say(
                "logical_port",
                format!("no router has a port named \"{name}\": left out"),
            );
            return;
        };
        if row.ip().parse::<IpAddr>().is_err() {
            say(
                "ip",
                format!("\"{}\" is not an IP address: left out", row.ip()),
            );
            return;
        }
        if row.mac().parse::<Mac>().is_err() {
            say(
                "mac",
                format!("\"{}\" is not an Ethernet address: left out", row.mac()),
            );
            return;
        }
        cx.emit(Output::StaticMac(Arc::new(StaticMac {
            logical_port: name.clone(),
            ip: row.ip().clone(),
            mac: row.mac().clone(),
            override_dynamic_mac: *row.override_dynamic_mac(),
            datapath,
        })));
    }
}
