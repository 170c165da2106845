//! Groups and meters.

use std::fmt;

use super::{GROUP_ANY, flow::Counters};
use crate::action::{ActionList, property};
use crate::field::Field;
use crate::matching::{decode_field, encode_field};
use crate::port::Port;
use crate::wire::{DecodeError, Put, Reader};

/// How a group uses its buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GroupType {
    /// All of them, each on a copy of the packet.
    #[default]
    All = 0,
    /// One, by hash and weight.
    Select = 1,
    /// Its only one.
    Indirect = 2,
    /// The first that is live.
    FastFailover = 3,
}

/// What to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum GroupCommand {
    /// Add.
    Add = 0,
    /// Replace type and buckets.
    Modify = 1,
    /// Delete; the flows that use it go with it.
    Delete = 2,
    /// Insert buckets behind the command bucket.
    InsertBucket = 3,
    /// Remove the command bucket.
    RemoveBucket = 5,
    /// Add or modify (Open vSwitch).
    AddOrModify = 0x8000,
}

/// One alternative of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Its number, unique in the group.
    pub id: u32,
    /// Share of the packets in a select group.
    pub weight: u16,
    /// It is live while this port is.
    pub watch_port: Option<Port>,
    /// It is live while this group is.
    pub watch_group: Option<u32>,
    /// What it does.
    pub actions: ActionList,
}

impl Bucket {
    /// A bucket without weight.
    #[must_use]
    pub fn new(id: u32, actions: impl Into<ActionList>) -> Self {
        Self {
            id,
            weight: 0,
            watch_port: None,
            watch_group: None,
            actions: actions.into(),
        }
    }
}

/// How a select group chooses (the Netronome property).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selection {
    /// The datapath's own hash.
    DpHash,
    /// A hash of these fields, each with a mask.
    Hash(Vec<(Field, u128)>),
    /// Another method by name, with its parameter.
    Other(String, u64),
}

/// A group: its kind and buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Kind.
    pub kind: GroupType,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// How a select group chooses; the switch's default when none.
    pub selection: Option<Selection>,
}

/// Adds, changes or deletes groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupCommand,
    /// Which; [`super::GROUP_ALL`] in a deletion means all.
    pub group_id: u32,
    /// Bucket the command is about ([`super::BUCKET_ALL`] when none).
    pub command_bucket: u32,
    /// Contents.
    pub group: Group,
}

impl GroupMod {
    /// Adds a group.
    #[must_use]
    pub fn add(group_id: u32, group: Group) -> Self {
        Self {
            command: GroupCommand::Add,
            group_id,
            command_bucket: super::BUCKET_ALL,
            group,
        }
    }

    /// Replaces a group.
    #[must_use]
    pub fn modify(group_id: u32, group: Group) -> Self {
        Self {
            command: GroupCommand::Modify,
            group_id,
            command_bucket: super::BUCKET_ALL,
            group,
        }
    }

    /// Deletes a group and the flows that use it.
    #[must_use]
    pub fn delete(group_id: u32) -> Self {
        Self {
            command: GroupCommand::Delete,
            group_id,
            command_bucket: super::BUCKET_ALL,
            group: Group::default(),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.command as u16);
        out.u8(self.group.kind as u8);
        out.u8(0);
        out.u32(self.group_id);
        let len_at = out.len();
        out.u32(0);
        out.u32(self.command_bucket);
        self.group.encode_buckets(out, len_at);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        use GroupCommand as C;
        let command = r.u16()?;
        let command = [
            C::Add,
            C::Modify,
            C::Delete,
            C::InsertBucket,
            C::RemoveBucket,
            C::AddOrModify,
        ]
        .into_iter()
        .find(|c| *c as u16 == command)
        .ok_or(DecodeError::Value {
            what: "group-mod command",
            value: command.into(),
        })?;
        let kind = group_type(r.u8()?)?;
        r.skip(1)?;
        let group_id = r.u32()?;
        let buckets = usize::from(r.u16()?);
        r.skip(2)?;
        let command_bucket = r.u32()?;
        Ok(Self {
            command,
            group_id,
            command_bucket,
            group: Group::decode_buckets(r, kind, buckets)?,
        })
    }
}

