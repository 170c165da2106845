//! Router advertisements that nobody has asked for: of router ports whose binding says `ipv6_ra_send_periodic`, into the
//! switch they are on.
//!
//! Guarantees: times as RFC 4861, section 6.2.4, has them; what changes is told at once. A port of a distributed router speaks
//! on every chassis to whom is on that chassis; one that is bound to a chassis speaks there, to everybody. When a port that has
//! spoken is deleted its hosts are told to forget it (section 6.2.5), not so when another chassis speaks for it or when it speaks
//! only if asked: it is a router still.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::nd;
use weft_packet::nd::ALL_NODES;
use weft_schemas::sb;

use super::looks::Looks;
use crate::advert::{self, Unasked};
use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::{REG_FLAGS, REG_INPORT};
use crate::index::Index;
use crate::physical::port_key;
use crate::program::Key;
use crate::tables::{self, flag};

/// The first ones follow each other sooner: so many, by so much at most (RFC 4861, section 10).
const INITIAL: (u32, Duration) = (3, Duration::from_secs(16));

/// Where an advertisement says for how long the router may be used (section 4.2).
const LIFETIME: Range<usize> = 6..8;

/// A port that speaks.
#[derive(Debug)]
struct Speaker {
    /// What it says comes from this row.
    row: Arc<sb::PortBinding>,
    advert: Option<Unasked>,
    next: Instant,
    /// Since the last change.
    sent: u32,
    way: Way,
}

impl Speaker {
    fn new(row: &Arc<sb::PortBinding>, way: Way, now: Instant) -> Speaker {
        Speaker {
            row: Arc::clone(row),
            advert: advert::of_binding(&row.options),
            next: now,
            sent: 0,
            way,
        }
    }

    /// Takes over a row that is another one than before.
    fn follow(&mut self, row: &Arc<sb::PortBinding>, way: Way, now: Instant) {
        self.way = way;
        if Arc::ptr_eq(&self.row, row) {
            return;
        }
        let advert = advert::of_binding(&row.options);
        if advert != self.advert {
            *self = Speaker::new(row, way, now);
        }
        self.row = Arc::clone(row);
    }

    /// The last one, if there has been any: nobody is to use the router any more.
    fn farewell(&self) -> Option<Message> {
        let mut last = self.advert.clone().filter(|_| self.sent > 0)?;
        last.message.get_mut(LIFETIME)?.fill(0);
        Some(message(&last, self.way))
    }

    /// How long until the next one: anything between the two bounds, so that routers do not fall into step.
    fn interval(&self, seed: u64, (least, most): (u64, u64)) -> Duration {
        let spread = (most - least) * 1000 + 1;
        let mixed = (seed ^ u64::from(self.sent)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let chosen = Duration::from_millis(least * 1000 + (mixed >> 20) % spread);
        match self.sent < INITIAL.0 {
            true => chosen.min(INITIAL.1),
            false => chosen,
        }
    }
}

/// What is advertised here.
#[derive(Debug, Default)]
pub(super) struct Adverts {
    speakers: FxHashMap<Uuid, Speaker>,
    looks: Looks,
}

impl Adverts {
    /// What is due.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> Vec<Message> {
        if !self.looks.now(self.next(), now) {
            return Vec::new();
        }
        let ports = core.inputs.idx.find(Index::AdvertisingPort, ());
        let mut before = std::mem::take(&mut self.speakers);
        let mut out = farewells(core, &mut before);
        for &port in ports {
            let Some(row) = core.inputs.sb.port_binding.get_arc(port) else {
                continue;
            };
            let Some(way) = way(core, port, row) else {
                continue;
            };
            let speaker = before.remove(&port);
            let mut speaker = speaker.unwrap_or_else(|| Speaker::new(row, way, now));
            speaker.follow(row, way, now);
            if let Some(advert) = &speaker.advert
                && speaker.next <= now
            {
                out.push(message(advert, way));
                speaker.sent = speaker.sent.saturating_add(1);
                let seed = port.0 as u64;
                speaker.next = now + speaker.interval(seed, advert.seconds);
            }
            self.speakers.insert(port, speaker);
        }
        out
    }

    /// When to come again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next().into_iter().chain(self.looks.due()).min()
    }

    fn next(&self) -> Option<Instant> {
        let speaking = self.speakers.values().filter(|s| s.advert.is_some());
        speaking.map(|speaker| speaker.next).min()
    }
}

/// What ports say that are gone, while the switch they were on is still known here; their rows also go when all of that
/// does not matter to this chassis any more.
fn farewells(core: &Core, speakers: &mut FxHashMap<Uuid, Speaker>) -> Vec<Message> {
    let inputs = &core.inputs;
    let gone = speakers.extract_if(|port, _| !inputs.sb.port_binding.contains(*port));
    let stays = |way: Way| {
        let datapath = inputs
            .idx
            .find(Index::DatapathByKey, i64::from(way.datapath));
        let local = &core.local_datapaths().0;
        datapath
            .first()
            .is_some_and(|datapath| local.contains(datapath))
    };
    gone.filter(|(_, speaker)| stays(speaker.way))
        .filter_map(|(_, speaker)| speaker.farewell())
        .collect()
}

/// Where what a router port says enters the switch it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The switch.
    pub(super) datapath: u32,
    /// Its port to the router.
    pub(super) port: u32,
    /// Every chassis speaks for itself.
    pub(super) local_only: bool,
}

