//! The match fields Open vSwitch knows, as far as OVN uses them: names, wire identities and widths (ovs-fields(7)).

use std::fmt;

/// How ovs-ofctl writes a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Decimal, masked values in hexadecimal.
    Decimal,
    /// Hexadecimal with `0x`.
    Hex,
    /// `xx:xx:xx:xx:xx:xx`.
    Ethernet,
    /// Dotted quad with prefix length or mask.
    Ipv4,
    /// RFC 5952 with prefix length or mask.
    Ipv6,
    /// `+new-inv+trk`.
    CtState,
    /// `+syn-ack`.
    TcpFlags,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Fragment,
    /// `+oam`.
    TunFlags,
    /// Port number or reserved port name, 16 or 32 bits.
    Port,
}

/// What is fixed about a field.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    /// The field's name in ovs-ofctl.
    pub name: &'static str,
    /// Its official name, used for subfields in actions.
    pub header_name: &'static str,
    /// OXM class and number where the field stands in OpenFlow 1.5 structures.
    pub oxm: (u16, u8),
    /// OXM class and number where it stands in Nicira extension actions.
    pub nxm: (u16, u8),
    /// Bytes of its value on the wire.
    pub bytes: u8,
    /// Significant low bits of the value.
    pub bits: u8,
    /// How values are written.
    pub format: Format,
}

const NXM_OF: u16 = 0x0000;
const NXM_NX: u16 = 0x0001;
const ERICSSON: u16 = 0x1000;
const OXM_OF: u16 = 0x8000;
const PKT_REG: u16 = 0x8001;

macro_rules! fields {
    ($($variant:ident $name:literal $header:literal ($oc:ident $on:literal) ($nc:ident $nn:literal) $bytes:literal $bits:literal $format:ident;)*) => {
        /// A match field. The order is one in which every field follows those it presupposes (Ethernet type before IP
        /// protocol before ports), as OpenFlow wants matches written.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // Each is documented under its name in ovs-fields(7).
        pub enum Field { $($variant),* }

        impl Field {
            /// Every field, in order.
            pub const ALL: &'static [Field] = &[$(Field::$variant),*];
        }

        static DEFS: &[FieldDef] = &[$(FieldDef {
            name: $name, header_name: $header, oxm: ($oc, $on), nxm: ($nc, $nn), bytes: $bytes, bits: $bits, format: Format::$format,
        }),*];
    };
}

