//! Logical routers: one file per thing a router does with a packet.

pub mod admission;
pub mod advert;
pub mod bfd;
pub mod central;
pub mod chain;
pub mod common;
pub mod delegation;
pub mod delivery;
pub mod ecmp;
pub mod gateway;
pub mod hop;
pub mod ip_input;
pub mod mtu;
pub mod nat;
pub mod near;
pub mod neighbor;
pub mod numbers;
pub mod policy;
pub mod port;
pub mod resolve;
pub mod routable;
pub mod route;
pub mod static_route;
pub mod symmetric;
#[cfg(test)]
mod tests;
pub mod twin_mac;

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_lang::{Action, Expr, field};

use crate::pipeline::{self, RegisterField};
use crate::program::{Entry, allocator, pure};

/// The kinds of units of routers.
pub const KINDS: &[Entry] = &[
    pure::<near::PrefixLengths>(),
    pure::<port::Routers>(),
    pure::<port::Ports>(),
    pure::<gateway::GatewayPorts>(),
    pure::<gateway::Redirect>(),
    pure::<central::Spread>(),
    pure::<central::Central>(),
    pure::<nat::Nat>(),
    pure::<nat::force::Force>(),
    pure::<common::Common>(),
    pure::<admission::Admission>(),
    pure::<neighbor::Learning>(),
    pure::<neighbor::PortLookup>(),
    pure::<ip_input::IpInput>(),
    allocator::<numbers::Numbers>(),
    allocator::<bfd::SourcePorts>(),
    pure::<bfd::Sessions>(),
    pure::<bfd::Input>(),
    pure::<hop::Networks>(),
    pure::<route::Connected>(),
    pure::<route::PortTable>(),
    pure::<static_route::Resolved>(),
    pure::<static_route::Static>(),
    pure::<chain::Circles>(),
    pure::<policy::Policies>(),
    pure::<twin_mac::TwinMacs>(),
    pure::<resolve::SwitchPorts>(),
    pure::<resolve::RouterPorts>(),
    pure::<mtu::Mtu>(),
    pure::<delivery::Delivery>(),
    pure::<advert::Adverts>(),
    pure::<advert::Answers>(),
    pure::<delegation::Delegation>(),
];

/// `register = value;`
fn set(register: RegisterField, value: impl Into<weft_lang::Const>) -> Action {
    Action::set(register.field(), value)
}

/// `a <-> b;` of both Ethernet addresses.
const SWAP_ETH: Action = Action::Exchange(field::ETH_DST, field::ETH_SRC);
/// `flags.loopback = 1;`: the packet may leave through the port it came from.
fn loopback() -> Action {
    Action::set(field::FLAGS_LOOPBACK, 1)
}

/// The Ethernet multicast address of an IPv6 multicast address (RFC 2464, 7).
fn multicast_mac(address: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = address.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Matches packets that the router has not already sent back to itself.
fn not_looped() -> Expr {
    pipeline::EGRESS_LOOPBACK.field().eq(0)
}

/// An address of either family with what to do with it: the registers and fields of the two differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ip {
    /// IPv4.
    V4(Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr),
}

impl Ip {
    /// The register that holds a next hop of this family.
    fn next_hop(self) -> weft_lang::Field {
        match self {
            Ip::V4(_) => pipeline::NEXT_HOP_IP4.field(),
            Ip::V6(_) => pipeline::NEXT_HOP_IP6.field(),
        }
    }

    /// The register that holds the router's own address on the way to the next hop.
    fn source(self) -> weft_lang::Field {
        match self {
            Ip::V4(_) => pipeline::SOURCE_IP4.field(),
            Ip::V6(_) => pipeline::SOURCE_IP6.field(),
        }
    }
}

impl From<Ip> for std::net::IpAddr {
    fn from(ip: Ip) -> Self {
        match ip {
            Ip::V4(ip) => ip.into(),
            Ip::V6(ip) => ip.into(),
        }
    }
}

impl From<Ip> for weft_lang::Const {
    fn from(ip: Ip) -> Self {
        match ip {
            Ip::V4(ip) => ip.into(),
            Ip::V6(ip) => ip.into(),
        }
    }
}
