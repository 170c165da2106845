//! DHCPv6 messages (RFC 8415) as far as a client needs them to be given a prefix (section 6.3).

use std::net::Ipv6Addr;

use crate::{ParseError, array};

const WHAT: &str = "DHCPv6";

/// Types of messages.
pub mod kind {
    /// Who gives prefixes?
    pub const SOLICIT: u8 = 1;
    /// I do.
    pub const ADVERTISE: u8 = 2;
    /// Give me this one.
    pub const REQUEST: u8 = 3;
    /// I would like to keep it, to who gave it.
    pub const RENEW: u8 = 5;
    /// I would like to keep it, to anybody.
    pub const REBIND: u8 = 6;
    /// The answer to the last three, and to the next.
    pub const REPLY: u8 = 7;
    /// I do not need it any more.
    pub const RELEASE: u8 = 8;
}

/// Status codes (section 21.13).
pub mod status {
    /// Done.
    pub const SUCCESS: u16 = 0;
    /// The server knows of no such prefix.
    pub const NO_BINDING: u16 = 3;
    /// The server has none to give.
    pub const NO_PREFIX: u16 = 6;
}

/// Options.
mod option {
    pub const CLIENT: u16 = 1;
    pub const SERVER: u16 = 2;
    pub const ELAPSED: u16 = 8;
    pub const STATUS: u16 = 13;
    pub const IA_PD: u16 = 25;
    pub const IA_PREFIX: u16 = 26;
}

/// A prefix that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Seconds it is preferred.
    pub preferred: u32,
    /// Seconds it is valid; all ones for ever.
    pub valid: u32,
    /// Bits, at most 128.
    pub len: u8,
    /// The prefix.
    pub prefix: Ipv6Addr,
}

/// Prefixes for one purpose of a client (an "identity association").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// The client's number for it.
    pub id: u32,
    /// Seconds until the client should ask who gave them; 0 leaves it to the client.
    pub t1: u32,
    /// Seconds until it should ask anybody.
    pub t2: u32,
    /// One of [`status`], or another.
    pub status: u16,
    /// The prefixes.
    pub prefixes: Vec<Prefix>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// One of [`kind`], or another.
    pub kind: u8,
    /// Goes back in the answer.
    pub transaction: [u8; 3],
    /// Who the client is (DUID).
    pub client: Vec<u8>,
    /// Who the server is (DUID), empty for any.
    pub server: Vec<u8>,
    /// Hundredths of a second since the exchange began; of messages that are written only.
    pub elapsed: Option<u16>,
    /// Of the whole message.
    pub status: u16,
    /// What it is about.
    pub associations: Vec<Association>,
}

/// Options one after the other: type and content.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), ParseError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let mut next = || {
            let kind = u16::from_be_bytes(array(bytes, 0, WHAT)?);
            let len = usize::from(u16::from_be_bytes(array(bytes, 2, WHAT)?));
            let content = bytes.get(4..4 + len).ok_or(ParseError::Short(WHAT))?;
            bytes = &bytes[4 + len..];
            Ok((kind, content))
        };
        let item = next();
        if item.is_err() {
            bytes = &[];
        }
        Some(item)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ParseError> {
    array(bytes, at, WHAT).map(u32::from_be_bytes)
}

fn status_of(content: &[u8]) -> Result<u16, ParseError> {
    array(content, 0, WHAT).map(u16::from_be_bytes)
}

impl Message {
    /// Reads a datagram between client and server. Options that have nothing to do with prefixes are skipped.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(payload: &[u8]) -> Result<Message, ParseError> {
        let [kind, a, b, c] = array::<4>(payload, 0, WHAT)?;
        let mut out = Message {
            kind,
            transaction: [a, b, c],
            ..Message::default()
        };
        for item in options(&payload[4..]) {
            match item? {
                (option::CLIENT, duid) => out.client = duid.to_vec(),
                (option::SERVER, duid) => out.server = duid.to_vec(),
                (option::STATUS, content) => out.status = status_of(content)?,
                (option::IA_PD, content) => out.associations.push(Association::parse(content)?),
                _ => {}
            }
        }
        Ok(out)
    }

    /// The payload of the datagram.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let [a, b, c] = self.transaction;
        let mut out = vec![self.kind, a, b, c];
        put(&mut out, option::CLIENT, &self.client);
        if !self.server.is_empty() {
            put(&mut out, option::SERVER, &self.server);
        }
        if let Some(elapsed) = self.elapsed {
            put(&mut out, option::ELAPSED, &elapsed.to_be_bytes());
        }
        if self.status != status::SUCCESS {
            put(&mut out, option::STATUS, &self.status.to_be_bytes());
        }
        for association in &self.associations {
            put(&mut out, option::IA_PD, &association.to_bytes());
        }
        out
    }
}

