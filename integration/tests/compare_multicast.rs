//! Multicast as ours and as stock do it: rows and flows of northd for the same northbound and the same reports, what both
//! trace programs say of them, and the queries that controllers send.
//!
//! What differs on purpose is not among the changes here, but in tests of its own: ours sends data to routers that chassis have
//! heard (RFC 4541, 2.1.2) also where no logical router relays; registers no reserved groups, solicited nodes among them (as
//! ovn-northd(8) says); routes no groups of a link; relays to groups whose only members get everything anyhow; leaves disabled
//! ports out of groups, and those that get the same by `_MC_mrouter_flood`. Queries carry the router alert and the class of control traffic (RFC 3376, section 4: hosts should
//! ignore them without), the interval of the querier as such and the usual robustness.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use weft_integration::compare::Verdict;
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Impls, Lab, wait_for};

/// Two switches that snoop and one that does not, on one router.
const NETWORK: &str = "ls-add s
    ls-add t
    ls-add plain
    lr-add r
    lsp-add s s1
    lsp-add s s2
    lsp-add s s3
    lsp-add s s4
    lsp-add s s5
    lsp-add t t1
    lsp-add t t2
    lsp-add plain p1
    lrp-add r r-s 0a:00:00:00:ff:01 10.0.0.254/24 fd00::254/64
    lrp-add r r-t 0a:00:00:00:ff:02 10.0.1.254/24 fd01::254/64
    lsp-add s s-r
    lsp-set-type s-r router
    lsp-set-options s-r router-port=r-s
    lsp-set-addresses s-r router
    lsp-add t t-r
    lsp-set-type t-r router
    lsp-set-options t-r router-port=r-t
    lsp-set-addresses t-r router
    set logical_switch s other_config:mcast_snoop=true
    set logical_switch t other_config:mcast_snoop=true other_config:mcast_flood_unregistered=true";

