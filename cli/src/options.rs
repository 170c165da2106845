//! The options before the first command. getopt's rules: they end at the first word that is none, long
//! ones may be abbreviated, `--with VALUE` and `--with=VALUE` are the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use weft_ovsdb::model::listing::{DataStyle, Format, Style};
use weft_ovsdb::tls::Tls;

use crate::command::Tool;
use crate::error::{Error, fail, nearest};

/// How far the Southbound side must have come before the tool returns (ovn-nbctl(8), `--wait`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    #[default]
    None,
    /// The Southbound database has it.
    Sb,
    /// All chassis have it.
    Hv,
}

/// What to do instead of running commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// `--commands`: one command per line, for scripts.
    Commands,
    /// `--options`: one option per line, for scripts.
    Options,
    /// `--completion=SHELL`
    Completion(String),
}

/// The options as parsed.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// `--db`
    pub db: Option<String>,
    /// Whether any member of a cluster will do.
    pub any_member: bool,
    /// `--no-shuffle-remotes`
    pub in_order: bool,
    /// `--wait`
    pub wait: Wait,
    /// `--print-wait-time`
    pub print_wait_time: bool,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--oneline`
    pub oneline: bool,
    /// `--format`, `--data` and so on.
    pub style: Style,
    /// `--verbose`, in order.
    pub verbose: Vec<String>,
    /// `--log-file`; empty for its usual place.
    pub log_file: Option<PathBuf>,
    /// `--unixctl`: socket of a daemon that is to run the commands, or of the daemon that this is to become.
    pub unixctl: Option<String>,
    /// `--detach`: run commands for others until told to go.
    pub detach: bool,
    /// `--monitor`
    pub monitor: bool,
    /// `--pidfile`; empty for its usual place.
    pub pidfile: Option<PathBuf>,
    /// `--overwrite-pidfile`
    pub overwrite_pidfile: bool,
    /// `--no-chdir`
    pub no_chdir: bool,
    /// `--private-key`
    pub private_key: Option<PathBuf>,
    /// `--certificate`
    pub certificate: Option<PathBuf>,
    /// `--ca-cert` or `--bootstrap-ca-cert`
    pub ca_cert: Option<PathBuf>,
    /// Whether it was `--bootstrap-ca-cert`.
    pub bootstrap: bool,
    /// Something else is asked for.
    pub instead: Option<Instead>,
    /// Options of the first command.
    pub leading: BTreeMap<String, Option<String>>,
}

impl Global {
    /// For `ssl:` remotes, if the three files were named.
    pub fn tls(&self) -> Option<Tls> {
        Some(Tls {
            private_key: self.private_key.clone()?,
            certificate: self.certificate.clone()?,
            ca: self.ca_cert.clone()?,
            bootstrap: self.bootstrap,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Maybe,
    Value,
}

use Takes::{Maybe, Nothing, Value};

/// Long name, letter, whether it takes a value, and what help says. Options without help are there
/// for scripts that pass them.
const OPTIONS: &[(&str, Option<char>, Takes, &str)] = &[
    ("db", None, Value, "connect to DATABASE"),
    (
        "no-leader-only",
        None,
        Nothing,
        "accept any cluster member, not just the leader",
    ),
    ("leader-only", None, Nothing, ""),
    (
        "no-shuffle-remotes",
        None,
        Nothing,
        "do not shuffle the order of remotes",
    ),
    ("shuffle-remotes", None, Nothing, ""),
    (
        "no-wait",
        None,
        Nothing,
        "do not wait for OVN reconfiguration (default)",
    ),
    (
        "wait",
        None,
        Value,
        "none, sb or hv: wait until that has caught up",
    ),
    (
        "print-wait-time",
        None,
        Nothing,
        "print time spent on waiting",
    ),
    ("timeout", Some('t'), Value, "wait at most SECS seconds"),
    (
        "dry-run",
        None,
        Nothing,
        "do not commit changes to database",
    ),
    (
        "oneline",
        None,
        Nothing,
        "print exactly one line of output per command",
    ),
    (
        "format",
        Some('f'),
        Value,
        "output format: table, list, html, csv or json",
    ),
    (
        "data",
        Some('d'),
        Value,
        "format of table cells: string, bare or json",
    ),
    ("no-headings", None, Nothing, "omit table heading row"),
    ("pretty", None, Nothing, "pretty-print JSON in output"),
    (
        "bare",
        None,
        Nothing,
        "equivalent to --format=list --data=bare --no-headings",
    ),
    (
        "max-column-width",
        None,
        Value,
        "cut columns of tables at that many characters",
    ),
    ("verbose", Some('v'), Maybe, "set logging levels"),
    ("log-file", None, Maybe, "log to FILE"),
    (
        "no-syslog",
        None,
        Nothing,
        "log to syslog only warnings and worse",
    ),
    ("syslog-method", None, Value, ""),
    ("syslog-target", None, Value, ""),
    (
        "unixctl",
        Some('u'),
        Value,
        "let the daemon behind that socket run the commands",
    ),
    (
        "detach",
        None,
        Nothing,
        "run in background as a daemon that runs commands",
    ),
    (
        "monitor",
        None,
        Nothing,
        "with --detach, start it again when it dies",
    ),
    ("pidfile", None, Maybe, "with --detach, create a pidfile"),
    ("overwrite-pidfile", None, Nothing, ""),
    ("no-chdir", None, Nothing, ""),
    ("private-key", Some('p'), Value, "file with private key"),
    (
        "certificate",
        Some('c'),
        Value,
        "file with certificate for private key",
    ),
    ("ca-cert", Some('C'), Value, "file with peer CA certificate"),
    (
        "bootstrap-ca-cert",
        None,
        Value,
        "file with peer CA certificate to read or create",
    ),
    ("ssl-protocols", None, Value, ""),
    ("ssl-ciphers", None, Value, ""),
    ("commands", None, Nothing, "list the commands, one per line"),
    ("options", None, Nothing, "list the options, one per line"),
    (
        "completion",
        None,
        Value,
        "print completions for bash, zsh or fish",
    ),
    ("help", Some('h'), Nothing, "display this help message"),
    ("version", Some('V'), Nothing, "display version information"),
];

/// Options that only make sense where there is something to wait for.
const OF_WAITING: &[&str] = &["no-wait", "wait", "print-wait-time"];

fn known(
    tool: &Tool,
) -> impl Iterator<Item = &'static (&'static str, Option<char>, Takes, &'static str)> {
    let waits = tool.waits;
    OPTIONS
        .iter()
        .filter(move |(name, ..)| waits || !OF_WAITING.contains(name))
}

/// Parses the words before the first command; returns the rest.
pub fn parse<'w>(tool: &Tool, words: &'w [String]) -> Result<(Global, &'w [String]), Error> {
    let mut global = Global::default();
    let mut words = words;
    while let Some((word, rest)) = words.split_first() {
        if word == "--" || !word.starts_with('-') || word == "-" {
            break;
        }
        words = rest;
        if let Some(long) = word.strip_prefix("--") {
            words = long_option(tool, &mut global, long, words)?;
        } else {
            words = short_options(&mut global, &word[1..], words)?;
        }
    }
    Ok((global, words))
}

fn long_option<'w>(
    tool: &Tool,
    global: &mut Global,
    word: &str,
    rest: &'w [String],
) -> Result<&'w [String], Error> {
    let (name, inline) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (word, None),
    };
    let of_commands = || tool.commands().flat_map(|command| command.options.iter());
    let is_of_command = |o: &&&str| o[2..].trim_end_matches(['=', '?']) == name;
    if !tool.waits && name == "wait" {
        return fail("--wait not supported");
    }
    let exact = known(tool).find(|(long, ..)| *long == name);
    let found = match exact {
        Some(option) => Some(option),
        None if of_commands().any(|option| is_of_command(&option)) => None,
        None => abbreviated(tool, name)?,
    };
    let Some((long, _, takes, _)) = found else {
        let spec = of_commands()
            .find(is_of_command)
            .copied()
            .unwrap_or_default();
        let (value, rest) = match inline {
            None if spec.ends_with('=') => take(name, rest)?,
            inline => (inline, rest),
        };
        if global.leading.insert(format!("--{name}"), value).is_some() {
            return fail(format!("'--{name}' option specified multiple times"));
        }
        return Ok(rest);
    };
    let (value, rest) = match (takes, inline) {
        (Nothing, Some(_)) => return fail(format!("option '--{long}' doesn't allow an argument")),
        (Value, None) => take(long, rest)?,
        (_, inline) => (inline, rest),
    };
    apply(global, long, value.unwrap_or_default())?;
    Ok(rest)
}

fn take<'w>(name: &str, rest: &'w [String]) -> Result<(Option<String>, &'w [String]), Error> {
    match rest.split_first() {
        Some((value, rest)) => Ok((Some(value.clone()), rest)),
        None => fail(format!("option '--{name}' requires an argument")),
    }
}

type Found = Option<&'static (&'static str, Option<char>, Takes, &'static str)>;

fn abbreviated(tool: &Tool, name: &str) -> Result<Found, Error> {
    let mut begin = known(tool).filter(|(long, ..)| long.starts_with(name));
    match (begin.next(), begin.next()) {
        (Some(one), None) => Ok(Some(one)),
        (Some(_), Some(_)) => fail(format!("option '--{name}' is ambiguous")),
        (None, _) => {
            let error = Error::new(format!("unrecognized option '--{name}'"));
            Err(match nearest(name, known(tool).map(|(long, ..)| *long)) {
                Some(near) => error.help(format!("did you mean '--{near}'?")),
                None => error,
            })
        }
    }
}

fn short_options<'w>(
    global: &mut Global,
    letters: &str,
    rest: &'w [String],
) -> Result<&'w [String], Error> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let Some((long, _, takes, _)) =
            OPTIONS.iter().find(|(_, short, ..)| *short == Some(letter))
        else {
            return fail(format!("invalid option -- '{letter}'"));
        };
        let attached = letters.as_str();
        match takes {
            Nothing => apply(global, long, String::new())?,
            Maybe => {
                apply(global, long, attached.to_string())?;
                break;
            }
            Value if attached.is_empty() => {
                let Some((value, rest)) = rest.split_first() else {
                    return fail(format!("option requires an argument -- '{letter}'"));
                };
                apply(global, long, value.clone())?;
                return Ok(rest);
            }
            Value => {
                apply(global, long, attached.to_string())?;
                break;
            }
        }
    }
    Ok(rest)
}

fn apply(global: &mut Global, option: &str, value: String) -> Result<(), Error> {
    match option {
        "db" => global.db = Some(value),
        "no-leader-only" => global.any_member = true,
        "leader-only" => global.any_member = false,
        "no-shuffle-remotes" => global.in_order = true,
        "shuffle-remotes" => global.in_order = false,
        "no-wait" => global.wait = Wait::None,
        "wait" => {
            global.wait = match value.as_str() {
                "none" => Wait::None,
                "sb" => Wait::Sb,
                "hv" => Wait::Hv,
                _ => return fail("argument to --wait must be \"none\", \"sb\", or \"hv\""),
            }
        }
        "print-wait-time" => global.print_wait_time = true,
        "timeout" => {
            let seconds: u64 = value.parse().ok().filter(|s| *s > 0).ok_or_else(|| {
                Error::new(format!("value {value} on -t or --timeout is invalid"))
            })?;
            global.timeout = Some(Duration::from_secs(seconds));
        }
        "dry-run" => global.dry_run = true,
        "oneline" => global.oneline = true,
        "format" => global.style.format = value.parse::<Format>().map_err(Error::new)?,
        "data" => global.style.data = value.parse::<DataStyle>().map_err(Error::new)?,
        "no-headings" => global.style.headings = false,
        "pretty" => global.style.pretty = true,
        "bare" => {
            let bare = Style::bare();
            global.style = Style {
                pretty: global.style.pretty,
                ..bare
            };
        }
        "max-column-width" => {
            global.style.max_column_width = value
                .parse()
                .map_err(|_| Error::new(format!("{value}: not a width")))?;
        }
        "verbose" => global.verbose.push(value),
        "log-file" => global.log_file = Some(value.into()),
        "unixctl" => global.unixctl = Some(value),
        "detach" => global.detach = true,
        "monitor" => global.monitor = true,
        "pidfile" => global.pidfile = Some(value.into()),
        "overwrite-pidfile" => global.overwrite_pidfile = true,
        "no-chdir" => global.no_chdir = true,
        "private-key" => global.private_key = Some(value.into()),
        "certificate" => global.certificate = Some(value.into()),
        "ca-cert" => (global.ca_cert, global.bootstrap) = (Some(value.into()), false),
        "bootstrap-ca-cert" => (global.ca_cert, global.bootstrap) = (Some(value.into()), true),
        "help" => global.instead = Some(Instead::Help),
        "version" => global.instead = Some(Instead::Version),
        "commands" => global.instead = Some(Instead::Commands),
        "options" => global.instead = Some(Instead::Options),
        "completion" => global.instead = Some(Instead::Completion(value)),
        // Of daemons, or about the system log: nothing depends on them here.
        _ => {}
    }
    Ok(())
}

/// The options for the help text, one per line.
pub fn help(tool: &Tool) -> String {
    let mut out = String::new();
    for (long, short, takes, help) in known(tool).filter(|(.., help)| !help.is_empty()) {
        let short = short.map_or_else(String::new, |letter| format!("-{letter}, "));
        let value = match takes {
            Nothing => "",
            Maybe => "[=VALUE]",
            Value => "=VALUE",
        };
        out.push_str(&format!(
            "  {:<27} {help}\n",
            format!("{short}--{long}{value}")
        ));
    }
    out
}

/// Long names of all options.
pub fn names(tool: &Tool) -> Vec<String> {
    known(tool).map(|(long, ..)| format!("--{long}")).collect()
}
