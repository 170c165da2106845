//! Address sets: the user's, and two per port group with the addresses of its ports (`<group>_ip4`, `<group>_ip6`).
//!
//! Guarantees: a user's set that has the name of a generated one is left out and said so; the generated one stands, for
//! ACLs of the port group refer to it. The members of a port group's sets belong to units of its ports: a port that
//! joins costs its own addresses.

use std::net::IpAddr;

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::datapath::{DatapathKey, datapath_key};
use super::ipam::{Ipam, Lease};
use crate::address::{PortAddress, parse_port_address};
use crate::index::{ById, ByName};
use crate::output::Output;
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// The name of the user's set, if a port group or northd itself generates one of that name.
fn generator(cx: &Cx<'_>, name: &str) -> Option<String> {
    if name == "svc_monitor_mac" {
        return Some("northd itself".to_owned());
    }
    let group = name
        .strip_suffix("_ip4")
        .or_else(|| name.strip_suffix("_ip6"))?;
    (!cx.by_name(ByName::PortGroup, group).is_empty()).then(|| format!("port group {group}"))
}

/// The user's sets.
pub struct UserSets;

impl Feature for UserSets {
    const NAME: &'static str = "address_set";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::AddressSet)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(set) = cx.address_set(key.row()) else {
            return;
        };
        let name = set.name();
        if let Some(owner) = generator(cx, name) {
            cx.diagnose::<nb::AddressSet>(
                name,
                key.row(),
                "name",
                format!("{owner} generates an address set of the same name: this one is left out"),
            );
            return;
        }
        cx.emit(Output::AddressList {
            set: name.clone(),
            addresses: set.addresses().clone(),
        });
    }
}

/// The sets that port groups generate exist even without members.
pub struct GroupSets;

impl Feature for GroupSets {
    const NAME: &'static str = "group_sets";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::PortGroup)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(group) = cx.port_group(key.row()) else {
            return;
        };
        for family in ["ip4", "ip6"] {
            cx.emit(Output::AddressSet(
                format!("{}_{family}", group.name()).into(),
            ));
        }
    }
}

/// What a port brings into the port groups that list it: itself and its addresses.
///
/// Southbound port groups are per datapath, named `<tunnel key of the datapath>_<group>`, so that a chassis needs only
/// those of its own datapaths.
pub struct Membership;

impl Feature for Membership {
    const NAME: &'static str = "group_member";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[DatapathKey::NAME, Ipam::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let groups = cx.by_id(ById::GroupsOfPort, uuid);
        if groups.is_empty() {
            return;
        }
        let Some(lsp) = cx.lsp(uuid) else { return };
        let datapath = cx.switch_of(uuid).and_then(|ls| datapath_key(cx, ls));
        let addresses = addresses(cx, uuid);
        for &group in groups {
            let Some(group) = cx.port_group(group) else {
                continue;
            };
            let name = group.name();
            if let Some(datapath) = datapath {
                let group = format!("{datapath}_{name}").into();
                cx.emit(Output::GroupPort {
                    group,
                    port: lsp.name().clone(),
                });
            }
            let (v4, v6): (Str, Str) = (format!("{name}_ip4").into(), format!("{name}_ip6").into());
            for address in &addresses {
                let set = if address.is_ipv4() {
                    v4.clone()
                } else {
                    v6.clone()
                };
                cx.emit(Output::Address {
                    set,
                    address: address.to_string().into(),
                });
            }
        }
    }
}

/// The IP addresses of a port, configured and dynamic. What does not parse is the business of whoever compiles the port.
fn addresses(cx: &Cx<'_>, port: Uuid) -> Vec<IpAddr> {
    let Some(lsp) = cx.lsp(port) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for text in lsp.addresses().iter() {
        if let (Some(PortAddress::Static(addresses)), _) = parse_port_address(text) {
            all.extend(addresses.ip4s().map(IpAddr::V4));
            all.extend(addresses.ip6s().map(IpAddr::V6));
        }
    }
    if let Some(lease) = cx.value::<Lease>(Ipam::ID, Key::Row(port)) {
        all.extend(lease.v4.map(IpAddr::V4));
        all.extend(lease.v6.map(IpAddr::V6));
    }
    all
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Str;
    use weft_schemas::nb;

    use crate::output::Output;
    use crate::testing::Bed;

    fn set(n: usize) -> nb::AddressSet {
        let addresses =
            (0..n).map(|i| Str::from(format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255)));
        nb::AddressSet {
            name: "big".into(),
            addresses: addresses.collect(),
            ..nb::AddressSet::default()
        }
    }

    fn addresses(bed: &Bed) -> usize {
        let lists = bed.outputs().filter_map(|output| match output {
            Output::AddressList { set, addresses } if &**set == "big" => Some(addresses.len()),
            _ => None,
        });
        lists.sum()
    }

    #[test]
    fn one_address_into_a_large_set() {
        let mut bed = Bed::new();
        let row = bed.insert(set(10_000));
        bed.ran();
        for n in [10_001, 10_000, 1_024, 1_025, 10, 10_000] {
            bed.put(row, set(n));
            assert_eq!(bed.ran(), 1);
            assert_eq!(addresses(&bed), n);
        }
        bed.remove::<nb::AddressSet>(row);
        bed.ran();
        assert_eq!(addresses(&bed), 0);
    }
}
