//! Matches and actions in ovs-ofctl's syntax, as `ovs-ofctl -O OpenFlow15 --no-names dump-flows` writes them.

use std::fmt::{self, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::action::{
    Action, ActionList, Bundle, Controller, Ct, Learn, LearnDst, LearnSpec, LearnSrc, Multipath,
    Nat, NatKind, NatRange, PacketInReason, Sample, SampleDirection, Zone,
};
use crate::field::{Field, Format};
use crate::matching::{Match, MatchField};
use crate::port::Port;

/// Separates items.
struct List<'a, 'f> {
    f: &'a mut Formatter<'f>,
    empty: bool,
}

impl<'a, 'f> List<'a, 'f> {
    fn new(f: &'a mut Formatter<'f>) -> Self {
        Self { f, empty: true }
    }

    fn item(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::take(&mut self.empty) {
            self.f.write_str(",")?;
        }
        self.f.write_fmt(args)
    }
}

macro_rules! item {
    ($list:expr, $($arg:tt)*) => { $list.item(format_args!($($arg)*)) };
}

/// Fields in the order ovs-ofctl writes them, in front of and behind the protocol's name.
const BEFORE_PROTOCOL: &[Field] = &[
    Field::PktMark,
    Field::ConjId,
    Field::ActsetOutput,
    Field::CtState,
    Field::CtZone,
    Field::CtMark,
    Field::CtLabel,
    Field::CtNwSrc,
    Field::CtIpv6Src,
    Field::CtNwDst,
    Field::CtIpv6Dst,
    Field::CtNwProto,
    Field::CtTpSrc,
    Field::CtTpDst,
];

const AFTER_PROTOCOL: &[Field] = &[
    Field::TunId,
    Field::TunSrc,
    Field::TunDst,
    Field::TunIpv6Src,
    Field::TunIpv6Dst,
    Field::TunGbpId,
    Field::TunGbpFlags,
    Field::TunFlags,
    Field::TunMetadata0,
    Field::Metadata,
    Field::InPort,
    Field::VlanVid,
    Field::VlanPcp,
    Field::EthSrc,
    Field::EthDst,
    Field::EthType,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Label,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::IpProto,
    Field::ArpOp,
    Field::ArpSha,
    Field::ArpTha,
    Field::IpDscp,
    Field::IpEcn,
    Field::IpTtl,
    Field::MplsLabel,
    Field::MplsTc,
    Field::MplsTtl,
    Field::MplsBos,
    Field::IpFrag,
    Field::IcmpType,
    Field::IcmpCode,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
    Field::NdTarget,
    Field::NdSll,
    Field::NdTll,
    Field::NdReserved,
    Field::NdOptionsType,
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::SctpSrc,
    Field::SctpDst,
    Field::TcpFlags,
];

pub(crate) fn write_match(f: &mut Formatter<'_>, m: &Match) -> fmt::Result {
    let mut list = List::new(f);
    for field in BEFORE_PROTOCOL {
        if let Some(m) = m.get(*field) {
            write_field(&mut list, &m)?;
        }
    }
    let (protocol, names_proto) = protocol(m);
    if let Some(protocol) = protocol {
        item!(list, "{protocol}")?;
    }
    for n in 0..16 {
        if let Some(m) = m.get(Field::reg(n)) {
            write_field(&mut list, &m)?;
        }
    }
    for field in AFTER_PROTOCOL {
        let implied = *field == Field::EthType && protocol.is_some()
            || *field == Field::IpProto && names_proto;
        match m.get(*field) {
            Some(found) if !implied => match field {
                Field::VlanVid => write_vlan(&mut list, m, &found)?,
                Field::VlanPcp if m.exact(Field::VlanVid).is_none() => {
                    item!(list, "dl_vlan_pcp={}", found.value)?
                }
                Field::VlanPcp => item!(list, "dl_vlan_pcp={}", found.value)?,
                _ => write_field(&mut list, &found)?,
            },
            _ => {}
        }
    }
    Ok(())
}

/// The name that stands for Ethernet type, and whether it stands for the IP protocol too.
fn protocol(m: &Match) -> (Option<&'static str>, bool) {
    let proto = m.exact(Field::IpProto);
    match m.exact(Field::EthType) {
        Some(0x0800) => match proto {
            Some(1) => (Some("icmp"), true),
            Some(6) => (Some("tcp"), true),
            Some(17) => (Some("udp"), true),
            Some(132) => (Some("sctp"), true),
            _ => (Some("ip"), false),
        },
        Some(0x86dd) => match proto {
            Some(58) => (Some("icmp6"), true),
            Some(6) => (Some("tcp6"), true),
            Some(17) => (Some("udp6"), true),
            Some(132) => (Some("sctp6"), true),
            _ => (Some("ipv6"), false),
        },
        Some(0x0806) => (Some("arp"), false),
        Some(0x8035) => (Some("rarp"), false),
        Some(0x8847) => (Some("mpls"), false),
        Some(0x8848) => (Some("mplsm"), false),
        _ => (None, false),
    }
}

/// The VID without its presence bit when exact, else the bits of the tag.
fn write_vlan(list: &mut List<'_, '_>, _m: &Match, vid: &MatchField) -> fmt::Result {
    match (vid.is_exact(), vid.value & 0x1000 != 0) {
        (true, true) => item!(list, "dl_vlan={}", vid.value & 0xfff),
        _ => item!(list, "vlan_tci={:#06x}/{:#06x}", vid.value, vid.mask),
    }
}

/// The name a field has in a flow's match.
fn match_name(field: Field) -> &'static str {
    match field {
        Field::EthSrc => "dl_src",
        Field::EthDst => "dl_dst",
        Field::EthType => "dl_type",
        Field::Ipv4Src => "nw_src",
        Field::Ipv4Dst => "nw_dst",
        Field::IpProto => "nw_proto",
        Field::IpDscp => "nw_tos",
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => "tp_src",
        Field::TcpDst | Field::UdpDst | Field::SctpDst => "tp_dst",
        Field::Icmpv6Type => "icmp_type",
        Field::Icmpv6Code => "icmp_code",
        other => other.def().name,
    }
}

