//! Packets for the router itself, and packets that it must not route.
//!
//! Guarantees, per router port: it answers ARP and neighbour solicitations for its addresses to its own links, and echo
//! requests from anywhere; what else is sent to its addresses is refused (TCP reset, SCTP abort, ICMP unreachable; RFC 1812,
//! 4.3.3; RFC 4443, 3.1) and never routed; packets that claim one of its addresses as their source are dropped; a packet
//! whose time to live has run out is answered from the port it came in by (RFC 1812, 4.3.2.4; RFC 4443, 3.3), fragments
//! other than the first and multicast excepted. A gateway router leaves the refusals out, since its addresses may be translated ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, Field, field, pred};
use weft_schemas::nb;

use super::port::{self, RouterPort};
use super::{SWAP_ETH, gateway, loopback, nat, not_looped};
use crate::address::solicited_node;
use crate::features::lb::{distributed, place as balanced};
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// Per router port.
pub struct IpInput;

impl Feature for IpInput {
    const NAME: &'static str = "router_ip_input";
    const PER: &'static [Per] = &[
        Per::Nb(nb::TableId::LogicalRouterPort),
        Per::Nb(nb::TableId::LogicalRouter),
    ];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        balanced::Routers::NAME,
        gateway::GatewayPorts::NAME,
        distributed::OfRouter::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(router) = port::router(cx, key.row()) {
            // Where multicast is relayed it goes on to routing, else it ends here.
            let action = if router.relays_multicast {
                Action::NEXT
            } else {
                Action::Drop
            };
            let multicast = Expr::any([pred::IP4_MCAST, pred::IP6_MCAST]);
            cx.flow(
                key.row(),
                Stage::LrInIpInput,
                82,
                multicast,
                vec![action],
                None,
            );
            return;
        }
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        let Some(router) = port::router(cx, port.router) else {
            return;
        };
        let flow = |priority, match_: Expr, actions: Vec<Action>| {
            port.flow(cx, Stage::LrInIpInput, priority, match_, actions);
        };
        own_source(&port, &flow);
        answer_neighbors(&port, &gateway::answers_at(cx, &port), &flow);
        echo(&port, &flow);
        // What is meant for a load balancer at an address of the router, or a reply to what it has translated, goes on.
        let balanced = balanced::router(cx, port.router);
        let translated = |ip: IpAddr| nat::is_source(cx, port.router, ip);
        let own = |ip: IpAddr| {
            balanced.as_ref().is_none_or(|router| !router.shares(ip)) && !translated(ip)
        };
        if !router.is_gateway && gateway::gateways(cx, port.router).is_empty() {
            refuse_v4(&port, &own, &flow);
            refuse_v6(&port, &own, &flow);
        }
        own_destination(&port, &own, &flow);
        nat::own_sources(cx, &port, &translated);
        time_exceeded(&port, &flow);
    }
}

/// How a feature writes a flow of this stage: priority, match, actions.
type Flow<'a> = &'a dyn Fn(u16, Expr, Vec<Action>);

fn own_source(port: &RouterPort, flow: Flow<'_>) {
    let own = port.v4.iter().flat_map(|net| {
        // RFC 3021: networks of 31 and 32 bits have no broadcast address.
        let broadcast = (net.prefix_len() < 31).then(|| net.broadcast());
        [Some(net.addr()), broadcast].into_iter().flatten()
    });
    let own: Vec<Ipv4Addr> = own.collect();
    if !own.is_empty() {
        flow(
            100,
            Expr::all([field::IP4_SRC.one_of(own), not_looped()]),
            vec![Action::Drop],
        );
    }
}

