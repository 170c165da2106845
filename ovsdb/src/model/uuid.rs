//! Row identifiers.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A row's UUID. Its serde form is OVSDB's `["uuid", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"]` (RFC 7047, section 5.1).
///
/// Packed, since they are many: with the alignment of `u128` an `Option<Uuid>` takes 32 bytes, and whatever else is
/// beside one is padded likewise.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(4))]
pub struct Uuid(pub u128);

impl Uuid {
    /// The all-zero UUID: default value of a `uuid` column.
    pub const ZERO: Uuid = Uuid(0);

    /// A random UUID, version 4, variant 1 (RFC 9562), as ovsdb-server itself generates them.
    #[must_use]
    pub fn random() -> Uuid {
        let bits: u128 = rand::random();
        let bits = bits & !(0xf << 76) | (0x4 << 76);
        Uuid(bits & !(0x3 << 62) | (0x2 << 62))
    }

    /// The first 32 bits: OVN uses them as the short name of a row, e.g. as cookie of the flows it makes for it.
    #[must_use]
    pub const fn short(self) -> u32 {
        (self.0 >> 96) as u32
    }

    /// The JSON form `["uuid", "..."]`.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        serde_json::Value::Array(vec!["uuid".into(), self.to_string().into()])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            (v >> 80) & 0xffff,
            (v >> 64) & 0xffff,
            (v >> 48) & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
pub struct UuidError;

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(UuidError);
        }
        let mut value = 0u128;
        for (i, &b) in bytes.iter().enumerate() {
            let digit = match (i, b) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return Err(UuidError),
                (_, b'0'..=b'9') => b - b'0',
                (_, b'a'..=b'f') => b - b'a' + 10,
                (_, b'A'..=b'F') => b - b'A' + 10,
                _ => return Err(UuidError),
            };
            value = value << 4 | u128::from(digit);
        }
        Ok(Uuid(value))
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ("uuid", self.to_string()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Uuid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[\"uuid\", \"...\"]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Uuid, A::Error> {
                match seq.next_element::<std::borrow::Cow<'de, str>>()? {
                    Some(tag) if tag == "uuid" => seq
                        .next_element_seed(Digits)?
                        .ok_or_else(|| de::Error::invalid_length(1, &self)),
                    _ => Err(de::Error::custom("expected [\"uuid\", \"...\"]")),
                }
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}

/// Reads the bare text of a UUID (the second member of the pair, or a key of `<table-updates>`).
pub(crate) struct Digits;

impl<'de> de::DeserializeSeed<'de> for Digits {
    type Value = Uuid;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Uuid, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Digits {
    type Value = Uuid;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of a UUID")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Uuid, E> {
        text.parse()
            .map_err(|_| E::custom(format_args!("\"{text}\" is not a UUID")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json() {
        let text = "0a1b2c3d-0001-4002-8003-00000000abcd";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(uuid.short(), 0x0a1b_2c3d);
        let json = serde_json::to_string(&uuid).unwrap();
        assert_eq!(json, format!("[\"uuid\",\"{text}\"]"));
        assert_eq!(serde_json::from_str::<Uuid>(&json).unwrap(), uuid);
        assert!(
            "0a1b2c3d-0001-4002-8003-00000000abc"
                .parse::<Uuid>()
                .is_err()
        );
        assert!(
            "0a1b2c3d-0001-4002-8003+00000000abcd"
                .parse::<Uuid>()
                .is_err()
        );
        assert!(serde_json::from_str::<Uuid>("[\"set\",[]]").is_err());
    }

    #[test]
    fn random_is_version_four() {
        let text = Uuid::random().to_string();
        assert_eq!(&text[14..15], "4");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
    }
}
