//! Snooping switches and relaying routers, together.

use weft_ovsdb::model::{Map, Uuid};
use weft_schemas::sb;

use super::registrable;
use crate::output::Output;
use crate::testing::{Bed, map};

/// The row that stands for a switch in the southbound.
fn datapath(bed: &mut Bed, switch: Uuid) -> Uuid {
    bed.insert_sb(sb::DatapathBinding {
        external_ids: Map::from_iter([("logical-switch".into(), switch.to_string().into())]),
        ..sb::DatapathBinding::default()
    })
}

/// The row that stands for a port.
fn binding(bed: &mut Bed, datapath: Uuid, port: &str) -> Uuid {
    bed.insert_sb(sb::PortBinding {
        logical_port: port.into(),
        datapath,
        ..sb::PortBinding::default()
    })
}

fn joined(address: &str, datapath: Uuid, chassis: Uuid, ports: &[Uuid]) -> sb::IgmpGroup {
    sb::IgmpGroup {
        address: address.into(),
        datapath: Some(datapath),
        chassis: Some(chassis),
        ports: ports.iter().copied().collect(),
        ..sb::IgmpGroup::default()
    }
}

fn chassis(bed: &mut Bed, name: &str) -> Uuid {
    bed.insert_sb(sb::Chassis {
        name: name.into(),
        ..sb::Chassis::default()
    })
}

/// `DATAPATH GROUP KEY: PORTS` of the groups other than those every switch has.
fn groups(bed: &mut Bed) -> Vec<String> {
    let mut members: Vec<(String, String)> = bed
        .wanted()
        .iter()
        .filter_map(|output| {
            let Output::McastMember { group, port, .. } = output else {
                return None;
            };
            let name = group.name();
            let basic = ["_MC_flood", "_MC_flood_l2", "_MC_unknown"].contains(&&*name);
            (!basic).then(|| (format!("{name} {}", group.tunnel_key()), port.to_string()))
        })
        .collect();
    members.sort();
    members.iter().map(|(g, p)| format!("{g}: {p}")).collect()
}

fn snoop<const N: usize>(bed: &mut Bed, switch: Uuid, more: [(&str, &str); N]) {
    bed.edit_switch(switch, |row| {
        row.other_config = map(more)
            .iter()
            .cloned()
            .chain([("mcast_snoop".into(), "true".into())])
            .collect();
    });
}

