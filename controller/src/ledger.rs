//! What must be stable but is free to choose: conntrack zones and names of tunnel ports.
//!
//! Both are restored from the Open vSwitch database at start, so a restart changes nothing.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use weft_ovsdb::model::{Str, Uuid};

/// The allocators that serial kinds get.
#[derive(Default, Clone, Debug)]
pub struct Ledgers {
    /// Conntrack zones by owner.
    pub zones: Zones,
    /// Names of tunnel ports by chassis.
    pub tunnels: TunnelNames,
}

/// Conntrack zones: a number for each owner, kept as long as the owner lives.
#[derive(Default, Clone, Debug)]
pub struct Zones {
    by_owner: BTreeMap<Str, u16>,
    /// The owners that a row stands behind, each under its role there.
    of_row: FxHashMap<Uuid, SmallVec<[(&'static str, Str); 2]>>,
    /// Zones that were chosen here.
    taken: FxHashSet<u16>,
    /// Owners whose zone somebody asked for; several may share one.
    asked: BTreeMap<Str, u16>,
    /// Where to look for the next free one: a zone just given up is not reused at once.
    next: u16,
    /// Zones of other controllers on this host, by their bridges: connections of all of them are tracked together.
    foreign: FxHashMap<Uuid, FxHashSet<u16>>,
    /// Zones given to an owner that had none: connections of a former owner must be forgotten first.
    fresh: Vec<u16>,
}

/// Owner of the zone with a number that the bridge's external_ids has under a key, if it is about zones.
pub fn zone_entry<'a>(key: &'a str, value: &str) -> Option<(&'a str, u16)> {
    Some((
        key.strip_prefix("ct-zone-")?,
        value.parse().ok().filter(|&z| z > 0)?,
    ))
}

impl Zones {
    /// Takes note of a zone that was given before this process started.
    pub fn restore(&mut self, owner: &str, zone: u16) {
        if !self.by_owner.contains_key(owner) && self.taken.insert(zone) {
            self.by_owner.insert(owner.into(), zone);
        }
    }

    /// The zones that another bridge's controller uses: not to be given here.
    pub fn note_foreign(&mut self, bridge: Uuid, zones: FxHashSet<u16>) {
        match zones.is_empty() {
            true => self.foreign.remove(&bridge),
            false => self.foreign.insert(bridge, zones),
        };
    }

    fn is_foreign(&self, zone: u16) -> bool {
        self.foreign.values().any(|zones| zones.contains(&zone))
    }

    /// Zones are given from here on, if none have been yet: two controllers that start at once then do not begin with the
    /// same.
    pub fn start_at(&mut self, next: u16) {
        if self.by_owner.is_empty() {
            self.next = next % u16::MAX;
        }
    }

    /// The zone of an owner; the first free one if it has none yet, nothing when all 65535 are taken.
    pub fn get(&mut self, owner: &Str) -> Option<u16> {
        if let Some(&zone) = self.by_owner.get(owner) {
            return Some(zone);
        }
        let zone = (0..u16::MAX)
            .map(|i| (self.next % u16::MAX).wrapping_add(i) % u16::MAX + 1)
            .find(|zone| {
                !self.taken.contains(zone) && !self.is_asked(*zone) && !self.is_foreign(*zone)
            })?;
        self.next = zone % u16::MAX;
        self.taken.insert(zone);
        self.by_owner.insert(owner.clone(), zone);
        self.fresh.push(zone);
        Some(zone)
    }

    /// The zone of a row in one of its roles, whose owner's name is `owner` now. If it had another name, that is given up.
    pub fn own(&mut self, row: Uuid, role: &'static str, owner: &Str) -> Option<u16> {
        self.rename(row, role, owner);
        // Nobody asks for one any more: it may be anybody's.
        if self.asked.contains_key(owner) {
            self.free(owner);
        }
        self.get(owner)
    }

    /// The same where the zone is not free to choose. Says whose row had it and must look for another.
    pub fn own_asked(
        &mut self,
        row: Uuid,
        role: &'static str,
        owner: &Str,
        zone: u16,
    ) -> Option<Uuid> {
        self.rename(row, role, owner);
        if self.asked.get(owner) == Some(&zone) {
            return None;
        }
        let had = self.by_owner.get(owner).copied();
        self.free(owner);
        let other = self
            .taken
            .contains(&zone)
            .then(|| self.by_owner.iter().find(|(_, z)| **z == zone))
            .flatten()
            .map(|(other, _)| other.clone());
        let evicted = other.and_then(|other| {
            self.free(&other);
            let mut rows = self.of_row.iter();
            let holds = |roles: &[(&str, Str)]| roles.iter().any(|(_, name)| *name == other);
            rows.find(|(_, roles)| holds(roles)).map(|(row, _)| *row)
        });
        self.by_owner.insert(owner.clone(), zone);
        self.asked.insert(owner.clone(), zone);
        // The zone 0 is also the host's own: what is in it is not for us to forget.
        if had != Some(zone) && zone != 0 {
            self.fresh.push(zone);
        }
        evicted
    }

