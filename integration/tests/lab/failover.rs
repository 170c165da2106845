//! Gateways with stand-ins: BFD between the hosts, the gateway dies and returns.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_integration::lab::CONVERGE;
use weft_integration::socket::Talk;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::nat;
use crate::node_gateways::knows;

/// Router port with two gateways, h2 before h3, quick BFD; `out` is reached by h2 and by h3 alike.
fn lab(impls: Impls) -> Lab {
    let lab = nat::lab(
        impls,
        3,
        &["h2", "h3"],
        "set nb_global . options:bfd-min-rx=100 options:bfd-min-tx=100 options:bfd-mult=3
         lrp-set-gateway-chassis r-ext h2 20
         lrp-set-gateway-chassis r-ext h3 10
         lr-nat-add r snat 172.16.0.100 10.0.0.0/24",
    );
    is_gateway(&lab, "h2");
    lab
}

fn is_gateway(lab: &Lab, host: &str) {
    let chassis = lab.sb_get("Chassis", "_uuid", &format!("name={host}"));
    wait_for(CONVERGE, &format!("{host} to be the gateway"), || {
        let bound = lab.sb_get("Port_Binding", "chassis", "logical_port=cr-r-ext");
        ensure(
            bound == chassis,
            format!("chassis {bound}, wanted {chassis}"),
        )
    });
}

/// BFD sees the other end in every tunnel of these hosts.
fn watched(lab: &Lab, hosts: &[&str]) {
    for host in hosts {
        wait_for(CONVERGE, &format!("BFD of {host} up"), || {
            let states = lab.vs(
                host,
                "--bare --columns=bfd_status find interface type=geneve",
            );
            let states: Vec<&str> = states.lines().filter(|line| !line.is_empty()).collect();
            ensure(
                states.len() == 2
                    && states
                        .iter()
                        .all(|s| s.contains("state=up") && s.contains("remote_state=up")),
                states.join("\n"),
            )
        });
    }
}

/// What pings from `a1` to the outside lose while `event` happens and until a gateway has taken over.
fn lost(lab: &Lab, what: &str, event: impl FnOnce(), gateway: &str) -> u32 {
    lab.reaches("a1", "172.16.0.9");
    let across = lab.ping_across("a1", "172.16.0.9", "0.05");
    event();
    is_gateway(lab, gateway);
    // Every host sees for itself, within its own detection time, who is alive: for so long they may disagree.
    wait_for(CONVERGE, "three answers in a row", || {
        let ping = lab.ping("a1", "172.16.0.9", 3, "");
        ensure(ping.lost() == 0, ping.text)
    });
    let ping = across.stop();
    let lost = ping.lost();
    eprintln!(
        "{what}: {lost} of {} replies lost, {} ms",
        ping.sent,
        lost * 50
    );
    lost
}

pub fn the_gateway_host_dies_and_returns(impls: Impls) {
    let lab = lab(impls);
    watched(&lab, &["h1", "h2", "h3"]);
    // The stand-in has everything ready, others know nothing of the outside.
    for (host, behind) in [("h1", None), ("h2", Some("ext")), ("h3", Some("ext"))] {
        knows(&lab, host, &["ext"], behind.as_slice());
    }
    let dying = lost(&lab, "host dies", || lab.host_dies("h2"), "h3");
    assert!(dying > 0 && Duration::from_millis(50) * dying < Duration::from_secs(5));
    let returning = lost(&lab, "host returns", || lab.host_returns("h2"), "h2");
    assert!(Duration::from_millis(50) * returning < Duration::from_secs(5));
}

/// Whoever becomes the gateway says so on the physical network, for its own and for translated addresses.
pub fn the_new_gateway_announces_itself(impls: Impls) {
    let lab = lab(impls);
    watched(&lab, &["h1", "h2", "h3"]);
    let wire = lab.capture("h3", "eth2", "arp");
    lab.host_dies("h2");
    for ip in ["172.16.0.1", "172.16.0.100"] {
        wire.wait_for(&format!("the announcement of {ip}"), |packet| {
            (packet.contains(&format!("who-has {ip}")) && packet.contains(&format!("tell {ip}")))
                .then_some(())
        });
    }
}

pub fn the_gateways_link_fails_and_returns(impls: Impls) {
    let lab = lab(impls);
    watched(&lab, &["h1", "h2", "h3"]);
    let failing = lost(&lab, "link fails", || lab.link("h2", false), "h3");
    assert!(Duration::from_millis(50) * failing < Duration::from_secs(5));
    let returning = lost(&lab, "link returns", || lab.link("h2", true), "h2");
    assert!(Duration::from_millis(50) * returning < Duration::from_secs(5));
}

/// Streams through a gateway go on by its stand-in: it takes them up in the middle, under the same outer addresses.
pub fn streams_survive_their_gateway(impls: Impls) {
    let lab = nat::lab(
        impls,
        3,
        &["h1", "h2", "h3"],
        "set nb_global . options:bfd-min-rx=100 options:bfd-min-tx=100 options:bfd-mult=3
         lrp-set-gateway-chassis r-ext h2 20
         lrp-set-gateway-chassis r-ext h3 10
         lr-nat-add r snat 172.16.0.100 10.0.0.0/24
         lr-nat-add r dnat_and_snat 172.16.0.101 10.0.0.1
         lr-nat-add r snat fd16::100 fd00::/64
         lr-nat-add r dnat_and_snat fd16::101 fd00::1",
    );
    is_gateway(&lab, "h2");
    // Behind a bridge that leaves no checksum to hardware.
    let far = "0a:00:00:00:01:0a 172.16.0.10/24 fd16::10/64";
    lab.machine("h1", "br-ext", "far", 0, far);
    lab.nb("lsp-add in a3
            lsp-set-addresses a3 '0a:00:00:00:00:03 10.0.0.3 fd00::3'");
    let a3 = "0a:00:00:00:00:03 10.0.0.3/24 fd00::3/64 via 10.0.0.254 fd00::254";
    lab.vm("h1", "a3", a3);
    lab.ready();
    watched(&lab, &["h2", "h3"]);
    let _servers = ["far", "a1"].map(|vm| (lab.tcp_echo(vm, 7000), lab.udp_echo(vm, 7000)));
    let ways = [
        ("a3", "172.16.0.10"),
        ("a1", "172.16.0.10"),
        ("far", "172.16.0.101"),
        ("a3", "fd16::10"),
        ("a1", "fd16::10"),
        ("far", "fd16::101"),
    ];
    let mut streams = ways.map(|(vm, to)| {
        lab.reaches(vm, to);
        let to: IpAddr = to.parse().unwrap();
        let to = SocketAddr::new(to, 7000).to_string();
        let stream = lab.tcp_connect(vm, &to);
        let stream = stream.unwrap_or_else(|why| panic!("{vm} to {to}: {why:?}"));
        (vm, stream, lab.udp_connect(vm, &to))
    });
    for (vm, stream, datagrams) in &mut streams {
        assert_eq!(stream.exchange(500), Talk::Answered, "{vm} before");
        assert_eq!(datagrams.exchange(), Talk::Answered, "{vm} before, UDP");
    }
    lab.host_dies("h2");
    is_gateway(&lab, "h3");
    lab.reaches("a3", "172.16.0.10");
    lab.reaches("a3", "fd16::10");
    for (vm, stream, datagrams) in &mut streams {
        assert_eq!(stream.exchange(500), Talk::Answered, "{vm} afterwards");
        assert_eq!(datagrams.exchange(), Talk::Answered, "{vm} afterwards, UDP");
    }
}