fields! {
    PacketType "packet_type" "OXM_OF_PACKET_TYPE" (OXM_OF 44) (OXM_OF 44) 4 32 Hex;
    ConjId "conj_id" "NXM_NX_CONJ_ID" (NXM_NX 37) (NXM_NX 37) 4 32 Decimal;
    InPort "in_port" "OXM_OF_IN_PORT" (OXM_OF 0) (OXM_OF 0) 4 32 Port;
    InPortNxm "in_port" "NXM_OF_IN_PORT" (NXM_OF 0) (NXM_OF 0) 2 16 Port;
    ActsetOutput "actset_output" "ONFOXM_ET_ACTSET_OUTPUT" (OXM_OF 43) (OXM_OF 43) 4 32 Port;
    Metadata "metadata" "OXM_OF_METADATA" (OXM_OF 2) (OXM_OF 2) 8 64 Hex;
    Reg0 "reg0" "NXM_NX_REG0" (NXM_NX 0) (NXM_NX 0) 4 32 Hex;
    Reg1 "reg1" "NXM_NX_REG1" (NXM_NX 1) (NXM_NX 1) 4 32 Hex;
    Reg2 "reg2" "NXM_NX_REG2" (NXM_NX 2) (NXM_NX 2) 4 32 Hex;
    Reg3 "reg3" "NXM_NX_REG3" (NXM_NX 3) (NXM_NX 3) 4 32 Hex;
    Reg4 "reg4" "NXM_NX_REG4" (NXM_NX 4) (NXM_NX 4) 4 32 Hex;
    Reg5 "reg5" "NXM_NX_REG5" (NXM_NX 5) (NXM_NX 5) 4 32 Hex;
    Reg6 "reg6" "NXM_NX_REG6" (NXM_NX 6) (NXM_NX 6) 4 32 Hex;
    Reg7 "reg7" "NXM_NX_REG7" (NXM_NX 7) (NXM_NX 7) 4 32 Hex;
    Reg8 "reg8" "NXM_NX_REG8" (NXM_NX 8) (NXM_NX 8) 4 32 Hex;
    Reg9 "reg9" "NXM_NX_REG9" (NXM_NX 9) (NXM_NX 9) 4 32 Hex;
    Reg10 "reg10" "NXM_NX_REG10" (NXM_NX 10) (NXM_NX 10) 4 32 Hex;
    Reg11 "reg11" "NXM_NX_REG11" (NXM_NX 11) (NXM_NX 11) 4 32 Hex;
    Reg12 "reg12" "NXM_NX_REG12" (NXM_NX 12) (NXM_NX 12) 4 32 Hex;
    Reg13 "reg13" "NXM_NX_REG13" (NXM_NX 13) (NXM_NX 13) 4 32 Hex;
    Reg14 "reg14" "NXM_NX_REG14" (NXM_NX 14) (NXM_NX 14) 4 32 Hex;
    Reg15 "reg15" "NXM_NX_REG15" (NXM_NX 15) (NXM_NX 15) 4 32 Hex;
    XReg0 "xreg0" "OXM_OF_PKT_REG0" (PKT_REG 0) (PKT_REG 0) 8 64 Hex;
    XReg1 "xreg1" "OXM_OF_PKT_REG1" (PKT_REG 1) (PKT_REG 1) 8 64 Hex;
    XReg2 "xreg2" "OXM_OF_PKT_REG2" (PKT_REG 2) (PKT_REG 2) 8 64 Hex;
    XReg3 "xreg3" "OXM_OF_PKT_REG3" (PKT_REG 3) (PKT_REG 3) 8 64 Hex;
    XReg4 "xreg4" "OXM_OF_PKT_REG4" (PKT_REG 4) (PKT_REG 4) 8 64 Hex;
    XReg5 "xreg5" "OXM_OF_PKT_REG5" (PKT_REG 5) (PKT_REG 5) 8 64 Hex;
    XReg6 "xreg6" "OXM_OF_PKT_REG6" (PKT_REG 6) (PKT_REG 6) 8 64 Hex;
    XReg7 "xreg7" "OXM_OF_PKT_REG7" (PKT_REG 7) (PKT_REG 7) 8 64 Hex;
    XXReg0 "xxreg0" "NXM_NX_XXREG0" (NXM_NX 111) (NXM_NX 111) 16 128 Hex;
    XXReg1 "xxreg1" "NXM_NX_XXREG1" (NXM_NX 112) (NXM_NX 112) 16 128 Hex;
    XXReg2 "xxreg2" "NXM_NX_XXREG2" (NXM_NX 113) (NXM_NX 113) 16 128 Hex;
    XXReg3 "xxreg3" "NXM_NX_XXREG3" (NXM_NX 114) (NXM_NX 114) 16 128 Hex;
    TunId "tun_id" "NXM_NX_TUN_ID" (OXM_OF 38) (NXM_NX 16) 8 64 Hex;
    TunSrc "tun_src" "NXM_NX_TUN_IPV4_SRC" (NXM_NX 31) (NXM_NX 31) 4 32 Ipv4;
    TunDst "tun_dst" "NXM_NX_TUN_IPV4_DST" (NXM_NX 32) (NXM_NX 32) 4 32 Ipv4;
    TunIpv6Src "tun_ipv6_src" "NXM_NX_TUN_IPV6_SRC" (NXM_NX 109) (NXM_NX 109) 16 128 Ipv6;
    TunIpv6Dst "tun_ipv6_dst" "NXM_NX_TUN_IPV6_DST" (NXM_NX 110) (NXM_NX 110) 16 128 Ipv6;
    TunGbpId "tun_gbp_id" "NXM_NX_TUN_GBP_ID" (NXM_NX 38) (NXM_NX 38) 2 16 Decimal;
    TunGbpFlags "tun_gbp_flags" "NXM_NX_TUN_GBP_FLAGS" (NXM_NX 39) (NXM_NX 39) 1 8 Hex;
    TunFlags "tun_flags" "NXM_NX_TUN_FLAGS" (NXM_NX 104) (NXM_NX 104) 2 1 TunFlags;
    // Its width is what the TLV table maps to it; OVN maps its four byte Geneve option.
    TunMetadata0 "tun_metadata0" "NXM_NX_TUN_METADATA0" (NXM_NX 40) (NXM_NX 40) 4 32 Hex;
    PktMark "pkt_mark" "NXM_NX_PKT_MARK" (NXM_NX 33) (NXM_NX 33) 4 32 Hex;
    EthSrc "eth_src" "NXM_OF_ETH_SRC" (OXM_OF 4) (NXM_OF 2) 6 48 Ethernet;
    EthDst "eth_dst" "NXM_OF_ETH_DST" (OXM_OF 3) (NXM_OF 1) 6 48 Ethernet;
    EthType "eth_type" "NXM_OF_ETH_TYPE" (OXM_OF 5) (NXM_OF 3) 2 16 Hex;
    VlanVid "vlan_vid" "OXM_OF_VLAN_VID" (OXM_OF 6) (OXM_OF 6) 2 13 Decimal;
    VlanPcp "vlan_pcp" "OXM_OF_VLAN_PCP" (OXM_OF 7) (OXM_OF 7) 1 3 Decimal;
    VlanTci "vlan_tci" "NXM_OF_VLAN_TCI" (NXM_OF 4) (NXM_OF 4) 2 16 Hex;
    MplsLabel "mpls_label" "OXM_OF_MPLS_LABEL" (OXM_OF 34) (OXM_OF 34) 4 20 Decimal;
    MplsTc "mpls_tc" "OXM_OF_MPLS_TC" (OXM_OF 35) (OXM_OF 35) 1 3 Decimal;
    MplsBos "mpls_bos" "OXM_OF_MPLS_BOS" (OXM_OF 36) (OXM_OF 36) 1 1 Decimal;
    MplsTtl "mpls_ttl" "NXM_NX_MPLS_TTL" (NXM_NX 30) (NXM_NX 30) 1 8 Decimal;
    Ipv4Src "ip_src" "NXM_OF_IP_SRC" (OXM_OF 11) (NXM_OF 7) 4 32 Ipv4;
    Ipv4Dst "ip_dst" "NXM_OF_IP_DST" (OXM_OF 12) (NXM_OF 8) 4 32 Ipv4;
    Ipv6Src "ipv6_src" "NXM_NX_IPV6_SRC" (OXM_OF 26) (NXM_NX 19) 16 128 Ipv6;
    Ipv6Dst "ipv6_dst" "NXM_NX_IPV6_DST" (OXM_OF 27) (NXM_NX 20) 16 128 Ipv6;
    Ipv6Label "ipv6_label" "NXM_NX_IPV6_LABEL" (OXM_OF 28) (NXM_NX 27) 4 20 Hex;
    IpProto "nw_proto" "NXM_OF_IP_PROTO" (OXM_OF 10) (NXM_OF 6) 1 8 Decimal;
    IpTtl "nw_ttl" "NXM_NX_IP_TTL" (NXM_NX 29) (NXM_NX 29) 1 8 Decimal;
    IpFrag "nw_frag" "NXM_NX_IP_FRAG" (NXM_NX 26) (NXM_NX 26) 1 2 Fragment;
    IpTos "nw_tos" "NXM_OF_IP_TOS" (NXM_OF 5) (NXM_OF 5) 1 8 Decimal;
    IpDscp "ip_dscp" "OXM_OF_IP_DSCP" (OXM_OF 8) (OXM_OF 8) 1 6 Decimal;
    IpEcn "nw_ecn" "NXM_NX_IP_ECN" (OXM_OF 9) (NXM_NX 28) 1 2 Decimal;
    ArpOp "arp_op" "NXM_OF_ARP_OP" (OXM_OF 21) (NXM_OF 15) 2 16 Decimal;
    ArpSpa "arp_spa" "NXM_OF_ARP_SPA" (OXM_OF 22) (NXM_OF 16) 4 32 Ipv4;
    ArpTpa "arp_tpa" "NXM_OF_ARP_TPA" (OXM_OF 23) (NXM_OF 17) 4 32 Ipv4;
    ArpSha "arp_sha" "NXM_NX_ARP_SHA" (OXM_OF 24) (NXM_NX 17) 6 48 Ethernet;
    ArpTha "arp_tha" "NXM_NX_ARP_THA" (OXM_OF 25) (NXM_NX 18) 6 48 Ethernet;
    CtState "ct_state" "NXM_NX_CT_STATE" (NXM_NX 105) (NXM_NX 105) 4 32 CtState;
    CtZone "ct_zone" "NXM_NX_CT_ZONE" (NXM_NX 106) (NXM_NX 106) 2 16 Decimal;
    CtMark "ct_mark" "NXM_NX_CT_MARK" (NXM_NX 107) (NXM_NX 107) 4 32 Hex;
    CtLabel "ct_label" "NXM_NX_CT_LABEL" (NXM_NX 108) (NXM_NX 108) 16 128 Hex;
    CtNwProto "ct_nw_proto" "NXM_NX_CT_NW_PROTO" (NXM_NX 119) (NXM_NX 119) 1 8 Decimal;
    CtNwSrc "ct_nw_src" "NXM_NX_CT_NW_SRC" (NXM_NX 120) (NXM_NX 120) 4 32 Ipv4;
    CtNwDst "ct_nw_dst" "NXM_NX_CT_NW_DST" (NXM_NX 121) (NXM_NX 121) 4 32 Ipv4;
    CtIpv6Src "ct_ipv6_src" "NXM_NX_CT_IPV6_SRC" (NXM_NX 122) (NXM_NX 122) 16 128 Ipv6;
    CtIpv6Dst "ct_ipv6_dst" "NXM_NX_CT_IPV6_DST" (NXM_NX 123) (NXM_NX 123) 16 128 Ipv6;
    CtTpSrc "ct_tp_src" "NXM_NX_CT_TP_SRC" (NXM_NX 124) (NXM_NX 124) 2 16 Decimal;
    CtTpDst "ct_tp_dst" "NXM_NX_CT_TP_DST" (NXM_NX 125) (NXM_NX 125) 2 16 Decimal;
    TcpSrc "tcp_src" "NXM_OF_TCP_SRC" (OXM_OF 13) (NXM_OF 9) 2 16 Decimal;
    TcpDst "tcp_dst" "NXM_OF_TCP_DST" (OXM_OF 14) (NXM_OF 10) 2 16 Decimal;
    TcpFlags "tcp_flags" "NXM_NX_TCP_FLAGS" (OXM_OF 42) (NXM_NX 34) 2 12 TcpFlags;
    UdpSrc "udp_src" "NXM_OF_UDP_SRC" (OXM_OF 15) (NXM_OF 11) 2 16 Decimal;
    UdpDst "udp_dst" "NXM_OF_UDP_DST" (OXM_OF 16) (NXM_OF 12) 2 16 Decimal;
    SctpSrc "sctp_src" "OXM_OF_SCTP_SRC" (OXM_OF 17) (OXM_OF 17) 2 16 Decimal;
    SctpDst "sctp_dst" "OXM_OF_SCTP_DST" (OXM_OF 18) (OXM_OF 18) 2 16 Decimal;
    IcmpType "icmp_type" "NXM_OF_ICMP_TYPE" (OXM_OF 19) (NXM_OF 13) 1 8 Decimal;
    IcmpCode "icmp_code" "NXM_OF_ICMP_CODE" (OXM_OF 20) (NXM_OF 14) 1 8 Decimal;
    Icmpv6Type "icmpv6_type" "NXM_NX_ICMPV6_TYPE" (OXM_OF 29) (NXM_NX 21) 1 8 Decimal;
    Icmpv6Code "icmpv6_code" "NXM_NX_ICMPV6_CODE" (OXM_OF 30) (NXM_NX 22) 1 8 Decimal;
    NdTarget "nd_target" "NXM_NX_ND_TARGET" (OXM_OF 31) (NXM_NX 23) 16 128 Ipv6;
    NdSll "nd_sll" "NXM_NX_ND_SLL" (OXM_OF 32) (NXM_NX 24) 6 48 Ethernet;
    NdTll "nd_tll" "NXM_NX_ND_TLL" (OXM_OF 33) (NXM_NX 25) 6 48 Ethernet;
    NdReserved "nd_reserved" "ERICOXM_OF_ICMPV6_ND_RESERVED" (ERICSSON 1) (ERICSSON 1) 4 32 Decimal;
    NdOptionsType "nd_options_type" "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE" (ERICSSON 2) (ERICSSON 2) 1 8 Decimal;
}

