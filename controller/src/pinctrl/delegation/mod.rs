//! IPv6 prefix delegation: router ports whose binding says `ipv6_prefix` are given prefixes through the port of their router
//! that says `ipv6_prefix_delegation`, on the chassis that port is bound to.
//!
//! Guarantees: what was given is in the binding's `ipv6_ra_pd_list` (`IAID:PREFIX/LENGTH`) as long as it is valid, also for
//! the next process or chassis, which asks to keep it. Everything is sent to all servers, from the link-local address
//! (RFC 8415, sections 13.1 and 18.2); stock of 23.03 sends its requests to one server alone, which servers refuse that
//! have not allowed it. What is not wanted any more is given back (section 18.2.7), where the way out is still here; what another
//! chassis takes over is not.

mod session;

use std::net::Ipv6Addr;
use std::time::Instant;

use rustc_hash::FxHashMap;
use weft_openflow::{Action, Field, Message, PacketIn, PacketOut};
use weft_ovsdb::model::{Map, Uuid};
use weft_ovsdb::txn::Txn;
use weft_packet::delegation::Message as Told;
use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, ParseError, ethertype, transport};
use weft_schemas::sb;

use super::advertise::{Way, way};
use super::looks::Looks;
use crate::address::Addresses;
use crate::core::Core;
use crate::flow::REG_INPORT;
use crate::index::Index;
use crate::tables;
use session::Session;

/// All servers and relays of a link (RFC 8415, section 7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
const HOP_LIMIT: u8 = 255;
/// In the options of the port that wants a prefix.
const LIST: &str = "ipv6_ra_pd_list";

/// So many clients at most give back what they have; what more there are leave it to end by itself.
const LEAVING: usize = 1024;

/// A client, and the port by which it speaks to servers.
#[derive(Debug)]
struct Client {
    session: Session,
    out: Uuid,
}

/// The clients of this chassis, by the row of the port that wants a prefix.
#[derive(Debug, Default)]
pub(super) struct Delegations {
    clients: FxHashMap<Uuid, Client>,
    /// Those that give back what they had.
    leaving: FxHashMap<Uuid, Client>,
    looks: Looks,
}

/// The Ethernet address of a router port.
fn mac_of(row: &sb::PortBinding) -> Option<Mac> {
    let addresses = Addresses::parse(row.mac.iter().next()?).ok()?;
    Some(Mac::from_u64(addresses.mac))
}

/// A client is known by the address of the port that wants the prefix: a DUID of type 3 (RFC 8415, section 11.4) on Ethernet.
fn duid(mac: Mac) -> Vec<u8> {
    [&[0, 3, 0, 1][..], &mac.0].concat()
}

/// What an earlier process was given: number and prefix.
fn earlier(row: &sb::PortBinding) -> Option<(u32, (Ipv6Addr, u8))> {
    let text = row.options.get(LIST)?;
    let first = text.split([' ', ',']).find(|e| !e.is_empty())?;
    let (id, prefix) = first.split_once(':')?;
    let net: ipnet::Ipv6Net = prefix.parse().ok()?;
    Some((id.parse().ok()?, (net.addr(), net.prefix_len())))
}

/// The way to the delegating router by a port, and its address: if it is bound to this chassis.
fn way_by(core: &Core, port: Uuid) -> Option<(Way, Mac)> {
    let row = core.inputs.sb.port_binding.get(port)?;
    let way = way(core, port, row).filter(|way| !way.local_only)?;
    Some((way, mac_of(row)?))
}

