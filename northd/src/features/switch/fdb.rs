//! Learning which address is behind which port.
//!
//! Guarantees: only ports that take unknown addresses and have no port security teach the switch (on a port with port
//! security the addresses are known), and `localnet` ports only with `localnet_learn_fdb`. What is learned decides where a
//! packet goes if its destination is not configured: see [`super::lookup`].

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, field};

use super::{SwitchPort, call_and_next};
use crate::features::port_address::{SwitchPortAddresses, addresses};
use crate::index::PortType;
use crate::pipeline::{self, Stage};
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Per switch port.
pub struct Learning;

impl Feature for Learning {
    const NAME: &'static str = "switch_fdb";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Unknown)];
    const READS: &'static [&'static str] = &[SwitchPortAddresses::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = SwitchPort::of(cx, key) else {
            return;
        };
        if !teaches(cx, &port) {
            return;
        }
        let args = [field::INPORT, field::ETH_SRC];
        let lookup = call_and_next(pipeline::FDB_KNOWN, CallName::LookupFdb, args);
        port.flow(cx, Stage::LsInLookupFdb, 100, port.is_inport(), lookup);
        let new = Expr::all([port.is_inport(), pipeline::FDB_KNOWN.field().eq(0)]);
        let learn = vec![Action::call(CallName::PutFdb, args), Action::NEXT];
        port.flow(cx, Stage::LsInPutFdb, 100, new, learn);
    }
}

fn teaches(cx: &Cx<'_>, port: &SwitchPort) -> bool {
    let Some(row) = cx.lsp(port.uuid) else {
        return false;
    };
    let of_this_kind = match port.kind {
        PortType::Vif => true,
        PortType::Localnet => row
            .options()
            .get("localnet_learn_fdb")
            .is_some_and(|value| &**value == "true"),
        _ => false,
    };
    let asked_not_to = row.options().get("lsp_learn_fdb");
    of_this_kind
        && asked_not_to.is_none_or(|value| &**value != "false")
        && row.port_security().is_empty()
        && addresses(cx, port.uuid).is_some_and(|a| a.unknown)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bed, map, set};

    #[test]
    fn who_teaches() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.port(switch, "learn", |port| port.addresses = set(["unknown"]));
        bed.port(switch, "known", |port| {
            port.addresses = set(["0a:00:00:00:00:01"])
        });
        bed.port(switch, "secure", |port| {
            port.addresses = set(["unknown"]);
            port.port_security = set(["0a:00:00:00:00:02"]);
        });
        bed.port(switch, "net", |port| {
            port.type_ = "localnet".into();
            port.addresses = set(["unknown"]);
        });
        bed.port(switch, "learnnet", |port| {
            port.type_ = "localnet".into();
            port.addresses = set(["unknown"]);
            port.options = map([("localnet_learn_fdb", "true")]);
        });
        insta::assert_snapshot!(bed.flows_of_ports("fdb"));
    }
}
