//! Following the southbound: which rows of `Logical_Flow` and `Logical_DP_Group` are there, and what they stand for.

use std::sync::Arc;

use weft_ovsdb::model::{RowUpdate, Set, UpdateKind, Uuid};
use weft_schemas::sb;

use super::columns::{content_of, hint_of};
use super::{Datapaths, Flows, Group, Have, Place};
use crate::output::LogicalFlow;

/// Columns that no flow leaves empty.
const CONTENTS: u64 = sb::logical_flow::MATCH | sb::logical_flow::ACTIONS;

impl Flows {
    /// There are rows whose contents are not known: somebody else inserted them after the snapshot.
    pub fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Follows the southbound.
    pub fn update(&mut self, update: &RowUpdate<sb::LogicalFlow>) {
        let uuid = update.head.uuid;
        let row = &update.row;
        match update.head.kind {
            // The server announces what has been inserted without its contents, since it was us. What was not is nobody's.
            UpdateKind::Insert if update.head.columns & CONTENTS == 0 => {
                if !self.have.contains_key(&uuid) {
                    let have = Have {
                        content: uuid.0 as u64,
                        place: Place::Nowhere,
                        hint: 0,
                        of_set: 0,
                        flow: None,
                    };
                    self.add_row(uuid, have);
                    self.orphans.insert(uuid);
                    self.unseen.insert(uuid);
                }
            }
            UpdateKind::Initial | UpdateKind::Insert => {
                let content = content_of(
                    &row.pipeline,
                    row.table_id,
                    row.priority,
                    &row.match_,
                    &row.actions,
                    row.controller_meter.as_deref(),
                );
                if self
                    .have
                    .get(&uuid)
                    .is_some_and(|have| have.content == content)
                {
                    return;
                }
                self.drop_row(uuid);
                let have = Have {
                    content,
                    place: Place::new(row.logical_datapath, row.logical_dp_group),
                    hint: hint_of(&row.external_ids),
                    of_set: 0,
                    flow: None,
                };
                self.add_row(uuid, have);
                self.orphans.insert(uuid);
            }
            UpdateKind::Delete => {
                if let Some(flow) = self.drop_row(uuid) {
                    self.dirty.insert(flow);
                }
            }
            // Nobody but us has reason to change a row. Its texts are not kept, so one that somebody changed is
            // replaced.
            UpdateKind::Modify | UpdateKind::Replace => {
                let Some(mut have) = self
                    .have
                    .get(&uuid)
                    .filter(|_| !self.expected.contains(&uuid))
                    .cloned()
                else {
                    return;
                };
                let flow = self.drop_row(uuid);
                self.dirty.extend(flow);
                (have.content, have.flow) = (!have.content, None);
                self.add_row(uuid, have);
                self.orphans.insert(uuid);
            }
        }
    }

    pub(super) fn add_row(&mut self, uuid: Uuid, have: Have) {
        if have.flow.is_none() {
            self.unclaimed.entry(have.content).or_default().push(uuid);
        }
        self.use_group(have.place.group(), true);
        self.set_loose(uuid, have.place.group(), have.of_set == 0);
        self.have.insert(uuid, have);
    }

    /// A row is gone; returns the flow it stood for.
    pub(super) fn drop_row(&mut self, uuid: Uuid) -> Option<Arc<LogicalFlow>> {
        self.orphans.remove(&uuid);
        self.unseen.remove(&uuid);
        if let Some(flow) = self.have.get(&uuid)?.flow.clone() {
            self.account(&flow, false);
        }
        let have = self.have.remove(&uuid)?;
        match &have.flow {
            Some(flow) => {
                if let Some(wanted) = self.wanted.get_mut(flow) {
                    wanted.row = None;
                }
            }
            None => self.claimed(have.content, uuid),
        }
        self.use_group(have.place.group(), false);
        self.set_loose(uuid, have.place.group(), false);
        have.flow
    }

    /// The row is gone, or stands for a wanted flow now.
    pub(super) fn claimed(&mut self, content: u64, row: Uuid) {
        if let Some(rows) = self.unclaimed.get_mut(&content) {
            rows.retain(|other| *other != row);
            if rows.is_empty() {
                self.unclaimed.remove(&content);
            }
        }
    }

    pub(super) fn use_group(&mut self, row: Option<Uuid>, more: bool) {
        let Some(row) = row else { return };
        let count = self.users.entry(row).or_default();
        *count = if more {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.users.remove(&row);
        }
    }

    /// The row, on this row of datapaths, is of no set, or it is not there any more.
    pub(super) fn set_loose(&mut self, row: Uuid, group: Option<Uuid>, loose: bool) {
        let Some(group) = group else { return };
        if loose {
            self.loose.entry(group).or_default().insert(row);
        } else if let Some(rows) = self.loose.get_mut(&group) {
            rows.remove(&row);
            if rows.is_empty() {
                self.loose.remove(&group);
            }
        }
    }

    /// A row of `Logical_DP_Group` is there with these datapaths, or gone (`None`).
    pub fn group_changed(
        &mut self,
        row: Uuid,
        datapaths: Option<&Set<Uuid>>,
        known: &impl Datapaths,
    ) {
        let Some(datapaths) = datapaths else {
            return self.forget_group(row);
        };
        let group: Option<Vec<Uuid>> = datapaths.iter().map(|dp| known.nb(*dp)).collect();
        let Some(mut group) = group else {
            return self.forget_group(row);
        };
        group.sort_unstable();
        let group: Group = group.into();
        if self.group_of_row.get(&row) != Some(&group) {
            self.forget_group(row);
            self.name_group(row, group);
        }
    }

    pub(super) fn name_group(&mut self, row: Uuid, group: Group) {
        self.groups.entry(group.clone()).or_insert(row);
        self.group_of_row.insert(row, group);
    }

    pub(super) fn forget_group(&mut self, row: Uuid) {
        if let Some(group) = self.group_of_row.remove(&row)
            && self.groups.get(&group) == Some(&row)
        {
            self.groups.remove(&group);
        }
    }

    pub(super) fn set_place(&mut self, row: Uuid, place: Place, hint: u32) {
        let Some(have) = self.have.get(&row) else {
            return;
        };
        let flow = have.flow.clone().filter(|_| have.place != place);
        if let Some(flow) = &flow {
            self.account(flow, false);
        }
        let Some(have) = self.have.get_mut(&row) else {
            return;
        };
        let old = std::mem::replace(&mut have.place, place);
        have.hint = hint;
        let loose = have.of_set == 0;
        self.use_group(old.group(), false);
        self.use_group(place.group(), true);
        self.set_loose(row, old.group(), false);
        self.set_loose(row, place.group(), loose);
        if let Some(flow) = &flow {
            self.account(flow, true);
        }
    }
}
