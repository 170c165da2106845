//! Routers as a whole: rows in, flows out. Every listing is also compared with a compile from scratch.

use weft_ovsdb::model::Uuid;

use crate::testing::{Bed, map};

/// Two switches, a router with a port on each; `vm` is on the first.
fn bed() -> (Bed, Uuid, Uuid) {
    let mut bed = Bed::new();
    let red = bed.switch("red");
    let blue = bed.switch("blue");
    bed.port(red, "vm", |port| {
        port.addresses = ["0a:00:00:00:01:01 10.0.0.10 fd00::10".into()]
            .into_iter()
            .collect();
    });
    bed.router_on(
        red,
        "r",
        "0a:00:00:00:ff:01",
        &["10.0.0.1/24", "fd00::1/64"],
    );
    (bed, red, blue)
}

fn has(bed: &mut Bed, filter: &str, line: &str) {
    let flows = bed.all_flows(filter);
    assert!(
        flows.lines().any(|flow| flow == line),
        "no flow\n{line}\namong\n{flows}"
    );
}

#[test]
fn multicast_mac_of_an_address() {
    let group = crate::address::solicited_node("fd01::aabb:ccdd".parse().unwrap());
    assert_eq!(
        super::multicast_mac(group),
        [0x33, 0x33, 0xff, 0xbb, 0xcc, 0xdd]
    );
}

#[test]
fn a_port_takes_frames_for_itself_and_answers_for_its_addresses() {
    let (mut bed, ..) = bed();
    insta::assert_snapshot!("admission", bed.all_flows("r lr_in_admission"));
    insta::assert_snapshot!("ip_input", bed.all_flows("r lr_in_ip_input"));
    bed.edit_router_port("r-red", |port| port.enabled = Some(false));
    let flows = bed.all_flows("r-red");
    assert!(!flows.contains("lr_in_admission"), "{flows}");
    assert!(!flows.contains("lr_out_delivery"), "{flows}");
}

#[test]
fn a_disabled_router_has_no_flows() {
    let (mut bed, ..) = bed();
    bed.edit_router("r", |router| router.enabled = Some(false));
    assert_eq!(bed.all_flows("r lr_"), "");
    bed.edit_router("r", |router| router.enabled = None);
    assert_ne!(bed.all_flows("r lr_"), "");
}

#[test]
fn neighbors_are_learned_from_every_request_or_only_from_those_for_the_router() {
    let (mut bed, ..) = bed();
    insta::assert_snapshot!("neighbors_always", bed.all_flows("_neighbor"));
    bed.edit_router("r", |router| {
        router.options = map([("always_learn_from_arp_request", "false")]);
    });
    insta::assert_snapshot!("neighbors_asked", bed.all_flows("_neighbor"));
}

#[test]
fn routes_of_all_kinds() {
    let (mut bed, ..) = bed();
    bed.route("r", "192.168.0.0/16", "10.0.0.254", |_| ());
    bed.route("r", "172.16.0.0/12", "discard", |_| ());
    bed.route("r", "10.9.0.0/24", "10.0.0.253", |route| {
        route.policy = Some("src-ip".into())
    });
    bed.route("r", "fd99::/64", "fd00::99", |_| ());
    insta::assert_snapshot!("routes", bed.all_flows("lr_in_ip_routing "));
    has(
        &mut bed,
        "lr_in_arp_request 200",
        "r lr_in_arp_request 200 | eth.dst == 00:00:00:00:00:00 && ip6 && xxreg0 == fd00::99 | \
         nd_ns { eth.dst = 33:33:ff:00:00:99; ip6.dst = ff02::1:ff00:99; nd.target = fd00::99; output; };",
    );
    assert_eq!(bed.diagnostics(), "");
}

