//! A column's value, seen through one type per shape of column.
//!
//! Generated row types only say which [`Cell`] each column is; parsing, merging and writing live here, once, instead of
//! in every one of the hundred row types.

use std::fmt::{self, Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value as Json;
use smallvec::SmallVec;

use super::uuid::Digits;
use super::{Map, Set, Shape, Str, Uuid};

/// The five atomic types (RFC 7047, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomType {
    /// Signed, 64 bits.
    Integer,
    /// IEEE 754 double.
    Real,
    /// True or false.
    Boolean,
    /// UTF-8 text.
    String,
    /// A row's identifier.
    Uuid,
}

/// An atom as it comes from the parser, before it is known to suit the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// A JSON string.
    Text(&'a str),
    /// A JSON number without fraction.
    Integer(i64),
    /// Any other JSON number.
    Real(f64),
    /// A JSON boolean.
    Boolean(bool),
    /// `["uuid", "..."]`.
    Uuid(Uuid),
}

/// An atom's Rust type.
pub trait Scalar: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Its OVSDB type.
    const TYPE: AtomType;
    /// The value of a token, if the token is of this type.
    fn from_token(token: Token<'_>) -> Option<Self>;
    /// The JSON form.
    fn to_json(&self) -> Json;
    /// Appends the text of the JSON form.
    fn write_json(&self, out: &mut String);
}

impl Scalar for Str {
    const TYPE: AtomType = AtomType::String;
    fn from_token(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Text("") => Some(Str::default()),
            Token::Text(text) => Some(text.into()),
            _ => None,
        }
    }
    fn to_json(&self) -> Json {
        Json::String(self.as_ref().to_owned())
    }
    fn write_json(&self, out: &mut String) {
        write_text(out, self);
    }
}

impl Scalar for i64 {
    const TYPE: AtomType = AtomType::Integer;
    fn from_token(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Integer(v) => Some(v),
            _ => None,
        }
    }
    fn to_json(&self) -> Json {
        Json::from(*self)
    }
    fn write_json(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }
}

impl Scalar for f64 {
    const TYPE: AtomType = AtomType::Real;
    fn from_token(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Real(v) => Some(v),
            Token::Integer(v) => Some(v as f64),
            _ => None,
        }
    }
    fn to_json(&self) -> Json {
        Json::from(*self)
    }
    fn write_json(&self, out: &mut String) {
        out.push_str(&Json::from(*self).to_string());
    }
}

impl Scalar for bool {
    const TYPE: AtomType = AtomType::Boolean;
    fn from_token(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Boolean(v) => Some(v),
            _ => None,
        }
    }
    fn to_json(&self) -> Json {
        Json::Bool(*self)
    }
    fn write_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Scalar for Uuid {
    const TYPE: AtomType = AtomType::Uuid;
    fn from_token(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Uuid(v) => Some(v),
            _ => None,
        }
    }
    fn to_json(&self) -> Json {
        Uuid::to_json(*self)
    }
    fn write_json(&self, out: &mut String) {
        let _ = write!(out, r#"["uuid","{self}"]"#);
    }
}

/// A column's Rust type: an atom, an optional atom, a set or a map.
pub trait Value: Clone + Default + PartialEq + fmt::Debug {
    /// What the column holds, for monitor requests and messages.
    const SHAPE: Shape;
    /// Reads the JSON form into `self`.
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error>;
    /// Applies the difference of a "modify": atoms and optional atoms are replaced, sets and maps merged.
    fn merge(&mut self, delta: &Self);
    /// The JSON form.
    fn to_json(&self) -> Json;
    /// Appends the text of the JSON form.
    fn write_json(&self, out: &mut String);
}

macro_rules! atom_value {
    ($($t:ty),*) => { $(
        impl Value for $t {
            const SHAPE: Shape = Shape::Scalar(<$t as Scalar>::TYPE);
            fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                *self = one(elements::<$t, D>(deserializer)?)?.ok_or_else(|| de::Error::custom("exactly one value expected, got none"))?;
                Ok(())
            }
            fn merge(&mut self, delta: &Self) {
                self.clone_from(delta);
            }
            fn to_json(&self) -> Json {
                Scalar::to_json(self)
            }
            fn write_json(&self, out: &mut String) {
                Scalar::write_json(self, out);
            }
        }
    )* };
}
atom_value!(Str, i64, f64, bool, Uuid);

