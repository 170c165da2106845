use weft_openflow::{FlowCommand, GroupCommand};
use weft_ovsdb::model::Uuid;

use super::*;
use crate::flow::{BucketSpec, Clause, ConjId};

fn flow(cookie: u32, actions: &[Action]) -> Output {
    let actions = Actions::from(ActionList::from(actions));
    Output::Flow(Arc::new(Flow {
        table: 8,
        priority: 100,
        cookie,
        matches: Match::any().with(Field::Metadata, 1u32),
        body: Body::Actions(Arc::new(actions)),
    }))
}

fn clause(owner: u128, clause: u8) -> Output {
    let id = ConjId::new(Uuid(owner), 0);
    Output::Flow(Arc::new(Flow {
        table: 8,
        priority: 100,
        cookie: 7,
        matches: Match::any().with(Field::Metadata, 2u32),
        body: Body::Clause(Clause {
            id,
            clause,
            n_clauses: 2,
        }),
    }))
}

fn balanced(weight: u16) -> Output {
    let spec = GroupSpec {
        hash_fields: vec![],
        buckets: vec![BucketSpec::new(weight, ActionList::new())],
    };
    let actions = Actions {
        list: [Action::Group(0)].into(),
        groups: vec![Arc::new(spec)],
        meters: Vec::new(),
    };
    Output::Flow(Arc::new(Flow {
        table: 9,
        priority: 1,
        cookie: 9,
        matches: Match::any(),
        body: Body::Actions(Arc::new(actions)),
    }))
}

fn apply(installer: &mut Installer, removed: &[Output], added: &[Output]) -> Batch {
    installer.apply(removed.iter(), added.iter());
    installer.batch()
}

fn messages(batch: &Batch) -> Vec<Message> {
    let steps = batch.bundle.iter();
    steps.map(|step| step.to_message().into_owned()).collect()
}

fn flow_mods(batch: &Batch) -> Vec<FlowMod> {
    let mods = messages(batch).into_iter().filter_map(|m| match m {
        Message::FlowMod(m) => Some(m),
        _ => None,
    });
    mods.collect()
}

fn stats(m: &FlowMod) -> FlowStats {
    FlowStats {
        table: m.table,
        priority: m.priority,
        matching: m.matching.clone(),
        cookie: m.cookie,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        flags: 0,
        counters: Default::default(),
        instructions: m.instructions.clone(),
    }
}

#[test]
fn only_differences_are_sent() {
    let mut installer = Installer::default();
    let (old, new) = (
        flow(1, &[Action::resubmit(9)]),
        flow(1, &[Action::resubmit(10)]),
    );
    assert_eq!(
        apply(&mut installer, &[], std::slice::from_ref(&old))
            .bundle
            .len(),
        1
    );
    assert!(installer.batch().is_empty());
    let batch = apply(
        &mut installer,
        std::slice::from_ref(&old),
        std::slice::from_ref(&new),
    );
    assert_eq!(flow_mods(&batch).len(), 1, "changed in place");
    assert_eq!(flow_mods(&batch)[0].command, FlowCommand::Add);
    let batch = apply(&mut installer, &[new], &[]);
    assert_eq!(flow_mods(&batch)[0].command, FlowCommand::DeleteStrict);
    assert_eq!(installer.wanted_count(), 0);
}

#[test]
fn what_the_bridge_has_is_kept() {
    let mut installer = Installer::default();
    let wanted = flow(1, &[Action::resubmit(9)]);
    let first = apply(&mut installer, &[], std::slice::from_ref(&wanted));
    let there = flow_mods(&first).iter().map(stats).collect::<Vec<_>>();

    let mut again = Installer::default();
    let mut stale = there[0].clone();
    stale.priority = 5;
    let mut learned = there[0].clone();
    learned.table = tables::LEARNED[0];
    again.read_back(vec![there[0].clone(), stale, learned], vec![], vec![]);
    let batch = apply(&mut again, &[], &[wanted]);
    let mods = flow_mods(&batch);
    assert_eq!(
        mods.len(),
        1,
        "neither the flow that is right nor the learned one"
    );
    assert_eq!(
        (mods[0].command, mods[0].priority),
        (FlowCommand::DeleteStrict, 5)
    );
}

