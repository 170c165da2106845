//! Servers that vanish and return, conditions, older schemas.

use tempfile::TempDir;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::session::{Clause, Conditions, Config, Function, Monitored};
use weft_ovsdb::txn::{Txn, TxnError};
use weft_schemas::nb;

use crate::harness::*;

#[tokio::test]
async fn a_server_that_is_killed_and_returns() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::standalone(&dir, &[]).await;
    server.add_switch("before");
    let mut replica = Replica::on(server.remotes());
    replica
        .until("first snapshot", |r| r.switches() == ["before"])
        .await;
    server.kill();
    replica
        .until("disconnection", |r| r.disconnects.len() == 1)
        .await;
    assert_eq!(replica.switches(), ["before"], "the replica stays");
    assert_eq!(
        replica.handle().transact(Txn::new()).await,
        Err(TxnError::NotConnected)
    );
    server.up().await;
    server.add_switch("after");
    replica.handle().reconnect(false);
    replica
        .until("second connection", |r| {
            r.connected.is_some() && r.switches() == ["after", "before"]
        })
        .await;
}

#[tokio::test]
async fn reconnecting_resumes_where_it_was() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("nb.db");
    tool(
        "ovsdb-tool",
        &[
            "create-cluster",
            file.to_str().unwrap(),
            schema_file().to_str().unwrap(),
            &format!("unix:{}", dir.path().join("raft").display()),
        ],
    );
    let server = Server::start(dir.path(), "nb", &file, &[]).await;
    let mut replica = Replica::on(server.remotes());
    replica.until("first snapshot", |r| r.snapshots == 1).await;
    server.add_switch("one");
    replica.until("update", |r| r.switches() == ["one"]).await;
    let handle = replica.handle();
    handle.reconnect(false);
    replica
        .until("disconnection", |r| r.disconnects.len() == 1)
        .await;
    replica.until("resumption", |r| r.connected.is_some()).await;
    server.add_switch("two");
    replica
        .until("what came after", |r| r.switches() == ["one", "two"])
        .await;
    assert_eq!(replica.snapshots, 1, "history is known, no second snapshot");
    handle.reconnect(true);
    replica
        .until("a fresh snapshot", |r| r.snapshots == 2)
        .await;
    assert_eq!(replica.switches(), ["one", "two"]);
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let mut config = Config::new::<nb::Db>(server.remotes());
    config.timing.probe_interval = std::time::Duration::from_millis(300);
    let mut replica = Replica::start(config);
    replica.until("connection", |r| r.snapshots == 1).await;
    // Answers to our probes keep the connection.
    tokio::time::timeout(
        std::time::Duration::from_millis(1500),
        replica.session.next(),
    )
    .await
    .map(drop)
    .ok();
    assert!(replica.handle().status().connected);
    tool("kill", &["-STOP", &server.pid().to_string()]);
    replica
        .until("giving up", |r| {
            r.disconnects
                .iter()
                .any(|reason| reason.contains("inactivity probe"))
        })
        .await;
    tool("kill", &["-CONT", &server.pid().to_string()]);
    replica.until("return", |r| r.connected.is_some()).await;
}

#[tokio::test]
async fn conditions_change() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    for name in ["a", "b", "c"] {
        server.add_switch(name);
    }
    let table = "Logical_Switch";
    let only = |names: &[&str]| {
        let clauses = names
            .iter()
            .map(|name| Clause::new("name", Function::Equal, *name))
            .collect();
        let mut conditions = Conditions::new();
        conditions.set(table, clauses);
        conditions
    };
    let mut config = Config::new::<nb::Db>(server.remotes());
    config.conditions = only(&[]);
    let mut replica = Replica::start(config);
    replica.until("connection", |r| r.seq == Some(0)).await;
    assert!(replica.switches().is_empty());
    let handle = replica.handle();
    for names in [&["a", "b"][..], &["b", "c"], &[], &["c"]] {
        let seq = handle.set_conditions(only(names)).await;
        replica.until("conditions", |r| r.seq >= Some(seq)).await;
        assert_eq!(replica.switches(), names);
    }
    // Changes in quick succession, and one that changes nothing.
    handle.set_conditions(only(&["a"])).await;
    handle.set_conditions(only(&["b"])).await;
    let seq = handle.set_conditions(Conditions::new()).await;
    replica.until("conditions", |r| r.seq == Some(seq)).await;
    assert_eq!(replica.switches(), ["a", "b", "c"]);
    let seq = handle.set_conditions(Conditions::new()).await;
    replica
        .until("the same again", |r| r.seq == Some(seq))
        .await;
    let b = replica.switch("b").unwrap();
    // The same twice in quick succession.
    handle.set_conditions(only(&["a"])).await;
    let seq = handle.set_conditions(only(&["a"])).await;
    replica
        .until("the same twice", |r| r.seq == Some(seq))
        .await;
    assert_eq!(replica.switches(), ["a"]);
    // Conditions wanted meanwhile hold after a reconnection.
    handle.reconnect(false);
    let mut one = Conditions::new();
    one.set(table, vec![Clause::row(b)]);
    let seq = handle.set_conditions(one).await;
    replica.until("conditions", |r| r.seq == Some(seq)).await;
    assert_eq!(replica.switches(), ["b"]);
}

