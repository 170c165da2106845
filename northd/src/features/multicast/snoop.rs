//! Switches that snoop (`mcast_snoop`): what controllers are told about it, and what becomes of multicast nobody asked for.
//!
//! Guarantees: every switch has a row of `IP_Multicast`; values outside of what ovn-nb(5) allows are brought into range and
//! reported. Where snooping is on, reports and queries go to the controller and no further, 224.0.0.X reaches every port
//! but those to routers, the reserved groups of IPv6 every port; what is not registered goes to relaying routers and to
//! ports that want all multicast, or is dropped if there are none, unless `mcast_flood_unregistered` lets it reach everybody.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::{Mark, Marks, copy_to, ip_multicast, is_on, is_on_unless, reports};
use crate::address::Mac;
use crate::features::datapath::{DatapathKey, datapath_key};
use crate::features::switch::flood;
use crate::index::PortType;
use crate::output::{IpMulticast, Mcast, Output, SetName};
use crate::pipeline::{Stage, priority};
use crate::program::{Allocator, Cx, Feature, Key, Per, PortTrait};

/// A switch that snoops, as the other features see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snooping {
    /// Unregistered multicast reaches every port.
    pub flood_unregistered: bool,
    /// Most groups.
    pub table_size: u32,
    /// The switch spans availability zones (`interconn-ts`).
    pub spans_zones: bool,
}

/// Emits `IP_Multicast` and publishes [`Snooping`] where it is on.
pub struct Switches;

impl Feature for Switches {
    const NAME: &'static str = "multicast_switch";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[DatapathKey::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(switch) = cx.ls(uuid) else { return };
        if datapath_key(cx, uuid).is_none() {
            return;
        }
        let config = switch.other_config();
        let complain = |column, message: String| {
            cx.diagnose::<nb::LogicalSwitch>(switch.name(), uuid, column, message)
        };
        let enabled = is_on(config, "mcast_snoop");
        let number = |name: &'static str, range: RangeInclusive<i64>, default: i64| {
            let Some(text) = config.get(name) else {
                return default;
            };
            let value = text.trim().parse::<i64>().ok();
            let used = value.map_or(default, |v| v.clamp(*range.start(), *range.end()));
            if value != Some(used) {
                let (from, to) = range.into_inner();
                complain(
                    column(name),
                    format!("\"{text}\" is not between {from} and {to}: {used} is used"),
                );
            }
            used
        };
        let address = |name: &'static str, what: &str, fine: &dyn Fn(&str) -> bool| {
            let text = config.get(name).cloned().unwrap_or_default();
            if text.is_empty() || fine(&text) {
                return text;
            }
            complain(
                column(name),
                format!("\"{text}\" is no {what} address: no queries are sent from it"),
            );
            Str::default()
        };
        let eth_src = address("mcast_eth_src", "Ethernet", &|t| t.parse::<Mac>().is_ok());
        if eth_src.is_empty() && enabled && is_on(config, "mcast_querier") {
            let message = "there is no mcast_eth_src to send from: nobody is asked";
            complain("other_config:mcast_querier", message.into());
        }
        let ip6_src = address("mcast_ip6_src", "IPv6", &|t| t.parse::<Ipv6Addr>().is_ok());
        if ip6_src
            .parse::<Ipv6Addr>()
            .is_ok_and(|ip| !ip.is_unicast_link_local())
        {
            complain(
                column("mcast_ip6_src"),
                format!("\"{ip6_src}\" is not of the link: hosts ignore queries from it"),
            );
        }
        let idle_timeout = number("mcast_idle_timeout", 15..=3600, 300);
        let table_size = number("mcast_table_size", 1..=32_766, 2048);
        cx.emit(Output::IpMulticast(Arc::new(IpMulticast {
            switch: uuid,
            enabled,
            querier: is_on_unless(config, "mcast_querier", true),
            eth_src,
            ip4_src: address("mcast_ip4_src", "IPv4", &|t| t.parse::<Ipv4Addr>().is_ok()),
            ip6_src,
            table_size,
            idle_timeout,
            query_interval: number("mcast_query_interval", 1..=3600, (idle_timeout / 2).max(1)),
            query_max_resp: number("mcast_query_max_response", 1..=10, 1),
        })));
        if enabled {
            cx.emit(Output::Member(SetName::Snooping, uuid));
            cx.publish(Snooping {
                flood_unregistered: is_on(config, "mcast_flood_unregistered"),
                table_size: u32::try_from(table_size).unwrap_or(u32::MAX),
                spans_zones: config.get("interconn-ts").is_some_and(|ts| !ts.is_empty()),
            });
        }
    }
}

