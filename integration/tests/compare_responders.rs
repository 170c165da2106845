//! The same questions to our controller and to stock's, under the same (stock) northd, on a bridge each: the same answers, byte
//! for byte, but for what [`Question::but`] names. What differs on purpose beyond that is listed in `docs/responders.md`.
//!
//! Questions are put into the bridge as if the machine had sent them, and answers are what reaches its device; the machine
//! itself has no address and says nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::{Duration, Instant};

use weft_integration::capture::Capture;
use weft_integration::lab::CONVERGE;
use weft_integration::{Impls, Lab, wait_for};
use weft_packet::{Ethernet, IpHeader, Mac, arp, icmp, nd, protocol, transport};

/// An answer that has not come by then will not.
const PATIENCE: Duration = Duration::from_secs(5);

const P1: Mac = Mac([0x0a, 0, 0, 0, 0, 1]);
const ROUTER: Mac = Mac([0x0a, 0, 0, 0, 0, 0xfe]);

const NETWORK: &str = r#"ls-add s
    ls-add t
    lr-add r
    lrp-add r r-s 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
    lrp-add r r-t 0a:00:00:00:01:fe 10.1.0.254/24 fd01::fe/64
    lsp-add s s-r
    lsp-set-type s-r router
    lsp-set-options s-r router-port=r-s arp_proxy="10.0.0.200"
    lsp-set-addresses s-r router
    lsp-add t t-r
    lsp-set-type t-r router
    lsp-set-options t-r router-port=r-t
    lsp-set-addresses t-r router
    lsp-add s p1
    lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
    lsp-add s p2
    lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'
    lsp-add t t1
    lsp-set-addresses t1 '0a:00:00:00:01:01 10.1.0.1 fd01::1'
    set logical_router_port r-s ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:mtu=1400
    acl-add s from-lport 100 'inport == "p1" && (ip4.dst == 10.0.0.77 || ip6.dst == fd00::77)' reject
    --id=@d create dns records='{"vm1.org"="10.0.0.4 fd00::4"}' -- add logical_switch s dns_records @d
    --id=@d4 create dhcp_options cidr=10.0.0.0/24 options='{"server_id"="10.0.0.253","server_mac"="0a:00:00:00:00:fd","lease_time"="3600","router"="10.0.0.254","dns_server"="{10.0.0.8,10.0.0.9}","mtu"="1400"}' -- set logical_switch_port p1 dhcpv4_options=@d4
    --id=@d6 create dhcp_options cidr='"fd00::/64"' options='{"server_id"="0a:00:00:00:00:fd","dns_server"="fd00::8"}' -- set logical_switch_port p1 dhcpv6_options=@d6"#;

/// One host with silent machines, and what reaches `p1` and `t1`.
struct Bed {
    lab: Lab,
    near: Capture,
    far: Capture,
}

fn frames(capture: &Capture) -> BTreeSet<Vec<u8>> {
    let packets = capture.packets().into_iter();
    let frames = packets.filter_map(|packet| {
        // The bytes come last, in lines that begin with an offset; options of router advertisements are shown so too.
        let (_, bytes) = packet.rsplit_once("0x0000:")?;
        let bytes = bytes.split_whitespace();
        let digits: String = bytes.filter(|word| !word.ends_with(':')).collect();
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len() / 2).map(|n| byte(2 * n)).collect()
    });
    frames.collect()
}

