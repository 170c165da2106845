//! Load balancers on gateway routers: connections from outside.

use weft_integration::{Impls, Lab};

use crate::lb::{Server, ask, counted, serve, until};

/// `b1` and `b2` on two hosts behind a gateway router on the first; `out` is a machine outside.
fn gateway(impls: Impls) -> (Lab, Vec<Server>) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add gr
            set logical_router gr options:chassis=h1
            ls-add s
            lrp-add gr gr-s 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
            lsp-add s s-gr
            lsp-set-type s-gr router
            lsp-set-addresses s-gr router
            lsp-set-options s-gr router-port=gr-s
            ls-add ext
            lrp-add gr gr-ext 0a:00:00:00:02:fe 172.16.0.1/24 fd02::1/64
            lsp-add ext ext-gr
            lsp-set-type ext-gr router
            lsp-set-addresses ext-gr router
            lsp-set-options ext-gr router-port=gr-ext
            lsp-add ext ln
            lsp-set-type ln localnet
            lsp-set-addresses ln unknown
            lsp-set-options ln network_name=physnet
            lb-add tcp4 172.16.0.100:80 10.0.0.1:8080,10.0.0.2:8080 tcp
            lb-add tcp6 [fd02::100]:80 [fd00::1]:8080,[fd00::2]:8080 tcp
            lb-add udp4 172.16.0.100:53 10.0.0.1:8080,10.0.0.2:8080 udp
            lb-add own 172.16.0.1:8000 10.0.0.1:8080 tcp
            create load_balancer_group name=all");
    for lb in ["tcp4", "tcp6", "udp4", "own"] {
        let uuid = lab.nb(&format!(
            "--bare --columns=_uuid find load_balancer name={lb}"
        ));
        lab.nb(&format!(
            "add load_balancer_group all load_balancer {}",
            uuid.trim()
        ));
    }
    let group = lab.nb("--bare --columns=_uuid find load_balancer_group name=all");
    lab.nb(&format!(
        "add logical_router gr load_balancer_group {}",
        group.trim()
    ));
    lab.mapped_bridge("h1", "br-ext", "physnet");
    for n in 1..=2 {
        lab.nb(&format!(
            "lsp-add s b{n}\n lsp-set-addresses b{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("b{n}"),
            &format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64 via 10.0.0.254 fd00::fe"),
        );
    }
    lab.machine(
        "h1",
        "br-ext",
        "out",
        0,
        "0a:00:00:00:03:01 172.16.0.9/24 fd02::9/64",
    );
    lab.ready();
    let mut servers = Vec::new();
    for n in 1..=2 {
        let vm = format!("b{n}");
        servers.push(serve(&lab, &vm, "tcp", &format!("10.0.0.{n}:8080")));
        servers.push(serve(&lab, &vm, "udp", &format!("10.0.0.{n}:8080")));
        servers.push(serve(&lab, &vm, "tcp", &format!("[fd00::{n}]:8080")));
    }
    (lab, servers)
}

/// Both backends answer, and see the connections come from `source`.
#[track_caller]
fn spreads(lab: &Lab, proto: &str, at: &str, source: &str) {
    until(lab, "out", proto, at, |answer| {
        answer.split(' ').nth(1) == Some(source)
    });
    let answers = ask(lab, "out", proto, at, 16);
    assert_eq!(counted(&answers).len(), 2, "{at}: {answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| answer.split(' ').nth(1) == Some(source)),
        "{at}: {answers:?}"
    );
}

pub fn from_outside_through_a_gateway_router(impls: Impls) {
    let (lab, _servers) = gateway(impls);
    spreads(&lab, "tcp", "172.16.0.100:80", "172.16.0.9");
    spreads(&lab, "udp", "172.16.0.100:53", "172.16.0.9");
    spreads(&lab, "tcp", "[fd02::100]:80", "fd02::9");
    // The virtual address may be the router's own.
    until(&lab, "out", "tcp", "172.16.0.1:8000", |answer| {
        answer == "b1 172.16.0.9"
    });
}

