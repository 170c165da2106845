//! Routing policies: decisions that go before what the routes say.
//!
//! Guarantees: a policy whose match cannot be read, or of whose next hops none can be used, is left out and told; of several
//! next hops those that cannot be used are told and take no share. A next hop that a BFD session watches takes part while
//! the session is up. A jump is for good: a chain that decides nothing leaves the packet to the routes.

use std::net::IpAddr;

use weft_lang::{Action, Expr, field, parse_match};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::hop::{self, Hop, Networks, NoHop, parse_hop};
use super::numbers::{Numbers, Sort, number};
use super::{Ip, bfd, chain, ecmp, port, set};
use crate::features::acl::references;
use crate::index::{ById, CHAINED, digest, joined_id};
use crate::pipeline::{self, Stage};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// Per policy.
pub struct Policies;

impl Feature for Policies {
    const NAME: &'static str = "router_policy";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPolicy)];
    const READS: &'static [&'static str] = &[
        port::Routers::NAME,
        port::Ports::NAME,
        Networks::NAME,
        Numbers::NAME,
        bfd::Sessions::NAME,
        chain::Circles::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(&router) = cx.by_id(ById::RouterOfPolicy, uuid).first() else {
            return;
        };
        if port::router(cx, router).is_none() {
            return;
        }
        let Some(row) = cx.policy(uuid) else { return };
        let name = format!("priority {} \"{}\"", row.priority(), row.match_());
        let policy = Policy {
            cx,
            uuid,
            router,
            name,
        };
        let Some(match_) = policy.matches(row.match_(), row.chain().as_deref().unwrap_or_default())
        else {
            return;
        };
        let priority = u16::try_from(*row.priority()).unwrap_or(0);
        let mark = policy.mark(row.options().get("pkt_mark"));
        let no_group = || set(pipeline::ECMP_GROUP, 0);
        let actions = match &**row.action() {
            "drop" => vec![Action::Drop],
            "allow" => mark.into_iter().chain([no_group(), Action::NEXT]).collect(),
            "jump" => match policy.jump(
                row.jump_chain().as_deref().unwrap_or_default(),
                row.chain().as_deref(),
            ) {
                Some(actions) => actions,
                None => return,
            },
            "reroute" => {
                let hops = policy.hops();
                match &hops[..] {
                    [] => return,
                    [hop] => {
                        let mut actions: Vec<Action> = mark.into_iter().collect();
                        actions.extend(hop.instead());
                        // Before `next;`.
                        actions.insert(actions.len() - 1, no_group());
                        actions
                    }
                    hops => match policy.share(hops, mark.as_ref()) {
                        Some(actions) => actions,
                        None => return,
                    },
                }
            }
            other => {
                policy.complain(
                    "action",
                    &format!("\"{other}\" is unknown: the policy is left out"),
                );
                return;
            }
        };
        cx.flow(
            router,
            Stage::LrInPolicy,
            priority,
            match_,
            actions,
            Some(uuid),
        );
    }
}

/// A policy being compiled.
struct Policy<'a, 'c> {
    cx: &'a Cx<'c>,
    uuid: Uuid,
    router: Uuid,
    name: String,
}

impl Policy<'_, '_> {
    fn complain(&self, column: &'static str, message: &str) {
        self.cx
            .diagnose::<nb::LogicalRouterPolicy>(&self.name, self.uuid, column, message);
    }

    /// The match of the row, within its chain.
    fn matches(&self, text: &str, chain: &str) -> Option<Expr> {
        let match_ = match parse_match(text) {
            Ok(match_) => match_,
            Err(error) => {
                self.complain(
                    "match",
                    &format!("\"{text}\": {error}: the policy is left out"),
                );
                return None;
            }
        };
        references::check(self.cx, &match_, false, &|column, message| {
            self.complain(column, &message)
        });
        let chained = pipeline::POLICY_CHAINED.field();
        if !chain.is_empty() {
            let number = self.chain(chain)?;
            return Some(Expr::all([
                chained.eq(1),
                pipeline::POLICY_CHAIN.field().eq(u64::from(number)),
                match_,
            ]));
        }
        // Who has no chains need not ask in which one it is.
        let chains = self
            .cx
            .by_id(ById::ChainedPolicies, joined_id(self.router, CHAINED));
        let first = (!chains.is_empty()).then(|| chained.eq(0));
        Some(Expr::all(first.into_iter().chain([match_])))
    }

    fn chain(&self, name: &str) -> Option<u32> {
        number(self.cx, self.router, Sort::Chain, digest(name))
    }

