//! A compiler on a bench: northbound rows in, logical flows out, without databases. For the tests of features.
//!
//! Every look at the flows also compares them with those of a compilation from scratch.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_ovsdb::model::{Map, Row, RowUpdate, Set, Str, Uuid};
use weft_schemas::{nb, sb};

use crate::compiler::Compiler;
use crate::output::{DpSet, Output, SetName};
use crate::program::Settings;

/// A map column.
pub fn map<const N: usize>(entries: [(&str, &str); N]) -> Map<Str, Str> {
    entries
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

/// A set column.
pub fn set<const N: usize>(members: [&str; N]) -> Set<Str> {
    members.into_iter().map(Str::from).collect()
}

/// The bench.
pub struct Bed {
    compiler: Compiler,
    rows: u128,
}

impl Default for Bed {
    fn default() -> Bed {
        Bed::new()
    }
}

impl Bed {
    /// With a row of `NB_Global` and nothing else.
    pub fn new() -> Bed {
        let mut bed = Bed {
            compiler: Compiler::new(Settings::default()).unwrap(),
            rows: 0,
        };
        bed.insert(nb::NbGlobal::default());
        bed
    }

    /// A new row.
    pub fn insert<R: Row>(&mut self, row: R) -> Uuid
    where
        nb::Update: From<RowUpdate<R>>,
    {
        // Far apart in the part that hints show.
        self.rows += 1;
        let uuid = Uuid(self.rows << 96 | self.rows);
        self.compiler.nb_update(RowUpdate::insert(uuid, row).into());
        uuid
    }

    /// Inserts a row of the southbound.
    pub fn insert_sb<R: Row>(&mut self, row: R) -> Uuid
    where
        weft_schemas::sb::Update: From<RowUpdate<R>>,
    {
        self.rows += 1;
        let uuid = Uuid(self.rows << 96 | self.rows);
        self.compiler.sb_update(RowUpdate::insert(uuid, row).into());
        uuid
    }

    /// To look at.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Everything that is wanted.
    pub fn wanted(&mut self) -> Vec<Output> {
        self.compiler.run();
        self.compiler.engine().outputs().cloned().collect()
    }

    /// A row less.
    pub fn remove<R: Row>(&mut self, uuid: Uuid)
    where
        nb::Update: From<RowUpdate<R>>,
    {
        self.compiler.nb_update(RowUpdate::<R>::delete(uuid).into());
    }

    /// Replaces a row.
    pub fn put<R: Row>(&mut self, uuid: Uuid, row: R)
    where
        nb::Update: From<RowUpdate<R>>,
    {
        self.compiler
            .nb_update(RowUpdate::replace(uuid, row, !0).into());
    }

    /// Writes a southbound row that chassis fill.
    pub fn sb_put<R: Row>(&mut self, uuid: Uuid, row: R)
    where
        sb::Update: From<RowUpdate<R>>,
    {
        self.compiler
            .sb_update(RowUpdate::replace(uuid, row, !0).into());
    }

    /// What the units yielded at the last look.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.compiler.engine().outputs()
    }

    /// Edits `NB_Global`.
    pub fn global(&mut self, edit: impl FnOnce(&mut nb::NbGlobal)) {
        let nb = &self.compiler.inputs().nb;
        let (uuid, row) = nb.nb_global.iter().next().unwrap();
        let mut row = row.clone();
        edit(&mut row);
        self.put(uuid, row);
    }

    /// A new switch.
    pub fn switch(&mut self, name: &str) -> Uuid {
        self.insert(nb::LogicalSwitch {
            name: name.into(),
            ..nb::LogicalSwitch::default()
        })
    }

    /// Edits a switch.
    pub fn edit_switch(&mut self, uuid: Uuid, edit: impl FnOnce(&mut nb::LogicalSwitch)) {
        let mut row = self
            .compiler
            .inputs()
            .nb
            .logical_switch
            .get(uuid)
            .unwrap()
            .clone();
        edit(&mut row);
        self.put(uuid, row);
    }

    /// A new port of a switch.
    pub fn port(
        &mut self,
        switch: Uuid,
        name: &str,
        edit: impl FnOnce(&mut nb::LogicalSwitchPort),
    ) -> Uuid {
        let mut row = nb::LogicalSwitchPort {
            name: name.into(),
            ..nb::LogicalSwitchPort::default()
        };
        edit(&mut row);
        let uuid = self.insert(row);
        self.edit_switch(switch, |row| {
            row.ports = row.ports.iter().copied().chain([uuid]).collect()
        });
        uuid
    }

    /// Edits a port of a switch.
    pub fn edit_port(&mut self, uuid: Uuid, edit: impl FnOnce(&mut nb::LogicalSwitchPort)) {
        let mut row = self
            .compiler
            .inputs()
            .nb
            .logical_switch_port
            .get(uuid)
            .unwrap()
            .clone();
        edit(&mut row);
        self.put(uuid, row);
    }

    /// Takes a port off its switch, by which it is gone.
    pub fn remove_port(&mut self, uuid: Uuid) {
        let switches: Vec<Uuid> = self.compiler.inputs().nb.logical_switch.uuids().collect();
        for switch in switches {
            self.edit_switch(switch, |row| {
                row.ports = row
                    .ports
                    .iter()
                    .copied()
                    .filter(|port| *port != uuid)
                    .collect()
            });
        }
        self.compiler
            .nb_update(RowUpdate::<nb::LogicalSwitchPort>::delete(uuid).into());
    }

    /// A new router with a port (`ROUTER-SWITCH`) on a switch, whose port (`SWITCH-ROUTER`) takes the addresses of the
    /// router. The switch port is returned.
    pub fn router_on(&mut self, switch: Uuid, router: &str, mac: &str, networks: &[&str]) -> Uuid {
        let name = self
            .compiler
            .inputs()
            .nb
            .logical_switch
            .get(switch)
            .unwrap()
            .name
            .clone();
        let there = format!("{router}-{name}");
        let port = self.insert(nb::LogicalRouterPort {
            name: there.as_str().into(),
            mac: mac.into(),
            networks: networks.iter().copied().map(Str::from).collect(),
            ..nb::LogicalRouterPort::default()
        });
        self.insert(nb::LogicalRouter {
            name: router.into(),
            ports: [port].into_iter().collect(),
            ..nb::LogicalRouter::default()
        });
        self.port(switch, &format!("{name}-{router}"), |row| {
            row.type_ = "router".into();
            row.addresses = set(["router"]);
            row.options = map([("router-port", &there)]);
        })
    }

    /// Edits a router.
    pub fn edit_router(&mut self, name: &str, edit: impl FnOnce(&mut nb::LogicalRouter)) {
        let mut routers = self.compiler.inputs().nb.logical_router.iter();
        let (uuid, row) = routers.find(|(_, row)| &*row.name == name).unwrap();
        let mut row = row.clone();
        drop(routers);
        edit(&mut row);
        self.put(uuid, row);
    }

    /// A new static route of a router.
    pub fn route(
        &mut self,
        router: &str,
        prefix: &str,
        nexthop: &str,
        edit: impl FnOnce(&mut nb::LogicalRouterStaticRoute),
    ) -> Uuid {
        let mut row = nb::LogicalRouterStaticRoute {
            ip_prefix: prefix.into(),
            nexthop: nexthop.into(),
            ..nb::LogicalRouterStaticRoute::default()
        };
        edit(&mut row);
        let uuid = self.insert(row);
        self.edit_router(router, |row| {
            row.static_routes = row.static_routes.iter().copied().chain([uuid]).collect()
        });
        uuid
    }

    /// A new address translation of a router: `"snat 172.16.0.1 10.0.0.0/24"`.
    pub fn nat(&mut self, router: &str, rule: &str, edit: impl FnOnce(&mut nb::Nat)) -> Uuid {
        let [kind, external, logical] = rule.split(' ').collect::<Vec<_>>()[..] else {
            panic!("three words: {rule}");
        };
        let mut row = nb::Nat {
            type_: kind.into(),
            external_ip: external.into(),
            logical_ip: logical.into(),
            ..nb::Nat::default()
        };
        edit(&mut row);
        let uuid = self.insert(row);
        self.edit_router(router, |row| {
            row.nat = row.nat.iter().copied().chain([uuid]).collect()
        });
        uuid
    }

    /// Edits a rule.
    pub fn edit_nat(&mut self, uuid: Uuid, edit: impl FnOnce(&mut nb::Nat)) {
        let mut row = self.compiler.inputs().nb.nat.get(uuid).unwrap().clone();
        edit(&mut row);
        self.put(uuid, row);
    }

    /// One more port of a router that exists.
    pub fn router_port_on(&mut self, switch: Uuid, router: &str, mac: &str, networks: &[&str]) {
        let nb = &self.compiler.inputs().nb;
        let name = nb.logical_switch.get(switch).unwrap().name.clone();
        let there = format!("{router}-{name}");
        let port = self.insert(nb::LogicalRouterPort {
            name: there.as_str().into(),
            mac: mac.into(),
            networks: networks.iter().copied().map(Str::from).collect(),
            ..nb::LogicalRouterPort::default()
        });
        self.edit_router(router, |row| {
            row.ports = row.ports.iter().copied().chain([port]).collect()
        });
        self.port(switch, &format!("{name}-{router}"), |row| {
            row.type_ = "router".into();
            row.addresses = set(["router"]);
            row.options = map([("router-port", &there)]);
        });
    }

    /// How often units of a kind have run.
    pub fn runs(&self, kind: &str) -> u64 {
        self.compiler
            .stats()
            .get(kind)
            .map_or(0, |stats| stats.runs)
    }

    /// Binds a router port to chassis, the first of the highest priority.
    pub fn gateway_chassis(&mut self, port: &str, chassis: &[&str]) {
        let most = chassis.len() as i64;
        let rows: Vec<Uuid> = (0..most)
            .zip(chassis)
            .map(|(n, chassis)| {
                self.insert(nb::GatewayChassis {
                    name: format!("{port}-{chassis}").as_str().into(),
                    chassis_name: (*chassis).into(),
                    priority: most - n,
                    ..nb::GatewayChassis::default()
                })
            })
            .collect();
        self.edit_router_port(port, |row| row.gateway_chassis = rows.into_iter().collect());
    }

    /// Edits a port of a router.
    pub fn edit_router_port(&mut self, name: &str, edit: impl FnOnce(&mut nb::LogicalRouterPort)) {
        let mut ports = self.compiler.inputs().nb.logical_router_port.iter();
        let (uuid, row) = ports.find(|(_, row)| &*row.name == name).unwrap();
        let mut row = row.clone();
        drop(ports);
        edit(&mut row);
        self.put(uuid, row);
    }

    /// The flows of switches in whose text `filter` occurs, one per line, sorted:
    /// `DATAPATHS STAGE PRIORITY | MATCH | ACTIONS`.
    pub fn flows(&mut self, filter: &str) -> String {
        self.list(filter, |name, _| name.starts_with("ls_"))
    }

    /// As [`Bed::flows`], those of routers too.
    pub fn all_flows(&mut self, filter: &str) -> String {
        self.list(filter, |_, _| true)
    }

    /// As [`Bed::flows`], only those that come from a certain row.
    pub fn flows_of_ports(&mut self, filter: &str) -> String {
        self.list(filter, |name, hint| name.starts_with("ls_") && hint != 0)
    }

    fn list(&mut self, filter: &str, wanted: impl Fn(&str, u32) -> bool) -> String {
        self.compiler.run();
        assert_eq!(
            self.compiler.audit().unwrap().len(),
            0,
            "incremental and from scratch differ"
        );
        let nb = &self.compiler.inputs().nb;
        let switch = |uuid: &Uuid| {
            nb.logical_switch
                .get(*uuid)
                .map(|row| Arc::clone(&row.name))
        };
        let router = |uuid: &Uuid| {
            nb.logical_router
                .get(*uuid)
                .map(|row| Arc::clone(&row.name))
        };
        let mut lines: Vec<String> = Vec::new();
        let sets = self.named_sets();
        for output in self.compiler.engine().outputs() {
            let Output::Flow { flow, dps, origin } = output else {
                continue;
            };
            let members = match dps {
                DpSet::Named(set) => sets.get(set).map_or(&[][..], Vec::as_slice),
                listed => listed.as_slice(),
            };
            // Nobody is in the set.
            if members.is_empty() {
                continue;
            }
            let names: Vec<Str> = members
                .iter()
                .filter_map(|dp| switch(dp).or_else(|| router(dp)))
                .collect();
            let stage = flow.stage.info();
            let (name, priority, match_, actions) =
                (stage.name, flow.priority, &flow.match_, &flow.actions);
            let line = format!(
                "{} {name} {priority} | {match_} | {actions}",
                names.join(",")
            );
            if wanted(name, origin.hint) && line.contains(filter) {
                lines.push(format!("{:?} {:02} {line}", stage.pipeline, stage.table));
            }
        }
        // Stages in the order packets meet them; the numbers are not shown.
        lines.sort();
        lines.dedup();
        lines
            .iter()
            .map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The members of the sets that have a name, sorted.
    pub fn named_sets(&self) -> BTreeMap<SetName, Vec<Uuid>> {
        let mut sets: BTreeMap<SetName, Vec<Uuid>> = BTreeMap::new();
        for output in self.compiler.engine().outputs() {
            if let Output::Member(set, datapath) = output {
                sets.entry(*set).or_default().push(*datapath);
            }
        }
        sets.values_mut().for_each(|list| list.sort_unstable());
        sets
    }

    /// How many units run for what has changed.
    pub fn ran(&mut self) -> usize {
        self.compiler.run().ran
    }

    /// What the units complain about, one per line.
    pub fn diagnostics(&mut self) -> String {
        self.compiler.run();
        let mut lines: Vec<String> = self
            .compiler
            .engine()
            .diagnostics()
            .map(|(_, _, d)| d.to_string())
            .collect();
        lines.sort();
        lines.join("\n")
    }
}
