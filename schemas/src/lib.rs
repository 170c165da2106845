//! The Northbound, Southbound and Open_vSwitch schemas, defined once.
//!
//! `northbound.schema`, `southbound.schema` and `open_vswitch.schema` say what tables and columns there are. From them
//! come the types in [`nb`], [`sb`] and [`vs`], the `.ovsschema` files for `ovsdb-tool`, and the reference of columns in
//! `docs/`.
//!
//! Each module has, per table, a struct of its columns (`nb::LogicalSwitch`), constants of their masks
//! (`nb::logical_switch::PORTS`) and a view that notes what is read (`nb::LogicalSwitchRef`); and for the database its
//! replica `Db`, the `Update`s that come in and the `Change`s they make.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod macros;
pub mod definition;
pub mod render;

use std::sync::LazyLock;

use definition::Definition;

/// The definition of the northbound database.
pub static NORTHBOUND: LazyLock<Definition> =
    LazyLock::new(|| parsed(include_str!("../northbound.schema")));
/// The definition of the southbound database.
pub static SOUTHBOUND: LazyLock<Definition> =
    LazyLock::new(|| parsed(include_str!("../southbound.schema")));
/// The definition of the part of Open vSwitch's database that we use.
pub static OPEN_VSWITCH: LazyLock<Definition> =
    LazyLock::new(|| parsed(include_str!("../open_vswitch.schema")));

fn parsed(text: &str) -> Definition {
    Definition::parse(text).expect("the build script has read the same text")
}

/// The files that are made from the definitions and kept in the repository: path from its root, and text.
#[must_use]
pub fn generated_files() -> Vec<(&'static str, String)> {
    vec![
        (
            "schemas/northbound.ovsschema",
            render::ovsschema(&NORTHBOUND),
        ),
        (
            "schemas/southbound.ovsschema",
            render::ovsschema(&SOUTHBOUND),
        ),
        (
            "docs/columns-northbound.md",
            render::reference(&NORTHBOUND, "schemas/northbound.schema"),
        ),
        (
            "docs/columns-southbound.md",
            render::reference(&SOUTHBOUND, "schemas/southbound.schema"),
        ),
        (
            "docs/columns-open_vswitch.md",
            render::reference(&OPEN_VSWITCH, "schemas/open_vswitch.schema"),
        ),
    ]
}

/// The northbound database: what somebody wants the network to be.
pub mod nb {
    include!(concat!(env!("OUT_DIR"), "/northbound.rs"));
}

/// The southbound database: what northd makes of it, and what the chassis report.
pub mod sb {
    include!(concat!(env!("OUT_DIR"), "/southbound.rs"));
}

/// The part of Open vSwitch's own database that the controller uses.
pub mod vs {
    include!(concat!(env!("OUT_DIR"), "/open_vswitch.rs"));
}
