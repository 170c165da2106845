//! DHCPv4 messages (RFC 2131): what a client asks, and the answer of a server that has one address for it.

use std::net::Ipv4Addr;

use crate::kinds::kinds;
use crate::{ParseError, array};

/// Length of what precedes the options, without the magic cookie.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const BROADCAST: u8 = 0x80;
/// Places of fields.
const HOPS: usize = 3;
const YOURS: usize = 16;
const RELAY: usize = 24;
/// A message that has passed as many relays goes round in circles.
const MOST_HOPS: u8 = 16;

/// Numbers of options (RFC 2132).
pub mod option {
    /// Filler without a length.
    pub const PAD: u8 = 0;
    /// Network mask.
    pub const NETMASK: u8 = 1;
    /// Seconds that the address may be used.
    pub const LEASE_TIME: u8 = 51;
    /// The address that a client wants.
    pub const REQUESTED_IP: u8 = 50;
    /// Kind of message.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Address of the server.
    pub const SERVER_ID: u8 = 54;
    /// Seconds until the lease is to be renewed.
    pub const T1: u8 = 58;
    /// Seconds until any server may renew it.
    pub const T2: u8 = 59;
    /// Name of the file to boot.
    pub const BOOTFILE: u8 = 67;
    /// Encapsulated options of gPXE and iPXE.
    pub const ETHERBOOT: u8 = 175;
    /// Nothing follows; without a length.
    pub const END: u8 = 255;
}

kinds! {
    /// A client looks for servers.
    Discover = 1;
    /// A server offers an address.
    Offer = 2;
    /// A client wants the address, or to keep it.
    Request = 3;
    /// A client found the address in use.
    Decline = 4;
    /// It has it.
    Ack = 5;
    /// It must not use the address.
    Nak = 6;
    /// A client needs the address no more.
    Release = 7;
    /// A client that has an address asks for the options.
    Inform = 8;
}

impl Kind {
    /// As RFC 2131 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Discover => "DHCPDISCOVER",
            Kind::Offer => "DHCPOFFER",
            Kind::Request => "DHCPREQUEST",
            Kind::Decline => "DHCPDECLINE",
            Kind::Ack => "DHCPACK",
            Kind::Nak => "DHCPNAK",
            Kind::Release => "DHCPRELEASE",
            Kind::Inform => "DHCPINFORM",
        }
    }
}

/// What a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    fixed: &'a [u8],
    /// What it asks.
    pub kind: Kind,
    /// The address it wants by option, if it is one.
    pub requested: Option<Ipv4Addr>,
    /// It is gPXE or iPXE.
    pub etherboot: bool,
}

impl<'a> Request<'a> {
    /// Reads the payload of a datagram. Options are read as far as they are whole; of those of one number the last counts.
    ///
    /// # Errors
    /// When it is no message of a client, or does not say of which kind.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "DHCP";
        let fixed = payload.get(..FIXED).ok_or(ParseError::Short(WHAT))?;
        if fixed[0] != BOOT_REQUEST {
            return Err(ParseError::Other("a message of a DHCP client"));
        }
        if array::<4>(payload, FIXED, WHAT)? != COOKIE {
            return Err(ParseError::Other("DHCP: no magic cookie"));
        }
        let (mut kind, mut requested, mut etherboot) = (None, None, false);
        for (code, value) in options(&payload[FIXED + 4..]) {
            match (code, value) {
                (option::MESSAGE_TYPE, &[number]) => kind = Some(number),
                (option::REQUESTED_IP, &[a, b, c, d]) => {
                    requested = Some(Ipv4Addr::new(a, b, c, d)).filter(|ip| !ip.is_unspecified());
                }
                (option::ETHERBOOT, _) => etherboot = true,
                _ => {}
            }
        }
        let kind = kind.ok_or(ParseError::Other("DHCP: no kind of message"))?;
        Ok(Request {
            fixed,
            kind: Kind::from_number(kind).ok_or(ParseError::Malformed("DHCP kind"))?,
            requested,
            etherboot,
        })
    }

    /// The address the client says it has; unspecified if none.
    #[must_use]
    pub fn client_ip(&self) -> Ipv4Addr {
        ip_at(self.fixed, 12)
    }

    /// The client's hardware address, as far as it is Ethernet's.
    #[must_use]
    pub fn client_mac(&self) -> crate::Mac {
        crate::Mac([28, 29, 30, 31, 32, 33].map(|at| self.fixed[at]))
    }

    /// Whether the client cannot receive at an address yet.
    #[must_use]
    pub fn wants_broadcast(&self) -> bool {
        self.fixed[10] & BROADCAST != 0
    }

    /// An answer. What it does not set is as the client sent it (RFC 2131, table 3).
    #[must_use]
    pub fn answer(&self, kind: Kind, yours: Ipv4Addr, next_server: Option<Ipv4Addr>) -> Answer {
        let mut bytes = self.fixed.to_vec();
        bytes[0] = BOOT_REPLY;
        bytes[YOURS..YOURS + 4].copy_from_slice(&yours.octets());
        if let Some(server) = next_server {
            bytes[20..24].copy_from_slice(&server.octets());
        }
        bytes.extend(COOKIE);
        let mut answer = Answer(bytes);
        answer.option(option::MESSAGE_TYPE, &[kind as u8]);
        answer
    }
}

