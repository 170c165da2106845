//! Bytes to actions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::learn::{Learn, subfield};
use super::{
    Action, ActionList, Bundle, Controller, Ct, Multipath, NICIRA, Nat, NatKind, NatRange,
    PacketInReason, Sample, SampleDirection, Zone,
};
use crate::field::{Field, SubField};
use crate::matching::decode_field;
use crate::port::Port;
use crate::wire::{DecodeError, Reader};

/// Lists may nest (clone in clone); deeper than this is nobody's intent and would only serve to exhaust the stack.
const MAX_DEPTH: u8 = 16;

/// Reads one action off the reader.
pub(super) fn decode_action(reader: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Length {
            what: "nested actions",
            len: usize::from(depth),
        });
    }
    let whole = reader.peek();
    let (kind, len) = (reader.u16()?, usize::from(reader.u16()?));
    if len < 8 || !len.is_multiple_of(8) {
        return Err(DecodeError::Length {
            what: "action",
            len,
        });
    }
    let mut body = reader.sub(len - 4, "action")?;
    let known = match kind {
        0xffff => {
            let (vendor, subtype) = (body.u32()?, if len >= 10 { body.u16()? } else { 0 });
            if vendor == NICIRA {
                decode_nicira(subtype, &mut body, depth)
            } else {
                Ok(None)
            }
        }
        _ => decode_standard(kind, &mut body),
    };
    match known {
        Ok(Some(action)) => Ok(action),
        // A field this crate has no name for: keep the action as it is.
        Ok(None) | Err(DecodeError::Field { .. }) => Ok(Action::Raw(whole[..len].into())),
        Err(e) => Err(e),
    }
}

fn decode_standard(kind: u16, body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match kind {
        0 => {
            let (port, max_len) = (Port(body.u32()?), body.u16()?);
            match port {
                Port::CONTROLLER if max_len != u16::MAX => {
                    Action::Controller(Box::new(Controller {
                        max_len,
                        ..Controller::default()
                    }))
                }
                _ => Action::Output(port),
            }
        }
        17 => Action::PushVlan(body.u16()?),
        18 => Action::PopVlan,
        21 => Action::SetQueue(body.u32()?),
        22 => Action::Group(body.u32()?),
        24 => Action::DecTtl(Vec::new()),
        25 => {
            let m = decode_field(body)?;
            Action::SetField {
                field: m.field,
                value: m.value & m.mask,
                mask: m.mask,
            }
        }
        28 => {
            let bits = body.u16()?;
            let (src_offset, dst_offset) = (body.u16()?, body.u16()?);
            body.skip(2)?;
            Action::Move {
                src: subfield(body.u32()?, src_offset, bits)?,
                dst: subfield(body.u32()?, dst_offset, bits)?,
            }
        }
        29 => Action::Meter(body.u32()?),
        _ => return Ok(None),
    }))
}

fn decode_nicira(
    subtype: u16,
    body: &mut Reader<'_>,
    depth: u8,
) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match subtype {
        1 => Action::Resubmit {
            in_port: optional_port(body.u16()?),
            table: None,
            ct: false,
        },
        14 | 44 => {
            let (port, table) = (body.u16()?, body.u8()?);
            Action::Resubmit {
                in_port: optional_port(port),
                table: (table != 0xff).then_some(table),
                ct: subtype == 44,
            }
        }
        5 => Action::PopQueue,
        6 => {
            let bits = body.u16()?;
            let (src_offset, dst_offset) = (body.u16()?, body.u16()?);
            Action::Move {
                src: subfield(body.u32()?, src_offset, bits)?,
                dst: subfield(body.u32()?, dst_offset, bits)?,
            }
        }
        7 => {
            let (ofs_nbits, header, value) = (body.u16()?, body.u32()?, body.u64()?);
            Action::load(value, packed_subfield(header, ofs_nbits)?)
        }
        33 => {
            body.skip(6)?;
            let m = decode_field(body)?;
            Action::SetField {
                field: m.field,
                value: m.value & m.mask,
                mask: m.mask,
            }
        }
        8 => Action::Note(body.rest().into()),
        17 => Action::Exit,
        43 => Action::CtClear,
        42 => {
            body.skip(6)?;
            Action::Clone(ActionList::from_wire_nested(body.rest(), depth + 1)?)
        }
        16 | 45 => Action::Learn(Box::new(Learn::decode(body, subtype == 45)?)),
        35 => decode_ct(body, depth)?,
        36 => decode_nat(body)?,
        20 => Action::Controller(Box::new(Controller {
            max_len: body.u16()?,
            controller_id: body.u16()?,
            reason: reason(body.u8()?)?,
            ..Controller::default()
        })),
        37 => decode_controller2(body)?,
        10 => decode_multipath(body)?,
        12 | 13 => decode_bundle(body, subtype == 13)?,
        29 | 38 | 41 => decode_sample(body, subtype)?,
        _ => return decode_small(subtype, body),
    }))
}

