//! Multicast listener discovery, versions 1 and 2 (RFC 2710, RFC 3810).

use std::net::Ipv6Addr;

use smallvec::smallvec;

use crate::icmp::checksum;
use crate::membership::{Change, Message, interval_code, records};
use crate::{Ethernet, Ip, IpHeader, Mac, ParseError, array, ethertype, protocol};

const WHAT: &str = "MLD";

/// All nodes of a link: where general queries go.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;
const DONE: u8 = 132;
const REPORT_V2: u8 = 143;

/// Hop-by-hop options with the router alert for MLD (RFC 2711), behind which ICMPv6 follows.
const ROUTER_ALERT: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 0, 0];

/// How often a host's state is sent, in queries (RFC 3810, section 9.1).
const ROBUSTNESS: u8 = 2;

/// Reads a message. Whatever is about an address that is no group is left out.
///
/// # Errors
/// When it is no whole message, or one that must be ignored: from elsewhere than the link, or with a wrong checksum.
pub fn parse(ip: &Ip<'_>) -> Result<Message<Ipv6Addr>, ParseError> {
    let IpHeader::V6 { src, .. } = ip.header else {
        return Err(ParseError::Other(WHAT));
    };
    if ip.protocol != protocol::ICMPV6 || ip.later_fragment {
        return Err(ParseError::Other(WHAT));
    }
    let [kind, ..] = array::<8>(ip.payload, 0, WHAT)?;
    if !matches!(kind, QUERY | REPORT_V1 | DONE | REPORT_V2) {
        return Err(ParseError::Other(WHAT));
    }
    // RFC 3810, sections 5.1.14, 5.2.13 and 6.2: a host without an address yet may report, not ask.
    let on_link = src.is_unicast_link_local() || src.is_unspecified() && kind != QUERY;
    if ip.ttl != 1 || !on_link {
        return Err(ParseError::Other("from a neighbour"));
    }
    if checksum(ip.header, ip.protocol, ip.payload) != 0 {
        return Err(ParseError::Checksum(WHAT));
    }
    if kind == REPORT_V2 {
        let group = |address| Some(Ipv6Addr::from(address)).filter(Ipv6Addr::is_multicast);
        let changes = records(ip.payload, WHAT, group)?;
        return Ok(Message::Report {
            version: 2,
            changes,
        });
    }
    let group = Ipv6Addr::from(array::<16>(ip.payload, 8, WHAT)?);
    match kind {
        QUERY if group.is_multicast() || group.is_unspecified() => Ok(Message::Query { group }),
        REPORT_V1 | DONE if group.is_multicast() => {
            let change = match kind {
                DONE => Change::Leave,
                _ => Change::Join,
            };
            Ok(Message::Report {
                version: 1,
                changes: smallvec![(group, change)],
            })
        }
        _ => Err(ParseError::Malformed(WHAT)),
    }
}

