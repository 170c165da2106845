//! What the bits of the registers stand for.

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
}
