//! Control plane protection: meters for what datapaths send to the controllers (`Copp`).
//!
//! Guarantees: whatever feature writes it, a flow that makes a packet go to a controller carries the meter that its datapath's
//! `copp` has for that kind of packet; features need not know. A flow over several datapaths is split where they are
//! protected differently. A meter that does not exist protects nothing and is reported; what ovn-nb(5) knows no key for
//! goes without. Fair meters have no copies here.

use weft_lang::action::{CallName, NestedKind, OptionsKind};
use weft_lang::{Action, field};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::acl::state::needs;
use super::lb::place;
use super::meter;
use super::multicast::snoop::snooping;
use super::router::port;
use super::switch::defaults::vlan_passthru;
use crate::index::ById;
use crate::output::{DpSet, SetName};
use crate::pipeline::DatapathKind;
use crate::program::{Cx, Feature, Key, Per};

/// The keys of `Copp.meters`.
const PROTOCOLS: [&str; 18] = [
    "arp",
    "arp-resolve",
    "bfd",
    "dhcpv4-opts",
    "dhcpv4-relay",
    "dhcpv6-opts",
    "dns",
    "event-elb",
    "icmp4-error",
    "icmp6-error",
    "igmp",
    "nd-na",
    "nd-ns",
    "nd-ns-resolve",
    "nd-ra-opts",
    "reject",
    "svc-monitor",
    "tcp-reset",
];

/// Under which key the packets are metered that the actions send to a controller.
fn protocol(actions: &[Action]) -> Option<&'static str> {
    actions.iter().find_map(|action| {
        Some(match action {
            Action::Nested(kind, inner) => match kind {
                NestedKind::Clone => return protocol(inner),
                NestedKind::Arp => "arp-resolve",
                NestedKind::NdNs => "nd-ns-resolve",
                NestedKind::NdNa | NestedKind::NdNaRouter => "nd-na",
                NestedKind::Icmp4 | NestedKind::Icmp4Error => "icmp4-error",
                NestedKind::Icmp6 | NestedKind::Icmp6Error => "icmp6-error",
                NestedKind::TcpReset | NestedKind::SctpAbort => "tcp-reset",
                NestedKind::Reject => "reject",
            },
            Action::Call { name, args, .. } => match name {
                CallName::PutArp => "arp",
                // The address says what is learned from.
                CallName::PutNd if args.contains(&field::ND_TARGET) => "nd-na",
                CallName::PutNd => "nd-ns",
                CallName::DnsLookup => "dns",
                CallName::HandleSvcCheck => "svc-monitor",
                CallName::HandleBfdMsg => "bfd",
                _ => return None,
            },
            Action::PutOptions(OptionsKind::Dhcpv4, ..) => "dhcpv4-opts",
            Action::PutOptions(OptionsKind::Dhcpv6, ..) => "dhcpv6-opts",
            Action::PutOptions(OptionsKind::NdRa, ..) => "nd-ra-opts",
            Action::DhcpRelayReqChk(..) | Action::DhcpRelayRespChk(..) => "dhcpv4-relay",
            Action::TriggerEvent(_) => "event-elb",
            Action::Igmp => "igmp",
            _ => return None,
        })
    })
}

