//! Messages: framing, kinds, contents.

mod ct;
mod flow;
mod group;
mod misc;
mod multipart;
mod packet;

pub use ct::{CtFlush, CtTuple};
pub use flow::{Counters, FlowCommand, FlowMod, FlowSelect, FlowStats, Instructions, flow_flags};
pub use group::{
    Bucket, Group, GroupCommand, GroupDesc, GroupMod, GroupStats, GroupType, Meter, MeterBand,
    MeterCommand, MeterDesc, MeterMod, MeterStats, Selection, meter_flags,
};
pub use misc::{OfError, PortDesc, PortReason, PortStatus, TlvCommand, TlvMap, TlvTable};
pub use multipart::{MultipartReply, MultipartRequest};
pub use packet::{PacketIn, PacketOut, Resume};

use crate::action::NICIRA;
use crate::wire::{DecodeError, EncodeError, Put, Reader};

/// OpenFlow 1.5 on the wire.
pub const VERSION: u8 = 0x06;
/// Bytes of the header every message starts with.
pub const HEADER_LEN: usize = 8;
/// Any group, or none.
pub const GROUP_ANY: u32 = 0xffff_ffff;
/// All groups, in a deletion or request.
pub const GROUP_ALL: u32 = 0xffff_fffc;
/// All buckets, or none in particular.
pub const BUCKET_ALL: u32 = 0xffff_ffff;
/// The last bucket.
pub const BUCKET_LAST: u32 = 0xffff_fffe;
/// All meters, in a deletion or request.
pub const METER_ALL: u32 = 0xffff_ffff;

/// Step of a bundle (`OFPBCT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)] // The names say it.
pub enum BundleStep {
    OpenRequest = 0,
    OpenReply = 1,
    CloseRequest = 2,
    CloseReply = 3,
    CommitRequest = 4,
    CommitReply = 5,
    DiscardRequest = 6,
    DiscardReply = 7,
}

/// All or nothing, and in order: how this crate uses bundles (`OFPBF_ATOMIC | OFPBF_ORDERED`).
pub const BUNDLE_FLAGS: u16 = 3;

/// The features of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Its identity.
    pub datapath_id: u64,
    /// Packets it can buffer.
    pub n_buffers: u32,
    /// Tables it has.
    pub n_tables: u8,
    /// `OFPC_*`.
    pub capabilities: u32,
}

/// A message. What this crate has no use for is [`Message::Other`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Flow-mods are what there are many of; they are not boxed.
pub enum Message {
    /// Greets; a bitmap of versions, bit 6 for 1.5.
    Hello(u32),
    /// Something is wrong with a message of the same transaction id.
    Error(OfError),
    /// Asks to be echoed.
    EchoRequest(Vec<u8>),
    /// Echoes.
    EchoReply(Vec<u8>),
    /// Asks for the features.
    FeaturesRequest,
    /// Tells them.
    FeaturesReply(Features),
    /// Sets fragment handling and how much of a packet goes to the controller when no flow matches.
    SetConfig {
        /// `OFPC_FRAG_*`.
        flags: u16,
        /// Bytes.
        miss_send_len: u16,
    },
    /// A port is new, gone or different.
    PortStatus(PortStatus),
    /// A packet to send.
    PacketOut(PacketOut),
    /// Changes flows.
    FlowMod(FlowMod),
    /// Changes groups.
    GroupMod(GroupMod),
    /// Changes meters.
    MeterMod(MeterMod),
    /// Asks for something long.
    MultipartRequest(MultipartRequest),
    /// Answers, with `more` to come under the same id.
    MultipartReply {
        /// Whether another part follows.
        more: bool,
        /// This part.
        body: MultipartReply,
    },
    /// Asks for all before to be done first.
    BarrierRequest,
    /// It is.
    BarrierReply,
    /// A step of a bundle.
    BundleControl {
        /// Which bundle.
        bundle: u32,
        /// Which step.
        step: BundleStep,
        /// [`BUNDLE_FLAGS`].
        flags: u16,
    },
    /// A message to be part of a bundle.
    BundleAdd {
        /// Which bundle.
        bundle: u32,
        /// [`BUNDLE_FLAGS`].
        flags: u16,
        /// The message.
        message: Box<Message>,
    },
    /// Chooses the form of packet-ins: 2 for `NXT_PACKET_IN2`, the only one this crate reads.
    SetPacketInFormat(u32),
    /// Names this connection for controller actions.
    SetControllerId(u16),
    /// Changes the TLV table.
    TlvTableMod(TlvCommand, Vec<TlvMap>),
    /// Asks for it.
    TlvTableRequest,
    /// Tells it.
    TlvTableReply(TlvTable),
    /// Forgets the connections of a zone.
    CtFlushZone(u16),
    /// Forgets connections by their addresses.
    CtFlush(Box<CtFlush>),
    /// A packet that came.
    PacketIn(PacketIn),
    /// A paused packet that goes on.
    Resume(Resume),
    /// Any other message.
    Other {
        /// `OFPT_*`.
        kind: u8,
        /// What follows the header.
        body: Vec<u8>,
    },
}

