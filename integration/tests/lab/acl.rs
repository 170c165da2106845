//! Access control with real packets: actions, connections, refusals, groups and sets.

use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::socket::{Talk, chunk};
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, Tunnel, wait_for};

/// `p1` and `p3` on the first host, `p2` on the second, on one switch.
pub(crate) fn three(impls: Impls) -> Lab {
    let lab = Lab::with_tunnel(impls, 2, Tunnel::Geneve);
    lab.nb("ls-add s");
    for (n, host) in [(1, "h1"), (2, "h2"), (3, "h1")] {
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        lab.vm(
            host,
            &format!("p{n}"),
            &format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64"),
        );
        fits_the_tunnel(&lab, &format!("p{n}"));
    }
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    lab.reaches("p3", "10.0.0.2");
    lab
}

/// Full packets must get through a tunnel that is no wider than they are.
pub(crate) fn fits_the_tunnel(lab: &Lab, vm: &str) {
    lab.vm_run(vm, &format!("ip link set {vm} mtu 1400")).ok();
}

/// Changes the northbound and waits until the hosts have it.
pub(crate) fn nb(lab: &Lab, script: &str) {
    lab.nb(script);
    lab.nb("--timeout=30 --wait=hv sync");
}

/// Waits until talking comes to `wanted`: packets on their way see a change of flows a moment later.
#[track_caller]
pub(crate) fn settles(what: &str, wanted: Talk, talk: impl Fn() -> Talk) {
    wait_for(CONVERGE, &format!("{what}: {wanted:?}"), || {
        let seen = talk();
        ensure(seen == wanted, format!("{seen:?}"))
    });
    assert_eq!(talk(), wanted, "{what}");
}

/// Connections that something in the lab's subnets has, as the datapath tracks them.
fn tracked(lab: &Lab, host: &str) -> Vec<String> {
    let all = lab.tracked(host);
    let own = |line: &&str| line.contains("src=10.0.0.") || line.contains("src=fd00::");
    all.lines().filter(own).map(Into::into).collect()
}

/// TCP with payload, UDP, ICMP and SCTP, IPv4 and IPv6, let through one by one above a drop of all.
pub fn allow_related_lets_replies_back(impls: Impls) {
    let lab = three(impls);
    let servers = [lab.tcp_echo("p2", 80), lab.tcp_echo("p2", 81)];
    let datagrams = [lab.udp_echo("p2", 53), lab.udp_echo("p2", 54)];
    assert_eq!(lab.tcp("p1", "10.0.0.2:80"), Talk::Answered);
    nb(
        &lab,
        "pg-add web p2
         acl-add web to-lport 100 'outport == @web && ip' drop
         acl-add web from-lport 100 'inport == @web && ip' drop
         acl-add web to-lport 200 'outport == @web && tcp.dst == 80' allow-related
         acl-add web to-lport 200 'outport == @web && udp.dst == 53' allow-related",
    );
    for to in ["10.0.0.2", "[fd00::2]"] {
        settles("allowed TCP", Talk::Answered, || {
            lab.tcp("p1", &format!("{to}:80"))
        });
        settles("other TCP", Talk::Silence, || {
            lab.tcp("p1", &format!("{to}:81"))
        });
        settles("allowed UDP", Talk::Answered, || {
            lab.udp("p1", &format!("{to}:53"))
        });
        settles("other UDP", Talk::Silence, || {
            lab.udp("p1", &format!("{to}:54"))
        });
    }
    // What the port begins itself is not allowed.
    let _own = lab.tcp_echo("p1", 80);
    assert_eq!(lab.tcp("p2", "10.0.0.1:80"), Talk::Silence);
    lab.never_reaches("p1", "10.0.0.2");
    nb(
        &lab,
        "acl-add web to-lport 200 'outport == @web && (icmp4 || icmp6)' allow-related",
    );
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    drop((servers, datagrams));
}

