//! Router advertisements from what northd says of a router port: as options of `put_nd_ra_opts`, or of the port's binding.
//!
//! Guarantees: from both the same is told; nothing expires, for who follows the southbound needs no timers. An option that
//! cannot be used is named in the error.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use weft_lang::action::PacketOption;
use weft_lang::constant::prefix_len;
use weft_lang::{Const, Int};
use weft_ovsdb::model::{Map, Str};
use weft_packet::Mac;
use weft_packet::dns::Name;
use weft_packet::nd::{self, Message, NdOption, RouterAdvert};

/// Never ends (RFC 4861, section 4.6.2).
const FOREVER: u32 = u32::MAX;
/// As long as a default router can be told for.
const ROUTER_LIFETIME: u16 = u16::MAX;
const HOP_LIMIT: u8 = 255;
/// No smaller MTU is told (RFC 8200, section 5).
const MTU_MIN: u32 = 1280;

/// How hosts get their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    /// Flags of the message: managed addresses, other configuration (RFC 4861, section 4.2).
    flags: u8,
    /// Flags of prefixes: on the link, for addresses of one's own (section 4.6.2).
    prefix_flags: u8,
}

impl Mode {
    fn parse(text: &str) -> Option<Mode> {
        let (flags, prefix_flags) = match text {
            "slaac" => (0, 0xc0),
            "dhcpv6_stateful" => (0x80, 0x80),
            "dhcpv6_stateless" => (0x40, 0xc0),
            _ => return None,
        };
        Some(Mode {
            flags,
            prefix_flags,
        })
    }
}

/// Bits 3 and 4 (RFC 4191, section 2.1).
fn preference(text: &str) -> Option<u8> {
    Some(match text {
        "HIGH" => 0x08,
        "MEDIUM" => 0x00,
        "LOW" => 0x18,
        _ => return None,
    })
}

fn prefix(net: Ipv6Net, mode: Mode) -> NdOption {
    NdOption::Prefix {
        len: net.prefix_len(),
        flags: mode.prefix_flags,
        valid: FOREVER,
        preferred: FOREVER,
        prefix: net.network(),
    }
}

fn rdnss(servers: Vec<Ipv6Addr>) -> NdOption {
    NdOption::DnsServers {
        lifetime: FOREVER,
        servers,
    }
}

/// Domains separated by commas.
fn search_list(text: &str) -> Option<NdOption> {
    let names = text.split(',').map(str::trim).filter(|n| !n.is_empty());
    let domains: Vec<Name> = names.map(Name::new).collect::<Result<_, _>>().ok()?;
    (!domains.is_empty()).then_some(NdOption::SearchList {
        lifetime: FOREVER,
        domains,
    })
}

/// `PREFERENCE-PREFIX/LENGTH`, separated by commas.
fn routes(text: &str) -> Option<Vec<NdOption>> {
    let routes = text.split(',').map(str::trim).filter(|r| !r.is_empty());
    routes
        .map(|text| {
            let (first, net) = text.split_once('-')?;
            let net: Ipv6Net = net.parse().ok()?;
            Some(NdOption::Route {
                len: net.prefix_len(),
                flags: preference(first)?,
                lifetime: FOREVER,
                prefix: net.network(),
            })
        })
        .collect()
}

/// The message from its ICMPv6 header on, with a checksum of zero.
fn message(mode: Mode, preference: u8, options: &[NdOption]) -> Vec<u8> {
    let advert = RouterAdvert {
        hop_limit: HOP_LIMIT,
        flags: mode.flags | preference,
        lifetime: ROUTER_LIFETIME,
        reachable_ms: 0,
        retransmit_ms: 0,
    };
    nd::body(&Message::RouterAdvert(advert), options)
}

fn integer(option: &PacketOption) -> Option<&Int> {
    match option.values() {
        [one] => one.as_int(),
        _ => None,
    }
}

fn text(option: &PacketOption) -> Option<&str> {
    match option.values() {
        [Const::Str(text)] => Some(text),
        _ => None,
    }
}

fn network(int: &Int) -> Option<Ipv6Net> {
    let len = int.mask().map_or(Some(128), |mask| prefix_len(mask, 128))?;
    Ipv6Net::new(int.value().into(), len).ok()
}

