//! The rows that the controller owns, wanted against there: what must be written to the southbound and to the local Open
//! vSwitch database. All of it is pure; [`crate::shell`] sends the transactions.

pub mod aside;
pub mod claims;
mod interfaces;
mod mirrors;
pub mod plugs;
mod queues;
pub mod sb;
pub mod vs;
