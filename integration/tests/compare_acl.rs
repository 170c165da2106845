//! The same random policies compiled by ours and by stock northd, the same packets in the same states of connections
//! traced: ours with `weft-trace`, stock's with `ovn-trace`. Policies in tiers reach stock without them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use weft_integration::compare::Verdict;
use weft_integration::compare::acl::{Policy, Question};
use weft_integration::lab::CONVERGE;
use weft_integration::{Impl, Lab, wait_for};

/// Policies and packets of each, unless `WEFT_COMPARE_ACL=POLICIES,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (520, 2);

/// So many in the databases at once.
const BATCH: u64 = 13;

/// Stock's way to end with an assertion on some flows, or to lose them: so many of a hundred questions may go unanswered, no more.
const UNANSWERED_PERCENT: usize = 5;

/// One batch of policies in both.
struct Round<'a> {
    ours: &'a Lab,
    stock: &'a Lab,
    /// The control socket of a trace on our southbound.
    tracer: String,
}

#[derive(Default)]
struct Outcome {
    asked: usize,
    unanswered: usize,
    /// How many packets got through: a comparison where all are dropped compares little.
    passed: usize,
    differences: Vec<String>,
}

#[test]
fn same_policy_verdicts_as_stock() {
    let setting = std::env::var("WEFT_COMPARE_ACL").unwrap_or_default();
    let mut parts = setting.split(',').map(|part| part.trim().parse::<u64>());
    let policies = parts.next().and_then(Result::ok).unwrap_or(DEFAULT.0);
    let packets = parts
        .next()
        .and_then(Result::ok)
        .map_or(DEFAULT.1, |n| usize::try_from(n).unwrap());
    let first = parts.next().and_then(Result::ok).unwrap_or(0);
    let (ours, stock) = (Lab::compiler(Impl::Weft), Lab::compiler(Impl::Stock));
    let mut outcome = Outcome::default();
    // By number, so that a seed alone meets what it met among others.
    for block in first / BATCH..(first + policies).div_ceil(BATCH) {
        let seeds = first.max(block * BATCH)..(first + policies).min((block + 1) * BATCH);
        // Drops by default take turns.
        let default_drop = block % 2 == 1;
        let mut drawn: Vec<(u64, Policy)> = seeds
            .map(|seed| (seed, Policy::random(seed, &format!("t{seed}"))))
            .collect();
        let common = format!("set nb_global . options:default_acl_drop={default_drop}\n");
        let with = |mut all: String, own: fn(&Policy) -> &str| {
            drawn
                .iter()
                .for_each(|(_, policy)| all.push_str(own(policy)));
            all
        };
        let tiered = with(common.clone(), |policy| &policy.commands);
        let flat = with(common, |policy| &policy.flat);
        both(&ours, &stock, |lab| {
            lab.nb(if std::ptr::eq(lab, &ours) {
                &tiered
            } else {
                &flat
            });
            wait_for(CONVERGE, "northd", || {
                lab.nbctl("--timeout=20 --wait=sb sync").result()
            });
        });
        let round = Round {
            ours: &ours,
            stock: &stock,
            tracer: ours.start_tracer(),
        };
        for (seed, policy) in &mut drawn {
            let questions: Vec<Question> = (0..packets).map(|_| policy.question()).collect();
            let before = outcome.differences.len();
            round.ask(*seed, &questions, &mut outcome);
            if !setting.is_empty() && outcome.differences.len() > before {
                eprintln!("{}", policy.commands);
                eprintln!("{}", outcome.differences[before..].join("\n"));
            }
        }
        ours.stop_tracer();
        let cleanup: String = drawn.iter().map(|(_, policy)| &*policy.cleanup).collect();
        both(&ours, &stock, |lab| {
            lab.nb(&cleanup);
        });
    }
    outcome.judge(packets);
}

fn both(ours: &Lab, stock: &Lab, work: impl Fn(&Lab) + Sync) {
    std::thread::scope(|scope| {
        for lab in [ours, stock] {
            let work = &work;
            scope.spawn(move || work(lab));
        }
    });
}

impl Round<'_> {
    fn ask(&self, seed: u64, questions: &[Question], outcome: &mut Outcome) {
        for question in questions {
            let Question { flow, options } = question;
            let (here, there) = std::thread::scope(|scope| {
                let here = scope.spawn(|| self.our_verdict(question));
                let there = self.trace_stock(Path::new("ovn-trace"), seed, question);
                (here.join().unwrap(), there)
            });
            outcome.asked += 1;
            let Some((there, lost)) = there else {
                outcome.unanswered += 1;
                continue;
            };
            outcome.passed += usize::from(!there.outputs.is_empty());
            if here.but_solicitations() == there.but_solicitations() {
                continue;
            }
            if lost {
                outcome.unanswered += 1;
                continue;
            }
            // Whose doing it is: our trace on stock's flows tells.
            let middle = self.trace_stock(&self.ours.programs.trace, seed, question);
            outcome.differences.push(format!(
                "seed {seed}: {options} {} {}\n  ours: {here:?}\n  stock: {there:?}\n  weft-trace on stock's: {middle:?}",
                flow.datapath, flow.packet
            ));
        }
    }

    fn our_verdict(&self, question: &Question) -> Verdict {
        let Question { flow, options } = question;
        let mut words: Vec<&str> = vec!["--minimal"];
        words.extend(options.split(' '));
        words.extend([&*flow.datapath, &*flow.packet]);
        let text = weft_daemon::unixctl::call(Path::new(&self.tracer), "trace", &words, None)
            .unwrap_or_else(|why| panic!("weft-trace: {why}"));
        Verdict::parse(&text)
    }

    /// What stock's flows do, and whether it lost one of the policy's.
    fn trace_stock(
        &self,
        program: &Path,
        seed: u64,
        question: &Question,
    ) -> Option<(Verdict, bool)> {
        let Question { flow, options } = question;
        let options = format!("--minimal {options}");
        let done = self
            .stock
            .trace_with(program, &options, &flow.datapath, &flow.packet);
        // A group without ports on the datapath is a fault of syntax there, and the whole flow is lost.
        let lost = format!("Syntax error at `@t{seed}g");
        let lost = done.stderr.contains(&lost);
        (!done.crashed).then(|| (Verdict::parse(&done.ok()), lost))
    }
}

impl Outcome {
    fn judge(&self, packets: usize) {
        let Outcome {
            asked,
            unanswered,
            passed,
            differences,
        } = self;
        eprintln!(
            "{asked} packets, {passed} got somewhere, {unanswered} without an answer of stock's"
        );
        assert!(
            unanswered * 100 <= asked * UNANSWERED_PERCENT,
            "ovn-trace died on {unanswered} of {asked} packets"
        );
        assert!(
            passed * 5 > *asked && passed < asked,
            "{passed} of {asked} packets got through: nothing is compared"
        );
        assert!(
            differences.is_empty(),
            "{} packets with another fate (WEFT_COMPARE_ACL=1,{packets},SEED repeats one):\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}
