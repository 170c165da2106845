//! The questions, by who answers them.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::{arp, icmp, nd};

use crate::packets::{
    FIN_ACK, P1, P2, PUSH_ACK, ROUTER, SYN, dhcp4, dhcp4_from, dhcp6, dhcp6_information, dns,
    near4, near6, packet, router_solicitation, sctp_heartbeat, sctp_init, tcp, to, udp, v6,
};
use crate::{But, Place};

pub struct Question {
    pub name: &'static str,
    pub frame: Vec<u8>,
    /// Where the answer is heard.
    pub at: Place,
    /// Bytes of the answer that may differ, and why.
    pub but: But,
}

const SAME: But = &[];

/// UDP over IPv4 without a checksum, or with one: both are right (RFC 768).
const UDP4_SUM: But = &[(40..42, "UDP's checksum over IPv4, which stock leaves out")];

/// Stock sends what ends a connection with the TTL of what it is about, less one: it may not get back.
const TTL4: But = &[(22..23, "TTL"), (24..26, "the header's checksum")];
const TTL6: But = &[(21..22, "hop limit")];

/// Stock answers every segment as if it were the first of a connection, without data: with a sequence number of zero, which
/// machines ignore that are amid a connection, and acknowledging one byte.
const RESET4: But = &[
    (22..23, "TTL"),
    (24..26, "the header's checksum"),
    (38..46, "numbers"),
    (47..48, "whether something is acknowledged"),
    (50..52, "checksum of these"),
];
const RESET6: But = &[
    (21..22, "hop limit"),
    (58..66, "numbers"),
    (67..68, "whether something is acknowledged"),
    (70..72, "checksum of these"),
];

fn near(name: &'static str, frame: Vec<u8>, but: But) -> Question {
    let at = Place::Near;
    Question {
        name,
        frame,
        at,
        but,
    }
}

fn far(name: &'static str, frame: Vec<u8>) -> Question {
    let (at, but) = (Place::Far, SAME);
    Question {
        name,
        frame,
        at,
        but,
    }
}

fn echo(ip: weft_packet::IpHeader, ttl: u8) -> Vec<u8> {
    icmp::echo_request(&to(ROUTER, ip), ip, ttl, 5, 6)
}

/// For addresses of machines, of the router, and of those that a switch answers for in its name.
pub fn neighbours() -> Vec<Question> {
    let own4 = Ipv4Addr::new(10, 0, 0, 1);
    let own6: Ipv6Addr = "fd00::1".parse().unwrap();
    let ask4 = |n| arp::request(P1, own4, [10, 0, 0, n].into());
    let ask6 = |ip: &str| nd::solicit(P1, own6, ip.parse().unwrap());
    vec![
        near("ARP for a machine", ask4(2), SAME),
        near("ARP for the router", ask4(254), SAME),
        near("ARP proxy", ask4(200), SAME),
        near("ARP proxy of a network", ask4(213), SAME),
        near("ND for a machine", ask6("fd00::2"), SAME),
        near("ND for the router", ask6("fd00::fe"), SAME),
        near("ND proxy", ask6("fd00::200"), SAME),
        near("ND proxy of a network", ask6("fd00::3:77"), SAME),
        near(
            "ND for the router's link-local address",
            nd::solicit(P1, own6, ROUTER.link_local()),
            SAME,
        ),
        near("router advertisement", router_solicitation(), SAME),
        far(
            "ARP for a next hop",
            udp(ROUTER, near4([10, 1, 0, 99]), 64, b"x"),
        ),
        far(
            "ND for a next hop",
            udp(ROUTER, near6("fd01::99"), 64, b"x"),
        ),
    ]
}

/// DHCP and DNS.
pub fn servers() -> Vec<Question> {
    let wanted = [50, 4, 10, 0, 0, 1, 54, 4, 10, 0, 0, 253];
    let wrong = [50, 4, 10, 0, 0, 9, 54, 4, 10, 0, 0, 253];
    let (dns4, dns6) = (near4([10, 0, 0, 8]), near6("fd00::8"));
    vec![
        near("DHCPv4 discover", dhcp4(1, &[]), SAME),
        near("DHCPv4 request", dhcp4(3, &wanted), SAME),
        near(
            "DHCPv4 request after a restart",
            dhcp4(3, &wanted[..6]),
            SAME,
        ),
        near("DHCPv4 renewal", dhcp4_from([10, 0, 0, 1], 3, &[]), SAME),
        near("DHCPv4 request for another address", dhcp4(3, &wrong), SAME),
        near("DHCPv4 inform", dhcp4_from([10, 0, 0, 1], 8, &[]), SAME),
        near("DHCPv6 solicit", dhcp6(1, false), SAME),
        near("DHCPv6 request", dhcp6(3, true), SAME),
        near("DHCPv6 confirm", dhcp6(4, false), SAME),
        near("DHCPv6 decline", dhcp6(9, true), SAME),
        near("DHCPv6 information request", dhcp6_information(), SAME),
        near("DNS A", dns(1, dns4), UDP4_SUM),
        near("DNS AAAA", dns(28, dns4), UDP4_SUM),
        near("DNS ANY", dns(255, dns4), UDP4_SUM),
        near("DNS A over IPv6", dns(1, dns6), SAME),
        near("DNS AAAA over IPv6", dns(28, dns6), SAME),
    ]
}