impl<T: Scalar> Value for Option<T> {
    const SHAPE: Shape = Shape::Optional(T::TYPE);
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = one(elements::<T, D>(deserializer)?)?;
        Ok(())
    }
    fn merge(&mut self, delta: &Self) {
        self.clone_from(delta);
    }
    fn to_json(&self) -> Json {
        match self {
            Some(value) => value.to_json(),
            None => tagged("set", vec![]),
        }
    }
    fn write_json(&self, out: &mut String) {
        match self {
            Some(value) => value.write_json(out),
            None => out.push_str(r#"["set",[]]"#),
        }
    }
}

impl<T: Scalar + Ord> Value for Set<T> {
    const SHAPE: Shape = Shape::Set(T::TYPE);
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = elements::<T, D>(deserializer)?.into_vec().into();
        Ok(())
    }
    fn merge(&mut self, delta: &Self) {
        *self = self.symmetric_difference(delta);
    }
    fn to_json(&self) -> Json {
        match &**self {
            [one] => one.to_json(),
            many => tagged("set", many.iter().map(Scalar::to_json).collect()),
        }
    }
    fn write_json(&self, out: &mut String) {
        match &**self {
            [one] => one.write_json(out),
            many => {
                out.push_str(r#"["set",["#);
                for (i, element) in many.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    element.write_json(out);
                }
                out.push_str("]]");
            }
        }
    }
}

impl<K: Scalar + Ord, V: Scalar> Value for Map<K, V> {
    const SHAPE: Shape = Shape::Map(K::TYPE, V::TYPE);
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = deserializer.deserialize_seq(PairsVisitor(std::marker::PhantomData))?;
        Ok(())
    }
    fn merge(&mut self, delta: &Self) {
        *self = self.merged(delta);
    }
    fn to_json(&self) -> Json {
        tagged(
            "map",
            self.iter()
                .map(|(k, v)| Json::Array(vec![k.to_json(), v.to_json()]))
                .collect(),
        )
    }
    fn write_json(&self, out: &mut String) {
        out.push_str(r#"["map",["#);
        for (i, (k, v)) in self.iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "[" });
            k.write_json(out);
            out.push(',');
            v.write_json(out);
            out.push(']');
        }
        out.push_str("]]");
    }
}

/// Appends a string as JSON.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// `[tag, list]`: the JSON form of sets and maps.
fn tagged(tag: &str, list: Vec<Json>) -> Json {
    Json::Array(vec![tag.into(), Json::Array(list)])
}

macro_rules! cells {
    ($($variant:ident($t:ty),)*) => {
        /// A column of some row, by reference.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each variant is named after the type it holds")]
        pub enum Cell<'a> { $($variant(&'a $t),)* }

        /// A column of some row, to be written.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is named after the type it holds")]
        pub enum CellMut<'a> { $($variant(&'a mut $t),)* }

        $(impl<'a> From<&'a $t> for Cell<'a> {
            fn from(value: &'a $t) -> Self { Cell::$variant(value) }
        }
        impl<'a> From<&'a mut $t> for CellMut<'a> {
            fn from(value: &'a mut $t) -> Self { CellMut::$variant(value) }
        })*

        impl Cell<'_> {
            /// The JSON form.
            #[must_use]
            pub fn to_json(self) -> Json {
                match self { $(Cell::$variant(value) => Value::to_json(value),)* }
            }
            /// Appends the text of the JSON form.
            pub fn write_json(self, out: &mut String) {
                match self { $(Cell::$variant(value) => Value::write_json(value, out),)* }
            }
            /// Whether the column has the value it has in a new row.
            #[must_use]
            pub fn is_default(self) -> bool {
                match self { $(Cell::$variant(value) => *value == <$t>::default(),)* }
            }
        }

        impl CellMut<'_> {
            /// Reads the JSON form into the cell.
            pub fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                match self { $(CellMut::$variant(value) => value.read(deserializer),)* }
            }
            /// Applies the difference that a "modify" carries for this column; both must be the same column.
            pub fn merge(self, delta: Cell<'_>) {
                match (self, delta) {
                    $((CellMut::$variant(value), Cell::$variant(delta)) => value.merge(delta),)*
                    _ => unreachable!("cells of one column have one type"),
                }
            }
            /// Takes the other cell's value; both must be the same column.
            pub fn assign(self, from: Cell<'_>) {
                match (self, from) {
                    $((CellMut::$variant(value), Cell::$variant(from)) => value.clone_from(from),)*
                    _ => unreachable!("cells of one column have one type"),
                }
            }
        }
    };
}

