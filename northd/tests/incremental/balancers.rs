//! Random rows of load balancers.

use weft_schemas::nb;

use super::Random;
use super::dice::{BOOLS, CHASSIS, Dice, GROUPS, IPS, NAMES, NUMBERS};

const MAPPINGS: &[&str] = &[
    "p0:10.0.0.253",
    "p1:[fd00::253]",
    "p2:10.0.0.252",
    "p1:10.0.0.254",
    "bad",
];

const BACKENDS: &[&str] = &[
    "10.0.0.1:8080,10.0.0.2:80",
    "10.0.0.1,10.0.0.2",
    "[fd00::1]:80",
    "^B:80,^BS",
    "",
    "bad",
];

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
                    ("distributed", BOOLS),
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
