//! DHCPv6 messages (RFC 8415): what a client asks, and the answer of a server that has one address for it.

use std::net::Ipv6Addr;

use crate::kinds::kinds;
use crate::{ParseError, array};

/// Numbers of options.
pub mod option {
    /// DUID of the client.
    pub const CLIENT_ID: u16 = 1;
    /// DUID of the server.
    pub const SERVER_ID: u16 = 2;
    /// Addresses that are not temporary.
    pub const IA_NA: u16 = 3;
    /// One of them.
    pub const IA_ADDR: u16 = 5;
    /// What the client would like to know.
    pub const REQUEST: u16 = 6;
    /// How it went.
    pub const STATUS: u16 = 13;
    /// What software the client is.
    pub const USER_CLASS: u16 = 15;
    /// DNS search list.
    pub const DOMAIN_SEARCH: u16 = 24;
    /// The client's name (RFC 4704).
    pub const FQDN: u16 = 39;
    /// Where the file to boot is (RFC 5970).
    pub const BOOTFILE: u16 = 59;
}

kinds! {
    /// A client looks for servers.
    Solicit = 1;
    /// A server offers.
    Advertise = 2;
    /// A client wants what was offered.
    Request = 3;
    /// A client asks whether its addresses still fit.
    Confirm = 4;
    /// A client asks its server to extend the lease.
    Renew = 5;
    /// A client asks any server to extend it.
    Rebind = 6;
    /// A server answers.
    Reply = 7;
    /// A client needs its addresses no more.
    Release = 8;
    /// A client found an address in use.
    Decline = 9;
    /// A client asks for options alone.
    InformationRequest = 11;
}

/// What a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What it asks.
    pub kind: Kind,
    transaction: [u8; 3],
    /// Its DUID.
    pub client_id: &'a [u8],
    /// The number of the (last) set of addresses it asks for.
    pub ia: Option<[u8; 4]>,
    /// The flags with the client's name, or that it wants to be told its name.
    pub fqdn_flags: Option<u8>,
    /// It is iPXE.
    pub ipxe: bool,
}

impl<'a> Request<'a> {
    /// Reads the payload of a datagram; options as far as they are whole.
    ///
    /// # Errors
    /// When it is no message of a client, or the client does not say who it is.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "DHCPv6";
        let [kind, transaction @ ..] = array::<4>(payload, 0, WHAT)?;
        let kind = Kind::from_number(kind)
            .filter(|kind| !matches!(kind, Kind::Advertise | Kind::Reply))
            .ok_or(ParseError::Other("a message of a DHCPv6 client"))?;
        let mut client_id = None;
        let mut request = Request {
            kind,
            transaction,
            client_id: &[],
            ia: None,
            fqdn_flags: None,
            ipxe: false,
        };
        for (code, value) in options(&payload[4..]) {
            match code {
                option::CLIENT_ID => client_id = Some(value),
                option::IA_NA => request.ia = value.first_chunk().copied().or(request.ia),
                option::FQDN => request.fqdn_flags = value.first().copied().or(request.fqdn_flags),
                option::REQUEST => {
                    let (wanted, _) = value.as_chunks::<2>();
                    if wanted.contains(&option::FQDN.to_be_bytes()) {
                        request.fqdn_flags = request.fqdn_flags.or(Some(0));
                    }
                }
                option::USER_CLASS => request.ipxe |= value.get(2..) == Some(b"iPXE"),
                _ => {}
            }
        }
        request.client_id = client_id.ok_or(ParseError::Other("DHCPv6: no client identifier"))?;
        Ok(request)
    }

    /// An answer.
    #[must_use]
    pub fn answer(&self, kind: Kind) -> Answer {
        let mut bytes = vec![kind as u8];
        bytes.extend(self.transaction);
        let mut answer = Answer(bytes);
        answer.option(option::CLIENT_ID, self.client_id);
        answer
    }
}

/// An answer being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Adds an option. A value that is too long for any packet is left out.
    pub fn option(&mut self, code: u16, value: &[u8]) {
        if let Ok(len) = u16::try_from(value.len()) {
            self.0.extend(code.to_be_bytes());
            self.0.extend(len.to_be_bytes());
            self.0.extend(value);
        }
    }

    /// Adds an address that may be used for ever.
    pub fn address(&mut self, ia: [u8; 4], address: Ipv6Addr) {
        let mut inner = Answer(Vec::new());
        // No need to renew (T1, T2).
        inner.0.extend(ia);
        inner.0.extend([0xff; 8]);
        let mut ia_addr = address.octets().to_vec();
        ia_addr.extend([0xff; 8]);
        inner.option(option::IA_ADDR, &ia_addr);
        self.option(option::IA_NA, &inner.0);
    }

    /// The payload of a datagram.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Options with their values, up to the first one that is cut.
pub fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&[a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
        bytes = rest;
        Some((u16::from_be_bytes([a, b]), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_far_as_they_are_whole() {
        let mut message = vec![1, 0xab, 0xcd, 0xef];
        let client = [0, 1, 0, 2, 7, 7];
        message.extend(client);
        message.extend([0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.extend([0, 15, 0, 6, 0, 4, b'i', b'P', b'X', b'E', 0, 6, 0, 4, 0]);
        let request = Request::parse(&message).unwrap();
        assert_eq!(request.kind, Kind::Solicit);
        assert_eq!(request.client_id, [7, 7]);
        assert_eq!(request.ia, Some([0, 0, 0, 1]));
        assert!(request.ipxe && request.fqdn_flags.is_none());
        assert_eq!(
            request.answer(Kind::Advertise).finish(),
            [&[2, 0xab, 0xcd, 0xef], &client[..]].concat()
        );
        for len in 0..10 {
            assert!(Request::parse(&message[..len]).is_err(), "{len}");
        }
        for kind in [0, 2, 7, 10, 12, 13] {
            message[0] = kind;
            assert!(Request::parse(&message).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_name_is_wanted_by_itself_or_by_request() {
        let with = |option: &[u8]| {
            let message = [&[11, 0, 0, 0, 0, 1, 0, 0][..], option].concat();
            Request::parse(&message).unwrap().fqdn_flags
        };
        assert_eq!(with(&[0, 39, 0, 1, 5]), Some(5));
        assert_eq!(with(&[0, 39, 0, 0]), None);
        assert_eq!(with(&[0, 6, 0, 4, 0, 23, 0, 39]), Some(0));
        assert_eq!(with(&[0, 6, 0, 2, 0, 23]), None);
    }
}
