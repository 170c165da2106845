//! The shell around the pure core: sessions, the OpenFlow connection, timers, commands.
//!
//! One task owns everything. Whatever comes in is worked into the core; then [`Shell::step`] runs the engine and sends
//! what is to be sent. Of each sort (batch to the bridge, transaction to either database) one is under way at a time; what
//! comes meanwhile goes with the next.

mod asking;
mod bridge;
pub mod commands;
mod databases;
mod filling;
pub mod monitor;
pub mod openflow;
mod report;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use weft_daemon::Context;
use weft_daemon::audit::SelfAudit;
use weft_openflow::conn::Conn;
use weft_openflow::{CtFlush, FlowStats};
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::session::{Config, Session};
use weft_ovsdb::tls::Tls;
use weft_ovsdb::txn::TxnError;
use weft_schemas::{sb, vs};

use crate::chassis::OwnChassis;
use crate::core::Core;
use crate::install::{Installer, Subject};
use crate::lb_flush;
use crate::pinctrl::intake::Intake;
use crate::pinctrl::{Now, PinCtrl};
use crate::program::{Output, Settings};
use crate::sync::claims::Claims;
use crate::sync::vs::{Desired, Look};
use asking::Asking;
use commands::Request;
use openflow::Link;
pub use report::Grpc;
use report::{Complaint, Report, State};
use write::{Gate, Writer};

/// What the command line gives.
#[derive(Clone, Debug)]
pub struct Options {
    /// The local Open vSwitch database.
    pub vs_remote: Remotes,
    /// Where ovs-vswitchd's sockets are.
    pub ovs_rundir: PathBuf,
    /// For `ssl:` remotes, unless the database says otherwise.
    pub tls: Option<Tls>,
    /// Where gRPC is served.
    pub grpc: Grpc,
    /// Settings that units read.
    pub settings: Settings,
}

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// A fault of the program.
    #[error("the kinds of units do not fit together: {0}")]
    Graph(#[from] weft_engine::GraphError),
    /// gRPC was asked for at an address that cannot be had.
    #[error(transparent)]
    Listen(#[from] weft_proto::ListenError),
}

/// Wakes up at least so often; everything that matters wakes it at once.
const IDLE: Duration = Duration::from_secs(5);

/// What comes back from tasks.
enum Done {
    Batch {
        number: u64,
        nb_cfg: Option<i64>,
        result: Result<Vec<(Subject, String)>, String>,
    },
    /// The first filling of the bridge.
    Filled {
        number: u64,
        nb_cfg: Option<i64>,
        /// Meters that were refused: the bundle itself has been done, or nothing of it.
        refused: Vec<(Subject, String)>,
        result: Result<(), String>,
    },
    Sb(Result<(), TxnError>),
    Vs(Result<(), TxnError>),
    Packet(Result<(), TxnError>),
    /// Whether there are no ports inside of others at all.
    Checked(bool),
    Counted(Vec<FlowStats>),
}

/// Everything.
pub(crate) struct Shell {
    pub(crate) core: Core,
    pub(crate) installer: Installer,
    claims: Claims,
    desired: Desired,
    own: Option<Arc<OwnChassis>>,
    pinctrl: PinCtrl,
    /// Packets from the bridge; of them some are taken between two looks at everything else.
    intake: Intake,
    options: Options,
    context: Context,

    vs: Session<vs::Db>,
    vs_known: bool,
    pub(crate) sb: Option<Session<sb::Db>>,
    sb_remote: Option<String>,
    sb_known: bool,
    asking: Asking,

    links: mpsc::UnboundedReceiver<Link>,
    link_sender: mpsc::UnboundedSender<Link>,
    link_target: Option<(String, tokio::task::JoinHandle<()>)>,
    pub(crate) conn: Option<Conn>,

    done: mpsc::UnboundedReceiver<Done>,
    done_sender: mpsc::UnboundedSender<Done>,
    install: Gate,
    /// The bridge is empty: it is filled ahead of everything being known.
    fill: bool,
    filling: Option<filling::Filling>,
    /// Connections to forget once the flows are in.
    flushes: Vec<CtFlush>,
    sb_writer: Writer,
    vs_writer: Writer,
    /// What of the local database is to be looked at when it is written next.
    vs_look: Look,
    pub(crate) report: Arc<Report>,

    /// It has been said that there is no need for ovn-ofctrl-wait-before-clear.
    wait_noted: bool,
    /// The engine has something to run.
    stale: bool,
    /// Everything needed of the southbound has been worked in once: from then on things may be taken away.
    pub(crate) settled: bool,
    /// Number of the flow table as the engine has it.
    wanted_number: u64,
    /// Number of the flow table that is in the bridge.
    installed_number: u64,
    /// The southbound's nb_cfg that it corresponds to, and when it was in.
    installed_nb_cfg: Option<(i64, i64)>,
    started_ms: i64,
    audit: SelfAudit,
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        ms: now_ms(),
    }
}

