//! Values as users of ovs-vsctl(8) and its relatives write and read them ("Database Values" in that manual).

use serde_json::Value as Json;

use super::{Atom, AtomType, BaseType, ColumnType, Datum, DatumError};

impl Atom {
    /// As the tools print it: text that could be taken for something else is in quotes.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Atom::String(text) if needs_quotes(text) => Json::from(text.as_ref()).to_string(),
            _ => self.to_bare(),
        }
    }

    /// As the tools print it without punctuation.
    #[must_use]
    pub fn to_bare(&self) -> String {
        match self {
            Atom::Integer(v) => v.to_string(),
            Atom::Real(v) => v.to_string(),
            Atom::Boolean(v) => v.to_string(),
            Atom::String(v) => v.to_string(),
            Atom::Uuid(v) => v.to_string(),
            Atom::NamedUuid(name) => format!("@{name}"),
        }
    }

    /// Reads an atom and checks that it is allowed. A uuid written `@name` is a row that the same invocation makes.
    pub fn parse(base: &BaseType, text: &str) -> Result<Atom, DatumError> {
        let atom = match base.atom {
            AtomType::Integer => Atom::Integer(integer(text)?),
            AtomType::Real => match text.trim().parse() {
                Ok(v) => Atom::Real(v),
                Err(_) => return syntax(format!("\"{text}\" is not a valid real number")),
            },
            AtomType::Boolean => match text {
                "true" | "yes" | "on" | "1" => Atom::Boolean(true),
                "false" | "no" | "off" | "0" => Atom::Boolean(false),
                _ => {
                    return syntax(format!(
                        "\"{text}\" is not a valid boolean (use \"true\" or \"false\")"
                    ));
                }
            },
            AtomType::String => Atom::String(string(text)?.into()),
            AtomType::Uuid => match (text.strip_prefix('@'), text.parse()) {
                (Some(name), _) => Atom::NamedUuid(name.into()),
                (None, Ok(uuid)) => Atom::Uuid(uuid),
                (None, Err(_)) => return syntax(format!("\"{text}\" is not a valid UUID")),
            },
        };
        base.check(&atom).map(|()| atom)
    }
}

impl Datum {
    /// As the tools print the value of a column of that type: `[a, b]`, `{k=v}`, a single atom as it is.
    #[must_use]
    pub fn to_text(&self, ty: &ColumnType) -> String {
        match self {
            Datum::Set(atoms) => {
                let list = join(atoms, ", ", Atom::to_text);
                if ty.is_composite() || atoms.is_empty() {
                    format!("[{list}]")
                } else {
                    list
                }
            }
            Datum::Map(pairs) => format!(
                "{{{}}}",
                join(pairs, ", ", |(k, v)| format!(
                    "{}={}",
                    k.to_text(),
                    v.to_text()
                ))
            ),
        }
    }

    /// As the tools print it without punctuation.
    #[must_use]
    pub fn to_bare(&self) -> String {
        match self {
            Datum::Set(atoms) => join(atoms, " ", Atom::to_bare),
            Datum::Map(pairs) => join(pairs, " ", |(k, v)| {
                format!("{}={}", k.to_bare(), v.to_bare())
            }),
        }
    }

    /// Reads the value of a column of that type, and checks it. Brackets and braces may be left out, spaces and commas
    /// separate, and sets of integers may have ranges `1-5`.
    pub fn parse(ty: &ColumnType, text: &str) -> Result<Datum, DatumError> {
        let mut scan = Scan::new(text);
        scan.spaces();
        let (open, close) = if ty.is_map() { ('{', '}') } else { ('[', ']') };
        let bracketed = scan.eat(open);
        let (mut atoms, mut values) = (Vec::new(), Vec::new());
        loop {
            scan.spaces();
            match scan.rest.chars().next() {
                None if bracketed => {
                    return syntax(format!("{text}: missing \"{close}\" at end of data"));
                }
                None => break,
                Some(c) if bracketed && c == close => {
                    scan.eat(close);
                    scan.spaces();
                    if !scan.rest.is_empty() {
                        return syntax(format!("{text}: trailing garbage after \"{close}\""));
                    }
                    break;
                }
                Some(c) if is_delimiter(c) => {
                    return syntax(format!(
                        "{text}: unexpected \"{c}\" parsing {}",
                        describe(ty)
                    ));
                }
                Some(_) => {}
            }
            let before = atoms.len();
            element(ty, &mut scan, &mut atoms)?;
            if let Some(value) = &ty.value {
                scan.spaces();
                if !scan.eat('=') {
                    return syntax(format!(
                        "{text}: syntax error at {} expecting \"=\"",
                        scan.here()
                    ));
                }
                scan.spaces();
                let value = Atom::parse(value, scan.token()?)?;
                values.extend(std::iter::repeat_n(value, atoms.len() - before));
            }
            scan.spaces();
            scan.eat(',');
        }
        finish(ty, text, atoms, values)
    }
}

