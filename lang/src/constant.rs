//! Constants of the language: integers in the forms ovn-sb(5) knows, masked or not, strings, set and group names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::of::ones;

/// Interned-by-reference text, shared between expressions.
pub type Str = Arc<str>;

/// How an integer constant is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `42`
    Dec,
    /// `0x2a`
    Hex,
    /// `10.0.0.1`
    Ip4,
    /// `fd00::1`
    Ip6,
    /// `0a:00:00:00:00:01`
    Mac,
}

impl Format {
    /// Bits that a constant in this form occupies: a form fixes the width of a mask, numbers do not.
    pub fn width(self) -> Option<u8> {
        match self {
            Format::Dec | Format::Hex => None,
            Format::Ip4 => Some(32),
            Format::Ip6 => Some(128),
            Format::Mac => Some(48),
        }
    }
}

/// An integer constant with an optional mask.
///
/// Bits outside the mask are zero, and a mask that covers the whole form (`10.0.0.1/32`) is no mask.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int {
    value: u128,
    /// All ones means that there is no mask.
    mask: u128,
    format: Format,
}

impl Int {
    /// An exact value.
    pub const fn new(value: u128, format: Format) -> Self {
        Int {
            value,
            mask: u128::MAX,
            format,
        }
    }

    /// A masked value; bits of `value` outside `mask` are cleared.
    pub fn masked(value: u128, mask: u128, format: Format) -> Self {
        let full = match format.width() {
            Some(width) => mask & ones(width) == ones(width),
            None => false,
        };
        let mask = if full { u128::MAX } else { mask };
        Int {
            value: value & mask,
            mask,
            format,
        }
    }

    /// The value, without regard to the mask.
    pub const fn value(&self) -> u128 {
        self.value
    }

    /// The mask, if there is one.
    pub const fn mask(&self) -> Option<u128> {
        if self.mask == u128::MAX {
            None
        } else {
            Some(self.mask)
        }
    }

    /// How it is written.
    pub const fn format(&self) -> Format {
        self.format
    }
}

/// One constant: an operand of a comparison, or the right side of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Const {
    /// An integer.
    Int(Int),
    /// A quoted string, usually a port name.
    Str(Str),
    /// `$name`, an address set.
    Set(Str),
    /// `@name`, a port group.
    Group(Str),
    /// `^name`, a value that every chassis has its own of. Chassis put theirs into the text before they parse it, so this
    /// is only ever written.
    Template(Str),
}

impl Const {
    /// An integer that is written in hexadecimal.
    pub const fn hex(value: u128) -> Self {
        Const::Int(Int::new(value, Format::Hex))
    }

    /// `value/mask` in hexadecimal.
    pub fn hex_masked(value: u128, mask: u128) -> Self {
        Const::Int(Int::masked(value, mask, Format::Hex))
    }

