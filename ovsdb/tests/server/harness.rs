//! Servers in temporary directories, killed on drop, and a replica fed by a session.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use weft_ovsdb::model::{Database, Uuid};
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::session::{Config, Connected, Event, Handle, Session};
use weft_schemas::nb;

pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub fn schema_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/northbound.ovsschema")
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, patience)
        .await
        .unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// An `ovsdb-server` process.
pub struct Server {
    child: Option<Child>,
    pub dir: PathBuf,
    args: Vec<String>,
}

impl Server {
    /// With that database file, listening on `dir/NAME.sock`.
    pub async fn start(dir: &Path, name: &str, file: &Path, extra: &[String]) -> Server {
        let at = |suffix: &str| dir.join(format!("{name}.{suffix}")).display().to_string();
        let mut args = vec![
            file.display().to_string(),
            format!("--remote=punix:{}", at("sock")),
            format!("--unixctl={}", at("ctl")),
            format!("--log-file={}", at("log")),
            "-vconsole:off".to_owned(),
            "--no-chdir".to_owned(),
        ];
        args.extend_from_slice(extra);
        let mut server = Server {
            child: None,
            dir: dir.join(name),
            args,
        };
        server.up().await;
        server
    }

    /// A standalone northbound database.
    pub async fn standalone(dir: &TempDir, extra: &[String]) -> Server {
        let file = dir.path().join("nb.db");
        tool(
            "ovsdb-tool",
            &[
                "create",
                file.to_str().unwrap(),
                schema_file().to_str().unwrap(),
            ],
        );
        Server::start(dir.path(), "nb", &file, extra).await
    }

    pub fn sock(&self) -> PathBuf {
        self.dir.with_extension("sock")
    }

    pub fn ctl(&self) -> String {
        self.dir.with_extension("ctl").display().to_string()
    }

    pub fn remotes(&self) -> Remotes {
        format!("unix:{}", self.sock().display()).parse().unwrap()
    }

    pub async fn up(&mut self) {
        let _ = std::fs::remove_file(self.sock());
        let child = Command::new("ovsdb-server")
            .args(&self.args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let sock = self.sock();
        until("the server's socket", || sock.exists()).await;
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A transaction by the stock client; its output.
    pub fn stock_transact(&self, operations: &str) -> String {
        let params = format!("[\"OVN_Northbound\",{operations}]");
        tool(
            "ovsdb-client",
            &[
                "transact",
                &format!("unix:{}", self.sock().display()),
                &params,
            ],
        )
    }

    pub fn add_switch(&self, name: &str) {
        self.stock_transact(&format!(
            r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"{name}"}}}}"#
        ));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A session and the replica it feeds.
pub struct Replica {
    pub session: Session<nb::Db>,
    pub db: nb::Db,
    pub connected: Option<Connected>,
    pub snapshots: usize,
    pub disconnects: Vec<String>,
    pub lock: bool,
    pub seq: Option<u64>,
}

impl Replica {
    pub fn start(config: Config) -> Replica {
        Replica {
            session: Session::start(config),
            db: nb::Db::default(),
            connected: None,
            snapshots: 0,
            disconnects: Vec::new(),
            lock: false,
            seq: None,
        }
    }

    pub fn on(remotes: Remotes) -> Replica {
        Replica::start(Config::new::<nb::Db>(remotes))
    }

    pub fn handle(&self) -> Handle {
        self.session.handle()
    }

    fn take(&mut self, event: Event<nb::Db>) {
        match event {
            Event::Connected(connected) => self.connected = Some(connected),
            Event::Disconnected { reason } => {
                self.connected = None;
                self.disconnects.push(reason);
            }
            Event::Snapshot(updates) => {
                self.snapshots += 1;
                self.db.replace(updates);
            }
            Event::Updates(updates) => updates
                .into_iter()
                .for_each(|update| drop(self.db.apply(update))),
            Event::Lock { held } => self.lock = held,
            Event::ConditionsApplied { seq } => self.seq = Some(seq),
        }
    }

    /// Takes events until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Replica) -> bool) {
        let patience = async {
            while !condition(self) {
                let event = self.session.next().await;
                self.take(event);
            }
        };
        if timeout(DEADLINE, patience).await.is_err() {
            panic!(
                "in vain: {what}; status {:?}",
                self.session.handle().status()
            );
        }
    }

    /// Takes the events that are there.
    pub fn drain(&mut self) {
        while let Some(event) = self.session.try_next() {
            self.take(event);
        }
    }

    /// Sorted names of the switches.
    pub fn switches(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .db
            .logical_switch
            .iter()
            .map(|(_, row)| row.name.to_string())
            .collect();
        names.sort();
        names
    }

    pub fn switch(&self, name: &str) -> Option<Uuid> {
        self.db
            .logical_switch
            .iter()
            .find(|(_, row)| &*row.name == name)
            .map(|(uuid, _)| uuid)
    }
}
