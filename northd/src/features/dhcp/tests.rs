use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::catalog;
use crate::output::Output;
use crate::testing::{Bed, map, set};

fn v4<const N: usize>(bed: &mut Bed, cidr: &str, more: [(&str, &str); N]) -> Uuid {
    let required = [
        ("server_id", "10.0.0.254"),
        ("server_mac", "0a:00:00:00:ff:01"),
        ("lease_time", "3600"),
    ];
    bed.insert(nb::DhcpOptions {
        cidr: cidr.into(),
        options: map(required)
            .iter()
            .cloned()
            .chain(map(more).iter().cloned())
            .collect(),
        ..nb::DhcpOptions::default()
    })
}

fn v6<const N: usize>(bed: &mut Bed, cidr: &str, more: [(&str, &str); N]) -> Uuid {
    let required = [("server_id", "0a:00:00:00:ff:02")];
    bed.insert(nb::DhcpOptions {
        cidr: cidr.into(),
        options: map(required)
            .iter()
            .cloned()
            .chain(map(more).iter().cloned())
            .collect(),
        ..nb::DhcpOptions::default()
    })
}

/// The flows about DHCP: all are about UDP ports.
fn flows(bed: &mut Bed) -> String {
    bed.flows("udp.src == ")
}

#[test]
fn a_client_of_both_families() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let (four, six) = (
        v4(
            &mut bed,
            "10.0.0.0/24",
            [
                ("router", "10.0.0.254"),
                ("dns_server", "{8.8.8.8, 7.7.7.7}"),
                (
                    "classless_static_route",
                    "{30.0.0.0/24,10.0.0.10, 0.0.0.0/0,10.0.0.1}",
                ),
                ("tftp_server", "10.0.0.9"),
                ("domain_name", "\"ovn.org\""),
                ("hostname", "anybody"),
                ("mtu", "1400"),
                ("T1", "100"),
            ],
        ),
        v6(
            &mut bed,
            "fd00::/64",
            [("dns_server", "fd00::53"), ("domain_search", "\"ovn.org\"")],
        ),
    );
    bed.port(switch, "p", |port| {
        port.addresses = set([
            "0a:00:00:00:00:01 10.1.0.1 10.0.0.1 10.0.0.2 fd01::1 fd00::1",
            "0a:00:00:00:00:02 10.0.0.3",
            "unknown",
        ]);
        port.options = map([("hostname", "vm")]);
        port.dhcpv4_options = Some(four);
        port.dhcpv6_options = Some(six);
    });
    insta::assert_snapshot!(flows(&mut bed));
    assert_eq!(bed.diagnostics(), "");
}

#[test]
fn answers_are_committed_where_connections_are() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let options = v4(&mut bed, "10.0.0.0/24", []);
    bed.port(switch, "p", |port| {
        port.addresses = set(["0a:00:00:00:00:01 10.0.0.1"]);
        port.dhcpv4_options = Some(options);
    });
    let passing = |bed: &mut Bed| bed.flows("outport == \"p\" && eth.src == 0a:00:00:00:ff:01");
    assert!(passing(&mut bed).ends_with("| next;"));
    let acl = bed.insert(nb::Acl {
        action: "allow-related".into(),
        direction: "to-lport".into(),
        match_: "ip4".into(),
        ..nb::Acl::default()
    });
    bed.edit_switch(switch, |row| row.acls = [acl].into_iter().collect());
    assert!(passing(&mut bed).ends_with("| ct_commit { }; next;"));
}

