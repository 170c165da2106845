//! Which rows of which tables a session wants to see.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::ServerSchema;
use crate::model::{Database, Uuid};

/// Which columns of which tables are monitored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitored {
    /// Per number of a table, its mask of columns; `None`: not monitored.
    masks: Vec<Option<u64>>,
    /// Per number of a table of which new rows are only announced, the columns that come with the announcement.
    announced: Vec<Option<u64>>,
}

/// The columns to ask a server for, of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Always told.
    pub(crate) full: Vec<&'static str>,
    /// Not told of rows that are inserted later.
    pub(crate) not_inserted: Vec<&'static str>,
}

impl Monitored {
    /// Everything that the replica can hold.
    #[must_use]
    pub fn all<D: Database>() -> Self {
        Monitored {
            masks: vec![Some(!0); D::TABLES.len()],
            announced: vec![None; D::TABLES.len()],
        }
    }

    /// Nothing yet.
    #[must_use]
    pub fn none<D: Database>() -> Self {
        Monitored {
            masks: vec![None; D::TABLES.len()],
            announced: vec![None; D::TABLES.len()],
        }
    }

    /// Of rows inserted into that table after the snapshot, only the columns in `mask` are told: for who writes the
    /// table alone and knows what it wrote. Changes of these rows and what a snapshot holds are told whole.
    /// (Servers that know only the original protocol tell everything.)
    #[must_use]
    pub fn only_announce_inserts(mut self, table: u8, mask: u64) -> Self {
        self.announced[usize::from(table)] = Some(mask);
        self
    }

    /// Of that table, the columns in `mask` (possibly none: then only which rows there are).
    #[must_use]
    pub fn table(mut self, table: u8, mask: u64) -> Self {
        self.masks[usize::from(table)] = Some(mask);
        self
    }

    /// Not that table.
    #[must_use]
    pub fn without_table(mut self, table: u8) -> Self {
        self.masks[usize::from(table)] = None;
        self
    }

    /// Of that table, not the columns in `mask`: those that are only written, for instance.
    #[must_use]
    pub fn without_columns(mut self, table: u8, mask: u64) -> Self {
        if let Some(kept) = &mut self.masks[usize::from(table)] {
            *kept &= !mask;
        }
        self
    }

    /// What a server with that schema does not have of the tables monitored: tables, and columns as `Table.column`.
    pub(crate) fn missing<D: Database>(&self, schema: &ServerSchema) -> Vec<String> {
        let wanted = D::TABLES.iter().zip(&self.masks);
        let mut missing = Vec::new();
        for (table, _) in wanted.filter(|(_, mask)| mask.is_some()) {
            if !schema.has_table(table.name) {
                missing.push(table.name.to_owned());
                continue;
            }
            let columns = table.names(u64::MAX);
            let unknown = columns.filter(|column| !schema.has_column(table.name, column));
            missing.extend(unknown.map(|column| format!("{}.{column}", table.name)));
        }
        missing
    }

    /// Tables and columns to ask a server for that has that schema.
    pub(crate) fn on<D: Database>(&self, schema: &ServerSchema) -> BTreeMap<&'static str, Asked> {
        let wanted = D::TABLES
            .iter()
            .zip(self.masks.iter().zip(&self.announced))
            .filter_map(|(table, (mask, announced))| Some((table, (*mask)?, *announced)));
        wanted
            .filter(|(table, ..)| schema.has_table(table.name))
            .map(|(table, mask, announced)| {
                let names = |mask| -> Vec<&'static str> {
                    table
                        .names(mask)
                        .filter(|c| schema.has_column(table.name, c))
                        .collect()
                };
                let asked = Asked {
                    full: names(mask & announced.unwrap_or(!0)),
                    not_inserted: names(mask & !announced.unwrap_or(!0)),
                };
                (table.name, asked)
            })
            .collect()
    }
}

/// How a condition compares a column with its value (RFC 7047, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `includes`: the set or map has all these elements or pairs.
    Includes,
    /// `excludes`: it has none of them.
    Excludes,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Equal => "==",
            Function::NotEqual => "!=",
            Function::Includes => "includes",
            Function::Excludes => "excludes",
            Function::Less => "<",
            Function::LessOrEqual => "<=",
            Function::Greater => ">",
            Function::GreaterOrEqual => ">=",
        }
    }
}

/// One reason for which a row is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    column: &'static str,
    function: Function,
    value: Json,
}

impl Clause {
    /// Compares a column with a value in its JSON form ([`Cell::to_json`](crate::model::Cell::to_json)).
    #[must_use]
    pub fn new(column: &'static str, function: Function, value: impl Into<Json>) -> Self {
        Clause {
            column,
            function,
            value: value.into(),
        }
    }

    /// The row with that identifier.
    #[must_use]
    pub fn row(uuid: Uuid) -> Self {
        Clause::new("_uuid", Function::Equal, uuid.to_json())
    }

    /// Rows whose column `column` is that reference.
    #[must_use]
    pub fn refers(column: &'static str, uuid: Uuid) -> Self {
        Clause::new(column, Function::Equal, uuid.to_json())
    }
}

/// Which rows are wanted, per table: those that meet any of the table's clauses. A table without entry is wanted whole,
/// one with an empty list of clauses not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(BTreeMap<&'static str, Vec<Clause>>);

impl Conditions {
    /// Every table whole.
    #[must_use]
    pub fn new() -> Self {
        Conditions::default()
    }

    /// Of that table, the rows that meet any of these clauses; none if there are no clauses.
    pub fn set(&mut self, table: &'static str, mut clauses: Vec<Clause>) -> &mut Self {
        clauses.dedup();
        self.0.insert(table, clauses);
        self
    }

    /// That table whole.
    pub fn whole(&mut self, table: &str) -> &mut Self {
        self.0.remove(table);
        self
    }

    /// The `where` of a monitor request. A clause about a column that the server does not have cannot be asked for:
    /// the table is wanted whole then, so that nothing is missed.
    pub(crate) fn clauses(&self, table: &str, schema: &ServerSchema) -> Json {
        let Some(clauses) = self.0.get(table) else {
            return json!([true]);
        };
        if clauses
            .iter()
            .any(|clause| clause.column != "_uuid" && !schema.has_column(table, clause.column))
        {
            return json!([true]);
        }
        if clauses.is_empty() {
            return json!([false]);
        }
        clauses
            .iter()
            .map(|clause| json!([clause.column, clause.function.name(), clause.value]))
            .collect()
    }

    /// Tables of which `self` and `other` do not say the same.
    pub(crate) fn differing<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = &'static str> + 'a {
        let mine = self
            .0
            .iter()
            .filter(|(table, clauses)| other.0.get(*table) != Some(clauses))
            .map(|(table, _)| *table);
        let theirs = other
            .0
            .keys()
            .filter(|table| !self.0.contains_key(*table))
            .copied();
        mine.chain(theirs)
    }
}
