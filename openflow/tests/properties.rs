//! Round trips and robustness for anything that can be made up.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use weft_openflow::{Action, ActionList, Field, FlowMod, LearnSpec, Match, Message, SubField};

fn field() -> impl Strategy<Value = Field> {
    // A match that only says "an Ethernet frame" is the same as none.
    proptest::sample::select(Field::ALL).prop_filter("implied", |f| *f != Field::PacketType)
}

fn subfield() -> impl Strategy<Value = SubField> {
    field().prop_flat_map(|f| {
        let bits = f.def().bits.min(64);
        (0..bits)
            .prop_flat_map(move |first| (first..bits).prop_map(move |last| f.bits(first, last)))
    })
}

fn matching() -> impl Strategy<Value = Match> {
    proptest::collection::vec(
        (
            field(),
            any::<u128>(),
            prop_oneof![Just(u128::MAX), any::<u128>()],
        ),
        0..8,
    )
    .prop_map(|v| v.into_iter().collect())
}

fn action() -> impl Strategy<Value = Action> {
    let leaf = prop_oneof![
        any::<u8>()
            .prop_filter("means none", |t| *t != 255)
            .prop_map(Action::resubmit),
        (any::<u128>(), subfield()).prop_map(|(v, s)| Action::load(v, s)),
        (subfield(), subfield()).prop_map(|(a, b)| Action::Move {
            src: SubField { bits: 1, ..a },
            dst: SubField { bits: 1, ..b }
        }),
        subfield().prop_map(Action::Push),
        subfield().prop_map(Action::OutputField),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Action::controller),
        any::<u32>().prop_map(Action::Group),
        (subfield(), any::<u128>()).prop_map(|(s, v)| {
            let specs = vec![
                LearnSpec::matching(s, s),
                LearnSpec::matching_value(v & (u128::MAX >> (128 - u32::from(s.bits))), s),
                LearnSpec::output(s),
            ];
            Action::Learn(Box::new(weft_openflow::Learn {
                specs,
                ..Default::default()
            }))
        }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        proptest::collection::vec(inner, 0..4)
            .prop_map(|list| Action::Clone(list.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn flow_mods_round_trip(m in matching(), actions in proptest::collection::vec(action(), 0..6), table: u8, priority: u16, cookie: u64, xid: u32) {
        let list: ActionList = actions.iter().cloned().collect();
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), actions);
        let message = Message::FlowMod(FlowMod::add(table, priority, m, list).cookie(cookie));
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes).unwrap();
        prop_assert_eq!(Message::decode(&bytes).unwrap(), (xid, message));
    }

    #[test]
    fn matches_are_canonical(parts in proptest::collection::vec((field(), any::<u128>(), any::<u128>()), 0..6), seed in any::<prop::sample::Index>()) {
        // Disjoint fields in any order make the same match.
        let mut seen = std::collections::BTreeSet::new();
        let parts: Vec<_> = parts.into_iter().filter(|p| p.0.reg_index().is_some() && seen.insert(p.0)).collect();
        let mut turned = parts.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
        }
        let (a, b): (Match, Match) = (parts.iter().copied().collect(), turned.into_iter().collect());
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(Match::from_oxm(a.oxm_bytes()).unwrap(), a.clone());
        let again: Match = a.iter().map(|m| (m.field, m.value, m.mask)).collect();
        prop_assert_eq!(again, a);
    }

    /// What decodes encodes to what decodes to the same; nothing panics.
    #[test]
    fn any_bytes(kind in 0u8..36, mut body in proptest::collection::vec(any::<u8>(), 0..200)) {
        body.truncate(body.len() / 8 * 8);
        let mut bytes = vec![6, kind, 0, u8::try_from(body.len() + 8).unwrap(), 0, 0, 0, 1];
        bytes.extend(body);
        check(&bytes)?;
    }

    /// Real messages with some bytes changed.
    #[test]
    fn changed_captures(line: prop::sample::Index, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let lines: Vec<&str> = [include_str!("messages.txt"), include_str!("flows.txt"), include_str!("dumps.txt")]
            .into_iter()
            .flat_map(|t| t.lines().filter(|l| !l.starts_with('#')))
            .collect();
        let hex = lines[line.index(lines.len())].split(' ').next().unwrap();
        let mut bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        for (at, value) in changes {
            let at = 8 + at.index((bytes.len() - 7).max(1)).min(bytes.len().saturating_sub(9));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        check(&bytes)?;
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((xid, message)) = Message::decode(bytes) {
        let _ = format!("{message:?}");
        let mut again = Vec::new();
        if message.encode(xid, &mut again).is_ok() {
            prop_assert_eq!(Message::decode(&again).unwrap(), (xid, message));
        }
    }
    Ok(())
}
