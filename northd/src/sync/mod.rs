//! From what the compiler wants to transactions: only differences to what the databases hold.
//!
//! Pure: builds transactions and takes their results; sending them is the daemon's. One transaction per database is
//! under way at a time, built from the state at that moment; a refused one is built anew from the state then. What the
//! server names as the reason is set aside with a diagnostic and tried again later, so that the rest goes on.

pub mod ageing;
pub mod cfg;
pub mod flows;
pub mod north;
pub mod rbac;
pub mod rows;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use weft_engine::Delta;
use weft_ovsdb::model::{EXISTENCE, Uuid};
use weft_ovsdb::txn::{Txn, TxnError};
use weft_schemas::{nb, sb};

use crate::output::{LogicalFlow, Output};
use crate::program::Northd;
use flows::Flows;
use north::North;
use rows::{RowKey, Rows};

/// How many flows, and how many rows, one transaction changes at most.
const BATCH: usize = 5_000;
/// First and longest time for which something is set aside.
const ASIDE_MS: (i64, i64) = (1_000, 60_000);

/// What an operation of a transaction is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A row other than a flow.
    Row(RowKey),
    /// A logical flow.
    Flow(Arc<LogicalFlow>),
}

impl Subject {
    /// Table and name, for messages.
    pub fn describe(&self) -> (&'static str, String) {
        match self {
            Subject::Row(key) => key.describe(),
            Subject::Flow(flow) => {
                let text = format!(
                    "{} {} {} -> {}",
                    flow.stage.info().name,
                    flow.priority,
                    flow.match_,
                    flow.actions
                );
                ("Logical_Flow", text)
            }
        }
    }
}

/// Something the server refused.
#[derive(Clone, Debug)]
pub struct Aside {
    /// How often in a row.
    strikes: u32,
    /// Not before this time (milliseconds of a steady clock).
    until_ms: i64,
    /// The time has come: it is being tried again.
    tried: bool,
    /// In the server's words.
    pub reason: String,
}

/// A transaction under way.
#[derive(Debug)]
struct UnderWay {
    written: Vec<(usize, Subject)>,
    /// The southbound is complete up to this number once it is committed.
    nb_cfg: Option<i64>,
}

/// Both databases as wanted, compared with their replicas.
#[derive(Default, Debug)]
pub struct Sync {
    /// Southbound rows.
    pub rows: Rows,
    /// Logical flows.
    pub flows: Flows,
    /// Northbound columns.
    pub north: North,
    /// Rows that go by their age.
    ageing: ageing::Ageing,
    /// What the steady clock has on the wall clock.
    clock_offset_ms: i64,
    aside: FxHashMap<Subject, Aside>,
    under_way: Option<UnderWay>,
    /// Smaller than [`BATCH`] while it is being found out which row the server refuses.
    limit: Option<usize>,
    /// Nothing is sent before this time.
    pause_until_ms: i64,
    /// The number that the present state of the compiler stands for.
    nb_cfg: Option<i64>,
    north_under_way: Vec<(usize, Uuid)>,
    north_aside: FxHashMap<Uuid, Aside>,
}

impl Sync {
    /// Takes over what the compiler yields. `nb_cfg` is the number it stands for.
    pub fn apply(&mut self, delta: &Delta<Northd>, nb_cfg: i64) {
        let flow = |output: &&Output| matches!(output, Output::Flow { .. });
        self.flows.expect(delta.added.iter().filter(flow).count());
        for output in &delta.removed {
            self.output(output, false);
        }
        for output in &delta.added {
            self.output(output, true);
        }
        for (nb, there) in std::mem::take(&mut self.rows.datapaths_changed) {
            self.flows.datapath_changed(nb, there);
        }
        self.set_nb_cfg(nb_cfg);
    }

    /// What the compiler yielded last stands for this number too: nothing of what came with it concerned it.
    pub fn set_nb_cfg(&mut self, nb_cfg: i64) {
        self.nb_cfg = Some(nb_cfg);
    }

