//! Logical routers.

use weft_integration::capture::TunnelHeader;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, Tunnel, wait_for};

/// A switch for each of `names` with one VM `NAME1` on the host of the same position, all on router `r`. Switch number
/// N has 10.N.0.0/24 and fd0N::/64, the router .254, the VM .1.
pub fn routed(impls: Impls, hosts: usize, names: &[&str]) -> Lab {
    routed_over(impls, hosts, names, Tunnel::Geneve)
}

fn routed_over(impls: Impls, hosts: usize, names: &[&str], tunnel: Tunnel) -> Lab {
    let lab = Lab::with_tunnel(impls, hosts, tunnel);
    lab.nb("lr-add r");
    for (i, name) in names.iter().enumerate() {
        let n = i + 1;
        lab.nb(&format!(
            "ls-add {name}
             lrp-add r r-{name} 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd0{n}::254/64
             lsp-add {name} {name}-r
             lsp-set-type {name}-r router
             lsp-set-options {name}-r router-port=r-{name}
             lsp-set-addresses {name}-r router
             lsp-add {name} {name}1
             lsp-set-addresses {name}1 '0a:00:00:00:0{n}:01 10.{n}.0.1 fd0{n}::1'"
        ));
        lab.vm(
            &format!("h{}", n.min(hosts)),
            &format!("{name}1"),
            &format!("0a:00:00:00:0{n}:01 10.{n}.0.1/24 fd0{n}::1/64 via 10.{n}.0.254 fd0{n}::254"),
        );
    }
    lab.ready();
    lab
}

pub fn three_hosts_three_subnets(impls: Impls) {
    let lab = routed(impls, 3, &["a", "b", "c"]);
    for (vm, to) in [
        ("a1", "10.2.0.1"),
        ("a1", "10.3.0.1"),
        ("b1", "10.3.0.1"),
        ("c1", "10.1.0.1"),
    ] {
        lab.reaches_with_ttl(vm, to, 63);
    }
    for (vm, to) in [("a1", "fd02::1"), ("b1", "fd03::1"), ("c1", "fd01::1")] {
        lab.reaches_with_ttl(vm, to, 63);
    }
    let packet = r#"inport == "a1" && eth.src == 0a:00:00:00:01:01 && eth.dst == 0a:00:00:00:ff:01 && ip4.src == 10.1.0.1 && ip4.dst == 10.3.0.1 && ip.ttl == 64 && icmp4.type == 8"#;
    let trace = lab.trace("--detailed", "a", packet);
    for datapath in ["a", "r", "c"] {
        assert!(
            trace.contains(&format!("ingress(dp=\"{datapath}\"")),
            "not through {datapath}:\n{trace}"
        );
    }
    let trace = lab.trace("--minimal", "a", packet);
    for expected in [
        "ip.ttl--",
        "eth.src = 0a:00:00:00:ff:03",
        "eth.dst = 0a:00:00:00:03:01",
        "output(\"c1\")",
    ] {
        assert!(trace.contains(expected), "no {expected}:\n{trace}");
    }
}

