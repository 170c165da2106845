//! `--ovs`: the OpenFlow flows of logical flows and other rows, found by their cookie, the beginning of the row's UUID.

use std::collections::HashMap;
use std::process::Command;

use crate::error::{Error, fail};

/// Where the integration bridge listens.
pub fn default_remote() -> String {
    format!(
        "unix:{}/br-int.mgmt",
        weft_daemon::dirs::ovs_rundir().display()
    )
}

/// Flows by cookie.
pub type Flows = HashMap<u32, Vec<String>>;

/// All flows, as `ovs-ofctl` writes them but without statistics, the highest priorities first.
pub fn flows(remote: Option<&str>) -> Result<Flows, Error> {
    let dump = dump(remote, &["--no-stats", "--sort=priority"])?;
    Ok(by_cookie(&dump, |_, flow| flow.to_owned()))
}

/// All flows, as `ovn-sbctl` lists them: table, match and actions, or all that OpenFlow tells.
pub fn listed(remote: Option<&str>, stats: bool) -> Result<Flows, Error> {
    if stats {
        return Ok(by_cookie(&dump(remote, &[])?, |line, _| line.to_owned()));
    }
    Ok(by_cookie(&dump(remote, &["--no-stats"])?, |_, flow| {
        brief(flow)
    }))
}

/// Without priority and timeouts.
fn brief(flow: &str) -> String {
    let table = flow
        .strip_prefix("table=")
        .and_then(|rest| rest.split_once(", "));
    let (table, rest) = table.unwrap_or(("0", flow));
    let Some((_, rest)) = rest.split_once("priority=") else {
        return format!("table={table} {rest}");
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("table={table} {}", rest.trim_start_matches([',', ' ']))
}

/// What `ovs-ofctl` says: it is installed wherever there is a switch to be asked.
fn dump(remote: Option<&str>, options: &[&str]) -> Result<String, Error> {
    let remote = remote.map_or_else(default_remote, str::to_string);
    let out = Command::new("ovs-ofctl")
        .arg("--protocols=OpenFlow13,OpenFlow15")
        .args(options)
        .arg("dump-flows")
        .arg(&remote)
        .output()
        .map_err(|error| Error::new(format!("ovs-ofctl: {error}")))?;
    if !out.status.success() {
        let reason = String::from_utf8_lossy(&out.stderr);
        return fail(format!(
            "{remote}: error obtaining flow stats ({})",
            reason.trim()
        ));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The flows of a dump, made by `text` from the line and what follows the cookie in it.
fn by_cookie(dump: &str, text: impl Fn(&str, &str) -> String) -> Flows {
    let mut flows = Flows::new();
    for line in dump.lines() {
        let line = line.trim();
        let Some((cookie, flow)) = line
            .strip_prefix("cookie=0x")
            .and_then(|rest| rest.split_once(", "))
        else {
            continue;
        };
        if let Ok(cookie) = u64::from_str_radix(cookie, 16) {
            flows
                .entry(cookie as u32)
                .or_default()
                .push(text(line, flow));
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_by_cookie() {
        let dump = " cookie=0x1f, table=8, priority=50,reg14=0x1 actions=resubmit(,9)\n cookie=0x1f, table=9, actions=drop\n";
        let flows = by_cookie(dump, |_, flow| flow.to_owned());
        assert_eq!(
            flows[&0x1f],
            [
                "table=8, priority=50,reg14=0x1 actions=resubmit(,9)",
                "table=9, actions=drop"
            ]
        );
        let brief = by_cookie(dump, |_, flow| brief(flow));
        assert_eq!(
            brief[&0x1f],
            [
                "table=8 reg14=0x1 actions=resubmit(,9)",
                "table=9 actions=drop"
            ]
        );
        assert_eq!(
            super::brief("priority=0 actions=drop"),
            "table=0 actions=drop"
        );
    }
}
