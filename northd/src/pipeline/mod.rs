//! The logical pipelines as data: stages, register bits, shared priorities.
//!
//! Names and table numbers of the stages are those that ovn-northd(8) of OVN 23.03 documents: operators know them, tools
//! show them (`external_ids:stage-name`), and the actions of `ovn-sb(5)` that name a table by number mean the same thing
//! to every controller. What a register bit is used for is ours to choose, except where a controller reads the register
//! itself; those are marked in [`REGISTERS`].
//!
//! A feature names stages, bits and priorities from here and never writes a table or register number itself. From the
//! same data comes `docs/pipeline.md` ([`reference()`]) and what a packet meets that no feature matched ([`Fallback`]).

mod reference;
mod register;

pub use self::reference::reference;
pub use self::register::*;

/// What a logical datapath is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DatapathKind {
    /// A logical switch.
    Switch,
    /// A logical router.
    Router,
}

/// Which of the two pipelines of a datapath.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pipeline {
    /// From the input port to the choice of the output port.
    Ingress,
    /// From the chosen output port to delivery.
    Egress,
}

impl Pipeline {
    /// As the southbound column `Logical_Flow.pipeline` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pipeline::Ingress => "ingress",
            Pipeline::Egress => "egress",
        }
    }
}

/// What a stage does, at priority 0, with a packet no other flow of it matched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fallback {
    /// On to the next stage.
    Next,
    /// Out of the chosen port: on to egress, or delivered.
    Output,
    /// Dropped.
    Drop,
    /// The feature that owns the stage says; it writes that flow itself.
    Feature,
}

/// All there is to know about a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageInfo {
    /// Of which kind of datapath.
    pub datapath: DatapathKind,
    /// Of which of its pipelines.
    pub pipeline: Pipeline,
    /// `Logical_Flow.table_id`.
    pub table: u8,
    /// As in `external_ids:stage-name`.
    pub name: &'static str,
    /// What becomes of packets that nothing in the stage matched.
    pub fallback: Fallback,
    /// One line for the reference.
    pub purpose: &'static str,
}

macro_rules! stages {
    ($($id:ident = ($datapath:ident, $pipeline:ident, $table:literal, $name:literal, $fallback:ident, $purpose:literal),)*) => {
        /// A stage: one logical table of one pipeline of one kind of datapath.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Stage {
            $(#[doc = $purpose] $id,)*
        }

        impl Stage {
            /// Every stage, in the order packets meet them.
            pub const ALL: &'static [Stage] = &[$(Stage::$id,)*];

            /// What the stage is.
            pub const fn info(self) -> StageInfo {
                match self {
                    $(Stage::$id => StageInfo {
                        datapath: DatapathKind::$datapath,
                        pipeline: Pipeline::$pipeline,
                        table: $table,
                        name: $name,
                        fallback: Fallback::$fallback,
                        purpose: $purpose,
                    },)*
                }
            }
        }
    };
}

