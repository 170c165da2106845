//! Dynamic addresses: what `dynamic` in `Logical_Switch_Port.addresses` gets, within `other_config:subnet`,
//! `exclude_ips`, `ipv6_prefix`, `mac_only` of the switch and `NB_Global.options:mac_prefix`.
//!
//! Guarantees: an address stays with its port until the port or the switch's configuration no longer allows it; a
//! configured address always wins over a dynamic one; two ports never get the same. Two units per port: one registers
//! what is configured ([`Configured`]), one allocates ([`Ipam`]), so that the second sees all of the first.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::global::mac_prefix;
use crate::address::{Addresses, Mac, PortAddress, Prefixed, parse_port_address, parse_prefixed};
use crate::ledger::Ledgers;
use crate::output::Output;
use crate::program::{Allocator, Cx, Fact, Key, Per, PortTrait};

/// What a port got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Ethernet address: wished or made up.
    pub mac: Mac,
    /// IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl Lease {
    /// As `Logical_Switch_Port.dynamic_addresses` holds it.
    pub fn text(&self) -> Str {
        let mut text = self.mac.to_string();
        if let Some(v4) = self.v4 {
            text.push_str(&format!(" {v4}"));
        }
        if let Some(v6) = self.v6 {
            text.push_str(&format!(" {v6}"));
        }
        text.into()
    }

    /// From the column's text.
    pub fn parse(text: &str) -> Option<Lease> {
        let mut words = text.split_ascii_whitespace();
        let mut lease = Lease {
            mac: words.next()?.parse().ok()?,
            v4: None,
            v6: None,
        };
        for word in words {
            match word.parse().ok()? {
                IpAddr::V4(ip) => lease.v4 = Some(ip),
                IpAddr::V6(ip) => lease.v6 = Some(ip),
            }
        }
        Some(lease)
    }
}

/// Something that only one may have: an address within a switch, or an Ethernet address anywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Item {
    Ip(Uuid, IpAddr),
    Mac(Mac),
    /// An Ethernet address within a switch, for complaints.
    MacOn(Uuid, Mac),
    /// Stands for whatever becomes free in a switch.
    Room(Uuid),
}

fn fact(item: Item) -> Fact {
    Fact::Address(FxBuildHasher.hash_one(item))
}

/// Who holds which address.
#[derive(Clone, Default, Debug)]
pub struct Leases {
    /// What is configured: owners of each item, and items of each owner.
    configured: FxHashMap<Item, SmallVec<[Key; 1]>>,
    by_port: FxHashMap<Key, Vec<Item>>,
    /// What has been given out.
    dynamic: FxHashMap<Item, Key>,
    leases: FxHashMap<Key, (Uuid, Lease)>,
    /// Below this address (as a number) a switch has none that is free.
    lowest: FxHashMap<Uuid, u32>,
}

impl Leases {
    /// Records a lease found in the database. The first one to be restored keeps its addresses.
    pub fn restore(&mut self, port: Key, switch: Uuid, mut lease: Lease) {
        let free = |items: &FxHashMap<Item, Key>, item| !items.contains_key(&item);
        lease.v4 = lease
            .v4
            .filter(|ip| free(&self.dynamic, Item::Ip(switch, (*ip).into())));
        lease.v6 = lease
            .v6
            .filter(|ip| free(&self.dynamic, Item::Ip(switch, (*ip).into())));
        if free(&self.dynamic, Item::Mac(lease.mac)) {
            self.hold(port, switch, lease);
        }
    }

    fn items(switch: Uuid, lease: &Lease) -> impl Iterator<Item = Item> {
        let ips = lease
            .v4
            .map(IpAddr::V4)
            .into_iter()
            .chain(lease.v6.map(IpAddr::V6));
        ips.map(move |ip| Item::Ip(switch, ip))
            .chain([Item::Mac(lease.mac)])
    }

    fn hold(&mut self, port: Key, switch: Uuid, lease: Lease) {
        for item in Self::items(switch, &lease) {
            self.dynamic.insert(item, port);
        }
        self.leases.insert(port, (switch, lease));
    }

    /// Takes back what a port got.
    fn let_go(&mut self, port: Key, changed: &mut dyn FnMut(Item)) {
        let Some((switch, lease)) = self.leases.remove(&port) else {
            return;
        };
        for item in Self::items(switch, &lease) {
            self.dynamic.remove(&item);
            changed(item);
        }
        self.made_room(switch, lease.v4);
        changed(Item::Room(switch));
    }

    fn made_room(&mut self, switch: Uuid, v4: Option<Ipv4Addr>) {
        if let (Some(lowest), Some(ip)) = (self.lowest.get_mut(&switch), v4) {
            *lowest = (*lowest).min(ip.to_bits());
        }
    }

