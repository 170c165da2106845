//! Health checks: rows of Service_Monitor whose port is bound here are probed, and what comes of it is their status.
//!
//! A TCP service is online when it accepts a connection (which is reset at once), a UDP service when no ICMP error says
//! that it is not there before the time is up. Guarantees: a status is written when it changes, after as many results
//! in a row as `success_count` and `failure_count` say; a row that is not ours any more is forgotten.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use weft_openflow::{Action, ActionList, Field, Message, PacketIn, PacketOut};
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, protocol, transport};
use weft_schemas::sb;

use super::icmp::TTL;
use super::port;
use crate::core::Core;
use crate::flow::{REG_INPORT, REG_OUTPORT};
use crate::index::Index;
use crate::tables;

/// Ports that probes come from.
const FIRST_PORT: u16 = 32_768;

/// The checks that are made here.
#[derive(Debug, Default)]
pub struct Monitors {
    probes: FxHashMap<Uuid, Probe>,
}

#[derive(Debug)]
struct Probe {
    /// The next probe, or when the present one has failed (for UDP: has not).
    due: Instant,
    waiting: bool,
    from_port: u16,
    /// Results in a row: above zero good ones, below bad ones.
    row: i64,
    status: Option<&'static str>,
}

/// What a row asks for.
struct Wish<'a> {
    uuid: Uuid,
    row: &'a sb::ServiceMonitor,
    ip: IpAddr,
    source: IpAddr,
    port: u16,
    udp: bool,
    datapath: u32,
    port_key: u32,
    mac: Mac,
    src_mac: Mac,
}

fn seconds(row: &sb::ServiceMonitor, option: &str, default: u64) -> Duration {
    let number = row.options.get(option).and_then(|text| text.parse().ok());
    Duration::from_secs(number.filter(|n| *n > 0).unwrap_or(default))
}

fn count(row: &sb::ServiceMonitor, option: &str) -> i64 {
    let number = row.options.get(option).and_then(|text| text.parse().ok());
    number.filter(|n| *n > 0).unwrap_or(1)
}

impl<'a> Wish<'a> {
    /// If it is for us.
    fn of(core: &'a Core, uuid: Uuid, row: &'a sb::ServiceMonitor) -> Option<Wish<'a>> {
        let inputs = &core.inputs;
        let me = core.me()?.chassis?;
        let binding = *inputs
            .idx
            .find(Index::PortByName, &*row.logical_port)
            .first()?;
        let binding = inputs.sb.port_binding.get(binding)?;
        if binding.chassis != Some(me) {
            return None;
        }
        let udp = match row.protocol.as_deref() {
            Some("udp") => true,
            None | Some("tcp") => false,
            Some(_) => return None,
        };
        let datapath = inputs.sb.datapath_binding.get(binding.datapath)?;
        let macs = || {
            binding.mac.iter().filter_map(|text| {
                let mut words = text.split_whitespace();
                Some((text, crate::address::parse_mac(words.next()?)?))
            })
        };
        let has_ip = |text: &Str| text.split_whitespace().any(|word| word == &*row.ip);
        let mac = macs()
            .find(|(text, _)| has_ip(text))
            .or_else(|| macs().next())?
            .1;
        Some(Wish {
            uuid,
            row,
            ip: row.ip.parse().ok()?,
            source: row.src_ip.parse().ok()?,
            port: u16::try_from(row.port).ok()?,
            udp,
            datapath: u32::try_from(datapath.tunnel_key).ok()?,
            port_key: u32::try_from(binding.tunnel_key).ok()?,
            mac: Mac::from_u64(mac),
            src_mac: Mac::from_u64(crate::address::parse_mac(&row.src_mac)?),
        })
    }

    fn header(&self) -> Option<IpHeader> {
        match (self.source, self.ip) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(IpHeader::V4 { src, dst }),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(IpHeader::V6 { src, dst }),
            _ => None,
        }
    }

    /// To the machine behind the port.
    fn send(&self, packet: Vec<u8>) -> Message {
        let actions = ActionList::from([
            Action::set(Field::Metadata, self.datapath),
            Action::set(REG_OUTPORT, self.port_key),
            Action::resubmit(tables::LOCAL_OUTPUT),
        ]);
        Message::PacketOut(PacketOut::new(packet, actions))
    }

    fn probe(&self, from_port: u16, sequence: u32) -> Option<Message> {
        let ip = self.header()?;
        let ethernet = Ethernet::new(self.src_mac, self.mac, ip.ethertype());
        Some(self.send(match self.udp {
            true => transport::udp(&ethernet, ip, TTL, from_port, self.port, &[]),
            false => transport::tcp_syn(&ethernet, ip, TTL, from_port, self.port, sequence),
        }))
    }
}

