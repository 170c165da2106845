//! How the indexes follow the northbound.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;
use weft_ovsdb::model::{RowChange, Set, Str, Uuid};
use weft_schemas::nb;

use super::keys::{CHAINED, alike_digest, is_chained, joined_id, network_digest, prefix_length};
use super::{AclClass, ById, ByName, Indexes, List, PortType, Touch};
use crate::address::parse_prefixed;
use crate::features::debug_drop::{self, DebugDrop};
use crate::program::Fact;

impl Indexes {
    /// Follows a change of the northbound, which `db` already shows.
    pub fn nb_changed(&mut self, db: &nb::Db, change: &nb::Change, touch: Touch<'_>) {
        let table = change.table_id();
        if Self::lists_all(table) {
            let (uuid, came, went) = coming(change);
            if came || went {
                self.set_id(ById::AllNb, table as u8, Uuid::ZERO, uuid, came, touch);
            }
        }
        match change {
            nb::Change::NbGlobal(_) | nb::Change::SamplingApp(_) => self.drops_changed(db, touch),
            nb::Change::LogicalSwitch(c) => self.switch_changed(db, c, touch),
            nb::Change::LogicalSwitchPort(c) => self.switch_port_changed(c, touch),
            nb::Change::LogicalRouter(c) => self.router_changed(c, touch),
            nb::Change::LogicalRouterStaticRoute(c) => self.route_changed(c, touch),
            nb::Change::LogicalRouterPolicy(c) => self.policy_changed(c, touch),
            nb::Change::Bfd(c) => self.named(ByName::BfdOf, c, |r| Some(&r.logical_port), touch),
            nb::Change::LogicalRouterPort(c) => self.router_port_changed(c, touch),
            nb::Change::PortGroup(c) => self.port_group_changed(db, c, touch),
            nb::Change::Acl(c) => self.acl_changed(c, touch),
            nb::Change::AddressSet(c) => {
                self.named(ByName::AddressSet, c, |r| Some(&r.name), touch)
            }
            nb::Change::LoadBalancer(c) => {
                self.named(ByName::LoadBalancer, c, |r| Some(&r.name), touch);
                self.balanced_addresses(c, touch);
            }
            nb::Change::LoadBalancerGroup(c) => {
                self.refs(ById::GroupsOfLb, c, |r| &r.load_balancer, touch)
            }
            nb::Change::Nat(c) => self.nat_changed(c, touch),
            nb::Change::NetworkFunctionGroup(c) => {
                self.refs(ById::GroupsOfFunction, c, |r| &r.network_function, touch)
            }
            nb::Change::Meter(c) => self.named(ByName::Meter, c, |r| Some(&r.name), touch),
            nb::Change::StaticMacBinding(c) => {
                self.named(ByName::StaticMacOf, c, |r| Some(&r.logical_port), touch)
            }
            _ => {}
        }
    }

    /// Where samples of drops go may have changed.
    fn drops_changed(&mut self, db: &nb::Db, touch: Touch<'_>) {
        let all = |table| self.by_id(ById::AllNb, table as u8, Uuid::ZERO);
        let row = all(nb::TableId::NbGlobal).first();
        let row = row.and_then(|row| db.nb_global.get(*row));
        let apps = all(nb::TableId::SamplingApp).iter();
        let mut apps = apps.filter_map(|app| db.sampling_app.get(*app));
        let app = apps.find(|app| &*app.type_ == debug_drop::APPLICATION);
        let debug_drop = row.and_then(|row| DebugDrop::of(row, app.map(|app| app.id)));
        if debug_drop != self.debug_drop {
            self.debug_drop = debug_drop;
            touch(Fact::DebugDrop);
        }
    }

    fn router_changed(&mut self, c: &RowChange<nb::LogicalRouter>, touch: Touch<'_>) {
        self.refs(ById::RouterOfPort, c, |r| &r.ports, touch);
        self.refs(ById::RouterOfNat, c, |r| &r.nat, touch);
        self.refs(ById::RouterOfRoute, c, |r| &r.static_routes, touch);
        self.refs(ById::RouterOfPolicy, c, |r| &r.policies, touch);
        self.refs(ById::RoutersOfLb, c, |r| &r.load_balancer, touch);
        self.refs(ById::RoutersOfLbGroup, c, |r| &r.load_balancer_group, touch);
        self.reference(ById::RoutersOfCopp, c, |r| r.copp, touch);
        self.named(ByName::Router, c, |r| Some(&r.name), touch);
        self.joined_listed(ById::PortsInNetwork, c, |r| &r.ports, touch);
        self.joined_listed(ById::RoutesAlike, c, |r| &r.static_routes, touch);
        self.joined_listed(ById::ChainedPolicies, c, |r| &r.policies, touch);
    }

