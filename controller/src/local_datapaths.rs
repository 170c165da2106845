//! Which datapaths matter on this chassis: those with a port bound here or a gateway port for which this chassis stands by,
//! and all that a packet can reach from them through patch ports, but for what is behind the gateway ports of others, and on
//! the other side of switches where only gateway ports meet.

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

/// Exists for every datapath that has a port bound here, or one that may have to be (its ports demand it); keyed by datapath.
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

/// Whether all packets to a distributed gateway port go to other chassis, so that what lies behind it is of no concern here:
/// this one can never be its gateway. (One that can keeps everything ready, whether it is the active one or not.)
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
    let (Some(me), Some(group)) = (
        cx.value::<Me>(ME.id(), Key::Global),
        row.ha_chassis_group()
            .and_then(|group| sb.ha_chassis_group.tracked(group, &rec)),
    ) else {
        return false;
    };
    let is_me = |member: &Uuid| {
        let member = sb.ha_chassis.tracked(*member, &rec);
        member.is_some_and(|m| m.chassis().is_some() && *m.chassis() == me.chassis)
    };
    let members = group.ha_chassis();
    !members.is_empty() && !members.iter().any(is_me)
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
        if ends_here(self.0, datapath) {
            return Vec::new().into_iter();
        }
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

/// Whether nothing that reached the datapath goes on to others: a switch where only gateway ports meet, into which packets go on
/// their own chassis alone.
fn ends_here(cx: &Cx<'_, Controller>, datapath: Uuid) -> bool {
    let rec = cx.sb_rec();
    let row = cx.sb().datapath_binding.tracked(datapath, &rec);
    row.is_some_and(|row| row.external_ids().flag("only_dgp_peer_ports", false))
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

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::RowUpdate;
    use weft_schemas::sb;

    use super::*;
    use crate::core::Core;
    use crate::program::Settings;
    use crate::testing::{local_database, map};

    const fn id(sort: u32, n: u32) -> Uuid {
        Uuid((sort as u128) << 96 | n as u128)
    }

    /// Switch, router, the switch behind the router's gateway port.
    const DATAPATHS: [Uuid; 3] = [id(1, 1), id(1, 2), id(1, 3)];
    const CHASSIS: [Uuid; 3] = [id(2, 1), id(2, 2), id(2, 3)];
    const GROUP: Uuid = id(3, 1);
    const REDIRECT: Uuid = id(4, 9);

    fn binding(n: u32, name: &str, kind: &str, dp: usize, options: &[(&str, &str)]) -> sb::Update {
        let row = sb::PortBinding {
            logical_port: name.into(),
            type_: kind.into(),
            datapath: DATAPATHS[dp],
            tunnel_key: i64::from(n),
            options: map(options),
            ..Default::default()
        };
        RowUpdate::insert(id(4, n), row).into()
    }

    fn redirect(always: bool) -> sb::PortBinding {
        sb::PortBinding {
            logical_port: "cr-r-out".into(),
            type_: "chassisredirect".into(),
            datapath: DATAPATHS[1],
            tunnel_key: 9,
            options: map(if always {
                &[("always-redirect", "true")]
            } else {
                &[]
            }),
            ha_chassis_group: Some(GROUP),
            ..Default::default()
        }
    }

    /// `vm` on `in`; the router `r`, its gateway port `r-out`; `far` on `out`. These of the ports are here.
    fn core(here: &[&str]) -> Core {
        let mut core = Core::new(Settings::default()).unwrap();
        core.apply_vs(local_database(here), false);
        let mut rows: Vec<sb::Update> = Vec::new();
        for (n, uuid) in CHASSIS.iter().enumerate() {
            let row = sb::Chassis {
                name: format!("c{n}").into(),
                ..Default::default()
            };
            rows.push(RowUpdate::insert(*uuid, row).into());
        }
        for (n, uuid) in DATAPATHS.iter().enumerate() {
            let row = sb::DatapathBinding {
                tunnel_key: n as i64 + 1,
                ..Default::default()
            };
            rows.push(RowUpdate::insert(*uuid, row).into());
        }
        let gateway = [("peer", "out-r"), ("chassis-redirect-port", "cr-r-out")];
        rows.extend([
            binding(1, "vm", "", 0, &[]),
            binding(2, "in-r", "patch", 0, &[("peer", "r-in")]),
            binding(3, "r-in", "patch", 1, &[("peer", "in-r")]),
            binding(4, "r-out", "patch", 1, &gateway),
            binding(5, "out-r", "patch", 2, &[("peer", "r-out")]),
            binding(6, "far", "", 2, &[]),
            RowUpdate::insert(REDIRECT, redirect(true)).into(),
        ]);
        core.apply_sb(rows, false);
        core
    }

    /// Who can be the gateway; a member without a chassis is a host that is not there yet.
    fn members(core: &mut Core, chassis: &[Option<usize>]) {
        let mut rows: Vec<sb::Update> = Vec::new();
        let uuids: Vec<Uuid> = (0..chassis.len()).map(|n| id(5, n as u32)).collect();
        for (uuid, chassis) in uuids.iter().zip(chassis) {
            let row = sb::HaChassis {
                chassis: chassis.map(|n| CHASSIS[n]),
                ..Default::default()
            };
            rows.push(RowUpdate::insert(*uuid, row).into());
        }
        let group = sb::HaChassisGroup {
            name: "g".into(),
            ha_chassis: uuids.into_iter().collect(),
            ..Default::default()
        };
        rows.push(RowUpdate::insert(GROUP, group).into());
        core.apply_sb(rows, false);
    }

    fn local(core: &mut Core) -> Vec<usize> {
        core.run();
        let set = core.local_datapaths();
        let is_local = |n: &usize| set.0.contains(&DATAPATHS[*n]);
        (0..DATAPATHS.len()).filter(is_local).collect()
    }

    #[test]
    fn what_is_behind_the_gateway_port_of_others_is_no_concern() {
        let mut core = core(&["vm"]);
        let all = vec![0, 1, 2];
        assert_eq!(local(&mut core), all, "no group yet");
        for (chassis, wanted) in [
            (&[][..], &all[..]),
            (&[Some(1)], &[0, 1]),
            (&[Some(1), Some(2)], &[0, 1]),
            (&[Some(1), None], &[0, 1]),
            (&[Some(1), Some(0)], &all),
            (&[Some(0)], &all),
        ] {
            members(&mut core, chassis);
            assert_eq!(local(&mut core), wanted, "{chassis:?}");
        }
        members(&mut core, &[Some(1)]);
        let update = |always| vec![RowUpdate::insert(REDIRECT, redirect(always)).into()];
        core.apply_sb(update(false), false);
        assert_eq!(local(&mut core), all, "not everything is redirected");
        core.apply_sb(update(true), false);
        assert_eq!(local(&mut core), [0, 1]);
    }

    #[test]
    fn groups_are_seen_before_anything_is_local() {
        let whole = |core: &Core| {
            let asked = crate::shell::monitor::conditions(core, &BTreeSet::new());
            *asked.clone().whole("Logical_DP_Group") == asked
        };
        let mut idle = core(&[]);
        assert_eq!((local(&mut idle).len(), whole(&idle)), (0, true));
        let mut busy = core(&["vm"]);
        assert_eq!((local(&mut busy).len(), whole(&busy)), (3, false));
    }

    #[test]
    fn a_switch_of_gateway_ports_is_the_end() {
        let mut core = core(&["far"]);
        assert_eq!(local(&mut core), [0, 1, 2], "everything is connected");
        for (flag, wanted) in [("true", &[2][..]), ("false", &[0, 1, 2])] {
            let row = sb::DatapathBinding {
                tunnel_key: 3,
                external_ids: map(&[("only_dgp_peer_ports", flag)]),
                ..Default::default()
            };
            core.apply_sb(vec![RowUpdate::insert(DATAPATHS[2], row).into()], false);
            assert_eq!(local(&mut core), wanted, "{flag}");
        }
    }

    #[test]
    fn what_is_here_behind_it_is() {
        let mut core = core(&["vm", "far"]);
        members(&mut core, &[Some(1)]);
        assert_eq!(local(&mut core), [0, 1, 2]);
    }

    #[test]
    fn who_stands_by_has_everything_ready() {
        let mut core = core(&[]);
        members(&mut core, &[Some(1)]);
        assert_eq!(local(&mut core), [0_usize; 0]);
        members(&mut core, &[Some(1), Some(0)]);
        assert_eq!(local(&mut core), [0, 1, 2]);
    }
}
