//! Logical actions: every action of ovn-sb(5), including those later than 23.03 that are documented.
//!
//! Actions whose arguments are nothing but fields are described by a table ([`CallName`]), so that parser, checker
//! and renderer share one list.

use std::net::IpAddr;

use crate::constant::{Const, Str};
use crate::field::Field;

/// Ingress or egress, as in the `pipeline` column of Logical_Flow.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pipeline {
    /// Decides where a packet goes.
    Ingress,
    /// Once per output port.
    Egress,
}

impl Pipeline {
    /// As in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Pipeline::Ingress => "ingress",
            Pipeline::Egress => "egress",
        }
    }
}

/// A conntrack zone of a router.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatZone {
    /// `dnat`
    Dnat,
    /// `snat`
    Snat,
}

impl NatZone {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            NatZone::Dnat => "dnat",
            NatZone::Snat => "snat",
        }
    }
}

/// The four translating actions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// `ct_dnat`
    Dnat,
    /// `ct_snat`
    Snat,
    /// `ct_dnat_in_czone`
    DnatInCzone,
    /// `ct_snat_in_czone`
    SnatInCzone,
}

impl NatKind {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            NatKind::Dnat => "ct_dnat",
            NatKind::Snat => "ct_snat",
            NatKind::DnatInCzone => "ct_dnat_in_czone",
            NatKind::SnatInCzone => "ct_snat_in_czone",
        }
    }
}

/// To what an address is translated: `10.0.0.1` or `10.0.0.1, 1-3000`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatTarget {
    /// The address.
    pub ip: IpAddr,
    /// First and last port; equal if only one was given.
    pub ports: Option<(u16, u16)>,
}

/// The balancing actions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LbKind {
    /// `ct_lb`: flags go into ct_label.
    Label,
    /// `ct_lb_mark`: flags go into ct_mark.
    Mark,
    /// `ct_lb_mark_local`: only backends whose port is on this chassis (later than 23.03). Each backend has its port in front,
    /// `"port":10.0.0.1:80`.
    MarkLocal,
}

impl LbKind {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            LbKind::Label => "ct_lb",
            LbKind::Mark => "ct_lb_mark",
            LbKind::MarkLocal => "ct_lb_mark_local",
        }
    }
}

/// What becomes of the source of a balanced connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LbFlag {
    /// `skip_snat`
    SkipSnat,
    /// `force_snat`
    ForceSnat,
}

impl LbFlag {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            LbFlag::SkipSnat => "skip_snat",
            LbFlag::ForceSnat => "force_snat",
        }
    }
}

/// A load balancer's backend, or its virtual address.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Address.
    pub ip: IpAddr,
    /// Transport port.
    pub port: Option<u16>,
}

/// Arguments of `ct_lb` and its kin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lb {
    /// Which of the actions.
    pub kind: LbKind,
    /// Where to; without any the packet is only translated as the connection already is.
    pub backends: Vec<Endpoint>,
    /// For [`LbKind::MarkLocal`] the logical port that each of `backends` is behind, else empty.
    pub behind: Vec<Str>,
    /// Backends that every chassis has its own of (`^name:^port`), written after the others; see
    /// [`Const::Template`].
    pub templates: Vec<Str>,
    /// Comma-separated OpenFlow field names.
    pub hash_fields: Option<Str>,
    /// What becomes of the source.
    pub flag: Option<LbFlag>,
}

/// Actions that run nested actions on another packet, or on a copy.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // named as written; `name` is the table
pub enum NestedKind {
    Clone,
    Arp,
    NdNs,
    NdNa,
    NdNaRouter,
    Icmp4,
    Icmp4Error,
    Icmp6,
    Icmp6Error,
    TcpReset,
    SctpAbort,
    Reject,
}

