//! Where a logical port is: here, on another chassis, or nowhere; and the claims on those that belong here.
//!
//! A port with an interface here is ours unless `requested-chassis` names somebody else. If another chassis takes it from
//! us while the interface is still here, both sides would go on taking it from each other for ever: we yield, say so, and
//! claim again once the other side lets go or the interface is plugged anew.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use crate::announced::ANNOUNCED;
use crate::bridge::{BRIDGE, IntegrationBridge};
use crate::config::{ME, Me};
use crate::egress::QUEUE;
use crate::ha;
use crate::iface::{IFACE, Iface, ofport_of};
use crate::index::Index;
use crate::local_datapaths::{LINK, SEED};
use crate::patch::PATCH;
use crate::physical::PORT;
use crate::physical::chassis_mac::CHASSIS_MAC;
use crate::physical::port_security::PORT_SECURITY;
use crate::program::{Controller, Diagnostic, Key, Output, Read, SbRead};
use crate::zones::PORT_ZONE;

/// Publishes [`Place`]; keyed by port binding.
pub const BINDING: Kind<Controller> = Kind::pure(
    "binding",
    &["me", "bridge", "iface", "ha-watched", "tunnel"],
    binding,
);

/// Where a logical port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this chassis, by an OpenFlow port of the integration bridge.
    Here(Attachment),
    /// On this chassis without a port of its own: patch ports, l3gateway ports, chassisredirect ports.
    HereLogical,
    /// On this chassis once Open vSwitch has given it a port number (a localnet port whose patch port is being made).
    Coming,
    /// On another chassis.
    Remote(Uuid),
    /// Nowhere yet.
    Nowhere,
}

impl Place {
    /// Whether the port resides on this chassis, as `is_chassis_resident` asks.
    pub fn is_here(&self) -> bool {
        matches!(self, Place::Here(_) | Place::HereLogical | Place::Coming)
    }
}

/// How a port here is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// OpenFlow port.
    pub ofport: u32,
    /// VLAN tag of a container within a VIF, or of a localnet or l2gateway port.
    pub tag: Option<u16>,
    /// The port binding of the VIF around a container.
    pub parent: Option<Uuid>,
}

/// A port that is bound here and whose row should say so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The port binding.
    pub port: Uuid,
    /// Its name.
    pub name: Str,
    /// The interface, to be told when the flows are in.
    pub iface: Option<Uuid>,
    /// Its OpenFlow port; a new one means that it has been plugged anew.
    pub ofport: Option<u32>,
    /// Whether Port_Binding.chassis should say that we have it (not so for a localport).
    pub bind: bool,
}

/// Nests no deeper than this: containers in containers are made by mistake only.
const MAX_NESTING: u8 = 4;

fn binding(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let sb = cx.sb_rec();
    let Some(me) = cx.value::<Me>(ME.id(), Key::Global) else {
        return;
    };
    let Some(row) = cx.sb().port_binding.tracked(uuid, &sb) else {
        return;
    };
    let found = locate(cx, &me, row, 0);
    if let Found {
        place, seeds: true, ..
    } = &found
        && place.is_here()
    {
        cx.demand(SEED.id(), Key::Row(*row.datapath()));
    }
    demand_consequences(cx, row, &found.place);
    if let Some((iface, bind)) = found.claim {
        let ofport = match &found.place {
            Place::Here(attachment) => Some(attachment.ofport),
            _ => None,
        };
        cx.emit(Output::Claim(Arc::new(Claim {
            port: uuid,
            name: row.logical_port().clone(),
            iface,
            ofport,
            bind,
        })));
    }
    cx.publish(found.place);
}

/// The units that work on this port exist for as long as they have something to do.
fn demand_consequences(cx: &Cx<'_, Controller>, row: PortRef<'_, '_, '_>, place: &Place) {
    let key = Key::Row(row.uuid());
    let kind = &**row.type_();
    if matches!(kind, "patch" | "l3gateway") {
        cx.demand(LINK.id(), key);
    }
    if kind == "patch" {
        cx.demand(CHASSIS_MAC.id(), key);
    }
    if matches!(kind, "localnet" | "l2gateway") {
        cx.demand(PATCH.id(), key);
    }
    if *place != Place::Nowhere {
        cx.demand(PORT.id(), key);
    }
    // Of a switch's own port, and of a router's addresses there.
    let speaks = match kind {
        "" => matches!(place, Place::Here(_)),
        "patch" | "l3gateway" => place.is_here() && !row.nat_addresses().is_empty(),
        _ => false,
    };
    if speaks {
        cx.demand(ANNOUNCED.id(), key);
    }
    if place.is_here() && row.options().contains_key("qdisc_queue_id") {
        cx.demand(QUEUE.id(), key);
    }
    if place.is_here() && kind != "mirror" {
        cx.demand(PORT_ZONE.id(), key);
        cx.demand(PORT_SECURITY.id(), key);
    }
}

/// What is found out about a port.
struct Found {
    place: Place,
    /// Its interface, if it has one, and whether the southbound should name us; none for ports that are not claimed.
    claim: Option<(Option<Uuid>, bool)>,
    /// Whether its being here makes its datapath local.
    seeds: bool,
}

