//! How far configuration has come: `nb_cfg` to `sb_cfg` and `hv_cfg`, with the times (`ovn-nb(5)`, `NB_Global`).
//!
//! `nb_cfg` is counted up by whoever wants to wait. When northd sees a new number it notes the time; when the southbound
//! holds everything that came with it, `SB_Global.nb_cfg` and `NB_Global.sb_cfg` get the number; when every chassis has
//! told that number in `Chassis_Private`, `NB_Global.hv_cfg` gets it. Times are milliseconds since 1970.

use weft_schemas::{nb, sb};

/// What to write into `NB_Global`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// `nb_cfg` as last seen.
    pub nb_cfg: i64,
    /// When it was first seen.
    pub nb_cfg_timestamp: i64,
    /// The number up to which the southbound is complete, and since when.
    pub sb: Option<(i64, i64)>,
    /// The number that every chassis has reached, and when the last one did.
    pub hv: Option<(i64, i64)>,
}

impl Progress {
    /// Follows `NB_Global`. Returns the number if it is a new one.
    pub fn see(&mut self, db: &nb::Db, now_ms: i64) -> Option<i64> {
        let (_, global) = db.nb_global.iter().next()?;
        if global.nb_cfg == self.nb_cfg {
            return None;
        }
        self.nb_cfg = global.nb_cfg;
        self.nb_cfg_timestamp = now_ms;
        Some(self.nb_cfg)
    }

    /// Everything up to a number is in the southbound. Returns whether that is news.
    pub fn southbound_has(&mut self, nb_cfg: i64, now_ms: i64) -> bool {
        let news = self.sb.is_none_or(|(had, _)| had != nb_cfg);
        if news {
            self.sb = Some((nb_cfg, now_ms));
        }
        news
    }

    /// Follows the chassis. Returns whether that changed anything.
    pub fn chassis(&mut self, db: &sb::Db) -> bool {
        let Some((_, global)) = db.sb_global.iter().next() else {
            return false;
        };
        let reached = db
            .chassis_private
            .iter()
            .filter(|(_, row)| {
                !row.chassis
                    .and_then(|c| db.chassis.get(c))
                    .is_some_and(is_remote)
            })
            .map(|(_, row)| (row.nb_cfg, row.nb_cfg_timestamp));
        let (mut lowest, mut at) = (global.nb_cfg, 0);
        for (nb_cfg, time) in reached {
            if nb_cfg < lowest {
                (lowest, at) = (nb_cfg, time);
            } else if nb_cfg == lowest {
                at = at.max(time);
            }
        }
        let new = Some((lowest, at));
        std::mem::replace(&mut self.hv, new) != new
    }

    /// The columns of `NB_Global` that differ.
    pub fn difference(&self, have: &nb::NbGlobal) -> (nb::NbGlobal, u64) {
        use nb::nb_global as column;
        let mut row = nb::NbGlobal::default();
        let mut mask = 0;
        let mut set = |slot: &mut i64, had: i64, want: i64, bit: u64| {
            if had != want {
                *slot = want;
                mask |= bit;
            }
        };
        if let Some((cfg, time)) = self.sb {
            set(&mut row.sb_cfg, have.sb_cfg, cfg, column::SB_CFG);
            if have.sb_cfg != cfg {
                set(
                    &mut row.sb_cfg_timestamp,
                    have.sb_cfg_timestamp,
                    time,
                    column::SB_CFG_TIMESTAMP,
                );
            }
        }
        if let Some((cfg, time)) = self.hv {
            set(&mut row.hv_cfg, have.hv_cfg, cfg, column::HV_CFG);
            set(
                &mut row.hv_cfg_timestamp,
                have.hv_cfg_timestamp,
                time,
                column::HV_CFG_TIMESTAMP,
            );
        }
        // A number that was there before we were keeps the time somebody else noted.
        if self.nb_cfg == have.nb_cfg && self.nb_cfg_timestamp != 0 && have.sb_cfg != have.nb_cfg {
            set(
                &mut row.nb_cfg_timestamp,
                have.nb_cfg_timestamp,
                self.nb_cfg_timestamp,
                column::NB_CFG_TIMESTAMP,
            );
        }
        (row, mask)
    }
}

fn is_remote(chassis: &sb::Chassis) -> bool {
    chassis
        .other_config
        .get("is-remote")
        .is_some_and(|v| &**v == "true")
}
