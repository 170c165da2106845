//! What a user types for a column is read or refused; what is read is written so that it reads the same again. The first
//! byte chooses the column.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_ovsdb::model::{ColumnArgument, ColumnType, Datum, Schema};
use std::sync::LazyLock;

static TYPES: LazyLock<Vec<ColumnType>> = LazyLock::new(|| {
    let schema: Schema = Schema::parse(include_str!("../../northbound.ovsschema")).expect("our own file");
    schema
        .tables
        .into_values()
        .flat_map(|table| table.columns.into_values().map(|column| column.ty))
        .collect()
});

fuzz_target!(|input: (u16, &str)| {
    let (chosen, text) = input;
    let _ = ColumnArgument::parse(text);
    let ty = &TYPES[usize::from(chosen) % TYPES.len()];
    if let Ok(datum) = Datum::parse(ty, text) {
        let written = datum.to_text(ty);
        assert_eq!(Datum::parse(ty, &written).as_ref(), Ok(&datum), "{written}");
    }
});
