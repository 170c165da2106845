//! What routers ask for and what they learn unasked.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::routing::routed;

fn learned(lab: &Lab, port: &str, ip: &str) -> String {
    lab.sb_get(
        "mac_binding",
        "mac",
        &format!("logical_port={port} 'ip=\"{ip}\"'"),
    )
}

/// Two routers, each with a switch and a VM, and a switch between them, whose routes to each other's IPv4 network go by
/// `hop`N.
fn two_routers(impls: Impls, hop: &str) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add join");
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
             lrp-add r{n} r{n}-join 0a:00:00:00:ee:0{n} 172.16.0.{n}/24 fd77::{n}/64
             lsp-add join join-r{n}
             lsp-set-type join-r{n} router
             lsp-set-options join-r{n} router-port=r{n}-join
             lsp-set-addresses join-r{n} router
             lr-route-add r{n} 10.{other}.0.0/24 {hop}{other}
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
    lab.nb("set logical_router r1 options:dynamic_neigh_routers=true");
    lab.ready();
    lab
}

/// IPv4 between two IPv4 networks over IPv6 alone; one router knows the other, the other asks.
pub fn ipv4_goes_over_ipv6(impls: Impls) {
    let lab = two_routers(impls, "fd77::");
    for port in ["r1-join", "r2-join"] {
        let n = &port[1..2];
        lab.nb(&format!(
            "set logical_router_port {port} networks='\"fd77::{n}/64\"'"
        ));
    }
    lab.ready();
    lab.reaches_with_ttl("p1", "10.2.0.1", 62);
    lab.reaches_with_ttl("p2", "10.1.0.1", 62);
    wait_for(CONVERGE, "the next hop learned", || {
        let mac = learned(&lab, "r1-join", "fd77::2");
        ensure(mac == "0a:00:00:00:ee:02", mac)
    });
    let trace = lab.trace(
        "--minimal",
        "s2",
        r#"inport == "p2" && eth.src == 0a:00:00:00:02:01 && eth.dst == 0a:00:00:00:ff:02 && ip4.src == 10.2.0.1 && ip4.dst == 10.1.0.1 && ip.ttl == 64 && icmp4.type == 8"#,
    );
    assert!(trace.contains("output(\"p1\")"), "{trace}");
}

/// The first asks for the second like for any neighbour, the second knows the first.
pub fn routers_ask_for_each_other(impls: Impls) {
    let lab = two_routers(impls, "172.16.0.");
    lab.reaches_with_ttl("p1", "10.2.0.1", 62);
    lab.reaches_with_ttl("p1", "fd02::1", 62);
    for ip in ["172.16.0.2", "fd77::2"] {
        wait_for(CONVERGE, &format!("{ip} learned"), || {
            let mac = learned(&lab, "r1-join", ip);
            ensure(mac == "0a:00:00:00:ee:02", mac)
        });
    }
    let flows = lab.sb("lflow-list r1");
    let known = flows
        .lines()
        .find(|flow| flow.contains("lr_in_arp_resolve") && flow.contains("172.16.0.2"));
    assert_eq!(known, None, "asked for and known all the same");
}

/// Who asks for somebody else is learned or not, as the router's options say; who asks for the router always is.
pub fn not_every_question_teaches(impls: Impls) {
    let lab = routed(impls, 2, &["a", "b"]);
    lab.nb(
        "set logical_router r options:always_learn_from_arp_request=false
            lsp-add b u
            lsp-set-addresses u unknown
            lsp-add b w
            lsp-set-addresses w unknown",
    );
    for (name, last) in [("u", "77"), ("w", "78")] {
        lab.vm(
            "h2",
            name,
            &format!("0a:00:00:00:02:{last} 10.2.0.{last}/24 via 10.2.0.254"),
        );
    }
    lab.ready();
    // `u` asks for `w`, which every port hears, the router's too.
    lab.reaches("u", "10.2.0.78");
    assert_eq!(learned(&lab, "r-b", "10.2.0.77"), "");
    lab.reaches("u", "10.2.0.254");
    wait_for(CONVERGE, "who asks for the router learned", || {
        let mac = learned(&lab, "r-b", "10.2.0.77");
        ensure(mac == "0a:00:00:00:02:77", mac)
    });
    // Otherwise it is.
    lab.nb("--wait=hv remove logical_router r options always_learn_from_arp_request");
    lab.vm_run("w", "ip neigh flush all").ok();
    wait_for(CONVERGE, "who asks for another learned", || {
        lab.vm_run("w", "ip neigh flush all").ok();
        lab.ping("w", "10.2.0.77", 1, "");
        let mac = learned(&lab, "r-b", "10.2.0.78");
        ensure(mac == "0a:00:00:00:02:78", mac)
    });
    lab.reaches("a1", "10.2.0.77");
    lab.reaches("a1", "10.2.0.78");
}
