//! Sets of datapaths: one, some that are listed, or whoever is in a set with a name.
//!
//! Guarantees: whoever yields something for a set with a name yields the same whoever is in it. A datapath that joins is one
//! output of a unit of that datapath ([`Output::Member`](crate::output::Output::Member)), however many flows name the set.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use weft_ovsdb::model::Uuid;

use crate::index::AclStage;

/// A set of datapaths, by northbound UUID, sorted. Sets of many are shared and know their hash.
#[derive(Clone, Debug)]
pub enum DpSet {
    /// Just one.
    One(Uuid),
    /// Any other number.
    Many(Arc<DpList>),
    /// Whoever is in it at present, maybe nobody.
    Named(SetName),
}

/// Sets of datapaths that are known by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SetName {
    /// All switches.
    Switches,
    /// Switches where tagged packets belong to somebody else's network.
    Untagged,
    /// Switches that snoop multicast.
    Snooping,
    /// Switches by what ACLs and load balancers ask of them.
    Needing(Need),
    /// The switches of a load balancer group.
    GroupSwitches(Uuid),
    /// The routers of a load balancer group.
    GroupRouters(Uuid),
    /// Of these those that are bound to a chassis, by whether `lb_force_snat_ip` applies.
    GroupGateways(Uuid, bool),
    /// Enabled routers.
    Routers,
    /// Routers on which load balancers apply.
    BalancedRouters,
    /// Of these those that are bound to a chassis.
    BalancedGateways,
}

/// What ACLs and load balancers ask of a switch, as far as flows differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Need {
    /// Connections are balanced.
    Balanced,
    /// There are ACLs.
    Acls,
    /// There are none.
    NoAcls,
    /// Some let replies pass.
    Related,
    /// Connections are tracked.
    Stateful,
    /// There are ACLs, or connections are tracked.
    Guarded,
    /// Connections are tracked, and do not go through network functions.
    Plain,
    /// Connections are tracked and remember which network function they go through.
    Functions,
    /// Connections are tracked and remember which ACL let them begin.
    Persistent,
    /// The stage has tiers beyond this one.
    Tiers(AclStage, u8),
}

impl Need {
    /// The set of the switches that have it.
    pub fn set(self) -> DpSet {
        DpSet::Named(SetName::Needing(self))
    }
}

/// The members of a [`DpSet`] with their hash.
#[derive(Debug)]
pub struct DpList {
    hash: u64,
    list: Box<[Uuid]>,
}

impl DpSet {
    /// The set of some datapaths, in any order.
    pub fn new(mut list: Vec<Uuid>) -> DpSet {
        list.sort_unstable();
        list.dedup();
        if let [one] = list[..] {
            return DpSet::One(one);
        }
        let mut hasher = FxHasher::default();
        list.hash(&mut hasher);
        DpSet::Many(Arc::new(DpList {
            hash: hasher.finish(),
            list: list.into(),
        }))
    }

    /// The members that it lists itself, sorted: none of [`DpSet::Named`].
    pub fn as_slice(&self) -> &[Uuid] {
        match self {
            DpSet::One(one) => std::slice::from_ref(one),
            DpSet::Many(many) => &many.list,
            DpSet::Named(_) => &[],
        }
    }

    /// No datapath at all. Of a set with a name only its members know.
    pub fn is_empty(&self) -> bool {
        !matches!(self, DpSet::Named(_)) && self.as_slice().is_empty()
    }
}

impl PartialEq for DpSet {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (DpSet::One(a), DpSet::One(b)) => a == b,
            (DpSet::Named(a), DpSet::Named(b)) => a == b,
            (DpSet::Many(a), DpSet::Many(b)) => {
                Arc::ptr_eq(a, b) || (a.hash == b.hash && a.list == b.list)
            }
            _ => false,
        }
    }
}
impl Eq for DpSet {}

impl Hash for DpSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            DpSet::One(one) => one.hash(state),
            DpSet::Many(many) => many.hash.hash(state),
            DpSet::Named(name) => name.hash(state),
        }
    }
}

impl From<Uuid> for DpSet {
    fn from(datapath: Uuid) -> DpSet {
        DpSet::One(datapath)
    }
}

impl From<&DpSet> for DpSet {
    fn from(set: &DpSet) -> DpSet {
        set.clone()
    }
}

impl From<SetName> for DpSet {
    fn from(name: SetName) -> DpSet {
        DpSet::Named(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_small() {
        // There are as many as flows.
        assert_eq!(size_of::<DpSet>(), 24);
    }
}
