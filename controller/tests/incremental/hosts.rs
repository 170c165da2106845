//! Edits of ports, interfaces and chassis.

use weft_ovsdb::model::{Map, RowUpdate, Str, Uuid};
use weft_schemas::{sb, vs};

use super::world::World;
use super::{CHASSIS, PORTS, TYPES, map, s, uuid};

impl World {
    pub(super) fn edit_port(&mut self) {
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
        if kind.is_empty() && self.chance(20) {
            options.push(("is-nf", s(self.one(&["true", "true", "false"]))));
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
            tunnel_key: self.key(n),
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
            gateway_chassis: (0..self.pick(3)).map(|n| uuid(23, n)).collect(),
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

    pub(super) fn edit_interface(&mut self) {
        let n = self.pick(10);
        let (iface, port) = (uuid(103, n), uuid(104, n));
        if self.chance(20) {
            self.vs(vec![
                RowUpdate::<vs::Interface>::delete(iface).into(),
                RowUpdate::<vs::Port>::delete(port).into(),
            ]);
        } else {
            let other = if self.chance(15) { "x" } else { "" };
            let name: Str = format!("tap{other}{n}").into();
            let row = vs::Interface {
                name: name.clone(),
                ofport: match self.pick(6) {
                    0 => None,
                    1 => Some(-1),
                    _ => Some(n as i64 + 1),
                },
                mtu: [None, Some(1500), Some(1300), Some(70_000)][self.pick(4)],
                mtu_request: [None, Some(1400)][self.pick(2)],
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
                interfaces: if self.chance(90) {
                    [iface].into()
                } else {
                    Default::default()
                },
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

    pub(super) fn edit_tunnel_port(&mut self) {
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
        if self.chance(10) {
            let queue = vs::Queue {
                external_ids: map(&[
                    (self.one(&["ovn-egress-port", "whose"]), "p1"),
                    ("ovn-bridge", self.one(&["br-int", "br-other"])),
                ]),
                ..Default::default()
            };
            let row = vs::Qos {
                queues: vec![(1 + self.pick(2) as i64, uuid(108, 0))].into(),
                type_: s(self.one(&["linux-htb", "linux-noop"])),
                external_ids: map(&[(self.one(&["ovn-egress-port", "whose"]), "p1")]),
                ..Default::default()
            };
            self.vs(vec![
                RowUpdate::insert(uuid(108, 0), queue).into(),
                RowUpdate::insert(uuid(107, 0), row).into(),
            ]);
        }
        let mut ports: Vec<Uuid> = self.core.inputs.vs.port.uuids().collect();
        ports.sort_unstable();
        if !ports.is_empty() && self.chance(20) {
            let n = self.pick(ports.len());
            ports.remove(n);
        }
        let row = vs::Bridge {
            name: s("br-int"),
            datapath_type: s(self.one(&["", "netdev", "system"])),
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

    pub(super) fn edit_chassis(&mut self) {
        let n = self.pick(CHASSIS);
        if self.chance(30) {
            return self.sb(vec![RowUpdate::<sb::Chassis>::delete(uuid(3, n)).into()]);
        }
        let encap = sb::Encap {
            type_: s(self.one(&["geneve", "vxlan", "carrier pigeon"])),
            ip: format!("1.1.{}.{n}", if self.chance(15) { 3 } else { 1 }).into(),
            options: match self.pick(3) {
                0 => map(&[("csum", "true"), ("is_default", "true")]),
                1 => map(&[("dst_port", "6082")]),
                _ => map(&[("csum", "true")]),
            },
            chassis_name: format!("c{n}").into(),
        };
        let row = sb::Chassis {
            name: format!("{}{n}", if self.chance(15) { "other" } else { "c" }).into(),
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

    pub(super) fn edit_ha(&mut self) {
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
            let row = sb::GatewayChassis {
                name: format!("gateway{n}").into(),
                chassis,
                priority: self.pick(5) as i64,
                ..Default::default()
            };
            updates.push(RowUpdate::insert(uuid(23, n), row).into());
        }
        let timers = self.one(&["bfd-min-rx", "bfd-min-tx", "bfd-mult"]);
        let value = self.one(&["100", "3", "x"]);
        let row = sb::SbGlobal {
            options: map(&[(timers, value)]),
            ..Default::default()
        };
        updates.push(RowUpdate::insert(uuid(24, 0), row).into());
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
}
