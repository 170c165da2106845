//! Any bytes are read as a DHCPv6 message about prefixes, and what was read is written and read again, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_packet::delegation::Message;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = Message::parse(payload) else { return };
    assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
});
