//! Flows on sets of datapaths that have a name.
//!
//! Guarantees: when the members of a set change, the row of datapaths that its flows share changes in place, however many
//! they are; sets of the same members that change alike share the row. Flows that were on the same datapaths for other
//! reasons, and are not any more, get a row of their own.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use weft_ovsdb::model::Uuid;

use super::{Datapaths, Flows, Group, Wanted};
use crate::output::{DpSet, LogicalFlow, SetName};

/// What is known of a set.
#[derive(Debug)]
pub(super) struct Members {
    /// Not 0, and no other set's.
    number: u32,
    /// Its members as of the last flush, listed.
    list: DpSet,
    /// Its members, sorted.
    now: Vec<Uuid>,
    /// The flows on it, by where they are in memory.
    flows: FxHashMap<usize, Arc<LogicalFlow>>,
    /// How many of these are on nothing else.
    only: usize,
}

impl Members {
    #[cfg(test)]
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Wanted {
    /// The set whose members, and nothing else, the flow is on.
    pub(super) fn only_set(&self) -> Option<SetName> {
        let (first, rest) = self.uses.split_first()?;
        match first.0 {
            DpSet::Named(set) if rest.iter().all(|(dps, _)| *dps == first.0) => Some(set),
            _ => None,
        }
    }

    fn names(&self, set: SetName) -> bool {
        self.uses.iter().any(|u| u.0 == DpSet::Named(set))
    }
}

impl Flows {
    /// The set with its members as of the last flush.
    pub(super) fn listed<'a>(&'a self, dps: &'a DpSet) -> &'a DpSet {
        match dps {
            DpSet::Named(set) => self.sets.get(set).map_or(dps, |of| &of.list),
            listed => listed,
        }
    }

    /// The members of a set, sorted.
    pub(super) fn members<'a>(&'a self, dps: &'a DpSet) -> &'a [Uuid] {
        match dps {
            DpSet::Named(set) => self.sets.get(set).map_or(&[], |of| &of.now),
            listed => listed.as_slice(),
        }
    }

    /// Another use of a flow, or one less: `change` makes it so.
    pub(super) fn change_uses(
        &mut self,
        flow: &Arc<LogicalFlow>,
        dps: &DpSet,
        change: impl FnOnce(&mut Wanted),
    ) {
        self.account(flow, false);
        let Some(wanted) = self.wanted.get_mut(flow) else {
            return;
        };
        let named = match dps {
            DpSet::Named(set) => Some(*set),
            _ => None,
        };
        let names = |wanted: &Wanted| named.is_some_and(|set| wanted.names(set));
        let before = (wanted.only_set(), names(wanted));
        change(wanted);
        let after = (wanted.only_set(), names(wanted));
        if before.0 != after.0 {
            if let Some(of) = before.0.and_then(|set| self.sets.get_mut(&set)) {
                of.only -= 1;
            }
            if let Some(set) = after.0 {
                self.set_of(set).only += 1;
            }
        }
        if let Some(set) = named.filter(|_| before.1 != after.1) {
            self.put_into(set, flow, after.1);
        }
        self.account(flow, true);
    }

    fn put_into(&mut self, set: SetName, flow: &Arc<LogicalFlow>, present: bool) {
        // All that are equal are the one that is wanted.
        let Some((flow, _)) = self.wanted.get_key_value(flow) else {
            return;
        };
        let (flow, at) = (Arc::clone(flow), Arc::as_ptr(flow) as usize);
        let flows = &mut self.set_of(set).flows;
        if present {
            flows.insert(at, flow);
        } else {
            flows.remove(&at);
        }
    }

    /// Counts the flow's row among those of its set on its row of datapaths, or no longer: to be called around whatever
    /// changes any of these.
    pub(super) fn account(&mut self, flow: &Arc<LogicalFlow>, more: bool) {
        let Some(wanted) = self.wanted.get(flow) else {
            return;
        };
        let (Some(row), Some(set)) = (wanted.row, wanted.only_set()) else {
            return;
        };
        let (Some(have), Some(of)) = (self.have.get_mut(&row), self.sets.get(&set)) else {
            return;
        };
        let number = of.number;
        have.of_set = if more { number } else { 0 };
        let Some(group) = have.place.group() else {
            return;
        };
        self.set_loose(row, Some(group), !more);
        let row = group;
        let count = self.ours.entry((row, number)).or_default();
        *count = if more {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.ours.remove(&(row, number));
        }
    }

    fn set_of(&mut self, set: SetName) -> &mut Members {
        let numbered = &mut self.numbered;
        self.sets.entry(set).or_insert_with(|| {
            *numbered += 1;
            Members {
                number: *numbered,
                list: DpSet::new(Vec::new()),
                now: Vec::new(),
                flows: FxHashMap::default(),
                only: 0,
            }
        })
    }

