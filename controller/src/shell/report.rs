//! What the daemon tells of itself: shared between the shell's task, the control socket and gRPC.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use tokio::task::JoinHandle;
use weft_daemon::{Context, Identity, dirs};
use weft_engine::{Delta, Engine, KindId, Registry};
use weft_ovsdb::model::Uuid;
use weft_ovsdb::session::{Connected, Handle};
use weft_proto::{Hub, Listen, ListenError, v1};

use crate::install::Refusal;
use crate::lflow::LFLOW;
use crate::program::{Controller, Diagnostic};

/// Where gRPC is served, as `--grpc` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Grpc {
    /// On a socket in the run directory, if it can be had.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// Here.
    At(String),
}

impl FromStr for Grpc {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "" => Grpc::Default,
            "none" => Grpc::Off,
            address => Grpc::At(address.to_string()),
        })
    }
}

/// What the controller does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The southbound is not worked in yet: nothing is taken away.
    Waiting,
    /// The bridge follows the southbound.
    Active,
}

/// Something that a server or the switch refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Database of the row.
    pub database: &'static str,
    /// Its table.
    pub table: &'static str,
    /// The row, if it is known.
    pub uuid: Option<Uuid>,
    /// What an operator calls it.
    pub row: String,
    /// Why.
    pub reason: String,
}

impl Complaint {
    /// A flow, group or meter that Open vSwitch refuses.
    pub fn of_flow(refusal: &Refusal) -> Self {
        Complaint {
            database: "OVN_Southbound",
            table: "Logical_Flow",
            uuid: None,
            row: format!("{:08x}", refusal.cookie),
            reason: format!("Open vSwitch refuses {}: {}", refusal.what, refusal.error),
        }
    }

    fn diagnostic(&self) -> v1::Diagnostic {
        v1::Diagnostic {
            severity: v1::Severity::Error as i32,
            database: self.database.to_string(),
            table: self.table.to_string(),
            uuid: self.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
            row: self.row.clone(),
            reason: self.reason.clone(),
            ..v1::Diagnostic::default()
        }
    }
}

/// Tables of the local database; what is in none of them is in the southbound.
const LOCAL: [&str; 4] = ["Open_vSwitch", "Bridge", "Port", "Interface"];

fn of_unit(d: &Diagnostic) -> v1::Diagnostic {
    let (table, row) = d.row.split_once(' ').unwrap_or((&d.row, ""));
    let database = if LOCAL.contains(&table) {
        "Open_vSwitch"
    } else {
        "OVN_Southbound"
    };
    v1::Diagnostic {
        severity: v1::Severity::Error as i32,
        database: database.to_string(),
        table: table.to_string(),
        uuid: d.uuid.to_string(),
        row: row.to_string(),
        column: d.column.to_string(),
        reason: d.message.clone(),
        ..v1::Diagnostic::default()
    }
}

/// Figures and lists, kept current by the shell's task.
pub struct Report {
    identity: Identity,
    began: Instant,
    vs: Handle,
    stats: Registry,
    counts: DashMap<&'static str, u64>,
    hub: Hub,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    sb: Option<Handle>,
    bridge: String,
    /// Why the bridge is not connected; none if it is.
    bridge_error: Option<String>,
    /// Since when there is such an error, or none.
    bridge_since: Instant,
    /// Complaints that are in the hub now.
    refused: BTreeSet<Complaint>,
}

