//! The machine of a port has been heard on an additional chassis: see [`crate::activation`].

use weft_openflow::{Field, PacketIn};
use weft_ovsdb::model::Uuid;

use super::port;
use super::respond::Refusal;
use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::REG_INPORT;
use crate::program::Key;

/// The port that the packet came from, if it still waits for one.
pub(super) fn heard(packet: &PacketIn, core: &Core) -> Result<Option<Uuid>, Refusal> {
    let key = |field| u32::try_from(packet.metadata_value(field)).map_err(|_| Refusal::Params);
    let found = port::row(core, key(Field::Metadata)?, key(REG_INPORT)?);
    Ok(found
        .map(|(uuid, _)| uuid)
        .filter(|port| waits(core, *port)))
}

fn waits(core: &Core, port: Uuid) -> bool {
    let place = core.engine().value::<Place>(BINDING.id(), Key::Row(port));
    place.is_some_and(|place| matches!(&*place, Place::Here(at) if at.waits.any()))
}
