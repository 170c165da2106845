//! The engine: waves through the layers, commits, differences.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::cx::{Record, merge_reads};
use crate::facts::Facts;
use crate::graph::Graph;
use crate::outputs::Outputs;
use crate::stats::{KindStats, Registry};
use crate::units::{Unit, Units};
use crate::{Cx, GraphError, Kind, KindId, Program, PureFn, Run};

/// Below this many dirty units of a layer threads cost more than they bring.
const PARALLEL_MIN: usize = 64;
/// How many units run before their records are committed: bounds what waits in memory.
const CHUNK: usize = 4096;
/// A program whose units keep waking each other is stopped after this many turns of one [`Engine::run`].
const TURNS_MAX: usize = 10_000;

/// Diagnostics with the units that make them.
type Complaints<P> = Vec<(KindId, <P as Program>::Key, <P as Program>::Diagnostic)>;

/// What running units may look at.
pub(crate) struct State<P: Program> {
    pub kinds: &'static [Kind<P>],
    pub graph: Graph,
    pub facts: Facts<P::Fact>,
    pub units: Units<P>,
    pub outputs: Outputs<P::Output>,
}

/// The net effect of one [`Engine::run`].
#[derive(Debug, Clone)]
pub struct Delta<P: Program> {
    /// Outputs that nobody owned before.
    pub added: Vec<P::Output>,
    /// Outputs that nobody owns any more.
    pub removed: Vec<P::Output>,
    /// Complaints that are new.
    pub diagnostics_added: Complaints<P>,
    /// Complaints that have ceased.
    pub diagnostics_removed: Complaints<P>,
    /// Units that ran.
    pub ran: usize,
    /// Units kept waking each other without end, and were stopped: a fault of the program. Outputs are sound as of the
    /// last run of each unit.
    pub stalled: bool,
}

impl<P: Program> Delta<P> {
    /// Neither outputs nor diagnostics have changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.diagnostics_added.is_empty()
            && self.diagnostics_removed.is_empty()
    }
}

#[derive(Clone, Copy, Default)]
struct Spent {
    units: i64,
    runs: u64,
    quiet: u64,
    time: Duration,
}

/// A program with its units; see the crate's documentation.
pub struct Engine<P: Program> {
    state: State<P>,
    /// Units to run, by layer.
    dirty: Vec<Vec<u32>>,
    /// Units that may have lost their last reason to exist.
    unwanted: Vec<u32>,
    /// Diagnostics of units as they were before this run, where they have changed.
    diagnosed: FxHashMap<u32, Box<[P::Diagnostic]>>,
    spent: Vec<Spent>,
    stats: Registry,
}

impl<P: Program> Engine<P> {
    /// An engine without units.
    pub fn new() -> Result<Self, GraphError> {
        let kinds = P::kinds();
        let graph = Graph::new(kinds)?;
        let stats = Registry::default();
        for kind in kinds {
            stats.add(kind.name, 0, KindStats::default());
        }
        Ok(Engine {
            dirty: vec![Vec::new(); graph.layers],
            unwanted: Vec::new(),
            diagnosed: FxHashMap::default(),
            spent: vec![Spent::default(); kinds.len()],
            stats,
            state: State {
                kinds,
                graph,
                facts: Facts::new(),
                units: Units::new(),
                outputs: Outputs::new(),
            },
        })
    }

    /// Marks the readers of a fact: those whose mask meets `mask`, or all when it holds [`crate::EXISTENCE`].
    pub fn touch(&mut self, fact: P::Fact, mask: u64) {
        self.touch_others(fact, mask, None);
    }

    /// Whoever changed something itself knows.
    fn touch_others(&mut self, fact: P::Fact, mask: u64, except: Option<u32>) {
        let Engine { state, dirty, .. } = self;
        let State {
            facts,
            units,
            graph,
            ..
        } = state;
        facts.readers(&fact, mask, |id| {
            if Some(id) != except {
                mark(units, graph, dirty, id);
            }
        });
    }

