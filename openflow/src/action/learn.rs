//! The learn action: a flow that a packet writes.

use super::NICIRA;
use crate::field::{Field, SubField};
use crate::wire::{DecodeError, Put, Reader, be_uint};

/// Adds or changes a flow, like `ovs-ofctl --strict mod-flows`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learn {
    /// Where the flow goes.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Seconds without packets after which it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0 for never.
    pub hard_timeout: u16,
    /// Idle timeout once a FIN or RST was seen.
    pub fin_idle_timeout: u16,
    /// Hard timeout once a FIN or RST was seen.
    pub fin_hard_timeout: u16,
    /// Tell the controller when it goes.
    pub send_flow_removed: bool,
    /// It goes with the flow that has this action.
    pub delete_learned: bool,
    /// How many flows with the cookie there may be in the table; 0 for any.
    pub limit: u32,
    /// The bit that tells whether it was learned.
    pub result: Option<SubField>,
    /// Its match and actions.
    pub specs: Vec<LearnSpec>,
}

impl Default for Learn {
    /// Table 1, priority 32768, as in ovs-ofctl.
    fn default() -> Self {
        Self {
            table: 1,
            priority: 0x8000,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            send_flow_removed: false,
            delete_learned: false,
            limit: 0,
            result: None,
            specs: Vec::new(),
        }
    }
}

/// Where bits of a learned flow come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnSrc {
    /// From the packet.
    Field(SubField),
    /// Always these.
    Value(u128),
}

/// What a learned flow does with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnDst {
    /// Matches them in this subfield.
    Match(SubField),
    /// Loads them into it.
    Load(SubField),
    /// Outputs to the port; the number of bits is the source's.
    Output,
}

/// One match or action of a learned flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LearnSpec {
    /// How many bits, those of source and destination.
    pub bits: u8,
    /// From where.
    pub src: LearnSrc,
    /// To what.
    pub dst: LearnDst,
}

impl LearnSpec {
    /// The flow matches in `dst` what `src` is in the packet.
    #[must_use]
    pub fn matching(src: impl Into<SubField>, dst: impl Into<SubField>) -> Self {
        let (src, dst) = (src.into(), dst.into());
        Self {
            bits: dst.bits,
            src: LearnSrc::Field(src),
            dst: LearnDst::Match(dst),
        }
    }

    /// The flow matches `value` in `dst`.
    #[must_use]
    pub fn matching_value(value: impl Into<u128>, dst: impl Into<SubField>) -> Self {
        let dst = dst.into();
        Self {
            bits: dst.bits,
            src: LearnSrc::Value(value.into()),
            dst: LearnDst::Match(dst),
        }
    }

    /// The flow loads into `dst` what `src` is in the packet.
    #[must_use]
    pub fn loading(src: impl Into<SubField>, dst: impl Into<SubField>) -> Self {
        let (src, dst) = (src.into(), dst.into());
        Self {
            bits: dst.bits,
            src: LearnSrc::Field(src),
            dst: LearnDst::Load(dst),
        }
    }

    /// The flow loads `value` into `dst`.
    #[must_use]
    pub fn loading_value(value: impl Into<u128>, dst: impl Into<SubField>) -> Self {
        let dst = dst.into();
        Self {
            bits: dst.bits,
            src: LearnSrc::Value(value.into()),
            dst: LearnDst::Load(dst),
        }
    }

    /// The flow outputs to the port that `src` is in the packet.
    #[must_use]
    pub fn output(src: impl Into<SubField>) -> Self {
        let src = src.into();
        Self {
            bits: src.bits,
            src: LearnSrc::Field(src),
            dst: LearnDst::Output,
        }
    }
}

const SEND_FLOW_REM: u16 = 1;
const DELETE_LEARNED: u16 = 2;
const WRITE_RESULT: u16 = 4;

const SRC_IMMEDIATE: u16 = 1 << 13;
const DST_SHIFT: u16 = 11;

