//! `R = put_nd_ra_opts(...);`: makes an advertisement of a router solicitation.
//!
//! Guarantees: what is no sound solicitation goes on as it came. The advertisement keeps the addresses of the solicitation,
//! whose exchange is up to the flows; one from the unspecified address (RFC 4861, section 6.2.6; stock of 23.03 sends its
//! answer to no address) is answered to all nodes.

use weft_packet::nd;

use super::respond::{Answer, Refusal, Request};
use super::verdict::Verdict;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (verdict, advert) = Verdict::split(request)?;
    let frame = request.frame()?;
    verdict.resume(request, nd::answer_solicit(&frame, advert).ok())
}

#[cfg(test)]
mod tests {
    use weft_openflow::{Field, Message};
    use weft_packet::nd::{ALL_NODES, ALL_ROUTERS, Nd, RouterAdvert};
    use weft_packet::{Frame, Mac};

    use super::super::testing::packet_in;
    use super::*;
    use crate::actions::opcode::Opcode;

    fn ask(solicit: &[u8]) -> (Vec<Message>, weft_openflow::PacketIn) {
        let advert = nd::body(&nd::Message::RouterAdvert(RouterAdvert::default()), &[]);
        let params = [&[0, 5][..], &advert].concat();
        let mut packet = packet_in(Opcode::PutNdRaOpts, &params, solicit);
        packet.continuation = Some(vec![9]);
        let request = Request {
            opcode: Opcode::PutNdRaOpts,
            params: &params,
            packet: &packet,
        };
        (respond(&request).unwrap().send, packet.clone())
    }

    fn solicit(src: &str) -> Vec<u8> {
        let asked = Nd {
            src: src.parse().unwrap(),
            dst: ALL_ROUTERS,
            message: nd::Message::RouterSolicit,
            options: Vec::new(),
        };
        asked.frame(Mac([2; 6]), Mac::ipv6_multicast(ALL_ROUTERS))
    }

    #[test]
    fn a_solicitation_becomes_an_advertisement() {
        for (src, back, mac) in [
            ("fe80::1", "fe80::1".parse().unwrap(), Mac([2; 6])),
            ("::", ALL_NODES, Mac::ipv6_multicast(ALL_NODES)),
        ] {
            let (sent, mut packet) = ask(&solicit(src));
            // As if it came from where it is to go.
            let told = Nd {
                src: back,
                dst: ALL_ROUTERS,
                message: nd::Message::RouterAdvert(RouterAdvert::default()),
                options: Vec::new(),
            };
            packet.packet = told.frame(mac, Mac::ipv6_multicast(ALL_ROUTERS));
            packet.full_len = packet.packet.len() as u32;
            packet.metadata.set(Field::Reg0, 0x20u32);
            assert_eq!(sent, [Message::Resume(packet.clone().resume().unwrap())]);
            assert!(Nd::parse(&Frame::parse(&packet.packet).unwrap()).is_ok());
        }
    }

    #[test]
    fn other_packets_go_on() {
        let mut broken = solicit("fe80::1");
        *broken.last_mut().unwrap() ^= 1;
        let question = nd::solicit(Mac([2; 6]), ALL_NODES, ALL_NODES);
        for packet in [broken, question] {
            let (sent, packet) = ask(&packet);
            assert_eq!(sent, [Message::Resume(packet.resume().unwrap())]);
        }
    }
}
