//! Northbound columns that northd fills: `up`, `dynamic_addresses` and `tag` of switch ports, what became of their health
//! checks, options of `NB_Global`, and how far configuration has come.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::nb;

use crate::output::Output;

#[derive(Default, Debug)]
struct Port {
    up: Option<bool>,
    dynamic: Option<Str>,
    tag: Option<i64>,
}

/// What northd wants in the northbound, and which rows to compare.
#[derive(Debug)]
pub struct North {
    ports: FxHashMap<Uuid, Port>,
    options: FxHashMap<Str, Str>,
    /// `BFD.status`
    bfds: FxHashMap<Uuid, Str>,
    /// `Logical_Router_Port.ipv6_prefix`
    prefixes: FxHashMap<Uuid, Set<Str>>,
    /// `Logical_Switch_Port_Health_Check.status`
    checks: FxHashMap<Uuid, Str>,
    /// `Network_Function_Group.network_function_active`
    functions: FxHashMap<Uuid, Option<Uuid>>,
    dirty: BTreeSet<Uuid>,
    global_dirty: bool,
    /// Sequence numbers and timestamps to be written.
    pub cfg: super::cfg::Progress,
}

impl Default for North {
    /// Begins with a look at `NB_Global`: it must exist.
    fn default() -> Self {
        North {
            ports: FxHashMap::default(),
            options: FxHashMap::default(),
            bfds: FxHashMap::default(),
            prefixes: FxHashMap::default(),
            checks: FxHashMap::default(),
            functions: FxHashMap::default(),
            dirty: BTreeSet::new(),
            global_dirty: true,
            cfg: super::cfg::Progress::default(),
        }
    }
}

impl North {
    /// Takes over an output that came or went.
    pub fn output(&mut self, output: &Output, present: bool) {
        fn set<T: PartialEq + Clone>(slot: &mut Option<T>, value: &T, present: bool) {
            if present {
                *slot = Some(value.clone());
            } else if slot.as_ref() == Some(value) {
                *slot = None;
            }
        }
        let port = match output {
            Output::LspUp(port, up) => {
                set(&mut self.ports.entry(*port).or_default().up, up, present);
                port
            }
            Output::LspDynamic(port, text) => {
                set(
                    &mut self.ports.entry(*port).or_default().dynamic,
                    text,
                    present,
                );
                port
            }
            Output::LspTag(port, tag) => {
                set(&mut self.ports.entry(*port).or_default().tag, tag, present);
                port
            }
            Output::BfdStatus(row, status) => {
                if present {
                    self.bfds.insert(*row, status.clone());
                } else if self.bfds.get(row) == Some(status) {
                    self.bfds.remove(row);
                }
                row
            }
            Output::ActiveFunction(row, active) => {
                if present {
                    self.functions.insert(*row, *active);
                } else if self.functions.get(row) == Some(active) {
                    self.functions.remove(row);
                }
                row
            }
            Output::PortCheckStatus(row, status) => {
                if present {
                    self.checks.insert(*row, status.clone());
                } else if self.checks.get(row) == Some(status) {
                    self.checks.remove(row);
                }
                row
            }
            Output::LrpPrefixes(row, given) => {
                if present {
                    self.prefixes.insert(*row, given.clone());
                } else if self.prefixes.get(row) == Some(given) {
                    self.prefixes.remove(row);
                }
                row
            }
            Output::NbOption(name, value) => {
                self.global_dirty = true;
                if present {
                    self.options.insert(name.clone(), value.clone());
                } else if self.options.get(name) == Some(value) {
                    self.options.remove(name);
                }
                return;
            }
            _ => return,
        };
        self.dirty.insert(*port);
    }

    /// Follows the northbound: somebody may have overwritten what is northd's.
    pub fn nb_changed(&mut self, change: &nb::Change) {
        match change {
            nb::Change::LogicalSwitchPort(c) => {
                self.dirty.insert(c.uuid);
            }
            nb::Change::Bfd(c) => {
                self.dirty.insert(c.uuid);
            }
            nb::Change::LogicalRouterPort(c) if self.prefixes.contains_key(&c.uuid) => {
                self.dirty.insert(c.uuid);
            }
            nb::Change::NetworkFunctionGroup(c) => {
                self.dirty.insert(c.uuid);
            }
            nb::Change::LogicalSwitchPortHealthCheck(c) => {
                self.dirty.insert(c.uuid);
            }
            nb::Change::NbGlobal(_) => self.global_dirty = true,
            _ => {}
        }
    }

    /// Compare everything.
    pub fn all_dirty(&mut self) {
        self.dirty
            .extend(self.ports.keys().chain(self.bfds.keys()).copied());
        self.dirty.extend(self.prefixes.keys().copied());
        self.dirty.extend(self.checks.keys().copied());
        self.dirty.extend(self.functions.keys().copied());
        self.global_dirty = true;
    }

    /// Compare one row again.
    pub fn touch(&mut self, row: Uuid) {
        self.dirty.insert(row);
    }

