//! Ethernet addresses of a chassis on physical networks (`ovn-chassis-mac-mappings`): a distributed router has one address
//! on all chassis, and the switches between them must not see it come from everywhere.
//!
//! Guarantees: what a distributed router sends on a physical network from here has this chassis's address there as its
//! source, except by a gateway port on its own chassis; what comes from another chassis's address is taken for the
//! router's again, where a switch has several routers for that of the destination's network. Without an address nothing is
//! changed.

use ipnet::IpNet;
use weft_engine::{Cx, Kind};
use weft_openflow::{Action, Field, Match, Port as OfPort};
use weft_ovsdb::model::Uuid;

use super::VLAN_PRESENT;
use super::output::localnet_of;
use super::{Port, load_zones};
use crate::address::{Addresses, parse_mac};
use crate::binding::{Attachment, BINDING, Place};
use crate::config::{CONFIG, Config, ME, Me, pairs};
use crate::flow::{REG_INPORT, emit};
use crate::index::Index;
use crate::local_datapaths::{LINK, LOCAL, Link, Local};
use crate::program::{Controller, Key, Read};
use crate::tables;

/// Keyed by binding of a port that leads to a router.
pub const CHASSIS_MAC: Kind<Controller> = Kind::pure(
    "chassis-mac",
    &[
        "me",
        "config",
        "binding",
        "link",
        "local-datapath",
        "port-zone",
        "datapath-zones",
    ],
    chassis_mac,
);

/// Above what takes packets of the network as they are.
const FROM_CHASSIS: u16 = 180;
/// Above what sends packets as they are.
const TO_NETWORK: u16 = 150;

fn is_router(cx: &Cx<'_, Controller>, datapath: Uuid) -> Option<bool> {
    Some(cx.value::<Local>(LOCAL.id(), Key::Row(datapath))?.is_router)
}

/// The localnet port of a switch as it is here, with its network.
fn network(cx: &Cx<'_, Controller>, switch: Uuid) -> Option<(Port, Attachment, String)> {
    let port = localnet_of(cx, switch)?;
    let place = cx.value::<Place>(BINDING.id(), Key::Row(port.uuid))?;
    let Place::Here(attachment) = &*place else {
        return None;
    };
    let rec = cx.sb_rec();
    let row = cx.sb().port_binding.tracked(port.uuid, &rec)?;
    let name = row.options().get("network_name")?.to_string();
    Some((port, attachment.clone(), name))
}

fn chassis_mac(cx: &Cx<'_, Controller>, key: Key) {
    let Some(link) = cx.value::<Link>(LINK.id(), key) else {
        return;
    };
    let Some(own) = Port::local(cx, key.row()) else {
        return;
    };
    if is_router(cx, own.datapath) != Some(false) || is_router(cx, link.datapath) != Some(true) {
        return;
    }
    let rec = cx.sb_rec();
    let Some(router_port) = cx.sb().port_binding.tracked(link.port, &rec) else {
        return;
    };
    if &**router_port.type_() != "patch" {
        return;
    }
    let addresses = router_port.mac().iter().next();
    let Some(router) = addresses.and_then(|text| Addresses::parse(text).ok()) else {
        return;
    };
    let Some((localnet, at, network)) = network(cx, own.datapath) else {
        return;
    };
    let alone = cx.lookup(Index::LinksOfDatapath, own.datapath).len() == 1;
    for mac in macs_of_others(cx, &network) {
        take(cx, &localnet, &at, mac, &router, alone);
    }
    let redirect = router_port.options().nonempty("chassis-redirect-port");
    let gateway = redirect.and_then(|name| cx.lookup_one(Index::PortByName, &**name));
    let speaks = gateway
        .and_then(|port| cx.value::<Place>(BINDING.id(), Key::Row(port)))
        .is_some_and(|place| place.is_here());
    let config = cx.value::<Config>(CONFIG.id(), Key::Global);
    let mine = config.and_then(|config| mac_in(&config.macs, &network));
    if let Some(mac) = mine.filter(|_| !speaks) {
        send(cx, &localnet, &at, router.mac, mac);
    }
}