/// SCTP between raw sockets, for the kernel need not have it.
pub fn sctp_is_tracked_too(impls: Impls) {
    let lab = three(impls);
    nb(
        &lab,
        "pg-add web p2
         acl-add web to-lport 100 'outport == @web && ip' drop
         acl-add web from-lport 100 'inport == @web && ip' drop
         acl-add web to-lport 200 'outport == @web && sctp.dst == 132' allow-related",
    );
    for (v6, client, server) in [
        (false, "10.0.0.1", "10.0.0.2"),
        (true, "fd00::1", "fd00::2"),
    ] {
        let (a, b) = (lab.sctp("p1", v6), lab.sctp("p2", v6));
        let arrived = wait_for(CONVERGE, "an SCTP INIT", || {
            a.send(server, (1000, 132), 0, chunk::INIT);
            b.receive(132).ok_or_else(|| "nothing".to_owned())
        });
        assert_eq!((arrived.0, arrived.2), (1000, chunk::INIT));
        b.send(client, (132, 1000), 0x0102_0304, chunk::INIT_ACK);
        let answer = a.receive(1000);
        assert_eq!(answer.map(|it| it.2), Some(chunk::INIT_ACK));
        a.send(server, (1000, 133), 0, chunk::INIT);
        assert_eq!(b.receive(133), None, "another port is not allowed");
    }
}

/// A drop that appears ends what an allow let begin; when it goes, the connection goes on.
pub fn established_connections_are_cut(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    nb(
        &lab,
        "acl-add s to-lport 100 ip drop
         acl-add s to-lport 200 'tcp.dst == 80' allow-related
         acl-add s to-lport 200 'icmp' allow-related",
    );
    lab.reaches("p1", "10.0.0.2");
    for to in ["10.0.0.2:80", "[fd00::2]:80"] {
        let mut connection = lab.tcp_connect("p1", to).unwrap();
        assert_eq!(connection.exchange(20_000), Talk::Answered);
        nb(&lab, "acl-add s to-lport 300 'tcp.dst == 80' drop");
        wait_for(CONVERGE, "an end of the connection", || {
            let seen = connection.exchange(1);
            ensure(seen == Talk::Silence, format!("{seen:?}"))
        });
        assert_eq!(lab.tcp("p1", to), Talk::Silence);
        // What arrived late would be taken for an answer to the next byte: another connection tells.
        nb(&lab, "acl-del s to-lport 300 'tcp.dst == 80'");
        settles("again", Talk::Answered, || lab.tcp("p1", to));
    }
}

/// The ICMP error about a datagram that was allowed comes back although ICMP is dropped; not so without tracking.
pub fn related_errors_pass(impls: Impls) {
    let lab = three(impls);
    nb(
        &lab,
        "acl-add s to-lport 100 ip drop
         acl-add s from-lport 100 ip drop
         acl-add s from-lport 200 'udp.dst == 9' allow-related
         acl-add s to-lport 200 'udp.dst == 9' allow-related",
    );
    // Nobody listens there: the kernel answers with port unreachable.
    for to in ["10.0.0.2:9", "[fd00::2]:9"] {
        settles("tracked", Talk::Refused, || lab.udp("p1", to));
    }
    nb(
        &lab,
        "acl-del s from-lport 200 'udp.dst == 9'
         acl-del s to-lport 200 'udp.dst == 9'
         acl-add s from-lport 200 'udp' allow-stateless
         acl-add s to-lport 200 'udp' allow-stateless",
    );
    for to in ["10.0.0.2:9", "[fd00::2]:9"] {
        settles("untracked", Talk::Silence, || lab.udp("p1", to));
    }
}

/// Nothing of a stateless ACL, and nothing of a switch whose ACLs need none, is in conntrack.
pub fn stateless_stays_out_of_conntrack(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    let _other = lab.tcp_echo("p2", 443);
    // Needs none: no connection is allowed by what is related to it.
    nb(
        &lab,
        "acl-add s to-lport 200 'tcp.dst == 80' allow
         acl-add s to-lport 100 'udp' drop",
    );
    assert_eq!(lab.tcp("p1", "10.0.0.2:80"), Talk::Answered);
    settles("dropped", Talk::Silence, || lab.udp("p1", "10.0.0.2:80"));
    for host in ["h1", "h2"] {
        assert_eq!(tracked(&lab, host), [""; 0]);
    }
    nb(
        &lab,
        "acl-del s
         acl-add s to-lport 300 'tcp && (tcp.dst == 80 || tcp.src == 80)' allow-stateless
         acl-add s from-lport 300 'tcp && (tcp.dst == 80 || tcp.src == 80)' allow-stateless
         acl-add s to-lport 200 tcp allow-related",
    );
    for to in ["10.0.0.2:80", "[fd00::2]:80"] {
        settles("stateless", Talk::Answered, || lab.tcp("p1", to));
    }
    for host in ["h1", "h2"] {
        let seen = tracked(&lab, host);
        assert!(
            !seen.iter().any(|line| line.contains("port=80")),
            "{seen:?}"
        );
    }
    // The same question, answered otherwise where there is something.
    settles("tracked", Talk::Answered, || lab.tcp("p1", "10.0.0.2:443"));
    for host in ["h1", "h2"] {
        let seen = tracked(&lab, host);
        assert!(
            seen.iter().any(|line| line.contains("port=443")),
            "{seen:?}"
        );
    }
}

