//! What is built is right in the eyes of another reader (etherparse), and reads back as it was.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{SlicedPacket, TransportSlice};
use proptest::prelude::*;
use weft_packet::nd::{self, Nd, NdOption, RouterAdvert};
use weft_packet::{
    Ethernet, Frame, Ip, IpHeader, Mac, crc32c, ethertype, icmp, protocol, transport,
};

fn header() -> impl Strategy<Value = IpHeader> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(s, d)| IpHeader::V4 {
            src: s.into(),
            dst: d.into()
        }),
        any::<([u8; 16], [u8; 16])>().prop_map(|(s, d)| IpHeader::V6 {
            src: s.into(),
            dst: d.into()
        }),
    ]
}

fn ethernet() -> impl Strategy<Value = Ethernet> {
    any::<([u8; 6], [u8; 6], Option<u16>)>().prop_map(|(s, d, tag)| {
        let mut e = Ethernet::new(Mac(s), Mac(d), ethertype::IPV4);
        e.vlans.extend(tag.map(|tci| weft_packet::Vlan {
            tpid: ethertype::VLAN,
            tci,
        }));
        e
    })
}

fn option() -> impl Strategy<Value = NdOption> {
    prop_oneof![
        any::<[u8; 6]>().prop_map(|m| NdOption::SourceMac(Mac(m))),
        any::<[u8; 6]>().prop_map(|m| NdOption::TargetMac(Mac(m))),
        any::<u32>().prop_map(NdOption::Mtu),
        any::<(u8, u8, u32, u32, [u8; 16])>().prop_map(|(len, flags, valid, preferred, p)| {
            NdOption::Prefix {
                len,
                flags,
                valid,
                preferred,
                prefix: p.into(),
            }
        }),
        any::<(u8, u8, u32, [u8; 16])>().prop_map(|(len, flags, lifetime, p)| NdOption::Route {
            len,
            flags,
            lifetime,
            prefix: p.into()
        }),
        (
            any::<u32>(),
            proptest::collection::vec(any::<[u8; 16]>(), 1..4)
        )
            .prop_map(|(lifetime, s)| NdOption::DnsServers {
                lifetime,
                servers: s.into_iter().map(Into::into).collect()
            }),
        (
            any::<u32>(),
            proptest::collection::vec("[a-z]{1,9}(\\.[a-z]{1,20}){0,3}", 1..4)
        )
            .prop_map(|(lifetime, names)| NdOption::SearchList {
                lifetime,
                domains: names
                    .iter()
                    .map(|n| weft_packet::dns::Name::new(n).unwrap())
                    .collect()
            }),
        proptest::collection::vec(any::<u8>(), 6..=6).prop_map(|body| NdOption::Other(31, body)),
    ]
}

fn message() -> impl Strategy<Value = nd::Message> {
    prop_oneof![
        Just(nd::Message::RouterSolicit),
        any::<(u8, u8, u16, u32, u32)>().prop_map(
            |(hop_limit, flags, lifetime, reachable_ms, retransmit_ms)| {
                nd::Message::RouterAdvert(RouterAdvert {
                    hop_limit,
                    flags,
                    lifetime,
                    reachable_ms,
                    retransmit_ms,
                })
            }
        ),
        any::<[u8; 16]>().prop_map(|t| nd::Message::NeighborSolicit { target: t.into() }),
        any::<([u8; 16], u8)>().prop_map(|(t, flags)| nd::Message::NeighborAdvert {
            target: t.into(),
            flags
        }),
    ]
}

/// A TCP segment to be answered, built by etherparse.
fn tcp(ip: IpHeader, seq: u32, ack: Option<u32>, syn: bool, payload: &[u8]) -> Vec<u8> {
    let b = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let b = match ip {
        IpHeader::V4 { src, dst } => b.ipv4(src.octets(), dst.octets(), 64),
        IpHeader::V6 { src, dst } => b.ipv6(src.octets(), dst.octets(), 64),
    };
    let mut b = b.tcp(1000, 80, seq, 100);
    if let Some(ack) = ack {
        b = b.ack(ack);
    }
    if syn {
        b = b.syn();
    }
    let mut out = Vec::new();
    b.write(&mut out, payload).unwrap();
    out
}

fn transport_sum_is_right(frame: &[u8]) -> bool {
    let frame = Frame::parse(frame).unwrap();
    let ip = Ip::parse(&frame).unwrap();
    match (ip.header, ip.protocol) {
        (IpHeader::V4 { .. }, protocol::ICMP) => weft_packet::internet_checksum(&[ip.payload]) == 0,
        _ => ip.header.transport_checksum(ip.protocol, ip.payload) == 0,
    }
}

