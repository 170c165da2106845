//! The symbol table of ovn-sb(5) as data: every field, subfield and predicate, with width, level, prerequisite and
//! the OpenFlow field it lives in. Names, widths and bit positions are those of OVN 23.03 and, where marked, later.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use crate::of::OfField;

/// Level of measurement (ovn-sb(5), "Symbols").
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// Bits can be looked at one by one; all relations are allowed.
    Ordinal,
    /// Only equality, and only in a positive sense.
    Nominal,
    /// A port name.
    Text,
}

/// Where the bits of a symbol are.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// The whole of one OpenFlow field.
    Of(OfField),
    /// Consecutive 32-bit registers from this one on, the first holding the most significant bits.
    Regs(u8),
    /// Bits of another symbol, from this one on.
    Sub(Field),
    /// Not an OpenFlow field: can only be assigned, by the controller.
    Controller,
}

/// What the table says about a symbol.
#[derive(Debug)]
pub struct Symbol {
    /// Name, as `ip4.src`.
    pub name: &'static str,
    /// Width in bits.
    pub width: u8,
    /// Level of measurement.
    pub level: Level,
    /// Whether actions may assign it.
    pub writable: bool,
    /// Condition its use implies, in the language itself; empty if none.
    pub prerequisite: &'static str,
    /// Where it lives.
    pub home: Home,
}

/// A field, a named subfield, or a range of bits of either. Copy; build comparisons with its methods.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    symbol: u8,
    low: u8,
    len: u8,
}

impl Field {
    const fn whole(symbol: Index, width: u8) -> Field {
        Field {
            symbol: symbol as u8,
            low: 0,
            len: width,
        }
    }

    /// What the table says about the symbol this is (a part of).
    pub fn symbol(self) -> &'static Symbol {
        &SYMBOLS[usize::from(self.symbol)]
    }

    /// The whole symbol that this is a part of.
    pub fn symbol_field(self) -> Field {
        Field {
            symbol: self.symbol,
            low: 0,
            len: self.symbol().width,
        }
    }

    /// Width in bits.
    pub const fn width(self) -> u8 {
        self.len
    }

    /// First bit within the symbol.
    pub const fn low(self) -> u8 {
        self.low
    }

    /// Whether this is the symbol as a whole, not a range of its bits.
    pub fn is_whole(self) -> bool {
        self.low == 0 && self.len == self.symbol().width
    }

    /// Whether values are strings.
    pub fn is_text(self) -> bool {
        self.symbol().level == Level::Text
    }

    /// Bits `range` of this field, as `reg0[0..1]`.
    ///
    /// # Panics
    /// If the range is empty or does not fit: at compile time where the result is a constant.
    pub const fn bits(self, range: RangeInclusive<u8>) -> Field {
        let (low, high) = (*range.start(), *range.end());
        assert!(low <= high && high < self.len, "bits outside the field");
        Field {
            symbol: self.symbol,
            low: self.low + low,
            len: high - low + 1,
        }
    }

    /// One bit of this field, as `reg0[3]`.
    ///
    /// # Panics
    /// As [`Field::bits`].
    pub const fn bit(self, bit: u8) -> Field {
        self.bits(bit..=bit)
    }

    /// As [`Field::bits`], for ranges that come from outside.
    pub fn checked_bits(self, low: u8, high: u8) -> Option<Field> {
        (low <= high && high < self.len).then(|| self.bits(low..=high))
    }

    /// The field of that name.
    pub fn by_name(name: &str) -> Option<Field> {
        static BY_NAME: OnceLock<HashMap<&'static str, Field>> = OnceLock::new();
        let table = BY_NAME.get_or_init(|| {
            Field::all()
                .map(|field| (field.symbol().name, field))
                .collect()
        });
        table.get(name).copied()
    }

    /// Every symbol.
    pub fn all() -> impl Iterator<Item = Field> {
        SYMBOLS.iter().enumerate().map(|(i, symbol)| Field {
            symbol: i as u8,
            low: 0,
            len: symbol.width,
        })
    }

    /// Follows named subfields to the symbol that owns the bits: `ct.est` is `ct_state[1]`.
    pub fn resolve(self) -> Field {
        match self.symbol().home {
            Home::Sub(parent) => {
                let low = parent.low + self.low;
                Field {
                    symbol: parent.symbol,
                    low,
                    len: self.len,
                }
                .resolve()
            }
            _ => self,
        }
    }

    /// The OpenFlow bits this field consists of, most significant first.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let field = self.resolve();
        let home = field.symbol().home;
        let words = match home {
            Home::Regs(_) => field.symbol().width.div_ceil(32),
            _ => 1,
        };
        let (start, end) = (
            u16::from(field.low),
            u16::from(field.low) + u16::from(field.len),
        );
        (0..words).filter_map(move |i| {
            let (of, word_low, word_len) = match home {
                Home::Of(of) => (of, 0, u16::from(of.width())),
                Home::Regs(first) => (OfField::Reg(first + i), u16::from(words - 1 - i) * 32, 32),
                Home::Sub(_) | Home::Controller => return None,
            };
            let (low, high) = (start.max(word_low), end.min(word_low + word_len));
            (low < high).then(|| Piece {
                of,
                low: (low - word_low) as u8,
                len: (high - low) as u8,
                shift: (low - start) as u8,
            })
        })
    }
}