/// Other names under which ovs-fields(7) knows a field.
const ALIASES: &[(&str, Field)] = &[
    ("in_port_oxm", Field::InPort),
    ("tunnel_id", Field::TunId),
    ("OXM_OF_TUNNEL_ID", Field::TunId),
    ("dl_src", Field::EthSrc),
    ("OXM_OF_ETH_SRC", Field::EthSrc),
    ("dl_dst", Field::EthDst),
    ("OXM_OF_ETH_DST", Field::EthDst),
    ("dl_type", Field::EthType),
    ("OXM_OF_ETH_TYPE", Field::EthType),
    ("dl_vlan_pcp", Field::VlanPcp),
    ("nw_src", Field::Ipv4Src),
    ("OXM_OF_IPV4_SRC", Field::Ipv4Src),
    ("nw_dst", Field::Ipv4Dst),
    ("OXM_OF_IPV4_DST", Field::Ipv4Dst),
    ("OXM_OF_IPV6_SRC", Field::Ipv6Src),
    ("OXM_OF_IPV6_DST", Field::Ipv6Dst),
    ("OXM_OF_IPV6_FLABEL", Field::Ipv6Label),
    ("ip_proto", Field::IpProto),
    ("OXM_OF_IP_PROTO", Field::IpProto),
    ("ip_ttl", Field::IpTtl),
    ("ip_frag", Field::IpFrag),
    ("ip_ecn", Field::IpEcn),
    ("OXM_OF_IP_ECN", Field::IpEcn),
    ("OXM_OF_ARP_OP", Field::ArpOp),
    ("OXM_OF_ARP_SPA", Field::ArpSpa),
    ("OXM_OF_ARP_TPA", Field::ArpTpa),
    ("OXM_OF_ARP_SHA", Field::ArpSha),
    ("OXM_OF_ARP_THA", Field::ArpTha),
    ("tp_src", Field::TcpSrc),
    ("OXM_OF_TCP_SRC", Field::TcpSrc),
    ("tp_dst", Field::TcpDst),
    ("OXM_OF_TCP_DST", Field::TcpDst),
    ("ONFOXM_ET_TCP_FLAGS", Field::TcpFlags),
    ("OXM_OF_UDP_SRC", Field::UdpSrc),
    ("OXM_OF_UDP_DST", Field::UdpDst),
    ("OXM_OF_ICMPV4_TYPE", Field::IcmpType),
    ("OXM_OF_ICMPV4_CODE", Field::IcmpCode),
    ("OXM_OF_ICMPV6_TYPE", Field::Icmpv6Type),
    ("OXM_OF_ICMPV6_CODE", Field::Icmpv6Code),
    ("OXM_OF_IPV6_ND_TARGET", Field::NdTarget),
    ("OXM_OF_IPV6_ND_SLL", Field::NdSll),
    ("OXM_OF_IPV6_ND_TLL", Field::NdTll),
];

