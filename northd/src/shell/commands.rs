//! Commands on the control socket, as `ovn-northd(8)` documents them, and a few of our own.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use weft_daemon::unixctl::Unixctl;

use super::report::Report;

/// Which database.
#[derive(Clone, Copy, Debug)]
pub enum Database {
    /// Northbound.
    North,
    /// Southbound.
    South,
}

/// What the main task is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Give up the lock and write nothing.
    Pause,
    /// The opposite.
    Resume,
    /// Compile everything anew and compare.
    Recompute,
    /// The same, but only tell.
    Audit(oneshot::Sender<Vec<String>>),
    /// Connect anew, forgetting what was known of the cluster.
    Reconnect(Database),
    /// Draw the graph of kinds.
    Dot(oneshot::Sender<String>),
}

/// Adds the commands.
pub fn register(unixctl: &Unixctl, report: &Arc<Report>, to: &mpsc::UnboundedSender<Command>) {
    let order = |name: &str, command: fn() -> Command| {
        let to = to.clone();
        unixctl.register(name, "", 0..=0, move |_| {
            // The main task ends only together with the process.
            let _ = to.send(command());
            async { Ok(String::new()) }
        });
    };
    order("pause", || Command::Pause);
    order("resume", || Command::Resume);
    order("recompute", || Command::Recompute);
    order("inc-engine/recompute", || Command::Recompute);
    order("nb-cluster-state-reset", || {
        Command::Reconnect(Database::North)
    });
    order("sb-cluster-state-reset", || {
        Command::Reconnect(Database::South)
    });

    let tell = |name: &str, text: fn(&Report) -> String| {
        let report = report.clone();
        unixctl.register(name, "", 0..=0, move |_| {
            let text = text(&report);
            async move { Ok(text) }
        });
    };
    tell("status", |r| format!("Status: {}\n", r.state().name()));
    tell("is-paused", |r| {
        format!("{}\n", r.state() == super::State::Paused)
    });
    tell("nb-connection-status", |r| format!("{}\n", r.nb_status()));
    tell("sb-connection-status", |r| format!("{}\n", r.sb_status()));
    tell("inc-engine/show-stats", Report::engine_text);
    tell("inc-engine/clear-stats", |r| {
        r.clear_stats();
        String::new()
    });
    tell("diagnostics", Report::diagnostics_text);
    tell("parallel-build/get-n-threads", |_| {
        format!("{}\n", rayon::current_num_threads())
    });

    ask(
        unixctl,
        "audit",
        to,
        Command::Audit,
        |differences| match differences.len() {
            0 => "a fresh start gives the same\n".to_owned(),
            n => format!(
                "{n} differences to a fresh start:\n{}\n",
                differences.join("\n")
            ),
        },
    );
    ask(unixctl, "inc-engine/dot", to, Command::Dot, |dot| dot);
}

/// A command whose answer the main task gives.
fn ask<T: Send + 'static>(
    unixctl: &Unixctl,
    name: &str,
    to: &mpsc::UnboundedSender<Command>,
    command: fn(oneshot::Sender<T>) -> Command,
    text: fn(T) -> String,
) {
    let to = to.clone();
    unixctl.register(name, "", 0..=0, move |_| {
        let (tell, told) = oneshot::channel();
        let sent = to.send(command(tell)).is_ok();
        async move {
            match told.await {
                Ok(answer) if sent => Ok(text(answer)),
                _ => Err("the daemon is ending".to_owned()),
            }
        }
    });
}
