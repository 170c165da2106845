//! What the daemon tells of itself: shared between the main task, the control socket and gRPC.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use weft_daemon::Identity;
use weft_engine::{Delta, Registry};
use weft_ovsdb::session::{Connected, Handle};
use weft_proto::Hub;
use weft_proto::v1;

use super::State;
use crate::compiler::Compiler;
use crate::program::{Diagnostic, Northd};
use crate::sync::Sync;

/// Figures and lists, kept current by the main task.
pub struct Report {
    identity: Identity,
    began: Instant,
    nb: Handle,
    sb: Handle,
    inner: Mutex<Inner>,
    counts: DashMap<&'static str, u64>,
    hub: Hub,
}

struct Inner {
    state: State,
    stats: Registry,
    /// Complaints of the servers that are in the hub now.
    refused: BTreeSet<(&'static str, String, String)>,
}

fn from_unit(d: &Diagnostic) -> v1::Diagnostic {
    v1::Diagnostic {
        severity: v1::Severity::Error as i32,
        database: "OVN_Northbound".to_owned(),
        table: d.table.to_owned(),
        uuid: d.uuid.to_string(),
        row: d.name.clone(),
        column: d.column.to_owned(),
        reason: d.message.clone(),
        ..v1::Diagnostic::default()
    }
}

fn from_server((table, row, reason): &(&'static str, String, String)) -> v1::Diagnostic {
    v1::Diagnostic {
        severity: v1::Severity::Error as i32,
        database: "OVN_Southbound".to_owned(),
        table: (*table).to_owned(),
        row: row.clone(),
        reason: reason.clone(),
        ..v1::Diagnostic::default()
    }
}

impl Report {
    /// For a daemon that has just begun.
    pub fn new(identity: Identity, nb: Handle, sb: Handle, stats: Registry) -> Self {
        let inner = Inner {
            state: State::Standby,
            stats,
            refused: BTreeSet::new(),
        };
        Report {
            identity,
            began: Instant::now(),
            nb,
            sb,
            inner: Mutex::new(inner),
            counts: DashMap::new(),
            hub: Hub::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the daemon does at the moment.
    pub fn state(&self) -> State {
        self.inner().state
    }

    /// It does something else now.
    pub fn set_state(&self, state: State) {
        self.inner().state = state;
    }

    /// The engine began anew: its complaints too.
    pub fn set_stats(&self, stats: Registry) {
        self.inner().stats = stats;
        for diagnostic in self
            .hub
            .list()
            .iter()
            .filter(|d| d.database == "OVN_Northbound" && !d.table.is_empty())
        {
            while self.hub.remove(diagnostic) {}
        }
    }

    /// Sets runs and times to zero.
    pub fn clear_stats(&self) {
        self.inner().stats.clear();
    }

    /// Takes over the complaints of a compilation, and logs the new ones.
    pub fn compiled(&self, delta: &Delta<Northd>) {
        for (_, _, diagnostic) in &delta.diagnostics_removed {
            self.hub.remove(&from_unit(diagnostic));
        }
        for (_, _, diagnostic) in &delta.diagnostics_added {
            if self.hub.add(from_unit(diagnostic)) {
                tracing::warn!("{diagnostic}");
            }
        }
    }

    /// Takes note of what the server that a session has found lacks.
    pub fn connected(&self, server: &Connected) {
        let (schema, missing) = (&server.schema, &server.missing);
        if self.hub.lacks(&schema.name, &schema.version, missing) {
            let list = missing.join(", ");
            tracing::warn!(
                "{}: the server's schema {} lacks {list}",
                schema.name,
                schema.version
            );
        }
    }

    /// Takes over what the servers refuse at present.
    pub fn refused(&self, complaints: Vec<(&'static str, String, String)>) {
        let mut inner = self.inner();
        let now: BTreeSet<_> = complaints.into_iter().collect();
        for gone in inner.refused.difference(&now) {
            self.hub.remove(&from_server(gone));
        }
        for new in now.difference(&inner.refused) {
            tracing::warn!("{} {}: {}", new.0, new.1, new.2);
            self.hub.add(from_server(new));
        }
        inner.refused = now;
    }

    /// Sizes, for `memory/show` and gRPC.
    pub fn set_counts(&self, compiler: &Compiler, sync: &Sync) {
        let engine = compiler.engine();
        self.counts.insert("outputs", engine.output_count() as u64);
        self.counts.insert("facts", engine.fact_count() as u64);
        self.counts.insert("logical_flows", sync.flows.len() as u64);
        self.counts.insert("diagnostics", self.hub.len() as u64);
    }

    /// "connected" or not.
    pub fn nb_status(&self) -> &'static str {
        if self.nb.status().connected {
            "connected"
        } else {
            "not connected"
        }
    }

    /// "connected" or not.
    pub fn sb_status(&self) -> &'static str {
        if self.sb.status().connected {
            "connected"
        } else {
            "not connected"
        }
    }

    /// In the form of OVN's incremental engine: here every run is a computation of one unit, never of everything.
    pub fn engine_text(&self) -> String {
        let mut text = String::new();
        for (name, stats) in self.inner().stats.all() {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "Node: {name}\n- recompute: {:>12}\n- compute:   {:>12}\n- abort:     {:>12}\n- units:     {:>12}\n- quiet:     {:>12}\n- time (us): {:>12}\n",
                0,
                stats.runs,
                0,
                stats.units,
                stats.quiet,
                stats.time.as_micros()
            );
        }
        text
    }

    /// One line per complaint.
    pub fn diagnostics_text(&self) -> String {
        self.hub.text()
    }

    fn connection(role: &str, handle: &Handle) -> v1::Connection {
        let status = handle.status();
        v1::Connection {
            remote: status.remote.map(|r| r.to_string()).unwrap_or_default(),
            last_error: status.last_error.unwrap_or_default(),
            protocol: status.schema_version,
            ..weft_proto::connection(role, status.connected, status.since)
        }
    }
}

impl weft_proto::Source for Report {
    fn status(&self) -> v1::GetStatusResponse {
        let stats = self.inner().stats.all();
        v1::GetStatusResponse {
            program: self.identity.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: self.began.elapsed().as_millis() as u64,
            state: self.state().name().to_owned(),
            connections: vec![
                Self::connection("northbound", &self.nb),
                Self::connection("southbound", &self.sb),
            ],
            engine: stats
                .into_iter()
                .map(|(name, s)| v1::EngineKind {
                    name: name.to_owned(),
                    units: s.units,
                    runs: s.runs,
                    busy_us: s.time.as_micros() as u64,
                    quiet: s.quiet,
                })
                .collect(),
            counts: self
                .counts
                .iter()
                .map(|e| ((*e.key()).to_owned(), *e.value()))
                .collect(),
        }
    }

    fn diagnostics(&self) -> &Hub {
        &self.hub
    }
}
