//! The daemon audits itself every so often: it compiles everything anew beside the live state, on one thread of its own,
//! and compares.
//!
//! Configured by `NB_Global.options:weft-audit-interval`, in seconds; off by default. What differs is logged by row,
//! counted (`coverage/show`: `audit_runs`, `audit_differences`) and repaired.

use std::time::Instant;

use tokio::task::JoinHandle;
use weft_daemon::{coverage, stopwatch};
use weft_engine::{Difference, GraphError};

use crate::compiler::Compiler;
use crate::program::Northd;

/// The option that turns it on.
pub(super) const INTERVAL: &str = "weft-audit-interval";

/// So many differences are logged one by one.
const TOLD: usize = 20;

type Found = Result<Vec<Difference<Northd>>, GraphError>;

/// When, and the one under way.
#[derive(Default)]
pub(super) struct SelfAudit {
    every_ms: Option<i64>,
    due_ms: Option<i64>,
    under_way: Option<(JoinHandle<Found>, Instant)>,
}

impl SelfAudit {
    /// Sets the interval in seconds; none or zero turns it off.
    pub(super) fn every(&mut self, seconds: Option<i64>, now_ms: i64) {
        let every_ms = seconds.filter(|s| *s > 0).map(|s| s.saturating_mul(1000));
        if every_ms != self.every_ms {
            self.every_ms = every_ms;
            self.due_ms = every_ms.map(|every| now_ms.saturating_add(every));
        }
    }

    /// When to be asked again.
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.due_ms.filter(|_| self.under_way.is_none())
    }

    /// It is time.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.due_ms().is_some_and(|due| due <= now_ms)
    }

    /// Begins one.
    pub(super) fn begin(&mut self, compiler: &Compiler, now_ms: i64) {
        self.due_ms = self.every_ms.map(|every| now_ms.saturating_add(every));
        let work = compiler.audit_aside();
        self.under_way = Some((tokio::task::spawn_blocking(work), Instant::now()));
    }

    /// Waits for the end of the one under way; for ever if there is none.
    pub(super) async fn finished(&mut self) -> Option<Found> {
        let Some((task, _)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        task.await.ok()
    }

    /// Tells what was found. Returns whether something must be repaired.
    pub(super) fn took(&mut self, found: Option<Found>) -> bool {
        if let Some((_, began)) = self.under_way.take() {
            stopwatch::stopwatch("audit").record(began.elapsed());
        }
        coverage::counter("audit_runs").inc();
        let differences = match found {
            Some(Ok(differences)) => differences,
            Some(Err(error)) => {
                tracing::error!("audit: {error}");
                return false;
            }
            None => return false,
        };
        coverage::counter("audit_differences").add(differences.len() as u64);
        for difference in differences.iter().take(TOLD) {
            tracing::error!("audit: {difference:?}");
        }
        if differences.is_empty() {
            tracing::debug!("audit: nothing differs");
        } else {
            let count = differences.len();
            tracing::error!(
                "audit: {count} differences between steps and a fresh start, repairing"
            );
        }
        !differences.is_empty()
    }
}
