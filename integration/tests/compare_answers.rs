//! The same northbounds compiled by ours and by stock northd: the rows and flows about what controllers answer themselves
//! (names, router advertisements) are the same, and both trace programs say the same of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use weft_integration::compare::Verdict;
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// A switch with two ports and a router, and one without any.
const NETWORK: &str = "ls-add s
    ls-add t
    lsp-add s p1
    lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
    lsp-add t p2
    lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'
    lr-add r
    lrp-add r r-s 0a:00:00:00:ff:01 10.0.0.254/24 fd00::254/64 fd01::254/80
    lsp-add s s-r
    lsp-set-type s-r router
    lsp-set-options s-r router-port=r-s
    lsp-set-addresses s-r router";

/// Changes one after the other; after each both must be the same.
const CHANGES: &[&str] = &[
    r#"--id=@d create DNS external_ids:n=1 records='{"vm1.ovn.org"="10.0.0.4 aef0::4","4.0.0.10.in-addr.arpa"="vm1.ovn.org"}' -- add logical_switch s dns_records @d"#,
    "acl-add s from-lport 100 ip4 allow",
    "acl-add s from-lport 100 ip6 allow-related",
    "--id=@d create DNS external_ids:n=2 -- add logical_switch t dns_records @d",
    r#"--id=@d create DNS external_ids:n=3 records='{"vm2"="fd00::7"}' -- add logical_switch t dns_records @d -- add logical_switch s dns_records @d"#,
    "acl-del s",
    "clear logical_switch s dns_records",
    "lrp-set-options r-s x=y",
    "set logical_router_port r-s ipv6_ra_configs=address_mode=slaac",
    "set logical_router_port r-s ipv6_ra_configs=address_mode=dhcpv6_stateful,mtu=1400",
    "set logical_router_port r-s ipv6_ra_configs=address_mode=dhcpv6_stateless,mtu=1279,router_preference=LOW",
    r#"set logical_router_port r-s 'ipv6_ra_configs=address_mode=slaac,router_preference=HIGH,route_info="HIGH-aef1::11/48,LOW-aef2::11/96",rdnss="fd00::53",dnssl="a.b.c,d",send_periodic=true'"#,
    "set logical_router_port r-s ipv6_ra_configs:max_interval=8",
    "set logical_router_port r-s ipv6_ra_configs:max_interval=100 ipv6_ra_configs:min_interval=90",
    "set logical_router_port r-s ipv6_ra_configs:max_interval=4000 ipv6_ra_configs:min_interval=1",
    "set logical_router_port r-s 'networks=\"fd00::254/64\",\"fe80::77/64\"'",
    "set logical_router_port r-s ipv6_ra_configs:send_periodic=false",
    "set logical_router_port r-s 'networks=\"fe80::77/64\"'",
    "clear logical_router_port r-s ipv6_ra_configs",
    "set logical_router_port r-s options:prefix_delegation=true options:prefix=true",
    "remove logical_router_port r-s options prefix_delegation",
];

const STAGES: [&str; 4] = [
    "(ls_in_dns_lookup",
    "(ls_in_dns_response",
    "(lr_in_nd_ra_options",
    "(lr_in_nd_ra_response",
];

/// The flows in question, and those that let DNS past ACLs (which stock writes also where there are none).
fn flows(lab: &Lab) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for datapath in ["s", "t", "r"] {
        let guarded = datapath != "r" && !lab.nb(&format!("acl-list {datapath}")).is_empty();
        let all = lab.sb(&format!("lflow-list {datapath}"));
        let ours = all.lines().filter(|line| {
            STAGES.iter().any(|stage| line.contains(stage))
                || guarded && line.contains("(udp.src == 53)")
        });
        out.extend(ours.map(|line| {
            format!("{datapath} {}", line.trim()).replace("ct_commit { };", "ct_commit;")
        }));
    }
    out
}

