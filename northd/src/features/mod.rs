//! The list of features: one line each.

pub mod acl;
pub mod address_set;
pub mod ageing;
pub mod cleanup;
pub mod copp;
pub mod datapath;
pub mod debug_drop;
pub mod dhcp;
pub mod dns;
pub mod fallback;
pub mod global;
pub mod ha_group;
pub mod ipam;
pub mod lb;
pub mod meter;
pub mod mirror;
pub mod monitor;
pub mod multicast;
pub mod nat_addresses;
pub mod nested;
pub mod port_address;
pub mod port_key;
pub mod port_trait;
pub mod queue;
pub mod router;
pub mod router_port;
pub mod static_mac;
pub mod switch;
pub mod switch_port;
pub mod up;

use crate::program::{Entry, allocator, pure};

/// What is no logical flow.
const ROWS: &[Entry] = &[
    pure::<global::Tunnels>(),
    pure::<global::Global>(),
    allocator::<datapath::DatapathKey>(),
    pure::<datapath::DatapathRow>(),
    pure::<port_trait::PortTraits>(),
    allocator::<port_key::PortKey>(),
    allocator::<nested::NestedTag>(),
    allocator::<queue::Queues>(),
    pure::<mirror::Mirrors>(),
    pure::<mirror::MirrorPorts>(),
    pure::<nat_addresses::GroupAddresses>(),
    pure::<nat_addresses::Balanced>(),
    pure::<switch_port::SwitchPort>(),
    pure::<router_port::RouterPort>(),
    pure::<ha_group::SwitchChassis>(),
    pure::<ha_group::Reach>(),
    pure::<ha_group::HaGroups>(),
    allocator::<ipam::Configured>(),
    allocator::<ipam::Ipam>(),
    pure::<ipam::PoolCheck>(),
    pure::<address_set::UserSets>(),
    pure::<address_set::GroupSets>(),
    pure::<address_set::Membership>(),
    pure::<static_mac::StaticMacs>(),
    pure::<dns::Records>(),
    pure::<dns::Filled>(),
    pure::<dns::Lookup>(),
    pure::<meter::Meters>(),
    pure::<meter::FairCopies>(),
    pure::<copp::CoppCheck>(),
    pure::<debug_drop::Check>(),
    pure::<up::Up>(),
    pure::<cleanup::MacBindings>(),
    pure::<cleanup::Fdb>(),
    pure::<ageing::Thresholds>(),
    pure::<ageing::Refreshers>(),
    pure::<ageing::MacBindings>(),
    pure::<ageing::Fdb>(),
    pure::<ageing::Limits>(),
    pure::<port_address::SwitchPortAddresses>(),
    pure::<fallback::Fallbacks>(),
];

/// Every kind of unit of the compiler.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        ROWS,
        switch::KINDS,
        acl::KINDS,
        router::KINDS,
        lb::KINDS,
        monitor::KINDS,
        multicast::KINDS,
        dhcp::KINDS,
    ]
    .into_iter()
    .flatten()
}
