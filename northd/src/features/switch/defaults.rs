//! What every switch does whatever is attached to it.
//!
//! Guarantees: frames with a group address as source and tagged frames go no further than the first stage; port security is
//! asked for on the way in and out; group addresses are flooded, learned ones looked up. These flows are written once over
//! the set of all switches, whoever is in it; [`super::super::fallback`] completes the pipeline.

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::{call_and_next, flood, set_and_next};
use crate::output::{Mcast, Output, SetName};
use crate::pipeline::{self, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// A switch, as far as its configuration concerns more than one feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Lets tagged packets pass as they are (`vlan-passthru`).
    pub vlan_passthru: bool,
}

/// Publishes a [`Switch`] per switch, which is one of all.
pub struct Switches;

impl Feature for Switches {
    const NAME: &'static str = "switch";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(switch) = cx.ls(key.row()) else {
            return;
        };
        let is = |name: &str| {
            switch
                .other_config()
                .get(name)
                .is_some_and(|value| &**value == "true")
        };
        let vlan_passthru = is("vlan-passthru");
        cx.emit(Output::Member(SetName::Switches, key.row()));
        if !vlan_passthru {
            cx.emit(Output::Member(SetName::Untagged, key.row()));
        }
        cx.publish(Switch { vlan_passthru });
    }
}

/// Whether a switch lets tagged packets pass. The reader lists [`Switches`] among its `READS`.
pub fn vlan_passthru(cx: &Cx<'_>, switch: Uuid) -> bool {
    cx.value::<Switch>(Switches::ID, Key::Row(switch))
        .is_some_and(|switch| switch.vlan_passthru)
}

/// The flows.
pub struct Defaults;

impl Feature for Defaults {
    const NAME: &'static str = "switch_defaults";
    const PER: &'static [Per] = &[Per::All];
    const READS: &'static [&'static str] = &[Switches::NAME];

    fn run(cx: &Cx<'_>, _: Key) {
        let flow = |stage, priority, match_, actions: Vec<Action>| {
            cx.flow(SetName::Switches, stage, priority, match_, actions, None);
        };

        // Nobody sends from a group address; tagged packets belong to another network.
        let stage = Stage::LsInCheckPortSec;
        flow(
            stage,
            100,
            field::ETH_SRC.bit(40).is_set(),
            vec![Action::Drop],
        );
        let tagged = vec![Action::Drop];
        cx.flow(
            SetName::Untagged,
            stage,
            100,
            pred::VLAN_PRESENT,
            tagged,
            None,
        );
        flow(
            stage,
            50,
            Expr::TRUE,
            call_and_next(pipeline::PORT_SEC_DROP, CallName::CheckInPortSec, []),
        );
        let refused = || pipeline::PORT_SEC_DROP.field().eq(1);
        flow(Stage::LsInApplyPortSec, 50, refused(), vec![Action::Drop]);

        let stage = Stage::LsInL2Lkup;
        flow(
            stage,
            priority::L2_MCAST,
            pred::ETH_MCAST,
            flood(Mcast::Flood),
        );
        let learned = vec![
            Action::call_into(field::OUTPORT, CallName::GetFdb, [field::ETH_DST]),
            Action::NEXT,
        ];
        flow(stage, priority::FALLBACK, Expr::TRUE, learned);
        // A port that takes unknown addresses writes the same match above this.
        flow(
            Stage::LsInL2Unknown,
            40,
            field::OUTPORT.eq("none"),
            vec![Action::Drop],
        );

        // Port security of receivers is about unicast only: who listens to groups is not ours to say.
        let stage = Stage::LsOutCheckPortSec;
        flow(
            stage,
            100,
            pred::ETH_MCAST,
            set_and_next(pipeline::PORT_SEC_DROP, 0),
        );
        let check = call_and_next(pipeline::PORT_SEC_DROP, CallName::CheckOutPortSec, []);
        flow(stage, priority::FALLBACK, Expr::TRUE, check);
        flow(Stage::LsOutApplyPortSec, 50, refused(), vec![Action::Drop]);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Bed;

    #[test]
    fn the_pipeline_of_an_empty_switch() {
        let mut bed = Bed::new();
        bed.switch("sw");
        insta::assert_snapshot!(bed.flows("ls_"));
    }

    #[test]
    fn tagged_packets_pass_where_told_to() {
        let mut bed = Bed::new();
        bed.switch("plain");
        let trunk = bed.switch("trunk");
        bed.edit_switch(trunk, |switch| {
            switch.other_config = crate::testing::map([("vlan-passthru", "true")])
        });
        let flows = bed.flows("vlan.present");
        assert!(flows.contains("plain ls_in_check_port_sec"), "{flows}");
        assert!(!flows.contains("trunk"), "{flows}");
    }
}
