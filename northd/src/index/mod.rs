//! Ways into the replicas by something else than a row's UUID, kept up from changes.
//!
//! Every change of an entry is reported as a [`Fact`], so that units that read an index wake like readers of rows.
//! References between rows are indexed backwards in one table ([`REFERENCES`] in code: `nb_references`); a new feature
//! that needs one adds a line.

mod keys;
mod kinds;
mod northbound;
mod southbound;

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;
use weft_ovsdb::model::{RowChange, Set, Str, Uuid};
use weft_schemas::{nb, sb};

use crate::features::debug_drop::DebugDrop;
use crate::program::Fact;

pub use keys::{
    CHAINED, alike, alike_digest, bfd_name, binding_id, digest, joined_id, monitor_name,
    network_digest, prefix_length,
};
pub use kinds::{ACL_TIER_MAX, AclClass, AclStage, PortType, acl_persists};

/// Indexes by UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ById {
    /// All rows of a northbound table (number: the table; UUID: zero), for tables that [`Indexes::lists_all`].
    AllNb,
    /// All rows of a southbound table.
    AllSb,
    /// The ports of a switch by type (number: [`PortType`]).
    PortsByType,
    /// Switches that list a port.
    SwitchOfPort,
    /// Routers that list a port.
    RouterOfPort,
    /// Switches that list an ACL.
    SwitchOfAcl,
    /// Port groups that list an ACL.
    GroupOfAcl,
    /// Port groups that list a port.
    GroupsOfPort,
    /// Switches with at least one port of a port group.
    SwitchesOfGroup,
    /// Port groups with at least one port of a switch.
    GroupsOfSwitch,
    /// ACLs of a switch or port group by what they ask of the whole switch (number: [`AclClass::number`]).
    AclsByClass,
    /// Groups that list a network function.
    GroupsOfFunction,
    /// Routers that list a NAT rule.
    RouterOfNat,
    /// Routers that list a static route.
    RouterOfRoute,
    /// Routers that list a policy.
    RouterOfPolicy,
    /// Switches that list a QoS rule.
    SwitchOfQos,
    /// Switches that list a load balancer.
    SwitchesOfLb,
    /// Routers that list a load balancer.
    RoutersOfLb,
    /// Load balancer groups that list a load balancer.
    GroupsOfLb,
    /// Switches that list a load balancer group.
    SwitchesOfLbGroup,
    /// Routers that list a load balancer group.
    RoutersOfLbGroup,
    /// Switches that list a set of DNS records.
    SwitchesOfDns,
    /// Switches that list a forwarding group.
    SwitchOfForwardingGroup,
    /// Switch ports that name a HA chassis group.
    SwitchPortsOfHaGroup,
    /// Router ports that name a HA chassis group.
    RouterPortsOfHaGroup,
    /// Router ports that list a gateway chassis.
    RouterPortOfGatewayChassis,
    /// Switches that a control plane protection policy applies to.
    SwitchesOfCopp,
    /// Routers that a control plane protection policy applies to.
    RoutersOfCopp,
    /// Ports of a router by a network they are in: [`joined_id`] of the router and [`network_digest`].
    PortsInNetwork,
    /// Static routes of a router by table, policy and prefix: [`joined_id`] of the router and [`alike_digest`].
    RoutesAlike,
    /// Policies of a router that are in a chain or jump to one: [`joined_id`] of the router and [`CHAINED`].
    ChainedPolicies,
    /// Static routes that follow a BFD session.
    RoutesOfBfd,
    /// Policies that follow a BFD session.
    PoliciesOfBfd,
    /// Southbound: `Chassis_Private` rows of a chassis.
    PrivateOfChassis,
    /// Southbound: chassis that list an encapsulation.
    ChassisOfEncap,
    /// Southbound: datapaths by tunnel key (as a UUID).
    DatapathByKey,
    /// Southbound: port bindings by [`binding_id`].
    BindingByKey,
}

