//! Rules of types and levels (ovn-sb(5), "Symbols"), and the prerequisites that the use of a symbol implies.

use std::sync::OnceLock;

use crate::action::{Action, ArgKind};
use crate::constant::Const;
use crate::expr::{Cmp, Expr, Operand, RelOp};
use crate::field::{Field, Home, Level, Predicate};
use crate::of::ones;
use crate::parse::parse_match;

/// Why an expression or action is refused, when there is no text to point at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CheckError(pub String);

fn refuse<T>(message: impl Into<String>) -> Result<T, CheckError> {
    Err(CheckError(message.into()))
}

/// Whether the constant is of the field's type and fits into it.
pub fn constant_fits(field: Field, constant: &Const) -> Result<(), CheckError> {
    match constant {
        Const::Template(_) => Ok(()),
        Const::Str(_) | Const::Group(_) if field.is_text() => Ok(()),
        Const::Str(_) | Const::Group(_) => refuse(format!(
            "integer field {field} cannot be compared with a string"
        )),
        _ if field.is_text() => refuse(format!(
            "string field {field} cannot be compared with an integer"
        )),
        Const::Set(_) => Ok(()),
        Const::Int(int) => {
            let bits = int.value() | int.mask().unwrap_or(0);
            if bits & !ones(field.width()) != 0 {
                return refuse(format!(
                    "constant {int} does not fit into the {} bits of {field}",
                    field.width()
                ));
            }
            Ok(())
        }
    }
}

/// Checks one comparison; `negated` says whether an odd number of `!` is around it.
pub fn comparison(
    field: Field,
    op: RelOp,
    operand: &Operand,
    negated: bool,
) -> Result<(), CheckError> {
    if field.symbol().home == Home::Controller {
        return refuse(format!("field {field} can only be assigned, not matched"));
    }
    for constant in operand.constants() {
        constant_fits(field, constant)?;
    }
    let nominal = field.symbol().level != Level::Ordinal;
    match op {
        RelOp::Eq | RelOp::Ne => {
            if nominal && (op == RelOp::Ne) != negated {
                return refuse(format!(
                    "nominal field {field} may only be tested for equality"
                ));
            }
            let masked = operand
                .constants()
                .iter()
                .any(|c| c.as_int().is_some_and(|int| int.mask().is_some()));
            if nominal && masked {
                return refuse(format!(
                    "nominal field {field} cannot be compared under a mask"
                ));
            }
            Ok(())
        }
        _ if nominal => refuse(format!(
            "only == and != may be used with nominal field {field}"
        )),
        _ => match operand {
            Operand::One(Const::Int(int)) if int.mask().is_none() => Ok(()),
            Operand::One(Const::Int(_)) => refuse(format!(
                "only == and != may be used with a mask; use bits of {field}"
            )),
            _ => refuse("only == and != may be used with a set of values"),
        },
    }
}

/// Whether what the predicate stands for tests a nominal field.
pub fn predicate_is_nominal(predicate: Predicate) -> bool {
    let mut nominal = false;
    expansion(predicate).walk(&mut |part| match part {
        Expr::Cmp(cmp) => nominal |= cmp.field.symbol().level != Level::Ordinal,
        Expr::Pred(inner) => nominal |= predicate_is_nominal(*inner),
        _ => {}
    });
    nominal
}

/// What the predicate stands for.
pub fn expansion(predicate: Predicate) -> &'static Expr {
    static EXPANSIONS: [OnceLock<Expr>; Predicate::COUNT] =
        [const { OnceLock::new() }; Predicate::COUNT];
    EXPANSIONS[predicate.index()].get_or_init(|| {
        parse_match(predicate.expansion()).expect("the table of predicates parses: tested")
    })
}

/// The condition that the use of a field implies, if any.
pub fn prerequisite(field: Field) -> Option<Expr> {
    prerequisite_named(field.symbol().prerequisite)
}

