//! Counters per kind, readable by any task while the engine works.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

/// What units of one kind have cost since the start.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct KindStats {
    /// Units that exist.
    pub units: u64,
    /// Units that have run.
    pub runs: u64,
    /// Runs whose published value was equal to the former one, so that no reader woke.
    pub quiet: u64,
    /// Time in units of this kind, summed over threads.
    pub time: Duration,
}

/// Statistics shared with whoever answers questions about them; clones are handles of one registry.
#[derive(Clone, Default, Debug)]
pub struct Registry(Arc<DashMap<&'static str, KindStats>>);

impl Registry {
    /// The counters of a kind.
    pub fn get(&self, kind: &str) -> Option<KindStats> {
        self.0.get(kind).map(|s| *s)
    }

    /// All kinds, by name.
    pub fn all(&self) -> Vec<(&'static str, KindStats)> {
        let mut all: Vec<_> = self.0.iter().map(|e| (*e.key(), *e.value())).collect();
        all.sort_unstable_by_key(|e| e.0);
        all
    }

    /// Sets runs and times to zero (units are kept: they are a level, not a count of events).
    pub fn clear(&self) {
        for mut e in self.0.iter_mut() {
            *e.value_mut() = KindStats {
                units: e.units,
                ..KindStats::default()
            };
        }
    }

    pub(crate) fn add(&self, kind: &'static str, units: i64, more: KindStats) {
        let mut e = self.0.entry(kind).or_default();
        e.units = e.units.saturating_add_signed(units);
        e.runs += more.runs;
        e.quiet += more.quiet;
        e.time += more.time;
    }
}
