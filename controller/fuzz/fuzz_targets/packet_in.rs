//! Any user data and packet with any registers are answered or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_controller::actions::opcode::Opcode;
use weft_controller::pinctrl::{Request, respond};
use weft_openflow::{Field, Match, PacketIn, PacketInReason};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, [u32; 6], bool)| {
    let (userdata, packet, registers, paused) = input;
    let fields = [
        Field::Metadata,
        Field::Reg14,
        Field::Reg15,
        Field::Reg0,
        Field::Reg1,
        Field::Reg3,
    ];
    let metadata = fields
        .into_iter()
        .zip(registers)
        .fold(Match::any(), |all, (field, value)| all.with(field, value));
    let packet = PacketIn {
        full_len: packet.len() as u32,
        packet,
        reason: PacketInReason::Action,
        table: 0,
        cookie: 0,
        metadata,
        userdata,
        continuation: paused.then(Vec::new),
    };
    if let Some((opcode, params)) = Opcode::split(&packet.userdata) {
        let _ = respond(&Request {
            opcode,
            params,
            packet: &packet,
        });
    }
});
