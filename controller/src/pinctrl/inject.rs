//! Packets back into the pipeline, where the packet was that they come from.

use weft_openflow::{Action, ActionList, Field, Message, PacketIn, PacketOut};

use super::respond::{Refusal, Request};

/// Actions that give a packet the logical state of another: its datapath, ports, flags and registers. It comes from the
/// controller, so it may leave by the port where the other came in.
fn state(of: &PacketIn) -> ActionList {
    let registers = (0..16).map(Field::reg);
    std::iter::once(Field::Metadata)
        .chain(registers)
        .map(|field| (field, of.metadata_value(field)))
        .filter(|&(_, value)| value != 0)
        .map(|(field, value)| Action::set(field, value))
        .collect()
}

/// `packet` with the state that the request's has, on which `actions` are executed.
pub(super) fn packet_out(
    request: &Request<'_>,
    packet: Vec<u8>,
    actions: &ActionList,
) -> PacketOut {
    let mut all = state(request.packet);
    all.append(actions);
    PacketOut::new(packet, all)
}

/// `packet` with the state that the request's has, on which the request's nested actions are executed.
pub(super) fn nested(request: &Request<'_>, packet: Vec<u8>) -> Result<Message, Refusal> {
    let actions = ActionList::from_wire(request.params)?;
    Ok(Message::PacketOut(packet_out(request, packet, &actions)))
}

/// The value that nested actions give a field, if they do: by a constant or by copying a whole field of the packet's
/// metadata.
pub(super) fn assigned(actions: &ActionList, field: Field, packet: &PacketIn) -> Option<u128> {
    let mut value = None;
    for action in actions.iter() {
        match action {
            Action::SetField {
                field: to,
                value: new,
                mask,
            } if to == field && mask == field.full_mask() => value = Some(new),
            Action::Move { src, dst } if dst == field.whole() && src == src.field.whole() => {
                value = Some(register(packet, src.field));
            }
            _ => {}
        }
    }
    value
}

/// A register of any width, of which packet-ins tell the 32-bit ones.
fn register(packet: &PacketIn, field: Field) -> u128 {
    let join = |first: u8, count: u8| {
        (first..first + count).fold(0, |value, n| {
            value << 32 | packet.metadata_value(Field::reg(n))
        })
    };
    let number = field as u8;
    match number.checked_sub(Field::XReg0 as u8) {
        Some(n) if n < 8 => join(n * 2, 2),
        Some(n) if n < 12 => join((n - 8) * 4, 4),
        _ => packet.metadata_value(field),
    }
}

#[cfg(test)]
mod tests {
    use weft_openflow::Port;

    use super::super::testing::packet_in;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn state_and_nested_actions_in_this_order() {
        let nested_actions = ActionList::from([Action::resubmit(37)]);
        let mut packet = packet_in(Opcode::Icmp, nested_actions.wire_bytes(), &[]);
        packet
            .metadata
            .set(Field::Metadata, 5u32)
            .set(Field::Reg14, 2u32)
            .set(Field::InPort, 9u32);
        let request = Request {
            opcode: Opcode::Icmp,
            params: nested_actions.wire_bytes(),
            packet: &packet,
        };
        let Message::PacketOut(out) = nested(&request, vec![1]).unwrap() else {
            panic!("no packet-out")
        };
        let state = [
            (Field::Metadata, 5u32),
            (Field::Reg14, 2),
            (Field::Reg15, 2),
        ];
        let mut expected: ActionList = state
            .into_iter()
            .map(|(field, value)| Action::set(field, value))
            .collect();
        expected.append(&nested_actions);
        assert_eq!(out.actions, expected);
        assert_eq!(
            out.metadata.exact(Field::InPort),
            Some(Port::CONTROLLER.0.into())
        );
        assert_eq!(out.packet, [1]);
        let broken = Request {
            params: &[0, 25, 0, 1],
            ..request
        };
        assert!(matches!(nested(&broken, vec![]), Err(Refusal::Actions(_))));
    }

    #[test]
    fn registers_of_any_width_are_found() {
        let mut packet = packet_in(Opcode::Arp, &[], &[]);
        packet
            .metadata
            .set(Field::Reg0, 1u32)
            .set(Field::Reg1, 2u32)
            .set(Field::Reg3, 4u32);
        let moved =
            |from: Field, to: Field| ActionList::from([Action::copy(from.whole(), to.whole())]);
        let tpa = moved(Field::Reg0, Field::ArpTpa);
        assert_eq!(assigned(&tpa, Field::ArpTpa, &packet), Some(1));
        assert_eq!(assigned(&tpa, Field::ArpSpa, &packet), None);
        let target = moved(Field::XXReg0, Field::NdTarget);
        assert_eq!(
            assigned(&target, Field::NdTarget, &packet),
            Some(1 << 96 | 2 << 64 | 4)
        );
        let constant = ActionList::from([Action::set(Field::ArpTpa, 7u32)]);
        assert_eq!(assigned(&constant, Field::ArpTpa, &packet), Some(7));
    }
}
