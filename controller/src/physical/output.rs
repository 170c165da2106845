//! From the end of the ingress pipeline to the start of the egress pipeline, here or on another chassis.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_engine::Cx;
use weft_openflow::{Action, ActionList, Field, Match};
use weft_ovsdb::model::Uuid;

use super::{Port, diagnose, large, load_zones, port_key, tunnel, vif};
use crate::address::parse_mac;
use crate::binding::{BINDING, Place, PortRef};
use crate::flow::{
    REG_CT_ZONE, REG_DNAT_ZONE, REG_FLAGS, REG_INPORT, REG_OUTPORT, REG_SNAT_ZONE, emit,
};
use crate::index::{Index, is_function};
use crate::local_datapaths::{LINK, Link};
use crate::program::{Controller, Key, Read};
use crate::tables::{self, flag};
use crate::tunnels::{TUNNEL, Tunnels};

/// The group of the ports behind which anybody may be; the physical network is among them.
const UNKNOWN: &str = "_MC_unknown";

/// What happens to packets to a port in a table.
fn to_port(cx: &Cx<'_, Controller>, port: &Port, table: u8, actions: impl Into<ActionList>) {
    emit(cx, table, 100, port.cookie(), port.to(), actions);
}

/// To a port that is here.
pub(super) fn local(cx: &Cx<'_, Controller>, port: &Port, kind: &str) {
    let mut actions = Vec::new();
    load_zones(cx, port, &mut actions);
    actions.push(Action::resubmit(tables::CHECK_LOOPBACK));
    to_port(cx, port, tables::LOCAL_OUTPUT, actions.as_slice());
    vif::check_loopback(cx, port);
    match kind {
        "localport" => {
            // It is on every chassis: what comes from it never needs a tunnel.
            let from = Match::any()
                .with(Field::Metadata, port.dp_key)
                .with(REG_INPORT, port.key);
            emit(
                cx,
                tables::REMOTE_OUTPUT,
                150,
                port.cookie(),
                from,
                [Action::resubmit(tables::LOCAL_OUTPUT)],
            );
        }
        "localnet" => {
            for bit in [flag::LOCAL_ONLY, flag::LOCALPORT] {
                let kept = port.to().with_masked(REG_FLAGS, bit, bit);
                emit(cx, tables::CHECK_LOOPBACK, 160, port.cookie(), kept, []);
            }
        }
        _ => {}
    }
}

/// Through a patch port: into the ingress pipeline of its peer's datapath, with nothing left of this one's state.
pub(super) fn patch(cx: &Cx<'_, Controller>, port: &Port) {
    let Some(link) = cx.value::<Link>(LINK.id(), Key::Row(port.uuid)) else {
        return;
    };
    let Some(peer) = Port::local(cx, link.port) else {
        return;
    };
    let mut inner = vec![Action::CtClear];
    inner.extend([REG_DNAT_ZONE, REG_SNAT_ZONE, REG_CT_ZONE].map(|reg| Action::set(reg, 0u32)));
    load_zones(cx, &peer, &mut inner);
    inner.push(Action::set(Field::Metadata, peer.dp_key));
    inner.push(Action::set(REG_INPORT, peer.key));
    // The way to leave this host by stays chosen.
    inner.push(Action::SetField {
        field: REG_FLAGS,
        value: 0u32.into(),
        mask: (!tables::ENCAP_MASK).into(),
    });
    inner.push(Action::set(REG_OUTPORT, 0u32));
    inner.extend((0..10).map(|n| Action::set(Field::reg(n), 0u32)));
    inner.push(Action::resubmit(tables::LOG_INGRESS));
    let actions = [Action::Clone(inner.as_slice().into())];
    to_port(cx, port, tables::LOG_TO_PHY, actions);
}

/// To a chassisredirect port that is here: on to the distributed port it stands for.
pub(super) fn redirected(cx: &Cx<'_, Controller>, port: &Port, distributed: Option<&str>) {
    let found = distributed.and_then(|name| cx.lookup_one(Index::PortByName, name));
    let Some(target) = found
        .and_then(|uuid| Port::local(cx, uuid))
        .filter(|t| t.dp_key == port.dp_key)
    else {
        diagnose(
            cx,
            port.uuid,
            "options",
            "distributed-port names no port of the same datapath: unreachable".into(),
        );
        return;
    };
    let mut actions = vec![Action::set(REG_OUTPORT, target.key)];
    load_zones(cx, &target, &mut actions);
    actions.push(Action::resubmit(tables::CHECK_LOOPBACK));
    to_port(cx, port, tables::LOCAL_OUTPUT, actions.as_slice());
}

