//! The engine's promises, on a toy: cells hold a number and refer to another cell; sums follow the references.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weft_engine::{Cx, EXISTENCE, Engine, Kind, KindId, Program};

const NUMBER: u64 = 1;
const NEXT: u64 = 2;
const NOTE: u64 = 4;

#[derive(Clone, Default, Debug, PartialEq)]
struct Cell {
    number: i32,
    next: u8,
    note: i32,
}

type Sheet = BTreeMap<u8, Cell>;

/// Numbers handed out to cells that ask; a number stays with its cell.
#[derive(Clone, Default, Debug)]
struct Tickets(BTreeMap<u8, u32>);

const TICKET_FACT: u8 = 255;

#[derive(Clone, Debug, PartialEq)]
struct Toy;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Out {
    Number(u8, i32),
    Parity(i32),
    Pair(u8, i32, i32),
    Ticket(u8, u32),
    Shared(u8, i32),
}

impl Program for Toy {
    type Inputs = Sheet;
    type Ledgers = Tickets;
    type Fact = u8;
    type Key = u8;
    type Output = Out;
    type Diagnostic = String;
    fn kinds() -> &'static [Kind<Self>] {
        const KINDS: &[Kind<Toy>] = &[
            Kind::pure("pair", &["cell", "ticket"], pair),
            Kind::pure("cell", &[], cell),
            Kind::serial("ticket", &["cell"], ticket, |l, k, wake| {
                l.0.remove(&k);
                wake(TICKET_FACT, 1);
            }),
            Kind::pure("shared", &[], shared),
        ];
        KINDS
    }
}

const CELL: KindId = KindId("cell");
const PAIR: KindId = KindId("pair");
const TICKET: KindId = KindId("ticket");
const SHARED: KindId = KindId("shared");

fn read<'a>(cx: &Cx<'a, Toy>, key: u8, mask: u64) -> Option<&'a Cell> {
    cx.track(key, mask);
    cx.inputs().get(&key)
}

/// Publishes its number divided by ten: small changes of the number stop here.
fn cell(cx: &Cx<'_, Toy>, key: u8) {
    let Some(cell) = read(cx, key, NUMBER) else {
        return;
    };
    if cell.number < 0 {
        cx.diagnose(format!("cell {key} is {}", cell.number));
    }
    cx.emit(Out::Number(key, cell.number));
    cx.emit(Out::Parity(cell.number % 2));
    cx.publish(cell.number / 10);
}

fn pair(cx: &Cx<'_, Toy>, key: u8) {
    let Some(cell) = read(cx, key, NEXT) else {
        return;
    };
    if cell.next % 3 == 0 {
        cx.demand(SHARED, cell.next);
    }
    if cell.next % 4 == 0 {
        cx.demand(TICKET, cell.next);
        if let Some(t) = cx.value::<u32>(TICKET, cell.next) {
            cx.emit(Out::Ticket(key, *t));
        }
    }
    let (a, b) = (cx.value::<i32>(CELL, key), cx.value::<i32>(CELL, cell.next));
    if let (Some(a), Some(b)) = (a, b) {
        cx.emit(Out::Pair(key, *a, *b));
    }
}

/// Wants the number of its cell; takes the lowest free one else.
fn ticket(cx: &Cx<'_, Toy>, tickets: &mut Tickets, key: u8) {
    let wish = cx
        .value::<i32>(CELL, key)
        .map_or(0, |v| v.unsigned_abs() % 8);
    cx.track(TICKET_FACT, 1);
    let taken: BTreeSet<u32> = tickets
        .0
        .iter()
        .filter(|e| *e.0 != key)
        .map(|e| *e.1)
        .collect();
    let old = tickets.0.get(&key).copied();
    let got = if !taken.contains(&wish) {
        wish
    } else if let Some(old) = old {
        old
    } else {
        (100..).find(|n| !taken.contains(n)).unwrap()
    };
    if old != Some(got) {
        tickets.0.insert(key, got);
        cx.wake(TICKET_FACT, 1);
    }
    cx.publish(got);
}

