//! The daemon: two database sessions and the compiler between them, in one task.
//!
//! ```text
//!   NB session ──events──┐                        ┌──transactions──> NB session
//!                        ├──> replicas ──> compiler ──> sync
//!   SB session ──events──┘                        └──transactions──> SB session
//! ```
//!
//! Events that are waiting are taken all at once, then the compiler runs once, then at most one transaction per
//! database is sent; what arrives meanwhile is compiled but waits for the answer. Only the holder of the southbound's
//! lock `ovn_northd` compiles and writes; the others keep their replicas up to date.

mod commands;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weft_daemon::audit::{self, SelfAudit};
use weft_daemon::{Context, Options, dirs, stopwatch};
use weft_engine::GraphError;
use weft_ovsdb::model::AnyChange;
use weft_ovsdb::remote::{RemoteError, Remotes};
use weft_ovsdb::session::{Config, Event, Monitored, Session};
use weft_ovsdb::tls::Tls;
use weft_ovsdb::txn::{OpResult, TxnError};
use weft_schemas::{nb, sb};

use crate::address::Mac;
use crate::compiler::Compiler;
use crate::program::Settings;
use crate::sync::Sync;
use commands::Command;
use report::Report;

/// The lock that makes one of several daemons the active one.
const LOCK: &str = "ovn_northd";

const LFLOW: u8 = sb::TableId::LogicalFlow as u8;

/// What the daemon takes on its command line.
#[derive(clap::Parser, Debug)]
#[command(
    about = "Northbound to southbound: compiles logical networks into logical flows",
    disable_version_flag = true
)]
pub struct Args {
    /// Northbound database (default: $OVN_NB_DB, else unix:RUNDIR/ovnnb_db.sock).
    #[arg(long, value_name = "DATABASE")]
    pub ovnnb_db: Option<String>,
    /// Southbound database (default: $OVN_SB_DB, else unix:RUNDIR/ovnsb_db.sock).
    #[arg(long, value_name = "DATABASE")]
    pub ovnsb_db: Option<String>,
    /// Start paused: nothing is written until `resume`.
    #[arg(long)]
    pub dry_run: bool,
    /// Threads for compiling; 0 for one per processor.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub n_threads: usize,
    /// Where to serve gRPC: unix:PATH, tcp:HOST:PORT or none (default: unix:RUNDIR/PROGRAM.grpc).
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: Option<String>,
    /// Accepted for compatibility.
    #[arg(long, hide = true)]
    pub dummy_numa: Option<String>,
    /// Print version information.
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Those of every daemon.
    #[command(flatten)]
    pub daemon: Options,
}

/// Why the daemon ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A remote makes no sense.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The features do not form layers: a fault of the program.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// gRPC cannot be served.
    #[error(transparent)]
    Listen(#[from] weft_proto::ListenError),
}

/// Which of the daemons we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Compiles and writes.
    Active,
    /// Another one does.
    Standby,
    /// Told to do nothing.
    Paused,
}

impl State {
    /// As `status` tells it.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Standby => "standby",
            State::Paused => "paused",
        }
    }
}

type Answer = Result<Vec<OpResult>, TxnError>;

/// Everything the task owns.
struct Northd {
    context: Context,
    nb: Session<nb::Db>,
    sb: Session<sb::Db>,
    compiler: Compiler,
    sync: Sync,
    report: Arc<Report>,
    nb_complete: bool,
    sb_complete: bool,
    lock_held: bool,
    paused: bool,
    /// Ledgers, units and wanted rows are those of the active daemon.
    active: bool,
    began: Instant,
    nb_answer: Option<JoinHandle<Answer>>,
    sb_answer: Option<JoinHandle<Answer>>,
    /// A thorough comparison is waiting to be done.
    recompute: bool,
    audit: SelfAudit,
}

/// Compiles on so many threads (0: one per processor), the calling one among them: it must be the one that [`run`] runs on.
pub fn compile_on_threads(threads: usize) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread();
    if let Err(error) = pool.build_global() {
        tracing::warn!("--n-threads: {error}");
    }
}

