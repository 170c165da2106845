//! Actions that make or change whole packets, or ask what only a running network knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_lang::action::{CallName, Endpoint, LbKind, NatKind, NestedKind, OptionsKind};
use weft_lang::constant::{bits_mac, mac_bits};
use weft_lang::field::Home;
use weft_lang::{Action, Const, Field, FieldReader, OfField, Packet, Pipeline, Str, field};

use super::engine::{Frame, Trace};
use super::flow_text::{ct_state, hex, mac, value};
use super::model::Datapath;
use super::port_security::{forbids_receiving, forbids_sending};
use super::tree::{Kind, Node};

/// Types of ICMPv6 messages.
const ROUTER_SOLICIT: u128 = 133;
const ROUTER_ADVERT: u128 = 134;
const CT_TRK: u128 = 1 << 5;
const CT_SNAT: u128 = 1 << 6;
const CT_DNAT: u128 = 1 << 7;

/// Whether a change of the field can be seen from outside: not of registers and other notes to self.
pub(super) fn is_visible(to: Field) -> bool {
    to.symbol().home == Home::Controller
        || to
            .pieces()
            .any(|piece| !matches!(piece.of, OfField::Reg(_)))
}

/// A field's value as the stock tool writes it: parts of fields and numbers without a format in hexadecimal.
pub(super) fn value_text(from: Field, bits: u128) -> String {
    let mut pieces = from.pieces();
    match (pieces.next(), pieces.next()) {
        (Some(piece), None) if piece.len == piece.of.width() => value(piece.of, bits),
        _ => hex(bits),
    }
}

/// `ct_commit(ct_mark=0x1);`
pub(super) fn commit_text(mark: Option<&Const>, label: Option<&Const>) -> String {
    let hexadecimal = |constant: &Const| match constant {
        Const::Int(int) => match int.mask() {
            Some(mask) => format!("{}/{}", hex(int.value()), hex(mask)),
            None => hex(int.value()),
        },
        other => other.to_string(),
    };
    let parts = [("ct_mark", mark), ("ct_label", label)];
    let given = parts
        .iter()
        .filter_map(|(name, constant)| Some(format!("{name}={}", hexadecimal((*constant)?))));
    format!("ct_commit({});", given.collect::<Vec<_>>().join(", "))
}

/// Whether a load balancer of the datapath has sent the packet back to its sender.
fn returns(packet: &Packet, datapath: &Datapath) -> bool {
    let (src, dst) = match packet.read(OfField::EthType) {
        0x800 => (
            address(packet, field::IP4_SRC),
            address(packet, field::IP4_DST),
        ),
        0x86dd => (
            address(packet, field::IP6_SRC),
            address(packet, field::IP6_DST),
        ),
        _ => return false,
    };
    let protocol = packet.read(OfField::IpProto);
    let port = match protocol {
        6 => Some(OfField::TcpDst),
        17 => Some(OfField::UdpDst),
        132 => Some(OfField::SctpDst),
        _ => None,
    };
    let port = port.map(|of| (protocol, packet.read(of) as u16));
    let is = |key: Option<(u128, u16)>| datapath.backends.contains(&(key, dst));
    src == dst && (is(None) || port.is_some_and(|port| is(Some(port))))
}

fn address(packet: &Packet, from: Field) -> IpAddr {
    let bits = packet.get(from);
    if from.width() == 32 {
        Ipv4Addr::from(bits as u32).into()
    } else {
        Ipv6Addr::from(bits).into()
    }
}