/// A change of the northbound, or what a chassis reports: group, switch, chassis, ports.
enum Change {
    Nb(&'static str),
    Join(
        &'static str,
        &'static str,
        &'static str,
        &'static [&'static str],
    ),
    Leave(&'static str, &'static str),
    Sb(&'static str),
}
use Change::{Join, Leave, Nb, Sb};

const CHANGES: &[Change] = &[
    Nb(
        "set logical_switch s other_config:mcast_eth_src=0a:00:00:00:00:fe other_config:mcast_ip4_src=10.0.0.253",
    ),
    Nb(
        "set logical_switch s other_config:mcast_ip6_src=fe80::fd other_config:mcast_idle_timeout=40",
    ),
    Nb(
        "set logical_switch s other_config:mcast_query_interval=7 other_config:mcast_query_max_response=3",
    ),
    Nb("set logical_switch t other_config:mcast_querier=false other_config:mcast_table_size=100"),
    Nb(
        "set logical_switch t other_config:mcast_idle_timeout=3 other_config:mcast_query_interval=9999",
    ),
    Join("239.0.0.1", "s", "ch1", &["s1", "s2"]),
    Join("239.0.0.1", "s", "ch2", &["s3", "s2"]),
    Join("239.0.0.2", "t", "ch2", &["t1"]),
    Join("ff0e::1", "t", "ch1", &["t1"]),
    Nb("set logical_router r options:mcast_relay=true"),
    Join("239.0.0.2", "s", "ch1", &["s1"]),
    Join("ff02::fb", "s", "ch1", &["s1"]),
    Nb("lsp-set-options s3 mcast_flood=true"),
    Nb("lsp-set-options s4 mcast_flood_reports=true"),
    Join("mrouters", "s", "ch1", &["s5"]),
    Nb("lrp-set-options r-t mcast_flood=true"),
    Nb("lsp-add s ln -- lsp-set-type ln localnet -- lsp-set-options ln network_name=phys"),
    Leave("239.0.0.1", "s"),
    Nb("lsp-set-options t-r router-port=r-t mcast_flood=true"),
    Nb("set logical_switch t other_config:mcast_flood_unregistered=false"),
    Nb("clear logical_router_port r-t options"),
    Sb("ip-multicast-flush s"),
    Sb("ip-multicast-flush"),
    Nb("lsp-del s1"),
    Sb("chassis-del ch1"),
    Leave("mrouters", "s"),
    Nb("clear logical_router r options"),
    Nb("ls-del t"),
    Nb("set logical_switch s other_config:mcast_snoop=false -- --all destroy logical_router"),
];

/// The UUIDs of datapaths, ports and chassis with their names.
fn names(lab: &Lab) -> Vec<(String, String)> {
    let rows = lab.sb(
        "--format=csv --no-headings --columns=_uuid,external_ids list datapath_binding
         --columns=_uuid,logical_port list port_binding
         --columns=_uuid,name list chassis",
    );
    let pair = |row: &str| {
        let (uuid, name) = row.split_once(',')?;
        let name = name.trim_matches('"').replace("\"\"", "");
        let name = name
            .trim_matches(['{', '}'])
            .split(", ")
            .find_map(|pair| pair.strip_prefix("name="))
            .map_or(name.clone(), str::to_owned);
        Some((uuid.to_owned(), name))
    };
    rows.lines().filter_map(pair).collect()
}

fn make(lab: &Lab, change: &Change) {
    let names = match change {
        Join(..) | Leave(..) => names(lab),
        Nb(_) | Sb(_) => Vec::new(),
    };
    let uuid = |name: &str| {
        let found = names.iter().find(|(_, known)| known == name);
        found.map_or_else(
            || panic!("no {name} in {names:?}"),
            |(uuid, _)| uuid.as_str(),
        )
    };
    match change {
        Nb(script) => drop(lab.nb(script)),
        Sb(script) => drop(lab.sb(script)),
        Join(group, switch, chassis, ports) => {
            let ports: Vec<&str> = ports.iter().map(|port| uuid(port)).collect();
            lab.sb(&format!(
                "create igmp_group 'address=\"{group}\"' datapath={} chassis={} ports={}",
                uuid(switch),
                uuid(chassis),
                ports.join(",")
            ));
        }
        Leave(group, switch) => {
            let condition = format!("datapath={} 'address=\"{group}\"'", uuid(switch));
            let rows = lab.sb_get("igmp_group", "_uuid", &condition);
            for row in rows.split_whitespace() {
                lab.sb(&format!("destroy igmp_group {row}"));
            }
        }
    }
}

/// Rows as text, with names for UUIDs, sets in order; the tunnel keys of learned groups are free to choose.
fn rows(lab: &Lab) -> BTreeSet<String> {
    let names = names(lab);
    let rows = lab.sb(
        "--format=csv --no-headings --columns=name,datapath,ports list multicast_group
         --columns=datapath,enabled,querier,eth_src,ip4_src,ip6_src,table_size,idle_timeout,query_interval,query_max_resp,seq_no list ip_multicast
         --columns=address,datapath,chassis,ports list igmp_group",
    );
    let readable = |row: &str| {
        let named = names
            .iter()
            .fold(row.to_owned(), |row, (uuid, name)| row.replace(uuid, name));
        let mut words: Vec<&str> = named
            .split(|c: char| ",[]\" ".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        words.sort_unstable();
        words.join(" ")
    };
    rows.lines().map(readable).collect()
}

/// The flows of the stages in question that are about groups.
fn flows(lab: &Lab) -> BTreeSet<String> {
    let stages = [
        "ls_in_l2_lkup",
        "lr_in_ip_input",
        "lr_in_ip_routing ",
        "lr_out_delivery",
    ];
    let about = ["mcast", "igmp", "mldv", "ip4.dst == 2", "ip6.dst == ff"];
    let mut datapath = "";
    let mut out = BTreeSet::new();
    let all = lab.sb("lflow-list");
    for line in all.lines() {
        if let Some(rest) = line.strip_prefix("Datapath: ") {
            datapath = rest.split('"').nth(1).unwrap();
            continue;
        }
        let has = |what: &&str| line.contains(*what);
        let other = ["arp.op", "nd_ns", "src_mcast"];
        if !stages.iter().any(has) || !about.iter().any(has) || other.iter().any(has) {
            continue;
        }
        // What says the same: an address implies its family, blanks mean nothing.
        let line = line
            .replace("ip4 && ip4.dst", "ip4.dst")
            .replace("ip6 && ip6.dst", "ip6.dst");
        out.insert(
            format!("{datapath}{line}")
                .split_whitespace()
                .collect::<String>(),
        );
    }
    out
}

fn settle(lab: &Lab) {
    // What controllers write is no change of the northbound: the second time northd has seen it for sure.
    for _ in 0..2 {
        wait_for(CONVERGE, "northd", || {
            lab.nbctl("--timeout=20 --wait=sb sync").result()
        });
    }
}

#[test]
fn same_rows_and_flows_as_stock() {
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    for lab in [&ours, &stock] {
        lab.nb(NETWORK);
        lab.sb("chassis-add ch1 geneve 1.1.1.1
                chassis-add ch2 geneve 1.1.1.2");
        settle(lab);
    }
    assert_eq!(flows(&ours), flows(&stock), "at first");
    for (number, change) in CHANGES.iter().enumerate() {
        std::thread::scope(|scope| {
            for lab in [&ours, &stock] {
                scope.spawn(|| {
                    make(lab, change);
                    settle(lab);
                });
            }
        });
        wait_for(
            CONVERGE,
            &format!("the same rows after change {number}"),
            || {
                let (a, b) = (rows(&ours), rows(&stock));
                let differences: Vec<&String> = a.symmetric_difference(&b).collect();
                weft_integration::wait::ensure(differences.is_empty(), format!("{differences:#?}"))
            },
        );
        wait_for(
            CONVERGE,
            &format!("the same flows after change {number}"),
            || {
                let (a, b) = (flows(&ours), flows(&stock));
                let differences: Vec<&String> = a.symmetric_difference(&b).collect();
                weft_integration::wait::ensure(differences.is_empty(), format!("{differences:#?}"))
            },
        );
    }
}

const PACKETS: &[(&str, &str)] = &[
    // Registered, on both switches and through the router.
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:01 && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 239.0.0.1 && ip.ttl == 8 && udp && udp.dst == 5000"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:02 && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 239.0.0.2 && ip.ttl == 8 && udp && udp.dst == 5000"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 33:33:00:00:00:01 && ip6 && ip6.src == fd00::2 && ip6.dst == ff0e::1 && ip.ttl == 8 && udp && udp.dst == 5000"#,
    ),
    // At its last hop it is not relayed.
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:02 && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 239.0.0.2 && ip.ttl == 1 && udp && udp.dst == 5000"#,
    ),
    // Nobody's, reserved, of the protocols themselves.
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:09 && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 239.0.0.9 && ip.ttl == 8 && udp && udp.dst == 5000"#,
    ),
    (
        "t",
        r#"inport == "t2" && eth.src == 0a:00:00:00:01:02 && eth.dst == 01:00:5e:00:00:09 && ip4 && ip4.src == 10.0.1.2 && ip4.dst == 239.0.0.9 && ip.ttl == 8 && udp && udp.dst == 5000"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:fb && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 224.0.0.251 && ip.ttl == 255 && udp && udp.dst == 5353"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 33:33:00:00:00:01 && ip6 && ip6.src == fe80::2 && ip6.dst == ff02::1 && ip.ttl == 255 && udp"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 01:00:5e:00:00:01 && ip4 && ip4.src == 10.0.0.2 && ip4.dst == 239.0.0.1 && ip.ttl == 1 && ip.proto == 2"#,
    ),
    (
        "s",
        r#"inport == "s2" && eth.src == 0a:00:00:00:00:02 && eth.dst == 33:33:00:00:00:16 && ip6 && ip6.src == fe80::2 && ip6.dst == ff02::16 && ip.ttl == 1 && icmp6.type == 143"#,
    ),
];

