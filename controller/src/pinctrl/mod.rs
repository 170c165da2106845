//! Packets that the pipelines send up to the controller, and what is sent down in turn.
//!
//! ```text
//!  switch --packet-in--> intake (bounded, fair) --> respond --+--> packet-outs
//!                                                             +--> learner --> southbound rows
//!                                                             +--> waiting (until the neighbour is known) --> packet-outs
//! ```
//!
//! * [`respond`] is a pure function of one packet; there is a file per responder. What outlives a packet is in [`learner`]
//!   (rows to write) and [`waiting`] (packets held back).
//! * Everything is bounded: what exceeds a bound is dropped and counted, for all of this helps along what hosts do again.
//! * [`crate::shell`] carries the [`Effect`]s out. Time comes as an argument.

mod acl_log;
mod activation;
mod advertise;
mod announce;
mod arp;
mod bfd;
mod complaints;
mod delegation;
mod dhcp4;
mod dhcp6;
mod dhcp_relay;
mod dns;
mod event;
mod fdb;
pub mod flow_text;
mod frag_mtu;
mod groups;
mod icmp;
mod inject;
pub mod intake;
pub mod learner;
mod looks;
mod nd_na;
mod nd_ns;
mod nd_ra;
mod neighbors;
mod port;
mod querier;
mod refresh;
mod reject;
mod reset;
mod respond;
mod snoop;
mod svc_monitor;
mod verdict;
mod vport;
pub mod waiting;

#[cfg(test)]
mod dhcp_stock;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_daemon::coverage::{Counter, counter};
use weft_engine::Delta;
use weft_openflow::{FlowStats, Message, PacketIn};
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::{Txn, TxnError};
use weft_schemas::sb;

use crate::actions::opcode::Opcode;
use crate::core::Core;
use crate::program::Controller;
use complaints::Complaints;
use learner::{Learned, Learner};
pub use respond::{Answer, Refusal, Request, respond};
use waiting::Waiting;

/// Before a failed transaction is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The time, twice: for measuring, and for what is written into databases.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes backwards.
    pub instant: Instant,
    /// Milliseconds since the epoch.
    pub ms: i64,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// A packet-out, or the resumption of a paused packet.
    Send(Message),
    /// Rows of the southbound; how it went is told with [`PinCtrl::written`].
    Write(Txn),
    /// The flows of these tables with their counters; they are told with [`PinCtrl::counted`].
    Count(Vec<u8>),
    /// The machine of a port has been heard here: the port is let in.
    Activate(Uuid),
}

/// Whose rows are in a transaction: what cannot be written of one keeps back nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Learner,
    /// Service monitors and events.
    Reports,
    Groups,
}

/// The responders with what they remember.
#[derive(Debug)]
pub struct PinCtrl {
    learner: Learner,
    waiting: Waiting,
    monitors: svc_monitor::Monitors,
    announcements: announce::Announcements,
    events: event::Events,
    names: dns::Names,
    adverts: advertise::Adverts,
    delegations: delegation::Delegations,
    groups: groups::Groups,
    /// Whose transaction is under way.
    writing: Option<Writer>,
    /// No transaction but the learner's before: the last one failed.
    pause: Option<Instant>,
    /// The same for those of multicast groups.
    groups_pause: Option<Instant>,
    sessions: bfd::Sessions,
    refresher: refresh::Refresher,
    complaints: Complaints,
    /// Packets that came, by opcode.
    received: Vec<Arc<Counter>>,
    refused: Arc<Counter>,
    unanswered: Arc<Counter>,
}

impl Default for PinCtrl {
    fn default() -> Self {
        PinCtrl {
            learner: Learner::default(),
            waiting: Waiting::default(),
            monitors: svc_monitor::Monitors::default(),
            announcements: announce::Announcements::default(),
            events: event::Events::default(),
            names: dns::Names::default(),
            adverts: advertise::Adverts::default(),
            delegations: delegation::Delegations::default(),
            groups: groups::Groups::default(),
            writing: None,
            pause: None,
            groups_pause: None,
            sessions: bfd::Sessions::default(),
            refresher: refresh::Refresher::default(),
            complaints: Complaints::default(),
            received: Opcode::ALL
                .iter()
                .map(|opcode| counter(opcode.counter()))
                .collect(),
            refused: counter("pinctrl_refused"),
            unanswered: counter("pinctrl_unanswered"),
        }
    }
}

