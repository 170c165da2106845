//! Wanted rows against those that are there, as operations of a transaction.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use weft_ovsdb::model::{Map, Row, Set, Str, Table, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::each::{
    datapath_row, put_bfd, put_dhcp_option, put_ha_group, put_ip_multicast, put_meter, put_monitor,
};
use super::{RowKey, Rows};
use crate::sync::flows::Datapaths;
use crate::sync::rbac;

impl Rows {
    /// Inserts the row of a wanted key, or updates what differs. A row whose references are not there yet waits.
    pub(super) fn put(&mut self, txn: &mut Txn, db: &sb::Db, key: &RowKey) {
        let uuid = self.choose(key);
        match key {
            RowKey::Global => self.put_global(txn, db, uuid),
            RowKey::Permission(table) => {
                if let Some(p) = rbac::PERMISSIONS.iter().find(|p| *p.table == **table) {
                    put(
                        txn,
                        &db.rbac_permission,
                        uuid,
                        &p.row(),
                        sb::rbac_permission::ALL,
                        0,
                    );
                }
            }
            RowKey::Role(_) => self.put_role(txn, db, uuid),
            RowKey::Datapath(nb) => {
                let Some(want) = self.wanted.datapaths.get(nb) else {
                    return;
                };
                let row = datapath_row(want);
                let mask = sb::datapath_binding::ALL & !sb::datapath_binding::LOAD_BALANCERS;
                put(txn, &db.datapath_binding, uuid, &row, mask, 0);
            }
            RowKey::HaGroup(name) => {
                if let Some(group) = self.wanted.ha_groups.get(name).and_then(BTreeSet::first) {
                    put_ha_group(txn, db, uuid, group);
                }
            }
            RowKey::Mirror(name) => self.put_mirror(txn, db, uuid, name),
            RowKey::Port(name) => self.put_port(txn, db, key, name, uuid),
            RowKey::Mcast(dp, name) => self.put_mcast(txn, db, uuid, *dp, name),
            RowKey::IpMulticast(switch) => {
                let Some(want) = self.wanted.ip_multicast.get(switch) else {
                    return;
                };
                let Some(datapath) = self.row(*switch) else {
                    return;
                };
                put_ip_multicast(txn, db, uuid, datapath, want);
            }
            RowKey::AddressSet(name) => self.put_address_set(txn, db, uuid, name),
            RowKey::PortGroup(name) => self.put_port_group(txn, db, uuid, name),
            RowKey::StaticMac(port, ip) => self.put_static_mac(txn, db, uuid, port, ip),
            RowKey::LoadBalancer(nb) => self.put_load_balancer(txn, db, uuid, *nb),
            RowKey::Dns(nb) => self.put_dns(txn, db, uuid, *nb),
            RowKey::ServiceMonitor(port, ip, number, protocol) => {
                let at = (port.clone(), ip.clone(), *number, protocol.clone());
                let Some(want) = self
                    .wanted
                    .monitors
                    .get(&at)
                    .and_then(|list| list.iter().min())
                else {
                    return;
                };
                put_monitor(txn, db, uuid, want);
            }
            RowKey::TemplateVars(chassis) => self.put_template_vars(txn, db, uuid, chassis),
            RowKey::Meter(name) => {
                if let Some(meter) = self.wanted.meters.get(name).and_then(BTreeSet::first) {
                    put_meter(txn, db, uuid, meter);
                }
            }
            RowKey::AclId(acl) => {
                let Some(&number) = self.wanted.acls.get(acl) else {
                    return;
                };
                let row = sb::AclId { id: number.into() };
                put(txn, &db.acl_id, uuid, &row, sb::acl_id::ALL, 0);
            }
            RowKey::Bfd(port, peer) => {
                let wanted = self.wanted.bfds.get(&(port.clone(), peer.clone()));
                if let Some(want) = wanted.and_then(|list| list.first()) {
                    put_bfd(txn, db, uuid, want);
                }
            }
            RowKey::DhcpOption(v6, name) => {
                if let Some(known) = self.wanted.dhcp_options.get(&(*v6, name.clone())) {
                    put_dhcp_option(txn, db, uuid, known);
                }
            }
            RowKey::Stale(..) => {}
        }
    }

