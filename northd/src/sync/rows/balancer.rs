//! `Load_Balancer` and the groups of datapaths it refers to.
//!
//! Guarantees: load balancers on the same datapaths share a group; when all of them come to apply to other datapaths, the
//! group is changed in place: one operation for a new switch, not one per load balancer. Groups are never shared with
//! logical flows, which change theirs for reasons of their own; one that nobody refers to is deleted by the server.

use rustc_hash::{FxHashMap, FxHashSet};
use weft_ovsdb::model::{Map, Set, Uuid};
use weft_ovsdb::session::ServerSchema;
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::write::put;
use super::{RowKey, Rows};
use crate::output::{DpSet, LoadBalancer, SetName};
use crate::sync::flows::Datapaths;

/// Groups that load balancers refer to.
#[derive(Default, Debug)]
pub struct Groups {
    /// How many load balancers want a set.
    users: FxHashMap<DpSet, usize>,
    /// Rows made here, to which nothing else refers, with the set they stand for.
    own: FxHashMap<Uuid, DpSet>,
    /// Sets for which some load balancer refers to a row that is none of these.
    strange: FxHashSet<DpSet>,
    /// Rows known to be right after the transaction being made. What came before it is remembered: nobody need go through
    /// the datapaths of a set to find that nothing has changed.
    settled: FxHashMap<DpSet, Uuid>,
    /// Something may have changed that this is made of.
    forgotten: bool,
    /// Rows that the last transaction made.
    made: Vec<Uuid>,
    /// Sets that have other members since the last transaction.
    changed: FxHashSet<SetName>,
    /// The server knows no groups of routers at load balancers (before 23.09): a group made for them would be gone at once.
    switches_only: bool,
}

impl Groups {
    /// What the server can keep.
    pub(super) fn server_knows(&mut self, schema: &ServerSchema) {
        self.switches_only = !schema.has_column("Load_Balancer", "lr_datapath_group");
    }

    /// Nothing is wanted any more; the server is the same.
    pub(super) fn restart(&mut self) {
        *self = Groups {
            switches_only: self.switches_only,
            ..Groups::default()
        };
    }

    /// A load balancer is wanted, or no longer.
    pub(super) fn used(&mut self, row: &LoadBalancer, present: bool) {
        for set in [&row.switches, &row.routers] {
            let count = self.users.entry(set.clone()).or_default();
            *count = if present {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.users.remove(set);
                // Its row is free for others.
                self.settled.remove(set);
            }
        }
    }

    /// A set that load balancers may name has another member, or one less.
    pub(super) fn member_changed(&mut self, set: SetName) {
        if self.switches_only && matches!(set, SetName::GroupRouters(_)) {
            return;
        }
        self.changed.insert(set);
        self.forget();
    }

    /// Every row is looked at before it is trusted again: a datapath or a group of some may be another one now, or have none
    /// for its row.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
    }

    /// A row of a group is gone.
    pub(super) fn row_gone(&mut self, row: Uuid) {
        self.own.remove(&row);
        self.forget();
    }

    /// No set has changed.
    pub(super) fn is_settled(&self) -> bool {
        self.changed.is_empty()
    }

    /// A transaction begins. Of what the last one made not everything need be there.
    pub(super) fn begin(&mut self, db: &sb::Db, blocked: bool) {
        for row in std::mem::take(&mut self.made) {
            if !db.logical_dp_group.contains(row) {
                self.row_gone(row);
            }
        }
        if std::mem::replace(&mut self.forgotten, blocked) || blocked {
            self.settled.clear();
        }
    }
}

impl Rows {
    pub(super) fn put_load_balancer(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, nb: Uuid) {
        use sb::load_balancer as column;
        let Some(want) = self.wanted.load_balancers.get(&nb).cloned() else {
            return;
        };
        let have = db.load_balancer.get(uuid);
        let (ls, lr) = have.map_or((None, None), |have| {
            (
                have.ls_datapath_group.or(have.datapath_group),
                have.lr_datapath_group,
            )
        });
        let switches = self.lb_group(txn, db, &want.switches, ls);
        let routers = match self.lb_groups.switches_only {
            true => None,
            false => self.lb_group(txn, db, &want.routers, lr),
        };
        let row = sb::LoadBalancer {
            name: want.name.clone(),
            vips: want.vips.clone(),
            protocol: want.protocol.clone(),
            datapaths: Set::default(),
            // Chassis before the two groups by kind of datapath look here, for switches only.
            datapath_group: switches,
            ls_datapath_group: switches,
            lr_datapath_group: routers,
            options: want.options.clone(),
            external_ids: Map::from_iter([("lb_id".into(), nb.to_string().into())]),
        };
        put(txn, &db.load_balancer, uuid, &row, column::ALL, 0);
    }

    /// Sets have other members now: one of the load balancers that name it says so to the row that all of them refer to, if
    /// that is one of ours; else every one of them looks for a row.
    pub(super) fn follow_members(&mut self) {
        for set in std::mem::take(&mut self.lb_groups.changed) {
            let set = DpSet::Named(set);
            if !self.lb_groups.users.contains_key(&set) {
                continue;
            }
            let strange = self.lb_groups.strange.remove(&set);
            let one = !strange && self.lb_groups.own.values().any(|of| *of == set);
            let there = self.wanted.load_balancers.values();
            let its = there.filter(|row| row.switches == set || row.routers == set);
            let its = its.map(|row| RowKey::LoadBalancer(row.nb));
            let its = its.filter(|key| !self.blocked.contains(key));
            let limit = if one { 1 } else { usize::MAX };
            self.dirty.extend(its.take(limit));
        }
    }

