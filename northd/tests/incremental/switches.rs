//! Random rows of switches and what hangs on their ports.

use weft_ovsdb::model::{Map, Str};
use weft_schemas::nb;

use super::Random;
use super::dice::{ADDRESSES, BOOLS, Dice, IPS, MACS, NAMES, NUMBERS, PORTS, ROUTER_PORTS};

impl Random for nb::LogicalSwitch {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalSwitch {
            name: d.pick(NAMES),
            ports: d.anys::<nb::LogicalSwitchPort>(5),
            acls: d.anys::<nb::Acl>(2),
            qos_rules: d.anys::<nb::Qos>(2),
            load_balancer: d.anys::<nb::LoadBalancer>(2),
            load_balancer_group: d.anys::<nb::LoadBalancerGroup>(1),
            dns_records: d.anys::<nb::Dns>(2),
            forwarding_groups: d.anys::<nb::ForwardingGroup>(1),
            copp: d.chance(40).then(|| d.any::<nb::Copp>()),
            other_config: d.map(
                &[
                    (
                        "subnet",
                        &["10.0.0.0/24", "10.0.0.0/30", "10.0.0.0/29", "bad"],
                    ),
                    (
                        "exclude_ips",
                        &["10.0.0.2", "10.0.0.3..10.0.0.5", "junk 10.0.0.2"],
                    ),
                    ("ipv6_prefix", &["fd00::", "fd00:1::/64", "bad"]),
                    ("mac_only", BOOLS),
                    ("requested-tnl-key", NUMBERS),
                    ("vlan-passthru", BOOLS),
                    ("mcast_snoop", &["true", "true", "True", "false"]),
                    ("mcast_querier", BOOLS),
                    ("mcast_flood_unregistered", BOOLS),
                    ("mcast_table_size", &["1", "2", "0", "x"]),
                    ("mcast_idle_timeout", &["5", "30", "9999", "x"]),
                    ("mcast_query_interval", NUMBERS),
                    ("mcast_query_max_response", NUMBERS),
                    ("mcast_eth_src", MACS),
                    ("mcast_ip4_src", IPS),
                    ("mcast_ip6_src", IPS),
                    ("interconn-ts", NAMES),
                    ("fdb_age_threshold", NUMBERS),
                    ("broadcast-arps-to-all-routers", BOOLS),
                    ("dhcp_relay_port", PORTS),
                ],
                30,
            ),
            external_ids: d.map(&[("neutron:network_name", NAMES)], 20),
        }
    }
}

impl Random for nb::LogicalSwitchPortHealthCheck {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalSwitchPortHealthCheck {
            protocol: d.pick(&["tcp", "udp", "icmp"]),
            src_ip: d.pick(&["10.0.0.250", "10.0.0.254", "fd00::1", "bad"]),
            port: [0, 80, 8080][d.below(3) as usize],
            address: d.pick(&["", "", "10.0.0.1", "fd00::2", "bad"]),
            options: d.map(&[("interval", NUMBERS)], 40),
            ..Default::default()
        }
    }
}

impl Random for nb::LogicalSwitchPort {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalSwitchPort {
            name: d.pick(PORTS),
            type_: d.pick(&[
                "",
                "",
                "",
                "router",
                "router",
                "localnet",
                "localport",
                "l2gateway",
                "vtep",
                "external",
                "virtual",
                "remote",
                "odd",
            ]),
            up: d.flag(),
            mirror_rules: d.anys::<nb::Mirror>(2),
            health_checks: if d.chance(25) {
                d.anys::<nb::LogicalSwitchPortHealthCheck>(2)
            } else {
                Default::default()
            },
            options: d.map(
                &[
                    ("router-port", ROUTER_PORTS),
                    ("network_name", &["phys"]),
                    ("requested-tnl-key", NUMBERS),
                    (
                        "requested-chassis",
                        &["hv0", "hv1,hv2", "host0,hv1", "nobody"],
                    ),
                    ("exclude-lb-vips-from-garp", BOOLS),
                    (
                        "nat-addresses",
                        &["router", "0a:00:00:00:00:09 10.0.0.9", "junk"],
                    ),
                    ("virtual-ip", IPS),
                    ("virtual-parents", &["p0,p1", "p2"]),
                    ("arp_proxy", &["10.0.0.200", "0a:00:00:00:00:0a 10.0.0.201"]),
                    ("mcast_flood", BOOLS),
                    ("mcast_flood_reports", BOOLS),
                    ("qos_max_rate", NUMBERS),
                    ("qos_burst", NUMBERS),
                    ("qos_min_rate", NUMBERS),
                    ("qos_physical_network", &["phys", "other"]),
                    ("receive_multicast", BOOLS),
                    ("localnet_learn_fdb", BOOLS),
                    ("lsp_learn_fdb", BOOLS),
                    ("qdisc_queue_id", NUMBERS),
                    ("hostname", &["vm", "\"vm\"", "\"half"]),
                ],
                30,
            ),
            parent_name: d.maybe(15, PORTS),
            tag_request: d.chance(20).then(|| d.below(3) as i64),
            tag: d.chance(10).then(|| 1 + d.below(5) as i64),
            addresses: d.some(2, ADDRESSES),
            dynamic_addresses: d.maybe(5, &["0a:00:00:00:00:06 10.0.0.6"]),
            port_security: d.some(
                2,
                &[
                    "0a:00:00:00:00:01 10.0.0.1",
                    "0a:00:00:00:00:02",
                    "bad",
                    "VRRPv3 0a:00:00:00:00:04 10.0.0.7",
                    "VRRPv3 x",
                    "0a:00:00:00:00:03 10.0.0.0/24 fd00::3",
                ],
            ),
            enabled: d.flag(),
            ha_chassis_group: d.chance(10).then(|| d.any::<nb::HaChassisGroup>()),
            dhcpv4_options: d.chance(30).then(|| d.any::<nb::DhcpOptions>()),
            dhcpv6_options: d.chance(30).then(|| d.any::<nb::DhcpOptions>()),
            external_ids: d.map(&[("neutron:port_name", NAMES)], 20),
            ..Default::default()
        }
    }
}

