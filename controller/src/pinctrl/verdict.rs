//! Actions that store in a bit whether the controller has made an answer of the packet: it is paused, and goes on with the
//! bit set and another content, or with the bit clear and as it was.

use weft_openflow::{Field, PacketIn};

use super::respond::{Answer, Refusal, Request};

/// Where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    register: Field,
    bit: u8,
}

impl Verdict {
    /// Takes it from the beginning of the parameters, as the encoder of actions has put it there.
    pub(super) fn split<'a>(request: &Request<'a>) -> Result<(Verdict, &'a [u8]), Refusal> {
        let (head, rest) = request.params.split_at_checked(2).ok_or(Refusal::Params)?;
        let [register, bit @ 0..=31] = *head else {
            return Err(Refusal::Params);
        };
        if register > 15 {
            return Err(Refusal::Params);
        }
        let register = Field::reg(register);
        Ok((Verdict { register, bit }, rest))
    }

    /// Lets the packet go on: with new contents if there is an answer.
    pub(super) fn resume(
        self,
        request: &Request<'_>,
        answer: Option<Vec<u8>>,
    ) -> Result<Answer, Refusal> {
        let bit = 1u128 << self.bit;
        let before = request.packet.metadata_value(self.register);
        let value = match answer {
            Some(_) => before | bit,
            None => before & !bit,
        };
        let mut packet: PacketIn = request.packet.clone();
        if value != before {
            packet.metadata.set(self.register, value);
        }
        if let Some(answer) = answer {
            packet.full_len = u32::try_from(answer.len()).unwrap_or(u32::MAX);
            packet.packet = answer;
        }
        Answer::resume(packet)
    }
}

#[cfg(test)]
mod tests {
    use weft_openflow::Message;

    use super::super::testing::packet_in;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn the_bit_says_whether_there_is_an_answer() {
        let mut packet = packet_in(Opcode::DnsLookup, &[], &[1, 2]);
        packet.continuation = Some(vec![9]);
        packet.metadata.set(Field::reg(3), 0x10_0010u32);
        let ask = |params: &[u8], answer: Option<Vec<u8>>| {
            let request = Request {
                opcode: Opcode::DnsLookup,
                params,
                packet: &packet,
            };
            let (verdict, rest) = Verdict::split(&request)?;
            assert_eq!(rest, [7]);
            verdict.resume(&request, answer)
        };
        let expected = |value: u32, content: &[u8]| {
            let mut packet = packet.clone();
            packet.metadata.set(Field::reg(3), value);
            packet.packet = content.to_vec();
            packet.full_len = content.len() as u32;
            [Message::Resume(packet.resume().unwrap())]
        };
        let send = |params: &[u8], answer| ask(params, answer).unwrap().send;
        assert_eq!(send(&[3, 8, 7], Some(vec![5])), expected(0x10_0110, &[5]));
        assert_eq!(send(&[3, 4, 7], None), expected(0x10_0000, &[1, 2]));
        for bad in [&[][..], &[3], &[3, 32, 7], &[16, 0, 7]] {
            assert_eq!(ask(bad, None).unwrap_err(), Refusal::Params);
        }
    }
}
