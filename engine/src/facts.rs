//! Interned facts and who reads them.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use crate::EXISTENCE;

/// Beyond this many readers a fact keeps them in a map, so that one that leaves costs the same however many there are.
const FEW: usize = 24;

/// Who reads something, each with the number of a mask.
pub(crate) enum Readers {
    Few(SmallVec<[(u32, u32); 2]>),
    Many(Box<FxHashMap<u32, u32>>),
}

impl Readers {
    pub fn new() -> Self {
        Readers::Few(SmallVec::new())
    }

    pub fn for_each(&self, mut f: impl FnMut(u32)) {
        match self {
            Readers::Few(list) => list.iter().for_each(|e| f(e.0)),
            Readers::Many(map) => map.keys().for_each(|&u| f(u)),
        }
    }

    pub fn set(&mut self, unit: u32, mask: u32) {
        match self {
            Readers::Few(list) => {
                if let Some(entry) = list.iter_mut().find(|e| e.0 == unit) {
                    entry.1 = mask;
                } else if list.len() < FEW {
                    list.push((unit, mask));
                } else {
                    let mut map: FxHashMap<u32, u32> = list.iter().copied().collect();
                    map.insert(unit, mask);
                    *self = Readers::Many(Box::new(map));
                }
            }
            Readers::Many(map) => {
                map.insert(unit, mask);
            }
        }
    }

