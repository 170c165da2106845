//! `HA_Chassis_Group` and `HA_Chassis`: who may be the gateway of a port, in which order.
//!
//! Only groups that a port uses are handed down. A router port with `gateway_chassis` has a group of its own name.
//! `ref_chassis` names the chassis with ports from which packets reach the routers of a group, as far as routers and
//! switches join them: they watch the members' tunnels, and the members theirs.

use std::sync::Arc;

use std::collections::BTreeSet;

use weft_ovsdb::model::{Set, Str, Uuid};
use weft_schemas::nb;

use super::router_port::is_distributed_gateway;
use crate::index::{ById, ByName, PortType};
use crate::output::{HaGroup, Output};
use crate::program::{Cx, Feature, Key, Per};

/// Emits the groups.
pub struct HaGroups;

impl Feature for HaGroups {
    const NAME: &'static str = "ha_group";
    const PER: &'static [Per] = &[
        Per::Nb(nb::TableId::HaChassisGroup),
        Per::Nb(nb::TableId::LogicalRouterPort),
    ];
    const READS: &'static [&'static str] = &[Reach::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let (name, members): (&Str, Vec<(Str, i64)>) = if let Some(group) = cx.ha_group(uuid) {
            let used = !cx.by_id(ById::SwitchPortsOfHaGroup, uuid).is_empty()
                || !cx.by_id(ById::RouterPortsOfHaGroup, uuid).is_empty();
            if !used {
                return;
            }
            let rows = group
                .ha_chassis()
                .iter()
                .filter_map(|&row| cx.ha_chassis(row));
            (
                group.name(),
                rows.map(|row| (row.chassis_name().clone(), *row.priority()))
                    .collect(),
            )
        } else if let Some(lrp) = cx.lrp(uuid) {
            if lrp.ha_chassis_group().is_some()
                || lrp.gateway_chassis().is_empty()
                || !is_distributed_gateway(cx, uuid)
            {
                return;
            }
            let rows = lrp
                .gateway_chassis()
                .iter()
                .filter_map(|&row| cx.gateway_chassis(row));
            (
                lrp.name(),
                rows.map(|row| (row.chassis_name().clone(), *row.priority()))
                    .collect(),
            )
        } else {
            return;
        };
        let mut members: Vec<(Str, Option<Uuid>, i64)> = members
            .into_iter()
            .map(|(chassis, priority)| {
                (
                    chassis.clone(),
                    cx.by_name(ByName::Chassis, &chassis).first().copied(),
                    priority,
                )
            })
            .collect();
        members.sort_unstable();
        // A single member is watched by nobody: there is no choice.
        let referring = if members.len() > 1 {
            referring(cx, uuid)
        } else {
            Set::default()
        };
        for (chassis, row, _) in &members {
            if row.is_none() {
                no_such_chassis(cx, uuid, chassis);
            }
        }
        cx.emit(Output::HaGroup(Arc::new(HaGroup {
            name: name.clone(),
            members,
            referring,
        })));
    }
}

fn no_such_chassis(cx: &Cx<'_>, uuid: Uuid, chassis: &str) {
    let message = format!("no chassis \"{chassis}\": it cannot be the gateway");
    if let Some(group) = cx.ha_group(uuid) {
        cx.diagnose::<nb::HaChassisGroup>(group.name(), uuid, "ha_chassis", message);
    } else if let Some(lrp) = cx.lrp(uuid) {
        cx.diagnose::<nb::LogicalRouterPort>(lrp.name(), uuid, "gateway_chassis", message);
    }
}

/// The chassis with ports on switches from which routers lead to the group's ports. `uuid` is the group, or the router
/// port that is one of its own.
fn referring(cx: &Cx<'_>, uuid: Uuid) -> Set<Uuid> {
    let of_group = cx.by_id(ById::RouterPortsOfHaGroup, uuid).iter().copied();
    let ports = of_group.chain(cx.lrp(uuid).map(|_| uuid));
    let routers: BTreeSet<Uuid> = ports.filter_map(|port| cx.router_of(port)).collect();
    let reach = |router| {
        cx.demand(Reach::ID, Key::Row(router));
        cx.value::<Set<Uuid>>(Reach::ID, Key::Row(router))
    };
    let all: Vec<_> = routers.into_iter().filter_map(reach).collect();
    match &all[..] {
        [one] => (**one).clone(),
        _ => all.iter().flat_map(|set| set.iter().copied()).collect(),
    }
}

