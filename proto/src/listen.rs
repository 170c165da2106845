//! Where the services are: `unix:PATH` or `tcp:HOST:PORT`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

/// An address to serve on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`, IPv6 addresses in brackets. Nothing checks who connects: keep it to loopback.
    Tcp(String),
}

/// An address that does not work.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither `unix:` nor `tcp:`.
    #[error("{0}: expected unix:PATH or tcp:HOST:PORT")]
    Syntax(String),
    /// Somebody else serves there, or the directory does not exist.
    #[error("{address}: {source}")]
    Io {
        /// The address.
        address: Listen,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody serves there.
    #[error("{address}: {source}")]
    Connect {
        /// The address.
        address: Listen,
        /// Why.
        source: tonic::transport::Error,
    },
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", to)) if to.contains(':') => Ok(Self::Tcp(to.to_string())),
            _ => Err(ListenError::Syntax(text.to_string())),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(to) => write!(f, "tcp:{to}"),
        }
    }
}

/// A bound address; a unix socket's file goes when this is dropped.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket and where it is.
    Unix(UnixListener, RemoveOnDrop),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// Removes a socket's file when the service ends.
#[derive(Debug)]
pub struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds an address. A file that a killed daemon left behind is replaced.
pub async fn bind(address: &Listen) -> Result<Listener, ListenError> {
    let error = |source| ListenError::Io {
        address: address.clone(),
        source,
    };
    match address {
        Listen::Tcp(to) => Ok(Listener::Tcp(TcpListener::bind(to).await.map_err(error)?)),
        Listen::Unix(path) => {
            // Only a socket that nobody answers on may be replaced.
            if UnixStream::connect(path).await.is_ok() {
                return Err(error(std::io::ErrorKind::AddrInUse.into()));
            }
            match std::fs::remove_file(path) {
                Err(failed) if failed.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error(failed));
                }
                _ => {}
            }
            let listener = UnixListener::bind(path).map_err(error)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(path, mode).map_err(error)?;
            Ok(Listener::Unix(listener, RemoveOnDrop(path.clone())))
        }
    }
}

/// Connects a client.
pub async fn connect(address: &Listen) -> Result<Channel, ListenError> {
    let error = |source| ListenError::Connect {
        address: address.clone(),
        source,
    };
    match address {
        Listen::Tcp(to) => {
            let endpoint = Endpoint::try_from(format!("http://{to}")).map_err(error)?;
            endpoint.connect().await.map_err(error)
        }
        Listen::Unix(path) => {
            let path = path.clone();
            // The URI is needed by HTTP/2 and means nothing on a unix socket.
            let endpoint = Endpoint::from_static("http://localhost");
            let connector = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            endpoint
                .connect_with_connector(connector)
                .await
                .map_err(error)
        }
    }
}
