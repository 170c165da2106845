//! Patch ports between the integration bridge and the bridges that ovn-bridge-mappings names, for localnet and l2gateway
//! ports.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::Str;

use crate::bridge::OwnPort;
use crate::config::{CONFIG, Config, ME, Me};
use crate::index::Index;
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Key, Output, Read};

/// Emits the two ends of a patch; keyed by port binding.
pub const PATCH: Kind<Controller> = Kind::pure("patch", &["me", "config", "local-datapath"], patch);

fn patch(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    let mark = match &**row.type_() {
        "localnet" => "ovn-localnet-port",
        "l2gateway" => "ovn-l2gateway-port",
        _ => return,
    };
    let (Some(me), Some(config)) = (
        cx.value::<Me>(ME.id(), Key::Global),
        cx.value::<Config>(CONFIG.id(), Key::Global),
    ) else {
        return;
    };
    if mark == "ovn-l2gateway-port" && row.options().get("l2gateway-chassis") != Some(&me.name) {
        return;
    }
    if mark == "ovn-localnet-port"
        && cx
            .value::<Local>(LOCAL.id(), Key::Row(*row.datapath()))
            .is_none()
    {
        return;
    }
    let problem = |message: String| {
        cx.diagnose(Diagnostic {
            row: format!("Port_Binding {}", row.logical_port()),
            column: "options",
            message,
            uuid,
        });
    };
    let Some(network) = row.options().nonempty("network_name") else {
        problem("no network_name: not connected to any bridge".into());
        return;
    };
    let Some(bridge) = config.bridge_of(network) else {
        // A localnet port is on every chassis that can serve it; others just do not have the network.
        if mark == "ovn-l2gateway-port" {
            problem(format!(
                "ovn-bridge-mappings has no bridge for network {network}"
            ));
        }
        return;
    };
    if cx.lookup_one(Index::BridgeByName, &**bridge).is_none() {
        problem(format!(
            "network {network} is mapped to bridge {bridge}, which does not exist"
        ));
        return;
    }
    let port = row.logical_port();
    let inner: Str = format!("patch-{}-to-{port}", config.bridge).into();
    let outer: Str = format!("patch-{port}-to-{}", config.bridge).into();
    let end = |bridge: &Str, name: &Str, peer: &Str| {
        cx.emit(Output::VsPort(Arc::new(OwnPort {
            bridge: bridge.clone(),
            name: name.clone(),
            kind: "patch".into(),
            options: [("peer", &**peer)].into(),
            bfd: Default::default(),
            mark: (mark, port.clone()),
            ids: Default::default(),
            mtu: None,
        })));
    };
    end(&config.bridge, &inner, &outer);
    end(bridge, &outer, &inner);
}
