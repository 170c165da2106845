//! A session with a database: connects, keeps connected, delivers the replica's updates, carries transactions.
//!
//! ```text
//!  daemon  <-- Event<D> (unbounded channel) --  task  <-- bytes --  ovsdb-server
//!          --  Handle: transact, conditions -->  |
//!                                                +-- Reconnect (pure): when, which remote
//!                                                +-- Link (pure): what is said on one connection
//! ```
//!
//! After [`Event::Connected`] comes either [`Event::Snapshot`] (everything) or [`Event::Updates`] (possibly empty: what
//! was missed). Updates that a transaction of ours causes come before its result.

mod conditions;
mod link;
mod memory;
mod notice;
mod server;
mod task;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

pub use conditions::{Clause, Conditions, Function, Monitored};
pub use server::ServerSchema;
pub(crate) use server::{DatabaseRow, Databases};

use crate::model::Database;
use crate::reconnect::Timing;
use crate::remote::{Remote, Remotes};
use crate::tls::Tls;
use crate::txn::{OpResult, Txn, TxnError};

/// What a session is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the database is.
    pub remotes: Remotes,
    /// Try the remotes in random order, so that clients spread over the members of a cluster.
    pub shuffle: bool,
    /// For `ssl:` remotes.
    pub tls: Option<Tls>,
    /// Intervals.
    pub timing: Timing,
    /// Of a cluster, only the leader will do: for those who write.
    pub leader_only: bool,
    /// A lock to ask for on every connection.
    pub lock: Option<String>,
    /// Which tables and columns.
    pub monitored: Monitored,
    /// Which rows, to begin with.
    pub conditions: Conditions,
}

impl Config {
    /// Monitors everything, wants no lock, takes any server.
    #[must_use]
    pub fn new<D: Database>(remotes: Remotes) -> Self {
        Config {
            remotes,
            shuffle: true,
            tls: None,
            timing: Timing::default(),
            leader_only: false,
            lock: None,
            monitored: Monitored::all::<D>(),
            conditions: Conditions::new(),
        }
    }
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event<D: Database> {
    /// A server that can be used has been found, and its contents follow.
    Connected(Connected),
    /// The connection is gone; another will be made. The replica stays as it is.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// The whole of what is monitored: replaces the replica ([`Database::replace`]).
    Snapshot(Vec<D::Update>),
    /// To be applied to the replica together.
    Updates(Vec<D::Update>),
    /// The lock was obtained or lost.
    Lock {
        /// Whether we hold it now.
        held: bool,
    },
    /// The replica shows what the conditions with that number ask for.
    ConditionsApplied {
        /// As [`Handle::set_conditions`] returned it; zero for the first ones.
        seq: u64,
    },
}

/// The server a session found.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Where it is.
    pub remote: Remote,
    /// What it knows.
    pub schema: Arc<ServerSchema>,
    /// What it does not know of our tables and columns (`Table.column`): nothing is read from there, and what is written
    /// there is left out.
    pub missing: Vec<String>,
}

/// How a session is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Connected, with the replica up to date.
    pub connected: bool,
    /// The remote connected to, or tried last.
    pub remote: Option<Remote>,
    /// The configured lock is held.
    pub lock_held: bool,
    /// A locked session is wanted, but somebody else holds the lock.
    pub lock_contended: bool,
    /// The server is a member of a cluster.
    pub clustered: bool,
    /// The cluster's leader, or a server that is not clustered.
    pub leader: bool,
    /// Version of the server's schema.
    pub schema_version: String,
    /// Why the last attempt or connection ended.
    pub last_error: Option<String>,
    /// Connections made so far that served us.
    pub connections: u64,
    /// Since when it is connected, or not; none before the session has begun.
    pub since: Option<Instant>,
}

enum Command {
    Transact(Txn, oneshot::Sender<Result<Vec<OpResult>, TxnError>>),
    Conditions(Conditions, oneshot::Sender<u64>),
    Lock(LockRequest),
    Reconnect { fresh: bool },
    Remotes(Remotes),
    ProbeInterval(Duration),
    LeaderOnly(bool),
}

enum LockRequest {
    Lock(String),
    Steal(String),
    Unlock,
}

/// By which a session is told what to do. Clones share the session, which ends when the [`Session`] is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Handle {
    /// Executes a transaction; the results are in the order of its operations.
    ///
    /// Fails at once if there is no usable connection: what is to be written may look different once there is one.
    pub async fn transact(&self, txn: Txn) -> Result<Vec<OpResult>, TxnError> {
        let (reply, result) = oneshot::channel();
        self.commands
            .send(Command::Transact(txn, reply))
            .map_err(|_| TxnError::Ended)?;
        result.await.unwrap_or(Err(TxnError::Ended))
    }

    /// Asks for other rows, in place of all conditions set before. [`Event::ConditionsApplied`] with the number returned,
    /// or a greater one, tells when the replica shows them. Zero is returned only if the session has ended.
    pub async fn set_conditions(&self, conditions: Conditions) -> u64 {
        let (reply, seq) = oneshot::channel();
        let _ = self.commands.send(Command::Conditions(conditions, reply));
        seq.await.unwrap_or(0)
    }

    /// Wants that lock from now on, on this connection and those to come. A lock wanted before is given up.
    pub fn lock(&self, name: impl Into<String>) {
        let _ = self
            .commands
            .send(Command::Lock(LockRequest::Lock(name.into())));
    }

    /// As [`lock`](Self::lock), and takes it from whoever has it.
    pub fn steal(&self, name: impl Into<String>) {
        let _ = self
            .commands
            .send(Command::Lock(LockRequest::Steal(name.into())));
    }

    /// Gives the lock up and wants none.
    pub fn unlock(&self) {
        let _ = self.commands.send(Command::Lock(LockRequest::Unlock));
    }

    /// Connects anew. With `fresh`, nothing is resumed: a whole snapshot comes.
    pub fn reconnect(&self, fresh: bool) {
        let _ = self.commands.send(Command::Reconnect { fresh });
    }

    /// The database is elsewhere from now on. Nothing happens if the list is the one in use.
    pub fn set_remotes(&self, remotes: Remotes) {
        let _ = self.commands.send(Command::Remotes(remotes));
    }

    /// Another probe interval; zero turns probes off.
    pub fn set_probe_interval(&self, interval: Duration) {
        let _ = self.commands.send(Command::ProbeInterval(interval));
    }

    /// Whether only a cluster's leader will do.
    pub fn set_leader_only(&self, leader_only: bool) {
        let _ = self.commands.send(Command::LeaderOnly(leader_only));
    }

    /// How the session is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The status to be watched.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// A running session: its events. Dropping it ends the session.
#[derive(Debug)]
pub struct Session<D: Database> {
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event<D>>,
}

impl<D: Database> Session<D> {
    /// Starts the session's task on the current tokio runtime.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let (commands, orders) = mpsc::unbounded_channel();
        let (events, received) = mpsc::unbounded_channel();
        let (status, watched) = watch::channel(Status::default());
        tokio::spawn(task::run::<D>(config, orders, events, status));
        Session {
            handle: Handle {
                commands,
                status: watched,
            },
            events: received,
        }
    }

    /// The next event. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Event<D> {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only when this receiver is gone or the runtime shuts down.
            None => std::future::pending().await,
        }
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event<D>> {
        self.events.try_recv().ok()
    }

    /// By which the session is told what to do.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
