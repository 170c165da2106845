//! Answers of routers to questions for virtual addresses.
//!
//! Guarantees: as `options:neighbor_responder` says; by default a router answers for the virtual addresses that are in one of
//! its networks. On a distributed gateway port only its chassis answers; for distributed load balancers those with backends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::place::{
    GroupPlaces, ListedPlaces, Places, Router, Routers, is_on, places_of, resident, router,
};
use super::vip::{self, Address, Balancer, Parsed, balancer};
use crate::features::router::near::{PrefixLengths, ports_near};
use crate::output::DpSet;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Responder;

impl Feature for Responder {
    const NAME: &'static str = "lb_responder";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[
        Parsed::NAME,
        GroupPlaces::NAME,
        ListedPlaces::NAME,
        Routers::NAME,
        PrefixLengths::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()) else {
            return;
        };
        if lb.responder == vip::Responder::Nobody {
            return;
        }
        let Some(places) = places_of(cx, lb.uuid) else {
            return;
        };
        let addresses: BTreeSet<&Address> = lb.vips.iter().map(|vip| &vip.address).collect();
        for address in addresses {
            match (lb.responder, address) {
                (vip::Responder::Reachable, Address::Ip(ip)) => reachable(cx, &lb, *ip),
                _ => everywhere(cx, &lb, &places, address),
            }
        }
    }
}

/// The routers answer that have the address in one of their networks.
fn reachable(cx: &Cx<'_>, lb: &Balancer, ip: IpAddr) {
    let routers: BTreeSet<Uuid> = ports_near(cx, ip)
        .into_iter()
        .filter_map(|port| cx.router_of(port))
        .filter(|router| is_on(cx, lb.uuid, *router))
        .collect();
    let address = Address::Ip(ip);
    let mut alike = Vec::new();
    for uuid in routers {
        let is_near = |router: &Arc<Router>| router.networks.iter().any(|net| net.contains(&ip));
        let Some(router) = router(cx, uuid).filter(is_near) else {
            continue;
        };
        if router.class.gateway_ports.is_empty() {
            alike.push(uuid);
        } else {
            by_port(cx, lb, &address, uuid);
        }
    }
    answer(cx, lb, &address, &DpSet::new(alike));
}

/// All routers answer.
fn everywhere(cx: &Cx<'_>, lb: &Balancer, places: &Places, address: &Address) {
    for (class, routers) in &places.routers {
        if class.gateway_ports.is_empty() {
            answer(cx, lb, address, routers);
        } else {
            for router in routers.as_slice() {
                by_port(cx, lb, address, *router);
            }
        }
    }
}

fn answer(cx: &Cx<'_>, lb: &Balancer, address: &Address, routers: &DpSet) {
    let (match_, actions) = (question(address), reply(address));
    cx.flow(
        routers,
        Stage::LrInIpInput,
        90,
        match_,
        actions,
        Some(lb.uuid),
    );
}

/// A router with distributed gateway ports answers there on their chassis, or where backends are.
fn by_port(cx: &Cx<'_>, lb: &Balancer, address: &Address, uuid: Uuid) {
    let Some(router) = router(cx, uuid) else {
        return;
    };
    let backend_here = || Expr::any(lb.behind().into_iter().map(Expr::is_chassis_resident));
    for port in &router.ports {
        let here = match router.class.gateway_ports.contains(port) {
            true if lb.distributed => backend_here(),
            true => resident(port),
            false => Expr::TRUE,
        };
        let match_ = Expr::all([field::INPORT.eq(port), question(address), here]);
        cx.flow(
            uuid,
            Stage::LrInIpInput,
            90,
            match_,
            reply(address),
            Some(lb.uuid),
        );
    }
}

fn question(address: &Address) -> Expr {
    match address.is_v6() {
        false => Expr::all([field::ARP_OP.eq(1), field::ARP_TPA.eq(address)]),
        true => Expr::all([pred::ND_NS, field::ND_TARGET.eq(address)]),
    }
}

fn reply(address: &Address) -> Vec<Action> {
    let mac = pipeline::INPORT_MAC.field();
    let back = [
        Action::Move(field::OUTPORT, field::INPORT),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Output,
    ];
    if address.is_v6() {
        let head = [
            Action::Move(field::ETH_SRC, mac),
            Action::Move(field::IP6_SRC, field::ND_TARGET),
            Action::Move(field::ND_TLL, mac),
        ];
        return vec![Action::nested(
            NestedKind::NdNa,
            head.into_iter().chain(back),
        )];
    }
    let head = [
        Action::Move(field::ETH_DST, field::ETH_SRC),
        Action::Move(field::ETH_SRC, mac),
        Action::set(field::ARP_OP, 2),
        Action::Move(field::ARP_THA, field::ARP_SHA),
        Action::Move(field::ARP_SHA, mac),
        Action::Exchange(field::ARP_TPA, field::ARP_SPA),
    ];
    head.into_iter().chain(back).collect()
}
