//! Ways to rows by something else than their UUID, kept along with the replicas.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use weft_ovsdb::model::{EXISTENCE, Map, RowChange, Str, Uuid};
use weft_schemas::{sb, vs};

use crate::program::Fact;

/// The indexes there are. What a key is stands with each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Index {
    /// Port_Binding by logical_port.
    PortByName,
    /// Port_Binding by (datapath, tunnel_key).
    PortByKey,
    /// Port_Binding by datapath.
    PortsOfDatapath,
    /// Port_Binding of type localnet by datapath.
    LocalnetOfDatapath,
    /// Port_Binding of type localport by datapath.
    LocalportsOfDatapath,
    /// Port_Binding of types patch and l3gateway by datapath.
    LinksOfDatapath,
    /// Port_Binding to and from which packets take tunnels whatever other way there is, by datapath: those with
    /// additional_chassis and those of network functions.
    TunnelledOfDatapath,
    /// All rows of Datapath_Binding, under `()`.
    Datapaths,
    /// Datapath_Binding by tunnel_key.
    DatapathByKey,
    /// MAC_Binding by (logical_port, ip).
    MacBindingByAddress,
    /// FDB by (dp_key, mac).
    FdbByMac,
    /// Multicast_Group by (datapath, name).
    MulticastByName,
    /// IGMP_Group by (datapath, address).
    IgmpGroup,
    /// Chassis by name.
    ChassisByName,
    /// Chassis_Private by name.
    ChassisPrivateByName,
    /// Port_Binding by each of its mirror_rules.
    PortsOfMirror,
    /// Address_Set by name.
    AddressSetByName,
    /// Port_Group by name.
    PortGroupByName,
    /// Meter by name.
    MeterByName,
    /// All rows of HA_Chassis_Group, under `()`.
    HaGroups,
    /// All rows of SB_Global, under `()`.
    SbGlobal,
    /// All rows of Chassis, under `()`.
    Chassis,
    /// DHCP_Options by (false, name), DHCPv6_Options by (true, name).
    DhcpOptionByName,
    /// Chassis_Template_Var by chassis.
    TemplateVarsByChassis,
    /// Port_Binding of a router port that wants a prefix, under `()`.
    PrefixPort,
    /// Port_Binding of a router port towards who delegates prefixes, by datapath.
    DelegatingPort,
    /// Port_Binding that says that routers advertise themselves there, under `()`.
    AdvertisingPort,
    /// DNS by each of its datapaths.
    DnsOfDatapath,

    /// All rows of Open_vSwitch, under `()`.
    OpenVswitch,
    /// Bridge by name.
    BridgeByName,
    /// Bridge by each of its ports.
    BridgeOfPort,
    /// Port by each of its interfaces.
    PortOfInterface,
    /// Port by name.
    VsPortByName,
    /// Interface by external_ids:iface-id.
    InterfaceById,
    /// Interface by external_ids:mirror-id.
    MirrorTarget,
    /// Interfaces with external_ids:ovn-egress-iface, under `()`.
    EgressInterface,
    /// Port by external_ids:ovn-chassis-id.
    TunnelPort,
    /// Port by external_ids:ovn-localnet-port or ovn-l2gateway-port.
    PatchPort,
}

/// All indexes of [`Index`].
#[derive(Default, Clone, Debug)]
pub struct Indexes {
    rows: FxHashMap<(Index, u64), SmallVec<[Uuid; 1]>>,
}

