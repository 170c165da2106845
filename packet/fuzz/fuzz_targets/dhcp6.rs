//! Any bytes are read as a DHCPv6 message and answered, or refused; what is written reads back.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use weft_packet::dhcp6::{self, Kind, Request, option};

fuzz_target!(|payload: &[u8]| {
    let Ok(request) = Request::parse(payload) else { return };
    let mut answer = request.answer(Kind::Reply);
    if let Some(ia) = request.ia {
        answer.address(ia, Ipv6Addr::LOCALHOST);
    }
    let options: Vec<(u16, &[u8])> = dhcp6::options(&payload[4..]).collect();
    options.iter().for_each(|(code, value)| answer.option(*code, value));
    let answer = answer.finish();
    assert!(Request::parse(&answer).is_err(), "an answer is no question");
    let mut read = dhcp6::options(&answer[4..]);
    assert_eq!(read.next(), Some((option::CLIENT_ID, request.client_id)));
    if request.ia.is_some() {
        assert_eq!(read.next().map(|(code, value)| (code, value.len())), Some((option::IA_NA, 40)));
    }
    assert!(read.eq(options), "options read back");
});
