//! Neighbour discovery (RFC 4861).

use std::net::Ipv6Addr;

use crate::dns::Name;
use crate::{Ethernet, Frame, Ip, IpHeader, Mac, ParseError, array, ethertype, icmp, protocol};

/// Messages of neighbour discovery go with this hop limit, and are believed only with it.
const HOP_LIMIT: u8 = 255;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const RS: u8 = 133;
const RA: u8 = 134;
const NS: u8 = 135;
const NA: u8 = 136;

/// Router flag of a neighbour advertisement.
pub const NA_ROUTER: u8 = 0x80;
/// It answers a solicitation.
pub const NA_SOLICITED: u8 = 0x40;
/// It overrides what is cached.
pub const NA_OVERRIDE: u8 = 0x20;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks for routers.
    RouterSolicit,
    /// A router tells of itself.
    RouterAdvert(RouterAdvert),
    /// Asks who has the address.
    NeighborSolicit {
        /// The address.
        target: Ipv6Addr,
    },
    /// Tells who has it.
    NeighborAdvert {
        /// The address.
        target: Ipv6Addr,
        /// [`NA_ROUTER`], [`NA_SOLICITED`], [`NA_OVERRIDE`].
        flags: u8,
    },
}

/// What a router tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterAdvert {
    /// Hop limit to use, 0 for unspecified.
    pub hop_limit: u8,
    /// Bit 7 managed addresses, bit 6 other configuration, bits 3 and 4 preference (RFC 4191).
    pub flags: u8,
    /// Seconds this is a default router; 0 for not at all.
    pub lifetime: u16,
    /// Milliseconds a neighbour is held reachable; 0 for unspecified.
    pub reachable_ms: u32,
    /// Milliseconds between solicitations; 0 for unspecified.
    pub retransmit_ms: u32,
}

/// An option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NdOption {
    /// Sender's Ethernet address (1).
    SourceMac(Mac),
    /// Target's Ethernet address (2).
    TargetMac(Mac),
    /// A prefix of the link (3).
    Prefix {
        /// Bits of the prefix.
        len: u8,
        /// Bit 7 on-link, bit 6 for autoconfiguration.
        flags: u8,
        /// Seconds it is valid.
        valid: u32,
        /// Seconds it is preferred.
        preferred: u32,
        /// The prefix.
        prefix: Ipv6Addr,
    },
    /// MTU of the link (5).
    Mtu(u32),
    /// A more specific route (24, RFC 4191).
    Route {
        /// Bits of the prefix.
        len: u8,
        /// Preference, bits 3 and 4.
        flags: u8,
        /// Seconds.
        lifetime: u32,
        /// The prefix.
        prefix: Ipv6Addr,
    },
    /// Recursive DNS servers (25, RFC 8106).
    DnsServers {
        /// Seconds.
        lifetime: u32,
        /// Servers.
        servers: Vec<Ipv6Addr>,
    },
    /// Where names are looked for that have no dot (31, RFC 8106).
    SearchList {
        /// Seconds.
        lifetime: u32,
        /// Domains.
        domains: Vec<Name>,
    },
    /// Another option: its type and body, two bytes less than a multiple of eight.
    Other(u8, Vec<u8>),
}

/// A message with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nd {
    /// IPv6 source.
    pub src: Ipv6Addr,
    /// IPv6 destination.
    pub dst: Ipv6Addr,
    /// What it says.
    pub message: Message,
    /// Options.
    pub options: Vec<NdOption>,
}

/// Where a solicitation for the address goes (RFC 4291, section 2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let o = target.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(o[13]),
        u16::from_be_bytes([o[14], o[15]]),
    )
}

