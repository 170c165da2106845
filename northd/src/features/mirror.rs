//! Mirrors: what they are, the rows that chassis need of them, and the ports that lead to the sinks of `lport` ones.
//!
//! Guarantees: a mirror that leads nowhere is reported and copies nothing. Mirrors to a machine outside (`gre`, `erspan`) or
//! to a port of Open vSwitch (`local`) are rows that chassis make mirrors of Open vSwitch from; those to a logical port
//! (`lport`) are logical flows ([`super::switch::mirrored`]), and no chassis sees a row of theirs. Each switch with packets
//! for such a sink has a port of type `mirror` for it, bound where the sink is.

use std::net::IpAddr;
use std::sync::Arc;

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::port_key::{PortKey, mirror_key, port_key};
use crate::output::{self, Output, Port};
use crate::program::{Allocator as _, Cx, Feature, Key, Per};

/// Largest session number of ERSPAN as Open vSwitch takes it.
const MAX_ERSPAN_INDEX: i64 = 0xf_ffff;

/// A mirror that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// Its name.
    pub name: Str,
    /// Copies what the port sends.
    pub from: bool,
    /// Copies what the port gets.
    pub to: bool,
    /// The logical port that gets the copies of an `lport` mirror.
    pub sink: Option<Uuid>,
}

impl Mirror {
    /// The name of its southbound row, if it has one.
    pub fn outside(&self) -> Option<Str> {
        self.sink.is_none().then(|| self.name.clone())
    }
}

/// Publishes [`Mirror`]s and emits their rows.
pub struct Mirrors;

impl Feature for Mirrors {
    const NAME: &'static str = "mirror";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Mirror)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.mirror(key.row()) else {
            return;
        };
        let complain = |column: &'static str, message: String| {
            cx.diagnose::<nb::Mirror>(row.name(), key.row(), column, message);
        };
        let (kind, target, index) = (&**row.type_(), row.sink(), *row.index());
        let sink = match kind {
            "lport" => cx
                .lsp_named(target)
                .filter(|port| cx.switch_of(*port).is_some()),
            _ => None,
        };
        let leads_somewhere = match kind {
            "lport" => sink.is_some(),
            "local" => !target.is_empty(),
            _ => target.parse::<IpAddr>().is_ok(),
        };
        if !leads_somewhere {
            let wanted = match kind {
                "lport" => "names no port of a switch",
                "local" => "names no port",
                _ => "is no IP address",
            };
            complain(
                "sink",
                format!("\"{target}\" {wanted}: nothing is mirrored"),
            );
            return;
        }
        let most = match kind {
            "gre" => i64::from(u32::MAX),
            "erspan" => MAX_ERSPAN_INDEX,
            _ => i64::MAX,
        };
        if matches!(kind, "gre" | "erspan") && !(0..=most).contains(&index) {
            let message = format!("{index} is not between 0 and {most}: nothing is mirrored");
            complain("index", message);
            return;
        }
        if sink.is_none() {
            cx.emit(Output::Mirror(Arc::new(output::Mirror {
                name: row.name().clone(),
                filter: row.filter().clone(),
                sink: target.clone(),
                type_: row.type_().clone(),
                index,
            })));
        }
        cx.publish(Mirror {
            name: row.name().clone(),
            from: &**row.filter() != "to-lport",
            to: &**row.filter() != "from-lport",
            sink,
        });
    }
}

/// The name of the port by which packets of a switch reach a sink.
pub fn mirror_port_name(cx: &Cx<'_>, switch: Uuid, sink: Uuid) -> Option<Str> {
    let (switch, sink) = (cx.ls(switch)?, cx.lsp(sink)?);
    Some(format!("mp-{}-{}", switch.name(), sink.name()).into())
}

/// Emits the ports that lead to sinks; see [`mirror_key`].
pub struct MirrorPorts;

impl Feature for MirrorPorts {
    const NAME: &'static str = "mirror_port";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[PortKey::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Key::Pair(switch, sink) = key else { return };
        let Some(name) = mirror_port_name(cx, switch, sink) else {
            return;
        };
        cx.demand(PortKey::ID, mirror_key(switch, sink));
        let Some(tunnel_key) = port_key(cx, mirror_key(switch, sink)) else {
            return;
        };
        cx.emit(Output::Port(Arc::new(Port {
            logical_port: name,
            type_: "mirror".into(),
            datapath: switch,
            tunnel_key: i64::from(tunnel_key),
            mirror_port: cx.lsp(sink).map(|lsp| lsp.name().clone()),
            ..Port::default()
        })));
    }
}
