//! `trigger_event(...)`: rows of Controller_Event, by which whoever runs the network learns that somebody asks for a
//! load balancer without backends.
//!
//! Guarantees: while a row about the same thing stands, no other is made; it is the reader's to delete.

use indexmap::IndexSet;
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use crate::core::Core;

/// Events that may wait to be written.
const PENDING: usize = 1_000;

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Event {
    kind: Str,
    info: Map<Str, Str>,
}

impl Event {
    /// From what `trigger_event` puts into user data: texts with their lengths, the kind first, then names and values.
    fn parse(mut params: &[u8]) -> Option<Event> {
        let mut texts = Vec::new();
        while !params.is_empty() {
            let len = usize::from(u16::from_be_bytes(params.get(..2)?.try_into().ok()?));
            let text = std::str::from_utf8(params.get(2..2 + len)?).ok()?;
            texts.push(Str::from(text));
            params = &params[2 + len..];
        }
        let (kind, rest) = texts.split_first()?;
        if rest.len() % 2 != 0 {
            return None;
        }
        let pairs = rest
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()));
        Some(Event {
            kind: kind.clone(),
            info: pairs.collect(),
        })
    }
}

/// Events that wait to be written.
#[derive(Debug, Default)]
pub struct Events {
    pending: IndexSet<Event>,
    under_way: bool,
    number: i64,
}

impl Events {
    /// Takes note; false if it cannot be read or there is no room.
    pub(super) fn note(&mut self, params: &[u8]) -> bool {
        let Some(event) = Event::parse(params) else {
            return false;
        };
        if self.pending.len() >= PENDING && !self.pending.contains(&event) {
            return false;
        }
        self.pending.insert(event);
        true
    }

    /// Rows for what nobody has been told yet.
    pub(super) fn write(&mut self, core: &Core, txn: &mut Txn) {
        if self.pending.is_empty() {
            return;
        }
        let Some(chassis) = core.me().and_then(|me| me.chassis) else {
            return;
        };
        let told = |event: &Event| {
            let mut rows = core.inputs.sb.controller_event.iter();
            rows.any(|(_, row)| {
                row.chassis == Some(chassis)
                    && row.event_type == event.kind
                    && row.event_info == event.info
            })
        };
        self.pending.retain(|event| !told(event));
        let numbers = core.inputs.sb.controller_event.iter();
        let numbers = numbers
            .filter(|(_, row)| row.chassis == Some(chassis))
            .map(|(_, row)| row.seq_num);
        self.number = numbers.max().unwrap_or(0).max(self.number);
        for event in &self.pending {
            use sb::controller_event as c;
            self.number += 1;
            let row = sb::ControllerEvent {
                event_type: event.kind.clone(),
                event_info: event.info.clone(),
                chassis: Some(chassis),
                seq_num: self.number,
            };
            txn.insert(
                &row,
                c::EVENT_TYPE | c::EVENT_INFO | c::CHASSIS | c::SEQ_NUM,
                Uuid::random(),
            );
            self.under_way = true;
        }
    }

    /// How it went.
    pub(super) fn written(&mut self, done: bool) {
        if std::mem::take(&mut self.under_way) && done {
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_action_says_is_read() {
        let mut params = Vec::new();
        for text in ["empty_lb_backends", "vip", "10.0.0.1:80", "protocol", "tcp"] {
            params.extend((text.len() as u16).to_be_bytes());
            params.extend(text.bytes());
        }
        let event = Event::parse(&params).unwrap();
        assert_eq!(&*event.kind, "empty_lb_backends");
        assert_eq!(event.info.get("vip").map(|v| &**v), Some("10.0.0.1:80"));
        assert_eq!(event.info.len(), 2);
        assert_eq!(Event::parse(&params[..params.len() - 1]), None);
        let mut events = Events::default();
        assert!(events.note(&params) && events.note(&params));
        assert_eq!(events.pending.len(), 1);
    }
}
