//! `tcp_reset { }` and `sctp_abort { }`: end a connection. Addresses are the packet's own, which the nested actions
//! exchange; ports are exchanged already.

use weft_packet::transport;

use super::icmp::TTL;
use super::respond::{Refusal, Request};

pub(super) fn tcp(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let (frame, ip) = request.ip()?;
    Ok(transport::tcp_reset(&frame.ethernet, ip.header, TTL, &ip)?)
}

pub(super) fn sctp(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let (frame, ip) = request.ip()?;
    Ok(transport::sctp_abort(&frame.ethernet, ip.header, TTL, &ip)?)
}
