//! `DNS`: names that the chassis themselves answer questions for.
//!
//! Guarantees: a row of the southbound for each set of records that a switch lists, with names in lower case and values
//! separated by blanks; on switches with records, questions go to the controller and its answers return to the asker, past
//! the ACLs. A record that says nothing costs itself.

use std::net::IpAddr;
use std::sync::Arc;

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, Field, field};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use super::acl::state::{SwitchAcls, needs};
use super::switch::call_and_next;
use crate::index::ById;
use crate::output::{Dns, DpSet, Output};
use crate::pipeline::{DNS_READY, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// Where questions go to.
const PORT: u16 = 53;

/// Emits the row of a set of records.
pub struct Records;

impl Feature for Records {
    const NAME: &'static str = "dns_records";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Dns)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.dns(key.row()) else { return };
        let switches = cx.by_id(ById::SwitchesOfDns, key.row());
        if switches.is_empty() {
            return;
        }
        let mut records: Vec<(Str, Str)> = Vec::with_capacity(row.records().len());
        for (name, value) in row.records() {
            match record(value) {
                Some(value) => records.push((name.to_lowercase().into(), value)),
                None => {
                    let message = format!(
                        "\"{name}\": \"{value}\" is neither addresses nor a name: left out"
                    );
                    cx.diagnose::<nb::Dns>("", key.row(), "records", message);
                }
            }
        }
        // Of names that differ by case only, the first one stays.
        let count = records.len();
        records.sort_by(|a, b| a.0.cmp(&b.0));
        records.dedup_by(|later, first| later.0 == first.0);
        if records.len() < count {
            let message = "names that differ only by case: one of each is left";
            cx.diagnose::<nb::Dns>("", key.row(), "records", message);
        }
        cx.emit(Output::Dns(Arc::new(Dns {
            nb: key.row(),
            records: records.into_iter().collect::<Map<Str, Str>>(),
            options: row.options().clone(),
            switches: DpSet::new(switches.to_vec()),
        })));
    }
}

/// A value as chassis read it: addresses, or else one name; separated by blanks.
fn record(value: &str) -> Option<Str> {
    let words: Vec<&str> = value
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    let addresses = words.iter().all(|word| word.parse::<IpAddr>().is_ok());
    match words[..] {
        [] => None,
        [one] => Some(one.into()),
        _ if addresses => Some(words.join(" ").into()),
        _ => None,
    }
}

/// Publishes whether a row has any records (`bool`): flows need not follow the records themselves.
pub struct Filled;

impl Feature for Filled {
    const NAME: &'static str = "dns_filled";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Dns)];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(row) = cx.dns(key.row()) {
            cx.publish(!row.records().is_empty());
        }
    }
}

/// Writes the flows of all switches of a row.
pub struct Lookup;

impl Feature for Lookup {
    const NAME: &'static str = "dns_lookup";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Dns)];
    const READS: &'static [&'static str] = &[Filled::NAME, SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if cx.value::<bool>(Filled::ID, key).is_none_or(|some| !*some) {
            return;
        }
        let switches = cx.by_id(ById::SwitchesOfDns, key.row());
        let all = DpSet::new(switches.to_vec());
        let asked = || field::UDP_DST.eq(PORT);
        let lookup = call_and_next(DNS_READY, CallName::DnsLookup, []);
        cx.flow(&all, Stage::LsInDnsLookup, 100, asked(), lookup, None);
        let answered = || Expr::all([asked(), DNS_READY.field().is_set()]);
        for (src, dst) in [
            (field::IP4_SRC, field::IP4_DST),
            (field::IP6_SRC, field::IP6_DST),
        ] {
            let back = back(src, dst);
            cx.flow(&all, Stage::LsInDnsResponse, 100, answered(), back, None);
        }
        past_acls(cx, switches);
    }
}

/// The answer goes where the question came from.
fn back(src: Field, dst: Field) -> Vec<Action> {
    vec![
        Action::Exchange(field::ETH_DST, field::ETH_SRC),
        Action::Exchange(src, dst),
        Action::Move(field::UDP_DST, field::UDP_SRC),
        Action::set(field::UDP_SRC, PORT),
        Action::Move(field::OUTPORT, field::INPORT),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Output,
    ]
}

