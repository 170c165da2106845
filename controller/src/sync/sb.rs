//! Own rows in the southbound: Chassis, Encap, Chassis_Private, and the columns of Port_Binding that say where a port is.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::aside::{Draft, Subject};
use super::claims::Claims;
use crate::activation::ACTIVATED;
use crate::binding::{Claim, Role};
use crate::chassis::OwnChassis;
use crate::index::{Index, Indexes};
use crate::tunnels::Carrier;

/// What is known when a transaction is made.
pub struct View<'a> {
    /// The southbound.
    pub sb: &'a sb::Db,
    /// Its indexes.
    pub idx: &'a Indexes,
    /// The flow table that is in.
    pub installed: u64,
    /// The southbound's nb_cfg that it corresponds to.
    pub nb_cfg: Option<i64>,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
}

/// Writes what is missing of our rows; with none of them wrong nothing is added.
pub fn own_rows(view: &View<'_>, own: &OwnChassis, draft: &mut Draft<'_>) {
    let chassis = find(view, Index::ChassisByName, &own.name);
    let uuid = chassis.unwrap_or_else(Uuid::random);
    let row = chassis.and_then(|uuid| view.sb.chassis.get(uuid));
    let written = draft.part(Subject::Chassis(own.name.clone()), |txn| match row {
        None => insert_chassis(own, uuid, txn),
        Some(row) => update_chassis(view, own, uuid, row, txn),
    });
    if row.is_some() || written {
        draft.part(Subject::Private(own.name.clone()), |txn| {
            private_row(view, own, uuid, txn)
        });
    }
}

fn private_row(view: &View<'_>, own: &OwnChassis, chassis: Uuid, txn: &mut Txn) {
    let private = find(view, Index::ChassisPrivateByName, &own.name);
    let Some((private, row)) =
        private.and_then(|uuid| Some((uuid, view.sb.chassis_private.get(uuid)?)))
    else {
        let row = sb::ChassisPrivate {
            name: own.name.clone(),
            chassis: Some(chassis),
            ..Default::default()
        };
        txn.insert(
            &row,
            sb::chassis_private::NAME | sb::chassis_private::CHASSIS,
            Uuid::random(),
        );
        return;
    };
    if row.chassis != Some(chassis) {
        let row = sb::ChassisPrivate {
            chassis: Some(chassis),
            ..Default::default()
        };
        txn.update(private, &row, sb::chassis_private::CHASSIS);
    }
    if let Some(nb_cfg) = view.nb_cfg.filter(|nb_cfg| *nb_cfg != row.nb_cfg) {
        let row = sb::ChassisPrivate {
            nb_cfg,
            nb_cfg_timestamp: view.now_ms,
            ..Default::default()
        };
        txn.update(
            private,
            &row,
            sb::chassis_private::NB_CFG | sb::chassis_private::NB_CFG_TIMESTAMP,
        );
    }
}

fn find(view: &View<'_>, index: Index, name: &Str) -> Option<Uuid> {
    view.idx.find(index, &**name).first().copied()
}

fn encaps_of(own: &OwnChassis) -> Vec<sb::Encap> {
    own.encaps
        .iter()
        .map(|encap| sb::Encap {
            type_: encap.kind.clone(),
            ip: encap.ip.clone(),
            options: match &own.encap_default {
                Some(ip) if *ip == encap.ip => own.encap_options.with("is_default", "true"),
                _ => own.encap_options.clone(),
            },
            chassis_name: own.name.clone(),
        })
        .collect()
}

/// The rows for our tunnel ends: those of `there` that are as they must be, and new ones.
fn encap_rows(own: &OwnChassis, there: &[(Uuid, &sb::Encap)], txn: &mut Txn) -> Set<Uuid> {
    let row_of = |encap: &sb::Encap| {
        let found = there.iter().find(|(_, row)| *row == encap);
        found.map_or_else(
            || {
                let uuid = Uuid::random();
                txn.insert(encap, sb::encap::ALL, uuid);
                uuid
            },
            |(uuid, _)| *uuid,
        )
    };
    encaps_of(own).iter().map(row_of).collect()
}

