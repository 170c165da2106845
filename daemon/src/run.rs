//! The daemon's process from start to exit: runtime, control socket, signals, readiness.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::pidfile::PidFile;
use crate::process::Readiness;
use crate::unixctl::{self, Unixctl};
use crate::{Identity, Options, coverage, dirs};

/// How somebody asked the daemon to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// `exit --restart`: another one will follow, so what is in place is to stay.
    pub restart: bool,
    /// The signal, if it was one (SIGTERM, SIGINT or SIGHUP).
    pub signal: Option<i32>,
}

/// Wish to end, shared by everyone who can express it and everyone who has to obey.
#[derive(Clone, Debug)]
pub struct Shutdown {
    wish: watch::Sender<Option<Exit>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            wish: watch::Sender::new(None),
        }
    }
}

impl Shutdown {
    /// Asks the daemon to end; the first wish counts.
    pub fn request(&self, exit: Exit) {
        self.wish.send_if_modified(|wish| {
            let first = wish.is_none();
            wish.get_or_insert(exit);
            first
        });
    }

    /// Returns when (or as soon as) somebody has asked.
    pub async fn requested(&self) -> Exit {
        let mut wish = self.wish.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        match wish.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or_default(),
            Err(_) => Exit::default(),
        }
    }

    /// What has been asked so far.
    pub fn get(&self) -> Option<Exit> {
        *self.wish.borrow()
    }
}

/// What a daemon's main task works with; clones share everything.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who we are.
    pub identity: Identity,
    /// The control socket: register commands here.
    pub unixctl: Unixctl,
    /// Wait here for `exit`, SIGTERM, SIGINT and SIGHUP.
    pub shutdown: Shutdown,
    readiness: Arc<Mutex<Readiness>>,
}

impl Context {
    /// A context without process, socket or signals around it, for tests.
    pub fn detached(identity: Identity) -> Self {
        let shutdown = Shutdown::default();
        let unixctl = Unixctl::new(identity.clone(), shutdown.clone());
        Self {
            identity,
            unixctl,
            shutdown,
            readiness: Arc::default(),
        }
    }

    /// The daemon serves: `--detach` returns, systemd hears `READY=1`. Later calls do nothing.
    pub fn ready(&self) {
        self.ready_saying("");
    }

    /// The same, and whoever started the daemon reads this line on standard output, unless it is empty.
    pub fn ready_saying(&self, line: &str) {
        let mut readiness = self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *readiness).tell(line);
    }

    /// Runs a task the daemon cannot live without: a panic in it aborts the process, so that the
    /// monitor or the service manager starts a fresh one.
    pub fn spawn_vital<F>(&self, name: &'static str, task: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(task);
        tokio::spawn(async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(target: "daemon", "task {name} panicked, aborting");
                std::process::abort();
            }
        })
    }
}

/// A process that has detached, opened its log and taken its pidfile; see [`crate::start`].
#[derive(Debug)]
pub struct Daemon {
    identity: Identity,
    unixctl_path: Option<PathBuf>,
    pidfile: Option<PidFile>,
    readiness: Readiness,
    one_thread: bool,
}

impl Daemon {
    pub(crate) fn new(
        identity: Identity,
        options: &Options,
        pidfile: Option<PidFile>,
        readiness: Readiness,
    ) -> Self {
        let unixctl_path = match &options.unixctl {
            None => Some(identity.default_unixctl()),
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(dirs::below(&dirs::ovn_rundir(), path)),
        };
        Self {
            identity,
            unixctl_path,
            pidfile,
            readiness,
            one_thread: false,
        }
    }

    /// Connections are served by the thread that runs `main`, between what it does, instead of by threads of their own: for
    /// daemons that mostly wait for others. A change that goes through several tasks costs no change of threads, and
    /// memory that one of them frees is there for the next.
    #[must_use]
    pub fn on_one_thread(mut self) -> Self {
        self.one_thread = true;
        self
    }

    /// Builds the runtime, serves the control socket and runs `main` until it returns.
    ///
    /// An error that `main` returns is logged and becomes exit code 1. Socket and pidfile are gone
    /// when this returns. A panic in `main` aborts the process.
    pub fn run<M, F, E>(self, main: M) -> ExitCode
    where
        M: FnOnce(Context) -> F,
        F: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut runtime = match self.one_thread {
            true => tokio::runtime::Builder::new_current_thread(),
            false => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = match runtime.enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(target: "daemon", "cannot start the runtime ({error})");
                return ExitCode::FAILURE;
            }
        };
        let Self {
            identity,
            unixctl_path,
            pidfile,
            readiness,
            one_thread: _,
        } = self;
        let context = Context {
            readiness: Arc::new(Mutex::new(readiness)),
            ..Context::detached(identity)
        };
        let abort_on_panic = AbortOnPanic;
        let code = runtime.block_on(async {
            if let Err(error) = watch_signals(context.shutdown.clone()) {
                tracing::error!(target: "daemon", "cannot handle signals ({error})");
                return ExitCode::FAILURE;
            }
            tokio::spawn(coverage::sample_forever());
            let _socket = match unixctl_path.map(|path| unixctl::bind(&path, &context.unixctl)) {
                None => None,
                Some(Ok(socket)) => Some(socket),
                Some(Err(error)) => {
                    tracing::error!(target: "unixctl", "{error}");
                    eprintln!("{}: {error}", context.identity.name());
                    return ExitCode::FAILURE;
                }
            };
            match main(context).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(target: "daemon", "{error}");
                    ExitCode::FAILURE
                }
            }
        });
        std::mem::forget(abort_on_panic);
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        drop(pidfile);
        code
    }
}

/// Dropped only while a panic unwinds through [`Daemon::run`].
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        tracing::error!(target: "daemon", "panic in the main task, aborting");
        std::process::abort();
    }
}

fn watch_signals(shutdown: Shutdown) -> std::io::Result<()> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut stream = signal(kind)?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            if stream.recv().await.is_some() {
                shutdown.request(Exit {
                    restart: false,
                    signal: Some(kind.as_raw_value()),
                });
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_wish_to_end_counts() {
        let shutdown = Shutdown::default();
        assert_eq!(shutdown.get(), None);
        shutdown.request(Exit {
            restart: true,
            signal: None,
        });
        shutdown.request(Exit {
            restart: false,
            signal: Some(15),
        });
        assert_eq!(
            shutdown.requested().await,
            Exit {
                restart: true,
                signal: None
            }
        );
    }
}
