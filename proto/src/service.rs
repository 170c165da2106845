//! The services over a daemon's [`Source`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::hub::{Hub, event};
use crate::listen::Listener;
use crate::v1::diagnostic_event::Kind;
use crate::v1::diagnostics_server::{Diagnostics, DiagnosticsServer};
use crate::v1::status_server::{Status as StatusService, StatusServer};
use crate::v1::{
    DiagnosticEvent, GetStatusRequest, GetStatusResponse, ListDiagnosticsRequest,
    ListDiagnosticsResponse, WatchDiagnosticsRequest,
};

/// Events waiting for one watcher's connection.
const WATCH_BUFFER: usize = 256;

/// What a daemon has to tell.
pub trait Source: Send + Sync + 'static {
    /// Its state at this moment. Must not block: it runs on the service's task.
    fn status(&self) -> GetStatusResponse;

    /// Its diagnostics.
    fn diagnostics(&self) -> &Hub;
}

/// Serves both services until `shutdown` completes. Watches are cut off then.
pub async fn serve(
    listener: Listener,
    source: Arc<dyn Source>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = Service { source };
    let router = Server::builder()
        .add_service(StatusServer::new(service.clone()))
        .add_service(DiagnosticsServer::new(service));
    // A graceful shutdown would wait for watchers, who never end.
    match listener {
        Listener::Unix(listener, _file) => tokio::select! {
            served = router.serve_with_incoming(UnixListenerStream::new(listener)) => served,
            () = shutdown => Ok(()),
        },
        Listener::Tcp(listener) => tokio::select! {
            served = router.serve_with_incoming(TcpListenerStream::new(listener)) => served,
            () = shutdown => Ok(()),
        },
    }
}

#[derive(Clone)]
struct Service {
    source: Arc<dyn Source>,
}

#[tonic::async_trait]
impl StatusService for Service {
    async fn get(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.source.status()))
    }
}

#[tonic::async_trait]
impl Diagnostics for Service {
    async fn list(
        &self,
        request: Request<ListDiagnosticsRequest>,
    ) -> Result<Response<ListDiagnosticsResponse>, Status> {
        let tables = request.into_inner().tables;
        let mut diagnostics = self.source.diagnostics().list();
        diagnostics.retain(|d| tables.is_empty() || tables.contains(&d.table));
        Ok(Response::new(ListDiagnosticsResponse { diagnostics }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<DiagnosticEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchDiagnosticsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (to, events) = mpsc::channel(WATCH_BUFFER);
        let watcher = Watcher {
            tables: request.into_inner().tables,
            to,
        };
        tokio::spawn(watcher.run(self.source.diagnostics().clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }
}

/// One caller of `Watch`.
struct Watcher {
    tables: Vec<String>,
    to: mpsc::Sender<Result<DiagnosticEvent, Status>>,
}

/// The caller has gone.
struct Gone;

impl Watcher {
    async fn run(self, hub: Hub) {
        while let Ok(()) = self.follow(&hub).await {
            // It fell behind.
            if self.send(event(Kind::Reset, None)).await.is_err() {
                return;
            }
        }
    }

    /// Sends the list and its changes; returns when the caller was too slow for them.
    async fn follow(&self, hub: &Hub) -> Result<(), Gone> {
        let (list, mut changes) = hub.subscribe();
        for diagnostic in list {
            self.send(event(Kind::Added, Some(diagnostic))).await?;
        }
        self.send(event(Kind::Synced, None)).await?;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => self.send(change).await?,
                    Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(Gone),
                },
                () = self.to.closed() => return Err(Gone),
            }
        }
    }

    async fn send(&self, event: DiagnosticEvent) -> Result<(), Gone> {
        let wanted = event.diagnostic.as_ref();
        let wanted =
            wanted.is_none_or(|d| self.tables.is_empty() || self.tables.contains(&d.table));
        if !wanted {
            return Ok(());
        }
        self.to.send(Ok(event)).await.map_err(|_| Gone)
    }
}
