//! Tunnels to the other chassis: which there must be, and the OpenFlow ports of those there are.
//!
//! One tunnel per other chassis, tunnel end of it and address of ours, of the best type that both sides have: Geneve, then
//! STT, then VXLAN. Packets to a port go to the end that its row names (`encap`), else to the other chassis's default one,
//! from the address that the interface they came from names (`encap-ip`), else from our default one.

use std::sync::Arc;

use weft_engine::{Cx, Kind, Wake};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::sb;

use crate::bridge::{BRIDGE, IntegrationBridge, OwnPort};
use crate::config::{CONFIG, Config, EncapSetting, ME, Me};
use crate::ha::{WATCHED, Watched};
use crate::iface::iface_of;
use crate::index::Index;
use crate::ledger::Ledgers;
use crate::physical::tunnel::INPUT;
use crate::program::{Controller, Diagnostic, Key, Output, Read, SbRead};

/// Emits the tunnel ports to a chassis and publishes [`Tunnel`]; keyed by the other chassis.
pub const TUNNEL: Kind<Controller> = Kind::serial(
    "tunnel",
    &["me", "config", "bridge", "iface", "ha-watched"],
    tunnel,
    gone,
);

/// How a tunnel carries the logical ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// VNI is the datapath; ports are in an option.
    Geneve,
    /// Everything in the 64-bit key.
    Stt,
    /// 12 bits of datapath and 12 bits of output port in the VNI.
    Vxlan,
}

impl Carrier {
    /// Parses Encap.type.
    pub fn parse(text: &str) -> Option<Carrier> {
        match text {
            "geneve" => Some(Carrier::Geneve),
            "stt" => Some(Carrier::Stt),
            "vxlan" => Some(Carrier::Vxlan),
            _ => None,
        }
    }

    /// The interface type of Open vSwitch.
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Geneve => "geneve",
            Carrier::Stt => "stt",
            Carrier::Vxlan => "vxlan",
        }
    }
}

/// A tunnel that is up in Open vSwitch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// How it carries the logical ports.
    pub carrier: Carrier,
    /// Its OpenFlow port.
    pub ofport: u32,
    /// The row of its other end.
    pub remote: Uuid,
    /// The place of its near end among our addresses.
    pub local: u8,
    /// Whether BFD sees the other end, where it is watched.
    pub bfd_up: Option<bool>,
}

/// The tunnels to one chassis, the preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnels(pub Vec<Tunnel>);

impl Tunnels {
    /// The tunnel to one of the ends `wanted`, or to the preferred one, from the address at a place among ours.
    pub fn choose(&self, wanted: &[Uuid], local: u8) -> Option<Tunnel> {
        let asked = self.0.iter().find(|tunnel| wanted.contains(&tunnel.remote));
        let end = asked.or(self.0.first())?.remote;
        let to_it = || self.0.iter().filter(|tunnel| tunnel.remote == end);
        let found = to_it().find(|tunnel| tunnel.local == local);
        found.or(to_it().next()).copied()
    }

    /// The places among our addresses that it matters to choose from.
    pub fn locals(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(|tunnel| tunnel.local)
    }

    /// Whether the other chassis is seen by any tunnel; `None` where none is watched.
    pub fn alive(&self) -> Option<bool> {
        self.0.iter().filter_map(|tunnel| tunnel.bfd_up).max()
    }
}

type ChassisRef<'a, 'x, 'y> = sb::ChassisRef<'a, SbRead<'x, 'y>>;

