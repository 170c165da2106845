//! Follows a packet through tables, pipelines and datapaths. Reads nothing but the model and its options.

use std::collections::VecDeque;
use std::net::IpAddr;

use weft_lang::{Action, FieldReader, OfField, Packet, Pipeline, eval, field};

use super::explain::{Fate, Place};
use super::flow_text::{self, hex};
use super::model::{Flow, Model, constant_bits};
use super::tree::{Kind, Node};

/// Flows after which a packet is taken to go in circles.
const MAX_DEPTH: usize = 4096;

/// What the user chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// `--ct`: states, in the order in which they will be asked for.
    pub ct: Vec<u128>,
    /// `--lb-dst`
    pub lb_dst: Option<(IpAddr, Option<u16>)>,
    /// `--select-id`
    pub select_id: Option<u16>,
    /// Picks among equals: any number will do.
    pub random: u64,
    /// OpenFlow flows by cookie, for `--ovs`.
    pub openflow: Option<std::collections::HashMap<u32, Vec<String>>>,
}

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Index of the datapath.
    pub dp: usize,
    /// Pipeline.
    pub pipeline: Pipeline,
    /// Table.
    pub table: u8,
}

/// A trace in the making.
pub struct Trace<'m> {
    pub(super) model: &'m Model,
    pub(super) choices: &'m Choices,
    ct: VecDeque<u128>,
    depth: usize,
    /// What became of the packet and its copies.
    pub fates: Vec<Fate>,
    /// Flows of northbound rows that were hit where ACLs decide, in order.
    pub decided: Vec<Place>,
}

/// What an action list works on.
pub(super) struct Frame<'a> {
    pub at: At,
    pub packet: &'a mut Packet,
    pub stack: &'a mut Vec<(u128, u8)>,
    pub nodes: &'a mut Vec<Node>,
    /// Whether the packet went anywhere.
    pub went: bool,
}

impl Frame<'_> {
    pub(super) fn action(&mut self, text: impl Into<String>) {
        self.nodes.push(Node::leaf(Kind::Action, text));
    }

    fn output(&mut self, text: impl Into<String>) {
        self.nodes.push(Node::leaf(Kind::Output, text));
    }

    pub(super) fn effect(&mut self, text: impl Into<String>) {
        self.nodes.push(Node::leaf(Kind::Effect, text));
    }

    pub(super) fn notice(&mut self, text: impl Into<String>) {
        self.nodes.push(Node::leaf(Kind::Notice, text));
    }
}

/// Whether ACLs decide in a stage.
fn decides_policy(stage: &str) -> bool {
    let stage = stage.strip_suffix("_eval").unwrap_or(stage);
    matches!(stage, "ls_in_acl" | "ls_in_acl_after_lb" | "ls_out_acl")
}

impl<'m> Trace<'m> {
    /// Traces a packet that enters a datapath.
    pub fn run(
        model: &'m Model,
        choices: &'m Choices,
        datapath: usize,
        packet: &Packet,
    ) -> (Vec<Node>, Vec<Fate>, Vec<Place>) {
        let ct = choices.ct.iter().copied().collect();
        let mut trace = Self {
            model,
            choices,
            ct,
            depth: 0,
            fates: Vec::new(),
            decided: Vec::new(),
        };
        let mut packet = packet.clone();
        let node = trace.ingress(datapath, &mut packet);
        (vec![node], trace.fates, trace.decided)
    }

    /// `"p1"`, with the quotes inside left alone: only people read this.
    pub(super) fn port_name(&self, dp: usize, key: u32) -> String {
        let datapath = &self.model.datapaths[dp];
        match (key, datapath.ports.get(&key), datapath.groups.get(&key)) {
            (0, ..) => String::new(),
            (_, Some(port), _) => port.friendly.clone(),
            (_, None, Some((name, _))) => name.to_string(),
            (_, None, None) => "(unnamed)".to_string(),
        }
    }

    fn ingress(&mut self, dp: usize, packet: &mut Packet) -> Node {
        let inport = packet.read(OfField::Reg(14)) as u32;
        let title = format!(
            "ingress(dp=\"{}\", inport=\"{}\")",
            self.model.datapaths[dp].friendly,
            self.port_name(dp, inport)
        );
        let mut nodes = Vec::new();
        self.table(
            At {
                dp,
                pipeline: Pipeline::Ingress,
                table: 0,
            },
            packet,
            &mut nodes,
        );
        Node::new(Kind::Pipeline, title, nodes)
    }

