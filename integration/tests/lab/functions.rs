//! Network functions: machines that traffic is sent through, or that get a copy of it.

use weft_integration::command::sh;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::health::pair;
use crate::lb::{ask, serve, until};

/// A machine between two ports that lets everything through, and so is a network function: a bridge in the namespace of the
/// first. It learns nothing, for of two machines either may be on either side of it.
fn function(lab: &Lab, host: &str, n: usize) {
    let [inport, outport] = ["in", "out"].map(|way| format!("{way}{n}"));
    for port in [&inport, &outport] {
        lab.nb(&format!(
            "lsp-add s {port}
             lsp-set-options {port} receive_multicast=false lsp_learn_fdb=false is-nf=true"
        ));
        lab.veth_vm(host, port, "0a:00:00:00:0f:01");
        lab.vm_run(port, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
            .ok();
    }
    let (from, to) = (lab.netns(&outport), lab.netns(&inport));
    let line = |line: &str| sh(line).ok();
    line(&format!("ip -n {from} link set {outport} netns {to}"));
    line(&format!(
        "ip -n {to} link add br0 type bridge mcast_snooping 0 ageing_time 0"
    ));
    for device in [&inport, &outport] {
        line(&format!("ip -n {to} link set {device} master br0 up"));
    }
    line(&format!("ip -n {to} link set br0 addrgenmode none up"));
    lab.nb(&format!(
        "nf-add nf{n} {n} {inport} {outport}
         --id=@c create network_function_health_check name=check{n} options:interval=1 options:timeout=1 -- \
         set network_function nf{n} health_check=@c"
    ));
}

/// What is allowed goes through a machine, both ways; through another one when that is down; and nowhere without any.
pub fn traffic_goes_through_network_functions(impls: Impls) {
    let lab = pair(impls);
    let _server = serve(&lab, "p2", "tcp", "10.0.0.2:8080");
    lab.nb("set nb_global . options:svc_monitor_ip=192.0.2.1 options:svc_monitor_ip_dst=192.0.2.2");
    function(&lab, "h1", 1);
    function(&lab, "h2", 2);
    lab.nb("nfg-add group 7 inline nf1
         nfg-add-nf group nf2
         acl-add s from-lport 10 'inport == \"p1\" && tcp' allow-related group");
    lab.ready();
    let seen = |n: usize, filter: &str| lab.capture(&format!("in{n}"), &format!("in{n}"), filter);
    // Either may have been taken for down while it was set up; from here on the one in use stays.
    wait_for(CONVERGE, "both functions", || {
        let status = lab.sb("--bare --columns=status list service_monitor");
        let all: Vec<&str> = status.split_whitespace().collect();
        ensure(all == ["online"; 2], status.clone())
    });
    lab.ready();
    let first = lab.nb("--bare --columns=network_function_active list network_function_group");
    let first: usize = match lab
        .nb(&format!("get network_function {} name", first.trim()))
        .trim()
    {
        "nf1" => 1,
        _ => 2,
    };
    for n in [first, 3 - first] {
        uses(&lab, &format!("nf{n}"));
        let wire = seen(n, "tcp port 8080");
        wait_for(CONVERGE, "a connection through the function", || {
            let answer = ask(&lab, "p1", "tcp", "10.0.0.2:8080", 1).concat();
            let packets = wire.packets();
            let heard = |way| packets.iter().any(|packet| packet.contains(way));
            let both = heard("> 10.0.0.2.8080") && heard("10.0.0.2.8080 > 10.0.0.1.");
            ensure(
                answer == "p2 10.0.0.1" && both,
                format!("{answer}\n{packets:?}"),
            )
        });
        // Other traffic goes its own way.
        lab.reaches("p1", "10.0.0.2");
        lab.vm_run(&format!("in{n}"), &format!("ip link set in{n} nomaster"))
            .ok();
    }
    uses(&lab, "");
    let silent = ask(&lab, "p1", "tcp", "10.0.0.2:8080", 1).concat();
    assert_eq!(silent, "silence");
    lab.nb("set network_function_group group fallback=fail-open");
    lab.ready();
    until(&lab, "p1", "tcp", "10.0.0.2:8080", |answer| {
        answer.starts_with("p2")
    });
}

/// The function that a group uses, by its name; none if empty.
fn uses(lab: &Lab, wanted: &str) {
    wait_for(CONVERGE, &format!("{wanted} to be in use"), || {
        let group = lab.nb("--bare --columns=network_function_active list network_function_group");
        let name = match group.trim() {
            "" => String::new(),
            uuid => lab.nb(&format!("get network_function {uuid} name")),
        };
        ensure(name.trim() == wanted, name)
    });
    lab.ready();
}

/// A machine gets copies of what is allowed, in both directions, while everything goes its own way; it is on another host
/// than one of those who talk. Without it they talk all the same.
pub fn functions_get_copies(impls: Impls) {
    let lab = pair(impls);
    let _servers = [
        serve(&lab, "p2", "tcp", "10.0.0.2:8080"),
        serve(&lab, "p1", "udp", "[fd00::1]:8081"),
    ];
    for (n, host) in [(1, "h1"), (2, "h2")] {
        lab.nb(&format!(
            "lsp-add s tap{n}
             lsp-set-options tap{n} receive_multicast=false lsp_learn_fdb=false is-nf=true
             nf-add nf{n} {n} tap{n}"
        ));
        lab.veth_vm(host, &format!("tap{n}"), "0a:00:00:00:0f:01");
    }
    lab.nb("nfg-add copies 9 vtap nf1 nf2
            acl-add s from-lport 10 'inport == \"p1\" && tcp' allow-related copies
            acl-add s to-lport 10 'outport == \"p1\" && udp' allow-related copies");
    lab.ready();
    // Either may have been the first to be ready.
    let first = lab.nb("--bare --columns=network_function_active list network_function_group");
    let first = lab.nb(&format!("get network_function {} name", first.trim()));
    let first = if first.trim() == "nf1" { 1 } else { 2 };
    for n in [first, 3 - first] {
        uses(&lab, &format!("nf{n}"));
        let wire = lab.capture(
            &format!("tap{n}"),
            &format!("tap{n}"),
            "port 8080 or port 8081",
        );
        let talks = |from: &str, proto: &str, at: &str, host: &str, ways: [&str; 2]| {
            wait_for(CONVERGE, &format!("copies of {proto}"), || {
                let answer = ask(&lab, from, proto, at, 1).concat();
                assert!(answer.starts_with(host), "the packets themselves: {answer}");
                let packets = wire.packets();
                let heard = |way: &str| packets.iter().any(|packet| packet.contains(way));
                ensure(ways.into_iter().all(heard), format!("{packets:?}"))
            });
        };
        let ways = ["> 10.0.0.2.8080", "10.0.0.2.8080 > 10.0.0.1."];
        talks("p1", "tcp", "10.0.0.2:8080", "p2", ways);
        let ways = ["> fd00::1.8081", "fd00::1.8081 > fd00::2."];
        talks("p2", "udp", "[fd00::1]:8081", "p1", ways);
        lab.unplug(&format!("tap{n}"));
    }
    uses(&lab, "");
    for (from, proto, at, host) in [
        ("p1", "tcp", "10.0.0.2:8080", "p2"),
        ("p2", "udp", "[fd00::1]:8081", "p1"),
    ] {
        let answer = ask(&lab, from, proto, at, 1).concat();
        assert!(
            answer.starts_with(host),
            "{proto} without a function: {answer}"
        );
    }
}

/// On a VLAN packets take tunnels to a function on another host and back from it: the physical network sees them only where
/// their senders are.
pub fn functions_on_a_physical_network(impls: Impls) {
    let lab = Lab::new(impls, 3);
    lab.nb(
        "set nb_global . options:svc_monitor_ip=192.0.2.1 options:svc_monitor_ip_dst=192.0.2.2
            ls-add s
            lsp-add s ln
            lsp-set-addresses ln unknown
            lsp-set-type ln localnet
            lsp-set-options ln network_name=physnet
            set logical_switch_port ln tag=100",
    );
    lab.outside(&["h1", "h2", "h3"], "physnet", "wire", "0a:00:00:00:00:08");
    let out = "0a:00:00:00:00:09 10.0.0.9/24";
    lab.machine("h2", "br-ext", "out", 100, out);
    for (n, host) in [(1, "h1"), (2, "h2")] {
        let mac = format!("0a:00:00:00:00:0{n}");
        lab.nb(&format!(
            "lsp-add s p{n}\n lsp-set-addresses p{n} '{mac} 10.0.0.{n}'"
        ));
        lab.vm(host, &format!("p{n}"), &format!("{mac} 10.0.0.{n}/24"));
    }
    function(&lab, "h3", 1);
    lab.nb("nfg-add group 7 inline nf1
         acl-add s from-lport 10 'inport == \"p1\" && tcp' allow-related group
         acl-add s to-lport 10 'outport == \"p2\" && tcp.dst == 8082' allow-related group");
    lab.ready();
    uses(&lab, "nf1");
    let _servers = [
        serve(&lab, "p2", "tcp", "10.0.0.2:8080"),
        serve(&lab, "out", "tcp", "10.0.0.9:8081"),
        serve(&lab, "p2", "tcp", "10.0.0.2:8082"),
    ];
    let wire = lab.capture("in1", "in1", "tcp");
    for (from, own, to, port, host) in [
        ("p1", "10.0.0.1", "10.0.0.2", 8080, "p2"),
        ("p1", "10.0.0.1", "10.0.0.9", 8081, "out"),
        ("out", "10.0.0.9", "10.0.0.2", 8082, "p2"),
    ] {
        wait_for(CONVERGE, &format!("{from} to {to} by the function"), || {
            let answer = ask(&lab, from, "tcp", &format!("{to}:{port}"), 1).concat();
            let packets = wire.packets();
            let heard = |way: &str| packets.iter().any(|packet| packet.contains(way));
            let there = heard(&format!("> {to}.{port}"));
            let back = heard(&format!("{to}.{port} > {own}."));
            ensure(
                answer == format!("{host} {own}") && there && back,
                format!("{answer}\n{packets:?}"),
            )
        });
    }
    // The network has learned where the machines are, and nothing else.
    let under = lab.netns("net");
    let learned = sh(&format!("bridge -n {under} fdb show br ext0")).ok();
    for (mac, port) in [("01", "xh1"), ("02", "xh2"), ("09", "xh2")] {
        let at: Vec<&str> = learned
            .lines()
            .filter(|line| line.starts_with(&format!("0a:00:00:00:00:{mac} ")))
            .collect();
        assert!(
            !at.is_empty() && at.iter().all(|line| line.contains(&format!("dev {port} "))),
            "{learned}"
        );
    }
}
