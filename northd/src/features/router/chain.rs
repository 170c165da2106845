//! Chains of policies that lead back to where they were entered.
//!
//! Guarantees: however policies jump, a packet comes to an end: of the jumps in a circle the one whose row sorts last is left
//! out, and told.

use std::collections::{BTreeMap, BTreeSet};

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::index::{ById, CHAINED, joined_id};
use crate::program::{Cx, Feature, Key, Per};

/// Per router: publishes [`Closing`] if there are any.
pub struct Circles;

/// The jumps that would close a circle.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Closing(BTreeSet<Uuid>);

impl Feature for Circles {
    const NAME: &'static str = "router_policy_circles";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];

    fn run(cx: &Cx<'_>, key: Key) {
        let chained = cx.by_id(ById::ChainedPolicies, joined_id(key.row(), CHAINED));
        let mut jumps: Vec<(Uuid, Str, Str)> = chained
            .iter()
            .filter_map(|uuid| {
                let row = cx.policy(*uuid)?;
                let from = row.chain().clone().filter(|chain| !chain.is_empty())?;
                let to = row
                    .jump_chain()
                    .clone()
                    .filter(|_| &**row.action() == "jump")?;
                Some((*uuid, from, to))
            })
            .collect();
        jumps.sort();
        let mut leads: BTreeMap<Str, BTreeSet<Str>> = BTreeMap::new();
        let mut closing = BTreeSet::new();
        for (uuid, from, to) in jumps {
            if reaches(&leads, &to, &from) {
                closing.insert(uuid);
            } else {
                leads.entry(from).or_default().insert(to);
            }
        }
        if !closing.is_empty() {
            cx.publish(Closing(closing));
        }
    }
}

/// Whether jumps lead from one chain to another, or they are the same.
fn reaches(leads: &BTreeMap<Str, BTreeSet<Str>>, from: &Str, to: &Str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(chain) = next.pop() {
        if chain == to {
            return true;
        }
        if seen.insert(chain) {
            next.extend(leads.get(chain).into_iter().flatten());
        }
    }
    false
}

/// Whether a policy's jump closes a circle. The reader lists [`Circles`] among its `READS`.
pub fn closes_a_circle(cx: &Cx<'_>, router: Uuid, policy: Uuid) -> bool {
    cx.value::<Closing>(Circles::ID, Key::Row(router))
        .is_some_and(|closing| closing.0.contains(&policy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bed;

    #[test]
    fn the_last_jump_of_a_circle_is_left_out() {
        let mut bed = Bed::new();
        let red = bed.switch("red");
        bed.router_on(red, "r", "0a:00:00:00:ff:01", &["10.0.0.1/24"]);
        let jump = |bed: &mut Bed, from: Option<&str>, to: &str, match_: &str| {
            let uuid = bed.insert(nb::LogicalRouterPolicy {
                priority: 5,
                match_: match_.into(),
                action: "jump".into(),
                chain: from.map(Into::into),
                jump_chain: Some(to.into()),
                ..Default::default()
            });
            bed.edit_router("r", |row| {
                row.policies = row.policies.iter().copied().chain([uuid]).collect();
            });
            uuid
        };
        jump(&mut bed, None, "a", "ip4.src == 10.9.0.1");
        let first = jump(&mut bed, Some("a"), "b", "ip4.src == 10.9.0.2");
        jump(&mut bed, Some("b"), "c", "ip4.src == 10.9.0.3");
        jump(&mut bed, Some("a"), "c", "ip4.src == 10.9.0.4");
        assert_eq!(bed.diagnostics(), "");
        jump(&mut bed, Some("c"), "a", "ip4.src == 10.9.0.5");
        let flows = bed.all_flows("lr_in_policy 5");
        assert_eq!(flows.lines().count(), 4, "{flows}");
        assert!(!flows.contains("10.9.0.5"), "{flows}");
        let said = bed.diagnostics();
        assert!(said.contains("leads back"), "{said}");
        // Still a circle by the other way.
        bed.remove::<nb::LogicalRouterPolicy>(first);
        assert!(bed.diagnostics().contains("leads back"));
    }
}
