//! Access control: ACLs of switches and of port groups.
//!
//! An ACL is one unit ([`rule`]) wherever it applies: its flows are over sets of switches. What a switch needs around its
//! ACLs follows from all of them together ([`state`]), and the flows for that are written once over the sets of switches
//! that need the same ([`frame`]). Only ports that connection tracking leaves alone have flows of their own ([`exempt`]).
//!
//! Tiers take no stages of their own: each flow of an ACL on a switch that uses tiers matches the tier that is due, and
//! what ends a tier without a verdict enters the same stage again with the next one.

pub mod exempt;
pub mod frame;
pub mod function;
pub mod persist;
pub mod references;
pub mod rule;
pub mod sample;
pub mod state;
#[cfg(test)]
mod tests;

use weft_lang::{Action, Const, Expr, field};

use crate::index::AclStage;
use crate::pipeline::{self, RegisterField, Stage};
use crate::program::{Entry, allocator, pure};

/// The kinds of units of ACLs.
pub const KINDS: &[Entry] = &[
    pure::<state::LbVips>(),
    pure::<state::LbGroupVips>(),
    pure::<state::GroupAcls>(),
    pure::<state::SwitchAcls>(),
    pure::<state::GroupPlaces>(),
    allocator::<persist::Numbers>(),
    pure::<frame::Frame>(),
    pure::<exempt::Exempt>(),
    pure::<rule::Rules>(),
    pure::<function::Places>(),
    pure::<function::Functions>(),
    pure::<function::Groups>(),
    pure::<function::Replies>(),
];

impl AclStage {
    /// The stage of the pipeline.
    pub const fn stage(self) -> Stage {
        match self {
            AclStage::From => Stage::LsInAcl,
            AclStage::FromAfterLb => Stage::LsInAclAfterLb,
            AclStage::To => Stage::LsOutAcl,
        }
    }

    /// Holds the tier that is due.
    const fn tier(self) -> RegisterField {
        match self {
            AclStage::From | AclStage::To => pipeline::ACL_TIER,
            AclStage::FromAfterLb => pipeline::ACL_TIER_AFTER_LB,
        }
    }

    /// Whether a tier is due.
    fn is_due(self, tier: u8) -> Expr {
        self.tier().field().eq(u64::from(tier))
    }

    /// Goes on with another tier.
    fn go_to(self, tier: u8) -> [Action; 2] {
        [
            set(self.tier(), u64::from(tier)),
            Action::NextIn(language(self.stage()), self.stage().table()),
        ]
    }
}

/// The pipeline of a stage as the flow language has it.
const fn language(stage: Stage) -> weft_lang::Pipeline {
    match stage.pipeline() {
        pipeline::Pipeline::Ingress => weft_lang::Pipeline::Ingress,
        pipeline::Pipeline::Egress => weft_lang::Pipeline::Egress,
    }
}

/// `register = value;`
fn set(register: RegisterField, value: impl Into<Const>) -> Action {
    Action::set(register.field(), value)
}

/// `register == 1`
fn is_set(register: RegisterField) -> Expr {
    register.field().eq(1)
}

/// Whether a connection that was allowed no longer is.
fn blocked(value: bool) -> Expr {
    field::CT_MARK_BLOCKED.eq(u64::from(value))
}

/// `ct_commit { ct_mark.blocked = 1; };`
fn block() -> Action {
    Action::ct_commit([Action::set(field::CT_MARK_BLOCKED, 1)])
}