fn tunnel(cx: &Cx<'_, Controller>, ledgers: &mut Ledgers, key: Key) {
    let uuid = key.row();
    let sb = cx.sb_rec();
    let (Some(me), Some(config)) = (
        cx.value::<Me>(ME.id(), Key::Global),
        cx.value::<Config>(CONFIG.id(), Key::Global),
    ) else {
        return;
    };
    let Some(row) = cx.sb().chassis.tracked(uuid, &sb) else {
        return;
    };
    if *row.name() == me.name || !zones_meet(&config.transport_zones, row.transport_zones()) {
        return;
    }
    let ends = ends(cx, row, &config);
    let Some(carrier) = ends.first().map(|end| end.carrier) else {
        return;
    };
    let watched = cx
        .value::<Watched>(WATCHED.id(), Key::Global)
        .filter(|watched| watched.chassis.contains(&uuid));
    let locals: Vec<(u8, &Str)> = (0u8..)
        .zip(&config.encap_ips)
        .filter(|(_, ip)| {
            let has = |e: &EncapSetting| e.ip == **ip && *e.kind == *carrier.name();
            config.encaps.iter().any(has)
        })
        .collect();
    let several = locals.len() > 1;
    let pairs = ends
        .iter()
        .flat_map(|end| locals.iter().map(move |local| (end, *local)))
        // With a single address it is Open vSwitch's to say whether it goes with the other.
        .filter(|(end, (_, own))| !several || own.contains(':') == end.ip.contains(':'));
    let mut up = Vec::new();
    for (end, (local, own_ip)) in pairs {
        // As always where there is no choice: who takes over from us knows its tunnels by their names.
        let id: Str = match several {
            false => format!("{}@{}", row.name(), end.ip).into(),
            true => format!("{}@{}%{own_ip}", row.name(), end.ip).into(),
        };
        let name = port_name(cx, ledgers, uuid, row.name(), &id);
        let local_ip = (config.set_local_ip || several).then_some(own_ip);
        cx.emit(Output::VsPort(Arc::new(OwnPort {
            bridge: config.bridge.clone(),
            name,
            kind: carrier.name().into(),
            options: settings(cx, end, &config, local_ip),
            bfd: watched
                .as_ref()
                .map(|watched| watched.settings.clone())
                .unwrap_or_default(),
            mark: ("ovn-chassis-id", id.clone()),
            ids: Default::default(),
            mtu: None,
        })));
        let port = own_port(cx, &id);
        up.extend(port.and_then(|p| iface_of(cx, p)).and_then(|iface| {
            Some(Tunnel {
                carrier,
                ofport: iface.ofport?,
                remote: end.encap,
                local,
                bfd_up: watched.is_some().then_some(iface.bfd_up),
            })
        }));
    }
    if !up.is_empty() {
        cx.demand(INPUT.id(), key);
        cx.publish(Tunnels(up));
    }
}

/// An end of tunnels to another chassis.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct End {
    carrier: Carrier,
    /// It is not the one that the chassis calls its default.
    other: bool,
    ip: Str,
    encap: Uuid,
}

/// The ends of a chassis of the best type that we have too, its default one first.
fn ends(cx: &Cx<'_, Controller>, row: ChassisRef<'_, '_, '_>, config: &Config) -> Vec<End> {
    let sb = cx.sb_rec();
    let ours = |carrier: Carrier| config.encaps.iter().any(|e| &*e.kind == carrier.name());
    let mut ends: Vec<End> = Vec::new();
    for &encap in row.encaps().iter() {
        let Some(encap_row) = cx.sb().encap.tracked(encap, &sb) else {
            continue;
        };
        match Carrier::parse(encap_row.type_()) {
            Some(carrier) if ours(carrier) => ends.push(End {
                carrier,
                other: !encap_row.options().flag("is_default", false),
                ip: encap_row.ip().clone(),
                encap,
            }),
            Some(_) => {}
            None => cx.diagnose(Diagnostic {
                row: format!("Encap of chassis {}", row.name()),
                column: "type",
                message: format!(
                    "\"{}\" is none of geneve, stt, vxlan: not used",
                    encap_row.type_()
                ),
                uuid: encap,
            }),
        }
    }
    ends.sort();
    if let Some(best) = ends.first().map(|end| end.carrier) {
        ends.retain(|end| end.carrier == best);
    }
    ends
}

/// The options of a tunnel's interface.
fn settings(
    cx: &Cx<'_, Controller>,
    end: &End,
    config: &Config,
    local_ip: Option<&Str>,
) -> Map<Str, Str> {
    let sb = cx.sb_rec();
    let mut options: Vec<(Str, Str)> = vec![
        ("key".into(), "flow".into()),
        ("remote_ip".into(), end.ip.clone()),
    ];
    let theirs = cx.sb().encap.tracked(end.encap, &sb);
    // As their row asks; Open vSwitch's own default is no checksum.
    if theirs.is_some_and(|e| e.options().flag("csum", false)) {
        options.push(("csum".into(), "true".into()));
    }
    let port = theirs.and_then(|e| e.options().nonempty("dst_port"));
    let rest = [
        ("dst_port", port),
        ("tos", config.encap_tos.as_ref()),
        ("df_default", config.encap_df.as_ref()),
        ("local_ip", local_ip),
    ];
    let set = rest
        .into_iter()
        .filter_map(|(key, value)| Some((key.into(), value?.clone())));
    options.extend(set);
    options.into()
}