impl Trace<'_> {
    /// Every action that [`super::engine`] does not do itself. Those that leave no trace on the packet, as far as
    /// anyone can tell without a network, do nothing.
    pub(super) fn further(&mut self, frame: &mut Frame<'_>, action: &Action) {
        match action {
            Action::CtNext(_) => {
                let (state, remark) = self.next_ct_state();
                let title = format!("ct_next(ct_state={}{remark})", ct_state(state));
                let mut packet = frame.packet.clone();
                packet.write(OfField::CtState, state);
                self.forked(frame, title, &mut packet);
            }
            Action::CtNat(kind, target) => {
                self.translate(frame, *kind, target.map(|target| target.ip))
            }
            Action::CtCommitNat(_) => {
                let (state, remark) = self.known_ct_state(frame.packet);
                let mut packet = frame.packet.clone();
                packet.write(OfField::CtState, state);
                let title =
                    format!("ct_commit_nat /* assuming no un-nat entry, so no change */{remark}");
                self.forked(frame, title, &mut packet);
            }
            Action::CtLb(lb) => self.balance(frame, lb.kind, &lb.backends),
            Action::Nested(kind, actions) => self.nested(frame, *kind, actions),
            Action::Call { result, name, args } => self.call(frame, *name, *result, args),
            Action::PutOptions(OptionsKind::NdRa, result, _) => {
                let solicits = frame.packet.get(field::ICMP6_TYPE) == ROUTER_SOLICIT;
                if solicits {
                    frame.packet.set(field::ICMP6_TYPE, ROUTER_ADVERT);
                }
                frame.packet.set(*result, solicits.into());
                let text = action.to_string();
                frame.effect(
                    text.split_once(" = ")
                        .map_or(text.as_str(), |(_, call)| call),
                );
            }
            Action::PutOptions(_, result, _) => {
                frame.notice("/* We assume that this packet is DHCPDISCOVER or DHCPREQUEST. */");
                frame.packet.set(*result, 1);
                let text = action.to_string();
                frame.effect(
                    text.split_once(" = ")
                        .map_or(text.as_str(), |(_, call)| call),
                );
            }
            Action::CheckPktLarger(result, _) => frame.packet.set(*result, 0),
            Action::Log(log) => {
                let text = |part: &Option<weft_lang::Str>, none: &str| {
                    part.as_deref().unwrap_or(none).to_string()
                };
                let direction = if frame.at.pipeline == Pipeline::Ingress {
                    "IN"
                } else {
                    "OUT"
                };
                let flow = Self::flow_text(frame);
                let line = format!(
                    "LOG: ACL name={}, direction={direction}, verdict={}, severity={}, packet=\"{flow}\"",
                    text(&log.name, "<unnamed>"),
                    text(&log.verdict, "allow"),
                    text(&log.severity, "info"),
                );
                frame.nodes.push(Node::leaf(Kind::Transformation, line));
            }
            Action::Select {
                result, members, ..
            } => self.select(frame, *result, members),
            Action::FwdGroup { child_ports, .. } => self.choose_port(frame, child_ports),
            Action::DhcpRelayReqChk(result, ..) | Action::DhcpRelayRespChk(result, ..) => {
                frame.packet.set(*result, 1);
                frame.effect(format!("{result} = 1"));
            }
            _ => {}
        }
    }

    /// A copy goes on in the next table.
    fn forked(&mut self, frame: &mut Frame<'_>, title: String, packet: &mut Packet) {
        let (pipeline, table) = (frame.at.pipeline, frame.at.table + 1);
        self.transformed(frame, title, packet, |trace, inner| {
            trace.next(inner, pipeline, table)
        });
    }

    /// Translation does not ask anew what tracking has told already.
    fn known_ct_state(&mut self, packet: &Packet) -> (u128, &'static str) {
        match packet.read(OfField::CtState) {
            state if state & CT_TRK != 0 => (state, ""),
            _ => self.next_ct_state(),
        }
    }

    fn translate(&mut self, frame: &mut Frame<'_>, kind: NatKind, target: Option<IpAddr>) {
        let source = matches!(kind, NatKind::Snat | NatKind::SnatInCzone);
        let zone = if matches!(kind, NatKind::DnatInCzone | NatKind::SnatInCzone) {
            "in_czone"
        } else {
            ""
        };
        let letter = if source { 's' } else { 'd' };
        if kind == NatKind::Snat && target.is_none() && self.model.datapaths[frame.at.dp].is_gateway
        {
            // There the packet only goes through a zone that never has an entry for it.
            return;
        }
        let (state, remark) = self.known_ct_state(frame.packet);
        let mut packet = frame.packet.clone();
        let mut title = format!("ct_{letter}nat{zone}");
        let mut bits = state;
        match target {
            None => title.push_str(&format!(
                " /* assuming no un-{letter}nat entry, so no change */"
            )),
            Some(ip) => {
                let end = if source { "src" } else { "dst" };
                let (version, v4, v6) = if source {
                    (
                        if ip.is_ipv4() { 4 } else { 6 },
                        field::IP4_SRC,
                        field::IP6_SRC,
                    )
                } else {
                    (
                        if ip.is_ipv4() { 4 } else { 6 },
                        field::IP4_DST,
                        field::IP6_DST,
                    )
                };
                title.push_str(&format!("(ip{version}.{end}={ip})"));
                set_address(&mut packet, ip, v4, v6);
                bits |= if source { CT_SNAT } else { CT_DNAT };
            }
        }
        packet.write(OfField::CtState, bits);
        title.push_str(remark);
        self.forked(frame, title, &mut packet);
    }

    fn balance(&mut self, frame: &mut Frame<'_>, kind: LbKind, backends: &[Endpoint]) {
        let (next, remark) = self.next_ct_state();
        let mut packet = frame.packet.clone();
        let state = packet.read(OfField::CtState) | next;
        packet.write(OfField::CtState, state);
        let v4 = packet.read(OfField::EthType) == 0x800;
        let fits = |ip: IpAddr| ip.is_ipv4() == v4;
        let wanted = self.choices.lb_dst.filter(|(ip, _)| fits(*ip));
        let chosen = if backends.is_empty() {
            wanted
        } else {
            let fitting: Vec<&Endpoint> =
                backends.iter().filter(|backend| fits(backend.ip)).collect();
            let same = |backend: &&&Endpoint| {
                wanted.is_some_and(|(ip, port)| {
                    backend.ip == ip && (port.is_none() || port == backend.port)
                })
            };
            let chosen = fitting.iter().find(same).or(fitting.first());
            if chosen.is_none() {
                frame.notice("*** no load balancing destination (use --lb-dst)");
            }
            chosen.map(|backend| (backend.ip, backend.port))
        };
        if let Some((ip, port)) = chosen {
            set_address(&mut packet, ip, field::IP4_DST, field::IP6_DST);
            if let Some(port) = port {
                let of = match packet.read(OfField::IpProto) {
                    6 => Some(OfField::TcpDst),
                    17 => Some(OfField::UdpDst),
                    132 => Some(OfField::SctpDst),
                    _ => None,
                };
                of.into_iter().for_each(|of| packet.write(of, port.into()));
            }
            packet.write(OfField::CtState, state | CT_DNAT);
        }
        self.forked(frame, format!("{}{remark}", kind.name()), &mut packet);
    }

    fn select(&mut self, frame: &mut Frame<'_>, result: Field, members: &[(u16, Option<u16>)]) {
        let wanted = self
            .choices
            .select_id
            .filter(|id| members.iter().any(|(member, _)| member == id));
        let weight = |(_, weight): &(u16, Option<u16>)| u64::from(weight.unwrap_or(100));
        let (id, remark) = match wanted {
            Some(id) => (id, ""),
            None => {
                let total: u64 = members.iter().map(weight).sum();
                let mut ticket = self.choices.random % total.max(1);
                let drawn = members.iter().find(|member| {
                    let won = ticket < weight(member);
                    ticket = ticket.saturating_sub(weight(member));
                    won
                });
                let id = drawn.or(members.first()).map_or(0, |(id, _)| *id);
                (id, " /* Randomly selected. Use --select-id to specify. */")
            }
        };
        let mut packet = frame.packet.clone();
        packet.set(result, id.into());
        self.forked(
            frame,
            format!("select: {result} = {id}{remark}"),
            &mut packet,
        );
    }

    /// To any of the ports.
    fn choose_port(&mut self, frame: &mut Frame<'_>, ports: &[Str]) {
        let drawn = self.choices.random % (ports.len() as u64).max(1);
        if let Some(port) = ports.get(drawn as usize) {
            frame.effect(format!("outport = \"{port}\" /* Randomly selected. */"));
            self.step(frame, &Action::set(field::OUTPORT, port));
            self.step(frame, &Action::Output);
        }
    }

    fn nested(&mut self, frame: &mut Frame<'_>, kind: NestedKind, actions: &[Action]) {
        if is_itself_a_refusal(frame.packet, kind) {
            return;
        }
        let mut packet = frame.packet.clone();
        let title = match kind {
            NestedKind::Clone => "clone",
            NestedKind::Arp => make_arp(&mut packet),
            NestedKind::NdNs => make_nd_ns(&mut packet),
            NestedKind::NdNa => make_nd_na(&mut packet, "nd_na"),
            NestedKind::NdNaRouter => make_nd_na(&mut packet, "nd_na_router"),
            NestedKind::Icmp4 | NestedKind::Icmp4Error => make_icmp(&mut packet, true),
            NestedKind::Icmp6 | NestedKind::Icmp6Error => make_icmp(&mut packet, false),
            NestedKind::TcpReset => make_reset(&mut packet, true),
            NestedKind::SctpAbort => make_reset(&mut packet, false),
            NestedKind::Reject => {
                swap(&mut packet, field::ETH_SRC, field::ETH_DST);
                let v4 = packet.read(OfField::EthType) == 0x800;
                let (source, destination) = if v4 {
                    (field::IP4_SRC, field::IP4_DST)
                } else {
                    (field::IP6_SRC, field::IP6_DST)
                };
                swap(&mut packet, source, destination);
                match packet.read(OfField::IpProto) {
                    6 => make_reset(&mut packet, true),
                    132 => make_reset(&mut packet, false),
                    _ => make_icmp(&mut packet, v4),
                }
            }
        };
        self.transformed(frame, title.to_string(), &mut packet, |trace, inner| {
            trace.execute(inner, actions, false)
        });
    }

    /// The calls that ask for neighbours: takes the known address, or gives whether it is known; with a third argument,
    /// whether it is known to be that.
    fn neighbour(
        &self,
        frame: &mut Frame<'_>,
        name: CallName,
        [port, ip]: [Field; 2],
        wanted: Option<Field>,
    ) -> Option<bool> {
        let key = frame.packet.get(port) as u32;
        let datapath = &self.model.datapaths[frame.at.dp];
        let found = datapath
            .neighbour(key, address(frame.packet, ip))
            .map(mac_bits);
        if matches!(name, CallName::GetArp | CallName::GetNd) {
            let bits = found.unwrap_or(0);
            frame.action(match found {
                Some(_) => format!("/* MAC binding to {}. */", mac(bits)),
                None => "/* No MAC binding. */".to_string(),
            });
            frame.packet.set(field::ETH_DST, bits);
            frame.effect(format!("eth.dst = {}", mac(bits)));
            return None;
        }
        let known =
            found.is_some_and(|bits| wanted.is_none_or(|field| bits == frame.packet.get(field)));
        frame.action(match (known, wanted) {
            (false, _) => "/* lookup failed - No MAC binding. */".to_string(),
            (true, None) => "/* MAC binding found. */".to_string(),
            // The stock tool shows the destination's address here, whatever was looked up.
            (true, Some(_)) => format!(
                "/* MAC binding to {} found. */",
                mac(frame.packet.get(field::ETH_DST))
            ),
        });
        Some(known)
    }

    fn call(
        &mut self,
        frame: &mut Frame<'_>,
        name: CallName,
        result: Option<Field>,
        args: &[Field],
    ) {
        let store = |frame: &mut Frame<'_>, value: u128| {
            result
                .into_iter()
                .for_each(|result| frame.packet.set(result, value));
        };
        let datapath = &self.model.datapaths[frame.at.dp];
        match (name, args) {
            (
                CallName::GetArp
                | CallName::GetNd
                | CallName::LookupArp
                | CallName::LookupNd
                | CallName::LookupArpIp
                | CallName::LookupNdIp,
                [port, ip, more @ ..],
            ) => {
                let found = self.neighbour(frame, name, [*port, *ip], more.first().copied());
                found
                    .into_iter()
                    .for_each(|found| store(frame, found.into()));
            }
            (CallName::GetFdb | CallName::GetRemoteFdb, [address]) => {
                let key = datapath.learned(bits_mac(frame.packet.get(*address)));
                store(frame, key.unwrap_or(0).into());
            }
            (CallName::LookupFdb, [port, address]) => {
                let bits = frame.packet.get(*address);
                let key = datapath.learned(bits_mac(bits));
                let found = key.is_some_and(|key| u128::from(key) == frame.packet.get(*port));
                frame.action(if found {
                    format!("/* MAC lookup for {} found in FDB. */", mac(bits))
                } else {
                    "/* lookup mac failed in mac learning table. */".to_string()
                });
                store(frame, found.into());
            }
            (CallName::CheckInPortSec, _) => {
                let port = datapath
                    .ports
                    .get(&(frame.packet.get(field::INPORT) as u32));
                let forbidden =
                    port.is_some_and(|port| forbids_sending(&port.security, frame.packet));
                store(frame, forbidden.into());
            }
            (CallName::CheckOutPortSec, _) => {
                let port = datapath
                    .ports
                    .get(&(frame.packet.get(field::OUTPORT) as u32));
                let forbidden =
                    port.is_some_and(|port| forbids_receiving(&port.security, frame.packet));
                store(frame, forbidden.into());
            }
            (CallName::DnsLookup, _) => {
                store(frame, 0);
                frame.notice("*** dns_lookup action not implemented");
            }
            (CallName::ChkLbHairpin | CallName::ChkLbHairpinReply, _) => {
                // What replies look like is learned by connections, of which there are none here.
                let returns = name == CallName::ChkLbHairpin && returns(frame.packet, datapath);
                store(frame, returns.into());
                result
                    .into_iter()
                    .for_each(|result| frame.effect(format!("{result} = {}", u8::from(returns))));
            }
            (CallName::CtNwDst | CallName::CtIp6Dst | CallName::CtTpDst, _) => {
                let of = match name {
                    CallName::CtNwDst => OfField::CtNwDst,
                    CallName::CtIp6Dst => OfField::CtIp6Dst,
                    _ => OfField::CtTpDst,
                };
                let value = frame.packet.read(of);
                store(frame, value);
            }
            (CallName::CtStateSave, _) => {
                let state = frame.packet.read(OfField::CtState);
                store(frame, state);
            }
            // What is learned, or known to the connection tracker alone, is not known here.
            (_, _) => store(frame, 0),
        }
    }
}