/// Reads an atom, or a range of integers.
fn element(ty: &ColumnType, scan: &mut Scan<'_>, atoms: &mut Vec<Atom>) -> Result<(), DatumError> {
    let token = scan.token()?;
    let range = match (
        ty.key.atom,
        token.char_indices().skip(1).find(|(_, c)| *c == '-'),
    ) {
        (AtomType::Integer, Some((at, _))) => integer(&token[..at])
            .ok()
            .zip(integer(&token[at + 1..]).ok()),
        _ => None,
    };
    let Some((from, to)) = range else {
        atoms.push(Atom::parse(&ty.key, token)?);
        return Ok(());
    };
    if from > to {
        return syntax(format!(
            "\"{token}\" is not a valid range, range end cannot be before start"
        ));
    }
    ty.key.check(&Atom::Integer(from))?;
    ty.key.check(&Atom::Integer(to))?;
    if to.abs_diff(from) >= 1 << 20 {
        return syntax(format!(
            "\"{token}\" is a range of more than a million integers"
        ));
    }
    for value in from..=to {
        let atom = Atom::Integer(value);
        ty.key.check(&atom)?;
        atoms.push(atom);
    }
    Ok(())
}

fn finish(
    ty: &ColumnType,
    text: &str,
    atoms: Vec<Atom>,
    values: Vec<Atom>,
) -> Result<Datum, DatumError> {
    let count = atoms.len();
    let (datum, what) = if ty.is_map() {
        (
            Datum::map(atoms.into_iter().zip(values).collect()),
            "map contains duplicate key",
        )
    } else {
        (Datum::set(atoms), "set contains duplicate value")
    };
    for (bound, limit, wrong) in [
        ("minimum", ty.min, count < ty.min),
        ("maximum", ty.max, count > ty.max),
    ] {
        if wrong {
            return Err(DatumError::Count {
                text: text.to_owned(),
                count,
                bound,
                limit,
            });
        }
    }
    if datum.len() < count {
        return Err(DatumError::Duplicate {
            text: text.to_owned(),
            what,
        });
    }
    Ok(datum)
}

/// How a message calls values of that type: "set of strings", "map of (string, integer) pairs".
fn describe(ty: &ColumnType) -> String {
    let key = ty.key.atom.name();
    match &ty.value {
        Some(value) => format!("map of ({key}, {}) pairs", value.atom.name()),
        None if ty.is_composite() => format!("set of {key}s"),
        None if ty.is_optional() => format!("optional {key}"),
        None => key.to_owned(),
    }
}

pub(super) fn syntax<T>(message: String) -> Result<T, DatumError> {
    Err(DatumError::Syntax(message))
}

fn join<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(separator)
}

fn integer(text: &str) -> Result<i64, DatumError> {
    text.trim()
        .parse()
        .or_else(|_| syntax(format!("\"{text}\" is not a valid integer or range")))
}

