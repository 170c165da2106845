//! Where a logical port is: here, on another chassis, or nowhere; and the claims on those that belong here.
//!
//! A port with an interface here is ours unless `requested-chassis` names somebody else. If another chassis takes it from
//! us while the interface is still here, both sides would go on taking it from each other for ever: we yield, say so, and
//! claim again once the other side lets go or the interface is plugged anew.
//!
//! `requested-chassis` may name several: the first is the port's main place, the others (where a migrating machine's twin
//! is about to run) have it as well and say so in `additional_chassis`.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_openflow::{Field, Match};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use crate::activation::{self, Waits};
use crate::announced::ANNOUNCED;
use crate::bridge::{BRIDGE, IntegrationBridge};
use crate::config::{CONFIG, Config, ME, Me};
use crate::egress::QUEUE;
use crate::ha;
use crate::iface::{IFACE, Iface, ofport_of};
use crate::index::Index;
use crate::local_datapaths::{LINK, SEED};
use crate::patch::PATCH;
use crate::physical::PORT;
use crate::physical::VLAN_PRESENT;
use crate::physical::chassis_mac::CHASSIS_MAC;
use crate::physical::port_security::PORT_SECURITY;
use crate::plug;
use crate::program::{Controller, Diagnostic, Key, Output, Read, SbRead};
use crate::zones::PORT_ZONE;

/// Publishes [`Place`]; keyed by port binding.
pub const BINDING: Kind<Controller> = Kind::pure(
    "binding",
    &["me", "config", "bridge", "iface", "ha-watched", "tunnel"],
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
    /// What the machine must be heard to say before the port is let in.
    pub waits: Waits,
    /// The place of the interface's encap-ip among our addresses; its packets leave by that one.
    pub encap: u8,
    /// The MTU of a VIF's interface, once it is known.
    pub mtu: Option<u16>,
}

impl Attachment {
    /// Matches what comes by it.
    pub(crate) fn from(&self) -> Match {
        let from = Match::any().with(Field::InPort, self.ofport);
        match self.tag {
            Some(tag) => from.with(Field::VlanVid, VLAN_PRESENT | u32::from(tag)),
            None => from,
        }
    }

    /// By an OpenFlow port, with packets as they are.
    fn plain(ofport: u32) -> Attachment {
        Attachment {
            ofport,
            tag: None,
            parent: None,
            waits: Waits::default(),
            encap: 0,
            mtu: None,
        }
    }
}

/// What a port's options let this chassis be to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Its place.
    Main,
    /// One more of its places.
    Additional,
    /// Nothing: others are named.
    None,
}

/// What `requested-chassis` among a port's options says of this chassis.
pub fn role(requested: Option<&Str>, me: &Me) -> Role {
    let Some(list) = requested.filter(|list| !list.is_empty()) else {
        return Role::Main;
    };
    let mut names = list.split(',').map(str::trim);
    match names.position(|name| name == &*me.name || name == &*me.hostname) {
        Some(0) => Role::Main,
        Some(_) => Role::Additional,
        None => Role::None,
    }
}