stages! {
    LsInCheckPortSec = (Switch, Ingress, 0, "ls_in_check_port_sec", Feature, "L2 admission; asks whether the port's security lets the packet in"),
    LsInApplyPortSec = (Switch, Ingress, 1, "ls_in_apply_port_sec", Next, "Drops what the previous table refused"),
    LsInLookupFdb = (Switch, Ingress, 2, "ls_in_lookup_fdb", Next, "Does the switch know this sender behind this port already?"),
    LsInPutFdb = (Switch, Ingress, 3, "ls_in_put_fdb", Next, "Learns senders behind ports that accept unknown addresses"),
    LsInPreAcl = (Switch, Ingress, 4, "ls_in_pre_acl", Next, "Decides what stateful ACLs send to connection tracking"),
    LsInPreLb = (Switch, Ingress, 5, "ls_in_pre_lb", Next, "Decides what load balancing sends to connection tracking"),
    LsInPreStateful = (Switch, Ingress, 6, "ls_in_pre_stateful", Next, "Sends the marked packets through connection tracking"),
    LsInAclHint = (Switch, Ingress, 7, "ls_in_acl_hint", Next, "Marks which kinds of ACL can match, by connection state"),
    LsInAcl = (Switch, Ingress, 8, "ls_in_acl", Feature, "`from-lport` ACLs"),
    LsInQosMark = (Switch, Ingress, 9, "ls_in_qos_mark", Next, "`from-lport` DSCP and packet marks"),
    LsInQosMeter = (Switch, Ingress, 10, "ls_in_qos_meter", Next, "`from-lport` rate limits"),
    LsInLbAffCheck = (Switch, Ingress, 11, "ls_in_lb_aff_check", Next, "Is there a backend this client is bound to?"),
    LsInLb = (Switch, Ingress, 12, "ls_in_lb", Next, "Load balancing of new connections"),
    LsInLbAffLearn = (Switch, Ingress, 13, "ls_in_lb_aff_learn", Next, "Binds a client to the chosen backend"),
    LsInPreHairpin = (Switch, Ingress, 14, "ls_in_pre_hairpin", Next, "Does a balanced packet return to its sender?"),
    LsInNatHairpin = (Switch, Ingress, 15, "ls_in_nat_hairpin", Next, "Source translation of packets that return to their sender"),
    LsInHairpin = (Switch, Ingress, 16, "ls_in_hairpin", Next, "Sends them back through the port they came from"),
    LsInAclAfterLb = (Switch, Ingress, 17, "ls_in_acl_after_lb", Feature, "`from-lport` ACLs with `apply-after-lb`"),
    LsInStateful = (Switch, Ingress, 18, "ls_in_stateful", Next, "Commits connections"),
    LsInArpRsp = (Switch, Ingress, 19, "ls_in_arp_rsp", Next, "Answers ARP requests and neighbour solicitations for known addresses"),
    LsInDhcpOptions = (Switch, Ingress, 20, "ls_in_dhcp_options", Next, "Builds DHCP answers"),
    LsInDhcpResponse = (Switch, Ingress, 21, "ls_in_dhcp_response", Next, "Sends DHCP answers back"),
    LsInDnsLookup = (Switch, Ingress, 22, "ls_in_dns_lookup", Next, "Builds DNS answers"),
    LsInDnsResponse = (Switch, Ingress, 23, "ls_in_dns_response", Next, "Sends DNS answers back"),
    LsInExternalPort = (Switch, Ingress, 24, "ls_in_external_port", Next, "Keeps answers for external ports to the chassis that owns them"),
    LsInL2Lkup = (Switch, Ingress, 25, "ls_in_l2_lkup", Feature, "Chooses the output port or multicast group by destination address"),
    LsInL2Unknown = (Switch, Ingress, 26, "ls_in_l2_unknown", Output, "Destinations neither configured nor learned"),

    LsOutPreAcl = (Switch, Egress, 0, "ls_out_pre_acl", Next, "Decides what stateful ACLs send to connection tracking"),
    LsOutPreLb = (Switch, Egress, 1, "ls_out_pre_lb", Next, "Decides what load balancing sends to connection tracking"),
    LsOutPreStateful = (Switch, Egress, 2, "ls_out_pre_stateful", Next, "Sends the marked packets through connection tracking"),
    LsOutAclHint = (Switch, Egress, 3, "ls_out_acl_hint", Next, "Marks which kinds of ACL can match, by connection state"),
    LsOutAcl = (Switch, Egress, 4, "ls_out_acl", Feature, "`to-lport` ACLs"),
    LsOutQosMark = (Switch, Egress, 5, "ls_out_qos_mark", Next, "`to-lport` DSCP and packet marks"),
    LsOutQosMeter = (Switch, Egress, 6, "ls_out_qos_meter", Next, "`to-lport` rate limits"),
    LsOutStateful = (Switch, Egress, 7, "ls_out_stateful", Next, "Commits connections"),
    LsOutCheckPortSec = (Switch, Egress, 8, "ls_out_check_port_sec", Feature, "Asks whether the port's security lets the packet out"),
    LsOutApplyPortSec = (Switch, Egress, 9, "ls_out_apply_port_sec", Output, "Drops what the previous table refused, delivers the rest"),

    LrInAdmission = (Router, Ingress, 0, "lr_in_admission", Drop, "L2 admission: accepts frames addressed to the router"),
    LrInLookupNeighbor = (Router, Ingress, 1, "lr_in_lookup_neighbor", Feature, "Is what an ARP or ND packet says known already?"),
    LrInLearnNeighbor = (Router, Ingress, 2, "lr_in_learn_neighbor", Drop, "Learns the MAC bindings that are new"),
    LrInIpInput = (Router, Ingress, 3, "lr_in_ip_input", Next, "Packets for the router itself and packets that must not be routed"),
    LrInUnsnat = (Router, Ingress, 4, "lr_in_unsnat", Next, "Undoes source translation of replies"),
    LrInDefrag = (Router, Ingress, 5, "lr_in_defrag", Next, "Reassembles and tracks what load balancing and DNAT look at"),
    LrInLbAffCheck = (Router, Ingress, 6, "lr_in_lb_aff_check", Next, "Is there a backend this client is bound to?"),
    LrInDnat = (Router, Ingress, 7, "lr_in_dnat", Next, "Destination translation and load balancing"),
    LrInLbAffLearn = (Router, Ingress, 8, "lr_in_lb_aff_learn", Next, "Binds a client to the chosen backend"),
    LrInEcmpStateful = (Router, Ingress, 9, "lr_in_ecmp_stateful", Next, "Remembers through which next hop a connection came"),
    LrInNdRaOptions = (Router, Ingress, 10, "lr_in_nd_ra_options", Next, "Builds router advertisements"),
    LrInNdRaResponse = (Router, Ingress, 11, "lr_in_nd_ra_response", Next, "Sends router advertisements back"),
    LrInIpRoutingPre = (Router, Ingress, 12, "lr_in_ip_routing_pre", Feature, "Chooses the route table"),
    LrInIpRouting = (Router, Ingress, 13, "lr_in_ip_routing", Drop, "Chooses next hop and output port by longest prefix"),
    LrInIpRoutingEcmp = (Router, Ingress, 14, "lr_in_ip_routing_ecmp", Drop, "Chooses among equal routes"),
    LrInPolicy = (Router, Ingress, 15, "lr_in_policy", Feature, "Routing policies"),
    LrInPolicyEcmp = (Router, Ingress, 16, "lr_in_policy_ecmp", Drop, "Chooses among the next hops of a policy"),
    LrInArpResolve = (Router, Ingress, 17, "lr_in_arp_resolve", Drop, "From next hop to Ethernet address"),
    LrInChkPktLen = (Router, Ingress, 18, "lr_in_chk_pkt_len", Next, "Measures packets against the MTU of the output port"),
    LrInLargerPkts = (Router, Ingress, 19, "lr_in_larger_pkts", Next, "Answers packets that are too big"),
    LrInGwRedirect = (Router, Ingress, 20, "lr_in_gw_redirect", Next, "Sends packets to the chassis of the gateway port"),
    LrInArpRequest = (Router, Ingress, 21, "lr_in_arp_request", Output, "Asks for the addresses that are not resolved yet"),

    LrOutChkDnatLocal = (Router, Egress, 0, "lr_out_chk_dnat_local", Feature, "Was the destination translated on this chassis?"),
    LrOutUndnat = (Router, Egress, 1, "lr_out_undnat", Next, "Undoes destination translation of replies"),
    LrOutPostUndnat = (Router, Egress, 2, "lr_out_post_undnat", Next, "Commits what the previous table tracked"),
    LrOutSnat = (Router, Egress, 3, "lr_out_snat", Next, "Source translation"),
    LrOutPostSnat = (Router, Egress, 4, "lr_out_post_snat", Next, "After source translation"),
    LrOutEgrLoop = (Router, Egress, 5, "lr_out_egr_loop", Next, "Returns packets for the router's own translated addresses to its ingress"),
    LrOutDelivery = (Router, Egress, 6, "lr_out_delivery", Drop, "Delivers to the output port"),
}