/// Runs the controller until somebody asks it to end.
///
/// # Errors
/// Only faults of the program; everything outside that fails is tried again.
pub async fn run(options: Options, context: Context) -> Result<(), ShellError> {
    let mut config = Config::new::<vs::Db>(options.vs_remote.clone());
    config.monitored = monitor::vs_columns();
    // It is on this host, and its restart takes no time.
    config.timing.max_backoff = Duration::from_secs(1);
    config.timing.probe_interval = Duration::ZERO;
    let (link_sender, links) = mpsc::unbounded_channel();
    let (done_sender, done) = mpsc::unbounded_channel();
    let (requests_sender, mut requests) = mpsc::unbounded_channel();
    commands::register(&context.unixctl, &requests_sender);
    let core = Core::new(options.settings.clone())?;
    let vs = Session::start(config);
    let report = Arc::new(Report::new(
        context.identity.clone(),
        vs.handle(),
        core.engine().stats(),
    ));
    let _grpc = report::serve(&context, &options.grpc, Arc::clone(&report)).await?;
    let shell = Shell {
        core,
        installer: Installer::default(),
        claims: Claims::default(),
        desired: Desired::default(),
        own: None,
        pinctrl: PinCtrl::default(),
        intake: Intake::default(),
        vs,
        vs_known: false,
        sb: None,
        sb_remote: None,
        sb_known: false,
        asking: Asking::default(),
        links,
        link_sender,
        link_target: None,
        conn: None,
        done,
        done_sender,
        install: Gate::default(),
        fill: false,
        filling: None,
        flushes: Vec::new(),
        sb_writer: Writer::default(),
        vs_writer: Writer::default(),
        vs_look: Look::ALL,
        report,
        wait_noted: false,
        stale: true,
        settled: false,
        wanted_number: 0,
        installed_number: 0,
        installed_nb_cfg: None,
        started_ms: now_ms(),
        audit: SelfAudit::default(),
        options,
        context,
    };
    shell.serve(&mut requests).await;
    Ok(())
}

