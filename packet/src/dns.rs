//! DNS questions and answers in UDP datagrams (RFC 1035; EDNS, RFC 6891), as far as telling addresses and names needs it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{ParseError, array};

const WHAT: &str = "DNS";

/// Types of records.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// The pseudo-record of EDNS.
    pub const OPT: u16 = 41;
    /// Whatever there is.
    pub const ANY: u16 = 255;
}

/// The class of all that is known here: the Internet.
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// Datagrams to those who do not speak EDNS (RFC 1035, section 2.3.4).
const PLAIN_SIZE: u16 = 512;
/// The largest datagram that is sent or asked for: one that fits in any packet without being fragmented.
const LARGEST: u16 = 1232;
/// Seconds for which what is told may be kept.
const TTL: u32 = 3600;
/// A pointer to the question's name, which follows the header (RFC 1035, section 4.1.4).
const POINTER: [u8; 2] = [0xc0, HEADER as u8];
const HEADER: usize = 12;

/// Bits of the second word of the header.
mod flag {
    pub const RESPONSE: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const AUTHORITY: u16 = 0x0400;
    pub const TRUNCATED: u16 = 0x0200;
    pub const RECURSION_DESIRED: u16 = 0x0100;
    pub const CHECKING_DISABLED: u16 = 0x0010;
}

/// What the asker says of itself by EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram it takes.
    pub size: u16,
    /// Version; only 0 is known.
    pub version: u8,
    /// It wants signatures.
    pub dnssec: bool,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// Tells questions of one asker apart.
    pub id: u16,
    /// Of the flags those that go into an answer.
    flags: u16,
    /// The section as it came: name, type, class.
    section: &'a [u8],
    /// One of [`kind`], or another.
    pub kind: u16,
    /// If it came with EDNS.
    pub edns: Option<Edns>,
}

impl<'a> Question<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is no query, or not one that could be answered with what is known here: one question, about the Internet,
    /// with nothing but EDNS beside it.
    pub fn parse(payload: &'a [u8]) -> Result<Question<'a>, ParseError> {
        let word = |at| array::<2>(payload, at, WHAT).map(u16::from_be_bytes);
        let (id, flags) = (word(0)?, word(2)?);
        if flags & (flag::RESPONSE | flag::OPCODE) != 0 {
            return Err(ParseError::Other("a DNS query"));
        }
        let (questions, others, additional) = (word(4)?, [word(6)?, word(8)?], word(10)?);
        if questions != 1 || others != [0, 0] || additional > 1 {
            return Err(ParseError::Other("a plain DNS question"));
        }
        let name = name_len(payload.get(HEADER..).unwrap_or_default())?;
        let end = HEADER + name + 4;
        let section = payload.get(HEADER..end).ok_or(ParseError::Short(WHAT))?;
        let (kind, class) = (word(end - 4)?, word(end - 2)?);
        if !matches!(class, CLASS_IN | CLASS_ANY) {
            return Err(ParseError::Other("a DNS question about the Internet"));
        }
        let rest = payload.get(end..).unwrap_or_default();
        let edns = match additional {
            0 => None,
            _ => Some(Edns::parse(rest)?),
        };
        if edns.is_none() && !rest.is_empty() {
            return Err(ParseError::Malformed(WHAT));
        }
        Ok(Question {
            id,
            flags: flags & (flag::RECURSION_DESIRED | flag::CHECKING_DISABLED),
            section,
            kind,
            edns,
        })
    }

    /// The name in lower case, without the final dot. None if it cannot be written so.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let mut out = String::new();
        let mut rest = self.name_bytes();
        while let Some((&len, after)) = rest.split_first().filter(|(len, _)| **len != 0) {
            let (label, after) = after.split_at_checked(len.into())?;
            let label = std::str::from_utf8(label).ok()?;
            if label.contains('.') {
                return None;
            }
            if !out.is_empty() {
                out.push('.');
            }
            out.extend(label.chars().map(|c| c.to_ascii_lowercase()));
            rest = after;
        }
        Some(out)
    }

    fn name_bytes(&self) -> &'a [u8] {
        &self.section[..self.section.len() - 4]
    }

    /// The payload of an answer with these records, all of them under the name that was asked for. If they are more than
    /// the asker takes, it has those that fit and says that there are more. Without any it says that the name has none of
    /// that type (RFC 2308, section 2.2).
    #[must_use]
    pub fn answer(&self, records: &[Record]) -> Vec<u8> {
        let (code, records) = match self.edns {
            Some(edns) if edns.version != 0 => (Code::BadVersion, &[][..]),
            _ => (Code::Ok, records),
        };
        let limit = self.edns.map_or(PLAIN_SIZE, |edns| edns.size);
        let limit = usize::from(limit.clamp(PLAIN_SIZE, LARGEST));
        let fixed = HEADER + self.section.len() + self.edns.map_or(0, |_| OPT_LEN);
        // As stock has it: the name in full, unless that is too much.
        let name = self.name_bytes();
        let len = |name: &[u8]| -> usize { records.iter().map(|r| name.len() + r.len()).sum() };
        let name = if fixed + len(name) <= limit {
            name
        } else {
            &POINTER
        };
        let mut body = Vec::new();
        let mut count = 0u16;
        for record in records {
            if fixed + body.len() + name.len() + record.len() > limit {
                break;
            }
            record.write(name, &mut body);
            count += 1;
        }
        let truncated = usize::from(count) < records.len();
        let mut out = Vec::with_capacity(fixed + body.len());
        // An empty answer of no authority is taken for a delegation (section 2.2.1 there), and the next server asked.
        let authority = records.is_empty() && code == Code::Ok;
        let flags = flag::RESPONSE
            | self.flags
            | if truncated { flag::TRUNCATED } else { 0 }
            | if authority { flag::AUTHORITY } else { 0 }
            | code as u16 & 0xf;
        let counts = [1, count, 0, u16::from(self.edns.is_some())];
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        counts
            .iter()
            .for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
        out.extend_from_slice(self.section);
        out.append(&mut body);
        if let Some(edns) = self.edns {
            edns.write_answer(code, &mut out);
        }
        out
    }
}