    /// Makes a unit a root: it exists until [`Engine::retire`].
    pub fn ensure(&mut self, kind: KindId, key: P::Key) {
        let index = self.state.graph.index(kind.0);
        let id = self.state.units.intern(index, key);
        self.state.units.get_mut(id).root = true;
        self.exist(id);
    }

    /// Ends what [`Engine::ensure`] began; the unit stays as long as others demand it.
    pub fn retire(&mut self, kind: KindId, key: P::Key) {
        let index = self.state.graph.index(kind.0);
        if let Some(id) = self.state.units.find(index, &key) {
            self.state.units.get_mut(id).root = false;
            self.unwanted.push(id);
        }
    }

    /// Runs every unit again at the next [`Engine::run`], whatever was touched.
    pub fn touch_all(&mut self) {
        let State { units, graph, .. } = &mut self.state;
        let all: Vec<u32> = units
            .existing()
            .filter_map(|u| units.find(u.kind, &u.key))
            .collect();
        for id in all {
            mark(units, graph, &mut self.dirty, id);
        }
    }

    /// Nothing waits to be run.
    pub fn is_settled(&self) -> bool {
        self.unwanted.is_empty() && self.dirty.iter().all(Vec::is_empty)
    }

    /// Runs what was touched, but only as far as the kind `last`, so that its values can be looked at before the rest is run;
    /// what that changes is in the difference of the next [`Engine::run`].
    pub fn advance(&mut self, last: KindId, inputs: &P::Inputs, ledgers: &mut P::Ledgers) {
        let graph = &self.state.graph;
        let last = usize::from(graph.layer[usize::from(graph.index(last.0))]);
        for _ in 0..TURNS_MAX {
            self.drop_unwanted(ledgers);
            let Some(layer) = self.dirty[..=last].iter().position(|l| !l.is_empty()) else {
                break;
            };
            self.run_layer(layer, inputs, ledgers);
        }
    }

    /// Runs what was touched and all that follows from it; returns the net difference.
    pub fn run(&mut self, inputs: &P::Inputs, ledgers: &mut P::Ledgers) -> Delta<P> {
        let mut ran = 0;
        let mut turns = 0;
        self.drop_unwanted(ledgers);
        let stalled = loop {
            let Some(layer) = self.dirty.iter().position(|l| !l.is_empty()) else {
                if self.unwanted.is_empty() {
                    break false;
                }
                self.drop_unwanted(ledgers);
                continue;
            };
            turns += 1;
            if turns > TURNS_MAX {
                tracing::error!(layer, "units keep waking each other; stopped");
                break true;
            }
            ran += self.run_layer(layer, inputs, ledgers);
        };
        let (added, removed) = self.state.outputs.settle();
        self.state.facts.collect();
        let (diagnostics_added, diagnostics_removed) = self.settle_diagnostics();
        if !stalled {
            self.state.units.collect();
        }
        self.settle_stats();
        Delta {
            added,
            removed,
            diagnostics_added,
            diagnostics_removed,
            ran,
            stalled,
        }
    }

    fn run_layer(&mut self, layer: usize, inputs: &P::Inputs, ledgers: &mut P::Ledgers) -> usize {
        let mut pure = Vec::new();
        let mut serial = Vec::new();
        for id in std::mem::take(&mut self.dirty[layer]) {
            let unit = self.state.units.get_mut(id);
            unit.dirty = false;
            if !unit.exists {
                self.state.units.idle.push(id);
                continue;
            }
            match self.state.kinds[usize::from(unit.kind)].run {
                Run::Pure(run) => pure.push((id, run)),
                Run::Serial { run, .. } => serial.push((unit.kind, unit.key, id, run)),
            }
        }
        let ran = pure.len() + serial.len();
        for chunk in pure.chunks(CHUNK) {
            let state = &self.state;
            let one = |&(id, run): &(u32, PureFn<P>)| {
                let unit = state.units.get(id);
                let start = Instant::now();
                let cx = Cx::new(inputs, state, unit.kind);
                run(&cx, unit.key);
                (id, cx.finish(), start.elapsed())
            };
            let done: Vec<_> = if chunk.len() < PARALLEL_MIN {
                chunk.iter().map(one).collect()
            } else {
                chunk.par_iter().map(one).collect()
            };
            for (id, record, time) in done {
                self.commit(id, record, time);
            }
        }
        serial.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (kind, key, id, run) in serial {
            let start = Instant::now();
            let cx = Cx::new(inputs, &self.state, kind);
            run(&cx, ledgers, key);
            let record = cx.finish();
            self.commit(id, record, start.elapsed());
        }
        ran
    }

