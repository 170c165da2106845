//! The daemon among real programs: two `ovsdb-server`s with this project's schemas, stock `ovn-nbctl` as the client, gRPC
//! as operators ask it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use weft_proto::v1::diagnostic_event::Kind;
use weft_proto::v1::diagnostics_client::DiagnosticsClient;
use weft_proto::v1::status_client::StatusClient;
use weft_proto::v1::{
    ConnectionState, Diagnostic, GetStatusRequest, GetStatusResponse, ListDiagnosticsRequest,
    WatchDiagnosticsRequest,
};

/// Longest wait for anything: processors may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
fn wait<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => {
                println!("{what}: after {} ms", began.elapsed().as_millis());
                return answer;
            }
            Err(seen) => assert!(began.elapsed() < PATIENCE, "{what}: in vain; last: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_until<T: Debug>(what: &str, mut look: impl FnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    wait(what, || {
        let seen = look();
        if good(&seen) {
            Ok(seen)
        } else {
            Err(format!("{seen:?}"))
        }
    })
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL. It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory with databases, and what runs in it.
struct Lab {
    // Processes first: they end before their directory goes.
    servers: BTreeMap<&'static str, Process>,
    daemons: BTreeMap<&'static str, Process>,
    runtime: Runtime,
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab {
            servers: BTreeMap::new(),
            daemons: BTreeMap::new(),
            runtime: Runtime::new().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        for database in ["northbound", "southbound"] {
            lab.create(database);
            lab.serve(database);
        }
        lab
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVN_RUNDIR", "OVS_RUNDIR", "OVN_LOGDIR", "OVS_LOGDIR"] {
            command.env(variable, self.dir.path());
        }
        for variable in ["OVN_NB_DB", "OVN_SB_DB", "OVN_NB_DAEMON", "OVN_SB_DAEMON"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    /// The output of a program that must succeed.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output();
        let output = output.unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{program} {args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn start(&self, name: &str, mut command: Command) -> Process {
        let log = File::create(self.path(format!("{name}.log"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Process(command.spawn().unwrap())
    }

    /// Makes an empty database.
    fn create(&self, database: &str) {
        let file = self.path(format!("{database}.db"));
        // There may be none to remove.
        let _ = std::fs::remove_file(&file);
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        let schema = schemas.join(format!("{database}.ovsschema"));
        let (file, schema) = (file.to_string_lossy(), schema.to_string_lossy());
        self.run("ovsdb-tool", &["create", &file, &schema]);
    }

    fn socket(&self, database: &str) -> String {
        format!("unix:{}", self.path(format!("{database}.sock")).display())
    }

    fn serve(&mut self, database: &'static str) {
        let mut command = self.command("ovsdb-server");
        let control = self.path(format!("{database}.ctl"));
        command
            .arg(format!("--remote=p{}", self.socket(database)))
            .arg(format!("--unixctl={}", control.display()))
            .arg(self.path(format!("{database}.db")));
        let _ = std::fs::remove_file(self.path(format!("{database}.sock")));
        self.servers.remove(database);
        self.servers.insert(database, self.start(database, command));
        wait_until(
            &format!("{database} server listens"),
            || UnixStream::connect(self.path(format!("{database}.sock"))).is_ok(),
            |answers| *answers,
        );
    }

    fn grpc(&self, name: &str) -> String {
        format!("unix:{}", self.path(format!("{name}.grpc")).display())
    }

    fn northd(&mut self, name: &'static str) {
        let mut command = self.command(env!("CARGO_BIN_EXE_weft-northd"));
        command
            .arg(format!("--ovnnb-db={}", self.socket("northbound")))
            .arg(format!("--ovnsb-db={}", self.socket("southbound")))
            .arg(format!("--grpc={}", self.grpc(name)))
            .arg(format!(
                "--unixctl={}",
                self.path(format!("{name}.ctl")).display()
            ));
        self.daemons.insert(name, self.start(name, command));
        wait_until(
            &format!("{name} listens"),
            || UnixStream::connect(self.path(format!("{name}.grpc"))).is_ok(),
            |answers| *answers,
        );
    }

    /// `ovn-nbctl --wait=sb`: returns once everything up to it is in the southbound.
    fn nbctl(&self, commands: &str) -> String {
        let began = Instant::now();
        let db = format!("--db={}", self.socket("northbound"));
        let mut args = vec![&*db, "--timeout=60", "--wait=sb"];
        args.extend(commands.split_whitespace());
        let output = self.run("ovn-nbctl", &args);
        println!(
            "ovn-nbctl --wait=sb {}: {} ms",
            commands.split_whitespace().next().unwrap_or_default(),
            began.elapsed().as_millis()
        );
        output
    }

    /// Lines of `ovn-sbctl find`: one row each, its columns in CSV.
    fn rows(&self, table: &str, columns: &str, condition: &str) -> BTreeSet<String> {
        let db = format!("--db={}", self.socket("southbound"));
        let columns = format!("--columns={columns}");
        let mut args = vec![&*db, "--timeout=60", "--format=csv", "--no-headings"];
        args.extend([&*columns, "find", table]);
        args.extend(condition.split_whitespace());
        self.run("ovn-sbctl", &args)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn flows(&self) -> BTreeSet<String> {
        self.rows("logical_flow", "_uuid", "")
    }

    fn status(&self, name: &str) -> GetStatusResponse {
        self.runtime.block_on(async {
            let channel = weft_proto::connect(&self.grpc(name).parse().unwrap()).await;
            let mut client = StatusClient::new(channel.unwrap());
            client.get(GetStatusRequest {}).await.unwrap().into_inner()
        })
    }

    fn wait_for_state(&self, name: &str, state: &str) {
        let seen = || self.status(name).state;
        wait_until(&format!("{name} is {state}"), seen, |seen| seen == state);
    }

    fn diagnostics(&self, name: &str, tables: &[&str]) -> Vec<Diagnostic> {
        self.runtime.block_on(async {
            let channel = weft_proto::connect(&self.grpc(name).parse().unwrap()).await;
            let mut client = DiagnosticsClient::new(channel.unwrap());
            let tables = tables.iter().map(|t| (*t).to_owned()).collect();
            let request = ListDiagnosticsRequest { tables };
            client.list(request).await.unwrap().into_inner().diagnostics
        })
    }

    /// What `Watch` tells from now on: kind of the event, and table, row, column.
    fn watch(&self, name: &str) -> Arc<Mutex<Vec<(Kind, String)>>> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let address = self.grpc(name).parse().unwrap();
        self.runtime.spawn(async move {
            let channel = weft_proto::connect(&address).await.unwrap();
            let request = WatchDiagnosticsRequest::default();
            let stream = DiagnosticsClient::new(channel).watch(request).await;
            let mut stream = stream.unwrap().into_inner();
            // The stream breaks when its daemon is killed.
            while let Some(Ok(event)) = stream.next().await {
                let about = event.diagnostic.as_ref().map_or_else(String::new, |d| {
                    format!("{} {} {}", d.table, d.row, d.column)
                });
                told.lock().unwrap().push((event.kind(), about));
            }
        });
        wait_until(
            "the watch is in step",
            || events.lock().unwrap().clone(),
            |seen| seen.iter().any(|(kind, _)| *kind == Kind::Synced),
        );
        events
    }
}

/// Two switches, a router between them.
const NETWORK: &str = "ls-add blue -- ls-add red -- lr-add gate \
    -- lsp-add blue blue1 -- lsp-set-addresses blue1 00:00:00:00:01:01\\ 10.0.1.1 \
    -- lsp-add red red1 -- lsp-set-addresses red1 00:00:00:00:02:01\\ 10.0.2.1 \
    -- lrp-add gate gate-blue 00:00:00:00:01:fe 10.0.1.254/24 \
    -- lrp-add gate gate-red 00:00:00:00:02:fe 10.0.2.254/24 \
    -- lsp-add blue blue-gate -- lsp-set-type blue-gate router \
    -- lsp-set-options blue-gate router-port=gate-blue -- lsp-set-addresses blue-gate router \
    -- lsp-add red red-gate -- lsp-set-type red-gate router \
    -- lsp-set-options red-gate router-port=gate-red -- lsp-set-addresses red-gate router";

fn network(lab: &Lab) {
    // Spaces within an argument are escaped above.
    let db = format!("--db={}", lab.socket("northbound"));
    let args: Vec<String> = NETWORK
        .replace("\\ ", "\u{1}")
        .split_whitespace()
        .map(|arg| arg.replace('\u{1}', " "))
        .collect();
    let mut all = vec![&*db, "--timeout=60", "--wait=sb"];
    all.extend(args.iter().map(String::as_str));
    lab.run("ovn-nbctl", &all);
}

#[test]
fn a_network_is_compiled_and_bad_rows_stand_alone() {
    let mut lab = Lab::new();
    lab.northd("a");
    lab.wait_for_state("a", "active");
    network(&lab);

    let bound = lab.rows("port_binding", "logical_port,type", "");
    println!("bound: {bound:?}");
    let expected =
        "blue1,\"\"|blue-gate,patch|gate-blue,patch|gate-red,patch|red1,\"\"|red-gate,patch";
    let expected: BTreeSet<String> = expected.split('|').map(str::to_owned).collect();
    let plain = |set: &BTreeSet<String>| -> BTreeSet<String> {
        set.iter().map(|line| line.replace('"', "")).collect()
    };
    assert_eq!(plain(&bound), plain(&expected));
    assert_eq!(lab.rows("datapath_binding", "tunnel_key", "").len(), 3);
    let routes = lab.rows(
        "logical_flow",
        "match",
        "external_ids:stage-name=lr_in_ip_routing",
    );
    for subnet in ["10.0.1.0/24", "10.0.2.0/24"] {
        assert!(
            routes.iter().any(|r| r.contains(subnet)),
            "{subnet}: {routes:?}"
        );
    }

    // What another deployment has checked here stays; what nobody wants goes.
    let monitor = |port: &str, learned: bool| {
        let row = format!(
            r#"{{"op":"insert","table":"Service_Monitor","row":{{"logical_port":"{port}","ip":"10.0.1.1",
            "protocol":"tcp","port":80,"ic_learned":{learned}}}}}"#
        );
        let transaction = format!(r#"["OVN_Southbound",{row}]"#);
        lab.run(
            "ovsdb-client",
            &["transact", &lab.socket("southbound"), &transaction],
        )
    };
    monitor("blue1", true);
    monitor("red1", false);
    lab.nbctl("ls-add bare");
    let kept = || plain(&lab.rows("service_monitor", "logical_port", ""));
    wait_until("the monitors that are left", kept, |rows| rows.len() == 1);
    assert!(kept().contains("blue1"));
    lab.nbctl("ls-del bare");

    // What a flow is about and where it comes from, beside it.
    let stage = "external_ids:stage-name=ls_in_arp_rsp";
    let about = lab.rows("logical_flow", "match,tags,external_ids", stage);
    let own = about
        .iter()
        .find(|f| f.contains("inport") && f.contains("10.0.1.1"));
    println!("{own:?}");
    for part in [
        "in_out_port=blue1",
        "source=switch_arp_responder",
        "stage-hint=",
    ] {
        assert!(own.unwrap().contains(part), "{part}");
    }

    let status = lab.status("a");
    println!("status: {:?} {:?}", status.connections, status.counts);
    assert_eq!(
        (&*status.program, &*status.state),
        ("weft-northd", "active")
    );
    for role in ["northbound", "southbound"] {
        let connection = status.connections.iter().find(|c| c.role == role).unwrap();
        assert_eq!(connection.state(), ConnectionState::Connected, "{role}");
    }
    assert!(
        status
            .engine
            .iter()
            .any(|kind| kind.units > 0 && kind.runs > 0)
    );
    assert_eq!(lab.diagnostics("a", &[]), []);

    // An address set of a user with the name of one that a port group generates.
    let events = lab.watch("a");
    lab.nbctl("pg-add pg blue1 -- create address_set name=pg_ip4 addresses=\"192.168.7.7\"");
    let told = lab.diagnostics("a", &[]);
    println!("told: {told:?}");
    assert!(
        told.iter()
            .any(|d| d.reason.contains("pg_ip4") || d.row.contains("pg_ip4"))
    );
    let sets = lab.rows("address_set", "name,addresses", "");
    println!("address sets: {sets:?}");
    let of_name = sets.iter().filter(|line| line.contains("pg_ip4"));
    assert_eq!(of_name.count(), 1, "{sets:?}");

    // A wrong address; what comes after it is compiled all the same.
    lab.nbctl("lsp-add blue blue2 -- set logical_switch_port blue2 addresses=nonsense");
    lab.nbctl("lsp-add red red2 -- set logical_switch_port red2 addresses=\"00:00:00:00:02:02\"");
    let told = lab.diagnostics("a", &["Logical_Switch_Port"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&*told[0].row, &*told[0].column), ("blue2", "addresses"));
    let bound = lab.rows("port_binding", "logical_port", "");
    assert!(
        ["blue2", "red2"].iter().all(|p| bound.contains(*p)),
        "{bound:?}"
    );

    // One Ethernet address twice, and two HA groups of one name.
    lab.nbctl("lsp-add red red3 -- set logical_switch_port red3 addresses=\"00:00:00:00:02:02\"");
    lab.nbctl("lrp-set-gateway-chassis gate-red hv1 10");
    lab.nbctl("ha-chassis-group-add gate-red");
    lab.nbctl("ha-chassis-group-add-chassis gate-red hv2 7");
    let group = lab.nbctl("--bare --columns=_uuid find ha_chassis_group name=gate-red");
    let group = group.trim();
    lab.nbctl(&format!(
        "lsp-add red red4 -- lsp-set-type red4 external -- set logical_switch_port red4 ha_chassis_group={group}"
    ));
    let told = lab.diagnostics("a", &[]);
    println!("told: {told:?}");
    let says = |table: &str, text: &str| {
        let mut all = told.iter().filter(|d| d.table == table);
        all.any(|d| d.reason.contains(text))
    };
    assert!(says(
        "Logical_Switch_Port",
        "00:00:00:00:02:02 is an address of port"
    ));
    assert!(says("HA_Chassis_Group", "different members"));
    lab.nbctl("lsp-del red3 -- lsp-del red4");

    // What is mended is no longer told.
    lab.nbctl("lrp-del-gateway-chassis gate-red hv1");
    lab.nbctl("destroy address_set pg_ip4 -- lsp-del blue2");
    assert_eq!(lab.diagnostics("a", &[]), []);
    let about = "Logical_Switch_Port blue2 addresses".to_owned();
    wait_until(
        "the watch saw it come and go",
        || events.lock().unwrap().clone(),
        |seen| {
            seen.contains(&(Kind::Added, about.clone()))
                && seen.contains(&(Kind::Removed, about.clone()))
        },
    );
}

#[test]
fn a_standby_takes_over_and_servers_may_go() {
    let mut lab = Lab::new();
    lab.northd("a");
    lab.wait_for_state("a", "active");
    lab.northd("b");
    network(&lab);
    lab.wait_for_state("b", "standby");
    let before = lab.flows();
    println!("{} flows", before.len());
    assert!(before.len() > 100);

    // SIGKILL, as by `kill -9`.
    lab.daemons.remove("a");
    lab.wait_for_state("b", "active");
    lab.nbctl("sync");
    assert_eq!(lab.flows(), before, "a takeover changes no flow");
    lab.nbctl("lsp-add blue blue9 -- lsp-set-addresses blue9 unknown");
    assert!(
        lab.rows("port_binding", "logical_port", "")
            .contains("blue9")
    );
    lab.nbctl("lsp-del blue9");
    assert_eq!(lab.flows(), before, "what stayed is the same rows");

    // The southbound's server dies; meanwhile somebody changes the northbound.
    lab.servers.remove("southbound");
    wait_until(
        "b notices",
        || {
            let status = lab.status("b");
            status
                .connections
                .into_iter()
                .find(|c| c.role == "southbound")
                .map(|c| c.state())
        },
        |state| *state != Some(ConnectionState::Connected),
    );
    let db = format!("--db={}", lab.socket("northbound"));
    lab.run(
        "ovn-nbctl",
        &[&db, "--timeout=60", "lsp-add", "red", "red9"],
    );
    lab.serve("southbound");
    lab.nbctl("sync");
    assert!(
        lab.rows("port_binding", "logical_port", "")
            .contains("red9")
    );
    lab.nbctl("lsp-del red9");
    assert_eq!(
        lab.flows(),
        before,
        "a restart of the server changes no flow"
    );

    // Its file is lost altogether.
    let contents = |lab: &Lab| {
        lab.rows(
            "logical_flow",
            "pipeline,table_id,priority,match,actions",
            "",
        )
    };
    let texts = contents(&lab);
    lab.servers.remove("southbound");
    lab.create("southbound");
    lab.serve("southbound");
    lab.nbctl("sync");
    wait_until(
        "all flows are back",
        || contents(&lab).len(),
        |n| *n == texts.len(),
    );
    assert_eq!(contents(&lab), texts);

    // Rows that somebody else deletes come back.
    let db = format!("--db={}", lab.socket("southbound"));
    lab.run(
        "ovn-sbctl",
        &[&db, "--timeout=60", "--all", "destroy", "logical_flow"],
    );
    wait_until(
        "deleted flows are back",
        || contents(&lab).len(),
        |n| *n == texts.len(),
    );
    assert_eq!(lab.diagnostics("b", &[]), []);
}
