//! A plain client for tools: connects once, asks, is answered. Rows are JSON here; for typed replicas see
//! [`session`](crate::session).

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::remote::{Remote, Remotes};
use crate::session::{DatabaseRow, Databases};
use crate::stream::{ConnectError, Stream};
use crate::tls::Tls;
use crate::wire::{self, Connection, Message, RpcError, WireError};

/// Why a client's request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No remote can be reached; what was wrong with each.
    #[error("database connection failed ({0})")]
    Unreachable(String),
    /// The connection broke.
    #[error("{remote}: {error}")]
    Wire {
        /// To whom.
        remote: Remote,
        /// Why.
        error: WireError,
    },
    /// The server refused the request.
    #[error("{method}: {error}")]
    Rpc {
        /// The request.
        method: String,
        /// Its answer.
        error: RpcError,
    },
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

/// What the server said without having been asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// `update`, `update2`, `update3`, `locked`, `stolen`, `monitor_canceled`.
    pub method: String,
    /// Its parameters.
    pub params: Json,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// For `ssl:` remotes.
    pub tls: Option<Tls>,
    /// If this database is clustered on the server, only its leader will do.
    pub leader_of: Option<String>,
    /// Connecting keeps trying for so long, and so long may each answer take. `None`: one attempt at each remote,
    /// answers may take any time.
    pub timeout: Option<Duration>,
}

impl Default for Options {
    /// No TLS, any server, one attempt.
    fn default() -> Self {
        Options {
            tls: None,
            leader_of: None,
            timeout: None,
        }
    }
}

/// A connected client.
pub struct Client {
    remote: Remote,
    connection: Connection,
    next_id: u64,
    notifications: VecDeque<Notification>,
    timeout: Option<Duration>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.remote)
    }
}

/// Between rounds of attempts.
const PAUSE: Duration = Duration::from_millis(200);

