//! What is said on one connection. No I/O: bytes to send and events to deliver are collected, the task moves them.
//!
//! ```text
//!  _Server monitored (if there is one) -> schema fetched -> database monitored -> running
//!                                                            | unknown method: an older way of monitoring
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::conditions::Asked;
use super::memory::Memory;
use super::notice::{self, DATA, Notice, Protocol, SERVER};
use super::server::{DatabaseRow, Databases};
use super::{Conditions, Connected, Event, LockRequest, ServerSchema};
use crate::model::{Database, Uuid};
use crate::reconnect::Next;
use crate::remote::Remote;
use crate::txn::{OpResult, Outgoing, Progress, Txn, TxnError};
use crate::wire::{self, Message, RpcError, WireError};

/// Why a connection ends.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) next: Next,
    /// A command wants it, and has said what comes next.
    pub(super) by_command: bool,
}

impl Stop {
    pub(super) fn other(reason: impl ToString) -> Self {
        Stop {
            reason: reason.to_string(),
            next: Next::Other,
            by_command: false,
        }
    }
    pub(super) fn by_command(reason: &str) -> Self {
        Stop {
            reason: reason.to_owned(),
            next: Next::Same,
            by_command: true,
        }
    }
    pub(super) fn same(reason: impl ToString) -> Self {
        Stop {
            reason: reason.to_string(),
            next: Next::Same,
            by_command: false,
        }
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::other(error)
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Stop::other(format_args!("malformed message: {error}"))
    }
}

type TxnReply = oneshot::Sender<Result<Vec<OpResult>, TxnError>>;

/// What a reply is awaited for.
enum Pending {
    /// Any answer is as good.
    Ignored,
    ServerMonitor,
    Schema,
    Monitor {
        protocol: Protocol,
        conditions: Conditions,
    },
    Conditions {
        conditions: Conditions,
        seq: u64,
    },
    Lock {
        name: String,
    },
    /// A transaction, and which piece of it.
    Transact(u64, usize),
}

/// One connection.
pub(super) struct Link<D: Database> {
    remote: Remote,
    /// Messages to send.
    pub(super) out: Vec<Vec<u8>>,
    /// Events to deliver.
    pub(super) events: Vec<Event<D>>,
    next_id: u64,
    pending: HashMap<u64, Pending>,
    transactions: HashMap<u64, (Outgoing, TxnReply)>,
    next_transaction: u64,
    databases: Databases,
    /// `_Server` is monitored.
    watches_server: bool,
    /// The schema as `_Server` shows it, to see it change.
    schema_text: Option<String>,
    schema: Option<Arc<ServerSchema>>,
    /// In use since the database's contents came.
    protocol: Option<Protocol>,
    conditions_under_way: bool,
    lock_held: bool,
}

impl<D: Database> Link<D> {
    /// A fresh connection: the first requests are in `out`.
    pub(super) fn open(remote: Remote) -> Self {
        let mut link = Link {
            remote,
            out: Vec::new(),
            events: Vec::new(),
            next_id: 0,
            pending: HashMap::new(),
            transactions: HashMap::new(),
            next_transaction: 0,
            databases: Databases::default(),
            watches_server: false,
            schema_text: None,
            schema: None,
            protocol: None,
            conditions_under_way: false,
            lock_held: false,
        };
        // Without this the server would close the connection at every change of a database, also of others than ours.
        link.request("set_db_change_aware", &json!([true]), Pending::Ignored);
        let columns = json!({"Database": [{"columns": DatabaseRow::COLUMNS}]});
        link.request(
            "monitor_cond",
            &json!(["_Server", SERVER, columns]),
            Pending::ServerMonitor,
        );
        link
    }

    /// The database's contents have come.
    pub(super) fn is_running(&self) -> bool {
        self.protocol.is_some()
    }

    fn request(&mut self, method: &str, params: &impl Serialize, pending: Pending) {
        self.next_id += 1;
        self.out.push(wire::request(method, params, self.next_id));
        self.pending.insert(self.next_id, pending);
    }

    /// The same with parameters that are text already.
    fn request_text(&mut self, method: &str, params: &str, pending: Pending) {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let parts = [
            r#"{"method":""#,
            method,
            r#"","params":"#,
            params,
            r#","id":"#,
            &id,
            "}",
        ];
        self.out.push(parts.concat().into_bytes());
        self.pending.insert(self.next_id, pending);
    }

    /// Asks for a sign of life.
    pub(super) fn probe(&mut self) {
        self.request("echo", &json!([]), Pending::Ignored);
    }

