//! Compiling step by step gives what a fresh start gives: random edits of every table that northd reads, in batches, with
//! snapshots in between as after a lost connection, each batch compared with a compilation from scratch.
//!
//! `WEFT_SEED` and `WEFT_EDITS` choose other runs than the fixed ones.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use weft_northd::address::Mac;
use weft_northd::compiler::Compiler;
use weft_northd::program::Settings;
use weft_ovsdb::model::{Map, Row, RowUpdate, Set, Str, Table, Uuid};
use weft_schemas::{nb, sb};

/// Rows per table among which edits choose: few, so that they meet.
const POOL: u64 = 9;

/// SplitMix64: the same sequence everywhere for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick(&mut self, of: &[&str]) -> Str {
        of[self.below(of.len() as u64) as usize].into()
    }

    fn maybe(&mut self, percent: u64, of: &[&str]) -> Option<Str> {
        self.chance(percent).then(|| self.pick(of))
    }

    fn some(&mut self, most: u64, of: &[&str]) -> Set<Str> {
        (0..self.below(most + 1)).map(|_| self.pick(of)).collect()
    }

    fn map(&mut self, of: &[(&str, &[&str])], percent: u64) -> Map<Str, Str> {
        of.iter()
            .filter_map(|(k, v)| Some(((*k).into(), self.maybe(percent, v)?)))
            .collect()
    }

    /// The row number `n` of a table.
    fn row(table: u8, n: u64) -> Uuid {
        // Spread over both halves, as real ones are.
        Uuid((u128::from(table) << 120) | (u128::from(n + 1) << 96) | u128::from(n + 1) | 1 << 70)
    }

    fn any<R: Row>(&mut self) -> Uuid {
        Self::row(R::TABLE_ID, self.below(POOL))
    }

    fn anys<R: Row>(&mut self, most: u64) -> Set<Uuid> {
        (0..self.below(most + 1)).map(|_| self.any::<R>()).collect()
    }

    fn flag(&mut self) -> Option<bool> {
        [None, Some(true), Some(false), Some(true)][self.below(4) as usize]
    }
}

const PORTS: &[&str] = &["p0", "p1", "p2", "p3", "p4", "p5", "p6", "r0", "same"];
const ROUTER_PORTS: &[&str] = &["r0", "r1", "r2", "r3", "r4", "r5", "same"];
const MACS: &[&str] = &[
    "0a:00:00:00:00:01",
    "0a:00:00:00:00:02",
    "0a:00:00:00:00:03",
    "zz:00",
    "0a:00:00:00:00:04",
];
const ADDRESSES: &[&str] = &[
    "0a:00:00:00:00:01 10.0.0.1",
    "0a:00:00:00:00:02 10.0.0.2 fd00::2",
    "0a:00:00:00:00:03 10.0.0.3",
    "0a:00:00:00:00:04",
    "dynamic",
    "dynamic",
    "dynamic 10.0.0.5",
    "0a:00:00:00:00:06 dynamic",
    "unknown",
    "router",
    "0a:00:00:00:00:07 10.0.0.300",
    "nonsense",
];
const NETWORKS: &[&str] = &[
    "10.0.0.254/24",
    "10.0.1.254/24",
    "192.168.0.1/30",
    "fd00::1/64",
    "fe80::1/64",
    "x/3",
];
const CHASSIS: &[&str] = &["hv0", "hv1", "hv2", "host0", "nobody"];
const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "pg1",
    "pg1_ip4",
    "pg2_ip6",
    "svc_monitor_mac",
];
const GROUPS: &[&str] = &["pg1", "pg2", "pg3"];
const IPS: &[&str] = &["10.0.0.1", "10.0.1.7", "fd00::7", "bad", "192.168.0.2"];
const PREFIXES: &[&str] = &[
    "0.0.0.0/0",
    "10.1.0.0/16",
    "10.0.0.0/24",
    "fd01::/64",
    "::/0",
    "10.2.0.1",
    "bad/9",
];
const NUMBERS: &[&str] = &["1", "2", "3", "77", "0", "x", "99999999"];
const BOOLS: &[&str] = &["true", "false"];

const METERS: &[&str] = &["m1", "m2", "event-elb"];

/// Random rows of a table.
trait Random: Row {
    fn random(dice: &mut Dice) -> Self;
}

