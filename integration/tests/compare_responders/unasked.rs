//! What controllers say unasked, and what comes of answers to that.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::wait_for;
use weft_packet::icmp::{self, Error};
use weft_packet::{Ethernet, Frame, Ip, protocol};

use crate::packets::{P1, SYN_ACK, segment};
use crate::{Bed, But, Place, frames, hex, masked};

/// Which packets, and the bytes that may differ.
struct Said {
    name: &'static str,
    at: Place,
    is: fn(&[u8]) -> bool,
    but: But,
}

const PROBE_TCP: But = &[
    (22..23, "TTL: stock's is 63"),
    (24..26, "the header's checksum"),
    (34..36, "source port"),
    (38..42, "sequence number"),
    (50..52, "checksum of these"),
];
const PROBE_UDP: But = &[
    (22..23, "TTL: stock's is 63"),
    (24..26, "the header's checksum"),
    (34..36, "source port"),
    (40..42, "its checksum"),
];
const BFD: But = &[
    (34..36, "source port: a number of northd's"),
    (40..42, "UDP's checksum over IPv4, which stock leaves out"),
    (46..50, "discriminator: a number of northd's"),
];
/// The end of a connection that was asked for with a number of the controller's choice.
const RESET: But = &[
    (22..23, "TTL: stock's is 63"),
    (24..26, "the header's checksum"),
    (34..36, "the port that the probe came from"),
    (
        38..42,
        "sequence number: stock's is one beyond what the service expects",
    ),
    (42..46, "stock acknowledges what the service said"),
    (47..48, "and says so"),
    (48..50, "stock's has a window"),
    (50..52, "checksum of these"),
];

const TCP_SERVICE: u16 = 8080;
const UDP_SERVICE: u16 = 8081;

fn is_ip4(frame: &[u8], protocol: u8, port: u16) -> bool {
    frame.len() >= 38
        && frame[12..14] == [8, 0]
        && frame[23] == protocol
        && frame[36..38] == port.to_be_bytes()
}

fn is_tcp_probe(frame: &[u8]) -> bool {
    is_ip4(frame, protocol::TCP, TCP_SERVICE) && frame[47] == 2
}

fn is_udp_probe(frame: &[u8]) -> bool {
    is_ip4(frame, protocol::UDP, UDP_SERVICE)
}

fn is_reset(frame: &[u8]) -> bool {
    is_ip4(frame, protocol::TCP, TCP_SERVICE) && frame[47] & 4 != 0
}

fn is_bfd(frame: &[u8]) -> bool {
    is_ip4(frame, protocol::UDP, 3784)
}

/// A router advertisement to everybody.
fn is_advert(frame: &[u8]) -> bool {
    frame.len() > 54
        && frame[..6] == [0x33, 0x33, 0, 0, 0, 1]
        && frame[12..14] == [0x86, 0xdd]
        && frame[20] == protocol::ICMPV6
        && frame[54] == 134
}

/// An ARP request of a machine for its own address.
fn is_gratuitous(frame: &[u8], mac: u8, ip: [u8; 4]) -> bool {
    frame.len() >= 42
        && frame[6..14] == [0x0a, 0, 0, 0, 2, mac, 8, 6]
        && frame[28..32] == ip
        && frame[38..42] == ip
}

/// Whether it may come at any time.
pub fn is_unasked(frame: &[u8]) -> bool {
    is_tcp_probe(frame)
        || is_udp_probe(frame)
        || is_reset(frame)
        || is_bfd(frame)
        || is_advert(frame)
}

