//! Leases and options for real clients.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// `p1` on `h1` and `p2` on `h2`, without addresses of their own.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s");
    for n in 1..=2 {
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'
             lsp-set-port-security p{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("p{n}"),
            &format!("0a:00:00:00:00:0{n}"),
        );
        // DHCPv6 clients need one; the kernel may have made it already.
        let link_local = format!("fe80::800:ff:fe00:{n}/64 dev p{n} nodad");
        let vm = format!("p{n}");
        lab.vm_run(&vm, &format!("ip addr replace {link_local}"))
            .ok();
        wait_for(CONVERGE, "the link-local address", || {
            let tentative = lab.vm_run(&vm, "ip -6 addr show tentative").result()?;
            ensure(tentative.is_empty(), tentative)
        });
    }
    lab
}

/// Makes a row of options that the ports refer to; its UUID.
fn options(lab: &Lab, cidr: &str, version: u8, ports: &[&str], options: &str) -> String {
    lab.nb(&format!("dhcp-options-create {cidr}"));
    let found = format!("--bare --columns=_uuid find dhcp_options cidr='\"{cidr}\"'");
    let uuid = lab.nb(&found).trim().to_owned();
    lab.nb(&format!("dhcp-options-set-options {uuid} {options}"));
    for port in ports {
        lab.nb(&format!("lsp-set-dhcpv{version}-options {port} {uuid}"));
    }
    uuid
}

const V4: &str = "server_id=10.0.0.254 server_mac=0a:00:00:00:ff:01";