#[test]
fn who_is_served() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let four = v4(&mut bed, "10.0.0.0/24", []);
    let group = bed.insert(nb::HaChassisGroup {
        name: "g".into(),
        ..nb::HaChassisGroup::default()
    });
    for (n, kind) in ["", "localport", "virtual", "router", "l2gateway"]
        .iter()
        .enumerate()
    {
        bed.port(switch, &format!("p{kind}"), |port| {
            port.type_ = (*kind).into();
            port.addresses = [format!("0a:00:00:00:00:0{n} 10.0.0.{n}").into()]
                .into_iter()
                .collect();
            port.dhcpv4_options = Some(four);
        });
    }
    bed.port(switch, "off", |port| {
        port.enabled = Some(false);
        port.addresses = set(["0a:00:00:00:00:08 10.0.0.8"]);
        port.dhcpv4_options = Some(four);
    });
    let served = |bed: &mut Bed, what: &str| flows(bed).contains(&format!("inport == \"{what}\""));
    for (port, expected) in [
        ("p", true),
        ("plocalport", true),
        ("pvirtual", true),
        ("prouter", false),
        ("pl2gateway", true),
        ("off", false),
    ] {
        assert_eq!(served(&mut bed, port), expected, "{port}");
    }
    let outside = bed.port(switch, "ext", |port| {
        port.type_ = "external".into();
        port.addresses = set(["0a:00:00:00:00:09 10.0.0.9"]);
        port.dhcpv4_options = Some(four);
    });
    bed.port(switch, "net", |port| port.type_ = "localnet".into());
    assert!(!served(&mut bed, "net"), "nobody can claim the port");
    bed.edit_port(outside, |port| port.ha_chassis_group = Some(group));
    insta::assert_snapshot!(bed.flows("inport == \"net\" && eth.src"));
}

#[test]
fn stateless_gives_no_address() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let six = v6(
        &mut bed,
        "fd00::/64",
        [("dhcpv6_stateless", "true"), ("dns_server", "{fd00::53}")],
    );
    bed.port(switch, "p", |port| {
        port.addresses = set(["0a:00:00:00:00:01 fd00::1"]);
        port.dhcpv6_options = Some(six);
    });
    let built = bed.flows("put_dhcpv6_opts");
    assert!(
        built.contains("put_dhcpv6_opts(dns_server = {fd00::53}, server_id = 0a:00:00:00:ff:02)"),
        "{built}"
    );
}

#[test]
fn bad_options_cost_only_themselves() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let four = v4(
        &mut bed,
        "10.0.0.0/24",
        [
            ("mtu", "70000"),
            ("bogus", "1"),
            ("offerip", "10.0.0.9"),
            ("router", ""),
            ("dns_server", "{8.8.8.8"),
            ("domain_name", "plain.example"),
        ],
    );
    bed.port(switch, "p", |port| {
        port.addresses = set(["0a:00:00:00:00:01 10.0.0.1"]);
        port.dhcpv4_options = Some(four);
    });
    let built = bed.flows("put_dhcp_opts");
    assert!(
        built.contains(
            "put_dhcp_opts(offerip = 10.0.0.1, domain_name = \"plain.example\", lease_time = 3600, \
             netmask = 255.255.255.0, server_id = 10.0.0.254)"
        ),
        "{built}"
    );
    insta::assert_snapshot!(bed.diagnostics());
}

#[test]
fn bad_rows_serve_nobody() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let (four, six) = (
        v4(&mut bed, "10.0.0.0/24", []),
        v6(&mut bed, "fd00::/64", []),
    );
    let port = bed.port(switch, "p", |port| {
        port.addresses = set(["0a:00:00:00:00:01 10.0.0.1 fd00::1"]);
        port.dhcpv4_options = Some(four);
        port.dhcpv6_options = Some(six);
    });
    assert_ne!(flows(&mut bed), "");
    let mut put = |row: Uuid, cidr: &str, options| {
        bed.put(
            row,
            nb::DhcpOptions {
                cidr: cidr.into(),
                options,
                ..nb::DhcpOptions::default()
            },
        );
    };
    put(four, "10.0.0.0/33", map([]));
    put(six, "fd00::/64", map([("server_id", "10.0.0.1")]));
    assert_eq!(flows(&mut bed), "");
    let said = bed.diagnostics();
    assert!(said.contains("\"10.0.0.0/33\" is no network"), "{said}");
    assert!(said.contains("\"10.0.0.1\" is no address"), "{said}");
    let other = v4(&mut bed, "10.0.0.0/24", []);
    bed.edit_port(port, |port| port.dhcpv6_options = Some(other));
    assert_eq!(flows(&mut bed), "");
    assert!(bed.diagnostics().contains("is not of IPv6"));
}