impl Stage {
    /// Of which kind of datapath.
    pub const fn datapath(self) -> DatapathKind {
        self.info().datapath
    }

    /// Of which pipeline.
    pub const fn pipeline(self) -> Pipeline {
        self.info().pipeline
    }

    /// `Logical_Flow.table_id`.
    pub const fn table(self) -> u8 {
        self.info().table
    }

    /// As in `external_ids:stage-name`, for example `ls_in_l2_lkup`.
    pub const fn name(self) -> &'static str {
        self.info().name
    }
}

/// Priorities that several features of a stage must agree on.
pub mod priority {
    /// What every stage does with a packet nothing else matched.
    pub const FALLBACK: u16 = 0;
    /// ACLs: as [`ACL_ALWAYS`], for connections whose replies are logged.
    pub const ACL_ALWAYS_LOGGED: u16 = 65533;
    /// ACLs: above those of users: replies, invalid packets, neighbour discovery.
    pub const ACL_ALWAYS: u16 = 65532;
    /// ACLs: above those of users: what northd and controllers say themselves (DHCP, DNS, health checks).
    pub const ACL_OWN: u16 = 34000;
    /// ACLs: added to `ACL.priority`.
    pub const ACL_BASE: u16 = 1000;
    /// ACLs: below those of users: on to the next tier.
    pub const ACL_NEXT_TIER: u16 = 500;
    /// ACLs: below those of users: new connections that none of them is about.
    pub const ACL_DEFAULT: u16 = 1;

