//! Natural keys of southbound rows.

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

/// By what a row is known. The order is that of insertion: rows after those they refer to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKey {
    /// The row of `SB_Global`.
    Global,
    /// A row of `RBAC_Permission`, by table.
    Permission(Str),
    /// A row of `RBAC_Role`, by name.
    Role(Str),
    /// By northbound UUID.
    Datapath(Uuid),
    /// By name.
    HaGroup(Str),
    /// By name.
    Mirror(Str),
    /// By `logical_port`.
    Port(Str),
    /// By northbound UUID of the datapath, and name.
    Mcast(Uuid, Str),
    /// By northbound UUID of the switch.
    IpMulticast(Uuid),
    /// By name.
    AddressSet(Str),
    /// By name.
    PortGroup(Str),
    /// By port and address.
    StaticMac(Str, Str),
    /// By the northbound row.
    LoadBalancer(Uuid),
    /// By the northbound row.
    Dns(Uuid),
    /// By port, address, transport port and protocol.
    ServiceMonitor(Str, Str, u16, Str),
    /// By chassis.
    TemplateVars(Str),
    /// By name.
    Meter(Str),
    /// By port and address of the peer.
    Bfd(Str, Str),
    /// By the ACL, whose UUID the row shares.
    AclId(Uuid),
    /// By name, of DHCPv4 and of DHCPv6 (`true`).
    DhcpOption(bool, Str),
    /// A row that is to go: table number and UUID.
    Stale(u8, Uuid),
}

impl RowKey {
    pub(super) fn table(&self) -> sb::TableId {
        match self {
            RowKey::Global => sb::TableId::SbGlobal,
            RowKey::Permission(_) => sb::TableId::RbacPermission,
            RowKey::Role(_) => sb::TableId::RbacRole,
            RowKey::Datapath(_) => sb::TableId::DatapathBinding,
            RowKey::HaGroup(_) => sb::TableId::HaChassisGroup,
            RowKey::Mirror(_) => sb::TableId::Mirror,
            RowKey::Port(_) => sb::TableId::PortBinding,
            RowKey::Mcast(..) => sb::TableId::MulticastGroup,
            RowKey::IpMulticast(_) => sb::TableId::IpMulticast,
            RowKey::AddressSet(_) => sb::TableId::AddressSet,
            RowKey::PortGroup(_) => sb::TableId::PortGroup,
            RowKey::StaticMac(..) => sb::TableId::StaticMacBinding,
            RowKey::LoadBalancer(_) => sb::TableId::LoadBalancer,
            RowKey::Dns(_) => sb::TableId::Dns,
            RowKey::ServiceMonitor(..) => sb::TableId::ServiceMonitor,
            RowKey::TemplateVars(_) => sb::TableId::ChassisTemplateVar,
            RowKey::Meter(_) => sb::TableId::Meter,
            RowKey::Bfd(..) => sb::TableId::Bfd,
            RowKey::AclId(_) => sb::TableId::AclId,
            RowKey::DhcpOption(false, _) => sb::TableId::DhcpOptions,
            RowKey::DhcpOption(true, _) => sb::TableId::Dhcpv6Options,
            RowKey::Stale(table, _) => {
                sb::TableId::from_number(*table).unwrap_or(sb::TableId::SbGlobal)
            }
        }
    }

    /// Table and name, for messages.
    pub fn describe(&self) -> (&'static str, String) {
        let name = match self {
            RowKey::Global => ".".to_owned(),
            RowKey::Permission(name)
            | RowKey::Role(name)
            | RowKey::HaGroup(name)
            | RowKey::Mirror(name)
            | RowKey::Meter(name)
            | RowKey::DhcpOption(_, name)
            | RowKey::Port(name) => name.to_string(),
            RowKey::AddressSet(name) | RowKey::PortGroup(name) => name.to_string(),
            RowKey::Datapath(nb)
            | RowKey::LoadBalancer(nb)
            | RowKey::IpMulticast(nb)
            | RowKey::Dns(nb) => nb.to_string(),
            RowKey::ServiceMonitor(port, ip, number, protocol) => {
                format!("{protocol} {ip} {number} at {port}")
            }
            RowKey::TemplateVars(chassis) => chassis.to_string(),
            RowKey::Mcast(dp, name) => format!("{name} of {dp}"),
            RowKey::StaticMac(port, ip) => format!("{ip} at {port}"),
            RowKey::Bfd(port, peer) => format!("{peer} at {port}"),
            RowKey::Stale(_, row) | RowKey::AclId(row) => row.to_string(),
        };
        (self.table().name(), name)
    }
}
