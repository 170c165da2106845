//! Ethernet frames with VLAN tags.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use smallvec::SmallVec;

use crate::{ParseError, array};

/// Ethernet types.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// RARP.
    pub const RARP: u16 = 0x8035;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad tag.
    pub const QINQ: u16 = 0x88a8;
}

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// None.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Where an IPv6 multicast goes (RFC 2464, section 7).
    #[must_use]
    pub fn ipv6_multicast(group: Ipv6Addr) -> Mac {
        let o = group.octets();
        Mac([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }

    /// The group bit.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// As a number, for match fields.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0.iter().fold(0, |acc, b| acc << 8 | u64::from(*b))
    }

    /// From the low 48 bits of a number.
    #[must_use]
    pub fn from_u64(v: u64) -> Mac {
        let b = v.to_be_bytes();
        Mac([b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// The link-local address made of it (modified EUI-64, RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        let m = self.0;
        Ipv6Addr::from([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            m[0] ^ 2,
            m[1],
            m[2],
            0xff,
            0xfe,
            m[3],
            m[4],
            m[5],
        ])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            m[0], m[1], m[2], m[3], m[4], m[5]
        )
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = ParseError;

    /// Six groups of one or two hexadecimal digits.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::Malformed("Ethernet address");
        let mut out = [0; 6];
        let mut groups = s.split(':');
        for byte in &mut out {
            let group = groups
                .next()
                .filter(|g| (1..=2).contains(&g.len()) && g.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(bad)?;
            *byte = u8::from_str_radix(group, 16).map_err(|_| bad())?;
        }
        if groups.next().is_some() {
            Err(bad())
        } else {
            Ok(Mac(out))
        }
    }
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// [`ethertype::VLAN`] or [`ethertype::QINQ`].
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id.
    pub tci: u16,
}

/// An Ethernet header with its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// To.
    pub dst: Mac,
    /// From.
    pub src: Mac,
    /// Tags, outermost first.
    pub vlans: SmallVec<[Vlan; 2]>,
    /// What follows them.
    pub ethertype: u16,
}

impl Ethernet {
    /// A header without tags.
    #[must_use]
    pub fn new(src: Mac, dst: Mac, ethertype: u16) -> Self {
        Self {
            dst,
            src,
            vlans: SmallVec::new(),
            ethertype,
        }
    }

    /// The header of an answer: to the sender, in the same VLAN.
    #[must_use]
    pub fn answer(&self, src: Mac) -> Self {
        Self {
            dst: self.src,
            src,
            vlans: self.vlans.clone(),
            ethertype: self.ethertype,
        }
    }

    /// A frame of this header and `payload`.
    #[must_use]
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(14 + 4 * self.vlans.len() + payload.len());
        out.extend_from_slice(&self.dst.0);
        out.extend_from_slice(&self.src.0);
        for vlan in &self.vlans {
            out.extend_from_slice(&vlan.tpid.to_be_bytes());
            out.extend_from_slice(&vlan.tci.to_be_bytes());
        }
        out.extend_from_slice(&self.ethertype.to_be_bytes());
        out.extend_from_slice(payload);
        out
    }
}

/// A frame taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub ethernet: Ethernet,
    /// What it carries, padding included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// When it ends within its headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let u16_at = |at| array(bytes, at, "Ethernet").map(u16::from_be_bytes);
        let mut ethernet = Ethernet::new(
            Mac(array(bytes, 6, "Ethernet")?),
            Mac(array(bytes, 0, "Ethernet")?),
            u16_at(12)?,
        );
        let mut at = 14;
        while matches!(ethernet.ethertype, ethertype::VLAN | ethertype::QINQ) {
            ethernet.vlans.push(Vlan {
                tpid: ethernet.ethertype,
                tci: u16_at(at)?,
            });
            ethernet.ethertype = u16_at(at + 2)?;
            at += 4;
        }
        Ok(Self {
            ethernet,
            payload: &bytes[at..],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_round_trip(dst: [u8; 6], src: [u8; 6], tags in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..3), payload: Vec<u8>) {
            let mut ethernet = Ethernet::new(Mac(src), Mac(dst), ethertype::IPV4);
            ethernet.vlans = tags.iter().map(|(q, tci)| Vlan { tpid: if *q { ethertype::QINQ } else { ethertype::VLAN }, tci: *tci }).collect();
            let bytes = ethernet.frame(&payload);
            let frame = Frame::parse(&bytes).unwrap();
            prop_assert_eq!(frame.ethernet, ethernet);
            prop_assert_eq!(frame.payload, &payload[..]);
            // The same headers to etherparse, when it can take as many.
            if tags.len() < 3 {
                prop_assert_eq!(etherparse::Ethernet2Header::from_slice(&bytes).unwrap().0.source, src);
            }
        }

        #[test]
        fn macs_round_trip(m: [u8; 6]) {
            prop_assert_eq!(Mac(m).to_string().parse::<Mac>().unwrap(), Mac(m));
            prop_assert_eq!(Mac::from_u64(Mac(m).to_u64()), Mac(m));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, text: String) {
            let _ = Frame::parse(&bytes);
            let _ = text.parse::<Mac>();
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(
            "0:1:a:B:cc:DD".parse::<Mac>().unwrap(),
            Mac([0, 1, 10, 11, 0xcc, 0xdd])
        );
        for bad in [
            "",
            "0:1:2:3:4",
            "0:1:2:3:4:5:6",
            "+0:1:2:3:4:5",
            "000:1:2:3:4:5",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert_eq!(
            Mac([0, 0x16, 0x3e, 1, 2, 3]).link_local().to_string(),
            "fe80::216:3eff:fe01:203"
        );
    }
}