    /// Replaces what is configured at a port.
    fn configure(&mut self, port: Key, items: Vec<Item>, changed: &mut dyn FnMut(Item)) {
        let old = self.by_port.remove(&port).unwrap_or_default();
        for item in old.iter().filter(|i| !items.contains(i)) {
            if let Some(owners) = self.configured.get_mut(item) {
                owners.retain(|o| *o != port);
                if owners.is_empty() {
                    self.configured.remove(item);
                }
            }
            if let Item::Ip(switch, ip) = *item {
                self.made_room(
                    switch,
                    if let IpAddr::V4(ip) = ip {
                        Some(ip)
                    } else {
                        None
                    },
                );
                changed(Item::Room(switch));
            }
            changed(*item);
        }
        for item in items.iter().filter(|i| !old.contains(i)) {
            self.configured.entry(*item).or_default().push(port);
            changed(*item);
        }
        if !items.is_empty() {
            self.by_port.insert(port, items);
        }
    }

    /// Nobody but `port` has the item.
    fn free(&self, item: Item, port: Key) -> bool {
        self.dynamic.get(&item).is_none_or(|holder| *holder == port)
            && self
                .configured
                .get(&item)
                .is_none_or(|owners| owners.iter().all(|o| *o == port))
    }
}

/// The addresses that a switch may give out.
struct Pool {
    subnet: Option<Ipv4Net>,
    excluded: Vec<RangeInclusive<u32>>,
    v6_prefix: Option<Ipv6Addr>,
    mac_only: bool,
}

impl Pool {
    /// From `other_config`; complains about what cannot be used.
    fn of(cx: &Cx<'_>, switch: Uuid, complain: bool) -> Option<Pool> {
        let ls = cx.ls(switch)?;
        let config = ls.other_config();
        let say = |column: &'static str, message: String| {
            if complain {
                cx.diagnose::<nb::LogicalSwitch>(ls.name(), switch, column, message);
            }
        };
        let mut pool = Pool {
            subnet: None,
            excluded: Vec::new(),
            v6_prefix: None,
            mac_only: false,
        };
        pool.mac_only = config.get("mac_only").is_some_and(|v| &**v == "true");
        if let Some(text) = config.get("subnet") {
            match parse_prefixed(text) {
                Some(Prefixed::V4(net)) if net.prefix_len() <= 30 => {
                    pool.subnet = Some(net.trunc())
                }
                _ => say(
                    "other_config:subnet",
                    format!("\"{text}\" is not an IPv4 subnet: no addresses from it"),
                ),
            }
        }
        for word in config
            .get("exclude_ips")
            .iter()
            .flat_map(|t| t.split_ascii_whitespace())
        {
            match parse_range(word) {
                Some(range) => pool.excluded.push(range),
                None => say(
                    "other_config:exclude_ips",
                    format!("\"{word}\" is neither an address nor a range: left out"),
                ),
            }
        }
        if let Some(text) = config.get("ipv6_prefix") {
            match parse_prefixed(text) {
                Some(Prefixed::V6(net)) => pool.v6_prefix = Some(net.addr()),
                _ => say(
                    "other_config:ipv6_prefix",
                    format!("\"{text}\" is not an IPv6 prefix: no addresses from it"),
                ),
            }
        }
        Some(pool)
    }

    fn gives_anything(&self) -> bool {
        self.mac_only || self.subnet.is_some() || self.v6_prefix.is_some()
    }

    /// Whether an address may be given out. The first host address is the router's by convention.
    fn allows(&self, ip: Ipv4Addr) -> bool {
        self.hosts()
            .is_some_and(|hosts| hosts.contains(&ip.to_bits()))
            && !self
                .excluded
                .iter()
                .any(|range| range.contains(&ip.to_bits()))
    }

    fn hosts(&self) -> Option<RangeInclusive<u32>> {
        self.subnet
            .map(|net| net.network().to_bits() + 2..=net.broadcast().to_bits() - 1)
    }
}

/// `10.0.0.4` or `10.0.0.4..10.0.0.8`
fn parse_range(word: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = word.split_once("..").unwrap_or((word, word));
    let first: Ipv4Addr = first.parse().ok()?;
    let last: Ipv4Addr = last.parse().ok()?;
    (first <= last).then(|| first.to_bits()..=last.to_bits())
}

/// Registers configured addresses, and tells of those that two ports of a switch share.
pub struct Configured;

