//! DHCP relay: questions that clients of a router port send to everybody go to a server elsewhere, and its answers back to
//! them (`DHCP_Relay`).
//!
//! Guarantees: only questions that no other relay has passed on are relayed, and only answers of the server to the port's
//! address; what the chassis finds to be neither is dropped. Clients renew by unicast, which is routed like anything else.
//!
//! Only chassis can write what is in a message. A packet they have seen enters the same stage again, marked, so that no
//! stage exists for this alone.

use std::net::Ipv4Addr;

use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use crate::features::port_address::router_port;
use crate::features::router::port::{self, RouterPort};
use crate::pipeline::{DHCP_RELAY_OF, DHCP_RELAY_SEEN, DHCP_RELAYED, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// Port of clients (RFC 2131, 4.1).
const CLIENTS: u16 = 68;
/// Port of servers and relays.
const SERVERS: u16 = 67;
/// Above what a router does with packets from nowhere and packets to itself.
const UNSEEN: u16 = 110;
const SEEN: u16 = 111;

/// Per router port.
pub struct Relay;

impl Feature for Relay {
    const NAME: &'static str = "dhcp_relay";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some((relay, port)) = cx
            .lrp(key.row())
            .and_then(|row| Some(((*row.dhcp_relay())?, port::port(cx, key.row())?)))
        else {
            return;
        };
        let Some(row) = cx.dhcp_relay(relay) else {
            return;
        };
        let complain = |column, message: String| {
            cx.diagnose::<nb::DhcpRelay>(row.name(), relay, column, message);
        };
        let text = row.servers().clone().unwrap_or_default();
        let Ok(server) = text.parse::<Ipv4Addr>() else {
            let message = format!(
                "\"{text}\" is not one IPv4 address: nothing is relayed for {}",
                port.name
            );
            return complain("servers", message);
        };
        match own_address(cx, key.row(), &port) {
            Ok(own) if port.enabled => {
                questions(cx, &port, own, server);
                answers(cx, &port, own, server);
            }
            Ok(_) => {}
            Err((column, message)) => {
                cx.diagnose::<nb::LogicalRouterPort>(&port.name, key.row(), column, message);
            }
        }
    }
}

/// The address of the port by which servers know its clients' network: the one that `options:dhcpv4_primary_ip` names, or
/// else the first.
fn own_address(
    cx: &Cx<'_>,
    lrp: Uuid,
    port: &RouterPort,
) -> Result<Ipv4Addr, (&'static str, String)> {
    let chosen = cx
        .lrp(lrp)
        .and_then(|row| row.options().get("dhcpv4_primary_ip").cloned());
    let mut own = port.v4.iter().map(ipnet::Ipv4Net::addr);
    let Some(chosen) = chosen else {
        let missing = "the port has no IPv4 address: nothing is relayed";
        return own.next().ok_or(("networks", missing.to_owned()));
    };
    let found = own.find(|own| chosen.parse() == Ok(*own));
    found.ok_or_else(|| {
        let message = format!(
            "dhcpv4_primary_ip: \"{chosen}\" is no IPv4 address of the port: nothing is relayed"
        );
        ("options", message)
    })
}

/// Per switch with `other_config:dhcp_relay_port`: questions go to that port to a router and nowhere else.
pub struct RelayPort;

