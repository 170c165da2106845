//! The OpenFlow fields that logical fields live in, named as this crate needs them.
//!
//! The OpenFlow crate maps [`OfField::name`] (the name Open vSwitch gives the field, see ovs-fields(7)) to its OXM or
//! NXM header, so the language does not depend on the wire format.

use std::fmt;

macro_rules! of_fields {
    ($( $(#[$doc:meta])* $variant:ident $name:literal $width:literal $maskable:literal; )*) => {
        /// A field of an OpenFlow match, except registers which are numbered ([`OfField::Reg`]).
        #[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // the names say what ovs-fields(7) describes at length
        pub enum OfField {
            /// 32-bit register 0 to 15.
            Reg(u8),
            $( $(#[$doc])* $variant, )*
        }

        impl OfField {
            /// Every field but the registers.
            pub const NAMED: &'static [OfField] = &[$(OfField::$variant),*];

            /// Name in ovs-fields(7).
            pub fn name(self) -> &'static str {
                match self {
                    OfField::Reg(n) => REG_NAMES[usize::from(n & 15)],
                    $( OfField::$variant => $name, )*
                }
            }

            /// Width in bits.
            pub fn width(self) -> u8 {
                match self {
                    OfField::Reg(_) => 32,
                    $( OfField::$variant => $width, )*
                }
            }

            /// Whether Open vSwitch lets a match on this field have an arbitrary mask.
            pub fn maskable(self) -> bool {
                match self {
                    OfField::Reg(_) => true,
                    $( OfField::$variant => $maskable, )*
                }
            }
        }
    };
}

const REG_NAMES: [&str; 16] = [
    "reg0", "reg1", "reg2", "reg3", "reg4", "reg5", "reg6", "reg7", "reg8", "reg9", "reg10",
    "reg11", "reg12", "reg13", "reg14", "reg15",
];

of_fields! {
    /// The datapath key (ovn-architecture(7)).
    Metadata "metadata" 64 true;
    InPort "in_port" 16 false;
    TunId "tun_id" 64 true;
    PktMark "pkt_mark" 32 true;
    EthSrc "eth_src" 48 true;
    EthDst "eth_dst" 48 true;
    EthType "eth_type" 16 false;
    VlanTci "vlan_tci" 16 true;
    IpProto "ip_proto" 8 false;
    IpDscp "ip_dscp" 6 false;
    IpEcn "ip_ecn" 2 false;
    IpTtl "nw_ttl" 8 false;
    IpFrag "ip_frag" 2 true;
    Ip4Src "ip_src" 32 true;
    Ip4Dst "ip_dst" 32 true;
    Ip6Src "ipv6_src" 128 true;
    Ip6Dst "ipv6_dst" 128 true;
    Ip6Label "ipv6_label" 20 true;
    ArpOp "arp_op" 16 false;
    ArpSpa "arp_spa" 32 true;
    ArpTpa "arp_tpa" 32 true;
    ArpSha "arp_sha" 48 true;
    ArpTha "arp_tha" 48 true;
    TcpSrc "tcp_src" 16 true;
    TcpDst "tcp_dst" 16 true;
    TcpFlags "tcp_flags" 12 true;
    UdpSrc "udp_src" 16 true;
    UdpDst "udp_dst" 16 true;
    SctpSrc "sctp_src" 16 true;
    SctpDst "sctp_dst" 16 true;
    Icmp4Type "icmp_type" 8 false;
    Icmp4Code "icmp_code" 8 false;
    Icmp6Type "icmpv6_type" 8 false;
    Icmp6Code "icmpv6_code" 8 false;
    NdTarget "nd_target" 128 true;
    NdSll "nd_sll" 48 true;
    NdTll "nd_tll" 48 true;
    CtState "ct_state" 32 true;
    CtZone "ct_zone" 16 false;
    CtMark "ct_mark" 32 true;
    CtLabel "ct_label" 128 true;
    CtNwSrc "ct_nw_src" 32 true;
    CtNwDst "ct_nw_dst" 32 true;
    CtIp6Src "ct_ipv6_src" 128 true;
    CtIp6Dst "ct_ipv6_dst" 128 true;
    CtNwProto "ct_nw_proto" 8 false;
    CtTpSrc "ct_tp_src" 16 true;
    CtTpDst "ct_tp_dst" 16 true;
}

impl OfField {
    /// All ones in the field's width.
    pub fn full_mask(self) -> u128 {
        ones(self.width())
    }
}

impl fmt::Display for OfField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lowest `bits` bits set; `bits` may be 0 to 128.
pub const fn ones(bits: u8) -> u128 {
    if bits >= 128 {
        u128::MAX
    } else {
        (1u128 << bits) - 1
    }
}
