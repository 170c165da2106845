//! Flows that are wanted and flows that are there, by their keys.
//!
//! There are hundreds of thousands of them, and nearly always exactly one flow is wanted under its own key: then an entry is
//! three words, and the key is not kept beside the flow that has it.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use weft_openflow::Match;

use super::{FlowKey, Sum, order};
use crate::flow::{Body, Flow};

#[derive(Debug)]
enum Entry {
    /// One flow is wanted, under its own table, priority and match.
    One {
        flow: Arc<Flow>,
        there: Option<Sum>,
        dirty: bool,
    },
    /// Anything else.
    Other(Box<Other>),
}

#[derive(Debug)]
struct Other {
    key: FlowKey,
    /// Everything that wants a flow under this key; the first of them in their own order wins, clauses are joined.
    wanted: SmallVec<[Arc<Flow>; 1]>,
    there: Option<Sum>,
    dirty: bool,
}

// There are as many as flows.
const _: () = assert!(size_of::<Entry>() <= 24);

fn hash(table: u8, priority: u16, matches: &Match) -> u64 {
    FxBuildHasher.hash_one((table, priority, matches))
}

/// Whether the flow is the only part of its key: the number of a conjunctive match is not in the flow itself.
fn has_own_key(flow: &Flow) -> bool {
    !matches!(flow.body, Body::Conjunction(..))
}

impl Entry {
    fn new(key: &FlowKey, wanted: SmallVec<[Arc<Flow>; 1]>) -> Entry {
        match &wanted[..] {
            [flow] if has_own_key(flow) => Entry::One {
                flow: Arc::clone(flow),
                there: None,
                dirty: false,
            },
            _ => Entry::Other(Box::new(Other {
                key: key.clone(),
                wanted,
                there: None,
                dirty: false,
            })),
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Entry::One { flow, .. } => hash(flow.table, flow.priority, &flow.matches),
            Entry::Other(other) => other.key.hash(),
        }
    }

    fn is(&self, key: &FlowKey) -> bool {
        match self {
            Entry::One { flow, .. } => {
                (flow.table, flow.priority) == (key.table, key.priority)
                    && flow.matches == key.matches
            }
            Entry::Other(other) => other.key == *key,
        }
    }

    fn key(&self) -> FlowKey {
        match self {
            Entry::One { flow, .. } => FlowKey {
                table: flow.table,
                priority: flow.priority,
                matches: flow.matches.clone(),
            },
            Entry::Other(other) => other.key.clone(),
        }
    }

    fn wanted(&self) -> &[Arc<Flow>] {
        match self {
            Entry::One { flow, .. } => std::slice::from_ref(flow),
            Entry::Other(other) => &other.wanted,
        }
    }

    fn there(&mut self) -> &mut Option<Sum> {
        match self {
            Entry::One { there, .. } => there,
            Entry::Other(other) => &mut other.there,
        }
    }

    fn dirty(&mut self) -> &mut bool {
        match self {
            Entry::One { dirty, .. } => dirty,
            Entry::Other(other) => &mut other.dirty,
        }
    }

    /// Changes what is wanted; the entry takes the smaller form if it can.
    fn change(&mut self, change: impl FnOnce(&mut SmallVec<[Arc<Flow>; 1]>)) {
        let mut wanted = SmallVec::from(self.wanted());
        change(&mut wanted);
        let (there, dirty) = (*self.there(), *self.dirty());
        *self = Entry::new(&self.key(), wanted);
        (*self.there(), *self.dirty()) = (there, dirty);
    }
}

impl FlowKey {
    fn hash(&self) -> u64 {
        hash(self.table, self.priority, &self.matches)
    }
}

/// All flows of the bridge, wanted or there or both.
#[derive(Default, Debug)]
pub(super) struct Table {
    entries: HashTable<Entry>,
    /// Keys to compare, each once: their entries say so too.
    dirty: Vec<FlowKey>,
    /// How many have a flow that is wanted.
    wanted: usize,
}