/// Runs until somebody asks the daemon to end.
pub async fn run(context: Context, args: Args) -> Result<(), Fatal> {
    let nb_remotes: Remotes = args.ovnnb_db.unwrap_or_else(dirs::default_nb_db).parse()?;
    let sb_remotes: Remotes = args.ovnsb_db.unwrap_or_else(dirs::default_sb_db).parse()?;
    let tls = tls(&args.daemon);
    let nb = Session::<nb::Db>::start(Config {
        tls: tls.clone(),
        leader_only: true,
        ..Config::new::<nb::Db>(nb_remotes)
    });
    let sb = Session::<sb::Db>::start(Config {
        tls,
        leader_only: true,
        lock: (!args.dry_run).then(|| LOCK.to_owned()),
        // The flows that come are those we write: the server need not tell us their contents.
        monitored: Monitored::all::<sb::Db>()
            .only_announce_inserts(LFLOW, sb::logical_flow::PRIORITY),
        ..Config::new::<sb::Db>(sb_remotes)
    });
    let compiler = Compiler::new(settings())?;
    let report = Arc::new(Report::new(
        context.identity.clone(),
        nb.handle(),
        sb.handle(),
        compiler.stats(),
    ));
    let (to, commands) = mpsc::unbounded_channel();
    commands::register(&context.unixctl, &report, &to);
    let _grpc = serve_grpc(&context, args.grpc.as_deref(), report.clone()).await?;
    context.ready();
    let mut northd = Northd {
        context,
        nb,
        sb,
        compiler,
        sync: Sync::default(),
        report,
        nb_complete: false,
        sb_complete: false,
        lock_held: false,
        paused: args.dry_run,
        active: false,
        began: Instant::now(),
        nb_answer: None,
        sb_answer: None,
        recompute: false,
        audit: SelfAudit::default(),
    };
    northd.serve(commands).await
}

fn tls(options: &Options) -> Option<Tls> {
    let (ca, bootstrap) = match (&options.ca_cert, &options.bootstrap_ca_cert) {
        (_, Some(ca)) => (ca, true),
        (Some(ca), None) => (ca, false),
        (None, None) => return None,
    };
    Some(Tls {
        private_key: options.private_key.clone()?,
        certificate: options.certificate.clone()?,
        ca: ca.clone(),
        bootstrap,
    })
}

/// What the first start chooses by chance; afterwards the northbound remembers it.
fn settings() -> Settings {
    let [a, b, c, d, e, f, g, h, i]: [u8; 9] = rand::random();
    // Locally administered, not multicast.
    let local = |first: u8| first & 0xfc | 0x02;
    Settings {
        version: concat!(env!("CARGO_PKG_VERSION"), "-weft").to_owned(),
        mac_prefix: [local(a), b, c],
        svc_monitor_mac: Mac([local(d), e, f, g, h, i]),
    }
}