proptest! {
    #[test]
    fn payloads_are_replaced(e in ethernet(), ip in header(), ttl: u8, old in proptest::collection::vec(any::<u8>(), 0..300), new in proptest::collection::vec(any::<u8>(), 0..300), padding in 0..20usize) {
        let mut bytes = transport::udp(&e, ip, ttl, 1, 2, &old);
        bytes.resize(bytes.len() + padding, 0xa5);
        let changed = transport::with_udp_payload(&bytes, &new).unwrap();
        prop_assert_eq!(changed, transport::udp(&e, ip, ttl, 1, 2, &new));
        let dst = Ipv4Addr::new(10, 0, 0, 1);
        let readdressed = transport::with_udp_payload_to(&bytes, dst, &new);
        match ip {
            IpHeader::V4 { src, .. } => {
                let mut expected = transport::udp(&e, IpHeader::V4 { src, dst }, ttl, 1, 2, &new);
                let sum = expected.len() - new.len() - 2;
                expected[sum..sum + 2].fill(0);
                prop_assert_eq!(readdressed, Ok(expected));
            }
            IpHeader::V6 { .. } => prop_assert!(readdressed.is_err()),
        }
    }

    #[test]
    fn udp_datagrams(e in ethernet(), ip in header(), ttl: u8, src: u16, dst: u16, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = transport::udp(&e, ip, ttl, src, dst, &payload);
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        prop_assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (src, dst, &payload[..]));
        prop_assert!(transport_sum_is_right(&bytes));
        let frame = Frame::parse(&bytes).unwrap();
        let read = Ip::parse(&frame).unwrap();
        prop_assert_eq!((read.header, read.ttl, read.protocol), (ip, ttl, protocol::UDP));
        prop_assert_eq!(&frame.ethernet.vlans, &e.vlans);
    }

    #[test]
    fn neighbour_discovery(src: [u8; 16], dst: [u8; 16], message in message(), options in proptest::collection::vec(option(), 0..5), e in ethernet()) {
        let nd = Nd { src: src.into(), dst: dst.into(), message, options };
        let bytes = nd.frame_in(&e);
        prop_assert!(transport_sum_is_right(&bytes));
        prop_assert_eq!(Nd::parse(&Frame::parse(&bytes).unwrap()).unwrap(), nd.clone());
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        prop_assert!(matches!(packet.transport, Some(TransportSlice::Icmpv6(_))));
        // One flipped bit in the message is noticed.
        let mut broken = bytes.clone();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        prop_assert!(Nd::parse(&Frame::parse(&broken).unwrap()).is_err());
    }

    #[test]
    fn advertisements(mac: [u8; 6], asker: [u8; 6], src: [u8; 16], target: [u8; 16], router: bool) {
        let (src, target) = (Ipv6Addr::from(src), Ipv6Addr::from(target));
        for src in [src, Ipv6Addr::UNSPECIFIED] {
            let asked = nd::solicit(Mac(asker), src, target);
            let answer = nd::advertise(&Frame::parse(&asked).unwrap(), Mac(mac), router).unwrap();
            let frame = Frame::parse(&answer).unwrap();
            let read = Nd::parse(&frame).unwrap();
            prop_assert_eq!(read.src, target);
            prop_assert_eq!(read.link_address(), Some(Mac(mac)));
            let anonymous = src.is_unspecified();
            prop_assert_eq!(read.dst, if anonymous { nd::ALL_NODES } else { src });
            prop_assert_eq!(frame.ethernet.dst, if anonymous { Mac([0x33, 0x33, 0, 0, 0, 1]) } else { Mac(asker) });
            let nd::Message::NeighborAdvert { flags, .. } = read.message else { panic!("no advertisement") };
            prop_assert_eq!(flags & nd::NA_SOLICITED == 0, anonymous);
            prop_assert_eq!(flags & nd::NA_ROUTER != 0, router);
        }
    }

    #[test]
    fn errors_quote_what_fits(e in ethernet(), ip in header(), len in 0usize..3000, kind: u8, code: u8, rest: u32) {
        let bytes = transport::udp(&e, ip, 1, 1, 2, &vec![7; len]);
        let frame = Frame::parse(&bytes).unwrap();
        let offending = Ip::parse(&frame).unwrap();
        let error = icmp::error(&e, ip.reversed(), 255, icmp::Error { kind, code, rest }, &offending);
        prop_assert!(transport_sum_is_right(&error));
        let parsed = Frame::parse(&error).unwrap();
        let read = Ip::parse(&parsed).unwrap();
        let (max, header) = match ip { IpHeader::V4 { .. } => (576, 20), IpHeader::V6 { .. } => (1280, 40) };
        let l2 = error.len() - read.packet.len();
        prop_assert!(error.len() <= max);
        prop_assert_eq!(error.len(), max.min(l2 + header + 8 + offending.packet.len()));
        prop_assert_eq!(&read.payload[..2], &[kind, code]);
        prop_assert_eq!(&read.payload[4..8], &rest.to_be_bytes());
        prop_assert!(offending.packet.starts_with(&read.payload[8..]));
        let told = icmp::with_mtu(&error, 1400).unwrap();
        prop_assert!(transport_sum_is_right(&told));
        let parsed = Frame::parse(&told).unwrap();
        let mtu = match ip { IpHeader::V4 { .. } => rest & 0xffff_0000 | 1400, IpHeader::V6 { .. } => 1400 };
        prop_assert_eq!(&Ip::parse(&parsed).unwrap().payload[4..8], &mtu.to_be_bytes());
    }

    #[test]
    fn echo_replies(ip in header(), id: u16, seq: u16, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let b = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut request = Vec::new();
        match ip {
            IpHeader::V4 { src, dst } => b.ipv4(src.octets(), dst.octets(), 9).icmpv4_echo_request(id, seq).write(&mut request, &payload),
            IpHeader::V6 { src, dst } => b.ipv6(src.octets(), dst.octets(), 9).icmpv6_echo_request(id, seq).write(&mut request, &payload),
        }.unwrap();
        let reply = icmp::echo_reply(&Frame::parse(&request).unwrap(), 64).unwrap();
        prop_assert!(transport_sum_is_right(&reply));
        let parsed = Frame::parse(&reply).unwrap();
        let read = Ip::parse(&parsed).unwrap();
        prop_assert_eq!((read.header, read.ttl), (ip.reversed(), 64));
        prop_assert_eq!(parsed.ethernet.dst, Mac([2, 0, 0, 0, 0, 1]));
        prop_assert_eq!(&read.payload[8..], &payload[..]);
        prop_assert!(icmp::echo_reply(&parsed, 64).is_err());
    }

    #[test]
    fn tcp_resets(ip in header(), seq: u32, ack: Option<u32>, syn: bool, payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let segment = tcp(ip, seq, ack, syn, &payload);
        let reset = reset_back(&segment).unwrap();
        prop_assert!(transport_sum_is_right(&reset));
        let Some(TransportSlice::Tcp(t)) = SlicedPacket::from_ethernet(&reset).unwrap().transport else { panic!("no TCP") };
        prop_assert!(t.rst());
        prop_assert_eq!((t.source_port(), t.destination_port()), (80, 1000));
        match ack {
            Some(ack) => prop_assert_eq!((t.sequence_number(), t.ack()), (ack, false)),
            None => {
                let next = seq.wrapping_add(u32::try_from(payload.len()).unwrap() + u32::from(syn));
                prop_assert_eq!((t.sequence_number(), t.ack(), t.acknowledgment_number()), (0, true, next));
            }
        }
        prop_assert!(reset_back(&reset).is_err());
    }

    #[test]
    fn sctp_aborts(ip in header(), tag: u32, init_tag: u32, init: bool) {
        let mut sctp = vec![0, 10, 0, 20];
        sctp.extend_from_slice(&tag.to_be_bytes());
        sctp.extend_from_slice(&[0; 4]);
        sctp.extend_from_slice(&[if init { 1 } else { 0 }, 0, 0, 20]);
        sctp.extend_from_slice(&init_tag.to_be_bytes());
        sctp.extend_from_slice(&[0; 12]);
        let mut e = Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0);
        e.ethertype = ip.ethertype();
        let abort = abort_back(&e.frame(&ip.packet(protocol::SCTP, 64, &sctp))).unwrap();
        let frame = Frame::parse(&abort).unwrap();
        let read = Ip::parse(&frame).unwrap();
        let mut b = read.payload.to_vec();
        prop_assert_eq!(&b[..4], &[0, 20, 0, 10]);
        prop_assert_eq!(&b[4..8], &(if init { init_tag } else { tag }).to_be_bytes());
        prop_assert_eq!(&b[12..], &[6, u8::from(!init), 0, 4]);
        let sum = u32::from_le_bytes(b[8..12].try_into().unwrap());
        b[8..12].fill(0);
        prop_assert_eq!(sum, crc32c(&b));
        prop_assert!(abort_back(&abort).is_err());
        // Nor is there an answer to the ends of a handshake or a shutdown, wherever the chunk stands.
        for ending in [6u8, 11, 14] {
            let mut more = sctp.clone();
            if init {
                more[12] = 0;
            }
            more.extend_from_slice(&[ending, 0, 0, 4]);
            prop_assert!(abort_back(&e.frame(&ip.packet(protocol::SCTP, 64, &more))).is_err());
        }
    }

    /// Bytes of any kind, and right packets cut or changed anywhere, are read or refused.
    #[test]
    fn nothing_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..5, ip in header(), at: prop::sample::Index, cut: prop::sample::Index) {
        let right = match kind {
            0 => tcp(ip, 1, None, true, &bytes),
            1 => transport::udp(&Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0), ip, 1, 2, 3, &bytes),
            2 => nd::solicit(Mac([2; 6]), Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            3 => weft_packet::arp::request(Mac([2; 6]), Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
            _ => bytes.clone(),
        };
        if !right.is_empty() {
            let mut changed = right.clone();
            let at = at.index(changed.len());
            changed[at] ^= bytes.first().copied().unwrap_or(1);
            changed.truncate(cut.index(changed.len()) + 1);
            bytes = changed;
        }
        let Ok(frame) = Frame::parse(&bytes) else { return Ok(()) };
        let _ = (Nd::parse(&frame), icmp::echo_reply(&frame, 1), reset_back(&bytes), abort_back(&bytes), icmp::with_mtu(&bytes, 1));
        let _ = (weft_packet::arp::reply(&frame, Mac::ZERO), nd::advertise(&frame, Mac::ZERO, false));
        if let Ok(ip) = Ip::parse(&frame) {
            let _ = icmp::may_answer(&frame, &ip, false);
            let _ = icmp::error(&frame.ethernet, ip.header.reversed(), 64, icmp::Error { kind: 3, code: 1, rest: 0 }, &ip);
        }
    }
}

