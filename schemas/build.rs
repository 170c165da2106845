//! Turns the schema definitions into invocations of the macro `database!` (src/macros.rs), which makes the types.

#[path = "src/definition.rs"]
mod definition;

use std::fmt::Write as _;
use std::path::Path;

use definition::{Atom, Column, Definition};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/definition.rs");
    let out = std::env::var("OUT_DIR")?;
    for name in ["northbound", "southbound", "open_vswitch"] {
        let source = format!("{name}.schema");
        println!("cargo::rerun-if-changed={source}");
        let definition = Definition::parse(&std::fs::read_to_string(&source)?)
            .map_err(|e| format!("{source}: {e}"))?;
        std::fs::write(
            Path::new(&out).join(format!("{name}.rs")),
            generate(&definition)?,
        )?;
    }
    Ok(())
}

fn generate(definition: &Definition) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "database! {{ {:?}", definition.name)?;
    for (id, table) in definition.tables.iter().enumerate() {
        let (ty, module) = (camel(&table.name), table.name.to_lowercase());
        writeln!(
            out,
            "{:?} {ty} {ty}Ref {module} {id} {:?} {{",
            table.doc, table.name
        )?;
        for (place, column) in table.columns.iter().enumerate() {
            let (name, field) = (&column.name, field(&column.name));
            let constant = name.to_uppercase();
            writeln!(
                out,
                "  {:?} {field} {constant} {place} {name:?} ({})",
                column.doc,
                rust_type(column)
            )?;
        }
        writeln!(out, "}}")?;
    }
    writeln!(out, "}}")?;
    Ok(out)
}

/// `Logical_Switch` -> `LogicalSwitch`, `DHCP_Options` -> `DhcpOptions`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_') {
        let mut chars = part.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.extend(chars.map(|c| c.to_ascii_lowercase()));
    }
    out
}

/// Columns named like keywords get an underscore.
fn field(name: &str) -> String {
    match name {
        "type" | "match" | "ref" | "mod" | "use" | "in" | "self" | "where" => format!("{name}_"),
        _ => name.to_owned(),
    }
}

fn rust_type(column: &Column) -> String {
    let key = scalar(&column.key);
    match (&column.value, column.min, column.max) {
        (Some(value), _, _) => format!("Map<{key}, {}>", scalar(value)),
        (None, 1, Some(1)) => key.to_owned(),
        (None, _, Some(1)) => format!("Option<{key}>"),
        (None, _, _) => format!("Set<{key}>"),
    }
}

fn scalar(atom: &Atom) -> &'static str {
    match atom.kind.as_str() {
        "integer" => "i64",
        "real" => "f64",
        "boolean" => "bool",
        "uuid" => "Uuid",
        _ => "Str",
    }
}
