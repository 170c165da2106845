//! gRPC services of the daemons: what they are doing, and which rows they could not use and why.
//!
//! The messages are in `proto/weft/v1/weft.proto`. A daemon gives a [`Source`] to [`serve`]; a program
//! that asks uses [`connect`] and the generated clients.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use weft_proto::{Listen, v1::ListDiagnosticsRequest, v1::diagnostics_client::DiagnosticsClient};
//! let channel = weft_proto::connect(&"unix:/run/ovn/weft-northd.grpc".parse::<Listen>()?).await?;
//! let list = DiagnosticsClient::new(channel).list(ListDiagnosticsRequest::default()).await?;
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod hub;
mod listen;
mod service;

/// Messages, clients and servers of package `weft.v1`.
#[allow(missing_docs, clippy::all, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("weft.v1");
}

pub use hub::Hub;
pub use listen::{Listen, ListenError, Listener, bind, connect};
pub use service::{Source, serve};

use std::time::Instant;

/// What is known of a connection, whatever is at its other end; the rest is for the caller to fill in.
#[must_use]
pub fn connection(role: &str, connected: bool, since: Option<Instant>) -> v1::Connection {
    let state = match connected {
        true => v1::ConnectionState::Connected,
        false => v1::ConnectionState::Connecting,
    };
    let elapsed = since.map_or(0, |since| since.elapsed().as_millis());
    v1::Connection {
        role: role.to_owned(),
        state: state as i32,
        since_ms: u64::try_from(elapsed).unwrap_or(u64::MAX),
        ..v1::Connection::default()
    }
}
