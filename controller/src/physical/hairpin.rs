//! Connections that load balancing sends back to their sender: `chk_lb_hairpin`, `chk_lb_hairpin_reply` and
//! `ct_snat_to_vip`, from the rows of Load_Balancer.
//!
//! A backend that is its own client would see a packet from itself; so such packets come from the virtual address (or
//! `options:hairpin_snat_ip`) instead. The first one also teaches, by a `learn` action, what the replies look like.

use std::net::IpAddr;

use weft_engine::{Cx, Kind};
use weft_openflow::{
    Action, ActionList, Ct, Field as Of, Learn, LearnSpec, Match, Nat, NatRange, Zone,
};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use super::vif::set_flag;
use crate::flow::{REG_FLAGS, REG_SNAT_ZONE, emit};
use crate::lb_flush;
use crate::lflow::{DATAPATH_GROUP, LocalMembers};
use crate::local_datapaths::{LOCAL, Local};
use crate::program::{Controller, Diagnostic, Key, Read, SbRead};
use crate::tables::{self, flag};
use crate::template::{TEMPLATE, Variables};

/// Keyed by row of Load_Balancer.
pub const HAIRPIN: Kind<Controller> = Kind::pure(
    "lb-hairpin",
    &["local-datapath", "datapath-group", "template"],
    hairpin,
);

/// `ct_mark.natted`: the connection has been balanced.
const NATTED: u32 = 1 << 1;
/// The packet has been through connection tracking, which knows what it belongs to: only then may a match ask for the
/// original addresses.
const TRACKED: u32 = 1 << 5;
const INVALID: u32 = 1 << 4;

type RowRef<'a, 'x, 'y> = sb::LoadBalancerRef<'a, SbRead<'x, 'y>>;

fn hairpin(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().load_balancer.tracked(key.row(), &rec) else {
        return;
    };
    let places = places(cx, row);
    if places.is_empty() {
        return;
    }
    let switches = switches(&places);
    let flush = row.options().flag("ct_flush", false);
    let proto = match row.protocol().as_deref() {
        Some("udp") => (17u8, Of::UdpSrc, Of::UdpDst),
        Some("sctp") => (132, Of::SctpSrc, Of::SctpDst),
        _ => (6, Of::TcpSrc, Of::TcpDst),
    };
    let template = row
        .options()
        .get("template")
        .is_some_and(|v| &**v == "true");
    let variables = template
        .then(|| cx.value::<Variables>(TEMPLATE.id(), Key::Global))
        .flatten();
    let expand = |text: &Str| match &variables {
        Some(variables) => variables.expand(text).unwrap_or_default(),
        None => text.clone(),
    };
    let snat = row
        .options()
        .get("hairpin_snat_ip")
        .cloned()
        .unwrap_or_default();
    let snat: Vec<IpAddr> = snat
        .split_whitespace()
        .filter_map(|ip| ip.parse().ok())
        .collect();
    for (vip, backends) in row.vips().iter() {
        let (vip, backends) = (expand(vip), expand(backends));
        let Some((ip, port)) = endpoint(&vip) else {
            if !template {
                cx.diagnose(Diagnostic {
                    row: format!("Load_Balancer {}", row.name()),
                    column: "vips",
                    message: format!(
                        "\"{vip}\" is no address: what returns to its sender is not recognised"
                    ),
                    uuid: key.row(),
                });
            }
            continue;
        };
        let writer = Writer {
            cx,
            cookie: key.row(),
            ip,
            port,
            proto,
            snat: snat
                .iter()
                .copied()
                .find(|snat| snat.is_ipv4() == ip.is_ipv4())
                .unwrap_or(ip),
        };
        for backend in backends.split(',').filter_map(endpoint) {
            if flush {
                lb_flush::announce(cx, key.row(), proto.0, (ip, port), backend);
            }
            if !switches.is_empty() {
                writer.recognise(backend);
            }
        }
        writer.translate(&switches);
    }
}

/// The datapaths it applies to, as far as they matter here.
fn places(cx: &Cx<'_, Controller>, row: RowRef<'_, '_, '_>) -> Vec<(Uuid, Local)> {
    let of_group = |group: Option<Uuid>| {
        let members =
            group.and_then(|group| cx.value::<LocalMembers>(DATAPATH_GROUP.id(), Key::Row(group)));
        members.map(|members| members.0.clone()).unwrap_or_default()
    };
    let mut all = of_group(*row.ls_datapath_group());
    all.extend(of_group(*row.lr_datapath_group()));
    all.extend(of_group(*row.datapath_group()));
    let local = |dp: &Uuid| {
        Some((
            *dp,
            (*cx.value::<Local>(LOCAL.id(), Key::Row(*dp))?).clone(),
        ))
    };
    all.extend(row.datapaths().iter().filter_map(local));
    all
}

