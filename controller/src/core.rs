//! The pure heart: replicas, indexes, ledgers and the engine, kept in step.

use weft_engine::{Delta, Difference, Engine, GraphError, KindId};
use weft_ovsdb::model::{AnyChange, Database, EXISTENCE, Uuid};
use weft_schemas::{sb, vs};

use crate::config::{ME, Me, chassis_name, setting};
use crate::index::{Index, Indexes};
use crate::ledger::{Ledgers, zone_entry};
use crate::local_datapaths::{LocalSet, SET};
use crate::program::{Controller, Fact, Inputs, Key, Settings};

/// Everything that decides what must be, without any I/O.
pub struct Core {
    /// What the units read.
    pub inputs: Inputs,
    /// What is free to choose.
    pub ledgers: Ledgers,
    engine: Engine<Controller>,
}

/// Kinds of which there is one unit, always.
const GLOBAL: [KindId; 8] = [
    crate::template::TEMPLATE.id(),
    ME.id(),
    crate::ha::WATCHED.id(),
    crate::config::CONFIG.id(),
    crate::chassis::OWN.id(),
    crate::bridge::BRIDGE.id(),
    SET.id(),
    crate::physical::DEFAULTS.id(),
];

/// The kind that stands for a row of a southbound table, if its rows have units of their own, and whether the row exists.
fn sb_kind(change: &sb::Change) -> Option<(KindId, bool)> {
    Some(match change {
        sb::Change::PortBinding(c) => (crate::binding::BINDING.id(), c.new.is_some()),
        sb::Change::LogicalFlow(c) => (crate::lflow::LFLOW.id(), c.new.is_some()),
        sb::Change::AddressSet(c) => (crate::address_set::ADDRESS_SET.id(), c.new.is_some()),
        sb::Change::PortGroup(c) => (crate::port_group::PORT_GROUP.id(), c.new.is_some()),
        sb::Change::LogicalDpGroup(c) => (crate::lflow::DATAPATH_GROUP.id(), c.new.is_some()),
        sb::Change::MulticastGroup(c) => (crate::physical::multicast::GROUP.id(), c.new.is_some()),
        sb::Change::MacBinding(c) => (
            crate::physical::neighbors::MAC_BINDING.id(),
            c.new.is_some(),
        ),
        sb::Change::StaticMacBinding(c) => (
            crate::physical::neighbors::STATIC_MAC_BINDING.id(),
            c.new.is_some(),
        ),
        sb::Change::Fdb(c) => (crate::physical::neighbors::FDB.id(), c.new.is_some()),
        sb::Change::LoadBalancer(c) => (crate::physical::hairpin::HAIRPIN.id(), c.new.is_some()),
        sb::Change::Chassis(c) => (crate::tunnels::TUNNEL.id(), c.new.is_some()),
        sb::Change::Mirror(c) => (crate::mirror::MIRROR.id(), c.new.is_some()),
        sb::Change::Meter(c) => (crate::meters::METER.id(), c.new.is_some()),
        _ => return None,
    })
}

/// As [`sb_kind`], for the local Open vSwitch database.
fn vs_kind(change: &vs::Change) -> Option<(KindId, bool)> {
    match change {
        vs::Change::Interface(c) => Some((crate::iface::IFACE.id(), c.new.is_some())),
        _ => None,
    }
}

impl Core {
    /// With nothing known yet.
    ///
    /// # Errors
    /// When the kinds read each other in a circle: a fault of the program, found by any test.
    pub fn new(settings: Settings) -> Result<Core, GraphError> {
        let mut engine = Engine::new()?;
        for kind in GLOBAL {
            engine.ensure(kind, Key::Global);
        }
        Ok(Core {
            inputs: Inputs {
                settings,
                ..Inputs::default()
            },
            ledgers: Ledgers::default(),
            engine,
        })
    }

    /// Does what the southbound says; `snapshot` replaces everything. Returns what that changed.
    pub fn apply_sb(&mut self, updates: Vec<sb::Update>, snapshot: bool) -> Vec<sb::Change> {
        let changes = match snapshot {
            true => self.inputs.sb.replace(updates),
            false => updates
                .into_iter()
                .filter_map(|update| self.inputs.sb.apply(update))
                .collect(),
        };
        for change in &changes {
            follow(
                &mut self.engine,
                Fact::Sb(change.table(), change.uuid()),
                change,
                sb_kind(change),
            );
            let engine = &mut self.engine;
            self.inputs
                .idx
                .follow_sb(change, &mut |fact, mask| engine.touch(fact, mask));
        }
        changes
    }

    /// Does what the local Open vSwitch database says. Conntrack zones and tunnel names given by an earlier process are
    /// taken over when they are first seen.
    pub fn apply_vs(&mut self, updates: Vec<vs::Update>, snapshot: bool) -> Vec<vs::Change> {
        let changes = match snapshot {
            true => self.inputs.vs.replace(updates),
            false => updates
                .into_iter()
                .filter_map(|update| self.inputs.vs.apply(update))
                .collect(),
        };
        for change in &changes {
            follow(
                &mut self.engine,
                Fact::Vs(change.table(), change.uuid()),
                change,
                vs_kind(change),
            );
            let engine = &mut self.engine;
            self.inputs
                .idx
                .follow_vs(change, &mut |fact, mask| engine.touch(fact, mask));
        }
        for change in &changes {
            if let vs::Change::Bridge(c) = change {
                self.note_zones(c.uuid, c.old.as_deref(), c.new.as_deref());
            }
        }
        changes
    }

