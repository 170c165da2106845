//! The control socket: what `ovs-appctl` and `ovn-appctl` talk to.
//!
//! JSON-RPC without separators between messages: a request is
//! `{"id":0,"method":"vlog/set","params":["dbg"]}`, the answer has the text in `result`, or in
//! `error` when the command failed. Texts end with a newline.

mod builtin;
mod client;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

pub use client::{AppctlError, call, call_async, find_socket};

use crate::{Identity, Shutdown};

/// What a command gives back: a text, or the text of its error.
pub type Reply = Result<String, String>;

type Handler =
    Arc<dyn Fn(Vec<String>) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// A request that is longer than this is not a command.
const LONGEST_REQUEST: usize = 16 << 20;

#[derive(Clone)]
struct Command {
    usage: String,
    args: RangeInclusive<usize>,
    handler: Handler,
}

/// The commands of a daemon; clones share them.
#[derive(Clone)]
pub struct Unixctl {
    commands: Arc<RwLock<BTreeMap<String, Command>>>,
}

impl std::fmt::Debug for Unixctl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(commands.keys()).finish()
    }
}

impl Unixctl {
    /// With the commands every daemon has, `exit` among them.
    pub(crate) fn new(identity: Identity, shutdown: Shutdown) -> Self {
        let unixctl = Self {
            commands: Arc::default(),
        };
        builtin::register(&unixctl, identity, shutdown);
        unixctl
    }

    /// Adds a command; one of the same name is replaced, built-in ones too.
    ///
    /// `usage` describes the arguments, `args` is how many there may be. The handler runs on a task
    /// of its own connection: a slow one keeps only its caller waiting.
    pub fn register<H, F>(&self, name: &str, usage: &str, args: RangeInclusive<usize>, handler: H)
    where
        H: Fn(Vec<String>) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |args| Box::pin(handler(args)));
        let command = Command {
            usage: usage.to_string(),
            args,
            handler,
        };
        let mut commands = self
            .commands
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        commands.insert(name.to_string(), command);
    }

    /// Runs a command as if it had come through the socket.
    pub async fn execute(&self, name: &str, args: Vec<String>) -> Reply {
        let command = {
            let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
            commands.get(name).cloned()
        };
        let Some(command) = command else {
            return Err(format!(
                "\"{name}\" is not a valid command (use \"list-commands\" to see a list of valid commands)"
            ));
        };
        if args.len() < *command.args.start() {
            let least = command.args.start();
            return Err(format!(
                "\"{name}\" command requires at least {least} arguments"
            ));
        }
        if args.len() > *command.args.end() {
            let most = command.args.end();
            return Err(format!("\"{name}\" command takes at most {most} arguments"));
        }
        (command.handler)(args).await
    }

    /// The text of `list-commands`.
    fn list(&self) -> String {
        let mut out = String::from("The available commands are:\n");
        let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
        for (name, command) in commands.iter() {
            out.push_str(&format!("  {name:<23} {}\n", command.usage));
        }
        out
    }
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("could not initialize control socket {} ({source})", path.display())]
pub struct BindError {
    path: PathBuf,
    source: std::io::Error,
}

/// A served control socket; dropping it removes the file and ends the service.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds `path` (a stale socket there is replaced) and serves the commands on it.
pub fn bind(path: &Path, unixctl: &Unixctl) -> Result<Socket, BindError> {
    let error = |source| BindError {
        path: path.to_path_buf(),
        source,
    };
    match std::fs::remove_file(path) {
        Err(failed) if failed.kind() != std::io::ErrorKind::NotFound => return Err(error(failed)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    // Only the daemon's own user (and root) may control it.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(path, mode).map_err(error)?;
    let unixctl = unixctl.clone();
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, unixctl.clone()))),
                Err(failed) => {
                    // Out of descriptors: let connections end before trying again.
                    tracing::warn!(target: "unixctl", "accept failed ({failed})");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Socket {
        path: path.to_path_buf(),
        task,
    })
}

async fn serve(mut stream: UnixStream, unixctl: Unixctl) {
    let mut buffer = Vec::new();
    loop {
        match next_message(&mut buffer) {
            Ok(Some(request)) => {
                let Some(answer) = answer(&request, &unixctl).await else {
                    return;
                };
                if stream
                    .write_all(answer.to_string().as_bytes())
                    .await
                    .is_err()
                {
                    return;
                }
                continue;
            }
            Ok(None) if buffer.len() <= LONGEST_REQUEST => {}
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(target: "unixctl", "not a JSON-RPC message ({error})");
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}

/// Takes one whole JSON value from the front of the buffer, if there is one.
fn next_message(buffer: &mut Vec<u8>) -> Result<Option<Value>, serde_json::Error> {
    let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
    match values.next() {
        None => Ok(None),
        Some(Ok(value)) => {
            let used = values.byte_offset();
            buffer.drain(..used);
            Ok(Some(value))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

/// The answer to a request; `None` if it is not one, which ends the connection.
async fn answer(request: &Value, unixctl: &Unixctl) -> Option<Value> {
    let method = request.get("method")?.as_str()?;
    let params = request.get("params")?.as_array()?;
    let id = request.get("id")?;
    let args: Option<Vec<String>> = params
        .iter()
        .map(|param| param.as_str().map(str::to_string))
        .collect();
    tracing::debug!(target: "unixctl", "received request {method}{params:?}, id={id}");
    let reply = match args {
        Some(args) => unixctl.execute(method, args).await,
        None => Err(format!("\"{method}\" command has non-string argument")),
    };
    let line = |mut text: String| {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    };
    Some(match reply {
        Ok(text) => json!({"id": id, "result": line(text), "error": null}),
        Err(text) => json!({"id": id, "result": null, "error": line(text)}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_end() {
        let mut buffer = br#"{"id":0,"method":"a","params":[]}{"id":1,"#.to_vec();
        assert_eq!(next_message(&mut buffer).unwrap().unwrap()["method"], "a");
        assert_eq!(next_message(&mut buffer).unwrap(), None);
        buffer.extend(b"\"method\":\"b\",\"params\":[]}");
        assert_eq!(next_message(&mut buffer).unwrap().unwrap()["id"], 1);
        assert!(buffer.is_empty());
        assert!(next_message(&mut b"nonsense".to_vec()).is_err());
    }
}