/// Indexes by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ByName {
    /// Switches by name (not unique).
    Switch,
    /// Routers by name (not unique).
    Router,
    /// Switch ports by name.
    SwitchPort,
    /// Router ports by name.
    RouterPort,
    /// Switch ports of type `router` by their `options:router-port`.
    SwitchPortTowards,
    /// Router ports by their `peer`.
    RouterPortTowards,
    /// Switch ports by their `parent_name`.
    ChildrenOf,
    /// Port groups by name.
    PortGroup,
    /// Address sets by name.
    AddressSet,
    /// Load balancers by name (not unique).
    LoadBalancer,
    /// Load balancers by the virtual addresses they have, as the text of [`std::net::IpAddr`].
    BalancedAddress,
    /// Router ports by the networks they have, as [`ipnet::IpNet`] writes them without host bits.
    RouterNetwork,
    /// Router ports by the lengths of the prefixes they have, as [`prefix_length`] writes them.
    PrefixLength,
    /// Address translations by `external_ip`, as the text of [`std::net::IpAddr`].
    NatOutside,
    /// Address translations by `logical_ip`, as written.
    NatInside,
    /// Meters by name.
    Meter,
    /// Static MAC bindings by their `logical_port`.
    StaticMacOf,
    /// Southbound: chassis by name.
    Chassis,
    /// Southbound: chassis by host name.
    ChassisHost,
    /// Southbound: port bindings by `logical_port`.
    Binding,
    /// Southbound: port bindings that are up by `logical_port`. Who wants to know no more is not told of all bindings.
    BoundUp,
    /// Southbound: service monitors by [`monitor_name`].
    ServiceMonitor,
    /// BFD sessions by their `logical_port`.
    BfdOf,
    /// Southbound: BFD sessions by [`bfd_name`].
    SbBfd,
    /// How many there are.
    Count,
}

type List = SmallVec<[Uuid; 1]>;

fn insert(list: &mut List, row: Uuid) -> bool {
    match list.binary_search(&row) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, row);
            true
        }
    }
}

fn remove(list: &mut List, row: Uuid) -> bool {
    match list.binary_search(&row) {
        Ok(at) => {
            list.remove(at);
            true
        }
        Err(_) => false,
    }
}

/// The indexes over both replicas.
#[derive(Clone)]
pub struct Indexes {
    ids: FxHashMap<(ById, u8, Uuid), List>,
    names: [FxHashMap<Str, List>; ByName::Count as usize],
    /// How many ports a port group and a switch have in common.
    common: FxHashMap<(Uuid, Uuid), u32>,
    /// Where samples of drops go.
    pub(crate) debug_drop: Option<DebugDrop>,
    /// Under which digests the rows of a joined index stand, whatever lists them.
    digests: FxHashMap<(ById, Uuid), SmallVec<[Uuid; 2]>>,
}

impl Default for Indexes {
    fn default() -> Self {
        Indexes {
            ids: FxHashMap::default(),
            names: std::array::from_fn(|_| FxHashMap::default()),
            common: FxHashMap::default(),
            debug_drop: None,
            digests: FxHashMap::default(),
        }
    }
}

/// Receives the facts that a change of an index touches.
type Touch<'a> = &'a mut dyn FnMut(Fact);

impl Indexes {
    /// Whether all rows of the table are listed: only tables that stay small or whose whole is needed.
    pub fn lists_all(table: nb::TableId) -> bool {
        matches!(
            table,
            nb::TableId::NbGlobal
                | nb::TableId::LogicalSwitch
                | nb::TableId::LogicalRouter
                | nb::TableId::Meter
                | nb::TableId::Copp
                | nb::TableId::NetworkFunctionGroup
                | nb::TableId::SamplingApp
        )
    }

    /// The same of the southbound.
    pub fn lists_all_sb(table: sb::TableId) -> bool {
        matches!(
            table,
            sb::TableId::SbGlobal | sb::TableId::Chassis | sb::TableId::ChassisPrivate
        )
    }

    /// The rows for a UUID, sorted; unrecorded.
    pub fn by_id(&self, index: ById, number: u8, id: Uuid) -> &[Uuid] {
        self.ids.get(&(index, number, id)).map_or(&[], |list| list)
    }