fn write_field(list: &mut List<'_, '_>, m: &MatchField) -> fmt::Result {
    let name = match_name(m.field);
    match m.field {
        Field::IpDscp => item!(list, "{name}={}", m.value << 2),
        Field::EthType => item!(list, "{name}={:#06x}", m.value),
        Field::Ipv6Label if m.is_exact() => item!(list, "{name}={:#07x}", m.value),
        _ => item!(list, "{name}={}", Value(m)),
    }
}

/// A value with its mask in the field's format.
struct Value<'a>(&'a MatchField);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MatchField { field, value, mask } = *self.0;
        let exact = self.0.is_exact();
        match field.def().format {
            Format::CtState => write_flags(f, value, mask, CT_STATE),
            Format::TcpFlags if !exact => write_flags(f, value, mask, TCP_FLAGS),
            Format::TcpFlags => write_tcp_flags(f, value),
            Format::TunFlags => write_flags(f, value, mask, &["oam"]),
            Format::Fragment => f.write_str(match (value, mask) {
                (0, 3) => "no",
                (1, 3) => "first",
                (3, 3) => "later",
                (1, 1) => "yes",
                (0, 1) => "no",
                (0, 2) => "not_later",
                _ => "<error>",
            }),
            Format::Ipv4 => {
                write!(f, "{}", Ipv4Addr::from_bits(low32(value)))?;
                if exact {
                    return Ok(());
                }
                let mask = low32(mask);
                match prefix_len(u128::from(mask), 32) {
                    Some(len) => write!(f, "/{len}"),
                    None => write!(f, "/{}", Ipv4Addr::from_bits(mask)),
                }
            }
            Format::Ipv6 => {
                write!(f, "{}", Ipv6Addr::from_bits(value))?;
                match prefix_len(mask, 128) {
                    _ if exact => Ok(()),
                    Some(len) => write!(f, "/{len}"),
                    None => write!(f, "/{}", Ipv6Addr::from_bits(mask)),
                }
            }
            Format::Ethernet if exact => write_mac(f, value),
            Format::Ethernet => {
                write_mac(f, value)?;
                f.write_str("/")?;
                write_mac(f, mask)
            }
            Format::Port => write!(
                f,
                "{}",
                if field == Field::InPortNxm {
                    Port::from_u16(value as u16)
                } else {
                    Port(low32(value))
                }
            ),
            Format::Decimal if exact => write!(f, "{value}"),
            Format::Hex if exact => write_hex(f, value),
            Format::Decimal | Format::Hex => {
                write_hex(f, value)?;
                f.write_str("/")?;
                write_hex(f, mask)
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn low32(v: u128) -> u32 {
    v as u32
}

/// `0` stays `0`.
fn write_hex(f: &mut Formatter<'_>, v: u128) -> fmt::Result {
    if v == 0 {
        f.write_str("0")
    } else {
        write!(f, "{v:#x}")
    }
}

fn write_mac(f: &mut Formatter<'_>, v: u128) -> fmt::Result {
    let b = v.to_be_bytes();
    write!(
        f,
        "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
        b[10], b[11], b[12], b[13], b[14], b[15]
    )
}

/// Length of the prefix if the mask is one.
fn prefix_len(mask: u128, width: u32) -> Option<u32> {
    let mask = mask << (128 - width);
    let ones = mask.leading_ones();
    (ones == 128 || mask << ones == 0).then_some(ones)
}

const CT_STATE: &[&str] = &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
const TCP_FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];

fn write_flags(f: &mut Formatter<'_>, value: u128, mask: u128, names: &[&str]) -> fmt::Result {
    for bit in 0..128 {
        if mask >> bit & 1 == 0 {
            continue;
        }
        f.write_str(if value >> bit & 1 == 1 { "+" } else { "-" })?;
        match names.get(bit) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "[{bit}]")?,
        }
    }
    Ok(())
}

