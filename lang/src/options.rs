//! Values of DHCP options: how the language writes them, how packets carry them.
//!
//! The types are those of the southbound tables `DHCP_Options` and `DHCPv6_Options`. Who writes an option checks it by
//! encoding it; who sends it encodes it the same way.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::constant::{Const, Format, Int, bits_mac};

/// The longest value that fits behind the length byte of a DHCPv4 option.
pub const LONGEST_V4: usize = 255;

macro_rules! types {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal;)*) => {
        /// Type of the value of an option.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OptionType { $($(#[doc = $doc])+ $variant,)* }

        impl OptionType {
            /// As the southbound spells it.
            pub const fn name(self) -> &'static str {
                match self { $(OptionType::$variant => $name,)* }
            }

            /// The type of that name.
            pub fn from_name(name: &str) -> Option<OptionType> {
                match name { $($name => Some(OptionType::$variant),)* _ => None }
            }
        }
    };
}

types! {
    /// 0 or 1.
    Bool "bool";
    /// A number of one byte.
    Uint8 "uint8";
    /// A number of two bytes.
    Uint16 "uint16";
    /// A number of four bytes.
    Uint32 "uint32";
    /// IPv4 addresses.
    Ipv4 "ipv4";
    /// Pairs of a network and a next hop (RFC 3442).
    StaticRoutes "static_routes";
    /// Text.
    Str "str";
    /// An IPv4 address, or text.
    HostId "host_id";
    /// Domain names, separated by commas (RFC 3397).
    Domains "domains";
    /// IPv6 addresses.
    Ipv6 "ipv6";
    /// An Ethernet address.
    Mac "mac";
    /// One domain name.
    Domain "domain";
}

impl OptionType {
    /// Whether the value is text, so that quotes around it can be left out.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            OptionType::Str | OptionType::HostId | OptionType::Domains | OptionType::Domain
        )
    }

    /// What a value must look like, for messages.
    pub const fn expects(self) -> &'static str {
        match self {
            OptionType::Bool => "0 or 1",
            OptionType::Uint8 => "a number from 0 to 255",
            OptionType::Uint16 => "a number from 0 to 65535",
            OptionType::Uint32 => "a number from 0 to 4294967295",
            OptionType::Ipv4 => "IPv4 addresses",
            OptionType::StaticRoutes => "pairs of an IPv4 network and a next hop",
            OptionType::Str => "text",
            OptionType::HostId => "an IPv4 address or text",
            OptionType::Domains => "domain names",
            OptionType::Ipv6 => "IPv6 addresses",
            OptionType::Mac => "an Ethernet address",
            OptionType::Domain => "a domain name",
        }
    }

    /// The bytes of a value as packets carry them; `None` if it is not of the type.
    pub fn encode(self, values: &[Const]) -> Option<Vec<u8>> {
        let bytes = match self {
            OptionType::Bool => vec![number(one(values)?, 1)? as u8],
            OptionType::Uint8 => vec![number(one(values)?, u8::MAX.into())? as u8],
            OptionType::Uint16 => (number(one(values)?, u16::MAX.into())? as u16)
                .to_be_bytes()
                .into(),
            OptionType::Uint32 => number(one(values)?, u32::MAX)?.to_be_bytes().into(),
            OptionType::Ipv4 => {
                let addresses: Option<Vec<[u8; 4]>> = values
                    .iter()
                    .map(|value| Some(ip4(value)?.octets()))
                    .collect();
                addresses?.concat()
            }
            OptionType::StaticRoutes => static_routes(values)?,
            OptionType::Str => text(one(values)?)?.as_bytes().into(),
            OptionType::HostId => match one(values)? {
                Const::Str(name) => name.as_bytes().into(),
                other => ip4(other)?.octets().into(),
            },
            OptionType::Domains => domains(text(one(values)?)?, true)?,
            OptionType::Ipv6 => {
                let addresses: Option<Vec<[u8; 16]>> = values
                    .iter()
                    .map(|value| Some(ip6(value)?.octets()))
                    .collect();
                addresses?.concat()
            }
            OptionType::Mac => {
                exact(one(values)?, Format::Mac).map(|bits| bits_mac(bits).into())?
            }
            OptionType::Domain => {
                let name = text(one(values)?)?;
                if name.contains(',') {
                    return None;
                }
                domains(name, false)?
            }
        };
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// Domain names, separated by commas, as DNS writes them (RFC 1035, sections 3.1 and 4.1.4); with `compress`, what an
/// earlier name ends in is referred to.
pub fn domains(text: &str, compress: bool) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut seen: Vec<(String, u16)> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let mut rest = name.strip_suffix('.').unwrap_or(name);
        // A name is no longer than 255 bytes on the wire.
        if rest.is_empty() || rest.len() > 253 {
            return None;
        }
        loop {
            if rest.is_empty() {
                out.push(0);
                break;
            }
            if let Some((_, at)) = seen.iter().find(|(tail, _)| compress && tail == rest) {
                out.extend((0xc000 | at).to_be_bytes());
                break;
            }
            if let Ok(at) = u16::try_from(out.len())
                && at < 0x4000
            {
                seen.push((rest.to_owned(), at));
            }
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            if label.is_empty() || label.len() > 63 || (tail.is_empty() && rest.ends_with('.')) {
                return None;
            }
            out.push(label.len() as u8);
            out.extend(label.bytes());
            rest = tail;
        }
    }
    Some(out)
}

