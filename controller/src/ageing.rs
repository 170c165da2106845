//! What is learned and ages: until when a row stands, as its datapath says, and how to tell whether it is used.
//!
//! Guarantees: every row of MAC_Binding and FDB of a local datapath that ages is announced with what
//! [`crate::pinctrl`] needs to keep it while it is used: its own flows count, under the row's cookie. Of what does not age
//! there are no such flows.

use std::net::IpAddr;
use std::sync::Arc;

use weft_engine::Cx;
use weft_openflow::{ActionList, Field, Match};
use weft_ovsdb::model::Uuid;

use crate::flow::{REG_INPORT, emit};
use crate::program::{Controller, Output, Read};
use crate::tables;

/// Priority of the flows that count.
const COUNTS: u16 = 100;

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Learned {
    /// A row of MAC_Binding: the router port's row and the neighbour's address.
    Neighbor(Uuid, IpAddr),
    /// A row of FDB.
    Place,
}

/// A row that goes some time after its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ageing {
    /// The row.
    pub row: Uuid,
    /// What it is.
    pub learned: Learned,
    /// Last known use, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// How long it stands without use.
    pub seconds: u32,
}

/// The time after which what is learned on a datapath goes, if it does.
pub(crate) fn threshold(cx: &Cx<'_, Controller>, datapath: Uuid, option: &str) -> Option<u32> {
    let rec = cx.sb_rec();
    let row = cx.sb().datapath_binding.tracked(datapath, &rec)?;
    let seconds = row.external_ids().get(option)?.parse().ok();
    seconds.filter(|seconds| *seconds > 0)
}

/// Announces a row.
pub(crate) fn announce(cx: &Cx<'_, Controller>, ageing: Ageing) {
    cx.emit(Output::Ageing(Arc::new(ageing)));
}

/// Counts what a neighbour sends to a router port: `mac_cache_use;` looks here.
pub(crate) fn count_neighbor(
    cx: &Cx<'_, Controller>,
    (dp_key, port_key): (u32, u32),
    cookie: u32,
    ip: IpAddr,
    mac: u64,
) {
    let from = || {
        Match::any()
            .with(Field::Metadata, dp_key)
            .with(REG_INPORT, port_key)
            .with(Field::EthSrc, mac)
    };
    let count = |matches| {
        emit(
            cx,
            tables::MAC_CACHE_USE,
            COUNTS,
            cookie,
            matches,
            ActionList::new(),
        )
    };
    match ip {
        IpAddr::V4(ip) => {
            let ip = u32::from(ip);
            count(
                from()
                    .with(Field::EthType, 0x0800u32)
                    .with(Field::Ipv4Src, ip),
            );
            // Its answer to a probe.
            count(
                from()
                    .with(Field::EthType, 0x0806u32)
                    .with(Field::ArpOp, 2u32)
                    .with(Field::ArpSpa, ip),
            );
        }
        // Answers to probes have the address asked for as their source too.
        IpAddr::V6(ip) => {
            count(
                from()
                    .with(Field::EthType, 0x86ddu32)
                    .with(Field::Ipv6Src, u128::from(ip)),
            );
        }
    }
}