    fn output(&mut self, output: &Output, present: bool) {
        match output {
            Output::Flow { flow, dps, origin } if present => {
                self.flows.add(flow.clone(), dps.clone(), *origin)
            }
            Output::Flow { flow, dps, origin } => self.flows.remove(flow, dps, *origin),
            Output::Member(set, datapath) => {
                self.flows.member(*set, *datapath, present);
                self.rows.output(output, present);
            }
            Output::LspUp(..)
            | Output::LspDynamic(..)
            | Output::LspTag(..)
            | Output::BfdStatus(..)
            | Output::PortCheckStatus(..)
            | Output::ActiveFunction(..)
            | Output::LrpPrefixes(..)
            | Output::NbOption(..) => {
                self.north.output(output, present);
            }
            Output::Expires { table, row, .. } => {
                self.ageing.output(output, present);
                self.rows.refreshed(*table, *row);
            }
            Output::RemovalLimit(..) => self.ageing.output(output, present),
            _ => self.rows.output(output, present),
        }
    }

    /// Sorts southbound updates: logical flows are taken here, the rest is for the replica.
    pub fn take_flows(&mut self, updates: Vec<sb::Update>, snapshot: bool) -> Vec<sb::Update> {
        if snapshot {
            self.flows.forget();
        }
        let mut rest = Vec::new();
        for update in updates {
            match update {
                sb::Update::LogicalFlow(update) => self.flows.update(&update),
                other => rest.push(other),
            }
        }
        rest
    }

    /// Follows changes of the southbound replica, which `db` already shows.
    pub fn sb_changed(&mut self, db: &sb::Db, changes: &[sb::Change], snapshot: bool) {
        let (datapaths, others): (Vec<_>, Vec<_>) = changes
            .iter()
            .partition(|c| matches!(c, sb::Change::DatapathBinding(_)));
        for change in datapaths {
            self.rows.sb_changed(change);
            if let sb::Change::DatapathBinding(c) = change
                && c.columns & EXISTENCE != 0
                && let Some(nb) = c
                    .new
                    .as_ref()
                    .and_then(|row| crate::restore::nb_of_datapath(row))
            {
                self.flows.datapath_changed(nb, true);
            }
        }
        for change in others {
            self.rows.sb_changed(change);
            if let sb::Change::LogicalDpGroup(c) = change {
                self.flows.group_changed(
                    c.uuid,
                    c.new.as_ref().map(|row| &row.datapaths),
                    &self.rows,
                );
            }
        }
        if snapshot {
            for (row, group) in db.logical_dp_group.iter() {
                self.flows
                    .group_changed(row, Some(&group.datapaths), &self.rows);
            }
            self.rows.all_dirty();
        }
    }

    /// Follows changes of the northbound.
    pub fn nb_changed(&mut self, changes: &[nb::Change]) {
        changes
            .iter()
            .for_each(|change| self.north.nb_changed(change));
    }

    /// Nothing is wanted any more: for a daemon that becomes active after another one was.
    pub fn restart(&mut self) {
        self.rows.restart();
        self.flows.restart();
        let cfg = std::mem::take(&mut self.north).cfg;
        self.north.cfg = cfg;
        self.ageing = ageing::Ageing::default();
        self.aside.clear();
        self.nb_cfg = None;
    }

    /// Both databases are as the compiler wants them, but for what is set aside.
    pub fn is_settled(&self) -> bool {
        self.under_way.is_none()
            && self.flows.is_settled()
            && self.rows.is_settled()
            && self.north.is_settled()
    }

    /// The next southbound transaction, if there is anything to write. `None` while one is under way.
    pub fn southbound(&mut self, db: &sb::Db, now_ms: i64, wall_ms: i64) -> Option<Txn> {
        if self.under_way.is_some() || now_ms < self.pause_until_ms {
            return None;
        }
        self.release_aside(now_ms);
        self.clock_offset_ms = now_ms - wall_ms;
        for (table, row) in self.ageing.expired(wall_ms) {
            self.rows.expired(table, row);
        }
        loop {
            let max = self.limit.unwrap_or(BATCH);
            let (mut txn, mut written) = (Txn::new(), Vec::new());
            let aside = &self.aside;
            let set_aside =
                |subject: &Subject| aside.get(subject).is_some_and(|aside| !aside.tried);
            let plan = self.flows.plan(&mut txn, &self.rows, max, &set_aside);
            let max_rows = match self.limit {
                None if db.datapath_binding.is_empty() => usize::MAX,
                _ => max,
            };
            let flows_gone = self.flows.is_settled();
            self.rows
                .flush(&mut txn, db, flows_gone, max_rows, &mut written);
            self.flows.write(plan, &mut txn, &self.rows, &mut written);
            let complete = self.flows.is_settled() && self.rows.is_settled();
            let nb_cfg = self.nb_cfg.filter(|_| complete);
            if let Some(nb_cfg) = nb_cfg {
                self.rows.write_nb_cfg(&mut txn, db, nb_cfg);
            }
            if !txn.is_empty() {
                self.under_way = Some(UnderWay { written, nb_cfg });
                return Some(txn);
            }
            self.flows.committed();
            if let Some(nb_cfg) = nb_cfg {
                self.complete_to(nb_cfg, wall_ms);
            }
            if complete {
                return None;
            }
        }
    }

