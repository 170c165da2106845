//! General queries for switches that have a querier (`IP_Multicast.querier`), so that receivers go on reporting where no
//! multicast router asks them.
//!
//! Guarantees: IGMPv3 and MLDv2 queries from the configured addresses to the ports of the switch that are on this chassis, at
//! once when the querier is configured, again after a quarter of the interval (RFC 3376, section 8.6), then after each
//! interval. A protocol without a source address is not asked in; without an Ethernet address nothing is.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::{Mac, igmp, mld};
use weft_schemas::sb;

use crate::flow::REG_OUTPORT;
use crate::tables;

/// The tunnel key of `_MC_flood`, which every version of OVN gives to all ports of a switch.
pub(super) const FLOOD: u32 = 32768;

/// What a row asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Key of the switch's datapath.
    datapath: u32,
    mac: Mac,
    ip4: Option<Ipv4Addr>,
    ip6: Option<Ipv6Addr>,
    interval: u32,
    max_response: u8,
}

impl Wish {
    /// Of a row whose datapath has that key; `None` if nothing is to be sent.
    pub(super) fn of(row: &sb::IpMulticast, datapath: u32) -> Option<Wish> {
        if row.querier == Some(false) {
            return None;
        }
        let wish = Wish {
            datapath,
            mac: row.eth_src.parse().ok()?,
            ip4: row.ip4_src.parse().ok(),
            ip6: row.ip6_src.parse().ok(),
            interval: clamp(row.query_interval, 150, 3600),
            max_response: clamp(row.query_max_resp, 1, 10) as u8,
        };
        (wish.ip4.is_some() || wish.ip6.is_some()).then_some(wish)
    }

    fn packets(&self) -> impl Iterator<Item = Vec<u8>> {
        let v4 = self
            .ip4
            .map(|ip| igmp::general_query(self.mac, ip, self.max_response, self.interval));
        let v6 = self
            .ip6
            .map(|ip| mld::general_query(self.mac, ip, self.max_response, self.interval));
        v4.into_iter().chain(v6)
    }

    /// To the ports here, a physical network among them: the other chassis ask theirs themselves.
    fn messages(&self) -> impl Iterator<Item = Message> {
        let actions = ActionList::from([
            Action::set(Field::Metadata, self.datapath),
            Action::set(REG_OUTPORT, FLOOD),
            Action::resubmit(tables::LOCAL_OUTPUT),
        ]);
        self.packets()
            .map(move |packet| Message::PacketOut(PacketOut::new(packet, actions.clone())))
    }
}

fn clamp(value: Option<i64>, default: i64, most: i64) -> u32 {
    value.unwrap_or(default).clamp(1, most) as u32
}

#[derive(Debug)]
struct Querier {
    wish: Wish,
    next: Instant,
    /// It has asked once since it was configured.
    started: bool,
}

/// All queriers, by the datapath's row.
#[derive(Debug, Default)]
pub(super) struct Queriers {
    queriers: FxHashMap<Uuid, Querier>,
}

impl Queriers {
    /// These are all that there are to be. One that is as before goes on as before.
    pub(super) fn configure(&mut self, wishes: impl Iterator<Item = (Uuid, Wish)>, now: Instant) {
        let mut before = std::mem::take(&mut self.queriers);
        for (datapath, wish) in wishes {
            let same = before
                .remove(&datapath)
                .filter(|querier| querier.wish == wish);
            let querier = same.unwrap_or(Querier {
                wish,
                next: now,
                started: false,
            });
            self.queriers.insert(datapath, querier);
        }
    }

    /// Queries that are due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Message> {
        let mut send = Vec::new();
        for querier in self.queriers.values_mut() {
            if querier.next > now {
                continue;
            }
            let interval = Duration::from_secs(querier.wish.interval.into());
            let pause = match std::mem::replace(&mut querier.started, true) {
                true => interval,
                false => interval / 4,
            };
            querier.next = now + pause;
            send.extend(querier.wish.messages());
        }
        send
    }

    /// When to come again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.queriers.values().map(|querier| querier.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> sb::IpMulticast {
        sb::IpMulticast {
            enabled: Some(true),
            querier: Some(true),
            eth_src: "0a:00:00:00:00:01".into(),
            ip4_src: "10.0.0.254".into(),
            ip6_src: "fe80::1".into(),
            query_interval: Some(100),
            query_max_resp: Some(2),
            ..sb::IpMulticast::default()
        }
    }

    #[test]
    fn twice_at_first_and_then_once_an_interval() {
        let start = Instant::now();
        let mut queriers = Queriers::default();
        let wish = Wish::of(&row(), 3).unwrap();
        queriers.configure([(Uuid(1), wish)].into_iter(), start);
        let mut asked = Vec::new();
        for second in 0..=300 {
            let now = start + Duration::from_secs(second);
            // Being configured anew changes nothing.
            queriers.configure([(Uuid(1), wish)].into_iter(), now);
            let sent = queriers.tick(now).len();
            if sent > 0 {
                asked.push((second, sent));
            }
        }
        assert_eq!(asked, [(0, 2), (25, 2), (125, 2), (225, 2)]);
        assert_eq!(queriers.due(), Some(start + Duration::from_secs(325)));
        queriers.configure(std::iter::empty(), start);
        assert_eq!(queriers.due(), None);
    }

    #[test]
    fn nothing_is_asked_without_an_address_to_ask_from() {
        let of = |edit: &dyn Fn(&mut sb::IpMulticast)| {
            let mut row = row();
            edit(&mut row);
            Wish::of(&row, 3).map(|wish| wish.packets().count())
        };
        assert_eq!(of(&|_| ()), Some(2));
        assert_eq!(of(&|row| row.ip4_src = "".into()), Some(1));
        assert_eq!(of(&|row| row.eth_src = "".into()), None);
        assert_eq!(of(&|row| row.querier = Some(false)), None);
        let none = |row: &mut sb::IpMulticast| {
            row.ip4_src = "".into();
            row.ip6_src = "bad".into();
        };
        assert_eq!(of(&none), None);
    }
}