impl Nd {
    /// Reads a frame, checking what RFC 4861 sections 6.1 and 7.1 want checked.
    ///
    /// # Errors
    /// When it is no neighbour discovery, malformed, from off the link, or its checksum is wrong.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, ParseError> {
        const WHAT: &str = "neighbour discovery";
        let ip = Ip::parse(frame)?;
        let (IpHeader::V6 { src, dst }, protocol::ICMPV6, false) =
            (ip.header, ip.protocol, ip.later_fragment)
        else {
            return Err(ParseError::Other(WHAT));
        };
        let b = ip.payload;
        let [kind, code, ..] = array::<8>(b, 0, WHAT)?;
        if !(RS..=NA).contains(&kind) {
            return Err(ParseError::Other(WHAT));
        }
        if code != 0 || ip.ttl != HOP_LIMIT {
            return Err(ParseError::Malformed(WHAT));
        }
        if icmp::checksum(ip.header, ip.protocol, b) != 0 {
            return Err(ParseError::Checksum(WHAT));
        }
        let target = || array::<16>(b, 8, WHAT).map(Ipv6Addr::from);
        let u32_at = |at| array(b, at, WHAT).map(u32::from_be_bytes);
        let (message, options) = match kind {
            RS => (Message::RouterSolicit, 8),
            RA => {
                let lifetime = u16::from_be_bytes(array(b, 6, WHAT)?);
                let ra = RouterAdvert {
                    hop_limit: b[4],
                    flags: b[5],
                    lifetime,
                    reachable_ms: u32_at(8)?,
                    retransmit_ms: u32_at(12)?,
                };
                (Message::RouterAdvert(ra), 16)
            }
            NS => (Message::NeighborSolicit { target: target()? }, 24),
            _ => (
                Message::NeighborAdvert {
                    target: target()?,
                    flags: b[4],
                },
                24,
            ),
        };
        Ok(Self {
            src,
            dst,
            message,
            options: parse_options(&b[options..])?,
        })
    }

    /// The first source or target Ethernet address among the options.
    #[must_use]
    pub fn link_address(&self) -> Option<Mac> {
        self.options.iter().find_map(|o| match o {
            NdOption::SourceMac(mac) | NdOption::TargetMac(mac) => Some(*mac),
            _ => None,
        })
    }

    /// The frame of it.
    #[must_use]
    pub fn frame(&self, src: Mac, dst: Mac) -> Vec<u8> {
        self.frame_in(&Ethernet::new(src, dst, ethertype::IPV6))
    }

    /// The frame of it with this header, tags included.
    #[must_use]
    pub fn frame_in(&self, ethernet: &Ethernet) -> Vec<u8> {
        let header = IpHeader::V6 {
            src: self.src,
            dst: self.dst,
        };
        let body = body(&self.message, &self.options);
        icmp::finish(ethernet, header, HOP_LIMIT, protocol::ICMPV6, body)
    }
}

/// A message with its options, from the ICMPv6 header on, with a checksum of zero.
#[must_use]
pub fn body(message: &Message, options: &[NdOption]) -> Vec<u8> {
    let mut out;
    match message {
        Message::RouterSolicit => out = vec![RS, 0, 0, 0, 0, 0, 0, 0],
        Message::RouterAdvert(ra) => {
            out = vec![RA, 0, 0, 0, ra.hop_limit, ra.flags];
            out.extend_from_slice(&ra.lifetime.to_be_bytes());
            out.extend_from_slice(&ra.reachable_ms.to_be_bytes());
            out.extend_from_slice(&ra.retransmit_ms.to_be_bytes());
        }
        Message::NeighborSolicit { target } => {
            out = vec![NS, 0, 0, 0, 0, 0, 0, 0];
            out.extend_from_slice(&target.octets());
        }
        Message::NeighborAdvert { target, flags } => {
            out = vec![NA, 0, 0, 0, *flags, 0, 0, 0];
            out.extend_from_slice(&target.octets());
        }
    }
    options.iter().for_each(|o| o.write(&mut out));
    out
}

