//! What ACLs log: who is named how, and how much of it.

use std::fs;

use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// `p1` on one host, `p2` on the other.
pub(crate) fn pair(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64");
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    lab
}

/// Every message about an ACL of a host's controller.
fn logged(lab: &Lab, host: &str) -> Vec<String> {
    let log = fs::read_to_string(lab.host_dir(host).join("ovn-controller.log")).unwrap();
    log.lines()
        .filter(|line| line.contains("|acl_log"))
        .map(|line| line.splitn(5, '|').nth(4).unwrap().to_owned())
        .collect()
}

/// Waits for a line that has `head` and ends with `tail`; with `what` it says what the packet was.
fn wait_logged(lab: &Lab, host: &str, head: &str, tail: &str) -> String {
    wait_for(CONVERGE, &format!("a line {head}: ...{tail}"), || {
        let lines = logged(lab, host);
        let found = lines
            .iter()
            .find(|l| l.starts_with(head) && l.ends_with(tail));
        found.cloned().ok_or_else(|| lines.join("\n"))
    })
}

/// How many lines of an ACL there are.
fn count(lab: &Lab, host: &str, name: &str) -> usize {
    let head = format!("name=\"{name}\", ");
    logged(lab, host)
        .iter()
        .filter(|l| l.starts_with(&head))
        .count()
}

/// Sends some UDP packets, one right after the other.
pub(crate) fn send_udp(lab: &Lab, vm: &str, to: &str, port: u16, packets: u32) {
    let each = format!("for n in $(seq {packets}); do echo > /dev/udp/{to}/{port}; done");
    lab.vm_run(vm, &format!("bash -c '{each}'")).ok();
}