#[test]
fn equal_routes_share_the_load() {
    let (mut bed, ..) = bed();
    for hop in ["10.0.0.2", "10.0.0.3"] {
        bed.route("r", "0.0.0.0/0", hop, |_| ());
    }
    let flows = bed.all_flows("lr_in_ip_routing");
    let group = group_of(&flows);
    assert!(
        flows.contains(&format!(
            "reg8[0..15] == {group} && reg8[16..31] == 2 | reg0 = 10.0.0.3;"
        )),
        "{flows}"
    );
    bed.route("r", "0.0.0.0/0", "10.0.0.4", |_| ());
    bed.route("r", "0.0.0.0/0", "discard", |_| ());
    let flows = bed.all_flows("lr_in_ip_routing");
    assert!(
        flows.contains(&format!(
            "reg8[0..15] = {group}; reg8[16..31] = select(1, 2, 3);"
        )),
        "{flows}"
    );
    assert!(!flows.contains("0.0.0.0/0 | drop"), "{flows}");
}

/// The number of the group that the first choice among flows is about.
fn group_of(flows: &str) -> String {
    let choice = flows.split(" = select(").next().unwrap();
    let number = choice.rsplit("reg8[0..15] = ").next().unwrap();
    number.split(';').next().unwrap().to_owned()
}

#[test]
fn the_fields_that_choose_are_those_that_all_equal_routes_name() {
    let (mut bed, ..) = bed();
    for (hop, fields) in [
        ("10.0.0.2", ["ip_src", "tp_dst"]),
        ("10.0.0.3", ["tp_dst", "ip_dst"]),
    ] {
        bed.route("r", "0.0.0.0/0", hop, |route| {
            route.selection_fields = crate::testing::set(fields)
        });
    }
    let flows = bed.all_flows("select");
    assert!(
        flows.contains("tcp_dst,udp_dst,sctp_dst") && !flows.contains("ip_src"),
        "{flows}"
    );
}

#[test]
fn replies_go_back_where_the_connection_came_from() {
    let (mut bed, ..) = bed();
    for hop in ["10.0.0.2", "10.0.0.3"] {
        bed.route("r", "20.0.0.0/8", hop, |route| {
            route.options = map([("ecmp_symmetric_reply", "true")])
        });
    }
    assert_eq!(
        bed.all_flows("chk_ecmp_nh"),
        "",
        "not on a distributed router"
    );
    bed.edit_router("r", |router| router.options = map([("chassis", "hv")]));
    insta::assert_snapshot!("symmetric", bed.all_flows("ecmp_"));
}

#[test]
fn one_route_more_costs_itself() {
    let (mut bed, ..) = bed();
    for n in 0..2000 {
        bed.route(
            "r",
            &format!("11.{}.{}.0/24", n / 256, n % 256),
            "10.0.0.2",
            |_| (),
        );
    }
    bed.ran();
    bed.route("r", "12.0.0.0/8", "10.0.0.2", |_| ());
    assert_eq!(bed.ran(), 2, "what it says and its flows");
    bed.route("r", "12.0.0.0/8", "10.0.0.3", |_| ());
    let ran = bed.ran();
    assert!(ran <= 10, "with an equal one: {ran}");
    let blue = bed.switch("green");
    bed.router_on(blue, "q", "0a:00:00:00:ff:02", &["10.0.0.1/24"]);
    bed.ran();
    bed.edit_router_port("q-green", |port| port.mac = "0a:00:00:00:ff:03".into());
    let ran = bed.ran();
    assert!(ran < 100, "a port of another router: {ran}");
}

#[test]
fn no_load_is_shared_with_a_route_that_leads_nowhere() {
    let (mut bed, ..) = bed();
    bed.route("r", "0.0.0.0/0", "10.0.0.2", |_| ());
    bed.route("r", "0.0.0.0/0", "10.77.0.3", |_| ());
    let flows = bed.all_flows("lr_in_ip_routing");
    assert!(
        flows.contains("reg0 = 10.0.0.2") && !flows.contains("select("),
        "{flows}"
    );
    assert_eq!(bed.diagnostics().lines().count(), 1);
}

