//! BFD sessions with the peers of router ports that are here (RFC 5880, asynchronous mode; RFC 5881): for every row of the
//! southbound's BFD table whose port is on this chassis.
//!
//! Guarantees: the state in the row is what the exchange of packets says; a row that is administratively down is left alone
//! and its peer is told so. Control packets enter the router's pipeline at its own port, so that they take the way that
//! what follows the session takes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, Field, Message, PacketIn, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::Txn;
use weft_packet::bfd::{Control, State, diagnostic};
use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, ParseError, protocol, transport};
use weft_schemas::sb;

use super::port;
use crate::address::{Addresses, link_local};
use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::{REG_DNAT_ZONE, REG_INPORT, REG_SNAT_ZONE};
use crate::index::Index;
use crate::physical::port_key;
use crate::program::Key;
use crate::tables;
use crate::zones::{DATAPATH_ZONES, DatapathZones};

/// Destination port of control packets (RFC 5881, section 4).
const CONTROL_PORT: u16 = 3784;
/// Hop limit of control packets; one that has passed a router has less (RFC 5881, section 5).
const HOP_LIMIT: u8 = 255;
/// A session that is not up sends no faster than this (RFC 5880, section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// Where a session's packets enter the pipeline and what they look like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    datapath: u32,
    port: u32,
    zones: Option<DatapathZones>,
    mac: Mac,
    ip: IpHeader,
    src_port: u16,
}

/// What the row asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    disc: u32,
    min_tx: Duration,
    min_rx: Duration,
    detect_mult: u8,
}

/// One session: the variables of RFC 5880, section 6.8.1.
#[derive(Debug)]
struct Session {
    way: Way,
    wish: Wish,
    state: State,
    diagnostic: u8,
    remote_disc: u32,
    remote_min_tx: Duration,
    remote_min_rx: Duration,
    remote_mult: u8,
    polling: bool,
    next_tx: Instant,
    expires: Option<Instant>,
    /// Packets sent: what makes each interval a little different.
    sent: u32,
}

impl Session {
    fn new(way: Way, wish: Wish, now: Instant) -> Session {
        Session {
            way,
            wish,
            state: State::Down,
            diagnostic: diagnostic::NONE,
            remote_disc: 0,
            remote_min_tx: Duration::ZERO,
            // Until the peer says otherwise (section 6.8.1).
            remote_min_rx: Duration::from_micros(1),
            remote_mult: 0,
            polling: false,
            next_tx: now,
            expires: None,
            sent: 0,
        }
    }

    /// How often we would like to send.
    fn desired_tx(&self) -> Duration {
        match self.state {
            State::Up => self.wish.min_tx,
            _ => self.wish.min_tx.max(SLOW),
        }
    }

    /// From one packet to the next: less by up to a quarter, so that sessions do not fall into step (section 6.8.7).
    fn interval(&self) -> Duration {
        let full = self.desired_tx().max(self.remote_min_rx);
        let seed = self.wish.disc ^ self.sent.wrapping_mul(0x9e37_79b9);
        let share = seed.wrapping_mul(0x85eb_ca6b) >> 16;
        let least = if self.wish.detect_mult == 1 { 10 } else { 0 };
        full * (100 - least - share % (26 - least)) / 100
    }