/// What every message starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version.
    pub version: u8,
    /// `OFPT_*`.
    pub kind: u8,
    /// Bytes of the message, header included.
    pub len: u16,
    /// Transaction id.
    pub xid: u32,
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// When there are less than eight bytes, or the length is less than that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "message header");
        let header = Self {
            version: r.u8()?,
            kind: r.u8()?,
            len: r.u16()?,
            xid: r.u32()?,
        };
        if usize::from(header.len) < HEADER_LEN {
            return Err(DecodeError::Length {
                what: "message",
                len: header.len.into(),
            });
        }
        Ok(header)
    }
}

const VENDOR: u8 = 4;

impl Message {
    /// Appends the message to `out`.
    ///
    /// # Errors
    /// When it does not fit in OpenFlow's 65535 bytes; `out` is then as before.
    pub fn encode(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        framed("message", self.kind(), xid, out, |out| {
            self.encode_body(xid, out)
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 0,
            Self::Error(_) => 1,
            Self::EchoRequest(_) => 2,
            Self::EchoReply(_) => 3,
            Self::FeaturesRequest => 5,
            Self::FeaturesReply(_) => 6,
            Self::SetConfig { .. } => 9,
            Self::PortStatus(_) => 12,
            Self::PacketOut(_) => 13,
            Self::FlowMod(_) => 14,
            Self::GroupMod(_) => 15,
            Self::MultipartRequest(_) => 18,
            Self::MultipartReply { .. } => 19,
            Self::BarrierRequest => 20,
            Self::BarrierReply => 21,
            Self::MeterMod(_) => 29,
            Self::BundleControl { .. } => 33,
            Self::BundleAdd { .. } => 34,
            Self::SetPacketInFormat(_)
            | Self::SetControllerId(_)
            | Self::TlvTableMod(..)
            | Self::TlvTableRequest
            | Self::TlvTableReply(_)
            | Self::CtFlushZone(_)
            | Self::CtFlush(_)
            | Self::PacketIn(_)
            | Self::Resume(_) => VENDOR,
            Self::Other { kind, .. } => *kind,
        }
    }

    fn encode_body(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Hello(versions) => {
                out.u16(1);
                out.u16(8);
                out.u32(*versions);
            }
            Self::Error(e) => e.encode(out),
            Self::EchoRequest(body) | Self::EchoReply(body) | Self::Other { body, .. } => {
                out.bytes(body)
            }
            Self::FeaturesRequest | Self::BarrierRequest | Self::BarrierReply => {}
            Self::FeaturesReply(f) => {
                out.u64(f.datapath_id);
                out.u32(f.n_buffers);
                out.u8(f.n_tables);
                out.zeros(3);
                out.u32(f.capabilities);
                out.zeros(4);
            }
            Self::SetConfig {
                flags,
                miss_send_len,
            } => {
                out.u16(*flags);
                out.u16(*miss_send_len);
            }
            Self::PortStatus(status) => status.encode(out),
            Self::PacketOut(p) => p.encode(out),
            Self::FlowMod(m) => m.encode(out),
            Self::GroupMod(m) => m.encode(out),
            Self::MeterMod(m) => m.encode(out),
            Self::MultipartRequest(m) => m.encode(out),
            Self::MultipartReply { more, body } => body.encode(*more, out),
            Self::BundleControl {
                bundle,
                step,
                flags,
            } => {
                out.u32(*bundle);
                out.u16(*step as u16);
                out.u16(*flags);
            }
            Self::BundleAdd {
                bundle,
                flags,
                message,
            } => {
                out.u32(*bundle);
                out.zeros(2);
                out.u16(*flags);
                message.encode(xid, out)?;
            }
            _ => self.encode_nicira(out),
        }
        Ok(())
    }

