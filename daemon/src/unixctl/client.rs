//! The other end of the control socket: `appctl` for tests and the command line.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::dirs;

/// Why a call gave no text.
#[derive(Debug, thiserror::Error)]
pub enum AppctlError {
    /// No daemon behind the socket, or it went away.
    #[error("{}: {source}", path.display())]
    Transport {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pidfile of the target cannot be read.
    #[error("cannot read pidfile \"{}\" ({source})", path.display())]
    PidFile {
        /// The pidfile.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The answer is not JSON-RPC.
    #[error("{}: malformed answer", path.display())]
    Malformed {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon refused; its text.
    #[error("{0}")]
    Refused(String),
}

/// Socket of a target as `ovs-appctl -t` takes it: a path, or the name of a program with a pidfile.
pub fn find_socket(target: &str) -> Result<PathBuf, AppctlError> {
    if target.starts_with('/') {
        return Ok(target.into());
    }
    let rundir = dirs::ovn_rundir();
    let path = rundir.join(format!("{target}.pid"));
    let pid = std::fs::read_to_string(&path).map_err(|source| AppctlError::PidFile {
        path: path.clone(),
        source,
    })?;
    Ok(rundir.join(format!("{target}.{}.ctl", pid.trim())))
}

/// Runs a command on a daemon's control socket; the text of its result.
pub fn call(
    socket: &Path,
    command: &str,
    args: &[&str],
    timeout: Option<Duration>,
) -> Result<String, AppctlError> {
    let transport = |source| AppctlError::Transport {
        path: socket.to_path_buf(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(transport)?;
    stream.set_read_timeout(timeout).map_err(transport)?;
    stream.set_write_timeout(timeout).map_err(transport)?;
    let request = json!({"id": 0, "method": command, "params": args});
    stream
        .write_all(request.to_string().as_bytes())
        .map_err(transport)?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) =
            super::next_message(&mut buffer).map_err(|_| AppctlError::Malformed {
                path: socket.to_path_buf(),
            })?
        {
            return result_of(&answer, socket);
        }
        match stream.read(&mut chunk).map_err(transport)? {
            0 => return Err(transport(std::io::ErrorKind::UnexpectedEof.into())),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn result_of(answer: &Value, socket: &Path) -> Result<String, AppctlError> {
    match (answer.get("result"), answer.get("error")) {
        (Some(Value::String(text)), _) => Ok(text.clone()),
        (_, Some(Value::String(text))) => Err(AppctlError::Refused(text.clone())),
        _ => Err(AppctlError::Malformed {
            path: socket.to_path_buf(),
        }),
    }
}

/// As [`call`], from a task.
pub async fn call_async(
    socket: &Path,
    command: &str,
    args: &[&str],
    timeout: Option<Duration>,
) -> Result<String, AppctlError> {
    let socket = socket.to_path_buf();
    let command = command.to_string();
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let path = socket.clone();
    let call = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        call(&path, &command, &args, timeout)
    };
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(AppctlError::Transport {
            path: socket,
            source: std::io::Error::other(error),
        }),
    }
}