impl Client {
    /// Connects to the first remote that answers and is fit.
    pub async fn connect(remotes: &Remotes, options: &Options) -> Result<Client, ClientError> {
        let rounds = async {
            loop {
                let mut reasons = Vec::new();
                for remote in remotes.as_slice() {
                    match Client::attempt(remote, options).await {
                        Ok(client) => return Ok(client),
                        Err(reason) => reasons.push(reason),
                    }
                }
                let reasons = reasons.join("; ");
                if options.timeout.is_none() {
                    return Err(ClientError::Unreachable(reasons));
                }
                tracing::debug!("{reasons}");
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(options.timeout, rounds).await
    }

    async fn attempt(remote: &Remote, options: &Options) -> Result<Client, String> {
        let stream = Stream::connect(remote, options.tls.as_ref())
            .await
            .map_err(|e: ConnectError| e.to_string())?;
        let mut client = Client {
            remote: remote.clone(),
            connection: Connection::new(stream),
            next_id: 0,
            notifications: VecDeque::new(),
            timeout: options.timeout,
        };
        if let Some(database) = &options.leader_of
            && !client
                .leads(database)
                .await
                .map_err(|e| format!("{remote}: {e}"))?
        {
            return Err(format!("{remote}: the clustered server is not the leader"));
        }
        Ok(client)
    }

    /// Whether the server is the one to write to: a cluster's connected leader, or not clustered.
    async fn leads(&mut self, database: &str) -> Result<bool, ClientError> {
        let columns: Vec<&str> = DatabaseRow::COLUMNS
            .into_iter()
            .filter(|column| *column != "schema")
            .collect();
        let tables = json!({"Database": [{"columns": columns}]});
        let id = "weft-leader";
        let rows = match self
            .request("monitor_cond", json!(["_Server", id, tables]))
            .await
        {
            Ok(rows) => rows,
            Err(ClientError::Rpc { .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        self.request("monitor_cancel", json!([id])).await?;
        self.notifications.clear();
        let mut databases = Databases::default();
        databases.update(&rows);
        Ok(databases
            .get(database)
            .is_none_or(|row| row.model != "clustered" || row.connected && row.leader))
    }

    /// The server connected to.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Calls a method; its result. Meanwhile echo requests are answered and notifications kept.
    pub async fn request(&mut self, method: &str, params: Json) -> Result<Json, ClientError> {
        self.next_id += 1;
        let id = self.next_id;
        self.connection.send(wire::request(method, &params, id));
        let limit = self.timeout;
        within(limit, async {
            loop {
                if let Some((reply, result)) = self.receive().await?
                    && reply == id
                {
                    return result.map_err(|error| ClientError::Rpc {
                        method: method.to_owned(),
                        error,
                    });
                }
            }
        })
        .await
    }

    /// Takes one message; yields it if it is a reply.
    async fn receive(&mut self) -> Result<Option<(u64, Result<Json, RpcError>)>, ClientError> {
        let broken = |remote: &Remote, error| ClientError::Wire {
            remote: remote.clone(),
            error,
        };
        let frame = self
            .connection
            .next()
            .await
            .map_err(|e| broken(&self.remote, e))?;
        let json = |text: &str| {
            serde_json::from_str::<Json>(text).map_err(|e| broken(&self.remote, e.into()))
        };
        match Message::read(&frame).map_err(|e| broken(&self.remote, e))? {
            Message::Request { method, params, id } => {
                let answer = if method == "echo" {
                    wire::reply(id, params)
                } else {
                    wire::refusal(id, "unknown method")
                };
                self.connection.send(answer);
                Ok(None)
            }
            Message::Notification { method, params } => {
                let params = json(params.get())?;
                self.notifications
                    .push_back(Notification { method, params });
                Ok(None)
            }
            Message::Reply {
                id,
                result: Ok(result),
            } => {
                let result = result.map_or(Ok(Json::Null), |result| json(result.get()))?;
                Ok(Some((id, Ok(result))))
            }
            Message::Reply {
                id,
                result: Err(error),
            } => Ok(Some((id, Err(error)))),
        }
    }

    /// Names of the databases that the server has.
    pub async fn list_databases(&mut self) -> Result<Vec<String>, ClientError> {
        let names = self.request("list_dbs", json!([])).await?;
        Ok(names
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// The schema of a database (RFC 7047, section 3.2).
    pub async fn schema(&mut self, database: &str) -> Result<Json, ClientError> {
        self.request("get_schema", json!([database])).await
    }

    /// Executes operations as one transaction (RFC 7047, section 5.2). The answer has an element per operation; one with
    /// an `error` member, possibly after all operations, says that nothing was done.
    pub async fn transact(
        &mut self,
        database: &str,
        operations: Vec<Json>,
    ) -> Result<Vec<Json>, ClientError> {
        let mut params = vec![Json::from(database)];
        params.extend(operations);
        match self.request("transact", Json::Array(params)).await? {
            Json::Array(results) => Ok(results),
            other => Ok(vec![other]),
        }
    }

    /// Monitors tables: `requests` maps names of tables to lists of `<monitor-cond-request>`. Yields what is there as
    /// `<table-updates2>`; what changes comes as notifications `update2` with `id`.
    pub async fn monitor(
        &mut self,
        database: &str,
        id: &str,
        requests: Json,
    ) -> Result<Json, ClientError> {
        self.request("monitor_cond", json!([database, id, requests]))
            .await
    }

    /// The next notification, however long it takes. Nothing is lost if the future is dropped.
    pub async fn notification(&mut self) -> Result<Notification, ClientError> {
        loop {
            if let Some(notification) = self.notifications.pop_front() {
                return Ok(notification);
            }
            self.receive().await?;
        }
    }
}

async fn within<T>(
    limit: Option<Duration>,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match limit {
        None => future.await,
        Some(limit) => tokio::time::timeout(limit, future)
            .await
            .unwrap_or(Err(ClientError::TimedOut(limit))),
    }
}

/// A client for code that is not asynchronous. Must not be used inside a tokio runtime.
#[derive(Debug)]
pub struct Blocking {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Blocking {
    /// As [`Client::connect`].
    pub fn connect(remotes: &Remotes, options: &Options) -> Result<Blocking, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| ClientError::Unreachable(error.to_string()))?;
        let client = runtime.block_on(Client::connect(remotes, options))?;
        Ok(Blocking { runtime, client })
    }

    /// As [`Client::request`].
    pub fn request(&mut self, method: &str, params: Json) -> Result<Json, ClientError> {
        self.runtime.block_on(self.client.request(method, params))
    }

    /// As [`Client::list_databases`].
    pub fn list_databases(&mut self) -> Result<Vec<String>, ClientError> {
        self.runtime.block_on(self.client.list_databases())
    }

    /// As [`Client::schema`].
    pub fn schema(&mut self, database: &str) -> Result<Json, ClientError> {
        self.runtime.block_on(self.client.schema(database))
    }

    /// As [`Client::transact`].
    pub fn transact(
        &mut self,
        database: &str,
        operations: Vec<Json>,
    ) -> Result<Vec<Json>, ClientError> {
        self.runtime
            .block_on(self.client.transact(database, operations))
    }

    /// As [`Client::monitor`].
    pub fn monitor(
        &mut self,
        database: &str,
        id: &str,
        requests: Json,
    ) -> Result<Json, ClientError> {
        self.runtime
            .block_on(self.client.monitor(database, id, requests))
    }

    /// The next notification; `None` if none comes within `limit`.
    pub fn notification(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<Notification>, ClientError> {
        let client = &mut self.client;
        self.runtime.block_on(async move {
            match limit {
                None => client.notification().await.map(Some),
                Some(limit) => tokio::time::timeout(limit, client.notification())
                    .await
                    .ok()
                    .transpose(),
            }
        })
    }
}
