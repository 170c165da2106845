//! DHCP: what clients of switch ports are told.
//!
//! [`catalog`] is what options there are; a row of `DHCP_Options` is read once ([`settings`]) however many ports refer to
//! it; each port has the flows that make its chassis answer ([`port`]). Router ports pass questions on ([`relay`]).

pub mod catalog;
pub mod port;
pub mod relay;
pub mod settings;
#[cfg(test)]
mod tests;

use crate::program::{Entry, pure};

/// The kinds of units of DHCP.
pub const KINDS: &[Entry] = &[
    pure::<catalog::Catalog>(),
    pure::<settings::Settings>(),
    pure::<port::Ports>(),
    pure::<relay::Relay>(),
    pure::<relay::RelayPort>(),
];