    fn control(&self, last: bool) -> Control {
        let micros = |interval: Duration| u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && !last,
            last,
            detect_mult: self.wish.detect_mult,
            mine: self.wish.disc,
            yours: self.remote_disc,
            min_tx: micros(self.desired_tx()),
            min_rx: micros(self.wish.min_rx),
        }
    }

    fn go(&mut self, state: State, why: u8) {
        if self.state == state {
            return;
        }
        // How often we send depends on being up: the peer must know before it expects the other.
        self.polling = (self.state == State::Up) != (state == State::Up) && self.wish.min_tx < SLOW;
        self.state = state;
        self.diagnostic = why;
    }

    /// Takes a packet from the peer (section 6.8.6). Returns the answer to a poll.
    fn receive(&mut self, control: &Control, now: Instant) -> Option<Control> {
        self.remote_disc = control.mine;
        self.remote_min_tx = Duration::from_micros(control.min_tx.into());
        self.remote_min_rx = Duration::from_micros(control.min_rx.into());
        self.remote_mult = control.detect_mult;
        self.polling &= !control.last;
        match (self.state, control.state) {
            (State::AdminDown, _) => return None,
            (State::Down, State::AdminDown) => {}
            (_, State::AdminDown) | (State::Up, State::Down) => {
                self.go(State::Down, diagnostic::NEIGHBOR_DOWN);
            }
            (State::Down, State::Down) => self.go(State::Init, diagnostic::NONE),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.go(State::Up, diagnostic::NONE);
            }
            (State::Down | State::Init | State::Up, _) => {}
        }
        let expected = self.wish.min_rx.max(self.remote_min_tx);
        self.expires = Some(now + expected * u32::from(self.remote_mult));
        // Nobody waits longer for a packet than what holds from now on.
        self.next_tx = self.next_tx.min(now + self.interval());
        control.poll.then(|| self.control(true))
    }

    /// Does what is due. Returns the packet to send.
    fn tick(&mut self, now: Instant) -> Option<Control> {
        if self.expires.is_some_and(|then| then <= now) {
            self.expires = None;
            self.remote_disc = 0;
            self.remote_min_rx = Duration::from_micros(1);
            if self.state > State::Down {
                self.go(State::Down, diagnostic::EXPIRED);
            }
        }
        if self.next_tx > now {
            return None;
        }
        self.next_tx = now + self.interval();
        // A peer that says so wants to hear nothing (section 6.8.7).
        if self.remote_min_rx.is_zero() {
            return None;
        }
        self.sent = self.sent.wrapping_add(1);
        Some(self.control(false))
    }

    fn message(&self, control: &Control) -> Message {
        let ethernet = Ethernet::new(self.way.mac, self.way.mac, self.way.ip.ethertype());
        let packet = transport::udp(
            &ethernet,
            self.way.ip,
            HOP_LIMIT,
            self.way.src_port,
            CONTROL_PORT,
            &control.to_bytes(),
        );
        let mut actions = Vec::new();
        if let Some(zones) = self.way.zones {
            actions.push(Action::set(REG_DNAT_ZONE, zones.dnat));
            actions.push(Action::set(REG_SNAT_ZONE, zones.snat));
        }
        actions.push(Action::set(Field::Metadata, self.way.datapath));
        actions.push(Action::set(REG_INPORT, self.way.port));
        actions.push(Action::resubmit(tables::LOG_INGRESS));
        Message::PacketOut(PacketOut::new(packet, actions.as_slice()))
    }
}

/// As the column says it.
fn status(state: State) -> &'static str {
    match state {
        State::AdminDown => "admin_down",
        State::Down => "down",
        State::Init => "init",
        State::Up => "up",
    }
}

/// The sessions of this chassis, by row.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: FxHashMap<Uuid, Session>,
}

impl Sessions {
    /// Takes a control packet that the pipeline handed up.
    pub(super) fn receive(
        &mut self,
        packet: &PacketIn,
        core: &Core,
        now: Instant,
    ) -> Result<Option<Message>, ParseError> {
        let frame = Frame::parse(&packet.packet)?;
        let ip = Ip::parse(&frame)?;
        if ip.ttl != HOP_LIMIT || ip.protocol != protocol::UDP {
            return Err(ParseError::Other("from a neighbour"));
        }
        let control = Control::parse(ip.payload.get(8..).unwrap_or_default())?;
        let key = |field| u32::try_from(packet.metadata_value(field)).unwrap_or(0);
        let at = super::waiting::Hop {
            datapath: key(Field::Metadata),
            port: key(REG_INPORT),
            ip: ip.header.src(),
        };
        let at = port::of_hop(core, at);
        let ours = |session: &&mut Session| {
            session.way.datapath == at.datapath
                && session.way.ip.dst() == at.ip
                && match control.yours {
                    0 => session.way.port == at.port,
                    disc => session.wish.disc == disc,
                }
        };
        let session = self.sessions.values_mut().find(ours);
        let session = session.ok_or(ParseError::Other("of a session of ours"))?;
        let answer = session.receive(&control, now);
        Ok(answer.map(|control| session.message(&control)))
    }

