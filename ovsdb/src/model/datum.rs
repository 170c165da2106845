//! Values of columns of tables known only at run time.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{
    AtomType, BaseType, Cell, ColumnSchema, ColumnType, Constraint, Str, TableSchema, Uuid,
};

impl AtomType {
    /// As schemas name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AtomType::Integer => "integer",
            AtomType::Real => "real",
            AtomType::Boolean => "boolean",
            AtomType::String => "string",
            AtomType::Uuid => "uuid",
        }
    }

    /// The type that schemas name so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<AtomType> {
        [
            AtomType::Integer,
            AtomType::Real,
            AtomType::Boolean,
            AtomType::String,
            AtomType::Uuid,
        ]
        .into_iter()
        .find(|t| t.name() == name)
    }

    /// What an atom is unless said otherwise.
    #[must_use]
    pub fn default_atom(self) -> Atom {
        match self {
            AtomType::Integer => Atom::Integer(0),
            AtomType::Real => Atom::Real(0.0),
            AtomType::Boolean => Atom::Boolean(false),
            AtomType::String => Atom::String(Str::default()),
            AtomType::Uuid => Atom::Uuid(Uuid::ZERO),
        }
    }
}

/// A single value.
#[derive(Clone, Debug)]
pub enum Atom {
    /// Of type `integer`.
    Integer(i64),
    /// Of type `real`.
    Real(f64),
    /// Of type `boolean`.
    Boolean(bool),
    /// Of type `string`.
    String(Str),
    /// Of type `uuid`.
    Uuid(Uuid),
    /// Of type `uuid`, by the name of a row that the same transaction inserts.
    NamedUuid(Str),
}

impl Atom {
    /// Its type.
    #[must_use]
    pub const fn atom_type(&self) -> AtomType {
        match self {
            Atom::Integer(_) => AtomType::Integer,
            Atom::Real(_) => AtomType::Real,
            Atom::Boolean(_) => AtomType::Boolean,
            Atom::String(_) => AtomType::String,
            Atom::Uuid(_) | Atom::NamedUuid(_) => AtomType::Uuid,
        }
    }

    /// Reads `<atom>` (RFC 7047, section 5.1).
    pub fn from_json(ty: AtomType, json: &Json) -> Result<Atom, DatumError> {
        let atom = match (ty, json) {
            (AtomType::Integer, Json::Number(n)) => {
                n.as_i64().or_else(|| whole(n.as_f64()?)).map(Atom::Integer)
            }
            (AtomType::Real, Json::Number(n)) => n.as_f64().map(Atom::Real),
            (AtomType::Boolean, Json::Bool(v)) => Some(Atom::Boolean(*v)),
            (AtomType::String, Json::String(text)) => Some(Atom::String(text.as_str().into())),
            (AtomType::Uuid, Json::Array(pair)) => match &pair[..] {
                [Json::String(tag), Json::String(text)] if tag == "uuid" => {
                    text.parse().ok().map(Atom::Uuid)
                }
                [Json::String(tag), Json::String(text)] if tag == "named-uuid" => {
                    Some(Atom::NamedUuid(text.as_str().into()))
                }
                _ => None,
            },
            _ => None,
        };
        atom.ok_or_else(|| DatumError::Type {
            expected: ty.name(),
            found: json.to_string(),
        })
    }

    /// Writes `<atom>`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Atom::Integer(v) => (*v).into(),
            // Whole numbers are written without a fraction, as the server does.
            Atom::Real(v) => whole(*v).map_or_else(|| Json::from(*v), Json::from),
            Atom::Boolean(v) => (*v).into(),
            Atom::String(v) => v.as_ref().into(),
            Atom::Uuid(v) => v.to_json(),
            Atom::NamedUuid(name) => Json::Array(vec!["named-uuid".into(), name.as_ref().into()]),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Atom::Integer(_) => 0,
            Atom::Real(_) => 1,
            Atom::Boolean(_) => 2,
            Atom::String(_) => 3,
            Atom::Uuid(_) => 4,
            Atom::NamedUuid(_) => 5,
        }
    }
}

