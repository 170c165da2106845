//! What interfaces of the integration bridge are told: that the flows of their ports are in.

use rustc_hash::FxHashSet;
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::vs;

use super::aside::{Draft, Subject};
use super::claims::Claims;
use super::vs::View;
use crate::index::Index;

/// Tells interfaces whether the flows of their ports are in.
pub(super) fn interfaces(view: &View<'_>, bridge: Uuid, claims: &Claims, draft: &mut Draft<'_>) {
    let told: FxHashSet<Uuid> = super::sb::installed(claims, view.installed)
        .map(|(_, iface)| iface)
        .collect();
    let claimed: FxHashSet<Uuid> = claims.iter().filter_map(|held| held.claim.iface).collect();
    for &iface in &told {
        let Some(row) = view.vs.interface.get(iface) else {
            continue;
        };
        if row
            .external_ids
            .get("ovn-installed")
            .is_some_and(|value| &**value == "true")
        {
            continue;
        }
        let ids = vec![
            (Str::from("ovn-installed"), Str::from("true")),
            (
                Str::from("ovn-installed-ts"),
                Str::from(view.now_ms.to_string()),
            ),
        ];
        draft.part(Subject::Interface(iface, row.name.clone()), |txn| {
            forget_installed(iface, txn);
            let row = vs::Interface {
                external_ids: ids.into(),
                ..Default::default()
            };
            txn.mutate_insert(iface, &row, vs::interface::EXTERNAL_IDS);
        });
    }
    if !view.settled {
        return;
    }
    for (iface, row) in view.vs.interface.iter() {
        let installed = row.external_ids.contains_key("ovn-installed");
        if installed && !claimed.contains(&iface) && is_on(view, bridge, iface) {
            draft.part(Subject::Interface(iface, row.name.clone()), |txn| {
                forget_installed(iface, txn)
            });
        }
    }
}

/// Whether an interface is on a bridge. Others may be other controllers'.
pub(super) fn is_on(view: &View<'_>, bridge: Uuid, iface: Uuid) -> bool {
    let ports = view.idx.find(Index::PortOfInterface, iface);
    ports.iter().any(|port| {
        let bridges = view.idx.find(Index::BridgeOfPort, port);
        bridges.contains(&bridge)
    })
}

pub(super) fn forget_installed(iface: Uuid, txn: &mut Txn) {
    txn.remove_keys::<vs::Interface>(
        iface,
        vs::interface::EXTERNAL_IDS,
        ["ovn-installed", "ovn-installed-ts"],
    );
}
