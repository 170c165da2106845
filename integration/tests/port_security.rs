//! Port security: random `port_security` columns, and the tables that both controllers make of them, flow by flow.
//!
//! Words are separated by spaces: where ovn-nb(5) allows commas too, 23.03 takes the first word alone and allows every address.
//!
//! `WEFT_SEED` chooses another seed than the fixed one, `WEFT_ROUNDS` how many columns are tried.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Ports with a column each per look at the tables.
const PORTS: usize = 12;

/// `check_in_port_sec()`, its part for ARP and neighbour discovery, `check_out_port_sec()`.
const TABLES: [u8; 3] = [73, 74, 75];

const MACS: [&str; 3] = [
    "0a:00:00:00:00:01",
    "0a:00:00:00:00:02",
    "00:00:5e:00:01:07",
];

/// A word of an entry beside its Ethernet address.
fn address(rng: &mut SmallRng) -> String {
    let (a, b): (u8, u8) = (rng.random(), rng.random());
    match rng.random_range(0..10) {
        0 | 1 => format!("10.{a}.0.{b}"),
        2 => format!("10.{a}.{b}.7/24"),
        3 => format!("10.{a}.{b}.0/24"),
        4 => format!("10.{a}.{b}.4/{}", rng.random_range(28..=32)),
        5 => format!("10.{a}.0.0/{}", rng.random_range(16..=20)),
        6 => format!("fd00::{a:x}:{b:x}"),
        7 => format!("fd00:{a:x}::{b:x}/64"),
        8 => format!("fd00:{a:x}::/64"),
        _ => format!("fe80::{a:x}/128"),
    }
}

/// An entry.
fn entry(rng: &mut SmallRng) -> String {
    let mut words = vec![(*MACS.choose(rng).unwrap()).to_string()];
    words.extend((0..rng.random_range(0..4)).map(|_| address(rng)));
    words.join(" ")
}

/// A column. A wrong entry stands beside right ones and is wrong from its first word on: of one that is wrong later, 23.03 takes
/// what is before that word, and where no entry is right, it lets everything pass. Ours allows nothing for it, and says so.
fn column(rng: &mut SmallRng) -> String {
    let mut entries: Vec<String> = (0..rng.random_range(0..4)).map(|_| entry(rng)).collect();
    if !entries.is_empty() && rng.random_range(0..8) == 0 {
        entries.push(format!("0a:00:00 {}", address(rng)));
    }
    let quoted: Vec<String> = entries.iter().map(|entry| format!("'{entry}'")).collect();
    quoted.join(" ")
}

fn lab(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 1);
    lab.nb("ls-add s\n set logical_switch s other-config:requested-tnl-key=7");
    let script: Vec<String> = (1..=PORTS)
        .map(|n| {
            format!("lsp-add s p{n}\n set logical_switch_port p{n} options:requested-tnl-key={n}")
        })
        .collect();
    lab.nb(&script.join("\n"));
    let script: Vec<String> = (1..=PORTS)
        .map(|n| {
            format!(
                "add-port br-int p{n}\n set interface p{n} type=internal external-ids:iface-id=p{n}"
            )
        })
        .collect();
    lab.vs("h1", &script.join("\n"));
    lab.ready();
    lab
}

/// The flows of the tables, without what says nothing about packets.
///
/// Left out are the flows for neighbour discovery of table 74, which differ for a reason: 23.03 asks for a hop limit of 225 where
/// 255 is meant, and so refuses every advertisement of a port whose entry has no IPv6 address, and lets every solicitation pass.
fn tables(lab: &Lab) -> BTreeSet<String> {
    let mut flows = BTreeSet::new();
    for table in TABLES {
        for line in lab.flows("h1", &format!("table={table}")).lines() {
            let Some(flow) = line.find("table=").map(|at| &line[at..]) else {
                continue;
            };
            if table != 74 || !flow.contains("icmp6") {
                flows.insert(flow.to_string());
            }
        }
    }
    flows
}

#[test]
fn both_controllers_make_the_same_tables() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("WEFT_SEED").unwrap_or(1);
    let rounds = number("WEFT_ROUNDS").unwrap_or(60).div_ceil(PORTS as u64);
    let (ours, stock) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| lab(Impls::WEFT_CONTROLLER));
        let stock = scope.spawn(|| lab(Impls::STOCK));
        (ours.join().unwrap(), stock.join().unwrap())
    });
    let rng = &mut SmallRng::seed_from_u64(seed);
    for round in 0..rounds {
        let mut script = Vec::new();
        for n in 1..=PORTS {
            script.push(format!("lsp-set-port-security p{n} {}", column(rng)));
        }
        let script = script.join("\n");
        for lab in [&ours, &stock] {
            lab.nb(&script);
            lab.ready();
        }
        wait_for(CONVERGE, "the same tables", || {
            let (ours, stock) = (tables(&ours), tables(&stock));
            let list = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).cloned().collect::<Vec<_>>().join("\n")
            };
            let (more, less) = (list(&ours, &stock), list(&stock, &ours));
            ensure(
                more.is_empty() && less.is_empty() && !ours.is_empty(),
                format!(
                    "seed {seed}, round {round}:\n{script}\nonly ours:\n{more}\nonly stock's:\n{less}"
                ),
            )
        });
    }
}
