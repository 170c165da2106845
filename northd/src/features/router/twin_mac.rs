//! Router ports on one switch that have one Ethernet address: the switch cannot tell them apart.
//!
//! Guarantees: of such ports all but the one whose row sorts first are told. Their flows stay: which of them gets a packet
//! is not said.

use std::collections::BTreeMap;

use weft_schemas::nb;

use super::port::{self, RouterPort};
use super::resolve::routers_on;
use crate::address::Mac;
use crate::program::{Cx, Feature, Key, Per};

/// Per switch.
pub struct TwinMacs;

impl Feature for TwinMacs {
    const NAME: &'static str = "router_twin_macs";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let mut by_mac: BTreeMap<Mac, Vec<std::sync::Arc<RouterPort>>> = BTreeMap::new();
        for port in routers_on(cx, key.row()) {
            by_mac.entry(port.mac).or_default().push(port);
        }
        for (mac, mut ports) in by_mac {
            ports.sort_by_key(|port| port.uuid);
            ports.dedup_by_key(|port| port.uuid);
            let Some((first, rest)) = ports.split_first() else {
                continue;
            };
            let Some(switch) = cx.ls(key.row()).filter(|_| !rest.is_empty()) else {
                continue;
            };
            for port in rest {
                let message = format!(
                    "{mac} is also the address of router port \"{}\" on switch \"{}\": packets for one may reach the other",
                    first.name,
                    switch.name(),
                );
                cx.diagnose::<nb::LogicalRouterPort>(&port.name, port.uuid, "mac", message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Bed;

    #[test]
    fn ports_of_one_switch_have_addresses_of_their_own() {
        let mut bed = Bed::new();
        let (red, blue) = (bed.switch("red"), bed.switch("blue"));
        bed.router_on(red, "a", "0a:00:00:00:ff:01", &["10.0.0.1/24"]);
        bed.router_on(blue, "b", "0a:00:00:00:ff:01", &["10.1.0.1/24"]);
        assert_eq!(bed.diagnostics(), "");
        bed.router_on(red, "c", "0a:00:00:00:ff:01", &["10.0.0.2/24"]);
        let said = bed.diagnostics();
        assert!(
            said.starts_with("Logical_Router_Port c-red")
                && said.contains("\"a-red\" on switch \"red\""),
            "{said}"
        );
        bed.edit_router_port("c-red", |row| row.mac = "0a:00:00:00:ff:02".into());
        assert_eq!(bed.diagnostics(), "");
    }
}
