//! A working copy of the tables a command needs, and the transaction that its changes amount to.
//!
//! Commands change rows here as if they were plain values. What they changed is found at the end by
//! comparing with the rows as they came, so every command of an invocation sees what the ones before
//! it did, and a dry run is one that does not send the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use weft_ovsdb::model::{Atom, ColumnSchema, Datum, Schema, TableSchema, Uuid};

use crate::error::{Error, fail};

/// A row: its values by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Columns in order of name; all that the server's schema has.
    pub columns: BTreeMap<String, Datum>,
}

/// Text of an atom that is a string, or nothing.
fn text(atom: &Atom) -> &str {
    match atom {
        Atom::String(text) => text,
        _ => "",
    }
}

/// An atom of text.
pub fn string(text: &str) -> Atom {
    Atom::String(text.into())
}

/// A map of text to text.
pub fn string_map<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Datum {
    Datum::map(
        pairs
            .into_iter()
            .map(|(k, v)| (string(k), string(v)))
            .collect(),
    )
}

/// A set of text.
pub fn string_set<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Datum {
    Datum::set(texts.into_iter().map(|t| string(t.as_ref())).collect())
}

impl Row {
    /// The atoms of a set column; of a column that the server does not have, none.
    pub fn atoms(&self, column: &str) -> &[Atom] {
        match self.columns.get(column) {
            Some(Datum::Set(atoms)) => atoms,
            _ => &[],
        }
    }

    /// Text of a string column, empty if it has none.
    pub fn str(&self, column: &str) -> &str {
        self.opt_str(column).unwrap_or("")
    }

    /// Text of an optional string column.
    pub fn opt_str(&self, column: &str) -> Option<&str> {
        self.atoms(column).first().map(text)
    }

    /// All texts of a set of strings.
    pub fn strs(&self, column: &str) -> Vec<&str> {
        self.atoms(column).iter().map(text).collect()
    }

