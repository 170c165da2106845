//! Match expressions: the tree, its builders and its canonical text.

use std::fmt;

use ipnet::IpNet;

use crate::constant::{Const, Str, write_quoted};
use crate::field::{Field, Predicate};

/// A relational operator.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl RelOp {
    /// As written.
    pub const fn text(self) -> &'static str {
        match self {
            RelOp::Eq => "==",
            RelOp::Ne => "!=",
            RelOp::Lt => "<",
            RelOp::Le => "<=",
            RelOp::Gt => ">",
            RelOp::Ge => ">=",
        }
    }

    /// The operator with its sides exchanged: `a < b` is `b > a`.
    pub const fn mirrored(self) -> RelOp {
        match self {
            RelOp::Lt => RelOp::Gt,
            RelOp::Le => RelOp::Ge,
            RelOp::Gt => RelOp::Lt,
            RelOp::Ge => RelOp::Le,
            same => same,
        }
    }

    /// The operator that holds exactly when this one does not.
    pub const fn negated(self) -> RelOp {
        match self {
            RelOp::Eq => RelOp::Ne,
            RelOp::Ne => RelOp::Eq,
            RelOp::Lt => RelOp::Ge,
            RelOp::Le => RelOp::Gt,
            RelOp::Gt => RelOp::Le,
            RelOp::Ge => RelOp::Lt,
        }
    }
}

/// The right side of a comparison: one constant, or several in braces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// `x`
    One(Const),
    /// `{x, y}`; never exactly one element after [`Operand::of`].
    Many(Box<[Const]>),
}

impl Operand {
    /// One constant stands alone, several in braces.
    pub fn of(mut constants: Vec<Const>) -> Operand {
        match (constants.len(), constants.pop()) {
            (1, Some(only)) => Operand::One(only),
            (_, Some(last)) => {
                constants.push(last);
                Operand::Many(constants.into_boxed_slice())
            }
            (_, None) => Operand::Many(Box::default()),
        }
    }

    /// The constants.
    pub fn constants(&self) -> &[Const] {
        match self {
            Operand::One(constant) => std::slice::from_ref(constant),
            Operand::Many(constants) => constants,
        }
    }
}

/// A comparison of a field with constants. `==` holds if one of them is equal, the others if all are so related.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cmp {
    /// Left side.
    pub field: Field,
    /// Relation.
    pub op: RelOp,
    /// Right side.
    pub operand: Operand,
}

/// A match expression.
///
/// The constructors ([`Expr::all`], [`Expr::any`], `!`) keep it flat: no conjunction directly inside a conjunction, none
/// of fewer than two parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// `1` or `0`.
    Bool(bool),
    /// `field == constant` and its kin.
    Cmp(Cmp),
    /// Mention of a one-bit field.
    Bit(Field),
    /// Mention of a predicate.
    Pred(Predicate),
    /// `is_chassis_resident("port")`.
    Resident(Str),
    /// `!x`
    Not(Box<Expr>),
    /// `x && y`
    And(Vec<Expr>),
    /// `x || y`
    Or(Vec<Expr>),
}

impl Field {
    /// `field op constant`
    pub fn cmp_with(self, op: RelOp, value: impl Into<Const>) -> Expr {
        Expr::Cmp(Cmp {
            field: self,
            op,
            operand: Operand::One(value.into()),
        })
    }

    /// `field == constant`
    #[allow(clippy::should_implement_trait)] // builds an expression, as the language writes it
    pub fn eq(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Eq, value)
    }

    /// `field != constant`
    #[allow(clippy::should_implement_trait)]
    pub fn ne(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Ne, value)
    }

    /// `field < constant`
    #[allow(clippy::should_implement_trait)]
    pub fn lt(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Lt, value)
    }

    /// `field <= constant`
    #[allow(clippy::should_implement_trait)]
    pub fn le(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Le, value)
    }

    /// `field > constant`
    #[allow(clippy::should_implement_trait)]
    pub fn gt(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Gt, value)
    }

    /// `field >= constant`
    #[allow(clippy::should_implement_trait)]
    pub fn ge(self, value: impl Into<Const>) -> Expr {
        self.cmp_with(RelOp::Ge, value)
    }

    /// `field == network/length`
    pub fn within(self, net: impl Into<IpNet>) -> Expr {
        self.eq(net.into())
    }

    /// `field == {a, b, ...}`; false if there is none.
    pub fn one_of<C: Into<Const>>(self, values: impl IntoIterator<Item = C>) -> Expr {
        let constants: Vec<Const> = values.into_iter().map(Into::into).collect();
        if constants.is_empty() {
            return Expr::Bool(false);
        }
        Expr::Cmp(Cmp {
            field: self,
            op: RelOp::Eq,
            operand: Operand::of(constants),
        })
    }

    /// `field != {a, b, ...}`; true if there is none.
    pub fn none_of<C: Into<Const>>(self, values: impl IntoIterator<Item = C>) -> Expr {
        let constants: Vec<Const> = values.into_iter().map(Into::into).collect();
        if constants.is_empty() {
            return Expr::Bool(true);
        }
        Expr::Cmp(Cmp {
            field: self,
            op: RelOp::Ne,
            operand: Operand::of(constants),
        })
    }

    /// `field == $name`; the name may come with or without the `$`.
    pub fn in_set(self, name: impl AsRef<str>) -> Expr {
        let name = name.as_ref();
        self.eq(Const::Set(name.strip_prefix('$').unwrap_or(name).into()))
    }

    /// `field == @name`; the name may come with or without the `@`.
    pub fn in_group(self, name: impl AsRef<str>) -> Expr {
        let name = name.as_ref();
        self.eq(Const::Group(name.strip_prefix('@').unwrap_or(name).into()))
    }

    /// Mention of a one-bit field: `ct.est`, `reg0[3]`.
    pub fn is_set(self) -> Expr {
        Expr::Bit(self)
    }
}

