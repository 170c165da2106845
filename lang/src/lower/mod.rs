//! Lowering of expressions to OpenFlow matches.
//!
//! An expression becomes a disjunction of conjunctions. A conjunction is a *cube* (bits that must have values) and
//! *dimensions*, lists of cubes of which one must hold. With several dimensions whose product would be large, it becomes
//! a conjunctive match (ovs-fields(7)): one flow for each cube instead of one for each combination.

use smallvec::SmallVec;

mod cube;
mod emit;
mod resolve;

use crate::check::annotate;
use crate::env::{Env, Name};
use crate::expr::Expr;
pub(crate) use cube::equal_cube;
use cube::intersect;
pub use cube::{Cube, FieldBits};
use emit::Emitter;
use resolve::Resolver;
pub(crate) use resolve::fits;

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
