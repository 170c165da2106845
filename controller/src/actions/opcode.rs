//! What a packet sent up to the controller asks for: the first four bytes of its user data, big-endian, followed by four
//! zero bytes and, eight-byte aligned, what the opcode says.

use weft_openflow::Controller;

macro_rules! opcodes {
    ($( $(#[$doc:meta])* $variant:ident = $number:literal $name:literal; )*) => {
        /// The request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Opcode { $( $(#[$doc])* $variant = $number, )* }

        impl Opcode {
            /// All of them.
            pub const ALL: &'static [Opcode] = &[$(Opcode::$variant),*];

            /// The action it stands for.
            pub const fn name(self) -> &'static str {
                match self { $( Opcode::$variant => $name, )* }
            }

            /// Name of the counter of its packets.
            pub const fn counter(self) -> &'static str {
                match self { $( Opcode::$variant => concat!("pinctrl_", $name), )* }
            }

            /// The opcode of a number.
            pub fn from_number(number: u32) -> Option<Opcode> {
                match number { $( $number => Some(Opcode::$variant), )* _ => None }
            }
        }
    };
}

opcodes! {
    /// Nested actions on an ARP packet made from the IPv4 packet.
    Arp = 0 "arp";
    /// reg14 port, reg0 address, eth_src MAC.
    PutArp = 1 "put_arp";
    /// Result subfield, then options.
    PutDhcpOpts = 2 "put_dhcp_opts";
    /// Nested actions on a neighbour advertisement.
    NdNa = 3 "nd_na";
    /// reg14 port, xxreg0 address, eth_src MAC.
    PutNd = 4 "put_nd";
    /// Result subfield, then options.
    PutDhcpv6Opts = 5 "put_dhcpv6_opts";
    /// Where the result goes; the packet is paused.
    DnsLookup = 6 "dns_lookup";
    /// Verdict, severity, name.
    Log = 7 "log";
    /// Where the result goes, then the advertisement from its ICMPv6 header on; the packet is paused.
    PutNdRaOpts = 8 "put_nd_ra_opts";
    /// Nested actions on a neighbour solicitation made from the IPv6 packet.
    NdNs = 9 "nd_ns";
    /// Nested actions on an ICMP or ICMPv6 packet made from the IP packet, without the packet inside.
    Icmp = 10 "icmp4";
    /// Nested actions on a TCP reset.
    TcpReset = 11 "tcp_reset";
    /// Nested actions on a neighbour advertisement with the router flag.
    NdNaRouter = 12 "nd_na_router";
    /// Two bytes of MTU; the packet is paused.
    PutIcmp4FragMtu = 13 "icmp4.frag_mtu";
    /// Nested actions on an ICMPv4 error with the packet inside.
    Icmp4Error = 14 "icmp4_error";
    /// Event and its options.
    TriggerEvent = 15 "trigger_event";
    /// The packet is an IGMP or MLD packet.
    Igmp = 16 "igmp";
    /// Key of the virtual port; reg14 its parent.
    BindVport = 17 "bind_vport";
    /// reg14 port.
    HandleSvcCheck = 18 "handle_svc_check";
    /// reg14 port.
    HandleDhcpv6Reply = 19 "handle_dhcpv6_reply";
    /// Nested actions on an ICMPv6 error with the packet inside.
    Icmp6Error = 20 "icmp6_error";
    /// Four bytes of MTU; the packet is paused.
    PutIcmp6FragMtu = 21 "icmp6.frag_mtu";
    /// Nested actions on a TCP reset or ICMP error, addresses exchanged.
    Reject = 22 "reject";
    /// The packet is a BFD packet.
    HandleBfdMsg = 23 "handle_bfd_msg";
    /// Nested actions on an SCTP abort.
    SctpAbort = 24 "sctp_abort";
    /// reg14 port, eth_src MAC.
    PutFdb = 25 "put_fdb";
    /// Result, address of the relay, address of the server.
    DhcpRelayReqChk = 26 "dhcp_relay_req_chk";
    /// Result, address of the relay, address of the server.
    DhcpRelayRespChk = 27 "dhcp_relay_resp_chk";
    /// reg14 port; its machine has been heard.
    ActivationStrategy = 28 "activation_strategy";
}

impl Opcode {
    /// User data: the opcode and what goes with it.
    pub fn userdata(self, rest: &[u8]) -> Box<[u8]> {
        let mut out = Vec::with_capacity(8 + rest.len());
        out.extend((self as u32).to_be_bytes());
        out.extend([0; 4]);
        out.extend(rest);
        out.into()
    }

    /// The request to the controller, with what goes with it.
    pub fn request(self, rest: &[u8]) -> Controller {
        Controller {
            userdata: self.userdata(rest),
            ..Controller::default()
        }
    }

    /// Whether its user data are actions for the packet that the controller makes.
    pub fn has_actions(self) -> bool {
        matches!(
            self,
            Opcode::Arp
                | Opcode::NdNs
                | Opcode::NdNa
                | Opcode::NdNaRouter
                | Opcode::Icmp
                | Opcode::Icmp4Error
                | Opcode::Icmp6Error
                | Opcode::TcpReset
                | Opcode::SctpAbort
                | Opcode::Reject
        )
    }

    /// Takes user data apart.
    pub fn split(userdata: &[u8]) -> Option<(Opcode, &[u8])> {
        let (head, rest) = userdata.split_at_checked(8)?;
        let number = u32::from_be_bytes(head[..4].try_into().ok()?);
        Some((Opcode::from_number(number)?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userdata_round_trips() {
        for &opcode in Opcode::ALL {
            let data = opcode.userdata(&[1, 2]);
            assert_eq!(
                Opcode::split(&data),
                Some((opcode, &[1u8, 2][..])),
                "{}",
                opcode.name()
            );
        }
        assert_eq!(Opcode::split(&[0, 0, 0]), None);
        assert_eq!(Opcode::split(&[0, 0, 9, 9, 0, 0, 0, 0]), None);
    }
}
