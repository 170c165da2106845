//! `Datapath_Binding`: a row with a tunnel key per switch and per enabled router.
//!
//! Guarantees: a key stays with its datapath; `requested-tnl-key` is honoured, and when two datapaths request the same
//! one, the first keeps it and the other one says so and works with a key of its own.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use super::ageing::Ages;
use super::global::{KeyRanges, Tunnels, key_ranges};
use super::switch::gateways::{OnlyGateways, is_for_gateways};
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::output::{Datapath, Output};
use crate::program::{Allocator, Cx, Fact, Feature, Key, Per};

const EITHER: &[Per] = &[
    Per::Nb(nb::TableId::LogicalSwitch),
    Per::Nb(nb::TableId::LogicalRouter),
];

/// Allocates tunnel keys of datapaths and publishes them as `u32`.
pub struct DatapathKey;

/// A routers that is disabled has no datapath.
fn router_exists(cx: &Cx<'_>, uuid: Uuid) -> bool {
    cx.lr(uuid).is_some_and(|lr| *lr.enabled() != Some(false))
}

impl Allocator for DatapathKey {
    const NAME: &'static str = "datapath_key";
    const PER: &'static [Per] = EITHER;
    const READS: &'static [&'static str] = &[Tunnels::NAME];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let uuid = key.row();
        let wish = if let Some(ls) = cx.ls(uuid) {
            ls.other_config().get("requested-tnl-key").cloned()
        } else if router_exists(cx, uuid) {
            cx.lr(uuid)
                .and_then(|lr| lr.options().get("requested-tnl-key").cloned())
        } else {
            Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
            return;
        };
        let KeyRanges { datapath_max, .. } = key_ranges(cx);
        let number = wish.as_ref().map(|text| (text, text.parse::<u32>()));
        let wished = match number {
            Some((_, Ok(n))) if (1..=datapath_max).contains(&n) => Some(n),
            Some((text, _)) => {
                complain(
                    cx,
                    uuid,
                    format!("\"{text}\" is not between 1 and {datapath_max}: another key is used"),
                );
                None
            }
            None => None,
        };
        if let Some(wished) = wished {
            cx.track(number_fact(Space::Datapaths, wished));
        }
        let given = ledgers
            .datapaths
            .assign(key, wished, (1, datapath_max), &mut |n| {
                changed_hands(Space::Datapaths, n, |fact| cx.wake(fact))
            });
        if let (true, Some(wished)) = (given.refused, wished) {
            complain(
                cx,
                uuid,
                format!("{wished} is requested by another datapath too: another key is used"),
            );
        }
        match given.number {
            Some(number) => {
                cx.track(number_fact(Space::Datapaths, number));
                cx.publish(number);
            }
            None => {
                cx.track(number_fact(Space::Datapaths, 0));
                complain(
                    cx,
                    uuid,
                    format!(
                        "all {datapath_max} tunnel keys are taken: the datapath does not exist"
                    ),
                );
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.datapaths.let_go(key, &mut |n| {
            changed_hands(Space::Datapaths, n, |fact| wake(fact, 1))
        });
    }
}

fn complain(cx: &Cx<'_>, uuid: Uuid, message: String) {
    if let Some(ls) = cx.ls(uuid) {
        cx.diagnose::<nb::LogicalSwitch>(
            ls.name(),
            uuid,
            "other_config:requested-tnl-key",
            message,
        );
    } else if let Some(lr) = cx.lr(uuid) {
        cx.diagnose::<nb::LogicalRouter>(lr.name(), uuid, "options:requested-tnl-key", message);
    }
}

/// The tunnel key of a switch or router that has a datapath.
pub fn datapath_key(cx: &Cx<'_>, uuid: Uuid) -> Option<u32> {
    cx.value::<u32>(DatapathKey::ID, Key::Row(uuid))
        .map(|key| *key)
}

/// Emits the rows.
pub struct DatapathRow;

impl Feature for DatapathRow {
    const NAME: &'static str = "datapath";
    const PER: &'static [Per] = EITHER;
    const READS: &'static [&'static str] = &[DatapathKey::NAME, OnlyGateways::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(tunnel_key) = datapath_key(cx, uuid) else {
            return;
        };
        let mut ids: Vec<(Str, Str)> = Vec::new();
        let mut add = |name: &str, value: Option<Str>| ids.extend(value.map(|v| (name.into(), v)));
        let router = if let Some(ls) = cx.ls(uuid) {
            add("logical-switch", Some(uuid.to_string().into()));
            add("name", Some(ls.name().clone()));
            add(
                "name2",
                ls.external_ids().get("neutron:network_name").cloned(),
            );
            add(
                "interconn-ts",
                ls.other_config().get("interconn-ts").cloned(),
            );
            add(
                "fdb_age_threshold",
                ls.other_config().get("fdb_age_threshold").cloned(),
            );
            add(
                "only_dgp_peer_ports",
                is_for_gateways(cx, uuid).then(|| "true".into()),
            );
            false
        } else if let Some(lr) = cx.lr(uuid) {
            let options = lr.options();
            add("logical-router", Some(uuid.to_string().into()));
            add("name", Some(lr.name().clone()));
            add(
                "name2",
                lr.external_ids().get("neutron:router_name").cloned(),
            );
            let shortest = Ages::of_router(cx, uuid).and_then(|ages| ages.shortest());
            add("snat-ct-zone", options.get("snat-ct-zone").cloned());
            add(
                "mac_binding_age_threshold",
                shortest.map(|seconds| seconds.to_string().into()),
            );
            let learns = options
                .get("always_learn_from_arp_request")
                .is_none_or(|v| &**v == "true");
            add(
                "always_learn_from_arp_request",
                (!learns).then(|| "false".into()),
            );
            true
        } else {
            return;
        };
        let row = Datapath {
            nb: uuid,
            router,
            tunnel_key,
            external_ids: Map::from_iter(ids),
        };
        cx.emit(Output::Datapath(Arc::new(row)));
    }
}
