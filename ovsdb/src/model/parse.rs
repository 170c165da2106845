//! `<table-updates>` and `<table-updates2>` straight into typed rows.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::uuid::Digits;
use super::{AnyUpdate, ColumnDef, Columns, Database, TableDef, UpdateKind, Uuid};

/// How updates of rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// `{"old": <row>, "new": <row>}` (RFC 7047, section 4.1.6).
    V1,
    /// `{"initial" | "insert" | "modify" | "delete": <row>}` (ovsdb-server(7), sections 4.1.13 and 4.1.15).
    V2,
}

/// Reads the updates of all tables: `{<table>: {<uuid>: <row-update>}}`. Tables and columns we do not know are skipped:
/// the server's schema may be newer than ours.
pub struct UpdatesSeed<D> {
    format: RowFormat,
    database: PhantomData<D>,
}

impl<D: Database> UpdatesSeed<D> {
    /// A reader of that format.
    #[must_use]
    pub fn new(format: RowFormat) -> Self {
        UpdatesSeed {
            format,
            database: PhantomData,
        }
    }
}

impl<'de, D: Database> DeserializeSeed<'de> for UpdatesSeed<D> {
    type Value = Vec<D::Update>;
    fn deserialize<De: Deserializer<'de>>(
        self,
        deserializer: De,
    ) -> Result<Self::Value, De::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, D: Database> Visitor<'de> for UpdatesSeed<D> {
    type Value = Vec<D::Update>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("updates of tables")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut updates = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match D::table_id(&name) {
                Some(table) => {
                    let def = &D::TABLES[usize::from(table)];
                    map.next_value_seed(TableSeed {
                        format: self.format,
                        table,
                        def,
                        updates: &mut updates,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(updates)
    }
}

/// `{<uuid>: <row-update>}`
struct TableSeed<'u, U> {
    format: RowFormat,
    table: u8,
    def: &'static TableDef,
    updates: &'u mut Vec<U>,
}

impl<'de, U: AnyUpdate> DeserializeSeed<'de> for TableSeed<'_, U> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, U: AnyUpdate> Visitor<'de> for TableSeed<'_, U> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "updates of rows of table {}", self.def.name)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(uuid) = map.next_key_seed(Digits)? {
            let mut update = U::blank(self.table, uuid);
            let (head, row) = update.parts_mut();
            let seed = UpdateSeed {
                format: self.format,
                uuid,
                def: self.def,
                row,
            };
            (head.kind, head.columns) = map.next_value_seed(seed)?;
            self.updates.push(update);
        }
        Ok(())
    }
}

/// `<row-update>` or `<row-update2>`; yields what happens and which columns are named.
struct UpdateSeed<'r> {
    format: RowFormat,
    uuid: Uuid,
    def: &'static TableDef,
    row: &'r mut dyn Columns,
}

impl<'de> DeserializeSeed<'de> for UpdateSeed<'_> {
    type Value = (UpdateKind, u64);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Members of `<row-update>` and `<row-update2>`.
enum Member {
    Initial,
    Insert,
    Modify,
    Delete,
    Old,
    New,
}

impl<'de> de::Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct MemberVisitor;
        impl Visitor<'_> for MemberVisitor {
            type Value = Member;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member of a row update")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Member, E> {
                Ok(match text {
                    "initial" => Member::Initial,
                    "insert" => Member::Insert,
                    "modify" => Member::Modify,
                    "delete" => Member::Delete,
                    "old" => Member::Old,
                    "new" => Member::New,
                    _ => return Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                })
            }
        }
        deserializer.deserialize_str(MemberVisitor)
    }
}

impl<'de> Visitor<'de> for UpdateSeed<'_> {
    type Value = (UpdateKind, u64);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an update of row {} of table {}",
            self.uuid, self.def.name
        )
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut columns, mut had_old) = (None, 0, false);
        while let Some(member) = map.next_key()? {
            let said = match (self.format, member) {
                (RowFormat::V2, Member::Initial) => UpdateKind::Initial,
                (RowFormat::V2, Member::Insert) | (RowFormat::V1, Member::New) => {
                    UpdateKind::Insert
                }
                (RowFormat::V2, Member::Modify) => UpdateKind::Modify,
                (RowFormat::V2, Member::Delete) => {
                    map.next_value::<IgnoredAny>()?;
                    kind = Some(UpdateKind::Delete);
                    continue;
                }
                // The old values only tell a modification from an insertion or a deletion.
                (RowFormat::V1, Member::Old) => {
                    map.next_value::<IgnoredAny>()?;
                    had_old = true;
                    continue;
                }
                _ => {
                    return Err(de::Error::custom(
                        "a member of the other protocol version's row update",
                    ));
                }
            };
            let seed = RowSeed {
                uuid: self.uuid,
                def: self.def,
                row: &mut *self.row,
            };
            columns = map.next_value_seed(seed)?;
            kind = Some(said);
        }
        match (kind, had_old) {
            // The original protocol writes out every monitored column of the new row.
            (Some(UpdateKind::Insert), true) => Ok((UpdateKind::Replace, columns)),
            (Some(kind), _) => Ok((kind, columns)),
            (None, true) => Ok((UpdateKind::Delete, 0)),
            (None, false) => Err(de::Error::custom("empty row update")),
        }
    }
}

/// `<row>`; yields which columns are named.
struct RowSeed<'r> {
    uuid: Uuid,
    def: &'static TableDef,
    row: &'r mut dyn Columns,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of table {}", self.uuid, self.def.name)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut columns = 0;
        while let Some(place) = map.next_key_seed(NameSeed(self.def.columns))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let seed = CellSeed {
                def: self.def,
                uuid: self.uuid,
                place,
                row: &mut *self.row,
            };
            map.next_value_seed(seed)?;
            columns |= 1 << place;
        }
        Ok(columns)
    }
}

/// A column's name; yields its place.
struct NameSeed(&'static [ColumnDef]);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|column| column.name == name))
    }
}

/// A column's value, read into its row; what is wrong with it is said with the names of table, row and column.
struct CellSeed<'r> {
    def: &'static TableDef,
    uuid: Uuid,
    place: usize,
    row: &'r mut dyn Columns,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.row
            .cell_mut(self.place)
            .read(deserializer)
            .map_err(|error| {
                let (table, column) = (self.def.name, self.def.columns[self.place].name);
                de::Error::custom(format_args!(
                    "table {table}, row {}, column {column}: {error}",
                    self.uuid
                ))
            })
    }
}
