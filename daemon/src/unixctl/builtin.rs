//! The commands every daemon has.

use super::{Reply, Unixctl};
use crate::run::Exit;
use crate::{Identity, Shutdown, coverage, memory, stopwatch, vlog};

/// Registers a command that answers at once.
fn sync<H>(
    unixctl: &Unixctl,
    name: &str,
    usage: &str,
    args: std::ops::RangeInclusive<usize>,
    handler: H,
) where
    H: Fn(&[String]) -> Reply + Send + Sync + 'static,
{
    unixctl.register(name, usage, args, move |args| {
        std::future::ready(handler(&args))
    });
}

fn done<E: ToString>(result: Result<(), E>) -> Reply {
    result
        .map(|()| String::new())
        .map_err(|error| error.to_string())
}

pub(super) fn register(unixctl: &Unixctl, identity: Identity, shutdown: Shutdown) {
    let all = unixctl.clone();
    sync(unixctl, "list-commands", "", 0..=0, move |_| Ok(all.list()));
    sync(unixctl, "version", "", 0..=0, move |_| {
        Ok(identity.version())
    });
    sync(unixctl, "exit", "[--restart]", 0..=1, move |args| {
        match args.first().map(String::as_str) {
            None => shutdown.request(Exit::default()),
            Some("--restart") => shutdown.request(Exit {
                restart: true,
                signal: None,
            }),
            Some(other) => return Err(format!("unknown argument {other}")),
        }
        Ok(String::new())
    });
    register_vlog(unixctl);
    sync(
        unixctl,
        "coverage/show",
        "",
        0..=0,
        |_| Ok(coverage::show()),
    );
    sync(unixctl, "coverage/read-counter", "COUNTER", 1..=1, |args| {
        coverage::read(&args[0])
            .map(|n| n.to_string())
            .ok_or_else(|| "No such counter".to_string())
    });
    sync(unixctl, "memory/show", "", 0..=0, |_| Ok(memory::show()));
    sync(unixctl, "stopwatch/show", "[NAME]", 0..=1, |args| {
        stopwatch::show(args.first().map(String::as_str)).map_err(|error| error.to_string())
    });
    sync(unixctl, "stopwatch/reset", "[NAME]", 0..=1, |args| {
        done(stopwatch::reset(args.first().map(String::as_str)))
    });
}

fn register_vlog(unixctl: &Unixctl) {
    let any = 0..=usize::MAX;
    sync(
        unixctl,
        "vlog/set",
        "{spec | PATTERN:destination:pattern}",
        1..=usize::MAX,
        |args| done(args.iter().try_for_each(|spec| vlog::set(spec))),
    );
    sync(unixctl, "vlog/list", "", 0..=0, |_| Ok(vlog::list()));
    sync(unixctl, "vlog/list-pattern", "", 0..=0, |_| {
        Ok(vlog::list_patterns())
    });
    sync(unixctl, "vlog/reopen", "", 0..=0, |_| done(vlog::reopen()));
    sync(unixctl, "vlog/close", "", 0..=0, |_| {
        vlog::close();
        Ok(String::new())
    });
    // Messages that could repeat are not rate limited but logged when a state changes, so there is
    // nothing to switch.
    sync(
        unixctl,
        "vlog/enable-rate-limit",
        "[module]...",
        any.clone(),
        |_| Ok(String::new()),
    );
    sync(
        unixctl,
        "vlog/disable-rate-limit",
        "[module]...",
        any,
        |_| Ok(String::new()),
    );
}
