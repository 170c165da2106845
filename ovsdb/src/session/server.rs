//! What a server says about itself: schemas, and the `Database` table of its `_Server` database (ovsdb-server(5)).

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value as Json;

/// Tables and columns of the database as the server has it; it may be older or newer than what we know.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ServerSchema {
    /// Name of the database.
    pub name: String,
    /// Version of the schema, `x.y.z`; empty if it has none.
    #[serde(default)]
    pub version: String,
    tables: HashMap<String, ServerTable>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
struct ServerTable {
    #[serde(deserialize_with = "names")]
    columns: HashSet<String>,
}

fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<HashSet<String>, D::Error> {
    let columns = HashMap::<String, serde::de::IgnoredAny>::deserialize(deserializer)?;
    Ok(columns.into_keys().collect())
}

impl ServerSchema {
    /// Whether there is such a table.
    #[must_use]
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether there is such a column.
    #[must_use]
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.tables
            .get(table)
            .is_some_and(|table| table.columns.contains(column))
    }
}

/// A row of `_Server`'s table `Database`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DatabaseRow {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) connected: bool,
    pub(crate) leader: bool,
    pub(crate) schema: Option<String>,
    pub(crate) cid: Option<String>,
    pub(crate) index: Option<u64>,
}

impl DatabaseRow {
    /// The columns of interest.
    pub(crate) const COLUMNS: [&'static str; 7] = [
        "name",
        "model",
        "connected",
        "leader",
        "schema",
        "cid",
        "index",
    ];

    fn read(&mut self, row: &Json) {
        let text = |json: &Json| json.as_str().map(str::to_owned);
        for (column, value) in row.as_object().into_iter().flatten() {
            match column.as_str() {
                "name" => self.name = text(value).unwrap_or_default(),
                "model" => self.model = text(value).unwrap_or_default(),
                "connected" => self.connected = value.as_bool().unwrap_or(false),
                "leader" => self.leader = value.as_bool().unwrap_or(false),
                "schema" => self.schema = text(value),
                "cid" => self.cid = value.get(1).and_then(text),
                "index" => self.index = value.as_u64(),
                _ => {}
            }
        }
    }
}

/// The table `Database`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Databases(HashMap<String, DatabaseRow>);

impl Databases {
    /// Does what a `<table-updates2>` says.
    pub(crate) fn update(&mut self, updates: &Json) {
        for (uuid, update) in updates
            .get("Database")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            for (kind, row) in update.as_object().into_iter().flatten() {
                match kind.as_str() {
                    "delete" => {
                        self.0.remove(uuid);
                    }
                    "modify" => self.0.entry(uuid.clone()).or_default().read(row),
                    _ => {
                        let mut fresh = DatabaseRow::default();
                        fresh.read(row);
                        self.0.insert(uuid.clone(), fresh);
                    }
                }
            }
        }
    }

    /// The row of that database.
    pub(crate) fn get(&self, name: &str) -> Option<&DatabaseRow> {
        self.0.values().find(|row| row.name == name)
    }
}

/// What is remembered of a cluster so that no older state is ever accepted after a newer one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    cid: Option<String>,
    index: u64,
}

/// Why a server does not serve us at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the server has no database \"{0}\"")]
    Missing(String),
    #[error("the clustered server is not connected to its cluster")]
    Alone,
    #[error("the relay is not connected to its source")]
    Cut,
    #[error("the clustered server is not the leader")]
    Follower,
    #[error(
        "the clustered server's data is older than what was seen before (index {index}, seen {seen})"
    )]
    Stale { index: u64, seen: u64 },
}

impl Freshness {
    /// Whether the server can be used, by the row of its database.
    pub(crate) fn check(&mut self, row: &DatabaseRow, leader_only: bool) -> Result<(), Unfit> {
        match row.model.as_str() {
            "clustered" if !row.connected => return Err(Unfit::Alone),
            "clustered" if leader_only && !row.leader => return Err(Unfit::Follower),
            "relay" if !row.connected => return Err(Unfit::Cut),
            "clustered" => {}
            _ => return Ok(()),
        }
        let index = row.index.unwrap_or(0);
        if self.cid == row.cid && index < self.index {
            return Err(Unfit::Stale {
                index,
                seen: self.index,
            });
        }
        (self.cid, self.index) = (row.cid.clone(), index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_the_server_database() {
        let mut databases = Databases::default();
        databases.update(&json!({"Database": {"u1": {"initial": {
            "name": "t", "model": "clustered", "connected": true, "leader": true,
            "cid": ["uuid", "c1"], "index": 5, "schema": "{}"}}}}));
        let mut fresh = Freshness::default();
        assert_eq!(fresh.check(databases.get("t").unwrap(), true), Ok(()));
        databases.update(&json!({"Database": {"u1": {"modify": {"leader": false, "index": 6}}}}));
        assert_eq!(
            fresh.check(databases.get("t").unwrap(), true),
            Err(Unfit::Follower)
        );
        assert_eq!(fresh.check(databases.get("t").unwrap(), false), Ok(()));
        databases.update(&json!({"Database": {"u1": {"modify": {"index": 4}}}}));
        assert_eq!(
            fresh.check(databases.get("t").unwrap(), false),
            Err(Unfit::Stale { index: 4, seen: 6 })
        );
        databases.update(&json!({"Database": {"u1": {"modify": {"cid": ["uuid", "c2"]}}}}));
        assert_eq!(fresh.check(databases.get("t").unwrap(), false), Ok(()));
        databases.update(&json!({"Database": {"u1": {"modify": {"connected": false}}}}));
        assert_eq!(
            fresh.check(databases.get("t").unwrap(), false),
            Err(Unfit::Alone)
        );
        databases.update(&json!({"Database": {"u1": {"delete": null}}}));
        assert!(databases.get("t").is_none());
    }

    #[test]
    fn standalone_servers_serve() {
        let row = DatabaseRow {
            model: "standalone".into(),
            connected: true,
            leader: true,
            ..DatabaseRow::default()
        };
        assert_eq!(Freshness::default().check(&row, true), Ok(()));
    }
}
