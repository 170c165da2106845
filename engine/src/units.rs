//! The units and what each of them owns.

use std::any::Any;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::Program;
use crate::facts::Readers;

/// A published value with the comparison that decides whether its readers wake.
#[derive(Clone)]
pub(crate) struct Value {
    pub any: Arc<dyn Any + Send + Sync>,
    eq: fn(&(dyn Any + Send + Sync), &(dyn Any + Send + Sync)) -> bool,
    pub type_name: &'static str,
}

impl Value {
    pub fn new<T: PartialEq + Send + Sync + 'static>(value: T) -> Value {
        Value {
            any: Arc::new(value),
            eq: |a, b| match (a.downcast_ref::<T>(), b.downcast_ref::<T>()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
            type_name: std::any::type_name::<T>(),
        }
    }

    pub fn same(&self, other: &Value) -> bool {
        Arc::ptr_eq(&self.any, &other.any) || (self.eq)(&*self.any, &*other.any)
    }
}

pub(crate) struct Unit<P: Program> {
    pub key: P::Key,
    pub kind: u16,
    /// Someone demands it or it is a root. A slot without existence stands for a value that others have looked for.
    pub exists: bool,
    pub root: bool,
    /// Waits in the list of its layer.
    pub dirty: bool,
    /// How many units demand it.
    pub demanded: u32,
    /// Facts with numbers of masks, sorted.
    pub reads: Box<[(u32, u32)]>,
    /// Units whose values it reads, sorted.
    pub values: Box<[u32]>,
    /// Units that it demands, sorted.
    pub demands: Box<[u32]>,
    /// Interned outputs, sorted.
    pub outputs: Box<[u32]>,
    pub diagnostics: Box<[P::Diagnostic]>,
    pub value: Option<Value>,
    /// Units that read its value.
    pub readers: Readers,
}

/// The slab of units with its index by kind and key.
pub(crate) struct Units<P: Program> {
    index: HashTable<u32>,
    slots: Vec<Unit<P>>,
    free: Vec<u32>,
    /// May be neither existing nor read; freed by [`Units::collect`].
    pub idle: Vec<u32>,
}

fn hash<K: Hash>(kind: u16, key: &K) -> u64 {
    FxBuildHasher.hash_one((kind, key))
}

impl<P: Program> Units<P> {
    pub fn new() -> Self {
        Units {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
        }
    }

    pub fn find(&self, kind: u16, key: &P::Key) -> Option<u32> {
        self.index
            .find(hash(kind, key), |&i| {
                let unit = &self.slots[i as usize];
                unit.kind == kind && unit.key == *key
            })
            .copied()
    }

    pub fn intern(&mut self, kind: u16, key: P::Key) -> u32 {
        if let Some(id) = self.find(kind, &key) {
            return id;
        }
        let unit = Unit {
            key,
            kind,
            exists: false,
            root: false,
            dirty: false,
            demanded: 0,
            reads: Box::default(),
            values: Box::default(),
            demands: Box::default(),
            outputs: Box::default(),
            diagnostics: Box::default(),
            value: None,
            readers: Readers::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = unit;
                id
            }
            None => {
                self.slots.push(unit);
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(kind, &key), id, |&i| {
            let unit = &slots[i as usize];
            hash(unit.kind, &unit.key)
        });
        id
    }

    pub fn get(&self, id: u32) -> &Unit<P> {
        &self.slots[id as usize]
    }

    pub fn get_mut(&mut self, id: u32) -> &mut Unit<P> {
        &mut self.slots[id as usize]
    }

    /// Frees slots that stand for nothing. Not while any identifier may be held outside.
    pub fn collect(&mut self) {
        for id in std::mem::take(&mut self.idle) {
            let unit = &self.slots[id as usize];
            if unit.exists || unit.dirty || !unit.readers.is_empty() {
                continue;
            }
            let h = hash(unit.kind, &unit.key);
            if let Ok(entry) = self.index.find_entry(h, |&i| i == id) {
                entry.remove();
                self.free.push(id);
            }
        }
    }

    pub fn existing(&self) -> impl Iterator<Item = &Unit<P>> {
        self.slots.iter().filter(|u| u.exists)
    }
}
