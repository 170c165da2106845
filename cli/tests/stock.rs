//! The same commands through the stock tools and through ours, each on a database of its own: what they
//! print, how they exit and what the databases then hold must be equal, but for UUIDs.
//!
//! Needs `ovsdb-server`, `ovn-nbctl` and `ovn-sbctl`; without them nothing is compared. Rows have random
//! UUIDs and the stock tools print tables in the order of a hash over them, so outputs that differ are
//! compared line by line in sorted order.
#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A pair of databases behind an `ovsdb-server`.
struct Server {
    dir: TempDir,
    process: std::process::Child,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let schemas = Path::new("/usr/share/ovn");
        for name in ["nb", "sb"] {
            let created = Command::new("ovsdb-tool")
                .arg("create")
                .arg(dir.path().join(format!("{name}.db")))
                .arg(schemas.join(format!("ovn-{name}.ovsschema")))
                .status()
                .unwrap();
            assert!(created.success());
        }
        let process = Command::new("ovsdb-server")
            .current_dir(dir.path())
            .args(["nb.db", "sb.db", "-vconsole:off", "--no-chdir"])
            .arg(format!("--remote=punix:{}/sock", dir.path().display()))
            .arg(format!("--unixctl={}/ctl", dir.path().display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { dir, process };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(server.dir.path().join("sock")).is_err() {
            assert!(Instant::now() < deadline, "ovsdb-server starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn remote(&self) -> String {
        format!("unix:{}/sock", self.dir.path().display())
    }

    /// All rows of all tables, UUIDs made equal, in sorted order.
    fn contents(&self, database: &str) -> Vec<String> {
        let out = Command::new("ovsdb-client")
            .args(["--format=csv", "dump", &self.remote(), database])
            .output()
            .unwrap();
        let mut table = String::new();
        let mut lines = Vec::new();
        for line in String::from_utf8(out.stdout).unwrap().lines() {
            match line.strip_suffix(" table") {
                Some(name) => table = name.to_string(),
                None => lines.push(format!("{table}: {}", same_uuids(line))),
            }
        }
        lines.sort();
        lines
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every UUID, and every beginning of one that is printed as such, as one and the same word.
fn same_uuids(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_uuid = |at: usize| {
        bytes.get(at..at + 36).is_some_and(|word| {
            word.iter().enumerate().all(|(i, c)| match i {
                8 | 13 | 18 | 23 => *c == b'-',
                _ => c.is_ascii_hexdigit(),
            })
        })
    };
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if is_uuid(at) {
            out.extend_from_slice(b"<uuid>");
            at += 36;
        } else if bytes[at..].starts_with(b"uuid=0x") {
            out.extend_from_slice(b"uuid=<uuid>");
            at += "uuid=0x00000000".len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

fn sorted(text: &str) -> Vec<String> {
    // Lines that --oneline has joined come apart again.
    let lines = text.lines().flat_map(|line| line.split("\\n"));
    let mut lines: Vec<String> = lines.map(by_words).collect();
    lines.sort_unstable();
    lines
}

/// The one line that lists names in the order of their rows' UUIDs.
fn by_words(line: &str) -> String {
    match line.split_once("gateway chassis: [") {
        Some((_, names)) => {
            let mut names: Vec<&str> = names.trim_end_matches(']').split(' ').collect();
            names.sort_unstable();
            format!("gateway chassis: {names:?}")
        }
        None => line.to_string(),
    }
}

/// Words of a line: blanks separate, single quotes hold together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

struct Side {
    server: Server,
    nbctl: Command,
    sbctl: Command,
}

/// Runs `line` on a side. `$(TABLE COLUMN=VALUE)` stands for the UUID of that row there.
fn run(side: &Side, line: &str) -> Output {
    let mut words = words(line);
    let sb = words[0] == "sbctl";
    if matches!(words[0].as_str(), "sbctl" | "nbctl") {
        words.remove(0);
    }
    for word in &mut words {
        if let Some(inside) = word.strip_prefix("$(").and_then(|w| w.strip_suffix(')')) {
            let mut find = Command::new(if sb { "ovn-sbctl" } else { "ovn-nbctl" });
            find.arg(format!("--db={}", side.server.remote()));
            let found = find
                .args(["--bare", "--columns=_uuid", "find"])
                .args(inside.split('/'))
                .output();
            *word = String::from_utf8(found.unwrap().stdout)
                .unwrap()
                .trim()
                .to_string();
        }
    }
    let template = if sb { &side.sbctl } else { &side.nbctl };
    let mut command = Command::new(template.get_program());
    command.arg0(if sb { "ovn-sbctl" } else { "ovn-nbctl" });
    command
        .env("OVN_NB_DB", side.server.remote())
        .env("OVN_SB_DB", side.server.remote());
    command
        .env_remove("OVN_NB_DAEMON")
        .args(words)
        .output()
        .unwrap()
}

/// Compares both sides on every line of a script; all differences at once.
fn compare(script: &str) {
    if Command::new("ovn-nbctl").arg("--version").output().is_err() {
        eprintln!("skipped: no stock tools here");
        return;
    }
    let stock = Side {
        server: Server::start(),
        nbctl: Command::new("ovn-nbctl"),
        sbctl: Command::new("ovn-sbctl"),
    };
    let ours = Side {
        server: Server::start(),
        nbctl: Command::new(env!("CARGO_BIN_EXE_weft-nbctl")),
        sbctl: Command::new(env!("CARGO_BIN_EXE_weft-sbctl")),
    };
    let mut differences = String::new();
    let mut count = 0;
    for line in script
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        count += 1;
        // What ours refuses on purpose and stock writes down; said in the script where it is so.
        let (line, stricter) = match line.strip_prefix("STRICTER ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        if stricter {
            let out = run(&ours, line);
            if out.status.success() {
                differences.push_str(&format!("{line}\n  is not refused\n"));
            }
            continue;
        }
        // Both refuse it, in their own words.
        let (line, own_words) = match line.strip_prefix("OWN ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (a, b) = (run(&stock, line), run(&ours, line));
        let text = |out: &[u8]| same_uuids(&String::from_utf8_lossy(out));
        let (out_a, out_b) = (text(&a.stdout), text(&b.stdout));
        if a.status.code().unwrap_or(142) != b.status.code().unwrap_or(-1) {
            differences.push_str(&format!(
                "{line}\n  stock exits {:?}: {}  ours {:?}: {}",
                a.status.code(),
                text(&a.stderr),
                b.status.code(),
                text(&b.stderr)
            ));
        }
        if out_a != out_b && sorted(&out_a) != sorted(&out_b) {
            differences.push_str(&format!(
                "{line}\n  stock prints:\n{out_a}\n  ours:\n{out_b}\n"
            ));
        }
        // The refusal itself is the line that starts with the program's name; ours may add help below,
        // and warnings have times in them.
        let refusal = |stderr: &[u8]| {
            let stderr = text(stderr);
            let line = stderr
                .lines()
                .find(|l| l.starts_with("ovn-nbctl: ") || l.starts_with("ovn-sbctl: "));
            line.unwrap_or("").to_string()
        };
        let (err_a, err_b) = (refusal(&a.stderr), refusal(&b.stderr));
        if err_a != err_b && !own_words {
            differences.push_str(&format!(
                "{line}\n  stock says: {err_a}\n  ours:       {err_b}\n"
            ));
        }
    }
    for database in ["OVN_Northbound", "OVN_Southbound"] {
        let (a, b) = (
            stock.server.contents(database),
            ours.server.contents(database),
        );
        let only = |x: &[String], y: &[String]| -> String {
            x.iter()
                .filter(|l| !y.contains(l))
                .map(|l| format!("    {l}\n"))
                .collect()
        };
        if a != b {
            let (in_stock, in_ours) = (only(&a, &b), only(&b, &a));
            differences.push_str(&format!(
                "{database} differs:\n  stock only:\n{in_stock}  ours only:\n{in_ours}"
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "of {count} commands:\n{differences}"
    );
    eprintln!("{count} commands compared");
}

#[test]
fn switches_and_their_ports() {
    compare(include_str!("stock/switches.txt"));
}

#[test]
fn routers_ports_and_routes() {
    compare(include_str!("stock/routers.txt"));
}

#[test]
fn generic_commands() {
    compare(include_str!("stock/generic.txt"));
}

#[test]
fn connections_ssl_and_groups() {
    compare(include_str!("stock/settings.txt"));
}

#[test]
fn southbound() {
    compare(include_str!("stock/southbound.txt"));
}

#[test]
fn services() {
    compare(include_str!("stock/services.txt"));
}

#[test]
fn the_rest() {
    compare(include_str!("stock/rest.txt"));
}
