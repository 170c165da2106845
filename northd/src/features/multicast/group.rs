//! Groups that chassis learned of (`IGMP_Group`), as multicast groups and flows.
//!
//! Guarantees: what one chassis says about a group costs its own members; the flow and the number of a group are there
//! once per datapath, as long as somebody is a member; `localnet` ports are members of every group of their switch. Who gets all multicast anyhow (see [`ports`]) is no member. A row
//! whose chassis or switch is gone is deleted. A switch has no more groups than `mcast_table_size`: further ones are
//! reported and treated as unregistered.

use std::net::IpAddr;

use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::{nb, sb};

use super::relay::{Links, Relays, copy_to_static};
use super::snoop::{self, snooping};
use super::{Mark, Marks, copy_to, is_routable, is_to, of_unit, ports, registrable, unit};
use crate::features::global::{Tunnels, key_ranges};
use crate::features::router::port;
use crate::index::PortType;
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::output::{Mcast, McastGroup, Output};
use crate::pipeline::{MCAST_LEARNED_MIN, Stage, priority};
use crate::program::{Allocator, Cx, Fact, Feature, Key, Per};

/// In place of a group's address: the ports behind which a chassis has heard multicast routers.
const MULTICAST_ROUTERS: &str = "mrouters";

/// Allocates and publishes the tunnel key of a group on a datapath, as `u32`.
pub struct Numbers;

impl Allocator for Numbers {
    const NAME: &'static str = "multicast_number";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[snoop::Switches::NAME, Tunnels::NAME];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let Some((datapath, ip)) = of_unit(key) else {
            return;
        };
        let size = snooping(cx, datapath).map(|snooping| snooping.table_size);
        let last = key_ranges(cx).mcast_max;
        let last = size.map_or(last, |size| last.min(MCAST_LEARNED_MIN + size - 1));
        let space = Space::Groups(datapath.into());
        let given = ledgers.groups.assign(
            datapath,
            key,
            None,
            (MCAST_LEARNED_MIN, last),
            &mut |dp, n| {
                changed_hands(Space::Groups(dp.into()), n, |fact| cx.wake(fact));
            },
        );
        match given.number {
            Some(number) => {
                cx.track(number_fact(space, number));
                cx.publish(number);
            }
            None => {
                cx.track(number_fact(space, 0));
                if let Some(switch) = cx.ls(datapath) {
                    let most = last + 1 - MCAST_LEARNED_MIN;
                    cx.diagnose::<nb::LogicalSwitch>(
                        switch.name(),
                        datapath,
                        "other_config:mcast_table_size",
                        format!("the switch has {most} groups already: {ip} is as if nobody had joined it"),
                    );
                }
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.groups.let_go(key, &mut |dp, n| {
            changed_hands(Space::Groups(dp.into()), n, |fact| wake(fact, 1))
        });
    }
}

/// The unit of a group as a multicast group, once it has a number. Keeps the number.
fn numbered(cx: &Cx<'_>, key: Key, name: &Str) -> Option<McastGroup> {
    cx.demand(Numbers::ID, key);
    let number = cx.value::<u32>(Numbers::ID, key)?;
    Some(McastGroup::Learned(name.clone(), *number))
}

/// Per group on a switch with relaying routers: the routers send it there, also if all who want it get all multicast anyhow.
pub struct Relayed;

impl Feature for Relayed {
    const NAME: &'static str = "multicast_relayed";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[Numbers::NAME, Links::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some((switch, ip)) = of_unit(key) else {
            return;
        };
        let Some(relays) = cx.value::<Relays>(Links::ID, Key::Row(switch)) else {
            return;
        };
        let name: Str = ip.to_string().into();
        for (router, port) in &relays.0 {
            let there = unit(*router, ip);
            cx.demand(Groups::ID, there);
            if let Some(group) = numbered(cx, there, &name) {
                cx.emit(Output::McastMember {
                    dp: *router,
                    group,
                    port: port.clone(),
                });
            }
        }
    }
}

/// Per row of `IGMP_Group`: the members it tells of.
pub struct Members;

