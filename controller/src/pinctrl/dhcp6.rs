//! `put_dhcpv6_opts`: a DHCPv6 client's message becomes the answer, with the one address and the options that its port has.
//!
//! Answers are those of stock controllers byte for byte, with these differences: the search list is one as RFC 1035 writes it
//! (stock sends all names as one label); clients that renew, rebind or release are answered too. Addresses are given for ever,
//! so that clients rarely do.

use std::net::Ipv6Addr;

use weft_packet::dhcp6::{self, Kind, option};
use weft_packet::{ParseError, transport};

use super::respond::{Answer, Refusal, Request};
use super::verdict::Verdict;
use crate::actions::dhcp::code;

/// The client wants the server to register its name (RFC 4704, 4.1).
const FQDN_SERVER: u8 = 0x01;
/// The server does something else than the client wanted.
const FQDN_OVERRIDE: u8 = 0x02;
/// The server registers nothing.
const FQDN_NONE: u8 = 0x04;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (verdict, options) = Verdict::split(request)?;
    let answer = packet(request, options).ok().flatten();
    verdict.resume(request, answer)
}

fn packet(request: &Request<'_>, options: &[u8]) -> Result<Option<Vec<u8>>, ParseError> {
    let (_, ip) = request.ip()?;
    let asked = dhcp6::Request::parse(transport::udp_payload(&ip)?)?;
    let Some(payload) = answer(&asked, options) else {
        return Ok(None);
    };
    tracing::debug!(target: "pinctrl", "DHCPv6 {:?} from {}", asked.kind, ip.header.src());
    transport::with_udp_payload(&request.packet.packet, &payload).map(Some)
}

fn answer(asked: &dhcp6::Request<'_>, options: &[u8]) -> Option<Vec<u8>> {
    let kind = match asked.kind {
        Kind::Solicit => Kind::Advertise,
        Kind::Request
        | Kind::Confirm
        | Kind::Renew
        | Kind::Rebind
        | Kind::Release
        | Kind::Decline
        | Kind::InformationRequest => Kind::Reply,
        Kind::Advertise | Kind::Reply => return None,
    };
    let mut answer = asked.answer(kind);
    let given = || dhcp6::options(options);
    if asked.kind == Kind::Release {
        answer.option(option::STATUS, &[0, 0]);
        for (code, value) in given().filter(|(code, _)| *code == option::SERVER_ID) {
            answer.option(code, value);
        }
        return Some(answer.finish());
    }
    if asked.kind != Kind::InformationRequest {
        // Who asks for an address and is to have none from here learns it from the rest of the answer.
        let ia = asked.ia?;
        let offered = given().find(|(code, _)| *code == option::IA_ADDR);
        if let Some(address) = offered.and_then(|(_, value)| <[u8; 16]>::try_from(value).ok()) {
            answer.address(ia, Ipv6Addr::from(address));
        }
    }
    let alt = u16::from(code::BOOTFILE_ALT);
    let has = |wanted| given().any(|(code, _)| code == wanted);
    let boots = has(option::BOOTFILE) && has(alt);
    for (code, value) in given() {
        match code {
            option::IA_ADDR => {}
            option::FQDN => fqdn(&mut answer, asked, value),
            option::BOOTFILE if boots && !asked.ipxe => {}
            code if code == alt && boots && asked.ipxe => {}
            code if code == alt => answer.option(option::BOOTFILE, value),
            code => answer.option(code, value),
        }
    }
    Some(answer.finish())
}

/// Tells the client its name, if it wants to know; nobody here registers names.
fn fqdn(answer: &mut dhcp6::Answer, asked: &dhcp6::Request<'_>, name: &[u8]) {
    if let Some(flags) = asked.fqdn_flags {
        let overridden = if flags & FQDN_SERVER != 0 {
            FQDN_OVERRIDE
        } else {
            0
        };
        let value = [&[FQDN_NONE | overridden], name].concat();
        answer.option(option::FQDN, &value);
    }
}