impl Found {
    fn unclaimed(place: Place) -> Found {
        Found {
            place,
            claim: None,
            seeds: false,
        }
    }
}

pub(crate) type PortRef<'a, 'x, 'y> = sb::PortBindingRef<'a, SbRead<'x, 'y>>;

fn locate<'y>(cx: &Cx<'y, Controller>, me: &Me, row: PortRef<'_, '_, 'y>, depth: u8) -> Found {
    match &**row.type_() {
        "" | "virtual" => vif(cx, me, row, depth),
        "localport" => match interface(cx, row) {
            Some((iface, ofport)) => Found {
                place: Place::Here(Attachment {
                    ofport,
                    tag: None,
                    parent: None,
                }),
                claim: Some((Some(iface), false)),
                seeds: false,
            },
            None => Found::unclaimed(Place::Nowhere),
        },
        "localnet" => match patch_ofport(cx, row.logical_port()) {
            Some(ofport) => Found::unclaimed(Place::Here(Attachment {
                ofport,
                tag: tag(row),
                parent: None,
            })),
            None => Found::unclaimed(Place::Coming),
        },
        "patch" => Found::unclaimed(Place::HereLogical),
        // The way to the sink of a mirror is where the sink is.
        "mirror" => match row
            .mirror_port()
            .as_ref()
            .filter(|_| depth < MAX_NESTING)
            .and_then(|sink| around(cx, me, sink, depth))
        {
            Some(_) => Found {
                place: Place::HereLogical,
                claim: Some((None, true)),
                seeds: true,
            },
            None => Found::unclaimed(elsewhere(me, row)),
        },
        "l2gateway" if names_us(row.options().get("l2gateway-chassis"), me) => {
            let place = match patch_ofport(cx, row.logical_port()) {
                Some(ofport) => Place::Here(Attachment {
                    ofport,
                    tag: tag(row),
                    parent: None,
                }),
                None => Place::Coming,
            };
            Found {
                place,
                claim: Some((None, true)),
                seeds: true,
            }
        }
        "l3gateway" if names_us(row.options().get("l3gateway-chassis"), me) => Found {
            place: Place::HereLogical,
            claim: Some((None, true)),
            seeds: true,
        },
        kind @ ("chassisredirect" | "external") => match gateway(cx, me, row) {
            Some(chassis) if Some(chassis) == me.chassis => Found {
                place: Place::HereLogical,
                claim: Some((None, true)),
                seeds: true,
            },
            // At once, not only when the new gateway has told the southbound.
            Some(chassis) if kind == "chassisredirect" => Found::unclaimed(Place::Remote(chassis)),
            _ => Found::unclaimed(elsewhere(me, row)),
        },
        _ => Found::unclaimed(elsewhere(me, row)),
    }
}

/// A port of a VM or of a container within one.
fn vif<'y>(cx: &Cx<'y, Controller>, me: &Me, row: PortRef<'_, '_, 'y>, depth: u8) -> Found {
    if &**row.type_() == "virtual" {
        return virtual_port(cx, me, row, depth);
    }
    if !requested_here(me, row) {
        if interface(cx, row).is_some() {
            cx.diagnose(port_diagnostic(
                row,
                "options",
                "its interface is here, requested-chassis names another chassis: not bound".into(),
            ));
        }
        return Found::unclaimed(elsewhere(me, row));
    }
    if cx.yielded(row.uuid()) {
        cx.diagnose(port_diagnostic(
            row,
            "chassis",
            "bound by another chassis too: left to it until it lets go or the interface here is plugged anew".into(),
        ));
        return Found::unclaimed(elsewhere(me, row));
    }
    if let Some(parent) = row.parent_port().as_ref().filter(|p| !p.is_empty()) {
        return container(cx, me, row, parent, depth);
    }
    match interface(cx, row) {
        Some((iface, ofport)) => Found {
            place: Place::Here(Attachment {
                ofport,
                tag: None,
                parent: None,
            }),
            claim: Some((Some(iface), true)),
            seeds: true,
        },
        None => Found::unclaimed(elsewhere(me, row)),
    }
}

/// A container is where the VIF around it is.
fn container<'y>(
    cx: &Cx<'y, Controller>,
    me: &Me,
    row: PortRef<'_, '_, 'y>,
    parent: &Str,
    depth: u8,
) -> Found {
    let Some(tag) = tag(row) else {
        cx.diagnose(port_diagnostic(
            row,
            "tag",
            "a container port needs a tag: not bound".into(),
        ));
        return Found::unclaimed(Place::Nowhere);
    };
    let around = (depth < MAX_NESTING)
        .then(|| around(cx, me, parent, depth))
        .flatten();
    match around {
        Some((
            parent,
            Attachment {
                ofport,
                parent: None,
                ..
            },
        )) => Found {
            place: Place::Here(Attachment {
                ofport,
                tag: Some(tag),
                parent: Some(parent),
            }),
            claim: Some((None, true)),
            seeds: true,
        },
        Some(_) => {
            cx.diagnose(port_diagnostic(
                row,
                "parent_port",
                "its parent is itself in another port: not bound".into(),
            ));
            Found::unclaimed(Place::Nowhere)
        }
        None => Found::unclaimed(elsewhere(me, row)),
    }
}