/// Whether text has to be in quotes to be read back as the string it is.
#[must_use]
pub fn needs_quotes(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = matches!(bytes.first(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_'))
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    !plain || matches!(text, "true" | "false") || text.parse::<super::Uuid>().is_ok()
}

/// The one character that `ovsdb-server` has no way to hold.
const NO_NULL: &str = "null bytes not supported in quoted strings";

/// Reads a string: in quotes with JSON's escapes, or anything else as it stands.
fn string(text: &str) -> Result<String, DatumError> {
    if text.is_empty() {
        return syntax(
            "An empty string is not valid as input; use \"\" to represent the empty string"
                .to_owned(),
        );
    }
    if text.contains('\0') {
        return syntax(NO_NULL.to_owned());
    }
    let Some(inside) = text.strip_prefix('"') else {
        return Ok(text.to_owned());
    };
    let Some(inside) = inside.strip_suffix('"').filter(|_| text.len() > 1) else {
        return syntax(format!("{text}: missing quote at end of quoted string"));
    };
    unescape(inside).map_err(|what| DatumError::Syntax(format!("{text}: {what}")))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err("quoted string may not include unescaped \"".to_owned()),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\' | '/')) => out.push(c),
                Some('b') => out.push('\u{8}'),
                Some('f') => out.push('\u{c}'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('u') => out.push(unicode(&mut chars)?),
                Some(c) => return Err(format!("bad escape \\{c}")),
                None => return Err("quoted string may not end with backslash".to_owned()),
            },
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Reads what follows `\u`; two of them where the character needs it.
fn unicode(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let high = hex(chars)?;
    let code = if (0xd800..0xdc00).contains(&high) {
        if !(chars.next() == Some('\\') && chars.next() == Some('u')) {
            return Err("malformed escaped surrogate pair".to_owned());
        }
        let low = hex(chars)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(
                "second half of escaped surrogate pair is not trailing surrogate".to_owned(),
            );
        }
        0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
    } else {
        high
    };
    match char::from_u32(code) {
        Some('\0') => Err(NO_NULL.to_owned()),
        Some(c) => Ok(c),
        None => Err("malformed \\u escape".to_owned()),
    }
}

fn hex(chars: &mut std::str::Chars<'_>) -> Result<u32, String> {
    let digits: Option<Vec<u32>> = chars.by_ref().take(4).map(|c| c.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() == 4 => Ok(digits.into_iter().fold(0, |v, d| v << 4 | d)),
        _ => Err("malformed \\u escape".to_owned()),
    }
}

/// What separates words outside quotes.
fn is_delimiter(c: char) -> bool {
    matches!(
        c,
        ':' | '=' | ',' | ' ' | '[' | ']' | '{' | '}' | '!' | '<' | '>'
    )
}

/// Words of an argument.
#[derive(Clone, Copy)]
pub(super) struct Scan<'t> {
    all: &'t str,
    rest: &'t str,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Scan<'t> {
        Scan {
            all: text,
            rest: text,
        }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn here(&self) -> String {
        self.rest
            .chars()
            .next()
            .map_or_else(|| "end of data".to_owned(), |c| format!("\"{c}\""))
    }

    /// The text up to the next delimiter outside quotes.
    pub(super) fn token(&mut self) -> Result<&'t str, DatumError> {
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.char_indices().find(|&(_, c)| {
            match c {
                _ if escaped => escaped = false,
                '"' => quoted = !quoted,
                '\\' if quoted => escaped = true,
                _ => return !quoted && is_delimiter(c),
            }
            false
        });
        if end.is_none() && quoted {
            return syntax(format!(
                "{}: quoted string extends past end of argument",
                self.all
            ));
        }
        let (token, rest) = self
            .rest
            .split_at(end.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Constraint, Schema};

    fn base(atom: AtomType) -> BaseType {
        BaseType {
            atom,
            constraint: Constraint::None,
            refers: None,
        }
    }

    fn strings() -> ColumnType {
        ColumnType {
            key: base(AtomType::String),
            value: None,
            min: 0,
            max: usize::MAX,
        }
    }

    fn map() -> ColumnType {
        ColumnType {
            value: Some(base(AtomType::String)),
            ..strings()
        }
    }

    fn tag() -> ColumnType {
        let key = BaseType {
            constraint: Constraint::Integer(Some(1), Some(4095)),
            ..base(AtomType::Integer)
        };
        ColumnType {
            key,
            value: None,
            min: 0,
            max: 1,
        }
    }

    /// What ovn-nbctl 23.03 makes of these values, and prints for them.
    #[test]
    fn values_as_the_tools_read_and_print_them() {
        for (ty, text, printed, bare) in [
            (strings(), "[a, b c]", "[a, b, c]", "a b c"),
            (strings(), "a,", "[a]", "a"),
            (strings(), " a ", "[a]", "a"),
            (strings(), "[ ]", "[]", ""),
            (strings(), "", "[]", ""),
            (strings(), r#""a b" "c:d""#, r#"["a b", "c:d"]"#, "a b c:d"),
            (strings(), r#""a\n\u00e9\"b""#, r#"["a\né\"b"]"#, "a\né\"b"),
            (strings(), r#"x"y""#, r#"["x\"y\""]"#, "x\"y\""),
            (strings(), "(a)", r#"["(a)"]"#, "(a)"),
            (
                strings(),
                "true,True,1a,_a,a-b,a.b,-",
                r#"["-", "1a", True, _a, a-b, a.b, "true"]"#,
                "- 1a True _a a-b a.b true",
            ),
            (
                strings(),
                "F0F4CF5D-1d6c-4e4f-8d3e-000000000000,b0f4cf5d2-1d6c-4e4f-8d3e-000000000000",
                r#"["F0F4CF5D-1d6c-4e4f-8d3e-000000000000", b0f4cf5d2-1d6c-4e4f-8d3e-000000000000]"#,
                "F0F4CF5D-1d6c-4e4f-8d3e-000000000000 b0f4cf5d2-1d6c-4e4f-8d3e-000000000000",
            ),
            (map(), "{a=b, c=d}", "{a=b, c=d}", "a=b c=d"),
            (map(), "a=b c=d", "{a=b, c=d}", "a=b c=d"),
            (map(), "{a = b}", "{a=b}", "a=b"),
            (map(), "{}", "{}", ""),
            (tag(), " 7 ", "7", "7"),
            (tag(), "[]", "[]", ""),
        ] {
            let datum = Datum::parse(&ty, text).unwrap();
            assert_eq!(datum.to_text(&ty), printed, "{text}");
            assert_eq!(datum.to_bare(), bare, "{text}");
        }
    }

    /// What ovn-nbctl 23.03 says to these.
    #[test]
    fn errors_as_the_tools_word_them() {
        for (ty, text, message) in [
            (
                tag(),
                "0",
                "constraint violation: 0 is not in the valid range 1 to 4095 (inclusive)",
            ),
            (
                tag(),
                "[1,2]",
                "[1,2]: 2 value(s) specified but the maximum number is 1",
            ),
            (
                tag(),
                "1-3",
                "1-3: 3 value(s) specified but the maximum number is 1",
            ),
            (tag(), "x", "\"x\" is not a valid integer or range"),
            (tag(), "0x10", "\"0x10\" is not a valid integer or range"),
            (strings(), "[a", "[a: missing \"]\" at end of data"),
            (strings(), "[a]b", "[a]b: trailing garbage after \"]\""),
            (
                strings(),
                "a]",
                "a]: unexpected \"]\" parsing set of strings",
            ),
            (
                strings(),
                "a,,b",
                "a,,b: unexpected \",\" parsing set of strings",
            ),
            (strings(), "a,a", "a,a: set contains duplicate value"),
            (
                strings(),
                "\"a b\",c:d",
                "\"a b\",c:d: unexpected \":\" parsing set of strings",
            ),
            (
                strings(),
                "\"a b\"\"cd\"",
                "\"a b\"\"cd\": quoted string may not include unescaped \"",
            ),
            (
                strings(),
                "x\"y",
                "x\"y: quoted string extends past end of argument",
            ),
            (strings(), "\"\\x\"", "\"\\x\": bad escape \\x"),
            (
                strings(),
                "\"\\u0000\"",
                "\"\\u0000\": null bytes not supported in quoted strings",
            ),
            (map(), "{a=b,a=b}", "{a=b,a=b}: map contains duplicate key"),
            (
                map(),
                "{a=}",
                "An empty string is not valid as input; use \"\" to represent the empty string",
            ),
            (
                map(),
                "{=b}",
                "{=b}: unexpected \"=\" parsing map of (string, string) pairs",
            ),
            (map(), "{a=b", "{a=b: missing \"}\" at end of data"),
            (map(), "{a=b}}", "{a=b}}: trailing garbage after \"}\""),
            (
                map(),
                "[]",
                "[]: unexpected \"[\" parsing map of (string, string) pairs",
            ),
            (
                ColumnType::scalar(AtomType::Boolean),
                "maybe",
                "\"maybe\" is not a valid boolean (use \"true\" or \"false\")",
            ),
            (
                ColumnType::scalar(AtomType::Uuid),
                "x",
                "\"x\" is not a valid UUID",
            ),
        ] {
            assert_eq!(
                Datum::parse(&ty, text).unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
    }

    #[test]
    fn schema_and_json() {
        let schema = Schema::parse(
            r#"{"name":"T","version":"1.0.0","tables":{"A":{"isRoot":true,"indexes":[["x"]],"columns":{
                "x":{"type":{"key":{"type":"string","enum":["set",["b","a"]]}}},
                "y":{"ephemeral":true,"type":{"key":"string","value":{"type":"uuid","refTable":"A","refType":"weak"},"min":0,"max":"unlimited"}}
            }}}}"#,
        )
        .unwrap();
        let table = schema.table("a").unwrap();
        let x = table.column("x").unwrap();
        let wrong = Datum::from_json(&x.ty, &Json::from("c"))
            .unwrap()
            .check(&x.ty)
            .unwrap_err()
            .at(table, x);
        assert_eq!(
            wrong.to_string(),
            "table A, column x: constraint violation: c is not one of the allowed values ([a, b])"
        );
        let y = table.column("y").unwrap();
        let json = serde_json::json!([
            "map",
            [["k", ["uuid", "00000000-0000-0000-0000-000000000001"]]]
        ]);
        let datum = Datum::from_json(&y.ty, &json).unwrap();
        assert_eq!(
            datum.to_text(&y.ty),
            "{k=00000000-0000-0000-0000-000000000001}"
        );
        assert_eq!(datum.to_json(), json);
        assert!(
            Schema::parse(r#"{"name":"T","tables":{"A":{"columns":{"x":{"type":"text"}}}}}"#)
                .is_err()
        );
    }
}
