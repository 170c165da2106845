//! Many messages at once: bundles, and messages one by one whose errors are looked at together.
//!
//! Their transaction ids follow each other, so that an error finds its message by subtraction: nothing is kept for a message
//! that nothing is wrong with, of which there may be hundreds of thousands.

use std::borrow::Cow;

use super::{Conn, ConnError};
use crate::message::{BUNDLE_FLAGS, BundleStep, Message, OfError};
use crate::wire::EncodeError;

/// Bytes handed to the writer at a time.
const CHUNK: usize = 32 * 1024;

/// Bundles tried before the rest is sent singly.
const ATTEMPTS: usize = 8;

/// What can be sent as a message. Where hundreds of thousands are sent at once, something smaller can stand for each: the
/// message itself exists while it is written.
pub trait ToMessage {
    /// The message.
    fn to_message(&self) -> Cow<'_, Message>;
}

impl ToMessage for Message {
    fn to_message(&self) -> Cow<'_, Message> {
        Cow::Borrowed(self)
    }
}

/// Why a bundle failed. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// These messages (indexes into what was given) were refused.
    #[error("{} of the bundle's messages were refused, first number {}: {}", .0.len(), .0[0].0, .0[0].1)]
    Refused(Vec<(usize, ConnError)>),
    /// The bundle as a whole failed.
    #[error(transparent)]
    Conn(#[from] ConnError),
}

/// Messages on their way, with the errors that came of them.
#[derive(Debug)]
pub(super) struct Collected {
    first: u32,
    count: u32,
    /// By the place of the message among them.
    pub errors: Vec<(usize, OfError)>,
}

impl Collected {
    /// The place of the message with that id.
    pub fn offset(&self, xid: u32) -> Option<usize> {
        let at = xid.checked_sub(self.first)?;
        (at < self.count).then_some(at as usize)
    }
}

impl Conn {
    /// Does all of the messages (flow-mods, group-mods, packet-outs) or none, in their order. Open vSwitch takes no
    /// meter-mods in bundles: send those with [`Conn::send_all`] before.
    ///
    /// # Errors
    /// [`BundleError::Refused`] names the messages the switch refused; it finds all that are malformed, but only the first
    /// that fails in execution (a missing group, say).
    pub async fn send_bundle<M: ToMessage>(&self, messages: &[M]) -> Result<(), BundleError> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut bundle = self.open_bundle().await?;
        bundle.add(messages).await?;
        bundle.commit().await
    }

    /// Opens a bundle to be filled bit by bit. Open vSwitch forgets one to which nothing is added for ten seconds.
    ///
    /// # Errors
    /// As [`Conn::send_bundle`].
    pub async fn open_bundle(&self) -> Result<Bundle, ConnError> {
        let id = self.xid();
        self.bundle_step(id, BundleStep::OpenRequest).await?;
        Ok(Bundle {
            conn: self.clone(),
            id,
            count: 0,
            blocks: Vec::new(),
            unwritable: Vec::new(),
        })
    }

    async fn bundle_step(&self, bundle: u32, step: BundleStep) -> Result<(), ConnError> {
        match self
            .request(Message::BundleControl {
                bundle,
                step,
                flags: BUNDLE_FLAGS,
            })
            .await?
        {
            Message::BundleControl { step: reply, .. } if reply as u16 == step as u16 + 1 => Ok(()),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Sends the messages one by one and waits until all are done. Returns those the switch refused.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn send_all<M: ToMessage>(
        &self,
        messages: &[M],
    ) -> Result<Vec<(usize, ConnError)>, ConnError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.collect(messages.len());
        let sent = self
            .write_all(messages, first, |message, xid, out| {
                message.encode(xid, out)
            })
            .await;
        let barrier = self.barrier().await;
        let mut refused = self.collected(first);
        refused.extend(sent?);
        barrier?;
        refused.sort_by_key(|(i, _)| *i);
        Ok(refused)
    }

    /// Does the messages in bundles, leaving out those the switch refuses; returns these. What is left is done in one
    /// atomic bundle; when many are refused one after the other, the rest are sent singly.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn install<M: ToMessage>(
        &self,
        messages: Vec<M>,
    ) -> Result<Vec<(M, ConnError)>, ConnError> {
        let mut rest = messages;
        let mut refused = Vec::new();
        for _ in 0..ATTEMPTS {
            match self.send_bundle(&rest).await {
                Ok(()) => return Ok(refused),
                Err(BundleError::Conn(e)) => return Err(e),
                Err(BundleError::Refused(bad)) => rest = take_out(rest, bad, &mut refused),
            }
        }
        let bad = self.send_all(&rest).await?;
        take_out(rest, bad, &mut refused);
        Ok(refused)
    }

    /// Writes messages in chunks under the ids from `first` on. Returns those that cannot be written.
    async fn write_all<M: ToMessage>(
        &self,
        messages: &[M],
        first: u32,
        encode: impl Fn(&Message, u32, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Vec<(usize, ConnError)>, ConnError> {
        let mut unwritable = Vec::new();
        let mut bytes = Vec::with_capacity(CHUNK.min(messages.len() * 128));
        for ((i, message), xid) in messages.iter().enumerate().zip(first..) {
            if let Err(e) = encode(&message.to_message(), xid, &mut bytes) {
                unwritable.push((i, e.into()));
                continue;
            }
            if bytes.len() >= CHUNK {
                self.write(std::mem::replace(&mut bytes, Vec::with_capacity(CHUNK)))
                    .await?;
            }
        }
        self.write(bytes).await?;
        Ok(unwritable)
    }

    /// Takes ids for as many messages and begins to collect their errors; returns the first id.
    fn collect(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX - 1);
        let first = self.xids(count);
        self.shared.pending().collecting.push(Collected {
            first,
            count,
            errors: Vec::new(),
        });
        first
    }

    /// Stops collecting; the first error of each message that had one.
    fn collected(&self, first: u32) -> Vec<(usize, ConnError)> {
        let mut pending = self.shared.pending();
        let Some(at) = pending.collecting.iter().position(|b| b.first == first) else {
            return Vec::new();
        };
        let mut errors = pending.collecting.swap_remove(at).errors;
        errors.sort_by_key(|(i, _)| *i);
        errors.dedup_by_key(|(i, _)| *i);
        errors.into_iter().map(|(i, e)| (i, e.into())).collect()
    }
}

