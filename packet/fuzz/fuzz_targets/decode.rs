//! Any bytes are read and answered, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_packet::{Frame, Ip, Mac, arp, icmp, nd, transport};

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::parse(bytes) else { return };
    let _ = (arp::reply(&frame, Mac::ZERO), nd::Nd::parse(&frame), nd::advertise(&frame, Mac::ZERO, true));
    let _ = nd::answer_solicit(&frame, &[0; 16]);
    let _ = (icmp::echo_reply(&frame, 64), icmp::with_mtu(bytes, 1400));
    if let Ok(ip) = Ip::parse(&frame) {
        if let Ok(payload) = transport::udp_payload(&ip) {
            transport::with_udp_payload(bytes, payload).expect("it is a datagram");
        }
        let _ = icmp::Echo::parse(&ip);
        let _ = transport::tcp_reset(&frame.ethernet, ip.header, 64, &ip);
        let _ = transport::sctp_abort(&frame.ethernet, ip.header, 64, &ip);
        let error = icmp::Error { kind: 3, code: 1, rest: 0 };
        let _ = icmp::error(&frame.ethernet, ip.header.reversed(), 64, error, &ip);
    }
});
