//! Ethernet and IP addresses as the northbound writes them.
//!
//! Columns hold free text (`"0a:00:00:00:00:01 10.0.0.1 fd00::1"`, `"dynamic"`, `"router"`, `"unknown"`); it is parsed
//! here once, and what does not parse is told with the text itself so that the rest of the column stays of use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_lang::Const;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Group addresses: broadcast and multicast.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The address as the low 48 bits of a number.
    pub fn to_bits(self) -> u64 {
        self.0
            .iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    /// The low 48 bits of a number as an address.
    pub fn from_bits(bits: u64) -> Mac {
        let b = bits.to_be_bytes();
        Mac([b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// The interface identifier made of it (RFC 4291, appendix A): modified EUI-64.
    fn interface_id(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }

    /// The IPv6 address with this interface identifier in a network.
    pub fn eui64(self, prefix: Ipv6Addr) -> Ipv6Addr {
        let prefix = prefix.to_bits() >> 64 << 64;
        Ipv6Addr::from_bits(prefix | u128::from(self.interface_id()))
    }

    /// The link-local IPv6 address that belongs to it.
    pub fn link_local(self) -> Ipv6Addr {
        self.eui64(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Mac> for Const {
    fn from(mac: Mac) -> Const {
        mac.0.into()
    }
}

impl FromStr for Mac {
    type Err = NotMac;

    /// Six groups of one or two hexadecimal digits between colons.
    fn from_str(text: &str) -> Result<Mac, NotMac> {
        let mut mac = [0; 6];
        let mut groups = text.split(':');
        for byte in &mut mac {
            let group = groups.next().ok_or(NotMac)?;
            let digits =
                (1..=2).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = digits
                .then(|| u8::from_str_radix(group, 16).ok())
                .flatten()
                .ok_or(NotMac)?;
        }
        if groups.next().is_some() {
            Err(NotMac)
        } else {
            Ok(Mac(mac))
        }
    }
}

/// Not an Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ethernet address")]
pub struct NotMac;

/// The multicast address that solicitations for `ip` go to (RFC 4291, 2.7.1).
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let base = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    Ipv6Addr::from_bits(base | ip.to_bits() & 0xff_ffff)
}

/// An IP address, maybe with a prefix length; the bits of the host are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefixed {
    /// IPv4.
    V4(Ipv4Net),
    /// IPv6.
    V6(Ipv6Net),
}

impl Prefixed {
    /// The network that it is in, without the bits of the host.
    pub fn network(self) -> IpNet {
        let net: IpNet = match self {
            Prefixed::V4(net) => net.into(),
            Prefixed::V6(net) => net.into(),
        };
        net.trunc()
    }
}

/// Parses `10.0.0.1`, `10.0.0.1/24`, `10.0.0.1/255.255.255.0`, `fd00::1` or `fd00::1/64`. No length means all bits.
pub fn parse_prefixed(text: &str) -> Option<Prefixed> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    match ip.parse().ok()? {
        IpAddr::V4(ip) => {
            let length = match length {
                None => 32,
                Some(mask) if mask.contains('.') => {
                    ipnet::ipv4_mask_to_prefix(mask.parse().ok()?).ok()?
                }
                Some(length) => digits(length)?,
            };
            Ipv4Net::new(ip, length).ok().map(Prefixed::V4)
        }
        IpAddr::V6(ip) => {
            let length = length.map_or(Some(128), digits)?;
            Ipv6Net::new(ip, length).ok().map(Prefixed::V6)
        }
    }
}

fn digits(text: &str) -> Option<u8> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// An Ethernet address with the IP addresses behind it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Addresses {
    /// Ethernet address.
    pub mac: Mac,
    /// IPv4 addresses with their networks, in the order written.
    pub v4: Vec<Ipv4Net>,
    /// IPv6 addresses with their networks, in the order written.
    pub v6: Vec<Ipv6Net>,
}

impl Addresses {
    /// Of an Ethernet address alone.
    pub fn new(mac: Mac) -> Addresses {
        Addresses {
            mac,
            ..Addresses::default()
        }
    }

    /// The IPv4 addresses without their networks.
    pub fn ip4s(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.v4.iter().map(|net| net.addr())
    }

    /// The IPv6 addresses without their networks.
    pub fn ip6s(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.v6.iter().map(|net| net.addr())
    }

    fn push(&mut self, address: Prefixed) {
        match address {
            Prefixed::V4(net) => self.v4.push(net),
            Prefixed::V6(net) => self.v6.push(net),
        }
    }

    /// The addresses of a router port: `mac` and `networks`, and the link-local address that every port has.
    ///
    /// The second part names the texts that did not parse; without an Ethernet address there is nothing.
    pub fn of_router_port<'t>(
        mac: &str,
        networks: impl IntoIterator<Item = &'t str>,
    ) -> (Option<Addresses>, Vec<Problem>) {
        let mut problems = Vec::new();
        let Ok(mac) = mac.parse() else {
            return (None, vec![Problem::new(mac, "is not an Ethernet address")]);
        };
        let mut addresses = Addresses::new(mac);
        for network in networks {
            match parse_prefixed(network) {
                Some(address) => addresses.push(address),
                None => problems.push(Problem::new(
                    network,
                    "is not an address with a prefix length",
                )),
            }
        }
        let local = mac.link_local();
        if !addresses.ip6s().any(|ip| ip == local) {
            addresses.v6.extend(Ipv6Net::new(local, 64));
        }
        (Some(addresses), problems)
    }
}

/// An element of `Logical_Switch_Port.addresses`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortAddress {
    /// `unknown`: whatever nobody else is known to have.
    Unknown,
    /// `router`: those of the router port it leads to.
    Router,
    /// `dynamic`, `MAC dynamic`, `dynamic IP...`: what northd assigns, some of it wished for.
    Dynamic {
        /// Wanted Ethernet address.
        mac: Option<Mac>,
        /// Wanted IPv4 address.
        v4: Option<Ipv4Addr>,
        /// Wanted IPv6 address.
        v6: Option<Ipv6Addr>,
    },
    /// `MAC IP...`
    Static(Addresses),
}

