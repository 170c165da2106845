//! The flows of a switch port whose clients are served.
//!
//! Guarantees: only addresses of the port in the network of the options are given out, one per Ethernet address and family;
//! whoever asks from elsewhere is not answered. ACLs do not keep answers from the client. For a host outside, the chassis
//! that has claimed its `external` port answers and no other.

use std::sync::Arc;

use weft_lang::action::{OptionsKind, PacketOption};
use weft_lang::options::OptionType;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::catalog::{IA_ADDR, OFFER_IP};
use super::settings::{self, Served, Settings};
use crate::address::{Addresses, Mac};
use crate::features::acl::state::{SwitchAcls, needs};
use crate::features::port_address::{SwitchPortAddresses, addresses};
use crate::index::PortType;
use crate::pipeline::{DHCP_READY, Stage, priority};
use crate::program::{Cx, Feature, Key, Per, PortTrait};

/// Ports of DHCPv4 clients and servers (RFC 2131, 4.1).
const V4_PORTS: (u16, u16) = (68, 67);
/// Ports of DHCPv6 clients and servers (RFC 8415, 7.2).
const V6_PORTS: (u16, u16) = (546, 547);

/// Per switch port.
pub struct Ports;

impl Feature for Ports {
    const NAME: &'static str = "dhcp_port";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Dhcp)];
    const READS: &'static [&'static str] =
        &[SwitchPortAddresses::NAME, Settings::NAME, SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(row) = cx.lsp(uuid) else { return };
        let listed = [*row.dhcpv4_options(), *row.dhcpv6_options()];
        if listed == [None; 2] || *row.enabled() == Some(false) {
            return;
        }
        let Some(switch) = cx.switch_of(uuid) else {
            return;
        };
        let Some(inports) = inports(cx, row, switch) else {
            return;
        };
        let Some(own) = addresses(cx, uuid) else {
            return;
        };
        let port = Port {
            cx,
            uuid,
            switch,
            name: row.name().clone(),
            inports,
            external: &**row.type_() == "external",
        };
        for (options, v6) in listed.into_iter().zip([false, true]) {
            let Some(options) = options else { continue };
            let Some(served) = cx.value::<Served>(Settings::ID, Key::Row(options)) else {
                continue;
            };
            match (&*served, v6) {
                (Served::V4 { .. }, false) => port.v4(&served, own.all(), hostname(cx, row)),
                (Served::V6 { .. }, true) => port.v6(&served, own.all()),
                _ => {
                    let (column, family) = if v6 {
                        ("dhcpv6_options", "IPv6")
                    } else {
                        ("dhcpv4_options", "IPv4")
                    };
                    let message = format!("{options} is not of {family}: nobody is served");
                    cx.diagnose::<nb::LogicalSwitchPort>(row.name(), uuid, column, message);
                }
            }
        }
    }
}

type Row<'a, 'b> = nb::LogicalSwitchPortRef<'a, crate::view::NbReads<'b>>;

/// Where packets of the clients enter the switch: at the port, or, of a host outside, at the ports to physical networks.
fn inports(cx: &Cx<'_>, row: Row<'_, '_>, switch: Uuid) -> Option<Vec<Str>> {
    match PortType::parse(row.type_()) {
        PortType::Router => None,
        PortType::External => {
            (*row.ha_chassis_group())?;
            let localnets = cx.ports_of(switch, PortType::Localnet).iter();
            Some(
                localnets
                    .filter_map(|port| Some(cx.lsp(*port)?.name().clone()))
                    .collect(),
            )
        }
        _ => Some(vec![row.name().clone()]),
    }
}

/// The name that the port gives its client.
fn hostname(cx: &Cx<'_>, row: Row<'_, '_>) -> Option<PacketOption> {
    let text = row.options().get("hostname")?;
    match settings::read(OptionType::Str, text) {
        Some(value) => Some(PacketOption {
            name: "hostname".into(),
            value,
        }),
        None => {
            let message = format!("hostname: \"{text}\" is no name: left out");
            cx.diagnose::<nb::LogicalSwitchPort>(row.name(), row.uuid(), "options", message);
            None
        }
    }
}

struct Port<'a, 'b> {
    cx: &'a Cx<'b>,
    uuid: Uuid,
    switch: Uuid,
    name: Str,
    inports: Vec<Str>,
    external: bool,
}

impl Port<'_, '_> {
    fn flow(&self, stage: Stage, priority: u16, match_: Expr, actions: Vec<Action>) {
        self.cx.flow(
            self.switch,
            stage,
            priority,
            match_,
            actions,
            Some(self.uuid),
        );
    }

    /// What a client with that Ethernet address sends to servers. `to` says to where.
    fn from(&self, inport: &Str, client: Mac, to: Vec<Expr>, ports: (u16, u16)) -> Vec<Expr> {
        let mut all = vec![field::INPORT.eq(inport), field::ETH_SRC.eq(client)];
        all.extend(to);
        all.extend([field::UDP_SRC.eq(ports.0), field::UDP_DST.eq(ports.1)]);
        if self.external {
            all.push(Expr::is_chassis_resident(self.name.clone()));
        }
        all
    }

