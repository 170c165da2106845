//! Policy in br-int: many ACLs with sets, groups and conjunctive matches decide as their matches say, and what changes
//! when a large set or many groups get one more member.
#![allow(clippy::unwrap_used)]

mod large;
mod table;
mod verdicts;

use weft_controller::core::Core;
use weft_controller::program::Settings;
use weft_controller::testing::local_database;
use weft_ovsdb::model::{RowUpdate, Str, Uuid};
use weft_schemas::sb;

const DATAPATH: Uuid = Uuid(7 << 96);

fn uuid(sort: u32, n: usize) -> Uuid {
    Uuid(u128::from(sort) << 96 | (n as u128 + 1))
}

/// A core with one switch and `ports` ports `p1`, `p2` ... on it, all attached here.
fn switch_with(ports: usize) -> Core {
    switch_with_some(ports, ports)
}

/// A core with one switch and `ports` ports `p1`, `p2` ... on it, of which the first `here` are attached here.
fn switch_with_some(ports: usize, here: usize) -> Core {
    switch_under(Settings::default(), ports, here)
}

fn switch_under(options: Settings, ports: usize, here: usize) -> Core {
    let mut core = Core::new(options).unwrap();
    let ids: Vec<String> = (1..=here).map(|n| format!("p{n}")).collect();
    core.apply_vs(local_database(&ids), false);
    let datapath = sb::DatapathBinding {
        tunnel_key: 1,
        ..Default::default()
    };
    let mut rows: Vec<sb::Update> = vec![RowUpdate::insert(DATAPATH, datapath).into()];
    for n in 0..ports {
        let row = sb::PortBinding {
            logical_port: format!("p{}", n + 1).into(),
            datapath: DATAPATH,
            tunnel_key: n as i64 + 1,
            ..Default::default()
        };
        rows.push(RowUpdate::insert(uuid(2, n), row).into());
    }
    core.apply_sb(rows, false);
    core
}

/// An ACL's logical flow; its cookie is `cookie`.
fn rule(cookie: u32, priority: i64, text: &str) -> sb::Update {
    let row = sb::LogicalFlow {
        logical_datapath: Some(DATAPATH),
        pipeline: "egress".into(),
        table_id: 4,
        priority,
        match_: text.into(),
        actions: "next;".into(),
        ..Default::default()
    };
    RowUpdate::insert(Uuid(u128::from(cookie) << 96), row).into()
}

fn address_set(n: usize, name: &str, members: impl IntoIterator<Item = String>) -> sb::Update {
    let row = sb::AddressSet {
        name: name.into(),
        addresses: members.into_iter().map(Str::from).collect(),
        ..Default::default()
    };
    RowUpdate::insert(uuid(5, n), row).into()
}

fn port_group(n: usize, name: &str, ports: impl IntoIterator<Item = usize>) -> sb::Update {
    let ports = ports.into_iter().map(|port| Str::from(format!("p{port}")));
    let row = sb::PortGroup {
        name: format!("1_{name}").into(),
        ports: ports.collect(),
    };
    RowUpdate::insert(uuid(6, n), row).into()
}
