//! Random policy: ACLs on switches and port groups over address sets, and packets with the connection states they meet.
//!
//! Stock 23.03 has no notion of tiers and `pass`: it gets the same policy without them. Earlier tiers become higher priorities,
//! and what a rule passes on is taken out of the matches of those below it in its tier.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// A random northbound with policy and what can be asked about it.
#[derive(Debug)]
pub struct Policy {
    /// nbctl commands, one per line.
    pub commands: String,
    /// The same without tiers.
    pub flat: String,
    /// nbctl commands that take all of it away again.
    pub cleanup: String,
    rng: StdRng,
    prefix: String,
    switches: Vec<Switch>,
    groups: Vec<String>,
    sets: Vec<String>,
    routed: bool,
    /// Whether rules are in tiers.
    tiered: bool,
    rules: Vec<Rule>,
}

/// An ACL.
#[derive(Debug)]
struct Rule {
    /// What has it: table and name.
    owner: (&'static str, String),
    direction: &'static str,
    after_lb: bool,
    priority: usize,
    tier: usize,
    action: &'static str,
    match_: String,
    /// Other columns.
    rest: String,
}

/// Of so many policies one is in tiers.
const TIERED: u64 = 3;

/// More than any priority within a tier.
const TIER: usize = 8000;

#[derive(Debug)]
struct Switch {
    name: String,
    ports: Vec<Port>,
}

#[derive(Clone, Debug)]
struct Port {
    name: String,
    mac: String,
    ip: [String; 2],
}

/// A packet, and the state that each pass through conntrack finds it in.
#[derive(Clone, Debug)]
pub struct Question {
    /// The packet.
    pub flow: Flow,
    /// Options of ovn-trace(8).
    pub options: String,
}

/// States that a packet can be in.
const STATES: [&str; 7] = ["new", "new", "est", "est,rpl", "rel", "rel,rpl", "inv"];

const PORTS: [u16; 4] = [22, 53, 80, 443];

impl Policy {
    /// The policy of a seed; names start with `prefix`.
    pub fn random(seed: u64, prefix: &str) -> Policy {
        let mut p = Policy {
            commands: String::new(),
            flat: String::new(),
            cleanup: String::new(),
            rng: StdRng::seed_from_u64(seed),
            prefix: prefix.into(),
            switches: Vec::new(),
            groups: Vec::new(),
            sets: Vec::new(),
            routed: false,
            tiered: seed % TIERED == 1,
            rules: Vec::new(),
        };
        for s in 0..p.below(2) + 1 {
            p.switch(s);
        }
        p.routed = p.chance(0.5);
        if p.routed {
            p.router();
        }
        p.groups();
        p.sets();
        for s in 0..p.switches.len() {
            let name = p.switches[s].name.clone();
            // Some switches have none, so that what needs no conntrack is seen to have none.
            for _ in 0..[0, 0, 1, 2, 4, 7][p.below(6)] {
                p.acl("switch", &name);
            }
        }
        for group in p.groups.clone() {
            for _ in 0..[0, 1, 1, 3][p.below(4)] {
                p.acl("port-group", &group);
            }
        }
        p.flat.clone_from(&p.commands);
        for (n, rule) in p.rules.iter().enumerate() {
            let id = format!("{}acl{n}", p.prefix);
            let tier = match rule.tier {
                0 => String::new(),
                tier => format!(" tier={tier}"),
            };
            p.commands.push_str(&rule.command(
                &id,
                rule.priority,
                rule.action,
                &rule.match_,
                &tier,
            ));
            p.flat.push_str(&p.untiered(&id, rule));
        }
        p
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.commands, "{text}").expect("a string takes all");
    }

