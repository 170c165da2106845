//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Between two looks. Short beside what any daemon here needs, long beside what a look costs.
const POLL: Duration = Duration::from_millis(60);

/// Looks until `condition` is `Ok` and returns its value; after `deadline` panics with `what` and the last `Err`,
/// which says what was seen instead.
#[track_caller]
pub fn wait_for<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() >= deadline => {
                panic!(
                    "gave up after {:.1} s waiting for {what}; last seen:\n{seen}",
                    start.elapsed().as_secs_f64()
                )
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// `Ok` where `truth` holds, else what was `seen`: the usual last line of a condition.
pub fn ensure(truth: bool, seen: impl Into<String>) -> Result<(), String> {
    if truth { Ok(()) } else { Err(seen.into()) }
}
