//! Edits of logical flows and of what they name, and of the tables of single features.

use weft_ovsdb::model::{Map, RowUpdate, Str, Uuid};
use weft_schemas::{sb, vs};

use super::world::World;
use super::{ACTIONS, DATAPATHS, FLOWS, MATCHES, PORTS, map, s, settings, uuid};

impl World {
    pub(super) fn edit_balancer(&mut self) {
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
            name: format!("lb{}", self.key(n)).into(),
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

    pub(super) fn edit_variables(&mut self) {
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

    pub(super) fn edit_flow(&mut self) {
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
            controller_meter: self.chance(20).then(|| s("m1")),
            tags: if self.chance(20) {
                vec![(s("in_out_port"), self.port_name())].into()
            } else {
                Map::default()
            },
            ..Default::default()
        };
        self.sb(vec![RowUpdate::insert(uuid(4, n), row).into()]);
    }

    pub(super) fn edit_group(&mut self) {
        let n = self.pick(DATAPATHS);
        if self.chance(30) {
            return self.edit_snooping(n);
        }
        if self.chance(20) {
            return self.sb(vec![
                RowUpdate::<sb::MulticastGroup>::delete(uuid(7, n)).into(),
                RowUpdate::<sb::MulticastGroup>::delete(uuid(7, n + DATAPATHS)).into(),
            ]);
        }
        let count = self.pick(PORTS);
        let ports: Vec<Uuid> = (0..count)
            .map(|_| {
                let p = self.pick(PORTS);
                uuid(2, p)
            })
            .collect();
        let unknown = self.chance(40);
        let row = sb::MulticastGroup {
            datapath: uuid(1, if self.chance(10) { DATAPATHS } else { n }),
            name: s(if unknown { "_MC_unknown" } else { "_MC_flood" }),
            tunnel_key: 0x8000 + i64::from(unknown) + if self.chance(15) { 2 } else { 0 },
            ports: ports.into(),
        };
        let n = n + if unknown { DATAPATHS } else { 0 };
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

    pub(super) fn edit_neighbor(&mut self) {
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
                    ip: s(self.one(&["10.0.0.8", "10.0.0.9", "fd00::9"])),
                    mac,
                    override_dynamic_mac: self.chance(50),
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
                        port_key: self.key(n),
                        timestamp: self.pick(3) as i64,
                    },
                )
                .into()
            }
        };
        self.sb(vec![update]);
    }

    pub(super) fn edit_names(&mut self) {
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
                    name: format!("as{}", if self.chance(10) { 3 + n } else { 1 + n }).into(),
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

    pub(super) fn edit_datapath(&mut self) {
        let n = self.pick(DATAPATHS);
        if self.chance(15) {
            return self.sb(vec![
                RowUpdate::<sb::DatapathBinding>::delete(uuid(1, n)).into(),
            ]);
        }
        let kind = ["", "", "logical-switch", "logical-router"];
        let row = sb::DatapathBinding {
            tunnel_key: self.key(n),
            type_: Some(s(self.one(&kind))).filter(|kind| !kind.is_empty()),
            external_ids: match self.pick(8) {
                0 | 1 => map(&[("logical-router", "x")]),
                5 => map(&[
                    ("logical-router", "x"),
                    (
                        "mac_binding_age_threshold",
                        self.one(&["0", "7", "60", "x"]),
                    ),
                ]),
                7 => map(&[(
                    "only_dgp_peer_ports",
                    self.one(&["true", "true", "false", "x"]),
                )]),
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

    pub(super) fn edit_settings(&mut self) {
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
            iface_types: [s(self.one(&["geneve", "vxlan"]))].into(),
            external_ids,
            ..Default::default()
        };
        self.vs(vec![RowUpdate::insert(uuid(101, 0), row).into()]);
    }

    pub(super) fn edit_rest(&mut self) {
        match self.pick(12) {
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
            1 | 11 => {
                let band = sb::MeterBand {
                    action: s("drop"),
                    rate: 1 + self.pick(9) as i64,
                    burst_size: self.pick(3) as i64,
                };
                let row = sb::Meter {
                    name: s(self.one(&["m1", "m1", "m2"])),
                    unit: s(self.one(&["pktps", "kbps"])),
                    bands: if self.chance(90) {
                        [uuid(14, 0)].into()
                    } else {
                        Default::default()
                    },
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
                code: code + i64::from(self.chance(20)),
                type_: s(self.one(&[ty, ty, "uint8"])),
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
            code: code + i64::from(self.chance(20)),
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
}
