//! Logical flows: from the compiler's outputs to rows of `Logical_Flow` and `Logical_DP_Group`.
//!
//! Flows that differ in nothing but their datapaths are one row; several datapaths make a group, shared by all flows on
//! the same ones. Of the southbound's rows only what is needed to compare them is kept: a hash of the content, the
//! datapath or group, the hint.
//!
//! Guarantees: a group that all its flows leave for the same new set of datapaths is changed in place (one operation
//! for a new switch, not one per flow); rows that nobody wants, or that appear twice, are deleted.

mod columns;
mod named;
mod replica;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::Txn;

use super::Subject;
use crate::output::{DpList, DpSet, LogicalFlow, Origin, SetName};

/// A set of datapaths by northbound UUID, sorted.
type Group = Arc<[Uuid]>;

/// Where a row says its flow is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    Nowhere,
    Datapath(Uuid),
    Group(Group),
}

/// One wanted flow.
#[derive(Default, Debug)]
struct Wanted {
    /// Where units want it, each with what it comes from.
    uses: SmallVec<[(DpSet, Origin); 1]>,
    /// The row that stands for it.
    row: Option<Uuid>,
}

/// Where a row of the southbound says its flow is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Nowhere,
    /// A row of `Datapath_Binding`.
    Datapath(Uuid),
    /// A row of `Logical_DP_Group`.
    Group(Uuid),
}

impl Place {
    fn new(datapath: Option<Uuid>, group: Option<Uuid>) -> Place {
        match (datapath, group) {
            (Some(datapath), None) => Place::Datapath(datapath),
            (None, Some(group)) => Place::Group(group),
            // A row that has both is of nobody's making, and as good as none.
            _ => Place::Nowhere,
        }
    }

    fn group(self) -> Option<Uuid> {
        match self {
            Place::Group(row) => Some(row),
            _ => None,
        }
    }
}

/// A row as the southbound has it. There are very many.
#[derive(Clone, Debug)]
struct Have {
    content: u64,
    place: Place,
    hint: u32,
    /// The number of the set whose members, and nothing else, the flow is on; else 0.
    of_set: u32,
    /// The wanted flow it stands for.
    flow: Option<Arc<LogicalFlow>>,
}

/// How to take back what the transaction under way would have done.
#[derive(Debug)]
enum Undo {
    Inserted(Uuid),
    Changed(Uuid, Box<Have>),
    Deleted(Uuid, Box<Have>),
    GroupMade(Uuid),
    GroupMoved(Uuid, Group),
}

/// What one flush does about flows.
#[derive(Default)]
pub struct Plan {
    writes: Vec<(Arc<LogicalFlow>, Target, Origin)>,
    /// Rows that will follow in later flushes, and the groups they go to: a group moves with all its rows or not at all.
    ahead: Vec<(Uuid, Group)>,
    /// Rows of groups that stand for other datapaths now, with those that they stood for and those that they stand for.
    moved: Vec<(Uuid, Group, Group)>,
}

/// The logical flows that are wanted, those that are there, and which to compare.
#[derive(Default, Debug)]
pub struct Flows {
    wanted: FxHashMap<Arc<LogicalFlow>, Wanted>,
    have: FxHashMap<Uuid, Have>,
    /// Rows without a wanted flow, by content: a flow that is wanted anew may have one of them.
    unclaimed: FxHashMap<u64, SmallVec<[Uuid; 1]>>,
    /// The row of a group.
    groups: FxHashMap<Group, Uuid>,
    group_of_row: FxHashMap<Uuid, Group>,
    /// How many rows refer to a group's row.
    users: FxHashMap<Uuid, usize>,
    dirty: FxHashSet<Arc<LogicalFlow>>,
    /// Rows without a wanted flow.
    orphans: FxHashSet<Uuid>,
    /// Of these, those of which it is only known that they are there.
    unseen: FxHashSet<Uuid>,
    /// Flows that name a datapath that has no row yet.
    waiting: FxHashMap<Uuid, Vec<Arc<LogicalFlow>>>,
    /// How often flows name a set of datapaths.
    named: FxHashMap<DpSet, usize>,
    /// The sets that have a name.
    sets: FxHashMap<SetName, named::Members>,
    /// Sets whose members may be others since the last flush.
    regrouped: FxHashSet<SetName>,
    /// How many rows on a row of datapaths stand for flows on just the members of a set.
    ours: FxHashMap<(Uuid, u32), usize>,
    /// The other rows on a row of datapaths: those of no set.
    loose: FxHashMap<Uuid, FxHashSet<Uuid>>,
    /// How many sets have been given a number.
    numbered: u32,
    /// Rows that our own transaction under way modifies.
    expected: FxHashSet<Uuid>,
    /// What the transaction under way does, by operation.
    journal: Vec<(usize, Undo)>,
}

