//! What is written here, stock OVN reads: logical flows are put into a southbound database and `ovn-trace`, which
//! parses all of them when it starts, must not complain. Skipped where OVN is not installed.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use weft_lang::field::{self, Home, Level};
use weft_lang::{Actions, Expr, Field, Predicate, parse_actions};

#[path = "actions.rs"]
#[allow(dead_code)]
mod actions;

const SCHEMA: &str = "/usr/share/ovn/ovn-sb.ovsschema";

/// Symbols that are later than 23.03.
const LATER: &[&str] = &[
    "flags.localnet",
    "flags.tunnel_rx",
    "flags.icmp_snat",
    "flags.unsnat_new",
    "flags.unsnat_not_tracked",
    "flags.network_id",
    "ct_mark.obs_stage",
    "ct_mark.obs_collector_id",
    "ct_mark.allow_established",
    "ct_label.acl_id",
    "ct_label.obs_point_id",
];

/// A running ovsdb-server, ended when dropped.
struct Server {
    dir: tempfile::TempDir,
    child: std::process::Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(
            Command::new("ovsdb-tool")
                .arg("create")
                .arg(at("db"))
                .arg(SCHEMA)
                .status()
                .unwrap()
                .success()
        );
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", at("sock").display()))
            .arg(format!("--unixctl={}", at("ctl").display()))
            .arg("--log-file=/dev/null")
            .arg(at("db"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { dir, child };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !server.dir.path().join("sock").exists() {
            assert!(Instant::now() < deadline, "ovsdb-server did not start");
            std::thread::yield_now();
        }
        server
    }

    fn remote(&self) -> String {
        format!("unix:{}", self.dir.path().join("sock").display())
    }

    fn transact(&self, operations: &str) {
        let file = format!("[\"OVN_Southbound\",{operations}]");
        let out = Command::new("ovsdb-client")
            .arg("transact")
            .arg(self.remote())
            .arg(file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success() && !text.contains("\"error\""),
            "{text}"
        );
    }

    /// What ovn-trace says about the flows.
    fn complaints(&self) -> String {
        let out = Command::new("ovn-trace")
            .arg(format!("--db={}", self.remote()))
            .args([
                "--no-leader-only",
                "-vconsole:warn",
                "-vsyslog:off",
                "sw0",
                "inport == \"p1\"",
            ])
            .env("OVN_RUNDIR", self.dir.path())
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stderr).into_owned()
    }
}

fn json(text: &str) -> String {
    let mut out = String::new();
    weft_lang::constant::write_quoted(&mut out, text).unwrap();
    out
}

/// Operations for a switch with two ports, an address set, a port group and the DHCP options the actions name.
fn topology() -> String {
    let mut operations = String::from(
        r#"{"op":"insert","table":"Datapath_Binding","uuid-name":"dp","row":{"tunnel_key":1,"external_ids":["map",[
        ["logical-switch","00000000-0000-0000-0000-000000000001"],["name","sw0"]]]}},
        {"op":"insert","table":"Port_Binding","row":{"logical_port":"p1","datapath":["named-uuid","dp"],"tunnel_key":1}},
        {"op":"insert","table":"Port_Binding","row":{"logical_port":"p2","datapath":["named-uuid","dp"],"tunnel_key":2}},
        {"op":"insert","table":"Address_Set","row":{"name":"as1","addresses":["set",["10.0.0.1","10.0.0.2"]]}},
        {"op":"insert","table":"Port_Group","row":{"name":"pg1","ports":["set",["p1","p2"]]}}"#,
    );
    for (table, name, code, kind) in [
        ("DHCP_Options", "offerip", 0, "ipv4"),
        ("DHCP_Options", "netmask", 1, "ipv4"),
        ("DHCP_Options", "dns_server", 6, "ipv4"),
        ("DHCP_Options", "domain_name", 15, "str"),
        ("DHCP_Options", "lease_time", 51, "uint32"),
        ("DHCPv6_Options", "server_id", 2, "mac"),
        ("DHCPv6_Options", "ia_addr", 5, "ipv6"),
        ("DHCPv6_Options", "dns_server", 23, "ipv6"),
    ] {
        operations += &format!(
            r#",{{"op":"insert","table":"{table}","row":{{"name":"{name}","code":{code},"type":"{kind}"}}}}"#
        );
    }
    operations
}

fn flow(priority: usize, matches: &str, actions: &str) -> String {
    format!(
        r#",{{"op":"insert","table":"Logical_Flow","row":{{"logical_datapath":["named-uuid","dp"],"pipeline":"ingress","table_id":4,"priority":{priority},"match":{},"actions":{}}}}}"#,
        json(matches),
        json(actions)
    )
}

fn expressions() -> Vec<Expr> {
    let stock = |field: &Field| !LATER.contains(&field.symbol().name);
    let matchable = Field::all()
        .filter(stock)
        .filter(|field| field.symbol().home != Home::Controller);
    let mut found: Vec<Expr> = matchable
        .map(|field| {
            if field.is_text() {
                field.eq("p1")
            } else {
                field.eq(1)
            }
        })
        .chain(Predicate::all().map(Expr::Pred))
        .collect();
    let ordinal = |field: &Field| field.symbol().level == Level::Ordinal && field.width() > 1;
    let ordered: Vec<Expr> = Field::all()
        .filter(stock)
        .filter(ordinal)
        .map(|field| field.bits(0..=0).is_set())
        .collect();
    found.extend(ordered);
    let ip = std::net::Ipv4Addr::new(10, 0, 0, 1);
    found.extend([
        field::IP4_SRC.one_of([ip, ip]) & field::TCP_DST.ge(1024),
        field::IP4_SRC.in_set("as1") | field::INPORT.in_group("pg1"),
        field::IP4_SRC.within("10.0.0.0/24".parse::<ipnet::IpNet>().unwrap()),
        !Expr::is_chassis_resident("cr-p1"),
        !(!field::CT_EST.is_set()),
        !(!(!(field::pred::CT_EST & field::pred::CT_TRK))),
        Expr::all([
            field::pred::IP,
            field::TCP_SRC.ne(3) | field::UDP_SRC.ne(5) & field::IP_TTL.one_of([0, 1]),
        ]),
        field::INPORT.eq("odd \"name\" \\ \u{e9}\n"),
        field::XXREG0.eq(std::net::Ipv6Addr::LOCALHOST),
        field::CT_LABEL.eq(weft_lang::Const::hex_masked(1 << 100, 1 << 100)),
        Expr::TRUE,
        Expr::FALSE,
    ]);
    found
}

#[test]
fn ovn_trace_reads_what_is_written() {
    if !Path::new(SCHEMA).exists() || Command::new("ovn-trace").arg("--version").output().is_err() {
        eprintln!("skipped: OVN is not installed");
        return;
    }
    let server = Server::start();
    let mut operations = topology();
    for (i, expr) in expressions().iter().enumerate() {
        operations += &flow(i, &expr.to_string(), "next;");
    }
    for (i, text) in actions::STOCK.iter().enumerate() {
        let parsed = parse_actions(text).unwrap();
        operations += &flow(10_000 + i, "1", &Actions(&parsed).to_string());
    }
    // Proof that complaints are seen.
    operations += &flow(20_000, "no.such.field == 1", "next;");
    server.transact(&operations);
    let complaints = server.complaints();
    let lines: Vec<&str> = complaints
        .lines()
        .filter(|line| line.contains("failed"))
        .collect();
    assert_eq!(lines.len(), 1, "{complaints}");
    assert!(lines[0].contains("no.such.field"), "{complaints}");
}
