//! Policy at the edges: connections that outlive the match of their ACL, refusals at the port to a router.

use weft_integration::lab::CONVERGE;
use weft_integration::socket::Talk;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::acl::{nb, settles, three, two_subnets};

/// With `persist-established` a connection goes on whatever becomes of the match or of other ACLs, and over a restart of
/// northd, until the ACL goes.
pub fn connections_persist(impls: Impls) {
    let lab = three(impls);
    let _servers = [lab.tcp_echo("p2", 80), lab.tcp_echo("p2", 81)];
    nb(
        &lab,
        "acl-add s to-lport 100 ip drop
         --name=keep acl-add s to-lport 200 'tcp.dst == 80' allow-related
         set acl keep options:persist-established=true
         --name=other acl-add s to-lport 200 'tcp.dst == 81' allow-related",
    );
    let mut kept: Vec<_> = ["10.0.0.2:80", "[fd00::2]:80"]
        .into_iter()
        .map(|to| {
            settles("allowed", Talk::Answered, || lab.tcp("p1", to));
            lab.tcp_connect("p1", to).unwrap()
        })
        .collect();
    let mut cut = lab.tcp_connect("p1", "10.0.0.2:81").unwrap();
    assert_eq!(cut.exchange(20_000), Talk::Answered);
    nb(
        &lab,
        "set acl keep 'match=\"tcp.dst == 9999\"'
         set acl other 'match=\"tcp.dst == 9998\"'
         acl-add s to-lport 300 'tcp.dst == 80' drop",
    );
    wait_for(CONVERGE, "an end of the other connection", || {
        let seen = cut.exchange(1);
        ensure(seen == Talk::Silence, format!("{seen:?}"))
    });
    settles("a new one", Talk::Silence, || lab.tcp("p1", "10.0.0.2:80"));
    for connection in &mut kept {
        assert_eq!(connection.exchange(20_000), Talk::Answered);
    }
    lab.stop("h1", "northd", rustix::process::Signal::KILL);
    lab.start_northd();
    nb(&lab, "acl-add s to-lport 301 'tcp.dst == 80' drop");
    for connection in &mut kept {
        assert_eq!(connection.exchange(20_000), Talk::Answered);
    }
    nb(&lab, "acl-del s to-lport 200 'tcp.dst == 9999'");
    for connection in &mut kept {
        wait_for(CONVERGE, "an end with the ACL", || {
            let seen = connection.exchange(1);
            ensure(seen == Talk::Silence, format!("{seen:?}"))
        });
    }
}

/// What comes from a router, or goes to one, can be refused at the switch's port to it; the sender hears of it.
pub fn refused_at_the_port_to_a_router(impls: Impls) {
    let lab = two_subnets(impls, |_| String::new());
    lab.ready();
    lab.reaches_with_ttl("p1", "10.0.2.1", 63);
    lab.reaches_with_ttl("p1", "fd00:2::1", 63);
    let _servers = [lab.tcp_echo("p2", 80), lab.tcp_echo("p2", 81)];
    // Without tracking, then with.
    for tracked in [false, true] {
        for (direction, port) in [
            // Of the first switch, on the way to the router; of the second, on the way from it.
            ("to-lport", "s1: outport == \"s1-r\""),
            ("from-lport", "s2: inport == \"s2-r\""),
        ] {
            let (switch, port) = port.split_once(": ").unwrap();
            nb(
                &lab,
                &format!(
                    "acl-add {switch} {direction} 200 '{port} && (tcp.dst == 80 || udp)' reject"
                ),
            );
            if tracked {
                nb(
                    &lab,
                    &format!("acl-add {switch} {direction} 100 '{port} && ip' allow-related"),
                );
            }
            for to in ["10.0.2.1", "[fd00:2::1]"] {
                let what = format!("{direction} {to} tracked={tracked}");
                settles(&what, Talk::Refused, || lab.tcp("p1", &format!("{to}:80")));
                settles(&what, Talk::Refused, || lab.udp("p1", &format!("{to}:53")));
                settles(&what, Talk::Answered, || lab.tcp("p1", &format!("{to}:81")));
            }
            nb(&lab, &format!("acl-del {switch}"));
        }
    }
    // Both sides refuse whatever comes from the router: the refusal of the one is not refused by the other.
    nb(
        &lab,
        "acl-add s2 from-lport 200 'inport == \"s2-r\" && tcp' reject
         acl-add s1 from-lport 200 'inport == \"s1-r\" && (tcp || icmp4.type == 3 || icmp6.type == 1)' reject",
    );
    let capture = lab.capture("p2", "p2", "tcp or icmp or icmp6");
    for to in ["10.0.2.1", "[fd00:2::1]"] {
        settles("refusals refused", Talk::Silence, || {
            lab.tcp("p1", &format!("{to}:80"))
        });
    }
    lab.reaches("p1", "10.0.2.1");
    capture.wait_for("the last packet", |packet| {
        packet
            .contains("10.0.1.1 > 10.0.2.1: ICMP echo")
            .then_some(())
    });
    let seen = capture.packets();
    let resets: Vec<_> = seen.iter().filter(|p| p.contains("Flags [R")).collect();
    assert!(resets.is_empty(), "{resets:?}");
}