impl Delegations {
    /// Follows the southbound and the clock: packets to send.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> Vec<Message> {
        if !self.looks.now(self.next(), now) {
            return Vec::new();
        }
        let mut out = Vec::new();
        let mut before = std::mem::take(&mut self.clients);
        for &port in core.inputs.idx.find(Index::PrefixPort, ()) {
            let Some(row) = core.inputs.sb.port_binding.get(port) else {
                continue;
            };
            let delegating = core.inputs.idx.find(Index::DelegatingPort, row.datapath);
            let ways = delegating
                .iter()
                .find_map(|&by| Some((by, way_by(core, by)?)));
            let (Some(own), Some((by, (way, mac)))) = (mac_of(row), ways) else {
                if !delegating.is_empty() {
                    // Another chassis has it now.
                    before.remove(&port);
                }
                continue;
            };
            let duid = duid(own);
            let same = before.get(&port).is_some_and(|c| c.session.is_of(&duid));
            let kept = before.remove_entry(&port).filter(|_| same);
            let mut session = kept.map_or_else(
                || {
                    let had = earlier(row);
                    // Stays with the port: a server knows the client again by it.
                    let id = had.map_or(row.tunnel_key as u32, |(id, _)| id);
                    // Wanted again: what was to be given back is asked for.
                    self.leaving.remove(&port);
                    Session::new(duid, id, had.map(|(_, prefix)| prefix), now)
                },
                |(_, client)| client.session,
            );
            if let Some(payload) = session.tick(now) {
                out.push(message(way, mac, &payload));
            }
            self.clients.insert(port, Client { session, out: by });
        }
        for (port, mut client) in before {
            if self.leaving.len() < LEAVING && client.session.release(now) {
                self.leaving.insert(port, client);
            }
        }
        self.leaving.retain(|port, client| {
            let Some((way, mac)) = way_by(core, client.out) else {
                return false;
            };
            let payload = client.session.tick(now);
            out.extend(payload.map(|payload| message(way, mac, &payload)));
            let row = core.inputs.sb.port_binding.get(*port);
            let told = row.is_some_and(|row| row.options.get(LIST).is_some());
            told || !client.session.is_over()
        });
        out
    }

    /// Takes an answer that the pipeline handed up.
    pub(super) fn receive(&mut self, packet: &PacketIn, now: Instant) -> Result<(), ParseError> {
        let frame = Frame::parse(&packet.packet)?;
        let ip = Ip::parse(&frame)?;
        let told = Told::parse(transport::udp_payload(&ip)?)?;
        let mut clients = self.clients.values_mut().chain(self.leaving.values_mut());
        match clients.any(|client| client.session.receive(&told, now)) {
            true => Ok(()),
            false => Err(ParseError::Other("an answer to a client of ours")),
        }
    }

    /// Writes what has been given, and takes away what no longer is.
    pub(super) fn write(&self, core: &Core, txn: &mut Txn) {
        use sb::port_binding::OPTIONS;
        let leaving = self
            .leaving
            .keys()
            .filter(|p| !self.clients.contains_key(p));
        let given_back = leaving.map(|port| (port, None));
        let clients = self.clients.iter();
        let had = clients.map(|(port, client)| (port, client.session.text()));
        for (&port, want) in had.chain(given_back) {
            let Some(row) = core.inputs.sb.port_binding.get(port) else {
                continue;
            };
            let have = row.options.get(LIST);
            if have.map(|text| &**text) == want.as_deref() {
                continue;
            }
            if have.is_some() {
                txn.remove_keys::<sb::PortBinding>(port, OPTIONS, [LIST]);
            }
            if let Some(want) = want {
                let new = sb::PortBinding {
                    options: Map::from_iter([(LIST.into(), want.into())]),
                    ..Default::default()
                };
                txn.mutate_insert(port, &new, OPTIONS);
            }
        }
    }

    /// When to come again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next().into_iter().chain(self.looks.due()).min()
    }

    fn next(&self) -> Option<Instant> {
        let clients = self.clients.values().chain(self.leaving.values());
        clients.filter_map(|client| client.session.due()).min()
    }
}

fn message(way: Way, mac: Mac, payload: &[u8]) -> Message {
    let ethernet = Ethernet::new(mac, Mac::ipv6_multicast(SERVERS), ethertype::IPV6);
    let ip = IpHeader::V6 {
        src: mac.link_local(),
        dst: SERVERS,
    };
    let packet = transport::udp(&ethernet, ip, HOP_LIMIT, CLIENT_PORT, SERVER_PORT, payload);
    let actions = [
        Action::set(Field::Metadata, way.datapath),
        Action::set(REG_INPORT, way.port),
        Action::resubmit(tables::LOG_INGRESS),
    ];
    Message::PacketOut(PacketOut::new(packet, actions.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_process_had() {
        let row = |list: &str| sb::PortBinding {
            options: [(LIST, list)].into(),
            ..Default::default()
        };
        let had = earlier(&row("51009:fd55:0:0:f00::/64"));
        assert_eq!(had, Some((51009, ("fd55:0:0:f00::".parse().unwrap(), 64))));
        for bad in ["", "fd55::/64", "x:fd55::/64", "7:fd55::"] {
            assert_eq!(earlier(&row(bad)), None, "{bad}");
        }
    }

    #[test]
    fn messages_go_to_all_servers() {
        let way = Way {
            datapath: 3,
            port: 2,
            local_only: false,
        };
        let Message::PacketOut(out) = message(way, Mac([0x0a, 0, 0, 0, 0xff, 1]), &[1, 2, 3])
        else {
            panic!("no packet-out")
        };
        let frame = Frame::parse(&out.packet).unwrap();
        assert_eq!(frame.ethernet.dst, Mac([0x33, 0x33, 0, 1, 0, 2]));
        let ip = Ip::parse(&frame).unwrap();
        let expected = IpHeader::V6 {
            src: "fe80::800:ff:fe00:ff01".parse().unwrap(),
            dst: SERVERS,
        };
        assert_eq!(ip.header, expected);
        assert_eq!(ip.payload[..4], [2, 0x22, 2, 0x23]);
        assert_eq!(transport::udp_payload(&ip), Ok(&[1u8, 2, 3][..]));
    }
}
