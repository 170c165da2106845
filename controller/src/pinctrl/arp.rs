//! `arp { }`: asks who has the IPv4 address that a packet is for. The packet waits for the answer.

use std::net::Ipv4Addr;

use weft_openflow::{Action, ActionList, Field, Message};
use weft_packet::arp::{Arp, REQUEST};
use weft_packet::{Ethernet, IpHeader, Mac, ParseError, ethertype};

use super::inject;
use super::respond::{Answer, Refusal, Request};
use super::waiting::Hop;
use crate::tables;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (frame, ip) = request.ip()?;
    let IpHeader::V4 { src, dst } = ip.header else {
        return Err(ParseError::Other("IPv4").into());
    };
    let ethernet = Ethernet {
        ethertype: ethertype::ARP,
        ..frame.ethernet
    };
    let arp = Arp {
        op: REQUEST,
        sha: ethernet.src,
        spa: src,
        tha: Mac::ZERO,
        tpa: dst,
    };
    let actions = ActionList::from_wire(request.params)?;
    let hop = inject::assigned(&actions, Field::ArpTpa, request.packet)
        .and_then(|ip| u32::try_from(ip).ok());
    let question = inject::packet_out(request, ethernet.frame(&arp.to_bytes()), &actions);
    let hop = Hop::of(request, hop.map_or(dst, Ipv4Addr::from).into());
    Ok(Answer {
        send: vec![Message::PacketOut(question)],
        held: hop.map(|hop| (hop, held(request))),
        ..Answer::default()
    })
}

/// The packet, to be output once its destination is filled in: asking was the last thing to do with it.
pub(super) fn held(request: &Request<'_>) -> weft_openflow::PacketOut {
    let output = ActionList::from([Action::resubmit(tables::OUTPUT_LARGE_DETECT)]);
    inject::packet_out(request, request.packet.packet.clone(), &output)
}

#[cfg(test)]
mod tests {
    use weft_packet::{Frame, protocol};

    use super::super::testing::{answer, packet_in};
    use super::*;
    use crate::actions::opcode::Opcode;

    fn packet() -> Vec<u8> {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 11), Ipv4Addr::new(198, 51, 100, 9));
        let mut ethernet = Ethernet::new(Mac([2, 0, 0, 0, 1, 3]), Mac::ZERO, ethertype::IPV4);
        ethernet.vlans.push(weft_packet::Vlan {
            tpid: ethertype::VLAN,
            tci: 7,
        });
        ethernet.frame(&IpHeader::V4 { src, dst }.packet(protocol::UDP, 63, &[0; 8]))
    }

    #[test]
    fn a_request_made_of_the_packet() {
        let answer = answer(Opcode::Arp, &[], &packet()).unwrap();
        let [Message::PacketOut(out)] = &answer.send[..] else {
            panic!("no packet-out")
        };
        let frame = Frame::parse(&out.packet).unwrap();
        assert_eq!(
            (frame.ethernet.src, frame.ethernet.dst),
            (Mac([2, 0, 0, 0, 1, 3]), Mac::ZERO)
        );
        assert_eq!(frame.ethernet.vlans.len(), 1);
        let expected = Arp {
            op: REQUEST,
            sha: Mac([2, 0, 0, 0, 1, 3]),
            spa: Ipv4Addr::new(10, 0, 0, 11),
            tha: Mac::ZERO,
            tpa: Ipv4Addr::new(198, 51, 100, 9),
        };
        assert_eq!(Arp::parse(&frame).unwrap(), expected);
        let (hop, held) = answer.held.unwrap();
        assert_eq!(
            hop,
            Hop {
                datapath: 3,
                port: 2,
                ip: Ipv4Addr::new(198, 51, 100, 9).into()
            }
        );
        assert_eq!(held.packet, packet());
    }

    #[test]
    fn the_next_hop_is_what_the_actions_say() {
        let actions = ActionList::from([Action::copy(Field::Reg0.whole(), Field::ArpTpa.whole())]);
        let mut packet = packet_in(Opcode::Arp, actions.wire_bytes(), &packet());
        packet.metadata.set(Field::Reg0, 0xac10_0002u32);
        let request = Request {
            opcode: Opcode::Arp,
            params: actions.wire_bytes(),
            packet: &packet,
        };
        let (hop, _) = respond(&request).unwrap().held.unwrap();
        assert_eq!(hop.ip, Ipv4Addr::new(172, 16, 0, 2));
    }

    #[test]
    fn only_for_ipv4() {
        let frame = Ethernet::new(Mac::ZERO, Mac::ZERO, ethertype::ARP).frame(&[0; 28]);
        assert!(matches!(
            answer(Opcode::Arp, &[], &frame),
            Err(Refusal::Packet(_))
        ));
    }
}
