//! Multicast: the groups that every switch has, and what is done for IP multicast where it is snooped or relayed.
//!
//! * [`ports`] — who is in `_MC_flood`, `_MC_flood_l2`, `_MC_unknown`, `_MC_mrouter_flood` and `_MC_static`.
//! * [`snoop`] — `IP_Multicast` rows and the flows of switches with `mcast_snoop`.
//! * [`group`] — what chassis learned (`IGMP_Group`): one unit per row for its members, one per group and datapath for its
//!   flow, one for its number.
//! * [`relay`] — routers with `mcast_relay`.

pub mod group;
pub mod ports;
pub mod relay;
pub mod snoop;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_lang::action::NestedKind;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::output::Mcast;
use crate::program::{Cx, Entry, Feature, Key, Per, allocator, pure};

/// The kinds of units of multicast.
pub const KINDS: &[Entry] = &[
    pure::<ports::Ports>(),
    pure::<Marks>(),
    pure::<snoop::Switches>(),
    pure::<snoop::Frame>(),
    pure::<snoop::Unregistered>(),
    pure::<snoop::Remotes>(),
    pure::<relay::Links>(),
    pure::<relay::Routers>(),
    pure::<relay::Ports>(),
    allocator::<group::Numbers>(),
    pure::<group::Members>(),
    pure::<group::Relayed>(),
    pure::<group::Groups>(),
];

/// That a datapath has something, however many things make it so: each of them demands the unit, readers ask for its
/// value. So nobody reads all ports to know whether one of them floods.
pub struct Marks;

/// What a datapath may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Mark {
    /// Members of `_MC_static`.
    Static,
    /// Members of `_MC_mrouter_flood` behind which somebody wants all multicast: routers that relay it, or learned ones.
    Routers,
    /// Not of a datapath but of a switch port: it is in `_MC_mrouter_flood`.
    AmongRouters,
    /// Members of `_MC_flood_l2`: ports that lead to no router.
    Hosts,
}

/// Whether a switch has a port that leads to no router, so that there is a group `_MC_flood_l2`. The reader lists [`Marks`]
/// among its `READS`.
pub fn has_hosts(cx: &Cx<'_>, switch: Uuid) -> bool {
    Mark::Hosts.is_set(cx, switch)
}

impl Mark {
    fn key(self, datapath: Uuid) -> Key {
        Key::Pair(datapath, Uuid(self as u128))
    }

    /// The datapath has it as long as this unit says so.
    pub(super) fn set(self, cx: &Cx<'_>, datapath: Uuid) {
        cx.demand(Marks::ID, self.key(datapath));
    }

    /// Whether the datapath has it. The reader lists [`Marks`] among its `READS`.
    pub(super) fn is_set(self, cx: &Cx<'_>, datapath: Uuid) -> bool {
        cx.value::<()>(Marks::ID, self.key(datapath)).is_some()
    }
}

impl Feature for Marks {
    const NAME: &'static str = "multicast_mark";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, _: Key) {
        cx.publish(());
    }
}

/// A yes in a map of options; anything else than `true` is a no.
fn is_on(options: &Map<Str, Str>, name: &str) -> bool {
    is_on_unless(options, name, false)
}

fn is_on_unless(options: &Map<Str, Str>, name: &str, default: bool) -> bool {
    options
        .get(name)
        .map_or(default, |value| value.eq_ignore_ascii_case("true"))
}

/// `ip4.mcast || ip6.mcast`
fn ip_multicast() -> Expr {
    Expr::any([pred::IP4_MCAST, pred::IP6_MCAST])
}

/// `clone { outport = "group"; output; };`
fn copy_to(group: Mcast) -> Action {
    Action::nested(NestedKind::Clone, super::switch::flood(group))
}

/// A group address, if packets to it are looked up: what is reserved is flooded whoever joins it (RFC 4541, 2.1.2 and 3;
/// RFC 4291, 2.7.1).
pub fn registrable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() && ip.octets()[..3] != [224, 0, 0],
        IpAddr::V6(ip) => ip.is_multicast() && !is_reserved_v6(ip),
    }
}

/// As the predicate `ip6.mcast_flood` of ovn-sb(5): unassigned groups, all nodes, all routers, solicited nodes.
fn is_reserved_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let flags = s[0] & 0xf0;
    flags == 0 && s[1..] == [0; 7]
        || matches!(s[0], 0xff01 | 0xff02) && s[1..] == [0, 0, 0, 0, 0, 0, 1]
        || matches!(s[0], 0xff01 | 0xff02 | 0xff05) && s[1..] == [0, 0, 0, 0, 0, 0, 2]
        || s[..6] == [0xff02, 0, 0, 0, 0, 1] && s[6] >> 8 == 0xff
}

/// Whether routers relay the group: its scope is wider than a link (RFC 4291, 2.7).
fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => registrable(ip),
        IpAddr::V6(v6) => registrable(ip) && v6.segments()[0] & 0xf > 2,
    }
}

/// The unit of a group on a datapath.
pub fn unit(datapath: Uuid, ip: IpAddr) -> Key {
    let wide = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Key::Pair(datapath, Uuid(wide.to_bits()))
}

/// What [`unit`] made.
fn of_unit(key: Key) -> Option<(Uuid, IpAddr)> {
    let Key::Pair(datapath, ip) = key else {
        return None;
    };
    Some((datapath, Ipv6Addr::from_bits(ip.0).to_canonical()))
}

/// Packets to the group.
fn is_to(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => to_v4(ip),
        IpAddr::V6(ip) => field::IP6_DST.eq(ip),
    }
}

fn to_v4(ip: Ipv4Addr) -> Expr {
    field::IP4_DST.eq(ip)
}

/// IGMP, and MLD of both versions: two matches, as their prerequisites exclude each other.
fn reports() -> [Expr; 2] {
    [pred::IGMP, Expr::any([pred::MLDV1, pred::MLDV2])]
}