#[test]
fn the_same_flow_twice_is_decided_by_content_not_by_time() {
    let (a, b) = (
        flow(1, &[Action::resubmit(9)]),
        flow(2, &[Action::resubmit(10)]),
    );
    let mut one = Installer::default();
    apply(&mut one, &[], std::slice::from_ref(&a));
    apply(&mut one, &[], std::slice::from_ref(&b));
    let mut two = Installer::default();
    apply(&mut two, &[], std::slice::from_ref(&b));
    apply(&mut two, &[], std::slice::from_ref(&a));
    assert_eq!(one.wanted(), two.wanted());
    let batch = apply(&mut one, &[a], &[]);
    assert_eq!(flow_mods(&batch)[0].cookie, 2, "the other takes its place");
}

#[test]
fn clauses_of_several_matches_become_one_flow() {
    let mut installer = Installer::default();
    let batch = apply(&mut installer, &[], &[clause(1, 1), clause(2, 2)]);
    let mods = flow_mods(&batch);
    assert_eq!(mods.len(), 1);
    assert_eq!(mods[0].cookie, 0);
    let actions: Vec<Action> = mods[0].instructions.apply.iter().collect();
    assert_eq!(actions.len(), 2);
    assert!(
        actions
            .iter()
            .all(|a| matches!(a, Action::Conjunction { n_clauses: 2, .. }))
    );
}

#[test]
fn a_group_comes_before_and_goes_after_its_flows() {
    let mut installer = Installer::default();
    let (old, new) = (balanced(1), balanced(2));
    apply(&mut installer, &[], std::slice::from_ref(&old));
    let batch = apply(&mut installer, &[old], &[new]);
    let kinds: Vec<&str> = messages(&batch)
        .iter()
        .map(|m| match m {
            Message::GroupMod(g) if g.command == GroupCommand::Add => "add group",
            Message::GroupMod(_) => "delete group",
            Message::FlowMod(_) => "flow",
            _ => "?",
        })
        .collect();
    assert_eq!(kinds, ["add group", "flow", "delete group"]);
}

#[test]
fn actions_for_a_made_packet_have_their_numbers_too() {
    let nest = |inner: ActionList| {
        let userdata = Opcode::Arp.userdata(inner.wire_bytes());
        Action::Controller(Box::new(weft_openflow::Controller {
            userdata,
            ..Default::default()
        }))
    };
    let spec = Arc::new(GroupSpec {
        hash_fields: vec![],
        buckets: vec![BucketSpec::new(1, ActionList::new())],
    });
    let inner = [Action::Clone([Action::Group(0)].into()), Action::Meter(0)];
    let actions = Actions {
        list: [nest(inner.into())].into(),
        groups: vec![spec.clone()],
        meters: vec!["m".into()],
    };
    let Output::Flow(plain) = flow(1, &[]) else {
        unreachable!()
    };
    let wanted = Output::Flow(Arc::new(Flow {
        body: Body::Actions(Arc::new(actions)),
        ..(*plain).clone()
    }));
    let mut installer = Installer::default();
    let batch = apply(&mut installer, &[], &[wanted]);
    let (group, meter) = (
        installer.numbers.group(&spec),
        installer.numbers.meter(&"m".into()).unwrap(),
    );
    assert!(group > 1 && meter > 1, "{group} {meter}");
    let inner = [
        Action::Clone([Action::Group(group)].into()),
        Action::Meter(meter),
    ];
    let expected = ActionList::from([nest(inner.into())]);
    assert_eq!(
        flow_mods(&batch)[0].instructions,
        Instructions::from(expected)
    );
}

#[test]
fn what_is_refused_is_set_aside_until_it_changes() {
    let mut installer = Installer::default();
    let (bad, good) = (
        flow(1, &[Action::resubmit(9)]),
        flow(1, &[Action::resubmit(10)]),
    );
    let batch = apply(&mut installer, &[], std::slice::from_ref(&bad));
    let refusal = installer.refused(&batch.bundle[0].subject(), "no");
    assert_eq!(refusal.cookie, 1);
    assert_eq!(installer.refusals().count(), 1);
    installer.flows.touch_all();
    assert!(installer.batch().is_empty(), "not again as it is");
    let batch = apply(&mut installer, &[bad], &[good]);
    assert_eq!(batch.bundle.len(), 1);
    assert_eq!(installer.refusals().count(), 0);
}
