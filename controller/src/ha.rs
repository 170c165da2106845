//! Gateways with stand-ins: which members of a group are alive, and who of them is the gateway.
//!
//! BFD runs in the tunnels between members of a group, and between members and the chassis that the group's row says refer
//! to it (`ref_chassis`). Every one of them judges for itself: the member of the highest priority that is alive is the
//! gateway. It claims the port; the others send to it. A chassis that watches nobody believes the southbound.
//!
//! A member that watches several and sees none of them has lost its own way to them, not they theirs: it leaves the port to the
//! others, or two chassis would take it from each other for as long as the southbound hears both. One that watches a single other cannot tell
//! and goes on.

use std::collections::BTreeSet;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::config::{ME, Me};
use crate::index::Index;
use crate::program::{Controller, Key, Read};
use crate::tunnels::{TUNNEL, Tunnels};

/// Publishes [`Watched`].
pub const WATCHED: Kind<Controller> = Kind::pure("ha-watched", &["me"], watched);

/// Settings of BFD in SB_Global.options and their names in Interface.bfd.
const SETTINGS: [(&str, &str); 4] = [
    ("bfd-min-rx", "min_rx"),
    ("bfd-decay-min-rx", "decay_min_rx"),
    ("bfd-min-tx", "min_tx"),
    ("bfd-mult", "mult"),
];

/// The chassis whose tunnels are watched with BFD, and how.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Watched {
    /// Other members, or those that refer to a group this chassis is a member of.
    pub chassis: BTreeSet<Uuid>,
    /// Interface.bfd of their tunnels.
    pub settings: Map<Str, Str>,
}

/// The members of a group, the preferred first: priority, then name as ovn-controller breaks ties.
pub fn members(cx: &Cx<'_, Controller>, group: Uuid) -> Vec<Uuid> {
    let (rec, sb) = (cx.sb_rec(), cx.sb());
    let Some(group) = sb.ha_chassis_group.tracked(group, &rec) else {
        return Vec::new();
    };
    let rows = group
        .ha_chassis()
        .iter()
        .filter_map(|&member| sb.ha_chassis.tracked(member, &rec));
    in_order(
        cx,
        rows.filter_map(|m| Some((*m.priority(), (*m.chassis())?)))
            .collect(),
    )
}

/// Chassis that are there by descending priority.
pub fn in_order(cx: &Cx<'_, Controller>, candidates: Vec<(i64, Uuid)>) -> Vec<Uuid> {
    let (rec, sb) = (cx.sb_rec(), cx.sb());
    let mut known: Vec<(i64, Str, Uuid)> = candidates
        .into_iter()
        .filter_map(|(priority, chassis)| {
            let row = sb.chassis.tracked(chassis, &rec)?;
            Some((priority, row.name().clone(), chassis))
        })
        .collect();
    known.sort_unstable_by(|a, b| b.cmp(a));
    known.into_iter().map(|(_, _, chassis)| chassis).collect()
}

fn watched(cx: &Cx<'_, Controller>, _: Key) {
    let (rec, sb) = (cx.sb_rec(), cx.sb());
    let Some(own) = cx
        .value::<Me>(ME.id(), Key::Global)
        .and_then(|me| me.chassis)
    else {
        return;
    };
    let mut chassis = BTreeSet::new();
    for &group in cx.lookup(Index::HaGroups, ()) {
        let members = members(cx, group);
        if members.len() < 2 {
            continue;
        }
        let Some(row) = sb.ha_chassis_group.tracked(group, &rec) else {
            continue;
        };
        let is_member = members.contains(&own);
        if is_member || row.ref_chassis().contains(&own) {
            chassis.extend(members);
        }
        if is_member {
            chassis.extend(row.ref_chassis().iter().copied());
        }
    }
    chassis.remove(&own);
    let mut settings: Vec<(Str, Str)> = vec![("enable".into(), "true".into())];
    let global = cx.lookup_one(Index::SbGlobal, ());
    if let Some(global) = global.and_then(|uuid| sb.sb_global.tracked(uuid, &rec)) {
        for (option, name) in SETTINGS {
            let value = global.options().get(option).cloned();
            settings.extend(value.map(|value| (name.into(), value)));
        }
    }
    cx.publish(Watched {
        chassis,
        settings: settings.into(),
    });
}

/// Who is the gateway among `members` (the preferred first), as far as this chassis can tell: `None` if it watches none
/// of them and has no say itself.
pub fn active(cx: &Cx<'_, Controller>, me: &Me, members: &[Uuid]) -> Option<Uuid> {
    let own = me.chassis;
    if let [only] = members {
        return Some(*only);
    }
    let seen = |chassis: Uuid| {
        cx.value::<Tunnels>(TUNNEL.id(), Key::Row(chassis))
            .and_then(|tunnels| tunnels.alive())
    };
    let is_member = own.is_some_and(|own| members.contains(&own));
    let cut_off = is_member && cut_off(cx, seen);
    let seen: Vec<Option<bool>> = members.iter().map(|&chassis| seen(chassis)).collect();
    if !is_member && seen.iter().all(Option::is_none) {
        return None;
    }
    let alive = members
        .iter()
        .zip(&seen)
        .find(|(chassis, seen)| (Some(**chassis) == own && !cut_off) || **seen == Some(true));
    let others = members
        .iter()
        .find(|chassis| !cut_off || Some(**chassis) != own);
    alive.map(|(chassis, _)| *chassis).or(others.copied())
}

/// Whether every one of several watched chassis is seen to be gone.
fn cut_off(cx: &Cx<'_, Controller>, seen: impl Fn(Uuid) -> Option<bool>) -> bool {
    cx.value::<Watched>(WATCHED.id(), Key::Global)
        .is_some_and(|watched| {
            watched.chassis.len() > 1
                && watched
                    .chassis
                    .iter()
                    .all(|&chassis| seen(chassis) == Some(false))
        })
}