/// Keys of the switches among them.
fn switches(places: &[(Uuid, Local)]) -> Vec<u32> {
    let mut keys: Vec<u32> = places
        .iter()
        .filter(|(_, local)| !local.is_router)
        .map(|(_, local)| local.key)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

struct Writer<'a, 'b> {
    cx: &'a Cx<'b, Controller>,
    cookie: Uuid,
    ip: IpAddr,
    port: Option<u16>,
    /// Number, source and destination port.
    proto: (u8, Of, Of),
    /// What the packets that return seem to come from.
    snat: IpAddr,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

impl Writer<'_, '_> {
    /// Source and destination fields, and that of the destination before translation.
    fn fields(&self) -> (u32, Of, Of, Of) {
        match self.ip {
            IpAddr::V4(_) => (0x0800, Of::Ipv4Src, Of::Ipv4Dst, Of::CtNwDst),
            IpAddr::V6(_) => (0x86dd, Of::Ipv6Src, Of::Ipv6Dst, Of::CtIpv6Dst),
        }
    }

    /// Packets of balanced connections to the virtual address.
    fn original(&self) -> Match {
        let (eth_type, _, _, original) = self.fields();
        let mut on = Match::any()
            .with(Of::EthType, eth_type)
            .with_masked(Of::CtState, TRACKED, TRACKED | INVALID)
            .with_masked(Of::CtMark, NATTED, NATTED)
            .with(original, number(self.ip));
        if let Some(port) = self.port {
            on.set(Of::CtNwProto, self.proto.0);
            on.set(Of::CtTpDst, port);
        }
        on
    }

    fn recognise(&self, (backend, port): (IpAddr, Option<u16>)) {
        if backend.is_ipv4() != self.ip.is_ipv4() {
            return;
        }
        let (eth_type, src, dst, _) = self.fields();
        let (proto, sport, dport) = self.proto;
        let mut on = self
            .original()
            .with(src, number(backend))
            .with(dst, number(backend));
        let found = REG_FLAGS.bit(flag::LOOKUP_LB_HAIRPIN.trailing_zeros() as u8);
        let mut specs = vec![
            LearnSpec::matching(Of::Metadata, Of::Metadata),
            LearnSpec::matching_value(eth_type, Of::EthType),
            LearnSpec::matching(src, src),
            LearnSpec::matching_value(number(self.snat), dst),
        ];
        if let Some(port) = port {
            on.set(Of::IpProto, proto);
            on.set(dport, port);
            specs.push(LearnSpec::matching_value(proto, Of::IpProto));
            specs.push(LearnSpec::matching(dport, sport));
        }
        specs.push(LearnSpec::loading_value(1u32, found));
        let learn = Learn {
            table: tables::CHK_LB_HAIRPIN_REPLY,
            priority: 100,
            cookie: self.cookie.short().into(),
            delete_learned: true,
            specs,
            ..Learn::default()
        };
        let actions = [
            set_flag(flag::LOOKUP_LB_HAIRPIN),
            Action::Learn(Box::new(learn)),
        ];
        emit(
            self.cx,
            tables::CHK_LB_HAIRPIN,
            100,
            self.cookie.short(),
            on,
            actions,
        );
    }

    fn translate(&self, switches: &[u32]) {
        let range = match self.snat {
            IpAddr::V4(ip) => NatRange::V4(ip, None),
            IpAddr::V6(ip) => NatRange::V6(ip, None),
        };
        let nat = Action::Nat(Box::new(Nat::src(Some(range))));
        let ct = Ct {
            commit: true,
            zone: Zone::Field(REG_SNAT_ZONE.bits(0, 15)),
            exec: [nat].into(),
            ..Ct::default()
        };
        let actions = ActionList::from([Action::Ct(Box::new(ct))]);
        let put = |priority: u16, on: Match| {
            emit(
                self.cx,
                tables::CT_SNAT_HAIRPIN,
                priority,
                self.cookie.short(),
                on,
                actions.clone(),
            );
        };
        // Where the virtual address itself is the new source, it is so on every switch: one flow says it for all.
        if self.snat == self.ip {
            return put(100, self.original());
        }
        // The more particular of two virtual addresses decides.
        let priority = if self.port.is_some() { 200 } else { 150 };
        for key in switches {
            put(priority, self.original().with(Of::Metadata, *key));
        }
    }
}

/// `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`
pub fn endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let text = text.trim();
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some((socket.ip(), Some(socket.port())));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    Some((bare.parse().ok()?, None))
}
