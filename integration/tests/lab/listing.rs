//! Logical flows with the OpenFlow flows they became.

use weft_integration::{Impls, Lab};

/// What a program prints with the options given: lines sorted, for the order within a row is left open, and without what
/// counts and ages.
fn listed(lab: &Lab, sbctl: &str, options: &str) -> Vec<String> {
    let remote = lab.host_dir("h1").join("br-int.mgmt");
    let options = options.replace("REMOTE", &format!("unix:{}", remote.display()));
    let db = lab.socket("sb");
    let text = lab.run("h1", &format!("{sbctl} --db={db} {options}")).ok();
    let lasting = |word: &&str| {
        let counts = ["duration=", "n_packets=", "n_bytes=", "idle_age="];
        !counts.iter().any(|name| word.starts_with(name))
    };
    let line = |line: &str| {
        // Members of groups are in no order.
        let (line, members) = line.split_once("ports=(").unwrap_or((line, ""));
        let mut members: Vec<&str> = members.trim_end_matches(')').split(", ").collect();
        members.sort_unstable();
        let words: Vec<&str> = line.split(' ').filter(lasting).collect();
        format!("{}{members:?}", words.join(" "))
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

/// The same as stock's, for the same databases and the same bridge.
pub fn logical_flows_with_those_of_the_bridge(impls: Impls) {
    let lab = Lab::new(impls, 1);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2'
            lr-add r
            lrp-add r r-s 0a:00:00:00:00:09 10.0.0.254/24
            lb-add lb 10.0.0.9:80 10.0.0.1:80,10.0.0.2:81
            ls-lb-add s lb
            create address_set name=a addresses='10.0.0.1,10.0.0.2'
            acl-add s to-lport 100 'ip4.src == $a && tcp.dst == {80, 443}' drop");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24");
    lab.vm("h1", "p2", "0a:00:00:00:00:02 10.0.0.2/24");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    let ours = lab.programs.sbctl.display().to_string();
    for options in [
        "lflow-list s",
        "--uuid --vflows lflow-list",
        "--ovs=REMOTE lflow-list s",
        "--uuid --ovs=REMOTE --vflows lflow-list",
        "--ovs=REMOTE --stats --vflows lflow-list s",
        "--ovs=unix:/nowhere lflow-list s",
    ] {
        let found = listed(&lab, &ours, options);
        let wanted = listed(&lab, "ovn-sbctl", options);
        let only = |x: &[String], y: &[String]| -> Vec<String> {
            x.iter().filter(|line| !y.contains(line)).cloned().collect()
        };
        let (missing, extra) = (only(&wanted, &found), only(&found, &wanted));
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{options}: stock only {missing:#?}, ours only {extra:#?}"
        );
        assert!(wanted.len() > 50, "{options}: {wanted:?}");
        let flows = wanted.iter().filter(|line| line.contains(" actions="));
        assert_eq!(flows.count() > 50, options.contains("REMOTE"), "{options}");
    }
}