    /// Takes a message.
    pub(super) fn receive(&mut self, memory: &mut Memory, frame: &[u8]) -> Result<(), Stop> {
        match Message::read(frame)? {
            Message::Request { method, params, id } => {
                let answer = match method.as_str() {
                    "echo" => wire::reply(id, params),
                    _ => wire::refusal(id, "unknown method"),
                };
                self.out.push(answer);
                Ok(())
            }
            Message::Notification { method, params } => self.notified(memory, &method, params),
            Message::Reply { id, result } => match self.pending.remove(&id) {
                Some(pending) => self.answered(memory, pending, result),
                None => Ok(()),
            },
        }
    }

    fn notified(
        &mut self,
        memory: &mut Memory,
        method: &str,
        params: &RawValue,
    ) -> Result<(), Stop> {
        if let Some(protocol) = Protocol::of_notification(method) {
            match notice::notification::<D>(protocol, params)? {
                Notice::Data { last, updates, .. } => {
                    memory.last = last;
                    self.events.push(Event::Updates(updates));
                }
                Notice::Server(updates) => {
                    self.databases.update(&updates);
                    self.look_at_server(memory)?;
                }
                Notice::Foreign => {}
            }
            return Ok(());
        }
        let names = || serde_json::from_str::<Vec<Json>>(params.get());
        match method {
            "locked" | "stolen" => {
                if names()?.first().and_then(Json::as_str) == memory.lock.as_deref() {
                    self.set_lock_held(memory, method == "locked");
                }
                Ok(())
            }
            "monitor_canceled" if names()?.first().and_then(Json::as_str) == Some(DATA) => {
                Err(Stop::same("the server canceled the monitor"))
            }
            _ => Ok(()),
        }
    }

    fn answered(
        &mut self,
        memory: &mut Memory,
        pending: Pending,
        result: Result<Option<&RawValue>, RpcError>,
    ) -> Result<(), Stop> {
        match (pending, result) {
            (Pending::Ignored, _) => Ok(()),
            (Pending::ServerMonitor, Ok(Some(rows))) => {
                self.watches_server = true;
                self.databases.update(&serde_json::from_str(rows.get())?);
                self.look_at_server(memory)
            }
            // Servers before 2.9 have no such database; they are not clustered either.
            (Pending::ServerMonitor, _) => {
                self.request("get_schema", &json!([D::NAME]), Pending::Schema);
                Ok(())
            }
            (Pending::Schema, Ok(Some(schema))) => self.monitor(memory, schema.get()),
            (Pending::Schema, answer) => Err(refused("get_schema", answer)),
            (
                Pending::Monitor {
                    protocol,
                    conditions,
                },
                answer,
            ) => match answer {
                Ok(Some(contents)) => self.begin(memory, protocol, conditions, contents),
                Err(error) if error.is_unknown_method() && protocol.older().is_some() => {
                    let older = protocol.older().expect("just looked at");
                    tracing::info!(
                        "{}: {} is unknown, falling back to {}",
                        self.remote,
                        protocol.method(),
                        older.method()
                    );
                    memory.last = Uuid::ZERO;
                    self.ask(memory, older);
                    Ok(())
                }
                answer => Err(refused(protocol.method(), answer)),
            },
            (Pending::Conditions { conditions, seq }, Ok(_)) => {
                memory.shown = conditions;
                self.conditions_under_way = false;
                // The same may have been asked for once more meanwhile.
                let same = memory.shown == memory.wanted;
                let seq = if same { memory.wanted_seq } else { seq };
                self.events.push(Event::ConditionsApplied { seq });
                self.follow_conditions(memory);
                Ok(())
            }
            (Pending::Conditions { .. }, answer) => Err(refused("monitor_cond_change", answer)),
            (Pending::Lock { name }, Ok(Some(answer))) => {
                let answer: Json = serde_json::from_str(answer.get())?;
                if memory.lock.as_deref() == Some(&*name) {
                    let held = answer
                        .get("locked")
                        .and_then(Json::as_bool)
                        .unwrap_or(false);
                    self.set_lock_held(memory, held);
                }
                Ok(())
            }
            (Pending::Lock { .. }, answer) => Err(refused("lock", answer)),
            (Pending::Transact(number, piece), answer) => {
                if let Some((outgoing, _)) = self.transactions.get_mut(&number) {
                    outgoing.answer(piece, answer);
                    self.proceed(number);
                }
                Ok(())
            }
        }
    }

