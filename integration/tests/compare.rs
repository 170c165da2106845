//! The same random topologies compiled by ours and by stock northd, the same packets traced through both southbounds:
//! ours with `weft-trace`, stock's with `ovn-trace`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use weft_integration::command::Done;
use weft_integration::compare::{Flow, Topology, Verdict};
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// Topologies and packets of each, unless `WEFT_COMPARE=TOPOLOGIES,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (12, 20);

/// Stock `ovn-trace` 23.03 aborts on some flows (`nd_na_router` in a router is one): so many of a hundred questions may go
/// unanswered, no more.
const UNANSWERED_PERCENT: usize = 10;

/// Differences that are meant, as (part of the flow or verdicts, reason). Empty: there are none.
const MEANT: &[(&str, &str)] = &[];

#[test]
fn same_verdicts_as_stock() {
    let setting = std::env::var("WEFT_COMPARE").unwrap_or_default();
    let mut parts = setting.split(',').map(|part| part.trim().parse::<u64>());
    let topologies = parts.next().and_then(Result::ok).unwrap_or(DEFAULT.0);
    let flows = parts
        .next()
        .and_then(Result::ok)
        .map_or(DEFAULT.1, |n| usize::try_from(n).unwrap());
    let first = parts.next().and_then(Result::ok).unwrap_or(0);
    let mut unanswered = 0;
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    let mut differences = Vec::new();
    for index in 0..topologies {
        let seed = first + index;
        let mut topology = Topology::random(seed, &format!("t{index}"));
        std::thread::scope(|scope| {
            for lab in [&ours, &stock] {
                let commands = &topology.commands;
                scope.spawn(move || {
                    lab.nb(commands);
                    wait_for(CONVERGE, "northd", || {
                        lab.nbctl("--timeout=20 --wait=sb sync").result()
                    });
                });
            }
        });
        for _ in 0..flows {
            let flow = topology.flow();
            let (our_text, stock_text) = std::thread::scope(|scope| {
                let ours = scope.spawn(|| trace(&ours, ours.programs.trace.clone(), &flow));
                let stock = trace(&stock, "ovn-trace".into(), &flow);
                (ours.join().unwrap().ok(), stock)
            });
            if stock_text.crashed {
                unanswered += 1;
                continue;
            }
            let stock_text = stock_text.ok();
            let (our, theirs) = (Verdict::parse(&our_text), Verdict::parse(&stock_text));
            if our != theirs && !meant(&flow, &our_text, &stock_text) {
                // Stock's trace of our southbound tells which of our two programs it is.
                let third = Verdict::parse(&trace(&ours, "ovn-trace".into(), &flow).stdout);
                let culprit = if third == theirs {
                    "weft-trace"
                } else {
                    "northd"
                };
                let Flow { datapath, packet } = flow;
                differences.push(format!(
                    "seed {seed} ({culprit}): {datapath} {packet}\n  ours: {our:?}\n  stock: {theirs:?}"
                ));
            }
        }
        // The next topology is a change of this one's databases: everything leaves, other things come.
        let cleanup: String = topology
            .commands
            .lines()
            .filter_map(|line| {
                let (verb, name) = line.split_once(' ')?;
                matches!(verb, "ls-add" | "lr-add")
                    .then(|| format!("{} {name}\n", verb.replace("add", "del")))
            })
            .collect();
        ours.nb(&cleanup);
        stock.nb(&cleanup);
    }
    let asked = usize::try_from(topologies).unwrap() * flows;
    assert!(
        unanswered * 100 <= asked * UNANSWERED_PERCENT,
        "ovn-trace died on {unanswered} of {asked} packets"
    );
    assert!(
        differences.is_empty(),
        "{} packets with another fate (WEFT_COMPARE=1,{flows},SEED repeats one):\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn trace(lab: &Lab, program: PathBuf, flow: &Flow) -> Done {
    lab.trace_with(&program, "--minimal", &flow.datapath, &flow.packet)
}

fn meant(flow: &Flow, a: &str, b: &str) -> bool {
    MEANT
        .iter()
        .any(|(part, _)| [&flow.packet, a, b].iter().any(|text| text.contains(part)))
}
