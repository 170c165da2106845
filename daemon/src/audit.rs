//! A daemon audits itself every so often: it computes everything anew beside the live state, on a thread of its own, and
//! compares.
//!
//! What differs is logged by row, counted (`coverage/show`: `audit_runs`, `audit_differences`), and for the daemon to repair.
//! `stopwatch/show audit` has the time it took.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::{coverage, stopwatch};

/// The setting that turns it on, in seconds: an option of `NB_Global` for northd, an `external_ids` of `Open_vSwitch` for the
/// controller.
pub const INTERVAL: &str = "weft-audit-interval";

/// So many differences are logged one by one.
const TOLD: usize = 20;

/// What differs, one text each, or why that cannot be told.
pub type Found = Result<Vec<String>, String>;

/// When, and the one under way.
#[derive(Default, Debug)]
pub struct SelfAudit {
    every: Option<Duration>,
    due: Option<Instant>,
    under_way: Option<(JoinHandle<Found>, Instant)>,
}

impl SelfAudit {
    /// Sets the interval to what the setting says; what is no number of seconds, and zero, turn it off.
    pub fn every(&mut self, setting: Option<&str>, now: Instant) {
        let seconds = setting.and_then(|text| text.parse().ok());
        let every = seconds.filter(|s| *s > 0).map(Duration::from_secs);
        if every != self.every {
            self.every = every;
            self.due = self.next(now);
        }
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.every?)
    }

    /// When to be asked again. One that is overdue waits for the daemon to be settled, which makes itself felt.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// It is time.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// Begins one. Must be called within a tokio runtime.
    pub fn begin<D: Debug, E: Display>(
        &mut self,
        work: impl FnOnce() -> Result<Vec<D>, E> + Send + 'static,
        now: Instant,
    ) {
        self.due = self.next(now);
        let texts = move || match work() {
            Ok(found) => Ok(found.iter().map(|d| format!("{d:?}")).collect()),
            Err(why) => Err(why.to_string()),
        };
        self.under_way = Some((tokio::task::spawn_blocking(texts), now));
    }

    /// Waits for the end of the one under way; for ever if there is none.
    pub async fn finished(&mut self) -> Option<Found> {
        let Some((task, _)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        task.await.ok()
    }

    /// Tells what was found. Returns whether something must be repaired.
    pub fn took(&mut self, found: Option<Found>) -> bool {
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
            tracing::error!("audit: {difference}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn audits_come_at_the_interval_and_one_at_a_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let nothing = || Ok::<_, String>(Vec::<&str>::new());
        let mut audit = SelfAudit::default();
        assert_eq!(audit.due(), None);
        audit.every(Some("2"), at(100));
        audit.every(Some("2"), at(1_500));
        assert_eq!(
            audit.due(),
            Some(at(2_100)),
            "saying it again changes nothing"
        );
        assert!(!audit.is_due(at(2_099)) && audit.is_due(at(2_100)));
        audit.begin(|| Ok::<_, String>(vec!["a flow"]), at(2_100));
        assert!(!audit.is_due(at(9_000)), "one is under way");
        let found = audit.finished().await;
        assert_eq!(found, Some(Ok(vec!["\"a flow\"".to_owned()])));
        assert!(audit.took(found), "there is something to repair");
        assert!(audit.is_due(at(4_100)));
        audit.begin(nothing, at(4_100));
        let found = audit.finished().await;
        assert!(!audit.took(found));
        for off in [Some("0"), Some("soon"), None] {
            audit.every(Some("1"), at(5_000));
            audit.every(off, at(5_000));
            assert_eq!(audit.due(), None, "{off:?}");
        }
    }
}