    /// Looks a packet up and does what the flow says.
    pub(super) fn table(&mut self, at: At, packet: &mut Packet, nodes: &mut Vec<Node>) {
        if self.depth >= MAX_DEPTH {
            nodes.push(Node::leaf(
                Kind::Notice,
                "*** packet goes in circles, giving up",
            ));
            self.fates.push(Fate::Loop(self.place(at, None)));
            return;
        }
        self.depth += 1;
        let model = self.model;
        let table = model.datapaths[at.dp]
            .tables
            .get(&(at.pipeline, at.table))
            .map_or(&[][..], Vec::as_slice);
        let env = model.env(at.dp);
        let hit = |flow: &&Flow| {
            flow.parsed()
                .is_some_and(|(expr, _)| eval(expr, packet, &env))
        };
        let found = table.iter().map(|at| &model.flows[*at]).find(hit);
        match found.and_then(|flow| Some((flow, flow.parsed()?))) {
            None => {
                let stage = table
                    .iter()
                    .find_map(|at| model.flows[*at].stage.as_deref());
                let stage = stage.map(|name| format!("{name}: ")).unwrap_or_default();
                let text = format!("{:2}. {stage}no match (implicit drop)", at.table);
                nodes.push(Node::leaf(Kind::Table, text));
                self.fates.push(Fate::Unmatched(self.place(at, None)));
            }
            Some((flow, (_, actions))) if flow.is_trivial(at.table) => {
                self.actions(at, flow, actions, packet, nodes, true);
            }
            Some((flow, (_, actions))) => {
                if flow.hint.is_some() && flow.stage.as_deref().is_some_and(decides_policy) {
                    self.decided.push(self.place(at, Some(flow)));
                }
                let mut inside = self.openflow(flow);
                self.actions(at, flow, actions, packet, &mut inside, false);
                nodes.push(Node::new(Kind::Table, self.heading(at, flow), inside));
            }
        }
        self.depth -= 1;
    }

    fn heading(&self, at: At, flow: &Flow) -> String {
        let name = match (&flow.stage, &flow.source) {
            (Some(stage), Some(source)) => format!("{stage} ({source}): "),
            (Some(stage), None) => format!("{stage}: "),
            (None, _) => String::new(),
        };
        let text = self.model.names.apply(&flow.match_text);
        format!(
            "{:2}. {name}{text}, priority {}, uuid {:08x}",
            at.table,
            flow.priority,
            flow.uuid.short()
        )
    }

    /// The flows that a switch has for a logical one.
    fn openflow(&self, flow: &Flow) -> Vec<Node> {
        let Some(all) = &self.choices.openflow else {
            return Vec::new();
        };
        match all.get(&flow.uuid.short()) {
            Some(flows) => flows
                .iter()
                .map(|text| Node::leaf(Kind::Action, text.clone()))
                .collect(),
            None => vec![Node::leaf(Kind::Action, "*** no OpenFlow flows")],
        }
    }

    pub(super) fn place(&self, at: At, flow: Option<&Flow>) -> Place {
        let datapath = &self.model.datapaths[at.dp];
        let table = datapath
            .tables
            .get(&(at.pipeline, at.table))
            .map_or(&[][..], Vec::as_slice);
        let stage = table
            .iter()
            .find_map(|at| self.model.flows[*at].stage.as_deref())
            .unwrap_or("");
        Place {
            datapath: datapath.friendly.clone(),
            pipeline: at.pipeline,
            table: at.table,
            stage: stage.to_string(),
            flow: flow.map(|flow| {
                (
                    self.model.names.apply(&flow.match_text),
                    flow.priority,
                    flow.uuid.short(),
                )
            }),
            hint: flow
                .and_then(|flow| flow.hint.as_deref())
                .map(str::to_string),
        }
    }