impl Bed {
    fn new(impls: Impls) -> Bed {
        let lab = Lab::new(impls, 1);
        lab.nb(NETWORK);
        for (name, mac) in [("p1", "00:01"), ("p2", "00:02"), ("t1", "01:01")] {
            lab.vm("h1", name, &format!("0a:00:00:00:{mac}"));
            lab.vm_run(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
                .ok();
        }
        let capture = |vm: &str| lab.capture(vm, vm, "-Q in -xx");
        let (near, far) = (capture("p1"), capture("t1"));
        lab.ready();
        Bed { lab, near, far }
    }

    /// As if `p1` had sent it.
    fn send(&self, frame: &[u8]) {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!(
            "ovs-ofctl -O OpenFlow15 packet-out br-int in_port=p1,packet={hex},actions=resubmit(,0)"
        );
        self.lab.run("h1", &line).ok();
    }

    /// What there is new in a capture, once there is something; nothing if nothing comes.
    fn hear(&self, at: At, before: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let new: Vec<_> = frames(self.at(at)).difference(before).cloned().collect();
            if !new.is_empty() || Instant::now() > until {
                return new;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn at(&self, at: At) -> &Capture {
        match at {
            At::Near => &self.near,
            At::Far => &self.far,
        }
    }
}

/// Where the answer is heard.
#[derive(Clone, Copy)]
enum At {
    /// Where the question came from.
    Near,
    /// Behind the router.
    Far,
}

struct Question {
    name: &'static str,
    frame: Vec<u8>,
    at: At,
    /// Bytes of the answer that may differ, and why.
    but: &'static [(Range<usize>, &'static str)],
}

fn v4(src: [u8; 4], dst: [u8; 4]) -> IpHeader {
    IpHeader::V4 {
        src: src.into(),
        dst: dst.into(),
    }
}

fn v6(src: &str, dst: &str) -> IpHeader {
    IpHeader::V6 {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
    }
}

fn to(dst: Mac, ip: IpHeader) -> Ethernet {
    Ethernet::new(P1, dst, ip.ethertype())
}

fn packet(dst: Mac, ip: IpHeader, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    to(dst, ip).frame(&ip.packet(protocol, ttl, payload))
}

fn router_solicitation() -> Vec<u8> {
    let ip = v6("fe80::800:ff:fe00:1", "ff02::2");
    let mut body = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    body.extend_from_slice(&P1.0);
    let sum = ip.transport_checksum(protocol::ICMPV6, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(
        Mac([0x33, 0x33, 0, 0, 0, 2]),
        ip,
        protocol::ICMPV6,
        255,
        &body,
    )
}

fn dhcp4(kind: u8, more: &[u8]) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0];
    bootp.resize(28, 0);
    bootp.extend_from_slice(&P1.0);
    bootp.resize(236, 0);
    bootp.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    bootp.extend_from_slice(more);
    bootp.extend_from_slice(&[55, 4, 1, 3, 6, 26, 255]);
    let ip = v4([0; 4], [255; 4]);
    transport::udp(&to(Mac([255; 6]), ip), ip, 64, 68, 67, &bootp)
}

fn dhcp6(kind: u8, server: bool) -> Vec<u8> {
    let mut message = vec![kind, 1, 2, 3, 0, 1, 0, 10, 0, 3, 0, 1];
    message.extend_from_slice(&P1.0);
    if server {
        message.extend_from_slice(&[0, 2, 0, 10, 0, 3, 0, 1, 0x0a, 0, 0, 0, 0, 0xfd]);
    }
    message.extend_from_slice(&[
        0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 2, 0, 23,
    ]);
    let ip = v6("fe80::800:ff:fe00:1", "ff02::1:2");
    transport::udp(
        &to(Mac([0x33, 0x33, 0, 1, 0, 2]), ip),
        ip,
        64,
        546,
        547,
        &message,
    )
}

fn dns(kind: u8, ip: IpHeader) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(b"\x03vm1\x03org\0");
    query.extend_from_slice(&[0, kind, 0, 1]);
    transport::udp(&to(ROUTER, ip), ip, 64, 5000, 53, &query)
}

