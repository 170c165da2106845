//! Tracked units, change propagation and output ownership.
//!
//! The engine keeps a derived state (*outputs*) equal to what a from-scratch computation over the current inputs would
//! give, while running only what a change can affect. It knows nothing of databases or flows: northd and the controller
//! are both [`Program`]s over it.
//!
//! * A *fact* is the smallest thing a unit can depend on: a row of an input table with a mask of columns, or an entry of
//!   an index. A unit reads through wrappers that call [`Cx::track`]; the owner of the inputs reports what changed with
//!   [`Engine::touch`].
//! * A *unit* is a kind and a key. Running it yields outputs, at most one published value, diagnostics and demands for
//!   other units. It must be a pure function of what it reads through its [`Cx`].
//! * Kinds form layers by what they read from each other; [`Engine::run`] goes through the layers upwards. A published
//!   value that comes out equal to the former one stops the wave.
//! * Outputs are reference counted over all units. A [`Delta`] holds what came and what left, net, after all units have
//!   run.
//! * *Ledgers* are allocators with memory (tunnel keys, addresses); only [`Run::Serial`] kinds see them, one unit at a
//!   time in key order, so that allocation is deterministic.
//!
//! # Invariants
//!
//! * Between two calls of [`Engine::run`] the outputs equal those of a new engine with the same roots, inputs and
//!   ledgers. [`Engine::audit`] checks it.
//! * Within one `run` no identifier (fact, unit, output) is freed, so work done in parallel may hold on to them.
//! * Deliberately absent: priorities between units, partial reruns of a unit, asynchronous units, I/O of any sort.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audit;
mod cx;
mod engine;
mod facts;
mod graph;
mod outputs;
mod stats;
pub mod testing;
mod units;

use std::fmt::Debug;
use std::hash::Hash;

pub use audit::{Audit, Difference};
pub use cx::Cx;
pub use engine::{Delta, Engine};
pub use graph::GraphError;
pub use stats::{KindStats, Registry};

/// The bit of a touched mask that says the row itself came or went: it wakes every reader of the fact, whatever columns
/// it read.
pub const EXISTENCE: u64 = 1 << 63;

/// What the engine runs: the types of a program and its kinds of units.
pub trait Program: Sized + 'static {
    /// Replicas and indexes; read-only while units run.
    type Inputs: Sync;
    /// Allocators with memory, given only to [`Run::Serial`] kinds.
    type Ledgers;
    /// The smallest thing a unit can depend on.
    type Fact: Copy + Eq + Hash + Send + Sync + Debug;
    /// What distinguishes the units of one kind.
    type Key: Copy + Eq + Ord + Hash + Send + Sync + Debug;
    /// What units own together, reference counted. Should be cheap to clone (an `Arc` inside).
    type Output: Clone + Eq + Hash + Send + Sync;
    /// What a unit says about input it cannot use.
    type Diagnostic: Clone + PartialEq + Send + Sync + Debug;

    /// All kinds of units, in any order.
    fn kinds() -> &'static [Kind<Self>];
}

/// The name of a kind, as others refer to it in [`Cx::value`] and [`Cx::demand`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KindId(pub &'static str);

impl std::fmt::Display for KindId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// A kind of unit: its name, what it reads from other kinds, and how it runs.
pub struct Kind<P: Program> {
    /// Unique among the kinds of a program.
    pub name: &'static str,
    /// Names of the kinds whose values units of this kind read. This is the order of the layers: a kind runs after all
    /// kinds it reads. (Demanding a unit does not need an entry here.)
    pub reads: &'static [&'static str],
    /// The code of its units.
    pub run: Run<P>,
}

/// How the units of a kind run.
pub enum Run<P: Program> {
    /// A function of the inputs alone; units of a layer may run in parallel.
    Pure(PureFn<P>),
    /// One at a time in key order, with the ledgers. `gone` is called when a unit ceases to exist, to return what it
    /// held in the ledgers; facts that it passes to the last argument wake their readers (say, whoever waits for what
    /// has become free).
    Serial {
        /// Runs one unit.
        run: SerialFn<P>,
        /// Returns what the unit held.
        gone: GoneFn<P>,
    },
}

/// Gives notice of facts to be touched: from [`Run::Serial`]'s `gone`.
pub type Wake<'a, P> = dyn FnMut(<P as Program>::Fact, u64) + 'a;
/// Runs a unit that needs no ledger.
pub type PureFn<P> = fn(&Cx<'_, P>, <P as Program>::Key);
/// Runs a unit with the ledgers.
pub type SerialFn<P> = fn(&Cx<'_, P>, &mut <P as Program>::Ledgers, <P as Program>::Key);
/// Returns to the ledgers what a unit held.
pub type GoneFn<P> = fn(&mut <P as Program>::Ledgers, <P as Program>::Key, &mut Wake<'_, P>);

impl<P: Program> Clone for Run<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Program> Copy for Run<P> {}
impl<P: Program> Clone for Kind<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Program> Copy for Kind<P> {}

impl<P: Program> Kind<P> {
    /// A kind without ledgers.
    pub const fn pure(name: &'static str, reads: &'static [&'static str], run: PureFn<P>) -> Self {
        Kind {
            name,
            reads,
            run: Run::Pure(run),
        }
    }

    /// A kind with ledgers; see [`Run::Serial`].
    pub const fn serial(
        name: &'static str,
        reads: &'static [&'static str],
        run: SerialFn<P>,
        gone: GoneFn<P>,
    ) -> Self {
        Kind {
            name,
            reads,
            run: Run::Serial { run, gone },
        }
    }

    /// The name as others use it.
    pub const fn id(&self) -> KindId {
        KindId(self.name)
    }
}