    /// A MAC address under a mask, as `01:00:00:00:00:00/01:00:00:00:00:00`.
    pub fn mac_masked(value: [u8; 6], mask: [u8; 6]) -> Self {
        Const::Int(Int::masked(mac_bits(value), mac_bits(mask), Format::Mac))
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<&Int> {
        match self {
            Const::Int(int) => Some(int),
            _ => None,
        }
    }
}

/// A MAC address as the low 48 bits.
pub fn mac_bits(mac: [u8; 6]) -> u128 {
    mac.iter()
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

/// The low 48 bits as a MAC address.
pub fn bits_mac(bits: u128) -> [u8; 6] {
    let b = bits.to_be_bytes();
    [b[10], b[11], b[12], b[13], b[14], b[15]]
}

macro_rules! from_unsigned {
    ($($t:ty),*) => { $(impl From<$t> for Const {
        fn from(value: $t) -> Self {
            Const::Int(Int::new(u128::from(value), Format::Dec))
        }
    })* };
}
from_unsigned!(u8, u16, u32, u64, u128, bool);

impl From<i32> for Const {
    /// For literals in code; the language has no negative numbers, one becomes zero.
    fn from(value: i32) -> Self {
        Const::Int(Int::new(
            u128::from(value.max(0).unsigned_abs()),
            Format::Dec,
        ))
    }
}

impl From<Int> for Const {
    fn from(value: Int) -> Self {
        Const::Int(value)
    }
}

impl From<Ipv4Addr> for Const {
    fn from(ip: Ipv4Addr) -> Self {
        Const::Int(Int::new(u128::from(ip.to_bits()), Format::Ip4))
    }
}

impl From<Ipv6Addr> for Const {
    fn from(ip: Ipv6Addr) -> Self {
        Const::Int(Int::new(ip.to_bits(), Format::Ip6))
    }
}

impl From<IpAddr> for Const {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<Ipv4Net> for Const {
    fn from(net: Ipv4Net) -> Self {
        let mask = u128::from(net.netmask().to_bits());
        Const::Int(Int::masked(
            u128::from(net.addr().to_bits()),
            mask,
            Format::Ip4,
        ))
    }
}

impl From<Ipv6Net> for Const {
    fn from(net: Ipv6Net) -> Self {
        Const::Int(Int::masked(
            net.addr().to_bits(),
            net.netmask().to_bits(),
            Format::Ip6,
        ))
    }
}

impl From<IpNet> for Const {
    fn from(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => net.into(),
            IpNet::V6(net) => net.into(),
        }
    }
}

impl From<[u8; 6]> for Const {
    fn from(mac: [u8; 6]) -> Self {
        Const::Int(Int::new(mac_bits(mac), Format::Mac))
    }
}

impl From<&str> for Const {
    fn from(text: &str) -> Self {
        Const::Str(text.into())
    }
}

impl From<&Str> for Const {
    fn from(text: &Str) -> Self {
        Const::Str(text.clone())
    }
}

impl From<Str> for Const {
    fn from(text: Str) -> Self {
        Const::Str(text)
    }
}

impl From<String> for Const {
    fn from(text: String) -> Self {
        Const::Str(text.into())
    }
}

/// Writes one number in the given form.
fn write_bits(f: &mut fmt::Formatter<'_>, bits: u128, format: Format) -> fmt::Result {
    match format {
        Format::Dec => match u64::try_from(bits) {
            // The stock lexer takes decimals up to 64 bits, wider numbers only in hexadecimal.
            Ok(small) => write!(f, "{small}"),
            Err(_) => write!(f, "{bits:#x}"),
        },
        Format::Hex => write!(f, "{bits:#x}"),
        Format::Ip4 => write!(f, "{}", Ipv4Addr::from_bits(bits as u32)),
        Format::Ip6 => write!(f, "{}", Ipv6Addr::from_bits(bits)),
        Format::Mac => {
            let [a, b, c, d, e, g] = bits_mac(bits);
            write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
        }
    }
}

/// The prefix length, if `mask` is a CIDR mask of `width` bits.
pub fn prefix_len(mask: u128, width: u8) -> Option<u8> {
    let mask = mask & ones(width);
    let len = mask.count_ones() as u8;
    (mask == ones(width) & !ones(width - len)).then_some(len)
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bits(f, self.value, self.format)?;
        let Some(mask) = self.mask() else {
            return Ok(());
        };
        f.write_str("/")?;
        match self.format {
            Format::Ip4 | Format::Ip6 => {
                let width = self.format.width().unwrap_or(128);
                match prefix_len(mask, width) {
                    Some(len) => write!(f, "{len}"),
                    None => write_bits(f, mask, self.format),
                }
            }
            format => write_bits(f, mask, format),
        }
    }
}

/// Writes a string in quotes with the escapes of JSON.
pub fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Const::Int(int) => int.fmt(f),
            Const::Str(text) => write_quoted(f, text),
            Const::Set(name) => write!(f, "${name}"),
            Const::Group(name) => write!(f, "@{name}"),
            Const::Template(name) => write!(f, "^{name}"),
        }
    }
}
