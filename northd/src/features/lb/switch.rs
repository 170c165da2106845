//! Load balancers on switches.
//!
//! Guarantees: a new connection to a virtual address goes to one of its backends that are not known to be offline; to the
//! one that its client had last, if clients are bound; if there is none it is refused, with an answer where `reject` says
//! so. Later stages see the backend's address; the virtual one is in registers.

use weft_lang::action::{Action as A, CallName, Endpoint, NestedKind, Proto};
use weft_lang::{Action, Expr, Field, field, pred};
use weft_schemas::nb;

use super::health::active;
use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::router::{commit_affinity, event, events_of_all};
use super::set;
use super::vip::{Backend, Balancer, Parsed, Vip, balancer};
use crate::output::DpSet;
use crate::pipeline::{self as p, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Switches;

impl Feature for Switches {
    const NAME: &'static str = "lb_switch";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[
        Parsed::NAME,
        GroupPlaces::NAME,
        ListedPlaces::NAME,
        super::template::Variables::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()) else {
            return;
        };
        let Some(switches) = places_of(cx, lb.uuid).map(|p| p.switches.clone()) else {
            return;
        };
        if switches.is_empty() {
            return;
        }
        for vip in &lb.vips {
            let writer = Writer {
                cx,
                lb: &lb,
                vip,
                switches: &switches,
            };
            writer.track();
            writer.balance();
            if let Some(timeout) = lb.affinity {
                writer.affinity(timeout);
            }
        }
    }
}

struct Writer<'a> {
    cx: &'a Cx<'a>,
    lb: &'a Balancer,
    vip: &'a Vip,
    switches: &'a DpSet,
}

impl Writer<'_> {
    fn flow(&self, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        self.cx.flow(
            self.switches,
            stage,
            priority,
            match_,
            actions,
            Some(self.lb.uuid),
        );
    }

    /// The register of the virtual address.
    fn original(&self) -> Field {
        match self.vip.address.is_v6() {
            true => p::LB_ORIGINAL_IP6.field(),
            false => p::LB_ORIGINAL_IP4.field(),
        }
    }

    /// Remembers the virtual address and looks whether the connection is known.
    fn track(&self) {
        let vip = self.vip;
        let match_ = Expr::all([
            p::CT_NAT.field().eq(1),
            vip.is_destination(),
            vip.is_destination_port(),
        ]);
        let mut actions = vec![Action::set(self.original(), &vip.address)];
        actions.extend(vip.port.as_ref().map(|port| set(p::LB_ORIGINAL_PORT, port)));
        actions.push(Action::ct_lb_mark(Vec::new(), None, None));
        self.flow(Stage::LsInPreStateful, 120, match_, actions);
        if vip.is_empty() && (self.lb.event || !self.lb.reject && events_of_all(self.cx)) {
            let match_ = Expr::all([
                vip.is_destination(),
                vip.is_protocol(),
                vip.is_destination_port(),
            ]);
            self.flow(
                Stage::LsInPreLb,
                130,
                match_,
                vec![event(self.cx, self.lb, vip)],
            );
        }
    }

    /// What becomes of new connections.
    fn balance(&self) {
        let vip = self.vip;
        let match_ = Expr::all([
            pred::CT_NEW,
            vip.is_destination(),
            vip.is_destination_port(),
        ]);
        let priority = if vip.port.is_some() { 120 } else { 110 };
        let active = active(self.cx, vip);
        let actions = if !active.is_empty() || !vip.templates.is_empty() {
            let mut balance = vec![set(p::CT_COMMIT, 0)];
            balance.push(ct_lb(self.lb, vip, active));
            balance
        } else if self.lb.reject {
            let back = Stage::LsOutQosMark;
            let inner = [
                Action::Exchange(field::OUTPORT, field::INPORT),
                Action::NextIn(weft_lang::Pipeline::Egress, back.table()),
            ];
            vec![
                Action::set(field::REG0, 0),
                Action::nested(NestedKind::Reject, inner),
            ]
        } else {
            vec![Action::Drop]
        };
        self.flow(Stage::LsInLb, priority, match_, actions);
    }

    /// Binds clients to backends for a while.
    fn affinity(&self, timeout: u16) {
        let vip = self.vip;
        let port = vip
            .port
            .as_ref()
            .map(|port| p::LB_ORIGINAL_PORT.field().eq(port));
        let ours = |port: Option<Expr>| {
            let original = self.original().eq(&vip.address);
            Expr::all([
                pred::CT_NEW,
                vip.family(),
                original,
                port.unwrap_or(Expr::TRUE),
            ])
        };
        let known = p::LB_SESSION_KNOWN.field();
        let check = vec![
            Action::call_into(known, CallName::ChkLbAff, []),
            Action::NEXT,
        ];
        self.flow(Stage::LsInLbAffCheck, 100, ours(port.clone()), check);
        for Backend { endpoint, .. } in active_backends(self.cx, vip) {
            let chosen = if vip.address.is_v6() {
                field::XXREG0
            } else {
                field::REG4
            };
            // The IPv6 address of the backend overlays the virtual port.
            let port_known = port.clone().filter(|_| !vip.address.is_v6());
            let bound = is_bound_to(chosen, endpoint);
            let match_ = Expr::all([known.eq(1), ours(port_known), bound]);
            // It overlays bits as well that would mean something further on.
            let clear = if vip.address.is_v6() {
                Action::set(field::REG0, 0)
            } else {
                set(p::CT_COMMIT, 0)
            };
            let actions = vec![clear, Action::ct_lb_mark(vec![*endpoint], None, None)];
            self.flow(Stage::LsInLb, 150, match_, actions);
            let match_ = Expr::all([known.eq(0), ours(port.clone()), goes_to(vip, endpoint)]);
            if let Some(commit) = commit_affinity(vip, endpoint, timeout) {
                self.flow(
                    Stage::LsInLbAffLearn,
                    100,
                    match_,
                    vec![commit, Action::NEXT],
                );
            }
        }
    }
}

