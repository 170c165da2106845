//! What rows are put under that has a name of its own: types of ports, stages and classes of ACLs.

use smallvec::SmallVec;
use weft_ovsdb::model::{Map, Str};
use weft_schemas::nb;

/// Types of switch ports, `Logical_Switch_Port.type`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PortType {
    /// The empty type: a virtual interface (of a machine or, with a parent, of a container in it).
    Vif,
    /// `router`
    Router,
    /// `localnet`
    Localnet,
    /// `localport`
    Localport,
    /// `l2gateway`
    L2Gateway,
    /// `vtep`
    Vtep,
    /// `external`
    External,
    /// `virtual`
    Virtual,
    /// `remote` (interconnection)
    Remote,
    /// `switch` (a link between switches, newer than 23.03)
    Switch,
    /// Anything else.
    Other,
}

impl PortType {
    /// All types.
    pub const ALL: [PortType; 11] = [
        PortType::Vif,
        PortType::Router,
        PortType::Localnet,
        PortType::Localport,
        PortType::L2Gateway,
        PortType::Vtep,
        PortType::External,
        PortType::Virtual,
        PortType::Remote,
        PortType::Switch,
        PortType::Other,
    ];

    /// From the column's text.
    pub fn parse(text: &str) -> PortType {
        match text {
            "" => PortType::Vif,
            "router" => PortType::Router,
            "localnet" => PortType::Localnet,
            "localport" => PortType::Localport,
            "l2gateway" => PortType::L2Gateway,
            "vtep" => PortType::Vtep,
            "external" => PortType::External,
            "virtual" => PortType::Virtual,
            "remote" => PortType::Remote,
            "switch" => PortType::Switch,
            _ => PortType::Other,
        }
    }
}

/// The stages that ACLs are in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum AclStage {
    /// `from-lport`
    From,
    /// `from-lport` with `apply-after-lb`
    FromAfterLb,
    /// `to-lport`
    To,
}

impl AclStage {
    /// All of them.
    pub const ALL: [AclStage; 3] = [AclStage::From, AclStage::FromAfterLb, AclStage::To];

    /// Where an ACL goes.
    pub fn of(direction: &str, options: &Map<Str, Str>) -> AclStage {
        let after_lb = || {
            options
                .get("apply-after-lb")
                .is_some_and(|v| &**v == "true")
        };
        if direction == "to-lport" {
            AclStage::To
        } else if after_lb() {
            AclStage::FromAfterLb
        } else {
            AclStage::From
        }
    }
}

/// Whether connections that an ACL let begin pass for as long as the ACL is there, whatever else changes
/// (`options:persist-established`).
pub fn acl_persists(action: &str, options: &Map<Str, Str>) -> bool {
    let asked = options.get("persist-established");
    action == "allow-related" && asked.is_some_and(|v| &**v == "true")
}

/// Largest `ACL.tier`.
pub const ACL_TIER_MAX: u8 = 3;

/// What an ACL asks of the whole switch it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclClass {
    /// Connection tracking.
    Related,
    /// Evaluation in tiers, in whichever stage.
    Tiered,
    /// That a stage has a tier of this number.
    Tier(AclStage, u8),
    /// That connections remember which ACL let them begin.
    Persistent,
    /// That packets and their replies go through a network function.
    Functions,
}

impl AclClass {
    pub(super) const COUNT: u8 = 4 + 3 * (ACL_TIER_MAX + 1);

    /// The number under which the index has it.
    pub fn number(self) -> u8 {
        match self {
            AclClass::Related => 0,
            AclClass::Tiered => 1,
            AclClass::Tier(stage, tier) => 2 + stage as u8 * (ACL_TIER_MAX + 1) + tier,
            AclClass::Persistent => AclClass::COUNT - 2,
            AclClass::Functions => AclClass::COUNT - 1,
        }
    }

    pub(super) fn of(acl: &nb::Acl) -> SmallVec<[u8; 3]> {
        let mut classes = SmallVec::new();
        if &*acl.action == "allow-related" {
            classes.push(AclClass::Related.number());
        }
        if acl_persists(&acl.action, &acl.options) {
            classes.push(AclClass::Persistent.number());
        }
        if acl.network_function_group.is_some() {
            classes.push(AclClass::Functions.number());
        }
        let tier = u8::try_from(acl.tier).unwrap_or(0).min(ACL_TIER_MAX);
        if tier > 0 || &*acl.action == "pass" {
            let stage = AclStage::of(&acl.direction, &acl.options);
            classes.push(AclClass::Tiered.number());
            classes.push(AclClass::Tier(stage, tier).number());
        }
        classes
    }
}
