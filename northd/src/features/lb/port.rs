//! What load balancing says about single ports.
//!
//! Guarantees: switch ports to routers and to physical networks are not tracked on the way in or out, for the hosts behind
//! them are tracked where they are. With `lb_force_snat_ip=router_ip`, what a gateway router has balanced leaves with the
//! address of the port it leaves by.

use weft_lang::action::NatKind;
use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::place::{self, ForceSnat, router};
use crate::features::acl::state::{SwitchAcls, needs};
use crate::features::router::port;
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port.
pub struct SwitchPorts;

impl Feature for SwitchPorts {
    const NAME: &'static str = "lb_exempt_port";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Uplink)];
    const READS: &'static [&'static str] = &[SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = cx.lsp(key.row()) else {
            return;
        };
        let kind = PortType::parse(port.type_());
        if !matches!(kind, PortType::Router | PortType::Localnet) {
            return;
        }
        let Some(switch) = cx
            .switch_of(key.row())
            .filter(|switch| needs(cx, *switch).balanced)
        else {
            return;
        };
        let flow = |stage, match_: Expr, actions: Vec<Action>| {
            let match_ = Expr::all([pred::IP, match_]);
            cx.flow(switch, stage, 110, match_, actions, Some(key.row()));
        };
        flow(
            Stage::LsInPreLb,
            field::INPORT.eq(port.name()),
            vec![Action::NEXT],
        );
        // What the sender's connection is called means nothing beyond the switch.
        let out = match kind {
            PortType::Router => vec![Action::CtClear, Action::NEXT],
            _ => vec![Action::NEXT],
        };
        flow(Stage::LsOutPreLb, field::OUTPORT.eq(port.name()), out);
    }
}

/// Per router port.
pub struct RouterPorts;

impl Feature for RouterPorts {
    const NAME: &'static str = "lb_force_snat_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME, place::Routers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let own =
            router(cx, port.router).is_some_and(|r| r.force_snat == Some(ForceSnat::OwnAddress));
        if !own {
            return;
        }
        let flow = |stage, match_: Expr, action: Action| {
            port.flow(cx, stage, 110, match_, [action]);
        };
        let arrives = |mine: Expr| Expr::all([field::INPORT.eq(&port.name), mine]);
        let leaves = |family| {
            Expr::all([
                field::FLAGS_FORCE_SNAT_FOR_LB.eq(1),
                family,
                field::OUTPORT.eq(&port.name),
            ])
        };
        if let Some(net) = port.v4.first() {
            let back = arrives(field::IP4_DST.eq(net.addr()));
            flow(Stage::LrInUnsnat, back, Action::CtNat(NatKind::Snat, None));
            flow(
                Stage::LrOutSnat,
                leaves(pred::IP4),
                Action::nat_to(NatKind::Snat, net.addr()),
            );
        }
        if let Some(net) = port.v6.first() {
            let back = arrives(field::IP6_DST.eq(net.addr()));
            flow(Stage::LrInUnsnat, back, Action::CtNat(NatKind::Snat, None));
            flow(
                Stage::LrOutSnat,
                leaves(pred::IP6),
                Action::nat_to(NatKind::Snat, net.addr()),
            );
        }
    }
}
