//! `--ovs`: the OpenFlow flows of logical ones, found by their cookie.

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

/// All flows by cookie, as `ovs-ofctl` writes them but without statistics: it is installed wherever there is a switch
/// to be asked.
pub fn flows(remote: Option<&str>) -> Result<HashMap<u32, Vec<String>>, Error> {
    let remote = remote.map_or_else(default_remote, str::to_string);
    let out = Command::new("ovs-ofctl")
        .args([
            "--protocols=OpenFlow13,OpenFlow15",
            "--no-stats",
            "--sort=priority",
            "dump-flows",
        ])
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
    Ok(by_cookie(&String::from_utf8_lossy(&out.stdout)))
}

fn by_cookie(dump: &str) -> HashMap<u32, Vec<String>> {
    let mut flows: HashMap<u32, Vec<String>> = HashMap::new();
    for line in dump.lines() {
        let Some((cookie, flow)) = line
            .trim()
            .strip_prefix("cookie=0x")
            .and_then(|rest| rest.split_once(", "))
        else {
            continue;
        };
        if let Ok(cookie) = u64::from_str_radix(cookie, 16) {
            flows
                .entry(cookie as u32)
                .or_default()
                .push(flow.to_string());
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
        let flows = by_cookie(dump);
        assert_eq!(
            flows[&0x1f],
            [
                "table=8, priority=50,reg14=0x1 actions=resubmit(,9)",
                "table=9, actions=drop"
            ]
        );
    }
}
