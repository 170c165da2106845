//! The members of port groups, as far as a packet here can carry them.
//!
//! Where a packet enters the ingress pipeline its `inport` is a port of this chassis, and where it runs through the egress
//! pipeline its `outport` is one: flows there are made for members here only. A group of a thousand ports on a hundred
//! hosts costs each of them ten, and a member that comes or goes elsewhere costs nothing at all.

use weft_engine::{Cx, Kind};
use weft_lang::field::{INPORT, OUTPORT};
use weft_lang::{Field, Pipeline};
use weft_ovsdb::model::Uuid;

use crate::binding::{BINDING, Place};
use crate::index::Index;
use crate::local_datapaths::{LOCAL, Local};
use crate::physical::port_key;
use crate::program::{Controller, Key, Read};

/// Publishes [`Here`]; keyed by row of Port_Group.
pub const PORT_GROUP: Kind<Controller> =
    Kind::pure("port-group", &["local-datapath", "binding"], port_group);

/// The members that are on this chassis: datapath and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here(pub Vec<(Uuid, u32)>);

fn port_group(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_group.tracked(key.row(), &rec) else {
        return;
    };
    // Members are of one datapath, unless somebody else than northd wrote the row.
    let mut last: Option<(Uuid, bool)> = None;
    let mut is_local = |datapath: Uuid| match last {
        Some((known, local)) if known == datapath => local,
        _ => {
            let local = cx.value::<Local>(LOCAL.id(), Key::Row(datapath)).is_some();
            last = Some((datapath, local));
            local
        }
    };
    let members = row.ports().iter().filter_map(|name| {
        let uuid = cx.lookup_one(Index::PortByName, &**name)?;
        let port = cx.sb().port_binding.tracked(uuid, &rec)?;
        let datapath = *port.datapath();
        let here = is_local(datapath)
            && cx
                .value::<Place>(BINDING.id(), Key::Row(uuid))
                .is_some_and(|place| place.is_here());
        here.then(|| port_key(*port.tunnel_key()).map(|key| (datapath, key)))?
    });
    cx.publish(Here(members.collect()));
}

/// Keys of the members of group `name` in a datapath (its UUID and tunnel key) that `field` can hold in this pipeline.
/// None if there is no such group.
pub fn members(
    cx: &Cx<'_, Controller>,
    name: &str,
    (datapath, dp_key): (Uuid, u32),
    (pipeline, field): (Pipeline, Field),
) -> Option<Vec<u32>> {
    // northd makes one row for each datapath, named by its key; a plain name serves those who write rows by hand.
    let of_datapath = cx.lookup_one(Index::PortGroupByName, &*format!("{dp_key}_{name}"));
    let uuid = of_datapath.or_else(|| cx.lookup_one(Index::PortGroupByName, name))?;
    if holds_ports_of_this_chassis(pipeline, field) {
        let here = cx.value::<Here>(PORT_GROUP.id(), Key::Row(uuid))?;
        let own = here.0.iter().filter(|(owner, _)| *owner == datapath);
        return Some(own.map(|(_, key)| *key).collect());
    }
    let rec = cx.sb_rec();
    let row = cx.sb().port_group.tracked(uuid, &rec)?;
    let key = |name: &weft_ovsdb::model::Str| {
        let uuid = cx.lookup_one(Index::PortByName, &**name)?;
        let port = cx.sb().port_binding.tracked(uuid, &rec)?;
        (*port.datapath() == datapath).then(|| port_key(*port.tunnel_key()))?
    };
    Some(row.ports().iter().filter_map(key).collect())
}

fn holds_ports_of_this_chassis(pipeline: Pipeline, field: Field) -> bool {
    let port = match pipeline {
        Pipeline::Ingress => INPORT,
        Pipeline::Egress => OUTPORT,
    };
    field.symbol_field() == port
}
