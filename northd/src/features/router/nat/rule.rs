//! A row of `NAT`, checked.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use weft_lang::{Expr, Field, field, parse_match};
use weft_ovsdb::model::{Recorder, Str, Uuid};
use weft_schemas::nb;

use super::super::gateway::gateways;
use super::super::port::{self, RouterPort};
use crate::address::{Mac, Prefixed, parse_prefixed};
use crate::index::{ById, ByName};
use crate::program::Cx;

/// `NAT.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Sources on the way out.
    Snat,
    /// Destinations on the way in.
    Dnat,
    /// Both.
    Both,
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        match text {
            "snat" => Some(Kind::Snat),
            "dnat" => Some(Kind::Dnat),
            "dnat_and_snat" => Some(Kind::Both),
            _ => None,
        }
    }

    /// Translates sources.
    pub fn is_snat(self) -> bool {
        self != Kind::Dnat
    }

    /// Translates destinations.
    pub fn is_dnat(self) -> bool {
        self != Kind::Snat
    }
}

/// Where the translation takes place.
#[derive(Clone, Debug)]
pub enum Place {
    /// On a router bound to one chassis.
    Router,
    /// At a distributed gateway port, on the chassis that is active for it.
    Port(Arc<RouterPort>),
    /// At a distributed gateway port, on the chassis of the inner port, which has an Ethernet address outside.
    Inner(Arc<RouterPort>, Mac, Str),
}

impl Place {
    /// The distributed gateway port.
    pub fn port(&self) -> Option<&Arc<RouterPort>> {
        match self {
            Place::Router => None,
            Place::Port(port) | Place::Inner(port, ..) => Some(port),
        }
    }

    /// Only on the chassis that speaks for the outer address.
    pub fn resident(&self) -> Expr {
        match self {
            Place::Router => Expr::TRUE,
            Place::Port(port) => super::super::gateway::active_here(port),
            Place::Inner(_, _, inner) => Expr::is_chassis_resident(inner.clone()),
        }
    }

    /// Only on the chassis of the gateway port; everywhere if each inner port is its own gateway.
    pub fn central(&self) -> Expr {
        match self {
            Place::Port(_) => self.resident(),
            Place::Router | Place::Inner(..) => Expr::TRUE,
        }
    }
}

/// A translation as flows need it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The row.
    pub uuid: Uuid,
    /// Its router.
    pub router: Uuid,
    /// What it translates.
    pub kind: Kind,
    /// The address outside.
    pub external: IpAddr,
    /// The address or network inside.
    pub logical: IpNet,
    /// Range of source ports.
    pub ports: Option<(u16, u16)>,
    /// Without connection tracking.
    pub stateless: bool,
    /// Where it is done.
    pub place: Place,
    /// Address set of the only peers it is for.
    pub allowed: Option<Str>,
    /// Address set of peers it is not for.
    pub exempted: Option<Str>,
    /// `match`
    pub condition: Expr,
    /// `priority`, 0 for none.
    pub priority: u16,
    /// `options:add_route`: neighbouring routers have a route to the outer address.
    pub routed: bool,
    /// Source and destination in one zone at a gateway port.
    pub common_zone: bool,
}

impl Rule {
    /// Source address field of its family.
    pub fn src(&self) -> Field {
        match self.external {
            IpAddr::V4(_) => field::IP4_SRC,
            IpAddr::V6(_) => field::IP6_SRC,
        }
    }

    /// Destination address field of its family.
    pub fn dst(&self) -> Field {
        match self.external {
            IpAddr::V4(_) => field::IP4_DST,
            IpAddr::V6(_) => field::IP6_DST,
        }
    }

    /// Packets to the outer address.
    pub fn to_external(&self) -> Expr {
        self.dst().eq(self.external)
    }

    /// Packets from inside.
    pub fn from_logical(&self) -> Expr {
        if self.logical.prefix_len() == self.logical.max_prefix_len() {
            self.src().eq(self.logical.addr())
        } else {
            self.src().within(self.logical)
        }
    }
}

