//! The compiler as one value: replicas in, differences of outputs out. Pure: no I/O, no clock, no chance.

use weft_engine::{Delta, Difference, Engine, GraphError, Registry};
use weft_ovsdb::model::{AnyChange, Database, EXISTENCE, Uuid};
use weft_schemas::{nb, sb};

use crate::features;
use crate::ledger::Ledgers;
use crate::program::{Fact, Inputs, Key, Northd, Per, Settings};
use crate::restore;

/// Engine, inputs and ledgers together.
pub struct Compiler {
    engine: Engine<Northd>,
    inputs: Inputs,
    ledgers: Ledgers,
    started: bool,
}

impl Compiler {
    /// With empty databases.
    pub fn new(settings: Settings) -> Result<Self, GraphError> {
        let inputs = Inputs {
            settings,
            ..Inputs::default()
        };
        Ok(Compiler {
            engine: Engine::new()?,
            inputs,
            ledgers: Ledgers::default(),
            started: false,
        })
    }

    /// What units read.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine<Northd> {
        &self.engine
    }

    /// Counters per kind.
    pub fn stats(&self) -> Registry {
        self.engine.stats()
    }

    /// Applies an update of the northbound.
    pub fn nb_update(&mut self, update: nb::Update) -> Option<nb::Change> {
        let change = self.inputs.nb.apply(update)?;
        self.nb_changed(&change);
        Some(change)
    }

    /// Replaces the northbound by a snapshot.
    pub fn nb_snapshot(&mut self, updates: Vec<nb::Update>) -> Vec<nb::Change> {
        let changes = self.inputs.nb.replace(updates);
        changes.iter().for_each(|change| self.nb_changed(change));
        changes
    }

    /// Applies an update of the southbound.
    pub fn sb_update(&mut self, update: sb::Update) -> Option<sb::Change> {
        let change = self.inputs.sb.apply(update)?;
        self.sb_changed(&change);
        Some(change)
    }

    /// Replaces the southbound by a snapshot.
    pub fn sb_snapshot(&mut self, updates: Vec<sb::Update>) -> Vec<sb::Change> {
        let changes = self.inputs.sb.replace(updates);
        changes.iter().for_each(|change| self.sb_changed(change));
        changes
    }

    fn nb_changed(&mut self, change: &nb::Change) {
        let Compiler { engine, inputs, .. } = self;
        let table = change.table_id();
        inputs
            .idx
            .nb_changed(&inputs.nb, change, &mut |fact| engine.touch(fact, 1));
        engine.touch(
            Fact::Nb(table as u8, change.uuid().into()),
            change.columns(),
        );
        if change.columns() & EXISTENCE != 0 {
            let there = nb_there(&inputs.nb, change);
            root(engine, Per::Nb(table), change.uuid(), there);
        }
    }

    fn sb_changed(&mut self, change: &sb::Change) {
        let Compiler { engine, inputs, .. } = self;
        let table = change.table_id();
        inputs
            .idx
            .sb_changed(change, &mut |fact| engine.touch(fact, 1));
        engine.touch(
            Fact::Sb(table as u8, change.uuid().into()),
            change.columns(),
        );
        if change.columns() & EXISTENCE != 0 {
            let there = sb_there(&inputs.sb, change);
            root(engine, Per::Sb(table), change.uuid(), there);
        }
    }

    /// Compiles what has changed. The first time, ledgers are restored from what the databases hold: both must be
    /// complete by then.
    pub fn run(&mut self) -> Delta<Northd> {
        if !self.started {
            self.started = true;
            restore::ledgers(&self.inputs, &mut self.ledgers);
            for entry in features::all().filter(|entry| entry.per.contains(&Per::All)) {
                self.engine.ensure(entry.kind.id(), Key::Global);
            }
        }
        self.engine.run(&self.inputs, &mut self.ledgers)
    }

    /// Whether [`Compiler::run`] would do anything.
    pub fn is_settled(&self) -> bool {
        self.started && self.engine.is_settled()
    }

    /// Runs every unit again at the next [`Compiler::run`].
    pub fn recompute(&mut self) {
        self.engine.touch_all();
    }

    /// It has compiled before.
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// It has compiled before, and the databases remember no allocation that contradicts its own: it may go on.
    pub fn may_continue(&self) -> bool {
        self.started && restore::agrees(&self.inputs, &self.ledgers)
    }

    /// Forgets outputs and ledgers, keeps the replicas: for a daemon that becomes active after another one was.
    pub fn restart(&mut self) -> Result<(), GraphError> {
        let mut fresh = Compiler::new(self.inputs.settings.clone())?;
        std::mem::swap(&mut fresh.inputs, &mut self.inputs);
        for (kind, per) in features::all().flat_map(|e| e.per.iter().map(|per| (e.kind.id(), *per)))
        {
            for uuid in rows_of(&fresh.inputs, per) {
                fresh.engine.ensure(kind, Key::Row(uuid));
            }
        }
        *self = fresh;
        Ok(())
    }

    /// Compiles everything anew beside the present result and lists the differences: none, or there is a fault in the
    /// program.
    pub fn audit(&self) -> Result<Vec<Difference<Northd>>, GraphError> {
        self.engine.audit(&self.inputs, &mut self.ledgers.clone())
    }

    /// The same as work that needs nothing of the compiler, so that it can go on meanwhile.
    pub fn audit_aside(
        &self,
    ) -> impl FnOnce() -> Result<Vec<Difference<Northd>>, GraphError> + Send + 'static {
        self.engine
            .audit_aside(self.inputs.clone(), self.ledgers.clone())
    }
}

