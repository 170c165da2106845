//! The log file and the system log.

use std::fs::File;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::VlogError;
use super::pattern::{Pattern, Record};

/// Header of a message on its way to a syslog daemon, for `vlog/list-pattern`.
pub(super) const SYSLOG_PREFIX: &str = "<%B> %D{%h %e %T} %E %A:";

/// A log file that may be configured and not open.
#[derive(Debug, Default)]
pub(super) struct LogFile {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl LogFile {
    pub(super) fn configure(&mut self, path: PathBuf) {
        self.path = Some(path);
    }

    pub(super) fn configured(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Opens it; returns the path if it was closed before.
    pub(super) fn open(&mut self) -> Result<Option<PathBuf>, VlogError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        if self.file.is_some() {
            return Ok(None);
        }
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|source| VlogError::Open {
            path: path.clone(),
            source,
        })?;
        self.file = Some(file);
        Ok(Some(path.clone()))
    }

    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// One write per line, so that lines of a monitor and its daemon do not mix. A full disk loses
    /// lines, not the daemon.
    pub(super) fn write(&mut self, line: &str) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

#[derive(Debug)]
enum Method {
    Null,
    Unix(PathBuf),
    Udp(String),
}

/// The system log: what the host's daemon takes, and a second one by UDP (`--syslog-target`).
#[derive(Debug)]
pub(super) struct Syslog {
    method: Method,
    socket: Option<UnixDatagram>,
    udp: Option<UdpSocket>,
    target: Option<String>,
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            method: Method::Unix("/dev/log".into()),
            socket: None,
            udp: None,
            target: None,
        }
    }
}

impl Syslog {
    /// `libc`, `null`, `unix:FILE` or `udp:IP:PORT`.
    pub(super) fn set_method(&mut self, method: &str) -> Result<(), VlogError> {
        self.socket = None;
        self.method = match method.split_once(':') {
            None if method == "libc" => Method::Unix("/dev/log".into()),
            None if method == "null" => Method::Null,
            Some(("unix", path)) => Method::Unix(path.into()),
            Some(("udp", to)) if to.contains(':') => Method::Udp(to.to_string()),
            _ => return Err(VlogError::SyslogMethod(method.to_string())),
        };
        Ok(())
    }

    pub(super) fn set_target(&mut self, target: &str) -> Result<(), VlogError> {
        if !target.contains(':') {
            return Err(VlogError::SyslogMethod(target.to_string()));
        }
        self.target = Some(target.to_string());
        Ok(())
    }

    /// Sends a rendered line. What the daemon does not take is lost: logging never waits.
    pub(super) fn send(&mut self, record: &Record<'_>, line: &str) {
        let local = Pattern::new("<%B>%D{%h %e %T} %A: ").render(record) + line;
        let remote = Pattern::new("<%B>%D{%h %e %T} %E %A: ").render(record) + line;
        match &self.method {
            Method::Null => {}
            Method::Unix(path) => {
                if self.socket.is_none() {
                    self.socket = UnixDatagram::unbound()
                        .and_then(|socket| {
                            socket.connect(path)?;
                            socket.set_nonblocking(true)?;
                            Ok(socket)
                        })
                        .ok();
                }
                let sent = self
                    .socket
                    .as_ref()
                    .map(|socket| socket.send(local.as_bytes()));
                if matches!(sent, Some(Err(error)) if error.kind() != std::io::ErrorKind::WouldBlock)
                {
                    self.socket = None; // the daemon was restarted: connect again next time
                }
            }
            Method::Udp(to) => {
                let to = to.clone();
                self.send_udp(&to, &remote);
            }
        }
        if let Some(target) = self.target.clone() {
            self.send_udp(&target, &remote);
        }
    }

    fn send_udp(&mut self, to: &str, text: &str) {
        if self.udp.is_none() {
            let any = if to.starts_with('[') {
                "[::]:0"
            } else {
                "0.0.0.0:0"
            };
            self.udp = UdpSocket::bind(any).ok();
        }
        if let Some(socket) = &self.udp {
            let _ = socket.send_to(text.as_bytes(), to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlog::Level;

    #[test]
    fn syslog_messages_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::default();
        syslog
            .set_method(&format!("unix:{}", path.display()))
            .unwrap();
        let record = Record::now("weft-northd", "vlog", Level::Warn, "x");
        syslog.send(&record, "ovs|00001|vlog|WARN|x");
        let mut buffer = [0; 200];
        let n = daemon.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..n]);
        assert!(
            text.starts_with("<28>") && text.ends_with(" weft-northd: ovs|00001|vlog|WARN|x"),
            "{text}"
        );
        assert!(syslog.set_method("pigeon").is_err());
    }
}
