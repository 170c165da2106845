//! Packets that wait until the Ethernet address of their next hop is known: the first ones of a conversation would be lost
//! otherwise. A few per neighbour, for a while.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, Message, PacketOut};
use weft_packet::Mac;

use super::respond::Request;

/// Packets held for a neighbour: the newest.
const PER_HOP: usize = 4;
/// Neighbours for which packets are held.
const HOPS: usize = 1_000;
/// A neighbour that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(10);

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Key of the router's datapath.
    pub datapath: u32,
    /// Key of the router port it is behind.
    pub port: u32,
    /// Its address.
    pub ip: IpAddr,
}

impl Hop {
    /// The neighbour behind the packet's output port, if it has one.
    pub(super) fn of(request: &Request<'_>, ip: IpAddr) -> Option<Hop> {
        let key = |field| {
            u32::try_from(request.packet.metadata_value(field))
                .ok()
                .filter(|&key| key != 0)
        };
        Some(Hop {
            datapath: key(Field::Metadata)?,
            port: key(crate::flow::REG_OUTPORT)?,
            ip,
        })
    }
}

#[derive(Debug)]
struct Held {
    /// Tells it from what was held for the same neighbour earlier.
    number: u64,
    packets: VecDeque<PacketOut>,
}

/// The packets.
#[derive(Default, Debug)]
pub struct Waiting {
    held: FxHashMap<Hop, Held>,
    /// Neighbours in the order in which they expire; also of some that are not waited for any more.
    order: VecDeque<(Instant, u64, Hop)>,
    /// Of the last one.
    number: u64,
    /// Neighbours that have not been looked for among the known ones.
    fresh: Vec<Hop>,
    /// Others are known than when they were looked for.
    outdated: bool,
}

impl Waiting {
    /// Holds a packet that is complete but for its Ethernet destination.
    pub fn hold(&mut self, hop: Hop, packet: PacketOut, now: Instant) {
        if let Some(held) = self.held.get_mut(&hop) {
            if held.packets.len() >= PER_HOP {
                held.packets.pop_front();
            }
            held.packets.push_back(packet);
            return;
        }
        while self.held.len() >= HOPS
            && let Some((_, number, oldest)) = self.order.pop_front()
        {
            self.forget(number, &oldest);
        }
        self.number += 1;
        let number = self.number;
        let packets = VecDeque::from([packet]);
        self.held.insert(hop, Held { number, packets });
        self.order.push_back((now + PATIENCE, number, hop));
        self.fresh.push(hop);
        if self.order.len() > 2 * HOPS {
            let held = &self.held;
            self.order.retain(|(_, number, hop)| {
                held.get(hop).is_some_and(|held| held.number == *number)
            });
        }
    }

    fn forget(&mut self, number: u64, hop: &Hop) {
        if self.held.get(hop).is_some_and(|held| held.number == number) {
            self.held.remove(hop);
        }
    }

    /// The packets that a neighbour's address lets go, in their order.
    pub fn resolved(&mut self, hop: &Hop, mac: Mac) -> impl Iterator<Item = Message> + use<> {
        let packets = self
            .held
            .remove(hop)
            .map(|held| held.packets)
            .unwrap_or_default();
        packets.into_iter().map(move |mut packet| {
            let mut actions = ActionList::from([Action::set(Field::EthDst, mac.to_u64())]);
            actions.append(&packet.actions);
            packet.actions = actions;
            Message::PacketOut(packet)
        })
    }

    /// Forgets the packets whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, number, hop)) = self.order.front().copied()
            && until <= now
        {
            self.order.pop_front();
            self.forget(number, &hop);
        }
    }

    /// When the next packets expire, or somewhat earlier.
    pub fn due(&self) -> Option<Instant> {
        self.order.front().map(|(until, ..)| *until)
    }

    /// What is known of neighbours has changed.
    pub fn look_again(&mut self) {
        self.outdated = true;
    }

    /// The neighbours to be looked for among the known ones: those that have come since it was asked last, or all if what is
    /// known has changed since.
    pub fn sought(&mut self) -> Vec<Hop> {
        let mut fresh = std::mem::take(&mut self.fresh);
        if std::mem::take(&mut self.outdated) {
            return self.held.keys().copied().collect();
        }
        fresh.retain(|hop| self.held.contains_key(hop));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(n: u32) -> Hop {
        Hop {
            datapath: 1,
            port: n,
            ip: [10, 0, 0, 1].into(),
        }
    }

    fn packet(n: u8) -> PacketOut {
        PacketOut::new(vec![n], [Action::resubmit(37)])
    }

    #[test]
    fn the_newest_go_in_order_to_the_neighbour() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        (0..6).for_each(|n| waiting.hold(hop(1), packet(n), now));
        waiting.hold(hop(2), packet(9), now);
        let sent: Vec<Message> = waiting.resolved(&hop(1), Mac([0, 0, 0, 0, 0, 5])).collect();
        let bytes: Vec<u8> = sent
            .iter()
            .map(|message| {
                let Message::PacketOut(out) = message else {
                    panic!("{message:?}")
                };
                assert_eq!(
                    out.actions,
                    ActionList::from([Action::set(Field::EthDst, 5u32), Action::resubmit(37)])
                );
                out.packet[0]
            })
            .collect();
        assert_eq!(bytes, [2, 3, 4, 5]);
        assert_eq!(waiting.resolved(&hop(1), Mac::ZERO).count(), 0);
        assert_eq!(waiting.sought(), [hop(2)]);
        assert_eq!(waiting.sought(), []);
        waiting.look_again();
        assert_eq!(waiting.sought(), [hop(2)]);
    }

    #[test]
    fn nothing_is_held_for_ever_or_without_bound() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..HOPS as u32 + 10 {
            waiting.hold(hop(n), packet(0), now + Duration::from_millis(n.into()));
        }
        assert_eq!(waiting.held.len(), HOPS);
        assert_eq!(
            waiting.due(),
            Some(now + PATIENCE + Duration::from_millis(10)),
            "the oldest ten went"
        );
        waiting.expire(now + PATIENCE + Duration::from_millis(10));
        assert_eq!(waiting.held.len(), HOPS - 1);
        waiting.expire(now + PATIENCE * 2);
        assert_eq!(waiting.due(), None);
        // However often somebody is found and lost again.
        for _ in 0..10 * HOPS {
            waiting.hold(hop(1), packet(0), now);
            assert_eq!(waiting.resolved(&hop(1), Mac::ZERO).count(), 1);
        }
        assert!(waiting.order.len() <= 2 * HOPS);
        waiting.sought();
        assert!(waiting.fresh.is_empty());
    }
}
