//! `nd_ns { }`: asks who has the IPv6 address that a packet is for. The packet waits for the answer.

use std::net::Ipv6Addr;

use weft_openflow::{ActionList, Field, Message};
use weft_packet::nd::{self, Nd, NdOption};
use weft_packet::{Ethernet, IpHeader, Mac, ParseError, ethertype};

use super::respond::{Answer, Refusal, Request};
use super::waiting::Hop;
use super::{arp, inject};

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (frame, ip) = request.ip()?;
    let actions = ActionList::from_wire(request.params)?;
    let next_hop = inject::assigned(&actions, Field::NdTarget, request.packet).map(Ipv6Addr::from);
    let dst = match (ip.header, next_hop) {
        (IpHeader::V6 { dst, .. }, _) => dst,
        // An IPv4 packet on its way over IPv6.
        (IpHeader::V4 { .. }, Some(next_hop)) => next_hop,
        (IpHeader::V4 { .. }, None) => return Err(ParseError::Other("IPv6").into()),
    };
    // The asker is whoever sends the packet on, not whoever sent it first: its link-local address is sure to be its own.
    let group = nd::solicited_node(dst);
    let ethernet = Ethernet {
        dst: Mac::ipv6_multicast(group),
        ethertype: ethertype::IPV6,
        ..frame.ethernet
    };
    let question = Nd {
        src: ethernet.src.link_local(),
        dst: group,
        message: nd::Message::NeighborSolicit { target: dst },
        options: vec![NdOption::SourceMac(ethernet.src)],
    };
    let hop = next_hop.unwrap_or(dst);
    let question = inject::packet_out(request, question.frame_in(&ethernet), &actions);
    let held = Hop::of(request, hop.into()).map(|hop| (hop, arp::held(request)));
    Ok(Answer {
        send: vec![Message::PacketOut(question)],
        held,
        ..Answer::default()
    })
}

#[cfg(test)]
mod tests {
    use weft_packet::{Frame, protocol};

    use super::super::testing::answer;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn a_solicitation_made_of_the_packet() {
        let mac = Mac([2, 0, 0, 0, 1, 3]);
        let (src, dst): (Ipv6Addr, Ipv6Addr) =
            ("fd01::11".parse().unwrap(), "fd03::9".parse().unwrap());
        let packet = IpHeader::V6 { src, dst }.packet(protocol::UDP, 63, &[0; 8]);
        let packet = Ethernet::new(mac, Mac::ZERO, ethertype::IPV6).frame(&packet);
        let answer = answer(Opcode::NdNs, &[], &packet).unwrap();
        let [Message::PacketOut(out)] = &answer.send[..] else {
            panic!("no packet-out")
        };
        let frame = Frame::parse(&out.packet).unwrap();
        assert_eq!(frame.ethernet.dst, Mac([0x33, 0x33, 0xff, 0, 0, 9]));
        let asked = Nd::parse(&frame).unwrap();
        assert_eq!(asked.message, nd::Message::NeighborSolicit { target: dst });
        assert_eq!(asked.src, "fe80::ff:fe00:103".parse::<Ipv6Addr>().unwrap());
        assert_eq!(asked.dst, "ff02::1:ff00:9".parse::<Ipv6Addr>().unwrap());
        assert_eq!(asked.link_address(), Some(mac));
        assert_eq!(
            answer.held.unwrap().0,
            Hop {
                datapath: 3,
                port: 2,
                ip: dst.into()
            }
        );
    }
}
