//! A packet in words, as Open vSwitch writes flows: `tcp,vlan_tci=0x0000,dl_src=...,tp_dst=80,tcp_flags=syn`.
//!
//! Guarantees: the fields, their order and form are those that `ovs-ofctl parse-pcap` prints for the packet (but for the
//! port it came in by), for whatever the packet holds; what a broken header does not say is zero. MPLS labels and network
//! service headers are not looked into.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::{Ethernet, Frame, Mac, Vlan, ethertype, protocol};

const RARP: u16 = 0x8035;
/// What Open vSwitch calls an 802.2 frame without a type.
const NO_TYPE: u16 = 0x05ff;
const IGMP: u8 = 2;
/// A fragment header; also what Open vSwitch calls the protocol of a later fragment of IPv6.
const FRAGMENT: u8 = 44;
const TCP_FLAGS: [&str; 9] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The packet in words; what is no Ethernet frame has none.
pub fn describe(packet: &[u8]) -> String {
    let mut out = String::new();
    if let Some(frame) = frame(packet) {
        // Writing into a string does not fail.
        let _ = write_frame(&mut out, &frame);
    }
    out
}

/// Two tags at most are looked at, and one that is cut off is no tag.
fn frame(packet: &[u8]) -> Option<Frame<'_>> {
    let (head, mut payload) = packet.split_at_checked(14)?;
    let mut ethernet = Ethernet::new(Mac(array(head, 6)), Mac(array(head, 0)), u16_at(head, 12));
    while ethernet.vlans.len() < 2
        && matches!(ethernet.ethertype, ethertype::VLAN | ethertype::QINQ)
        && let Some((tag, rest)) = payload.split_at_checked(4)
    {
        ethernet.vlans.push(Vlan {
            tpid: ethernet.ethertype,
            tci: u16_at(tag, 0),
        });
        ethernet.ethertype = u16_at(tag, 2);
        payload = rest;
    }
    Some(Frame { ethernet, payload })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map_or(0, u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let these = bytes.get(at..at + N).and_then(|b| b.try_into().ok());
    these.unwrap_or([0; N])
}

fn write_frame(out: &mut String, frame: &Frame<'_>) -> fmt::Result {
    let ethernet = &frame.ethernet;
    let (dl_type, payload) = match ethernet.ethertype {
        typed @ 0x600.. => (typed, frame.payload),
        _ => match frame.payload.strip_prefix(&[0xaa, 0xaa, 3, 0, 0, 0]) {
            Some(rest) if u16_at(rest, 0) >= 0x600 => (u16_at(rest, 0), &rest[2..]),
            _ => (NO_TYPE, frame.payload),
        },
    };
    let ip = match dl_type {
        ethertype::IPV4 => Some(Ip::v4(payload).unwrap_or_else(|| Ip::nothing(false))),
        ethertype::IPV6 => Some(Ip::v6(payload).unwrap_or_else(|| Ip::nothing(true))),
        _ => None,
    };
    let name = match (&ip, dl_type) {
        (Some(ip), _) => ip.name(),
        (None, ethertype::ARP) => "arp",
        (None, RARP) => "rarp",
        _ => "",
    };
    if !name.is_empty() {
        write!(out, "{name},")?;
    }
    let tags = &ethernet.vlans;
    for (n, tag) in tags.iter().take(2).enumerate() {
        let n = if n == 0 { "" } else { "1" };
        write!(
            out,
            "dl_vlan{n}={},dl_vlan_pcp{n}={},",
            tag.tci & 0xfff,
            tag.tci >> 13
        )?;
    }
    match tags.len() {
        0 => out.push_str("vlan_tci=0x0000,"),
        1 => out.push_str("vlan_tci1=0x0000,"),
        _ => {}
    }
    write!(out, "dl_src={},dl_dst={}", ethernet.src, ethernet.dst)?;
    match ip {
        Some(ip) => ip.write(out),
        None if matches!(dl_type, ethertype::ARP | RARP) => write_arp(out, payload),
        None => write!(out, ",dl_type=0x{dl_type:04x}"),
    }
}