fn decode_small(subtype: u16, body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match subtype {
        15 => {
            let ofs_nbits = body.u16()?;
            let header = body.u32()?;
            let max_len = body.u16()?;
            if max_len != u16::MAX {
                return Ok(None);
            }
            Action::OutputField(packed_subfield(header, ofs_nbits)?)
        }
        32 => {
            let (ofs_nbits, max_len, header) = (body.u16()?, body.u16()?, body.u32()?);
            if max_len != u16::MAX {
                return Ok(None);
            }
            Action::OutputField(packed_subfield(header, ofs_nbits)?)
        }
        39 => Action::OutputTruncated {
            port: Port::from_u16(body.u16()?),
            max_len: body.u32()?,
        },
        21 => {
            let n = body.u16()?;
            body.skip(4)?;
            let ids: Vec<u16> = (0..n).map(|_| body.u16()).collect::<Result<_, _>>()?;
            // Controller 0 alone is what the short form means.
            if ids.is_empty() || ids == [0] {
                Action::DecTtl(Vec::new())
            } else {
                Action::DecTtl(ids)
            }
        }
        27 | 28 => {
            let (offset, header, bits) = (body.u16()?, body.u32()?, body.u16()?);
            let sub = subfield(header, offset, bits)?;
            if subtype == 27 {
                Action::Push(sub)
            } else {
                Action::Pop(sub)
            }
        }
        34 => Action::Conjunction {
            clause: body.u8()?.wrapping_add(1),
            n_clauses: body.u8()?,
            id: body.u32()?,
        },
        49 => {
            let (len, offset, header) = (body.u16()?, body.u16()?, body.u32()?);
            Action::CheckPktLarger {
                len,
                dst: subfield(header, offset, 1)?,
            }
        }
        50 => {
            let header = body.u32()?;
            Action::DeleteField(Field::from_header(header).ok_or(DecodeError::Field { header })?)
        }
        _ => return Ok(None),
    }))
}

fn optional_port(port: u16) -> Option<Port> {
    let port = Port::from_u16(port);
    (port != Port::IN_PORT).then_some(port)
}

fn reason(v: u8) -> Result<PacketInReason, DecodeError> {
    PacketInReason::from_u8(v).ok_or(DecodeError::Value {
        what: "packet-in reason",
        value: v.into(),
    })
}

fn packed_subfield(header: u32, ofs_nbits: u16) -> Result<SubField, DecodeError> {
    let field = Field::from_header(header).ok_or(DecodeError::Field { header })?;
    SubField::from_ofs_nbits(field, ofs_nbits).ok_or(DecodeError::Length {
        what: field.def().name,
        len: usize::from(ofs_nbits),
    })
}

fn decode_ct(body: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    let flags = body.u16()?;
    let (zone_src, zone) = (body.u32()?, body.u16()?);
    let table = body.u8()?;
    body.skip(3)?;
    let alg = body.u16()?;
    let zone = if zone_src == 0 {
        Zone::Id(zone)
    } else {
        Zone::Field(packed_subfield(zone_src, zone)?)
    };
    Ok(Action::Ct(Box::new(Ct {
        commit: flags & 1 != 0,
        force: flags & 2 != 0,
        zone,
        table: (table != 0xff).then_some(table),
        alg,
        exec: ActionList::from_wire_nested(body.rest(), depth + 1)?,
    })))
}