impl NestedKind {
    /// All of them.
    pub const ALL: [NestedKind; 12] = [
        NestedKind::Clone,
        NestedKind::Arp,
        NestedKind::NdNs,
        NestedKind::NdNa,
        NestedKind::NdNaRouter,
        NestedKind::Icmp4,
        NestedKind::Icmp4Error,
        NestedKind::Icmp6,
        NestedKind::Icmp6Error,
        NestedKind::TcpReset,
        NestedKind::SctpAbort,
        NestedKind::Reject,
    ];

    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            NestedKind::Clone => "clone",
            NestedKind::Arp => "arp",
            NestedKind::NdNs => "nd_ns",
            NestedKind::NdNa => "nd_na",
            NestedKind::NdNaRouter => "nd_na_router",
            NestedKind::Icmp4 => "icmp4",
            NestedKind::Icmp4Error => "icmp4_error",
            NestedKind::Icmp6 => "icmp6",
            NestedKind::Icmp6Error => "icmp6_error",
            NestedKind::TcpReset => "tcp_reset",
            NestedKind::SctpAbort => "sctp_abort",
            NestedKind::Reject => "reject",
        }
    }

    /// What the packet must be, in the match language.
    pub const fn prerequisite(self) -> &'static str {
        match self {
            NestedKind::Clone | NestedKind::Reject => "",
            NestedKind::Arp | NestedKind::Icmp4 | NestedKind::Icmp4Error => "ip4",
            // The next hop of an IPv4 packet may be asked for so too (later than 23.03).
            NestedKind::NdNs => "ip",
            NestedKind::Icmp6 | NestedKind::Icmp6Error => "ip6",
            NestedKind::NdNa | NestedKind::NdNaRouter => "nd_ns",
            NestedKind::TcpReset => "tcp",
            NestedKind::SctpAbort => "sctp",
        }
    }
}

/// What kind of value an argument or result field of a [`CallName`] must hold.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// `inport` or `outport`.
    Port,
    /// So many bits.
    Bits(u8),
    /// Any width.
    AnyBits,
}

macro_rules! calls {
    ($( $variant:ident $name:literal ($($arg:expr),*) -> $result:expr, $prereq:literal; )*) => {
        /// Actions whose arguments are all fields.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CallName {
            $( #[doc = concat!("`", $name, "`")] $variant, )*
        }

        impl CallName {
            /// All of them.
            pub const ALL: &'static [CallName] = &[$(CallName::$variant),*];

            /// As written.
            pub const fn name(self) -> &'static str {
                match self { $( CallName::$variant => $name, )* }
            }

            /// The arguments.
            pub const fn args(self) -> &'static [ArgKind] {
                match self { $( CallName::$variant => &[$($arg),*], )* }
            }

            /// The result it stores, if it has one.
            pub const fn result(self) -> Option<ArgKind> {
                match self { $( CallName::$variant => $result, )* }
            }

            /// What the packet must be, in the match language.
            pub const fn prerequisite(self) -> &'static str {
                match self { $( CallName::$variant => $prereq, )* }
            }
        }
    };
}

use ArgKind::{AnyBits, Bits, Port};