impl Field {
    /// What is fixed about the field.
    #[must_use]
    pub fn def(self) -> &'static FieldDef {
        &DEFS[self as usize]
    }

    /// All significant bits set: the mask of an exact match.
    #[must_use]
    pub fn full_mask(self) -> u128 {
        u128::MAX >> (128 - u32::from(self.def().bits))
    }

    /// `reg0` to `reg15`.
    ///
    /// # Panics
    /// When `n` is more than 15.
    #[must_use]
    pub fn reg(n: u8) -> Field {
        assert!(n < 16, "there is no reg{n}");
        Self::ALL[Field::Reg0 as usize + usize::from(n)]
    }

    /// `xreg0` to `xreg7`: `xregN` is `reg(2N)` (high half) and `reg(2N+1)`.
    ///
    /// # Panics
    /// When `n` is more than 7.
    #[must_use]
    pub fn xreg(n: u8) -> Field {
        assert!(n < 8, "there is no xreg{n}");
        Self::ALL[Field::XReg0 as usize + usize::from(n)]
    }

    /// `xxreg0` to `xxreg3`: `xxregN` is `reg(4N)` (highest 32 bits) to `reg(4N+3)`.
    ///
    /// # Panics
    /// When `n` is more than 3.
    #[must_use]
    pub fn xxreg(n: u8) -> Field {
        assert!(n < 4, "there is no xxreg{n}");
        Self::ALL[Field::XXReg0 as usize + usize::from(n)]
    }

    /// The field of an ovs-fields(7) name: `ip_src`, `nw_src`, `NXM_OF_IP_SRC` or `OXM_OF_IPV4_SRC` are one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Field> {
        let by_def = Self::ALL.iter().copied().find(|f| {
            let def = f.def();
            def.name.eq_ignore_ascii_case(name) || def.header_name.eq_ignore_ascii_case(name)
        });
        by_def.or_else(|| {
            ALIASES
                .iter()
                .find(|(alias, _)| alias.eq_ignore_ascii_case(name))
                .map(|(_, field)| *field)
        })
    }

    /// The field as a whole, for actions that take a part of one.
    #[must_use]
    pub fn whole(self) -> SubField {
        SubField {
            field: self,
            offset: 0,
            bits: self.def().bits,
        }
    }

    /// The bits `first` to `last` (both included) of the field, as `field[first..last]` in ovs-ofctl.
    ///
    /// # Panics
    /// When the range is empty or reaches out of the field.
    #[must_use]
    pub fn bits(self, first: u8, last: u8) -> SubField {
        assert!(
            first <= last && last < self.def().bits,
            "{}[{first}..{last}] is no part of the field",
            self.def().name
        );
        SubField {
            field: self,
            offset: first,
            bits: last - first + 1,
        }
    }

    /// Bit `n` of the field.
    ///
    /// # Panics
    /// When the field has no such bit.
    #[must_use]
    pub fn bit(self, n: u8) -> SubField {
        self.bits(n, n)
    }

    /// Index of the register when the field is one of `reg0` to `reg15`.
    #[must_use]
    pub fn reg_index(self) -> Option<u8> {
        let n = (self as u8).wrapping_sub(Field::Reg0 as u8);
        (n < 16).then_some(n)
    }

    pub(crate) fn header(self, id: (u16, u8), masked: bool) -> u32 {
        let len = u32::from(self.def().bytes) * if masked { 2 } else { 1 };
        u32::from(id.0) << 16 | u32::from(id.1) << 9 | u32::from(masked) << 8 | len
    }

    /// The header that names the field in Nicira actions. Variable-length fields are named with their greatest length.
    pub(crate) fn nxm_header(self) -> u32 {
        self.named_header(self.def().nxm)
    }

    /// The header that names the field in OpenFlow 1.5 actions.
    pub(crate) fn oxm_header(self) -> u32 {
        self.named_header(self.def().oxm)
    }

    fn named_header(self, id: (u16, u8)) -> u32 {
        match self {
            Field::TunMetadata0 => self.header(id, false) & !0xff | 124,
            _ => self.header(id, false),
        }
    }

    /// The field an OXM header names, whatever its length says.
    pub(crate) fn from_header(header: u32) -> Option<Field> {
        let key = header >> 9;
        by_header()
            .binary_search_by_key(&key, |(k, _)| *k)
            .ok()
            .map(|i| by_header()[i].1)
    }
}

