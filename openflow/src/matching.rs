//! [`Match`]: which packets a flow applies to.
//!
//! A match is kept as the OXM bytes that go on the wire, in one canonical form, so that a hundred thousand of them stay
//! small and comparing, hashing and sending are a pass over bytes. Canonical means: fields in the order of [`Field`],
//! bits outside the mask zero, no mask when it is full, no field when it is empty, and the several views that Open vSwitch
//! has of the same bits folded into one (registers as 32 bits, VLAN tag as VID and PCP, ToS as DSCP and ECN, 32-bit ports).

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::field::Field;
use crate::port::Port;
use crate::wire::{DecodeError, Put, Reader, be_uint};

/// A conjunction of masked field values. A copy costs nothing: the flow that is wanted, the key of what is there and the
/// message between them share one.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    oxm: Arc<[u8]>,
}

/// One field of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchField {
    /// The field.
    pub field: Field,
    /// The value, zero where the mask is.
    pub value: u128,
    /// The bits that count; never zero.
    pub mask: u128,
}

impl MatchField {
    /// Whether every bit of the field counts.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.mask == self.field.full_mask()
    }
}

impl Match {
    /// Matches every packet.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requires `field` to be exactly `value`. Replaces what was required of the field before.
    pub fn set(&mut self, field: Field, value: impl Into<u128>) -> &mut Self {
        self.set_masked(field, value, field.full_mask())
    }

    /// Requires the bits of `field` in `mask` to be those of `value`; an empty mask lifts the requirement.
    /// Replaces what was required of the same bits before.
    pub fn set_masked(
        &mut self,
        field: Field,
        value: impl Into<u128>,
        mask: impl Into<u128>,
    ) -> &mut Self {
        let mut fields = Fields(self.iter().collect());
        fields.set_masked(field, value.into(), mask.into());
        *self = fields.finish();
        self
    }

    /// [`Match::set`] for building in one expression.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<u128>) -> Self {
        self.set(field, value);
        self
    }

    /// [`Match::set_masked`] for building in one expression.
    #[must_use]
    pub fn with_masked(
        mut self,
        field: Field,
        value: impl Into<u128>,
        mask: impl Into<u128>,
    ) -> Self {
        self.set_masked(field, value, mask);
        self
    }

    fn field_at(&self, at: usize) -> Option<(MatchField, usize)> {
        let mut reader = Reader::new(self.oxm.get(at..)?, "match");
        if reader.is_empty() {
            return None;
        }
        // What is in `oxm` was written by `put`.
        let found = decode_field(&mut reader).ok()?;
        Some((found, self.oxm.len() - reader.len()))
    }

    /// What is required of `field`. Registers are found by their 32-bit names, VLAN tags as VID and PCP.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<MatchField> {
        self.iter().find(|m| m.field == field)
    }

    /// The value of a field that is matched exactly.
    #[must_use]
    pub fn exact(&self, field: Field) -> Option<u128> {
        self.get(field)
            .filter(MatchField::is_exact)
            .map(|m| m.value)
    }

    /// The fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = MatchField> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (found, end) = self.field_at(at)?;
            at = end;
            Some(found)
        })
    }

    /// Whether every packet matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.oxm.is_empty()
    }

    /// The OXM bytes, without header and padding.
    #[must_use]
    pub fn oxm_bytes(&self) -> &[u8] {
        &self.oxm
    }

    /// Reads OXM fields, in any order.
    ///
    /// # Errors
    /// When a field is truncated, unknown, or wider than this crate keeps it.
    pub fn from_oxm(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::default();
        let mut reader = Reader::new(bytes, "match");
        while !reader.is_empty() {
            let m = decode_field(&mut reader)?;
            // Every packet in an Open vSwitch bridge of OVN's is an Ethernet frame; the switch adds this on its own.
            if m.field == Field::PacketType && m.value == 0 {
                continue;
            }
            fields.set_masked(m.field, m.value, m.mask);
        }
        Ok(fields.finish())
    }

    /// Writes an `ofp_match`: type OXM, length, fields, padding to eight bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.u16(1);
        out.u16(0);
        out.bytes(&self.oxm);
        out.patch_len(start + 2, start);
        out.pad8(start);
    }

    /// Reads an `ofp_match`.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u16()?;
        if kind != 1 {
            return Err(DecodeError::Value {
                what: "match type",
                value: u64::from(kind),
            });
        }
        let len = usize::from(reader.u16()?);
        let body = len
            .checked_sub(4)
            .ok_or(DecodeError::Length { what: "match", len })?;
        let out = Self::from_oxm(reader.take(body)?)?;
        reader.pad8(len)?;
        Ok(out)
    }
}

impl FromIterator<(Field, u128, u128)> for Match {
    /// From (field, value, mask).
    fn from_iter<I: IntoIterator<Item = (Field, u128, u128)>>(iter: I) -> Self {
        let mut fields = Fields::default();
        for (field, value, mask) in iter {
            fields.set_masked(field, value, mask);
        }
        fields.finish()
    }
}

