//! Matches and actions read and written: `cargo bench -p weft-lang`.
#![allow(missing_docs)]

use weft_lang::{Actions, parse_actions, parse_match};

fn main() {
    divan::main();
}

const MATCHES: [&str; 3] = [
    r#"inport == "pod-17-3""#,
    "reg8[30..31] == 1 && ct.new && ip4 && reg0 == 10.96.0.1 && tcp.dst == 443",
    "outport == @pg_ns0 && ip4.src == $as_ns0 && tcp.dst == {80, 443, 8080}",
];
const ACTIONS: &str = "eth.dst = eth.src; eth.src = 0a:00:00:00:00:01; arp.op = 2; arp.tha = arp.sha; \
     arp.sha = 0a:00:00:00:00:01; arp.tpa <-> arp.spa; outport = inport; flags.loopback = 1; output;";

#[divan::bench(args = MATCHES)]
fn read_match(bencher: divan::Bencher<'_, '_>, text: &str) {
    bencher.bench(|| parse_match(text));
}

#[divan::bench(args = MATCHES)]
fn write_match(bencher: divan::Bencher<'_, '_>, text: &str) {
    let expr = parse_match(text).expect("it is a match");
    bencher.bench(|| expr.to_string());
}

#[divan::bench]
fn read_actions(bencher: divan::Bencher<'_, '_>) {
    bencher.bench(|| parse_actions(ACTIONS));
}

#[divan::bench]
fn write_actions(bencher: divan::Bencher<'_, '_>) {
    let actions = parse_actions(ACTIONS).expect("they are actions");
    bencher.bench(|| Actions(&actions).to_string());
}
