//! Southbound rows other than logical flows: what is wanted, by natural key, against what is there.
//!
//! A row is known by its natural key ([`RowKey`]): the northbound UUID of a datapath, the name of a port. After a
//! reconnection, or when somebody else changed a row, it is found again by that key, and only columns that differ are
//! written. Columns that chassis own are never compared.

mod balancer;
mod each;
mod key;
mod replica;
mod wanted;
mod write;

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::session::ServerSchema;
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

pub use self::key::RowKey;
use self::wanted::Wanted;
use self::write::delete_from;
use super::Subject;
use super::flows::Datapaths;
use super::rbac;

/// Wanted rows, rows that are there, and which to compare.
#[derive(Default, Debug)]
pub struct Rows {
    wanted: Wanted,
    /// Groups of datapaths that load balancers refer to.
    lb_groups: balancer::Groups,
    /// Rows of the southbound by natural key.
    have: FxHashMap<RowKey, SmallVec<[Uuid; 1]>>,
    /// The row that stands (or will stand) for a key.
    chosen: FxHashMap<RowKey, Uuid>,
    /// Of these, those of datapaths, by northbound UUID.
    datapaths: FxHashMap<Uuid, Uuid>,
    nb_of: FxHashMap<Uuid, Uuid>,
    dirty: BTreeSet<RowKey>,
    /// Datapaths whose row came into or went out of being wanted since the last look.
    pub datapaths_changed: Vec<(Uuid, bool)>,
    /// Keys that are set aside because the server refused their rows: nothing may refer to them.
    pub blocked: FxHashSet<RowKey>,
    /// Rows whose time has come.
    expired: FxHashSet<(u8, Uuid)>,
    /// Keys for which several units want different rows.
    contested: BTreeSet<RowKey>,
}

impl Datapaths for Rows {
    fn row(&self, nb: Uuid) -> Option<Uuid> {
        // Asked for every member of every set: not by the key that rows of all kinds have.
        let row = self.datapaths.get(&nb).copied();
        let blocked = || !self.blocked.is_empty() && self.blocked.contains(&RowKey::Datapath(nb));
        row.filter(|_| self.wanted.datapaths.contains_key(&nb) && !blocked())
    }

    fn nb(&self, row: Uuid) -> Option<Uuid> {
        self.nb_of.get(&row).copied()
    }
}

impl Rows {
    /// The row for a key: the first one that is there, or a new one.
    fn choose(&mut self, key: &RowKey) -> Uuid {
        let there = self.have.get(key).map_or(&[][..], |rows| rows);
        let chosen = match self.chosen.get(key) {
            Some(chosen) if there.is_empty() || there.contains(chosen) => *chosen,
            _ => there.first().copied().unwrap_or_else(|| match key {
                RowKey::AclId(acl) => *acl,
                _ => Uuid::random(),
            }),
        };
        self.chosen.insert(key.clone(), chosen);
        if let RowKey::Datapath(nb) = key {
            self.nb_of.insert(chosen, *nb);
            self.datapaths.insert(*nb, chosen);
        }
        chosen
    }

    /// A server was found, with these tables and columns.
    pub fn server_knows(&mut self, schema: &ServerSchema) {
        self.lb_groups.server_knows(schema);
    }

    /// Compare everything.
    pub fn all_dirty(&mut self) {
        self.lb_groups.forget();
        let w = &self.wanted;
        let dirty = &mut self.dirty;
        dirty.extend(self.have.keys().cloned());
        dirty.insert(RowKey::Global);
        dirty.extend(w.datapaths.keys().map(|k| RowKey::Datapath(*k)));
        dirty.extend(w.ha_groups.keys().map(|k| RowKey::HaGroup(k.clone())));
        dirty.extend(w.mirrors.keys().map(|k| RowKey::Mirror(k.clone())));
        dirty.extend(w.ports.keys().map(|k| RowKey::Port(k.clone())));
        dirty.extend(w.mcast.keys().map(|(dp, g)| RowKey::Mcast(*dp, g.clone())));
        dirty.extend(w.ip_multicast.keys().map(|s| RowKey::IpMulticast(*s)));
        dirty.extend(w.address_sets.keys().map(|k| RowKey::AddressSet(k.clone())));
        dirty.extend(w.port_groups.keys().map(|k| RowKey::PortGroup(k.clone())));
        dirty.extend(
            w.static_macs
                .keys()
                .map(|(p, i)| RowKey::StaticMac(p.clone(), i.clone())),
        );
        dirty.extend(w.load_balancers.keys().map(|nb| RowKey::LoadBalancer(*nb)));
        dirty.extend(w.dns.keys().map(|nb| RowKey::Dns(*nb)));
        let monitors = w.monitors.keys().cloned();
        dirty.extend(monitors.map(|(p, i, n, t)| RowKey::ServiceMonitor(p, i, n, t)));
        dirty.extend(
            w.template_vars
                .keys()
                .map(|c| RowKey::TemplateVars(c.clone())),
        );
        dirty.extend(w.meters.keys().map(|k| RowKey::Meter(k.clone())));
        dirty.extend(
            w.bfds
                .keys()
                .map(|(p, i)| RowKey::Bfd(p.clone(), i.clone())),
        );
        dirty.extend(w.acls.keys().map(|acl| RowKey::AclId(*acl)));
        let options = w.dhcp_options.keys();
        dirty.extend(options.map(|(v6, name)| RowKey::DhcpOption(*v6, name.clone())));
        dirty.extend(w.stale.iter().map(|(t, r)| RowKey::Stale(*t, *r)));
        if w.rbac {
            dirty.insert(RowKey::Role(rbac::ROLE.into()));
            dirty.extend(
                rbac::PERMISSIONS
                    .iter()
                    .map(|p| RowKey::Permission(p.table.into())),
            );
        }
    }

