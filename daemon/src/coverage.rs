//! Event counters, and `coverage/show` with their rates over 5 seconds, a minute and an hour.
//!
//! ```
//! weft_daemon::coverage_inc!("txn_success");
//! assert!(weft_daemon::coverage::read("txn_success").is_some_and(|n| n > 0));
//! ```

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

/// Samples are taken this often; the shortest rate is over one such interval.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
const SAMPLES_PER_MINUTE: usize = 12;
const SAMPLES_PER_HOUR: usize = 720;

/// A counter of events.
#[derive(Debug, Default)]
pub struct Counter {
    total: AtomicU64,
    /// Totals at the past samples, newest first; at most an hour of them.
    history: Mutex<VecDeque<u64>>,
}

static COUNTERS: LazyLock<DashMap<&'static str, Arc<Counter>>> = LazyLock::new(DashMap::new);

impl Counter {
    /// Counts one event.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n` events.
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    /// Events so far.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn sample(&self) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push_front(self.total());
        history.truncate(SAMPLES_PER_HOUR + 1);
    }

    /// Events per second in the last `samples` intervals that have ended.
    fn rate(&self, samples: usize) -> f64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = history.front().copied().unwrap_or(0);
        let oldest = history.get(samples).copied().unwrap_or(0);
        (newest - oldest) as f64 / (samples as f64 * SAMPLE_INTERVAL.as_secs_f64())
    }
}

/// The counter of that name, made at first use. Keep it: the look-up costs more than the counting.
pub fn counter(name: &'static str) -> Arc<Counter> {
    COUNTERS.entry(name).or_default().clone()
}

/// Total of a counter; `None` if there is none of that name.
pub fn read(name: &str) -> Option<u64> {
    COUNTERS.get(name).map(|counter| counter.total())
}

/// Counts an event under a literal name, looking the counter up only once.
#[macro_export]
macro_rules! coverage_inc {
    ($name:literal) => {
        $crate::coverage_inc!($name, 1)
    };
    ($name:literal, $n:expr) => {{
        static COUNTER: std::sync::LazyLock<std::sync::Arc<$crate::coverage::Counter>> =
            std::sync::LazyLock::new(|| $crate::coverage::counter($name));
        COUNTER.add($n);
    }};
}

/// The text of `coverage/show`.
pub fn show() -> String {
    let mut counters: Vec<_> = COUNTERS
        .iter()
        .map(|entry| (*entry.key(), entry.value().clone()))
        .collect();
    counters.sort_unstable_by_key(|(name, _)| *name);
    let (hit, never): (Vec<_>, Vec<_>) = counters.iter().partition(|(_, c)| c.total() > 0);
    // Open vSwitch prints a hash of the counters that were hit, so that logs can be compared.
    let hash = hit.iter().fold(0x811c_9dc5_u32, |hash, (name, _)| {
        name.bytes()
            .fold(hash, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
    });
    let mut out = format!(
        "Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash={hash:08x}:\n"
    );
    for (name, counter) in hit {
        let _ = writeln!(
            out,
            "{name:<24} {:>7.1}/sec {:>9.3}/sec {:>13.4}/sec   total: {}",
            counter.rate(1),
            counter.rate(SAMPLES_PER_MINUTE),
            counter.rate(SAMPLES_PER_HOUR),
            counter.total(),
        );
    }
    let _ = writeln!(out, "{} events never hit", never.len());
    out
}

/// Samples all counters for their rates, for ever.
pub(crate) async fn sample_forever() {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    loop {
        ticks.tick().await;
        COUNTERS.iter().for_each(|entry| entry.value().sample());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shows() {
        for _ in 0..3 {
            crate::coverage_inc!("coverage_test_event");
        }
        crate::coverage_inc!("coverage_test_event", 7);
        assert_eq!(read("coverage_test_event"), Some(10));
        assert_eq!(read("no_such"), None);
        let counter = counter("coverage_test_event");
        counter.sample();
        let line = show();
        let line = line
            .lines()
            .find(|l| l.starts_with("coverage_test_event"))
            .unwrap();
        assert_eq!(
            line,
            "coverage_test_event          2.0/sec     0.167/sec        0.0028/sec   total: 10"
        );
    }
}
