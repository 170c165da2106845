//! The units and what each of them owns.

use std::any::Any;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::Program;
use crate::facts::Readers;

/// What a unit can publish: anything that can be compared.
trait Published: Any + Send + Sync {
    fn same(&self, other: &dyn Published) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn type_name(&self) -> &'static str;
}

impl<T: PartialEq + Send + Sync + 'static> Published for T {
    fn same(&self, other: &dyn Published) -> bool {
        other.as_any().downcast_ref::<T>() == Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

/// A published value with the comparison that decides whether its readers wake.
#[derive(Clone)]
pub(crate) struct Value(Arc<dyn Published>);

impl Value {
    pub fn new<T: PartialEq + Send + Sync + 'static>(value: T) -> Value {
        Value(Arc::new(value))
    }

    pub fn same(&self, other: &Value) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.same(&*other.0)
    }

    /// The value as what it is; else the name of its type.
    pub fn downcast<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, &'static str> {
        let any = Arc::clone(&self.0).into_any();
        any.downcast::<T>().map_err(|_| self.0.type_name())
    }
}

/// What a unit gives to others. Most give nothing.
pub(crate) struct Given {
    pub value: Option<Value>,
    /// Units that read its value.
    pub readers: Readers,
}

/// What few units have.
pub(crate) struct Rest<D> {
    /// Units that it demands, sorted.
    pub demands: Box<[u32]>,
    pub diagnostics: Box<[D]>,
}

/// There are very many: small, and what most do not have is elsewhere.
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
    /// Interned outputs, sorted.
    pub outputs: Box<[u32]>,
    given: Option<Box<Given>>,
    rest: Option<Box<Rest<P::Diagnostic>>>,
}

impl<P: Program> Unit<P> {
    pub fn value(&self) -> Option<&Value> {
        self.given.as_ref()?.value.as_ref()
    }

    /// Sets the value; returns the former one.
    pub fn set_value(&mut self, value: Option<Value>) -> Option<Value> {
        if value.is_none() && self.given.is_none() {
            return None;
        }
        let old = std::mem::replace(&mut self.given_mut().value, value);
        self.tidy();
        old
    }

    fn given_mut(&mut self) -> &mut Given {
        self.given.get_or_insert_with(|| {
            Box::new(Given {
                value: None,
                readers: Readers::new(),
            })
        })
    }

    fn tidy(&mut self) {
        let empty = |given: &Given| given.value.is_none() && given.readers.is_empty();
        if self.given.as_deref().is_some_and(empty) {
            self.given = None;
        }
    }

    pub fn is_read(&self) -> bool {
        self.given
            .as_ref()
            .is_some_and(|given| !given.readers.is_empty())
    }

    pub fn for_each_reader(&self, f: impl FnMut(u32)) {
        if let Some(given) = &self.given {
            given.readers.for_each(f);
        }
    }

    pub fn set_reader(&mut self, unit: u32) {
        self.given_mut().readers.set(unit, 0);
    }

    pub fn unset_reader(&mut self, unit: u32) {
        if let Some(given) = &mut self.given {
            given.readers.unset(unit);
            self.tidy();
        }
    }

    pub fn demands(&self) -> &[u32] {
        self.rest.as_ref().map_or(&[], |rest| &rest.demands)
    }

    pub fn diagnostics(&self) -> &[P::Diagnostic] {
        self.rest.as_ref().map_or(&[], |rest| &rest.diagnostics)
    }

    /// Sets what it demands; returns the former.
    pub fn set_demands(&mut self, demands: Box<[u32]>) -> Box<[u32]> {
        self.change_rest(|rest| std::mem::replace(&mut rest.demands, demands))
    }

    /// Sets its diagnostics; returns the former.
    pub fn set_diagnostics(&mut self, list: Box<[P::Diagnostic]>) -> Box<[P::Diagnostic]> {
        self.change_rest(|rest| std::mem::replace(&mut rest.diagnostics, list))
    }

    fn change_rest<T>(&mut self, change: impl FnOnce(&mut Rest<P::Diagnostic>) -> T) -> T {
        let rest = self.rest.get_or_insert_with(|| {
            Box::new(Rest {
                demands: Box::default(),
                diagnostics: Box::default(),
            })
        });
        let result = change(rest);
        if rest.demands.is_empty() && rest.diagnostics.is_empty() {
            self.rest = None;
        }
        result
    }
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
            outputs: Box::default(),
            given: None,
            rest: None,
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
            if unit.exists || unit.dirty || unit.is_read() {
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
