//! Ways into the replicas by something else than a row's UUID, kept up from changes.
//!
//! Every change of an entry is reported as a [`Fact`], so that units that read an index wake like readers of rows.
//! References between rows are indexed backwards in one table ([`REFERENCES`] in code: `nb_references`); a new feature
//! that needs one adds a line.

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;
use weft_ovsdb::model::{Map, RowChange, Set, Str, Uuid};
use weft_schemas::{nb, sb};

use crate::address::{Prefixed, parse_prefixed};
use crate::features::debug_drop::{self, DebugDrop};
use crate::program::Fact;

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
    /// Southbound: service monitors by [`monitor_name`].
    ServiceMonitor,
    /// BFD sessions by their `logical_port`.
    BfdOf,
    /// Southbound: BFD sessions by [`bfd_name`].
    SbBfd,
    /// How many there are.
    Count,
}

/// Types of switch ports, `Logical_Switch_Port.type`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PortType {
    /// The empty type: a virtual interface (of a machine or, with a parent, of a container in it).
    Vif,
    /// `router`
    Router,
    /// `localnet`
    Localnet,
    /// `localport`
    Localport,
    /// `l2gateway`
    L2Gateway,
    /// `vtep`
    Vtep,
    /// `external`
    External,
    /// `virtual`
    Virtual,
    /// `remote` (interconnection)
    Remote,
    /// `switch` (a link between switches, newer than 23.03)
    Switch,
    /// Anything else.
    Other,
}

impl PortType {
    /// All types.
    pub const ALL: [PortType; 11] = [
        PortType::Vif,
        PortType::Router,
        PortType::Localnet,
        PortType::Localport,
        PortType::L2Gateway,
        PortType::Vtep,
        PortType::External,
        PortType::Virtual,
        PortType::Remote,
        PortType::Switch,
        PortType::Other,
    ];

    /// From the column's text.
    pub fn parse(text: &str) -> PortType {
        match text {
            "" => PortType::Vif,
            "router" => PortType::Router,
            "localnet" => PortType::Localnet,
            "localport" => PortType::Localport,
            "l2gateway" => PortType::L2Gateway,
            "vtep" => PortType::Vtep,
            "external" => PortType::External,
            "virtual" => PortType::Virtual,
            "remote" => PortType::Remote,
            "switch" => PortType::Switch,
            _ => PortType::Other,
        }
    }
}

/// The stages that ACLs are in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum AclStage {
    /// `from-lport`
    From,
    /// `from-lport` with `apply-after-lb`
    FromAfterLb,
    /// `to-lport`
    To,
}

impl AclStage {
    /// All of them.
    pub const ALL: [AclStage; 3] = [AclStage::From, AclStage::FromAfterLb, AclStage::To];

    /// Where an ACL goes.
    pub fn of(direction: &str, options: &Map<Str, Str>) -> AclStage {
        let after_lb = || {
            options
                .get("apply-after-lb")
                .is_some_and(|v| &**v == "true")
        };
        if direction == "to-lport" {
            AclStage::To
        } else if after_lb() {
            AclStage::FromAfterLb
        } else {
            AclStage::From
        }
    }
}

/// Whether connections that an ACL let begin pass for as long as the ACL is there, whatever else changes
/// (`options:persist-established`).
pub fn acl_persists(action: &str, options: &Map<Str, Str>) -> bool {
    let asked = options.get("persist-established");
    action == "allow-related" && asked.is_some_and(|v| &**v == "true")
}

/// Largest `ACL.tier`.
pub const ACL_TIER_MAX: u8 = 3;

/// What an ACL asks of the whole switch it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclClass {
    /// Connection tracking.
    Related,
    /// Evaluation in tiers, in whichever stage.
    Tiered,
    /// That a stage has a tier of this number.
    Tier(AclStage, u8),
    /// That connections remember which ACL let them begin.
    Persistent,
}

impl AclClass {
    const COUNT: u8 = 3 + 3 * (ACL_TIER_MAX + 1);

    /// The number under which the index has it.
    pub fn number(self) -> u8 {
        match self {
            AclClass::Related => 0,
            AclClass::Tiered => 1,
            AclClass::Tier(stage, tier) => 2 + stage as u8 * (ACL_TIER_MAX + 1) + tier,
            AclClass::Persistent => AclClass::COUNT - 1,
        }
    }