fn shared(cx: &Cx<'_, Toy>, key: u8) {
    let note = read(cx, key, NOTE).map_or(0, |c| c.note);
    cx.emit(Out::Shared(key, note));
}

struct Bench {
    engine: Engine<Toy>,
    sheet: Sheet,
    tickets: Tickets,
    seen: BTreeSet<Out>,
}

impl Bench {
    fn new() -> Self {
        Bench {
            engine: Engine::new().unwrap(),
            sheet: Sheet::new(),
            tickets: Tickets::default(),
            seen: BTreeSet::new(),
        }
    }

    fn put(&mut self, key: u8, number: i32, next: u8) {
        self.set(
            key,
            Some(Cell {
                number,
                next,
                note: 0,
            }),
        );
    }

    fn set(&mut self, key: u8, new: Option<Cell>) {
        let old = self.sheet.get(&key).cloned();
        let mask = match (&old, &new) {
            (Some(o), Some(n)) => {
                (if o.number != n.number { NUMBER } else { 0 })
                    | (if o.next != n.next { NEXT } else { 0 })
                    | (if o.note != n.note { NOTE } else { 0 })
            }
            _ => EXISTENCE,
        };
        match new {
            Some(new) => {
                if old.is_none() {
                    self.engine.ensure(CELL, key);
                    self.engine.ensure(PAIR, key);
                }
                self.sheet.insert(key, new);
            }
            None if old.is_some() => {
                self.engine.retire(CELL, key);
                self.engine.retire(PAIR, key);
                self.sheet.remove(&key);
            }
            None => {}
        }
        self.engine.touch(key, mask);
    }

    /// Runs, applies the difference, and returns how many units ran.
    fn run(&mut self) -> usize {
        let delta = self.engine.run(&self.sheet, &mut self.tickets);
        assert!(!delta.stalled);
        for out in delta.removed {
            assert!(
                self.seen.remove(&out),
                "removed what was not there: {out:?}"
            );
        }
        for out in delta.added {
            assert!(self.seen.insert(out.clone()), "added twice: {out:?}");
        }
        assert_eq!(self.seen, self.engine.outputs().cloned().collect());
        delta.ran
    }

    fn runs(&self, kind: &str) -> u64 {
        self.engine.stats().get(kind).unwrap().runs
    }
}

#[test]
fn an_equal_value_stops_the_wave() {
    let mut b = Bench::new();
    b.put(1, 11, 2);
    b.put(2, 25, 1);
    b.run();
    assert!(b.seen.contains(&Out::Pair(1, 1, 2)));
    b.put(2, 26, 1);
    assert_eq!(b.run(), 1, "only the cell itself");
    assert!(b.seen.contains(&Out::Number(2, 26)));
    b.put(2, 36, 1);
    assert_eq!(b.run(), 3, "the cell, and both pairs that read its value");
    assert!(b.seen.contains(&Out::Pair(1, 1, 3)) && b.seen.contains(&Out::Pair(2, 3, 1)));
}

#[test]
fn columns_nobody_read_wake_nobody() {
    let mut b = Bench::new();
    b.put(1, 11, 2);
    b.run();
    b.set(
        1,
        Some(Cell {
            number: 11,
            next: 2,
            note: 5,
        }),
    );
    assert_eq!(b.run(), 0);
}

#[test]
fn an_absent_value_is_a_dependency_too() {
    let mut b = Bench::new();
    b.put(1, 11, 2);
    b.run();
    assert!(!b.seen.iter().any(|o| matches!(o, Out::Pair(..))));
    b.put(2, 25, 9);
    b.run();
    assert!(b.seen.contains(&Out::Pair(1, 1, 2)));
    b.set(2, None);
    b.run();
    assert!(!b.seen.iter().any(|o| matches!(o, Out::Pair(..))));
}

#[test]
fn outputs_live_as_long_as_their_last_owner() {
    let mut b = Bench::new();
    b.put(1, 10, 2);
    b.put(2, 20, 1);
    b.run();
    b.set(1, None);
    b.run();
    assert!(b.seen.contains(&Out::Parity(0)), "cell 2 still owns it");
    b.set(2, None);
    b.run();
    assert!(b.seen.is_empty(), "{:?}", b.seen);
}

