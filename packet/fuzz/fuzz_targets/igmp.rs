//! Any bytes are read as IGMP or refused; what is read names groups only, and no more than the bytes have room for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_packet::membership::Message;
use weft_packet::{Frame, Ip, igmp};

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::parse(bytes) else { return };
    let Ok(ip) = Ip::parse(&frame) else { return };
    match igmp::parse(&ip) {
        Ok(Message::Query { group }) => assert!(group.is_multicast() || group.is_unspecified()),
        Ok(Message::Report { changes, .. }) => {
            assert!(changes.iter().all(|(group, _)| group.is_multicast()));
            assert!(changes.len() <= bytes.len() / 8);
        }
        Err(_) => {}
    }
});
