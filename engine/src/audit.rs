//! The check that what was reached by steps equals what a fresh start gives.

use hashbrown::HashSet;
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

impl<P: Program> Engine<P> {
    /// Computes everything anew from the same roots in a second engine and lists the differences. `ledgers` should be
    /// a copy of the engine's: allocations made before are kept, new ones would show as differences.
    pub fn audit(
        &self,
        inputs: &P::Inputs,
        ledgers: &mut P::Ledgers,
    ) -> Result<Vec<Difference<P>>, GraphError> {
        let mut fresh = Engine::<P>::new()?;
        for (kind, key) in self.roots() {
            fresh.ensure(kind, key);
        }
        fresh.run(inputs, ledgers);
        let mut differences = Vec::new();
        let ours: HashSet<&P::Output, FxBuildHasher> = self.outputs().collect();
        let theirs: HashSet<&P::Output, FxBuildHasher> = fresh.outputs().collect();
        differences.extend(
            theirs
                .iter()
                .filter(|o| !ours.contains(*o))
                .map(|o| Difference::Missing((*o).clone())),
        );
        differences.extend(
            ours.iter()
                .filter(|o| !theirs.contains(*o))
                .map(|o| Difference::Extra((*o).clone())),
        );
        for (kind, key, list) in fresh.diagnostics_by_unit() {
            let here = self.diagnostics_of(kind, key);
            let lost = list.iter().filter(|d| !here.contains(d));
            differences.extend(lost.map(|d| Difference::MissingDiagnostic(kind, key, d.clone())));
        }
        for (kind, key, list) in self.diagnostics_by_unit() {
            let there = fresh.diagnostics_of(kind, key);
            let stale = list.iter().filter(|d| !there.contains(d));
            differences.extend(stale.map(|d| Difference::ExtraDiagnostic(kind, key, d.clone())));
        }
        Ok(differences)
    }
}