impl Learn {
    /// Subtype 16, or 45 when it has a limit or result.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let second = self.limit != 0 || self.result.is_some();
        out.u16(0xffff);
        out.u16(0);
        out.u32(NICIRA);
        out.u16(if second { 45 } else { 16 });
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(self.priority);
        out.u64(self.cookie);
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        out.u16(
            flag(self.send_flow_removed, SEND_FLOW_REM)
                | flag(self.delete_learned, DELETE_LEARNED)
                | flag(self.result.is_some(), WRITE_RESULT),
        );
        out.u8(self.table);
        out.u8(0);
        out.u16(self.fin_idle_timeout);
        out.u16(self.fin_hard_timeout);
        if second {
            out.u32(self.limit);
            out.u16(self.result.map_or(0, |r| u16::from(r.offset)));
            out.u16(0);
            if let Some(result) = self.result {
                out.u32(result.field.nxm_header());
            }
        }
        for spec in &self.specs {
            spec.encode(out);
        }
        out.pad8(start);
        out.patch_len(start + 2, start);
    }

    /// Reads what follows the subtype.
    pub(super) fn decode(reader: &mut Reader<'_>, second: bool) -> Result<Self, DecodeError> {
        let (idle_timeout, hard_timeout, priority) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let (cookie, flags, table) = (reader.u64()?, reader.u16()?, reader.u8()?);
        reader.skip(1)?;
        let (fin_idle_timeout, fin_hard_timeout) = (reader.u16()?, reader.u16()?);
        let (mut limit, mut result) = (0, None);
        if second {
            limit = reader.u32()?;
            let offset = reader.u16()?;
            reader.skip(2)?;
            if flags & WRITE_RESULT != 0 {
                result = Some(subfield(reader.u32()?, offset, 1)?);
            }
        }
        let mut specs = Vec::new();
        while let Some(spec) = LearnSpec::decode(reader)? {
            specs.push(spec);
        }
        Ok(Self {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            fin_idle_timeout,
            fin_hard_timeout,
            send_flow_removed: flags & SEND_FLOW_REM != 0,
            delete_learned: flags & DELETE_LEARNED != 0,
            limit,
            result,
            specs,
        })
    }
}

impl LearnSpec {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, dst) = match self.dst {
            LearnDst::Match(dst) => (0, Some(dst)),
            LearnDst::Load(dst) => (1, Some(dst)),
            LearnDst::Output => (2, None),
        };
        let immediate = if matches!(self.src, LearnSrc::Value(_)) {
            SRC_IMMEDIATE
        } else {
            0
        };
        out.u16(u16::from(self.bits) | kind << DST_SHIFT | immediate);
        match self.src {
            LearnSrc::Field(src) => {
                out.u32(src.field.nxm_header());
                out.u16(u16::from(src.offset));
            }
            LearnSrc::Value(value) => out.uint(value, immediate_bytes(u16::from(self.bits))),
        }
        if let Some(dst) = dst {
            out.u32(dst.field.nxm_header());
            out.u16(u16::from(dst.offset));
        }
    }

    /// The next spec, none at the padding.
    fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if reader.len() < 2 {
            return Ok(None);
        }
        let header = reader.u16()?;
        if header == 0 {
            return Ok(None);
        }
        let n_bits = header & 0x7ff;
        let bits = u8::try_from(n_bits)
            .ok()
            .filter(|b| (1..=128).contains(b))
            .ok_or(DecodeError::Length {
                what: "learn spec",
                len: n_bits.into(),
            })?;
        let src = if header & SRC_IMMEDIATE != 0 {
            let bytes = reader.take(immediate_bytes(n_bits))?;
            LearnSrc::Value(be_uint(bytes).unwrap_or(0) & (u128::MAX >> (128 - u32::from(bits))))
        } else {
            let (header, offset) = (reader.u32()?, reader.u16()?);
            LearnSrc::Field(subfield(header, offset, n_bits)?)
        };
        let dst = match header >> DST_SHIFT & 3 {
            2 => LearnDst::Output,
            3 => {
                return Err(DecodeError::Value {
                    what: "learn destination",
                    value: 3,
                });
            }
            kind => {
                let (header, offset) = (reader.u32()?, reader.u16()?);
                let dst = subfield(header, offset, n_bits)?;
                if kind == 0 {
                    LearnDst::Match(dst)
                } else {
                    LearnDst::Load(dst)
                }
            }
        };
        Ok(Some(Self { bits, src, dst }))
    }
}

/// Immediate values take whole 16-bit words.
fn immediate_bytes(n_bits: u16) -> usize {
    2 * usize::from(n_bits.div_ceil(16))
}

pub(super) fn subfield(header: u32, offset: u16, bits: u16) -> Result<SubField, DecodeError> {
    let field = Field::from_header(header).ok_or(DecodeError::Field { header })?;
    SubField::checked(field, offset, bits).ok_or(DecodeError::Length {
        what: field.def().name,
        len: usize::from(bits),
    })
}
