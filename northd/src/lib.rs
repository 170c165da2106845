//! The compiler: Northbound to Southbound.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod compiler;
pub mod dp_set;
pub mod features;
pub mod index;
pub mod ledger;
pub mod output;
pub mod pipeline;
pub mod program;
pub mod restore;
pub mod shell;
pub mod sync;
#[cfg(test)]
mod testing;
pub mod view;
