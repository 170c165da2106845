//! Addresses that move between machines.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Where the southbound says that a virtual port is: chassis and parent, empty if nowhere.
fn place(lab: &Lab, port: &str) -> (String, String) {
    let condition = format!("logical_port={port}");
    let chassis = lab.sb_get("port_binding", "chassis", &condition);
    let name = match chassis.is_empty() {
        true => chassis,
        false => lab.sb(&format!("get chassis {chassis} name")),
    };
    let parent = lab.sb_get("port_binding", "virtual_parent", &condition);
    (name.trim_matches('"').into(), parent)
}

fn is_at(lab: &Lab, port: &str, chassis: &str, parent: &str) {
    wait_for(
        CONVERGE,
        &format!("{port} with {parent} on {chassis}"),
        || {
            let seen = place(lab, port);
            ensure(seen == (chassis.into(), parent.into()), format!("{seen:?}"))
        },
    );
}

fn take(lab: &Lab, vm: &str) {
    lab.vm_run(vm, &format!("ip addr add 10.1.0.100/24 dev {vm}"))
        .ok();
    lab.vm_run(vm, &format!("ip addr add fd01::100/64 dev {vm} nodad"))
        .ok();
}

fn leave(lab: &Lab, vm: &str) {
    lab.vm_run(vm, &format!("ip addr del 10.1.0.100/24 dev {vm}"))
        .ok();
    lab.vm_run(vm, &format!("ip addr del fd01::100/64 dev {vm}"))
        .ok();
}

/// Two machines on two hosts have one address by turns; it is asked for on its own network and over a router.
pub fn an_address_moves_between_parents(impls: Impls) {
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
    }
    for (host, switch, vm, last) in [
        ("h1", 1, "pa", 1),
        ("h2", 1, "pb", 2),
        ("h1", 1, "near", 3),
        ("h2", 2, "far", 1),
    ] {
        let mac = format!("0a:00:00:00:0{switch}:0{last}");
        lab.nb(&format!(
            "lsp-add s{switch} {vm}
             lsp-set-addresses {vm} '{mac} 10.{switch}.0.{last} fd0{switch}::{last}'"
        ));
        lab.vm(
            host,
            vm,
            &format!(
                "{mac} 10.{switch}.0.{last}/24 fd0{switch}::{last}/64 via 10.{switch}.0.254 fd0{switch}::254"
            ),
        );
    }
    for (port, ip) in [("vip4", "10.1.0.100"), ("vip6", "fd01::100")] {
        lab.nb(&format!(
            "lsp-add s1 {port}
             lsp-set-type {port} virtual
             set logical_switch_port {port} options:virtual-ip='\"{ip}\"' options:virtual-parents='\"pa,pb\"'"
        ));
    }
    lab.ready();
    for port in ["vip4", "vip6"] {
        is_at(&lab, port, "", "");
    }
    lab.never_reaches("near", "10.1.0.100");

    take(&lab, "pa");
    // Whoever asks first makes the parent answer, which is how the address gets its place.
    lab.reaches_with_ttl("far", "10.1.0.100", 63);
    lab.reaches_with_ttl("near", "fd01::100", 64);
    is_at(&lab, "vip4", "h1", "pa");
    is_at(&lab, "vip6", "h1", "pa");
    lab.reaches_with_ttl("near", "10.1.0.100", 64);
    lab.reaches_with_ttl("far", "fd01::100", 63);

    leave(&lab, "pa");
    take(&lab, "pb");
    lab.vm_run("near", "ip neigh flush dev near").ok();
    lab.reaches_with_ttl("near", "10.1.0.100", 64);
    lab.reaches_with_ttl("near", "fd01::100", 64);
    is_at(&lab, "vip4", "h2", "pb");
    is_at(&lab, "vip6", "h2", "pb");
    lab.reaches_with_ttl("far", "10.1.0.100", 63);
    lab.reaches_with_ttl("far", "fd01::100", 63);

    lab.unplug("pb");
    for port in ["vip4", "vip6"] {
        is_at(&lab, port, "", "");
    }
}
