//! Hosts with several addresses for tunnels.

use weft_integration::capture::Capture;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// A host's second address on the underlay.
fn second(host: &str) -> String {
    format!(
        "192.168.51.{}",
        9 + host.trim_start_matches('h').parse::<u8>().unwrap_or(0)
    )
}

/// Gives a host its second address and tells its controller of both.
fn two_addresses(lab: &Lab, host: &str) {
    let (first, second) = (lab.address(host), second(host));
    lab.run(host, &format!("ip addr add {second}/24 dev br-phys"))
        .ok();
    lab.vs(
        host,
        &format!("set open . external-ids:ovn-encap-ip=\"{first},{second}\""),
    );
    let tunnels = lab.hosts().len() as u32;
    wait_for(CONVERGE, &format!("both addresses of {host}"), || {
        let seen = lab.sb_get("encap", "ip", &format!("chassis_name={host} type=geneve"));
        let both = seen.contains(&first) && seen.contains(&second);
        ensure(both && tunnels > 1, seen)
    });
}

/// Two hosts with two addresses each and two machines each: `a1` and `b1` on the first, `a2` and `b2` on the second.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s");
    for (n, host) in [(1, "h1"), (2, "h2")] {
        two_addresses(&lab, host);
        for (m, name) in [(1, "a"), (2, "b")] {
            let (mac, ip) = (format!("0a:00:00:00:0{m}:0{n}"), format!("10.0.{m}.{n}"));
            lab.nb(&format!(
                "lsp-add s {name}{n}
                 lsp-set-addresses {name}{n} '{mac} {ip}'"
            ));
            lab.vm(host, &format!("{name}{n}"), &format!("{mac} {ip}/16"));
        }
    }
    lab.ready();
    lab
}

/// The underlay's addresses of a packet that has the text inside.
fn outer(wire: &Capture, inside: &str) -> (String, String) {
    wire.wait_for(&format!("{inside} in a tunnel"), |packet| {
        let (head, rest) = packet.split_once("Geneve")?;
        if !rest.contains(inside) {
            return None;
        }
        let (from, to) = head.rsplit_once(" > ")?;
        let address = |text: &str| -> String {
            let word = text.split_whitespace().last().unwrap_or_default();
            word.split('.').take(4).collect::<Vec<_>>().join(".")
        };
        let to = to.split_whitespace().next().unwrap_or_default();
        Some((address(from), address(to.trim_end_matches(':'))))
    })
}

/// What the southbound says by which address a port is reached; empty if it leaves that open.
fn encap_of(lab: &Lab, port: &str) -> String {
    let encap = lab.sb_get("port_binding", "encap", &format!("logical_port={port}"));
    if encap.is_empty() {
        return encap;
    }
    lab.sb(&format!("get encap {encap} ip"))
        .trim_matches('"')
        .into()
}

fn reached_by(lab: &Lab, port: &str, address: &str) {
    wait_for(
        CONVERGE,
        &format!("{port} to be reached by {address:?}"),
        || {
            let seen = encap_of(lab, port);
            ensure(seen == address, seen)
        },
    );
    lab.nb("--timeout=30 --wait=hv sync");
}

/// The default address carries what nothing is said of; `encap-ip` of an interface is where packets to it go and packets
/// from it come from.
pub fn each_interface_has_its_address(impls: Impls) {
    let lab = network(impls);
    let addresses = |host: &str| [lab.address(host), second(host)];
    let ([h1, h1_second], [h2, h2_second]) = (addresses("h1"), addresses("h2"));
    for to in ["10.0.1.2", "10.0.2.2"] {
        lab.reaches("a1", to);
        lab.reaches("b1", to);
    }
    for host in ["h1", "h2"] {
        lab.vs(
            host,
            &format!(
                "set open . external-ids:ovn-encap-ip-default={}",
                second(host)
            ),
        );
    }
    wait_for(CONVERGE, "defaults to be told", || {
        let seen = lab.sb_get("encap", "ip", "options:is_default=true type=geneve");
        ensure(seen.split_whitespace().count() == 2, seen)
    });
    lab.nb("--timeout=30 --wait=hv sync");
    lab.reaches("a1", "10.0.1.2");
    let wire = lab.capture("net", "br0", "udp port 6081");
    lab.reaches("a1", "10.0.1.2");
    let seen = outer(&wire, "10.0.1.1 > 10.0.1.2");
    assert_eq!(seen, (h1_second.clone(), h2_second.clone()));
    drop(wire);

    lab.vs(
        "h2",
        &format!("set interface b2 external-ids:encap-ip=\"{h2}\""),
    );
    reached_by(&lab, "b2", &h2);
    let wire = lab.capture("net", "br0", "udp port 6081");
    lab.reaches("a1", "10.0.2.2");
    assert_eq!(outer(&wire, "10.0.1.1 > 10.0.2.2"), (h1_second, h2.clone()));
    assert_eq!(outer(&wire, "10.0.2.2 > 10.0.1.1").0, h2);
    drop(wire);

    lab.vs(
        "h1",
        &format!("set interface a1 external-ids:encap-ip=\"{h1}\""),
    );
    reached_by(&lab, "a1", &h1);
    let wire = lab.capture("net", "br0", "udp port 6081");
    lab.reaches("a1", "10.0.2.2");
    assert_eq!(
        outer(&wire, "10.0.1.1 > 10.0.2.2"),
        (h1.clone(), h2.clone())
    );
    assert_eq!(outer(&wire, "10.0.2.2 > 10.0.1.1"), (h2, h1));
    drop(wire);

    // Nothing is said any more.
    lab.vs("h2", "remove interface b2 external-ids encap-ip");
    reached_by(&lab, "b2", "");
    let wire = lab.capture("net", "br0", "udp port 6081");
    lab.reaches("a1", "10.0.2.2");
    assert_eq!(outer(&wire, "10.0.1.1 > 10.0.2.2").1, h2_second);
}