/// Some bits of a logical field and where they are in OpenFlow.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The OpenFlow field.
    pub of: OfField,
    /// First bit in it.
    pub low: u8,
    /// Number of bits.
    pub len: u8,
    /// The bit of the logical field that `low` is.
    pub shift: u8,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol().name)?;
        if self.is_whole() {
            Ok(())
        } else if self.len == 1 {
            write!(f, "[{}]", self.low)
        } else {
            write!(f, "[{}..{}]", self.low, self.low + self.len - 1)
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const RW: bool = true;
const RO: bool = false;

macro_rules! fields {
    ($( $konst:ident $name:literal $width:literal $level:ident $access:ident $prereq:literal $home:expr; )*) => {
        /// Position of each symbol in the table.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Copy, Clone)]
        #[repr(u8)]
        enum Index { $($konst),* }

        $(
            #[doc = concat!("`", $name, "`")]
            pub const $konst: Field = Field::whole(Index::$konst, $width);
        )*

        static SYMBOLS: &[Symbol] = &[$(
            Symbol {
                name: $name,
                width: $width,
                level: Level::$level,
                writable: $access,
                prerequisite: $prereq,
                home: $home,
            },
        )*];
    };
}

use Home::{Controller, Of, Regs, Sub};

fields! {
    INPORT "inport" 32 Text RW "" Regs(14);
    OUTPORT "outport" 32 Text RW "" Regs(15);

    REG0 "reg0" 32 Ordinal RW "" Regs(0);
    REG1 "reg1" 32 Ordinal RW "" Regs(1);
    REG2 "reg2" 32 Ordinal RW "" Regs(2);
    REG3 "reg3" 32 Ordinal RW "" Regs(3);
    REG4 "reg4" 32 Ordinal RW "" Regs(4);
    REG5 "reg5" 32 Ordinal RW "" Regs(5);
    REG6 "reg6" 32 Ordinal RW "" Regs(6);
    REG7 "reg7" 32 Ordinal RW "" Regs(7);
    REG8 "reg8" 32 Ordinal RW "" Regs(8);
    REG9 "reg9" 32 Ordinal RW "" Regs(9);
    XREG0 "xreg0" 64 Ordinal RW "" Regs(0);
    XREG1 "xreg1" 64 Ordinal RW "" Regs(2);
    XREG2 "xreg2" 64 Ordinal RW "" Regs(4);
    XREG3 "xreg3" 64 Ordinal RW "" Regs(6);
    XREG4 "xreg4" 64 Ordinal RW "" Regs(8);
    XXREG0 "xxreg0" 128 Ordinal RW "" Regs(0);
    XXREG1 "xxreg1" 128 Ordinal RW "" Regs(4);

    FLAGS "flags" 32 Ordinal RW "" Regs(10);
    FLAGS_LOOPBACK "flags.loopback" 1 Ordinal RW "" Sub(FLAGS.bit(0));
    FLAGS_FORCE_SNAT_FOR_DNAT "flags.force_snat_for_dnat" 1 Ordinal RW "" Sub(FLAGS.bit(2));
    FLAGS_FORCE_SNAT_FOR_LB "flags.force_snat_for_lb" 1 Ordinal RW "" Sub(FLAGS.bit(3));
    FLAGS_SKIP_SNAT_FOR_LB "flags.skip_snat_for_lb" 1 Ordinal RW "" Sub(FLAGS.bit(9));
    FLAGS_USE_SNAT_ZONE "flags.use_snat_zone" 1 Ordinal RW "" Sub(FLAGS.bit(11));
    // Later than 23.03.
    FLAGS_LOCALNET "flags.localnet" 1 Ordinal RW "" Sub(FLAGS.bit(15));
    FLAGS_TUNNEL_RX "flags.tunnel_rx" 1 Ordinal RW "" Sub(FLAGS.bit(16));
    FLAGS_ICMP_SNAT "flags.icmp_snat" 1 Ordinal RW "" Sub(FLAGS.bit(17));
    FLAGS_UNSNAT_NEW "flags.unsnat_new" 1 Ordinal RW "" Sub(FLAGS.bit(20));
    FLAGS_UNSNAT_NOT_TRACKED "flags.unsnat_not_tracked" 1 Ordinal RW "" Sub(FLAGS.bit(21));
    FLAGS_NETWORK_ID "flags.network_id" 4 Ordinal RW "" Sub(FLAGS.bits(28..=31));

    CT_MARK "ct_mark" 32 Ordinal RW "" Of(OfField::CtMark);
    CT_MARK_BLOCKED "ct_mark.blocked" 1 Ordinal RW "" Sub(CT_MARK.bit(0));
    CT_MARK_NATTED "ct_mark.natted" 1 Ordinal RW "" Sub(CT_MARK.bit(1));
    CT_MARK_SKIP_SNAT "ct_mark.skip_snat" 1 Ordinal RW "" Sub(CT_MARK.bit(2));
    CT_MARK_FORCE_SNAT "ct_mark.force_snat" 1 Ordinal RW "" Sub(CT_MARK.bit(3));
    CT_MARK_ECMP_REPLY_PORT "ct_mark.ecmp_reply_port" 16 Ordinal RW "" Sub(CT_MARK.bits(16..=31));
    // Later than 23.03.
    CT_MARK_OBS_STAGE "ct_mark.obs_stage" 2 Ordinal RW "" Sub(CT_MARK.bits(4..=5));
    CT_MARK_OBS_COLLECTOR_ID "ct_mark.obs_collector_id" 8 Ordinal RW "" Sub(CT_MARK.bits(16..=23));
    CT_MARK_ALLOW_ESTABLISHED "ct_mark.allow_established" 1 Ordinal RW "" Sub(CT_MARK.bit(6));
    CT_LABEL "ct_label" 128 Ordinal RW "" Of(OfField::CtLabel);
    CT_LABEL_BLOCKED "ct_label.blocked" 1 Ordinal RW "" Sub(CT_LABEL.bit(0));
    CT_LABEL_NATTED "ct_label.natted" 1 Ordinal RW "" Sub(CT_LABEL.bit(1));
    CT_LABEL_SKIP_SNAT "ct_label.skip_snat" 1 Ordinal RW "" Sub(CT_LABEL.bit(2));
    CT_LABEL_FORCE_SNAT "ct_label.force_snat" 1 Ordinal RW "" Sub(CT_LABEL.bit(3));
    CT_LABEL_ECMP_REPLY_ETH "ct_label.ecmp_reply_eth" 48 Ordinal RW "" Sub(CT_LABEL.bits(32..=79));
    CT_LABEL_ECMP_REPLY_PORT "ct_label.ecmp_reply_port" 16 Ordinal RW "" Sub(CT_LABEL.bits(80..=95));
    CT_LABEL_LABEL "ct_label.label" 32 Ordinal RW "" Sub(CT_LABEL.bits(96..=127));
    // Later than 23.03.
    CT_LABEL_ACL_ID "ct_label.acl_id" 16 Ordinal RW "" Sub(CT_LABEL.bits(80..=95));
    CT_LABEL_OBS_POINT_ID "ct_label.obs_point_id" 32 Ordinal RW "" Sub(CT_LABEL.bits(96..=127));

    CT_STATE "ct_state" 32 Ordinal RO "" Of(OfField::CtState);
    CT_TRK "ct.trk" 1 Ordinal RO "" Sub(CT_STATE.bit(5));
    CT_NEW "ct.new" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(0));
    CT_EST "ct.est" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(1));
    CT_REL "ct.rel" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(2));
    CT_RPL "ct.rpl" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(3));
    CT_INV "ct.inv" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(4));
    CT_SNAT "ct.snat" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(6));
    CT_DNAT "ct.dnat" 1 Ordinal RO "ct.trk" Sub(CT_STATE.bit(7));

    PKT_MARK "pkt.mark" 32 Ordinal RW "" Of(OfField::PktMark);

    ETH_SRC "eth.src" 48 Ordinal RW "" Of(OfField::EthSrc);
    ETH_DST "eth.dst" 48 Ordinal RW "" Of(OfField::EthDst);
    ETH_TYPE "eth.type" 16 Nominal RO "" Of(OfField::EthType);

    VLAN_TCI "vlan.tci" 16 Ordinal RW "" Of(OfField::VlanTci);
    VLAN_PCP "vlan.pcp" 3 Ordinal RW "vlan.present" Sub(VLAN_TCI.bits(13..=15));
    VLAN_VID "vlan.vid" 12 Ordinal RW "vlan.present" Sub(VLAN_TCI.bits(0..=11));

    IP_PROTO "ip.proto" 8 Nominal RO "ip" Of(OfField::IpProto);
    IP_DSCP "ip.dscp" 6 Nominal RW "ip" Of(OfField::IpDscp);
    IP_ECN "ip.ecn" 2 Nominal RW "ip" Of(OfField::IpEcn);
    IP_TTL "ip.ttl" 8 Nominal RW "ip" Of(OfField::IpTtl);
    IP_FRAG "ip.frag" 2 Ordinal RO "ip" Of(OfField::IpFrag);
    IP4_SRC "ip4.src" 32 Ordinal RW "ip4" Of(OfField::Ip4Src);
    IP4_DST "ip4.dst" 32 Ordinal RW "ip4" Of(OfField::Ip4Dst);
    IP6_SRC "ip6.src" 128 Ordinal RW "ip6" Of(OfField::Ip6Src);
    IP6_DST "ip6.dst" 128 Ordinal RW "ip6" Of(OfField::Ip6Dst);
    IP6_LABEL "ip6.label" 20 Ordinal RW "ip6" Of(OfField::Ip6Label);

    ARP_OP "arp.op" 16 Nominal RW "arp" Of(OfField::ArpOp);
    ARP_SPA "arp.spa" 32 Ordinal RW "arp" Of(OfField::ArpSpa);
    ARP_SHA "arp.sha" 48 Ordinal RW "arp" Of(OfField::ArpSha);
    ARP_TPA "arp.tpa" 32 Ordinal RW "arp" Of(OfField::ArpTpa);
    ARP_THA "arp.tha" 48 Ordinal RW "arp" Of(OfField::ArpTha);
    RARP_OP "rarp.op" 16 Nominal RW "rarp" Of(OfField::ArpOp);
    RARP_SPA "rarp.spa" 32 Ordinal RW "rarp" Of(OfField::ArpSpa);
    RARP_SHA "rarp.sha" 48 Ordinal RW "rarp" Of(OfField::ArpSha);
    RARP_TPA "rarp.tpa" 32 Ordinal RW "rarp" Of(OfField::ArpTpa);
    RARP_THA "rarp.tha" 48 Ordinal RW "rarp" Of(OfField::ArpTha);

    ICMP4_TYPE "icmp4.type" 8 Nominal RW "icmp4" Of(OfField::Icmp4Type);
    ICMP4_CODE "icmp4.code" 8 Nominal RW "icmp4" Of(OfField::Icmp4Code);
    ICMP6_TYPE "icmp6.type" 8 Nominal RW "icmp6" Of(OfField::Icmp6Type);
    ICMP6_CODE "icmp6.code" 8 Nominal RW "icmp6" Of(OfField::Icmp6Code);
    ICMP4_FRAG_MTU "icmp4.frag_mtu" 16 Nominal RW "" Controller;
    ICMP6_FRAG_MTU "icmp6.frag_mtu" 32 Nominal RW "" Controller;

    ND_TARGET "nd.target" 128 Ordinal RW "nd" Of(OfField::NdTarget);
    ND_SLL "nd.sll" 48 Ordinal RW "nd_ns" Of(OfField::NdSll);
    ND_TLL "nd.tll" 48 Ordinal RW "nd_na" Of(OfField::NdTll);

    TCP_SRC "tcp.src" 16 Ordinal RW "tcp" Of(OfField::TcpSrc);
    TCP_DST "tcp.dst" 16 Ordinal RW "tcp" Of(OfField::TcpDst);
    TCP_FLAGS "tcp.flags" 12 Ordinal RO "tcp" Of(OfField::TcpFlags);
    UDP_SRC "udp.src" 16 Ordinal RW "udp" Of(OfField::UdpSrc);
    UDP_DST "udp.dst" 16 Ordinal RW "udp" Of(OfField::UdpDst);
    SCTP_SRC "sctp.src" 16 Ordinal RW "sctp" Of(OfField::SctpSrc);
    SCTP_DST "sctp.dst" 16 Ordinal RW "sctp" Of(OfField::SctpDst);
}

