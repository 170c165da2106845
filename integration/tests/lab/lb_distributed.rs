//! Load balancers that work on the hosts of their backends, each host with its own link to the network outside.

use weft_integration::{Impls, Lab};

use crate::lb::{Server, ask, counted, serve, until};

/// `b1` on h1, `b2` and `b3` on h2; the gateway port's host h3 has none. Outside each host is a machine, `out1` to `out3`, that
/// routes everything to the router.
fn fabric(impls: Impls) -> (Lab, Vec<Server>) {
    let lab = Lab::new(impls, 3);
    lab.nb("ls-add in
            ls-add ext
            lr-add r
            lrp-add r r-in 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
            lsp-add in in-r
            lsp-set-type in-r router
            lsp-set-addresses in-r router
            lsp-set-options in-r router-port=r-in
            lrp-add r r-ext 0a:00:00:00:02:fe 172.16.0.254/24 fd02::fe/64
            lrp-set-gateway-chassis r-ext h3
            lsp-add ext ext-r
            lsp-set-type ext-r router
            lsp-set-addresses ext-r router
            lsp-set-options ext-r router-port=r-ext
            lsp-add ext ln
            lsp-set-type ln localnet
            lsp-set-addresses ln unknown
            lsp-set-options ln network_name=physnet
            lb-add tcp4 192.0.2.1:80 10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080 tcp
            lb-add tcp6 [2001:db8::1]:80 [fd00::1]:8080,[fd00::2]:8080,[fd00::3]:8080 tcp
            set load_balancer tcp4 options:distributed=true
            set load_balancer tcp6 options:distributed=true
            lr-lb-add r tcp4
            lr-lb-add r tcp6");
    for n in 1..=3 {
        let host = format!("h{n}");
        lab.mapped_bridge(&host, "br-ext", "physnet");
        let out = format!("out{n}");
        let config = format!("0a:00:00:00:03:0{n} 172.16.0.{n}/24 fd02::{n}/64");
        lab.machine(&host, "br-ext", &out, 0, &config);
        for gateway in ["172.16.0.254", "fd02::fe"] {
            let line = format!("ip route add default via {gateway}");
            lab.vm_run(&out, &line).ok();
        }
        // The address of the source of checks may be left out where there are none.
        lab.nb(&format!(
            "lsp-add in b{n}
             lsp-set-addresses b{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'
             set load_balancer tcp4 ip_port_mappings:10.0.0.{n}=b{n}
             set load_balancer tcp6 'ip_port_mappings:\"fd00::{n}\"=b{n}'"
        ));
        let host = if n == 1 { "h1" } else { "h2" };
        let config =
            format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64 via 10.0.0.254 fd00::fe");
        lab.vm(host, &format!("b{n}"), &config);
    }
    lab.ready();
    let mut servers = Vec::new();
    for n in 1..=3 {
        let vm = format!("b{n}");
        servers.push(serve(&lab, &vm, "tcp", &format!("10.0.0.{n}:8080")));
        servers.push(serve(&lab, &vm, "tcp", &format!("[fd00::{n}]:8080")));
    }
    (lab, servers)
}

/// The machine outside a host gets answers of just these backends, who see its own address.
#[track_caller]
fn answered(lab: &Lab, out: &str, at: &str, source: &str, by: &[&str]) {
    let wanted = |answer: &str| {
        let mut words = answer.split(' ');
        words.next().is_some_and(|who| by.contains(&who)) && words.next() == Some(source)
    };
    until(lab, out, "tcp", at, wanted);
    let answers = ask(lab, out, "tcp", at, 16);
    assert!(
        answers.iter().all(|answer| wanted(answer)) && counted(&answers).len() == by.len(),
        "{out} to {at}, by {by:?} expected: {answers:?}"
    );
}

pub fn every_host_has_its_own_backends(impls: Impls) {
    let (lab, _servers) = fabric(impls);
    let (v4, v6) = ("192.0.2.1:80", "[2001:db8::1]:80");
    answered(&lab, "out1", v4, "172.16.0.1", &["b1"]);
    answered(&lab, "out1", v6, "fd02::1", &["b1"]);
    answered(&lab, "out2", v4, "172.16.0.2", &["b2", "b3"]);
    answered(&lab, "out2", v6, "fd02::2", &["b2", "b3"]);
    // The gateway's host has none.
    for at in [v4, v6] {
        let refused = lab.tcp_connect("out3", at).expect_err("nobody is there");
        assert!(!format!("{refused:?}").contains("Refused"), "{refused:?}");
    }
    // What else leaves the cloud passes the gateway.
    lab.reaches("b1", "172.16.0.3");
    lab.reaches("b2", "fd02::3");
    // A backend less, and one that has moved.
    lab.nb("set load_balancer tcp4 'vips:\"192.0.2.1:80\"=\"10.0.0.1:8080,10.0.0.3:8080\"'");
    lab.ready();
    answered(&lab, "out2", v4, "172.16.0.2", &["b3"]);
    lab.unplug("b1");
    lab.vm(
        "h3",
        "b1",
        "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64 via 10.0.0.254 fd00::fe",
    );
    lab.ready();
    let _server = serve(&lab, "b1", "tcp", "10.0.0.1:8080");
    answered(&lab, "out3", v4, "172.16.0.3", &["b1"]);
    lab.tcp_connect("out1", v4)
        .expect_err("nobody is left on h1");
}