impl Report {
    /// For a daemon that has just begun.
    pub fn new(identity: Identity, vs: Handle, stats: Registry) -> Self {
        let inner = Inner {
            state: State::Waiting,
            sb: None,
            bridge: String::new(),
            bridge_error: Some(String::new()),
            bridge_since: Instant::now(),
            refused: BTreeSet::new(),
        };
        Report {
            identity,
            began: Instant::now(),
            vs,
            stats,
            counts: DashMap::new(),
            hub: Hub::default(),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the daemon does now.
    pub fn set_state(&self, state: State) {
        self.inner().state = state;
    }

    /// The session with the southbound.
    pub fn set_southbound(&self, sb: Option<Handle>) {
        self.inner().sb = sb;
    }

    /// Where the integration bridge is sought.
    pub fn set_bridge(&self, target: &str) {
        let mut inner = self.inner();
        inner.bridge = target.to_string();
        inner.bridge_error = Some(String::new());
    }

    /// The connection to the bridge is up, or down for a reason.
    pub fn bridge_is_up(&self, error: Option<String>) {
        let mut inner = self.inner();
        if inner.bridge_error.is_none() != error.is_none() {
            inner.bridge_since = Instant::now();
        }
        inner.bridge_error = error;
    }

    /// Takes note of what the server that a session has found lacks.
    pub fn connected(&self, server: &Connected) {
        let (schema, missing) = (&server.schema, &server.missing);
        if self.hub.lacks(&schema.name, &schema.version, missing) {
            let list = missing.join(", ");
            tracing::warn!(target: "ovsdb", "{}: the server's schema {} lacks {list}", schema.name, schema.version);
        }
    }

    /// Sizes, by name.
    pub fn set_counts(&self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        for (name, count) in counts {
            self.counts.insert(name, count as u64);
        }
    }

    /// Takes over the diagnostics of a run of the engine, and logs them. Before everything is here, what a logical flow lacks
    /// may just not have come yet: see [`Report::settled`].
    pub fn computed(&self, delta: &Delta<Controller>, settled: bool) {
        for (kind, _, diagnostic) in &delta.diagnostics_added {
            if settled || *kind != LFLOW.id() {
                self.complain(*kind, diagnostic);
            }
        }
        for (kind, _, diagnostic) in &delta.diagnostics_removed {
            if self.hub.remove(&of_unit(diagnostic)) {
                tracing::info!(target: "controller", "{kind}: resolved: {diagnostic}");
            }
        }
    }

    fn complain(&self, kind: KindId, diagnostic: &Diagnostic) {
        if self.hub.add(of_unit(diagnostic)) {
            tracing::warn!(target: "controller", "{kind}: {diagnostic}");
        }
    }

    /// Everything is here: what logical flows lack still, they lack.
    pub fn settled(&self, engine: &Engine<Controller>) {
        let flows = engine
            .diagnostics()
            .filter(|(kind, ..)| *kind == LFLOW.id());
        flows.for_each(|(kind, _, diagnostic)| self.complain(kind, diagnostic));
    }

    /// Takes over what is refused at present, and logs what is new.
    pub fn refused(&self, now: BTreeSet<Complaint>) {
        let mut inner = self.inner();
        for gone in inner.refused.difference(&now) {
            tracing::info!(target: "controller", "resolved: {} {}: {}", gone.table, gone.row, gone.reason);
            self.hub.remove(&gone.diagnostic());
        }
        for new in now.difference(&inner.refused) {
            tracing::warn!(target: "controller", "{} {}: {}", new.table, new.row, new.reason);
            self.hub.add(new.diagnostic());
        }
        inner.refused = now;
    }

    /// One line per diagnostic.
    pub fn diagnostics_text(&self) -> String {
        self.hub.text()
    }
}

fn connection(role: &str, handle: &Handle) -> v1::Connection {
    let status = handle.status();
    v1::Connection {
        remote: status.remote.map(|r| r.to_string()).unwrap_or_default(),
        last_error: status.last_error.unwrap_or_default(),
        protocol: status.schema_version,
        ..weft_proto::connection(role, status.connected, status.since)
    }
}

impl weft_proto::Source for Report {
    fn status(&self) -> v1::GetStatusResponse {
        let inner = self.inner();
        let mut connections = vec![connection("open_vswitch", &self.vs)];
        connections.extend(inner.sb.as_ref().map(|sb| connection("southbound", sb)));
        if !inner.bridge.is_empty() {
            let (up, since) = (inner.bridge_error.is_none(), inner.bridge_since);
            connections.push(v1::Connection {
                remote: inner.bridge.clone(),
                last_error: inner.bridge_error.clone().unwrap_or_default(),
                protocol: "OpenFlow 1.5".to_string(),
                ..weft_proto::connection("openflow", up, Some(since))
            });
        }
        let engine = self
            .stats
            .all()
            .into_iter()
            .map(|(name, stats)| v1::EngineKind {
                name: name.to_string(),
                units: stats.units,
                runs: stats.runs,
                busy_us: u64::try_from(stats.time.as_micros()).unwrap_or(u64::MAX),
                quiet: stats.quiet,
            });
        v1::GetStatusResponse {
            program: self.identity.name().to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: if inner.state == State::Active {
                "active"
            } else {
                "waiting"
            }
            .to_string(),
            connections,
            engine: engine.collect(),
            counts: self
                .counts
                .iter()
                .map(|entry| ((*entry.key()).to_string(), *entry.value()))
                .collect(),
        }
    }

    fn diagnostics(&self) -> &Hub {
        &self.hub
    }
}

/// Serves gRPC until the daemon ends.
///
/// # Errors
/// When an address was asked for that cannot be had; the default one is a convenience, for several daemons may share a run
/// directory.
pub async fn serve(
    context: &Context,
    at: &Grpc,
    source: Arc<Report>,
) -> Result<Option<JoinHandle<()>>, ListenError> {
    let listen = match at {
        Grpc::Off => return Ok(None),
        Grpc::At(address) => address.parse()?,
        Grpc::Default => {
            Listen::Unix(dirs::ovn_rundir().join(format!("{}.grpc", context.identity.name())))
        }
    };
    let listener = match weft_proto::bind(&listen).await {
        Ok(listener) => listener,
        Err(error) if *at == Grpc::Default => {
            tracing::warn!(target: "grpc", "not served: {error}");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let shutdown = context.shutdown.clone();
    Ok(Some(tokio::spawn(async move {
        let ended = async move {
            shutdown.requested().await;
        };
        if let Err(error) = weft_proto::serve(listener, source, ended).await {
            tracing::error!(target: "grpc", "{error}");
        }
    })))
}
