//! Random rows of routers.

use weft_ovsdb::model::Set;
use weft_schemas::nb;

use super::Random;
use super::dice::{
    BOOLS, CHASSIS, Dice, IPS, MACS, NAMES, NETWORKS, NUMBERS, PORTS, PREFIXES, ROUTER_PORTS,
};

impl Random for nb::LogicalRouter {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouter {
            name: d.pick(NAMES),
            ports: d.anys::<nb::LogicalRouterPort>(4),
            external_ids: d.map(&[("neutron:router_name", NAMES)], 30),
            static_routes: d.anys::<nb::LogicalRouterStaticRoute>(4),
            policies: d.anys::<nb::LogicalRouterPolicy>(2),
            nat: d.anys::<nb::Nat>(2),
            load_balancer: d.anys::<nb::LoadBalancer>(2),
            load_balancer_group: d.anys::<nb::LoadBalancerGroup>(1),
            copp: d.chance(40).then(|| d.any::<nb::Copp>()),
            enabled: d.flag(),
            options: d.map(
                &[
                    ("chassis", CHASSIS),
                    ("requested-tnl-key", NUMBERS),
                    ("always_learn_from_arp_request", BOOLS),
                    ("dynamic_neigh_routers", BOOLS),
                    ("disable_garp_rarp", BOOLS),
                    ("mcast_relay", &["true", "true", "false"]),
                    (
                        "mac_binding_age_threshold",
                        &["5", "10.0.0.0/24:0;9", "fd00::/16:3;x"],
                    ),
                    ("snat-ct-zone", NUMBERS),
                    (
                        "dnat_force_snat_ip",
                        &["192.0.2.1", "10.0.0.254 fd00::9", "x"],
                    ),
                    (
                        "lb_force_snat_ip",
                        &["router_ip", "192.0.2.1", "192.0.2.1 fd00::9", "x"],
                    ),
                ],
                25,
            ),
        }
    }
}

impl Random for nb::LogicalRouterPort {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouterPort {
            name: d.pick(ROUTER_PORTS),
            external_ids: d.map(&[("whose", NAMES)], 30),
            mac: d.pick(MACS),
            networks: d.some(3, NETWORKS),
            enabled: d.flag(),
            peer: d.maybe(25, ROUTER_PORTS),
            dhcp_relay: d.chance(25).then(|| d.any::<nb::DhcpRelay>()),
            gateway_chassis: if d.chance(30) {
                d.anys::<nb::GatewayChassis>(2)
            } else {
                Set::default()
            },
            ha_chassis_group: d.chance(10).then(|| d.any::<nb::HaChassisGroup>()),
            ipv6_ra_configs: d.map(
                &[
                    ("address_mode", &["slaac", "dhcpv6_stateful", "bad"]),
                    ("mtu", NUMBERS),
                    ("router_preference", &["HIGH", "low", "bad"]),
                    ("route_info", &["HIGH-fd00::/48,LOW-fd01::/64", "bad"]),
                    ("rdnss", IPS),
                    ("dnssl", &["a.b, c", ".."]),
                    ("send_periodic", BOOLS),
                    ("max_interval", NUMBERS),
                    ("min_interval", NUMBERS),
                ],
                40,
            ),
            options: d.map(
                &[
                    ("requested-tnl-key", NUMBERS),
                    ("prefix", BOOLS),
                    ("prefix_delegation", BOOLS),
                    ("gateway_mtu", &["1400", "x"]),
                    ("route_table", &["t1", ""]),
                    ("redirect-type", &["bridged"]),
                    ("dhcpv4_primary_ip", &["10.0.0.254", "10.0.1.1", "x"]),
                    ("reside-on-redirect-chassis", BOOLS),
                    ("mcast_flood", BOOLS),
                ],
                20,
            ),
            ..Default::default()
        }
    }
}

impl Random for nb::LogicalRouterStaticRoute {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouterStaticRoute {
            ip_prefix: d.pick(PREFIXES),
            nexthop: d.pick(&["10.0.0.1", "192.168.0.2", "fd00::7", "discard", "bad", ""]),
            output_port: d.maybe(30, ROUTER_PORTS),
            policy: d.maybe(30, &["src-ip", "dst-ip"]),
            route_table: d.pick(&["", "", "t1"]),
            bfd: d.chance(25).then(|| d.any::<nb::Bfd>()),
            selection_fields: d.some(2, &["ip_src", "ip_dst", "tp_src"]),
            options: d.map(&[("ecmp_symmetric_reply", BOOLS)], 30),
            ..Default::default()
        }
    }
}