pub fn verdicts_are_logged(impls: Impls) {
    let lab = pair(impls);
    lab.nb("--log --name=ping acl-add s from-lport 100 'inport == \"p1\" && icmp4' allow
            --log --name=ping6 --severity=debug acl-add s from-lport 100 'inport == \"p1\" && icmp6.type == 128' allow-stateless
            --log --name=no-udp --severity=alert acl-add s to-lport 100 'outport == \"p2\" && udp.dst == 1001' drop
            --log --severity=notice acl-add s to-lport 100 'outport == \"p2\" && tcp.dst == 1002' reject");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    send_udp(&lab, "p1", "10.0.0.2", 1001, 1);
    lab.vm_run("p1", "timeout 5 bash -c 'echo > /dev/tcp/10.0.0.2/1002'");
    let ethernet = "vlan_tci=0x0000,dl_src=0a:00:00:00:00:01,dl_dst=0a:00:00:00:00:02";
    let v4 = format!(
        "{ethernet},nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no"
    );
    wait_logged(
        &lab,
        "h1",
        "name=\"ping\", verdict=allow, severity=info, direction=from-lport: ",
        &format!(": icmp,{v4},icmp_type=8,icmp_code=0"),
    );
    let line = wait_logged(
        &lab,
        "h1",
        "name=\"ping6\", verdict=allow, severity=debug, direction=from-lport: ",
        ",icmp_type=128,icmp_code=0",
    );
    let v6 = format!(": icmp6,{ethernet},ipv6_src=fd00::1,ipv6_dst=fd00::2,ipv6_label=0x");
    assert!(line.contains(&v6), "{line}");
    let line = wait_logged(
        &lab,
        "h2",
        "name=\"no-udp\", verdict=drop, severity=alert, direction=to-lport: ",
        ",tp_dst=1001",
    );
    assert!(line.contains(&format!(": udp,{v4},tp_src=")), "{line}");
    let line = wait_logged(
        &lab,
        "h2",
        "name=\"<unnamed>\", verdict=reject, severity=notice, direction=to-lport: ",
        ",tp_dst=1002,tcp_flags=syn",
    );
    assert!(line.contains(&format!(": tcp,{v4},tp_src=")), "{line}");
}

/// With `log-related` replies are logged as well, by the ACL that let the connection begin.
pub fn replies_are_logged(impls: Impls) {
    let lab = pair(impls);
    lab.nb("--log --name=all --label=7 acl-add s to-lport 100 'outport == \"p2\" && ip4' allow-related
            set acl all options:log-related=true
            --log --name=without --label=8 acl-add s to-lport 100 'outport == \"p2\" && ip6' allow-related");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    send_udp(&lab, "p1", "10.0.0.2", 1003, 1);
    let head = "name=\"all\", verdict=allow, severity=info, direction=";
    wait_logged(
        &lab,
        "h2",
        &format!("{head}to-lport: icmp,"),
        "icmp_type=8,icmp_code=0",
    );
    wait_logged(
        &lab,
        "h2",
        &format!("{head}from-lport: icmp,"),
        "icmp_type=0,icmp_code=0",
    );
    // What the closed port says: related.
    wait_logged(&lab, "h2", &format!("{head}to-lport: udp,"), "tp_dst=1003");
    wait_logged(
        &lab,
        "h2",
        &format!("{head}from-lport: icmp,"),
        "icmp_type=3,icmp_code=3",
    );
    lab.reaches("p1", "fd00::2");
    wait_logged(
        &lab,
        "h2",
        "name=\"without\", ",
        "icmp_type=128,icmp_code=0",
    );
    let lines = logged(&lab, "h2");
    let reply = lines
        .iter()
        .find(|l| l.starts_with("name=\"without\"") && l.contains("icmp_type=129"));
    assert_eq!(reply, None);
}

/// Meters of br-int: number and what it is.
fn meters(lab: &Lab, host: &str) -> Vec<(String, String)> {
    let text = lab
        .run(host, "ovs-ofctl -O OpenFlow15 dump-meters br-int")
        .ok();
    let text = text.replace("\ntype", " type");
    let meter = |line: &str| {
        let (id, rest) = line.strip_prefix("meter=")?.split_once(' ')?;
        Some((id.to_owned(), rest.trim().to_owned()))
    };
    text.lines().filter_map(meter).collect()
}

fn wait_meters(lab: &Lab, host: &str, wanted: &[&str]) -> Vec<(String, String)> {
    wait_for(CONVERGE, &format!("meters {wanted:?} on {host}"), || {
        let there = meters(lab, host);
        let mut left: Vec<&str> = wanted.to_vec();
        let all = there.iter().all(|(_, text)| {
            let at = left
                .iter()
                .position(|w| w.split(' ').all(|word| text.contains(word)));
            at.map(|at| left.swap_remove(at)).is_some()
        });
        ensure(all && left.is_empty(), format!("{there:?}"))?;
        Ok(there)
    })
}

/// A meter limits what is logged, follows its row in place, and goes with its last user.
pub fn a_meter_limits_the_log(impls: Impls) {
    let lab = pair(impls);
    lab.nb(
        "meter-add m drop 1 pktps
            --log --name=ping --meter=m acl-add s from-lport 100 'inport == \"p1\" && icmp4' allow",
    );
    lab.ready();
    let before = wait_meters(&lab, "h1", &["pktps rate=1"]);
    let flood = || assert_eq!(lab.ping("p1", "10.0.0.2", 60, "-i 0.01").received, 60);
    flood();
    wait_logged(&lab, "h1", "name=\"ping\"", "icmp_code=0");
    // A second's worth at once, and one per second since.
    let few = count(&lab, "h1", "ping");
    assert!(few <= 6, "{few} lines through a meter of one per second");
    let band = lab.nb("--bare --columns=bands list meter m");
    lab.nb(&format!(
        "set meter_band {} rate=1000 burst_size=1000",
        band.trim()
    ));
    lab.ready();
    let after = wait_meters(&lab, "h1", &["pktps burst rate=1000 burst_size=1000"]);
    assert_eq!(before[0].0, after[0].0, "another number");
    wait_for(CONVERGE, "many lines", || {
        let before = count(&lab, "h1", "ping");
        flood();
        let more = count(&lab, "h1", "ping") - before;
        ensure(more >= 50, format!("{more}"))
    });
    lab.nb("clear acl ping meter");
    lab.ready();
    wait_meters(&lab, "h1", &[]);
}

/// Each ACL has a fair meter for itself.
pub fn a_fair_meter_per_acl(impls: Impls) {
    let lab = pair(impls);
    lab.nb("--fair meter-add m drop 1 pktps
            --log --name=v4 --meter=m acl-add s from-lport 100 'inport == \"p1\" && icmp4' allow
            --log --name=v6 --meter=m acl-add s from-lport 100 'inport == \"p1\" && icmp6.type == 128' allow");
    lab.ready();
    wait_meters(&lab, "h1", &["pktps rate=1", "pktps rate=1"]);
    lab.ping("p1", "10.0.0.2", 60, "-i 0.01");
    lab.ping("p1", "fd00::2", 60, "-i 0.01");
    for name in ["v4", "v6"] {
        wait_logged(&lab, "h1", &format!("name=\"{name}\""), "icmp_code=0");
        let few = count(&lab, "h1", name);
        assert!(few <= 6, "{few} lines of {name}");
    }
    lab.nb("acl-del s from-lport 100 'inport == \"p1\" && icmp4'");
    lab.ready();
    wait_meters(&lab, "h1", &["pktps rate=1"]);
}

/// A meter that is not there limits nothing; it is told, and works once it is.
pub fn a_meter_that_is_not_there(impls: Impls) {
    let lab = pair(impls);
    lab.nb(
        "--log --name=ping --meter=m acl-add s from-lport 100 'inport == \"p1\" && icmp4' allow
            copp-add c arp none
            ls-copp-add c s",
    );
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    wait_logged(&lab, "h1", "name=\"ping\"", "icmp_type=8,icmp_code=0");
    if lab.impls().northd == Impl::Weft {
        for words in [
            ["ACL ping", "no meter \"m\""],
            ["Copp c", "no meter \"none\""],
        ] {
            wait_for(CONVERGE, &format!("diagnostics with {words:?}"), || {
                let list = lab.northd_appctl("diagnostics").result()?;
                let told = list
                    .lines()
                    .any(|line| words.iter().all(|w| line.contains(w)));
                ensure(told, list)
            });
        }
    }
    lab.nb("meter-add m drop 5 pktps");
    lab.ready();
    wait_meters(&lab, "h1", &["pktps rate=5"]);
    lab.reaches("p1", "10.0.0.2");
}

/// Control plane protection: a controller is not asked to answer more than the meter lets through.
pub fn rejects_are_metered(impls: Impls) {
    let lab = pair(impls);
    lab.nb("acl-add s to-lport 100 'outport == \"p2\" && udp.dst == 1001' reject");
    lab.ready();
    let capture = lab.capture("p1", "p1", "icmp");
    let answers = || {
        let packets = capture.packets();
        packets.iter().filter(|p| p.contains("unreachable")).count()
    };
    send_udp(&lab, "p1", "10.0.0.2", 1001, 40);
    wait_for(CONVERGE, "an answer to each", || {
        ensure(answers() == 40, format!("{}", answers()))
    });
    lab.nb("meter-add m drop 1 pktps
            copp-add c reject m
            ls-copp-add c s");
    lab.ready();
    wait_meters(&lab, "h2", &["pktps rate=1"]);
    send_udp(&lab, "p1", "10.0.0.2", 1001, 40);
    wait_for(CONVERGE, "an answer to the first", || {
        ensure(answers() > 40, format!("{}", answers()))
    });
    let few = answers() - 40;
    assert!(few <= 6, "{few} answers through a meter of one per second");
    lab.reaches("p1", "10.0.0.2");
    lab.nb("clear logical_switch s copp");
    lab.ready();
    wait_meters(&lab, "h2", &[]);
}
