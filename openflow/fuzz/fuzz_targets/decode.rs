//! Any bytes decode or are refused; what decodes encodes to what decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_openflow::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok((xid, message)) = Message::decode(bytes) else { return };
    let mut again = Vec::new();
    if message.encode(xid, &mut again).is_ok() {
        assert_eq!(Message::decode(&again), Ok((xid, message)));
    }
});
