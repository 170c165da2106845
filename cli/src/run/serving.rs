//! A tool as a daemon (ovn-nbctl(8), "Daemon Mode"): answers `run` on its control socket, whose path it prints when it is
//! ready. What the commands write goes back to who asked; options of the daemon's own start are where theirs say nothing.

use weft_daemon::{Context, Identity};

use super::execute;
use crate::command::Tool;
use crate::error::{Error, fail};
use crate::options::{self, Global};

/// Becomes a daemon; returns at its end.
pub(super) fn serve(tool: &'static Tool, identity: &Identity, global: Global) -> Result<(), Error> {
    let options = weft_daemon::Options {
        unixctl: global.unixctl.as_ref().map(Into::into),
        detach: true,
        monitor: global.monitor,
        no_chdir: global.no_chdir,
        pidfile: global.pidfile.clone(),
        overwrite_pidfile: global.overwrite_pidfile,
        verbose: std::iter::once("console:warn".to_string())
            .chain(global.verbose.clone())
            .collect(),
        log_file: global.log_file.clone(),
        no_syslog: true,
        ..Default::default()
    };
    let daemon = match weft_daemon::start(identity.clone(), &options) {
        Ok(daemon) => daemon,
        Err(error) => return fail(error.to_string()),
    };
    let socket = match &options.unixctl {
        Some(path) => weft_daemon::dirs::below(&weft_daemon::dirs::ovn_rundir(), path),
        None => identity.default_unixctl(),
    };
    let base = Global {
        detach: false,
        ..global
    };
    let code = daemon.run(move |context: Context| async move {
        let identity = context.identity.clone();
        let usage = "[OPTIONS] COMMAND [ARG...]";
        context
            .unixctl
            .register("run", usage, 1..=usize::MAX, move |words| {
                let (identity, base) = (identity.clone(), base.clone());
                // Talking to a database blocks.
                async move {
                    tokio::task::spawn_blocking(move || run(tool, &identity, &base, &words))
                        .await
                        .map_err(|error| error.to_string())?
                }
            });
        context.ready_saying(&socket.display().to_string());
        context.shutdown.requested().await;
        Ok::<(), Error>(())
    });
    match code == std::process::ExitCode::SUCCESS {
        true => Ok(()),
        false => fail("the daemon failed: see its log"),
    }
}

fn run(
    tool: &'static Tool,
    identity: &Identity,
    base: &Global,
    words: &[String],
) -> Result<String, String> {
    let (asked, rest) = options::parse(tool, words).map_err(|error| error.to_string())?;
    if asked.detach || asked.instead.is_some() {
        return Err("not within a daemon".to_string());
    }
    let global = Global {
        db: asked.db.clone().or_else(|| base.db.clone()),
        any_member: asked.any_member || base.any_member,
        in_order: asked.in_order || base.in_order,
        timeout: asked.timeout.or(base.timeout),
        private_key: base.private_key.clone(),
        certificate: base.certificate.clone(),
        ca_cert: base.ca_cert.clone(),
        bootstrap: base.bootstrap,
        ..asked
    };
    execute(tool, identity, global, rest, &words.join(" ")).map_err(|error| error.to_string())
}