    fn encode_nicira(&self, out: &mut Vec<u8>) {
        out.u32(NICIRA);
        match self {
            Self::SetPacketInFormat(format) => {
                out.u32(16);
                out.u32(*format);
            }
            Self::SetControllerId(id) => {
                out.u32(20);
                out.zeros(6);
                out.u16(*id);
            }
            Self::TlvTableMod(command, maps) => {
                out.u32(24);
                out.u16(*command as u16);
                out.zeros(6);
                TlvMap::encode_all(maps, out);
            }
            Self::TlvTableRequest => out.u32(25),
            Self::TlvTableReply(table) => {
                out.u32(26);
                table.encode(out);
            }
            Self::Resume(resume) => {
                out.u32(28);
                resume.encode(out);
            }
            Self::CtFlushZone(zone) => {
                out.u32(29);
                out.zeros(6);
                out.u16(*zone);
            }
            Self::CtFlush(flush) => {
                out.u32(32);
                flush.encode(out);
            }
            Self::PacketIn(p) => {
                out.u32(30);
                p.encode_packet_in(out);
            }
            other => unreachable!("{other:?} is no Nicira message"),
        }
    }

    /// Reads one whole message with its transaction id.
    ///
    /// # Errors
    /// When it is of another version, cut short, or malformed.
    pub fn decode(bytes: &[u8]) -> Result<(u32, Self), DecodeError> {
        Self::decode_nested(bytes, true)
    }

    fn decode_nested(bytes: &[u8], outermost: bool) -> Result<(u32, Self), DecodeError> {
        let header = Header::decode(bytes)?;
        // A peer that speaks no 1.5 says hello, or what it thinks of us, in its own version.
        if header.version != VERSION && header.kind > 1 {
            return Err(DecodeError::Version(header.version));
        }
        let mut frame = Reader::new(bytes, "message");
        let mut r = frame.sub(usize::from(header.len), "message")?;
        r.skip(HEADER_LEN)?;
        let message = match header.kind {
            0 => Self::Hello(decode_hello(&mut r, header.version)?),
            1 => Self::Error(OfError::decode(&mut r)?),
            2 => Self::EchoRequest(r.rest().to_vec()),
            3 => Self::EchoReply(r.rest().to_vec()),
            VENDOR => Self::decode_vendor(&mut r)?,
            5 => Self::FeaturesRequest,
            6 => {
                let (datapath_id, n_buffers, n_tables) = (r.u64()?, r.u32()?, r.u8()?);
                r.skip(3)?;
                Self::FeaturesReply(Features {
                    datapath_id,
                    n_buffers,
                    n_tables,
                    capabilities: r.u32()?,
                })
            }
            9 => Self::SetConfig {
                flags: r.u16()?,
                miss_send_len: r.u16()?,
            },
            12 => Self::PortStatus(PortStatus::decode(&mut r)?),
            13 => Self::PacketOut(PacketOut::decode(&mut r)?),
            14 => Self::FlowMod(FlowMod::decode(&mut r)?),
            15 => Self::GroupMod(GroupMod::decode(&mut r)?),
            18 => Self::MultipartRequest(MultipartRequest::decode(&mut r)?),
            19 => {
                let (more, body) = MultipartReply::decode(&mut r)?;
                Self::MultipartReply { more, body }
            }
            20 => Self::BarrierRequest,
            21 => Self::BarrierReply,
            29 => Self::MeterMod(MeterMod::decode(&mut r)?),
            33 => Self::BundleControl {
                bundle: r.u32()?,
                step: bundle_step(r.u16()?)?,
                flags: r.u16()?,
            },
            34 if outermost => {
                let bundle = r.u32()?;
                r.skip(2)?;
                let flags = r.u16()?;
                Self::BundleAdd {
                    bundle,
                    flags,
                    message: Box::new(Self::decode_nested(r.rest(), false)?.1),
                }
            }
            kind => Self::Other {
                kind,
                body: r.rest().to_vec(),
            },
        };
        Ok((header.xid, message))
    }

