//! Ageing of what chassis learn: until when a row of `MAC_Binding` or `FDB` stands.
//!
//! Guarantees: a neighbour is forgotten when its row has not been refreshed for the time that its router's
//! `options:mac_binding_age_threshold` gives its address (the longest prefix decides, then the entry without a network), an
//! Ethernet address after its switch's `other_config:fdb_age_threshold`; zero and nothing mean never. Entries that
//! cannot be read are told and the others stand. When the time has come is the sync's to see: units have no clock.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_ovsdb::model::Uuid;
use weft_schemas::{nb, sb};

use crate::index::ById;
use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// Per router: publishes [`Ages`] where anything ages.
pub struct Thresholds;

/// How long neighbours of a router stand, in seconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ages {
    /// Longest prefixes first.
    networks: Vec<(IpNet, i64)>,
    /// All others.
    rest: i64,
}

impl Ages {
    /// Parses `60`, or `10.0.0.0/24:60;fd00::/64:0;3600`. Returns also what cannot be used.
    fn parse(text: &str) -> (Ages, Vec<&str>) {
        let mut ages = Ages::default();
        let mut bad = Vec::new();
        for entry in text
            .split(';')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let (network, seconds) = match entry.rsplit_once(':') {
                Some((network, seconds)) => (Some(network), seconds),
                None => (None, entry),
            };
            let seconds = seconds.parse::<u32>().ok().map(i64::from);
            match (network, network.and_then(network_of), seconds) {
                (None, _, Some(seconds)) => ages.rest = seconds,
                (Some(_), Some(network), Some(seconds)) => ages.networks.push((network, seconds)),
                _ => bad.push(entry),
            }
        }
        ages.networks
            .sort_by_key(|(network, _)| (std::cmp::Reverse(network.prefix_len()), *network));
        (ages, bad)
    }

    /// The shortest time, which is what controllers are told: by then they see to it that what is used stands.
    pub fn shortest(&self) -> Option<i64> {
        let all = self.networks.iter().map(|(_, seconds)| *seconds);
        all.chain([self.rest]).filter(|seconds| *seconds > 0).min()
    }

    /// Of a router's `options:mac_binding_age_threshold`, as far as it can be read.
    pub fn of_router(cx: &Cx<'_>, router: Uuid) -> Option<Ages> {
        let text = cx
            .lr(router)?
            .options()
            .get("mac_binding_age_threshold")?
            .clone();
        Some(Ages::parse(&text).0)
    }

    /// Seconds that a neighbour stands; `None` is for ever.
    fn of(&self, ip: IpAddr) -> Option<i64> {
        let near = self
            .networks
            .iter()
            .find(|(network, _)| network.contains(&ip));
        let seconds = near.map_or(self.rest, |(_, seconds)| *seconds);
        (seconds > 0).then_some(seconds)
    }
}

/// A network, or one address.
fn network_of(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl Feature for Thresholds {
    const NAME: &'static str = "mac_binding_ages";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(router) = cx.lr(key.row()) else {
            return;
        };
        let Some(text) = router.options().get("mac_binding_age_threshold") else {
            return;
        };
        let (ages, bad) = Ages::parse(text);
        for entry in bad {
            let message = format!(
                "mac_binding_age_threshold: \"{entry}\" is neither seconds nor a network with seconds (like 10.0.0.0/24:60): left out"
            );
            cx.diagnose::<nb::LogicalRouter>(router.name(), key.row(), "options", message);
        }
        if ages.shortest().is_some() {
            cx.publish(ages);
        }
    }
}

fn expires(cx: &Cx<'_>, table: sb::TableId, row: Uuid, since_ms: i64, seconds: i64) {
    cx.emit(Output::Expires {
        table: table as u8,
        row,
        at_ms: since_ms.saturating_add(seconds * 1000),
    });
}

/// Publishes whether every chassis refreshes what is used: whether its controller knows `mac_cache_use;`. One that does not
/// would lose the packets of the flow.
pub struct Refreshers;

impl Feature for Refreshers {
    const NAME: &'static str = "mac_cache_users";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        // OVN got both with the same release, and says only this one.
        let knows = |chassis: &Uuid| {
            let row = cx.chassis(*chassis)?;
            Some(
                row.other_config()
                    .get("fdb-timestamp")
                    .is_some_and(|v| &**v == "true"),
            )
        };
        let chassis = cx.all_sb(sb::TableId::Chassis);
        if !chassis.is_empty() && chassis.iter().all(|chassis| knows(chassis) != Some(false)) {
            cx.publish(());
        }
    }
}

/// Whether packets of a router refresh what is known of who sent them.
pub fn refreshes(cx: &Cx<'_>, router: Uuid) -> bool {
    cx.value::<Ages>(Thresholds::ID, Key::Row(router)).is_some()
        && cx.value::<()>(Refreshers::ID, Key::Global).is_some()
}

/// Per learned neighbour.
pub struct MacBindings;

impl Feature for MacBindings {
    const NAME: &'static str = "mac_binding_age";
    const PER: &'static [Per] = &[Per::Sb(sb::TableId::MacBinding)];
    const READS: &'static [&'static str] = &[Thresholds::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.mac_binding(key.row()) else {
            return;
        };
        let router = cx
            .lrp_named(row.logical_port())
            .and_then(|port| cx.router_of(port));
        let ages = router.and_then(|router| cx.value::<Ages>(Thresholds::ID, Key::Row(router)));
        let (Some(ages), Ok(ip)) = (ages, row.ip().parse()) else {
            return;
        };
        if let Some(seconds) = ages.of(ip) {
            expires(
                cx,
                sb::TableId::MacBinding,
                key.row(),
                *row.timestamp(),
                seconds,
            );
        }
    }
}