/// All flags are known: only those that are set.
fn write_tcp_flags(f: &mut Formatter<'_>, value: u128) -> fmt::Result {
    if value == 0 {
        return f.write_str("0");
    }
    let mut first = true;
    for bit in (0..12).filter(|bit| value >> bit & 1 == 1) {
        if !std::mem::take(&mut first) {
            f.write_str("|")?;
        }
        match TCP_FLAGS.get(bit) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "[{bit}]")?,
        }
    }
    Ok(())
}

pub(crate) fn write_actions(f: &mut Formatter<'_>, actions: &ActionList) -> fmt::Result {
    if actions.is_empty() {
        return f.write_str("drop");
    }
    let mut list = List::new(f);
    for action in actions.iter() {
        item!(list, "{action}")?;
    }
    Ok(())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(Port::CONTROLLER) => f.write_str("CONTROLLER:65535"),
            Self::Output(port) if port.0 > 0xffff_ff00 => write!(f, "{port}"),
            Self::Output(port) => write!(f, "output:{port}"),
            Self::OutputTruncated { port, max_len } => {
                write!(f, "output(port={port},max_len={max_len})")
            }
            Self::OutputField(src) => write!(f, "output:{src}"),
            Self::Controller(c) => write_controller(f, c),
            Self::Resubmit {
                in_port: Some(port),
                table: None,
                ct: false,
            } => write!(f, "resubmit:{port}"),
            Self::Resubmit { in_port, table, ct } => {
                f.write_str("resubmit(")?;
                in_port.iter().try_for_each(|p| write!(f, "{p}"))?;
                f.write_str(",")?;
                table.iter().try_for_each(|t| write!(f, "{t}"))?;
                f.write_str(if *ct { ",ct)" } else { ")" })
            }
            Self::SetField { field, value, mask } => {
                let m = MatchField {
                    field: *field,
                    value: *value,
                    mask: *mask,
                };
                write!(f, "set_field:{}->{}", SetValue(&m), set_name(*field))
            }
            Self::Move { src, dst } => write!(f, "move:{src}->{dst}"),
            Self::Ct(ct) => write_ct(f, ct),
            Self::CtClear => f.write_str("ct_clear"),
            Self::Nat(nat) => write_nat(f, nat),
            Self::Conjunction {
                id,
                clause,
                n_clauses,
            } => write!(f, "conjunction({id},{clause}/{n_clauses})"),
            Self::DecTtl(ids) if ids.is_empty() => f.write_str("dec_ttl"),
            Self::DecTtl(ids) => {
                f.write_str("dec_ttl(")?;
                let mut list = List::new(f);
                ids.iter().try_for_each(|id| item!(list, "{id}"))?;
                f.write_str(")")
            }
            Self::Clone(list) => write!(f, "clone({list})"),
            Self::Learn(learn) => write_learn(f, learn),
            Self::Note(bytes) => {
                f.write_str("note:")?;
                write_dotted(f, bytes)
            }
            Self::Group(id) => write!(f, "group:{id}"),
            Self::Meter(id) => write!(f, "meter:{id}"),
            Self::PushVlan(ethertype) => write!(f, "push_vlan:{ethertype:#06x}"),
            Self::PopVlan => f.write_str("pop_vlan"),
            Self::Push(sub) => write!(f, "push:{sub}"),
            Self::Pop(sub) => write!(f, "pop:{sub}"),
            Self::CheckPktLarger { len, dst } => write!(f, "check_pkt_larger({len})->{dst}"),
            Self::Sample(s) => write_sample(f, s),
            Self::SetQueue(id) => write!(f, "set_queue:{id}"),
            Self::PopQueue => f.write_str("pop_queue"),
            Self::Multipath(m) => write_multipath(f, m),
            Self::Bundle(b) => write_bundle(f, b),
            Self::DeleteField(field) => write!(f, "delete_field:{field}"),
            Self::Exit => f.write_str("exit"),
            Self::Raw(bytes) => {
                f.write_str("raw:")?;
                write_dotted(f, bytes)
            }
        }
    }
}