const UNASKED: &[Said] = &[
    Said {
        name: "gratuitous ARP of a machine",
        at: Place::Outside,
        is: |frame| is_gratuitous(frame, 4, [10, 2, 0, 4]),
        but: &[],
    },
    Said {
        name: "gratuitous ARP of a router",
        at: Place::Outside,
        is: |frame| is_gratuitous(frame, 0xfe, [10, 2, 0, 254]),
        but: &[],
    },
    Said {
        name: "gratuitous ARP of a translated address",
        at: Place::Outside,
        is: |frame| is_gratuitous(frame, 0xfe, [10, 2, 0, 50]),
        but: &[],
    },
    Said {
        name: "RARP",
        at: Place::Outside,
        is: |frame| frame[6..14] == [0x0a, 0, 0, 0, 2, 6, 0x80, 0x35],
        but: &[],
    },
    Said {
        name: "periodic router advertisement",
        at: Place::Near,
        is: is_advert,
        but: &[],
    },
    Said {
        name: "health check with TCP",
        at: Place::Near,
        is: is_tcp_probe,
        but: PROBE_TCP,
    },
    Said {
        name: "health check with UDP",
        at: Place::Near,
        is: is_udp_probe,
        but: PROBE_UDP,
    },
    Said {
        name: "BFD",
        at: Place::Far,
        is: is_bfd,
        but: BFD,
    },
];

/// What makes controllers talk: a physical network, health checks, a session of BFD, periodic advertisements.
pub fn prepare(bed: &mut Bed) {
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
            lrp-add r r-u 0a:00:00:00:02:fe 10.2.0.254/24 fd02::fe/64
            lsp-add u u-r
            lsp-set-type u-r router
            lsp-set-addresses u-r router
            lsp-set-options u-r router-port=r-u nat-addresses=router
            lr-nat-add r dnat_and_snat 10.2.0.50 10.1.0.1
            set logical_router_port r-u options:gateway_mtu=1300
            set logical_router r options:chassis=h1
            set nb_global . options:svc_monitor_mac=0a:00:00:00:03:01
            lr-add q
            lrp-add q q-s 0a:00:00:00:00:fc 10.0.0.252/24 fd00::fc/64
            lsp-add s s-q
            lsp-set-type s-q router
            lsp-set-addresses s-q router
            lsp-set-options s-q router-port=q-s
            set logical_router_port q-s ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:send_periodic=true
            set logical_router_port q-s ipv6_ra_configs:router_preference=LOW ipv6_ra_configs:mtu=1400
            set logical_router_port q-s ipv6_ra_configs:max_interval=4 ipv6_ra_configs:min_interval=3
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
    lab.outside(
        &["h1"],
        "physnet",
        "out",
        "0a:00:00:00:02:09 10.2.0.9/24 fd02::9/64",
    );
    bed.outside = Some(lab.capture("out", "out", "-Q in -xx"));
    for (name, mac) in [("four", "04"), ("six", "06")] {
        lab.vm("h1", name, &format!("0a:00:00:00:02:{mac}"));
    }
}

fn heard(bed: &Bed, said: &Said) -> Vec<u8> {
    wait_for(CONVERGE, said.name, || {
        let heard = frames(bed.at(said.at));
        let found = heard
            .iter()
            .find(|frame| frame.len() > 14 && (said.is)(frame));
        let others = || heard.iter().map(|frame| hex(frame)).collect::<Vec<_>>();
        found
            .map(|frame| masked(frame, said.but))
            .ok_or_else(|| format!("only\n{}", others().join("\n")))
    })
}

fn difference(name: &str, ours: &[u8], stock: &[u8]) -> String {
    match ours == stock {
        true => String::new(),
        false => format!("{name}:\n  ours  {}\n  stock {}\n", hex(ours), hex(stock)),
    }
}

/// What they say differently.
pub fn compare(beds: &[Bed; 2]) -> String {
    let differences = UNASKED.iter().map(|said| {
        let [ours, stock] = beds.each_ref().map(|bed| heard(bed, said));
        difference(said.name, &ours, &stock)
    });
    differences.collect()
}

