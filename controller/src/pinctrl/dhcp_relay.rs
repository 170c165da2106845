//! `dhcp_relay_req_chk` and `dhcp_relay_resp_chk`: what of a DHCPv4 message only the controller can write when a router relays
//! it.
//!
//! A question gets the relay's address and one hop more, unless a relay has passed it on before; an answer of the server to
//! the relay gets the client's addresses as destination. What is neither goes on as it came. The checksum of an answer is left
//! out, as the server's own covers addresses that it no longer has.

use std::net::Ipv4Addr;

use weft_packet::{ParseError, dhcp4, transport};

use super::respond::{Answer, Refusal, Request};
use super::verdict::Verdict;
use crate::actions::opcode::Opcode;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (verdict, params) = Verdict::split(request)?;
    let (&[a, b, c, d, rest @ ..], _) = params.split_first_chunk::<8>().ok_or(Refusal::Params)?;
    let (relay, server) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::from(rest));
    let relayed = match request.opcode {
        Opcode::DhcpRelayReqChk => question(request, relay),
        _ => answer(request, relay, server),
    };
    verdict.resume(request, relayed.ok())
}

fn question(request: &Request<'_>, relay: Ipv4Addr) -> Result<Vec<u8>, ParseError> {
    let (_, ip) = request.ip()?;
    let payload = dhcp4::relayed(transport::udp_payload(&ip)?, relay)?;
    transport::with_udp_payload(&request.packet.packet, &payload)
}

fn answer(request: &Request<'_>, relay: Ipv4Addr, server: Ipv4Addr) -> Result<Vec<u8>, ParseError> {
    let (_, ip) = request.ip()?;
    let payload = transport::udp_payload(&ip)?;
    let (mac, to) = dhcp4::delivery(payload, relay, server)?;
    let mut packet = transport::with_udp_payload_to(&request.packet.packet, to, payload)?;
    packet[..6].copy_from_slice(&mac.0);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use weft_openflow::{Field, Message, PacketIn};
    use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, ethertype};

    use super::super::testing::packet_in;
    use super::*;

    const RELAY: [u8; 4] = [10, 1, 0, 254];
    const SERVER: [u8; 4] = [10, 2, 0, 5];

    fn datagram(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let ip = IpHeader::V4 {
            src: src.into(),
            dst: dst.into(),
        };
        let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4);
        transport::udp(&ethernet, ip, 64, ports.0, ports.1, payload)
    }

    /// What becomes of a packet, and whether it is to be relayed.
    fn seen(opcode: Opcode, packet: &[u8]) -> (bool, Vec<u8>) {
        let params = [&[9, 7][..], &RELAY, &SERVER].concat();
        let mut packet: PacketIn = packet_in(opcode, &params, packet);
        packet.continuation = Some(vec![1]);
        let request = Request {
            opcode,
            params: &params,
            packet: &packet,
        };
        let answer = respond(&request).unwrap();
        let [Message::Resume(resumed)] = &answer.send[..] else {
            panic!("{answer:?}")
        };
        let resumed = resumed.packet_in();
        let good = resumed.metadata_value(Field::Reg9) == 0x80;
        (good, resumed.packet.clone())
    }

    fn message(op: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 236];
        bytes[..4].copy_from_slice(&[op, 1, 6, 0]);
        bytes[28..34].copy_from_slice(&[10, 0, 0, 0, 0, 1]);
        bytes.extend([99, 130, 83, 99]);
        bytes.extend(options);
        bytes
    }

    #[test]
    fn a_question_goes_to_the_server_and_its_answer_to_the_client() {
        let question = datagram([0; 4], [255; 4], (68, 67), &message(1, &[53, 1, 1, 255]));
        let (good, asked) = seen(Opcode::DhcpRelayReqChk, &question);
        assert!(good);
        let frame = Frame::parse(&asked).unwrap();
        let ip = Ip::parse(&frame).unwrap();
        let payload = transport::udp_payload(&ip).unwrap();
        assert_eq!(payload[24..28], RELAY);
        assert_eq!(
            seen(Opcode::DhcpRelayReqChk, &asked),
            (false, asked.clone())
        );

        let [a, b, c, d] = SERVER;
        let mut offer = message(2, &[53, 1, 2, 54, 4, a, b, c, d, 255]);
        offer[16..20].copy_from_slice(&[10, 1, 0, 1]);
        offer[24..28].copy_from_slice(&RELAY);
        let answer = datagram(SERVER, RELAY, (67, 67), &offer);
        let (good, told) = seen(Opcode::DhcpRelayRespChk, &answer);
        assert!(good);
        let frame = Frame::parse(&told).unwrap();
        assert_eq!(frame.ethernet.dst, Mac([10, 0, 0, 0, 0, 1]));
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!(ip.header.dst(), Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(transport::udp_payload(&ip), Ok(&offer[..]));
        offer[24] = 0;
        let answer = datagram(SERVER, RELAY, (67, 67), &offer);
        assert_eq!(
            seen(Opcode::DhcpRelayRespChk, &answer),
            (false, answer.clone())
        );
    }
}
