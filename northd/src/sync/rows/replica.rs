//! Following the southbound: which rows are there for which key.

use std::sync::Arc;

use weft_schemas::sb;

use super::{RowKey, Rows};
use crate::restore::nb_of_datapath;

impl Rows {
    /// Follows the southbound. Changes of datapaths must be seen before those of rows that refer to them.
    pub fn sb_changed(&mut self, change: &sb::Change) {
        let (uuid, old, new) = match change {
            sb::Change::SbGlobal(c) => (
                c.uuid,
                c.old.as_ref().map(|_| RowKey::Global),
                c.new.as_ref().map(|_| RowKey::Global),
            ),
            sb::Change::LogicalDpGroup(c) => {
                match c.new {
                    Some(_) => self.lb_groups.forget(),
                    None => self.lb_groups.row_gone(c.uuid),
                }
                return;
            }
            sb::Change::DatapathBinding(c) => {
                self.lb_groups.forget();
                let key = |r: &Arc<sb::DatapathBinding>| {
                    nb_of_datapath(r).map_or(
                        RowKey::Stale(sb::TableId::DatapathBinding as u8, c.uuid),
                        RowKey::Datapath,
                    )
                };
                match c.new.as_ref().and_then(|r| nb_of_datapath(r)) {
                    Some(nb) => self.nb_of.insert(c.uuid, nb),
                    None => self.nb_of.remove(&c.uuid),
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::PortBinding(c) => {
                let key = |r: &Arc<sb::PortBinding>| RowKey::Port(r.logical_port.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::MulticastGroup(c) => {
                let key = |r: &Arc<sb::MulticastGroup>| match self.nb_of.get(&r.datapath) {
                    Some(nb) => RowKey::Mcast(*nb, r.name.clone()),
                    None => RowKey::Stale(sb::TableId::MulticastGroup as u8, c.uuid),
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::IpMulticast(c) => {
                let stale = RowKey::Stale(sb::TableId::IpMulticast as u8, c.uuid);
                let key = |r: &Arc<sb::IpMulticast>| match self.nb_of.get(&r.datapath) {
                    Some(nb) => RowKey::IpMulticast(*nb),
                    None => stale.clone(),
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::AddressSet(c) => {
                let key = |r: &Arc<sb::AddressSet>| RowKey::AddressSet(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::PortGroup(c) => {
                let key = |r: &Arc<sb::PortGroup>| RowKey::PortGroup(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::Mirror(c) => {
                let key = |r: &Arc<sb::Mirror>| RowKey::Mirror(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::HaChassisGroup(c) => {
                let key = |r: &Arc<sb::HaChassisGroup>| RowKey::HaGroup(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::Meter(c) => {
                let key = |r: &Arc<sb::Meter>| RowKey::Meter(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::StaticMacBinding(c) => {
                let key = |r: &Arc<sb::StaticMacBinding>| {
                    RowKey::StaticMac(r.logical_port.clone(), r.ip.clone())
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::LoadBalancer(c) => {
                let key = |r: &Arc<sb::LoadBalancer>| {
                    let nb = r.external_ids.get("lb_id").and_then(|id| id.parse().ok());
                    nb.map_or(
                        RowKey::Stale(sb::TableId::LoadBalancer as u8, c.uuid),
                        RowKey::LoadBalancer,
                    )
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::Dns(c) => {
                let key = |r: &Arc<sb::Dns>| {
                    let nb = r.external_ids.get("dns_id").and_then(|id| id.parse().ok());
                    nb.map_or(RowKey::Stale(sb::TableId::Dns as u8, c.uuid), RowKey::Dns)
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::ServiceMonitor(c) => {
                let key = |r: &Arc<sb::ServiceMonitor>| {
                    let protocol = r.protocol.clone().unwrap_or_default();
                    let port = u16::try_from(r.port).unwrap_or_default();
                    RowKey::ServiceMonitor(r.logical_port.clone(), r.ip.clone(), port, protocol)
                };
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::ChassisTemplateVar(c) => {
                let key = |r: &Arc<sb::ChassisTemplateVar>| RowKey::TemplateVars(r.chassis.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::Bfd(c) => {
                let key = |r: &Arc<sb::Bfd>| RowKey::Bfd(r.logical_port.clone(), r.dst_ip.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::AclId(c) => {
                let key = |_: &Arc<sb::AclId>| RowKey::AclId(c.uuid);
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::DhcpOptions(c) => {
                let key = |r: &Arc<sb::DhcpOptions>| RowKey::DhcpOption(false, r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::Dhcpv6Options(c) => {
                let key = |r: &Arc<sb::Dhcpv6Options>| RowKey::DhcpOption(true, r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::RbacPermission(c) => {
                let key = |r: &Arc<sb::RbacPermission>| RowKey::Permission(r.table.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            sb::Change::RbacRole(c) => {
                let key = |r: &Arc<sb::RbacRole>| RowKey::Role(r.name.clone());
                (c.uuid, c.old.as_ref().map(key), c.new.as_ref().map(key))
            }
            _ => return,
        };
        if old != new {
            if let Some(old) = &old
                && let Some(rows) = self.have.get_mut(old)
            {
                rows.retain(|row| *row != uuid);
                if rows.is_empty() {
                    self.have.remove(old);
                }
            }
            if let Some(new) = &new {
                let rows = self.have.entry(new.clone()).or_default();
                if !rows.contains(&uuid) {
                    rows.push(uuid);
                }
            }
        }
        for key in old.into_iter().chain(new) {
            self.rechoose(&key);
            self.dirty.insert(key);
        }
    }

    /// A row that stands for a wanted key came or went: whoever refers to the key must follow if another stands for it.
    fn rechoose(&mut self, key: &RowKey) {
        let Some(before) = self.chosen.get(key).copied() else {
            return;
        };
        if self.choose(key) != before {
            self.all_dirty();
        }
    }
}
