//! Cubes: bits that must have values, and how comparisons become such bits.

use smallvec::SmallVec;

use crate::constant::{Int, prefix_len};
use crate::expr::RelOp;
use crate::field::Field;
use crate::of::{OfField, ones};

/// Bits of an OpenFlow field that must have these values; `value` has no bit outside `mask`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldBits {
    /// The field.
    pub field: OfField,
    /// Values of the bits in `mask`.
    pub value: u128,
    /// Never zero.
    pub mask: u128,
}

/// A conjunction of bits, sorted by field, each field once.
pub type Cube = SmallVec<[FieldBits; 4]>;

/// The bits both require, or None if they contradict each other.
pub(super) fn intersect(a: &Cube, b: &Cube) -> Option<Cube> {
    let mut out = Cube::with_capacity(a.len() + b.len());
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(x), Some(y)) if x.field == y.field => {
                if (x.value ^ y.value) & x.mask & y.mask != 0 {
                    return None;
                }
                out.push(FieldBits {
                    field: x.field,
                    value: x.value | y.value,
                    mask: x.mask | y.mask,
                });
                left.next();
                right.next();
            }
            (Some(x), Some(y)) if x.field < y.field => out.extend(left.next().copied()),
            (_, Some(_)) => out.extend(right.next().copied()),
            (Some(_), None) => out.extend(left.next().copied()),
            (None, None) => return Some(out),
        }
    }
}

/// Whether every packet in `inner` is in `outer`.
pub(super) fn implies(inner: &Cube, outer: &Cube) -> bool {
    outer.iter().all(|bits| {
        inner.iter().any(|own| {
            own.field == bits.field
                && own.mask & bits.mask == bits.mask
                && own.value & bits.mask == bits.value
        })
    })
}

/// Lowest and highest value that satisfy the relation.
pub(super) fn bounds(field: Field, op: RelOp, value: u128) -> Option<(u128, u128)> {
    let max = ones(field.width());
    match op {
        RelOp::Lt => Some((0, value.checked_sub(1)?.min(max))),
        RelOp::Le => Some((0, value.min(max))),
        RelOp::Gt => value
            .checked_add(1)
            .filter(|low| *low <= max)
            .map(|low| (low, max)),
        RelOp::Ge => (value <= max).then_some((value, max)),
        RelOp::Eq | RelOp::Ne => None,
    }
}

/// Cubes for the values `low` to `high`, by the fewest aligned blocks.
pub(super) fn range_cubes(field: Field, low: u128, high: u128) -> Vec<Cube> {
    let width = field.width();
    let mut cubes = Vec::new();
    let mut at = low;
    while at <= high {
        let mut block = (at.trailing_zeros() as u8).min(width);
        while block > 0
            && (block >= 128 && high != u128::MAX || block < 128 && high - at < ones(block))
        {
            block -= 1;
        }
        cubes.push(bits_cube(field, at, ones(width) & !ones(block)));
        match at
            .checked_add(ones(block))
            .and_then(|last| last.checked_add(1))
        {
            Some(next) => at = next,
            None => break,
        }
    }
    cubes
}

pub(crate) fn equal_cube(field: Field, int: &Int) -> Cube {
    bits_cube(field, int.value(), int.mask().unwrap_or(u128::MAX))
}

/// Cubes for the values that none of `ints` covers; None if one has a mask that is not a prefix.
pub(super) fn outside(field: Field, ints: &[Int]) -> Option<Vec<Cube>> {
    let full = ones(field.width());
    let mut covered = Vec::with_capacity(ints.len());
    for int in ints {
        let mask = int.mask().unwrap_or(full) & full;
        prefix_len(mask, field.width())?;
        let low = int.value() & mask;
        covered.push((low, low | full & !mask));
    }
    covered.sort_unstable();
    let mut cubes = Vec::new();
    let mut next = Some(0);
    for (low, high) in covered {
        let Some(at) = next else { break };
        if at < low {
            cubes.extend(range_cubes(field, at, low - 1));
        }
        next = if high == full {
            None
        } else {
            Some(at.max(high + 1))
        };
    }
    if let Some(at) = next {
        cubes.extend(range_cubes(field, at, full));
    }
    Some(cubes)
}

/// One cube for each bit that could differ.
pub(super) fn unequal_cubes(field: Field, int: &Int) -> Vec<Cube> {
    let mask = int.mask().unwrap_or(u128::MAX) & ones(field.width());
    let bits = (0..field.width())
        .map(|bit| 1u128 << bit)
        .filter(|bit| mask & bit != 0);
    bits.map(|bit| bits_cube(field, !int.value() & bit, bit))
        .collect()
}

/// The bits in `mask` of a logical field have these values.
fn bits_cube(field: Field, value: u128, mask: u128) -> Cube {
    let mut cube = Cube::new();
    for piece in field.pieces() {
        let mask = ((mask >> piece.shift) & ones(piece.len)) << piece.low;
        let value = (((value >> piece.shift) & ones(piece.len)) << piece.low) & mask;
        if mask != 0 {
            cube.push(FieldBits {
                field: piece.of,
                value,
                mask,
            });
        }
    }
    cube.sort_by_key(|bits| bits.field);
    cube
}