fn reset_back(bytes: &[u8]) -> Result<Vec<u8>, weft_packet::ParseError> {
    let frame = Frame::parse(bytes)?;
    let ip = Ip::parse(&frame)?;
    let ethernet = frame.ethernet.answer(frame.ethernet.dst);
    transport::tcp_reset(&ethernet, ip.header.reversed(), 64, &ip)
}

fn abort_back(bytes: &[u8]) -> Result<Vec<u8>, weft_packet::ParseError> {
    let frame = Frame::parse(bytes)?;
    let ip = Ip::parse(&frame)?;
    let ethernet = frame.ethernet.answer(frame.ethernet.dst);
    transport::sctp_abort(&ethernet, ip.header.reversed(), 64, &ip)
}

#[test]
fn what_is_answered() {
    let answerable = |ip: IpHeader, proto: u8, payload: &[u8], too_big| {
        let bytes = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ip.ethertype())
            .frame(&ip.packet(proto, 1, payload));
        let frame = Frame::parse(&bytes).unwrap();
        icmp::may_answer(&frame, &Ip::parse(&frame).unwrap(), too_big)
    };
    let host: IpAddr = "10.0.0.1".parse().unwrap();
    let IpAddr::V4(src) = host else {
        unreachable!()
    };
    let v4 = |dst: &str| IpHeader::V4 {
        src,
        dst: dst.parse().unwrap(),
    };
    let v6 = |dst: &str| IpHeader::V6 {
        src: "fd00::1".parse().unwrap(),
        dst: dst.parse().unwrap(),
    };
    assert!(answerable(v4("10.0.0.2"), protocol::UDP, &[0; 8], false));
    assert!(answerable(v4("10.0.0.2"), protocol::ICMP, &[8; 8], false));
    assert!(!answerable(v4("10.0.0.2"), protocol::ICMP, &[3; 8], false));
    assert!(!answerable(v4("224.0.0.1"), protocol::UDP, &[0; 8], false));
    assert!(!answerable(v6("ff02::1"), protocol::UDP, &[0; 8], false));
    assert!(answerable(v6("ff02::1"), protocol::UDP, &[0; 8], true));
    assert!(!answerable(v6("fd00::2"), protocol::ICMPV6, &[1; 8], true));
    assert!(answerable(
        v6("fd00::2"),
        protocol::ICMPV6,
        &[128; 8],
        false
    ));
}
