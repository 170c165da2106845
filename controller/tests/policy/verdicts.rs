//! The flows of random rules decide about random packets as the rules' matches do, whatever changes.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weft_controller::install::Installer;
use weft_controller::program::Settings;
use weft_lang::env::Env;
use weft_lang::eval::{eval, microflow};
use weft_lang::packet::Packet;
use weft_lang::{Const, Int, parse_constants, parse_match};
use weft_schemas::sb;

use super::table::FlowTable;
use super::{address_set, port_group, rule, switch_under};

const PORTS: usize = 8;
const SETS: usize = 3;
const GROUPS: usize = 3;
const RULES: u32 = 10;

/// The rules and names as written.
#[derive(Default)]
struct Written {
    rules: BTreeMap<u32, (i64, String)>,
    sets: BTreeMap<String, Vec<String>>,
    groups: BTreeMap<String, Vec<usize>>,
}

impl Env for Written {
    fn port(&self, name: &str) -> Option<u32> {
        name.strip_prefix('p')?.parse().ok()
    }

    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        let members = self.sets.get(name)?.iter();
        let ints = members.flat_map(|text| parse_constants(text).unwrap().0);
        Some(ints.filter_map(|it: Const| it.as_int().copied()).collect())
    }

    fn port_group(&self, _: weft_lang::Field, name: &str) -> Option<Vec<u32>> {
        let members = self.groups.get(name)?.iter();
        Some(members.map(|port| *port as u32).collect())
    }

    fn is_resident(&self, port: &str) -> bool {
        port == "p1"
    }
}

struct Draw(SmallRng);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn address(&mut self) -> String {
        format!("10.0.0.{}", self.below(12))
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_owned()
    }

    fn list(&mut self, most: usize, mut of: impl FnMut(&mut Draw) -> String) -> String {
        let n = self.below(most) + 1;
        let parts: Vec<String> = (0..n).map(|_| of(self)).collect();
        format!("{{{}}}", parts.join(", "))
    }

    fn leaf(&mut self) -> String {
        let side = self.one(&["src", "dst"]);
        match self.below(9) {
            0 | 1 => format!("ip4.{side} == $s{}", self.below(SETS + 1)),
            2 => format!("ip4.{side} == {}", self.list(6, Draw::address)),
            3 => format!("outport == @g{}", self.below(GROUPS + 1)),
            4 => format!(
                "tcp.{side} == {}",
                self.list(5, |d| [22, 53, 80, 443, 8080][d.below(5)].to_string())
            ),
            5 => format!("{} <= tcp.dst <= {}", self.below(60), 60 + self.below(400)),
            6 => format!("outport == \"p{}\"", self.below(PORTS) + 1),
            7 => format!("ip4.{side} != {}", self.list(3, Draw::address)),
            _ => self.one(&["ip4", "tcp", "udp", "1"]),
        }
    }

    fn expr(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(4) == 0 {
            return self.leaf();
        }
        let n = 2 + self.below(2);
        let parts: Vec<String> = (0..n).map(|_| self.expr(depth - 1)).collect();
        let joint = if self.below(3) == 0 { " || " } else { " && " };
        format!("({})", parts.join(joint))
    }

    /// A rule of the kind that conjunctive matches are for, or any.
    fn match_(&mut self, all: &BTreeMap<u32, (i64, String)>) -> String {
        match self.below(4) {
            0 => self.expr(2),
            // What another rule says, and something else.
            1 if !all.is_empty() => {
                let n = self.below(all.len());
                let (_, other) = all.values().nth(n).unwrap();
                format!("({other}) && {}", self.leaf())
            }
            _ => format!(
                "outport == @g{} && ip4.src == $s{} && ip4.dst == $s{} && tcp.dst == {{80, 443, 8080}}",
                self.below(GROUPS),
                self.below(SETS),
                self.below(SETS)
            ),
        }
    }

    fn packet(&mut self, env: &Written) -> Packet {
        let proto = self.one(&["tcp", "tcp", "tcp", "udp"]);
        let text = format!(
            "outport == \"p{}\" && ip4.src == {} && ip4.dst == {} && {proto}.src == {} && {proto}.dst == {}",
            self.below(PORTS) + 1,
            self.address(),
            self.address(),
            [22, 53, 80, 443, 8080][self.below(5)],
            [22, 53, 80, 443, 8080][self.below(5)]
        );
        microflow(&parse_match(&text).unwrap(), env).unwrap()
    }

    /// One change of what is written.
    fn edit(&mut self, written: &mut Written) -> sb::Update {
        match self.below(5) {
            0 => {
                let n = self.below(SETS);
                let members: Vec<String> = (0..self.below(9)).map(|_| self.address()).collect();
                let mut members = members;
                members.sort();
                members.dedup();
                written.sets.insert(format!("s{n}"), members.clone());
                address_set(n, &format!("s{n}"), members)
            }
            1 => {
                let n = self.below(GROUPS);
                let members: Vec<usize> = (1..=PORTS).filter(|_| self.below(2) == 0).collect();
                written.groups.insert(format!("g{n}"), members.clone());
                port_group(n, &format!("g{n}"), members)
            }
            _ => {
                let cookie = self.below(RULES as usize) as u32 + 100;
                let (priority, text) = (
                    [100, 100, 200, 300][self.below(4)],
                    self.match_(&written.rules),
                );
                // Rules quote each other: what is too long says nothing new.
                let text = if text.len() > 600 { self.expr(2) } else { text };
                written.rules.insert(cookie, (priority, text.clone()));
                rule(cookie, priority, &text)
            }
        }
    }
}