/// Bytes of the option record without options.
const OPT_LEN: usize = 11;
/// Bit of the option record by which its sender wants signatures (RFC 3225).
const DNSSEC_OK: u16 = 0x8000;

impl Edns {
    /// Reads the one record that a question may have beside itself.
    fn parse(bytes: &[u8]) -> Result<Edns, ParseError> {
        let word = |at| array::<2>(bytes, at, WHAT).map(u16::from_be_bytes);
        let [root] = array::<1>(bytes, 0, WHAT)?;
        if root != 0 || word(1)? != kind::OPT {
            return Err(ParseError::Other("EDNS"));
        }
        if bytes.len() != OPT_LEN + usize::from(word(9)?) {
            return Err(ParseError::Malformed(WHAT));
        }
        Ok(Edns {
            size: word(3)?,
            version: bytes[6],
            dnssec: word(7)? & DNSSEC_OK != 0,
        })
    }

    fn write_answer(self, code: Code, out: &mut Vec<u8>) {
        let flags = if self.dnssec { DNSSEC_OK } else { 0 };
        out.push(0);
        for word in [kind::OPT, LARGEST, code as u16 >> 4 << 8, flags, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// How a question went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Code {
    /// Well.
    Ok = 0,
    /// It is asked in a newer way than known.
    BadVersion = 16,
}

/// Something told of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    A(Ipv4Addr),
    /// An address.
    Aaaa(Ipv6Addr),
    /// A name.
    Ptr(Name),
}

impl Record {
    /// Whether it is what a question of that type asks for.
    #[must_use]
    pub fn is_of(&self, kind: u16) -> bool {
        kind == kind::ANY || kind == self.kind()
    }

    fn kind(&self) -> u16 {
        match self {
            Record::A(_) => kind::A,
            Record::Aaaa(_) => kind::AAAA,
            Record::Ptr(_) => kind::PTR,
        }
    }

    /// Bytes, without its owner's name.
    fn len(&self) -> usize {
        10 + match self {
            Record::A(_) => 4,
            Record::Aaaa(_) => 16,
            Record::Ptr(name) => name.0.len(),
        }
    }

    fn write(&self, owner: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(owner);
        for word in [self.kind(), CLASS_IN] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&TTL.to_be_bytes());
        // A name is shorter than 256 bytes.
        out.extend_from_slice(&u16::try_from(self.len() - 10).unwrap_or(0).to_be_bytes());
        match self {
            Record::A(ip) => out.extend_from_slice(&ip.octets()),
            Record::Aaaa(ip) => out.extend_from_slice(&ip.octets()),
            Record::Ptr(name) => out.extend_from_slice(&name.0),
        }
    }
}

/// A name as it goes into packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Box<[u8]>);

impl Name {
    /// From text, with or without the final dot.
    ///
    /// # Errors
    /// When it is no name: an empty or long label, or too long as a whole (RFC 1035, section 3.1).
    pub fn new(text: &str) -> Result<Name, ParseError> {
        const WHAT: &str = "name";
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut out = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let len = u8::try_from(label.len())
                .ok()
                .filter(|len| (1..=LABEL_MAX).contains(len))
                .ok_or(ParseError::Malformed(WHAT))?;
            out.push(len);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        if out.len() > NAME_MAX {
            return Err(ParseError::Malformed(WHAT));
        }
        Ok(Name(out.into()))
    }

    /// The name at the beginning of some bytes, and what follows it. It must not point elsewhere.
    ///
    /// # Errors
    /// When there is none, or none but the root.
    pub fn read(bytes: &[u8]) -> Result<(Name, &[u8]), ParseError> {
        let (name, rest) = bytes.split_at(name_len(bytes)?);
        if name == [0] {
            return Err(ParseError::Malformed("name"));
        }
        Ok((Name(name.into()), rest))
    }