impl Allocator for Configured {
    const NAME: &'static str = "configured_addresses";
    const PER: &'static [Per] = &[
        Per::Nb(nb::TableId::LogicalSwitchPort),
        Per::Nb(nb::TableId::LogicalRouterPort),
    ];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let mut items = Vec::new();
        if let Some(lsp) = cx.lsp(key.row()) {
            let switch = cx.switch_of(key.row());
            for addresses in configured(cx, key.row()) {
                items.push(Item::Mac(addresses.mac));
                if let Some(ls) = switch {
                    items.push(Item::MacOn(ls, addresses.mac));
                    items.extend(addresses.ip4s().map(|ip| Item::Ip(ls, ip.into())));
                    items.extend(addresses.ip6s().map(|ip| Item::Ip(ls, ip.into())));
                }
            }
            // Ports that take over each other's address do so on purpose.
            if !matches!(&**lsp.type_(), "virtual" | "localport" | "router") {
                for item in items.iter().filter(|i| !matches!(i, Item::Mac(_))) {
                    tell_of_others(cx, ledgers, key, *item, lsp.name());
                }
            }
        } else if let Some(lrp) = cx.lrp(key.row()) {
            items.extend(lrp.mac().parse().map(Item::Mac));
        }
        items.sort_unstable();
        items.dedup();
        ledgers
            .leases
            .configure(key, items, &mut |item| cx.wake(fact(item)));
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers
            .leases
            .configure(key, Vec::new(), &mut |item| wake(fact(item), 1));
    }
}

/// The complaint belongs to the port with the higher UUID, so that a pair is told of once.
fn tell_of_others(cx: &Cx<'_>, ledgers: &Ledgers, key: Key, item: Item, name: &str) {
    cx.track(fact(item));
    let (address, consequence) = match item {
        Item::Ip(_, ip) => (ip.to_string(), ""),
        Item::MacOn(_, mac) => (mac.to_string(), ": which of them its packets reach is open"),
        Item::Mac(_) | Item::Room(_) => return,
    };
    let others = ledgers.leases.configured.get(&item);
    if let Some(other) = others.and_then(|o| o.iter().filter(|o| **o < key).min())
        && let Some(other) = cx.lsp(other.row())
    {
        let message = format!(
            "{address} is an address of port {} on the same switch too{consequence}",
            other.name()
        );
        cx.diagnose::<nb::LogicalSwitchPort>(name, key.row(), "addresses", message);
    }
}

/// The addresses configured at a switch port: its own, or those of the router port behind it.
fn configured(cx: &Cx<'_>, port: Uuid) -> Vec<Addresses> {
    let Some(lsp) = cx.lsp(port) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for text in lsp.addresses().iter() {
        if let (Some(PortAddress::Static(addresses)), _) = parse_port_address(text) {
            all.push(addresses);
        }
    }
    if &**lsp.type_() == "router"
        && let Some(peer) = lsp.options().get("router-port")
        && let Some(lrp) = cx.lrp_named(peer).and_then(|lrp| cx.lrp(lrp))
    {
        all.extend(Addresses::of_router_port(lrp.mac(), lrp.networks().iter().map(|n| &**n)).0);
    }
    all
}

/// Gives out addresses and publishes the [`Lease`].
pub struct Ipam;

impl Allocator for Ipam {
    const NAME: &'static str = "ipam";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Dynamic)];
    const READS: &'static [&'static str] = &[Configured::NAME];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let leases = &mut ledgers.leases;
        let wishes = wishes(cx, key.row());
        let (Some(switch), Some(wishes)) = (cx.switch_of(key.row()), wishes) else {
            return leases.let_go(key, &mut |item| cx.wake(fact(item)));
        };
        let Some(pool) = Pool::of(cx, switch, false).filter(Pool::gives_anything) else {
            return leases.let_go(key, &mut |item| cx.wake(fact(item)));
        };
        let had = leases
            .leases
            .get(&key)
            .filter(|(at, _)| *at == switch)
            .map(|(_, lease)| *lease);
        let wanted = Wanted {
            cx,
            key,
            switch,
            pool: &pool,
            had,
        };
        let lease = wanted.choose(leases, &wishes);
        if leases.leases.get(&key).map(|(at, l)| (*at, Some(*l)))
            != lease.map(|l| (switch, Some(l)))
        {
            leases.let_go(key, &mut |item| cx.wake(fact(item)));
            if let Some(lease) = lease {
                leases.hold(key, switch, lease);
            }
        }
        if let Some(lease) = lease {
            for item in Leases::items(switch, &lease) {
                cx.track(fact(item));
            }
            cx.emit(Output::LspDynamic(key.row(), lease.text()));
            cx.publish(lease);
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.leases.let_go(key, &mut |item| wake(fact(item), 1));
    }
}