    fn route_changed(&mut self, c: &RowChange<nb::LogicalRouterStaticRoute>, touch: Touch<'_>) {
        let digests = c
            .new
            .as_ref()
            .map(|r| alike_digest(r))
            .into_iter()
            .collect();
        self.joined_changed(
            ById::RoutesAlike,
            ById::RouterOfRoute,
            c.uuid,
            digests,
            touch,
        );
        self.reference(ById::RoutesOfBfd, c, |r| r.bfd, touch);
    }

    fn policy_changed(&mut self, c: &RowChange<nb::LogicalRouterPolicy>, touch: Touch<'_>) {
        let chained = c.new.as_ref().filter(|r| is_chained(r));
        let digests = chained.map(|_| CHAINED).into_iter().collect();
        self.joined_changed(
            ById::ChainedPolicies,
            ById::RouterOfPolicy,
            c.uuid,
            digests,
            touch,
        );
        self.refs(ById::PoliciesOfBfd, c, |r| &r.bfd_sessions, touch);
    }

    fn router_port_changed(&mut self, c: &RowChange<nb::LogicalRouterPort>, touch: Touch<'_>) {
        let networks = c.new.iter().flat_map(|r| r.networks.iter());
        let digests = networks
            .filter_map(|text| parse_prefixed(text))
            .map(network_digest)
            .collect();
        self.joined_changed(
            ById::PortsInNetwork,
            ById::RouterOfPort,
            c.uuid,
            digests,
            touch,
        );
        self.networks_changed(c, touch);
        self.named(ByName::RouterPort, c, |r| Some(&r.name), touch);
        self.named(ByName::RouterPortTowards, c, |r| r.peer.as_ref(), touch);
        self.refs(
            ById::RouterPortOfGatewayChassis,
            c,
            |r| &r.gateway_chassis,
            touch,
        );
        self.reference(ById::RouterPortsOfHaGroup, c, |r| r.ha_chassis_group, touch);
    }

    fn networks_changed(&mut self, c: &RowChange<nb::LogicalRouterPort>, touch: Touch<'_>) {
        if c.old.as_ref().map(|r| &r.networks) == c.new.as_ref().map(|r| &r.networks) {
            return;
        }
        let names = |row: Option<&Arc<nb::LogicalRouterPort>>| -> BTreeSet<(ByName, String)> {
            let texts = row.iter().flat_map(|row| row.networks.iter());
            let networks = texts.filter_map(|text| Some(parse_prefixed(text)?.network()));
            let names = networks.flat_map(|net| {
                [
                    (ByName::RouterNetwork, net.to_string()),
                    (ByName::PrefixLength, prefix_length(&net)),
                ]
            });
            names.collect()
        };
        self.names_changed(
            c.uuid,
            [names(c.old.as_ref()), names(c.new.as_ref())],
            touch,
        );
    }

    /// A row had these names, and has others now.
    fn names_changed(
        &mut self,
        row: Uuid,
        [old, new]: [BTreeSet<(ByName, String)>; 2],
        touch: Touch<'_>,
    ) {
        for (list, other, present) in [(&old, &new, false), (&new, &old, true)] {
            for (index, name) in list.difference(other) {
                self.set_name(*index, name, row, present, touch);
            }
        }
    }

    fn port_group_changed(&mut self, db: &nb::Db, c: &RowChange<nb::PortGroup>, touch: Touch<'_>) {
        self.named(ByName::PortGroup, c, |r| Some(&r.name), touch);
        self.refs(ById::GroupsOfPort, c, |r| &r.ports, touch);
        self.refs(ById::GroupOfAcl, c, |r| &r.acls, touch);
        for (port, present) in came_and_went(c, |r| &r.ports) {
            for switch in List::from_slice(self.by_id(ById::SwitchOfPort, 0, port)) {
                self.in_common(c.uuid, switch, present, touch);
            }
        }
        self.acls_listed(db, c, |r| &r.acls, touch);
    }

    fn nat_changed(&mut self, c: &RowChange<nb::Nat>, touch: Touch<'_>) {
        self.named(ByName::NatInside, c, |r| Some(&r.logical_ip), touch);
        let outside = |row: Option<&std::sync::Arc<nb::Nat>>| {
            Some(
                row?.external_ip
                    .parse::<std::net::IpAddr>()
                    .ok()?
                    .to_string(),
            )
        };
        let (old, new) = (outside(c.old.as_ref()), outside(c.new.as_ref()));
        self.name(
            ByName::NatOutside,
            c.uuid,
            old.as_deref(),
            new.as_deref(),
            touch,
        );
    }