    /// Takes over what a run of a unit did: wakes who depends on it, and accounts the differences.
    fn commit(&mut self, id: u32, record: Record<P>, time: Duration) {
        let kind = self.state.units.get(id).kind;
        let spent = &mut self.spent[usize::from(kind)];
        spent.runs += 1;
        spent.time += time;
        self.commit_reads(id, record.reads, record.new_reads);
        self.commit_values_read(id, record.values, &record.new_values);
        self.commit_outputs(id, record.outputs, record.new_outputs);
        self.commit_demands(id, &record.demands);
        let unit = self.state.units.get_mut(id);
        if *unit.diagnostics() != *record.diagnostics {
            let old = unit.set_diagnostics(record.diagnostics.into());
            self.diagnosed.entry(id).or_insert(old);
        }
        let unit = self.state.units.get_mut(id);
        let same = match (unit.value(), &record.value) {
            (None, None) => true,
            (Some(old), Some(new)) => old.same(new),
            _ => false,
        };
        if same {
            self.spent[usize::from(kind)].quiet += 1;
        } else {
            unit.set_value(record.value);
            self.wake_readers(id);
        }
        for (fact, mask) in record.wakes {
            self.touch_others(fact, mask, Some(id));
        }
    }

    fn commit_reads(&mut self, id: u32, mut reads: Vec<(u32, u64)>, new: Vec<(P::Fact, u64)>) {
        let State { facts, units, .. } = &mut self.state;
        if !new.is_empty() {
            reads.extend(
                new.into_iter()
                    .map(|(fact, mask)| (facts.intern(fact), mask)),
            );
            merge_reads(&mut reads);
        }
        let unit = units.get_mut(id);
        let new: Box<[(u32, u32)]> = reads.iter().map(|&(f, m)| (f, facts.mask(m))).collect();
        if unit.reads != new {
            facts.change_reads(id, &unit.reads, &new);
            unit.reads = new;
        }
    }

    fn commit_values_read(&mut self, id: u32, mut values: Vec<u32>, new: &[(u16, P::Key)]) {
        let units = &mut self.state.units;
        if !new.is_empty() {
            values.extend(new.iter().map(|&(kind, key)| units.intern(kind, key)));
            values.sort_unstable();
            values.dedup();
        }
        if *units.get(id).values == *values {
            return;
        }
        let old = std::mem::replace(&mut units.get_mut(id).values, values.into());
        let new = units.get(id).values.clone();
        for &gone in old.iter().filter(|v| new.binary_search(v).is_err()) {
            units.get_mut(gone).unset_reader(id);
            units.idle.push(gone);
        }
        for &come in new.iter().filter(|v| old.binary_search(v).is_err()) {
            units.get_mut(come).set_reader(id);
        }
    }

    fn commit_outputs(&mut self, id: u32, mut outs: Vec<u32>, new: Vec<(u64, P::Output)>) {
        let State { outputs, units, .. } = &mut self.state;
        if !new.is_empty() {
            outs.extend(
                new.into_iter()
                    .map(|(hash, output)| outputs.intern(hash, output)),
            );
            outs.sort_unstable();
            outs.dedup();
        }
        let unit = units.get_mut(id);
        if *unit.outputs != *outs {
            outputs.change(&unit.outputs, &outs);
            unit.outputs = outs.into();
        }
    }

