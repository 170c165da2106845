//! Where packets wait for the controller: bounded, and fair between sorts of packets.
//!
//! Each opcode has its own short queue and its own rate, and queues are emptied in turn. A flood of one sort fills that
//! sort's queue and nothing else; and as the controller takes only a few packets between two looks at its databases,
//! flows are installed as fast as without it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use weft_daemon::coverage::{Counter, counter};
use weft_openflow::PacketIn;

use crate::actions::opcode::Opcode;

/// Packets of one sort that may wait.
const QUEUE: usize = 256;
/// Packets of one sort that are admitted per second in the long run.
const RATE: u64 = 5_000;
/// Packets of one sort that are admitted at once.
const BURST: u64 = 1_000;

/// A token bucket in nanoseconds of credit: a packet costs a second divided by the rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    credit: u64,
    last: Option<Instant>,
}

const COST: u64 = 1_000_000_000 / RATE;

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let earned = self
            .last
            .map_or(0, |last| now.saturating_duration_since(last).as_nanos());
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        self.credit = self.credit.saturating_add(earned).min(BURST * COST);
        self.last = Some(now);
        match self.credit.checked_sub(COST) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

/// Queues by sort, without any waiting.
#[derive(Debug)]
struct Queues {
    /// One per opcode, in the order of [`Opcode::ALL`], and one for what has none.
    sorts: Vec<(VecDeque<PacketIn>, Bucket)>,
    turn: usize,
}

/// What happened to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    Taken,
    TooFast,
    TooMany,
}

impl Default for Queues {
    fn default() -> Self {
        let bucket = Bucket {
            credit: BURST * COST,
            last: None,
        };
        Queues {
            sorts: vec![(VecDeque::new(), bucket); Opcode::ALL.len() + 1],
            turn: 0,
        }
    }
}

impl Queues {
    fn offer(&mut self, packet: PacketIn, now: Instant) -> Offer {
        let sort = Opcode::split(&packet.userdata)
            .map_or(Opcode::ALL.len(), |(opcode, _)| opcode as usize);
        let Some((queue, bucket)) = self.sorts.get_mut(sort) else {
            return Offer::TooMany;
        };
        if queue.len() >= QUEUE {
            return Offer::TooMany;
        }
        if !bucket.take(now) {
            return Offer::TooFast;
        }
        queue.push_back(packet);
        Offer::Taken
    }

    fn take(&mut self) -> Option<PacketIn> {
        for _ in 0..self.sorts.len() {
            self.turn = (self.turn + 1) % self.sorts.len();
            if let Some(packet) = self.sorts[self.turn].0.pop_front() {
                return Some(packet);
            }
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.sorts.iter().all(|(queue, _)| queue.is_empty())
    }
}

/// The queues between the connection and the controller; clones are the same queues.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    there: Notify,
    too_fast: Arc<Counter>,
    too_many: Arc<Counter>,
}

impl Default for Intake {
    fn default() -> Self {
        let shared = Shared {
            queues: Mutex::default(),
            there: Notify::new(),
            too_fast: counter("pinctrl_drop_rate_limit"),
            too_many: counter("pinctrl_drop_queue_full"),
        };
        Intake {
            shared: Arc::new(shared),
        }
    }
}

impl Intake {
    fn queues(&self) -> std::sync::MutexGuard<'_, Queues> {
        // Nothing panics while it is held; if it did, the queues would be whole.
        self.shared
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a packet, or drops and counts it.
    pub fn offer(&self, packet: PacketIn, now: Instant) {
        let outcome = self.queues().offer(packet, now);
        match outcome {
            Offer::Taken => self.shared.there.notify_one(),
            Offer::TooFast => self.shared.too_fast.inc(),
            Offer::TooMany => self.shared.too_many.inc(),
        }
    }

    /// The next packet.
    pub fn take(&self) -> Option<PacketIn> {
        self.queues().take()
    }

    /// There is no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues().is_empty()
    }

    /// Waits until there is a packet.
    pub async fn ready(&self) {
        while self.queues().is_empty() {
            self.shared.there.notified().await;
        }
    }

    /// Forgets all packets: the connection they came by, on which paused ones could go on, is gone.
    pub fn clear(&self) {
        *self.queues() = Queues::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::packet_in;
    use super::*;

    #[test]
    fn a_flood_of_one_sort_leaves_room_for_the_others() {
        let (mut queues, now) = (Queues::default(), Instant::now());
        for _ in 0..QUEUE {
            assert_eq!(
                queues.offer(packet_in(Opcode::Arp, &[], &[]), now),
                Offer::Taken
            );
        }
        assert_eq!(
            queues.offer(packet_in(Opcode::Arp, &[], &[]), now),
            Offer::TooMany
        );
        assert_eq!(
            queues.offer(packet_in(Opcode::PutArp, &[], &[]), now),
            Offer::Taken
        );
        let first: Vec<_> = (0..2)
            .filter_map(|_| queues.take())
            .map(|p| Opcode::split(&p.userdata).unwrap().0)
            .collect();
        assert!(first.contains(&Opcode::PutArp), "{first:?}");
        assert_eq!(std::iter::from_fn(|| queues.take()).count(), QUEUE - 1);
        assert!(queues.is_empty());
    }

    #[test]
    fn the_rate_is_kept_in_the_long_run() {
        let (mut queues, start) = (Queues::default(), Instant::now());
        let mut taken = 0;
        for ms in 0..10_000u64 {
            let now = start + Duration::from_millis(ms);
            for _ in 0..20 {
                taken +=
                    u64::from(queues.offer(packet_in(Opcode::Icmp, &[], &[]), now) == Offer::Taken);
            }
            while queues.take().is_some() {}
        }
        assert!((RATE * 10..=RATE * 10 + BURST).contains(&taken), "{taken}");
    }

    #[test]
    fn packets_with_unknown_user_data_have_their_place_too() {
        let mut queues = Queues::default();
        let mut packet = packet_in(Opcode::Arp, &[], &[]);
        packet.userdata = vec![0xff; 3];
        assert_eq!(queues.offer(packet, Instant::now()), Offer::Taken);
        assert!(queues.take().is_some());
    }

    #[tokio::test]
    async fn ready_means_there_is_something() {
        let intake = Intake::default();
        let waiter = tokio::spawn({
            let intake = intake.clone();
            async move {
                intake.ready().await;
                intake.take().is_some()
            }
        });
        intake.offer(packet_in(Opcode::Arp, &[], &[]), Instant::now());
        assert!(waiter.await.unwrap());
    }
}