/// Where packets to groups go, and what a trace says on their way.
#[test]
fn same_traces_as_stock() {
    let ours = Lab::compiler(Impl::Weft);
    ours.nb(NETWORK);
    ours.sb("chassis-add ch1 geneve 1.1.1.1
             chassis-add ch2 geneve 1.1.1.2");
    settle(&ours);
    for change in &CHANGES[5..14] {
        make(&ours, change);
    }
    settle(&ours);
    for (datapath, packet) in PACKETS {
        for options in ["--minimal", "--detailed"] {
            let trace = |program: &Path| ours.trace_with(program, options, datapath, packet);
            let here = trace(&ours.programs.trace).ok();
            let there = trace(Path::new("ovn-trace")).ok();
            assert_eq!(
                Verdict::parse(&here),
                Verdict::parse(&there),
                "{packet}\n{here}\n{there}"
            );
            let said = |text: &str| -> BTreeSet<String> {
                let lines = text.lines().map(str::trim);
                let about = |line: &&str| line.contains("multicast") || line.contains("igmp");
                lines.filter(about).map(str::to_owned).collect()
            };
            assert_eq!(said(&here), said(&there), "{packet}\n{here}\n{there}");
        }
    }
}

/// The bytes of the first query of each protocol that a machine gets.
fn queries(controller: Impl) -> [Vec<u8>; 2] {
    let lab = Lab::new(
        Impls {
            northd: Impl::Weft,
            controller,
        },
        1,
    );
    lab.nb("ls-add s
            set logical_switch s other_config:mcast_snoop=true other_config:mcast_eth_src=0a:00:00:00:00:fe other_config:mcast_ip4_src=10.0.0.253 other_config:mcast_ip6_src=fe80::fd other_config:mcast_query_interval=2 other_config:mcast_query_max_response=3
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24");
    lab.ready();
    ["igmp", "ip6 proto 0 and src fe80::fd"].map(|filter| {
        let capture = lab.capture("p1", "p1", &format!("-xx {filter}"));
        capture.wait_for("a query", |packet| {
            let (_, dump) = packet.split_once("0x0000:")?;
            packet.contains("query").then_some(())?;
            let mut bytes = Vec::new();
            for word in dump.split_whitespace().filter(|word| !word.ends_with(':')) {
                for pair in word.as_bytes().chunks(2) {
                    let pair = std::str::from_utf8(pair).ok()?;
                    bytes.push(u8::from_str_radix(pair, 16).ok()?);
                }
            }
            Some(bytes)
        })
    })
}

/// But for what the RFCs ask for and stock does not do, and the checksums over it.
#[test]
fn same_queries_as_stock() {
    let [ours, stock] = [Impl::Weft, Impl::Stock].map(queries);
    let ([mut igmp, mut mld], [mut stock_igmp, mut stock_mld]) = (ours, stock);
    // Type of service, length, router alert, header checksum; IGMP's checksum, robustness and interval.
    assert_eq!((igmp[15], stock_igmp[15]), (0xc0, 0));
    assert_eq!(igmp.drain(34..38).collect::<Vec<_>>(), [0x94, 4, 0, 0]);
    assert_eq!((igmp[42], igmp[43], stock_igmp[43]), (2, 2, 30));
    for packet in [&mut igmp, &mut stock_igmp] {
        packet.truncate(14 + 20 + 12);
        for at in [14, 15, 16, 17, 24, 25, 36, 37, 42, 43] {
            packet[at] = 0;
        }
    }
    assert_eq!(igmp, stock_igmp);
    // RFC 2464, section 7: ff02::1 is at 33:33:00:00:00:01.
    assert_eq!((mld[5], stock_mld[5]), (1, 0));
    // Robustness and interval; stock says the time for answers instead.
    let at = 14 + 40 + 8 + 24;
    assert_eq!((mld[at], mld[at + 1], stock_mld[at + 1]), (2, 2, 3));
    for packet in [&mut mld, &mut stock_mld] {
        for at in [5, 14 + 40 + 8 + 2, 14 + 40 + 8 + 3, at, at + 1] {
            packet[at] = 0;
        }
    }
    assert_eq!(mld, stock_mld);
}
