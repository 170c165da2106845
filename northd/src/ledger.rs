//! Allocators with memory: what is free to choose but must not change afterwards.
//!
//! A ledger is input restored from the databases at the start ([`crate::restore`]); only units that allocate see it.

use rustc_hash::FxHashMap;
use weft_ovsdb::model::Uuid;

use crate::features::ipam::Leases;
use crate::program::{Fact, Id, Key};

/// Where a number is unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// Tunnel keys of datapaths.
    Datapaths,
    /// Tunnel keys of the ports of one datapath.
    Ports(Id),
    /// VLAN tags of the nested ports of one parent, by hash of its name.
    Tags(u64),
    /// Egress queues of one chassis, or (zero) of all of them.
    Queues(Id),
    /// Numbers of one sort within one router.
    Router(Id, u8),
    /// UDP source ports of BFD sessions.
    BfdPorts,
    /// Tunnel keys of the learned multicast groups of one datapath.
    Groups(Id),
    /// Numbers of ACLs whose connections persist.
    Acls,
}

/// All ledgers.
#[derive(Clone, Default, Debug)]
pub struct Ledgers {
    /// Tunnel keys of datapaths.
    pub datapaths: Numbers,
    /// Tunnel keys of ports, by datapath.
    pub ports: Scoped<Uuid>,
    /// Tags of nested ports that asked for any, by name hash of the parent.
    pub tags: Scoped<u64>,
    /// Egress queues, by chassis.
    pub queues: Scoped<Uuid>,
    /// Numbers within routers (of what sort, see [`crate::features::router::numbers`]).
    pub routers: Scoped<(Uuid, u8)>,
    /// UDP source ports of BFD sessions.
    pub bfd_ports: Numbers,
    /// Tunnel keys of learned multicast groups, by datapath.
    pub groups: Scoped<Uuid>,
    /// Numbers of ACLs whose connections persist.
    pub acls: Numbers,
    /// Dynamic addresses.
    pub leases: Leases,
}

/// Numbers of one space and who holds them.
#[derive(Clone, Default, Debug)]
pub struct Numbers {
    /// Holder, and whether it asked for just this number.
    by_number: FxHashMap<u32, (Key, bool)>,
    by_owner: FxHashMap<Key, u32>,
    /// Where the search for a free number starts: numbers that became free rest until the others have had their turn.
    next: u32,
}

/// What came of asking for a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The number; `None` when all are taken.
    pub number: Option<u32>,
    /// The wish could not be met since somebody else asked for the same number before.
    pub refused: bool,
}

impl Numbers {
    /// Records what was found in a database: counts as chosen freely. The first one to be restored keeps a number.
    pub fn restore(&mut self, owner: Key, number: u32) {
        if self.by_number.contains_key(&number) || self.by_owner.contains_key(&owner) {
            return;
        }
        self.by_number.insert(number, (owner, false));
        self.by_owner.insert(owner, number);
        self.next = self.next.max(number + 1);
    }

    /// Gives `owner` a number between `min` and `max`: the one it wishes, unless somebody else wishes it too and has
    /// it; else the one it has, else a free one. A wish displaces a holder that did not ask. `changed` learns of every
    /// number that changes hands, so that whoever waits for it or has lost it can be woken.
    pub fn assign(
        &mut self,
        owner: Key,
        wish: Option<u32>,
        (min, max): (u32, u32),
        changed: &mut dyn FnMut(u32),
    ) -> Assigned {
        let had = self.by_owner.get(&owner).copied();
        let mut refused = false;
        if let Some(wish) = wish {
            match self.by_number.get(&wish).copied() {
                Some((holder, true)) if holder != owner => refused = true,
                Some((holder, _)) => {
                    if holder != owner {
                        self.by_owner.remove(&holder);
                        changed(wish);
                        self.let_go(owner, changed);
                    }
                    self.take(owner, wish, true);
                    return Assigned {
                        number: Some(wish),
                        refused,
                    };
                }
                None => {
                    self.let_go(owner, changed);
                    self.take(owner, wish, true);
                    changed(wish);
                    return Assigned {
                        number: Some(wish),
                        refused,
                    };
                }
            }
        }
        if let Some(had) = had
            && (min..=max).contains(&had)
        {
            // Who wishes it too may now have it.
            if self.by_number.get(&had) == Some(&(owner, true)) {
                changed(had);
            }
            self.take(owner, had, false);
            return Assigned {
                number: Some(had),
                refused,
            };
        }
        self.let_go(owner, changed);
        let number = self.free(min, max);
        if let Some(number) = number {
            self.take(owner, number, false);
            self.next = number + 1;
            changed(number);
        }
        Assigned { number, refused }
    }

    fn take(&mut self, owner: Key, number: u32, wished: bool) {
        self.by_number.insert(number, (owner, wished));
        self.by_owner.insert(owner, number);
    }

    fn free(&self, min: u32, max: u32) -> Option<u32> {
        let start = self.next.clamp(min, max);
        (start..=max)
            .chain(min..start)
            .find(|n| !self.by_number.contains_key(n))
    }

    /// Takes back what `owner` holds.
    pub fn let_go(&mut self, owner: Key, changed: &mut dyn FnMut(u32)) {
        if let Some(number) = self.by_owner.remove(&owner) {
            self.by_number.remove(&number);
            changed(number);
        }
    }

