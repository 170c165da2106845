//! A flow table as Open vSwitch reads it, conjunctive matches included (ovs-fields(7)).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use weft_controller::install::{Batch, FlowKey};
use weft_lang::OfField;
use weft_lang::packet::{FieldReader, Packet};
use weft_openflow::{Action, Field, FlowCommand, Message, ToMessage};

/// What a flow does, as far as it matters here.
#[derive(Debug)]
enum Does {
    /// It decides: its cookie.
    Decides(u64),
    /// Clauses it meets: of which, which one, of how many.
    Meets(Vec<(u32, u8, u8)>),
}

/// One OpenFlow table.
#[derive(Debug, Default)]
pub struct FlowTable {
    flows: BTreeMap<FlowKey, Does>,
}

impl FlowTable {
    /// Does what is sent to the bridge, for `table` only; how many messages were about it.
    pub fn take(&mut self, batch: &Batch, table: u8) -> usize {
        let mut count = 0;
        for step in &batch.bundle {
            let Message::FlowMod(flow) = step.to_message().into_owned() else {
                continue;
            };
            if flow.table != table {
                continue;
            }
            count += 1;
            let key = FlowKey {
                table,
                priority: flow.priority,
                matches: flow.matching.clone(),
            };
            if flow.command == FlowCommand::DeleteStrict {
                assert!(self.flows.remove(&key).is_some(), "{key:?} was not there");
                continue;
            }
            let clauses: Vec<(u32, u8, u8)> = flow
                .instructions
                .apply
                .iter()
                .filter_map(|action| match action {
                    Action::Conjunction {
                        id,
                        clause,
                        n_clauses,
                    } => Some((id, clause, n_clauses)),
                    _ => None,
                })
                .collect();
            let does = if clauses.is_empty() {
                Does::Decides(flow.cookie)
            } else {
                Does::Meets(clauses)
            };
            self.flows.insert(key, does);
        }
        count
    }

    /// Cookies of flows that may decide about a packet: several only if they have the same priority.
    pub fn decide(&self, packet: &Packet) -> Vec<u64> {
        let hits: Vec<(&FlowKey, &Does)> = self
            .flows
            .iter()
            .filter(|(key, _)| hit(key, packet))
            .collect();
        let mut priorities: Vec<u16> = hits.iter().map(|(key, _)| key.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        for priority in priorities {
            let here = || hits.iter().filter(|(key, _)| key.priority == priority);
            let met: Vec<(u32, u8, u8)> = here()
                .filter_map(|(_, does)| match does {
                    Does::Meets(clauses) => Some(clauses),
                    Does::Decides(_) => None,
                })
                .flatten()
                .copied()
                .collect();
            let whole = |id: u32| {
                let of: Vec<&(u32, u8, u8)> = met.iter().filter(|clause| clause.0 == id).collect();
                of.first().is_some_and(|(_, _, n)| {
                    (1..=*n).all(|clause| of.iter().any(|(_, met, _)| *met == clause))
                })
            };
            let deciding: Vec<u64> = here()
                .filter_map(|(key, does)| match does {
                    Does::Decides(cookie) => match key.matches.exact(Field::ConjId) {
                        Some(id) => whole(id as u32).then_some(*cookie),
                        None => Some(*cookie),
                    },
                    Does::Meets(_) => None,
                })
                .collect();
            if !deciding.is_empty() {
                return deciding;
            }
        }
        Vec::new()
    }

    /// How many flows are conjunctive.
    pub fn conjunctive(&self) -> usize {
        let meets = |does: &&Does| matches!(does, Does::Meets(_));
        self.flows.values().filter(meets).count()
    }
}

fn hit(key: &FlowKey, packet: &Packet) -> bool {
    key.matches.iter().all(|bits| match bits.field {
        Field::ConjId | Field::Metadata => true,
        field => read(packet, field) & bits.mask == bits.value,
    })
}

/// The value of an OpenFlow field in a packet of the language.
fn read(packet: &Packet, field: Field) -> u128 {
    static KNOWN: LazyLock<BTreeMap<Field, OfField>> = LazyLock::new(|| {
        let named = OfField::NAMED.iter().copied();
        let named = named.filter_map(|of| Some((Field::from_name(of.name())?, of)));
        let registers = (0..16).map(|n| (Field::reg(n), OfField::Reg(n)));
        named.chain(registers).collect()
    });
    let of = KNOWN.get(&field);
    packet.read(*of.unwrap_or_else(|| panic!("{field:?} is no field of a packet")))
}
