//! Tunnels to the other chassis: which there must be, and the OpenFlow ports of those there are.
//!
//! One tunnel per other chassis and tunnel end of it, of the best type that both sides have: Geneve, then STT, then VXLAN.

use std::sync::Arc;

use weft_engine::{Cx, Kind, Wake};
use weft_ovsdb::model::{Str, Uuid};

use crate::bridge::OwnPort;
use crate::config::{CONFIG, Config, ME, Me};
use crate::ha::{WATCHED, Watched};
use crate::iface::iface_of;
use crate::index::Index;
use crate::ledger::Ledgers;
use crate::physical::tunnel::INPUT;
use crate::program::{Controller, Diagnostic, Key, Output, Read};

/// Emits the tunnel ports to a chassis and publishes [`Tunnel`]; keyed by the other chassis.
pub const TUNNEL: Kind<Controller> = Kind::serial(
    "tunnel",
    &["me", "config", "iface", "ha-watched"],
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
    /// Whether BFD sees the other end, where it is watched.
    pub bfd_up: Option<bool>,
}

/// The tunnels to one chassis, the preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnels(pub Vec<Tunnel>);

impl Tunnels {
    /// Whether the other chassis is seen by any tunnel; `None` where none is watched.
    pub fn alive(&self) -> Option<bool> {
        self.0.iter().filter_map(|tunnel| tunnel.bfd_up).max()
    }
}

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
    let ours = |carrier: Carrier| config.encaps.iter().any(|e| &*e.kind == carrier.name());
    let mut ends: Vec<(Carrier, Str, Uuid)> = Vec::new();
    for &encap in row.encaps().iter() {
        let Some(encap_row) = cx.sb().encap.tracked(encap, &sb) else {
            continue;
        };
        match Carrier::parse(encap_row.type_()) {
            Some(carrier) if ours(carrier) => ends.push((carrier, encap_row.ip().clone(), encap)),
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
    let Some(best) = ends.first().map(|e| e.0) else {
        return;
    };
    ends.retain(|e| e.0 == best);
    let watched = cx
        .value::<Watched>(WATCHED.id(), Key::Global)
        .filter(|watched| watched.chassis.contains(&uuid));
    let mut up = Vec::new();
    for (carrier, ip, encap) in ends {
        let id: Str = format!("{}@{}", row.name(), ip).into();
        let name = port_name(cx, ledgers, uuid, row.name(), &id);
        let mut options: Vec<(Str, Str)> = vec![
            ("key".into(), "flow".into()),
            ("remote_ip".into(), ip.clone()),
        ];
        let csum = cx
            .sb()
            .encap
            .tracked(encap, &sb)
            .is_some_and(|e| e.options().flag("csum", false));
        // As their row asks; Open vSwitch's own default is no checksum.
        if csum {
            options.push(("csum".into(), "true".into()));
        }
        if let Some(tos) = &config.encap_tos {
            options.push(("tos".into(), tos.clone()));
        }
        if let Some(df) = &config.encap_df {
            options.push(("df_default".into(), df.clone()));
        }
        if config.set_local_ip
            && let Some(local) = config.encaps.iter().find(|e| &*e.kind == carrier.name())
        {
            options.push(("local_ip".into(), local.ip.clone()));
        }
        cx.emit(Output::VsPort(Arc::new(OwnPort {
            bridge: config.bridge.clone(),
            name,
            kind: carrier.name().into(),
            options: options.into(),
            bfd: watched
                .as_ref()
                .map(|watched| watched.settings.clone())
                .unwrap_or_default(),
            mark: ("ovn-chassis-id", id.clone()),
        })));
        let port = cx.lookup_one(Index::TunnelPort, &*id);
        up.extend(port.and_then(|p| iface_of(cx, p)).and_then(|iface| {
            Some(Tunnel {
                carrier,
                ofport: iface.ofport?,
                bfd_up: watched.is_some().then_some(iface.bfd_up),
            })
        }));
    }
    if !up.is_empty() {
        cx.demand(INPUT.id(), key);
        cx.publish(Tunnels(up));
    }
}

fn gone(ledgers: &mut Ledgers, key: Key, _: &mut Wake<'_, Controller>) {
    ledgers.tunnels.free(key.row());
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
    let existing = cx.lookup_one(Index::TunnelPort, &**id);
    if let Some(row) = existing.and_then(|p| cx.vs().port.tracked(p, &vs)) {
        ledgers.tunnels.note(chassis, id, row.name());
        return row.name().clone();
    }
    let prefix: String = name.chars().take(6).collect();
    ledgers
        .tunnels
        .name(chassis, id, |n| format!("ovn-{prefix}-{n:x}").into())
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
    fn geneve_is_preferred() {
        assert!(Carrier::Geneve < Carrier::Stt && Carrier::Stt < Carrier::Vxlan);
    }
}