    fn v4<'x>(
        &self,
        served: &Arc<Served>,
        own: impl Iterator<Item = &'x Addresses>,
        hostname: Option<PacketOption>,
    ) {
        let Served::V4 {
            net,
            server,
            mac,
            options,
        } = &**served
        else {
            return;
        };
        let mut any = false;
        for host in own {
            let Some(ip) = host.ip4s().find(|ip| net.contains(ip)) else {
                continue;
            };
            any = true;
            let mut all = vec![PacketOption::new(OFFER_IP, ip)];
            let named = |option: &&PacketOption| hostname.is_none() || &*option.name != "hostname";
            all.extend(options.iter().filter(named).cloned());
            all.extend(hostname.clone());
            all[1..].sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let broadcast = std::net::Ipv4Addr::BROADCAST;
            let without = vec![
                field::IP4_SRC.eq(std::net::Ipv4Addr::UNSPECIFIED),
                field::IP4_DST.eq(broadcast),
            ];
            let with = vec![
                field::IP4_SRC.eq(ip),
                field::IP4_DST.one_of([*server, broadcast]),
            ];
            for inport in &self.inports {
                for to in [&without, &with] {
                    let asked = self.from(inport, host.mac, to.clone(), V4_PORTS);
                    self.build(asked, OptionsKind::Dhcpv4, all.clone());
                }
                let asked = self.from(inport, host.mac, vec![pred::IP4], V4_PORTS);
                self.respond(
                    asked,
                    vec![Action::set(field::IP4_SRC, *server)],
                    *mac,
                    V4_PORTS,
                );
            }
        }
        if any {
            self.let_pass(field::IP4_SRC.eq(*server), *mac, V4_PORTS);
        }
    }

    fn v6<'x>(&self, served: &Arc<Served>, own: impl Iterator<Item = &'x Addresses>) {
        let Served::V6 {
            net,
            mac,
            stateless,
            options,
        } = &**served
        else {
            return;
        };
        let server = mac.link_local();
        let mut any = false;
        for host in own {
            let Some(ip) = host.ip6s().find(|ip| net.contains(ip)) else {
                continue;
            };
            any = true;
            let mut all = Vec::new();
            if !stateless {
                all.push(PacketOption::new(IA_ADDR, ip));
            }
            all.extend(options.iter().cloned());
            for inport in &self.inports {
                let to = vec![field::IP6_DST.eq(all_servers())];
                let asked = self.from(inport, host.mac, to, V6_PORTS);
                self.build(asked.clone(), OptionsKind::Dhcpv6, all.clone());
                let back = vec![
                    Action::Move(field::IP6_DST, field::IP6_SRC),
                    Action::set(field::IP6_SRC, server),
                ];
                self.respond(asked, back, *mac, V6_PORTS);
            }
        }
        if any {
            self.let_pass(field::IP6_SRC.eq(server), *mac, V6_PORTS);
        }
    }

    /// Makes the answer out of the question.
    fn build(&self, asked: Vec<Expr>, kind: OptionsKind, options: Vec<PacketOption>) {
        let actions = vec![
            Action::PutOptions(kind, DHCP_READY.field(), options),
            Action::NEXT,
        ];
        self.flow(Stage::LsInDhcpOptions, 100, Expr::all(asked), actions);
    }

    /// Sends it back.
    fn respond(&self, asked: Vec<Expr>, addresses: Vec<Action>, mac: Mac, ports: (u16, u16)) {
        let ready = asked.into_iter().chain([DHCP_READY.field().is_set()]);
        let mut actions = vec![
            Action::Move(field::ETH_DST, field::ETH_SRC),
            Action::set(field::ETH_SRC, mac),
        ];
        actions.extend(addresses);
        actions.extend([
            Action::set(field::UDP_SRC, ports.1),
            Action::set(field::UDP_DST, ports.0),
        ]);
        actions.extend(crate::features::switch::return_to_sender());
        self.flow(Stage::LsInDhcpResponse, 100, Expr::all(ready), actions);
    }

    /// Answers reach the client whatever its ACLs say.
    fn let_pass(&self, source: Expr, mac: Mac, ports: (u16, u16)) {
        if self.external {
            return;
        }
        let answer = Expr::all([
            field::OUTPORT.eq(&self.name),
            field::ETH_SRC.eq(mac),
            source,
            field::UDP_SRC.eq(ports.1),
            field::UDP_DST.eq(ports.0),
        ]);
        let mut actions = vec![Action::NEXT];
        if needs(self.cx, self.switch).stateful() {
            actions.insert(0, Action::ct_commit([]));
        }
        self.flow(Stage::LsOutAcl, priority::ACL_OWN, answer, actions);
    }
}

/// All DHCPv6 servers and relays of a link (RFC 8415, 7.1).
fn all_servers() -> std::net::Ipv6Addr {
    std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2)
}