impl Random for nb::LogicalRouterPolicy {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouterPolicy {
            priority: d.below(4) as i64,
            match_: d.pick(&["ip4.src == 10.0.0.0/24", "inport == \"r0\"", "bad ==", "1"]),
            action: d.pick(&["allow", "drop", "reroute", "reroute", "jump"]),
            nexthop: d.maybe(40, IPS),
            nexthops: d.some(2, IPS),
            chain: d.maybe(30, &["c1", "c2"]),
            jump_chain: d.maybe(70, &["c1", "c2", ""]),
            output_port: d.chance(20).then(|| d.any::<nb::LogicalRouterPort>()),
            bfd_sessions: d.anys::<nb::Bfd>(2),
            options: d.map(&[("pkt_mark", NUMBERS)], 30),
            ..Default::default()
        }
    }
}

impl Random for nb::Bfd {
    fn random(d: &mut Dice) -> Self {
        nb::Bfd {
            logical_port: d.pick(ROUTER_PORTS),
            dst_ip: d.pick(IPS),
            min_tx: d.chance(30).then(|| 1 + d.below(5) as i64),
            min_rx: d.chance(30).then(|| d.below(5) as i64),
            detect_mult: d.chance(30).then(|| 1 + d.below(5) as i64),
            ..Default::default()
        }
    }
}

impl Random for nb::Nat {
    fn random(d: &mut Dice) -> Self {
        nb::Nat {
            type_: d.pick(&["snat", "dnat", "dnat_and_snat"]),
            external_ip: d.pick(IPS),
            logical_ip: d.pick(PREFIXES),
            external_mac: d.maybe(30, MACS),
            logical_port: d.maybe(30, PORTS),
            external_port_range: d.maybe(20, &["1000-2000", "9-1", "80"]).unwrap_or_default(),
            allowed_ext_ips: d.chance(15).then(|| d.any::<nb::AddressSet>()),
            exempted_ext_ips: d.chance(15).then(|| d.any::<nb::AddressSet>()),
            gateway_port: d.chance(20).then(|| d.any::<nb::LogicalRouterPort>()),
            priority: d.below(3) as i64,
            match_: d
                .maybe(20, &["tcp", "ip4.src ==", "udp.dst == 53"])
                .unwrap_or_default(),
            options: d.map(&[("stateless", BOOLS), ("add_route", BOOLS)], 30),
            ..Default::default()
        }
    }
}

impl Random for nb::GatewayChassis {
    fn random(d: &mut Dice) -> Self {
        nb::GatewayChassis {
            name: d.pick(NAMES),
            chassis_name: d.pick(CHASSIS),
            priority: d.below(30) as i64,
            ..Default::default()
        }
    }
}

impl Random for nb::HaChassisGroup {
    fn random(d: &mut Dice) -> Self {
        nb::HaChassisGroup {
            name: d.pick(NAMES),
            ha_chassis: d.anys::<nb::HaChassis>(3),
            ..Default::default()
        }
    }
}

impl Random for nb::HaChassis {
    fn random(d: &mut Dice) -> Self {
        nb::HaChassis {
            chassis_name: d.pick(CHASSIS),
            priority: d.below(30) as i64,
            ..Default::default()
        }
    }
}

impl Random for nb::StaticMacBinding {
    fn random(d: &mut Dice) -> Self {
        nb::StaticMacBinding {
            logical_port: d.pick(ROUTER_PORTS),
            ip: d.pick(IPS),
            mac: d.pick(MACS),
            override_dynamic_mac: d.chance(50),
        }
    }
}

impl Random for nb::DhcpRelay {
    fn random(d: &mut Dice) -> Self {
        nb::DhcpRelay {
            name: d.pick(NAMES),
            servers: d.maybe(80, &["192.168.0.2", "10.0.1.7", "fd00::7", "bad"]),
            ..Default::default()
        }
    }
}
