//! Random load balancers on switches and routers, directly and in groups, and packets for them.
//!
//! What stock 23.03 does otherwise is not drawn: it drops the first packet of a client that it binds to a backend.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// A random northbound with load balancers and what can be asked about it.
#[derive(Debug)]
pub struct Balanced {
    /// nbctl commands, one per line.
    pub commands: String,
    /// nbctl commands that take all of it away again.
    pub cleanup: String,
    rng: StdRng,
    prefix: String,
    vips: Vec<Vip>,
}

#[derive(Clone, Debug)]
struct Vip {
    ip: String,
    port: Option<u16>,
    proto: &'static str,
    backends: Vec<String>,
}

const PORTS: [u16; 3] = [53, 80, 443];

impl Balanced {
    /// The load balancers of a seed; names start with `prefix`. Two switches with two ports each and a router between.
    pub fn random(seed: u64, prefix: &str) -> Balanced {
        let mut b = Balanced {
            commands: String::new(),
            cleanup: String::new(),
            rng: StdRng::seed_from_u64(seed),
            prefix: prefix.into(),
            vips: Vec::new(),
        };
        b.line(format_args!("lr-add {prefix}r"));
        b.undo(format_args!("lr-del {prefix}r"));
        for s in 0..2 {
            b.switch(s);
        }
        let gateway = b.rng.random_bool(0.5);
        // Stock gives refusals the router's address too, so that nobody believes them: not together.
        let forced = gateway && b.rng.random_bool(0.3);
        if gateway {
            b.line(format_args!(
                "set logical_router {prefix}r options:chassis=ch"
            ));
            if forced {
                b.line(format_args!(
                    "set logical_router {prefix}r options:lb_force_snat_ip=router_ip"
                ));
            }
        }
        for n in 0..b.rng.random_range(1..=4) {
            b.balancer(n, forced);
        }
        b
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.commands, "{text}").expect("a string takes all");
    }

    fn undo(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.cleanup, "{text}").expect("a string takes all");
    }

    fn switch(&mut self, s: usize) {
        let prefix = self.prefix.clone();
        let name = format!("{prefix}s{s}");
        self.line(format_args!("ls-add {name}"));
        self.undo(format_args!("ls-del {name}"));
        for p in 0..2 {
            let own = format!(
                "0a:00:00:00:{s:02x}:{p:02x} 10.{s}.0.{} fd0{s}::{}",
                p + 1,
                p + 1
            );
            self.line(format_args!("lsp-add {name} {name}p{p}"));
            self.line(format_args!("lsp-set-addresses {name}p{p} '{own}'"));
        }
        self.line(format_args!(
            "lrp-add {prefix}r {name}-r 0a:00:00:00:ff:{s:02x} 10.{s}.0.254/24 fd0{s}::fe/64"
        ));
        self.line(format_args!("lsp-add {name} {name}-lr"));
        self.line(format_args!("lsp-set-type {name}-lr router"));
        self.line(format_args!("lsp-set-addresses {name}-lr router"));
        self.line(format_args!(
            "lsp-set-options {name}-lr router-port={name}-r"
        ));
    }

    fn balancer(&mut self, n: usize, forced: bool) {
        let prefix = self.prefix.clone();
        let name = format!("{prefix}lb{n}");
        let v6 = self.rng.random_bool(0.4);
        let ported = self.rng.random_bool(0.75);
        let proto = if self.rng.random_bool(0.5) {
            "tcp"
        } else {
            "udp"
        };
        let near = self.rng.random_bool(0.3);
        let ip = match (v6, near) {
            (false, false) => format!("192.0.2.{}", n + 1),
            (false, true) => format!("10.0.0.10{n}"),
            (true, false) => format!("2001:db8::{}", n + 1),
            (true, true) => format!("fd00::10{n}"),
        };
        let port = ported.then(|| PORTS[self.rng.random_range(0..PORTS.len())]);
        let with = |ip: &str, port: Option<u16>| match port {
            Some(port) if v6 => format!("[{ip}]:{port}"),
            Some(port) => format!("{ip}:{port}"),
            None => ip.to_owned(),
        };
        let backends: Vec<String> = (0..self.rng.random_range(0..=3))
            .map(|_| {
                let (s, p) = (self.rng.random_range(0..2), self.rng.random_range(1..=2));
                let ip = if v6 {
                    format!("fd0{s}::{p}")
                } else {
                    format!("10.{s}.0.{p}")
                };
                with(&ip, port.map(|_| 8080))
            })
            .collect();
        let list = match backends.is_empty() {
            true => "''".to_owned(),
            false => backends.join(","),
        };
        let protocol = if ported { proto } else { "" };
        let reject = if !forced && self.rng.random_bool(0.3) {
            "--reject "
        } else {
            ""
        };
        self.line(format_args!(
            "{reject}lb-add {name} {} {list} {protocol}",
            with(&ip, port)
        ));
        self.undo(format_args!("lb-del {name}"));
        if self.rng.random_bool(0.3) {
            self.line(format_args!(
                "set load_balancer {name} options:skip_snat=true"
            ));
        }
        for s in 0..2 {
            if self.rng.random_bool(0.7) {
                self.line(format_args!("ls-lb-add {prefix}s{s} {name}"));
            }
        }
        if self.rng.random_bool(0.6) {
            self.line(format_args!("lr-lb-add {prefix}r {name}"));
        }
        self.vips.push(Vip {
            ip,
            port,
            proto,
            backends,
        });
    }

    /// A packet, and the options of a trace of it.
    pub fn question(&mut self) -> (Flow, String) {
        let vip = self.vips[self.rng.random_range(0..self.vips.len())].clone();
        let (s, p) = (self.rng.random_range(0..2), self.rng.random_range(0..2));
        let name = format!("{}s{s}", self.prefix);
        let (ip, source) = match vip.ip.contains(':') {
            true => ("ip6", format!("fd0{s}::{}", p + 1)),
            false => ("ip4", format!("10.{s}.0.{}", p + 1)),
        };
        let proto = if self.rng.random_bool(0.8) {
            vip.proto
        } else {
            "tcp"
        };
        let drawn = PORTS[self.rng.random_range(0..PORTS.len())];
        let port = vip
            .port
            .filter(|_| self.rng.random_bool(0.8))
            .unwrap_or(drawn);
        let packet = format!(
            "inport == \"{name}p{p}\" && eth.src == 0a:00:00:00:{s:02x}:{p:02x} && eth.dst == 0a:00:00:00:ff:{s:02x} && \
             {ip}.src == {source} && {ip}.dst == {} && ip.ttl == 64 && {proto}.dst == {port} && {proto}.src == 40000",
            vip.ip
        );
        let state = ["new", "new", "new", "est"][self.rng.random_range(0..4)];
        let mut options = format!("--ct={state} --ct={state} --ct={state}");
        // ovn-trace guesses which connections return to their sender, in IPv6 and between protocols otherwise than
        // ovn-controller does.
        let source = source.as_str();
        let far = |backend: &&String| !backend.contains(source);
        let far: Vec<&String> = vip.backends.iter().filter(far).collect();
        if !far.is_empty() {
            let chosen = far[self.rng.random_range(0..far.len())];
            options.push_str(&format!(" --lb-dst={chosen}"));
        }
        (
            Flow {
                datapath: name,
                packet,
            },
            options,
        )
    }
}
