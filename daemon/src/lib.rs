//! What the daemons share: options, identity, detaching, pidfile, log, unixctl, counters.
//!
//! A daemon's `main` is short:
//!
//! ```no_run
//! use clap::Parser;
//! use weft_daemon::{Identity, Options};
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     daemon: Options,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let identity = Identity::of_this_process("weft-northd", "ovn-northd");
//!     let args = Args::parse_from(weft_daemon::argv());
//!     // Before this returns the process has detached: nothing may run before it.
//!     let daemon = match weft_daemon::start(identity, &args.daemon) {
//!         Ok(daemon) => daemon,
//!         Err(error) => return error.report(),
//!     };
//!     daemon.run(|context| async move {
//!         context.unixctl.register("status", "", 0..=0, |_args| async { Ok("fine".to_string()) });
//!         context.ready(); // `--detach` returns in the shell that started us
//!         context.shutdown.requested().await;
//!         Ok::<(), std::io::Error>(())
//!     })
//! }
//! ```
//!
//! What is the same as in Open vSwitch and OVN programs, because unit files, scripts and
//! `ovs-appctl` depend on it: the options of [`Options`], the names and places of pidfile, log file
//! and control socket, the lock on the pidfile, the log line, the JSON-RPC dialect of the control
//! socket and the text of its built-in commands.
//!
//! There is no `fork` here: the process starts itself again ([`start`]), so that no `unsafe` is
//! needed and no thread can exist before the daemon is in its final process.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod coverage;
pub mod dirs;
mod identity;
pub mod memory;
mod options;
mod pidfile;
mod process;
mod run;
pub mod stopwatch;
pub mod unixctl;
pub mod vlog;

pub use identity::Identity;
pub use options::{Options, argv, normalize};
pub use pidfile::{PidFile, PidFileError};
pub use process::{StartError, start};
pub use run::{Context, Daemon, Exit, Shutdown};