    /// Judges the server by its row about our database, and goes on if it is fit.
    fn look_at_server(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        let row = self
            .databases
            .get(D::NAME)
            .ok_or_else(|| super::server::Unfit::Missing(D::NAME.to_owned()));
        let row = row.map_err(Stop::other)?;
        memory.status.clustered = row.model == "clustered";
        memory.status.leader = row.leader;
        memory
            .freshness
            .check(row, memory.leader_only)
            .map_err(Stop::other)?;
        let Some(schema) = row.schema.clone() else {
            return Err(Stop::other(
                "the server does not know the schema of its database yet",
            ));
        };
        match &self.schema_text {
            // The database itself is asked: ovsdb-server 3.1 leaves this column as it was when a schema is converted.
            None => {
                self.schema_text = Some(schema);
                self.request("get_schema", &json!([D::NAME]), Pending::Schema);
                Ok(())
            }
            Some(before) if *before != schema => {
                Err(Stop::same("the schema of the database changed"))
            }
            Some(_) => Ok(()),
        }
    }

    /// Judges the server anew after `leader_only` changed.
    pub(super) fn reconsider(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        if self.watches_server {
            self.look_at_server(memory)
        } else {
            Ok(())
        }
    }

    fn monitor(&mut self, memory: &mut Memory, schema: &str) -> Result<(), Stop> {
        let parsed: ServerSchema = serde_json::from_str(schema)?;
        let columns = memory.monitored.on::<D>(&parsed);
        if columns != memory.columns {
            memory.last = Uuid::ZERO;
            memory.columns = columns;
        }
        memory.status.schema_version.clone_from(&parsed.version);
        self.schema = Some(Arc::new(parsed));
        self.ask(memory, Protocol::Since);
        Ok(())
    }

    fn schema(&self) -> Arc<ServerSchema> {
        self.schema
            .clone()
            .expect("monitoring begins with the schema")
    }

    /// Sends the monitor request. What is resumed goes on under the conditions that the replica shows; those wanted
    /// meanwhile are asked for afterwards.
    fn ask(&mut self, memory: &mut Memory, protocol: Protocol) {
        let schema = self.schema();
        let resumes = protocol == Protocol::Since && memory.last != Uuid::ZERO;
        let conditions = if resumes {
            memory.shown.clone()
        } else {
            memory.wanted.clone()
        };
        let tables: serde_json::Map<String, Json> = memory
            .columns
            .iter()
            .map(|(table, columns)| {
                let Asked { full, not_inserted } = columns;
                let request = match protocol {
                    Protocol::Plain => {
                        let all: Vec<_> = full.iter().chain(not_inserted).collect();
                        json!([{"columns": all}])
                    }
                    _ if not_inserted.is_empty() => {
                        json!([{"columns": full, "where": conditions.clauses(table, &schema)}])
                    }
                    // Rows are chosen per table, so they are named once.
                    _ => json!([
                        {"columns": full, "where": conditions.clauses(table, &schema)},
                        {"columns": not_inserted, "select": {"insert": false}},
                    ]),
                };
                ((*table).to_owned(), request)
            })
            .collect();
        let params = match protocol {
            Protocol::Since => json!([D::NAME, DATA, tables, memory.last.to_string()]),
            _ => json!([D::NAME, DATA, tables]),
        };
        self.request(
            protocol.method(),
            &params,
            Pending::Monitor {
                protocol,
                conditions,
            },
        );
    }

    /// The database's contents, or what we missed of them.
    fn begin(
        &mut self,
        memory: &mut Memory,
        protocol: Protocol,
        conditions: Conditions,
        contents: &RawValue,
    ) -> Result<(), Stop> {
        let Notice::Data {
            resumed,
            last,
            updates,
        } = notice::reply::<D>(protocol, contents)?
        else {
            return Err(Stop::other("malformed reply to a monitor request"));
        };
        memory.last = last;
        memory.shown = conditions;
        self.protocol = Some(protocol);
        self.events.push(Event::Connected(Connected {
            remote: self.remote.clone(),
            missing: memory.monitored.missing::<D>(&self.schema()),
            schema: self.schema(),
        }));
        self.events.push(if resumed {
            Event::Updates(updates)
        } else {
            Event::Snapshot(updates)
        });
        memory.status.connected = true;
        memory.status.since = Some(Instant::now());
        memory.status.connections += 1;
        memory.status.last_error = None;
        if let Some(name) = memory.lock.clone() {
            self.ask_lock("lock", name);
        }
        if memory.shown == memory.wanted {
            let seq = memory.wanted_seq;
            self.events.push(Event::ConditionsApplied { seq });
        } else {
            self.follow_conditions(memory);
        }
        Ok(())
    }