    fn decode_vendor(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let other = || Self::Other {
            kind: VENDOR,
            body: whole.to_vec(),
        };
        if r.u32()? != NICIRA {
            return Ok(other());
        }
        Ok(match r.u32()? {
            16 => Self::SetPacketInFormat(r.u32()?),
            20 => {
                r.skip(6)?;
                Self::SetControllerId(r.u16()?)
            }
            24 => {
                let command = match r.u16()? {
                    0 => TlvCommand::Add,
                    1 => TlvCommand::Delete,
                    2 => TlvCommand::Clear,
                    v => {
                        return Err(DecodeError::Value {
                            what: "TLV table command",
                            value: v.into(),
                        });
                    }
                };
                r.skip(6)?;
                Self::TlvTableMod(command, TlvMap::decode_all(r)?)
            }
            25 => Self::TlvTableRequest,
            26 => Self::TlvTableReply(TlvTable::decode(r)?),
            28 => Self::Resume(Resume::decode(r)?),
            29 => {
                r.skip(6)?;
                Self::CtFlushZone(r.u16()?)
            }
            30 => Self::PacketIn(PacketIn::decode(r)?),
            32 => Self::CtFlush(Box::new(CtFlush::decode(r)?)),
            _ => other(),
        })
    }
}

/// Appends a bundle-add message without taking the message into an owned one.
pub(crate) fn encode_bundle_add(
    bundle: u32,
    flags: u16,
    message: &Message,
    xid: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    framed("bundle-add", 34, xid, out, |out| {
        out.u32(bundle);
        out.zeros(2);
        out.u16(flags);
        message.encode(xid, out)
    })
}

/// A header and what `body` appends behind it; `out` is as before if that fails or the whole is too long for a header to say.
fn framed(
    what: &'static str,
    kind: u8,
    xid: u32,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.u8(VERSION);
    out.u8(kind);
    out.u16(0);
    out.u32(xid);
    let inner = body(out);
    let len = out.len() - start;
    let fits = match len > usize::from(u16::MAX) {
        true => Err(EncodeError::TooLong { what, len }),
        false => Ok(()),
    };
    if let Err(error) = inner.and(fits) {
        out.truncate(start);
        return Err(error);
    }
    out.patch_len(start + 2, start);
    Ok(())
}

/// The version bitmap; a peer that gives none supports the version of its header and, it is assumed, those below.
fn decode_hello(r: &mut Reader<'_>, version: u8) -> Result<u32, DecodeError> {
    while r.len() >= 4 {
        let (kind, len) = (r.u16()?, usize::from(r.u16()?));
        let mut element = r.sub(
            len.checked_sub(4)
                .ok_or(DecodeError::Length { what: "hello", len })?,
            "hello",
        )?;
        r.pad8(len)?;
        if kind == 1 {
            return element.u32();
        }
    }
    Ok(match version {
        0..=30 => (1 << (version + 1)) - 1,
        _ => u32::MAX,
    })
}

fn bundle_step(v: u16) -> Result<BundleStep, DecodeError> {
    use BundleStep as S;
    [
        S::OpenRequest,
        S::OpenReply,
        S::CloseRequest,
        S::CloseReply,
        S::CommitRequest,
        S::CommitReply,
        S::DiscardRequest,
        S::DiscardReply,
    ]
    .into_iter()
    .find(|s| *s as u16 == v)
    .ok_or(DecodeError::Value {
        what: "bundle control",
        value: v.into(),
    })
}
