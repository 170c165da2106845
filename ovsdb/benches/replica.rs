//! A southbound of 300,000 rows, read from the server's text and kept: `cargo bench -p weft-ovsdb`.
#![allow(missing_docs)]

use std::fmt::Write as _;

use serde::de::DeserializeSeed;
use weft_ovsdb::model::{Database, Row, RowFormat, RowUpdate, UpdatesSeed, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

fn main() {
    divan::main();
}

/// As `monitor_cond_since` shows logical flows.
fn text(rows: u128) -> String {
    let mut out = String::from(r#"{"Logical_Flow":{"#);
    for i in 0..rows {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}"{}":{{"initial":{{"logical_datapath":["uuid","{}"],"pipeline":"ingress","table_id":{},
            "priority":100,"match":"inport == \"port-{i}\" && ip4.src == 10.0.{}.{}","actions":"reg0[1] = 1; next;",
            "external_ids":["map",[["stage-name","ls_in_acl"],["stage-hint","{i:08x}"]]]}}}}"#,
            Uuid(i),
            Uuid(i % 500),
            i % 30,
            i >> 8 & 255,
            i & 255,
        );
    }
    out.push_str("}}");
    out
}

fn parse(text: &str) -> Vec<sb::Update> {
    let seed = UpdatesSeed::<sb::Db>::new(RowFormat::V2);
    seed.deserialize(&mut serde_json::Deserializer::from_str(text))
        .expect("the text is what a server sends")
}

#[divan::bench(args = [1_000, 300_000], sample_count = 5)]
fn snapshot(bencher: divan::Bencher<'_, '_>, rows: u128) {
    let text = text(rows);
    bencher.bench(|| {
        let mut db = sb::Db::default();
        db.replace(parse(&text));
        db
    });
}

#[divan::bench(args = [1_000, 300_000])]
fn one_change(bencher: divan::Bencher<'_, '_>, rows: u128) {
    let mut db = sb::Db::default();
    db.replace(parse(&text(rows)));
    let mut priority = 0;
    bencher.bench_local(|| {
        priority += 1;
        let row = sb::LogicalFlow {
            priority,
            ..sb::LogicalFlow::default()
        };
        let update = RowUpdate::replace(Uuid(rows / 2), row, sb::logical_flow::PRIORITY);
        db.apply(sb::Update::LogicalFlow(update))
    });
}

#[divan::bench(args = [1_000, 20_000], sample_count = 20)]
fn transaction(bencher: divan::Bencher<'_, '_>, rows: u128) {
    let row = sb::LogicalFlow {
        pipeline: "ingress".into(),
        match_: "inport == \"port\" && ip4.src == 10.0.0.1".into(),
        actions: "reg0[1] = 1; next;".into(),
        ..sb::LogicalFlow::default()
    };
    bencher.bench(|| {
        let mut txn = Txn::new();
        for i in 0..rows {
            txn.insert(&row, row.nondefault_columns(), Uuid(i));
        }
        txn
    });
}