/// The option that [`role`] reads.
pub const REQUESTED: &str = "requested-chassis";

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
    /// The address that others should send to for this port, if the interface says.
    pub encap_ip: Option<Str>,
    /// As what the row should name us (not so for a localport).
    pub bind: Role,
    /// Whether the machine has been heard on this additional chassis, so that the row should say so.
    pub activated: bool,
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
    if found.seeds {
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
            encap_ip: found.encap_ip,
            activated: cx.activated(uuid),
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
    if row.options().contains_key(plug::TYPE) {
        cx.demand(plug::PLUG.id(), key);
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
    claim: Option<(Option<Uuid>, Role)>,
    /// Whether its being here, or that it may have to be, makes its datapath local.
    seeds: bool,
    /// The address that others should send to for it, if that is said.
    encap_ip: Option<Str>,
}

impl Found {
    fn unclaimed(place: Place) -> Found {
        Found {
            place,
            claim: None,
            seeds: false,
            encap_ip: None,
        }
    }

    /// A port that is claimed and makes its datapath local.
    fn claimed(place: Place, iface: Option<Uuid>, role: Role) -> Found {
        Found {
            place,
            claim: Some((iface, role)),
            seeds: true,
            encap_ip: None,
        }
    }
}

pub(crate) type PortRef<'a, 'x, 'y> = sb::PortBindingRef<'a, SbRead<'x, 'y>>;

fn locate<'y>(cx: &Cx<'y, Controller>, me: &Me, row: PortRef<'_, '_, 'y>, depth: u8) -> Found {
    match &**row.type_() {
        "" | "virtual" => vif(cx, me, row, depth),
        "localport" => match interface(cx, row) {
            Some((iface, ofport)) => Found {
                place: Place::Here(Attachment::plain(ofport)),
                claim: Some((Some(iface), Role::None)),
                seeds: false,
                encap_ip: None,
            },
            None => Found::unclaimed(Place::Nowhere),
        },
        "localnet" => match patch_ofport(cx, row.logical_port()) {
            Some(ofport) => Found::unclaimed(Place::Here(Attachment {
                tag: tag(row),
                ..Attachment::plain(ofport)
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
            Some(_) => Found::claimed(Place::HereLogical, None, Role::Main),
            None => Found::unclaimed(elsewhere(me, row)),
        },
        "l2gateway" if names_us(row.options().get("l2gateway-chassis"), me) => {
            let place = match patch_ofport(cx, row.logical_port()) {
                Some(ofport) => Place::Here(Attachment {
                    tag: tag(row),
                    ..Attachment::plain(ofport)
                }),
                None => Place::Coming,
            };
            Found::claimed(place, None, Role::Main)
        }
        "l3gateway" if names_us(row.options().get("l3gateway-chassis"), me) => {
            Found::claimed(Place::HereLogical, None, Role::Main)
        }
        kind @ ("chassisredirect" | "external") => {
            let members = candidates(cx, row);
            let place = match ha::active(cx, me, &members) {
                Some(chassis) if Some(chassis) == me.chassis => {
                    return Found::claimed(Place::HereLogical, None, Role::Main);
                }
                // At once, not only when the new gateway has told the southbound.
                Some(chassis) if kind == "chassisredirect" => Place::Remote(chassis),
                _ => elsewhere(me, row),
            };
            // Who may have to step in has the flows beforehand.
            let stands_by = me.chassis.is_some_and(|own| members.contains(&own));
            Found {
                seeds: stands_by,
                ..Found::unclaimed(place)
            }
        }
        _ => Found::unclaimed(elsewhere(me, row)),
    }
}

/// A port of a VM or of a container within one.
fn vif<'y>(cx: &Cx<'y, Controller>, me: &Me, row: PortRef<'_, '_, 'y>, depth: u8) -> Found {
    if &**row.type_() == "virtual" {
        return virtual_port(cx, me, row, depth);
    }
    let role = role(row.options().get(REQUESTED), me);
    if role == Role::None {
        if interface(cx, row).is_some() {
            cx.diagnose(port_diagnostic(
                row,
                "options",
                "its interface is here, requested-chassis names another chassis: not bound".into(),
            ));
        }
        return Found::unclaimed(elsewhere(me, row));
    }
    if role == Role::Main && cx.yielded(row.uuid()) {
        cx.diagnose(port_diagnostic(
            row,
            "chassis",
            "bound by another chassis too: left to it until it lets go or the interface here is plugged anew".into(),
        ));
        return Found::unclaimed(elsewhere(me, row));
    }
    if let Some(parent) = row.parent_port().as_ref().filter(|p| !p.is_empty()) {
        return container(cx, me, row, parent, role, depth);
    }
    match interface(cx, row) {
        Some((iface, ofport)) => {
            let (encap, encap_ip) = encap(cx, iface);
            let place = Place::Here(Attachment {
                waits: activation::waits(cx, me, row, role),
                encap,
                mtu: cx
                    .value::<Iface>(IFACE.id(), Key::Row(iface))
                    .and_then(|iface| iface.mtu),
                ..Attachment::plain(ofport)
            });
            Found {
                encap_ip,
                ..Found::claimed(place, Some(iface), role)
            }
        }
        None => Found::unclaimed(elsewhere(me, row)),
    }
}

/// A container is where the VIF around it is.
fn container<'y>(
    cx: &Cx<'y, Controller>,
    me: &Me,
    row: PortRef<'_, '_, 'y>,
    parent: &Str,
    role: Role,
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
                encap,
                mtu,
                ..
            },
        )) => {
            let place = Place::Here(Attachment {
                ofport,
                tag: Some(tag),
                parent: Some(parent),
                waits: activation::waits(cx, me, row, role),
                encap,
                mtu,
            });
            Found {
                encap_ip: encap_ip(cx, encap),
                ..Found::claimed(place, None, role)
            }
        }
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
        Some(_) => Found::claimed(Place::HereLogical, None, Role::Main),
        None => Found::unclaimed(elsewhere(me, row)),
    }
}

