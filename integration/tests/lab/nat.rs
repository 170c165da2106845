//! Address translation, with a machine outside behind a bridge mapping.

use weft_integration::lab::CONVERGE;
use weft_integration::socket::Talk;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// VMs `a1` on h1 and `a2` on h2, an outside network 172.16.0.0/24 (fd16::/64) mapped on `gateways`, `out` on it, on the
/// router 172.16.0.1; `more` is what the router is on top.
pub fn lab(impls: Impls, hosts: usize, gateways: &[&str], more: &str) -> Lab {
    let lab = Lab::new(impls, hosts);
    lab.nb(&format!(
        "ls-add in
         ls-add ext
         lsp-add ext ln
         lsp-set-type ln localnet
         lsp-set-addresses ln unknown
         lsp-set-options ln network_name=physnet
         lr-add r
         lrp-add r r-in 0a:00:00:00:ff:01 10.0.0.254/24 fd00::254/64
         lrp-add r r-ext 0a:00:00:00:ff:02 172.16.0.1/24 fd16::1/64
         lsp-add in in-r
         lsp-set-type in-r router
         lsp-set-options in-r router-port=r-in
         lsp-set-addresses in-r router
         lsp-add ext ext-r
         lsp-set-type ext-r router
         lsp-set-options ext-r router-port=r-ext nat-addresses=router
         lsp-set-addresses ext-r router
         {more}"
    ));
    for n in 1..=2 {
        lab.nb(&format!(
            "lsp-add in a{n}
             lsp-set-addresses a{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("a{n}"),
            &format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64 via 10.0.0.254 fd00::254"),
        );
    }
    // No way back to 10.0.0.0/24: only what is translated gets answers.
    let out = "0a:00:00:00:01:09 172.16.0.9/24 fd16::9/64";
    match gateways {
        // Devices of Open vSwitch leave no checksum to hardware, unlike pairs of devices: TCP gets through.
        [only] => {
            lab.mapped_bridge(only, "br-ext", "physnet");
            lab.machine(only, "br-ext", "out", 0, out);
        }
        _ => lab.outside(gateways, "physnet", "out", out),
    }
    lab.ready();
    lab
}

const RULES: &str = "lr-nat-add r snat 172.16.0.100 10.0.0.0/24
    lr-nat-add r dnat_and_snat 172.16.0.102 10.0.0.2
    lr-nat-add r snat fd16::100 fd00::/64
    lr-nat-add r dnat_and_snat fd16::102 fd00::2";

/// Both ways, seen on the wire under the outer addresses.
fn translated(lab: &Lab) {
    let wire = lab.capture("out", "out", "icmp or icmp6");
    lab.reaches_with_ttl("a1", "172.16.0.9", 63);
    wire.wait_for("the source translated", |packet| {
        packet
            .contains("172.16.0.100 > 172.16.0.9: ICMP echo request")
            .then_some(())
    });
    lab.reaches_with_ttl("a2", "172.16.0.9", 63);
    wire.wait_for("the floating address as source", |packet| {
        packet
            .contains("172.16.0.102 > 172.16.0.9: ICMP echo request")
            .then_some(())
    });
    lab.reaches_with_ttl("out", "172.16.0.102", 63);
    lab.reaches_with_ttl("a1", "fd16::9", 63);
    wire.wait_for("the source translated", |packet| {
        packet.contains("fd16::100 > fd16::9: ").then_some(())
    });
    lab.reaches_with_ttl("out", "fd16::102", 63);
    let inner = wire
        .packets()
        .into_iter()
        .find(|packet| packet.contains(" 10.0.0.") || packet.contains(" fd00::"));
    assert_eq!(inner, None, "an inner address outside");
    // By the outer address from inside: there and back through the router.
    lab.reaches("a1", "172.16.0.102");
    lab.reaches("a2", "172.16.0.102");
}

pub fn a_gateway_router_translates(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!("set logical_router r options:chassis=h2\n{RULES}"),
    );
    translated(&lab);
}

pub fn a_gateway_port_translates(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!("lrp-set-gateway-chassis r-ext h2 20\n{RULES}"),
    );
    translated(&lab);
}

/// An inner port that has an address outside is its own gateway: nothing of it passes the gateway's host.
pub fn a_floating_address_stays_on_its_host(impls: Impls) {
    let lab = lab(
        impls,
        3,
        &["h1", "h2", "h3"],
        &format!(
            "lrp-set-gateway-chassis r-ext h3 20
             {RULES}"
        ),
    );
    lab.nb("lr-nat-add r dnat_and_snat 172.16.0.101 10.0.0.1 a1 0a:00:00:00:05:01");
    lab.ready();
    let wire = lab.capture("out", "out", "icmp or arp");
    let by_gateway = lab.capture("h3", "eth2", "icmp");
    lab.reaches_with_ttl("out", "172.16.0.101", 63);
    lab.reaches_with_ttl("a1", "172.16.0.9", 63);
    wire.wait_for("the Ethernet address of the port itself", |packet| {
        packet
            .contains("172.16.0.101 is-at 0a:00:00:00:05:01")
            .then_some(())
    });
    assert_eq!(
        by_gateway.packets(),
        Vec::<String>::new(),
        "through the gateway"
    );
    // The other one is central.
    lab.reaches_with_ttl("a2", "172.16.0.9", 63);
    lab.reaches("a1", "172.16.0.102");
    lab.reaches("a2", "172.16.0.101");
}

