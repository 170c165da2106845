//! Who answers ARP and neighbour solicitations for an outer address, and what Ethernet address it has for the router itself.

use std::net::IpAddr;

use weft_lang::action::NestedKind;
use weft_lang::{Action, Const, Expr, field, pred};

use super::super::gateway::ask;
use super::super::loopback;
use super::Writer;
use super::rule::Place;
use crate::address::solicited_node;
use crate::pipeline::{self, Stage};

pub(super) fn write(writer: &Writer<'_>) {
    let rule = writer.rule;
    let stage = Stage::LrInIpInput;
    // On inner ports, and on all ports of a gateway router: by whatever port it comes.
    writer.flow(
        stage,
        90,
        question(rule.external),
        answer(rule.external, None),
    );
    let Some(port) = rule.place.port() else {
        return;
    };
    let here = || Expr::all([writer.comes_in(), question(rule.external)]);
    let mac = match &rule.place {
        Place::Inner(_, mac, _) => Some(Const::from(*mac)),
        _ => None,
    };
    let resident = Expr::all([here(), rule.place.resident()]);
    writer.flow(stage, 92, resident, answer(rule.external, mac));
    writer.flow(stage, 91, here(), vec![Action::Drop]);
    // The router's own packets to the address.
    let next_hop = match rule.external {
        IpAddr::V4(_) => pipeline::NEXT_HOP_IP4,
        IpAddr::V6(_) => pipeline::NEXT_HOP_IP6,
    };
    let itself = Expr::all([writer.goes_out(), next_hop.field().eq(rule.external)]);
    let mac = match &rule.place {
        Place::Inner(_, mac, _) => *mac,
        _ => port.mac,
    };
    let resolved = vec![Action::set(field::ETH_DST, mac), Action::NEXT];
    writer.flow(Stage::LrInArpResolve, 100, itself, resolved);
    if let Place::Inner(_, mac, inner) = &rule.place {
        own_gateway(writer, *mac, inner);
    }
}

/// An inner port that is its own gateway: frames to its address outside, and its packets that need not go round by the
/// chassis of the gateway port.
fn own_gateway(writer: &Writer<'_>, mac: crate::address::Mac, inner: &str) {
    let rule = writer.rule;
    let Some(port) = rule.place.port() else {
        return;
    };
    let resident = || Expr::is_chassis_resident(inner);
    let mut admit = Vec::new();
    if let Some(mtu) = port.mtu_bytes {
        let bytes = mtu.saturating_add(super::super::admission::ETHERNET_BYTES);
        admit.push(Action::CheckPktLarger(
            pipeline::PACKET_LARGER.field(),
            bytes,
        ));
    }
    admit.push(super::super::set(pipeline::INPORT_MAC, port.mac));
    admit.push(Action::NEXT);
    let addressed = Expr::all([field::ETH_DST.eq(mac), writer.comes_in(), resident()]);
    writer.flow(Stage::LrInAdmission, 50, addressed, admit);
    let leaves = || Expr::all([rule.from_logical(), writer.goes_out(), resident()]);
    let source = match rule.external {
        IpAddr::V4(_) => pipeline::SOURCE_IP4,
        IpAddr::V6(_) => pipeline::SOURCE_IP6,
    };
    let stay = vec![
        Action::set(field::ETH_SRC, mac),
        Action::set(source.field(), rule.external),
        Action::NEXT,
    ];
    writer.flow(Stage::LrInGwRedirect, 100, leaves(), stay);
    if port.bridged {
        writer.flow(
            Stage::LrInArpResolve,
            90,
            leaves(),
            ask(rule.external.is_ipv6()),
        );
    }
}

fn question(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => Expr::all([field::ARP_OP.eq(1), field::ARP_TPA.eq(ip)]),
        IpAddr::V6(ip) => Expr::all([
            field::IP6_DST.one_of([ip, solicited_node(ip)]),
            pred::ND_NS,
            field::ND_TARGET.eq(ip),
        ]),
    }
}

/// `mac`: of the port that the question came by, unless given.
fn answer(ip: IpAddr, mac: Option<Const>) -> Vec<Action> {
    let write = |to| match &mac {
        Some(mac) => Action::set(to, mac.clone()),
        None => Action::Move(to, pipeline::INPORT_MAC.field()),
    };
    let back = [
        Action::Move(field::OUTPORT, field::INPORT),
        loopback(),
        Action::Output,
    ];
    match ip {
        IpAddr::V4(_) => [
            Action::Move(field::ETH_DST, field::ETH_SRC),
            write(field::ETH_SRC),
            Action::set(field::ARP_OP, 2),
            Action::Move(field::ARP_THA, field::ARP_SHA),
            write(field::ARP_SHA),
            Action::Exchange(field::ARP_TPA, field::ARP_SPA),
        ]
        .into_iter()
        .chain(back)
        .collect(),
        IpAddr::V6(_) => {
            let head = [
                write(field::ETH_SRC),
                Action::Move(field::IP6_SRC, field::ND_TARGET),
                write(field::ND_TLL),
            ];
            vec![Action::nested(
                NestedKind::NdNa,
                head.into_iter().chain(back),
            )]
        }
    }
}
