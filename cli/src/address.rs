//! Checks of what is written into address columns: ovn-nb(5), `addresses` and `port_security`.

use std::net::IpAddr;

use crate::common::{Prefix, parse_mac};
use crate::error::{Error, nearest};

/// Words that stand for addresses.
const WORDS: &[&str] = &["unknown", "dynamic", "router"];

const HINT: &str = "Invalid address format. See ovn-nb(5). Hint: An Ethernet address must be listed before \
                    an IP address, together as a single argument.";

/// How an entry of `port_security` begins that allows a virtual router.
pub const VRRP: &str = "VRRPv3";

/// Checks one entry of `addresses` (with the words that may stand there) or of `port_security`.
pub fn check_addresses(text: &str, words: bool) -> Result<(), Error> {
    let bad = |position: usize, what: &str| {
        let mark = format!("  {text}\n  {:position$}^ {what}", "");
        Err(Error::new(format!("{text}: {HINT}")).help(mark))
    };
    if words && WORDS.contains(&text) {
        return Ok(());
    }
    let mut parts = text.split_whitespace();
    // Offsets of words within the text, for the mark.
    let at = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let first = parts.next();
    let first = match first {
        Some(VRRP) if !words => parts.next(),
        first => first,
    };
    let Some(first) = first else {
        return bad(0, "no address at all");
    };
    let dynamic = words && first == "dynamic";
    if !dynamic && parse_mac(first).is_none() {
        return match nearest(first, WORDS.iter().copied()).filter(|_| words) {
            Some(near) => bad(at(first), &format!("did you mean \"{near}\"?")),
            None => bad(
                at(first),
                "not an Ethernet address (like 00:16:3e:00:00:01)",
            ),
        };
    }
    for part in parts {
        let valid = part.parse::<IpAddr>().is_ok()
            || words && part == "dynamic"
            || Prefix::parse(part).is_some();
        if !valid {
            return bad(at(part), "not an IP address");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "unknown",
            "00:00:00:00:00:01",
            "00:00:00:00:00:01 10.0.0.1 fd00::1",
            "dynamic 10.0.0.1",
        ] {
            assert_eq!(check_addresses(good, true), Ok(()), "{good}");
        }
        let help = |text| {
            check_addresses(text, true)
                .unwrap_err()
                .help
                .unwrap_or_default()
        };
        assert!(help("unknwon").contains("did you mean \"unknown\"?"));
        assert_eq!(
            help("00:00:00:00:00:01 10.0.0.x"),
            "  00:00:00:00:00:01 10.0.0.x\n                    ^ not an IP address"
        );
        assert!(check_addresses("unknown", false).is_err());
        let virtual_router = "VRRPv3 00:00:00:00:00:01 10.0.0.1";
        assert_eq!(check_addresses(virtual_router, false), Ok(()));
        assert!(check_addresses(virtual_router, true).is_err());
        assert!(check_addresses("VRRPv3", false).is_err());
    }
}
