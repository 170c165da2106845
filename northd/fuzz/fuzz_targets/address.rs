//! No text of an address column makes a parser panic.
#![no_main]

use weft_northd::address::{Addresses, parse_port_address, parse_prefixed};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = parse_prefixed(text);
    let _ = parse_port_address(text);
    let mut words = text.split(' ');
    let mac = words.next().unwrap_or_default();
    let _ = Addresses::of_router_port(mac, words);
});