/// To the sink of a mirror, which is here: handed over as it is, for the sink's pipeline would refuse what is not for it.
pub(super) fn mirror(cx: &Cx<'_, Controller>, port: &Port, sink: Option<&str>) {
    let sink = sink.and_then(|name| cx.lookup_one(Index::PortByName, name));
    let Some(sink) = sink.and_then(|uuid| Port::local(cx, uuid)) else {
        return;
    };
    let actions = [
        Action::set(Field::Metadata, sink.dp_key),
        Action::set(REG_OUTPORT, sink.key),
        Action::resubmit(tables::LOG_TO_PHY),
    ];
    to_port(cx, port, tables::LOCAL_OUTPUT, actions);
}

/// To a port that is here and elsewhere too: a copy to each.
pub(super) fn twins(cx: &Cx<'_, Controller>, port: &Port, elsewhere: &[Uuid], mtu: Option<u16>) {
    if localnet_of(cx, port.datapath).is_some() {
        large::answer(cx, port, &port.to(), mtu, elsewhere);
    }
    let mut ways = to_each(cx, port, elsewhere, port.key);
    let here = Action::resubmit(tables::LOCAL_OUTPUT);
    ways.iter_mut()
        .for_each(|(_, actions)| actions.push(here.clone()));
    by_tunnels(cx, port, 100, &port.to(), &ways);
}

/// Through a tunnel to each of the chassis that can be reached, for a port there.
fn to_each(
    cx: &Cx<'_, Controller>,
    port: &Port,
    chassis: &[Uuid],
    outport: u32,
) -> Vec<tunnel::Way> {
    let rec = cx.sb_rec();
    let row = cx.sb().port_binding.tracked(port.uuid, &rec);
    let ends: Vec<Uuid> = row
        .iter()
        .flat_map(|row| row.encap().iter().chain(row.additional_encap().iter()))
        .copied()
        .collect();
    let tunnels = chassis
        .iter()
        .filter_map(|chassis| cx.value::<Tunnels>(TUNNEL.id(), Key::Row(*chassis)));
    let tunnels: Vec<Arc<Tunnels>> = tunnels.collect();
    tunnel::ways(&tunnels, &ends, port.dp_key, outport)
}

/// A flow for what comes from anywhere, and one for each address that interfaces can choose to leave by.
fn by_tunnels(
    cx: &Cx<'_, Controller>,
    port: &Port,
    priority: u16,
    matches: &Match,
    ways: &[tunnel::Way],
) {
    for (local, actions) in ways {
        let (priority, matches) = tunnel::from_local(priority, matches, *local);
        let table = tables::REMOTE_OUTPUT;
        emit(
            cx,
            table,
            priority,
            port.cookie(),
            matches,
            actions.as_slice(),
        );
    }
}

/// The ports here from which packets take tunnels, whatever other way there is: a physical network would be told by turns
/// that one Ethernet address is here and there. Those of network functions alone, if asked for.
fn tunnelled<'a>(
    cx: &'a Cx<'_, Controller>,
    port: &'a Port,
    functions: bool,
) -> impl Iterator<Item = Port> + 'a {
    let all = cx.lookup(Index::TunnelledOfDatapath, port.datapath).iter();
    let wanted = move |uuid: &&Uuid| {
        let here = cx
            .value::<Place>(BINDING.id(), Key::Row(**uuid))
            .is_some_and(|place| matches!(*place, Place::Here(_)));
        here && (!functions || of_function(cx, **uuid))
    };
    all.filter(wanted)
        .filter_map(|uuid| Port::local(cx, *uuid))
        .filter(|other| other.uuid != port.uuid)
}

/// A port of a network function, by what its row says.
fn of_function(cx: &Cx<'_, Controller>, port: Uuid) -> bool {
    let rec = cx.sb_rec();
    let row = cx.sb().port_binding.tracked(port, &rec);
    row.is_some_and(|row| is_function(row.options()))
}

/// What comes from such ports to this one.
fn from_tunnelled(cx: &Cx<'_, Controller>, port: &Port, chassis: &[Uuid], ways: &[tunnel::Way]) {
    for from in tunnelled(cx, port, false) {
        let from_it = port.to().with(REG_INPORT, from.key);
        // What a function hands on, others have sent.
        if !of_function(cx, from.uuid)
            && let Some(place) = cx.value::<Place>(BINDING.id(), Key::Row(from.uuid))
            && let Place::Here(at) = &*place
        {
            large::answer(cx, port, &from_it, at.mtu, chassis);
        }
        by_tunnels(cx, port, 110, &from_it, ways);
    }
}

