//! The compiler as a program of the engine: what it reads, what its units are called, what they yield.
//!
//! A feature is a type that implements [`Feature`], in a file of its own under `features/`, plus a line in
//! `features/mod.rs`. Its units run once per row of a table (or once in all); they read through [`Cx`], which records
//! what they read, and yield [`Output`]s and diagnostics.

use std::fmt;
use std::sync::LazyLock;

use weft_engine::{Kind, KindId, Program, Run};
use weft_ovsdb::model::Uuid;
use weft_schemas::{nb, sb};

use crate::address::Mac;
pub use crate::features::port_trait::PortTrait;
use crate::index::{ById, ByName, Indexes};
use crate::ledger::{Ledgers, Space};
use crate::output::Output;
pub use crate::view::Cx;

/// The compiler's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Northd;

/// Everything the units read.
#[derive(Default, Clone)]
pub struct Inputs {
    /// The northbound database.
    pub nb: nb::Db,
    /// The southbound database, as far as it is input: what chassis write into it.
    pub sb: sb::Db,
    /// Ways into both by something else than a row's UUID.
    pub idx: Indexes,
    /// What came by the command line.
    pub settings: Settings,
}

/// What is decided at the start of the process, from the command line or by chance.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Settings {
    /// Version told in `NB_Global.options:northd_internal_version`.
    pub version: String,
    /// First bytes of dynamic Ethernet addresses, unless `NB_Global.options:mac_prefix` says otherwise.
    pub mac_prefix: [u8; 3],
    /// Source of health checks, unless `NB_Global.options:svc_monitor_mac` says otherwise.
    pub svc_monitor_mac: Mac,
}

/// What a unit can depend on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fact {
    /// A row of the northbound: table and UUID.
    Nb(u8, Id),
    /// A row of the southbound.
    Sb(u8, Id),
    /// An entry of an index by UUID (and a number that tells entries of one UUID apart).
    ById(ById, u8, Id),
    /// An entry of an index by name; the name only by its hash, which at worst wakes one too many.
    ByName(ByName, u64),
    /// Who holds a number of a space of the ledger.
    Number(Space, u32),
    /// Who holds a dynamic address, by hash.
    Address(u64),
    /// Which dynamic address the key of the hash holds.
    Lease(u64),
    /// Where samples of drops go.
    DebugDrop,
}

/// A UUID without the alignment of `u128`: facts are many.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u32; 4]);

impl From<Uuid> for Id {
    fn from(uuid: Uuid) -> Id {
        let v = uuid.0;
        Id([
            (v >> 96) as u32,
            (v >> 64) as u32,
            (v >> 32) as u32,
            v as u32,
        ])
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:08x}-{:08x}-{:08x}",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// What distinguishes the units of a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// There is one unit only.
    Global,
    /// A row of the table that the feature's [`Per`] names.
    Row(Uuid),
    /// Two rows, as the feature defines them.
    Pair(Uuid, Uuid),
}

impl Key {
    /// The row of a unit per row (the first one of a pair).
    pub fn row(self) -> Uuid {
        match self {
            Key::Row(uuid) | Key::Pair(uuid, _) => uuid,
            Key::Global => Uuid::ZERO,
        }
    }
}

/// What a unit could not use, for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Diagnostic {
    /// Database table of the row.
    pub table: &'static str,
    /// Name of the row, as an operator knows it.
    pub name: String,
    /// The row.
    pub uuid: Uuid,
    /// The column.
    pub column: &'static str,
    /// What is wrong, with the column's text, and what was left out because of it.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}): {}: {}",
            self.table, self.name, self.uuid, self.column, self.message
        )
    }
}

/// Of what there is a unit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Per {
    /// One in all: [`Key::Global`].
    All,
    /// One per row of a northbound table: [`Key::Row`].
    Nb(nb::TableId),
    /// One per row of a southbound table: [`Key::Row`].
    Sb(sb::TableId),
    /// One per row of `Logical_Switch_Port` with the trait: [`Key::Row`].
    Ports(PortTrait),
    /// Those that others demand.
    Demand,
}

/// A feature: one kind of unit.
pub trait Feature {
    /// Unique name of its kind.
    const NAME: &'static str;
    /// Of what there is a unit each. Several tables are fine as long as UUIDs tell the units apart.
    const PER: &'static [Per];
    /// Names of the kinds whose values it reads ([`Cx::value`]).
    const READS: &'static [&'static str] = &[];
    /// Its name as others use it.
    const ID: KindId = KindId(Self::NAME);

    /// Runs one unit. Rows that are gone are nothing to complain about: return.
    fn run(cx: &Cx<'_>, key: Key);
}

/// A feature whose units allocate.
pub trait Allocator {
    /// See [`Feature::NAME`].
    const NAME: &'static str;
    /// See [`Feature::PER`].
    const PER: &'static [Per];
    /// See [`Feature::READS`].
    const READS: &'static [&'static str] = &[];
    /// See [`Feature::ID`].
    const ID: KindId = KindId(Self::NAME);

    /// Runs one unit, with the ledgers.
    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key);
    /// Returns to the ledgers what the unit held.
    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64));
}

/// A line of the list of features.
pub struct Entry {
    /// For the engine.
    pub kind: Kind<Northd>,
    /// Of what there is a unit each.
    pub per: &'static [Per],
}

/// The line of a feature.
pub const fn pure<F: Feature>() -> Entry {
    Entry {
        kind: Kind::pure(F::NAME, F::READS, |cx, key| F::run(&Cx::new(cx), key)),
        per: F::PER,
    }
}

/// The line of a feature that allocates.
pub const fn allocator<F: Allocator>() -> Entry {
    Entry {
        kind: Kind {
            name: F::NAME,
            reads: F::READS,
            run: Run::Serial {
                run: |cx, ledgers, key| F::run(&Cx::new(cx), ledgers, key),
                gone: |ledgers, key, wake| F::gone(ledgers, key, &mut *wake),
            },
        },
        per: F::PER,
    }
}

impl Program for Northd {
    type Inputs = Inputs;
    type Ledgers = Ledgers;
    type Fact = Fact;
    type Key = Key;
    type Output = Output;
    type Diagnostic = Diagnostic;

    fn kinds() -> &'static [Kind<Self>] {
        static KINDS: LazyLock<Vec<Kind<Northd>>> =
            LazyLock::new(|| crate::features::all().map(|entry| entry.kind).collect());
        &KINDS
    }
}
