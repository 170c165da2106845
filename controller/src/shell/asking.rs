//! When the southbound's server is asked for other rows.
//!
//! It looks at every row of a table whose conditions change: 30 ms for 26,000 ports, in which it does nothing else, for
//! anybody. What is missing here is asked for at once: the port of an interface, if it is not known, the rows of a datapath
//! that is local now. What only has to be right in the end waits for [`PATIENCE`], or for what does not wait:
//! ports inside of one that is here already, and taking back what is not needed any more.
//!
//! Guarantees: nobody is told that the northbound is worked in up to some number ([`Asking::is_answered`]) while ports may be
//! missing that came before it. Whether there are ports inside of others at all is a question of its own, which costs the server
//! some milliseconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use weft_ovsdb::model::Str;
use weft_ovsdb::session::Conditions;
use weft_ovsdb::txn::Txn;

use super::monitor;
use crate::config::{Config, Me};
use crate::core::Core;
use crate::index::Index;
use crate::local_datapaths::LocalSet;

/// How long an interface whose port is known is not asked for by name.
const PATIENCE: Duration = Duration::from_millis(250);

/// What the southbound was asked for.
#[derive(Default)]
pub struct Asking {
    asked: Conditions,
    /// The interfaces that these were made for.
    ids: BTreeSet<Str>,
    basis: Option<Basis>,
    due: Option<Instant>,
    /// As of this `nb_cfg` it is being found out whether there are ports inside of others.
    checking: Option<i64>,
    /// As of this one there were none.
    childless: Option<i64>,
    sent: u64,
    applied: u64,
}

/// What conditions come from, to tell whether they can have changed: with some hundreds of datapaths they are thousands of
/// clauses, and most changes leave them as they are.
struct Basis(Option<Arc<Me>>, Option<Arc<Config>>, Arc<LocalSet>);

impl Basis {
    fn of(core: &Core) -> Self {
        Basis(core.me(), core.config(), core.local_datapaths())
    }

    /// The engine keeps a value that comes out equal.
    fn is(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
            && self.1.as_ref().map(Arc::as_ptr) == other.1.as_ref().map(Arc::as_ptr)
            && Arc::ptr_eq(&self.2, &other.2)
    }
}

impl Asking {
    /// What a new session asks for.
    pub fn first(&mut self, core: &Core) -> Conditions {
        self.ids = monitor::interface_ids(core);
        self.asked = monitor::conditions(core, &self.ids);
        self.asked.clone()
    }

    /// An interface or the row of a datapath changed: conditions have to be made anew.
    pub fn clear(&mut self) {
        self.basis = None;
    }

    /// What is to be asked for now, if it is not what was.
    pub fn next(&mut self, core: &Core, now: Instant) -> Option<Conditions> {
        let is_due = self.due.is_some_and(|due| due <= now);
        let basis = Basis::of(core);
        if !is_due && self.basis.as_ref().is_some_and(|was| was.is(&basis)) {
            return None;
        }
        self.basis = Some(basis);
        let ids = monitor::interface_ids(core);
        let sees_all = core.config().is_some_and(|config| config.monitor_all);
        let may_wait = !is_due && !sees_all && ids != self.ids;
        if may_wait
            && ids.difference(&self.ids).all(|id| is_here(core, id))
            && monitor::conditions(core, &self.ids) == self.asked
        {
            self.due.get_or_insert(now + PATIENCE);
            return None;
        }
        self.due = None;
        let wanted = monitor::conditions(core, &ids);
        self.ids = ids;
        if wanted == self.asked {
            return None;
        }
        self.asked.clone_from(&wanted);
        Some(wanted)
    }

    /// When [`next`](Self::next) will have something, at the latest.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What must succeed before anybody is told that all is here up to `nb_cfg`: there are no ports inside of others at all, so
    /// nothing waits. The answer goes to [`checked`](Self::checked).
    pub fn check(&mut self, nb_cfg: i64) -> Option<Txn> {
        if self.due.is_none() || self.checking.is_some() || self.childless == Some(nb_cfg) {
            return None;
        }
        self.checking = Some(nb_cfg);
        let mut txn = Txn::new();
        txn.raw(json!({
            "op": "wait",
            "timeout": 0,
            "table": "Port_Binding",
            "where": [["parent_port", "!=", ["set", []]]],
            "columns": ["_uuid"],
            "until": "==",
            "rows": [],
        }));
        Some(txn)
    }

    /// The answer: there are none; or there are, or nobody knows, and what waits is asked for.
    pub fn checked(&mut self, are_none: bool, now: Instant) {
        let nb_cfg = self.checking.take();
        if are_none {
            self.childless = nb_cfg;
        } else {
            self.due = self.due.map(|due| due.min(now));
        }
    }

    /// They went out under this number.
    pub fn went(&mut self, seq: u64) {
        self.sent = seq;
    }

    /// The rows of those with this number are here.
    pub fn came(&mut self, seq: u64) {
        self.applied = self.applied.max(seq);
    }

    /// Whether all rows are here that are needed for what the southbound is as of `nb_cfg`.
    pub fn is_answered(&self, nb_cfg: Option<i64>) -> bool {
        let nothing_waits = self.due.is_none() || nb_cfg.is_some() && nb_cfg == self.childless;
        self.applied >= self.sent && nothing_waits
    }
}

