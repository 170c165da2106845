//! ARP over Ethernet for IPv4 (RFC 826).

use std::net::Ipv4Addr;

use crate::{Ethernet, Frame, Mac, ParseError, array, ethertype};

/// Asks.
pub const REQUEST: u16 = 1;
/// Answers.
pub const REPLY: u16 = 2;
/// Asks for the sender's own address (RARP).
pub const REVERSE_REQUEST: u16 = 3;

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// [`REQUEST`], [`REPLY`] or another operation.
    pub op: u16,
    /// Sender's Ethernet address.
    pub sha: Mac,
    /// Sender's IP address.
    pub spa: Ipv4Addr,
    /// Target's Ethernet address.
    pub tha: Mac,
    /// Target's IP address.
    pub tpa: Ipv4Addr,
}

const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// When it is not ARP of Ethernet and IPv4, or short.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, ParseError> {
        const WHAT: &str = "ARP";
        if frame.ethernet.ethertype != ethertype::ARP {
            return Err(ParseError::Other(WHAT));
        }
        let b = frame.payload;
        if array::<6>(b, 0, WHAT)? != HEADER {
            return Err(ParseError::Malformed(WHAT));
        }
        Ok(Self {
            op: u16::from_be_bytes(array(b, 6, WHAT)?),
            sha: Mac(array(b, 8, WHAT)?),
            spa: array::<4>(b, 14, WHAT)?.into(),
            tha: Mac(array(b, 18, WHAT)?),
            tpa: array::<4>(b, 24, WHAT)?.into(),
        })
    }

    /// The payload of a frame.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        out.extend_from_slice(&HEADER);
        out.extend_from_slice(&self.op.to_be_bytes());
        out.extend_from_slice(&self.sha.0);
        out.extend_from_slice(&self.spa.octets());
        out.extend_from_slice(&self.tha.0);
        out.extend_from_slice(&self.tpa.octets());
        out
    }
}

/// A broadcast frame that asks who has `tpa`.
#[must_use]
pub fn request(sha: Mac, spa: Ipv4Addr, tpa: Ipv4Addr) -> Vec<u8> {
    let arp = Arp {
        op: REQUEST,
        sha,
        spa,
        tha: Mac::ZERO,
        tpa,
    };
    Ethernet::new(sha, Mac::BROADCAST, ethertype::ARP).frame(&arp.to_bytes())
}

/// A broadcast frame by which `mac` announces that it has `ip` (RFC 5227, section 3: a request for oneself).
#[must_use]
pub fn gratuitous(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    request(mac, ip, ip)
}

/// A broadcast frame by which switches learn where `mac` is although it has no IPv4 address (RFC 903: a request for one's
/// own).
#[must_use]
pub fn reverse(mac: Mac) -> Vec<u8> {
    let arp = Arp {
        op: REVERSE_REQUEST,
        sha: mac,
        spa: Ipv4Addr::UNSPECIFIED,
        tha: mac,
        tpa: Ipv4Addr::UNSPECIFIED,
    };
    Ethernet::new(mac, Mac::BROADCAST, ethertype::RARP).frame(&arp.to_bytes())
}

/// The frame that answers a request: `mac` has the address asked for.
///
/// # Errors
/// When the frame is no ARP request.
pub fn reply(to: &Frame<'_>, mac: Mac) -> Result<Vec<u8>, ParseError> {
    let asked = Arp::parse(to)?;
    if asked.op != REQUEST {
        return Err(ParseError::Other("an ARP request"));
    }
    let arp = Arp {
        op: REPLY,
        sha: mac,
        spa: asked.tpa,
        tha: asked.sha,
        tpa: asked.spa,
    };
    Ok(to.ethernet.answer(mac).frame(&arp.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(op: u16, sha: [u8; 6], spa: [u8; 4], tha: [u8; 6], tpa: [u8; 4]) {
            let arp = Arp { op, sha: Mac(sha), spa: spa.into(), tha: Mac(tha), tpa: tpa.into() };
            let bytes = Ethernet::new(Mac(sha), Mac(tha), ethertype::ARP).frame(&arp.to_bytes());
            prop_assert_eq!(Arp::parse(&Frame::parse(&bytes).unwrap()).unwrap(), arp);
            // etherparse reads the same.
            let sliced = etherparse::ArpPacketSlice::from_slice(&bytes[14..]).unwrap();
            prop_assert_eq!(sliced.operation().0, op);
            prop_assert_eq!(sliced.target_protocol_addr(), &tpa[..]);
        }

        #[test]
        fn replies(sha: [u8; 6], spa: [u8; 4], tpa: [u8; 4], mac: [u8; 6]) {
            let asked = request(Mac(sha), spa.into(), tpa.into());
            let answer = reply(&Frame::parse(&asked).unwrap(), Mac(mac)).unwrap();
            let frame = Frame::parse(&answer).unwrap();
            prop_assert_eq!(frame.ethernet.dst, Mac(sha));
            prop_assert_eq!(Arp::parse(&frame).unwrap(), Arp { op: REPLY, sha: Mac(mac), spa: tpa.into(), tha: Mac(sha), tpa: spa.into() });
            prop_assert!(reply(&frame, Mac(mac)).is_err());
        }

        #[test]
        fn nothing_panics(payload: Vec<u8>) {
            let _ = Arp::parse(&Frame { ethernet: Ethernet::new(Mac::ZERO, Mac::ZERO, ethertype::ARP), payload: &payload });
        }
    }
}
