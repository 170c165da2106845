//! Load balancers on switches: what hosts get behind a virtual address.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use weft_integration::command::{prepare, words};
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

const TRAFFIC: &str = env!("CARGO_BIN_EXE_weft-traffic");

/// A server inside a VM, until dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves on a VM under its name.
#[track_caller]
pub fn serve(lab: &Lab, vm: &str, proto: &str, at: &str) -> Server {
    let argv = words(&format!("{TRAFFIC} serve {proto} {at} {vm}"));
    let mut command = prepare(Some(&lab.netns(vm)), None, &argv);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n", "server of {vm} at {at}");
    Server(child)
}

/// The answers to so many connections, in their order.
#[track_caller]
pub fn ask(lab: &Lab, vm: &str, proto: &str, at: &str, count: usize) -> Vec<String> {
    let out = lab
        .vm_run(vm, &format!("{TRAFFIC} ask {proto} {at} {count}"))
        .ok();
    out.lines().map(str::to_owned).collect()
}

/// Waits until a virtual address answers as wanted.
#[track_caller]
pub fn until(lab: &Lab, vm: &str, proto: &str, at: &str, wanted: impl Fn(&str) -> bool) -> String {
    wait_for(CONVERGE, &format!("{at} as {vm} sees it"), || {
        let answer = ask(lab, vm, proto, at, 1).concat();
        if wanted(&answer) {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
}

pub fn counted(answers: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let who = answer.split(' ').next().unwrap_or_default();
        *counts.entry(who.to_owned()).or_default() += 1;
    }
    counts
}

/// `c1` and `b1` on the first host, `b2` on the second, `c2` on a switch of its own; a router between. Backends serve TCP
/// and UDP on port 8080 in both families.
fn cluster(impls: Impls) -> (Lab, Vec<Server>) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r
            ls-add s
            lrp-add r r-s 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
            lsp-add s s-r
            lsp-set-type s-r router
            lsp-set-addresses s-r router
            lsp-set-options s-r router-port=r-s
            ls-add far
            lrp-add r r-far 0a:00:00:00:01:fe 10.0.1.254/24 fd01::fe/64
            lsp-add far far-r
            lsp-set-type far-r router
            lsp-set-addresses far-r router
            lsp-set-options far-r router-port=r-far");
    let machines = [
        ("b1", "s", "h1", "10.0.0.1", "fd00::1", "0a:00:00:00:00:01"),
        ("b2", "s", "h2", "10.0.0.2", "fd00::2", "0a:00:00:00:00:02"),
        ("c1", "s", "h1", "10.0.0.3", "fd00::3", "0a:00:00:00:00:03"),
        (
            "c2",
            "far",
            "h2",
            "10.0.1.3",
            "fd01::3",
            "0a:00:00:00:01:03",
        ),
    ];
    for (name, switch, host, v4, v6, mac) in machines {
        lab.nb(&format!(
            "lsp-add {switch} {name}\n lsp-set-addresses {name} '{mac} {v4} {v6}'"
        ));
        let gateways = if switch == "s" {
            "10.0.0.254 fd00::fe"
        } else {
            "10.0.1.254 fd01::fe"
        };
        lab.vm(host, name, &format!("{mac} {v4}/24 {v6}/64 via {gateways}"));
    }
    lab.nb("lb-add lb4 192.0.2.1:80 10.0.0.1:8080,10.0.0.2:8080 tcp
            lb-add lb6 [2001:db8::1]:80 [fd00::1]:8080,[fd00::2]:8080 tcp
            lb-add lbu 192.0.2.1:53 10.0.0.1:8080,10.0.0.2:8080 udp
            lb-add lbu6 [2001:db8::1]:53 [fd00::1]:8080,[fd00::2]:8080 udp
            lb-add lbany 192.0.2.2 10.0.0.1,10.0.0.2");
    for lb in ["lb4", "lb6", "lbu", "lbu6", "lbany"] {
        lab.nb(&format!("ls-lb-add s {lb}\n ls-lb-add far {lb}"));
    }
    lab.ready();
    let mut servers = Vec::new();
    for vm in ["b1", "b2"] {
        let n = &vm[1..];
        for proto in ["tcp", "udp"] {
            servers.push(serve(&lab, vm, proto, &format!("10.0.0.{n}:8080")));
            servers.push(serve(&lab, vm, proto, &format!("[fd00::{n}]:8080")));
        }
    }
    (lab, servers)
}

/// Both backends get connections, and see the client's own address.
#[track_caller]
fn spreads(lab: &Lab, vm: &str, proto: &str, at: &str, source: &str) {
    until(lab, vm, proto, at, |answer| answer.starts_with('b'));
    let answers = ask(lab, vm, proto, at, 20);
    let counts = counted(&answers);
    assert!(
        counts.len() == 2 && counts.keys().all(|who| who.starts_with('b')),
        "{vm} to {at}: {answers:?}"
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.split(' ').nth(1) == Some(source)),
        "{vm} to {at}: {answers:?}"
    );
}

pub fn virtual_addresses_from_near_and_far(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    for (client, v4, v6) in [("c1", "10.0.0.3", "fd00::3"), ("c2", "10.0.1.3", "fd01::3")] {
        spreads(&lab, client, "tcp", "192.0.2.1:80", v4);
        spreads(&lab, client, "tcp", "[2001:db8::1]:80", v6);
        spreads(&lab, client, "udp", "192.0.2.1:53", v4);
        spreads(&lab, client, "udp", "[2001:db8::1]:53", v6);
        spreads(&lab, client, "tcp", "192.0.2.2:8080", v4);
    }
    // What is not balanced is not touched.
    assert_eq!(ask(&lab, "c2", "tcp", "10.0.0.1:8080", 1), ["b1 10.0.1.3"]);
}

/// A backend reaches itself behind a virtual address, from that address.
pub fn a_backend_is_its_own_client(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("lb-add self4 192.0.2.9:80 10.0.0.1:8080 tcp
            lb-add self6 [2001:db8::9]:80 [fd00::1]:8080 tcp
            lb-add selfu 192.0.2.9:53 10.0.0.1:8080 udp
            lb-add other 192.0.2.10:80 10.0.0.1:8080 tcp
            set load_balancer other options:hairpin_snat_ip=192.0.2.77
            ls-lb-add s self4
            ls-lb-add s self6
            ls-lb-add s selfu
            ls-lb-add s other");
    lab.ready();
    for (proto, at, source) in [
        ("tcp", "192.0.2.9:80", "192.0.2.9"),
        ("tcp", "[2001:db8::9]:80", "2001:db8::9"),
        ("udp", "192.0.2.9:53", "192.0.2.9"),
        ("tcp", "192.0.2.10:80", "192.0.2.77"),
    ] {
        let wanted = format!("b1 {source}");
        until(&lab, "b1", proto, at, |answer| answer.starts_with(&wanted));
        let answers = ask(&lab, "b1", proto, at, 3);
        assert!(
            answers.iter().all(|answer| answer.starts_with(&wanted)),
            "{at}: {answers:?}"
        );
    }
    // Others see it from their own addresses.
    assert_eq!(ask(&lab, "c1", "tcp", "192.0.2.9:80", 1), ["b1 10.0.0.3"]);
}

/// While the affinity lasts, a client gets the same backend; without it, not.
pub fn a_client_stays_with_its_backend(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("set load_balancer lb4 options:affinity_timeout=60
            set load_balancer lb6 options:affinity_timeout=60
            set load_balancer lbu options:affinity_timeout=60");
    lab.ready();
    for (proto, at) in [
        ("tcp", "192.0.2.1:80"),
        ("tcp", "[2001:db8::1]:80"),
        ("udp", "192.0.2.1:53"),
    ] {
        until(&lab, "c1", proto, at, |answer| answer.starts_with('b'));
        let answers = ask(&lab, "c1", proto, at, 20);
        let same = answers.iter().all(|answer| *answer == answers[0]);
        assert!(same && answers[0].starts_with('b'), "{at}: {answers:?}");
    }
}

/// A thousand connections are spread within a tenth.
pub fn a_thousand_connections(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    until(&lab, "c1", "tcp", "192.0.2.1:80", |answer| {
        answer.starts_with('b')
    });
    let counts = counted(&ask(&lab, "c1", "tcp", "192.0.2.1:80", 1000));
    assert_eq!(counts.values().sum::<usize>(), 1000, "{counts:?}");
    for who in ["b1", "b2"] {
        let count = counts.get(who).copied().unwrap_or_default();
        assert!((450..=550).contains(&count), "{counts:?}");
    }
}

/// Without backends: dropped, or refused where told to.
pub fn nobody_is_behind(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("--reject lb-add refusing 192.0.2.20:80 '' tcp
            --reject lb-add refusingu 192.0.2.20:53 '' udp
            lb-add silent 192.0.2.21:53 '' udp
            ls-lb-add s refusing
            ls-lb-add s refusingu
            ls-lb-add s silent");
    lab.ready();
    until(&lab, "c1", "tcp", "192.0.2.20:80", |answer| {
        answer == "refused"
    });
    until(&lab, "c1", "udp", "192.0.2.20:53", |answer| {
        answer == "refused"
    });
    assert_eq!(ask(&lab, "c1", "udp", "192.0.2.21:53", 1), ["silence"]);
    // One backend more and it is served.
    lab.nb("set load_balancer silent vips:'\"192.0.2.21:53\"'='\"10.0.0.1:8080\"'");
    lab.ready();
    until(&lab, "c1", "udp", "192.0.2.21:53", |answer| {
        answer.starts_with("b1 ")
    });
}

/// Errors about what has been balanced.
pub fn errors_come_from_the_virtual_address(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("lb-add closed 192.0.2.30:53 10.0.0.1:9999 udp
            lb-add closed6 [2001:db8::30]:53 [fd00::2]:9999 udp");
    for switch in ["s", "far"] {
        lab.nb(&format!(
            "ls-lb-add {switch} closed\n ls-lb-add {switch} closed6"
        ));
    }
    lab.ready();
    // The backend says that nobody is there; the client hears it about the virtual address, or it would not believe it.
    for client in ["c1", "c2"] {
        for at in ["192.0.2.30:53", "[2001:db8::30]:53"] {
            until(&lab, client, "udp", at, |answer| answer == "refused");
        }
    }
}

/// A backend that does not answer its health check gets no connections, and gets them again when it does.
pub fn backends_that_are_down_are_left_out(impls: Impls) {
    let (lab, mut servers) = cluster(impls);
    for (lb, vip, source) in [
        ("lb4", "192.0.2.1:80", "10.0.0.250"),
        ("lbu", "192.0.2.1:53", "10.0.0.250"),
    ] {
        lab.nb(&format!(
            "--id=@check create load_balancer_health_check vip='\"{vip}\"' options:interval=1 options:timeout=1 -- \
             add load_balancer {lb} health_check @check
             set load_balancer {lb} ip_port_mappings:10.0.0.1=b1:{source} ip_port_mappings:10.0.0.2=b2:{source}"
        ));
    }
    let all_are = |wanted: &str| {
        wait_for(CONVERGE, &format!("monitors to be {wanted}"), || {
            let status = lab.sb("--bare --columns=status list service_monitor");
            let seen: Vec<&str> = status.split_whitespace().collect();
            ensure(
                seen.len() == 4 && seen.iter().all(|s| *s == "online"),
                status.clone(),
            )
        })
    };
    all_are("online");
    for at in ["192.0.2.1:80", "192.0.2.1:53"] {
        let proto = if at.ends_with(":80") { "tcp" } else { "udp" };
        spreads(&lab, "c1", proto, at, "10.0.0.3");
    }
    // b1 stops serving TCP and UDP.
    servers.drain(..4);
    wait_for(CONVERGE, "b1 to be offline", || {
        let offline = lab.sb("--bare --columns=logical_port find service_monitor status=offline");
        ensure(
            offline.split_whitespace().collect::<Vec<_>>() == ["b1", "b1"],
            offline.clone(),
        )
    });
    lab.ready();
    for (proto, at) in [("tcp", "192.0.2.1:80"), ("udp", "192.0.2.1:53")] {
        let answers = ask(&lab, "c1", proto, at, 10);
        assert!(
            answers.iter().all(|answer| answer.starts_with("b2 ")),
            "{at}: {answers:?}"
        );
    }
    servers.push(serve(&lab, "b1", "tcp", "10.0.0.1:8080"));
    servers.push(serve(&lab, "b1", "udp", "10.0.0.1:8080"));
    all_are("online");
    lab.ready();
    spreads(&lab, "c1", "tcp", "192.0.2.1:80", "10.0.0.3");
}

/// Somebody asks for a load balancer without backends: one row says so, for each virtual address.
pub fn an_event_for_empty_backends(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("--event lb-add woken 192.0.2.40:80 '' tcp
            ls-lb-add s woken");
    lab.ready();
    let events = || lab.sb("--bare --columns=event_info list controller_event");
    assert_eq!(events().trim(), "");
    let ns = lab.netns("c1");
    let asking = words(&format!("{TRAFFIC} ask tcp 192.0.2.40:80 2"));
    let mut client = prepare(Some(&ns), None, &asking)
        .stdout(Stdio::null())
        .spawn()
        .map(Server)
        .unwrap();
    let seen = wait_for(CONVERGE, "an event", || {
        let seen = events();
        if seen.contains("192.0.2.40:80") {
            Ok(seen)
        } else {
            Err(seen)
        }
    });
    assert!(seen.contains("protocol=tcp"), "{seen}");
    client.0.wait().unwrap();
    let about = lab.sb("--bare --columns=seq_num list controller_event");
    assert_eq!(about.split_whitespace().count(), 1, "{about}");
}

/// What every chassis has its own of: the virtual address and its backend.
pub fn templates_differ_from_host_to_host(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("--template lb-add tmpl ^VIP:80 ^BACKEND:8080 tcp ipv4
            ls-lb-add s tmpl
            ls-lb-add far tmpl");
    for (host, vip, backend) in [
        ("h1", "192.0.2.51", "10.0.0.1"),
        ("h2", "192.0.2.52", "10.0.0.2"),
    ] {
        let chassis = lab.sb_get("chassis", "name", &format!("hostname={host}"));
        lab.nb(&format!(
            "create chassis_template_var chassis={chassis} variables:VIP={vip} variables:BACKEND={backend}"
        ));
    }
    lab.ready();
    until(&lab, "c1", "tcp", "192.0.2.51:80", |answer| {
        answer == "b1 10.0.0.3"
    });
    until(&lab, "c2", "tcp", "192.0.2.52:80", |answer| {
        answer == "b2 10.0.1.3"
    });
}

/// Connections to a backend that is taken away are forgotten where that is asked for, and only those.
pub fn connections_of_lost_backends_are_forgotten(impls: Impls) {
    let (lab, _servers) = cluster(impls);
    lab.nb("--wait=hv set load_balancer lbu options:ct_flush=true");
    for vip in ["192.0.2.1:53", "192.0.2.1:80"] {
        let proto = if vip.ends_with("53") { "udp" } else { "tcp" };
        until(&lab, "c1", proto, vip, |answer| answer.starts_with('b'));
        ask(&lab, "c1", proto, vip, 20);
    }
    // Connections from the virtual address to a backend, on the client's host.
    let tracked = |protocol: &str, backend: &str| {
        lab.tracked("h1")
            .lines()
            .filter(|line| {
                line.starts_with(protocol)
                    && line.contains("dst=192.0.2.1,")
                    && line.contains(&format!("reply=(src={backend},"))
            })
            .count()
    };
    for protocol in ["udp", "tcp"] {
        for backend in ["10.0.0.1", "10.0.0.2"] {
            assert_ne!(tracked(protocol, backend), 0, "{protocol} to {backend}");
        }
    }
    lab.nb("--may-exist lb-add lbu 192.0.2.1:53 10.0.0.2:8080 udp
            --may-exist lb-add lb4 192.0.2.1:80 10.0.0.2:8080 tcp");
    wait_for(
        CONVERGE,
        "connections to the lost backend forgotten",
        || {
            let count = tracked("udp", "10.0.0.1");
            weft_integration::wait::ensure(count == 0, format!("{count} are left"))
        },
    );
    assert_ne!(tracked("udp", "10.0.0.2"), 0, "those of the other too");
    assert_ne!(tracked("tcp", "10.0.0.1"), 0, "not asked for");
    // Without the option nothing more is forgotten, nor because it goes.
    lab.nb("--wait=hv remove load_balancer lbu options ct_flush");
    assert_ne!(tracked("udp", "10.0.0.2"), 0);
    lab.nb("--wait=hv set load_balancer lb4 options:ct_flush=true");
    lab.nb("lb-del lb4");
    wait_for(CONVERGE, "connections of a lost address forgotten", || {
        let count = tracked("tcp", "10.0.0.2");
        weft_integration::wait::ensure(count == 0, format!("{count} are left"))
    });
}
