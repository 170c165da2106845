//! Where load balancers apply.
//!
//! Guarantees: a load balancer of one group shares the group's sets of datapaths, so that neither its units nor its rows
//! grow with the number of datapaths. Routers are told apart by what the flows differ in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use weft_lang::Expr;
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::features::acl::state::{LbGroupVips, LbVips};
use crate::features::router::port;
use crate::features::router_port::{is_distributed_gateway, redirect_name};
use crate::index::{ById, ByName};
use crate::output::{DpSet, Output, SetName};
use crate::program::{Cx, Feature, Key, Per};

/// What flows of load balancers differ in from router to router.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Class {
    /// Bound to a chassis.
    pub gateway: bool,
    /// `lb_force_snat_ip` applies.
    pub force_snat: bool,
    /// Its distributed gateway ports; connections are balanced on their chassis only.
    pub gateway_ports: Vec<Str>,
}

impl Class {
    /// On the chassis of a gateway port, if there are any.
    pub fn is_resident(&self) -> Expr {
        match self.gateway_ports.len() {
            0 => Expr::TRUE,
            _ => Expr::any(self.gateway_ports.iter().map(|port| resident(port))),
        }
    }
}

/// `is_chassis_resident("cr-port")`
pub fn resident(port: &str) -> Expr {
    Expr::is_chassis_resident(redirect_name(port))
}

/// How a router source-translates what it has balanced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForceSnat {
    /// Into these, at most one per family.
    Addresses(Vec<IpAddr>),
    /// Into the address of the port it leaves by.
    OwnAddress,
}

/// A router as load balancers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Router {
    /// See there.
    pub class: Class,
    /// `lb_force_snat_ip`
    pub force_snat: Option<ForceSnat>,
    /// A load balancer with virtual addresses applies.
    pub balanced: bool,
    /// Its networks.
    pub networks: Vec<IpNet>,
    /// Its ports.
    pub ports: Vec<Str>,
    /// Its own addresses that are also virtual ones.
    pub own_vips: Vec<IpAddr>,
}

impl Router {
    /// Whether packets for this address of its own may be meant for somebody else.
    pub fn shares(&self, own: IpAddr) -> bool {
        self.own_vips.contains(&own)
            || match &self.force_snat {
                Some(ForceSnat::OwnAddress) => true,
                Some(ForceSnat::Addresses(all)) => all.contains(&own),
                None => false,
            }
    }
}

/// Publishes a [`Router`] per enabled router on which load balancers apply.
pub struct Routers;

impl Feature for Routers {
    const NAME: &'static str = "lb_of_router";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        LbVips::NAME,
        LbGroupVips::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let (Some(row), Some(router)) = (cx.lr(uuid), port::router(cx, uuid)) else {
            return;
        };
        let has = |id, rows: &[Uuid]| {
            rows.iter()
                .any(|row| cx.value::<bool>(id, Key::Row(*row)).is_some_and(|has| *has))
        };
        let balanced =
            has(LbVips::ID, row.load_balancer()) || has(LbGroupVips::ID, row.load_balancer_group());
        if !balanced {
            return;
        }
        let force_snat = row.options().get("lb_force_snat_ip").and_then(|text| {
            let parsed = force_snat(text);
            if parsed.is_none() {
                cx.diagnose::<nb::LogicalRouter>(
                    row.name(),
                    uuid,
                    "options:lb_force_snat_ip",
                    format!("\"{text}\" is neither router_ip nor one address per family: left out"),
                );
            }
            parsed.filter(|_| router.is_gateway)
        });
        let ports: Vec<Arc<port::RouterPort>> = row
            .ports()
            .iter()
            .filter_map(|p| port::port(cx, *p))
            .collect();
        let gateway_ports = ports.iter().filter(|_| !router.is_gateway);
        let gateway_ports = gateway_ports.filter(|p| is_distributed_gateway(cx, p.uuid));
        let v4 = ports
            .iter()
            .flat_map(|p| p.v4.iter().map(|net| IpNet::V4(*net)));
        let v6 = ports
            .iter()
            .flat_map(|p| p.v6.iter().map(|net| IpNet::V6(*net)));
        let networks: Vec<IpNet> = v4.chain(v6).collect();
        let own = networks.iter().map(IpNet::addr);
        let own_vips = own.filter(|ip| is_vip(cx, uuid, *ip)).collect();
        let mut sets = vec![SetName::BalancedRouters];
        let groups = || row.load_balancer_group().iter().copied();
        sets.extend(groups().map(SetName::GroupRouters));
        if router.is_gateway {
            sets.push(SetName::BalancedGateways);
            let snat = force_snat.is_some();
            sets.extend(groups().map(|group| SetName::GroupGateways(group, snat)));
        }
        for set in sets {
            cx.emit(Output::Member(set, uuid));
        }
        cx.publish(Router {
            class: Class {
                gateway: router.is_gateway,
                force_snat: force_snat.is_some(),
                gateway_ports: gateway_ports.map(|p| p.name.clone()).collect(),
            },
            force_snat,
            balanced,
            ports: ports.iter().map(|p| p.name.clone()).collect(),
            own_vips,
            networks,
        });
    }
}

/// Whether an address is a virtual one on the router.
fn is_vip(cx: &Cx<'_>, router: Uuid, ip: IpAddr) -> bool {
    let balancers = cx.by_name(ByName::BalancedAddress, &ip.to_string());
    balancers.iter().any(|lb| is_on(cx, *lb, router))
}