fn sctp_init(ip: IpHeader) -> Vec<u8> {
    let mut sctp = vec![0x13, 0x88, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    sctp.extend_from_slice(&[1, 0, 0, 20, 1, 2, 3, 4, 0, 1, 0, 0, 0, 1, 0, 1, 5, 6, 7, 8]);
    let sum = weft_packet::crc32c(&sctp).to_le_bytes();
    sctp[8..12].copy_from_slice(&sum);
    packet(ROUTER, ip, protocol::SCTP, 64, &sctp)
}

/// UDP over IPv4 without a checksum, or with one: both are right (RFC 768).
const UDP4_SUM: (Range<usize>, &str) = (40..42, "UDP's checksum over IPv4, which stock leaves out");

/// Stock sends what ends a connection with the TTL of what it is about, less one: it may not get back.
const TTL4: &[(Range<usize>, &str)] = &[(22..23, "TTL"), (24..26, "the header's checksum")];
const TTL6: &[(Range<usize>, &str)] = &[(21..22, "hop limit")];

fn questions() -> Vec<Question> {
    let near4 = |dst| v4([10, 0, 0, 1], dst);
    let near6 = |dst| v6("fd00::1", dst);
    let own4 = Ipv4Addr::new(10, 0, 0, 1);
    let own6: Ipv6Addr = "fd00::1".parse().unwrap();
    let udp = |ip: IpHeader, ttl| transport::udp(&to(ROUTER, ip), ip, ttl, 4000, 9, b"some text");
    let syn = |ip: IpHeader| transport::tcp_syn(&to(ROUTER, ip), ip, 64, 4000, 9, 77);
    let echo = |ip: IpHeader| icmp::echo_request(&to(ROUTER, ip), ip, 64, 5, 6);
    let ask4 = |n| arp::request(P1, own4, [10, 0, 0, n].into());
    let ask6 = |ip: &str| nd::solicit(P1, own6, ip.parse().unwrap());
    let mut all = Vec::new();
    let mut add = |name, frame, at, but| {
        all.push(Question {
            name,
            frame,
            at,
            but,
        });
    };
    let none: &[(Range<usize>, &str)] = &[];
    add("ARP for a machine", ask4(2), At::Near, none);
    add("ARP for the router", ask4(254), At::Near, none);
    add("ARP proxy", ask4(200), At::Near, none);
    add("ND for a machine", ask6("fd00::2"), At::Near, none);
    add("ND for the router", ask6("fd00::fe"), At::Near, none);
    add(
        "router advertisement",
        router_solicitation(),
        At::Near,
        none,
    );
    add("DHCPv4 discover", dhcp4(1, &[]), At::Near, none);
    let wanted = [50, 4, 10, 0, 0, 1, 54, 4, 10, 0, 0, 253];
    add("DHCPv4 request", dhcp4(3, &wanted), At::Near, none);
    let wrong = [50, 4, 10, 0, 0, 9, 54, 4, 10, 0, 0, 253];
    add(
        "DHCPv4 request for another address",
        dhcp4(3, &wrong),
        At::Near,
        none,
    );
    add("DHCPv6 solicit", dhcp6(1, false), At::Near, none);
    add("DHCPv6 request", dhcp6(3, true), At::Near, none);
    let to_dns = near4([10, 0, 0, 8]);
    add(
        "DNS A",
        dns(1, to_dns),
        At::Near,
        std::slice::from_ref(&UDP4_SUM),
    );
    add(
        "DNS AAAA over IPv6",
        dns(28, near6("fd00::8")),
        At::Near,
        none,
    );
    add(
        "echo over IPv4",
        echo(near4([10, 0, 0, 254])),
        At::Near,
        none,
    );
    add("echo over IPv6", echo(near6("fd00::fe")), At::Near, none);
    add(
        "time exceeded over IPv4",
        udp(near4([10, 1, 0, 1]), 1),
        At::Near,
        none,
    );
    add(
        "time exceeded over IPv6",
        udp(near6("fd01::1"), 1),
        At::Near,
        none,
    );
    add(
        "port unreachable over IPv4",
        udp(near4([10, 0, 0, 254]), 64),
        At::Near,
        none,
    );
    add(
        "port unreachable over IPv6",
        udp(near6("fd00::fe"), 64),
        At::Near,
        none,
    );
    let odd = packet(ROUTER, near4([10, 0, 0, 254]), 99, 64, b"whatever");
    add("protocol unreachable", odd, At::Near, none);
    add(
        "reset by the router over IPv4",
        syn(near4([10, 0, 0, 254])),
        At::Near,
        TTL4,
    );
    add(
        "reset by the router over IPv6",
        syn(near6("fd00::fe")),
        At::Near,
        TTL6,
    );
    add(
        "TCP refused by an ACL",
        syn(near4([10, 0, 0, 77])),
        At::Near,
        TTL4,
    );
    add(
        "TCP over IPv6 refused by an ACL",
        syn(near6("fd00::77")),
        At::Near,
        TTL6,
    );
    add(
        "UDP refused by an ACL",
        udp(near4([10, 0, 0, 77]), 64),
        At::Near,
        none,
    );
    add(
        "UDP over IPv6 refused by an ACL",
        udp(near6("fd00::77"), 64),
        At::Near,
        none,
    );
    add(
        "SCTP refused by an ACL",
        sctp_init(near4([10, 0, 0, 77])),
        At::Near,
        TTL4,
    );
    add(
        "SCTP over IPv6 refused by an ACL",
        sctp_init(near6("fd00::77")),
        At::Near,
        TTL6,
    );
    add(
        "ARP for a next hop",
        udp(near4([10, 1, 0, 99]), 64),
        At::Far,
        none,
    );
    add(
        "ND for a next hop",
        udp(near6("fd01::99"), 64),
        At::Far,
        none,
    );
    all
}

fn masked(frame: &[u8], but: &[(Range<usize>, &str)]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for (range, _) in but {
        if let Some(bytes) = frame.get_mut(range.clone()) {
            bytes.fill(0);
        }
    }
    frame
}

fn hex(frame: &[u8]) -> String {
    let words: Vec<String> = frame
        .chunks(2)
        .map(|w| w.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    words.join(" ")
}

#[test]
fn same_answers_byte_for_byte() {
    let beds = [Bed::new(Impls::WEFT_CONTROLLER), Bed::new(Impls::STOCK)];
    let mut differences = String::new();
    for question in questions() {
        let [ours, stock] = beds.each_ref().map(|bed| {
            let before = frames(bed.at(question.at));
            bed.send(&question.frame);
            let heard = bed.hear(question.at, &before);
            heard
                .iter()
                .map(|frame| masked(frame, question.but))
                .collect::<Vec<_>>()
        });
        if ours != stock || ours.is_empty() {
            let list = |all: &[Vec<u8>]| {
                all.iter()
                    .map(|f| hex(f))
                    .collect::<Vec<_>>()
                    .join("\n    ")
            };
            differences += &format!(
                "{}:\n  ours\n    {}\n  stock\n    {}\n",
                question.name,
                list(&ours),
                list(&stock)
            );
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// What controllers say unasked: which packets, and the bytes that may differ.
struct Said {
    name: &'static str,
    at: Place,
    is: fn(&[u8]) -> bool,
    but: &'static [(Range<usize>, &'static str)],
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Near,
    Far,
    Outside,
}

const PROBE_TCP: &[(Range<usize>, &str)] = &[
    (22..23, "TTL: stock's is 63"),
    (24..26, "the header's checksum"),
    (34..36, "source port"),
    (38..42, "sequence number"),
    (50..52, "checksum of these"),
];
const PROBE_UDP: &[(Range<usize>, &str)] = &[
    (22..23, "TTL: stock's is 63"),
    (24..26, "the header's checksum"),
    (34..36, "source port"),
    (40..42, "its checksum"),
];
const BFD: &[(Range<usize>, &str)] = &[
    (34..36, "source port: a number of northd's"),
    (40..42, "UDP's checksum over IPv4, which stock leaves out"),
    (46..50, "discriminator: a number of northd's"),
];

fn is_ip4(frame: &[u8], protocol: u8, port: u16) -> bool {
    frame.len() >= 38
        && frame[12..14] == [8, 0]
        && frame[23] == protocol
        && frame[36..38] == port.to_be_bytes()
}

const UNASKED: &[Said] = &[
    Said {
        name: "gratuitous ARP",
        at: Place::Outside,
        is: |frame| frame[6..14] == [0x0a, 0, 0, 0, 2, 4, 8, 6],
        but: &[],
    },
    Said {
        name: "RARP",
        at: Place::Outside,
        is: |frame| frame[6..14] == [0x0a, 0, 0, 0, 2, 6, 0x80, 0x35],
        but: &[],
    },
    Said {
        name: "health check with TCP",
        at: Place::Near,
        is: |frame| is_ip4(frame, protocol::TCP, 8080),
        but: PROBE_TCP,
    },
    Said {
        name: "health check with UDP",
        at: Place::Near,
        is: |frame| is_ip4(frame, protocol::UDP, 8081),
        but: PROBE_UDP,
    },
    Said {
        name: "BFD",
        at: Place::Far,
        is: |frame| is_ip4(frame, protocol::UDP, 3784),
        but: BFD,
    },
];

#[test]
fn same_words_unasked() {
    let heard = [Impls::WEFT_CONTROLLER, Impls::STOCK].map(|impls| {
        let bed = Bed::new(impls);
        let lab = &bed.lab;
        lab.nb("ls-add u
                lsp-add u ln
                lsp-set-type ln localnet
                lsp-set-addresses ln unknown
                lsp-set-options ln network_name=physnet
                lsp-add u four
                lsp-set-addresses four '0a:00:00:00:02:04 10.2.0.4'
                lsp-add u six
                lsp-set-addresses six '0a:00:00:00:02:06 fd02::6'
                set logical_router r options:chassis=h1
                set nb_global . options:svc_monitor_mac=0a:00:00:00:03:01
                --bfd lr-route-add r 10.9.0.0/16 10.1.0.1 r-t
                lb-add tcp 192.0.2.1:80 10.0.0.1:8080 tcp
                lb-add udp 192.0.2.1:80 10.0.0.1:8081 udp
                ls-lb-add s tcp
                ls-lb-add s udp");
        for lb in ["tcp", "udp"] {
            lab.nb(&format!(
                "--id=@check create load_balancer_health_check vip='\"192.0.2.1:80\"' options:interval=1 -- \
                 add load_balancer {lb} health_check @check
                 set load_balancer {lb} ip_port_mappings:10.0.0.1=p1:10.0.0.250"
            ));
        }
        lab.outside(&["h1"], "physnet", "out", "0a:00:00:00:02:09 10.2.0.9/24");
        let outside = lab.capture("out", "out", "-Q in -xx");
        for (name, mac) in [("four", "04"), ("six", "06")] {
            lab.vm("h1", name, &format!("0a:00:00:00:02:{mac}"));
        }
        UNASKED.iter().map(|said| {
            let at = match said.at {
                Place::Near => &bed.near,
                Place::Far => &bed.far,
                Place::Outside => &outside,
            };
            wait_for(CONVERGE, said.name, || {
                let found = frames(at).into_iter().find(|frame| frame.len() > 14 && (said.is)(frame));
                found.map(|frame| masked(&frame, said.but)).ok_or("not heard".to_owned())
            })
        }).collect::<Vec<_>>()
    });
    let mut differences = String::new();
    for ((said, ours), stock) in UNASKED.iter().zip(&heard[0]).zip(&heard[1]) {
        if ours != stock {
            differences += &format!(
                "{}:\n  ours  {}\n  stock {}\n",
                said.name,
                hex(ours),
                hex(stock)
            );
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}
