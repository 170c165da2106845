//! [`ActionList`]: actions kept as their wire bytes.

use std::fmt;
use std::sync::Arc;

use super::Action;
use super::decode::decode_action;
use crate::wire::{DecodeError, Reader};

/// A sequence of actions in wire form: small to keep, quick to compare, hash and send. Equal lists of actions have
/// equal bytes, and equal the bytes Open vSwitch gives back when the flow is read. Copies share the bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionList {
    wire: Arc<Vec<u8>>,
}

impl ActionList {
    /// The empty list: the packet is dropped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an action.
    pub fn push(&mut self, action: &Action) {
        super::encode::encode_action(action, Arc::make_mut(&mut self.wire));
    }

    /// Appends another list.
    pub fn append(&mut self, other: &ActionList) {
        Arc::make_mut(&mut self.wire).extend_from_slice(&other.wire);
    }

    /// Whether there is no action.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty()
    }

    /// The wire bytes, always a multiple of eight.
    #[must_use]
    pub fn wire_bytes(&self) -> &[u8] {
        &self.wire
    }

    /// The actions.
    pub fn iter(&self) -> impl Iterator<Item = Action> + '_ {
        let mut reader = Reader::new(&self.wire, "actions");
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            // Every byte came from `push` or passed `from_wire`.
            decode_action(&mut reader, 0).ok()
        })
    }

    /// Reads actions, putting them into this crate's canonical form.
    ///
    /// # Errors
    /// When the framing of an action is broken. Actions of unknown kinds are kept as they are.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_wire_nested(bytes, 0)
    }

    pub(super) fn from_wire_nested(bytes: &[u8], depth: u8) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "actions");
        let mut out = Self {
            wire: Arc::new(Vec::with_capacity(bytes.len())),
        };
        while !reader.is_empty() {
            out.push(&decode_action(&mut reader, depth)?);
        }
        Ok(out)
    }
}

impl FromIterator<Action> for ActionList {
    fn from_iter<I: IntoIterator<Item = Action>>(iter: I) -> Self {
        let mut out = Self::new();
        for action in iter {
            out.push(&action);
        }
        Arc::make_mut(&mut out.wire).shrink_to_fit();
        out
    }
}

impl<const N: usize> From<[Action; N]> for ActionList {
    fn from(actions: [Action; N]) -> Self {
        actions.into_iter().collect()
    }
}

impl From<&[Action]> for ActionList {
    fn from(actions: &[Action]) -> Self {
        let mut out = Self::new();
        for action in actions {
            out.push(action);
        }
        Arc::make_mut(&mut out.wire).shrink_to_fit();
        out
    }
}

impl fmt::Debug for ActionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActionList({self})")
    }
}

impl fmt::Display for ActionList {
    /// As in `ovs-ofctl dump-flows`: comma-separated, `drop` when empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::display::write_actions(f, self)
    }
}
