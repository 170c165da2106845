//! Any update of rows is read in both formats or refused, and a replica takes what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeSeed;
use weft_ovsdb::model::{Database, RowFormat, UpdatesSeed};
use weft_schemas::sb::Db;

fuzz_target!(|text: &str| {
    for format in [RowFormat::V1, RowFormat::V2] {
        let mut json = serde_json::Deserializer::from_str(text);
        if let Ok(updates) = UpdatesSeed::<Db>::new(format).deserialize(&mut json) {
            let mut replica = Db::default();
            for update in updates {
                let _ = replica.apply(update);
            }
        }
    }
});