    fn undo(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.cleanup, "{text}").expect("a string takes all");
    }

    fn switch(&mut self, s: usize) {
        let name = format!("{}s{s}", self.prefix);
        self.line(format_args!("ls-add {name}"));
        self.undo(format_args!("ls-del {name}"));
        let mut ports = Vec::new();
        for p in 0..self.below(3) + 2 {
            let port = Port {
                name: format!("{name}p{p}"),
                mac: format!("0a:00:00:00:{s:02x}:{p:02x}"),
                ip: [format!("10.{s}.0.{}", p + 1), format!("fd0{s}::{}", p + 1)],
            };
            self.line(format_args!("lsp-add {name} {}", port.name));
            self.line(format_args!(
                "lsp-set-addresses {} '{} {} {}'",
                port.name, port.mac, port.ip[0], port.ip[1]
            ));
            ports.push(port);
        }
        self.switches.push(Switch { name, ports });
    }

    fn router(&mut self) {
        let r = format!("{}r", self.prefix);
        self.line(format_args!("lr-add {r}"));
        self.undo(format_args!("lr-del {r}"));
        for s in 0..self.switches.len() {
            let name = self.switches[s].name.clone();
            self.line(format_args!(
                "lrp-add {r} {name}-r 0a:00:00:00:ff:{s:02x} 10.{s}.0.254/24 fd0{s}::254/64"
            ));
            self.line(format_args!("lsp-add {name} {name}-lr"));
            self.line(format_args!("lsp-set-type {name}-lr router"));
            self.line(format_args!("lsp-set-addresses {name}-lr router"));
            self.line(format_args!(
                "lsp-set-options {name}-lr router-port={name}-r"
            ));
        }
    }

    fn groups(&mut self) {
        for g in 0..self.below(3) {
            let name = format!("{}g{g}", self.prefix);
            let all: Vec<String> = self
                .switches
                .iter()
                .flat_map(|switch| switch.ports.iter().map(|port| port.name.clone()))
                .collect();
            let members: Vec<String> = all.into_iter().filter(|_| self.chance(0.5)).collect();
            self.line(format_args!("pg-add {name} {}", members.join(" ")));
            self.undo(format_args!("pg-del {name}"));
            self.groups.push(name);
        }
    }

    fn sets(&mut self) {
        for n in 0..self.below(3) {
            let name = format!("{}a{n}", self.prefix);
            let kind = self.below(4);
            let mut members: Vec<String> = (0..self.below(4) + 1)
                .map(|_| match kind {
                    0 => self.port().mac,
                    1 => self.port().ip[1].clone(),
                    _ => self.port().ip[0].clone(),
                })
                .collect();
            if kind == 2 {
                members.push("10.1.0.0/30".into());
            }
            members.sort();
            members.dedup();
            self.line(format_args!(
                "create address_set name={name} addresses='{}'",
                members
                    .iter()
                    .map(|member| format!("\"{member}\""))
                    .collect::<Vec<_>>()
                    .join(",")
            ));
            self.undo(format_args!("destroy address_set {name}"));
            // Comparing a set of another kind with a field is an error of the match; that is for other tests.
            self.sets.push(format!("{kind}{name}"));
        }
    }

    fn port(&mut self) -> Port {
        let s = self.below(self.switches.len());
        let p = self.below(self.switches[s].ports.len());
        self.switches[s].ports[p].clone()
    }

    fn acl(&mut self, kind: &str, of: &str) {
        let direction: &'static str = self.one(&["from-lport", "to-lport"]);
        // No two are equal: which of two rules of one priority decides is left open (ovn-nb(5)), and stock's choice
        // changes from run to run.
        let priorities: [usize; 6] = match self.tiered {
            true => [1, 201, 201, 401, 1001, 7001],
            false => [1, 201, 201, 401, 1001, 32600],
        };
        let priority = priorities[self.below(6)] + self.rules.len();
        let mut text = self.expr(direction, 0);
        let side = if direction == "from-lport" {
            "inport"
        } else {
            "outport"
        };
        let action = if self.tiered && kind == "switch" && self.chance(0.25) {
            text = self.passed_on(of);
            "pass"
        } else {
            self.one(&[
                "allow",
                "allow-related",
                "allow-related",
                "allow-stateless",
                "drop",
                "drop",
                "reject",
            ])
        };
        // What is stateless is decided before ACLs, by matches alone.
        let action = match action {
            "allow-stateless" if self.tiered => "allow",
            other => other,
        };
        if kind == "port-group" && self.chance(0.8) {
            text = format!("{side} == @{of} && ({text})");
        }
        let mut rest = String::new();
        let after_lb = direction == "from-lport" && self.chance(0.3);
        if after_lb {
            rest.push_str(" options:apply-after-lb=true");
        }
        if action == "allow-related" && self.chance(0.2) {
            write!(rest, " label={}", self.below(9) + 1).expect("a string takes all");
        }
        let id = format!("{}acl{}", self.prefix, self.rules.len());
        if action != "pass" && self.chance(0.1) {
            write!(rest, " log=true name={id}").expect("a string takes all");
        }
        let table = match kind {
            "switch" => "logical_switch",
            _ => "port_group",
        };
        let tier = if self.tiered { self.below(4) } else { 0 };
        self.rules.push(Rule {
            owner: (table, of.to_owned()),
            direction,
            after_lb,
            priority,
            tier,
            action,
            match_: text,
            rest,
        });
    }

    /// What can be taken out of other matches: `!` makes the opposite only of fields that every packet has and that are no
    /// names. Ethernet addresses of machines are seen on their own switch alone.
    fn passed_on(&mut self, switch: &str) -> String {
        let found = self.switches.iter().find(|it| it.name == switch);
        let macs = found.map(|it| it.ports.iter().map(|port| port.mac.clone()));
        let macs: Vec<String> = macs.into_iter().flatten().collect();
        let mut one = || {
            let side = self.one(&["src", "dst"]);
            format!("eth.{side} == {}", macs[self.below(macs.len())])
        };
        let (first, second) = (one(), one());
        match self.below(3) {
            0 => first,
            n => format!("({first} {} {second})", ["&&", "||"][n - 1]),
        }
    }

    /// The command for a rule in a policy without tiers.
    fn untiered(&self, id: &str, rule: &Rule) -> String {
        if !self.tiered {
            return rule.command(id, rule.priority, rule.action, &rule.match_, "");
        }
        let priority = (3 - rule.tier) * TIER + rule.priority;
        if rule.action == "pass" {
            // Does nothing, but is there: a switch with rules may drop what none of them is about.
            return rule.command(id, priority, "allow", "eth.type == 0x1234", "");
        }
        let passes = |other: &&Rule| {
            let same_stage = (other.direction, other.after_lb) == (rule.direction, rule.after_lb);
            let above = other.tier == rule.tier && other.priority > rule.priority;
            other.action == "pass" && same_stage && above
        };
        let mut match_ = format!("({})", rule.match_);
        for other in self.rules.iter().filter(passes) {
            write!(match_, " && !({})", other.match_).expect("a string takes all");
        }
        rule.command(id, priority, rule.action, &match_, "")
    }

    /// A random match.
    fn expr(&mut self, direction: &str, depth: usize) -> String {
        if depth < 3 && self.chance(0.45) {
            let parts: Vec<String> = (0..self.below(2) + 2)
                .map(|_| self.expr(direction, depth + 1))
                .collect();
            let text = parts.join(self.one(&[" && ", " && ", " || "]));
            return match self.below(6) {
                0 => format!("!({text})"),
                _ => format!("({text})"),
            };
        }
        self.leaf(direction)
    }

    fn leaf(&mut self, direction: &str) -> String {
        let side = self.one(&["src", "dst"]);
        let port = PORTS[self.below(4)];
        let own = self.port();
        match self.below(14) {
            0 => self.one(&["ip4", "ip6", "ip", "arp", "1"]).to_owned(),
            1 => self
                .one(&["tcp", "udp", "sctp", "icmp4", "icmp6"])
                .to_owned(),
            2 => format!(
                "{}.{side} == {port}",
                self.one(&["tcp", "udp", "sctp", "tcp"])
            ),
            3 => {
                let low = self.below(60);
                format!("{} <= {}.dst < {}", low, self.one(&["tcp", "udp"]), port)
            }
            4 => format!(
                "{}.dst == {{{}, {}}}",
                self.one(&["tcp", "udp"]),
                port,
                PORTS[self.below(4)]
            ),
            5 => format!("ip4.{side} == {}", own.ip[0]),
            6 => format!(
                "ip4.{side} == 10.{}.0.0/{}",
                self.below(2),
                24 + self.below(7)
            ),
            7 => format!("ip6.{side} == {}", own.ip[1]),
            8 => format!(
                "ip4.{side} {} {{{}, {}}}",
                self.one(&["==", "==", "!="]),
                own.ip[0],
                self.port().ip[0]
            ),
            9 => format!("eth.{side} == {}", own.mac),
            10 => self.port_test(direction, &own.name),
            11 => self.group_test(direction, side),
            12 => self.set_test(side),
            _ => format!(
                "{} == {}",
                self.one(&["icmp4.type", "icmp6.type", "ip.proto", "ip.ttl"]),
                [8, 128, 6, 64][self.below(4)]
            ),
        }
    }

    fn port_test(&mut self, direction: &str, port: &str) -> String {
        let side = if direction == "from-lport" {
            "inport"
        } else {
            self.one(&["outport", "outport", "inport"])
        };
        format!("{side} == \"{port}\"")
    }

    fn group_test(&mut self, direction: &str, side: &str) -> String {
        if self.groups.is_empty() {
            return "ip".into();
        }
        let n = self.below(self.groups.len());
        let group = self.groups[n].clone();
        match self.below(4) {
            0 => format!("ip4.{side} == ${group}_ip4"),
            1 => format!("ip6.{side} == ${group}_ip6"),
            _ if direction == "from-lport" => format!("inport == @{group}"),
            _ => format!("outport == @{group}"),
        }
    }

    fn set_test(&mut self, side: &str) -> String {
        if self.sets.is_empty() {
            return "ip".into();
        }
        let n = self.below(self.sets.len());
        let (kind, name) = self.sets[n].split_at(1);
        match kind {
            "0" => format!("eth.{side} == ${name}"),
            "1" => format!("ip6.{side} == ${name}"),
            _ => format!("ip4.{side} == ${name}"),
        }
    }

    /// A random packet into a random port.
    pub fn question(&mut self) -> Question {
        let s = self.below(self.switches.len());
        let p = self.below(self.switches[s].ports.len());
        let (datapath, own) = (
            self.switches[s].name.clone(),
            self.switches[s].ports[p].clone(),
        );
        let t = if self.routed {
            self.below(self.switches.len())
        } else {
            s
        };
        let to = self.below(self.switches[t].ports.len());
        let other = self.switches[t].ports[to].clone();
        let v6 = usize::from(self.chance(0.3));
        let mac = match (t == s, self.below(12)) {
            (_, 0) => "ff:ff:ff:ff:ff:ff".to_owned(),
            (true, _) => other.mac.clone(),
            (false, _) => format!("0a:00:00:00:ff:{s:02x}"),
        };
        let target = other.ip[v6].clone();
        let ip = ["ip4", "ip6"][v6];
        let port = PORTS[self.below(4)];
        let payload = match self.below(8) {
            0 => format!("udp.src == 1000 && udp.dst == {port}"),
            1 => format!("sctp.src == 1000 && sctp.dst == {port}"),
            2 => [
                "icmp4.type == 8 && icmp4.code == 0",
                "icmp6.type == 128 && icmp6.code == 0",
            ][v6]
                .to_owned(),
            3 => [
                "icmp4.type == 3 && icmp4.code == 1",
                "icmp6.type == 1 && icmp6.code == 4",
            ][v6]
                .to_owned(),
            4 => format!("tcp.src == {port} && tcp.dst == 1000"),
            _ => format!("tcp.src == 1000 && tcp.dst == {port}"),
        };
        let mut packet = format!(
            "inport == \"{}\" && eth.src == {} && eth.dst == {mac} && {ip}.src == {} && {ip}.dst == {target} && ip.ttl == 64 && {payload}",
            own.name, own.mac, own.ip[v6]
        );
        if t == s && self.chance(0.2) {
            // What the connection has been marked with: it was allowed once and no longer is. (Beyond a router it would
            // be another connection, with a mark of its own.)
            packet.push_str(" && ct_mark == 1");
        }
        let options: Vec<String> = (0..4)
            .map(|_| format!("--ct={}", STATES[self.below(STATES.len())]))
            .collect();
        Question {
            flow: Flow { datapath, packet },
            options: options.join(" "),
        }
    }
}