fn mac_in<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)], network: &str) -> Option<u64> {
    let found = pairs.iter().find(|(name, _)| name.as_ref() == network);
    parse_mac(found?.1.as_ref())
}

/// The addresses of other chassis on a network.
fn macs_of_others(cx: &Cx<'_, Controller>, network: &str) -> Vec<u64> {
    let rec = cx.sb_rec();
    let me = cx.value::<Me>(ME.id(), Key::Global);
    let others = cx.lookup(Index::Chassis, ()).iter();
    let others = others.filter(|uuid| me.as_ref().is_none_or(|me| me.chassis != Some(**uuid)));
    let mut macs: Vec<u64> = others
        .filter_map(|uuid| {
            let row = cx.sb().chassis.tracked(*uuid, &rec)?;
            let text = row.other_config().get("ovn-chassis-mac-mappings");
            mac_in(&pairs(text), network)
        })
        .collect();
    macs.sort_unstable();
    macs.dedup();
    macs
}

/// From another chassis's address: the router's again.
fn take(
    cx: &Cx<'_, Controller>,
    localnet: &Port,
    at: &Attachment,
    mac: u64,
    router: &Addresses,
    alone: bool,
) {
    let mut actions = Vec::new();
    let vlan = match at.tag {
        Some(tag) => {
            actions.push(Action::PopVlan);
            (VLAN_PRESENT | u32::from(tag), u32::from(u16::MAX))
        }
        None => (0, VLAN_PRESENT),
    };
    load_zones(cx, localnet, &mut actions);
    actions.push(Action::set(Field::EthSrc, router.mac));
    actions.push(Action::set(Field::Metadata, localnet.dp_key));
    actions.push(Action::set(REG_INPORT, localnet.key));
    actions.push(Action::resubmit(tables::LOG_INGRESS));
    let from = Match::any()
        .with(Field::InPort, at.ofport)
        .with(Field::EthSrc, mac);
    let from = match vlan {
        (tci, 0xffff) => from.with(Field::VlanVid, tci),
        (tci, mask) => from.with_masked(Field::VlanVid, tci, mask),
    };
    let add = |matches: Match| {
        emit(
            cx,
            tables::PHY_TO_LOG,
            FROM_CHASSIS,
            localnet.uuid.short(),
            matches,
            actions.as_slice(),
        );
    };
    if alone {
        return add(from);
    }
    // What is sent to the router itself over the wire (`redirect-type=bridged`) may be for anybody.
    add(from.clone().with(Field::EthDst, router.mac));
    for net in &router.ips {
        add(match net {
            IpNet::V4(net) => from.clone().with(Field::EthType, 0x0800u32).with_masked(
                Field::Ipv4Dst,
                u32::from(net.network()),
                u32::from(net.netmask()),
            ),
            IpNet::V6(net) => from.clone().with(Field::EthType, 0x86ddu32).with_masked(
                Field::Ipv6Dst,
                u128::from(net.network()),
                u128::from(net.netmask()),
            ),
        });
    }
}

/// Out to the network, under this chassis's address. Whoever gets the packet after this sees the router's.
fn send(cx: &Cx<'_, Controller>, localnet: &Port, at: &Attachment, router: u64, mac: u64) {
    let mut actions = vec![Action::set(Field::EthSrc, mac)];
    if let Some(tag) = at.tag {
        actions.push(Action::PushVlan(0x8100));
        actions.push(Action::set(Field::VlanVid, VLAN_PRESENT | u32::from(tag)));
    }
    actions.push(Action::Output(OfPort(at.ofport)));
    if at.tag.is_some() {
        actions.push(Action::PopVlan);
    }
    actions.push(Action::set(Field::EthSrc, router));
    emit(
        cx,
        tables::LOG_TO_PHY,
        TO_NETWORK,
        localnet.uuid.short(),
        localnet.to().with(Field::EthSrc, router),
        actions.as_slice(),
    );
}