/// A named condition that stands for an expression.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Predicate(u8);

impl Predicate {
    /// Its name.
    pub fn name(self) -> &'static str {
        PREDICATES[usize::from(self.0)].0
    }

    /// What it stands for, in the language itself.
    pub fn expansion(self) -> &'static str {
        PREDICATES[usize::from(self.0)].1
    }

    /// Position in the table of predicates, below [`Predicate::COUNT`].
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// How many there are.
    pub(crate) const COUNT: usize = PREDICATES.len();

    /// The predicate of that name.
    pub fn by_name(name: &str) -> Option<Predicate> {
        PREDICATES
            .iter()
            .position(|(n, _)| *n == name)
            .map(|i| Predicate(i as u8))
    }

    /// Every predicate.
    pub fn all() -> impl Iterator<Item = Predicate> {
        (0..PREDICATES.len()).map(|i| Predicate(i as u8))
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! predicates {
    ($( $konst:ident $name:literal $text:literal; )*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum PredicateIndex { $($konst),* }

        static PREDICATES: &[(&str, &str)] = &[$(($name, $text)),*];

        /// The predicates, and the one-bit fields one mentions like them, as ready expressions.
        pub mod pred {
            use super::{Predicate, PredicateIndex};
            use crate::expr::Expr;

            $(
                #[doc = concat!("`", $name, "`: `", $text, "`")]
                pub const $konst: Expr = Expr::Pred(Predicate(PredicateIndex::$konst as u8));
            )*

            /// `ct.trk`
            pub const CT_TRK: Expr = Expr::Bit(super::CT_TRK);
            /// `ct.new`
            pub const CT_NEW: Expr = Expr::Bit(super::CT_NEW);
            /// `ct.est`
            pub const CT_EST: Expr = Expr::Bit(super::CT_EST);
            /// `ct.rel`
            pub const CT_REL: Expr = Expr::Bit(super::CT_REL);
            /// `ct.rpl`
            pub const CT_RPL: Expr = Expr::Bit(super::CT_RPL);
            /// `ct.inv`
            pub const CT_INV: Expr = Expr::Bit(super::CT_INV);
            /// `ct.snat`
            pub const CT_SNAT: Expr = Expr::Bit(super::CT_SNAT);
            /// `ct.dnat`
            pub const CT_DNAT: Expr = Expr::Bit(super::CT_DNAT);
            /// `flags.loopback`
            pub const LOOPBACK: Expr = Expr::Bit(super::FLAGS_LOOPBACK);
        }
    };
}

predicates! {
    ETH_BCAST "eth.bcast" "eth.dst == ff:ff:ff:ff:ff:ff";
    ETH_MCAST "eth.mcast" "eth.dst[40]";
    ETH_MCASTV6 "eth.mcastv6" "eth.dst[32..47] == 0x3333";
    VLAN_PRESENT "vlan.present" "vlan.tci[12]";
    IP4 "ip4" "eth.type == 0x800";
    IP6 "ip6" "eth.type == 0x86dd";
    IP "ip" "ip4 || ip6";
    IP4_SRC_MCAST "ip4.src_mcast" "ip4.src[28..31] == 0xe";
    IP4_MCAST "ip4.mcast" "eth.mcast && ip4.dst[28..31] == 0xe";
    IP6_MCAST "ip6.mcast" "eth.mcastv6 && ip6.dst[120..127] == 0xff";
    IP6_MCAST_RSVD "ip6.mcast_rsvd" "ip6.dst[116..127] == 0xff0 && ip6.dst[0..111] == 0x0";
    IP6_MCAST_ALL_NODES "ip6.mcast_all_nodes" "ip6.dst == ff01::1 || ip6.dst == ff02::1";
    IP6_MCAST_ALL_RTRS "ip6.mcast_all_rtrs" "ip6.dst == ff01::2 || ip6.dst == ff02::2 || ip6.dst == ff05::2";
    IP6_MCAST_SOL_NODE "ip6.mcast_sol_node" "ip6.dst == ff02::1:ff00:0/104";
    IP6_MCAST_FLOOD "ip6.mcast_flood"
        "eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || ip6.mcast_all_rtrs || ip6.mcast_sol_node)";
    IP_IS_FRAG "ip.is_frag" "ip.frag[0]";
    IP_LATER_FRAG "ip.later_frag" "ip.frag[1]";
    IP_FIRST_FRAG "ip.first_frag" "ip.is_frag && !ip.later_frag";
    ARP "arp" "eth.type == 0x806";
    RARP "rarp" "eth.type == 0x8035";
    ICMP4 "icmp4" "ip4 && ip.proto == 1";
    ICMP6 "icmp6" "ip6 && ip.proto == 58";
    ICMP "icmp" "icmp4 || icmp6";
    IGMP "igmp" "ip4 && ip.proto == 2";
    TCP "tcp" "ip.proto == 6";
    UDP "udp" "ip.proto == 17";
    SCTP "sctp" "ip.proto == 132";
    ND "nd" "icmp6.type == {135, 136} && icmp6.code == 0 && ip.ttl == 255";
    ND_NS "nd_ns" "icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255";
    ND_NA "nd_na" "icmp6.type == 136 && icmp6.code == 0 && ip.ttl == 255";
    ND_RS "nd_rs" "icmp6.type == 133 && icmp6.code == 0 && ip.ttl == 255";
    ND_RA "nd_ra" "icmp6.type == 134 && icmp6.code == 0 && ip.ttl == 255";
    MLDV1 "mldv1" "ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}";
    MLDV2 "mldv2" "ip6.dst == ff02::16 && icmp6.type == 143";
}