    /// Asks for the rows wanted, unless they are shown or a change is under way.
    pub(super) fn follow_conditions(&mut self, memory: &mut Memory) {
        let Some(protocol) = self.protocol else {
            return;
        };
        if self.conditions_under_way {
            return;
        }
        let schema = self.schema();
        let tables: serde_json::Map<String, Json> = memory
            .wanted
            .differing(&memory.shown)
            .filter(|table| memory.columns.contains_key(table))
            .map(|table| {
                (
                    table.to_owned(),
                    json!([{"where": memory.wanted.clauses(table, &schema)}]),
                )
            })
            .collect();
        if tables.is_empty() || protocol == Protocol::Plain {
            // Shown already: the original protocol shows every row, whatever is wanted.
            if memory.shown != memory.wanted {
                memory.shown = memory.wanted.clone();
                self.events.push(Event::ConditionsApplied {
                    seq: memory.wanted_seq,
                });
            }
            return;
        }
        self.conditions_under_way = true;
        let pending = Pending::Conditions {
            conditions: memory.wanted.clone(),
            seq: memory.wanted_seq,
        };
        self.request("monitor_cond_change", &json!([DATA, DATA, tables]), pending);
    }

    /// New conditions are wanted.
    pub(super) fn conditions_wanted(&mut self, memory: &mut Memory) {
        if self.is_running() && !self.conditions_under_way && memory.shown == memory.wanted {
            self.events.push(Event::ConditionsApplied {
                seq: memory.wanted_seq,
            });
        }
        self.follow_conditions(memory);
    }

    fn ask_lock(&mut self, method: &str, name: String) {
        self.request(method, &json!([name]), Pending::Lock { name });
    }

    /// Another lock is wanted, or none.
    pub(super) fn lock_wanted(&mut self, memory: &mut Memory, request: LockRequest) {
        let (method, name) = match request {
            LockRequest::Lock(name) => ("lock", Some(name)),
            LockRequest::Steal(name) => ("steal", Some(name)),
            LockRequest::Unlock => ("unlock", None),
        };
        if method == "lock" && memory.lock == name {
            return;
        }
        let before = std::mem::replace(&mut memory.lock, name);
        if !self.is_running() {
            return;
        }
        if let Some(before) = before {
            self.request("unlock", &json!([before]), Pending::Ignored);
        }
        if self.lock_held {
            self.set_lock_held(memory, false);
        }
        memory.status.lock_contended = false;
        if let Some(name) = memory.lock.clone() {
            self.ask_lock(method, name);
        }
    }

    fn set_lock_held(&mut self, memory: &mut Memory, held: bool) {
        memory.status.lock_contended = !held && memory.lock.is_some();
        memory.status.lock_held = held;
        self.lock_held = held;
        self.events.push(Event::Lock { held });
    }

    /// Begins a transaction.
    pub(super) fn transact(&mut self, txn: Txn, reply: TxnReply) {
        if !self.is_running() {
            let _ = reply.send(Err(TxnError::NotConnected));
            return;
        }
        let outgoing = Outgoing::new(D::NAME, txn, self.schema());
        self.next_transaction += 1;
        self.transactions
            .insert(self.next_transaction, (outgoing, reply));
        self.proceed(self.next_transaction);
    }

    fn proceed(&mut self, number: u64) {
        while let Some((outgoing, _)) = self.transactions.get_mut(&number) {
            match outgoing.next() {
                Progress::Send(piece, params) => {
                    self.request_text("transact", &params, Pending::Transact(number, piece));
                }
                Progress::Wait => return,
                Progress::Done(result) => {
                    if let Some((_, reply)) = self.transactions.remove(&number) {
                        let _ = reply.send(result);
                    }
                }
            }
        }
    }

    /// The connection is over: whoever waits is told, and what cannot be resumed is forgotten.
    pub(super) fn close(&mut self, memory: &mut Memory, reason: &str) {
        self.pending.clear();
        for (_, (outgoing, reply)) in self.transactions.drain() {
            let _ = reply.send(Err(TxnError::Lost {
                reason: reason.to_owned(),
                committed: outgoing.committed(),
            }));
        }
        // Some rows may be shown by the old conditions and some by the new ones.
        if self.conditions_under_way {
            memory.last = Uuid::ZERO;
        }
        if self.lock_held {
            self.set_lock_held(memory, false);
        }
        if self.is_running() {
            self.events.push(Event::Disconnected {
                reason: reason.to_owned(),
            });
        }
        memory.status.lock_contended = false;
        if memory.status.connected {
            memory.status.since = Some(Instant::now());
        }
        memory.status.connected = false;
        memory.status.last_error = Some(reason.to_owned());
    }
}

fn refused(method: &str, answer: Result<Option<&RawValue>, RpcError>) -> Stop {
    match answer {
        Ok(_) => Stop::other(format_args!("{method}: an empty reply")),
        Err(error) => Stop::other(format_args!("{method}: {error}")),
    }
}
