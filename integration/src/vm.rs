//! VMs: namespaces on a port of an Open vSwitch bridge.

use crate::command::{Done, run, sh, words};
use crate::lab::Lab;
use crate::wait_for;

/// How a VM is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// An internal port: gone and new with vswitchd.
    Internal,
    /// A pair of Ethernet devices: stays when vswitchd goes.
    Veth,
}

/// A VM of a lab.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its namespace (without the lab's tag) and its device.
    pub name: String,
    /// The logical port.
    pub port: String,
    /// Where it runs.
    pub host: String,
    /// The bridge it is on.
    pub bridge: String,
    /// How.
    pub plug: Plug,
    /// Ethernet address.
    pub mac: String,
    /// Addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// Next hops of its default routes.
    pub gateways: Vec<String>,
    /// Whether northd reports its port up (a VM behind br-int as a VIF).
    pub(crate) shows_up: bool,
}

fn parse(host: &str, name: &str, config: &str, bridge: &str, plug: Plug, shows_up: bool) -> Vm {
    let (own, gateways) = config.split_once("via").unwrap_or((config, ""));
    let mut own = words(own).into_iter();
    Vm {
        name: name.into(),
        port: name.into(),
        host: host.into(),
        bridge: bridge.into(),
        plug,
        mac: own.next().expect("a VM has an Ethernet address"),
        addresses: own.collect(),
        gateways: words(gateways),
        shows_up,
    }
}

impl Lab {
    /// A VM on an internal port of br-int. Its name is also the logical port's, `config` is its Ethernet address, its
    /// addresses with prefix lengths, then `via` and its gateways.
    #[track_caller]
    pub fn vm(&self, host: &str, name: &str, config: &str) {
        self.plug(host, name, config, "br-int", Plug::Internal, true);
    }

    /// The same on a pair of Ethernet devices, which outlive vswitchd.
    #[track_caller]
    pub fn veth_vm(&self, host: &str, name: &str, config: &str) {
        self.plug(host, name, config, "br-int", Plug::Veth, true);
    }

    /// The same where northd will not report the port up.
    #[track_caller]
    pub fn silent_vm(&self, host: &str, name: &str, config: &str) {
        self.plug(host, name, config, "br-int", Plug::Internal, false);
    }

    /// A machine on another bridge of the host, in a VLAN unless `tag` is 0: an outside network, a VM's inner bridge.
    #[track_caller]
    pub fn machine(&self, host: &str, bridge: &str, name: &str, tag: u16, config: &str) {
        self.plug(host, name, config, bridge, Plug::Internal, false);
        if tag != 0 {
            self.vs(host, &format!("set port {name} tag={tag}"));
        }
    }

    /// A VM named other than its port, which may be on several hosts at once: a localport's, a contested port's.
    #[track_caller]
    pub fn vm_of_port(&self, host: &str, name: &str, port: &str, config: &str) {
        let vm = parse(host, name, config, "br-int", Plug::Internal, false);
        self.plug_in(Vm {
            port: port.into(),
            ..vm
        });
    }

    fn plug(&self, host: &str, name: &str, config: &str, bridge: &str, plug: Plug, shows_up: bool) {
        self.plug_in(parse(host, name, config, bridge, plug, shows_up));
    }