impl Random for nb::NbGlobal {
    fn random(d: &mut Dice) -> Self {
        nb::NbGlobal {
            nb_cfg: d.below(4) as i64,
            ipsec: d.chance(30),
            options: d.map(
                &[
                    ("mac_prefix", &["aa:bb:cc", "02:00:00", "bad"]),
                    ("svc_monitor_mac", MACS),
                    ("use_ct_inv_match", BOOLS),
                    ("use_common_zone", BOOLS),
                    ("controller_event", BOOLS),
                    ("ignore_lsp_down", BOOLS),
                    ("debug_drop_collector_set", &["7", "7", "x"]),
                    ("debug_drop_domain_id", &["3", "4", "300"]),
                    ("mac_binding_removal_limit", NUMBERS),
                    ("fdb_removal_limit", NUMBERS),
                ],
                40,
            ),
            ..Default::default()
        }
    }
}

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
            mirror_rules: d.anys::<nb::Mirror>(2),
            options: d.map(
                &[
                    ("router-port", ROUTER_PORTS),
                    ("network_name", &["phys"]),
                    ("requested-tnl-key", NUMBERS),
                    ("requested-chassis", &["hv0", "hv1,hv2", "host0", "nobody"]),
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

impl Random for nb::LogicalRouter {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouter {
            name: d.pick(NAMES),
            ports: d.anys::<nb::LogicalRouterPort>(4),
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
            ..Default::default()
        }
    }
}

impl Random for nb::LogicalRouterPort {
    fn random(d: &mut Dice) -> Self {
        nb::LogicalRouterPort {
            name: d.pick(ROUTER_PORTS),
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
            ..Default::default()
        }
    }
}

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

impl Random for nb::Acl {
    fn random(d: &mut Dice) -> Self {
        nb::Acl {
            priority: d.below(4) as i64,
            direction: d.pick(&["from-lport", "to-lport"]),
            match_: d.pick(&[
                "ip4",
                "tcp.dst == 80",
                "outport == @pg1 && ip4.src == $pg1_ip4",
                "bad ==",
            ]),
            action: d.pick(&[
                "allow",
                "allow-related",
                "allow-related",
                "allow-stateless",
                "drop",
                "reject",
                "pass",
            ]),
            tier: if d.chance(30) { d.below(4) as i64 } else { 0 },
            log: d.chance(40),
            label: d.below(3) as i64,
            meter: d.maybe(50, METERS),
            sample_new: d.chance(40).then(|| d.any::<nb::Sample>()),
            sample_est: d.chance(40).then(|| d.any::<nb::Sample>()),
            options: d.map(
                &[
                    ("log-related", BOOLS),
                    ("persist-established", BOOLS),
                    ("apply-after-lb", BOOLS),
                ],
                40,
            ),
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

impl Random for nb::AddressSet {
    fn random(d: &mut Dice) -> Self {
        nb::AddressSet {
            name: d.pick(NAMES),
            addresses: d.some(3, IPS),
            ..Default::default()
        }
    }
}

impl Random for nb::PortGroup {
    fn random(d: &mut Dice) -> Self {
        nb::PortGroup {
            name: d.pick(GROUPS),
            ports: d.anys::<nb::LogicalSwitchPort>(5),
            acls: d.anys::<nb::Acl>(2),
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

impl Random for nb::LoadBalancer {
    fn random(d: &mut Dice) -> Self {
        let vips: &[(&str, &[&str])] = &[
            ("10.0.0.200:80", BACKENDS),
            ("10.0.0.254:80", BACKENDS),
            ("10.1.1.1", BACKENDS),
            ("[fd00::200]:80", BACKENDS),
            ("^VIP:^PORT", BACKENDS),
            ("bad:vip", BACKENDS),
        ];
        nb::LoadBalancer {
            name: d.pick(NAMES),
            vips: d.map(vips, 35),
            protocol: d.maybe(70, &["tcp", "udp", "sctp"]),
            health_check: d.anys::<nb::LoadBalancerHealthCheck>(2),
            ip_port_mappings: d.map(
                &[
                    ("10.0.0.1", MAPPINGS),
                    ("fd00::1", MAPPINGS),
                    ("10.0.0.2", MAPPINGS),
                ],
                50,
            ),
            selection_fields: d.some(2, &["ip_src", "tp_dst", "eth_src"]),
            options: d.map(
                &[
                    ("reject", BOOLS),
                    ("event", BOOLS),
                    ("skip_snat", BOOLS),
                    ("add_route", BOOLS),
                    ("use_stateless_nat", BOOLS),
                    ("template", BOOLS),
                    ("address-family", &["ipv4", "ipv6"]),
                    ("affinity_timeout", NUMBERS),
                    ("neighbor_responder", &["all", "none", "reachable", "x"]),
                    ("hairpin_snat_ip", IPS),
                ],
                25,
            ),
            ..Default::default()
        }
    }
}

const BACKENDS: &[&str] = &[
    "10.0.0.1:8080,10.0.0.2:80",
    "10.0.0.1,10.0.0.2",
    "[fd00::1]:80",
    "^B:80,^BS",
    "",
    "bad",
];
const MAPPINGS: &[&str] = &["p0:10.0.0.253", "p1:[fd00::253]", "p2:10.0.0.252", "bad"];

impl Random for nb::LoadBalancerGroup {
    fn random(d: &mut Dice) -> Self {
        nb::LoadBalancerGroup {
            name: d.pick(GROUPS),
            load_balancer: d.anys::<nb::LoadBalancer>(4),
        }
    }
}

impl Random for nb::LoadBalancerHealthCheck {
    fn random(d: &mut Dice) -> Self {
        nb::LoadBalancerHealthCheck {
            vip: d.pick(&["10.0.0.200:80", "[fd00::200]:80", "10.0.0.254:80", "bad"]),
            options: d.map(&[("interval", NUMBERS), ("timeout", NUMBERS)], 40),
            ..Default::default()
        }
    }
}

impl Random for nb::ChassisTemplateVar {
    fn random(d: &mut Dice) -> Self {
        nb::ChassisTemplateVar {
            chassis: d.pick(CHASSIS),
            variables: d.map(&[("VIP", IPS), ("PORT", NUMBERS)], 60),
            ..Default::default()
        }
    }
}

impl Random for sb::ServiceMonitor {
    fn random(d: &mut Dice) -> Self {
        sb::ServiceMonitor {
            ip: d.pick(IPS),
            port: [80, 8080][d.below(2) as usize],
            protocol: d.maybe(90, &["tcp", "udp"]),
            logical_port: d.pick(PORTS),
            status: d.maybe(80, &["online", "offline", "error"]),
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

impl Random for nb::DhcpRelay {
    fn random(d: &mut Dice) -> Self {
        nb::DhcpRelay {
            name: d.pick(NAMES),
            servers: d.maybe(80, &["192.168.0.2", "10.0.1.7", "fd00::7", "bad"]),
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

impl Random for nb::Meter {
    fn random(d: &mut Dice) -> Self {
        nb::Meter {
            name: d.pick(METERS),
            unit: d.pick(&["kbps", "pktps"]),
            bands: d.anys::<nb::MeterBand>(3),
            fair: d.flag(),
            ..Default::default()
        }
    }
}

impl Random for nb::MeterBand {
    fn random(d: &mut Dice) -> Self {
        nb::MeterBand {
            action: "drop".into(),
            rate: 1 + d.below(3) as i64,
            burst_size: d.below(3) as i64,
            ..Default::default()
        }
    }
}

impl Random for nb::Sample {
    fn random(d: &mut Dice) -> Self {
        nb::Sample {
            collectors: d.anys::<nb::SampleCollector>(3),
            metadata: 1 + d.below(5) as i64,
        }
    }
}

impl Random for nb::SampleCollector {
    fn random(d: &mut Dice) -> Self {
        nb::SampleCollector {
            probability: [0, 7, 65535][d.below(3) as usize],
            set_id: 1 + d.below(3) as i64,
            ..Default::default()
        }
    }
}

impl Random for nb::SamplingApp {
    fn random(d: &mut Dice) -> Self {
        nb::SamplingApp {
            type_: d.pick(&["acl-new", "acl-est", "drop"]),
            id: 1 + d.below(3) as i64,
            ..Default::default()
        }
    }
}

impl Random for nb::Copp {
    fn random(d: &mut Dice) -> Self {
        nb::Copp {
            name: d.pick(NAMES),
            meters: d.map(
                &[
                    ("arp", METERS),
                    ("arp-resolve", METERS),
                    ("nd-na", METERS),
                    ("nd-ns-resolve", METERS),
                    ("icmp4-error", METERS),
                    ("tcp-reset", METERS),
                    ("reject", METERS),
                    ("igmp", METERS),
                    ("odd", METERS),
                ],
                60,
            ),
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
                &[("ipv6_ra_pd_list", &["1:fd00::/64", "2:fd01::/56 bad"])],
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

/// An edit of some row of a table: a new row, another value in one column, or no row.
fn edit<R: Random>(d: &mut Dice, table: &Table<R>) -> RowUpdate<R> {
    let uuid = d.any::<R>();
    let fresh = R::random(d);
    match table.get(uuid) {
        None => RowUpdate::insert(uuid, fresh),
        Some(_) if d.chance(25) => RowUpdate::delete(uuid),
        Some(_) => {
            let column = d.below(R::COLUMNS.len() as u64);
            RowUpdate::replace(uuid, fresh, 1 << column)
        }
    }
}

macro_rules! databases {
    ($($db:ident $each:ident $snapshot:ident { $($weight:literal $row:ident $module:ident)* })*) => {
        $(
            /// A random edit of the database.
            fn $each(d: &mut Dice, db: &$db::Db) -> $db::Update {
                let all: u64 = 0 $(+ $weight)*;
                let mut at = d.below(all);
                $(
                    if at < $weight {
                        return edit::<$db::$row>(d, &db.$module).into();
                    }
                    at -= $weight;
                )*
                unreachable!("{at}")
            }

            /// The database as a snapshot, after random edits that nobody saw.
            fn $snapshot(d: &mut Dice, db: &$db::Db) -> Vec<$db::Update> {
                use weft_ovsdb::model::Database;
                let mut copy = db.clone();
                for _ in 0..d.below(6) {
                    let update = $each(d, &copy);
                    copy.apply(update);
                }
                let mut all: Vec<$db::Update> = Vec::new();
                $(
                    for uuid in copy.$module.uuids() {
                        let row: Arc<$db::$row> = copy.$module.get_arc(uuid).unwrap().clone();
                        all.push(RowUpdate::insert(uuid, (*row).clone()).into());
                    }
                )*
                all
            }
        )*
    };
}

databases! {
    nb nb_edit nb_snapshot {
        2 NbGlobal nb_global
        10 LogicalSwitch logical_switch
        24 LogicalSwitchPort logical_switch_port
        8 LogicalRouter logical_router
        12 LogicalRouterPort logical_router_port
        6 LogicalRouterStaticRoute logical_router_static_route
        5 LogicalRouterPolicy logical_router_policy
        2 Bfd bfd
        4 Nat nat
        3 Acl acl
        3 Qos qos
        4 Mirror mirror
        2 MirrorRule mirror_rule
        3 AddressSet address_set
        4 PortGroup port_group
        3 GatewayChassis gateway_chassis
        2 HaChassisGroup ha_chassis_group
        2 HaChassis ha_chassis
        2 StaticMacBinding static_mac_binding
        8 LoadBalancer load_balancer
        4 LoadBalancerGroup load_balancer_group
        3 LoadBalancerHealthCheck load_balancer_health_check
        2 ChassisTemplateVar chassis_template_var
        3 Dns dns
        6 DhcpOptions dhcp_options
        2 DhcpRelay dhcp_relay
        3 Meter meter
        2 MeterBand meter_band
        3 Copp copp
        2 Sample sample
        2 SampleCollector sample_collector
        2 SamplingApp sampling_app
    }
    sb sb_edit sb_snapshot {
        3 Chassis chassis
        2 Encap encap
        4 PortBinding port_binding
        2 DatapathBinding datapath_binding
        3 MacBinding mac_binding
        2 Bfd bfd
        3 Fdb fdb
        3 ServiceMonitor service_monitor
        6 IgmpGroup igmp_group
        1 MulticastGroup multicast_group
    }
}

fn settings() -> Settings {
    Settings {
        version: "test".to_owned(),
        mac_prefix: [2, 0, 1],
        svc_monitor_mac: Mac([2, 0, 0, 0, 0, 9]),
    }
}

/// Runs edits from a seed; every batch ends in an audit.
fn run(seed: u64, edits: u64) {
    let d = &mut Dice(seed);
    let mut compiler = Compiler::new(settings()).unwrap();
    let mut done = 0;
    let mut log: Vec<String> = Vec::new();
    while done < edits {
        log.clear();
        if d.chance(4) {
            let snapshot = nb_snapshot(d, &compiler.inputs().nb);
            compiler.nb_snapshot(snapshot);
            log.push("northbound snapshot".to_owned());
        }
        if d.chance(4) {
            let snapshot = sb_snapshot(d, &compiler.inputs().sb);
            compiler.sb_snapshot(snapshot);
            log.push("southbound snapshot".to_owned());
        }
        for _ in 0..1 + d.below(4) {
            done += 1;
            if d.chance(80) {
                let update = nb_edit(d, &compiler.inputs().nb);
                log.push(format!("{update:?}"));
                compiler.nb_update(update);
            } else {
                let update = sb_edit(d, &compiler.inputs().sb);
                log.push(format!("{update:?}"));
                compiler.sb_update(update);
            }
        }
        let delta = compiler.run();
        assert!(
            !delta.stalled,
            "seed {seed}, edit {done}: units kept waking each other after {log:#?}"
        );
        let differences = compiler.audit().unwrap();
        assert!(
            differences.is_empty(),
            "seed {seed}, edit {done}: {} differences, first of them {:#?}\nafter {log:#?}",
            differences.len(),
            &differences[..differences.len().min(5)]
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn steps_end_where_a_fresh_start_does() {
    if let Some(seed) = number("WEFT_SEED") {
        return run(seed, number("WEFT_EDITS").unwrap_or(2_500));
    }
    for seed in 1..=5 {
        run(seed, 500);
    }
}

/// A seed of the day: prints itself when it fails.
#[test]
fn a_seed_nobody_chose() {
    let seed = u64::from(std::process::id()) << 32
        | std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |t| u64::from(t.subsec_nanos()));
    run(seed, 400);
}
