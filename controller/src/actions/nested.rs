//! Actions with actions inside: on a copy of the packet, or on another packet that the controller makes from it.

use weft_lang::action::{Action as Logical, NestedKind};
use weft_openflow::Action;

use super::opcode::Opcode;
use super::{Done, Encoder};

impl Encoder<'_, '_> {
    pub(super) fn nested(&mut self, kind: NestedKind, inner: &[Logical]) -> Done {
        // What comes up has passed the meter of the outer action already.
        let outer = self.in_userdata;
        self.in_userdata |= kind != NestedKind::Clone;
        let list = self.apart(|encoder| encoder.all(inner));
        self.in_userdata = outer;
        let list = list?;
        let opcode = match kind {
            NestedKind::Clone => {
                self.out.push(Action::Clone(list));
                return Ok(());
            }
            NestedKind::Arp => Opcode::Arp,
            NestedKind::NdNs => Opcode::NdNs,
            NestedKind::NdNa => Opcode::NdNa,
            NestedKind::NdNaRouter => Opcode::NdNaRouter,
            NestedKind::Icmp4 | NestedKind::Icmp6 => Opcode::Icmp,
            NestedKind::Icmp4Error => Opcode::Icmp4Error,
            NestedKind::Icmp6Error => Opcode::Icmp6Error,
            NestedKind::TcpReset => Opcode::TcpReset,
            NestedKind::SctpAbort => Opcode::SctpAbort,
            NestedKind::Reject => Opcode::Reject,
        };
        // The controller executes these bytes as they are on the packet that it makes.
        self.controller(opcode, list.wire_bytes());
        Ok(())
    }
}