    /// What `owner` holds.
    pub fn held(&self, owner: Key) -> Option<u32> {
        self.by_owner.get(&owner).copied()
    }

    /// Everybody has here what they have there.
    pub fn holds_all(&self, there: &Numbers) -> bool {
        there
            .by_owner
            .iter()
            .all(|(owner, number)| self.by_owner.get(owner) == Some(number))
    }

    /// Nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }
}

/// Spaces of numbers, each with a scope; an owner is in one scope at a time.
#[derive(Clone, Debug)]
pub struct Scoped<S> {
    scopes: FxHashMap<S, Numbers>,
    homes: FxHashMap<Key, S>,
}

impl<S> Default for Scoped<S> {
    fn default() -> Self {
        Scoped {
            scopes: FxHashMap::default(),
            homes: FxHashMap::default(),
        }
    }
}

impl<S: Copy + Eq + std::hash::Hash> Scoped<S> {
    /// See [`Numbers::restore`].
    pub fn restore(&mut self, scope: S, owner: Key, number: u32) {
        self.scopes.entry(scope).or_default().restore(owner, number);
        self.homes.insert(owner, scope);
    }

    /// See [`Numbers::assign`]. Leaves the scope the owner was in before, if it was another.
    pub fn assign(
        &mut self,
        scope: S,
        owner: Key,
        wish: Option<u32>,
        range: (u32, u32),
        changed: &mut dyn FnMut(S, u32),
    ) -> Assigned {
        if self.homes.get(&owner).is_some_and(|home| *home != scope) {
            self.let_go(owner, changed);
        }
        self.homes.insert(owner, scope);
        self.scopes
            .entry(scope)
            .or_default()
            .assign(owner, wish, range, &mut |n| changed(scope, n))
    }

    /// Everybody has here what they have there.
    pub fn holds_all(&self, there: &Self) -> bool {
        there.scopes.iter().all(|(scope, numbers)| {
            self.scopes
                .get(scope)
                .is_some_and(|ours| ours.holds_all(numbers))
        })
    }

    /// Takes back what `owner` holds.
    pub fn let_go(&mut self, owner: Key, changed: &mut dyn FnMut(S, u32)) {
        let Some(scope) = self.homes.remove(&owner) else {
            return;
        };
        if let Some(numbers) = self.scopes.get_mut(&scope) {
            numbers.let_go(owner, &mut |n| changed(scope, n));
            if numbers.is_empty() {
                self.scopes.remove(&scope);
            }
        }
    }
}

/// The fact that a number changed hands.
pub fn number_fact(space: Space, number: u32) -> Fact {
    Fact::Number(space, number)
}

/// A number changed hands: whoever watches it wakes, and whoever found no number at all (0).
pub fn changed_hands(space: Space, number: u32, mut wake: impl FnMut(Fact)) {
    wake(number_fact(space, number));
    wake(number_fact(space, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = Key::Row(Uuid(1));
    const B: Key = Key::Row(Uuid(2));

    fn assign(n: &mut Numbers, owner: Key, wish: Option<u32>) -> (Option<u32>, bool, Vec<u32>) {
        let mut changed = Vec::new();
        let a = n.assign(owner, wish, (1, 10), &mut |n| changed.push(n));
        (a.number, a.refused, changed)
    }

    #[test]
    fn numbers_stay_with_their_owners() {
        let mut n = Numbers::default();
        assert_eq!(assign(&mut n, A, None), (Some(1), false, vec![1]));
        assert_eq!(assign(&mut n, B, None), (Some(2), false, vec![2]));
        assert_eq!(assign(&mut n, A, None), (Some(1), false, vec![]));
        n.let_go(A, &mut |_| {});
        assert_eq!(
            assign(&mut n, A, None).0,
            Some(3),
            "what was free just now rests"
        );
    }

    #[test]
    fn a_wish_displaces_who_did_not_ask() {
        let mut n = Numbers::default();
        assert_eq!(assign(&mut n, A, None).0, Some(1));
        assert_eq!(assign(&mut n, B, Some(1)), (Some(1), false, vec![1]));
        assert_eq!(n.held(A), None);
        assert_eq!(assign(&mut n, A, None).0, Some(2));
        assert_eq!(
            assign(&mut n, A, Some(1)),
            (Some(2), true, vec![]),
            "B asked before"
        );
        n.let_go(B, &mut |_| {});
        assert_eq!(assign(&mut n, A, Some(1)), (Some(1), false, vec![2, 1]));
        assert_eq!(
            assign(&mut n, A, None),
            (Some(1), false, vec![1]),
            "it is free for whoever wishes it"
        );
    }

    #[test]
    fn a_full_space_says_so() {
        let mut n = Numbers::default();
        for i in 0..10 {
            assert!(assign(&mut n, Key::Row(Uuid(i)), None).0.is_some());
        }
        assert_eq!(assign(&mut n, Key::Row(Uuid(99)), None).0, None);
        n.let_go(Key::Row(Uuid(4)), &mut |_| {});
        assert_eq!(assign(&mut n, Key::Row(Uuid(99)), None).0, Some(5));
    }
}
