//! Multicast groups of switches: `_MC_flood` (all enabled ports), `_MC_flood_l2` (all but those to routers), `_MC_unknown`
//! (those with `unknown` among their addresses), `_MC_static` (those with `mcast_flood`), `_MC_mrouter_flood` (those to routers
//! that relay multicast, and those with `mcast_flood_reports`).
//!
//! One unit per port: a port that comes or goes costs one member, whatever the size of the switch.

use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::{Mark, is_on};
use crate::features::port_key::{PortKey, port_key};
use crate::features::router::port;
use crate::index::PortType;
use crate::output::{Mcast, McastGroup, Output};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// Emits the memberships of switch ports.
pub struct Ports;

/// Published for ports that get all multicast whatever is registered behind them: groups need not list them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetsAll;

impl Feature for Ports {
    const NAME: &'static str = "multicast";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[PortKey::NAME, port::Routers::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        let Some(dp) = cx.switch_of(key.row()) else {
            return;
        };
        if *lsp.enabled() == Some(false) || port_key(cx, key).is_none() {
            return;
        }
        let join = |group| {
            cx.emit(Output::McastMember {
                dp,
                group: McastGroup::Known(group),
                port: lsp.name().clone(),
            })
        };
        let deaf = lsp.options().get("receive_multicast");
        if deaf.is_some_and(|v| &**v == "false") {
            return;
        }
        join(Mcast::Flood);
        let kind = PortType::parse(lsp.type_());
        if kind != PortType::Router {
            join(Mcast::FloodL2);
            Mark::Hosts.set(cx, dp);
        }
        if lsp.addresses().iter().any(|a| &**a == "unknown") {
            join(Mcast::Unknown);
        }
        let relays = relaying_router(cx, key.row(), kind).is_some();
        if relays {
            join(Mcast::MrouterFlood);
            Mark::Routers.set(cx, dp);
        }
        if is_on(lsp.options(), "mcast_flood_reports") {
            join(Mcast::MrouterFlood);
            Mark::AmongRouters.set(cx, key.row());
        }
        let floods = is_on(lsp.options(), "mcast_flood");
        if floods {
            join(Mcast::Static);
            Mark::Static.set(cx, dp);
        }
        if floods || relays {
            cx.publish(GetsAll);
        }
    }
}

/// The router port behind a switch port, if its router relays multicast.
pub(super) fn relaying_router(
    cx: &Cx<'_>,
    lsp: Uuid,
    kind: PortType,
) -> Option<std::sync::Arc<port::RouterPort>> {
    if kind != PortType::Router {
        return None;
    }
    let row = cx.lsp(lsp)?;
    let behind = cx.lrp_named(row.options().get("router-port")?)?;
    let behind = port::port(cx, behind).filter(|port| port.enabled)?;
    port::router(cx, behind.router)?
        .relays_multicast
        .then_some(behind)
}
