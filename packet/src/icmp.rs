//! ICMP errors and echo replies of both versions.

use std::net::IpAddr;

use crate::{Ethernet, Frame, Ip, IpHeader, ParseError, protocol};

/// ICMPv4: destination unreachable.
pub const V4_UNREACHABLE: u8 = 3;
/// ICMPv4: time exceeded.
pub const V4_TIME_EXCEEDED: u8 = 11;
/// ICMPv6: destination unreachable.
pub const V6_UNREACHABLE: u8 = 1;
/// ICMPv6: packet too big.
pub const V6_TOO_BIG: u8 = 2;
/// ICMPv6: time exceeded.
pub const V6_TIME_EXCEEDED: u8 = 3;

/// An error frame may have this many bytes: 576 for IPv4 (RFC 1812, section 4.3.2.3), the minimum MTU for IPv6 (RFC 4443,
/// section 2.4 c). The limits are the packets'; keeping the whole frame within them leaves room for encapsulation.
const V4_MAX: usize = 576;
const V6_MAX: usize = 1280;

/// What an error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The four bytes behind the checksum: the MTU of "fragmentation needed" (low 16 bits) and "packet too big", else 0.
    pub rest: u32,
}

/// An error frame about `offending`, with exactly these headers; ICMP of the version of `ip`. The offending packet is
/// quoted from its IP header on, as much as fits.
#[must_use]
pub fn error(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    error: Error,
    offending: &Ip<'_>,
) -> Vec<u8> {
    let (max, protocol) = match ip {
        IpHeader::V4 { .. } => (V4_MAX - 20 - 8, protocol::ICMP),
        IpHeader::V6 { .. } => (V6_MAX - 40 - 8, protocol::ICMPV6),
    };
    let max = max.saturating_sub(14 + 4 * ethernet.vlans.len());
    let quoted = &offending.packet[..offending.packet.len().min(max)];
    let mut icmp = vec![error.kind, error.code, 0, 0];
    icmp.extend_from_slice(&error.rest.to_be_bytes());
    icmp.extend_from_slice(quoted);
    finish(ethernet, ip, ttl, protocol, icmp)
}

/// Whether an error about the packet may be sent at all: not about another ICMP error, a later fragment, nor a packet
/// from or to an address that is not one host's (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
/// `too_big` lifts what IPv6 lifts for "packet too big": multicast destinations.
#[must_use]
pub fn may_answer(frame: &Frame<'_>, offending: &Ip<'_>, too_big: bool) -> bool {
    let is_error = match (offending.protocol, offending.payload.first()) {
        (protocol::ICMP, Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (protocol::ICMPV6, Some(kind)) => *kind < 128 || *kind == 137,
        _ => false,
    };
    let single = |ip: IpAddr| match ip {
        IpAddr::V4(a) => {
            !(a.is_multicast() || a.is_broadcast() || a.is_unspecified() || a.is_loopback())
        }
        IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified() || a.is_loopback()),
    };
    let lifted = too_big && matches!(offending.header, IpHeader::V6 { .. });
    let dst_single = lifted || single(offending.header.dst()) && !frame.ethernet.dst.is_multicast();
    !is_error && !offending.later_fragment && single(offending.header.src()) && dst_single
}

/// The frame of an ICMP message, with the MTU of its next hop set to `mtu` ("fragmentation needed" has room for 16 bits,
/// "packet too big" for 32).
///
/// # Errors
/// When the frame is no ICMP of either version.
pub fn with_mtu(frame: &[u8], mtu: u32) -> Result<Vec<u8>, ParseError> {
    const WHAT: &str = "ICMP";
    let parsed = Frame::parse(frame)?;
    let ip = Ip::parse(&parsed)?;
    if !matches!(ip.protocol, protocol::ICMP | protocol::ICMPV6) || ip.later_fragment {
        return Err(ParseError::Other(WHAT));
    }
    if ip.payload.len() < 8 {
        return Err(ParseError::Short(WHAT));
    }
    let start = frame.len() - parsed.payload.len() + ip.packet.len() - ip.payload.len();
    let mut out = frame.to_vec();
    let icmp = &mut out[start..start + ip.payload.len()];
    let mtu = mtu.to_be_bytes();
    match ip.header {
        IpHeader::V4 { .. } => icmp[6..8].copy_from_slice(&mtu[2..]),
        IpHeader::V6 { .. } => icmp[4..8].copy_from_slice(&mtu),
    }
    icmp[2..4].fill(0);
    let sum = checksum(ip.header, ip.protocol, icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(out)
}

/// The frame that answers an echo request, to its sender from the address asked.
///
/// # Errors
/// When the frame is no echo request with a right checksum.
pub fn echo_reply(frame: &Frame<'_>, ttl: u8) -> Result<Vec<u8>, ParseError> {
    let ip = Ip::parse(frame)?;
    let (request, reply) = match (ip.header, ip.protocol) {
        (IpHeader::V4 { .. }, protocol::ICMP) => (8, 0),
        (IpHeader::V6 { .. }, protocol::ICMPV6) => (128, 129),
        _ => return Err(ParseError::Other("an echo request")),
    };
    if ip.payload.len() < 8 || ip.payload[0] != request || ip.later_fragment {
        return Err(ParseError::Other("an echo request"));
    }
    if checksum(ip.header, ip.protocol, ip.payload) != 0 {
        return Err(ParseError::Checksum("echo request"));
    }
    let mut icmp = ip.payload.to_vec();
    icmp[0] = reply;
    icmp[2..4].fill(0);
    Ok(finish(
        &frame.ethernet.answer(frame.ethernet.dst),
        ip.header.reversed(),
        ttl,
        ip.protocol,
        icmp,
    ))
}

/// What an echo message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// A request, or the reply to one.
    pub request: bool,
    /// Who asks.
    pub identifier: u16,
    /// Which of the asker's questions it is.
    pub sequence: u16,
}