fn parse_options(mut bytes: &[u8]) -> Result<Vec<NdOption>, ParseError> {
    const WHAT: &str = "neighbour discovery option";
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let [kind, words] = array::<2>(bytes, 0, WHAT)?;
        // An option of no length makes the message invalid (RFC 4861, section 4.6).
        if words == 0 {
            return Err(ParseError::Malformed(WHAT));
        }
        let (option, rest) = bytes
            .split_at_checked(8 * usize::from(words))
            .ok_or(ParseError::Short(WHAT))?;
        bytes = rest;
        let u32_at = |at| array(option, at, WHAT).map(u32::from_be_bytes);
        out.push(match (kind, words) {
            (1, 1) => NdOption::SourceMac(Mac(array(option, 2, WHAT)?)),
            (2, 1) => NdOption::TargetMac(Mac(array(option, 2, WHAT)?)),
            (3, 4) => NdOption::Prefix {
                len: option[2],
                flags: option[3],
                valid: u32_at(4)?,
                preferred: u32_at(8)?,
                prefix: array::<16>(option, 16, WHAT)?.into(),
            },
            (5, 1) => NdOption::Mtu(u32_at(4)?),
            (24, 1..=3) => {
                // The prefix may leave out its zero half or whole.
                let mut prefix = [0; 16];
                prefix[..option.len() - 8].copy_from_slice(&option[8..]);
                NdOption::Route {
                    len: option[2],
                    flags: option[3],
                    lifetime: u32_at(4)?,
                    prefix: prefix.into(),
                }
            }
            (25, n) if n >= 3 && n % 2 == 1 => NdOption::DnsServers {
                lifetime: u32_at(4)?,
                servers: option[8..]
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .map(|a| Ipv6Addr::from(*a))
                    .collect(),
            },
            (31, 2..) => match domains(&option[8..]) {
                Some(domains) => NdOption::SearchList {
                    lifetime: u32_at(4)?,
                    domains,
                },
                None => NdOption::Other(kind, option[2..].to_vec()),
            },
            _ => NdOption::Other(kind, option[2..].to_vec()),
        });
    }
    Ok(out)
}

/// Names one after the other, then zeros.
fn domains(mut bytes: &[u8]) -> Option<Vec<Name>> {
    let mut out = Vec::new();
    while bytes.first().is_some_and(|len| *len != 0) {
        let (name, rest) = Name::read(bytes).ok()?;
        out.push(name);
        bytes = rest;
    }
    bytes.iter().all(|b| *b == 0).then_some(out)
}

impl NdOption {
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        let kind = match self {
            Self::SourceMac(mac) => {
                out.extend_from_slice(&mac.0);
                1
            }
            Self::TargetMac(mac) => {
                out.extend_from_slice(&mac.0);
                2
            }
            Self::Prefix {
                len,
                flags,
                valid,
                preferred,
                prefix,
            } => {
                out.extend_from_slice(&[*len, *flags]);
                out.extend_from_slice(&valid.to_be_bytes());
                out.extend_from_slice(&preferred.to_be_bytes());
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&prefix.octets());
                3
            }
            Self::Mtu(mtu) => {
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&mtu.to_be_bytes());
                5
            }
            Self::Route {
                len,
                flags,
                lifetime,
                prefix,
            } => {
                out.extend_from_slice(&[*len, *flags]);
                out.extend_from_slice(&lifetime.to_be_bytes());
                // What is zero at the end may be left out, in steps of eight bytes (RFC 4191, section 2.3).
                let prefix = prefix.octets();
                let used = prefix.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
                let used = used.max(usize::from((*len).min(128)).div_ceil(8));
                out.extend_from_slice(&prefix[..used.next_multiple_of(8)]);
                24
            }
            Self::DnsServers { lifetime, servers } => {
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&lifetime.to_be_bytes());
                servers
                    .iter()
                    .for_each(|s| out.extend_from_slice(&s.octets()));
                25
            }
            Self::SearchList { lifetime, domains } => {
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&lifetime.to_be_bytes());
                domains
                    .iter()
                    .for_each(|name| out.extend_from_slice(name.as_bytes()));
                31
            }
            Self::Other(kind, body) => {
                out.extend_from_slice(body);
                *kind
            }
        };
        out.resize(start + (out.len() - start).next_multiple_of(8), 0);
        out[start] = kind;
        // 255 words hold 127 DNS servers; nobody configures more.
        out[start + 1] = u8::try_from((out.len() - start) / 8).unwrap_or(u8::MAX);
    }
}

