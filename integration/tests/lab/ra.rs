//! Router advertisements: asked for with `rdisc6`, taken by the kernel for addresses of its own, and unasked.

use std::time::Duration;

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

/// A machine without addresses on each of two hosts, on one switch with a router.
fn two_hosts(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lr-add r
            lrp-add r r-s 0a:00:00:00:ff:01 fd00::254/64
            lsp-add s s-r
            lsp-set-type s-r router
            lsp-set-options s-r router-port=r-s
            lsp-set-addresses s-r router");
    for n in 1..=2 {
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} fd00::800:ff:fe00:{n}'"
        ));
        let name = format!("p{n}");
        lab.vm(&format!("h{n}"), &name, &format!("0a:00:00:00:00:0{n}"));
    }
    lab.ready();
    lab
}

/// Gives the machine a link-local address; its kernel asks for routers when the device comes up.
fn link_local(lab: &Lab, vm: &str) {
    for what in ["addrgenmode eui64", "down", "up"] {
        lab.vm_run(vm, &format!("ip link set {vm} {what}")).ok();
    }
}

fn configure(lab: &Lab, configs: &str) {
    lab.nb(&format!(
        "set logical_router_port r-s ipv6_ra_configs={configs}"
    ));
    lab.nb("--wait=hv sync");
}

