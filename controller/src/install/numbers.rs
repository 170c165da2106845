//! Numbers of conjunctive matches, groups and meters: by a hash of what they stand for, so that a restart finds the same
//! ones; the next free one where two hashes meet.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use weft_ovsdb::model::Str;

use crate::flow::{Body, Clause, ConjId, Flow, GroupSpec};

/// Open vSwitch's userspace datapath has room for this many meters.
const MAX_METER: u32 = 1 << 16;

/// Counted numbers of things of one sort.
#[derive(Debug)]
struct Counted<K> {
    of: FxHashMap<K, (u32, usize)>,
    taken: FxHashMap<u32, K>,
    /// Numbers that came into or went out of use since somebody looked.
    changed: FxHashSet<u32>,
    /// Numbers are from 1 to below this.
    limit: u32,
}

impl<K: Hash + Eq + Clone> Counted<K> {
    fn new(limit: u32) -> Self {
        Counted {
            of: FxHashMap::default(),
            taken: FxHashMap::default(),
            changed: FxHashSet::default(),
            limit,
        }
    }

    fn acquire(&mut self, key: &K) {
        if let Some((_, count)) = self.of.get_mut(key) {
            *count += 1;
            return;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let mut number = (hasher.finish() % u64::from(self.limit - 1)) as u32 + 1;
        while self.taken.contains_key(&number) {
            number = number % (self.limit - 1) + 1;
        }
        self.taken.insert(number, key.clone());
        self.changed.insert(number);
        self.of.insert(key.clone(), (number, 1));
    }

    fn release(&mut self, key: &K) {
        let Some((number, count)) = self.of.get_mut(key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.taken.remove(number);
            self.changed.insert(*number);
            self.of.remove(key);
        }
    }

    fn get(&self, key: &K) -> Option<u32> {
        self.of.get(key).map(|(number, _)| *number)
    }
}

/// All numbers in use.
#[derive(Debug)]
pub(super) struct Numbers {
    conjunctions: Counted<ConjId>,
    groups: Counted<Arc<GroupSpec>>,
    meters: Counted<Str>,
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers {
            conjunctions: Counted::new(u32::MAX),
            // Numbers above this one have a meaning of their own (all groups, any group).
            groups: Counted::new(0xffff_ff00),
            meters: Counted::new(MAX_METER),
        }
    }
}

impl Numbers {
    /// A flow that refers to these is wanted.
    pub fn acquire(&mut self, flow: &Flow) {
        if let Body::Clause(Clause { id, .. }) | Body::Conjunction(id, _) = &flow.body {
            self.conjunctions.acquire(id);
        }
        if let Some(actions) = flow.body.actions() {
            let groups = actions.groups.iter();
            groups.for_each(|spec| self.groups.acquire(spec));
            let meters = actions.meters.iter();
            meters.for_each(|name| self.meters.acquire(name));
        }
    }

    /// It is wanted no more.
    pub fn release(&mut self, flow: &Flow) {
        if let Body::Clause(Clause { id, .. }) | Body::Conjunction(id, _) = &flow.body {
            self.conjunctions.release(id);
        }
        if let Some(actions) = flow.body.actions() {
            let groups = actions.groups.iter();
            groups.for_each(|spec| self.groups.release(spec));
            let meters = actions.meters.iter();
            meters.for_each(|name| self.meters.release(name));
        }
    }

    /// The number of a conjunctive match, 0 if no flow refers to it.
    pub fn conjunction(&self, id: ConjId) -> u32 {
        self.conjunctions.get(&id).unwrap_or(0)
    }

    /// The number of a group.
    pub fn group(&self, spec: &Arc<GroupSpec>) -> u32 {
        self.groups.get(spec).unwrap_or(0)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<GroupSpec>, u32)> {
        self.groups
            .of
            .iter()
            .map(|(spec, (number, _))| (spec, *number))
    }

    /// What stands behind the number of a group.
    pub fn group_of(&self, number: u32) -> Option<&Arc<GroupSpec>> {
        self.groups.taken.get(&number)
    }

    /// Numbers of groups that came into or went out of use since the last call.
    pub fn changed_groups(&mut self) -> FxHashSet<u32> {
        // Of the others nobody asks.
        self.conjunctions.changed.clear();
        self.meters.changed.clear();
        std::mem::take(&mut self.groups.changed)
    }

    /// The number of a meter that some flow refers to.
    pub fn meter(&self, name: &Str) -> Option<u32> {
        self.meters.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_after_a_restart_and_do_not_collide() {
        let mut a = Counted::new(8);
        let mut b = Counted::new(8);
        for key in ["x", "y", "z"] {
            a.acquire(&key);
            b.acquire(&key);
        }
        let numbers: std::collections::BTreeSet<_> =
            ["x", "y", "z"].iter().map(|k| a.get(k)).collect();
        assert_eq!(numbers.len(), 3);
        assert!(["x", "y", "z"].iter().all(|k| a.get(k) == b.get(k)));
        a.acquire(&"x");
        a.release(&"x");
        assert!(a.get(&"x").is_some());
        a.release(&"x");
        assert!(a.get(&"x").is_none());
    }
}
