//! Updates as ovsdb-server sends them, into typed rows, replicas and changes.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use serde::de::DeserializeSeed;
use weft_ovsdb::model::{Database, Recorder, RowFormat, Table, UpdatesSeed, Uuid};
use weft_schemas::nb;

const ID: &str = "00000000-0000-4000-8000-000000000001";
const PORT: &str = "00000000-0000-4000-8000-000000000002";

fn read(format: RowFormat, text: &str) -> Result<Vec<nb::Update>, serde_json::Error> {
    UpdatesSeed::<nb::Db>::new(format).deserialize(&mut serde_json::Deserializer::from_str(text))
}

fn of_switch(update: &str) -> Vec<nb::Update> {
    read(
        RowFormat::V2,
        &format!(r#"{{"Logical_Switch":{{"{ID}":{update}}},"Unknown":{{"x":{{}}}}}}"#),
    )
    .unwrap()
}

#[test]
fn a_row_through_its_life() {
    let id: Uuid = ID.parse().unwrap();
    let port: Uuid = PORT.parse().unwrap();
    let mut db = nb::Db::default();
    let mut apply = |update: &str| {
        of_switch(update)
            .into_iter()
            .filter_map(|u| db.apply(u))
            .collect::<Vec<_>>()
    };

    let row = format!(
        r#"{{"name":"sw0","ports":["uuid","{PORT}"],"other_config":["map",[["b","2"],["a","1"]]],"newer":1}}"#
    );
    let changes = apply(&format!(r#"{{"initial":{row}}}"#));
    let [nb::Change::LogicalSwitch(change)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((change.old.is_none(), change.columns), (true, !0));
    assert!(
        apply(&format!(r#"{{"insert":{row}}}"#)).is_empty(),
        "the same row again"
    );

    // A difference: the port leaves, key "a" leaves, "b" changes, "c" comes.
    let delta = format!(
        r#"{{"ports":["uuid","{PORT}"],"other_config":["map",[["a","1"],["b","3"],["c","4"]]]}}"#
    );
    let changes = apply(&format!(r#"{{"modify":{delta}}}"#));
    let [nb::Change::LogicalSwitch(change)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        change.columns,
        nb::logical_switch::PORTS | nb::logical_switch::OTHER_CONFIG
    );
    let (old, new) = (change.old.clone().unwrap(), change.new.clone().unwrap());
    assert!(old.ports.contains(&port) && new.ports.is_empty());
    assert_eq!(new.other_config, [("b", "3"), ("c", "4")].into());
    assert_eq!(new.name.as_ref(), "sw0");

    assert_eq!(apply(r#"{"delete":null}"#).len(), 1);
    assert!(!db.logical_switch.contains(id));
}

#[test]
fn the_original_protocol() {
    let mut db = nb::Db::default();
    for (update, name) in [
        (r#"{"new":{"name":"a"}}"#, Some("a")),
        (
            r#"{"old":{"name":"a"},"new":{"name":"b","ports":["set",[]]}}"#,
            Some("b"),
        ),
        (r#"{"old":{"name":"b"}}"#, None),
    ] {
        let updates = read(
            RowFormat::V1,
            &format!(r#"{{"Logical_Switch":{{"{ID}":{update}}}}}"#),
        )
        .unwrap();
        assert_eq!(updates.into_iter().filter_map(|u| db.apply(u)).count(), 1);
        assert_eq!(
            db.logical_switch
                .get(ID.parse().unwrap())
                .map(|row| &*row.name),
            name
        );
    }
}

#[test]
fn optional_atoms_and_errors_with_their_place() {
    let port = |tag: &str| {
        read(
            RowFormat::V2,
            &format!(r#"{{"Logical_Switch_Port":{{"{ID}":{{"insert":{{"tag":{tag}}}}}}}}}"#),
        )
    };
    for (json, tag) in [
        ("5", Some(5)),
        (r#"["set",[]]"#, None),
        (r#"["set",[7]]"#, Some(7)),
    ] {
        let mut db = nb::Db::default();
        db.replace(port(json).unwrap());
        assert_eq!(
            db.logical_switch_port.get(ID.parse().unwrap()).unwrap().tag,
            tag
        );
    }
    let error = port("\"x\"").unwrap_err().to_string();
    assert!(
        error.contains("table Logical_Switch_Port")
            && error.contains("column tag")
            && error.contains(ID),
        "{error}"
    );
}

#[derive(Default)]
struct Notes(RefCell<Vec<(u8, Uuid, u64)>>);

impl Recorder for Notes {
    fn read(&self, table: u8, uuid: Uuid, columns: u64) {
        self.0.borrow_mut().push((table, uuid, columns));
    }
}

#[test]
fn reading_is_noted() {
    let id = Uuid(1);
    let rows: Table<nb::LogicalSwitch> = [(
        id,
        nb::LogicalSwitch {
            name: "a".into(),
            ..Default::default()
        },
    )]
    .into_iter()
    .collect();
    let (notes, table) = (Notes::default(), nb::TableId::LogicalSwitch as u8);
    assert!(rows.tracked(Uuid(2), &notes).is_none());
    assert_eq!(rows.tracked(id, &notes).unwrap().name().as_ref(), "a");
    assert_eq!(
        *notes.0.borrow(),
        [
            (table, Uuid(2), 0),
            (table, id, 0),
            (table, id, nb::logical_switch::NAME)
        ]
    );
}