fn insert_chassis(own: &OwnChassis, uuid: Uuid, txn: &mut Txn) {
    let row = sb::Chassis {
        name: own.name.clone(),
        hostname: own.hostname.clone(),
        other_config: own.other_config.clone(),
        transport_zones: own.transport_zones.clone(),
        encaps: encap_rows(own, &[], txn),
        ..Default::default()
    };
    use sb::chassis as c;
    txn.insert(
        &row,
        c::NAME | c::HOSTNAME | c::OTHER_CONFIG | c::TRANSPORT_ZONES | c::ENCAPS,
        uuid,
    );
    txn.comment("weft-controller: registering chassis");
}

fn update_chassis(view: &View<'_>, own: &OwnChassis, uuid: Uuid, row: &sb::Chassis, txn: &mut Txn) {
    use sb::chassis as c;
    let mut new = sb::Chassis {
        hostname: own.hostname.clone(),
        ..Default::default()
    };
    let mut mask = 0;
    if row.hostname != own.hostname {
        mask |= c::HOSTNAME;
    }
    // Keys that are not ours are somebody else's (say, is-remote).
    new.other_config = with_all(&row.other_config, &own.other_config);
    if new.other_config != row.other_config {
        mask |= c::OTHER_CONFIG;
    }
    if row.transport_zones != own.transport_zones {
        new.transport_zones = own.transport_zones.clone();
        mask |= c::TRANSPORT_ZONES;
    }
    let there: Vec<(Uuid, &sb::Encap)> = row
        .encaps
        .iter()
        .filter_map(|&encap| Some((encap, view.sb.encap.get(encap)?)))
        .collect();
    // Old rows go with the last reference to them, within this transaction.
    new.encaps = encap_rows(own, &there, txn);
    if new.encaps != row.encaps {
        mask |= c::ENCAPS;
    }
    if mask != 0 {
        txn.update(uuid, &new, mask);
    }
}

fn with_all(base: &Map<Str, Str>, more: &Map<Str, Str>) -> Map<Str, Str> {
    let kept = base
        .iter()
        .filter(|(key, _)| !more.contains_key(&**key))
        .cloned();
    kept.chain(more.iter().cloned()).collect()
}

/// Rows we leave behind on a graceful exit: none.
pub fn farewell(view: &View<'_>, name: &Str, txn: &mut Txn) {
    if let Some(chassis) = find(view, Index::ChassisByName, name) {
        for (port, row) in view.sb.port_binding.iter() {
            if row.chassis == Some(chassis) {
                release(port, row, txn);
            }
            if row.additional_chassis.contains(&chassis) {
                release_additional(view, chassis, port, row, txn);
            }
        }
        txn.delete::<sb::Chassis>(chassis);
    }
    if let Some(private) = find(view, Index::ChassisPrivateByName, name) {
        txn.delete::<sb::ChassisPrivate>(private);
    }
    txn.comment("weft-controller: unregistering chassis");
}

/// Writes what is missing of the port bindings to be looked at.
pub fn bindings(view: &View<'_>, own: Uuid, claims: &Claims, draft: &mut Draft<'_>) {
    for &port in &claims.dirty {
        if let Some(row) = view.sb.port_binding.get(port) {
            let subject = Subject::Binding(port, row.logical_port.clone());
            draft.part(subject, |txn| binding(view, own, claims, (port, row), txn));
        }
    }
}

fn binding(
    view: &View<'_>,
    own: Uuid,
    claims: &Claims,
    (port, row): (Uuid, &sb::PortBinding),
    txn: &mut Txn,
) {
    use sb::port_binding as p;
    let held = claims.get(port);
    let role = held.map_or(Role::None, |held| held.claim.bind);
    if role != Role::Main && row.chassis == Some(own) {
        release(port, row, txn);
    }
    if role != Role::Additional && row.additional_chassis.contains(&own) {
        release_additional(view, own, port, row, txn);
    }
    let Some(held) = held.filter(|_| role != Role::None) else {
        return;
    };
    if role == Role::Additional {
        return bind_additional(view, own, &held.claim, (port, row), txn);
    }
    let mut new = sb::PortBinding {
        chassis: Some(own),
        ..Default::default()
    };
    let mut mask = 0;
    if row.chassis != Some(own) {
        mask |= p::CHASSIS;
    }
    new.encap = encap_of(view, own, &held.claim);
    if row.encap != new.encap {
        mask |= p::ENCAP;
    }
    let up = held.since <= view.installed;
    // While it is being bound somebody else's claim that it is up no longer counts.
    if row.up != Some(up) && (up || row.chassis != Some(own)) {
        new.up = Some(up);
        mask |= p::UP;
    }
    if mask != 0 {
        txn.update(port, &new, mask);
        txn.may_cut();
    }
}

