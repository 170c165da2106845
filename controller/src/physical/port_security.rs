//! Port security: the tables that `check_in_port_sec` and `check_out_port_sec` look things up in.
//!
//! A hit sets a bit of the flags register when the packet is *not* allowed. A port without port security has no flows
//! here, so everything passes.
//!
//! An entry that begins with `VRRPv3` allows what it would without, and stands for a virtual router too: with its addresses
//! the port may also use the Ethernet addresses of virtual routers (RFC 9568, 7.3), whichever numbers they have, and may tell
//! of them in ARP and neighbour discovery from its own Ethernet address.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_engine::{Cx, Kind};
use weft_openflow::{Action, ActionList, Field, Match};

use super::{Port, diagnose};
use crate::address::{Addresses, link_local};
use crate::binding::{BINDING, Place};
use crate::flow::{REG_FLAGS, REG_INPORT, REG_OUTPORT, emit};
use crate::program::{Controller, Key, Read};
use crate::tables::{self, flag};

/// Emits the checks of a port; keyed by port binding.
pub const PORT_SECURITY: Kind<Controller> = Kind::pure(
    "port-security",
    &["binding", "local-datapath"],
    port_security,
);

const ETH_IPV4: u32 = 0x0800;
const ETH_ARP: u32 = 0x0806;
const ETH_IPV6: u32 = 0x86dd;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_ICMPV6: u32 = 58;

/// ICMPv6 types that a host sends before it has an address: listener report, solicitation, listener report version 2.
const UNSPECIFIED_SOURCE: [u32; 3] = [131, ND_SOLICITATION, 143];
const ND_SOLICITATION: u32 = 135;
const ND_ADVERTISEMENT: u32 = 136;

fn port_security(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    if row.port_security().is_empty() {
        return;
    }
    if !cx
        .value::<Place>(BINDING.id(), key)
        .is_some_and(|place| place.is_here())
    {
        return;
    }
    let Some(port) = Port::local(cx, uuid) else {
        return;
    };
    let mut all = Vec::new();
    for text in row.port_security().iter() {
        let (virtual_router, addresses) = match text.strip_prefix(VRRP) {
            Some(rest) => (true, rest),
            None => (false, &**text),
        };
        match Addresses::parse(addresses) {
            Ok(addresses) => {
                let host = Holder::host(addresses);
                if virtual_router {
                    all.extend(host.virtual_routers());
                }
                all.push(host);
            }
            Err(why) => diagnose(
                cx,
                uuid,
                "port_security",
                format!("{why}: that entry allows nothing"),
            ),
        }
    }
    let checks = Checks { cx, port };
    checks.defaults();
    for holder in &all {
        checks.incoming(holder);
        checks.neighbor(holder);
        checks.outgoing(holder);
    }
}

/// How an entry begins that allows a virtual router.
const VRRP: &str = "VRRPv3 ";

/// Ethernet addresses of virtual routers but for their numbers, the last byte: for IPv4 and for IPv6.
const VIRTUAL_MACS: [u64; 2] = [0x0000_5e00_0100, 0x0000_5e00_0200];

/// Ethernet addresses with what may be used with them.
struct Holder {
    mac: u64,
    mask: u64,
    ips: Vec<IpNet>,
    /// Beside `ips`.
    link_local: Ipv6Addr,
    /// Frames from this address may tell of `mac` too.
    physical: Option<u64>,
}

impl Holder {
    fn host(Addresses { mac, ips }: Addresses) -> Holder {
        Holder {
            mac,
            mask: u64::MAX >> 16,
            ips,
            link_local: link_local(mac),
            physical: None,
        }
    }

    fn virtual_routers(&self) -> Vec<Holder> {
        let family = |v6: bool| {
            let ips = self.ips.iter().filter(|ip| ip.addr().is_ipv6() == v6);
            let ips: Vec<IpNet> = ips.copied().collect();
            (self.ips.is_empty() || !ips.is_empty()).then(|| Holder {
                mac: VIRTUAL_MACS[usize::from(v6)],
                mask: u64::MAX >> 16 & !0xff,
                ips,
                link_local: self.link_local,
                physical: Some(self.mac),
            })
        };
        [false, true].into_iter().filter_map(family).collect()
    }

    /// The Ethernet addresses as the value of a field.
    fn in_field(&self, base: Match, field: Field) -> Match {
        base.with_masked(field, self.mac, self.mask)
    }
}

