//! Simplification that keeps the language: the result is again an expression that people can read.

use crate::constant::Const;
use crate::expr::{Cmp, Expr, Operand, RelOp};

/// Folds constants, removes doubled negations and repeated parts, and gathers `x == a || x == b` into `x == {a, b}`.
pub fn simplify(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => simplify(*inner).negate(),
        Expr::And(parts) => match Expr::all(parts.into_iter().map(simplify)) {
            Expr::And(parts) => Expr::all(unique(parts)),
            other => other,
        },
        Expr::Or(parts) => match Expr::any(parts.into_iter().map(simplify)) {
            Expr::Or(parts) => Expr::any(gather(unique(parts))),
            other => other,
        },
        Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::Many(constants),
        }) => Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::of(unique(constants.into_vec())),
        }),
        other => other,
    }
}

/// Without repetitions, in the order of first mention.
fn unique<T: PartialEq + Clone + std::hash::Hash + Eq>(items: Vec<T>) -> Vec<T> {
    let set: indexmap::IndexSet<T, rustc_hash::FxBuildHasher> = items.into_iter().collect();
    set.into_iter().collect()
}

/// Joins equality tests of one field in a disjunction.
fn gather(parts: Vec<Expr>) -> Vec<Expr> {
    let mut out: Vec<Expr> = Vec::with_capacity(parts.len());
    let mut places: indexmap::IndexMap<
        crate::Field,
        (usize, Vec<Const>),
        rustc_hash::FxBuildHasher,
    > = Default::default();
    for part in parts {
        match part {
            Expr::Cmp(Cmp {
                field,
                op: RelOp::Eq,
                operand,
            }) => {
                let place = places
                    .entry(field)
                    .or_insert_with(|| (out.len(), Vec::new()));
                place.1.extend_from_slice(operand.constants());
                if place.0 == out.len() {
                    out.push(Expr::Bool(false)); // its place, filled below
                }
            }
            other => out.push(other),
        }
    }
    for (field, (place, constants)) in places {
        out[place] = Expr::Cmp(Cmp {
            field,
            op: RelOp::Eq,
            operand: Operand::of(unique(constants)),
        });
    }
    out
}