/// The advertisement of `put_nd_ra_opts`, its options in the order given.
///
/// # Errors
/// With the name of what is missing or cannot be used.
pub fn of_action(options: &[PacketOption]) -> Result<Vec<u8>, String> {
    let named = |name: &str| options.iter().find(|option| &*option.name == name);
    let mode = named("addr_mode").and_then(text).and_then(Mode::parse);
    let mode = mode.ok_or("addr_mode")?;
    if named("slla").is_none() {
        return Err("slla".into());
    }
    let mut prf = 0;
    let mut told = Vec::new();
    for option in options {
        let bad = || option.name.to_string();
        match &*option.name {
            "addr_mode" => {}
            "slla" => {
                let mac = integer(option).map(|int| Mac::from_u64(int.value() as u64));
                told.push(NdOption::SourceMac(mac.ok_or_else(bad)?));
            }
            "mtu" => {
                let mtu = integer(option).and_then(|int| u32::try_from(int.value()).ok());
                told.push(NdOption::Mtu(mtu.ok_or_else(bad)?));
            }
            "router_preference" => {
                prf = text(option).and_then(preference).ok_or_else(bad)?;
            }
            "rdnss" => {
                let servers = option.values().iter().map(|value| value.as_int());
                let servers: Option<Vec<Ipv6Addr>> =
                    servers.map(|int| Some(int?.value().into())).collect();
                told.push(rdnss(servers.ok_or_else(bad)?));
            }
            "dnssl" => told.push(text(option).and_then(search_list).ok_or_else(bad)?),
            "route_info" => told.extend(text(option).and_then(routes).ok_or_else(bad)?),
            "prefix" => {
                for value in option.values() {
                    let net = value.as_int().and_then(network).ok_or_else(bad)?;
                    told.push(prefix(net, mode));
                }
            }
            _ => return Err(bad()),
        }
    }
    Ok(message(mode, prf, &told))
}

/// What is to be advertised unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unasked {
    /// The message from its ICMPv6 header on, with a checksum of zero.
    pub message: Vec<u8>,
    /// The router's.
    pub mac: Mac,
    /// The router's.
    pub link_local: Ipv6Addr,
    /// Least and greatest number of seconds from one to the next.
    pub seconds: (u64, u64),
}

/// The advertisement that the options of a router port's binding (`ipv6_ra_...`) ask for. What of them cannot be used is
/// left out; without the mode and the addresses there is none.
pub fn of_binding(options: &Map<Str, Str>) -> Option<Unasked> {
    let get = |key: &str| options.get(&*format!("ipv6_ra_{key}")).map(|text| &**text);
    let number = |key: &str| get(key).and_then(|text| text.parse::<u64>().ok());
    let mode = Mode::parse(get("address_mode")?)?;
    let mac: Mac = get("src_eth")?.parse().ok()?;
    let link_local = get("src_addr")?.parse().ok()?;
    let most = number("max_interval").unwrap_or(600).clamp(4, 1800);
    let least = number("min_interval").unwrap_or(most / 3).clamp(3, most);
    let mut told = vec![NdOption::SourceMac(mac)];
    let mtu = number("mtu").and_then(|mtu| u32::try_from(mtu).ok());
    told.extend(mtu.filter(|mtu| *mtu >= MTU_MIN).map(NdOption::Mtu));
    let prefixes = get("prefixes").unwrap_or_default().split([' ', ',']);
    let nets = prefixes.filter_map(|text| text.parse::<Ipv6Net>().ok());
    told.extend(nets.map(|net| prefix(net, mode)));
    let server = get("rdnss").and_then(|text| text.parse().ok());
    told.extend(server.map(|server| rdnss(vec![server])));
    told.extend(get("dnssl").and_then(search_list));
    told.extend(get("route_info").and_then(routes).unwrap_or_default());
    let prf = get("prf").and_then(preference).unwrap_or(0);
    Some(Unasked {
        message: message(mode, prf, &told),
        mac,
        link_local,
        seconds: (least, most),
    })
}

#[cfg(test)]
mod tests {
    use weft_lang::{Action, parse_actions};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn action(options: &str) -> Result<Vec<u8>, String> {
        let text = format!("reg0[5] = put_nd_ra_opts({options});");
        let actions = parse_actions(&text).unwrap();
        match &actions[..] {
            [Action::PutOptions(_, _, options)] => of_action(options),
            other => panic!("{other:?}"),
        }
    }

    const SLLA: &str = "slla = 0a:00:00:00:ff:01";