/// Per learned Ethernet address.
pub struct Fdb;

impl Feature for Fdb {
    const NAME: &'static str = "fdb_age";
    const PER: &'static [Per] = &[Per::Sb(sb::TableId::Fdb)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.fdb(key.row()) else { return };
        let number = Uuid(*row.dp_key() as u128);
        let datapath = cx.by_id(ById::DatapathByKey, number).first();
        let switch = datapath
            .and_then(|datapath| cx.datapath_row(*datapath))
            .and_then(|row| {
                row.external_ids()
                    .get("logical-switch")?
                    .parse::<Uuid>()
                    .ok()
            });
        let seconds = switch.and_then(|switch| cx.ls(switch)).and_then(|row| {
            row.other_config()
                .get("fdb_age_threshold")?
                .parse::<u32>()
                .ok()
        });
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            expires(
                cx,
                sb::TableId::Fdb,
                key.row(),
                *row.timestamp(),
                seconds.into(),
            );
        }
    }
}

/// How many rows of a table may go at once.
pub struct Limits;

impl Feature for Limits {
    const NAME: &'static str = "ageing_limits";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        for (name, table) in [
            ("mac_binding_removal_limit", sb::TableId::MacBinding),
            ("fdb_removal_limit", sb::TableId::Fdb),
        ] {
            let limit = cx
                .global_option(name)
                .and_then(|text| text.parse::<u32>().ok());
            if let Some(limit) = limit.filter(|limit| *limit > 0) {
                cx.emit(Output::RemovalLimit(table as u8, limit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bed, map};

    #[test]
    fn packets_refresh_where_something_ages_and_every_controller_can() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let chassis = |new: bool| sb::Chassis {
            name: if new { "new" } else { "old" }.into(),
            other_config: if new {
                map([("fdb-timestamp", "true")])
            } else {
                map([])
            },
            ..Default::default()
        };
        bed.insert_sb(chassis(true));
        assert_eq!(bed.all_flows("mac_cache_use"), "");
        bed.edit_router("r", |row| {
            row.options = map([("mac_binding_age_threshold", "10.0.0.0/8:60;90;x")])
        });
        assert_eq!(
            bed.all_flows("mac_cache_use"),
            "r lr_in_learn_neighbor 100 | reg9[2] == 1 | mac_cache_use; next;"
        );
        assert!(bed.diagnostics().contains("\"x\""), "{}", bed.diagnostics());
        let told = |bed: &mut Bed| {
            bed.wanted().iter().any(|output| match output {
                Output::Datapath(row) => row
                    .external_ids
                    .get("mac_binding_age_threshold")
                    .is_some_and(|v| &**v == "60"),
                _ => false,
            })
        };
        assert!(told(&mut bed));
        bed.insert_sb(chassis(false));
        assert_eq!(bed.all_flows("mac_cache_use"), "");
    }

    #[test]
    fn rows_expire_by_their_own_router_and_switch() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let neighbor = |ip: &str| sb::MacBinding {
            logical_port: "r-sw".into(),
            ip: ip.into(),
            timestamp: 1_000,
            ..Default::default()
        };
        let (near, far) = (
            bed.insert_sb(neighbor("10.0.0.9")),
            bed.insert_sb(neighbor("10.9.0.9")),
        );
        bed.insert_sb(sb::DatapathBinding {
            tunnel_key: 7,
            external_ids: map([("logical-switch", &switch.to_string())]),
            ..Default::default()
        });
        let place = bed.insert_sb(sb::Fdb {
            dp_key: 7,
            timestamp: 2_000,
            ..Default::default()
        });
        let deadlines = |bed: &mut Bed| {
            let mut list: Vec<_> = bed
                .wanted()
                .into_iter()
                .filter_map(|output| match output {
                    Output::Expires { row, at_ms, .. } => Some((row, at_ms)),
                    _ => None,
                })
                .collect();
            list.sort();
            list
        };
        assert_eq!(deadlines(&mut bed), []);
        bed.edit_router("r", |row| {
            row.options = map([("mac_binding_age_threshold", "10.0.0.0/24:60;90")])
        });
        bed.edit_switch(switch, |row| {
            row.other_config = map([("fdb_age_threshold", "5")])
        });
        assert_eq!(
            deadlines(&mut bed),
            [(near, 61_000), (far, 91_000), (place, 7_000)]
        );
        bed.edit_router("r", |row| {
            row.options = map([("mac_binding_age_threshold", "10.0.0.0/24:0;90")])
        });
        assert_eq!(deadlines(&mut bed), [(far, 91_000), (place, 7_000)]);
    }

    #[test]
    fn the_longest_prefix_decides() {
        let (ages, bad) = Ages::parse("10.0.0.0/8:60; 10.1.0.0/16:0;fd00::/64:7;10.1.2.3:5;90");
        assert!(bad.is_empty(), "{bad:?}");
        for (ip, seconds) in [
            ("10.9.0.1", Some(60)),
            ("10.1.0.1", None),
            ("10.1.2.3", Some(5)),
            ("fd00::9", Some(7)),
            ("fd01::9", Some(90)),
        ] {
            assert_eq!(ages.of(ip.parse().unwrap()), seconds, "{ip}");
        }
        assert_eq!(ages.shortest(), Some(5));
        let (ages, bad) = Ages::parse("tea;10.0.0.0/33:4;30");
        assert_eq!((ages.rest, bad.len()), (30, 2));
    }
}
