//! The list of diagnostics, and those who watch it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::v1::diagnostic_event::Kind;
use crate::v1::{Diagnostic, DiagnosticEvent, Severity};

/// Changes a watcher may lag behind before it gets the whole list again.
const BACKLOG: usize = 4096;

/// What a diagnostic of a whole database has for a column.
const SCHEMA: &str = "schema";

/// What makes a diagnostic the same one: everything but wording that may improve.
type Key = (String, String, String, String, String, String);

fn key(d: &Diagnostic) -> Key {
    let [database, table, uuid, column, text, reason] = [
        &d.database,
        &d.table,
        &d.uuid,
        &d.column,
        &d.text,
        &d.reason,
    ]
    .map(Clone::clone);
    (database, table, uuid, column, text, reason)
}

#[derive(Debug)]
struct Inner {
    /// How many parts of the daemon say it, and what.
    list: BTreeMap<Key, (usize, Diagnostic)>,
    changes: broadcast::Sender<DiagnosticEvent>,
}

/// The diagnostics of a daemon; clones share them.
///
/// Two parts of a daemon may say the same about a row; it goes when both have taken it back.
#[derive(Clone, Debug)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
}

impl Default for Hub {
    fn default() -> Self {
        let changes = broadcast::Sender::new(BACKLOG);
        Self {
            inner: Arc::new(Mutex::new(Inner {
                list: BTreeMap::new(),
                changes,
            })),
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a diagnostic; true if nobody had said it before.
    pub fn add(&self, diagnostic: Diagnostic) -> bool {
        let mut inner = self.lock();
        let entry = inner.list.entry(key(&diagnostic));
        let (count, known) = entry.or_insert_with(|| (0, diagnostic));
        *count += 1;
        let first = *count == 1;
        if first {
            let event = event(Kind::Added, Some(known.clone()));
            let _ = inner.changes.send(event); // no watchers is fine
        }
        first
    }

    /// Takes one [`Self::add`] back; true if that was the last.
    pub fn remove(&self, diagnostic: &Diagnostic) -> bool {
        let key = key(diagnostic);
        let mut inner = self.lock();
        match inner.list.get_mut(&key) {
            None => false,
            Some((count, _)) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => {
                let gone = inner.list.remove(&key).map(|(_, diagnostic)| diagnostic);
                let _ = inner.changes.send(event(Kind::Removed, gone));
                true
            }
        }
    }

    /// One line per diagnostic, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |d: &Diagnostic| {
            format!(
                "{} {} {} {}: {}\n",
                d.table, d.row, d.uuid, d.column, d.reason
            )
        };
        self.list().iter().map(line).collect()
    }

    /// Takes note of what the server of a database lacks, in place of what it lacked before; true if that is something new
    /// to tell.
    pub fn lacks(&self, database: &str, version: &str, missing: &[String]) -> bool {
        let stale = |d: &Diagnostic| d.database == database && d.column == SCHEMA;
        let now = (!missing.is_empty()).then(|| Diagnostic {
            severity: Severity::Warning as i32,
            database: database.to_owned(),
            column: SCHEMA.to_owned(),
            reason: format!(
                "the server's schema {version} lacks {}: nothing is read from there, what is written there is left out",
                missing.join(", ")
            ),
            ..Diagnostic::default()
        });
        let before: Vec<Diagnostic> = self.list().into_iter().filter(stale).collect();
        if before.iter().eq(now.iter()) {
            return false;
        }
        for gone in &before {
            self.remove(gone);
        }
        now.is_some_and(|now| self.add(now))
    }

    /// All diagnostics, by database, table and row.
    pub fn list(&self) -> Vec<Diagnostic> {
        self.lock()
            .list
            .values()
            .map(|(_, diagnostic)| diagnostic.clone())
            .collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list as it is and every change after it.
    pub(crate) fn subscribe(&self) -> (Vec<Diagnostic>, broadcast::Receiver<DiagnosticEvent>) {
        let inner = self.lock();
        let list = inner
            .list
            .values()
            .map(|(_, diagnostic)| diagnostic.clone())
            .collect();
        (list, inner.changes.subscribe())
    }
}

pub(crate) fn event(kind: Kind, diagnostic: Option<Diagnostic>) -> DiagnosticEvent {
    DiagnosticEvent {
        kind: kind.into(),
        diagnostic,
    }
}
