//! `DHCP_Options` and `DHCPv6_Options` of the southbound: the options that flows may name.
//!
//! Guarantees: both tables hold these options and no others, so that every chassis reads the flows alike. One whose type
//! older southbounds refuse is there only while somebody uses it: a refusal costs all that is written with it a second try.

use weft_lang::options::OptionType;

use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// An option.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Known {
    /// Of DHCPv6.
    pub v6: bool,
    /// As users and flows write it.
    pub name: &'static str,
    /// Its number in packets.
    pub code: u8,
    /// How its value is written.
    pub ty: OptionType,
}

impl Known {
    /// Whether the southbound of OVN 23.03 does not know its type.
    pub fn is_young(&self) -> bool {
        self.ty == OptionType::Domain
    }
}

const fn v4(name: &'static str, code: u8, ty: OptionType) -> Known {
    Known {
        v6: false,
        name,
        code,
        ty,
    }
}

const fn v6(name: &'static str, code: u8, ty: OptionType) -> Known {
    Known {
        v6: true,
        name,
        code,
        ty,
    }
}

/// The address that a DHCPv4 client gets; in packets it has a field of its own.
pub const OFFER_IP: &str = "offerip";
/// The address that a DHCPv6 client gets.
pub const IA_ADDR: &str = "ia_addr";

use OptionType::{
    Bool, Domain, Domains, HostId, Ipv4, Ipv6, Mac, StaticRoutes, Str, Uint8, Uint16, Uint32,
};

/// All of them: RFC 2132 and its successors, RFC 8415 and its successors. Numbers 0 and 253 of DHCPv4 and 254 of both stand
/// for what is no option of its own in packets.
pub static ALL: &[Known] = &[
    v4(OFFER_IP, 0, Ipv4),
    v4("netmask", 1, Ipv4),
    v4("router", 3, Ipv4),
    v4("dns_server", 6, Ipv4),
    v4("log_server", 7, Ipv4),
    v4("lpr_server", 9, Ipv4),
    v4("hostname", 12, Str),
    v4("domain_name", 15, Str),
    v4("swap_server", 16, Ipv4),
    v4("ip_forward_enable", 19, Bool),
    v4("policy_filter", 21, Ipv4),
    v4("default_ttl", 23, Uint8),
    v4("mtu", 26, Uint16),
    v4("broadcast_address", 28, Ipv4),
    v4("router_discovery", 31, Bool),
    v4("router_solicitation", 32, Ipv4),
    v4("arp_cache_timeout", 35, Uint32),
    v4("ethernet_encap", 36, Bool),
    v4("tcp_ttl", 37, Uint8),
    v4("tcp_keepalive_interval", 38, Uint32),
    v4("nis_server", 41, Ipv4),
    v4("ntp_server", 42, Ipv4),
    v4("netbios_name_server", 44, Ipv4),
    v4("netbios_node_type", 46, Uint8),
    v4("lease_time", 51, Uint32),
    v4("server_id", 54, Ipv4),
    v4("T1", 58, Uint32),
    v4("T2", 59, Uint32),
    v4("tftp_server", 66, HostId),
    v4("bootfile_name", 67, Str),
    v4("domain_search_list", 119, Domains),
    v4("classless_static_route", 121, StaticRoutes),
    v4("tftp_server_address", 150, Ipv4),
    v4("path_prefix", 210, Str),
    v4("ms_classless_static_route", 249, StaticRoutes),
    v4("wpad", 252, Str),
    v4("next_server", 253, Ipv4),
    v4("bootfile_name_alt", 254, Str),
    v6("server_id", 2, Mac),
    v6(IA_ADDR, 5, Ipv6),
    v6("dns_server", 23, Ipv6),
    v6("domain_search", 24, Str),
    v6("fqdn", 39, Domain),
    v6("bootfile_name", 59, Str),
    v6("bootfile_name_alt", 254, Str),
];

/// The option of a name.
pub fn known(v6: bool, name: &str) -> Option<&'static Known> {
    ALL.iter()
        .find(|known| known.v6 == v6 && known.name == name)
}

/// Emits the rows.
pub struct Catalog;

impl Feature for Catalog {
    const NAME: &'static str = "dhcp_catalog";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        for known in ALL.iter().filter(|known| !known.is_young()) {
            cx.emit(Output::DhcpOption(known));
        }
    }
}
