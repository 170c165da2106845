//! What surrounds the ACLs of switches: what is tracked, what the state of a connection says before any ACL, what becomes
//! of packets that no ACL is about.
//!
//! Guarantees: replies and what belongs to an allowed connection (ICMP errors) pass, unless an ACL has cut the connection
//! since; packets that connection tracking finds invalid do not; neighbour discovery always passes. Where nothing is
//! tracked, none of this is there. The flows are written once over the set of switches that need the same.

use weft_lang::{Action, Expr, field, pred};

use super::{blocked, function, is_set, persist, set};
use crate::index::{ACL_TIER_MAX, AclStage};
use crate::output::{DpSet, Need, SetName};
use crate::pipeline::{self as p, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// One in all.
pub struct Frame;

impl Feature for Frame {
    const NAME: &'static str = "acl_frame";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let frame = Writer { cx };
        frame.tracking();
        frame.hints();
        frame.verdicts();
        frame.tiers();
        frame.defaults();
        frame.commit();
    }
}

/// Whether packets without a verdict are dropped on switches with ACLs (`NB_Global.options:default_acl_drop`).
fn drops_by_default(cx: &Cx<'_>) -> bool {
    cx.global_option("default_acl_drop")
        .is_some_and(|v| &*v == "true")
}

/// Whether matches may use `ct.inv` (`NB_Global.options:use_ct_inv_match`): some hardware cannot.
pub fn uses_ct_inv(cx: &Cx<'_>) -> bool {
    cx.global_option("use_ct_inv_match")
        .is_none_or(|v| &*v != "false")
}

fn valid(ct_inv: bool) -> Expr {
    if ct_inv { !pred::CT_INV } else { Expr::TRUE }
}

/// A packet of a connection that has begun.
pub fn established(ct_inv: bool) -> Expr {
    Expr::all([pred::CT_EST, !pred::CT_REL, !pred::CT_NEW, valid(ct_inv)])
}

/// A reply of a connection that is still allowed.
pub fn reply(ct_inv: bool) -> Expr {
    Expr::all([established(ct_inv), pred::CT_RPL, blocked(false)])
}

/// What is no part of a connection that is still allowed but belongs to it.
pub fn related(ct_inv: bool) -> Expr {
    Expr::all([
        !pred::CT_EST,
        pred::CT_REL,
        !pred::CT_NEW,
        valid(ct_inv),
        blocked(false),
    ])
}

/// What a [`reply`] does in a stage of ACLs, on switches with or without network functions.
pub fn pass_reply(stage: Stage, functions: bool) -> Vec<Action> {
    let mut actions: Vec<Action> = functions.then(function::recall).into_iter().collect();
    if stage == Stage::LsInAcl {
        // Later stages of the pipeline must neither drop it nor look again.
        actions.extend([
            set(p::ACL_DROP, 0),
            set(p::ACL_BLOCK, 0),
            set(p::ACL_ALLOW_ESTABLISHED, 1),
        ]);
    }
    actions.push(Action::NEXT);
    actions
}

/// What something [`related`] does in a stage of ACLs: addresses inside an ICMP error are translated as the connection's.
pub fn pass_related(stage: Stage, functions: bool) -> Vec<Action> {
    let mut actions: Vec<Action> = functions.then(function::recall).into_iter().collect();
    if stage == Stage::LsInAcl {
        actions.push(set(p::ACL_ALLOW_ESTABLISHED, 1));
    }
    actions.push(Action::CtCommitNat(None));
    actions
}

/// Neighbour discovery and multicast listeners.
fn discovery() -> Expr {
    Expr::any([pred::ND, pred::ND_RS, pred::ND_RA, pred::MLDV1, pred::MLDV2])
}

const BOTH: [(Stage, Stage); 2] = [
    (Stage::LsInAcl, Stage::LsInAclHint),
    (Stage::LsOutAcl, Stage::LsOutAclHint),
];

struct Writer<'a> {
    cx: &'a Cx<'a>,
}