/// The fields of a match, in order and in canonical form, before they are bytes: a match of several is written once.
#[derive(Default)]
struct Fields(SmallVec<[MatchField; 8]>);

impl Fields {
    /// See [`Match::set_masked`].
    fn set_masked(&mut self, field: Field, value: u128, mask: u128) {
        match field {
            Field::XReg0
            | Field::XReg1
            | Field::XReg2
            | Field::XReg3
            | Field::XReg4
            | Field::XReg5
            | Field::XReg6
            | Field::XReg7 => {
                self.set_registers((field as u8 - Field::XReg0 as u8) * 2, 2, value, mask);
            }
            Field::XXReg0 | Field::XXReg1 | Field::XXReg2 | Field::XXReg3 => {
                self.set_registers((field as u8 - Field::XXReg0 as u8) * 4, 4, value, mask);
            }
            Field::VlanTci => self.set_vlan_tci(value, mask),
            Field::IpTos => {
                self.merge(Field::IpDscp, value >> 2, mask >> 2);
                self.merge(Field::IpEcn, value, mask);
            }
            // Only a whole port number can be required, whichever width it is given in.
            Field::InPortNxm => {
                let port = Port::from_u16(u16::try_from(value & 0xffff).unwrap_or(u16::MAX));
                self.put(
                    Field::InPort,
                    u128::from(port.0),
                    if mask == 0 { 0 } else { u128::MAX },
                );
            }
            _ => self.put(field, value, mask),
        }
    }

    fn set_registers(&mut self, first: u8, count: u8, value: u128, mask: u128) {
        for i in 0..count {
            let shift = 32 * u32::from(count - 1 - i);
            self.merge(Field::reg(first + i), value >> shift, mask >> shift);
        }
    }

    fn set_vlan_tci(&mut self, value: u128, mask: u128) {
        self.merge(Field::VlanVid, value, mask);
        self.merge(Field::VlanPcp, value >> 13, mask >> 13);
    }

    /// Adds to what is required of the field, the new value winning where both say something.
    fn merge(&mut self, field: Field, value: u128, mask: u128) {
        let mask = mask & field.full_mask();
        let old = match self.position(field) {
            Ok(at) => (self.0[at].value & !mask, self.0[at].mask),
            Err(_) => (0, 0),
        };
        self.put(field, old.0 | value & mask, old.1 | mask);
    }

    fn put(&mut self, field: Field, value: u128, mask: u128) {
        let mask = mask & field.full_mask();
        let entry = MatchField {
            field,
            value: value & mask,
            mask,
        };
        match (self.position(field), mask) {
            (Ok(at), 0) => drop(self.0.remove(at)),
            (Ok(at), _) => self.0[at] = entry,
            (Err(_), 0) => {}
            (Err(at), _) => self.0.insert(at, entry),
        }
    }

    /// Where the field is or would be inserted.
    fn position(&self, field: Field) -> Result<usize, usize> {
        let at = self.0.iter().take_while(|m| m.field < field).count();
        match self.0.get(at) {
            Some(found) if found.field == field => Ok(at),
            _ => Err(at),
        }
    }

    fn finish(&self) -> Match {
        let mut oxm = Vec::with_capacity(self.0.len() * 12);
        for m in &self.0 {
            encode_field(
                &mut oxm,
                m.field,
                m.value,
                (!m.is_exact()).then_some(m.mask),
            );
        }
        Match { oxm: oxm.into() }
    }
}

/// Writes one OXM TLV.
pub(crate) fn encode_field(out: &mut Vec<u8>, field: Field, value: u128, mask: Option<u128>) {
    let def = field.def();
    let n = usize::from(def.bytes);
    out.u32(field.header(def.oxm, mask.is_some()));
    out.uint(value, n);
    if let Some(mask) = mask {
        out.uint(mask, n);
    }
}

/// Reads one OXM TLV. The value may be shorter or longer than usual, as long as it fits: variable-length fields are.
pub(crate) fn decode_field(reader: &mut Reader<'_>) -> Result<MatchField, DecodeError> {
    let header = reader.u32()?;
    let len = usize::from(header as u8);
    let field = Field::from_header(header).ok_or(DecodeError::Field { header })?;
    let masked = header & 0x100 != 0;
    let body = reader.take(len)?;
    let (value, mask) = if masked {
        body.split_at(len / 2)
    } else {
        (body, &[][..])
    };
    let wide = || DecodeError::Length {
        what: field.def().name,
        len,
    };
    let width_fits = field == Field::TunMetadata0
        || len == usize::from(field.def().bytes) * if masked { 2 } else { 1 };
    if !width_fits || len == 0 || masked && len % 2 != 0 {
        return Err(wide());
    }
    let full = field.full_mask();
    let value = be_uint(value).filter(|v| *v <= full).ok_or_else(wide)?;
    let mask = if masked {
        be_uint(mask).ok_or_else(wide)? & full
    } else {
        full
    };
    Ok(MatchField { field, value, mask })
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}

impl fmt::Display for Match {
    /// As in `ovs-ofctl dump-flows`, without the priority; empty when every packet matches.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::display::write_match(f, self)
    }
}
