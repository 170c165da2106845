//! Own rows of tables QoS and Queue of the local Open vSwitch database.

use std::collections::BTreeMap;

use weft_ovsdb::model::{Map, Row as _, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::vs;

use super::aside::{Draft, Subject};
use super::vs::{Desired, View};
use crate::egress::{MARK, OwnQueue};

/// The most that fits into the kernel's 32 bits of bytes per second: all queues together are not limited. Without it Open
/// vSwitch takes the speed of the link, or 100 Mbit/s where it does not know that.
const UNLIMITED: &str = "34359738360";

type Queues<'a> = BTreeMap<u32, &'a OwnQueue>;

impl Desired {
    /// Puts the queues of egress interfaces right.
    pub(super) fn write_queues(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        let mut ports: BTreeMap<Uuid, Queues<'_>> = BTreeMap::new();
        for (&(port, number), queue) in &self.queues {
            ports.entry(port).or_default().insert(number, queue);
        }
        for (&port, queues) in &ports {
            let Some(row) = view.vs.port.get(port) else {
                continue;
            };
            let qos = row.qos.and_then(|qos| Some((qos, view.vs.qos.get(qos)?)));
            draft.part(Subject::Queues(row.name.clone()), |txn| match qos {
                None => insert(port, queues, txn),
                Some((uuid, qos)) if is_ours(qos) => correct(view, uuid, qos, queues, txn),
                Some(_) => {}
            });
        }
        if view.settled {
            remove_others(view, &ports, draft);
        }
    }
}

fn is_ours(qos: &vs::Qos) -> bool {
    qos.external_ids.contains_key(MARK)
}

fn mark(owner: &str) -> Map<Str, Str> {
    Map::from_iter([(Str::from(MARK), Str::from(owner))])
}

fn queue_row(queue: &OwnQueue) -> vs::Queue {
    vs::Queue {
        other_config: queue.rates.clone(),
        external_ids: mark(&queue.owner),
        ..Default::default()
    }
}

fn insert_queue(queue: &OwnQueue, txn: &mut Txn) -> Uuid {
    let uuid = Uuid::random();
    txn.insert(
        &queue_row(queue),
        vs::queue::OTHER_CONFIG | vs::queue::EXTERNAL_IDS,
        uuid,
    );
    uuid
}

fn insert(port: Uuid, queues: &Queues<'_>, txn: &mut Txn) {
    use vs::qos as column;
    let qos = Uuid::random();
    let row = vs::Qos {
        type_: "linux-htb".into(),
        queues: queues
            .iter()
            .map(|(number, queue)| (i64::from(*number), insert_queue(queue, txn)))
            .collect(),
        other_config: Map::from_iter([(Str::from("max-rate"), Str::from(UNLIMITED))]),
        external_ids: mark("all"),
    };
    let columns = column::TYPE | column::QUEUES | column::OTHER_CONFIG | column::EXTERNAL_IDS;
    txn.insert(&row, columns, qos);
    let row = vs::Port {
        qos: Some(qos),
        ..Default::default()
    };
    txn.update(port, &row, vs::port::QOS);
}

/// Queues that are not wanted go only when all that is wanted is known.
fn correct(view: &View<'_>, uuid: Uuid, qos: &vs::Qos, queues: &Queues<'_>, txn: &mut Txn) {
    let mut rows: BTreeMap<i64, Uuid> = qos.queues.iter().copied().collect();
    for (number, queue) in queues {
        let number = i64::from(*number);
        let there = rows
            .get(&number)
            .and_then(|row| Some((*row, view.vs.queue.get(*row)?)));
        match there {
            None => {
                rows.insert(number, insert_queue(queue, txn));
            }
            Some((row, have)) => {
                let want = queue_row(queue);
                let columns =
                    have.differences(&want, vs::queue::OTHER_CONFIG | vs::queue::EXTERNAL_IDS);
                if columns != 0 {
                    txn.update(row, &want, columns);
                }
            }
        }
    }
    let mut gone = Vec::new();
    if view.settled {
        rows.retain(|number, row| {
            let wanted = u32::try_from(*number).is_ok_and(|number| queues.contains_key(&number));
            if !wanted {
                gone.push(*row);
            }
            wanted
        });
    }
    let row = vs::Qos {
        queues: rows.into_iter().collect(),
        ..Default::default()
    };
    if row.queues != qos.queues {
        txn.update(uuid, &row, vs::qos::QUEUES);
    }
    delete_queues(view, &gone, txn);
}

/// Both tables keep rows that nobody refers to: they are deleted by name.
fn remove_others(view: &View<'_>, wanted: &BTreeMap<Uuid, Queues<'_>>, draft: &mut Draft<'_>) {
    let mut shaped: BTreeMap<Uuid, Vec<(Uuid, &Str)>> = BTreeMap::new();
    for (port, row) in view.vs.port.iter() {
        if let Some(qos) = row.qos {
            shaped.entry(qos).or_default().push((port, &row.name));
        }
    }
    for (uuid, qos) in view.vs.qos.iter().filter(|(_, qos)| is_ours(qos)) {
        let ports = shaped.remove(&uuid).unwrap_or_default();
        if ports.iter().any(|(port, _)| wanted.contains_key(port)) {
            continue;
        }
        let name = ports
            .first()
            .map_or_else(|| Str::from(uuid.to_string()), |(_, name)| (*name).clone());
        draft.part(Subject::Queues(name), |txn| {
            for (port, _) in &ports {
                txn.update(*port, &vs::Port::default(), vs::port::QOS);
            }
            txn.delete::<vs::Qos>(uuid);
            let queues: Vec<Uuid> = qos.queues.iter().map(|(_, queue)| *queue).collect();
            delete_queues(view, &queues, txn);
        });
    }
}

fn delete_queues(view: &View<'_>, queues: &[Uuid], txn: &mut Txn) {
    for &queue in queues
        .iter()
        .filter(|queue| view.vs.queue.contains(**queue))
    {
        txn.delete::<vs::Queue>(queue);
    }
}