/// A prerequisite is always the name of a predicate or of a one-bit field.
fn prerequisite_named(name: &str) -> Option<Expr> {
    if name.is_empty() {
        return None;
    }
    Predicate::by_name(name)
        .map(Expr::Pred)
        .or_else(|| Field::by_name(name).map(Expr::Bit))
}

/// Checks types and levels of a whole expression that was built, not parsed.
pub fn check(expr: &Expr) -> Result<(), CheckError> {
    check_under(expr, false)
}

fn check_under(expr: &Expr, negated: bool) -> Result<(), CheckError> {
    match expr {
        Expr::Bool(_) | Expr::Resident(_) => Ok(()),
        Expr::Cmp(Cmp { field, op, operand }) => comparison(*field, *op, operand, negated),
        Expr::Bit(field) => bit_mention(*field),
        Expr::Pred(predicate) => predicate_mention(*predicate, negated),
        Expr::Not(inner) => check_under(inner, !negated),
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().try_for_each(|part| check_under(part, negated))
        }
    }
}

/// A field can stand alone only if it has one bit.
pub fn bit_mention(field: Field) -> Result<(), CheckError> {
    if field.is_text() || field.width() != 1 {
        return refuse(format!(
            "{field} is not a one-bit field and must be compared with a constant"
        ));
    }
    Ok(())
}

/// A nominal predicate can only be tested positively.
pub fn predicate_mention(predicate: Predicate, negated: bool) -> Result<(), CheckError> {
    if negated && predicate_is_nominal(predicate) {
        return refuse(format!(
            "nominal predicate {predicate} may only be tested positively"
        ));
    }
    Ok(())
}

/// Expands predicates and adds the prerequisites of every field, so that only comparisons, single bits of ordinal
/// fields and residency remain, and each holds only for packets that have the field.
///
/// A negated test keeps its prerequisite positive: `!(tcp.dst == 80)` is true for TCP packets to other ports only.
pub fn annotate(expr: &Expr) -> Expr {
    annotate_under(expr, false)
}

fn annotate_under(expr: &Expr, negated: bool) -> Expr {
    match expr {
        Expr::Bool(value) => Expr::Bool(*value != negated),
        Expr::Resident(_) if negated => Expr::Not(Box::new(expr.clone())),
        Expr::Resident(_) => expr.clone(),
        Expr::Cmp(cmp) => {
            let op = if negated { cmp.op.negated() } else { cmp.op };
            with_prerequisite(cmp.field, Expr::Cmp(Cmp { op, ..cmp.clone() }))
        }
        Expr::Bit(field) => with_prerequisite(*field, (*field).eq(u8::from(!negated))),
        Expr::Pred(predicate) => annotate_under(expansion(*predicate), negated),
        Expr::Not(inner) => annotate_under(inner, !negated),
        // De Morgan: a negation turns conjunctions into disjunctions.
        Expr::And(parts) if !negated => {
            Expr::all(parts.iter().map(|part| annotate_under(part, false)))
        }
        Expr::And(parts) => Expr::any(parts.iter().map(|part| annotate_under(part, true))),
        Expr::Or(parts) if !negated => {
            Expr::any(parts.iter().map(|part| annotate_under(part, false)))
        }
        Expr::Or(parts) => Expr::all(parts.iter().map(|part| annotate_under(part, true))),
    }
}

/// Conjoins what the symbol and those it is a part of require.
fn with_prerequisite(field: Field, test: Expr) -> Expr {
    let mut parts = vec![test];
    let mut at = field;
    loop {
        if let Some(condition) = prerequisite(at) {
            parts.push(annotate_under(&condition, false));
        }
        match at.symbol().home {
            Home::Sub(parent) => at = parent,
            _ => return Expr::all(parts),
        }
    }
}

