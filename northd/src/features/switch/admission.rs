//! What single ports change in the admission of packets: disabled ports, egress queues.
//!
//! Guarantees: nothing that a disabled port sends gets past the first two stages. Port security itself is a matter of the
//! controllers: they know `Port_Binding.port_security` and answer `check_in_port_sec()` for every port.

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, field};

use super::{SwitchPort, call_and_next, set_and_next};
use crate::features::queue::{Queues, queue};
use crate::index::PortType;
use crate::pipeline::{self, Stage};
use crate::program::{Allocator as _, Cx, Feature, Key, Per, PortTrait};

/// Per switch port.
pub struct Admission;

impl Feature for Admission {
    const NAME: &'static str = "switch_admission";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Restrained)];
    const READS: &'static [&'static str] = &[Queues::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if !port.enabled {
            let refuse = set_and_next(pipeline::PORT_SEC_DROP, 1);
            port.flow(cx, Stage::LsInCheckPortSec, 100, port.is_inport(), refuse);
            return;
        }
        let Some(queue) = queue(cx, port.uuid) else {
            return;
        };
        let queue = queue.number;
        let mut actions = vec![Action::SetQueue(queue)];
        actions.extend(call_and_next(
            pipeline::PORT_SEC_DROP,
            CallName::CheckInPortSec,
            [],
        ));
        port.flow(cx, Stage::LsInCheckPortSec, 70, port.is_inport(), actions);
        if port.kind == PortType::Localnet {
            let deliver = vec![Action::SetQueue(queue), Action::Output];
            port.flow(
                cx,
                Stage::LsOutApplyPortSec,
                100,
                port.is_outport(),
                deliver,
            );
            return;
        }
        // The queue of who sends beats the one of the way out.
        for &localnet in cx.ports_of(port.switch, PortType::Localnet) {
            let Some(name) = cx.lsp(localnet).map(|row| row.name().clone()) else {
                continue;
            };
            let match_ = Expr::all([port.is_inport(), field::OUTPORT.eq(&name)]);
            let deliver = vec![Action::SetQueue(queue), Action::Output];
            port.flow(cx, Stage::LsOutApplyPortSec, 110, match_, deliver);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map};

    #[test]
    fn disabled_ports_and_queues() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "off", |port| {
            port.enabled = Some(false);
            port.options = map([("qdisc_queue_id", "3")]);
        });
        bed.port(switch, "vif", |port| {
            port.options = map([("qdisc_queue_id", "7")])
        });
        bed.port(switch, "bad", |port| {
            port.options = map([("qdisc_queue_id", "61441")])
        });
        bed.port(switch, "net", |port| {
            port.type_ = "localnet".into();
            port.options = map([("network_name", "phys"), ("qdisc_queue_id", "9")]);
        });
        insta::assert_snapshot!(bed.flows_of_ports("port_sec"));
        assert!(
            bed.diagnostics()
                .contains("\"61441\" is not between 0 and 61440")
        );
    }
}
