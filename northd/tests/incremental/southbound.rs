//! Random rows of what others write into the southbound, and of what was left there.

use weft_ovsdb::model::Map;
use weft_schemas::{nb, sb};

use super::Random;
use super::dice::{BOOLS, Dice, IPS, MACS, PORTS, ROUTER_PORTS};

impl Random for sb::Bfd {
    fn random(d: &mut Dice) -> Self {
        sb::Bfd {
            logical_port: d.pick(ROUTER_PORTS),
            dst_ip: d.pick(IPS),
            src_port: 49152 + d.below(4) as i64,
            status: d.pick(&["up", "up", "down", "admin_down"]),
            ..Default::default()
        }
    }
}

impl Random for sb::ServiceMonitor {
    fn random(d: &mut Dice) -> Self {
        sb::ServiceMonitor {
            ip: d.pick(IPS),
            port: [80, 8080, 0][d.below(3) as usize],
            protocol: d.maybe(90, &["tcp", "udp", "icmp"]),
            logical_port: d.pick(PORTS),
            status: d.maybe(80, &["online", "offline", "error"]),
            ..Default::default()
        }
    }
}

impl Random for sb::Chassis {
    fn random(d: &mut Dice) -> Self {
        sb::Chassis {
            name: d.pick(&["hv0", "hv1", "hv2"]),
            hostname: d.pick(&["host0", "host1"]),
            encaps: d.anys::<sb::Encap>(2),
            other_config: d.map(
                &[
                    ("is-vtep", BOOLS),
                    ("is-remote", BOOLS),
                    ("fdb-timestamp", &["true"]),
                ],
                60,
            ),
            ..Default::default()
        }
    }
}

impl Random for sb::Encap {
    fn random(d: &mut Dice) -> Self {
        sb::Encap {
            type_: d.pick(&["geneve", "geneve", "vxlan"]),
            ..Default::default()
        }
    }
}

impl Random for sb::PortBinding {
    fn random(d: &mut Dice) -> Self {
        sb::PortBinding {
            logical_port: d.pick(PORTS),
            datapath: d.any::<sb::DatapathBinding>(),
            tunnel_key: 1 + d.below(3) as i64,
            options: d.map(
                &[
                    ("ipv6_ra_pd_list", &["1:fd00::/64", "2:fd01::/56 bad"]),
                    ("additional-chassis-activated", &["hv1", "hv2,hv0", ""]),
                ],
                30,
            ),
            up: d.flag(),
            chassis: d.chance(30).then(|| d.any::<sb::Chassis>()),
            ..Default::default()
        }
    }
}

impl Random for sb::DatapathBinding {
    fn random(d: &mut Dice) -> Self {
        let nb = d.any::<nb::LogicalSwitch>();
        sb::DatapathBinding {
            tunnel_key: 1 + d.below(5) as i64,
            external_ids: Map::from_iter([("logical-switch".into(), nb.to_string().into())]),
            ..Default::default()
        }
    }
}

impl Random for sb::MacBinding {
    fn random(d: &mut Dice) -> Self {
        sb::MacBinding {
            logical_port: d.pick(ROUTER_PORTS),
            ip: d.pick(IPS),
            mac: d.pick(MACS),
            timestamp: d.below(3) as i64,
            ..Default::default()
        }
    }
}

impl Random for sb::Fdb {
    fn random(d: &mut Dice) -> Self {
        sb::Fdb {
            mac: d.pick(MACS),
            dp_key: 1 + d.below(5) as i64,
            port_key: 1 + d.below(3) as i64,
            timestamp: d.below(3) as i64,
        }
    }
}

impl Random for sb::IgmpGroup {
    fn random(d: &mut Dice) -> Self {
        sb::IgmpGroup {
            address: d.pick(&[
                "239.0.0.1",
                "239.0.0.1",
                "239.0.0.2",
                "239.0.0.3",
                "224.0.0.5",
                "ff0e::1",
                "ff02::1:ff00:7",
                "ff02::77",
                "mrouters",
                "10.0.0.1",
                "junk",
            ]),
            datapath: d.chance(90).then(|| d.any::<sb::DatapathBinding>()),
            chassis: d.chance(90).then(|| d.any::<sb::Chassis>()),
            ports: d.anys::<sb::PortBinding>(4),
            ..Default::default()
        }
    }
}

impl Random for sb::MulticastGroup {
    fn random(d: &mut Dice) -> Self {
        sb::MulticastGroup {
            datapath: d.any::<sb::DatapathBinding>(),
            name: d.pick(&["239.0.0.1", "239.0.0.2", "ff0e::1", "_MC_flood"]),
            tunnel_key: 32_774 + d.below(4) as i64,
            ports: d.anys::<sb::PortBinding>(2),
        }
    }
}