fn one(values: &[Const]) -> Option<&Const> {
    match values {
        [one] => Some(one),
        _ => None,
    }
}

fn text(value: &Const) -> Option<&str> {
    match value {
        Const::Str(text) => Some(text),
        _ => None,
    }
}

/// The value of a constant of a format without a mask.
fn exact(value: &Const, format: Format) -> Option<u128> {
    let int = value.as_int()?;
    (int.format() == format && int.mask().is_none()).then(|| int.value())
}

fn number(value: &Const, most: u32) -> Option<u32> {
    let bits = exact(value, Format::Dec).or_else(|| exact(value, Format::Hex))?;
    u32::try_from(bits).ok().filter(|number| *number <= most)
}

fn ip4(value: &Const) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from_bits(
        u32::try_from(exact(value, Format::Ip4)?).ok()?,
    ))
}

fn ip6(value: &Const) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from_bits(exact(value, Format::Ip6)?))
}

/// Of each route the length of the prefix, as many bytes of it as matter, and the next hop.
fn static_routes(values: &[Const]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (pairs, odd) = values.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    for [net, hop] in pairs {
        let net: &Int = net.as_int().filter(|net| net.format() == Format::Ip4)?;
        let len = match net.mask() {
            None => 32,
            Some(mask) => crate::constant::prefix_len(mask, 32)?,
        };
        let prefix = u32::try_from(net.value()).ok()?.to_be_bytes();
        out.push(len);
        out.extend(&prefix[..usize::from(len).div_ceil(8)]);
        out.extend(ip4(hop)?.octets());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_constants;

    fn encode(ty: OptionType, text: &str) -> Option<Vec<u8>> {
        ty.encode(&parse_constants(text).unwrap().0)
    }

    #[test]
    fn values_are_encoded_as_the_rfcs_have_it() {
        use OptionType as T;
        assert_eq!(encode(T::Bool, "1"), Some(vec![1]));
        assert_eq!(encode(T::Uint16, "1400"), Some(vec![5, 0x78]));
        assert_eq!(encode(T::Uint32, "0xffffffff"), Some(vec![255; 4]));
        assert_eq!(
            encode(T::Ipv4, "{8.8.8.8, 7.7.7.7}"),
            Some(vec![8, 8, 8, 8, 7, 7, 7, 7])
        );
        assert_eq!(encode(T::HostId, "10.0.0.9"), Some(vec![10, 0, 0, 9]));
        assert_eq!(encode(T::HostId, "\"ab\""), Some(b"ab".to_vec()));
        assert_eq!(
            encode(T::Mac, "0a:00:00:00:00:01"),
            Some(vec![10, 0, 0, 0, 0, 1])
        );
        let routes =
            "{30.0.0.0/24,10.0.0.10, 0.0.0.0/0,10.0.0.1,40.1.2.3/32,10.0.0.5,1.128.0.0/9,10.0.0.6}";
        let expected = "\x18\x1e\0\0\x0a\0\0\x0a\0\x0a\0\0\x01\x20\x28\x01\x02\x03\x0a\0\0\x05\x09\x01\u{80}\x0a\0\0\x06";
        let expected: Vec<u8> = expected.chars().map(|c| c as u8).collect();
        assert_eq!(encode(T::StaticRoutes, routes), Some(expected));
        let names = "\"a.example.org,b.example.org,example.org\"";
        assert_eq!(
            encode(T::Domains, names),
            Some(b"\x01a\x07example\x03org\0\x01b\xc0\x02\xc0\x02".to_vec())
        );
        assert_eq!(
            encode(T::Domain, "\"a.org.\""),
            Some(b"\x01a\x03org\0".to_vec())
        );
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        use OptionType as T;
        for (ty, text) in [
            (T::Bool, "2"),
            (T::Uint8, "256"),
            (T::Uint16, "{1, 2}"),
            (T::Uint32, "4294967296"),
            (T::Ipv4, "fd00::1"),
            (T::Ipv4, "10.0.0.0/24"),
            (T::Ipv4, "\"10.0.0.1\""),
            (T::StaticRoutes, "{10.0.0.0/24}"),
            (T::StaticRoutes, "{10.0.0.0/24, 10.1.0.0/16}"),
            (T::Str, "5"),
            (T::Str, "\"\""),
            (T::Domains, "\"a..b\""),
            (T::Domains, "\"a.b,,c\""),
            (T::Domain, "\"a,b\""),
            (T::Ipv6, "10.0.0.1"),
            (T::Mac, "10.0.0.1"),
        ] {
            assert_eq!(encode(ty, text), None, "{text} as {}", ty.name());
        }
    }
}
