//! `put_dhcp_opts`: a DHCPv4 client's message becomes the answer, with the one address and the options that its port has.
//!
//! Answers are those of stock controllers byte for byte. A client that wants another address is told not to use it; one that
//! only informs itself gets no lease. Messages that need no answer go on as they are: another server may wait for them.

use std::net::Ipv4Addr;

use weft_packet::dhcp4::{self, Kind, option};
use weft_packet::{ParseError, transport};

use super::respond::{Answer, Refusal, Request};
use super::verdict::Verdict;
use crate::actions::dhcp::code;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (verdict, params) = Verdict::split(request)?;
    let (&offer, options) = params.split_first_chunk::<4>().ok_or(Refusal::Params)?;
    let answer = packet(request, offer.into(), options).ok().flatten();
    verdict.resume(request, answer)
}

fn packet(
    request: &Request<'_>,
    offer: Ipv4Addr,
    options: &[u8],
) -> Result<Option<Vec<u8>>, ParseError> {
    let (_, ip) = request.ip()?;
    let asked = dhcp4::Request::parse(transport::udp_payload(&ip)?)?;
    let Some((kind, payload)) = answer(&asked, offer, options) else {
        return Ok(None);
    };
    let dst = if asked.wants_broadcast() {
        Ipv4Addr::BROADCAST
    } else {
        offer
    };
    let (mac, what) = (asked.client_mac(), asked.kind.name());
    tracing::debug!(target: "pinctrl", "{what} from {mac}: {} {offer}", kind.name());
    transport::with_udp_payload_to(&request.packet.packet, dst, &payload).map(Some)
}

/// The answer to a message, if there is one.
fn answer(asked: &dhcp4::Request<'_>, offer: Ipv4Addr, options: &[u8]) -> Option<(Kind, Vec<u8>)> {
    let given = || pairs(options);
    let next_server = given()
        .find(|(code, _)| *code == code::NEXT_SERVER)
        .and_then(|(_, value)| <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from));
    let (kind, yours, next_server) = match asked.kind {
        Kind::Discover => (Kind::Offer, offer, next_server),
        Kind::Request if asked.requested.unwrap_or(asked.client_ip()) == offer => {
            (Kind::Ack, offer, next_server)
        }
        Kind::Request => (Kind::Nak, Ipv4Addr::UNSPECIFIED, None),
        Kind::Inform => (Kind::Ack, Ipv4Addr::UNSPECIFIED, None),
        Kind::Decline | Kind::Release | Kind::Offer | Kind::Ack | Kind::Nak => return None,
    };
    let mut answer = asked.answer(kind, yours, next_server);
    if kind != Kind::Nak {
        let informs = asked.kind == Kind::Inform;
        let has = |wanted| given().any(|(code, _)| code == wanted);
        let boots = has(option::BOOTFILE) && has(code::BOOTFILE_ALT);
        for (code, value) in given() {
            match code {
                // Nothing was leased (RFC 2131, 4.3.5).
                option::NETMASK | option::LEASE_TIME | option::T1 | option::T2 if informs => {}
                option::BOOTFILE if boots && !asked.etherboot => {}
                code::BOOTFILE_ALT if boots && asked.etherboot => {}
                code::BOOTFILE_ALT => answer.option(option::BOOTFILE, value),
                code => answer.option(code, value),
            }
        }
    }
    Some((kind, answer.finish()))
}

/// Code and value of options; here no code stands for filler or the end.
fn pairs(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[code, len], rest) = bytes.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        bytes = rest;
        Some((code, value))
    })
}