    /// Follows the southbound and the clock: packets to send, rows whose state is another by now, and when to come again.
    pub(super) fn tick(
        &mut self,
        core: &Core,
        now: Instant,
    ) -> (Vec<Message>, Vec<(Uuid, State)>, Option<Instant>) {
        let table = &core.inputs.sb.bfd;
        let mut messages = Vec::new();
        self.sessions.retain(|uuid, session| {
            let row = table.get(*uuid);
            let off = row.is_none_or(|row| &*row.status == status(State::AdminDown));
            if off && session.state != State::AdminDown {
                session.go(State::AdminDown, diagnostic::ADMIN_DOWN);
                messages.push(session.message(&session.control(false)));
            }
            !off
        });
        let mut told = Vec::new();
        for (uuid, row) in table.iter() {
            if &*row.status == status(State::AdminDown) {
                continue;
            }
            let Some((way, wish)) = way(core, row) else {
                self.sessions.remove(&uuid);
                continue;
            };
            let session = self
                .sessions
                .entry(uuid)
                .or_insert_with(|| Session::new(way.clone(), wish, now));
            session.way = way;
            if session.wish != wish {
                session.polling = session.state == State::Up;
                session.wish = wish;
            }
            if let Some(control) = session.tick(now) {
                messages.push(session.message(&control));
            }
            if *row.status != *status(session.state) {
                told.push((uuid, session.state));
            }
        }
        let dues = self.sessions.values().map(|session| match session.expires {
            Some(expires) => expires.min(session.next_tx),
            None => session.next_tx,
        });
        (messages, told, dues.min())
    }
}

/// Writes the state of a session, if the row says another.
pub(super) fn write(core: &Core, row: Uuid, state: State, txn: &mut Txn) {
    let Some(have) = core.inputs.sb.bfd.get(row) else {
        return;
    };
    if *have.status == *status(state) || &*have.status == status(State::AdminDown) {
        return;
    }
    let new = sb::Bfd {
        status: status(state).into(),
        ..sb::Bfd::default()
    };
    txn.update(row, &new, sb::bfd::STATUS);
}

