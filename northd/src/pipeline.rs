//! The logical pipelines as data: stages, register bits, shared priorities.
//!
//! Names and table numbers of the stages are those that ovn-northd(8) of OVN 23.03 documents: operators know them, tools
//! show them (`external_ids:stage-name`), and the actions of `ovn-sb(5)` that name a table by number mean the same thing
//! to every controller. What a register bit is used for is ours to choose, except where a controller reads the register
//! itself; those are marked in [`REGISTERS`].
//!
//! A feature names stages, bits and priorities from here and never writes a table or register number itself. From the
//! same data comes `docs/pipeline.md` ([`reference`]) and what a packet meets that no feature matched ([`Fallback`]).

use std::fmt::Write as _;

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

/// A logical register as the flow language names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Register {
    /// 32 bits: `reg0` to `reg9`.
    Reg(u8),
    /// 64 bits: `xreg0` is `reg0` and `reg1`, up to `xreg4`.
    Xreg(u8),
    /// 128 bits: `xxreg0` is `reg0` to `reg3`, `xxreg1` is `reg4` to `reg7`.
    Xxreg(u8),
}

impl std::fmt::Display for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Register::Reg(n) => write!(f, "reg{n}"),
            Register::Xreg(n) => write!(f, "xreg{n}"),
            Register::Xxreg(n) => write!(f, "xxreg{n}"),
        }
    }
}

/// A use of a register, or of some bits of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegisterField {
    /// Which register.
    pub register: Register,
    /// The lowest bit.
    pub first: u8,
    /// The highest bit.
    pub last: u8,
}

impl RegisterField {
    const fn bit(register: u8, bit: u8) -> Self {
        Self::bits(register, bit, bit)
    }

    const fn bits(register: u8, first: u8, last: u8) -> Self {
        Self {
            register: Register::Reg(register),
            first,
            last,
        }
    }

    const fn whole(register: Register) -> Self {
        let last = match register {
            Register::Reg(_) => 31,
            Register::Xreg(_) => 63,
            Register::Xxreg(_) => 127,
        };
        Self {
            register,
            first: 0,
            last,
        }
    }

    /// As a field of the flow language.
    pub fn field(self) -> weft_lang::Field {
        use weft_lang::field::*;
        const REGS: [weft_lang::Field; 10] =
            [REG0, REG1, REG2, REG3, REG4, REG5, REG6, REG7, REG8, REG9];
        const XREGS: [weft_lang::Field; 5] = [XREG0, XREG1, XREG2, XREG3, XREG4];
        const XXREGS: [weft_lang::Field; 2] = [XXREG0, XXREG1];
        let whole = match self.register {
            Register::Reg(n) => REGS[usize::from(n)],
            Register::Xreg(n) => XREGS[usize::from(n)],
            Register::Xxreg(n) => XXREGS[usize::from(n)],
        };
        if self.is_whole() {
            whole
        } else {
            whole.bits(self.first..=self.last)
        }
    }

    /// Is it all of its register?
    pub const fn is_whole(self) -> bool {
        self.first == 0
            && self.last
                == match self.register {
                    Register::Reg(_) => 31,
                    Register::Xreg(_) => 63,
                    Register::Xxreg(_) => 127,
                }
    }
}

impl std::fmt::Display for RegisterField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            register,
            first,
            last,
        } = self;
        if self.is_whole() {
            write!(f, "{register}")
        } else if first == last {
            write!(f, "{register}[{first}]")
        } else {
            write!(f, "{register}[{first}..{last}]")
        }
    }
}

/// Which datapaths give a register field its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Switches only.
    Switch,
    /// Routers only.
    Router,
    /// Both, or a packet carries it from one to the other.
    Both,
}

