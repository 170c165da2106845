//! The same northbounds compiled by ours and by stock northd: the rows and flows about DHCP are the same, and both trace
//! programs say the same of them.
//!
//! Left out of the comparison, since stock writes what its own controllers refuse or what no packet can meet: rows that are
//! bad, flows that let answers past ACLs to ports that are not served, and a netmask given besides the network's (stock sends
//! both).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use weft_integration::compare::Verdict;
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

const NETWORK: &str = "ls-add s
    lsp-add s p1
    lsp-set-addresses p1 '0a:00:00:00:00:01 10.1.0.1 10.0.0.1 10.0.0.11 fd01::1 fd00::1'
    lsp-add s p2
    lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2' '0a:00:00:00:00:12 10.0.0.12 fd00::12' unknown
    lsp-add s ext
    lsp-set-type ext external
    lsp-set-addresses ext '0a:00:00:00:00:03 10.0.0.3 fd00::3'
    lsp-add s net
    lsp-set-type net localnet
    lsp-set-options net network_name=phys
    lsp-set-addresses net unknown
    lsp-add s lp
    lsp-set-type lp localport
    lsp-set-addresses lp '0a:00:00:00:00:04 10.0.0.4 fd00::4'
    lsp-add s box
    lsp-add s in box 5
    lsp-set-addresses in '0a:00:00:00:00:05 10.0.0.5 fd00::5'";

const V4: &str = "server_id=10.0.0.254,server_mac=\"0a:00:00:00:ff:01\"";

/// Changes one after the other; after each both must be the same.
fn changes() -> Vec<String> {
    let four = |options: &str| format!("set dhcp_options four 'options={V4},{options}'");
    let mut all = vec![
        "--id=@f create dhcp_options external_ids:n=4 cidr=10.0.0.0/24 -- set logical_switch_port p1 dhcpv4_options=@f \
         -- set logical_switch_port p2 dhcpv4_options=@f -- set logical_switch_port lp dhcpv4_options=@f \
         -- set logical_switch_port in dhcpv4_options=@f"
            .to_owned(),
        four("lease_time=3600"),
        four("lease_time=3600,router=10.0.0.254,mtu=1400,T1=5,T2=6,dns_server=\"{8.8.8.8, 7.7.7.7}\",ip_forward_enable=1"),
        four("lease_time=3600,domain_name=\"\\\"a.b\\\"\",hostname=\"\\\"all\\\"\",tftp_server=10.0.0.9,wpad=\"\\\"x\\\"\",next_server=1.1.1.1"),
        four("lease_time=3600,classless_static_route=\"{30.0.0.0/24,10.0.0.10, 0.0.0.0/0,10.0.0.1}\",domain_search_list=\"\\\"a.b,c.d\\\"\",bootfile_name=\"\\\"x\\\"\",bootfile_name_alt=\"\\\"y\\\"\",default_ttl=64"),
        "set logical_switch_port p2 'options:hostname=\"\\\"vm2\\\"\"'".to_owned(),
        "acl-add s to-lport 100 ip4 drop".to_owned(),
        "acl-add s from-lport 100 ip6 allow-related".to_owned(),
        "set logical_switch_port p2 enabled=false".to_owned(),
        "set logical_switch_port p2 enabled=true".to_owned(),
        "set dhcp_options four cidr=10.0.0.0/29".to_owned(),
        "--id=@s create dhcp_options external_ids:n=6 'cidr=\"fd00::/64\"' 'options=server_id=\"0a:00:00:00:ff:02\"' \
         -- set logical_switch_port p1 dhcpv6_options=@s -- set logical_switch_port p2 dhcpv6_options=@s"
            .to_owned(),
        "set dhcp_options six 'options:dns_server=\"{fd00::53,fd00::54}\"' 'options:domain_search=\"\\\"a.b\\\"\"'".to_owned(),
        "set dhcp_options six options:dhcpv6_stateless=true".to_owned(),
        "set logical_switch_port ext dhcpv4_options=four dhcpv6_options=six".to_owned(),
        "ha-chassis-group-add g".to_owned(),
        "ha-chassis-group-add-chassis g h1 10".to_owned(),
        "set logical_switch_port ext ha_chassis_group=g".to_owned(),
        "lsp-set-dhcpv4-options p1".to_owned(),
        "lsp-set-addresses p2 '0a:00:00:00:00:02 fd00::99'".to_owned(),
    ];
    all.push("lsp-set-dhcpv6-options p2".to_owned());
    all
}

/// Names in changes stand for rows of this lab.
fn resolved(lab: &Lab, change: &str) -> String {
    let find = |table: &str, condition: &str| {
        let find = format!("--bare --columns=_uuid find {table} {condition}");
        lab.nb(&find).trim().to_owned()
    };
    change
        .replace(
            "=four",
            &format!("={}", find("dhcp_options", "external_ids:n=4")),
        )
        .replace(
            "=six",
            &format!("={}", find("dhcp_options", "external_ids:n=6")),
        )
        .replace(
            "dhcp_options four",
            &format!("dhcp_options {}", find("dhcp_options", "external_ids:n=4")),
        )
        .replace(
            "dhcp_options six",
            &format!("dhcp_options {}", find("dhcp_options", "external_ids:n=6")),
        )
        .replace(
            "ha_chassis_group=g",
            &format!("ha_chassis_group={}", find("ha_chassis_group", "name=g")),
        )
}