/// How the packets of a row's session go, if its port is on this chassis: a port of a router that is bound here, or one
/// that a chassisredirect port stands for here.
fn way(core: &Core, row: &sb::Bfd) -> Option<(Way, Wish)> {
    let named = |name: &str| {
        core.inputs
            .idx
            .find(Index::PortByName, name)
            .first()
            .copied()
    };
    let uuid = named(&row.logical_port)?;
    let port = core.inputs.sb.port_binding.get(uuid)?;
    let decides = match &*port.type_ {
        "l3gateway" => uuid,
        _ => named(&format!("cr-{}", row.logical_port))?,
    };
    let place = core
        .engine()
        .value::<Place>(BINDING.id(), Key::Row(decides))?;
    if !place.is_here() {
        return None;
    }
    let addresses = Addresses::parse(port.mac.iter().next()?).ok()?;
    let peer: IpAddr = row.dst_ip.parse().ok()?;
    let near = addresses.ips.iter().find(|net| net.contains(&peer));
    let own = near
        .or_else(|| {
            addresses
                .ips
                .iter()
                .find(|net| net.addr().is_ipv4() == peer.is_ipv4())
        })
        .map(|net| net.addr());
    let ip = match (own, peer) {
        (Some(IpAddr::V4(src)), IpAddr::V4(dst)) => IpHeader::V4 { src, dst },
        (_, IpAddr::V6(dst)) if dst.is_unicast_link_local() => IpHeader::V6 {
            src: link_local(addresses.mac),
            dst,
        },
        (Some(IpAddr::V6(src)), IpAddr::V6(dst)) => IpHeader::V6 { src, dst },
        _ => return None,
    };
    let datapath = core.inputs.sb.datapath_binding.get(port.datapath)?;
    let zones = core
        .engine()
        .value::<DatapathZones>(DATAPATH_ZONES.id(), Key::Row(port.datapath));
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let way = Way {
        datapath: port_key(datapath.tunnel_key)?,
        port: port_key(port.tunnel_key)?,
        zones: zones.map(|zones| *zones),
        mac: Mac::from_u64(addresses.mac),
        ip,
        src_port: u16::try_from(row.src_port).ok()?,
    };
    let wish = Wish {
        disc: row.disc as u32,
        min_tx: millis(row.min_tx),
        min_rx: millis(row.min_rx),
        detect_mult: u8::try_from(row.detect_mult).unwrap_or(u8::MAX).max(1),
    };
    Some((way, wish))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(disc: u32, min_tx_ms: u64, now: Instant) -> Session {
        let way = Way {
            datapath: 1,
            port: 1,
            zones: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ip: IpHeader::V4 {
                src: [10, 0, 0, 1].into(),
                dst: [10, 0, 0, 2].into(),
            },
            src_port: 49152,
        };
        let wish = Wish {
            disc,
            min_tx: Duration::from_millis(min_tx_ms),
            min_rx: Duration::from_millis(100),
            detect_mult: 3,
        };
        Session::new(way, wish, now)
    }

    /// Lets two sessions talk for a while; `lost` decides about every packet. Returns how many were sent.
    fn talk(
        pair: &mut [Session; 2],
        from: Instant,
        lasting: Duration,
        lost: impl Fn(usize) -> bool,
    ) -> usize {
        let mut sent = 0;
        for ms in 0..lasting.as_millis() as u64 {
            let now = from + Duration::from_millis(ms);
            for me in 0..2 {
                let Some(mut control) = pair[me].tick(now) else {
                    continue;
                };
                let mut to = 1 - me;
                loop {
                    sent += 1;
                    if lost(to) {
                        break;
                    }
                    // As it travels.
                    control = Control::parse(&control.to_bytes()).unwrap();
                    match pair[to].receive(&control, now) {
                        Some(answer) => (control, to) = (answer, 1 - to),
                        None => break,
                    }
                }
            }
        }
        sent
    }

    #[test]
    fn two_sessions_come_up_and_notice_silence() {
        let start = Instant::now();
        let mut pair = [session(1, 100, start), session(2, 100, start)];
        talk(&mut pair, start, Duration::from_secs(4), |_| false);
        assert_eq!([pair[0].state, pair[1].state], [State::Up; 2]);
        assert_eq!(pair[0].remote_disc, 2);
        let later = start + Duration::from_secs(4);
        let sent = talk(&mut pair, later, Duration::from_secs(1), |_| false);
        assert!(
            (20..=28).contains(&sent),
            "{sent} packets at 75 to 100 ms each way"
        );
        // Nothing reaches the first one: it goes down within three intervals and takes the other with it.
        let later = later + Duration::from_secs(1);
        talk(&mut pair, later, Duration::from_millis(320), |to| to == 0);
        assert_eq!(
            (pair[0].state, pair[0].diagnostic),
            (State::Down, diagnostic::EXPIRED)
        );
        let later = later + Duration::from_millis(320);
        talk(&mut pair, later, Duration::from_millis(1000), |to| to == 0);
        assert_ne!(pair[1].state, State::Up);
        let later = later + Duration::from_secs(1);
        talk(&mut pair, later, Duration::from_secs(4), |_| false);
        assert_eq!([pair[0].state, pair[1].state], [State::Up; 2]);
    }

    #[test]
    fn a_peer_that_is_held_down_is_believed() {
        let start = Instant::now();
        let mut pair = [session(1, 1000, start), session(2, 1000, start)];
        talk(&mut pair, start, Duration::from_secs(4), |_| false);
        assert_eq!(pair[0].state, State::Up);
        pair[1].go(State::AdminDown, diagnostic::ADMIN_DOWN);
        let control = pair[1].control(false);
        pair[0].receive(&control, start + Duration::from_secs(4));
        assert_eq!(
            (pair[0].state, pair[0].diagnostic),
            (State::Down, diagnostic::NEIGHBOR_DOWN)
        );
    }
}
