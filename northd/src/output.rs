//! What units yield: logical flows, southbound rows and members of southbound sets, northbound columns that northd fills.
//!
//! Outputs name other rows by what is known before anything is written: datapaths by the UUID of their northbound switch
//! or router, ports by name. `sync/` turns them into rows of the southbound.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Set, Str, Uuid};

pub use crate::dp_set::{DpList, DpSet, Need, SetName};
pub use crate::pipeline::Mcast;
use crate::pipeline::Stage;

/// A logical flow, without the datapaths it is on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogicalFlow {
    /// Pipeline and table.
    pub stage: Stage,
    /// Higher goes first.
    pub priority: u16,
    /// Match in the language of `ovn-sb(5)`, rendered canonically.
    pub match_: Str,
    /// Actions, rendered canonically.
    pub actions: Str,
    /// Meter for what the flow sends to the controller.
    pub controller_meter: Option<Str>,
}

/// What a flow comes from, for operators.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Origin {
    /// First 32 bits of the UUID of the northbound row; 0 for none (`stage-hint`).
    pub hint: u32,
    /// Number of the kind of unit (`source`).
    pub kind: u16,
}

/// A row of `Datapath_Binding`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Datapath {
    /// The switch or router.
    pub nb: Uuid,
    /// Whether it is a router.
    pub router: bool,
    /// Its number in tunnels.
    pub tunnel_key: u32,
    /// `external_ids`, complete.
    pub external_ids: Map<Str, Str>,
}

/// A row of `Port_Binding`: the columns that northd owns.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Port {
    /// Name; unique.
    pub logical_port: Str,
    /// `type`
    pub type_: Str,
    /// The switch or router.
    pub datapath: Uuid,
    /// Its number within the datapath.
    pub tunnel_key: i64,
    /// `options`
    pub options: Map<Str, Str>,
    /// `parent_port`
    pub parent_port: Option<Str>,
    /// `tag`
    pub tag: Option<i64>,
    /// `mac`
    pub mac: Set<Str>,
    /// `port_security`
    pub port_security: Set<Str>,
    /// `nat_addresses`
    pub nat_addresses: Set<Str>,
    /// `external_ids`
    pub external_ids: Map<Str, Str>,
    /// `requested_chassis`, a southbound row.
    pub requested_chassis: Option<Uuid>,
    /// `requested_additional_chassis`, southbound rows.
    pub requested_additional_chassis: Set<Uuid>,
    /// Name of the `HA_Chassis_Group`.
    pub ha_group: Option<Str>,
    /// `mirror_port`
    pub mirror_port: Option<Str>,
    /// Names of the `Mirror` rows.
    pub mirrors: Set<Str>,
}

/// A row of `Mirror`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mirror {
    /// Name; unique.
    pub name: Str,
    /// `filter`
    pub filter: Str,
    /// `sink`
    pub sink: Str,
    /// `type`
    pub type_: Str,
    /// `index`
    pub index: i64,
}

/// A row of `HA_Chassis_Group` with its members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HaGroup {
    /// Name; unique.
    pub name: Str,
    /// Members, sorted by name: chassis name, its southbound row if it is there, priority.
    pub members: Vec<(Str, Option<Uuid>, i64)>,
    /// Chassis from which packets reach the gateway.
    pub referring: Set<Uuid>,
}

/// A row of `Static_MAC_Binding`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StaticMac {
    /// Router port.
    pub logical_port: Str,
    /// Address.
    pub ip: Str,
    /// MAC.
    pub mac: Str,
    /// `override_dynamic_mac`
    pub override_dynamic_mac: bool,
    /// The router.
    pub datapath: Uuid,
}

/// A row of `Load_Balancer`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LoadBalancer {
    /// The northbound row.
    pub nb: Uuid,
    /// For people.
    pub name: Str,
    /// Backends by virtual address.
    pub vips: Map<Str, Str>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: Option<Str>,
    /// As of the northbound.
    pub options: Map<Str, Str>,
    /// The switches it applies to.
    pub switches: DpSet,
    /// The routers it applies to.
    pub routers: DpSet,
}

/// A row of `DNS`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dns {
    /// The northbound row.
    pub nb: Uuid,
    /// Addresses by name, or the name by its reversed address.
    pub records: Map<Str, Str>,
    /// As of the northbound.
    pub options: Map<Str, Str>,
    /// The switches whose questions are answered.
    pub switches: DpSet,
}

/// A row of `Service_Monitor`; chassis write its status.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceMonitor {
    /// Behind which the service is.
    pub logical_port: Str,
    /// What is checked.
    pub ip: Str,
    /// What is checked; 0 where there are no ports.
    pub port: u16,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: Str,
    /// `load-balancer`, `logical-switch-port` or `network-function`.
    pub kind: &'static str,
    /// Where checks of a network function go in; empty for others.
    pub logical_input_port: Str,
    /// Destination of the checks; empty for the port's own.
    pub mac: Str,
    /// Source of the checks.
    pub src_mac: Str,
    /// Source of the checks.
    pub src_ip: Str,
    /// `interval`, `timeout` and the like.
    pub options: Map<Str, Str>,
}

/// A row of `Chassis_Template_Var`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TemplateVars {
    /// The chassis's name.
    pub chassis: Str,
    /// Values by name.
    pub variables: Map<Str, Str>,
}

/// A row of `Meter` with its bands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Meter {
    /// Name; unique.
    pub name: Str,
    /// `unit`
    pub unit: Str,
    /// Sorted.
    pub bands: Vec<Band>,
}

/// A row of `Meter_Band`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Band {
    /// `action`
    pub action: Str,
    /// `rate`
    pub rate: i64,
    /// `burst_size`
    pub burst: i64,
}

