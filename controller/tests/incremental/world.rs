//! Two databases that change at random, with what follows them.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use weft_controller::core::Core;
use weft_controller::index::Index;
use weft_controller::install::Installer;
use weft_controller::program::{Fact, Settings};
use weft_ovsdb::model::{RowUpdate, Str, Uuid};
use weft_ovsdb::testing::Coverage;
use weft_schemas::{sb, vs};

use super::{DATAPATHS, PORTS, everything, everything_vs, s, settings, text, uuid};

/// Sets of a few members count as large.
pub const LARGE_SETS: Settings = Settings {
    chassis: None,
    large_set: Some(6),
};

/// Random databases, and a core that follows their changes.
pub struct World {
    pub(super) rng: SmallRng,
    pub(super) core: Core,
    pub installer: Installer,
    pub seen: Seen,
}

/// What the controller has read, and what has been edited.
#[derive(Default)]
pub struct Seen {
    sb: Coverage<sb::Db>,
    vs: Coverage<vs::Db>,
}

impl Seen {
    fn look(&mut self, core: &Core) {
        for (fact, columns) in core.engine().facts() {
            match fact {
                Fact::Sb(table, _) => self.sb.read(table, columns),
                Fact::Vs(table, _) => self.vs.read(table, columns),
                _ => {}
            }
        }
    }

    pub fn missing(&self) -> Vec<String> {
        [self.sb.missing(), self.vs.missing()].concat()
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut world = World {
            rng: SmallRng::seed_from_u64(seed),
            core: Core::new(LARGE_SETS).unwrap(),
            installer: Installer::default(),
            seen: Seen::default(),
        };
        world.vs(vec![
            RowUpdate::insert(
                uuid(101, 0),
                vs::OpenVswitch {
                    bridges: [uuid(102, 0)].into(),
                    external_ids: settings("geneve"),
                    ..Default::default()
                },
            )
            .into(),
            RowUpdate::insert(
                uuid(102, 0),
                vs::Bridge {
                    name: s("br-int"),
                    ..Default::default()
                },
            )
            .into(),
            RowUpdate::insert(uuid(107, 0), vs::Qos::default()).into(),
            RowUpdate::insert(
                uuid(102, 1),
                vs::Bridge {
                    name: s("br-ex"),
                    ..Default::default()
                },
            )
            .into(),
        ]);
        for n in 0..DATAPATHS {
            let row = sb::DatapathBinding {
                tunnel_key: n as i64 + 1,
                ..Default::default()
            };
            world.sb(vec![RowUpdate::insert(uuid(1, n), row).into()]);
        }
        world
    }

    pub(super) fn sb(&mut self, updates: Vec<sb::Update>) {
        let changes = self.core.apply_sb(updates, false);
        changes
            .iter()
            .for_each(|change| self.seen.sb.changed(change));
    }

    pub(super) fn vs(&mut self, updates: Vec<vs::Update>) {
        let changes = self.core.apply_vs(updates, false);
        changes
            .iter()
            .for_each(|change| self.seen.vs.changed(change));
    }

    pub fn pick(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    pub(super) fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all.choose(&mut self.rng).copied().unwrap_or("")
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A number that nothing else of its kind has; mostly the same.
    pub(super) fn key(&mut self, n: usize) -> i64 {
        n as i64 + if self.chance(15) { 101 } else { 1 }
    }

    pub(super) fn port_name(&mut self) -> Str {
        format!("p{}", self.pick(PORTS)).into()
    }

    pub(super) fn datapath(&mut self) -> Uuid {
        let n = self.pick(DATAPATHS);
        uuid(1, n)
    }

    pub fn edit(&mut self) {
        match self.pick(19) {
            0..=2 => self.edit_port(),
            3..=5 => self.edit_flow(),
            6 | 7 => self.edit_interface(),
            8 => self.edit_chassis(),
            9 => self.edit_group(),
            10 => self.edit_tunnel_port(),
            11 => self.edit_neighbor(),
            12 => self.edit_names(),
            13 => self.edit_datapath(),
            14 => self.edit_settings(),
            15 => self.edit_ha(),
            16 => self.edit_balancer(),
            17 => self.edit_variables(),
            _ => self.edit_rest(),
        }
    }

    /// A reconnect: the same rows come once more as a whole, some of them gone meanwhile.
    pub fn reconnect(&mut self) {
        let mut rows = everything(&self.core.inputs.sb);
        for _ in 0..self.pick(4) {
            if !rows.is_empty() {
                let n = self.pick(rows.len());
                rows.swap_remove(n);
            }
        }
        self.core.apply_sb(rows, true);
    }

    pub fn run(&mut self) {
        // What is needed of the southbound is looked at before the rest is run; that must make no difference.
        if self.chance(50) {
            self.core.advance();
        }
        let delta = self.core.run();
        assert!(!delta.stalled);
        self.seen.look(&self.core);
        self.installer
            .apply(delta.removed.iter(), delta.added.iter());
        drop(self.installer.batch());
    }

    pub fn compare(&mut self, what: &str) {
        let differences = self.core.audit().unwrap();
        assert!(differences.is_empty(), "{what}: {differences:#?}");
        let mut fresh = Core::new(LARGE_SETS).unwrap();
        fresh.ledgers = self.core.ledgers.clone();
        fresh.apply_vs(everything_vs(&self.core.inputs.vs), true);
        fresh.apply_sb(everything(&self.core.inputs.sb), true);
        for &port in &self.core.inputs.yielded {
            fresh.set_yielded(port, true);
        }
        for &port in &self.core.inputs.activated {
            fresh.set_activated(port, true);
        }
        let delta = fresh.run();
        let mut installer = Installer::default();
        installer.apply(delta.removed.iter(), delta.added.iter());
        let ours: BTreeSet<String> = self.core.engine().outputs().map(text).collect();
        let theirs: BTreeSet<String> = fresh.engine().outputs().map(text).collect();
        let (extra, missing): (Vec<_>, Vec<_>) = (
            ours.difference(&theirs).collect(),
            theirs.difference(&ours).collect(),
        );
        assert!(
            extra.is_empty() && missing.is_empty(),
            "{what}: extra {extra:#?}, missing {missing:#?}"
        );
        // Numbers may differ where two hashes met in another order; there are few enough here that they do not.
        assert_eq!(self.installer.wanted(), installer.wanted(), "{what}");
        for n in 0..DATAPATHS {
            for index in [Index::DnsOfDatapath, Index::DelegatingPort] {
                let found = |core: &Core| core.inputs.idx.find(index, uuid(1, n)).to_vec();
                assert_eq!(found(&self.core), found(&fresh), "{what}");
            }
        }
        for index in [Index::AdvertisingPort, Index::PrefixPort] {
            let found = |core: &Core| core.inputs.idx.find(index, ()).to_vec();
            assert_eq!(found(&self.core), found(&fresh), "{what}");
        }
    }
}