#[test]
fn route_tables_apply_to_the_ports_that_name_them() {
    let (mut bed, ..) = bed();
    bed.route("r", "5.5.5.0/24", "10.0.0.77", |route| {
        route.route_table = "blue".into()
    });
    bed.edit_router_port("r-red", |port| {
        port.options = map([("route_table", "blue")])
    });
    let pre = bed.all_flows("lr_in_ip_routing_pre 100");
    let number = pre
        .split("reg7 = ")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .unwrap()
        .to_owned();
    assert_ne!(number, "0");
    let route = bed.all_flows("5.5.5.0/24");
    assert!(
        route.contains(&format!("reg7 == {number} && ip4.dst == 5.5.5.0/24")),
        "{route}"
    );
}

#[test]
fn a_bad_route_is_told_and_costs_nothing_else() {
    let (mut bed, ..) = bed();
    bed.route("r", "1.0.0.0/8", "10.7.7.7", |_| ());
    bed.route("r", "tea", "10.0.0.2", |_| ());
    bed.route("r", "2.0.0.0/8", "coffee", |_| ());
    bed.route("r", "fd03::/16", "10.0.0.2", |_| ());
    bed.route("r", "4.0.0.0/8", "10.0.0.2", |route| {
        route.output_port = Some("gone".into())
    });
    bed.route("r", "5.0.0.0/8", "10.0.0.2", |_| ());
    let said = bed.diagnostics();
    for what in [
        "10.7.7.7",
        "\"tea\"",
        "\"coffee\"",
        "not of the family",
        "\"gone\"",
    ] {
        assert!(said.contains(what), "nothing about {what} in\n{said}");
    }
    assert_eq!(said.lines().count(), 5, "{said}");
    let flows = bed.all_flows("lr_in_ip_routing ");
    assert!(
        flows.contains("5.0.0.0/8") && !flows.contains(" 4.0.0.0/8"),
        "{flows}"
    );
}

#[test]
fn addresses_of_switch_ports_and_routers_are_resolved_without_asking() {
    let (mut bed, red, _) = bed();
    bed.router_on(red, "q", "0a:00:00:00:ff:09", &["10.0.0.9/24"]);
    insta::assert_snapshot!("resolve", bed.all_flows("lr_in_arp_resolve 100"));
    bed.edit_router("q", |router| {
        router.options = map([("dynamic_neigh_routers", "true")])
    });
    let asked = bed.all_flows("q lr_in_arp_resolve 100");
    assert!(!asked.contains("ff:01"), "{asked}");
    bed.port(red, "v", |port| {
        port.type_ = "virtual".into();
        port.options = map([("virtual-ip", "10.0.0.50"), ("virtual-parents", "vm")]);
    });
    has(
        &mut bed,
        "reg0 == 10.0.0.50",
        "r lr_in_arp_resolve 100 | outport == \"r-red\" && reg0 == 10.0.0.50 | eth.dst = 00:00:00:00:00:00; next;",
    );
}

#[test]
fn packets_beyond_the_mtu_are_answered() {
    let (mut bed, ..) = bed();
    bed.edit_router_port("r-red", |port| {
        port.options = map([("gateway_mtu", "1400")])
    });
    insta::assert_snapshot!("mtu", bed.all_flows("reg9[1]"));
}

#[test]
fn ipv4_over_ipv6() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    bed.router_on(switch, "r", "0a:00:00:00:00:01", &["fd00::1/64"]);
    bed.route("r", "10.0.0.0/8", "fd00::2", |_| ());
    assert_eq!(bed.diagnostics(), "");
    insta::assert_snapshot!(
        bed.all_flows("")
            .lines()
            .filter(|line| line.contains("reg9[9]") || line.contains("10.0.0.0/8"))
            .collect::<Vec<_>>()
            .join("\n")
    );
}
