//! Ports bound here: what their rows should say, and who has them when two chassis want one.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use weft_ovsdb::model::Uuid;

use crate::binding::{Claim, Role};
use crate::program::Output;

/// A claim with the number of the flow table that has its flows.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is claimed.
    pub claim: Arc<Claim>,
    /// Once the flow table with this number is in, the port works.
    pub since: u64,
}

/// All claims.
#[derive(Default, Debug)]
pub struct Claims {
    held: FxHashMap<Uuid, Held>,
    /// Port bindings whose rows must be looked at again.
    pub dirty: FxHashSet<Uuid>,
    /// Ports that the southbound has said to be ours: only those can be taken from us.
    confirmed: FxHashSet<Uuid>,
}

/// What has become of a port that we hold, or held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing that matters.
    None,
    /// Another chassis took it while we hold it.
    Lost,
    /// The other chassis let go of it.
    Free,
}

impl Claims {
    /// Takes over what the engine added and removed with flow table number `since`. True if there was anything.
    pub fn apply<'a>(
        &mut self,
        removed: impl Iterator<Item = &'a Output>,
        added: impl Iterator<Item = &'a Output>,
        since: u64,
    ) -> bool {
        let mut changed = false;
        for output in removed {
            if let Output::Claim(claim) = output
                && self
                    .held
                    .get(&claim.port)
                    .is_some_and(|held| held.claim == *claim)
            {
                self.held.remove(&claim.port);
                self.dirty.insert(claim.port);
                changed = true;
            }
        }
        for output in added {
            if let Output::Claim(claim) = output {
                self.held.insert(
                    claim.port,
                    Held {
                        claim: Arc::clone(claim),
                        since,
                    },
                );
                self.dirty.insert(claim.port);
                changed = true;
            }
        }
        changed
    }

    /// The claim on a port.
    pub fn get(&self, port: Uuid) -> Option<&Held> {
        self.held.get(&port)
    }

    /// All claims.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Flow tables later than this number have come in: ports that waited for one must be looked at again. True if there are any.
    pub fn touch_since(&mut self, number: u64) -> bool {
        let mut any = false;
        for (port, _) in self.held.iter().filter(|(_, held)| held.since > number) {
            self.dirty.insert(*port);
            any = true;
        }
        any
    }

    /// Watches a port binding's chassis: whether somebody takes a port that we hold, or lets go of one that was taken.
    pub fn watch(&mut self, port: Uuid, chassis: Option<Uuid>, own: Option<Uuid>) -> Turn {
        self.dirty.insert(port);
        if chassis.is_some() && chassis == own {
            self.confirmed.insert(port);
            return Turn::None;
        }
        match chassis {
            None => Turn::Free,
            Some(_) if self.confirmed.remove(&port) && self.is_main(port) => Turn::Lost,
            Some(_) => Turn::None,
        }
    }

    fn is_main(&self, port: Uuid) -> bool {
        self.held
            .get(&port)
            .is_some_and(|held| held.claim.bind == Role::Main)
    }

    /// Leaves the row as it is until something else happens: two hosts that cannot hear each other yet would write it in
    /// turn as fast as the southbound can take it.
    pub fn rest(&mut self, port: Uuid) {
        self.dirty.remove(&port);
    }

    /// The port binding is gone.
    pub fn forget(&mut self, port: Uuid) {
        self.confirmed.remove(&port);
        self.dirty.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_lost_only_if_it_was_ours() {
        let (port, us, them) = (Uuid(1), Some(Uuid(10)), Some(Uuid(20)));
        let mut claims = Claims::default();
        let claim = Claim {
            port,
            name: "p".into(),
            iface: None,
            ofport: None,
            bind: Role::Main,
            activated: false,
            encap_ip: None,
        };
        let output = [Output::Claim(Arc::new(claim))];
        claims.apply([].iter(), output.iter(), 1);
        assert_eq!(
            claims.watch(port, them, us),
            Turn::None,
            "on another chassis before: ours to take"
        );
        assert_eq!(claims.watch(port, us, us), Turn::None);
        assert_eq!(claims.watch(port, them, us), Turn::Lost);
        claims.rest(port);
        assert!(claims.dirty.is_empty());
        assert_eq!(claims.watch(port, None, us), Turn::Free);
        assert!(claims.dirty.contains(&port));
        claims.apply(output.iter(), [].iter(), 2);
        assert_eq!(claims.watch(port, us, us), Turn::None);
        assert_eq!(
            claims.watch(port, them, us),
            Turn::None,
            "no longer held: theirs rightly"
        );
    }
}
