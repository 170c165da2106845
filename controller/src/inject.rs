//! `inject-pkt`: a packet made from a microflow expression, put into the pipeline where its logical port would put it.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_lang::{Cmp, Const, Env, Expr, FieldReader, Int, OfField, Packet, RelOp, annotate, field};
use weft_openflow::{Action, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::arp::Arp;
use weft_packet::{Ethernet, IpHeader, Mac, Vlan, crc32c, ethertype, internet_checksum, protocol};

use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::{REG_CT_ZONE, REG_DNAT_ZONE, REG_INPORT, REG_SNAT_ZONE};
use crate::index::Index;
use crate::physical::port_key;
use crate::program::Key;
use crate::tables;
use crate::zones::{DATAPATH_ZONES, DatapathZones, PORT_ZONE};

/// Bytes after the last header, in protocols that carry some.
const PAYLOAD: usize = 64;
/// The bit of a VLAN TCI that says that there is a tag.
const VLAN_PRESENT: u16 = 0x1000;
/// What a reversed ARP has for its Ethernet type.
const RARP: u16 = 0x8035;

/// The packet-out for a microflow.
///
/// # Errors
/// A message for the operator, when the expression is malformed, contradicts itself, or names no port of this chassis.
pub fn packet_out(core: &Core, text: &str) -> Result<Message, String> {
    let expr = weft_lang::parse_match(text)
        .map_err(|why| format!("at character {}: {why}", why.span.start + 1))?;
    let expr = annotate(&expr);
    let mut names = Vec::new();
    inports(&expr, &mut names);
    names.dedup();
    let name = match names.as_slice() {
        [] => return Err("the microflow names no inport".into()),
        [name] => name,
        _ => return Err("the microflow names several inports".into()),
    };
    let sb = &core.inputs.sb;
    let port = core
        .inputs
        .idx
        .find(Index::PortByName, &**name)
        .first()
        .copied();
    let Some((port, row)) = port.and_then(|uuid| Some((uuid, sb.port_binding.get(uuid)?))) else {
        return Err(format!("unknown port \"{name}\""));
    };
    let here = core
        .engine()
        .value::<Place>(BINDING.id(), Key::Row(port))
        .is_some_and(|place| place.is_here());
    if !here {
        return Err(format!("port \"{name}\" is not on this chassis"));
    }
    let datapath = sb
        .datapath_binding
        .get(row.datapath)
        .and_then(|row| port_key(row.tunnel_key));
    let (Some(datapath), Some(key)) = (datapath, port_key(row.tunnel_key)) else {
        return Err(format!("port \"{name}\" has no tunnel key"));
    };
    let names = Names {
        core,
        datapath: row.datapath,
        key: datapath,
    };
    let packet = weft_lang::microflow(&expr, &names).ok_or("no packet can match the microflow")?;
    let mut actions = Vec::new();
    if let Some(zone) = core.engine().value::<u16>(PORT_ZONE.id(), Key::Row(port)) {
        actions.push(Action::set(REG_CT_ZONE, *zone));
    }
    if let Some(zones) = core
        .engine()
        .value::<DatapathZones>(DATAPATH_ZONES.id(), Key::Row(row.datapath))
    {
        actions.push(Action::set(REG_DNAT_ZONE, zones.dnat));
        actions.push(Action::set(REG_SNAT_ZONE, zones.snat));
    }
    actions.push(Action::set(Field::Metadata, datapath));
    actions.push(Action::set(REG_INPORT, key));
    actions.push(Action::resubmit(tables::LOG_INGRESS));
    Ok(Message::PacketOut(PacketOut::new(
        frame(&packet),
        actions.as_slice(),
    )))
}

/// The ports that the expression says the packet may come by.
fn inports(expr: &Expr, names: &mut Vec<String>) {
    expr.walk(&mut |part| {
        if let Expr::Cmp(Cmp {
            field,
            op: RelOp::Eq,
            operand,
        }) = part
            && *field == field::INPORT
        {
            names.extend(
                operand
                    .constants()
                    .iter()
                    .filter_map(|constant| match constant {
                        Const::Str(name) => Some(name.to_string()),
                        Const::Int(_) | Const::Set(_) | Const::Group(_) | Const::Template(_) => {
                            None
                        }
                    }),
            );
        }
    });
}

/// What names mean on a datapath.
struct Names<'a> {
    core: &'a Core,
    datapath: Uuid,
    key: u32,
}

