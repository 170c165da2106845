//! `icmp4 { }`, `icmp6 { }`, `icmp4_error { }` and `icmp6_error { }`: an ICMP error about the packet, which it quotes.
//!
//! Addresses are the packet's own; the nested actions exchange them and say what the error is.

use weft_packet::icmp::{self, Error};
use weft_packet::{Frame, Ip, IpHeader};

use super::respond::{Refusal, Request};
use crate::actions::opcode::Opcode;

/// TTL of packets that start here.
pub(super) const TTL: u8 = 255;

/// ICMP's host unreachable.
pub(super) const V4_HOST_UNREACHABLE: Error = Error {
    kind: icmp::V4_UNREACHABLE,
    code: 1,
    rest: 0,
};
/// ICMPv6's administratively prohibited.
pub(super) const V6_PROHIBITED: Error = Error {
    kind: icmp::V6_UNREACHABLE,
    code: 1,
    rest: 0,
};

pub(super) fn packet(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let (frame, ip) = request.ip()?;
    let error = match ip.header {
        IpHeader::V4 { .. } => V4_HOST_UNREACHABLE,
        IpHeader::V6 { .. } => V6_PROHIBITED,
    };
    // What icmp6_error is for: packets that are too big, of which also senders to many want to know.
    about(&frame, &ip, error, request.opcode == Opcode::Icmp6Error)
}

/// The error, unless there must be none about such a packet.
pub(super) fn about(
    frame: &Frame<'_>,
    ip: &Ip<'_>,
    error: Error,
    too_big: bool,
) -> Result<Vec<u8>, Refusal> {
    if !icmp::may_answer(frame, ip, too_big) {
        return Err(Refusal::Unanswerable);
    }
    Ok(icmp::error(&frame.ethernet, ip.header, TTL, error, ip))
}

#[cfg(test)]
mod tests {
    use weft_packet::{Ethernet, Mac, ethertype, protocol};

    use super::super::testing::sent;
    use super::*;

    fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let ip = IpHeader::V4 {
            src: [10, 0, 0, 11].into(),
            dst: [10, 0, 2, 12].into(),
        };
        Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4)
            .frame(&ip.packet(protocol, 1, payload))
    }

    #[test]
    fn quotes_the_packet() {
        for opcode in [Opcode::Icmp, Opcode::Icmp4Error] {
            let asked = v4(protocol::UDP, &[7; 100]);
            let bytes = sent(opcode, &asked).unwrap();
            let frame = Frame::parse(&bytes).unwrap();
            let ip = Ip::parse(&frame).unwrap();
            assert_eq!(
                (frame.ethernet.src, frame.ethernet.dst),
                (Mac([2; 6]), Mac([4; 6]))
            );
            assert_eq!(
                (ip.protocol, ip.ttl, &ip.payload[..2]),
                (protocol::ICMP, 255, &[3u8, 1][..])
            );
            assert_eq!(&ip.payload[8..], &asked[14..]);
        }
    }

    #[test]
    fn no_error_about_an_error() {
        assert_eq!(
            sent(
                Opcode::Icmp,
                &v4(protocol::ICMP, &[11, 0, 0, 0, 0, 0, 0, 0])
            ),
            Err(Refusal::Unanswerable)
        );
    }

    #[test]
    fn in_the_version_of_the_packet() {
        let (src, dst) = ("fd01::1".parse().unwrap(), "fd01::2".parse().unwrap());
        let packet = IpHeader::V6 { src, dst }.packet(protocol::UDP, 1, &[0; 8]);
        let packet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV6).frame(&packet);
        let bytes = sent(Opcode::Icmp6Error, &packet).unwrap();
        let frame = Frame::parse(&bytes).unwrap();
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!(
            (ip.protocol, &ip.payload[..2]),
            (protocol::ICMPV6, &[1u8, 1][..])
        );
    }
}
