//! What all health checks from a switch have in common: the row by which the chassis of a port checks what is behind it,
//! and the flows by which its answers come up.
//!
//! Guarantees: a check comes from an address of nobody's, which is answered for with northd's own Ethernet address, or from
//! that of a router port on the switch, whose own traffic is not touched: its answers only come up as copies. ACLs do not
//! stop a check.

pub mod port;

use std::net::IpAddr;
use std::sync::Arc;

use weft_lang::action::{CallName, NestedKind};
use weft_lang::{Action, Expr, Field, field, pred};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::address::Mac;
use crate::features::acl::state::needs;
use crate::features::port_address::router_port;
use crate::features::switch::{arp_answer, arp_request_for, nd_answer, solicitation_for};
use crate::index::{ByName, PortType, monitor_name};
use crate::output::{Output, ServiceMonitor};
use crate::pipeline::{self as p, Stage, priority};
use crate::program::{Cx, Entry, pure};

/// The kinds of units of checks of ports.
pub const KINDS: &[Entry] = &[pure::<port::PortChecks>()];

/// Of packets that start in a controller, and of none that came through a router.
const TTL: u8 = 255;

/// How something is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A connection to a port.
    Tcp(u16),
    /// A datagram to a port.
    Udp(u16),
    /// An echo request.
    Icmp,
}

impl Probe {
    /// As `Service_Monitor.protocol` and `port` have it.
    pub fn columns(self) -> (&'static str, u16) {
        match self {
            Probe::Tcp(port) => ("tcp", port),
            Probe::Udp(port) => ("udp", port),
            Probe::Icmp => ("icmp", 0),
        }
    }

    /// What a probe is, as far as it can be told from other packets.
    fn is_sent(self, v6: bool) -> Expr {
        match self {
            Probe::Tcp(port) => field::TCP_DST.eq(port),
            Probe::Udp(port) => field::UDP_DST.eq(port),
            Probe::Icmp if v6 => field::ICMP6_TYPE.eq(128),
            Probe::Icmp => field::ICMP4_TYPE.eq(8),
        }
    }

    /// What an answer is: a connection taken or refused, an error, an echo.
    fn is_answer(self, v6: bool) -> Expr {
        const SYN: Field = field::TCP_FLAGS.bit(1);
        const RST: Field = field::TCP_FLAGS.bit(2);
        const ACK: Field = field::TCP_FLAGS.bit(4);
        match self {
            Probe::Tcp(port) => Expr::all([
                field::TCP_SRC.eq(port),
                Expr::any([RST.eq(1), Expr::all([SYN.eq(1), ACK.eq(1)])]),
            ]),
            Probe::Udp(_) if v6 => field::ICMP6_TYPE.eq(1),
            Probe::Udp(_) => field::ICMP4_TYPE.eq(3),
            Probe::Icmp if v6 => field::ICMP6_TYPE.eq(129),
            Probe::Icmp => field::ICMP4_TYPE.eq(0),
        }
    }
}

/// One check of what is behind a switch port.
pub struct Check<'a> {
    /// The switch.
    pub switch: Uuid,
    /// The port.
    pub lsp: Uuid,
    /// Its name.
    pub port: &'a Str,
    /// What is checked.
    pub ip: IpAddr,
    /// And how.
    pub probe: Probe,
    /// Where the checks seem to come from.
    pub source: IpAddr,
    /// `Service_Monitor.type`
    pub kind: &'static str,
    /// `interval`, `timeout` and the like.
    pub options: &'a Map<Str, Str>,
}

/// The Ethernet address of the router port on the switch that has the address.
fn of_router(cx: &Cx<'_>, switch: Uuid, source: IpAddr) -> Option<Mac> {
    let ports = cx.ports_of(switch, PortType::Router).iter();
    let mut ports = ports.filter_map(|port| router_port(cx, *port));
    let port = ports.find(|port| match source {
        IpAddr::V4(ip) => port.v4.iter().any(|net| net.addr() == ip),
        IpAddr::V6(ip) => port.link_local == ip || port.v6.iter().any(|net| net.addr() == ip),
    })?;
    Some(port.mac)
}