impl Env for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        let uuid = *self.core.inputs.idx.find(Index::PortByName, name).first()?;
        let row = self.core.inputs.sb.port_binding.get(uuid)?;
        (row.datapath == self.datapath)
            .then(|| port_key(row.tunnel_key))
            .flatten()
    }

    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        let uuid = *self
            .core
            .inputs
            .idx
            .find(Index::AddressSetByName, name)
            .first()?;
        let row = self.core.inputs.sb.address_set.get(uuid)?;
        let constants = row
            .addresses
            .iter()
            .filter_map(|text| weft_lang::parse_constants(text).ok());
        Some(
            constants
                .flat_map(|(all, _)| {
                    all.iter()
                        .filter_map(Const::as_int)
                        .copied()
                        .collect::<Vec<_>>()
                })
                .collect(),
        )
    }

    fn port_group(&self, _: weft_lang::Field, name: &str) -> Option<Vec<u32>> {
        let of_datapath = format!("{}_{name}", self.key);
        let idx = &self.core.inputs.idx;
        let found = idx.find(Index::PortGroupByName, &*of_datapath).first();
        let uuid = *found.or_else(|| idx.find(Index::PortGroupByName, name).first())?;
        let row = self.core.inputs.sb.port_group.get(uuid)?;
        Some(
            row.ports
                .iter()
                .filter_map(|port| self.port(port))
                .collect(),
        )
    }

    fn is_resident(&self, port: &str) -> bool {
        let uuid = self.core.inputs.idx.find(Index::PortByName, port).first();
        let place = uuid.and_then(|uuid| {
            self.core
                .engine()
                .value::<Place>(BINDING.id(), Key::Row(*uuid))
        });
        place.is_some_and(|place| place.is_here())
    }
}

/// A field of at most 64 bits; its width bounds it.
fn get<const N: usize>(packet: &Packet, of: OfField) -> [u8; N] {
    let bytes = packet.read(of).to_be_bytes();
    let mut out = [0; N];
    out.copy_from_slice(&bytes[bytes.len() - N..]);
    out
}

fn word(packet: &Packet, of: OfField) -> u16 {
    u16::from_be_bytes(get(packet, of))
}

fn byte(packet: &Packet, of: OfField) -> u8 {
    let [byte] = get(packet, of);
    byte
}

/// The bytes of a packet with these fields.
fn frame(packet: &Packet) -> Vec<u8> {
    let kind = word(packet, OfField::EthType);
    let mut ethernet = Ethernet::new(
        Mac(get(packet, OfField::EthSrc)),
        Mac(get(packet, OfField::EthDst)),
        kind,
    );
    let tci = word(packet, OfField::VlanTci);
    if tci & VLAN_PRESENT != 0 {
        ethernet.vlans.push(Vlan {
            tpid: ethertype::VLAN,
            tci: tci & !VLAN_PRESENT,
        });
    }
    match kind {
        ethertype::IPV4 | ethertype::IPV6 => ethernet.frame(&ip(packet, kind == ethertype::IPV6)),
        ethertype::ARP | RARP => {
            let arp = Arp {
                op: word(packet, OfField::ArpOp),
                sha: Mac(get(packet, OfField::ArpSha)),
                spa: get::<4>(packet, OfField::ArpSpa).into(),
                tha: Mac(get(packet, OfField::ArpTha)),
                tpa: get::<4>(packet, OfField::ArpTpa).into(),
            };
            ethernet.frame(&arp.to_bytes())
        }
        _ => ethernet.frame(&[0; PAYLOAD]),
    }
}