/// Class and number (bits 9 to 31 of the OXM header) to field, sorted.
fn by_header() -> &'static [(u32, Field)] {
    static INDEX: std::sync::OnceLock<Vec<(u32, Field)>> = std::sync::OnceLock::new();
    INDEX.get_or_init(|| {
        let key = |(class, number): (u16, u8)| u32::from(class) << 7 | u32::from(number);
        let mut all: Vec<_> = Field::ALL
            .iter()
            .flat_map(|f| [(key(f.def().oxm), *f), (key(f.def().nxm), *f)])
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    })
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.def().name)
    }
}

/// A run of bits of a field: `reg0[3..8]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubField {
    /// The field.
    pub field: Field,
    /// The lowest bit.
    pub offset: u8,
    /// How many bits, at least one.
    pub bits: u8,
}

impl SubField {
    /// `offset` and `bits` as one 16-bit number, as Nicira actions have them.
    pub(crate) fn ofs_nbits(self) -> u16 {
        u16::from(self.offset) << 6 | u16::from(self.bits - 1)
    }

    pub(crate) fn from_ofs_nbits(field: Field, ofs_nbits: u16) -> Option<SubField> {
        SubField::checked(field, ofs_nbits >> 6, (ofs_nbits & 0x3f) + 1)
    }

    /// The subfield if it lies within the field.
    pub(crate) fn checked(field: Field, offset: u16, bits: u16) -> Option<SubField> {
        let width = u16::from(field.def().bits);
        if bits == 0 || offset.checked_add(bits)? > width {
            return None;
        }
        Some(SubField {
            field,
            offset: u8::try_from(offset).ok()?,
            bits: u8::try_from(bits).ok()?,
        })
    }

    /// The subfield's bits, in place.
    #[must_use]
    pub fn mask(self) -> u128 {
        (u128::MAX >> (128 - u32::from(self.bits))) << self.offset
    }
}

impl From<Field> for SubField {
    fn from(field: Field) -> Self {
        field.whole()
    }
}

impl fmt::Display for SubField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let def = self.field.def();
        f.write_str(def.header_name)?;
        let last = self.offset + self.bits - 1;
        match (self.bits, self.offset) {
            (bits, 0) if bits == def.bits => f.write_str("[]"),
            (1, offset) => write!(f, "[{offset}]"),
            (_, offset) => write!(f, "[{offset}..{last}]"),
        }
    }
}
