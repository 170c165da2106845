//! A packet as the logical pipeline sees it: the value of every OpenFlow field.

use crate::field::Field;
use crate::of::{OfField, ones};

/// Number of places: 16 registers and the named fields.
const PLACES: usize = 16 + OfField::NAMED.len();

/// Something whose fields can be read: a packet in a trace, or what a test makes up.
pub trait FieldReader {
    /// The field's value; zero if the packet does not have it.
    fn read(&self, field: OfField) -> u128;
}

/// Values of all fields. Those a packet does not have are zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    values: Box<[u128; PLACES]>,
}

impl Default for Packet {
    fn default() -> Self {
        Packet {
            values: Box::new([0; PLACES]),
        }
    }
}

fn place(field: OfField) -> usize {
    match field {
        OfField::Reg(n) => usize::from(n & 15),
        named => 16 + OfField::NAMED.iter().position(|f| *f == named).unwrap_or(0),
    }
}

impl FieldReader for Packet {
    fn read(&self, field: OfField) -> u128 {
        self.values[place(field)]
    }
}

impl Packet {
    /// A packet with all fields zero.
    pub fn new() -> Self {
        Packet::default()
    }

    /// Sets an OpenFlow field; bits beyond its width are dropped.
    pub fn write(&mut self, field: OfField, value: u128) {
        self.values[place(field)] = value & field.full_mask();
    }

    /// Sets the bits of an OpenFlow field that `mask` has.
    pub fn write_masked(&mut self, field: OfField, value: u128, mask: u128) {
        self.write(field, self.read(field) & !mask | value & mask);
    }

    /// The value of a logical field, subfield or range of bits.
    pub fn get(&self, field: Field) -> u128 {
        get(self, field)
    }

    /// Sets a logical field, subfield or range of bits; fields that only the controller knows are left alone.
    pub fn set(&mut self, field: Field, value: u128) {
        for piece in field.pieces() {
            let bits = (value >> piece.shift) & ones(piece.len);
            self.write_masked(piece.of, bits << piece.low, ones(piece.len) << piece.low);
        }
    }

    /// Sets the registers that the egress pipeline does not inherit, and connection tracking state, to zero.
    pub fn clear_metadata(&mut self) {
        for reg in 0..10 {
            self.write(OfField::Reg(reg), 0);
        }
        self.clear_ct();
    }

    /// Forgets connection tracking state, as `ct_clear` does.
    pub fn clear_ct(&mut self) {
        for field in [
            OfField::CtState,
            OfField::CtZone,
            OfField::CtMark,
            OfField::CtLabel,
        ] {
            self.write(field, 0);
        }
    }

    /// Every field that is not zero.
    pub fn nonzero(&self) -> impl Iterator<Item = (OfField, u128)> {
        let fields = (0..16)
            .map(OfField::Reg)
            .chain(OfField::NAMED.iter().copied());
        fields
            .map(|field| (field, self.read(field)))
            .filter(|(_, value)| *value != 0)
    }
}

/// The value of a logical field.
pub fn get(reader: &impl FieldReader, field: Field) -> u128 {
    field.pieces().fold(0, |value, piece| {
        value | ((reader.read(piece.of) >> piece.low) & ones(piece.len)) << piece.shift
    })
}
