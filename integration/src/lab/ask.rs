//! What is run and asked in a lab.

use std::fs;
use std::path::Path;

use super::{CONVERGE, Lab};
use crate::command::{Done, run, transaction, words};
use crate::programs::Impl;
use crate::wait::ensure;
use crate::wait_for;

impl Lab {
    /// Runs a line on a host, with that host's run directories.
    #[track_caller]
    pub fn run(&self, host: &str, line: &str) -> Done {
        self.run_words(host, &words(line))
    }

    #[track_caller]
    pub(super) fn run_words(&self, host: &str, argv: &[String]) -> Done {
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
}
