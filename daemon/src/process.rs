//! From the process the shell started to the one that serves: `--detach`, `--monitor`, `--user`.
//!
//! Without `fork` (it needs `unsafe`, and a process with threads does not survive it), each step runs
//! this same executable again with the same arguments and a note in the environment:
//!
//! ```text
//!  shell ── outer ──(--detach)──> monitor ──(--monitor)──> daemon
//!             │  waits for a byte    │  waits, passes it on    │ ready(): writes the byte
//!             └── exits 0            └── restarts it when a program error kills it
//! ```
//!
//! The byte travels through the child's standard output, a descriptor that is inherited without
//! further ado; the child then points its standard output at `/dev/null`. A line before it is for whoever
//! started the daemon: the outer process prints it.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::pidfile::{PidFile, PidFileError};
use crate::run::Daemon;
use crate::{Identity, Options, dirs, vlog};

/// Says to a copy of this program what it is to be: `STAGE:PID of the parent that meant it`.
///
/// The pid keeps programs that the daemon itself may start from believing it, for a process cannot
/// safely take a variable out of its own environment.
const STAGE_VARIABLE: &str = "WEFT_DAEMON_STAGE";

/// The monitor does not start a daemon again sooner than this after the last time.
const RESTART_INTERVAL: Duration = Duration::from_secs(10);

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The pidfile could not be taken.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// A `--verbose` option makes no sense, or the log file cannot be opened.
    #[error(transparent)]
    Log(#[from] vlog::VlogError),
    /// `--user` names nobody.
    #[error("--user: {0}")]
    User(String),
    /// The operating system refused a step of detaching.
    #[error("{what} failed ({source})")]
    System {
        /// Which step.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl StartError {
    /// Prints `PROGRAM: reason` to standard error; the exit code is for `main`.
    pub fn report(&self) -> ExitCode {
        let argv0 = std::env::args().next().unwrap_or_default();
        let name = Path::new(&argv0).file_name().unwrap_or_default().display();
        eprintln!("{name}: {self}");
        ExitCode::FAILURE
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Started by somebody else.
    Outer,
    /// Child of a detaching outer process; watches over the daemon.
    Monitor,
    /// The daemon of a process that detached.
    Detached,
    /// The daemon below a monitor that stayed in the foreground.
    Watched,
    /// The same process as the outer one, after a change of user.
    Foreground,
}

impl Stage {
    const NAMES: [(Stage, &'static str); 4] = [
        (Stage::Monitor, "monitor"),
        (Stage::Detached, "detached"),
        (Stage::Watched, "watched"),
        (Stage::Foreground, "foreground"),
    ];

    fn of_this_process() -> Self {
        let Ok(value) = std::env::var(STAGE_VARIABLE) else {
            return Stage::Outer;
        };
        let Some((name, pid)) = value.split_once(':') else {
            return Stage::Outer;
        };
        let stage = Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map_or(Stage::Outer, |(s, _)| *s);
        let meant_by = if stage == Stage::Foreground {
            Some(rustix::process::getpid()) // exec keeps the pid
        } else {
            rustix::process::getppid()
        };
        let meant = meant_by.is_some_and(|p| p.as_raw_nonzero().to_string() == pid);
        if meant { stage } else { Stage::Outer }
    }

    fn note(self) -> String {
        let name = Self::NAMES
            .iter()
            .find(|(s, _)| *s == self)
            .map_or("", |(_, n)| n);
        format!("{name}:{}", std::process::id())
    }
}

/// Goes through detaching, monitoring and change of user as the options say, and returns in the
/// process that is to be the daemon, with its log open and its pidfile held.
///
/// All other processes end inside this call. Must be the first thing `main` does after parsing its
/// options: before tokio or any other thread exists.
pub fn start(identity: Identity, options: &Options) -> Result<Daemon, StartError> {
    vlog::init(&identity, options)?;
    let stage = Stage::of_this_process();
    match stage {
        Stage::Outer => {
            let user = options.user.as_deref().map(User::resolve).transpose()?;
            if options.detach {
                let next = if options.monitor {
                    Stage::Monitor
                } else {
                    Stage::Detached
                };
                let (child, outcome) = spawn(next, user)?;
                leave(child, outcome);
            }
            if options.monitor {
                vlog::open_log_file()?;
                watch(Stage::Watched, user, None)?;
            }
            if let Some(user) = user {
                let error = command(Stage::Foreground, Some(user)).exec();
                return Err(system("exec after change of user")(error));
            }
        }
        Stage::Monitor => {
            let ready = take_ready_pipe()?;
            new_session()?;
            vlog::open_log_file()?;
            watch(Stage::Detached, None, Some(ready))?;
        }
        Stage::Detached | Stage::Watched | Stage::Foreground => {}
    }
    let ready = match stage {
        Stage::Detached | Stage::Watched => Some(take_ready_pipe()?),
        _ => None,
    };
    if stage == Stage::Detached {
        new_session()?;
    }
    vlog::open_log_file()?;
    let pidfile = options
        .pidfile
        .as_ref()
        .map(|path| {
            let path = if path.as_os_str().is_empty() {
                identity.default_pidfile()
            } else {
                dirs::below(&dirs::ovn_rundir(), path)
            };
            PidFile::create(&path, options.overwrite_pidfile)
        })
        .transpose()?;
    let detached = stage == Stage::Detached;
    Ok(Daemon::new(
        identity,
        options,
        pidfile,
        Readiness {
            pipe: ready,
            detached,
            chdir: detached && !options.no_chdir,
        },
    ))
}

/// What to do once the daemon serves.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    pipe: Option<OwnedFd>,
    detached: bool,
    chdir: bool,
}

impl Readiness {
    /// Tells whoever waits for us: the detaching parent, the monitor, systemd.
    pub(crate) fn tell(&mut self, line: &str) {
        if self.chdir
            && let Err(error) = std::env::set_current_dir("/")
        {
            tracing::warn!(target: "daemon", "chdir to / failed ({error})");
        }
        if self.detached {
            match null() {
                Ok(null) => drop(rustix::stdio::dup2_stderr(&null)),
                Err(error) => tracing::warn!(target: "daemon", "/dev/null: {error}"),
            }
            self.detached = false;
        }
        if let Some(pipe) = self.pipe.take() {
            // The parent may be gone; then nobody waits.
            let _ = File::from(pipe).write_all(format!("{line}\n").as_bytes());
        } else if !line.is_empty() {
            say(line);
        }
        notify_systemd();
    }
}

/// `READY=1` to the service manager, if there is one that wants to know (`sd_notify(3)`).
fn notify_systemd() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() else {
        return;
    };
    let message = format!("READY=1\nMAINPID={}", std::process::id());
    // A path that starts with @ is an abstract socket.
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name),
        None => std::os::unix::net::SocketAddr::from_pathname(&path),
    };
    if let Ok(address) = address
        && let Err(error) = socket.send_to_addr(message.as_bytes(), &address)
    {
        tracing::debug!(target: "daemon", "sd_notify: {error}");
    }
}

