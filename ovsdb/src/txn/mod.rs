//! Transactions: built from typed rows, sent by a [`Session`](crate::session::Session), their errors traced back to the
//! operation, table and row that caused them.
//!
//! Rows get their identifiers from us (`"uuid"` in an insert, ovsdb-server(7), section 5.2.1), so references between rows
//! of one transaction are plain [`Uuid`]s.

mod error;
mod send;

pub use error::{OpError, OpErrorKind, TxnError};
pub(crate) use send::{Outgoing, Progress};

use serde_json::{Value as Json, json};
use smallvec::SmallVec;

use crate::model::{ColumnDef, Row, Uuid};

/// How many operations a piece of a [divisible](Txn::may_cut) transaction has at most. Of a thousand operations each
/// costs `ovsdb-server` 3.1 twice what it does of a hundred: it frees them all at once, and its allocator tidies up.
pub const PIECE_OPS: usize = 100;

/// A transaction in the making. Methods that add an operation return its place, by which its
/// [`OpResult`] is found in the reply.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub(crate) ops: Vec<Op>,
    /// Places before which the transaction may be cut, ascending.
    pub(crate) cuts: Vec<usize>,
    pub(crate) locks: Vec<String>,
    pub(crate) comment: Option<String>,
}

/// An operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Insert {
        table: &'static str,
        uuid: Uuid,
        row: Cells,
    },
    Update {
        table: &'static str,
        uuid: Uuid,
        row: Cells,
    },
    Mutate {
        table: &'static str,
        uuid: Uuid,
        mutations: Vec<(&'static str, &'static str, Json)>,
    },
    Delete {
        table: &'static str,
        uuid: Uuid,
    },
    Wait {
        table: &'static str,
        uuid: Uuid,
        timeout_ms: u64,
        equal: bool,
        row: Cells,
    },
    Raw(Json),
}

impl Op {
    /// About how long the text of its row is.
    pub(crate) fn length(&self) -> usize {
        match self {
            Op::Insert { row, .. } | Op::Update { row, .. } | Op::Wait { row, .. } => {
                row.text.len() + 24 * row.ends.len()
            }
            Op::Mutate { .. } | Op::Delete { .. } | Op::Raw(_) => 0,
        }
    }

    /// Frees its row.
    pub(crate) fn forget(&mut self) {
        if let Op::Insert { row, .. } | Op::Update { row, .. } | Op::Wait { row, .. } = self {
            *row = Cells::default();
        }
    }
}

/// What an operation did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpResult {
    /// Rows that an update, mutation or deletion hit. Zero: the row is not there any more.
    pub count: Option<u64>,
    /// Of the row inserted.
    pub uuid: Option<Uuid>,
    /// Rows that a (raw) select found.
    pub rows: Option<Vec<Json>>,
    /// The operation was left out, because the server's schema knows nothing of what it would write.
    pub skipped: bool,
}

/// Columns of a row with the JSON text of their values: large transactions are many of these, so they are small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    columns: &'static [ColumnDef],
    text: Box<str>,
    /// Places of columns, and where in the text their values end.
    ends: Box<[(u8, u32)]>,
}

impl Cells {
    fn new<R: Row>(row: &R, mask: u64) -> Self {
        let mut text = String::with_capacity(1024);
        let mut ends: SmallVec<[(u8, u32); 64]> = SmallVec::new();
        for i in (0..R::COLUMNS.len()).filter(|i| mask >> i & 1 == 1) {
            row.cell(i).write_json(&mut text);
            // A row of 4 GiB is beyond what a server takes.
            ends.push((i as u8, u32::try_from(text.len()).unwrap_or(u32::MAX)));
        }
        Cells {
            columns: R::COLUMNS,
            text: text.into(),
            ends: ends.into_vec().into(),
        }
    }

