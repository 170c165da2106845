//! Health checks: `Service_Monitor` rows for backends, and what comes back.
//!
//! Guarantees: a backend with a health check and a port mapping has a row, made once however many load balancers have the
//! backend; chassis write its status; a backend is left out while its status is neither online nor empty. The source
//! address of the checks is answered for on the switch of the backend.

use std::sync::Arc;

use weft_lang::action::{CallName, Endpoint, NestedKind, Proto};
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::place::{GroupPlaces, ListedPlaces, places_of};
use super::vip::{Backend, Check, Parsed, Vip, balancer};
use crate::address::Mac;
use crate::features::global::Global;
use crate::features::switch::{arp_answer, arp_request_for, nd_answer, solicitation_for};
use crate::index::{ByName, monitor_name};
use crate::output::{Output, ServiceMonitor};
use crate::pipeline::Stage;
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
                if let (Some(check), Some(proto), Some(port)) =
                    (&backend.check, vip.proto, backend.endpoint.port)
                {
                    monitor(cx, lb.uuid, *mac, (proto, &backend.endpoint, port), check);
                }
            }
        }
    }
}

fn monitor(
    cx: &Cx<'_>,
    lb: Uuid,
    mac: Mac,
    (proto, endpoint, port): (Proto, &Endpoint, u16),
    check: &Check,
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
    cx.emit(Output::ServiceMonitor(Arc::new(ServiceMonitor {
        logical_port: check.logical_port.clone(),
        ip: endpoint.ip.to_string().into(),
        port,
        protocol: proto.name().into(),
        src_mac: mac.to_string().into(),
        src_ip: check.source.to_string().into(),
        options: check.options.clone(),
    })));
    let (match_, actions): (_, Vec<Action>) = match check.source {
        std::net::IpAddr::V4(ip) => (arp_request_for(ip), arp_answer(mac)),
        std::net::IpAddr::V6(ip) => (solicitation_for(ip), nd_answer(NestedKind::NdNa, mac, ip)),
    };
    cx.flow(switch, Stage::LsInArpRsp, 110, match_, actions, Some(lsp));
    // Answers are for the controller that asked.
    let answer = Expr::all([
        field::ETH_DST.in_set("svc_monitor_mac"),
        Expr::any([pred::TCP, pred::ICMP, pred::ICMP6]),
    ]);
    let handle = [Action::call(CallName::HandleSvcCheck, [field::INPORT])];
    cx.flow(switch, Stage::LsInL2Lkup, 110, answer, handle, None);
}

/// Whether a backend may have new connections.
pub fn is_active(cx: &Cx<'_>, vip: &Vip, backend: &Backend) -> bool {
    let (Some(check), Some(proto), Some(port)) = (&backend.check, vip.proto, backend.endpoint.port)
    else {
        return true;
    };
    let name: Str = monitor_name(
        &check.logical_port,
        &backend.endpoint.ip.to_string(),
        i64::from(port),
        proto.name(),
    );
    let rows = cx.by_name(ByName::ServiceMonitor, &name);
    rows.iter().all(|row| {
        let status = cx
            .service_monitor(*row)
            .and_then(|row| row.status().clone());
        status.is_none_or(|status| matches!(&*status, "online" | ""))
    })
}

/// The backends that may have new connections.
pub fn active(cx: &Cx<'_>, vip: &Vip) -> Vec<Endpoint> {
    let active = vip
        .backends
        .iter()
        .filter(|backend| is_active(cx, vip, backend));
    active.map(|backend| backend.endpoint).collect()
}
