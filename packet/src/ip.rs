//! IP headers of both versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};

use crate::{Frame, ParseError, ethertype, internet_checksum};

/// IP protocol numbers.
pub mod protocol {
    /// Hop-by-hop options of IPv6, in front of everything else.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// Source and destination, of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpHeader {
    /// IPv4.
    V4 {
        /// From.
        src: Ipv4Addr,
        /// To.
        dst: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// From.
        src: Ipv6Addr,
        /// To.
        dst: Ipv6Addr,
    },
}

impl IpHeader {
    /// Back to the sender.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::V4 { src, dst } => Self::V4 { src: dst, dst: src },
            Self::V6 { src, dst } => Self::V6 { src: dst, dst: src },
        }
    }

    /// The Ethernet type of packets with it.
    #[must_use]
    pub fn ethertype(self) -> u16 {
        match self {
            Self::V4 { .. } => ethertype::IPV4,
            Self::V6 { .. } => ethertype::IPV6,
        }
    }

    /// From.
    #[must_use]
    pub fn src(self) -> IpAddr {
        match self {
            Self::V4 { src, .. } => src.into(),
            Self::V6 { src, .. } => src.into(),
        }
    }

    /// To.
    #[must_use]
    pub fn dst(self) -> IpAddr {
        match self {
            Self::V4 { dst, .. } => dst.into(),
            Self::V6 { dst, .. } => dst.into(),
        }
    }

    /// A packet of `payload`, which must be shorter than 65,000 bytes; longer ones are cut.
    #[must_use]
    pub fn packet(self, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
        let payload = &payload[..payload.len().min(65_000)];
        let mut out = Vec::with_capacity(40 + payload.len());
        #[allow(clippy::cast_possible_truncation)] // Cut above.
        let len = payload.len() as u16;
        match self {
            Self::V4 { src, dst } => {
                let header =
                    Ipv4Header::new(len, ttl, IpNumber(protocol), src.octets(), dst.octets());
                // Not to be fragmented, which makes an identification needless (RFC 6864, section 4.1).
                if let Ok(mut header) = header {
                    header.header_checksum = header.calc_header_checksum();
                    out.extend_from_slice(&header.to_bytes());
                }
            }
            Self::V6 { src, dst } => {
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: len,
                    next_header: IpNumber(protocol),
                    hop_limit: ttl,
                    source: src.octets(),
                    destination: dst.octets(),
                };
                out.extend_from_slice(&header.to_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    /// The checksum of a transport segment with its pseudo-header (RFC 793, RFC 8200 section 8.1).
    #[must_use]
    pub fn transport_checksum(self, protocol: u8, segment: &[u8]) -> u16 {
        #[allow(clippy::cast_possible_truncation)] // A segment fits in a packet.
        let len = segment.len() as u32;
        let (src, dst): (Vec<u8>, Vec<u8>) = match self {
            Self::V4 { src, dst } => (src.octets().into(), dst.octets().into()),
            Self::V6 { src, dst } => (src.octets().into(), dst.octets().into()),
        };
        internet_checksum(&[&src, &dst, &len.to_be_bytes(), &[0, protocol], segment])
    }
}

/// An IP packet taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip<'a> {
    /// Addresses.
    pub header: IpHeader,
    /// Transport protocol, behind IPv6 extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether it is a fragment other than the first.
    pub later_fragment: bool,
    /// What it carries, without Ethernet padding.
    pub payload: &'a [u8],
    /// The packet itself, header included, without Ethernet padding.
    pub packet: &'a [u8],
}

impl<'a> Ip<'a> {
    /// Reads the payload of a frame. A packet cut short (as one sent to the controller may be) is read as far as it goes.
    ///
    /// # Errors
    /// When it is no IP, or its headers are short or malformed.
    pub fn parse(frame: &Frame<'a>) -> Result<Self, ParseError> {
        match frame.ethernet.ethertype {
            ethertype::IPV4 => Self::parse_v4(frame.payload),
            ethertype::IPV6 => Self::parse_v6(frame.payload),
            _ => Err(ParseError::Other("IP")),
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, _) =
            Ipv4Header::from_slice(bytes).map_err(|_| ParseError::Malformed("IPv4"))?;
        let len = usize::from(header.total_len).min(bytes.len());
        let header_len = header.header_len();
        let packet = &bytes[..len.max(header_len)];
        Ok(Self {
            header: IpHeader::V4 {
                src: header.source.into(),
                dst: header.destination.into(),
            },
            protocol: header.protocol.0,
            ttl: header.time_to_live,
            later_fragment: header.fragment_offset.value() != 0,
            payload: &packet[header_len..],
            packet,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "IPv6";
        let (header, _) = Ipv6Header::from_slice(bytes).map_err(|_| ParseError::Malformed(WHAT))?;
        let packet = &bytes[..bytes.len().min(40 + usize::from(header.payload_length))];
        let (mut at, mut protocol, mut later_fragment) = (40, header.next_header.0, false);
        // Hop-by-hop, routing, fragment, destination options (RFC 8200, section 4).
        while matches!(protocol, 0 | 43 | 44 | 60) && !later_fragment {
            let next = *packet.get(at).ok_or(ParseError::Short(WHAT))?;
            let second = *packet.get(at + 1).ok_or(ParseError::Short(WHAT))?;
            let len = if protocol == 44 {
                8
            } else {
                8 + 8 * usize::from(second)
            };
            let body = packet.get(at..at + len).ok_or(ParseError::Short(WHAT))?;
            later_fragment = protocol == 44 && (body[2] != 0 || body[3] & 0xf8 != 0);
            (at, protocol) = (at + len, next);
        }
        Ok(Self {
            header: IpHeader::V6 {
                src: header.source.into(),
                dst: header.destination.into(),
            },
            protocol,
            ttl: header.hop_limit,
            later_fragment,
            payload: &packet[at..],
            packet,
        })
    }
}