    pub fn unset(&mut self, unit: u32) {
        match self {
            Readers::Few(list) => {
                if let Some(i) = list.iter().position(|e| e.0 == unit) {
                    list.swap_remove(i);
                }
            }
            Readers::Many(map) => {
                map.remove(&unit);
                if map.len() < FEW / 2 {
                    *self = Readers::Few(map.iter().map(|(&u, &m)| (u, m)).collect());
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Readers::Few(list) => list.is_empty(),
            Readers::Many(map) => map.is_empty(),
        }
    }
}

struct Slot<F> {
    fact: F,
    readers: Readers,
}

/// Masks are few and repeated: readers hold a number of four bytes instead of the mask of eight.
#[derive(Default)]
pub(crate) struct Masks {
    list: Vec<u64>,
    numbers: FxHashMap<u64, u32>,
}

impl Masks {
    fn number(&mut self, mask: u64) -> u32 {
        *self.numbers.entry(mask).or_insert_with(|| {
            self.list.push(mask);
            (self.list.len() - 1) as u32
        })
    }
}

/// All facts that some unit reads.
pub(crate) struct Facts<F> {
    index: HashTable<u32>,
    slots: Vec<Slot<F>>,
    free: Vec<u32>,
    /// May have no reader left; freed by [`Facts::collect`].
    idle: Vec<u32>,
    masks: Masks,
}

impl<F: Copy + Eq + Hash> Facts<F> {
    pub fn new() -> Self {
        Facts {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            masks: Masks::default(),
        }
    }

    pub fn find(&self, fact: &F) -> Option<u32> {
        let hash = FxBuildHasher.hash_one(fact);
        self.index
            .find(hash, |&i| self.slots[i as usize].fact == *fact)
            .copied()
    }

    pub fn intern(&mut self, fact: F) -> u32 {
        if let Some(id) = self.find(&fact) {
            return id;
        }
        let slot = Slot {
            fact,
            readers: Readers::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index
            .insert_unique(FxBuildHasher.hash_one(fact), id, |&i| {
                FxBuildHasher.hash_one(slots[i as usize].fact)
            });
        id
    }

    /// The number that stands for a mask.
    pub fn mask(&mut self, mask: u64) -> u32 {
        self.masks.number(mask)
    }

    /// Replaces what `unit` reads, as facts with numbers of masks. Both lists are sorted by fact and hold each once.
    pub fn change_reads(&mut self, unit: u32, old: &[(u32, u32)], new: &[(u32, u32)]) {
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (old.get(i), new.get(j)) {
                (Some(o), Some(n)) => o.0.cmp(&n.0),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            match order {
                std::cmp::Ordering::Less => {
                    let slot = &mut self.slots[old[i].0 as usize];
                    slot.readers.unset(unit);
                    if slot.readers.is_empty() {
                        self.idle.push(old[i].0);
                    }
                    i += 1;
                }
                std::cmp::Ordering::Greater => {
                    self.slots[new[j].0 as usize].readers.set(unit, new[j].1);
                    j += 1;
                }
                std::cmp::Ordering::Equal => {
                    if old[i].1 != new[j].1 {
                        self.slots[new[j].0 as usize].readers.set(unit, new[j].1);
                    }
                    i += 1;
                    j += 1;
                }
            }
        }
    }

    /// Calls `wake` for every unit that reads the fact with a mask that meets `mask`.
    pub fn readers(&self, fact: &F, mask: u64, mut wake: impl FnMut(u32)) {
        let Some(id) = self.find(fact) else { return };
        let hit = |m: u32| mask & EXISTENCE != 0 || self.masks.list[m as usize] & mask != 0;
        match &self.slots[id as usize].readers {
            Readers::Few(list) => list.iter().filter(|e| hit(e.1)).for_each(|e| wake(e.0)),
            Readers::Many(map) => map.iter().filter(|e| hit(*e.1)).for_each(|e| wake(*e.0)),
        }
    }

    /// All facts that are read, each with what is read of it.
    pub fn all(&self) -> impl Iterator<Item = (F, u64)> {
        self.index.iter().map(|&id| {
            let slot = &self.slots[id as usize];
            let mask = |m: u32| self.masks.list[m as usize];
            let read = match &slot.readers {
                Readers::Few(list) => list.iter().fold(0, |all, e| all | mask(e.1)),
                Readers::Many(map) => map.values().fold(0, |all, m| all | mask(*m)),
            };
            (slot.fact, read)
        })
    }

    /// Frees facts without readers. Not while any identifier may be held outside.
    pub fn collect(&mut self) {
        for id in std::mem::take(&mut self.idle) {
            if !self.slots[id as usize].readers.is_empty() {
                continue;
            }
            let hash = FxBuildHasher.hash_one(self.slots[id as usize].fact);
            // A fact can be listed as idle twice; the second time it is no longer in the index.
            if let Ok(entry) = self.index.find_entry(hash, |&i| i == id) {
                entry.remove();
                self.free.push(id);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(facts: &Facts<u8>, fact: u8, mask: u64) -> Vec<u32> {
        let mut all = Vec::new();
        facts.readers(&fact, mask, |u| all.push(u));
        all.sort_unstable();
        all
    }

    #[test]
    fn masks_decide_who_wakes() {
        let mut facts = Facts::new();
        let f = facts.intern(7u8);
        let [zero, one, two, four] = [0, 1, 2, 4].map(|m| facts.mask(m));
        facts.change_reads(1, &[], &[(f, one)]);
        facts.change_reads(2, &[], &[(f, two)]);
        facts.change_reads(3, &[], &[(f, zero)]);
        assert_eq!(woken(&facts, 7, 0b01), [1]);
        assert_eq!(woken(&facts, 7, 0b11), [1, 2]);
        assert_eq!(woken(&facts, 7, 0b100), [0u32; 0]);
        assert_eq!(woken(&facts, 7, EXISTENCE), [1, 2, 3]);
        facts.change_reads(1, &[(f, one)], &[(f, four)]);
        assert_eq!(woken(&facts, 7, 0b01), [0u32; 0]);
        assert_eq!(woken(&facts, 7, 0b100), [1]);
    }

    #[test]
    fn many_readers_come_and_go() {
        let mut facts = Facts::new();
        let f = facts.intern(1u8);
        let one = facts.mask(1);
        for unit in 0..1000 {
            facts.change_reads(unit, &[], &[(f, one)]);
        }
        assert_eq!(woken(&facts, 1, 1).len(), 1000);
        for unit in 0..1000 {
            facts.change_reads(unit, &[(f, one)], &[]);
        }
        assert!(woken(&facts, 1, EXISTENCE).is_empty());
        assert_eq!(facts.len(), 1);
        facts.collect();
        assert_eq!(facts.len(), 0);
        assert_eq!(facts.intern(2), f, "the slot is used again");
    }
}
