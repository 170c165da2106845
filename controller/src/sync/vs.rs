//! Own rows in the local Open vSwitch database: the integration bridge, tunnel and patch ports, conntrack zones, and the
//! word to an interface that its flows are in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::vs;

use super::aside::{Draft, Subject};
use super::claims::Claims;
use super::interfaces::{forget_installed, interfaces, is_on};
use super::plugs::Plugs;
use crate::bridge::{MARKS, OwnPort, Wanted};
use crate::egress::OwnQueue;
use crate::index::{Index, Indexes};
use crate::ledger::zone_entry;
use crate::mirror::OwnMirror;
use crate::plug::PLUGGED;
use crate::program::Output;

/// What must be in the database.
#[derive(Default, Debug)]
pub struct Desired {
    pub(super) bridge: Option<Arc<Wanted>>,
    ports: FxHashMap<Str, Arc<OwnPort>>,
    zones: FxHashMap<Str, u16>,
    /// Owners of zones that are not as they were when they were last written.
    touched: FxHashSet<Str>,
    plugs: Plugs,
    pub(super) mirrors: BTreeMap<Str, Arc<OwnMirror>>,
    /// By port and number.
    pub(super) queues: BTreeMap<(Uuid, u32), Arc<OwnQueue>>,
}

/// What is known when a transaction is made.
pub struct View<'a> {
    /// The database.
    pub vs: &'a vs::Db,
    /// Its indexes.
    pub idx: &'a Indexes,
    /// The flow table that is in.
    pub installed: u64,
    /// Whether everything that we know of the southbound is worked in: only then is anything taken away.
    pub settled: bool,
    /// The southbound's nb_cfg whose flows are in, and when they were (milliseconds since the epoch).
    pub nb_cfg: Option<(i64, i64)>,
    /// When this process started, milliseconds since the epoch.
    pub started_ms: i64,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
}

/// Which parts of the database are to be compared with what must be in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Look(u8);

impl Look {
    /// Tunnel and patch ports.
    pub const PORTS: Look = Look(1);
    /// What is kept in the bridge's external_ids; zones only as far as they are not as they were.
    pub const IDS: Look = Look(2);
    /// Mirrors.
    pub const MIRRORS: Look = Look(4);
    /// Queues.
    pub const QUEUES: Look = Look(8);
    /// What interfaces are told.
    pub const INTERFACES: Look = Look(16);
    /// Everything.
    pub const ALL: Look = Look(31);

    fn has(self, part: Look) -> bool {
        self.0 & part.0 != 0
    }
}

impl std::ops::BitOr for Look {
    type Output = Look;