/// Each protocol in its own words, for both directions of ACLs; a refusal is not refused.
pub fn reject_answers(impls: Impls) {
    let lab = three(impls);
    let _servers = [lab.tcp_echo("p2", 80), lab.udp_echo("p2", 53)];
    for direction in ["to-lport", "from-lport"] {
        nb(
            &lab,
            &format!(
                "acl-del s
                 acl-add s {direction} 200 'tcp.dst == 80 || udp.dst == 53 || sctp.dst == 132 || icmp4.type == 8 || icmp6.type == 128' reject"
            ),
        );
        for (v6, to, address) in [
            (false, "10.0.0.2", "10.0.0.2"),
            (true, "[fd00::2]", "fd00::2"),
        ] {
            settles("TCP", Talk::Refused, || lab.tcp("p1", &format!("{to}:80")));
            settles("UDP", Talk::Refused, || lab.udp("p1", &format!("{to}:53")));
            let ping = lab.ping("p1", address, 2, "");
            assert!(
                ping.received == 0 && ping.text.contains("nreachable"),
                "{direction} {address}: {}",
                ping.text
            );
            let raw = lab.sctp("p1", v6);
            let answer = wait_for(CONVERGE, "an answer to SCTP", || {
                raw.send(address, (1000, 132), 0, chunk::INIT);
                raw.receive(1000).ok_or_else(|| "nothing".to_owned())
            });
            assert_eq!(
                (answer.0, answer.2),
                (132, chunk::ABORT),
                "{direction} {address}"
            );
            // The tag that the INIT asked for: or the sender would not believe it.
            assert_eq!(answer.1, 0x0102_0304, "{direction} {address}");
        }
    }
}

