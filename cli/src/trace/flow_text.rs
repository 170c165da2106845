//! A packet as Open vSwitch writes a flow, `tcp,reg14=0x1,...`, and values of fields as it writes them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use weft_lang::{FieldReader, OfField, Packet};

const IP4: u128 = 0x800;
const IP6: u128 = 0x86dd;
const ARP: u128 = 0x806;
const RARP: u128 = 0x8035;

/// Names of the bits of `ct_state`, from the first on.
const CT_BITS: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

/// `est|trk`
pub fn ct_state(bits: u128) -> String {
    let names = CT_BITS
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0);
    names.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

/// The bits of `--ct=est,trk`; `trk` is always set.
pub fn parse_ct_state(text: &str) -> Result<u128, String> {
    let words = text.split([',', ' ', '|']).filter(|word| !word.is_empty());
    words.into_iter().try_fold(1 << 5, |bits, word| {
        match CT_BITS.iter().position(|name| *name == word) {
            Some(bit) => Ok(bits | 1 << bit),
            None => Err(format!("{word}: unknown connection tracking state flag")),
        }
    })
}

/// `00:00:00:00:00:01`
pub fn mac(bits: u128) -> String {
    let bytes = weft_lang::constant::bits_mac(bits);
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// C's `%#x`: zero has no prefix.
pub fn hex(value: u128) -> String {
    if value == 0 {
        "0".to_string()
    } else {
        format!("{value:#x}")
    }
}

/// A value of a field as Open vSwitch writes it.
pub fn value(field: OfField, value: u128) -> String {
    match field {
        OfField::EthSrc
        | OfField::EthDst
        | OfField::ArpSha
        | OfField::ArpTha
        | OfField::NdSll
        | OfField::NdTll => mac(value),
        OfField::Ip4Src | OfField::Ip4Dst | OfField::ArpSpa | OfField::ArpTpa => {
            Ipv4Addr::from(value as u32).to_string()
        }
        OfField::Ip6Src | OfField::Ip6Dst | OfField::NdTarget => Ipv6Addr::from(value).to_string(),
        OfField::Reg(_)
        | OfField::Metadata
        | OfField::PktMark
        | OfField::CtMark
        | OfField::CtLabel => hex(value),
        _ => value.to_string(),
    }
}

const TCP_FLAGS: [&str; 12] = [
    "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
];

fn tcp_flags(bits: u128) -> String {
    if bits == 0 {
        return "0".to_string();
    }
    let names = TCP_FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0);
    names.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

/// What the packet is, in one word.
fn protocol(packet: &Packet) -> Option<&'static str> {
    match (packet.read(OfField::EthType), packet.read(OfField::IpProto)) {
        (IP4, 6) => Some("tcp"),
        (IP4, 17) => Some("udp"),
        (IP4, 132) => Some("sctp"),
        (IP4, 1) => Some("icmp"),
        (IP4, _) => Some("ip"),
        (IP6, 6) => Some("tcp6"),
        (IP6, 17) => Some("udp6"),
        (IP6, 132) => Some("sctp6"),
        (IP6, 58) => Some("icmp6"),
        (IP6, _) => Some("ipv6"),
        (ARP, _) => Some("arp"),
        (RARP, _) => Some("rarp"),
        _ => None,
    }
}

/// Every field the packet has, and of registers and metadata those that are not zero.
pub fn flow(packet: &Packet) -> String {
    let mut parts: Vec<String> = Vec::new();
    let read = |field| packet.read(field);
    if read(OfField::PktMark) != 0 {
        parts.push(format!("pkt_mark={:#x}", read(OfField::PktMark)));
    }
    if read(OfField::CtState) != 0 {
        parts.push(format!("ct_state={}", ct_state(read(OfField::CtState))));
    }
    if read(OfField::CtZone) != 0 {
        parts.push(format!("ct_zone={:#x}", read(OfField::CtZone)));
    }
    for (field, name) in [(OfField::CtMark, "ct_mark"), (OfField::CtLabel, "ct_label")] {
        if read(field) != 0 {
            parts.push(format!("{name}={:#x}", read(field)));
        }
    }
    let known = protocol(packet);
    parts.extend(known.map(str::to_string));
    for reg in 0..16 {
        let value = read(OfField::Reg(reg));
        if value != 0 {
            parts.push(format!("reg{reg}={value:#x}"));
        }
    }
    vlan(packet, &mut parts);
    parts.push(format!("dl_src={}", mac(read(OfField::EthSrc))));
    parts.push(format!("dl_dst={}", mac(read(OfField::EthDst))));
    match read(OfField::EthType) {
        IP4 => {
            parts.push(format!(
                "nw_src={}",
                value(OfField::Ip4Src, read(OfField::Ip4Src))
            ));
            parts.push(format!(
                "nw_dst={}",
                value(OfField::Ip4Dst, read(OfField::Ip4Dst))
            ));
            ip(packet, known == Some("ip"), &mut parts);
        }
        IP6 => {
            parts.push(format!(
                "ipv6_src={}",
                value(OfField::Ip6Src, read(OfField::Ip6Src))
            ));
            parts.push(format!(
                "ipv6_dst={}",
                value(OfField::Ip6Dst, read(OfField::Ip6Dst))
            ));
            parts.push(format!("ipv6_label=0x{:05x}", read(OfField::Ip6Label)));
            ip(packet, known == Some("ipv6"), &mut parts);
        }
        ARP | RARP => {
            for field in [
                OfField::ArpSpa,
                OfField::ArpTpa,
                OfField::ArpOp,
                OfField::ArpSha,
                OfField::ArpTha,
            ] {
                parts.push(format!("{}={}", field.name(), value(field, read(field))));
            }
        }
        other => parts.push(format!("dl_type=0x{other:04x}")),
    }
    parts.join(",")
}

