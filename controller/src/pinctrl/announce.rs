//! What is said unasked on physical networks: outer addresses of routers when this chassis becomes the one that speaks for
//! them, and ports of switches that have come here.
//!
//! What to say of routers is in `Port_Binding.nat_addresses` of the port from the physical network's switch to the router:
//! `MAC IP... [is_chassis_resident("port")]`: gratuitous ARP, or an unsolicited neighbour advertisement. A port of a switch
//! is announced by its first IPv4 address, or by RARP if it has none: switches outside learn where its Ethernet address is.
//! Each is said at once and again after 1, 2, 4, 8 and 16 seconds, then no more: switches outside have learned it or asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::{Mac, arp, nd};
use weft_schemas::sb;

use super::learner::Learned;
use crate::address::Addresses;
use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::{REG_INPORT, REG_OUTPORT};
use crate::index::Index;
use crate::program::Key;
use crate::tables;

/// Seconds between the first two announcements; twice as long each time after.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST: Duration = Duration::from_secs(16);

/// One column element.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mac: Mac,
    ips: Vec<IpAddr>,
    /// The port whose chassis speaks for them; any chassis if none.
    resident: Option<String>,
}

fn parse(text: &str) -> Option<Entry> {
    let (addresses, resident) = match text.split_once("is_chassis_resident(\"") {
        Some((addresses, rest)) => (addresses, Some(rest.strip_suffix("\")")?.to_owned())),
        None => (text, None),
    };
    let mut words = addresses.split_ascii_whitespace();
    let mac = words.next()?.parse().ok()?;
    Some(Entry {
        mac,
        ips: words.filter_map(|word| word.parse().ok()).collect(),
        resident,
    })
}

/// An announcement under way.
#[derive(Debug)]
struct Next {
    at: Option<Instant>,
    pause: Duration,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// That an address is here.
    Address(IpAddr),
    /// That an Ethernet address is.
    Ethernet,
}

/// By which port, under which Ethernet address, what.
type Subject = (Uuid, Mac, What);

/// A port's column, parsed as long as its row is the same.
#[derive(Debug)]
struct Parsed {
    row: Arc<sb::PortBinding>,
    entries: Vec<Entry>,
}

/// What is announced here, and what has been.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    parsed: FxHashMap<Uuid, Parsed>,
    next: FxHashMap<Subject, Next>,
    /// Keys of the datapath, the port and its localnet port, for what is still to be said.
    keys: FxHashMap<Subject, Keys>,
    /// Something has changed since the last look.
    changed: bool,
}

/// Keys of a datapath, a port of it, and its localnet port.
type Keys = (i64, i64, u32);

fn place(core: &Core, port: Uuid) -> Option<Arc<Place>> {
    core.engine().value::<Place>(BINDING.id(), Key::Row(port))
}

fn is_here(core: &Core, port: Uuid) -> bool {
    place(core, port).is_some_and(|place| place.is_here())
}

/// The key of the localnet port by which this chassis reaches the physical network of a datapath.
fn localnet_key(core: &Core, datapath: Uuid) -> Option<u32> {
    let inputs = &core.inputs;
    let ports = inputs.idx.find(Index::LocalnetOfDatapath, datapath);
    let here = ports.iter().find(|port| is_plugged(core, **port))?;
    u32::try_from(inputs.sb.port_binding.get(*here)?.tunnel_key).ok()
}

impl Announcements {
    /// The southbound or what is here is not as it was.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// What is due, and what the routers here learn of it: announcements go straight to the physical network.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> (Vec<Message>, Vec<Learned>) {
        if std::mem::take(&mut self.changed) {
            self.look(core, now);
        }
        let (mut out, mut learned) = (Vec::new(), Vec::new());
        for (subject, next) in &mut self.next {
            if next.at.is_none_or(|at| at > now) {
                continue;
            }
            if let Some(keys) = self.keys.get(subject) {
                out.extend(message(*keys, subject.1, subject.2));
                learned.extend(heard(core, *subject));
            }
            next.at = (next.pause <= LAST).then(|| now + next.pause);
            next.pause *= 2;
        }
        (out, learned)
    }

    /// Finds out what is to be said; what has been said stays said as long as it is.
    fn look(&mut self, core: &Core, now: Instant) {
        let mut wanted: FxHashMap<Subject, Keys> = FxHashMap::default();
        let mut parsed = FxHashMap::default();
        let inputs = &core.inputs;
        for &datapath in core.local_datapaths().0.iter() {
            let Some(localnet) = localnet_key(core, datapath) else {
                continue;
            };
            let Some(dp) = inputs.sb.datapath_binding.get(datapath) else {
                continue;
            };
            for &port in inputs.idx.find(Index::LinksOfDatapath, datapath) {
                let Some(row) = inputs.sb.port_binding.get_arc(port) else {
                    continue;
                };
                if row.nat_addresses.is_empty() || !is_here(core, port) {
                    continue;
                }
                let known = self.parsed.remove(&port);
                let known = known.filter(|known| Arc::ptr_eq(&known.row, row));
                let known = known.unwrap_or_else(|| Parsed {
                    row: Arc::clone(row),
                    entries: row.nat_addresses.iter().filter_map(|t| parse(t)).collect(),
                });
                let keys = (dp.tunnel_key, row.tunnel_key, localnet);
                for entry in known.entries.iter().filter(|entry| entry.speaks(core)) {
                    for &ip in &entry.ips {
                        wanted.insert((port, entry.mac, What::Address(ip)), keys);
                    }
                }
                parsed.insert(port, known);
            }
            for &port in inputs.idx.find(Index::PortsOfDatapath, datapath) {
                let Some(row) = inputs.sb.port_binding.get(port) else {
                    continue;
                };
                if row.type_.is_empty() && row.parent_port.is_none() && is_plugged(core, port) {
                    let keys = (dp.tunnel_key, row.tunnel_key, localnet);
                    let subjects = row.mac.iter().filter_map(|text| of_port(text));
                    wanted.extend(subjects.map(|(mac, what)| ((port, mac, what), keys)));
                }
            }
        }
        self.next.retain(|subject, _| wanted.contains_key(subject));
        for subject in wanted.keys() {
            self.next.entry(*subject).or_insert(Next {
                at: Some(now),
                pause: FIRST,
            });
        }
        self.keys = wanted;
        self.parsed = parsed;
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.values().filter_map(|next| next.at).min()
    }
}

