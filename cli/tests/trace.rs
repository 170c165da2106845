//! `weft-trace` beside `ovn-trace`: the same southbound database, compiled by stock `ovn-northd`, the same random
//! micro-flows, and every byte of what they print.
//!
//! Needs `ovsdb-server`, `ovn-northd`, `ovn-nbctl` and `ovn-trace`; without them nothing is compared. A failure
//! names its seed; `WEFT_TRACE_SEED` and `WEFT_TRACE_FLOWS` choose others.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Two switches with two ports each and a router, a localnet, port security, unknown, ACLs, a balancer and NAT.
const NORTHBOUND: &str = "
ls-add sw0 -- ls-add sw1 -- ls-add sw2 -- lr-add lr0
lrp-add lr0 lr0-sw0 00:00:00:00:ff:01 10.0.0.1/24 fd00::1/64
lrp-add lr0 lr0-sw1 00:00:00:00:ff:02 10.0.1.1/24 fd00:1::1/64
lrp-add lr0 lr0-sw2 00:00:00:00:ff:03 10.0.2.1/24
lsp-add sw0 sw0-lr0 -- lsp-set-type sw0-lr0 router -- lsp-set-addresses sw0-lr0 router -- lsp-set-options sw0-lr0 router-port=lr0-sw0
lsp-add sw1 sw1-lr0 -- lsp-set-type sw1-lr0 router -- lsp-set-addresses sw1-lr0 router -- lsp-set-options sw1-lr0 router-port=lr0-sw1
lsp-add sw2 sw2-lr0 -- lsp-set-type sw2-lr0 router -- lsp-set-addresses sw2-lr0 router -- lsp-set-options sw2-lr0 router-port=lr0-sw2
lsp-add sw0 p01 -- lsp-set-addresses p01 'f0:00:00:00:00:01 10.0.0.11 fd00::11' -- lsp-set-port-security p01 'f0:00:00:00:00:01 10.0.0.11 fd00::11'
lsp-add sw0 p02 -- lsp-set-addresses p02 'f0:00:00:00:00:02 10.0.0.12 fd00::12' unknown
lsp-add sw0 p03 -- lsp-set-addresses p03 'f0:00:00:00:00:03 10.0.0.13' -- lsp-set-port-security p03 'f0:00:00:00:00:03 10.0.0.13/24'
lsp-add sw1 p11 -- lsp-set-addresses p11 'f0:00:00:00:01:01 10.0.1.11 fd00:1::11'
lsp-add sw1 p12 -- lsp-set-addresses p12 unknown
lsp-add sw1 ln1 -- lsp-set-type ln1 localnet -- lsp-set-addresses ln1 unknown -- lsp-set-options ln1 network_name=phys
lsp-add sw2 p21 -- lsp-set-addresses p21 'f0:00:00:00:02:01 10.0.2.11'
lsp-add sw2 p22 -- lsp-set-addresses p22 'f0:00:00:00:02:02 10.0.2.12' -- lsp-set-port-security p22 'f0:00:00:00:02:02'
set logical_switch_port p22 external_ids:name=friendly
pg-add pg1 p21 p22 p01
acl-add sw2 to-lport 1000 ip4 allow-related
acl-add sw2 from-lport 1001 tcp.dst==80 reject
acl-add sw2 to-lport 1001 'outport==@pg1 && tcp.dst==81' drop
acl-add sw2 to-lport 1002 'outport==@pg1 && ip4.src==$pg1_ip4' allow
lr-route-add lr0 0.0.0.0/0 10.0.1.254
lr-route-add lr0 10.9.0.0/16 10.0.1.11
lb-add lb0 10.100.0.1:80 10.0.2.11:8080,10.0.2.12:8080 -- ls-lb-add sw0 lb0
lr-nat-add lr0 dnat_and_snat 172.16.0.5 10.0.0.12
";