/// The port called `name` if it is attached here.
fn around(cx: &Cx<'_, Controller>, me: &Me, name: &Str, depth: u8) -> Option<(Uuid, Attachment)> {
    let rec = cx.sb_rec();
    let uuid = cx.lookup_one(Index::PortByName, &**name)?;
    let row = cx.sb().port_binding.tracked(uuid, &rec)?;
    match locate(cx, me, row, depth + 1).place {
        Place::Here(attachment) => Some((uuid, attachment)),
        _ => None,
    }
}

/// A virtual port is where the port that answered for it last is, once that chassis has said so in the row.
fn virtual_port<'y>(
    cx: &Cx<'y, Controller>,
    me: &Me,
    row: PortRef<'_, '_, 'y>,
    depth: u8,
) -> Found {
    let ours = me.chassis.is_some() && *row.chassis() == me.chassis;
    let parent = row
        .virtual_parent()
        .as_ref()
        .filter(|p| ours && !p.is_empty());
    match parent.and_then(|p| {
        (depth < MAX_NESTING)
            .then(|| around(cx, me, p, depth))
            .flatten()
    }) {
        Some(_) => Found {
            place: Place::HereLogical,
            claim: Some((None, true)),
            seeds: true,
        },
        None => Found::unclaimed(elsewhere(me, row)),
    }
}

/// What the southbound says of a port that is not here.
fn elsewhere(me: &Me, row: PortRef<'_, '_, '_>) -> Place {
    match *row.chassis() {
        Some(chassis) if Some(chassis) != me.chassis => Place::Remote(chassis),
        _ => Place::Nowhere,
    }
}

/// The interface of a VIF or localport, with its OpenFlow port; the one with the lowest port if there are several.
fn interface(cx: &Cx<'_, Controller>, row: PortRef<'_, '_, '_>) -> Option<(Uuid, u32)> {
    let wanted = row.options().nonempty("iface-id-ver");
    cx.lookup(Index::InterfaceById, &**row.logical_port())
        .iter()
        .filter_map(|&uuid| {
            let iface = cx.value::<Iface>(IFACE.id(), Key::Row(uuid))?;
            if wanted.is_some() && iface.version.as_ref() != wanted {
                return None;
            }
            Some((iface.ofport?, uuid))
        })
        .min()
        .map(|(ofport, uuid)| (uuid, ofport))
}

/// The port of Open vSwitch that a VIF or localport is attached by.
pub(crate) fn attached_port(cx: &Cx<'_, Controller>, row: PortRef<'_, '_, '_>) -> Option<Uuid> {
    let (iface, _) = interface(cx, row)?;
    cx.lookup_one(Index::PortOfInterface, iface)
}

/// The OpenFlow port of the patch port that implements a localnet or l2gateway port.
fn patch_ofport(cx: &Cx<'_, Controller>, name: &str) -> Option<u32> {
    let bridge = cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global)?;
    cx.lookup(Index::PatchPort, name)
        .iter()
        .filter(|&&port| cx.lookup(Index::BridgeOfPort, port).contains(&bridge.uuid))
        .find_map(|&port| ofport_of(cx, port))
}

/// Whether the port may be bound here.
fn requested_here(me: &Me, row: PortRef<'_, '_, '_>) -> bool {
    match row.options().nonempty("requested-chassis") {
        None => true,
        Some(list) => list
            .split(',')
            .map(str::trim)
            .any(|name| name == &*me.name || name == &*me.hostname),
    }
}

fn names_us(name: Option<&Str>, me: &Me) -> bool {
    name.is_some_and(|name| *name == me.name)
}

fn tag(row: PortRef<'_, '_, '_>) -> Option<u16> {
    row.tag()
        .and_then(|tag| u16::try_from(tag).ok())
        .filter(|tag| (1..4096).contains(tag))
}

/// The chassis that should have a chassisredirect or external port, as far as this one can tell.
fn gateway<'y>(cx: &Cx<'y, Controller>, me: &Me, row: PortRef<'_, '_, 'y>) -> Option<Uuid> {
    let (rec, sb) = (cx.sb_rec(), cx.sb());
    let members = match *row.ha_chassis_group() {
        Some(group) => ha::members(cx, group),
        None => {
            let rows = row
                .gateway_chassis()
                .iter()
                .filter_map(|&member| sb.gateway_chassis.tracked(member, &rec));
            ha::in_order(
                cx,
                rows.filter_map(|m| Some((*m.priority(), (*m.chassis())?)))
                    .collect(),
            )
        }
    };
    ha::active(cx, me, &members)
}

fn port_diagnostic(row: PortRef<'_, '_, '_>, column: &'static str, message: String) -> Diagnostic {
    Diagnostic {
        row: format!("Port_Binding {}", row.logical_port()),
        column,
        message,
        uuid: row.uuid(),
    }
}
