//! What load balancers yield, and that they yield it once.

use weft_schemas::{nb, sb};

use crate::output::Output;
use crate::testing::{Bed, map, set};

/// A load balancer on the switch `sw`, which has two backends and a router.
fn bed(edit: impl FnOnce(&mut nb::LoadBalancer)) -> Bed {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    for n in 1..=2 {
        bed.port(switch, &format!("p{n}"), |port| {
            port.addresses = set([&*format!("0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}")]);
        });
    }
    bed.router_on(
        switch,
        "r",
        "0a:00:00:00:00:fe",
        &["10.0.0.254/24", "fd00::fe/64"],
    );
    let mut row = nb::LoadBalancer {
        name: "lb".into(),
        vips: map([("10.0.0.100:80", "10.0.0.1:8080,10.0.0.2:8080")]),
        protocol: Some("tcp".into()),
        ..nb::LoadBalancer::default()
    };
    edit(&mut row);
    let lb = bed.insert(row);
    bed.edit_switch(switch, |row| row.load_balancer = [lb].into_iter().collect());
    bed.edit_router("r", |row| row.load_balancer = [lb].into_iter().collect());
    bed
}

fn gateway(bed: &mut Bed, force: Option<&str>) {
    bed.edit_router("r", |row| {
        let options = [("chassis", Some("ch1")), ("lb_force_snat_ip", force)];
        let options = options
            .into_iter()
            .filter_map(|(k, v)| Some((k.into(), v?.into())));
        row.options = options.collect();
    });
}

const STAGES: &[&str] = &[
    "_pre_lb",
    "_pre_stateful",
    "_lb_aff",
    "_in_lb",
    "hairpin",
    "lr_in_unsnat",
    "lr_in_defrag",
    "lr_in_dnat",
    "lr_out_undnat",
    "lr_out_post_undnat",
    "lr_out_snat",
];

fn flows(bed: &mut Bed) -> String {
    let all = bed.all_flows("");
    let about = |line: &&str| {
        STAGES.iter().any(|stage| line.contains(stage)) && !line.contains(" 0 | 1 | next;")
    };
    all.lines().filter(about).collect::<Vec<_>>().join("\n")
}

#[test]
fn on_a_switch_and_a_gateway_router() {
    let mut bed = bed(|_| {});
    gateway(&mut bed, None);
    insta::assert_snapshot!(flows(&mut bed));
    assert_eq!(bed.diagnostics(), "");
}