    fn is_asked(&self, zone: u16) -> bool {
        self.asked.values().any(|asked| *asked == zone)
    }

    /// The row has an owner of this name in a role; if it had another name, that is given up.
    fn rename(&mut self, row: Uuid, role: &'static str, owner: &Str) {
        let roles = self.of_row.entry(row).or_default();
        let former = match roles.iter_mut().find(|(r, _)| *r == role) {
            Some((_, name)) => Some(std::mem::replace(name, owner.clone())),
            None => {
                roles.push((role, owner.clone()));
                None
            }
        };
        if let Some(former) = former.filter(|former| former != owner) {
            self.free(&former);
        }
    }

    /// The row needs no zone any more.
    pub fn disown(&mut self, row: Uuid) {
        for (_, owner) in self.of_row.remove(&row).unwrap_or_default() {
            self.free(&owner);
        }
    }

    /// The owner is gone.
    pub fn free(&mut self, owner: &str) {
        let zone = self.by_owner.remove(owner);
        if self.asked.remove(owner).is_none()
            && let Some(zone) = zone
        {
            self.taken.remove(&zone);
        }
    }

    /// All connections in all zones are to be forgotten.
    pub fn flush(&mut self) {
        self.fresh = self.by_owner.values().copied().collect();
    }

    /// Zones whose connections must be forgotten before the new owner uses them.
    pub fn take_fresh(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.fresh)
    }

    /// Gives up what was restored and nobody has asked for since: its owner went while nobody looked.
    pub fn forget_unowned(&mut self) {
        let owned: FxHashSet<Str> = self
            .of_row
            .values()
            .flatten()
            .map(|(_, owner)| owner.clone())
            .collect();
        let unowned: Vec<Str> = self
            .by_owner
            .keys()
            .filter(|owner| !owned.contains(*owner))
            .cloned()
            .collect();
        unowned.iter().for_each(|owner| self.free(owner));
    }

    /// All owners with their zones, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&Str, u16)> {
        self.by_owner.iter().map(|(owner, &zone)| (owner, zone))
    }
}

/// Names of tunnel ports.
#[derive(Default, Clone, Debug)]
pub struct TunnelNames {
    by_id: FxHashMap<Str, Str>,
    of_chassis: FxHashMap<Uuid, Vec<Str>>,
    taken: FxHashSet<Str>,
}

impl TunnelNames {
    /// The port of a tunnel has this name already.
    pub fn note(&mut self, chassis: Uuid, id: &Str, name: &Str) {
        if let Some(old) = self.by_id.insert(id.clone(), name.clone()) {
            self.taken.remove(&old);
        }
        self.taken.insert(name.clone());
        let ids = self.of_chassis.entry(chassis).or_default();
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }

    /// The name for the port of a tunnel: the first one that `candidate` gives that is neither given to another tunnel nor,
    /// as `is_free` tells, anybody else's.
    pub fn name(
        &mut self,
        chassis: Uuid,
        id: &Str,
        candidate: impl Fn(u32) -> Str,
        is_free: impl Fn(&str) -> bool,
    ) -> Str {
        if let Some(name) = self.by_id.get(id)
            && is_free(name)
        {
            return name.clone();
        }
        let mut n = 0;
        let name = loop {
            let name = candidate(n);
            if !self.taken.contains(&name) && is_free(&name) {
                break name;
            }
            n += 1;
        };
        self.note(chassis, id, &name);
        name
    }

