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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use weft_schemas::nb;

    use crate::testing::{Bed, map, set};

    /// Which of the routers `wide` (10.0.0.0/8), `narrow` (10.1.2.0/24, fd00:1::/64) and `far` answer for a virtual address.
    fn answering(bed: &mut Bed, question: &str) -> BTreeSet<String> {
        let flows = bed.all_flows(question);
        let answers = flows.lines().filter(|flow| flow.contains(" 90 "));
        let datapaths = answers.filter_map(|flow| flow.split_whitespace().next());
        let names = datapaths.flat_map(|names| names.split(','));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn an_address_is_in_networks_of_any_length() {
        let mut bed = Bed::new();
        let lb = bed.insert(nb::LoadBalancer {
            vips: map([
                ("10.1.2.3:80", "10.0.0.9:80"),
                ("[fd00:1::3]:80", "[fd00::9]:80"),
            ]),
            ..nb::LoadBalancer::default()
        });
        for (n, (name, networks)) in [
            ("wide", &["10.0.0.1/8"][..]),
            ("narrow", &["10.1.2.1/24", "fd00:1::1/64"]),
            ("far", &["10.1.3.1/24"]),
        ]
        .into_iter()
        .enumerate()
        {
            let switch = bed.switch(&format!("of-{name}"));
            bed.router_on(switch, name, &format!("0a:00:00:00:00:0{n}"), networks);
            bed.edit_router(name, |row| row.load_balancer = [lb].into_iter().collect());
        }
        let v4 = "arp.tpa == 10.1.2.3";
        let v6 = "nd.target == fd00:1::3";
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(answering(&mut bed, v4), names(&["narrow", "wide"]));
        assert_eq!(answering(&mut bed, v6), names(&["narrow"]));
        // The last network of a length goes, the first of another comes.
        bed.edit_router_port("wide-of-wide", |row| row.networks = set(["192.0.2.1/30"]));
        bed.edit_router_port("far-of-far", |row| row.networks = set(["10.1.2.9/29"]));
        assert_eq!(answering(&mut bed, v4), names(&["narrow"]));
        bed.edit_router_port("far-of-far", |row| row.networks = set(["10.1.2.9/28"]));
        assert_eq!(answering(&mut bed, v4), names(&["narrow", "far"]));
    }
}