fn ip(packet: &Packet, six: bool) -> Vec<u8> {
    let header = if six {
        IpHeader::V6 {
            src: Ipv6Addr::from(packet.read(OfField::Ip6Src)),
            dst: Ipv6Addr::from(packet.read(OfField::Ip6Dst)),
        }
    } else {
        IpHeader::V4 {
            src: Ipv4Addr::from(get::<4>(packet, OfField::Ip4Src)),
            dst: Ipv4Addr::from(get::<4>(packet, OfField::Ip4Dst)),
        }
    };
    let next = byte(packet, OfField::IpProto);
    let segment = segment(packet, header, next);
    let mut out = header.packet(next, byte(packet, OfField::IpTtl), &segment);
    let class = byte(packet, OfField::IpDscp) << 2 | byte(packet, OfField::IpEcn);
    if six {
        let label: [u8; 4] = get(packet, OfField::Ip6Label);
        let first = 6 << 28 | u32::from(class) << 20 | u32::from_be_bytes(label);
        out[..4].copy_from_slice(&first.to_be_bytes());
    } else {
        out[1] = class;
        out[10..12].fill(0);
        let sum = internet_checksum(&[&out[..20]]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    out
}

/// The transport header with its payload; where its checksum is depends on the protocol.
fn segment(packet: &Packet, header: IpHeader, next: u8) -> Vec<u8> {
    let ports =
        |src: OfField, dst: OfField| [get::<2>(packet, src), get::<2>(packet, dst)].concat();
    let with_sum = |mut bytes: Vec<u8>, at: usize| {
        let sum = match header.transport_checksum(next, &bytes) {
            // Zero would mean that there is none (RFC 768).
            0 if next == protocol::UDP => u16::MAX,
            sum => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    match next {
        protocol::TCP => {
            let mut bytes = ports(OfField::TcpSrc, OfField::TcpDst);
            bytes.resize(20 + PAYLOAD, 0);
            // Five words of header.
            let offset = 5 << 12 | word(packet, OfField::TcpFlags);
            bytes[12..14].copy_from_slice(&offset.to_be_bytes());
            with_sum(bytes, 16)
        }
        protocol::UDP => {
            let mut bytes = ports(OfField::UdpSrc, OfField::UdpDst);
            bytes.resize(8 + PAYLOAD, 0);
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            with_sum(bytes, 6)
        }
        protocol::SCTP => {
            let mut bytes = ports(OfField::SctpSrc, OfField::SctpDst);
            bytes.resize(12, 0);
            // The one checksum that goes out least significant byte first (RFC 9260, appendix A).
            let sum = crc32c(&bytes);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
            bytes
        }
        protocol::ICMP => {
            let mut bytes = vec![
                byte(packet, OfField::Icmp4Type),
                byte(packet, OfField::Icmp4Code),
            ];
            bytes.resize(8 + PAYLOAD, 0);
            let sum = internet_checksum(&[&bytes]);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            bytes
        }
        protocol::ICMPV6 => with_sum(icmp6(packet), 2),
        _ => vec![0; PAYLOAD],
    }
}

/// With target and link-layer address where it is neighbour discovery (RFC 4861, sections 4.3, 4.4).
fn icmp6(packet: &Packet) -> Vec<u8> {
    let kind = byte(packet, OfField::Icmp6Type);
    let mut bytes = vec![kind, byte(packet, OfField::Icmp6Code)];
    bytes.resize(8, 0);
    let (option, address) = match kind {
        135 => (1, OfField::NdSll),
        136 => (2, OfField::NdTll),
        _ => {
            bytes.resize(8 + PAYLOAD, 0);
            return bytes;
        }
    };
    bytes.extend(packet.read(OfField::NdTarget).to_be_bytes());
    if packet.read(address) != 0 {
        bytes.extend([option, 1]);
        bytes.extend(get::<6>(packet, address));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use weft_lang::NoEnv;
    use weft_packet::{Frame, Ip};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let expr = annotate(&weft_lang::parse_match(text).unwrap());
        frame(&weft_lang::microflow(&expr, &NoEnv).unwrap())
    }

    #[test]
    fn packets_of_both_versions_have_what_was_said_and_right_checksums() {
        let out = bytes(
            "eth.src == 02:00:00:00:00:01 && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && ip.ttl == 64 && ip.dscp == 10 && udp.dst == 53",
        );
        let frame = Frame::parse(&out).unwrap();
        assert_eq!(frame.ethernet.src, Mac([2, 0, 0, 0, 0, 1]));
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!(ip.protocol, protocol::UDP);
        assert_eq!((frame.payload[8], frame.payload[1]), (64, 10 << 2));
        assert_eq!(internet_checksum(&[&frame.payload[..20]]), 0);
        assert_eq!(ip.payload[2..4], [0, 53]);
        assert_eq!(ip.header.transport_checksum(protocol::UDP, ip.payload), 0);
        let out = bytes(
            "ip6.src == fd00::1 && ip6.dst == fd00::2 && ip.dscp == 1 && tcp.src == 7 && tcp.flags == 2",
        );
        let frame = Frame::parse(&out).unwrap();
        let ip = Ip::parse(&frame).unwrap();
        assert_eq!((frame.payload[0], frame.payload[1]), (0x60, 0x40));
        assert_eq!(
            (&ip.payload[..2], &ip.payload[12..14]),
            (&[0u8, 7][..], &[0x50u8, 2][..])
        );
        assert_eq!(ip.header.transport_checksum(protocol::TCP, ip.payload), 0);
    }

    #[test]
    fn neighbour_packets() {
        let out = bytes(
            "arp.op == 1 && arp.spa == 10.0.0.1 && arp.tpa == 10.0.0.2 && vlan.vid == 5 && vlan.present",
        );
        let frame = Frame::parse(&out).unwrap();
        assert_eq!(frame.ethernet.vlans[0].tci, 5);
        assert_eq!(Arp::parse(&frame).unwrap().tpa, Ipv4Addr::new(10, 0, 0, 2));
        let out =
            bytes("nd_ns && nd.target == fd00::2 && nd.sll == 02:00:00:00:00:01 && ip.ttl == 255");
        let nd = weft_packet::nd::Nd::parse(&Frame::parse(&out).unwrap()).unwrap();
        assert_eq!(nd.link_address(), Some(Mac([2, 0, 0, 0, 0, 1])));
    }

    #[test]
    fn ports_are_looked_for() {
        let core = Core::new(crate::program::Settings::default()).unwrap();
        let why = |text: &str| packet_out(&core, text).unwrap_err();
        assert!(why("ip4 &&").starts_with("at character"));
        assert!(why("ip4").contains("names no inport"));
        assert!(why("inport == \"p\" || inport == \"q\"").contains("several"));
        assert_eq!(why("inport == \"p\" && ip4"), "unknown port \"p\"");
    }
}
