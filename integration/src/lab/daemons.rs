//! The daemons of a lab: how they start, stop and come back.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::clean::running;
use super::{CONVERGE, Lab};
use crate::command::{prepare, sh, words};
use crate::programs::{self, Impl};
use crate::wait::ensure;
use crate::wait_for;

impl Lab {
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
}