impl Cx<'_> {
    /// Splits the datapaths of a flow by the meter that protects the controllers there.
    pub(crate) fn protection(
        &self,
        kind: DatapathKind,
        dps: DpSet,
        actions: &[Action],
    ) -> Vec<(Option<Str>, DpSet)> {
        let Some(protocol) = protocol(actions) else {
            return vec![(None, dps)];
        };
        if let DpSet::One(dp) = dps {
            let copp = match kind {
                DatapathKind::Switch => self.ls(dp).and_then(|row| *row.copp()),
                DatapathKind::Router => self.lr(dp).and_then(|row| *row.copp()),
            };
            let meter = copp.and_then(|copp| self.protecting_meter(copp, protocol));
            return vec![(meter, dps)];
        }
        let index = match kind {
            DatapathKind::Switch => ById::SwitchesOfCopp,
            DatapathKind::Router => ById::RoutersOfCopp,
        };
        let meter = |copp: &Uuid| Some((*copp, self.protecting_meter(*copp, protocol)?));
        let meters: Vec<(Uuid, Str)> = self
            .all(nb::TableId::Copp)
            .iter()
            .filter_map(meter)
            .collect();
        if meters.is_empty() {
            return vec![(None, dps)];
        }
        let mut rest = match &dps {
            // Some are metered and others not: now it matters which they are.
            DpSet::Named(set) => self.members(*set),
            listed => listed.as_slice().to_vec(),
        };
        let mut split: Vec<(Option<Str>, DpSet)> = Vec::new();
        for (copp, meter) in meters {
            let protected = self.by_id(index, copp);
            let (these, others): (Vec<Uuid>, Vec<Uuid>) = rest
                .into_iter()
                .partition(|dp| protected.binary_search(dp).is_ok());
            rest = others;
            if !these.is_empty() {
                split.push((Some(meter), DpSet::new(these)));
            }
        }
        if split.is_empty() {
            return vec![(None, dps)];
        }
        if !rest.is_empty() {
            split.push((None, DpSet::new(rest)));
        }
        split
    }

    /// The datapaths that are in a set. The unit runs again whenever one comes or goes; it must list the kinds that know.
    fn members(&self, set: SetName) -> Vec<Uuid> {
        let switches = self.all(nb::TableId::LogicalSwitch).iter().copied();
        let routers = self.all(nb::TableId::LogicalRouter).iter().copied();
        match set {
            SetName::Switches => switches.collect(),
            SetName::Untagged => switches
                .filter(|uuid| !vlan_passthru(self, *uuid))
                .collect(),
            SetName::Snooping => switches
                .filter(|uuid| snooping(self, *uuid).is_some())
                .collect(),
            SetName::Needing(need) => switches
                .filter(|uuid| needs(self, *uuid).named().contains(&need))
                .collect(),
            SetName::GroupSwitches(group) => self.by_id(ById::SwitchesOfLbGroup, group).to_vec(),
            SetName::GroupRouters(group) => self.balanced(self.routers_of_group(group), |_| true),
            SetName::GroupGateways(group, snat) => self
                .balanced(self.routers_of_group(group), |class| {
                    class.gateway && class.force_snat == snat
                }),
            SetName::Routers => routers
                .filter(|uuid| port::router(self, *uuid).is_some())
                .collect(),
            SetName::BalancedRouters => self.balanced(routers, |_| true),
            SetName::BalancedGateways => self.balanced(routers, |class| class.gateway),
        }
    }

    fn routers_of_group(&self, group: Uuid) -> impl Iterator<Item = Uuid> {
        self.by_id(ById::RoutersOfLbGroup, group).iter().copied()
    }

    /// Of some routers those on which load balancers apply, if they are of such a class.
    fn balanced(
        &self,
        routers: impl Iterator<Item = Uuid>,
        wanted: impl Fn(&place::Class) -> bool,
    ) -> Vec<Uuid> {
        let is_one = |uuid: &Uuid| place::router(self, *uuid).is_some_and(|r| wanted(&r.class));
        routers.filter(is_one).collect()
    }

    fn protecting_meter(&self, copp: Uuid, protocol: &str) -> Option<Str> {
        let row = self.copp(copp)?;
        let name = row.meters().get(protocol)?;
        meter::named(self, name).map(|_| name.clone())
    }
}

/// Says what is wrong with a policy.
pub struct CoppCheck;

impl Feature for CoppCheck {
    const NAME: &'static str = "copp";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Copp)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.copp(key.row()) else {
            return;
        };
        for (protocol, name) in row.meters().iter() {
            let message = if !PROTOCOLS.contains(&&**protocol) {
                format!("\"{protocol}\" is no kind of packet that can be metered: ignored")
            } else if meter::named(cx, name).is_none() {
                format!("{protocol}: there is no meter \"{name}\": such packets are not limited")
            } else {
                continue;
            };
            cx.diagnose::<nb::Copp>(row.name(), key.row(), "meters", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::output::{DpSet, Output};
    use crate::testing::{Bed, map};

    /// Flows with a meter: `STAGE PRIORITY | METER | DATAPATHS`.
    fn metered(bed: &mut Bed) -> Vec<String> {
        bed.all_flows("");
        let sets = bed.named_sets();
        let mut all: Vec<String> = bed
            .outputs()
            .filter_map(|output| {
                let Output::Flow { flow, dps, .. } = output else {
                    return None;
                };
                let meter = flow.controller_meter.as_ref()?;
                let count = match dps {
                    DpSet::Named(set) => sets.get(set).map_or(0, Vec::len),
                    listed => listed.as_slice().len(),
                };
                let name = flow.stage.info().name;
                Some(format!("{name} {} | {meter} | {count}", flow.priority))
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn each_kind_of_packet_has_its_meter() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(
            switch,
            "r",
            "0a:00:00:00:00:01",
            &["10.0.0.1/24", "fd00::1/64"],
        );
        bed.router_on(switch, "other", "0a:00:00:00:00:02", &["10.0.0.2/24"]);
        bed.route("r", "fd09::/64", "fd00::9", |_| ());
        bed.edit_router_port("r-sw", |row| row.options = map([("gateway_mtu", "1400")]));
        for protocol in super::PROTOCOLS.iter().filter(|p| **p != "arp") {
            bed.insert(nb::Meter {
                name: format!("m-{protocol}").into(),
                ..nb::Meter::default()
            });
        }
        let meters = super::PROTOCOLS.map(|p| (p, format!("m-{p}")));
        let meters = meters.iter().map(|(p, m)| ((*p).into(), m.as_str().into()));
        let meters = meters.chain([("what".into(), "m-dns".into())]);
        let copp = bed.insert(nb::Copp {
            name: "c".into(),
            meters: meters.collect(),
            ..nb::Copp::default()
        });
        assert_eq!(metered(&mut bed), [""; 0]);
        bed.edit_router("r", |row| row.copp = Some(copp));
        bed.edit_switch(switch, |row| row.copp = Some(copp));
        insta::assert_snapshot!(metered(&mut bed).join("\n"));
        let said = bed.diagnostics();
        assert!(said.contains("there is no meter \"m-arp\""), "{said}");
        assert!(said.contains("\"what\" is no kind of packet"), "{said}");
        bed.edit_router("r", |row| row.copp = None);
        bed.edit_switch(switch, |row| row.copp = None);
        assert_eq!(metered(&mut bed), [""; 0]);
    }
}
