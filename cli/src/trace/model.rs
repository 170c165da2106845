//! The southbound database as a trace needs it: indexed by what a packet meets.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use weft_lang::{
    Action, Const, Env, Expr, Int, Pipeline, check, parse_actions, parse_constants, parse_match,
};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use super::names::Names;
use super::port_security::Rule;

/// A logical flow with what it means, read when a packet first comes to its table.
#[derive(Debug)]
pub struct Flow {
    /// Its row.
    pub uuid: Uuid,
    /// Priority.
    pub priority: i64,
    /// Match as text.
    pub match_text: Str,
    /// Actions as text.
    actions_text: Str,
    /// `stage-name`
    pub stage: Option<Str>,
    /// `source`: where in northd it was made.
    pub source: Option<Str>,
    /// `stage-hint`: beginning of the UUID of the northbound row it was made for.
    pub hint: Option<Str>,
    parsed: OnceCell<Option<(Expr, Vec<Action>)>>,
}

impl Flow {
    /// Match, with what the actions imply, and actions; none if they cannot be read, which is logged.
    pub fn parsed(&self) -> Option<&(Expr, Vec<Action>)> {
        let parse = || {
            let warn = |text: &str, what: &str, error: &dyn std::fmt::Display| {
                tracing::warn!(target: "ovntrace", "{text}: parsing {what} failed ({error})");
            };
            let actions = parse_actions(&self.actions_text)
                .map_err(|e| warn(&self.actions_text, "actions", &e))
                .ok()?;
            let expr = parse_match(&self.match_text)
                .map_err(|e| warn(&self.match_text, "expression", &e))
                .ok()?;
            let expr = Expr::all([expr, check::action_prerequisites(&actions)]);
            Some((expr, actions))
        };
        self.parsed.get_or_init(parse).as_ref()
    }

    /// Whether it only passes every packet on: not worth showing.
    pub fn is_trivial(&self, table: u8) -> bool {
        let next = |actions: &[Action]| match actions {
            [Action::Next(None)] => true,
            [Action::Next(Some(to))] => *to == table + 1,
            _ => false,
        };
        matches!(self.parsed(), Some((Expr::Bool(true), actions)) if next(actions))
    }
}

/// A logical switch or router.
#[derive(Debug, Default)]
pub struct Datapath {
    /// Row of Datapath_Binding.
    pub uuid: Uuid,
    /// Key.
    pub key: u32,
    /// Row of Logical_Switch or Logical_Router.
    nb_uuid: Option<Uuid>,
    name: String,
    name2: Option<String>,
    /// Name to show.
    pub friendly: String,
    /// Ports by key.
    pub ports: BTreeMap<u32, Port>,
    /// Multicast groups by key: name and members.
    pub groups: BTreeMap<u32, (Str, Vec<u32>)>,
    /// Keys of ports and groups by name.
    keys: HashMap<Str, u32>,
    /// Whether it has an `l3gateway` port.
    pub is_gateway: bool,
    /// Backends of its load balancers: protocol and port, if the virtual address has a port, and address.
    pub backends: HashSet<(Option<(u128, u16)>, IpAddr)>,
    /// Flows by table, highest priority first.
    pub tables: BTreeMap<(Pipeline, u8), Vec<usize>>,
    neighbours: HashMap<(u32, IpAddr), [u8; 6]>,
    fdb: HashMap<[u8; 6], u32>,
}

impl Datapath {
    /// Who has that address behind a port.
    pub fn neighbour(&self, port: u32, ip: IpAddr) -> Option<[u8; 6]> {
        self.neighbours.get(&(port, ip)).copied()
    }

    /// Behind which port an Ethernet address was seen.
    pub fn learned(&self, mac: [u8; 6]) -> Option<u32> {
        self.fdb.get(&mac).copied()
    }
}

/// A port of a datapath.
#[derive(Debug)]
pub struct Port {
    /// Name in the database.
    pub name: Str,
    /// Name to show.
    pub friendly: String,
    /// Type.
    pub type_: Str,
    /// Name of the peer of a patch port.
    peer: Option<Str>,
    /// Name of the port that a `chassisredirect` port stands for.
    pub distributed: Option<Str>,
    /// What may come from and go to it; everything if empty.
    pub security: Vec<Rule>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Model {
    /// All datapaths.
    pub datapaths: Vec<Datapath>,
    /// All flows.
    pub flows: Vec<Flow>,
    by_uuid: HashMap<Uuid, usize>,
    ports: HashMap<Str, (usize, u32)>,
    address_sets: HashMap<Str, Vec<Int>>,
    port_groups: HashMap<Str, Vec<Str>>,
    /// What to show in place of long names.
    pub names: Names,
}

/// Whether a datapath, or a port, can be found under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    One(usize),
    /// Several are called so.
    Many,
    /// None is.
    None,
}