fn snooped(bed: &mut Bed) -> String {
    let all = bed.all_flows("");
    let about = |line: &&str| {
        ["mcast", "igmp", "mld", "_MC_static", "239.", "ff0e", "ff05"]
            .iter()
            .any(|what| line.contains(what))
            && ["ls_in_l2_lkup", "ip_routing ", "ip_input", "out_delivery"]
                .iter()
                .any(|stage| line.contains(stage))
    };
    all.lines().filter(about).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_dropped_that_somebody_wants() {
    let mut bed = Bed::new();
    let plain = bed.switch("plain");
    bed.port(plain, "p", |_| ());
    assert!(!bed.flows("").contains("igmp"));
    let switch = bed.switch("sw");
    snoop(&mut bed, switch, []);
    bed.port(switch, "a", |_| ());
    insta::assert_snapshot!("alone", snooped(&mut bed));
    let static_ = bed.port(switch, "s", |port| {
        port.options = map([("mcast_flood", "true")])
    });
    bed.port(switch, "reports", |port| {
        port.options = map([("mcast_flood_reports", "true")])
    });
    bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
    assert!(
        bed.flows("80 |")
            .contains("80 | ip4.mcast || ip6.mcast | outport = \"_MC_static\"; output;")
    );
    bed.edit_router("r", |row| row.options = map([("mcast_relay", "true")]));
    insta::assert_snapshot!("with_a_relay", snooped(&mut bed));
    insta::assert_debug_snapshot!("with_a_relay_groups", groups(&mut bed));
    snoop(&mut bed, switch, [("mcast_flood_unregistered", "true")]);
    assert!(!bed.flows("").contains("80 | ip4.mcast"));
    snoop(&mut bed, switch, []);
    bed.remove_port(static_);
    assert!(bed.flows("80 |").contains(
        "80 | ip4.mcast || ip6.mcast | clone { outport = \"_MC_mrouter_flood\"; output; };"
    ));
}

#[test]
fn members_get_what_they_joined_across_routers() {
    let mut bed = Bed::new();
    let (near, far) = (bed.switch("near"), bed.switch("far"));
    snoop(&mut bed, near, []);
    snoop(&mut bed, far, []);
    for (switch, ports) in [(near, ["n1", "n2"]), (far, ["f1", "f2"])] {
        for port in ports {
            bed.port(switch, port, |_| ());
        }
    }
    bed.port(far, "all", |port| {
        port.options = map([("mcast_flood", "true")])
    });
    bed.router_on(near, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
    bed.router_port_on(far, "r", "0a:00:00:00:00:02", &["10.0.1.1/24"]);
    bed.edit_router("r", |row| row.options = map([("mcast_relay", "true")]));
    let (dn, df) = (datapath(&mut bed, near), datapath(&mut bed, far));
    let [n1, n2] = ["n1", "n2"].map(|port| binding(&mut bed, dn, port));
    let [f1, f2, all] = ["f1", "f2", "all"].map(|port| binding(&mut bed, df, port));
    let (hv1, hv2) = (chassis(&mut bed, "hv1"), chassis(&mut bed, "hv2"));
    bed.insert_sb(joined("239.0.0.1", dn, hv1, &[n1]));
    let second = bed.insert_sb(joined("239.0.0.1", dn, hv2, &[n2, n1]));
    bed.insert_sb(joined("239.0.0.1", df, hv2, &[f1, f2, n1]));
    bed.insert_sb(joined("239.0.0.2", df, hv2, &[all]));
    bed.insert_sb(joined("ff0e::7", df, hv1, &[f2]));
    bed.insert_sb(joined("ff02::7", df, hv1, &[f2]));
    bed.insert_sb(joined("224.0.0.7", df, hv1, &[f2]));
    bed.insert_sb(joined("mrouters", df, hv1, &[f1]));
    insta::assert_snapshot!("members", snooped(&mut bed));
    insta::assert_debug_snapshot!("members_groups", groups(&mut bed));
    // A router that was heard gets everything as such, not as a member too.
    assert!(!groups(&mut bed).contains(&"239.0.0.1 32774: f1".to_owned()));
    // Other members cost one unit and no flow.
    bed.sb_put(second, joined("239.0.0.1", dn, hv2, &[]));
    let flows = bed.all_flows("239.0.0.1");
    bed.sb_put(second, joined("239.0.0.1", dn, hv2, &[n2]));
    assert_eq!(bed.ran(), 1);
    assert_eq!(bed.all_flows("239.0.0.1"), flows);
    let physical = bed.port(near, "ln", |port| port.type_ = "localnet".into());
    let has = |bed: &mut Bed| groups(bed).contains(&"239.0.0.1 32774: ln".to_owned());
    assert!(has(&mut bed));
    bed.edit_port(physical, |port| {
        port.options = map([("mcast_flood", "true")])
    });
    assert!(!has(&mut bed));
    bed.remove_port(physical);
    bed.edit_router_port("r-far", |row| row.options = map([("mcast_flood", "true")]));
    insta::assert_snapshot!("flooding_router_port", bed.all_flows("_MC_static"));
    insta::assert_snapshot!("own_reports", bed.all_flows("ip_routing 10550"));
    snoop(&mut bed, near, [("mcast_snoop", "false")]);
    bed.edit_switch(near, |row| row.other_config = Map::default());
    assert!(!bed.flows("239.0.0.1").contains("near"));
}

#[test]
fn one_group_more_costs_itself() {
    let mut bed = Bed::new();
    let (near, far) = (bed.switch("near"), bed.switch("far"));
    snoop(&mut bed, near, []);
    snoop(&mut bed, far, []);
    bed.port(near, "n", |_| ());
    bed.router_on(near, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
    bed.router_port_on(far, "r", "0a:00:00:00:00:02", &["10.0.1.1/24"]);
    bed.edit_router("r", |row| row.options = map([("mcast_relay", "true")]));
    let dn = datapath(&mut bed, near);
    let n = binding(&mut bed, dn, "n");
    let hv = chassis(&mut bed, "hv");
    let mut ran = Vec::new();
    for last in 1..=200 {
        bed.insert_sb(joined(&format!("239.0.1.{last}"), dn, hv, &[n]));
        ran.push(bed.ran());
    }
    // Members, groups and numbers on switch and router, some of them twice since they wait for numbers.
    assert_eq!(ran[1..].iter().max(), ran[1..].iter().min(), "{ran:?}");
    assert!(ran[199] <= 10, "{ran:?}");
}

#[test]
fn rows_of_those_who_are_gone_go() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    snoop(&mut bed, switch, []);
    bed.port(switch, "a", |_| ());
    let dp = datapath(&mut bed, switch);
    let a = binding(&mut bed, dp, "a");
    let hv = chassis(&mut bed, "hv");
    let row = bed.insert_sb(joined("239.0.0.1", dp, hv, &[a]));
    let stale = |bed: &mut Bed| {
        let igmp = sb::TableId::IgmpGroup as u8;
        let wanted = bed.wanted();
        let mut stale = wanted.iter().filter_map(|output| match output {
            Output::Stale(table, row) if *table == igmp => Some(*row),
            _ => None,
        });
        stale.next()
    };
    assert_eq!(stale(&mut bed), None);
    let mut orphan = joined("239.0.0.1", dp, hv, &[a]);
    orphan.chassis = None;
    bed.sb_put(row, orphan);
    assert_eq!(stale(&mut bed), Some(row));
    assert_eq!(bed.flows("239.0.0.1"), "");
    let bad = bed.insert_sb(joined("junk", dp, hv, &[a]));
    assert!(bed.diagnostics().contains("junk"));
    assert_ne!(stale(&mut bed), Some(bad));
}

#[test]
fn a_full_table_takes_no_more() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    snoop(&mut bed, switch, [("mcast_table_size", "2")]);
    bed.port(switch, "a", |_| ());
    let dp = datapath(&mut bed, switch);
    let a = binding(&mut bed, dp, "a");
    let hv = chassis(&mut bed, "hv");
    for n in 1..=3 {
        bed.insert_sb(joined(&format!("239.0.0.{n}"), dp, hv, &[a]));
    }
    assert_eq!(bed.flows("| eth.mcast && ip4.dst").lines().count(), 2);
    assert!(
        bed.diagnostics()
            .contains("the switch has 2 groups already")
    );
    snoop(&mut bed, switch, []);
    assert_eq!(bed.flows("| eth.mcast && ip4.dst").lines().count(), 3);
    assert_eq!(bed.diagnostics(), "");
}

#[test]
fn settings_are_brought_into_range() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let row = |bed: &mut Bed| {
        let wanted = bed.wanted();
        let mut rows = wanted.iter().filter_map(|output| match output {
            Output::IpMulticast(row) => Some(row.clone()),
            _ => None,
        });
        rows.next().unwrap()
    };
    insta::assert_debug_snapshot!("settings_default", row(&mut bed));
    let config = [
        ("mcast_snoop", "true"),
        ("mcast_querier", "false"),
        ("mcast_eth_src", "0a:00:00:00:00:01"),
        ("mcast_ip4_src", "10.0.0.300"),
        ("mcast_ip6_src", "fe80::1"),
        ("mcast_table_size", "0"),
        ("mcast_idle_timeout", "31"),
        ("mcast_query_max_response", "77"),
    ];
    bed.edit_switch(switch, |row| row.other_config = map(config));
    insta::assert_debug_snapshot!("settings_odd", row(&mut bed));
    insta::assert_snapshot!("settings_complaints", bed.diagnostics());
    let config = [
        ("mcast_snoop", "true"),
        ("mcast_querier", "true"),
        ("mcast_ip6_src", "fd00::1"),
    ];
    bed.edit_switch(switch, |row| row.other_config = map(config));
    let said = bed.diagnostics();
    for what in ["\"fd00::1\" is not of the link", "no mcast_eth_src"] {
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn other_zones_are_listened_to() {
    let mut bed = Bed::new();
    let switch = bed.switch("ts");
    snoop(&mut bed, switch, [("interconn-ts", "ts")]);
    bed.port(switch, "there", |port| port.type_ = "remote".into());
    insta::assert_snapshot!("other_zones", bed.flows("ls_out_pre_lb 120"));
    snoop(&mut bed, switch, []);
    assert_eq!(bed.flows("ls_out_pre_lb 120"), "");
}

#[test]
fn reserved_groups_are_not_registered() {
    let reserved = [
        "224.0.0.1",
        "224.0.0.255",
        "ff02::1",
        "ff02::2",
        "ff05::2",
        "ff01::1",
        "ff0e::",
        "ff02::1:ff00:1",
        "10.0.0.1",
        "fe80::1",
    ];
    for ip in reserved {
        assert!(!registrable(ip.parse().unwrap()), "{ip}");
    }
    for ip in [
        "224.0.1.1",
        "239.255.255.250",
        "ff02::fb",
        "ff05::1",
        "ff1e::",
        "ff0e::2",
    ] {
        assert!(registrable(ip.parse().unwrap()), "{ip}");
    }
}
