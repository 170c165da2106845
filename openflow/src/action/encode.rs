//! Actions to bytes, in the form Open vSwitch itself gives back over OpenFlow 1.5.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Action, Bundle, Controller, Ct, Multipath, NICIRA, Nat, NatKind, NatRange, PacketInReason,
    Sample, SampleDirection, Zone,
};
use crate::field::SubField;
use crate::matching::encode_field;
use crate::port::Port;
use crate::wire::Put;

/// Starts a Nicira action and returns where, for [`finish`].
fn nicira(out: &mut Vec<u8>, subtype: u16) -> usize {
    let start = out.len();
    out.u16(0xffff);
    out.u16(0);
    out.u32(NICIRA);
    out.u16(subtype);
    start
}

/// Starts a standard action.
fn standard(out: &mut Vec<u8>, kind: u16) -> usize {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    start
}

fn finish(out: &mut Vec<u8>, start: usize) {
    out.pad8(start);
    out.patch_len(start + 2, start);
}

pub(super) fn encode_action(action: &Action, out: &mut Vec<u8>) {
    let start = match action {
        Action::Output(port) => {
            return encode_output(
                out,
                *port,
                if *port == Port::CONTROLLER {
                    u16::MAX
                } else {
                    0
                },
            );
        }
        Action::Controller(c) => return encode_controller(out, c),
        Action::Learn(learn) => return learn.encode(out),
        Action::Raw(bytes) => return out.bytes(bytes),
        Action::OutputTruncated { port, max_len } => {
            let start = nicira(out, 39);
            out.u16(port.to_u16());
            out.u32(*max_len);
            start
        }
        Action::OutputField(src) => {
            let start = nicira(out, 15);
            out.u16(src.ofs_nbits());
            out.u32(src.field.nxm_header());
            out.u16(u16::MAX);
            start
        }
        Action::Resubmit { in_port, table, ct } => {
            let start = nicira(out, if *ct { 44 } else { 14 });
            out.u16(in_port.unwrap_or(Port::IN_PORT).to_u16());
            out.u8(table.unwrap_or(0xff));
            start
        }
        Action::SetField { field, value, mask } => {
            let start = standard(out, 25);
            let mask = mask & field.full_mask();
            encode_field(
                out,
                *field,
                value & mask,
                (mask != field.full_mask()).then_some(mask),
            );
            start
        }
        Action::Move { src, dst } => {
            let start = standard(out, 28);
            out.u16(u16::from(src.bits));
            out.u16(u16::from(src.offset));
            out.u16(u16::from(dst.offset));
            out.u16(0);
            out.u32(src.field.oxm_header());
            out.u32(dst.field.oxm_header());
            start
        }
        Action::Ct(ct) => encode_ct(out, ct),
        Action::Nat(nat) => encode_nat(out, nat),
        Action::Clone(list) => {
            let start = nicira(out, 42);
            out.zeros(6);
            out.bytes(list.wire_bytes());
            start
        }
        Action::DecTtl(ids) if ids.is_empty() => standard(out, 24),
        Action::DecTtl(ids) => {
            let start = nicira(out, 21);
            out.u16(u16::try_from(ids.len()).unwrap_or(u16::MAX));
            out.zeros(4);
            ids.iter().for_each(|id| out.u16(*id));
            start
        }
        Action::Multipath(m) => encode_multipath(out, m),
        Action::Bundle(b) => encode_bundle(out, b),
        Action::Sample(s) => encode_sample(out, s),
        _ => encode_small(action, out),
    };
    finish(out, start);
}

/// The actions of one or two numbers.
fn encode_small(action: &Action, out: &mut Vec<u8>) -> usize {
    let number = |out: &mut Vec<u8>, kind: u16, value: u32| {
        let start = standard(out, kind);
        out.u32(value);
        start
    };
    match action {
        Action::Group(id) => number(out, 22, *id),
        Action::Meter(id) => number(out, 29, *id),
        Action::SetQueue(id) => number(out, 21, *id),
        Action::PushVlan(ethertype) => number(out, 17, u32::from(*ethertype) << 16),
        Action::PopVlan => standard(out, 18),
        Action::PopQueue => nicira(out, 5),
        Action::Exit => nicira(out, 17),
        Action::CtClear => nicira(out, 43),
        Action::Push(sub) => encode_stack(out, 27, *sub),
        Action::Pop(sub) => encode_stack(out, 28, *sub),
        Action::Note(bytes) => {
            let start = nicira(out, 8);
            out.bytes(bytes);
            start
        }
        Action::Conjunction {
            id,
            clause,
            n_clauses,
        } => {
            let start = nicira(out, 34);
            out.u8(clause.wrapping_sub(1));
            out.u8(*n_clauses);
            out.u32(*id);
            start
        }
        Action::CheckPktLarger { len, dst } => {
            let start = nicira(out, 49);
            out.u16(*len);
            out.u16(u16::from(dst.offset));
            out.u32(dst.field.nxm_header());
            start
        }
        Action::DeleteField(field) => {
            let start = nicira(out, 50);
            out.u32(field.nxm_header());
            // The structure has more padding than alignment asks for.
            out.zeros(10);
            start
        }
        other => unreachable!("{other:?} is encoded by encode_action"),
    }
}

fn encode_output(out: &mut Vec<u8>, port: Port, max_len: u16) {
    let start = standard(out, 0);
    out.u32(port.0);
    out.u16(max_len);
    out.zeros(6);
    finish(out, start);
}

fn encode_stack(out: &mut Vec<u8>, subtype: u16, sub: SubField) -> usize {
    let start = nicira(out, subtype);
    out.u16(u16::from(sub.offset));
    out.u32(sub.field.nxm_header());
    out.u16(u16::from(sub.bits));
    start
}

