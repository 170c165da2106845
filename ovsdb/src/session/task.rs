//! The session's task: moves bytes, events and commands between the streams, the channels and the pure parts.

use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::link::{Link, Stop};
use super::memory::Memory;
use super::{Command, Config, Event, Status};
use crate::model::{Database, Uuid};
use crate::reconnect::{Next, Reconnect, Step};
use crate::remote::{Remote, Remotes};
use crate::stream::{ConnectError, Stream};
use crate::tls::Tls;
use crate::txn::TxnError;
use crate::wire::Connection;

/// The task itself; ends when the receiver of events is gone.
pub(super) async fn run<D: Database>(
    config: Config,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event<D>>,
    status: watch::Sender<Status>,
) {
    let mut task = Task {
        start: Instant::now(),
        reconnect: Reconnect::new(
            config.timing,
            config.remotes.as_slice().len(),
            Duration::ZERO,
        )
        .with_jitter(rand::random()),
        memory: Memory::new(&config),
        configured: config.remotes.clone(),
        remotes: order(config.remotes, config.shuffle),
        shuffle: config.shuffle,
        tls: config.tls,
        commands,
        events,
        status,
    };
    while task.once().await.is_some() {}
}

fn order(mut remotes: Remotes, shuffle: bool) -> Remotes {
    if shuffle {
        remotes.as_mut_slice().shuffle(&mut rand::rng());
    }
    remotes
}

struct Task<D: Database> {
    start: Instant,
    reconnect: Reconnect,
    memory: Memory,
    configured: Remotes,
    remotes: Remotes,
    shuffle: bool,
    tls: Option<Tls>,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event<D>>,
    status: watch::Sender<Status>,
}

/// What a wait ended with.
enum Woke<T> {
    Done(T),
    Command(Command),
    Time,
}

impl<D: Database> Task<D> {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// One attempt to connect and the connection that comes of it, or a wait. `None`: the session is over.
    async fn once(&mut self) -> Option<()> {
        let now = self.now();
        match self.reconnect.step(now) {
            Step::Connect(index) => {
                let remotes = self.remotes.as_slice();
                let remote = remotes[index % remotes.len()].clone();
                self.memory.status.remote = Some(remote.clone());
                self.publish();
                if let Some(stream) = self.connect(&remote).await? {
                    self.serve(remote, stream).await?;
                }
                self.publish();
            }
            Step::Sleep(until) => match self.wait(until, std::future::pending::<()>()).await? {
                Woke::Command(command) => self.idle_command(command),
                Woke::Time | Woke::Done(()) => {}
            },
            // Neither connecting nor connected here.
            Step::Probe | Step::GiveUp => self.reconnect.lost(now, Next::Other),
        }
        Some(())
    }

    /// Waits for `future`, a command, or the time. `None`: the session is over.
    async fn wait<T>(
        &mut self,
        until: Option<Duration>,
        future: impl Future<Output = T>,
    ) -> Option<Woke<T>> {
        let far = self.start + until.unwrap_or(Duration::from_secs(1 << 30));
        tokio::select! {
            biased;
            () = self.events.closed() => None,
            Some(command) = self.commands.recv() => Some(Woke::Command(command)),
            done = future => Some(Woke::Done(done)),
            () = sleep_until(far) => Some(Woke::Time),
        }
    }

    fn publish(&self) {
        self.status.send_if_modified(|status| {
            let differs = *status != self.memory.status;
            if differs {
                status.clone_from(&self.memory.status);
            }
            differs
        });
    }

    fn failed(&mut self, reason: &str, next: Next) {
        tracing::debug!("{reason}");
        self.memory.status.last_error = Some(reason.to_owned());
        let now = self.now();
        self.reconnect.lost(now, next);
    }

    /// Opens a stream. `Some(None)`: not this time.
    async fn connect(&mut self, remote: &Remote) -> Option<Option<Stream>> {
        let tls = self.tls.clone();
        let target = remote.clone();
        let mut attempt: std::pin::Pin<
            Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>,
        > = Box::pin(async move { Stream::connect(&target, tls.as_ref()).await });
        tracing::debug!("{remote}: connecting");
        loop {
            let until = match self.reconnect.step(self.now()) {
                Step::Sleep(until) => until,
                // A command changed what is to be done.
                Step::Connect(_) => {
                    let now = self.now();
                    self.reconnect.hurry(now);
                    return Some(None);
                }
                Step::GiveUp | Step::Probe => {
                    self.failed(&format!("{remote}: connecting takes too long"), Next::Other);
                    return Some(None);
                }
            };
            match self.wait(until, &mut attempt).await? {
                Woke::Done(Ok(stream)) => return Some(Some(stream)),
                Woke::Done(Err(error)) => {
                    if matches!(error, ConnectError::Tls { .. } | ConnectError::NoTls(_)) {
                        tracing::warn!("{error}");
                    }
                    self.failed(&error.to_string(), Next::Other);
                    return Some(None);
                }
                Woke::Command(command) => self.idle_command(command),
                Woke::Time => {}
            }
        }
    }

