//! What IGMP and MLD have in common: who asks which groups have receivers, and who says that it is or was one.

use std::net::IpAddr;

use smallvec::SmallVec;

/// A message of either protocol, with group addresses of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<A> {
    /// A multicast router asks; about all groups if the address is unspecified.
    Query {
        /// The group.
        group: A,
    },
    /// A host says what it wants.
    Report {
        /// Version of the protocol.
        version: u8,
        /// Group by group.
        changes: Changes<A>,
    },
}

/// What a report says of each group, in its order.
pub type Changes<A> = SmallVec<[(A, Change); 2]>;

/// What a report means to who forwards whole groups, whatever their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The host is a receiver.
    Join,
    /// It no longer is.
    Leave,
}

/// Types of group records (RFC 3376, section 4.2.12; RFC 3810, section 5.2.12).
mod record {
    pub const MODE_IS_INCLUDE: u8 = 1;
    pub const MODE_IS_EXCLUDE: u8 = 2;
    pub const CHANGE_TO_INCLUDE: u8 = 3;
    pub const CHANGE_TO_EXCLUDE: u8 = 4;
    pub const ALLOW_NEW_SOURCES: u8 = 5;
}

impl Change {
    /// What a group record means. Nothing, if it only names sources that are no longer wanted: others may be.
    pub(crate) fn of_record(kind: u8, sources: u16) -> Option<Change> {
        match (kind, sources) {
            (record::MODE_IS_EXCLUDE | record::CHANGE_TO_EXCLUDE, _) => Some(Change::Join),
            // Includes nothing: wants nothing.
            (record::MODE_IS_INCLUDE | record::CHANGE_TO_INCLUDE, 0) => Some(Change::Leave),
            (record::MODE_IS_INCLUDE | record::CHANGE_TO_INCLUDE, _) => Some(Change::Join),
            (record::ALLOW_NEW_SOURCES, 1..) => Some(Change::Join),
            _ => None,
        }
    }
}

/// Reads the group records behind the first 8 bytes of a report of the newest version: `parse` takes the address, which
/// stands behind the first 4 bytes of a record.
pub(crate) fn records<A, const N: usize>(
    report: &[u8],
    what: &'static str,
    parse: impl Fn([u8; N]) -> Option<A>,
) -> Result<Changes<A>, crate::ParseError> {
    let count = u16::from_be_bytes(crate::array(report, 6, what)?);
    let mut changes = Changes::new();
    let mut at = 8;
    for _ in 0..count {
        let [kind, extra, s0, s1] = crate::array::<4>(report, at, what)?;
        let sources = u16::from_be_bytes([s0, s1]);
        let address = crate::array::<N>(report, at + 4, what)?;
        at += 4 + N + N * usize::from(sources) + 4 * usize::from(extra);
        if at > report.len() {
            return Err(crate::ParseError::Short(what));
        }
        if let (Some(group), Some(change)) = (parse(address), Change::of_record(kind, sources)) {
            changes.push((group, change));
        }
    }
    Ok(changes)
}

/// Groups that everybody gets whoever joins them (RFC 4541, sections 2.1.2 and 3; RFC 4291, section 2.7.1): 224.0.0.X, all
/// nodes, all routers, solicited nodes, unassigned ones. What is no group is not one of them either.
#[must_use]
pub fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => match ip.segments() {
            [scope, 0, 0, 0, 0, 0, 0, 0] => scope & 0xfff0 == 0xff00,
            [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1] => true,
            [0xff01 | 0xff02 | 0xff05, 0, 0, 0, 0, 0, 0, 2] => true,
            [0xff02, 0, 0, 0, 0, 1, node, _] => node >> 8 == 0xff,
            _ => false,
        },
    }
}

/// A number of seconds as 8 bits: as it is up to 127, else 3 bits of exponent and 4 of mantissa (RFC 3376, section 4.1.7;
/// RFC 3810, section 5.1.9). Rounded down, at most 31,744.
#[must_use]
pub fn interval_code(seconds: u32) -> u8 {
    if seconds < 128 {
        return seconds as u8;
    }
    let seconds = seconds.min(31_744);
    // The mantissa's leading bit is implied.
    let exponent = 27 - (seconds.leading_zeros() + 3).min(27);
    let mantissa = (seconds >> (exponent + 3)) & 0xf;
    0x80 | (exponent << 4) as u8 | mantissa as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the RFCs say it is read.
    fn seconds(code: u8) -> u32 {
        match code {
            0..=127 => code.into(),
            _ => (u32::from(code & 0xf) | 0x10) << (u32::from(code >> 4 & 7) + 3),
        }
    }

    #[test]
    fn intervals_read_back_rounded_down() {
        for value in 0..=31_744 {
            let read = seconds(interval_code(value));
            assert!(
                read <= value && value - read <= value / 16,
                "{value} as {read}"
            );
            assert_eq!(seconds(interval_code(read)), read);
        }
        assert_eq!(seconds(interval_code(u32::MAX)), 31_744);
    }

    #[test]
    fn reserved_groups() {
        let is = |ip: &str| is_reserved(ip.parse().unwrap());
        for ip in [
            "224.0.0.1",
            "224.0.0.255",
            "ff02::1",
            "ff02::2",
            "ff05::2",
            "ff0e::",
        ] {
            assert!(is(ip), "{ip}");
        }
        assert!(is("ff02::1:ff00:1") && is("ff02::1:ffab:cdef"));
        for ip in [
            "224.0.1.1",
            "239.0.0.1",
            "ff02::fb",
            "ff05::1",
            "ff1e::",
            "ff02::1:ee00:1",
        ] {
            assert!(!is(ip), "{ip}");
        }
    }

    #[test]
    fn records_by_type() {
        use Change::{Join, Leave};
        let meaning = |kind| [0, 1].map(|sources| Change::of_record(kind, sources));
        assert_eq!(meaning(1), [Some(Leave), Some(Join)]);
        assert_eq!(meaning(2), [Some(Join), Some(Join)]);
        assert_eq!(meaning(3), [Some(Leave), Some(Join)]);
        assert_eq!(meaning(4), [Some(Join), Some(Join)]);
        assert_eq!(meaning(5), [None, Some(Join)]);
        assert_eq!(meaning(6), [None, None]);
        assert_eq!(meaning(7), [None, None]);
    }
}