impl Shell {
    async fn serve(mut self, requests: &mut mpsc::UnboundedReceiver<Request>) {
        self.context.ready();
        let shutdown = self.context.shutdown.clone();
        let exit = loop {
            let pause = self.step().await;
            let sb_event = async {
                match &mut self.sb {
                    Some(session) => session.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.vs.next() => self.on_vs(event),
                event = sb_event => self.on_sb(event),
                Some(link) = self.links.recv() => self.on_link(link),
                Some(done) = self.done.recv() => self.on_done(done),
                Some(request) = requests.recv() => self.on_request(request),
                found = self.audit.finished() => if self.audit.took(found) {
                    self.core.recompute();
                    self.stale = true;
                },
                () = tokio::time::sleep(pause) => {}
                () = self.intake.ready() => {}
                exit = shutdown.requested() => break exit,
            }
            self.drain();
            self.answer_packets();
        };
        self.farewell(exit).await;
    }

    /// Takes what is there already, so that the engine runs once for all of it.
    fn drain(&mut self) {
        while let Some(event) = self.vs.try_next() {
            self.on_vs(event);
        }
        while let Some(event) = self.sb.as_mut().and_then(Session::try_next) {
            self.on_sb(event);
        }
        while let Ok(link) = self.links.try_recv() {
            self.on_link(link);
        }
        while let Ok(done) = self.done.try_recv() {
            self.on_done(done);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Batch {
                number,
                nb_cfg,
                result,
            } => {
                self.install.busy = false;
                match result {
                    Ok(refused) => {
                        self.refused(refused);
                        self.flows_are_in(number, nb_cfg);
                    }
                    // The connection is gone; the next one is read back.
                    Err(why) => tracing::warn!(target: "ofctrl", "flows not installed: {why}"),
                }
            }
            Done::Filled {
                number,
                nb_cfg,
                refused,
                result,
            } => {
                self.install.busy = false;
                self.refused(refused);
                match result {
                    Ok(()) => self.flows_are_in(number, nb_cfg),
                    Err(why) => {
                        tracing::info!(target: "ofctrl", "flows are sent anew: {why}");
                        self.installer.nothing_is_there();
                        self.install.dirty = true;
                    }
                }
            }
            Done::Sb(result) => self.sb_done(&result),
            Done::Vs(result) => self.vs_done(&result),
            Done::Packet(result) => {
                if let Err(why) = &result {
                    tracing::debug!(target: "pinctrl", "southbound: {why}");
                }
                self.pinctrl.written(&result, now());
            }
            Done::Checked(are_none) => {
                self.asking.checked(are_none, Instant::now());
                self.stale = true;
            }
            Done::Counted(flows) => {
                let effects = self.pinctrl.counted(&flows, &self.core, now());
                self.carry_out(effects);
            }
        }
    }

    /// Open vSwitch refuses what was sent to it.
    fn refused(&mut self, all: Vec<(Subject, String)>) {
        for (subject, error) in all {
            let refusal = self.installer.refused(&subject, &error);
            tracing::error!(target: "ofctrl", "Open vSwitch refused {} (logical flow {:08x}): {}",
                refusal.what, refusal.cookie, refusal.error);
        }
    }

    /// Does all that can be done now; returns how long to wait at most for something to happen.
    async fn step(&mut self) -> Duration {
        if !self.vs_known {
            return IDLE;
        }
        self.follow_settings();
        self.follow_bridge();
        if self.stale {
            // The server looks for them while we go on.
            self.core.advance();
            self.ask_for_rows().await;
            self.compute();
            self.ask_for_rows().await;
            self.settle();
        } else if self.asking.due().is_some_and(|due| due <= Instant::now()) {
            self.ask_for_rows().await;
        }
        self.check_waiting();
        let (vs, idx) = (&self.core.inputs.vs, &self.core.inputs.idx);
        let look = self.desired.follow_plugs(vs, idx, Instant::now());
        self.look_at_vs(look);
        self.start_install();
        self.start_sb();
        self.start_vs();
        let (effects, due) = self.pinctrl.tick(&self.core, now());
        self.carry_out(effects);
        self.audit_if_due();
        self.tell();
        let retry = self
            .sb_writer
            .due()
            .into_iter()
            .chain(self.vs_writer.due())
            .min();
        let now = Instant::now();
        let retry = retry.map(|then| then.saturating_duration_since(now));
        let audit = self.audit.due().filter(|due| *due > now);
        let audit = audit.map(|due| due.duration_since(now));
        let rows = self.asking.due();
        let rows = rows.map(|due| due.saturating_duration_since(now));
        [Some(IDLE), due, retry, audit, rows]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(IDLE)
            .max(Duration::from_millis(1))
    }

    /// Runs the engine and hands out what came of it.
    pub(super) fn compute(&mut self) {
        self.stale = false;
        let delta = self.core.run();
        self.report.computed(&delta, self.settled);
        if delta.stalled {
            tracing::error!(target: "controller", "the engine did not come to rest");
        }
        // The number rises with every run: what counts is what the southbound was when it ran.
        self.wanted_number += 1;
        self.installer
            .apply(delta.removed.iter(), delta.added.iter());
        self.pinctrl.apply(&delta, now());
        let gone = lb_flush::gone(delta.removed.iter(), &self.core.inputs.sb);
        self.flushes.extend(gone);
        if self
            .claims
            .apply(delta.removed.iter(), delta.added.iter(), self.wanted_number)
        {
            self.sb_writer.gate.dirty = true;
            self.look_at_vs(Look::INTERFACES);
        }
        let look = self.desired.apply(delta.removed.iter(), delta.added.iter());
        self.look_at_vs(look);
        for output in &delta.removed {
            if let Output::Chassis(own) = output
                && self.own.as_ref() == Some(own)
            {
                self.own = None;
                self.sb_writer.gate.dirty = true;
            }
        }
        for output in &delta.added {
            if let Output::Chassis(own) = output {
                self.own = Some(Arc::clone(own));
                self.sb_writer.gate.dirty = true;
            }
        }
        self.install.dirty = true;
    }

    /// Begins an audit if it is time. While there is something to compute it waits: that ends soon, and makes itself felt.
    fn audit_if_due(&mut self) {
        let now = Instant::now();
        if self.settled && !self.stale && self.audit.is_due(now) {
            self.audit.begin(self.core.audit_aside(), now);
        }
    }

    /// Brings up to date what operators are told.
    fn tell(&mut self) {
        let refused = self.installer.refusals().map(Complaint::of_flow);
        let refused = refused
            .chain(self.sb_writer.complaints())
            .chain(self.vs_writer.complaints());
        let unplugged = self.desired.plugs().refused();
        let refused = refused.chain(unplugged.map(|(port, name, why)| Complaint {
            database: "OVN_Southbound",
            table: "Port_Binding",
            uuid: Some(port),
            row: name.to_string(),
            reason: format!("not plugged: {why}"),
        }));
        self.report.refused(refused.collect());
        self.report.set_state(if self.settled {
            State::Active
        } else {
            State::Waiting
        });
        let numbers = [
            ("flows", self.installer.wanted_count()),
            ("outputs", self.core.engine().output_count()),
            ("facts", self.core.engine().fact_count()),
            ("local_datapaths", self.core.local_datapaths().0.len()),
        ];
        self.report.set_counts(numbers);
    }
}