    /// As it goes into packets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const LABEL_MAX: u8 = 63;
const NAME_MAX: usize = 255;

/// How many bytes the name has at the beginning, with its end. The first name of a message points nowhere.
fn name_len(bytes: &[u8]) -> Result<usize, ParseError> {
    let mut at = 0;
    loop {
        let len = *bytes.get(at).ok_or(ParseError::Short(WHAT))?;
        at += 1 + usize::from(len);
        if len > LABEL_MAX || at > NAME_MAX {
            return Err(ParseError::Malformed(WHAT));
        }
        if len == 0 {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(name: &str, kind: u16, more: &[u8]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        out[11] = u8::from(!more.is_empty());
        out.extend_from_slice(Name::new(name).unwrap().as_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(more);
        out
    }

    fn opt(size: u16, version: u8, flags: u16) -> Vec<u8> {
        let mut out = vec![0];
        for word in [41, size, version.into(), flags, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Number of answers, whether more are announced, and the code with its upper part.
    fn summary(answer: &[u8]) -> (u16, bool, u16) {
        let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
        let upper = match word(10) {
            0 => 0,
            _ => u16::from(answer[answer.len() - 6]) << 4,
        };
        (word(6), word(2) & 0x0200 != 0, word(2) & 0xf | upper)
    }

    #[test]
    fn names() {
        assert_eq!(Name::new("a.bc.").unwrap().as_bytes(), b"\x01a\x02bc\0");
        for bad in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        let question = ask("VM1.Ovn.org", 1, &[]);
        let question = Question::parse(&question).unwrap();
        assert_eq!(question.name().as_deref(), Some("vm1.ovn.org"));
    }

    #[test]
    fn what_is_no_plain_question() {
        let good = ask("a.b", 1, &[]);
        assert!(Question::parse(&good).is_ok());
        // A response, another operation, no question, two, an answer, an authority, two additional records, Chaos.
        for (at, value) in [
            (2, 0x80),
            (2, 0x10),
            (5, 0),
            (5, 2),
            (7, 1),
            (9, 1),
            (11, 2),
            (20, 3),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Question::parse(&bad).is_err(), "{at} {value}");
        }
        let mut pointing = good.clone();
        pointing[12] = 0xc0;
        assert!(Question::parse(&pointing).is_err());
        assert!(Question::parse(&[&good[..], b"junk"].concat()).is_err());
        let signed = ask("a.b", 1, &[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
        assert!(Question::parse(&signed).is_err(), "TSIG wants a signature");
        let edns = ask("a.b", 1, &opt(4096, 0, 0));
        assert!(Question::parse(&edns).is_ok());
        for len in 0..edns.len() {
            assert!(Question::parse(&edns[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn answers_fit() {
        let records: Vec<Record> = (0..100).map(|n| Record::A([10, 0, 0, n].into())).collect();
        let answer = |more: &[u8], count: usize| {
            let question = ask("big.ovn.org", 1, more);
            let question = Question::parse(&question).unwrap();
            question.answer(&records[..count])
        };
        // 12 + 17, and 27 each with the name in full.
        assert_eq!(answer(&[], 17).len(), 29 + 17 * 27);
        // One more, and names are pointers.
        assert_eq!(answer(&[], 18).len(), 29 + 18 * 16);
        let short = answer(&[], 100);
        assert_eq!(summary(&short), (30, true, 0));
        assert!(short.len() <= 512);
        let long = answer(&opt(4096, 0, 0), 100);
        assert_eq!(summary(&long), (74, true, 0));
        assert!(long.len() <= 1232);
        assert_eq!(summary(&answer(&opt(4096, 0, 0), 70)), (70, false, 0));
        // Less than 512 is taken for 512 (RFC 6891, section 6.2.3).
        assert_eq!(summary(&answer(&opt(100, 0, 0), 17)), (17, false, 0));
    }

    #[test]
    fn edns_is_answered_in_kind() {
        let question = ask("a.b", 28, &opt(1400, 0, 0x8000));
        let question = Question::parse(&question).unwrap();
        let answer = question.answer(&[]);
        assert_eq!(summary(&answer), (0, false, 0));
        assert_eq!(answer[2] & 4, 4, "of authority");
        assert!(answer.ends_with(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]));
        let newer = ask("a.b", 28, &opt(1400, 1, 0));
        let newer = Question::parse(&newer).unwrap();
        let answer = newer.answer(&[Record::Aaaa(Ipv6Addr::LOCALHOST)]);
        assert_eq!(summary(&answer), (0, false, 16));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, text: String) {
            if let Ok(question) = Question::parse(&bytes) {
                let _ = question.name();
                let _ = question.answer(&[Record::A([10, 0, 0, 1].into())]);
            }
            let _ = Name::new(&text);
        }

        #[test]
        fn questions_with_any_name(labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..6), kind: u16) {
            let name = labels.join(".");
            let bytes = ask(&name, kind, &[]);
            let question = Question::parse(&bytes).unwrap();
            prop_assert_eq!(question.name().unwrap(), name.to_ascii_lowercase());
            prop_assert_eq!(question.kind, kind);
        }
    }
}