pub fn leases_are_given_and_renewed(impls: Impls) {
    let lab = network(impls);
    // Clients renew by unicast: somebody must have the server's address.
    lab.nb("lr-add r
         lrp-add r r-s 0a:00:00:00:ff:01 10.0.0.254/24
         lsp-add s s-r
         lsp-set-type s-r router
         lsp-set-options s-r router-port=r-s
         lsp-set-addresses s-r router");
    let four = options(
        &lab,
        "10.0.0.0/24",
        4,
        &["p1", "p2"],
        &format!(
            "{V4} lease_time=60 T1=2 T2=50 router=10.0.0.254 dns_server='{{10.0.0.53, 10.0.0.54}}' mtu=1400 domain_name='\"example.org\"' \
                  classless_static_route='{{10.9.0.0/16,10.0.0.9}}'"
        ),
    );
    lab.nb("set logical_switch_port p2 options:hostname='\"\\\"vm2\\\"\"'");
    // Answers come through all the same.
    lab.nb("acl-add s to-lport 1000 'udp' drop\n acl-add s to-lport 1001 'icmp4' allow-related");
    lab.ready();
    let one = lab.dhclient("p1", "-4");
    let two = lab.dhclient("p2", "-4");
    one.knows(&[
        "BOUND",
        "ip=10.0.0.1",
        "mask=255.255.255.0",
        "routers=10.0.0.254",
        "dns=10.0.0.53 10.0.0.54",
        "domain=example.org",
        "mtu=1400",
        "lease=60",
        "routes=16 10 9 10 0 0 9",
        "server=10.0.0.254",
    ]);
    two.knows(&["BOUND", "ip=10.0.0.2", "host=vm2"]);
    lab.reaches("p1", "10.0.0.2");
    one.next("RENEW ip=10.0.0.1");
    // The answer is in the flows, and those of a dead controller are its successor's.
    lab.stop("h1", "ovn-controller", Signal::KILL);
    lab.start_controller("h1");
    one.next("RENEW ip=10.0.0.1");
    lab.nb(&format!(
        "dhcp-options-set-options {four} {V4} lease_time=60 T1=2 T2=50 router=10.0.0.253"
    ));
    one.next("routers=10.0.0.253");
    two.next("routers=10.0.0.253");
    lab.reaches("p1", "10.0.0.2");
}

pub fn who_is_not_served_gets_nothing(impls: Impls) {
    let lab = network(impls);
    options(
        &lab,
        "10.1.0.0/24",
        4,
        &["p1"],
        &format!("{V4} lease_time=60"),
    );
    lab.ready();
    // Questions that nobody here answers go to whoever else might.
    let heard = lab.capture("p2", "p2", "udp port 67");
    let (client, done) = lab.dhclient_tries("p1", "-4", 4);
    assert!(!done.success, "{:?}", client.events());
    assert!(
        heard
            .packets()
            .iter()
            .any(|packet| packet.contains("BOOTP/DHCP, Request")),
        "{:?}",
        heard.packets()
    );
}

pub fn addresses_and_options_of_version_6(impls: Impls) {
    let lab = network(impls);
    let six = "server_id=0a:00:00:00:ff:02 dns_server=fd00::53";
    let uuid = options(&lab, "fd00::/64", 6, &["p1", "p2"], six);
    lab.nb("acl-add s to-lport 1000 'udp' drop");
    lab.ready();
    let one = lab.dhclient("p1", "-6");
    let two = lab.dhclient("p2", "-6");
    one.knows(&["BOUND6", "ip6=fd00::1", "dns6=fd00::53"]);
    two.knows(&["BOUND6", "ip6=fd00::2"]);
    lab.reaches("p1", "fd00::2");
    let stateless = format!("{six} dhcpv6_stateless=true");
    lab.nb(&format!(
        "--wait=hv dhcp-options-set-options {uuid} {stateless}"
    ));
    lab.vm_run("p1", "ip addr del fd00::1/64 dev p1").ok();
    let informed = lab.dhclient("p1", "-6 -S");
    informed.knows(&["RENEW6", "ip6=", "dns6=fd00::53"]);
}

pub fn only_the_owner_answers_for_a_host_outside(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.outside(&["h1", "h2"], "phys", "out", "0a:00:00:00:00:07");
    lab.nb("ls-add s
         lsp-add s net
         lsp-set-type net localnet
         lsp-set-options net network_name=phys
         lsp-set-addresses net unknown
         lsp-add s out
         lsp-set-type out external
         lsp-set-addresses out '0a:00:00:00:00:07 10.0.0.7'
         lsp-add s p1
         lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'
         lsp-add s p2
         lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2'
         ha-chassis-group-add g
         ha-chassis-group-add-chassis g h1 20
         ha-chassis-group-add-chassis g h2 10");
    let group = lab.nb("--bare --columns=_uuid list ha_chassis_group");
    lab.nb(&format!(
        "set logical_switch_port out ha_chassis_group={}",
        group.trim()
    ));
    options(
        &lab,
        "10.0.0.0/24",
        4,
        &["out"],
        &format!("{V4} lease_time=600"),
    );
    for n in 1..=2 {
        let config = format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24");
        lab.vm(&format!("h{n}"), &format!("p{n}"), &config);
    }
    lab.ready();
    // Before its tunnels are watched the other host cannot know that it is not the one.
    wait_for(CONVERGE, "the second host to stand back", || {
        let flows = lab.flows("h2", "table=28");
        ensure(!flows.contains("userdata"), flows)
    });
    let heard = lab.capture("out", "out", "udp port 68 and src host 10.0.0.254");
    let client = lab.dhclient("out", "-4");
    client.knows(&["BOUND", "ip=10.0.0.7"]);
    lab.reaches("out", "10.0.0.1");
    let answers = heard.packets();
    for kind in ["Offer", "ACK"] {
        let these = answers.iter().filter(|packet| packet.contains(kind));
        assert_eq!(these.count(), 1, "{kind}: {answers:#?}");
    }
}

/// A server behind a router, which passes on what its clients send to everybody.
pub fn a_router_passes_questions_on(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add s{n}
             lrp-add r r-s{n} 0a:00:00:00:ff:0{n} 10.{n}.0.254/24
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r-s{n}
             lsp-set-addresses s{n}-r router
             lsp-add s{n} p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.{n}.0.{n}'"
        ));
    }
    lab.nb("--id=@relay create dhcp_relay name=relay servers=10.2.0.2 -- set logical_router_port r-s1 dhcp_relay=@relay");
    // Of its addresses another comes first.
    lab.nb("add logical_router_port r-s1 networks '\"10.0.9.254/24\"'
         set logical_router_port r-s1 options:dhcpv4_primary_ip=10.1.0.254");
    // The router alone hears the questions.
    lab.nb("set logical_switch s1 other_config:dhcp_relay_port=s1-r\n lsp-add s1 p3\n lsp-set-addresses p3 '0a:00:00:00:00:03 10.1.0.3'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01");
    lab.vm("h1", "p3", "0a:00:00:00:00:03");
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.2.0.2/24 via 10.2.0.254");
    lab.ready();
    lab.dhcpd(
        "p2",
        "default-lease-time 60; max-lease-time 60; authoritative;
         subnet 10.2.0.0 netmask 255.255.255.0 { }
         subnet 10.1.0.0 netmask 255.255.255.0 {
             range 10.1.0.1 10.1.0.1;
             option routers 10.1.0.254;
             option dhcp-renewal-time 2;
         }",
    );
    let heard = lab.capture("p3", "p3", "udp port 67");
    let client = lab.dhclient("p1", "-4");
    assert_eq!(heard.packets(), [""; 0]);
    client.knows(&[
        "BOUND",
        "ip=10.1.0.1",
        "server=10.2.0.2",
        "routers=10.1.0.254",
    ]);
    lab.reaches_with_ttl("p1", "10.2.0.2", 63);
    client.next("RENEW ip=10.1.0.1");
}
