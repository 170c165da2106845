//! Hosts outside that are ports of a switch (`external`): one chassis speaks for each.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

use super::vlan_routing::chassis_addresses;

/// Switch `s` on a physical network that both hosts are on, with machine `out` on it as an external port; on another switch
/// VM `v` on h1; a router between.
pub fn one_host_speaks_for_it(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            ls-add in
            lr-add r
            lsp-add s ln
            lsp-set-type ln localnet
            lsp-set-addresses ln unknown
            lsp-set-options ln network_name=physnet
            lrp-add r r-s 0a:00:00:00:ff:01 10.0.0.254/24 fd00::254/64
            lsp-add s s-r
            lsp-set-type s-r router
            lsp-set-options s-r router-port=r-s
            lsp-set-addresses s-r router
            lrp-add r r-in 0a:00:00:00:ff:02 10.1.0.254/24 fd01::254/64
            lsp-add in in-r
            lsp-set-type in-r router
            lsp-set-options in-r router-port=r-in
            lsp-set-addresses in-r router
            lsp-add in v
            lsp-set-addresses v '0a:00:00:00:02:01 10.1.0.1 fd01::1'
            ha-chassis-group-add hosts
            ha-chassis-group-add-chassis hosts h1 10
            ha-chassis-group-add-chassis hosts h2 20
            lsp-add s e
            lsp-set-type e external
            lsp-set-addresses e '0a:00:00:00:01:09 10.0.0.9 fd00::9'");
    let group = lab.nb("--bare --columns=_uuid find ha_chassis_group name=hosts");
    lab.nb(&format!(
        "set logical_switch_port e ha_chassis_group={}",
        group.trim()
    ));
    // Both route for the network.
    chassis_addresses(&lab);
    lab.outside(
        &["h1", "h2"],
        "physnet",
        "out",
        "0a:00:00:00:01:09 10.0.0.9/24 fd00::9/64 via 10.0.0.254 fd00::254",
    );
    lab.vm(
        "h1",
        "v",
        "0a:00:00:00:02:01 10.1.0.1/24 fd01::1/64 via 10.1.0.254 fd01::254",
    );
    lab.ready();
    let of = |wanted: &str| {
        wait_for(CONVERGE, &format!("the external port at {wanted}"), || {
            let chassis = lab.sb_get("port_binding", "chassis", "logical_port=e");
            let name = lab.sb(&format!("--bare --columns=name list chassis {chassis}"));
            ensure(name.trim() == wanted, format!("{name:?}"))
        });
        // All hosts know; but each sees for itself, within its own detection time, who is alive: for so long both may answer.
        lab.ready();
        if lab.impls().controller == Impl::Stock {
            // One that hears that another host took the port over may keep its own flows for ever (23.03, one run in five).
            for host in ["h1", "h2"] {
                lab.controller_appctl(host, "recompute").ok();
            }
        }
        wait_for(CONVERGE, &format!("{wanted} alone to answer"), || {
            let ping = lab.ping("out", "10.1.0.1", 3, "");
            ensure(ping.lost() == 0 && ping.duplicates == 0, ping.text)
        });
    };
    of("h2");
    lab.run("out", "ip neigh flush dev out");
    let wire = lab.capture("out", "out", "arp");
    lab.reaches("out", "10.0.0.254");
    lab.reaches_with_ttl("out", "10.1.0.1", 63);
    lab.reaches_with_ttl("out", "fd01::1", 63);
    let answers = wire
        .packets()
        .iter()
        .filter(|packet| packet.contains("10.0.0.254 is-at"))
        .count();
    let asked = wire
        .packets()
        .iter()
        .filter(|packet| packet.contains("who-has 10.0.0.254"))
        .count();
    assert!(
        answers > 0 && answers <= asked,
        "{answers} answers to {asked} questions: {:#?}",
        wire.packets()
    );
    // Only its host routes what it sends.
    let tunnel = lab.capture("h1", "eth1", "udp port 6081");
    lab.reaches("out", "10.1.0.1");
    tunnel.wait_for("the request from h2", |packet| {
        packet.contains("10.0.0.9 > 10.1.0.1").then_some(())
    });
    lab.nb("ha-chassis-group-add-chassis hosts h1 30");
    of("h1");
    lab.reaches("out", "10.1.0.1");
    lab.reaches("out", "fd01::1");
}
