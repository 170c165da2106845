//! The end of a lab: what its daemons had to say, and nothing left behind, also by one that was killed.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::Lab;
use crate::command::{self, sh, words};

impl Lab {
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
pub(super) fn sweep() {
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
