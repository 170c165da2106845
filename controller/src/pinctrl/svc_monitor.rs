//! Health checks: rows of Service_Monitor whose port is bound here are probed, and what comes of it is their status.
//!
//! A TCP service is online when it accepts a connection (which is reset at once), a UDP service when no ICMP error says
//! that it is not there before the time is up, a host when it answers an ICMP echo request, a network function when it
//! lets one through: what goes in by one of its ports (`logical_input_port`) comes out by the other. Guarantees: a status
//! is written when it changes, after as many results in a row as `success_count` and `failure_count` say; only the answer
//! to the present probe counts; a row that is not ours any more is forgotten.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use weft_openflow::{Action, ActionList, Field, Message, PacketIn, PacketOut};
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_packet::icmp::{Echo, echo_request};
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
const PORTS: u16 = 16_384;
/// So many of the last probes may still be answered.
const LATE: u16 = 8;

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

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Icmp,
}

/// What a row asks for.
struct Wish<'a> {
    uuid: Uuid,
    row: &'a sb::ServiceMonitor,
    ip: IpAddr,
    source: IpAddr,
    port: u16,
    kind: Kind,
    /// The network function lets it through; nobody answers.
    passes: bool,
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

/// The Ethernet address that a port has together with an IP address, or else its first one.
fn mac_of(binding: &sb::PortBinding, ip: &str) -> Option<u64> {
    let macs = || {
        binding.mac.iter().filter_map(|text| {
            let mac = text.split_whitespace().next()?;
            Some((text, crate::address::parse_mac(mac)?))
        })
    };
    let has_ip = |text: &Str| text.split_whitespace().any(|word| word == ip);
    let with_ip = macs().find(|(text, _)| has_ip(text));
    with_ip.or_else(|| macs().next()).map(|(_, mac)| mac)
}