    fn actions(
        &mut self,
        at: At,
        flow: &Flow,
        actions: &[Action],
        packet: &mut Packet,
        nodes: &mut Vec<Node>,
        silent: bool,
    ) {
        let mut stack = Vec::new();
        let mut frame = Frame {
            at,
            packet,
            stack: &mut stack,
            nodes,
            went: false,
        };
        self.execute(&mut frame, actions, silent);
        if !frame.went {
            self.fates.push(Fate::Dropped(self.place(at, Some(flow))));
        }
    }

    /// Does one action after the other.
    pub(super) fn execute(&mut self, frame: &mut Frame<'_>, actions: &[Action], silent: bool) {
        if actions.is_empty() {
            frame.action("drop;");
        }
        for action in actions {
            if !silent {
                let text = self.action_text(frame.at, action);
                frame.action(self.model.names.apply(&text));
            }
            self.step(frame, action);
        }
    }

    /// An action as the stock tool writes it, where that is not how our language does.
    fn action_text(&self, at: At, action: &Action) -> String {
        match action {
            Action::Next(Some(table)) if *table == at.table + 1 => "next;".to_string(),
            Action::NextIn(pipeline, table)
                if *pipeline == at.pipeline && *table == at.table + 1 =>
            {
                "next;".to_string()
            }
            Action::NextIn(pipeline, table) if *pipeline == at.pipeline => {
                format!("next({table});")
            }
            Action::NextIn(pipeline, table) => {
                format!("next(pipeline={}, table={table});", pipeline.name())
            }
            Action::CtNat(kind, Some(target)) => match target.ports {
                None => action.to_string(),
                Some((low, high)) if low == high => {
                    format!("{}({},{low});", kind.name(), target.ip)
                }
                Some((low, high)) => format!("{}({},{low}-{high});", kind.name(), target.ip),
            },
            Action::CtCommit(parts) if parts.is_empty() => "ct_commit;".to_string(),
            Action::CtCommitV1 { mark, label } => {
                super::packets::commit_text(mark.as_ref(), label.as_ref())
            }
            Action::Nested(kind, inner) => {
                let texts: Vec<String> = inner
                    .iter()
                    .map(|action| self.action_text(at, action))
                    .collect();
                format!("{} {{ {} }};", kind.name(), texts.join(" "))
            }
            Action::Select {
                result, members, ..
            } => {
                let member =
                    |(id, weight): &(u16, Option<u16>)| format!("{id}={}", weight.unwrap_or(100));
                let members: Vec<String> = members.iter().map(member).collect();
                format!("{result} = select({});", members.join(", "))
            }
            other => other.to_string(),
        }
    }

    pub(super) fn step(&mut self, frame: &mut Frame<'_>, action: &Action) {
        match action {
            Action::Output => self.output(frame),
            Action::Drop => {}
            Action::Next(table) => {
                let table = table.unwrap_or(frame.at.table + 1);
                self.next(frame, frame.at.pipeline, table);
            }
            Action::NextIn(pipeline, table) => self.next(frame, *pipeline, *table),
            Action::Set(to, value) => {
                frame
                    .packet
                    .set(*to, constant_bits(value, &self.model.env(frame.at.dp)));
                if super::packets::is_visible(*to) {
                    frame.effect(action.to_string());
                }
            }
            Action::Move(to, from) => {
                let value = frame.packet.get(*from);
                frame.packet.set(*to, value);
                if super::packets::is_visible(*to) {
                    frame.effect(format!(
                        "{to} = {}",
                        super::packets::value_text(*from, value)
                    ));
                }
            }
            Action::Exchange(a, b) => {
                let (old_a, old_b) = (frame.packet.get(*a), frame.packet.get(*b));
                for (to, value) in [(*a, old_b), (*b, old_a)] {
                    frame.packet.set(to, value);
                    if super::packets::is_visible(to) {
                        frame.effect(format!("{to} = {}", super::packets::value_text(to, value)));
                    }
                }
            }
            Action::Push(from) => {
                let value = frame.packet.get(*from);
                frame.stack.push((value, from.width()));
                frame.effect(format!("push({from}) -> {}", hex(value)));
            }
            Action::Pop(to) => match frame.stack.pop() {
                Some((value, _)) => {
                    frame.packet.set(*to, value);
                    frame.effect(format!("pop({to}) <- {}", hex(value)));
                }
                None => frame.effect(format!("pop({to}) <- /* empty stack */")),
            },
            Action::DecTtl => {
                let ttl = frame.packet.get(field::IP_TTL);
                if ttl == 0 {
                    frame.notice("*** TTL underflow");
                } else {
                    frame.packet.set(field::IP_TTL, ttl - 1);
                    frame.effect("ip.ttl--");
                }
            }
            Action::CtClear => frame.packet.clear_ct(),
            other => self.further(frame, other),
        }
    }

