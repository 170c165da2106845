//! Random topologies and micro-flows, and what a trace makes of them.

pub mod acl;
pub mod lb;
pub mod nat;
pub mod route;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A random northbound and what can be asked about it.
#[derive(Debug)]
pub struct Topology {
    /// nbctl commands, one per line.
    pub commands: String,
    rng: StdRng,
    switches: Vec<Switch>,
    /// Addresses beyond the router ports, and addresses nobody has.
    far: Vec<String>,
    /// Router, whether by source, prefix and next hop.
    routes: Vec<(usize, bool, String, String)>,
}

#[derive(Debug)]
struct Switch {
    name: String,
    ports: Vec<Port>,
    /// Ethernet and IP addresses of router ports on it.
    gateways: Vec<(String, [String; 2])>,
}

#[derive(Debug)]
struct Port {
    name: String,
    mac: String,
    ip: [String; 2],
}

/// A packet to trace.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The switch it enters.
    pub datapath: String,
    /// The micro-flow in the match language.
    pub packet: String,
}

impl Topology {
    /// The topology of a seed; names start with `prefix`.
    pub fn random(seed: u64, prefix: &str) -> Topology {
        let mut t = Topology {
            commands: String::new(),
            rng: StdRng::seed_from_u64(seed),
            switches: Vec::new(),
            far: vec!["8.8.8.8".into(), "fd99::1".into(), "10.200.0.1".into()],
            routes: Vec::new(),
        };
        let routers = t.rng.random_range(1..=2);
        for r in 0..routers {
            t.line(format_args!("lr-add {prefix}r{r}"));
        }
        if routers == 2 {
            for r in 0..2 {
                let other = 1 - r;
                t.line(format_args!(
                    "lrp-add {prefix}r{r} {prefix}link{r} 0a:00:00:00:ee:0{r} 172.16.0.{}/30 fd77::{}/64 peer={prefix}link{other}",
                    r + 1,
                    r + 1
                ));
            }
        }
        for s in 0..t.rng.random_range(2..=4) {
            t.switch(prefix, s, routers);
        }
        for r in 0..routers {
            for _ in 0..t.rng.random_range(0..=4) {
                t.route(prefix, r, routers);
            }
            if t.rng.random_bool(0.1) {
                t.line(format_args!(
                    "set logical_router {prefix}r{r} enabled=false"
                ));
            }
        }
        t
    }

    /// The ports of machines, by the switch they are on.
    pub fn ports(&self) -> impl Iterator<Item = (&str, &str)> {
        self.switches.iter().flat_map(|switch| {
            let ports = switch.ports.iter();
            ports.map(|port| (&*switch.name, &*port.name))
        })
    }

