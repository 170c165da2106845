//! What a unit sees while it runs, and the record of it.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::engine::State;
use crate::units::Value;
use crate::{KindId, Program};

/// Everything one run of a unit did. What was already interned when it ran is held by identifier.
pub(crate) struct Record<P: Program> {
    pub reads: Vec<(u32, u64)>,
    pub new_reads: Vec<(P::Fact, u64)>,
    pub values: Vec<u32>,
    pub new_values: Vec<(u16, P::Key)>,
    pub demands: Vec<(u16, P::Key)>,
    pub outputs: Vec<u32>,
    pub new_outputs: Vec<(u64, P::Output)>,
    pub diagnostics: Vec<P::Diagnostic>,
    pub value: Option<Value>,
    pub wakes: Vec<(P::Fact, u64)>,
}

impl<P: Program> Record<P> {
    fn new() -> Self {
        Record {
            reads: Vec::new(),
            new_reads: Vec::new(),
            values: Vec::new(),
            new_values: Vec::new(),
            demands: Vec::new(),
            outputs: Vec::new(),
            new_outputs: Vec::new(),
            diagnostics: Vec::new(),
            value: None,
            wakes: Vec::new(),
        }
    }
}

/// Sorts by fact and joins the masks of one fact.
pub(crate) fn merge_reads(reads: &mut Vec<(u32, u64)>) {
    reads.sort_unstable();
    reads.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 |= next.1;
        }
        same
    });
}

/// The view of a running unit: tracked reading, and what it yields.
pub struct Cx<'a, P: Program> {
    inputs: &'a P::Inputs,
    state: &'a State<P>,
    kind: u16,
    record: RefCell<Record<P>>,
}

impl<'a, P: Program> Cx<'a, P> {
    pub(crate) fn new(inputs: &'a P::Inputs, state: &'a State<P>, kind: u16) -> Self {
        Cx {
            inputs,
            state,
            kind,
            record: RefCell::new(Record::new()),
        }
    }

    pub(crate) fn finish(self) -> Record<P> {
        let mut record = self.record.into_inner();
        merge_reads(&mut record.reads);
        record.values.sort_unstable();
        record.values.dedup();
        record.outputs.sort_unstable();
        record.outputs.dedup();
        record
    }

    /// The inputs. Reading them directly is not recorded: a program wraps this in views that call [`Cx::track`].
    pub fn inputs(&self) -> &'a P::Inputs {
        self.inputs
    }

    /// The name of the kind that runs.
    pub fn kind(&self) -> KindId {
        KindId(self.state.kinds[usize::from(self.kind)].name)
    }

    /// The position of that kind in [`Program::kinds`].
    pub fn kind_number(&self) -> u16 {
        self.kind
    }

    /// Records that this unit read the columns `mask` of `fact`; 0 is its mere existence.
    pub fn track(&self, fact: P::Fact, mask: u64) {
        let mut record = self.record.borrow_mut();
        match self.state.facts.find(&fact) {
            Some(id) => match record.reads.last_mut() {
                Some(last) if last.0 == id => last.1 |= mask,
                _ => record.reads.push((id, mask)),
            },
            None => record.new_reads.push((fact, mask)),
        }
    }

    /// Owns an output for as long as this unit yields it. Emitting it twice is the same as once.
    pub fn emit(&self, output: P::Output) {
        let hash = FxBuildHasher.hash_one(&output);
        let mut record = self.record.borrow_mut();
        match self.state.outputs.find(hash, &output) {
            Some(id) => record.outputs.push(id),
            None => record.new_outputs.push((hash, output)),
        }
    }

    /// Sets the value of this unit, for units of kinds that read this one. A second call replaces the first.
    pub fn publish<T: PartialEq + Send + Sync + 'static>(&self, value: T) {
        self.record.borrow_mut().value = Some(Value::new(value));
    }

    /// The value that the unit (`kind`, `key`) has published; `None` when there is no such unit or it has published
    /// nothing. The caller runs again when it changes.
    ///
    /// # Panics
    /// When the caller's kind does not list `kind` among its `reads`, or publishes another type: faults of the program.
    pub fn value<T: Send + Sync + 'static>(&self, kind: KindId, key: P::Key) -> Option<Arc<T>> {
        let index = self.state.graph.index(kind.0);
        assert!(
            self.state.graph.may_read(self.kind, index),
            "kind {} reads {kind} without listing it",
            self.kind()
        );
        let mut record = self.record.borrow_mut();
        let Some(id) = self.state.units.find(index, &key) else {
            record.new_values.push((index, key));
            return None;
        };
        record.values.push(id);
        match self.state.units.get(id).value()?.downcast::<T>() {
            Ok(value) => Some(value),
            Err(other) => panic!(
                "{kind} publishes {other}, not {}",
                std::any::type_name::<T>()
            ),
        }
    }

    /// The unit (`kind`, `key`) exists for as long as this one demands it.
    pub fn demand(&self, kind: KindId, key: P::Key) {
        let index = self.state.graph.index(kind.0);
        self.record.borrow_mut().demands.push((index, key));
    }

    /// Reports input that this unit could not use.
    pub fn diagnose(&self, diagnostic: P::Diagnostic) {
        self.record.borrow_mut().diagnostics.push(diagnostic);
    }

    /// Wakes the other readers of a fact after this unit has run: for a serial unit whose allocation others wait for or
    /// watch. Run again with nothing else changed, the unit itself must come to the same result.
    pub fn wake(&self, fact: P::Fact, mask: u64) {
        self.record.borrow_mut().wakes.push((fact, mask));
    }
}