calls! {
    GetArp "get_arp" (Port, Bits(32)) -> None, "";
    PutArp "put_arp" (Port, Bits(32), Bits(48)) -> None, "";
    LookupArp "lookup_arp" (Port, Bits(32), Bits(48)) -> Some(Bits(1)), "";
    LookupArpIp "lookup_arp_ip" (Port, Bits(32)) -> Some(Bits(1)), "";
    GetNd "get_nd" (Port, Bits(128)) -> None, "";
    PutNd "put_nd" (Port, Bits(128), Bits(48)) -> None, "";
    LookupNd "lookup_nd" (Port, Bits(128), Bits(48)) -> Some(Bits(1)), "";
    LookupNdIp "lookup_nd_ip" (Port, Bits(128)) -> Some(Bits(1)), "";
    PutFdb "put_fdb" (Port, Bits(48)) -> None, "";
    GetFdb "get_fdb" (Bits(48)) -> Some(Port), "";
    GetRemoteFdb "get_remote_fdb" (Bits(48)) -> Some(Port), "";
    LookupFdb "lookup_fdb" (Port, Bits(48)) -> Some(Bits(1)), "";
    HandleSvcCheck "handle_svc_check" (Port) -> None, "";
    HandleBfdMsg "handle_bfd_msg" () -> None, "";
    DnsLookup "dns_lookup" () -> Some(Bits(1)), "udp";
    ChkLbHairpin "chk_lb_hairpin" () -> Some(Bits(1)), "";
    ChkLbHairpinReply "chk_lb_hairpin_reply" () -> Some(Bits(1)), "";
    ChkLbAff "chk_lb_aff" () -> Some(Bits(1)), "";
    ChkEcmpNh "chk_ecmp_nh" () -> Some(Bits(1)), "";
    ChkEcmpNhMac "chk_ecmp_nh_mac" () -> Some(Bits(1)), "";
    CheckInPortSec "check_in_port_sec" () -> Some(Bits(1)), "";
    CheckOutPortSec "check_out_port_sec" () -> Some(Bits(1)), "";
    CtNwDst "ct_nw_dst" () -> Some(Bits(32)), "";
    CtIp6Dst "ct_ip6_dst" () -> Some(Bits(128)), "";
    CtTpDst "ct_tp_dst" () -> Some(Bits(16)), "";
    CtStateSave "ct_state_save" () -> Some(AnyBits), "";
}

/// A DHCP, DHCPv6 or router advertisement option with its value, `name = value` or `name = {a, b}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketOption {
    /// Name in the DHCP_Options or DHCPv6_Options table.
    pub name: Str,
    /// One value, or those in braces.
    pub value: OptionValue,
}

/// The value of a [`PacketOption`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionValue {
    /// `x`
    One(Const),
    /// `{x, y}`
    Many(Vec<Const>),
}

impl PacketOption {
    /// An option with one value.
    pub fn new(name: impl Into<Str>, value: impl Into<Const>) -> Self {
        PacketOption {
            name: name.into(),
            value: OptionValue::One(value.into()),
        }
    }

    /// An option with values in braces.
    pub fn list(name: impl Into<Str>, values: impl IntoIterator<Item = Const>) -> Self {
        PacketOption {
            name: name.into(),
            value: OptionValue::Many(values.into_iter().collect()),
        }
    }

    /// The values, one or many.
    pub fn values(&self) -> &[Const] {
        match &self.value {
            OptionValue::One(value) => std::slice::from_ref(value),
            OptionValue::Many(values) => values,
        }
    }
}

/// Which options an answer is made of.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionsKind {
    /// `put_dhcp_opts`
    Dhcpv4,
    /// `put_dhcpv6_opts`
    Dhcpv6,
    /// `put_nd_ra_opts`
    NdRa,
}

impl OptionsKind {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            OptionsKind::Dhcpv4 => "put_dhcp_opts",
            OptionsKind::Dhcpv6 => "put_dhcpv6_opts",
            OptionsKind::NdRa => "put_nd_ra_opts",
        }
    }
}

/// Arguments of `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// The ACL's name, at most 64 bytes.
    pub name: Option<Str>,
    /// `allow`, `drop`, `reject` or `pass`.
    pub verdict: Option<Str>,
    /// `alert`, `warning`, `notice`, `info` or `debug`.
    pub severity: Option<Str>,
    /// Row of the Meter table.
    pub meter: Option<Str>,
}

/// What goes into the ObservationPointID of an IPFIX sample.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObsPoint {
    /// A number.
    Id(u32),
    /// The first 32 bits of the logical flow's UUID.
    Cookie,
    /// The value of a field (later than 23.03).
    Field(Field),
}

/// Arguments of `sample`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sample {
    /// Packets out of 65535.
    pub probability: u16,
    /// Id of the Flow_Sample_Collector_Set.
    pub collector_set: u32,
    /// High 8 bits of ObservationDomainID.
    pub obs_domain: u8,
    /// ObservationPointID.
    pub obs_point: ObsPoint,
}

