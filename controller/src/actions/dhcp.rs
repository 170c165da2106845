//! DHCP. `put_dhcp_opts` and `put_dhcpv6_opts`: the answer's options ride along in the user data, ready to be copied into it.
//!
//! After the place of the result: of DHCPv4 the offered address, then options as in packets (code and
//! length of a byte each); of DHCPv6 options as in packets (two bytes each), the offered address as one of them.

use std::net::IpAddr;

use weft_lang::Field;
use weft_lang::action::{OptionsKind, PacketOption};
use weft_lang::options::{LONGEST_V4, OptionType, domains};
use weft_ovsdb::model::Str;

use super::opcode::Opcode;
use super::{Done, Encoder, Unsupported};

/// Codes that mean something else than what packets carry.
pub mod code {
    /// The address a DHCPv4 client gets.
    pub const OFFER_IP: u8 = 0;
    /// Where the next step of booting is, also a field of the header.
    pub const NEXT_SERVER: u8 = 253;
    /// The file to boot for who is not iPXE yet; in packets the code of the other.
    pub const BOOTFILE_ALT: u8 = 254;
}

/// An option as a row of the southbound has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// Its code.
    pub code: u8,
    /// The type of its value.
    pub ty: OptionType,
}

impl Encoder<'_, '_> {
    pub(super) fn put_dhcp(
        &mut self,
        kind: OptionsKind,
        result: Field,
        options: &[PacketOption],
    ) -> Done {
        let mut params = self.verdict(Some(result))?.to_vec();
        let v6 = kind == OptionsKind::Dhcpv6;
        let mut all = Vec::with_capacity(options.len());
        for option in options {
            all.push(self.option(v6, option)?);
        }
        if v6 {
            for (code, value) in &all {
                params.extend(v6_option(*code, value));
            }
            self.send(Opcode::PutDhcpv6Opts, &params, true, None);
            return Ok(());
        }
        let Some((_, offer)) = all.iter().find(|(code, _)| *code == code::OFFER_IP) else {
            return Err(Unsupported::Option("offerip".into(), "is missing"));
        };
        let Ok(offer) = <[u8; 4]>::try_from(offer.as_slice()) else {
            return Err(Unsupported::Option("offerip".into(), "is not one address"));
        };
        // What clients that boot look for comes first, as from stock controllers.
        all.sort_by_key(|(code, _)| match *code {
            weft_packet::dhcp4::option::BOOTFILE => 0,
            code::BOOTFILE_ALT => 1,
            code::NEXT_SERVER => 2,
            _ => 3,
        });
        params.extend(offer);
        for (code, value) in all.iter().filter(|(code, _)| *code != code::OFFER_IP) {
            params.extend([*code, value.len() as u8]);
            params.extend(value);
        }
        self.send(Opcode::PutDhcpOpts, &params, true, None);
        Ok(())
    }

    /// Asks the controller whether a message is to be relayed.
    pub(super) fn relay_dhcp(
        &mut self,
        opcode: Opcode,
        result: Field,
        relay: IpAddr,
        server: IpAddr,
    ) -> Done {
        let (IpAddr::V4(relay), IpAddr::V4(server)) = (relay, server) else {
            return Err(Unsupported::Action(format!("{} of IPv6", opcode.name())));
        };
        let mut params = self.verdict(Some(result))?.to_vec();
        params.extend(relay.octets());
        params.extend(server.octets());
        self.send(opcode, &params, true, None);
        Ok(())
    }

    /// Code and value of an option.
    fn option(&self, v6: bool, option: &PacketOption) -> Result<(u8, Vec<u8>), Unsupported> {
        let bad = |why| Unsupported::Option(option.name.clone(), why);
        let row = (self.cx.dhcp_option)(v6, &option.name)
            .ok_or_else(|| bad("is not among the southbound's options"))?;
        let value = row.ty.encode(option.values());
        let value = value.ok_or_else(|| bad("has a value of another type"))?;
        if !v6 && value.len() > LONGEST_V4 {
            return Err(bad("is too long"));
        }
        Ok((row.code, value))
    }
}

fn v6_option(code: u8, value: &[u8]) -> Vec<u8> {
    use weft_packet::dhcp6::option;
    let code = u16::from(code);
    let value = match (code, std::str::from_utf8(value)) {
        // A DUID of Ethernet (RFC 8415, 11.4).
        (option::SERVER_ID, _) => [&[0, 3, 0, 1], value].concat(),
        (option::DOMAIN_SEARCH, Ok(names)) => domains(names, false).unwrap_or_default(),
        _ => value.to_vec(),
    };
    let mut out = code.to_be_bytes().to_vec();
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out
}

/// Looks options up by name, of DHCPv6 or of DHCPv4.
pub type FindOption<'a> = &'a dyn Fn(bool, &Str) -> Option<OptionRow>;
