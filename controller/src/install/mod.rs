//! The flow table that is wanted against the one that is there.
//!
//! [`Installer`] is pure: it takes the engine's differences and what was read back from the bridge, and says which
//! messages make the bridge right. After a start, a reconnect or a restart of ovs-vswitchd the bridge's own flows are the
//! starting point, so unchanged flows are never touched.

mod numbers;
mod table;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use weft_openflow::{
    Action, ActionList, Bucket, Field, FlowMod, FlowStats, Group, GroupDesc, GroupMod, GroupType,
    Instructions, Match, Message, Meter, MeterBand, MeterCommand, MeterDesc, MeterMod, Port,
    Selection, ToMessage, meter_flags,
};
use weft_ovsdb::model::Str;

use crate::actions::opcode::Opcode;
use crate::flow::{Actions, Body, Flow, GroupSpec, MeterSpec};
use crate::program::Output;
use crate::tables;
use numbers::Numbers;
use table::Table;

/// Identifies a flow of the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its match, `conj_id` included.
    pub matches: Match,
}

/// What a flow is apart from its key: a hash of its cookie and its instructions. Never zero, so that none takes no room.
type Sum = NonZeroU64;

/// A message's subject, to find out what a refusal is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A flow.
    Flow(FlowKey),
    /// A group.
    Group(u32),
    /// A meter.
    Meter(u32),
}

/// A part of a bundle, as small as can be: there may be hundreds of thousands.
#[derive(Clone, Debug)]
pub enum Step {
    /// Adds or replaces a flow, or deletes it if there are no actions to be had.
    Flow {
        /// Which.
        key: FlowKey,
        /// Its cookie.
        cookie: u32,
        /// What it does.
        actions: Option<ActionList>,
    },
    /// Changes a group.
    Group(Box<GroupMod>),
}

const _: () = assert!(size_of::<Step>() <= 40);

impl Step {
    fn key(&self) -> Option<&FlowKey> {
        match self {
            Step::Flow { key, .. } => Some(key),
            Step::Group(_) => None,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Step::Flow { key, .. } => Subject::Flow(key.clone()),
            Step::Group(group) => Subject::Group(group.group_id),
        }
    }
}

impl ToMessage for Step {
    fn to_message(&self) -> Cow<'_, Message> {
        let message = match self {
            Step::Flow {
                key,
                cookie,
                actions: Some(actions),
            } => Message::FlowMod(
                FlowMod::add(
                    key.table,
                    key.priority,
                    key.matches.clone(),
                    actions.clone(),
                )
                .cookie((*cookie).into()),
            ),
            Step::Flow { key, .. } => Message::FlowMod(FlowMod::delete_strict(
                key.table,
                key.priority,
                key.matches.clone(),
            )),
            Step::Group(group) => Message::GroupMod((**group).clone()),
        };
        Cow::Owned(message)
    }
}

/// Messages to send, in this order: `before` singly (meters take no part in bundles), `bundle` at once, `after` singly.
#[derive(Default, Debug)]
pub struct Batch {
    /// Meters that the bundle's flows need.
    pub before: Vec<MeterMod>,
    /// Flows and groups.
    pub bundle: Vec<Step>,
    /// Meters that nothing needs any more.
    pub after: Vec<MeterMod>,
}

impl Batch {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.bundle.is_empty() && self.after.is_empty()
    }
}

/// Something Open vSwitch refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What: a flow with its cookie, a group, a meter.
    pub what: String,
    /// The first 32 bits of the UUID of the logical flow, 0 if there is none.
    pub cookie: u32,
    /// Why.
    pub error: String,
}

/// The difference between wanted and there.
#[derive(Default, Debug)]
pub struct Installer {
    flows: Table,
    numbers: Numbers,
    /// Groups to compare.
    dirty_groups: FxHashSet<u32>,
    /// Groups there.
    groups: FxHashMap<u32, Group>,
    /// Wanted meters by name.
    meters: FxHashMap<Str, Arc<MeterSpec>>,
    /// Meters there.
    meters_there: FxHashMap<u32, Meter>,
    /// What Open vSwitch refused, with what it was: not tried again until something else is wanted.
    refusals: FxHashMap<FlowKey, (Sum, Refusal)>,
}