impl Echo {
    /// The echo message that a packet carries, if its checksum is right.
    #[must_use]
    pub fn parse(ip: &Ip<'_>) -> Option<Echo> {
        let kind = *ip.payload.first()?;
        let request = match (ip.header, ip.protocol, kind) {
            (IpHeader::V4 { .. }, protocol::ICMP, 8)
            | (IpHeader::V6 { .. }, protocol::ICMPV6, 128) => true,
            (IpHeader::V4 { .. }, protocol::ICMP, 0)
            | (IpHeader::V6 { .. }, protocol::ICMPV6, 129) => false,
            _ => return None,
        };
        let word = |at: usize| {
            Some(u16::from_be_bytes(
                ip.payload.get(at..at + 2)?.try_into().ok()?,
            ))
        };
        let echo = Echo {
            request,
            identifier: word(4)?,
            sequence: word(6)?,
        };
        let whole = !ip.later_fragment && checksum(ip.header, ip.protocol, ip.payload) == 0;
        whole.then_some(echo)
    }
}

/// The frame of an echo request without data.
#[must_use]
pub fn echo_request(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    identifier: u16,
    sequence: u16,
) -> Vec<u8> {
    let (kind, protocol) = match ip {
        IpHeader::V4 { .. } => (8, protocol::ICMP),
        IpHeader::V6 { .. } => (128, protocol::ICMPV6),
    };
    let mut icmp = vec![kind, 0, 0, 0];
    icmp.extend_from_slice(&identifier.to_be_bytes());
    icmp.extend_from_slice(&sequence.to_be_bytes());
    finish(ethernet, ip, ttl, protocol, icmp)
}

/// 0 when a received message is right.
pub(crate) fn checksum(ip: IpHeader, protocol: u8, icmp: &[u8]) -> u16 {
    match ip {
        IpHeader::V4 { .. } => crate::internet_checksum(&[icmp]),
        IpHeader::V6 { .. } => ip.transport_checksum(protocol, icmp),
    }
}

/// Fills in the checksum, which is zero, and the headers.
pub(crate) fn finish(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    protocol: u8,
    mut icmp: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum(ip, protocol, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ethernet = ethernet.clone();
    ethernet.ethertype = ip.ethertype();
    ethernet.frame(&ip.packet(protocol, ttl, &icmp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mac;

    #[test]
    fn an_echo_request_is_read_back_and_answered() {
        let v4 = IpHeader::V4 {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
        };
        let v6 = IpHeader::V6 {
            src: "fd00::1".parse().unwrap(),
            dst: "fd00::2".parse().unwrap(),
        };
        for ip in [v4, v6] {
            let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ip.ethertype());
            let request = echo_request(&ethernet, ip, 64, 0x1234, 7);
            let frame = Frame::parse(&request).unwrap();
            let echo = |bytes: &[u8]| {
                let frame = Frame::parse(bytes).unwrap();
                Echo::parse(&Ip::parse(&frame).unwrap())
            };
            let asked = Echo {
                request: true,
                identifier: 0x1234,
                sequence: 7,
            };
            assert_eq!(echo(&request), Some(asked));
            let reply = echo_reply(&frame, 64).unwrap();
            let answered = Echo {
                request: false,
                ..asked
            };
            assert_eq!(echo(&reply), Some(answered));
            let mut spoiled = reply;
            *spoiled.last_mut().unwrap() ^= 1;
            assert_eq!(echo(&spoiled), None);
        }
    }
}
