//! Health checks: `Service_Monitor` rows for backends, and what comes back.
//!
//! Guarantees: a backend with a health check and a port mapping has a row, made once however many load balancers have the
//! backend; chassis write its status; a backend is left out while its status is neither online nor empty. The source
//! address of the checks is answered for on the switch of the backend.

use weft_lang::action::{Endpoint, Proto};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::vip::{Backend, Parsed, Vip, balancer};
use crate::address::Mac;
use crate::features::acl::state::SwitchAcls;
use crate::features::global::Global;
use crate::features::monitor::{Check, Probe, status};
use crate::features::router::port::Ports;
use crate::program::{Cx, Feature, Key, Per};

/// Per load balancer.
pub struct Checks;

impl Feature for Checks {
    const NAME: &'static str = "lb_health";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];
    const READS: &'static [&'static str] = &[
        Parsed::NAME,
        GroupPlaces::NAME,
        ListedPlaces::NAME,
        Global::NAME,
        Ports::NAME,
        SwitchAcls::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lb) = balancer(cx, key.row()) else {
            return;
        };
        if lb
            .vips
            .iter()
            .all(|vip| vip.backends.iter().all(|b| b.check.is_none()))
        {
            return;
        }
        let applies = places_of(cx, lb.uuid)
            .is_some_and(|p| !p.switches.is_empty() || !p.all_routers.is_empty());
        let Some(mac) = cx.value::<Mac>(Global::ID, Key::Global).filter(|_| applies) else {
            return;
        };
        for vip in &lb.vips {
            for backend in &vip.backends {
                if let (Some(check), Some(probe)) = (&backend.check, probe(vip, backend)) {
                    monitor(cx, lb.uuid, *mac, (probe, &backend.endpoint), check);
                }
            }
        }
    }
}

fn monitor(
    cx: &Cx<'_>,
    lb: Uuid,
    mac: Mac,
    (probe, endpoint): (Probe, &Endpoint),
    check: &super::vip::Check,
) {
    let Some((lsp, switch)) = cx
        .lsp_named(&check.logical_port)
        .and_then(|lsp| Some((lsp, cx.switch_of(lsp)?)))
    else {
        let name = cx
            .load_balancer(lb)
            .map(|row| row.name().clone())
            .unwrap_or_default();
        let message = format!(
            "there is no switch port {}: {} is not checked",
            check.logical_port, endpoint.ip
        );
        cx.diagnose::<nb::LoadBalancer>(&name, lb, "ip_port_mappings", message);
        return;
    };
    let check = Check {
        switch,
        lsp,
        port: &check.logical_port,
        ip: endpoint.ip,
        probe,
        source: check.source,
        kind: "load-balancer",
        options: &check.options,
    };
    check.make(cx, mac);
}

/// How a backend is checked.
fn probe(vip: &Vip, backend: &Backend) -> Option<Probe> {
    match (vip.proto?, backend.endpoint.port?) {
        (Proto::Tcp, port) => Some(Probe::Tcp(port)),
        (Proto::Udp, port) => Some(Probe::Udp(port)),
        (Proto::Sctp, _) => None,
    }
}

/// Whether a backend may have new connections.
pub fn is_active(cx: &Cx<'_>, vip: &Vip, backend: &Backend) -> bool {
    let (Some(check), Some(probe)) = (&backend.check, probe(vip, backend)) else {
        return true;
    };
    let ip = backend.endpoint.ip.to_string();
    let status = status(cx, &check.logical_port, &ip, probe);
    status.is_none_or(|status| &*status == "online")
}

/// The backends that may have new connections.
pub fn active(cx: &Cx<'_>, vip: &Vip) -> Vec<Endpoint> {
    let active = vip
        .backends
        .iter()
        .filter(|backend| is_active(cx, vip, backend));
    active.map(|backend| backend.endpoint).collect()
}
