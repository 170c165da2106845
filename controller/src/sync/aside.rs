//! What a server refuses is set aside, so that the rest goes on.
//!
//! A transaction is put together of parts ([`Draft`]), each about one [`Subject`]. When the server refuses it and names the
//! operation at fault, the part that has it is left out for a while, longer each time; where nothing is named, ever fewer
//! parts go into one transaction until the one at fault is alone.

use std::ops::Range;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::txn::Txn;

/// First and longest time for which something is set aside.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32));
/// Beyond so many parts a transaction need not be bounded any more.
const UNBOUNDED: usize = 4096;

/// What a part of a transaction is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Our row in Chassis with its Encaps.
    Chassis(Str),
    /// Our row in Chassis_Private.
    Private(Str),
    /// A Port_Binding: row and logical port.
    Binding(Uuid, Str),
    /// A bridge of Open vSwitch.
    Bridge(Str),
    /// The bookkeeping in a bridge's external_ids.
    BridgeIds(Str),
    /// A port of Open vSwitch with its interface.
    Port(Str),
    /// A mirror of the integration bridge.
    Mirror(Str),
    /// The queues of a port of Open vSwitch.
    Queues(Str),
    /// An interface that is told something: row and name.
    Interface(Uuid, Str),
}

impl Subject {
    /// Database, table, row (if it is one that was there) and name, for messages.
    pub fn describe(&self) -> (&'static str, &'static str, Option<Uuid>, &Str) {
        const SB: &str = "OVN_Southbound";
        const VS: &str = "Open_vSwitch";
        match self {
            Subject::Chassis(name) => (SB, "Chassis", None, name),
            Subject::Private(name) => (SB, "Chassis_Private", None, name),
            Subject::Binding(uuid, name) => (SB, "Port_Binding", Some(*uuid), name),
            Subject::Bridge(name) | Subject::BridgeIds(name) => (VS, "Bridge", None, name),
            Subject::Port(name) => (VS, "Port", None, name),
            Subject::Mirror(name) => (VS, "Mirror", None, name),
            Subject::Queues(name) => (VS, "QoS", None, name),
            Subject::Interface(uuid, name) => (VS, "Interface", Some(*uuid), name),
        }
    }
}

/// A transaction in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    txn: Txn,
    asides: &'a Asides,
    sent: Sent,
}

/// What a transaction is about.
#[derive(Debug, Default)]
pub struct Sent {
    parts: Vec<(Range<usize>, Subject)>,
    left_out: bool,
}

impl Sent {
    /// Not everything had room: another transaction must follow.
    pub fn left_out(&self) -> bool {
        self.left_out
    }
}

impl Draft<'_> {
    /// Adds what `write` adds, unless the subject is set aside or there is no room. False if it was left out.
    pub fn part(&mut self, subject: Subject, write: impl FnOnce(&mut Txn)) -> bool {
        if self.asides.blocks(&subject) {
            return false;
        }
        if self
            .asides
            .limit
            .is_some_and(|limit| self.sent.parts.len() >= limit)
        {
            self.sent.left_out = true;
            return false;
        }
        let first = self.txn.len();
        write(&mut self.txn);
        if self.txn.len() > first {
            self.sent.parts.push((first..self.txn.len(), subject));
        }
        true
    }

    /// What is to be sent, and what it is about.
    pub fn end(self) -> (Txn, Sent) {
        (self.txn, self.sent)
    }
}

#[derive(Clone, Debug)]
struct Aside {
    /// How often in a row.
    strikes: u32,
    until: Instant,
    /// The time has come: it is being tried again.
    tried: bool,
    reason: String,
}

/// What one server refuses.
#[derive(Debug, Default)]
pub struct Asides {
    rows: FxHashMap<Subject, Aside>,
    /// Most parts of a transaction while it is being found out which of them is refused.
    limit: Option<usize>,
}