    /// The rows for a name, sorted; unrecorded.
    pub fn by_name(&self, index: ByName, name: &str) -> &[Uuid] {
        self.names[index as usize]
            .get(name)
            .map_or(&[], |list| list)
    }

    fn set_id(
        &mut self,
        index: ById,
        number: u8,
        id: Uuid,
        row: Uuid,
        present: bool,
        touch: Touch<'_>,
    ) {
        let key = (index, number, id);
        let changed = if present {
            insert(self.ids.entry(key).or_default(), row)
        } else {
            let Some(list) = self.ids.get_mut(&key) else {
                return;
            };
            let changed = remove(list, row);
            if list.is_empty() {
                self.ids.remove(&key);
            }
            changed
        };
        if changed {
            touch(Fact::ById(index, number, id.into()));
        }
    }

    fn set_name(&mut self, index: ByName, name: &str, row: Uuid, present: bool, touch: Touch<'_>) {
        let names = &mut self.names[index as usize];
        let changed = if present {
            match names.get_mut(name) {
                Some(list) => insert(list, row),
                None => {
                    names.insert(name.into(), SmallVec::from_slice(&[row]));
                    true
                }
            }
        } else {
            let Some(list) = names.get_mut(name) else {
                return;
            };
            let changed = remove(list, row);
            if list.is_empty() {
                names.remove(name);
            }
            changed
        };
        if changed {
            touch(Fact::ByName(index, FxBuildHasher.hash_one(name)));
        }
    }

    /// Follows a set of references from old to new, backwards. Large sets mostly differ in one place only.
    fn references(&mut self, index: ById, row: Uuid, old: &[Uuid], new: &[Uuid], touch: Touch<'_>) {
        let same = |(a, b): &(&Uuid, &Uuid)| a == b;
        let head = old.iter().zip(new).take_while(same).count();
        let (old, new) = (&old[head..], &new[head..]);
        let tail = old.iter().rev().zip(new.iter().rev());
        let tail = tail.take_while(same).count();
        let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
        for &target in old.iter().filter(|t| new.binary_search(t).is_err()) {
            self.set_id(index, 0, target, row, false, touch);
        }
        for &target in new.iter().filter(|t| old.binary_search(t).is_err()) {
            self.set_id(index, 0, target, row, true, touch);
        }
    }

    /// Follows a name from old to new.
    fn name(
        &mut self,
        index: ByName,
        row: Uuid,
        old: Option<&str>,
        new: Option<&str>,
        touch: Touch<'_>,
    ) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.set_name(index, old, row, false, touch);
        }
        if let Some(new) = new {
            self.set_name(index, new, row, true, touch);
        }
    }

    fn refs<R>(
        &mut self,
        index: ById,
        c: &RowChange<R>,
        column: fn(&R) -> &Set<Uuid>,
        touch: Touch<'_>,
    ) {
        let old = c.old.as_ref().map_or(&[][..], |r| column(r));
        let new = c.new.as_ref().map_or(&[][..], |r| column(r));
        if old != new {
            self.references(index, c.uuid, old, new, touch);
        }
    }

    fn reference<R>(
        &mut self,
        index: ById,
        c: &RowChange<R>,
        column: fn(&R) -> Option<Uuid>,
        touch: Touch<'_>,
    ) {
        let old = c.old.as_ref().and_then(|r| column(r));
        let new = c.new.as_ref().and_then(|r| column(r));
        self.references(index, c.uuid, old.as_slice(), new.as_slice(), touch);
    }

    fn named<R>(
        &mut self,
        index: ByName,
        c: &RowChange<R>,
        column: fn(&R) -> Option<&Str>,
        touch: Touch<'_>,
    ) {
        let old = c.old.as_ref().and_then(|r| column(r)).map(|s| &**s);
        let new = c.new.as_ref().and_then(|r| column(r)).map(|s| &**s);
        self.name(index, c.uuid, old, new, touch);
    }
}
