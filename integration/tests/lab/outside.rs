//! Localnet ports: the way to networks outside.

use weft_integration::{Impls, Lab};

/// VMs on two hosts, each host's br-ext mapped to physnet; an outside machine on each host's br-ext.
fn with_outside(impls: Impls, tag: u16) -> Lab {
    let lab = Lab::new(impls, 2);
    let tag_option = if tag == 0 {
        String::new()
    } else {
        format!("set logical_switch_port ln tag={tag}")
    };
    lab.nb(&format!(
        "ls-add s
         lsp-add s ln
         lsp-set-type ln localnet
         lsp-set-addresses ln unknown
         lsp-set-options ln network_name=physnet
         {tag_option}"
    ));
    for n in 1..=2 {
        let host = format!("h{n}");
        lab.mapped_bridge(&host, "br-ext", "physnet");
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        lab.vm(
            &host,
            &format!("p{n}"),
            &format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64"),
        );
        lab.machine(
            &host,
            "br-ext",
            &format!("out{n}"),
            tag,
            &format!("0a:00:00:00:01:0{n} 10.0.0.10{n}/24 fd00::10{n}/64"),
        );
    }
    // A trunk sees the tags.
    lab.vs(
        "h1",
        "add-port br-ext trunk\n set interface trunk type=internal",
    );
    lab.run("h1", "ip link set trunk addrgenmode none up").ok();
    lab.ready();
    lab
}

fn both_ways(lab: &Lab) {
    for (vm, to) in [
        ("p1", "10.0.0.101"),
        ("out1", "10.0.0.1"),
        ("p2", "10.0.0.102"),
        ("out2", "fd00::2"),
        ("p1", "fd00::101"),
    ] {
        lab.reaches_with_ttl(vm, to, 64);
    }
}

pub fn localnet_untagged(impls: Impls) {
    let lab = with_outside(impls, 0);
    let trunk = lab.capture("h1", "trunk", "arp or vlan");
    both_ways(&lab);
    let asked = trunk.wait_for("the VM's ARP request outside", |packet| {
        packet
            .contains("who-has 10.0.0.101")
            .then(|| packet.to_string())
    });
    assert!(!asked.contains("802.1Q"), "{asked}");
}

pub fn localnet_in_a_vlan(impls: Impls) {
    let lab = with_outside(impls, 100);
    let trunk = lab.capture("h1", "trunk", "arp or vlan");
    both_ways(&lab);
    let asked = trunk.wait_for("the VM's ARP request outside", |packet| {
        packet
            .contains("who-has 10.0.0.101")
            .then(|| packet.to_string())
    });
    assert!(asked.contains("vlan 100"), "{asked}");
    // Machines outside that VLAN are not on this network.
    lab.machine(
        "h1",
        "br-ext",
        "other",
        200,
        "0a:00:00:00:01:09 10.0.0.109/24",
    );
    lab.never_reaches("other", "10.0.0.1");
}

/// A network of the cloud behind a router whose other leg is on the network outside.
pub fn localnet_beyond_a_router(impls: Impls) {
    let lab = with_outside(impls, 0);
    lab.nb("lr-add r
            ls-add in
            lrp-add r r-in 0a:00:00:00:ff:01 10.1.0.254/24 fd01::254/64
            lsp-add in in-r
            lsp-set-type in-r router
            lsp-set-options in-r router-port=r-in
            lsp-set-addresses in-r router
            lrp-add r r-out 0a:00:00:00:ff:02 10.0.0.254/24 fd00::254/64
            lsp-add s s-r
            lsp-set-type s-r router
            lsp-set-options s-r router-port=r-out
            lsp-set-addresses s-r router
            lr-route-add r 0.0.0.0/0 10.0.0.101
            lr-route-add r ::/0 fd00::101
            lsp-add in v
            lsp-set-addresses v '0a:00:00:00:02:01 10.1.0.1 fd01::1'");
    lab.vm(
        "h1",
        "v",
        "0a:00:00:00:02:01 10.1.0.1/24 fd01::1/64 via 10.1.0.254 fd01::254",
    );
    for route in ["10.1.0.0/24 via 10.0.0.254", "fd01::/64 via fd00::254"] {
        lab.vm_run("out1", &format!("ip route add {route} dev out1"))
            .ok();
    }
    // A network still further out, of which the outside machine is the router.
    lab.vm_run("out1", "ip addr add 192.0.2.1/32 dev lo").ok();
    lab.vm_run("out1", "ip addr add 2001:db8::1/128 dev lo")
        .ok();
    lab.vm_run("out1", "ip link set lo up").ok();
    lab.ready();
    for (vm, to) in [
        ("v", "10.0.0.101"),
        ("v", "fd00::101"),
        ("out1", "10.1.0.1"),
        ("out1", "fd01::1"),
        ("v", "192.0.2.1"),
        ("v", "2001:db8::1"),
    ] {
        lab.reaches_with_ttl(vm, to, 63);
    }
    for (vm, to) in [
        ("v", "10.0.0.254"),
        ("out1", "10.0.0.254"),
        ("out1", "fd00::254"),
    ] {
        lab.reaches(vm, to);
    }
    both_ways(&lab);
}
