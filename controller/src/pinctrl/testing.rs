//! What the tests of responders share.

use weft_openflow::{Field, Match, Message, PacketIn, PacketInReason};

use super::respond::{Answer, Refusal, Request, respond};
use crate::actions::opcode::Opcode;

/// A packet-in of an action on datapath 3, from port 1 to port 2.
pub(super) fn packet_in(opcode: Opcode, params: &[u8], packet: &[u8]) -> PacketIn {
    PacketIn {
        packet: packet.to_vec(),
        full_len: packet.len() as u32,
        reason: PacketInReason::Action,
        table: 20,
        cookie: 0,
        metadata: Match::any()
            .with(Field::Metadata, 3u32)
            .with(Field::Reg14, 1u32)
            .with(Field::Reg15, 2u32),
        userdata: opcode.userdata(params).into(),
        continuation: None,
    }
}

/// The answer to a packet.
pub(super) fn answer(opcode: Opcode, params: &[u8], packet: &[u8]) -> Result<Answer, Refusal> {
    respond(&Request {
        opcode,
        params,
        packet: &packet_in(opcode, params, packet),
    })
}

/// The one packet that is sent in answer.
pub(super) fn sent(opcode: Opcode, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let answer = answer(opcode, &[], packet)?;
    match <[Message; 1]>::try_from(answer.send) {
        Ok([Message::PacketOut(out)]) => Ok(out.packet),
        other => panic!("not one packet-out: {other:?}"),
    }
}

/// Bytes from hexadecimal digits; blanks are skipped.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