impl PinCtrl {
    /// Answers a packet.
    pub fn packet_in(&mut self, packet: &PacketIn, core: &Core, now: Now) -> Vec<Effect> {
        let Some((opcode, params)) = Opcode::split(&packet.userdata) else {
            self.refused.inc();
            if let Some(before) = self.complaints.admit((None, "userdata"), now.instant) {
                tracing::warn!(target: "pinctrl", "packet of table {} with user data that says nothing{before}", packet.table);
            }
            return Vec::new();
        };
        if let Some(count) = self.received.get(opcode as usize) {
            count.inc();
        }
        if let Some(effects) = self.heard(opcode, params, packet, core, now) {
            return effects.unwrap_or_else(|why| {
                self.complain(opcode, &why, now);
                Vec::new()
            });
        }
        let request = Request {
            opcode,
            params,
            packet,
        };
        let answer = match opcode {
            Opcode::DnsLookup => self.names.respond(&request, core),
            _ => respond(&request),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.complain(opcode, &why, now);
                return why.instead(packet).map(Effect::Send).into_iter().collect();
            }
        };
        if let Some(line) = answer.log {
            tracing::info!(target: "acl_log", "{line}");
        }
        let mut effects: Vec<Effect> = answer.send.into_iter().map(Effect::Send).collect();
        if let Some(learned) = answer.learned {
            if let Learned::Neighbor { mac, .. } = &learned
                && let Some(hop) = learned.hop()
            {
                // Held packets need not wait for the southbound to tell what it is just being told.
                effects.extend(self.waiting.resolved(&hop, *mac).map(Effect::Send));
            }
            if !self.learner.note(learned, now) {
                self.complain(opcode, &Refusal::Full, now);
            }
        }
        if let Some((hop, held)) = answer.held {
            self.waiting
                .hold(port::of_hop(core, hop), held, now.instant);
        }
        effects
    }

    /// What is for somebody who keeps a state; `None` if the packet is a question.
    fn heard(
        &mut self,
        opcode: Opcode,
        params: &[u8],
        packet: &PacketIn,
        core: &Core,
        now: Now,
    ) -> Option<Result<Vec<Effect>, Refusal>> {
        let sent = |packet: Option<_>| packet.map(Effect::Send).into_iter().collect();
        Some(match opcode {
            Opcode::HandleSvcCheck => {
                let send = self.monitors.heard(packet, core, now.instant);
                Ok(send.into_iter().map(Effect::Send).collect())
            }
            Opcode::TriggerEvent if self.events.note(params) => Ok(Vec::new()),
            Opcode::TriggerEvent => Err(Refusal::Full),
            Opcode::HandleDhcpv6Reply => {
                let taken = self.delegations.receive(packet, now.instant);
                taken.map(|_| Vec::new()).map_err(Refusal::from)
            }
            Opcode::ActivationStrategy => {
                let port = activation::heard(packet, core);
                port.map(|port| port.map(Effect::Activate).into_iter().collect())
            }
            Opcode::HandleBfdMsg => {
                let answer = self.sessions.receive(packet, core, now.instant);
                answer.map(sent).map_err(Refusal::from)
            }
            Opcode::Igmp => {
                let on = self.groups.heard(packet, core, now.instant);
                on.map(sent).map_err(Refusal::from)
            }
            _ => return None,
        })
    }

    fn complain(&mut self, opcode: Opcode, why: &Refusal, now: Now) {
        match why {
            Refusal::NoResponder => self.unanswered.inc(),
            _ => self.refused.inc(),
        }
        let Some(before) = self
            .complaints
            .admit((Some(opcode), why.kind()), now.instant)
        else {
            return;
        };
        let name = opcode.name();
        if why.is_usual() {
            tracing::debug!(target: "pinctrl", "{name}: {why}{before}");
        } else {
            tracing::warn!(target: "pinctrl", "{name}: {why}{before}");
        }
    }

    /// How a transaction went that [`Effect::Write`] asked for.
    pub fn written(&mut self, result: &Result<(), TxnError>, now: Now) {
        let pause = result.is_err().then(|| now.instant + RETRY);
        match self.writing.take() {
            Some(Writer::Reports) => {
                self.pause = pause;
                self.events.written(result.is_ok());
                return;
            }
            Some(Writer::Groups) => {
                self.groups_pause = pause;
                self.groups.written(result.is_ok());
                return;
            }
            Some(Writer::Learner) | None => {}
        }
        for lost in self.learner.written(result, now) {
            self.refused.inc();
            tracing::warn!(target: "pinctrl", "{lost} was not learned: the southbound refused it twice");
        }
    }

    /// Takes over what the engine yields.
    pub fn apply(&mut self, delta: &Delta<Controller>, now: Now) {
        self.announcements
            .apply(delta.removed.iter(), delta.added.iter(), now.instant);
        self.refresher
            .apply(delta.removed.iter(), delta.added.iter());
    }

    /// The flows that [`Effect::Count`] asked for; none if they could not be had.
    pub fn counted(&mut self, flows: &[FlowStats], core: &Core, now: Now) -> Vec<Effect> {
        let (used, probes) = self.refresher.counted(flows, core, now);
        for learned in used {
            // No room is no harm: it is said again at the next look.
            self.learner.note(learned, now);
        }
        probes.into_iter().map(Effect::Send).collect()
    }

    /// The southbound has changed.
    pub fn follow(&mut self, changes: &[sb::Change], core: &Core, now: Now) {
        for change in changes {
            if matches!(
                change,
                sb::Change::MacBinding(_) | sb::Change::PortBinding(_)
            ) {
                self.waiting.look_again();
            }
            self.groups.follow(change, core, now.instant);
        }
    }

    /// Does what is due by time or by what has become known; returns when to be called again.
    pub fn tick(&mut self, core: &Core, now: Now) -> (Vec<Effect>, Option<Duration>) {
        let mut effects = Vec::new();
        self.waiting.expire(now.instant);
        for (hop, mac) in neighbors::known(core, self.waiting.sought().iter()) {
            effects.extend(self.waiting.resolved(&hop, mac).map(Effect::Send));
        }
        let (announced, heard) = self.announcements.tick(core, now.instant);
        for learned in heard {
            // No room is no harm: it is said again.
            self.learner.note(learned, now);
        }
        effects.extend(announced.into_iter().map(Effect::Send));
        let advertised = self.adverts.tick(core, now.instant);
        effects.extend(advertised.into_iter().map(Effect::Send));
        let asked = self.delegations.tick(core, now.instant);
        effects.extend(asked.into_iter().map(Effect::Send));
        let (packets, states, session_due) = self.sessions.tick(core, now.instant);
        effects.extend(packets.into_iter().map(Effect::Send));
        for (row, state) in states {
            // No room is no harm: it is said again at the next look.
            self.learner.note(Learned::Session(row, state), now);
        }
        effects.extend(self.refresher.tick(now).map(Effect::Count));
        let probes = self.monitors.tick(core, now.instant);
        effects.extend(probes.into_iter().map(Effect::Send));
        if self.writing.is_none()
            && let Some(txn) = self.learner.write(core, now)
        {
            self.writing = Some(Writer::Learner);
            effects.push(Effect::Write(txn));
        }
        if self.writing.is_none() && self.pause.is_none_or(|then| then <= now.instant) {
            self.pause = None;
            let mut txn = Txn::new();
            self.monitors.write(core, &mut txn);
            self.events.write(core, &mut txn);
            self.delegations.write(core, &mut txn);
            if !txn.is_empty() {
                self.writing = Some(Writer::Reports);
                effects.push(Effect::Write(txn));
            }
        }
        let queries = self.groups.tick(core, now.instant);
        effects.extend(queries.into_iter().map(Effect::Send));
        if self.writing.is_none() && self.groups_pause.is_none_or(|then| then <= now.instant) {
            self.groups_pause = None;
            let mut txn = Txn::new();
            self.groups.write(core, &mut txn);
            if !txn.is_empty() {
                self.writing = Some(Writer::Groups);
                effects.push(Effect::Write(txn));
            }
        }
        let due = [
            self.waiting.due(),
            self.learner.due(),
            self.monitors.due(),
            self.announcements.due(),
            self.adverts.due(),
            self.delegations.due(),
            self.pause,
            self.refresher.due(now),
            self.groups_pause,
            self.groups.due(),
            session_due,
        ]
        .into_iter()
        .flatten()
        .min();
        (
            effects,
            due.map(|then| then.saturating_duration_since(now.instant)),
        )
    }
}