/// Begins or ends the units of a row.
fn root(engine: &mut Engine<Northd>, per: Per, uuid: Uuid, there: bool) {
    for entry in features::all().filter(|entry| entry.per.contains(&per)) {
        if there {
            engine.ensure(entry.kind.id(), Key::Row(uuid));
        } else {
            engine.retire(entry.kind.id(), Key::Row(uuid));
        }
    }
}

/// Calls a macro with every table of which features have units.
macro_rules! rooted_tables {
    ($each:ident) => {
        $each! { nb Nb
            LogicalSwitch logical_switch, LogicalSwitchPort logical_switch_port, LogicalRouter logical_router,
            LogicalRouterPort logical_router_port, LogicalRouterStaticRoute logical_router_static_route,
            LogicalRouterPolicy logical_router_policy, Nat nat, Acl acl, Qos qos, AddressSet address_set,
            PortGroup port_group, LoadBalancer load_balancer, LoadBalancerGroup load_balancer_group,
            DhcpOptions dhcp_options, Dns dns, Meter meter, HaChassisGroup ha_chassis_group,
            StaticMacBinding static_mac_binding, Bfd bfd, Copp copp, Mirror mirror, ForwardingGroup forwarding_group,
            ChassisTemplateVar chassis_template_var, NetworkFunction network_function,
            NetworkFunctionGroup network_function_group
        }
    };
}
macro_rules! rooted_sb_tables {
    ($each:ident) => {
        $each! { sb Sb
            Chassis chassis, ChassisPrivate chassis_private, PortBinding port_binding, MacBinding mac_binding, Fdb fdb,
            ServiceMonitor service_monitor, IgmpGroup igmp_group
        }
    };
}

macro_rules! there {
    ($db:ident $per:ident $($row:ident $module:ident),*) => {
        match_there!($db $($row $module),*)
    };
}
macro_rules! match_there {
    ($db:ident $($row:ident $module:ident),*) => {
        |replica: &$db::Db, change: &$db::Change| match change {
            $($db::Change::$row(c) => replica.$module.contains(c.uuid),)*
            _ => false,
        }
    };
}

fn nb_there(replica: &nb::Db, change: &nb::Change) -> bool {
    rooted_tables!(there)(replica, change)
}

fn sb_there(replica: &sb::Db, change: &sb::Change) -> bool {
    rooted_sb_tables!(there)(replica, change)
}

macro_rules! uuids {
    ($db:ident $per:ident $($row:ident $module:ident),*) => {
        |inputs: &Inputs, per: Per| match per {
            $(Per::$per($db::TableId::$row) => inputs.$db.$module.uuids().collect(),)*
            _ => Vec::new(),
        }
    };
}

fn rows_of(inputs: &Inputs, per: Per) -> Vec<Uuid> {
    let mut rows: Vec<Uuid> = rooted_tables!(uuids)(inputs, per);
    rows.extend(rooted_sb_tables!(uuids)(inputs, per));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feature about a table that is not in the lists above would have no units.
    #[test]
    fn every_table_of_a_feature_is_listed() {
        let mut inputs = Inputs::default();
        macro_rules! fill {
            ($db:ident $per:ident $($row:ident $module:ident),*) => {
                $(inputs.$db.$module.put(Uuid(1), $db::$row::default());)*
            };
        }
        rooted_tables!(fill);
        rooted_sb_tables!(fill);
        for entry in features::all() {
            for per in entry
                .per
                .iter()
                .filter(|p| matches!(p, Per::Nb(_) | Per::Sb(_)))
            {
                assert_eq!(
                    rows_of(&inputs, *per),
                    [Uuid(1)],
                    "{per:?} of {}",
                    entry.kind.name
                );
            }
        }
    }
}