    /// Compare `NB_Global` again.
    pub fn touch_global(&mut self) {
        self.global_dirty = true;
    }

    /// Nothing needs to be compared.
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty() && !self.global_dirty
    }

    /// Writes all differences into a transaction.
    pub fn flush(&mut self, txn: &mut Txn, db: &nb::Db, set_aside: &impl Fn(Uuid) -> bool) {
        use nb::logical_switch_port as column;
        for uuid in std::mem::take(&mut self.dirty) {
            if set_aside(uuid) {
                continue;
            }
            if let Some(have) = db.bfd.get(uuid) {
                self.flush_bfd(txn, uuid, have);
                continue;
            }
            if let Some(have) = db.logical_router_port.get(uuid) {
                self.flush_prefixes(txn, uuid, have);
                continue;
            }
            if let Some(have) = db.network_function_group.get(uuid) {
                self.flush_function(txn, uuid, have);
                continue;
            }
            if let Some(have) = db.logical_switch_port_health_check.get(uuid) {
                self.flush_check(txn, uuid, have);
                continue;
            }
            let Some(have) = db.logical_switch_port.get(uuid) else {
                self.ports.remove(&uuid);
                continue;
            };
            let default = Port::default();
            let want = self.ports.get(&uuid).unwrap_or(&default);
            let mut row = nb::LogicalSwitchPort {
                dynamic_addresses: want.dynamic.clone(),
                ..Default::default()
            };
            let mut mask = 0;
            if have.dynamic_addresses != row.dynamic_addresses {
                mask |= column::DYNAMIC_ADDRESSES;
            }
            if want.up.is_some() && have.up != want.up {
                row.up = want.up;
                mask |= column::UP;
            }
            if want.tag.is_some() && have.tag != want.tag {
                row.tag = want.tag;
                mask |= column::TAG;
            }
            if mask != 0 {
                txn.update(uuid, &row, mask);
                txn.may_cut();
            }
        }
        if std::mem::take(&mut self.global_dirty) {
            match db.nb_global.iter().next() {
                Some((uuid, have)) => self.flush_global(txn, uuid, have),
                None => {
                    txn.insert(&nb::NbGlobal::default(), 0, Uuid::random());
                }
            }
        }
    }

    fn flush_bfd(&self, txn: &mut Txn, uuid: Uuid, have: &nb::Bfd) {
        let want = self.bfds.get(&uuid);
        if want.is_some() && have.status.as_ref() != want {
            let row = nb::Bfd {
                status: want.cloned(),
                ..Default::default()
            };
            txn.update(uuid, &row, nb::bfd::STATUS);
            txn.may_cut();
        }
    }

    fn flush_function(&self, txn: &mut Txn, uuid: Uuid, have: &nb::NetworkFunctionGroup) {
        let want = self.functions.get(&uuid).copied();
        if let Some(want) = want.filter(|want| have.network_function_active != *want) {
            let row = nb::NetworkFunctionGroup {
                network_function_active: want,
                ..Default::default()
            };
            let column = nb::network_function_group::NETWORK_FUNCTION_ACTIVE;
            txn.update(uuid, &row, column);
            txn.may_cut();
        }
    }

    fn flush_check(&self, txn: &mut Txn, uuid: Uuid, have: &nb::LogicalSwitchPortHealthCheck) {
        let want = self.checks.get(&uuid);
        if want.is_some() && have.status.as_ref() != want {
            let row = nb::LogicalSwitchPortHealthCheck {
                status: want.cloned(),
                ..Default::default()
            };
            txn.update(uuid, &row, nb::logical_switch_port_health_check::STATUS);
            txn.may_cut();
        }
    }

    fn flush_prefixes(&self, txn: &mut Txn, uuid: Uuid, have: &nb::LogicalRouterPort) {
        let want = self.prefixes.get(&uuid);
        if let Some(want) = want.filter(|want| have.ipv6_prefix != **want) {
            let row = nb::LogicalRouterPort {
                ipv6_prefix: want.clone(),
                ..Default::default()
            };
            txn.update(uuid, &row, nb::logical_router_port::IPV6_PREFIX);
            txn.may_cut();
        }
    }

    fn flush_global(&self, txn: &mut Txn, uuid: Uuid, have: &nb::NbGlobal) {
        for (name, value) in &self.options {
            if have.options.get(name) != Some(value) {
                let pair = |map| nb::NbGlobal {
                    options: map,
                    ..Default::default()
                };
                if have.options.contains_key(name) {
                    txn.remove_keys::<nb::NbGlobal>(uuid, nb::nb_global::OPTIONS, [&**name]);
                }
                let map = Map::from_iter([(name.clone(), value.clone())]);
                txn.mutate_insert(uuid, &pair(map), nb::nb_global::OPTIONS);
            }
        }
        let (row, mask) = self.cfg.difference(have);
        if mask != 0 {
            txn.update(uuid, &row, mask);
        }
    }
}
