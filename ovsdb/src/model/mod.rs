//! The data model: rows of known tables as plain structs, replicas of whole databases, and how both are read from the wire.
//!
//! Rows are described by generated code (crate `weft-schemas`) that offers nothing but access to its columns as
//! [`Cell`]s; everything else (parsing, merging, comparing, writing) is written once, here, over cells. Parsing goes
//! straight from JSON text into the row: no generic JSON tree exists at any time, whatever the size of the database.

mod argument;
mod cell;
mod collections;
mod datum;
pub mod listing;
mod parse;
mod row;
mod schema;
mod table;
mod text;
mod uuid;

pub use argument::{ColumnArgument, Relation};
pub use cell::{AtomType, Cell, CellMut, Scalar, Token, Value};
pub use collections::{Map, Set};
pub use datum::{Atom, ColumnError, Datum, DatumError};
pub use parse::{RowFormat, UpdatesSeed};
pub use row::{ColumnDef, Columns, EXISTENCE, Recorder, Row, Shape, TableDef, Untracked};
pub use schema::{
    BaseType, ColumnSchema, ColumnType, Constraint, Schema, SchemaError, TableSchema,
};
pub use table::{
    AnyChange, AnyUpdate, Database, RowChange, RowUpdate, Table, UpdateHead, UpdateKind,
};
pub use text::needs_quotes;
pub use uuid::{Uuid, UuidError};

/// Text of a `string` column: shared, immutable, cheap to clone.
pub type Str = std::sync::Arc<str>;