type Fault = (&'static str, String);

/// The rule of a row, if it is of use; what is wrong with it is told.
pub fn rule(cx: &Cx<'_>, uuid: Uuid) -> Option<Rule> {
    let row = cx.nat(uuid)?;
    let router = cx.by_id(ById::RouterOfNat, uuid).first().copied()?;
    port::router(cx, router)?;
    match parse(cx, &row, router) {
        Ok(rule) => Some(rule),
        Err((column, message)) => {
            let name = format!("{} {}", row.type_(), row.external_ip());
            cx.diagnose::<nb::Nat>(&name, uuid, column, format!("{message}: not used"));
            None
        }
    }
}

fn parse<C: Recorder>(cx: &Cx<'_>, row: &nb::NatRef<'_, C>, router: Uuid) -> Result<Rule, Fault> {
    let uuid = row.uuid();
    let (kind, external, logical) = addresses(row)?;
    let set = |reference: Option<Uuid>| Some(cx.address_set(reference?)?.name().clone());
    let (allowed, exempted) = (set(*row.allowed_ext_ips()), set(*row.exempted_ext_ips()));
    if allowed.is_some() && exempted.is_some() {
        let message = "cannot be used along with allowed_ext_ips".to_owned();
        return Err(("exempted_ext_ips", message));
    }
    let condition = match &**row.match_() {
        "" => Expr::TRUE,
        text => parse_match(text).map_err(|error| ("match", format!("\"{text}\": {error}")))?,
    };
    twin(cx, row, router, kind)?;
    let is = |option: &str| row.options().get(option).is_some_and(|v| &**v == "true");
    Ok(Rule {
        uuid,
        router,
        kind,
        external,
        logical,
        ports: port_range(row.external_port_range())?,
        stateless: kind == Kind::Both && is("stateless"),
        place: place(cx, row, router, external)?,
        allowed,
        exempted,
        condition,
        priority: u16::try_from(*row.priority()).unwrap_or(0),
        routed: kind == Kind::Both && is("add_route"),
        common_zone: cx
            .global_option("use_common_zone")
            .is_none_or(|v| &*v != "false"),
    })
}

/// What it translates, without which there is no rule.
fn addresses<C: Recorder>(row: &nb::NatRef<'_, C>) -> Result<(Kind, IpAddr, IpNet), Fault> {
    let kind = Kind::parse(row.type_())
        .ok_or_else(|| ("type", format!("\"{}\" is no type", row.type_())))?;
    let external: IpAddr = row.external_ip().parse().map_err(|_| {
        let message = format!("\"{}\" is no IP address", row.external_ip());
        ("external_ip", message)
    })?;
    let logical = match parse_prefixed(row.logical_ip()) {
        Some(Prefixed::V4(net)) => IpNet::V4(net.trunc()),
        Some(Prefixed::V6(net)) => IpNet::V6(net.trunc()),
        None => {
            let message = format!("\"{}\" is no IP address or network", row.logical_ip());
            return Err(("logical_ip", message));
        }
    };
    if kind.is_dnat() && logical.prefix_len() != logical.max_prefix_len() {
        let message = format!(
            "\"{logical}\" is no single address, as {} needs",
            row.type_()
        );
        return Err(("logical_ip", message));
    }
    if external.is_ipv4() != logical.addr().is_ipv4() {
        let message = format!(
            "\"{}\" is not of the family of {external}",
            row.logical_ip()
        );
        return Err(("logical_ip", message));
    }
    Ok((kind, external, logical))
}

fn port_range(text: &str) -> Result<Option<(u16, u16)>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) if first > 0 && first <= last => Ok(Some((first, last))),
        _ => Err((
            "external_port_range",
            format!("\"{text}\" is no range of ports (like 1000-2000)"),
        )),
    }
}

fn place<C: Recorder>(
    cx: &Cx<'_>,
    row: &nb::NatRef<'_, C>,
    router: Uuid,
    external: IpAddr,
) -> Result<Place, Fault> {
    if port::router(cx, router).is_some_and(|router| router.is_gateway) {
        return Ok(Place::Router);
    }
    let all = gateways(cx, router);
    let holds = |port: &RouterPort| match external {
        IpAddr::V4(ip) => port.source_v4(ip).is_some(),
        IpAddr::V6(ip) => port.source_v6(ip).is_some(),
    };
    let port = match (*row.gateway_port(), &all[..]) {
        (_, []) => {
            let message =
                "the router has neither options:chassis nor a port with gateway chassis".to_owned();
            return Err(("external_ip", message));
        }
        (Some(wanted), _) => all.iter().find(|port| port.uuid == wanted).ok_or_else(|| {
            (
                "gateway_port",
                "is no gateway port of the router".to_owned(),
            )
        })?,
        (None, [only]) => only,
        (None, _) => all.iter().find(|port| holds(port)).ok_or_else(|| {
            let message = format!(
                "{external} is in no network of one of the {} gateway ports",
                all.len()
            );
            ("gateway_port", message)
        })?,
    };
    let inner = row.logical_port().clone().filter(|port| !port.is_empty());
    let mac = row.external_mac().clone().filter(|mac| !mac.is_empty());
    match (mac, inner) {
        (Some(mac), Some(inner)) if &**row.type_() == "dnat_and_snat" => {
            let mac = mac
                .parse::<Mac>()
                .map_err(|_| ("external_mac", format!("\"{mac}\" is no Ethernet address")))?;
            Ok(Place::Inner(port.clone(), mac, inner))
        }
        _ => Ok(Place::Port(port.clone())),
    }
}

/// Two rules that would translate the same packets differently: the one with the lower UUID is used.
fn twin<C: Recorder>(
    cx: &Cx<'_>,
    row: &nb::NatRef<'_, C>,
    router: Uuid,
    kind: Kind,
) -> Result<(), Fault> {
    let same = |other: &Uuid, sources: bool| {
        *other < row.uuid()
            && cx.by_id(ById::RouterOfNat, *other).first() == Some(&router)
            && cx.nat(*other).is_some_and(|other| {
                let theirs = addresses(&other).ok().map(|(kind, ..)| kind);
                let clash = if sources {
                    theirs == Some(Kind::Snat)
                } else {
                    theirs.is_some_and(Kind::is_dnat)
                };
                clash
                    && other.gateway_port() == row.gateway_port()
                    && other.match_() == row.match_()
                    && other.priority() == row.priority()
                    && other.allowed_ext_ips() == row.allowed_ext_ips()
                    && other.exempted_ext_ips() == row.exempted_ext_ips()
            })
    };
    if kind.is_dnat() {
        let outside: Option<IpAddr> = row.external_ip().parse().ok();
        let outside = outside.map(|ip| ip.to_string()).unwrap_or_default();
        let others = cx.by_name(ByName::NatOutside, &outside);
        if let Some(other) = others.iter().find(|other| same(other, false)) {
            return Err((
                "external_ip",
                format!("{outside} is translated by NAT {other} already"),
            ));
        }
    } else {
        let others = cx.by_name(ByName::NatInside, row.logical_ip());
        if let Some(other) = others.iter().find(|other| same(other, true)) {
            let message = format!("{} is translated by NAT {other} already", row.logical_ip());
            return Err(("logical_ip", message));
        }
    }
    Ok(())
}
