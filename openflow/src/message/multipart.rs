//! Multipart messages: what is installed, counted and plugged in.

use super::flow::{Counters, FlowSelect, FlowStats};
use super::group::{GroupDesc, GroupStats, MeterDesc, MeterStats};
use super::misc::PortDesc;
use crate::wire::{DecodeError, Put, Reader};

const FLOW_DESC: u16 = 1;
const AGGREGATE: u16 = 2;
const GROUP_STATS: u16 = 6;
const GROUP_DESC: u16 = 7;
const METER_STATS: u16 = 9;
const METER_DESC: u16 = 10;
const PORT_DESC: u16 = 13;
const FLAG_MORE: u16 = 1;

/// A request for something long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartRequest {
    /// Flows with their counters and instructions.
    Flows(FlowSelect),
    /// Their counters added up.
    Aggregate(FlowSelect),
    /// Counters of a group, or of all.
    GroupStats(u32),
    /// A group, or all.
    GroupDesc(u32),
    /// Counters of a meter, or of all.
    MeterStats(u32),
    /// A meter, or all.
    MeterDesc(u32),
    /// A port, or all (`Port::ANY`).
    PortDesc(u32),
    /// Any other.
    Other {
        /// `OFPMP_*`.
        kind: u16,
        /// What follows.
        body: Vec<u8>,
    },
}

impl MultipartRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, id) = match self {
            Self::Flows(_) => (FLOW_DESC, None),
            Self::Aggregate(_) => (AGGREGATE, None),
            Self::GroupStats(id) => (GROUP_STATS, Some(*id)),
            Self::GroupDesc(id) => (GROUP_DESC, Some(*id)),
            Self::MeterStats(id) => (METER_STATS, Some(*id)),
            Self::MeterDesc(id) => (METER_DESC, Some(*id)),
            Self::PortDesc(id) => (PORT_DESC, Some(*id)),
            Self::Other { kind, .. } => (*kind, None),
        };
        out.u16(kind);
        out.zeros(6);
        if let Some(id) = id {
            out.u32(id);
            out.zeros(4);
        }
        match self {
            Self::Flows(select) | Self::Aggregate(select) => select.encode(out),
            Self::Other { body, .. } => out.bytes(body),
            _ => {}
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u16()?;
        r.skip(6)?;
        Ok(match kind {
            FLOW_DESC => Self::Flows(FlowSelect::decode(r)?),
            AGGREGATE => Self::Aggregate(FlowSelect::decode(r)?),
            GROUP_STATS => Self::GroupStats(r.u32()?),
            GROUP_DESC => Self::GroupDesc(r.u32()?),
            METER_STATS => Self::MeterStats(r.u32()?),
            METER_DESC => Self::MeterDesc(r.u32()?),
            PORT_DESC => Self::PortDesc(r.u32()?),
            kind => Self::Other {
                kind,
                body: r.rest().to_vec(),
            },
        })
    }
}

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartReply {
    /// Flows.
    Flows(Vec<FlowStats>),
    /// Counters added up.
    Aggregate(Counters),
    /// Counters of groups.
    GroupStats(Vec<GroupStats>),
    /// Groups.
    GroupDesc(Vec<GroupDesc>),
    /// Counters of meters.
    MeterStats(Vec<MeterStats>),
    /// Meters.
    MeterDesc(Vec<MeterDesc>),
    /// Ports.
    PortDesc(Vec<PortDesc>),
    /// Any other.
    Other {
        /// `OFPMP_*`.
        kind: u16,
        /// What follows.
        body: Vec<u8>,
    },
}

impl MultipartReply {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<(bool, Self), DecodeError> {
        let (kind, flags) = (r.u16()?, r.u16()?);
        r.skip(4)?;
        let body = match kind {
            FLOW_DESC => Self::Flows(list(r, FlowStats::decode)?),
            AGGREGATE => Self::Aggregate(Counters::decode(r)?),
            GROUP_STATS => Self::GroupStats(list(r, GroupStats::decode)?),
            GROUP_DESC => Self::GroupDesc(list(r, GroupDesc::decode)?),
            METER_STATS => Self::MeterStats(list(r, MeterStats::decode)?),
            METER_DESC => Self::MeterDesc(list(r, MeterDesc::decode)?),
            PORT_DESC => Self::PortDesc(list(r, PortDesc::decode)?),
            kind => Self::Other {
                kind,
                body: r.rest().to_vec(),
            },
        };
        Ok((flags & FLAG_MORE != 0, body))
    }

    pub(super) fn encode(&self, more: bool, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Flows(_) => FLOW_DESC,
            Self::Aggregate(_) => AGGREGATE,
            Self::GroupStats(_) => GROUP_STATS,
            Self::GroupDesc(_) => GROUP_DESC,
            Self::MeterStats(_) => METER_STATS,
            Self::MeterDesc(_) => METER_DESC,
            Self::PortDesc(_) => PORT_DESC,
            Self::Other { kind, .. } => *kind,
        };
        out.u16(kind);
        out.u16(if more { FLAG_MORE } else { 0 });
        out.zeros(4);
        match self {
            Self::Flows(all) => all.iter().for_each(|x| x.encode(out)),
            Self::Aggregate(counters) => counters.encode(out),
            Self::GroupStats(all) => all.iter().for_each(|x| x.encode(out)),
            Self::GroupDesc(all) => all.iter().for_each(|x| x.encode(out)),
            Self::MeterStats(all) => all.iter().for_each(|x| x.encode(out)),
            Self::MeterDesc(all) => all.iter().for_each(|x| x.encode(out)),
            Self::PortDesc(all) => all.iter().for_each(|x| x.encode(out)),
            Self::Other { body, .. } => out.bytes(body),
        }
    }

    /// Appends a later part.
    pub(crate) fn extend(&mut self, more: MultipartReply) {
        match (self, more) {
            (Self::Flows(a), Self::Flows(b)) => a.extend(b),
            (Self::GroupStats(a), Self::GroupStats(b)) => a.extend(b),
            (Self::GroupDesc(a), Self::GroupDesc(b)) => a.extend(b),
            (Self::MeterStats(a), Self::MeterStats(b)) => a.extend(b),
            (Self::MeterDesc(a), Self::MeterDesc(b)) => a.extend(b),
            (Self::PortDesc(a), Self::PortDesc(b)) => a.extend(b),
            (Self::Other { body, .. }, Self::Other { body: b, .. }) => body.extend(b),
            // An aggregate is one part; parts of different kinds under one id are a switch's mistake that loses them.
            _ => {}
        }
    }
}

/// Entries that carry their own length, to the end. Every decoder takes at least one byte, so this ends.
fn list<T>(
    r: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut out = Vec::new();
    while !r.is_empty() {
        out.push(one(r)?);
    }
    Ok(out)
}
