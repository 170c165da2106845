//! `reject { }`: whatever tells the sender soonest that its packet goes nowhere: a reset, an abort, or an ICMP error.
//! Unlike with the others, addresses are exchanged already.

use weft_packet::icmp::{self, Error};
use weft_packet::{Ethernet, Ip, IpHeader, protocol, transport};

use super::icmp::{TTL, V4_HOST_UNREACHABLE, V6_PROHIBITED};
use super::respond::{Refusal, Request};

/// ICMP's port unreachable.
const V4_PORT_UNREACHABLE: Error = Error {
    kind: icmp::V4_UNREACHABLE,
    code: 3,
    rest: 0,
};
/// ICMPv6's port unreachable.
const V6_PORT_UNREACHABLE: Error = Error {
    kind: icmp::V6_UNREACHABLE,
    code: 4,
    rest: 0,
};

pub(super) fn packet(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let (frame, ip) = request.ip()?;
    // Nobody is told by a frame from many.
    if !icmp::may_answer(&frame, &ip, false) {
        return Err(Refusal::Unanswerable);
    }
    let (ethernet, back) = (
        frame.ethernet.answer(frame.ethernet.dst),
        ip.header.reversed(),
    );
    Ok(match ip.protocol {
        protocol::TCP => transport::tcp_reset(&ethernet, back, TTL, &ip)?,
        protocol::SCTP => transport::sctp_abort(&ethernet, back, TTL, &ip)?,
        _ => error(&ethernet, back, &ip),
    })
}

fn error(ethernet: &Ethernet, back: IpHeader, ip: &Ip<'_>) -> Vec<u8> {
    let error = match (back, ip.protocol) {
        (IpHeader::V4 { .. }, protocol::UDP) => V4_PORT_UNREACHABLE,
        (IpHeader::V4 { .. }, _) => V4_HOST_UNREACHABLE,
        (IpHeader::V6 { .. }, protocol::UDP) => V6_PORT_UNREACHABLE,
        (IpHeader::V6 { .. }, _) => V6_PROHIBITED,
    };
    icmp::error(ethernet, back, TTL, error, ip)
}

#[cfg(test)]
mod tests {
    use weft_packet::{Frame, Mac, ethertype};

    use super::super::testing::{hex, sent};
    use super::*;
    use crate::actions::opcode::Opcode;

    fn reply(protocol: u8, payload: &[u8]) -> Result<(u8, Vec<u8>), Refusal> {
        let ip = IpHeader::V4 {
            src: [10, 0, 0, 11].into(),
            dst: [10, 0, 2, 12].into(),
        };
        let frame = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4)
            .frame(&ip.packet(protocol, 9, payload));
        let bytes = sent(Opcode::Reject, &frame)?;
        let frame = Frame::parse(&bytes).unwrap();
        let answer = Ip::parse(&frame).unwrap();
        assert_eq!(
            (frame.ethernet.src, frame.ethernet.dst),
            (Mac([4; 6]), Mac([2; 6]))
        );
        assert_eq!((answer.header, answer.ttl), (ip.reversed(), 255));
        Ok((answer.protocol, answer.payload.to_vec()))
    }

    #[test]
    fn each_protocol_in_its_way() {
        let syn = [
            3, 232, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
        ];
        let (protocol, reset) = reply(protocol::TCP, &syn).unwrap();
        assert_eq!(
            (protocol, &reset[..4], &reset[8..12], reset[13]),
            (6, &[0, 80, 3, 232][..], &[0, 0, 0, 10][..], 0x14)
        );
        let data = [
            0, 10, 0, 20, 0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let (protocol, abort) = reply(protocol::SCTP, &data).unwrap();
        assert_eq!(
            (protocol, &abort[..8], &abort[12..]),
            (132, &[0, 20, 0, 10, 0, 0, 0, 7][..], &[6, 1, 0, 4][..])
        );
        let (protocol, error) = reply(protocol::UDP, &[0; 8]).unwrap();
        assert_eq!((protocol, &error[..2]), (1, &[3, 3][..]));
        let (_, error) = reply(47, &[0; 8]).unwrap();
        assert_eq!(error[..2], [3, 1]);
        assert_eq!(
            reply(protocol::ICMP, &[3, 0, 0, 0, 0, 0, 0, 0]),
            Err(Refusal::Unanswerable)
        );
    }

    #[test]
    fn udp_over_ipv4_as_others_do() {
        // Taken from a network of OVN 23.03.
        let asked = hex(
            "02000000000202000000000108004520005c12344000401113d00a00000b0a00006303e80035004802d0000102030405 \
             060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435 \
             363738393a3b3c3d3e3f",
        );
        let told = hex(
            "02000000000102000000000208004500007800004000ff0167170a0000630a00000b030311c4000000004520005c1234 \
             4000401113d00a00000b0a00006303e80035004802d0000102030405060708090a0b0c0d0e0f10111213141516171819 \
             1a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
        );
        assert_eq!(sent(Opcode::Reject, &asked), Ok(told));
    }

    #[test]
    fn udp_over_ipv6_as_others_do() {
        // Taken from a network of OVN 23.03.
        let asked = hex(
            "02000000000202000000000186dd6201234500481140fd010000000000000000000000000011fd010000000000000000 \
             00000000009903e8003500481c90000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021 \
             22232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
        );
        let told = hex(
            "02000000000102000000000286dd6000000000783afffd010000000000000000000000000099fd010000000000000000 \
             00000000001101046d26000000006201234500481140fd010000000000000000000000000011fd010000000000000000 \
             00000000009903e8003500481c90000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021 \
             22232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
        );
        assert_eq!(sent(Opcode::Reject, &asked), Ok(told));
    }
}
