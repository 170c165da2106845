//! `Port_Binding` of router ports, and of the `chassisredirect` ports of those that are bound to a gateway.
//!
//! Guarantees: every port of a router that has a datapath has a binding; one with gateway chassis or a HA chassis group
//! has also `cr-<name>`, by which packets reach the chassis that is active.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_schemas::nb;

use super::port_key::{PortKey, port_key, redirect_key};
use super::router::advert::{self, Adverts};
use super::router::delegation;
use super::router::port::Ports;
use super::switch_port::{external_ids, gateway_chassis_of};
use crate::output::{Output, Port};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// The name of the `chassisredirect` port of a router port.
pub fn redirect_name(port: &str) -> Str {
    format!("cr-{port}").into()
}

/// The port is bound to the chassis of a gateway although its router is distributed.
pub fn is_distributed_gateway(cx: &Cx<'_>, lrp: Uuid) -> bool {
    cx.lrp(lrp)
        .is_some_and(|row| !row.gateway_chassis().is_empty() || row.ha_chassis_group().is_some())
        && gateway_chassis_of(cx, lrp).is_none()
}

/// Emits the rows.
pub struct RouterPort;

impl Feature for RouterPort {
    const NAME: &'static str = "router_port_binding";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[PortKey::NAME, Ports::NAME, Adverts::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(lrp) = cx.lrp(uuid) else { return };
        let Some(datapath) = cx.router_of(uuid) else {
            return;
        };
        let redirected = is_distributed_gateway(cx, uuid);
        if redirected {
            cx.demand(PortKey::ID, redirect_key(uuid));
        }
        let Some(tunnel_key) = port_key(cx, key) else {
            return;
        };
        let name = lrp.name();
        let mac: Str = std::iter::once(&**lrp.mac())
            .chain(lrp.networks().iter().map(|n| &**n))
            .collect::<Vec<_>>()
            .join(" ")
            .into();
        let chassis = gateway_chassis_of(cx, uuid);
        let mut options: Vec<(Str, Str)> = Vec::new();
        options.extend(peer(cx, name, lrp.peer().as_ref()).map(|peer| ("peer".into(), peer)));
        options.extend(redirected.then(|| ("chassis-redirect-port".into(), redirect_name(name))));
        options.extend(
            chassis
                .clone()
                .map(|chassis| ("l3gateway-chassis".into(), chassis)),
        );
        options.extend(advert::binding_options(cx, uuid));
        options.extend(delegation::binding_options(cx, uuid));
        let port = Port {
            logical_port: name.clone(),
            type_: if chassis.is_some() {
                "l3gateway"
            } else {
                "patch"
            }
            .into(),
            datapath,
            tunnel_key: i64::from(tunnel_key),
            options: Map::from_iter(options),
            mac: Set::from_iter([mac]),
            external_ids: external_ids(lrp.external_ids()),
            ..Port::default()
        };
        if redirected && let Some(tunnel_key) = port_key(cx, redirect_key(uuid)) {
            let mut options: Vec<(Str, Str)> = vec![("distributed-port".into(), name.clone())];
            for kept in ["redirect-type", "always-redirect"] {
                options.extend(lrp.options().get(kept).map(|v| (kept.into(), v.clone())));
            }
            cx.emit(Output::Port(Arc::new(Port {
                logical_port: redirect_name(name),
                type_: "chassisredirect".into(),
                tunnel_key: i64::from(tunnel_key),
                options: Map::from_iter(options),
                ha_group: ha_group(cx, uuid),
                ..port.clone()
            })));
        }
        cx.emit(Output::Port(Arc::new(port)));
    }
}

/// What is at the other end: a router port, or the switch port that leads here.
fn peer(cx: &Cx<'_>, name: &str, configured: Option<&Str>) -> Option<Str> {
    if let Some(peer) = configured.filter(|peer| !peer.is_empty()) {
        return cx.lrp_named(peer).map(|_| peer.clone());
    }
    let first = cx.switch_ports_towards(name).first().copied()?;
    Some(cx.lsp(first)?.name().clone())
}

/// The HA chassis group of a router port: the one it names, or its own made of its gateway chassis.
pub fn ha_group(cx: &Cx<'_>, lrp: Uuid) -> Option<Str> {
    let row = cx.lrp(lrp)?;
    match row.ha_chassis_group() {
        Some(group) => Some(cx.ha_group(*group)?.name().clone()),
        None => (!row.gateway_chassis().is_empty()).then(|| row.name().clone()),
    }
}
