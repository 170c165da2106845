//! Logical ports by the keys that packets carry.

use std::sync::Arc;

use weft_ovsdb::model::Uuid;
use weft_schemas::sb;

use super::waiting::Hop;
use crate::core::Core;
use crate::index::Index;

/// The port with a key on the datapath with a key: its row.
pub(super) fn row(core: &Core, datapath: u32, port: u32) -> Option<(Uuid, &sb::PortBinding)> {
    let inputs = &core.inputs;
    let datapath = *inputs
        .idx
        .find(Index::DatapathByKey, i64::from(datapath))
        .first()?;
    let port = *inputs
        .idx
        .find(Index::PortByKey, (datapath, i64::from(port)))
        .first()?;
    Some((port, inputs.sb.port_binding.get(port)?))
}

/// The port with a key on the datapath with a key: the datapath's row and the port.
pub(super) fn find(core: &Core, datapath: u32, port: u32) -> Option<(Uuid, &Arc<sb::PortBinding>)> {
    let inputs = &core.inputs;
    let datapath = *inputs
        .idx
        .find(Index::DatapathByKey, i64::from(datapath))
        .first()?;
    let port = *inputs
        .idx
        .find(Index::PortByKey, (datapath, i64::from(port)))
        .first()?;
    Some((datapath, inputs.sb.port_binding.get_arc(port)?))
}

/// Neighbours are known by the router port itself, not by the port that stands for it on its gateway.
pub(super) fn of_hop(core: &Core, hop: Hop) -> Hop {
    let distributed = || {
        let (_, port) = find(core, hop.datapath, hop.port)
            .filter(|(_, port)| &*port.type_ == "chassisredirect")?;
        let name = port.options.get("distributed-port")?;
        let uuid = *core.inputs.idx.find(Index::PortByName, &**name).first()?;
        u32::try_from(core.inputs.sb.port_binding.get(uuid)?.tunnel_key).ok()
    };
    distributed().map_or(hop, |port| Hop { port, ..hop })
}
