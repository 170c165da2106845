//! Logical switches: ports, tunnels, learning, security.

use weft_integration::capture::TunnelHeader;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, Tunnel, wait_for};

/// `p1` on the first host, `p2` on the last, both on switch `s`.
fn pair(impls: Impls, hosts: usize, tunnel: Tunnel) -> Lab {
    let lab = Lab::with_tunnel(impls, hosts, tunnel);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64");
    lab.vm(
        &format!("h{hosts}"),
        "p2",
        "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64",
    );
    lab.ready();
    lab
}

pub fn two_ports_on_one_host(impls: Impls) {
    let lab = pair(impls, 1, Tunnel::Geneve);
    lab.reaches_with_ttl("p1", "10.0.0.2", 64);
    lab.reaches_with_ttl("p2", "fd00::1", 64);
    let trace = lab.trace(
        "--minimal",
        "s",
        r#"inport == "p1" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:00:02"#,
    );
    assert!(trace.contains(r#"output("p2")"#), "{trace}");
}

pub fn geneve_carries_the_keys(impls: Impls) {
    let lab = pair(impls, 2, Tunnel::Geneve);
    let capture = lab.capture("h2", "eth1", "udp port 6081");
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p2", "fd00::1");
    let header = capture.wait_for("an echo request in Geneve", |packet| {
        TunnelHeader::parse(packet)
            .filter(|h| h.inner.contains("10.0.0.1 > 10.0.0.2: ICMP echo request"))
    });
    let key = |table: &str, condition: &str| -> u32 {
        lab.sb_get(table, "tunnel_key", condition).parse().unwrap()
    };
    assert_eq!(header.vni, key("datapath_binding", "external_ids:name=s"));
    let ports =
        key("port_binding", "logical_port=p1") << 16 | key("port_binding", "logical_port=p2");
    assert_eq!(header.option, Some(ports));
}

/// 12 bits of datapath key below 12 bits of egress port key.
pub fn vxlan_carries_the_keys(impls: Impls) {
    let lab = pair(impls, 2, Tunnel::Vxlan);
    let capture = lab.capture("h2", "eth1", "udp port 4789");
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p2", "fd00::1");
    let header = capture.wait_for("an echo request in VXLAN", |packet| {
        TunnelHeader::parse(packet)
            .filter(|h| h.inner.contains("10.0.0.1 > 10.0.0.2: ICMP echo request"))
    });
    let key = |table: &str, condition: &str| -> u32 {
        lab.sb_get(table, "tunnel_key", condition).parse().unwrap()
    };
    let datapath = key("datapath_binding", "external_ids:name=s");
    let port = key("port_binding", "logical_port=p2");
    assert!(
        datapath < 1 << 12 && port < 1 << 11,
        "keys {datapath}, {port} do not fit VXLAN"
    );
    assert_eq!(header.vni, datapath | port << 12);
}

pub fn same_addresses_on_two_switches_never_meet(impls: Impls) {
    let lab = Lab::new(impls, 2);
    for color in ["red", "blue"] {
        lab.nb(&format!(
            "ls-add {color}
             lsp-add {color} {color}1
             lsp-set-addresses {color}1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
             lsp-add {color} {color}2
             lsp-set-addresses {color}2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'"
        ));
        for n in 1..=2 {
            let config = format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64");
            lab.vm(&format!("h{n}"), &format!("{color}{n}"), &config);
        }
    }
    lab.nb("lsp-add red red3
            lsp-set-addresses red3 '0a:00:00:00:00:03 10.0.0.3 fd00::3'");
    lab.vm("h2", "red3", "0a:00:00:00:00:03 10.0.0.3/24 fd00::3/64");
    lab.ready();
    let (red, blue) = (
        lab.capture("red2", "red2", "icmp"),
        lab.capture("blue2", "blue2", "icmp or arp or icmp6[0] == 128"),
    );
    lab.reaches("red1", "10.0.0.2");
    lab.reaches("red1", "10.0.0.3");
    lab.reaches("red1", "fd00::2");
    red.wait_for("red's own packets", |packet| {
        packet.contains("echo request").then_some(())
    });
    assert!(
        blue.packets().is_empty(),
        "red's packets in blue: {:?}",
        blue.packets()
    );
    lab.never_reaches("blue1", "10.0.0.3");
    lab.never_reaches("blue1", "fd00::3");
    lab.reaches("blue1", "10.0.0.2");
    lab.reaches("blue1", "fd00::2");
}

pub fn a_port_moves_between_hosts(impls: Impls) {
    let lab = pair(impls, 3, Tunnel::Geneve);
    lab.reaches("p1", "10.0.0.2");
    lab.unplug("p2");
    lab.loses("p1", "10.0.0.2");
    lab.loses("p1", "fd00::2");
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p2", "fd00::1");
    let chassis = lab.sb_get("chassis", "_uuid", "name=h2");
    assert_eq!(
        lab.sb_get("port_binding", "chassis", "logical_port=p2"),
        chassis
    );
}

pub fn a_host_dies_and_returns(impls: Impls) {
    let lab = pair(impls, 3, Tunnel::Geneve);
    lab.nb("lsp-add s p3
            lsp-set-addresses p3 '0a:00:00:00:00:03 10.0.0.3'");
    lab.vm("h2", "p3", "0a:00:00:00:00:03 10.0.0.3/24");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "10.0.0.3");
    lab.host_dies("h3");
    lab.loses("p1", "10.0.0.2");
    lab.reaches("p1", "10.0.0.3");
    // The network goes on changing without it.
    lab.nb("lsp-add s p4
            lsp-set-addresses p4 '0a:00:00:00:00:04 10.0.0.4'");
    lab.vm("h1", "p4", "0a:00:00:00:00:04 10.0.0.4/24");
    lab.ready_without(&["h3"]);
    lab.reaches("p4", "10.0.0.3");
    lab.host_returns("h3");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    lab.reaches("p2", "10.0.0.4");
}

/// Machines behind ports with `unknown` among their addresses: found by flooding, then in FDB and reached directly.
pub fn unknown_addresses_are_learned(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
            lsp-add s u1
            lsp-set-addresses u1 unknown
            lsp-add s u2
            lsp-set-addresses u2 unknown");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64");
    lab.inner_bridge("h2", "br-in", "u1");
    let inner = |name: &str, config: &str| lab.machine("h2", "br-in", name, 0, config);
    inner("m1", "0a:00:00:00:01:01 10.0.0.11/24 fd00::11/64");
    inner("m2", "0a:00:00:00:01:02 10.0.0.12/24 fd00::12/64");
    lab.vm("h1", "u2", "0a:00:00:00:02:01 10.0.0.21/24 fd00::21/64");
    lab.ready();
    for to in ["10.0.0.11", "fd00::12", "10.0.0.21", "fd00::21"] {
        lab.reaches("p1", to);
    }
    lab.reaches("u2", "10.0.0.11");
    let key = lab.sb_get("port_binding", "tunnel_key", "logical_port=u1");
    for mac in ["0a:00:00:00:01:01", "0a:00:00:00:01:02"] {
        wait_for(CONVERGE, &format!("{mac} learned at u1"), || {
            let seen = lab.sb_get("fdb", "port_key", &format!("'mac=\"{mac}\"'"));
            ensure(seen == key, format!("port key {seen:?}, expected {key}"))
        });
    }
    let elsewhere = lab.capture("u2", "u2", "(icmp and host 10.0.0.11) or icmp6[0] == 128");
    lab.reaches("p1", "10.0.0.11");
    lab.reaches("p1", "fd00::11");
    let after = elsewhere.packets();
    assert!(
        after.is_empty(),
        "packets to a learned address still reach the other port: {after:?}"
    );
}

pub fn containers_behind_a_parent(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            ls-add t
            lsp-add s guest
            lsp-set-addresses guest '0a:00:00:00:00:01 10.0.0.1'
            lsp-add s c1 guest 42
            lsp-set-addresses c1 '0a:00:00:00:00:11 10.0.0.11 fd00::11'
            lsp-add s c2 guest 43
            lsp-set-addresses c2 '0a:00:00:00:00:12 10.0.0.12'
            lsp-add t c3 guest 44
            lsp-set-addresses c3 '0a:00:00:00:00:13 10.0.0.13'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'");
    lab.inner_bridge("h1", "br-in", "guest");
    // Access ports: the inner bridge tags what containers send, as a guest does.
    let both = "0a:00:00:00:00:11 10.0.0.11/24 fd00::11/64";
    lab.machine("h1", "br-in", "mc1", 42, both);
    lab.machine("h1", "br-in", "mc2", 43, "0a:00:00:00:00:12 10.0.0.12/24");
    lab.machine("h1", "br-in", "mc3", 44, "0a:00:00:00:00:13 10.0.0.13/24");
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    lab.reaches("mc1", "10.0.0.2");
    lab.reaches("mc1", "fd00::2");
    lab.reaches("p2", "fd00::11");
    lab.reaches("p2", "10.0.0.12");
    lab.reaches("mc1", "10.0.0.12");
    lab.never_reaches("mc3", "10.0.0.2");

    // The second host knows the new port, since its network is there, but not what is inside of it: who waits for that host is
    // not told before.
    lab.nb("lsp-add s late");
    lab.nb("lsp-add t c4 late 45");
    lab.nb("--wait=hv sync");
    lab.inner_bridge("h2", "br-in", "late");
    wait_for(CONVERGE, "the parent's interface", || {
        let ids = lab.vs("h2", "get interface late external-ids");
        ensure(ids.contains("ovn-installed=\"true\""), ids)
    });
    lab.nb("--wait=hv sync");
    let flows = lab.flows("h2", "table=0");
    assert!(flows.contains("dl_vlan=45"), "{flows}");
}

pub fn port_security_drops_what_is_forged(impls: Impls) {
    let lab = pair(impls, 1, Tunnel::Geneve);
    lab.nb("--wait=hv lsp-set-port-security p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'");
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    let capture = lab.capture("p2", "p2", "icmp or arp or icmp6");
    let from = |address: &str| {
        capture
            .packets()
            .iter()
            .filter(|p| p.contains(address))
            .count()
    };
    // Another IP address, then another Ethernet address: neither leaves the port, nor does the ARP about it.
    lab.vm_run("p1", "ip addr add 10.0.0.99/24 dev p1").ok();
    lab.vm_run(
        "p1",
        "ip neigh replace 10.0.0.2 lladdr 0a:00:00:00:00:02 dev p1",
    )
    .ok();
    assert_eq!(lab.ping("p1", "10.0.0.2", 3, "-I 10.0.0.99").received, 0);
    assert_eq!(from("10.0.0.99"), 0, "{:?}", capture.packets());
    lab.vm_run("p1", "ip link set p1 address 0a:00:00:00:00:77")
        .ok();
    lab.vm_run(
        "p1",
        "ip neigh replace 10.0.0.2 lladdr 0a:00:00:00:00:02 dev p1",
    )
    .ok();
    assert_eq!(lab.ping("p1", "10.0.0.2", 3, "").received, 0);
    assert_eq!(from("0a:00:00:00:00:77"), 0, "{:?}", capture.packets());
    // What made the difference is port security.
    lab.nb("--wait=hv lsp-set-port-security p1");
    lab.vm_run(
        "p1",
        "ip neigh replace 10.0.0.2 lladdr 0a:00:00:00:00:02 dev p1",
    )
    .ok();
    lab.ping("p1", "10.0.0.2", 3, "-I 10.0.0.99");
    capture.wait_for("the forged packets, now allowed", |packet| {
        (packet.contains("10.0.0.99") && packet.contains("0a:00:00:00:00:77")).then_some(())
    });
}

pub fn a_localport_stays_on_its_host(impls: Impls) {
    let lab = pair(impls, 2, Tunnel::Geneve);
    lab.nb("lsp-add s meta
            lsp-set-type meta localport
            lsp-set-addresses meta '0a:00:00:00:00:99 10.0.0.99 fd00::99'");
    let config = "0a:00:00:00:00:99 10.0.0.99/24 fd00::99/64";
    lab.vm_of_port("h1", "meta1", "meta", config);
    lab.vm_of_port("h2", "meta2", "meta", config);
    lab.ready();
    let (first, second) = (
        lab.capture("meta1", "meta1", "icmp"),
        lab.capture("meta2", "meta2", "icmp"),
    );
    lab.reaches("p1", "10.0.0.99");
    lab.reaches("p2", "10.0.0.99");
    lab.reaches("p1", "fd00::99");
    lab.reaches("p2", "fd00::99");
    first.wait_for("the first host's request", |packet| {
        packet.contains("10.0.0.1 > 10.0.0.99").then_some(())
    });
    second.wait_for("the second host's request", |packet| {
        packet.contains("10.0.0.2 > 10.0.0.99").then_some(())
    });
    let crossed = |packets: Vec<String>, from: &str| {
        packets
            .iter()
            .any(|p| p.contains(&format!("{from} > 10.0.0.99")))
    };
    assert!(!crossed(first.packets(), "10.0.0.2") && !crossed(second.packets(), "10.0.0.1"));
}

pub fn a_disabled_port_is_silent(impls: Impls) {
    let lab = pair(impls, 2, Tunnel::Geneve);
    lab.reaches("p1", "10.0.0.2");
    lab.nb("--wait=hv lsp-set-enabled p2 disabled");
    lab.loses("p1", "10.0.0.2");
    lab.never_reaches("p1", "fd00::2");
    lab.never_reaches("p2", "10.0.0.1");
    lab.nb("--wait=hv lsp-set-enabled p2 enabled");
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
}

pub fn addresses_are_given_out(impls: Impls) {
    let lab = Lab::new(impls, 1);
    lab.nb("set NB_Global . options:mac_prefix=0a:11:22
            ls-add s
            set logical_switch s other_config:subnet=10.0.0.0/24 other_config:exclude_ips=10.0.0.2..10.0.0.9
            set logical_switch s other_config:ipv6_prefix=fd00::
            lsp-add s p1
            lsp-set-addresses p1 dynamic
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 dynamic'
            lsp-add s p3
            lsp-set-addresses p3 'dynamic 10.0.0.50'");
    let mut all = Vec::new();
    for port in ["p1", "p2", "p3"] {
        let given = wait_for(CONVERGE, &format!("addresses of {port}"), || {
            let seen = lab.nb(&format!(
                "--if-exists get logical_switch_port {port} dynamic_addresses"
            ));
            let seen = seen.trim_matches('"').to_string();
            ensure(seen.split(' ').count() == 3, format!("{seen:?}")).map(|()| seen)
        });
        let fields: Vec<String> = given.split(' ').map(Into::into).collect();
        lab.vm(
            "h1",
            port,
            &format!("{} {}/24 {}/64", fields[0], fields[1], fields[2]),
        );
        all.push(fields);
    }
    lab.ready();
    assert!(all[0][0].starts_with("0a:11:22:"), "{all:?}");
    assert_eq!(all[1][0], "0a:00:00:00:00:02");
    assert_eq!(all[2][1], "10.0.0.50");
    for fields in &all {
        let last: u8 = fields[1].strip_prefix("10.0.0.").unwrap().parse().unwrap();
        assert!(last >= 10, "excluded or the gateway's: {all:?}");
        assert!(fields[2].starts_with("fd00::"), "{all:?}");
    }
    lab.reaches("p1", &all[1][1]);
    lab.reaches("p1", &all[2][2]);
}
