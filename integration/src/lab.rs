//! Hosts, databases and daemons, and their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{self, Done, prepare, run, sh, transaction, words};
use crate::programs::{self, Impl, Impls, Programs};
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
        sweep();
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

    /// Runs a line on a host, with that host's run directories.
    #[track_caller]
    pub fn run(&self, host: &str, line: &str) -> Done {
        self.run_words(host, &words(line))
    }

    #[track_caller]
    fn run_words(&self, host: &str, argv: &[String]) -> Done {
        run(Some(&self.netns(host)), Some(&self.host_dir(host)), argv)
    }

    #[track_caller]
    fn tool(&self, program: &Path, options: &[String], script: &str) -> Done {
        let mut argv = vec![program.display().to_string()];
        argv.extend_from_slice(options);
        argv.extend(transaction(script));
        self.run_words(&self.hosts[0], &argv)
    }

    /// A northbound transaction, one nbctl command per line.
    #[track_caller]
    pub fn nb(&self, script: &str) -> String {
        self.nbctl(script).ok()
    }

    /// The same, when it may fail. Options come first on the first line.
    #[track_caller]
    pub fn nbctl(&self, script: &str) -> Done {
        self.tool(
            &self.programs.nbctl,
            &[format!("--db={}", self.socket("nb"))],
            script,
        )
    }

    /// A southbound transaction, one sbctl command per line.
    #[track_caller]
    pub fn sb(&self, script: &str) -> String {
        self.sbctl(script).ok()
    }

    /// The same, when it may fail.
    #[track_caller]
    pub fn sbctl(&self, script: &str) -> Done {
        self.tool(
            &self.programs.sbctl,
            &[format!("--db={}", self.socket("sb"))],
            script,
        )
    }

    /// One column of the southbound rows that match, as bare text.
    #[track_caller]
    pub fn sb_get(&self, table: &str, column: &str, condition: &str) -> String {
        self.sb(&format!(
            "--bare --no-headings --columns={column} find {table} {condition}"
        ))
    }

    /// The trace of a packet through the southbound.
    #[track_caller]
    pub fn trace(&self, options: &str, datapath: &str, packet: &str) -> String {
        self.trace_with(&self.programs.trace, options, datapath, packet)
            .ok()
    }

    /// The same by a given program.
    #[track_caller]
    pub fn trace_with(&self, program: &Path, options: &str, datapath: &str, packet: &str) -> Done {
        let mut argv = vec![
            program.display().to_string(),
            format!("--db={}", self.socket("sb")),
        ];
        argv.extend(words(options));
        argv.extend([datapath.to_string(), packet.to_string()]);
        self.run_words(&self.hosts[0], &argv)
    }

    /// Starts our trace as a daemon on the southbound as it is now; its control socket.
    #[track_caller]
    pub fn start_tracer(&self) -> String {
        let host = &self.hosts[0];
        let socket = self.host_dir(host).join("trace.ctl").display().to_string();
        let mut argv = vec![programs::weft("trace").display().to_string()];
        argv.extend(words(&format!(
            "--db={} --unixctl={socket}",
            self.socket("sb")
        )));
        argv.extend(self.daemon_options(host, "trace"));
        self.daemon(host, &argv);
        socket
    }

    /// Stops it.
    #[track_caller]
    pub fn stop_tracer(&self) {
        self.stop(&self.hosts[0], "trace", Signal::TERM);
    }

    /// A transaction on a host's Open vSwitch, one ovs-vsctl command per line.
    #[track_caller]
    pub fn vs(&self, host: &str, script: &str) -> String {
        let mut argv = vec!["ovs-vsctl".to_string(), "--timeout=30".into()];
        argv.extend(transaction(script));
        self.run_words(host, &argv).ok()
    }

    /// The flows of a table of br-int.
    #[track_caller]
    pub fn flows(&self, host: &str, filter: &str) -> String {
        self.run(
            host,
            &format!("ovs-ofctl -O OpenFlow15 --no-stats dump-flows br-int {filter}"),
        )
        .ok()
    }

    /// A command to the control socket of northd.
    #[track_caller]
    pub fn northd_appctl(&self, line: &str) -> Done {
        let socket = self.host_dir(&self.hosts[0]).join("northd.ctl");
        self.run(
            &self.hosts[0],
            &format!("ovs-appctl -t {} {line}", socket.display()),
        )
    }

    /// A command to the control socket of a host's controller.
    #[track_caller]
    pub fn controller_appctl(&self, host: &str, line: &str) -> Done {
        let dir = self.host_dir(host);
        let pid = fs::read_to_string(dir.join("ovn-controller.pid")).unwrap_or_default();
        let socket = match self.impls.controller {
            Impl::Weft => dir.join("controller.ctl"),
            Impl::Stock => dir.join(format!("ovn-controller.{}.ctl", pid.trim())),
        };
        self.run(host, &format!("ovs-appctl -t {} {line}", socket.display()))
    }

    /// The unix socket of the northbound (`nb`) or southbound (`sb`).
    pub fn socket(&self, db: &str) -> String {
        format!(
            "unix:{}/ovn{db}_db.sock",
            self.host_dir(&self.hosts[0]).display()
        )
    }

    /// Waits until all hosts have all flows of the northbound as it is now, and all VMs' ports are up.
    #[track_caller]
    pub fn ready(&self) {
        self.ready_without(&[]);
    }

    /// The same, where some hosts are known not to answer.
    #[track_caller]
    pub fn ready_without(&self, dead: &[&str]) {
        let ports: Vec<String> = {
            let vms = self.vms.lock().expect("no other thread panicked with it");
            vms.iter()
                .filter(|vm| vm.shows_up && !dead.contains(&vm.host.as_str()))
                .map(|vm| vm.port.clone())
                .collect()
        };
        for port in ports {
            wait_for(CONVERGE, &format!("port {port} up"), || {
                let up = self.nbctl(&format!("lsp-get-up {port}")).result()?;
                ensure(up == "up", up)
            });
        }
        let wait = if dead.is_empty() { "hv" } else { "sb" };
        self.nb(&format!("--timeout=30 --wait={wait} sync"));
    }

    /// Starts `argv` as a daemon of a host; returns when it has detached.
    #[track_caller]
    fn daemon(&self, host: &str, argv: &[String]) {
        let out = self.host_dir(host).join("start.out");
        let open = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&out)
                .expect("the lab's folder can be written")
        };
        let mut bounded = words("timeout 60");
        bounded.extend_from_slice(argv);
        let status = prepare(
            Some(&self.netns(host)),
            Some(&self.host_dir(host)),
            &bounded,
        )
        .stdout(Stdio::from(open()))
        .stderr(Stdio::from(open()))
        .status();
        assert!(
            status.as_ref().is_ok_and(|s| s.success()),
            "`{}` does not start ({status:?}):\n{}",
            argv.join(" "),
            fs::read_to_string(&out).unwrap_or_default()
        );
    }

    fn daemon_options(&self, host: &str, name: &str) -> Vec<String> {
        let dir = self.host_dir(host).display().to_string();
        words(&format!(
            "--pidfile={dir}/{name}.pid --log-file={dir}/{name}.log -vconsole:off --detach --no-chdir"
        ))
    }

    /// Starts a host's own ovsdb-server.
    #[track_caller]
    pub fn start_ovs_db(&self, host: &str) {
        let dir = self.host_dir(host).display().to_string();
        let mut argv = words(&format!(
            "ovsdb-server {dir}/conf.db --remote=punix:{dir}/db.sock --unixctl={dir}/ovsdb.ctl"
        ));
        argv.extend(self.daemon_options(host, "ovsdb-server"));
        self.daemon(host, &argv);
    }

    /// Starts a host's vswitchd.
    #[track_caller]
    pub(crate) fn start_vswitchd(&self, host: &str) {
        let dir = self.host_dir(host).display().to_string();
        let mut argv = words(&format!(
            "ovs-vswitchd unix:{dir}/db.sock --unixctl={dir}/vswitchd.ctl"
        ));
        argv.extend(self.daemon_options(host, "ovs-vswitchd"));
        self.daemon(host, &argv);
    }

    /// Starts both databases on the central host, empty where they did not exist.
    #[track_caller]
    pub fn start_databases(&self) {
        for (db, port, schema) in [
            ("nb", 6641, &self.programs.nb_schema),
            ("sb", 6642, &self.programs.sb_schema),
        ] {
            let file = self.host_dir(&self.hosts[0]).join(format!("ovn{db}.db"));
            if !file.exists() {
                sh(&format!(
                    "ovsdb-tool create {} {}",
                    file.display(),
                    schema.display()
                ))
                .ok();
            }
            self.start_database(db, port);
        }
    }

    /// Starts one of them: `nb` on port 6641, `sb` on 6642.
    #[track_caller]
    pub fn start_database(&self, db: &str, port: u16) {
        let host = &self.hosts[0];
        let dir = self.host_dir(host).display().to_string();
        let mut argv = words(&format!(
            "ovsdb-server {dir}/ovn{db}.db --remote=p{} --remote=ptcp:{port} --unixctl={dir}/ovn{db}_db.ctl",
            self.socket(db)
        ));
        argv.extend(self.daemon_options(host, &format!("ovn{db}_db")));
        self.daemon(host, &argv);
    }

    /// Starts northd on the central host.
    #[track_caller]
    pub fn start_northd(&self) {
        let host = &self.hosts[0];
        let dir = self.host_dir(host).display().to_string();
        let mut argv = vec![self.programs.northd.display().to_string()];
        argv.extend(words(&format!(
            "--ovnnb-db={} --ovnsb-db={} --unixctl={dir}/northd.ctl",
            self.socket("nb"),
            self.socket("sb")
        )));
        argv.extend(self.daemon_options(host, "northd"));
        self.daemon(host, &argv);
    }

    /// Starts the controller of a host, telling its Open vSwitch where the southbound is.
    #[track_caller]
    pub fn start_controller(&self, host: &str) {
        let dir = self.host_dir(host).display().to_string();
        self.vs(
            host,
            &format!(
                "set open . external-ids:ovn-remote=tcp:{}:6642 external-ids:ovn-encap-type={} external-ids:ovn-encap-ip={} \
                 external-ids:ovn-bridge-datapath-type=netdev",
                self.address(&self.hosts[0]),
                self.tunnel.name(),
                self.address(host),
            ),
        );
        let mut argv = vec![
            programs::controller(self.impls.controller)
                .display()
                .to_string(),
            format!("unix:{dir}/db.sock"),
        ];
        if self.impls.controller == Impl::Weft {
            // Stock 23.03 has no such option.
            argv.push(format!("--unixctl={dir}/controller.ctl"));
        }
        argv.extend(self.daemon_options(host, "ovn-controller"));
        self.daemon(host, &argv);
    }

    /// Starts another controller on a host that has one: a chassis of its own by that name, with what the host's Open vSwitch
    /// says for it alone.
    #[track_caller]
    pub fn start_another(&self, host: &str, chassis: &str) {
        let dir = self.host_dir(host).display().to_string();
        let mut argv = vec![
            programs::controller(self.impls.controller)
                .display()
                .to_string(),
            format!("unix:{dir}/db.sock"),
            "-n".into(),
            chassis.into(),
        ];
        if self.impls.controller == Impl::Weft {
            argv.push(format!("--unixctl={dir}/{chassis}.ctl"));
        }
        argv.extend(self.daemon_options(host, chassis));
        self.daemon(host, &argv);
    }

    /// Sends a signal to a daemon (by the name of its pidfile) and waits for its end.
    #[track_caller]
    pub fn stop(&self, host: &str, daemon: &str, signal: Signal) {
        let file = self.host_dir(host).join(format!("{daemon}.pid"));
        let pid = running(&file, &self.dir)
            .unwrap_or_else(|| panic!("{} names nothing that runs", file.display()));
        kill_process(pid, signal).unwrap_or_else(|why| panic!("{daemon} of {host}: {why}"));
        wait_for(
            Duration::from_secs(10),
            &format!("the end of {daemon} on {host}"),
            || ensure(running(&file, &self.dir).is_none(), "still running"),
        );
        // A killed daemon leaves its pidfile; ours and stock's take it over.
    }

    /// Kills vswitchd and starts it again. Its internal devices are new then: br-phys gets its address back, and VMs
    /// on internal ports are plugged in again, as whoever runs them would do.
    #[track_caller]
    pub fn restart_vswitchd(&self, host: &str) {
        self.stop(host, "ovs-vswitchd", Signal::KILL);
        self.start_vswitchd(host);
        wait_for(CONVERGE, &format!("br-phys of {host}"), || {
            sh(&format!("ip -n {} link show br-phys", self.netns(host))).result()
        });
        self.address_underlay(host);
        self.replug(host);
    }

    /// The host loses its power: all its daemons die at once, its VMs with them, its underlay is cut.
    #[track_caller]
    pub fn host_dies(&self, host: &str) {
        for daemon in ["ovn-controller", "ovs-vswitchd", "ovsdb-server"] {
            self.stop(host, daemon, Signal::KILL);
        }
    }

    /// It boots again from the same disk.
    #[track_caller]
    pub fn host_returns(&self, host: &str) {
        self.start_ovs_db(host);
        self.start_vswitchd(host);
        wait_for(CONVERGE, &format!("br-phys of {host}"), || {
            sh(&format!("ip -n {} link show br-phys", self.netns(host))).result()
        });
        self.address_underlay(host);
        self.replug(host);
        self.start_controller(host);
    }

    fn print_logs(&self) {
        let mut files = log_files(&self.dir);
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let name = file.strip_prefix(&self.dir).unwrap_or(&file).display();
            eprintln!(
                "---- {name} (last {} of {} lines)",
                lines.len().min(12),
                lines.len()
            );
            for line in &lines[lines.len().saturating_sub(12)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.print_logs();
        }
        stop_all(&self.dir, &self.tag);
        if failed && std::env::var_os("WEFT_LAB_KEEP").is_some() {
            eprintln!("files kept in {}", self.dir.display());
            return;
        }
        if let Err(why) = fs::remove_dir_all(&self.dir) {
            eprintln!("{}: {why}", self.dir.display());
        }
    }
}

