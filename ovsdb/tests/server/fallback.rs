//! Servers that know only older ways of monitoring: a proxy in front of a real one refuses the newer ones.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use weft_ovsdb::session::{Clause, Conditions, Function};
use weft_ovsdb::stream::Stream;
use weft_ovsdb::wire::{Connection, Message, refusal};

use crate::harness::*;

/// Passes everything on, but answers "unknown method" to the methods in `refused`.
pub fn proxy(dir: &Path, server: PathBuf, refused: &'static [&'static str]) -> String {
    let path = dir.join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let upstream = UnixStream::connect(&server).await.unwrap();
            tokio::spawn(carry(
                Connection::new(Stream::Unix(client)),
                upstream,
                refused,
            ));
        }
    });
    format!("unix:{}", path.display())
}

async fn carry(mut client: Connection, upstream: UnixStream, refused: &[&str]) {
    let mut server = Connection::new(Stream::Unix(upstream));
    loop {
        tokio::select! {
            frame = client.next() => {
                let Ok(frame) = frame else { return };
                if let Ok(Message::Request { method, id, params }) = Message::read(&frame)
                    && (refused.contains(&method.as_str()) || params.get().contains("_Server") && refused.contains(&"_Server"))
                {
                    client.send(refusal(id, "unknown method"));
                } else {
                    server.send(frame.to_vec());
                }
            }
            frame = server.next() => {
                let Ok(frame) = frame else { return };
                client.send(frame.to_vec());
            }
        }
    }
}

async fn works_without(refused: &'static [&'static str], has_conditions: bool) {
    let dir = TempDir::new().unwrap();
    let server = Server::standalone(&dir, &[]).await;
    server.stock_transact(
        r#"{"op":"insert","table":"Logical_Switch","row":{"name":"a","external_ids":["map",[["k","1"],["l","2"]]]}}"#,
    );
    let remote = proxy(dir.path(), server.sock(), refused);
    let mut replica = Replica::on(remote.parse().unwrap());
    replica.until("snapshot", |r| r.switches() == ["a"]).await;
    server.add_switch("b");
    replica
        .until("insertion", |r| r.switches() == ["a", "b"])
        .await;
    server.stock_transact(
        r#"{"op":"mutate","table":"Logical_Switch","where":[["name","==","a"]],"mutations":[["external_ids","delete",["set",["k"]]]]}"#,
    );
    let ids = |r: &Replica| {
        r.db.logical_switch
            .get(r.switch("a")?)
            .map(|row| row.external_ids.len())
    };
    replica.until("modification", |r| ids(r) == Some(1)).await;
    let mut only = Conditions::new();
    only.set(
        "Logical_Switch",
        vec![Clause::new("name", Function::Equal, "b")],
    );
    let seq = replica.handle().set_conditions(only).await;
    replica.until("conditions", |r| r.seq == Some(seq)).await;
    assert_eq!(
        replica.switches(),
        if has_conditions {
            vec!["b"]
        } else {
            vec!["a", "b"]
        }
    );
    server
        .stock_transact(r#"{"op":"delete","table":"Logical_Switch","where":[["name","==","b"]]}"#);
    replica.until("deletion", |r| r.switch("b").is_none()).await;
}

#[tokio::test]
async fn monitor_cond() {
    works_without(&["monitor_cond_since"], true).await;
}

#[tokio::test]
async fn monitor() {
    works_without(
        &[
            "monitor_cond_since",
            "monitor_cond",
            "monitor_cond_change",
            "set_db_change_aware",
            "_Server",
        ],
        false,
    )
    .await;
}

#[tokio::test]
async fn not_an_ovsdb_server() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("http.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let replica = Replica::on(format!("unix:{}", path.display()).parse().unwrap());
    let handle = replica.handle();
    until("an explanation", || {
        handle
            .status()
            .last_error
            .is_some_and(|e| e.contains("is this an OVSDB server"))
    })
    .await;
}
