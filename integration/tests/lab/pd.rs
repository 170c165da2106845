//! Prefixes that routers are given by a real server (ISC's), and what becomes of them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::Signal;
use weft_integration::command::{prepare, words};
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

/// `dhcpd -6` on a machine; ends with the value.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it; it gives prefixes of 64 bits out of fd55:0:0:100::/56 for some seconds, and may be spoken to directly,
    /// as stock controllers want.
    fn start(lab: &Lab, vm: &str, network: &str, unicast: &str) -> Server {
        let dir = lab.host_dir(&lab.hosts()[0]);
        let file = |name: &str| dir.join(format!("dhcpd-{vm}.{name}"));
        let conf = format!(
            "default-lease-time 20; preferred-lifetime 15;
             option dhcp-renewal-time 3; option dhcp-rebinding-time 10;
             option dhcp6.unicast {unicast};
             subnet6 {network} {{ prefix6 fd55:0:0:100:: fd55:0:0:f00:: /64; }}"
        );
        fs::write(file("conf"), conf).unwrap();
        fs::write(file("leases"), "").unwrap();
        let line = format!(
            "dhcpd -6 -f -d -cf {} -lf {} -pf {} {vm}",
            file("conf").display(),
            file("leases").display(),
            file("pid").display()
        );
        let log = file("log");
        let child = prepare(Some(&lab.netns(vm)), None, &words(&line))
            .stdout(Stdio::null())
            .stderr(Stdio::from(File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        let server = Server { child, log };
        server.says("Server starting service", 1);
        server
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said something so often.
    #[track_caller]
    fn says(&self, text: &str, times: usize) {
        wait_for(CONVERGE, &format!("dhcpd: {text}"), || {
            let said = self.said();
            ensure(said.matches(text).count() >= times, said)
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A router between `in` and `out`, where a server is on a host; nothing is bound to a chassis yet.
fn network(impls: Impls, host: &str) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add out
            ls-add in
            lr-add r
            lrp-add r r-out 0a:00:00:00:ff:01 fd99::254/64
            lsp-add out out-r
            lsp-set-type out-r router
            lsp-set-options out-r router-port=r-out
            lsp-set-addresses out-r router
            lrp-add r r-in 0a:00:00:00:ff:02 fd98::254/64
            lsp-add in in-r
            lsp-set-type in-r router
            lsp-set-options in-r router-port=r-in
            lsp-set-addresses in-r router
            lsp-add out srv
            lsp-set-addresses srv '0a:00:00:00:00:09 fd99::1 fe80::800:ff:fe00:9'
            lsp-add in p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 fd98::1'");
    lab.vm(host, "srv", "0a:00:00:00:00:09 fd99::1/64");
    // The server answers from its link-local address.
    for what in ["addrgenmode eui64", "down", "up"] {
        lab.vm_run("srv", &format!("ip link set srv {what}")).ok();
    }
    lab.vm_run("srv", "ip addr replace fd99::1/64 dev srv nodad")
        .ok();
    lab.vm("h2", "p1", "0a:00:00:00:00:01 fd98::1/64");
    lab.ready();
    wait_for(CONVERGE, "the server's link-local address", || {
        let seen = lab.vm_run("srv", "ip -6 addr show dev srv").result()?;
        ensure(
            seen.contains("fe80::800:ff:fe00:9") && !seen.contains("tentative"),
            seen,
        )
    });
    lab
}

fn wish(lab: &Lab) {
    lab.nb(
        "set logical_router_port r-out options:prefix_delegation=true
            set logical_router_port r-in options:prefix=true",
    );
}

/// Waits for a prefix of the server's; returns it.
#[track_caller]
fn given(lab: &Lab) -> String {
    wait_for(CONVERGE, "a prefix", || {
        let seen = lab.nb("--bare get logical_router_port r-in ipv6_prefix");
        let prefix = seen.trim_matches(['[', ']', '"']);
        let list = lab.sb_get("port_binding", "options", "logical_port=r-in");
        let right = prefix.starts_with("fd55:0:0:")
            && prefix.ends_with("::/64")
            && list.contains(&format!(":{prefix}"));
        ensure(right, format!("{seen} {list}")).map(|()| prefix.to_owned())
    })
}

/// A port of a distributed router that is bound to a chassis (where alone the network beyond is reached).
pub fn a_gateway_port_is_given_a_prefix(impls: Impls) {
    let lab = network(impls, "h1");
    let server = Server::start(&lab, "srv", "fd99::/64", "fd99::1");
    lab.nb("lrp-set-gateway-chassis r-out h1");
    wish(&lab);
    let prefix = given(&lab);
    // Stock controllers take their time.
    if lab.impls().controller == Impl::Weft {
        server.says("Renew message", 2);
    }
    assert_eq!(given(&lab), prefix);
    // Whoever runs the network may now use it.
    let address = prefix.replace("::/64", "::1/64");
    lab.nb(&format!(
        "add logical_router_port r-in networks '\"{address}\"'"
    ));
    lab.nb("--wait=hv sync");
    assert_eq!(given(&lab), prefix);
    if lab.impls().controller == Impl::Weft {
        gives_back(&lab, &server);
    }
}

/// What is not wanted any more goes back to the server, and is told to nobody.
fn gives_back(lab: &Lab, server: &Server) {
    for (n, change) in ["r-in options prefix", "r-out options prefix_delegation"]
        .iter()
        .enumerate()
    {
        lab.nb(&format!("remove logical_router_port {change}"));
        server.says("Release message", n + 1);
        wait_for(CONVERGE, "the prefix to go", || {
            let list = lab.sb_get("port_binding", "options", "logical_port=r-in");
            ensure(!list.contains("pd_list"), list)
        });
        if n == 0 {
            wish(lab);
            given(lab);
        }
    }
}

/// A router that is bound to a chassis as a whole; what it has survives its controller, and goes when the server has it no
/// more.
pub fn a_gateway_router_is_given_a_prefix(impls: Impls) {
    let lab = network(impls, "h2");
    let server = Server::start(&lab, "srv", "fd99::/64", "fd99::1");
    lab.nb("set logical_router r options:chassis=h1");
    wish(&lab);
    let prefix = given(&lab);
    server.says("Renew message", 1);
    lab.stop("h1", "ovn-controller", Signal::KILL);
    lab.start_controller("h1");
    server.says("Rebind message", 1);
    server.says("Renew message", 2);
    assert_eq!(given(&lab), prefix);
    let refused = server.said();
    assert!(!refused.contains("NoBinding"), "{refused}");
    drop(server);
    wait_for(CONVERGE, "the prefix to end", || {
        let seen = lab.nb("--bare get logical_router_port r-in ipv6_prefix");
        let list = lab.sb_get("port_binding", "options", "logical_port=r-in");
        // Stock northd leaves what it has written.
        let gone = seen == "[]" || lab.impls().northd == Impl::Stock;
        ensure(gone && !list.contains("pd_list"), format!("{seen} {list}"))
    });
}