impl Feature for Members {
    const NAME: &'static str = "multicast_member";
    const PER: &'static [Per] = &[Per::Sb(sb::TableId::IgmpGroup)];
    const READS: &'static [&'static str] = &[
        ports::Ports::NAME,
        snoop::Switches::NAME,
        Numbers::NAME,
        Marks::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.igmp_group(key.row()) else {
            return;
        };
        let switch = (*row.datapath()).and_then(|dp| cx.nb_of_datapath(dp));
        let switch = switch.filter(|switch| cx.ls(*switch).is_some());
        let (Some(switch), Some(_)) = (switch, row.chassis()) else {
            cx.emit(Output::Stale(sb::TableId::IgmpGroup as u8, key.row()));
            return;
        };
        if snooping(cx, switch).is_none() {
            return;
        }
        if &**row.address() == MULTICAST_ROUTERS {
            for (lsp, port) in members(cx, switch, row.ports().iter()) {
                Mark::AmongRouters.set(cx, lsp);
                cx.emit(Output::McastMember {
                    dp: switch,
                    group: McastGroup::Known(Mcast::MrouterFlood),
                    port,
                });
                Mark::Routers.set(cx, switch);
            }
            return;
        }
        let ip = match row.address().parse::<IpAddr>() {
            Ok(ip) if ip.is_multicast() => ip,
            _ => {
                cx.diagnose::<sb::IgmpGroup>(
                    row.address(),
                    key.row(),
                    "address",
                    "no address of a multicast group: ignored",
                );
                return;
            }
        };
        if !registrable(ip) {
            return;
        }
        let group = unit(switch, ip);
        let name: Str = ip.to_string().into();
        for (lsp, port) in members(cx, switch, row.ports().iter()) {
            if is_routable(ip) {
                cx.demand(Relayed::ID, group);
            }
            if gets_all(cx, switch, lsp) {
                continue;
            }
            cx.demand(Groups::ID, group);
            if let Some(group) = numbered(cx, group, &name) {
                cx.emit(Output::McastMember {
                    dp: switch,
                    group,
                    port,
                });
            }
        }
    }
}

/// Whether a port gets what goes to any group by another way: listed too, it would get it twice.
fn gets_all(cx: &Cx<'_>, switch: Uuid, lsp: Uuid) -> bool {
    let among_routers = || Mark::AmongRouters.is_set(cx, lsp) && Mark::Routers.is_set(cx, switch);
    cx.value::<ports::GetsAll>(ports::Ports::ID, Key::Row(lsp))
        .is_some()
        || among_routers()
}

/// Those of the port bindings that are enabled ports of the switch.
fn members<'a>(
    cx: &'a Cx<'_>,
    switch: Uuid,
    bindings: impl Iterator<Item = &'a Uuid>,
) -> impl Iterator<Item = (Uuid, Str)> {
    bindings.filter_map(move |&binding| {
        let name = cx.binding(binding)?.logical_port().clone();
        let lsp = cx.lsp_named(&name)?;
        let works = cx.switch_of(lsp) == Some(switch) && *cx.lsp(lsp)?.enabled() != Some(false);
        works.then_some((lsp, name))
    })
}

/// Per group on a datapath that has members: where its packets go.
pub struct Groups;

impl Feature for Groups {
    const NAME: &'static str = "multicast_group";
    const PER: &'static [Per] = &[Per::Demand];
    const READS: &'static [&'static str] = &[
        Numbers::NAME,
        Marks::NAME,
        ports::Ports::NAME,
        snoop::Switches::NAME,
        port::Routers::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some((datapath, ip)) = of_unit(key) else {
            return;
        };
        let name: Str = ip.to_string().into();
        if port::router(cx, datapath).is_some() {
            on_router(cx, key, datapath, ip, &name);
        } else if snooping(cx, datapath).is_some() {
            on_switch(cx, key, datapath, ip, &name);
        }
    }
}

fn on_switch(cx: &Cx<'_>, key: Key, switch: Uuid, ip: IpAddr, name: &Str) {
    let Some(group) = numbered(cx, key, name) else {
        return;
    };
    // Members on other chassis are reached by the physical network, where there is one.
    for &lsp in cx.ports_of(switch, PortType::Localnet) {
        let Some(row) = cx.lsp(lsp) else { continue };
        let ours = cx.switch_of(lsp) == Some(switch) && *row.enabled() != Some(false);
        if ours && !gets_all(cx, switch, lsp) {
            cx.emit(Output::McastMember {
                dp: switch,
                group: group.clone(),
                port: row.name().clone(),
            });
        }
    }
    let mut actions = Vec::new();
    if Mark::Routers.is_set(cx, switch) {
        actions.push(copy_to(Mcast::MrouterFlood));
    }
    if Mark::Static.is_set(cx, switch) {
        actions.push(copy_to(Mcast::Static));
    }
    actions.extend([Action::set(field::OUTPORT, name), Action::Output]);
    cx.flow(
        switch,
        Stage::LsInL2Lkup,
        priority::L2_MCAST_REGISTERED,
        Expr::all([pred::ETH_MCAST, is_to(ip)]),
        actions,
        None,
    );
}

fn on_router(cx: &Cx<'_>, key: Key, router: Uuid, ip: IpAddr, name: &Str) {
    if numbered(cx, key, name).is_none() {
        return;
    }
    let mut actions = Vec::new();
    if Mark::Static.is_set(cx, router) {
        actions.push(copy_to_static());
    }
    actions.extend([
        Action::set(field::OUTPORT, name),
        Action::DecTtl,
        Action::NEXT,
    ]);
    cx.flow(
        router,
        Stage::LrInIpRouting,
        10_500,
        is_to(ip),
        actions,
        None,
    );
}