fn write_arp(out: &mut String, arp: &[u8]) -> fmt::Result {
    // Ethernet and IPv4, or it says nothing.
    let arp = if arp.len() >= 28 && arp.starts_with(&[0, 1, 8, 0, 6, 4]) {
        arp
    } else {
        &[]
    };
    let ip = |at| Ipv4Addr::from(array::<4>(arp, at));
    let mac = |at| Mac(array(arp, at));
    let op = Some(u16_at(arp, 6)).filter(|op| *op < 256).unwrap_or(0);
    write!(
        out,
        ",arp_spa={},arp_tpa={},arp_op={op},arp_sha={},arp_tha={}",
        ip(14),
        ip(24),
        mac(8),
        mac(18)
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragment {
    No,
    First,
    Later,
}

#[derive(Clone, Copy)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr, u32),
}

/// An IP packet as flows see it.
struct Ip<'a> {
    addresses: Addresses,
    protocol: u8,
    tos: u8,
    ttl: u8,
    fragment: Fragment,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn nothing(v6: bool) -> Ip<'static> {
        Ip {
            addresses: match v6 {
                true => Addresses::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, 0),
                false => Addresses::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
            },
            protocol: 0,
            tos: 0,
            ttl: 0,
            fragment: Fragment::No,
            payload: &[],
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<Ip<'a>> {
        let head = bytes.get(..20)?;
        let (head_len, len) = (usize::from(head[0] & 15) * 4, usize::from(u16_at(head, 2)));
        if head_len < 20 || len < head_len {
            return None;
        }
        let place = u16_at(head, 6);
        Some(Ip {
            addresses: Addresses::V4(array::<4>(head, 12).into(), array::<4>(head, 16).into()),
            protocol: head[9],
            tos: head[1],
            ttl: head[8],
            fragment: match (place & 0x1fff, place & 0x2000) {
                (0, 0) => Fragment::No,
                (0, _) => Fragment::First,
                _ => Fragment::Later,
            },
            payload: unpadded(bytes, len)?.get(head_len..)?,
        })
    }

    fn v6(bytes: &'a [u8]) -> Option<Ip<'a>> {
        let head = bytes.get(..40)?;
        let first = u32::from_be_bytes(array(head, 0));
        let (src, dst) = (array::<16>(head, 8).into(), array::<16>(head, 24).into());
        let payload = unpadded(&bytes[40..], usize::from(u16_at(head, 4)))?;
        let Some((protocol, fragment, payload)) = behind_extensions(head[6], payload) else {
            return Some(Ip {
                addresses: Addresses::V6(src, dst, 0),
                ..Ip::nothing(true)
            });
        };
        Some(Ip {
            addresses: Addresses::V6(src, dst, first & 0xf_ffff),
            protocol,
            tos: (first >> 20) as u8,
            ttl: head[7],
            fragment,
            payload,
        })
    }

    fn is_v6(&self) -> bool {
        matches!(self.addresses, Addresses::V6(..))
    }

    fn name(&self) -> &'static str {
        match (self.protocol, self.is_v6()) {
            (protocol::TCP, false) => "tcp",
            (protocol::UDP, false) => "udp",
            (protocol::SCTP, false) => "sctp",
            (protocol::ICMP, false) => "icmp",
            (_, false) => "ip",
            (protocol::TCP, true) => "tcp6",
            (protocol::UDP, true) => "udp6",
            (protocol::SCTP, true) => "sctp6",
            (protocol::ICMPV6, true) => "icmp6",
            (_, true) => "ipv6",
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        match self.addresses {
            Addresses::V4(src, dst) => write!(out, ",nw_src={src},nw_dst={dst}")?,
            Addresses::V6(src, dst, label) => write!(
                out,
                ",ipv6_src={src},ipv6_dst={dst},ipv6_label=0x{label:05x}"
            )?,
        }
        if matches!(self.name(), "ip" | "ipv6") {
            write!(out, ",nw_proto={}", self.protocol)?;
        }
        let (tos, ecn) = (self.tos & 0xfc, self.tos & 3);
        write!(out, ",nw_tos={tos},nw_ecn={ecn},nw_ttl={}", self.ttl)?;
        out.push_str(match self.fragment {
            Fragment::No => ",nw_frag=no",
            Fragment::First => ",nw_frag=first",
            Fragment::Later => return out.write_str(",nw_frag=later"),
        });
        self.write_transport(out)
    }

    fn write_transport(&self, out: &mut String) -> fmt::Result {
        // A header that is cut off says nothing.
        let head = |len: usize| self.payload.get(..len).unwrap_or(&[]);
        let ports = |out: &mut String, head: &[u8]| {
            write!(
                out,
                ",tp_src={},tp_dst={}",
                u16_at(head, 0),
                u16_at(head, 2)
            )
        };
        let kind = |out: &mut String, head: &[u8]| {
            let [kind, code] = array(head, 0);
            write!(out, ",icmp_type={kind},icmp_code={code}")
        };
        let type_and_code = |out: &mut String, head: &[u8]| {
            let [kind, code] = array(head, 0);
            write!(out, ",tp_src={kind},tp_dst={code}")
        };
        match (self.protocol, self.is_v6()) {
            (protocol::TCP, _) => {
                let offset = usize::from(head(20).get(12).map_or(0, |byte| byte >> 4)) * 4;
                let sound = (20..=self.payload.len()).contains(&offset);
                let head = if sound { head(20) } else { &[] };
                ports(out, head)?;
                out.push_str(",tcp_flags=");
                write_tcp_flags(out, u16_at(head, 12) & 0xfff)
            }
            (protocol::UDP, _) => ports(out, head(8)),
            (protocol::SCTP, _) => ports(out, head(12)),
            (protocol::ICMP, false) => kind(out, head(8)),
            // Messages of the other family are read all the same.
            (IGMP, _) | (protocol::ICMP, true) => type_and_code(out, head(8)),
            (protocol::ICMPV6, false) => type_and_code(out, head(4)),
            (protocol::ICMPV6, true) => {
                let head = head(4);
                kind(out, head)?;
                if let Some([SOLICITATION | ADVERTISEMENT, 0]) = head.get(..2) {
                    self.write_nd(out)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn write_nd(&self, out: &mut String) -> fmt::Result {
        let target = Ipv6Addr::from(array::<16>(self.payload, 8));
        let (mut sll, mut tll) = (Mac::ZERO, Mac::ZERO);
        let mut options = self.payload.get(24..).unwrap_or(&[]);
        while let &[kind, len, ..] = options {
            let Some((option, rest)) = options.split_at_checked(usize::from(len) * 8) else {
                break;
            };
            match (kind, len) {
                (_, 0) => break,
                (1, 1) => sll = Mac(array(option, 2)),
                (2, 1) => tll = Mac(array(option, 2)),
                _ => {}
            }
            options = rest;
        }
        write!(out, ",nd_target={target},nd_sll={sll},nd_tll={tll}")
    }
}

/// Protocol, kind of fragment and transport header of an IPv6 packet.
fn behind_extensions(mut protocol: u8, mut payload: &[u8]) -> Option<(u8, Fragment, &[u8])> {
    let mut fragment = Fragment::No;
    loop {
        let len = match protocol {
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => usize::from(*payload.get(1)?) * 8 + 8,
            // Authentication.
            51 => usize::from(*payload.get(1)?) * 4 + 8,
            FRAGMENT => 8,
            _ => return Some((protocol, fragment, payload)),
        };
        let (extension, rest) = payload.split_at_checked(len)?;
        if protocol == FRAGMENT {
            match u16_at(extension, 2) {
                place if place & 0xfff8 != 0 => return Some((protocol, Fragment::Later, rest)),
                place if place & 1 != 0 => fragment = Fragment::First,
                _ => {}
            }
        }
        protocol = extension[0];
        payload = rest;
    }
}

/// What is within the length that the header tells. More than 255 bytes behind it, or less than it, is no packet.
fn unpadded(bytes: &[u8], len: usize) -> Option<&[u8]> {
    bytes.get(..len).filter(|_| bytes.len() - len < 256)
}

fn write_tcp_flags(out: &mut String, flags: u16) -> fmt::Result {
    if flags == 0 {
        return out.write_char('0');
    }
    let mut between = "";
    for bit in (0..12).filter(|bit| flags & 1 << bit != 0) {
        match TCP_FLAGS.get(bit) {
            Some(name) => write!(out, "{between}{name}")?,
            None => write!(out, "{between}[{:x}]", 1 << bit)?,
        }
        between = "|";
    }
    Ok(())
}
