//! Any bytes are read as a DHCPv4 message, answered and relayed, or refused; an answer is no longer than what went into it.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use weft_packet::dhcp4::{self, Kind, Request};

fuzz_target!(|payload: &[u8]| {
    let (relay, server) = (Ipv4Addr::new(10, 0, 0, 254), Ipv4Addr::new(10, 0, 0, 5));
    if let Ok((_, to)) = dhcp4::delivery(payload, relay, server) {
        assert!(!to.is_unspecified());
    }
    let Ok(request) = Request::parse(payload) else { return };
    let mut answer = request.answer(Kind::Ack, relay, Some(server));
    let options: Vec<(u8, &[u8])> = dhcp4::options(&payload[240..]).collect();
    options.iter().for_each(|(code, value)| answer.option(*code, value));
    let answer = answer.finish();
    assert!(Request::parse(&answer).is_err(), "an answer is no question");
    let mut read = dhcp4::options(&answer[240..]);
    assert_eq!(read.next(), Some((53, &[5][..])));
    assert!(read.eq(options), "options read back");
    if let Ok(relayed) = dhcp4::relayed(payload, relay) {
        assert_eq!(relayed.len(), payload.len());
        assert!(dhcp4::relayed(&relayed, relay).is_err(), "relayed once");
    }
});
