//! The log of Open vSwitch programs, as a `tracing` layer.
//!
//! Every event goes to up to three destinations (console, syslog, file), each with its own level,
//! which can differ per module and change while the daemon runs (`vlog/set`). A *module* is the last
//! part of an event's target, without `weft_`: `weft_ovsdb::session` logs as `session`, the root of
//! `weft_northd` as `northd`, `target: "reconnect"` as that. Modules of foreign crates log warnings and
//! worse, unless they are named in a setting.
//!
//! ```text
//! 2026-11-21T09:34:05.895Z|00001|vlog|INFO|opened log file /var/log/ovn/weft-northd.log
//! ```

mod layer;
mod levels;
mod pattern;
mod sinks;
mod time;

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};

use tracing_subscriber::layer::SubscriberExt as _;

pub use levels::{Destination, Level};
use levels::{Levels, Setting};
use pattern::{Pattern, Record};
use sinks::{LogFile, Syslog};

use crate::{Identity, Options, dirs};

/// What is wrong with a setting or a log file. The texts are Open vSwitch's.
#[derive(Debug, thiserror::Error)]
pub enum VlogError {
    /// A word of a level setting is none of the three kinds.
    #[error("no destination, level, or module \"{0}\"")]
    UnknownWord(String),
    /// A setting names two of one kind.
    #[error("cannot specify multiple {0}")]
    Multiple(&'static str),
    /// A `PATTERN:` setting without destination, or with an unknown one.
    #[error("{0}")]
    Pattern(String),
    /// A log file that cannot be opened.
    #[error("failed to open {} for logging: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `vlog/reopen` without `--log-file`.
    #[error("Logging to file not configured")]
    NoLogFile,
    /// `--syslog-method` or `--syslog-target` makes no sense.
    #[error("{0}: not a way to reach a syslog daemon")]
    SyslogMethod(String),
}

#[derive(Debug)]
struct Vlog {
    levels: Levels,
    patterns: RwLock<[Pattern; 3]>,
    file: Mutex<LogFile>,
    syslog: Mutex<Syslog>,
    program: RwLock<String>,
}

static VLOG: LazyLock<Vlog> = LazyLock::new(|| Vlog {
    levels: Levels::default(),
    patterns: RwLock::new(Pattern::defaults()),
    file: Mutex::default(),
    syslog: Mutex::default(),
    program: RwLock::default(),
});

/// Sets the log up as the options say, without opening the log file yet (see [`open_log_file`]).
///
/// Installs the global `tracing` subscriber; a later call only changes settings.
pub fn init(identity: &Identity, options: &Options) -> Result<(), VlogError> {
    *VLOG.program.write().unwrap_or_else(PoisonError::into_inner) = identity.name().to_string();
    if options.no_syslog {
        set("syslog:warn")?;
    }
    for spec in &options.verbose {
        set(if spec.is_empty() { "any:any:dbg" } else { spec })?;
    }
    {
        let mut syslog = VLOG.syslog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(method) = &options.syslog_method {
            syslog.set_method(method)?;
        }
        if let Some(target) = &options.syslog_target {
            syslog.set_target(target)?;
        }
    }
    if let Some(path) = &options.log_file {
        let path = if path.as_os_str().is_empty() {
            identity.default_log_file()
        } else {
            // A daemon changes its directory; what the user typed is relative to where he was.
            dirs::below(&std::env::current_dir().unwrap_or_default(), path)
        };
        VLOG.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .configure(path);
    }
    install();
    Ok(())
}

/// Installs the subscriber if there is none: for programs and tests without daemon options.
pub fn install() {
    let subscriber = tracing_subscriber::registry().with(layer::VlogLayer);
    // Somebody may have installed one before (a test with its own); then that one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Opens the file `--log-file` named, if any and if it is not open.
pub fn open_log_file() -> Result<(), VlogError> {
    let opened = VLOG
        .file
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .open()?;
    if let Some(path) = opened {
        tracing::info!(target: "vlog", "opened log file {}", path.display());
    }
    Ok(())
}

/// Closes and opens the log file again: `vlog/reopen`, for log rotation.
pub fn reopen() -> Result<(), VlogError> {
    {
        let mut file = VLOG.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !file.configured() {
            return Err(VlogError::NoLogFile);
        }
        file.close();
    }
    open_log_file()
}

/// Closes the log file until the next [`reopen`]: `vlog/close`.
pub fn close() {
    VLOG.file
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .close();
}

/// Applies a setting: `[MODULE][:DESTINATION][:LEVEL]` in any order, separated by `:`, `,` or blanks,
/// or `PATTERN:DESTINATION:PATTERN`.
pub fn set(spec: &str) -> Result<(), VlogError> {
    const PREFIX: &str = "PATTERN:";
    if spec
        .get(..PREFIX.len())
        .is_some_and(|p| p.eq_ignore_ascii_case(PREFIX))
    {
        let (destination, pattern) = spec[PREFIX.len()..]
            .split_once(':')
            .ok_or_else(|| VlogError::Pattern("missing destination or pattern".to_string()))?;
        let destinations = match Destination::parse(destination) {
            Some(one) => vec![one],
            None if destination.eq_ignore_ascii_case("any") => Destination::ALL.to_vec(),
            None => {
                return Err(VlogError::Pattern(format!(
                    "unknown destination {destination}"
                )));
            }
        };
        let mut patterns = VLOG
            .patterns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for destination in destinations {
            patterns[destination as usize] = Pattern::new(pattern);
        }
        return Ok(());
    }
    VLOG.levels
        .apply(&Setting::parse(spec, |word| VLOG.levels.knows(word))?);
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// The table of `vlog/list`: every module that has logged or was set, and its levels.
pub fn list() -> String {
    VLOG.levels.table()
}

/// The table of `vlog/list-pattern`.
pub fn list_patterns() -> String {
    let patterns = VLOG.patterns.read().unwrap_or_else(PoisonError::into_inner);
    let mut out = String::from(
        "         prefix                            format\n         ------                            ------\n",
    );
    for destination in [Destination::Syslog, Destination::Console, Destination::File] {
        let prefix = match destination {
            Destination::Syslog => sinks::SYSLOG_PREFIX,
            _ => "none",
        };
        let name = format!("{destination:?}").to_uppercase();
        let pattern = patterns[destination as usize].text();
        out.push_str(&format!("{name:<7}  {prefix:<32}  {pattern}\n"));
    }
    out
}

/// Makes a module known before it logs, so that it can be listed and set.
pub fn register_module(module: &str) {
    VLOG.levels.register(module);
}

/// Where the log file is, if one is configured.
pub fn log_file() -> Option<PathBuf> {
    let file = VLOG.file.lock().unwrap_or_else(PoisonError::into_inner);
    file.path().map(Path::to_path_buf)
}

impl Vlog {
    fn log(&self, module: &str, foreign: bool, level: Level, message: &str) {
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        let program = self.program.read().unwrap_or_else(PoisonError::into_inner);
        let record = Record::now(&program, module, level, message);
        for destination in Destination::ALL {
            if !self.levels.wants(module, foreign, destination, level) {
                continue;
            }
            let line = patterns[destination as usize].render(&record);
            match destination {
                Destination::Console => eprintln!("{line}"),
                Destination::File => {
                    self.file
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .write(&line);
                }
                Destination::Syslog => {
                    let mut syslog = self.syslog.lock().unwrap_or_else(PoisonError::into_inner);
                    syslog.send(&record, &line);
                }
            }
        }
    }
}