fn vlan(packet: &Packet, parts: &mut Vec<String>) {
    let tci = packet.read(OfField::VlanTci);
    if tci & 0x1000 == 0 {
        parts.push(format!("vlan_tci=0x{tci:04x}"));
    } else {
        parts.push(format!("dl_vlan={}", tci & 0xfff));
        parts.push(format!("dl_vlan_pcp={}", tci >> 13));
    }
    if tci != 0 {
        parts.push("vlan_tci1=0x0000".to_string());
    }
}

fn ip(packet: &Packet, other: bool, parts: &mut Vec<String>) {
    let read = |field| packet.read(field);
    let proto = read(OfField::IpProto);
    if other {
        parts.push(format!("nw_proto={proto}"));
    }
    let fragment = match read(OfField::IpFrag) {
        0 => "no",
        1 => "first",
        3 => "later",
        // Not the first fragment of a packet that is no fragment.
        _ => "<error>",
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "nw_tos={},nw_ecn={},nw_ttl={},nw_frag={fragment}",
        read(OfField::IpDscp) << 2,
        read(OfField::IpEcn),
        read(OfField::IpTtl)
    );
    parts.push(text);
    if fragment == "later" {
        return;
    }
    let pair =
        |source, destination| format!("tp_src={},tp_dst={}", read(source), read(destination));
    match proto {
        6 => {
            parts.push(pair(OfField::TcpSrc, OfField::TcpDst));
            parts.push(format!("tcp_flags={}", tcp_flags(read(OfField::TcpFlags))));
        }
        17 => parts.push(pair(OfField::UdpSrc, OfField::UdpDst)),
        132 => parts.push(pair(OfField::SctpSrc, OfField::SctpDst)),
        1 if read(OfField::EthType) == IP4 => {
            parts.push(format!(
                "icmp_type={},icmp_code={}",
                read(OfField::Icmp4Type),
                read(OfField::Icmp4Code)
            ));
        }
        2 if read(OfField::EthType) == IP4 => {
            parts.push(format!(
                "tp_src={},tp_dst={}",
                read(OfField::Icmp4Type),
                read(OfField::Icmp4Code)
            ));
        }
        58 if read(OfField::EthType) == IP6 => neighbour(packet, parts),
        _ => {}
    }
}

fn neighbour(packet: &Packet, parts: &mut Vec<String>) {
    let (kind, code) = (
        packet.read(OfField::Icmp6Type),
        packet.read(OfField::Icmp6Code),
    );
    parts.push(format!("icmp_type={kind},icmp_code={code}"));
    if matches!(kind, 135 | 136) && code == 0 {
        for field in [OfField::NdTarget, OfField::NdSll, OfField::NdTll] {
            parts.push(format!(
                "{}={}",
                field.name(),
                value(field, packet.read(field))
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_as_open_vswitch_writes_them() {
        let mut packet = Packet::new();
        packet.write(OfField::Reg(14), 1);
        let ethernet =
            "reg14=0x1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00";
        assert_eq!(flow(&packet), format!("{ethernet},dl_type=0x0000"));
        packet.write(OfField::EthType, 0x800);
        packet.write(OfField::IpProto, 6);
        packet.write(OfField::TcpFlags, 4);
        let ip =
            "nw_src=0.0.0.0,nw_dst=0.0.0.0,nw_tos=0,nw_ecn=0,nw_ttl=0,nw_frag=no,tp_src=0,tp_dst=0";
        assert_eq!(flow(&packet), format!("tcp,{ethernet},{ip},tcp_flags=rst"));
    }

    #[test]
    fn states() {
        assert_eq!(
            parse_ct_state("new rpl").map(ct_state),
            Ok("new|rpl|trk".to_string())
        );
        assert!(parse_ct_state("old").is_err());
    }
}
