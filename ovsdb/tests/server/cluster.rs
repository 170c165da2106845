//! A cluster of three whose leader is killed.

use std::path::Path;

use tempfile::TempDir;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::session::Config;
use weft_ovsdb::txn::{Txn, TxnError};
use weft_schemas::nb;

use crate::harness::*;

async fn cluster(dir: &Path) -> Vec<Server> {
    let mut servers = Vec::new();
    let raft = |i: usize| format!("unix:{}", dir.join(format!("raft{i}")).display());
    for i in 0..3 {
        let file = dir.join(format!("nb{i}.db"));
        let db = file.to_str().unwrap();
        match i {
            0 => tool(
                "ovsdb-tool",
                &[
                    "create-cluster",
                    db,
                    schema_file().to_str().unwrap(),
                    &raft(0),
                ],
            ),
            _ => tool(
                "ovsdb-tool",
                &["join-cluster", db, "OVN_Northbound", &raft(i), &raft(0)],
            ),
        };
        servers.push(Server::start(dir, &format!("nb{i}"), &file, &[]).await);
        let ctl = servers[i].ctl();
        until("membership", || {
            status(&ctl).contains("Status: cluster member")
        })
        .await;
    }
    servers
}

fn status(ctl: &str) -> String {
    let output = std::process::Command::new("ovs-appctl")
        .args(["-t", ctl, "cluster/status", "OVN_Northbound"])
        .output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

fn leader(servers: &[Server]) -> Option<usize> {
    (0..servers.len()).find(|&i| status(&servers[i].ctl()).contains("Role: leader"))
}

fn all(servers: &[Server]) -> Remotes {
    let list: Vec<String> = servers
        .iter()
        .map(|server| format!("unix:{}", server.sock().display()))
        .collect();
    list.join(",").parse().unwrap()
}

/// Writes a row until it is known to be there, as a daemon does: what may have happened is looked up in the replica.
async fn write(replica: &mut Replica, name: &str) {
    loop {
        replica.until("connection", |r| r.connected.is_some()).await;
        if replica.switch(name).is_some() {
            return;
        }
        let mut txn = Txn::new();
        let row = nb::LogicalSwitch {
            name: name.into(),
            ..Default::default()
        };
        txn.insert(&row, nb::logical_switch::NAME, Uuid::random());
        match replica.handle().transact(txn).await {
            Ok(_) => {}
            Err(error) if error.is_transient() => assert!(!matches!(error, TxnError::Ended)),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        replica.drain();
    }
}

#[tokio::test]
async fn the_leader_is_killed() {
    let dir = TempDir::new().unwrap();
    let mut servers = cluster(dir.path()).await;
    let mut config = Config::new::<nb::Db>(all(&servers));
    config.leader_only = true;
    let mut writer = Replica::start(config);
    let mut reader = Replica::on(all(&servers));
    writer.until("the leader", |r| r.connected.is_some()).await;
    let first = leader(&servers).unwrap();
    let at = |replica: &Replica| replica.handle().status().remote.unwrap().to_string();
    assert_eq!(
        at(&writer),
        format!("unix:{}", servers[first].sock().display())
    );
    let mut names = Vec::new();
    for i in 0..20 {
        if i == 10 {
            servers[first].kill();
        }
        names.push(format!("s{i:02}"));
        write(&mut writer, &names[i]).await;
    }
    assert_eq!(
        writer.switches(),
        names,
        "nothing is lost, nothing is written twice"
    );
    assert!(!writer.disconnects.is_empty());
    assert_ne!(
        at(&writer),
        format!("unix:{}", servers[first].sock().display())
    );
    assert_eq!(writer.snapshots, 1, "the new leader knows where we were");
    let expected = names.clone();
    reader
        .until("the same rows", move |r| r.switches() == expected)
        .await;

    // The first is back: the cluster can lose the second leader too.
    servers[first].up().await;
    let ctl = servers[first].ctl();
    until("the first one's return", || {
        status(&ctl).contains("Role: follower")
    })
    .await;
    let second = leader(&servers).unwrap();
    let seen = writer.disconnects.len();
    servers[second].kill();
    writer
        .until("the third leader", |r| {
            r.disconnects.len() > seen && r.connected.is_some()
        })
        .await;
    write(&mut writer, "last").await;
    assert_eq!(writer.switches().len(), 21);
}