/// Rules that cannot be used, a gateway that does not exist, another router with the same Ethernet address.
pub fn bad_rules(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!(
            "lrp-set-gateway-chassis r-ext h2 20
             lrp-set-gateway-chassis r-ext nobody 30
             {RULES}"
        ),
    );
    for rule in [
        "type=dnat external_ip=172.16.0.105 logical_ip=10.0.0.1",
        "type=dnat external_ip=172.16.0.105 logical_ip=10.0.0.2",
        "type=snat external_ip=172.16.0.300 logical_ip=10.0.0.0/24",
        "type=dnat_and_snat external_ip=172.16.0.104 logical_ip=fe",
    ] {
        lab.nb(&format!(
            "-- --id=@n create nat {rule} -- add logical_router r nat @n"
        ));
    }
    translated(&lab);
}

/// With source and destination translation in zones of their own at the gateway port.
pub fn zones_apart(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!(
            "lrp-set-gateway-chassis r-ext h2 20
             set nb_global . options:use_common_zone=false
             {RULES}"
        ),
    );
    translated(&lab);
    assert!(!lab.sb("lflow-list r").contains("czone"));
}

/// Streams and datagrams, outwards, to floating addresses, and round through the router.
fn talks(lab: &Lab) {
    let _servers = ["out", "a1", "a2"].map(|vm| (lab.tcp_echo(vm, 7000), lab.udp_echo(vm, 7000)));
    for (vm, to) in [
        ("a1", "172.16.0.9:7000"),
        ("a2", "172.16.0.9:7000"),
        ("out", "172.16.0.102:7000"),
        ("a1", "172.16.0.102:7000"),
        ("a2", "172.16.0.102:7000"),
        ("a1", "[fd16::9]:7000"),
        ("out", "[fd16::102]:7000"),
        ("a1", "[fd16::102]:7000"),
    ] {
        let mut stream = lab
            .tcp_connect(vm, to)
            .unwrap_or_else(|why| panic!("TCP of {vm} to {to}: {why:?}"));
        // Less than what a tunnel has room for.
        for _ in 0..10 {
            assert_eq!(stream.exchange(1000), Talk::Answered, "TCP of {vm} to {to}");
        }
        assert_eq!(lab.udp(vm, to), Talk::Answered, "UDP of {vm} to {to}");
    }
}

pub fn streams_through_a_gateway_router(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!("set logical_router r options:chassis=h2\n{RULES}"),
    );
    lab.reaches("a1", "172.16.0.9");
    lab.reaches("a1", "fd16::9");
    talks(&lab);
}

pub fn streams_through_a_gateway_port(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h2"],
        &format!("lrp-set-gateway-chassis r-ext h2 20\n{RULES}"),
    );
    lab.reaches("a1", "172.16.0.9");
    lab.reaches("a1", "fd16::9");
    talks(&lab);
}

/// A router beside the gateway's reaches floating addresses of a network that is nowhere, without a route of its own.
pub fn neighbours_have_routes(impls: Impls) {
    let lab = lab(
        impls,
        2,
        &["h1"],
        "lrp-set-gateway-chassis r-ext h1 20
         lr-route-add r 10.7.0.0/24 172.16.0.2
         --add-route lr-nat-add r dnat_and_snat 172.31.0.1 10.0.0.1
         lr-nat-add r dnat_and_snat 172.31.0.2 10.0.0.2
         lr-add n
         ls-add far
         lrp-add n n-ext 0a:00:00:00:fe:02 172.16.0.2/24
         lsp-add ext ext-n
         lsp-set-type ext-n router
         lsp-set-options ext-n router-port=n-ext
         lsp-set-addresses ext-n router
         lrp-add n n-far 0a:00:00:00:fe:01 10.7.0.254/24
         lsp-add far far-n
         lsp-set-type far-n router
         lsp-set-options far-n router-port=n-far
         lsp-set-addresses far-n router
         lsp-add far f
         lsp-set-addresses f '0a:00:00:00:07:01 10.7.0.1'",
    );
    lab.vm("h1", "f", "0a:00:00:00:07:01 10.7.0.1/24 via 10.7.0.254");
    lab.ready();
    lab.reaches("f", "172.31.0.1");
    lab.never_reaches("f", "172.31.0.2");
    // The same of virtual addresses.
    lab.nb("lb-add lb 172.31.0.9:80 10.0.0.1:7000 tcp
            set load_balancer lb options:add_route=true options:neighbor_responder=all
            lr-lb-add r lb");
    lab.ready();
    let _server = lab.tcp_echo("a1", 7000);
    wait_for(CONVERGE, "the virtual address", || {
        let talk = lab
            .tcp_connect("f", "172.31.0.9:80")
            .map(|mut stream| stream.exchange(500));
        ensure(matches!(talk, Ok(Talk::Answered)), format!("{talk:?}"))
    });
}
