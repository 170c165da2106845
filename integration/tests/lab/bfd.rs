//! BFD sessions between two gateway routers on two hosts, and the routes that follow them.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Gateway routers `g1` and `g2` on a switch between them, each with a switch of its own behind it, with VM `p1` or `p2`.
/// Their sessions watch each other, over IPv4 and IPv6.
fn bed(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add join");
    for n in 1..=2 {
        let other = 3 - n;
        lab.nb(&format!(
            "lr-add g{n}
             set logical_router g{n} options:chassis=h{n}
             ls-add s{n}
             lrp-add g{n} g{n}-s 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd0{n}::254/64
             lsp-add s{n} s{n}-g
             lsp-set-type s{n}-g router
             lsp-set-options s{n}-g router-port=g{n}-s
             lsp-set-addresses s{n}-g router
             lrp-add g{n} g{n}-join 0a:00:00:00:ee:0{n} 172.16.0.{n}/24 fd77::{n}/64
             lsp-add join join-g{n}
             lsp-set-type join-g{n} router
             lsp-set-options join-g{n} router-port=g{n}-join
             lsp-set-addresses join-g{n} router
             lsp-add s{n} p{n}
             lsp-set-addresses p{n} '0a:00:00:00:0{n}:01 10.{n}.0.1 fd0{n}::1'
             --bfd lr-route-add g{n} 10.{other}.0.0/24 172.16.0.{other} g{n}-join
             --bfd lr-route-add g{n} fd0{other}::/64 fd77::{other} g{n}-join"
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("p{n}"),
            &format!("0a:00:00:00:0{n}:01 10.{n}.0.1/24 fd0{n}::1/64 via 10.{n}.0.254 fd0{n}::254"),
        );
    }
    for session in lab.nb("--bare --columns=_uuid list bfd").split_whitespace() {
        lab.nb(&format!(
            "set bfd {session} min_tx=200 min_rx=200 detect_mult=3"
        ));
    }
    lab.ready();
    lab
}

/// Waits until the sessions of a router are in a state, as the northbound tells it.
fn are(lab: &Lab, router: &str, state: &str) {
    wait_for(CONVERGE, &format!("sessions of {router} {state}"), || {
        let find = format!("--bare --columns=status find bfd logical_port={router}-join");
        let told = lab.nb(&find);
        let told: Vec<&str> = told.split_whitespace().collect();
        ensure(told == [state; 2], format!("{told:?}"))
    });
}

pub fn routes_follow_their_sessions(impls: Impls) {
    let lab = bed(impls);
    are(&lab, "g1", "up");
    are(&lab, "g2", "up");
    lab.reaches_with_ttl("p1", "10.2.0.1", 62);
    lab.reaches_with_ttl("p1", "fd02::1", 62);
    // Whoever runs the sessions of the peer is gone: they are down, and the routes with them.
    lab.stop("h2", "ovn-controller", Signal::KILL);
    are(&lab, "g1", "down");
    wait_for(CONVERGE, "the routes to be gone", || {
        let flows = lab.sb("lflow-list g1");
        let there = flows.contains("10.2.0.0/24") || flows.contains("fd02::/64");
        ensure(!there, "they are there".to_string())
    });
    lab.start_controller("h2");
    are(&lab, "g1", "up");
    lab.reaches("p1", "10.2.0.1");
    lab.reaches("p1", "fd02::1");
    // Nobody follows it any more: held down, and the peer learns it.
    for prefix in ["10.1.0.0/24", "fd01::/64"] {
        let find = format!(
            "--bare --columns=_uuid find logical_router_static_route 'ip_prefix=\"{prefix}\"'"
        );
        let route = lab.nb(&find);
        lab.nb(&format!(
            "clear logical_router_static_route {} bfd",
            route.trim()
        ));
    }
    are(&lab, "g2", "admin_down");
    are(&lab, "g1", "down");
}