/// Keys of VXLAN have no room for the port a packet came from: what a switch does by that port must not be needed beyond
/// the tunnel.
pub fn three_subnets_over_vxlan(impls: Impls) {
    let lab = routed_over(impls, 3, &["a", "b", "c"], Tunnel::Vxlan);
    let capture = lab.capture("h3", "eth1", "udp port 4789");
    for (vm, to) in [
        ("a1", "10.2.0.1"),
        ("a1", "10.3.0.1"),
        ("b1", "fd03::1"),
        ("c1", "fd01::1"),
    ] {
        lab.reaches_with_ttl(vm, to, 63);
    }
    lab.reaches("a1", "10.3.0.254");
    let header = capture.wait_for("a routed request in VXLAN", |packet| {
        TunnelHeader::parse(packet).filter(|header| {
            header
                .inner
                .contains("10.1.0.1 > 10.3.0.1: ICMP echo request")
        })
    });
    // Routed where it came from: only the last switch is on the wire.
    let datapath = lab.sb_get("datapath_binding", "tunnel_key", "external_ids:name=c");
    assert_eq!((header.vni & 0xfff).to_string(), datapath);
    // Addresses nobody declared are asked for on every host that has the switch.
    lab.nb("lsp-add c u
            lsp-set-addresses u unknown");
    lab.vm(
        "h2",
        "u",
        "0a:00:00:00:03:77 10.3.0.77/24 fd03::77/64 via 10.3.0.254 fd03::254",
    );
    lab.ready();
    lab.reaches_with_ttl("a1", "10.3.0.77", 63);
    lab.reaches_with_ttl("a1", "fd03::77", 63);
    lab.reaches_with_ttl("c1", "10.3.0.77", 64);
}

/// What a Kubernetes network does: a switch for each node, all on one router, the node itself a port of its switch.
pub fn a_subnet_per_node(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add cluster");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add node{n}
             set logical_switch node{n} other_config:subnet=10.128.{n}.0/24 other_config:exclude_ips=10.128.{n}.2
             lrp-add cluster rtos-node{n} 0a:58:0a:80:0{n}:01 10.128.{n}.1/24 fd0{n}::1/64
             lsp-add node{n} stor-node{n}
             lsp-set-type stor-node{n} router
             lsp-set-addresses stor-node{n} router
             lsp-set-options stor-node{n} router-port=rtos-node{n}
             lsp-add node{n} mgmt{n}
             lsp-set-addresses mgmt{n} '0a:58:0a:80:0{n}:02 10.128.{n}.2 fd0{n}::2'
             lsp-add node{n} pod{n}
             lsp-set-addresses pod{n} '0a:58:0a:80:0{n}:05 10.128.{n}.5 fd0{n}::5'
             lsp-set-port-security pod{n} '0a:58:0a:80:0{n}:05 10.128.{n}.5 fd0{n}::5'"
        ));
        let host = format!("h{n}");
        for (name, last) in [("mgmt", 2), ("pod", 5)] {
            lab.vm(
                &host,
                &format!("{name}{n}"),
                &format!("0a:58:0a:80:0{n}:0{last} 10.128.{n}.{last}/24 fd0{n}::{last}/64 via 10.128.{n}.1 fd0{n}::1"),
            );
        }
    }
    lab.ready();
    lab.reaches_with_ttl("mgmt1", "10.128.1.5", 64);
    lab.reaches_with_ttl("pod1", "10.128.2.5", 63);
    lab.reaches_with_ttl("pod1", "10.128.2.2", 63);
    lab.reaches_with_ttl("mgmt2", "10.128.1.5", 63);
    lab.reaches_with_ttl("pod2", "fd01::5", 63);
    // A node joins and leaves while the others work.
    lab.nb("--wait=hv lsp-del stor-node2 -- lrp-del rtos-node2");
    lab.loses("pod1", "10.128.2.5");
    lab.reaches("mgmt2", "10.128.2.5");
    lab.nb(
        "lrp-add cluster rtos-node2 0a:58:0a:80:02:01 10.128.2.1/24 fd02::1/64
            lsp-add node2 stor-node2
            lsp-set-type stor-node2 router
            lsp-set-addresses stor-node2 router
            lsp-set-options stor-node2 router-port=rtos-node2",
    );
    lab.reaches_with_ttl("pod1", "10.128.2.5", 63);
}

pub fn the_router_answers_for_itself(impls: Impls) {
    let lab = routed(impls, 2, &["a", "b"]);
    for to in ["10.1.0.254", "10.2.0.254", "fd01::254", "fd02::254"] {
        lab.reaches("a1", to);
    }
    let expired = lab.ping("a1", "10.2.0.1", 1, "-t 1");
    assert!(
        expired.text.contains("From 10.1.0.254") && expired.text.contains("Time to live exceeded"),
        "{}",
        expired.text
    );
    let expired = lab.ping("a1", "fd02::1", 1, "-t 1");
    assert!(
        expired.text.contains("From fd01::254") && expired.text.contains("Hop limit"),
        "{}",
        expired.text
    );
    let capture = lab.capture("a1", "a1", "icmp or icmp6");
    lab.vm_run("a1", "bash -c 'echo x > /dev/udp/10.1.0.254/33434'")
        .ok();
    capture.wait_for("port unreachable", |packet| {
        packet
            .contains("10.1.0.254 > 10.1.0.1: ICMP 10.1.0.254 udp port 33434 unreachable")
            .then_some(())
    });
    lab.vm_run("a1", "bash -c 'echo x > /dev/udp/fd01::254/33434'")
        .ok();
    capture.wait_for("port unreachable over IPv6", |packet| {
        (packet.contains("fd01::254 > fd01::1") && packet.contains("unreachable port"))
            .then_some(())
    });
    // A destination nobody has a route for.
    let lost = lab.ping("a1", "10.77.0.1", 1, "");
    assert_eq!(lost.received, 0, "{}", lost.text);
}

