//! Own rows of tables QoS and Queue of the local Open vSwitch database.
//!
//! Controllers that share an Open vSwitch share the QoS of a port, whoever has made it: each keeps its own queues there, which
//! are marked with its integration bridge, and the last one to go takes the row along.

use std::collections::{BTreeMap, BTreeSet};

use weft_ovsdb::model::{Map, Row as _, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::vs;

use super::aside::{Draft, Subject};
use super::vs::{Desired, View};
use crate::egress::{MARK, OWNER, OwnQueue, is_own};

/// The most that fits into the kernel's 32 bits of bytes per second: all queues together are not limited. Without it Open
/// vSwitch takes the speed of the link, or 100 Mbit/s where it does not know that.
const UNLIMITED: &str = "34359738360";

type Queues<'a> = BTreeMap<u32, &'a OwnQueue>;

impl Desired {
    /// Puts the queues of egress interfaces right.
    pub(super) fn write_queues(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        let Some(bridge) = &self.bridge else { return };
        let ours = &Own {
            view,
            bridge: &bridge.name,
        };
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
                None => ours.insert(port, queues, txn),
                Some((uuid, qos)) if is_ours(qos) => ours.correct(uuid, qos, queues, txn),
                Some(_) => {}
            });
        }
        if view.settled {
            ours.remove_others(&ports, draft);
            ours.remove_strays(draft);
        }
    }
}

fn is_ours(qos: &vs::Qos) -> bool {
    qos.external_ids.contains_key(MARK)
}

/// What belongs to this controller.
struct Own<'a> {
    view: &'a View<'a>,
    /// Its integration bridge: no other controller has the same.
    bridge: &'a Str,
}

