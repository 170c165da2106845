//! Rules in, flows out; every listing is compared with a compile from scratch.

use weft_ovsdb::model::Uuid;

use crate::testing::{Bed, map, set};

/// A switch with `vm`, one with a localnet port, a router between.
fn bed() -> Bed {
    let mut bed = Bed::new();
    let inner = bed.switch("in");
    let outer = bed.switch("out");
    bed.port(inner, "vm", |port| {
        port.addresses = set(["0a:00:00:00:01:01 10.0.0.11"]);
    });
    bed.port(outer, "ln", |port| {
        port.type_ = "localnet".into();
        port.addresses = set(["unknown"]);
    });
    bed.router_on(inner, "r", "0a:00:00:00:ff:01", &["10.0.0.1/24"]);
    bed.router_port_on(
        outer,
        "r",
        "0a:00:00:00:ff:02",
        &["172.16.0.1/24", "2001:db8::1/64"],
    );
    bed
}

fn distributed() -> Bed {
    let mut bed = bed();
    bed.gateway_chassis("r-out", &["hv1", "hv2"]);
    bed
}

fn bound() -> Bed {
    let mut bed = bed();
    bed.edit_router("r", |router| router.options = map([("chassis", "hv1")]));
    bed
}

/// What a rule adds, over all datapaths.
fn added(bed: &mut Bed, rules: impl FnOnce(&mut Bed)) -> String {
    let before = bed.all_flows("");
    rules(bed);
    let after = bed.all_flows("");
    let new = after
        .lines()
        .filter(|line| !before.lines().any(|b| b == *line));
    new.collect::<Vec<_>>().join("\n")
}

#[test]
fn at_a_distributed_gateway_port() {
    let mut bed = bed();
    insta::assert_snapshot!(
        "gateway_port",
        added(&mut bed, |bed| bed
            .gateway_chassis("r-out", &["hv1", "hv2"]))
    );
    insta::assert_snapshot!(
        "distributed",
        added(&mut bed, |bed| {
            bed.nat("r", "snat 172.16.0.100 10.0.0.0/24", |_| ());
            bed.nat("r", "dnat 172.16.0.101 10.0.0.14", |_| ());
            bed.nat("r", "dnat_and_snat 2001:db8::102 fd00::12", |_| ());
        })
    );
}

#[test]
fn an_inner_port_that_is_its_own_gateway() {
    let mut bed = distributed();
    insta::assert_snapshot!(added(&mut bed, |bed| {
        bed.nat("r", "dnat_and_snat 172.16.0.103 10.0.0.11", |nat| {
            nat.logical_port = Some("vm".into());
            nat.external_mac = Some("0a:00:00:00:04:01".into());
        });
    }));
}

#[test]
fn on_a_gateway_router() {
    let mut bed = bound();
    insta::assert_snapshot!(added(&mut bed, |bed| {
        bed.nat("r", "snat 172.16.0.100 10.0.0.0/24", |nat| {
            nat.external_port_range = "3000-4000".into();
        });
        bed.nat("r", "dnat 172.16.0.101 10.0.0.14", |_| ());
        bed.nat("r", "dnat_and_snat 172.16.0.102 10.0.0.12", |nat| {
            nat.options = map([("stateless", "true")]);
        });
    }));
}

#[test]
fn sources_are_forced_to_an_address_of_the_router() {
    let mut bed = bound();
    bed.nat("r", "dnat 172.16.0.101 10.0.0.14", |_| ());
    let options = map([
        ("chassis", "hv1"),
        ("dnat_force_snat_ip", "10.0.0.1 fd00::1"),
    ]);
    insta::assert_snapshot!(added(&mut bed, |bed| bed
        .edit_router("r", |router| router.options = options)));
    bed.edit_router("r", |router| {
        router.options = map([("chassis", "hv1"), ("dnat_force_snat_ip", "x")]);
    });
    assert!(
        bed.diagnostics()
            .contains("\"x\" is not one address per family")
    );
}

#[test]
fn only_for_some_peers_and_only_for_some_packets() {
    let mut bed = distributed();
    let peers = bed.insert(weft_schemas::nb::AddressSet {
        name: "peers".into(),
        addresses: set(["9.9.9.0/24"]),
        ..Default::default()
    });
    let first = bed.nat("r", "dnat_and_snat 172.16.0.50 10.0.0.12", |nat| {
        nat.allowed_ext_ips = Some(peers);
        nat.match_ = "tcp".into();
        nat.priority = 7;
    });
    let flows = bed.all_flows("$peers");
    assert!(flows.contains("ip4.src == $peers && tcp"), "{flows}");
    assert!(flows.contains(" 107 | "), "{flows}");
    assert!(flows.contains(" 1007 | "), "{flows}");
    assert!(!flows.contains("| next;"), "{flows}");
    bed.edit_nat(first, |nat| {
        nat.exempted_ext_ips = nat.allowed_ext_ips.take();
    });
    let flows = bed.all_flows("$peers");
    assert!(
        flows.lines().all(|flow| flow.ends_with("| next;")),
        "{flows}"
    );
    bed.edit_nat(first, |nat| nat.allowed_ext_ips = nat.exempted_ext_ips);
    assert_eq!(bed.all_flows("$peers"), "");
    assert!(
        bed.diagnostics().contains("exempted_ext_ips"),
        "{}",
        bed.diagnostics()
    );
}