    /// Options and what stock's controller of 23.03 answered, but for the checksum.
    const OF_STOCK: &[(&str, &str)] = &[
        (
            "addr_mode = \"slaac\", {SLLA}, prefix = fd00::/64",
            "86000000ff00ffff000000000000000001010a000000ff01030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"dhcpv6_stateful\", {SLLA}, prefix = fd00::/64",
            "86000000ff80ffff000000000000000001010a000000ff0103044080ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"dhcpv6_stateless\", {SLLA}, prefix = fd00::/64",
            "86000000ff40ffff000000000000000001010a000000ff01030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"slaac\", {SLLA}, mtu = 1400, prefix = fd00::/64",
            "86000000ff00ffff000000000000000001010a000000ff010501000000000578030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"slaac\", {SLLA}, router_preference = \"LOW\", prefix = fd00::/64",
            "86000000ff18ffff000000000000000001010a000000ff01030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"slaac\", {SLLA}, route_info = \"HIGH-::/0\", prefix = fd00::/64",
            "86000000ff00ffff000000000000000001010a000000ff0118010008ffffffff030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"slaac\", {SLLA}, mtu = 1400, router_preference = \"HIGH\", rdnss = fd00::53, dnssl = \"a.b.c,d\", route_info = \"HIGH-aef1::11/48,LOW-aef2::11/96\", prefix = fd00::/64",
            "86000000ff08ffff000000000000000001010a000000ff01050100000000057819030000fffffffffd0000000000000000000000000000531f030000ffffffff0161016201630001640000000000000018023008ffffffffaef100000000000018036018ffffffffaef20000000000000000000000000000030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
        (
            "addr_mode = \"slaac\", {SLLA}, dnssl = \"example.org\", prefix = fd00::/64",
            "86000000ff00ffff000000000000000001010a000000ff011f030000ffffffff076578616d706c65036f726700000000030440c0ffffffffffffffff00000000fd000000000000000000000000000000",
        ),
    ];

    #[test]
    fn advertises_as_stock() {
        for (options, expected) in OF_STOCK {
            let told = action(&options.replace("{SLLA}", SLLA)).unwrap();
            assert_eq!(hex(&told), *expected, "{options}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let of = |options: &str| {
            let all = format!("addr_mode = \"slaac\", {SLLA}, {options}");
            action(&all).unwrap_err()
        };
        assert_eq!(of("router_preference = \"odd\""), "router_preference");
        assert_eq!(of("rdnss = \"x\""), "rdnss");
        assert_eq!(of("dnssl = \"a..b\""), "dnssl");
        assert_eq!(of("route_info = \"fd00::/64\""), "route_info");
        assert_eq!(of("prefix = \"x\""), "prefix");
        assert_eq!(of("mtu = {1, 2}"), "mtu");
        assert_eq!(of("other = 1"), "other");
        assert_eq!(action(SLLA).unwrap_err(), "addr_mode");
        assert_eq!(action("addr_mode = \"slaac\"").unwrap_err(), "slla");
    }

    fn options(more: &[(&str, &str)]) -> Map<Str, Str> {
        let base = [
            ("ipv6_ra_address_mode", "slaac"),
            ("ipv6_ra_src_eth", "0a:00:00:00:ff:01"),
            ("ipv6_ra_src_addr", "fe80::800:ff:fe00:ff01"),
            ("ipv6_ra_prefixes", "fd00::/64"),
        ];
        let all = base.iter().chain(more);
        all.map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn unasked_as_stock() {
        let told = of_binding(&options(&[
            ("ipv6_ra_mtu", "1400"),
            ("ipv6_ra_prf", "HIGH"),
            ("ipv6_ra_rdnss", "fd00::53"),
            ("ipv6_ra_dnssl", "a.b.c,d"),
            ("ipv6_ra_route_info", "HIGH-aef1::11/48,LOW-aef2::11/96"),
            ("ipv6_ra_max_interval", "30"),
            ("ipv6_ra_min_interval", "5"),
        ]))
        .unwrap();
        assert_eq!(
            hex(&told.message),
            "86000000ff08ffff000000000000000001010a000000ff010501000000000578030440c0ffffffffffffffff00000000fd00000000000000000000000000000019030000fffffffffd0000000000000000000000000000531f030000ffffffff0161016201630001640000000000000018023008ffffffffaef100000000000018036018ffffffffaef20000000000000000000000000000"
        );
        assert_eq!(told.seconds, (5, 30));
        let plain = of_binding(&options(&[("ipv6_ra_mtu", "x"), ("ipv6_ra_rdnss", "y")]));
        let plain = plain.unwrap();
        assert_eq!(hex(&plain.message), OF_STOCK[0].1);
        assert_eq!(plain.seconds, (200, 600));
        assert_eq!(of_binding(&Map::default()), None);
    }
}
