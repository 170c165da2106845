//! Addresses as the southbound writes them.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// An Ethernet address as a number.
pub fn parse_mac(text: &str) -> Option<u64> {
    let mut value = 0u64;
    let mut count = 0;
    for part in text.split(':') {
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        value = value << 8 | u64::from(u8::from_str_radix(part, 16).ok()?);
        count += 1;
    }
    (count == 6).then_some(value)
}

/// The link-local address that belongs to an Ethernet address (RFC 4291, appendix A).
pub fn link_local(mac: u64) -> Ipv6Addr {
    let high = mac >> 24 ^ 0x02_0000;
    let low = mac & 0xff_ffff;
    Ipv6Addr::from(0xfe80u128 << 112 | u128::from(high) << 40 | 0xff_fe00_0000 | u128::from(low))
}

/// A MAC with addresses or networks, as Port_Binding.mac and Port_Binding.port_security hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The Ethernet address.
    pub mac: u64,
    /// Host addresses, with the prefix length if one was given.
    pub ips: Vec<IpNet>,
}

impl Addresses {
    /// Parses `MAC [IP[/LEN]...]`; the message names the word that is wrong.
    pub fn parse(text: &str) -> Result<Addresses, String> {
        let mut words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
        let first = words.next().ok_or("empty")?;
        let mac =
            parse_mac(first).ok_or_else(|| format!("\"{first}\" is not an Ethernet address"))?;
        let mut ips = Vec::new();
        for word in words {
            let ip = match word.parse::<IpNet>() {
                Ok(net) => net,
                Err(_) => word
                    .parse::<IpAddr>()
                    .map(IpNet::from)
                    .map_err(|_| format!("\"{word}\" is not an IP address or network"))?,
            };
            ips.push(ip);
        }
        Ok(Addresses { mac, ips })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        assert_eq!(parse_mac("00:00:00:00:01:0a"), Some(0x10a));
        assert_eq!(parse_mac("0:0:0:0:1:a"), Some(0x10a));
        for bad in [
            "",
            "00:00:00:00:01",
            "00:00:00:00:01:0a:0b",
            "00:00:00:00:01:zz",
            "unknown",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
        assert_eq!(link_local(0x0102).to_string(), "fe80::200:ff:fe00:102");
    }

    #[test]
    fn addresses() {
        let found = Addresses::parse("00:00:00:00:00:01 10.0.0.4/24 fd00::1").unwrap();
        assert_eq!(found.ips.len(), 2);
        assert_eq!(found.ips[0].to_string(), "10.0.0.4/24");
        assert!(
            Addresses::parse("00:00:00:00:00:01 10.0.0.400")
                .unwrap_err()
                .contains("10.0.0.400")
        );
        assert!(Addresses::parse("").is_err());
    }
}