impl Model {
    /// From a replica; with `friendly`, long names are replaced in what is shown.
    pub fn new(db: &sb::Db, friendly: bool) -> Self {
        let mut model = Model::default();
        model.load_datapaths(db, friendly);
        model.load_ports(db, friendly);
        model.load_groups(db);
        model.load_flows(db);
        model.load_learned(db);
        model.load_balancers(db);
        model
    }

    fn load_balancers(&mut self, db: &sb::Db) {
        for (_, row) in db.load_balancer.iter() {
            let groups = [row.datapath_group, row.ls_datapath_group];
            let groups = groups.into_iter().flatten();
            let members = groups.filter_map(|group| db.logical_dp_group.get(group));
            let mut datapaths: Vec<Uuid> = members
                .flat_map(|group| group.datapaths.iter().copied())
                .collect();
            datapaths.extend(row.datapaths.iter());
            let protocol = match row.protocol.as_deref() {
                Some("udp") => 17,
                Some("sctp") => 132,
                _ => 6,
            };
            let backend = |text: &str| -> Option<(Option<(u128, u16)>, IpAddr)> {
                if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
                    return Some((Some((protocol, socket.port())), socket.ip()));
                }
                Some((None, text.parse().ok()?))
            };
            let texts = row
                .vips
                .iter()
                .flat_map(|(_, backends)| backends.split(','));
            let backends: Vec<_> = texts.filter_map(|text| backend(text.trim())).collect();
            for at in datapaths.iter().filter_map(|uuid| self.by_uuid.get(uuid)) {
                self.datapaths[*at].backends.extend(&backends);
            }
        }
    }

    fn load_datapaths(&mut self, db: &sb::Db, friendly: bool) {
        for (uuid, row) in db.datapath_binding.iter() {
            let id = |key: &str| row.external_ids.get(key).map(ToString::to_string);
            let nb = id("logical-switch").or_else(|| id("logical-router"));
            let nb_uuid = nb.and_then(|text| text.parse().ok()).or(row.nb_uuid);
            let name = id("name").unwrap_or_else(|| nb_uuid.unwrap_or(uuid).to_string());
            let name2 = id("name2").filter(|name| !name.is_empty());
            let friendly = match (friendly, &name2) {
                (false, _) => nb_uuid.unwrap_or(uuid).to_string(),
                (true, Some(name2)) => name2.clone(),
                (true, None) => super::names::shorten(&name),
            };
            self.by_uuid.insert(uuid, self.datapaths.len());
            let key = row.tunnel_key as u32;
            self.datapaths.push(Datapath {
                uuid,
                key,
                nb_uuid,
                name,
                name2,
                friendly,
                ..Datapath::default()
            });
        }
    }

    fn load_ports(&mut self, db: &sb::Db, friendly: bool) {
        for (_, row) in db.port_binding.iter() {
            let Some(&at) = self.by_uuid.get(&row.datapath) else {
                tracing::warn!(target: "ovntrace", "logical port {} missing datapath", row.logical_port);
                continue;
            };
            let key = row.tunnel_key as u32;
            let given = row.external_ids.nonempty("name");
            let shown = match (friendly, given) {
                (false, _) => row.logical_port.to_string(),
                (true, Some(name)) => name.to_string(),
                (true, None) => super::names::shorten(&row.logical_port),
            };
            self.names.add(&row.logical_port, &shown);
            let port = Port {
                name: row.logical_port.clone(),
                friendly: shown,
                type_: row.type_.clone(),
                peer: row.options.get("peer").cloned(),
                distributed: row.options.get("distributed-port").cloned(),
                security: row
                    .port_security
                    .iter()
                    .filter_map(|text| Rule::parse(text))
                    .collect(),
            };
            let datapath = &mut self.datapaths[at];
            datapath.is_gateway |= &*row.type_ == "l3gateway";
            datapath.keys.insert(row.logical_port.clone(), key);
            datapath.ports.insert(key, port);
            self.ports.insert(row.logical_port.clone(), (at, key));
        }
    }

    fn load_groups(&mut self, db: &sb::Db) {
        for (_, row) in db.multicast_group.iter() {
            let Some(&at) = self.by_uuid.get(&row.datapath) else {
                tracing::warn!(target: "ovntrace", "logical multicast group {} missing datapath", row.name);
                continue;
            };
            let members = row
                .ports
                .iter()
                .filter_map(|uuid| db.port_binding.get(*uuid));
            let mut members: Vec<&sb::PortBinding> = members
                .filter(|port| port.datapath == row.datapath)
                .collect();
            members.sort_by(|a, b| a.logical_port.cmp(&b.logical_port));
            let keys = members.iter().map(|port| port.tunnel_key as u32).collect();
            let datapath = &mut self.datapaths[at];
            datapath
                .keys
                .entry(row.name.clone())
                .or_insert(row.tunnel_key as u32);
            datapath
                .groups
                .insert(row.tunnel_key as u32, (row.name.clone(), keys));
        }
        for (_, row) in db.address_set.iter() {
            let addresses = row
                .addresses
                .iter()
                .filter_map(|text| parse_constants(text).ok());
            let ints = addresses.flat_map(|(constants, _)| constants);
            let ints = ints
                .filter_map(|constant| constant.as_int().copied())
                .collect();
            self.address_sets.insert(row.name.clone(), ints);
        }
        for (_, row) in db.port_group.iter() {
            self.port_groups
                .insert(row.name.clone(), row.ports.to_vec());
        }
    }

    fn load_flows(&mut self, db: &sb::Db) {
        for (uuid, row) in db.logical_flow.iter() {
            let pipeline = if &*row.pipeline == "egress" {
                Pipeline::Egress
            } else {
                Pipeline::Ingress
            };
            let group = row
                .logical_dp_group
                .and_then(|group| db.logical_dp_group.get(group));
            let of_group = group
                .into_iter()
                .flat_map(|group| group.datapaths.iter().copied());
            let datapaths: HashSet<Uuid> =
                row.logical_datapath.into_iter().chain(of_group).collect();
            for at in datapaths.iter().filter_map(|uuid| self.by_uuid.get(uuid)) {
                let tables = &mut self.datapaths[*at].tables;
                tables
                    .entry((pipeline, row.table_id as u8))
                    .or_default()
                    .push(self.flows.len());
            }
            let id = |key: &str| row.external_ids.get(key).cloned();
            self.flows.push(Flow {
                uuid,
                priority: row.priority,
                match_text: row.match_.clone(),
                actions_text: row.actions.clone(),
                stage: id("stage-name"),
                source: id("source"),
                hint: id("stage-hint"),
                parsed: OnceCell::new(),
            });
        }
        let flows = &self.flows;
        for table in self
            .datapaths
            .iter_mut()
            .flat_map(|datapath| datapath.tables.values_mut())
        {
            // Of equal priority the order is of no meaning, but must not change from run to run.
            table.sort_by_key(|at| {
                let flow = &flows[*at];
                std::cmp::Reverse((flow.priority, &flow.match_text, &flow.actions_text))
            });
        }
    }

    fn load_learned(&mut self, db: &sb::Db) {
        let learned = db
            .mac_binding
            .iter()
            .map(|(_, row)| (row.datapath, &row.logical_port, &row.ip, &row.mac, false));
        let given = db.static_mac_binding.iter().map(|(_, row)| {
            (
                row.datapath,
                &row.logical_port,
                &row.ip,
                &row.mac,
                row.override_dynamic_mac,
            )
        });
        // Of the same address the last one counts: what was given by hand only if it is to override.
        let mut bindings: Vec<_> = given.chain(learned).collect();
        bindings.sort_by_key(|(.., overrides)| *overrides);
        for (datapath, port, ip, mac, _) in bindings {
            let Some(datapath) = self
                .by_uuid
                .get(&datapath)
                .map(|at| &mut self.datapaths[*at])
            else {
                continue;
            };
            let Some(key) = datapath.keys.get(&**port).copied() else {
                tracing::warn!(target: "ovntrace", "missing port {port}");
                continue;
            };
            match (ip.parse(), weft_lang::lexer::parse_mac(mac)) {
                (Ok(ip), Some(mac)) => {
                    datapath.neighbours.insert((key, ip), mac);
                }
                (Err(_), _) => tracing::warn!(target: "ovntrace", "{ip}: bad IP address"),
                (_, None) => tracing::warn!(target: "ovntrace", "{mac}: bad Ethernet address"),
            }
        }
        for (_, row) in db.fdb.iter() {
            let datapath = self
                .datapaths
                .iter_mut()
                .find(|datapath| i64::from(datapath.key) == row.dp_key);
            if let (Some(datapath), Some(mac)) = (datapath, weft_lang::lexer::parse_mac(&row.mac)) {
                datapath.fdb.insert(mac, row.port_key as u32);
            }
        }
    }

    /// The datapath of that name, or UUID there or in the northbound database.
    pub fn datapath(&self, name: &str) -> Found {
        let uuid: Option<Uuid> = name.parse().ok();
        let by_uuid =
            |dp: &Datapath| uuid.is_some_and(|uuid| dp.uuid == uuid || dp.nb_uuid == Some(uuid));
        if let Some(at) = self.datapaths.iter().position(by_uuid) {
            return Found::One(at);
        }
        let named = |dp: &&Datapath| {
            dp.name == name || dp.name2.as_deref() == Some(name) || dp.friendly == name
        };
        let mut found = self
            .datapaths
            .iter()
            .enumerate()
            .filter(|(_, dp)| named(dp));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Found::One(at),
            (None, _) => Found::None,
            (Some(_), Some(_)) => Found::Many,
        }
    }

    /// Datapath and key of a port by its name, or by the friendly one.
    pub fn port(&self, name: &str) -> Option<(usize, u32)> {
        if let Some(found) = self.ports.get(name) {
            return Some(*found);
        }
        let mut found = self
            .ports
            .values()
            .filter(|(at, key)| self.datapaths[*at].ports[key].friendly == name);
        match (found.next(), found.next()) {
            (Some(one), None) => Some(*one),
            (None, _) => None,
            (Some(_), Some(_)) => {
                tracing::warn!(target: "ovntrace", "name \"{name}\" matches multiple ports");
                None
            }
        }
    }

    /// The other end of a patch port.
    pub fn peer(&self, port: &Port) -> Option<(usize, u32)> {
        let patched = matches!(&*port.type_, "patch" | "l3gateway");
        let peer = port.peer.as_ref().filter(|_| patched)?;
        self.ports.get(peer).copied()
    }

    /// What names in flows of a datapath mean.
    pub fn env(&self, datapath: usize) -> Scope<'_> {
        Scope {
            model: self,
            datapath: &self.datapaths[datapath],
        }
    }
}