    /// nbctl commands, one per line, that remove it all.
    pub fn removal(&self) -> String {
        self.commands
            .lines()
            .filter_map(|line| {
                let (verb, name) = line.split_once(' ')?;
                matches!(verb, "ls-add" | "lr-add")
                    .then(|| format!("{} {name}\n", verb.replace("add", "del")))
            })
            .collect()
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.commands, "{text}").expect("a string takes all");
    }

    fn switch(&mut self, prefix: &str, s: usize, routers: usize) {
        let name = format!("{prefix}s{s}");
        self.line(format_args!("ls-add {name}"));
        let mut switch = Switch {
            name: name.clone(),
            ports: Vec::new(),
            gateways: Vec::new(),
        };
        for p in 0..self.rng.random_range(1..=4) {
            let port = Port {
                name: format!("{name}p{p}"),
                mac: format!("0a:00:00:00:{s:02x}:{p:02x}"),
                ip: [format!("10.{s}.0.{}", p + 1), format!("fd0{s}::{}", p + 1)],
            };
            let own = format!("{} {} {}", port.mac, port.ip[0], port.ip[1]);
            self.line(format_args!("lsp-add {name} {}", port.name));
            match self.rng.random_range(0..6) {
                0 => self.line(format_args!("lsp-set-addresses {} unknown", port.name)),
                1 => self.line(format_args!(
                    "lsp-set-addresses {} '{own}' unknown",
                    port.name
                )),
                2 => self.line(format_args!(
                    "lsp-set-addresses {} '{}'",
                    port.name, port.mac
                )),
                _ => self.line(format_args!("lsp-set-addresses {} '{own}'", port.name)),
            }
            match self.rng.random_range(0..6) {
                0 => self.line(format_args!("lsp-set-port-security {} '{own}'", port.name)),
                1 => self.line(format_args!(
                    "lsp-set-port-security {} '{}'",
                    port.name, port.mac
                )),
                _ => {}
            }
            if self.rng.random_bool(0.1) {
                self.line(format_args!("lsp-set-enabled {} disabled", port.name));
            }
            switch.ports.push(port);
        }
        for r in 0..routers {
            if self.rng.random_bool(0.7) {
                let mac = format!("0a:00:00:00:f{r}:{s:02x}");
                let ip = [format!("10.{s}.0.25{r}"), format!("fd0{s}::25{r}")];
                self.line(format_args!(
                    "lrp-add {prefix}r{r} {name}-r{r} {mac} {}/24 {}/64",
                    ip[0], ip[1]
                ));
                self.line(format_args!("lsp-add {name} {name}-lr{r}"));
                self.line(format_args!("lsp-set-type {name}-lr{r} router"));
                let addresses = if self.rng.random_bool(0.8) {
                    "router".to_string()
                } else {
                    format!("'{mac} {}'", ip[0])
                };
                self.line(format_args!("lsp-set-addresses {name}-lr{r} {addresses}"));
                self.line(format_args!(
                    "lsp-set-options {name}-lr{r} router-port={name}-r{r}"
                ));
                switch.gateways.push((mac, ip));
            }
        }
        if self.rng.random_bool(0.2) {
            self.line(format_args!("lsp-add {name} {name}-ln"));
            self.line(format_args!("lsp-set-type {name}-ln localnet"));
            self.line(format_args!("lsp-set-addresses {name}-ln unknown"));
            self.line(format_args!(
                "lsp-set-options {name}-ln network_name=physnet"
            ));
        }
        self.switches.push(switch);
    }

    fn route(&mut self, names: &str, r: usize, routers: usize) {
        let (a, b) = (self.rng.random_range(0..4), self.rng.random_range(0..4));
        let host = self.rng.random_range(1..=4);
        let length = [8, 16, 24, 32][self.rng.random_range(0..4)];
        let net = [format!("10.{}.{b}.0", 100 + a), format!("192.168.{b}.0")]
            [self.rng.random_range(0..2)]
        .clone();
        let hop = if routers == 2 && self.rng.random_bool(0.5) {
            format!("172.16.0.{}", 2 - r)
        } else {
            format!("10.{}.0.{host}", self.rng.random_range(0..4))
        };
        let length_mask = |text: &str| -> String {
            let address: std::net::Ipv4Addr = text.parse().expect("written above");
            format!(
                "{}/{length}",
                std::net::Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - length)))
            )
        };
        self.far.push(net.clone());
        let (by_source, prefix, hop) = match self.rng.random_range(0..5) {
            0 => (false, length_mask(&net), "discard".to_string()),
            1 => (true, format!("10.{a}.0.0/24"), hop),
            2 => {
                let next = format!("fd0{}::{host}", self.rng.random_range(0..4));
                (false, "fd99::/64".to_string(), next)
            }
            _ => (false, length_mask(&net), hop),
        };
        // Stock nbctl does not see what came before in the same transaction: nothing is given twice, and equal routes
        // are meant to be equal.
        let before: Vec<&String> = self
            .routes
            .iter()
            .filter(|(router, source, to, _)| (*router, *source, to) == (r, by_source, &prefix))
            .map(|(.., hop)| hop)
            .collect();
        // Stock shares the load of a prefix with a route that discards: nobody means that, and we do not.
        let discards = |to: &String| to == "discard";
        let mixed = !before.is_empty() && (discards(&hop) || before.iter().any(|to| discards(to)));
        if before.contains(&&hop) || mixed {
            return;
        }
        let equal = if before.is_empty() { "" } else { "--ecmp " };
        let policy = if by_source { "--policy=src-ip " } else { "" };
        self.line(format_args!(
            "{equal}{policy}lr-route-add {names}r{r} {prefix} {hop}"
        ));
        self.routes.push((r, by_source, prefix, hop));
    }

    fn pick<T>(
        &mut self,
        count: impl Fn(&Topology) -> usize,
        get: impl Fn(&Topology, usize) -> T,
    ) -> Option<T> {
        let n = count(self);
        (n > 0).then(|| {
            let i = self.rng.random_range(0..n);
            get(self, i)
        })
    }

    /// A random packet into a random port.
    pub fn flow(&mut self) -> Flow {
        let s = self.rng.random_range(0..self.switches.len());
        let p = self.rng.random_range(0..self.switches[s].ports.len());
        let v6 = self.rng.random_bool(0.4);
        let family = usize::from(v6);
        let (datapath, inport, mut source_mac, mut source) = {
            let (switch, port) = (&self.switches[s], &self.switches[s].ports[p]);
            (
                switch.name.clone(),
                port.name.clone(),
                port.mac.clone(),
                port.ip[family].clone(),
            )
        };
        if self.rng.random_bool(0.08) {
            source_mac = "0a:00:00:00:99:99".into();
        }
        if self.rng.random_bool(0.08) {
            source = if v6 {
                format!("fd0{s}::77")
            } else {
                format!("10.{s}.0.77")
            };
        }
        let gateway = self.pick(
            |t| t.switches[s].gateways.len(),
            |t, i| t.switches[s].gateways[i].clone(),
        );
        let other = self.rng.random_range(0..self.switches.len());
        let target = match self.rng.random_range(0..10) {
            0..=5 => self.pick(
                |t| t.switches[other].ports.len(),
                |t, i| t.switches[other].ports[i].ip[family].clone(),
            ),
            6..=7 => self.pick(
                |t| t.switches[other].gateways.len(),
                |t, i| t.switches[other].gateways[i].1[family].clone(),
            ),
            _ => self
                .pick(|t| t.far.len(), |t, i| t.far[i].clone())
                .filter(|ip| ip.contains(':') == v6),
        }
        .unwrap_or_else(|| {
            if v6 {
                "fd88::8".into()
            } else {
                "9.9.9.9".into()
            }
        });
        let target_mac = match self.rng.random_range(0..10) {
            0 => "ff:ff:ff:ff:ff:ff".to_string(),
            1 => "0a:00:00:00:aa:aa".to_string(),
            2..=4 => self
                .pick(
                    |t| t.switches[s].ports.len(),
                    |t, i| t.switches[s].ports[i].mac.clone(),
                )
                .expect("has one"),
            _ => gateway.map_or("0a:00:00:00:aa:aa".to_string(), |(mac, _)| mac),
        };
        let ttl = [64, 64, 64, 2, 1][self.rng.random_range(0..5)];
        let head = format!(r#"inport == "{inport}" && eth.src == {source_mac}"#);
        let packet = match (self.rng.random_range(0..6), v6) {
            (0, false) => format!(
                "{head} && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.sha == {source_mac} && arp.spa == {source} && arp.tpa == {target}"
            ),
            (0, true) => format!(
                "{head} && eth.dst == 33:33:ff:00:00:01 && ip6.src == {source} && ip6.dst == ff02::1:ff00:1 && ip.ttl == 255 && \
                 icmp6.type == 135 && icmp6.code == 0 && nd.target == {target} && nd.sll == {source_mac}"
            ),
            (1, v6) => format!(
                "{head} && eth.dst == {target_mac} && {ip}.src == {source} && {ip}.dst == {target} && ip.ttl == {ttl} && udp.src == 1000 && udp.dst == 53",
                ip = if v6 { "ip6" } else { "ip4" }
            ),
            (2, v6) => format!(
                "{head} && eth.dst == {target_mac} && {ip}.src == {source} && {ip}.dst == {target} && ip.ttl == {ttl} && tcp.src == 1000 && tcp.dst == 80",
                ip = if v6 { "ip6" } else { "ip4" }
            ),
            (_, false) => format!(
                "{head} && eth.dst == {target_mac} && ip4.src == {source} && ip4.dst == {target} && ip.ttl == {ttl} && icmp4.type == 8 && icmp4.code == 0"
            ),
            (_, true) => format!(
                "{head} && eth.dst == {target_mac} && ip6.src == {source} && ip6.dst == {target} && ip.ttl == {ttl} && icmp6.type == 128 && icmp6.code == 0"
            ),
        };
        Flow { datapath, packet }
    }
}