    fn bitor(self, other: Look) -> Look {
        Look(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Look {
    fn bitor_assign(&mut self, other: Look) {
        *self = *self | other;
    }
}

impl Desired {
    /// Takes over what the engine added and removed. Returns where that makes a difference.
    pub fn apply<'a>(
        &mut self,
        removed: impl Iterator<Item = &'a Output>,
        added: impl Iterator<Item = &'a Output>,
    ) -> Look {
        let mut changed = Look::default();
        for output in removed {
            changed |= match output {
                Output::Bridge(_) => {
                    self.bridge = None;
                    Look::ALL
                }
                Output::VsPort(port) if self.ports.get(&port.name) == Some(port) => {
                    self.ports.remove(&port.name);
                    Look::PORTS
                }
                Output::Mirror(mirror) if self.mirrors.get(&mirror.name) == Some(mirror) => {
                    self.mirrors.remove(&mirror.name);
                    Look::MIRRORS
                }
                Output::Queue(queue) if self.queues.get(&queue.place()) == Some(queue) => {
                    self.queues.remove(&queue.place());
                    Look::QUEUES
                }
                Output::Zone(own) if self.zones.get(&own.owner) == Some(&own.zone) => {
                    self.zones.remove(&own.owner);
                    self.touched.insert(own.owner.clone());
                    Look::IDS
                }
                Output::Plug(request) => {
                    if let Some(name) = self.plugs.remove(request) {
                        self.ports.remove(&name);
                    }
                    Look::PORTS
                }
                _ => continue,
            };
        }
        for output in added {
            changed |= match output {
                Output::Bridge(wanted) => {
                    self.bridge = Some(Arc::clone(wanted));
                    Look::ALL
                }
                Output::VsPort(port) => {
                    self.ports.insert(port.name.clone(), Arc::clone(port));
                    Look::PORTS
                }
                Output::Mirror(mirror) => {
                    self.mirrors.insert(mirror.name.clone(), Arc::clone(mirror));
                    Look::MIRRORS
                }
                Output::Queue(queue) => {
                    self.queues.insert(queue.place(), Arc::clone(queue));
                    Look::QUEUES
                }
                Output::Zone(own) => {
                    self.zones.insert(own.owner.clone(), own.zone);
                    self.touched.insert(own.owner.clone());
                    Look::IDS
                }
                Output::Plug(request) => {
                    self.plugs.add(request);
                    Look::default()
                }
                _ => continue,
            };
        }
        changed
    }

    /// Where a change of the database can have taken away from what must be in it.
    pub fn look_after(&mut self, change: &vs::Change) -> Look {
        match change {
            // Open vSwitch itself writes these.
            vs::Change::Interface(c)
                if c.columns
                    & !(vs::interface::OFPORT | vs::interface::BFD_STATUS | vs::interface::MTU)
                    == 0 =>
            {
                Look::INTERFACES
            }
            vs::Change::Interface(_) | vs::Change::Port(_) => {
                Look::INTERFACES | Look::PORTS | Look::MIRRORS | Look::QUEUES
            }
            vs::Change::Bridge(c) => {
                if let (Some(old), Some(new)) = (&c.old, &c.new)
                    && c.columns & !(vs::bridge::PORTS | vs::bridge::EXTERNAL_IDS) == 0
                {
                    self.touch(&old.external_ids, &new.external_ids);
                    self.touch(&new.external_ids, &old.external_ids);
                    return Look::IDS | Look::PORTS | Look::MIRRORS;
                }
                Look::ALL
            }
            vs::Change::Mirror(_) => Look::MIRRORS,
            vs::Change::Qos(_) | vs::Change::Queue(_) => Look::QUEUES,
            _ => Look::ALL,
        }
    }

    /// Notes whose zones are in one and not so in the other.
    fn touch(&mut self, ids: &Map<Str, Str>, others: &Map<Str, Str>) {
        let zones = ids
            .iter()
            .filter(|(key, value)| others.get(&**key) != Some(value))
            .filter_map(|(key, value)| zone_entry(key, value));
        self.touched
            .extend(zones.map(|(owner, _)| Str::from(owner)));
    }

    /// Lets the providers of VIFs do what there is to do. Returns where that makes a difference.
    pub fn follow_plugs(&mut self, vs: &vs::Db, idx: &Indexes, now: Instant) -> Look {
        let added = self.plugs.follow(vs, idx, now);
        let look = match added.is_empty() {
            true => Look::default(),
            false => Look::PORTS,
        };
        let added = added.into_iter();
        self.ports
            .extend(added.map(|port| (port.name.clone(), port)));
        look
    }

    /// The VIFs that the controller plugs.
    pub fn plugs(&self) -> &Plugs {
        &self.plugs
    }

    /// Writes what is missing or too much, as far as it is to be looked at.
    pub fn write(&mut self, look: Look, view: &View<'_>, claims: &Claims, draft: &mut Draft<'_>) {
        let touched = std::mem::take(&mut self.touched);
        let Some(wanted) = &self.bridge else { return };
        let there = bridge_row(view, &wanted.name);
        draft.part(Subject::Bridge(wanted.name.clone()), |txn| match there {
            None => insert_bridge(view, wanted, txn),
            Some((uuid, row)) => correct_bridge(wanted, uuid, row, txn),
        });
        let Some((bridge, row)) = there else { return };
        if look.has(Look::PORTS) {
            self.ports(view, wanted, draft);
        }
        if look.has(Look::IDS) {
            let touched = (look != Look::ALL).then_some(&touched);
            draft.part(Subject::BridgeIds(wanted.name.clone()), |txn| {
                self.bridge_ids(view, bridge, row, touched, txn)
            });
        }
        if look.has(Look::MIRRORS) {
            self.write_mirrors(view, bridge, row, draft);
        }
        if look.has(Look::QUEUES) {
            self.write_queues(view, draft);
        }
        if look.has(Look::INTERFACES) {
            interfaces(view, bridge, claims, draft);
        }
    }

    fn ports(&self, view: &View<'_>, wanted: &Wanted, draft: &mut Draft<'_>) {
        let mut names: Vec<&Str> = self.ports.keys().collect();
        names.sort();
        for name in names {
            let port = &self.ports[name];
            let Some((bridge, _)) = bridge_row(view, &port.bridge) else {
                continue;
            };
            let there = view.idx.find(Index::VsPortByName, &**name).first();
            draft.part(Subject::Port(name.clone()), |txn| match there {
                None => {
                    let row = vs::Bridge {
                        ports: [insert_port(port, txn)].into(),
                        ..Default::default()
                    };
                    txn.mutate_insert(bridge, &row, vs::bridge::PORTS);
                }
                Some(&uuid) => {
                    if let Some(row) = view.vs.port.get(uuid) {
                        correct_port(view, port, uuid, row, txn);
                    }
                }
            });
        }
        if !view.settled {
            return;
        }
        for (uuid, row) in view.vs.port.iter() {
            if self.ports.contains_key(&row.name) || !is_ours(view, uuid, row, &wanted.name) {
                continue;
            }
            draft.part(Subject::Port(row.name.clone()), |txn| {
                for &bridge in view.idx.find(Index::BridgeOfPort, uuid) {
                    let row = vs::Bridge {
                        ports: [uuid].into(),
                        ..Default::default()
                    };
                    txn.mutate_delete(bridge, &row, vs::bridge::PORTS);
                }
            });
        }
    }

    /// Conntrack zones (of these owners, or all) and bookkeeping in the bridge's external_ids.
    fn bridge_ids(
        &self,
        view: &View<'_>,
        bridge: Uuid,
        row: &vs::Bridge,
        touched: Option<&FxHashSet<Str>>,
        txn: &mut Txn,
    ) {
        let ids = &row.external_ids;
        let key = |owner: &Str| Str::from(format!("ct-zone-{owner}"));
        let mut wanted: Vec<(Str, Str)> = match touched {
            None => (self.zones.iter())
                .map(|(owner, zone)| (key(owner), zone.to_string().into()))
                .collect(),
            Some(touched) => (touched.iter())
                .filter_map(|owner| Some((key(owner), self.zones.get(owner)?.to_string().into())))
                .collect(),
        };
        wanted.push(("ovn-startup-ts".into(), view.started_ms.to_string().into()));
        if let Some((nb_cfg, when)) = view.nb_cfg {
            wanted.push(("ovn-nb-cfg".into(), nb_cfg.to_string().into()));
            // The time is that of the number: it alone is no reason to write.
            if ids
                .get("ovn-nb-cfg")
                .is_none_or(|there| **there != *nb_cfg.to_string())
            {
                wanted.push(("ovn-nb-cfg-ts".into(), when.to_string().into()));
            }
        }
        let wanted: Map<Str, Str> = wanted.into();
        let set: Map<Str, Str> = wanted
            .iter()
            .filter(|(key, value)| ids.get(&**key) != Some(value))
            .cloned()
            .collect();
        let replaced = set.iter().map(|(key, _)| key.clone());
        let mut gone: FxHashSet<Str> = replaced.filter(|key| ids.contains_key(&**key)).collect();
        let is_zone = |(key, value): &&(Str, Str)| zone_entry(key, value).is_some();
        match touched {
            _ if !view.settled => {}
            None => gone.extend(
                ids.iter()
                    .filter(is_zone)
                    .filter(|(key, _)| !wanted.contains_key(&**key))
                    .map(|(key, _)| key.clone()),
            ),
            Some(touched) => gone.extend(
                touched
                    .iter()
                    .filter(|owner| !self.zones.contains_key(*owner))
                    .map(key)
                    .filter(|key| ids.contains_key(&**key)),
            ),
        }
        if !gone.is_empty() {
            txn.remove_keys::<vs::Bridge>(
                bridge,
                vs::bridge::EXTERNAL_IDS,
                gone.iter().map(|key| key.to_string()),
            );
        }
        if !set.is_empty() {
            let row = vs::Bridge {
                external_ids: set,
                ..Default::default()
            };
            txn.mutate_insert(bridge, &row, vs::bridge::EXTERNAL_IDS);
        }
    }

    /// Every row that we leave behind on a graceful exit: tunnels and patches go, the bridge and the ports of VMs stay.
    pub fn farewell(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        let Some(wanted) = &self.bridge else { return };
        let nothing = Desired {
            bridge: Some(Arc::clone(wanted)),
            // Those of machines.
            ports: self
                .ports
                .iter()
                .filter(|(_, port)| port.mark.0 == PLUGGED)
                .map(|(name, port)| (name.clone(), Arc::clone(port)))
                .collect(),
            ..Desired::default()
        };
        if let Some((bridge, row)) = bridge_row(view, &wanted.name) {
            nothing.write_mirrors(view, bridge, row, draft);
        }
        nothing.write_queues(view, draft);
        nothing.ports(view, wanted, draft);
        let Some((bridge, _)) = bridge_row(view, &wanted.name) else {
            return;
        };
        for (iface, row) in view.vs.interface.iter() {
            let installed = row.external_ids.contains_key("ovn-installed");
            if installed && is_on(view, bridge, iface) {
                draft.part(Subject::Interface(iface, row.name.clone()), |txn| {
                    forget_installed(iface, txn)
                });
            }
        }
    }
}

fn bridge_row<'a>(view: &View<'a>, name: &str) -> Option<(Uuid, &'a vs::Bridge)> {
    let uuid = *view.idx.find(Index::BridgeByName, name).first()?;
    Some((uuid, view.vs.bridge.get(uuid)?))
}

/// Puts the bridge right if it is not as it must be.
fn correct_bridge(wanted: &Wanted, uuid: Uuid, row: &vs::Bridge, txn: &mut Txn) {
    let secure = row.fail_mode.as_deref() == Some("secure");
    let typed = wanted
        .datapath_type
        .as_ref()
        .is_none_or(|kind| *kind == row.datapath_type);
    let mut mask = if secure { 0 } else { vs::bridge::FAIL_MODE };
    let mut new = vs::Bridge {
        fail_mode: Some("secure".into()),
        ..Default::default()
    };
    if let Some(kind) = wanted.datapath_type.as_ref().filter(|_| !typed) {
        new.datapath_type = kind.clone();
        mask |= vs::bridge::DATAPATH_TYPE;
    }
    if mask != 0 {
        txn.update(uuid, &new, mask);
    }
}

fn insert_bridge(view: &View<'_>, wanted: &Wanted, txn: &mut Txn) {
    let Some(&root) = view.idx.find(Index::OpenVswitch, ()).first() else {
        return;
    };
    let (bridge, port, iface) = (Uuid::random(), Uuid::random(), Uuid::random());
    let row = vs::Interface {
        name: wanted.name.clone(),
        type_: "internal".into(),
        ..Default::default()
    };
    txn.insert(&row, vs::interface::NAME | vs::interface::TYPE, iface);
    let row = vs::Port {
        name: wanted.name.clone(),
        interfaces: [iface].into(),
        ..Default::default()
    };
    txn.insert(&row, vs::port::NAME | vs::port::INTERFACES, port);
    let row = vs::Bridge {
        name: wanted.name.clone(),
        ports: [port].into(),
        fail_mode: Some("secure".into()),
        datapath_type: wanted
            .datapath_type
            .clone()
            .unwrap_or_else(|| Str::from("")),
        other_config: [("disable-in-band", "true")].into(),
        ..Default::default()
    };
    use vs::bridge as b;
    txn.insert(
        &row,
        b::NAME | b::PORTS | b::FAIL_MODE | b::DATAPATH_TYPE | b::OTHER_CONFIG,
        bridge,
    );
    let row = vs::OpenVswitch {
        bridges: [bridge].into(),
        ..Default::default()
    };
    txn.mutate_insert(root, &row, vs::open_vswitch::BRIDGES);
    txn.comment("weft-controller: creating integration bridge");
}

fn mark(port: &OwnPort) -> Map<Str, Str> {
    vec![(Str::from(port.mark.0), port.mark.1.clone())].into()
}

fn insert_port(port: &OwnPort, txn: &mut Txn) -> Uuid {
    let (uuid, iface) = (Uuid::random(), Uuid::random());
    let row = vs::Interface {
        name: port.name.clone(),
        type_: port.kind.clone(),
        options: port.options.clone(),
        bfd: port.bfd.clone(),
        external_ids: port.ids.clone(),
        mtu_request: port.mtu,
        ..Default::default()
    };
    use vs::interface as i;
    let columns = i::NAME | i::TYPE | i::OPTIONS | i::BFD | i::EXTERNAL_IDS | i::MTU_REQUEST;
    txn.insert(&row, columns, iface);
    let row = vs::Port {
        name: port.name.clone(),
        interfaces: [iface].into(),
        external_ids: mark(port),
        ..Default::default()
    };
    txn.insert(
        &row,
        vs::port::NAME | vs::port::INTERFACES | vs::port::EXTERNAL_IDS,
        uuid,
    );
    uuid
}

/// Puts a port right that is there but not as it must be.
fn correct_port(view: &View<'_>, port: &OwnPort, uuid: Uuid, row: &vs::Port, txn: &mut Txn) {
    if row.external_ids.get(port.mark.0) != Some(&port.mark.1) {
        txn.remove_keys::<vs::Port>(uuid, vs::port::EXTERNAL_IDS, MARKS);
        let row = vs::Port {
            external_ids: mark(port),
            ..Default::default()
        };
        txn.mutate_insert(uuid, &row, vs::port::EXTERNAL_IDS);
    }
    let Some((iface, row)) = row
        .interfaces
        .first()
        .and_then(|&iface| Some((iface, view.vs.interface.get(iface)?)))
    else {
        return;
    };
    if row.bfd != port.bfd {
        let row = vs::Interface {
            bfd: port.bfd.clone(),
            ..Default::default()
        };
        txn.update(iface, &row, vs::interface::BFD);
    }
    let missing: Map<Str, Str> = port
        .ids
        .iter()
        .filter(|(key, value)| row.external_ids.get(&**key) != Some(value))
        .cloned()
        .collect();
    if !missing.is_empty() {
        let keys = missing.iter().map(|(key, _)| key.to_string());
        txn.remove_keys::<vs::Interface>(iface, vs::interface::EXTERNAL_IDS, keys);
        let row = vs::Interface {
            external_ids: missing,
            ..Default::default()
        };
        txn.mutate_insert(iface, &row, vs::interface::EXTERNAL_IDS);
    }
    // Those of tunnels are for whoever sets them.
    if port.mark.0 == PLUGGED && row.mtu_request != port.mtu {
        let row = vs::Interface {
            mtu_request: port.mtu,
            ..Default::default()
        };
        txn.update(iface, &row, vs::interface::MTU_REQUEST);
    }
    if row.type_ != port.kind || row.options != port.options {
        let row = vs::Interface {
            type_: port.kind.clone(),
            options: port.options.clone(),
            ..Default::default()
        };
        txn.update(iface, &row, vs::interface::TYPE | vs::interface::OPTIONS);
    }
}

/// Whether a port that is not wanted (any more) is one that this controller has made: marked so, and either on the
/// integration bridge or the far end of a patch to it. Another controller on this host has another bridge.
fn is_ours(view: &View<'_>, uuid: Uuid, row: &vs::Port, bridge: &str) -> bool {
    if !MARKS
        .iter()
        .any(|mark| row.external_ids.contains_key(*mark))
    {
        return false;
    }
    let on_bridge = view.idx.find(Index::BridgeOfPort, uuid).iter().any(|&b| {
        view.vs
            .bridge
            .get(b)
            .is_some_and(|row| &*row.name == bridge)
    });
    on_bridge || row.name.ends_with(&format!("-to-{bridge}"))
}