/// What names mean in the flows of one datapath.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'m> {
    model: &'m Model,
    datapath: &'m Datapath,
}

impl Env for Scope<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        // How northd writes "no port" where it looks for an address that nobody is known to have.
        if matches!(name, "" | "none") {
            return Some(0);
        }
        if let Some(key) = self.datapath.keys.get(name) {
            return Some(*key);
        }
        let (at, key) = self.model.port(name)?;
        (self.model.datapaths[at].uuid == self.datapath.uuid).then_some(key)
    }

    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        self.model.address_sets.get(name).cloned()
    }

    fn port_group(&self, _: weft_lang::Field, name: &str) -> Option<Vec<u32>> {
        // The southbound has a group per datapath, whose key is part of its name.
        let here = format!("{}_{name}", self.datapath.key);
        let groups = &self.model.port_groups;
        let ports = groups.get(here.as_str()).or_else(|| groups.get(name))?;
        Some(
            ports
                .iter()
                .filter_map(|port| self.datapath.keys.get(port).copied())
                .collect(),
        )
    }

    /// A trace is of no chassis: every port that exists is where the packet is.
    fn is_resident(&self, port: &str) -> bool {
        let known = self.model.ports.contains_key(port);
        if !known && !port.is_empty() {
            tracing::warn!(target: "ovntrace", "{port}: unknown logical port");
        }
        known
    }
}

/// The constant of a `Set` as bits.
pub fn constant_bits(constant: &Const, env: &impl Env) -> u128 {
    match constant {
        Const::Int(int) => int.value(),
        Const::Str(name) => env.port(name).map_or(0, u128::from),
        Const::Set(_) | Const::Group(_) | Const::Template(_) => 0,
    }
}
