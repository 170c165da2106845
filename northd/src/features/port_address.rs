//! The addresses of switch ports, from wherever they come: configured, dynamic, or those of the router port behind.
//!
//! Guarantees: the column is parsed here and nowhere else for flows; what does not parse is told once per port and the
//! rest of the column stays of use.

use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::ipam::{Ipam, Lease};
use super::router::port::{Ports, RouterPort};
use crate::address::{Addresses, PortAddress, parse_port_address};
use crate::program::{Cx, Feature, Key, Per};

/// The addresses of a switch port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortAddresses {
    /// Configured and dynamic ones.
    pub list: Vec<Addresses>,
    /// Those that the keyword `router` stands for.
    pub from_router: Option<Addresses>,
    /// Takes packets for addresses nobody is known to have.
    pub unknown: bool,
    /// The port leads to a router.
    pub of_router: bool,
}

impl PortAddresses {
    /// All addresses, however they came.
    pub fn all(&self) -> impl Iterator<Item = &Addresses> {
        self.list.iter().chain(&self.from_router)
    }
}

/// Publishes [`PortAddresses`] per switch port.
pub struct SwitchPortAddresses;

impl Feature for SwitchPortAddresses {
    const NAME: &'static str = "port_addresses";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[
        <Ipam as crate::program::Allocator>::NAME,
        <Ports as Feature>::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        let mut addresses = PortAddresses {
            of_router: &**lsp.type_() == "router",
            ..PortAddresses::default()
        };
        for text in lsp.addresses().iter() {
            let (address, problems) = parse_port_address(text);
            for problem in problems {
                let message = format!("\"{text}\": {problem}: left out");
                cx.diagnose::<nb::LogicalSwitchPort>(lsp.name(), key.row(), "addresses", message);
            }
            match address {
                Some(PortAddress::Unknown) => addresses.unknown = true,
                Some(PortAddress::Static(fixed)) => addresses.list.push(fixed),
                Some(PortAddress::Dynamic { .. }) => addresses.list.extend(leased(cx, key)),
                Some(PortAddress::Router) => {
                    addresses.from_router =
                        router_port(cx, key.row()).map(|port| of_router_port(&port));
                    if addresses.from_router.is_none() {
                        let message =
                            "\"router\" finds no router port by options:router-port: left out";
                        cx.diagnose::<nb::LogicalSwitchPort>(
                            lsp.name(),
                            key.row(),
                            "addresses",
                            message,
                        );
                    }
                }
                None => {}
            }
        }
        cx.publish(addresses);
    }
}

fn leased(cx: &Cx<'_>, key: Key) -> Option<Addresses> {
    let lease = cx.value::<Lease>(<Ipam as crate::program::Allocator>::ID, key)?;
    let mut addresses = Addresses::new(lease.mac);
    addresses.v4.extend(lease.v4.map(Ipv4Net::from));
    addresses.v6.extend(lease.v6.map(Ipv6Net::from));
    Some(addresses)
}

/// All that a router port answers to.
fn of_router_port(port: &RouterPort) -> Addresses {
    let mut addresses = Addresses {
        mac: port.mac,
        v4: port.v4.clone(),
        v6: port.v6.clone(),
    };
    addresses.v6.extend(Ipv6Net::new(port.link_local, 64));
    addresses
}

/// The working router port that a switch port of type `router` leads to. The reader lists [`Ports`] among its `READS`.
pub fn router_port(cx: &Cx<'_>, switch_port: Uuid) -> Option<Arc<RouterPort>> {
    let lsp = cx.lsp(switch_port)?;
    if &**lsp.type_() != "router" {
        return None;
    }
    let name = lsp.options().get("router-port")?;
    super::router::port::port(cx, cx.lrp_named(name)?)
}

/// The addresses of a switch port. The reader lists [`SwitchPortAddresses`] among its `READS`.
pub fn addresses(cx: &Cx<'_>, switch_port: Uuid) -> Option<Arc<PortAddresses>> {
    cx.value(SwitchPortAddresses::ID, Key::Row(switch_port))
}
