//! The same random translations, routes and policies compiled by ours and by stock northd, the same packets traced through
//! both southbounds with `weft-trace`, through stock's also with `ovn-trace`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use weft_integration::compare::nat::Translated;
use weft_integration::compare::route::Routed;
use weft_integration::compare::{Flow, Verdict};
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// Northbounds and packets of each, unless `WEFT_COMPARE_GATEWAY=NORTHBOUNDS,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (6, 8);

/// `ovn-trace` ends with an assertion on some flows: so many of a hundred questions may go unanswered, no more.
const UNANSWERED_PERCENT: usize = 10;

/// One draw: commands that make it, commands that take it away, and what is asked.
struct Drawn<'a> {
    seed: u64,
    commands: &'a str,
    cleanup: &'a str,
    questions: Vec<(Flow, String)>,
}

struct Comparison {
    ours: Lab,
    stock: Lab,
    setting: String,
    asked: usize,
    passed: usize,
    unanswered: usize,
    differences: Vec<String>,
}

fn compare(draw: impl Fn(u64, usize, &mut dyn FnMut(Drawn<'_>))) {
    let setting = std::env::var("WEFT_COMPARE_GATEWAY").unwrap_or_default();
    let parts: Vec<u64> = setting
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    let count = parts.first().copied().unwrap_or(DEFAULT.0);
    let packets = parts
        .get(1)
        .map_or(DEFAULT.1, |n| usize::try_from(*n).unwrap());
    let first = parts.get(2).copied().unwrap_or(0);
    let mut comparison = Comparison {
        ours: Lab::compiler(Impl::Weft),
        stock: Lab::compiler(Impl::Stock),
        setting,
        asked: 0,
        passed: 0,
        unanswered: 0,
        differences: Vec::new(),
    };
    for seed in first..first + count {
        draw(seed, packets, &mut |drawn| comparison.take(&drawn));
    }
    comparison.judge(packets);
}

impl Comparison {
    fn take(&mut self, drawn: &Drawn<'_>) {
        for lab in [&self.ours, &self.stock] {
            lab.nb(drawn.commands);
        }
        for lab in [&self.ours, &self.stock] {
            wait_for(CONVERGE, "northd", || {
                lab.nbctl("--timeout=20 --wait=sb sync").result()
            });
        }
        for (flow, options) in &drawn.questions {
            self.ask(drawn, flow, options);
        }
        for lab in [&self.ours, &self.stock] {
            lab.nb(drawn.cleanup);
        }
    }

    fn ask(&mut self, drawn: &Drawn<'_>, flow: &Flow, options: &str) {
        let trace = |lab: &Lab, program: &Path| {
            let options = format!("--minimal {options}");
            let done = lab.trace_with(program, options.trim(), &flow.datapath, &flow.packet);
            (!done.crashed).then(|| Verdict::parse(&done.ok()).but_solicitations())
        };
        let weft = &self.ours.programs.trace;
        let (here, there) = (trace(&self.ours, weft), trace(&self.stock, weft));
        let oracle = trace(&self.stock, Path::new("ovn-trace"));
        self.asked += 1;
        self.unanswered += usize::from(oracle.is_none());
        let got_through = here
            .as_ref()
            .is_some_and(|verdict| !verdict.outputs.is_empty());
        self.passed += usize::from(got_through);
        if here == there && (oracle.is_none() || oracle == there) {
            return;
        }
        self.differences.push(format!(
            "seed {}: {options} {} {}\n  ours: {here:?}\n  stock: {there:?}\n  ovn-trace: {oracle:?}",
            drawn.seed, flow.datapath, flow.packet
        ));
        if !self.setting.is_empty() {
            eprintln!("{}", drawn.commands);
        }
    }

    fn judge(&self, packets: usize) {
        let Comparison {
            asked,
            passed,
            unanswered,
            differences,
            ..
        } = self;
        eprintln!(
            "{asked} packets, {passed} got somewhere, {unanswered} without an answer of stock's"
        );
        assert!(
            differences.is_empty(),
            "{} packets with another fate (WEFT_COMPARE_GATEWAY=1,{packets},SEED repeats one):\n{}",
            differences.len(),
            differences.join("\n")
        );
        assert!(
            passed * 5 > *asked && passed < asked,
            "{passed} of {asked} packets got through: nothing is compared"
        );
        assert!(
            unanswered * 100 <= asked * UNANSWERED_PERCENT,
            "ovn-trace died on {unanswered} of {asked} packets"
        );
    }
}

#[test]
fn same_translations_as_stock() {
    compare(|seed, packets, take| {
        let mut drawn = Translated::random(seed, &format!("t{seed}"));
        let questions = (0..packets).map(|_| drawn.question()).collect();
        take(Drawn {
            seed,
            commands: &drawn.commands,
            cleanup: &drawn.cleanup,
            questions,
        });
    });
}

#[test]
fn same_routes_as_stock() {
    compare(|seed, packets, take| {
        let mut drawn = Routed::random(seed, &format!("t{seed}"));
        let questions = (0..packets).map(|_| drawn.question()).collect();
        take(Drawn {
            seed,
            commands: &drawn.commands,
            cleanup: &drawn.cleanup,
            questions,
        });
    });
}