/// The frame of a router advertisement, a message with a checksum of zero.
#[must_use]
pub fn advertise_router(mac: Mac, src: Ipv6Addr, dst: Ipv6Addr, advert: &[u8]) -> Vec<u8> {
    let ethernet = Ethernet::new(mac, Mac::ipv6_multicast(dst), ethertype::IPV6);
    let header = IpHeader::V6 { src, dst };
    icmp::finish(
        &ethernet,
        header,
        HOP_LIMIT,
        protocol::ICMPV6,
        advert.to_vec(),
    )
}

/// The frame that answers a solicitation for routers with `advert`, a message with a checksum of zero: addressed as the
/// solicitation was, whose sender is where it has to go. For who has no address yet that is everybody (RFC 4861, section
/// 6.2.6).
///
/// # Errors
/// When the frame is no router solicitation, or the message is too short.
pub fn answer_solicit(to: &Frame<'_>, advert: &[u8]) -> Result<Vec<u8>, ParseError> {
    let mut asked = Nd::parse(to)?;
    if asked.message != Message::RouterSolicit {
        return Err(ParseError::Other("a router solicitation"));
    }
    if advert.len() < 16 {
        return Err(ParseError::Short("router advertisement"));
    }
    let mut ethernet = to.ethernet.clone();
    if asked.src.is_unspecified() {
        asked.src = ALL_NODES;
        ethernet.src = Mac::ipv6_multicast(ALL_NODES);
    }
    let header = IpHeader::V6 {
        src: asked.src,
        dst: asked.dst,
    };
    Ok(icmp::finish(
        &ethernet,
        header,
        HOP_LIMIT,
        protocol::ICMPV6,
        advert.to_vec(),
    ))
}

/// A frame that asks who has `target`.
#[must_use]
pub fn solicit(mac: Mac, src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let dst = solicited_node(target);
    // Without an address of one's own there is nothing to answer to (duplicate address detection).
    let options = if src.is_unspecified() {
        Vec::new()
    } else {
        vec![NdOption::SourceMac(mac)]
    };
    Nd {
        src,
        dst,
        message: Message::NeighborSolicit { target },
        options,
    }
    .frame(mac, Mac::ipv6_multicast(dst))
}

/// The frame that answers a solicitation: `mac` has the target. To all nodes when the asker has no address yet.
///
/// # Errors
/// When the frame is no neighbour solicitation.
pub fn advertise(to: &Frame<'_>, mac: Mac, router: bool) -> Result<Vec<u8>, ParseError> {
    let asked = Nd::parse(to)?;
    let Message::NeighborSolicit { target } = asked.message else {
        return Err(ParseError::Other("a neighbour solicitation"));
    };
    let mut ethernet = to.ethernet.answer(mac);
    let (dst, mut flags) = if asked.src.is_unspecified() {
        ethernet.dst = Mac::ipv6_multicast(ALL_NODES);
        (ALL_NODES, NA_OVERRIDE)
    } else {
        (asked.src, NA_SOLICITED | NA_OVERRIDE)
    };
    if router {
        flags |= NA_ROUTER;
    }
    let options = vec![NdOption::TargetMac(mac)];
    Ok(Nd {
        src: target,
        dst,
        message: Message::NeighborAdvert { target, flags },
        options,
    }
    .frame_in(&ethernet))
}

/// A frame by which `mac` announces that it has `ip` (RFC 4861, section 7.2.6).
#[must_use]
pub fn unsolicited(mac: Mac, ip: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = NA_OVERRIDE | if router { NA_ROUTER } else { 0 };
    let options = vec![NdOption::TargetMac(mac)];
    Nd {
        src: ip,
        dst: ALL_NODES,
        message: Message::NeighborAdvert { target: ip, flags },
        options,
    }
    .frame(mac, Mac::ipv6_multicast(ALL_NODES))
}
