//! Machines that move between hosts while they run.

use rustix::process::Signal;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

/// What a virtual machine monitor sends when its machine has come: its Ethernet address, nothing else.
const RARP: &str = "ffffffffffff0a00000000018035000108000604000\
                    30a0000000001000000000a000000000100000000";

/// Sends a frame from a device of a machine.
fn send(lab: &Lab, vm: &str, frame: &str) {
    let frame: String = frame.split_whitespace().collect();
    lab.vm_run(
        vm,
        &format!(
            "python3 -c 'import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((\"{vm}\", 0)); s.send(bytes.fromhex(\"{frame}\"))'"
        ),
    )
    .ok();
}

/// The names of the chassis in a column of a port's row.
fn hosts(lab: &Lab, port: &str, column: &str) -> Vec<String> {
    let rows = lab.sb_get("port_binding", column, &format!("logical_port={port}"));
    let names = rows
        .split_whitespace()
        .map(|row| lab.sb(&format!("get chassis {row} name")));
    let mut names: Vec<String> = names.map(|name| name.trim_matches('"').into()).collect();
    names.sort();
    names
}

/// Waits until the port is at its main and its additional hosts.
fn is_at(lab: &Lab, port: &str, main: &str, more: &[&str]) {
    wait_for(CONVERGE, &format!("{port} at {main} and {more:?}"), || {
        let seen = (
            hosts(lab, port, "chassis"),
            hosts(lab, port, "additional_chassis"),
        );
        ensure(seen.0 == [main] && seen.1 == more, format!("{seen:?}"))
    });
}

/// What the southbound says of the hosts on which the port has announced itself.
fn activated(lab: &Lab, port: &str) -> String {
    let uuid = lab.sb_get("port_binding", "_uuid", &format!("logical_port={port}"));
    let option = "options:additional-chassis-activated";
    let found = lab.sb(&format!("--if-exists get port_binding {uuid} {option}"));
    found.trim().trim_matches('"').into()
}

/// Waits until so many machines answer each question to `to`.
fn answered_by(lab: &Lab, from: &str, to: &str, machines: u32) {
    wait_for(
        CONVERGE,
        &format!("{machines} answers from {to} to {from}"),
        || {
            let ping = lab.ping(from, to, 3, "");
            let all = ping.received == ping.sent;
            let more = ping.duplicates;
            // Who asks does not wait for a second answer to its last question.
            let times = machines - 1;
            let expected = times * (ping.sent - 1)..=times * ping.sent;
            ensure(all && expected.contains(&more), ping.text)
        },
    );
}

const CONFIG: &str = "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64";

