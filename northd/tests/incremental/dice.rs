//! Chance, and the values it chooses among: few, so that rows meet.

use weft_ovsdb::model::{Map, Row, Set, Str, Uuid};

/// Rows per table among which edits choose: few, so that they meet.
pub const POOL: u64 = 9;

/// SplitMix64: the same sequence everywhere for a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick(&mut self, of: &[&str]) -> Str {
        of[self.below(of.len() as u64) as usize].into()
    }

    pub fn maybe(&mut self, percent: u64, of: &[&str]) -> Option<Str> {
        self.chance(percent).then(|| self.pick(of))
    }

    pub fn some(&mut self, most: u64, of: &[&str]) -> Set<Str> {
        (0..self.below(most + 1)).map(|_| self.pick(of)).collect()
    }

    pub fn map(&mut self, of: &[(&str, &[&str])], percent: u64) -> Map<Str, Str> {
        of.iter()
            .filter_map(|(k, v)| Some(((*k).into(), self.maybe(percent, v)?)))
            .collect()
    }

    /// The row number `n` of a table.
    pub fn row(table: u8, n: u64) -> Uuid {
        // Spread over both halves, as real ones are.
        Uuid((u128::from(table) << 120) | (u128::from(n + 1) << 96) | u128::from(n + 1) | 1 << 70)
    }

    pub fn any<R: Row>(&mut self) -> Uuid {
        Self::row(R::TABLE_ID, self.below(POOL))
    }

    pub fn anys<R: Row>(&mut self, most: u64) -> Set<Uuid> {
        (0..self.below(most + 1)).map(|_| self.any::<R>()).collect()
    }

    pub fn flag(&mut self) -> Option<bool> {
        [None, Some(true), Some(false), Some(true)][self.below(4) as usize]
    }
}

pub const PORTS: &[&str] = &["p0", "p1", "p2", "p3", "p4", "p5", "p6", "r0", "same"];
pub const ROUTER_PORTS: &[&str] = &["r0", "r1", "r2", "r3", "r4", "r5", "same"];
pub const MACS: &[&str] = &[
    "0a:00:00:00:00:01",
    "0a:00:00:00:00:02",
    "0a:00:00:00:00:03",
    "zz:00",
    "0a:00:00:00:00:04",
];
pub const ADDRESSES: &[&str] = &[
    "0a:00:00:00:00:01 10.0.0.1",
    "0a:00:00:00:00:02 10.0.0.2 fd00::2",
    "0a:00:00:00:00:03 10.0.0.3",
    "0a:00:00:00:00:04",
    "dynamic",
    "dynamic",
    "dynamic 10.0.0.5",
    "0a:00:00:00:00:06 dynamic",
    "unknown",
    "router",
    "0a:00:00:00:00:07 10.0.0.300",
    "nonsense",
];
pub const NETWORKS: &[&str] = &[
    "10.0.0.254/24",
    "10.0.1.254/24",
    "192.168.0.1/30",
    "fd00::1/64",
    "fe80::1/64",
    "x/3",
];
pub const CHASSIS: &[&str] = &["hv0", "hv1", "hv2", "host0", "nobody"];
pub const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "pg1",
    "pg1_ip4",
    "pg2_ip6",
    "svc_monitor_mac",
];
pub const GROUPS: &[&str] = &["pg1", "pg2", "pg3"];
pub const IPS: &[&str] = &["10.0.0.1", "10.0.1.7", "fd00::7", "bad", "192.168.0.2"];
pub const PREFIXES: &[&str] = &[
    "0.0.0.0/0",
    "10.1.0.0/16",
    "10.0.0.0/24",
    "fd01::/64",
    "::/0",
    "10.2.0.1",
    "bad/9",
];
pub const NUMBERS: &[&str] = &["1", "2", "3", "77", "0", "x", "99999999"];
pub const BOOLS: &[&str] = &["true", "false"];

pub const METERS: &[&str] = &["m1", "m2", "event-elb"];
