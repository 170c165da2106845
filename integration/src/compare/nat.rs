//! Random address translation at a gateway, with a load balancer at times, and packets from inside and outside.
//!
//! What stock 23.03 does otherwise is not drawn: rules for the same packets, rules with matches or priorities of their own.
//! Nor is `dnat_force_snat_ip`, of which `ovn-trace` forgets the flag on the way (its northd writes the same flows).

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// A random northbound with translations and what can be asked about it.
#[derive(Debug)]
pub struct Translated {
    /// nbctl commands, one per line.
    pub commands: String,
    /// nbctl commands that take all of it away again.
    pub cleanup: String,
    rng: StdRng,
    prefix: String,
    /// Outer addresses.
    outer: Vec<String>,
}

impl Translated {
    /// The translations of a seed; names start with `prefix`: two switches inside with two ports each, one outside with
    /// one, and a router between that is bound to a chassis or has a gateway port.
    pub fn random(seed: u64, prefix: &str) -> Translated {
        let mut t = Translated {
            commands: String::new(),
            cleanup: format!("lr-del {prefix}r\n"),
            rng: StdRng::seed_from_u64(seed),
            prefix: prefix.into(),
            outer: Vec::new(),
        };
        t.line(format_args!("lr-add {prefix}r"));
        t.switch("in0", "0", "10.0.0.", "fd00::", 2);
        t.switch("in1", "1", "10.1.0.", "fd01::", 2);
        t.switch("ext", "9", "172.16.0.", "fd16::", 1);
        t.line(format_args!("lr-route-add {prefix}r 0.0.0.0/0 172.16.0.1"));
        t.line(format_args!("lr-route-add {prefix}r ::/0 fd16::1"));
        let bound = t.rng.random_bool(0.5);
        if bound {
            t.line(format_args!(
                "set logical_router {prefix}r options:chassis=ch"
            ));
        } else {
            t.line(format_args!("lrp-set-gateway-chassis {prefix}ext-r ch"));
        }
        t.rules(bound);
        t
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.commands, "{text}").expect("a string takes all");
    }

    fn switch(&mut self, name: &str, number: &str, v4: &str, v6: &str, ports: usize) {
        let prefix = self.prefix.clone();
        let switch = format!("{prefix}{name}");
        self.line(format_args!("ls-add {switch}"));
        writeln!(self.cleanup, "ls-del {switch}").expect("a string takes all");
        for p in 1..=ports {
            self.line(format_args!("lsp-add {switch} {switch}p{p}"));
            self.line(format_args!(
                "lsp-set-addresses {switch}p{p} '0a:00:00:00:0{number}:0{p} {v4}{p} {v6}{p}'"
            ));
        }
        self.line(format_args!(
            "lrp-add {prefix}r {switch}-r 0a:00:00:00:ff:0{number} {v4}254/24 {v6}fe/64"
        ));
        self.line(format_args!("lsp-add {switch} {switch}-lr"));
        self.line(format_args!("lsp-set-type {switch}-lr router"));
        self.line(format_args!("lsp-set-addresses {switch}-lr router"));
        self.line(format_args!(
            "lsp-set-options {switch}-lr router-port={switch}-r"
        ));
    }

    fn rules(&mut self, bound: bool) {
        let prefix = self.prefix.clone();
        for s in 0..2 {
            if self.rng.random_bool(0.6) {
                let outer = format!("172.16.0.10{s}");
                self.line(format_args!(
                    "lr-nat-add {prefix}r snat {outer} 10.{s}.0.0/24"
                ));
                self.outer.push(outer);
            }
            if self.rng.random_bool(0.4) {
                let outer = format!("fd16::10{s}");
                self.line(format_args!(
                    "lr-nat-add {prefix}r snat {outer} fd0{s}::/64"
                ));
                self.outer.push(outer);
            }
            for p in 1..=2 {
                self.floating(bound, s, p);
            }
        }
        if bound && self.rng.random_bool(0.3) {
            let outer = "172.16.0.200";
            self.line(format_args!(
                "lb-add {prefix}lb {outer}:80 10.0.0.1:8080,10.1.0.2:8080"
            ));
            self.line(format_args!("lr-lb-add {prefix}r {prefix}lb"));
            writeln!(self.cleanup, "lb-del {prefix}lb").expect("a string takes all");
            self.outer.push(outer.into());
        }
    }

    fn floating(&mut self, bound: bool, s: usize, p: usize) {
        let prefix = self.prefix.clone();
        let v6 = self.rng.random_bool(0.3);
        let (outer, inner) = match v6 {
            false => (format!("172.16.0.1{}{p}", s + 1), format!("10.{s}.0.{p}")),
            true => (format!("fd16::1{}{p}", s + 1), format!("fd0{s}::{p}")),
        };
        let rule = match self.rng.random_range(0..10) {
            0..=3 => format!("lr-nat-add {prefix}r dnat_and_snat {outer} {inner}"),
            4 => format!("lr-nat-add {prefix}r dnat {outer} {inner}"),
            5 => format!("--stateless lr-nat-add {prefix}r dnat_and_snat {outer} {inner}"),
            6 if !bound => format!(
                "lr-nat-add {prefix}r dnat_and_snat {outer} {inner} {prefix}in{s}p{p} 0a:00:00:00:e{s}:0{p}"
            ),
            _ => return,
        };
        self.line(format_args!("{rule}"));
        self.outer.push(outer);
    }

    /// A packet, and the options of a trace of it.
    pub fn question(&mut self) -> (Flow, String) {
        let outside = self.rng.random_bool(0.4);
        let (s, p) = (self.rng.random_range(0..2), self.rng.random_range(1..=2));
        let outer = match self.outer.len() {
            0 => "172.16.0.254".to_owned(),
            n => self.outer[self.rng.random_range(0..n)].clone(),
        };
        let other = self.rng.random_range(0..2);
        let target = match (outside, self.rng.random_range(0..6)) {
            (_, 0..=2) => outer,
            (true, 3) => "172.16.0.254".into(),
            (true, _) => format!("10.{other}.0.{p}"),
            (false, 3) => "172.16.0.1".into(),
            (false, 4) => ["8.8.8.8", "2001:db8::8"][other].into(),
            (false, _) => format!("10.{other}.0.{p}"),
        };
        let v6 = target.contains(':');
        let (switch, mac, router, v4_net, v6_net, p) = match outside {
            true => (
                "ext".to_owned(),
                "09:01".to_owned(),
                "09",
                "172.16.0.".to_owned(),
                "fd16::".to_owned(),
                1,
            ),
            false => (
                format!("in{s}"),
                format!("0{s}:0{p}"),
                ["00", "01"][s],
                format!("10.{s}.0."),
                format!("fd0{s}::"),
                p,
            ),
        };
        let (ip, source) = match v6 {
            true => ("ip6", format!("{v6_net}{p}")),
            false => ("ip4", format!("{v4_net}{p}")),
        };
        let what = match (self.rng.random_range(0..3), v6) {
            (0, false) => "icmp4.type == 8 && icmp4.code == 0".to_owned(),
            (0, true) => "icmp6.type == 128 && icmp6.code == 0".to_owned(),
            (1, _) => "tcp.src == 40000 && tcp.dst == 80".to_owned(),
            _ => "udp.src == 40000 && udp.dst == 53".to_owned(),
        };
        let datapath = format!("{}{switch}", self.prefix);
        let packet = format!(
            "inport == \"{datapath}p{p}\" && eth.src == 0a:00:00:00:{mac} && eth.dst == 0a:00:00:00:ff:{router} && \
             {ip}.src == {source} && {ip}.dst == {target} && ip.ttl == 64 && {what}"
        );
        let state = ["new", "new", "new", "est", "est,rpl", "inv"][self.rng.random_range(0..6)];
        let mut options = vec![format!("--ct={state}"); 5].join(" ");
        if target == "172.16.0.200" {
            options.push_str(" --lb-dst=10.0.0.1:8080");
        }
        (Flow { datapath, packet }, options)
    }
}
