//! OpenFlow tables of the integration bridge and the bits of the flags register, as data.
//!
//! The numbers are those ovn-architecture(7) documents and OVN 23.03 uses, because operators know them from
//! `ofproto/trace` and because both ends of a tunnel resubmit into each other's egress pipeline.

/// Physical to logical translation: VIFs, containers, patch ports, tunnels.
pub const PHY_TO_LOG: u8 = 0;
/// First table of the logical ingress pipeline.
pub const LOG_INGRESS: u8 = 8;
/// Entry to output: packets too big for the path are detected here.
pub const OUTPUT_LARGE_DETECT: u8 = 37;
/// Answers to packets that are too big.
pub const OUTPUT_LARGE_PROCESS: u8 = 38;
/// Output to other chassis.
pub const REMOTE_OUTPUT: u8 = 39;
/// Output on this chassis.
pub const LOCAL_OUTPUT: u8 = 40;
/// Drops what would leave by the logical port it came from.
pub const CHECK_LOOPBACK: u8 = 41;
/// First table of the logical egress pipeline.
pub const LOG_EGRESS: u8 = 42;
/// Lifts Open vSwitch's own loopback prevention where the flags ask for it.
pub const SAVE_INPORT: u8 = 64;
/// Logical to physical translation.
pub const LOG_TO_PHY: u8 = 65;
/// `get_arp`/`get_nd`: (port, address) to MAC.
pub const MAC_BINDING: u8 = 66;
/// `lookup_arp`/`lookup_nd`: is (port, address, MAC) known?
pub const MAC_LOOKUP: u8 = 67;
/// `chk_lb_hairpin`.
pub const CHK_LB_HAIRPIN: u8 = 68;
/// `chk_lb_hairpin_reply`.
pub const CHK_LB_HAIRPIN_REPLY: u8 = 69;
/// `ct_snat_to_vip`.
pub const CT_SNAT_HAIRPIN: u8 = 70;
/// `get_fdb`: MAC to port.
pub const GET_FDB: u8 = 71;
/// `lookup_fdb`: is (port, MAC) known?
pub const LOOKUP_FDB: u8 = 72;
/// `check_in_port_sec`, all but neighbour packets.
pub const CHK_IN_PORT_SEC: u8 = 73;
/// `check_in_port_sec`, ARP and neighbour discovery.
pub const CHK_IN_PORT_SEC_ND: u8 = 74;
/// `check_out_port_sec`.
pub const CHK_OUT_PORT_SEC: u8 = 75;
/// `check_ecmp_nh_mac`, filled by learn actions.
pub const ECMP_NH_MAC: u8 = 76;
/// `check_ecmp_nh`, filled by learn actions.
pub const ECMP_NH: u8 = 77;
/// `chk_lb_aff`, filled by learn actions.
pub const CHK_LB_AFFINITY: u8 = 78;

/// `mac_cache_use`: counts what neighbours send, so that they are kept.
pub const MAC_CACHE_USE: u8 = 79;

/// Tables whose flows come from `learn` actions and from nobody else: never compared with what is wanted.
pub const LEARNED: [u8; 4] = [CHK_LB_HAIRPIN_REPLY, ECMP_NH_MAC, ECMP_NH, CHK_LB_AFFINITY];

/// How many tables of a logical pipeline the bridge has room for.
pub const LOG_PIPELINE_LEN: u8 = OUTPUT_LARGE_DETECT - LOG_INGRESS;
/// How many egress tables the bridge has room for.
pub const LOG_EGRESS_LEN: u8 = SAVE_INPORT - LOG_EGRESS;

/// Bits of the flags register (reg10).
pub mod flag {
    /// `flags.loopback`: output to the input port is allowed.
    pub const ALLOW_LOOPBACK: u32 = 1 << 0;
    /// The packet came through a tunnel that carries no output port.
    pub const RCV_FROM_RAMP: u32 = 1 << 1;
    /// `flags.force_snat_for_dnat`.
    pub const FORCE_SNAT_FOR_DNAT: u32 = 1 << 2;
    /// `flags.force_snat_for_lb`.
    pub const FORCE_SNAT_FOR_LB: u32 = 1 << 3;
    /// The packet must not leave this chassis (what the controller itself sent to many).
    pub const LOCAL_ONLY: u32 = 1 << 4;
    /// The packet came from a container: its logical loopback is not one of the VIF.
    pub const NESTED_CONTAINER: u32 = 1 << 5;
    /// Result of `lookup_*` and of a hit in the MAC binding table.
    pub const LOOKUP_MAC: u32 = 1 << 6;
    /// Result of the hairpin tables.
    pub const LOOKUP_LB_HAIRPIN: u32 = 1 << 7;
    /// Result of `lookup_fdb`.
    pub const LOOKUP_FDB: u32 = 1 << 8;
    /// `flags.skip_snat_for_lb`.
    pub const SKIP_SNAT_FOR_LB: u32 = 1 << 9;
    /// The packet came from a localport.
    pub const LOCALPORT: u32 = 1 << 10;
    /// `flags.use_snat_zone`.
    pub const USE_SNAT_ZONE: u32 = 1 << 11;
    /// Result of the port security tables: 1 means that the check failed.
    pub const CHECK_PORT_SEC: u32 = 1 << 12;
    /// Result of the ECMP next hop tables.
    pub const LOOKUP_COMMIT_ECMP_NH: u32 = 1 << 13;
    /// Result of `chk_lb_aff`.
    pub const USE_LB_AFF_SESSION: u32 = 1 << 14;
}

/// In the upper byte of the flags register: the place among this chassis's addresses of the one that the interface a packet
/// came from wants to be left by.
pub const ENCAP_SHIFT: u32 = 24;
/// Its bits.
pub const ENCAP_MASK: u32 = 0xff << ENCAP_SHIFT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_fit_between_their_neighbours() {
        assert_eq!(LOG_PIPELINE_LEN, 29);
        assert_eq!(LOG_EGRESS_LEN, 22);
    }
}
