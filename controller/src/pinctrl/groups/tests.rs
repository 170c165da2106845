//! A chassis, a switch that snoops, and what its ports say.

use weft_openflow::Match;
use weft_ovsdb::model::RowUpdate;

use super::super::testing::{hex, packet_in};
use super::*;
use crate::actions::opcode::Opcode;
use crate::program::Settings as Program;
use crate::testing::local_database;

const SWITCH: Uuid = Uuid(1);
const CHASSIS: Uuid = Uuid(2);
const MULTICAST: Uuid = Uuid(3);
const ROUTERS: Uuid = Uuid(4);

/// The chassis `c0` with two ports, 1 and 2, on a switch that snoops.
fn core() -> Core {
    let mut core = Core::new(Program::default()).unwrap();
    core.apply_vs(local_database(&["p1", "p2"]), false);
    core
}

fn southbound() -> Vec<sb::Update> {
    let mut all: Vec<sb::Update> = Vec::new();
    let switch = sb::DatapathBinding {
        tunnel_key: 3,
        ..Default::default()
    };
    all.push(RowUpdate::insert(SWITCH, switch).into());
    let chassis = sb::Chassis {
        name: "c0".into(),
        ..Default::default()
    };
    all.push(RowUpdate::insert(CHASSIS, chassis).into());
    for n in 1..=2_u128 {
        let port = sb::PortBinding {
            logical_port: format!("p{n}").into(),
            datapath: SWITCH,
            tunnel_key: n as i64,
            chassis: Some(CHASSIS),
            ..Default::default()
        };
        all.push(RowUpdate::insert(Uuid(10 + n), port).into());
    }
    let snoop = sb::IpMulticast {
        datapath: SWITCH,
        enabled: Some(true),
        table_size: Some(3),
        ..Default::default()
    };
    all.push(RowUpdate::insert(MULTICAST, snoop).into());
    let routers = sb::MulticastGroup {
        datapath: SWITCH,
        name: MROUTER_FLOOD.into(),
        tunnel_key: 32770,
        ..Default::default()
    };
    all.push(RowUpdate::insert(ROUTERS, routers).into());
    all
}

struct Bench {
    core: Core,
    groups: Groups,
    now: Instant,
}

impl Bench {
    fn new(rows: Vec<sb::Update>) -> Bench {
        let mut bench = Bench {
            core: core(),
            groups: Groups::default(),
            now: Instant::now(),
        };
        bench.follow(southbound().into_iter().chain(rows).collect());
        bench.groups.tick(&bench.core, bench.now);
        bench
    }

    fn follow(&mut self, updates: Vec<sb::Update>) {
        let changes = self.core.apply_sb(updates, false);
        for change in &changes {
            self.groups.follow(change, &self.core, self.now);
        }
        self.core.run();
    }

    /// A report or leave of version 2 at port 1.
    fn says(&mut self, kind: &str, group: &str) -> Option<Message> {
        let sum = |text: &str| {
            let words = hex(text);
            let sum: u32 = words
                .chunks(2)
                .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
                .sum();
            !((sum & 0xffff) + (sum >> 16)) & 0xffff
        };
        let sum = sum(&format!("{kind}00{group}"));
        let packet = hex(&format!(
            "01005e000001 020000000001 0800 4500001c00004000 0102 0000 0a000001 ef000001 {kind}00{sum:04x}{group}"
        ));
        let mut packet = packet_in(Opcode::Igmp, &[], &packet);
        packet.metadata = Match::any()
            .with(Field::Metadata, 3u32)
            .with(REG_INPORT, 1u32);
        self.groups.heard(&packet, &self.core, self.now).unwrap()
    }

    /// How many rows are to be written.
    fn ops(&mut self) -> usize {
        self.groups.tick(&self.core, self.now);
        let mut txn = Txn::new();
        self.groups.write(&self.core, &mut txn);
        txn.len()
    }
}

fn row(address: &str, ports: &[Uuid]) -> sb::IgmpGroup {
    sb::IgmpGroup {
        address: address.into(),
        datapath: Some(SWITCH),
        chassis: Some(CHASSIS),
        ports: ports.iter().copied().collect(),
        ..Default::default()
    }
}