/// Whether the port of that name is known, and would be if nobody asked for it by name.
fn is_here(core: &Core, id: &Str) -> bool {
    let local = core.local_datapaths();
    let ports = core.inputs.idx.find(Index::PortByName, &**id);
    let mut ports = ports
        .iter()
        .filter_map(|&port| core.inputs.sb.port_binding.get(port));
    ports.any(|row| local.0.contains(&row.datapath))
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::{RowUpdate, Uuid};
    use weft_schemas::{sb, vs};

    use super::*;
    use crate::program::Settings;
    use crate::testing::{local_database, map};

    /// `vm1` to `vm3` are ports of one switch, `far` of another; `vm1` is here. What is needed has been asked for.
    fn running(now: Instant) -> (Core, Asking) {
        let mut core = Core::new(Settings::default()).unwrap();
        core.apply_vs(local_database(&["vm1"]), false);
        let ports = ["vm1", "vm2", "vm3", "far"];
        let rows = ports.iter().enumerate().map(|(n, name)| {
            let row = sb::PortBinding {
                logical_port: (*name).into(),
                datapath: Uuid(if *name == "far" { 2 } else { 1 }),
                tunnel_key: n as i64 + 1,
                ..Default::default()
            };
            RowUpdate::insert(Uuid(10 + n as u128), row).into()
        });
        let mut rows: Vec<sb::Update> = rows.collect();
        for key in 1..=2 {
            let row = sb::DatapathBinding {
                tunnel_key: key,
                ..Default::default()
            };
            rows.push(RowUpdate::insert(Uuid(key as u128), row).into());
        }
        core.apply_sb(rows, false);
        core.run();
        let mut asking = Asking::default();
        assert!(asking.next(&core, now).is_some());
        assert_eq!(asking.next(&core, now), None);
        (core, asking)
    }

    /// An interface comes or goes; its number tells it from others.
    fn plug(core: &mut Core, asking: &mut Asking, n: u128, id: Option<&str>) {
        let row = id.map(|id| vs::Interface {
            name: id.into(),
            external_ids: map(&[("iface-id", id)]),
            ..Default::default()
        });
        let update = match row {
            Some(row) => RowUpdate::insert(Uuid(100 + n), row),
            None => RowUpdate::delete(Uuid(100 + n)),
        };
        core.apply_vs(vec![update.into()], false);
        core.run();
        asking.clear();
    }

    fn complete(core: &Core) -> Option<Conditions> {
        Some(monitor::conditions(core, &monitor::interface_ids(core)))
    }

    #[test]
    fn an_unknown_port_is_asked_for_at_once() {
        let now = Instant::now();
        let (mut core, mut asking) = running(now);
        plug(&mut core, &mut asking, 1, Some("new"));
        assert_eq!(asking.next(&core, now), complete(&core));
        assert_eq!(asking.due(), None);
        plug(&mut core, &mut asking, 2, Some("far"));
        assert_eq!(asking.next(&core, now), complete(&core));
    }

    #[test]
    fn a_known_port_waits_and_others_with_it() {
        let now = Instant::now();
        let (mut core, mut asking) = running(now);
        for (n, id) in [(1, "vm2"), (2, "vm3")] {
            plug(&mut core, &mut asking, n, Some(id));
            assert_eq!(asking.next(&core, now), None);
            assert_eq!(asking.due(), Some(now + PATIENCE));
        }
        assert_eq!(asking.next(&core, now + PATIENCE), complete(&core));
        assert_eq!(asking.due(), None);
        plug(&mut core, &mut asking, 1, None);
        assert_eq!(asking.next(&core, now), None);
        assert_eq!(asking.next(&core, now + PATIENCE), complete(&core));
    }

    #[test]
    fn what_waits_goes_with_what_does_not() {
        let now = Instant::now();
        let (mut core, mut asking) = running(now);
        plug(&mut core, &mut asking, 1, Some("vm2"));
        assert_eq!(asking.next(&core, now), None);
        plug(&mut core, &mut asking, 2, Some("new"));
        assert_eq!(asking.next(&core, now), complete(&core));
        assert_eq!(asking.due(), None);
        // Back before it was due: nothing is left to ask for.
        plug(&mut core, &mut asking, 3, Some("vm3"));
        assert_eq!(asking.next(&core, now), None);
        plug(&mut core, &mut asking, 3, None);
        assert_eq!(asking.next(&core, now), None);
        assert_eq!(asking.due(), None);
    }

    #[test]
    fn nobody_is_told_before_it_is_known_that_nothing_is_inside() {
        let now = Instant::now();
        let (mut core, mut asking) = running(now);
        assert!(asking.check(7).is_none() && asking.is_answered(Some(7)));
        plug(&mut core, &mut asking, 1, Some("vm2"));
        assert_eq!(asking.next(&core, now), None);
        assert!(!asking.is_answered(Some(7)) && asking.check(7).is_some());
        assert!(asking.check(7).is_none(), "one at a time");
        asking.checked(true, now);
        assert!(asking.is_answered(Some(7)) && !asking.is_answered(Some(8)));
        // Nor is there anything inside of the next.
        plug(&mut core, &mut asking, 2, Some("vm3"));
        assert_eq!(asking.next(&core, now), None);
        assert!(asking.is_answered(Some(7)) && asking.check(7).is_none());
        // There is something inside: it is asked for at once.
        assert!(asking.check(8).is_some());
        asking.checked(false, now);
        assert!(!asking.is_answered(Some(8)));
        assert_eq!(asking.next(&core, now), complete(&core));
        assert!(asking.is_answered(Some(8)));
    }
}
