//! From expressions to terms: names are resolved, comparisons become cubes, `&&` and `||` are multiplied out as far as that
//! is cheap.

use super::cube::{
    Cube, bounds, equal_cube, implies, intersect, outside, range_cubes, unequal_cubes,
};
use super::{Lowered, MAX_TERMS};
use crate::check::annotate;
use crate::constant::{Const, Int};
use crate::env::{Env, Name};
use crate::expr::{Cmp, Expr, Operand, RelOp};
use crate::field::{Field, Level};
use crate::of::ones;

/// Whether a member of an address set can be compared with the field: sets may mix address families.
pub(crate) fn fits(field: Field, int: &Int) -> bool {
    let family = int
        .format()
        .width()
        .is_none_or(|width| width == field.symbol().width);
    family && int.value() & !ones(field.width()) == 0
}

/// A conjunction: `base`, and of each dimension at least one cube.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) base: Cube,
    pub(super) dimensions: Vec<Vec<Cube>>,
}

impl Term {
    fn cube(base: Cube) -> Term {
        Term {
            base,
            dimensions: Vec::new(),
        }
    }

    /// Conjunction of two terms, or None if they contradict each other.
    fn and(&self, other: &Term) -> Option<Term> {
        let base = intersect(&self.base, &other.base)?;
        let dimensions = self
            .dimensions
            .iter()
            .chain(&other.dimensions)
            .cloned()
            .collect();
        Term { base, dimensions }.settle()
    }

    /// Drops what cannot hold with `base`, and dimensions that `base` already satisfies; one alternative is no choice.
    pub(super) fn settle(mut self) -> Option<Term> {
        loop {
            let mut changed = false;
            let mut kept = Vec::with_capacity(self.dimensions.len());
            for mut dimension in std::mem::take(&mut self.dimensions) {
                if dimension.iter().any(|cube| implies(&self.base, cube)) {
                    continue;
                }
                dimension.retain(|cube| intersect(&self.base, cube).is_some());
                match dimension.as_slice() {
                    [] => return None,
                    [only] => {
                        self.base = intersect(&self.base, only)?;
                        changed = true;
                    }
                    _ => kept.push(dimension),
                }
            }
            self.dimensions = kept;
            if !changed {
                return Some(self);
            }
        }
    }
}

/// Reads an expression with the names of one environment.
pub(super) struct Resolver<'a, E> {
    pub(super) env: &'a E,
    /// What was asked for and what was unknown; no flows yet.
    pub(super) out: Lowered,
}