impl Own<'_> {
    fn mark(&self, owner: &Str) -> Map<Str, Str> {
        Map::from_iter([
            (Str::from(MARK), owner.clone()),
            (Str::from(OWNER), self.bridge.clone()),
        ])
    }

    fn queue_row(&self, queue: &OwnQueue) -> vs::Queue {
        vs::Queue {
            other_config: queue.rates.clone(),
            external_ids: self.mark(&queue.owner),
            ..Default::default()
        }
    }

    fn insert_queue(&self, queue: &OwnQueue, txn: &mut Txn) -> Uuid {
        let uuid = Uuid::random();
        txn.insert(
            &self.queue_row(queue),
            vs::queue::OTHER_CONFIG | vs::queue::EXTERNAL_IDS,
            uuid,
        );
        uuid
    }

    fn insert(&self, port: Uuid, queues: &Queues<'_>, txn: &mut Txn) {
        use vs::qos as column;
        let qos = Uuid::random();
        let row = vs::Qos {
            type_: "linux-htb".into(),
            queues: queues
                .iter()
                .map(|(number, queue)| (i64::from(*number), self.insert_queue(queue, txn)))
                .collect(),
            other_config: Map::from_iter([(Str::from("max-rate"), Str::from(UNLIMITED))]),
            external_ids: self.mark(&"all".into()),
        };
        let columns = column::TYPE | column::QUEUES | column::OTHER_CONFIG | column::EXTERNAL_IDS;
        txn.insert(&row, columns, qos);
        let row = vs::Port {
            qos: Some(qos),
            ..Default::default()
        };
        txn.update(port, &row, vs::port::QOS);
    }

    /// The queue is another controller's, or whoever's.
    fn is_anothers(&self, queue: Uuid) -> bool {
        let row = self.view.vs.queue.get(queue);
        row.is_some_and(|row| !is_own(&row.external_ids, self.bridge))
    }

    /// Queues that are not wanted go only when all that is wanted is known.
    fn correct(&self, uuid: Uuid, qos: &vs::Qos, queues: &Queues<'_>, txn: &mut Txn) {
        let mut rows: BTreeMap<i64, Uuid> = qos.queues.iter().copied().collect();
        for (number, queue) in queues {
            let number = i64::from(*number);
            let there = rows
                .get(&number)
                .and_then(|row| Some((*row, self.view.vs.queue.get(*row)?)));
            match there {
                None => {
                    rows.insert(number, self.insert_queue(queue, txn));
                }
                Some((row, _)) if self.is_anothers(row) => {}
                Some((row, have)) => {
                    let want = self.queue_row(queue);
                    let columns =
                        have.differences(&want, vs::queue::OTHER_CONFIG | vs::queue::EXTERNAL_IDS);
                    if columns != 0 {
                        txn.update(row, &want, columns);
                    }
                }
            }
        }
        let mut gone = Vec::new();
        if self.view.settled {
            rows.retain(|number, row| {
                let wanted =
                    u32::try_from(*number).is_ok_and(|number| queues.contains_key(&number));
                let stays = wanted || self.is_anothers(*row);
                if !stays {
                    gone.push(*row);
                }
                stays
            });
        }
        self.set_queues(uuid, qos, rows, txn);
        self.delete_queues(&gone, txn);
    }

    fn set_queues(&self, uuid: Uuid, qos: &vs::Qos, rows: BTreeMap<i64, Uuid>, txn: &mut Txn) {
        let row = vs::Qos {
            queues: rows.into_iter().collect(),
            ..Default::default()
        };
        if row.queues != qos.queues {
            txn.update(uuid, &row, vs::qos::QUEUES);
        }
    }

    /// Both tables keep rows that nobody refers to: they are deleted by name.
    fn remove_others(&self, wanted: &BTreeMap<Uuid, Queues<'_>>, draft: &mut Draft<'_>) {
        let mut shaped: BTreeMap<Uuid, Vec<(Uuid, &Str)>> = BTreeMap::new();
        for (port, row) in self.view.vs.port.iter() {
            if let Some(qos) = row.qos {
                shaped.entry(qos).or_default().push((port, &row.name));
            }
        }
        for (uuid, qos) in self.view.vs.qos.iter().filter(|(_, qos)| is_ours(qos)) {
            let ports = shaped.remove(&uuid).unwrap_or_default();
            if ports.iter().any(|(port, _)| wanted.contains_key(port)) {
                continue;
            }
            let (others, own): (BTreeMap<i64, Uuid>, BTreeMap<i64, Uuid>) = qos
                .queues
                .iter()
                .copied()
                .partition(|(_, queue)| self.is_anothers(*queue));
            let nobodys =
                others.is_empty() && (!own.is_empty() || is_own(&qos.external_ids, self.bridge));
            if own.is_empty() && !nobodys {
                continue;
            }
            let name = ports
                .first()
                .map_or_else(|| Str::from(uuid.to_string()), |(_, name)| (*name).clone());
            draft.part(Subject::Queues(name), |txn| {
                if nobodys {
                    for (port, _) in &ports {
                        txn.update(*port, &vs::Port::default(), vs::port::QOS);
                    }
                    txn.delete::<vs::Qos>(uuid);
                } else {
                    self.set_queues(uuid, qos, others, txn);
                }
                let own: Vec<Uuid> = own.into_values().collect();
                self.delete_queues(&own, txn);
            });
        }
    }

    /// Queues of ours that are in no QoS: another controller has taken it away in the same moment.
    fn remove_strays(&self, draft: &mut Draft<'_>) {
        let used: BTreeSet<Uuid> = self
            .view
            .vs
            .qos
            .iter()
            .flat_map(|(_, qos)| qos.queues.iter().map(|(_, queue)| *queue))
            .collect();
        let stray = |(uuid, row): &(Uuid, &vs::Queue)| {
            let owner = row.external_ids.get(OWNER);
            !used.contains(uuid) && owner == Some(self.bridge)
        };
        let strays = self.view.vs.queue.iter().filter(stray);
        let strays: Vec<Uuid> = strays.map(|(uuid, _)| uuid).collect();
        if !strays.is_empty() {
            let name = Str::from("no port");
            draft.part(Subject::Queues(name), |txn| {
                self.delete_queues(&strays, txn)
            });
        }
    }

    fn delete_queues(&self, queues: &[Uuid], txn: &mut Txn) {
        for &queue in queues
            .iter()
            .filter(|queue| self.view.vs.queue.contains(**queue))
        {
            txn.delete::<vs::Queue>(queue);
        }
    }
}
