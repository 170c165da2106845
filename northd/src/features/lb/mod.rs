//! Load balancers, on switches, on routers and through groups of load balancers.
//!
//! A load balancer is one unit per thing it yields ([`switch`], [`router`], [`responder`], [`health`], [`row`]) wherever it
//! applies: its flows are over sets of datapaths, and those of a group are made once for all its members ([`place`]). What
//! datapaths with load balancers have in common is written once over all of them ([`frame`]). Columns are parsed once
//! ([`vip`]).

pub mod distributed;
pub mod frame;
pub mod health;
pub mod place;
pub mod port;
pub mod responder;
pub mod routable;
pub mod router;
pub mod row;
pub mod switch;
pub mod template;
#[cfg(test)]
mod tests;
pub mod vip;

use weft_lang::{Action, Const};

use crate::pipeline::RegisterField;
use crate::program::{Entry, pure};

/// The kinds of units of load balancers.
pub const KINDS: &[Entry] = &[
    pure::<vip::Parsed>(),
    pure::<place::Routers>(),
    pure::<place::SwitchGroups>(),
    pure::<place::HasSwitches>(),
    pure::<place::GroupPlaces>(),
    pure::<place::ListedPlaces>(),
    pure::<frame::SwitchFrame>(),
    pure::<frame::RouterFrame>(),
    pure::<frame::ForcedAddresses>(),
    pure::<port::SwitchPorts>(),
    pure::<port::RouterPorts>(),
    pure::<switch::Switches>(),
    pure::<router::Routers>(),
    pure::<responder::Responder>(),
    pure::<routable::Routes>(),
    pure::<distributed::OfBalancer>(),
    pure::<distributed::Marked>(),
    pure::<distributed::OfGroup>(),
    pure::<distributed::OfRouter>(),
    pure::<distributed::Replies>(),
    pure::<health::Checks>(),
    pure::<row::Row>(),
    pure::<template::Variables>(),
];

/// `register = value;`
fn set(register: RegisterField, value: impl Into<Const>) -> Action {
    Action::set(register.field(), value)
}
