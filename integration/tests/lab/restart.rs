//! Daemons that die and come back, with traffic running across.

use std::time::Duration;

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::ping::{Ping, PingAcross};
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// `p1` on `h1`, `p2` on `h2`, on two switches of a router; VMs on devices that outlive vswitchd.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add s{n}
             lrp-add r r-s{n} 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd0{n}::254/64
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r-s{n}
             lsp-set-addresses s{n}-r router"
        ));
        add_port(&lab, n, 1);
    }
    lab.ready();
    lab.reaches_with_ttl("p1x1", "10.2.0.1", 63);
    lab
}

/// VM number `m` of switch and host `n`.
fn add_port(lab: &Lab, n: usize, m: usize) {
    lab.nb(&format!(
        "lsp-add s{n} p{n}x{m}
         lsp-set-addresses p{n}x{m} '0a:00:00:00:0{n}:0{m} 10.{n}.0.{m} fd0{n}::{m}'"
    ));
    let config = format!(
        "0a:00:00:00:0{n}:0{m} 10.{n}.0.{m}/24 fd0{n}::{m}/64 via 10.{n}.0.254 fd0{n}::254"
    );
    lab.veth_vm(&format!("h{n}"), &format!("p{n}x{m}"), &config);
}

/// A change made after the daemon came back reaches the packets, so it does not merely rest on old flows.
fn still_alive(lab: &Lab, n: usize, m: usize) {
    add_port(lab, n, m);
    lab.ready();
    lab.reaches_with_ttl(
        "p1x1",
        &format!("10.{n}.0.{m}"),
        if n == 1 { 64 } else { 63 },
    );
    lab.reaches("p1x1", "fd02::1");
}

/// Waits until a controller has said it is in step with a northbound change made now.
fn in_step(lab: &Lab) {
    wait_for(CONVERGE, "all hosts in step", || {
        lab.nbctl("--timeout=5 --wait=hv sync").result()
    });
}

/// Ends a stream of pings when hosts and central node agree again, and two seconds more: where everything restarts fast
/// it would be too short to say anything. No port comes or goes meanwhile: then a userspace datapath may lose a
/// packet of its own accord.
fn settled(lab: &Lab, across: PingAcross) -> Ping {
    in_step(lab);
    lab.ping("p1x1", "10.2.0.1", 10, "");
    across.stop()
}

/// Nothing of the stream was lost.
fn unbroken(lab: &Lab, across: PingAcross) {
    let ping = settled(lab, across);
    assert_eq!(ping.lost(), 0, "between these:\n{}", ping.gaps());
}

pub fn northd_killed(impls: Impls) {
    let lab = network(impls);
    let flows = lab.sb("--bare --columns=_uuid list logical_flow");
    let across = lab.ping_across("p1x1", "10.2.0.1", "0.02");
    lab.stop("h1", "northd", Signal::KILL);
    lab.nb("lsp-add s2 late");
    lab.start_northd();
    wait_for(CONVERGE, "what was written meanwhile", || {
        let seen = lab.sb_get("port_binding", "logical_port", "logical_port=late");
        ensure(seen == "late", seen)
    });
    lab.nb("--wait=hv lsp-del late");
    unbroken(&lab, across);
    still_alive(&lab, 2, 2);
    // Rows that were right are the same rows.
    let after = lab.sb("--bare --columns=_uuid list logical_flow");
    let kept = flows
        .split_whitespace()
        .filter(|uuid| after.contains(uuid))
        .count();
    let all = flows.split_whitespace().count();
    assert!(
        kept * 10 >= all * 9,
        "{kept} of {all} logical flows kept their row"
    );
}

pub fn controller_killed(impls: Impls) {
    let lab = network(impls);
    let across = lab.ping_across("p1x1", "10.2.0.1", "0.02");
    for host in ["h1", "h2"] {
        lab.stop(host, "ovn-controller", Signal::KILL);
        lab.start_controller(host);
        in_step(&lab);
    }
    // A restart in good order keeps the network as well.
    lab.controller_appctl("h2", "exit --restart").ok();
    wait_for(Duration::from_secs(10), "the controller's end", || {
        ensure(
            !lab.controller_appctl("h2", "version").success,
            "still answers",
        )
    });
    lab.start_controller("h2");
    let ping = settled(&lab, across);
    assert!(ping.sent > 50, "{}", ping.text);
    // Stock 23.03 loses some here, it clears br-int before it knows the flows again.
    if lab.impls().controller == Impl::Weft {
        assert_eq!(ping.lost(), 0, "between these:\n{}", ping.gaps());
    }
    still_alive(&lab, 2, 2);
}

pub fn vswitchd_restarted(impls: Impls) {
    let lab = network(impls);
    lab.restart_vswitchd("h2");
    lab.reaches_with_ttl("p1x1", "10.2.0.1", 63);
    still_alive(&lab, 2, 2);
}

pub fn local_ovsdb_restarted(impls: Impls) {
    let lab = network(impls);
    let across = lab.ping_across("p1x1", "10.2.0.1", "0.02");
    lab.stop("h2", "ovsdb-server", Signal::KILL);
    lab.start_ovs_db("h2");
    unbroken(&lab, across);
    still_alive(&lab, 2, 2);
}

pub fn central_databases_restarted(impls: Impls) {
    let lab = network(impls);
    let across = lab.ping_across("p1x1", "10.2.0.1", "0.02");
    for (db, port) in [("sb", 6642), ("nb", 6641)] {
        lab.stop("h1", &format!("ovn{db}_db"), Signal::KILL);
        lab.start_database(db, port);
        in_step(&lab);
    }
    unbroken(&lab, across);
    still_alive(&lab, 2, 2);
}

/// A database that stays away for some time: what runs goes on, what was waiting is done when it is back.
pub fn southbound_away_for_a_while(impls: Impls) {
    let lab = network(impls);
    lab.stop("h1", "ovnsb_db", Signal::TERM);
    lab.nb("lsp-add s2 p2x2
            lsp-set-addresses p2x2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'");
    let during = lab.ping("p1x1", "10.2.0.1", 10, "");
    assert_eq!(during.lost(), 0, "{}", during.text);
    lab.start_database("sb", 6642);
    lab.veth_vm(
        "h2",
        "p2x2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
    lab.reaches_with_ttl("p1x1", "10.2.0.2", 63);
}
