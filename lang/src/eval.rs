//! Evaluation of an expression on one packet.

use crate::check::{expansion, prerequisite};
use crate::constant::{Const, Int};
use crate::env::Env;
use crate::expr::{Cmp, Expr, RelOp};
use crate::field::{Field, Home};
use crate::lower;
use crate::of::ones;
use crate::packet::{FieldReader, Packet, get};

/// Whether the packet matches. A test of a field that the packet does not have is false, negated or not.
pub fn eval(expr: &Expr, packet: &impl FieldReader, env: &impl Env) -> bool {
    eval_under(expr, packet, env, false)
}

fn eval_under(expr: &Expr, packet: &impl FieldReader, env: &impl Env, negated: bool) -> bool {
    match expr {
        Expr::Bool(value) => *value != negated,
        Expr::Resident(port) => env.is_resident(port) != negated,
        Expr::Bit(field) => has_field(*field, packet, env) && (get(packet, *field) != 0) != negated,
        Expr::Pred(predicate) => eval_under(expansion(*predicate), packet, env, negated),
        Expr::Cmp(cmp) => {
            let op = if negated { cmp.op.negated() } else { cmp.op };
            has_field(cmp.field, packet, env) && compare(cmp, op, get(packet, cmp.field), env)
        }
        Expr::Not(inner) => eval_under(inner, packet, env, !negated),
        Expr::And(parts) if !negated => parts
            .iter()
            .all(|part| eval_under(part, packet, env, false)),
        Expr::And(parts) => parts.iter().any(|part| eval_under(part, packet, env, true)),
        Expr::Or(parts) if !negated => parts
            .iter()
            .any(|part| eval_under(part, packet, env, false)),
        Expr::Or(parts) => parts.iter().all(|part| eval_under(part, packet, env, true)),
    }
}

/// Whether the packet has the field: what the symbol and those it is a part of require.
fn has_field(field: Field, packet: &impl FieldReader, env: &impl Env) -> bool {
    let own =
        prerequisite(field).is_none_or(|condition| eval_under(&condition, packet, env, false));
    match field.symbol().home {
        Home::Sub(parent) => own && has_field(parent, packet, env),
        _ => own,
    }
}

fn compare(cmp: &Cmp, op: RelOp, actual: u128, env: &impl Env) -> bool {
    let width = ones(cmp.field.width());
    let equal = |int: &Int| {
        let mask = int.mask().unwrap_or(width) & width;
        (actual ^ int.value()) & mask == 0
    };
    let one = |constant: &Const| -> Option<bool> {
        match constant {
            Const::Int(int) => Some(match op {
                RelOp::Eq => equal(int),
                RelOp::Ne => !equal(int),
                RelOp::Lt => actual < int.value(),
                RelOp::Le => actual <= int.value(),
                RelOp::Gt => actual > int.value(),
                RelOp::Ge => actual >= int.value(),
            }),
            Const::Str(name) => Some((u128::from(env.port(name)?) == actual) == (op == RelOp::Eq)),
            Const::Group(name) => {
                let found = env
                    .port_group(cmp.field, name)?
                    .iter()
                    .any(|key| u128::from(*key) == actual);
                Some(found == (op == RelOp::Eq))
            }
            Const::Template(_) => None,
            Const::Set(name) => {
                let set = env.address_set(name)?;
                let fitting = set.iter().filter(|int| lower::fits(cmp.field, int));
                Some(fitting.into_iter().any(equal) == (op == RelOp::Eq))
            }
        }
    };
    // A name that means nothing makes its comparison false, whichever way it is asked.
    let mut verdicts = cmp
        .operand
        .constants()
        .iter()
        .map(|constant| one(constant).unwrap_or(false));
    match op {
        RelOp::Eq => verdicts.any(|verdict| verdict),
        _ => verdicts.all(|verdict| verdict),
    }
}

/// The packet that a microflow, as given to `ovn-trace`, describes: every field it does not mention is zero, and
/// where it leaves a choice the first is taken. None if nothing can match.
pub fn microflow(expr: &Expr, env: &impl Env) -> Option<Packet> {
    let cube = lower::first_cube(expr, env)?;
    let mut packet = Packet::new();
    for bits in cube {
        packet.write_masked(bits.field, bits.value, bits.mask);
    }
    Some(packet)
}
