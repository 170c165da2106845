//! The ACLs themselves.
//!
//! Guarantees: an ACL whose match cannot be used loses its flows and is reported; the others stand. Where connections are
//! tracked, an ACL that drops or rejects also cuts the connections that an earlier ACL let begin, and one that allows
//! takes them up again; where they are not, it costs one flow. A stateless one stays out of connection tracking.

use weft_lang::action::{Log, NestedKind};
use weft_lang::{Action, Expr, Str as Text, field, parse_match};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::sample::Samples;
use super::state::{GroupPlaces, SwitchAcls, View, places_of};
use super::{block, frame, function, is_set, language, persist, references, set};
use crate::features::meter::{named, of_acl};
use crate::index::{ACL_TIER_MAX, AclStage};
use crate::output::DpSet;
use crate::pipeline::{self as p, Stage, priority};
use crate::program::{Allocator, Cx, Feature, Key, Per};
use crate::view::NbReads;

/// Per ACL.
pub struct Rules;

impl Feature for Rules {
    const NAME: &'static str = "acl";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Acl)];
    const READS: &'static [&'static str] =
        &[SwitchAcls::NAME, GroupPlaces::NAME, persist::Numbers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(rule) = Rule::read(cx, key.row()) else {
            return;
        };
        for (view, switches) in places_of(cx, rule.uuid, rule.stage) {
            rule.flows(cx, view, &switches);
        }
    }
}

/// What an ACL does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    AllowStateless,
    Drop,
    Reject,
    Pass,
}

impl Verdict {
    fn parse(action: &str) -> Option<Verdict> {
        Some(match action {
            "allow" | "allow-related" => Verdict::Allow,
            "allow-stateless" => Verdict::AllowStateless,
            "drop" => Verdict::Drop,
            "reject" => Verdict::Reject,
            "pass" => Verdict::Pass,
            _ => return None,
        })
    }

    /// As logs say it. They have no word for an ACL that decides nothing.
    const fn logged(self) -> Option<&'static str> {
        match self {
            Verdict::Allow | Verdict::AllowStateless => Some("allow"),
            Verdict::Drop => Some("drop"),
            Verdict::Reject => Some("reject"),
            Verdict::Pass => None,
        }
    }
}

/// An ACL that can be used.
struct Rule {
    uuid: Uuid,
    stage: AclStage,
    priority: u16,
    tier: u8,
    match_: Expr,
    verdict: Verdict,
    log: Option<Action>,
    /// Goes into the connection.
    label: Option<u32>,
    /// Replies are logged too, known by the label.
    logs_replies: bool,
    samples: Samples,
    /// Its connections persist; the number by which they know it.
    persists: Option<u32>,
    /// Sends its packets through this group of network functions.
    function: Option<u8>,
}

/// How diagnostics call an ACL: its name, or where it stands.
pub fn called(name: Option<&Str>, direction: &str, priority: i64) -> String {
    match name {
        Some(name) if !name.is_empty() => name.to_string(),
        _ => format!("{direction} {priority}"),
    }
}