    /// A load balancer has other virtual addresses than before.
    fn balanced_addresses(&mut self, c: &RowChange<nb::LoadBalancer>, touch: Touch<'_>) {
        if c.old.as_ref().map(|r| &r.vips) == c.new.as_ref().map(|r| &r.vips) {
            return;
        }
        let addresses = |row: Option<&Arc<nb::LoadBalancer>>| -> BTreeSet<(ByName, String)> {
            let vips = row.iter().flat_map(|row| row.vips.iter());
            let ips = vips.filter_map(|(vip, _)| crate::features::lb::vip::endpoint(vip));
            ips.map(|endpoint| (ByName::BalancedAddress, endpoint.ip.to_string()))
                .collect()
        };
        let both = [addresses(c.old.as_ref()), addresses(c.new.as_ref())];
        self.names_changed(c.uuid, both, touch);
    }

    fn switch_changed(&mut self, db: &nb::Db, c: &RowChange<nb::LogicalSwitch>, touch: Touch<'_>) {
        self.refs(ById::SwitchOfPort, c, |r| &r.ports, touch);
        self.refs(ById::SwitchOfAcl, c, |r| &r.acls, touch);
        self.refs(ById::SwitchOfQos, c, |r| &r.qos_rules, touch);
        self.refs(ById::SwitchesOfLb, c, |r| &r.load_balancer, touch);
        self.refs(
            ById::SwitchesOfLbGroup,
            c,
            |r| &r.load_balancer_group,
            touch,
        );
        self.refs(ById::SwitchesOfDns, c, |r| &r.dns_records, touch);
        self.reference(ById::SwitchesOfCopp, c, |r| r.copp, touch);
        self.refs(
            ById::SwitchOfForwardingGroup,
            c,
            |r| &r.forwarding_groups,
            touch,
        );
        self.named(ByName::Switch, c, |r| Some(&r.name), touch);
        // A port counts among the ports of a type once both the switch that lists it and its own row are here,
        // whichever came first; `switch_port_changed` is the other half.
        for (port, present) in came_and_went(c, |r| &r.ports) {
            for group in List::from_slice(self.by_id(ById::GroupsOfPort, 0, port)) {
                self.in_common(group, c.uuid, present, touch);
            }
            if let Some(row) = db.logical_switch_port.get(port) {
                let ty = PortType::parse(&row.type_);
                self.set_id(ById::PortsByType, ty as u8, c.uuid, port, present, touch);
            }
        }
        self.acls_listed(db, c, |r| &r.acls, touch);
    }

    fn switch_port_changed(&mut self, c: &RowChange<nb::LogicalSwitchPort>, touch: Touch<'_>) {
        self.named(ByName::SwitchPort, c, |r| Some(&r.name), touch);
        self.named(
            ByName::ChildrenOf,
            c,
            |r| r.parent_name.as_ref().filter(|n| !n.is_empty()),
            touch,
        );
        self.named(ByName::SwitchPortTowards, c, towards, touch);
        self.reference(ById::SwitchPortsOfHaGroup, c, |r| r.ha_chassis_group, touch);
        let old = c.old.as_ref().map(|r| PortType::parse(&r.type_));
        let new = c.new.as_ref().map(|r| PortType::parse(&r.type_));
        if old == new {
            return;
        }
        let switches: List = SmallVec::from_slice(self.by_id(ById::SwitchOfPort, 0, c.uuid));
        for switch in switches {
            if let Some(old) = old {
                self.set_id(ById::PortsByType, old as u8, switch, c.uuid, false, touch);
            }
            if let Some(new) = new {
                self.set_id(ById::PortsByType, new as u8, switch, c.uuid, true, touch);
            }
        }
    }

    /// A row has other digests than before: whoever lists it has it under those.
    fn joined_changed(
        &mut self,
        index: ById,
        owners: ById,
        row: Uuid,
        mut digests: SmallVec<[Uuid; 2]>,
        touch: Touch<'_>,
    ) {
        digests.sort_unstable();
        digests.dedup();
        let old = if digests.is_empty() {
            self.digests.remove(&(index, row))
        } else {
            self.digests.insert((index, row), digests.clone())
        };
        let old = old.unwrap_or_default();
        if old == digests {
            return;
        }
        for owner in List::from_slice(self.by_id(owners, 0, row)) {
            for digest in old.iter().filter(|digest| !digests.contains(digest)) {
                self.set_id(index, 0, joined_id(owner, *digest), row, false, touch);
            }
            for digest in &digests {
                self.set_id(index, 0, joined_id(owner, *digest), row, true, touch);
            }
        }
    }

