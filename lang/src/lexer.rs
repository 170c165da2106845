//! Tokens of matches and actions, with their places in the text.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::constant::{Format, Int, Str, mac_bits};
use crate::of::ones;

/// What is wrong with a match or an action, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at column {}{}", .span.start + 1, .suggestion.as_ref().map(|s| format!(" (did you mean `{s}'?)")).unwrap_or_default())]
pub struct ParseError {
    /// Bytes of the text that it is about; empty at the end of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// A name that exists and is similar.
    pub suggestion: Option<String>,
}

impl ParseError {
    /// An error without a suggestion.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        ParseError {
            span,
            message: message.into(),
            suggestion: None,
        }
    }
}

/// Kinds of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Name of a field, predicate, action or key.
    Id(String),
    /// `"text"`
    Text(Str),
    /// A number or address, perhaps masked.
    Int(Int),
    /// `$name`
    Set(Str),
    /// `@name`
    Group(Str),
    /// Punctuation.
    Punct(&'static str),
    /// End of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub struct Spanned {
    /// The token.
    pub token: Token,
    /// Its bytes.
    pub span: Range<usize>,
}

/// Longest first, so that `<->` is not `<`.
const PUNCTUATION: [&str; 23] = [
    "<->", "==", "!=", "<=", ">=", "&&", "||", "..", "--", "(", ")", "[", "]", "{", "}", "<", ">",
    "!", ",", ";", "=", ":", "-",
];

/// Cuts a text into tokens; the last one is [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let next = lexer.next()?;
        let end = next.token == Token::End;
        tokens.push(next);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

fn is_id_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c == b'.'
}