    /// `next`: the packet itself goes on, so what the next table does to it stays.
    pub(super) fn next(&mut self, frame: &mut Frame<'_>, pipeline: Pipeline, table: u8) {
        frame.went = true;
        let at = At {
            pipeline,
            table,
            ..frame.at
        };
        if pipeline == frame.at.pipeline {
            self.table(at, frame.packet, frame.nodes);
            return;
        }
        let dp = frame.at.dp;
        let (word, name, key) = match pipeline {
            Pipeline::Ingress => ("ingress", "inport", frame.packet.get(field::INPORT)),
            Pipeline::Egress => ("egress", "outport", frame.packet.get(field::OUTPORT)),
        };
        let datapath = &self.model.datapaths[dp].friendly;
        let title = format!(
            "{word}(dp=\"{datapath}\", {name}=\"{}\")",
            self.port_name(dp, key as u32)
        );
        let mut nodes = Vec::new();
        let mut packet = frame.packet.clone();
        self.table(at, &mut packet, &mut nodes);
        frame.nodes.push(Node::new(Kind::Pipeline, title, nodes));
    }

    /// The state that the connection tracker is to report next, and what to remark on it.
    pub(super) fn next_ct_state(&mut self) -> (u128, &'static str) {
        match self.ct.pop_front() {
            Some(state) => (state, ""),
            // Established and tracked.
            None => (1 << 1 | 1 << 5, " /* default (use --ct to customize) */"),
        }
    }

    fn output(&mut self, frame: &mut Frame<'_>) {
        frame.went = true;
        let key = frame.packet.get(field::OUTPORT) as u32;
        if key == 0 {
            frame.notice("*** output to null logical port");
            self.fates.push(Fate::Nowhere(self.place(frame.at, None)));
            return;
        }
        match frame.at.pipeline {
            Pipeline::Egress => self.deliver(frame, key),
            Pipeline::Ingress => self.enter_egress(frame, key),
        }
    }

    fn enter_egress(&mut self, frame: &mut Frame<'_>, key: u32) {
        let datapath = &self.model.datapaths[frame.at.dp];
        let inport = frame.packet.get(field::INPORT) as u32;
        if datapath.ports.contains_key(&key) {
            if key == inport && frame.packet.get(field::FLAGS_LOOPBACK) == 0 {
                frame.output("/* omitting output because inport == outport && !flags.loopback */");
                self.fates
                    .push(Fate::Reflected(self.port_name(frame.at.dp, key)));
                return;
            }
            let mut before = Vec::new();
            if let Some(node) =
                self.egress(frame.at.dp, frame.packet, key, Kind::Pipeline, &mut before)
            {
                frame.nodes.append(&mut before);
                frame.nodes.push(node);
            } else {
                frame.nodes.append(&mut before);
            }
            return;
        }
        let Some((name, members)) = datapath.groups.get(&key) else {
            frame.notice(format!("*** unknown port or multicast group {key}"));
            self.fates.push(Fate::Nowhere(self.place(frame.at, None)));
            return;
        };
        let title = format!(
            "multicast(dp=\"{}\", mcgroup=\"{name}\")",
            datapath.friendly
        );
        let mut copies = Vec::new();
        for member in members {
            if let Some(node) = self.egress(
                frame.at.dp,
                frame.packet,
                *member,
                Kind::Member,
                &mut Vec::new(),
            ) {
                copies.push(node);
            }
        }
        frame.nodes.push(Node::new(Kind::Pipeline, title, copies));
    }

