//! What is made from the definitions for others: `.ovsschema` files and the reference of columns.

use std::fmt::Write as _;

use serde_json::{Map as JsonObject, Value as Json, json};

use crate::definition::{Atom, Column, Definition, Table};

/// The `.ovsschema` file of a definition, as `ovsdb-tool create` takes it.
///
/// Like those of Open vSwitch it has a line with a checksum of all other lines (POSIX `cksum`), by which tools see
/// whether a database's schema has changed.
#[must_use]
pub fn ovsschema(definition: &Definition) -> String {
    let tables: JsonObject<String, Json> = definition
        .tables
        .iter()
        .map(|t| (t.name.clone(), table(t)))
        .collect();
    let head = format!(
        "{{\n  \"name\": \"{}\",\n  \"version\": \"{}\",\n",
        definition.name, definition.version
    );
    let mut tail = "  \"tables\": ".to_owned();
    layout(&Json::Object(tables), 1, &mut tail);
    tail.push_str("\n}\n");
    let (sum, length) = (
        cksum(head.bytes().chain(tail.bytes())),
        head.len() + tail.len(),
    );
    format!("{head}  \"cksum\": \"{sum} {length}\",\n{tail}")
}

fn table(table: &Table) -> Json {
    let mut json = JsonObject::new();
    let columns: JsonObject<String, Json> = table
        .columns
        .iter()
        .map(|c| (c.name.clone(), column(c)))
        .collect();
    json.insert("columns".into(), Json::Object(columns));
    if !table.indexes.is_empty() {
        json.insert("indexes".into(), json!(table.indexes));
    }
    if table.root {
        json.insert("isRoot".into(), true.into());
    }
    if let Some(rows) = table.max_rows {
        json.insert("maxRows".into(), rows.into());
    }
    Json::Object(json)
}

fn column(column: &Column) -> Json {
    let mut json = JsonObject::new();
    json.insert("type".into(), column_type(column));
    if column.ephemeral {
        json.insert("ephemeral".into(), true.into());
    }
    if column.immutable {
        json.insert("mutable".into(), false.into());
    }
    Json::Object(json)
}

fn column_type(column: &Column) -> Json {
    let key = atom(&column.key);
    if column.value.is_none() && key.is_string() && column.min == 1 && column.max == Some(1) {
        return key;
    }
    let mut json = JsonObject::new();
    json.insert("key".into(), key);
    if let Some(value) = &column.value {
        json.insert("value".into(), atom(value));
    }
    if column.min != 1 {
        json.insert("min".into(), column.min.into());
    }
    match column.max {
        Some(1) => {}
        Some(max) => drop(json.insert("max".into(), max.into())),
        None => drop(json.insert("max".into(), "unlimited".into())),
    }
    Json::Object(json)
}

fn atom(atom: &Atom) -> Json {
    let literal = |text: &String| match atom.kind.as_str() {
        "string" => Json::from(text.as_str()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text.as_str())),
    };
    let mut json = JsonObject::new();
    json.insert("type".into(), atom.kind.as_str().into());
    if !atom.choices.is_empty() {
        json.insert(
            "enum".into(),
            json!(["set", atom.choices.iter().map(literal).collect::<Vec<_>>()]),
        );
    }
    let noun = match atom.kind.as_str() {
        "integer" => "Integer",
        "real" => "Real",
        _ => "Length",
    };
    for (word, limit) in [("min", &atom.min), ("max", &atom.max)] {
        if let Some(limit) = limit {
            json.insert(
                format!("{word}{noun}"),
                serde_json::from_str(limit).unwrap_or(Json::Null),
            );
        }
    }
    if let Some((table, strong)) = &atom.refers {
        json.insert("refTable".into(), table.as_str().into());
        json.insert(
            "refType".into(),
            if *strong { "strong" } else { "weak" }.into(),
        );
    }
    if json.len() == 1 {
        atom.kind.as_str().into()
    } else {
        Json::Object(json)
    }
}

