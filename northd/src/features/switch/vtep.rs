//! Ports of type `vtep`: hardware gateways.
//!
//! Guarantees: what comes from a gateway skips the stages about its sender (the gateway is no host) and goes to the lookup
//! of its destination.

use weft_lang::{Action, Pipeline};

use super::SwitchPort;
use crate::index::PortType;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port of type `vtep`.
pub struct Vtep;

impl Feature for Vtep {
    const NAME: &'static str = "switch_vtep";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Vtep)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if port.kind != PortType::Vtep {
            return;
        }
        let skip_to = |stage: Stage| Action::NextIn(Pipeline::Ingress, stage.table());
        let from_gateway = pipeline::FROM_VTEP.field();
        // Hairpin still has a say, for routers whose gateway is here.
        let mark = vec![Action::set(from_gateway, 1), skip_to(Stage::LsInHairpin)];
        if port.enabled {
            port.flow(cx, Stage::LsInCheckPortSec, 70, port.is_inport(), mark);
        }
        let lookup = vec![skip_to(Stage::LsInL2Lkup)];
        cx.flow(
            port.switch,
            Stage::LsInHairpin,
            1000,
            from_gateway.eq(1),
            lookup,
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Bed;

    #[test]
    fn a_gateway_goes_straight_to_the_lookup() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "gw", |port| port.type_ = "vtep".into());
        insta::assert_snapshot!(bed.flows("reg0[14]"));
    }
}
