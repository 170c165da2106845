//! Actions: what happens to a packet (ovs-actions(7)).

mod decode;
mod encode;
mod learn;
mod list;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::field::{Field, SubField};
use crate::port::Port;

pub(crate) use decode::next_property;
pub(crate) use encode::property;
pub use learn::{Learn, LearnDst, LearnSpec, LearnSrc};
pub use list::ActionList;

/// Nicira's vendor number, under which Open vSwitch's extensions go.
pub(crate) const NICIRA: u32 = 0x0000_2320;

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// To a port; for `Port::CONTROLLER` see [`Action::Controller`].
    Output(Port),
    /// To a port, cut to at most `max_len` bytes.
    OutputTruncated {
        /// The port.
        port: Port,
        /// Bytes kept.
        max_len: u32,
    },
    /// To the port whose number a field holds.
    OutputField(SubField),
    /// To the controller.
    Controller(Box<Controller>),
    /// Searches a table and executes what it finds, then goes on.
    Resubmit {
        /// Input port to search with, the packet's own when none.
        in_port: Option<Port>,
        /// Table to search, the current one when none.
        table: Option<u8>,
        /// Search with the connection's original tuple.
        ct: bool,
    },
    /// Sets the bits of a field that are in the mask.
    SetField {
        /// The field.
        field: Field,
        /// The new value, zero outside the mask.
        value: u128,
        /// The bits to set.
        mask: u128,
    },
    /// Copies bits; source and destination have the same width.
    Move {
        /// From.
        src: SubField,
        /// To.
        dst: SubField,
    },
    /// Connection tracking.
    Ct(Box<Ct>),
    /// Forgets the packet's connection state.
    CtClear,
    /// Address translation; only inside [`Ct::exec`].
    Nat(Box<Nat>),
    /// Clause `clause` of `n_clauses` of the conjunctive match `id`; clauses count from 1.
    Conjunction {
        /// What `conj_id` is when all clauses match.
        id: u32,
        /// Which one, 1 to `n_clauses`.
        clause: u8,
        /// How many, 2 to 64.
        n_clauses: u8,
    },
    /// Decrements TTL or hop limit, telling the controllers with these ids (controller 0 when empty) when it ends.
    DecTtl(Vec<u16>),
    /// Executes a list on a copy.
    Clone(ActionList),
    /// Adds or changes a flow.
    Learn(Box<Learn>),
    /// Bytes for whoever reads the flow; the switch pads them with zeros to 6 more than a multiple of 8.
    Note(Box<[u8]>),
    /// Through a group.
    Group(u32),
    /// Through a meter; must be the first action.
    Meter(u32),
    /// Pushes a VLAN tag of this Ethernet type.
    PushVlan(u16),
    /// Strips the outer VLAN tag.
    PopVlan,
    /// Pushes bits on the stack.
    Push(SubField),
    /// Pops them.
    Pop(SubField),
    /// Sets one bit to whether the packet is longer than `len` bytes, Ethernet header included.
    CheckPktLarger {
        /// Bytes.
        len: u16,
        /// The bit.
        dst: SubField,
    },
    /// IPFIX sampling.
    Sample(Sample),
    /// Output queue from here on.
    SetQueue(u32),
    /// Back to the default queue.
    PopQueue,
    /// Computes a link number from a hash of the packet.
    Multipath(Box<Multipath>),
    /// Chooses a port by a hash of the packet and outputs to it, or loads it into a field.
    Bundle(Box<Bundle>),
    /// Removes a `tun_metadata` option.
    DeleteField(Field),
    /// Stops here.
    Exit,
    /// Any other action, as it was on the wire.
    Raw(Box<[u8]>),
}

impl Action {
    /// Sets a whole field.
    #[must_use]
    pub fn set(field: Field, value: impl Into<u128>) -> Action {
        Action::load(value, field)
    }

    /// Loads a number into a field or part of one; `load:value->dst[..]` in ovs-ofctl.
    #[must_use]
    pub fn load(value: impl Into<u128>, dst: impl Into<SubField>) -> Action {
        let dst = dst.into();
        let mask = dst.mask();
        Action::SetField {
            field: dst.field,
            value: value.into() << dst.offset & mask,
            mask,
        }
    }

    /// Copies a field or part of one.
    #[must_use]
    pub fn copy(src: impl Into<SubField>, dst: impl Into<SubField>) -> Action {
        Action::Move {
            src: src.into(),
            dst: dst.into(),
        }
    }

    /// Exchanges two fields, by the stack.
    #[must_use]
    pub fn exchange(a: impl Into<SubField>, b: impl Into<SubField>) -> [Action; 4] {
        let (a, b) = (a.into(), b.into());
        [
            Action::Push(a),
            Action::Push(b),
            Action::Pop(a),
            Action::Pop(b),
        ]
    }

    /// Searches another table with the packet as it is.
    #[must_use]
    pub fn resubmit(table: u8) -> Action {
        Action::Resubmit {
            in_port: None,
            table: Some(table),
            ct: false,
        }
    }

    /// To the controller with `userdata`, nothing else said.
    #[must_use]
    pub fn controller(userdata: impl Into<Box<[u8]>>) -> Action {
        Action::Controller(Box::new(Controller {
            userdata: userdata.into(),
            ..Controller::default()
        }))
    }
}