/// An answer being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Adds an option. A value longer than 255 bytes is left out.
    pub fn option(&mut self, code: u8, value: &[u8]) {
        if let Ok(len) = u8::try_from(value.len()) {
            self.0.extend([code, len]);
            self.0.extend(value);
        }
    }

    /// The payload of a datagram. Some clients of old read words beyond the end: there is room for them.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend([option::PAD; 4]);
        self.0.push(option::END);
        self.0.extend([option::PAD; 4]);
        self.0
    }
}

/// A client's message as a relay passes it on.
///
/// # Errors
/// When it is none, or another relay has passed it on already, or it has come too far (RFC 1542, section 4.1.1).
pub fn relayed(payload: &[u8], relay: Ipv4Addr) -> Result<Vec<u8>, ParseError> {
    Request::parse(payload)?;
    let mut out = payload.to_vec();
    if !ip_at(&out, RELAY).is_unspecified() {
        return Err(ParseError::Other("a message that no relay has passed on"));
    }
    if out[HOPS] >= MOST_HOPS {
        return Err(ParseError::Malformed("DHCP hops"));
    }
    out[HOPS] += 1;
    out[RELAY..RELAY + 4].copy_from_slice(&relay.octets());
    Ok(out)
}

/// Where a relay delivers a server's message: the client's hardware address, and its IP address if it can receive at one.
///
/// # Errors
/// When it is none, or not this server's to this relay.
pub fn delivery(
    payload: &[u8],
    relay: Ipv4Addr,
    server: Ipv4Addr,
) -> Result<(crate::Mac, Ipv4Addr), ParseError> {
    const WHAT: &str = "DHCP";
    let fixed = payload.get(..FIXED).ok_or(ParseError::Short(WHAT))?;
    if fixed[0] != BOOT_REPLY || array::<4>(payload, FIXED, WHAT)? != COOKIE {
        return Err(ParseError::Other("a message of a DHCP server"));
    }
    let (mut kind, mut from) = (None, None);
    for (code, value) in options(&payload[FIXED + 4..]) {
        match (code, value) {
            (option::MESSAGE_TYPE, &[number]) => kind = Kind::from_number(number),
            (option::SERVER_ID, &[a, b, c, d]) => from = Some(Ipv4Addr::new(a, b, c, d)),
            _ => {}
        }
    }
    if ip_at(fixed, RELAY) != relay || from != Some(server) {
        return Err(ParseError::Other("an answer of this server to this relay"));
    }
    let seen = Request {
        fixed,
        kind: kind.ok_or(ParseError::Other("DHCP: no kind of message"))?,
        requested: None,
        etherboot: false,
    };
    let (yours, own) = (ip_at(fixed, YOURS), seen.client_ip());
    let to = match seen.kind {
        Kind::Nak => Ipv4Addr::BROADCAST,
        Kind::Offer | Kind::Ack if seen.wants_broadcast() => Ipv4Addr::BROADCAST,
        Kind::Offer | Kind::Ack if !yours.is_unspecified() => yours,
        Kind::Ack if !own.is_unspecified() => own,
        _ => return Err(ParseError::Other("an answer to a client")),
    };
    Ok((seen.client_mac(), to))
}