fn force_snat(text: &str) -> Option<ForceSnat> {
    if text == "router_ip" {
        return Some(ForceSnat::OwnAddress);
    }
    let all: Vec<IpAddr> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let v6 = all.iter().filter(|ip| ip.is_ipv6()).count();
    (v6 <= 1 && all.len() - v6 <= 1 && !all.is_empty()).then_some(ForceSnat::Addresses(all))
}

/// A router on which load balancers apply. The reader lists [`Routers`] among its `READS`.
pub fn router(cx: &Cx<'_>, uuid: Uuid) -> Option<Arc<Router>> {
    cx.value(Routers::ID, Key::Row(uuid))
}

/// The datapaths of a load balancer; those of a group by its name, so that one more changes nothing here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// Switches.
    pub switches: DpSet,
    /// Routers by class; those with gateway ports, where flows name ports, are always listed.
    pub routers: Vec<(Class, DpSet)>,
    /// All of them.
    pub all_routers: DpSet,
}

fn by_class(cx: &Cx<'_>, routers: &[Uuid]) -> BTreeMap<Class, Vec<Uuid>> {
    let mut by_class: BTreeMap<Class, Vec<Uuid>> = BTreeMap::new();
    for uuid in routers {
        if let Some(router) = router(cx, *uuid) {
            by_class
                .entry(router.class.clone())
                .or_default()
                .push(*uuid);
        }
    }
    by_class
}

/// A switch is one of those of its load balancer groups.
pub struct SwitchGroups;

impl Feature for SwitchGroups {
    const NAME: &'static str = "lb_groups_of_switch";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(switch) = cx.ls(key.row()) {
            for group in switch.load_balancer_group() {
                cx.emit(Output::Member(SetName::GroupSwitches(*group), key.row()));
            }
        }
    }
}

/// Publishes whether a group has switches (`bool`), so that one more wakes nobody else.
pub struct HasSwitches;

impl Feature for HasSwitches {
    const NAME: &'static str = "lb_group_has_switches";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancerGroup)];

    fn run(cx: &Cx<'_>, key: Key) {
        cx.publish(!cx.by_id(ById::SwitchesOfLbGroup, key.row()).is_empty());
    }
}

/// Publishes the [`Places`] of a group.
pub struct GroupPlaces;

impl Feature for GroupPlaces {
    const NAME: &'static str = "lb_group_places";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancerGroup)];
    const READS: &'static [&'static str] = &[Routers::NAME, HasSwitches::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let group = key.row();
        let by_class = by_class(cx, cx.by_id(ById::RoutersOfLbGroup, group));
        let named = |any: bool, set: SetName| match any {
            true => set.into(),
            false => DpSet::new(Vec::new()),
        };
        let has_switches = cx.value(HasSwitches::ID, key).is_some_and(|has| *has);
        let places = Places {
            switches: named(has_switches, SetName::GroupSwitches(group)),
            all_routers: named(!by_class.is_empty(), SetName::GroupRouters(group)),
            routers: by_class
                .into_iter()
                .map(|(class, list)| {
                    let set = match class.gateway {
                        true => SetName::GroupGateways(group, class.force_snat).into(),
                        false => DpSet::new(list),
                    };
                    (class, set)
                })
                .collect(),
        };
        cx.publish(places);
    }
}

/// Publishes the [`Places`] of a load balancer that is not in exactly one group and listed nowhere else.
pub struct ListedPlaces;

impl Feature for ListedPlaces {
    const NAME: &'static str = "lb_listed_places";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[Routers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if only_group(cx, key.row()).is_some() {
            return;
        }
        let mut switches = cx.by_id(ById::SwitchesOfLb, key.row()).to_vec();
        let mut routers = cx.by_id(ById::RoutersOfLb, key.row()).to_vec();
        for group in cx.by_id(ById::GroupsOfLb, key.row()) {
            switches.extend(cx.by_id(ById::SwitchesOfLbGroup, *group));
            routers.extend(cx.by_id(ById::RoutersOfLbGroup, *group));
        }
        for list in [&mut switches, &mut routers] {
            list.sort_unstable();
            list.dedup();
        }
        if switches.is_empty() && routers.is_empty() {
            return;
        }
        let by_class = by_class(cx, &routers);
        cx.publish(Places {
            switches: DpSet::new(switches),
            all_routers: DpSet::new(by_class.values().flatten().copied().collect()),
            routers: by_class
                .into_iter()
                .map(|(class, list)| (class, DpSet::new(list)))
                .collect(),
        });
    }
}

fn only_group(cx: &Cx<'_>, lb: Uuid) -> Option<Uuid> {
    let listed = |index| cx.by_id(index, lb);
    match (
        listed(ById::GroupsOfLb),
        listed(ById::SwitchesOfLb),
        listed(ById::RoutersOfLb),
    ) {
        ([group], [], []) => Some(*group),
        _ => None,
    }
}

/// Whether a load balancer applies on a router.
pub fn is_on(cx: &Cx<'_>, lb: Uuid, router: Uuid) -> bool {
    let Some(row) = cx.lr(router) else {
        return false;
    };
    let groups = cx.by_id(ById::GroupsOfLb, lb);
    // Not the router's column: one more there is nothing to the others.
    cx.by_id(ById::RoutersOfLb, lb).contains(&router)
        || row
            .load_balancer_group()
            .iter()
            .any(|group| groups.contains(group))
}

/// Where a load balancer applies. The reader lists [`GroupPlaces`] and [`ListedPlaces`] among its `READS`.
pub fn places_of(cx: &Cx<'_>, lb: Uuid) -> Option<Arc<Places>> {
    match only_group(cx, lb) {
        Some(group) => cx.value(GroupPlaces::ID, Key::Row(group)),
        None => cx.value(ListedPlaces::ID, Key::Row(lb)),
    }
}
