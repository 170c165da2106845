//! What property tests of the programs built on the engine share.

use std::hash::{BuildHasher, RandomState};

/// The seed of a test with random edits: `WEFT_SEED`, or one that nobody chose, which is printed for whoever has to find out why
/// the test failed. Where `CI` is set it is always the same: a run there judges the change, not the day.
pub fn seed() -> u64 {
    let given = std::env::var("WEFT_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = match given {
        Some(seed) => seed,
        None if std::env::var_os("CI").is_some() => 100,
        None => RandomState::new().hash_one(()),
    };
    eprintln!("seed {seed}");
    seed
}