    fn plug_in(&self, vm: Vm) {
        sh(&format!("ip netns add {}", self.netns(&vm.name))).ok();
        self.attach(&vm);
        self.vms
            .lock()
            .expect("no other thread panicked with it")
            .push(vm);
    }
    fn attach(&self, vm: &Vm) {
        let (
            Vm {
                name,
                port,
                host,
                bridge,
                ..
            },
            ns,
            host_ns,
        ) = (vm, self.netns(&vm.name), self.netns(&vm.host));
        let iface = if bridge == "br-int" {
            format!("external_ids:iface-id={port}")
        } else {
            String::new()
        };
        match vm.plug {
            Plug::Internal => {
                self.vs(host, &format!("--may-exist add-port {bridge} {name}\n set interface {name} type=internal {iface}"));
                wait_for(
                    crate::lab::CONVERGE,
                    &format!("device {name} on {host}"),
                    || sh(&format!("ip -n {host_ns} link show {name}")).result(),
                );
                sh(&format!("ip -n {host_ns} link set {name} netns {ns}")).ok();
            }
            Plug::Veth => {
                sh(&format!(
                    "ip link add {name} netns {ns} type veth peer name {name} netns {host_ns}"
                ))
                .ok();
                sh(&format!("ip -n {host_ns} link set {name} up")).ok();
                self.vs(
                    host,
                    &format!("--may-exist add-port {bridge} {name}\n set interface {name} {iface}"),
                );
            }
        }
        sh(&format!("ip -n {ns} link set lo up")).ok();
        // No link-local address: nothing is sent that the test did not ask for.
        sh(&format!(
            "ip -n {ns} link set {name} addrgenmode none address {} up",
            vm.mac
        ))
        .ok();
        for address in &vm.addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            sh(&format!("ip -n {ns} addr add {address} dev {name} {nodad}")).ok();
        }
        for gateway in &vm.gateways {
            sh(&format!(
                "ip -n {ns} route add default via {gateway} dev {name}"
            ))
            .ok();
        }
    }

    /// Attaches a host's VMs again whose devices went with vswitchd.
    pub(crate) fn replug(&self, host: &str) {
        let vms: Vec<Vm> = self
            .vms
            .lock()
            .expect("no other thread panicked with it")
            .clone();
        for vm in vms
            .iter()
            .filter(|vm| vm.host == host && vm.plug == Plug::Internal)
        {
            // vswitchd makes its taps persistent: what it leaves behind when killed would be in the new one's way.
            let old = sh(&format!(
                "ip -n {} link show {}",
                self.netns(&vm.name),
                vm.name
            ));
            if old.success {
                sh(&format!(
                    "ip -n {} link del {}",
                    self.netns(&vm.name),
                    vm.name
                ))
                .ok();
            }
            self.attach(vm);
        }
    }

    /// A physical network that `hosts` are on, mapped there as `network`, with a machine on it that no host carries.
    #[track_caller]
    pub fn outside(&self, hosts: &[&str], network: &str, name: &str, config: &str) {
        let (under, ns) = (self.netns("net"), self.netns(name));
        let vm = parse("net", name, config, "", Plug::Veth, false);
        sh(&format!(
            "ip -n {under} link add ext0 type bridge mcast_snooping 0"
        ))
        .ok();
        sh(&format!("ip -n {under} link set ext0 up")).ok();
        let wire = |here: &str, there: &str, ns: &str| {
            sh(&format!(
                "ip link add {here} netns {under} type veth peer name {there} netns {ns}"
            ))
            .ok();
            sh(&format!("ip -n {under} link set {here} master ext0 up")).ok();
        };
        for host in hosts {
            let host_ns = self.netns(host);
            self.mapped_bridge(host, "br-ext", network);
            wire(&format!("x{host}"), "eth2", &host_ns);
            sh(&format!("ip -n {host_ns} link set eth2 up")).ok();
            self.vs(host, "add-port br-ext eth2");
        }
        sh(&format!("ip netns add {ns}")).ok();
        wire(&format!("x{name}"), name, &ns);
        sh(&format!("ip -n {ns} link set lo up")).ok();
        sh(&format!(
            "ip -n {ns} link set {name} addrgenmode none address {} up",
            vm.mac
        ))
        .ok();
        for address in &vm.addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            sh(&format!("ip -n {ns} addr add {address} dev {name} {nodad}")).ok();
        }
        for gateway in &vm.gateways {
            sh(&format!(
                "ip -n {ns} route add default via {gateway} dev {name}"
            ))
            .ok();
        }
    }

    /// Cuts a host's link to the underlay, or mends it.
    #[track_caller]
    pub fn link(&self, host: &str, up: bool) {
        let index = self.hosts().iter().position(|h| h == host);
        let index = index.expect("a host of the lab");
        let state = if up { "up" } else { "down" };
        sh(&format!(
            "ip -n {} link set u{index} {state}",
            self.netns("net")
        ))
        .ok();
    }

    /// Takes a VM off its host.
    #[track_caller]
    pub fn unplug(&self, name: &str) {
        let mut vms = self.vms.lock().expect("no other thread panicked with it");
        let at = vms
            .iter()
            .position(|vm| vm.name == name)
            .unwrap_or_else(|| panic!("no VM {name}"));
        let vm = vms.remove(at);
        self.vs(&vm.host, &format!("del-port {} {name}", vm.bridge));
        sh(&format!("ip netns del {}", self.netns(name))).ok();
    }

    /// Runs a line inside a VM.
    #[track_caller]
    pub fn vm_run(&self, vm: &str, line: &str) -> Done {
        run(Some(&self.netns(vm)), None, &words(line))
    }

    /// A bridge of its own behind a port of br-int, as a hypervisor's guest with machines inside it: machines are put
    /// on it with [`Lab::machine`].
    #[track_caller]
    pub fn inner_bridge(&self, host: &str, bridge: &str, port: &str) {
        let ns = self.netns(host);
        sh(&format!(
            "ip -n {ns} link add {port} type veth peer name {port}-in"
        ))
        .ok();
        for device in [port, &format!("{port}-in")] {
            sh(&format!("ip -n {ns} link set {device} addrgenmode none up")).ok();
        }
        self.vs(
            host,
            &format!(
                "add-br {bridge}\n set bridge {bridge} datapath_type=netdev\n add-port {bridge} {port}-in\n \
                 add-port br-int {port}\n set interface {port} external_ids:iface-id={port}"
            ),
        );
    }

    /// A bridge to the outside, mapped to a physical network's name.
    #[track_caller]
    pub fn mapped_bridge(&self, host: &str, bridge: &str, network: &str) {
        self.vs(
            host,
            &format!(
                "add-br {bridge}\n set bridge {bridge} datapath_type=netdev\n \
                 set open . external-ids:ovn-bridge-mappings={network}:{bridge}"
            ),
        );
    }
}