impl Writer<'_> {
    fn flow(
        &self,
        dps: &DpSet,
        stage: Stage,
        priority: u16,
        match_: Expr,
        actions: impl AsRef<[Action]>,
    ) {
        self.cx.flow(dps, stage, priority, match_, actions, None);
    }

    /// What is sent through connection tracking for ACLs.
    fn tracking(&self) {
        let related = Need::Related.set();
        let dhcpv6 = Expr::all([pred::UDP, field::UDP_SRC.eq(546), field::UDP_DST.eq(547)]);
        let ways = [
            (Stage::LsInPreAcl, Stage::LsInPreStateful, field::ETH_DST),
            (Stage::LsOutPreAcl, Stage::LsOutPreStateful, field::ETH_SRC),
        ];
        for (pre, send, northd) in ways {
            let untracked = [
                pred::ETH_MCAST,
                Expr::any([discovery(), dhcpv6.clone()]),
                northd.in_set("svc_monitor_mac"),
            ];
            for match_ in untracked {
                self.flow(&related, pre, 110, match_, [Action::NEXT]);
            }
            let track = [set(p::CT_DEFRAG, 1), Action::NEXT];
            self.flow(&related, pre, 100, pred::IP, track);
            let marked = is_set(p::CT_DEFRAG);
            self.flow(&related, send, 100, marked, [Action::CtNext(None)]);
        }
    }

    /// Says by the state of the connection which ACLs are worth a look; each of their flows matches one bit instead of
    /// several of the state.
    fn hints(&self) {
        let stateful = Need::Stateful.set();
        let request = || Expr::all([!pred::CT_NEW, pred::CT_EST, !pred::CT_RPL]);
        let hints = [
            // New.
            (
                7,
                Expr::all([pred::CT_NEW, !pred::CT_EST]),
                vec![p::ACL_ALLOW_NEW, p::ACL_DROP],
            ),
            // Was cut: a new ACL may allow it again.
            (
                6,
                Expr::all([request(), blocked(true)]),
                vec![p::ACL_ALLOW_NEW, p::ACL_DROP],
            ),
            (5, !pred::CT_TRK, vec![p::ACL_ALLOW, p::ACL_DROP]),
            // Is allowed: a new ACL may cut it.
            (
                4,
                Expr::all([request(), blocked(false)]),
                vec![p::ACL_ALLOW, p::ACL_BLOCK],
            ),
            (3, !pred::CT_EST, vec![p::ACL_DROP]),
            (
                2,
                Expr::all([pred::CT_EST, blocked(true)]),
                vec![p::ACL_DROP],
            ),
            (
                1,
                Expr::all([pred::CT_EST, blocked(false)]),
                vec![p::ACL_BLOCK],
            ),
        ];
        for (priority, match_, bits) in hints {
            let mut actions: Vec<Action> = bits.into_iter().map(|bit| set(bit, 1)).collect();
            actions.push(Action::NEXT);
            for (_, hint) in BOTH {
                self.flow(&stateful, hint, priority, match_.clone(), &actions);
            }
        }
    }

    /// What is decided before the ACLs of users.
    fn verdicts(&self) {
        let ct_inv = uses_ct_inv(self.cx);
        let guarded = Need::Guarded.set();
        let stateful = Need::Stateful.set();
        let always = priority::ACL_ALWAYS;
        let cut = Expr::all([pred::CT_EST, pred::CT_RPL, blocked(true)]);
        let refused = if ct_inv {
            Expr::any([pred::CT_INV, cut])
        } else {
            cut
        };
        for (stage, _) in BOTH {
            for (need, functions) in [(Need::Plain, false), (Need::Functions, true)] {
                let those = need.set();
                let actions = pass_reply(stage, functions);
                self.flow(&those, stage, always, reply(ct_inv), actions);
                let actions = pass_related(stage, functions);
                self.flow(&those, stage, always, related(ct_inv), actions);
            }
            self.flow(&stateful, stage, always, refused.clone(), [Action::Drop]);
        }
        let known = is_set(p::ACL_ALLOW_ESTABLISHED);
        self.flow(
            &stateful,
            Stage::LsInAclAfterLb,
            always,
            known,
            [Action::NEXT],
        );
        for stage in AclStage::ALL {
            let next = [Action::NEXT];
            self.flow(&guarded, stage.stage(), always, discovery(), &next);
            // Health checks are northd's own.
            let check = match stage {
                AclStage::To => field::ETH_SRC.in_set("svc_monitor_mac"),
                _ => field::ETH_DST.in_set("svc_monitor_mac"),
            };
            self.flow(&guarded, stage.stage(), priority::ACL_OWN, check, &next);
        }
    }

    /// A tier without a verdict is followed by the next one.
    fn tiers(&self) {
        for stage in AclStage::ALL {
            for tier in 0..ACL_TIER_MAX {
                self.flow(
                    &Need::Tiers(stage, tier).set(),
                    stage.stage(),
                    priority::ACL_NEXT_TIER,
                    stage.is_due(tier),
                    stage.go_to(tier + 1),
                );
            }
        }
    }

    /// What becomes of packets that no ACL is about.
    fn defaults(&self) {
        let drops = drops_by_default(self.cx);
        let stateful = Need::Stateful.set();
        let remember = || vec![set(p::CT_COMMIT, 1), Action::NEXT];
        for (stage, _) in BOTH {
            // Committed although no ACL asks for it: only so is the reply known for one.
            let opens = Expr::all([pred::IP, !pred::CT_EST]);
            let open = if drops {
                vec![Action::Drop]
            } else {
                remember()
            };
            self.flow(&stateful, stage, priority::ACL_DEFAULT, opens, open);
            let was_cut = Expr::all([pred::IP, pred::CT_EST, blocked(true)]);
            self.flow(&stateful, stage, priority::ACL_DEFAULT, was_cut, remember());
        }
        for stage in AclStage::ALL {
            let (stage, fallback) = (stage.stage(), priority::FALLBACK);
            let mut open = DpSet::Named(SetName::Switches);
            if drops {
                open = Need::NoAcls.set();
                let closed = Need::Acls.set();
                self.flow(&closed, stage, fallback, Expr::TRUE, [Action::Drop]);
            }
            self.flow(&open, stage, fallback, Expr::TRUE, [Action::NEXT]);
        }
    }

    /// Commits connections as the stages before have said.
    fn commit(&self) {
        let stateful = Need::Stateful.set();
        let persistent = Need::Persistent.set();
        for stage in [Stage::LsInStateful, Stage::LsOutStateful] {
            for (priority, match_, assignments) in commits() {
                let those = if priority == COMMIT {
                    &stateful
                } else {
                    &persistent
                };
                let actions = [Action::ct_commit(assignments), Action::NEXT];
                self.flow(those, stage, priority, match_, actions);
            }
        }
    }
}

/// Priority of the flows that commit.
const COMMIT: u16 = 100;

/// The ways to commit a connection: priority, when, and what it remembers.
pub fn commits() -> Vec<(u16, Expr, Vec<Action>)> {
    let allowed = || Action::set(field::CT_MARK_BLOCKED, 0);
    let label = Action::Move(field::CT_LABEL_LABEL, p::ACL_LABEL_VALUE.field());
    let mut all = Vec::new();
    for (labelled, assignments) in [(0, vec![allowed()]), (1, vec![allowed(), label])] {
        let match_ = Expr::all([is_set(p::CT_COMMIT), p::ACL_LABEL.field().eq(labelled)]);
        let persists = Expr::all([match_.clone(), is_set(p::ACL_PERSIST)]);
        let remembered = assignments.iter().cloned().chain(persist::remember());
        all.push((COMMIT + 10, persists, remembered.collect()));
        all.push((COMMIT, match_, assignments));
    }
    all
}
