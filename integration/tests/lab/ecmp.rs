//! Several equal routes.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::routing::routed;

fn add_next_hop(lab: &Lab) {
    lab.nb("lsp-add t t2
            lsp-set-addresses t2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'");
    lab.vm(
        "h2",
        "t2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
}

pub fn equal_routes_share_the_load(impls: Impls) {
    let lab = routed(impls, 2, &["a", "t"]);
    add_next_hop(&lab);
    for to in ["10.2.0.1", "10.2.0.2", "fd02::1", "fd02::2"] {
        lab.reaches("a1", to);
    }
    lab.nb("--wait=hv lr-route-add r 172.16.0.0/16 10.2.0.1
            --ecmp lr-route-add r 172.16.0.0/16 10.2.0.2
            lr-route-add r fd99::/64 fd02::1
            --ecmp lr-route-add r fd99::/64 fd02::2");
    let captures = ["t1", "t2"].map(|vm| lab.capture(vm, vm, "udp"));
    let shares = |to: &str| {
        let to = format!("> {to}.");
        [0, 1].map(|n| {
            let packets = captures[n].packets();
            packets.iter().filter(|packet| packet.contains(&to)).count()
        })
    };
    let send = |to: &str| {
        let line =
            format!("bash -c 'for n in {{1..100}}; do echo x > /dev/udp/{to}/$((5000+n)); done'");
        lab.vm_run("a1", &line).ok();
    };
    for to in ["172.16.0.1", "fd99::1"] {
        wait_for(CONVERGE, "both next hops take part", || {
            send(to);
            let [one, two] = shares(to);
            ensure(one > 20 && two > 20, format!("{one} and {two}"))
        });
    }
    lab.nb("--wait=hv lr-route-del r 172.16.0.0/16 10.2.0.1");
    send("172.16.0.2");
    wait_for(CONVERGE, "the route that is left takes all", || {
        let found = shares("172.16.0.2");
        ensure(found == [0, 100], format!("{found:?}"))
    });
}

/// Two routers outside lead to one network; connections from there are answered through the one they came by.
pub fn replies_go_through_the_same_next_hop(impls: Impls) {
    let lab = routed(impls, 1, &["a", "t"]);
    lab.nb("set logical_router r options:chassis=h1
            lsp-add t t2
            lsp-set-addresses t2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'
            --ecmp-symmetric-reply lr-route-add r 20.0.0.0/24 10.2.0.1
            --ecmp-symmetric-reply lr-route-add r 20.0.0.0/24 10.2.0.2
            --ecmp-symmetric-reply lr-route-add r fd20::/64 fd02::1
            --ecmp-symmetric-reply lr-route-add r fd20::/64 fd02::2");
    lab.vm(
        "h1",
        "t2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
    for (vm, last) in [("t1", 1), ("t2", 2)] {
        lab.reaches(vm, "10.1.0.1");
        lab.reaches(vm, "fd01::1");
        lab.vm_run(vm, &format!("ip addr add 20.0.0.{last}/32 dev lo"))
            .ok();
        lab.vm_run(vm, &format!("ip addr add fd20::{last}/128 dev lo"))
            .ok();
    }
    let server = "import socketserver,socket
class H(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b'hi')
class S(socketserver.ThreadingTCPServer):
    address_family=socket.AF_INET6
    allow_reuse_address=True
S(('::',7000),H).serve_forever()";
    let script = lab.host_dir("h1").join("server.py");
    std::fs::write(&script, server).unwrap();
    let serving = format!(
        "bash -c 'python3 {} >/dev/null 2>&1 & echo $!'",
        script.display()
    );
    let pid = lab.vm_run("a1", &serving).ok();
    let client = |vm: &str, from: &str, to: &str| {
        let code = format!(
            "import socket;s=socket.create_connection((\"{to}\",7000),2,(\"{from}\",0));print(s.recv(9).decode())"
        );
        lab.vm_run(vm, &format!("python3 -c '{code}'"))
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for (vm, from, to) in [
            ("t1", "20.0.0.1", "10.1.0.1"),
            ("t2", "20.0.0.2", "10.1.0.1"),
            ("t1", "fd20::1", "fd01::1"),
            ("t2", "fd20::2", "fd01::1"),
        ] {
            wait_for(CONVERGE, &format!("{vm} is served"), || {
                let answer = client(vm, from, to);
                ensure(answer.stdout.trim() == "hi", format!("{answer:?}"))
            });
            for n in 0..10 {
                let answer = client(vm, from, to);
                assert_eq!(
                    answer.stdout.trim(),
                    "hi",
                    "{vm} from {from}, connection {n}: {answer:?}"
                );
            }
        }
    }));
    lab.vm_run("a1", &format!("kill {}", pid.trim()));
    if let Err(why) = result {
        std::panic::resume_unwind(why);
    }
}
