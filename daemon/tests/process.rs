//! The real thing: a daemon that detaches, is found by `ovs-appctl`, is watched and ends.
#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weft_daemon::unixctl;

/// The example daemon, in directories of its own.
struct Lab {
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, argv0: &str, args: &[&str]) -> Output {
        // target/debug/deps/process-HASH -> target/debug/examples/idle, which `cargo test` builds.
        let exe = std::env::current_exe().unwrap();
        let example = exe
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/idle");
        Command::new(example)
            .arg0(argv0)
            .args(args)
            .env("OVN_RUNDIR", self.dir.path())
            .env("OVN_LOGDIR", self.dir.path())
            .current_dir("/tmp")
            .output()
            .unwrap()
    }

    fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.path(&format!("{name}.pid")))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn call(&self, name: &str, command: &str, args: &[&str]) -> Result<String, String> {
        let pid = self.pid(name).ok_or("no pidfile")?;
        let socket = self.path(&format!("{name}.{pid}.ctl"));
        unixctl::call(&socket, command, args, Some(Duration::from_secs(20)))
            .map_err(|error| error.to_string())
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["weft-idle", "ovn-idle"] {
            let _ = self.call(name, "exit", &[]);
        }
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn alive(pid: u32) -> bool {
    // A zombie in a container without an init is dead enough.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn detaches_answers_and_exits() {
    let lab = Lab::new();
    let args = ["--detach", "--pidfile", "--log-file", "-vconsole:off"];
    let out = lab.run("weft-idle", &args);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(
        (text(&out.stdout), text(&out.stderr)),
        (String::new(), String::new())
    );
    // Ready means ready: no waiting here.
    let pid = lab.pid("weft-idle").unwrap();
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "weft-idle\n"
    );
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
        Path::new("/")
    );
    assert_eq!(
        lab.call("weft-idle", "version", &[]).unwrap(),
        "weft-idle 0.1.0\n"
    );
    assert_eq!(
        lab.call("weft-idle", "sleep", &["1"]).unwrap(),
        "slept 1 ms\n"
    );
    let error = lab.call("weft-idle", "sleep", &[]).unwrap_err();
    assert_eq!(error, "\"sleep\" command requires at least 1 arguments\n");

    let again = lab.run("weft-idle", &args);
    assert!(!again.status.success());
    assert!(
        text(&again.stderr).contains(&format!("already running as pid {pid}")),
        "{again:?}"
    );

    assert_eq!(lab.call("weft-idle", "exit", &["--restart"]).unwrap(), "");
    eventually("the daemon ends", || !alive(pid));
    assert!(!lab.path("weft-idle.pid").exists());
    assert!(!lab.path(&format!("weft-idle.{pid}.ctl")).exists());
    let log = lab.log("weft-idle");
    assert!(log.contains("|00001|vlog|INFO|opened log file "), "{log}");
    assert!(
        log.contains("|idle|INFO|exiting: Exit { restart: true, signal: None }"),
        "{log}"
    );
}

#[test]
fn is_the_program_it_is_called_as() {
    let lab = Lab::new();
    let args = ["--detach", "--pidfile", "--log-file", "-vconsole:off"];
    assert!(lab.run("/usr/bin/ovn-idle", &args).status.success());
    assert_eq!(
        lab.call("ovn-idle", "version", &[]).unwrap(),
        "ovn-idle (Weft) 0.1.0\n"
    );
    assert!(lab.path("ovn-idle.log").exists());
    let pid = lab.pid("ovn-idle").unwrap();
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "ovn-idle\n"
    );
}

#[test]
fn a_failed_start_is_the_callers_failure() {
    let lab = Lab::new();
    let out = lab.run("weft-idle", &["--detach", "--fail=3", "-vconsole:off"]);
    assert_eq!(out.status.code(), Some(3));
    let out = lab.run(
        "weft-idle",
        &["--detach", "--monitor", "--fail=4", "-vconsole:off"],
    );
    assert_eq!(out.status.code(), Some(4));
    let out = lab.run(
        "weft-idle",
        &["--detach", "--pidfile=/nonexistent/pid", "-vconsole:off"],
    );
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("/nonexistent/pid"), "{out:?}");
    let out = lab.run("weft-idle", &["-vnowhere:bogus"]);
    assert_eq!(
        text(&out.stderr),
        "weft-idle: no destination, level, or module \"nowhere\"\n"
    );
}

#[test]
fn the_monitor_restarts_after_a_crash_and_ends_with_its_daemon() {
    let lab = Lab::new();
    let args = [
        "--detach",
        "--monitor",
        "--pidfile",
        "--log-file",
        "-vconsole:off",
    ];
    assert!(lab.run("weft-idle", &args).status.success());
    let first = lab.pid("weft-idle").unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    let monitor: u32 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let _ = lab.call("weft-idle", "crash", &[]);
    eventually("a new daemon", || {
        lab.pid("weft-idle").is_some_and(|pid| pid != first)
            && lab.call("weft-idle", "version", &[]).is_ok()
    });
    assert!(
        lab.log("weft-idle")
            .contains(&format!("1 crashes: pid {first} died, killed (signal 6)"))
    );
    lab.call("weft-idle", "exit", &[]).unwrap();
    eventually("the monitor ends", || !alive(monitor));
}

#[test]
fn open_vswitch_tools_work_on_it() {
    let lab = Lab::new();
    if Command::new("ovs-appctl")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: no ovs-appctl here");
        return;
    }
    let args = ["--detach", "--pidfile", "--log-file", "-vconsole:off"];
    assert!(lab.run("weft-idle", &args).status.success());
    let appctl = |args: &[&str]| {
        let target = lab.path("weft-idle.pid");
        let pid = std::fs::read_to_string(target).unwrap();
        let socket = lab.path(&format!("weft-idle.{}.ctl", pid.trim()));
        let out = Command::new("ovs-appctl")
            .arg("-t")
            .arg(socket)
            .args(args)
            .output()
            .unwrap();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, _) = appctl(&["list-commands"]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("The available commands are:\n  coverage/read-counter   COUNTER\n"),
        "{out}"
    );
    assert_eq!(
        appctl(&["vlog/set", "file:dbg"]),
        (Some(0), String::new(), String::new())
    );
    let (_, out, _) = appctl(&["vlog/list"]);
    assert!(
        out.contains("\nunixctl            OFF       INFO        DBG\n"),
        "{out}"
    );
    assert_eq!(appctl(&["vlog/reopen"]).0, Some(0));
    let (code, _, err) = appctl(&["vlog/set", "bogus"]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("no destination, level, or module \"bogus\"\n"),
        "{err}"
    );
    let (code, _, err) = appctl(&["bogus"]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("\"bogus\" is not a valid command (use \"list-commands\" to see"),
        "{err}"
    );
    assert!(
        appctl(&["coverage/show"])
            .1
            .starts_with("Event coverage, avg rate over last: ")
    );
    for command in [
        "memory/show",
        "stopwatch/show",
        "vlog/disable-rate-limit",
        "vlog/list-pattern",
    ] {
        assert_eq!(appctl(&[command]).0, Some(0), "{command}");
    }
    // By name, through pidfile and lock.
    let out = Command::new("ovs-appctl")
        .env("OVS_RUNDIR", lab.dir.path())
        .args(["-t", "weft-idle", "version"])
        .output()
        .unwrap();
    assert_eq!(text(&out.stdout), "weft-idle 0.1.0\n", "{out:?}");
    assert_eq!(appctl(&["exit"]).0, Some(0));
}
