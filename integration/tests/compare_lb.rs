//! The same random load balancers compiled by ours and by stock northd, the same packets traced through both southbounds
//! with `weft-trace`, through stock's also with `ovn-trace`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use weft_integration::compare::Verdict;
use weft_integration::compare::lb::Balanced;
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// Northbounds and packets of each, unless `WEFT_COMPARE_LB=NORTHBOUNDS,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (10, 8);

#[test]
fn same_balance_as_stock() {
    let setting = std::env::var("WEFT_COMPARE_LB").unwrap_or_default();
    let mut parts = setting
        .split(',')
        .filter_map(|part| part.trim().parse::<u64>().ok());
    let count = parts.next().unwrap_or(DEFAULT.0);
    let packets = parts
        .next()
        .map_or(DEFAULT.1, |n| usize::try_from(n).unwrap());
    let first = parts.next().unwrap_or(0);
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    let (mut differences, mut passed, mut asked) = (Vec::new(), 0, 0);
    for seed in first..first + count {
        let mut drawn = Balanced::random(seed, &format!("t{seed}"));
        for lab in [&ours, &stock] {
            lab.nb(&drawn.commands);
            wait_for(CONVERGE, "northd", || {
                lab.nbctl("--timeout=20 --wait=sb sync").result()
            });
        }
        for _ in 0..packets {
            let (flow, options) = drawn.question();
            let trace = |lab: &Lab, program: &Path| {
                let done = lab.trace_with(
                    program,
                    &format!("--minimal {options}"),
                    &flow.datapath,
                    &flow.packet,
                );
                (!done.crashed).then(|| Verdict::parse(&done.ok()).but_solicitations())
            };
            let here = trace(&ours, &ours.programs.trace);
            let there = trace(&stock, &ours.programs.trace);
            let oracle = trace(&stock, Path::new("ovn-trace"));
            asked += 1;
            passed += usize::from(
                here.as_ref()
                    .is_some_and(|verdict| !verdict.outputs.is_empty()),
            );
            if here != there
                || oracle
                    .as_ref()
                    .is_some_and(|oracle| Some(oracle) != there.as_ref())
            {
                differences.push(format!(
                    "seed {seed}: {options} {} {}\n  ours: {here:?}\n  stock: {there:?}\n  ovn-trace: {oracle:?}",
                    flow.datapath, flow.packet
                ));
                if !setting.is_empty() {
                    eprintln!("{}", drawn.commands);
                }
            }
        }
        ours.nb(&drawn.cleanup);
        stock.nb(&drawn.cleanup);
    }
    assert!(
        passed * 5 > asked,
        "{passed} of {asked} packets got through: nothing is compared"
    );
    assert!(
        differences.is_empty(),
        "{} packets with another fate (WEFT_COMPARE_LB=1,{packets},SEED repeats one):\n{}",
        differences.len(),
        differences.join("\n")
    );
}