cells! {
    Str(Str),
    Integer(i64),
    Real(f64),
    Boolean(bool),
    Uuid(Uuid),
    OptStr(Option<Str>),
    OptInteger(Option<i64>),
    OptReal(Option<f64>),
    OptBoolean(Option<bool>),
    OptUuid(Option<Uuid>),
    SetStr(Set<Str>),
    SetInteger(Set<i64>),
    SetBoolean(Set<bool>),
    SetUuid(Set<Uuid>),
    MapStrStr(Map<Str, Str>),
    MapStrInteger(Map<Str, i64>),
    MapStrUuid(Map<Str, Uuid>),
    MapIntegerStr(Map<i64, Str>),
    MapIntegerInteger(Map<i64, i64>),
    MapIntegerUuid(Map<i64, Uuid>),
    MapUuidStr(Map<Uuid, Str>),
}

/// Elements of a set as read; one is by far the most frequent number.
type Elements<T> = SmallVec<[T; 1]>;

fn elements<'de, T: Scalar, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Elements<T>, D::Error> {
    deserializer.deserialize_any(SetVisitor(std::marker::PhantomData))
}

fn one<T, E: de::Error>(elements: Elements<T>) -> Result<Option<T>, E> {
    if elements.len() > 1 {
        return Err(E::custom(format_args!(
            "at most one value expected, got {}",
            elements.len()
        )));
    }
    Ok(elements.into_iter().next())
}

fn accept<T: Scalar, E: de::Error>(token: Token<'_>) -> Result<T, E> {
    T::from_token(token)
        .ok_or_else(|| E::custom(format_args!("{token:?} is not of type {:?}", T::TYPE)))
}

/// First member of the arrays that stand for what JSON has no notation for.
enum Tag {
    Uuid,
    Set,
    Map,
}

impl<'de> de::Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tag, D::Error> {
        struct TagVisitor;
        impl Visitor<'_> for TagVisitor {
            type Value = Tag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"uuid\", \"set\" or \"map\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Tag, E> {
                match text {
                    "uuid" => Ok(Tag::Uuid),
                    "set" => Ok(Tag::Set),
                    "map" => Ok(Tag::Map),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_str(TagVisitor)
    }
}

macro_rules! visit_atoms {
    ($wrap:expr) => {
        fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
            accept(Token::Text(v)).map($wrap)
        }
        fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
            accept(Token::Integer(v)).map($wrap)
        }
        fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
            let v = i64::try_from(v)
                .map_err(|_| E::custom("integer does not fit in 64 bits, signed"))?;
            accept(Token::Integer(v)).map($wrap)
        }
        fn visit_f64<E: de::Error>(self, v: f64) -> Result<Self::Value, E> {
            accept(Token::Real(v)).map($wrap)
        }
        fn visit_bool<E: de::Error>(self, v: bool) -> Result<Self::Value, E> {
            accept(Token::Boolean(v)).map($wrap)
        }
    };
}

/// Reads `<atom>`.
struct AtomSeed<T>(std::marker::PhantomData<T>);

impl<'de, T: Scalar> DeserializeSeed<'de> for AtomSeed<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Scalar> Visitor<'de> for AtomSeed<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an atom of type {:?}", T::TYPE)
    }
    visit_atoms!(|v| v);
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        match seq.next_element()? {
            Some(Tag::Uuid) => accept(Token::Uuid(uuid_member(&mut seq)?)),
            _ => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
        }
    }
}

fn uuid_member<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Uuid, A::Error> {
    seq.next_element_seed(Digits)?
        .ok_or_else(|| de::Error::invalid_length(1, &"the text of a UUID"))
}

/// Reads `<atom>` or `["set", [<atom>*]]`.
struct SetVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Scalar> Visitor<'de> for SetVisitor<T> {
    type Value = Elements<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an atom or a set of type {:?}", T::TYPE)
    }
    visit_atoms!(|v| Elements::from_buf([v]));
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<T>, A::Error> {
        match seq.next_element()? {
            Some(Tag::Uuid) => Ok(Elements::from_buf([accept(Token::Uuid(uuid_member(
                &mut seq,
            )?))?])),
            Some(Tag::Set) => {
                let list = seq.next_element_seed(ListSeed(std::marker::PhantomData))?;
                list.ok_or_else(|| de::Error::invalid_length(1, &"the elements of a set"))
            }
            _ => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
        }
    }
}

