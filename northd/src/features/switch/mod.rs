//! Logical switches: one file per thing a switch does with a packet.

pub mod admission;
pub mod arp_proxy;
pub mod arp_responder;
pub mod defaults;
pub mod external;
pub mod fdb;
pub mod forwarding_group;
pub mod gateways;
pub mod lookup;
pub mod mirrored;
pub mod qos;
pub mod router_link;
pub mod virtual_port;
pub mod vtep;

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_lang::action::{CallName, NestedKind};
use weft_lang::{Action, Const, Expr, Field, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use crate::address::{Mac, solicited_node};
use crate::index::PortType;
use crate::output::Mcast;
use crate::pipeline::{RegisterField, Stage};
use crate::program::{Cx, Entry, Key, Per, pure};

/// The kinds of units of switches.
pub const KINDS: &[Entry] = &[
    pure::<defaults::Switches>(),
    pure::<defaults::Defaults>(),
    pure::<admission::Admission>(),
    pure::<fdb::Learning>(),
    pure::<virtual_port::VirtualPorts>(),
    pure::<arp_responder::Policy>(),
    pure::<arp_responder::Responder>(),
    pure::<arp_proxy::Proxy>(),
    pure::<external::External>(),
    pure::<forwarding_group::Groups>(),
    pure::<gateways::Uplinks>(),
    pure::<gateways::OtherRouters>(),
    pure::<gateways::OnlyGateways>(),
    pure::<vtep::Vtep>(),
    pure::<router_link::RouterLink>(),
    pure::<lookup::Lookup>(),
    pure::<mirrored::Mirrored>(),
    pure::<qos::Qos>(),
];

const PER_PORT: &[Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];

/// What nearly every feature of a switch port wants to know of it.
struct SwitchPort {
    uuid: Uuid,
    name: Str,
    switch: Uuid,
    kind: PortType,
    enabled: bool,
}

impl SwitchPort {
    /// The port, if it is on a switch.
    fn of(cx: &Cx<'_>, key: Key) -> Option<SwitchPort> {
        let uuid = key.row();
        let row = cx.lsp(uuid)?;
        Some(SwitchPort {
            uuid,
            name: row.name().clone(),
            switch: cx.switch_of(uuid)?,
            kind: PortType::parse(row.type_()),
            enabled: *row.enabled() != Some(false),
        })
    }

    /// Writes a flow on the port's switch, with the port as hint.
    fn flow(&self, cx: &Cx<'_>, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        cx.flow(
            self.switch,
            stage,
            priority,
            match_,
            actions,
            Some(self.uuid),
        );
    }

    /// `inport == "port"`
    fn is_inport(&self) -> Expr {
        field::INPORT.eq(&self.name)
    }

    /// `outport == "port"`
    fn is_outport(&self) -> Expr {
        field::OUTPORT.eq(&self.name)
    }

    /// `outport = "port"; output;`
    fn deliver(&self) -> Vec<Action> {
        vec![Action::set(field::OUTPORT, &self.name), Action::Output]
    }
}

/// `outport = "_MC_..."; output;`
pub(in crate::features) fn flood(group: Mcast) -> Vec<Action> {
    vec![Action::set(field::OUTPORT, group.name()), Action::Output]
}

/// `register = value; next;`
fn set_and_next(register: RegisterField, value: impl Into<Const>) -> Vec<Action> {
    vec![Action::set(register.field(), value), Action::NEXT]
}

/// `register = call(args); next;`
pub(in crate::features) fn call_and_next(
    register: RegisterField,
    name: CallName,
    args: impl IntoIterator<Item = Field>,
) -> Vec<Action> {
    vec![
        Action::call_into(register.field(), name, args),
        Action::NEXT,
    ]
}

/// An ARP request for an address.
pub(in crate::features) fn arp_request_for(ip: Ipv4Addr) -> Expr {
    Expr::all([field::ARP_TPA.eq(ip), field::ARP_OP.eq(1)])
}