impl Installer {
    /// Takes over what the engine added and removed; other outputs than flows and meters are left to others.
    pub fn apply<'a>(
        &mut self,
        removed: impl Iterator<Item = &'a Output>,
        added: impl Iterator<Item = &'a Output>,
    ) {
        // Numbers of conjunctions and groups that only move from one flow to another are kept: additions come first.
        for output in added {
            match output {
                Output::Flow(flow) => self.add(flow),
                Output::Meter(meter) => {
                    self.meters.insert(meter.name.clone(), Arc::clone(meter));
                }
                _ => {}
            }
        }
        for output in removed {
            match output {
                Output::Flow(flow) => self.remove(flow),
                // A meter that changed has just been added under its name again.
                Output::Meter(meter) if self.meters.get(&meter.name) == Some(meter) => {
                    self.meters.remove(&meter.name);
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, flow: &Arc<Flow>) {
        self.numbers.acquire(flow);
        self.flows.add(self.key(flow), flow);
    }

    fn remove(&mut self, flow: &Arc<Flow>) {
        self.flows.remove(self.key(flow), flow);
        self.numbers.release(flow);
    }

    fn key(&self, flow: &Flow) -> FlowKey {
        let mut matches = flow.matches.clone();
        if let Body::Conjunction(id, _) = flow.body {
            matches.set(Field::ConjId, self.numbers.conjunction(id));
        }
        FlowKey {
            table: flow.table,
            priority: flow.priority,
            matches,
        }
    }

    /// The bridge has no flows and groups, whatever was sent. Everything is compared anew.
    pub fn nothing_is_there(&mut self) {
        let meters = self.meters_there.iter();
        let meters = meters.map(|(&meter_id, meter)| MeterDesc {
            meter_id,
            meter: meter.clone(),
        });
        let meters = meters.collect();
        self.read_back(Vec::new(), Vec::new(), meters);
    }

    /// Starts from what the bridge has. Everything is compared anew.
    pub fn read_back(
        &mut self,
        flows: Vec<FlowStats>,
        groups: Vec<GroupDesc>,
        meters: Vec<MeterDesc>,
    ) {
        self.refusals.clear();
        let flows = flows
            .into_iter()
            .filter(|flow| !tables::LEARNED.contains(&flow.table));
        self.flows.read_back(flows.map(|flow| {
            let key = FlowKey {
                table: flow.table,
                priority: flow.priority,
                matches: flow.matching,
            };
            (key, sum(flow.cookie, &flow.instructions))
        }));
        self.groups = groups
            .into_iter()
            .map(|group| (group.group_id, group.group))
            .collect();
        self.dirty_groups = self.groups.keys().copied().collect();
        let wanted = self.numbers.groups().map(|(_, id)| id);
        self.dirty_groups.extend(wanted);
        self.meters_there = meters
            .into_iter()
            .map(|meter| (meter.meter_id, meter.meter))
            .collect();
    }

    /// The messages that make the bridge right. They are taken as sent; [`Installer::refused`] takes back what failed.
    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let wanted_meters = self.wanted_meters();
        for (&id, meter) in &wanted_meters {
            let message = match self.meters_there.get(&id) {
                Some(there) if there == meter => continue,
                Some(_) => meter_mod(MeterCommand::Modify, id, meter.clone()),
                None => meter_mod(MeterCommand::Add, id, meter.clone()),
            };
            batch.before.push(message);
            self.meters_there.insert(id, meter.clone());
        }
        let changed = self.numbers.changed_groups();
        self.dirty_groups.extend(changed);
        let mut groups: Vec<u32> = self.dirty_groups.drain().collect();
        groups.sort_unstable();
        let mut gone = Vec::new();
        for id in groups {
            let Some(group) = self.numbers.group_of(id).map(|spec| group(spec)) else {
                gone.extend(self.groups.remove(&id).map(|_| id));
                continue;
            };
            let message = match self.groups.get(&id) {
                Some(there) if *there == group => continue,
                Some(_) => GroupMod::modify(id, group.clone()),
                None => GroupMod::add(id, group.clone()),
            };
            batch.bundle.push(Step::Group(Box::new(message)));
            self.groups.insert(id, group);
        }
        self.flow_mods(&mut batch);
        // Only now: deleting a group deletes the flows that use it.
        for id in gone {
            let message = GroupMod::delete(id);
            batch.bundle.push(Step::Group(Box::new(message)));
        }
        let gone: Vec<u32> = self
            .meters_there
            .keys()
            .filter(|id| !wanted_meters.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.meters_there.remove(&id);
            let message = meter_mod(MeterCommand::Delete, id, Meter::default());
            batch.after.push(message);
        }
        batch
    }

    fn flow_mods(&mut self, batch: &mut Batch) {
        let dirty = self.flows.take_dirty();
        let (numbers, refusals) = (&self.numbers, &mut self.refusals);
        let first = batch.bundle.len();
        for key in dirty {
            let step = self.flows.settle(&key, |wanted, there| {
                let Some((cookie, actions)) = render(wanted, numbers) else {
                    refusals.remove(&key);
                    return there.take().map(|_| (0, None));
                };
                let new = sum(cookie.into(), &actions.clone().into());
                if *there == Some(new) || refusals.get(&key).is_some_and(|was| was.0 == new) {
                    return None;
                }
                *there = Some(new);
                refusals.remove(&key);
                Some((cookie, Some(actions)))
            });
            if let Some((cookie, actions)) = step.flatten() {
                batch.bundle.push(Step::Flow {
                    key,
                    cookie,
                    actions,
                });
            }
        }
        // The same difference is the same messages.
        batch.bundle[first..].sort_unstable_by(|a, b| a.key().cmp(&b.key()));
    }

    fn wanted_meters(&self) -> FxHashMap<u32, Meter> {
        self.meters
            .values()
            .filter_map(|spec| Some((self.numbers.meter(&spec.name)?, meter(spec))))
            .collect()
    }

    /// Open vSwitch refused a message: what it was about is not there, and is not tried again as it is.
    pub fn refused(&mut self, subject: &Subject, error: &str) -> Refusal {
        let refusal = |what: String, cookie: u32| Refusal {
            what,
            cookie,
            error: error.into(),
        };
        match subject {
            Subject::Flow(key) => {
                let was = self.flows.amend(key, |wanted, there| {
                    (wanted.first().map_or(0, |flow| flow.cookie), there.take())
                });
                let (cookie, was) = was.unwrap_or_default();
                let what = format!(
                    "flow table={}, priority={}, {}",
                    key.table, key.priority, key.matches
                );
                let refusal = refusal(what, cookie);
                if let Some(was) = was {
                    self.refusals.insert(key.clone(), (was, refusal.clone()));
                }
                refusal
            }
            Subject::Group(id) => {
                self.groups.remove(id);
                self.dirty_groups.insert(*id);
                refusal(format!("group {id}"), 0)
            }
            Subject::Meter(id) => {
                self.meters_there.remove(id);
                refusal(format!("meter {id}"), 0)
            }
        }
    }

    /// What Open vSwitch has refused and is still wanted.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.refusals.values().map(|(_, refusal)| refusal)
    }

    /// Flows that are wanted.
    pub fn wanted_count(&self) -> usize {
        self.flows.wanted()
    }

    /// Wanted groups with their numbers, for people.
    pub fn group_table(&self) -> Vec<(String, u32)> {
        let mut all: Vec<_> = self
            .numbers
            .groups()
            .map(|(spec, id)| (format!("{:?}", group(spec)), id))
            .collect();
        all.sort_by_key(|entry| entry.1);
        all
    }

    /// Wanted meters with their numbers, for people.
    pub fn meter_table(&self) -> Vec<(String, u32)> {
        let named = self
            .meters
            .keys()
            .filter_map(|name| Some((name.to_string(), self.numbers.meter(name)?)));
        let mut all: Vec<_> = named.collect();
        all.sort();
        all
    }

    /// What must be there, as text, sorted: for comparing two ways to the same state.
    pub fn wanted(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .flows
            .iter()
            .filter_map(|(key, wanted)| {
                let (cookie, actions) = render(wanted, &self.numbers)?;
                let FlowKey { table, priority, matches } = key;
                Some(format!("table={table}, priority={priority}, {matches} cookie={cookie:#x} actions={actions}"))
            })
            .collect();
        all.sort();
        all
    }
}