#[test]
fn what_is_learned_is_written_once() {
    let mut bench = Bench::new(Vec::new());
    assert!(bench.says("16", "ef000001").is_some(), "it goes to routers");
    assert_eq!(bench.ops(), 1);
    assert_eq!(bench.ops(), 0, "it is under way");
    // Not written: again.
    bench.groups.written(false);
    assert_eq!(bench.ops(), 1);
    bench.groups.written(true);
    bench.follow(vec![
        RowUpdate::insert(Uuid(50), row("239.0.0.1", &[Uuid(11)])).into(),
    ]);
    bench.says("16", "ef000001");
    assert_eq!(bench.ops(), 0, "confirmed");
    bench.says("17", "ef000001");
    assert_eq!(bench.ops(), 1, "left");
    bench.groups.written(true);
    // Somebody deletes a row that holds.
    bench.says("16", "ef000002");
    assert_eq!(bench.ops(), 1);
    bench.groups.written(true);
    let two: sb::Update = RowUpdate::insert(Uuid(51), row("239.0.0.2", &[Uuid(11)])).into();
    bench.follow(vec![two]);
    bench.follow(vec![RowUpdate::<sb::IgmpGroup>::delete(Uuid(51)).into()]);
    assert_eq!(bench.ops(), 1);
}

#[test]
fn a_port_that_goes_leaves_nothing_to_who_gets_its_key() {
    let mut bench = Bench::new(Vec::new());
    bench.says("16", "ef000001");
    assert_eq!(bench.ops(), 1);
    bench.groups.written(true);
    let there: sb::Update = RowUpdate::insert(Uuid(50), row("239.0.0.1", &[Uuid(11)])).into();
    bench.follow(vec![there]);
    bench.follow(vec![RowUpdate::<sb::PortBinding>::delete(Uuid(11)).into()]);
    assert_eq!(bench.ops(), 1);
    assert_eq!(bench.groups.tables[&SWITCH].subjects().count(), 0);
}

#[test]
fn joining_and_leaving_piles_up_nothing() {
    let mut bench = Bench::new(Vec::new());
    for n in 0..1000 {
        let group = format!("ef01{n:04x}");
        bench.says("16", &group);
        bench.says("17", &group);
    }
    assert_eq!(bench.groups.dirty.len(), 0);
    (0..10).for_each(|n| drop(bench.says("16", &format!("ef02{n:04x}"))));
    assert_eq!(bench.groups.dirty.len(), 3, "the table holds three");
    assert_eq!(bench.ops(), 3);
}

#[test]
fn rows_of_an_earlier_process_are_taken_over_and_die_by_time() {
    let old = RowUpdate::insert(Uuid(50), row("239.0.0.9", &[Uuid(12)])).into();
    let mut bench = Bench::new(vec![old]);
    assert_eq!(bench.ops(), 0);
    bench.now += Duration::from_secs(299);
    assert_eq!(bench.ops(), 0);
    bench.now += Duration::from_secs(2);
    assert_eq!(bench.ops(), 1, "nobody has confirmed it");
}

#[test]
fn rows_about_switches_that_do_not_snoop_go() {
    let mut far = row("239.0.0.9", &[]);
    far.datapath = Some(Uuid(77));
    let mut bench = Bench::new(vec![RowUpdate::insert(Uuid(50), far).into()]);
    assert_eq!(bench.ops(), 0);
    bench.now += PATIENCE;
    assert_eq!(bench.ops(), 1);
    assert_eq!(bench.ops(), 1, "until it is gone");
    bench.groups.written(true);
    bench.follow(vec![RowUpdate::<sb::IgmpGroup>::delete(Uuid(50)).into()]);
    assert_eq!(bench.ops(), 0);
    assert_eq!(bench.groups.due(), None);
}

#[test]
fn a_switch_that_no_longer_snoops_says_nothing() {
    let old = RowUpdate::insert(Uuid(50), row("239.0.0.9", &[Uuid(12)])).into();
    let mut bench = Bench::new(vec![old]);
    let off = sb::IpMulticast {
        datapath: SWITCH,
        enabled: Some(false),
        ..Default::default()
    };
    bench.follow(vec![RowUpdate::replace(MULTICAST, off, !0).into()]);
    assert_eq!(bench.ops(), 1);
}