/// The shortest of the three forms that can say it.
fn encode_controller(out: &mut Vec<u8>, c: &Controller) {
    if c.userdata.is_empty() && !c.pause && c.meter_id.is_none() {
        if c.reason == PacketInReason::Action && c.controller_id == 0 {
            return encode_output(out, Port::CONTROLLER, c.max_len);
        }
        let start = nicira(out, 20);
        out.u16(c.max_len);
        out.u16(c.controller_id);
        out.u8(c.reason as u8);
        return finish(out, start);
    }
    let start = nicira(out, 37);
    out.zeros(6);
    if c.max_len != u16::MAX {
        property(out, 0, |out| out.u16(c.max_len));
    }
    if c.controller_id != 0 {
        property(out, 1, |out| out.u16(c.controller_id));
    }
    if c.reason != PacketInReason::Action {
        property(out, 2, |out| out.u8(c.reason as u8));
    }
    if !c.userdata.is_empty() {
        property(out, 3, |out| out.bytes(&c.userdata));
    }
    if c.pause {
        property(out, 4, |_| ());
    }
    if let Some(meter) = c.meter_id {
        property(out, 5, |out| out.u32(meter));
    }
    finish(out, start);
}

/// One `ofp_prop_header` with contents, padded behind its length.
pub(crate) fn property(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    write(out);
    out.patch_len(start + 2, start);
    out.pad8(start);
}

fn encode_ct(out: &mut Vec<u8>, ct: &Ct) -> usize {
    let start = nicira(out, 35);
    out.u16(u16::from(ct.commit) | u16::from(ct.force) << 1);
    match ct.zone {
        Zone::Id(zone) => {
            out.u32(0);
            out.u16(zone);
        }
        Zone::Field(sub) => {
            out.u32(sub.field.nxm_header());
            out.u16(sub.ofs_nbits());
        }
    }
    out.u8(ct.table.unwrap_or(0xff));
    out.zeros(3);
    out.u16(ct.alg);
    out.bytes(ct.exec.wire_bytes());
    start
}

fn encode_nat(out: &mut Vec<u8>, nat: &Nat) -> usize {
    let start = nicira(out, 36);
    out.zeros(2);
    let kind = match nat.kind {
        NatKind::Existing => 0,
        NatKind::Src => 1,
        NatKind::Dst => 2,
    };
    out.u16(
        kind | u16::from(nat.persistent) << 2
            | u16::from(nat.hash) << 3
            | u16::from(nat.random) << 4,
    );
    let present_at = out.len();
    out.u16(0);
    let mut present = 0;
    let mut v4 = |out: &mut Vec<u8>, bit: u16, a: Ipv4Addr| {
        present |= bit;
        out.bytes(&a.octets());
    };
    match nat.addresses {
        Some(NatRange::V4(min, max)) => {
            v4(out, 1, min);
            if let Some(max) = max {
                v4(out, 2, max);
            }
        }
        Some(NatRange::V6(min, max)) => {
            let mut v6 = |out: &mut Vec<u8>, bit: u16, a: Ipv6Addr| {
                present |= bit;
                out.bytes(&a.octets());
            };
            v6(out, 4, min);
            if let Some(max) = max {
                v6(out, 8, max);
            }
        }
        None => {}
    }
    if let Some((min, max)) = nat.ports {
        present |= 0x10;
        out.u16(min);
        if let Some(max) = max {
            present |= 0x20;
            out.u16(max);
        }
    }
    out[present_at..present_at + 2].copy_from_slice(&present.to_be_bytes());
    start
}

fn encode_multipath(out: &mut Vec<u8>, m: &Multipath) -> usize {
    let start = nicira(out, 10);
    out.u16(m.fields);
    out.u16(m.basis);
    out.u16(0);
    out.u16(m.algorithm);
    out.u16(m.max_link);
    out.u32(m.arg);
    out.u16(0);
    out.u16(m.dst.ofs_nbits());
    out.u32(m.dst.field.nxm_header());
    start
}

fn encode_bundle(out: &mut Vec<u8>, b: &Bundle) -> usize {
    let start = nicira(out, if b.dst.is_some() { 13 } else { 12 });
    out.u16(b.algorithm);
    out.u16(b.fields);
    out.u16(b.basis);
    // Members are port numbers of 16 bits, said by naming NXM_OF_IN_PORT.
    out.u32(0x0000_0002);
    out.u16(u16::try_from(b.members.len()).unwrap_or(u16::MAX));
    out.u16(b.dst.map_or(0, SubField::ofs_nbits));
    out.u32(b.dst.map_or(0, |dst| dst.field.nxm_header()));
    out.u32(0);
    b.members.iter().for_each(|p| out.u16(p.to_u16()));
    start
}

/// Subtype 29 without port, 38 with one, 41 with a direction.
fn encode_sample(out: &mut Vec<u8>, s: &Sample) -> usize {
    let subtype = match (s.direction, s.sampling_port) {
        (SampleDirection::Default, None) => 29,
        (SampleDirection::Default, Some(_)) => 38,
        _ => 41,
    };
    let start = nicira(out, subtype);
    out.u16(s.probability);
    out.u32(s.collector_set_id);
    out.u32(s.obs_domain_id);
    out.u32(s.obs_point_id);
    if subtype != 29 {
        out.u16(s.sampling_port.unwrap_or(Port::ANY).to_u16());
        out.u8(match s.direction {
            SampleDirection::Default => 0,
            SampleDirection::Ingress => 1,
            SampleDirection::Egress => 2,
        });
    }
    start
}
