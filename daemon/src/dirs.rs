//! Where sockets, pidfiles, logs and databases live, as OVN's and Open vSwitch's programs look for them.

use std::path::{Path, PathBuf};

fn from_env(names: &[&str], default: &str) -> PathBuf {
    names
        .iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// `$OVN_RUNDIR`, or `/var/run/ovn`: pidfiles, control sockets, database sockets of OVN.
pub fn ovn_rundir() -> PathBuf {
    from_env(&["OVN_RUNDIR"], "/var/run/ovn")
}

/// `$OVN_LOGDIR`, else `$OVS_LOGDIR` (which is the one stock OVN programs read), else `/var/log/ovn`.
pub fn ovn_logdir() -> PathBuf {
    from_env(&["OVN_LOGDIR", "OVS_LOGDIR"], "/var/log/ovn")
}

/// `$OVN_DBDIR`, or `/var/lib/ovn`: database files of OVN.
pub fn ovn_dbdir() -> PathBuf {
    from_env(&["OVN_DBDIR"], "/var/lib/ovn")
}

/// `$OVS_RUNDIR`, or `/var/run/openvswitch`: `db.sock` and the bridges' management sockets.
pub fn ovs_rundir() -> PathBuf {
    from_env(&["OVS_RUNDIR"], "/var/run/openvswitch")
}

/// `$OVN_SYSCONFDIR`, else `$OVS_SYSCONFDIR`, or `/etc`.
pub fn sysconfdir() -> PathBuf {
    from_env(&["OVN_SYSCONFDIR", "OVS_SYSCONFDIR"], "/etc")
}

/// Default remote of the Northbound database: `$OVN_NB_DB` or `unix:RUNDIR/ovnnb_db.sock`.
pub fn default_nb_db() -> String {
    default_db("OVN_NB_DB", "ovnnb_db.sock")
}

/// Default remote of the Southbound database: `$OVN_SB_DB` or `unix:RUNDIR/ovnsb_db.sock`.
pub fn default_sb_db() -> String {
    default_db("OVN_SB_DB", "ovnsb_db.sock")
}

/// Default remote of the local Open vSwitch database: `unix:OVS_RUNDIR/db.sock`.
pub fn default_ovs_db() -> String {
    format!("unix:{}", ovs_rundir().join("db.sock").display())
}

fn default_db(variable: &str, socket: &str) -> String {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value,
        _ => format!("unix:{}", ovn_rundir().join(socket).display()),
    }
}

/// `path` itself if it is absolute, else below `base`.
pub fn below(base: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        path.to_path_buf()
    } else {
        base.join(path)
    }
}