fn ip_at(fixed: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3])
}

/// Options with their values, up to the end or to the first one that is cut.
pub fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        while let [option::PAD, rest @ ..] = bytes {
            bytes = rest;
        }
        match *bytes {
            [option::END, ..] => None,
            [code, len, ref rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(len))?;
                bytes = rest;
                Some((code, value))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes.extend(COOKIE);
        bytes.extend(options);
        bytes
    }

    #[test]
    fn options_are_read_as_far_as_they_are_whole() {
        let read = |options: &[u8]| {
            Request::parse(&message(options)).map(|request| (request.kind, request.requested))
        };
        assert_eq!(read(&[53, 1, 1, 255]), Ok((Kind::Discover, None)));
        assert_eq!(
            read(&[0, 0, 53, 1, 1, 53, 1, 3]),
            Ok((Kind::Request, None)),
            "pads, twice, no end"
        );
        assert_eq!(
            read(&[53, 1, 3, 50, 4, 10, 0, 0, 1, 50, 3, 1, 1, 1]),
            Ok((Kind::Request, Some([10, 0, 0, 1].into())))
        );
        assert_eq!(read(&[53, 1, 3, 50, 4, 10, 0]), Ok((Kind::Request, None)));
        assert_eq!(
            read(&[53, 1, 3, 50, 4, 0, 0, 0, 0]),
            Ok((Kind::Request, None))
        );
        for bad in [
            &[53, 0][..],
            &[53, 2, 1, 1],
            &[53, 1, 99],
            &[255, 53, 1, 1],
            &[],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_messages_are_refused() {
        let good = message(&[53, 1, 1]);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Request::parse(&bytes).is_err()
        };
        assert!(Request::parse(&good).is_ok());
        assert!(with(0, 2), "of a server");
        assert!(with(FIXED, 0), "no cookie");
        assert!((0..FIXED + 7).all(|len| Request::parse(&good[..len]).is_err()));
    }

    #[test]
    fn a_message_is_relayed_once() {
        let (relay, server) = (Ipv4Addr::new(10, 1, 0, 254), Ipv4Addr::new(10, 2, 0, 5));
        let asked = relayed(&message(&[53, 1, 1]), relay).unwrap();
        assert_eq!((asked[HOPS], ip_at(&asked, RELAY)), (1, relay));
        assert!(relayed(&asked, relay).is_err());
        let mut far = message(&[53, 1, 1]);
        far[HOPS] = MOST_HOPS;
        assert!(relayed(&far, relay).is_err());

        let yours = Ipv4Addr::new(10, 1, 0, 1);
        let answer = |kind, flags: u8, id: Ipv4Addr| {
            let [a, b, c, d] = id.octets();
            let mut bytes = asked[..FIXED + 4].to_vec();
            bytes[0] = BOOT_REPLY;
            bytes[10] = flags;
            bytes[YOURS..YOURS + 4].copy_from_slice(&yours.octets());
            bytes.extend([53, 1, kind as u8, 54, 4, a, b, c, d]);
            delivery(&bytes, relay, server).map(|(_, to)| to)
        };
        assert_eq!(answer(Kind::Offer, 0, server), Ok(yours));
        assert_eq!(answer(Kind::Ack, 0, server), Ok(yours));
        assert_eq!(
            answer(Kind::Ack, BROADCAST, server),
            Ok(Ipv4Addr::BROADCAST)
        );
        assert_eq!(answer(Kind::Nak, 0, server), Ok(Ipv4Addr::BROADCAST));
        assert!(answer(Kind::Discover, 0, server).is_err());
        assert!(answer(Kind::Offer, 0, relay).is_err(), "another server");
        assert!(delivery(&asked, relay, server).is_err(), "a question");
    }
}
