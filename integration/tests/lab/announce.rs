//! What hosts say unasked on physical networks of the ports that have come to them.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

/// Two hosts on one physical network, and the switch `s` on it.
fn bed(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s ln
            lsp-set-type ln localnet
            lsp-set-addresses ln unknown
            lsp-set-options ln network_name=physnet
            lsp-add s four
            lsp-set-addresses four '0a:00:00:00:00:04 10.0.0.4 10.0.0.44 fd00::4'
            lsp-add s six
            lsp-set-addresses six '0a:00:00:00:00:06 fd00::6'
            lsp-add s none
            lsp-set-addresses none 0a:00:00:00:00:09");
    lab.outside(
        &["h1", "h2"],
        "physnet",
        "out",
        "0a:00:00:00:01:09 10.0.0.109/24",
    );
    lab.ready();
    lab
}

pub fn ports_are_announced(impls: Impls) {
    let lab = bed(impls);
    let wire = lab.capture("out", "out", "arp or rarp");
    // Machines that say nothing themselves.
    let machine = |host: &str, name: &str, mac: &str| {
        lab.vm(host, name, &format!("0a:00:00:00:00:{mac}"));
    };
    let said = |what: &str, parts: [&str; 2]| {
        wire.wait_for(what, |packet| {
            parts.iter().all(|part| packet.contains(part)).then_some(())
        });
    };
    machine("h1", "four", "04");
    said(
        "gratuitous ARP",
        [
            "0a:00:00:00:00:04 > ff:ff:ff:ff:ff:ff",
            "who-has 10.0.0.4 tell 10.0.0.4",
        ],
    );
    for (name, mac) in [("six", "06"), ("none", "09")] {
        machine("h1", name, mac);
        let mac = format!("0a:00:00:00:00:{mac}");
        said(
            "RARP",
            [
                &format!("{mac} > ff:ff:ff:ff:ff:ff"),
                &format!("who-is {mac} tell {mac}"),
            ],
        );
    }
    // Another host takes it over and says so.
    lab.unplug("four");
    let before = wire.packets().len();
    machine("h2", "four2", "04");
    lab.vs("h2", "set interface four2 external_ids:iface-id=four");
    wait_for(CONVERGE, "the new host to say it", || {
        let more: Vec<String> = wire.packets().into_iter().skip(before).collect();
        let said = more
            .iter()
            .any(|packet| packet.contains("who-has 10.0.0.4 tell 10.0.0.4"));
        ensure(said, format!("{more:?}"))
    });
}

/// Translated addresses of both families, by the gateway alone and by nobody once that is asked for.
pub fn routers_are_announced(impls: Impls) {
    let lab = crate::nat::lab(
        impls,
        2,
        &["h2"],
        "lrp-set-gateway-chassis r-ext h2
         lr-nat-add r dnat_and_snat 172.16.0.102 10.0.0.2
         lr-nat-add r dnat_and_snat fd16::102 fd00::2",
    );
    let wire = lab.capture("out", "out", "arp or icmp6");
    lab.nb("lr-nat-add r dnat_and_snat 172.16.0.101 10.0.0.1
            lr-nat-add r dnat_and_snat fd16::101 fd00::1");
    wire.wait_for("gratuitous ARP", |packet| {
        packet
            .contains("who-has 172.16.0.101 tell 172.16.0.101")
            .then_some(())
    });
    lab.nb("lb-add lb 172.16.0.200:80 10.0.0.1:80
            lr-lb-add r lb");
    wire.wait_for("gratuitous ARP of the virtual address", |packet| {
        packet
            .contains("who-has 172.16.0.200 tell 172.16.0.200")
            .then_some(())
    });
    // Stock northd leaves out what is not IPv4.
    let impls = lab.impls();
    if (impls.northd, impls.controller) == (Impl::Weft, Impl::Weft) {
        wire.wait_for("an unsolicited advertisement", |packet| {
            (packet.contains("neighbor advertisement") && packet.contains("tgt is fd16::101"))
                .then_some(())
        });
    }
}
