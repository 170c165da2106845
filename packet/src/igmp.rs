//! IGMP, versions 1 to 3 (RFC 1112, RFC 2236, RFC 3376).

use std::net::Ipv4Addr;

use smallvec::smallvec;

use crate::membership::{Change, Message, interval_code, records};
use crate::{
    Ethernet, Ip, IpHeader, Mac, ParseError, array, ethertype, internet_checksum, protocol,
};

const WHAT: &str = "IGMP";

/// All hosts of a link: where general queries go.
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// Type of service of control traffic, and the option by which routers look at the packet (RFC 3376, section 4).
const CONTROL: u8 = 0xc0;
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// How often a host's state is sent, in queries (RFC 3376, section 8.1).
const ROBUSTNESS: u8 = 2;

/// Reads a message. Whatever is about an address that is no group is left out.
///
/// # Errors
/// When it is no whole IGMP message, or has a wrong checksum.
pub fn parse(ip: &Ip<'_>) -> Result<Message<Ipv4Addr>, ParseError> {
    if ip.protocol != protocol::IGMP || ip.later_fragment {
        return Err(ParseError::Other(WHAT));
    }
    let [kind, _, _, _] = array::<4>(ip.payload, 0, WHAT)?;
    let group = Ipv4Addr::from(array::<4>(ip.payload, 4, WHAT)?);
    if internet_checksum(&[ip.payload]) != 0 {
        return Err(ParseError::Checksum(WHAT));
    }
    let one = |version, change| match group.is_multicast() {
        true => Ok(Message::Report {
            version,
            changes: smallvec![(group, change)],
        }),
        false => Err(ParseError::Malformed(WHAT)),
    };
    match kind {
        QUERY if group.is_multicast() || group.is_unspecified() => Ok(Message::Query { group }),
        QUERY => Err(ParseError::Malformed(WHAT)),
        REPORT_V1 => one(1, Change::Join),
        REPORT_V2 => one(2, Change::Join),
        LEAVE => one(2, Change::Leave),
        REPORT_V3 => {
            let group = |address| Some(Ipv4Addr::from(address)).filter(Ipv4Addr::is_multicast);
            let changes = records(ip.payload, WHAT, group)?;
            Ok(Message::Report {
                version: 3,
                changes,
            })
        }
        _ => Err(ParseError::Other(WHAT)),
    }
}

/// A general query of version 3: receivers answer within `max_response` seconds (up to 12), the next query follows after
/// `interval` seconds.
#[must_use]
pub fn general_query(mac: Mac, src: Ipv4Addr, max_response: u8, interval: u32) -> Vec<u8> {
    let mut igmp = [0; 12];
    igmp[0] = QUERY;
    // Tenths of a second.
    igmp[1] = max_response.saturating_mul(10).min(127);
    igmp[8] = ROBUSTNESS;
    igmp[9] = interval_code(interval);
    let sum = internet_checksum(&[&igmp]);
    igmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let plain = IpHeader::V4 {
        src,
        dst: ALL_HOSTS,
    }
    .packet(protocol::IGMP, 1, &igmp);
    let dst = Mac([1, 0, 0x5e, 0, 0, 1]);
    Ethernet::new(mac, dst, ethertype::IPV4).frame(&alerting(&plain))
}

