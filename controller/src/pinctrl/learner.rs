//! What packets teach about neighbours and places of Ethernet addresses, on its way into the southbound.
//!
//! One transaction is under way at a time; what is learned meanwhile goes with the next. What the southbound refuses is
//! tried again row by row, so that a row that cannot be written keeps back no other.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::{Txn, TxnError};
use weft_packet::Mac;
use weft_packet::bfd::State;

use super::waiting::Hop;
use super::{Now, bfd, fdb, neighbors, refresh, vport};
use crate::core::Core;

/// Rows that may wait to be written.
const PENDING: usize = 4_096;
/// Before a failed transaction is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// A row refused so often on its own is given up.
const ATTEMPTS: u8 = 2;

/// Something learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A neighbour of a router port has an Ethernet address.
    Neighbor {
        /// Key of the router's datapath.
        datapath: u32,
        /// Key of the router port.
        port: u32,
        /// The neighbour's address.
        ip: IpAddr,
        /// Its Ethernet address.
        mac: Mac,
    },
    /// An Ethernet address is behind a switch port.
    Place {
        /// Key of the switch's datapath.
        datapath: u32,
        /// The Ethernet address.
        mac: Mac,
        /// Key of the port.
        port: u32,
    },
    /// A virtual port is with a parent.
    Parent {
        /// Key of the switch's datapath.
        datapath: u32,
        /// Key of the virtual port.
        port: u32,
        /// Key of the parent.
        parent: u32,
    },
    /// A BFD session has come into another state.
    Session(Uuid, State),
    /// A row that ages was last used at this time, in milliseconds since the epoch.
    Used(refresh::Row, i64),
}

/// What a later lesson replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Neighbor(Hop),
    Place(u32, Mac),
    Parent(u32, u32),
    Session(Uuid),
    Used(Uuid),
}

impl Learned {
    fn subject(&self) -> Subject {
        match *self {
            Learned::Neighbor {
                datapath, port, ip, ..
            } => Subject::Neighbor(Hop { datapath, port, ip }),
            Learned::Place { datapath, mac, .. } => Subject::Place(datapath, mac),
            Learned::Session(row, _) => Subject::Session(row),
            Learned::Used(row, _) => Subject::Used(row.uuid()),
            Learned::Parent { datapath, port, .. } => Subject::Parent(datapath, port),
        }
    }

    /// The neighbour, if it is one.
    pub(super) fn hop(&self) -> Option<Hop> {
        match self.subject() {
            Subject::Neighbor(hop) => Some(hop),
            Subject::Place(..) | Subject::Parent(..) | Subject::Session(_) | Subject::Used(_) => {
                None
            }
        }
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Learned::Neighbor {
                datapath,
                port,
                ip,
                mac,
            } => {
                write!(
                    f,
                    "neighbour {ip} at {mac} behind port {port} of datapath {datapath}"
                )
            }
            Learned::Place {
                datapath,
                mac,
                port,
            } => write!(f, "{mac} behind port {port} of datapath {datapath}"),
            Learned::Session(row, state) => write!(f, "state {state:?} of BFD session {row}"),
            Learned::Used(row, ms) => write!(f, "use at {ms} of {row:?}"),
            Learned::Parent {
                datapath,
                port,
                parent,
            } => write!(
                f,
                "virtual port {port} with port {parent} of datapath {datapath}"
            ),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    learned: Learned,
    /// When, in milliseconds since the epoch.
    ms: i64,
    /// Times it was refused on its own.
    refused: u8,
}

/// What waits to be written.
#[derive(Default, Debug)]
pub struct Learner {
    pending: IndexMap<Subject, Pending>,
    /// What is in the transaction under way.
    under_way: Vec<Learned>,
    /// The last transaction was refused: rows go one by one until all that were there then are through.
    singly: usize,
    not_before: Option<Instant>,
}

impl Learner {
    /// Takes note. False when there is no room.
    pub fn note(&mut self, learned: Learned, now: Now) -> bool {
        let subject = learned.subject();
        let full = self.pending.len() >= PENDING;
        match self.pending.get_mut(&subject) {
            Some(pending) if pending.learned == learned => pending.ms = now.ms,
            Some(pending) => {
                *pending = Pending {
                    learned,
                    ms: now.ms,
                    refused: 0,
                }
            }
            None if full => return false,
            None => {
                self.pending.insert(
                    subject,
                    Pending {
                        learned,
                        ms: now.ms,
                        refused: 0,
                    },
                );
            }
        }
        true
    }