/// What the southbound says of a port that is not here.
fn elsewhere(me: &Me, row: PortRef<'_, '_, '_>) -> Place {
    match others(me, row).first() {
        Some(&chassis) => Place::Remote(chassis),
        None => Place::Nowhere,
    }
}

/// All other chassis that have a port, the main one first.
pub(crate) fn others(me: &Me, row: PortRef<'_, '_, '_>) -> Vec<Uuid> {
    let all = row
        .chassis()
        .iter()
        .chain(row.additional_chassis().iter())
        .copied();
    let mut others: Vec<Uuid> = Vec::new();
    for chassis in all.filter(|chassis| Some(*chassis) != me.chassis) {
        if !others.contains(&chassis) {
            others.push(chassis);
        }
    }
    others
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

/// The place among our addresses of the one that an interface wants to be reached by, and that address.
fn encap(cx: &Cx<'_, Controller>, iface: Uuid) -> (u8, Option<Str>) {
    let wanted = cx
        .value::<Iface>(IFACE.id(), Key::Row(iface))
        .and_then(|iface| iface.encap_ip.clone());
    let Some((wanted, config)) = wanted.zip(cx.value::<Config>(CONFIG.id(), Key::Global)) else {
        return (0, None);
    };
    let place = config.encap_ips.iter().position(|ip| *ip == wanted);
    match place.and_then(|place| u8::try_from(place).ok()) {
        Some(place) => (place, Some(wanted)),
        None => {
            let rec = cx.vs_rec();
            let row = cx.vs().interface.tracked(iface, &rec);
            let name = row.map(|row| row.name().clone()).unwrap_or_default();
            cx.diagnose(Diagnostic {
                row: format!("Interface {name}"),
                column: "external_ids",
                message: format!(
                    "encap-ip {wanted} is not in ovn-encap-ip: the default one is used"
                ),
                uuid: iface,
            });
            (0, None)
        }
    }
}

/// The address at a place that an interface has chosen.
fn encap_ip(cx: &Cx<'_, Controller>, place: u8) -> Option<Str> {
    let config = cx.value::<Config>(CONFIG.id(), Key::Global)?;
    (place > 0).then(|| config.encap_ips.get(usize::from(place)).cloned())?
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

fn names_us(name: Option<&Str>, me: &Me) -> bool {
    name.is_some_and(|name| *name == me.name)
}

fn tag(row: PortRef<'_, '_, '_>) -> Option<u16> {
    row.tag()
        .and_then(|tag| u16::try_from(tag).ok())
        .filter(|tag| (1..4096).contains(tag))
}

/// The chassis that may have a chassisredirect or external port, the preferred first.
fn candidates<'y>(cx: &Cx<'y, Controller>, row: PortRef<'_, '_, 'y>) -> Vec<Uuid> {
    if let Some(group) = *row.ha_chassis_group() {
        return ha::members(cx, group);
    }
    let (rec, sb) = (cx.sb_rec(), cx.sb());
    let rows = row
        .gateway_chassis()
        .iter()
        .filter_map(|&member| sb.gateway_chassis.tracked(member, &rec));
    let rows = rows.filter_map(|m| Some((*m.priority(), (*m.chassis())?)));
    ha::in_order(cx, rows.collect())
}

pub(crate) fn port_diagnostic(
    row: PortRef<'_, '_, '_>,
    column: &'static str,
    message: String,
) -> Diagnostic {
    Diagnostic {
        row: format!("Port_Binding {}", row.logical_port()),
        column,
        message,
        uuid: row.uuid(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_named_is_the_main_one() {
        let me = Me {
            name: "h1".into(),
            hostname: "host-1".into(),
            chassis: None,
        };
        let role = |text: &str| role(Some(&text.into()), &me);
        assert_eq!(super::role(None, &me), Role::Main);
        assert_eq!(role(""), Role::Main);
        assert_eq!(role("h1"), Role::Main);
        assert_eq!(role("host-1, h2"), Role::Main);
        assert_eq!(role("h2,h3, h1"), Role::Additional);
        assert_eq!(role("h2"), Role::None);
    }
}