/// An IPv4 packet without options as one of control traffic that routers look at.
fn alerting(packet: &[u8]) -> Vec<u8> {
    let (header, payload) = packet.split_at(packet.len().min(20));
    let mut out = [header, &ROUTER_ALERT, payload].concat();
    #[allow(clippy::cast_possible_truncation)] // A few dozen bytes.
    let len = out.len() as u16;
    out[0] = 0x46;
    out[1] = CONTROL;
    out[2..4].copy_from_slice(&len.to_be_bytes());
    out[10..12].fill(0);
    let sum = internet_checksum(&[&out[..24]]);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Frame;

    fn packet(igmp: &[u8]) -> Vec<u8> {
        let mut igmp = igmp.to_vec();
        let sum = internet_checksum(&[&igmp]);
        igmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let ip = IpHeader::V4 {
            src: [10, 0, 0, 1].into(),
            dst: [224, 0, 0, 22].into(),
        };
        let frame = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4);
        frame.frame(&alerting(&ip.packet(protocol::IGMP, 1, &igmp)))
    }

    fn read(frame: &[u8]) -> Result<Message<Ipv4Addr>, ParseError> {
        parse(&Ip::parse(&Frame::parse(frame).unwrap()).unwrap())
    }

    const GROUP: [u8; 4] = [239, 0, 0, 1];

    fn one(kind: u8, group: [u8; 4]) -> Result<Message<Ipv4Addr>, ParseError> {
        read(&packet(&[&[kind, 0, 0, 0], &group[..]].concat()))
    }

    #[test]
    fn every_version_is_read() {
        let report = |version, change| {
            Ok(Message::Report {
                version,
                changes: smallvec![(GROUP.into(), change)],
            })
        };
        assert_eq!(one(REPORT_V1, GROUP), report(1, Change::Join));
        assert_eq!(one(REPORT_V2, GROUP), report(2, Change::Join));
        assert_eq!(one(LEAVE, GROUP), report(2, Change::Leave));
        let all = Ipv4Addr::UNSPECIFIED;
        assert_eq!(one(QUERY, [0; 4]), Ok(Message::Query { group: all }));
        assert!(one(QUERY, [10, 0, 0, 1]).is_err());
        assert!(one(REPORT_V2, [10, 0, 0, 1]).is_err());
        assert!(one(0x33, GROUP).is_err());
    }

    #[test]
    fn records_of_version_3() {
        let records: [&[u8]; 5] = [
            &[0x22, 0, 0, 0, 0, 0, 0, 4],
            // Joined, with auxiliary data behind.
            &[4, 1, 0, 0, 239, 0, 0, 1, 9, 9, 9, 9],
            &[3, 0, 0, 0, 239, 0, 0, 2],
            // No group at all.
            &[4, 0, 0, 0, 10, 0, 0, 2],
            &[5, 0, 0, 1, 239, 0, 0, 3, 10, 0, 0, 9],
        ];
        let bytes = records.concat();
        let changes = smallvec![
            ([239, 0, 0, 1].into(), Change::Join),
            ([239, 0, 0, 2].into(), Change::Leave),
            ([239, 0, 0, 3].into(), Change::Join),
        ];
        let report = Message::Report {
            version: 3,
            changes,
        };
        assert_eq!(read(&packet(&bytes)), Ok(report));
        for cut in 8..bytes.len() {
            assert!(read(&packet(&bytes[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_query_as_hosts_expect_it() {
        let query = general_query(Mac([2; 6]), [10, 0, 0, 254].into(), 1, 150);
        let frame = Frame::parse(&query).unwrap();
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!(ip.ttl, 1);
        assert_eq!(frame.payload[1], CONTROL);
        assert_eq!(frame.payload[20..24], ROUTER_ALERT);
        assert_eq!(internet_checksum(&[&frame.payload[..24]]), 0);
        assert_eq!(frame.ethernet.dst.to_string(), "01:00:5e:00:00:01");
        let group = Ipv4Addr::UNSPECIFIED;
        assert_eq!(read(&query), Ok(Message::Query { group }));
        assert_eq!(ip.payload[1], 10);
        // 144 seconds are the nearest below that 8 bits can say.
        assert_eq!(ip.payload[8..12], [2, 0x82, 0, 0]);
        let mut broken = query.clone();
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(read(&broken), Err(ParseError::Checksum(WHAT)));
    }

    proptest! {
        #[test]
        fn nothing_panics(mut igmp: Vec<u8>, kind in 0usize..5) {
            let kinds = [QUERY, REPORT_V1, REPORT_V2, LEAVE, REPORT_V3];
            igmp.splice(0..0, [kinds[kind], 0, 0, 0]);
            let _ = read(&packet(&igmp));
        }
    }
}
