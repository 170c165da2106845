//! What the compiler wants: outputs gathered into rows.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use weft_ovsdb::model::{Map, Set, Str, Uuid};

use super::{RowKey, Rows};
use crate::features::dhcp::catalog::Known;
use crate::output::{
    Bfd, Datapath, Dns, HaGroup, IpMulticast, LoadBalancer, Meter, Mirror, Output, Port,
    ServiceMonitor, SetName, StaticMac, TemplateVars,
};
use crate::sync::rbac;

/// Rows with one key: one, where nobody contradicts himself.
pub(super) type Few<T> = SmallVec<[Arc<T>; 1]>;

/// What the compiler wants.
#[derive(Default, Debug)]
pub struct Wanted {
    pub(super) global: Option<(Map<Str, Str>, bool)>,
    pub(super) rbac: bool,
    pub(super) datapaths: FxHashMap<Uuid, Arc<Datapath>>,
    pub(super) ha_groups: FxHashMap<Str, BTreeSet<Arc<HaGroup>>>,
    pub(super) mirrors: FxHashMap<Str, Few<Mirror>>,
    pub(super) ports: FxHashMap<Str, Few<Port>>,
    pub(super) mcast: FxHashMap<(Uuid, Str), Members>,
    pub(super) ip_multicast: FxHashMap<Uuid, Arc<IpMulticast>>,
    pub(super) address_sets: FxHashMap<Str, Addresses>,
    pub(super) port_groups: FxHashMap<Str, BTreeSet<Str>>,
    pub(super) static_macs: BTreeMap<(Str, Str), Few<StaticMac>>,
    pub(super) load_balancers: FxHashMap<Uuid, Arc<LoadBalancer>>,
    /// Who is in the sets that load balancers name.
    pub(super) members: FxHashMap<SetName, BTreeSet<Uuid>>,
    pub(super) dns: FxHashMap<Uuid, Arc<Dns>>,
    pub(super) monitors: FxHashMap<(Str, Str, u16, Str), Few<ServiceMonitor>>,
    pub(super) template_vars: FxHashMap<Str, Arc<TemplateVars>>,
    pub(super) meters: FxHashMap<Str, BTreeSet<Arc<Meter>>>,
    pub(super) bfds: BTreeMap<(Str, Str), Few<Bfd>>,
    pub(super) acls: FxHashMap<Uuid, u32>,
    pub(super) dhcp_options: BTreeMap<(bool, Str), &'static Known>,
    pub(super) stale: FxHashSet<(u8, Uuid)>,
}

/// An address set.
#[derive(Default, Debug)]
pub(super) struct Addresses {
    /// It is there even without members.
    exists: bool,
    /// Its members where one row has them all.
    listed: Option<Set<Str>>,
    /// Its members where several have them.
    members: BTreeSet<Str>,
}

impl Addresses {
    /// All members, in order.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &Str> + '_> {
        match &self.listed {
            None => Box::new(self.members.iter()),
            Some(listed) if self.members.is_empty() => Box::new(listed.iter()),
            Some(listed) => {
                let all: BTreeSet<&Str> = listed.iter().chain(&self.members).collect();
                Box::new(all.into_iter())
            }
        }
    }
}

/// A multicast group.
#[derive(Default, Debug)]
pub(super) struct Members {
    /// What its newest member says.
    pub(super) tunnel_key: i64,
    pub(super) ports: BTreeSet<Str>,
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, element: T, present: bool) {
    if present {
        set.insert(element);
    } else {
        set.remove(&element);
    }
}

fn toggle_list<T: PartialEq>(list: &mut Few<T>, element: Arc<T>, present: bool) {
    if present {
        list.push(element);
    } else if let Some(at) = list.iter().position(|e| *e == element) {
        list.remove(at);
    }
}

/// One value per key: of two that change places the new one may come first.
fn put<K: Hash + Eq, V: Clone + PartialEq>(
    map: &mut FxHashMap<K, V>,
    key: K,
    value: &V,
    present: bool,
) {
    if present {
        map.insert(key, value.clone());
    } else if map.get(&key) == Some(value) {
        map.remove(&key);
    }
}