/// Answers pass ACLs towards the asker: they are the switch's own.
fn past_acls(cx: &Cx<'_>, switches: &[Uuid]) {
    let (mut plain, mut tracked) = (Vec::new(), Vec::new());
    for &switch in switches {
        let needs = needs(cx, switch);
        if needs.stateful() {
            tracked.push(switch);
        } else if needs.acls {
            plain.push(switch);
        }
    }
    let flow = |switches: Vec<Uuid>, actions: Vec<Action>| {
        let (stage, match_) = (Stage::LsOutAcl, field::UDP_SRC.eq(PORT));
        let dps = DpSet::new(switches);
        cx.flow(dps, stage, priority::ACL_OWN, match_, actions, None);
    };
    flow(plain, vec![Action::NEXT]);
    flow(tracked, vec![Action::ct_commit([]), Action::NEXT]);
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::nb;

    use super::*;
    use crate::testing::{Bed, map};

    fn list(bed: &mut Bed, switch: Uuid, rows: &[Uuid]) {
        bed.edit_switch(switch, |row| {
            row.dns_records = rows.iter().copied().collect()
        });
    }

    fn rows(bed: &mut Bed) -> Vec<Arc<Dns>> {
        bed.flows("");
        bed.outputs()
            .filter_map(|output| match output {
                Output::Dns(row) => Some(row.clone()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn questions_go_up_and_answers_back() {
        let mut bed = Bed::new();
        let (with, without) = (bed.switch("with"), bed.switch("without"));
        bed.port(with, "p", |_| {});
        let dns = bed.insert(nb::Dns {
            records: map([("vm1.ovn.org", "10.0.0.4")]),
            ..nb::Dns::default()
        });
        let empty = bed.insert(nb::Dns::default());
        list(&mut bed, with, &[dns, empty]);
        list(&mut bed, without, &[empty]);
        insta::assert_snapshot!(bed.flows("== 53"));
        let acl = bed.insert(nb::Acl {
            action: "allow".into(),
            direction: "to-lport".into(),
            match_: "ip4".into(),
            ..nb::Acl::default()
        });
        bed.edit_switch(with, |row| row.acls = [acl].into_iter().collect());
        let flows = bed.flows("34000");
        assert!(flows.contains("udp.src == 53"), "{flows}");
        assert!(!flows.contains("ct_commit"), "{flows}");
        bed.put(
            acl,
            nb::Acl {
                action: "allow-related".into(),
                direction: "to-lport".into(),
                match_: "ip4".into(),
                ..nb::Acl::default()
            },
        );
        assert!(bed.flows("34000").contains("ct_commit { }; next;"));
        list(&mut bed, with, &[empty]);
        assert_eq!(bed.flows("== 53"), "");
    }

    #[test]
    fn rows_are_in_lower_case() {
        let mut bed = Bed::new();
        let (a, b) = (bed.switch("a"), bed.switch("b"));
        let dns = bed.insert(nb::Dns {
            records: map([
                ("VM1.ovn.org", "10.0.0.4,aef0::4"),
                ("vm1.OVN.org", "10.0.0.5"),
                ("4.0.0.10.in-addr.arpa", "vm1.ovn.org"),
                ("bad", "10.0.0.4 x"),
                ("empty", " "),
            ]),
            options: map([("ovn-owned", "true")]),
            ..nb::Dns::default()
        });
        assert!(rows(&mut bed).is_empty(), "nobody lists it");
        list(&mut bed, a, &[dns]);
        list(&mut bed, b, &[dns]);
        let [row] = &rows(&mut bed)[..] else {
            panic!("one row")
        };
        assert_eq!(row.switches.as_slice().len(), 2);
        assert_eq!(
            row.records,
            map([
                ("4.0.0.10.in-addr.arpa", "vm1.ovn.org"),
                ("vm1.ovn.org", "10.0.0.4 aef0::4"),
            ])
        );
        let said = bed.diagnostics();
        for text in ["\"bad\"", "\"empty\"", "differ only by case"] {
            assert!(said.contains(text), "{text}: {said}");
        }
    }
}
