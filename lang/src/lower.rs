//! Lowering of expressions to OpenFlow matches.
//!
//! An expression becomes a disjunction of conjunctions. A conjunction is a *cube* (bits that must have values) and
//! *dimensions*, lists of cubes of which one must hold. With several dimensions whose product would be large, it becomes
//! a conjunctive match (ovs-fields(7)): one flow for each cube instead of one for each combination.

use smallvec::SmallVec;

use crate::check::annotate;
use crate::constant::{Const, Int, prefix_len};
use crate::env::{Env, Name};
use crate::expr::{Cmp, Expr, Operand, RelOp};
use crate::field::{Field, Level};
use crate::of::{OfField, ones};

/// Bits of an OpenFlow field that must have these values; `value` has no bit outside `mask`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldBits {
    /// The field.
    pub field: OfField,
    /// Values of the bits in `mask`.
    pub value: u128,
    /// Never zero.
    pub mask: u128,
}

/// A conjunction of bits, sorted by field, each field once.
pub type Cube = SmallVec<[FieldBits; 4]>;

/// One of the flows that stand for a dimension of a conjunctive match.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// Which conjunctive match, counted from 0 within the expression; the installer makes it unique.
    pub group: u32,
    /// Which dimension, counted from 0.
    pub dimension: u8,
    /// Of how many.
    pub dimensions: u8,
}

/// What a packet that matches the fields means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// The expression holds.
    Apply,
    /// The expression holds if all dimensions of this conjunctive match do: match its `conj_id` too.
    ApplyConjunction(u32),
    /// Dimensions that hold: the action is `conjunction(...)` for each.
    Clauses(SmallVec<[Clause; 1]>),
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowMatch {
    /// What is matched, sorted by field.
    pub fields: Cube,
    /// What it means.
    pub kind: FlowKind,
}

/// The flows of an expression, and what they depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lowered {
    /// The flows; none if the expression cannot hold.
    pub flows: Vec<FlowMatch>,
    /// Number of conjunctive matches: groups are below it.
    pub groups: u32,
    /// Every name that was looked up.
    pub asked: Vec<Name>,
    /// Names that mean nothing here; comparisons with them are false.
    pub unknown: Vec<Name>,
    /// Tests that OpenFlow cannot express; they are false.
    pub inexpressible: Vec<String>,
}

/// Above this many combinations a conjunctive match is used, if it needs fewer flows.
const MAX_PRODUCT: usize = 8;

/// Alternatives or combinations above which an expression is refused: nobody means it, and it would fill the memory.
const MAX_FLOWS: usize = 1 << 18;

/// The same for terms that have choices inside, each of which becomes many flows.
const MAX_TERMS: usize = 1 << 12;

/// Lowers an expression.
pub fn to_openflow(expr: &Expr, env: &impl Env) -> Lowered {
    let mut resolver = Resolver {
        env,
        out: Lowered::default(),
    };
    let terms = resolver.terms(&annotate(expr));
    let mut out = resolver.out;
    let mut emitter = Emitter::default();
    for term in terms {
        emitter.term(term);
    }
    out.asked.sort();
    out.asked.dedup();
    out.unknown.sort();
    out.unknown.dedup();
    out.inexpressible.append(&mut emitter.refused);
    out.groups = emitter.groups;
    out.flows = emitter.flows;
    out
}

/// The first way to make the expression hold.
pub(crate) fn first_cube(expr: &Expr, env: &impl Env) -> Option<Cube> {
    let mut resolver = Resolver {
        env,
        out: Lowered::default(),
    };
    let terms = resolver.terms(&annotate(expr));
    terms
        .iter()
        .find_map(|term| first_of(&term.base, &term.dimensions))
}

fn first_of(base: &Cube, dimensions: &[Vec<Cube>]) -> Option<Cube> {
    match dimensions.split_first() {
        None => Some(base.clone()),
        Some((first, rest)) => first
            .iter()
            .find_map(|cube| first_of(&intersect(base, cube)?, rest)),
    }
}

/// Whether a member of an address set can be compared with the field: sets may mix address families.
pub(crate) fn fits(field: Field, int: &Int) -> bool {
    let family = int
        .format()
        .width()
        .is_none_or(|width| width == field.symbol().width);
    family && int.value() & !ones(field.width()) == 0
}

/// The bits both require, or None if they contradict each other.
fn intersect(a: &Cube, b: &Cube) -> Option<Cube> {
    let mut out = Cube::with_capacity(a.len() + b.len());
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(x), Some(y)) if x.field == y.field => {
                if (x.value ^ y.value) & x.mask & y.mask != 0 {
                    return None;
                }
                out.push(FieldBits {
                    field: x.field,
                    value: x.value | y.value,
                    mask: x.mask | y.mask,
                });
                left.next();
                right.next();
            }
            (Some(x), Some(y)) if x.field < y.field => out.extend(left.next().copied()),
            (_, Some(_)) => out.extend(right.next().copied()),
            (Some(_), None) => out.extend(left.next().copied()),
            (None, None) => return Some(out),
        }
    }
}