/// `VRRPv3` in port security: Ethernet addresses of virtual routers with the addresses that the entry lists, no others.
pub fn a_virtual_router_behind_a_port(impls: Impls) {
    let lab = Lab::new(impls, 1);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1' '00:00:5e:00:01:07' '00:00:5e:00:02:07'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64");
    lab.vm("h1", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    let entry = "0a:00:00:00:00:01 10.0.0.1 10.0.0.50 fd00::1 fd00::50";
    lab.nb(&format!("lsp-set-port-security p1 '{entry}'"));
    lab.ready();
    let own = |mac: &str, ip: &str| {
        // Of neighbours nothing is remembered: what is said about them must pass too.
        for line in [
            format!("ip link set p1 address {mac}"),
            format!("ip addr replace {ip} dev p1 nodad"),
            "ip neigh flush all".into(),
        ] {
            lab.vm_run("p1", &line).ok();
        }
        lab.vm_run("p2", "ip neigh flush all").ok();
    };
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    let virtual_router = [
        ("00:00:5e:00:01:07", "10.0.0.50/24", "10.0.0.2"),
        ("00:00:5e:00:02:07", "fd00::50/64", "fd00::2"),
    ];
    for (mac, ip, to) in virtual_router {
        own(mac, ip);
        lab.never_reaches("p1", to);
    }
    lab.nb(&format!(
        "--wait=hv lsp-set-port-security p1 'VRRPv3 {entry}'"
    ));
    for (mac, ip, to) in virtual_router {
        own(mac, ip);
        let address = ip.split('/').next().unwrap();
        wait_for(CONVERGE, "an answer", || {
            let ping = lab.ping("p1", to, 1, &format!("-I {address}"));
            ensure(ping.received == 1, ping.text)
        });
    }
    // An address that is not listed, and the Ethernet address of the other version.
    own("00:00:5e:00:01:07", "10.0.0.60/24");
    assert_eq!(lab.ping("p1", "10.0.0.2", 3, "-I 10.0.0.60").received, 0);
    own("00:00:5e:00:02:07", "10.0.0.50/24");
    assert_eq!(lab.ping("p1", "10.0.0.2", 3, "-I 10.0.0.50").received, 0);
    own("0a:00:00:00:00:01", "10.0.0.50/24");
    assert_eq!(lab.ping("p1", "10.0.0.2", 3, "-I 10.0.0.1").received, 3);
}

/// A set of two thousand addresses in a conjunctive match: one that comes or goes is one flow, and packets see it.
pub fn one_address_of_thousands(impls: Impls) {
    let lab = three(impls);
    let _servers = [lab.tcp_echo("p2", 80), lab.tcp_echo("p2", 81)];
    let others = (0..2000).map(|n| format!("\"172.16.{}.{}\"", n >> 8, n & 255));
    let others = others.collect::<Vec<_>>().join(",");
    lab.nb(&format!("create address_set name=big addresses='{others}'"));
    nb(
        &lab,
        "acl-add s to-lport 200 'outport == \"p2\" && ip4.src == $big && tcp.dst == {80, 443}' drop
         acl-add s to-lport 100 'outport == \"p2\" && ip4.src == $big && udp' drop",
    );
    let flows = || -> std::collections::BTreeSet<String> {
        let flow = |line: &str| line.split("priority=").nth(1).map(str::to_owned);
        let all = lab.flows("h2", "table=46");
        all.lines().filter_map(flow).collect()
    };
    settles("not in the set", Talk::Answered, || {
        lab.tcp("p1", "10.0.0.2:80")
    });
    let before = flows();
    assert!(before.len() > 4000, "{} flows", before.len());
    nb(&lab, "add address_set big addresses 10.0.0.1");
    settles("in the set", Talk::Silence, || lab.tcp("p1", "10.0.0.2:80"));
    settles("another port", Talk::Answered, || {
        lab.tcp("p1", "10.0.0.2:81")
    });
    let after = flows();
    let came: Vec<&String> = after.difference(&before).collect();
    assert!(
        came.len() == 2 && came.iter().all(|flow| flow.contains("nw_src=10.0.0.1")),
        "{came:?}"
    );
    assert!(before.is_subset(&after));
    nb(&lab, "remove address_set big addresses 10.0.0.1");
    settles("out of it again", Talk::Answered, || {
        lab.tcp("p1", "10.0.0.2:80")
    });
    assert_eq!(flows(), before);
}