/// Arguments of `trigger_event`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerEvent {
    /// `empty_lb_backends`.
    pub event: Str,
    /// Row of the Meter table. 23.03 refuses it here: there the flow's `controller_meter` column has it.
    pub meter: Option<Str>,
    /// What the event tells: `vip`, `protocol`, `load_balancer`.
    pub options: Vec<(Str, Str)>,
}

/// A transport protocol by name.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Proto {
    Tcp,
    Udp,
    Sctp,
}

impl Proto {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Proto::Tcp => "tcp",
            Proto::Udp => "udp",
            Proto::Sctp => "sctp",
        }
    }

    /// Number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Proto::Tcp => 6,
            Proto::Udp => 17,
            Proto::Sctp => 132,
        }
    }
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `output;`
    Output,
    /// `drop;`
    Drop,
    /// `next;` or `next(table);`
    Next(Option<u8>),
    /// `next(pipeline=ingress,table=N);`
    NextIn(Pipeline, u8),
    /// `field = constant;`
    Set(Field, Const),
    /// `destination = source;`
    Move(Field, Field),
    /// `a <-> b;`
    Exchange(Field, Field),
    /// `push(field);`
    Push(Field),
    /// `pop(field);`
    Pop(Field),
    /// `ip.ttl--;`
    DecTtl,
    /// `ct_next;` or `ct_next(dnat);`
    CtNext(Option<NatZone>),
    /// `ct_commit;` or `ct_commit { ct_mark = 1; ... };`, of which each part is [`Action::Set`] or [`Action::Move`].
    CtCommit(Vec<Action>),
    /// `ct_commit(ct_mark=1, ct_label=2);`, the form before nested actions.
    CtCommitV1 {
        /// `ct_mark=`
        mark: Option<Const>,
        /// `ct_label=`
        label: Option<Const>,
    },
    /// `ct_commit_to_zone(dnat);` (later than 23.03)
    CtCommitToZone(NatZone),
    /// `ct_commit_nat;` or `ct_commit_nat(snat);`
    CtCommitNat(Option<NatZone>),
    /// `ct_dnat;`, `ct_dnat(IP);`, `ct_snat(IP, ports);` ...
    CtNat(NatKind, Option<NatTarget>),
    /// `ct_clear;`
    CtClear,
    /// `ct_lb;`, `ct_lb_mark(backends=...);`
    CtLb(Lb),
    /// `ct_snat_to_vip;`
    CtSnatToVip,
    /// `arp { ... };` and its kin.
    Nested(NestedKind, Vec<Action>),
    /// `result = name(field, ...);` or `name(field, ...);`
    Call {
        /// Where the result goes, for calls that have one.
        result: Option<Field>,
        /// The action.
        name: CallName,
        /// Its arguments.
        args: Vec<Field>,
    },
    /// `result = put_dhcp_opts(...);` and its kin.
    PutOptions(OptionsKind, Field, Vec<PacketOption>),
    /// `result = check_pkt_larger(length);`
    CheckPktLarger(Field, u16),
    /// `set_queue(number);`
    SetQueue(u32),
    /// `set_meter(rate);` or `set_meter(rate, burst);`, in kbps.
    SetMeter(u64, Option<u64>),
    /// `log(...);`
    Log(Log),
    /// `fwd_group(liveness=..., childports=...);`
    FwdGroup {
        /// Follow BFD of the tunnels.
        liveness: bool,
        /// Ports to choose from.
        child_ports: Vec<Str>,
    },
    /// `trigger_event(...);`
    TriggerEvent(TriggerEvent),
    /// `igmp;`
    Igmp,
    /// `handle_dhcpv6_reply;`
    HandleDhcpv6Reply,
    /// `bind_vport("virtual", parent);`
    BindVport(Str, Field),
    /// `result = select(1=20, 2=30);` with optional weights.
    Select {
        /// Where the choice goes.
        result: Field,
        /// Values with their weights.
        members: Vec<(u16, Option<u16>)>,
        /// Comma-separated OpenFlow field names (later than 23.03).
        hash_fields: Option<Str>,
    },
    /// `commit_ecmp_nh(ipv6 = false, proto = tcp);`
    CommitEcmpNh {
        /// IPv6 traffic.
        ipv6: bool,
        /// Its transport protocol.
        proto: Proto,
    },
    /// `commit_lb_aff(vip = ..., backend = ..., proto = ..., timeout = ...);`
    CommitLbAff {
        /// Virtual address.
        vip: Endpoint,
        /// Chosen backend.
        backend: Endpoint,
        /// Protocol, if the virtual address has a port.
        proto: Option<Proto>,
        /// Seconds.
        timeout: u16,
    },
    /// `sample(...);`
    Sample(Sample),
    /// `mac_cache_use;` (later than 23.03)
    MacCacheUse,
    /// `flood_remote;` (later than 23.03)
    FloodRemote,
    /// `mirror("port");` (later than 23.03)
    Mirror(Str),
    /// `result = dhcp_relay_req_chk(relay, server);` (later than 23.03)
    DhcpRelayReqChk(Field, IpAddr, IpAddr),
    /// `result = dhcp_relay_resp_chk(relay, server);` (later than 23.03)
    DhcpRelayRespChk(Field, IpAddr, IpAddr),
}

