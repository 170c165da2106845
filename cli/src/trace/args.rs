//! The command line of `weft-trace`: ovn-trace(8)'s.

use std::net::IpAddr;
use std::path::PathBuf;

use weft_ovsdb::tls::Tls;

use super::flow_text::parse_ct_state;
use crate::error::{Error, fail, nearest};

/// Options and arguments as given.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// `--detailed`
    pub detailed: bool,
    /// `--summary`
    pub summary: bool,
    /// `--minimal`
    pub minimal: bool,
    /// `--explain`: ours.
    pub explain: bool,
    /// `--db`
    pub db: Option<String>,
    /// `--nb-db`: ours.
    pub nb_db: Option<String>,
    /// `--no-leader-only`
    pub any_member: bool,
    /// `--ovs`, with the remote if one was given.
    pub ovs: Option<Option<String>>,
    /// `--ct`
    pub ct: Vec<u128>,
    /// `--lb-dst`
    pub lb_dst: Option<(IpAddr, Option<u16>)>,
    /// `--select-id`
    pub select_id: Option<u16>,
    /// `--no-friendly-names`
    pub unfriendly: bool,
    /// Daemon, log and TLS options.
    pub daemon: weft_daemon::Options,
    /// `--help`
    pub help: bool,
    /// `--version`
    pub version: bool,
    /// Datapath and microflow.
    pub words: Vec<String>,
}

/// Long name, letter, whether it takes a value (`None`: it may).
type Spec = (&'static str, Option<char>, Option<bool>);

const OPTIONS: &[Spec] = &[
    ("detailed", None, Some(false)),
    ("summary", None, Some(false)),
    ("minimal", None, Some(false)),
    ("all", None, Some(false)),
    ("explain", None, Some(false)),
    ("db", None, Some(true)),
    ("nb-db", None, Some(true)),
    ("leader-only", None, Some(false)),
    ("no-leader-only", None, Some(false)),
    ("ovs", None, None),
    ("ct", None, Some(true)),
    ("lb-dst", None, Some(true)),
    ("select-id", None, Some(true)),
    ("friendly-names", None, Some(false)),
    ("no-friendly-names", None, Some(false)),
    ("unixctl", None, Some(true)),
    ("detach", None, Some(false)),
    ("monitor", None, Some(false)),
    ("no-chdir", None, Some(false)),
    ("no-self-confinement", None, Some(false)),
    ("pidfile", None, None),
    ("overwrite-pidfile", None, Some(false)),
    ("user", None, Some(true)),
    ("verbose", Some('v'), None),
    ("log-file", None, None),
    ("syslog-method", None, Some(true)),
    ("syslog-target", None, Some(true)),
    ("private-key", Some('p'), Some(true)),
    ("certificate", Some('c'), Some(true)),
    ("ca-cert", Some('C'), Some(true)),
    ("bootstrap-ca-cert", None, Some(true)),
    ("ssl-protocols", None, Some(true)),
    ("ssl-ciphers", None, Some(true)),
    ("help", Some('h'), Some(false)),
    ("version", Some('V'), Some(false)),
];

impl Args {
    /// Options may stand anywhere before `--`.
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        let mut args = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                args.words.extend(words.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, inline) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_string())),
                    None => (long, None),
                };
                let (name, _, takes) = long_option(name)?;
                let value = match (takes, inline) {
                    (Some(false), Some(_)) => {
                        return fail(format!("option '--{name}' doesn't allow an argument"));
                    }
                    (Some(true), None) => words.next().cloned(),
                    (_, inline) => inline,
                };
                if *takes == Some(true) && value.is_none() {
                    return fail(format!("option '--{name}' requires an argument"));
                }
                args.apply(name, value)?;
            } else if let Some(letter) = word
                .strip_prefix('-')
                .and_then(|letters| letters.chars().next())
            {
                let attached = word[1 + letter.len_utf8()..].to_string();
                let Some((name, _, takes)) =
                    OPTIONS.iter().find(|(_, short, _)| *short == Some(letter))
                else {
                    return fail(format!("invalid option -- '{letter}'"));
                };
                let value = match takes {
                    Some(true) if attached.is_empty() => words.next().cloned(),
                    _ => Some(attached).filter(|value| !value.is_empty()),
                };
                args.apply(name, value)?;
            } else {
                args.words.push(word.clone());
            }
        }
        if !(args.detailed || args.summary || args.minimal) {
            args.detailed = true;
        }
        Ok(args)
    }

    fn apply(&mut self, name: &str, value: Option<String>) -> Result<(), Error> {
        let text = value.clone().unwrap_or_default();
        let path = || Some(PathBuf::from(&text));
        match name {
            "detailed" => self.detailed = true,
            "summary" => self.summary = true,
            "minimal" => self.minimal = true,
            "all" => (self.detailed, self.summary, self.minimal) = (true, true, true),
            "explain" => self.explain = true,
            "db" => self.db = value,
            "nb-db" => self.nb_db = value,
            "leader-only" => self.any_member = false,
            "no-leader-only" => self.any_member = true,
            "ovs" => self.ovs = Some(value),
            "ct" => self.ct.push(parse_ct_state(&text).map_err(Error::new)?),
            "lb-dst" => self.lb_dst = Some(endpoint(&text)?),
            "select-id" => {
                let id = text
                    .parse()
                    .map_err(|_| Error::new(format!("{text}: bad select-id")))?;
                self.select_id = Some(id);
            }
            "friendly-names" => self.unfriendly = false,
            "no-friendly-names" => self.unfriendly = true,
            "unixctl" => self.daemon.unixctl = path(),
            "detach" => self.daemon.detach = true,
            "monitor" => self.daemon.monitor = true,
            "no-chdir" => self.daemon.no_chdir = true,
            "pidfile" => self.daemon.pidfile = path(),
            "overwrite-pidfile" => self.daemon.overwrite_pidfile = true,
            "user" => self.daemon.user = value,
            "verbose" => self.daemon.verbose.push(text),
            "log-file" => self.daemon.log_file = path(),
            "syslog-method" => self.daemon.syslog_method = value,
            "syslog-target" => self.daemon.syslog_target = value,
            "private-key" => self.daemon.private_key = path(),
            "certificate" => self.daemon.certificate = path(),
            "ca-cert" => self.daemon.ca_cert = path(),
            "bootstrap-ca-cert" => self.daemon.bootstrap_ca_cert = path(),
            "help" => self.help = true,
            "version" => self.version = true,
            // About TLS versions and confinement: nothing depends on them here.
            _ => {}
        }
        Ok(())
    }

    /// For `ssl:` remotes, if the three files were named.
    pub fn tls(&self) -> Option<Tls> {
        let bootstrap = self.daemon.bootstrap_ca_cert.clone();
        Some(Tls {
            private_key: self.daemon.private_key.clone()?,
            certificate: self.daemon.certificate.clone()?,
            bootstrap: bootstrap.is_some(),
            ca: bootstrap.or_else(|| self.daemon.ca_cert.clone())?,
        })
    }
}

