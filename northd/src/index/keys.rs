//! Keys that are made of several columns.

use ipnet::IpNet;
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::address::{Prefixed, parse_prefixed};

/// What tells a service monitor from others.
pub fn monitor_name(logical_port: &str, ip: &str, port: i64, protocol: &str) -> Str {
    format!("{protocol} {ip} {port} {logical_port}").into()
}

/// Stands for a port's number on a datapath. Different ones can in theory have the same: whoever reads compares the row.
pub fn binding_id(datapath: Uuid, tunnel_key: i64) -> Uuid {
    Uuid(datapath.0.wrapping_add(tunnel_key as u128))
}

/// Stands for what a text says; different texts have different ones but for an unbelievable chance (FNV-1a of 128 bits).
pub fn digest(text: &str) -> Uuid {
    let hash = text.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d,
        |hash: u128, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        },
    );
    Uuid(hash)
}

/// The entry of a joined index: whose, and under which digest. Readers compare the rows all the same.
pub fn joined_id(owner: Uuid, digest: Uuid) -> Uuid {
    Uuid(owner.0 ^ digest.0)
}

/// Of the network that an address with its prefix length is in.
pub fn network_digest(network: Prefixed) -> Uuid {
    digest(&network.network().to_string())
}

/// The length of a prefix, with the version of IP: `4/24`.
pub fn prefix_length(network: &IpNet) -> String {
    let version = if network.addr().is_ipv6() { 6 } else { 4 };
    format!("{version}/{}", network.prefix_len())
}

/// Of what routes that share the load agree on.
pub fn alike_digest(row: &nb::LogicalRouterStaticRoute) -> Uuid {
    alike(&row.route_table, row.policy.as_deref(), &row.ip_prefix)
}

/// [`alike_digest`] from the columns.
pub fn alike(table: &str, policy: Option<&str>, prefix: &str) -> Uuid {
    let by_source = policy == Some("src-ip");
    let prefix = match parse_prefixed(prefix) {
        Some(Prefixed::V4(net)) => net.trunc().to_string(),
        Some(Prefixed::V6(net)) => net.trunc().to_string(),
        None => prefix.to_owned(),
    };
    digest(&format!("{prefix} {by_source} {table}"))
}

/// The only digest of [`ById::ChainedPolicies`].
pub const CHAINED: Uuid = Uuid(0);

pub(super) fn is_chained(row: &nb::LogicalRouterPolicy) -> bool {
    &*row.action == "jump" || row.chain.as_ref().is_some_and(|chain| !chain.is_empty())
}

/// By what a BFD session is known in both databases.
pub fn bfd_name(logical_port: &str, dst_ip: &str) -> Str {
    format!("{dst_ip} {logical_port}").into()
}