#[tokio::test]
async fn an_older_schema_is_tolerated() {
    let dir = TempDir::new().unwrap();
    let mut schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(schema_file()).unwrap()).unwrap();
    schema["tables"].as_object_mut().unwrap().remove("Mirror");
    let switch = &mut schema["tables"]["Logical_Switch"]["columns"];
    let switch = switch.as_object_mut().unwrap();
    switch.remove("other_config");
    // Nobody may refer to the table that is not there.
    let port = schema["tables"]["Logical_Switch_Port"]["columns"]
        .as_object_mut()
        .unwrap();
    port.retain(|_, column| !column.to_string().contains("\"Mirror\""));
    let (old, file) = (dir.path().join("old.ovsschema"), dir.path().join("nb.db"));
    std::fs::write(&old, schema.to_string()).unwrap();
    tool(
        "ovsdb-tool",
        &["create", file.to_str().unwrap(), old.to_str().unwrap()],
    );
    let server = Server::start(dir.path(), "nb", &file, &[]).await;
    server.add_switch("s");
    let mut config = Config::new::<nb::Db>(server.remotes());
    config.monitored = Monitored::all::<nb::Db>().without_table(nb::TableId::Acl as u8);
    let mut replica = Replica::start(config);
    replica.until("snapshot", |r| r.switches() == ["s"]).await;
    let schema = &replica.connected.as_ref().unwrap().schema;
    assert!(!schema.has_table("Mirror") && schema.has_column("Logical_Switch", "name"));
    let missing = &replica.connected.as_ref().unwrap().missing;
    assert!(missing.contains(&"Mirror".to_string()), "{missing:?}");
    assert!(
        missing.contains(&"Logical_Switch.other_config".to_string()),
        "{missing:?}"
    );
    assert!(
        !missing
            .iter()
            .any(|m| m.starts_with("ACL") || m == "Logical_Switch.name"),
        "{missing:?}"
    );
    let mut txn = Txn::new();
    txn.insert(
        &nb::LogicalSwitch {
            name: "t".into(),
            ..Default::default()
        },
        nb::logical_switch::ALL,
        Uuid::random(),
    );
    txn.insert(&nb::Mirror::default(), nb::mirror::ALL, Uuid::random());
    let results = replica.handle().transact(txn).await.unwrap();
    assert!(!results[0].skipped && results[1].skipped);
    replica.drain();
    assert_eq!(replica.switches(), ["s", "t"]);

    // The schema grows while we are connected.
    let ours = schema_file().display().to_string();
    tool(
        "ovsdb-client",
        &[
            "convert",
            &format!("unix:{}", server.sock().display()),
            &ours,
        ],
    );
    replica
        .until("the new schema", |r| {
            r.connected
                .as_ref()
                .is_some_and(|c| c.schema.has_table("Mirror"))
        })
        .await;
    assert!(replica.connected.as_ref().unwrap().missing.is_empty());
    replica
        .until("the rows again", |r| r.switches() == ["s", "t"])
        .await;
    let status = replica.handle().status();
    assert!(
        status.since.is_some_and(|since| since.elapsed() < DEADLINE),
        "{status:?}"
    );
}

/// Of rows that come later only the columns asked for are told; changes of them, and snapshots, are told whole.
#[tokio::test]
async fn inserted_rows_are_only_announced() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let switch = |name: &str| {
        server.stock_transact(&format!(
            r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"{name}","other_config":["map",[["k","{name}"]]]}}}}"#
        ));
    };
    switch("before");
    let mut config = Config::new::<nb::Db>(server.remotes());
    config.monitored = Monitored::all::<nb::Db>()
        .only_announce_inserts(nb::TableId::LogicalSwitch as u8, nb::logical_switch::NAME);
    let mut replica = Replica::start(config);
    let shown = |r: &Replica, name: &str| {
        let row = r.db.logical_switch.get(r.switch(name)?)?;
        row.other_config.get("k").map(|value| value.to_string())
    };
    replica
        .until("the snapshot, whole", |r| {
            shown(r, "before").as_deref() == Some("before")
        })
        .await;
    switch("after");
    replica
        .until("the announcement", |r| r.switch("after").is_some())
        .await;
    assert_eq!(shown(&replica, "after"), None);
    server.stock_transact(
        r#"{"op":"update","table":"Logical_Switch","where":[["name","==","before"]],"row":{"other_config":["map",[["k","changed"]]]}}"#,
    );
    replica
        .until("a change", |r| {
            shown(r, "before").as_deref() == Some("changed")
        })
        .await;
    replica.handle().reconnect(true);
    replica
        .until("a fresh snapshot", |r| {
            shown(r, "after").as_deref() == Some("after")
        })
        .await;
    server.stock_transact(
        r#"{"op":"delete","table":"Logical_Switch","where":[["name","==","after"]]}"#,
    );
    replica
        .until("a deletion", |r| r.switches() == ["before"])
        .await;
}