    /// Compare one row again.
    pub fn touch(&mut self, key: RowKey) {
        self.lb_groups.forget();
        self.dirty.insert(key);
    }

    /// A row is to go because of its age.
    pub fn expired(&mut self, table: u8, row: Uuid) {
        self.expired.insert((table, row));
        self.dirty.insert(RowKey::Stale(table, row));
    }

    /// A row is gone, or stands for longer.
    pub fn refreshed(&mut self, table: u8, row: Uuid) {
        self.expired.remove(&(table, row));
    }

    /// Nothing needs to be compared.
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.lb_groups.is_settled()
    }

    /// Writes the differences of up to `max` keys into a transaction: first deletions, then the rest in the order of
    /// references. Flows on a datapath must go before it does: as long as `flows_gone` is false, datapaths stay.
    pub fn flush(
        &mut self,
        txn: &mut Txn,
        db: &sb::Db,
        flows_gone: bool,
        max: usize,
        written: &mut Vec<(usize, Subject)>,
    ) {
        self.lb_groups.begin(db, !self.blocked.is_empty());
        self.follow_members();
        // Controllers that connect while an empty southbound is filled find no datapath without its ports and groups.
        let cut = |txn: &mut Txn| {
            if !db.datapath_binding.is_empty() {
                txn.may_cut();
            }
        };
        let mut dirty = std::mem::take(&mut self.dirty);
        if let Some(first) = dirty.iter().nth(max).cloned() {
            self.dirty = dirty.split_off(&first);
        }
        for key in dirty.iter().rev() {
            if !self.is_wanted(key) && matches!(key, RowKey::Datapath(_)) && !flows_gone {
                self.dirty.insert(key.clone());
            } else {
                self.delete_surplus(txn, db, key, written);
            }
        }
        for key in dirty {
            if !self.can_refer(&key) {
                continue;
            }
            let from = txn.len();
            self.put(txn, db, &key);
            written.extend((from..txn.len()).map(|op| (op, Subject::Row(key.clone()))));
            cut(txn);
        }
        txn.may_cut();
    }

    /// The key is wanted and its row is there, or will be with the present transaction.
    fn can_refer(&self, key: &RowKey) -> bool {
        !self.blocked.contains(key) && self.is_wanted(key)
    }

    /// Deletes rows that nobody wants, and all but one of those with the same key.
    fn delete_surplus(
        &mut self,
        txn: &mut Txn,
        db: &sb::Db,
        key: &RowKey,
        written: &mut Vec<(usize, Subject)>,
    ) {
        if let RowKey::Stale(table, row) = key {
            let row_key = (*table, *row);
            let stale = self.wanted.stale.contains(&row_key)
                || self.expired.contains(&row_key)
                || self.have.contains_key(key);
            if stale && let Some(op) = delete_from(txn, db, *table, *row) {
                written.push((op, Subject::Row(key.clone())));
                txn.may_cut();
            }
            return;
        }
        let keep = if self.is_wanted(key) {
            Some(self.choose(key))
        } else {
            self.chosen.remove(key);
            if let RowKey::Datapath(nb) = key {
                self.datapaths.remove(nb);
            }
            self.prune(key);
            None
        };
        let table = key.table();
        for row in self
            .have
            .get(key)
            .into_iter()
            .flatten()
            .filter(|row| Some(**row) != keep && !is_anothers(db, key, **row))
        {
            if let Some(op) = delete_from(txn, db, table as u8, *row) {
                written.push((op, Subject::Row(key.clone())));
                txn.may_cut();
            }
        }
    }

    /// Rows that several units want differently, of which only one gets its way.
    pub fn contested(&self) -> impl Iterator<Item = &RowKey> {
        self.contested.iter()
    }

    /// Nothing is wanted any more, and what is there is nobody's: for a daemon that becomes active.
    pub fn restart(&mut self) {
        self.wanted = Wanted::default();
        self.lb_groups.restart();
        self.chosen.clear();
        self.datapaths.clear();
        self.blocked.clear();
        self.expired.clear();
        self.contested.clear();
        self.datapaths_changed.clear();
        self.all_dirty();
    }
}

/// Whoever connects deployments has written the row: what is checked here for another one.
fn is_anothers(db: &sb::Db, key: &RowKey, row: Uuid) -> bool {
    let is_learned = || {
        db.service_monitor
            .get(row)
            .is_some_and(|row| row.ic_learned)
    };
    matches!(key, RowKey::ServiceMonitor(..)) && is_learned()
}
