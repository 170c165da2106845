//! Load balancers on routers.
//!
//! Guarantees: as on switches, on gateway routers and on routers with distributed gateway ports; with these, on the chassis
//! of such a port only, where both directions of a connection pass ([`super::distributed`] balances elsewhere). The source is translated as `lb_force_snat_ip` of
//! the router and `skip_snat` of the load balancer say, for the whole life of a connection.

use std::collections::BTreeSet;

use weft_lang::action::{
    Action as A, CallName, Endpoint, LbFlag, NatKind, NestedKind, TriggerEvent,
};
use weft_lang::{Action, Expr, Field, field, pred};
use weft_schemas::nb;

use super::distributed::ct_lb_local;
use super::health::active;
use super::place::{Class, GroupPlaces, ListedPlaces, places_of, resident};
use super::switch::{active_backends, comes_from, ct_lb, goes_to, is_bound_to};
use super::vip::{Address, Balancer, Parsed, Port, Vip, balancer, port_fields};
use crate::features::router::Ip;
use crate::index::ByName;
use crate::output::DpSet;
use crate::pipeline::{self as p, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Routers;

impl Feature for Routers {
    const NAME: &'static str = "lb_router";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[
        Parsed::NAME,
        GroupPlaces::NAME,
        ListedPlaces::NAME,
        // Where some are protected by meters it matters who is in a group.
        super::place::Routers::NAME,
        super::template::Variables::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()) else {
            return;
        };
        let Some(places) = places_of(cx, lb.uuid).filter(|places| !places.routers.is_empty())
        else {
            return;
        };
        let addresses: BTreeSet<&Address> = lb.vips.iter().map(|vip| &vip.address).collect();
        for address in addresses {
            let dst = if address.is_v6() {
                field::IP6_DST
            } else {
                field::IP4_DST
            };
            let match_ = Expr::all([pred::IP, dst.eq(address)]);
            let track = [Action::CtNat(NatKind::Dnat, None)];
            cx.flow(
                &places.all_routers,
                Stage::LrInDefrag,
                100,
                match_,
                track,
                Some(lb.uuid),
            );
        }
        for vip in &lb.vips {
            let writer = Writer { cx, lb: &lb, vip };
            writer.check_affinity(&places.all_routers);
            for (class, routers) in &places.routers {
                writer.balance(class, routers);
                writer.replies(class, routers);
            }
        }
    }
}

struct Writer<'a> {
    cx: &'a Cx<'a>,
    lb: &'a Balancer,
    vip: &'a Vip,
}