    fn put_role(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid) {
        let permissions = rbac::PERMISSIONS.iter().map(|p| {
            (
                p.table.into(),
                self.choose(&RowKey::Permission(p.table.into())),
            )
        });
        let row = sb::RbacRole {
            name: rbac::ROLE.into(),
            permissions: permissions.collect(),
        };
        put(txn, &db.rbac_role, uuid, &row, sb::rbac_role::ALL, 0);
    }

    fn put_mirror(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, name: &Str) {
        let Some(want) = self.wanted.mirrors.get(name).and_then(|m| m.first()) else {
            return;
        };
        let row = sb::Mirror {
            name: name.clone(),
            filter: want.filter.clone(),
            sink: want.sink.clone(),
            type_: want.type_.clone(),
            index: want.index,
            ..sb::Mirror::default()
        };
        let mask = sb::mirror::ALL & !sb::mirror::EXTERNAL_IDS;
        put(txn, &db.mirror, uuid, &row, mask, 0);
    }

    fn put_address_set(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, name: &Str) {
        let Some(addresses) = self.wanted.address_sets.get(name) else {
            return;
        };
        let row = |addresses| sb::AddressSet {
            name: name.clone(),
            addresses,
            ..sb::AddressSet::default()
        };
        let mask = sb::address_set::NAME | sb::address_set::ADDRESSES;
        let column = sb::address_set::ADDRESSES;
        put_set(
            txn,
            &db.address_set,
            uuid,
            addresses.iter(),
            (mask, column),
            |r| &r.addresses,
            row,
        );
    }

    fn put_port_group(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, name: &Str) {
        let Some(ports) = self.wanted.port_groups.get(name) else {
            return;
        };
        let row = |ports| sb::PortGroup {
            name: name.clone(),
            ports,
        };
        put_set(
            txn,
            &db.port_group,
            uuid,
            ports.iter(),
            (sb::port_group::ALL, sb::port_group::PORTS),
            |r| &r.ports,
            row,
        );
    }

    fn put_static_mac(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, port: &Str, ip: &Str) {
        let Some(want) = self
            .wanted
            .static_macs
            .get(&(port.clone(), ip.clone()))
            .and_then(|s| s.first())
        else {
            return;
        };
        let Some(datapath) = self.row(want.datapath) else {
            return;
        };
        let row = sb::StaticMacBinding {
            logical_port: port.clone(),
            ip: ip.clone(),
            mac: want.mac.clone(),
            override_dynamic_mac: want.override_dynamic_mac,
            datapath,
        };
        put(
            txn,
            &db.static_mac_binding,
            uuid,
            &row,
            sb::static_mac_binding::ALL,
            0,
        );
    }

    fn put_template_vars(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, chassis: &Str) {
        let Some(want) = self.wanted.template_vars.get(chassis) else {
            return;
        };
        let row = sb::ChassisTemplateVar {
            chassis: chassis.clone(),
            variables: want.variables.clone(),
        };
        put(
            txn,
            &db.chassis_template_var,
            uuid,
            &row,
            sb::chassis_template_var::ALL,
            0,
        );
    }

    fn put_global(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid) {
        let Some((options, ipsec)) = &self.wanted.global else {
            return;
        };
        let row = sb::SbGlobal {
            options: options.clone(),
            ipsec: *ipsec,
            ..sb::SbGlobal::default()
        };
        put(
            txn,
            &db.sb_global,
            uuid,
            &row,
            sb::sb_global::OPTIONS | sb::sb_global::IPSEC,
            0,
        );
    }

    /// Everything that came with a number is in the transaction: tells the chassis so.
    pub fn write_nb_cfg(&mut self, txn: &mut Txn, db: &sb::Db, nb_cfg: i64) {
        let uuid = self.choose(&RowKey::Global);
        if db.sb_global.get(uuid).map(|row| row.nb_cfg) != Some(nb_cfg) {
            txn.update(
                uuid,
                &sb::SbGlobal {
                    nb_cfg,
                    ..sb::SbGlobal::default()
                },
                sb::sb_global::NB_CFG,
            );
        }
    }

