//! Two databases that change at random, with what follows them.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use weft_controller::core::Core;
use weft_controller::index::Index;
use weft_controller::install::Installer;
use weft_controller::program::Settings;
use weft_ovsdb::model::{Map, RowUpdate, Str, Uuid};
use weft_schemas::{sb, vs};

use super::{
    ACTIONS, CHASSIS, DATAPATHS, FLOWS, MATCHES, PORTS, TYPES, everything, everything_vs, map, s,
    settings, text, uuid,
};

/// Sets of a few members count as large.
pub const LARGE_SETS: Settings = Settings {
    chassis: None,
    large_set: Some(6),
};

/// Random databases, and a core that follows their changes.
pub struct World {
    rng: SmallRng,
    core: Core,
    pub installer: Installer,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut world = World {
            rng: SmallRng::seed_from_u64(seed),
            core: Core::new(LARGE_SETS).unwrap(),
            installer: Installer::default(),
        };
        world.vs(vec![
            RowUpdate::insert(
                uuid(101, 0),
                vs::OpenVswitch {
                    bridges: [uuid(102, 0)].into(),
                    external_ids: settings("geneve"),
                    ..Default::default()
                },
            )
            .into(),
            RowUpdate::insert(
                uuid(102, 0),
                vs::Bridge {
                    name: s("br-int"),
                    ..Default::default()
                },
            )
            .into(),
            RowUpdate::insert(uuid(107, 0), vs::Qos::default()).into(),
            RowUpdate::insert(
                uuid(102, 1),
                vs::Bridge {
                    name: s("br-ex"),
                    ..Default::default()
                },
            )
            .into(),
        ]);
        for n in 0..DATAPATHS {
            let row = sb::DatapathBinding {
                tunnel_key: n as i64 + 1,
                ..Default::default()
            };
            world.sb(vec![RowUpdate::insert(uuid(1, n), row).into()]);
        }
        world
    }

    fn sb(&mut self, updates: Vec<sb::Update>) {
        self.core.apply_sb(updates, false);
    }

    fn vs(&mut self, updates: Vec<vs::Update>) {
        self.core.apply_vs(updates, false);
    }

    pub fn pick(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all.choose(&mut self.rng).copied().unwrap_or("")
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn port_name(&mut self) -> Str {
        format!("p{}", self.pick(PORTS)).into()
    }

    fn datapath(&mut self) -> Uuid {
        let n = self.pick(DATAPATHS);
        uuid(1, n)
    }

    pub fn edit(&mut self) {
        match self.pick(19) {
            0..=2 => self.edit_port(),
            3..=5 => self.edit_flow(),
            6 | 7 => self.edit_interface(),
            8 => self.edit_chassis(),
            9 => self.edit_group(),
            10 => self.edit_tunnel_port(),
            11 => self.edit_neighbor(),
            12 => self.edit_names(),
            13 => self.edit_datapath(),
            14 => self.edit_settings(),
            15 => self.edit_ha(),
            16 => self.edit_balancer(),
            17 => self.edit_variables(),
            _ => self.edit_rest(),
        }
    }

    fn edit_port(&mut self) {
        let n = self.pick(PORTS);
        let id = uuid(2, n);
        if self.chance(15) {
            return self.sb(vec![RowUpdate::<sb::PortBinding>::delete(id).into()]);
        }
        let kind = self.one(TYPES);
        let name = if kind == "chassisredirect" {
            s("cr")
        } else {
            format!("p{n}").into()
        };
        let mut options = Vec::new();
        match kind {
            "patch" => options.push(("peer", self.port_name())),
            "l3gateway" => {
                options.extend([("peer", self.port_name()), ("l3gateway-chassis", s("c0"))])
            }
            "l2gateway" => {
                options.extend([("network_name", s("phys")), ("l2gateway-chassis", s("c0"))])
            }
            "localnet" => options.push(("network_name", s("phys"))),
            "chassisredirect" => options.extend([
                ("distributed-port", self.port_name()),
                ("always-redirect", s("true")),
            ]),
            "" if self.chance(20) => {
                options.push((
                    "requested-chassis",
                    s(self.one(&["c0", "c1", "host0", "c1,c0", "c2,host0,c3"])),
                ));
                options.push((
                    "activation-strategy",
                    s(self.one(&["rarp", "garp", "na,rarp", "shout", ""])),
                ));
                if self.chance(30) {
                    let heard = s(self.one(&["c0", "c1,c0", "c1"]));
                    options.push(("additional-chassis-activated", heard));
                }
            }
            _ => {}
        }
        if kind.is_empty() && self.chance(20) {
            options.push(("vif-plug-type", s(self.one(&["internal", "none", ""]))));
            options.push(("vif-plug:internal:name", s(self.one(&["d0", "d1"]))));
            options.push(("vif-plug-mtu-request", s(self.one(&["1400", "big"]))));
        }
        if self.chance(30) {
            options.push(("qdisc_queue_id", s(self.one(&["1", "2", "70000"]))));
            options.push(("qos_max_rate", s(self.one(&["1000", "0", "fast"]))));
        }
        if self.chance(20) {
            options.push(("qos_physical_network", s(self.one(&["phys", "other"]))));
        }
        if kind == "chassisredirect" && self.chance(50) {
            options.push(("redirect-type", s(self.one(&["bridged", "overlay"]))));
        }
        if kind == "patch" && self.chance(10) {
            options.push(("chassis-redirect-port", s("cr")));
        }
        for key in [
            "ipv6_ra_send_periodic",
            "ipv6_prefix",
            "ipv6_prefix_delegation",
        ] {
            if self.chance(15) {
                options.push((key, s(self.one(&["true", "false"]))));
            }
        }
        let row = sb::PortBinding {
            logical_port: name,
            type_: s(kind),
            datapath: self.datapath(),
            tunnel_key: n as i64 + 1,
            options: options.into_iter().map(|(k, v)| (s(k), v)).collect(),
            parent_port: (kind.is_empty() && self.chance(20)).then(|| self.port_name()),
            tag: self.chance(30).then_some(n as i64 + 10),
            chassis: self.chance(50).then(|| {
                let c = self.pick(CHASSIS);
                uuid(3, c)
            }),
            additional_chassis: (0..self.pick(3))
                .filter(|_| kind.is_empty())
                .map(|n| uuid(3, n))
                .collect(),
            encap: self.chance(30).then(|| {
                let c = self.pick(CHASSIS);
                uuid(6, c)
            }),
            additional_encap: (0..self.pick(2)).map(|n| uuid(6, n)).collect(),
            virtual_parent: self.chance(30).then(|| self.port_name()),
            mirror_port: (kind == "mirror").then(|| self.port_name()),
            mirror_rules: (0..self.pick(3)).map(|n| uuid(15, n)).collect(),
            ha_chassis_group: self.chance(50).then_some(uuid(9, 0)),
            mac: match self.pick(3) {
                0 => [s("00:00:00:00:00:0a 10.0.0.254/24 fd00::254/64")].into(),
                1 => [s("rubbish")].into(),
                _ => Default::default(),
            },
            nat_addresses: match self.pick(4) {
                0 => [s("00:00:00:00:00:0a 172.16.0.1 fd00::1")].into(),
                1 => {
                    let resident = self.port_name();
                    let text =
                        format!("00:00:00:00:00:0b 172.16.0.2 is_chassis_resident(\"{resident}\")");
                    [text.into(), s("rubbish")].into()
                }
                _ => Default::default(),
            },
            port_security: match self.pick(5) {
                0 => [s("00:00:00:00:00:01 10.0.0.4/24 fd00::4")].into(),
                1 => [s("00:00:00:00:00:02"), s("rubbish")].into(),
                2 => [s("VRRPv3 00:00:00:00:00:03 10.0.0.4 fd00::4")].into(),
                _ => Default::default(),
            },
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    fn edit_balancer(&mut self) {
        let n = self.pick(4);
        let id = uuid(20, n);
        if self.chance(20) {
            return self.sb(vec![RowUpdate::<sb::LoadBalancer>::delete(id).into()]);
        }
        let group = |world: &mut Self| {
            let g = world.pick(3);
            world.chance(50).then(|| uuid(5, g))
        };
        let vip = self.one(&[
            "10.9.9.9:80",
            "10.9.9.9",
            "[fd99::9]:80",
            "^VIP:80",
            "rubbish",
        ]);
        let backends = self.one(&["10.0.0.1:80,10.0.0.2:8080", "[fd00::1]:80", "^B", ""]);
        let row = sb::LoadBalancer {
            name: format!("lb{n}").into(),
            vips: vec![(s(vip), s(backends))].into(),
            protocol: self
                .chance(80)
                .then(|| s(self.one(&["tcp", "udp", "sctp"]))),
            datapaths: if self.chance(20) {
                [self.datapath()].into()
            } else {
                Default::default()
            },
            datapath_group: group(self),
            ls_datapath_group: group(self),
            lr_datapath_group: group(self),
            options: ["template", "hairpin_snat_ip", "ct_flush"]
                .into_iter()
                .filter(|_| self.chance(30))
                .map(|k| {
                    (
                        s(k),
                        s(if k != "hairpin_snat_ip" {
                            "true"
                        } else {
                            "192.0.2.9 fd99::8"
                        }),
                    )
                })
                .collect(),
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    fn edit_variables(&mut self) {
        let n = self.pick(2);
        let id = uuid(21, n);
        if self.chance(20) {
            return self.sb(vec![RowUpdate::<sb::ChassisTemplateVar>::delete(id).into()]);
        }
        let value = self.one(&["10.9.9.9", "10.0.0.1:80", "bad"]);
        let row = sb::ChassisTemplateVar {
            chassis: format!("c{n}").into(),
            variables: vec![(s("VIP"), s(value)), (s("B"), s("10.0.0.1:80"))].into(),
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    fn edit_flow(&mut self) {
        let n = self.pick(FLOWS);
        if self.chance(15) {
            return self.sb(vec![
                RowUpdate::<sb::LogicalFlow>::delete(uuid(4, n)).into(),
            ]);
        }
        let grouped = self.chance(40);
        let row = sb::LogicalFlow {
            logical_datapath: (!grouped).then(|| self.datapath()),
            logical_dp_group: grouped.then(|| {
                let g = self.pick(3);
                uuid(5, g)
            }),
            pipeline: s(self.one(&["ingress", "egress"])),
            table_id: self.pick(30) as i64,
            priority: self.pick(3) as i64 * 50,
            match_: s(self.one(MATCHES)),
            actions: s(self.one(ACTIONS)),
            tags: if self.chance(20) {
                vec![(s("in_out_port"), self.port_name())].into()
            } else {
                Map::default()
            },
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(uuid(4, n), row).into()]);
    }

    fn edit_interface(&mut self) {
        let n = self.pick(10);
        let (iface, port) = (uuid(103, n), uuid(104, n));
        if self.chance(20) {
            self.vs(vec![
                RowUpdate::<vs::Interface>::delete(iface).into(),
                RowUpdate::<vs::Port>::delete(port).into(),
            ]);
        } else {
            let name: Str = format!("tap{n}").into();
            let row = vs::Interface {
                name: name.clone(),
                ofport: match self.pick(6) {
                    0 => None,
                    1 => Some(-1),
                    _ => Some(n as i64 + 1),
                },
                external_ids: match self.pick(10) {
                    0 => map(&[("mirror-id", "analyser")]),
                    1 => map(&[("ovn-egress-iface", "true")]),
                    2 | 3 => vec![
                        (s("iface-id"), self.port_name()),
                        (
                            s("encap-ip"),
                            s(self.one(&["1.1.2.0", "1.1.1.0", "1.1.7.7"])),
                        ),
                    ]
                    .into(),
                    _ => vec![(s("iface-id"), self.port_name())].into(),
                },
                ..Default::default()
            };
            let port_row = vs::Port {
                name,
                interfaces: [iface].into(),
                qos: self.chance(10).then_some(uuid(107, 0)),
                ..Default::default()
            };
            self.vs(vec![
                RowUpdate::insert(iface, row).into(),
                RowUpdate::insert(port, port_row).into(),
            ]);
        }
        self.rebuild_bridge();
    }

    fn edit_tunnel_port(&mut self) {
        let n = self.pick(CHASSIS);
        let (iface, port) = (uuid(105, n), uuid(106, n));
        if self.chance(30) {
            self.vs(vec![
                RowUpdate::<vs::Interface>::delete(iface).into(),
                RowUpdate::<vs::Port>::delete(port).into(),
            ]);
        } else {
            let name: Str = format!("ovn-c{n}-0").into();
            let (key, value) = if self.chance(80) {
                let of = self.one(&["", "%1.1.1.0", "%1.1.2.0"]);
                ("ovn-chassis-id", format!("c{n}@1.1.1.{n}{of}"))
            } else {
                ("ovn-localnet-port", format!("p{}", self.pick(PORTS)))
            };
            let row = vs::Interface {
                name: name.clone(),
                ofport: Some(n as i64 + 20),
                bfd_status: map(&[("state", self.one(&["up", "down"]))]),
                ..Default::default()
            };
            let port_row = vs::Port {
                name,
                interfaces: [iface].into(),
                external_ids: map(&[(key, &value)]),
                ..Default::default()
            };
            self.vs(vec![
                RowUpdate::insert(iface, row).into(),
                RowUpdate::insert(port, port_row).into(),
            ]);
        }
        self.rebuild_bridge();
    }

    /// The bridge has all ports but, now and then, one.
    fn rebuild_bridge(&mut self) {
        let mut ports: Vec<Uuid> = self.core.inputs.vs.port.uuids().collect();
        ports.sort_unstable();
        if !ports.is_empty() && self.chance(20) {
            let n = self.pick(ports.len());
            ports.remove(n);
        }
        let row = vs::Bridge {
            name: s("br-int"),
            ports: ports.into(),
            ..Default::default()
        };
        self.vs(vec![RowUpdate::insert(uuid(102, 0), row).into()]);
        if self.chance(20) {
            // Zones of another controller.
            let row = vs::Bridge {
                name: s("br-ex"),
                external_ids: map(&[("ct-zone-x", self.one(&["1", "2", "9", "70000"]))]),
                ..Default::default()
            };
            self.vs(vec![RowUpdate::insert(uuid(102, 1), row).into()]);
        }
    }

    fn edit_chassis(&mut self) {
        let n = self.pick(CHASSIS);
        if self.chance(30) {
            return self.sb(vec![RowUpdate::<sb::Chassis>::delete(uuid(3, n)).into()]);
        }
        let encap = sb::Encap {
            type_: s(self.one(&["geneve", "vxlan", "carrier pigeon"])),
            ip: format!("1.1.1.{n}").into(),
            options: match self.pick(3) {
                0 => map(&[("csum", "true"), ("is_default", "true")]),
                1 => map(&[("dst_port", "6082")]),
                _ => map(&[("csum", "true")]),
            },
            chassis_name: format!("c{n}").into(),
        };
        let row = sb::Chassis {
            name: format!("c{n}").into(),
            // Another's too, so that there are several ends.
            encaps: (0..CHASSIS)
                .filter(|c| *c == n || self.chance(20))
                .map(|c| uuid(6, c))
                .collect(),
            transport_zones: if self.chance(10) {
                [s("tz")].into()
            } else {
                Default::default()
            },
            other_config: match self.pick(3) {
                0 => map(&[(
                    "ovn-chassis-mac-mappings",
                    self.one(&["phys:00:00:00:00:cc:01", "other:00:00:00:00:cc:02", "x"]),
                )]),
                _ => Map::default(),
            },
            ..Default::default()
        };
        self.sb(vec![
            RowUpdate::insert(uuid(6, n), encap).into(),
            RowUpdate::insert(uuid(3, n), row).into(),
        ]);
    }

    fn edit_group(&mut self) {
        let n = self.pick(DATAPATHS);
        if self.chance(30) {
            return self.edit_snooping(n);
        }
        if self.chance(20) {
            return self.sb(vec![
                RowUpdate::<sb::MulticastGroup>::delete(uuid(7, n)).into(),
            ]);
        }
        let count = self.pick(PORTS);
        let ports: Vec<Uuid> = (0..count)
            .map(|_| {
                let p = self.pick(PORTS);
                uuid(2, p)
            })
            .collect();
        let row = sb::MulticastGroup {
            datapath: uuid(1, n),
            name: s("_MC_flood"),
            tunnel_key: 0x8000,
            ports: ports.into(),
        };
        self.sb(vec![RowUpdate::insert(uuid(7, n), row).into()]);
    }

    /// What is about multicast that is learned: no unit depends on it.
    fn edit_snooping(&mut self, n: usize) {
        let update: sb::Update = match self.pick(3) {
            0 => RowUpdate::<sb::IgmpGroup>::delete(uuid(9, n)).into(),
            1 => {
                let row = sb::IpMulticast {
                    datapath: uuid(1, n),
                    enabled: Some(self.chance(70)),
                    ..Default::default()
                };
                RowUpdate::insert(uuid(19, n), row).into()
            }
            _ => {
                let row = sb::IgmpGroup {
                    address: s(self.one(&["239.0.0.1", "ff0e::1", "mrouters"])),
                    datapath: Some(self.datapath()),
                    chassis: Some(uuid(3, 0)),
                    ports: [uuid(2, n)].into(),
                    ..Default::default()
                };
                RowUpdate::insert(uuid(9, n), row).into()
            }
        };
        self.sb(vec![update]);
    }

    fn edit_neighbor(&mut self) {
        let n = self.pick(4);
        let mac = s(self.one(&["00:00:00:00:00:09", "no mac"]));
        let update: sb::Update = match self.pick(4) {
            0 => RowUpdate::<sb::MacBinding>::delete(uuid(8, n)).into(),
            1 => {
                let ip = s(self.one(&["10.0.0.9", "fd00::9", "somewhere"]));
                let row = sb::MacBinding {
                    logical_port: self.port_name(),
                    ip,
                    mac,
                    datapath: self.datapath(),
                    timestamp: self.pick(3) as i64,
                };
                RowUpdate::insert(uuid(8, n), row).into()
            }
            2 => {
                let row = sb::StaticMacBinding {
                    logical_port: self.port_name(),
                    ip: s("10.0.0.8"),
                    mac,
                    ..Default::default()
                };
                RowUpdate::insert(uuid(18, n), row).into()
            }
            _ => {
                let dp_key = self.pick(DATAPATHS) as i64 + 1;
                RowUpdate::insert(
                    uuid(28, n),
                    sb::Fdb {
                        mac,
                        dp_key,
                        port_key: n as i64 + 1,
                        ..Default::default()
                    },
                )
                .into()
            }
        };
        self.sb(vec![update]);
    }

    fn edit_names(&mut self) {
        let update: sb::Update = match self.pick(4) {
            0 => RowUpdate::<sb::AddressSet>::delete(uuid(10, self.pick(2))).into(),
            1 | 2 => {
                let n = self.pick(2);
                let count = self.pick(12);
                let addresses: Vec<Str> = (0..count)
                    .map(|_| match self.pick(20) {
                        0 => s("no address"),
                        _ => format!("10.0.{}.{}", self.pick(2), self.pick(9)).into(),
                    })
                    .collect();
                let row = sb::AddressSet {
                    name: format!("as{}", n + 1).into(),
                    addresses: addresses.into(),
                    ..Default::default()
                };
                RowUpdate::insert(uuid(10, n), row).into()
            }
            _ => {
                let ports: Vec<Str> = (0..3).map(|_| self.port_name()).collect();
                let name = s(self.one(&["pg1", "1_pg1", "2_pg1"]));
                RowUpdate::insert(
                    uuid(11, 0),
                    sb::PortGroup {
                        name,
                        ports: ports.into(),
                    },
                )
                .into()
            }
        };
        self.sb(vec![update]);
    }

    fn edit_datapath(&mut self) {
        let n = self.pick(DATAPATHS);
        if self.chance(15) {
            return self.sb(vec![
                RowUpdate::<sb::DatapathBinding>::delete(uuid(1, n)).into(),
            ]);
        }
        let row = sb::DatapathBinding {
            tunnel_key: n as i64 + 1,
            external_ids: match self.pick(7) {
                0 | 1 => map(&[("logical-router", "x")]),
                5 => map(&[
                    ("logical-router", "x"),
                    (
                        "mac_binding_age_threshold",
                        self.one(&["0", "7", "60", "x"]),
                    ),
                ]),
                6 => map(&[("fdb_age_threshold", self.one(&["0", "7", "60", "x"]))]),
                // Zones that others have or ask for, and nonsense.
                2 => {
                    let zone = self.one(&["1", "2", "5", "0", "7000", "70000", "x"]);
                    map(&[("logical-router", "x"), ("snat-ct-zone", zone)])
                }
                _ => Map::default(),
            },
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(uuid(1, n), row).into()]);
    }

    fn edit_settings(&mut self) {
        let external_ids = match self.pick(7) {
            0 => settings("vxlan,geneve"),
            1 => settings("").with("ovn-bridge-mappings", "phys:nowhere"),
            2 => Map::default(),
            4 => settings("geneve,vxlan").with("ovn-encap-ip", "1.1.1.0,1.1.2.0"),
            5 => settings("geneve")
                .with("ovn-encap-ip", "1.1.1.0,1.1.2.0")
                .with("ovn-encap-ip-default", self.one(&["1.1.2.0", "1.1.9.9"])),
            3 => settings("geneve").with("ovn-chassis-mac-mappings", "phys:00:00:00:00:cc:00"),
            _ => settings("geneve"),
        };
        let row = vs::OpenVswitch {
            bridges: [uuid(102, 0)].into(),
            external_ids,
            ..Default::default()
        };
        self.vs(vec![RowUpdate::insert(uuid(101, 0), row).into()]);
    }

    fn edit_ha(&mut self) {
        let mut updates: Vec<sb::Update> = Vec::new();
        for n in 0..2 {
            let chassis = self.chance(80).then(|| {
                let c = self.pick(CHASSIS);
                uuid(3, c)
            });
            let row = sb::HaChassis {
                chassis,
                priority: self.pick(5) as i64,
                ..Default::default()
            };
            updates.push(RowUpdate::insert(uuid(12, n), row).into());
        }
        let members: Vec<Uuid> = (0..self.pick(3)).map(|n| uuid(12, n)).collect();
        let refers = self.chance(50).then(|| uuid(3, self.pick(CHASSIS)));
        let row = sb::HaChassisGroup {
            name: s("ha"),
            ha_chassis: members.into(),
            ref_chassis: refers.into_iter().collect(),
            ..Default::default()
        };
        updates.push(RowUpdate::insert(uuid(9, 0), row).into());
        self.sb(updates);
    }

    fn edit_rest(&mut self) {
        match self.pick(11) {
            10 => self.edit_dns(),
            4..=6 => self.edit_mirror(),
            7..=9 => self.edit_dhcp(),
            0 => {
                let n = self.pick(3);
                let datapaths: Vec<Uuid> =
                    (0..self.pick(DATAPATHS)).map(|_| self.datapath()).collect();
                let row = sb::LogicalDpGroup {
                    datapaths: datapaths.into(),
                };
                self.sb(vec![RowUpdate::insert(uuid(5, n), row).into()]);
            }
            1 => {
                let band = sb::MeterBand {
                    action: s("drop"),
                    rate: 1 + self.pick(9) as i64,
                    ..Default::default()
                };
                let row = sb::Meter {
                    name: s("m1"),
                    unit: s("pktps"),
                    bands: [uuid(14, 0)].into(),
                };
                self.sb(vec![
                    RowUpdate::insert(uuid(14, 0), band).into(),
                    RowUpdate::insert(uuid(13, 0), row).into(),
                ]);
            }
            2 => self.sb(vec![RowUpdate::<sb::Meter>::delete(uuid(13, 0)).into()]),
            _ => {
                let port = uuid(2, self.pick(PORTS));
                let yielded = self.chance(50);
                self.core.set_yielded(port, yielded);
                let activated = self.chance(50);
                self.core.set_activated(port, activated);
            }
        }
    }

    /// Nothing is made of these before somebody asks, but how they are found is kept along with them.
    fn edit_dns(&mut self) {
        let id = uuid(22, self.pick(3));
        if self.chance(25) {
            return self.sb(vec![RowUpdate::<sb::Dns>::delete(id).into()]);
        }
        let datapaths: Vec<Uuid> = (0..self.pick(4)).map(|_| self.datapath()).collect();
        let row = sb::Dns {
            records: map(&[("vm1.ovn.org", "10.0.0.4")]),
            datapaths: datapaths.into(),
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    /// The options that flows name: there, gone, twice, of another type or code.
    fn edit_dhcp(&mut self) {
        let n = self.pick(4);
        if self.chance(50) {
            let id = uuid(16, n);
            if self.chance(15) {
                return self.sb(vec![RowUpdate::<sb::DhcpOptions>::delete(id).into()]);
            }
            let (name, code, ty) = [
                ("offerip", 0, "ipv4"),
                ("router", 3, "ipv4"),
                ("mtu", 26, "uint16"),
                ("mtu", 27, "str"),
            ][n];
            let row = sb::DhcpOptions {
                name: s(name),
                code,
                type_: s(ty),
            };
            return self.sb(vec![RowUpdate::insert(id, row).into()]);
        }
        let id = uuid(17, n % 2);
        if self.chance(15) {
            return self.sb(vec![RowUpdate::<sb::Dhcpv6Options>::delete(id).into()]);
        }
        let (name, code, ty) = [
            ("ia_addr", 5, "ipv6"),
            ("server_id", 2, "mac"),
            ("ia_addr", 5, "ipv6"),
            ("server_id", 2, "what"),
        ][n];
        let row = sb::Dhcpv6Options {
            name: s(name),
            code,
            type_: s(ty),
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    fn edit_mirror(&mut self) {
        let id = uuid(15, self.pick(2));
        if self.chance(25) {
            return self.sb(vec![RowUpdate::<sb::Mirror>::delete(id).into()]);
        }
        let row = sb::Mirror {
            name: s(self.one(&["m0", "m1"])),
            type_: s(self.one(&["gre", "erspan", "local", "local"])),
            sink: s(self.one(&["1.2.3.4", "fd00::4", "analyser"])),
            filter: s(self.one(&["from-lport", "to-lport", "both"])),
            index: self.pick(3) as i64,
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(id, row).into()]);
    }

    /// A reconnect: the same rows come once more as a whole, some of them gone meanwhile.
    pub fn reconnect(&mut self) {
        let mut rows = everything(&self.core.inputs.sb);
        for _ in 0..self.pick(4) {
            if !rows.is_empty() {
                let n = self.pick(rows.len());
                rows.swap_remove(n);
            }
        }
        self.core.apply_sb(rows, true);
    }

    pub fn run(&mut self) {
        // What is needed of the southbound is looked at before the rest is run; that must make no difference.
        if self.chance(50) {
            self.core.advance();
        }
        let delta = self.core.run();
        assert!(!delta.stalled);
        self.installer
            .apply(delta.removed.iter(), delta.added.iter());
        drop(self.installer.batch());
    }

    pub fn compare(&mut self, what: &str) {
        let differences = self.core.audit().unwrap();
        assert!(differences.is_empty(), "{what}: {differences:#?}");
        let mut fresh = Core::new(LARGE_SETS).unwrap();
        fresh.ledgers = self.core.ledgers.clone();
        fresh.apply_vs(everything_vs(&self.core.inputs.vs), true);
        fresh.apply_sb(everything(&self.core.inputs.sb), true);
        for &port in &self.core.inputs.yielded {
            fresh.set_yielded(port, true);
        }
        for &port in &self.core.inputs.activated {
            fresh.set_activated(port, true);
        }
        let delta = fresh.run();
        let mut installer = Installer::default();
        installer.apply(delta.removed.iter(), delta.added.iter());
        let ours: BTreeSet<String> = self.core.engine().outputs().map(text).collect();
        let theirs: BTreeSet<String> = fresh.engine().outputs().map(text).collect();
        let (extra, missing): (Vec<_>, Vec<_>) = (
            ours.difference(&theirs).collect(),
            theirs.difference(&ours).collect(),
        );
        assert!(
            extra.is_empty() && missing.is_empty(),
            "{what}: extra {extra:#?}, missing {missing:#?}"
        );
        // Numbers may differ where two hashes met in another order; there are few enough here that they do not.
        assert_eq!(self.installer.wanted(), installer.wanted(), "{what}");
        for n in 0..DATAPATHS {
            for index in [Index::DnsOfDatapath, Index::DelegatingPort] {
                let found = |core: &Core| core.inputs.idx.find(index, uuid(1, n)).to_vec();
                assert_eq!(found(&self.core), found(&fresh), "{what}");
            }
        }
        for index in [Index::AdvertisingPort, Index::PrefixPort] {
            let found = |core: &Core| core.inputs.idx.find(index, ()).to_vec();
            assert_eq!(found(&self.core), found(&fresh), "{what}");
        }
    }
}
