//! Flow modification and flow statistics.

use std::fmt;

use super::GROUP_ANY;
use crate::action::ActionList;
use crate::matching::Match;
use crate::port::Port;
use crate::wire::{DecodeError, Put, Reader};

/// What to do with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FlowCommand {
    /// Add, replacing a flow of the same table, priority and match.
    Add = 0,
    /// Change the actions of all that the match covers.
    Modify = 1,
    /// Change those of the one flow with this match and priority.
    ModifyStrict = 2,
    /// Delete all that the match covers.
    Delete = 3,
    /// Delete the one flow with this match and priority.
    DeleteStrict = 4,
}

/// Flow flags (`OFPFF_*`).
pub mod flow_flags {
    /// Tell the controller when the flow goes.
    pub const SEND_FLOW_REM: u16 = 1;
    /// Refuse a flow that overlaps one of the same priority.
    pub const CHECK_OVERLAP: u16 = 2;
    /// Set the counters to zero.
    pub const RESET_COUNTS: u16 = 4;
    /// Do not count packets.
    pub const NO_PACKET_COUNTS: u16 = 8;
    /// Do not count bytes.
    pub const NO_BYTE_COUNTS: u16 = 16;
}

/// What a flow does.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instructions {
    /// Actions executed at once.
    pub apply: ActionList,
    /// Then this table.
    pub goto_table: Option<u8>,
    /// Other instructions as they were on the wire (write-actions, clear-actions, write-metadata), in front of goto-table.
    pub other: Vec<u8>,
}

impl From<ActionList> for Instructions {
    fn from(apply: ActionList) -> Self {
        Self {
            apply,
            ..Self::default()
        }
    }
}

impl Instructions {
    fn encode(&self, out: &mut Vec<u8>) {
        if !self.apply.is_empty() {
            let start = out.len();
            out.u16(4);
            out.zeros(6);
            out.bytes(self.apply.wire_bytes());
            out.patch_len(start + 2, start);
        }
        out.bytes(&self.other);
        if let Some(table) = self.goto_table {
            out.u16(1);
            out.u16(8);
            out.u8(table);
            out.zeros(3);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut out = Self::default();
        while !reader.is_empty() {
            let whole = reader.peek();
            let (kind, len) = (reader.u16()?, usize::from(reader.u16()?));
            if len < 8 || !len.is_multiple_of(8) {
                return Err(DecodeError::Length {
                    what: "instruction",
                    len,
                });
            }
            let mut body = reader.sub(len - 4, "instruction")?;
            match kind {
                1 => out.goto_table = Some(body.u8()?),
                4 => {
                    body.skip(4)?;
                    out.apply = ActionList::from_wire(body.rest())?;
                }
                _ => out.other.bytes(&whole[..len]),
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.apply.is_empty(), self.goto_table) {
            (_, None) => write!(f, "{}", self.apply),
            (true, Some(table)) => write!(f, "goto_table:{table}"),
            (false, Some(table)) => write!(f, "{},goto_table:{table}", self.apply),
        }
    }
}

/// Adds, changes or deletes flows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowCommand,
    /// In which table; 255 in a deletion means all.
    pub table: u8,
    /// Priority, higher wins.
    pub priority: u16,
    /// Which packets.
    pub matching: Match,
    /// The new flow's cookie, or the cookie that flows to change must have.
    pub cookie: u64,
    /// The bits of the cookie that flows to change must have; not for additions.
    pub cookie_mask: u64,
    /// Seconds without packets after which the flow goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds after which the flow goes; 0 for never.
    pub hard_timeout: u16,
    /// What may be evicted first; OVN leaves it 0.
    pub importance: u16,
    /// [`flow_flags`].
    pub flags: u16,
    /// Deletes only flows that output here.
    pub out_port: Port,
    /// Deletes only flows that use this group.
    pub out_group: u32,
    /// What the flow does.
    pub instructions: Instructions,
}

impl FlowMod {
    fn new(
        command: FlowCommand,
        table: u8,
        priority: u16,
        matching: Match,
        instructions: Instructions,
    ) -> Self {
        Self {
            command,
            table,
            priority,
            matching,
            cookie: 0,
            cookie_mask: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: 0,
            out_port: Port::ANY,
            out_group: GROUP_ANY,
            instructions,
        }
    }