/// JSON with a line per column: objects are broken into lines down to the level of columns.
fn layout(json: &Json, depth: usize, out: &mut String) {
    match json {
        Json::Object(members) if depth < 4 && !members.is_empty() => {
            out.push('{');
            for (i, (name, value)) in members.iter().enumerate() {
                out.push_str(if i == 0 { "\n" } else { ",\n" });
                out.push_str(&"  ".repeat(depth + 1));
                let _ = write!(out, "{}: ", Json::from(name.as_str()));
                layout(value, depth + 1, out);
            }
            let _ = write!(out, "\n{}}}", "  ".repeat(depth));
        }
        _ => {
            let _ = write!(out, "{json}");
        }
    }
}

/// The checksum of POSIX `cksum`: CRC-32, polynomial 0x04c11db7, most significant bit first, over the data and its length.
fn cksum(data: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |c, _| {
            if c >> 31 == 1 {
                c << 1 ^ 0x04c1_1db7
            } else {
                c << 1
            }
        })
    };
    let (mut crc, mut length) = (0, 0u64);
    for byte in data {
        crc = step(crc, byte);
        length += 1;
    }
    while length > 0 {
        crc = step(crc, length as u8);
        length >>= 8;
    }
    !crc
}

/// The reference of columns in Markdown.
#[must_use]
pub fn reference(definition: &Definition, source: &str) -> String {
    let mut out = format!(
        "# Columns of {}\n\nVersion {}. Generated from `{source}`; change that file, then run\n\
         `cargo run -p weft-schemas --example render`.\n\n",
        definition.name, definition.version
    );
    for table in &definition.tables {
        let anchor = table.name.to_lowercase();
        let _ = writeln!(out, "* [{}](#{anchor}): {}", table.name, table.doc);
    }
    for table in &definition.tables {
        let _ = write!(out, "\n## {}\n\n{}\n\n", table.name, table.doc);
        let mut facts = Vec::new();
        if !table.root {
            facts.push("Rows live as long as another row refers to them.".to_owned());
        }
        if let Some(rows) = table.max_rows {
            facts.push(format!(
                "At most {rows} row{}.",
                if rows == 1 { "" } else { "s" }
            ));
        }
        facts.extend(
            table
                .indexes
                .iter()
                .map(|names| format!("Unique: {}.", names.join(" with "))),
        );
        if !facts.is_empty() {
            let _ = write!(out, "{}\n\n", facts.join(" "));
        }
        out.push_str("| column | type | meaning |\n| --- | --- | --- |\n");
        for column in &table.columns {
            let ty = describe(column).replace('|', "\\|");
            let _ = writeln!(
                out,
                "| {} | {ty} | {} |",
                column.name,
                column.doc.replace('|', "\\|")
            );
        }
    }
    out
}

/// A column's type in words.
fn describe(column: &Column) -> String {
    let word = |atom: &Atom| {
        let mut word = match &atom.refers {
            Some((table, true)) => format!("[{table}](#{})", table.to_lowercase()),
            Some((table, false)) => format!("[{table}](#{}) (weak)", table.to_lowercase()),
            None => atom.kind.clone(),
        };
        let noun = if atom.kind == "string" {
            " of length "
        } else {
            " "
        };
        match (&atom.min, &atom.max) {
            (None, None) => {}
            (min, max) => {
                let (min, max) = (min.as_deref().unwrap_or(""), max.as_deref().unwrap_or(""));
                let _ = write!(word, "{noun}{min}..{max}");
            }
        }
        if !atom.choices.is_empty() {
            word = atom
                .choices
                .iter()
                .map(|c| format!("`{c}`"))
                .collect::<Vec<_>>()
                .join(", ");
        }
        word
    };
    let key = word(&column.key);
    let mut text = match (&column.value, column.min, column.max) {
        (Some(value), _, _) => format!("map of {key} to {}", word(value)),
        (None, 1, Some(1)) => key,
        (None, _, Some(1)) => format!("optional {key}"),
        (None, _, _) => format!("set of {key}"),
    };
    if column.max != Some(1) && column.min == 1 {
        text.push_str(", at least 1");
    }
    if let Some(max) = column.max.filter(|max| *max > 1) {
        let _ = write!(text, ", at most {max}");
    }
    if column.immutable {
        text.push_str(", fixed at creation");
    }
    if column.ephemeral {
        text.push_str(", not kept over a restart");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_as_posix_has_it() {
        assert_eq!(cksum(b"123456789".iter().copied()), 930_766_865);
        assert_eq!(cksum(std::iter::empty()), 4_294_967_295);
    }
}
