//! Forwarding groups: an address of a switch behind which several ports take turns.
//!
//! Guarantees: questions for the group's address are answered with its Ethernet address; what is sent to that goes to one of
//! the child ports, chosen by a hash, where `liveness` says so among those whose tunnels are up. A child that is no port of
//! the switch, or is disabled, is left out and told.

use std::net::Ipv4Addr;

use weft_lang::{Action, field};
use weft_ovsdb::model::Str;
use weft_schemas::nb;

use super::{arp_answer, arp_request_for};
use crate::address::Mac;
use crate::index::ById;
use crate::pipeline::{Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// Per forwarding group.
pub struct Groups;

impl Feature for Groups {
    const NAME: &'static str = "switch_forwarding_group";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::ForwardingGroup)];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(row) = cx.forwarding_group(uuid) else {
            return;
        };
        let [switch] = cx.by_id(ById::SwitchOfForwardingGroup, uuid) else {
            return;
        };
        let complain = |column, message: String| {
            cx.diagnose::<nb::ForwardingGroup>(row.name(), uuid, column, message);
        };
        let Ok(vip) = row.vip().parse::<Ipv4Addr>() else {
            let message = format!(
                "\"{}\" is no IPv4 address: the group is left out",
                row.vip()
            );
            return complain("vip", message);
        };
        let Ok(vmac) = row.vmac().parse::<Mac>() else {
            let message = format!(
                "\"{}\" is no Ethernet address: the group is left out",
                row.vmac()
            );
            return complain("vmac", message);
        };
        let takes_part = |name: &Str| {
            let lsp = cx
                .lsp_named(name)
                .filter(|lsp| cx.switch_of(*lsp) == Some(*switch));
            let enabled = lsp
                .and_then(|lsp| cx.lsp(lsp))
                .is_some_and(|lsp| *lsp.enabled() != Some(false));
            if !enabled {
                let message =
                    format!("\"{name}\" is no enabled port of the switch: left out of the group");
                complain("child_port", message);
            }
            enabled
        };
        let child_ports: Vec<Str> = row
            .child_port()
            .iter()
            .filter(|name| takes_part(name))
            .cloned()
            .collect();
        if child_ports.is_empty() {
            return;
        }
        let hint = Some(uuid);
        cx.flow(
            *switch,
            Stage::LsInArpRsp,
            50,
            arp_request_for(vip),
            arp_answer(vmac),
            hint,
        );
        let choose = Action::FwdGroup {
            liveness: *row.liveness(),
            child_ports,
        };
        let ours = field::ETH_DST.eq(vmac);
        cx.flow(
            *switch,
            Stage::LsInL2Lkup,
            priority::L2_UNICAST,
            ours,
            [choose],
            hint,
        );
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::testing::{Bed, set};

    #[test]
    fn children_of_the_switch_take_turns() {
        let mut bed = Bed::new();
        let (switch, other) = (bed.switch("sw"), bed.switch("other"));
        bed.port(switch, "a", |_| ());
        bed.port(switch, "b", |_| ());
        bed.port(switch, "off", |port| port.enabled = Some(false));
        bed.port(other, "far", |_| ());
        let group = bed.insert(nb::ForwardingGroup {
            name: "g".into(),
            vip: "10.0.0.100".into(),
            vmac: "0a:00:00:00:00:99".into(),
            liveness: true,
            child_port: set(["a", "b", "off", "far"]),
            ..nb::ForwardingGroup::default()
        });
        bed.edit_switch(switch, |row| {
            row.forwarding_groups = [group].into_iter().collect()
        });
        insta::assert_snapshot!(bed.flows("0a:00:00:00:00:99"));
        let told = bed.diagnostics();
        assert!(
            told.contains("\"off\"") && told.contains("\"far\""),
            "{told}"
        );
    }
}