    fn commit_demands(&mut self, id: u32, demands: &[(u16, P::Key)]) {
        if demands.is_empty() && self.state.units.get(id).demands().is_empty() {
            return;
        }
        let units = &mut self.state.units;
        let mut new: Vec<u32> = demands
            .iter()
            .map(|&(kind, key)| units.intern(kind, key))
            .collect();
        new.sort_unstable();
        new.dedup();
        if *units.get(id).demands() == *new {
            return;
        }
        let old = units.get_mut(id).set_demands(new.clone().into());
        for &come in new.iter().filter(|d| old.binary_search(d).is_err()) {
            self.state.units.get_mut(come).demanded += 1;
            self.exist(come);
        }
        for &gone in old.iter().filter(|d| new.binary_search(d).is_err()) {
            self.release(gone);
        }
    }

    fn release(&mut self, id: u32) {
        let unit = self.state.units.get_mut(id);
        unit.demanded -= 1;
        if unit.demanded == 0 && !unit.root {
            self.unwanted.push(id);
        }
    }

    fn exist(&mut self, id: u32) {
        let State { units, graph, .. } = &mut self.state;
        let unit = units.get_mut(id);
        if !unit.exists {
            unit.exists = true;
            self.spent[usize::from(unit.kind)].units += 1;
            mark(units, graph, &mut self.dirty, id);
        }
    }

    fn wake_readers(&mut self, id: u32) {
        let State { units, graph, .. } = &mut self.state;
        let mut readers = Vec::new();
        units.get(id).for_each_reader(|r| readers.push(r));
        readers.sort_unstable();
        for reader in readers {
            mark(units, graph, &mut self.dirty, reader);
        }
    }

