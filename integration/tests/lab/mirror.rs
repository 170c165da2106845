//! Mirrors: what a port sends and gets is seen elsewhere too.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Two VMs and an analyser on two hosts: `p1` on the first, `p2` and `spy` on the second.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s");
    for (n, name, host) in [(1, "p1", "h1"), (2, "p2", "h2"), (3, "spy", "h2")] {
        lab.nb(&format!(
            "lsp-add s {name}
             lsp-set-addresses {name} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        let config = format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64");
        lab.vm(host, name, &config);
    }
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab
}

/// Pings p2 from p1 while `place`:`device` is watched; tells whether requests and replies were seen there.
fn seen(lab: &Lab, place: &str, device: &str, filter: &str) -> (bool, bool) {
    let capture = lab.capture(place, device, filter);
    lab.ping("p1", "10.0.0.2", 3, "");
    // What has been answered has been copied; the last copy may still be on its way through tcpdump.
    lab.ping("p1", "10.0.0.2", 2, "");
    let packets = capture.packets();
    let any = |what: &str| {
        packets
            .iter()
            .any(|packet| packet.contains(what) && packet.contains("10.0.0.2"))
    };
    (any("echo request"), any("echo reply"))
}

/// Waits for [`seen`] to become what is wanted.
fn becomes(lab: &Lab, place: (&str, &str, &str), wanted: (bool, bool)) {
    wait_for(
        CONVERGE,
        &format!("requests and replies at {}: {wanted:?}", place.0),
        || {
            let seen = seen(lab, place.0, place.1, place.2);
            ensure(seen == wanted, format!("{seen:?}"))
        },
    );
}

/// GRE to a machine outside: here the other host's underlay address.
pub fn gre_carries_copies_away(impls: Impls) {
    let lab = network(impls);
    lab.nb("mirror-add up gre 5 from-lport 192.168.50.77
         mirror-add down gre 6 to-lport 192.168.50.77
         lsp-attach-mirror p1 up");
    // Nobody there: a neighbour entry makes the tunnel send all the same.
    let dir = lab.host_dir("h1");
    lab.run(
        "h1",
        &format!(
            "ovs-appctl -t {}/vswitchd.ctl tnl/neigh/set br-phys 192.168.50.77 0a:00:00:00:77:77",
            dir.display()
        ),
    )
    .ok();
    lab.ready();
    let place = ("h1", "eth1", "ip proto 47");
    becomes(&lab, place, (true, false));
    let keys = lab.vs("h1", "--bare get interface ovn-up options:key");
    assert_eq!(keys.trim_matches('"'), "5");
    lab.nb("lsp-attach-mirror p1 down");
    becomes(&lab, place, (true, true));
    lab.nb("lsp-detach-mirror p1 up");
    becomes(&lab, place, (false, true));
    // The mirror that nobody is attached to is gone with its tunnel, the other goes with its row.
    lab.nb("mirror-del down");
    wait_for(CONVERGE, "no mirror left", || {
        let mirrors = lab.vs("h1", "--bare --columns=name list mirror");
        let ports = lab.vs("h1", "list-ports br-int");
        ensure(
            mirrors.is_empty() && !ports.contains("ovn-up") && !ports.contains("ovn-down"),
            format!("{mirrors}\n{ports}"),
        )
    });
    becomes(&lab, place, (false, false));
    assert_eq!(lab.vs("h2", "--bare --columns=name list mirror"), "");
}

/// ERSPAN as rows: the userspace datapath's tunnel of that type needs what not every machine has.
pub fn erspan_is_set_up(impls: Impls) {
    let lab = network(impls);
    lab.nb("mirror-add m erspan 7 from-lport 192.168.50.77\n lsp-attach-mirror p1 m");
    wait_for(CONVERGE, "an ERSPAN tunnel", || {
        let row = lab.vs(
            "h1",
            "--bare --columns=type,options find interface name=ovn-m",
        );
        let wanted = [
            "erspan",
            "erspan_idx=7",
            "erspan_ver=1",
            "key=7",
            "remote_ip=192.168.50.77",
        ];
        ensure(wanted.iter().all(|w| row.contains(w)), row)
    });
    // It follows its row.
    // Stock ovn-nbctl of 23.03 does not find mirrors by name here.
    let row = lab.nb("--bare --no-headings --columns=_uuid find mirror name=m");
    lab.nb(&format!("set mirror {row} index=9 sink=192.168.50.78"));
    wait_for(CONVERGE, "the new session", || {
        let row = lab.vs("h1", "--bare --columns=options find interface name=ovn-m");
        ensure(
            row.contains("erspan_idx=9") && row.contains("192.168.50.78"),
            row,
        )
    });
}

/// A controller that comes back keeps what is there.
pub fn mirrors_survive_the_controller(impls: Impls) {
    let lab = network(impls);
    lab.nb("mirror-add m gre 7 from-lport 192.168.50.77\n lsp-attach-mirror p1 m");
    let rows = || {
        lab.vs(
            "h1",
            "--bare --columns=_uuid,output_port,select_src_port list mirror",
        )
    };
    let before = wait_for(CONVERGE, "a mirror", || {
        let rows = rows();
        ensure(!rows.is_empty(), "none").map(|()| rows)
    });
    lab.stop("h1", "ovn-controller", Signal::KILL);
    lab.start_controller("h1");
    lab.ready();
    assert_eq!(rows(), before);
}

/// A port of Open vSwitch that is marked for it takes the copies.
pub fn local_mirrors(impls: Impls) {
    let lab = network(impls);
    lab.nb("mirror-add m local both tap
         lsp-attach-mirror p1 m");
    lab.ready();
    wait_for(CONVERGE, "a diagnostic about the sink", || {
        let list = lab.controller_appctl("h1", "diagnostics").result()?;
        ensure(
            list.contains("Mirror m") && list.contains("mirror-id=tap"),
            list,
        )
    });
    lab.vs(
        "h1",
        "add-port br-int tap1\n set interface tap1 type=internal external-ids:mirror-id=tap",
    );
    lab.run("h1", "ip link set tap1 up").ok();
    becomes(&lab, ("h1", "tap1", "icmp"), (true, true));
    lab.nb("set mirror m filter=to-lport");
    becomes(&lab, ("h1", "tap1", "icmp"), (false, true));
    lab.nb("clear logical_switch_port p1 mirror_rules");
    becomes(&lab, ("h1", "tap1", "icmp"), (false, false));
}

/// Another logical port takes the copies, on another host too, and rules choose among the packets.
pub fn logical_mirrors(impls: Impls) {
    let lab = network(impls);
    lab.nb("ls-add t\n lsp-add t far\n lsp-set-addresses far unknown");
    lab.vm("h2", "far", "0a:00:00:00:00:09 10.9.0.1/24");
    lab.nb("mirror-add m lport both far
         lsp-attach-mirror p1 m");
    lab.ready();
    // p1 is on the other host: copies go through a tunnel.
    becomes(&lab, ("far", "far", "icmp"), (true, true));
    lab.nb("set mirror m filter=from-lport");
    becomes(&lab, ("far", "far", "icmp"), (true, false));
    // p2 is on the same host as the sink.
    lab.nb("lsp-detach-mirror p1 m\n lsp-attach-mirror p2 m");
    becomes(&lab, ("far", "far", "icmp"), (false, true));
    lab.nb("mirror-rule-add m 100 icmp4 skip");
    let listed = lab.nb("mirror-list");
    assert!(
        listed.contains("Rules    :\n      100 (icmp4) skip"),
        "{listed}"
    );
    becomes(&lab, ("far", "far", "icmp"), (false, false));
    lab.nb("mirror-rule-del m");
    // To where the packets came from: copies of what p2 gets go back to the sender's host.
    lab.nb(
        "lsp-add t near\n lsp-set-addresses near unknown\n set mirror m sink=near filter=to-lport",
    );
    lab.vm("h1", "near", "0a:00:00:00:00:0a 10.9.0.2/24");
    becomes(&lab, ("near", "near", "icmp"), (true, false));
    lab.reaches("p1", "10.0.0.2");
    lab.nb("clear logical_switch_port p2 mirror_rules");
    becomes(&lab, ("near", "near", "icmp"), (false, false));
    assert_eq!(
        lab.sb_get("Port_Binding", "logical_port", "type=mirror"),
        ""
    );
}

/// Mirrors that lead nowhere: the diagnostics name them, the others copy.
pub fn mirrors_to_nowhere(impls: Impls) {
    let lab = network(impls);
    lab.nb(
        "create mirror name=lost type=gre filter=from-lport sink=nowhere index=1
         create mirror name=gone type=lport filter=both sink=nobody index=1
         create mirror name=odd type=gre filter=from-lport sink=1.2.3.4 index=-1
         create mirror name=good type=gre filter=from-lport sink=192.168.50.77 index=1
         lsp-attach-mirror p1 lost",
    );
    for name in ["gone", "odd", "good"] {
        lab.nb(&format!("lsp-attach-mirror p1 {name}"));
    }
    lab.ready();
    let list = lab.northd_appctl("diagnostics").ok();
    for words in [
        ["Mirror lost", "sink", "nowhere"],
        ["Mirror gone", "sink", "nobody"],
        ["Mirror odd", "index", "-1"],
    ] {
        let told = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(list.lines().any(told), "{words:?} in\n{list}");
    }
    wait_for(CONVERGE, "the mirror that is right, alone", || {
        let mirrors = lab.vs("h1", "--bare --columns=name list mirror");
        ensure(mirrors == "good", mirrors)
    });
    lab.reaches("p1", "10.0.0.2");
}