/// One option. Nothing here is longer than an option may be; what is would be cut.
fn put(out: &mut Vec<u8>, kind: u16, content: &[u8]) {
    let len = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&content[..len.into()]);
}

impl Association {
    fn parse(content: &[u8]) -> Result<Association, ParseError> {
        let mut out = Association {
            id: u32_at(content, 0)?,
            t1: u32_at(content, 4)?,
            t2: u32_at(content, 8)?,
            status: status::SUCCESS,
            prefixes: Vec::new(),
        };
        for item in options(&content[12..]) {
            match item? {
                (option::STATUS, content) => out.status = status_of(content)?,
                (option::IA_PREFIX, content) => {
                    let [len] = array::<1>(content, 8, WHAT)?;
                    if len > 128 {
                        return Err(ParseError::Malformed(WHAT));
                    }
                    out.prefixes.push(Prefix {
                        preferred: u32_at(content, 0)?,
                        valid: u32_at(content, 4)?,
                        len,
                        prefix: array::<16>(content, 9, WHAT)?.into(),
                    });
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.id, self.t1, self.t2] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for prefix in &self.prefixes {
            let mut content = Vec::with_capacity(25);
            content.extend_from_slice(&prefix.preferred.to_be_bytes());
            content.extend_from_slice(&prefix.valid.to_be_bytes());
            content.push(prefix.len);
            content.extend_from_slice(&prefix.prefix.octets());
            put(&mut out, option::IA_PREFIX, &content);
        }
        if self.status != status::SUCCESS {
            put(&mut out, option::STATUS, &self.status.to_be_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// What a real server (ISC 4.4.3) answered.
    const ADVERTISE: &str = "020000000019002900003fdc0000000a00000014001a00190000001e0000002840fd55000000000f0000000000000000000001000a000300010a000000ff020002000e00010001329484a60a0000000009";
    const REFUSAL: &str = "070000000001000a000300010a000000ff020002000e00010001329484a60a0000000009000d00200005556e6963617374206e6f7420616c6c6f776564206279207365727665722e";

    #[test]
    fn what_a_server_says() {
        let told = Message::parse(&hex(ADVERTISE)).unwrap();
        assert_eq!(told.kind, kind::ADVERTISE);
        assert_eq!(told.client, hex("000300010a000000ff02"));
        assert_eq!(told.server, hex("00010001329484a60a0000000009"));
        let [association] = &told.associations[..] else {
            panic!("{told:?}")
        };
        assert_eq!(
            (association.id, association.t1, association.t2),
            (0x3fdc, 10, 20)
        );
        let expected = Prefix {
            preferred: 30,
            valid: 40,
            len: 64,
            prefix: "fd55:0:0:f00::".parse().unwrap(),
        };
        assert_eq!(association.prefixes, [expected]);
        assert_eq!(Message::parse(&hex(REFUSAL)).unwrap().status, 5);
    }

    #[test]
    fn cut_messages_are_refused() {
        let whole = hex(ADVERTISE);
        // The last option, of 18 bytes, and the one before, of 14, may be missing as a whole.
        let ends = [4, 49, 63, 81];
        for len in 0..whole.len() {
            assert_eq!(
                Message::parse(&whole[..len]).is_ok(),
                ends.contains(&len),
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(kind: u8, transaction: [u8; 3], client: Vec<u8>, server: Vec<u8>, status: u16,
            ids in proptest::collection::vec(any::<(u32, u32, u32, u16)>(), 0..3),
            prefixes in proptest::collection::vec(any::<(u32, u32, [u8; 16])>(), 0..3), len in 0..=128u8)
        {
            let prefixes: Vec<Prefix> = prefixes
                .into_iter()
                .map(|(preferred, valid, prefix)| Prefix { preferred, valid, len, prefix: prefix.into() })
                .collect();
            let associations = ids
                .into_iter()
                .map(|(id, t1, t2, status)| Association { id, t1, t2, status, prefixes: prefixes.clone() })
                .collect();
            let message = Message { kind, transaction, client, server, elapsed: None, status, associations };
            prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = Message::parse(&bytes);
        }
    }
}