    /// Adds or replaces a flow.
    #[must_use]
    pub fn add(
        table: u8,
        priority: u16,
        matching: Match,
        actions: impl Into<Instructions>,
    ) -> Self {
        Self::new(FlowCommand::Add, table, priority, matching, actions.into())
    }

    /// Changes the actions of exactly this flow; the cookie stays unless the switch creates the flow.
    #[must_use]
    pub fn modify_strict(
        table: u8,
        priority: u16,
        matching: Match,
        actions: impl Into<Instructions>,
    ) -> Self {
        Self::new(
            FlowCommand::ModifyStrict,
            table,
            priority,
            matching,
            actions.into(),
        )
    }

    /// Deletes exactly this flow.
    #[must_use]
    pub fn delete_strict(table: u8, priority: u16, matching: Match) -> Self {
        Self::new(
            FlowCommand::DeleteStrict,
            table,
            priority,
            matching,
            Instructions::default(),
        )
    }

    /// Deletes every flow of every table.
    #[must_use]
    pub fn delete_all() -> Self {
        Self::new(
            FlowCommand::Delete,
            255,
            0,
            Match::any(),
            Instructions::default(),
        )
    }

    /// With this cookie.
    #[must_use]
    pub fn cookie(mut self, cookie: u64) -> Self {
        self.cookie = cookie;
        self
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.cookie);
        out.u64(self.cookie_mask);
        out.u8(self.table);
        out.u8(self.command as u8);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(self.priority);
        out.u32(0xffff_ffff); // No packet is buffered in Open vSwitch.
        out.u32(self.out_port.0);
        out.u32(self.out_group);
        out.u16(self.flags);
        out.u16(self.importance);
        self.matching.encode(out);
        self.instructions.encode(out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (cookie, cookie_mask, table, command) = (r.u64()?, r.u64()?, r.u8()?, r.u8()?);
        let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
        r.skip(4)?;
        let (out_port, out_group) = (Port(r.u32()?), r.u32()?);
        let (flags, importance) = (r.u16()?, r.u16()?);
        let command = match command {
            0 => FlowCommand::Add,
            1 => FlowCommand::Modify,
            2 => FlowCommand::ModifyStrict,
            3 => FlowCommand::Delete,
            4 => FlowCommand::DeleteStrict,
            other => {
                return Err(DecodeError::Value {
                    what: "flow-mod command",
                    value: other.into(),
                });
            }
        };
        Ok(Self {
            command,
            table,
            priority,
            matching: Match::decode(r)?,
            cookie,
            cookie_mask,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            out_port,
            out_group,
            instructions: Instructions::decode(r)?,
        })
    }
}

impl fmt::Display for FlowMod {
    /// As ovs-ofctl takes flows: `table=3,priority=5,ip actions=output:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = match self.command {
            FlowCommand::Add => "",
            FlowCommand::Modify => "modify ",
            FlowCommand::ModifyStrict => "modify_strict ",
            FlowCommand::Delete => "delete ",
            FlowCommand::DeleteStrict => "delete_strict ",
        };
        write!(
            f,
            "{command}table={},priority={}",
            self.table, self.priority
        )?;
        if !self.matching.is_any() {
            write!(f, ",{}", self.matching)?;
        }
        if matches!(
            self.command,
            FlowCommand::Delete | FlowCommand::DeleteStrict
        ) {
            return Ok(());
        }
        write!(f, " actions={}", self.instructions)
    }
}

/// Which flows to read: those the match covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowSelect {
    /// In this table, 255 for all.
    pub table: u8,
    /// That output here.
    pub out_port: Port,
    /// That use this group.
    pub out_group: u32,
    /// With these cookie bits.
    pub cookie: u64,
    /// Which bits of the cookie count.
    pub cookie_mask: u64,
    /// Covered by this match.
    pub matching: Match,
}

impl Default for FlowSelect {
    /// All flows.
    fn default() -> Self {
        Self {
            table: 255,
            out_port: Port::ANY,
            out_group: GROUP_ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::any(),
        }
    }
}

