//! Meters of the southbound.

use std::sync::Arc;

use weft_engine::{Cx, Kind};

use crate::flow::MeterSpec;
use crate::program::{Controller, Key, Output, Read};

/// Emits a meter; keyed by its row.
pub const METER: Kind<Controller> = Kind::pure("meter", &[], meter);

fn meter(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().meter.tracked(key.row(), &rec) else {
        return;
    };
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let bands = row
        .bands()
        .iter()
        .filter_map(|&band| cx.sb().meter_band.tracked(band, &rec));
    let mut bands: Vec<(u32, u32)> = bands
        .map(|b| (number(*b.rate()), number(*b.burst_size())))
        .collect();
    bands.sort_unstable();
    cx.emit(Output::Meter(Arc::new(MeterSpec {
        name: row.name().clone(),
        packets: &**row.unit() == "pktps",
        bands,
    })));
}