/// The integer that a number without fraction is, where doubles still are exact.
fn whole(v: f64) -> Option<i64> {
    (v.fract() == 0.0 && v.abs() < 9_007_199_254_740_992.0 && !(v == 0.0 && v.is_sign_negative()))
        .then_some(v as i64)
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Atom::Integer(a), Atom::Integer(b)) => a.cmp(b),
            (Atom::Real(a), Atom::Real(b)) => a.total_cmp(b),
            (Atom::Boolean(a), Atom::Boolean(b)) => a.cmp(b),
            (Atom::String(a), Atom::String(b)) | (Atom::NamedUuid(a), Atom::NamedUuid(b)) => {
                a.cmp(b)
            }
            (Atom::Uuid(a), Atom::Uuid(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Atom {}

/// A column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// Elements in ascending order, each once. Columns of one atom, or none or one, hold sets of that size.
    Set(Vec<Atom>),
    /// Pairs in ascending order of key, each key once.
    Map(Vec<(Atom, Atom)>),
}

/// Why a value does not fit a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatumError {
    /// It is something else altogether.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The type.
        expected: &'static str,
        /// The JSON text.
        found: String,
    },
    /// The notation is wrong ([`Datum::parse`]).
    #[error("{0}")]
    Syntax(String),
    /// A value that is not allowed.
    #[error("constraint violation: {0}")]
    Constraint(String),
    /// Too many or too few.
    #[error("{text}: {count} value(s) specified but the {bound} number is {limit}")]
    Count {
        /// The value as written.
        text: String,
        /// How many there are.
        count: usize,
        /// "minimum" or "maximum".
        bound: &'static str,
        /// That number.
        limit: usize,
    },
    /// A key or element twice.
    #[error("{text}: {what}")]
    Duplicate {
        /// The value as written.
        text: String,
        /// "set contains duplicate value" or "map contains duplicate key".
        what: &'static str,
    },
}

/// A [`DatumError`] and where it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, column {column}: {error}")]
pub struct ColumnError {
    /// Name of the table.
    pub table: String,
    /// Name of the column.
    pub column: String,
    /// What is wrong.
    pub error: DatumError,
}

impl DatumError {
    /// The error with its place.
    #[must_use]
    pub fn at(self, table: &TableSchema, column: &ColumnSchema) -> ColumnError {
        ColumnError {
            table: table.name.clone(),
            column: column.name.clone(),
            error: self,
        }
    }
}

impl Datum {
    /// A set of one.
    #[must_use]
    pub fn one(atom: Atom) -> Datum {
        Datum::Set(vec![atom])
    }

    /// A set; elements need not be in order, but be different (later ones of equal ones are dropped).
    #[must_use]
    pub fn set(mut atoms: Vec<Atom>) -> Datum {
        atoms.sort();
        atoms.dedup();
        Datum::Set(atoms)
    }

