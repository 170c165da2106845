//! Load balancers that work on the chassis of their backends (`options:distributed`).
//!
//! Guarantees: on a router a connection goes to a backend on the chassis that it entered by, and its replies leave from
//! there; a chassis without backends drops it. The distributed gateway ports of such a router take packets, and answer
//! questions for their addresses, on the chassis of the backends as well as on their own: the network outside is one link per
//! chassis, over which it spreads the connections (routes to the virtual address with several next hops). All else that is
//! routed to a gateway port still passes its own chassis. Switches balance as ever, over all backends.
//!
//! Where a backend is, `ip_port_mappings` says; one that is not mapped is left out.

use std::collections::BTreeSet;

use weft_lang::action::{Endpoint, NatKind};
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::switch::comes_from;
use super::vip::{Balancer, Parsed, Vip, balancer};
use crate::index::ById;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Switch ports with backends of distributed load balancers, in order.
type Behind = BTreeSet<Str>;

/// Publishes [`Behind`] per distributed load balancer.
pub struct OfBalancer;

impl Feature for OfBalancer {
    const NAME: &'static str = "lb_distributed_ports";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[Parsed::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(lb) = balancer(cx, key.row()).filter(|lb| lb.distributed) {
            for group in cx.by_id(ById::GroupsOfLb, key.row()) {
                cx.demand(Marked::ID, Key::Row(*group));
            }
            cx.publish(lb.behind());
        }
    }
}

/// Of a load balancer group that has any: others need not go through their members, who are many.
pub struct Marked;

impl Feature for Marked {
    const NAME: &'static str = "lb_distributed_group";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, _: Key) {
        cx.publish(());
    }
}

/// Publishes [`Behind`] per load balancer group that has some.
pub struct OfGroup;

impl Feature for OfGroup {
    const NAME: &'static str = "lb_distributed_ports_of_group";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancerGroup)];
    const READS: &'static [&'static str] = &[OfBalancer::NAME, Marked::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if cx.value::<()>(Marked::ID, key).is_none() {
            return;
        }
        if let Some(group) = cx.load_balancer_group(key.row()) {
            publish(cx, &[(OfBalancer::ID, group.load_balancer())]);
        }
    }
}

/// Publishes [`Behind`] per router that has some.
pub struct OfRouter;

impl Feature for OfRouter {
    const NAME: &'static str = "lb_distributed_ports_of_router";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[OfBalancer::NAME, OfGroup::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(router) = cx.lr(key.row()) {
            let (own, groups) = (router.load_balancer(), router.load_balancer_group());
            publish(cx, &[(OfBalancer::ID, own), (OfGroup::ID, groups)]);
        }
    }
}

fn publish(cx: &Cx<'_>, lists: &[(weft_engine::KindId, &[Uuid])]) {
    let mut all = Behind::new();
    for (kind, rows) in lists {
        for row in *rows {
            if let Some(ports) = cx.value::<Behind>(*kind, Key::Row(*row)) {
                all.extend(ports.iter().cloned());
            }
        }
    }
    if !all.is_empty() {
        cx.publish(all);
    }
}

/// The ports on whose chassis the gateway ports of a router work besides their own. The reader lists [`OfRouter`] among its
/// `READS`.
pub fn also_at(cx: &Cx<'_>, router: Uuid) -> Vec<Str> {
    cx.value::<Behind>(OfRouter::ID, Key::Row(router))
        .map_or_else(Vec::new, |ports| ports.iter().cloned().collect())
}

/// Per load balancer: the way back of its connections.
pub struct Replies;

impl Feature for Replies {
    const NAME: &'static str = "lb_distributed_replies";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[Parsed::NAME, GroupPlaces::NAME, ListedPlaces::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()).filter(|lb| lb.distributed) else {
            return;
        };
        let Some(places) = places_of(cx, lb.uuid) else {
            return;
        };
        for vip in lb.vips.iter().filter(|vip| !vip.backends.is_empty()) {
            for (class, routers) in &places.routers {
                for gateway in &class.gateway_ports {
                    let back = || Expr::all([from_backends(vip), field::OUTPORT.eq(gateway)]);
                    let flow = |stage, priority, actions: Vec<Action>| {
                        cx.flow(routers, stage, priority, back(), actions, Some(lb.uuid));
                    };
                    flow(Stage::LrInGwRedirect, 100, vec![Action::NEXT]);
                    let undo = Action::CtNat(NatKind::Dnat, None);
                    let skip = lb
                        .skip_snat
                        .then(|| Action::set(field::FLAGS_SKIP_SNAT_FOR_LB, 1));
                    flow(
                        Stage::LrOutUndnat,
                        120,
                        skip.into_iter().chain([undo]).collect(),
                    );
                }
            }
        }
    }
}

/// What a backend sends from its port, on its chassis.
fn from_backends(vip: &Vip) -> Expr {
    let here = |behind: &Str| Expr::is_chassis_resident(behind.clone());
    let one = |endpoint: &Endpoint, behind| Expr::all([comes_from(vip, endpoint), here(behind)]);
    let backends = vip.backends.iter();
    let all = backends.filter_map(|b| Some(one(&b.endpoint, b.behind.as_ref()?)));
    Expr::all([vip.family(), Expr::any(all)])
}

/// `ct_lb_mark_local(backends=...)`
pub fn ct_lb_local(lb: &Balancer, vip: &Vip, active: &[Endpoint]) -> Action {
    let is_active = |endpoint: &Endpoint| active.contains(endpoint);
    let backends = vip.backends.iter().filter(|b| is_active(&b.endpoint));
    let backends = backends.filter_map(|b| Some((b.behind.clone()?, b.endpoint)));
    let fields = lb.hash_fields(vip.address.is_v6());
    Action::ct_lb_mark_local(backends, fields, None)
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::testing::{Bed, map};

    #[test]
    fn backends_of_the_chassis() {
        let mut bed = Bed::new();
        let (inside, outside) = (bed.switch("in"), bed.switch("out"));
        bed.port(outside, "ln", |port| port.type_ = "localnet".into());
        bed.port(inside, "b1", |_| ());
        bed.port(inside, "b2", |_| ());
        bed.router_on(inside, "r", "0a:00:00:00:00:01", &["10.0.0.254/24"]);
        bed.router_port_on(outside, "r", "0a:00:00:00:00:02", &["172.16.0.254/24"]);
        bed.gateway_chassis("r-out", &["h3"]);
        let lb = bed.insert(nb::LoadBalancer {
            name: "lb".into(),
            vips: map([("172.16.1.1:80", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80")]),
            protocol: Some("tcp".into()),
            options: map([
                ("distributed", "true"),
                ("neighbor_responder", "all"),
                ("affinity_timeout", "60"),
            ]),
            ip_port_mappings: map([("10.0.0.1", "b1:10.0.0.250"), ("10.0.0.2", "b2")]),
            ..nb::LoadBalancer::default()
        });
        bed.edit_router("r", |row| row.load_balancer = [lb].into_iter().collect());
        insta::assert_snapshot!(bed.all_flows("\"b1\""));
        assert!(
            bed.diagnostics()
                .contains("10.0.0.3 is not mapped to a port")
        );
    }
}
