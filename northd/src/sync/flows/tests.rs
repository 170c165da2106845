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

/// Sets with a name.
const NAMES: [SetName; 3] = [SetName::Switches, SetName::Untagged, SetName::Routers];

/// Where the rows say that the flows are, as a chassis reads it.
fn placed(flows: &Flows) -> Vec<(u16, Vec<Uuid>)> {
    let of = |have: &Have| {
        let datapaths = match have.place {
            Place::Nowhere => Vec::new(),
            Place::Datapath(row) => vec![Uuid(!row.0)],
            Place::Group(row) => flows.group_of_row[&row].to_vec(),
        };
        (have.flow.as_ref().unwrap().priority, datapaths)
    };
    let mut all: Vec<_> = flows.have.values().map(of).collect();
    all.sort();
    all
}

/// Sets with a name change in place or not: in the end every flow is where it is wanted, and what is counted adds up.
#[test]
fn flows_follow_the_members_of_sets() {
    let origin = |n: u32| Origin { hint: n, kind: 0 };
    for seed in 1..=60_u64 {
        let mut state = seed;
        let mut roll = |sides: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let mut flows = Flows::default();
        let mut groups: Vec<Vec<u128>> = vec![Vec::new(); 3];
        let mut wanted: Vec<(u16, DpSet, Origin)> = Vec::new();
        for _ in 0..60 {
            for _ in 0..=roll(6) {
                match roll(5) {
                    0 => {
                        // Two sets are mostly alike, and change alike.
                        let dp = u128::from(roll(6)) + 1;
                        let which = [0..2, 0..2, 0..1, 1..2, 2..3][roll(5) as usize].clone();
                        for at in which {
                            let found = groups[at].iter().position(|other| *other == dp);
                            match found {
                                Some(found) => drop(groups[at].remove(found)),
                                None => groups[at].push(dp),
                            }
                            flows.member(NAMES[at], Uuid(dp), found.is_none());
                        }
                    }
                    1 if !wanted.is_empty() => {
                        let gone = wanted.swap_remove(roll(wanted.len() as u64) as usize);
                        flows.remove(&flow(gone.0), &gone.1, gone.2);
                    }
                    what => {
                        let dps = match what {
                            2 => on(&[u128::from(roll(6)) + 1, u128::from(roll(6)) + 1]),
                            _ => NAMES[roll(3) as usize].into(),
                        };
                        let n = roll(12) as u16;
                        let one = (n, dps, origin(wanted.len() as u32));
                        if !wanted.contains(&one) {
                            flows.add(flow(n), one.1.clone(), one.2);
                            wanted.push(one);
                        }
                    }
                }
            }
            let mut txn = Txn::new();
            let plan = flows.plan(&mut txn, &Turned, 5, &|_| false);
            flows.write(plan, &mut txn, &Turned, &mut Vec::new());
            match roll(5) {
                0 => flows.refused(roll(txn.len() as u64 + 1) as usize),
                _ => flows.committed(),
            }
        }
        while !flows.is_settled() {
            flush(&mut flows, 3);
        }
        let members = |dps: &DpSet| match dps {
            DpSet::Named(name) => {
                let at = NAMES.iter().position(|other| other == name).unwrap();
                groups[at].iter().map(|dp| Uuid(*dp)).collect()
            }
            listed => listed.as_slice().to_vec(),
        };
        let mut should: Vec<(u16, Vec<Uuid>)> = Vec::new();
        for n in 0..12 {
            let uses = wanted.iter().filter(|(flow, ..)| *flow == n);
            let mut all: Vec<Uuid> = uses.flat_map(|(_, dps, _)| members(dps)).collect();
            all.sort_unstable();
            all.dedup();
            if !all.is_empty() {
                should.push((n, all));
            }
        }
        assert_eq!(placed(&flows), should, "seed {seed}");
        let mut ours: FxHashMap<(Uuid, u32), usize> = FxHashMap::default();
        for have in flows.have.values() {
            let flow = have.flow.as_ref();
            let only = flow.and_then(|flow| flows.wanted[flow].only_set());
            let Some(row) = have.place.group() else {
                continue;
            };
            let number = only.map_or(0, |set| flows.sets[&set].number());
            assert_eq!(have.of_set, number, "seed {seed}");
            if number != 0 {
                *ours.entry((row, number)).or_default() += 1;
            }
        }
        assert_eq!(flows.ours, ours, "seed {seed}");
        let mut loose: FxHashMap<Uuid, FxHashSet<Uuid>> = FxHashMap::default();
        for (row, have) in flows.have.iter().filter(|(_, have)| have.of_set == 0) {
            if let Some(group) = have.place.group() {
                loose.entry(group).or_default().insert(*row);
            }
        }
        assert_eq!(flows.loose, loose, "seed {seed}");
    }
}

/// One switch more costs one operation, however many flows there are; who was on the same switches by chance stays.
#[test]
fn a_member_costs_one_operation() {
    let mut flows = Flows::default();
    let put = |flows: &mut Flows, datapath: u128, present| {
        for set in &NAMES[..2] {
            flows.member(*set, Uuid(datapath), present);
        }
    };
    put(&mut flows, 1, true);
    put(&mut flows, 2, true);
    for n in 0..50 {
        let set = NAMES[usize::from(n) % 2];
        flows.add(flow(n), set.into(), Origin::default());
    }
    flows.add(flow(60), on(&[1, 2]), Origin::default());
    assert_eq!(flush(&mut flows, 1000), 52);
    put(&mut flows, 3, true);
    // The group; another group for the flow that stays, and its row.
    assert_eq!(flush(&mut flows, 1000), 3);
    // And back to where that one is: it comes along.
    put(&mut flows, 3, false);
    assert_eq!(flush(&mut flows, 1000), 2);
    assert!(
        flows
            .have
            .values()
            .all(|have| have.place.group() == flows.groups.get(&[Uuid(1), Uuid(2)][..]).copied())
    );
}
