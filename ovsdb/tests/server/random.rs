//! Random transactions: what differences make of a replica is what the server shows whoever asks anew, in each of the three
//! ways to monitor.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::nb;

use crate::fallback::proxy;
use crate::harness::*;

const TRANSACTIONS: usize = 120;
/// Transactions between two comparisons.
const EVERY: usize = 20;

fn text(rng: &mut StdRng) -> Str {
    const TEXTS: [&str; 8] = ["", "a", "b", "ü \"quoted\"", "c", "d", "10.0.0.1", "\\n"];
    TEXTS[rng.random_range(0..TEXTS.len())].into()
}

fn texts(rng: &mut StdRng) -> Set<Str> {
    (0..rng.random_range(0..4)).map(|_| text(rng)).collect()
}

fn pairs(rng: &mut StdRng) -> Map<Str, Str> {
    let pairs: BTreeMap<Str, Str> = (0..rng.random_range(0..4))
        .map(|_| (text(rng), text(rng)))
        .collect();
    pairs.into_iter().collect()
}

/// A row with atoms, optional values, sets and maps.
fn port(rng: &mut StdRng, n: usize) -> nb::LogicalSwitchPort {
    nb::LogicalSwitchPort {
        name: format!("p{n}").into(),
        type_: text(rng),
        addresses: texts(rng),
        port_security: texts(rng),
        options: pairs(rng),
        external_ids: pairs(rng),
        parent_name: rng.random_bool(0.5).then(|| text(rng)),
        tag: rng.random_bool(0.5).then(|| rng.random_range(1..4095)),
        enabled: rng.random_bool(0.5).then(|| rng.random_bool(0.5)),
        ..Default::default()
    }
}

/// All columns that [`port`] fills but the name, which is unique.
const PORT: u64 = {
    use nb::logical_switch_port as c;
    c::TYPE
        | c::ADDRESSES
        | c::PORT_SECURITY
        | c::OPTIONS
        | c::EXTERNAL_IDS
        | c::PARENT_NAME
        | c::TAG
        | c::ENABLED
};

fn change(rng: &mut StdRng, db: &nb::Db, n: usize, txn: &mut Txn) {
    use nb::logical_switch as s;
    let pick = |rng: &mut StdRng, mut all: Vec<Uuid>| {
        all.sort_unstable();
        (!all.is_empty()).then(|| all[rng.random_range(0..all.len())])
    };
    let switch = pick(rng, db.logical_switch.uuids().collect());
    let old = pick(rng, db.logical_switch_port.uuids().collect());
    match (rng.random_range(0..10), switch, old) {
        (0, ..) | (_, None, _) => {
            let row = nb::LogicalSwitch {
                name: format!("s{n}").into(),
                other_config: pairs(rng),
                ..Default::default()
            };
            txn.insert(&row, s::NAME | s::OTHER_CONFIG, Uuid::random());
        }
        (1, Some(switch), _) => {
            txn.delete::<nb::LogicalSwitch>(switch);
        }
        (2 | 3, Some(switch), _) | (_, Some(switch), None) => {
            let uuid = Uuid::random();
            txn.insert(&port(rng, n), PORT | nb::logical_switch_port::NAME, uuid);
            let row = nb::LogicalSwitch {
                ports: [uuid].into_iter().collect(),
                ..Default::default()
            };
            txn.mutate_insert(switch, &row, s::PORTS);
        }
        (4, _, Some(old)) => {
            let row = nb::LogicalSwitchPort {
                addresses: texts(rng),
                ..Default::default()
            };
            txn.mutate_delete(old, &row, nb::logical_switch_port::ADDRESSES);
        }
        (_, _, Some(old)) => {
            // Some columns, to the values they have or to others.
            let mask = PORT & rng.random::<u64>();
            txn.update(old, &port(rng, n), mask);
        }
    }
}

#[tokio::test]
async fn differences_and_snapshots_agree() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let mut rng = StdRng::seed_from_u64(7);
    let older: [&'static [&'static str]; 2] = [
        &["monitor_cond_since"],
        &[
            "monitor_cond_since",
            "monitor_cond",
            "monitor_cond_change",
            "set_db_change_aware",
            "_Server",
        ],
    ];
    let mut replicas = vec![Replica::on(server.remotes())];
    for (n, refused) in older.into_iter().enumerate() {
        let dir = dir.path().join(n.to_string());
        std::fs::create_dir(&dir).unwrap();
        let remote = proxy(&dir, server.sock(), refused);
        replicas.push(Replica::on(remote.parse().unwrap()));
    }
    for replica in &mut replicas {
        replica.until("snapshot", |r| r.snapshots == 1).await;
    }
    for n in 1..=TRANSACTIONS {
        let mut txn = Txn::new();
        for part in 0..rng.random_range(1..4) {
            change(&mut rng, &replicas[0].db, n * 10 + part, &mut txn);
        }
        // A row may have been chosen twice, once to go: the server says so and nothing happens.
        let _ = replicas[0].handle().transact(txn).await;
        let marker = format!("t{n}");
        server.add_switch(&marker);
        for replica in &mut replicas {
            replica
                .until("the marker", |r| r.switch(&marker).is_some())
                .await;
        }
        if n % EVERY == 0 {
            let mut fresh = Replica::on(server.remotes());
            fresh.until("snapshot", |r| r.snapshots == 1).await;
            for (way, replica) in replicas.iter().enumerate() {
                assert!(
                    replica.db == fresh.db,
                    "after {n} transactions, way {way}:\n{:?}\n{:?}",
                    replica.db.logical_switch_port,
                    fresh.db.logical_switch_port
                );
            }
        }
    }
    let db = &replicas[0].db;
    assert!(
        db.logical_switch_port.len() > 5,
        "{}",
        db.logical_switch_port.len()
    );
}