/// Reads `[<atom>*]`.
struct ListSeed<T>(std::marker::PhantomData<T>);

impl<'de, T: Scalar> DeserializeSeed<'de> for ListSeed<T> {
    type Value = Elements<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Elements<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Scalar> Visitor<'de> for ListSeed<T> {
    type Value = Elements<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of atoms of type {:?}", T::TYPE)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<T>, A::Error> {
        let mut list = Elements::new();
        while let Some(atom) = seq.next_element_seed(AtomSeed(std::marker::PhantomData))? {
            list.push(atom);
        }
        Ok(list)
    }
}

/// Reads `["map", [[<atom>, <atom>]*]]`.
struct PairsVisitor<K, V>(std::marker::PhantomData<(K, V)>);

impl<'de, K: Scalar + Ord, V: Scalar> Visitor<'de> for PairsVisitor<K, V> {
    type Value = Map<K, V>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of {:?} to {:?}", K::TYPE, V::TYPE)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Map<K, V>, A::Error> {
        match seq.next_element()? {
            Some(Tag::Map) => {
                let pairs = seq.next_element_seed(PairListSeed(std::marker::PhantomData))?;
                pairs.ok_or_else(|| de::Error::invalid_length(1, &"the pairs of a map"))
            }
            // What a "modify" of a map looks like when the difference is empty.
            Some(Tag::Set) => {
                seq.next_element::<[(); 0]>()?;
                Ok(Map::default())
            }
            _ => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
        }
    }
}

/// Reads `[[<atom>, <atom>]*]`.
struct PairListSeed<K, V>(std::marker::PhantomData<(K, V)>);

impl<'de, K: Scalar + Ord, V: Scalar> DeserializeSeed<'de> for PairListSeed<K, V> {
    type Value = Map<K, V>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Map<K, V>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, K: Scalar + Ord, V: Scalar> Visitor<'de> for PairListSeed<K, V> {
    type Value = Map<K, V>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pairs of {:?} and {:?}", K::TYPE, V::TYPE)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Map<K, V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = seq.next_element_seed(PairSeed(std::marker::PhantomData))? {
            pairs.push(pair);
        }
        Ok(pairs.into())
    }
}

/// Reads `[<atom>, <atom>]`.
struct PairSeed<K, V>(std::marker::PhantomData<(K, V)>);

impl<'de, K: Scalar, V: Scalar> DeserializeSeed<'de> for PairSeed<K, V> {
    type Value = (K, V);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(K, V), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, K: Scalar, V: Scalar> Visitor<'de> for PairSeed<K, V> {
    type Value = (K, V);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pair")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(K, V), A::Error> {
        let key = seq.next_element_seed(AtomSeed(std::marker::PhantomData))?;
        let value = seq.next_element_seed(AtomSeed(std::marker::PhantomData))?;
        key.zip(value)
            .ok_or_else(|| de::Error::invalid_length(2, &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_json() {
        fn same<V: Value>(value: V) {
            let mut text = String::new();
            value.write_json(&mut text);
            let read: Json = serde_json::from_str(&text).unwrap();
            assert_eq!(read, value.to_json(), "{text}");
        }
        let all: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"", "\\", "a\nb\u{1f}\u{7f}", "ü\"ü\\ü", &all] {
            let text: Str = text.into();
            same(text.clone());
            same(Some(text.clone()));
            same(Set::from(vec![text.clone()]));
            same(Set::from(vec![text.clone(), "z".into()]));
            same(Map::from(vec![
                (text.clone(), text),
                ("z".into(), "\t".into()),
            ]));
        }
        same(Map::<Str, Str>::default());
        same(Set::<Uuid>::default());
        same(Set::from(vec![Uuid(1), Uuid(2)]));
        same(None::<i64>);
        for number in [0, -1, i64::MAX, i64::MIN] {
            same(number);
        }
        for number in [0.0, -1.5, 1e300] {
            same(number);
        }
        same(true);
    }
}