fn long_option(name: &str) -> Result<&'static Spec, Error> {
    if let Some(exact) = OPTIONS.iter().find(|(long, ..)| *long == name) {
        return Ok(exact);
    }
    let mut begin = OPTIONS.iter().filter(|(long, ..)| long.starts_with(name));
    match (begin.next(), begin.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => fail(format!("option '--{name}' is ambiguous")),
        (None, _) => {
            let error = Error::new(format!("unrecognized option '--{name}'"));
            Err(
                match nearest(name, OPTIONS.iter().map(|(long, ..)| *long)) {
                    Some(near) => error.help(format!("did you mean '--{near}'?")),
                    None => error,
                },
            )
        }
    }
}

/// `10.0.0.1`, `10.0.0.1:80`, `fd00::1` or `[fd00::1]:80`.
fn endpoint(text: &str) -> Result<(IpAddr, Option<u16>), Error> {
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Ok((address.ip(), Some(address.port()).filter(|port| *port != 0)));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse() {
        Ok(ip) => Ok((ip, None)),
        Err(_) => fail(format!("{text}: bad address")),
    }
}

/// The help text.
pub fn help(name: &str) -> String {
    format!(
        "{name}: OVN trace utility\n\
         usage: {name} [OPTIONS] [DATAPATH] MICROFLOW\n\
        \x20      {name} [OPTIONS] --detach\n\n\
         Output format options:\n\
        \x20 --detailed              table-by-table \"backtrace\" (default)\n\
        \x20 --summary               less detailed, more parseable\n\
        \x20 --minimal               minimum to explain externally visible behavior\n\
        \x20 --all                   provide all forms of output\n\
        \x20 --explain               say in one line what became of the packet, and why\n\n\
         Output style options:\n\
        \x20 --no-friendly-names     do not substitute human friendly names for UUIDs\n\n\
         Assumptions:\n\
        \x20 --ct=FLAGS              connection state that the next ct action reports (repeatable)\n\
        \x20 --lb-dst=IP[:PORT]      backend that load balancing chooses\n\
        \x20 --select-id=ID          member that select chooses\n\n\
         Other options:\n\
        \x20 --db=DATABASE           connect to DATABASE\n\
        \x20                         (default: {})\n\
        \x20 --nb-db=DATABASE        with --explain: where to look up ACLs by name\n\
        \x20                         (default: {})\n\
        \x20 --no-leader-only        accept any cluster member, not just the leader\n\
        \x20 --ovs[=REMOTE]          obtain corresponding OpenFlow flows from REMOTE\n\
        \x20                         (default: {})\n\
        \x20 --unixctl=SOCKET        set control socket name\n\
        \x20 --detach                serve the trace command on the control socket\n\
        \x20 -h, --help              display this help message\n\
        \x20 -V, --version           display version information\n",
        weft_daemon::dirs::default_sb_db(),
        weft_daemon::dirs::default_nb_db(),
        crate::bridge::default_remote(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, Error> {
        Args::parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_anywhere() {
        let args = parse(&[
            "sw0",
            "--ct",
            "new",
            "--minimal",
            "ip4",
            "--ovs",
            "--lb-dst=[fd00::1]:80",
        ])
        .unwrap();
        assert_eq!(args.words, ["sw0", "ip4"]);
        assert_eq!(args.ct, [0x21]);
        assert!(args.minimal && !args.detailed);
        assert_eq!(args.ovs, Some(None));
        assert_eq!(args.lb_dst, Some(("fd00::1".parse().unwrap(), Some(80))));
    }

    #[test]
    fn refusals() {
        assert!(parse(&["--sumary"]).unwrap_err().help.is_some());
        assert!(parse(&["--lb-dst=x"]).is_err());
        assert!(parse(&["--ct"]).is_err());
        assert!(parse(&["--ct=old"]).is_err());
    }
}