/// What the sync knows of datapaths.
pub trait Datapaths {
    /// The southbound row of a switch or router, if it is there or comes with the present transaction.
    fn row(&self, nb: Uuid) -> Option<Uuid>;
    /// The switch or router of a southbound row.
    fn nb(&self, row: Uuid) -> Option<Uuid>;
}

impl Flows {
    /// So many flows come at once: growing by doubling would hold old and new places at the same time.
    pub fn expect(&mut self, flows: usize) {
        if flows > self.wanted.len() {
            self.wanted.reserve(flows);
            self.have.reserve(flows);
        }
    }

    /// A unit wants a flow.
    pub fn add(&mut self, flow: Arc<LogicalFlow>, dps: DpSet, origin: Origin) {
        self.name(&dps, true);
        self.wanted.entry(flow.clone()).or_default();
        let one_of = dps.clone();
        self.change_uses(&flow, &one_of, |wanted| wanted.uses.push((dps, origin)));
        self.dirty.insert(flow);
    }

    /// Counts flows that name a set of datapaths.
    fn name(&mut self, dps: &DpSet, more: bool) {
        if more {
            *self.named.entry(dps.clone()).or_default() += 1;
        } else if let Some(count) = self.named.get_mut(dps) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(dps);
            }
        }
    }

    /// Some flow is on the datapath.
    fn is_named(&self, nb: Uuid) -> bool {
        let mut sets = self.named.keys().map(|dps| self.members(dps));
        sets.any(|set| set.binary_search(&nb).is_ok())
    }

    /// It no longer does.
    pub fn remove(&mut self, flow: &Arc<LogicalFlow>, dps: &DpSet, origin: Origin) {
        self.name(dps, false);
        let found = |wanted: &Wanted| {
            let mut uses = wanted.uses.iter();
            uses.position(|(d, o)| *o == origin && d == dps)
        };
        if let Some(at) = self.wanted.get(flow).and_then(found) {
            self.change_uses(flow, dps, |wanted| drop(wanted.uses.swap_remove(at)));
            self.dirty.insert(flow.clone());
        }
    }

    /// Some unit wants the flow.
    pub fn is_wanted(&self, flow: &Arc<LogicalFlow>) -> bool {
        self.wanted.contains_key(flow)
    }

    /// How many flows are wanted.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// No flow is wanted.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Nothing needs to be compared.
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.orphans.is_empty() && self.regrouped.is_empty()
    }

    /// Compare everything.
    pub fn all_dirty(&mut self) {
        self.dirty.extend(self.wanted.keys().cloned());
    }

    /// A datapath's row came or went.
    pub fn datapath_changed(&mut self, nb: Uuid, there: bool) {
        if there {
            for flow in self.waiting.remove(&nb).unwrap_or_default() {
                if self.wanted.contains_key(&flow) {
                    self.dirty.insert(flow);
                }
            }
        } else if self.is_named(nb) {
            let naming = self.wanted.iter().filter(|(_, w)| {
                let mut lists = w.uses.iter().map(|(dps, _)| self.members(dps));
                lists.any(|list| list.binary_search(&nb).is_ok())
            });
            let naming: Vec<_> = naming.map(|(flow, _)| flow.clone()).collect();
            self.dirty.extend(naming);
        }
    }

    /// Everything known of the southbound's flows is void: a snapshot follows.
    pub fn forget(&mut self) {
        self.have.clear();
        self.unclaimed.clear();
        self.orphans.clear();
        self.unseen.clear();
        self.expected.clear();
        for wanted in self.wanted.values_mut() {
            wanted.row = None;
        }
        self.groups.clear();
        self.group_of_row.clear();
        self.users.clear();
        self.ours.clear();
        self.loose.clear();
        self.journal.clear();
        self.all_dirty();
    }

    /// Where a flow should be: the datapaths that have rows. Flows with others wait for them.
    fn target(
        &mut self,
        flow: &Arc<LogicalFlow>,
        known: &impl Datapaths,
        memo: &mut Memo,
    ) -> (Target, Origin) {
        let Some(wanted) = self.wanted.get(flow) else {
            return (Target::Nowhere, Origin::default());
        };
        let origin = wanted.uses.iter().map(|u| u.1).min().unwrap_or_default();
        let only = match &wanted.uses[..] {
            [(dps, _)] => match self.listed(dps) {
                DpSet::Many(list) => Some(list.clone()),
                _ => None,
            },
            _ => None,
        };
        if let Some(list) = &only
            && let Some((_, target)) = memo.get(&Arc::as_ptr(list))
        {
            return (target.clone(), origin);
        }
        let lists = wanted.uses.iter();
        let mut all: Vec<Uuid> = lists
            .flat_map(|(dps, _)| self.listed(dps).as_slice())
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        let mut missing = false;
        all.retain(|dp| {
            let there = known.row(*dp).is_some();
            if !there {
                missing = true;
                let waiting = self.waiting.entry(*dp).or_default();
                if !waiting.contains(flow) {
                    waiting.push(flow.clone());
                }
            }
            there
        });
        let target = match all[..] {
            [] => Target::Nowhere,
            [one] => Target::Datapath(one),
            _ => Target::Group(self.shared(all)),
        };
        if let (Some(list), false) = (only, missing) {
            memo.insert(Arc::as_ptr(&list), (list, target.clone()));
        }
        (target, origin)
    }

    fn shared(&self, list: Vec<Uuid>) -> Group {
        match self.groups.get_key_value(&list[..]) {
            Some((group, _)) => group.clone(),
            None => list.into(),
        }
    }

    /// Chooses up to `max` flows and decides where each should be. First the deletions go into the transaction.
    pub fn plan(
        &mut self,
        txn: &mut Txn,
        known: &impl Datapaths,
        max: usize,
        set_aside: &impl Fn(&Subject) -> bool,
    ) -> Plan {
        self.journal.clear();
        let mut plan = Plan {
            moved: self.follow_sets(known),
            ..Plan::default()
        };
        let mut memo = Memo::default();
        let chosen: Vec<Arc<LogicalFlow>> = self.dirty.iter().take(max).cloned().collect();
        for flow in chosen {
            self.dirty.remove(&flow);
            if set_aside(&Subject::Flow(flow.clone())) {
                continue;
            }
            let (target, origin) = self.target(&flow, known, &mut memo);
            if target == Target::Nowhere {
                self.unwant(txn, &flow);
            } else {
                self.adopt(&flow, &target, known);
                plan.writes.push((flow, target, origin));
            }
        }
        plan.ahead = self.ahead(known, &mut memo, set_aside);
        // A row is nobody's only once every flow has had the chance to claim it.
        if self.dirty.is_empty() {
            let orphans: Vec<Uuid> = self.orphans.iter().take(max).copied().collect();
            for row in orphans {
                self.delete(txn, row);
            }
        }
        plan
    }

    /// Flows that wait for their turn although they have a row.
    fn ahead(
        &mut self,
        known: &impl Datapaths,
        memo: &mut Memo,
        set_aside: &impl Fn(&Subject) -> bool,
    ) -> Vec<(Uuid, Group)> {
        let row = |flow: &Arc<LogicalFlow>| Some((flow.clone(), self.wanted.get(flow)?.row?));
        let waiting: Vec<(Arc<LogicalFlow>, Uuid)> = self.dirty.iter().filter_map(row).collect();
        let coming = |(flow, row): (Arc<LogicalFlow>, Uuid)| {
            let aside = set_aside(&Subject::Flow(flow.clone()));
            match self.target(&flow, known, memo).0 {
                Target::Group(group) if !aside => Some((row, group)),
                _ => None,
            }
        };
        waiting.into_iter().filter_map(coming).collect()
    }

    /// The flow is on no datapath that exists: its row goes, and it too if nobody wants it.
    fn unwant(&mut self, txn: &mut Txn, flow: &Arc<LogicalFlow>) {
        if let Some(row) = self.wanted.get(flow).and_then(|w| w.row) {
            self.delete(txn, row);
        }
        if self.wanted.get(flow).is_some_and(|w| w.uses.is_empty()) {
            self.wanted.remove(flow);
        }
    }

    /// Nothing is wanted any more, and what is there is nobody's: for a daemon that becomes active.
    pub fn restart(&mut self) {
        self.wanted.clear();
        self.sets.clear();
        self.regrouped.clear();
        self.ours.clear();
        self.dirty.clear();
        self.waiting.clear();
        self.named.clear();
        self.journal.clear();
        self.loose.clear();
        for (row, have) in &mut self.have {
            have.of_set = 0;
            if let Some(group) = have.place.group() {
                self.loose.entry(group).or_default().insert(*row);
            }
            if have.flow.take().is_some() {
                let same = self.unclaimed.entry(have.content).or_default();
                same.push(*row);
            }
            self.orphans.insert(*row);
        }
    }

    /// Compare a flow again.
    pub fn touch(&mut self, flow: &Arc<LogicalFlow>) {
        if self.wanted.contains_key(flow) {
            self.dirty.insert(flow.clone());
        }
    }
}

/// Where the sets of datapaths of this flush turned out to be. Holds the lists so that their addresses stay theirs.
type Memo = FxHashMap<*const DpList, (Arc<DpList>, Target)>;
