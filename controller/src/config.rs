//! What the local Open_vSwitch row says: the chassis's name and the settings of ovn-controller(8).
//!
//! Two kinds: [`ME`] for what nearly everything depends on and hardly ever changes (who we are), [`CONFIG`] for the rest.

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::vs;

use crate::index::Index;
use crate::program::{Controller, Diagnostic, Key, Read};

/// Publishes [`Me`].
pub const ME: Kind<Controller> = Kind::pure("me", &[], me);
/// Publishes [`Config`].
pub const CONFIG: Kind<Controller> = Kind::pure("config", &["me"], config);

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Name of this chassis.
    pub name: Str,
    /// Name of this host.
    pub hostname: Str,
    /// Our row in Chassis, once it is there.
    pub chassis: Option<Uuid>,
}

/// One way to reach this chassis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EncapSetting {
    /// geneve, vxlan or stt.
    pub kind: Str,
    /// The address of the tunnel's end.
    pub ip: Str,
}

/// The settings of ovn-controller(8) that units use.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Name of the integration bridge.
    pub bridge: Str,
    /// What its datapath type must be, if that is said.
    pub datapath_type: Option<Str>,
    /// Every pair of ovn-encap-type and ovn-encap-ip.
    pub encaps: Vec<EncapSetting>,
    /// The addresses among them, the one to use where nothing else is said first. A VIF's place among them is what its
    /// packets carry through the pipeline.
    pub encap_ips: Vec<Str>,
    /// ovn-encap-ip-default, if it is one of them.
    pub encap_default: Option<Str>,
    /// Whether others should send to us with checksums.
    pub encap_csum: bool,
    /// ovn-encap-tos, if any.
    pub encap_tos: Option<Str>,
    /// ovn-encap-df_default, if any.
    pub encap_df: Option<Str>,
    /// Whether tunnels name their local address even if there is but one: as ovn-set-local-ip says, or because several
    /// controllers share this Open vSwitch and each has its own.
    pub set_local_ip: bool,
    /// Physical network to bridge.
    pub mappings: Vec<(Str, Str)>,
    /// ovn-chassis-mac-mappings: physical network to MAC.
    pub macs: Vec<(Str, Str)>,
    /// The transport zones we are in.
    pub transport_zones: Vec<Str>,
    /// The settings that are only passed on, in the form and under the names Chassis.other_config has them.
    pub passed_on: Vec<(&'static str, Str)>,
    /// Whether everything is monitored, whether needed here or not.
    pub monitor_all: bool,
}

impl Config {
    /// The bridge that gives access to a physical network.
    pub fn bridge_of(&self, network: &str) -> Option<&Str> {
        self.mappings
            .iter()
            .find(|(net, _)| &**net == network)
            .map(|(_, bridge)| bridge)
    }
}

/// The name of this chassis: command line first, then the database.
pub fn chassis_name(row: &vs::OpenVswitch, given: Option<&Str>) -> Option<Str> {
    given
        .or_else(|| row.external_ids.nonempty("system-id"))
        .cloned()
}

/// The value of a setting: the one for this chassis by name before the general one.
pub fn setting<'a>(row: &'a vs::OpenVswitch, chassis: &str, key: &str) -> Option<&'a Str> {
    row.external_ids
        .get(&*format!("{key}-{chassis}"))
        .or_else(|| row.external_ids.get(key))
}

fn me(cx: &Cx<'_, Controller>, _: Key) {
    let vs = cx.vs_rec();
    let Some(uuid) = cx.lookup_one(Index::OpenVswitch, ()) else {
        return;
    };
    let Some(row) = cx.vs().open_vswitch.tracked(uuid, &vs) else {
        return;
    };
    let ids = row.external_ids();
    let Some(name) = cx
        .settings()
        .chassis
        .as_ref()
        .or_else(|| ids.nonempty("system-id"))
        .cloned()
    else {
        cx.diagnose(Diagnostic {
            row: "Open_vSwitch".into(),
            column: "external_ids",
            message: "no system-id: this chassis has no name, nothing can be done".into(),
            uuid,
        });
        return;
    };
    let hostname = ids
        .nonempty("hostname")
        .cloned()
        .unwrap_or_else(|| Str::from(""));
    let chassis = cx.lookup_one(Index::ChassisByName, &*name);
    cx.publish(Me {
        name,
        hostname,
        chassis,
    });
}

