//! What becomes of ports while they live: other parents, other keys, nobody who compiles.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Waits until the port is bound to a host, or to none.
fn bound_to(lab: &Lab, port: &str, host: &str) {
    wait_for(CONVERGE, &format!("{port} on {host:?}"), || {
        let row = lab.sb_get("port_binding", "chassis", &format!("logical_port={port}"));
        let seen = match row.is_empty() {
            true => row,
            false => lab.sb(&format!("get chassis {row} name")),
        };
        ensure(seen.trim_matches('"') == host, seen)
    });
}

fn is_up(lab: &Lab, port: &str, up: &str) {
    wait_for(CONVERGE, &format!("{port} {up}"), || {
        let seen = lab.nbctl(&format!("lsp-get-up {port}")).result()?;
        ensure(seen == up, seen)
    });
}

/// A container moves between guests of one host and to a guest of another, its tag changes, its guest goes and returns.
pub fn containers_change_their_parents(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s c guest1 42
            lsp-set-addresses c '0a:00:00:00:00:11 10.0.0.11'
            lsp-add s far
            lsp-set-addresses far '0a:00:00:00:00:02 10.0.0.2'");
    for (n, host) in [(1, "h1"), (2, "h1"), (3, "h2")] {
        lab.nb(&format!(
            "lsp-add s guest{n}
             lsp-set-addresses guest{n} '0a:00:00:00:01:0{n} 10.0.1.{n}'"
        ));
        lab.inner_bridge(host, &format!("br-in{n}"), &format!("guest{n}"));
    }
    lab.vm("h2", "far", "0a:00:00:00:00:02 10.0.0.2/24");
    let container = |n: u8, name: &str, tag: u16| {
        let host = if n == 3 { "h2" } else { "h1" };
        let config = "0a:00:00:00:00:11 10.0.0.11/24";
        lab.machine(host, &format!("br-in{n}"), name, tag, config);
    };
    container(1, "c1", 42);
    lab.ready();
    bound_to(&lab, "c", "h1");
    lab.reaches("far", "10.0.0.11");

    // On the same host.
    lab.unplug("c1");
    container(2, "c2", 42);
    lab.nb("set logical_switch_port c parent_name=guest2");
    lab.reaches("far", "10.0.0.11");
    bound_to(&lab, "c", "h1");

    // On another.
    lab.unplug("c2");
    container(3, "c3", 42);
    lab.nb("set logical_switch_port c parent_name=guest3");
    bound_to(&lab, "c", "h2");
    lab.reaches("far", "10.0.0.11");
    is_up(&lab, "c", "up");

    // And back, under another tag.
    lab.unplug("c3");
    container(1, "c4", 77);
    lab.nb("set logical_switch_port c parent_name=guest1 tag_request=77");
    bound_to(&lab, "c", "h1");
    lab.reaches("far", "10.0.0.11");
    lab.reaches("c4", "10.0.0.2");
    lab.vs("h1", "set port c4 tag=42");
    lab.loses("c4", "10.0.0.2");
    lab.nb("set logical_switch_port c tag_request=42");
    lab.reaches("c4", "10.0.0.2");

    // Its guest goes, and returns.
    lab.vs("h1", "clear interface guest1 external-ids");
    bound_to(&lab, "c", "");
    bound_to(&lab, "guest1", "");
    is_up(&lab, "c", "down");
    lab.loses("c4", "10.0.0.2");
    lab.vs("h1", "set interface guest1 external-ids:iface-id=guest1");
    bound_to(&lab, "c", "h1");
    is_up(&lab, "c", "up");
    lab.reaches("far", "10.0.0.11");
}

/// The keys of a port and of its switch change while packets go to and fro.
pub fn keys_change_under_traffic(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24");
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    let ping = lab.ping_across("p1", "10.0.0.2", "0.02");
    let key = |table: &str, condition: &str, wanted: &str| {
        wait_for(
            CONVERGE,
            &format!("{table} {condition} with key {wanted}"),
            || {
                let seen = lab.sb_get(table, "tunnel_key", condition);
                ensure(seen == wanted, seen)
            },
        );
        lab.nb("--timeout=30 --wait=hv sync");
        lab.reaches("p2", "10.0.0.1");
        lab.reaches("p1", "10.0.0.2");
    };
    for number in ["100", "200"] {
        lab.nb(&format!(
            "set logical_switch_port p2 options:requested-tnl-key={number}"
        ));
        key("port_binding", "logical_port=p2", number);
    }
    // The two change places.
    lab.nb("set logical_switch_port p1 options:requested-tnl-key=201");
    key("port_binding", "logical_port=p1", "201");
    lab.nb("set logical_switch_port p2 options:requested-tnl-key=202
            set logical_switch_port p1 options:requested-tnl-key=200");
    key("port_binding", "logical_port=p1", "200");
    lab.nb("set logical_switch s other_config:requested-tnl-key=4000");
    key("datapath_binding", "external_ids:name=s", "4000");
    let ping = ping.stop();
    assert!(
        ping.received > ping.sent / 2 && ping.duplicates == 0,
        "{} of {} lost:\n{}",
        ping.lost(),
        ping.sent,
        ping.gaps()
    );
}

/// Nobody compiles: a port that is plugged works all the same, and whoever waits for it at the host is told; the northbound
/// learns of it when there is somebody again.
pub fn ports_come_up_without_northd(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24");
    lab.ready();
    lab.stop("h1", "northd", Signal::KILL);
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24");
    wait_for(CONVERGE, "the host to be told", || {
        let seen = lab.vs(
            "h2",
            "--if-exists get interface p2 external-ids:ovn-installed",
        );
        ensure(seen.trim().trim_matches('"') == "true", seen)
    });
    wait_for(CONVERGE, "the southbound to be told", || {
        let seen = lab.sb_get("port_binding", "up", "logical_port=p2");
        ensure(seen == "true", seen)
    });
    lab.reaches("p2", "10.0.0.1");
    is_up(&lab, "p2", "down");
    lab.start_northd();
    is_up(&lab, "p2", "up");
    lab.reaches("p1", "10.0.0.2");
}