fn group_type(v: u8) -> Result<GroupType, DecodeError> {
    use GroupType as G;
    [G::All, G::Select, G::Indirect, G::FastFailover]
        .into_iter()
        .find(|g| *g as u8 == v)
        .ok_or(DecodeError::Value {
            what: "group type",
            value: v.into(),
        })
}

const NETRONOME: u32 = 0x0000_154d;

impl Group {
    /// Writes buckets and properties; the buckets' length goes to `len_at`.
    fn encode_buckets(&self, out: &mut Vec<u8>, len_at: usize) {
        let start = out.len();
        for bucket in &self.buckets {
            bucket.encode(out, self.kind == GroupType::Select);
        }
        out.patch_len(len_at, start);
        let Some(selection) = &self.selection else {
            return;
        };
        let start = out.len();
        out.u16(0xffff);
        out.u16(0);
        out.u32(NETRONOME);
        out.u32(1);
        out.u32(0);
        let (name, param, fields) = match selection {
            Selection::DpHash => ("dp_hash", 0, &[][..]),
            Selection::Hash(fields) => ("hash", 0, &fields[..]),
            Selection::Other(name, param) => (&name[..], *param, &[][..]),
        };
        let name = &name.as_bytes()[..name.len().min(15)];
        out.bytes(name);
        out.zeros(16 - name.len());
        out.u64(param);
        for (field, mask) in fields {
            // The value stands for the mask: all ones is the whole field.
            encode_field(out, *field, *mask & field.full_mask(), None);
        }
        out.patch_len(start + 2, start);
        out.pad8(start);
    }

    fn decode_buckets(
        r: &mut Reader<'_>,
        kind: GroupType,
        buckets_len: usize,
    ) -> Result<Self, DecodeError> {
        let mut list = r.sub(buckets_len, "buckets")?;
        let mut out = Self {
            kind,
            ..Self::default()
        };
        while !list.is_empty() {
            out.buckets.push(Bucket::decode(&mut list)?);
        }
        while let Some((kind, mut value)) = crate::action::next_property(r, "group property")? {
            if kind != 0xffff || value.u32()? != NETRONOME || value.u32()? != 1 {
                continue;
            }
            value.skip(4)?;
            let name = super::misc::text(value.take(16)?);
            let param = value.u64()?;
            out.selection = match &name[..] {
                "" => None,
                "dp_hash" if param == 0 => Some(Selection::DpHash),
                "hash" if param == 0 => {
                    let mut fields = Vec::new();
                    while value.len() >= 4 {
                        let m = decode_field(&mut value)?;
                        fields.push((m.field, m.value));
                    }
                    Some(Selection::Hash(fields))
                }
                _ => Some(Selection::Other(name, param)),
            };
        }
        Ok(out)
    }
}

/// A time in two parts, of which the second is less than a second.
pub(super) fn nanoseconds(seconds: u32, rest: u32) -> u64 {
    u64::from(seconds) * 1_000_000_000 + u64::from(rest.min(999_999_999))
}

impl Bucket {
    fn encode(&self, out: &mut Vec<u8>, weighted: bool) {
        let start = out.len();
        out.u16(0);
        out.u16(0);
        out.u32(self.id);
        let actions = out.len();
        out.bytes(self.actions.wire_bytes());
        out.patch_len(start + 2, actions);
        if weighted {
            property(out, 0, |out| {
                out.u16(self.weight);
                out.u16(0);
            });
        }
        if let Some(port) = self.watch_port {
            property(out, 1, |out| out.u32(port.0));
        }
        if let Some(group) = self.watch_group {
            property(out, 2, |out| out.u32(group));
        }
        out.patch_len(start, start);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(2).ok_or(DecodeError::Length {
                what: "bucket",
                len,
            })?,
            "bucket",
        )?;
        let actions = usize::from(r.u16()?);
        let id = r.u32()?;
        let mut out = Self::new(id, ActionList::from_wire(r.take(actions)?)?);
        while let Some((kind, mut value)) = crate::action::next_property(&mut r, "bucket property")?
        {
            match kind {
                0 => out.weight = value.u16()?,
                1 => out.watch_port = Some(Port(value.u32()?)).filter(|p| *p != Port::ANY),
                2 => out.watch_group = Some(value.u32()?).filter(|g| *g != GROUP_ANY),
                _ => {}
            }
        }
        Ok(out)
    }
}