    /// Takes over the zones that our bridge has from an earlier process, and takes note of those of other bridges.
    fn note_zones(&mut self, bridge: Uuid, old: Option<&vs::Bridge>, new: Option<&vs::Bridge>) {
        let (name, start) = self.own_bridge();
        let zones = &mut self.ledgers.zones;
        let entries = new.into_iter().flat_map(|row| row.external_ids.iter());
        let entries = entries.filter_map(|(key, value)| zone_entry(key, value));
        match (old, new) {
            (None, Some(row)) if *row.name == name => {
                entries.for_each(|(owner, zone)| zones.restore(owner, zone));
                if let Some(start) = start {
                    zones.start_at(start);
                }
            }
            (_, Some(row)) if *row.name == name => {}
            _ => zones.note_foreign(bridge, entries.map(|(_, zone)| zone).collect()),
        }
    }

    /// The name that our bridge has or is to have; and where zones should start if other controllers have theirs.
    fn own_bridge(&self) -> (String, Option<u16>) {
        let inputs = &self.inputs;
        let root = inputs.idx.find(Index::OpenVswitch, ()).first();
        let root = root.and_then(|root| inputs.vs.open_vswitch.get(*root));
        let named = root.and_then(|root| {
            let name = chassis_name(root, inputs.settings.chassis.as_ref())?;
            let bridge = setting(root, &name, "ovn-bridge")?.to_string();
            let own = root
                .external_ids
                .contains_key(&*format!("ovn-bridge-{name}"));
            // Any number will do that is another for another name.
            let start = Indexes::hash(&*name) as u16;
            Some((bridge, own.then_some(start)))
        });
        named.unwrap_or_else(|| ("br-int".into(), None))
    }

    /// Yields a port to another chassis, or no longer.
    pub fn set_yielded(&mut self, port: Uuid, yielded: bool) {
        let changed = match yielded {
            true => self.inputs.yielded.insert(port),
            false => self.inputs.yielded.remove(&port),
        };
        if changed {
            self.engine.touch(Fact::Yielded(port), EXISTENCE);
        }
    }

    /// Takes note that the machine of a port has been heard here, or forgets it.
    pub fn set_activated(&mut self, port: Uuid, activated: bool) {
        let changed = match activated {
            true => self.inputs.activated.insert(port),
            false => self.inputs.activated.remove(&port),
        };
        if changed {
            self.engine.touch(Fact::Activated(port), EXISTENCE);
        }
    }

    /// Runs as much of it as says which datapaths matter here: what is needed of the southbound can be asked for meanwhile.
    pub fn advance(&mut self) {
        self.engine
            .advance(SET.id(), &self.inputs, &mut self.ledgers);
    }

    /// Runs what the changes made necessary.
    pub fn run(&mut self) -> Delta<Controller> {
        let delta = self.engine.run(&self.inputs, &mut self.ledgers);
        crate::lflow::forget_parsed();
        delta
    }

    /// Whether the Open_vSwitch row has said who we are.
    pub fn is_configured(&self) -> bool {
        self.me().is_some()
    }

    /// Whether nothing is left to run.
    pub fn is_settled(&self) -> bool {
        self.engine.is_settled()
    }

    /// Runs everything again, as if all had changed.
    pub fn recompute(&mut self) {
        self.engine.touch_all();
    }

    /// Compares with a computation from scratch.
    ///
    /// # Errors
    /// As [`Core::new`].
    pub fn audit(&self) -> Result<Vec<Difference<Controller>>, GraphError> {
        self.engine.audit(&self.inputs, &mut self.ledgers.clone())
    }

    /// The same as work that needs nothing of the core, so that it can go on meanwhile.
    pub fn audit_aside(
        &self,
    ) -> impl FnOnce() -> Result<Vec<Difference<Controller>>, GraphError> + Send + 'static {
        self.engine
            .audit_aside(self.inputs.clone(), self.ledgers.clone())
    }

    /// Who we are, once that is known.
    pub fn me(&self) -> Option<std::sync::Arc<Me>> {
        self.engine.value(ME.id(), Key::Global)
    }

    /// The settings of the Open_vSwitch row.
    pub fn config(&self) -> Option<std::sync::Arc<crate::config::Config>> {
        self.engine.value(crate::config::CONFIG.id(), Key::Global)
    }

    /// The datapaths that matter here.
    pub fn local_datapaths(&self) -> std::sync::Arc<LocalSet> {
        self.engine
            .value::<LocalSet>(SET.id(), Key::Global)
            .unwrap_or_default()
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine<Controller> {
        &self.engine
    }
}

/// Tells the engine of a change of a row: its readers wake, and its unit comes or goes with it.
fn follow<C: AnyChange>(
    engine: &mut Engine<Controller>,
    fact: Fact,
    change: &C,
    unit: Option<(KindId, bool)>,
) {
    let columns = change.columns();
    engine.touch(fact, columns);
    let key = Key::Row(change.uuid());
    match unit.filter(|_| columns & EXISTENCE != 0) {
        Some((kind, true)) => engine.ensure(kind, key),
        Some((kind, false)) => engine.retire(kind, key),
        None => {}
    }
}
