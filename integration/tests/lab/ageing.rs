//! What chassis learn is forgotten after a while, unless it is used.

use std::time::{Duration, Instant};

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use super::routing::with_unknown;

/// The time of last use, empty if there is no row.
fn last_use(lab: &Lab, ip: &str) -> String {
    lab.sb_get(
        "mac_binding",
        "timestamp",
        &format!("logical_port=r-b 'ip=\"{ip}\"'"),
    )
}

fn learned(lab: &Lab, ip: &str) {
    wait_for(CONVERGE, &format!("{ip} learned"), || {
        let seen = last_use(lab, ip);
        ensure(!seen.is_empty(), "no row")
    });
}

fn forgotten(lab: &Lab, ip: &str) {
    wait_for(CONVERGE, &format!("{ip} forgotten"), || {
        let seen = last_use(lab, ip);
        ensure(seen.is_empty(), seen)
    });
}

pub fn neighbors_are_forgotten(impls: Impls) {
    let lab = with_unknown(impls);
    for ip in ["10.2.0.77", "fd02::77"] {
        lab.reaches("a1", ip);
        learned(&lab, ip);
    }
    // What has been there for longer goes at once.
    lab.nb("set logical_router r options:mac_binding_age_threshold=1");
    for ip in ["10.2.0.77", "fd02::77"] {
        forgotten(&lab, ip);
        lab.reaches("a1", ip);
    }
}

/// Not after the time of its router but of its network.
pub fn networks_have_their_own_time(impls: Impls) {
    let lab = with_unknown(impls);
    for ip in ["10.2.0.77", "fd02::77"] {
        lab.reaches("a1", ip);
        learned(&lab, ip);
    }
    lab.nb("set logical_router r options:mac_binding_age_threshold='\"10.2.0.0/16:1;3600\"'");
    forgotten(&lab, "10.2.0.77");
    learned(&lab, "fd02::77");
}

/// Calls `during` again and again for three times the life of a row; the row must stand all the while.
fn stands(lab: &Lab, ips: &[&str], life: Duration, during: impl Fn()) {
    let first: Vec<String> = ips.iter().map(|ip| last_use(lab, ip)).collect();
    let until = Instant::now() + life * 3;
    while Instant::now() < until {
        during();
        for ip in ips {
            assert!(!last_use(lab, ip).is_empty(), "{ip} is gone");
        }
    }
    for (ip, first) in ips.iter().zip(first) {
        assert_ne!(last_use(lab, ip), first, "{ip} was never refreshed");
    }
}

pub fn what_is_used_is_kept(impls: Impls) {
    let lab = with_unknown(impls);
    let ips = ["10.2.0.77", "fd02::77"];
    // Its own packets on the switch teach where it is.
    for ip in ips {
        lab.reaches("a1", ip);
        learned(&lab, ip);
    }
    lab.nb(
        "--wait=hv set logical_router r options:mac_binding_age_threshold=4
            set logical_switch b other_config:fdb_age_threshold=4",
    );
    for ip in ips {
        lab.reaches("a1", ip);
        learned(&lab, ip);
    }
    let place = || lab.sb_get("fdb", "timestamp", "'mac=\"0a:00:00:00:02:77\"'");
    assert!(!place().is_empty());
    let life = Duration::from_secs(4);
    stands(&lab, &ips, life, || {
        for ip in ips {
            lab.ping("a1", ip, 2, "");
        }
        assert!(!place().is_empty(), "its place is forgotten");
    });
    // It hears but does not answer: it is asked whether it is there.
    lab.vm_run("u", "sysctl -w net.ipv4.icmp_echo_ignore_all=1")
        .ok();
    let asked = lab.capture("u", "u", "arp");
    stands(&lab, &ips[..1], life, || {
        lab.ping("a1", ips[0], 2, "");
    });
    asked.wait_for("a question from the router", |packet| {
        packet.contains("who-has 10.2.0.77").then_some(())
    });
    // Nobody uses it.
    for ip in ips {
        forgotten(&lab, ip);
    }
    wait_for(CONVERGE, "its place forgotten", || {
        ensure(place().is_empty(), place())
    });
    lab.vm_run("u", "sysctl -w net.ipv4.icmp_echo_ignore_all=0")
        .ok();
    for ip in ips {
        lab.reaches("a1", ip);
    }
}