fn files_ending(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(files_ending(&path, endings));
        } else if endings
            .iter()
            .any(|ending| path.to_string_lossy().ends_with(ending))
        {
            out.push(path);
        }
    }
    out
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    files_ending(dir, &[".log", ".out"])
}

/// The process of a pidfile, if it runs and belongs to the lab in `dir` (numbers are used again).
pub(crate) fn running(pidfile: &Path, dir: &Path) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(pidfile).ok()?.trim().parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    String::from_utf8_lossy(&arguments)
        .contains(dir.to_str()?)
        .then(|| Pid::from_raw(pid))?
}

/// Ends all processes of a lab and removes its namespaces, with every device in them.
fn stop_all(dir: &Path, tag: &str) {
    let pidfiles = files_ending(dir, &[".pid"]);
    for pid in pidfiles.iter().filter_map(|file| running(file, dir)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let list = command::run(None, None, &words("ip netns list")).stdout;
    let prefix = format!("{tag}-");
    for ns in list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|ns| ns.starts_with(&prefix))
    {
        // Pings and captures that a failed test left there.
        for pid in sh(&format!("ip netns pids {ns}"))
            .stdout
            .lines()
            .filter_map(|pid| pid.trim().parse().ok())
        {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let done = sh(&format!("ip netns del {ns}"));
        if !done.success {
            eprintln!("{}: {}", done.line, done.stderr.trim());
        }
    }
}

/// Removes what test processes that were killed left behind.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(tag) = name.strip_prefix("weft-lab-") else {
            continue;
        };
        let Some(pid) = tag
            .strip_prefix("wl")
            .and_then(|rest| rest.split('x').next())
        else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            stop_all(&entry.path(), tag);
            // Kept on purpose or swept by another test at the same moment.
            if std::env::var_os("WEFT_LAB_KEEP").is_none() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}
