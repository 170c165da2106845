//! `HA_Chassis_Group` and `HA_Chassis`: who may be the gateway of a port, in which order.
//!
//! Only groups that a port uses are handed down. A router port with `gateway_chassis` has a group of its own name.

use std::sync::Arc;

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::router_port::is_distributed_gateway;
use crate::index::{ById, ByName};
use crate::output::{HaGroup, Output};
use crate::program::{Cx, Feature, Key, Per};

/// Emits the groups.
pub struct HaGroups;

impl Feature for HaGroups {
    const NAME: &'static str = "ha_group";
    const PER: &'static [Per] = &[
        Per::Nb(nb::TableId::HaChassisGroup),
        Per::Nb(nb::TableId::LogicalRouterPort),
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let (name, members): (&Str, Vec<(Str, i64)>) = if let Some(group) = cx.ha_group(uuid) {
            let used = !cx.by_id(ById::SwitchPortsOfHaGroup, uuid).is_empty()
                || !cx.by_id(ById::RouterPortsOfHaGroup, uuid).is_empty();
            if !used {
                return;
            }
            let rows = group
                .ha_chassis()
                .iter()
                .filter_map(|&row| cx.ha_chassis(row));
            (
                group.name(),
                rows.map(|row| (row.chassis_name().clone(), *row.priority()))
                    .collect(),
            )
        } else if let Some(lrp) = cx.lrp(uuid) {
            if lrp.ha_chassis_group().is_some()
                || lrp.gateway_chassis().is_empty()
                || !is_distributed_gateway(cx, uuid)
            {
                return;
            }
            let rows = lrp
                .gateway_chassis()
                .iter()
                .filter_map(|&row| cx.gateway_chassis(row));
            (
                lrp.name(),
                rows.map(|row| (row.chassis_name().clone(), *row.priority()))
                    .collect(),
            )
        } else {
            return;
        };
        let mut members: Vec<(Str, Option<Uuid>, i64)> = members
            .into_iter()
            .map(|(chassis, priority)| {
                (
                    chassis.clone(),
                    cx.by_name(ByName::Chassis, &chassis).first().copied(),
                    priority,
                )
            })
            .collect();
        members.sort_unstable();
        cx.emit(Output::HaGroup(Arc::new(HaGroup {
            name: name.clone(),
            members,
        })));
    }
}
