//! Multicast of all switches here: tables and queriers as the southbound configures them, packets into the tables, tables
//! into the rows of `IGMP_Group` that are this chassis's.
//!
//! Guarantees: reports go on to where multicast routers and those who want reports are (`_MC_mrouter_flood`), queries to all
//! ports, nothing goes back where it came from; a row is written when the ports it names change and not when they are
//! confirmed; rows of an earlier process are taken over and die by time, so that nobody misses anything while a
//! controller is exchanged; what is nobody's any more is deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use weft_daemon::coverage::{Counter, counter};
use weft_openflow::{Action, ActionList, Field, Message, PacketIn, PacketOut};
use weft_ovsdb::model::{Set, Uuid};
use weft_ovsdb::txn::Txn;
use weft_packet::ParseError;
use weft_schemas::sb;

use super::port;
use super::querier::{FLOOD, Queriers, Wish};
use super::snoop::{Heard, Settings, Subject, Table};
use crate::core::Core;
use crate::flow::{REG_INPORT, REG_OUTPORT};
use crate::index::Index;
use crate::local_datapaths::LocalSet;
use crate::physical::port_key;
use crate::tables;

/// The group of those who get reports.
const MROUTER_FLOOD: &str = "_MC_mrouter_flood";
/// Rows that one transaction changes at most.
const BATCH: usize = 500;
/// A row of ours about a switch that we do not know: so long it may take to learn of the switch.
const PATIENCE: Duration = Duration::from_secs(15);

/// All of it.
#[derive(Debug)]
pub(super) struct Groups {
    tables: FxHashMap<Uuid, Table>,
    queriers: Queriers,
    /// What the settings were read from.
    local: Option<LocalSet>,
    stale: bool,
    /// Rows that may have to be written.
    dirty: BTreeSet<(Uuid, Subject)>,
    under_way: Vec<(Uuid, Subject)>,
    /// Rows of ours about switches that do not snoop here, and when they are to be deleted.
    orphans: FxHashMap<Uuid, Instant>,
    /// Those whose time is over.
    doomed: FxHashSet<Uuid>,
    reports: Arc<Counter>,
    queries: Arc<Counter>,
    no_room: Arc<Counter>,
}

impl Default for Groups {
    fn default() -> Self {
        Groups {
            tables: FxHashMap::default(),
            queriers: Queriers::default(),
            local: None,
            stale: true,
            dirty: BTreeSet::new(),
            under_way: Vec::new(),
            orphans: FxHashMap::default(),
            doomed: FxHashSet::default(),
            reports: counter("mcast_reports"),
            queries: counter("mcast_queries"),
            no_room: counter("mcast_table_full"),
        }
    }
}

/// The row of a subject on a datapath that a chassis has written.
fn row_of(core: &Core, datapath: Uuid, subject: Subject, chassis: Uuid) -> Option<Uuid> {
    let address = subject.text();
    let rows = core
        .inputs
        .idx
        .find(Index::IgmpGroup, (datapath, &*address));
    let ours = |row: &&Uuid| {
        let row = core.inputs.sb.igmp_group.get(**row);
        row.is_some_and(|row| row.chassis == Some(chassis) && *row.address == *address)
    };
    rows.iter().find(ours).copied()
}

