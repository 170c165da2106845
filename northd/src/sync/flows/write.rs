//! Operations of a transaction from what is planned, and taking back what did not happen.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use weft_ovsdb::model::{Row, Set, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::columns::{content, ids, tags};
use super::{Datapaths, Flows, Group, Have, Place, Plan, Target, Undo};
use crate::output::{LogicalFlow, Origin};
use crate::sync::Subject;

impl Flows {
    /// The second half of a flush: changes and insertions, after the rows they refer to.
    pub fn write(
        &mut self,
        plan: Plan,
        txn: &mut Txn,
        known: &impl Datapaths,
        written: &mut Vec<(usize, Subject)>,
    ) {
        for (row, old, new) in &plan.moved {
            self.write_group(txn, *row, old, new, known);
        }
        self.move_groups(txn, &plan, known);
        for (flow, target, origin) in plan.writes {
            self.write_flow(txn, &flow, &target, origin, known, written);
        }
    }

    /// Finds a row for a flow that has none among those nobody claims: best one that needs no change.
    pub(super) fn adopt(
        &mut self,
        flow: &Arc<LogicalFlow>,
        target: &Target,
        known: &impl Datapaths,
    ) {
        if *target == Target::Nowhere || self.wanted.get(flow).is_none_or(|w| w.row.is_some()) {
            return;
        }
        if self.unclaimed.is_empty() {
            return;
        }
        let content = content(flow);
        let Some(rows) = self.unclaimed.get(&content) else {
            return;
        };
        let found = rows.iter().copied().find(|row| {
            let have = self.have.get(row);
            have.is_some_and(|have| self.is_at(have, target, known))
        });
        let Some(row) = found else { return };
        self.orphans.remove(&row);
        self.claimed(content, row);
        if let (Some(have), Some(wanted)) = (self.have.get_mut(&row), self.wanted.get_mut(flow)) {
            have.flow = Some(flow.clone());
            wanted.row = Some(row);
        }
        self.account(flow, true);
    }

    fn is_at(&self, have: &Have, target: &Target, known: &impl Datapaths) -> bool {
        match (target, have.place) {
            (Target::Datapath(dp), Place::Datapath(row)) => known.row(*dp) == Some(row),
            (Target::Group(group), Place::Group(row)) => self.group_of_row.get(&row) == Some(group),
            _ => false,
        }
    }

    /// Changes in place the groups that all their flows leave for the same new one.
    fn move_groups(&mut self, txn: &mut Txn, plan: &Plan, known: &impl Datapaths) {
        let mut moves: FxHashMap<(Uuid, Group), usize> = FxHashMap::default();
        let now = plan.writes.iter().filter_map(|(flow, target, _)| {
            let Target::Group(new) = target else {
                return None;
            };
            Some((self.wanted.get(flow)?.row?, new))
        });
        for (row, new) in now.chain(plan.ahead.iter().map(|(row, new)| (*row, new))) {
            if let Some(old) = self.have.get(&row).and_then(|have| have.place.group())
                && !self.groups.contains_key(new)
            {
                *moves.entry((old, new.clone())).or_default() += 1;
            }
        }
        for ((row, new), count) in moves {
            let Some(old) = self.group_of_row.get(&row).cloned() else {
                continue;
            };
            if self.users.get(&row) != Some(&count) || self.groups.contains_key(&new) {
                continue;
            }
            self.write_group(txn, row, &old, &new, known);
            self.forget_group(row);
            self.name_group(row, new);
        }
    }

    /// Changes the datapaths of a group's row.
    fn write_group(
        &mut self,
        txn: &mut Txn,
        row: Uuid,
        old: &Group,
        new: &Group,
        known: &impl Datapaths,
    ) {
        let only = |these: &Group, those: &Group| -> Set<Uuid> {
            let these = these.iter().filter(|dp| those.binary_search(dp).is_err());
            these.filter_map(|dp| known.row(*dp)).collect()
        };
        let (added, removed) = (only(new, old), only(old, new));
        let column = sb::logical_dp_group::DATAPATHS;
        let undo = Undo::GroupMoved(row, old.clone());
        self.journal.push((txn.len(), undo));
        if !removed.is_empty() {
            txn.mutate_delete(row, &sb::LogicalDpGroup { datapaths: removed }, column);
        }
        if !added.is_empty() {
            txn.mutate_insert(row, &sb::LogicalDpGroup { datapaths: added }, column);
        }
    }

    pub(super) fn delete(&mut self, txn: &mut Txn, row: Uuid) {
        let op = txn.delete::<sb::LogicalFlow>(row);
        txn.may_cut();
        if let Some(have) = self.have.get(&row).cloned() {
            self.journal.push((op, Undo::Deleted(row, Box::new(have))));
        }
        self.drop_row(row);
    }

