//! Address sets, and the flows that their members make.
//!
//! A small set is read as a whole, for all flows that name it. Of a large one the members are shared out by their text among
//! a fixed number of *parts*; a member that comes or goes costs its part again and no other. Logical flows that compare with
//! such a set leave it open where they can ([`weft_lang::template`]); a unit per part puts the part's members in. So one
//! address more in a set of ten thousand is one flow more, at the cost of a few hundred.

use std::hash::Hasher as _;
use std::sync::Arc;

use rustc_hash::FxHasher;
use weft_engine::{Cx, Kind};
use weft_lang::lower::FlowMatch;
use weft_lang::template::SetFlows;
use weft_lang::{Const, Int, parse_constants};
use weft_ovsdb::model::{Str, Uuid};

use crate::flow::Actions;
use crate::index::Index;
use crate::lflow::{LFLOW, Target};
use crate::program::{Controller, Diagnostic, Key, Read};

/// Sets of more members are read in parts, unless the settings say otherwise.
const LARGE: usize = 1024;
/// Parts of a large set.
const PARTS: u8 = 64;

/// Publishes [`Texts`]; keyed by row of Address_Set.
pub const TEXTS: Kind<Controller> = Kind::pure("address-set-texts", &[], texts);
/// Publishes the addresses of a part of a set as they are written (`Arc<[Str]>`).
pub const PART_TEXTS: Kind<Controller> =
    Kind::pure("address-part-texts", &["address-set-texts"], part_texts);
/// Publishes the addresses of a part of a set (`Vec<Int>`).
pub const PART: Kind<Controller> = Kind::pure("address-part", &["address-part-texts"], part);
/// Publishes [`Members`]; keyed by row of Address_Set.
pub const ADDRESS_SET: Kind<Controller> =
    Kind::pure("address-set", &["address-set-texts"], address_set);
/// Emits the flows that a part of the large sets makes of a logical flow; keyed by its row, and part.
pub const LFLOW_PART: Kind<Controller> = Kind::pure(
    "logical-flow-part",
    &["logical-flow", "address-part"],
    lflow_part,
);

/// The addresses of a set as they are written, by part if they are many.
#[derive(PartialEq)]
enum Texts {
    Few,
    Many(Vec<Arc<[Str]>>),
}

/// The addresses of a set.
#[derive(PartialEq)]
pub enum Members {
    /// All of them.
    Few(Vec<Int>),
    /// They are in parts.
    Many,
}

fn part_of(text: &str) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    // The upper bits are the better ones.
    (hasher.finish() >> 32) as usize % usize::from(PARTS)
}

fn texts(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().address_set.tracked(key.row(), &rec) else {
        return;
    };
    let addresses = row.addresses();
    if addresses.len() <= cx.settings().large_set.unwrap_or(LARGE) {
        return cx.publish(Texts::Few);
    }
    let mut parts = vec![Vec::new(); usize::from(PARTS)];
    for text in addresses.iter() {
        parts[part_of(text)].push(text.clone());
    }
    cx.publish(Texts::Many(parts.into_iter().map(Arc::from).collect()));
}

fn part_texts(cx: &Cx<'_, Controller>, key: Key) {
    let Key::Part(set, part) = key else { return };
    let texts = cx.value::<Texts>(TEXTS.id(), Key::Row(set));
    if let Some(Texts::Many(parts)) = texts.as_deref()
        && let Some(own) = parts.get(usize::from(part))
    {
        cx.publish(Arc::clone(own));
    }
}

fn part(cx: &Cx<'_, Controller>, key: Key) {
    let Key::Part(set, _) = key else { return };
    if let Some(texts) = cx.value::<Arc<[Str]>>(PART_TEXTS.id(), key) {
        cx.publish(parsed(cx, set, &texts[..]));
    }
}

