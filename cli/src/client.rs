//! The database connection of a tool: blocking, with one deadline for everything.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use weft_ovsdb::client::{self, ClientError};
use weft_ovsdb::model::Schema;
use weft_ovsdb::remote::{Remote, Remotes};
use weft_ovsdb::tls::Tls;

use crate::error::{Error, fail};

/// What to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `--db`: one remote, or several separated by commas.
    pub remotes: String,
    /// Name of the database.
    pub database: &'static str,
    /// Whether only the leader of a cluster will do.
    pub leader_only: bool,
    /// Whether not to try the remotes in the order given.
    pub shuffle: bool,
    /// For `ssl:` remotes.
    pub tls: Option<Tls>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// An open connection to a database.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    client: client::Client,
    database: &'static str,
    deadline: Option<Instant>,
}

/// Message of the error after `--timeout`; the programs end with the stock tools' exit code for it.
pub const TIMED_OUT: &str = "terminating with signal 14 (Alarm clock)";

fn within<T>(
    runtime: &Runtime,
    deadline: Option<Instant>,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Error> {
    let result = runtime.block_on(async {
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
            None => Some(future.await),
        }
    });
    match result {
        Some(Ok(value)) => Ok(value),
        Some(Err(ClientError::TimedOut(_))) | None => fail(TIMED_OUT),
        Some(Err(error)) => fail(error.to_string()),
    }
}

/// Another remote to begin with for every process, so that clients spread over servers.
fn rotated(remotes: &Remotes) -> Result<Remotes, Error> {
    let mut list: Vec<&Remote> = remotes.as_slice().iter().collect();
    list.rotate_left(std::process::id() as usize % remotes.as_slice().len().max(1));
    let text: Vec<String> = list.iter().map(ToString::to_string).collect();
    text.join(",")
        .parse()
        .map_err(|error| Error::new(format!("{error}")))
}

impl Client {
    /// Connects to the first remote that answers and will do; with a deadline, tries until then.
    pub fn connect(target: &Target) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Error::new(error.to_string()))?;
        let named =
            |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", target.remotes));
        let mut remotes: Remotes = target.remotes.parse().map_err(|error| named(&error))?;
        if target.shuffle && remotes.as_slice().len() > 1 {
            remotes = rotated(&remotes)?;
        }
        let options = client::Options {
            tls: target.tls.clone(),
            leader_of: target.leader_only.then(|| target.database.to_string()),
            // A cluster may be between two leaders; a server on its own is there or is not.
            timeout: match target.deadline {
                Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
                None if remotes.as_slice().len() > 1 => Some(Duration::from_secs(30)),
                None => None,
            },
        };
        let connecting = client::Client::connect(&remotes, &options);
        let client = within(&runtime, target.deadline, connecting).map_err(|error| {
            if error.message == TIMED_OUT {
                error
            } else {
                named(&error.message)
            }
        })?;
        Ok(Self {
            runtime,
            client,
            database: target.database,
            deadline: target.deadline,
        })
    }

    /// The schema of the database.
    pub fn schema(&mut self) -> Result<Arc<Schema>, Error> {
        let json = within(
            &self.runtime,
            self.deadline,
            self.client.schema(self.database),
        )?;
        Schema::from_json(&json)
            .map(Arc::new)
            .map_err(|error| Error::new(error.to_string()))
    }

    /// Runs operations as one transaction; one result per operation, or the error of the whole.
    pub fn transact(&mut self, operations: Vec<Json>) -> Result<Vec<Json>, TransactError> {
        let transaction = self.client.transact(self.database, operations);
        let results =
            within(&self.runtime, self.deadline, transaction).map_err(TransactError::Other)?;
        match results.iter().find(|result| !result["error"].is_null()) {
            None => Ok(results),
            Some(error) if error["error"] == "timed out" => Err(TransactError::Outdated),
            Some(error) => Err(TransactError::Refused(error.clone())),
        }
    }

    /// Asks to be told when one of the tables changes.
    pub fn watch(&mut self, tables: &[String]) -> Result<(), Error> {
        // What is in them is fetched anew after a change, so only that they changed matters.
        let request = |table: &String| (table.clone(), json!([{"select": {"initial": false}}]));
        let requests: serde_json::Map<String, Json> = tables.iter().map(request).collect();
        let monitor = self
            .client
            .monitor(self.database, "watch", Json::Object(requests));
        within(&self.runtime, self.deadline, monitor).map(|_| ())
    }

    /// Waits until something watched has changed.
    pub fn wait_for_change(&mut self) -> Result<(), Error> {
        within(&self.runtime, self.deadline, self.client.notification()).map(|_| ())
    }
}

/// Why a transaction did not take effect.
#[derive(Debug)]
pub enum TransactError {
    /// Something it was based on has changed: look again.
    Outdated,
    /// The server's error object.
    Refused(Json),
    /// Not the transaction's fault.
    Other(Error),
}