fn decode_nat(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    body.skip(2)?;
    let (flags, present) = (body.u16()?, body.u16()?);
    let kind = match flags & 3 {
        0 => NatKind::Existing,
        1 => NatKind::Src,
        2 => NatKind::Dst,
        both => {
            return Err(DecodeError::Value {
                what: "nat flags",
                value: both.into(),
            });
        }
    };
    let on = |bit: u16| present & bit != 0;
    let v4 = |body: &mut Reader<'_>, bit| {
        if on(bit) {
            body.u32().map(|a| Some(Ipv4Addr::from_bits(a)))
        } else {
            Ok(None)
        }
    };
    let v6 = |body: &mut Reader<'_>, bit| {
        if on(bit) {
            body.u128().map(|a| Some(Ipv6Addr::from_bits(a)))
        } else {
            Ok(None)
        }
    };
    let (min4, max4) = (v4(body, 1)?, v4(body, 2)?);
    let (min6, max6) = (v6(body, 4)?, v6(body, 8)?);
    let addresses = min4
        .map(|min| NatRange::V4(min, max4))
        .or(min6.map(|min| NatRange::V6(min, max6)));
    let min = if on(0x10) { Some(body.u16()?) } else { None };
    let max = if on(0x20) { Some(body.u16()?) } else { None };
    Ok(Action::Nat(Box::new(Nat {
        kind,
        addresses,
        ports: min.map(|min| (min, max)),
        persistent: flags & 4 != 0,
        hash: flags & 8 != 0,
        random: flags & 16 != 0,
    })))
}

fn decode_controller2(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    body.skip(6)?;
    let mut c = Controller::default();
    while let Some((kind, mut value)) = next_property(body, "controller action")? {
        match kind {
            0 => c.max_len = value.u16()?,
            1 => c.controller_id = value.u16()?,
            2 => c.reason = reason(value.u8()?)?,
            3 => c.userdata = value.rest().into(),
            4 => c.pause = true,
            5 => c.meter_id = Some(value.u32()?),
            _ => {
                return Err(DecodeError::Value {
                    what: "controller property",
                    value: kind.into(),
                });
            }
        }
    }
    Ok(Action::Controller(Box::new(c)))
}

/// The next `ofp_prop_header` with its contents.
pub(crate) fn next_property<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Option<(u16, Reader<'a>)>, DecodeError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let (kind, len) = (reader.u16()?, usize::from(reader.u16()?));
    let body = len
        .checked_sub(4)
        .ok_or(DecodeError::Length { what, len })?;
    let value = reader.sub(body, what)?;
    reader.pad8(len)?;
    Ok(Some((kind, value)))
}

fn decode_multipath(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let (fields, basis) = (body.u16()?, body.u16()?);
    body.skip(2)?;
    let (algorithm, max_link, arg) = (body.u16()?, body.u16()?, body.u32()?);
    body.skip(2)?;
    let ofs_nbits = body.u16()?;
    let dst = packed_subfield(body.u32()?, ofs_nbits)?;
    Ok(Action::Multipath(Box::new(Multipath {
        fields,
        basis,
        algorithm,
        max_link,
        arg,
        dst,
    })))
}

fn decode_bundle(body: &mut Reader<'_>, load: bool) -> Result<Action, DecodeError> {
    let (algorithm, fields, basis) = (body.u16()?, body.u16()?, body.u16()?);
    body.skip(4)?;
    let n = body.u16()?;
    let (ofs_nbits, header) = (body.u16()?, body.u32()?);
    body.skip(4)?;
    let dst = if load {
        Some(packed_subfield(header, ofs_nbits)?)
    } else {
        None
    };
    let members = (0..n)
        .map(|_| body.u16().map(Port::from_u16))
        .collect::<Result<_, _>>()?;
    Ok(Action::Bundle(Box::new(Bundle {
        fields,
        basis,
        algorithm,
        members,
        dst,
    })))
}

fn decode_sample(body: &mut Reader<'_>, subtype: u16) -> Result<Action, DecodeError> {
    let mut s = Sample {
        probability: body.u16()?,
        collector_set_id: body.u32()?,
        obs_domain_id: body.u32()?,
        obs_point_id: body.u32()?,
        sampling_port: None,
        direction: SampleDirection::Default,
    };
    if subtype != 29 {
        let port = Port::from_u16(body.u16()?);
        s.sampling_port = (port != Port::ANY).then_some(port);
        s.direction = match body.u8()? {
            1 => SampleDirection::Ingress,
            2 => SampleDirection::Egress,
            _ => SampleDirection::Default,
        };
    }
    Ok(Action::Sample(s))
}
