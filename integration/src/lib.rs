//! Hosts in network namespaces with real Open vSwitch: scenarios, comparisons with stock OVN.
//!
//! A [`Lab`] is a small data center on one machine: hosts as namespaces, each with an `ovsdb-server` and an
//! `ovs-vswitchd` of its own (userspace datapath), one underlay between them, the two OVN databases and northd
//! on the first host, a controller on each. Northd and the controllers are Weft's or stock OVN's, chosen one by
//! one ([`Impls`]). Everything carries the lab's tag in its name, so labs run side by side, and dropping a lab
//! removes all of it, also when the test panics; then the tails of all logs are printed first.
//!
//! This is a harness for tests: what cannot go on panics, saying which command failed and what it wrote.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `WEFT_IMPL=stock` | stock OVN in place of Weft everywhere: proves a scenario itself |
//! | `WEFT_CLI=stock` | `ovn-nbctl` and `ovn-sbctl` also on Weft's databases |
//! | `WEFT_BIN_DIR` | where Weft's programs are, instead of cargo's target folder |
//! | `WEFT_COMPARE` | `TOPOLOGIES,FLOWS[,SEED]` of the comparisons with stock |
//! | `WEFT_COMPARE_SWAPS` | set: `ofproto` also compares our northd under stock controllers and the reverse |
//! | `WEFT_COMPARE_ACL` | `POLICIES,PACKETS[,SEED]` of the same for random ACLs |
//! | `WEFT_LAB_KEEP` | set: files of a lab whose test fails are not removed |

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod capture;
pub mod command;
pub mod compare;
pub mod datapath;
pub mod dhclient;
pub mod lab;
pub mod ping;
pub mod programs;
pub mod socket;
pub mod vm;
pub mod wait;

pub use lab::{Lab, Tunnel};
pub use programs::{Impl, Impls};
pub use wait::wait_for;
