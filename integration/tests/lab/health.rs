//! Health checks of switch ports and of backends seen from a router.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::lb::{ask, counted, serve, until};

/// `p1` and `p2` on a switch, on two hosts, with a router.
pub(crate) fn pair(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lr-add r
            lrp-add r r-s 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
            lsp-add s s-r
            lsp-set-type s-r router
            lsp-set-addresses s-r router
            lsp-set-options s-r router-port=r-s");
    for (n, host) in [(1, "h1"), (2, "h2")] {
        let mac = format!("0a:00:00:00:00:0{n}");
        lab.nb(&format!(
            "lsp-add s p{n}\n lsp-set-addresses p{n} '{mac} 10.0.0.{n} fd00::{n}'"
        ));
        let config = format!("{mac} 10.0.0.{n}/24 fd00::{n}/64 via 10.0.0.254 fd00::fe");
        lab.vm(host, &format!("p{n}"), &config);
    }
    lab
}

/// Has a port checked every second.
fn check(lab: &Lab, port: &str, what: &str) {
    lab.nb(&format!(
        "--id=@check create logical_switch_port_health_check {what} options:interval=1 options:timeout=1 -- \
         add logical_switch_port {port} health_checks @check"
    ));
}

/// Waits until the checks with a source have said something.
#[track_caller]
fn say(lab: &Lab, source: &str, wanted: &str) {
    wait_for(CONVERGE, &format!("checks from {source}: {wanted}"), || {
        let line = format!(
            "--bare --columns=status find logical_switch_port_health_check src_ip='\"{source}\"'"
        );
        let said = lab.nb(&line);
        let rows = lab.sb("list service_monitor");
        let all: Vec<&str> = said.split_whitespace().collect();
        ensure(
            !all.is_empty() && all.iter().all(|status| *status == wanted),
            format!("{said}\n{rows}"),
        )
    });
}

/// Ports say in the northbound whether what is behind them answers, whoever the question seems to come from.
pub fn ports_are_checked(impls: Impls) {
    let lab = pair(impls);
    let _servers = [
        serve(&lab, "p1", "tcp", "10.0.0.1:8080"),
        serve(&lab, "p1", "udp", "[fd00::1]:8080"),
    ];
    // With ACLs that let nothing else through.
    lab.nb("acl-add s to-lport 1 ip drop
            acl-add s to-lport 2 'tcp.dst == 22' allow-related");
    check(&lab, "p1", "protocol=icmp src_ip=10.0.0.250");
    check(
        &lab,
        "p1",
        "protocol=icmp src_ip='\"fd00::250\"' address='\"fd00::1\"'",
    );
    check(&lab, "p1", "protocol=tcp port=8080 src_ip=10.0.0.251");
    check(&lab, "p1", "protocol=udp port=8080 src_ip='\"fd00::251\"'");
    // The router's own addresses.
    check(&lab, "p2", "protocol=icmp src_ip=10.0.0.254");
    check(&lab, "p2", "protocol=icmp src_ip='\"fd00::fe\"'");
    lab.ready();
    let sources = [
        "10.0.0.250",
        "fd00::250",
        "10.0.0.251",
        "fd00::251",
        "10.0.0.254",
        "fd00::fe",
    ];
    for source in sources {
        say(&lab, source, "online");
    }
    // Nobody serves here.
    check(&lab, "p2", "protocol=tcp port=8080 src_ip=10.0.0.252");
    check(&lab, "p2", "protocol=udp port=8080 src_ip='\"fd00::252\"'");
    say(&lab, "10.0.0.252", "offline");
    say(&lab, "fd00::252", "offline");
    for vm in ["p1", "p2"] {
        lab.vm_run(vm, &format!("ip addr flush dev {vm}")).ok();
    }
    for source in ["10.0.0.250", "fd00::250", "10.0.0.254", "fd00::fe"] {
        say(&lab, source, "offline");
    }
}

/// Backends are checked from the address of their router, whose own connections to them do not suffer.
pub fn backends_are_checked_from_their_router(impls: Impls) {
    let lab = pair(impls);
    let mut servers = vec![
        serve(&lab, "p1", "tcp", "10.0.0.1:8080"),
        serve(&lab, "p2", "tcp", "10.0.0.2:8080"),
    ];
    lab.nb("ls-add far
            lrp-add r r-far 0a:00:00:00:01:fe 10.0.1.254/24
            lsp-add far far-r
            lsp-set-type far-r router
            lsp-set-addresses far-r router
            lsp-set-options far-r router-port=r-far
            lsp-add far c
            lsp-set-addresses c '0a:00:00:00:01:03 10.0.1.3'
            acl-add s to-lport 2 'outport == {\"p1\", \"p2\"} && tcp.dst == 8080' allow-related
            acl-add s to-lport 1 'outport == {\"p1\", \"p2\"} && ip' drop
            lb-add lb 192.0.2.1:80 10.0.0.1:8080,10.0.0.2:8080 tcp
            set logical_router r options:chassis=h1 options:lb_force_snat_ip=router_ip
            lr-lb-add r lb
            --id=@check create load_balancer_health_check vip='\"192.0.2.1:80\"' options:interval=1 options:timeout=1 -- \
                add load_balancer lb health_check @check
            set load_balancer lb ip_port_mappings:10.0.0.1=p1:10.0.0.254 ip_port_mappings:10.0.0.2=p2:10.0.0.254");
    lab.vm("h1", "c", "0a:00:00:00:01:03 10.0.1.3/24 via 10.0.1.254");
    lab.ready();
    let are = |wanted: [&str; 2]| {
        wait_for(CONVERGE, &format!("backends: {wanted:?}"), || {
            let status = |port: &str| {
                let line =
                    format!("--bare --columns=status find service_monitor logical_port={port}");
                lab.sb(&line).trim().to_owned()
            };
            let seen = ["p1", "p2"].map(status);
            ensure(seen == wanted, format!("{seen:?}"))
        });
    };
    are(["online"; 2]);
    // The router speaks to the backends in its own name: their answers must not end in the check.
    until(&lab, "c", "tcp", "192.0.2.1:80", |answer| {
        answer.starts_with('p')
    });
    let counts = counted(&ask(&lab, "c", "tcp", "192.0.2.1:80", 30));
    assert!(
        counts.len() == 2 && ["p1", "p2"].iter().all(|who| counts.contains_key(*who)),
        "{counts:?}"
    );
    servers.remove(0);
    are(["offline", "online"]);
    lab.ready();
    let counts = counted(&ask(&lab, "c", "tcp", "192.0.2.1:80", 10));
    assert_eq!(counts.get("p2"), Some(&10), "{counts:?}");
    servers.push(serve(&lab, "p1", "tcp", "10.0.0.1:8080"));
    are(["online"; 2]);
}
