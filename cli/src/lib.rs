//! The command-line tools: `weft-nbctl`, `weft-sbctl`, `weft-trace`.
//!
//! A tool is a [`command::Tool`]: a table of commands, from which parser, help, completions and
//! suggestions come. A command is a function over a [`replica::Replica`], a working copy of the tables
//! it names; what it changed there is the transaction that [`run`] sends. Nothing is printed before the
//! transaction has succeeded.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod bridge;
pub mod client;
pub mod command;
pub mod common;
pub mod error;
pub mod generic;
pub mod help;
pub mod matching;
pub mod nb;
pub mod options;
pub mod records;
pub mod replica;
pub mod run;
pub mod sb;
pub mod trace;
