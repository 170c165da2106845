//! The check that what was reached by steps equals what a fresh start gives.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::{Engine, GraphError, KindId, Program};

/// One way in which a running engine differs from a fresh one.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference<P: Program> {
    /// A fresh start has this output, the engine has not.
    Missing(P::Output),
    /// The engine has this output, a fresh start has not.
    Extra(P::Output),
    /// A fresh start makes this complaint, the engine does not.
    MissingDiagnostic(KindId, P::Key, P::Diagnostic),
    /// The engine makes this complaint, a fresh start does not.
    ExtraDiagnostic(KindId, P::Key, P::Diagnostic),
}

/// Diagnostics of a unit.
type Complaints<P> = Vec<(KindId, <P as Program>::Key, Vec<<P as Program>::Diagnostic>)>;

/// What an engine had when the audit was asked for. It can be carried out on another thread while the engine goes on,
/// with copies of the inputs and ledgers of that moment.
#[derive(Debug)]
pub struct Audit<P: Program> {
    roots: Vec<(KindId, P::Key)>,
    outputs: Vec<P::Output>,
    diagnostics: Complaints<P>,
}

impl<P: Program> Engine<P> {
    /// Takes down what there is, to be compared with a fresh start.
    pub fn begin_audit(&self) -> Audit<P> {
        Audit {
            roots: self.roots().collect(),
            outputs: self.outputs().cloned().collect(),
            diagnostics: complaints(self),
        }
    }

    /// Computes everything anew from the same roots in a second engine and lists the differences. `ledgers` should be
    /// a copy of the engine's: allocations made before are kept, new ones would show as differences.
    pub fn audit(
        &self,
        inputs: &P::Inputs,
        ledgers: &mut P::Ledgers,
    ) -> Result<Vec<Difference<P>>, GraphError> {
        self.begin_audit().finish(inputs, ledgers)
    }

    /// The same as work that needs nothing of the engine, so that it can go on meanwhile. One thread does it, however many
    /// there are.
    pub fn audit_aside(
        &self,
        inputs: P::Inputs,
        mut ledgers: P::Ledgers,
    ) -> impl FnOnce() -> Result<Vec<Difference<P>>, GraphError> + Send + use<P>
    where
        P::Inputs: Send,
        P::Ledgers: Send,
    {
        let audit = self.begin_audit();
        move || {
            let finish = || audit.finish(&inputs, &mut ledgers);
            match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                Ok(pool) => pool.install(finish),
                Err(_) => finish(),
            }
        }
    }
}

fn complaints<P: Program>(engine: &Engine<P>) -> Complaints<P> {
    let all = engine.diagnostics_by_unit();
    all.map(|(kind, key, list)| (kind, key, list.to_vec()))
        .collect()
}

impl<P: Program> Audit<P> {
    /// Computes everything anew in an engine of its own and lists the differences.
    pub fn finish(
        self,
        inputs: &P::Inputs,
        ledgers: &mut P::Ledgers,
    ) -> Result<Vec<Difference<P>>, GraphError> {
        let mut fresh = Engine::<P>::new()?;
        for (kind, key) in self.roots {
            fresh.ensure(kind, key);
        }
        fresh.run(inputs, ledgers);
        let mut differences = Vec::new();
        let ours: HashSet<&P::Output, FxBuildHasher> = self.outputs.iter().collect();
        let theirs: HashSet<&P::Output, FxBuildHasher> = fresh.outputs().collect();
        let missing = theirs.iter().filter(|o| !ours.contains(*o));
        differences.extend(missing.map(|o| Difference::Missing((*o).clone())));
        let extra = ours.iter().filter(|o| !theirs.contains(*o));
        differences.extend(extra.map(|o| Difference::Extra((*o).clone())));
        let said: HashMap<_, _, FxBuildHasher> = self
            .diagnostics
            .iter()
            .map(|(kind, key, list)| ((kind.0, *key), &list[..]))
            .collect();
        for (kind, key, list) in fresh.diagnostics_by_unit() {
            let here = said.get(&(kind.0, key)).copied().unwrap_or_default();
            let lost = list.iter().filter(|d| !here.contains(d));
            differences.extend(lost.map(|d| Difference::MissingDiagnostic(kind, key, d.clone())));
        }
        for (kind, key, list) in &self.diagnostics {
            let there = fresh.diagnostics_of(*kind, *key);
            let stale = list.iter().filter(|d| !there.contains(d));
            differences.extend(stale.map(|d| Difference::ExtraDiagnostic(*kind, *key, d.clone())));
        }
        Ok(differences)
    }
}