/// Our row for the address that the port is to be reached by, of the best type.
fn encap_of(view: &View<'_>, own: Uuid, claim: &Claim) -> Option<Uuid> {
    let ip = claim.encap_ip.as_ref()?;
    let encaps = view.sb.chassis.get(own)?.encaps.iter();
    let of_ip = encaps.filter_map(|&uuid| {
        let row = view.sb.encap.get(uuid).filter(|row| row.ip == *ip)?;
        Some((Carrier::parse(&row.type_)?, uuid))
    });
    of_ip.min().map(|(_, uuid)| uuid)
}

/// One more chassis has the port; its row tells whether its machine has been heard here.
fn bind_additional(
    view: &View<'_>,
    own: Uuid,
    claim: &Claim,
    (port, row): (Uuid, &sb::PortBinding),
    txn: &mut Txn,
) {
    use sb::port_binding as p;
    if !row.additional_chassis.contains(&own) {
        let new = sb::PortBinding {
            additional_chassis: [own].into(),
            ..Default::default()
        };
        txn.mutate_insert(port, &new, p::ADDITIONAL_CHASSIS);
        txn.may_cut();
    }
    let encap = encap_of(view, own, claim);
    if let Some(encap) = encap.filter(|encap| !row.additional_encap.contains(encap)) {
        let new = sb::PortBinding {
            additional_encap: [encap].into(),
            ..Default::default()
        };
        txn.mutate_insert(port, &new, p::ADDITIONAL_ENCAP);
        txn.may_cut();
    }
    let Some(name) = view.sb.chassis.get(own).map(|row| &*row.name) else {
        return;
    };
    let there = row.options.get(ACTIVATED).map_or("", |list| &**list);
    if claim.activated && !there.split(',').any(|other| other == name) {
        let list = match there {
            "" => name.to_owned(),
            others => format!("{others},{name}"),
        };
        txn.set_key::<sb::PortBinding>(port, p::OPTIONS, ACTIVATED, list);
        txn.may_cut();
    }
}

fn release_additional(
    view: &View<'_>,
    own: Uuid,
    port: Uuid,
    row: &sb::PortBinding,
    txn: &mut Txn,
) {
    use sb::port_binding as p;
    let encaps = view.sb.chassis.get(own).map(|row| &row.encaps);
    let ours = |encap: &&Uuid| encaps.is_some_and(|own| own.contains(encap));
    let old = sb::PortBinding {
        additional_chassis: [own].into(),
        additional_encap: row.additional_encap.iter().filter(ours).copied().collect(),
        ..Default::default()
    };
    txn.mutate_delete(port, &old, p::ADDITIONAL_CHASSIS);
    if !old.additional_encap.is_empty() {
        txn.mutate_delete(port, &old, p::ADDITIONAL_ENCAP);
    }
    txn.may_cut();
}

fn release(port: Uuid, row: &sb::PortBinding, txn: &mut Txn) {
    use sb::port_binding as p;
    let new = sb::PortBinding {
        up: Some(false),
        ..Default::default()
    };
    let mut mask = p::CHASSIS | p::UP;
    if row.virtual_parent.is_some() {
        mask |= p::VIRTUAL_PARENT;
    }
    if row.encap.is_some() {
        mask |= p::ENCAP;
    }
    txn.update(port, &new, mask);
    txn.may_cut();
}

/// Claims whose interface may be told that its flows are in.
pub fn installed(
    claims: &Claims,
    installed: u64,
) -> impl Iterator<Item = (&Arc<crate::binding::Claim>, Uuid)> {
    claims
        .iter()
        .filter(move |held| held.since <= installed)
        .filter_map(|held| Some((&held.claim, held.claim.iface?)))
}
