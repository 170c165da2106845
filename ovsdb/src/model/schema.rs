//! Schemas as servers tell them (`get_schema`, `.ovsschema`): what tools need that work on any table.

use std::collections::BTreeMap;

use serde_json::{Map as JsonObject, Value as Json};

use super::{Atom, AtomType};

/// A database's schema (RFC 7047, section 3.2). Tables and columns are in order of name, as the tools list them.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Name of the database.
    pub name: String,
    /// Version, `x.y.z`; empty in schemas from before there were versions.
    pub version: String,
    /// The checksum the schema's author gave it. Not looked at when schemas are compared table by table.
    pub cksum: Option<String>,
    /// The tables.
    pub tables: BTreeMap<String, TableSchema>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSchema {
    /// Its name.
    pub name: String,
    /// The columns, without `_uuid` and `_version`.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// Whether rows live without being referred to.
    pub is_root: bool,
    /// Greatest number of rows.
    pub max_rows: Option<u64>,
    /// Groups of columns whose values together are unique; the names of each group in order.
    pub indexes: Vec<Vec<String>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSchema {
    /// Its name.
    pub name: String,
    /// What it can hold.
    pub ty: ColumnType,
    /// Whether its value may change after the row has been inserted.
    pub mutable: bool,
    /// Whether its value is lost when the server restarts.
    pub ephemeral: bool,
}

/// What a column can hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnType {
    /// Type of elements, or of keys.
    pub key: BaseType,
    /// Type of values, if the column is a map.
    pub value: Option<BaseType>,
    /// Least number of elements: 0 or 1.
    pub min: usize,
    /// Greatest number of elements; `usize::MAX` for no limit.
    pub max: usize,
}

/// What an atom can be.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseType {
    /// Its type.
    pub atom: AtomType,
    /// Which values are allowed.
    pub constraint: Constraint,
    /// The table an atom of type `uuid` refers to, and whether it keeps that row alive (is strong).
    pub refers: Option<(String, bool)>,
}

/// Which values are allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// All.
    None,
    /// These, in ascending order.
    OneOf(Vec<Atom>),
    /// From, to (inclusive).
    Integer(Option<i64>, Option<i64>),
    /// From, to (inclusive).
    Real(Option<f64>, Option<f64>),
    /// Text of so many characters, from, to (inclusive).
    Length(Option<u64>, Option<u64>),
}

/// A schema that does not follow RFC 7047, section 3.2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema: {place}: {reason}")]
pub struct SchemaError {
    /// Table and column, as far as known.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

fn bad<T>(place: &str, reason: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError {
        place: place.to_owned(),
        reason: reason.into(),
    })
}

impl Schema {
    /// Reads the text of an `.ovsschema` file.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        match serde_json::from_str(text) {
            Ok(json) => Schema::from_json(&json),
            Err(error) => bad("text", error.to_string()),
        }
    }

    /// Reads the answer to `get_schema`.
    pub fn from_json(json: &Json) -> Result<Schema, SchemaError> {
        let object = object(json, "database")?;
        let name = text(object, "name", "database")?;
        let Some(Json::Object(tables)) = object.get("tables") else {
            return bad(&name, "no tables");
        };
        let tables: Result<_, _> = tables
            .iter()
            .map(|(name, json)| Ok((name.clone(), table(name, json)?)))
            .collect();
        Ok(Schema {
            name,
            version: object
                .get("version")
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned(),
            cksum: object
                .get("cksum")
                .and_then(Json::as_str)
                .map(str::to_owned),
            tables: tables?,
        })
    }

    /// The table of that name, in any case, as the tools' users may write it.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.get(name).or_else(|| {
            self.tables
                .values()
                .find(|t| t.name.eq_ignore_ascii_case(name))
        })
    }
}

impl TableSchema {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.get(name)
    }
}

impl ColumnType {
    /// A type of exactly one atom without constraint.
    #[must_use]
    pub const fn scalar(atom: AtomType) -> ColumnType {
        let key = BaseType {
            atom,
            constraint: Constraint::None,
            refers: None,
        };
        ColumnType {
            key,
            value: None,
            min: 1,
            max: 1,
        }
    }

    /// Whether the column holds pairs of a key and a value.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the column holds no or one atom.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.value.is_none() && self.min == 0 && self.max == 1
    }

    /// Whether the column can hold more than one element.
    #[must_use]
    pub fn is_composite(&self) -> bool {
        self.max > 1
    }
}

fn object<'j>(json: &'j Json, place: &str) -> Result<&'j JsonObject<String, Json>, SchemaError> {
    json.as_object()
        .map_or_else(|| bad(place, "not an object"), Ok)
}

fn text(
    object: &JsonObject<String, Json>,
    member: &str,
    place: &str,
) -> Result<String, SchemaError> {
    match object.get(member).and_then(Json::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => bad(place, format!("no {member}")),
    }
}

