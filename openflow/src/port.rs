//! OpenFlow port numbers.

use std::fmt;

/// A port number; the reserved ones have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u32);

impl Port {
    /// No port in a match of `unset`.
    pub const UNSET: Port = Port(0xffff_fff7);
    /// Back out of where the packet came from.
    pub const IN_PORT: Port = Port(0xffff_fff8);
    /// Through the flow tables (packet-out only).
    pub const TABLE: Port = Port(0xffff_fff9);
    /// The switch's own layer 2 forwarding.
    pub const NORMAL: Port = Port(0xffff_fffa);
    /// All ports that take floods.
    pub const FLOOD: Port = Port(0xffff_fffb);
    /// All ports.
    pub const ALL: Port = Port(0xffff_fffc);
    /// The controller.
    pub const CONTROLLER: Port = Port(0xffff_fffd);
    /// The bridge's own port.
    pub const LOCAL: Port = Port(0xffff_fffe);
    /// Any port, or none.
    pub const ANY: Port = Port(0xffff_ffff);

    /// From the 16-bit form of Nicira actions and registers, where the reserved ports are 0xfff7 and up.
    #[must_use]
    pub fn from_u16(port: u16) -> Port {
        if port >= 0xfff7 {
            Port(0xffff_0000 | u32::from(port))
        } else {
            Port(u32::from(port))
        }
    }

    /// The 16-bit form. Open vSwitch never numbers a port above 0xfeff, so nothing is lost.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn to_u16(self) -> u16 {
        self.0 as u16
    }
}

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self::from_u16(port)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Port::UNSET => f.write_str("UNSET"),
            Port::IN_PORT => f.write_str("IN_PORT"),
            Port::TABLE => f.write_str("TABLE"),
            Port::NORMAL => f.write_str("NORMAL"),
            Port::FLOOD => f.write_str("FLOOD"),
            Port::ALL => f.write_str("ALL"),
            Port::CONTROLLER => f.write_str("CONTROLLER"),
            Port::LOCAL => f.write_str("LOCAL"),
            Port::ANY => f.write_str("ANY"),
            Port(n) => write!(f, "{n}"),
        }
    }
}
