//! Replicas: tables of rows, and what comes in to change them.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::row::places;
use super::{Columns, EXISTENCE, Recorder, Row, TableDef, Uuid};

/// What an update does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The row as it was when monitoring began; columns not named have their default values.
    Initial,
    /// The row is new to us; columns not named have their default values.
    Insert,
    /// The named columns changed: atoms are replaced, sets and maps merged with the difference (`update2`, `update3`).
    Modify,
    /// The named columns have these values now (the original `update`).
    Replace,
    /// The row is gone.
    Delete,
}

/// What is common to the updates of all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateHead {
    /// The row.
    pub uuid: Uuid,
    /// What happens to it.
    pub kind: UpdateKind,
    /// Which columns the update names.
    pub columns: u64,
}

/// An update of one row as it came from the server.
#[derive(Clone, Debug)]
pub struct RowUpdate<R> {
    /// Which row, what happens, which columns.
    pub head: UpdateHead,
    /// Values of the named columns; the others have their defaults.
    pub row: Arc<R>,
}

impl<R: Row> RowUpdate<R> {
    /// The row is new.
    pub fn insert(uuid: Uuid, row: R) -> Self {
        let columns = row.nondefault_columns();
        RowUpdate {
            head: UpdateHead {
                uuid,
                kind: UpdateKind::Insert,
                columns,
            },
            row: Arc::new(row),
        }
    }

    /// The row has these values now in the columns of the mask.
    pub fn replace(uuid: Uuid, row: R, columns: u64) -> Self {
        RowUpdate {
            head: UpdateHead {
                uuid,
                kind: UpdateKind::Replace,
                columns,
            },
            row: Arc::new(row),
        }
    }

    /// The row is gone.
    pub fn delete(uuid: Uuid) -> Self {
        RowUpdate {
            head: UpdateHead {
                uuid,
                kind: UpdateKind::Delete,
                columns: 0,
            },
            row: Arc::default(),
        }
    }

    /// An update with nothing in it yet, for the parser to fill in.
    pub fn blank(uuid: Uuid) -> Self {
        RowUpdate {
            head: UpdateHead {
                uuid,
                kind: UpdateKind::Initial,
                columns: 0,
            },
            row: Arc::default(),
        }
    }

    /// Both parts, to be filled in. The row is copied first should somebody else hold it.
    pub fn parts_mut(&mut self) -> (&mut UpdateHead, &mut dyn Columns) {
        let row: &mut R = Arc::make_mut(&mut self.row);
        (&mut self.head, row)
    }
}

/// What an update did to a replica.
#[derive(Clone, PartialEq)]
pub struct RowChange<R> {
    /// The row.
    pub uuid: Uuid,
    /// How it was; `None` if it was not there.
    pub old: Option<Arc<R>>,
    /// How it is; `None` if it is gone.
    pub new: Option<Arc<R>>,
    /// The columns whose values differ; all ones when the row came or went ([`EXISTENCE`] included).
    pub columns: u64,
}

impl<R: fmt::Debug + Row> fmt::Debug for RowChange<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let def = TableDef {
            name: R::TABLE,
            columns: R::COLUMNS,
        };
        let columns: Vec<_> = if self.columns & EXISTENCE != 0 {
            vec![]
        } else {
            def.names(self.columns).collect()
        };
        f.debug_struct(R::TABLE)
            .field("uuid", &self.uuid)
            .field("old", &self.old)
            .field("new", &self.new)
            .field("columns", &columns)
            .finish()
    }
}

impl<R> RowChange<R> {
    /// The columns whose old or new value matters and that changed: shorthand for `columns & mask != 0`.
    pub fn touches(&self, mask: u64) -> bool {
        self.columns & mask != 0
    }
}

/// The rows of a table that the server shows us.
#[derive(Clone, Debug)]
pub struct Table<R> {
    rows: FxHashMap<Uuid, Arc<R>>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Table {
            rows: FxHashMap::default(),
        }
    }
}

impl<R: Row> Table<R> {
    /// The row, unrecorded.
    #[must_use]
    pub fn get(&self, uuid: Uuid) -> Option<&R> {
        self.rows.get(&uuid).map(|row| &**row)
    }

    /// The row, unrecorded, to keep.
    #[must_use]
    pub fn get_arc(&self, uuid: Uuid) -> Option<&Arc<R>> {
        self.rows.get(&uuid)
    }

