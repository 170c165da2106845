//! What a switch port can be that most ports are not.
//!
//! Guarantees: a feature that concerns few switch ports ([`Per::Ports`]) has units for those only. One unit per port looks
//! at its row and demands them: what is not there costs neither memory nor a run.

use std::sync::LazyLock;

use weft_engine::KindId;
use weft_schemas::nb;

use super::queue;
use crate::index::PortType;
use crate::program::{Cx, Feature, Key, Per};
use crate::view::NbReads;

/// Something to be told from a port's row alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortTrait {
    /// Of type `vtep`.
    Vtep,
    /// Of type `external`.
    External,
    /// Of type `virtual`.
    Virtual,
    /// Of type `remote`.
    Remote,
    /// Of type `router`.
    Router,
    /// Of type `router` or `localnet`.
    Uplink,
    /// Has `options:arp_proxy`.
    ArpProxy,
    /// Some address is `unknown`.
    Unknown,
    /// Some address is `dynamic`.
    Dynamic,
    /// Lists mirrors.
    Mirrored,
    /// Lists DHCP options.
    Dhcp,
    /// Has a parent.
    Nested,
    /// Has rates or a queue.
    Shaped,
    /// Is disabled, or has rates or a queue.
    Restrained,
}

impl PortTrait {
    /// True of every port that has it, though of others too maybe: the features themselves look closer.
    fn of(self, row: &nb::LogicalSwitchPortRef<'_, NbReads<'_>>) -> bool {
        let kind = || PortType::parse(row.type_());
        let address = |word: &str| row.addresses().iter().any(|text| text.contains(word));
        match self {
            PortTrait::Vtep => kind() == PortType::Vtep,
            PortTrait::External => kind() == PortType::External,
            PortTrait::Virtual => kind() == PortType::Virtual,
            PortTrait::Remote => kind() == PortType::Remote,
            PortTrait::Router => kind() == PortType::Router,
            PortTrait::Uplink => matches!(kind(), PortType::Router | PortType::Localnet),
            PortTrait::ArpProxy => row.options().contains_key("arp_proxy"),
            PortTrait::Unknown => address("unknown"),
            PortTrait::Dynamic => address("dynamic"),
            PortTrait::Mirrored => !row.mirror_rules().is_empty(),
            PortTrait::Dhcp => row.dhcpv4_options().is_some() || row.dhcpv6_options().is_some(),
            PortTrait::Nested => row.parent_name().is_some(),
            PortTrait::Shaped => queue::concerns(row.options()),
            PortTrait::Restrained => {
                *row.enabled() == Some(false) || queue::concerns(row.options())
            }
        }
    }
}

/// The kinds that are about ports with a trait.
static KINDS: LazyLock<Vec<(PortTrait, KindId)>> = LazyLock::new(|| {
    let traits = |entry: &'static crate::program::Entry| {
        entry.per.iter().filter_map(|per| match per {
            Per::Ports(which) => Some((*which, entry.kind.id())),
            _ => None,
        })
    };
    super::all().flat_map(traits).collect()
});

/// Demands the units of a port that not every port has.
pub struct PortTraits;

impl Feature for PortTraits {
    const NAME: &'static str = "port_traits";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.lsp(key.row()) else { return };
        for (_, kind) in KINDS.iter().filter(|(which, _)| which.of(&row)) {
            cx.demand(*kind, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bed, map};

    #[test]
    fn units_come_and_go_with_what_they_are_about() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let port = bed.port(switch, "p", |_| ());
        let units = |bed: &Bed| -> Vec<&str> {
            let of = |kind: &KindId| bed.compiler().engine().contains(*kind, Key::Row(port));
            let mut units: Vec<&str> = KINDS
                .iter()
                .map(|(_, kind)| kind)
                .filter(|k| of(k))
                .map(|k| k.0)
                .collect();
            units.sort_unstable();
            units
        };
        bed.flows("");
        assert!(units(&bed).is_empty(), "{:?}", units(&bed));
        bed.edit_port(port, |row| {
            row.type_ = "localnet".into();
            row.options = map([("qos_max_rate", "1000")]);
        });
        bed.flows("");
        assert_eq!(
            units(&bed),
            [
                "acl_exempt_port",
                "lb_exempt_port",
                "queue",
                "switch_admission",
                "switch_uplinks"
            ]
        );
        bed.edit_port(port, |row| {
            *row = nb::LogicalSwitchPort {
                name: "p".into(),
                ..Default::default()
            }
        });
        bed.flows("");
        assert!(units(&bed).is_empty(), "{:?}", units(&bed));
    }
}