impl FlowSelect {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(self.table);
        out.zeros(3);
        out.u32(self.out_port.0);
        out.u32(self.out_group);
        out.zeros(4);
        out.u64(self.cookie);
        out.u64(self.cookie_mask);
        self.matching.encode(out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = r.u8()?;
        r.skip(3)?;
        let (out_port, out_group) = (Port(r.u32()?), r.u32()?);
        r.skip(4)?;
        Ok(Self {
            table,
            out_port,
            out_group,
            cookie: r.u64()?,
            cookie_mask: r.u64()?,
            matching: Match::decode(r)?,
        })
    }
}

/// An installed flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStats {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: Match,
    /// Its cookie.
    pub cookie: u64,
    /// Idle timeout in seconds, 0 for none.
    pub idle_timeout: u16,
    /// Hard timeout in seconds, 0 for none.
    pub hard_timeout: u16,
    /// Its importance.
    pub importance: u16,
    /// [`flow_flags`].
    pub flags: u16,
    /// Counters.
    pub counters: Counters,
    /// What it does.
    pub instructions: Instructions,
}

/// Counters of a flow, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Nanoseconds since it was installed.
    pub duration_ns: u64,
    /// Nanoseconds since it last saw a packet.
    pub idle_ns: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Flows counted together (aggregates only).
    pub flows: u32,
}

impl Counters {
    /// Reads an `ofp_stats`: reserved, length, OXS fields, padding.
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.skip(2)?;
        let len = usize::from(r.u16()?);
        let body = len.checked_sub(4).ok_or(DecodeError::Length {
            what: "statistics",
            len,
        })?;
        let mut fields = r.sub(body, "statistics")?;
        r.pad8(len)?;
        let mut out = Self::default();
        while !fields.is_empty() {
            let header = fields.u32()?;
            let mut value = fields.sub(usize::from(header as u8), "statistics field")?;
            let time = |v: &mut Reader<'_>| Ok(super::group::nanoseconds(v.u32()?, v.u32()?));
            match header >> 9 {
                OXS_DURATION => out.duration_ns = time(&mut value)?,
                OXS_IDLE => out.idle_ns = time(&mut value)?,
                OXS_FLOWS => out.flows = value.u32()?,
                OXS_PACKETS => out.packets = value.u64()?,
                OXS_BYTES => out.bytes = value.u64()?,
                _ => {}
            }
        }
        Ok(out)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.zeros(4);
        let field = |out: &mut Vec<u8>, key: u32, len: u32| out.u32(key << 9 | len);
        let time = |out: &mut Vec<u8>, ns: u64| {
            out.u64(((ns / 1_000_000_000) << 32) | (ns % 1_000_000_000))
        };
        field(out, OXS_DURATION, 8);
        time(out, self.duration_ns);
        field(out, OXS_IDLE, 8);
        time(out, self.idle_ns);
        field(out, OXS_PACKETS, 8);
        out.u64(self.packets);
        field(out, OXS_BYTES, 8);
        out.u64(self.bytes);
        field(out, OXS_FLOWS, 4);
        out.u32(self.flows);
        out.patch_len(start + 2, start);
        out.pad8(start);
    }
}

const OXS_DURATION: u32 = 0x8002 << 7;
const OXS_IDLE: u32 = OXS_DURATION | 1;
const OXS_FLOWS: u32 = OXS_DURATION | 3;
const OXS_PACKETS: u32 = OXS_DURATION | 4;
const OXS_BYTES: u32 = OXS_DURATION | 5;

impl FlowStats {
    /// Reads one entry of a reply.
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(2)
                .ok_or(DecodeError::Length { what: "flow", len })?,
            "flow",
        )?;
        r.skip(2)?;
        let table = r.u8()?;
        r.skip(1)?;
        let (priority, idle_timeout, hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
        let (flags, importance, cookie) = (r.u16()?, r.u16()?, r.u64()?);
        Ok(Self {
            table,
            priority,
            idle_timeout,
            hard_timeout,
            flags,
            importance,
            cookie,
            matching: Match::decode(&mut r)?,
            counters: Counters::decode(&mut r)?,
            instructions: Instructions::decode(&mut r)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.zeros(4);
        out.u8(self.table);
        out.u8(0);
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(self.flags);
        out.u16(self.importance);
        out.u64(self.cookie);
        self.matching.encode(out);
        self.counters.encode(out);
        self.instructions.encode(out);
        out.patch_len(start, start);
    }
}
