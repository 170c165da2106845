//! `icmp4.frag_mtu = N;` and `icmp6.frag_mtu = N;`: fields of ICMP errors that Open vSwitch cannot set. The packet is
//! paused meanwhile.

use weft_openflow::PacketIn;
use weft_packet::icmp;

use super::respond::{Answer, Refusal, Request};
use crate::actions::opcode::Opcode;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let mtu = match request.opcode {
        Opcode::PutIcmp4FragMtu => request
            .params
            .first_chunk()
            .map(|mtu| u16::from_be_bytes(*mtu).into()),
        _ => request
            .params
            .first_chunk()
            .map(|mtu| u32::from_be_bytes(*mtu)),
    };
    let packet = icmp::with_mtu(&request.packet.packet, mtu.ok_or(Refusal::Params)?)?;
    Answer::resume(PacketIn {
        packet,
        ..request.packet.clone()
    })
}

#[cfg(test)]
mod tests {
    use weft_openflow::Message;
    use weft_packet::{Ethernet, IpHeader, Mac, ethertype, protocol};

    use super::super::testing::packet_in;
    use super::*;

    #[test]
    fn the_packet_goes_on_with_the_mtu() {
        let ip = IpHeader::V4 {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
        };
        let mut icmp = vec![3, 4, 0, 0, 0, 0, 0, 0];
        let frame = |icmp: &[u8]| {
            Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4).frame(&ip.packet(
                protocol::ICMP,
                255,
                icmp,
            ))
        };
        let mut packet = packet_in(Opcode::PutIcmp4FragMtu, &[], &frame(&icmp));
        let ask = |packet: &PacketIn, params: &[u8]| {
            respond(&Request {
                opcode: Opcode::PutIcmp4FragMtu,
                params,
                packet,
            })
        };
        assert_eq!(
            ask(&packet, &[4, 0]).unwrap_err(),
            Refusal::Params,
            "it is not paused"
        );
        packet.continuation = Some(vec![9]);
        assert_eq!(ask(&packet, &[4]).unwrap_err(), Refusal::Params);
        let answer = ask(&packet, &[4, 0]).unwrap();
        icmp[6] = 4;
        let sum = weft_packet::internet_checksum(&[&icmp]);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let expected = PacketIn {
            packet: frame(&icmp),
            ..packet
        }
        .resume()
        .unwrap();
        assert_eq!(answer.send, [Message::Resume(expected)]);
    }
}
