//! Expressions lowered but for the members of large address sets.
//!
//! What a member of a set brings is the same for every member, but for its bits: so the flows of an expression are lowered
//! once with a few made-up members, and each real member takes their place. One that comes or goes is then one flow more or
//! less without a look at the others. Not every expression allows it: a set must be compared for equality, and nothing else
//! of the expression may test the same field.

use smallvec::SmallVec;

use crate::check::annotate;
use crate::constant::{Const, Format, Int, Str};
use crate::env::Env;
use crate::expr::{Cmp, Expr, RelOp};
use crate::field::Field;
use crate::lower::{FieldBits, FlowMatch, Lowered, equal_cube, fits, to_openflow};
use crate::of::OfField;

/// Flows of an expression, those that a member of a set makes apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templated {
    /// The flows that no member of such a set makes, and what was asked for.
    pub rest: Lowered,
    /// What each comparison with such a set makes of a member.
    pub sets: Vec<SetFlows>,
}

/// What a comparison with a set makes of each of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFlows {
    /// The set.
    pub set: Str,
    /// What is compared with it.
    pub field: Field,
    /// The flows, without the bits of the member.
    pub flows: Vec<FlowMatch>,
}

impl SetFlows {
    /// The bits of a member that a flow for it matches beside the rest; `None` if the field cannot have that value.
    pub fn member(&self, member: &Int) -> Option<SmallVec<[FieldBits; 4]>> {
        fits(self.field, member).then(|| equal_cube(self.field, member))
    }
}

/// So many members are made up: with as many, conjunctive matches are chosen as with any number beyond.
const MADE_UP: u128 = 16;

/// Where the values of made-up members begin. Nothing else of the field is tested, so any will do; they fit an IPv4 address.
const FIRST: u128 = 0xe5c3_0000;

/// Resolves large sets to made-up members.
struct MadeUp<'a, E> {
    env: &'a E,
    sets: &'a [Str],
}

fn members(set: usize) -> impl Iterator<Item = u128> {
    (0..MADE_UP).map(move |n| FIRST + set as u128 * MADE_UP + n)
}

impl<E: Env> Env for MadeUp<'_, E> {
    fn port(&self, name: &str) -> Option<u32> {
        self.env.port(name)
    }
    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        match self.sets.iter().position(|set| **set == *name) {
            Some(set) => Some(members(set).map(|n| Int::new(n, Format::Dec)).collect()),
            None => self.env.address_set(name),
        }
    }
    fn port_group(&self, field: Field, name: &str) -> Option<Vec<u32>> {
        self.env.port_group(field, name)
    }
    fn is_resident(&self, port: &str) -> bool {
        self.env.is_resident(port)
    }
}

/// A comparison with a large set.
struct Place {
    set: usize,
    field: Field,
    of: OfField,
}

/// Lowers an expression with the sets that are `large` left open; `None` if there are none or it cannot be done.
pub fn to_templates(
    expr: &Expr,
    env: &impl Env,
    large: impl Fn(&str) -> bool,
) -> Option<Templated> {
    let annotated = annotate(expr);
    let mut sets: Vec<Str> = Vec::new();
    for_each_set(&annotated, &mut |set| {
        if !sets.contains(set) && large(set) {
            sets.push(set.clone());
        }
    });
    if sets.is_empty() {
        return None;
    }
    let places = places(&annotated, &sets)?;
    let lowered = to_openflow(expr, &MadeUp { env, sets: &sets });
    let mut made: Vec<Vec<Vec<FlowMatch>>> = places
        .iter()
        .map(|_| vec![Vec::new(); MADE_UP as usize])
        .collect();
    let mut rest = Vec::new();
    for flow in lowered.flows {
        let hits = places.iter().enumerate().filter_map(|(at, place)| {
            let bits = flow.fields.iter().find(|bits| bits.field == place.of)?;
            Some((at, members(place.set).position(|n| n == bits.value)?))
        });
        let hits: SmallVec<[(usize, usize); 2]> = hits.collect();
        match hits[..] {
            [] => rest.push(flow),
            [(at, member)] => {
                let mut flow = flow;
                flow.fields.retain(|bits| bits.field != places[at].of);
                made[at][member].push(flow);
            }
            // A flow for every pair of members.
            _ => return None,
        }
    }
    let mut found = Vec::new();
    for (place, made) in places.iter().zip(made) {
        let (first, others) = made.split_first()?;
        if others.iter().any(|other| other != first) {
            return None;
        }
        found.push(SetFlows {
            set: sets[place.set].clone(),
            field: place.field,
            flows: first.clone(),
        });
    }
    let rest = Lowered {
        flows: rest,
        groups: lowered.groups,
        asked: lowered.asked,
        unknown: lowered.unknown,
        inexpressible: lowered.inexpressible,
    };
    Some(Templated { rest, sets: found })
}

fn for_each_set(expr: &Expr, note: &mut dyn FnMut(&Str)) {
    expr.walk(&mut |part| {
        if let Expr::Cmp(cmp) = part {
            for constant in cmp.operand.constants() {
                if let Const::Set(set) = constant {
                    note(set);
                }
            }
        }
    });
}

/// Where the sets stand; `None` if one stands where its members cannot be told from what else is tested.
fn places(expr: &Expr, sets: &[Str]) -> Option<Vec<Place>> {
    let mut tested: Vec<OfField> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let mut usable = true;
    expr.walk(&mut |part| {
        let (field, cmp) = match part {
            Expr::Cmp(cmp) => (cmp.field, Some(cmp)),
            Expr::Bit(field) => (*field, None),
            _ => return,
        };
        tested.extend(field.pieces().map(|piece| piece.of));
        let Some(Cmp { op, operand, .. }) = cmp else {
            return;
        };
        for constant in operand.constants() {
            let Const::Set(name) = constant else { continue };
            let Some(set) = sets.iter().position(|set| set == name) else {
                continue;
            };
            // One place in OpenFlow, wide enough for what is made up.
            let pieces: SmallVec<[_; 4]> = field.pieces().collect();
            let [piece] = &pieces[..] else {
                usable = false;
                return;
            };
            usable &= *op == RelOp::Eq && field.width() >= 32;
            usable &= piece.shift == 0 && piece.low == 0;
            places.push(Place {
                set,
                field,
                of: piece.of,
            });
        }
    });
    let once = |place: &Place| tested.iter().filter(|of| **of == place.of).count() == 1;
    (usable && places.iter().all(once)).then_some(places)
}
