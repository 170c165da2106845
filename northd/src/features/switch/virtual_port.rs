//! Virtual ports: an address that moves between ports (`options:virtual-ip`, `options:virtual-parents`).
//!
//! Guarantees: a parent that announces the address (a gratuitous request or an answer for it) becomes the place of the
//! virtual port. The switch answers no question for such an address: whoever has it does.

use std::net::IpAddr;

use weft_lang::{Action, Expr, field, pred};
use weft_schemas::nb;

use super::{SwitchPort, solicitation_for};
use crate::index::PortType;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port of type `virtual`.
pub struct VirtualPorts;

impl Feature for VirtualPorts {
    const NAME: &'static str = "switch_virtual_port";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Virtual)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if port.kind != PortType::Virtual {
            return;
        }
        let Some(row) = cx.lsp(port.uuid) else { return };
        let (Some(ip), Some(parents)) = (
            row.options().get("virtual-ip"),
            row.options().get("virtual-parents"),
        ) else {
            return;
        };
        let complain = |column, message: String| {
            cx.diagnose::<nb::LogicalSwitchPort>(&port.name, port.uuid, column, message)
        };
        let Ok(ip) = ip.parse::<IpAddr>() else {
            complain(
                "options:virtual-ip",
                format!("\"{ip}\" is not an IP address: no port can take the virtual one"),
            );
            return;
        };
        for parent in parents
            .split(',')
            .map(str::trim)
            .filter(|parent| !parent.is_empty())
        {
            if cx.lsp_named(parent).and_then(|parent| cx.switch_of(parent)) != Some(port.switch) {
                complain(
                    "options:virtual-parents",
                    format!("no port \"{parent}\" on the same switch: left out"),
                );
                continue;
            }
            let announced = Expr::all([field::INPORT.eq(parent), announces(ip)]);
            let bind = vec![
                Action::BindVport(port.name.clone(), field::INPORT),
                Action::NEXT,
            ];
            port.flow(cx, Stage::LsInArpRsp, 100, announced, bind);
        }
    }
}

/// A packet in which its sender says that it has the address.
fn announces(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => {
            let request = Expr::all([
                field::ARP_OP.eq(1),
                field::ARP_SPA.eq(ip),
                field::ARP_TPA.eq(ip),
            ]);
            let answer = Expr::all([field::ARP_OP.eq(2), field::ARP_SPA.eq(ip)]);
            Expr::any([request, answer])
        }
        IpAddr::V6(ip) => {
            let answer = Expr::all([pred::ND_NA, field::ND_TARGET.eq(ip)]);
            Expr::any([solicitation_for(ip), answer])
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map};

    #[test]
    fn parents_bind_by_announcing() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let other = bed.switch("other");
        bed.port(switch, "a", |_| ());
        bed.port(switch, "b", |_| ());
        bed.port(other, "far", |_| ());
        bed.port(switch, "v4", |port| {
            port.type_ = "virtual".into();
            port.options = map([
                ("virtual-ip", "10.0.0.9"),
                ("virtual-parents", "a,b,far,gone"),
            ]);
        });
        bed.port(switch, "v6", |port| {
            port.type_ = "virtual".into();
            port.options = map([("virtual-ip", "fd00::9"), ("virtual-parents", "a")]);
        });
        bed.port(switch, "wrong", |port| {
            port.type_ = "virtual".into();
            port.options = map([("virtual-ip", "ten"), ("virtual-parents", "a")]);
        });
        insta::assert_snapshot!(bed.flows_of_ports("bind_vport"));
        let said = bed.diagnostics();
        for what in ["\"far\"", "\"gone\"", "\"ten\""] {
            assert!(said.contains(what), "{said}");
        }
    }
}
