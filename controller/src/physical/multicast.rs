//! Multicast groups: one copy for each port here, one for each other chassis that has one.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_openflow::{Action, Field, Match};
use weft_ovsdb::model::Uuid;

use super::output::localnet_of;
use super::{Port, port_key, tunnel};
use crate::binding::{BINDING, Place, others};
use crate::config::{ME, Me};
use crate::flow::{REG_CT_ZONE, REG_OUTPORT, emit};
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Key, Read};
use crate::tables;
use crate::tunnels::{TUNNEL, Tunnels};
use crate::zones::PORT_ZONE;

/// Emits the flows of a group; keyed by its row.
pub const GROUP: Kind<Controller> = Kind::pure(
    "multicast-group",
    &["me", "binding", "local-datapath", "port-zone", "tunnel"],
    group,
);

fn group(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().multicast_group.tracked(uuid, &rec) else {
        return;
    };
    let datapath = *row.datapath();
    let Some(local) = cx.value::<Local>(LOCAL.id(), Key::Row(datapath)) else {
        return;
    };
    let Some(group_key) = port_key(*row.tunnel_key()) else {
        return;
    };
    let mut members = Members::default();
    for &port in row.ports().iter() {
        members.add(cx, port, datapath);
    }
    // A datapath with a physical network is reached by it, not by tunnels.
    if localnet_of(cx, datapath).is_some() {
        members.chassis.clear();
    }
    members.emit(cx, uuid.short(), local.key, group_key);
}

/// The members of a group by where they are.
#[derive(Default)]
struct Members {
    /// Ports here that packets leave by.
    here: Vec<(u32, Option<u16>)>,
    /// Patch ports and localports: on every chassis, so only the first one to see a packet sends a copy there.
    everywhere: Vec<(u32, Option<u16>)>,
    /// Other chassis.
    chassis: BTreeSet<Uuid>,
}

impl Members {
    fn add(&mut self, cx: &Cx<'_, Controller>, uuid: Uuid, datapath: Uuid) {
        let Some(port) = Port::local(cx, uuid).filter(|port| port.datapath == datapath) else {
            return;
        };
        let Some(place) = cx.value::<Place>(BINDING.id(), Key::Row(uuid)) else {
            return;
        };
        let rec = cx.sb_rec();
        let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
            return;
        };
        if row.type_().is_empty()
            && let Some(me) = cx.value::<Me>(ME.id(), Key::Global)
        {
            self.chassis.extend(others(&me, row));
        }
        let zone = || {
            cx.value::<u16>(PORT_ZONE.id(), Key::Row(uuid))
                .map(|zone| *zone)
        };
        match (&*place, &**row.type_()) {
            (Place::HereLogical, "patch") | (Place::Here(_), "localport") => {
                self.everywhere.push((port.key, zone()))
            }
            (Place::HereLogical, "chassisredirect") => {}
            (Place::Here(_) | Place::HereLogical, _) => self.here.push((port.key, zone())),
            (Place::Remote(chassis), _) => {
                self.chassis.insert(*chassis);
            }
            (Place::Coming | Place::Nowhere, _) => {}
        }
    }

    fn emit(&mut self, cx: &Cx<'_, Controller>, cookie: u32, dp_key: u32, group: u32) {
        self.here.sort_unstable();
        self.everywhere.sort_unstable();
        let to = || {
            Match::any()
                .with(Field::Metadata, dp_key)
                .with(REG_OUTPORT, group)
        };
        let restore = Action::set(REG_OUTPORT, group);
        if !self.here.is_empty() {
            let mut actions = copies(&self.here);
            actions.push(restore.clone());
            emit(
                cx,
                tables::LOCAL_OUTPUT,
                100,
                cookie,
                to(),
                actions.as_slice(),
            );
        }
        let tunnels: Vec<Arc<Tunnels>> = self
            .chassis
            .iter()
            .filter_map(|&chassis| cx.value::<Tunnels>(TUNNEL.id(), Key::Row(chassis)))
            .collect();
        let mut ways = tunnel::ways(&tunnels, &[], dp_key, group);
        if ways.is_empty() && !self.everywhere.is_empty() {
            ways.push((0, Vec::new()));
        }
        for (local, out) in ways {
            let mut actions = copies(&self.everywhere);
            if !self.everywhere.is_empty() {
                actions.push(restore.clone());
            }
            actions.extend(out);
            if !self.here.is_empty() {
                actions.push(Action::resubmit(tables::LOCAL_OUTPUT));
            }
            let (priority, matches) = tunnel::from_local(100, &to(), local);
            let table = tables::REMOTE_OUTPUT;
            emit(cx, table, priority, cookie, matches, actions.as_slice());
        }
    }
}

/// A copy to each port, with its zone.
fn copies(ports: &[(u32, Option<u16>)]) -> Vec<Action> {
    let mut actions = Vec::new();
    for &(key, zone) in ports {
        actions.extend(zone.map(|zone| Action::set(REG_CT_ZONE, zone)));
        actions.push(Action::set(REG_OUTPORT, key));
        actions.push(Action::resubmit(tables::CHECK_LOOPBACK));
    }
    actions
}