impl<'a> Wish<'a> {
    /// If it is for us.
    fn of(core: &'a Core, uuid: Uuid, row: &'a sb::ServiceMonitor) -> Option<Wish<'a>> {
        if row.remote {
            // Another deployment checks it.
            return None;
        }
        let inputs = &core.inputs;
        let me = core.me()?.chassis?;
        let here = |name: &Str| {
            let binding = *inputs.idx.find(Index::PortByName, &**name).first()?;
            let binding = inputs.sb.port_binding.get(binding)?;
            (binding.chassis == Some(me)).then_some(binding)
        };
        let binding = here(&row.logical_port)?;
        let passes = row.type_.as_deref() == Some("network-function");
        let entry = match passes {
            true => here(&row.logical_input_port)?,
            false => binding,
        };
        let kind = match row.protocol.as_deref() {
            _ if passes => Kind::Icmp,
            Some("udp") => Kind::Udp,
            Some("icmp") => Kind::Icmp,
            None | Some("tcp") => Kind::Tcp,
            Some(_) => return None,
        };
        let datapath = inputs.sb.datapath_binding.get(entry.datapath)?;
        let mac = match row.mac.is_empty() {
            true => mac_of(binding, &row.ip)?,
            false => crate::address::parse_mac(&row.mac)?,
        };
        Some(Wish {
            uuid,
            row,
            ip: row.ip.parse().ok()?,
            source: row.src_ip.parse().ok()?,
            port: u16::try_from(row.port).ok()?,
            kind,
            passes,
            datapath: u32::try_from(datapath.tunnel_key).ok()?,
            port_key: u32::try_from(entry.tunnel_key).ok()?,
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

    /// The probe that goes out with this number, from 32768 on.
    fn probe(&self, number: u16) -> Option<Message> {
        let ip = self.header()?;
        let ethernet = Ethernet::new(self.src_mac, self.mac, ip.ethertype());
        Some(self.send(match self.kind {
            Kind::Udp => transport::udp(&ethernet, ip, TTL, number, self.port, &[0; 8]),
            Kind::Icmp => echo_request(&ethernet, ip, TTL, self.identifier(), number),
            Kind::Tcp => {
                let sequence = self.uuid.short().wrapping_mul(u32::from(number) | 1);
                transport::tcp_syn(&ethernet, ip, TTL, number, self.port, sequence)
            }
        }))
    }

    /// Of the row's echo requests.
    fn identifier(&self) -> u16 {
        (self.uuid.short() >> 8) as u16
    }

    /// Whether it is an answer to a probe of this kind; which one, the number says.
    fn is_answered_by(&self, heard: &Heard) -> bool {
        let ours = match heard.what {
            What::Port { kind, service } => kind == self.kind && service == self.port,
            What::Echo {
                request,
                identifier,
            } => {
                self.kind == Kind::Icmp && request == self.passes && identifier == self.identifier()
            }
        };
        let from = if self.passes { self.source } else { self.ip };
        ours && from == heard.from
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
                from_port: FIRST_PORT + (uuid.short() % u32::from(PORTS)) as u16,
                row: 0,
                status: None,
            });
            if probe.due > now {
                continue;
            }
            if probe.waiting {
                probe.result(&wish, wish.kind == Kind::Udp, now);
                continue;
            }
            probe.waiting = true;
            probe.due = now + seconds(row, "timeout", 3);
            // Another port every time: what is left of an earlier probe is not taken for an answer to this one.
            probe.from_port = FIRST_PORT + (probe.from_port - FIRST_PORT + 1) % PORTS;
            send.extend(wish.probe(probe.from_port));
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
        let mut rows = rows.filter(|(_, row)| row.logical_port == binding.logical_port);
        let wish = rows.find_map(|(uuid, row)| {
            let wish = Wish::of(core, uuid, row)?;
            wish.is_answered_by(&heard).then_some(wish)
        })?;
        let probe = self.probes.get_mut(&wish.uuid)?;
        let mut send = Vec::new();
        // A router, in whose name is probed, may have connections of its own.
        let ours = probe.has_sent(heard.number);
        if ours && heard.accepted && wish.kind == Kind::Tcp {
            // Nobody wants the connection: the service need not wait for more.
            let ethernet =
                Ethernet::new(wish.src_mac, frame.ethernet.src, frame.ethernet.ethertype);
            let reset = transport::tcp_reset(&ethernet, ip.header.reversed(), TTL, &ip);
            send.extend(reset.ok().map(|reset| wish.send(reset)));
        }
        if probe.waiting && probe.from_port == heard.number {
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
    /// Whether it was one of the last probes.
    fn has_sent(&self, number: u16) -> bool {
        self.from_port.wrapping_sub(number) % PORTS < LATE
    }

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
    from: IpAddr,
    what: What,
    /// The number of the probe.
    number: u16,
    accepted: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The service at a port answers, or another says that it is not there.
    Port { kind: Kind, service: u16 },
    /// An echo reply, or the request itself.
    Echo { request: bool, identifier: u16 },
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
                from,
                what: What::Port {
                    kind: Kind::Tcp,
                    service: port_at(ip.payload, 0)?,
                },
                number: port_at(ip.payload, 2)?,
                accepted,
            });
        }
        if let Some(echo) = Echo::parse(ip) {
            return Some(Heard {
                from,
                what: What::Echo {
                    request: echo.request,
                    identifier: echo.identifier,
                },
                number: echo.sequence,
                accepted: true,
            });
        }
        // Destination unreachable, with the datagram that could not be delivered.
        let (inner_protocol, inner_at) = match (ip.header, ip.protocol, *ip.payload.first()?) {
            (IpHeader::V4 { .. }, protocol::ICMP, 3) => (
                *ip.payload.get(8 + 9)?,
                8 + usize::from(ip.payload.get(8)? & 15) * 4,
            ),
            (IpHeader::V6 { .. }, protocol::ICMPV6, 1) => (*ip.payload.get(8 + 6)?, 8 + 40),
            _ => return None,
        };
        (inner_protocol == protocol::UDP).then_some(Heard {
            from,
            what: What::Port {
                kind: Kind::Udp,
                service: port_at(ip.payload, inner_at + 2)?,
            },
            number: port_at(ip.payload, inner_at)?,
            accepted: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use weft_ovsdb::model::RowUpdate;

    use super::*;
    use crate::testing::local_database;

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
            from: b.into(),
            what: What::Port {
                kind: Kind::Tcp,
                service: 80,
            },
            number: 1234,
            accepted: false,
        };
        assert_eq!(heard(&reset), Some(refused));
        let udp = transport::udp(&ethernet, ip, TTL, 1234, 53, &[]);
        assert_eq!(heard(&udp), None);
    }

    #[test]
    fn an_error_is_an_answer_only_to_a_datagram() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let ip = IpHeader::V4 { src: a, dst: b };
        let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ip.ethertype());
        let about = |packet: &[u8]| {
            let frame = Frame::parse(packet).unwrap();
            let seen = Ip::parse(&frame).unwrap();
            let unreachable = super::super::icmp::V4_HOST_UNREACHABLE;
            weft_packet::icmp::error(&ethernet, ip.reversed(), TTL, unreachable, &seen)
        };
        let refused = Heard {
            from: b.into(),
            what: What::Port {
                kind: Kind::Udp,
                service: 53,
            },
            number: 1234,
            accepted: false,
        };
        let udp = transport::udp(&ethernet, ip, TTL, 1234, 53, &[]);
        assert_eq!(heard(&about(&udp)), Some(refused));
        let syn = transport::tcp_syn(&ethernet, ip, TTL, 1234, 53, 7);
        assert_eq!(heard(&about(&syn)), None);
        assert_eq!(heard(&about(&echo_request(&ethernet, ip, TTL, 1, 2))), None);
    }

    #[test]
    fn an_echo_says_which_probe_it_was() {
        let (a, b) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let ip = IpHeader::V6 { src: a, dst: b };
        let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ip.ethertype());
        let request = echo_request(&ethernet, ip, TTL, 77, 32_769);
        let came_through = |request, from: std::net::Ipv6Addr| Heard {
            from: from.into(),
            what: What::Echo {
                request,
                identifier: 77,
            },
            number: 32_769,
            accepted: true,
        };
        assert_eq!(heard(&request), Some(came_through(true, a)));
        let frame = Frame::parse(&request).unwrap();
        let reply = weft_packet::icmp::echo_reply(&frame, TTL).unwrap();
        assert_eq!(heard(&reply), Some(came_through(false, b)));
    }

    /// A port here, and a check of it.
    fn checked(remote: bool) -> Core {
        let mut core = Core::new(crate::program::Settings::default()).unwrap();
        core.apply_vs(local_database::<&str>(&[]), false);
        let chassis = sb::Chassis {
            name: "c0".into(),
            ..Default::default()
        };
        let switch = sb::DatapathBinding {
            tunnel_key: 3,
            ..Default::default()
        };
        let port = sb::PortBinding {
            logical_port: "p".into(),
            datapath: Uuid(3),
            tunnel_key: 4,
            chassis: Some(Uuid(2)),
            mac: ["00:00:00:00:00:01 10.0.0.1".into()].into(),
            ..Default::default()
        };
        let monitor = sb::ServiceMonitor {
            logical_port: "p".into(),
            ip: "10.0.0.1".into(),
            port: 80,
            src_ip: "10.0.0.254".into(),
            src_mac: "00:00:00:00:00:fe".into(),
            ic_learned: true,
            remote,
            ..Default::default()
        };
        let rows = vec![
            RowUpdate::insert(Uuid(2), chassis).into(),
            RowUpdate::insert(Uuid(3), switch).into(),
            RowUpdate::insert(Uuid(4), port).into(),
            RowUpdate::insert(Uuid(5), monitor).into(),
        ];
        core.apply_sb(rows, false);
        core.run();
        core
    }

    #[test]
    fn what_another_deployment_checks_is_not_probed() {
        let probes = |remote| {
            let mut monitors = Monitors::default();
            monitors.tick(&checked(remote), Instant::now()).len()
        };
        assert_eq!(probes(false), 1);
        assert_eq!(probes(true), 0);
    }
}