impl Groups {
    /// The southbound has changed.
    pub(super) fn follow(&mut self, change: &sb::Change, core: &Core, now: Instant) {
        match change {
            sb::Change::IpMulticast(_) | sb::Change::DatapathBinding(_) => self.stale = true,
            // Another port may get its key.
            sb::Change::PortBinding(c) => {
                let Some(old) = &c.old else { return };
                let place = |row: &sb::PortBinding| (row.datapath, row.tunnel_key);
                if c.new.as_ref().is_some_and(|new| place(new) == place(old)) {
                    return;
                }
                let table = self.tables.get_mut(&old.datapath);
                let gone = table
                    .zip(port_key(old.tunnel_key))
                    .map(|(t, key)| t.forget(key));
                let gone = gone.into_iter().flatten();
                self.dirty
                    .extend(gone.map(|subject| (old.datapath, subject)));
            }
            sb::Change::IgmpGroup(c) => {
                self.orphans.remove(&c.uuid);
                self.doomed.remove(&c.uuid);
                for row in [&c.old, &c.new].into_iter().flatten() {
                    if let (Some(datapath), Some(subject)) =
                        (row.datapath, Subject::parse(&row.address))
                        && self.tables.contains_key(&datapath)
                    {
                        let key = (datapath, subject);
                        if c.old.is_none() && !self.is_pending(&key) {
                            self.adopt(core, row, subject, now);
                        }
                        self.dirty.insert(key);
                    }
                }
                if let Some(row) = &c.new {
                    let known = row.datapath.is_some_and(|dp| self.tables.contains_key(&dp));
                    let own = core.me().and_then(|me| me.chassis);
                    if !known && (own.is_none() || row.chassis == own) {
                        self.orphans.insert(c.uuid, now + PATIENCE);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_pending(&self, key: &(Uuid, Subject)) -> bool {
        self.dirty.contains(key) || self.under_way.contains(key)
    }

    /// Takes over what a row says, if it is ours.
    fn adopt(&mut self, core: &Core, row: &sb::IgmpGroup, subject: Subject, now: Instant) {
        let own = core.me().and_then(|me| me.chassis);
        let table = row.datapath.and_then(|dp| self.tables.get_mut(&dp));
        let (Some(table), true) = (table, own.is_some() && row.chassis == own) else {
            return;
        };
        for binding in row.ports.iter() {
            let binding = core.inputs.sb.port_binding.get(*binding);
            let here = binding.filter(|binding| Some(binding.datapath) == row.datapath);
            if let Some(key) = here.and_then(|binding| port_key(binding.tunnel_key)) {
                table.adopt(subject, key, now);
            }
        }
    }

    /// Follows `IP_Multicast` of the datapaths that matter here.
    fn configure(&mut self, core: &Core, now: Instant) {
        let local = core.local_datapaths();
        let same = self
            .local
            .as_ref()
            .is_some_and(|was| Arc::ptr_eq(&was.0, &local.0));
        if same && !std::mem::take(&mut self.stale) {
            return;
        }
        self.stale = false;
        self.local = Some((*local).clone());
        let mut wishes = Vec::new();
        let mut before = std::mem::take(&mut self.tables);
        for (_, row) in core.inputs.sb.ip_multicast.iter() {
            if row.enabled != Some(true) || !local.0.contains(&row.datapath) {
                continue;
            }
            let datapath = core.inputs.sb.datapath_binding.get(row.datapath);
            let Some(key) = datapath.and_then(|dp| port_key(dp.tunnel_key)) else {
                self.stale = true;
                continue;
            };
            wishes.extend(Wish::of(row, key).map(|wish| (row.datapath, wish)));
            let settings = Settings {
                table_size: usize::try_from(row.table_size.unwrap_or(2048)).unwrap_or(0),
                idle: seconds(row.idle_timeout.unwrap_or(300)),
                seq_no: row.seq_no,
                own: [&row.ip4_src, &row.ip6_src].map(|ip| ip.parse().ok()),
            };
            match before.remove(&row.datapath) {
                Some(mut table) => {
                    let changed = table.configure(settings);
                    self.dirty
                        .extend(changed.into_iter().map(|s| (row.datapath, s)));
                    self.tables.insert(row.datapath, table);
                }
                None => {
                    self.tables.insert(row.datapath, Table::new(settings, now));
                    self.take_over(core, row.datapath, now);
                }
            }
        }
        // Who no longer snoops has nothing to say.
        for (datapath, table) in before {
            self.dirty.extend(table.subjects().map(|s| (datapath, s)));
        }
        self.queriers.configure(wishes.into_iter(), now);
    }

    /// The rows that are there of a switch that has begun to snoop.
    fn take_over(&mut self, core: &Core, datapath: Uuid, now: Instant) {
        let rows = core.inputs.sb.igmp_group.iter();
        for (uuid, row) in rows.filter(|(_, row)| row.datapath == Some(datapath)) {
            self.orphans.remove(&uuid);
            self.doomed.remove(&uuid);
            if let Some(subject) = Subject::parse(&row.address) {
                self.adopt(core, row, subject, now);
                self.dirty.insert((datapath, subject));
            }
        }
    }

    /// A packet of IGMP or MLD: what is to be sent on.
    pub(super) fn heard(
        &mut self,
        packet: &PacketIn,
        core: &Core,
        now: Instant,
    ) -> Result<Option<Message>, ParseError> {
        let heard = Heard::parse(&packet.packet)?;
        let key = |field| u32::try_from(packet.metadata_value(field)).unwrap_or(0);
        let (datapath_key, port) = (key(Field::Metadata), key(REG_INPORT));
        let Some((datapath, _)) = port::find(core, datapath_key, port) else {
            return Err(ParseError::Other("from a port that is known"));
        };
        let report = matches!(heard, Heard::Report { .. });
        let count = if report { &self.reports } else { &self.queries };
        count.inc();
        if let Some(table) = self.tables.get_mut(&datapath) {
            if table.is_own(&heard) {
                // Ours have been asked by us.
                return Ok(None);
            }
            let lesson = table.hear(&heard, port, now);
            (0..lesson.refused).for_each(|_| self.no_room.inc());
            for subject in lesson.changed {
                self.changed(core, datapath, subject);
            }
        }
        // What is looked at in egress goes on by itself.
        if packet.table >= tables::LOG_EGRESS {
            return Ok(None);
        }
        let to = match report {
            true => group_key(core, datapath, MROUTER_FLOOD),
            false => Some(FLOOD),
        };
        let send = |to| {
            let actions = ActionList::from([
                Action::set(Field::Metadata, datapath_key),
                Action::set(REG_INPORT, port),
                Action::set(REG_OUTPORT, to),
                Action::resubmit(tables::OUTPUT_LARGE_DETECT),
            ]);
            Message::PacketOut(PacketOut::new(packet.packet.clone(), actions))
        };
        Ok(to.map(send))
    }

    /// Marks a row, unless there is none and is to be none: joining and leaving many groups must not pile up.
    fn changed(&mut self, core: &Core, datapath: Uuid, subject: Subject) {
        let key = (datapath, subject);
        let known = self.tables.get(&datapath);
        let gone = known.is_none_or(|table| table.ports(subject).0.is_empty());
        let written = || {
            let own = core.me().and_then(|me| me.chassis);
            own.is_some_and(|own| row_of(core, datapath, subject, own).is_some())
        };
        if gone && !self.under_way.contains(&key) && !written() {
            self.dirty.remove(&key);
        } else {
            self.dirty.insert(key);
        }
    }

    /// Does what is due; queries to send.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> Vec<Message> {
        self.configure(core, now);
        for (datapath, table) in &mut self.tables {
            let expired = table.expire(now);
            self.dirty
                .extend(expired.into_iter().map(|s| (*datapath, s)));
        }
        let doomed = &mut self.doomed;
        self.orphans.retain(|uuid, until| {
            let waits = *until > now;
            if !waits {
                doomed.insert(*uuid);
            }
            waits
        });
        self.queriers.tick(now)
    }

    /// When to come again.
    pub(super) fn due(&self) -> Option<Instant> {
        let tables = self.tables.values().filter_map(Table::due);
        let orphans = self.orphans.values().copied();
        tables.chain(orphans).chain(self.queriers.due()).min()
    }

    /// Rows that differ from what is known.
    pub(super) fn write(&mut self, core: &Core, txn: &mut Txn) {
        let Some(me) = core.me() else { return };
        let Some(own) = me.chassis else { return };
        self.doomed.retain(|uuid| {
            let row = core.inputs.sb.igmp_group.get(*uuid);
            let ours = row.is_some_and(|row| row.chassis == Some(own));
            if ours {
                txn.delete::<sb::IgmpGroup>(*uuid);
                txn.may_cut();
            }
            // Until it is seen to be gone.
            ours
        });
        let mut settled = Vec::new();
        for &(datapath, subject) in &self.dirty {
            if self.under_way.len() >= BATCH {
                break;
            }
            let known = self.tables.get(&datapath);
            let (keys, protocol) = known.map_or_else(Default::default, |t| t.ports(subject));
            let binding = |key: &u32| {
                let port = core
                    .inputs
                    .idx
                    .find(Index::PortByKey, (datapath, i64::from(*key)));
                port.first().copied()
            };
            let ports: Set<Uuid> = keys.iter().filter_map(binding).collect();
            let row = row_of(core, datapath, subject, own);
            let have = row.and_then(|row| core.inputs.sb.igmp_group.get(row));
            let new = sb::IgmpGroup {
                address: subject.text().into(),
                protocol: protocol.map(|p| p.to_string()).unwrap_or_default().into(),
                datapath: Some(datapath),
                chassis: Some(own),
                chassis_name: me.name.clone(),
                ports,
            };
            use sb::igmp_group as c;
            match (row, have) {
                (Some(row), _) if keys.is_empty() => {
                    txn.delete::<sb::IgmpGroup>(row);
                }
                (Some(row), Some(have)) if have.ports != new.ports => {
                    let told = if protocol.is_some() { c::PROTOCOL } else { 0 };
                    txn.update(row, &new, c::PORTS | told);
                }
                (None, _) if !new.ports.is_empty() => {
                    txn.insert(&new, c::ALL, Uuid::random());
                }
                _ => {
                    settled.push((datapath, subject));
                    continue;
                }
            }
            txn.may_cut();
            self.under_way.push((datapath, subject));
        }
        for key in settled.iter().chain(&self.under_way) {
            self.dirty.remove(key);
        }
    }

    /// How it went. What was not written is tried again.
    pub(super) fn written(&mut self, done: bool) {
        let under_way = std::mem::take(&mut self.under_way);
        if !done {
            self.dirty.extend(under_way);
        }
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).clamp(1, 3600))
}

/// The tunnel key of a multicast group that exists.
fn group_key(core: &Core, datapath: Uuid, name: &str) -> Option<u32> {
    let rows = core
        .inputs
        .idx
        .find(Index::MulticastByName, (datapath, name));
    let row = core.inputs.sb.multicast_group.get(*rows.first()?)?;
    port_key(row.tunnel_key)
}

#[cfg(test)]
mod tests;
