//! Operations, their results and errors; locks.

use tempfile::TempDir;
use weft_ovsdb::client::{Blocking, Options};
use weft_ovsdb::model::{Map, Uuid};
use weft_ovsdb::txn::{OpErrorKind, PIECE_OPS, Txn, TxnError};
use weft_schemas::nb;

use crate::harness::*;

fn switch(name: &str) -> nb::LogicalSwitch {
    nb::LogicalSwitch {
        name: name.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn operations() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let mut replica = Replica::on(server.remotes());
    replica.until("connection", |r| r.snapshots == 1).await;
    let handle = replica.handle();

    // References between rows of one transaction are plain identifiers.
    let (ls, lsp) = (Uuid::random(), Uuid::random());
    let mut txn = Txn::new();
    txn.comment("made here");
    let mut row = switch("s1");
    row.ports = [lsp].into();
    row.external_ids = Map::from([("a", "1"), ("b", "2")]);
    txn.insert(&row, nb::logical_switch::ALL, ls);
    let port = nb::LogicalSwitchPort {
        name: "p1".into(),
        ..Default::default()
    };
    txn.insert(&port, nb::logical_switch_port::NAME, lsp);
    let results = handle.transact(txn).await.unwrap();
    assert_eq!((results[0].uuid, results[1].uuid), (Some(ls), Some(lsp)));
    // Updates come before the result.
    replica.drain();
    assert_eq!(replica.db.logical_switch.get(ls), Some(&row));
    assert_eq!(
        &*replica.db.logical_switch_port.get(lsp).unwrap().name,
        "p1"
    );

    let mut txn = Txn::new();
    txn.update(ls, &switch("s2"), nb::logical_switch::NAME);
    txn.set_key::<nb::LogicalSwitch>(ls, nb::logical_switch::EXTERNAL_IDS, "a", "9");
    txn.remove_keys::<nb::LogicalSwitch>(ls, nb::logical_switch::EXTERNAL_IDS, ["b"]);
    let delta = nb::LogicalSwitch {
        external_ids: Map::from([("c", "3")]),
        ..Default::default()
    };
    txn.mutate_insert(ls, &delta, nb::logical_switch::EXTERNAL_IDS);
    txn.update(Uuid::random(), &switch("nobody"), nb::logical_switch::NAME);
    let results = handle.transact(txn).await.unwrap();
    assert_eq!(
        results.iter().map(|r| r.count).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(1), Some(1), Some(0)]
    );
    replica.drain();
    let now = replica.db.logical_switch.get(ls).unwrap();
    assert_eq!(
        (&*now.name, &now.external_ids),
        ("s2", &Map::from([("a", "9"), ("c", "3")]))
    );

    let mut txn = Txn::new();
    txn.wait_equal(ls, &switch("s2"), nb::logical_switch::NAME, 0);
    txn.mutate_delete(ls, &delta, nb::logical_switch::EXTERNAL_IDS);
    let ports = nb::LogicalSwitch {
        ports: [lsp].into(),
        ..Default::default()
    };
    txn.mutate_delete(ls, &ports, nb::logical_switch::PORTS);
    let select = txn.raw(serde_json::json!({"op": "select", "table": "Logical_Switch", "where": [], "columns": ["name"]}));
    let results = handle.transact(txn).await.unwrap();
    assert_eq!(results[select].rows.as_ref().unwrap()[0]["name"], "s2");
    replica.drain();
    assert!(
        replica.db.logical_switch_port.is_empty(),
        "the port is garbage now"
    );

    let mut txn = Txn::new();
    txn.delete::<nb::LogicalSwitch>(ls);
    assert_eq!(handle.transact(txn).await.unwrap()[0].count, Some(1));
    replica.drain();
    assert!(replica.switches().is_empty());
    assert!(handle.transact(Txn::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn errors_say_which_row() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let mut replica = Replica::on(server.remotes());
    replica.until("connection", |r| r.snapshots == 1).await;
    let handle = replica.handle();
    let refused = async |txn: Txn| match handle.transact(txn).await {
        Err(TxnError::Refused {
            error,
            committed: 0,
            gap: false,
        }) => *error,
        other => panic!("{other:?}"),
    };

    // Address_Set has a unique name; the clash is found at the end of the transaction.
    let set = nb::AddressSet {
        name: "as".into(),
        ..Default::default()
    };
    let (first, second) = (Uuid::random(), Uuid::random());
    let mut txn = Txn::new();
    txn.insert(&switch("s"), nb::logical_switch::NAME, Uuid::random());
    txn.insert(&set, nb::address_set::NAME, first);
    txn.insert(&set, nb::address_set::NAME, second);
    let error = refused(txn).await;
    assert_eq!(
        (&error.kind, error.table.as_deref()),
        (&OpErrorKind::ConstraintViolation, Some("Address_Set"))
    );
    assert_eq!(error.column.as_deref(), Some("name"));
    assert!(
        error.named.contains(&first)
            && error.named.contains(&second)
            && matches!(error.op, Some(1 | 2)),
        "{error}"
    );

    // Out of range: found at the operation.
    let mut txn = Txn::new();
    txn.insert(&switch("s"), nb::logical_switch::NAME, Uuid::random());
    let acl = nb::Acl {
        priority: 99_999,
        ..Default::default()
    };
    txn.insert(&acl, nb::acl::PRIORITY, first);
    let error = refused(txn).await;
    assert_eq!(
        (&error.kind, error.op, error.row),
        (&OpErrorKind::ConstraintViolation, Some(1), Some(first))
    );

    let mut txn = Txn::new();
    let mut row = switch("s");
    row.ports = [second].into();
    txn.insert(
        &row,
        nb::logical_switch::NAME | nb::logical_switch::PORTS,
        first,
    );
    let error = refused(txn).await;
    assert_eq!(
        (&error.kind, error.op, error.row),
        (&OpErrorKind::ReferentialIntegrity, Some(0), Some(first))
    );
    assert_eq!(error.column.as_deref(), Some("ports"));

    let mut txn = Txn::new();
    txn.insert(&switch("s"), nb::logical_switch::NAME, first);
    txn.insert(&switch("t"), nb::logical_switch::NAME, first);
    assert_eq!(refused(txn).await.kind, OpErrorKind::DuplicateUuid);

    let mut txn = Txn::new();
    txn.wait_equal(first, &switch("absent"), nb::logical_switch::NAME, 0);
    assert_eq!(refused(txn).await.kind, OpErrorKind::TimedOut);

    let mut txn = Txn::new();
    txn.assert_lock("mine");
    txn.insert(&switch("s"), nb::logical_switch::NAME, first);
    assert_eq!(refused(txn).await.kind, OpErrorKind::NotOwner);

    for (op, kind) in [
        (serde_json::json!({"op": "abort"}), OpErrorKind::Aborted),
        (
            serde_json::json!({"op": "insert", "table": "Nonsense", "row": {}}),
            OpErrorKind::Syntax,
        ),
        (
            serde_json::json!({"op": "insert", "table": "ACL", "row": {"zz": 1}}),
            OpErrorKind::UnknownColumn,
        ),
    ] {
        let mut txn = Txn::new();
        txn.raw(op);
        let error = refused(txn).await;
        assert_eq!((error.kind, error.op), (kind, Some(0)));
    }
    replica.drain();
    assert!(replica.switches().is_empty(), "nothing refused took effect");
}

#[tokio::test]
async fn large_transactions_go_in_pieces() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let mut replica = Replica::on(server.remotes());
    replica.until("connection", |r| r.snapshots == 1).await;
    let mut txn = Txn::new();
    let count = PIECE_OPS * 2 + 500;
    for i in 0..count {
        txn.insert(
            &switch(&format!("s{i}")),
            nb::logical_switch::NAME,
            Uuid::random(),
        );
        txn.may_cut();
    }
    let results = replica.handle().transact(txn).await.unwrap();
    assert_eq!(results.len(), count);
    assert!(results.iter().all(|r| r.uuid.is_some()));
    replica.drain();
    assert_eq!(replica.switches().len(), count);
}

#[tokio::test]
async fn locks() {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    let with_lock = || {
        let mut config = weft_ovsdb::session::Config::new::<nb::Db>(server.remotes());
        config.lock = Some("l".to_owned());
        Replica::start(config)
    };
    let mut one = with_lock();
    one.until("lock", |r| r.lock).await;
    let mut two = with_lock();
    let watch = two.handle();
    two.until("connection", |r| r.snapshots == 1).await;
    until("contention", || watch.status().lock_contended).await;
    assert!(!two.lock);
    two.handle().steal("l");
    two.until("theft", |r| r.lock).await;
    one.until("loss", |r| !r.lock).await;
    let mut txn = Txn::new();
    txn.assert_lock("l");
    assert!(two.handle().transact(txn.clone()).await.is_ok());
    assert_eq!(
        one.handle()
            .transact(txn)
            .await
            .unwrap_err()
            .refusal()
            .unwrap()
            .kind,
        OpErrorKind::NotOwner
    );
    two.handle().unlock();
    two.until("unlock", |r| !r.lock).await;
    one.until("inheritance", |r| r.lock).await;
    two.handle().lock("l");
    drop(one);
    two.until("lock of the one that went", |r| r.lock).await;
}

#[test]
fn plain_client() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = TempDir::new().unwrap();
    let server = runtime.block_on(Server::standalone(&dir, &[]));
    let options = Options {
        leader_of: Some("OVN_Northbound".into()),
        timeout: Some(DEADLINE),
        ..Options::default()
    };
    let mut client = Blocking::connect(&server.remotes(), &options).unwrap();
    assert!(
        client
            .list_databases()
            .unwrap()
            .contains(&"OVN_Northbound".to_owned())
    );
    assert_eq!(
        client.schema("OVN_Northbound").unwrap()["name"],
        "OVN_Northbound"
    );
    let requests = serde_json::json!({"Logical_Switch": [{"columns": ["name"]}]});
    assert_eq!(
        client.monitor("OVN_Northbound", "m", requests).unwrap(),
        serde_json::json!({})
    );
    let insert =
        serde_json::json!({"op": "insert", "table": "Logical_Switch", "row": {"name": "s"}});
    let results = client.transact("OVN_Northbound", vec![insert]).unwrap();
    let uuid = results[0]["uuid"][1].as_str().unwrap();
    let notification = client.notification(Some(DEADLINE)).unwrap().unwrap();
    assert_eq!(notification.method, "update2");
    assert_eq!(
        notification.params[1]["Logical_Switch"][uuid]["insert"]["name"],
        "s"
    );
    let error = client
        .request("nonsense", serde_json::json!([]))
        .unwrap_err();
    assert_eq!(error.to_string(), "nonsense: unknown method");
}
