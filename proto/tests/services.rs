//! Both services over a real unix socket and over TCP.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tokio_stream::StreamExt as _;
use weft_proto::v1::diagnostic_event::Kind;
use weft_proto::v1::diagnostics_client::DiagnosticsClient;
use weft_proto::v1::status_client::StatusClient;
use weft_proto::v1::{
    Diagnostic, GetStatusRequest, GetStatusResponse, ListDiagnosticsRequest,
    WatchDiagnosticsRequest,
};
use weft_proto::{Hub, Listen, Source, bind, connect, serve};

#[derive(Default)]
struct Daemon {
    hub: Hub,
}

impl Source for Daemon {
    fn status(&self) -> GetStatusResponse {
        GetStatusResponse {
            program: "weft-northd".to_string(),
            ..Default::default()
        }
    }

    fn diagnostics(&self) -> &Hub {
        &self.hub
    }
}

fn about(table: &str, reason: &str) -> Diagnostic {
    Diagnostic {
        table: table.to_string(),
        reason: reason.to_string(),
        ..Default::default()
    }
}

#[tokio::test]
async fn status_list_and_watch_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("northd.grpc");
    let address = Listen::Unix(path.clone());
    let daemon = Arc::new(Daemon::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = bind(&address).await.unwrap();
    let serving = tokio::spawn(serve(listener, daemon.clone(), async {
        let _ = stopped.await;
    }));
    assert!(
        bind(&address)
            .await
            .unwrap_err()
            .to_string()
            .contains("in use")
    );

    let channel = connect(&address).await.unwrap();
    let status = StatusClient::new(channel.clone())
        .get(GetStatusRequest {})
        .await
        .unwrap();
    assert_eq!(status.into_inner().program, "weft-northd");

    let (acl, port) = (
        about("ACL", "no such field"),
        about("Logical_Switch_Port", "bad MAC"),
    );
    assert!(daemon.hub.add(acl.clone()));
    let mut client = DiagnosticsClient::new(channel);
    let request = WatchDiagnosticsRequest {
        tables: vec!["ACL".to_string()],
    };
    let mut events = client.watch(request).await.unwrap().into_inner();
    let mut next = async || {
        let event = events.next().await.unwrap().unwrap();
        (event.kind(), event.diagnostic.map(|d| d.reason))
    };
    assert_eq!(
        next().await,
        (Kind::Added, Some("no such field".to_string()))
    );
    assert_eq!(next().await, (Kind::Synced, None));

    assert!(daemon.hub.add(port.clone()));
    assert!(!daemon.hub.add(acl.clone()), "said twice");
    let list = client
        .list(ListDiagnosticsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.diagnostics, [acl.clone(), port]);
    assert!(!daemon.hub.remove(&acl), "one still says it");
    assert!(daemon.hub.remove(&acl));
    assert_eq!(
        next().await,
        (Kind::Removed, Some("no such field".to_string()))
    );

    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn tcp_works_too() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address: Listen = format!("tcp:{free}").parse().unwrap();
    let listener = bind(&address).await.unwrap();
    tokio::spawn(serve(
        listener,
        Arc::new(Daemon::default()),
        std::future::pending(),
    ));
    let channel = connect(&address).await.unwrap();
    assert!(
        StatusClient::new(channel)
            .get(GetStatusRequest {})
            .await
            .is_ok()
    );
}

#[test]
fn what_a_server_lacks_is_told_once() {
    let hub = Hub::default();
    let lacks = |missing: &[&str]| {
        let missing: Vec<String> = missing.iter().map(|m| (*m).to_string()).collect();
        hub.lacks("OVN_Northbound", "7.0.0", &missing)
    };
    assert!(!lacks(&[]));
    assert!(lacks(&["Mirror", "ACL.tier"]));
    assert!(!lacks(&["Mirror", "ACL.tier"]));
    assert!(lacks(&["Mirror"]));
    let list = hub.list();
    assert!(
        list.len() == 1 && list[0].reason.contains("Mirror"),
        "{list:?}"
    );
    assert!(!lacks(&[]));
    assert!(hub.is_empty());
}

#[test]
fn addresses() {
    assert_eq!("unix:/x".parse::<Listen>().unwrap().to_string(), "unix:/x");
    assert_eq!(
        "tcp:[::1]:7".parse::<Listen>().unwrap().to_string(),
        "tcp:[::1]:7"
    );
    assert!("ssl:1".parse::<Listen>().is_err());
}