/// Those that are not known to be offline.
pub fn active_backends<'a>(cx: &'a Cx<'_>, vip: &'a Vip) -> impl Iterator<Item = &'a Backend> {
    vip.backends
        .iter()
        .filter(|backend| super::health::is_active(cx, vip, backend))
}

/// What `chk_lb_aff` has found.
pub fn is_bound_to(chosen: Field, endpoint: &Endpoint) -> Expr {
    let port = endpoint.port.map(|port| field::REG8.bits(0..=15).eq(port));
    Expr::all([chosen.eq(endpoint.ip), port.unwrap_or(Expr::TRUE)])
}

/// Packets that have been translated to the backend.
pub fn goes_to(vip: &Vip, endpoint: &Endpoint) -> Expr {
    let port = vip.proto.zip(endpoint.port);
    let port = port.map(|(proto, port): (Proto, u16)| super::vip::port_fields(proto).1.eq(port));
    Expr::all([vip.ip_dst().eq(endpoint.ip), port.unwrap_or(Expr::TRUE)])
}

/// Packets that come from the backend's port.
pub fn comes_from(vip: &Vip, endpoint: &Endpoint) -> Expr {
    let port = vip.proto.zip(endpoint.port);
    let port = port.map(|(proto, port): (Proto, u16)| super::vip::port_fields(proto).0.eq(port));
    Expr::all([vip.ip_src().eq(endpoint.ip), port.unwrap_or(Expr::TRUE)])
}

/// `ct_lb_mark(backends=...)`
pub fn ct_lb(lb: &Balancer, vip: &Vip, active: Vec<Endpoint>) -> Action {
    let fields = lb.hash_fields(vip.address.is_v6());
    match Action::ct_lb_mark(active, fields, None) {
        A::CtLb(mut lb) => {
            lb.templates.clone_from(&vip.templates);
            A::CtLb(lb)
        }
        other => other,
    }
}