impl Check<'_> {
    /// Has it made, from `northd`'s Ethernet address. The caller lists what [`needs`] and [`router_port`] read among its
    /// `READS`.
    pub fn make(&self, cx: &Cx<'_>, northd: Mac) {
        let router = of_router(cx, self.switch, self.source);
        let (protocol, port) = self.probe.columns();
        cx.emit(Output::ServiceMonitor(Arc::new(ServiceMonitor {
            logical_port: self.port.clone(),
            ip: self.ip.to_string().into(),
            port,
            protocol: protocol.into(),
            kind: self.kind,
            logical_input_port: Str::default(),
            mac: Str::default(),
            src_mac: router.unwrap_or(northd).to_string().into(),
            src_ip: self.source.to_string().into(),
            options: self.options.clone(),
        })));
        match router {
            Some(mac) => self.pass_to_router(cx, mac),
            None => self.answer_for_nobody(cx, northd),
        }
    }

    fn answer_for_nobody(&self, cx: &Cx<'_>, mac: Mac) {
        let (match_, actions): (_, Vec<Action>) = match self.source {
            IpAddr::V4(ip) => (arp_request_for(ip), arp_answer(mac)),
            IpAddr::V6(ip) => (solicitation_for(ip), nd_answer(NestedKind::NdNa, mac, ip)),
        };
        let hint = Some(self.lsp);
        cx.flow(self.switch, Stage::LsInArpRsp, 110, match_, actions, hint);
        // Answers are for the controller that asked.
        let answer = Expr::all([
            field::ETH_DST.in_set("svc_monitor_mac"),
            Expr::any([pred::TCP, pred::ICMP, pred::ICMP6]),
        ]);
        cx.flow(
            self.switch,
            Stage::LsInL2Lkup,
            110,
            answer,
            [handle()],
            None,
        );
    }

    fn pass_to_router(&self, cx: &Cx<'_>, mac: Mac) {
        let (src, dst) = match self.ip {
            IpAddr::V4(_) => (field::IP4_SRC, field::IP4_DST),
            IpAddr::V6(_) => (field::IP6_SRC, field::IP6_DST),
        };
        let answer = Expr::all([
            field::INPORT.eq(self.port),
            field::ETH_DST.eq(mac),
            src.eq(self.ip),
            dst.eq(self.source),
            self.probe.is_answer(self.ip.is_ipv6()),
        ]);
        // The router has connections of its own to that service, so whatever it is, it goes there too.
        let copy = [Action::nested(NestedKind::Clone, [handle()]), Action::NEXT];
        let hint = Some(self.lsp);
        let stage = Stage::LsInExternalPort;
        cx.flow(
            self.switch,
            stage,
            priority::MONITOR_ANSWER,
            answer,
            copy,
            hint,
        );
        let needs = needs(cx, self.switch);
        if !needs.acls && !needs.stateful() {
            return;
        }
        let probe = Expr::all([
            field::OUTPORT.eq(self.port),
            field::ETH_SRC.eq(mac),
            field::IP_TTL.eq(TTL),
            src.eq(self.source),
            dst.eq(self.ip),
            self.probe.is_sent(self.ip.is_ipv6()),
        ]);
        let remember = needs
            .stateful()
            .then(|| Action::set(p::CT_COMMIT.field(), 1));
        let pass: Vec<Action> = remember.into_iter().chain([Action::NEXT]).collect();
        let stage = Stage::LsOutAcl;
        cx.flow(self.switch, stage, priority::ACL_OWN, probe, pass, hint);
    }

    /// What chassis found, if they have.
    pub fn status(&self, cx: &Cx<'_>) -> Option<Str> {
        status(cx, self.port, &self.ip.to_string(), self.probe)
    }
}

/// `handle_svc_check(inport);`
pub(in crate::features) fn handle() -> Action {
    Action::call(CallName::HandleSvcCheck, [field::INPORT])
}

/// What chassis found out about a check, if they have.
pub fn status(cx: &Cx<'_>, port: &str, ip: &str, probe: Probe) -> Option<Str> {
    let (protocol, number) = probe.columns();
    let name = monitor_name(port, ip, i64::from(number), protocol);
    let row = cx.by_name(ByName::ServiceMonitor, &name).first()?;
    let status = cx.service_monitor(*row)?.status().clone();
    status.filter(|status| !status.is_empty())
}