impl Rows {
    /// Takes over an output that came or went.
    pub fn output(&mut self, output: &Output, present: bool) {
        let w = &mut self.wanted;
        let key = match output {
            Output::Datapath(row) => {
                self.lb_groups.forget();
                let key = RowKey::Datapath(row.nb);
                if present {
                    let had = w.datapaths.insert(row.nb, row.clone());
                    if had.is_none() {
                        self.datapaths_changed.push((row.nb, true));
                    }
                    self.choose(&key);
                } else if w.datapaths.get(&row.nb) == Some(row) {
                    w.datapaths.remove(&row.nb);
                    self.datapaths_changed.push((row.nb, false));
                }
                key
            }
            Output::Port(row) => {
                let list = w.ports.entry(row.logical_port.clone()).or_default();
                toggle_list(list, row.clone(), present);
                let key = RowKey::Port(row.logical_port.clone());
                toggle(&mut self.contested, key.clone(), list.len() > 1);
                key
            }
            Output::Mirror(row) => {
                let list = w.mirrors.entry(row.name.clone()).or_default();
                toggle_list(list, row.clone(), present);
                RowKey::Mirror(row.name.clone())
            }
            Output::McastMember { dp, group, port } => {
                let members = w.mcast.entry((*dp, group.name())).or_default();
                let tunnel_key = group.tunnel_key();
                if present {
                    members.tunnel_key = tunnel_key;
                }
                // What has gone under another number is there anew already.
                if present || members.tunnel_key == tunnel_key {
                    toggle(&mut members.ports, port.clone(), present);
                }
                RowKey::Mcast(*dp, group.name())
            }
            Output::IpMulticast(row) => {
                put(&mut w.ip_multicast, row.switch, row, present);
                RowKey::IpMulticast(row.switch)
            }
            Output::AddressSet(name) => {
                w.address_sets.entry(name.clone()).or_default().exists = present;
                RowKey::AddressSet(name.clone())
            }
            Output::AddressList { set, addresses } => {
                let listed = &mut w.address_sets.entry(set.clone()).or_default().listed;
                if present {
                    *listed = Some(addresses.clone());
                } else if listed.as_ref() == Some(addresses) {
                    *listed = None;
                }
                RowKey::AddressSet(set.clone())
            }
            Output::Address { set, address } => {
                toggle(
                    &mut w.address_sets.entry(set.clone()).or_default().members,
                    address.clone(),
                    present,
                );
                RowKey::AddressSet(set.clone())
            }
            Output::GroupPort { group, port } => {
                toggle(
                    w.port_groups.entry(group.clone()).or_default(),
                    port.clone(),
                    present,
                );
                RowKey::PortGroup(group.clone())
            }
            Output::HaGroup(group) => {
                let groups = w.ha_groups.entry(group.name.clone()).or_default();
                toggle(groups, group.clone(), present);
                let key = RowKey::HaGroup(group.name.clone());
                toggle(&mut self.contested, key.clone(), groups.len() > 1);
                key
            }
            Output::Meter(meter) => {
                let meters = w.meters.entry(meter.name.clone()).or_default();
                toggle(meters, meter.clone(), present);
                let key = RowKey::Meter(meter.name.clone());
                toggle(&mut self.contested, key.clone(), meters.len() > 1);
                key
            }
            Output::StaticMac(row) => {
                let at = (row.logical_port.clone(), row.ip.clone());
                toggle_list(
                    w.static_macs.entry(at.clone()).or_default(),
                    row.clone(),
                    present,
                );
                RowKey::StaticMac(at.0, at.1)
            }
            Output::LoadBalancer(row) => {
                self.lb_groups.used(row, present);
                put(&mut w.load_balancers, row.nb, row, present);
                RowKey::LoadBalancer(row.nb)
            }
            Output::Member(
                set @ (SetName::GroupSwitches(_) | SetName::GroupRouters(_)),
                datapath,
            ) => {
                let members = w.members.entry(*set).or_default();
                toggle(members, *datapath, present);
                if members.is_empty() {
                    w.members.remove(set);
                }
                return self.lb_groups.member_changed(*set);
            }
            Output::Dns(row) => {
                put(&mut w.dns, row.nb, row, present);
                RowKey::Dns(row.nb)
            }
            Output::ServiceMonitor(row) => {
                let at = (
                    row.logical_port.clone(),
                    row.ip.clone(),
                    row.port,
                    row.protocol.clone(),
                );
                let list = w.monitors.entry(at.clone()).or_default();
                toggle_list(list, row.clone(), present);
                RowKey::ServiceMonitor(at.0, at.1, at.2, at.3)
            }
            Output::TemplateVars(row) => {
                put(&mut w.template_vars, row.chassis.clone(), row, present);
                RowKey::TemplateVars(row.chassis.clone())
            }
            Output::Bfd(row) => {
                let at = (row.logical_port.clone(), row.dst_ip.clone());
                toggle_list(w.bfds.entry(at.clone()).or_default(), row.clone(), present);
                RowKey::Bfd(at.0, at.1)
            }
            Output::AclId(acl, number) => {
                put(&mut w.acls, *acl, number, present);
                RowKey::AclId(*acl)
            }
            Output::DhcpOption(known) => {
                let at = (known.v6, Str::from(known.name));
                if present {
                    w.dhcp_options.insert(at.clone(), known);
                } else {
                    w.dhcp_options.remove(&at);
                }
                RowKey::DhcpOption(at.0, at.1)
            }
            Output::SbGlobal { options, ipsec } => {
                let new = (options.clone(), *ipsec);
                if present {
                    w.global = Some(new);
                } else if w.global.as_ref() == Some(&new) {
                    w.global = None;
                }
                RowKey::Global
            }
            Output::Rbac => {
                w.rbac = present;
                self.dirty.extend(
                    rbac::PERMISSIONS
                        .iter()
                        .map(|p| RowKey::Permission(p.table.into())),
                );
                RowKey::Role(rbac::ROLE.into())
            }
            Output::Stale(table, row) => {
                if present {
                    w.stale.insert((*table, *row));
                } else {
                    w.stale.remove(&(*table, *row));
                }
                RowKey::Stale(*table, *row)
            }
            Output::Flow { .. }
            | Output::Member(..)
            | Output::LspUp(..)
            | Output::LspDynamic(..)
            | Output::LspTag(..)
            | Output::Expires { .. }
            | Output::RemovalLimit(..)
            | Output::BfdStatus(..)
            | Output::PortCheckStatus(..)
            | Output::ActiveFunction(..)
            | Output::LrpPrefixes(..)
            | Output::NbOption(..) => {
                return;
            }
        };
        self.dirty.insert(key);
    }