    /// The next transaction, if one is to be made now.
    pub fn write(&mut self, core: &Core, now: Now) -> Option<Txn> {
        self.next(now, |learned, ms, txn| match *learned {
            Learned::Neighbor {
                datapath,
                port,
                ip,
                mac,
            } => {
                neighbors::write(core, Hop { datapath, port, ip }, mac, ms, txn);
            }
            Learned::Place {
                datapath,
                mac,
                port,
            } => fdb::write(core, datapath, mac, port, ms, txn),
            Learned::Session(row, state) => bfd::write(core, row, state, txn),
            Learned::Used(row, ms) => refresh::write(core, row, ms, txn),
            Learned::Parent {
                datapath,
                port,
                parent,
            } => vport::write(core, datapath, port, parent, txn),
        })
    }

    fn next(&mut self, now: Now, mut row: impl FnMut(&Learned, i64, &mut Txn)) -> Option<Txn> {
        if !self.under_way.is_empty() || self.not_before.is_some_and(|then| now.instant < then) {
            return None;
        }
        self.not_before = None;
        let mut txn = Txn::new();
        let mut needless = Vec::new();
        for (subject, pending) in &self.pending {
            let ops = txn.len();
            row(&pending.learned, pending.ms, &mut txn);
            if txn.len() == ops {
                needless.push(*subject);
                continue;
            }
            txn.may_cut();
            self.under_way.push(pending.learned);
            if self.singly > 0 {
                break;
            }
        }
        self.singly = self
            .singly
            .saturating_sub(needless.len() + self.under_way.len());
        if self.under_way.is_empty() {
            self.singly = 0;
        }
        needless.iter().for_each(|subject| {
            self.pending.shift_remove(subject);
        });
        (!txn.is_empty()).then_some(txn)
    }

    /// How the transaction under way went. Returns what is given up.
    pub fn written(&mut self, result: &Result<(), TxnError>, now: Now) -> Vec<Learned> {
        let under_way = std::mem::take(&mut self.under_way);
        let alone = under_way.len() == 1;
        let mut lost = Vec::new();
        match result {
            Ok(()) => {}
            Err(why) => {
                self.not_before = Some(now.instant + RETRY);
                if why.refusal().is_none() {
                    return lost;
                }
                self.singly = self.singly.max(self.pending.len());
            }
        }
        for learned in under_way {
            let subject = learned.subject();
            // What has been learned anew meanwhile stays.
            let Some(pending) = self
                .pending
                .get_mut(&subject)
                .filter(|pending| pending.learned == learned)
            else {
                continue;
            };
            if result.is_ok() {
                self.pending.shift_remove(&subject);
            } else if alone {
                pending.refused += 1;
                let given_up = pending.refused >= ATTEMPTS;
                if let Some(pending) = self.pending.shift_remove(&subject) {
                    match given_up {
                        true => lost.push(learned),
                        // Behind the others, which need not wait for it.
                        false => drop(self.pending.insert(subject, pending)),
                    }
                }
            }
        }
        lost
    }