/// The checks of one port while they are made.
struct Checks<'x, 'y> {
    cx: &'x Cx<'y, Controller>,
    port: Port,
}

impl Checks<'_, '_> {
    fn add(&self, table: u8, priority: u16, matches: Match, actions: ActionList) {
        emit(
            self.cx,
            table,
            priority,
            self.port.cookie(),
            matches,
            actions,
        );
    }

    fn by_port(&self) -> Match {
        Match::any()
            .with(Field::Metadata, self.port.dp_key)
            .with(REG_INPORT, self.port.key)
    }

    fn to_port(&self) -> Match {
        Match::any()
            .with(Field::Metadata, self.port.dp_key)
            .with(REG_OUTPORT, self.port.key)
    }

    /// What is not allowed by anything else.
    fn defaults(&self) {
        let arp = || self.by_port().with(Field::EthType, ETH_ARP);
        self.add(tables::CHK_IN_PORT_SEC, 80, self.by_port(), refuse());
        self.add(tables::CHK_IN_PORT_SEC, 95, arp(), to_neighbor_checks());
        self.add(tables::CHK_IN_PORT_SEC_ND, 80, arp(), refuse());
        for kind in [ND_SOLICITATION, ND_ADVERTISEMENT] {
            self.add(
                tables::CHK_IN_PORT_SEC_ND,
                80,
                icmp6(self.by_port(), kind),
                refuse(),
            );
        }
        self.add(tables::CHK_OUT_PORT_SEC, 80, self.to_port(), refuse());
    }

