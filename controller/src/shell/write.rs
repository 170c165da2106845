//! Transactions to both databases: what is wanted, less what the server refuses.

use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use weft_daemon::Exit;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::session::Session;
use weft_ovsdb::txn::{Txn, TxnError};

use super::report::Complaint;
use super::{Done, Shell, now_ms};
use crate::sync::aside::{Asides, Sent, Subject};
use crate::sync::vs::Look;
use crate::sync::{sb as sb_rows, vs as vs_rows};

/// How long to wait after a transaction that failed through nobody's fault.
const RETRY: Duration = Duration::from_millis(500);

/// A thing under way of which another must wait, and when the next attempt may be made after a failure.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) busy: bool,
    pub(super) dirty: bool,
    pub(super) not_before: Option<Instant>,
}

impl Gate {
    pub(super) fn open(&self, now: Instant) -> bool {
        self.dirty && !self.busy && self.not_before.is_none_or(|then| then <= now)
    }
}

/// What is written to one database.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) gate: Gate,
    asides: Asides,
    sent: Sent,
    /// The port bindings that the transaction under way is about.
    bindings: FxHashSet<Uuid>,
}

impl Writer {
    /// When there is something to do even if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let retry = self
            .gate
            .not_before
            .filter(|_| self.gate.dirty && !self.gate.busy);
        let aside = self.asides.due().filter(|_| !self.gate.busy);
        retry.into_iter().chain(aside).min()
    }

    /// The transaction is over. A failed one is made anew from what is there then, without what is refused.
    fn done(&mut self, what: &str, result: &Result<(), TxnError>) {
        let sent = std::mem::take(&mut self.sent);
        self.gate.busy = false;
        self.gate.not_before = None;
        let Err(why) = result else {
            self.gate.dirty |= sent.left_out();
            self.asides.accepted(&sent);
            return;
        };
        self.gate.dirty = true;
        let now = Instant::now();
        match why.refusal().filter(|_| !why.is_transient()) {
            Some(refusal) => {
                let reason = format!("{}: {}", refusal.name, refusal.details);
                match self.asides.refused(&sent, refusal.op, &reason, now) {
                    Some(subject) => {
                        tracing::debug!(target: "ovsdb", "{what} refuses {subject:?}: {reason}")
                    }
                    None => {
                        tracing::debug!(target: "ovsdb", "{what} refused a transaction: {reason}")
                    }
                }
            }
            None => {
                tracing::debug!(target: "ovsdb", "{what}: {why}");
                self.gate.not_before = Some(now + RETRY);
            }
        }
    }

    /// What the server refuses.
    pub(super) fn complaints(&self) -> impl Iterator<Item = Complaint> {
        self.asides.complaints().map(|(subject, reason)| {
            let (database, table, uuid, row) = subject.describe();
            let reason = format!("the server refuses it: {reason}");
            Complaint {
                database,
                table,
                uuid,
                row: row.to_string(),
                reason,
            }
        })
    }
}