impl Random for nb::Qos {
    fn random(d: &mut Dice) -> Self {
        let mut numbers = |keys: [&str; 2], most: u64| -> Map<Str, i64> {
            let drawn: Vec<&str> = keys.into_iter().filter(|_| d.chance(60)).collect();
            let pair = |key: &str| (key.into(), d.below(most) as i64);
            drawn.into_iter().map(pair).collect()
        };
        nb::Qos {
            action: numbers(["dscp", "mark"], 70),
            bandwidth: numbers(["rate", "burst"], 3),
            priority: d.below(4) as i64,
            direction: d.pick(&["from-lport", "to-lport"]),
            match_: d.pick(&["ip4", "inport == @pg1 && ip4.src == $a", "ip6 &&"]),
            ..Default::default()
        }
    }
}

impl Random for nb::ForwardingGroup {
    fn random(d: &mut Dice) -> Self {
        nb::ForwardingGroup {
            name: d.pick(NAMES),
            vip: d.pick(IPS),
            vmac: d.pick(MACS),
            liveness: d.chance(50),
            child_port: d.some(3, PORTS),
            ..Default::default()
        }
    }
}

impl Random for nb::Mirror {
    fn random(d: &mut Dice) -> Self {
        nb::Mirror {
            name: d.pick(NAMES),
            filter: d.pick(&["from-lport", "to-lport", "both"]),
            type_: d.pick(&["gre", "erspan", "local", "lport", "lport", "lport"]),
            sink: d.pick(&["10.0.0.1", "p0", "p1", "p2", "p3", ""]),
            index: d.below(3) as i64 - 1,
            mirror_rules: d.anys::<nb::MirrorRule>(2),
            ..Default::default()
        }
    }
}

impl Random for nb::MirrorRule {
    fn random(d: &mut Dice) -> Self {
        nb::MirrorRule {
            match_: d.pick(&["ip4", "tcp && ip4.src == $a", "&& bad"]),
            action: d.pick(&["mirror", "skip"]),
            priority: d.below(3) as i64,
        }
    }
}

impl Random for nb::Dns {
    fn random(d: &mut Dice) -> Self {
        nb::Dns {
            records: d.map(
                &[
                    ("vm1.ovn.org", &["10.0.0.4 aef0::4", "10.0.0.5,10.0.0.6"]),
                    ("VM1.ovn.org", IPS),
                    ("4.0.0.10.in-addr.arpa", &["vm1.ovn.org", "two names", ""]),
                ],
                40,
            ),
            options: d.map(&[("ovn-owned", BOOLS)], 50),
            ..Default::default()
        }
    }
}

impl Random for nb::DhcpOptions {
    fn random(d: &mut Dice) -> Self {
        nb::DhcpOptions {
            cidr: d.pick(&["10.0.0.0/24", "10.0.0.0/30", "fd00::/64", "bad"]),
            options: d.map(
                &[
                    ("server_id", &["10.0.0.254", "0a:00:00:00:ff:01", "bad"]),
                    ("server_mac", MACS),
                    ("lease_time", &["3600", "7200", "7200", "x"]),
                    ("mtu", &["1400", "x"]),
                    ("dns_server", &["{8.8.8.8, 7.7.7.7}", "fd00::53"]),
                    ("dhcpv6_stateless", BOOLS),
                    ("bogus", NUMBERS),
                ],
                85,
            ),
            ..Default::default()
        }
    }
}