impl Expr {
    /// The expression that every packet matches, `1`.
    pub const TRUE: Expr = Expr::Bool(true);
    /// The expression that no packet matches, `0`.
    pub const FALSE: Expr = Expr::Bool(false);

    /// Conjunction. Parts that are `1` vanish, one that is `0` makes the whole `0`.
    pub fn all(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::Bool(true) => {}
                Expr::Bool(false) => return Expr::Bool(false),
                Expr::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match (flat.len(), flat.pop()) {
            (_, None) => Expr::Bool(true),
            (1, Some(only)) => only,
            (_, Some(last)) => {
                flat.push(last);
                Expr::And(flat)
            }
        }
    }

    /// Disjunction. Parts that are `0` vanish, one that is `1` makes the whole `1`.
    pub fn any(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::Bool(false) => {}
                Expr::Bool(true) => return Expr::Bool(true),
                Expr::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match (flat.len(), flat.pop()) {
            (_, None) => Expr::Bool(false),
            (1, Some(only)) => only,
            (_, Some(last)) => {
                flat.push(last);
                Expr::Or(flat)
            }
        }
    }

    /// Negation; of a negation, what was negated.
    pub fn negate(self) -> Expr {
        match self {
            Expr::Bool(value) => Expr::Bool(!value),
            Expr::Not(inner) => *inner,
            other => Expr::Not(Box::new(other)),
        }
    }

    /// `is_chassis_resident("port")`
    pub fn is_chassis_resident(port: impl Into<Str>) -> Expr {
        Expr::Resident(port.into())
    }

    /// Calls `visit` for this expression and everything inside it.
    pub fn walk(&self, visit: &mut impl FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Not(inner) => inner.walk(visit),
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| part.walk(visit)),
            _ => {}
        }
    }
}

impl std::ops::Not for Expr {
    type Output = Expr;
    fn not(self) -> Expr {
        self.negate()
    }
}

impl std::ops::BitAnd for Expr {
    type Output = Expr;
    fn bitand(self, other: Expr) -> Expr {
        Expr::all([self, other])
    }
}

impl std::ops::BitOr for Expr {
    type Output = Expr;
    fn bitor(self, other: Expr) -> Expr {
        Expr::any([self, other])
    }
}

impl FromIterator<Expr> for Expr {
    /// The conjunction of all.
    fn from_iter<I: IntoIterator<Item = Expr>>(parts: I) -> Expr {
        Expr::all(parts)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::One(constant) => constant.fmt(f),
            Operand::Many(constants) => write_braced(f, constants),
        }
    }
}

/// `{a, b}`
pub(crate) fn write_braced(f: &mut fmt::Formatter<'_>, constants: &[Const]) -> fmt::Result {
    f.write_str("{")?;
    for (i, constant) in constants.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{constant}")?;
    }
    f.write_str("}")
}

impl fmt::Display for Cmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.field, self.op.text(), self.operand)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Bool(value) => f.write_str(if *value { "1" } else { "0" }),
            Expr::Cmp(cmp) => cmp.fmt(f),
            Expr::Bit(field) => field.fmt(f),
            Expr::Pred(predicate) => predicate.fmt(f),
            Expr::Resident(port) => {
                f.write_str("is_chassis_resident(")?;
                write_quoted(f, port)?;
                f.write_str(")")
            }
            Expr::Not(inner) => match **inner {
                Expr::Bit(_) | Expr::Pred(_) | Expr::Resident(_) => write!(f, "!{inner}"),
                _ => write!(f, "!({inner})"),
            },
            Expr::And(parts) => write_joined(f, parts, " && ", "1"),
            Expr::Or(parts) => write_joined(f, parts, " || ", "0"),
        }
    }
}

/// Joins parts; a part that is itself a conjunction or disjunction goes into parentheses.
fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expr],
    separator: &str,
    empty: &str,
) -> fmt::Result {
    if parts.is_empty() {
        return f.write_str(empty);
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        match part {
            Expr::And(_) | Expr::Or(_) => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}