fn expected(written: &Written, packet: &Packet) -> Vec<u64> {
    let holds: Vec<(i64, u64)> = written
        .rules
        .iter()
        .filter(|(_, (_, text))| eval(&parse_match(text).unwrap(), packet, written))
        .map(|(cookie, (priority, _))| (*priority, u64::from(*cookie)))
        .collect();
    let top = holds.iter().map(|(priority, _)| *priority).max();
    let of_top = holds.iter().filter(|(priority, _)| Some(*priority) == top);
    of_top.map(|(_, cookie)| *cookie).collect()
}

/// Edits at random; returns how many packets a rule has decided about, and how many flows were conjunctive at most.
fn play(seed: u64, edits: usize) -> (usize, usize) {
    let mut draw = Draw(SmallRng::seed_from_u64(seed));
    // Some sets are put together of parts.
    let settings = Settings {
        large_set: Some(4),
        ..Settings::default()
    };
    let mut core = switch_under(settings, PORTS, PORTS);
    let (mut installer, mut table) = (Installer::default(), FlowTable::default());
    let mut written = Written::default();
    let (mut decided, mut conjunctive) = (0, 0);
    let of_table = weft_controller::tables::LOG_EGRESS + 4;
    for step in 0..edits {
        let update = draw.edit(&mut written);
        core.apply_sb(vec![update], false);
        let delta = core.run();
        installer.apply(delta.removed.iter(), delta.added.iter());
        table.take(&installer.batch(), of_table);
        conjunctive = conjunctive.max(table.conjunctive());
        for _ in 0..12 {
            let packet = draw.packet(&written);
            let (seen, wanted) = (table.decide(&packet), expected(&written, &packet));
            let right = seen.is_empty() == wanted.is_empty()
                && seen.iter().all(|cookie| wanted.contains(cookie));
            assert!(
                right,
                "seed {seed}, step {step}: {seen:?} decide, not {wanted:?}, about {packet:?}\n{:?}\nsets {:?}\ngroups {:?}",
                written.rules, written.sets, written.groups
            );
            decided += usize::from(!seen.is_empty());
        }
    }
    (decided, conjunctive)
}

#[test]
fn flows_decide_as_matches_say() {
    for seed in 0..6 {
        let (decided, conjunctive) = play(seed, 50);
        assert!(
            decided > 25 && conjunctive > 0,
            "nothing worth comparing: {decided}, {conjunctive}"
        );
    }
}

#[test]
fn flows_decide_as_matches_say_with_a_fresh_seed() {
    play(weft_engine::testing::seed(), 50);
}