/// A machine `vm` about to move from the first host to the second, one near it and one on the third host.
fn about_to_move(impls: Impls, options: &str) -> Lab {
    let lab = Lab::new(impls, 3);
    lab.nb(&format!(
        "ls-add s
         lsp-add s vm
         lsp-set-addresses vm '0a:00:00:00:00:01 10.0.0.1 fd00::1'
         lsp-set-options vm requested-chassis=h1,h2 {options}
         lsp-add s near
         lsp-set-addresses near '0a:00:00:00:00:02 10.0.0.2 fd00::2'
         lsp-add s far
         lsp-set-addresses far '0a:00:00:00:00:03 10.0.0.3 fd00::3'"
    ));
    lab.vm("h1", "near", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.vm("h3", "far", "0a:00:00:00:00:03 10.0.0.3/24 fd00::3/64");
    lab.vm_of_port("h1", "vm-1", "vm", CONFIG);
    lab.ready();
    is_at(&lab, "vm", "h1", &[]);
    answered_by(&lab, "far", "10.0.0.1", 1);
    lab.vm_of_port("h2", "vm-2", "vm", CONFIG);
    is_at(&lab, "vm", "h1", &["h2"]);
    lab.nb("--timeout=30 --wait=hv sync");
    lab
}

/// The twin is silent and deaf until it has announced itself; then both get everything; in the end only the new one is.
pub fn a_twin_waits_for_its_rarp(impls: Impls) {
    let lab = about_to_move(impls, "activation-strategy=rarp");
    if std::env::var_os("SHOW").is_some() {
        for h in ["h1", "h2", "h3"] {
            eprintln!("=== {h}\n{}", lab.flows(h, ""));
        }
        eprintln!("{}", lab.sb("list port_binding vm"));
    }
    assert_eq!(activated(&lab, "vm"), "");
    answered_by(&lab, "far", "10.0.0.1", 1);
    answered_by(&lab, "near", "fd00::1", 1);
    lab.loses("vm-2", "10.0.0.3");

    send(&lab, "vm-2", RARP);
    wait_for(CONVERGE, "the twin to be let in", || {
        let seen = activated(&lab, "vm");
        ensure(seen == "h2", seen)
    });
    for from in ["far", "near"] {
        answered_by(&lab, from, "10.0.0.1", 2);
        answered_by(&lab, from, "fd00::1", 2);
    }
    lab.reaches("vm-2", "10.0.0.3");
    lab.reaches("vm-2", "10.0.0.2");
    lab.reaches("vm-1", "10.0.0.3");

    // The machine has moved.
    lab.nb("lsp-set-options vm requested-chassis=h2 activation-strategy=rarp");
    is_at(&lab, "vm", "h2", &[]);
    wait_for(CONVERGE, "what was noted of the move to go", || {
        let seen = activated(&lab, "vm");
        ensure(seen.is_empty(), seen)
    });
    for from in ["far", "near"] {
        answered_by(&lab, from, "10.0.0.1", 1);
    }
    lab.loses("vm-1", "10.0.0.3");
    lab.unplug("vm-1");
    lab.reaches("vm-2", "10.0.0.3");
    lab.reaches("vm-2", "10.0.0.2");
}

/// A gratuitous ARP of 10.0.0.1.
const GARP: &str = "ffffffffffff0a0000000001080600010800060400\
                    01 0a0000000001 0a000001 000000000000 0a000001";

/// An unsolicited neighbour advertisement of fd00::1, and the same of an address that is not the machine's.
const ADVERTISEMENT: &str = "3333000000010a000000000186dd 60000000 0020 3a ff \
                             fd000000000000000000000000000001 ff020000000000000000000000000001 \
                             8800 6f67 20000000 fd000000000000000000000000000001 0201 0a0000000001";

/// Other ways to be heard; what was heard is still known after the controller has been exchanged.
pub fn other_signs_of_life(impls: Impls) {
    let lab = about_to_move(impls, "activation-strategy=garp,na");
    answered_by(&lab, "far", "10.0.0.1", 1);
    send(&lab, "vm-2", RARP);
    lab.loses("vm-2", "10.0.0.3");
    assert_eq!(activated(&lab, "vm"), "");
    send(&lab, "vm-2", GARP);
    wait_for(CONVERGE, "the twin to be let in", || {
        let seen = activated(&lab, "vm");
        ensure(seen == "h2", seen)
    });
    answered_by(&lab, "far", "10.0.0.1", 2);

    lab.stop("h2", "ovn-controller", Signal::KILL);
    lab.start_controller("h2");
    lab.nb("--timeout=30 --wait=hv sync");
    answered_by(&lab, "near", "10.0.0.1", 2);
    lab.nb("--timeout=30 --wait=sb sync");
    assert_eq!(activated(&lab, "vm"), "h2");

    // Back: where it was first it is the additional one now, and has not been heard.
    lab.nb("lsp-set-options vm requested-chassis=h2,h1 activation-strategy=na");
    is_at(&lab, "vm", "h2", &["h1"]);
    answered_by(&lab, "far", "10.0.0.1", 1);
    lab.loses("vm-1", "10.0.0.3");
    send(&lab, "vm-1", ADVERTISEMENT);
    wait_for(CONVERGE, "the machine to be let back in", || {
        let seen = activated(&lab, "vm");
        ensure(seen == "h1", seen)
    });
    answered_by(&lab, "far", "fd00::1", 2);
    lab.nb("lsp-set-options vm requested-chassis=h1");
    is_at(&lab, "vm", "h1", &[]);
    answered_by(&lab, "far", "10.0.0.1", 1);
}

/// Who would send through a tunnel what does not fit is told what does.
fn too_big_for_tunnels(lab: &Lab) {
    let told = |from: &str, to: &str, words: &str, mtu: &str| {
        let said = format!("{from} to {to} to be told {mtu}");
        wait_for(CONVERGE, &said, || {
            let ping = lab.ping(from, to, 1, words);
            let text = ping.text.replace("mtu = ", "mtu=");
            ensure(text.contains(&format!("mtu={mtu}")), text)
        });
    };
    // Open vSwitch cannot see the devices themselves, which are elsewhere.
    for (host, name) in [("h1", "vm-1"), ("h2", "vm-2")] {
        let line = format!("ovs-vsctl set interface {name} mtu_request=1500");
        lab.run(host, &line).ok();
    }
    told("vm-1", "10.0.0.3", "-M do -s 1450", "1442");
    told("vm-2", "fd00::3", "-M do -s 1440", "1442");
    told("near", "10.0.0.1", "-M do -s 1450", "1442");
    told("near", "fd00::1", "-M do -s 1440", "1442");
    let fits = lab.ping("vm-1", "10.0.0.3", 1, "-M do -s 1414");
    assert!(fits.received > 0, "{}", fits.text);
    // Others see the network as it is.
    let others = lab.ping("near", "10.0.0.3", 1, "-M do -s 1472");
    assert_eq!(others.received, 1, "{}", others.text);
}

/// On a physical network: packets to and from the machine take tunnels while it is at two places, so that the network outside is not told
/// by turns that it is here and there; what is too big for them is answered.
pub fn a_twin_on_a_physical_network(impls: Impls) {
    let lab = Lab::new(impls, 3);
    lab.nb("ls-add s
            lsp-add s ln
            lsp-set-addresses ln unknown
            lsp-set-type ln localnet
            lsp-set-options ln network_name=physnet
            lsp-add s vm
            lsp-set-addresses vm '0a:00:00:00:00:01 10.0.0.1 fd00::1'
            lsp-set-options vm requested-chassis=h1
            lsp-add s near
            lsp-set-addresses near '0a:00:00:00:00:02 10.0.0.2 fd00::2'
            lsp-add s far
            lsp-set-addresses far '0a:00:00:00:00:03 10.0.0.3 fd00::3'");
    let out = "0a:00:00:00:00:09 10.0.0.9/24 fd00::9/64";
    lab.outside(&["h1", "h2", "h3"], "physnet", "out", out);
    lab.vm_of_port("h1", "vm-1", "vm", CONFIG);
    lab.vm("h3", "far", "0a:00:00:00:00:03 10.0.0.3/24 fd00::3/64");
    lab.vm("h1", "near", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    is_at(&lab, "vm", "h1", &[]);
    lab.reaches("far", "10.0.0.1");
    lab.reaches("out", "10.0.0.1");

    lab.nb("lsp-set-options vm requested-chassis=h1,h2");
    lab.vm_of_port("h2", "vm-2", "vm", CONFIG);
    is_at(&lab, "vm", "h1", &["h2"]);
    lab.nb("--timeout=30 --wait=hv sync");
    answered_by(&lab, "far", "10.0.0.1", 2);
    let wire = lab.capture("net", "ext0", "icmp");
    answered_by(&lab, "far", "10.0.0.1", 2);
    lab.reaches("vm-1", "10.0.0.3");
    lab.reaches("vm-2", "10.0.0.3");
    if lab.impls().controller == Impl::Weft {
        too_big_for_tunnels(&lab);
    }
    // What is written of the packets so far comes with the first that does go outside.
    lab.reaches("out", "10.0.0.3");
    wire.wait_for("a question from outside", |packet| {
        packet.contains("10.0.0.9 > 10.0.0.3").then_some(())
    });
    let between: Vec<String> = wire.packets();
    assert!(
        !between.iter().any(|packet| packet.contains("10.0.0.1 ")),
        "{between:#?}"
    );

    lab.nb("lsp-set-options vm requested-chassis=h2");
    is_at(&lab, "vm", "h2", &[]);
    lab.nb("--timeout=30 --wait=hv sync");
    answered_by(&lab, "far", "10.0.0.1", 1);
    lab.reaches("out", "10.0.0.1");
    wire.wait_for("the machine on the network outside", |packet| {
        packet.contains("10.0.0.3 > 10.0.0.1").then_some(())
    });
    lab.loses("vm-1", "10.0.0.3");
}