    /// The southbound transaction under way has ended. Returns whether the connection must be made anew with a whole
    /// snapshot, because it is not known what was executed.
    pub fn southbound_done(
        &mut self,
        result: Result<(), &TxnError>,
        now_ms: i64,
        wall_ms: i64,
    ) -> bool {
        let Some(UnderWay { written, nb_cfg }) = self.under_way.take() else {
            return false;
        };
        let error = match result {
            Ok(()) => {
                self.flows.committed();
                self.accepted(&written);
                self.limit = self
                    .limit
                    .map(|limit| limit * 4)
                    .filter(|limit| *limit < BATCH);
                if let Some(nb_cfg) = nb_cfg {
                    self.complete_to(nb_cfg, wall_ms);
                }
                return false;
            }
            Err(error) => error,
        };
        let (committed, lost) = match error {
            TxnError::Refused { committed, gap, .. } => (*committed, *gap),
            TxnError::Lost { committed, .. } => (*committed, true),
            TxnError::NotConnected | TxnError::Ended => (0, false),
        };
        self.flows.refused(committed);
        for (_, subject) in written.iter().filter(|(op, _)| *op >= committed) {
            match subject {
                Subject::Row(key) => self.rows.touch(key.clone()),
                Subject::Flow(flow) => self.flows.touch(flow),
            }
        }
        match error.refusal() {
            Some(refusal) if !error.is_transient() => {
                let named = refusal
                    .op
                    .and_then(|op| written.iter().find(|(o, _)| *o == op))
                    .map(|(_, s)| s.clone());
                let reason = format!("{}: {}", refusal.name, refusal.details);
                self.refused(named, &written, reason, now_ms);
            }
            _ => self.pause_until_ms = now_ms + ASIDE_MS.0,
        }
        lost
    }

    fn complete_to(&mut self, nb_cfg: i64, wall_ms: i64) {
        if self.north.cfg.southbound_has(nb_cfg, wall_ms) {
            self.north.touch_global();
        }
    }

    fn refused(
        &mut self,
        named: Option<Subject>,
        written: &[(usize, Subject)],
        reason: String,
        now_ms: i64,
    ) {
        let mut subjects: Vec<&Subject> = written.iter().map(|(_, s)| s).collect();
        subjects.dedup();
        let culprit = match (named, &subjects[..]) {
            (Some(named), _) => Some(named),
            (None, [only]) => Some((*only).clone()),
            _ => None,
        };
        let Some(culprit) = culprit else {
            // Half as much next time, until the row at fault is alone.
            self.limit = Some((subjects.len() / 2).max(1));
            return;
        };
        let strikes = self
            .aside
            .get(&culprit)
            .map_or(1, |aside| aside.strikes + 1);
        // Once may be an accident: somebody else wrote at the same time.
        let wait = if strikes == 1 {
            0
        } else {
            (ASIDE_MS.0 << (strikes - 2).min(16)).min(ASIDE_MS.1)
        };
        tracing::debug!(row = ?culprit.describe(), strikes, "the southbound refuses a row: {reason}");
        if let Subject::Row(key) = &culprit
            && strikes > 1
        {
            self.rows.blocked.insert(key.clone());
        }
        self.aside.insert(
            culprit,
            Aside {
                strikes,
                until_ms: now_ms + wait,
                tried: false,
                reason,
            },
        );
    }

