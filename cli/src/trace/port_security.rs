//! Port security (ovn-nb(5), `port_security`): what a host may send and receive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_lang::constant::mac_bits;
use weft_lang::{FieldReader, OfField, Packet};

/// One element of the column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    mac: [u8; 6],
    networks: Vec<IpNet>,
    /// Virtual routers may have its addresses too.
    virtual_routers: bool,
}

const IP4: u128 = 0x800;
const IP6: u128 = 0x86dd;
const ARP: u128 = 0x806;

impl Rule {
    /// Reads an element; none, and a warning, if it does not begin with an Ethernet address.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let mut words = words.by_ref().peekable();
        let virtual_routers = words.next_if_eq(&crate::address::VRRP).is_some();
        let mac = words.next().and_then(weft_lang::lexer::parse_mac);
        let Some(mac) = mac else {
            tracing::warn!(target: "ovntrace", "invalid syntax '{text}' in port security. No MAC address found");
            return None;
        };
        let network = |word: &str| {
            word.parse()
                .ok()
                .or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
        };
        Some(Self {
            mac,
            networks: words.filter_map(network).collect(),
            virtual_routers,
        })
    }

    fn has(&self, v6: bool) -> bool {
        self.networks
            .iter()
            .any(|network| matches!(network, IpNet::V6(_)) == v6)
    }

    /// Whether the host may use the address: the whole network if its host part is zero, else that host alone.
    fn owns(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| {
            if network.addr() == network.network() {
                network.contains(&ip)
            } else {
                network.addr() == ip
            }
        })
    }

    /// Whether it is the Ethernet address of a virtual router for addresses of a version.
    fn is_virtual(&self, mac: u128, v6: bool) -> bool {
        let prefix = if v6 { 0x5e_0002 } else { 0x5e_0001 };
        let family = self.networks.is_empty() || self.has(v6);
        self.virtual_routers && family && mac >> 8 == prefix
    }

    /// Whether it is an Ethernet address that the host may use with a type of frame; none or both versions if it is no IP.
    fn has_mac(&self, mac: u128, kind: u128) -> bool {
        let versions: &[bool] = match kind {
            IP4 | ARP => &[false],
            IP6 => &[true],
            _ => &[false, true],
        };
        let mut versions = versions.iter();
        mac == mac_bits(self.mac) || versions.any(|v6| self.is_virtual(mac, *v6))
    }

    /// The address that the host makes up from its Ethernet address (RFC 4291, appendix A).
    fn link_local(&self) -> IpAddr {
        let [a, b, c, d, e, f] = self.mac;
        let bytes = [
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            a ^ 2,
            b,
            c,
            0xff,
            0xfe,
            d,
            e,
            f,
        ];
        Ipv6Addr::from(bytes).into()
    }

    fn may_send(&self, packet: &Packet) -> bool {
        let read = |field| packet.read(field);
        let kind = read(OfField::EthType);
        let own = |mac: u128| self.has_mac(mac, kind);
        if !own(read(OfField::EthSrc)) {
            return false;
        }
        let free = self.networks.is_empty();
        match kind {
            IP4 => {
                free || self.has(false)
                    && (self.owns(v4(packet, OfField::Ip4Src)) || asks_for_address(packet))
            }
            ARP => {
                let sender = v4(packet, OfField::ArpSpa);
                own(read(OfField::ArpSha)) && (free || self.has(false) && self.owns(sender))
            }
            IP6 => self.may_send_v6(packet, free),
            _ => true,
        }
    }

    fn may_send_v6(&self, packet: &Packet, free: bool) -> bool {
        let read = |field| packet.read(field);
        let own_or_none = |mac: u128| mac == 0 || self.has_mac(mac, IP6);
        let is_mine = |ip| self.owns(ip) || ip == self.link_local();
        let source = v6(packet, OfField::Ip6Src);
        let kind = match (read(OfField::IpProto), read(OfField::Icmp6Code)) {
            (58, 0) => read(OfField::Icmp6Type),
            _ => 0,
        };
        let unspecified = source.is_unspecified();
        if !free {
            if !self.has(true) {
                return false;
            }
            let to_group = read(OfField::Ip6Dst) >> 112 == 0xff02;
            let probing =
                unspecified && to_group && matches!(read(OfField::Icmp6Type), 131 | 135 | 143);
            if !is_mine(source) && !probing {
                return false;
            }
        }
        if read(OfField::IpTtl) != 255 {
            return true;
        }
        match kind {
            135 => own_or_none(read(OfField::NdSll)),
            136 => {
                own_or_none(read(OfField::NdTll))
                    && (free || is_mine(v6(packet, OfField::NdTarget)))
            }
            _ => true,
        }
    }

    fn may_receive(&self, packet: &Packet) -> bool {
        let destination = packet.read(OfField::EthDst);
        let group = destination >> 40 & 1 != 0;
        if !group && !self.has_mac(destination, packet.read(OfField::EthType)) {
            return false;
        }
        let free = self.networks.is_empty();
        match packet.read(OfField::EthType) {
            IP4 => free || self.has(false) && self.may_receive_v4(v4(packet, OfField::Ip4Dst)),
            IP6 => {
                let ip = v6(packet, OfField::Ip6Dst);
                free || self.has(true)
                    && (self.owns(ip) || ip == self.link_local() || ip.is_multicast())
            }
            _ => true,
        }
    }

    fn may_receive_v4(&self, ip: IpAddr) -> bool {
        let broadcast = |network: &IpNet| network.prefix_len() < 32 && network.broadcast() == ip;
        self.owns(ip)
            || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
            || ip.is_multicast()
            || self
                .networks
                .iter()
                .any(|network| matches!(network, IpNet::V4(_)) && broadcast(network))
    }
}

