//! Arguments of ovs-vsctl(8) and its relatives that name a column: `COLUMN[:KEY][RELATION VALUE]`, and what the relations mean.

use super::text::{Scan, syntax};
use super::{Datum, DatumError};

/// How the condition of an argument compares (ovs-vsctl(8), command `find`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `{=}`
    SetEqual,
    /// `{!=}`
    SetNotEqual,
    /// `{<}`
    SetProperSubset,
    /// `{<=}`
    SetSubset,
    /// `{>}`
    SetProperSuperset,
    /// `{>=}`
    SetSuperset,
    /// `{in}`
    In,
    /// `{not-in}`
    NotIn,
}

impl Relation {
    /// All of them as written; where one is the beginning of another, the longer one is first.
    pub const ALL: [(&'static str, Relation); 14] = [
        ("!=", Relation::NotEqual),
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("{=}", Relation::SetEqual),
        ("{!=}", Relation::SetNotEqual),
        ("{<}", Relation::SetProperSubset),
        ("{<=}", Relation::SetSubset),
        ("{>}", Relation::SetProperSuperset),
        ("{>=}", Relation::SetSuperset),
        ("{in}", Relation::In),
        ("{not-in}", Relation::NotIn),
        ("=", Relation::Equal),
        ("<", Relation::Less),
        (">", Relation::Greater),
    ];

    /// Whether `left RELATION right` holds. Order is defined for single atoms only; without them it is `false`.
    #[must_use]
    pub fn holds(self, left: &Datum, right: &Datum) -> bool {
        let order = || match (left, right) {
            (Datum::Set(a), Datum::Set(b)) if a.len() == 1 && b.len() == 1 => Some(a[0].cmp(&b[0])),
            _ => None,
        };
        match self {
            Relation::Equal | Relation::SetEqual => left == right,
            Relation::NotEqual | Relation::SetNotEqual => left != right,
            Relation::Less => order().is_some_and(|o| o.is_lt()),
            Relation::AtMost => order().is_some_and(|o| o.is_le()),
            Relation::Greater => order().is_some_and(|o| o.is_gt()),
            Relation::AtLeast => order().is_some_and(|o| o.is_ge()),
            Relation::SetSubset | Relation::In => left.is_subset(right),
            Relation::SetProperSubset => left.is_subset(right) && left.len() < right.len(),
            Relation::SetSuperset => right.is_subset(left),
            Relation::SetProperSuperset => right.is_subset(left) && right.len() < left.len(),
            Relation::NotIn => !left.keys().any(|key| right.contains(key)),
        }
    }
}

/// An argument `COLUMN[:KEY][RELATION VALUE]`, cut into its parts; key and value still in users' notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnArgument<'t> {
    /// Name of a column.
    pub column: &'t str,
    /// A key.
    pub key: Option<&'t str>,
    /// What follows: how it compares (assignment is `=`), and with what.
    pub value: Option<(Relation, &'t str)>,
}

impl<'t> ColumnArgument<'t> {
    /// Cuts an argument.
    pub fn parse(text: &'t str) -> Result<ColumnArgument<'t>, DatumError> {
        let mut scan = Scan::new(text);
        let column = scan.token()?;
        if column.is_empty() {
            return syntax(format!("{text}: missing column name"));
        }
        let key = if scan.eat(':') {
            Some(scan.token()?)
        } else {
            None
        };
        if key == Some("") {
            return syntax(format!("{text}: key missing after \":\""));
        }
        let rest = scan.rest();
        let relation = Relation::ALL
            .iter()
            .find(|(written, _)| rest.starts_with(written));
        let value = match relation {
            Some((written, relation)) => Some((*relation, &rest[written.len()..])),
            None if rest.is_empty() => None,
            None => {
                return syntax(format!("{text}: trailing garbage \"{rest}\" in argument"));
            }
        };
        Ok(ColumnArgument { column, key, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |text| ColumnArgument::parse(text).unwrap();
        assert_eq!(
            parse("name"),
            ColumnArgument {
                column: "name",
                key: None,
                value: None
            }
        );
        assert_eq!(parse("options:a=b=c").value, Some((Relation::Equal, "b=c")));
        assert_eq!(parse("options:\"x:y\"{>=}3").key, Some("\"x:y\""));
        assert_eq!(
            parse("addresses{not-in}[a]").value,
            Some((Relation::NotIn, "[a]"))
        );
        assert_eq!(parse("up!=true").value, Some((Relation::NotEqual, "true")));
        assert!(ColumnArgument::parse("=5").is_err());
        assert!(ColumnArgument::parse("name]").is_err());
    }
}