/// A fixed order of those that want a flow under one key: real actions before clauses, then by cookie and actions, so
/// that who wins does not depend on who came first.
fn order(a: &Arc<Flow>, b: &Arc<Flow>) -> std::cmp::Ordering {
    let rank = |flow: &Flow| matches!(flow.body, Body::Clause(_));
    rank(a)
        .cmp(&rank(b))
        .then(a.cookie.cmp(&b.cookie))
        .then_with(|| match (&a.body, &b.body) {
            (Body::Clause(x), Body::Clause(y)) => x.cmp(y),
            _ => a.body.actions().cmp(&b.body.actions()),
        })
}

/// The flow that stands for all that is wanted under a key.
fn render(wanted: &[Arc<Flow>], numbers: &Numbers) -> Option<(u32, ActionList)> {
    let first = wanted.first()?;
    match &first.body {
        Body::Actions(actions) | Body::Conjunction(_, actions) => {
            Some((first.cookie, numbered(actions, numbers)))
        }
        Body::Clause(_) => {
            let mut clauses: Vec<Action> = wanted
                .iter()
                .filter_map(|flow| match &flow.body {
                    Body::Clause(clause) => Some(Action::Conjunction {
                        id: numbers.conjunction(clause.id),
                        clause: clause.clause,
                        n_clauses: clause.n_clauses,
                    }),
                    Body::Actions(_) | Body::Conjunction(..) => None,
                })
                .collect();
            clauses.sort();
            clauses.dedup();
            Some((0, ActionList::from(clauses.as_slice())))
        }
    }
}