    fn of(acl: &nb::Acl) -> SmallVec<[u8; 3]> {
        let mut classes = SmallVec::new();
        if &*acl.action == "allow-related" {
            classes.push(AclClass::Related.number());
        }
        if acl_persists(&acl.action, &acl.options) {
            classes.push(AclClass::Persistent.number());
        }
        let tier = u8::try_from(acl.tier).unwrap_or(0).min(ACL_TIER_MAX);
        if tier > 0 || &*acl.action == "pass" {
            let stage = AclStage::of(&acl.direction, &acl.options);
            classes.push(AclClass::Tiered.number());
            classes.push(AclClass::Tier(stage, tier).number());
        }
        classes
    }
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

    /// Follows a set of references from old to new, backwards.
    fn references(&mut self, index: ById, row: Uuid, old: &[Uuid], new: &[Uuid], touch: Touch<'_>) {
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
            nb::Change::NbGlobal(_) | nb::Change::SamplingApp(_) => {
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
            nb::Change::LogicalSwitch(c) => self.switch_changed(db, c, touch),
            nb::Change::LogicalSwitchPort(c) => self.switch_port_changed(c, touch),
            nb::Change::LogicalRouter(c) => {
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
            nb::Change::LogicalRouterStaticRoute(c) => {
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
            nb::Change::LogicalRouterPolicy(c) => {
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
            nb::Change::Bfd(c) => self.named(ByName::BfdOf, c, |r| Some(&r.logical_port), touch),
            nb::Change::LogicalRouterPort(c) => {
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
            nb::Change::PortGroup(c) => {
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
            nb::Change::Nat(c) => {
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
            nb::Change::Meter(c) => self.named(ByName::Meter, c, |r| Some(&r.name), touch),
            nb::Change::StaticMacBinding(c) => {
                self.named(ByName::StaticMacOf, c, |r| Some(&r.logical_port), touch)
            }
            _ => {}
        }
    }

    /// A load balancer has other virtual addresses than before.
    fn balanced_addresses(&mut self, c: &RowChange<nb::LoadBalancer>, touch: Touch<'_>) {
        if c.old.as_ref().map(|r| &r.vips) == c.new.as_ref().map(|r| &r.vips) {
            return;
        }
        let addresses = |row: Option<&std::sync::Arc<nb::LoadBalancer>>| -> Vec<String> {
            let vips = row.iter().flat_map(|row| row.vips.iter());
            let ips = vips.filter_map(|(vip, _)| crate::features::lb::vip::endpoint(vip));
            let mut all: Vec<String> = ips.map(|endpoint| endpoint.ip.to_string()).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (old, new) = (addresses(c.old.as_ref()), addresses(c.new.as_ref()));
        for (list, other, present) in [(&old, &new, false), (&new, &old, true)] {
            for ip in list.iter().filter(|ip| !other.contains(ip)) {
                self.set_name(ByName::BalancedAddress, ip, c.uuid, present, touch);
            }
        }
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

    /// Follows a change of the southbound.
    pub fn sb_changed(&mut self, change: &sb::Change, touch: Touch<'_>) {
        let table = change.table_id();
        if Self::lists_all_sb(table) {
            let (uuid, came, went) = coming_sb(change);
            if came || went {
                self.set_id(ById::AllSb, table as u8, Uuid::ZERO, uuid, came, touch);
            }
        }
        match change {
            sb::Change::Chassis(c) => {
                self.named(ByName::Chassis, c, |r| Some(&r.name), touch);
                self.named(ByName::ChassisHost, c, |r| Some(&r.hostname), touch);
                self.refs(ById::ChassisOfEncap, c, |r| &r.encaps, touch);
            }
            sb::Change::ChassisPrivate(c) => {
                self.reference(ById::PrivateOfChassis, c, |r| r.chassis, touch)
            }
            sb::Change::PortBinding(c) => {
                self.named(ByName::Binding, c, |r| Some(&r.logical_port), touch);
                self.reference(
                    ById::BindingByKey,
                    c,
                    |r| Some(binding_id(r.datapath, r.tunnel_key)),
                    touch,
                );
            }
            sb::Change::ServiceMonitor(c) => {
                let name = |r: &std::sync::Arc<sb::ServiceMonitor>| {
                    let protocol = r.protocol.as_deref().unwrap_or_default();
                    monitor_name(&r.logical_port, &r.ip, r.port, protocol)
                };
                let (old, new) = (c.old.as_ref().map(name), c.new.as_ref().map(name));
                self.name(
                    ByName::ServiceMonitor,
                    c.uuid,
                    old.as_deref(),
                    new.as_deref(),
                    touch,
                );
            }
            sb::Change::Bfd(c) => {
                let name = |r: &std::sync::Arc<sb::Bfd>| bfd_name(&r.logical_port, &r.dst_ip);
                let (old, new) = (c.old.as_ref().map(name), c.new.as_ref().map(name));
                self.name(ByName::SbBfd, c.uuid, old.as_deref(), new.as_deref(), touch);
            }
            sb::Change::DatapathBinding(c) => {
                self.reference(
                    ById::DatapathByKey,
                    c,
                    |r| Some(Uuid(r.tunnel_key as u128)),
                    touch,
                );
            }
            _ => {}
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

/// What tells a service monitor from others.
pub fn monitor_name(logical_port: &str, ip: &str, port: i64, protocol: &str) -> Str {
    format!("{protocol} {ip} {port} {logical_port}").into()
}

/// Stands for a port's number on a datapath. Different ones can in theory have the same: whoever reads compares the row.
pub fn binding_id(datapath: Uuid, tunnel_key: i64) -> Uuid {
    Uuid(datapath.0.wrapping_add(tunnel_key as u128))
}

/// Stands for what a text says; different texts have different ones but for an unbelievable chance (FNV-1a of 128 bits).
pub fn digest(text: &str) -> Uuid {
    let hash = text.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d,
        |hash: u128, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        },
    );
    Uuid(hash)
}

/// The entry of a joined index: whose, and under which digest. Readers compare the rows all the same.
pub fn joined_id(owner: Uuid, digest: Uuid) -> Uuid {
    Uuid(owner.0 ^ digest.0)
}

/// Of the network that an address with its prefix length is in.
pub fn network_digest(network: Prefixed) -> Uuid {
    match network {
        Prefixed::V4(net) => digest(&net.trunc().to_string()),
        Prefixed::V6(net) => digest(&net.trunc().to_string()),
    }
}

/// Of what routes that share the load agree on.
pub fn alike_digest(row: &nb::LogicalRouterStaticRoute) -> Uuid {
    alike(&row.route_table, row.policy.as_deref(), &row.ip_prefix)
}

/// [`alike_digest`] from the columns.
pub fn alike(table: &str, policy: Option<&str>, prefix: &str) -> Uuid {
    let by_source = policy == Some("src-ip");
    let prefix = match parse_prefixed(prefix) {
        Some(Prefixed::V4(net)) => net.trunc().to_string(),
        Some(Prefixed::V6(net)) => net.trunc().to_string(),
        None => prefix.to_owned(),
    };
    digest(&format!("{prefix} {by_source} {table}"))
}

/// The only digest of [`ById::ChainedPolicies`].
pub const CHAINED: Uuid = Uuid(0);

fn is_chained(row: &nb::LogicalRouterPolicy) -> bool {
    &*row.action == "jump" || row.chain.as_ref().is_some_and(|chain| !chain.is_empty())
}

/// By what a BFD session is known in both databases.
pub fn bfd_name(logical_port: &str, dst_ip: &str) -> Str {
    format!("{dst_ip} {logical_port}").into()
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
        _ => return (change.uuid(), false, false),
    };
    (change.uuid(), all && there, all && !there)
}

fn coming_sb(change: &sb::Change) -> (Uuid, bool, bool) {
    use weft_ovsdb::model::AnyChange;
    let all = change.columns() & weft_ovsdb::model::EXISTENCE != 0;
    let there = match change {
        sb::Change::SbGlobal(c) => c.new.is_some(),
        sb::Change::Chassis(c) => c.new.is_some(),
        sb::Change::ChassisPrivate(c) => c.new.is_some(),
        _ => return (change.uuid(), false, false),
    };
    (change.uuid(), all && there, all && !there)
}