impl Rule {
    fn read(cx: &Cx<'_>, uuid: Uuid) -> Option<Rule> {
        let row = cx.acl(uuid)?;
        let name = called(row.name().as_ref(), row.direction(), *row.priority());
        let complain = |column: &'static str, message: String| {
            cx.diagnose::<nb::Acl>(&name, uuid, column, message);
        };
        let text = row.match_();
        let match_ = match parse_match(text) {
            Ok(match_) => match_,
            Err(error) => {
                complain("match", format!("\"{text}\": {error}: the ACL is left out"));
                return None;
            }
        };
        let Some(verdict) = Verdict::parse(row.action()) else {
            let action = row.action();
            complain(
                "action",
                format!("\"{action}\" is unknown: the ACL is left out"),
            );
            return None;
        };
        references::check(cx, &match_, verdict == Verdict::Reject, &complain);
        let label = u32::try_from(*row.label()).ok().filter(|label| *label != 0);
        let logs_replies = || {
            row.options()
                .get("log-related")
                .is_some_and(|v| &**v == "true")
        };
        let samples = Samples::of(cx, &row, &complain);
        let label = samples.label.or(label);
        let function = function::group_of(cx, &row);
        if row.network_function_group().is_some() && verdict != Verdict::Allow {
            complain(
                "network_function_group",
                "only what is allowed can be sent through one".to_owned(),
            );
        }
        Some(Rule {
            uuid,
            stage: AclStage::of(row.direction(), row.options()),
            priority: u16::try_from(*row.priority()).unwrap_or(0).min(32767) + priority::ACL_BASE,
            tier: u8::try_from(*row.tier()).unwrap_or(0).min(ACL_TIER_MAX),
            match_,
            verdict,
            log: log(cx, &row, verdict, &complain),
            label: label.filter(|_| verdict == Verdict::Allow),
            samples,
            persists: persist::number(cx, uuid),
            function: function.filter(|_| verdict == Verdict::Allow),
            logs_replies: *row.log() && &**row.action() == "allow-related" && logs_replies(),
        })
    }

    fn flows(&self, cx: &Cx<'_>, view: View, switches: &DpSet) {
        let stage = self.stage.stage();
        let (new, established) = (&self.samples.new, &self.samples.established);
        let write = |condition: Option<Expr>, samples: &[Action], actions: Vec<Action>| {
            let tier = view.tiered.then(|| self.stage.is_due(self.tier));
            let first = tier.into_iter().chain(condition);
            let match_ = Expr::all(first.chain([self.match_.clone()]));
            let logged = self.log.iter().chain(samples).cloned();
            let logged: Vec<Action> = logged.chain(actions).collect();
            cx.flow(
                switches,
                stage,
                self.priority,
                match_,
                logged,
                Some(self.uuid),
            );
        };
        match self.verdict {
            Verdict::Pass => write(None, &[], self.stage.go_to(self.tier + 1).into()),
            Verdict::AllowStateless => {
                write(None, new, vec![Action::NEXT]);
                if view.stateful {
                    self.untracked(cx, switches);
                }
            }
            Verdict::Allow if !view.stateful => write(None, new, vec![Action::NEXT]),
            Verdict::Drop | Verdict::Reject if !view.stateful => {
                write(None, new, self.refuse(false))
            }
            Verdict::Allow => {
                let commit = || [set(p::CT_COMMIT, 1)].into_iter().chain(self.labels());
                let persists = self.persists.into_iter().flat_map(persist::note);
                let through = || self.function.into_iter().flat_map(function::send);
                let committed = commit().chain(persists).chain(through());
                let committed = committed.chain([Action::NEXT]).collect();
                write(Some(is_set(p::ACL_ALLOW_NEW)), new, committed);
                // A connection takes the label of the ACL that allows it now.
                let again = self.label.map(|_| commit()).into_iter().flatten();
                let again = again.chain(through()).chain([Action::NEXT]).collect();
                write(Some(is_set(p::ACL_ALLOW)), established, again);
                self.note_replies(cx, switches, view.functions);
                self.persistent(cx, switches, view.functions);
            }
            Verdict::Drop | Verdict::Reject => {
                write(Some(is_set(p::ACL_DROP)), new, self.refuse(false));
                write(Some(is_set(p::ACL_BLOCK)), new, self.refuse(true));
            }
        }
    }

    fn labels(&self) -> impl Iterator<Item = Action> {
        let label = |value| {
            [
                set(p::ACL_LABEL, 1),
                set(p::ACL_LABEL_VALUE, u64::from(value)),
            ]
        };
        self.label.map(label).into_iter().flatten()
    }

    /// Drops or rejects, and cuts the connection if it `was_allowed`.
    fn refuse(&self, was_allowed: bool) -> Vec<Action> {
        let mut actions: Vec<Action> = was_allowed.then(block).into_iter().collect();
        if self.verdict == Verdict::Reject {
            actions.extend(self.reject());
        } else {
            actions.push(Action::Drop);
        }
        actions
    }

    /// Answers the sender, past the ACLs and what is before them.
    fn reject(&self) -> [Action; 2] {
        let back = match self.stage {
            AclStage::From | AclStage::FromAfterLb => Stage::LsOutQosMark,
            AclStage::To => Stage::LsInL2Lkup,
        };
        let inner = [
            Action::Exchange(field::OUTPORT, field::INPORT),
            Action::NextIn(language(back), back.table()),
        ];
        // The bits say things about the packet that is not sent on.
        let forget = Action::set(field::REG0, 0);
        [forget, Action::nested(NestedKind::Reject, inner)]
    }

    /// Keeps what it matches from connection tracking.
    fn untracked(&self, cx: &Cx<'_>, switches: &DpSet) {
        let stage = match self.stage {
            AclStage::To => Stage::LsOutPreAcl,
            _ => Stage::LsInPreAcl,
        };
        let actions = [set(p::ACL_STATELESS, 1), Action::NEXT];
        // Above what exempts or tracks in that stage.
        let priority = self.priority + priority::ACL_BASE;
        let match_ = self.match_.clone();
        cx.flow(switches, stage, priority, match_, actions, Some(self.uuid));
    }

    /// Lets the connections pass that it let begin, before any ACL.
    fn persistent(&self, cx: &Cx<'_>, switches: &DpSet, functions: bool) {
        let Some(number) = self.persists else { return };
        let stage = match self.stage {
            AclStage::To => Stage::LsOutAcl,
            _ => Stage::LsInAcl,
        };
        let match_ = persist::begun_by(number, frame::uses_ct_inv(cx));
        let samples = self.samples.established.iter().cloned();
        let actions: Vec<Action> = samples.chain(frame::pass_reply(stage, functions)).collect();
        let priority = priority::ACL_ALWAYS;
        cx.flow(switches, stage, priority, match_, actions, Some(self.uuid));
    }

    /// Replies and what is related come from the other direction: logs and samples them.
    fn note_replies(&self, cx: &Cx<'_>, switches: &DpSet, functions: bool) {
        let log = self.log.iter().filter(|_| self.logs_replies);
        let notes: Vec<Action> = log.chain(&self.samples.established).cloned().collect();
        let Some(label) = self.label.filter(|_| !notes.is_empty()) else {
            return;
        };
        let stage = match self.stage {
            AclStage::To => Stage::LsInAcl,
            _ => Stage::LsOutAcl,
        };
        let ct_inv = frame::uses_ct_inv(cx);
        let kinds = [
            (frame::reply(ct_inv), frame::pass_reply(stage, functions)),
            (
                frame::related(ct_inv),
                frame::pass_related(stage, functions),
            ),
        ];
        for (kind, actions) in kinds {
            let labelled = field::CT_LABEL_LABEL.eq(u64::from(label));
            let match_ = Expr::all([kind, labelled]);
            let actions: Vec<Action> = notes.iter().cloned().chain(actions).collect();
            let priority = priority::ACL_ALWAYS_LOGGED;
            cx.flow(switches, stage, priority, match_, actions, Some(self.uuid));
        }
    }
}

