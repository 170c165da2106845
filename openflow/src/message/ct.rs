//! `NXT_CT_FLUSH`: forgets tracked connections by zone and addresses (Open vSwitch 3.1 and later).

use std::net::{IpAddr, Ipv6Addr};

use crate::wire::{DecodeError, Put, Reader};

const ORIG: u16 = 0;
const REPLY: u16 = 1;
const ZONE: u16 = 2;

const SRC: u16 = 0;
const DST: u16 = 1;
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;

/// The connections to forget: those that agree with all that is given; with nothing given, all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CtFlush {
    /// IP protocol, 0 for any.
    pub proto: u8,
    /// Only in this zone.
    pub zone: Option<u16>,
    /// As the first packet had them.
    pub orig: CtTuple,
    /// As the packets back have them.
    pub reply: CtTuple,
}

/// Addresses and ports of one direction, as far as they are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CtTuple {
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Source port.
    pub src_port: Option<u16>,
    /// Destination port.
    pub dst_port: Option<u16>,
}

/// Writes a property: kind, length without padding to eight bytes, value, padding.
fn property(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    value(out);
    out.patch_len(start + 2, start);
    out.pad8(start);
}

/// A property of 16 bits; what fills it up to eight bytes counts in its length.
fn short(out: &mut Vec<u8>, kind: u16, value: u16) {
    property(out, kind, |out| {
        out.u16(value);
        out.zeros(2);
    });
}

fn each(
    r: &mut Reader<'_>,
    mut take: impl FnMut(u16, &mut Reader<'_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    const WHAT: &str = "property of a connection";
    while !r.is_empty() {
        let kind = r.u16()?;
        let len = usize::from(r.u16()?);
        let body = len
            .checked_sub(4)
            .ok_or(DecodeError::Length { what: WHAT, len })?;
        take(kind, &mut r.sub(body, WHAT)?)?;
        r.pad8(len)?;
    }
    Ok(())
}

impl CtTuple {
    fn is_empty(&self) -> bool {
        *self == CtTuple::default()
    }

    fn encode(&self, out: &mut Vec<u8>, kind: u16) {
        if self.is_empty() {
            return;
        }
        let start = out.len();
        out.u16(kind);
        out.u16(0);
        out.zeros(4);
        for (kind, address) in [(SRC, self.src), (DST, self.dst)] {
            let bytes = address.map(|address| match address {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            });
            if let Some(bytes) = bytes {
                property(out, kind, |out| out.bytes(&bytes));
            }
        }
        for (kind, port) in [(SRC_PORT, self.src_port), (DST_PORT, self.dst_port)] {
            if let Some(port) = port {
                short(out, kind, port);
            }
        }
        out.patch_len(start + 2, start);
        out.pad8(start);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.skip(4)?;
        let mut out = Self::default();
        let address = |r: &mut Reader<'_>| -> Result<IpAddr, DecodeError> {
            Ok(Ipv6Addr::from(r.u128()?).to_canonical())
        };
        each(r, |kind, value| {
            match kind {
                SRC => out.src = Some(address(value)?),
                DST => out.dst = Some(address(value)?),
                SRC_PORT => out.src_port = Some(value.u16()?),
                DST_PORT => out.dst_port = Some(value.u16()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(out)
    }
}

impl CtFlush {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(self.proto);
        out.zeros(7);
        self.orig.encode(out, ORIG);
        self.reply.encode(out, REPLY);
        if let Some(zone) = self.zone {
            short(out, ZONE, zone);
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proto = r.u8()?;
        r.skip(7)?;
        let mut out = Self {
            proto,
            ..Self::default()
        };
        each(r, |kind, value| {
            match kind {
                ORIG => out.orig = CtTuple::decode(value)?,
                REPLY => out.reply = CtTuple::decode(value)?,
                ZONE => out.zone = Some(value.u16()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(out)
    }
}