/// Whether the packet is what it would be answered with, an error or a reset: those get no answer.
fn is_itself_a_refusal(packet: &Packet, kind: NestedKind) -> bool {
    use NestedKind as K;
    let protocol = packet.read(OfField::IpProto);
    match (packet.read(OfField::EthType), protocol) {
        (0x800, 1) if matches!(kind, K::Icmp4 | K::Icmp4Error | K::Reject) => {
            packet.read(OfField::Icmp4Type) == 3
        }
        (0x86dd, 58) if matches!(kind, K::Icmp6 | K::Icmp6Error | K::Reject) => {
            packet.read(OfField::Icmp6Type) == 1
        }
        // An ABORT has the flag too: no field of the language tells it from other SCTP packets.
        (_, 6 | 132) if matches!(kind, K::TcpReset | K::SctpAbort | K::Reject) => {
            packet.read(OfField::TcpFlags) & TCP_RST != 0
        }
        _ => false,
    }
}

/// The flag of a reset.
const TCP_RST: u128 = 1 << 2;

fn set_address(packet: &mut Packet, ip: IpAddr, v4: Field, v6: Field) {
    match ip {
        IpAddr::V4(ip) => packet.set(v4, u32::from(ip).into()),
        IpAddr::V6(ip) => packet.set(v6, u128::from(ip)),
    }
}

