//! Conditions of `find` and `wait-until`.

use weft_ovsdb::model::{Atom, ColumnSchema, ColumnType, Datum, Relation, Uuid};

use super::{argument, resolve_all, value_of};
use crate::command::Cx;
use crate::error::{Error, fail};
use crate::records;

/// `COL[:KEY]RELATION VALUE`, parsed.
struct Condition {
    column: ColumnSchema,
    key: Option<Atom>,
    relation: Relation,
    value: Datum,
}

/// Conditions that a row must all satisfy.
pub(super) struct Conditions(Vec<Condition>);

const RELATIONS: &str = "\"=\", \"!=\", \"<\", \">\", \"<=\", \">=\", \"{=}\", \"{!=}\", \"{<}\", \"{>}\", \
                         \"{<=}\", \"{>=}\", \"{in}\", or \"{not-in}\"";

impl Conditions {
    pub(super) fn parse(cx: &mut Cx<'_>, table: &str, args: &[String]) -> Result<Self, Error> {
        let one = |arg: &String| Self::one(cx, table, arg);
        args.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    fn one(cx: &mut Cx<'_>, table: &str, arg: &str) -> Result<Condition, Error> {
        let parsed = argument(arg, RELATIONS)?;
        let column = records::column(cx.db.table_schema(table)?, parsed.column, true)?;
        let Some((relation, value)) = parsed.value else {
            return fail(format!(
                "{arg}: argument does not end in {RELATIONS} followed by a value."
            ));
        };
        let Some(key) = parsed.key else {
            let value = resolve_all(cx, Datum::parse(&column.ty, value)?);
            return Ok(Condition {
                column,
                key: None,
                relation,
                value,
            });
        };
        let Some(value_type) = column.ty.value.clone() else {
            return fail(format!(
                "cannot specify key to check for non-map column {}",
                column.name
            ));
        };
        let key = records::resolve(cx, Atom::parse(&column.ty.key, key)?);
        let ty = ColumnType {
            key: value_type,
            value: None,
            min: 0,
            max: usize::MAX,
        };
        let value = resolve_all(cx, Datum::parse(&ty, value)?);
        Ok(Condition {
            column,
            key: Some(key),
            relation,
            value,
        })
    }

    pub(super) fn hold(&self, cx: &Cx<'_>, table: &str, uuid: Uuid) -> bool {
        self.0.iter().all(|condition| {
            let value = value_of(cx, table, uuid, &condition.column);
            match &condition.key {
                None => condition.relation.holds(&value, &condition.value),
                Some(key) => {
                    let at_key = value.value(key).cloned().into_iter().collect();
                    // A key that is not there is like no value for the relations over sets, and
                    // satisfies none of the others.
                    let single = matches!(
                        condition.relation,
                        Relation::Equal
                            | Relation::NotEqual
                            | Relation::Less
                            | Relation::AtMost
                            | Relation::Greater
                            | Relation::AtLeast
                    );
                    (value.contains(key) || !single)
                        && condition
                            .relation
                            .holds(&Datum::Set(at_key), &condition.value)
                }
            }
        })
    }
}
