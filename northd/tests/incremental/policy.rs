//! Random rows of policy.

use weft_schemas::nb;

use super::Random;
use super::dice::{BOOLS, Dice, GROUPS, IPS, METERS, NAMES};

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
            name: d.maybe(40, NAMES),
            severity: d.maybe(40, &["info", "alert"]),
            network_function_group: d.chance(30).then(|| d.any::<nb::NetworkFunctionGroup>()),
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

impl Random for nb::NetworkFunction {
    fn random(d: &mut Dice) -> Self {
        nb::NetworkFunction {
            name: d.pick(NAMES),
            id: 1 + d.below(4) as i64,
            inport: d.any::<nb::LogicalSwitchPort>(),
            outport: d.chance(80).then(|| d.any::<nb::LogicalSwitchPort>()),
            health_check: d
                .chance(50)
                .then(|| d.any::<nb::NetworkFunctionHealthCheck>()),
            ..Default::default()
        }
    }
}

impl Random for nb::NetworkFunctionHealthCheck {
    fn random(d: &mut Dice) -> Self {
        nb::NetworkFunctionHealthCheck {
            options: d.map(&[("interval", &["1", "x"])], 60),
            ..Default::default()
        }
    }
}

impl Random for nb::NetworkFunctionGroup {
    fn random(d: &mut Dice) -> Self {
        nb::NetworkFunctionGroup {
            name: d.pick(NAMES),
            id: 1 + d.below(4) as i64,
            fallback: d.maybe(60, &["fail-open", "fail-close"]),
            mode: d.pick(&["inline", "inline", "vtap"]),
            network_function: d.anys::<nb::NetworkFunction>(3),
            network_function_active: d.chance(40).then(|| d.any::<nb::NetworkFunction>()),
            ..Default::default()
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
            action: d.pick(&["drop", "drop", "remark"]),
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