fn swap(packet: &mut Packet, a: Field, b: Field) {
    let (old_a, old_b) = (packet.get(a), packet.get(b));
    packet.set(a, old_b);
    packet.set(b, old_a);
}

fn make_arp(packet: &mut Packet) -> &'static str {
    let (source, destination) = (packet.read(OfField::Ip4Src), packet.read(OfField::Ip4Dst));
    let sender = packet.read(OfField::EthSrc);
    packet.write(OfField::EthType, 0x806);
    packet.write(OfField::ArpOp, 1);
    packet.write(OfField::ArpSha, sender);
    packet.write(OfField::ArpTha, 0);
    packet.write(OfField::ArpSpa, source);
    packet.write(OfField::ArpTpa, destination);
    "arp"
}

fn make_nd(packet: &mut Packet, kind: u128) {
    packet.write(OfField::IpProto, 58);
    packet.write(OfField::IpTtl, 255);
    packet.write(OfField::IpDscp, 0);
    packet.write(OfField::IpEcn, 0);
    packet.write(OfField::Icmp6Type, kind);
    packet.write(OfField::Icmp6Code, 0);
    packet.write(OfField::NdSll, 0);
}

/// RFC 4861, section 7.2.2: to the solicited-node address of the destination.
fn make_nd_ns(packet: &mut Packet) -> &'static str {
    let group = 0x3333_ff00_0000 | packet.read(OfField::Ip6Dst) & 0x00ff_ffff;
    let before = packet.read(OfField::EthDst);
    // An IPv4 packet may ask for its next hop so too.
    packet.write(OfField::EthType, 0x86dd);
    make_nd(packet, 135);
    packet.write(OfField::NdTarget, 0);
    packet.write(OfField::NdTll, before);
    packet.write(OfField::EthDst, group);
    "nd_ns"
}