/// Why a packet came to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketInReason {
    /// No flow matched.
    NoMatch = 0,
    /// An action said so.
    Action = 1,
    /// TTL or hop limit ended.
    InvalidTtl = 2,
    /// Output in an action set.
    ActionSet = 3,
    /// Output in a group.
    Group = 4,
    /// Output in a packet-out.
    PacketOut = 5,
}

impl PacketInReason {
    pub(crate) fn from_u8(v: u8) -> Option<Self> {
        use PacketInReason as R;
        [
            R::NoMatch,
            R::Action,
            R::InvalidTtl,
            R::ActionSet,
            R::Group,
            R::PacketOut,
        ]
        .into_iter()
        .find(|r| *r as u8 == v)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoMatch => "no_match",
            Self::Action => "action",
            Self::InvalidTtl => "invalid_ttl",
            Self::ActionSet => "action_set",
            Self::Group => "group",
            Self::PacketOut => "packet_out",
        }
    }
}

/// How a packet goes to the controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Controller {
    /// Bytes of the packet to send; 65535 for all.
    pub max_len: u16,
    /// Which controller; a connection is 0 unless it said otherwise.
    pub controller_id: u16,
    /// The reason to give.
    pub reason: PacketInReason,
    /// Bytes to give along.
    pub userdata: Box<[u8]>,
    /// Stop the packet here; the controller resumes it.
    pub pause: bool,
    /// The meter that limits it.
    pub meter_id: Option<u32>,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            max_len: u16::MAX,
            controller_id: 0,
            reason: PacketInReason::Action,
            userdata: Box::default(),
            pause: false,
            meter_id: None,
        }
    }
}

/// The zone of a connection tracking action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// This one.
    Id(u16),
    /// The one that 16 bits of a field hold.
    Field(SubField),
}

/// Connection tracking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ct {
    /// Enter the connection into the table.
    pub commit: bool,
    /// Even if it is there in the other direction.
    pub force: bool,
    /// The zone.
    pub zone: Zone,
    /// Where a copy of the packet goes on with its connection state.
    pub table: Option<u8>,
    /// Helper by its port: 21 for FTP, 69 for TFTP, 0 for none.
    pub alg: u16,
    /// NAT and settings of `ct_mark` and `ct_label`.
    pub exec: ActionList,
}

impl Default for Ct {
    fn default() -> Self {
        Self {
            commit: false,
            force: false,
            zone: Zone::Id(0),
            table: None,
            alg: 0,
            exec: ActionList::default(),
        }
    }
}

/// A range of addresses for translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatRange {
    /// First and, if there are more than one, last.
    V4(Ipv4Addr, Option<Ipv4Addr>),
    /// First and, if there are more than one, last.
    V6(Ipv6Addr, Option<Ipv6Addr>),
}

/// What is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// Nothing new: as the connection was committed.
    Existing,
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// Address translation within [`Ct`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// What is translated.
    pub kind: NatKind,
    /// To which addresses.
    pub addresses: Option<NatRange>,
    /// To which ports: first and, if there are more than one, last.
    pub ports: Option<(u16, Option<u16>)>,
    /// Choose the same mapping after a restart.
    pub persistent: bool,
    /// Choose the port by hash.
    pub hash: bool,
    /// Choose the port at random.
    pub random: bool,
}

impl Nat {
    /// Translates as the connection was committed.
    #[must_use]
    pub fn existing() -> Self {
        Self {
            kind: NatKind::Existing,
            addresses: None,
            ports: None,
            persistent: false,
            hash: false,
            random: false,
        }
    }

    /// Source translation to a range, or only a change of port on collision when none.
    #[must_use]
    pub fn src(addresses: Option<NatRange>) -> Self {
        Self {
            kind: NatKind::Src,
            addresses,
            ..Self::existing()
        }
    }

    /// Destination translation.
    #[must_use]
    pub fn dst(addresses: Option<NatRange>) -> Self {
        Self {
            kind: NatKind::Dst,
            addresses,
            ..Self::existing()
        }
    }
}

/// Where a sampled packet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleDirection {
    /// Not said.
    Default,
    /// Coming in.
    Ingress,
    /// Going out.
    Egress,
}

/// IPFIX sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sample {
    /// Packets out of 65535.
    pub probability: u16,
    /// The set of collectors.
    pub collector_set_id: u32,
    /// Observation domain.
    pub obs_domain_id: u32,
    /// Observation point.
    pub obs_point_id: u32,
    /// The port sampled on.
    pub sampling_port: Option<Port>,
    /// Whether packets come or go there.
    pub direction: SampleDirection,
}

/// A link number from a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multipath {
    /// What is hashed: 0 `eth_src`, 1 `symmetric_l4`, 2 `symmetric_l3l4`, 3 `symmetric_l3l4+udp`, 4 `nw_src`, 5 `nw_dst`, 6 `symmetric_l3`.
    pub fields: u16,
    /// Seed.
    pub basis: u16,
    /// 0 `modulo_n`, 1 `hash_threshold`, 2 `hrw`, 3 `iter_hash`.
    pub algorithm: u16,
    /// Number of links less one.
    pub max_link: u16,
    /// Argument of `iter_hash`.
    pub arg: u32,
    /// Where the number goes.
    pub dst: SubField,
}

/// A port chosen by a hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    /// What is hashed, as in [`Multipath::fields`].
    pub fields: u16,
    /// Seed.
    pub basis: u16,
    /// 0 `active_backup`, 1 `hrw`.
    pub algorithm: u16,
    /// The ports.
    pub members: Vec<Port>,
    /// Load the port number here instead of outputting.
    pub dst: Option<SubField>,
}