    /// Ends units that neither are roots nor are demanded.
    fn drop_unwanted(&mut self, ledgers: &mut P::Ledgers) {
        while let Some(id) = self.unwanted.pop() {
            let unit = self.state.units.get_mut(id);
            if !unit.exists || unit.root || unit.demanded > 0 {
                continue;
            }
            unit.exists = false;
            let (kind, key) = (unit.kind, unit.key);
            let reads = std::mem::take(&mut unit.reads);
            let outputs = std::mem::take(&mut unit.outputs);
            let values = std::mem::take(&mut unit.values);
            let demands = unit.set_demands(Box::default());
            let diagnostics = unit.set_diagnostics(Box::default());
            let value = unit.set_value(None);
            self.spent[usize::from(kind)].units -= 1;
            self.state.facts.change_reads(id, &reads, &[]);
            self.state.outputs.change(&outputs, &[]);
            for read in values {
                self.state.units.get_mut(read).unset_reader(id);
                self.state.units.idle.push(read);
            }
            if !diagnostics.is_empty() {
                self.diagnosed.entry(id).or_insert(diagnostics);
            }
            if value.is_some() {
                self.wake_readers(id);
            }
            for demanded in demands {
                self.release(demanded);
            }
            self.state.units.idle.push(id);
            if let Run::Serial { gone, .. } = self.state.kinds[usize::from(kind)].run {
                let mut wakes = Vec::new();
                gone(ledgers, key, &mut |fact, mask| wakes.push((fact, mask)));
                for (fact, mask) in wakes {
                    self.touch(fact, mask);
                }
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn settle_diagnostics(&mut self) -> (Complaints<P>, Complaints<P>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let mut changed: Vec<_> = std::mem::take(&mut self.diagnosed).into_iter().collect();
        changed.sort_unstable_by_key(|c| c.0);
        for (id, before) in changed {
            let unit = self.state.units.get(id);
            let kind = KindId(self.state.kinds[usize::from(unit.kind)].name);
            let named = |d: &P::Diagnostic| (kind, unit.key, d.clone());
            added.extend(
                unit.diagnostics()
                    .iter()
                    .filter(|d| !before.contains(d))
                    .map(named),
            );
            removed.extend(
                before
                    .iter()
                    .filter(|d| !unit.diagnostics().contains(d))
                    .map(named),
            );
        }
        (added, removed)
    }

    fn settle_stats(&mut self) {
        for (kind, spent) in self.state.kinds.iter().zip(&mut self.spent) {
            let Spent {
                units,
                runs,
                quiet,
                time,
            } = std::mem::take(spent);
            if units != 0 || runs != 0 {
                self.stats.add(
                    kind.name,
                    units,
                    KindStats {
                        units: 0,
                        runs,
                        quiet,
                        time,
                    },
                );
            }
        }
    }

    fn named(&self, unit: &Unit<P>) -> (KindId, P::Key) {
        (
            KindId(self.state.kinds[usize::from(unit.kind)].name),
            unit.key,
        )
    }

    /// Everything that units own at present.
    pub fn outputs(&self) -> impl Iterator<Item = &P::Output> {
        self.state.outputs.iter()
    }

    /// How many outputs there are.
    pub fn output_count(&self) -> usize {
        self.state.outputs.len()
    }

    /// How many facts are read by some unit.
    pub fn fact_count(&self) -> usize {
        self.state.facts.len()
    }

    /// The facts that are read by some unit, each with the mask of what is read of it.
    pub fn facts(&self) -> impl Iterator<Item = (P::Fact, u64)> {
        self.state.facts.all()
    }

    /// What one unit owns.
    pub fn outputs_of(&self, kind: KindId, key: P::Key) -> Vec<&P::Output> {
        match self.state.units.find(self.state.graph.index(kind.0), &key) {
            Some(id) => self
                .state
                .units
                .get(id)
                .outputs
                .iter()
                .filter_map(|&o| self.state.outputs.get(o))
                .collect(),
            None => Vec::new(),
        }
    }

    /// All complaints with the units that make them.
    pub fn diagnostics(&self) -> impl Iterator<Item = (KindId, P::Key, &P::Diagnostic)> {
        self.diagnostics_by_unit()
            .flat_map(|(kind, key, list)| list.iter().map(move |d| (kind, key, d)))
    }

    pub(crate) fn diagnostics_by_unit(
        &self,
    ) -> impl Iterator<Item = (KindId, P::Key, &[P::Diagnostic])> {
        self.state
            .units
            .existing()
            .filter(|u| !u.diagnostics().is_empty())
            .map(|u| {
                let (kind, key) = self.named(u);
                (kind, key, u.diagnostics())
            })
    }

    pub(crate) fn diagnostics_of(&self, kind: KindId, key: P::Key) -> &[P::Diagnostic] {
        match self.state.units.find(self.state.graph.index(kind.0), &key) {
            Some(id) => self.state.units.get(id).diagnostics(),
            None => &[],
        }
    }

    /// The roots, as given to [`Engine::ensure`].
    pub fn roots(&self) -> impl Iterator<Item = (KindId, P::Key)> {
        self.state
            .units
            .existing()
            .filter(|u| u.root)
            .map(|u| self.named(u))
    }

    /// Whether the unit exists.
    pub fn contains(&self, kind: KindId, key: P::Key) -> bool {
        let index = self.state.graph.index(kind.0);
        self.state
            .units
            .find(index, &key)
            .is_some_and(|id| self.state.units.get(id).exists)
    }

    /// The value that a unit has published, if it is a `T`.
    pub fn value<T: Send + Sync + 'static>(&self, kind: KindId, key: P::Key) -> Option<Arc<T>> {
        let id = self
            .state
            .units
            .find(self.state.graph.index(kind.0), &key)?;
        self.state.units.get(id).value()?.downcast().ok()
    }

    /// Counters per kind; the handle stays valid and current.
    pub fn stats(&self) -> Registry {
        self.stats.clone()
    }

    /// The graph of kinds in Graphviz's language.
    pub fn dot(&self) -> String {
        self.state.graph.dot()
    }
}

/// Puts an existing unit on the list of its layer, once.
fn mark<P: Program>(units: &mut Units<P>, graph: &Graph, dirty: &mut [Vec<u32>], id: u32) {
    let unit = units.get_mut(id);
    if unit.exists && !unit.dirty {
        unit.dirty = true;
        dirty[usize::from(graph.layer[usize::from(unit.kind)])].push(id);
    }
}