    /// The compiler wants a row with this key.
    pub fn is_wanted(&self, key: &RowKey) -> bool {
        let w = &self.wanted;
        match key {
            RowKey::Global => true,
            RowKey::Permission(table) => {
                w.rbac && rbac::PERMISSIONS.iter().any(|p| *p.table == **table)
            }
            RowKey::Role(name) => w.rbac && **name == *rbac::ROLE,
            RowKey::Datapath(nb) => w.datapaths.contains_key(nb),
            RowKey::HaGroup(name) => w.ha_groups.get(name).is_some_and(|g| !g.is_empty()),
            RowKey::Mirror(name) => w.mirrors.get(name).is_some_and(|m| !m.is_empty()),
            RowKey::Port(name) => w.ports.get(name).is_some_and(|p| !p.is_empty()),
            RowKey::Mcast(dp, name) => self.members(*dp, name).is_some(),
            RowKey::IpMulticast(switch) => w.ip_multicast.contains_key(switch),
            RowKey::AddressSet(name) => w
                .address_sets
                .get(name)
                .is_some_and(|s| s.exists || s.listed.is_some() || !s.members.is_empty()),
            RowKey::PortGroup(name) => w.port_groups.get(name).is_some_and(|g| !g.is_empty()),
            RowKey::StaticMac(port, ip) => w
                .static_macs
                .get(&(port.clone(), ip.clone()))
                .is_some_and(|s| !s.is_empty()),
            RowKey::LoadBalancer(nb) => w.load_balancers.contains_key(nb),
            RowKey::Dns(nb) => w.dns.contains_key(nb),
            RowKey::ServiceMonitor(port, ip, number, protocol) => w
                .monitors
                .get(&(port.clone(), ip.clone(), *number, protocol.clone()))
                .is_some_and(|list| !list.is_empty()),
            RowKey::TemplateVars(chassis) => w.template_vars.contains_key(chassis),
            RowKey::Meter(name) => w.meters.get(name).is_some_and(|m| !m.is_empty()),
            RowKey::Bfd(port, peer) => w
                .bfds
                .get(&(port.clone(), peer.clone()))
                .is_some_and(|b| !b.is_empty()),
            RowKey::AclId(acl) => w.acls.contains_key(acl),
            RowKey::DhcpOption(v6, name) => w.dhcp_options.contains_key(&(*v6, name.clone())),
            RowKey::Stale(..) => false,
        }
    }

    pub(super) fn members(&self, dp: Uuid, name: &Str) -> Option<&Members> {
        self.wanted
            .mcast
            .get(&(dp, name.clone()))
            .filter(|m| !m.ports.is_empty())
    }

    /// Forgets what is left of a key that is no longer wanted.
    pub(super) fn prune(&mut self, key: &RowKey) {
        let w = &mut self.wanted;
        match key {
            RowKey::HaGroup(name) => drop(w.ha_groups.remove(name)),
            RowKey::Mirror(name) => drop(w.mirrors.remove(name)),
            RowKey::Meter(name) => drop(w.meters.remove(name)),
            RowKey::Port(name) => drop(w.ports.remove(name)),
            RowKey::Mcast(dp, name) => drop(w.mcast.remove(&(*dp, name.clone()))),
            RowKey::AddressSet(name) => drop(w.address_sets.remove(name)),
            RowKey::PortGroup(name) => drop(w.port_groups.remove(name)),
            RowKey::StaticMac(port, ip) => drop(w.static_macs.remove(&(port.clone(), ip.clone()))),
            RowKey::ServiceMonitor(port, ip, number, protocol) => {
                drop(
                    w.monitors
                        .remove(&(port.clone(), ip.clone(), *number, protocol.clone())),
                )
            }
            RowKey::Bfd(port, peer) => drop(w.bfds.remove(&(port.clone(), peer.clone()))),
            _ => {}
        }
    }
}
