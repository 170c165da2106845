//! First run and single changes over many units: `cargo bench -p weft-engine`.
#![allow(missing_docs)]

use weft_engine::{Cx, Engine, Kind, KindId, Program};

fn main() {
    divan::main();
}

struct Grid;

/// Rows of hundred cells each; a cell reads its number, a row the cells' values.
impl Program for Grid {
    type Inputs = Vec<u64>;
    type Ledgers = ();
    type Fact = u32;
    type Key = u32;
    type Output = (u32, u64);
    type Diagnostic = ();
    fn kinds() -> &'static [Kind<Self>] {
        const KINDS: &[Kind<Grid>] = &[
            Kind::pure("cell", &[], cell),
            Kind::pure("row", &["cell"], row),
        ];
        KINDS
    }
}

const CELL: KindId = KindId("cell");
const ROW: KindId = KindId("row");

fn cell(cx: &Cx<'_, Grid>, key: u32) {
    cx.track(key, 1);
    let number = cx.inputs()[key as usize];
    for i in 0..10 {
        cx.emit((key * 10 + i, number));
    }
    cx.publish(number);
}

fn row(cx: &Cx<'_, Grid>, key: u32) {
    let sum = (key * 100..key * 100 + 100)
        .filter_map(|c| cx.value::<u64>(CELL, c))
        .map(|v| *v)
        .sum();
    cx.emit((u32::MAX - key, sum));
}

fn filled(cells: u32) -> (Engine<Grid>, Vec<u64>) {
    let mut engine = Engine::new().expect("the graph of the grid has no cycle");
    for c in 0..cells {
        engine.ensure(CELL, c);
    }
    for r in 0..cells / 100 {
        engine.ensure(ROW, r);
    }
    (engine, vec![1; cells as usize])
}

#[divan::bench(args = [1_000, 100_000], sample_count = 5)]
fn first_run(bencher: divan::Bencher<'_, '_>, cells: u32) {
    bencher
        .with_inputs(|| filled(cells))
        .bench_values(|(mut engine, inputs)| {
            engine.run(&inputs, &mut ());
            engine
        });
}

#[divan::bench(args = [1_000, 100_000])]
fn one_change(bencher: divan::Bencher<'_, '_>, cells: u32) {
    let (mut engine, mut inputs) = filled(cells);
    engine.run(&inputs, &mut ());
    bencher.bench_local(|| {
        inputs[500] += 1;
        engine.touch(500, 1);
        engine.run(&inputs, &mut ())
    });
}
