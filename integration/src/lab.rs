//! Hosts with their underlay, and who they are.
//!
//! * `ask` — what is run and asked there.
//! * `daemons` — how databases and daemons start, stop and come back.
//! * `clean` — how everything ends.

mod ask;
mod clean;
mod daemons;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::command::sh;
use crate::programs::{Impl, Impls, Programs};
use crate::wait::ensure;
use crate::wait_for;

/// How long a network may take to follow a change. Generous, for a busy machine: what is waited for usually takes a
/// tenth of a second.
pub const CONVERGE: Duration = Duration::from_secs(30);

/// How hosts carry packets to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// With OVN's option.
    Geneve,
    /// Keys in the VNI alone.
    Vxlan,
}

impl Tunnel {
    /// The name in `ovn-encap-type`.
    pub fn name(self) -> &'static str {
        match self {
            Tunnel::Geneve => "geneve",
            Tunnel::Vxlan => "vxlan",
        }
    }
}

/// A data center for one test. See the crate's text.
#[derive(Debug)]
pub struct Lab {
    tag: String,
    dir: PathBuf,
    /// Host names in order; the first is the central one.
    hosts: Vec<String>,
    impls: Impls,
    tunnel: Tunnel,
    /// Around the databases.
    pub programs: Programs,
    /// VMs and what they need when a switch comes back.
    pub(crate) vms: Mutex<Vec<crate::vm::Vm>>,
}

impl Lab {
    /// Hosts `h1` .. `hN`, all chassis over Geneve, `h1` also central.
    #[track_caller]
    pub fn new(impls: Impls, hosts: usize) -> Lab {
        Lab::with_tunnel(impls, hosts, Tunnel::Geneve)
    }

    /// The same over another tunnel.
    #[track_caller]
    pub fn with_tunnel(impls: Impls, hosts: usize, tunnel: Tunnel) -> Lab {
        let lab = Lab::bare(impls, hosts, tunnel);
        lab.start_databases();
        // First, as OVN's own start script does: northd makes the row as well where it is missing.
        lab.nb("init");
        lab.start_northd();
        // Stock controllers of 23.03 now and then die without a word when they connect while an empty southbound is
        // being filled for the first time; here it is filled before they come.
        lab.nb("--wait=sb sync");
        std::thread::scope(|scope| {
            for host in &lab.hosts {
                scope.spawn(|| lab.start_controller(host));
            }
        });
        for host in &lab.hosts {
            wait_for(CONVERGE, &format!("br-int of {host}"), || {
                lab.run(host, "ovs-vsctl br-exists br-int")
                    .result()
                    .and_then(|_| {
                        lab.sbctl(&format!("--bare --columns=name find chassis name={host}"))
                            .result()
                            .and_then(|seen| {
                                ensure(seen == *host, format!("no chassis {host}: {seen:?}"))
                            })
                    })
            });
        }
        lab
    }

    /// Hosts with Open vSwitch only; nothing of OVN runs yet.
    #[track_caller]
    pub fn bare(impls: Impls, hosts: usize, tunnel: Tunnel) -> Lab {
        let lab = Lab::empty(impls, hosts, tunnel);
        std::thread::scope(|scope| {
            for index in 0..lab.hosts.len() {
                let lab = &lab;
                scope.spawn(move || lab.start_host(index));
            }
        });
        lab
    }

    /// Databases and northd, no host that could carry a packet: for what a compilation alone tells.
    #[track_caller]
    pub fn compiler(northd: Impl) -> Lab {
        let lab = Lab::empty(
            Impls {
                northd,
                controller: Impl::Stock,
            },
            1,
            Tunnel::Geneve,
        );
        lab.start_databases();
        // First, as OVN's own start script does: northd makes the row as well where it is missing.
        lab.nb("init");
        lab.start_northd();
        lab
    }

    #[track_caller]
    fn empty(impls: Impls, hosts: usize, tunnel: Tunnel) -> Lab {
        assert!(
            rustix::process::geteuid().is_root(),
            "integration tests make network namespaces: run them as root"
        );
        clean::sweep();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let impls = impls.or_from_env();
        let tag = format!(
            "wl{}x{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(format!("weft-lab-{tag}"));
        fs::create_dir_all(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
        let lab = Lab {
            hosts: (1..=hosts).map(|i| format!("h{i}")).collect(),
            programs: Programs::find(impls.northd),
            vms: Mutex::default(),
            tag,
            dir,
            impls,
            tunnel,
        };
        let under = lab.netns("net");
        sh(&format!("ip netns add {under}")).ok();
        sh(&format!(
            "ip -n {under} link add br0 type bridge mcast_snooping 0"
        ))
        .ok();
        sh(&format!("ip -n {under} link set br0 up")).ok();
        for host in &lab.hosts {
            let (ns, dir) = (lab.netns(host), lab.host_dir(host));
            fs::create_dir_all(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
            sh(&format!("ip netns add {ns}")).ok();
            sh(&format!("ip -n {ns} link set lo up")).ok();
        }
        lab
    }

    fn start_host(&self, index: usize) {
        let (host, under) = (&self.hosts[index], self.netns("net"));
        let (ns, dir) = (self.netns(host), self.host_dir(host));
        sh(&format!(
            "ip link add u{index} netns {under} type veth peer name eth1 netns {ns}"
        ))
        .ok();
        sh(&format!("ip -n {under} link set u{index} master br0 up")).ok();
        sh(&format!("ip -n {ns} link set eth1 up")).ok();
        sh(&format!(
            "ovsdb-tool create {}/conf.db /usr/share/openvswitch/vswitch.ovsschema",
            dir.display()
        ))
        .ok();
        self.start_ovs_db(host);
        self.run(host, &format!("ovs-vsctl --no-wait init -- set open . external-ids:system-id={host} external-ids:hostname={host}")).ok();
        self.start_vswitchd(host);
        self.vs(host, "add-br br-phys\n set bridge br-phys datapath_type=netdev other-config:forward-bpdu=true\n add-port br-phys eth1");
        self.address_underlay(host);
    }

    /// Gives br-phys the host's address: its device is new whenever vswitchd is.
    pub(crate) fn address_underlay(&self, host: &str) {
        let ns = self.netns(host);
        sh(&format!(
            "ip -n {ns} addr replace {}/24 dev br-phys",
            self.address(host)
        ))
        .ok();
        sh(&format!("ip -n {ns} link set br-phys up")).ok();
    }

    /// The name of a namespace of this lab: of a host or of a VM.
    pub fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }

    /// Where a host's sockets, pidfiles, databases and logs are.
    pub fn host_dir(&self, host: &str) -> PathBuf {
        self.dir.join(host)
    }

    /// A host's underlay address.
    pub fn address(&self, host: &str) -> String {
        let index = self
            .hosts
            .iter()
            .position(|h| h == host)
            .unwrap_or_else(|| panic!("no host {host}"));
        format!("192.168.50.{}", 10 + index)
    }

    /// Whose programs run.
    pub fn impls(&self) -> Impls {
        self.impls
    }

    /// The names of the hosts.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }
}