impl Table {
    /// Flows that are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Entry> {
        self.entries.find_mut(key.hash(), |entry| entry.is(key))
    }

    /// The entry of a key, made by `fresh` if there is none, to be compared. True if there was none.
    fn touched(
        &mut self,
        key: FlowKey,
        fresh: impl FnOnce(&FlowKey) -> Entry,
    ) -> (&mut Entry, bool) {
        let place = self
            .entries
            .entry(key.hash(), |entry| entry.is(&key), Entry::hash);
        let (entry, new) = match place {
            Place::Occupied(entry) => (entry.into_mut(), false),
            Place::Vacant(vacant) => (vacant.insert(fresh(&key)).into_mut(), true),
        };
        if !std::mem::replace(entry.dirty(), true) {
            self.dirty.push(key);
        }
        (entry, new)
    }

    /// A flow is wanted.
    pub fn add(&mut self, key: FlowKey, flow: &Arc<Flow>) {
        let (entry, new) = self.touched(key, |key| Entry::new(key, [Arc::clone(flow)].into()));
        let first = new || entry.wanted().is_empty();
        if !new {
            entry.change(|wanted| {
                wanted.push(Arc::clone(flow));
                wanted.sort_by(order);
            });
        }
        self.wanted += usize::from(first);
    }

    /// It is wanted no more.
    pub fn remove(&mut self, key: FlowKey, flow: &Arc<Flow>) {
        if self.get_mut(&key).is_none() {
            return;
        }
        let (entry, _) = self.touched(key, |key| Entry::new(key, SmallVec::new()));
        let before = !entry.wanted().is_empty();
        entry.change(|wanted| wanted.retain(|other| other != flow));
        let gone = before && entry.wanted().is_empty();
        self.wanted -= usize::from(gone);
    }

    /// Exactly these are there. Everything is to be compared anew.
    pub fn read_back(&mut self, flows: impl Iterator<Item = (FlowKey, Sum)>) {
        self.entries.retain(|entry| {
            *entry.there() = None;
            !entry.wanted().is_empty()
        });
        self.touch_all();
        for (key, sum) in flows {
            let (entry, _) = self.touched(key, |key| Entry::new(key, SmallVec::new()));
            *entry.there() = Some(sum);
        }
    }

    /// Everything is to be compared anew.
    pub fn touch_all(&mut self) {
        self.dirty = self.entries.iter().map(Entry::key).collect();
        self.entries
            .iter_mut()
            .for_each(|entry| *entry.dirty() = true);
    }

    /// The keys to compare, in no order; each is to be [settled](Table::settle).
    pub fn take_dirty(&mut self) -> Vec<FlowKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives what is wanted under a key to `compare`, which says what is there from now on.
    pub fn settle<T>(
        &mut self,
        key: &FlowKey,
        compare: impl FnOnce(&[Arc<Flow>], &mut Option<Sum>) -> T,
    ) -> Option<T> {
        let mut place = self
            .entries
            .find_entry(key.hash(), |entry| entry.is(key))
            .ok()?;
        let entry = place.get_mut();
        *entry.dirty() = false;
        let mut there = *entry.there();
        let outcome = compare(entry.wanted(), &mut there);
        *entry.there() = there;
        if entry.wanted().is_empty() && there.is_none() {
            place.remove();
        }
        Some(outcome)
    }

    /// What is wanted under a key and what is there, to be changed without comparing again.
    pub fn amend<T>(
        &mut self,
        key: &FlowKey,
        amend: impl FnOnce(&[Arc<Flow>], &mut Option<Sum>) -> T,
    ) -> Option<T> {
        let entry = self.get_mut(key)?;
        let mut there = *entry.there();
        let outcome = amend(entry.wanted(), &mut there);
        *entry.there() = there;
        Some(outcome)
    }

    /// Everything that is wanted, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, &[Arc<Flow>])> {
        self.entries
            .iter()
            .map(|entry| (entry.key(), entry.wanted()))
    }
}
