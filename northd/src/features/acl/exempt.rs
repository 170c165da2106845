//! Ports that connection tracking leaves alone: those to routers and to physical networks.
//!
//! Guarantees: what enters or leaves a switch there is not tracked at that port, for the other direction of the connection
//! may take another way; the ports of the hosts behind track it.

use weft_lang::{Action, Expr, field, pred};

use super::state::{SwitchAcls, needs};
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port.
pub struct Exempt;

impl Feature for Exempt {
    const NAME: &'static str = "acl_exempt_port";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Uplink)];
    const READS: &'static [&'static str] = &[SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = cx.lsp(key.row()) else {
            return;
        };
        let kind = PortType::parse(port.type_());
        if !matches!(kind, PortType::Router | PortType::Localnet) {
            return;
        }
        let Some(switch) = cx.switch_of(key.row()) else {
            return;
        };
        if !needs(cx, switch).related {
            return;
        }
        let ports = [
            (Stage::LsInPreAcl, field::INPORT),
            (Stage::LsOutPreAcl, field::OUTPORT),
        ];
        for (stage, direction) in ports {
            let match_ = Expr::all([pred::IP, direction.eq(port.name())]);
            cx.flow(switch, stage, 110, match_, [Action::NEXT], Some(key.row()));
        }
    }
}
