//! When rows that age are to go: deadlines in the order of time, and how many may go at once.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use weft_ovsdb::model::Uuid;

use crate::output::Output;

/// Until more go where there is a limit, as ovn-nb(5) says of `mac_binding_removal_limit`.
const PAUSE_MS: i64 = 5_000;

/// Deadlines of rows. Times are those of the wall clock, as the rows have them.
#[derive(Default, Debug)]
pub struct Ageing {
    due: BTreeSet<(i64, u8, Uuid)>,
    limits: FxHashMap<u8, u32>,
    /// For tables of which as many went as may.
    paused_until_ms: FxHashMap<u8, i64>,
}

impl Ageing {
    /// Takes over an output that came or went.
    pub fn output(&mut self, output: &Output, present: bool) {
        match output {
            Output::Expires { table, row, at_ms } if present => {
                self.due.insert((*at_ms, *table, *row));
            }
            Output::Expires { table, row, at_ms } => {
                self.due.remove(&(*at_ms, *table, *row));
            }
            Output::RemovalLimit(table, limit) if present => {
                self.limits.insert(*table, *limit);
            }
            Output::RemovalLimit(table, limit) if self.limits.get(table) == Some(limit) => {
                self.limits.remove(table);
            }
            _ => {}
        }
    }

    /// The rows whose time has come, each once.
    pub fn expired(&mut self, wall_ms: i64) -> Vec<(u8, Uuid)> {
        let mut gone: Vec<(i64, u8, Uuid)> = Vec::new();
        let mut counts: FxHashMap<u8, u32> = FxHashMap::default();
        for entry in self.due.iter().take_while(|(at, ..)| *at <= wall_ms) {
            let table = entry.1;
            if self
                .paused_until_ms
                .get(&table)
                .is_some_and(|until| *until > wall_ms)
            {
                continue;
            }
            let count = counts.entry(table).or_default();
            if self.limits.get(&table).is_none_or(|limit| *count < *limit) {
                *count += 1;
                gone.push(*entry);
            }
        }
        for (table, count) in counts {
            if self.limits.get(&table) == Some(&count) {
                self.paused_until_ms.insert(table, wall_ms + PAUSE_MS);
            }
        }
        for entry in &gone {
            self.due.remove(entry);
        }
        gone.into_iter()
            .map(|(_, table, row)| (table, row))
            .collect()
    }

    /// When the next row is due.
    pub fn wake_at_ms(&self) -> Option<i64> {
        let mut tables: Vec<u8> = Vec::new();
        let mut wake: Option<i64> = None;
        // Of each table the first entry decides; there are two tables.
        for (at, table, _) in &self.due {
            if !tables.contains(table) {
                tables.push(*table);
                let at = self
                    .paused_until_ms
                    .get(table)
                    .map_or(*at, |until| *until.max(at));
                wake = Some(wake.map_or(at, |wake| wake.min(at)));
                if tables.len() == 2 {
                    break;
                }
            }
        }
        wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expires(table: u8, row: u128, at_ms: i64) -> Output {
        let row = Uuid(row);
        Output::Expires { table, row, at_ms }
    }

    #[test]
    fn rows_go_when_their_time_has_come_and_no_more_than_may() {
        let mut ageing = Ageing::default();
        for (row, at) in [(1, 100), (2, 200), (3, 200), (4, 900)] {
            ageing.output(&expires(7, row, at), true);
        }
        assert_eq!(ageing.wake_at_ms(), Some(100));
        assert_eq!(ageing.expired(99), []);
        assert_eq!(ageing.expired(100), [(7, Uuid(1))]);
        ageing.output(&Output::RemovalLimit(7, 1), true);
        assert_eq!(ageing.expired(300), [(7, Uuid(2))]);
        assert_eq!(ageing.expired(301), []);
        assert_eq!(ageing.wake_at_ms(), Some(300 + PAUSE_MS));
        // Refreshed meanwhile.
        ageing.output(&expires(7, 3, 200), false);
        assert_eq!(ageing.expired(300 + PAUSE_MS), [(7, Uuid(4))]);
    }
}