impl Monitors {
    /// Probes what is due and takes the silence of others for an answer.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> Vec<Message> {
        let mut send = Vec::new();
        let mut ours = FxHashSet::default();
        for (uuid, row) in core.inputs.sb.service_monitor.iter() {
            let Some(wish) = Wish::of(core, uuid, row) else {
                continue;
            };
            ours.insert(uuid);
            let probe = self.probes.entry(uuid).or_insert_with(|| Probe {
                due: now,
                waiting: false,
                from_port: FIRST_PORT + (uuid.short() % 16_384) as u16,
                row: 0,
                status: None,
            });
            if probe.due > now {
                continue;
            }
            if probe.waiting {
                probe.result(&wish, wish.udp, now);
                continue;
            }
            probe.waiting = true;
            probe.due = now + seconds(row, "timeout", 3);
            // Another port every time: what is left of an earlier probe is not taken for an answer to this one.
            probe.from_port = FIRST_PORT + (probe.from_port - FIRST_PORT + 1) % 16_384;
            let sequence = uuid.short().wrapping_mul(u32::from(probe.from_port) | 1);
            send.extend(wish.probe(probe.from_port, sequence));
        }
        self.probes.retain(|uuid, _| ours.contains(uuid));
        send
    }

    /// A machine behind a port answers, or its network does.
    pub(super) fn heard(&mut self, packet: &PacketIn, core: &Core, now: Instant) -> Vec<Message> {
        self.answer(packet, core, now).unwrap_or_default()
    }

    fn answer(&mut self, packet: &PacketIn, core: &Core, now: Instant) -> Option<Vec<Message>> {
        let key = |field| u32::try_from(packet.metadata_value(field)).ok();
        let (_, binding) = port::find(core, key(Field::Metadata)?, key(REG_INPORT)?)?;
        let frame = Frame::parse(&packet.packet).ok()?;
        let ip = Ip::parse(&frame).ok()?;
        let heard = Heard::of(&ip)?;
        let rows = core.inputs.sb.service_monitor.iter();
        let mut rows = rows.filter(|(_, row)| {
            row.logical_port == binding.logical_port && i64::from(heard.service) == row.port
        });
        let wish = rows.find_map(|(uuid, row)| {
            let wish = Wish::of(core, uuid, row)?;
            (wish.udp == heard.udp && wish.ip == heard.from).then_some(wish)
        })?;
        let probe = self.probes.get_mut(&wish.uuid)?;
        let mut send = Vec::new();
        if heard.accepted {
            // Nobody wants the connection: the service need not wait for more.
            let ethernet =
                Ethernet::new(wish.src_mac, frame.ethernet.src, frame.ethernet.ethertype);
            let reset = transport::tcp_reset(&ethernet, ip.header.reversed(), TTL, &ip);
            send.extend(reset.ok().map(|reset| wish.send(reset)));
        }
        if probe.waiting && probe.from_port == heard.to_port {
            probe.result(&wish, heard.accepted, now);
        }
        Some(send)
    }

    /// Statuses that are not written yet.
    pub(super) fn write(&self, core: &Core, txn: &mut Txn) {
        for (uuid, probe) in &self.probes {
            let Some(row) = core.inputs.sb.service_monitor.get(*uuid) else {
                continue;
            };
            if let Some(status) = probe.status
                && row.status.as_deref() != Some(status)
            {
                let new = sb::ServiceMonitor {
                    status: Some(status.into()),
                    ..sb::ServiceMonitor::default()
                };
                txn.update(*uuid, &new, sb::service_monitor::STATUS);
                txn.may_cut();
            }
        }
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.probes.values().map(|probe| probe.due).min()
    }
}

impl Probe {
    fn result(&mut self, wish: &Wish<'_>, good: bool, now: Instant) {
        self.waiting = false;
        self.due = now + seconds(wish.row, "interval", 5);
        self.row = match good {
            true => self.row.max(0) + 1,
            false => self.row.min(0) - 1,
        };
        if self.row >= count(wish.row, "success_count") {
            self.status = Some("online");
        } else if -self.row >= count(wish.row, "failure_count") {
            self.status = Some("offline");
        }
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    udp: bool,
    from: IpAddr,
    /// The port of the service.
    service: u16,
    /// The port the probe came from.
    to_port: u16,
    accepted: bool,
}

fn port_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl Heard {
    fn of(ip: &Ip<'_>) -> Option<Heard> {
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        let from = ip.header.src();
        if ip.protocol == protocol::TCP {
            let flags = *ip.payload.get(13)?;
            let accepted = flags & (SYN | ACK) == SYN | ACK;
            return (accepted || flags & RST != 0).then_some(Heard {
                udp: false,
                from,
                service: port_at(ip.payload, 0)?,
                to_port: port_at(ip.payload, 2)?,
                accepted,
            });
        }
        // Destination unreachable, with the datagram that could not be delivered.
        let inner_at = match (ip.header, ip.protocol, *ip.payload.first()?) {
            (IpHeader::V4 { .. }, protocol::ICMP, 3) => {
                8 + usize::from(ip.payload.get(8)? & 15) * 4
            }
            (IpHeader::V6 { .. }, protocol::ICMPV6, 1) => 8 + 40,
            _ => return None,
        };
        Some(Heard {
            udp: true,
            from,
            service: port_at(ip.payload, inner_at + 2)?,
            to_port: port_at(ip.payload, inner_at)?,
            accepted: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn heard(packet: &[u8]) -> Option<Heard> {
        let frame = Frame::parse(packet).unwrap();
        Heard::of(&Ip::parse(&frame).unwrap())
    }

    #[test]
    fn a_reset_is_a_refusal_and_a_probe_is_no_answer() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let ip = IpHeader::V4 { src: a, dst: b };
        let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ip.ethertype());
        let syn = transport::tcp_syn(&ethernet, ip, TTL, 1234, 80, 7);
        assert_eq!(heard(&syn), None);
        let frame = Frame::parse(&syn).unwrap();
        let seen = Ip::parse(&frame).unwrap();
        let reset = transport::tcp_reset(&ethernet, ip.reversed(), TTL, &seen).unwrap();
        let refused = Heard {
            udp: false,
            from: b.into(),
            service: 80,
            to_port: 1234,
            accepted: false,
        };
        assert_eq!(heard(&reset), Some(refused));
        let udp = transport::udp(&ethernet, ip, TTL, 1234, 53, &[]);
        assert_eq!(heard(&udp), None);
    }
}
