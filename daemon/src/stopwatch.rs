//! How long things take, and `stopwatch/show`.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;

/// The percentile is taken over this many last samples.
const WINDOW: usize = 1024;
/// Weights of a new sample in the two averages.
const SHORT_TERM: f64 = 0.5;
const LONG_TERM: f64 = 0.01;

/// Durations of one kind of work.
#[derive(Debug, Default)]
pub struct Stopwatch {
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    count: u64,
    max: f64,
    min: f64,
    short_term: f64,
    long_term: f64,
    /// Milliseconds, a ring of the last [`WINDOW`].
    window: Vec<f64>,
}

static STOPWATCHES: LazyLock<DashMap<&'static str, Arc<Stopwatch>>> = LazyLock::new(DashMap::new);

/// The stopwatch of that name, made at first use.
pub fn stopwatch(name: &'static str) -> Arc<Stopwatch> {
    STOPWATCHES.entry(name).or_default().clone()
}

impl Stopwatch {
    /// Runs `work` and records how long it took.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.record(start.elapsed());
        result
    }

    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        let millis = duration.as_secs_f64() * 1e3;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let s = &mut *samples;
        if s.count == 0 {
            (s.min, s.short_term, s.long_term) = (millis, millis, millis);
        }
        s.max = s.max.max(millis);
        s.min = s.min.min(millis);
        s.short_term += SHORT_TERM * (millis - s.short_term);
        s.long_term += LONG_TERM * (millis - s.long_term);
        if s.window.len() < WINDOW {
            s.window.push(millis);
        } else {
            s.window[s.count as usize % WINDOW] = millis;
        }
        s.count += 1;
    }

    fn describe(&self, name: &str, out: &mut String) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted = samples.window.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let p95 = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(0.0);
        let _ = writeln!(
            out,
            "Statistics for '{name}'\n  Total samples: {}\n  Maximum: {:.0} msec\n  \
             Minimum: {:.0} msec\n  95th percentile: {p95:.6} msec\n  \
             Short term average: {:.6} msec\n  Long term average: {:.6} msec",
            samples.count, samples.max, samples.min, samples.short_term, samples.long_term,
        );
    }
}

/// No stopwatch of the name asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("No such stopwatch")]
pub struct NoSuchStopwatch;

/// The stopwatch of that name, or all, sorted.
fn named(name: Option<&str>) -> Result<Vec<(&'static str, Arc<Stopwatch>)>, NoSuchStopwatch> {
    let mut all: Vec<_> = STOPWATCHES
        .iter()
        .filter(|entry| name.is_none_or(|name| name == *entry.key()))
        .map(|entry| (*entry.key(), entry.value().clone()))
        .collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    if all.is_empty() && name.is_some() {
        Err(NoSuchStopwatch)
    } else {
        Ok(all)
    }
}

/// The text of `stopwatch/show [NAME]`.
pub fn show(name: Option<&str>) -> Result<String, NoSuchStopwatch> {
    let mut out = String::new();
    named(name)?
        .iter()
        .for_each(|(name, stopwatch)| stopwatch.describe(name, &mut out));
    Ok(out)
}

/// `stopwatch/reset [NAME]`.
pub fn reset(name: Option<&str>) -> Result<(), NoSuchStopwatch> {
    for (_, stopwatch) in named(name)? {
        *stopwatch
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Samples::default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_resets() {
        let watch = stopwatch("stopwatch-test");
        (1..=100).for_each(|n| watch.record(Duration::from_millis(n)));
        let text = show(Some("stopwatch-test")).unwrap();
        assert!(
            text.contains("Total samples: 100\n  Maximum: 100 msec\n  Minimum: 1 msec\n"),
            "{text}"
        );
        assert!(text.contains("95th percentile: 96.000000 msec"), "{text}");
        reset(Some("stopwatch-test")).unwrap();
        assert!(show(None).unwrap().contains("Total samples: 0"));
        assert_eq!(show(Some("none")), Err(NoSuchStopwatch));
    }
}
