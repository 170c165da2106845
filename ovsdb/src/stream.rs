//! Byte streams to a [`Remote`]: Unix sockets, TCP, TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::remote::{Host, Remote};
use crate::tls::{self, Tls, TlsError};

/// Why a remote cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file, host or port does not answer.
    #[error("{remote}: {error}")]
    Io {
        /// As configured.
        remote: Remote,
        /// What the system says.
        error: io::Error,
    },
    /// An `ssl:` remote without key, certificate and CA.
    #[error("{0}: a private key, certificate and CA certificate are needed for SSL (-p, -c, -C)")]
    NoTls(Remote),
    /// Our certificates or the peer's.
    #[error("{remote}: {error}")]
    Tls {
        /// As configured.
        remote: Remote,
        /// What is wrong.
        error: TlsError,
    },
}

/// An open stream.
#[derive(Debug)]
pub enum Stream {
    /// To a socket in the file system.
    Unix(UnixStream),
    /// Unprotected.
    Tcp(TcpStream),
    /// Protected and mutually authenticated.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects; addresses of a host name are tried one after another. No time limit of its own.
    pub async fn connect(remote: &Remote, tls: Option<&Tls>) -> Result<Stream, ConnectError> {
        let io = |error| ConnectError::Io {
            remote: remote.clone(),
            error,
        };
        match remote {
            Remote::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await.map_err(io)?)),
            Remote::Tcp(host) => Ok(Stream::Tcp(tcp(host).await.map_err(io)?)),
            Remote::Ssl(host) => {
                let tls = tls.ok_or_else(|| ConnectError::NoTls(remote.clone()))?;
                let refused = |error| ConnectError::Tls {
                    remote: remote.clone(),
                    error,
                };
                if tls.must_bootstrap() {
                    tls::bootstrap(tls, tcp(host).await.map_err(io)?, &host.name)
                        .await
                        .map_err(refused)?;
                }
                let stream = tls::handshake(tls, tcp(host).await.map_err(io)?, &host.name)
                    .await
                    .map_err(refused)?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

async fn tcp(host: &Host) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