    /// A map; pairs need not be in order, but have different keys (later ones of equal ones are dropped).
    #[must_use]
    pub fn map(mut pairs: Vec<(Atom, Atom)>) -> Datum {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|a, b| a.0 == b.0);
        Datum::Map(pairs)
    }

    /// What a column of that type holds in a new row.
    #[must_use]
    pub fn default_of(ty: &ColumnType) -> Datum {
        match (&ty.value, ty.min) {
            (None, 0) => Datum::Set(vec![]),
            (None, _) => Datum::one(ty.key.atom.default_atom()),
            (Some(_), 0) => Datum::Map(vec![]),
            (Some(value), _) => Datum::Map(vec![(
                ty.key.atom.default_atom(),
                value.atom.default_atom(),
            )]),
        }
    }

    /// Number of elements or pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Datum::Set(atoms) => atoms.len(),
            Datum::Map(pairs) => pairs.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, or keys.
    pub fn keys(&self) -> impl Iterator<Item = &Atom> {
        let (atoms, pairs) = match self {
            Datum::Set(atoms) => (&atoms[..], &[][..]),
            Datum::Map(pairs) => (&[][..], &pairs[..]),
        };
        atoms.iter().chain(pairs.iter().map(|(key, _)| key))
    }

    /// The value of a key of a map.
    #[must_use]
    pub fn value(&self, key: &Atom) -> Option<&Atom> {
        match self {
            Datum::Set(_) => None,
            Datum::Map(pairs) => pairs
                .binary_search_by(|(k, _)| k.cmp(key))
                .ok()
                .map(|at| &pairs[at].1),
        }
    }

    /// Whether the element or key is there.
    #[must_use]
    pub fn contains(&self, key: &Atom) -> bool {
        match self {
            Datum::Set(atoms) => atoms.binary_search(key).is_ok(),
            Datum::Map(pairs) => pairs.binary_search_by(|(k, _)| k.cmp(key)).is_ok(),
        }
    }

    /// Whether every element (of a map: every pair) is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Datum) -> bool {
        match (self, other) {
            (Datum::Map(pairs), Datum::Map(_)) => {
                pairs.iter().all(|(k, v)| other.value(k) == Some(v))
            }
            _ => self.keys().all(|key| other.contains(key)),
        }
    }

    /// Reads `<value>` (RFC 7047, section 5.1) of a column of that type; limits are left to [`check`](Datum::check).
    pub fn from_json(ty: &ColumnType, json: &Json) -> Result<Datum, DatumError> {
        let tagged = match json.as_array().map(Vec::as_slice) {
            Some([Json::String(tag), Json::Array(list)]) => Some((tag.as_str(), list)),
            _ => None,
        };
        match (&ty.value, tagged) {
            (None, Some(("set", list))) => {
                let atoms: Result<Vec<_>, _> = list
                    .iter()
                    .map(|json| Atom::from_json(ty.key.atom, json))
                    .collect();
                let (atoms, count) = (Datum::set(atoms?), list.len());
                if atoms.len() < count {
                    return Err(DatumError::Duplicate {
                        text: json.to_string(),
                        what: "set contains duplicate value",
                    });
                }
                Ok(atoms)
            }
            (None, _) => Ok(Datum::one(Atom::from_json(ty.key.atom, json)?)),
            (Some(value), Some(("map", list))) => {
                let pair = |json: &Json| match json.as_array().map(Vec::as_slice) {
                    Some([k, v]) => Ok((
                        Atom::from_json(ty.key.atom, k)?,
                        Atom::from_json(value.atom, v)?,
                    )),
                    _ => Err(DatumError::Type {
                        expected: "pair",
                        found: json.to_string(),
                    }),
                };
                let pairs: Result<Vec<_>, _> = list.iter().map(pair).collect();
                let pairs = Datum::map(pairs?);
                if pairs.len() < list.len() {
                    return Err(DatumError::Duplicate {
                        text: json.to_string(),
                        what: "map contains duplicate key",
                    });
                }
                Ok(pairs)
            }
            (Some(_), _) => Err(DatumError::Type {
                expected: "map",
                found: json.to_string(),
            }),
        }
    }

    /// Writes `<value>`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let tagged = |tag: &str, list| Json::Array(vec![tag.into(), Json::Array(list)]);
        match self {
            Datum::Set(atoms) => match &atoms[..] {
                [atom] => atom.to_json(),
                _ => tagged("set", atoms.iter().map(Atom::to_json).collect()),
            },
            Datum::Map(pairs) => tagged(
                "map",
                pairs
                    .iter()
                    .map(|(k, v)| Json::Array(vec![k.to_json(), v.to_json()]))
                    .collect(),
            ),
        }
    }

    /// Whether the column may hold this: number of elements and every atom's constraint.
    pub fn check(&self, ty: &ColumnType) -> Result<(), DatumError> {
        for key in self.keys() {
            ty.key.check(key)?;
        }
        if let (Datum::Map(pairs), Some(base)) = (self, &ty.value) {
            for (_, value) in pairs {
                base.check(value)?;
            }
        }
        let count = self.len();
        let (bound, limit) = match () {
            () if count < ty.min => ("minimum", ty.min),
            () if count > ty.max => ("maximum", ty.max),
            () => return Ok(()),
        };
        Err(DatumError::Count {
            text: self.to_text(ty),
            count,
            bound,
            limit,
        })
    }
}

