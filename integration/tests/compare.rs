//! The same random topologies compiled by ours and by stock northd, the same packets traced through both southbounds:
//! both with `weft-trace`, stock's also with `ovn-trace`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use weft_integration::compare::{Flow, Topology, Verdict};
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// Topologies and packets of each, unless `WEFT_COMPARE=TOPOLOGIES,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (8, 20);

/// Stock `ovn-trace` 23.03 aborts on some flows (`nd_na_router` in a router is one): so many of a hundred questions may go
/// unanswered, no more.
const UNANSWERED_PERCENT: usize = 10;

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
            let asked = Asked::ask(&ours, &stock, &flow);
            unanswered += usize::from(asked.unanswered());
            if let Some(what) = asked.difference() {
                if !setting.is_empty() {
                    eprintln!("{}", topology.commands);
                }
                let Flow { datapath, packet } = flow;
                differences.push(format!("seed {seed}: {datapath} {packet}\n  {what}"));
            }
        }
        // The next topology is a change of this one's databases: everything leaves, other things come.
        let cleanup = topology.removal();
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

/// What three traces say of a packet. The first two tell what our northd does, the last two what our trace does.
struct Asked {
    /// `weft-trace` on our southbound and on stock's.
    ours: [Vec<Verdict>; 2],
    /// `ovn-trace` on stock's, unless it died.
    stock: Option<Vec<Verdict>>,
}

impl Asked {
    fn ask(ours: &Lab, stock: &Lab, flow: &Flow) -> Asked {
        let weft = &ours.programs.trace;
        std::thread::scope(|scope| {
            let a = scope.spawn(|| verdicts(ours, weft, flow));
            let b = scope.spawn(|| verdicts(stock, weft, flow));
            let stock = verdicts(stock, Path::new("ovn-trace"), flow);
            let answer = |it: Option<Vec<Verdict>>| it.expect("weft-trace does not die");
            Asked {
                ours: [answer(a.join().unwrap()), answer(b.join().unwrap())],
                stock,
            }
        })
    }

    fn unanswered(&self) -> bool {
        self.stock.is_none()
    }

    fn difference(&self) -> Option<String> {
        let [here, there] = &self.ours;
        if here != there {
            return Some(format!("northd, ours: {here:?}\n  stock: {there:?}"));
        }
        let reduced = |all: &[Verdict]| -> Vec<Verdict> {
            all.iter().map(Verdict::but_solicitations).collect()
        };
        let stock = self.stock.as_ref()?;
        (reduced(there) != reduced(stock))
            .then(|| format!("trace, ours: {there:?}\n  stock: {stock:?}"))
    }
}

/// What may become of a packet, whichever of equal routes it takes. None if the program died.
fn verdicts(lab: &Lab, program: &Path, flow: &Flow) -> Option<Vec<Verdict>> {
    let one = |options: &str| {
        let done = lab.trace_with(program, options, &flow.datapath, &flow.packet);
        (!done.crashed).then(|| done.ok())
    };
    let text = one("--detailed --minimal --select-id=1")?;
    let (detailed, minimal) = text
        .split_once("# Minimal trace.")
        .expect("both were asked for");
    let mut all = vec![Verdict::parse(minimal)];
    // Who is which number of a group is for each northd to choose.
    let members = detailed
        .lines()
        .filter_map(|line| line.split_once(" = select("))
        .map(|(_, members)| members.matches(',').count() + 1);
    for id in 2..=members.max().unwrap_or(1) {
        all.push(Verdict::parse(&one(&format!(
            "--minimal --select-id={id}"
        ))?));
    }
    all.sort();
    all.dedup();
    Some(all)
}