    /// The row of a group with just these datapaths.
    fn lb_group(
        &mut self,
        txn: &mut Txn,
        db: &sb::Db,
        set: &DpSet,
        current: Option<Uuid>,
    ) -> Option<Uuid> {
        if set.is_empty() {
            return None;
        }
        if let Some(row) = self.lb_groups.settled.get(set) {
            return Some(*row);
        }
        let datapaths: Set<Uuid> = match set {
            DpSet::Named(set) => {
                let members = self.wanted.members.get(set).into_iter().flatten();
                members.filter_map(|nb| self.row(*nb)).collect()
            }
            listed => {
                let members = listed.as_slice().iter();
                members.filter_map(|nb| self.row(*nb)).collect()
            }
        };
        let right = |row: &Uuid| {
            db.logical_dp_group
                .get(*row)
                .is_some_and(|g| g.datapaths == datapaths)
        };
        let groups = &mut self.lb_groups;
        let found = groups
            .own
            .iter()
            .find(|(row, of)| *of == set && right(row))
            .map(|(row, _)| *row);
        let row = match found.or(current.filter(right)) {
            Some(row) => row,
            None => {
                let taken = |row: &Uuid| groups.settled.values().any(|settled| settled == row);
                let free = groups.own.iter().filter(|(row, of)| {
                    (*of == set || !groups.users.contains_key(of)) && !taken(row)
                });
                let free = free
                    .map(|(row, _)| *row)
                    .min_by_key(|row| Some(*row) != current);
                match free {
                    Some(row) => move_group(txn, db, row, datapaths),
                    None => {
                        let row = Uuid::random();
                        txn.insert(
                            &sb::LogicalDpGroup { datapaths },
                            sb::logical_dp_group::ALL,
                            row,
                        );
                        groups.own.insert(row, set.clone());
                        groups.made.push(row);
                        row
                    }
                }
            }
        };
        match groups.own.get_mut(&row) {
            Some(of) => *of = set.clone(),
            None => {
                groups.strange.insert(set.clone());
            }
        }
        groups.settled.insert(set.clone(), row);
        Some(row)
    }
}

/// Makes a group one of other datapaths.
fn move_group(txn: &mut Txn, db: &sb::Db, row: Uuid, datapaths: Set<Uuid>) -> Uuid {
    let had = db
        .logical_dp_group
        .get(row)
        .map(|group| group.datapaths.clone())
        .unwrap_or_default();
    let only = |these: &Set<Uuid>, those: &Set<Uuid>| -> Set<Uuid> {
        these
            .iter()
            .filter(|dp| !those.contains(*dp))
            .copied()
            .collect()
    };
    let (added, removed) = (only(&datapaths, &had), only(&had, &datapaths));
    let column = sb::logical_dp_group::DATAPATHS;
    if !removed.is_empty() {
        txn.mutate_delete(row, &sb::LogicalDpGroup { datapaths: removed }, column);
    }
    if !added.is_empty() {
        txn.mutate_insert(row, &sb::LogicalDpGroup { datapaths: added }, column);
    }
    row
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::{Datapath, Output};

    /// What a transaction writes for one load balancer more on a switch and a router, by table.
    fn written(columns: &str) -> Vec<String> {
        let schema = format!(
            r#"{{"name": "OVN_Southbound", "tables": {{"Load_Balancer": {{"columns": {{{columns}}}}}}}}}"#
        );
        let mut rows = Rows::default();
        rows.server_knows(&serde_json::from_str(&schema).unwrap());
        let (switch, router) = (Uuid(1), Uuid(2));
        for (nb, is_router) in [(switch, false), (router, true)] {
            let datapath = Datapath {
                nb,
                router: is_router,
                tunnel_key: 1,
                external_ids: Map::default(),
            };
            rows.output(&Output::Datapath(Arc::new(datapath)), true);
        }
        let balancer = LoadBalancer {
            nb: Uuid(3),
            name: "web".into(),
            vips: Map::default(),
            protocol: None,
            options: Map::default(),
            switches: DpSet::new(vec![switch]),
            routers: DpSet::new(vec![router]),
        };
        rows.output(&Output::LoadBalancer(Arc::new(balancer)), true);
        let mut txn = Txn::new();
        rows.flush(&mut txn, &sb::Db::default(), true, 100, &mut Vec::new());
        let tables = (0..txn.len()).filter_map(|op| txn.subject(op));
        tables.map(|(table, _)| table.to_owned()).collect()
    }

    #[test]
    fn an_older_server_is_sent_no_group_that_nothing_can_name() {
        let groups = |columns| {
            let written = written(columns);
            assert!(written.iter().any(|table| table == "Load_Balancer"));
            let is_group = |table: &&String| *table == "Logical_DP_Group";
            written.iter().filter(is_group).count()
        };
        assert_eq!(groups(r#""datapath_group": {}"#), 1);
        let newer = r#""datapath_group": {}, "ls_datapath_group": {}, "lr_datapath_group": {}"#;
        assert_eq!(groups(newer), 2);
    }
}