fn own_destination(port: &RouterPort, own: &dyn Fn(IpAddr) -> bool, flow: Flow<'_>) {
    let v4 = port.v4.iter().map(|net| net.addr());
    let v4: Vec<Ipv4Addr> = v4.filter(|ip| own((*ip).into())).collect();
    if !v4.is_empty() {
        flow(60, field::IP4_DST.one_of(v4), vec![Action::Drop]);
    }
    let v6: Vec<Ipv6Addr> = port.addresses_v6().filter(|ip| own((*ip).into())).collect();
    if !v6.is_empty() {
        flow(60, field::IP6_DST.one_of(v6), vec![Action::Drop]);
    }
}

fn answer_neighbors(port: &RouterPort, at: &gateway::Residence, flow: Flow<'_>) {
    let resident = || at.here();
    let here = || field::INPORT.eq(&port.name);
    let mac = pipeline::INPORT_MAC.field();
    for net in &port.v4 {
        let request = Expr::all([
            here(),
            field::ARP_OP.eq(1),
            field::ARP_TPA.eq(net.addr()),
            field::ARP_SPA.within(net.trunc()),
            resident(),
        ]);
        let reply = vec![
            Action::Move(field::ETH_DST, field::ETH_SRC),
            Action::Move(field::ETH_SRC, mac),
            Action::set(field::ARP_OP, 2),
            Action::Move(field::ARP_THA, field::ARP_SHA),
            Action::Move(field::ARP_SHA, mac),
            Action::Exchange(field::ARP_TPA, field::ARP_SPA),
            Action::Move(field::OUTPORT, field::INPORT),
            loopback(),
            Action::Output,
        ];
        flow(90, request, reply);
    }
    for address in port.addresses_v6() {
        let solicitation = Expr::all([
            here(),
            field::IP6_DST.one_of([address, solicited_node(address)]),
            pred::ND_NS,
            field::ND_TARGET.eq(address),
            resident(),
        ]);
        let advertisement = Action::nested(
            NestedKind::NdNaRouter,
            [
                Action::Move(field::ETH_SRC, mac),
                Action::Move(field::IP6_SRC, field::ND_TARGET),
                Action::Move(field::ND_TLL, mac),
                Action::Move(field::OUTPORT, field::INPORT),
                loopback(),
                Action::Output,
            ],
        );
        flow(90, solicitation, vec![advertisement]);
    }
}

fn echo(port: &RouterPort, flow: Flow<'_>) {
    if !port.v4.is_empty() {
        let request = Expr::all([
            field::IP4_DST.one_of(port.v4.iter().map(|net| net.addr())),
            field::ICMP4_TYPE.eq(8),
            field::ICMP4_CODE.eq(0),
        ]);
        let reply = vec![
            Action::Exchange(field::IP4_DST, field::IP4_SRC),
            Action::set(field::IP_TTL, 255),
            Action::set(field::ICMP4_TYPE, 0),
            loopback(),
            Action::NEXT,
        ];
        flow(90, request, reply);
    }
    let request = Expr::all([
        field::IP6_DST.one_of(port.addresses_v6()),
        field::ICMP6_TYPE.eq(128),
        field::ICMP6_CODE.eq(0),
    ]);
    let reply = vec![
        Action::Exchange(field::IP6_DST, field::IP6_SRC),
        Action::set(field::IP_TTL, 255),
        Action::set(field::ICMP6_TYPE, 129),
        loopback(),
        Action::NEXT,
    ];
    flow(90, request, reply);
}

/// What differs between the families when a packet for the router is refused.
struct Refusal {
    /// Packets to an address of the port, later fragments excepted.
    to_me: Expr,
    /// Source and destination, which the answer exchanges.
    addresses: (Field, Field),
    error: NestedKind,
    /// Type and code of an ICMP error.
    icmp: (Field, Field),
    unreachable: u8,
    port_code: u8,
    protocol_code: u8,
}

