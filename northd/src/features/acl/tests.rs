//! Flows of ACLs, as a whole.

use weft_ovsdb::model::{Set, Uuid};
use weft_schemas::nb;

use crate::testing::{Bed, map, set};

/// An ACL of a switch, `DIRECTION PRIORITY ACTION MATCH`.
pub fn acl(bed: &mut Bed, switch: Uuid, text: &str, edit: impl FnOnce(&mut nb::Acl)) -> Uuid {
    let uuid = loose(bed, text, edit);
    bed.edit_switch(switch, |row| row.acls = with(&row.acls, uuid));
    uuid
}

/// An ACL that is not anywhere yet.
fn loose(bed: &mut Bed, text: &str, edit: impl FnOnce(&mut nb::Acl)) -> Uuid {
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    let mut row = nb::Acl {
        direction: words[0].into(),
        priority: words[1].parse().unwrap(),
        action: words[2].into(),
        match_: words[3].into(),
        ..nb::Acl::default()
    };
    edit(&mut row);
    bed.insert(row)
}

fn with(list: &Set<Uuid>, uuid: Uuid) -> Set<Uuid> {
    list.iter().copied().chain([uuid]).collect()
}

fn no_edit(_: &mut nb::Acl) {}

fn after_lb(row: &mut nb::Acl) {
    row.options = map([("apply-after-lb", "true")]);
}

#[test]
fn a_switch_without_acls_tracks_nothing() {
    let mut bed = Bed::new();
    bed.switch("sw");
    let flows = bed.flows("acl");
    assert_eq!(flows.lines().count(), 7);
    assert!(
        flows.lines().all(|line| line.ends_with(" 0 | 1 | next;")),
        "{flows}"
    );
    assert_eq!(bed.flows("ct_"), "");
}

#[test]
fn nothing_is_tracked_for_stateless_acls() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    for text in [
        "to-lport 1000 drop outport == \"a\" && ip4",
        "from-lport 900 allow ip4.src == 1.2.3.4",
        "from-lport 800 reject tcp || udp",
        "from-lport 700 allow-stateless icmp",
    ] {
        acl(&mut bed, switch, text, no_edit);
    }
    acl(&mut bed, switch, "from-lport 600 drop ip6", after_lb);
    insta::assert_snapshot!(bed.flows("acl"));
    let flows = bed.flows("");
    assert!(!flows.contains("ct_") && !flows.contains("ct."), "{flows}");
}

#[test]
fn one_related_acl_makes_the_switch_track() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    bed.switch("other");
    bed.port(switch, "net", |port| port.type_ = "localnet".into());
    bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
    acl(&mut bed, switch, "to-lport 1000 drop ip4", no_edit);
    acl(&mut bed, switch, "from-lport 900 allow ip4", no_edit);
    acl(
        &mut bed,
        switch,
        "from-lport 800 reject tcp || udp",
        no_edit,
    );
    acl(
        &mut bed,
        switch,
        "to-lport 700 allow-stateless icmp",
        no_edit,
    );
    acl(&mut bed, switch, "from-lport 600 drop ip6", after_lb);
    let plain = bed.flows("");
    let related = acl(
        &mut bed,
        switch,
        "to-lport 500 allow-related ip4.src == 1.2.3.4",
        |row| row.label = 77,
    );
    let before: Vec<&str> = plain.lines().collect();
    let flows = bed.flows("");
    let new: Vec<&str> = flows
        .lines()
        .filter(|line| !before.contains(line))
        .collect();
    insta::assert_snapshot!(new.join("\n"));
    bed.edit_switch(switch, |row| {
        row.acls = row.acls.iter().copied().filter(|a| *a != related).collect()
    });
    assert_eq!(bed.flows(""), plain);
}

#[test]
fn a_load_balancer_makes_acls_stateful_too() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    acl(&mut bed, switch, "to-lport 1000 drop ip4", no_edit);
    let lb = bed.insert(nb::LoadBalancer::default());
    bed.edit_switch(switch, |row| row.load_balancer = [lb].into_iter().collect());
    assert_eq!(bed.flows("ct_commit"), "");
    bed.put(
        lb,
        nb::LoadBalancer {
            vips: map([("10.0.0.1:80", "10.0.0.2:80")]),
            ..nb::LoadBalancer::default()
        },
    );
    assert!(bed.flows("ls_out_acl 2000").contains("ct_commit"));
    // What is sent to connection tracking is up to the load balancer.
    assert_eq!(bed.flows("ls_out_pre_acl").lines().count(), 1);
}

