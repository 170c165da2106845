//! Interned outputs with their reference counts.

use hashbrown::HashTable;

struct Slot<O> {
    output: Option<O>,
    /// Kept so that neither growth nor removal hashes an output again.
    hash: u64,
    refs: u32,
    touched: Touched,
}

/// Whether the count of an output left or reached zero in this run.
#[derive(Clone, Copy, PartialEq)]
enum Touched {
    No,
    /// It was not there before the run.
    New,
    /// It was there before the run.
    Old,
}

/// Every output that some unit owns, and those that left during the present run.
pub(crate) struct Outputs<O> {
    index: HashTable<u32>,
    slots: Vec<Slot<O>>,
    free: Vec<u32>,
    /// Outputs whose count left or reached zero in this run.
    touched: Vec<u32>,
}

impl<O: Clone + Eq> Outputs<O> {
    pub fn new() -> Self {
        Outputs {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub fn find(&self, hash: u64, output: &O) -> Option<u32> {
        self.index
            .find(hash, |&i| {
                let slot = &self.slots[i as usize];
                slot.hash == hash && slot.output.as_ref() == Some(output)
            })
            .copied()
    }

    pub fn intern(&mut self, hash: u64, output: O) -> u32 {
        if let Some(id) = self.find(hash, &output) {
            return id;
        }
        let slot = Slot {
            output: Some(output),
            hash,
            refs: 0,
            touched: Touched::No,
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
            .insert_unique(hash, id, |&i| slots[i as usize].hash);
        id
    }

    /// Replaces what one unit owns. Both lists are sorted and hold each output once.
    pub fn change(&mut self, old: &[u32], new: &[u32]) {
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (old.get(i), new.get(j)) {
                (Some(o), Some(n)) => o.cmp(n),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            match order {
                std::cmp::Ordering::Less => {
                    self.release(old[i]);
                    i += 1;
                }
                std::cmp::Ordering::Greater => {
                    self.acquire(new[j]);
                    j += 1;
                }
                std::cmp::Ordering::Equal => {
                    i += 1;
                    j += 1;
                }
            }
        }
    }

    fn acquire(&mut self, id: u32) {
        let slot = &mut self.slots[id as usize];
        slot.refs += 1;
        if slot.refs == 1 && slot.touched == Touched::No {
            slot.touched = Touched::New;
            self.touched.push(id);
        }
    }

    fn release(&mut self, id: u32) {
        let slot = &mut self.slots[id as usize];
        slot.refs -= 1;
        if slot.refs == 0 && slot.touched == Touched::No {
            slot.touched = Touched::Old;
            self.touched.push(id);
        }
    }

    /// The net difference since the last call; frees what left.
    pub fn settle(&mut self) -> (Vec<O>, Vec<O>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        for id in touched {
            let slot = &mut self.slots[id as usize];
            let was = std::mem::replace(&mut slot.touched, Touched::No) == Touched::Old;
            if slot.refs > 0 {
                if !was {
                    added.extend(slot.output.clone());
                }
                continue;
            }
            let hash = slot.hash;
            if let Some(output) = slot.output.take()
                && was
            {
                removed.push(output);
            }
            if let Ok(entry) = self.index.find_entry(hash, |&i| i == id) {
                entry.remove();
            }
            self.free.push(id);
        }
        (added, removed)
    }

    pub fn iter(&self) -> impl Iterator<Item = &O> {
        self.slots
            .iter()
            .filter(|s| s.refs > 0)
            .filter_map(|s| s.output.as_ref())
    }

    pub fn get(&self, id: u32) -> Option<&O> {
        self.slots[id as usize].output.as_ref()
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_net() {
        let mut outs = Outputs::new();
        let a = outs.intern(1, "a");
        let b = outs.intern(2, "b");
        outs.change(&[], &[a]);
        outs.change(&[], &[a, b]);
        assert_eq!(outs.settle(), (vec!["a", "b"], vec![]));
        outs.change(&[a], &[]);
        assert_eq!(
            outs.settle(),
            (vec![], vec![]),
            "another unit still owns it"
        );
        outs.change(&[a, b], &[b]);
        outs.change(&[], &[a]);
        assert_eq!(outs.settle(), (vec![], vec![]), "left and came back");
        outs.change(&[a], &[]);
        assert_eq!(outs.settle(), (vec![], vec!["a"]));
        assert_eq!(outs.len(), 1);
    }
}