/// The refusals that `p1` would get are refused in their turn: `p2`, from whom they seem to come, hears nothing of that.
pub fn a_refusal_is_not_refused(impls: Impls) {
    let lab = three(impls);
    nb(
        &lab,
        "acl-add s to-lport 200 'outport == \"p2\" && (udp || tcp)' reject
         acl-add s to-lport 200 'outport == \"p1\" && (icmp4 || icmp6.type == {1, 128} || tcp)' reject",
    );
    // That the second one works is seen where it may answer.
    for to in ["10.0.0.1", "fd00::1"] {
        wait_for(CONVERGE, "a ping refused", || {
            let ping = lab.ping("p2", to, 1, "");
            ensure(ping.text.contains("nreachable"), ping.text)
        });
    }
    let capture = lab.capture("p2", "p2", "icmp or icmp6 or tcp");
    for to in ["10.0.0.2", "[fd00::2]"] {
        settles("UDP", Talk::Silence, || lab.udp("p1", &format!("{to}:53")));
        settles("TCP", Talk::Silence, || lab.tcp("p1", &format!("{to}:80")));
    }
    // A packet that is seen after all others would have been.
    lab.vm_run("p2", "ping -n -c 1 -W 1 10.0.0.3");
    capture.wait_for("the last packet", |packet| {
        packet.contains("10.0.0.3 > 10.0.0.2").then_some(())
    });
    let seen = capture.packets();
    let of_p1 = |packet: &&String| {
        let v4 = packet.contains("10.0.0.1 > 10.0.0.2: ICMP") || packet.contains("10.0.0.1.");
        v4 || packet.contains("fd00::1 > fd00::2: ICMP6, dest") || packet.contains("Flags [R")
    };
    let doubled: Vec<&String> = seen.iter().filter(of_p1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

/// Tiers are evaluated in turn, `pass` goes to the next.
pub fn tiers_and_pass(impls: Impls) {
    let lab = three(impls);
    let _servers = [
        lab.tcp_echo("p2", 80),
        lab.tcp_echo("p2", 81),
        lab.tcp_echo("p2", 82),
    ];
    nb(
        &lab,
        "--tier=1 acl-add s to-lport 500 'tcp.dst == 80' pass
         --tier=1 acl-add s to-lport 400 'tcp.dst == {80, 81}' drop
         --tier=2 acl-add s to-lport 100 'tcp.dst == 80' allow-related
         --tier=2 acl-add s to-lport 100 'tcp.dst == 82' drop
         --tier=3 acl-add s to-lport 900 'tcp.dst == 80' drop",
    );
    settles("passed on", Talk::Answered, || lab.tcp("p1", "10.0.0.2:80"));
    settles("first tier", Talk::Silence, || lab.tcp("p1", "10.0.0.2:81"));
    settles("second tier", Talk::Silence, || {
        lab.tcp("p1", "10.0.0.2:82")
    });
    nb(
        &lab,
        "--tier=0 acl-add s to-lport 1 'tcp.dst == 82' allow-related",
    );
    settles("decided before", Talk::Answered, || {
        lab.tcp("p1", "10.0.0.2:82")
    });
}

/// Without a verdict a packet passes, or not where so is said; ARP and neighbour discovery go on.
pub fn drop_by_default(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    nb(
        &lab,
        "set nb_global . options:default_acl_drop=true
         acl-add s to-lport 10 'tcp.dst == 80' allow-related
         acl-add s from-lport 10 'tcp.dst == 80' allow-related
         --apply-after-lb acl-add s from-lport 11 'tcp.dst == 80' allow-related
         acl-add s to-lport 10 'arp || nd' allow-related
         acl-add s from-lport 10 'arp || nd' allow-related
         --apply-after-lb acl-add s from-lport 11 'arp || nd' allow-related",
    );
    settles("allowed", Talk::Answered, || lab.tcp("p1", "10.0.0.2:80"));
    settles("allowed", Talk::Answered, || lab.tcp("p1", "[fd00::2]:80"));
    lab.loses("p1", "10.0.0.2");
    nb(&lab, "remove nb_global . options default_acl_drop");
    lab.reaches("p1", "10.0.0.2");
}

/// Ports join and leave groups, addresses join and leave sets, and sets are made of groups.
pub fn groups_and_sets_change(impls: Impls) {
    let lab = three(impls);
    nb(
        &lab,
        "create address_set name=friends addresses='\"10.0.0.3\",\"10.0.0.77\"'
         pg-add guarded
         pg-add clients p3
         acl-add guarded to-lport 100 'outport == @guarded && ip' drop
         acl-add guarded to-lport 200 'outport == @guarded && icmp4 && ip4.src == $friends' allow-related
         acl-add guarded to-lport 200 'outport == @guarded && icmp6 && ip6.src == $clients_ip6' allow-related",
    );
    lab.reaches("p1", "10.0.0.2");
    nb(&lab, "pg-set-ports guarded p2");
    lab.loses("p1", "10.0.0.2");
    lab.reaches("p3", "10.0.0.2");
    lab.reaches("p3", "fd00::2");
    lab.never_reaches("p1", "fd00::2");
    nb(&lab, "add address_set friends addresses 10.0.0.1");
    lab.reaches("p1", "10.0.0.2");
    nb(&lab, "remove address_set friends addresses 10.0.0.3");
    lab.loses("p3", "10.0.0.2");
    nb(&lab, "pg-set-ports clients p1");
    lab.reaches("p1", "fd00::2");
    lab.loses("p3", "fd00::2");
    nb(&lab, "clear port_group guarded ports");
    lab.reaches("p3", "10.0.0.2");
}

/// Switches `s1` and `s2` with a router between, `p1` on h1 and `p2` on h2; `policy` is what is declared with the `n`th.
pub(crate) fn two_subnets(impls: Impls, policy: impl Fn(u32) -> String) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add s{n}
             lrp-add r r-s{n} 0a:00:00:00:ff:0{n} 10.0.{n}.254/24 fd00:{n}::254/64
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r-s{n}
             lsp-set-addresses s{n}-r router
             lsp-add s{n} p{n}
             lsp-set-addresses p{n} '0a:00:00:00:0{n}:01 10.0.{n}.1 fd00:{n}::1'
             {}",
            policy(n)
        ));
        lab.vm(
            &format!("h{n}"),
            &format!("p{n}"),
            &format!(
                "0a:00:00:00:0{n}:01 10.0.{n}.1/24 fd00:{n}::1/64 via 10.0.{n}.254 fd00:{n}::254"
            ),
        );
        fits_the_tunnel(&lab, &format!("p{n}"));
    }
    lab
}