    /// Columns that no row type has.
    #[cfg(test)]
    pub(crate) fn of(members: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        use crate::model::{AtomType, Shape};
        let (mut columns, mut text, mut ends) = (Vec::new(), String::new(), Vec::new());
        for (i, (name, value)) in members.enumerate() {
            text.push_str(value);
            ends.push((i as u8, text.len() as u32));
            columns.push(ColumnDef {
                name,
                shape: Shape::Scalar(AtomType::String),
            });
        }
        Cells {
            columns: columns.leak(),
            text: text.into(),
            ends: ends.into(),
        }
    }

    /// Names and texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut from = 0;
        self.ends.iter().map(move |&(column, end)| {
            let text = &self.text[from..end as usize];
            from = end as usize;
            (self.columns[usize::from(column)].name, text)
        })
    }
}

fn columns<R: Row>(row: &R, mask: u64) -> Vec<(&'static str, Json)> {
    let chosen = (0..R::COLUMNS.len()).filter(|i| mask >> i & 1 == 1);
    chosen
        .map(|i| (R::COLUMNS[i].name, row.cell(i).to_json()))
        .collect()
}

/// The name of the one column in `mask`.
fn column<R: Row>(mask: u64) -> &'static str {
    debug_assert_eq!(mask.count_ones(), 1, "one column is mutated at a time");
    R::COLUMNS[mask.trailing_zeros() as usize].name
}