/// An installed group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDesc {
    /// Its number.
    pub group_id: u32,
    /// Contents.
    pub group: Group,
}

impl GroupDesc {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(2)
                .ok_or(DecodeError::Length { what: "group", len })?,
            "group",
        )?;
        let kind = group_type(r.u8()?)?;
        r.skip(1)?;
        let group_id = r.u32()?;
        let buckets = usize::from(r.u16()?);
        r.skip(6)?;
        Ok(Self {
            group_id,
            group: Group::decode_buckets(&mut r, kind, buckets)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.u16(0);
        out.u8(self.group.kind as u8);
        out.u8(0);
        out.u32(self.group_id);
        let len_at = out.len();
        out.zeros(8);
        self.group.encode_buckets(out, len_at);
        out.patch_len(start, start);
    }
}

impl fmt::Display for GroupDesc {
    /// As in `ovs-ofctl dump-groups`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.group.kind {
            GroupType::All => "all",
            GroupType::Select => "select",
            GroupType::Indirect => "indirect",
            GroupType::FastFailover => "ff",
        };
        write!(f, "group_id={},type={kind}", self.group_id)?;
        match &self.group.selection {
            None => {}
            Some(Selection::DpHash) => f.write_str(",selection_method=dp_hash")?,
            Some(Selection::Hash(fields)) => {
                f.write_str(",selection_method=hash")?;
                let names: Vec<_> = fields.iter().map(|(field, _)| field.def().name).collect();
                match names.len() {
                    0 => {}
                    1 => write!(f, ",fields={}", names[0])?,
                    _ => write!(f, ",fields({})", names.join(","))?,
                }
            }
            Some(Selection::Other(name, param)) => {
                write!(f, ",selection_method={name},selection_method_param={param}")?
            }
        }
        for b in &self.group.buckets {
            write!(f, ",bucket=bucket_id:{}", b.id)?;
            if self.group.kind == GroupType::Select {
                write!(f, ",weight:{}", b.weight)?;
            }
            if let Some(port) = b.watch_port {
                write!(f, ",watch_port:{port}")?;
            }
            if let Some(group) = b.watch_group {
                write!(f, ",watch_group:{group}")?;
            }
            write!(f, ",actions={}", b.actions)?;
        }
        Ok(())
    }
}

/// Counters of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStats {
    /// Its number.
    pub group_id: u32,
    /// Flows that use it.
    pub ref_count: u32,
    /// Its age and what went through it.
    pub counters: Counters,
    /// Packets and bytes of each bucket, in order.
    pub buckets: Vec<(u64, u64)>,
}

impl GroupStats {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(2).ok_or(DecodeError::Length {
                what: "group statistics",
                len,
            })?,
            "group statistics",
        )?;
        r.skip(2)?;
        let (group_id, ref_count) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        let (packets, bytes) = (r.u64()?, r.u64()?);
        let duration_ns = nanoseconds(r.u32()?, r.u32()?);
        let mut buckets = Vec::new();
        while !r.is_empty() {
            buckets.push((r.u64()?, r.u64()?));
        }
        Ok(Self {
            group_id,
            ref_count,
            counters: Counters {
                duration_ns,
                packets,
                bytes,
                ..Counters::default()
            },
            buckets,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.zeros(4);
        out.u32(self.group_id);
        out.u32(self.ref_count);
        out.zeros(4);
        out.u64(self.counters.packets);
        out.u64(self.counters.bytes);
        put_duration(out, self.counters.duration_ns);
        for (packets, bytes) in &self.buckets {
            out.u64(*packets);
            out.u64(*bytes);
        }
        out.patch_len(start, start);
    }
}

/// Seconds and nanoseconds, 32 bits each.
fn put_duration(out: &mut Vec<u8>, ns: u64) {
    out.u64(((ns / 1_000_000_000) << 32) | (ns % 1_000_000_000));
}

/// Meter flags.
pub mod meter_flags {
    /// Rates are in kilobits per second.
    pub const KBPS: u16 = 1;
    /// Rates are in packets per second.
    pub const PKTPS: u16 = 2;
    /// Bursts are allowed.
    pub const BURST: u16 = 4;
    /// Counts are kept.
    pub const STATS: u16 = 8;
}

