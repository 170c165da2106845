//! Packets to and from the controller.

use crate::action::{ActionList, PacketInReason, next_property, property};
use crate::field::Field;
use crate::matching::Match;
use crate::port::Port;
use crate::wire::{DecodeError, Put, Reader};

/// A packet that came to the controller (`NXT_PACKET_IN2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn {
    /// The packet, perhaps cut.
    pub packet: Vec<u8>,
    /// Its full length in bytes.
    pub full_len: u32,
    /// Why it came.
    pub reason: PacketInReason,
    /// Table of the flow that sent it.
    pub table: u8,
    /// Cookie of that flow; all ones when there was none.
    pub cookie: u64,
    /// Its metadata: input port, registers, tunnel, connection state.
    pub metadata: Match,
    /// What the controller action gave along.
    pub userdata: Vec<u8>,
    /// How the switch goes on, for [`PacketIn::resume`]; opaque. None unless the packet was paused.
    pub continuation: Option<Vec<u8>>,
}

impl PacketIn {
    /// The input port, `Port::ANY` when the switch gave none.
    #[must_use]
    pub fn in_port(&self) -> Port {
        let port = self
            .metadata
            .exact(Field::InPort)
            .and_then(|p| u32::try_from(p).ok());
        port.map_or(Port::ANY, Port)
    }

    /// The value of a metadata field, 0 where the switch gave none: it leaves out fields that are zero.
    #[must_use]
    pub fn metadata_value(&self, field: Field) -> u128 {
        self.metadata.get(field).map_or(0, |m| m.value)
    }

    /// Lets a paused packet go on, with contents and metadata as they are now. None if it was not paused.
    #[must_use]
    pub fn resume(self) -> Option<Resume> {
        self.continuation.is_some().then_some(Resume(self))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        property(out, PACKET, |out| out.bytes(&self.packet));
        if usize::try_from(self.full_len) != Ok(self.packet.len()) {
            property(out, FULL_LEN, |out| out.u32(self.full_len));
        }
        property(out, TABLE, |out| out.u8(self.table));
        if self.cookie != u64::MAX {
            property(out, COOKIE, |out| {
                out.zeros(4);
                out.u64(self.cookie);
            });
        }
        property(out, REASON, |out| out.u8(self.reason as u8));
        property(out, METADATA, |out| out.bytes(self.metadata.oxm_bytes()));
        if let Some(continuation) = &self.continuation {
            property(out, CONTINUATION, |out| out.bytes(continuation));
        }
        if !self.userdata.is_empty() {
            property(out, USERDATA, |out| out.bytes(&self.userdata));
        }
    }

    pub(super) fn encode_packet_in(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut out = Self {
            packet: Vec::new(),
            full_len: 0,
            reason: PacketInReason::Action,
            table: 0,
            cookie: u64::MAX,
            metadata: Match::any(),
            userdata: Vec::new(),
            continuation: None,
        };
        let mut full_len = None;
        while let Some((kind, mut value)) = next_property(r, "packet-in")? {
            match kind {
                PACKET => out.packet = value.rest().to_vec(),
                FULL_LEN => full_len = Some(value.u32()?),
                TABLE => out.table = value.u8()?,
                COOKIE => {
                    value.skip(4)?;
                    out.cookie = value.u64()?;
                }
                REASON => {
                    let reason = value.u8()?;
                    out.reason = PacketInReason::from_u8(reason).ok_or(DecodeError::Value {
                        what: "packet-in reason",
                        value: reason.into(),
                    })?;
                }
                METADATA => out.metadata = Match::from_oxm(value.rest())?,
                USERDATA => out.userdata = value.rest().to_vec(),
                CONTINUATION => out.continuation = Some(value.rest().to_vec()),
                // Open vSwitch buffers no packets; new properties are no reason to lose one.
                _ => {}
            }
        }
        out.full_len =
            full_len.unwrap_or_else(|| u32::try_from(out.packet.len()).unwrap_or(u32::MAX));
        Ok(out)
    }
}

const PACKET: u16 = 0;
const FULL_LEN: u16 = 1;
const TABLE: u16 = 3;
const COOKIE: u16 = 4;
const REASON: u16 = 5;
const METADATA: u16 = 6;
const USERDATA: u16 = 7;
const CONTINUATION: u16 = 8;

/// A paused packet on its way back (`NXT_RESUME`); made by [`PacketIn::resume`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume(PacketIn);

impl Resume {
    /// The packet as it will go on.
    #[must_use]
    pub fn packet_in(&self) -> &PacketIn {
        &self.0
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        PacketIn::decode(r).map(Self)
    }
}

/// A packet that the controller sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// Input port (exactly `Field::InPort`) and other metadata it starts with.
    pub metadata: Match,
    /// What happens to it.
    pub actions: ActionList,
    /// The packet.
    pub packet: Vec<u8>,
}

impl PacketOut {
    /// A packet that comes from the controller itself.
    #[must_use]
    pub fn new(packet: Vec<u8>, actions: impl Into<ActionList>) -> Self {
        Self::from_port(Port::CONTROLLER, packet, actions)
    }

    /// A packet as if it came in by `port`.
    #[must_use]
    pub fn from_port(port: Port, packet: Vec<u8>, actions: impl Into<ActionList>) -> Self {
        Self {
            metadata: Match::any().with(Field::InPort, port.0),
            actions: actions.into(),
            packet,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(0xffff_ffff);
        let len_at = out.len();
        out.u16(0);
        out.zeros(2);
        self.metadata.encode(out);
        let actions = out.len();
        out.bytes(self.actions.wire_bytes());
        out.patch_len(len_at, actions);
        out.bytes(&self.packet);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.skip(4)?;
        let actions = usize::from(r.u16()?);
        r.skip(2)?;
        let metadata = Match::decode(r)?;
        Ok(Self {
            metadata,
            actions: ActionList::from_wire(r.take(actions)?)?,
            packet: r.rest().to_vec(),
        })
    }
}