/// An open bundle. Nothing of it is done before [`Bundle::commit`], and nothing at all if that is not called.
#[derive(Debug)]
pub struct Bundle {
    conn: Conn,
    id: u32,
    /// Messages so far.
    count: usize,
    /// First transaction id of the messages added at once, and the place of the first.
    blocks: Vec<(u32, usize)>,
    /// Messages that cannot be written, by place.
    unwritable: Vec<(usize, ConnError)>,
}

impl Bundle {
    /// Adds messages after those there are. What is wrong with them is told by [`Bundle::commit`].
    ///
    /// # Errors
    /// A broken connection.
    pub async fn add<M: ToMessage>(&mut self, messages: &[M]) -> Result<(), ConnError> {
        let first = self.conn.collect(messages.len());
        self.blocks.push((first, self.count));
        let add = |message: &Message, xid: u32, out: &mut Vec<u8>| {
            // The bundle borrows the message for as long as it takes to write it.
            crate::message::encode_bundle_add(self.id, BUNDLE_FLAGS, message, xid, out)
        };
        let unwritable = self.conn.write_all(messages, first, add).await?;
        let place = |(at, why)| (self.count + at, why);
        self.unwritable.extend(unwritable.into_iter().map(place));
        self.count += messages.len();
        Ok(())
    }

    /// Does all of the messages, or none.
    ///
    /// # Errors
    /// As [`Conn::send_bundle`].
    pub async fn commit(mut self) -> Result<(), BundleError> {
        self.conn.barrier().await?;
        if self.has_errors() || !self.unwritable.is_empty() {
            // Open vSwitch may have given it up already.
            let discard = self.conn.bundle_step(self.id, BundleStep::DiscardRequest);
            drop(discard.await);
            let mut refused = self.take_errors();
            refused.append(&mut self.unwritable);
            refused.sort_by_key(|(place, _)| *place);
            return Err(BundleError::Refused(refused));
        }
        let commit = self.conn.bundle_step(self.id, BundleStep::CommitRequest);
        let outcome = commit.await;
        let refused = self.take_errors();
        match outcome {
            _ if !refused.is_empty() => Err(BundleError::Refused(refused)),
            outcome => Ok(outcome?),
        }
    }

    fn has_errors(&self) -> bool {
        let pending = self.conn.shared.pending();
        let mut blocks = pending.collecting.iter();
        blocks.any(|block| {
            !block.errors.is_empty() && self.blocks.iter().any(|(first, _)| *first == block.first)
        })
    }

    /// Stops collecting errors; those there were, by place.
    fn take_errors(&mut self) -> Vec<(usize, ConnError)> {
        let mut errors = Vec::new();
        for (first, before) in std::mem::take(&mut self.blocks) {
            let block = self.conn.collected(first).into_iter();
            errors.extend(block.map(|(at, why)| (before + at, why)));
        }
        errors
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.take_errors();
    }
}

/// Moves the messages at these places, which are in order, to `refused`; returns the others.
fn take_out<M>(
    messages: Vec<M>,
    bad: Vec<(usize, ConnError)>,
    refused: &mut Vec<(M, ConnError)>,
) -> Vec<M> {
    let mut bad = bad.into_iter().peekable();
    let mut rest = Vec::with_capacity(messages.len());
    for (i, message) in messages.into_iter().enumerate() {
        match bad.next_if(|(at, _)| *at == i) {
            Some((_, error)) => refused.push((message, error)),
            None => rest.push(message),
        }
    }
    rest
}
