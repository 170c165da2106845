//! How users name tables, columns and rows.

use weft_ovsdb::model::{Atom, AtomType, ColumnSchema, ColumnType, TableSchema, Uuid};

use crate::command::Cx;
use crate::error::{Error, fail, nearest};
use crate::replica::{Replica, Row};

/// One way to name a row of a table.
#[derive(Clone, Copy, Debug)]
pub enum RecordId {
    /// By the text of a column.
    Column(&'static str, &'static str),
    /// By the value of a key of a column.
    Key(&'static str, &'static str, &'static str),
    /// The only row there can be is `.`.
    Only(&'static str),
    /// By the reference in the first column of the row of the table that is named so (by column, or
    /// by key of a column).
    Via(
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        Option<&'static str>,
    ),
}

impl RecordId {
    /// The table it is about.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Column(table, _) | Self::Key(table, ..) | Self::Only(table) => table,
            Self::Via(table, ..) => table,
        }
    }

    fn find(&self, db: &Replica, name: &str) -> Vec<Uuid> {
        let matching = |test: &dyn Fn(&Row) -> bool| {
            let rows = db.rows(self.table()).filter(|(_, row)| test(row));
            rows.map(|(uuid, _)| uuid).collect()
        };
        match *self {
            Self::Only(_) if name == "." => matching(&|_| true),
            Self::Only(_) => Vec::new(),
            Self::Column(_, column) => matching(&|row| {
                row.atoms(column)
                    .first()
                    .is_some_and(|atom| atom.to_bare() == name)
            }),
            Self::Key(_, column, key) => matching(&|row| row.key(column, key) == Some(name)),
            Self::Via(_, through, reference, column, key) => {
                let named = |row: &Row| match key {
                    None => row.str(column) == name,
                    Some(key) => row.key(column, key) == Some(name),
                };
                let rows = db.rows(through).filter(|(_, row)| named(row));
                rows.flat_map(|(_, row)| row.refs(reference)).collect()
            }
        }
    }

    /// The table that must be loaded besides its own.
    pub fn through(&self) -> Option<&'static str> {
        match self {
            Self::Via(_, through, ..) => Some(through),
            _ => None,
        }
    }
}

/// Whether `name` is an abbreviation of `full`; case and the two dashes do not matter.
fn abbreviates(name: &str, full: &str) -> bool {
    let same = |(a, b): (char, char)| {
        let plain = |c: char| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        };
        plain(a) == plain(b)
    };
    name.len() <= full.len() && name.chars().zip(full.chars()).all(same)
}

/// The one of `all` that `name` stands for: spelled out, or beginning so.
fn pick<'s, T>(all: impl Iterator<Item = (&'s str, T)>, name: &str) -> Result<T, Vec<&'s str>> {
    let mut found: Vec<(&str, T)> = all.filter(|(full, _)| abbreviates(name, full)).collect();
    let exact = found.iter().position(|(full, _)| full.len() == name.len());
    match (exact, found.len()) {
        (Some(at), _) => Ok(found.swap_remove(at).1),
        (None, 1) => Ok(found.swap_remove(0).1),
        _ => Err(found.into_iter().map(|(full, _)| full).collect()),
    }
}

/// A table by the name a user gives it.
pub fn table<'s>(db: &'s Replica, name: &str) -> Result<&'s TableSchema, Error> {
    let tables = || db.schema().tables.iter();
    pick(tables().map(|(n, t)| (n.as_str(), t)), name).map_err(|several| {
        if several.is_empty() {
            let error = Error::new(format!("unknown table \"{name}\""));
            match nearest(name, tables().map(|(n, _)| n.as_str())) {
                Some(near) => error.help(format!("did you mean \"{near}\"?")),
                None => error,
            }
        } else {
            Error::new(format!(
                "\"{name}\" matches multiple table names: {}",
                several.join(", ")
            ))
        }
    })
}

/// The type of `_uuid`, which is not in a schema.
pub fn uuid_column() -> ColumnSchema {
    ColumnSchema {
        name: "_uuid".to_string(),
        ty: ColumnType::scalar(AtomType::Uuid),
        mutable: false,
        ephemeral: false,
    }
}

/// A column by the name a user gives it; `_uuid` too if `with_uuid`.
pub fn column(table: &TableSchema, name: &str, with_uuid: bool) -> Result<ColumnSchema, Error> {
    if with_uuid && name == "_uuid" {
        return Ok(uuid_column());
    }
    let columns = || table.columns.iter().map(|(n, c)| (n.as_str(), c));
    pick(columns(), name).cloned().map_err(|several| {
        let table = &table.name;
        if several.is_empty() {
            let text = format!("{table} does not contain a column whose name matches \"{name}\"");
            match nearest(name, columns().map(|(n, _)| n)) {
                Some(near) => Error::new(text).help(format!("did you mean \"{near}\"?")),
                None => Error::new(text),
            }
        } else {
            let several = several.join(", ");
            Error::new(format!(
                "{table} contains more than one column whose name matches \"{name}\": {several}"
            ))
        }
    })
}

/// A row by UUID, name, or the beginning of its UUID; `None` if there is none.
pub fn find(cx: &mut Cx<'_>, table: &str, name: &str) -> Result<Option<Uuid>, Error> {
    if let Some(symbol) = name.strip_prefix('@') {
        let uuid = cx.symbols.resolve(symbol);
        return Ok(cx.db.row(table, uuid).map(|_| uuid));
    }
    find_in(cx.db, cx.tool.records, table, name)
}

/// As [`find`], without names of this invocation.
pub fn find_in(
    db: &Replica,
    records: &[RecordId],
    table: &str,
    name: &str,
) -> Result<Option<Uuid>, Error> {
    if let Ok(uuid) = name.parse::<Uuid>()
        && db.row(table, uuid).is_some()
    {
        return Ok(Some(uuid));
    }
    let mut named = Vec::new();
    for id in records.iter().filter(|id| id.table() == table) {
        named.extend(id.find(db, name));
        named.dedup();
        if named.len() > 1 {
            return fail(format!("multiple rows in {table} match \"{name}\""));
        }
    }
    if let Some(uuid) = named.pop() {
        return Ok(Some(uuid));
    }
    let hex = name.len() >= 4 && name.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !hex {
        return Ok(None);
    }
    let begins =
        |(uuid, _): &(Uuid, &Row)| uuid.to_string().starts_with(&name.to_ascii_lowercase());
    let mut rows = db.rows(table).filter(begins).map(|(uuid, _)| uuid);
    match (rows.next(), rows.next()) {
        (Some(one), Some(other)) => fail(format!(
            "{table} contains 2 or more rows whose UUIDs begin with {name}: at least {one} and {other}"
        )),
        (found, _) => Ok(found),
    }
}

/// As [`find`]; it is an error if there is none, unless `optional`.
pub fn get(
    cx: &mut Cx<'_>,
    table: &str,
    name: &str,
    optional: bool,
) -> Result<Option<Uuid>, Error> {
    let found = find(cx, table, name)?;
    if found.is_none() && !optional {
        return fail(format!("no row \"{name}\" in table {table}"));
    }
    Ok(found)
}

/// Puts UUIDs in the place of `@names`.
pub fn resolve(cx: &mut Cx<'_>, atom: Atom) -> Atom {
    match atom {
        Atom::NamedUuid(name) => Atom::Uuid(cx.symbols.resolve(&name)),
        other => other,
    }
}