    /// Lets what was set aside have another try when its time has come.
    fn release_aside(&mut self, now_ms: i64) {
        let Sync {
            aside, rows, flows, ..
        } = self;
        aside.retain(|subject, _| match subject {
            Subject::Row(key) => rows.is_wanted(key) || matches!(key, RowKey::Stale(..)),
            Subject::Flow(flow) => flows.is_wanted(flow),
        });
        let mut due: Vec<Subject> = Vec::new();
        for (subject, aside) in aside
            .iter_mut()
            .filter(|(_, aside)| !aside.tried && aside.until_ms <= now_ms)
        {
            aside.tried = true;
            due.push(subject.clone());
        }
        for subject in due {
            match &subject {
                Subject::Row(key) => {
                    self.rows.blocked.remove(key);
                    self.rows.touch(key.clone());
                }
                Subject::Flow(flow) => self.flows.touch(flow),
            }
        }
    }

    /// What was set aside and is now in: whoever refers to it may do so.
    fn accepted(&mut self, written: &[(usize, Subject)]) {
        if self.aside.is_empty() {
            return;
        }
        for (_, subject) in written {
            let blocked = self
                .aside
                .remove(subject)
                .is_some_and(|aside| aside.strikes > 1);
            if blocked && matches!(subject, Subject::Row(_)) {
                self.rows.all_dirty();
                self.flows.all_dirty();
            }
        }
    }

    /// When [`Sync::southbound`] should be asked again even if nothing happens, in milliseconds of the steady clock.
    pub fn wake_at_ms(&self) -> Option<i64> {
        let aside = self.aside.values().chain(self.north_aside.values());
        let aside = aside
            .filter(|aside| !aside.tried)
            .map(|aside| aside.until_ms);
        // While a transaction is under way its answer wakes.
        let ageing = self
            .ageing
            .wake_at_ms()
            .filter(|_| self.under_way.is_none());
        let ageing = ageing.map(|at| {
            at.saturating_add(self.clock_offset_ms)
                .max(self.pause_until_ms)
        });
        aside
            .chain(ageing)
            .chain((self.pause_until_ms > 0 && !self.is_settled()).then_some(self.pause_until_ms))
            .min()
    }

    /// What the servers refuse: table, name, reason.
    pub fn complaints(&self) -> Vec<(&'static str, String, String)> {
        let refused = self
            .aside
            .iter()
            .filter(|(_, aside)| aside.strikes > 1)
            .map(|(subject, aside)| {
                let (table, name) = subject.describe();
                (
                    table,
                    name,
                    format!("the southbound refuses it: {}", aside.reason),
                )
            });
        let contested = self.rows.contested().map(|key| {
            let reason = match key {
                RowKey::HaGroup(_) => {
                    "a group and a router port with gateway chassis have this name, with different members: only one of \
                     them is in effect"
                }
                _ => "a switch port and a router port have this name: only one of them is bound",
            };
            let (table, name) = key.describe();
            (table, name, reason.to_owned())
        });
        refused.chain(contested).collect()
    }

    /// The next northbound transaction, if there is anything to write. `None` while one is under way.
    pub fn northbound(&mut self, db: &nb::Db, now_ms: i64) -> Option<Txn> {
        if !self.north_under_way.is_empty() {
            return None;
        }
        let due: Vec<Uuid> = self
            .north_aside
            .iter()
            .filter(|(_, a)| a.until_ms <= now_ms)
            .map(|(row, _)| *row)
            .collect();
        for row in due {
            self.north_aside.remove(&row);
            self.north.touch(row);
            self.north.touch_global();
        }
        let mut txn = Txn::new();
        let aside = &self.north_aside;
        self.north
            .flush(&mut txn, db, &|row| aside.contains_key(&row));
        if txn.is_empty() {
            return None;
        }
        let rows = (0..txn.len()).filter_map(|op| Some((op, txn.subject(op)?.1?)));
        self.north_under_way = rows.collect();
        Some(txn)
    }

    /// The northbound transaction under way has ended.
    pub fn northbound_done(&mut self, result: Result<(), &TxnError>, now_ms: i64) {
        let rows = std::mem::take(&mut self.north_under_way);
        let Err(error) = result else { return };
        tracing::warn!("cannot write to the northbound: {error}");
        let named = error
            .refusal()
            .filter(|_| !error.is_transient())
            .and_then(|refusal| refusal.row);
        // Without a name nothing is known better than to wait a little with all of them.
        for (_, row) in rows {
            if named.is_none_or(|named| named == row) {
                let aside = Aside {
                    strikes: 1,
                    until_ms: now_ms + ASIDE_MS.0,
                    tried: false,
                    reason: error.to_string(),
                };
                self.north_aside.insert(row, aside);
            } else {
                self.north.touch(row);
            }
        }
    }
}
