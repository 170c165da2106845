//! Flows, groups and meters as units put them out: complete but for the numbers that [`crate::install`] gives.

use std::sync::Arc;

use weft_engine::Cx;
use weft_openflow::{ActionList, Field, Match};
use weft_ovsdb::model::{Str, Uuid};

use crate::program::{Controller, Output};

/// The register of logical flow flags.
pub const REG_FLAGS: Field = Field::Reg10;
/// The register of the zone for destination translation.
pub const REG_DNAT_ZONE: Field = Field::Reg11;
/// The register of the zone for source translation.
pub const REG_SNAT_ZONE: Field = Field::Reg12;
/// The register of the logical port's zone.
pub const REG_CT_ZONE: Field = Field::Reg13;
/// The register of the logical input port.
pub const REG_INPORT: Field = Field::Reg14;
/// The register of the logical output port.
pub const REG_OUTPORT: Field = Field::Reg15;

/// A flow of the integration bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// First 32 bits of the UUID of the southbound row it comes from, 0 if there is no single one.
    pub cookie: u32,
    /// What it applies to, but for `conj_id`.
    pub matches: Match,
    /// What it does.
    pub body: Body,
}

// There are hundreds of thousands of them.
const _: () = assert!(size_of::<Flow>() <= 64);

/// Names a conjunctive match until it gets a number: one logical flow row can have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConjId {
    /// The logical flow. As bytes: an integer of this size would round every flow up to its alignment, a third of its size.
    owner: [u8; 16],
    /// Counts within it.
    n: u32,
}

impl ConjId {
    /// Conjunctive match `n` of the logical flow `owner`.
    pub fn new(owner: Uuid, n: u32) -> ConjId {
        let owner = owner.0.to_be_bytes();
        ConjId { owner, n }
    }
}

/// A clause of a conjunctive match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// Of which.
    pub id: ConjId,
    /// Which one, counted from 1.
    pub clause: u8,
    /// How many there are.
    pub n_clauses: u8,
}

/// What a flow does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Executes actions.
    Actions(Arc<Actions>),
    /// Executes actions if all clauses of the conjunctive match have been met.
    Conjunction(ConjId, Arc<Actions>),
    /// Meets a clause. Flows with one match that meet different clauses become one flow.
    Clause(Clause),
}

impl Body {
    /// The actions, if it has any.
    pub fn actions(&self) -> Option<&Arc<Actions>> {
        match self {
            Body::Actions(actions) | Body::Conjunction(_, actions) => Some(actions),
            Body::Clause(_) => None,
        }
    }
}

/// Actions with what they refer to. Flows of one logical flow share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actions {
    /// The actions; a group's number in them is its place in `groups`, a meter's its place in `meters`.
    pub list: ActionList,
    /// Groups that the actions name.
    pub groups: Vec<Arc<GroupSpec>>,
    /// Meters that the actions name.
    pub meters: Vec<Str>,
}

impl From<ActionList> for Actions {
    fn from(list: ActionList) -> Self {
        Actions {
            list,
            ..Actions::default()
        }
    }
}

/// A select group: one bucket is chosen by a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupSpec {
    /// The fields that are hashed; empty leaves it to the datapath.
    pub hash_fields: Vec<Field>,
    /// What is chosen from.
    pub buckets: Vec<BucketSpec>,
}

/// A choice of a [`GroupSpec`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketSpec {
    /// Its share.
    pub weight: u16,
    /// It is chosen only while this OpenFlow port is up.
    pub watch_port: Option<u32>,
    /// What it does.
    pub actions: ActionList,
}

impl BucketSpec {
    /// One that is always up.
    pub fn new(weight: u16, actions: impl Into<ActionList>) -> BucketSpec {
        BucketSpec {
            weight,
            watch_port: None,
            actions: actions.into(),
        }
    }
}

/// A meter of the southbound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterSpec {
    /// Its name.
    pub name: Str,
    /// Whether it counts packets instead of kilobits.
    pub packets: bool,
    /// Rate and burst of each band; all drop.
    pub bands: Vec<(u32, u32)>,
}

/// Emits a flow with plain actions.
pub fn emit(
    cx: &Cx<'_, Controller>,
    table: u8,
    priority: u16,
    cookie: u32,
    matches: Match,
    actions: impl Into<ActionList>,
) {
    emit_shared(
        cx,
        table,
        priority,
        cookie,
        matches,
        &Arc::new(Actions::from(actions.into())),
    );
}

/// Emits a flow with actions that others have too.
pub fn emit_shared(
    cx: &Cx<'_, Controller>,
    table: u8,
    priority: u16,
    cookie: u32,
    matches: Match,
    actions: &Arc<Actions>,
) {
    cx.emit(Output::Flow(Arc::new(Flow {
        table,
        priority,
        cookie,
        matches,
        body: Body::Actions(Arc::clone(actions)),
    })));
}
