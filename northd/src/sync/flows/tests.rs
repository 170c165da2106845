use super::*;
use crate::pipeline::Stage;

/// Rows of datapaths are where their numbers are turned around.
struct Turned;

impl Datapaths for Turned {
    fn row(&self, nb: Uuid) -> Option<Uuid> {
        Some(Uuid(!nb.0))
    }

    fn nb(&self, row: Uuid) -> Option<Uuid> {
        Some(Uuid(!row.0))
    }
}

fn flow(n: u16) -> Arc<LogicalFlow> {
    Arc::new(LogicalFlow {
        stage: Stage::LsInLb,
        priority: n,
        match_: "1".into(),
        actions: "next;".into(),
        controller_meter: None,
    })
}

fn on(datapaths: &[u128]) -> DpSet {
    DpSet::new(datapaths.iter().map(|dp| Uuid(*dp)).collect())
}

/// The operations of one flush of at most `max` flows.
fn flush(flows: &mut Flows, max: usize) -> usize {
    let mut txn = Txn::new();
    let plan = flows.plan(&mut txn, &Turned, max, &|_| false);
    flows.write(plan, &mut txn, &Turned, &mut Vec::new());
    flows.committed();
    txn.len()
}

/// A group of more flows than one flush takes moves at once all the same.
#[test]
fn a_group_moves_with_all_its_flows() {
    let mut flows = Flows::default();
    for n in 0..5 {
        flows.add(flow(n), on(&[1, 2]), Origin::default());
    }
    // The group and five flows.
    assert_eq!(flush(&mut flows, 100), 6);
    for n in 0..5 {
        flows.add(flow(n), on(&[1, 2, 3]), Origin::default());
        flows.remove(&flow(n), &on(&[1, 2]), Origin::default());
    }
    let sent: Vec<usize> = (0..3).map(|_| flush(&mut flows, 2)).collect();
    assert_eq!(sent, [1, 0, 0]);
    assert!(flows.is_settled());
    // One that stays behind makes the others leave for another group.
    for n in 0..4 {
        flows.add(flow(n), on(&[1, 2]), Origin::default());
        flows.remove(&flow(n), &on(&[1, 2, 3]), Origin::default());
    }
    let sent: usize = (0..3).map(|_| flush(&mut flows, 2)).sum();
    assert_eq!(sent, 5);
}