    fn put_port(&mut self, txn: &mut Txn, db: &sb::Db, key: &RowKey, name: &Str, mut uuid: Uuid) {
        use sb::port_binding as column;
        let Some(want) = self
            .wanted
            .ports
            .get(name)
            .and_then(|p| p.iter().min_by_key(|p| (p.datapath, p.tunnel_key)))
            .cloned()
        else {
            return;
        };
        let Some(datapath) = self.row(want.datapath) else {
            return;
        };
        // A port that moved to another datapath is another one to the chassis.
        if db
            .port_binding
            .get(uuid)
            .is_some_and(|have| have.datapath != datapath)
        {
            txn.delete::<sb::PortBinding>(uuid);
            uuid = Uuid::random();
            self.chosen.insert(key.clone(), uuid);
            self.dirty.extend(
                self.wanted
                    .mcast
                    .keys()
                    .filter(|(dp, _)| *dp == want.datapath)
                    .map(|(dp, g)| RowKey::Mcast(*dp, g.clone())),
            );
        }
        let ha_group = want
            .ha_group
            .as_ref()
            .map(|name| RowKey::HaGroup(name.clone()));
        let mirrors = want.mirrors.iter().cloned().map(RowKey::Mirror);
        let mirrors: Vec<RowKey> = mirrors.filter(|key| self.can_refer(key)).collect();
        let row = sb::PortBinding {
            logical_port: name.clone(),
            type_: want.type_.clone(),
            datapath,
            tunnel_key: want.tunnel_key,
            options: want.options.clone(),
            parent_port: want.parent_port.clone(),
            tag: want.tag,
            mac: want.mac.clone(),
            port_security: want.port_security.clone(),
            nat_addresses: want.nat_addresses.clone(),
            external_ids: want.external_ids.clone(),
            requested_chassis: want.requested_chassis,
            requested_additional_chassis: want.requested_additional_chassis.clone(),
            ha_chassis_group: ha_group
                .filter(|key| self.can_refer(key))
                .map(|key| self.choose(&key)),
            mirror_port: want.mirror_port.clone(),
            mirror_rules: mirrors.iter().map(|key| self.choose(key)).collect(),
            up: Some(false),
            ..sb::PortBinding::default()
        };
        let mask = column::LOGICAL_PORT
            | column::TYPE
            | column::DATAPATH
            | column::TUNNEL_KEY
            | column::OPTIONS
            | column::PARENT_PORT
            | column::TAG
            | column::MAC
            | column::PORT_SECURITY
            | column::NAT_ADDRESSES
            | column::EXTERNAL_IDS
            | column::REQUESTED_CHASSIS
            | column::REQUESTED_ADDITIONAL_CHASSIS
            | column::HA_CHASSIS_GROUP
            | column::MIRROR_PORT
            | column::MIRROR_RULES;
        put(txn, &db.port_binding, uuid, &row, mask, column::UP);
    }

    fn put_dns(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, nb: Uuid) {
        let Some(want) = self.wanted.dns.get(&nb).cloned() else {
            return;
        };
        let switches = want.switches.as_slice().iter();
        let datapaths: Set<Uuid> = switches.filter_map(|switch| self.row(*switch)).collect();
        // The southbound wants a datapath at least.
        if datapaths.is_empty() {
            return;
        }
        let row = sb::Dns {
            records: want.records.clone(),
            datapaths,
            options: want.options.clone(),
            external_ids: Map::from_iter([("dns_id".into(), nb.to_string().into())]),
        };
        put(txn, &db.dns, uuid, &row, sb::dns::ALL, 0);
    }

