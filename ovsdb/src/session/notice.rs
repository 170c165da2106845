//! Updates of monitored tables, read straight into typed rows.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::model::{Database, RowFormat, UpdatesSeed, Uuid};

/// Identifier of the monitor of the database itself.
pub(super) const DATA: &str = "weft";
/// Identifier of the monitor of `_Server`.
pub(super) const SERVER: &str = "weft-server";

/// Three ways to monitor, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `monitor_cond_since` and `update3`.
    Since,
    /// `monitor_cond` and `update2`.
    Cond,
    /// `monitor` and `update`.
    Plain,
}

impl Protocol {
    pub(super) fn method(self) -> &'static str {
        match self {
            Protocol::Since => "monitor_cond_since",
            Protocol::Cond => "monitor_cond",
            Protocol::Plain => "monitor",
        }
    }

    /// What to try if the server does not know this one.
    pub(super) fn older(self) -> Option<Protocol> {
        match self {
            Protocol::Since => Some(Protocol::Cond),
            Protocol::Cond => Some(Protocol::Plain),
            Protocol::Plain => None,
        }
    }

    /// By the name of a notification.
    pub(super) fn of_notification(method: &str) -> Option<Protocol> {
        match method {
            "update3" => Some(Protocol::Since),
            "update2" => Some(Protocol::Cond),
            "update" => Some(Protocol::Plain),
            _ => None,
        }
    }

    fn format(self) -> RowFormat {
        match self {
            Protocol::Plain => RowFormat::V1,
            Protocol::Since | Protocol::Cond => RowFormat::V2,
        }
    }
}

/// What a notification or a reply to a monitor request holds.
pub(super) enum Notice<D: Database> {
    /// Of the monitored database.
    Data {
        /// The server knew where we had been: only what came after follows.
        resumed: bool,
        /// The latest transaction included; zero if the server numbers none.
        last: Uuid,
        /// Rows.
        updates: Vec<D::Update>,
    },
    /// Of `_Server`.
    Server(Json),
    /// Of a monitor that is none of ours.
    Foreign,
}

/// Reads the parameters of `update`, `update2`, `update3`.
pub(super) fn notification<D: Database>(
    protocol: Protocol,
    params: &RawValue,
) -> serde_json::Result<Notice<D>> {
    let seed = Seed {
        protocol,
        reply: false,
        database: PhantomData,
    };
    seed.deserialize(&mut serde_json::Deserializer::from_str(params.get()))
}

/// Reads the result of a monitor request.
pub(super) fn reply<D: Database>(
    protocol: Protocol,
    result: &RawValue,
) -> serde_json::Result<Notice<D>> {
    let mut text = serde_json::Deserializer::from_str(result.get());
    if protocol == Protocol::Since {
        return Seed {
            protocol,
            reply: true,
            database: PhantomData,
        }
        .deserialize(&mut text);
    }
    let updates = UpdatesSeed::<D>::new(protocol.format()).deserialize(&mut text)?;
    Ok(Notice::Data {
        resumed: false,
        last: Uuid::ZERO,
        updates,
    })
}

/// `[<id>, <updates>]`, `[<id>, <last-txn-id>, <updates>]` or `[<found>, <last-txn-id>, <updates>]`.
struct Seed<D> {
    protocol: Protocol,
    reply: bool,
    database: PhantomData<D>,
}

impl<'de, D: Database> DeserializeSeed<'de> for Seed<D> {
    type Value = Notice<D>;
    fn deserialize<De: Deserializer<'de>>(
        self,
        deserializer: De,
    ) -> Result<Self::Value, De::Error> {
        deserializer.deserialize_seq(self)
    }
}

fn member<'de, T: de::Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    what: &'static str,
) -> Result<T, A::Error> {
    seq.next_element()?
        .ok_or_else(|| de::Error::custom(format_args!("{what} is missing")))
}

impl<'de, D: Database> Visitor<'de> for Seed<D> {
    type Value = Notice<D>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("updates of a monitor")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut resumed = false;
        if self.reply {
            resumed = member(&mut seq, "whether the transaction was found")?;
        } else {
            let id: Json = member(&mut seq, "the monitor's identifier")?;
            match id.as_str() {
                Some(DATA) => {}
                Some(SERVER) => return Ok(Notice::Server(member(&mut seq, "updates")?)),
                _ => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Notice::Foreign);
                }
            }
        }
        let mut last = Uuid::ZERO;
        if self.protocol == Protocol::Since {
            let text: Cow<'_, str> = member(&mut seq, "the last transaction")?;
            last = text.parse().map_err(de::Error::custom)?;
        }
        let updates = seq.next_element_seed(UpdatesSeed::<D>::new(self.protocol.format()))?;
        let updates = updates.ok_or_else(|| de::Error::custom("updates are missing"))?;
        Ok(Notice::Data {
            resumed,
            last,
            updates,
        })
    }
}
