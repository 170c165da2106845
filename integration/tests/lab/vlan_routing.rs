//! Switches that are VLANs of a physical network, with a distributed router between: routed packets travel over the wire.

use weft_integration::capture::Capture;
use weft_integration::{Impls, Lab};

/// Every host gets an Ethernet address of its own for what it routes: the switches of the physical network must not see the
/// router come from everywhere.
pub fn chassis_addresses(lab: &Lab) {
    for host in ["h1", "h2"] {
        let n = &host[1..];
        lab.vs(
            host,
            &format!(
                "set open . external-ids:ovn-chassis-mac-mappings=physnet:0e:00:00:00:cc:0{n}"
            ),
        );
    }
}

/// Switches `a` (VLAN 10) and `b` (VLAN 20) on physnet, which both hosts are on, and `ext`, untagged, where machine `out`
/// is. VM `a1` on h1, `b2` on h2. Every host has an Ethernet address of its own for what it routes.
fn bed(impls: Impls, more: &str) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r");
    for (n, switch, tag) in [(1, "a", "tag=10"), (2, "b", "tag=20"), (3, "ext", "")] {
        let set_tag = match tag {
            "" => String::new(),
            tag => format!("set logical_switch_port ln-{switch} {tag}"),
        };
        let net = if switch == "ext" {
            "172.16.0.1/24".to_owned()
        } else {
            format!("10.{n}.0.254/24 fd0{n}::254/64")
        };
        lab.nb(&format!(
            "ls-add {switch}
             lsp-add {switch} ln-{switch}
             lsp-set-type ln-{switch} localnet
             lsp-set-addresses ln-{switch} unknown
             lsp-set-options ln-{switch} network_name=physnet
             {set_tag}
             lrp-add r r-{switch} 0a:00:00:00:ff:0{n} {net}
             lsp-add {switch} {switch}-r
             lsp-set-type {switch}-r router
             lsp-set-options {switch}-r router-port=r-{switch}
             lsp-set-addresses {switch}-r router"
        ));
    }
    chassis_addresses(&lab);
    lab.outside(
        &["h1", "h2"],
        "physnet",
        "out",
        "0a:00:00:00:01:09 172.16.0.9/24",
    );
    lab.nb("lsp-add a a1
            lsp-set-addresses a1 '0a:00:00:00:01:01 10.1.0.1 fd01::1'
            lsp-add b b2
            lsp-set-addresses b2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'");
    lab.nb(more);
    lab.vm(
        "h1",
        "a1",
        "0a:00:00:00:01:01 10.1.0.1/24 fd01::1/64 via 10.1.0.254 fd01::254",
    );
    lab.vm(
        "h2",
        "b2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
    lab
}

/// The wire saw a packet that has all of `parts`.
fn saw(wire: &Capture, what: &str, parts: &[&str]) {
    wire.wait_for(what, |packet| {
        parts.iter().all(|part| packet.contains(part)).then_some(())
    });
}

pub fn hosts_have_addresses_of_their_own(impls: Impls) {
    let lab = bed(impls, "lrp-set-gateway-chassis r-ext h2");
    let wire = lab.capture("h1", "eth2", "vlan and (icmp or icmp6)");
    lab.reaches_with_ttl("a1", "10.2.0.2", 63);
    saw(
        &wire,
        "the request of h1 in VLAN 20",
        &[
            "0e:00:00:00:cc:01 > 0a:00:00:00:02:02",
            "vlan 20",
            "10.1.0.1 > 10.2.0.2",
        ],
    );
    saw(
        &wire,
        "the reply of h2 in VLAN 10",
        &[
            "0e:00:00:00:cc:02 > 0a:00:00:00:01:01",
            "vlan 10",
            "10.2.0.2 > 10.1.0.1",
        ],
    );
    lab.reaches_with_ttl("a1", "fd02::2", 63);
    let forged = wire
        .packets()
        .into_iter()
        .find(|packet| packet.contains("0a:00:00:00:ff:0"));
    assert_eq!(forged, None, "the router's own address from several places");
    // The VM sees its router.
    let vm = lab.capture("b2", "b2", "icmp");
    lab.reaches("a1", "10.2.0.2");
    saw(
        &vm,
        "a packet from the router",
        &["0a:00:00:00:ff:02 > 0a:00:00:00:02:02"],
    );
}

pub fn redirected_over_the_wire(impls: Impls) {
    let lab = bed(
        impls,
        "lrp-set-gateway-chassis r-ext h2
         lrp-set-options r-ext redirect-type=bridged
         lr-nat-add r snat 172.16.0.100 10.1.0.0/24
         lr-nat-add r dnat_and_snat 172.16.0.101 10.1.0.1",
    );
    let tunnel = lab.capture("h1", "eth1", "udp port 6081");
    let wire = lab.capture("h1", "eth2", "icmp");
    // Routed once on each host.
    lab.reaches("a1", "172.16.0.9");
    saw(
        &wire,
        "the request on its way to the gateway",
        &[
            "0e:00:00:00:cc:01 > 0a:00:00:00:ff:03",
            "10.1.0.1 > 172.16.0.9",
        ],
    );
    let tunnelled = tunnel
        .packets()
        .into_iter()
        .find(|packet| packet.contains("> 172.16.0.9"));
    assert_eq!(tunnelled, None, "through a tunnel");
    lab.reaches("out", "172.16.0.101");
}
