//! The client against real `ovsdb-server` processes, each test with servers of its own.
#![allow(clippy::unwrap_used)]

mod cluster;
mod fallback;
mod harness;
mod random;
mod resume;
mod tls;
mod transactions;