fn is_id(c: u8) -> bool {
    is_id_start(c) || c.is_ascii_digit()
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Length of the run of bytes from here that satisfy `test`.
    fn run(&self, test: impl Fn(u8) -> bool) -> usize {
        self.rest().bytes().take_while(|c| test(*c)).count()
    }

    fn error<T>(&self, len: usize, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.at..self.at + len, message))
    }

    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            self.at += self.run(|c| c.is_ascii_whitespace());
            if self.rest().starts_with("//") {
                self.at += self.run(|c| c != b'\n');
            } else if self.rest().starts_with("/*") {
                match self.rest().find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.error(2, "comment without end"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Spanned, ParseError> {
        self.skip_blank()?;
        let start = self.at;
        let token = self.token()?;
        Ok(Spanned {
            token,
            span: start..self.at,
        })
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let Some(first) = self.rest().bytes().next() else {
            return Ok(Token::End);
        };
        if first == b'"' {
            return self.quoted();
        }
        if first == b'$' || first == b'@' {
            return self.named(first);
        }
        // An address may begin with a letter, so it is tried before a name.
        if (first.is_ascii_hexdigit() || self.rest().starts_with("::"))
            && let Some((bits, format, len)) = self.number()?
        {
            self.at += len;
            return self.masked(bits, format);
        }
        if let Some(punct) = PUNCTUATION.iter().find(|p| self.rest().starts_with(**p)) {
            self.at += punct.len();
            return Ok(Token::Punct(punct));
        }
        if is_id_start(first) {
            let len = self.run(is_id);
            // `x[0..1]` has its own meaning for two dots, and no name has them.
            let name = self.rest()[..len].to_owned();
            self.at += len;
            return Ok(Token::Id(name));
        }
        let c = self.rest().chars().next().unwrap_or('?');
        self.error(c.len_utf8(), format!("character `{c}' has no meaning here"))
    }

    fn named(&mut self, sigil: u8) -> Result<Token, ParseError> {
        let rest = &self.rest()[1..];
        let len = match rest.bytes().next() {
            Some(c) if is_id_start(c) => rest.bytes().take_while(|c| is_id(*c)).count(),
            _ => return self.error(1, "a name must follow `$' or `@'"),
        };
        let name: Str = rest[..len].into();
        self.at += len + 1;
        Ok(if sigil == b'$' {
            Token::Set(name)
        } else {
            Token::Group(name)
        })
    }

    fn quoted(&mut self) -> Result<Token, ParseError> {
        let body = &self.rest()[1..];
        let mut escaped = false;
        for (i, c) in body.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let Some(text) = unescape(&body[..i]) else {
                        return self.error(i + 2, "bad escape in string");
                    };
                    self.at += i + 2;
                    return Ok(Token::Text(text.into()));
                }
                _ => {}
            }
        }
        self.error(self.rest().len(), "string without closing quote")
    }

    /// The number that starts here: its bits, its form and its length in the text.
    fn number(&self) -> Result<Option<(u128, Format, usize)>, ParseError> {
        let rest = self.rest();
        let len = self.run(|c| c.is_ascii_hexdigit() || c == b':' || c == b'.');
        let address = rest[..len].trim_end_matches('.');
        if address.contains(':') {
            if let Some(mac) = parse_mac(address) {
                return Ok(Some((mac_bits(mac), Format::Mac, address.len())));
            }
            if let Ok(ip) = address.parse::<Ipv6Addr>() {
                return Ok(Some((ip.to_bits(), Format::Ip6, address.len())));
            }
        }
        if !rest.as_bytes()[0].is_ascii_digit() {
            if address.matches(':').count() > 1 {
                return self.error(len, "neither an IPv6 nor an Ethernet address");
            }
            return Ok(None);
        }
        if rest.starts_with("0x") || rest.starts_with("0X") {
            let digits = rest[2..].bytes().take_while(u8::is_ascii_hexdigit).count();
            return match u128::from_str_radix(&rest[2..2 + digits], 16) {
                Ok(bits) => self.ends_cleanly((bits, Format::Hex, digits + 2)),
                Err(_) => self.error(digits + 2, "hexadecimal constant must have 1 to 32 digits"),
            };
        }
        let dotted = self.run(|c| c.is_ascii_digit() || c == b'.');
        if let Ok(ip) = rest[..dotted].parse::<Ipv4Addr>() {
            return Ok(Some((u128::from(ip.to_bits()), Format::Ip4, dotted)));
        }
        let digits = self.run(|c| c.is_ascii_digit());
        let quad = &rest[..dotted];
        if quad.contains('.') && !quad.contains("..") {
            return self.error(dotted, "not an IPv4 address");
        }
        match rest[..digits].parse::<u64>() {
            Ok(bits) => self.ends_cleanly((u128::from(bits), Format::Dec, digits)),
            Err(_) => self.error(
                digits,
                "decimal constants must be less than 2**64; use hexadecimal",
            ),
        }
    }

    /// Refuses `12ab`: a number that runs into a name.
    fn ends_cleanly(
        &self,
        number: (u128, Format, usize),
    ) -> Result<Option<(u128, Format, usize)>, ParseError> {
        match self.rest().as_bytes().get(number.2) {
            Some(c) if c.is_ascii_alphanumeric() || *c == b'_' => {
                self.error(number.2 + 1, "number runs into other characters")
            }
            _ => Ok(Some(number)),
        }
    }

    /// The mask that may follow a number.
    fn masked(&mut self, bits: u128, format: Format) -> Result<Token, ParseError> {
        let rest = self.rest();
        if !rest.starts_with('/') || rest.starts_with("//") || rest.starts_with("/*") {
            return Ok(Token::Int(Int::new(bits, format)));
        }
        self.at += 1;
        let mask_at = self.at;
        let starts_number = self.rest().starts_with("::")
            || self.rest().starts_with(|c: char| c.is_ascii_hexdigit());
        let number = if starts_number { self.number()? } else { None };
        let Some((mask, mask_format, len)) = number else {
            return self.error(0, "a mask must follow `/'");
        };
        self.at += len;
        let mask_error = |message: String| Err(ParseError::new(mask_at..mask_at + len, message));
        let mask = match (format, mask_format) {
            (Format::Ip4 | Format::Ip6, Format::Dec) => {
                let width = format.width().unwrap_or(128);
                match u8::try_from(mask) {
                    Ok(prefix) if prefix <= width => ones(width) & !ones(width - prefix),
                    _ => return mask_error(format!("prefix length must be at most {width}")),
                }
            }
            (a, b) if a == b => mask,
            (Format::Dec | Format::Hex, Format::Dec | Format::Hex) => mask,
            _ => return mask_error("value and mask are written in different forms".into()),
        };
        // As the stock parser does, bits outside the mask are cleared without complaint.
        Ok(Token::Int(Int::masked(bits, mask, format)))
    }
}

/// `0a:00:00:00:00:01`, two digits each.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Undoes the escapes of JSON.
fn unescape(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars();
    let hex4 = |chars: &mut std::str::Chars<'_>| -> Option<u32> {
        let digits: String = chars.take(4).collect();
        (digits.len() == 4).then(|| u32::from_str_radix(&digits, 16).ok())?
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            c @ ('"' | '\\' | '/') => out.push(c),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let mut code = hex4(&mut chars)?;
                if (0xd800..0xdc00).contains(&code) {
                    (chars.next()? == '\\' && chars.next()? == 'u').then_some(())?;
                    let low = hex4(&mut chars)?
                        .checked_sub(0xdc00)
                        .filter(|low| *low < 0x400)?;
                    code = 0x10000 + ((code - 0xd800) << 10) + low;
                }
                out.push(char::from_u32(code)?);
            }
            _ => return None,
        }
    }
    Some(out)
}
