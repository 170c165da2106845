//! The controller as a program of the engine: what it reads, what its units are called, what they put out.
//!
//! Everything below [`crate::shell`] is pure: units read replicas of the southbound and of the local Open vSwitch
//! database through the tracked views of [`Read`] and emit [`Output`]s; the shell applies the differences.

use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use weft_engine::{Cx, Kind, Program};
use weft_ovsdb::model::{Recorder, Str, Uuid};
use weft_schemas::{sb, vs};

use crate::flow::{Flow, MeterSpec};
use crate::index::{Index, Indexes};
use crate::ledger::Ledgers;

/// The controller's program.
#[derive(Clone, PartialEq, Debug)]
pub struct Controller;

/// What units of the controller run in.
pub type Ctx<'y> = Cx<'y, Controller>;

/// Everything the units read.
#[derive(Default, Clone)]
pub struct Inputs {
    /// The southbound database, as far as it is monitored.
    pub sb: sb::Db,
    /// The local Open vSwitch database.
    pub vs: vs::Db,
    /// Ways into both by something else than a row's UUID.
    pub idx: Indexes,
    /// What came by the command line.
    pub settings: Settings,
    /// Ports that another chassis took from us although their interface is still here: theirs until the other side
    /// lets go or the interface is plugged anew. See [`crate::sync::claims`].
    pub yielded: FxHashSet<Uuid>,
    /// Ports whose machine has been heard on this additional chassis of theirs. See [`crate::activation`].
    pub activated: FxHashSet<Uuid>,
}

/// What the command line decides.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Settings {
    /// `-n`: the name of this chassis, whatever the database says.
    pub chassis: Option<Str>,
    /// Address sets of more members are read in parts; so that tests need not be large.
    pub large_set: Option<usize>,
}

/// What a unit can depend on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fact {
    /// A row of the southbound: table and UUID.
    Sb(u8, Uuid),
    /// A row of the local Open vSwitch database.
    Vs(u8, Uuid),
    /// What is under a key of an index; the key only by its hash, which at worst wakes one too many.
    Index(Index, u64),
    /// Whether a port has been yielded to another chassis.
    Yielded(Uuid),
    /// Whether the machine of a port has been heard here.
    Activated(Uuid),
    /// The settings of the command line.
    Settings,
}

/// What distinguishes the units of a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// There is one unit only.
    Global,
    /// A row, southbound or local as the kind has it.
    Row(Uuid),
    /// A part of what a row stands for.
    Part(Uuid, u8),
}

impl Key {
    /// The row of a kind that has one unit per row.
    pub fn row(self) -> Uuid {
        match self {
            Key::Row(uuid) | Key::Part(uuid, _) => uuid,
            Key::Global => Uuid(0),
        }
    }
}

/// What units put out.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// A flow of the integration bridge.
    Flow(Arc<Flow>),
    /// A meter of the integration bridge.
    Meter(Arc<MeterSpec>),
    /// This chassis's own rows in the southbound.
    Chassis(Arc<crate::chassis::OwnChassis>),
    /// A port is bound here.
    Claim(Arc<crate::binding::Claim>),
    /// The integration bridge as it must be.
    Bridge(Arc<crate::bridge::Wanted>),
    /// A port of the local Open vSwitch that the controller keeps.
    VsPort(Arc<crate::bridge::OwnPort>),
    /// A VIF that the controller is to plug.
    Plug(Arc<crate::plug::Request>),
    /// A mirror of the integration bridge.
    Mirror(Arc<crate::mirror::OwnMirror>),
    /// A queue of an interface that leads out of this host.
    Queue(Arc<crate::egress::OwnQueue>),
    /// A conntrack zone and whose it is.
    Zone(Arc<crate::zones::OwnZone>),
    /// Something to be said on a physical network.
    Announced(Arc<crate::announced::Announced>),
    /// Something learned goes unless it is used.
    Ageing(Arc<crate::ageing::Ageing>),
    /// Connections that are forgotten when this goes.
    Balanced(Arc<crate::lb_flush::Balanced>),
}

// There are hundreds of thousands of them, nearly all flows: none may be larger than a reference to one.
const _: () = assert!(size_of::<Output>() <= 16);

/// What a unit could not use, for the operator.
#[derive(Clone, PartialEq, Debug)]
pub struct Diagnostic {
    /// Table and name of the row, as an operator knows them.
    pub row: String,
    /// The column, with its text where that helps.
    pub column: &'static str,
    /// What is wrong with it and what was left out because of it.
    pub message: String,
    /// The row.
    pub uuid: Uuid,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({}), column {}: {}",
            self.row, self.uuid, self.column, self.message
        )
    }
}

impl Program for Controller {
    type Inputs = Inputs;
    type Ledgers = Ledgers;
    type Fact = Fact;
    type Key = Key;
    type Output = Output;
    type Diagnostic = Diagnostic;