/// A general query of version 2: listeners answer within `max_response` seconds (up to 32), the next query follows after
/// `interval` seconds. `src` is link-local, or the query is ignored.
#[must_use]
pub fn general_query(mac: Mac, src: Ipv6Addr, max_response: u8, interval: u32) -> Vec<u8> {
    let mut icmp = [0; 28];
    icmp[0] = QUERY;
    // Milliseconds; from 32,768 on they would be said otherwise.
    let millis = (u16::from(max_response).saturating_mul(1000)).min(0x7fff);
    icmp[4..6].copy_from_slice(&millis.to_be_bytes());
    icmp[24] = ROBUSTNESS;
    icmp[25] = interval_code(interval);
    let ip = IpHeader::V6 {
        src,
        dst: ALL_NODES,
    };
    let sum = checksum(ip, protocol::ICMPV6, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let payload = [&ROUTER_ALERT[..], &icmp].concat();
    let dst = Mac::ipv6_multicast(ALL_NODES);
    Ethernet::new(mac, dst, ethertype::IPV6).frame(&ip.packet(protocol::HOP_BY_HOP, 1, &payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Frame;

    fn framed(src: Ipv6Addr, hops: u8, icmp: &[u8]) -> Vec<u8> {
        let ip = IpHeader::V6 {
            src,
            dst: ALL_NODES,
        };
        let mut icmp = icmp.to_vec();
        let sum = checksum(ip, protocol::ICMPV6, &icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let payload = [&ROUTER_ALERT[..], &icmp].concat();
        let frame = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV6);
        frame.frame(&ip.packet(protocol::HOP_BY_HOP, hops, &payload))
    }

    fn read(frame: &[u8]) -> Result<Message<Ipv6Addr>, ParseError> {
        parse(&Ip::parse(&Frame::parse(frame).unwrap()).unwrap())
    }

    fn host() -> Ipv6Addr {
        "fe80::7".parse().unwrap()
    }

    fn group(last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, last.into())
    }

    fn one(kind: u8, group: Ipv6Addr) -> Vec<u8> {
        [&[kind, 0, 0, 0, 0, 0, 0, 0], &group.octets()[..]].concat()
    }

    #[test]
    fn both_versions_are_read() {
        let v1 = |change| {
            Ok(Message::Report {
                version: 1,
                changes: smallvec![(group(1), change)],
            })
        };
        let read_one = |kind, ip| read(&framed(host(), 1, &one(kind, ip)));
        assert_eq!(read_one(REPORT_V1, group(1)), v1(Change::Join));
        assert_eq!(read_one(DONE, group(1)), v1(Change::Leave));
        let all = Ipv6Addr::UNSPECIFIED;
        assert_eq!(read_one(QUERY, all), Ok(Message::Query { group: all }));
        assert!(read_one(REPORT_V1, all).is_err());
        assert!(read_one(QUERY, host()).is_err());
        assert!(read_one(128, all).is_err());
        let mut v2 = vec![REPORT_V2, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0];
        v2.extend(group(1).octets());
        v2.extend([6, 0, 0, 1]);
        v2.extend(group(2).octets());
        v2.extend(host().octets());
        let joined = Message::Report {
            version: 2,
            changes: smallvec![(group(1), Change::Join)],
        };
        assert_eq!(read(&framed(host(), 1, &v2)), Ok(joined));
        for cut in 8..v2.len() {
            assert!(read(&framed(host(), 1, &v2[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn only_neighbours_are_believed() {
        let report = one(REPORT_V1, group(1));
        let all = Ipv6Addr::UNSPECIFIED;
        assert!(read(&framed(all, 1, &report)).is_ok());
        assert!(read(&framed(all, 1, &one(QUERY, all))).is_err());
        assert!(read(&framed(host(), 64, &report)).is_err());
        assert!(read(&framed("fd00::1".parse().unwrap(), 1, &report)).is_err());
        let mut broken = framed(host(), 1, &report);
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(read(&broken), Err(ParseError::Checksum(WHAT)));
    }

    #[test]
    fn a_query_as_listeners_expect_it() {
        let query = general_query(Mac([2; 6]), host(), 1, 150);
        let frame = Frame::parse(&query).unwrap();
        assert_eq!(frame.ethernet.dst.to_string(), "33:33:00:00:00:01");
        assert_eq!(frame.payload[40..48], ROUTER_ALERT);
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!(ip.ttl, 1);
        let all = Ipv6Addr::UNSPECIFIED;
        assert_eq!(parse(&ip), Ok(Message::Query { group: all }));
        assert_eq!(ip.payload[4..6], 1000u16.to_be_bytes());
        assert_eq!(ip.payload[24..28], [2, 0x82, 0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_panics(mut icmp: Vec<u8>, kind in 0usize..4) {
            let kinds = [QUERY, REPORT_V1, DONE, REPORT_V2];
            icmp.splice(0..0, [kinds[kind], 0, 0, 0]);
            let _ = read(&framed(host(), 1, &icmp));
        }
    }
}
