//! Where a server is: connection methods as `ovsdb(7)` writes them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Port of the OVSDB protocol when a remote names none (RFC 7047, section 4).
pub const DEFAULT_PORT: u16 = 6640;

/// One connection method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// `unix:FILE`
    Unix(PathBuf),
    /// `tcp:HOST[:PORT]`
    Tcp(Host),
    /// `ssl:HOST[:PORT]`
    Ssl(Host),
}

/// Name or address of a host, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// A host name, an IPv4 address, or an IPv6 address without brackets (a `%zone` may follow).
    pub name: String,
    /// TCP port.
    pub port: u16,
}

/// Why the text of a remote was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Neither `unix:`, `tcp:` nor `ssl:`.
    #[error(
        "\"{0}\" is no connection method: unix:FILE, tcp:HOST[:PORT] or ssl:HOST[:PORT] is expected"
    )]
    Method(String),
    /// Nothing after the colon.
    #[error("\"{0}\" names no file or host")]
    Empty(String),
    /// The port is not a number from 1 to 65535.
    #[error("\"{0}\" has a port that is not a number from 1 to 65535")]
    Port(String),
    /// Brackets do not match, or an IPv6 address has none and a port seems to follow.
    #[error("\"{0}\": an IPv6 address must stand in brackets")]
    Brackets(String),
    /// The list has no element.
    #[error("no remote is given")]
    NoRemote,
}

impl FromStr for Remote {
    type Err = RemoteError;
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (method, rest) = text
            .split_once(':')
            .ok_or_else(|| RemoteError::Method(text.to_owned()))?;
        if !matches!(method, "unix" | "tcp" | "ssl") {
            return Err(RemoteError::Method(text.to_owned()));
        }
        if rest.is_empty() {
            return Err(RemoteError::Empty(text.to_owned()));
        }
        match method {
            "unix" => Ok(Remote::Unix(PathBuf::from(rest))),
            "tcp" => Ok(Remote::Tcp(host(text, rest)?)),
            _ => Ok(Remote::Ssl(host(text, rest)?)),
        }
    }
}

fn host(whole: &str, rest: &str) -> Result<Host, RemoteError> {
    let (name, port) = if let Some(inside) = rest.strip_prefix('[') {
        let (name, after) = inside
            .split_once(']')
            .ok_or_else(|| RemoteError::Brackets(whole.to_owned()))?;
        match after.strip_prefix(':') {
            Some(port) => (name, Some(port)),
            None if after.is_empty() => (name, None),
            None => return Err(RemoteError::Brackets(whole.to_owned())),
        }
    } else {
        match rest.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(RemoteError::Brackets(whole.to_owned()));
            }
            Some((name, port)) => (name, Some(port)),
            None => (rest, None),
        }
    };
    if name.is_empty() {
        return Err(RemoteError::Empty(whole.to_owned()));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(RemoteError::Port(whole.to_owned())),
        },
    };
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Unix(path) => write!(f, "unix:{}", path.display()),
            Remote::Tcp(host) => write!(f, "tcp:{host}"),
            Remote::Ssl(host) => write!(f, "ssl:{host}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// The servers of one database: one, or the members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remotes(Vec<Remote>);

impl Remotes {
    /// A list of one.
    #[must_use]
    pub fn one(remote: Remote) -> Self {
        Remotes(vec![remote])
    }

    /// Relative names of sockets are taken to be in `directory` (`OVN_RUNDIR`, `OVS_RUNDIR`).
    #[must_use]
    pub fn in_directory(mut self, directory: &Path) -> Self {
        for remote in &mut self.0 {
            if let Remote::Unix(path) = remote
                && path.is_relative()
            {
                *path = directory.join(&path);
            }
        }
        self
    }

    /// The remotes, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Remote] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Remote] {
        &mut self.0
    }
}

impl FromStr for Remotes {
    type Err = RemoteError;
    /// Remotes separated by commas; blanks around them do not count.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let remotes: Result<Vec<_>, _> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Remote::from_str)
            .collect();
        let remotes = remotes?;
        if remotes.is_empty() {
            Err(RemoteError::NoRemote)
        } else {
            Ok(Remotes(remotes))
        }
    }
}

impl fmt::Display for Remotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, remote) in self.0.iter().enumerate() {
            write!(f, "{}{remote}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list: Remotes =
            "tcp:10.0.0.1:6641, ssl:[fd00::1]:6642,tcp:[::1],unix:/run/x.sock,ssl:db.example"
                .parse()
                .unwrap();
        assert_eq!(
            list.to_string(),
            "tcp:10.0.0.1:6641,ssl:[fd00::1]:6642,tcp:[::1]:6640,unix:/run/x.sock,ssl:db.example:6640"
        );
        let relative: Remotes = "unix:ovnsb_db.sock".parse().unwrap();
        assert_eq!(
            relative.in_directory(Path::new("/run/ovn")).to_string(),
            "unix:/run/ovn/ovnsb_db.sock"
        );
    }

    #[test]
    fn refusals() {
        let refused = |text: &str| text.parse::<Remotes>().unwrap_err();
        assert_eq!(refused(" , "), RemoteError::NoRemote);
        assert!(matches!(refused("ptcp:6640"), RemoteError::Method(_)));
        assert!(matches!(refused("localhost"), RemoteError::Method(_)));
        assert!(matches!(refused("tcp:"), RemoteError::Empty(_)));
        assert!(matches!(refused("tcp::6640"), RemoteError::Empty(_)));
        assert!(matches!(refused("tcp:host:0"), RemoteError::Port(_)));
        assert!(matches!(refused("tcp:host:66666"), RemoteError::Port(_)));
        assert!(matches!(
            refused("tcp:fd00::1:6640"),
            RemoteError::Brackets(_)
        ));
        assert!(matches!(refused("tcp:[fd00::1"), RemoteError::Brackets(_)));
    }
}