    /// Begins with the policies of another chain.
    fn jump(&self, to: &str, from: Option<&str>) -> Option<Vec<Action>> {
        if to.is_empty() || Some(to) == from {
            let what = if to.is_empty() {
                "no chain is named"
            } else {
                "the chain jumps to itself"
            };
            self.complain("jump_chain", &format!("{what}: the policy is left out"));
            return None;
        }
        if chain::closes_a_circle(self.cx, self.router, self.uuid) {
            let from = from.unwrap_or_default();
            let message = format!("\"{to}\" leads back to \"{from}\": the policy is left out");
            self.complain("jump_chain", &message);
            return None;
        }
        let stage = Stage::LrInPolicy;
        Some(vec![
            set(pipeline::POLICY_CHAINED, 1),
            set(pipeline::POLICY_CHAIN, u64::from(self.chain(to)?)),
            Action::NextIn(weft_lang::Pipeline::Ingress, stage.table()),
        ])
    }

    /// `pkt.mark = N;`
    fn mark(&self, text: Option<&Str>) -> Option<Action> {
        let text = text?;
        match text.parse::<u32>() {
            Ok(0) => None,
            Ok(mark) => Some(Action::set(field::PKT_MARK, u64::from(mark))),
            Err(_) => {
                self.complain(
                    "options",
                    &format!("pkt_mark \"{text}\" is no number of 32 bits: packets are not marked"),
                );
                None
            }
        }
    }

