//! The seeds of the fuzz target `packet_in`, as they are and changed at random.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Seeds of which nothing comes at once: what is logged, what is written later, and answers to questions of other numbers.
const SILENT: [&str; 16] = [
    "bfd",
    "delegation_advertise",
    "delegation_renew",
    "delegation_solicit",
    "delegation_use_multicast",
    "event",
    "igmp_leave",
    "igmp_report_v1",
    "igmp_report_v2",
    "igmp_report_v3",
    "learn",
    "log",
    "mld_done",
    "mld_report_v1",
    "mld_report_v2",
    "vport",
];

/// So many changed copies are run.
const COPIES: usize = 4000;

/// By name.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/packet_in");
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = files.map(|file| {
        let name = file.file_name().into_string().unwrap();
        (name, std::fs::read(file.path()).unwrap())
    });
    named.collect()
}

/// A few bytes overwritten, taken out or put in, or another seed's packets behind.
fn change(rng: &mut SmallRng, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=input.len());
        match rng.random_range(0..6) {
            0 | 1 if at < input.len() => input[at] = rng.random(),
            2 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            3 => {
                let end = input.len().min(at + rng.random_range(0..20));
                input.drain(at..end);
            }
            4 => input.insert(at, *[0, 1, 0x7f, 0xff].choose(rng).unwrap()),
            _ => input.extend(others.choose(rng).unwrap()),
        }
    }
    input.truncate(4000);
}

#[test]
fn no_packet_panics_the_controller() {
    let world = harness::world();
    let named = seeds();
    let silent: Vec<&str> = named
        .iter()
        .filter(|(_, seed)| harness::run(&world, seed) == 0)
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(silent, SILENT, "of {} seeds", named.len());
    let seeds: Vec<Vec<u8>> = named.into_values().collect();
    let mut rng = SmallRng::seed_from_u64(weft_engine::testing::seed());
    for _ in 0..COPIES {
        let mut input = seeds.choose(&mut rng).unwrap().clone();
        change(&mut rng, &mut input, &seeds);
        harness::run(&world, &input);
    }
}
