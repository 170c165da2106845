//! What takes two: waiting for northd, waiting for another client, the daemon that runs commands.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

struct Lab {
    dir: TempDir,
    processes: Vec<Child>,
}

impl Lab {
    /// Databases, or `None` where Open vSwitch and OVN are not installed.
    fn start() -> Option<Self> {
        if Command::new("ovn-nbctl").arg("--version").output().is_err() {
            eprintln!("skipped: no stock tools here");
            return None;
        }
        let mut lab = Self {
            dir: tempfile::tempdir().unwrap(),
            processes: Vec::new(),
        };
        for name in ["nb", "sb"] {
            let created = Command::new("ovsdb-tool")
                .arg("create")
                .arg(lab.path(&format!("{name}.db")))
                .arg(format!("/usr/share/ovn/ovn-{name}.ovsschema"))
                .status()
                .unwrap();
            assert!(created.success());
        }
        let remote = format!("--remote=punix:{}", lab.path("sock").display());
        let unixctl = format!("--unixctl={}", lab.path("db.ctl").display());
        lab.spawn(
            "ovsdb-server",
            &["nb.db", "sb.db", "--no-chdir", &remote, &unixctl],
        );
        lab.eventually("the database answers", |lab| {
            std::os::unix::net::UnixStream::connect(lab.path("sock")).is_ok()
        });
        Some(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        let remote = format!("unix:{}", self.path("sock").display());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("OVN_NB_DAEMON");
        command.env("OVN_NB_DB", &remote).env("OVN_SB_DB", &remote);
        for variable in ["OVN_RUNDIR", "OVS_RUNDIR", "OVN_LOGDIR", "OVS_LOGDIR"] {
            command.env(variable, self.dir.path());
        }
        command
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let mut command = self.command(program, args);
        self.processes.push(
            command
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }

    fn nbctl(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_weft-nbctl"), args)
            .output()
            .unwrap()
    }

    fn text(&self, args: &[&str]) -> String {
        let out = self.nbctl(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn waits_for_northd() {
    let Some(mut lab) = Lab::start() else { return };
    lab.text(&["init"]);
    // Nobody compiles yet, so the time runs out; the switch is there all the same.
    let out = lab.nbctl(&["--wait=sb", "-t", "1", "ls-add", "sw0"]);
    assert_eq!(out.status.code(), Some(142), "{out:?}");
    lab.spawn("ovn-northd", &["-vconsole:off"]);
    let times = lab.text(&["--wait=sb", "--print-wait-time", "-t", "30", "sync"]);
    let mut lines = times.lines();
    assert_eq!(lines.next(), Some("Time spent on processing nb_cfg 2:"));
    assert!(
        lines
            .next()
            .is_some_and(|l| l.starts_with("\tovn-northd delay before processing:\t"))
    );
    assert!(
        lines
            .next()
            .is_some_and(|l| l.starts_with("\tovn-northd completion:\t\t\t"))
    );
    let sbctl = env!("CARGO_BIN_EXE_weft-sbctl");
    let flows = lab.command(sbctl, &["lflow-list", "sw0"]).output().unwrap();
    let stock = lab
        .command("ovn-sbctl", &["lflow-list", "sw0"])
        .output()
        .unwrap();
    assert!(flows.stdout.len() > 1000);
    assert_eq!(
        String::from_utf8_lossy(&flows.stdout),
        String::from_utf8_lossy(&stock.stdout)
    );
}

#[test]
fn waits_for_another_client() {
    let Some(lab) = Lab::start() else { return };
    lab.text(&["ls-add", "sw0"]);
    let condition = [
        "-t",
        "30",
        "wait-until",
        "logical_switch",
        "sw0",
        "external_ids:done=yes",
    ];
    let mut waiting = lab
        .command(env!("CARGO_BIN_EXE_weft-nbctl"), &condition)
        .spawn()
        .unwrap();
    assert_eq!(waiting.try_wait().unwrap(), None);
    lab.text(&["set", "logical_switch", "sw0", "external_ids:done=yes"]);
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn clients_at_the_same_time_lose_nothing() {
    let Some(lab) = Lab::start() else { return };
    lab.text(&["ls-add", "sw0"]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let lab = &lab;
            scope.spawn(move || {
                for n in 0..10 {
                    lab.text(&["lsp-add", "sw0", &format!("p{client}.{n}")]);
                    lab.text(&[
                        "set",
                        "logical_switch",
                        "sw0",
                        &format!("other_config:k{client}.{n}=v"),
                    ]);
                }
            });
        }
    });
    assert_eq!(lab.text(&["lsp-list", "sw0"]).lines().count(), 40);
    assert_eq!(
        lab.text(&["get", "logical_switch", "sw0", "other_config"])
            .matches("=v")
            .count(),
        40
    );
}

#[test]
fn lets_a_daemon_run_the_commands() {
    let Some(mut lab) = Lab::start() else { return };
    let socket = lab.path("nbd.ctl");
    let unixctl = format!("--unixctl={}", socket.display());
    // Stock's daemon: the protocol between the two is what is tried. It detaches, so that it must be
    // told to go.
    lab.spawn("ovn-nbctl", &["--detach", &unixctl, "-vconsole:off"]);
    lab.eventually("the daemon answers", |lab| {
        Path::new(&lab.path("nbd.ctl")).exists()
    });
    let through = |args: &[&str]| {
        let mut command = lab.command(env!("CARGO_BIN_EXE_weft-nbctl"), args);
        command
            .env("OVN_NB_DAEMON", &socket)
            .env("OVN_NB_DB", "unix:/nonexistent")
            .output()
            .unwrap()
    };
    assert!(through(&["ls-add", "sw0"]).status.success());
    let refused = through(&["ls-add", "sw0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("a switch with this name already exists")
    );
    let by_option = lab.text(&["-u", socket.to_str().unwrap(), "ls-list"]);
    assert!(by_option.ends_with(" (sw0)\n"), "{by_option}");
    let _ = weft_daemon::unixctl::call(&socket, "exit", &[], None);
}

/// Ours, asked by both clients.
#[test]
fn is_a_daemon_that_runs_the_commands() {
    let Some(lab) = Lab::start() else { return };
    let started = lab.nbctl(&["--detach", "--pidfile", "-vconsole:off"]);
    assert!(started.status.success(), "{started:?}");
    let printed = String::from_utf8(started.stdout).unwrap();
    let socket = printed.trim_end();
    let pid = std::fs::read_to_string(lab.path("weft-nbctl.pid")).unwrap();
    let usual = lab.path(&format!("weft-nbctl.{}.ctl", pid.trim()));
    assert_eq!(socket, usual.to_str().unwrap());
    let through = |program: &str, args: &[&str]| {
        let mut command = lab.command(program, args);
        command
            .env("OVN_NB_DAEMON", socket)
            .env("OVN_NB_DB", "unix:/nonexistent")
            .output()
            .unwrap()
    };
    let ours = env!("CARGO_BIN_EXE_weft-nbctl");
    let done: Vec<Output> = vec![
        through(ours, &["ls-add", "sw0"]),
        through("ovn-nbctl", &["ls-add", "sw1", "--", "lsp-add", "sw1", "p"]),
        through(ours, &["ls-add", "sw0"]),
        through(
            "ovn-nbctl",
            &["--bare", "--columns=name", "list", "logical_switch_port"],
        ),
        through(
            ours,
            &[
                "--timeout=1",
                "wait-until",
                "logical_switch",
                "sw1",
                "name=x",
            ],
        ),
        through("ovn-nbctl", &["no-such-command"]),
    ];
    let _ = weft_daemon::unixctl::call(Path::new(socket), "exit", &[], None);
    let codes: Vec<bool> = done.iter().map(|done| done.status.success()).collect();
    assert_eq!(codes, [true, true, false, true, false, false], "{done:#?}");
    let error = String::from_utf8_lossy(&done[2].stderr);
    assert!(
        error.contains("a switch with this name already exists"),
        "{error}"
    );
    assert_eq!(String::from_utf8_lossy(&done[3].stdout).trim(), "p");
    let error = String::from_utf8_lossy(&done[5].stderr);
    assert!(error.contains("unknown command"), "{error}");
    lab.eventually("the daemon's end", |_| !Path::new(socket).exists());
}

/// Many make the one row at the same time, as northd and a start script do.
#[test]
fn init_is_no_race() {
    let Some(lab) = Lab::start() else { return };
    let many: Vec<Child> = (0..12)
        .map(|_| {
            let mut command = lab.command(env!("CARGO_BIN_EXE_weft-nbctl"), &["init"]);
            command.stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in many {
        let done = child.wait_with_output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let rows = lab.text(&["--bare", "--columns=_uuid", "list", "nb_global"]);
    assert_eq!(
        rows.lines().filter(|line| !line.is_empty()).count(),
        1,
        "{rows}"
    );
}