#[test]
fn logs_say_who_and_what() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    for (name, fair) in [("fair", Some(true)), ("shared", None)] {
        bed.insert(nb::Meter {
            name: name.into(),
            fair,
            ..nb::Meter::default()
        });
    }
    let logged = |name: &'static str, meter: &'static str| {
        move |row: &mut nb::Acl| {
            row.log = true;
            row.name = Some(name.into());
            row.severity = Some("alert".into());
            row.meter = Some(meter.into());
            row.label = 5;
            row.options = map([("log-related", "true")]);
        }
    };
    acl(
        &mut bed,
        switch,
        "to-lport 10 drop ip4",
        logged("a", "fair"),
    );
    acl(
        &mut bed,
        switch,
        "to-lport 11 reject ip4",
        logged("b", "shared"),
    );
    acl(
        &mut bed,
        switch,
        "to-lport 12 allow-related ip4",
        logged("c", "none"),
    );
    acl(&mut bed, switch, "to-lport 13 allow-stateless ip4", |row| {
        row.log = true
    });
    acl(&mut bed, switch, "to-lport 14 pass ip4", |row| {
        row.log = true
    });
    insta::assert_snapshot!(bed.flows("log("));
    insta::assert_snapshot!(bed.diagnostics());
}

#[test]
fn tiers_follow_each_other_within_their_stage() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let tier = |tier| move |row: &mut nb::Acl| row.tier = tier;
    acl(&mut bed, switch, "to-lport 10 drop ip4", tier(0));
    acl(
        &mut bed,
        switch,
        "to-lport 10 pass ip4.src == 1.1.1.1 || udp",
        tier(0),
    );
    acl(&mut bed, switch, "to-lport 10 allow ip4", tier(2));
    acl(&mut bed, switch, "to-lport 11 pass tcp", tier(3));
    acl(&mut bed, switch, "from-lport 10 drop ip4", tier(0));
    insta::assert_snapshot!(bed.flows("_acl "));
}