/// `set_field` writes VLAN ids and ToS as they are on the wire, flags as numbers.
struct SetValue<'a>(&'a MatchField);

impl fmt::Display for SetValue<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Value(self.0).fmt(f)
    }
}

fn set_name(field: Field) -> &'static str {
    field.def().name
}

fn write_dotted(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte:02x}", if i == 0 { "" } else { "." })?;
    }
    Ok(())
}

fn write_controller(f: &mut Formatter<'_>, c: &Controller) -> fmt::Result {
    let plain = c.userdata.is_empty() && !c.pause && c.meter_id.is_none();
    if plain && c.reason == PacketInReason::Action && c.controller_id == 0 {
        return write!(f, "CONTROLLER:{}", c.max_len);
    }
    f.write_str("controller(")?;
    let mut list = List::new(f);
    if c.reason != PacketInReason::Action {
        item!(list, "reason={}", c.reason.name())?;
    }
    if c.max_len != u16::MAX {
        item!(list, "max_len={}", c.max_len)?;
    }
    if c.controller_id != 0 {
        item!(list, "id={}", c.controller_id)?;
    }
    if !c.userdata.is_empty() {
        item!(list, "userdata=")?;
        write_dotted(list.f, &c.userdata)?;
    }
    if c.pause {
        item!(list, "pause")?;
    }
    if let Some(meter) = c.meter_id {
        item!(list, "meter_id={meter}")?;
    }
    f.write_str(")")
}

fn write_ct(f: &mut Formatter<'_>, ct: &Ct) -> fmt::Result {
    f.write_str("ct(")?;
    let mut list = List::new(f);
    if ct.commit {
        item!(list, "commit")?;
    }
    if ct.force {
        item!(list, "force")?;
    }
    if let Some(table) = ct.table {
        item!(list, "table={table}")?;
    }
    match ct.zone {
        Zone::Id(0) => {}
        Zone::Id(zone) => item!(list, "zone={zone}")?,
        Zone::Field(sub) => item!(list, "zone={sub}")?,
    }
    let (nat, other): (Vec<_>, Vec<_>) = ct.exec.iter().partition(|a| matches!(a, Action::Nat(_)));
    for nat in nat {
        item!(list, "{nat}")?;
    }
    if !other.is_empty() {
        item!(list, "exec({})", ActionList::from(&other[..]))?;
    }
    match ct.alg {
        0 => {}
        21 => item!(list, "alg=ftp")?,
        69 => item!(list, "alg=tftp")?,
        alg => item!(list, "alg={alg}")?,
    }
    f.write_str(")")
}

fn write_nat(f: &mut Formatter<'_>, nat: &Nat) -> fmt::Result {
    let kind = match nat.kind {
        NatKind::Existing => return f.write_str("nat"),
        NatKind::Src => "src",
        NatKind::Dst => "dst",
    };
    write!(f, "nat({kind}")?;
    if nat.addresses.is_some() || nat.ports.is_some() {
        f.write_str("=")?;
    }
    match nat.addresses {
        Some(NatRange::V4(min, None)) => write!(f, "{min}")?,
        Some(NatRange::V4(min, Some(max))) => write!(f, "{min}-{max}")?,
        Some(NatRange::V6(min, max)) => {
            // Brackets keep the address apart from the port.
            let bracket = nat.ports.is_some();
            f.write_str(if bracket { "[" } else { "" })?;
            write!(f, "{min}")?;
            if let Some(max) = max {
                write!(
                    f,
                    "{}-{}{max}",
                    if bracket { "]" } else { "" },
                    if bracket { "[" } else { "" }
                )?;
            }
            f.write_str(if bracket { "]" } else { "" })?;
        }
        None => {}
    }
    if let Some((min, max)) = nat.ports {
        write!(f, ":{min}")?;
        max.iter().try_for_each(|max| write!(f, "-{max}"))?;
    }
    for (on, name) in [
        (nat.persistent, "persistent"),
        (nat.hash, "hash"),
        (nat.random, "random"),
    ] {
        if on {
            write!(f, ",{name}")?;
        }
    }
    f.write_str(")")
}