impl Indexes {
    /// The hash under which an index has a key. It is wide and mixes well, so two keys with one hash do not happen in
    /// practice; the readers that could be fooled compare the key itself.
    pub fn hash(key: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Rows under a key, sorted.
    pub fn rows(&self, index: Index, hash: u64) -> &[Uuid] {
        self.rows.get(&(index, hash)).map_or(&[], |rows| rows)
    }

    /// Rows under a key, sorted; for readers outside of units.
    pub fn find(&self, index: Index, key: impl Hash) -> &[Uuid] {
        self.rows(index, Self::hash(key))
    }

    fn insert(&mut self, index: Index, hash: u64, uuid: Uuid) {
        let rows = self.rows.entry((index, hash)).or_default();
        if let Err(at) = rows.binary_search(&uuid) {
            rows.insert(at, uuid);
        }
    }

    fn remove(&mut self, index: Index, hash: u64, uuid: Uuid) {
        if let Some(rows) = self.rows.get_mut(&(index, hash)) {
            if let Ok(at) = rows.binary_search(&uuid) {
                rows.remove(at);
            }
            if rows.is_empty() {
                self.rows.remove(&(index, hash));
            }
        }
    }

    /// Follows a change of one row: takes it from the keys it no longer has and puts it under those it has now.
    fn follow<R>(
        &mut self,
        change: &RowChange<R>,
        keys: impl Fn(&R, &mut Keys),
        touch: &mut dyn FnMut(Fact, u64),
    ) {
        let (mut old, mut new) = (Keys::default(), Keys::default());
        if let Some(row) = &change.old {
            keys(row, &mut old);
        }
        if let Some(row) = &change.new {
            keys(row, &mut new);
        }
        // The common case of a row with many keys, of which none has changed.
        if old.0 == new.0 {
            return;
        }
        for &(index, hash) in old.0.iter().filter(|key| !new.0.contains(key)) {
            self.remove(index, hash, change.uuid);
            touch(Fact::Index(index, hash), EXISTENCE);
        }
        for &(index, hash) in new.0.iter().filter(|key| !old.0.contains(key)) {
            self.insert(index, hash, change.uuid);
            touch(Fact::Index(index, hash), EXISTENCE);
        }
    }

    /// Follows a change of the southbound.
    pub fn follow_sb(&mut self, change: &sb::Change, touch: &mut dyn FnMut(Fact, u64)) {
        match change {
            sb::Change::PortBinding(c) => self.follow(c, port_keys, touch),
            sb::Change::DatapathBinding(c) => {
                self.follow(
                    c,
                    |row, keys| {
                        keys.add(Index::DatapathByKey, row.tunnel_key);
                        keys.add(Index::Datapaths, ());
                    },
                    touch,
                );
            }
            sb::Change::MacBinding(c) => self.follow(
                c,
                |row, keys| keys.add(Index::MacBindingByAddress, (&*row.logical_port, &*row.ip)),
                touch,
            ),
            sb::Change::Fdb(c) => self.follow(
                c,
                |row, keys| keys.add(Index::FdbByMac, (row.dp_key, &*row.mac)),
                touch,
            ),
            sb::Change::MulticastGroup(c) => self.follow(
                c,
                |row, keys| keys.add(Index::MulticastByName, (row.datapath, &*row.name)),
                touch,
            ),
            sb::Change::Dns(c) => self.follow(
                c,
                |row, keys| {
                    let datapaths = row.datapaths.iter();
                    datapaths.for_each(|dp| keys.add(Index::DnsOfDatapath, dp));
                },
                touch,
            ),
            sb::Change::IgmpGroup(c) => self.follow(
                c,
                |row, keys| {
                    if let Some(datapath) = row.datapath {
                        keys.add(Index::IgmpGroup, (datapath, &*row.address));
                    }
                },
                touch,
            ),
            sb::Change::Chassis(c) => self.follow(
                c,
                |row, keys| {
                    keys.add(Index::ChassisByName, &*row.name);
                    keys.add(Index::Chassis, ());
                },
                touch,
            ),
            sb::Change::ChassisPrivate(c) => {
                self.follow(
                    c,
                    |row, keys| keys.add(Index::ChassisPrivateByName, &*row.name),
                    touch,
                );
            }
            sb::Change::AddressSet(c) => {
                self.follow(
                    c,
                    |row, keys| keys.add(Index::AddressSetByName, &*row.name),
                    touch,
                );
            }
            sb::Change::PortGroup(c) => {
                self.follow(
                    c,
                    |row, keys| keys.add(Index::PortGroupByName, &*row.name),
                    touch,
                );
            }
            sb::Change::Meter(c) => {
                self.follow(
                    c,
                    |row, keys| keys.add(Index::MeterByName, &*row.name),
                    touch,
                );
            }
            sb::Change::DhcpOptions(c) => self.follow(
                c,
                |row, keys| keys.add(Index::DhcpOptionByName, (false, &*row.name)),
                touch,
            ),
            sb::Change::Dhcpv6Options(c) => self.follow(
                c,
                |row, keys| keys.add(Index::DhcpOptionByName, (true, &*row.name)),
                touch,
            ),
            sb::Change::HaChassisGroup(c) => {
                self.follow(c, |_, keys| keys.add(Index::HaGroups, ()), touch)
            }
            sb::Change::SbGlobal(c) => {
                self.follow(c, |_, keys| keys.add(Index::SbGlobal, ()), touch)
            }
            sb::Change::ChassisTemplateVar(c) => self.follow(
                c,
                |row, keys| keys.add(Index::TemplateVarsByChassis, &*row.chassis),
                touch,
            ),
            _ => {}
        }
    }

    /// Follows a change of the local Open vSwitch database.
    pub fn follow_vs(&mut self, change: &vs::Change, touch: &mut dyn FnMut(Fact, u64)) {
        match change {
            vs::Change::OpenVswitch(c) => {
                self.follow(c, |_, keys| keys.add(Index::OpenVswitch, ()), touch);
            }
            vs::Change::Bridge(c) => self.follow(
                c,
                |row, keys| {
                    keys.add(Index::BridgeByName, &*row.name);
                    row.ports
                        .iter()
                        .for_each(|port| keys.add(Index::BridgeOfPort, port));
                },
                touch,
            ),
            vs::Change::Port(c) => self.follow(c, vs_port_keys, touch),
            vs::Change::Interface(c) => self.follow(
                c,
                |row, keys| {
                    if let Some(id) = row.external_ids.nonempty("iface-id") {
                        keys.add(Index::InterfaceById, &**id);
                    }
                    if let Some(id) = row.external_ids.nonempty("mirror-id") {
                        keys.add(Index::MirrorTarget, &**id);
                    }
                    if row.external_ids.flag("ovn-egress-iface", false) {
                        keys.add(Index::EgressInterface, ());
                    }
                },
                touch,
            ),
            _ => {}
        }
    }
}

/// The options of a port are those of a network function's.
pub(crate) fn is_function(options: &Map<Str, Str>) -> bool {
    options.flag("is-nf", false)
}

fn port_keys(row: &sb::PortBinding, keys: &mut Keys) {
    keys.add(Index::PortByName, &*row.logical_port);
    keys.add(Index::PortByKey, (row.datapath, row.tunnel_key));
    keys.add(Index::PortsOfDatapath, row.datapath);
    if row.options.flag("ipv6_prefix", false) {
        keys.add(Index::PrefixPort, ());
    }
    if row.options.flag("ipv6_prefix_delegation", false) {
        keys.add(Index::DelegatingPort, row.datapath);
    }
    if row.options.flag("ipv6_ra_send_periodic", false) {
        keys.add(Index::AdvertisingPort, ());
    }
    if !row.additional_chassis.is_empty() || is_function(&row.options) {
        keys.add(Index::TunnelledOfDatapath, row.datapath);
    }
    let mirrors = row.mirror_rules.iter();
    mirrors.for_each(|mirror| keys.add(Index::PortsOfMirror, mirror));
    match &*row.type_ {
        "localnet" => keys.add(Index::LocalnetOfDatapath, row.datapath),
        "localport" => keys.add(Index::LocalportsOfDatapath, row.datapath),
        "patch" | "l3gateway" => keys.add(Index::LinksOfDatapath, row.datapath),
        _ => {}
    }
}

fn vs_port_keys(row: &vs::Port, keys: &mut Keys) {
    keys.add(Index::VsPortByName, &*row.name);
    row.interfaces
        .iter()
        .for_each(|iface| keys.add(Index::PortOfInterface, iface));
    let ids = &row.external_ids;
    if let Some(id) = ids.nonempty("ovn-chassis-id") {
        keys.add(Index::TunnelPort, &**id);
    }
    for key in ["ovn-localnet-port", "ovn-l2gateway-port"] {
        if let Some(id) = ids.nonempty(key) {
            keys.add(Index::PatchPort, &**id);
        }
    }
}

/// The keys of one row.
#[derive(Default)]
struct Keys(SmallVec<[(Index, u64); 8]>);

impl Keys {
    fn add(&mut self, index: Index, key: impl Hash) {
        self.0.push((index, Indexes::hash(key)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn change(old: Option<sb::PortBinding>, new: Option<sb::PortBinding>) -> sb::Change {
        sb::Change::PortBinding(RowChange {
            uuid: Uuid(1),
            old: old.map(Arc::new),
            new: new.map(Arc::new),
            columns: !0,
        })
    }

    #[test]
    fn rows_move_between_keys_and_readers_of_both_hear_of_it() {
        let mut indexes = Indexes::default();
        let mut heard = Vec::new();
        let a = sb::PortBinding {
            logical_port: "a".into(),
            datapath: Uuid(7),
            ..Default::default()
        };
        let b = sb::PortBinding {
            logical_port: "b".into(),
            datapath: Uuid(7),
            ..Default::default()
        };
        indexes.follow_sb(&change(None, Some(a.clone())), &mut |f, _| heard.push(f));
        assert_eq!(indexes.find(Index::PortByName, "a"), [Uuid(1)]);
        assert_eq!(heard.len(), 3);
        heard.clear();
        indexes.follow_sb(&change(Some(a), Some(b.clone())), &mut |f, _| heard.push(f));
        assert_eq!(indexes.find(Index::PortByName, "a"), []);
        assert_eq!(indexes.find(Index::PortByName, "b"), [Uuid(1)]);
        assert_eq!(
            heard.len(),
            2,
            "the datapath's ports are the same as before"
        );
        indexes.follow_sb(&change(Some(b), None), &mut |_, _| {});
        assert!(indexes.rows.is_empty());
    }
}
