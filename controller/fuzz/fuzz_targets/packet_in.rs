//! Any packets with any user data are answered or refused, by all that answers packets with all that it remembers.
#![no_main]

#[path = "../../tests/packets/harness.rs"]
mod harness;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORLD: harness::World = harness::world();
}

fuzz_target!(|input: &[u8]| {
    WORLD.with(|world| harness::run(world, input));
});