impl Entry {
    /// This chassis is the one to say it.
    fn speaks(&self, core: &Core) -> bool {
        self.resident.as_ref().is_none_or(|name| {
            let found = core.inputs.idx.find(Index::PortByName, &**name).first();
            found.is_some_and(|port| is_here(core, *port))
        })
    }
}

/// Whether a port has an interface here.
fn is_plugged(core: &Core, port: Uuid) -> bool {
    place(core, port).is_some_and(|place| matches!(*place, Place::Here(_)))
}

/// What to say of an element of `Port_Binding.mac`.
fn of_port(text: &str) -> Option<(Mac, What)> {
    let own = Addresses::parse(text).ok()?;
    let first = own.ips.iter().map(IpNet::addr).find(IpAddr::is_ipv4);
    let what = first.map_or(What::Ethernet, What::Address);
    Some((Mac::from_u64(own.mac), what))
}

/// What the other routers on the switch learn of an outer address of a router.
fn heard(core: &Core, (port, mac, what): Subject) -> Vec<Learned> {
    let inputs = &core.inputs;
    let (What::Address(ip), Some(own)) = (what, inputs.sb.port_binding.get(port)) else {
        return Vec::new();
    };
    if own.type_.is_empty() {
        return Vec::new();
    }
    let peer_of = |link: Uuid| {
        let name = inputs.sb.port_binding.get(link)?.options.get("peer")?;
        let peer = *inputs.idx.find(Index::PortByName, &**name).first()?;
        inputs.sb.port_binding.get(peer)
    };
    let router = peer_of(port).map(|peer| peer.datapath);
    let links = inputs.idx.find(Index::LinksOfDatapath, own.datapath).iter();
    let others = links.filter(|link| **link != port);
    let others = others.filter_map(|link| peer_of(*link));
    others
        .filter(|peer| Some(peer.datapath) != router)
        .filter_map(|peer| {
            let datapath = inputs.sb.datapath_binding.get(peer.datapath)?;
            let key = (&*peer.logical_port, &*ip.to_string());
            let known = !inputs.idx.find(Index::MacBindingByAddress, key).is_empty();
            let learns = datapath
                .external_ids
                .flag("always_learn_from_arp_request", true);
            (known || learns).then_some(Learned::Neighbor {
                datapath: u32::try_from(datapath.tunnel_key).ok()?,
                port: u32::try_from(peer.tunnel_key).ok()?,
                ip,
                mac,
            })
        })
        .collect()
}

/// The packet, straight to the physical network: nobody on this chassis needs it.
fn message((datapath, port, localnet): Keys, mac: Mac, what: What) -> Option<Message> {
    let actions = ActionList::from([
        Action::set(Field::Metadata, u32::try_from(datapath).ok()?),
        Action::set(REG_INPORT, u32::try_from(port).ok()?),
        Action::set(REG_OUTPORT, localnet),
        Action::resubmit(tables::LOCAL_OUTPUT),
    ]);
    let packet = match what {
        What::Address(IpAddr::V4(ip)) => arp::gratuitous(mac, ip),
        What::Address(IpAddr::V6(ip)) => nd::unsolicited(mac, ip, true),
        What::Ethernet => arp::reverse(mac),
    };
    Some(Message::PacketOut(PacketOut::new(packet, actions)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn elements_of_the_column() {
        let entry = parse("0a:00:00:00:00:01 172.16.0.1 fd00::1 is_chassis_resident(\"cr-r\")");
        let expected = Entry {
            mac: Mac([0x0a, 0, 0, 0, 0, 1]),
            ips: vec![
                Ipv4Addr::new(172, 16, 0, 1).into(),
                "fd00::1".parse().unwrap(),
            ],
            resident: Some("cr-r".into()),
        };
        assert_eq!(entry, Some(expected));
        let plain = parse("0a:00:00:00:00:01 172.16.0.1 172.16.0.2");
        assert!(plain.is_some_and(|e| e.ips.len() == 2 && e.resident.is_none()));
        assert_eq!(parse("router"), None);
    }

    #[test]
    fn ports_are_announced_by_their_first_address_or_none() {
        let mac = Mac([0x0a, 0, 0, 0, 0, 1]);
        for (text, what) in [
            (
                "0a:00:00:00:00:01 fd00::1 10.0.0.1 10.0.0.2",
                What::Address([10, 0, 0, 1].into()),
            ),
            ("0a:00:00:00:00:01 fd00::1", What::Ethernet),
            ("0a:00:00:00:00:01", What::Ethernet),
        ] {
            assert_eq!(of_port(text), Some((mac, what)), "{text}");
        }
        assert_eq!(of_port("unknown"), None);
    }
}