pub fn routers_joined_by_a_link(impls: Impls) {
    let lab = Lab::new(impls, 2);
    for n in 1..=2 {
        let other = 3 - n;
        lab.nb(&format!(
            "lr-add r{n}
             ls-add s{n}
             lrp-add r{n} r{n}-s 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd0{n}::254/64
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r{n}-s
             lsp-set-addresses s{n}-r router
             lrp-add r{n} link{n} 0a:00:00:00:ee:0{n} 172.16.0.{n}/30 fd77::{n}/64 peer=link{other}
             lr-route-add r{n} 10.{other}.0.0/24 172.16.0.{other}
             lr-route-add r{n} fd0{other}::/64 fd77::{other}
             lsp-add s{n} p{n}
             lsp-set-addresses p{n} '0a:00:00:00:0{n}:01 10.{n}.0.1 fd0{n}::1'"
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("p{n}"),
            &format!("0a:00:00:00:0{n}:01 10.{n}.0.1/24 fd0{n}::1/64 via 10.{n}.0.254 fd0{n}::254"),
        );
    }
    lab.ready();
    lab.reaches_with_ttl("p1", "10.2.0.1", 62);
    lab.reaches_with_ttl("p2", "fd01::1", 62);
    lab.reaches("p1", "172.16.0.2");
    let expired = lab.ping("p1", "10.2.0.1", 1, "-t 2");
    assert!(
        expired.text.contains("From 172.16.0.2") && expired.text.contains("Time to live exceeded"),
        "{}",
        expired.text
    );
}

/// Next hops are VMs that only listen: which of them got the packet tells which route was taken.
pub fn static_routes(impls: Impls) {
    let lab = routed(impls, 2, &["a", "t"]);
    lab.nb("lsp-add t t2
            lsp-set-addresses t2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'
            lsp-add a a2
            lsp-set-addresses a2 '0a:00:00:00:01:02 10.1.0.2'
            lr-route-add r 172.16.0.0/16 10.2.0.1
            lr-route-add r 172.16.1.0/24 10.2.0.2
            lr-route-add r 172.16.2.2/32 10.2.0.1
            lr-route-add r 172.16.3.0/24 discard
            lr-route-add r fd99::/16 fd02::1
            lr-route-add r fd99:1::/32 fd02::2
            --policy=src-ip lr-route-add r 10.1.0.2/32 10.2.0.2");
    lab.vm(
        "h2",
        "t2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.vm("h1", "a2", "0a:00:00:00:01:02 10.1.0.2/24 via 10.1.0.254");
    lab.ready();
    lab.reaches("a1", "10.2.0.1");
    lab.reaches("a1", "10.2.0.2");
    let (first, second) = (
        lab.capture("t1", "t1", "icmp or icmp6"),
        lab.capture("t2", "t2", "icmp or icmp6"),
    );
    let seen = |to: &str| {
        let to = format!("> {to}:");
        [&first, &second].map(|capture| capture.packets().iter().any(|packet| packet.contains(&to)))
    };
    for (vm, to, taken) in [
        ("a1", "172.16.2.1", [true, false]),
        ("a1", "172.16.1.1", [false, true]),
        ("a1", "fd99:2::1", [true, false]),
        ("a1", "fd99:1::1", [false, true]),
        ("a2", "8.8.8.8", [false, true]),
        // The longer prefix wins, the destination's among equals.
        ("a2", "172.16.3.2", [false, true]),
        ("a2", "172.16.2.2", [true, false]),
        ("a1", "172.16.3.1", [false, false]),
        ("a1", "8.8.4.4", [false, false]),
    ] {
        lab.ping(vm, to, 2, "");
        if taken == [false, false] {
            assert_eq!(seen(to), taken, "{vm} -> {to}");
        } else {
            wait_for(CONVERGE, &format!("{vm} -> {to} at {taken:?}"), || {
                ensure(seen(to) == taken, format!("{:?}", seen(to)))
            });
        }
    }
    lab.nb("--wait=hv lr-route-del r 172.16.1.0/24");
    lab.ping("a1", "172.16.1.9", 2, "");
    wait_for(CONVERGE, "the shorter prefix taken over", || {
        ensure(
            seen("172.16.1.9") == [true, false],
            format!("{:?}", seen("172.16.1.9")),
        )
    });
}

/// Hosts `a1` and `u` of two switches on router `r`; nobody has declared the addresses of `u`.
pub fn with_unknown(impls: Impls) -> Lab {
    let lab = routed(impls, 2, &["a", "b"]);
    lab.nb("lsp-add b u
            lsp-set-addresses u unknown");
    lab.vm(
        "h2",
        "u",
        "0a:00:00:00:02:77 10.2.0.77/24 fd02::77/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
    lab
}

/// The router asks for an address no port declares, and remembers the answer.
pub fn neighbors_are_learned(impls: Impls) {
    let lab = with_unknown(impls);
    lab.reaches_with_ttl("a1", "10.2.0.77", 63);
    lab.reaches_with_ttl("a1", "fd02::77", 63);
    for ip in ["10.2.0.77", "fd02::77"] {
        wait_for(CONVERGE, &format!("{ip} in MAC_Binding"), || {
            let seen = lab.sb_get(
                "mac_binding",
                "mac",
                &format!("logical_port=r-b 'ip=\"{ip}\"'"),
            );
            ensure(seen == "0a:00:00:00:02:77", seen)
        });
    }
}
