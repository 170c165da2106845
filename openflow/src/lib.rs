//! OpenFlow 1.5 with the Nicira extensions: codec and connection.
//!
//! What a controller of OVN's needs to program an Open vSwitch bridge: flows in atomic bundles, groups, meters, packets
//! in and out with user data and continuations, the TLV table, and what is installed, read back. The codec
//! ([`Match`], [`ActionList`], [`Message`]) does no I/O; [`conn`] carries it over a Unix socket. Formats are those of the
//! OpenFlow 1.5.1 specification and of ovs-fields(7) and ovs-actions(7).
//!
//! Invariants:
//! * Whatever is decoded is in canonical form: two matches or action lists are equal exactly when their bytes are, and a
//!   flow read back from the switch equals the flow that was sent.
//! * Malformed bytes are an error, never a panic; unknown messages, actions and properties are kept or skipped.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod action;
pub mod conn;
mod display;
pub mod field;
pub mod matching;
pub mod message;
pub mod port;
mod wire;

pub use action::{
    Action, ActionList, Bundle, Controller, Ct, Learn, LearnDst, LearnSpec, LearnSrc, Multipath,
    Nat, NatKind, NatRange, PacketInReason, Sample, SampleDirection, Zone,
};
pub use conn::{BundleError, Conn, ConnError, Event, Events, ToMessage};
pub use field::{Field, FieldDef, Format, SubField};
pub use matching::{Match, MatchField};
pub use message::{
    Bucket, Counters, CtFlush, CtTuple, Features, FlowCommand, FlowMod, FlowSelect, FlowStats,
    Group, GroupCommand, GroupDesc, GroupMod, GroupStats, GroupType, Instructions, Message, Meter,
    MeterBand, MeterCommand, MeterDesc, MeterMod, MeterStats, MultipartReply, MultipartRequest,
    OfError, PacketIn, PacketOut, PortDesc, PortReason, PortStatus, Resume, Selection, TlvCommand,
    TlvMap, TlvTable, flow_flags, meter_flags,
};
pub use port::Port;
pub use wire::{DecodeError, EncodeError};