async fn serve_grpc(
    context: &Context,
    address: Option<&str>,
    source: Arc<Report>,
) -> Result<Option<JoinHandle<()>>, Fatal> {
    let listen = match address {
        Some("none") => return Ok(None),
        Some(address) => address.parse()?,
        None => {
            let path: PathBuf =
                dirs::ovn_rundir().join(format!("{}.grpc", context.identity.name()));
            weft_proto::Listen::Unix(path)
        }
    };
    let listener = match weft_proto::bind(&listen).await {
        Ok(listener) => listener,
        // By default it is a convenience: several daemons may share a run directory.
        Err(error) if address.is_none() => {
            tracing::warn!("gRPC is not served: {error}");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let shutdown = context.shutdown.clone();
    Ok(Some(tokio::spawn(async move {
        let done = async move {
            shutdown.requested().await;
        };
        if let Err(error) = weft_proto::serve(listener, source, done).await {
            tracing::error!("gRPC: {error}");
        }
    })))
}

/// Waits for the answer to a transaction; for ever if there is none under way.
async fn answered(answer: &mut Option<JoinHandle<Answer>>) -> Answer {
    match answer {
        Some(task) => {
            let result = task.await.unwrap_or(Err(TxnError::Ended));
            *answer = None;
            result
        }
        None => std::future::pending().await,
    }
}

impl Northd {
    async fn serve(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> Result<(), Fatal> {
        let shutdown = self.context.shutdown.clone();
        loop {
            let now = Instant::now();
            let audit = self.audit.due().filter(|due| *due > now);
            let audit = audit.map(|due| due.duration_since(now));
            let wake = self.sync.wake_at_ms();
            let wake = wake.map(|at| Duration::from_millis((at - self.steady_ms()).max(1) as u64));
            let sleep = [wake, audit].into_iter().flatten().min();
            tokio::select! {
                _ = shutdown.requested() => return Ok(()),
                event = self.nb.next() => self.nb_event(event),
                event = self.sb.next() => self.sb_event(event),
                answer = answered(&mut self.nb_answer) => {
                    self.drain();
                    let now = self.steady_ms();
                    self.sync.northbound_done(answer.as_ref().map(|_| ()), now);
                }
                answer = answered(&mut self.sb_answer) => {
                    self.drain();
                    let (now, wall) = (self.steady_ms(), wall_ms());
                    if self.sync.southbound_done(answer.as_ref().map(|_| ()), now, wall) {
                        self.sb.handle().reconnect(true);
                    }
                }
                result = self.audit.finished() => if self.audit.took(result) {
                    self.compiler.recompute();
                },
                Some(command) = commands.recv() => self.command(command)?,
                () = sleep_for(sleep) => {}
            }
            self.drain();
            self.step()?;
        }
    }

    fn steady_ms(&self) -> i64 {
        self.began.elapsed().as_millis() as i64
    }

    /// Takes everything that has come in.
    fn drain(&mut self) {
        while let Some(event) = self.nb.try_next() {
            self.nb_event(event);
        }
        while let Some(event) = self.sb.try_next() {
            self.sb_event(event);
        }
    }

    fn nb_event(&mut self, event: Event<nb::Db>) {
        let changes = match event {
            Event::Snapshot(updates) => {
                self.nb_complete = true;
                self.compiler.nb_snapshot(updates)
            }
            Event::Updates(updates) => updates
                .into_iter()
                .filter_map(|u| self.compiler.nb_update(u))
                .collect(),
            Event::Disconnected { reason } => {
                tracing::warn!("northbound: connection lost ({reason})");
                return;
            }
            Event::Connected(server) => return self.report.connected(&server),
            Event::Lock { .. } | Event::ConditionsApplied { .. } => return,
        };
        if changes
            .iter()
            .any(|change| change.table() == nb::TableId::NbGlobal as u8)
        {
            self.global_changed();
        }
        self.sync.nb_changed(&changes);
    }

    fn sb_event(&mut self, event: Event<sb::Db>) {
        let snapshot = matches!(event, Event::Snapshot(_));
        let changes = match event {
            Event::Snapshot(updates) => {
                self.sb_complete = true;
                let rest = self.sync.take_flows(updates, true);
                self.compiler.sb_snapshot(rest)
            }
            Event::Updates(updates) => {
                let rest = self.sync.take_flows(updates, false);
                rest.into_iter()
                    .filter_map(|u| self.compiler.sb_update(u))
                    .collect()
            }
            Event::Lock { held } => {
                if held != self.lock_held {
                    let what = if held {
                        "acquired: this instance is active"
                    } else {
                        "lost: this instance is on standby"
                    };
                    tracing::info!("{LOCK} lock {what}");
                }
                self.lock_held = held;
                self.active &= held;
                return;
            }
            Event::Disconnected { reason } => {
                tracing::warn!("southbound: connection lost ({reason})");
                return;
            }
            Event::Connected(server) => {
                self.sync.rows.server_knows(&server.schema);
                return self.report.connected(&server);
            }
            Event::ConditionsApplied { .. } => return,
        };
        self.sync
            .sb_changed(&self.compiler.inputs().sb, &changes, snapshot);
        if self.sync.north.cfg.chassis(&self.compiler.inputs().sb) {
            self.sync.north.touch_global();
        }
    }

    /// Options of `NB_Global` that are for the daemon itself.
    fn global_changed(&mut self) {
        let nb = &self.compiler.inputs().nb;
        self.sync.north.cfg.see(nb, wall_ms());
        let Some((_, global)) = nb.nb_global.iter().next() else {
            return;
        };
        let interval = global.options.get(audit::INTERVAL).map(|text| &**text);
        self.audit.every(interval, Instant::now());
        if let Some(interval) = global
            .options
            .get("northd_probe_interval")
            .and_then(|text| text.parse::<u64>().ok())
        {
            // Zero turns probing off; anything else is at least a second.
            let interval =
                Duration::from_millis(if interval == 0 { 0 } else { interval.max(1000) });
            self.nb.handle().set_probe_interval(interval);
            self.sb.handle().set_probe_interval(interval);
        }
    }

    fn state(&self) -> State {
        match (self.paused, self.lock_held) {
            (true, _) => State::Paused,
            (false, true) => State::Active,
            (false, false) => State::Standby,
        }
    }

    /// Compiles and sends what there is to send.
    fn step(&mut self) -> Result<(), Fatal> {
        self.report.set_state(self.state());
        if self.state() != State::Active || !self.nb_complete || !self.sb_complete {
            return Ok(());
        }
        if !self.active {
            if self.sync.flows.has_unseen() {
                tracing::info!("reading the flows that another instance wrote");
                self.sb_complete = false;
                self.sb.handle().reconnect(true);
                return Ok(());
            }
            self.active = true;
            if !self.compiler.may_continue() {
                if self.compiler.has_started() {
                    self.compiler.restart()?;
                }
                self.sync.restart();
                self.report.set_stats(self.compiler.stats());
            }
        }
        if self.recompute {
            self.recompute = false;
            self.audit()?;
        }
        if !self.compiler.is_settled() {
            let delta = stopwatch::stopwatch("ovnnb_db_run").time(|| self.compiler.run());
            self.report.compiled(&delta);
            let nb_cfg = self.sync.north.cfg.nb_cfg;
            self.sync.apply(&delta, nb_cfg);
        } else {
            let nb_cfg = self.sync.north.cfg.nb_cfg;
            self.sync.set_nb_cfg(nb_cfg);
        }
        self.send();
        let now = Instant::now();
        if self.audit.is_due(now) && self.sync.is_settled() {
            self.audit.begin(self.compiler.audit_aside(), now);
        }
        self.report.refused(self.sync.complaints());
        self.report.set_counts(&self.compiler, &self.sync);
        Ok(())
    }

    fn send(&mut self) {
        let (now, wall) = (self.steady_ms(), wall_ms());
        let inputs = self.compiler.inputs();
        if self.sb_answer.is_none() {
            let txn = stopwatch::stopwatch("ovnsb_db_diff")
                .time(|| self.sync.southbound(&inputs.sb, now, wall));
            if let Some(mut txn) = txn {
                txn.assert_lock(LOCK);
                let handle = self.sb.handle();
                self.sb_answer = Some(tokio::spawn(async move { handle.transact(txn).await }));
            }
        }
        if self.nb_answer.is_none()
            && let Some(txn) = self.sync.northbound(&inputs.nb, now)
        {
            let handle = self.nb.handle();
            self.nb_answer = Some(tokio::spawn(async move { handle.transact(txn).await }));
        }
    }

    /// Compiles everything anew, says what differs, and sends it.
    fn audit(&mut self) -> Result<(), Fatal> {
        let differences = self.compiler.audit()?;
        if differences.is_empty() {
            tracing::info!("recompute: nothing differs");
            return Ok(());
        }
        for difference in differences.iter().take(20) {
            tracing::error!("recompute: {difference:?}");
        }
        tracing::error!(
            "recompute: {} differences between steps and a fresh start",
            differences.len()
        );
        self.compiler.recompute();
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), Fatal> {
        match command {
            Command::Pause => {
                self.paused = true;
                self.active = false;
                self.sb.handle().unlock();
                tracing::info!("this instance is now paused");
            }
            Command::Resume => {
                if self.paused {
                    self.paused = false;
                    self.sb.handle().lock(LOCK);
                    tracing::info!("this instance is no longer paused");
                }
            }
            Command::Recompute => self.recompute = true,
            Command::Audit(answer) => {
                let differences: Vec<String> = self
                    .compiler
                    .audit()?
                    .iter()
                    .map(|d| format!("{d:?}"))
                    .collect();
                // The asker may have gone.
                let _ = answer.send(differences);
            }
            Command::Reconnect(database) => match database {
                commands::Database::North => self.nb.handle().reconnect(true),
                commands::Database::South => self.sb.handle().reconnect(true),
            },
            Command::Dot(answer) => {
                let _ = answer.send(self.compiler.engine().dot());
            }
        }
        Ok(())
    }
}

async fn sleep_for(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Milliseconds since 1970, as timestamps in the databases are.
fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}
