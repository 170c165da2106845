//! The router ports that have an address in one of their networks.
//!
//! Guarantees: who asks for an address runs again when a port with a network around it comes or goes, and when a first or last
//! network of some length does; never because of any other network.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_ovsdb::model::Uuid;

use crate::index::{ByName, prefix_length};
use crate::program::{Cx, Feature, Key, Per};

/// Publishes the lengths of the prefixes that router ports have ([`Lengths`]).
pub struct PrefixLengths;

/// Lengths of prefixes: IPv4, IPv6.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lengths([Vec<u8>; 2]);

impl Feature for PrefixLengths {
    const NAME: &'static str = "router_prefix_lengths";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let all = |network: fn(u8) -> Option<IpNet>| -> Vec<u8> {
            let networks = (0..=128).map_while(network);
            networks
                .filter(|net| {
                    !cx.by_name(ByName::PrefixLength, &prefix_length(net))
                        .is_empty()
                })
                .map(|net| net.prefix_len())
                .collect()
        };
        let v4 = |length| Some(Ipv4Net::new([0; 4].into(), length).ok()?.into());
        let v6 = |length| Some(Ipv6Net::new([0; 16].into(), length).ok()?.into());
        cx.publish(Lengths([all(v4), all(v6)]));
    }
}

/// Router ports with a network around the address, whether they work or not. The reader lists [`PrefixLengths`] among its
/// `READS`.
pub fn ports_near(cx: &Cx<'_>, ip: IpAddr) -> Vec<Uuid> {
    let Some(lengths) = cx.value::<Lengths>(PrefixLengths::ID, Key::Global) else {
        return Vec::new();
    };
    let lengths = lengths.0[usize::from(ip.is_ipv6())].iter();
    let networks = lengths.filter_map(|length| IpNet::new(ip, *length).ok());
    networks
        .flat_map(|net| cx.by_name(ByName::RouterNetwork, &net.trunc().to_string()))
        .copied()
        .collect()
}
