//! What a session remembers from one connection to the next.

use std::collections::BTreeMap;
use std::time::Instant;

use super::conditions::Asked;
use super::server::Freshness;
use super::{Conditions, Config, Monitored, Status};
use crate::model::Uuid;

/// What outlives a connection.
pub(super) struct Memory {
    pub(super) leader_only: bool,
    pub(super) monitored: Monitored,
    pub(super) lock: Option<String>,
    /// Where to resume; zero: from the beginning.
    pub(super) last: Uuid,
    /// The tables and columns that `last` was about.
    pub(super) columns: BTreeMap<&'static str, Asked>,
    /// The conditions that the replica shows.
    pub(super) shown: Conditions,
    pub(super) wanted: Conditions,
    pub(super) wanted_seq: u64,
    pub(super) freshness: Freshness,
    pub(super) status: Status,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        Memory {
            leader_only: config.leader_only,
            monitored: config.monitored.clone(),
            lock: config.lock.clone(),
            last: Uuid::ZERO,
            columns: BTreeMap::new(),
            shown: Conditions::new(),
            wanted: config.conditions.clone(),
            wanted_seq: 0,
            freshness: Freshness::default(),
            status: Status {
                since: Some(Instant::now()),
                ..Status::default()
            },
        }
    }

    /// Takes new conditions; yields their number.
    pub(super) fn want(&mut self, conditions: Conditions) -> u64 {
        self.wanted = conditions;
        self.wanted_seq += 1;
        self.wanted_seq
    }
}