/// The column of a key, as diagnostics name it.
fn column(key: &str) -> &'static str {
    match key {
        "mcast_eth_src" => "other_config:mcast_eth_src",
        "mcast_ip4_src" => "other_config:mcast_ip4_src",
        "mcast_ip6_src" => "other_config:mcast_ip6_src",
        "mcast_table_size" => "other_config:mcast_table_size",
        "mcast_idle_timeout" => "other_config:mcast_idle_timeout",
        "mcast_query_interval" => "other_config:mcast_query_interval",
        "mcast_query_max_response" => "other_config:mcast_query_max_response",
        _ => "other_config",
    }
}

/// How a switch snoops, if it does. The reader lists [`Switches`] among its `READS`.
pub(in crate::features) fn snooping(cx: &Cx<'_>, switch: Uuid) -> Option<Arc<Snooping>> {
    cx.value(Switches::ID, Key::Row(switch))
}

/// What all switches that snoop do alike.
pub struct Frame;

impl Feature for Frame {
    const NAME: &'static str = "multicast_frame";
    const PER: &'static [Per] = &[Per::All];
    const READS: &'static [&'static str] = &[Switches::NAME];

    fn run(cx: &Cx<'_>, _: Key) {
        let flow = |priority, match_, actions: Vec<Action>| {
            let stage = Stage::LsInL2Lkup;
            cx.flow(SetName::Snooping, stage, priority, match_, actions, None);
        };
        for report in reports() {
            flow(priority::L2_MCAST_REPORT, report, vec![Action::Igmp]);
        }
        let link_local: ipnet::Ipv4Net = "224.0.0.0/24".parse().expect("a literal network");
        flow(
            priority::L2_MCAST_LOCAL,
            Expr::all([pred::IP4_MCAST, field::IP4_DST.within(link_local)]),
            flood(Mcast::FloodL2),
        );
        flow(
            priority::L2_MCAST_LOCAL,
            pred::IP6_MCAST_FLOOD,
            flood(Mcast::Flood),
        );
    }
}

/// Per switch: multicast that nobody asked for.
pub struct Unregistered;

impl Feature for Unregistered {
    const NAME: &'static str = "multicast_unregistered";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[Switches::NAME, Marks::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let switch = key.row();
        let Some(snooping) = snooping(cx, switch) else {
            return;
        };
        if snooping.flood_unregistered {
            return;
        }
        let mut actions = Vec::new();
        if Mark::Routers.is_set(cx, switch) {
            actions.push(copy_to(Mcast::MrouterFlood));
        }
        if Mark::Static.is_set(cx, switch) {
            actions.extend(flood(Mcast::Static));
        }
        if actions.is_empty() {
            actions.push(Action::Drop);
        }
        cx.flow(
            switch,
            Stage::LsInL2Lkup,
            priority::L2_MCAST_UNREGISTERED,
            ip_multicast(),
            actions,
            None,
        );
    }
}

/// Per port in another availability zone: its reports have passed that zone's ingress, so they are looked at on the way out.
pub struct Remotes;

impl Feature for Remotes {
    const NAME: &'static str = "multicast_remote";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Remote)];
    const READS: &'static [&'static str] = &[Switches::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        if PortType::parse(lsp.type_()) != PortType::Remote {
            return;
        }
        let Some(switch) = cx.switch_of(key.row()) else {
            return;
        };
        if snooping(cx, switch).is_none_or(|snooping| !snooping.spans_zones) {
            return;
        }
        for report in reports() {
            cx.flow(
                switch,
                Stage::LsOutPreLb,
                120,
                Expr::all([field::INPORT.eq(lsp.name()), report]),
                vec![
                    Action::nested(NestedKind::Clone, [Action::Igmp]),
                    Action::NEXT,
                ],
                Some(key.row()),
            );
        }
    }
}
