//! `weft-trace`: what would happen to a packet in the logical network (ovn-trace(8)).
//!
//! [`model`] reads the southbound database, [`microflow`] makes the packet, [`engine`] follows it, [`tree`] writes
//! down what was seen. Only this file and [`openflow`] talk to anybody.

pub mod args;
pub mod engine;
pub mod explain;
pub mod flow_text;
pub mod microflow;
pub mod model;
mod names;
mod packets;
mod port_security;
pub mod tree;

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use weft_daemon::{Context, Identity, vlog};
use weft_lang::field;
use weft_ovsdb::client;
use weft_ovsdb::model::Database as _;
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::session::{Config, Event, Monitored, Session};
use weft_schemas::{nb, sb};

use crate::error::{Error, fail};
use args::Args;
use engine::{Choices, Trace};
use explain::Acls;
use model::{Found, Model};

/// Tables that a trace looks at.
const TABLES: &[sb::TableId] = &[
    sb::TableId::LogicalFlow,
    sb::TableId::LogicalDpGroup,
    sb::TableId::DatapathBinding,
    sb::TableId::PortBinding,
    sb::TableId::MulticastGroup,
    sb::TableId::AddressSet,
    sb::TableId::PortGroup,
    sb::TableId::MacBinding,
    sb::TableId::StaticMacBinding,
    sb::TableId::Fdb,
    sb::TableId::LoadBalancer,
];

/// Stack for following a packet: every table that it passes is a few calls deep.
const STACK_BYTES: usize = 512 << 20;

/// `main` of the program.
pub fn main() -> ExitCode {
    let mut argv = std::env::args();
    let argv0 = argv.next().unwrap_or_default();
    let identity = Identity::of(Path::new(&argv0), "weft-trace", "ovn-trace");
    let words: Vec<String> = argv.collect();
    match run(&identity, &words) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}", identity.name());
            ExitCode::FAILURE
        }
    }
}

fn run(identity: &Identity, words: &[String]) -> Result<ExitCode, Error> {
    let mut args = Args::parse(words)?;
    if args.help {
        return print(&args::help(identity.name()));
    }
    if args.version {
        return print(&format!("{}\n", identity.version()));
    }
    if args.daemon.detach || args.daemon.unixctl.is_some() && args.words.is_empty() {
        if !args.words.is_empty() {
            return fail("non-option arguments not supported with --detach (use --help for help)");
        }
        return serve(identity, args);
    }
    if !matches!(args.words.len(), 1 | 2) {
        return fail("one or two non-option arguments are required (use --help for help)");
    }
    // A tool says on the console what went wrong, not what it does.
    args.daemon.verbose.insert(0, "console:warn".to_string());
    args.daemon.no_syslog = true;
    vlog::init(identity, &args.daemon)
        .and_then(|()| vlog::open_log_file())
        .map_err(|error| Error::new(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Error::new(error.to_string()))?;
    let db = runtime.block_on(load(&args))?;
    let acls = match args.explain {
        true => runtime.block_on(acls(&args))?,
        false => Acls::default(),
    };
    print(&answer(&db, &args, &acls))
}

fn print(text: &str) -> Result<ExitCode, Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error.to_string()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The northbound's ACLs. That they cannot be had is an error only for one who said where they are: the southbound is all
/// that a trace needs.
async fn acls(args: &Args) -> Result<Acls, Error> {
    let remote = args
        .nb_db
        .clone()
        .unwrap_or_else(weft_daemon::dirs::default_nb_db);
    let remotes: Remotes = remote
        .parse()
        .map_err(|error| Error::new(format!("{remote}: {error}")))?;
    let tls = args.tls();
    let options = client::Options {
        tls: tls.clone(),
        ..client::Options::default()
    };
    if let Err(error) = client::Client::connect(&remotes, &options).await {
        return match args.nb_db {
            Some(_) => fail(format!("{remotes}: {error}")),
            None => Ok(Acls::default()),
        };
    }
    let mut session = Session::<nb::Db>::start(Config {
        tls,
        leader_only: !args.any_member,
        monitored: Monitored::none::<nb::Db>().table(nb::TableId::Acl as u8, u64::MAX),
        ..Config::new::<nb::Db>(remotes)
    });
    loop {
        if let Event::Snapshot(updates) = session.next().await {
            let mut db = nb::Db::default();
            db.replace(updates);
            let mut acls = Acls::default();
            db.acl.iter().for_each(|(uuid, row)| acls.add(uuid, row));
            return Ok(acls);
        }
    }
}

fn config(args: &Args) -> Result<Config, Error> {
    let remote = args
        .db
        .clone()
        .unwrap_or_else(weft_daemon::dirs::default_sb_db);
    let remotes: Remotes = remote
        .parse()
        .map_err(|error| Error::new(format!("{remote}: {error}")))?;
    let monitored = TABLES
        .iter()
        .fold(Monitored::none::<sb::Db>(), |all, table| {
            all.table(*table as u8, u64::MAX)
        });
    Ok(Config {
        tls: args.tls(),
        leader_only: !args.any_member,
        monitored,
        ..Config::new::<sb::Db>(remotes)
    })
}

/// The database as it is now. A session would wait for one that cannot be reached; a tool says so at once.
async fn load(args: &Args) -> Result<sb::Db, Error> {
    let config = config(args)?;
    let options = client::Options {
        tls: config.tls.clone(),
        ..client::Options::default()
    };
    client::Client::connect(&config.remotes, &options)
        .await
        .map_err(|error| Error::new(format!("{}: {error}", config.remotes)))?;
    let mut session = Session::<sb::Db>::start(config);
    loop {
        if let Event::Snapshot(updates) = session.next().await {
            let mut db = sb::Db::default();
            db.replace(updates);
            return Ok(db);
        }
    }
}

/// Everything the user asked for, as text; also what is wrong with the question.
pub fn answer(db: &sb::Db, args: &Args, acls: &Acls) -> String {
    let traced = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = || {
            let model = Model::new(db, !args.unfriendly);
            trace(&model, args, acls)
        };
        match thread.spawn_scoped(scope, work) {
            Ok(handle) => handle
                .join()
                .unwrap_or_else(|_| fail("the trace failed: see the error above")),
            Err(error) => fail(error.to_string()),
        }
    });
    traced.unwrap_or_else(|error| format!("{error}\n"))
}

