//! Gratuitous ARP: outer addresses of routers are announced on the physical network when this chassis becomes the one that
//! speaks for them.
//!
//! What to announce is in `Port_Binding.nat_addresses` of the port from the physical network's switch to the router:
//! `MAC IP... [is_chassis_resident("port")]`. Each is said at once and again after 1, 2, 4, 8 and 16 seconds, then no
//! more: switches outside have learned it or asked. IPv6 addresses are left out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::{Mac, arp};
use weft_schemas::sb;

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
    ips: Vec<Ipv4Addr>,
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
    next: FxHashMap<(Uuid, Mac, Ipv4Addr), Next>,
}

fn is_here(core: &Core, port: Uuid) -> bool {
    core.engine()
        .value::<Place>(BINDING.id(), Key::Row(port))
        .is_some_and(|place| place.is_here())
}

/// The key of the localnet port by which this chassis reaches the physical network of a datapath.
fn localnet_key(core: &Core, datapath: Uuid) -> Option<u32> {
    let inputs = &core.inputs;
    let ports = inputs.idx.find(Index::LocalnetOfDatapath, datapath);
    let here = ports.iter().find(|port| {
        core.engine()
            .value::<Place>(BINDING.id(), Key::Row(**port))
            .is_some_and(|place| matches!(*place, Place::Here(_)))
    })?;
    u32::try_from(inputs.sb.port_binding.get(*here)?.tunnel_key).ok()
}

impl Announcements {
    /// What is due.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> Vec<Message> {
        let mut out = Vec::new();
        let mut wanted: FxHashMap<(Uuid, Mac, Ipv4Addr), Next> = FxHashMap::default();
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
                for entry in &known.entries {
                    let speaks = entry.resident.as_ref().is_none_or(|name| {
                        let found = inputs.idx.find(Index::PortByName, &**name).first();
                        found.is_some_and(|port| is_here(core, *port))
                    });
                    for &ip in entry.ips.iter().filter(|_| speaks) {
                        let key = (port, entry.mac, ip);
                        let mut next = self.next.remove(&key).unwrap_or(Next {
                            at: Some(now),
                            pause: FIRST,
                        });
                        if next.at.is_some_and(|at| at <= now) {
                            out.extend(message(keys, entry.mac, ip));
                            next.at = (next.pause <= LAST).then(|| now + next.pause);
                            next.pause *= 2;
                        }
                        wanted.insert(key, next);
                    }
                }
                parsed.insert(port, known);
            }
        }
        self.next = wanted;
        self.parsed = parsed;
        out
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.values().filter_map(|next| next.at).min()
    }
}

/// The packet, straight to the physical network: nobody on this chassis needs it.
fn message((datapath, port, localnet): (i64, i64, u32), mac: Mac, ip: Ipv4Addr) -> Option<Message> {
    let actions = ActionList::from([
        Action::set(Field::Metadata, u32::try_from(datapath).ok()?),
        Action::set(REG_INPORT, u32::try_from(port).ok()?),
        Action::set(REG_OUTPORT, localnet),
        Action::resubmit(tables::LOCAL_OUTPUT),
    ]);
    Some(Message::PacketOut(PacketOut::new(
        arp::gratuitous(mac, ip),
        actions,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_the_column() {
        let entry = parse("0a:00:00:00:00:01 172.16.0.1 fd00::1 is_chassis_resident(\"cr-r\")");
        let expected = Entry {
            mac: Mac([0x0a, 0, 0, 0, 0, 1]),
            ips: vec![Ipv4Addr::new(172, 16, 0, 1)],
            resident: Some("cr-r".into()),
        };
        assert_eq!(entry, Some(expected));
        let plain = parse("0a:00:00:00:00:01 172.16.0.1 172.16.0.2");
        assert!(plain.is_some_and(|e| e.ips.len() == 2 && e.resident.is_none()));
        assert_eq!(parse("router"), None);
    }
}
