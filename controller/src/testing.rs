//! What tests, benchmarks and fuzz targets of the controller share.

use weft_ovsdb::model::{Map, RowUpdate, Str, Uuid};
use weft_schemas::vs;

/// A column of pairs.
#[must_use]
pub fn map(pairs: &[(&str, &str)]) -> Map<Str, Str> {
    let pairs = pairs.iter().map(|(k, v)| (Str::from(*k), Str::from(*v)));
    pairs.collect()
}

/// The local database of the chassis `c0`, which can be reached by Geneve, with interfaces at `br-int` that have these `iface-id`s
/// and the numbers 1, 2 ... in OpenFlow.
#[must_use]
pub fn local_database<S: AsRef<str>>(plugged: &[S]) -> Vec<vs::Update> {
    let uuid = |sort: u32, n: usize| Uuid(u128::from(sort) << 96 | n as u128);
    let (root, bridge) = (uuid(1, 0), uuid(2, 0));
    let settings = vs::OpenVswitch {
        bridges: [bridge].into(),
        external_ids: map(&[
            ("system-id", "c0"),
            ("ovn-encap-type", "geneve"),
            ("ovn-encap-ip", "1.1.1.1"),
        ]),
        ..Default::default()
    };
    let br_int = vs::Bridge {
        name: "br-int".into(),
        ports: (0..plugged.len()).map(|n| uuid(3, n)).collect(),
        ..Default::default()
    };
    let mut rows: Vec<vs::Update> = vec![
        RowUpdate::insert(root, settings).into(),
        RowUpdate::insert(bridge, br_int).into(),
    ];
    for (n, id) in plugged.iter().map(AsRef::as_ref).enumerate() {
        let name = Str::from(format!("tap-{id}"));
        let port = vs::Port {
            name: name.clone(),
            interfaces: [uuid(4, n)].into(),
            ..Default::default()
        };
        let interface = vs::Interface {
            name,
            ofport: Some(n as i64 + 1),
            external_ids: map(&[("iface-id", id)]),
            ..Default::default()
        };
        rows.push(RowUpdate::insert(uuid(3, n), port).into());
        rows.push(RowUpdate::insert(uuid(4, n), interface).into());
    }
    rows
}
