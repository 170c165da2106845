//! What a row type offers, and reading it with a record of what was read.

use std::fmt;

use serde::Deserializer;
use serde_json::Value as Json;

use super::{AtomType, Cell, CellMut, Uuid};

/// The bit that stands for "the row exists" in a mask of columns: set when a row comes or goes.
///
/// A table has fewer than 63 columns, so a set of columns is a `u64` in which column `i` is bit `i`.
pub const EXISTENCE: u64 = 1 << 63;

/// What a column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Exactly one atom.
    Scalar(AtomType),
    /// No or one atom.
    Optional(AtomType),
    /// Any number of different atoms.
    Set(AtomType),
    /// Keys with a value each.
    Map(AtomType, AtomType),
}

/// A column as generated code describes it. Its constraints are in the schema, and checked where values are made.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDef {
    /// Name as in the schema.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
}

/// A table as generated code describes it.
#[derive(Clone, Copy, Debug)]
pub struct TableDef {
    /// Name as in the schema.
    pub name: &'static str,
    /// Columns; a column's place is its bit in a mask.
    pub columns: &'static [ColumnDef],
}

impl TableDef {
    /// The place of the column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The names of the columns in `mask`.
    pub fn names(&self, mask: u64) -> impl Iterator<Item = &'static str> {
        self.columns
            .iter()
            .enumerate()
            .filter(move |(i, _)| mask >> i & 1 == 1)
            .map(|(_, c)| c.name)
    }
}

/// Access to the columns of some row by their place in its table.
pub trait Columns {
    /// Column number `column`. Panics if the table has no such column.
    fn cell(&self, column: usize) -> Cell<'_>;
    /// Column number `column`, to be written. Panics if the table has no such column.
    fn cell_mut(&mut self, column: usize) -> CellMut<'_>;
}

/// A row of a known table.
pub trait Row: Columns + Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Name of the table.
    const TABLE: &'static str;
    /// Number of the table in its database (`TableId as u8`).
    const TABLE_ID: u8;
    /// The columns; a column's place is its bit in a mask.
    const COLUMNS: &'static [ColumnDef];
    /// The row seen through a [`Recorder`]: one method per column.
    type Ref<'a, C: Recorder + ?Sized + 'a>;

    /// The row seen through `recorder`.
    fn tracked<'a, C: Recorder + ?Sized>(&'a self, uuid: Uuid, recorder: &'a C)
    -> Self::Ref<'a, C>;

    /// Reads the JSON form of a column's value.
    fn read_column<'de, D: Deserializer<'de>>(
        &mut self,
        column: usize,
        deserializer: D,
    ) -> Result<(), D::Error> {
        self.cell_mut(column).read(deserializer)
    }

    /// The JSON form of a column's value.
    fn write_column(&self, column: usize) -> Json {
        self.cell(column).to_json()
    }

    /// All columns of the table.
    fn all_columns() -> u64 {
        (1 << Self::COLUMNS.len()) - 1
    }

    /// The columns in `mask` whose values differ.
    fn differences(&self, other: &Self, mask: u64) -> u64 {
        places(mask & Self::all_columns())
            .filter(|&i| self.cell(i) != other.cell(i))
            .fold(0, |m, i| m | 1 << i)
    }

    /// The columns that do not have the value of a new row.
    fn nondefault_columns(&self) -> u64 {
        places(Self::all_columns())
            .filter(|&i| !self.cell(i).is_default())
            .fold(0, |m, i| m | 1 << i)
    }
}

/// The places of the bits set in a mask.
pub(crate) fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = mask.trailing_zeros() as usize;
        (mask != 0).then(|| {
            mask &= mask - 1;
            place
        })
    })
}

/// Takes note of what is read.
pub trait Recorder {
    /// The columns in the mask of the row `uuid` of the table with that number have been read; an empty mask says that
    /// only its existence has been looked at.
    fn read(&self, table: u8, uuid: Uuid, columns: u64);
}

/// A recorder that keeps nothing, for reading outside tracked code.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untracked;

impl Recorder for Untracked {
    fn read(&self, _table: u8, _uuid: Uuid, _columns: u64) {}
}