/// Answers to the sender of a probe, from the machine that was probed.
type Reply = fn(&Ethernet, &Ip<'_>) -> Vec<u8>;

fn ports(probe: &Ip<'_>) -> (u16, u16) {
    let at = |n: usize| u16::from_be_bytes([probe.payload[n], probe.payload[n + 1]]);
    (at(2), at(0))
}

fn next_number(probe: &Ip<'_>) -> u32 {
    let sequence: [u8; 4] = probe.payload[4..8].try_into().unwrap();
    u32::from_be_bytes(sequence).wrapping_add(1)
}

fn answered(ethernet: &Ethernet, probe: &Ip<'_>, flags: u8) -> Vec<u8> {
    let back = probe.header.reversed();
    let numbers = (1000, next_number(probe));
    let tcp = segment(back, ports(probe), flags, numbers, b"");
    ethernet.frame(&back.packet(protocol::TCP, 64, &tcp))
}

fn accepted(ethernet: &Ethernet, probe: &Ip<'_>) -> Vec<u8> {
    answered(ethernet, probe, SYN_ACK)
}

fn refused(ethernet: &Ethernet, probe: &Ip<'_>) -> Vec<u8> {
    const RST_ACK: u8 = 4 | 16;
    answered(ethernet, probe, RST_ACK)
}

fn unreachable(ethernet: &Ethernet, probe: &Ip<'_>) -> Vec<u8> {
    let port = Error {
        kind: icmp::V4_UNREACHABLE,
        code: 3,
        rest: 0,
    };
    icmp::error(ethernet, probe.header.reversed(), 64, port, probe)
}

/// Whether the service takes it: it has the number after that of the probe from the same port.
fn is_expected(bed: &Bed, reset: &[u8]) -> bool {
    frames(&bed.near).iter().any(|probe| {
        let Ok(frame) = Frame::parse(probe) else {
            return false;
        };
        let Ok(ip) = Ip::parse(&frame) else {
            return false;
        };
        is_tcp_probe(probe)
            && probe[34..36] == reset[34..36]
            && next_number(&ip).to_be_bytes() == reset[38..42]
    })
}

/// Answers every probe until `done`.
fn reply<T>(
    bed: &Bed,
    what: &str,
    is_probe: fn(&[u8]) -> bool,
    reply: Reply,
    mut done: impl FnMut() -> Result<T, String>,
) -> T {
    let mut known = frames(&bed.near).len();
    wait_for(CONVERGE, what, || {
        let now = frames(&bed.near);
        for probe in now[known..].iter().filter(|frame| is_probe(frame)) {
            let frame = Frame::parse(probe).unwrap();
            let ip = Ip::parse(&frame).unwrap();
            let ethernet = Ethernet::new(P1, frame.ethernet.src, frame.ethernet.ethertype);
            bed.send(&reply(&ethernet, &ip));
        }
        known = now.len();
        done()
    })
}

/// The status that the southbound has of a service.
fn has_status(bed: &Bed, service: &str, status: &str) -> Result<(), String> {
    let condition = format!("protocol={service}");
    let seen = bed.lab.sb_get("service_monitor", "status", &condition);
    ensure(seen.trim() == status, seen)
}

/// Answers to probes: who is there, who is not, and how a connection that was only asked for is ended.
pub fn answer_probes(beds: &[Bed; 2]) -> String {
    let resets = beds.each_ref().map(|bed| {
        let reset = reply(
            bed,
            "the end of a connection",
            is_tcp_probe,
            accepted,
            || {
                let mut heard = frames(&bed.near).into_iter();
                heard.find(|f| is_reset(f)).ok_or("no reset".to_owned())
            },
        );
        has_status_soon(bed, "tcp", "online", is_tcp_probe, accepted);
        has_status_soon(bed, "udp", "offline", is_udp_probe, unreachable);
        has_status_soon(bed, "tcp", "offline", is_tcp_probe, refused);
        reset
    });
    let [ours, stock] = resets;
    assert!(is_expected(&beds[0], &ours), "{}", hex(&ours));
    let [ours, stock] = [ours, stock].map(|reset| masked(&reset, RESET));
    difference("end of a health check with TCP", &ours, &stock)
}

fn has_status_soon(
    bed: &Bed,
    service: &str,
    status: &str,
    is_probe: fn(&[u8]) -> bool,
    with: Reply,
) {
    let what = format!("{service} to be {status}");
    reply(bed, &what, is_probe, with, || {
        has_status(bed, service, status)
    });
}