fn v4(packet: &Packet, field: OfField) -> IpAddr {
    Ipv4Addr::from(packet.read(field) as u32).into()
}

fn v6(packet: &Packet, field: OfField) -> IpAddr {
    Ipv6Addr::from(packet.read(field)).into()
}

/// A DHCP client without an address yet.
fn asks_for_address(packet: &Packet) -> bool {
    let read = |field| packet.read(field);
    read(OfField::Ip4Src) == 0
        && read(OfField::Ip4Dst) == 0xffff_ffff
        && read(OfField::IpProto) == 17
        && (read(OfField::UdpSrc), read(OfField::UdpDst)) == (68, 67)
}

/// Whether the rules forbid the host to send the packet.
pub fn forbids_sending(rules: &[Rule], packet: &Packet) -> bool {
    !rules.is_empty() && !rules.iter().any(|rule| rule.may_send(packet))
}

/// Whether the rules forbid the host to receive the packet.
pub fn forbids_receiving(rules: &[Rule], packet: &Packet) -> bool {
    !rules.is_empty() && !rules.iter().any(|rule| rule.may_receive(packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: u128, ip: u32) -> Packet {
        let mut packet = Packet::new();
        packet.write(OfField::EthSrc, source);
        packet.write(OfField::EthDst, source);
        packet.write(OfField::EthType, IP4);
        packet.write(OfField::Ip4Src, ip.into());
        packet.write(OfField::Ip4Dst, ip.into());
        packet
    }

    #[test]
    fn rules() {
        let host = [Rule::parse("00:00:00:00:00:01 10.0.0.1/24").unwrap()];
        assert!(!forbids_sending(&host, &packet(1, 0x0a00_0001)));
        assert!(forbids_sending(&host, &packet(1, 0x0a00_0002)));
        assert!(forbids_sending(&host, &packet(2, 0x0a00_0001)));
        assert!(!forbids_receiving(&host, &packet(1, 0x0a00_00ff)));
        let network = [Rule::parse("00:00:00:00:00:01 10.0.0.0/24").unwrap()];
        assert!(!forbids_sending(&network, &packet(1, 0x0a00_0002)));
        assert!(!forbids_sending(&[], &packet(2, 5)));
        assert_eq!(Rule::parse("10.0.0.1"), None);
        let virtual_router = [Rule::parse("VRRPv3 00:00:00:00:00:01 10.0.0.1").unwrap()];
        for mac in [1, 0x5e00_0107] {
            assert!(!forbids_sending(&virtual_router, &packet(mac, 0x0a00_0001)));
            assert!(!forbids_receiving(
                &virtual_router,
                &packet(mac, 0x0a00_0001)
            ));
            assert!(forbids_sending(&virtual_router, &packet(mac, 0x0a00_0002)));
        }
        // The Ethernet address is for the other version.
        let forged = packet(0x5e00_0207, 0x0a00_0001);
        assert!(forbids_sending(&virtual_router, &forged));
        assert!(forbids_receiving(&virtual_router, &forged));
        assert!(forbids_sending(&host, &packet(0x5e00_0107, 0x0a00_0001)));
    }
}