fn table(name: &str, json: &Json) -> Result<TableSchema, SchemaError> {
    let object = object(json, name)?;
    let Some(Json::Object(columns)) = object.get("columns") else {
        return bad(name, "no columns");
    };
    let columns: Result<BTreeMap<_, _>, _> = columns
        .iter()
        .map(|(column_name, json)| {
            Ok((
                column_name.clone(),
                column(
                    &format!("table {name}, column {column_name}"),
                    column_name,
                    json,
                )?,
            ))
        })
        .collect();
    let columns = columns?;
    let mut indexes = Vec::new();
    for index in object
        .get("indexes")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let names: Option<Vec<String>> = index.as_array().map(|names| {
            names
                .iter()
                .filter_map(|n| n.as_str().map(str::to_owned))
                .collect()
        });
        match names {
            Some(names) if names.iter().all(|n| columns.contains_key(n)) => indexes.push(names),
            _ => return bad(name, "an index that does not list columns of the table"),
        }
    }
    Ok(TableSchema {
        name: name.to_owned(),
        columns,
        is_root: object
            .get("isRoot")
            .and_then(Json::as_bool)
            .unwrap_or(false),
        max_rows: object.get("maxRows").and_then(Json::as_u64),
        indexes,
    })
}

fn column(place: &str, name: &str, json: &Json) -> Result<ColumnSchema, SchemaError> {
    let members = object(json, place)?;
    let Some(ty) = members.get("type") else {
        return bad(place, "no type");
    };
    Ok(ColumnSchema {
        name: name.to_owned(),
        ty: column_type(place, ty)?,
        mutable: members
            .get("mutable")
            .and_then(Json::as_bool)
            .unwrap_or(true),
        ephemeral: members
            .get("ephemeral")
            .and_then(Json::as_bool)
            .unwrap_or(false),
    })
}

fn column_type(place: &str, json: &Json) -> Result<ColumnType, SchemaError> {
    let Json::Object(members) = json else {
        return Ok(ColumnType {
            key: base_type(place, json)?,
            value: None,
            min: 1,
            max: 1,
        });
    };
    let Some(key) = members.get("key") else {
        return bad(place, "a type without key");
    };
    let size = |member| match members.get(member) {
        None => Ok(1),
        Some(Json::String(word)) if word == "unlimited" && member == "max" => Ok(usize::MAX),
        Some(number) => number
            .as_u64()
            .and_then(|n| n.try_into().ok())
            .map_or_else(|| bad(place, format!("bad {member}")), Ok),
    };
    let (min, max) = (size("min")?, size("max")?);
    if min > 1 || max == 0 {
        return bad(place, "min must be 0 or 1, max at least 1");
    }
    Ok(ColumnType {
        key: base_type(place, key)?,
        value: members
            .get("value")
            .map(|v| base_type(place, v))
            .transpose()?,
        min,
        max,
    })
}

fn base_type(place: &str, json: &Json) -> Result<BaseType, SchemaError> {
    let (name, members) = match json {
        Json::String(name) => (name.as_str(), None),
        Json::Object(members) => match members.get("type").and_then(Json::as_str) {
            Some(name) => (name, Some(members)),
            None => return bad(place, "a type without name"),
        },
        _ => return bad(place, "a type that is neither text nor object"),
    };
    let Some(atom) = AtomType::from_name(name) else {
        return bad(place, format!("unknown type \"{name}\""));
    };
    let mut base = BaseType {
        atom,
        constraint: Constraint::None,
        refers: None,
    };
    let Some(members) = members else {
        return Ok(base);
    };
    let integer = |member| members.get(member).and_then(Json::as_i64);
    let real = |member| members.get(member).and_then(Json::as_f64);
    let length = |member| members.get(member).and_then(Json::as_u64);
    base.constraint = match members.get("enum") {
        Some(json) => {
            let ty = ColumnType {
                max: usize::MAX,
                ..ColumnType::scalar(atom)
            };
            match super::Datum::from_json(&ty, json) {
                Ok(super::Datum::Set(atoms)) => Constraint::OneOf(atoms),
                _ => return bad(place, "an enum that is not a set of its type"),
            }
        }
        None => match atom {
            AtomType::Integer
                if members.contains_key("minInteger") || members.contains_key("maxInteger") =>
            {
                Constraint::Integer(integer("minInteger"), integer("maxInteger"))
            }
            AtomType::Real
                if members.contains_key("minReal") || members.contains_key("maxReal") =>
            {
                Constraint::Real(real("minReal"), real("maxReal"))
            }
            AtomType::String
                if members.contains_key("minLength") || members.contains_key("maxLength") =>
            {
                Constraint::Length(length("minLength"), length("maxLength"))
            }
            _ => Constraint::None,
        },
    };
    if let Some(table) = members.get("refTable").and_then(Json::as_str) {
        let strong = members.get("refType").and_then(Json::as_str) != Some("weak");
        base.refers = Some((table.to_owned(), strong));
    }
    Ok(base)
}
