//! Several controllers on one host.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Puts a machine on another bridge and names its port.
fn machine(lab: &Lab, bridge: &str, name: &str, config: &str) {
    lab.machine("h1", bridge, name, 0, config);
    lab.vs(
        "h1",
        &format!("set interface {name} external-ids:iface-id={name}"),
    );
}

fn is_installed(lab: &Lab, iface: &str) -> Result<(), String> {
    let seen = lab.vs(
        "h1",
        &format!("--if-exists get interface {iface} external-ids:ovn-installed"),
    );
    ensure(seen.trim().trim_matches('"') == "true", seen)
}

fn bound_to(lab: &Lab, port: &str, chassis: &str) {
    wait_for(CONVERGE, &format!("{port} on {chassis}"), || {
        let row = lab.sb_get("port_binding", "chassis", &format!("logical_port={port}"));
        let seen = match row.is_empty() {
            true => row,
            false => lab.sb(&format!("get chassis {row} name")),
        };
        ensure(seen.trim_matches('"') == chassis, seen)
    });
}

/// Each keeps its queues at an interface that both send by, and nothing is left when both are gone.
fn shaped_by_both(lab: &Lab) {
    let impls = lab.impls();
    if impls.controller == Impl::Stock || impls.northd == Impl::Stock {
        // 23.03 writes no queues, and gives each chassis the number 1 whatever is asked for.
        return;
    }
    lab.vs(
        "h1",
        "set interface eth1 external-ids:ovn-egress-iface=true",
    );
    let queues = || {
        let row = lab.vs("h1", "--bare get port eth1 qos");
        let used = match row.trim() {
            "[]" => row.clone(),
            row => lab.vs("h1", &format!("--bare get qos {row} queues")),
        };
        let rates = lab.vs("h1", "--bare --columns=other_config list queue");
        let mut rates: Vec<String> = rates.split_whitespace().map(Into::into).collect();
        rates.sort();
        (used.matches('=').count(), rates)
    };
    let are = |wanted: &[&str]| {
        wait_for(CONVERGE, &format!("queues {wanted:?}"), || {
            let (used, rates) = queues();
            let all = used == wanted.len() && rates == wanted;
            ensure(all, format!("{used} of {rates:?}"))
        });
    };
    let (one, two) = ("max-rate=3000000", "max-rate=4000000");
    lab.nb("lsp-set-options one qos_max_rate=3000000 qdisc_queue_id=7");
    are(&[one]);
    lab.nb("lsp-set-options two qos_max_rate=4000000 qdisc_queue_id=8");
    are(&[one, two]);
    // They have said what they want, and neither is at it again.
    lab.nb("--timeout=30 --wait=hv sync");
    let row = lab.vs("h1", "--bare get port eth1 qos");
    lab.nb("lsp-set-options two qos_max_rate=5000000 qdisc_queue_id=8");
    are(&[one, "max-rate=5000000"]);
    lab.nb("lsp-set-options one");
    are(&["max-rate=5000000"]);
    assert_eq!(lab.vs("h1", "--bare get port eth1 qos"), row);
    lab.nb("lsp-set-options two");
    are(&[]);
    assert_eq!(lab.vs("h1", "--bare --columns=_uuid list qos").trim(), "");
}

/// Two controllers share one Open vSwitch: each has its bridge, its address and its ports, and leaves the other's alone.
pub fn each_has_its_bridge(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s");
    for (n, name) in [(1, "one"), (2, "two"), (3, "far")] {
        lab.nb(&format!(
            "lsp-add s {name}
             lsp-set-addresses {name} '0a:00:00:00:00:0{n} 10.0.0.{n}'"
        ));
    }
    lab.run("h1", "ip addr add 192.168.50.110/24 dev br-phys")
        .ok();
    lab.vs(
        "h1",
        "set open . external-ids:ovn-bridge-other=br-other external-ids:ovn-encap-ip-other=192.168.50.110",
    );
    if impls.or_from_env().controller == Impl::Stock {
        // Ours does so by itself where there are several.
        lab.vs("h1", "set open . external-ids:ovn-set-local-ip-other=true");
    }
    lab.start_another("h1", "other");
    wait_for(CONVERGE, "the other's bridge", || {
        lab.run("h1", "ovs-vsctl br-exists br-other").result()
    });
    lab.vm("h1", "one", "0a:00:00:00:00:01 10.0.0.1/24");
    machine(&lab, "br-other", "two", "0a:00:00:00:00:02 10.0.0.2/24");
    lab.vm("h2", "far", "0a:00:00:00:00:03 10.0.0.3/24");
    lab.ready();
    bound_to(&lab, "one", "h1");
    bound_to(&lab, "two", "other");
    lab.reaches("far", "10.0.0.1");
    lab.reaches("far", "10.0.0.2");
    lab.reaches("two", "10.0.0.3");
    for iface in ["one", "two"] {
        wait_for(CONVERGE, &format!("{iface} to be told"), || {
            is_installed(&lab, iface)
        });
    }

    // Each is exchanged without harm to the other's.
    for chassis in ["ovn-controller", "other"] {
        lab.stop("h1", chassis, Signal::KILL);
        lab.reaches("far", "10.0.0.1");
        lab.reaches("far", "10.0.0.2");
        match chassis {
            "other" => lab.start_another("h1", chassis),
            _ => lab.start_controller("h1"),
        }
        lab.nb("--timeout=30 --wait=hv sync");
        lab.reaches("far", "10.0.0.1");
        lab.reaches("far", "10.0.0.2");
        for iface in ["one", "two"] {
            wait_for(CONVERGE, &format!("{iface} still told"), || {
                is_installed(&lab, iface)
            });
        }
    }

    shaped_by_both(&lab);

    // A machine changes bridges.
    lab.unplug("one");
    machine(&lab, "br-other", "one", "0a:00:00:00:00:01 10.0.0.1/24");
    bound_to(&lab, "one", "other");
    lab.reaches("far", "10.0.0.1");
    lab.reaches("one", "10.0.0.2");
    lab.reaches("far", "10.0.0.2");
}
