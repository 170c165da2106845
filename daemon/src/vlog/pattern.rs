//! Log line patterns: the `%` sequences that ovs-appctl(8) documents under `vlog/set PATTERN`.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Level;
use super::time::Civil;

/// Facility `local0`'s neighbour that daemons use: `daemon`, shifted as syslog wants it.
const FACILITY_DAEMON: u8 = 3 << 3;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// One message and everything a pattern can say about it.
pub(super) struct Record<'a> {
    pub program: &'a str,
    pub module: &'a str,
    pub level: Level,
    pub message: &'a str,
    time: Civil,
    sequence: u64,
    thread: Option<String>,
}

impl<'a> Record<'a> {
    pub(super) fn now(program: &'a str, module: &'a str, level: Level, message: &'a str) -> Self {
        LazyLock::force(&STARTED);
        let thread = std::thread::current();
        let thread = thread
            .name()
            .filter(|name| !matches!(*name, "main" | "tokio-rt-worker"));
        Self {
            program,
            module,
            level,
            message,
            time: Civil::now(),
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed) + 1,
            thread: thread.map(str::to_string),
        }
    }

    pub(super) fn priority(&self) -> u8 {
        FACILITY_DAEMON | self.level.syslog_severity()
    }
}

/// How a line looks.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_string(),
        }
    }

    /// For console, syslog and file.
    pub(super) fn defaults() -> [Self; 3] {
        [
            "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m",
            "ovs|%05N|%c%T|%p|%m",
            "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m",
        ]
        .map(Self::new)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn render(&self, record: &Record<'_>) -> String {
        let mut out = String::with_capacity(64 + record.message.len());
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = sequence(&rest[at + 1..], record, &mut out);
        }
        out.push_str(rest);
        out
    }
}

/// Renders what follows a `%`: `[-][0][WIDTH]LETTER[{ARGUMENT}]`; returns the rest of the pattern.
fn sequence<'p>(pattern: &'p str, record: &Record<'_>, out: &mut String) -> &'p str {
    let (left, pattern) = match pattern.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (zeros, pattern) = match pattern.strip_prefix('0') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let digits = pattern.len()
        - pattern
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let width = pattern[..digits].parse().unwrap_or(0);
    let mut chars = pattern[digits..].chars();
    let Some(letter) = chars.next() else {
        return "";
    };
    let mut rest = chars.as_str();
    let mut argument = None;
    if let Some((inside, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
        (argument, rest) = (Some(inside), after);
    }
    let mut text = String::new();
    let _ = match letter {
        'A' => write!(text, "{}", record.program),
        'B' => write!(text, "{}", record.priority()),
        'c' => write!(text, "{}", record.module),
        'd' | 'D' => {
            record
                .time
                .format(argument.unwrap_or("%Y-%m-%d %H:%M:%S.###"), &mut text);
            Ok(())
        }
        'E' => write!(
            text,
            "{}",
            rustix::system::uname().nodename().to_string_lossy()
        ),
        'm' => write!(text, "{}", record.message),
        'N' => write!(text, "{}", record.sequence),
        'n' => writeln!(text),
        'p' => write!(text, "{}", record.level.name()),
        'P' => write!(text, "{}", std::process::id()),
        'r' => write!(text, "{}", STARTED.elapsed().as_millis()),
        't' => write!(text, "{}", record.thread.as_deref().unwrap_or("main")),
        'T' => match &record.thread {
            Some(thread) => write!(text, "({thread})"),
            None => Ok(()),
        },
        other => write!(text, "{other}"),
    };
    let _ = match (left, zeros) {
        (true, _) => write!(out, "{text:<width$}"),
        (false, true) => write!(out, "{text:0>width$}"),
        (false, false) => write!(out, "{text:>width$}"),
    };
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let record = Record {
            sequence: 7,
            thread: Some("stopwatch0".to_string()),
            ..Record::now("ovn-northd", "vlog", Level::Info, "hello")
        };
        let render = |pattern: &str| Pattern::new(pattern).render(&record);
        assert_eq!(
            render("%05N|%c%T|%p|%m"),
            "00007|vlog(stopwatch0)|INFO|hello"
        );
        assert_eq!(render("[%6c][%-6c]%A %%"), "[  vlog][vlog  ]ovn-northd %");
        assert_eq!(render("%B%"), "30");
        assert_eq!(render("%D{%Y-%m}").len(), 7);
        assert_eq!(
            Pattern::defaults()[2].render(&record).len(),
            "2026-11-21T09:34:05.895Z|00007|vlog(stopwatch0)|INFO|hello".len()
        );
    }
}