    /// A command while there is no connection.
    fn idle_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Transact(_, reply) => {
                let _ = reply.send(Err(TxnError::NotConnected));
            }
            Command::Conditions(conditions, reply) => {
                let _ = reply.send(self.memory.want(conditions));
            }
            Command::Lock(request) => {
                self.memory.lock = match request {
                    super::LockRequest::Lock(name) | super::LockRequest::Steal(name) => Some(name),
                    super::LockRequest::Unlock => None,
                };
            }
            Command::Reconnect { fresh } => {
                if fresh {
                    self.memory.last = Uuid::ZERO;
                }
                self.reconnect.hurry(now);
            }
            Command::Remotes(remotes) => {
                self.move_to(remotes);
            }
            Command::ProbeInterval(interval) => self.reconnect.set_probe_interval(interval),
            Command::LeaderOnly(leader_only) => self.memory.leader_only = leader_only,
        }
    }

    /// Whether the database is elsewhere now.
    fn move_to(&mut self, remotes: Remotes) -> bool {
        if remotes == self.configured {
            return false;
        }
        self.configured = remotes.clone();
        self.remotes = order(remotes, self.shuffle);
        // Another database may have another history.
        self.memory.last = Uuid::ZERO;
        let now = self.now();
        self.reconnect
            .set_remotes(self.remotes.as_slice().len(), now);
        true
    }

    /// Speaks on a connection until it ends.
    async fn serve(&mut self, remote: Remote, stream: Stream) -> Option<()> {
        let now = self.now();
        self.reconnect.connected(now);
        let mut connection = Connection::new(stream);
        let mut link = Link::<D>::open(remote.clone());
        let outcome = self.converse(&mut connection, &mut link).await;
        let Some(stop) = outcome else {
            link.close(&mut self.memory, "the session has ended");
            return None;
        };
        let was_running = link.is_running();
        let reason = format!("{remote}: {}", stop.reason);
        link.close(&mut self.memory, &reason);
        self.deliver(&mut link);
        if was_running {
            tracing::info!("{reason}");
        }
        // Commands that ask for a new connection have set the machine already.
        if !stop.by_command {
            self.failed(&reason, stop.next);
        }
        Some(())
    }

    fn deliver(&mut self, link: &mut Link<D>) {
        for event in link.events.drain(..) {
            let _ = self.events.send(event);
        }
        self.publish();
    }

    /// `None`: the session is over.
    async fn converse(&mut self, connection: &mut Connection, link: &mut Link<D>) -> Option<Stop> {
        let mut received = 0;
        loop {
            for message in link.out.drain(..) {
                connection.send(message);
            }
            self.deliver(link);
            let now = self.now();
            if connection.received() != received {
                received = connection.received();
                self.reconnect.activity(now);
            }
            let until = match self.reconnect.step(now) {
                Step::Sleep(until) => until,
                Step::Probe => {
                    link.probe();
                    continue;
                }
                Step::GiveUp => return Some(Stop::other("no response to inactivity probe")),
                Step::Connect(_) => return Some(Stop::other("connection given up")),
            };
            let outcome = match self.wait(until, connection.next()).await? {
                Woke::Done(Ok(frame)) => {
                    let ran = link.is_running();
                    let outcome = link.receive(&mut self.memory, &frame);
                    if !ran && link.is_running() {
                        let now = self.now();
                        self.reconnect.ready(now);
                    }
                    outcome
                }
                Woke::Done(Err(error)) => Err(error.into()),
                Woke::Command(command) => self.command(link, command),
                Woke::Time => Ok(()),
            };
            if let Err(stop) = outcome {
                return Some(stop);
            }
        }
    }

    /// A command while connected.
    fn command(&mut self, link: &mut Link<D>, command: Command) -> Result<(), Stop> {
        match command {
            Command::Transact(txn, reply) => link.transact(txn, reply),
            Command::Conditions(conditions, reply) => {
                let _ = reply.send(self.memory.want(conditions));
                link.conditions_wanted(&mut self.memory);
            }
            Command::Lock(request) => link.lock_wanted(&mut self.memory, request),
            Command::LeaderOnly(leader_only) => {
                self.memory.leader_only = leader_only;
                return link.reconsider(&mut self.memory);
            }
            Command::ProbeInterval(interval) => self.reconnect.set_probe_interval(interval),
            Command::Reconnect { .. } => {
                self.idle_command(command);
                return Err(Stop::by_command("reconnecting as asked"));
            }
            Command::Remotes(remotes) => {
                if self.move_to(remotes) {
                    return Err(Stop::by_command("the database is elsewhere now"));
                }
            }
        }
        Ok(())
    }
}
