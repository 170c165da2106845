//! Which module logs what where.

use std::sync::atomic::{AtomicU8, Ordering};

use dashmap::DashMap;

use super::VlogError;

/// Severity, as Open vSwitch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// As a limit: nothing.
    Off,
    /// The program is about to end.
    Emer,
    /// Something failed.
    Err,
    /// Something is odd.
    Warn,
    /// Something an operator may want to know.
    Info,
    /// Everything.
    Dbg,
}

impl Level {
    const NAMES: [(&'static str, Level); 6] = [
        ("OFF", Level::Off),
        ("EMER", Level::Emer),
        ("ERR", Level::Err),
        ("WARN", Level::Warn),
        ("INFO", Level::Info),
        ("DBG", Level::Dbg),
    ];

    /// `INFO` and so on.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    fn parse(word: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, l)| *l)
    }

    fn from_u8(value: u8) -> Self {
        Self::NAMES[usize::from(value)].1
    }

    /// Severity of `syslog(3)`, 0..=7.
    pub(super) fn syslog_severity(self) -> u8 {
        match self {
            Level::Off | Level::Emer => 1,
            Level::Err => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Dbg => 7,
        }
    }
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Destination {
    /// Standard error.
    Console,
    /// The system log.
    Syslog,
    /// The file of `--log-file`.
    File,
}

impl Destination {
    /// All three.
    pub const ALL: [Destination; 3] =
        [Destination::Console, Destination::Syslog, Destination::File];

    pub(super) fn parse(word: &str) -> Option<Self> {
        let named = |d: &Destination| format!("{d:?}").eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(named)
    }
}

/// One parsed `[MODULE][:DESTINATION][:LEVEL]`; `None` stands for all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    module: Option<String>,
    destination: Option<Destination>,
    level: Level,
}

impl Setting {
    pub(super) fn parse(spec: &str, is_module: impl Fn(&str) -> bool) -> Result<Self, VlogError> {
        let mut module = None;
        let mut destination = None;
        let mut level = None;
        let words = spec
            .split([' ', ',', ':', '\t'])
            .filter(|word| !word.is_empty());
        for word in words {
            if word.eq_ignore_ascii_case("any") {
                continue;
            }
            if let Some(named) = Destination::parse(word) {
                if destination.replace(named).is_some() {
                    return Err(VlogError::Multiple("destinations"));
                }
            } else if let Some(named) = Level::parse(word) {
                if level.replace(named).is_some() {
                    return Err(VlogError::Multiple("levels"));
                }
            } else if is_module(&normal(word)) {
                if module.replace(normal(word)).is_some() {
                    return Err(VlogError::Multiple("modules"));
                }
            } else {
                return Err(VlogError::UnknownWord(word.to_string()));
            }
        }
        Ok(Self {
            module,
            destination,
            level: level.unwrap_or(Level::Dbg),
        })
    }
}

/// Users write `ovsdb-idl` for `ovsdb_idl`.
fn normal(module: &str) -> String {
    module.replace('-', "_").to_ascii_lowercase()
}

/// Modules of stock programs that unit files name; setting them must not stop a daemon from starting.
const STOCK_MODULES: &[&str] = &[
    "northd",
    "ovn_northd",
    "en_lflow",
    "en_northd",
    "inc_proc_northd",
    "main",
    "binding",
    "chassis",
    "encaps",
    "lflow",
    "lport",
    "physical",
    "pinctrl",
    "ofctrl",
    "ofctrl_seqno",
    "patch",
    "if_status",
    "inc_proc_eng",
    "ovsdb_idl",
    "ovsdb_cs",
    "jsonrpc",
    "reconnect",
    "rconn",
    "vconn",
    "stream_ssl",
    "stream_fd",
    "stream",
    "poll_loop",
    "timeval",
    "unixctl",
    "vlog",
    "memory",
    "daemon",
    "daemon_unix",
    "coverage",
    "stopwatch",
    "util",
    "socket_util",
    "fatal_signal",
    "nbctl",
    "sbctl",
    "ovntrace",
];

#[derive(Debug)]
pub(super) struct Levels {
    default: [AtomicU8; 3],
    /// Modules that were seen or set; `None` follows the default.
    modules: DashMap<String, [Option<Level>; 3]>,
    /// The most talkative level anywhere, to turn most events away at once.
    most: AtomicU8,
}

impl Default for Levels {
    fn default() -> Self {
        let info = || AtomicU8::new(Level::Info as u8);
        Self {
            default: [info(), info(), info()],
            modules: DashMap::new(),
            most: info(),
        }
    }
}