/// What a port wishes, if it wants a dynamic address at all.
#[derive(Default)]
struct Wishes {
    mac: Option<Mac>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

fn wishes(cx: &Cx<'_>, port: Uuid) -> Option<Wishes> {
    let lsp = cx.lsp(port)?;
    lsp.addresses()
        .iter()
        .find_map(|text| match parse_port_address(text).0 {
            Some(PortAddress::Dynamic { mac, v4, v6 }) => Some(Wishes { mac, v4, v6 }),
            _ => None,
        })
}

struct Wanted<'c, 'a> {
    cx: &'c Cx<'a>,
    key: Key,
    switch: Uuid,
    pool: &'c Pool,
    had: Option<Lease>,
}

impl Wanted<'_, '_> {
    fn complain(&self, message: String) {
        if let Some(lsp) = self.cx.lsp(self.key.row()) {
            self.cx.diagnose::<nb::LogicalSwitchPort>(
                lsp.name(),
                self.key.row(),
                "addresses",
                message,
            );
        }
    }

    fn free(&self, leases: &Leases, ip: IpAddr) -> bool {
        leases.free(Item::Ip(self.switch, ip), self.key)
    }

    fn choose(&self, leases: &mut Leases, wishes: &Wishes) -> Option<Lease> {
        let v4 = self.choose_v4(leases, wishes.v4);
        let mac = match wishes.mac {
            Some(mac) => mac,
            None => self.choose_mac(leases, v4)?,
        };
        let v6 = match (wishes.v6, self.pool.v6_prefix) {
            (Some(v6), _) => Some(v6),
            (None, Some(prefix)) if !self.pool.mac_only => Some(mac.eui64(prefix)),
            _ => None,
        };
        let v6 = v6.filter(|&ip| {
            self.cx.track(fact(Item::Ip(self.switch, ip.into())));
            let free = self.free(leases, ip.into());
            if !free {
                self.complain(format!(
                    "{ip} is in use on the same switch: the port does not get it"
                ));
            }
            free
        });
        Some(Lease { mac, v4, v6 })
    }

    fn choose_v4(&self, leases: &mut Leases, wish: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        if let Some(wish) = wish {
            self.cx.track(fact(Item::Ip(self.switch, wish.into())));
            if self.free(leases, wish.into()) {
                return Some(wish);
            }
            self.complain(format!(
                "{wish} is in use on the same switch: the port does not get it"
            ));
            return None;
        }
        let hosts = self.pool.hosts().filter(|_| !self.pool.mac_only)?;
        if let Some(had) = self.had.and_then(|l| l.v4)
            && self.pool.allows(had)
            && self.free(leases, had.into())
        {
            return Some(had);
        }
        let lowest = leases
            .lowest
            .get(&self.switch)
            .copied()
            .filter(|l| hosts.contains(l));
        let start = lowest.unwrap_or(*hosts.start());
        let found = (start..=*hosts.end())
            .chain(*hosts.start()..start)
            .map(Ipv4Addr::from_bits)
            .find(|&ip| self.pool.allows(ip) && self.free(leases, ip.into()));
        match found {
            Some(ip) => {
                leases.lowest.insert(self.switch, ip.to_bits() + 1);
            }
            None => {
                self.cx.track(fact(Item::Room(self.switch)));
                self.complain(
                    "no address of the switch's subnet is free: the port does not get one"
                        .to_owned(),
                );
            }
        }
        found
    }

    /// The prefix and three bytes that follow from the IPv4 address, so that a port that keeps one keeps the other.
    fn choose_mac(&self, leases: &Leases, v4: Option<Ipv4Addr>) -> Option<Mac> {
        let prefix = mac_prefix(self.cx);
        let usable = |mac: &Mac| mac.0[..3] == prefix && leases.free(Item::Mac(*mac), self.key);
        if let Some(had) = self.had.filter(|l| l.v4 == v4 && usable(&l.mac)) {
            return Some(had.mac);
        }
        let seed = match v4 {
            Some(ip) => ip.to_bits(),
            None => FxBuildHasher.hash_one(self.key) as u32,
        };
        let base =
            u64::from(prefix[0]) << 40 | u64::from(prefix[1]) << 32 | u64::from(prefix[2]) << 24;
        let found = (0..0x00ff_fffe_u32)
            .map(|i| (seed.wrapping_add(i) & 0x00ff_ffff) % 0x00ff_fffe + 1)
            .map(|low| Mac::from_bits(base | u64::from(low)))
            .find(usable);
        if found.is_none() {
            self.complain("no Ethernet address with the configured prefix is free".to_owned());
        }
        found
    }
}

/// Tells what is wrong with a switch's configuration of dynamic addresses; once, not once per port.
pub struct PoolCheck;

impl crate::program::Feature for PoolCheck {
    const NAME: &'static str = "ipam_config";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];

    fn run(cx: &Cx<'_>, key: Key) {
        Pool::of(cx, key.row(), true);
    }
}