/// What became of a packet: each output port with the packets (a reply, an error, the packet itself) it was sent,
/// and the headers at the end where there was one output only (several are copies in no particular order).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Verdict {
    /// Enclosing actions (`icmp4`, `arp` ...) and output port, sorted. Empty: dropped.
    pub outputs: Vec<(String, String)>,
    /// Header fields that were written, with their last values.
    pub headers: BTreeMap<String, String>,
}

impl Verdict {
    /// Reads the output of a trace in its minimal form.
    pub fn parse(text: &str) -> Verdict {
        let mut stack = vec![(String::new(), BTreeMap::new())];
        let mut verdict = Verdict::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (path, headers) = stack.last_mut().expect("the outermost stays");
            if let Some(action) = line.strip_suffix('{') {
                // Which of several equals was taken is not what became of the packet.
                let inner = match action.starts_with("select") {
                    true => path.clone(),
                    false => format!("{path}/{}", action.trim()),
                };
                if action.trim() == SOLICITATION {
                    verdict.outputs.push((inner.clone(), String::new()));
                }
                let headers = headers.clone();
                stack.push((inner, headers));
            } else if line.trim_end_matches(';') == SOLICITATION {
                let inner = format!("{path}/{SOLICITATION}");
                verdict.outputs.push((inner, String::new()));
            } else if line.starts_with('}') {
                if stack.len() > 1 {
                    stack.pop();
                }
            } else if let Some(port) = line
                .strip_prefix("output(\"")
                .and_then(|rest| rest.split('"').next())
            {
                verdict.outputs.push((path.clone(), port.to_string()));
                verdict.headers = headers.clone();
            } else if line == "ip.ttl--;" {
                let count = headers
                    .get("ttl lowered")
                    .and_then(|n: &String| n.parse::<u8>().ok())
                    .unwrap_or(0)
                    + 1;
                headers.insert("ttl lowered".into(), count.to_string());
            } else if let Some((field, value)) = line.trim_end_matches(';').split_once(" = ") {
                headers.insert(field.to_string(), value.to_string());
            }
        }
        verdict.settle();
        verdict
    }

    /// The same without what became of solicitations: that they were sent is all that is left. The packet that stock
    /// `ovn-trace` 23.03 makes in `nd_ns` has parts that it never sets: it is a solicitation (`nd_ns` as a match) at times
    /// only, goes through the router again at others, and now and then the program ends by a signal.
    #[must_use]
    pub fn but_solicitations(&self) -> Verdict {
        let mut verdict = self.clone();
        for (path, port) in &mut verdict.outputs {
            if let Some((before, _)) = path.split_once(&format!("/{SOLICITATION}")) {
                *path = format!("{before}/{SOLICITATION}");
                port.clear();
            }
        }
        verdict.settle();
        verdict
    }

    fn settle(&mut self) {
        self.outputs.sort();
        self.outputs.dedup();
        if self.outputs.len() > 1 || self.outputs.iter().any(|(_, port)| port.is_empty()) {
            self.headers.clear();
        }
    }
}

const SOLICITATION: &str = "nd_ns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let text = "# icmp,...\nip.ttl--;\neth.dst = 0a:00:00:00:00:01;\nicmp4 {\n    ip.ttl = 254;\n    output(\"p1\");\n};\n";
        let verdict = Verdict::parse(text);
        assert_eq!(verdict.outputs, [("/icmp4".to_string(), "p1".to_string())]);
        assert_eq!(verdict.headers.len(), 3);
        assert_eq!(Verdict::parse("# drop\n"), Verdict::default());
        let asked = Verdict::parse("nd_ns {\n  output(\"p1\");\n  output(\"p2\");\n};\n");
        assert_eq!(asked.outputs.len(), 3);
        assert_eq!(
            asked.but_solicitations(),
            Verdict::parse("nd_ns;\n").but_solicitations()
        );
        assert_ne!(asked.but_solicitations(), Verdict::default());
    }

    #[test]
    fn a_seed_is_a_topology() {
        let (a, b) = (Topology::random(7, "x"), Topology::random(7, "x"));
        assert_eq!(a.commands, b.commands);
        assert_ne!(a.commands, Topology::random(8, "x").commands);
    }
}
