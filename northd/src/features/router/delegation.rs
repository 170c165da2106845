//! Prefixes that a router is given by its provider (DHCPv6 prefix delegation, RFC 8415, section 6.3).
//!
//! Guarantees: a port with `options:prefix_delegation` faces the delegating router, a port with `options:prefix` wants a prefix:
//! their bindings tell the chassis, whose answers come back in the binding's `ipv6_ra_pd_list` (`IAID:PREFIX/LENGTH`), stay
//! there as long as the port wants one, and go into `Logical_Router_Port.ipv6_prefix`. Addresses in it are given to the
//! port by whoever runs the network.

use ipnet::Ipv6Net;
use weft_lang::field::REG0;
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::{Set, Str, Uuid};
use weft_schemas::nb;

use super::port;
use crate::index::ByName;
use crate::output::Output;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

/// Ports of DHCPv6 (RFC 8415, section 7.2).
const SERVER_PORT: u16 = 547;
const CLIENT_PORT: u16 = 546;
/// In the options of a binding: what chassis were given.
const LIST: &str = "ipv6_ra_pd_list";

/// What the port's options say: it faces the delegating router; it wants a prefix.
fn wishes(cx: &Cx<'_>, lrp: Uuid) -> (bool, bool) {
    let Some(row) = cx.lrp(lrp) else {
        return (false, false);
    };
    let options = row.options();
    (
        options.flag("prefix_delegation", false),
        options.flag("prefix", false),
    )
}

/// What chassis were given for the port, as its binding has it.
fn list(cx: &Cx<'_>, lrp: Uuid) -> Option<Str> {
    let row = cx.lrp(lrp)?;
    let binding = cx.by_name(ByName::Binding, row.name()).first()?;
    cx.binding(*binding)?.options().get(LIST).cloned()
}

/// What the binding of a router port says to chassis about prefixes.
pub fn binding_options(cx: &Cx<'_>, lrp: Uuid) -> Vec<(Str, Str)> {
    let (delegation, prefix) = wishes(cx, lrp);
    let mut out: Vec<(Str, Str)> = Vec::new();
    out.extend(delegation.then(|| ("ipv6_prefix_delegation".into(), "true".into())));
    if prefix {
        out.push(("ipv6_prefix".into(), "true".into()));
        out.extend(list(cx, lrp).map(|list| (LIST.into(), list)));
    }
    out
}

/// Per router port: what it was given, and the flows by which answers reach the chassis.
pub struct Delegation;

impl Feature for Delegation {
    const NAME: &'static str = "prefix_delegation";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let (delegation, prefix) = wishes(cx, key.row());
        if prefix && cx.router_of(key.row()).is_some() {
            let given = list(cx, key.row()).map_or_else(Set::default, |list| prefixes(&list));
            cx.emit(Output::LrpPrefixes(key.row(), given));
        }
        let port = delegation.then(|| port::port(cx, key.row())).flatten();
        let Some(port) = port.filter(|port| port.enabled) else {
            return;
        };
        for address in port.addresses_v6() {
            let answer = Expr::all([
                field::IP6_DST.eq(address),
                field::UDP_SRC.eq(SERVER_PORT),
                field::UDP_DST.eq(CLIENT_PORT),
            ]);
            let take = [Action::set(REG0, 0), Action::HandleDhcpv6Reply];
            let hint = Some(port.uuid);
            cx.flow(port.router, Stage::LrInIpInput, 100, answer, take, hint);
        }
    }
}

/// The prefixes of a list.
fn prefixes(list: &str) -> Set<Str> {
    let elements = list.split([' ', ',']).filter(|e| !e.is_empty());
    elements
        .filter_map(|element| {
            let (_, prefix) = element.split_once(':')?;
            prefix.parse::<Ipv6Net>().ok()?;
            Some(prefix.into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use weft_schemas::sb;

    use super::*;
    use crate::testing::{Bed, map, set};

    fn options(bed: &mut Bed, port: &str, options: [(&str, &str); 1]) {
        bed.edit_router_port(port, |row| row.options = map(options));
    }

    fn given(bed: &mut Bed) -> Vec<Set<Str>> {
        bed.flows("");
        bed.outputs()
            .filter_map(|output| match output {
                Output::LrpPrefixes(_, given) => Some(given.clone()),
                _ => None,
            })
            .collect()
    }

    fn binding_of(bed: &mut Bed, port: &str) -> String {
        bed.flows("");
        let found = bed.outputs().find_map(|output| match output {
            Output::Port(row) if &*row.logical_port == port => Some(row.options.clone()),
            _ => None,
        });
        format!("{:?}", found.unwrap())
    }

    #[test]
    fn prefixes_come_and_stay() {
        let mut bed = Bed::new();
        let (inner, outer) = (bed.switch("in"), bed.switch("out"));
        bed.router_on(inner, "r", "0a:00:00:00:00:01", &["fd01::1/64"]);
        bed.router_port_on(outer, "r", "0a:00:00:00:00:02", &["fd02::1/64"]);
        assert_eq!(bed.all_flows("handle_dhcpv6_reply"), "");
        options(&mut bed, "r-out", [("prefix_delegation", "true")]);
        options(&mut bed, "r-in", [("prefix", "true")]);
        insta::assert_snapshot!(bed.all_flows("handle_dhcpv6_reply"));
        assert!(binding_of(&mut bed, "r-out").contains("ipv6_prefix_delegation"));
        assert_eq!(given(&mut bed), [Set::default()]);
        let told = |list: &str| sb::PortBinding {
            logical_port: "r-in".into(),
            options: map([(LIST, list)]),
            ..Default::default()
        };
        let row = bed.insert_sb(told("7:fd55:0:0:f00::/64"));
        assert_eq!(given(&mut bed), [set(["fd55:0:0:f00::/64"])]);
        assert!(binding_of(&mut bed, "r-in").contains("7:fd55:0:0:f00::/64"));
        bed.sb_put(row, told("7:fd55:0:0:f00::/64 8:fd56::/56 junk"));
        assert_eq!(given(&mut bed), [set(["fd55:0:0:f00::/64", "fd56::/56"])]);
        options(&mut bed, "r-in", [("prefix", "false")]);
        assert!(given(&mut bed).is_empty());
        assert!(!binding_of(&mut bed, "r-in").contains("fd55"));
    }
}