    /// The row of a group, made if need be.
    fn group_row(&mut self, txn: &mut Txn, group: &Group, known: &impl Datapaths) -> Uuid {
        if let Some(row) = self.groups.get(group) {
            return *row;
        }
        let uuid = Uuid::random();
        let row = sb::LogicalDpGroup {
            datapaths: group.iter().filter_map(|dp| known.row(*dp)).collect(),
        };
        let op = txn.insert(&row, sb::logical_dp_group::ALL, uuid);
        self.journal.push((op, Undo::GroupMade(uuid)));
        self.name_group(uuid, group.clone());
        uuid
    }

    fn write_flow(
        &mut self,
        txn: &mut Txn,
        flow: &Arc<LogicalFlow>,
        target: &Target,
        origin: Origin,
        known: &impl Datapaths,
        written: &mut Vec<(usize, Subject)>,
    ) {
        use sb::logical_flow as column;
        let row = self.wanted.get(flow).and_then(|w| w.row);
        let have = row.and_then(|row| self.have.get(&row)).cloned();
        if have
            .as_ref()
            .is_some_and(|have| have.hint == origin.hint && self.is_at(have, target, known))
        {
            return;
        }
        let (datapath, group) = match target {
            Target::Datapath(dp) => (known.row(*dp), None),
            Target::Group(group) => (None, Some(self.group_row(txn, group, known))),
            Target::Nowhere => return,
        };
        let mut new = sb::LogicalFlow {
            logical_datapath: datapath,
            logical_dp_group: group,
            external_ids: ids(flow, origin),
            ..sb::LogicalFlow::default()
        };
        let op = if let (Some(uuid), Some(old)) = (row, have) {
            let op = txn.update(
                uuid,
                &new,
                column::LOGICAL_DATAPATH | column::LOGICAL_DP_GROUP | column::EXTERNAL_IDS,
            );
            self.expected.insert(uuid);
            self.set_place(uuid, Place::new(datapath, group), origin.hint);
            self.journal.push((op, Undo::Changed(uuid, Box::new(old))));
            op
        } else {
            let info = flow.stage.info();
            let uuid = Uuid::random();
            new.pipeline = info.pipeline.as_str().into();
            new.table_id = i64::from(info.table);
            new.priority = i64::from(flow.priority);
            new.match_ = flow.match_.clone();
            new.actions = flow.actions.clone();
            new.tags = tags(flow);
            new.controller_meter = flow.controller_meter.clone();
            let have = Have {
                content: content(flow),
                place: Place::new(datapath, group),
                hint: origin.hint,
                of_set: 0,
                flow: Some(flow.clone()),
            };
            self.add_row(uuid, have);
            if let Some(wanted) = self.wanted.get_mut(flow) {
                wanted.row = Some(uuid);
            }
            if group.is_some() {
                self.account(flow, true);
            }
            let op = txn.insert(&new, new.nondefault_columns(), uuid);
            self.journal.push((op, Undo::Inserted(uuid)));
            op
        };
        written.push((op, Subject::Flow(flow.clone())));
        txn.may_cut();
    }

    /// The transaction under way has been executed.
    pub fn committed(&mut self) {
        self.expected.clear();
        self.journal.clear();
    }

    /// The transaction under way was refused from operation `from` on: what it would have done there did not happen.
    pub fn refused(&mut self, from: usize) {
        self.expected.clear();
        for (_, undo) in std::mem::take(&mut self.journal)
            .into_iter()
            .rev()
            .filter(|(op, _)| *op >= from)
        {
            match undo {
                Undo::Inserted(row) => {
                    let flow = self.drop_row(row);
                    self.dirty.extend(flow);
                }
                Undo::Changed(row, old) => {
                    self.set_place(row, old.place, old.hint);
                    self.dirty.extend(old.flow);
                }
                Undo::Deleted(row, mut old) => {
                    self.dirty.extend(
                        old.flow
                            .take()
                            .filter(|flow| self.wanted.contains_key(flow)),
                    );
                    self.add_row(row, *old);
                    self.orphans.insert(row);
                }
                Undo::GroupMade(row) => self.forget_group(row),
                Undo::GroupMoved(row, old) => {
                    self.forget_group(row);
                    self.name_group(row, old);
                    let users = self
                        .have
                        .values()
                        .filter(|have| have.place == Place::Group(row));
                    self.dirty
                        .extend(users.filter_map(|have| have.flow.clone()));
                }
            }
        }
    }
}
