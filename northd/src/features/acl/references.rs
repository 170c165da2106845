//! What a match names that is not there.
//!
//! Guarantees: an address set or port group that does not exist, and a rejection of what a router sends, are reported; the
//! flows stand, for what is missing may come, and chassis leave out meanwhile what they cannot resolve.

use weft_lang::{Cmp, Const, Expr, field};
use weft_ovsdb::model::Uuid;

use crate::index::{ByName, PortType};
use crate::program::Cx;

/// Reports through `complain` what is wrong with the match of an ACL that `rejects` or not.
pub fn check(cx: &Cx<'_>, match_: &Expr, rejects: bool, complain: &dyn Fn(&'static str, String)) {
    match_.walk(&mut |part| {
        let Expr::Cmp(Cmp { field, operand, .. }) = part else {
            return;
        };
        let port = *field == field::INPORT || *field == field::OUTPORT;
        for constant in operand.constants() {
            match constant {
                Const::Set(name) if !set_exists(cx, name) => {
                    complain("match", format!("there is no address set \"{name}\""));
                }
                Const::Group(name) if cx.by_name(ByName::PortGroup, name).is_empty() => {
                    complain("match", format!("there is no port group \"{name}\""));
                }
                Const::Str(name) if rejects && port && is_router_port(cx, name) => complain(
                    "action",
                    format!(
                        "\"{name}\" leads to a router: connections are not tracked there, and what the router forwards is \
                         rejected packet by packet"
                    ),
                ),
                _ => {}
            }
        }
    });
}

fn set_exists(cx: &Cx<'_>, name: &str) -> bool {
    let there = |index, name: &str| !cx.by_name(index, name).is_empty();
    let generated = || {
        let group = name
            .strip_suffix("_ip4")
            .or_else(|| name.strip_suffix("_ip6"));
        group.is_some_and(|group| there(ByName::PortGroup, group))
    };
    name == "svc_monitor_mac" || there(ByName::AddressSet, name) || generated()
}

fn is_router_port(cx: &Cx<'_>, name: &str) -> bool {
    let kind = |port: Uuid| Some(PortType::parse(cx.lsp(port)?.type_()));
    cx.lsp_named(name).and_then(kind) == Some(PortType::Router)
}