impl Asides {
    /// Begins a transaction.
    pub fn draft(&self) -> Draft<'_> {
        Draft {
            txn: Txn::new(),
            asides: self,
            sent: Sent::default(),
        }
    }

    fn blocks(&self, subject: &Subject) -> bool {
        self.rows.get(subject).is_some_and(|aside| !aside.tried)
    }

    /// Nothing is refused, and any number of parts may go together.
    pub fn is_idle(&self) -> bool {
        self.rows.is_empty() && self.limit.is_none()
    }

    /// A transaction was put together: what had another chance and did not need it is no longer refused.
    pub fn drafted(&mut self, sent: &Sent) {
        if !sent.left_out && !self.rows.is_empty() {
            self.rows.retain(|subject, aside| {
                !aside.tried || sent.parts.iter().any(|(_, other)| other == subject)
            });
        }
    }

    /// The server has done it.
    pub fn accepted(&mut self, sent: &Sent) {
        self.limit = self
            .limit
            .map(|limit| limit * 4)
            .filter(|limit| *limit < UNBOUNDED);
        if !self.rows.is_empty() {
            sent.parts
                .iter()
                .for_each(|(_, subject)| drop(self.rows.remove(subject)));
        }
    }

    /// The server refuses it because of operation `op`, if it says which. Returns what is set aside for it.
    pub fn refused(
        &mut self,
        sent: &Sent,
        op: Option<usize>,
        reason: &str,
        now: Instant,
    ) -> Option<Subject> {
        let at_fault = sent
            .parts
            .iter()
            .find(|(ops, _)| op.is_some_and(|op| ops.contains(&op)));
        let subject = match (at_fault, sent.parts.as_slice()) {
            (Some((_, subject)), _) | (None, [(_, subject)]) => subject.clone(),
            (None, parts) => {
                self.limit = Some((parts.len() / 2).max(1));
                return None;
            }
        };
        let strikes = self.rows.get(&subject).map_or(1, |aside| aside.strikes + 1);
        // Once may be an accident: somebody else wrote at the same time.
        let wait = match strikes {
            1 => Duration::ZERO,
            more => (WAIT.0 * (1 << (more - 2).min(16))).min(WAIT.1),
        };
        self.rows.insert(
            subject.clone(),
            Aside {
                strikes,
                until: now + wait,
                tried: false,
                reason: reason.to_string(),
            },
        );
        Some(subject)
    }

    /// Gives another chance to what has waited long enough, and returns it.
    pub fn release(&mut self, now: Instant) -> Vec<Subject> {
        let due = self
            .rows
            .iter_mut()
            .filter(|(_, aside)| !aside.tried && aside.until <= now);
        due.map(|(subject, aside)| {
            aside.tried = true;
            subject.clone()
        })
        .collect()
    }

    /// When [`Asides::release`] has something to do next.
    pub fn due(&self) -> Option<Instant> {
        self.rows
            .values()
            .filter(|aside| !aside.tried)
            .map(|aside| aside.until)
            .min()
    }

    /// What is refused again and again, with the server's words.
    pub fn complaints(&self) -> impl Iterator<Item = (&Subject, &str)> {
        self.rows
            .iter()
            .filter(|(_, aside)| aside.strikes > 1)
            .map(|(subject, aside)| (subject, &*aside.reason))
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::sb;

    use super::*;

    fn port(n: u128) -> Subject {
        Subject::Binding(Uuid(n), format!("p{n}").into())
    }

    fn draft(asides: &mut Asides, ports: impl IntoIterator<Item = u128>) -> Sent {
        let mut draft = asides.draft();
        for n in ports {
            draft.part(port(n), |txn| {
                txn.update(Uuid(n), &sb::PortBinding::default(), sb::port_binding::UP);
                txn.update(
                    Uuid(n),
                    &sb::PortBinding::default(),
                    sb::port_binding::CHASSIS,
                );
            });
        }
        let sent = draft.end().1;
        asides.drafted(&sent);
        sent
    }

    fn subjects(sent: &Sent) -> Vec<Subject> {
        sent.parts
            .iter()
            .map(|(_, subject)| subject.clone())
            .collect()
    }

    #[test]
    fn a_named_row_is_left_out_longer_each_time_and_returns() {
        let (mut asides, start) = (Asides::default(), Instant::now());
        let sent = draft(&mut asides, 0..3);
        assert_eq!(asides.refused(&sent, Some(3), "no", start), Some(port(1)));
        assert_eq!(asides.complaints().count(), 0, "once may be an accident");
        assert_eq!(asides.release(start), [port(1)]);
        let sent = draft(&mut asides, 0..3);
        assert_eq!(asides.refused(&sent, Some(2), "no", start), Some(port(1)));
        assert_eq!(asides.complaints().collect::<Vec<_>>(), [(&port(1), "no")]);
        assert!(asides.release(start).is_empty());
        let sent = draft(&mut asides, 0..3);
        assert_eq!(subjects(&sent), [port(0), port(2)]);
        asides.accepted(&sent);
        assert_eq!(asides.due(), Some(start + WAIT.0));
        let later = start + WAIT.0;
        assert_eq!(asides.release(later), [port(1)]);
        let sent = draft(&mut asides, 1..2);
        asides.refused(&sent, Some(0), "no", later);
        assert_eq!(asides.due(), Some(later + WAIT.0 * 2));
        asides.release(later + WAIT.0 * 2);
        let sent = draft(&mut asides, 1..2);
        asides.accepted(&sent);
        assert_eq!(asides.complaints().count(), 0);
    }

    #[test]
    fn what_is_not_named_is_found_by_halves() {
        let (mut asides, now) = (Asides::default(), Instant::now());
        let mut wanted: Vec<u128> = (0..8).collect();
        for _ in 0..20 {
            asides.release(now);
            let sent = draft(&mut asides, wanted.iter().copied());
            if subjects(&sent).contains(&port(5)) {
                asides.refused(&sent, None, "no", now);
            } else {
                asides.accepted(&sent);
                wanted.retain(|n| !subjects(&sent).contains(&port(*n)));
            }
        }
        assert_eq!(wanted, [5]);
        assert_eq!(
            asides
                .complaints()
                .map(|(subject, _)| subject.clone())
                .collect::<Vec<_>>(),
            [port(5)]
        );
    }

    #[test]
    fn what_needs_no_writing_any_more_is_forgotten() {
        let (mut asides, now) = (Asides::default(), Instant::now());
        for _ in 0..2 {
            asides.release(now);
            let sent = draft(&mut asides, 1..2);
            asides.refused(&sent, Some(0), "no", now);
        }
        asides.release(now + WAIT.1);
        draft(&mut asides, 2..3);
        assert_eq!(asides.complaints().count(), 0);
    }
}