/// For whoever started us; that nobody reads it is not an error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn null() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

fn new_session() -> Result<(), StartError> {
    rustix::process::setsid().map_err(|error| system("setsid")(error.into()))?;
    Ok(())
}

/// Keeps the pipe that arrived as standard output, and silences standard output.
fn take_ready_pipe() -> Result<OwnedFd, StartError> {
    name_this_process();
    let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)
        .map_err(|error| system("dup of ready pipe")(error.into()))?;
    let null = null().map_err(system("open of /dev/null"))?;
    rustix::stdio::dup2_stdout(&null).map_err(|error| system("dup of /dev/null")(error.into()))?;
    Ok(pipe)
}

/// `/proc/PID/comm` would say "exe" after running `/proc/self/exe`; init scripts compare it.
fn name_this_process() {
    let argv0 = std::env::args().next().unwrap_or_default();
    let name = Path::new(&argv0).file_name().unwrap_or_default();
    if let Ok(name) = CString::new(name.to_string_lossy().as_bytes()) {
        let _ = rustix::thread::set_name(&name);
    }
}

fn command(stage: Stage, user: Option<User>) -> Command {
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(argv0) = args.next() {
        command.arg0(argv0);
    }
    command.args(args).env(STAGE_VARIABLE, stage.note());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// With what it has to say.
    Ready(String),
    Died,
}

/// Starts the next stage and waits until it is ready or dead.
fn spawn(stage: Stage, user: Option<User>) -> Result<(Child, Outcome), StartError> {
    let mut child = command(stage, user)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(system("start of child process"))?;
    let mut line = String::new();
    let got = child
        .stdout
        .take()
        .map_or(Ok(0), |pipe| BufReader::new(pipe).read_line(&mut line));
    let outcome = match (got, line.strip_suffix('\n')) {
        (Ok(_), Some(line)) => Outcome::Ready(line.to_owned()),
        _ => Outcome::Died,
    };
    Ok((child, outcome))
}