fn make_nd_na(packet: &mut Packet, title: &'static str) -> &'static str {
    let (target, asker, own) = (
        packet.read(OfField::NdTarget),
        packet.read(OfField::Ip6Src),
        packet.read(OfField::EthDst),
    );
    swap(packet, field::ETH_SRC, field::ETH_DST);
    make_nd(packet, 136);
    packet.write(OfField::Ip6Dst, asker);
    packet.write(OfField::Ip6Src, target);
    packet.write(OfField::NdTll, own);
    title
}

/// "Host unreachable", or for IPv6 "communication administratively prohibited", unless the actions say otherwise.
fn make_icmp(packet: &mut Packet, v4: bool) -> &'static str {
    packet.write(OfField::IpTtl, 255);
    if v4 {
        packet.write(OfField::IpProto, 1);
        packet.write(OfField::Icmp4Type, 3);
        packet.write(OfField::Icmp4Code, 1);
        "icmp4"
    } else {
        packet.write(OfField::IpProto, 58);
        packet.write(OfField::Icmp6Type, 1);
        packet.write(OfField::Icmp6Code, 1);
        "icmp6"
    }
}

fn make_reset(packet: &mut Packet, tcp: bool) -> &'static str {
    packet.write(OfField::IpTtl, 255);
    packet.write(OfField::TcpFlags, TCP_RST);
    if tcp { "tcp_reset" } else { "sctp_abort" }
}