impl Rule {
    /// Rows, not acl-add: it has no words for all columns in every version.
    fn command(&self, id: &str, priority: usize, action: &str, match_: &str, tier: &str) -> String {
        let (table, record) = &self.owner;
        let (direction, rest) = (self.direction, &self.rest);
        let match_ = match_.replace('"', "\\\"");
        format!(
            "--id=@{id} create acl direction={direction} priority={priority} action={action} 'match=\"{match_}\"'{tier}{rest}\n\
             add {table} {record} acls @{id}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_policy() {
        let (mut a, mut b) = (Policy::random(7, "x"), Policy::random(7, "x"));
        assert_eq!(a.commands, b.commands);
        assert_eq!(a.question().flow.packet, b.question().flow.packet);
        assert_ne!(a.commands, Policy::random(8, "x").commands);
    }

    #[test]
    fn all_is_drawn() {
        let all: String = (0..60)
            .map(|seed| Policy::random(seed, "x").commands)
            .collect();
        for word in [
            "action=allow ",
            "allow-related",
            "allow-stateless",
            "reject",
            "drop",
            "to-lport",
            "apply-after-lb",
            "label=",
            "@x",
            "$x",
            "_ip6",
            "!(",
            "!=",
            "action=pass",
            "tier=3",
        ] {
            assert!(all.contains(word), "{word} is never drawn");
        }
    }
}
