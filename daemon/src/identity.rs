//! Which program this process is: under an `ovn-` name it is that program.

use std::path::{Path, PathBuf};

use crate::dirs;

/// The name a program goes by; names of pidfile, control socket and log file follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: &'static str,
}

impl Identity {
    /// `ovn` if `argv[0]`'s last component is that, else `weft`.
    pub fn of_this_process(weft: &'static str, ovn: &'static str) -> Self {
        let argv0 = std::env::args_os().next().unwrap_or_default();
        Self::of(Path::new(&argv0), weft, ovn)
    }

    /// As [`Self::of_this_process`], with the given `argv[0]`.
    pub fn of(argv0: &Path, weft: &'static str, ovn: &'static str) -> Self {
        let is_ovn = argv0.file_name().is_some_and(|name| name == ovn);
        Self {
            name: if is_ovn { ovn } else { weft },
        }
    }

    /// `weft-northd` or `ovn-northd`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// First line of `--version` and of unixctl's `version`.
    pub fn version(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.name.starts_with("ovn-") {
            format!("{} (Weft) {version}", self.name)
        } else {
            format!("{} {version}", self.name)
        }
    }

    /// `RUNDIR/NAME.pid`.
    pub fn default_pidfile(&self) -> PathBuf {
        dirs::ovn_rundir().join(format!("{}.pid", self.name))
    }

    /// `LOGDIR/NAME.log`.
    pub fn default_log_file(&self) -> PathBuf {
        dirs::ovn_logdir().join(format!("{}.log", self.name))
    }

    /// `RUNDIR/NAME.PID.ctl`, where `ovs-appctl` and `ovn-appctl` look for a program.
    pub fn default_unixctl(&self) -> PathBuf {
        dirs::ovn_rundir().join(format!("{}.{}.ctl", self.name, std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_argv0() {
        let of = |argv0: &str| Identity::of(Path::new(argv0), "weft-northd", "ovn-northd").name();
        assert_eq!(of("/usr/bin/ovn-northd"), "ovn-northd");
        assert_eq!(of("ovn-northd"), "ovn-northd");
        assert_eq!(of("/target/debug/weft-northd"), "weft-northd");
        assert_eq!(of("/target/debug/deps/northd-0123abc"), "weft-northd");
    }
}