#[test]
fn the_southbound_lists_every_option_once() {
    let mut bed = Bed::new();
    let rows = |bed: &mut Bed| {
        let rows = bed.wanted();
        let options = rows.iter();
        options
            .filter(|output| matches!(output, Output::DhcpOption(_)))
            .count()
    };
    assert_eq!(rows(&mut bed), catalog::ALL.len() - 1);
    // The name of a client has a type that older southbounds refuse.
    v6(&mut bed, "fd00::/64", [("fqdn", "a.example")]);
    assert_eq!(rows(&mut bed), catalog::ALL.len());
    for (n, a) in catalog::ALL.iter().enumerate() {
        for b in &catalog::ALL[n + 1..] {
            assert!(
                a.v6 != b.v6 || (a.name != b.name && a.code != b.code),
                "{a:?} {b:?}"
            );
        }
    }
}

#[test]
fn a_router_port_relays() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    bed.router_on(switch, "r", "0a:00:00:00:ff:01", &["10.1.0.254/24"]);
    let relay = bed.insert(nb::DhcpRelay {
        name: "relay".into(),
        servers: Some("10.2.0.5".into()),
        ..nb::DhcpRelay::default()
    });
    assert_eq!(bed.all_flows("udp.dst == 67"), "");
    bed.edit_router_port("r-sw", |row| row.dhcp_relay = Some(relay));
    insta::assert_snapshot!(bed.all_flows("udp.dst == 67"));
    bed.edit_switch(switch, |row| {
        row.other_config = map([("dhcp_relay_port", "sw-r")])
    });
    assert_eq!(
        bed.flows("udp.dst == 67"),
        "sw ls_in_l2_lkup 110 | eth.dst == ff:ff:ff:ff:ff:ff && ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255 && udp.src == 68 \
         && udp.dst == 67 | eth.dst = 0a:00:00:00:ff:01; outport = \"sw-r\"; output;"
    );
    bed.edit_switch(switch, |row| {
        row.other_config = map([("dhcp_relay_port", "nobody")])
    });
    assert_eq!(bed.flows("udp.dst == 67"), "");
    assert!(
        bed.diagnostics()
            .contains("no port of the switch to a router")
    );
    bed.put(
        relay,
        nb::DhcpRelay {
            name: "relay".into(),
            servers: Some("10.2.0.5, 10.2.0.6".into()),
            ..nb::DhcpRelay::default()
        },
    );
    assert_eq!(bed.all_flows("udp.dst == 67"), "");
    assert!(bed.diagnostics().contains("is not one IPv4 address"));
}

#[test]
fn a_router_port_relays_by_the_address_it_is_told() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    let networks = ["10.1.0.254/24", "10.9.0.254/24", "fd00::1/64"];
    bed.router_on(switch, "r", "0a:00:00:00:ff:01", &networks);
    let relay = bed.insert(nb::DhcpRelay {
        name: "relay".into(),
        servers: Some("10.2.0.5".into()),
        ..nb::DhcpRelay::default()
    });
    bed.edit_router_port("r-sw", |row| row.dhcp_relay = Some(relay));
    let first = bed.all_flows("udp.dst == 67");
    assert!(first.contains("10.1.0.254") && !first.contains("10.9.0.254"));
    let mut told = |ip: &str| {
        let options = map([("dhcpv4_primary_ip", ip)]);
        bed.edit_router_port("r-sw", |row| row.options = options.clone());
        (bed.all_flows("udp.dst == 67"), bed.diagnostics())
    };
    let other = first.replace("10.1.0.254", "10.9.0.254");
    assert_eq!(told("10.9.0.254"), (other, String::new()));
    assert_eq!(told("10.1.0.254").0, first);
    for bad in ["10.9.0.1", "fd00::1", "", "10.9.0.254/24"] {
        let (flows, said) = told(bad);
        assert_eq!(flows, "", "{bad}");
        assert!(said.contains("is no IPv4 address of the port"), "{said}");
    }
}