/// Whether every packet in `inner` is in `outer`.
fn implies(inner: &Cube, outer: &Cube) -> bool {
    outer.iter().all(|bits| {
        inner.iter().any(|own| {
            own.field == bits.field
                && own.mask & bits.mask == bits.mask
                && own.value & bits.mask == bits.value
        })
    })
}

/// A conjunction: `base`, and of each dimension at least one cube.
#[derive(Clone, Debug)]
struct Term {
    base: Cube,
    dimensions: Vec<Vec<Cube>>,
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
    fn settle(mut self) -> Option<Term> {
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

struct Resolver<'a, E> {
    env: &'a E,
    out: Lowered,
}

impl<E: Env> Resolver<'_, E> {
    /// The disjunction that an annotated expression is.
    fn terms(&mut self, expr: &Expr) -> Vec<Term> {
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

/// Lowest and highest value that satisfy the relation.
fn bounds(field: Field, op: RelOp, value: u128) -> Option<(u128, u128)> {
    let max = ones(field.width());
    match op {
        RelOp::Lt => Some((0, value.checked_sub(1)?.min(max))),
        RelOp::Le => Some((0, value.min(max))),
        RelOp::Gt => value
            .checked_add(1)
            .filter(|low| *low <= max)
            .map(|low| (low, max)),
        RelOp::Ge => (value <= max).then_some((value, max)),
        RelOp::Eq | RelOp::Ne => None,
    }
}

/// Cubes for the values `low` to `high`, by the fewest aligned blocks.
fn range_cubes(field: Field, low: u128, high: u128) -> Vec<Cube> {
    let width = field.width();
    let mut cubes = Vec::new();
    let mut at = low;
    while at <= high {
        let mut block = (at.trailing_zeros() as u8).min(width);
        while block > 0
            && (block >= 128 && high != u128::MAX || block < 128 && high - at < ones(block))
        {
            block -= 1;
        }
        cubes.push(bits_cube(field, at, ones(width) & !ones(block)));
        match at
            .checked_add(ones(block))
            .and_then(|last| last.checked_add(1))
        {
            Some(next) => at = next,
            None => break,
        }
    }
    cubes
}

pub(crate) fn equal_cube(field: Field, int: &Int) -> Cube {
    bits_cube(field, int.value(), int.mask().unwrap_or(u128::MAX))
}

/// Cubes for the values that none of `ints` covers; None if one has a mask that is not a prefix.
fn outside(field: Field, ints: &[Int]) -> Option<Vec<Cube>> {
    let full = ones(field.width());
    let mut covered = Vec::with_capacity(ints.len());
    for int in ints {
        let mask = int.mask().unwrap_or(full) & full;
        prefix_len(mask, field.width())?;
        let low = int.value() & mask;
        covered.push((low, low | full & !mask));
    }
    covered.sort_unstable();
    let mut cubes = Vec::new();
    let mut next = Some(0);
    for (low, high) in covered {
        let Some(at) = next else { break };
        if at < low {
            cubes.extend(range_cubes(field, at, low - 1));
        }
        next = if high == full {
            None
        } else {
            Some(at.max(high + 1))
        };
    }
    if let Some(at) = next {
        cubes.extend(range_cubes(field, at, full));
    }
    Some(cubes)
}

/// One cube for each bit that could differ.
fn unequal_cubes(field: Field, int: &Int) -> Vec<Cube> {
    let mask = int.mask().unwrap_or(u128::MAX) & ones(field.width());
    let bits = (0..field.width())
        .map(|bit| 1u128 << bit)
        .filter(|bit| mask & bit != 0);
    bits.map(|bit| bits_cube(field, !int.value() & bit, bit))
        .collect()
}

/// The bits in `mask` of a logical field have these values.
fn bits_cube(field: Field, value: u128, mask: u128) -> Cube {
    let mut cube = Cube::new();
    for piece in field.pieces() {
        let mask = ((mask >> piece.shift) & ones(piece.len)) << piece.low;
        let value = (((value >> piece.shift) & ones(piece.len)) << piece.low) & mask;
        if mask != 0 {
            cube.push(FieldBits {
                field: piece.of,
                value,
                mask,
            });
        }
    }
    cube.sort_by_key(|bits| bits.field);
    cube
}

/// Fields that decide which other fields a packet has: flows that match those others must match these exactly, so
/// they stay in the part that all flows of a conjunctive match share.
fn selects(field: OfField) -> bool {
    matches!(
        field,
        OfField::EthType
            | OfField::IpProto
            | OfField::Icmp6Type
            | OfField::Icmp6Code
            | OfField::IpTtl
    )
}

#[derive(Default)]
struct Emitter {
    flows: Vec<FlowMatch>,
    seen: hashbrown::HashMap<Cube, usize, rustc_hash::FxBuildHasher>,
    groups: u32,
    refused: Vec<String>,
}

impl Emitter {
    fn term(&mut self, term: Term) {
        let mut pending = vec![term];
        while let Some(term) = pending.pop() {
            match split(&term) {
                Some(parts) => pending.extend(parts),
                None => self.settled(term),
            }
        }
    }

    fn settled(&mut self, term: Term) {
        let product = term
            .dimensions
            .iter()
            .map(Vec::len)
            .fold(1, usize::saturating_mul);
        let sum: usize = term.dimensions.iter().map(Vec::len).sum();
        let conjunctive = term.dimensions.len() >= 2 && product > MAX_PRODUCT && product > sum + 1;
        if !conjunctive || term.dimensions.len() > 64 {
            if product > MAX_FLOWS {
                self.refused
                    .push(format!("conjunction of {} choices", term.dimensions.len()));
                return;
            }
            self.product(&term.base, &term.dimensions);
            return;
        }
        let group = self.groups;
        self.groups += 1;
        let dimensions = term.dimensions.len() as u8;
        for (dimension, cubes) in term.dimensions.iter().enumerate() {
            let clause = Clause {
                group,
                dimension: dimension as u8,
                dimensions,
            };
            for fields in cubes.iter().filter_map(|cube| intersect(&term.base, cube)) {
                self.clause(fields, clause);
            }
        }
        self.flows.push(FlowMatch {
            fields: term.base,
            kind: FlowKind::ApplyConjunction(group),
        });
    }

    fn product(&mut self, base: &Cube, dimensions: &[Vec<Cube>]) {
        let Some((first, rest)) = dimensions.split_first() else {
            self.apply(base.clone());
            return;
        };
        for cube in first {
            if let Some(narrower) = intersect(base, cube) {
                self.product(&narrower, rest);
            }
        }
    }

    /// A flow that applies; it takes the place of clauses with the same match, which could add nothing.
    fn apply(&mut self, fields: Cube) {
        match self.seen.get(&fields) {
            Some(at) => self.flows[*at].kind = FlowKind::Apply,
            None => {
                self.seen.insert(fields.clone(), self.flows.len());
                self.flows.push(FlowMatch {
                    fields,
                    kind: FlowKind::Apply,
                });
            }
        }
    }

    fn clause(&mut self, fields: Cube, clause: Clause) {
        if let Some(at) = self.seen.get(&fields) {
            if let FlowKind::Clauses(clauses) = &mut self.flows[*at].kind
                && !clauses.contains(&clause)
            {
                clauses.push(clause);
            }
            return;
        }
        self.seen.insert(fields.clone(), self.flows.len());
        let kind = FlowKind::Clauses(SmallVec::from_elem(clause, 1));
        self.flows.push(FlowMatch { fields, kind });
    }
}

/// If a dimension's cubes disagree on a selecting field, one term for each of its values; if they agree, the term with
/// those bits moved to the base. None if no dimension has a selecting field.
fn split(term: &Term) -> Option<Vec<Term>> {
    let mixed = |dimension: &Vec<Cube>| {
        dimension
            .iter()
            .flatten()
            .any(|bits| selects(bits.field) && !term.base.contains(bits))
    };
    let at = term.dimensions.iter().position(mixed)?;
    let mut groups: Vec<(Cube, Vec<Cube>)> = Vec::new();
    for cube in &term.dimensions[at] {
        let (selecting, rest): (Cube, Cube) =
            cube.iter().copied().partition(|bits| selects(bits.field));
        match groups.iter_mut().find(|(known, _)| *known == selecting) {
            Some((_, cubes)) => cubes.push(rest),
            None => groups.push((selecting, vec![rest])),
        }
    }
    let parts = groups.into_iter().filter_map(|(selecting, cubes)| {
        let base = intersect(&term.base, &selecting)?;
        let mut dimensions = term.dimensions.clone();
        dimensions[at] = cubes;
        Term { base, dimensions }.settle()
    });
    Some(parts.collect())
}

impl Lowered {
    /// Whether a packet with these fields would match, as Open vSwitch decides it. For tests and for tracing.
    pub fn matches(&self, packet: &impl crate::packet::FieldReader) -> bool {
        let hit = |flow: &FlowMatch| {
            flow.fields
                .iter()
                .all(|bits| packet.read(bits.field) & bits.mask == bits.value)
        };
        let mut held: Vec<Clause> = Vec::new();
        for flow in self.flows.iter().filter(|flow| hit(flow)) {
            match &flow.kind {
                FlowKind::Apply => return true,
                FlowKind::Clauses(clauses) => held.extend(clauses.iter().copied()),
                FlowKind::ApplyConjunction(_) => {}
            }
        }
        self.flows
            .iter()
            .filter(|flow| hit(flow))
            .any(|flow| match flow.kind {
                FlowKind::ApplyConjunction(group) => {
                    let of_group = |clause: &&Clause| clause.group == group;
                    held.iter().find(of_group).is_some_and(|first| {
                        (0..first.dimensions).all(|dimension| {
                            held.iter()
                                .filter(of_group)
                                .any(|clause| clause.dimension == dimension)
                        })
                    })
                }
                _ => false,
            })
    }
}