/// A part of a column that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{text}\" {what}")]
pub struct Problem {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Problem {
    fn new(text: &str, what: &'static str) -> Problem {
        Problem {
            text: text.to_owned(),
            what,
        }
    }
}

/// Parses an element of `Logical_Switch_Port.addresses`. Parts that do not parse are left out and told; `None` when
/// nothing is left.
pub fn parse_port_address(text: &str) -> (Option<PortAddress>, Vec<Problem>) {
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else {
        return (None, vec![Problem::new(text, "is empty")]);
    };
    match first {
        "unknown" | "router" => {
            let problems = words
                .map(|word| Problem::new(word, "cannot follow a keyword"))
                .collect();
            let keyword = if first == "router" {
                PortAddress::Router
            } else {
                PortAddress::Unknown
            };
            (Some(keyword), problems)
        }
        "dynamic" => dynamic(None, words),
        _ => {
            let Ok(mac) = first.parse() else {
                return (
                    None,
                    vec![Problem::new(
                        first,
                        "is neither an Ethernet address nor a keyword",
                    )],
                );
            };
            let mut rest = words.clone();
            if rest.next() == Some("dynamic") {
                return dynamic(Some(mac), rest);
            }
            let (mut addresses, mut problems) = (Addresses::new(mac), Vec::new());
            for word in words {
                match parse_prefixed(word) {
                    Some(address) => addresses.push(address),
                    None => problems.push(Problem::new(word, "is not an IP address")),
                }
            }
            (Some(PortAddress::Static(addresses)), problems)
        }
    }
}

fn dynamic<'t>(
    mac: Option<Mac>,
    wishes: impl Iterator<Item = &'t str>,
) -> (Option<PortAddress>, Vec<Problem>) {
    let (mut v4, mut v6, mut problems) = (None, None, Vec::new());
    for word in wishes {
        match word.parse() {
            Ok(IpAddr::V4(ip)) if v4.is_none() => v4 = Some(ip),
            Ok(IpAddr::V6(ip)) if v6.is_none() => v6 = Some(ip),
            Ok(_) => problems.push(Problem::new(word, "is one wanted address too many")),
            Err(_) => problems.push(Problem::new(word, "is not an IP address")),
        }
    }
    (Some(PortAddress::Dynamic { mac, v4, v6 }), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(text: &str) -> Mac {
        text.parse().unwrap()
    }

    #[test]
    fn ethernet_addresses() {
        assert_eq!(mac("0:1:a:B:cc:0d").to_string(), "00:01:0a:0b:cc:0d");
        assert_eq!(
            Mac::from_bits(mac("0a:00:00:00:00:01").to_bits()),
            mac("0a:00:00:00:00:01")
        );
        for bad in [
            "",
            "0a:00:00:00:00",
            "0a:00:00:00:00:01:02",
            "0a:00:00:00:00:0g",
            "0a0000000001",
            "+a:0:0:0:0:0",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(NotMac), "{bad}");
        }
        assert_eq!(
            mac("00:00:00:00:ff:01").link_local().to_string(),
            "fe80::200:ff:fe00:ff01"
        );
        assert_eq!(
            solicited_node("fd00::12:3456".parse().unwrap()).to_string(),
            "ff02::1:ff12:3456"
        );
    }

    #[test]
    fn prefixes() {
        let net = |text: &str| parse_prefixed(text);
        assert_eq!(
            net("10.0.0.1"),
            Some(Prefixed::V4("10.0.0.1/32".parse().unwrap()))
        );
        assert_eq!(
            net("10.0.0.1/24"),
            Some(Prefixed::V4("10.0.0.1/24".parse().unwrap()))
        );
        assert_eq!(
            net("10.0.0.1/255.255.0.0"),
            Some(Prefixed::V4("10.0.0.1/16".parse().unwrap()))
        );
        assert_eq!(
            net("fd00::1/64"),
            Some(Prefixed::V6("fd00::1/64".parse().unwrap()))
        );
        for bad in [
            "10.0.0.300",
            "10.0.0.1/33",
            "10.0.0.1/255.0.255.0",
            "fd00::1/129",
            "10.0.0.1/+8",
            "fd00::1/",
            "x",
        ] {
            assert_eq!(net(bad), None, "{bad}");
        }
    }

    #[test]
    fn port_addresses() {
        let good = |text: &str| match parse_port_address(text) {
            (Some(address), problems) if problems.is_empty() => address,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(good("unknown"), PortAddress::Unknown);
        assert_eq!(good("router"), PortAddress::Router);
        assert_eq!(
            good("dynamic"),
            PortAddress::Dynamic {
                mac: None,
                v4: None,
                v6: None
            }
        );
        let wanted = PortAddress::Dynamic {
            mac: None,
            v4: Some([10, 0, 0, 5].into()),
            v6: Some(Ipv6Addr::LOCALHOST),
        };
        assert_eq!(good("dynamic 10.0.0.5 ::1"), wanted);
        let wanted = PortAddress::Dynamic {
            mac: Some(mac("0a:0:0:0:0:1")),
            v4: None,
            v6: None,
        };
        assert_eq!(good("0a:00:00:00:00:01 dynamic"), wanted);
        let PortAddress::Static(addresses) =
            good(" 0a:00:00:00:00:01  10.0.0.1 fd00::1 10.0.0.2/24")
        else {
            panic!()
        };
        assert_eq!(
            addresses.ip4s().collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]
        );
        assert_eq!(addresses.v6.len(), 1);
    }

    #[test]
    fn what_does_not_parse_is_told_and_the_rest_kept() {
        let (address, problems) = parse_port_address("0a:00:00:00:00:01 10.0.0.300 fd00::1");
        let Some(PortAddress::Static(addresses)) = address else {
            panic!()
        };
        assert_eq!((addresses.v4.len(), addresses.v6.len()), (0, 1));
        assert_eq!(
            problems[0].to_string(),
            "\"10.0.0.300\" is not an IP address"
        );
        assert_eq!(parse_port_address("nonsense").0, None);
        assert_eq!(parse_port_address("").0, None);
        assert_eq!(parse_port_address("dynamic 10.0.0.1 10.0.0.2").1.len(), 1);
    }

    #[test]
    fn router_ports_have_a_link_local_address() {
        let (addresses, problems) =
            Addresses::of_router_port("0a:00:00:00:00:01", ["10.0.0.1/24", "fd00::1/64", "x"]);
        let addresses = addresses.unwrap();
        let ips: Vec<_> = addresses.ip6s().map(|ip| ip.to_string()).collect();
        assert_eq!(ips, ["fd00::1", "fe80::800:ff:fe00:1"]);
        assert_eq!(problems.len(), 1);
        assert!(Addresses::of_router_port("zz", []).0.is_none());
    }
}
