//! `Meter` and `Meter_Band`: rates, handed to the chassis.
//!
//! Guarantees: every meter is handed down, used or not, under its own name. Of a `fair` one each ACL that names it has a copy
//! of its own, so that one noisy ACL does not use up the rate of the others; everybody else shares the meter itself.

use std::sync::Arc;

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::index::ByName;
use crate::output::{Band, Meter, Output};
use crate::program::{Cx, Feature, Key, Per};

/// Emits the meters.
pub struct Meters;

impl Feature for Meters {
    const NAME: &'static str = "meter";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Meter)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.meter(key.row()) else {
            return;
        };
        let name = row.name();
        if row.bands().is_empty() {
            let message = "there is none: the meter is left out";
            return cx.diagnose::<nb::Meter>(name, key.row(), "bands", message);
        }
        emit(cx, key.row(), name.clone());
    }
}

/// Emits the copies of ACLs.
pub struct FairCopies;

impl Feature for FairCopies {
    const NAME: &'static str = "meter_of_acl";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Acl)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.acl(key.row()) else { return };
        let Some(name) = row.meter() else { return };
        let Some(meter) = named(cx, name) else { return };
        let own = of_acl(cx, meter, key.row());
        if own.as_ref() != Some(name)
            && let Some(own) = own
        {
            emit(cx, meter, own);
        }
    }
}

/// The meter of a name.
pub fn named(cx: &Cx<'_>, name: &str) -> Option<Uuid> {
    cx.by_name(ByName::Meter, name).first().copied()
}

/// Under which name an ACL uses a meter: its own copy of a fair one.
pub fn of_acl(cx: &Cx<'_>, meter: Uuid, acl: Uuid) -> Option<Str> {
    let row = cx.meter(meter)?;
    Some(match row.fair() {
        Some(true) => format!("{}__{acl}", row.name()).into(),
        _ => row.name().clone(),
    })
}

fn emit(cx: &Cx<'_>, meter: Uuid, name: Str) {
    let Some(row) = cx.meter(meter) else { return };
    let mut bands: Vec<Band> = row
        .bands()
        .iter()
        .filter_map(|&band| cx.meter_band(band))
        .map(|band| Band {
            action: band.action().clone(),
            rate: *band.rate(),
            burst: *band.burst_size(),
        })
        .collect();
    bands.sort_unstable();
    // The southbound wants a band at least.
    if bands.is_empty() {
        return;
    }
    cx.emit(Output::Meter(Arc::new(Meter {
        name,
        unit: row.unit().clone(),
        bands,
    })));
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::nb;

    use crate::output::Output;
    use crate::testing::Bed;

    fn meter(bed: &mut Bed, name: &str, fair: bool, rate: i64) -> Uuid {
        let band = bed.insert(nb::MeterBand {
            action: "drop".into(),
            rate,
            ..nb::MeterBand::default()
        });
        bed.insert(nb::Meter {
            name: name.into(),
            unit: "pktps".into(),
            bands: [band].into_iter().collect(),
            fair: Some(fair),
            ..nb::Meter::default()
        })
    }

    fn meters(bed: &mut Bed) -> Vec<String> {
        bed.flows("");
        let mut all: Vec<String> = bed
            .outputs()
            .filter_map(|output| match output {
                Output::Meter(meter) => Some(format!("{} {}", meter.name, meter.bands[0].rate)),
                _ => None,
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn acls_have_copies_of_fair_meters_only() {
        let mut bed = Bed::new();
        let fair = meter(&mut bed, "fair", true, 5);
        meter(&mut bed, "common", false, 7);
        let acl = |name: &str| nb::Acl {
            meter: Some(name.into()),
            ..nb::Acl::default()
        };
        let own = bed.insert(acl("fair"));
        bed.insert(acl("common"));
        bed.insert(acl("missing"));
        let copy = format!("fair__{own} 5");
        assert_eq!(meters(&mut bed), ["common 7", "fair 5", &copy]);
        bed.put(
            fair,
            nb::Meter {
                name: "fair".into(),
                ..nb::Meter::default()
            },
        );
        assert_eq!(meters(&mut bed), ["common 7"]);
        assert!(bed.diagnostics().contains("Meter fair"));
    }
}
