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