/// Publishes the chassis with ports on switches from which routers lead to a router, for those who ask. All groups of the
/// router share it.
pub struct Reach;

impl Feature for Reach {
    const NAME: &'static str = "router_reach";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[SwitchChassis::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        cx.publish(reach(cx, key.row()));
    }
}

fn reach(cx: &Cx<'_>, router: Uuid) -> Set<Uuid> {
    let mut routers = vec![router];
    let (mut switches, mut seen) = (BTreeSet::new(), BTreeSet::new());
    while let Some(router) = routers.pop() {
        let Some(row) = cx.lr(router).filter(|_| seen.insert(router)) else {
            continue;
        };
        for port in row.ports().iter().filter_map(|port| cx.lrp(*port)) {
            let peer = port.peer().as_ref().and_then(|peer| cx.lrp_named(peer));
            routers.extend(peer.and_then(|peer| cx.router_of(peer)));
            for switch in cx.switch_ports_towards(port.name()) {
                let Some(switch) = cx.switch_of(*switch).filter(|s| switches.insert(*s)) else {
                    continue;
                };
                routers.extend(routers_on(cx, switch));
            }
        }
    }
    let chassis = |switch| {
        cx.demand(SwitchChassis::ID, Key::Row(switch));
        cx.value::<Set<Uuid>>(SwitchChassis::ID, Key::Row(switch))
    };
    switches
        .into_iter()
        .filter_map(chassis)
        .flat_map(|set| set.iter().copied().collect::<Vec<_>>())
        .collect()
}

fn routers_on<'a>(cx: &'a Cx<'_>, switch: Uuid) -> impl Iterator<Item = Uuid> + 'a {
    let links = cx.ports_of(switch, PortType::Router).iter();
    links.filter_map(|link| {
        let name = cx.lsp(*link)?.options().get("router-port").cloned()?;
        cx.router_of(cx.lrp_named(&name)?)
    })
}

/// Publishes the chassis that have ports of a switch, for those who ask.
pub struct SwitchChassis;

impl Feature for SwitchChassis {
    const NAME: &'static str = "switch_chassis";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, key: Key) {
        let kinds = [PortType::Vif, PortType::Virtual, PortType::L2Gateway];
        let ports = kinds.map(|kind| cx.ports_of(key.row(), kind));
        let chassis = ports.into_iter().flatten().filter_map(|port| {
            let name = cx.lsp(*port)?;
            let binding = cx.by_name(ByName::Binding, name.name()).first()?;
            *cx.binding(*binding)?.chassis()
        });
        cx.publish::<Set<Uuid>>(chassis.collect());
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::sb;

    use super::*;
    use crate::testing::{Bed, set};

    #[test]
    fn whoever_reaches_the_gateway_watches_it() {
        let mut bed = Bed::new();
        let (inner, far) = (bed.switch("in"), bed.switch("far"));
        let outer = bed.switch("out");
        bed.router_on(inner, "r", "0a:00:00:00:ff:01", &["10.0.0.1/24"]);
        bed.router_port_on(outer, "r", "0a:00:00:00:ff:02", &["172.16.0.1/24"]);
        let chassis = |bed: &mut Bed, name: &str| {
            bed.insert_sb(sb::Chassis {
                name: name.into(),
                ..Default::default()
            })
        };
        let [h1, h2] = ["h1", "h2"].map(|name| chassis(&mut bed, name));
        for (switch, name, here) in [(inner, "a", h1), (far, "b", h2)] {
            bed.port(switch, name, |port| port.addresses = set(["unknown"]));
            bed.insert_sb(sb::PortBinding {
                logical_port: name.into(),
                chassis: Some(here),
                ..Default::default()
            });
        }
        bed.gateway_chassis("r-out", &["h1", "nowhere"]);
        let group = |bed: &mut Bed| {
            let wanted = bed.wanted().into_iter().find_map(|output| match output {
                Output::HaGroup(group) => Some(group),
                _ => None,
            });
            wanted.unwrap()
        };
        assert_eq!(group(&mut bed).referring, Set::from_iter([h1]));
        assert!(bed.diagnostics().contains("no chassis \"nowhere\""));
        bed.router_port_on(far, "r", "0a:00:00:00:ff:03", &["10.1.0.1/24"]);
        assert_eq!(group(&mut bed).referring, Set::from_iter([h1, h2]));
        bed.gateway_chassis("r-out", &["h1"]);
        assert_eq!(group(&mut bed).referring, Set::default());
    }
}