/// A row of `BFD`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Bfd {
    /// The northbound row.
    pub nb: Uuid,
    /// Router port.
    pub logical_port: Str,
    /// The peer.
    pub dst_ip: Str,
    /// UDP source port.
    pub src_port: i64,
    /// Milliseconds.
    pub min_tx: i64,
    /// Milliseconds.
    pub min_rx: i64,
    /// Packets.
    pub detect_mult: i64,
    /// Something depends on the session: it is not administratively down.
    pub followed: bool,
}

/// A multicast group of a datapath.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum McastGroup {
    /// One that every datapath may have.
    Known(Mcast),
    /// One that receivers have joined: its address, which is its name, and its tunnel key.
    Learned(Str, u32),
}

impl McastGroup {
    /// `Multicast_Group.name`
    pub fn name(&self) -> Str {
        match self {
            McastGroup::Known(group) => group.name().into(),
            McastGroup::Learned(name, _) => name.clone(),
        }
    }

    /// `Multicast_Group.tunnel_key`
    pub fn tunnel_key(&self) -> i64 {
        match self {
            McastGroup::Known(group) => group.tunnel_key(),
            McastGroup::Learned(_, key) => i64::from(*key),
        }
    }
}

/// A row of `IP_Multicast`; `seq_no` is the operator's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IpMulticast {
    /// The switch.
    pub switch: Uuid,
    /// `enabled`
    pub enabled: bool,
    /// `querier`
    pub querier: bool,
    /// `eth_src`
    pub eth_src: Str,
    /// `ip4_src`
    pub ip4_src: Str,
    /// `ip6_src`
    pub ip6_src: Str,
    /// `table_size`
    pub table_size: i64,
    /// `idle_timeout`, seconds.
    pub idle_timeout: i64,
    /// `query_interval`, seconds.
    pub query_interval: i64,
    /// `query_max_resp`, seconds.
    pub query_max_resp: i64,
}

/// What a unit can yield.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// A logical flow on some datapaths. Flows that differ in nothing but datapath and hint become one row.
    Flow {
        /// The flow.
        flow: Arc<LogicalFlow>,
        /// Where.
        dps: DpSet,
        /// What it comes from.
        origin: Origin,
    },
    /// A datapath is in a set that has a name ([`DpSet::Named`]).
    Member(SetName, Uuid),
    /// A datapath.
    Datapath(Arc<Datapath>),
    /// A port.
    Port(Arc<Port>),
    /// A port is member of a multicast group.
    McastMember {
        /// The switch or router.
        dp: Uuid,
        /// Which group.
        group: McastGroup,
        /// Name of the port.
        port: Str,
    },
    /// How a switch snoops multicast.
    IpMulticast(Arc<IpMulticast>),
    /// An address set exists, maybe without members.
    AddressSet(Str),
    /// An address set exists with these members, which are the column of a row: nothing is copied.
    AddressList {
        /// The set.
        set: Str,
        /// All its addresses.
        addresses: Set<Str>,
    },
    /// An address is in an address set.
    Address {
        /// The set.
        set: Str,
        /// The address.
        address: Str,
    },
    /// A port is in a port group; there is one southbound group per datapath that has such ports.
    GroupPort {
        /// Name of the southbound group.
        group: Str,
        /// Name of the port.
        port: Str,
    },
    /// A mirror.
    Mirror(Arc<Mirror>),
    /// A HA chassis group.
    HaGroup(Arc<HaGroup>),
    /// A static MAC binding.
    StaticMac(Arc<StaticMac>),
    /// A load balancer.
    LoadBalancer(Arc<LoadBalancer>),
    /// Names.
    Dns(Arc<Dns>),
    /// A health check. Several that differ in sources or options make one row with those of the first.
    ServiceMonitor(Arc<ServiceMonitor>),
    /// Template variables of a chassis.
    TemplateVars(Arc<TemplateVars>),
    /// A meter.
    Meter(Arc<Meter>),
    /// A BFD session.
    Bfd(Arc<Bfd>),
    /// The number of an ACL whose connections persist.
    AclId(Uuid, u32),
    /// An option that DHCP answers can hold.
    DhcpOption(&'static crate::features::dhcp::catalog::Known),
    /// `SB_Global.options` and `ipsec`.
    SbGlobal {
        /// `options`
        options: Map<Str, Str>,
        /// `ipsec`
        ipsec: bool,
    },
    /// The role of controllers and what it permits.
    Rbac,
    /// A row that chassis wrote about something that is no longer there: to be deleted. Table number and row.
    Stale(u8, Uuid),
    /// A row that chassis wrote goes at this time, in milliseconds since 1970, unless it is refreshed.
    Expires {
        /// Number of its southbound table.
        table: u8,
        /// The row.
        row: Uuid,
        /// When.
        at_ms: i64,
    },
    /// So many rows of a southbound table may go at once because of their age.
    RemovalLimit(u8, u32),
    /// `Logical_Switch_Port.up`
    LspUp(Uuid, bool),
    /// `Logical_Switch_Port.dynamic_addresses`
    LspDynamic(Uuid, Str),
    /// `Logical_Switch_Port.tag`
    LspTag(Uuid, i64),
    /// `Logical_Router_Port.ipv6_prefix`
    LrpPrefixes(Uuid, Set<Str>),
    /// `BFD.status`
    BfdStatus(Uuid, Str),
    /// `Network_Function_Group.network_function_active`
    ActiveFunction(Uuid, Option<Uuid>),
    /// `Logical_Switch_Port_Health_Check.status`
    PortCheckStatus(Uuid, Str),
    /// A key of `NB_Global.options` that northd sets.
    NbOption(Str, Str),
}
