//! Route tables and groups of equal routes of a router.
//!
//! Guarantees: a route table has one number per router, which depends on its name (and, if two names collide, on the other
//! name), so that tables come and go without renumbering the rest; routes of one router that agree in table, policy and
//! prefix, and lead anywhere, form a group with its number and its members' numbers.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::port;
use super::route::{LeadsSomewhere, Prefix, Usable, parse_prefix};
use crate::program::{Cx, Feature, Key, Per};

/// What the routes of a router have to agree on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RouteGroups {
    /// Numbers of route tables by name; the main table is 0 and not here.
    pub tables: BTreeMap<Str, u32>,
    /// For routes that are in a group: its number, and the number of the route in it.
    pub members: FxHashMap<Uuid, Member>,
}

/// The place of a route in a group of equal ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Number of the group within the router, from 1.
    pub group: u16,
    /// Number of the route within the group, from 1.
    pub number: u16,
    /// How many routes there are in the group.
    pub of: u16,
}

impl RouteGroups {
    /// The number of a route table.
    pub fn table(&self, name: &str) -> u32 {
        if name.is_empty() {
            0
        } else {
            self.tables.get(name).copied().unwrap_or(0)
        }
    }
}

/// Per router.
pub struct Groups;

impl Feature for Groups {
    const NAME: &'static str = "router_route_groups";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Routers::NAME, port::Ports::NAME, Usable::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if port::router(cx, key.row()).is_none() {
            return;
        }
        let Some(router) = cx.lr(key.row()) else {
            return;
        };
        let mut tables: BTreeMap<Str, u32> = BTreeMap::new();
        for uuid in router.ports().iter() {
            if let Some(table) = port::port(cx, *uuid).and_then(|port| port.route_table.clone()) {
                tables.insert(table, 0);
            }
        }
        let mut alike: BTreeMap<(Str, bool, Prefix), Vec<Uuid>> = BTreeMap::new();
        for uuid in router.static_routes().iter() {
            let Some(route) = cx.route(*uuid) else {
                continue;
            };
            let table = route.route_table().clone();
            if !table.is_empty() {
                tables.entry(table.clone()).or_insert(0);
            }
            let by_source = route.policy().as_deref() == Some("src-ip");
            // A discarding route has no next hop to share the load with, one that is left out would swallow its share.
            let leads = cx.value::<LeadsSomewhere>(Usable::ID, Key::Row(*uuid));
            if leads.is_some()
                && &**route.nexthop() != "discard"
                && let Some(prefix) = parse_prefix(route.ip_prefix())
            {
                alike
                    .entry((table, by_source, prefix))
                    .or_default()
                    .push(*uuid);
            }
        }
        number_tables(&mut tables);
        cx.publish(RouteGroups {
            tables,
            members: number_groups(alike.into_values()),
        });
    }
}

/// Numbers that follow from the names: FNV-1a, the next free one where two names collide.
fn number_tables(tables: &mut BTreeMap<Str, u32>) {
    let mut taken = FxHashSet::from_iter([0]);
    for (name, number) in tables {
        let hash = name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let mut candidate = hash;
        while !taken.insert(candidate) {
            candidate = candidate.wrapping_add(1);
        }
        *number = candidate;
    }
}

fn number_groups(alike: impl Iterator<Item = Vec<Uuid>>) -> FxHashMap<Uuid, Member> {
    let mut members = FxHashMap::default();
    for (group, mut routes) in (1u16..).zip(alike.filter(|routes| routes.len() > 1)) {
        routes.sort_unstable();
        let of = u16::try_from(routes.len()).unwrap_or(u16::MAX);
        for (number, uuid) in (1..=of).zip(routes) {
            members.insert(uuid, Member { group, number, of });
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_leaves_the_numbers_of_others() {
        let mut few: BTreeMap<Str, u32> = [("blue".into(), 0), ("red".into(), 0)].into();
        number_tables(&mut few);
        let mut more: BTreeMap<Str, u32> =
            [("a".into(), 0), ("blue".into(), 0), ("red".into(), 0)].into();
        number_tables(&mut more);
        assert_eq!((few["blue"], few["red"]), (more["blue"], more["red"]));
        assert_ne!(few["blue"], few["red"]);
        assert!(more.values().all(|number| *number != 0));
    }

    #[test]
    fn only_equal_routes_are_a_group() {
        let members = number_groups([vec![Uuid(1)], vec![Uuid(3), Uuid(2)]].into_iter());
        assert_eq!(members.len(), 2);
        assert_eq!(
            members[&Uuid(2)],
            Member {
                group: 1,
                number: 1,
                of: 2
            }
        );
        assert_eq!(
            members[&Uuid(3)],
            Member {
                group: 1,
                number: 2,
                of: 2
            }
        );
    }
}