/// The flows in question: conditions in one order, lists written alike.
fn flows(lab: &Lab) -> BTreeSet<String> {
    let all = lab.sb("lflow-list s");
    let named = |line: &str, field: &str| -> Option<String> {
        let (_, rest) = line.split_once(&format!("{field} == \""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let family = |line: &str| if line.contains("ip6.") { 6 } else { 4 };
    let served: BTreeSet<(Option<String>, u8)> = all
        .lines()
        .filter(|line| line.contains("(ls_in_dhcp_response") && !line.contains("priority=0 "))
        .map(|line| (named(line, "inport"), family(line)))
        .collect();
    all.lines()
        .filter(|line| {
            let passing = line.contains("(ls_out_acl") && line.contains("udp.dst == ");
            line.contains("(ls_in_dhcp_")
                || passing && served.contains(&(named(line, "outport"), family(line)))
        })
        .map(|line| {
            let line = line
                .trim()
                .replace("ct_commit { };", "ct_commit;")
                .replace(", ", ",");
            let (head, rest) = line.split_once("match=(").unwrap();
            let (match_, actions) = rest.split_once("),action=").unwrap();
            let mut conditions: Vec<&str> = match_.split(" && ").filter(|c| *c != "udp").collect();
            conditions.sort_unstable();
            format!("{head}{conditions:?} {actions}")
        })
        .collect()
}

fn options(lab: &Lab, table: &str) -> BTreeSet<String> {
    let all = lab.sb(&format!("--bare --columns=name,code,type list {table}"));
    all.split("\n\n")
        .map(|row| row.trim().replace('\n', " "))
        .collect()
}

#[test]
fn same_answers_as_stock() {
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    for lab in [&ours, &stock] {
        lab.nb(NETWORK);
    }
    let mut most = 0;
    for change in changes() {
        for lab in [&ours, &stock] {
            lab.nb(&resolved(lab, &change));
            wait_for(CONVERGE, "northd", || {
                lab.nbctl("--timeout=20 --wait=sb sync").result()
            });
        }
        let (a, b) = (flows(&ours), flows(&stock));
        let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| -> Vec<String> {
            these.difference(those).cloned().collect()
        };
        assert!(
            a == b,
            "after {change}\nonly ours: {:#?}\nonly stock's: {:#?}",
            only(&a, &b),
            only(&b, &a)
        );
        most = most.max(a.len());
    }
    assert!(most > 20, "{most} flows at most");
    assert_eq!(
        options(&ours, "dhcp_options"),
        options(&stock, "dhcp_options")
    );
    // Later versions have more of DHCPv6.
    let (ours, stock) = (
        options(&ours, "dhcpv6_options"),
        options(&stock, "dhcpv6_options"),
    );
    assert!(ours.is_superset(&stock), "{ours:?} {stock:?}");
}

const PACKETS: [&str; 3] = [
    r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == ff:ff:ff:ff:ff:ff && ip4 && ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255 && ip.ttl == 64 && udp && udp.src == 68 && udp.dst == 67"#,
    r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:ff:01 && ip4 && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.254 && ip.ttl == 64 && udp && udp.src == 68 && udp.dst == 67"#,
    r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == 33:33:00:01:00:02 && ip6 && ip6.src == fe80::1 && ip6.dst == ff02::1:2 && ip.ttl == 1 && udp && udp.src == 546 && udp.dst == 547"#,
];

/// What `put_dhcp_opts` and `put_dhcpv6_opts` come to in a trace.
#[test]
fn same_traces_as_stock() {
    let ours = Lab::compiler(Impl::Weft);
    ours.nb(NETWORK);
    for change in changes().iter().take(13) {
        ours.nb(&resolved(&ours, change));
    }
    ours.nb("--wait=sb set logical_switch_port p1 'options:hostname=\"\\\"vm1\\\"\"'");
    for packet in PACKETS {
        for options in ["--minimal", "--detailed"] {
            let stock = Path::new("ovn-trace");
            let theirs = ours.trace_with(stock, options, "s", packet).ok();
            let mine = ours.trace(options, "s", packet);
            assert_eq!(Verdict::parse(&mine), Verdict::parse(&theirs), "{packet}");
            let back = mine.contains("output(\"p1\")") || mine.contains("output to \"p1\"");
            assert!(back, "{mine}");
            let said = |text: &str| -> Vec<String> {
                let lines = text.lines().map(str::trim);
                let about = |line: &&str| line.contains("put_dhcp") || line.contains("assume");
                lines.filter(about).map(str::to_owned).collect()
            };
            assert_eq!(said(&mine), said(&theirs), "{mine}\n{theirs}");
        }
    }
}
