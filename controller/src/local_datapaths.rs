//! Which datapaths matter on this chassis: those with a port bound here, and all that a packet can reach from them
//! through patch ports.

use std::collections::BTreeSet;
use std::sync::Arc;

use petgraph::visit::{Dfs, GraphBase, IntoNeighbors, Visitable};
use rustc_hash::FxHashSet;
use weft_engine::{Cx, Kind};
use weft_ovsdb::model::Uuid;

use crate::binding::{BINDING, Place};
use crate::config::{ME, Me};
use crate::index::Index;
use crate::program::{Controller, Diagnostic, Key, Read};
use crate::zones::DATAPATH_ZONES;

/// Exists for every datapath that has a port bound here (its ports demand it); keyed by datapath.
pub const SEED: Kind<Controller> = Kind::pure("datapath-seed", &[], |cx, _| cx.publish(()));
/// Where a patch port leads; publishes [`Link`]; keyed by port binding.
pub const LINK: Kind<Controller> = Kind::pure("link", &["me", "binding"], link);
/// Publishes [`LocalSet`].
pub const SET: Kind<Controller> = Kind::pure("local-datapaths", &["datapath-seed", "link"], set);
/// Publishes [`Local`] for the datapaths of the set; keyed by datapath.
pub const LOCAL: Kind<Controller> = Kind::pure("local-datapath", &["local-datapaths"], local);

/// The datapaths that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSet(pub Arc<BTreeSet<Uuid>>);

/// The other end of a patch port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The peer's port binding.
    pub port: Uuid,
    /// Its datapath.
    pub datapath: Uuid,
    /// Whether packets pass here: not through a gateway router's port on another chassis, for instance.
    pub open: bool,
}

/// A datapath that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its tunnel key.
    pub key: u32,
    /// Whether it is a logical router.
    pub is_router: bool,
}

fn link(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    let kind = &**row.type_();
    if kind != "patch" && kind != "l3gateway" {
        return;
    }
    let Some(name) = row.options().nonempty("peer") else {
        return;
    };
    let Some(peer_uuid) = cx.lookup_one(Index::PortByName, &**name) else {
        return;
    };
    let Some(peer) = cx.sb().port_binding.tracked(peer_uuid, &rec) else {
        return;
    };
    let back = peer
        .options()
        .get("peer")
        .is_some_and(|back| back == row.logical_port());
    if !back || peer.type_() != row.type_() {
        cx.diagnose(Diagnostic {
            row: format!("Port_Binding {}", row.logical_port()),
            column: "options",
            message: format!("peer {name} does not name it in turn: the two are not connected"),
            uuid,
        });
        return;
    }
    let here = |port: Uuid| {
        cx.value::<Place>(BINDING.id(), Key::Row(port))
            .is_some_and(|place| place.is_here())
    };
    let open = match kind {
        "l3gateway" => here(uuid),
        _ => !redirected_elsewhere(
            cx,
            row.options()
                .nonempty("chassis-redirect-port")
                .map(|name| &**name),
        ),
    };
    cx.publish(Link {
        port: peer_uuid,
        datapath: *peer.datapath(),
        open,
    });
}

/// Whether all packets to a distributed gateway port go to one other chassis, so that what lies behind it is of no
/// concern here.
fn redirected_elsewhere(cx: &Cx<'_, Controller>, redirect: Option<&str>) -> bool {
    let rec = cx.sb_rec();
    let sb = cx.sb();
    let Some(uuid) = redirect.and_then(|name| cx.lookup_one(Index::PortByName, name)) else {
        return false;
    };
    let Some(row) = sb.port_binding.tracked(uuid, &rec) else {
        return false;
    };
    if !row.options().flag("always-redirect", false) {
        return false;
    }
    let Some(group) = row
        .ha_chassis_group()
        .and_then(|group| sb.ha_chassis_group.tracked(group, &rec))
    else {
        return false;
    };
    let [only] = **group.ha_chassis() else {
        return false;
    };
    let Some(me) = cx.value::<Me>(ME.id(), Key::Global) else {
        return false;
    };
    let member = sb.ha_chassis.tracked(only, &rec);
    member.is_some_and(|m| m.chassis().is_some() && *m.chassis() != me.chassis)
}

/// The datapaths reachable from the seeds. Only links of datapaths that are reached are looked at, so what lies beyond
/// costs nothing.
fn set(cx: &Cx<'_, Controller>, _: Key) {
    let topology = Topology(cx);
    let mut walk: Dfs<Uuid, FxHashSet<Uuid>> = Dfs::empty(&topology);
    let mut local: BTreeSet<Uuid> = BTreeSet::new();
    for &seed in cx.lookup(Index::Datapaths, ()) {
        if cx.value::<()>(SEED.id(), Key::Row(seed)).is_some() {
            walk.move_to(seed);
            while let Some(datapath) = walk.next(&topology) {
                local.insert(datapath);
            }
        }
    }
    local
        .iter()
        .for_each(|&datapath| cx.demand(LOCAL.id(), Key::Row(datapath)));
    cx.publish(LocalSet(Arc::new(local)));
}

/// The logical topology as a graph: datapaths are nodes, open links edges. It is read as it is walked.
struct Topology<'x, 'y>(&'x Cx<'y, Controller>);

impl GraphBase for Topology<'_, '_> {
    type EdgeId = (Uuid, Uuid);
    type NodeId = Uuid;
}

impl IntoNeighbors for &Topology<'_, '_> {
    type Neighbors = std::vec::IntoIter<Uuid>;

    fn neighbors(self, datapath: Uuid) -> Self::Neighbors {
        let ports = self.0.lookup(Index::LinksOfDatapath, datapath);
        let links = ports
            .iter()
            .filter_map(|&port| self.0.value::<Link>(LINK.id(), Key::Row(port)));
        links
            .filter(|link| link.open)
            .map(|link| link.datapath)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Visitable for Topology<'_, '_> {
    type Map = FxHashSet<Uuid>;

    fn visit_map(&self) -> Self::Map {
        FxHashSet::default()
    }

    fn reset_map(&self, map: &mut Self::Map) {
        map.clear();
    }
}

fn local(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().datapath_binding.tracked(key.row(), &rec) else {
        return;
    };
    let Some(tunnel_key) = u32::try_from(*row.tunnel_key())
        .ok()
        .filter(|key| (1..1 << 24).contains(key))
    else {
        return;
    };
    cx.demand(DATAPATH_ZONES.id(), key);
    // Newer northd says it in a column, older ones only in external_ids.
    let is_router = match row.type_() {
        Some(kind) => &**kind == "logical-router",
        None => row.external_ids().contains_key("logical-router"),
    };
    cx.publish(Local {
        key: tunnel_key,
        is_router,
    });
}