#[test]
fn six_and_udp_without_port() {
    let mut bed = bed(|lb| {
        lb.vips = map([
            ("[fd01::1]:53", "[fd00::1]:53"),
            ("fd01::2", "fd00::1,fd00::2"),
        ]);
        lb.protocol = Some("udp".into());
        lb.selection_fields = set(["ip_src", "tp_src"]);
    });
    gateway(&mut bed, None);
    insta::assert_snapshot!(
        flows(&mut bed)
            .lines()
            .filter(|l| l.contains("fd0"))
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn affinity() {
    let mut bed = bed(|lb| lb.options = map([("affinity_timeout", "30")]));
    gateway(&mut bed, Some("router_ip"));
    let flows = flows(&mut bed);
    let about =
        |line: &&str| line.contains("aff") || line.contains("reg9[6]") || line.contains("force");
    insta::assert_snapshot!(flows.lines().filter(about).collect::<Vec<_>>().join("\n"));
}

#[test]
fn nobody_behind() {
    for (option, what) in [
        ("reject", "reject {"),
        ("event", "trigger_event(event = \"empty_lb_backends\""),
        ("x", "drop;"),
    ] {
        let mut bed = bed(|lb| {
            lb.vips = map([("10.0.0.100:80", "")]);
            lb.options = map([(option, "true")]);
        });
        let flows = bed.all_flows("10.0.0.100");
        assert_eq!(flows.matches(what).count(), 2, "{option}: {flows}");
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_told() {
    let mut bed = bed(|lb| {
        lb.vips = map([
            ("10.0.0.100:80", "10.0.0.1:8080,fd00::1,10.0.0.2,junk"),
            ("10.0.0.101", "10.0.0.1:80"),
            ("nonsense", "10.0.0.1"),
            ("10.0.0.102:0", "10.0.0.1:1"),
        ]);
        lb.protocol = None;
        lb.options = map([("affinity_timeout", "soon"), ("neighbor_responder", "some")]);
    });
    let flows = bed.all_flows("ls_in_lb ");
    assert!(flows.contains("backends=10.0.0.1:8080)"), "{flows}");
    insta::assert_snapshot!(bed.diagnostics());
}

#[test]
fn who_answers_for_it() {
    let answers =
        |bed: &mut Bed, ip: &str| bed.all_flows(&format!("arp.tpa == {ip} ")).lines().count();
    let lb = |mode: Option<&'static str>| {
        bed(|lb| {
            lb.vips = map([
                ("10.0.0.100:80", "10.0.0.1:80"),
                ("192.0.2.1:80", "10.0.0.1:80"),
            ]);
            lb.options = mode
                .into_iter()
                .map(|m| ("neighbor_responder".into(), m.into()))
                .collect();
        })
    };
    for (mode, near, far) in [
        (None, 1, 0),
        (Some("reachable"), 1, 0),
        (Some("all"), 1, 1),
        (Some("none"), 0, 0),
    ] {
        let mut bed = lb(mode);
        assert_eq!(
            (
                answers(&mut bed, "10.0.0.100"),
                answers(&mut bed, "192.0.2.1")
            ),
            (near, far),
            "{mode:?}"
        );
    }
}

#[test]
fn an_address_of_the_router_may_be_a_virtual_one() {
    let mut bed = bed(|lb| lb.vips = map([("10.0.0.254:80", "10.0.0.1:80")]));
    let dropped = bed.all_flows("lr_in_ip_input 60");
    assert!(!dropped.contains("ip4.dst"), "{dropped}");
    assert!(dropped.contains("ip6.dst"), "{dropped}");
}

#[test]
fn health_checks_take_backends_out() {
    let mut bed = Bed::new();
    let switch = bed.switch("sw");
    bed.port(switch, "p1", |port| {
        port.addresses = set(["0a:00:00:00:00:01 10.0.0.1"])
    });
    let check = bed.insert(nb::LoadBalancerHealthCheck {
        vip: "10.0.0.100:80".into(),
        options: map([("interval", "3")]),
        ..Default::default()
    });
    let lb = bed.insert(nb::LoadBalancer {
        vips: map([("10.0.0.100:80", "10.0.0.1:8080,10.0.0.2:8080")]),
        protocol: Some("tcp".into()),
        health_check: [check].into_iter().collect(),
        ip_port_mappings: map([("10.0.0.1", "p1:10.0.0.254")]),
        ..Default::default()
    });
    bed.edit_switch(switch, |row| row.load_balancer = [lb].into_iter().collect());
    let backends = |bed: &mut Bed| {
        bed.flows("ls_in_lb ")
            .split("backends=")
            .nth(1)
            .map(str::to_owned)
    };
    assert!(
        backends(&mut bed)
            .unwrap()
            .starts_with("10.0.0.1:8080,10.0.0.2:8080")
    );
    let answer = bed.flows("ls_in_arp_rsp 110");
    assert!(answer.contains("arp.tpa == 10.0.0.254"), "{answer}");
    let told = bed.diagnostics();
    assert!(told.contains("10.0.0.2 is not mapped"), "{told}");
    let monitors: Vec<_> = bed
        .wanted()
        .into_iter()
        .filter(|output| matches!(output, Output::ServiceMonitor(_)))
        .collect();
    assert_eq!(monitors.len(), 1, "{monitors:?}");
    bed.insert_sb(sb::ServiceMonitor {
        ip: "10.0.0.1".into(),
        port: 8080,
        protocol: Some("tcp".into()),
        logical_port: "p1".into(),
        status: Some("offline".into()),
        ..Default::default()
    });
    assert!(backends(&mut bed).unwrap().starts_with("10.0.0.2:8080)"));
}

#[test]
fn templates_are_written_as_they_are() {
    let mut bed = bed(|lb| {
        lb.vips = map([("^VIP:^PORT", "^B1:^BP,^B2:80,10.0.0.1:80")]);
        lb.options = map([("template", "true"), ("address-family", "ipv4")]);
    });
    insta::assert_snapshot!(bed.all_flows("^VIP"));
}

/// A group costs what one load balancer costs, however many datapaths have it.
#[test]
fn a_group_is_written_once() {
    let count = |datapaths: usize| {
        let mut bed = Bed::new();
        let lbs: Vec<_> = (0..5)
            .map(|n| {
                bed.insert(nb::LoadBalancer {
                    vips: map([(&*format!("192.0.2.{n}:80"), "10.0.0.1:80")]),
                    protocol: Some("tcp".into()),
                    options: map([("neighbor_responder", "all")]),
                    ..Default::default()
                })
            })
            .collect();
        let group = bed.insert(nb::LoadBalancerGroup {
            name: "all".into(),
            load_balancer: lbs.into_iter().collect(),
        });
        for n in 0..datapaths {
            bed.insert(nb::LogicalSwitch {
                name: format!("s{n}").as_str().into(),
                load_balancer_group: [group].into_iter().collect(),
                ..Default::default()
            });
            bed.insert(nb::LogicalRouter {
                name: format!("r{n}").as_str().into(),
                load_balancer_group: [group].into_iter().collect(),
                options: map([("chassis", "ch1")]),
                ..Default::default()
            });
        }
        let about = |output: &&Output| match output {
            Output::Flow { flow, .. } => flow.match_.contains("192.0.2."),
            Output::LoadBalancer(_) => true,
            _ => false,
        };
        bed.wanted().iter().filter(about).count()
    };
    assert_eq!(count(2), count(7));
}

/// A switch or a gateway router that joins a group is work of its own; load balancers are looked at only where it has a network
/// around their addresses.
#[test]
fn one_more_on_a_group_runs_no_balancer() {
    const PER_BALANCER: [&str; 4] = ["lb_router", "lb_switch", "lb_row", "lb_responder"];
    let mut bed = Bed::new();
    let lbs = (0..5).map(|n| nb::LoadBalancer {
        vips: map([(&*format!("192.0.2.{n}:80"), "10.0.0.1:80")]),
        ..Default::default()
    });
    let lbs: Vec<_> = lbs.map(|lb| bed.insert(lb)).collect();
    let group = bed.insert(nb::LoadBalancerGroup {
        name: "all".into(),
        load_balancer: lbs.into_iter().collect(),
    });
    let node = |bed: &mut Bed, n: u8, network: &str| {
        let switch = bed.switch(&format!("s{n}"));
        let name = format!("r{n}");
        bed.router_on(switch, &name, &format!("0a:00:00:00:00:0{n}"), &[network]);
        bed.edit_switch(switch, |row| {
            row.load_balancer_group = [group].into_iter().collect()
        });
        bed.edit_router(&name, |row| {
            row.load_balancer_group = [group].into_iter().collect();
            row.options = map([("chassis", "ch1")]);
        });
        let answers = bed.all_flows("lr_in_ip_input 90");
        let is_virtual = |flow: &&str| flow.contains("192.0.2.") && !flow.contains("192.0.2.254");
        let answers = answers.lines().filter(is_virtual);
        let runs = PER_BALANCER.map(|kind| bed.runs(kind));
        (runs, answers.count())
    };
    let (before, _) = node(&mut bed, 1, "10.1.0.1/24");
    let (after, answers) = node(&mut bed, 2, "10.2.0.1/24");
    assert_eq!(before, after, "runs of {PER_BALANCER:?}");
    assert_eq!(answers, 0);
    let (near, answers) = node(&mut bed, 3, "192.0.2.254/24");
    assert_eq!(near[..3], after[..3], "runs of {PER_BALANCER:?}");
    assert_eq!((near[3] - after[3], answers), (5, 5), "who may answer");
}

/// Of load balancers that a router lists itself, those that were there before need not be looked at for who answers.
#[test]
fn one_more_on_a_router_asks_for_itself_alone() {
    let mut bed = bed(|_| ());
    bed.flows("");
    let first = bed
        .compiler()
        .inputs()
        .nb
        .load_balancer
        .uuids()
        .next()
        .unwrap();
    let before = bed.runs("lb_responder");
    let second = bed.insert(nb::LoadBalancer {
        vips: map([("10.0.0.101:80", "10.0.0.1:80")]),
        ..Default::default()
    });
    bed.edit_router("r", |row| {
        row.load_balancer = [first, second].into_iter().collect()
    });
    assert!(
        bed.all_flows("lr_in_ip_input 90")
            .contains("arp.tpa == 10.0.0.101")
    );
    assert_eq!(bed.runs("lb_responder") - before, 1);
}

#[test]
fn replies_of_several_gateway_ports_need_no_connection() {
    let mut bed = bed(|lb| lb.options = map([("use_stateless_nat", "true")]));
    let stateless = |bed: &mut Bed| bed.all_flows("lr_out_undnat 120");
    for (n, port) in ["r-one", "r-two"].into_iter().enumerate() {
        let switch = bed.switch(&port[2..]);
        bed.router_port_on(
            switch,
            "r",
            &format!("0a:00:00:00:0{n}:fe"),
            &[&*format!("172.1{n}.0.1/24")],
        );
        bed.gateway_chassis(port, &["ch1"]);
    }
    let both = stateless(&mut bed);
    assert_eq!(both.lines().count(), 2, "{both}");
    for line in both.lines() {
        assert!(
            line.ends_with("| ip4.src = 10.0.0.100; tcp.src = 80; next;"),
            "{line}"
        );
    }
    bed.edit_router_port("r-two", |row| {
        row.gateway_chassis = [].into_iter().collect()
    });
    assert!(stateless(&mut bed).contains("ct_dnat"));
}