/// What logs packets that an ACL matches, if it is to.
fn log(
    cx: &Cx<'_>,
    row: &nb::AclRef<'_, NbReads<'_>>,
    verdict: Verdict,
    complain: &dyn Fn(&'static str, String),
) -> Option<Action> {
    if !row.log() {
        return None;
    }
    let Some(logged) = verdict.logged() else {
        // Controllers of 23.03 would refuse the whole flow.
        complain("log", "an ACL that passes is not logged".to_owned());
        return None;
    };
    let limit = row.meter().as_ref();
    let limit = limit.and_then(|name| meter(cx, row.uuid(), name, complain));
    let severity = row.severity().as_ref();
    Some(Action::Log(Log {
        name: row.name().as_ref().map(|name| Text::from(&**name)),
        verdict: Some(Text::from(logged)),
        severity: Some(Text::from(severity.map_or("info", |severity| severity))),
        meter: limit.as_deref().map(Text::from),
    }))
}

/// The meter that limits the messages of an ACL: a fair one has a copy per ACL. Open vSwitch refuses flows with a meter
/// that is not there, so it is left out.
fn meter(
    cx: &Cx<'_>,
    acl: Uuid,
    name: &Str,
    complain: &dyn Fn(&'static str, String),
) -> Option<Str> {
    let Some(row) = named(cx, name) else {
        complain(
            "meter",
            format!("there is no meter \"{name}\": messages are not limited"),
        );
        return None;
    };
    of_acl(cx, row, acl)
}