/// All that `rdisc6` says of the first answer, its blanks made one.
fn rdisc6(lab: &Lab, vm: &str) -> Result<String, String> {
    let said = lab
        .vm_run(vm, &format!("rdisc6 -1 -w 1000 -r 2 {vm}"))
        .result()?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn hears(lab: &Lab, vm: &str, wanted: &[&str]) {
    wait_for(CONVERGE, &format!("{wanted:?} at {vm}"), || {
        let said = rdisc6(lab, vm)?;
        ensure(wanted.iter().all(|text| said.contains(text)), said)
    });
}

pub fn solicitations_are_answered(impls: Impls) {
    let lab = two_hosts(impls);
    // One asks from its address, the other has none to ask from.
    link_local(&lab, "p1");
    configure(
        &lab,
        r#"'address_mode=slaac,mtu=1400,router_preference=HIGH,route_info="HIGH-aef1::11/48,LOW-aef2::11/96",rdnss="fd00::53",dnssl="example.org,a.b"'"#,
    );
    let all = [
        "Stateful address conf. : No",
        "Stateful other conf. : No",
        "Router preference : high",
        "Router lifetime : 65535",
        "Source link-layer address: 0A:00:00:00:FF:01",
        "MTU : 1400 bytes",
        "Prefix : fd00::/64",
        "Autonomous address conf.: Yes",
        "Recursive DNS server : fd00::53",
        "DNS search list : example.org a.b",
        "Route : aef1::/48",
        "Route preference : high",
        "Route : aef2::/96",
        "Route preference : low",
        "from fe80::800:ff:fe00:ff01",
    ];
    hears(&lab, "p1", &all);
    hears(&lab, "p2", &all);
    configure(&lab, "address_mode=dhcpv6_stateful");
    let managed = [
        "Stateful address conf. : Yes",
        "Router preference : medium",
        "Autonomous address conf.: No",
    ];
    hears(&lab, "p1", &managed);
    configure(&lab, "address_mode=dhcpv6_stateless");
    let other = [
        "Stateful address conf. : No",
        "Stateful other conf. : Yes",
        "Autonomous address conf.: Yes",
    ];
    hears(&lab, "p2", &other);
    lab.nb("clear logical_router_port r-s ipv6_ra_configs");
    lab.nb("--wait=hv sync");
    let said = rdisc6(&lab, "p1");
    assert!(said.is_err(), "{said:?}");
}

/// What the kernel makes of it: an address, a default route, an MTU.
pub fn hosts_configure_themselves(impls: Impls) {
    let lab = two_hosts(impls);
    configure(&lab, "address_mode=slaac,mtu=1380");
    for vm in ["p1", "p2"] {
        link_local(&lab, vm);
    }
    for (vm, address) in [("p1", "fd00::800:ff:fe00:1"), ("p2", "fd00::800:ff:fe00:2")] {
        wait_for(CONVERGE, &format!("{vm} to configure itself"), || {
            let addresses = lab.vm_run(vm, "ip -6 addr").result()?;
            let routes = lab.vm_run(vm, "ip -6 route").result()?;
            let mtu = format!("cat /proc/sys/net/ipv6/conf/{vm}/mtu");
            let mtu = lab.vm_run(vm, &mtu).result()?;
            ensure(
                addresses.contains(address)
                    && !addresses.contains("tentative")
                    && routes.contains("default via fe80::800:ff:fe00:ff01")
                    && mtu.trim() == "1380",
                format!("{addresses}\n{routes}\n{mtu}"),
            )
        });
    }
    lab.reaches("p1", "fd00::800:ff:fe00:2");
    lab.reaches("p2", "fd00::254");
}

/// Seconds at which a packet came.
fn seconds(packet: &str) -> f64 {
    let mut parts = packet.split([':', ' ']);
    let mut next = || {
        parts
            .next()
            .and_then(|part| part.parse::<f64>().ok())
            .unwrap()
    };
    next() * 3600.0 + next() * 60.0 + next()
}

/// Every host speaks to its own machines, and to no others.
pub fn routers_advertise_unasked(impls: Impls) {
    let lab = two_hosts(impls);
    let captures = ["p1", "p2"].map(|vm| {
        let silent = format!("sysctl -qw net.ipv6.conf.{vm}.accept_ra=0");
        lab.vm_run(vm, &silent).ok();
        lab.capture(vm, vm, "icmp6 and ip6[40]==134")
    });
    configure(
        &lab,
        "address_mode=slaac,send_periodic=true,max_interval=4,min_interval=3",
    );
    for capture in &captures {
        let packets = wait_for(CONVERGE, "three advertisements", || {
            let packets = capture.packets();
            match packets.len() {
                0..3 => Err(packets.join("\n")),
                _ => Ok(packets),
            }
        });
        for packet in &packets {
            let right = packet.contains("fe80::800:ff:fe00:ff01 > ff02::1")
                && packet.contains("prefix info option (3), length 32 (4): fd00::/64");
            assert!(right, "{packet}");
        }
        // The first may follow the one of a change before; two hosts at once would come closer.
        let pause = seconds(&packets[2]) - seconds(&packets[1]);
        assert!((2.5..5.0).contains(&pause), "{pause} s: {packets:#?}");
    }
    lab.nb("set logical_router_port r-s ipv6_ra_configs:send_periodic=false");
    lab.nb("--wait=hv sync");
    let before = captures[0].packets().len();
    // Longer than the longest interval: none may come.
    std::thread::sleep(Duration::from_millis(4500));
    assert_eq!(captures[0].packets().len(), before);
}

/// A router that is bound to one host speaks from there to the machines of all hosts, and answers them.
pub fn a_gateway_router_advertises_to_all_hosts(impls: Impls) {
    let lab = two_hosts(impls);
    lab.nb("set logical_router r options:chassis=h1");
    let captures = ["p1", "p2"].map(|vm| {
        let silent = format!("sysctl -qw net.ipv6.conf.{vm}.accept_ra=0");
        lab.vm_run(vm, &silent).ok();
        lab.capture(vm, vm, "icmp6 and ip6[40]==134 and dst ff02::1")
    });
    configure(
        &lab,
        "address_mode=slaac,send_periodic=true,max_interval=4,min_interval=3",
    );
    for capture in &captures {
        capture.wait_for("an advertisement", |packet| {
            packet
                .contains("fe80::800:ff:fe00:ff01 > ff02::1")
                .then_some(())
        });
    }
    for vm in ["p1", "p2"] {
        hears(&lab, vm, &["Prefix : fd00::/64"]);
    }
    lab.nb("lrp-del r-s");
    // Stock leaves hosts with a router that is no more.
    if lab.impls().controller == Impl::Weft {
        for capture in &captures {
            capture.wait_for("the router's farewell", |packet| {
                packet.contains("router lifetime 0s").then_some(())
            });
        }
    }
}