/// What this port has sent, once it has come out of a network function here: if it is for somebody on the physical network
/// it is brought back to where the port is, for only there it may go out.
fn back_from_functions(
    cx: &Cx<'_, Controller>,
    port: &Port,
    row: PortRef<'_, '_, '_>,
    chassis: &[Uuid],
    localnet: &Port,
) {
    let functions: Vec<Port> = tunnelled(cx, port, true).collect();
    if functions.is_empty() {
        return;
    }
    let rec = cx.sb_rec();
    let unknown = cx.lookup_one(Index::MulticastByName, (port.datapath, UNKNOWN));
    let unknown = unknown.and_then(|group| cx.sb().multicast_group.tracked(group, &rec));
    let unknown = unknown.and_then(|group| port_key(*group.tunnel_key()));
    let macs = row
        .mac()
        .iter()
        .filter_map(|text| text.split_whitespace().next());
    let macs: BTreeSet<u64> = macs.filter_map(parse_mac).collect();
    for outport in [Some(localnet.key), unknown].into_iter().flatten() {
        let ways = to_each(cx, port, chassis, outport);
        for (function, mac) in functions
            .iter()
            .flat_map(|function| macs.iter().map(move |mac| (function, *mac)))
        {
            let sent = Match::any()
                .with(Field::Metadata, port.dp_key)
                .with(REG_INPORT, function.key)
                .with(REG_OUTPORT, outport)
                .with(Field::EthSrc, mac);
            by_tunnels(cx, port, 120, &sent, &ways);
        }
    }
}

/// To a port on other chassis: by the localnet port if the datapath has one here, else through a tunnel. One that is at
/// several places, and one of a network function, is reached by tunnels alone.
pub(super) fn remote(
    cx: &Cx<'_, Controller>,
    port: &Port,
    row: PortRef<'_, '_, '_>,
    chassis: &[Uuid],
) {
    let kind = &**row.type_();
    let ways = to_each(cx, port, chassis, port.key);
    if kind != "chassisredirect"
        && kind != "l3gateway"
        && kind != "mirror"
        && chassis.len() < 2
        && !is_function(row.options())
        && let Some(localnet) = localnet_of(cx, port.datapath)
    {
        let by_network = [
            Action::set(REG_OUTPORT, localnet.key),
            Action::resubmit(tables::LOCAL_OUTPUT),
        ];
        to_port(cx, port, tables::LOCAL_OUTPUT, by_network);
        from_tunnelled(cx, port, chassis, &ways);
        if kind.is_empty() {
            back_from_functions(cx, port, row, chassis, &localnet);
        }
        return;
    }
    by_tunnels(cx, port, 100, &port.to(), &ways);
}

/// To a gateway port on another chassis over the physical network behind it (`redirect-type=bridged`): the router there
/// takes the packet up again by the Ethernet address that the pipeline has given it. False if that is not wanted, or if
/// the network is not reached from here.
pub(super) fn bridged(cx: &Cx<'_, Controller>, port: &Port, row: PortRef<'_, '_, '_>) -> bool {
    let options = row.options();
    if &**row.type_() != "chassisredirect"
        || options
            .get("redirect-type")
            .is_none_or(|v| &**v != "bridged")
    {
        return false;
    }
    let named = |name: &str| cx.lookup_one(Index::PortByName, name);
    let link = options.nonempty("distributed-port");
    let link = link.and_then(|name| cx.value::<Link>(LINK.id(), Key::Row(named(name)?)));
    let near = link.and_then(|link| Port::local(cx, link.port));
    let Some((near, localnet)) =
        near.and_then(|near| Some((near, localnet_of(cx, near.datapath)?)))
    else {
        return false;
    };
    let mut actions = vec![Action::CtClear];
    load_zones(cx, &localnet, &mut actions);
    actions.push(Action::set(Field::Metadata, near.dp_key));
    actions.push(Action::set(REG_FLAGS, 0u32));
    actions.push(Action::set(REG_INPORT, near.key));
    actions.push(Action::set(REG_OUTPORT, localnet.key));
    actions.push(Action::resubmit(tables::LOCAL_OUTPUT));
    let actions = [Action::Clone(actions.as_slice().into())];
    to_port(cx, port, tables::REMOTE_OUTPUT, actions);
    true
}

/// The localnet port by which this chassis reaches the physical network of a datapath.
pub(super) fn localnet_of(cx: &Cx<'_, Controller>, datapath: Uuid) -> Option<Port> {
    let here = |&&port: &&Uuid| {
        cx.value::<Place>(BINDING.id(), Key::Row(port))
            .is_some_and(|place| matches!(*place, Place::Here(_)))
    };
    let port = cx
        .lookup(Index::LocalnetOfDatapath, datapath)
        .iter()
        .find(here)?;
    Port::local(cx, *port)
}