/// The router stands for its clients, but not where a load balancer says otherwise.
pub fn the_router_stands_for_its_clients(impls: Impls) {
    let (lab, _servers) = gateway(impls);
    lab.nb("set logical_router gr options:lb_force_snat_ip=router_ip
            set load_balancer udp4 options:skip_snat=true");
    lab.ready();
    spreads(&lab, "tcp", "172.16.0.100:80", "10.0.0.254");
    spreads(&lab, "tcp", "[fd02::100]:80", "fd00::fe");
    spreads(&lab, "udp", "172.16.0.100:53", "172.16.0.9");
    lab.nb("set logical_router gr options:lb_force_snat_ip='\"10.0.0.254 fd00::fe\"'");
    lab.ready();
    spreads(&lab, "tcp", "172.16.0.100:80", "10.0.0.254");
    lab.nb("set load_balancer tcp4 options:affinity_timeout=60");
    lab.ready();
    until(&lab, "out", "tcp", "172.16.0.100:80", |answer| {
        answer.starts_with('b')
    });
    let answers = ask(&lab, "out", "tcp", "172.16.0.100:80", 20);
    assert_eq!(counted(&answers).len(), 1, "{answers:?}");
}

/// Requests enter by a gateway port on h1, replies leave by one on h2, where nobody knows the connection: with
/// `use_stateless_nat` they bear the virtual address all the same.
pub fn replies_leave_by_another_gateway(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r
            ls-add in
            lrp-add r r-in 0a:00:00:00:00:fe 10.0.0.254/24
            lsp-add in in-r
            lsp-set-type in-r router
            lsp-set-addresses in-r router
            lsp-set-options in-r router-port=r-in
            lsp-add in b1
            lsp-set-addresses b1 '0a:00:00:00:00:01 10.0.0.1'
            lb-add lb 198.51.100.1:80 10.0.0.1:8080 tcp
            set load_balancer lb options:use_stateless_nat=true
            lr-lb-add r lb
            lr-route-add r 192.0.2.9/32 172.16.2.9");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add e{n}
             lrp-add r r-e{n} 0a:00:00:00:0{n}:fe 172.16.{n}.1/24
             lrp-set-gateway-chassis r-e{n} h{n}
             lsp-add e{n} e{n}-r
             lsp-set-type e{n}-r router
             lsp-set-addresses e{n}-r router
             lsp-set-options e{n}-r router-port=r-e{n}
             lsp-add e{n} ln{n}
             lsp-set-type ln{n} localnet
             lsp-set-addresses ln{n} unknown
             lsp-set-options ln{n} network_name=physnet
             set logical_switch_port ln{n} tag=10{n}"
        ));
        let host = format!("h{n}");
        lab.mapped_bridge(&host, "br-ext", "physnet");
        let config = format!("0a:00:00:00:03:0{n} 172.16.{n}.9/24");
        lab.machine(&host, "br-ext", &format!("out{n}"), 100 + n, &config);
    }
    for line in [
        "ip link set lo up",
        "ip addr add 192.0.2.9/32 dev lo",
        "ip route add 198.51.100.1 via 172.16.1.1 src 192.0.2.9",
    ] {
        lab.vm_run("out1", line).ok();
    }
    lab.vm("h1", "b1", "0a:00:00:00:00:01 10.0.0.1/24 via 10.0.0.254");
    lab.ready();
    let _server = serve(&lab, "b1", "tcp", "10.0.0.1:8080");
    let wire = lab.capture("out2", "out2", "tcp");
    // There is no way from `out2` to the client, which gets no answer: one seen there is enough.
    lab.tcp_connect("out1", "198.51.100.1:80")
        .expect_err("the answer goes to another machine");
    wire.wait_for("the answer of the virtual address", |packet| {
        packet
            .contains("198.51.100.1.80 > 192.0.2.9.")
            .then_some(())
    });
    let others = wire.packets();
    assert!(
        others
            .iter()
            .all(|packet| !packet.contains("10.0.0.1.8080")),
        "{others:#?}"
    );
}
