//! Flows on the switches of a load balancer group.
//!
//! Guarantees: when the switches of a group change, the row of datapaths that its flows share changes in place, however many
//! they are; flows that were on the same datapaths for other reasons, and are not any more, get a row of their own.

use std::sync::Arc;

use weft_ovsdb::model::Uuid;

use super::{Datapaths, Flows, Group, Place, Wanted};
use crate::output::{DpSet, LogicalFlow};

/// What is known of a load balancer group.
#[derive(Debug)]
pub(super) struct Switches {
    /// Not 0, and no other group's.
    number: u32,
    /// Its switches, listed.
    list: DpSet,
    /// How many flows are on these and nothing else.
    only: usize,
    /// How many flows are on these.
    any: usize,
}

impl Switches {
    #[cfg(test)]
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Wanted {
    /// The group whose switches, and nothing else, the flow is on.
    pub(super) fn only_group(&self) -> Option<Uuid> {
        let (first, rest) = self.uses.split_first()?;
        match first.0 {
            DpSet::OfGroup(group) if rest.iter().all(|(dps, _)| *dps == first.0) => Some(group),
            _ => None,
        }
    }

    fn names_group(&self, group: Uuid) -> bool {
        self.uses.iter().any(|u| u.0 == DpSet::OfGroup(group))
    }
}

impl Flows {
    /// The set with its members.
    pub(super) fn listed<'a>(&'a self, dps: &'a DpSet) -> &'a DpSet {
        match dps {
            DpSet::OfGroup(group) => self.of_groups.get(group).map_or(dps, |of| &of.list),
            listed => listed,
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
        let group = match dps {
            DpSet::OfGroup(group) => Some(*group),
            _ => None,
        };
        let names = |wanted: &Wanted| group.is_some_and(|group| wanted.names_group(group));
        let before = (wanted.only_group(), names(wanted));
        change(wanted);
        let after = (wanted.only_group(), names(wanted));
        if before.0 != after.0 {
            if let Some(of) = before.0.and_then(|group| self.of_groups.get_mut(&group)) {
                of.only -= 1;
            }
            if let Some(group) = after.0 {
                self.of_group(group).only += 1;
            }
        }
        if let Some(group) = group.filter(|_| before.1 != after.1) {
            let of = self.of_group(group);
            of.any = if after.1 { of.any + 1 } else { of.any - 1 };
        }
        self.account(flow, true);
    }

    /// Counts the flow's row among those of its group on its row of datapaths, or no longer: to be called around whatever
    /// changes any of these.
    pub(super) fn account(&mut self, flow: &Arc<LogicalFlow>, more: bool) {
        let Some(wanted) = self.wanted.get(flow) else {
            return;
        };
        let (Some(row), Some(group)) = (wanted.row, wanted.only_group()) else {
            return;
        };
        let (Some(have), Some(of)) = (self.have.get_mut(&row), self.of_groups.get(&group)) else {
            return;
        };
        have.of_group = if more { of.number } else { 0 };
        let Some(row) = have.place.group() else {
            return;
        };
        let count = self.ours.entry((row, of.number)).or_default();
        *count = if more {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.ours.remove(&(row, of.number));
        }
    }

    fn of_group(&mut self, group: Uuid) -> &mut Switches {
        let numbered = &mut self.numbered;
        self.of_groups.entry(group).or_insert_with(|| {
            *numbered += 1;
            Switches {
                number: *numbered,
                list: DpSet::new(Vec::new()),
                only: 0,
                any: 0,
            }
        })
    }

    /// The switches of a load balancer group, or (`present` is false) no longer.
    pub fn group_switches(&mut self, group: Uuid, switches: &DpSet, present: bool) {
        let of = self.of_group(group);
        let new = match present {
            true => switches.clone(),
            false if of.list == *switches => DpSet::new(Vec::new()),
            // Others have come already.
            false => return,
        };
        let old = std::mem::replace(&mut of.list, new.clone());
        self.regrouped.entry(group).or_insert(old);
    }

    /// Follows what has become of groups since the last flush: rows that stand for other datapaths now. Where that does not
    /// do, all flows of the group are looked at.
    pub(super) fn follow_groups(&mut self, known: &impl Datapaths) -> Vec<(Uuid, Group, Group)> {
        let mut moved = Vec::new();
        for (group, old) in std::mem::take(&mut self.regrouped) {
            let Some(of) = self.of_groups.get(&group) else {
                continue;
            };
            let new = of.list.clone();
            if old == new {
                continue;
            }
            match self.follow(group, &old, &new, known) {
                Some(row) => moved.push(row),
                None => {
                    let its = self.wanted.iter().filter(|(_, w)| w.names_group(group));
                    self.dirty.extend(its.map(|(flow, _)| flow.clone()));
                }
            }
            if new.is_empty() && self.of_groups.get(&group).is_some_and(|of| of.any == 0) {
                self.of_groups.remove(&group);
            }
        }
        moved
    }

    fn follow(
        &mut self,
        group: Uuid,
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
        let number = self.of_groups.get(&group)?.number;
        let here = self.ours.get(&(row, number)).copied().unwrap_or(0);
        let users = self.users.get(&row).copied().unwrap_or(0);
        let there = self.groups.get(&new).copied();
        let there_users = there.and_then(|other| self.users.get(&other)).copied();
        if here == 0 || here * 2 < users || there_users.unwrap_or(0) > here {
            return None;
        }
        let old = self.group_of_row.get(&row).cloned()?;
        let of = self.of_groups.get(&group)?;
        if here < users {
            let others = self.have.values();
            let others = others.filter(|have| have.place == Place::Group(row));
            let others = others.filter(|have| have.of_group != number);
            self.dirty
                .extend(others.filter_map(|have| have.flow.clone()));
        }
        if of.only != here || of.any != of.only {
            // Flows that have no such row yet, or are on other datapaths besides.
            let other = |(_, w): &(&Arc<LogicalFlow>, &Wanted)| {
                w.names_group(group)
                    && (w.only_group() != Some(group) || self.row_of(w) != Some(row))
            };
            let others = self.wanted.iter().filter(other);
            let others: Vec<_> = others.map(|(flow, _)| flow.clone()).collect();
            self.dirty.extend(others);
        }
        if let Some(other) = there {
            // Fewer are on a row that stands for the same switches already: they come here.
            self.forget_group(other);
            let there = self.have.values();
            let there = there.filter(|have| have.place == Place::Group(other));
            let there = there.filter_map(|have| have.flow.clone());
            self.dirty.extend(there);
        }
        self.forget_group(row);
        self.name_group(row, new.clone());
        Some((row, old, new))
    }

    /// The row of datapaths that the flow's row refers to.
    fn row_of(&self, wanted: &Wanted) -> Option<Uuid> {
        self.have.get(&wanted.row?)?.place.group()
    }
}