    /// The chassis is gone with all its tunnels.
    pub fn free(&mut self, chassis: Uuid) {
        for id in self.of_chassis.remove(&chassis).unwrap_or_default() {
            if let Some(name) = self.by_id.remove(&id) {
                self.taken.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_stable_unique_and_flushed_when_new() {
        let mut zones = Zones::default();
        zones.restore("p1", 3);
        zones.restore("p9", 3);
        let (p1, p2): (Str, Str) = ("p1".into(), "p2".into());
        assert_eq!(zones.get(&p1), Some(3));
        assert!(zones.take_fresh().is_empty());
        assert_eq!(zones.get(&p2), Some(1));
        assert_eq!(zones.take_fresh(), [1]);
        assert_eq!(zones.get(&"p3".into()), Some(2));
        assert_eq!(zones.get(&"p4".into()), Some(4));
        zones.free("p2");
        assert_eq!(
            zones.get(&"p5".into()),
            Some(5),
            "not the one just given up"
        );
        assert_eq!(zones.iter().count(), 4);
    }

    #[test]
    fn all_zones_can_be_taken() {
        let mut zones = Zones::default();
        for n in 0..u32::from(u16::MAX) {
            assert!(zones.get(&Str::from(n.to_string())).is_some());
        }
        assert_eq!(zones.get(&"one more".into()), None);
        zones.free("7");
        assert!(zones.get(&"one more".into()).is_some());
    }

    #[test]
    fn a_zone_that_is_asked_for_is_taken_from_whoever_has_it() {
        let mut zones = Zones::default();
        let (p, r, q): (Str, Str, Str) = ("p".into(), "r_snat".into(), "q_snat".into());
        assert_eq!(zones.own(Uuid(1), "", &p), Some(1));
        assert_eq!(zones.own(Uuid(2), "snat", &r), Some(2));
        zones.take_fresh();
        assert_eq!(zones.own_asked(Uuid(2), "snat", &r, 1), Some(Uuid(1)));
        assert_eq!(zones.take_fresh(), [1]);
        assert_eq!(zones.own(Uuid(1), "", &p), Some(3), "not 1, not the last");
        // Asked for twice: shared, and nobody is evicted.
        assert_eq!(zones.own_asked(Uuid(3), "snat", &q, 1), None);
        zones.disown(Uuid(3));
        assert_eq!(zones.own_asked(Uuid(2), "snat", &r, 1), None);
        assert_eq!(zones.own(Uuid(2), "snat", &r), Some(4));
        assert_eq!(zones.own_asked(Uuid(2), "snat", &r, 0), None);
        zones.take_fresh();
        zones.flush();
        assert_eq!(zones.take_fresh(), [3, 0]);
    }

    #[test]
    fn zones_of_other_controllers_are_left_alone() {
        let mut zones = Zones::default();
        zones.note_foreign(Uuid(7), [1, 2].into_iter().collect());
        assert_eq!(zones.get(&"p1".into()), Some(3));
        zones.note_foreign(Uuid(7), FxHashSet::default());
        zones.start_at(100);
        assert_eq!(
            zones.get(&"p2".into()),
            Some(4),
            "too late to start elsewhere"
        );
        let mut zones = Zones::default();
        zones.start_at(100);
        assert_eq!(zones.get(&"p1".into()), Some(101));
    }

    #[test]
    fn a_renamed_owner_gives_up_its_zone() {
        let mut zones = Zones::default();
        zones.restore("old", 9);
        assert_eq!(zones.own(Uuid(1), "", &"a".into()), Some(1));
        assert_eq!(zones.own(Uuid(1), "", &"b".into()), Some(2));
        assert_eq!(
            zones.iter().map(|(o, _)| o.to_string()).collect::<Vec<_>>(),
            ["b", "old"]
        );
        zones.forget_unowned();
        assert_eq!(zones.iter().count(), 1);
        zones.disown(Uuid(1));
        assert_eq!(zones.iter().count(), 0);
    }

    #[test]
    fn tunnel_names_do_not_collide() {
        let mut names = TunnelNames::default();
        let free = |name: &str| name != "ovn-abcdef-2";
        let candidate = |n: u32| Str::from(format!("ovn-abcdef-{n:x}"));
        assert_eq!(
            &*names.name(Uuid(1), &"abcdef1@1".into(), candidate, free),
            "ovn-abcdef-0"
        );
        assert_eq!(
            &*names.name(Uuid(2), &"abcdef2@2".into(), candidate, free),
            "ovn-abcdef-1"
        );
        names.free(Uuid(1));
        assert_eq!(
            &*names.name(Uuid(3), &"abcdef3@3".into(), candidate, free),
            "ovn-abcdef-0"
        );
        assert_eq!(
            &*names.name(Uuid(2), &"abcdef2@2".into(), candidate, free),
            "ovn-abcdef-1"
        );
        assert_eq!(
            &*names.name(Uuid(4), &"abcdef4@4".into(), candidate, free),
            "ovn-abcdef-3",
            "somebody else has 2"
        );
        let free = |name: &str| name != "ovn-abcdef-1";
        assert_eq!(
            &*names.name(Uuid(2), &"abcdef2@2".into(), candidate, free),
            "ovn-abcdef-2",
            "somebody else took it"
        );
    }
}