#[test]
fn the_own_address_as_source() {
    let mut bed = distributed();
    let here = "ip4.dst == 172.16.0.1 | drop;";
    assert!(bed.all_flows("lr_in_ip_input 60").contains(here));
    let nat = bed.nat("r", "snat 172.16.0.1 10.0.0.0/24", |_| ());
    assert!(!bed.all_flows("lr_in_ip_input 60").contains(here));
    assert!(bed.all_flows("lr_in_arp_resolve 2 ").contains(here));
    bed.edit_nat(nat, |nat| nat.external_ip = "172.16.0.9".into());
    assert!(bed.all_flows("lr_in_ip_input 60").contains(here));
}

#[test]
fn several_gateway_ports() {
    let mut bed = distributed();
    let third = bed.switch("third");
    bed.router_port_on(third, "r", "0a:00:00:00:ff:03", &["172.17.0.1/24"]);
    bed.gateway_chassis("r-third", &["hv2"]);
    bed.nat("r", "snat 172.17.0.9 10.0.0.0/24", |_| ());
    let flows = bed.all_flows("172.17.0.9");
    assert!(
        flows.contains("is_chassis_resident(\"cr-r-third\")"),
        "{flows}"
    );
    assert!(!flows.contains("cr-r-out"), "{flows}");
    bed.nat("r", "snat 192.168.0.1 10.0.1.0/24", |_| ());
    assert_eq!(bed.all_flows("192.168.0.1"), "");
    assert!(
        bed.diagnostics()
            .contains("in no network of one of the 2 gateway ports")
    );
}

#[test]
fn what_cannot_be_used_costs_its_row_only() {
    let mut bed = distributed();
    let good = bed.nat("r", "dnat_and_snat 172.16.0.50 10.0.0.12", |_| ());
    let flows = bed.all_flows("");
    for bad in [
        "dnat_and_snat 172.16.0.50 10.0.0.13",
        "dnat 172.16.0.51 10.0.0.0/24",
        "snat 172.16.0.300 10.0.0.0/24",
        "snat 172.16.0.52 fd00::/64",
        "both 172.16.0.53 10.0.0.1",
    ] {
        bed.nat("r", bad, |_| ());
        assert_eq!(bed.all_flows(""), flows, "{bad}");
    }
    insta::assert_snapshot!(without_uuids(&bed.diagnostics(), good));
}

fn without_uuids(text: &str, good: Uuid) -> String {
    text.replace(&good.to_string(), "GOOD")
}

#[test]
fn a_bad_twin_is_none() {
    let mut bed = distributed();
    bed.nat("r", "snat 172.16.0.300 10.0.0.0/24", |_| ());
    bed.nat("r", "snat 172.16.0.100 10.0.0.0/24", |_| ());
    let flows = bed.all_flows("ct_snat_in_czone(172.16.0.100)");
    assert_eq!(flows.lines().count(), 1, "{flows}");
}

#[test]
fn plain_routers_translate_nothing() {
    let mut bed = bed();
    let new = added(&mut bed, |bed| {
        bed.nat("r", "snat 172.16.0.100 10.0.0.0/24", |_| ());
    });
    assert_eq!(new, "");
    assert!(
        bed.diagnostics()
            .contains("neither options:chassis nor a port")
    );
}

#[test]
fn a_rule_more_costs_one_unit() {
    let mut bed = distributed();
    for n in 1..100 {
        bed.nat(
            "r",
            &format!("dnat_and_snat 172.16.0.{n} 10.0.0.{n}"),
            |_| (),
        );
    }
    bed.all_flows("");
    let before = bed.runs("nat");
    bed.nat("r", "dnat_and_snat 172.16.0.200 10.0.0.200", |_| ());
    bed.wanted();
    assert_eq!(bed.runs("nat") - before, 1);
}

#[test]
fn neighbours_have_routes_where_asked_for() {
    let mut bed = distributed();
    let outer = bed.switch("far");
    bed.router_port_on(outer, "r", "0a:00:00:00:ff:03", &["100.64.0.1/24"]);
    bed.edit_router_port("r-out", |_| {});
    bed.gateway_chassis("r-far", &["hv1"]);
    bed.router_on(outer, "n", "0a:00:00:00:ff:0a", &["100.64.0.2/24"]);
    let rules = |bed: &mut Bed| {
        bed.nat("r", "dnat_and_snat 100.64.0.77 10.0.0.11", |row| {
            row.options = map([("add_route", "true")]);
        });
        let lb = bed.insert(weft_schemas::nb::LoadBalancer {
            name: "lb".into(),
            vips: map([
                ("172.16.9.9:80", "10.0.0.11:80"),
                ("[fd99::9]:80", "[fd00::11]:80"),
            ]),
            options: map([("add_route", "true")]),
            ..Default::default()
        });
        bed.edit_router("r", |row| row.load_balancer = [lb].into_iter().collect());
    };
    let new = added(&mut bed, rules);
    let of_n = new.lines().filter(|line| line.starts_with("n "));
    insta::assert_snapshot!("routable", of_n.collect::<Vec<_>>().join("\n"));
    bed.edit_router("n", |row| {
        row.options = map([("dynamic_neigh_routers", "true")])
    });
    let asks = bed.all_flows("n lr_in_arp_resolve 100");
    assert!(
        !asks.contains("100.64.0.77") && !asks.contains("172.16.9.9"),
        "{asks}"
    );
}

#[test]
fn zones_apart_where_asked_for() {
    let mut bed = distributed();
    bed.global(|row| row.options = map([("use_common_zone", "false")]));
    bed.nat("r", "dnat_and_snat 172.16.0.101 10.0.0.11", |_| {});
    assert_eq!(bed.all_flows("czone"), "");
    assert!(
        bed.all_flows("ct_snat(172.16.0.101)")
            .contains("lr_out_snat 161")
    );
    assert!(
        bed.all_flows("ct_dnat(10.0.0.11)")
            .contains("lr_in_dnat 100")
    );
}