impl Writer<'_> {
    fn flow(&self, dps: &DpSet, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        self.cx
            .flow(dps, stage, priority, match_, actions, Some(self.lb.uuid));
    }

    /// New connections to the virtual address.
    fn ours(&self) -> Expr {
        let vip = self.vip;
        Expr::all([
            pred::CT_NEW,
            !pred::CT_REL,
            vip.family(),
            vip.is_destination(),
            vip.is_protocol(),
            vip.is_destination_port(),
        ])
    }

    /// How the source is translated: what the connection and what the packet remembers.
    fn snat(&self, class: &Class) -> Option<(LbFlag, Action)> {
        if self.lb.skip_snat {
            Some((
                LbFlag::SkipSnat,
                Action::set(field::FLAGS_SKIP_SNAT_FOR_LB, 1),
            ))
        } else if class.force_snat {
            Some((
                LbFlag::ForceSnat,
                Action::set(field::FLAGS_FORCE_SNAT_FOR_LB, 1),
            ))
        } else {
            None
        }
    }

    fn with_snat(&self, class: &Class, balance: Action) -> Vec<Action> {
        let snat = self.snat(class);
        let balance = match balance {
            A::CtLb(lb) => A::CtLb(weft_lang::action::Lb {
                flag: snat.as_ref().map(|(flag, _)| *flag),
                ..lb
            }),
            other => other,
        };
        snat.into_iter()
            .map(|(_, flag)| flag)
            .chain([balance])
            .collect()
    }

    /// Where connections are balanced.
    fn here(&self, class: &Class) -> Expr {
        match self.lb.distributed {
            true => Expr::TRUE,
            false => class.is_resident(),
        }
    }

    fn balance(&self, class: &Class, routers: &DpSet) {
        let vip = self.vip;
        let stage = Stage::LrInDnat;
        if vip.is_empty() && (self.lb.event || !self.lb.reject && events_of_all(self.cx)) {
            let match_ = Expr::all([
                vip.is_destination(),
                vip.is_protocol(),
                vip.is_destination_port(),
            ]);
            self.flow(
                routers,
                stage,
                130,
                match_,
                vec![event(self.cx, self.lb, vip)],
            );
        }
        let match_ = Expr::all([self.ours(), self.here(class)]);
        let priority = if vip.port.is_some() { 120 } else { 110 };
        let active = active(self.cx, vip);
        let actions = if !active.is_empty() || !vip.templates.is_empty() {
            let balance = match self.lb.distributed {
                true => ct_lb_local(self.lb, vip, &active),
                false => ct_lb(self.lb, vip, active),
            };
            self.with_snat(class, balance)
        } else if self.lb.reject {
            let inner = [
                Action::Exchange(field::OUTPORT, field::INPORT),
                Action::NextIn(weft_lang::Pipeline::Egress, Stage::LrOutSnat.table()),
            ];
            vec![
                Action::set(field::REG0, 0),
                Action::nested(NestedKind::Reject, inner),
            ]
        } else {
            vec![Action::Drop]
        };
        self.flow(routers, stage, priority, match_, actions);
        if let Some(timeout) = self.lb.affinity {
            self.affinity(class, routers, timeout);
        }
    }

    /// The registers of the virtual address and port.
    fn original(&self) -> (Field, Field) {
        let address = match self.vip.address.is_v6() {
            true => p::LB_ORIGINAL_IP6_ROUTER.field(),
            false => p::LB_ORIGINAL_IP4_ROUTER.field(),
        };
        (address, p::LB_ORIGINAL_PORT_ROUTER.field())
    }

    fn check_affinity(&self, routers: &DpSet) {
        if self.lb.affinity.is_none() {
            return;
        }
        let (address, port) = self.original();
        let mut actions = vec![Action::Move(address, self.vip.ip_dst())];
        actions.extend(
            self.vip
                .proto
                .map(|proto| Action::Move(port, port_fields(proto).1)),
        );
        actions.push(Action::call_into(
            p::LB_SESSION_KNOWN.field(),
            CallName::ChkLbAff,
            [],
        ));
        actions.push(Action::NEXT);
        self.flow(routers, Stage::LrInLbAffCheck, 100, self.ours(), actions);
    }

    fn affinity(&self, class: &Class, routers: &DpSet, timeout: u16) {
        let vip = self.vip;
        let known = p::LB_SESSION_KNOWN.field();
        let (address, port) = self.original();
        let port = vip.port.as_ref().map(|number| port.eq(number));
        let ours = || {
            let port = port.clone().unwrap_or(Expr::TRUE);
            Expr::all([pred::CT_NEW, vip.family(), address.eq(&vip.address), port])
        };
        for backend in active_backends(self.cx, vip) {
            let endpoint = &backend.endpoint;
            let chosen = if vip.address.is_v6() {
                field::XXREG1
            } else {
                field::REG4
            };
            let match_ = Expr::all([
                known.eq(1),
                ours(),
                is_bound_to(chosen, endpoint),
                match &backend.behind {
                    Some(port) => Expr::is_chassis_resident(port.clone()),
                    None => class.is_resident(),
                },
            ]);
            let balance = Action::ct_lb_mark(vec![*endpoint], None, None);
            self.flow(
                routers,
                Stage::LrInDnat,
                150,
                match_,
                self.with_snat(class, balance),
            );
            let match_ = Expr::all([known.eq(0), ours(), goes_to(vip, endpoint)]);
            if let Some(commit) = commit_affinity(vip, endpoint, timeout) {
                self.flow(
                    routers,
                    Stage::LrInLbAffLearn,
                    100,
                    match_,
                    vec![commit, Action::NEXT],
                );
            }
        }
    }

    /// Replies on their way out by a distributed gateway port; a gateway router looks at every packet anyway.
    fn replies(&self, class: &Class, routers: &DpSet) {
        let vip = self.vip;
        if vip.backends.is_empty() || self.lb.distributed {
            return;
        }
        if let (true, [_, _, ..], Address::Ip(ip)) =
            (self.lb.stateless, &class.gateway_ports[..], &vip.address)
        {
            return self.rewritten(class, routers, *ip);
        }
        for port in &class.gateway_ports {
            let from = from_backends(vip);
            let match_ = Expr::all([vip.family(), from, field::OUTPORT.eq(port), resident(port)]);
            let mut actions: Vec<Action> =
                self.snat(class).map(|(_, flag)| flag).into_iter().collect();
            actions.push(Action::CtNat(NatKind::Dnat, None));
            self.flow(routers, Stage::LrOutUndnat, 120, match_, actions);
        }
    }

    /// With `use_stateless_nat` replies may leave by another gateway port, on another chassis, than the requests came by: what
    /// a backend sends from its port gets the virtual address there without a connection.
    fn rewritten(&self, class: &Class, routers: &DpSet, ip: std::net::IpAddr) {
        let vip = self.vip;
        let port = match (vip.proto, &vip.port) {
            (Some(proto), Some(Port::Number(port))) => Some((port_fields(proto).0, *port)),
            _ => None,
        };
        for gateway in &class.gateway_ports {
            let from = from_backends(vip);
            let match_ = Expr::all([
                vip.family(),
                from,
                field::OUTPORT.eq(gateway),
                resident(gateway),
            ]);
            let mut actions: Vec<Action> =
                self.snat(class).map(|(_, flag)| flag).into_iter().collect();
            actions.push(Action::set(vip.ip_src(), ip));
            actions.extend(port.map(|(field, port)| Action::set(field, u64::from(port))));
            actions.push(Action::NEXT);
            self.flow(routers, Stage::LrOutUndnat, 120, match_, actions);
        }
    }
}