    /// A copy of the packet goes through the egress pipeline to a port.
    fn egress(
        &mut self,
        dp: usize,
        packet: &Packet,
        key: u32,
        kind: Kind,
        remarks: &mut Vec<Node>,
    ) -> Option<Node> {
        let datapath = &self.model.datapaths[dp];
        let port = datapath.ports.get(&key)?;
        let mut key = key;
        if &*port.type_ == "chassisredirect" {
            let distributed = port.distributed.as_deref();
            let found = distributed
                .and_then(|name| datapath.ports.iter().find(|(_, port)| &*port.name == name));
            match found {
                Some((to, real)) => {
                    remarks.push(Node::leaf(
                        Kind::Output,
                        format!(
                            "/* Replacing type \"{}\" outport \"{}\" with distributed port \"{}\". */",
                            port.type_, port.friendly, real.friendly
                        ),
                    ));
                    key = *to;
                }
                None => {
                    let (type_, name) = (&port.type_, &port.friendly);
                    let text = format!(
                        "*** output to type \"{type_}\" port \"{name}\" with no or invalid distributed port"
                    );
                    remarks.push(Node::leaf(Kind::Notice, text));
                    let at = At {
                        dp,
                        pipeline: Pipeline::Ingress,
                        table: 0,
                    };
                    self.fates.push(Fate::Nowhere(self.place(at, None)));
                    return None;
                }
            }
        }
        let inport = packet.get(field::INPORT) as u32;
        let title = format!(
            "egress(dp=\"{}\", inport=\"{}\", outport=\"{}\")",
            datapath.friendly,
            self.port_name(dp, inport),
            self.port_name(dp, key)
        );
        let mut nodes = Vec::new();
        if key == inport && packet.get(field::FLAGS_LOOPBACK) == 0 {
            let text = "/* omitting output because inport == outport && !flags.loopback */";
            nodes.push(Node::leaf(Kind::Output, text));
            self.fates.push(Fate::Reflected(self.port_name(dp, key)));
            return Some(Node::new(Kind::Pipeline, title, nodes));
        }
        let mut copy = packet.clone();
        for reg in 0..10 {
            copy.write(OfField::Reg(reg), 0);
        }
        copy.set(field::OUTPORT, key.into());
        self.table(
            At {
                dp,
                pipeline: Pipeline::Egress,
                table: 0,
            },
            &mut copy,
            &mut nodes,
        );
        Some(Node::new(kind, title, nodes))
    }

    /// The packet leaves the datapath by a port.
    fn deliver(&mut self, frame: &mut Frame<'_>, key: u32) {
        let datapath = &self.model.datapaths[frame.at.dp];
        let Some(port) = datapath.ports.get(&key) else {
            frame.notice(format!("*** unknown port or multicast group {key}"));
            self.fates.push(Fate::Nowhere(self.place(frame.at, None)));
            return;
        };
        frame.output(format!(
            "/* output to \"{}\", type \"{}\" */",
            port.friendly, port.type_
        ));
        let Some((dp, peer)) = self.model.peer(port) else {
            frame.effect(format!("output(\"{}\")", port.friendly));
            self.fates.push(Fate::Delivered {
                port: port.friendly.clone(),
                type_: port.type_.to_string(),
            });
            return;
        };
        let mut packet = frame.packet.clone();
        for reg in 0..10 {
            packet.write(OfField::Reg(reg), 0);
        }
        packet.write(OfField::Reg(10), 0);
        packet.set(field::INPORT, peer.into());
        packet.set(field::OUTPORT, 0);
        let node = self.ingress(dp, &mut packet);
        frame.nodes.push(node);
    }

    /// What happens to a packet that was made or changed: steps below a title of their own.
    pub(super) fn transformed(
        &mut self,
        frame: &mut Frame<'_>,
        title: String,
        packet: &mut Packet,
        then: impl FnOnce(&mut Self, &mut Frame<'_>),
    ) {
        let mut nodes = Vec::new();
        let mut stack = frame.stack.clone();
        let mut inner = Frame {
            at: frame.at,
            packet,
            stack: &mut stack,
            nodes: &mut nodes,
            went: false,
        };
        then(self, &mut inner);
        frame.went |= inner.went;
        frame
            .nodes
            .push(Node::new(Kind::Transformation, title, nodes));
    }

    /// `flow_text::flow` of the packet in hand.
    pub(super) fn flow_text(frame: &Frame<'_>) -> String {
        flow_text::flow(frame.packet)
    }
}