    /// `ls_in_external_port`: answers to health checks that seem to come from a router.
    pub const MONITOR_ANSWER: u16 = 110;

    /// `ls_in_l2_lkup`: packets to and from network functions.
    pub const L2_FUNCTION: u16 = 112;
    /// `ls_in_l2_lkup`: a few protocols handled before all others.
    pub const L2_SPECIAL: u16 = 110;
    /// `ls_in_l2_lkup`: reports and queries of IGMP and MLD, where they are snooped.
    pub const L2_MCAST_REPORT: u16 = 100;
    /// `ls_in_l2_lkup`: groups that somebody has joined.
    pub const L2_MCAST_REGISTERED: u16 = 90;
    /// `ls_in_l2_lkup`: reserved groups, which everybody gets.
    pub const L2_MCAST_LOCAL: u16 = 85;
    /// `ls_in_l2_lkup`: other groups, where multicast is snooped.
    pub const L2_MCAST_UNREGISTERED: u16 = 80;
    /// `ls_in_l2_lkup`: ARP and ND for an address a router owns.
    pub const L2_ROUTER_ADDRESS: u16 = 80;
    /// `ls_in_l2_lkup`: ARP and ND sent by the routers themselves.
    pub const L2_SELF_ORIGINATED: u16 = 75;
    /// `ls_in_l2_lkup`: other broadcast and multicast.
    pub const L2_MCAST: u16 = 70;
    /// `ls_in_l2_lkup`: known unicast addresses.
    pub const L2_UNICAST: u16 = 50;
}

/// The well-known multicast groups of a switch: name and tunnel key, both known to controllers of every version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mcast {
    /// All enabled ports.
    Flood,
    /// Ports that take packets for addresses nobody is known to have.
    Unknown,
    /// IP multicast towards routers that relay it.
    MrouterFlood,
    /// Ports that want all IP multicast that was not asked for.
    Static,
    /// All enabled ports but those to routers.
    FloodL2,
}

impl Mcast {
    /// Every well-known group.
    pub const ALL: [Mcast; 5] = [
        Mcast::Flood,
        Mcast::Unknown,
        Mcast::MrouterFlood,
        Mcast::Static,
        Mcast::FloodL2,
    ];

    /// `Multicast_Group.name`, and what an action writes into `outport`.
    pub const fn name(self) -> &'static str {
        match self {
            Mcast::Flood => "_MC_flood",
            Mcast::Unknown => "_MC_unknown",
            Mcast::MrouterFlood => "_MC_mrouter_flood",
            Mcast::Static => "_MC_static",
            Mcast::FloodL2 => "_MC_flood_l2",
        }
    }

    /// `Multicast_Group.tunnel_key`, from the range 32768 to 65535 that is not for ports.
    pub const fn tunnel_key(self) -> i64 {
        match self {
            Mcast::Flood => 32768,
            Mcast::MrouterFlood => 32770,
            Mcast::Static => 32771,
            Mcast::Unknown => 32769,
            Mcast::FloodL2 => 32772,
        }
    }
}

/// The first tunnel key for groups that are learned.
pub const MCAST_LEARNED_MIN: u32 = 32774;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_pipeline_count_up_from_zero() {
        let mut last = None;
        for info in Stage::ALL.iter().map(|stage| stage.info()) {
            let pipeline = (info.datapath, info.pipeline);
            match last {
                Some((before, table)) if before == pipeline => {
                    assert_eq!(info.table, table + 1, "{}", info.name)
                }
                _ => assert_eq!(info.table, 0, "{}", info.name),
            }
            last = Some((pipeline, info.table));
            let prefix = match pipeline {
                (DatapathKind::Switch, Pipeline::Ingress) => "ls_in_",
                (DatapathKind::Switch, Pipeline::Egress) => "ls_out_",
                (DatapathKind::Router, Pipeline::Ingress) => "lr_in_",
                (DatapathKind::Router, Pipeline::Egress) => "lr_out_",
            };
            assert!(info.name.starts_with(prefix), "{}", info.name);
        }
    }
}