/// Actions with the numbers of their groups and meters in place.
fn numbered(actions: &Actions, numbers: &Numbers) -> ActionList {
    if actions.groups.is_empty() && actions.meters.is_empty() {
        return actions.list.clone();
    }
    renumber(&actions.list, actions, numbers)
}

fn renumber(list: &ActionList, actions: &Actions, numbers: &Numbers) -> ActionList {
    let meter = |place: u32| {
        actions
            .meters
            .get(place as usize)
            .and_then(|name| numbers.meter(name))
    };
    list.iter()
        .map(|action| match action {
            Action::Group(place) => Action::Group(
                actions
                    .groups
                    .get(place as usize)
                    .map_or(0, |spec| numbers.group(spec)),
            ),
            Action::Meter(place) => Action::Meter(meter(place).unwrap_or(0)),
            Action::Controller(mut controller) => {
                controller.meter_id = controller.meter_id.and_then(meter);
                if let Some((opcode, list)) = nested(&controller.userdata) {
                    let list = renumber(&list, actions, numbers);
                    controller.userdata = opcode.userdata(list.wire_bytes());
                }
                Action::Controller(controller)
            }
            Action::Clone(inner) => Action::Clone(renumber(&inner, actions, numbers)),
            other => other,
        })
        .collect()
}

/// The actions in user data that the controller is to send back as they are.
fn nested(userdata: &[u8]) -> Option<(Opcode, ActionList)> {
    let (opcode, bytes) = Opcode::split(userdata)?;
    let list = opcode.has_actions().then(|| ActionList::from_wire(bytes))?;
    Some((opcode, list.ok()?))
}

fn group(spec: &GroupSpec) -> Group {
    let buckets = spec.buckets.iter().enumerate().map(|(id, spec)| Bucket {
        weight: spec.weight,
        watch_port: spec.watch_port.map(Port),
        ..Bucket::new(id as u32, spec.actions.clone())
    });
    let selection = match spec.hash_fields.as_slice() {
        [] => Selection::DpHash,
        fields => Selection::Hash(
            fields
                .iter()
                .map(|field| (*field, field.full_mask()))
                .collect(),
        ),
    };
    Group {
        kind: GroupType::Select,
        buckets: buckets.collect(),
        selection: Some(selection),
    }
}

fn meter(spec: &MeterSpec) -> Meter {
    let unit = if spec.packets {
        meter_flags::PKTPS
    } else {
        meter_flags::KBPS
    };
    let burst = spec.bands.iter().any(|band| band.1 > 0);
    Meter {
        flags: unit | meter_flags::STATS | if burst { meter_flags::BURST } else { 0 },
        bands: spec
            .bands
            .iter()
            .map(|&(rate, burst_size)| MeterBand { rate, burst_size })
            .collect(),
    }
}

fn meter_mod(command: MeterCommand, meter_id: u32, meter: Meter) -> MeterMod {
    MeterMod {
        command,
        meter_id,
        meter,
    }
}

fn sum(cookie: u64, instructions: &Instructions) -> Sum {
    let mut hasher = DefaultHasher::new();
    (cookie, instructions).hash(&mut hasher);
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests;
