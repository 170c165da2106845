//! Random static routes, by destination and by source, in tables, and routing policies, and packets for them.
//!
//! Of several equal routes a trace takes any: they are not drawn; nor what stock 23.03 does not know (chains of policies).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// A random northbound with routes and what can be asked about it.
#[derive(Debug)]
pub struct Routed {
    /// nbctl commands, one per line.
    pub commands: String,
    /// nbctl commands that take all of it away again.
    pub cleanup: String,
    rng: StdRng,
    prefix: String,
}

const SWITCHES: usize = 3;
/// Networks that routes lead to, one within the other.
const V4: [&str; 8] = [
    "0.0.0.0/0",
    "20.0.0.0/8",
    "20.1.0.0/16",
    "20.1.1.0/24",
    "20.1.1.1/32",
    "30.0.0.0/9",
    "10.1.0.0/25",
    "10.2.0.2/32",
];
const V6: [&str; 5] = [
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::1/128",
    "fd01::/80",
];
const TO_V4: [&str; 7] = [
    "20.1.1.1", "20.1.1.9", "20.1.9.9", "20.9.9.9", "30.1.1.1", "8.8.8.8", "10.2.0.2",
];
const TO_V6: [&str; 5] = [
    "2001:db8:1::1",
    "2001:db8:1::9",
    "2001:db8:9::9",
    "fd01::2",
    "2002::1",
];

impl Routed {
    /// The routes of a seed; names start with `prefix`: three switches with two ports each on one router.
    pub fn random(seed: u64, prefix: &str) -> Routed {
        let mut r = Routed {
            commands: String::new(),
            cleanup: format!("lr-del {prefix}r\n"),
            rng: StdRng::seed_from_u64(seed),
            prefix: prefix.into(),
        };
        r.line(format_args!("lr-add {prefix}r"));
        for s in 0..SWITCHES {
            r.switch(s);
        }
        let mut drawn = BTreeSet::new();
        for _ in 0..r.rng.random_range(1..8) {
            r.route(&mut drawn);
        }
        let mut priorities = BTreeSet::new();
        for _ in 0..r.rng.random_range(0..4) {
            r.policy(&mut priorities);
        }
        r
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.commands, "{text}").expect("a string takes all");
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.random_range(0..of.len())]
    }

    fn switch(&mut self, s: usize) {
        let prefix = self.prefix.clone();
        let name = format!("{prefix}s{s}");
        self.line(format_args!("ls-add {name}"));
        writeln!(self.cleanup, "ls-del {name}").expect("a string takes all");
        for p in 1..=2 {
            self.line(format_args!("lsp-add {name} {name}p{p}"));
            self.line(format_args!(
                "lsp-set-addresses {name}p{p} '0a:00:00:00:0{s}:0{p} 10.{s}.0.{p} fd0{s}::{p}'"
            ));
        }
        self.line(format_args!(
            "lrp-add {prefix}r {name}-r 0a:00:00:00:ff:0{s} 10.{s}.0.254/24 fd0{s}::fe/64"
        ));
        if self.rng.random_bool(0.3) {
            self.line(format_args!(
                "set logical_router_port {name}-r options:route_table=special"
            ));
        }
        self.line(format_args!("lsp-add {name} {name}-lr"));
        self.line(format_args!("lsp-set-type {name}-lr router"));
        self.line(format_args!("lsp-set-addresses {name}-lr router"));
        self.line(format_args!(
            "lsp-set-options {name}-lr router-port={name}-r"
        ));
    }

    /// An address behind a switch, mostly one that a port has.
    fn hop(&mut self, v6: bool) -> String {
        let (s, p) = (
            self.rng.random_range(0..SWITCHES),
            self.rng.random_range(1..=3),
        );
        match v6 {
            true => format!("fd0{s}::{p}"),
            false => format!("10.{s}.0.{p}"),
        }
    }

    fn route(&mut self, drawn: &mut BTreeSet<(String, String, String)>) {
        let prefix = self.prefix.clone();
        let v6 = self.rng.random_bool(0.35);
        let to = self.one(if v6 { &V6 } else { &V4 });
        let by_source = self.rng.random_bool(0.2);
        let (network, policy) = match (by_source, v6) {
            (true, false) => (
                format!("10.{}.0.0/24", self.rng.random_range(0..SWITCHES)),
                "--policy=src-ip ",
            ),
            (true, true) => (
                format!("fd0{}::/64", self.rng.random_range(0..SWITCHES)),
                "--policy=src-ip ",
            ),
            (false, _) => (to.to_owned(), ""),
        };
        let table = self.one(&["", "", "--route-table=special "]);
        if !drawn.insert((network.clone(), policy.into(), table.into())) {
            return;
        }
        let hop = match self.rng.random_bool(0.15) {
            true => "discard".to_owned(),
            false => self.hop(v6),
        };
        self.line(format_args!(
            "{policy}{table}lr-route-add {prefix}r {network} {hop}"
        ));
    }

    fn policy(&mut self, priorities: &mut BTreeSet<u16>) {
        let prefix = self.prefix.clone();
        let priority = self.rng.random_range(1..1000);
        if !priorities.insert(priority) {
            return;
        }
        let v6 = self.rng.random_bool(0.3);
        let s = self.rng.random_range(0..SWITCHES);
        let match_ = match (self.rng.random_range(0..4), v6) {
            (0, false) => format!("ip4.src == 10.{s}.0.0/24"),
            (0, true) => format!("ip6.src == fd0{s}::/64"),
            (1, false) => "ip4.dst == 20.0.0.0/8 && tcp".to_owned(),
            (1, true) => "ip6.dst == 2001:db8::/32 && udp".to_owned(),
            (2, false) => format!("inport == \"{prefix}s{s}-r\" && ip4"),
            (2, true) => format!("inport == \"{prefix}s{s}-r\" && ip6"),
            (_, false) => format!("ip4.dst == 10.{s}.0.1"),
            (_, true) => format!("ip6.dst == fd0{s}::1"),
        };
        let action = match self.rng.random_range(0..3) {
            0 => "allow".to_owned(),
            1 => "drop".to_owned(),
            _ => format!("reroute {}", self.hop(v6)),
        };
        self.line(format_args!(
            "lr-policy-add {prefix}r {priority} '{match_}' {action}"
        ));
    }

    /// A packet.
    pub fn question(&mut self) -> (Flow, String) {
        let (s, p) = (
            self.rng.random_range(0..SWITCHES),
            self.rng.random_range(1..=2),
        );
        let v6 = self.rng.random_bool(0.35);
        let target = match self.rng.random_bool(0.3) {
            true => self.hop(v6),
            false => self.one(if v6 { &TO_V6 } else { &TO_V4 }).to_owned(),
        };
        let (ip, source) = match v6 {
            true => ("ip6", format!("fd0{s}::{p}")),
            false => ("ip4", format!("10.{s}.0.{p}")),
        };
        let ttl = [64, 64, 64, 1][self.rng.random_range(0..4)];
        let proto = self.one(&[
            "tcp.src == 40000 && tcp.dst == 80",
            "udp.src == 40000 && udp.dst == 53",
        ]);
        let datapath = format!("{}s{s}", self.prefix);
        let packet = format!(
            "inport == \"{datapath}p{p}\" && eth.src == 0a:00:00:00:0{s}:0{p} && eth.dst == 0a:00:00:00:ff:0{s} && \
             {ip}.src == {source} && {ip}.dst == {target} && ip.ttl == {ttl} && {proto}"
        );
        (Flow { datapath, packet }, String::new())
    }
}