/// What any backend sends from its port.
fn from_backends(vip: &Vip) -> Expr {
    let backends = vip.backends.iter();
    Expr::any(backends.map(|backend| comes_from(vip, &backend.endpoint)))
}

/// `NB_Global.options:controller_event`: events of every load balancer without backends.
pub fn events_of_all(cx: &Cx<'_>) -> bool {
    cx.value::<super::template::Globals>(super::template::Variables::ID, Key::Global)
        .is_some_and(|globals| globals.events)
}

/// `trigger_event(...)` for a virtual address without backends.
pub fn event(cx: &Cx<'_>, lb: &Balancer, vip: &Vip) -> Action {
    let meter = "event-elb";
    let protocol = vip.proto.map_or("tcp", weft_lang::action::Proto::name);
    let options = [
        ("vip", &*vip.text),
        ("protocol", protocol),
        ("load_balancer", &lb.uuid.to_string()),
    ];
    A::TriggerEvent(TriggerEvent {
        event: "empty_lb_backends".into(),
        meter: (!cx.by_name(ByName::Meter, meter).is_empty()).then(|| meter.into()),
        options: options
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    })
}

/// `commit_lb_aff(...)`
pub fn commit_affinity(vip: &Vip, backend: &Endpoint, timeout: u16) -> Option<Action> {
    let Address::Ip(ip) = vip.address else {
        return None;
    };
    let port = match &vip.port {
        None => None,
        Some(Port::Number(port)) => Some(*port),
        Some(Port::Template(_)) => return None,
    };
    Some(A::CommitLbAff {
        vip: Endpoint { ip, port },
        backend: *backend,
        proto: vip.proto,
        timeout,
    })
}

/// The address as router features have it.
pub fn ip_of(address: &Address) -> Option<Ip> {
    match address {
        Address::Ip(std::net::IpAddr::V4(ip)) => Some(Ip::V4(*ip)),
        Address::Ip(std::net::IpAddr::V6(ip)) => Some(Ip::V6(*ip)),
        Address::Template { .. } => None,
    }
}