fn refuse_v4(port: &RouterPort, own: &dyn Fn(IpAddr) -> bool, flow: Flow<'_>) {
    let v4 = port.v4.iter().map(|net| net.addr());
    let v4: Vec<Ipv4Addr> = v4.filter(|ip| own((*ip).into())).collect();
    if v4.is_empty() {
        return;
    }
    let mine = field::IP4_DST.one_of(v4);
    let refusal = Refusal {
        to_me: Expr::all([pred::IP4, mine, !pred::IP_LATER_FRAG]),
        addresses: (field::IP4_DST, field::IP4_SRC),
        error: NestedKind::Icmp4,
        icmp: (field::ICMP4_TYPE, field::ICMP4_CODE),
        unreachable: 3,
        port_code: 3,
        protocol_code: 2,
    };
    refusal.write(flow);
}

fn refuse_v6(port: &RouterPort, own: &dyn Fn(IpAddr) -> bool, flow: Flow<'_>) {
    let mine = field::IP6_DST.one_of(port.addresses_v6().filter(|ip| own((*ip).into())));
    let refusal = Refusal {
        to_me: Expr::all([pred::IP6, mine, !pred::IP_LATER_FRAG]),
        addresses: (field::IP6_DST, field::IP6_SRC),
        error: NestedKind::Icmp6,
        icmp: (field::ICMP6_TYPE, field::ICMP6_CODE),
        unreachable: 1,
        port_code: 4,
        protocol_code: 3,
    };
    refusal.write(flow);
}

impl Refusal {
    fn write(self, flow: Flow<'_>) {
        let to_me = |protocol: Expr| Expr::all([self.to_me.clone(), protocol]);
        let answer = |kind, rest: Vec<Action>| {
            let back = [
                SWAP_ETH,
                Action::Exchange(self.addresses.0, self.addresses.1),
            ];
            vec![Action::nested(kind, back.into_iter().chain(rest))]
        };
        let unreachable = |code: u8| {
            let rest = vec![
                Action::set(field::IP_TTL, 255),
                Action::set(self.icmp.0, self.unreachable),
                Action::set(self.icmp.1, code),
                Action::NEXT,
            ];
            answer(self.error, rest)
        };
        let cut = |kind| answer(kind, vec![Action::NEXT]);
        flow(80, to_me(pred::TCP), cut(NestedKind::TcpReset));
        flow(80, to_me(pred::SCTP), cut(NestedKind::SctpAbort));
        flow(80, to_me(pred::UDP), unreachable(self.port_code));
        flow(70, self.to_me.clone(), unreachable(self.protocol_code));
    }
}

fn time_exceeded(port: &RouterPort, flow: Flow<'_>) {
    let expired = || {
        [
            field::INPORT.eq(&port.name),
            field::IP_TTL.one_of([0u8, 1]),
            !pred::IP_LATER_FRAG,
        ]
    };
    let out = || {
        [
            Action::set(field::IP_TTL, 254),
            Action::set(field::OUTPORT, &port.name),
            loopback(),
            Action::Output,
        ]
    };
    if let Some(net) = port.v4.first() {
        let head = [
            SWAP_ETH,
            Action::set(field::ICMP4_TYPE, 11),
            Action::set(field::ICMP4_CODE, 0),
            Action::Move(field::IP4_DST, field::IP4_SRC),
            Action::set(field::IP4_SRC, net.addr()),
        ];
        let answer = Action::nested(NestedKind::Icmp4, head.into_iter().chain(out()));
        flow(
            31,
            Expr::all(expired().into_iter().chain([pred::IP4])),
            vec![answer],
        );
    }
    for net in &port.v6 {
        let head = [
            SWAP_ETH,
            Action::Move(field::IP6_DST, field::IP6_SRC),
            Action::set(field::IP6_SRC, net.addr()),
            Action::set(field::ICMP6_TYPE, 3),
            Action::set(field::ICMP6_CODE, 0),
        ];
        let answer = Action::nested(NestedKind::Icmp6, head.into_iter().chain(out()));
        let from = field::IP6_SRC.within(net.trunc());
        flow(
            31,
            Expr::all(expired().into_iter().chain([pred::IP6, from])),
            vec![answer],
        );
    }
}