    /// When the next transaction may be made; none is due while one is under way or nothing is pending.
    pub fn due(&self) -> Option<Instant> {
        self.not_before
            .filter(|_| self.under_way.is_empty() && !self.pending.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::txn::{OpError, OpErrorKind};

    use super::*;

    fn neighbor(n: u32, mac: u8) -> Learned {
        Learned::Neighbor {
            datapath: 1,
            port: 2,
            ip: n.to_be_bytes().into(),
            mac: Mac([0, 0, 0, 0, 0, mac]),
        }
    }

    fn at(start: Instant, ms: u64) -> Now {
        Now {
            instant: start + Duration::from_millis(ms),
            ms: ms as i64,
        }
    }

    fn refused() -> Result<(), TxnError> {
        let error = OpError {
            kind: OpErrorKind::from_name("constraint violation"),
            name: "constraint violation".into(),
            details: String::new(),
            op: None,
            table: None,
            column: None,
            row: None,
            named: Vec::new(),
        };
        Err(TxnError::Refused {
            error: Box::new(error),
            committed: 0,
            gap: false,
        })
    }

    /// The rows of the next transaction; those in `known` need not be written.
    fn next(learner: &mut Learner, now: Now, known: &[Learned]) -> Vec<Learned> {
        let mut rows = Vec::new();
        learner.next(now, |learned, _, txn| {
            if !known.contains(learned) {
                txn.comment("a row");
                txn.raw(serde_json::json!({"op": "abort"}));
                rows.push(*learned);
            }
        });
        rows
    }

    #[test]
    fn one_transaction_at_a_time_with_all_that_is_new() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        learner.note(neighbor(1, 1), at(start, 0));
        learner.note(neighbor(2, 1), at(start, 0));
        assert_eq!(
            next(&mut learner, at(start, 0), &[neighbor(2, 1)]),
            [neighbor(1, 1)]
        );
        learner.note(neighbor(3, 1), at(start, 1));
        learner.note(neighbor(1, 9), at(start, 1));
        assert_eq!(next(&mut learner, at(start, 2), &[]), []);
        assert!(learner.written(&Ok(()), at(start, 3)).is_empty());
        assert_eq!(
            next(&mut learner, at(start, 4), &[]),
            [neighbor(1, 9), neighbor(3, 1)]
        );
        learner.written(&Ok(()), at(start, 5));
        assert_eq!(next(&mut learner, at(start, 6), &[]), []);
        assert_eq!(learner.due(), None);
    }

    #[test]
    fn a_lost_connection_loses_nothing() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        learner.note(neighbor(1, 1), at(start, 0));
        learner.note(neighbor(2, 1), at(start, 0));
        assert_eq!(next(&mut learner, at(start, 0), &[]).len(), 2);
        assert!(
            learner
                .written(&Err(TxnError::NotConnected), at(start, 0))
                .is_empty()
        );
        assert_eq!(next(&mut learner, at(start, 1), &[]), []);
        assert_eq!(learner.due(), Some(start + RETRY));
        assert_eq!(next(&mut learner, at(start, 500), &[]).len(), 2);
    }

    #[test]
    fn a_row_that_is_refused_keeps_back_no_other() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        let bad = neighbor(2, 1);
        (1..=4).for_each(|n| assert!(learner.note(neighbor(n, 1), at(start, 0))));
        let (mut written, mut lost, mut ms) = (Vec::new(), Vec::new(), 0);
        for _ in 0..20 {
            ms += 500;
            let rows = next(&mut learner, at(start, ms), &[]);
            if rows.is_empty() {
                break;
            }
            if rows.contains(&bad) {
                lost.extend(learner.written(&refused(), at(start, ms)));
            } else {
                learner.written(&Ok(()), at(start, ms));
                written.extend(rows);
            }
        }
        assert_eq!(written, [neighbor(1, 1), neighbor(3, 1), neighbor(4, 1)]);
        assert_eq!(lost, [bad]);
        assert!(learner.pending.is_empty());
        learner.note(neighbor(5, 1), at(start, ms));
        learner.note(neighbor(6, 1), at(start, ms));
        assert_eq!(
            next(&mut learner, at(start, ms + 500), &[]).len(),
            2,
            "together again"
        );
    }

    #[test]
    fn there_is_a_bound() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        for n in 0..PENDING as u32 {
            assert!(learner.note(neighbor(n, 1), at(start, 0)));
        }
        assert!(!learner.note(neighbor(PENDING as u32, 1), at(start, 0)));
        assert!(learner.note(neighbor(0, 2), at(start, 0)));
    }
}