    /// What the port may send.
    fn incoming(&self, addresses: &Holder) {
        let table = tables::CHK_IN_PORT_SEC;
        let from = || addresses.in_field(self.by_port(), Field::EthSrc);
        if addresses.ips.is_empty() {
            self.add(table, 90, from(), to_neighbor_checks());
            return;
        }
        let mut has = (false, false);
        for ip in &addresses.ips {
            match ip {
                IpNet::V4(_) => {
                    has.0 = true;
                    let ip4 = from().with(Field::EthType, ETH_IPV4);
                    self.add(table, 90, address(ip4, Field::Ipv4Src, ip), allow());
                }
                IpNet::V6(_) => {
                    has.1 = true;
                    let ip6 = from().with(Field::EthType, ETH_IPV6);
                    self.add(
                        table,
                        90,
                        address(ip6, Field::Ipv6Src, ip),
                        to_neighbor_checks(),
                    );
                }
            }
        }
        if has.0 {
            let dhcp = from()
                .with(Field::EthType, ETH_IPV4)
                .with(Field::IpProto, IPPROTO_UDP)
                .with(Field::Ipv4Src, 0u32)
                .with(Field::Ipv4Dst, u32::MAX)
                .with(Field::UdpSrc, 68u32)
                .with(Field::UdpDst, 67u32);
            self.add(table, 90, dhcp, allow());
        }
        if has.1 {
            let own = from()
                .with(Field::EthType, ETH_IPV6)
                .with(Field::Ipv6Src, u128::from(addresses.link_local));
            self.add(table, 90, own, to_neighbor_checks());
            for kind in UNSPECIFIED_SOURCE {
                let all_nodes = u128::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0));
                let unspecified = icmp6(from(), kind)
                    .with(Field::Icmpv6Code, 0u32)
                    .with(Field::Ipv6Src, 0u32)
                    .with_masked(Field::Ipv6Dst, all_nodes, u128::MAX << 112);
                let next = if kind == ND_SOLICITATION {
                    to_neighbor_checks()
                } else {
                    allow()
                };
                self.add(table, 90, unspecified, next);
            }
        }
    }

    /// What the port may say about itself in ARP and neighbour discovery.
    fn neighbor(&self, addresses: &Holder) {
        let table = tables::CHK_IN_PORT_SEC_ND;
        let arp = |from: Match| {
            let arp = from.with(Field::EthType, ETH_ARP);
            addresses.in_field(arp, Field::ArpSha)
        };
        let physical = addresses.physical;
        let physical = physical.map(|mac| self.by_port().with(Field::EthSrc, mac));
        for from in iter::once(addresses.in_field(self.by_port(), Field::EthSrc)).chain(physical) {
            if addresses.ips.is_empty() {
                self.add(table, 90, arp(from.clone()), allow());
            }
            for ip in addresses.ips.iter().filter(|ip| matches!(ip, IpNet::V4(_))) {
                let arp = address(arp(from.clone()), Field::ArpSpa, ip);
                self.add(table, 90, arp, allow());
            }
        }
        let nd = |kind: u32| {
            icmp6(self.by_port(), kind)
                .with(Field::IpTtl, 255u32)
                .with(Field::Icmpv6Code, 0u32)
        };
        // A packet without the option has zero there.
        let without = |base: Match, field| base.with(field, 0u64);
        let with = |base: Match, field| addresses.in_field(base, field);
        for lladdr in [&without as &dyn Fn(Match, Field) -> Match, &with] {
            let solicitation = lladdr(nd(ND_SOLICITATION), Field::NdSll);
            self.add(table, 90, solicitation, allow());
            let advertisement = lladdr(nd(ND_ADVERTISEMENT), Field::NdTll);
            let targets: Vec<&IpNet> = addresses
                .ips
                .iter()
                .filter(|ip| matches!(ip, IpNet::V6(_)))
                .collect();
            if addresses.ips.is_empty() {
                self.add(table, 90, advertisement, allow());
                continue;
            }
            for ip in &targets {
                self.add(
                    table,
                    90,
                    address(advertisement.clone(), Field::NdTarget, ip),
                    allow(),
                );
            }
            if !targets.is_empty() {
                let own = advertisement.with(Field::NdTarget, u128::from(addresses.link_local));
                self.add(table, 90, own, allow());
            }
        }
    }

    /// What the port may get.
    fn outgoing(&self, addresses: &Holder) {
        let table = tables::CHK_OUT_PORT_SEC;
        let to = || addresses.in_field(self.to_port(), Field::EthDst);
        self.add(table, 85, to(), allow());
        if addresses.ips.is_empty() {
            return;
        }
        for ethertype in [ETH_IPV4, ETH_IPV6] {
            self.add(table, 90, to().with(Field::EthType, ethertype), refuse());
        }
        let mut also: Vec<IpNet> = Vec::new();
        for ip in &addresses.ips {
            also.push(*ip);
            match ip {
                IpNet::V4(net) => {
                    also.push(IpAddr::V4(Ipv4Addr::BROADCAST).into());
                    also.extend(known("224.0.0.0/4"));
                    // That of a whole network is in it.
                    if net.prefix_len() < 31 && net.addr() != net.network() {
                        also.push(IpAddr::V4(net.broadcast()).into());
                    }
                }
                IpNet::V6(_) => {
                    also.push(IpAddr::V6(addresses.link_local).into());
                    also.extend(known("ff00::/8"));
                }
            }
        }
        for ip in &also {
            let (ethertype, field) = match ip {
                IpNet::V4(_) => (ETH_IPV4, Field::Ipv4Dst),
                IpNet::V6(_) => (ETH_IPV6, Field::Ipv6Dst),
            };
            self.add(
                table,
                95,
                address(to().with(Field::EthType, ethertype), field, ip),
                allow(),
            );
        }
    }
}

fn known(net: &str) -> Option<IpNet> {
    net.parse().ok()
}

/// Matches an address; a network is matched as a whole if the address's host part is zero, else only the address is.
fn address(base: Match, field: Field, ip: &IpNet) -> Match {
    let whole = ip.addr() == ip.network();
    match ip {
        IpNet::V4(net) => {
            let mask = if whole {
                u32::from(net.netmask())
            } else {
                u32::MAX
            };
            base.with_masked(field, u32::from(net.addr()), mask)
        }
        IpNet::V6(net) => {
            let mask = if whole {
                u128::from(net.netmask())
            } else {
                u128::MAX
            };
            base.with_masked(field, u128::from(net.addr()), mask)
        }
    }
}

fn icmp6(base: Match, kind: u32) -> Match {
    base.with(Field::EthType, ETH_IPV6)
        .with(Field::IpProto, IPPROTO_ICMPV6)
        .with(Field::Icmpv6Type, kind)
}

fn verdict(refused: bool) -> ActionList {
    let mask = u128::from(flag::CHECK_PORT_SEC);
    ActionList::from([Action::SetField {
        field: REG_FLAGS,
        value: if refused { mask } else { 0 },
        mask,
    }])
}

fn allow() -> ActionList {
    verdict(false)
}

fn refuse() -> ActionList {
    verdict(true)
}

fn to_neighbor_checks() -> ActionList {
    ActionList::from([Action::resubmit(tables::CHK_IN_PORT_SEC_ND)])
}