    /// A datapath is in a set, or no longer.
    pub fn member(&mut self, set: SetName, datapath: Uuid, present: bool) {
        let now = &mut self.set_of(set).now;
        match now.binary_search(&datapath) {
            Err(at) if present => now.insert(at, datapath),
            Ok(at) if !present => drop(now.remove(at)),
            _ => return,
        }
        self.regrouped.insert(set);
    }

    /// Follows what has become of sets since the last flush: rows that stand for other datapaths now. Where that does not do,
    /// all flows of the set are looked at.
    pub(super) fn follow_sets(&mut self, known: &impl Datapaths) -> Vec<(Uuid, Group, Group)> {
        // Those that have become alike in the same way are on the same row, and stay there together.
        let mut alike: FxHashMap<(DpSet, DpSet), Vec<SetName>> = FxHashMap::default();
        for set in std::mem::take(&mut self.regrouped) {
            let Some(of) = self.sets.get_mut(&set) else {
                continue;
            };
            let new = DpSet::new(of.now.clone());
            let old = std::mem::replace(&mut of.list, new.clone());
            if old != new {
                alike.entry((old, new)).or_default().push(set);
            }
        }
        let mut moved = Vec::new();
        for ((old, new), sets) in alike {
            match self.follow(&sets, &old, &new, known) {
                Some(row) => moved.push(row),
                None => {
                    let sets = sets.iter().filter_map(|set| self.sets.get(set));
                    let flows = sets.flat_map(|of| of.flows.values().cloned());
                    self.dirty.extend(flows);
                }
            }
        }
        let used = |of: &Members| !of.now.is_empty() || !of.flows.is_empty();
        self.sets.retain(|_, of| used(of));
        moved
    }

    fn follow(
        &mut self,
        sets: &[SetName],
        old: &DpSet,
        new: &DpSet,
        known: &impl Datapaths,
    ) -> Option<(Uuid, Group, Group)> {
        let all = |set: &DpSet| -> Option<Group> {
            let DpSet::Many(_) = set else { return None };
            let list = set.as_slice();
            let known = list.len() > 1 && list.iter().all(|dp| known.row(*dp).is_some());
            known.then(|| list.into())
        };
        let new = all(new)?;
        let row = *self.groups.get(old.as_slice())?;
        let number = |set: &SetName| self.sets.get(set).map_or(0, |of| of.number);
        let numbers: Vec<u32> = sets.iter().map(number).collect();
        let on_row = |number: &u32| self.ours.get(&(row, *number)).copied().unwrap_or(0);
        let here: usize = numbers.iter().map(on_row).sum();
        let users = self.users.get(&row).copied().unwrap_or(0);
        let there = self.groups.get(&new).copied();
        let there_users = there.and_then(|other| self.users.get(&other)).copied();
        if here == 0 || here * 2 < users || there_users.unwrap_or(0) > here {
            return None;
        }
        let old = self.group_of_row.get(&row).cloned()?;
        if here < users {
            self.dirty.extend(self.flows_on(row, &numbers));
        }
        for (set, number) in sets.iter().zip(&numbers) {
            let Some(of) = self.sets.get(set) else {
                continue;
            };
            let here = self.ours.get(&(row, *number)).copied().unwrap_or(0);
            if of.only != here || of.flows.len() != of.only {
                // Flows that have no such row yet, or are on other datapaths besides.
                let other = |flow: &&Arc<LogicalFlow>| {
                    let wanted = self.wanted.get(*flow);
                    wanted
                        .is_some_and(|w| w.only_set() != Some(*set) || self.row_of(w) != Some(row))
                };
                let others: Vec<_> = of.flows.values().filter(other).cloned().collect();
                self.dirty.extend(others);
            }
        }
        if let Some(other) = there {
            // Fewer are on a row that stands for the same datapaths already: they come here.
            self.forget_group(other);
            self.dirty.extend(self.flows_on(other, &[]));
        }
        self.forget_group(row);
        self.name_group(row, new.clone());
        Some((row, old, new))
    }

    /// The flows whose rows refer to a row of datapaths, but for those on just the sets of these numbers.
    fn flows_on(&self, row: Uuid, except: &[u32]) -> Vec<Arc<LogicalFlow>> {
        let loose = self.loose.get(&row).into_iter().flatten();
        let loose = loose.filter_map(|row| self.have.get(row)?.flow.clone());
        let sets = self.sets.values();
        let sets = sets.filter(|of| !except.contains(&of.number));
        let sets = sets.filter(|of| self.ours.contains_key(&(row, of.number)));
        let here = |flow: &&Arc<LogicalFlow>| {
            let wanted = self.wanted.get(*flow);
            wanted.is_some_and(|wanted| self.row_of(wanted) == Some(row))
        };
        let named = sets.flat_map(|of| of.flows.values().filter(here));
        loose.chain(named.cloned()).collect()
    }

    /// The row of datapaths that the flow's row refers to.
    fn row_of(&self, wanted: &Wanted) -> Option<Uuid> {
        self.have.get(&wanted.row?)?.place.group()
    }
}