/// Also where a choice is not understood by all: every machine is reached, whatever address its interface asks for, and when
/// an address goes.
pub fn addresses_come_and_go(impls: Impls) {
    let lab = network(impls);
    let everybody = |lab: &Lab| {
        for (from, to) in [
            ("a1", "10.0.1.2"),
            ("b1", "10.0.2.2"),
            ("a2", "10.0.2.1"),
            ("b2", "10.0.1.1"),
        ] {
            lab.reaches(from, to);
        }
    };
    everybody(&lab);
    let other = second("h2");
    lab.vs(
        "h2",
        &format!("set interface b2 external-ids:encap-ip=\"{other}\""),
    );
    reached_by(&lab, "b2", &other);
    everybody(&lab);
    lab.vs("h2", "set interface a2 external-ids:encap-ip=192.0.2.1");
    lab.nb("--timeout=30 --wait=hv sync");
    everybody(&lab);
    lab.vs(
        "h2",
        &format!("set open . external-ids:ovn-encap-ip={}", lab.address("h2")),
    );
    wait_for(CONVERGE, "the address to go", || {
        let seen = lab.sb_get("encap", "ip", "chassis_name=h2 type=geneve");
        ensure(seen == lab.address("h2"), seen)
    });
    reached_by(&lab, "b2", "");
    everybody(&lab);
}

/// Waits until a host has a tunnel to another, or has none.
fn tunnel(lab: &Lab, host: &str, to: &str, there: bool) {
    wait_for(CONVERGE, &format!("tunnel {host} -> {to}: {there}"), || {
        let seen = lab.vs(host, "--bare --columns=external_ids list port");
        ensure(seen.contains(&format!("{to}@")) == there, seen)
    });
}

/// Tunnels are made within transport zones only, and as their settings say.
pub fn tunnels_are_as_told(impls: Impls) {
    let lab = Lab::new(impls, 3);
    lab.nb("ls-add s");
    for n in 1..=3 {
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n}'"
        ));
        let config = format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24");
        lab.vm(&format!("h{n}"), &format!("p{n}"), &config);
    }
    lab.ready();
    lab.reaches("p1", "10.0.0.3");
    let zones = |host: &str, zones: &str| {
        lab.vs(
            host,
            &format!("set open . external-ids:ovn-transport-zones=\"{zones}\""),
        );
    };
    zones("h1", "a");
    zones("h2", "a,b");
    zones("h3", "b");
    tunnel(&lab, "h1", "h3", false);
    tunnel(&lab, "h3", "h1", false);
    for host in ["h1", "h3"] {
        tunnel(&lab, host, "h2", true);
    }
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p3", "10.0.0.2");
    lab.loses("p1", "10.0.0.3");
    zones("h1", "c,d");
    zones("h3", "b,d");
    tunnel(&lab, "h1", "h3", true);
    lab.reaches("p1", "10.0.0.3");
    lab.loses("p1", "10.0.0.2");

    let outer = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        wait_for(CONVERGE, what, || {
            let wire = lab.capture("net", "br0", "udp port 6081");
            lab.reaches("p1", "10.0.0.3");
            let seen = wire.wait_for("a question in a tunnel", |packet| {
                let (head, inner) = packet.split_once("Geneve")?;
                inner
                    .contains("10.0.0.1 > 10.0.0.3")
                    .then(|| head.to_owned())
            });
            ensure(wanted(&seen), seen)
        });
    };
    outer("tunnels as usual", &|head| {
        head.contains("tos 0x0") && head.contains("[DF]") && !head.contains("no cksum")
    });
    lab.vs(
        "h1",
        "set open . external-ids:ovn-encap-tos=32 external-ids:ovn-encap-df_default=false",
    );
    outer("a type of service, fragments allowed", &|head| {
        head.contains("tos 0x20") && !head.contains("[DF]")
    });
    // That is for those who send there.
    lab.vs("h3", "set open . external-ids:ovn-encap-csum=false");
    outer("no checksums", &|head| head.contains("no cksum"));
}