/// Policy of two switches on two hosts with a router between.
pub fn across_a_router(impls: Impls) {
    let lab = two_subnets(impls, |n| {
        format!(
            "pg-add g{n} p{n}
             acl-add g{n} to-lport 100 'outport == @g{n} && ip' drop
             acl-add g{n} from-lport 100 'inport == @g{n} && ip' drop
             acl-add g{n} to-lport 200 'outport == @g{n} && icmp' allow-related
             acl-add g{n} from-lport 200 'inport == @g{n} && icmp' allow-related
             acl-add g{n} from-lport 200 'inport == @g{n} && tcp.dst == 80' allow-related
             acl-add g{n} from-lport 200 'inport == @g{n} && udp.dst == 53' reject"
        )
    });
    nb(
        &lab,
        "acl-add g2 to-lport 200 'outport == @g2 && tcp.dst == 80' allow-related",
    );
    lab.ready();
    lab.reaches_with_ttl("p1", "10.0.2.1", 63);
    lab.reaches_with_ttl("p1", "fd00:2::1", 63);
    let _servers = [
        lab.tcp_echo("p2", 80),
        lab.tcp_echo("p2", 81),
        lab.tcp_echo("p1", 80),
    ];
    for to in ["10.0.2.1", "[fd00:2::1]"] {
        settles("allowed", Talk::Answered, || {
            lab.tcp("p1", &format!("{to}:80"))
        });
        settles("not allowed", Talk::Silence, || {
            lab.tcp("p1", &format!("{to}:81"))
        });
        settles("rejected", Talk::Refused, || {
            lab.udp("p1", &format!("{to}:53"))
        });
    }
    // The first switch lets nobody in.
    settles("inwards", Talk::Silence, || lab.tcp("p2", "10.0.1.1:80"));
}

/// Before load balancing an ACL sees the virtual address, after it the backend's.
pub fn acls_after_load_balancing(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    nb(
        &lab,
        "lb-add lb 172.30.0.1:80 10.0.0.2:80
         ls-lb-add s lb",
    );
    for line in [
        "ip route add 172.30.0.1/32 dev p1",
        "ip neigh replace 172.30.0.1 lladdr 0a:00:00:00:00:02 dev p1",
    ] {
        lab.vm_run("p1", line).ok();
    }
    let talk = || lab.tcp("p1", "172.30.0.1:80");
    settles("balanced", Talk::Answered, talk);
    for (options, address, wanted) in [
        ("", "172.30.0.1", Talk::Silence),
        ("--apply-after-lb", "172.30.0.1", Talk::Answered),
        ("--apply-after-lb", "10.0.0.2", Talk::Silence),
    ] {
        nb(&lab, "acl-del s");
        nb(
            &lab,
            &format!("{options} acl-add s from-lport 100 'ip4.dst == {address} && tcp' drop"),
        );
        settles(&format!("{options} {address}"), wanted, talk);
    }
}