impl Txn {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Txn::default()
    }

    /// No operation has been added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    fn push(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// A new row with that identifier ([`Uuid::random`]). Columns in `mask` get the values of `row`, the others their
    /// defaults.
    pub fn insert<R: Row>(&mut self, row: &R, mask: u64, uuid: Uuid) -> usize {
        self.push(Op::Insert {
            table: R::TABLE,
            uuid,
            row: Cells::new(row, mask),
        })
    }

    /// The columns in `mask` of that row get the values of `row`.
    pub fn update<R: Row>(&mut self, uuid: Uuid, row: &R, mask: u64) -> usize {
        self.push(Op::Update {
            table: R::TABLE,
            uuid,
            row: Cells::new(row, mask),
        })
    }

    /// The elements or pairs that `row` holds in the columns in `mask` (sets and maps) are added to those of that row.
    /// A key that a map already has keeps its value: remove it first.
    pub fn mutate_insert<R: Row>(&mut self, uuid: Uuid, row: &R, mask: u64) -> usize {
        let mutations = columns(row, mask)
            .into_iter()
            .map(|(name, value)| (name, "insert", value))
            .collect();
        self.push(Op::Mutate {
            table: R::TABLE,
            uuid,
            mutations,
        })
    }

    /// The elements or pairs that `row` holds in the columns in `mask` (sets and maps) are removed from those of that
    /// row; pairs only if their values are equal too.
    pub fn mutate_delete<R: Row>(&mut self, uuid: Uuid, row: &R, mask: u64) -> usize {
        let mutations = columns(row, mask)
            .into_iter()
            .map(|(name, value)| (name, "delete", value))
            .collect();
        self.push(Op::Mutate {
            table: R::TABLE,
            uuid,
            mutations,
        })
    }

    /// Pairs with those keys are removed from the map that is the one column in `mask`, whatever their values.
    pub fn remove_keys<R: Row>(
        &mut self,
        uuid: Uuid,
        mask: u64,
        keys: impl IntoIterator<Item = impl Into<Json>>,
    ) -> usize {
        let keys: Vec<Json> = keys.into_iter().map(Into::into).collect();
        self.push(Op::Mutate {
            table: R::TABLE,
            uuid,
            mutations: vec![(column::<R>(mask), "delete", json!(["set", keys]))],
        })
    }

    /// One pair of the map that is the one column in `mask` gets that value, whether or not the key is there.
    pub fn set_key<R: Row>(
        &mut self,
        uuid: Uuid,
        mask: u64,
        key: impl Into<Json>,
        value: impl Into<Json>,
    ) -> usize {
        let (name, key) = (column::<R>(mask), key.into());
        let mutations = vec![
            (name, "delete", json!(["set", [key.clone()]])),
            (name, "insert", json!(["map", [[key, value.into()]]])),
        ];
        self.push(Op::Mutate {
            table: R::TABLE,
            uuid,
            mutations,
        })
    }

    /// Adds to the integer that is the one column in `mask`.
    pub fn add<R: Row>(&mut self, uuid: Uuid, mask: u64, amount: i64) -> usize {
        self.push(Op::Mutate {
            table: R::TABLE,
            uuid,
            mutations: vec![(column::<R>(mask), "+=", amount.into())],
        })
    }

    /// The row goes.
    pub fn delete<R: Row>(&mut self, uuid: Uuid) -> usize {
        self.push(Op::Delete {
            table: R::TABLE,
            uuid,
        })
    }

    /// The transaction goes on only if (within `timeout_ms` milliseconds) that row has in the columns of `mask` the
    /// values of `row`; else it fails with [`OpErrorKind::TimedOut`].
    pub fn wait_equal<R: Row>(&mut self, uuid: Uuid, row: &R, mask: u64, timeout_ms: u64) -> usize {
        self.push(Op::Wait {
            table: R::TABLE,
            uuid,
            timeout_ms,
            equal: true,
            row: Cells::new(row, mask),
        })
    }

    /// As [`wait_equal`](Self::wait_equal), until some value differs or the row is gone.
    pub fn wait_differs<R: Row>(
        &mut self,
        uuid: Uuid,
        row: &R,
        mask: u64,
        timeout_ms: u64,
    ) -> usize {
        self.push(Op::Wait {
            table: R::TABLE,
            uuid,
            timeout_ms,
            equal: false,
            row: Cells::new(row, mask),
        })
    }

    /// An operation as it goes onto the wire (RFC 7047, section 5.2). Nothing is left out of it.
    pub fn raw(&mut self, op: Json) -> usize {
        self.push(Op::Raw(op))
    }

    /// The transaction fails with [`OpErrorKind::NotOwner`] unless the session holds that lock.
    pub fn assert_lock(&mut self, name: impl Into<String>) -> &mut Self {
        self.locks.push(name.into());
        self
    }

    /// Goes into the server's log of changes. Several comments are put on lines of their own.
    pub fn comment(&mut self, text: &str) -> &mut Self {
        match &mut self.comment {
            Some(comment) => {
                comment.push('\n');
                comment.push_str(text);
            }
            None => self.comment = Some(text.to_owned()),
        }
        self
    }

    /// What has been added so far makes sense without what follows: should the transaction be too large
    /// ([`PIECE_OPS`]), it may be cut here. Pieces are executed in order; a few are on their way at a time, so some
    /// may be executed after one before them was refused ([`TxnError::Refused`] says so). A transaction in which this is never called is atomic whatever its size.
    ///
    /// Rows of tables that are no roots must be referred to by the time of the cut, else the server removes them.
    pub fn may_cut(&mut self) -> &mut Self {
        if self.cuts.last() != Some(&self.ops.len()) && !self.ops.is_empty() {
            self.cuts.push(self.ops.len());
        }
        self
    }

    /// What a row is called in operation number `op`, for messages.
    #[must_use]
    pub fn subject(&self, op: usize) -> Option<(&str, Option<Uuid>)> {
        match self.ops.get(op)? {
            Op::Insert { table, uuid, .. }
            | Op::Update { table, uuid, .. }
            | Op::Mutate { table, uuid, .. }
            | Op::Delete { table, uuid }
            | Op::Wait { table, uuid, .. } => Some((table, Some(*uuid))),
            Op::Raw(json) => {
                let uuid = json
                    .get("uuid")
                    .and_then(Json::as_str)
                    .and_then(|text| text.parse().ok());
                json.get("table")
                    .and_then(Json::as_str)
                    .map(|table| (table, uuid))
            }
        }
    }
}