fn write_learn(f: &mut Formatter<'_>, l: &Learn) -> fmt::Result {
    f.write_str("learn(")?;
    let mut list = List::new(f);
    item!(list, "table={}", l.table)?;
    for (name, value) in [
        ("idle_timeout", l.idle_timeout),
        ("hard_timeout", l.hard_timeout),
        ("fin_idle_timeout", l.fin_idle_timeout),
        ("fin_hard_timeout", l.fin_hard_timeout),
    ] {
        if value != 0 {
            item!(list, "{name}={value}")?;
        }
    }
    if l.priority != 0x8000 {
        item!(list, "priority={}", l.priority)?;
    }
    if l.send_flow_removed {
        item!(list, "send_flow_rem")?;
    }
    if l.delete_learned {
        item!(list, "delete_learned")?;
    }
    if l.cookie != 0 {
        item!(list, "cookie={:#x}", l.cookie)?;
    }
    if l.limit != 0 {
        item!(list, "limit={}", l.limit)?;
    }
    if let Some(result) = l.result {
        item!(list, "result_dst={result}")?;
    }
    for spec in &l.specs {
        write_learn_spec(&mut list, spec)?;
    }
    f.write_str(")")
}

fn write_learn_spec(list: &mut List<'_, '_>, spec: &LearnSpec) -> fmt::Result {
    match (spec.src, spec.dst) {
        (LearnSrc::Field(src), LearnDst::Match(dst)) if src == dst => item!(list, "{dst}"),
        (LearnSrc::Field(src), LearnDst::Match(dst)) => item!(list, "{dst}={src}"),
        (LearnSrc::Value(value), LearnDst::Match(dst)) if dst == dst.field.whole() => {
            let m = MatchField {
                field: dst.field,
                value,
                mask: dst.field.full_mask(),
            };
            item!(list, "{}={}", dst.field, Value(&m))
        }
        (LearnSrc::Value(value), LearnDst::Match(dst)) => item!(list, "{dst}={value:#x}"),
        (LearnSrc::Field(src), LearnDst::Load(dst)) => item!(list, "load:{src}->{dst}"),
        (LearnSrc::Value(value), LearnDst::Load(dst)) => item!(list, "load:{value:#x}->{dst}"),
        (LearnSrc::Field(src), LearnDst::Output) => item!(list, "output:{src}"),
        (LearnSrc::Value(value), LearnDst::Output) => item!(list, "output:{value:#x}"),
    }
}

fn write_sample(f: &mut Formatter<'_>, s: &Sample) -> fmt::Result {
    write!(
        f,
        "sample(probability={},collector_set_id={},obs_domain_id={},obs_point_id={}",
        s.probability, s.collector_set_id, s.obs_domain_id, s.obs_point_id
    )?;
    s.sampling_port
        .iter()
        .try_for_each(|port| write!(f, ",sampling_port={port}"))?;
    f.write_str(match s.direction {
        SampleDirection::Default => ")",
        SampleDirection::Ingress => ",ingress)",
        SampleDirection::Egress => ",egress)",
    })
}

fn hash_fields(fields: u16) -> &'static str {
    let names = [
        "eth_src",
        "symmetric_l4",
        "symmetric_l3l4",
        "symmetric_l3l4+udp",
        "nw_src",
        "nw_dst",
        "symmetric_l3",
    ];
    names
        .get(usize::from(fields))
        .copied()
        .unwrap_or("<unknown>")
}

fn write_multipath(f: &mut Formatter<'_>, m: &Multipath) -> fmt::Result {
    let algorithm = ["modulo_n", "hash_threshold", "hrw", "iter_hash"]
        .get(usize::from(m.algorithm))
        .copied()
        .unwrap_or("<unknown>");
    let links = u32::from(m.max_link) + 1;
    write!(
        f,
        "multipath({},{},{algorithm},{links},{},{})",
        hash_fields(m.fields),
        m.basis,
        m.arg,
        m.dst
    )
}

fn write_bundle(f: &mut Formatter<'_>, b: &Bundle) -> fmt::Result {
    let algorithm = ["active_backup", "hrw"]
        .get(usize::from(b.algorithm))
        .copied()
        .unwrap_or("<unknown>");
    let name = if b.dst.is_some() {
        "bundle_load"
    } else {
        "bundle"
    };
    write!(
        f,
        "{name}({},{},{algorithm},ofport,",
        hash_fields(b.fields),
        b.basis
    )?;
    b.dst.iter().try_for_each(|dst| write!(f, "{dst},"))?;
    f.write_str("members:")?;
    let mut list = List::new(f);
    b.members.iter().try_for_each(|m| item!(list, "{m}"))?;
    f.write_str(")")
}