impl<E: Env> Resolver<'_, E> {
    /// The disjunction that an annotated expression is.
    pub(super) fn terms(&mut self, expr: &Expr) -> Vec<Term> {
        let always = || vec![Term::cube(Cube::new())];
        match expr {
            Expr::Bool(true) => always(),
            Expr::Bool(false) => Vec::new(),
            Expr::Resident(port) => {
                if self.resident(port) {
                    always()
                } else {
                    Vec::new()
                }
            }
            Expr::Not(inner) => match &**inner {
                Expr::Resident(port) => {
                    if self.resident(port) {
                        Vec::new()
                    } else {
                        always()
                    }
                }
                other => self.terms(&annotate(&Expr::Not(Box::new(other.clone())))),
            },
            Expr::Bit(field) => {
                self.comparison(*field, RelOp::Eq, &Operand::One(Const::from(true)))
            }
            Expr::Pred(_) => self.terms(&annotate(expr)),
            Expr::Cmp(Cmp { field, op, operand }) => self.comparison(*field, *op, operand),
            Expr::Or(parts) => parts.iter().flat_map(|part| self.terms(part)).collect(),
            Expr::And(parts) => self.conjunction(parts),
        }
    }

    fn resident(&mut self, port: &crate::Str) -> bool {
        self.out.asked.push(Name::Residency(port.clone()));
        self.env.is_resident(port)
    }

    fn conjunction(&mut self, parts: &[Expr]) -> Vec<Term> {
        let (ranges, others) = ranges(parts);
        let mut found = vec![Term::cube(Cube::new())];
        let mut lists: Vec<Vec<Term>> = Vec::new();
        for (field, low, high) in ranges {
            lists.push(
                range_cubes(field, low, high)
                    .into_iter()
                    .map(Term::cube)
                    .collect(),
            );
        }
        for part in others {
            lists.push(self.terms(part));
        }
        // Choices last: by then the rest of the conjunction has ruled out what it can.
        lists.sort_by_key(Vec::len);
        for list in lists {
            if list.len() > 1 && list.iter().all(|term| term.dimensions.is_empty()) {
                let dimension: Vec<Cube> = list.into_iter().map(|term| term.base).collect();
                let choice = Term {
                    base: Cube::new(),
                    dimensions: vec![dimension],
                };
                found = found.iter().filter_map(|term| term.and(&choice)).collect();
            } else {
                if found.len().saturating_mul(list.len()) > MAX_TERMS {
                    self.out
                        .inexpressible
                        .push("conjunction with too many combinations".to_owned());
                    return Vec::new();
                }
                found = found
                    .iter()
                    .flat_map(|term| list.iter().filter_map(|other| term.and(other)))
                    .collect();
            }
        }
        found
    }

    fn comparison(&mut self, field: Field, op: RelOp, operand: &Operand) -> Vec<Term> {
        match op {
            RelOp::Eq => {
                let cubes = operand
                    .constants()
                    .iter()
                    .filter_map(|constant| self.values(field, constant))
                    .flatten();
                cubes
                    .map(|int| Term::cube(equal_cube(field, &int)))
                    .collect()
            }
            RelOp::Ne => self.unequal(field, operand),
            _ => match operand {
                Operand::One(Const::Int(int)) => match bounds(field, op, int.value()) {
                    Some((low, high)) => range_cubes(field, low, high)
                        .into_iter()
                        .map(Term::cube)
                        .collect(),
                    None => Vec::new(),
                },
                _ => self.inexpressible(field, op, operand),
            },
        }
    }

    fn inexpressible(&mut self, field: Field, op: RelOp, operand: &Operand) -> Vec<Term> {
        self.out
            .inexpressible
            .push(format!("{field} {} {operand}", op.text()));
        Vec::new()
    }

    fn unequal(&mut self, field: Field, operand: &Operand) -> Vec<Term> {
        if field.symbol().level != Level::Ordinal {
            return self.inexpressible(field, RelOp::Ne, operand);
        }
        let mut ints = Vec::new();
        for constant in operand.constants() {
            match self.values(field, constant) {
                Some(values) => ints.extend(values),
                None => return Vec::new(),
            }
        }
        if let Some(cubes) = outside(field, &ints) {
            return cubes.into_iter().map(Term::cube).collect();
        }
        let dimensions = ints.iter().map(|int| unequal_cubes(field, int)).collect();
        Term {
            base: Cube::new(),
            dimensions,
        }
        .settle()
        .into_iter()
        .collect()
    }

    /// The integers a constant stands for; None if it is a name that means nothing.
    fn values(&mut self, field: Field, constant: &Const) -> Option<Vec<Int>> {
        let key = |key: u32| Int::new(u128::from(key), crate::Format::Dec);
        let (name, found) = match constant {
            Const::Int(int) => return Some(vec![*int]),
            Const::Template(_) => return None,
            Const::Str(port) => (
                Name::Port(port.clone()),
                self.env.port(port).map(|port| vec![key(port)]),
            ),
            Const::Group(group) => {
                let keys = self.env.port_group(field, group);
                (
                    Name::PortGroup(group.clone()),
                    keys.map(|keys| keys.into_iter().map(key).collect()),
                )
            }
            Const::Set(set) => {
                let ints = self.env.address_set(set);
                let fitting =
                    ints.map(|ints| ints.into_iter().filter(|int| fits(field, int)).collect());
                (Name::AddressSet(set.clone()), fitting)
            }
        };
        if found.is_none() {
            self.out.unknown.push(name.clone());
        }
        self.out.asked.push(name);
        found
    }
}

/// Takes the ordering comparisons out of a conjunction, intersected for each field, so that `a < x < b` is one range.
fn ranges(parts: &[Expr]) -> (Vec<(Field, u128, u128)>, Vec<&Expr>) {
    let mut found: Vec<(Field, u128, u128)> = Vec::new();
    let mut others = Vec::new();
    for part in parts {
        let Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::One(Const::Int(int)),
        }) = part
        else {
            others.push(part);
            continue;
        };
        if matches!(op, RelOp::Eq | RelOp::Ne) {
            others.push(part);
            continue;
        }
        // An empty range is one whose low end is above its high end.
        let (low, high) = bounds(*field, *op, int.value()).unwrap_or((1, 0));
        match found.iter_mut().find(|(known, ..)| known == field) {
            Some((_, known_low, known_high)) => {
                *known_low = low.max(*known_low);
                *known_high = high.min(*known_high);
            }
            None => found.push((*field, low, high)),
        }
    }
    (found, others)
}
