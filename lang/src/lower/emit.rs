//! From terms to flows: products where they are small, conjunctive matches where they are not.

use smallvec::SmallVec;

use super::cube::{Cube, intersect};
use super::resolve::Term;
use super::{Clause, FlowKind, FlowMatch, MAX_FLOWS, MAX_PRODUCT};
use crate::of::OfField;

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
pub(super) struct Emitter {
    pub(super) flows: Vec<FlowMatch>,
    seen: hashbrown::HashMap<Cube, usize, rustc_hash::FxBuildHasher>,
    pub(super) groups: u32,
    /// What would have been too many flows.
    pub(super) refused: Vec<String>,
}

impl Emitter {
    pub(super) fn term(&mut self, term: Term) {
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
