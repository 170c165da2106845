//! The chassis controller: makes Open vSwitch do what the southbound says, and tells the southbound what is here.
//!
//! ```text
//!  southbound --monitor--> Inputs.sb --+                        +--> install (flows, groups, meters) --OpenFlow--> br-int
//!                                      +--> engine: units --Output--> sync::sb --txn--> southbound
//!  Open_vSwitch --monitor-> Inputs.vs -+                        +--> sync::vs --txn--> Open_vSwitch
//! ```
//!
//! * Units are pure functions of the two replicas ([`program`]); the ledgers ([`ledger`]) hold what is free to choose.
//! * [`physical`] makes the flows between logical and OpenFlow ports, [`lflow`] those of the logical pipelines.
//! * What is wanted and what is there are compared, and only the difference is sent: [`install`] for the bridge,
//!   [`sync`] for the databases.
//! * [`shell`] is the only part that waits for anything.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod actions;
pub mod activation;
pub mod address;
pub mod address_set;
pub mod advert;
pub mod ageing;
pub mod announced;
pub mod binding;
pub mod bridge;
pub mod chassis;
pub mod config;
pub mod core;
pub mod egress;
pub mod flow;
pub mod ha;
pub mod iface;
pub mod index;
pub mod inject;
pub mod install;
pub mod lb_flush;
pub mod ledger;
pub mod lflow;
pub mod local_datapaths;
pub mod meters;
pub mod mirror;
pub mod patch;
pub mod physical;
pub mod pinctrl;
pub mod plug;
pub mod port_group;
pub mod program;
pub mod shell;
pub mod sync;
pub mod tables;
pub mod template;
pub mod testing;
pub mod tunnels;
pub mod zones;
