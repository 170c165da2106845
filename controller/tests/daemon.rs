//! The program beside real database servers: what it tells by gRPC, and that a row which a server refuses does not keep
//! the others out.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weft_proto::v1::diagnostics_client::DiagnosticsClient;
use weft_proto::v1::status_client::StatusClient;
use weft_proto::v1::{ConnectionState, Diagnostic, GetStatusRequest, ListDiagnosticsRequest};
use weft_proto::{Listen, connect};

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Process {
    Process(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// A database server on a new database; returns its socket.
fn database(dir: &Path, name: &str, schema: &Path) -> (Process, PathBuf) {
    let (file, socket) = (
        dir.join(format!("{name}.db")),
        dir.join(format!("{name}.sock")),
    );
    let made = Command::new("ovsdb-tool")
        .arg("create")
        .args([&file, schema])
        .status()
        .unwrap();
    assert!(made.success());
    let mut server = Command::new("ovsdb-server");
    server
        .arg(&file)
        .arg(format!("--remote=punix:{}", socket.display()))
        .arg("--unixctl=none");
    (start(server.env("OVS_RUNDIR", dir)), socket)
}

fn transact(socket: &Path, operations: &str) -> String {
    let mut client = Command::new("ovsdb-client");
    let output = client
        .arg("transact")
        .arg(format!("unix:{}", socket.display()))
        .arg(operations)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && !text.contains("\"error\""),
        "{operations}: {text}"
    );
    text
}

/// Whether a table has a row of this name.
fn has(socket: &Path, database: &str, table: &str, name: &str) -> bool {
    let select = format!(
        r#"["{database}",{{"op":"select","table":"{table}","where":[["name","==","{name}"]],"columns":["name"]}}]"#
    );
    transact(socket, &select).contains(name)
}

fn add_chassis(socket: &Path, name: &str, ip: &str) {
    transact(
        socket,
        &format!(
            r#"["OVN_Southbound",{{"op":"insert","table":"Encap","uuid-name":"e","row":{{"type":"geneve","ip":"{ip}","chassis_name":"{name}"}}}},{{"op":"insert","table":"Chassis","row":{{"name":"{name}","encaps":["named-uuid","e"]}}}}]"#
        ),
    );
}

/// Tries until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn complaint(at: &Listen, table: &str, row: &str) -> Option<Diagnostic> {
    let mut client = DiagnosticsClient::new(connect(at).await.unwrap());
    let request = ListDiagnosticsRequest {
        tables: vec![table.to_string()],
    };
    let list = client.list(request).await.unwrap().into_inner().diagnostics;
    list.into_iter()
        .find(|d| d.row == row && d.reason.contains("refuses"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_are_told_and_keep_nothing_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let southbound = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/southbound.ovsschema");
    let (_vs_server, vs) = database(
        dir,
        "db",
        Path::new("/usr/share/openvswitch/vswitch.ovsschema"),
    );
    let (_sb_server, sb) = database(dir, "sb", &southbound);
    until("sockets", || async { vs.exists() && sb.exists() }).await;
    // Another chassis has our address, and a port of the local switch an interface by the name that a tunnel should have.
    add_chassis(&sb, "twin", "192.0.2.1");
    add_chassis(&sb, "far", "192.0.2.3");
    add_chassis(&sb, "wide", "192.0.2.4");
    transact(
        &sb,
        r#"["OVN_Southbound",{"op":"insert","table":"SB_Global","row":{}}]"#,
    );
    let remote = format!("unix:{}", sb.display());
    transact(
        &vs,
        &format!(
            r#"["Open_vSwitch",{{"op":"insert","table":"Interface","uuid-name":"i","row":{{"name":"ovn-far-0"}}}},{{"op":"insert","table":"Port","uuid-name":"p","row":{{"name":"odd","interfaces":["named-uuid","i"]}}}},{{"op":"insert","table":"Bridge","uuid-name":"b","row":{{"name":"br0","ports":["named-uuid","p"]}}}},{{"op":"insert","table":"Open_vSwitch","row":{{"bridges":["named-uuid","b"],"external_ids":["map",[["system-id","here"],["ovn-remote","{remote}"],["ovn-encap-type","geneve"],["ovn-encap-ip","192.0.2.1"]]]}}}}]"#
        ),
    );
    let mut program = Command::new(env!("CARGO_BIN_EXE_weft-controller"));
    program
        .envs([("OVN_RUNDIR", dir), ("OVS_RUNDIR", dir)])
        .arg(format!("unix:{}", vs.display()));
    let _controller = start(&mut program);
    let at = Listen::Unix(dir.join("weft-controller.grpc"));
    until("gRPC", || async { connect(&at).await.is_ok() }).await;

    until("the other tunnel", || async {
        has(&vs, "Open_vSwitch", "Port", "ovn-wide-0")
    })
    .await;
    until("refused port told", || async {
        complaint(&at, "Port", "ovn-far-0").await.is_some()
    })
    .await;
    until("refused chassis told", || async {
        complaint(&at, "Chassis", "here").await.is_some()
    })
    .await;
    assert_eq!(
        complaint(&at, "Chassis", "here").await.unwrap().database,
        "OVN_Southbound"
    );
    let mut status = StatusClient::new(connect(&at).await.unwrap());
    let status = status.get(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (&*status.program, &*status.state),
        ("weft-controller", "active")
    );
    let state = |role: &str| {
        status
            .connections
            .iter()
            .find(|c| c.role == role)
            .map(|c| c.state())
    };
    assert_eq!(state("open_vswitch"), Some(ConnectionState::Connected));
    assert_eq!(state("southbound"), Some(ConnectionState::Connected));
    assert_eq!(state("openflow"), Some(ConnectionState::Connecting));
    assert!(
        status
            .engine
            .iter()
            .any(|kind| kind.name == "tunnel" && kind.runs > 0),
        "{:?}",
        status.engine
    );

    transact(
        &sb,
        r#"["OVN_Southbound",{"op":"delete","table":"Chassis","where":[["name","==","twin"]]}]"#,
    );
    transact(
        &vs,
        r#"["Open_vSwitch",{"op":"update","table":"Bridge","where":[["name","==","br0"]],"row":{"ports":["set",[]]}}]"#,
    );
    until("chassis in", || async {
        has(&sb, "OVN_Southbound", "Chassis", "here")
    })
    .await;
    until("tunnel in", || async {
        has(&vs, "Open_vSwitch", "Port", "ovn-far-0")
    })
    .await;
    until("taken back", || async {
        complaint(&at, "Chassis", "here").await.is_none()
            && complaint(&at, "Port", "ovn-far-0").await.is_none()
    })
    .await;
}