fn address_set(cx: &Cx<'_, Controller>, key: Key) {
    cx.demand(TEXTS.id(), key);
    match cx.value::<Texts>(TEXTS.id(), key).as_deref() {
        Some(Texts::Few) => {
            let rec = cx.sb_rec();
            if let Some(row) = cx.sb().address_set.tracked(key.row(), &rec) {
                cx.publish(Members::Few(parsed(cx, key.row(), row.addresses())));
            }
        }
        Some(Texts::Many(_)) => {
            for part in 0..PARTS {
                let key = Key::Part(key.row(), part);
                cx.demand(PART_TEXTS.id(), key);
                cx.demand(PART.id(), key);
            }
            cx.publish(Members::Many);
        }
        None => {}
    }
}

fn parsed<'a>(
    cx: &Cx<'_, Controller>,
    set: Uuid,
    texts: impl IntoIterator<Item = &'a Str>,
) -> Vec<Int> {
    let mut all = Vec::new();
    for text in texts {
        match parse_constants(text) {
            Ok((constants, _)) => all.extend(constants.iter().filter_map(Const::as_int).copied()),
            Err(why) => {
                let rec = cx.sb_rec();
                let row = cx.sb().address_set.tracked(set, &rec);
                let name = row.map_or_else(Str::default, |row| row.name().clone());
                cx.diagnose(Diagnostic {
                    row: format!("Address_Set {name}"),
                    column: "addresses",
                    message: format!("\"{text}\": {why}: left out"),
                    uuid: set,
                });
            }
        }
    }
    all
}

/// Whether the set of that name is there and large.
pub fn is_large(cx: &Cx<'_, Controller>, name: &str) -> bool {
    let row = cx.lookup_one(Index::AddressSetByName, name);
    let members = row.and_then(|row| cx.value::<Members>(ADDRESS_SET.id(), Key::Row(row)));
    matches!(members.as_deref(), Some(Members::Many))
}

/// All members of the set of that name, however many.
pub fn members(cx: &Cx<'_, Controller>, name: &str) -> Option<Vec<Int>> {
    let row = cx.lookup_one(Index::AddressSetByName, name)?;
    match &*cx.value::<Members>(ADDRESS_SET.id(), Key::Row(row))? {
        Members::Few(members) => Some(members.clone()),
        Members::Many => {
            let parts = (0..PARTS).map(|part| Key::Part(row, part));
            let parts = parts.filter_map(|part| cx.value::<Vec<Int>>(PART.id(), part));
            Some(parts.flat_map(|part| part.to_vec()).collect())
        }
    }
}

/// What a logical flow leaves open on one datapath.
#[derive(Clone, PartialEq)]
pub struct Open {
    /// Key of the datapath.
    pub dp_key: u32,
    /// What is to be made of the members of a set.
    pub sets: Vec<SetFlows>,
    /// What the flows do.
    pub actions: Arc<Actions>,
}

/// What a logical flow leaves open.
#[derive(PartialEq)]
struct Opens {
    target: Target,
    open: Vec<Open>,
}

/// Has the parts of large sets put in where a logical flow leaves them open.
pub(crate) fn leave_open(cx: &Cx<'_, Controller>, target: Target, open: Vec<Open>) {
    if open.is_empty() {
        return;
    }
    for part in 0..PARTS {
        cx.demand(LFLOW_PART.id(), Key::Part(target.uuid, part));
    }
    cx.publish(Opens { target, open });
}

fn lflow_part(cx: &Cx<'_, Controller>, key: Key) {
    let Key::Part(lflow, part) = key else { return };
    let Some(opens) = cx.value::<Opens>(LFLOW.id(), Key::Row(lflow)) else {
        return;
    };
    for open in &opens.open {
        for set in &open.sets {
            let row = cx.lookup_one(Index::AddressSetByName, &*set.set);
            let part = row.map(|row| Key::Part(row, part));
            let Some(members) = part.and_then(|key| cx.value::<Vec<Int>>(PART.id(), key)) else {
                continue;
            };
            for bits in members.iter().filter_map(|member| set.member(member)) {
                for flow in &set.flows {
                    let flow = FlowMatch {
                        fields: flow.fields.iter().chain(&bits).copied().collect(),
                        kind: flow.kind.clone(),
                    };
                    opens.target.emit(cx, open.dp_key, &flow, &open.actions);
                }
            }
        }
    }
}