    /// Value of an optional integer column.
    pub fn int(&self, column: &str) -> Option<i64> {
        match self.atoms(column).first() {
            Some(Atom::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// Value of an optional boolean column.
    pub fn bool(&self, column: &str) -> Option<bool> {
        match self.atoms(column).first() {
            Some(Atom::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// UUIDs of a column of references, ascending.
    pub fn refs(&self, column: &str) -> Vec<Uuid> {
        let uuid = |atom: &Atom| match atom {
            // A required reference that nothing has been put into yet.
            Atom::Uuid(Uuid::ZERO) => None,
            Atom::Uuid(uuid) => Some(*uuid),
            _ => None,
        };
        self.atoms(column).iter().filter_map(uuid).collect()
    }

    /// Pairs of a map of strings, by key.
    pub fn map(&self, column: &str) -> Vec<(&str, &str)> {
        match self.columns.get(column) {
            Some(Datum::Map(pairs)) => pairs.iter().map(|(k, v)| (text(k), text(v))).collect(),
            _ => Vec::new(),
        }
    }

    /// Value of a key of a map of strings.
    pub fn key(&self, column: &str, key: &str) -> Option<&str> {
        self.map(column)
            .into_iter()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value)
    }
}

#[derive(Clone, Debug, Default)]
struct Table {
    rows: BTreeMap<Uuid, Row>,
    /// Rows as they came, of those that were changed or deleted.
    before: BTreeMap<Uuid, Row>,
    inserted: BTreeSet<Uuid>,
}

/// The tables at hand and what was done to them.
#[derive(Clone, Debug)]
pub struct Replica {
    schema: Arc<Schema>,
    tables: BTreeMap<String, Table>,
    /// Inserted rows in the order in which commands made them.
    order: Vec<(String, Uuid)>,
}

impl Replica {
    /// Without any table loaded.
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            tables: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    /// The schema that the server has.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The schema of a table.
    pub fn table_schema(&self, table: &str) -> Result<&TableSchema, Error> {
        match self.schema.tables.get(table) {
            Some(schema) => Ok(schema),
            None => fail(format!("the database has no table {table}")),
        }
    }

    /// Takes the rows of a `select` reply.
    pub fn load(&mut self, table: &str, rows: &[Json]) -> Result<(), Error> {
        let schema = self.table_schema(table)?.clone();
        let loaded = self.tables.entry(table.to_string()).or_default();
        for json in rows {
            let uuid = match Atom::from_json(weft_ovsdb::model::AtomType::Uuid, &json["_uuid"]) {
                Ok(Atom::Uuid(uuid)) => uuid,
                _ => return fail(format!("table {table}: a row without _uuid")),
            };
            let mut row = Row::default();
            for column in schema.columns.values() {
                let datum = Datum::from_json(&column.ty, &json[&column.name])
                    .map_err(|error| Error::new(error.at(&schema, column).to_string()))?;
                row.columns.insert(column.name.clone(), datum);
            }
            loaded.rows.insert(uuid, row);
        }
        Ok(())
    }

    /// Rows of a table in order of UUID.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables
            .get(table)
            .into_iter()
            .flat_map(|t| t.rows.iter().map(|(u, r)| (*u, r)))
    }

    /// A row.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table)?.rows.get(&uuid)
    }

    /// Whether this invocation made the row.
    pub fn is_new(&self, table: &str, uuid: Uuid) -> bool {
        self.tables
            .get(table)
            .is_some_and(|t| t.inserted.contains(&uuid))
    }

    /// Makes a row with default values; `uuid` if a name was promised one, else a fresh one.
    pub fn insert(&mut self, table: &str, uuid: Option<Uuid>) -> Result<Uuid, Error> {
        let schema = self.table_schema(table)?;
        let columns = schema.columns.values();
        let columns = columns
            .map(|c| (c.name.clone(), Datum::default_of(&c.ty)))
            .collect();
        let uuid = uuid.unwrap_or_else(Uuid::random);
        let t = self.tables.entry(table.to_string()).or_default();
        t.rows.insert(uuid, Row { columns });
        t.inserted.insert(uuid);
        self.order.push((table.to_string(), uuid));
        Ok(uuid)
    }

    /// Sets a column. Columns that the server's older schema lacks are an error that says so.
    pub fn set(
        &mut self,
        table: &str,
        uuid: Uuid,
        column: &str,
        value: Datum,
    ) -> Result<(), Error> {
        let schema = self.column(table, column)?;
        let (mutable, is_new) = (schema.mutable, self.is_new(table, uuid));
        if !mutable && !is_new {
            return fail(format!(
                "cannot modify read-only column {column} in table {table}"
            ));
        }
        let Some(t) = self.tables.get_mut(table) else {
            return fail(format!("table {table} is not loaded"));
        };
        let Some(row) = t.rows.get_mut(&uuid) else {
            return fail(format!("{uuid}: no such row in table {table}"));
        };
        if !is_new {
            t.before.entry(uuid).or_insert_with(|| row.clone());
        }
        row.columns.insert(column.to_string(), value);
        Ok(())
    }

    /// The schema of a column.
    pub fn column(&self, table: &str, column: &str) -> Result<&ColumnSchema, Error> {
        match self.table_schema(table)?.columns.get(column) {
            Some(schema) => Ok(schema),
            None => fail(format!(
                "table {table} of this database has no column {column}"
            )),
        }
    }

    /// Sets a string column.
    pub fn set_str(
        &mut self,
        table: &str,
        uuid: Uuid,
        column: &str,
        text: &str,
    ) -> Result<(), Error> {
        self.set(table, uuid, column, Datum::one(string(text)))
    }

    /// Adds a reference to a set column.
    pub fn add_ref(
        &mut self,
        table: &str,
        uuid: Uuid,
        column: &str,
        to: Uuid,
    ) -> Result<(), Error> {
        let mut refs = self
            .row(table, uuid)
            .map(|row| row.refs(column))
            .unwrap_or_default();
        refs.push(to);
        self.set(
            table,
            uuid,
            column,
            Datum::set(refs.into_iter().map(Atom::Uuid).collect()),
        )
    }

    /// Takes a reference out of a set column.
    pub fn remove_ref(
        &mut self,
        table: &str,
        uuid: Uuid,
        column: &str,
        to: Uuid,
    ) -> Result<(), Error> {
        let mut refs = self
            .row(table, uuid)
            .map(|row| row.refs(column))
            .unwrap_or_default();
        refs.retain(|r| *r != to);
        self.set(
            table,
            uuid,
            column,
            Datum::set(refs.into_iter().map(Atom::Uuid).collect()),
        )
    }

    /// Sets or (with `None`) removes a key of a map of strings.
    pub fn set_key(
        &mut self,
        table: &str,
        uuid: Uuid,
        column: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), Error> {
        let mut pairs = match self
            .row(table, uuid)
            .and_then(|row| row.columns.get(column))
        {
            Some(Datum::Map(pairs)) => pairs.clone(),
            _ => Vec::new(),
        };
        pairs.retain(|(k, _)| text(k) != key);
        pairs.extend(value.map(|value| (string(key), string(value))));
        self.set(table, uuid, column, Datum::map(pairs))
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: &str, uuid: Uuid) {
        let Some(t) = self.tables.get_mut(table) else {
            return;
        };
        if let Some(row) = t.rows.remove(&uuid)
            && !t.inserted.remove(&uuid)
        {
            t.before.entry(uuid).or_insert(row);
        }
        self.order.retain(|(_, inserted)| *inserted != uuid);
    }

    /// The operations that do to the database what was done here. Empty if nothing was.
    pub fn operations(&self) -> Vec<Json> {
        let mut ops = Vec::new();
        for (name, table) in &self.tables {
            for (uuid, before) in &table.before {
                match table.rows.get(uuid) {
                    Some(after) => self.modify(name, *uuid, before, after, &mut ops),
                    None => ops.push(json!({"op": "delete", "table": name, "where": only(*uuid)})),
                }
            }
        }
        for (table, uuid) in &self.order {
            let (Some(row), Some(schema)) = (self.row(table, *uuid), self.schema.tables.get(table))
            else {
                continue;
            };
            let columns = schema.columns.values().filter_map(|column| {
                let value = row.columns.get(&column.name)?;
                let default = Datum::default_of(&column.ty);
                (*value != default).then(|| (column.name.clone(), value.to_json()))
            });
            let columns: serde_json::Map<String, Json> = columns.collect();
            ops.push(
                json!({"op": "insert", "table": table, "uuid": uuid.to_string(), "row": columns}),
            );
        }
        ops
    }

    /// Sets and maps are changed by what came and went, so that somebody else's change of the same
    /// column at the same time is not undone; other columns must still be what the command saw.
    fn modify(&self, table: &str, uuid: Uuid, before: &Row, after: &Row, ops: &mut Vec<Json>) {
        let (mut saw, mut row) = (serde_json::Map::new(), serde_json::Map::new());
        let mut mutations = Vec::new();
        let Some(schema) = self.schema.tables.get(table) else {
            return;
        };
        for column in schema.columns.values() {
            let name = &column.name;
            let (Some(old), Some(new)) = (before.columns.get(name), after.columns.get(name)) else {
                continue;
            };
            if old == new {
                continue;
            }
            match (old, new) {
                (Datum::Set(old), Datum::Set(new)) if column.ty.max > 1 => {
                    let minus = |a: &[Atom], b: &[Atom]| {
                        Datum::Set(a.iter().filter(|x| !b.contains(x)).cloned().collect())
                    };
                    let (gone, come) = (minus(old, new), minus(new, old));
                    push_mutation(&mut mutations, name, "delete", &gone);
                    push_mutation(&mut mutations, name, "insert", &come);
                }
                (Datum::Map(old), Datum::Map(new)) => {
                    let gone = old.iter().filter(|pair| !new.contains(pair));
                    let gone = Datum::Set(gone.map(|(key, _)| key.clone()).collect());
                    let come =
                        Datum::Map(new.iter().filter(|p| !old.contains(p)).cloned().collect());
                    push_mutation(&mut mutations, name, "delete", &gone);
                    push_mutation(&mut mutations, name, "insert", &come);
                }
                _ => {
                    saw.insert(name.clone(), old.to_json());
                    row.insert(name.clone(), new.to_json());
                }
            }
        }
        if !row.is_empty() {
            let columns: Vec<&String> = saw.keys().collect();
            ops.push(
                json!({"op": "wait", "table": table, "where": only(uuid), "timeout": 0,
                            "columns": columns, "until": "==", "rows": [saw]}),
            );
            ops.push(json!({"op": "update", "table": table, "where": only(uuid), "row": row}));
        }
        if !mutations.is_empty() {
            ops.push(json!({"op": "mutate", "table": table, "where": only(uuid), "mutations": mutations}));
        }
    }
}

fn push_mutation(mutations: &mut Vec<Json>, column: &str, mutator: &str, value: &Datum) {
    if value.is_empty() {
        return;
    }
    mutations.push(json!([column, mutator, value.to_json()]));
}

/// The condition that selects one row.
pub fn only(uuid: Uuid) -> Json {
    json!([["_uuid", "==", uuid.to_json()]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica() -> Replica {
        let schema = Schema::parse(
            r#"{"name":"T","version":"1.0.0","tables":{"A":{"isRoot":true,"columns":{
                "name":{"type":"string"},
                "ports":{"type":{"key":"string","min":0,"max":"unlimited"}},
                "options":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}}"#,
        );
        let mut replica = Replica::new(Arc::new(schema.unwrap()));
        let row = json!({"_uuid": ["uuid", "00000000-0000-0000-0000-000000000001"], "name": "x",
                         "ports": ["set", ["a", "b"]], "options": ["map", [["k", "v"], ["l", "w"]]]});
        replica.load("A", &[row]).unwrap();
        replica
    }

    #[test]
    fn nothing_done_is_nothing_sent() {
        let mut replica = replica();
        let uuid = Uuid(1);
        assert!(replica.operations().is_empty());
        replica.set_str("A", uuid, "name", "x").unwrap();
        assert!(replica.operations().is_empty());
        let made = replica.insert("A", None).unwrap();
        replica.delete("A", made);
        assert!(replica.operations().is_empty());
    }

    #[test]
    fn sets_and_maps_go_as_differences() {
        let mut replica = replica();
        let uuid = Uuid(1);
        replica
            .set("A", uuid, "ports", string_set(["b", "c"]))
            .unwrap();
        replica
            .set_key("A", uuid, "options", "k", Some("new"))
            .unwrap();
        replica.set_str("A", uuid, "name", "y").unwrap();
        let id = json!([[
            "_uuid",
            "==",
            ["uuid", "00000000-0000-0000-0000-000000000001"]
        ]]);
        assert_eq!(
            replica.operations(),
            [
                json!({"op": "wait", "table": "A", "where": id, "timeout": 0, "columns": ["name"],
                       "until": "==", "rows": [{"name": "x"}]}),
                json!({"op": "update", "table": "A", "where": id, "row": {"name": "y"}}),
                json!({"op": "mutate", "table": "A", "where": id, "mutations": [
                    ["options", "delete", "k"], ["options", "insert", ["map", [["k", "new"]]]],
                    ["ports", "delete", "a"], ["ports", "insert", "c"]]}),
            ]
        );
    }
}