    fn kinds() -> &'static [Kind<Self>] {
        KINDS
    }
}

/// One line per kind; a feature that adds a kind adds a line.
const KINDS: &[Kind<Controller>] = &[
    crate::config::ME,
    crate::config::CONFIG,
    crate::chassis::OWN,
    crate::bridge::BRIDGE,
    crate::iface::IFACE,
    crate::ha::WATCHED,
    crate::tunnels::TUNNEL,
    crate::binding::BINDING,
    crate::local_datapaths::SEED,
    crate::local_datapaths::LINK,
    crate::local_datapaths::SET,
    crate::local_datapaths::LOCAL,
    crate::patch::PATCH,
    crate::zones::PORT_ZONE,
    crate::zones::DATAPATH_ZONES,
    crate::physical::DEFAULTS,
    crate::physical::PORT,
    crate::physical::chassis_mac::CHASSIS_MAC,
    crate::physical::tunnel::INPUT,
    crate::physical::multicast::GROUP,
    crate::physical::port_security::PORT_SECURITY,
    crate::physical::neighbors::MAC_BINDING,
    crate::physical::neighbors::STATIC_MAC_BINDING,
    crate::physical::neighbors::FDB,
    crate::announced::ANNOUNCED,
    crate::plug::PLUG,
    crate::mirror::MIRROR,
    crate::egress::QUEUE,
    crate::meters::METER,
    crate::template::TEMPLATE,
    crate::physical::hairpin::HAIRPIN,
    crate::lflow::DATAPATH_GROUP,
    crate::address_set::TEXTS,
    crate::address_set::PART_TEXTS,
    crate::address_set::PART,
    crate::address_set::ADDRESS_SET,
    crate::port_group::PORT_GROUP,
    crate::lflow::LFLOW,
    crate::address_set::LFLOW_PART,
];

/// Records what is read of the southbound.
#[derive(Clone, Copy)]
pub struct SbRead<'x, 'y>(&'x Cx<'y, Controller>);

impl Recorder for SbRead<'_, '_> {
    fn read(&self, table: u8, uuid: Uuid, columns: u64) {
        self.0.track(Fact::Sb(table, uuid), columns);
    }
}

/// Records what is read of the local Open vSwitch database.
#[derive(Clone, Copy)]
pub struct VsRead<'x, 'y>(&'x Cx<'y, Controller>);

impl Recorder for VsRead<'_, '_> {
    fn read(&self, table: u8, uuid: Uuid, columns: u64) {
        self.0.track(Fact::Vs(table, uuid), columns);
    }
}

/// Tracked reading, the only way units get at the inputs.
pub trait Read<'y> {
    /// What to hand to `tracked` of a southbound table.
    fn sb_rec(&self) -> SbRead<'_, 'y>;
    /// What to hand to `tracked` of an Open vSwitch table.
    fn vs_rec(&self) -> VsRead<'_, 'y>;
    /// The southbound, to be read with [`Read::sb_rec`].
    fn sb(&self) -> &sb::Db;
    /// The Open vSwitch database, to be read with [`Read::vs_rec`].
    fn vs(&self) -> &vs::Db;
    /// Rows under `key` of an index, sorted.
    fn lookup(&self, index: Index, key: impl Hash) -> &[Uuid];
    /// The row under `key` of an index that has at most one, or the first.
    fn lookup_one(&self, index: Index, key: impl Hash) -> Option<Uuid> {
        self.lookup(index, key).first().copied()
    }
    /// Whether the port has been yielded to another chassis.
    fn yielded(&self, port: Uuid) -> bool;
    /// Whether the machine of the port has been heard here.
    fn activated(&self, port: Uuid) -> bool;
    /// The settings of the command line.
    fn settings(&self) -> &Settings;
}

impl<'y> Read<'y> for Cx<'y, Controller> {
    fn sb_rec(&self) -> SbRead<'_, 'y> {
        SbRead(self)
    }

    fn vs_rec(&self) -> VsRead<'_, 'y> {
        VsRead(self)
    }

    fn sb(&self) -> &sb::Db {
        &self.inputs().sb
    }

    fn vs(&self) -> &vs::Db {
        &self.inputs().vs
    }

    fn lookup(&self, index: Index, key: impl Hash) -> &[Uuid] {
        let hash = Indexes::hash(key);
        self.track(Fact::Index(index, hash), 0);
        self.inputs().idx.rows(index, hash)
    }

    fn yielded(&self, port: Uuid) -> bool {
        self.track(Fact::Yielded(port), 0);
        self.inputs().yielded.contains(&port)
    }

    fn activated(&self, port: Uuid) -> bool {
        self.track(Fact::Activated(port), 0);
        self.inputs().activated.contains(&port)
    }

    fn settings(&self) -> &Settings {
        self.track(Fact::Settings, 0);
        &self.inputs().settings
    }
}