/// A neighbour solicitation for an address, to the address itself or to its solicited-node multicast address.
pub(in crate::features) fn solicitation_for(ip: Ipv6Addr) -> Expr {
    Expr::all([
        pred::ND_NS,
        field::IP6_DST.one_of([ip, solicited_node(ip)]),
        field::ND_TARGET.eq(ip),
    ])
}

/// What every answer does last: back to where the question came from.
pub(in crate::features) fn return_to_sender() -> [Action; 3] {
    [
        Action::Move(field::OUTPORT, field::INPORT),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Output,
    ]
}

/// Turns an ARP request into the answer that `mac` has the requested address.
pub(in crate::features) fn arp_answer(mac: Mac) -> Vec<Action> {
    let mut actions = vec![
        Action::Move(field::ETH_DST, field::ETH_SRC),
        Action::set(field::ETH_SRC, mac),
        Action::set(field::ARP_OP, 2),
        Action::Move(field::ARP_THA, field::ARP_SHA),
        Action::set(field::ARP_SHA, mac),
        // The requested address becomes the sender, whichever it is.
        Action::Exchange(field::ARP_TPA, field::ARP_SPA),
    ];
    actions.extend(return_to_sender());
    actions
}

/// Answers a solicitation: `mac` has `ip`.
pub(in crate::features) fn nd_answer(kind: NestedKind, mac: Mac, ip: Ipv6Addr) -> Vec<Action> {
    let mut inner = vec![
        Action::set(field::ETH_SRC, mac),
        Action::set(field::IP6_SRC, ip),
        Action::set(field::ND_TARGET, ip),
        Action::set(field::ND_TLL, mac),
    ];
    inner.extend(return_to_sender());
    vec![Action::nested(kind, inner)]
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map, set};

    /// Every look at the bench compares with a compilation from scratch.
    #[test]
    fn any_order_of_edits_gives_the_same_flows() {
        for seed in 1..=8_u64 {
            let mut state = seed;
            let mut roll = |sides: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % sides
            };
            let mut bed = Bed::new();
            let switches = [bed.switch("a"), bed.switch("b")];
            bed.router_on(
                switches[0],
                "r",
                "0a:00:00:00:0f:01",
                &["10.0.0.254/24", "fd00::fe/64"],
            );
            let mut ports = Vec::new();
            for step in 0..40 {
                let switch = switches[roll(2) as usize];
                match roll(8) {
                    0 | 1 => ports.push(bed.port(switch, &format!("p{step}"), |_| ())),
                    2 if !ports.is_empty() => {
                        let port = ports.swap_remove(roll(ports.len() as u64) as usize);
                        bed.remove_port(port);
                    }
                    3 => {
                        let text = if roll(2) == 0 { "true" } else { "false" };
                        bed.edit_switch(switch, |row| {
                            row.other_config =
                                map([("vlan-passthru", text), ("subnet", "10.0.0.0/24")]);
                        });
                    }
                    4 => bed.edit_router_port("r-a", |row| {
                        row.enabled = Some(row.enabled == Some(false))
                    }),
                    _ if !ports.is_empty() => {
                        let (port, what, kind) =
                            (ports[roll(ports.len() as u64) as usize], roll(6), roll(5));
                        bed.edit_port(port, |row| match what {
                            0 => row.addresses = set(["0a:00:00:00:00:01 10.0.0.1 fd00::1"]),
                            1 => row.addresses = set(["dynamic", "unknown"]),
                            2 => row.enabled = Some(row.enabled == Some(false)),
                            3 => row.port_security = set(["0a:00:00:00:00:01"]),
                            4 => {
                                row.options = map([
                                    ("virtual-ip", "10.0.0.9"),
                                    ("virtual-parents", "p1,p2,p3"),
                                ])
                            }
                            _ => {
                                row.type_ = ["", "virtual", "external", "localnet", "vtep"]
                                    [kind as usize]
                                    .into()
                            }
                        });
                    }
                    _ => {}
                }
                bed.flows("");
            }
        }
    }
}