/// Rows that nobody can use beside rows that work.
pub fn bad_rows_cost_only_themselves(impls: Impls) {
    let lab = three(impls);
    lab.nb("create address_set name=odd addresses='\"10.0.0.3\",\"no address\"'");
    for (name, match_, action) in [
        ("missing-set", "ip4.src == $nowhere", "drop"),
        ("missing-group", "outport == @nobody", "drop"),
        ("unreadable", "ip4.src == ((", "drop"),
        ("odd-set", "ip4.src == $odd && icmp", "drop"),
    ] {
        lab.nb(&format!(
            "--id=@a create acl name={name} direction=to-lport priority=900 'match=\"{match_}\"' action={action}
             add logical_switch s acls @a"
        ));
    }
    nb(
        &lab,
        "acl-add s to-lport 100 'icmp && ip4.src == 10.0.0.1' drop",
    );
    lab.loses("p1", "10.0.0.2");
    // What can be read of the set counts.
    lab.loses("p3", "10.0.0.2");
    lab.reaches("p3", "fd00::2");
    if lab.impls().northd == Impl::Weft {
        for name in ["missing-set", "missing-group", "unreadable"] {
            wait_for(CONVERGE, &format!("diagnostics of {name}"), || {
                let list = lab.northd_appctl("diagnostics").result()?;
                let told = list
                    .lines()
                    .any(|line| line.contains(name) && line.contains("match"));
                ensure(told, list)
            });
        }
    }
    // The set comes after the ACL that names it.
    nb(&lab, "create address_set name=nowhere addresses=10.0.0.2");
    nb(&lab, "acl-del s");
    lab.reaches("p1", "10.0.0.2");
}

