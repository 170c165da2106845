//! VIFs that the controller plugs.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Waits for a device of a host, or for its end.
fn device(lab: &Lab, host: &str, name: &str, there: bool) {
    wait_for(CONVERGE, &format!("{name} on {host}: {there}"), || {
        let seen = lab.run(host, &format!("ip link show {name}"));
        ensure(seen.success == there, seen.stdout + &seen.stderr)
    });
}

/// Makes the device what a machine would be.
fn address(lab: &Lab, host: &str, name: &str) {
    lab.run(
        host,
        &format!("ip link set {name} addrgenmode none address 0a:00:00:00:00:01 up"),
    )
    .ok();
    lab.run(host, &format!("ip addr replace 10.0.0.1/24 dev {name}"))
        .ok();
}

/// A port asks to be plugged: its device comes, works, follows `requested-chassis` and goes; what somebody else plugs, or
/// what nobody can, is left alone.
pub fn a_port_asks_to_be_plugged(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s agent
            lsp-set-addresses agent '0a:00:00:00:00:01 10.0.0.1'
            lsp-set-options agent requested-chassis=h1 vif-plug-type=internal vif-plug:internal:name=dev0 vif-plug-mtu-request=1300
            lsp-add s other
            lsp-set-addresses other '0a:00:00:00:00:02 10.0.0.2'
            lsp-add s nobodys
            lsp-set-options nobodys requested-chassis=h1 vif-plug-type=representor");
    lab.vm("h2", "other", "0a:00:00:00:00:02 10.0.0.2/24");
    device(&lab, "h1", "dev0", true);
    address(&lab, "h1", "dev0");
    lab.ready();
    lab.reaches("other", "10.0.0.1");
    let mtu = || lab.run("h1", "cat /sys/class/net/dev0/mtu").ok();
    wait_for(CONVERGE, "the MTU", || {
        ensure(mtu().trim() == "1300", mtu())
    });
    wait_for(
        CONVERGE,
        "the one that nobody can plug to be told of",
        || {
            let seen = lab.controller_appctl("h1", "diagnostics").result()?;
            ensure(
                seen.contains("nobodys") && seen.contains("no such provider"),
                seen,
            )
        },
    );

    lab.nb("lsp-set-options agent requested-chassis=h2 vif-plug-type=internal");
    device(&lab, "h1", "dev0", false);
    // Named after the port now.
    device(&lab, "h2", "agent", true);
    address(&lab, "h2", "agent");
    lab.nb("--timeout=30 --wait=hv sync");
    lab.reaches("other", "10.0.0.1");

    // It survives its controller.
    lab.stop("h2", "ovn-controller", rustix::process::Signal::KILL);
    lab.reaches("other", "10.0.0.1");
    lab.start_controller("h2");
    lab.nb("--timeout=30 --wait=hv sync");
    lab.reaches("other", "10.0.0.1");

    // Somebody else has plugged it already.
    lab.nb("lsp-set-options agent requested-chassis=h2");
    device(&lab, "h2", "agent", false);
    lab.vm_of_port("h2", "mine", "agent", "0a:00:00:00:00:01 10.0.0.1/24");
    lab.reaches("other", "10.0.0.1");
    lab.nb("lsp-set-options agent requested-chassis=h2 vif-plug-type=internal");
    lab.nb("--timeout=30 --wait=hv sync");
    assert!(!lab.run("h2", "ip link show agent").success);
    lab.unplug("mine");
    device(&lab, "h2", "agent", true);
    lab.nb("lsp-del agent");
    device(&lab, "h2", "agent", false);
}
