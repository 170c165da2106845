//! Ledgers as the databases remember them: read once, before the first compilation.

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use crate::address::PortAddress;
use crate::features::ipam::Lease;
use crate::features::multicast;
use crate::features::port_key::{mirror_key, redirect_key};
use crate::features::queue;
use crate::index::{ById, ByName, acl_persists};
use crate::ledger::Ledgers;
use crate::pipeline::MCAST_LEARNED_MIN;
use crate::program::{Inputs, Key};

/// The switch or router of a datapath, as its row names it.
pub fn nb_of_datapath(row: &sb::DatapathBinding) -> Option<Uuid> {
    let named = |name: &str| {
        row.external_ids
            .get(name)
            .and_then(|text: &Str| text.parse().ok())
    };
    named("logical-switch")
        .or_else(|| named("logical-router"))
        .or(row.nb_uuid)
}

/// Whether the databases remember nothing that the ledgers know otherwise: no other daemon has allocated in between.
pub fn agrees(inputs: &Inputs, ours: &Ledgers) -> bool {
    let mut theirs = Ledgers::default();
    ledgers(inputs, &mut theirs);
    ours.datapaths.holds_all(&theirs.datapaths)
        && ours.ports.holds_all(&theirs.ports)
        && ours.queues.holds_all(&theirs.queues)
        && ours.groups.holds_all(&theirs.groups)
        && ours.acls.holds_all(&theirs.acls)
}

/// The egress queue of a port, if it still has one of its own.
fn queues(inputs: &Inputs, row: &sb::PortBinding, key: Option<Key>, ledgers: &mut Ledgers) {
    let Some(Key::Row(port)) = key else { return };
    let number = row.options.get("qdisc_queue_id");
    let number = number.and_then(|text| text.parse().ok());
    let shaped = inputs.nb.logical_switch_port.get(port);
    let scope = shaped.and_then(|lsp| queue::scope(&lsp.type_, &lsp.options, || row.chassis));
    if let (Some(number), Some(scope)) = (number, scope) {
        ledgers.queues.restore(scope, Key::Row(port), number);
    }
}

/// The tunnel keys of learned multicast groups.
fn groups(Inputs { nb, sb, .. }: &Inputs, ledgers: &mut Ledgers) {
    let mut groups: Vec<_> = sb.multicast_group.iter().collect();
    groups.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (_, row) in groups {
        let datapath = sb.datapath_binding.get(row.datapath);
        let (Some(datapath), Ok(ip), Ok(number)) = (
            datapath.and_then(nb_of_datapath),
            row.name.parse(),
            u32::try_from(row.tunnel_key),
        ) else {
            continue;
        };
        let exists = nb.logical_switch.contains(datapath) || nb.logical_router.contains(datapath);
        if exists && number >= MCAST_LEARNED_MIN {
            ledgers
                .groups
                .restore(datapath, multicast::unit(datapath, ip), number);
        }
    }
}

/// Fills the ledgers. Rows in order of UUID, so that two daemons restore the same from databases in disorder.
pub fn ledgers(inputs: &Inputs, ledgers: &mut Ledgers) {
    let Inputs { nb, sb, idx, .. } = inputs;
    let mut datapaths: Vec<_> = sb.datapath_binding.iter().collect();
    datapaths.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (_, row) in datapaths {
        let Some(uuid) = nb_of_datapath(row) else {
            continue;
        };
        let exists = nb.logical_switch.contains(uuid) || nb.logical_router.contains(uuid);
        if let (true, Ok(number)) = (exists, u32::try_from(row.tunnel_key)) {
            ledgers.datapaths.restore(Key::Row(uuid), number);
        }
    }
    let mut ports: Vec<_> = sb.port_binding.iter().collect();
    ports.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (_, row) in ports {
        let Some(datapath) = sb
            .datapath_binding
            .get(row.datapath)
            .and_then(nb_of_datapath)
        else {
            continue;
        };
        let named = |index, name: &str| idx.by_name(index, name).first().copied();
        let key = if &*row.type_ == "chassisredirect" {
            row.logical_port
                .strip_prefix("cr-")
                .and_then(|n| named(ByName::RouterPort, n))
                .map(redirect_key)
        } else if let Some(sink) = &row.mirror_port {
            named(ByName::SwitchPort, sink).map(|sink| mirror_key(datapath, sink))
        } else {
            named(ByName::SwitchPort, &row.logical_port)
                .or_else(|| named(ByName::RouterPort, &row.logical_port))
                .map(Key::Row)
        };
        if let (Some(key), Ok(number)) = (key, u32::try_from(row.tunnel_key)) {
            ledgers.ports.restore(datapath, key, number);
        }
        queues(inputs, row, key, ledgers);
    }
    groups(inputs, ledgers);
    let mut sessions: Vec<_> = nb.bfd.iter().collect();
    sessions.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (uuid, row) in sessions {
        let name = crate::index::bfd_name(&row.logical_port, &row.dst_ip);
        let there = idx.by_name(ByName::SbBfd, &name).first();
        let port = there.and_then(|row| u32::try_from(sb.bfd.get(*row)?.src_port).ok());
        if let Some(port) = port {
            ledgers.bfd_ports.restore(Key::Row(uuid), port);
        }
    }
    let mut acls: Vec<_> = sb.acl_id.iter().collect();
    acls.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (uuid, row) in acls {
        let persists = nb.acl.get(uuid);
        let persists = persists.is_some_and(|acl| acl_persists(&acl.action, &acl.options));
        if let (true, Ok(number)) = (persists, u32::try_from(row.id)) {
            ledgers.acls.restore(Key::Row(uuid), number);
        }
    }
    let mut lsps: Vec<_> = nb.logical_switch_port.iter().collect();
    lsps.sort_unstable_by_key(|(uuid, _)| *uuid);
    for (uuid, row) in lsps {
        let Some(&switch) = idx.by_id(ById::SwitchOfPort, 0, uuid).first() else {
            continue;
        };
        let wants = row.addresses.iter().any(|text| {
            matches!(
                crate::address::parse_port_address(text).0,
                Some(PortAddress::Dynamic { .. })
            )
        });
        if let (true, Some(lease)) = (
            wants,
            row.dynamic_addresses.as_deref().and_then(Lease::parse),
        ) {
            ledgers.leases.restore(Key::Row(uuid), switch, lease);
        }
        if let (Some(parent), Some(_), Some(tag)) = (&row.parent_name, row.tag_request, row.tag)
            && let Ok(tag) = u32::try_from(tag)
        {
            ledgers
                .tags
                .restore(crate::features::nested::scope(parent), Key::Row(uuid), tag);
        }
    }
}