fn config(cx: &Cx<'_, Controller>, _: Key) {
    let vs = cx.vs_rec();
    let Some(me) = cx.value::<Me>(ME.id(), Key::Global) else {
        return;
    };
    let Some(uuid) = cx.lookup_one(Index::OpenVswitch, ()) else {
        return;
    };
    let Some(row) = cx.vs().open_vswitch.tracked(uuid, &vs) else {
        return;
    };
    let ids = row.external_ids();
    let get = |key: &str| {
        ids.nonempty(&format!("{key}-{}", me.name))
            .or_else(|| ids.nonempty(key))
    };
    let flag = |key: &str, default: bool| get(key).map_or(default, |v| &**v == "true");
    let kinds = list(get("ovn-encap-type"));
    let ips = list(get("ovn-encap-ip"));
    let mut encaps: Vec<EncapSetting> = Vec::new();
    for kind in &kinds {
        if !matches!(&**kind, "geneve" | "vxlan" | "stt") {
            cx.diagnose(Diagnostic {
                row: "Open_vSwitch".into(),
                column: "external_ids",
                message: format!(
                    "ovn-encap-type has \"{kind}\", which is none of geneve, vxlan, stt: left out"
                ),
                uuid,
            });
            continue;
        }
        encaps.extend(ips.iter().map(|ip| EncapSetting {
            kind: kind.clone(),
            ip: ip.clone(),
        }));
    }
    encaps.sort();
    if encaps.is_empty() {
        cx.diagnose(Diagnostic {
            row: "Open_vSwitch".into(),
            column: "external_ids",
            message:
                "ovn-encap-type and ovn-encap-ip name no tunnel end: this chassis cannot be reached"
                    .into(),
            uuid,
        });
    }
    let encap_default = get("ovn-encap-ip-default").cloned();
    if let Some(ip) = &encap_default
        && !ips.contains(ip)
    {
        cx.diagnose(Diagnostic {
            row: "Open_vSwitch".into(),
            column: "external_ids",
            message: format!("ovn-encap-ip-default {ip} is not in ovn-encap-ip: not used"),
            uuid,
        });
    }
    let encap_default = encap_default.filter(|ip| ips.contains(ip));
    let encap_ips = default_first(ips, encap_default.as_ref());
    let own_address = ids.contains_key(&*format!("ovn-encap-ip-{}", me.name));
    let passed_on = PASSED_ON
        .iter()
        .map(|&(ours, theirs, default)| {
            (
                theirs,
                get(ours).cloned().unwrap_or_else(|| Str::from(default)),
            )
        })
        .collect();
    cx.publish(Config {
        bridge: get("ovn-bridge")
            .cloned()
            .unwrap_or_else(|| Str::from("br-int")),
        datapath_type: get("ovn-bridge-datapath-type").cloned(),
        encaps,
        encap_ips,
        encap_default,
        encap_csum: flag("ovn-encap-csum", true),
        encap_tos: get("ovn-encap-tos")
            .filter(|tos| &***tos != "none")
            .cloned(),
        encap_df: get("ovn-encap-df_default").cloned(),
        set_local_ip: flag("ovn-set-local-ip", own_address),
        mappings: pairs(get("ovn-bridge-mappings")),
        macs: pairs(get("ovn-chassis-mac-mappings")),
        transport_zones: list(get("ovn-transport-zones")),
        passed_on,
        monitor_all: flag("ovn-monitor-all", false),
    });
}

/// Settings that Chassis.other_config repeats: our name, the name there, the value when there is none.
const PASSED_ON: &[(&str, &str, &str)] = &[
    ("ovn-bridge-mappings", "ovn-bridge-mappings", ""),
    ("ovn-chassis-mac-mappings", "ovn-chassis-mac-mappings", ""),
    ("ovn-cms-options", "ovn-cms-options", ""),
    ("ovn-monitor-all", "ovn-monitor-all", "false"),
    ("ovn-enable-lflow-cache", "ovn-enable-lflow-cache", "true"),
    ("ovn-limit-lflow-cache", "ovn-limit-lflow-cache", ""),
    (
        "ovn-memlimit-lflow-cache-kb",
        "ovn-memlimit-lflow-cache-kb",
        "",
    ),
    (
        "ovn-trim-limit-lflow-cache",
        "ovn-trim-limit-lflow-cache",
        "",
    ),
    ("ovn-trim-timeout-ms", "ovn-trim-timeout-ms", ""),
    (
        "ovn-trim-wmark-perc-lflow-cache",
        "ovn-trim-wmark-perc-lflow-cache",
        "",
    ),
    ("ovn-is-interconn", "is-interconn", "false"),
];

/// The members of a comma-separated list, sorted, each once.
fn list(text: Option<&Str>) -> Vec<Str> {
    let mut all: Vec<Str> = text
        .map(|t| {
            t.split(',')
                .map(str::trim)
                .filter(|w| !w.is_empty())
                .map(Str::from)
                .collect()
        })
        .unwrap_or_default();
    all.sort();
    all.dedup();
    all
}

fn default_first(mut ips: Vec<Str>, default: Option<&Str>) -> Vec<Str> {
    ips.sort_by_key(|ip| Some(ip) != default);
    ips
}

/// The pairs of a list like `physnet1:br-eth0,physnet2:br-eth1`; the value may hold colons.
/// `name:value,name:value`; values may have colons of their own.
pub(crate) fn pairs(text: Option<&Str>) -> Vec<(Str, Str)> {
    list(text)
        .iter()
        .filter_map(|pair| pair.split_once(':'))
        .map(|(a, b)| (Str::from(a.trim()), Str::from(b.trim())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_pairs() {
        let text: Str = "b, a,,b".into();
        assert_eq!(list(Some(&text)), ["a".into(), "b".into()] as [Str; 2]);
        let text: Str = "p1:aa:bb:cc:dd:ee:ff, p2:br2,junk".into();
        assert_eq!(
            pairs(Some(&text)),
            [
                ("p1".into(), "aa:bb:cc:dd:ee:ff".into()),
                ("p2".into(), "br2".into())
            ] as [(Str, Str); 2]
        );
        assert!(list(None).is_empty());
        let ips: Vec<Str> = ["a".into(), "b".into(), "c".into()].into();
        assert_eq!(default_first(ips, Some(&"b".into())).join(" "), "b a c");
    }
}
