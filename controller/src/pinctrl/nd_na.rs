//! `nd_na { }` and `nd_na_router { }`: answer a neighbour solicitation; the nested actions say with which address.

use weft_packet::nd;

use super::respond::{Refusal, Request};

pub(super) fn packet(request: &Request<'_>, router: bool) -> Result<Vec<u8>, Refusal> {
    let frame = request.frame()?;
    Ok(nd::advertise(&frame, frame.ethernet.dst, router)?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use weft_packet::nd::{Message, NA_ROUTER, Nd};
    use weft_packet::{Frame, Mac, ParseError};

    use super::super::testing::sent;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn advertises_the_target() {
        let (src, target): (Ipv6Addr, Ipv6Addr) =
            ("fd01::11".parse().unwrap(), "fd01::1".parse().unwrap());
        let asked = nd::solicit(Mac([2, 0, 0, 0, 0, 1]), src, target);
        for (opcode, router) in [(Opcode::NdNa, false), (Opcode::NdNaRouter, true)] {
            let bytes = sent(opcode, &asked).unwrap();
            let told = Nd::parse(&Frame::parse(&bytes).unwrap()).unwrap();
            assert_eq!((told.src, told.dst), (target, src));
            let Message::NeighborAdvert { flags, .. } = told.message else {
                panic!("{told:?}")
            };
            assert_eq!(flags & NA_ROUTER != 0, router);
            assert_eq!(
                sent(opcode, &bytes),
                Err(Refusal::Packet(ParseError::Other(
                    "a neighbour solicitation"
                )))
            );
        }
    }
}
