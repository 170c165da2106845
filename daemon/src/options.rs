//! The options every daemon takes, spelled as OVN's unit files and `ovn-ctl` pass them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Daemon, logging and TLS options; `#[command(flatten)]` it into a daemon's arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Override the default control socket name ("none" for no socket).
    #[arg(long, value_name = "SOCKET")]
    pub unixctl: Option<PathBuf>,

    /// Run in background as a daemon; returns when the daemon is ready.
    #[arg(long, help_heading = "Daemon options")]
    pub detach: bool,
    /// Create a process that starts the daemon again when a signal kills it.
    #[arg(long, help_heading = "Daemon options")]
    pub monitor: bool,
    /// Change the daemon's user and group.
    #[arg(long, value_name = "USER[:GROUP]", help_heading = "Daemon options")]
    pub user: Option<String>,
    /// Do not change directory to "/".
    #[arg(long, help_heading = "Daemon options")]
    pub no_chdir: bool,
    /// Create a pidfile (default: RUNDIR/PROGRAM.pid).
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = path_or_default,
          help_heading = "Daemon options")]
    pub pidfile: Option<PathBuf>,
    /// With --pidfile, start even if already running.
    #[arg(long, help_heading = "Daemon options")]
    pub overwrite_pidfile: bool,

    /// Set logging levels: words MODULE, console|syslog|file, off|emer|err|warn|info|dbg; alone: dbg.
    #[arg(short = 'v', long, value_name = "SPEC", num_args = 0..=1, require_equals = true,
          default_missing_value = "", action = clap::ArgAction::Append,
          help_heading = "Logging options")]
    pub verbose: Vec<String>,
    /// Log to FILE (default: LOGDIR/PROGRAM.log).
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = path_or_default,
          help_heading = "Logging options")]
    pub log_file: Option<PathBuf>,
    /// How to reach the syslog daemon: null, unix:FILE, udp:IP:PORT or libc (which means /dev/log).
    #[arg(long, value_name = "METHOD", help_heading = "Logging options")]
    pub syslog_method: Option<String>,
    /// Also send log messages to HOST:PORT via UDP.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Logging options")]
    pub syslog_target: Option<String>,
    /// Log to syslog only warnings and worse.
    #[arg(long, help_heading = "Logging options")]
    pub no_syslog: bool,

    /// File with our private key.
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "TLS options")]
    pub private_key: Option<PathBuf>,
    /// File with the certificate for our private key.
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "TLS options")]
    pub certificate: Option<PathBuf>,
    /// File with the CA certificate that peers must have been signed with.
    #[arg(short = 'C', long, value_name = "FILE", help_heading = "TLS options")]
    pub ca_cert: Option<PathBuf>,
    /// As --ca-cert, but the file is written from the first peer's chain if it does not exist.
    #[arg(long, value_name = "FILE", help_heading = "TLS options")]
    pub bootstrap_ca_cert: Option<PathBuf>,
    /// List of TLS protocols to enable.
    #[arg(long, value_name = "PROTOS", help_heading = "TLS options")]
    pub ssl_protocols: Option<String>,
    /// List of TLS ciphers to enable.
    #[arg(long, value_name = "CIPHERS", help_heading = "TLS options")]
    pub ssl_ciphers: Option<String>,
}

/// Clap's own path parser refuses the empty path, which here stands for "where it usually is".
fn path_or_default(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// This process's arguments in the form clap understands, see [`normalize`].
pub fn argv() -> Vec<OsString> {
    normalize(std::env::args_os())
}

/// Rewrites what getopt takes and clap does not: `-vSPEC` becomes `--verbose=SPEC`.
///
/// Arguments after `--` stay as they are.
pub fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut verbatim = false;
    args.into_iter()
        .map(|arg| {
            verbatim |= arg == "--";
            match arg.as_bytes().strip_prefix(b"-v") {
                Some(spec) if !verbatim && !spec.is_empty() => {
                    OsString::from_vec([b"--verbose=", spec].concat())
                }
                _ => arg,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        daemon: Options,
        database: Option<String>,
    }

    fn parse(args: &[&str]) -> Args {
        Args::parse_from(normalize(args.iter().map(OsString::from)))
    }

    #[test]
    fn what_ovn_ctl_passes_is_understood() {
        let args = parse(&[
            "ovn-controller",
            "unix:/var/run/openvswitch/db.sock",
            "-vconsole:emer",
            "-vsyslog:err",
            "-vfile:info",
            "--private-key=key",
            "-c",
            "cert",
            "-C",
            "ca",
            "--no-chdir",
            "--log-file=/var/log/ovn/ovn-controller.log",
            "--pidfile=/var/run/ovn/ovn-controller.pid",
            "--detach",
            "--monitor",
        ]);
        assert_eq!(
            args.database.as_deref(),
            Some("unix:/var/run/openvswitch/db.sock")
        );
        let daemon = args.daemon;
        assert_eq!(daemon.verbose, ["console:emer", "syslog:err", "file:info"]);
        assert!(daemon.detach && daemon.monitor && daemon.no_chdir);
        assert_eq!(daemon.private_key, Some("key".into()));
        assert_eq!(daemon.ca_cert, Some("ca".into()));
        assert_eq!(
            daemon.pidfile,
            Some("/var/run/ovn/ovn-controller.pid".into())
        );
    }

    #[test]
    fn optional_values_may_be_absent() {
        let args = parse(&["x", "--pidfile", "--log-file", "-v", "db"]);
        assert_eq!(args.daemon.pidfile, Some("".into()));
        assert_eq!(args.daemon.log_file, Some("".into()));
        assert_eq!(args.daemon.verbose, [""]);
        assert_eq!(args.database.as_deref(), Some("db"));
        assert_eq!(parse(&["x"]).daemon.pidfile, None);
    }
}