/// Of equal priority, and equal meaning: which of them a trace shows is chance, so they get different ones.
const TIES: &[(&str, i64, i64)] = &[
    ("eth.src[40]", 100, 101),
    ("eth.mcast", 110, 112),
    ("nd || nd_rs || nd_ra || mldv1 || mldv2", 110, 111),
    (
        "nd || nd_rs || nd_ra || mldv1 || mldv2 || (udp && udp.src == 546 && udp.dst == 547)",
        110,
        111,
    ),
];

/// Where a router asks for a neighbour the stock tool goes on with a packet that is no solicitation: it changes neither
/// the protocol nor the hop limit, as a controller does. (And it aborts where a router answers for itself, printing
/// nothing.)
const SOLICITS: &str = "nd_ns {";

struct Lab {
    dir: TempDir,
    processes: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn installed() -> bool {
    let there = |program: &str| {
        Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    };
    ["ovsdb-server", "ovn-northd", "ovn-nbctl", "ovn-trace"]
        .iter()
        .all(|program| there(program))
}

impl Lab {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["nb", "sb"] {
            let schema = format!("/usr/share/ovn/ovn-{name}.ovsschema");
            let file = dir.path().join(format!("{name}.db"));
            assert!(
                Command::new("ovsdb-tool")
                    .arg("create")
                    .arg(file)
                    .arg(schema)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let mut lab = Self {
            dir,
            processes: Vec::new(),
        };
        let server = Command::new("ovsdb-server")
            .current_dir(lab.dir.path())
            .args(["nb.db", "sb.db", "-vconsole:off", "--no-chdir"])
            .arg(format!("--remote=p{}", lab.remote()))
            .arg(format!("--unixctl={}", lab.path("ovsdb.ctl")))
            .stderr(Stdio::null())
            .spawn();
        lab.processes.push(server.unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(lab.path("sock")).is_err() {
            assert!(Instant::now() < deadline, "ovsdb-server starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        lab
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn remote(&self) -> String {
        format!("unix:{}", self.path("sock"))
    }

    /// Has stock northd compile the northbound database, and ends it.
    fn compile(&mut self) {
        let northd = Command::new("ovn-northd")
            .arg(format!("--ovnnb-db={}", self.remote()))
            .arg(format!("--ovnsb-db={}", self.remote()))
            .arg(format!("--unixctl={}", self.path("northd.ctl")))
            .arg("-vconsole:off")
            .stderr(Stdio::null())
            .spawn();
        self.processes.push(northd.unwrap());
        for line in NORTHBOUND.lines().filter(|line| !line.is_empty()) {
            let script = format!("ovn-nbctl --db={} -- {line}", self.remote());
            assert!(
                Command::new("sh")
                    .arg("-c")
                    .arg(&script)
                    .status()
                    .unwrap()
                    .success(),
                "{script}"
            );
        }
        let sync = Command::new("ovn-nbctl")
            .arg(format!("--db={}", self.remote()))
            .args(["--timeout=60", "--wait=sb", "sync"])
            .status();
        assert!(sync.unwrap().success());
        let mut northd = self.processes.pop().unwrap();
        northd.kill().unwrap();
        northd.wait().unwrap();
        let mut operations = vec![serde_json::json!("OVN_Southbound")];
        for (matching, from, priority) in TIES {
            operations.push(serde_json::json!({"op": "update", "table": "Logical_Flow",
                "where": [["match", "==", matching], ["priority", "==", from]], "row": {"priority": priority}}));
        }
        for (port, ip, mac) in [
            ("lr0-sw1", "10.0.1.254", "f0:00:00:00:01:fe"),
            ("lr0-sw1", "fd00:1::99", "f0:00:00:00:01:99"),
        ] {
            operations.push(serde_json::json!({"op": "insert", "table": "MAC_Binding",
                "row": {"logical_port": port, "ip": ip, "mac": mac, "datapath": ["uuid", self.datapath("lr0")]}}));
        }
        let text = serde_json::Value::Array(operations).to_string();
        let out = Command::new("ovsdb-client")
            .arg("transact")
            .arg(self.remote())
            .arg(text)
            .output()
            .unwrap();
        assert!(
            !String::from_utf8_lossy(&out.stdout).contains("error"),
            "{out:?}"
        );
    }

    fn datapath(&self, name: &str) -> String {
        let out = Command::new("ovn-sbctl")
            .arg(format!("--db={}", self.remote()))
            .args(["--bare", "--columns=_uuid", "find", "Datapath_Binding"])
            .arg(format!("external_ids:name={name}"))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_string()
    }

    fn trace(&self, program: &Path, args: &[String]) -> String {
        let out = Command::new(program)
            .arg(format!("--db={}", self.remote()))
            .args(args)
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    }
}

/// Small and good enough to choose packets (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.next(from.len())]
    }

    fn mostly(&mut self, usual: &str, others: &[&str]) -> String {
        if self.next(7) == 0 {
            (*self.pick(others)).to_string()
        } else {
            usual.to_string()
        }
    }
}

/// Name, Ethernet address, addresses, and the router's Ethernet address on that switch.
const PORTS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "p01",
        "f0:00:00:00:00:01",
        "10.0.0.11",
        "fd00::11",
        "00:00:00:00:ff:01",
    ),
    (
        "p02",
        "f0:00:00:00:00:02",
        "10.0.0.12",
        "fd00::12",
        "00:00:00:00:ff:01",
    ),
    (
        "p03",
        "f0:00:00:00:00:03",
        "10.0.0.13",
        "fd00::13",
        "00:00:00:00:ff:01",
    ),
    (
        "p11",
        "f0:00:00:00:01:01",
        "10.0.1.11",
        "fd00:1::11",
        "00:00:00:00:ff:02",
    ),
    (
        "p12",
        "f0:00:00:00:01:02",
        "10.0.1.12",
        "fd00:1::12",
        "00:00:00:00:ff:02",
    ),
    (
        "ln1",
        "f0:00:00:00:01:99",
        "10.0.1.99",
        "fd00:1::99",
        "00:00:00:00:ff:02",
    ),
    (
        "p21",
        "f0:00:00:00:02:01",
        "10.0.2.11",
        "fd00:2::11",
        "00:00:00:00:ff:03",
    ),
    (
        "p22",
        "f0:00:00:00:02:02",
        "10.0.2.12",
        "fd00:2::12",
        "00:00:00:00:ff:03",
    ),
];
const MACS: &[&str] = &[
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01",
    "33:33:00:00:00:01",
    "33:33:ff:00:00:11",
    "f0:12:34:56:78:9a",
    "00:00:00:00:ff:01",
    "f0:00:00:00:00:03",
];
const IP4: &[&str] = &[
    "10.0.0.1",
    "10.0.1.1",
    "10.0.2.1",
    "10.0.0.255",
    "255.255.255.255",
    "0.0.0.0",
    "224.0.0.5",
    "8.8.8.8",
    "10.9.1.1",
    "10.100.0.1",
    "172.16.0.5",
    "10.0.1.254",
    "10.0.0.77",
];
const IP6: &[&str] = &[
    "fd00::1",
    "fd00:1::1",
    "ff02::1",
    "ff02::1:ff00:11",
    "::",
    "fe80::f200:ff:fe00:1",
    "2001:db8::1",
];
const STATES: &[&str] = &[
    "new", "new,trk", "est", "est,rpl", "rpl", "inv", "rel", "new,rel", "est,dnat",
];

/// A microflow that one port could send.
fn microflow(random: &mut Random) -> String {
    let (name, mac, ip4, ip6, router) = *random.pick(PORTS);
    let (_, to_mac, to_ip4, to_ip6, _) = *random.pick(PORTS);
    let target = match random.next(10) {
        0..5 => router,
        5..8 => to_mac,
        _ => random.pick(MACS),
    };
    let source = random.mostly(mac, MACS);
    let mut parts = vec![format!(
        "inport == \"{name}\" && eth.src == {source} && eth.dst == {target}"
    )];
    let (from4, to4) = (
        random.mostly(ip4, IP4),
        if random.next(2) == 0 {
            to_ip4
        } else {
            random.pick(IP4)
        },
    );
    let (from6, to6) = (
        random.mostly(ip6, IP6),
        if random.next(2) == 0 {
            to_ip6
        } else {
            random.pick(IP6)
        },
    );
    match random.next(20) {
        0..3 => {
            let (op, sender) = (*random.pick(&["1", "1", "2"]), random.mostly(mac, MACS));
            parts.push(format!(
                "arp.op == {op} && arp.spa == {from4} && arp.tpa == {to4} && arp.sha == {sender}"
            ));
        }
        3..12 => {
            let ttl = random.pick(&[64, 64, 64, 255, 1, 0, 2]);
            parts.push(format!(
                "ip4.src == {from4} && ip4.dst == {to4} && ip.ttl == {ttl}"
            ));
            let kind = [
                "ip4",
                "icmp4.type == 8 && icmp4.code == 0",
                "tcp.src == 99 && tcp.dst == 80",
                "tcp.dst == 81",
                "udp.src == 68 && udp.dst == 67",
                "sctp.dst == 80",
                "ip.proto == 2",
                "udp && ip.frag == 1",
            ];
            parts.push((*random.pick(&kind)).to_string());
        }
        12..19 => {
            parts.push(format!("ip6.src == {from6} && ip6.dst == {to6}"));
            // Without ports: the stock tool takes them for the type of the solicitation that a router then sends.
            let kind = [
                "ip.ttl == 64".to_string(),
                "ip.ttl == 64 && icmp6.type == 128".to_string(),
                format!("nd_ns && nd.target == {to6} && nd.sll == {source}"),
                format!("nd_na && nd.target == {from6} && nd.tll == {mac}"),
                "nd_rs".to_string(),
                "ip.ttl == 1 && icmp6.type == 143".to_string(),
            ];
            parts.push(random.pick(&kind).clone());
        }
        _ => parts.push(
            (*random.pick(&["1", "eth.type == 0x1234", "rarp", "vlan.vid == 5 && ip4"]))
                .to_string(),
        ),
    }
    parts.join(" && ")
}

fn arguments(random: &mut Random) -> Vec<String> {
    let form = random.pick(&["--all", "--all", "--detailed", "--summary", "--minimal"]);
    let mut args = vec![(*form).to_string(), "--lb-dst=10.0.2.12:8080".to_string()];
    for _ in 0..random.next(4) {
        args.push(format!("--ct={}", random.pick(STATES)));
    }
    if random.next(10) == 0 {
        args.push("--no-friendly-names".to_string());
    }
    args.push(microflow(random));
    args
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn prints_what_stock_prints() {
    if !installed() {
        return;
    }
    let mut lab = Lab::start();
    lab.compile();
    let ours = Path::new(env!("CARGO_BIN_EXE_weft-trace"));
    let (seed, flows) = (
        number("WEFT_TRACE_SEED", 20_261_121),
        number("WEFT_TRACE_FLOWS", 150),
    );
    let mut random = Random(seed.max(1));
    let mut cases: Vec<Vec<String>> = (0..flows).map(|_| arguments(&mut random)).collect();
    for question in [
        "inport == \"nope\"",
        "ip4",
        "inport == \"p01\" && ip4 && ip6",
        "inport == \"p01\" && tcp.src == 80",
        "inport == {\"p01\", \"p02\"}",
    ] {
        cases.push(vec![question.to_string()]);
    }
    cases.push(vec!["nowhere".to_string(), "inport == \"p01\"".to_string()]);
    cases.push(vec![
        "sw0".to_string(),
        "inport == \"p01\" && eth.src == f0:00:00:00:00:01".to_string(),
    ]);
    let differing: Vec<String> = cases
        .iter()
        .filter_map(|args| {
            let (stock, ours) = (
                lab.trace(Path::new("ovn-trace"), args),
                lab.trace(ours, args),
            );
            if stock.is_empty() || stock.contains(SOLICITS) {
                return None;
            }
            let at = stock.lines().zip(ours.lines()).position(|(a, b)| a != b);
            let at = at.unwrap_or(stock.lines().count().min(ours.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("(end)").to_string();
            (stock != ours).then(|| {
                format!(
                    "{args:?}\n  stock: {}\n  ours:  {}",
                    line(&stock),
                    line(&ours)
                )
            })
        })
        .collect();
    assert!(
        differing.is_empty(),
        "WEFT_TRACE_SEED={seed}: {} of {}:\n{}",
        differing.len(),
        cases.len(),
        differing.join("\n")
    );
}

#[test]
fn explains() {
    if !installed() {
        return;
    }
    let mut lab = Lab::start();
    lab.compile();
    let explain = |flow: &str| {
        let args = [
            "--minimal".to_string(),
            "--explain".to_string(),
            flow.to_string(),
        ];
        let text = lab.trace(Path::new(env!("CARGO_BIN_EXE_weft-trace")), &args);
        text.lines().last().unwrap().to_string()
    };
    let spoofed = explain(
        "inport == \"p01\" && eth.src == f0:00:00:00:00:09 && eth.dst == f0:00:00:00:00:02",
    );
    assert!(
        spoofed.contains("dropped in table 1 (ls_in_apply_port_sec), ingress of \"sw0\""),
        "{spoofed}"
    );
    let good = explain(
        "inport == \"p01\" && eth.src == f0:00:00:00:00:01 && eth.dst == f0:00:00:00:00:02",
    );
    assert_eq!(good, "# Packet delivered to port \"p02\".");
    let policy = |options: &[&str], source: &str, flow: &str| {
        let nb = format!("--nb-db={}", lab.remote());
        let mut args: Vec<String> = ["--minimal", "--explain", &nb].map(String::from).into();
        args.extend(options.iter().map(|option| (*option).to_string()));
        args.push(format!(
            "inport == \"p21\" && eth.src == f0:00:00:00:02:01 && eth.dst == f0:00:00:00:02:02 && ip.ttl == 64 && \
             ip4.src == {source} && ip4.dst == 10.0.2.12 && {flow}"
        ));
        let text = lab.trace(Path::new(env!("CARGO_BIN_EXE_weft-trace")), &args);
        text.lines().last().unwrap().to_string()
    };
    let dropped = policy(&["--ct=new", "--ct=new"], "10.0.2.99", "tcp.dst == 81");
    assert!(
        dropped.starts_with("# Packet dropped in table") && dropped.contains(" by ACL "),
        "{dropped}"
    );
    assert!(
        dropped.contains(
            "(to-lport, tier 0, priority 1001, match \"outport==@pg1 && tcp.dst==81\", drop)"
        ),
        "{dropped}"
    );
    let rejected = policy(&["--ct=new", "--ct=new"], "10.0.2.11", "tcp.dst == 80");
    assert!(
        rejected.contains("from-lport, tier 0, priority 1001, match \"tcp.dst==80\", reject"),
        "{rejected}"
    );
    let allowed = policy(&["--ct=new", "--ct=new"], "10.0.2.11", "udp.dst == 80");
    assert!(
        allowed.starts_with("# Packet delivered to port \"friendly\"; met ACL ")
            && allowed.contains("priority 1002"),
        "{allowed}"
    );
    // Its connection has been let through before: no ACL is asked about the reply.
    let reply = policy(
        &["--ct=est,rpl", "--ct=est,rpl"],
        "10.0.2.11",
        "udp.dst == 80",
    );
    assert_eq!(reply, "# Packet delivered to port \"friendly\".");
}