/// What a meter drops: all above this rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterBand {
    /// In the meter's unit.
    pub rate: u32,
    /// In kilobits or packets.
    pub burst_size: u32,
}

/// A meter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Meter {
    /// [`meter_flags`].
    pub flags: u16,
    /// Its bands, all of them dropping.
    pub bands: Vec<MeterBand>,
}

/// What to do with a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum MeterCommand {
    /// Add.
    Add = 0,
    /// Replace.
    Modify = 1,
    /// Delete; the flows that use it go with it.
    Delete = 2,
}

/// Adds, changes or deletes meters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterCommand,
    /// Which; [`super::METER_ALL`] in a deletion means all.
    pub meter_id: u32,
    /// Contents.
    pub meter: Meter,
}

impl MeterMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.command as u16);
        out.u16(self.meter.flags);
        out.u32(self.meter_id);
        self.meter.encode_bands(out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = match r.u16()? {
            0 => MeterCommand::Add,
            1 => MeterCommand::Modify,
            2 => MeterCommand::Delete,
            other => {
                return Err(DecodeError::Value {
                    what: "meter-mod command",
                    value: other.into(),
                });
            }
        };
        let (flags, meter_id) = (r.u16()?, r.u32()?);
        Ok(Self {
            command,
            meter_id,
            meter: Meter {
                flags,
                bands: Meter::decode_bands(r)?,
            },
        })
    }
}

impl Meter {
    fn encode_bands(&self, out: &mut Vec<u8>) {
        for band in &self.bands {
            out.u16(1);
            out.u16(16);
            out.u32(band.rate);
            out.u32(band.burst_size);
            out.zeros(4);
        }
    }

    fn decode_bands(r: &mut Reader<'_>) -> Result<Vec<MeterBand>, DecodeError> {
        let mut bands = Vec::new();
        while !r.is_empty() {
            let (kind, len) = (r.u16()?, usize::from(r.u16()?));
            if kind != 1 {
                return Err(DecodeError::Value {
                    what: "meter band type",
                    value: kind.into(),
                });
            }
            let mut band = r.sub(
                len.checked_sub(4).ok_or(DecodeError::Length {
                    what: "meter band",
                    len,
                })?,
                "meter band",
            )?;
            bands.push(MeterBand {
                rate: band.u32()?,
                burst_size: band.u32()?,
            });
        }
        Ok(bands)
    }
}

/// An installed meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterDesc {
    /// Its number.
    pub meter_id: u32,
    /// Contents.
    pub meter: Meter,
}

impl MeterDesc {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(2)
                .ok_or(DecodeError::Length { what: "meter", len })?,
            "meter",
        )?;
        let (flags, meter_id) = (r.u16()?, r.u32()?);
        Ok(Self {
            meter_id,
            meter: Meter {
                flags,
                bands: Meter::decode_bands(&mut r)?,
            },
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.u16(0);
        out.u16(self.meter.flags);
        out.u32(self.meter_id);
        self.meter.encode_bands(out);
        out.patch_len(start, start);
    }
}

/// Counters of a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterStats {
    /// Its number.
    pub meter_id: u32,
    /// Flows that use it, its age, and what went in.
    pub counters: Counters,
    /// Packets and bytes that each band acted upon.
    pub bands: Vec<(u64, u64)>,
}

impl MeterStats {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let meter_id = r.u32()?;
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(6).ok_or(DecodeError::Length {
                what: "meter statistics",
                len,
            })?,
            "meter statistics",
        )?;
        r.skip(6)?;
        let flows = r.u32()?;
        let (packets, bytes) = (r.u64()?, r.u64()?);
        let duration_ns = nanoseconds(r.u32()?, r.u32()?);
        let mut bands = Vec::new();
        while !r.is_empty() {
            bands.push((r.u64()?, r.u64()?));
        }
        Ok(Self {
            meter_id,
            counters: Counters {
                duration_ns,
                packets,
                bytes,
                flows,
                idle_ns: 0,
            },
            bands,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.u32(self.meter_id);
        out.zeros(8);
        out.u32(self.counters.flows);
        out.u64(self.counters.packets);
        out.u64(self.counters.bytes);
        put_duration(out, self.counters.duration_ns);
        for (packets, bytes) in &self.bands {
            out.u64(*packets);
            out.u64(*bytes);
        }
        out.patch_len(start + 4, start);
    }
}