/// Ends the outer process as its child turned out.
fn leave(mut child: Child, outcome: Outcome) -> ! {
    if let Outcome::Ready(line) = outcome {
        if !line.is_empty() {
            say(&line);
        }
        std::process::exit(0);
    }
    match child.wait() {
        Ok(status) if status.code().is_some() => {
            // The child has said why on the standard error that we share.
            std::process::exit(status.code().filter(|code| *code != 0).unwrap_or(1))
        }
        Ok(status) => eprintln!("child died before it was ready ({status})"),
        Err(error) => eprintln!("waiting for the child failed ({error})"),
    }
    std::process::exit(1)
}

/// Signals that say the program is wrong, not that somebody wants it gone: the list of ovs-vswitchd(8),
/// `--monitor`. SIGKILL is not among them, for init scripts end with it.
fn is_program_error(signal: i32) -> bool {
    use rustix::process::Signal;
    [
        Signal::ABORT,
        Signal::ALARM,
        Signal::BUS,
        Signal::FPE,
        Signal::ILL,
        Signal::PIPE,
        Signal::SEGV,
        Signal::XCPU,
        Signal::XFSZ,
    ]
    .iter()
    .any(|s| s.as_raw() == signal)
}

/// The life of a monitor; ends the process.
fn watch(stage: Stage, user: Option<User>, ready: Option<OwnedFd>) -> Result<(), StartError> {
    let mut ready = Readiness {
        pipe: ready,
        detached: stage == Stage::Detached,
        chdir: false,
    };
    let mut crashes = 0;
    loop {
        let started = Instant::now();
        let (mut child, outcome) = spawn(stage, user)?;
        if let Outcome::Ready(line) = &outcome {
            ready.tell(line);
        }
        let status = child.wait().map_err(system("wait for daemon"))?;
        if outcome == Outcome::Died && crashes == 0 {
            std::process::exit(status.code().filter(|code| *code != 0).unwrap_or(1));
        }
        let pid = child.id();
        match status.signal() {
            Some(signal) if is_program_error(signal) => {
                crashes += 1;
                tracing::error!(target: "daemon_unix", "{crashes} crashes: pid {pid} died, {}, restarting", describe(status));
                if let Some(pause) = RESTART_INTERVAL.checked_sub(started.elapsed()) {
                    tracing::warn!(target: "daemon_unix", "waiting until {} seconds since last restart", RESTART_INTERVAL.as_secs());
                    std::thread::sleep(pause);
                }
            }
            _ => {
                tracing::info!(target: "daemon_unix", "pid {pid} died, {}, exiting", describe(status));
                std::process::exit(status.code().unwrap_or(1));
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() {
                ", core dumped"
            } else {
                ""
            };
            format!("killed (signal {signal}){core}")
        }
        (None, None) => status.to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// `USER[:GROUP]`, by name or number; the group is the user's own unless given.
    fn resolve(text: &str) -> Result<Self, StartError> {
        let passwd = read_names("/etc/passwd");
        let groups = read_names("/etc/group");
        Self::find(text, &passwd, &groups).map_err(StartError::User)
    }

    fn find(text: &str, passwd: &str, groups: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
            None => (text, None),
        };
        let me = rustix::process::geteuid().as_raw();
        let entry = |table: &str, name: &str| {
            let found = table
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>());
            let mut found = found.filter(|f| f.len() > 3 && (f[0] == name || f[2] == name));
            found
                .next()
                .map(|f| (f[2].parse::<u32>(), f[3].parse::<u32>()))
        };
        let (uid, own_gid) = match entry(passwd, user) {
            Some((Ok(uid), Ok(gid))) => (uid, gid),
            _ if user.is_empty() => (me, rustix::process::getegid().as_raw()),
            _ => return Err(format!("user {user} not found")),
        };
        let gid = match group.map(|group| (group, entry(groups, group))) {
            None => own_gid,
            Some((_, Some((Ok(gid), _)))) => gid,
            Some((group, _)) => return Err(format!("group {group} not found")),
        };
        Ok(Self { uid, gid })
    }
}

/// An unreadable table holds nobody; the name then is not found, which is what gets said.
fn read_names(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\novn:x:101:102::/:/bin/false\n";
        let groups = "root:x:0:\nhugetlbfs:x:103:ovn\n";
        let find = |text| User::find(text, passwd, groups);
        assert_eq!(find("ovn"), Ok(User { uid: 101, gid: 102 }));
        assert_eq!(find("101:hugetlbfs"), Ok(User { uid: 101, gid: 103 }));
        assert_eq!(find("nobody"), Err("user nobody not found".to_string()));
        assert_eq!(find("ovn:x"), Err("group x not found".to_string()));
    }

    #[test]
    fn only_program_errors_are_restarted() {
        assert!(is_program_error(11) && is_program_error(6));
        assert!(!is_program_error(15) && !is_program_error(9));
    }
}