impl Action {
    /// `field = constant;`
    pub fn set(field: Field, value: impl Into<Const>) -> Action {
        Action::Set(field, value.into())
    }

    /// `next;`
    pub const NEXT: Action = Action::Next(None);

    /// `kind { actions };`
    pub fn nested(kind: NestedKind, actions: impl IntoIterator<Item = Action>) -> Action {
        Action::Nested(kind, actions.into_iter().collect())
    }

    /// `clone { actions };`
    pub fn cloned(actions: impl IntoIterator<Item = Action>) -> Action {
        Action::nested(NestedKind::Clone, actions)
    }

    /// `ct_commit { assignments };`
    pub fn ct_commit(assignments: impl IntoIterator<Item = Action>) -> Action {
        Action::CtCommit(assignments.into_iter().collect())
    }

    /// `name(args);`
    pub fn call(name: CallName, args: impl IntoIterator<Item = Field>) -> Action {
        Action::Call {
            result: None,
            name,
            args: args.into_iter().collect(),
        }
    }

    /// `result = name(args);`
    pub fn call_into(
        result: Field,
        name: CallName,
        args: impl IntoIterator<Item = Field>,
    ) -> Action {
        Action::Call {
            result: Some(result),
            name,
            args: args.into_iter().collect(),
        }
    }

    /// `ct_dnat(ip);` and its kin without ports.
    pub fn nat_to(kind: NatKind, ip: impl Into<IpAddr>) -> Action {
        Action::CtNat(
            kind,
            Some(NatTarget {
                ip: ip.into(),
                ports: None,
            }),
        )
    }

    /// `ct_lb_mark(backends=...);`
    pub fn ct_lb_mark(
        backends: Vec<Endpoint>,
        hash_fields: Option<Str>,
        flag: Option<LbFlag>,
    ) -> Action {
        Action::CtLb(Lb {
            kind: LbKind::Mark,
            backends,
            behind: Vec::new(),
            templates: Vec::new(),
            hash_fields,
            flag,
        })
    }

    /// `ct_lb_mark_local(backends=...);`: backends with the ports they are behind.
    pub fn ct_lb_mark_local(
        backends: impl IntoIterator<Item = (Str, Endpoint)>,
        hash_fields: Option<Str>,
        flag: Option<LbFlag>,
    ) -> Action {
        let (behind, backends) = backends.into_iter().unzip();
        Action::CtLb(Lb {
            kind: LbKind::MarkLocal,
            backends,
            behind,
            templates: Vec::new(),
            hash_fields,
            flag,
        })
    }

    /// Calls `visit` for this action and those nested in it.
    pub fn walk(&self, visit: &mut impl FnMut(&Action)) {
        visit(self);
        if let Action::Nested(_, inner) | Action::CtCommit(inner) = self {
            inner.iter().for_each(|action| action.walk(visit));
        }
    }
}
