//! Rows of `DHCP_Options`: network, server and options, checked once for all ports that refer to them.
//!
//! Guarantees: an option that is unknown, or whose value is not of its type, is told and left out; a row without network or
//! server serves nobody. Text needs no quotes.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_lang::action::{OptionValue, PacketOption};
use weft_lang::options::{LONGEST_V4, OptionType};
use weft_lang::{Const, parse_constants};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use super::catalog::{IA_ADDR, OFFER_IP, known};
use crate::address::Mac;
use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// What clients are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Served {
    /// By DHCPv4.
    V4 {
        /// Whose clients.
        net: Ipv4Net,
        /// `server_id`
        server: Ipv4Addr,
        /// `server_mac`
        mac: Mac,
        /// Options by name, without the offered address.
        options: Vec<PacketOption>,
    },
    /// By DHCPv6.
    V6 {
        /// Whose clients.
        net: Ipv6Net,
        /// `server_id`
        mac: Mac,
        /// Clients have their addresses from elsewhere.
        stateless: bool,
        /// Options by name, without the offered address.
        options: Vec<PacketOption>,
    },
}

/// Publishes [`Served`] per row.
pub struct Settings;

impl Feature for Settings {
    const NAME: &'static str = "dhcp_settings";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::DhcpOptions)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.dhcp_options(key.row()) else {
            return;
        };
        let reader = Reader {
            cx,
            row: key.row(),
            name: row.cidr(),
        };
        let served = match row.cidr().parse::<IpNet>() {
            Ok(IpNet::V4(net)) => reader.v4(net.trunc(), row.options()),
            Ok(IpNet::V6(net)) => reader.v6(net.trunc(), row.options()),
            Err(_) => {
                let message = format!("\"{}\" is no network: nobody is served", row.cidr());
                return reader.complain("cidr", message);
            }
        };
        if let Some(served) = served {
            if let Served::V6 { options, .. } = &served {
                let used = options
                    .iter()
                    .filter_map(|option| known(true, &option.name));
                used.filter(|known| known.is_young())
                    .for_each(|known| cx.emit(Output::DhcpOption(known)));
            }
            cx.publish(served);
        }
    }
}

struct Reader<'a, 'b> {
    cx: &'a Cx<'b>,
    row: Uuid,
    name: &'a str,
}

impl Reader<'_, '_> {
    fn complain(&self, column: &'static str, message: String) {
        self.cx
            .diagnose::<nb::DhcpOptions>(self.name, self.row, column, message);
    }

    fn v4(&self, net: Ipv4Net, options: &Map<Str, Str>) -> Option<Served> {
        let server = self.required(options, "server_id")?;
        let mac = self.required(options, "server_mac")?;
        let mut list = self.options(false, options, &["server_mac"]);
        if !list.iter().any(|option| &*option.name == "lease_time") {
            self.complain(
                "options",
                "lease_time is missing: nobody is served".to_owned(),
            );
            return None;
        }
        if !list.iter().any(|option| &*option.name == "netmask") {
            list.push(PacketOption::new("netmask", net.netmask()));
        }
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some(Served::V4 {
            net,
            server,
            mac,
            options: list,
        })
    }

    fn v6(&self, net: Ipv6Net, options: &Map<Str, Str>) -> Option<Served> {
        let mac = self.required(options, "server_id")?;
        let stateless = match options.get("dhcpv6_stateless").map(|text| &**text) {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                let message = format!("dhcpv6_stateless: \"{text}\" is not true or false: false");
                self.complain("options", message);
                false
            }
        };
        Some(Served::V6 {
            net,
            mac,
            stateless,
            options: self.options(true, options, &["dhcpv6_stateless"]),
        })
    }

    /// What nobody can be served without.
    fn required<T: std::str::FromStr>(&self, options: &Map<Str, Str>, name: &str) -> Option<T> {
        let value = options.get(name);
        let parsed = value.and_then(|text| text.parse().ok());
        if parsed.is_none() {
            let message = match value {
                None => format!("{name} is missing: nobody is served"),
                Some(text) => format!("{name}: \"{text}\" is no address: nobody is served"),
            };
            self.complain("options", message);
        }
        parsed
    }

    /// The options but those that are read elsewhere, in the order of their names.
    fn options(&self, v6: bool, options: &Map<Str, Str>, aside: &[&str]) -> Vec<PacketOption> {
        let mut list = Vec::new();
        for (name, text) in options.iter().filter(|(name, _)| !aside.contains(&&**name)) {
            let not_given = [OFFER_IP, IA_ADDR].contains(&&**name);
            let Some(known) = known(v6, name).filter(|_| !not_given) else {
                let family = if v6 { "DHCPv6" } else { "DHCPv4" };
                let message = format!("there is no {family} option \"{name}\": left out");
                self.complain("options", message);
                continue;
            };
            match read(known.ty, text) {
                Some(value) => list.push(PacketOption {
                    name: name.clone(),
                    value,
                }),
                None => {
                    let message =
                        format!("{name}: \"{text}\" is not {}: left out", known.ty.expects());
                    self.complain("options", message);
                }
            }
        }
        list
    }
}

/// The value of an option, if it is of its type.
pub fn read(ty: OptionType, text: &str) -> Option<OptionValue> {
    let value = match parse_constants(text) {
        Ok((mut values, false)) if ty.encode(&values).is_some() => OptionValue::One(values.pop()?),
        Ok((values, true)) if ty.encode(&values).is_some() => OptionValue::Many(values),
        // Text without quotes.
        _ if ty.is_text() && !text.starts_with('"') => OptionValue::One(Const::from(text)),
        _ => return None,
    };
    let values = match &value {
        OptionValue::One(value) => std::slice::from_ref(value),
        OptionValue::Many(values) => values,
    };
    let bytes = ty.encode(values)?;
    (bytes.len() <= LONGEST_V4).then_some(value)
}