impl Feature for RelayPort {
    const NAME: &'static str = "dhcp_relay_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let switch = key.row();
        let Some(row) = cx.ls(switch) else { return };
        let Some(name) = row.other_config().get("dhcp_relay_port") else {
            return;
        };
        let lsp = cx
            .lsp_named(name)
            .filter(|lsp| cx.switch_of(*lsp) == Some(switch));
        let router = lsp.and_then(|lsp| router_port(cx, lsp));
        let Some(router) = router else {
            let message =
                format!("dhcp_relay_port: \"{name}\" is no port of the switch to a router");
            return cx.diagnose::<nb::LogicalSwitch>(row.name(), switch, "other_config", message);
        };
        let relays = cx
            .lrp(router.uuid)
            .is_some_and(|lrp| lrp.dhcp_relay().is_some());
        if !relays {
            return;
        }
        let from = Expr::all([
            field::ETH_DST.eq([0xff; 6]),
            field::IP4_SRC.eq(Ipv4Addr::UNSPECIFIED),
            field::IP4_DST.eq(Ipv4Addr::BROADCAST),
            field::UDP_SRC.eq(CLIENTS),
            field::UDP_DST.eq(SERVERS),
        ]);
        let actions = [
            Action::set(field::ETH_DST, router.mac),
            Action::set(field::OUTPORT, name),
            Action::Output,
        ];
        let stage = Stage::LsInL2Lkup;
        cx.flow(switch, stage, priority::L2_SPECIAL, from, actions, lsp);
    }
}

fn flow(cx: &Cx<'_>, port: &RouterPort, priority: u16, match_: Expr, actions: Vec<Action>) {
    port.flow(cx, Stage::LrInIpInput, priority, match_, actions);
}

/// To the chassis and back into this stage.
fn seen(check: Action) -> Vec<Action> {
    vec![
        Action::set(DHCP_RELAY_SEEN.field(), 1),
        check,
        Action::NextIn(weft_lang::Pipeline::Ingress, Stage::LrInIpInput.table()),
    ]
}

/// What the chassis have found: `good` or not.
fn found(from: Expr, good: bool) -> Expr {
    Expr::all([
        from,
        DHCP_RELAY_SEEN.field().is_set(),
        DHCP_RELAYED.field().eq(u64::from(good)),
    ])
}

fn questions(cx: &Cx<'_>, port: &RouterPort, own: Ipv4Addr, server: Ipv4Addr) {
    let from = || {
        Expr::all([
            field::INPORT.eq(&port.name),
            field::IP4_SRC.eq(Ipv4Addr::UNSPECIFIED),
            field::IP4_DST.eq(Ipv4Addr::BROADCAST),
            field::IP_FRAG.eq(0),
            field::UDP_SRC.eq(CLIENTS),
            field::UDP_DST.eq(SERVERS),
        ])
    };
    let check = Action::DhcpRelayReqChk(DHCP_RELAYED.field(), own.into(), server.into());
    flow(cx, port, UNSEEN, from(), seen(check));
    let onwards = vec![
        Action::set(field::IP4_SRC, own),
        Action::set(field::IP4_DST, server),
        Action::set(field::UDP_SRC, SERVERS),
        Action::NEXT,
    ];
    flow(cx, port, SEEN, found(from(), true), onwards);
    flow(cx, port, SEEN, found(from(), false), vec![Action::Drop]);
}

fn answers(cx: &Cx<'_>, port: &RouterPort, own: Ipv4Addr, server: Ipv4Addr) {
    let from = || {
        Expr::all([
            field::IP4_SRC.eq(server),
            field::IP_FRAG.eq(0),
            field::UDP_SRC.eq(SERVERS),
            field::UDP_DST.eq(SERVERS),
        ])
    };
    let to_us = Expr::all([field::IP4_DST.eq(own), from()]);
    let check = Action::DhcpRelayRespChk(DHCP_RELAYED.field(), own.into(), server.into());
    let mut asked = vec![Action::Move(DHCP_RELAY_OF.field(), field::IP4_DST)];
    asked.extend(seen(check));
    flow(cx, port, UNSEEN, to_us.clone(), asked);
    // The chassis have set where it goes: which port it is for is no longer in the packet.
    let ours = || Expr::all([DHCP_RELAY_OF.field().eq(own), from()]);
    let back = vec![
        Action::set(field::ETH_SRC, port.mac),
        Action::set(field::IP4_SRC, own),
        Action::set(field::UDP_DST, CLIENTS),
        Action::set(field::OUTPORT, &port.name),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Output,
    ];
    flow(cx, port, SEEN, found(ours(), true), back);
    flow(cx, port, SEEN, found(ours(), false), vec![Action::Drop]);
}
