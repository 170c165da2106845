//! `memory/show`: figures that parts of the daemon report about their size.

use dashmap::DashMap;
use std::sync::LazyLock;

type Reporter = Box<dyn Fn() -> u64 + Send + Sync>;

static REPORTERS: LazyLock<DashMap<&'static str, Reporter>> = LazyLock::new(DashMap::new);

/// Adds a figure (a count of rows, flows, units ...) to `memory/show`; replaces one of the same name.
pub fn report(name: &'static str, count: impl Fn() -> u64 + Send + Sync + 'static) {
    REPORTERS.insert(name, Box::new(count));
}

/// `NAME:COUNT ...`, sorted, zeros left out.
pub fn show() -> String {
    let mut all: Vec<_> = REPORTERS
        .iter()
        .map(|e| (*e.key(), (e.value())()))
        .collect();
    all.sort_unstable();
    let shown = all.into_iter().filter(|(_, count)| *count > 0);
    shown
        .map(|(name, count)| format!("{name}:{count}"))
        .collect::<Vec<_>>()
        .join(" ")
}