    fn put_mcast(&mut self, txn: &mut Txn, db: &sb::Db, uuid: Uuid, dp: Uuid, name: &Str) {
        let Some(datapath) = self.row(dp) else { return };
        let Some(members) = self.members(dp, name) else {
            return;
        };
        let tunnel_key = members.tunnel_key;
        let keys: Vec<RowKey> = members
            .ports
            .iter()
            .map(|port| RowKey::Port(port.clone()))
            .filter(|k| self.can_refer(k))
            .collect();
        let ports: BTreeSet<Uuid> = keys.iter().map(|key| self.choose(key)).collect();
        let row = |ports| sb::MulticastGroup {
            datapath,
            name: name.clone(),
            tunnel_key,
            ports,
        };
        put_set(
            txn,
            &db.multicast_group,
            uuid,
            ports.iter(),
            (sb::multicast_group::ALL, sb::multicast_group::PORTS),
            |r| &r.ports,
            row,
        );
    }
}

/// Inserts a row, or updates the columns of `mask` that differ. Columns of `initial` are written only with a new row.
pub(super) fn put<R: Row>(
    txn: &mut Txn,
    table: &Table<R>,
    uuid: Uuid,
    want: &R,
    mask: u64,
    initial: u64,
) {
    match table.get(uuid) {
        None => {
            txn.insert(want, (mask | initial) & want.nondefault_columns(), uuid);
        }
        Some(have) => {
            let columns = have.differences(want, mask);
            if columns != 0 {
                txn.update(uuid, want, columns);
            }
        }
    }
}

/// [`put`] for a row with one column that can be large: of it only the members that came or went are sent. `row` makes
/// the row with these members; `mask` and `column` are all columns written and the large one.
fn put_set<'a, R: Row, T: Ord + Clone + 'a>(
    txn: &mut Txn,
    table: &Table<R>,
    uuid: Uuid,
    want: impl Iterator<Item = &'a T>,
    (mask, column): (u64, u64),
    members: fn(&R) -> &Set<T>,
    row: impl Fn(Set<T>) -> R,
) {
    let Some(have) = table.get(uuid) else {
        let want = want.cloned().collect();
        return put(txn, table, uuid, &row(want), mask, 0);
    };
    put(txn, table, uuid, &row(Set::default()), mask & !column, 0);
    let (added, removed) = set_differences(want, members(have));
    if !removed.is_empty() {
        txn.mutate_delete(uuid, &row(removed.into()), column);
    }
    if !added.is_empty() {
        txn.mutate_insert(uuid, &row(added.into()), column);
    }
}

/// What is wanted beyond what is there, and what is there beyond what is wanted. Both are sorted; nothing that is in
/// both is copied, for the difference is small and the sets may not be.
fn set_differences<'a, T: Ord + Clone + 'a>(
    want: impl Iterator<Item = &'a T>,
    have: &Set<T>,
) -> (Vec<T>, Vec<T>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let (mut want, mut have) = (want.peekable(), have.iter().peekable());
    loop {
        let order = match (want.peek(), have.peek()) {
            (Some(w), Some(h)) => w.cmp(h),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (added, removed),
        };
        match order {
            Ordering::Less => added.extend(want.next().cloned()),
            Ordering::Greater => removed.extend(have.next().cloned()),
            Ordering::Equal => {
                want.next();
                have.next();
            }
        }
    }
}

/// Deletes a row if it is there.
pub(super) fn delete_from(txn: &mut Txn, db: &sb::Db, table: u8, row: Uuid) -> Option<usize> {
    macro_rules! tables {
        ($($id:ident $module:ident),*) => {
            match sb::TableId::from_number(table)? {
                $(sb::TableId::$id => db.$module.contains(row).then(|| txn.delete::<sb::$id>(row)),)*
                _ => None,
            }
        };
    }
    tables! {
        SbGlobal sb_global, RbacPermission rbac_permission, RbacRole rbac_role, DatapathBinding datapath_binding,
        HaChassisGroup ha_chassis_group, Mirror mirror, PortBinding port_binding, MulticastGroup multicast_group,
        AddressSet address_set, PortGroup port_group, StaticMacBinding static_mac_binding, MacBinding mac_binding, Fdb fdb,
        LoadBalancer load_balancer, ServiceMonitor service_monitor, ChassisTemplateVar chassis_template_var,
        Meter meter, Bfd bfd, IpMulticast ip_multicast, IgmpGroup igmp_group, AclId acl_id, Dns dns,
        DhcpOptions dhcp_options, Dhcpv6Options dhcpv6_options
    }
}