#[test]
fn packets_without_a_verdict_are_dropped_if_so_wished() {
    let mut bed = Bed::new();
    bed.switch("none");
    let plain = bed.switch("plain");
    let tracked = bed.switch("tracked");
    acl(&mut bed, plain, "to-lport 10 allow ip4", no_edit);
    acl(&mut bed, tracked, "to-lport 10 allow-related ip4", no_edit);
    bed.global(|row| row.options = map([("default_acl_drop", "true")]));
    insta::assert_snapshot!(
        bed.flows("drop;")
            .lines()
            .filter(|l| l.contains("acl"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    bed.global(|row| row.options = map([("use_ct_inv_match", "false")]));
    assert_eq!(bed.flows("ct.inv"), "");
}

#[test]
fn an_acl_of_a_port_group_is_on_the_switches_of_its_ports() {
    let mut bed = Bed::new();
    let switches: Vec<Uuid> = ["a", "b", "c"].map(|name| bed.switch(name)).into();
    let ports: Vec<Uuid> = switches
        .iter()
        .zip(["pa", "pb", "pc"])
        .map(|(switch, name)| bed.port(*switch, name, |_| ()))
        .collect();
    let also_on_a = bed.port(switches[0], "pa2", |_| ());
    let rule = loose(
        &mut bed,
        "to-lport 10 drop outport == @pg && ip4.src == $pg_ip4",
        no_edit,
    );
    let group = |ports: &[Uuid], acls: &[Uuid]| nb::PortGroup {
        name: "pg".into(),
        ports: ports.iter().copied().collect(),
        acls: acls.iter().copied().collect(),
        ..nb::PortGroup::default()
    };
    let uuid = bed.insert(group(&[], &[rule]));
    assert_eq!(bed.flows("@pg"), "");
    let flow = |switches: &str| {
        format!("{switches} ls_out_acl 1010 | outport == @pg && ip4.src == $pg_ip4 | drop;")
    };
    bed.put(uuid, group(&ports[..2], &[rule]));
    assert_eq!(bed.flows("@pg"), flow("a,b"));
    bed.put(uuid, group(&[ports[0], also_on_a], &[rule]));
    assert_eq!(bed.flows("@pg"), flow("a"));
    bed.remove_port(also_on_a);
    assert_eq!(bed.flows("@pg"), flow("a"));
    // A switch that tracks connections parts from those that do not.
    bed.put(uuid, group(&ports, &[rule]));
    acl(
        &mut bed,
        switches[2],
        "from-lport 5 allow-related ip6",
        no_edit,
    );
    insta::assert_snapshot!(bed.flows("@pg"), @r"
    a,b ls_out_acl 1010 | outport == @pg && ip4.src == $pg_ip4 | drop;
    c ls_out_acl 1010 | reg0[10] == 1 && outport == @pg && ip4.src == $pg_ip4 | ct_commit { ct_mark.blocked = 1; };
    c ls_out_acl 1010 | reg0[9] == 1 && outport == @pg && ip4.src == $pg_ip4 | drop;
    ");
    bed.edit_switch(switches[0], |row| row.acls = with(&row.acls, rule));
    assert_eq!(bed.flows("@pg").lines().count(), 3);
    bed.put(uuid, group(&ports, &[]));
    assert_eq!(bed.flows("@pg"), flow("a"));
    assert_eq!(bed.diagnostics(), "");
}

#[test]
fn what_cannot_be_used_is_reported_and_the_rest_stands() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
    acl(
        &mut bed,
        switch,
        "to-lport 10 drop ip4.src = 1.1.1.1",
        no_edit,
    );
    acl(
        &mut bed,
        switch,
        "to-lport 11 drop ip4.src == $gone && inport == @lost",
        |row| row.name = Some("who".into()),
    );
    acl(
        &mut bed,
        switch,
        "from-lport 12 reject inport == \"sw-r\"",
        no_edit,
    );
    acl(&mut bed, switch, "from-lport 13 drop ip4", no_edit);
    insta::assert_snapshot!(bed.diagnostics());
    assert_eq!(bed.flows("ls_out_acl 10").lines().count(), 1);
    assert!(
        bed.flows("ls_in_acl")
            .contains("ls_in_acl 1013 | ip4 | drop;")
    );
    bed.insert(nb::AddressSet {
        name: "gone".into(),
        addresses: set(["1.1.1.1"]),
        ..nb::AddressSet::default()
    });
    assert!(!bed.diagnostics().contains("gone"));
}

/// Every look at the bench compares with a compilation from scratch.
#[test]
fn any_order_of_edits_gives_the_same_flows() {
    const MATCHES: [&str; 6] = [
        "ip4",
        "ip4.src == 1.1.1.1 || udp",
        "tcp && outport == @g0",
        "oops",
        "ip6",
        "icmp",
    ];
    const ACTIONS: [&str; 6] = [
        "allow",
        "allow-related",
        "allow-stateless",
        "drop",
        "reject",
        "pass",
    ];
    for seed in 1..=12_u64 {
        let mut state = seed;
        let mut roll = |sides: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        let mut bed = Bed::new();
        let switches = ["a", "b", "c"].map(|name| bed.switch(name));
        let ports: Vec<Uuid> = (0..6)
            .map(|n| bed.port(switches[n % 3], &format!("p{n}"), |_| ()))
            .collect();
        let groups = ["g0", "g1"].map(|name| {
            bed.insert(nb::PortGroup {
                name: name.into(),
                ..nb::PortGroup::default()
            })
        });
        let draw = |roll: &mut dyn FnMut(usize) -> usize| nb::Acl {
            direction: ["from-lport", "to-lport"][roll(2)].into(),
            priority: roll(3) as i64,
            action: ACTIONS[roll(6)].into(),
            match_: MATCHES[roll(6)].into(),
            tier: (roll(2) * roll(4)) as i64,
            log: roll(3) == 0,
            options: if roll(3) == 0 {
                map([("apply-after-lb", "true")])
            } else {
                map([])
            },
            ..nb::Acl::default()
        };
        let acls: Vec<Uuid> = (0..5).map(|_| bed.insert(draw(&mut roll))).collect();
        for _ in 0..40 {
            let some = |list: &[Uuid], roll: &mut dyn FnMut(usize) -> usize| -> Set<Uuid> {
                list.iter().copied().filter(|_| roll(2) == 0).collect()
            };
            match roll(4) {
                0 => bed.put(acls[roll(5)], draw(&mut roll)),
                1 => {
                    let chosen = some(&acls, &mut roll);
                    bed.edit_switch(switches[roll(3)], |row| row.acls = chosen);
                }
                2 => {
                    let which = roll(2);
                    let (ports, acls) = (some(&ports, &mut roll), some(&acls, &mut roll));
                    let name = ["g0", "g1"][which].into();
                    bed.put(
                        groups[which],
                        nb::PortGroup {
                            name,
                            ports,
                            acls,
                            ..nb::PortGroup::default()
                        },
                    );
                }
                _ => {
                    let chosen = some(&ports, &mut roll);
                    bed.edit_switch(switches[roll(3)], |row| row.ports = chosen);
                }
            }
            bed.flows("");
        }
    }
}