/// What the use of these actions implies for the match: the prerequisites of every field they read or write, and
/// their own. (`igmp;` has none: it is about MLD too, whatever ovn-sb(5) says.) Nested packets have their own kind, so what is inside braces counts only for `clone`.
pub fn action_prerequisites(actions: &[Action]) -> Expr {
    let mut found: Vec<Expr> = Vec::new();
    let mut add = |condition: Option<Expr>| {
        if let Some(condition) = condition
            && !found.contains(&condition)
        {
            found.push(condition);
        }
    };
    for action in actions {
        for field in fields_of(action) {
            add(prerequisite(field));
        }
        match action {
            Action::DecTtl => add(prerequisite_named("ip")),
            Action::Call { name, .. } => add(prerequisite_named(name.prerequisite())),
            Action::Nested(kind, _) => add(prerequisite_named(kind.prerequisite())),
            Action::CtNext(_)
            | Action::CtNat(..)
            | Action::CtLb(_)
            | Action::CtCommit(_)
            | Action::CtCommitV1 { .. }
            | Action::CtCommitNat(_)
            | Action::CtCommitToZone(_) => add(prerequisite_named("ip")),
            _ => {}
        }
    }
    Expr::all(found)
}

/// Fields that the action itself mentions, not those of actions nested in it.
pub fn fields_of(action: &Action) -> Vec<Field> {
    match action {
        Action::Set(field, _) | Action::Push(field) | Action::Pop(field) => vec![*field],
        Action::Move(a, b) | Action::Exchange(a, b) => vec![*a, *b],
        Action::Call { result, args, .. } => result.iter().chain(args).copied().collect(),
        Action::PutOptions(_, field, _)
        | Action::CheckPktLarger(field, _)
        | Action::BindVport(_, field)
        | Action::DhcpRelayReqChk(field, ..)
        | Action::DhcpRelayRespChk(field, ..)
        | Action::Select { result: field, .. } => vec![*field],
        _ => Vec::new(),
    }
}

/// Whether actions may write the field.
pub fn writable(field: Field) -> Result<(), CheckError> {
    if !field.symbol().writable {
        return refuse(format!("field {field} is not modifiable"));
    }
    if field.symbol().level == Level::Nominal && !field.is_whole() {
        return refuse(format!(
            "nominal field {field} can only be assigned as a whole"
        ));
    }
    Ok(())
}

/// Whether `field = constant` is well typed.
pub fn assignment(field: Field, value: &Const) -> Result<(), CheckError> {
    writable(field)?;
    match value {
        Const::Set(_) | Const::Group(_) => refuse("a set cannot be assigned"),
        Const::Template(_) => Ok(()),
        Const::Str(_) | Const::Int(_) => constant_fits(field, value)
            .map_err(|error| CheckError(error.0.replace("compared with", "assigned"))),
    }
}

/// Whether two fields can be copied into each other.
pub fn same_type(a: Field, b: Field) -> Result<(), CheckError> {
    if a.is_text() != b.is_text() {
        return refuse(format!("cannot mix string and integer fields {a} and {b}"));
    }
    if a.width() != b.width() {
        return refuse(format!(
            "cannot copy between {}-bit {a} and {}-bit {b}",
            a.width(),
            b.width()
        ));
    }
    Ok(())
}

/// Whether a field can be an argument, or take the result, of a call.
pub fn argument(field: Field, kind: ArgKind, name: &str) -> Result<(), CheckError> {
    match kind {
        ArgKind::Port if field.is_text() => Ok(()),
        ArgKind::Port => refuse(format!(
            "{name} needs a port, not the integer field {field}"
        )),
        ArgKind::Bits(_) | ArgKind::AnyBits if field.is_text() => {
            refuse(format!("{name} needs an integer field, not {field}"))
        }
        ArgKind::Bits(bits) if field.width() != bits => refuse(format!(
            "{name} needs a {bits}-bit field, but {field} has {}",
            field.width()
        )),
        ArgKind::Bits(_) | ArgKind::AnyBits => Ok(()),
    }
}