impl Shell {
    fn sb_view(&self) -> sb_rows::View<'_> {
        sb_rows::View {
            sb: &self.core.inputs.sb,
            idx: &self.core.inputs.idx,
            installed: self.installed_number,
            nb_cfg: self.installed_nb_cfg.map(|(nb_cfg, _)| nb_cfg),
            now_ms: now_ms(),
        }
    }

    fn vs_view(&self) -> vs_rows::View<'_> {
        vs_rows::View {
            vs: &self.core.inputs.vs,
            idx: &self.core.inputs.idx,
            installed: self.installed_number,
            settled: self.settled,
            nb_cfg: self.installed_nb_cfg,
            started_ms: self.started_ms,
            now_ms: now_ms(),
        }
    }

    pub(super) fn start_sb(&mut self) {
        let now = Instant::now();
        for subject in self.sb_writer.asides.release(now) {
            if let Subject::Binding(port, _) = subject {
                self.claims.dirty.insert(port);
            }
            self.sb_writer.gate.dirty = true;
        }
        if !self.sb_writer.gate.open(now) || !self.sb_known {
            return;
        }
        let Some(handle) = self
            .sb
            .as_ref()
            .map(Session::handle)
            .filter(|handle| handle.status().connected)
        else {
            return;
        };
        self.sb_writer.gate.dirty = false;
        let Some(own) = self.own.clone() else { return };
        let mut draft = self.sb_writer.asides.draft();
        sb_rows::own_rows(&self.sb_view(), &own, &mut draft);
        let chassis = self.own_chassis().filter(|_| self.settled);
        if let Some(chassis) = chassis {
            sb_rows::bindings(&self.sb_view(), chassis, &self.claims, &mut draft);
        }
        let (txn, sent) = draft.end();
        self.sb_writer.asides.drafted(&sent);
        if chassis.is_some() {
            self.sb_writer.bindings = std::mem::take(&mut self.claims.dirty);
        }
        if txn.is_empty() {
            return;
        }
        self.sb_writer.gate.busy = true;
        self.sb_writer.sent = sent;
        let done = self.done_sender.clone();
        tokio::spawn(async move {
            let _ = done.send(Done::Sb(handle.transact(txn).await.map(drop)));
        });
    }

    pub(super) fn sb_done(&mut self, result: &Result<(), TxnError>) {
        let bindings = std::mem::take(&mut self.sb_writer.bindings);
        if result.is_err() || self.sb_writer.sent.left_out() {
            self.claims.dirty.extend(bindings);
        }
        self.sb_writer.done("southbound", result);
    }

    /// Something of the local database may not be as it must be.
    pub(super) fn look_at_vs(&mut self, look: Look) {
        if look != Look::default() {
            self.vs_look |= look;
            self.vs_writer.gate.dirty = true;
        }
    }

    pub(super) fn start_vs(&mut self) {
        let now = Instant::now();
        self.vs_writer.gate.dirty |= !self.vs_writer.asides.release(now).is_empty();
        if !self.vs_writer.gate.open(now) {
            return;
        }
        self.vs_writer.gate.dirty = false;
        let look = std::mem::take(&mut self.vs_look);
        // What was set aside is compared with all that is wanted.
        let look = match self.vs_writer.asides.is_idle() {
            true => look,
            false => Look::ALL,
        };
        let mut desired = std::mem::take(&mut self.desired);
        let mut draft = self.vs_writer.asides.draft();
        desired.write(look, &self.vs_view(), &self.claims, &mut draft);
        self.desired = desired;
        let (txn, sent) = draft.end();
        self.vs_writer.asides.drafted(&sent);
        if txn.is_empty() {
            return;
        }
        self.vs_writer.gate.busy = true;
        self.vs_writer.sent = sent;
        let (handle, done) = (self.vs.handle(), self.done_sender.clone());
        tokio::spawn(async move {
            let _ = done.send(Done::Vs(handle.transact(txn).await.map(drop)));
        });
    }

    pub(super) fn vs_done(&mut self, result: &Result<(), TxnError>) {
        if result.is_err() {
            self.vs_look = Look::ALL;
        }
        self.vs_writer.done("Open vSwitch database", result);
    }

    /// On `exit` our rows go, so that others stop sending here; on `exit --restart` and on signals all stays as it is.
    pub(super) async fn farewell(mut self, exit: Exit) {
        if exit.restart || exit.signal.is_some() {
            return;
        }
        if let (Some(session), Some(me)) = (&self.sb, self.core.me()) {
            let mut txn = Txn::new();
            sb_rows::farewell(&self.sb_view(), &me.name, &mut txn);
            if let Err(why) = session.handle().transact(txn).await {
                tracing::warn!(target: "ovsdb", "southbound: our rows stay behind: {why}");
            }
        }
        self.settled = true;
        let everything = Asides::default();
        let mut draft = everything.draft();
        self.desired.farewell(&self.vs_view(), &mut draft);
        let (txn, _) = draft.end();
        if !txn.is_empty()
            && let Err(why) = self.vs.handle().transact(txn).await
        {
            tracing::warn!(target: "ovsdb", "Open vSwitch database: our rows stay behind: {why}");
        }
    }
}