    /// The row seen through `recorder`, which is told of the attempt also when there is no such row.
    pub fn tracked<'a, C: Recorder + ?Sized>(
        &'a self,
        uuid: Uuid,
        recorder: &'a C,
    ) -> Option<R::Ref<'a, C>> {
        recorder.read(R::TABLE_ID, uuid, 0);
        self.get(uuid).map(|row| row.tracked(uuid, recorder))
    }

    /// Whether there is such a row, unrecorded.
    #[must_use]
    pub fn contains(&self, uuid: Uuid) -> bool {
        self.rows.contains_key(&uuid)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in no particular order, unrecorded.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &R)> {
        self.rows.iter().map(|(uuid, row)| (*uuid, &**row))
    }

    /// All identifiers, in no particular order, unrecorded.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> {
        self.rows.keys().copied()
    }

    /// Puts a row in, whatever was there before. `None` if nothing changed by that.
    pub fn put(&mut self, uuid: Uuid, row: impl Into<Arc<R>>) -> Option<RowChange<R>> {
        let row = row.into();
        let columns = match self.rows.get(&uuid) {
            None => !0,
            Some(old) => old.differences(&row, !0),
        };
        if columns == 0 {
            return None;
        }
        let old = self.rows.insert(uuid, Arc::clone(&row));
        Some(RowChange {
            uuid,
            old,
            new: Some(row),
            columns,
        })
    }

    /// Takes a row out. `None` if it was not there.
    pub fn remove(&mut self, uuid: Uuid) -> Option<RowChange<R>> {
        let old = self.rows.remove(&uuid)?;
        Some(RowChange {
            uuid,
            old: Some(old),
            new: None,
            columns: !0,
        })
    }

    /// Does what the server says. `None` if nothing changed by that.
    ///
    /// A modification of a row we do not have starts from an empty row: the server's view counts.
    pub fn apply(&mut self, update: RowUpdate<R>) -> Option<RowChange<R>> {
        let UpdateHead {
            uuid,
            kind,
            columns,
        } = update.head;
        match kind {
            UpdateKind::Initial | UpdateKind::Insert => self.put(uuid, update.row),
            UpdateKind::Delete => self.remove(uuid),
            UpdateKind::Modify | UpdateKind::Replace => {
                let mut row = self.get(uuid).cloned().unwrap_or_default();
                for column in places(columns & R::all_columns()) {
                    let value = update.row.cell(column);
                    match kind {
                        UpdateKind::Modify => row.cell_mut(column).merge(value),
                        _ => row.cell_mut(column).assign(value),
                    }
                }
                self.put(uuid, row)
            }
        }
    }

    /// Makes this table equal to `fresh`, telling `each` of what that changes. Rows that stay as they are keep their
    /// memory.
    pub fn replace(&mut self, fresh: Self, mut each: impl FnMut(RowChange<R>)) {
        let gone: Vec<Uuid> = self.uuids().filter(|uuid| !fresh.contains(*uuid)).collect();
        gone.into_iter()
            .filter_map(|uuid| self.remove(uuid))
            .for_each(&mut each);
        self.rows.reserve(fresh.len().saturating_sub(self.len()));
        fresh
            .rows
            .into_iter()
            .filter_map(|(uuid, row)| self.put(uuid, row))
            .for_each(each);
    }
}

impl<R: Row> PartialEq for Table<R> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<R: Row> FromIterator<(Uuid, R)> for Table<R> {
    fn from_iter<I: IntoIterator<Item = (Uuid, R)>>(rows: I) -> Self {
        Table {
            rows: rows
                .into_iter()
                .map(|(uuid, row)| (uuid, Arc::new(row)))
                .collect(),
        }
    }
}

/// The updates of a database's tables as one type (generated).
pub trait AnyUpdate: fmt::Debug + Send + 'static {
    /// An update of a row of table number `table` with nothing in it yet. Panics if there is no such table.
    fn blank(table: u8, uuid: Uuid) -> Self;
    /// Number of the table.
    fn table(&self) -> u8;
    /// Which row, what happens, which columns.
    fn head(&self) -> UpdateHead;
    /// Both parts, to be filled in.
    fn parts_mut(&mut self) -> (&mut UpdateHead, &mut dyn Columns);
}

/// The changes of a database's tables as one type (generated).
pub trait AnyChange: fmt::Debug + Clone + PartialEq + Send + Sync + 'static {
    /// Number of the table.
    fn table(&self) -> u8;
    /// The row.
    fn uuid(&self) -> Uuid;
    /// The columns whose values differ; all ones when the row came or went.
    fn columns(&self) -> u64;
}

/// A replica of a database (generated).
pub trait Database: Default + Send + Sync + 'static {
    /// Name of the database on the server.
    const NAME: &'static str;
    /// The tables; a table's place is its number.
    const TABLES: &'static [TableDef];
    /// What comes in.
    type Update: AnyUpdate;
    /// What that does.
    type Change: AnyChange;

    /// Does what the server says. `None` if nothing changed by that.
    fn apply(&mut self, update: Self::Update) -> Option<Self::Change>;

    /// Makes this replica equal to a whole new one, telling `each` of what that changes.
    fn replace_with(&mut self, fresh: Self, each: &mut dyn FnMut(Self::Change));

    /// Makes this replica show what a snapshot holds and nothing else. The result is what the same difference would
    /// have brought as updates.
    fn replace(&mut self, snapshot: Vec<Self::Update>) -> Vec<Self::Change> {
        let mut fresh = Self::default();
        for update in snapshot {
            fresh.apply(update);
        }
        let mut changes = Vec::new();
        self.replace_with(fresh, &mut |change| changes.push(change));
        changes
    }

    /// The number of the table called `name`.
    fn table_id(name: &str) -> Option<u8> {
        Self::TABLES
            .iter()
            .position(|table| table.name == name)
            .map(|at| at as u8)
    }
}