impl Levels {
    pub(super) fn knows(&self, module: &str) -> bool {
        self.modules.contains_key(module) || STOCK_MODULES.contains(&module)
    }

    pub(super) fn register(&self, module: &str) {
        if !self.modules.contains_key(module) {
            self.modules.insert(module.to_string(), [None; 3]);
        }
    }

    pub(super) fn apply(&self, setting: &Setting) {
        for destination in Destination::ALL {
            if setting.destination.is_some_and(|d| d != destination) {
                continue;
            }
            let at = destination as usize;
            match &setting.module {
                Some(module) => {
                    self.modules.entry(module.clone()).or_insert([None; 3])[at] =
                        Some(setting.level);
                }
                None => {
                    self.default[at].store(setting.level as u8, Ordering::Relaxed);
                    self.modules
                        .iter_mut()
                        .for_each(|mut levels| levels[at] = None);
                }
            }
        }
        let default = self
            .default
            .iter()
            .map(|level| level.load(Ordering::Relaxed))
            .max();
        let named = self
            .modules
            .iter()
            .flat_map(|levels| *levels)
            .flatten()
            .max();
        let most = default
            .unwrap_or(0)
            .max(named.map_or(0, |level| level as u8));
        self.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn most(&self) -> Level {
        Level::from_u8(self.most.load(Ordering::Relaxed))
    }

    fn level(&self, module: &str, foreign: bool, destination: Destination) -> Level {
        let own = self
            .modules
            .get(module)
            .and_then(|levels| levels[destination as usize]);
        let default = Level::from_u8(self.default[destination as usize].load(Ordering::Relaxed));
        own.unwrap_or(if foreign {
            default.min(Level::Warn)
        } else {
            default
        })
    }

    pub(super) fn wants(
        &self,
        module: &str,
        foreign: bool,
        destination: Destination,
        level: Level,
    ) -> bool {
        level <= self.level(module, foreign, destination)
    }

    pub(super) fn table(&self) -> String {
        let mut modules: Vec<String> = self.modules.iter().map(|e| e.key().clone()).collect();
        modules.sort_unstable();
        let mut out = String::from(
            "                 console    syslog    file\n                 -------    ------    ------\n",
        );
        for module in modules {
            let name = |destination| self.level(&module, false, destination).name();
            out.push_str(&format!(
                "{module:<16}  {:>4}       {:>4}       {:>4}\n",
                name(Destination::Console),
                name(Destination::Syslog),
                name(Destination::File),
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: &str) -> Result<Setting, String> {
        Setting::parse(spec, |word| word == "ovsdb_idl").map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_words_in_any_order() {
        let setting = |module: Option<&str>, destination, level| {
            Ok(Setting {
                module: module.map(str::to_string),
                destination,
                level,
            })
        };
        assert_eq!(
            parse("console:off"),
            setting(None, Some(Destination::Console), Level::Off)
        );
        assert_eq!(
            parse("DBG,ovsdb-idl"),
            setting(Some("ovsdb_idl"), None, Level::Dbg)
        );
        assert_eq!(parse("any:any:dbg"), setting(None, None, Level::Dbg));
        assert_eq!(
            parse("file"),
            setting(None, Some(Destination::File), Level::Dbg)
        );
        assert_eq!(
            parse("bogus"),
            Err("no destination, level, or module \"bogus\"".into())
        );
        assert_eq!(
            parse("console:syslog"),
            Err("cannot specify multiple destinations".into())
        );
    }

    #[test]
    fn modules_override_the_default_until_it_is_set_again() {
        let levels = Levels::default();
        levels.register("session");
        let apply = |spec: &str| {
            levels.apply(&Setting::parse(spec, |module| levels.knows(module)).unwrap());
        };
        let wants = |module, level| levels.wants(module, false, Destination::File, level);
        assert!(wants("session", Level::Info) && !wants("session", Level::Dbg));
        apply("session:file:dbg");
        assert_eq!(levels.most(), Level::Dbg);
        assert!(wants("session", Level::Dbg) && !wants("other", Level::Dbg));
        assert_eq!(
            levels.table().lines().last(),
            Some("session           INFO       INFO        DBG")
        );
        apply("file:warn");
        assert!(!wants("session", Level::Info));
        assert_eq!(levels.most(), Level::Info);
        assert!(!levels.wants("h2", true, Destination::Console, Level::Info));
    }
}