    /// The next hops that can be used, in the order of their addresses.
    fn hops(&self) -> Vec<Hop> {
        let Some(row) = self.cx.policy(self.uuid) else {
            return Vec::new();
        };
        let mut texts: Vec<&Str> = row.nexthops().iter().collect();
        let column = if texts.is_empty() {
            "nexthop"
        } else {
            "nexthops"
        };
        if texts.is_empty() {
            texts.extend(row.nexthop());
        }
        if texts.is_empty() {
            self.complain("nexthops", "there is none: the policy is left out");
        }
        let port = row
            .output_port()
            .and_then(|port| Some(self.cx.lrp(port)?.name().clone()));
        let watched: Vec<_> = row
            .bfd_sessions()
            .iter()
            .filter_map(|session| bfd::session(self.cx, *session))
            .collect();
        let mut addresses: Vec<Ip> = Vec::new();
        for text in texts {
            match parse_hop(text) {
                Some(ip) => addresses.push(ip),
                None => self.complain(column, &format!("\"{text}\" is no address: left out")),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        let family = addresses.first().map(std::mem::discriminant);
        let mut hops = Vec::new();
        for ip in addresses {
            let text = weft_lang::Const::from(ip);
            if family != Some(std::mem::discriminant(&ip)) {
                self.complain(
                    column,
                    &format!("\"{text}\" is not of the family of the others: left out"),
                );
                continue;
            }
            let hop = match hop::choose(self.cx, self.router, ip, port.as_deref()) {
                Ok(hop) => hop,
                Err(why) => {
                    let (column, message) = told(&why, column);
                    self.complain(column, &format!("{message} \"{text}\": left out"));
                    continue;
                }
            };
            let about = |session: &&std::sync::Arc<bfd::Session>| {
                session.port == hop.port.name && session.peer == IpAddr::from(ip)
            };
            if watched.iter().find(about).is_none_or(|session| session.up) {
                hops.push(hop);
            }
        }
        hops
    }

    /// The flows of the next hops, and the actions that choose one.
    fn share(&self, hops: &[Hop], mark: Option<&Action>) -> Option<Vec<Action>> {
        let group = number(self.cx, self.router, Sort::Policy, self.uuid)?;
        for (member, hop) in (1u16..).zip(hops) {
            let actions: Vec<Action> = mark.cloned().into_iter().chain(hop.instead()).collect();
            let chosen = ecmp::chosen(group, member);
            self.cx.flow(
                self.router,
                Stage::LrInPolicyEcmp,
                100,
                chosen,
                actions,
                Some(self.uuid),
            );
        }
        Some(ecmp::pick(group, hops.len(), None).into())
    }
}

/// The column that is to blame, and why.
fn told(why: &NoHop, column: &'static str) -> (&'static str, &'static str) {
    match why {
        NoHop::NoSuchPort => (
            "output_port",
            "it is no port of the router that could reach",
        ),
        NoHop::NoAddress => ("output_port", "the port has no address of the family of"),
        NoHop::Unreachable => (column, "no port of the router has a network that holds"),
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::{nb, sb};

    use crate::testing::{Bed, map};

    fn bed() -> Bed {
        let mut bed = Bed::new();
        let red = bed.switch("red");
        bed.router_on(
            red,
            "r",
            "0a:00:00:00:ff:01",
            &["10.0.0.1/24", "fd00::1/64"],
        );
        bed
    }

    fn policy(
        bed: &mut Bed,
        priority: i64,
        edit: impl FnOnce(&mut nb::LogicalRouterPolicy),
    ) -> Uuid {
        let mut row = nb::LogicalRouterPolicy {
            priority,
            match_: format!("ip4.src == 10.9.{priority}.0/24").into(),
            action: "allow".into(),
            ..nb::LogicalRouterPolicy::default()
        };
        edit(&mut row);
        let uuid = bed.insert(row);
        bed.edit_router("r", |row| {
            row.policies = row.policies.iter().copied().chain([uuid]).collect()
        });
        uuid
    }

    fn reroute(row: &mut nb::LogicalRouterPolicy, hops: &[&str]) {
        row.action = "reroute".into();
        row.nexthops = hops.iter().map(|hop| (*hop).into()).collect();
    }

    #[test]
    fn what_policies_do() {
        let mut bed = bed();
        policy(&mut bed, 1, |_| ());
        policy(&mut bed, 2, |row| row.action = "drop".into());
        policy(&mut bed, 3, |row| row.options = map([("pkt_mark", "7")]));
        policy(&mut bed, 4, |row| {
            reroute(row, &["10.0.0.9"]);
            row.options = map([("pkt_mark", "9")]);
        });
        policy(&mut bed, 5, |row| reroute(row, &["10.0.0.9", "10.0.0.8"]));
        policy(&mut bed, 6, |row| {
            row.match_ = "ip6.dst == fd99::/64".into();
            reroute(row, &["fd00::9", "fe80::9"]);
        });
        policy(&mut bed, 7, |row| {
            row.action = "reroute".into();
            row.nexthop = Some("10.0.0.7".into());
        });
        insta::assert_snapshot!(bed.all_flows("lr_in_policy"));
        assert_eq!(bed.diagnostics(), "");
    }

    #[test]
    fn chains_are_entered_by_jumps_only() {
        let mut bed = bed();
        policy(&mut bed, 1, |_| ());
        let before = bed.all_flows("10.9.1.0/24");
        assert!(!before.contains("reg9[15]"), "{before}");
        policy(&mut bed, 2, |row| {
            row.action = "jump".into();
            row.jump_chain = Some("tea".into());
        });
        policy(&mut bed, 3, |row| {
            row.chain = Some("tea".into());
            row.action = "drop".into();
        });
        let flows = bed.all_flows("lr_in_policy ");
        let number = flows
            .split("reg9[16..31] = ")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .unwrap_or_default()
            .to_owned();
        for expected in [
            "1 | reg9[15] == 0 && ip4.src == 10.9.1.0/24 | reg8[0..15] = 0; next;".to_owned(),
            format!(
                "2 | reg9[15] == 0 && ip4.src == 10.9.2.0/24 | reg9[15] = 1; reg9[16..31] = {number}; next(pipeline=ingress,table=15);"
            ),
            format!(
                "3 | reg9[15] == 1 && reg9[16..31] == {number} && ip4.src == 10.9.3.0/24 | drop;"
            ),
        ] {
            assert!(
                flows.lines().any(|flow| flow.ends_with(&expected)),
                "no {expected} in\n{flows}"
            );
        }
    }

    #[test]
    fn bad_policies_cost_only_themselves() {
        let mut bed = bed();
        policy(&mut bed, 1, |_| ());
        policy(&mut bed, 2, |row| row.match_ = "fooo bar".into());
        policy(&mut bed, 3, |row| reroute(row, &["10.7.0.1"]));
        policy(&mut bed, 4, |row| {
            reroute(row, &["10.7.0.1", "10.0.0.4", "coffee", "fd00::4"])
        });
        policy(&mut bed, 5, |row| reroute(row, &[]));
        policy(&mut bed, 6, |row| row.options = map([("pkt_mark", "red")]));
        policy(&mut bed, 7, |row| {
            row.action = "jump".into();
            row.chain = Some("self".into());
            row.jump_chain = Some("self".into());
        });
        let said = bed.diagnostics();
        for what in [
            "fooo bar",
            "10.7.0.1",
            "coffee",
            "fd00::4",
            "there is none",
            "\"red\"",
            "jumps to itself",
        ] {
            assert!(said.contains(what), "nothing about {what} in\n{said}");
        }
        assert_eq!(said.lines().count(), 8, "{said}");
        let flows = bed.all_flows("r lr_in_policy ");
        assert!(flows.contains("reg0 = 10.0.0.4"), "{flows}");
        for gone in [2, 3, 5, 7] {
            assert!(!flows.contains(&format!("10.9.{gone}.0/24")), "{flows}");
        }
    }

    #[test]
    fn next_hops_follow_their_sessions() {
        let mut bed = bed();
        let session = bed.insert(nb::Bfd {
            logical_port: "r-red".into(),
            dst_ip: "10.0.0.8".into(),
            ..nb::Bfd::default()
        });
        policy(&mut bed, 5, |row| {
            reroute(row, &["10.0.0.9", "10.0.0.8"]);
            row.bfd_sessions = [session].into_iter().collect();
        });
        let flows = bed.all_flows("lr_in_policy");
        assert!(
            flows.contains("reg0 = 10.0.0.9") && !flows.contains("10.0.0.8"),
            "{flows}"
        );
        bed.insert_sb(sb::Bfd {
            logical_port: "r-red".into(),
            dst_ip: "10.0.0.8".into(),
            status: "up".into(),
            ..sb::Bfd::default()
        });
        let flows = bed.all_flows("lr_in_policy");
        assert!(
            flows.contains("reg0 = 10.0.0.8") && flows.contains("select(1, 2)"),
            "{flows}"
        );
    }
}
