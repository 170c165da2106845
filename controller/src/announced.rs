//! What this chassis says unasked on physical networks; when it is said is in [`crate::pinctrl`].
//!
//! Of routers that is in `Port_Binding.nat_addresses` of the port from the physical network's switch to the router:
//! `MAC IP... [is_chassis_resident("port")]`: gratuitous ARP, or an unsolicited neighbour advertisement. A port of a switch
//! that has an interface here is announced by its first IPv4 address, or by RARP if it has none: switches outside learn where
//! its Ethernet address is. Nothing is said of a switch without a way to its physical network from here.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use weft_engine::{Cx, Kind};
use weft_ovsdb::model::Uuid;
use weft_packet::Mac;

use crate::address::Addresses;
use crate::binding::{BINDING, Place};
use crate::index::Index;
use crate::local_datapaths::{LOCAL, Local};
use crate::physical::port_key;
use crate::program::{Controller, Key, Output, Read};

/// Announces what is to be said by a port; keyed by port binding.
pub const ANNOUNCED: Kind<Controller> =
    Kind::pure("announced", &["local-datapath", "binding"], announced);

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// That an address is here.
    Address(IpAddr),
    /// That an Ethernet address is.
    Ethernet,
}

/// By which port, under which Ethernet address, what.
pub type Subject = (Uuid, Mac, What);

/// Something to be said, and how it reaches the physical network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announced {
    /// What.
    pub subject: Subject,
    /// The key of the switch.
    pub datapath: u32,
    /// The key of the port.
    pub port: u32,
    /// The key of the switch's localnet port.
    pub localnet: u32,
}

fn announced(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    let Some(local) = cx.value::<Local>(LOCAL.id(), Key::Row(*row.datapath())) else {
        return;
    };
    let Some(localnet) = localnet_key(cx, *row.datapath()) else {
        return;
    };
    let Some(port) = port_key(*row.tunnel_key()) else {
        return;
    };
    let say = |mac: Mac, what: What| {
        cx.emit(Output::Announced(Arc::new(Announced {
            subject: (uuid, mac, what),
            datapath: local.key,
            port,
            localnet,
        })));
    };
    match &**row.type_() {
        "patch" | "l3gateway" if place(cx, uuid).is_some_and(|place| place.is_here()) => {
            let entries = row.nat_addresses().iter().filter_map(|text| parse(text));
            for entry in entries.filter(|entry| entry.speaks(cx)) {
                for &ip in &entry.ips {
                    say(entry.mac, What::Address(ip));
                }
            }
        }
        // One that is at two places would be told of at both.
        "" if !row.additional_chassis().is_empty() => {}
        "" if row.parent_port().is_none() && is_plugged(cx, uuid) => {
            for (mac, what) in row.mac().iter().filter_map(|text| of_port(text)) {
                say(mac, what);
            }
        }
        _ => {}
    }
}

fn place(cx: &Cx<'_, Controller>, port: Uuid) -> Option<Arc<Place>> {
    cx.value::<Place>(BINDING.id(), Key::Row(port))
}

/// Whether a port has an interface here.
fn is_plugged(cx: &Cx<'_, Controller>, port: Uuid) -> bool {
    place(cx, port).is_some_and(|place| matches!(*place, Place::Here(_)))
}

/// The key of the localnet port by which this chassis reaches the physical network of a datapath.
fn localnet_key(cx: &Cx<'_, Controller>, datapath: Uuid) -> Option<u32> {
    let rec = cx.sb_rec();
    let ports = cx.lookup(Index::LocalnetOfDatapath, datapath);
    let here = ports.iter().find(|port| is_plugged(cx, **port))?;
    port_key(*cx.sb().port_binding.tracked(*here, &rec)?.tunnel_key())
}

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

impl Entry {
    /// This chassis is the one to say it.
    fn speaks(&self, cx: &Cx<'_, Controller>) -> bool {
        self.resident.as_ref().is_none_or(|name| {
            let port = cx.lookup_one(Index::PortByName, &**name);
            port.is_some_and(|port| place(cx, port).is_some_and(|place| place.is_here()))
        })
    }
}

/// What to say of an element of `Port_Binding.mac`.
fn of_port(text: &str) -> Option<(Mac, What)> {
    let own = Addresses::parse(text).ok()?;
    let first = own.ips.iter().map(IpNet::addr).find(IpAddr::is_ipv4);
    let what = first.map_or(What::Ethernet, What::Address);
    Some((Mac::from_u64(own.mac), what))
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
