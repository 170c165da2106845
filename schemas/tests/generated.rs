//! What ships is what the definitions say, and the definitions say what OVN's clients expect.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use weft_ovsdb::model::{Schema, TableSchema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn files_in_the_repository_are_current() {
    for (path, text) in weft_schemas::generated_files() {
        let on_disk = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(
            on_disk == text,
            "{path} is out of date: cargo run -p weft-schemas --example render"
        );
    }
}

#[test]
fn ovsdb_tool_accepts_them() {
    for name in ["northbound", "southbound"] {
        let folder = tempfile::tempdir().unwrap();
        let schema = root().join(format!("schemas/{name}.ovsschema"));
        let made = Command::new("ovsdb-tool")
            .arg("create")
            .arg(folder.path().join("db"))
            .arg(&schema)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let cksum = Command::new("ovsdb-tool")
            .arg("schema-cksum")
            .arg(&schema)
            .output()
            .unwrap();
        let text = std::fs::read_to_string(&schema).unwrap();
        let without: String = text
            .lines()
            .filter(|l| !l.contains("cksum"))
            .map(|l| format!("{l}\n"))
            .collect();
        let file = folder.path().join("without");
        std::fs::write(&file, &without).unwrap();
        let posix = Command::new("cksum")
            .stdin(std::fs::File::open(file).unwrap())
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&cksum.stdout).trim(),
            String::from_utf8_lossy(&posix.stdout).trim()
        );
    }
}

/// Everything a client can see of a table, a line each, so that differences read well.
fn facts(schema: &Schema) -> BTreeSet<String> {
    let mut facts = BTreeSet::from([format!("database {} {}", schema.name, schema.version)]);
    for TableSchema {
        name,
        columns,
        is_root,
        max_rows,
        indexes,
    } in schema.tables.values()
    {
        facts.insert(format!("table {name} root={is_root} max_rows={max_rows:?}"));
        let indexes: BTreeSet<Vec<&String>> = indexes
            .iter()
            .map(|index| index.iter().collect::<BTreeSet<_>>().into_iter().collect())
            .collect();
        facts.insert(format!("table {name} indexes {indexes:?}"));
        facts.extend(
            columns
                .values()
                .map(|column| format!("table {name} {column:?}")),
        );
    }
    facts
}

#[test]
fn equal_to_the_reference_in_everything_a_client_sees() {
    for (ours, theirs) in [("northbound", "ovn-nb"), ("southbound", "ovn-sb")] {
        let theirs = root().join(format!("../shared/ref/{theirs}.ovsschema"));
        let Ok(theirs) = std::fs::read_to_string(&theirs) else {
            println!("skipped: {} is not there", theirs.display());
            continue;
        };
        let ours =
            std::fs::read_to_string(root().join(format!("schemas/{ours}.ovsschema"))).unwrap();
        let (ours, theirs) = (
            facts(&Schema::parse(&ours).unwrap()),
            facts(&Schema::parse(&theirs).unwrap()),
        );
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&theirs).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "missing: {missing:#?}\nextra: {extra:#?}"
        );
    }
}

/// What the controller reads from Open vSwitch exists there, with these types.
#[test]
fn open_vswitch_has_what_we_use() {
    let Ok(theirs) = std::fs::read_to_string("/usr/share/openvswitch/vswitch.ovsschema") else {
        println!("skipped: Open vSwitch is not installed");
        return;
    };
    let ours = Schema::parse(&weft_schemas::render::ovsschema(
        &weft_schemas::OPEN_VSWITCH,
    ))
    .unwrap();
    let theirs = Schema::parse(&theirs).unwrap();
    for table in ours.tables.values() {
        for (name, column) in &table.columns {
            let there = theirs
                .tables
                .get(&table.name)
                .and_then(|t| t.columns.get(name));
            assert_eq!(there, Some(column), "table {}", table.name);
        }
    }
}