fn gone(ledgers: &mut Ledgers, key: Key, _: &mut Wake<'_, Controller>) {
    ledgers.tunnels.free(key.row());
}

/// The port of a tunnel on our bridge. Another controller of this host may have one of the same name to the same end.
fn own_port(cx: &Cx<'_, Controller>, id: &Str) -> Option<Uuid> {
    let bridge = cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global)?;
    let ports = cx.lookup(Index::TunnelPort, &**id).iter().copied();
    let mut own = ports.filter(|port| cx.lookup(Index::BridgeOfPort, port).contains(&bridge.uuid));
    own.next()
}

/// The name of a tunnel port: `ovn-` with six characters of the chassis's name and a number that makes it unique. What
/// exists keeps its name.
fn port_name(
    cx: &Cx<'_, Controller>,
    ledgers: &mut Ledgers,
    chassis: Uuid,
    name: &str,
    id: &Str,
) -> Str {
    let vs = cx.vs_rec();
    if let Some(row) = own_port(cx, id).and_then(|p| cx.vs().port.tracked(p, &vs)) {
        ledgers.tunnels.note(chassis, id, row.name());
        return row.name().clone();
    }
    let prefix: String = name.chars().take(6).collect();
    // Names of ports are unique in all of Open vSwitch.
    let ours = cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global);
    let is_free = |name: &str| {
        let ports = cx.lookup(Index::VsPortByName, name).iter();
        let mut bridges = ports.flat_map(|port| cx.lookup(Index::BridgeOfPort, port));
        bridges.all(|bridge| ours.as_ref().is_some_and(|ours| ours.uuid == *bridge))
    };
    let candidate = |n| format!("ovn-{prefix}-{n:x}").into();
    ledgers.tunnels.name(chassis, id, candidate, is_free)
}

/// Whether two chassis have a transport zone in common; none at all is the default zone.
fn zones_meet(ours: &[Str], theirs: &[Str]) -> bool {
    (ours.is_empty() && theirs.is_empty()) || ours.iter().any(|zone| theirs.contains(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_zones() {
        let z = |list: &[&str]| list.iter().map(|s| Str::from(*s)).collect::<Vec<_>>();
        assert!(zones_meet(&z(&[]), &z(&[])));
        assert!(zones_meet(&z(&["a", "b"]), &z(&["b"])));
        assert!(!zones_meet(&z(&["a"]), &z(&["b"])));
        assert!(!zones_meet(&z(&["a"]), &z(&[])));
    }

    #[test]
    fn the_end_is_the_ports_choice_and_the_beginning_the_senders() {
        let tunnel = |remote: u128, local: u8| Tunnel {
            carrier: Carrier::Geneve,
            ofport: remote as u32 * 10 + u32::from(local),
            remote: Uuid(remote),
            local,
            bfd_up: None,
        };
        let tunnels = Tunnels(vec![tunnel(1, 0), tunnel(1, 1), tunnel(2, 0), tunnel(2, 1)]);
        let chosen = |wanted: &[u128], local: u8| {
            let wanted: Vec<Uuid> = wanted.iter().map(|w| Uuid(*w)).collect();
            tunnels.choose(&wanted, local).map(|tunnel| tunnel.ofport)
        };
        assert_eq!(chosen(&[], 0), Some(10));
        assert_eq!(chosen(&[], 1), Some(11));
        assert_eq!(chosen(&[2], 0), Some(20));
        assert_eq!(chosen(&[2], 1), Some(21));
        assert_eq!(chosen(&[9], 7), Some(10), "neither is there");
        assert_eq!(Tunnels(Vec::new()).choose(&[], 0), None);
    }

    #[test]
    fn geneve_is_preferred() {
        assert!(Carrier::Geneve < Carrier::Stt && Carrier::Stt < Carrier::Vxlan);
    }
}