#[test]
fn a_demanded_unit_lives_while_demanded() {
    let mut b = Bench::new();
    b.put(1, 0, 9);
    b.put(2, 0, 9);
    b.run();
    assert!(b.engine.contains(SHARED, 9));
    b.put(1, 0, 1);
    b.run();
    assert!(b.engine.contains(SHARED, 9));
    b.set(2, None);
    b.run();
    assert!(!b.engine.contains(SHARED, 9));
    assert!(!b.seen.contains(&Out::Shared(9, 0)));
}

#[test]
fn ledgers_remember_and_release() {
    let mut b = Bench::new();
    b.put(1, 0, 4);
    b.put(2, 0, 8);
    b.run();
    assert_eq!(b.tickets.0, BTreeMap::from([(4, 0), (8, 100)]));
    assert!(b.seen.contains(&Out::Ticket(2, 100)));
    b.put(1, 0, 1);
    b.run();
    assert_eq!(
        b.tickets.0,
        BTreeMap::from([(8, 0)]),
        "what has become free goes to who waits"
    );
    assert!(b.seen.contains(&Out::Ticket(2, 0)));
}

#[test]
fn diagnostics_come_and_go() {
    let mut b = Bench::new();
    b.set(
        1,
        Some(Cell {
            number: -3,
            next: 1,
            note: 0,
        }),
    );
    let delta = b.engine.run(&b.sheet, &mut b.tickets);
    assert_eq!(
        delta.diagnostics_added,
        [(CELL, 1, "cell 1 is -3".to_owned())]
    );
    b.put(1, 3, 1);
    let delta = b.engine.run(&b.sheet, &mut b.tickets);
    assert_eq!(
        delta.diagnostics_removed,
        [(CELL, 1, "cell 1 is -3".to_owned())]
    );
    assert_eq!(b.engine.diagnostics().count(), 0);
}

#[test]
fn a_large_first_run_is_the_same_in_parallel() {
    let mut b = Bench::new();
    for key in 0..=250 {
        b.put(key, i32::from(key) * 7, key.wrapping_mul(31));
    }
    b.run();
    assert_eq!(
        b.engine.audit(&b.sheet, &mut b.tickets.clone()).unwrap(),
        []
    );
    assert!(b.runs("cell") == 251, "each cell once");
}

#[test]
fn the_audit_sees_what_was_not_reported() {
    let mut b = Bench::new();
    b.put(1, 11, 2);
    b.run();
    b.sheet.get_mut(&1).unwrap().number = 12;
    let differences = b.engine.audit(&b.sheet, &mut b.tickets.clone()).unwrap();
    assert_eq!(differences.len(), 4, "{differences:?}");
    b.engine.touch_all();
    b.run();
    assert_eq!(
        b.engine.audit(&b.sheet, &mut b.tickets.clone()).unwrap(),
        []
    );
}

#[derive(Clone, Debug)]
enum Edit {
    Set(u8, i32, u8, i32),
    Remove(u8),
    Run,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (0u8..24, -20i32..60, 0u8..24, 0i32..3).prop_map(|(k, n, x, o)| Edit::Set(k, n, x, o)),
        2 => (0u8..24).prop_map(Edit::Remove),
        3 => Just(Edit::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn steps_end_where_a_fresh_start_does(edits in prop::collection::vec(edit(), 1..60)) {
        let mut b = Bench::new();
        for edit in edits {
            match edit {
                Edit::Set(key, number, next, note) => b.set(key, Some(Cell { number, next, note })),
                Edit::Remove(key) => b.set(key, None),
                Edit::Run => {
                    b.run();
                    prop_assert_eq!(b.engine.audit(&b.sheet, &mut b.tickets.clone()).unwrap(), vec![]);
                }
            }
        }
        b.run();
        prop_assert_eq!(b.engine.audit(&b.sheet, &mut b.tickets.clone()).unwrap(), vec![]);
        for key in 0..24 {
            b.set(key, None);
        }
        b.run();
        prop_assert!(b.seen.is_empty());
        prop_assert_eq!(b.engine.fact_count(), 0);
    }
}