    /// A row lists others than before: it has those that came under their digests. What the replica shows is not asked: it
    /// may be ahead.
    fn joined_listed<R>(
        &mut self,
        index: ById,
        c: &RowChange<R>,
        column: fn(&R) -> &Set<Uuid>,
        touch: Touch<'_>,
    ) {
        for (row, present) in came_and_went(c, column) {
            for digest in self.digests.get(&(index, row)).cloned().unwrap_or_default() {
                self.set_id(index, 0, joined_id(c.uuid, digest), row, present, touch);
            }
        }
    }

    /// A switch has one port of a port group more or less.
    fn in_common(&mut self, group: Uuid, switch: Uuid, more: bool, touch: Touch<'_>) {
        let count = self.common.entry((group, switch)).or_insert(0);
        let before = *count;
        *count = if more {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        let after = *count;
        if after == 0 {
            self.common.remove(&(group, switch));
        }
        if (before == 0) != (after == 0) {
            self.set_id(ById::SwitchesOfGroup, 0, group, switch, more, touch);
            self.set_id(ById::GroupsOfSwitch, 0, switch, group, more, touch);
        }
    }

    /// A switch or port group lists other ACLs than before; `acl_changed` is the other half.
    fn acls_listed<R>(
        &mut self,
        db: &nb::Db,
        c: &RowChange<R>,
        column: fn(&R) -> &Set<Uuid>,
        touch: Touch<'_>,
    ) {
        for (acl, present) in came_and_went(c, column) {
            // What goes has no row any more, maybe: it leaves every class.
            let classes: SmallVec<[u8; 3]> = match db.acl.get(acl) {
                Some(row) if present => AclClass::of(row),
                _ if present => continue,
                _ => (0..AclClass::COUNT).collect(),
            };
            for class in classes {
                self.set_id(ById::AclsByClass, class, c.uuid, acl, present, touch);
            }
        }
    }

    fn acl_changed(&mut self, c: &RowChange<nb::Acl>, touch: Touch<'_>) {
        let old = c
            .old
            .as_ref()
            .map_or_else(SmallVec::new, |r| AclClass::of(r));
        let new = c
            .new
            .as_ref()
            .map_or_else(SmallVec::new, |r| AclClass::of(r));
        if old == new {
            return;
        }
        let mut owners = List::from_slice(self.by_id(ById::SwitchOfAcl, 0, c.uuid));
        owners.extend_from_slice(self.by_id(ById::GroupOfAcl, 0, c.uuid));
        for owner in owners {
            for &class in old.iter().filter(|class| !new.contains(class)) {
                self.set_id(ById::AclsByClass, class, owner, c.uuid, false, touch);
            }
            for &class in &new {
                self.set_id(ById::AclsByClass, class, owner, c.uuid, true, touch);
            }
        }
    }
}

/// The references of a row that came (`true`) and went.
fn came_and_went<R>(c: &RowChange<R>, column: fn(&R) -> &Set<Uuid>) -> Vec<(Uuid, bool)> {
    let none = Set::default();
    let old = c.old.as_ref().map_or(&none, |r| column(r));
    let new = c.new.as_ref().map_or(&none, |r| column(r));
    let went = old
        .iter()
        .filter(|t| !new.contains(*t))
        .map(|t| (*t, false));
    let came = new.iter().filter(|t| !old.contains(*t)).map(|t| (*t, true));
    went.chain(came).collect()
}

/// The router port that a switch port leads to.
fn towards(row: &nb::LogicalSwitchPort) -> Option<&Str> {
    (&*row.type_ == "router")
        .then(|| row.options.get("router-port"))
        .flatten()
}

/// Whether a change brings a row or takes it away: (row, came, went).
fn coming(change: &nb::Change) -> (Uuid, bool, bool) {
    use weft_ovsdb::model::AnyChange;
    let all = change.columns() & weft_ovsdb::model::EXISTENCE != 0;
    let there = match change {
        nb::Change::NbGlobal(c) => c.new.is_some(),
        nb::Change::LogicalSwitch(c) => c.new.is_some(),
        nb::Change::LogicalRouter(c) => c.new.is_some(),
        nb::Change::Meter(c) => c.new.is_some(),
        nb::Change::Copp(c) => c.new.is_some(),
        nb::Change::SamplingApp(c) => c.new.is_some(),
        nb::Change::NetworkFunctionGroup(c) => c.new.is_some(),
        _ => return (change.uuid(), false, false),
    };
    (change.uuid(), all && there, all && !there)
}