/// What the router says of packets that it cannot take further.
pub fn errors() -> Vec<Question> {
    let (own4, own6) = (near4([10, 0, 0, 254]), near6("fd00::fe"));
    let (beyond4, beyond6) = (near4([10, 1, 0, 1]), near6("fd01::1"));
    let say = |ip, ttl| udp(ROUTER, ip, ttl, b"some text");
    let long = vec![7; 1400];
    let odd = |ip| packet(ROUTER, ip, 99, 64, b"whatever");
    vec![
        near("echo over IPv4", echo(own4, 64), SAME),
        near("echo over IPv6", echo(own6, 64), SAME),
        near(
            "echo to the far side over IPv4",
            echo(near4([10, 1, 0, 254]), 64),
            SAME,
        ),
        near(
            "echo to the far side over IPv6",
            echo(near6("fd01::fe"), 64),
            SAME,
        ),
        near("time exceeded over IPv4", say(beyond4, 1), SAME),
        near("time exceeded over IPv6", say(beyond6, 1), SAME),
        near(
            "time exceeded for an echo over IPv4",
            echo(beyond4, 1),
            SAME,
        ),
        near(
            "time exceeded for an echo over IPv6",
            echo(beyond6, 1),
            SAME,
        ),
        near(
            "time exceeded for a long packet over IPv4",
            udp(ROUTER, beyond4, 1, &long),
            SAME,
        ),
        near(
            "time exceeded for a long packet over IPv6",
            udp(ROUTER, beyond6, 1, &long),
            SAME,
        ),
        near("port unreachable over IPv4", say(own4, 64), SAME),
        near("port unreachable over IPv6", say(own6, 64), SAME),
        near("protocol unreachable over IPv4", odd(own4), SAME),
        near("protocol unreachable over IPv6", odd(own6), SAME),
        near(
            "reset by the router over IPv4",
            tcp(ROUTER, own4, SYN, b""),
            TTL4,
        ),
        near(
            "reset by the router over IPv6",
            tcp(ROUTER, own6, SYN, b""),
            TTL6,
        ),
        near(
            "reset of a connection by the router over IPv4",
            tcp(ROUTER, own4, PUSH_ACK, b"data"),
            RESET4,
        ),
        near(
            "reset of a connection by the router over IPv6",
            tcp(ROUTER, own6, PUSH_ACK, b"data"),
            RESET6,
        ),
    ]
}

/// What ACLs refuse on the way into the switch (`77`) and out of it (`p2`), and load balancers without backends (`88`).
pub fn refusals() -> Vec<Question> {
    let (in4, in6) = (near4([10, 0, 0, 77]), near6("fd00::77"));
    let (out4, out6) = (near4([10, 0, 0, 2]), near6("fd00::2"));
    let (lb4, lb6) = (near4([10, 0, 0, 88]), near6("fd00::88"));
    let text = b"some text";
    let odd = |dst, ip| packet(dst, ip, 99, 64, b"whatever");
    let ping = |ip| icmp::echo_request(&to(P2, ip), ip, 64, 5, 6);
    vec![
        near("TCP refused going in", tcp(ROUTER, in4, SYN, b""), TTL4),
        near(
            "TCP/IPv6 refused going in",
            tcp(ROUTER, in6, SYN, b""),
            TTL6,
        ),
        near("UDP refused going in", udp(ROUTER, in4, 64, text), SAME),
        near(
            "UDP/IPv6 refused going in",
            udp(ROUTER, in6, 64, text),
            SAME,
        ),
        near("SCTP refused going in", sctp_init(ROUTER, in4), TTL4),
        near("SCTP/IPv6 refused going in", sctp_init(ROUTER, in6), TTL6),
        near("another protocol refused going in", odd(ROUTER, in4), SAME),
        near(
            "another protocol over IPv6 refused going in",
            odd(ROUTER, in6),
            SAME,
        ),
        near(
            "TCP data refused going in",
            tcp(ROUTER, in4, PUSH_ACK, text),
            RESET4,
        ),
        near(
            "TCP's end refused going in",
            tcp(ROUTER, in4, FIN_ACK, b""),
            RESET4,
        ),
        near("TCP with data at once", tcp(ROUTER, in4, SYN, text), RESET4),
        near(
            "SCTP that goes on refused",
            sctp_heartbeat(ROUTER, in4),
            TTL4,
        ),
        near("TCP refused going out", tcp(P2, out4, SYN, b""), TTL4),
        near("TCP/IPv6 refused going out", tcp(P2, out6, SYN, b""), TTL6),
        near("UDP refused going out", udp(P2, out4, 64, text), SAME),
        near("UDP/IPv6 refused going out", udp(P2, out6, 64, text), SAME),
        near("SCTP refused going out", sctp_init(P2, out4), TTL4),
        near("echo refused going out", ping(out4), SAME),
        near("echo over IPv6 refused going out", ping(out6), SAME),
        near("TCP without backends", tcp(ROUTER, lb4, SYN, b""), TTL4),
        near(
            "TCP/IPv6 without backends",
            tcp(ROUTER, lb6, SYN, b""),
            TTL6,
        ),
    ]
}

/// What a gateway says of packets that are too big for what is behind it.
pub fn too_big() -> Vec<Question> {
    let long = vec![7; 1400];
    vec![
        near(
            "fragmentation needed",
            udp(ROUTER, near4([10, 2, 0, 9]), 64, &long),
            SAME,
        ),
        near(
            "packet too big",
            udp(ROUTER, v6("fd00::1", "fd02::9"), 64, &long),
            SAME,
        ),
    ]
}
