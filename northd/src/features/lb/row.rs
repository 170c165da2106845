//! `Load_Balancer` of the southbound: from it chassis know which connections return to their sender, and what to forget
//! of a load balancer that is gone.
//!
//! Guarantees: one row per load balancer that applies somewhere, with groups of datapaths that it shares with the others
//! on the same ones.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Str};
use weft_schemas::nb;

use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::vip::{Parsed, balancer};
use crate::output::{LoadBalancer, Output};
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Row;

impl Feature for Row {
    const NAME: &'static str = "lb_row";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[Parsed::NAME, GroupPlaces::NAME, ListedPlaces::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let (Some(row), Some(lb)) = (cx.load_balancer(key.row()), balancer(cx, key.row())) else {
            return;
        };
        let Some(places) = places_of(cx, lb.uuid) else {
            return;
        };
        if lb.vips.is_empty() || places.switches.is_empty() && places.all_routers.is_empty() {
            return;
        }
        let usable = |text: &Str| lb.vips.iter().any(|vip| vip.text == *text);
        let vips: Map<Str, Str> = row
            .vips()
            .iter()
            .filter(|(vip, _)| usable(vip))
            .cloned()
            .collect();
        let options = row
            .options()
            .iter()
            .filter(|(key, _)| &**key != "hairpin_orig_tuple")
            .cloned();
        // Chassis may look at the original destination of a connection instead of registers.
        let options = options
            .chain([("hairpin_orig_tuple".into(), "true".into())])
            .collect();
        cx.emit(Output::LoadBalancer(Arc::new(LoadBalancer {
            nb: lb.uuid,
            name: lb.name.clone(),
            vips,
            protocol: Some(row.protocol().clone().unwrap_or_else(|| "tcp".into())),
            options,
            switches: places.switches.clone(),
            routers: places.all_routers.clone(),
        })));
    }
}
