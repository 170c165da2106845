//! The machine of a port has been heard on an additional chassis: see [`crate::activation`].

use weft_openflow::{Field, PacketIn};
use weft_ovsdb::model::Uuid;

use super::port;
use super::respond::Refusal;
use crate::core::Core;
use crate::flow::REG_INPORT;

/// The port that the packet came from.
pub(super) fn heard(packet: &PacketIn, core: &Core) -> Result<Uuid, Refusal> {
    let key = |field| u32::try_from(packet.metadata_value(field)).map_err(|_| Refusal::Params);
    let found = port::row(core, key(Field::Metadata)?, key(REG_INPORT)?);
    found.map(|(uuid, _)| uuid).ok_or(Refusal::Params)
}
