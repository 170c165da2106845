//! Reading and building the packets the controller answers.
//!
//! ARP, neighbour discovery, IGMP and MLD, ICMP errors, resets and aborts, UDP, DNS, DHCP, BFD. Everything here is a pure
//! function of bytes and numbers; what cannot be read is a [`ParseError`], never a panic. Headers that etherparse knows are read
//! and written by it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod arp;
pub mod bfd;
mod checksum;
pub mod delegation;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
mod ethernet;
pub mod icmp;
pub mod igmp;
mod ip;
mod kinds;
pub mod membership;
pub mod mld;
pub mod nd;
pub mod transport;

pub use checksum::{crc32c, internet_checksum};
pub use ethernet::{Ethernet, Frame, Mac, Vlan, ethertype};
pub use ip::{Ip, IpHeader, protocol};

/// Why a packet could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes end too early.
    #[error("{0}: too short")]
    Short(&'static str),
    /// A field says what cannot be.
    #[error("{0}: malformed")]
    Malformed(&'static str),
    /// It is another kind of packet.
    #[error("not {0}")]
    Other(&'static str),
    /// The checksum is wrong.
    #[error("{0}: wrong checksum")]
    Checksum(&'static str),
}

/// The first `N` bytes at `at`.
fn array<const N: usize>(
    bytes: &[u8],
    at: usize,
    what: &'static str,
) -> Result<[u8; N], ParseError> {
    let end = at.checked_add(N).ok_or(ParseError::Short(what))?;
    bytes
        .get(at..end)
        .and_then(|b| b.try_into().ok())
        .ok_or(ParseError::Short(what))
}