impl BaseType {
    /// Whether the atom is allowed. Messages are worded as the server's.
    pub fn check(&self, atom: &Atom) -> Result<(), DatumError> {
        let wrong = match (&self.constraint, atom) {
            (Constraint::OneOf(allowed), _) if !allowed.contains(atom) => {
                let shown: Vec<String> = allowed.iter().map(Atom::to_text).collect();
                Some(format!(
                    "{} is not one of the allowed values ([{}])",
                    atom.to_text(),
                    shown.join(", ")
                ))
            }
            (Constraint::Integer(min, max), Atom::Integer(v)) => {
                range(v, &v.to_string(), min.as_ref(), max.as_ref())
            }
            (Constraint::Real(min, max), Atom::Real(v)) => {
                range(v, &atom.to_text(), min.as_ref(), max.as_ref())
            }
            (Constraint::Length(min, max), Atom::String(text)) => {
                let length = text.chars().count() as u64;
                let shown = Json::from(text.as_ref());
                match (min, max) {
                    (Some(min), _) if length < *min => Some(format!(
                        "{shown} length {length} is less than minimum allowed length {min}"
                    )),
                    (_, Some(max)) if length > *max => Some(format!(
                        "{shown} length {length} is greater than maximum allowed length {max}"
                    )),
                    _ => None,
                }
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |text| Err(DatumError::Constraint(text)))
    }
}

fn range<T: PartialOrd + std::fmt::Display>(
    value: &T,
    shown: &str,
    min: Option<&T>,
    max: Option<&T>,
) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) if value < min || value > max => Some(format!(
            "{shown} is not in the valid range {min} to {max} (inclusive)"
        )),
        (Some(min), None) if value < min => {
            Some(format!("{shown} is less than minimum allowed value {min}"))
        }
        (None, Some(max)) if value > max => Some(format!(
            "{shown} is greater than maximum allowed value {max}"
        )),
        _ => None,
    }
}

impl From<Cell<'_>> for Datum {
    fn from(cell: Cell<'_>) -> Datum {
        use Atom::{Boolean, Integer, Real, String, Uuid};
        let text = |v: &Str| String(v.clone());
        match cell {
            Cell::Str(v) => Datum::one(text(v)),
            Cell::Integer(v) => Datum::one(Integer(*v)),
            Cell::Real(v) => Datum::one(Real(*v)),
            Cell::Boolean(v) => Datum::one(Boolean(*v)),
            Cell::Uuid(v) => Datum::one(Uuid(*v)),
            Cell::OptStr(v) => Datum::Set(v.iter().map(text).collect()),
            Cell::OptInteger(v) => Datum::Set(v.iter().map(|v| Integer(*v)).collect()),
            Cell::OptReal(v) => Datum::Set(v.iter().map(|v| Real(*v)).collect()),
            Cell::OptBoolean(v) => Datum::Set(v.iter().map(|v| Boolean(*v)).collect()),
            Cell::OptUuid(v) => Datum::Set(v.iter().map(|v| Uuid(*v)).collect()),
            Cell::SetStr(v) => Datum::Set(v.iter().map(text).collect()),
            Cell::SetInteger(v) => Datum::Set(v.iter().map(|v| Integer(*v)).collect()),
            Cell::SetBoolean(v) => Datum::Set(v.iter().map(|v| Boolean(*v)).collect()),
            Cell::SetUuid(v) => Datum::Set(v.iter().map(|v| Uuid(*v)).collect()),
            Cell::MapStrStr(v) => Datum::Map(v.iter().map(|(k, v)| (text(k), text(v))).collect()),
            Cell::MapStrInteger(v) => {
                Datum::Map(v.iter().map(|(k, v)| (text(k), Integer(*v))).collect())
            }
            Cell::MapStrUuid(v) => Datum::Map(v.iter().map(|(k, v)| (text(k), Uuid(*v))).collect()),
            Cell::MapIntegerStr(v) => {
                Datum::Map(v.iter().map(|(k, v)| (Integer(*k), text(v))).collect())
            }
            Cell::MapIntegerInteger(v) => {
                Datum::Map(v.iter().map(|(k, v)| (Integer(*k), Integer(*v))).collect())
            }
            Cell::MapIntegerUuid(v) => {
                Datum::Map(v.iter().map(|(k, v)| (Integer(*k), Uuid(*v))).collect())
            }
            Cell::MapUuidStr(v) => Datum::Map(v.iter().map(|(k, v)| (Uuid(*k), text(v))).collect()),
        }
    }
}
