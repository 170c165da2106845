//! Egress shaping: queues on the interfaces by which packets leave this host.
//!
//! Guarantees: a port here with a queue number and a rate has that queue on every interface marked
//! `external_ids:ovn-egress-iface=true` of the bridge that its physical network is mapped to; without a network, on every
//! interface so marked. An interface that somebody else shapes is left alone, and that is said.

use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::binding::{BINDING, Place, PortRef};
use crate::config::{CONFIG, Config};
use crate::index::Index;
use crate::physical::diagnose;
use crate::program::{Controller, Key, Output, Read};

/// Emits the queues of a port; keyed by port binding.
pub const QUEUE: Kind<Controller> = Kind::pure("egress-queue", &["config", "binding"], queue);

/// Highest number of a queue (ovn-sb(5), `set_queue`).
const MAX_QUEUE: u32 = 61440;

/// The key of QoS.external_ids and Queue.external_ids that says which logical port a queue is for, and that it is ours.
pub const MARK: &str = "ovn-egress-port";

/// The key beside it that says which controller's it is, by its integration bridge: several can share an Open vSwitch.
pub const OWNER: &str = "ovn-bridge";

/// A queue or QoS is that of the controller with the bridge. What does not say so is of whoever sees it.
pub fn is_own(external_ids: &Map<Str, Str>, bridge: &str) -> bool {
    external_ids.contains_key(MARK)
        && external_ids
            .get(OWNER)
            .is_none_or(|owner| **owner == *bridge)
}

/// Options of a port, and what they are called in a queue of Open vSwitch.
const RATES: [(&str, &str); 3] = [
    ("qos_max_rate", "max-rate"),
    ("qos_min_rate", "min-rate"),
    ("qos_burst", "burst"),
];

/// A queue that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnQueue {
    /// The port of Open vSwitch whose queue it is.
    pub port: Uuid,
    /// Its number.
    pub number: u32,
    /// The logical port it is for.
    pub owner: Str,
    /// Queue.other_config.
    pub rates: Map<Str, Str>,
}

impl OwnQueue {
    /// Where it is.
    pub fn place(&self) -> (Uuid, u32) {
        (self.port, self.number)
    }
}

fn queue(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(config) = cx.value::<Config>(CONFIG.id(), Key::Global) else {
        return;
    };
    let here = cx.value::<Place>(BINDING.id(), key);
    let Some(row) = cx
        .sb()
        .port_binding
        .tracked(uuid, &rec)
        .filter(|_| here.is_some_and(|p| p.is_here()))
    else {
        return;
    };
    let rates = rates(cx, row);
    let Some(text) = row
        .options()
        .nonempty("qdisc_queue_id")
        .filter(|_| !rates.is_empty())
    else {
        return;
    };
    let number = text.parse().ok().filter(|n| (1..=MAX_QUEUE).contains(n));
    let Some(number) = number else {
        let message =
            format!("qdisc_queue_id \"{text}\" is not between 1 and {MAX_QUEUE}: not shaped");
        diagnose(cx, uuid, "options", message);
        return;
    };
    let bridge = match row.options().nonempty("qos_physical_network") {
        None => None,
        Some(network) => match config.bridge_of(network) {
            Some(name) => Some(cx.lookup_one(Index::BridgeByName, &**name)),
            None => return,
        },
    };
    for port in egress_ports(cx) {
        if bridge.is_some_and(|bridge| {
            !bridge.is_some_and(|b| cx.lookup(Index::BridgeOfPort, port).contains(&b))
        }) {
            continue;
        }
        if let Some(name) = shaped_by_others(cx, port) {
            let message =
                format!("port {name} of Open vSwitch has a QoS of somebody else: not shaped there");
            diagnose(cx, uuid, "options", message);
            continue;
        }
        if let Some(owner) = taken(cx, port, number, &config.bridge) {
            let message = format!("queue {number} is one of {owner}: not shaped");
            diagnose(cx, uuid, "options", message);
            continue;
        }
        cx.emit(Output::Queue(Arc::new(OwnQueue {
            port,
            number,
            owner: row.logical_port().clone(),
            rates: rates.clone(),
        })));
    }
}

/// The rates that are set, as a queue has them. Nothing and zero limit nothing.
fn rates(cx: &Cx<'_, Controller>, row: PortRef<'_, '_, '_>) -> Map<Str, Str> {
    let mut rates: Vec<(Str, Str)> = Vec::new();
    for (option, name) in RATES {
        let Some(text) = row.options().nonempty(option) else {
            continue;
        };
        match text.parse::<u64>() {
            Ok(0) => {}
            Ok(rate) => rates.push((name.into(), rate.to_string().into())),
            Err(_) => {
                let message = format!("{option} \"{text}\" is not a number of bits: left out");
                diagnose(cx, row.uuid(), "options", message);
            }
        }
    }
    rates.into()
}

/// The ports by which packets leave this host.
fn egress_ports(cx: &Cx<'_, Controller>) -> Vec<Uuid> {
    let interfaces = cx.lookup(Index::EgressInterface, ()).iter();
    interfaces
        .filter_map(|iface| cx.lookup_one(Index::PortOfInterface, iface))
        .collect()
}

/// Whose the queue of that number is at the port, if it is not this controller's.
fn taken(cx: &Cx<'_, Controller>, port: Uuid, number: u32, bridge: &str) -> Option<String> {
    let rec = cx.vs_rec();
    let row = cx.vs().port.tracked(port, &rec)?;
    let qos = cx.vs().qos.tracked((*row.qos())?, &rec)?;
    let queue = *qos.queues().get(&i64::from(number))?;
    let queue = cx.vs().queue.tracked(queue, &rec)?;
    let ids = queue.external_ids();
    let owner = || match ids.get(OWNER) {
        Some(owner) => format!("the controller of bridge {owner}"),
        None => "somebody else".to_owned(),
    };
    (!is_own(ids, bridge)).then(owner)
}

/// The name of the port if it has a QoS that is not ours.
fn shaped_by_others(cx: &Cx<'_, Controller>, port: Uuid) -> Option<Str> {
    let rec = cx.vs_rec();
    let row = cx.vs().port.tracked(port, &rec)?;
    let qos = cx.vs().qos.tracked((*row.qos())?, &rec)?;
    (!qos.external_ids().contains_key(MARK)).then(|| row.name().clone())
}