/// `acl-add` refuses what cannot be read, showing where, and warns of names that nothing has. Stock's takes anything.
pub fn matches_are_checked_when_written(impls: Impls) {
    let lab = Lab::compiler(impls.northd);
    lab.nb("ls-add s
            lsp-add s p1
            pg-add pg p1
            create address_set name=as addresses=10.0.0.1");
    let add = |match_: &str| lab.nbctl(&format!("acl-add s to-lport 1 '{match_}' drop"));
    let refused = add("ip4.src == 10.0.0.1 && tcp.dts == 80");
    assert!(!refused.success);
    let lines: Vec<&str> = refused.stderr.lines().collect();
    let at = lines.iter().position(|line| line.contains('^')).unwrap();
    assert_eq!(
        lines[at].find('^'),
        lines[at - 1].find("tcp.dts"),
        "{}",
        refused.stderr
    );
    for wrong in ["ip4.src ==", "inport < 5", "tcp.dst == 80000", "!nd"] {
        let refused = add(wrong);
        assert!(!refused.success, "{wrong}: {}", refused.stderr);
    }
    for (match_, missing) in [
        ("ip4.src == $nowhere", "address set \"nowhere\""),
        ("outport == @nobody && ip4", "port group \"nobody\""),
        ("ip6.src == $nobody_ip6", "address set \"nobody_ip6\""),
        ("outport == \"p9\"", "port \"p9\""),
    ] {
        let done = add(match_);
        assert!(done.success && done.stderr.contains(missing), "{done:?}");
    }
    let fine = add("outport == @pg && inport == \"p1\" && ip4.src == $as && ip6.src == $pg_ip6");
    assert!(fine.success && fine.stderr.is_empty(), "{fine:?}");
    for wrong in ["--tier=4", "--tier=x"] {
        let refused = lab.nbctl(&format!("{wrong} acl-add s to-lport 2 ip4 drop"));
        assert!(!refused.success, "{refused:?}");
    }
    lab.nb("--tier=3 acl-add s to-lport 2 ip4 pass
            --tier=2 acl-add s to-lport 2 ip6 pass");
    lab.nb("--tier=3 acl-del s");
    let left = lab.nb("--bare --columns=match find acl action=pass");
    assert_eq!(left, "ip6");
}

/// A port keeps its zone through restarts of the controller, and connections with it.
pub fn zones_survive_restarts(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    nb(
        &lab,
        "acl-add s to-lport 100 ip drop
         acl-add s to-lport 200 'icmp' allow-related
         acl-add s to-lport 200 'tcp.dst == 80' allow-related",
    );
    lab.reaches("p1", "10.0.0.2");
    let mut connection = lab.tcp_connect("p1", "10.0.0.2:80").unwrap();
    assert_eq!(connection.exchange(5000), Talk::Answered);
    // As "p1 7": what the bridge remembers, in the words of ct-zone-list.
    let stored = |host: &str| -> Vec<String> {
        let ids = lab.vs(host, "get bridge br-int external_ids");
        let one = |entry: &str| {
            let (owner, zone) = entry.trim().strip_prefix("ct-zone-")?.split_once('=')?;
            Some(format!("{owner} {}", zone.trim_matches('"')))
        };
        let mut all: Vec<String> = ids
            .trim_matches(['{', '}'])
            .split(',')
            .filter_map(one)
            .collect();
        all.sort();
        all
    };
    let before = [stored("h1"), stored("h2")];
    for port in ["p1 ", "p3 "] {
        assert!(
            before[0].iter().any(|it| it.starts_with(port)),
            "{before:?}"
        );
    }
    for (host, zones) in [("h1", &before[0]), ("h2", &before[1])] {
        let told = lab.controller_appctl(host, "ct-zone-list").ok();
        let mut told: Vec<&str> = told.lines().collect();
        told.sort_unstable();
        assert_eq!(told, *zones);
        lab.stop(host, "ovn-controller", rustix::process::Signal::KILL);
        lab.start_controller(host);
    }
    lab.ready();
    assert_eq!(connection.exchange(5000), Talk::Answered);
    assert_eq!([stored("h1"), stored("h2")], before);
    // The zone's connections are forgotten when another gets it, or the same anew.
    assert!(
        tracked(&lab, "h2")
            .iter()
            .any(|line| line.contains("port=80"))
    );
    lab.unplug("p2");
    wait_for(CONVERGE, "the zone given back", || {
        let ids = stored("h2");
        ensure(
            !ids.iter().any(|it| it.starts_with("p2 ")),
            format!("{ids:?}"),
        )
    });
    lab.vm("h2", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
}

/// The zone that a router's options ask for is the one it gets, whoever had it.
pub fn a_zone_can_be_asked_for(impls: Impls) {
    let lab = Lab::new(impls, 1);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1'
            lr-add r
            set logical_router r options:chassis=h1 options:snat-ct-zone=777
            lrp-add r rp 0a:00:00:00:ff:01 10.0.0.254/24
            lsp-add s sr
            lsp-set-type sr router
            lsp-set-options sr router-port=rp
            lsp-set-addresses sr router");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 via 10.0.0.254");
    lab.ready();
    let router = lab.sb_get("datapath_binding", "_uuid", "external_ids:name=r");
    let zones = || -> Vec<(String, u16)> {
        let told = lab.controller_appctl("h1", "ct-zone-list").ok();
        let pair = |line: &str| {
            let (owner, zone) = line.rsplit_once(' ').unwrap();
            (owner.to_owned(), zone.parse().unwrap())
        };
        told.lines().map(pair).collect()
    };
    let snat = || {
        let all = zones();
        let mut numbers: Vec<u16> = all.iter().map(|(_, zone)| *zone).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all.len(), "one zone for two: {all:?}");
        all.into_iter()
            .find(|(owner, _)| *owner == format!("{router}_snat"))
            .map(|(_, zone)| zone)
    };
    wait_for(CONVERGE, "the zone that was asked for", || {
        let seen = snat();
        ensure(seen == Some(777), format!("{seen:?}"))
    });
    let (owner, taken) = zones().into_iter().find(|(_, zone)| *zone != 777).unwrap();
    nb(
        &lab,
        &format!("set logical_router r options:snat-ct-zone={taken}"),
    );
    wait_for(CONVERGE, &format!("the zone of {owner}"), || {
        let seen = snat();
        ensure(seen == Some(taken), format!("{seen:?}"))
    });
    let loads = lab.flows("h1", "table=0");
    assert!(
        loads.contains(&format!("load:0x{taken:x}->NXM_NX_REG12"))
            || loads.contains(&format!("set_field:0x{taken:x}->reg12"))
            || lab
                .flows("h1", "")
                .contains(&format!("set_field:0x{taken:x}->reg12")),
        "{loads}"
    );
}

/// `ct-flush` forgets all connections of this controller's zones. Stock 23.03 has no such command.
pub fn connections_are_flushed_on_demand(impls: Impls) {
    let lab = three(impls);
    let _server = lab.tcp_echo("p2", 80);
    nb(&lab, "acl-add s to-lport 200 tcp allow-related");
    settles("tracked", Talk::Answered, || lab.tcp("p1", "10.0.0.2:80"));
    assert!(!tracked(&lab, "h1").is_empty());
    lab.controller_appctl("h1", "ct-flush").ok();
    wait_for(CONVERGE, "no connections", || {
        let seen = tracked(&lab, "h1");
        ensure(seen.is_empty(), format!("{seen:?}"))
    });
}