macro_rules! registers {
    ($($(#[doc = $doc:literal])+ $id:ident: $scope:ident = $field:expr;)*) => {
        $($(#[doc = $doc])+ pub const $id: RegisterField = $field;)*

        /// Every use of a register: name, scope, bits, meaning.
        pub const REGISTERS: &[(&str, Scope, RegisterField, &str)] =
            &[$((stringify!($id), Scope::$scope, $id, concat!($($doc),+)),)*];
    };
}

registers! {
    /// Send to connection tracking, for ACLs.
    CT_DEFRAG: Switch = RegisterField::bit(0, 0);
    /// Commit the connection.
    CT_COMMIT: Switch = RegisterField::bit(0, 1);
    /// Send to connection tracking, with the translations of load balancing.
    CT_NAT: Switch = RegisterField::bit(0, 2);
    /// The DHCP answer is built.
    DHCP_READY: Switch = RegisterField::bit(0, 3);
    /// The DNS answer is built.
    DNS_READY: Switch = RegisterField::bit(0, 4);
    /// The router advertisement is built.
    ND_RA_READY: Router = RegisterField::bit(0, 5);
    /// A balanced packet returns to its sender.
    HAIRPIN: Switch = RegisterField::bit(0, 6);
    /// An `allow-related` ACL may match and would commit.
    ACL_ALLOW_NEW: Switch = RegisterField::bit(0, 7);
    /// An `allow-related` ACL may match what is committed already.
    ACL_ALLOW: Switch = RegisterField::bit(0, 8);
    /// A dropping ACL may match.
    ACL_DROP: Switch = RegisterField::bit(0, 9);
    /// A dropping ACL may match a connection that was allowed.
    ACL_BLOCK: Switch = RegisterField::bit(0, 10);
    /// This sender is known behind this port.
    FDB_KNOWN: Switch = RegisterField::bit(0, 11);
    /// Answers to a packet that was returned to its sender.
    HAIRPIN_REPLY: Switch = RegisterField::bit(0, 12);
    /// Commit the label of the ACL with the connection.
    ACL_LABEL: Switch = RegisterField::bit(0, 13);
    /// The packet came from a VTEP gateway.
    FROM_VTEP: Switch = RegisterField::bit(0, 14);
    /// Port security refuses the packet.
    PORT_SEC_DROP: Switch = RegisterField::bit(0, 15);
    /// A stateless ACL matched: no connection tracking.
    ACL_STATELESS: Switch = RegisterField::bit(0, 16);
    /// A reply or related packet that later ACLs let pass.
    ACL_ALLOW_ESTABLISHED: Switch = RegisterField::bit(0, 17);
    /// Commit the number of the ACL, whose connections persist, with the connection.
    ACL_PERSIST: Switch = RegisterField::bit(0, 20);
    /// The tier of ACLs that is next, before load balancing and in egress.
    ACL_TIER: Switch = RegisterField::bits(8, 29, 31);
    /// The tier of ACLs that is next, after load balancing.
    ACL_TIER_AFTER_LB: Switch = RegisterField::bits(8, 26, 28);
    /// How many of the mirrors of the port have had the packet.
    MIRRORS_DONE: Switch = RegisterField::bits(8, 20, 23);
    /// The number of the group of network functions that the packet goes through.
    FUNCTION_GROUP: Switch = RegisterField::bits(8, 0, 7);
    /// The packet goes through a network function.
    FUNCTION: Switch = RegisterField::bit(8, 16);
    /// It does because an ACL says so; not because it is a reply.
    FUNCTION_REQUEST: Switch = RegisterField::bit(8, 17);
    /// The port to the function is chosen; back from egress.
    FUNCTION_CHOSEN: Switch = RegisterField::bit(8, 18);
    /// Original destination of a balanced IPv4 packet. Controllers read it for hairpins.
    LB_ORIGINAL_IP4: Switch = RegisterField::whole(Register::Reg(1));
    /// Original destination of a balanced IPv6 packet. Controllers read it for hairpins.
    LB_ORIGINAL_IP6: Switch = RegisterField::whole(Register::Xxreg(1));
    /// Original destination port of a balanced packet. Controllers read it for hairpins.
    LB_ORIGINAL_PORT: Switch = RegisterField::bits(2, 0, 15);
    /// The number of the ACL.
    ACL_NUMBER: Switch = RegisterField::bits(2, 16, 31);
    /// The label of the ACL.
    ACL_LABEL_VALUE: Switch = RegisterField::whole(Register::Reg(3));

    /// Ethernet address of the input port. Gone once the packet is routed.
    INPORT_MAC: Router = RegisterField { register: Register::Xreg(0), first: 0, last: 47 };
    /// IPv4 next hop.
    NEXT_HOP_IP4: Router = RegisterField::whole(Register::Reg(0));
    /// IPv6 next hop.
    NEXT_HOP_IP6: Router = RegisterField::whole(Register::Xxreg(0));
    /// IPv4 address of the router on the way to the next hop.
    SOURCE_IP4: Router = RegisterField::whole(Register::Reg(1));
    /// IPv6 address of the router on the way to the next hop.
    SOURCE_IP6: Router = RegisterField::whole(Register::Xxreg(1));
    /// Route table that applies.
    ROUTE_TABLE: Router = RegisterField::whole(Register::Reg(7));
    /// Group of equal next hops, 0 for none.
    ECMP_GROUP: Router = RegisterField::bits(8, 0, 15);
    /// Chosen member of the group.
    ECMP_MEMBER: Router = RegisterField::bits(8, 16, 31);
    /// The router sent it back into its own ingress.
    EGRESS_LOOPBACK: Router = RegisterField::bit(9, 0);
    /// Larger than the output port takes.
    PACKET_LARGER: Router = RegisterField::bit(9, 1);
    /// The neighbour is known as the packet says, or there is nothing to learn.
    NEIGHBOR_KNOWN: Router = RegisterField::bit(9, 2);
    /// The address of the neighbour is known, whatever its Ethernet address; set when it may always be learned.
    NEIGHBOR_IP_KNOWN: Router = RegisterField::bit(9, 3);
    /// The destination was translated on this chassis.
    DNAT_LOCAL: Router = RegisterField::bit(9, 4);
    /// The next hop of the connection is known from its first packet.
    ECMP_REPLY_KNOWN: Router = RegisterField::bit(9, 5);
    /// The chassis has found it to be a message to be relayed.
    DHCP_RELAYED: Router = RegisterField::bit(9, 7);
    /// The chassis has seen what may be a message to be relayed.
    DHCP_RELAY_SEEN: Router = RegisterField::bit(9, 8);
    /// Which address of the router an answer to be relayed came for.
    DHCP_RELAY_OF: Router = RegisterField::whole(Register::Reg(2));
    /// The next hop of an IPv4 packet is an IPv6 address (RFC 5549).
    NEXT_HOP_OVER_IP6: Router = RegisterField::bit(9, 9);
    /// The chain of policies that is being followed is not the first one.
    POLICY_CHAINED: Router = RegisterField::bit(9, 15);
    /// Its number.
    POLICY_CHAIN: Router = RegisterField::bits(9, 16, 31);
    /// There is a backend this client is bound to.
    LB_SESSION_KNOWN: Both = RegisterField::bit(9, 6);
    /// Virtual address (IPv4) of a packet whose client may be bound to a backend
    LB_ORIGINAL_IP4_ROUTER: Router = RegisterField::whole(Register::Reg(0));
    /// Virtual address (IPv6) of a packet whose client may be bound to a backend
    LB_ORIGINAL_IP6_ROUTER: Router = RegisterField::whole(Register::Xxreg(0));
    /// Original destination port of a balanced packet.
    LB_ORIGINAL_PORT_ROUTER: Router = RegisterField::bits(9, 16, 31);
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

/// The pipelines as a page of Markdown: what `docs/pipeline.md` holds.
pub fn reference() -> String {
    let mut page = String::from(
        "# Logical pipelines\n\n<!-- Generated from northd/src/pipeline.rs: `WEFT_BLESS=1 cargo test -p weft-northd pipeline` -->\n\n\
         Names and numbers of the stages are those of OVN 23.03. *Otherwise* says what a stage does with a packet that none of\n\
         its flows matched.\n",
    );
    for datapath in [DatapathKind::Switch, DatapathKind::Router] {
        for pipeline in [Pipeline::Ingress, Pipeline::Egress] {
            let title = match datapath {
                DatapathKind::Switch => "Logical switch",
                DatapathKind::Router => "Logical router",
            };
            let _ = write!(page, "\n## {title}, {}\n\n", pipeline.as_str());
            page.push_str("| table | stage | purpose | otherwise |\n| ---: | --- | --- | --- |\n");
            let stages = Stage::ALL.iter().map(|stage| stage.info());
            for stage in
                stages.filter(|stage| stage.datapath == datapath && stage.pipeline == pipeline)
            {
                let otherwise = match stage.fallback {
                    Fallback::Next => "next",
                    Fallback::Output => "output",
                    Fallback::Drop => "drop",
                    Fallback::Feature => "see purpose",
                };
                let _ = writeln!(
                    page,
                    "| {} | `{}` | {} | {otherwise} |",
                    stage.table, stage.name, stage.purpose
                );
            }
        }
    }
    page.push_str(
        "\n## Registers\n\n| bits | where | name | meaning |\n| --- | --- | --- | --- |\n",
    );
    for (name, scope, field, meaning) in REGISTERS {
        let scope = match scope {
            Scope::Switch => "switches",
            Scope::Router => "routers",
            Scope::Both => "both",
        };
        let _ = writeln!(
            page,
            "| `{field}` | {scope} | `{name}` | {} |",
            meaning.trim()
        );
    }
    page.push_str("\n## Multicast groups of a switch\n\n| tunnel key | name |\n| ---: | --- |\n");
    let mut groups = Mcast::ALL;
    groups.sort_by_key(|group| group.tunnel_key());
    for group in groups {
        let _ = writeln!(page, "| {} | `{}` |", group.tunnel_key(), group.name());
    }
    let _ = writeln!(
        page,
        "| from {MCAST_LEARNED_MIN} | learned groups, by their address; of routers too |"
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    impl RegisterField {
        /// Which bits of `reg0` to `reg9` it covers, as (register, first, last). A wide register holds its parts from the
        /// most significant down.
        fn parts(self) -> Vec<(u8, u8, u8)> {
            let (base, count) = match self.register {
                Register::Reg(n) => (n, 1u8),
                Register::Xreg(n) => (n * 2, 2),
                Register::Xxreg(n) => (n * 4, 4),
            };
            (0..count)
                .filter_map(|part| {
                    let low = (count - 1 - part) * 32;
                    let (first, last) = (self.first.max(low), self.last.min(low + 31));
                    (first <= last).then(|| (base + part, first - low, last - low))
                })
                .collect()
        }
    }

    impl Scope {
        const fn overlaps(self, other: Scope) -> bool {
            !matches!(
                (self, other),
                (Scope::Switch, Scope::Router) | (Scope::Router, Scope::Switch)
            )
        }
    }

    /// Pairs that share bits on purpose: one is no longer needed when the other is set.
    const SHARED: &[(&str, &str)] = &[
        ("ND_RA_READY", "INPORT_MAC"),
        ("ND_RA_READY", "NEXT_HOP_IP4"),
        ("ND_RA_READY", "NEXT_HOP_IP6"),
        ("INPORT_MAC", "NEXT_HOP_IP4"),
        ("INPORT_MAC", "NEXT_HOP_IP6"),
        ("INPORT_MAC", "SOURCE_IP4"),
        ("NEXT_HOP_IP4", "NEXT_HOP_IP6"),
        ("NEXT_HOP_IP6", "SOURCE_IP4"),
        // Needed no longer once the routes are looked at; by then what the packet came by is known.
        ("INPORT_MAC", "LB_ORIGINAL_IP4_ROUTER"),
        ("INPORT_MAC", "LB_ORIGINAL_IP6_ROUTER"),
        ("NEXT_HOP_IP4", "LB_ORIGINAL_IP4_ROUTER"),
        ("NEXT_HOP_IP4", "LB_ORIGINAL_IP6_ROUTER"),
        ("NEXT_HOP_IP6", "LB_ORIGINAL_IP4_ROUTER"),
        ("NEXT_HOP_IP6", "LB_ORIGINAL_IP6_ROUTER"),
        ("SOURCE_IP4", "LB_ORIGINAL_IP6_ROUTER"),
        ("ND_RA_READY", "LB_ORIGINAL_IP4_ROUTER"),
        ("ND_RA_READY", "LB_ORIGINAL_IP6_ROUTER"),
        ("LB_ORIGINAL_IP4_ROUTER", "LB_ORIGINAL_IP6_ROUTER"),
        // Needed no longer once the packet leaves the stage of packets to the router.
        ("NEXT_HOP_IP6", "DHCP_RELAY_OF"),
        ("DHCP_RELAY_OF", "LB_ORIGINAL_IP6_ROUTER"),
        // Translated before policies are looked at.
        ("POLICY_CHAIN", "LB_ORIGINAL_PORT_ROUTER"),
        // xxreg1 holds it from the choice of the route on; the route table is chosen by then.
        ("SOURCE_IP6", "ROUTE_TABLE"),
    ];

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

    #[test]
    fn registers_overlap_only_on_purpose() {
        for (i, (a_name, a_scope, a, _)) in REGISTERS.iter().enumerate() {
            for (b_name, b_scope, b, _) in &REGISTERS[i + 1..] {
                let clash = a_scope.overlaps(*b_scope)
                    && a.parts().iter().any(|(reg, first, last)| {
                        b.parts()
                            .iter()
                            .any(|(other, low, high)| reg == other && first <= high && low <= last)
                    });
                assert_eq!(
                    clash,
                    SHARED.contains(&(*a_name, *b_name)),
                    "{a_name} {a} and {b_name} {b}"
                );
            }
        }
    }

    #[test]
    fn register_fields_are_written_as_the_language_writes_them() {
        assert_eq!(PORT_SEC_DROP.to_string(), "reg0[15]");
        assert_eq!(ECMP_MEMBER.to_string(), "reg8[16..31]");
        assert_eq!(INPORT_MAC.to_string(), "xreg0[0..47]");
        assert_eq!(NEXT_HOP_IP6.to_string(), "xxreg0");
    }

    #[test]
    fn the_reference_in_the_docs_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.md");
        if std::env::var_os("WEFT_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/pipeline.md is stale: run with WEFT_BLESS=1"
        );
    }
}
