//! Equal routes: those of one router that agree in table, policy and prefix and lead anywhere share the load.
//!
//! Guarantees: a group's number stays while its members come and go; a route costs the flows of its own group, whatever
//! else the router has. Which header fields decide is what all members agree on.

use std::sync::Arc;

use weft_lang::{Action, Expr};
use weft_ovsdb::model::Uuid;

use super::numbers::{Sort, number};
use super::static_route::{Resolved, Route};
use super::{loopback, set};
use crate::index::{ById, joined_id};
use crate::pipeline;
use crate::program::{Cx, Feature, Key};

/// The routes that share the load with one, itself among them, in the order of their rows.
pub fn members(cx: &Cx<'_>, route: &Route) -> Vec<Arc<Route>> {
    cx.by_id(ById::RoutesAlike, joined_id(route.router, route.alike))
        .iter()
        .filter_map(|uuid| cx.value::<Route>(Resolved::ID, Key::Row(*uuid)))
        .filter(|other| other.hop.is_some() && other.shares_with(route))
        .collect()
}

/// The place of a route in its group.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of the group within the router, from 1.
    pub group: u32,
    /// Number of the route within the group, from 1.
    pub number: u16,
}

impl Place {
    /// Where `uuid` is among `members`.
    pub fn of(cx: &Cx<'_>, route: &Route, members: &[Arc<Route>]) -> Option<Place> {
        let group = number(cx, route.router, Sort::Routes, route.alike)?;
        let at = members
            .iter()
            .position(|member| member.uuid == route.uuid)?;
        Some(Place {
            group,
            number: u16::try_from(at + 1).ok()?,
        })
    }

    /// This member was chosen.
    pub fn is_chosen(self) -> Expr {
        chosen(self.group, self.number)
    }
}

/// A member of a group was chosen.
pub fn chosen(group: u32, member: u16) -> Expr {
    Expr::all([
        pipeline::ECMP_GROUP.field().eq(u64::from(group)),
        pipeline::ECMP_MEMBER.field().eq(member),
    ])
}

/// Picks one of `of` members of a group.
pub fn pick(group: u32, of: usize, hash_fields: Option<&str>) -> [Action; 2] {
    let of = u16::try_from(of).unwrap_or(u16::MAX);
    [
        set(pipeline::ECMP_GROUP, u64::from(group)),
        Action::Select {
            result: pipeline::ECMP_MEMBER.field(),
            members: (1..=of).map(|number| (number, None)).collect(),
            hash_fields: hash_fields.map(Into::into),
        },
    ]
}

/// What the first member of a group of routes does for all.
pub fn choice(place: Place, members: &[Arc<Route>]) -> Vec<Action> {
    let mut actions = vec![Action::DecTtl, loopback()];
    let fields = hash_fields(members);
    actions.extend(pick(place.group, members.len(), fields.as_deref()));
    actions
}

/// The fields that all members name, as OpenFlow calls them; without any, the switch hashes as it likes.
fn hash_fields(members: &[Arc<Route>]) -> Option<String> {
    let (first, rest) = members.split_first()?;
    let common = first
        .selection
        .iter()
        .filter(|field| rest.iter().all(|member| member.selection.contains(*field)));
    let mut names: Vec<&str> = Vec::new();
    for field in common {
        // Of protocols that a packet is not of, the switch takes no account.
        match &**field {
            "tp_src" => names.extend(["tcp_src", "udp_src", "sctp_src"]),
            "tp_dst" => names.extend(["tcp_dst", "udp_dst", "sctp_dst"]),
            other => names.push(other),
        }
    }
    (!names.is_empty()).then(|| names.join(","))
}

/// The digest by which routes of a group are known.
pub type Alike = Uuid;