/// The way of a router port, if this chassis is one that speaks for it.
pub(super) fn way(core: &Core, uuid: Uuid, row: &sb::PortBinding) -> Option<Way> {
    let inputs = &core.inputs;
    let named = |name: &str| inputs.idx.find(Index::PortByName, name).first().copied();
    let here = |port: Uuid| {
        core.engine()
            .value::<Place>(BINDING.id(), Key::Row(port))
            .is_some_and(|place| place.is_here())
    };
    let peer = inputs
        .sb
        .port_binding
        .get(named(row.options.get("peer")?)?)?;
    if !core.local_datapaths().0.contains(&peer.datapath) {
        return None;
    }
    let bound = match row.options.nonempty("chassis-redirect-port") {
        Some(redirect) => Some(named(redirect)?),
        None if &*row.type_ == "l3gateway" => Some(uuid),
        None => None,
    };
    if bound.is_some_and(|port| !here(port)) {
        return None;
    }
    let datapath = inputs.sb.datapath_binding.get(peer.datapath)?;
    Some(Way {
        datapath: port_key(datapath.tunnel_key)?,
        port: port_key(peer.tunnel_key)?,
        local_only: bound.is_none(),
    })
}

fn message(advert: &Unasked, way: Way) -> Message {
    let packet = nd::advertise_router(advert.mac, advert.link_local, ALL_NODES, &advert.message);
    let mut actions = vec![
        Action::set(Field::Metadata, way.datapath),
        Action::set(REG_INPORT, way.port),
    ];
    if way.local_only {
        actions.push(Action::set(REG_FLAGS, flag::LOCAL_ONLY));
    }
    actions.push(Action::resubmit(tables::LOG_INGRESS));
    Message::PacketOut(PacketOut::new(packet, actions.as_slice()))
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Map;
    use weft_packet::{Frame, Mac};

    use super::*;

    fn row(prf: &str, other: i64) -> Arc<sb::PortBinding> {
        let options = [
            ("ipv6_ra_address_mode", "slaac"),
            ("ipv6_ra_src_eth", "0a:00:00:00:ff:01"),
            ("ipv6_ra_src_addr", "fe80::1"),
            ("ipv6_ra_prefixes", "fd00::/64"),
            ("ipv6_ra_prf", prf),
            ("ipv6_ra_min_interval", "20"),
            ("ipv6_ra_max_interval", "60"),
        ];
        Arc::new(sb::PortBinding {
            options: Map::from(options),
            tunnel_key: other,
            ..Default::default()
        })
    }

    const WAY: Way = Way {
        datapath: 3,
        port: 2,
        local_only: true,
    };

    #[test]
    fn the_last_one_ends_it() {
        let mut speaker = Speaker::new(&row("LOW", 1), WAY, Instant::now());
        assert!(speaker.farewell().is_none(), "nobody knows of it");
        speaker.sent = 1;
        let Some(Message::PacketOut(out)) = speaker.farewell() else {
            panic!("no packet-out")
        };
        let told = nd::Nd::parse(&Frame::parse(&out.packet).unwrap()).unwrap();
        let nd::Message::RouterAdvert(advert) = told.message else {
            panic!("{told:?}")
        };
        assert_eq!((advert.lifetime, told.dst), (0, ALL_NODES));
    }

    #[test]
    fn the_first_ones_follow_soon() {
        let now = Instant::now();
        let mut speaker = Speaker::new(&row("LOW", 1), WAY, now);
        assert_eq!(speaker.next, now);
        for sent in 0..50 {
            speaker.sent = sent;
            let interval = speaker.interval(0x1234_5678, (20, 60)).as_secs();
            match sent {
                0..=2 => assert_eq!(interval, 16),
                _ => assert!((20..=60).contains(&interval), "{interval}"),
            }
        }
        let spread: std::collections::BTreeSet<u128> = (3..20)
            .map(|sent| {
                speaker.sent = sent;
                speaker.interval(7, (20, 60)).as_millis()
            })
            .collect();
        assert!(spread.len() > 10, "{spread:?}");
    }

    #[test]
    fn what_changes_is_told_at_once() {
        let now = Instant::now();
        let mut speaker = Speaker::new(&row("LOW", 1), WAY, now);
        let later = now + Duration::from_secs(5);
        (speaker.next, speaker.sent) = (now + Duration::from_secs(9), 5);
        speaker.follow(&row("LOW", 2), WAY, later);
        assert_eq!(
            (speaker.next, speaker.sent),
            (now + Duration::from_secs(9), 5)
        );
        speaker.follow(&row("HIGH", 2), WAY, later);
        assert_eq!((speaker.next, speaker.sent), (later, 0));
    }

    #[test]
    fn to_all_nodes_of_the_chassis() {
        let advert = advert::of_binding(&row("LOW", 1).options).unwrap();
        let Message::PacketOut(out) = message(&advert, WAY) else {
            panic!("no packet-out")
        };
        let told = nd::Nd::parse(&Frame::parse(&out.packet).unwrap()).unwrap();
        assert_eq!(
            (told.src, told.dst),
            ("fe80::1".parse().unwrap(), ALL_NODES)
        );
        assert_eq!(told.link_address(), Some(Mac([0x0a, 0, 0, 0, 0xff, 1])));
        let set = Action::set(REG_FLAGS, flag::LOCAL_ONLY);
        assert!(out.actions.iter().any(|action| action == set));
    }
}