/// Writes a tree down.
type Form = fn(&[tree::Node]) -> String;

/// One trace.
pub fn trace(model: &Model, args: &Args, acls: &Acls) -> Result<String, Error> {
    let (datapath, text) = match args.words.as_slice() {
        [text] => (None, text),
        [datapath, text] => (Some(datapath), text),
        _ => return fail("one or two non-option arguments are required (use --help for help)"),
    };
    let given = match datapath.map(|name| (name, model.datapath(name))) {
        None => None,
        Some((_, Found::One(at))) => Some(at),
        Some((name, Found::Many)) => {
            return fail(format!("name \"{name}\" matches multiple datapaths"));
        }
        Some((name, Found::None)) => return fail(format!("unknown datapath \"{name}\"")),
    };
    let expr = microflow::parse(text)?;
    let dp = match given {
        Some(dp) => dp,
        None => {
            let name = microflow::inport(&expr)?;
            let Some((dp, _)) = model.port(&name) else {
                return fail(format!("unknown port \"{name}\""));
            };
            dp
        }
    };
    let packet = microflow::packet(&expr, &model.env(dp))?;
    if packet.get(field::INPORT) == 0 {
        tracing::warn!(target: "ovntrace", "microflow does not specify ingress port");
    }
    let mut out = format!("# {}\n", flow_text::flow(&packet));
    let mut choices = Choices {
        ct: args.ct.clone(),
        lb_dst: args.lb_dst,
        select_id: args.select_id,
        random: std::hash::RandomState::new().build_hasher().finish(),
        openflow: None,
    };
    if let Some(remote) = &args.ovs {
        match crate::bridge::flows(remote.as_deref()) {
            Ok(flows) => choices.openflow = Some(flows),
            Err(error) => out.push_str(&format!("{error}\n")),
        }
    }
    let (tree, fates, decided) = Trace::run(model, &choices, dp, &packet);
    let several =
        usize::from(args.detailed) + usize::from(args.summary) + usize::from(args.minimal) > 1;
    let forms: [(bool, &str, Form); 3] = [
        (args.detailed, "# Detailed trace.\n", tree::detailed),
        (args.summary, "# Summary trace.\n", tree::summary),
        (args.minimal, "# Minimal trace.\n", tree::minimal),
    ];
    for (_, banner, form) in forms.iter().filter(|(wanted, ..)| *wanted) {
        if several {
            out.push_str(banner);
        }
        out.push_str(&form(&tree));
    }
    if args.explain {
        out.push_str(&explain::line(&fates, &decided, acls));
    }
    Ok(out)
}

/// `--detach`: keeps a replica and answers `trace` on the control socket (ovn-trace(8), "Daemon Mode").
fn serve(identity: &Identity, args: Args) -> Result<ExitCode, Error> {
    let config = config(&args)?;
    let daemon = match weft_daemon::start(identity.clone(), &args.daemon) {
        Ok(daemon) => daemon,
        Err(error) => return Ok(error.report()),
    };
    Ok(daemon.run(move |context: Context| async move {
        let db: Arc<Mutex<sb::Db>> = Arc::default();
        let replica = Arc::clone(&db);
        context.unixctl.register("trace", "[OPTIONS] [DATAPATH] MICROFLOW", 1..=usize::MAX, move |words| {
            let (replica, defaults) = (Arc::clone(&replica), args.clone());
            async move {
                let asked = Args::parse(&words).map_err(|error| error.to_string())?;
                let unfriendly = asked.unfriendly || defaults.unfriendly;
                let ovs = asked.ovs.clone().or(defaults.ovs);
                let asked = Args { unfriendly, ovs, ..asked };
                let work = move || answer(&replica.lock().unwrap_or_else(PoisonError::into_inner), &asked, &Acls::default());
                tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
            }
        });
        let mut session = Session::<sb::Db>::start(config);
        loop {
            tokio::select! {
                event = session.next() => {
                    let mut db = db.lock().unwrap_or_else(PoisonError::into_inner);
                    match event {
                        Event::Snapshot(updates) => {
                            db.replace(updates);
                            context.ready();
                        }
                        Event::Updates(updates) => updates.into_iter().for_each(|update| { db.apply(update); }),
                        _ => {}
                    }
                }
                _ = context.shutdown.requested() => return Ok::<(), Error>(()),
            }
        }
    }))
}
