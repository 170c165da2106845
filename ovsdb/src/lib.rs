//! OVSDB: wire types, client session, replica of monitored tables, transactions.
//!
//! [`model`] holds rows and replicas, [`session`] keeps a replica fed and carries [`txn`] transactions, [`client`] is a
//! plain request-and-reply client for tools. Below them: [`remote`], [`reconnect`], [`stream`], [`tls`], [`wire`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
pub mod model;
pub mod reconnect;
pub mod remote;
pub mod session;
pub mod stream;
pub mod testing;
pub mod tls;
pub mod txn;
pub mod wire;