/// The rows in question.
fn rows(lab: &Lab) -> BTreeSet<String> {
    let datapaths = lab.sb("--bare --columns=_uuid,external_ids list datapath_binding");
    let names: Vec<(String, String)> = datapaths
        .split("\n\n")
        .filter_map(|row| {
            let (uuid, ids) = row.split_once('\n')?;
            let name = ids
                .split_whitespace()
                .find_map(|id| id.strip_prefix("name="))?;
            Some((uuid.to_owned(), name.to_owned()))
        })
        .collect();
    let mut out = BTreeSet::new();
    for row in lab
        .sb("--bare --columns=records,datapaths list dns")
        .split("\n\n")
    {
        let named = names
            .iter()
            .fold(row.to_owned(), |row, (uuid, name)| row.replace(uuid, name));
        // References come in the order of their UUIDs.
        let mut lines: Vec<Vec<&str>> = named.lines().map(|l| l.split(' ').collect()).collect();
        lines.iter_mut().for_each(|words| words.sort_unstable());
        out.insert(format!("{lines:?}"));
    }
    out.insert(lab.sb_get("port_binding", "options", "logical_port=r-s"));
    out
}

#[test]
fn same_answers_as_stock() {
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    for lab in [&ours, &stock] {
        lab.nb(NETWORK);
    }
    for change in CHANGES {
        for lab in [&ours, &stock] {
            lab.nb(change);
            wait_for(CONVERGE, "northd", || {
                lab.nbctl("--timeout=20 --wait=sb sync").result()
            });
        }
        assert_eq!(flows(&ours), flows(&stock), "after {change}");
        assert_eq!(rows(&ours), rows(&stock), "after {change}");
    }
}

const PACKETS: &[(&str, &str)] = &[
    (
        "s",
        r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:ff:01 && ip4 && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.254 && ip.ttl == 64 && udp && udp.src == 4000 && udp.dst == 53"#,
    ),
    (
        "s",
        r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == 33:33:00:00:00:02 && ip6 && ip6.src == fe80::1 && ip6.dst == ff02::2 && ip.ttl == 255 && icmp6 && icmp6.type == 133 && icmp6.code == 0"#,
    ),
    (
        "r",
        r#"inport == "r-s" && eth.src == 0a:00:00:00:00:01 && eth.dst == 33:33:00:00:00:02 && ip6 && ip6.src == fe80::1 && ip6.dst == ff02::2 && ip.ttl == 255 && icmp6 && icmp6.type == 133 && icmp6.code == 0"#,
    ),
];

/// What `dns_lookup` and `put_nd_ra_opts` come to in a trace.
#[test]
fn same_traces_as_stock() {
    let ours = Lab::compiler(Impl::Weft);
    ours.nb(NETWORK);
    for change in [CHANGES[0], CHANGES[11]] {
        ours.nb(change);
    }
    ours.nb("--wait=sb sync");
    for (datapath, packet) in PACKETS {
        for options in ["--minimal", "--detailed"] {
            let trace = |program: &Path| ours.trace_with(program, options, datapath, packet);
            let here = trace(&ours.programs.trace).ok();
            let there = trace(Path::new("ovn-trace"));
            // That of 23.03 dies of put_nd_ra_opts.
            if there.crashed {
                assert!(here.contains("put_nd_ra_opts"), "{here}");
                let back = here.contains(r#"output to "p1""#) || here.contains(r#"output("p1")"#);
                assert!(back || *datapath == "r", "{here}");
                continue;
            }
            let there = there.ok();
            assert_eq!(
                Verdict::parse(&here).but_solicitations(),
                Verdict::parse(&there).but_solicitations(),
                "{packet}\n{here}\n{there}"
            );
            let said = |text: &str| -> Vec<String> {
                let lines = text.lines().map(str::trim);
                let about = |line: &&str| {
                    line.contains("dns_lookup")
                        || line.contains("nd_ra_opts")
                        || line.contains("assume")
                };
                lines.filter(about).map(str::to_owned).collect()
            };
            assert_eq!(said(&here), said(&there), "{packet}\n{here}\n{there}");
        }
    }
}
