//! Own rows of table Mirror of the local Open vSwitch database.

use weft_ovsdb::model::{Map, Row as _, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::vs;

use super::aside::{Draft, Subject};
use super::vs::{Desired, View};
use crate::index::Index;
use crate::mirror::{OwnMirror, tunnel_name};

/// The key of external_ids that marks a mirror as kept by the controller, as stock controllers mark theirs.
const MARK: &str = "ovn-owned";

impl Desired {
    /// Puts the mirrors of the integration bridge right.
    pub(super) fn write_mirrors(
        &self,
        view: &View<'_>,
        bridge: Uuid,
        row: &vs::Bridge,
        draft: &mut Draft<'_>,
    ) {
        let ours: Vec<(Uuid, &vs::Mirror)> = row
            .mirrors
            .iter()
            .filter_map(|&uuid| Some((uuid, view.vs.mirror.get(uuid)?)))
            .filter(|(_, mirror)| mirror.external_ids.contains_key(MARK))
            .collect();
        for (name, wanted) in &self.mirrors {
            let there = ours.iter().find(|(_, mirror)| mirror.name == *name);
            draft.part(Subject::Mirror(name.clone()), |txn| match there {
                None => insert(bridge, wanted, txn),
                Some((uuid, mirror)) => {
                    let row = row_of(wanted);
                    let columns = mirror.differences(&row, COLUMNS);
                    if columns != 0 {
                        txn.update(*uuid, &row, columns);
                    }
                }
            });
        }
        if !view.settled {
            return;
        }
        let mut kept: Vec<&Str> = Vec::new();
        for (uuid, mirror) in ours {
            if self.mirrors.contains_key(&mirror.name) && !kept.contains(&&mirror.name) {
                kept.push(&mirror.name);
                continue;
            }
            draft.part(Subject::Mirror(mirror.name.clone()), |txn| {
                remove(view, bridge, uuid, mirror, txn)
            });
        }
    }
}

const COLUMNS: u64 =
    vs::mirror::SELECT_SRC_PORT | vs::mirror::SELECT_DST_PORT | vs::mirror::OUTPUT_PORT;

fn row_of(wanted: &OwnMirror) -> vs::Mirror {
    vs::Mirror {
        name: wanted.name.clone(),
        select_src_port: wanted.from.clone(),
        select_dst_port: wanted.to.clone(),
        output_port: Some(wanted.output),
        external_ids: Map::from_iter([(Str::from(MARK), Str::from("true"))]),
        ..Default::default()
    }
}

fn insert(bridge: Uuid, wanted: &OwnMirror, txn: &mut Txn) {
    let uuid = Uuid::random();
    txn.insert(
        &row_of(wanted),
        COLUMNS | vs::mirror::NAME | vs::mirror::EXTERNAL_IDS,
        uuid,
    );
    let row = vs::Bridge {
        mirrors: [uuid].into(),
        ..Default::default()
    };
    txn.mutate_insert(bridge, &row, vs::bridge::MIRRORS);
}

/// With the tunnel port that an earlier controller may have made without our mark.
fn remove(view: &View<'_>, bridge: Uuid, uuid: Uuid, mirror: &vs::Mirror, txn: &mut Txn) {
    let row = vs::Bridge {
        mirrors: [uuid].into(),
        ..Default::default()
    };
    txn.mutate_delete(bridge, &row, vs::bridge::MIRRORS);
    let tunnel = tunnel_name(&mirror.name);
    let port = view
        .idx
        .find(Index::VsPortByName, &*tunnel)
        .first()
        .copied();
    let unmarked = |port: &Uuid| {
        view.vs
            .port
            .get(*port)
            .is_some_and(|row| row.external_ids.is_empty())
    };
    if let Some(port) = port.filter(|port| mirror.output_port == Some(*port) && unmarked(port)) {
        let row = vs::Bridge {
            ports: [port].into(),
            ..Default::default()
        };
        txn.mutate_delete(bridge, &row, vs::bridge::PORTS);
    }
}
