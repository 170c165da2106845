//! The columns of `Load_Balancer`, parsed once and published.
//!
//! Guarantees: a virtual address that cannot be used costs that address, a backend that cannot be used that backend; both
//! are reported with the text. A virtual address without backends stands: its packets are refused, not routed elsewhere.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use weft_lang::action::{Endpoint, Proto};
use weft_lang::{Const, Expr, Field, field, pred};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use crate::program::{Cx, Feature, Key, Per};

/// An address, or the name of one that every chassis has its own of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// As it is.
    Ip(IpAddr),
    /// `^name`; the family is that of the load balancer.
    Template {
        /// Without `^`.
        name: Str,
        /// IPv6.
        v6: bool,
    },
}

impl Address {
    /// Its family.
    pub fn is_v6(&self) -> bool {
        match self {
            Address::Ip(ip) => ip.is_ipv6(),
            Address::Template { v6, .. } => *v6,
        }
    }
}

impl From<&Address> for Const {
    fn from(address: &Address) -> Const {
        match address {
            Address::Ip(ip) => (*ip).into(),
            Address::Template { name, .. } => Const::Template(name.clone()),
        }
    }
}

/// The address of an element of `vips`, unless it is a template's.
pub fn address_of(vip: &str) -> Option<IpAddr> {
    let vip = vip.trim();
    if let Ok(socket) = vip.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    let bare = vip
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(vip).parse().ok()
}

/// A port, or the name of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Port {
    /// As it is.
    Number(u16),
    /// `^name`
    Template(Str),
}

impl From<&Port> for Const {
    fn from(port: &Port) -> Const {
        match port {
            Port::Number(port) => (*port).into(),
            Port::Template(name) => Const::Template(name.clone()),
        }
    }
}

/// Where the connections go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Address and port.
    pub endpoint: Endpoint,
    /// The switch port it is behind, if the load balancer is distributed.
    pub behind: Option<Str>,
    /// Of its health check, if it is to have one.
    pub check: Option<Check>,
}

/// How a backend is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The port it is behind.
    pub logical_port: Str,
    /// Where the check seems to come from.
    pub source: IpAddr,
    /// `interval`, `timeout` and the like.
    pub options: Map<Str, Str>,
}

/// A virtual address with what is behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vip {
    /// As the column has it, for events.
    pub text: Str,
    /// The address.
    pub address: Address,
    /// Only this port.
    pub port: Option<Port>,
    /// Of this protocol, if there is a port.
    pub proto: Option<Proto>,
    /// Backends with addresses.
    pub backends: Vec<Backend>,
    /// Backends by name, as written.
    pub templates: Vec<Str>,
}

impl Vip {
    /// Packets of the family.
    pub fn family(&self) -> Expr {
        if self.address.is_v6() {
            pred::IP6
        } else {
            pred::IP4
        }
    }

    /// Destination field of the family.
    pub fn ip_dst(&self) -> Field {
        if self.address.is_v6() {
            field::IP6_DST
        } else {
            field::IP4_DST
        }
    }

    /// Source field of the family.
    pub fn ip_src(&self) -> Field {
        if self.address.is_v6() {
            field::IP6_SRC
        } else {
            field::IP4_SRC
        }
    }

    /// `ip4.dst == address`
    pub fn is_destination(&self) -> Expr {
        self.ip_dst().eq(&self.address)
    }

    /// `tcp.dst == port`, if there is a port.
    pub fn is_destination_port(&self) -> Expr {
        match (&self.port, self.proto) {
            (Some(port), Some(proto)) => port_fields(proto).1.eq(port),
            _ => Expr::TRUE,
        }
    }

    /// The protocol, if there is a port.
    pub fn is_protocol(&self) -> Expr {
        match (&self.port, self.proto) {
            (Some(_), Some(Proto::Tcp)) => pred::TCP,
            (Some(_), Some(Proto::Udp)) => pred::UDP,
            (Some(_), Some(Proto::Sctp)) => pred::SCTP,
            _ => Expr::TRUE,
        }
    }

    /// Nobody is configured to take its connections.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty() && self.templates.is_empty()
    }
}

/// Source and destination port of a protocol.
pub fn port_fields(proto: Proto) -> (Field, Field) {
    match proto {
        Proto::Tcp => (field::TCP_SRC, field::TCP_DST),
        Proto::Udp => (field::UDP_SRC, field::UDP_DST),
        Proto::Sctp => (field::SCTP_SRC, field::SCTP_DST),
    }
}

/// Whose questions for the virtual addresses routers answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Responder {
    /// For all addresses.
    All,
    /// For those in a network of the router.
    Reachable,
    /// None.
    Nobody,
}

/// A load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balancer {
    /// The row.
    pub uuid: Uuid,
    /// Not unique.
    pub name: Str,
    /// What can be used of `vips`.
    pub vips: Vec<Vip>,
    /// `selection_fields`
    selection: Vec<Str>,
    proto: Proto,
    /// `options:affinity_timeout`, seconds.
    pub affinity: Option<u16>,
    /// `options:reject`
    pub reject: bool,
    /// `options:event`, which `reject` makes void.
    pub event: bool,
    /// `options:skip_snat`
    pub skip_snat: bool,
    /// `options:neighbor_responder`
    pub responder: Responder,
    /// `options:add_route`
    pub add_route: bool,
    /// `options:use_stateless_nat`
    pub stateless: bool,
    /// `options:distributed`
    pub distributed: bool,
}

impl Balancer {
    /// The switch ports that its backends are behind, as far as that is known.
    pub fn behind(&self) -> BTreeSet<Str> {
        let backends = self.vips.iter().flat_map(|vip| &vip.backends);
        backends.filter_map(|b| b.behind.clone()).collect()
    }

    /// The fields that choose the backend, as Open vSwitch names them.
    pub fn hash_fields(&self, v6: bool) -> Option<weft_lang::Str> {
        let name = |field: &Str| match (&**field, v6) {
            ("tp_src", _) => format!("{}_src", self.proto.name()),
            ("tp_dst", _) => format!("{}_dst", self.proto.name()),
            // What Open vSwitch calls ip_src is IPv4's.
            ("ip_src", true) => "ipv6_src".to_owned(),
            ("ip_dst", true) => "ipv6_dst".to_owned(),
            (other, _) => other.to_owned(),
        };
        let names: Vec<String> = self.selection.iter().map(name).collect();
        (!names.is_empty()).then(|| names.join(",").into())
    }
}

/// Publishes a [`Balancer`] per row.
pub struct Parsed;

impl Feature for Parsed {
    const NAME: &'static str = "lb_parsed";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(balancer) = read(cx, key.row()) {
            cx.publish(balancer);
        }
    }
}

/// A load balancer that exists. The reader lists [`Parsed`] among its `READS`.
pub fn balancer(cx: &Cx<'_>, uuid: Uuid) -> Option<Arc<Balancer>> {
    cx.value(Parsed::ID, Key::Row(uuid))
}

fn read(cx: &Cx<'_>, uuid: Uuid) -> Option<Balancer> {
    let row = cx.load_balancer(uuid)?;
    let name = row.name().clone();
    let complain = |column, message: String| {
        cx.diagnose::<nb::LoadBalancer>(&name, uuid, column, message);
    };
    let options = row.options();
    let is = |option: &str| options.get(option).is_some_and(|v| &**v == "true");
    let template = is("template");
    let distributed = is("distributed") && !template;
    if is("distributed") && template {
        let why = "not possible with backends that every chassis has its own of: left out";
        complain("options:distributed", why.into());
    }
    let v6 = options
        .get("address-family")
        .is_some_and(|f| &**f == "ipv6");
    let proto = row
        .protocol()
        .as_deref()
        .and_then(|text| protocol(text, &complain));
    let affinity = options
        .get("affinity_timeout")
        .and_then(|text| affinity(text, template, &complain));
    let responder = options.get("neighbor_responder").map(|v| &**v);
    let responder = responder_of(responder, template, &complain);
    let reader = Reader {
        cx,
        row: &row,
        complain: &complain,
        v6: template.then_some(v6),
        distributed,
        proto: proto.unwrap_or(Proto::Tcp),
    };
    let vips: Vec<Vip> = row
        .vips()
        .iter()
        .filter_map(|(vip, ips)| reader.vip(vip, ips))
        .collect();
    if proto.is_none() && vips.iter().any(|vip| vip.port.is_some()) {
        complain(
            "protocol",
            "missing although there is a port: tcp is taken".into(),
        );
    }
    Some(Balancer {
        uuid,
        vips,
        selection: row.selection_fields().iter().cloned().collect(),
        proto: proto.unwrap_or(Proto::Tcp),
        affinity,
        reject: is("reject"),
        event: is("event") && !is("reject"),
        skip_snat: is("skip_snat"),
        responder,
        add_route: is("add_route"),
        stateless: is("use_stateless_nat"),
        distributed,
        name,
    })
}

/// Takes the column and what is wrong with it.
type Complain<'a> = &'a dyn Fn(&'static str, String);

fn protocol(text: &str, complain: Complain<'_>) -> Option<Proto> {
    match text {
        "tcp" => Some(Proto::Tcp),
        "udp" => Some(Proto::Udp),
        "sctp" => Some(Proto::Sctp),
        other => {
            let why = format!("\"{other}\" is none of tcp, udp, sctp: tcp is taken");
            complain("protocol", why);
            None
        }
    }
}

/// Seconds for which a client stays with its backend.
fn affinity(text: &str, template: bool, complain: Complain<'_>) -> Option<u16> {
    let why = match text.parse::<u32>() {
        Ok(0) => return None,
        Ok(seconds) if !template => return Some(u16::try_from(seconds).unwrap_or(u16::MAX)),
        Ok(_) => "clients are not bound to backends that every chassis has its own of: no affinity"
            .into(),
        Err(_) => format!("\"{text}\" is no number of seconds up to 65535: no affinity"),
    };
    complain("options:affinity_timeout", why);
    None
}

fn responder_of(text: Option<&str>, template: bool, complain: Complain<'_>) -> Responder {
    let (default, called) = match template {
        true => (Responder::Nobody, "none"),
        false => (Responder::Reachable, "reachable"),
    };
    match text {
        Some("all") => Responder::All,
        Some("none") => Responder::Nobody,
        None => default,
        Some("reachable") if !template => default,
        Some(other) => {
            let why = format!("\"{other}\" is not possible here: {called} is taken");
            complain("options:neighbor_responder", why);
            default
        }
    }
}

type RowRef<'a, 'b> = nb::LoadBalancerRef<'a, crate::view::NbReads<'b>>;

struct Reader<'a, 'b> {
    cx: &'a Cx<'b>,
    row: &'a RowRef<'a, 'b>,
    complain: Complain<'a>,
    /// A template, of this family.
    v6: Option<bool>,
    distributed: bool,
    proto: Proto,
}

impl Reader<'_, '_> {
    fn vip(&self, text: &Str, ips: &str) -> Option<Vip> {
        let Some((address, port)) = self.vip_address(text) else {
            (self.complain)(
                "vips",
                format!(
                    "\"{text}\" is no address, nor an address and a port with : between: left out"
                ),
            );
            return None;
        };
        let mut vip = Vip {
            text: text.clone(),
            proto: port.is_some().then_some(self.proto),
            address,
            port,
            backends: Vec::new(),
            templates: Vec::new(),
        };
        let check = self.check_of(&vip);
        for part in ips
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            if self.v6.is_some() && part.starts_with('^') {
                if part
                    .split(':')
                    .all(|p| is_name(p) || p.parse::<u16>().is_ok())
                {
                    vip.templates.push(part.into());
                } else {
                    (self.complain)(
                        "vips",
                        format!("\"{part}\", behind {text}, is no template of a backend: left out"),
                    );
                }
                continue;
            }
            match backend(&vip, part) {
                Ok(endpoint) => vip.backends.extend(self.placed(endpoint, check.as_ref())),
                Err(why) => (self.complain)(
                    "vips",
                    format!("\"{part}\", behind {text}, {why}: left out"),
                ),
            }
        }
        let is = |option: &str| {
            self.row
                .options()
                .get(option)
                .is_some_and(|v| &**v == "true")
        };
        if vip.is_empty() && !is("reject") && !is("event") {
            (self.complain)(
                "vips",
                format!("nobody is behind {text}: its packets are dropped"),
            );
        }
        Some(vip)
    }

    fn vip_address(&self, text: &str) -> Option<(Address, Option<Port>)> {
        if let (Some(v6), Some(rest)) = (self.v6, text.strip_prefix('^')) {
            let (name, port) = match rest.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (rest, None),
            };
            let port = match port {
                None => None,
                Some(port) => Some(match port.strip_prefix('^') {
                    Some(port) if is_plain(port) => Port::Template(port.into()),
                    Some(_) => return None,
                    None => Port::Number(port.parse().ok().filter(|n| *n != 0)?),
                }),
            };
            return is_plain(name).then(|| {
                (
                    Address::Template {
                        name: name.into(),
                        v6,
                    },
                    port,
                )
            });
        }
        let endpoint = endpoint(text)?;
        Some((Address::Ip(endpoint.ip), endpoint.port.map(Port::Number)))
    }

    /// The options of the health check of a virtual address, if it has one.
    fn check_of(&self, vip: &Vip) -> Option<Map<Str, Str>> {
        self.row.health_check().iter().find_map(|uuid| {
            let check = self.cx.health_check(*uuid)?;
            // What is written in two ways is the same.
            (**check.vip() == *vip.text
                || self.vip_address(check.vip()) == Some((vip.address.clone(), vip.port.clone())))
            .then(|| check.options().clone())
        })
    }

    /// A backend with its place and its check, unless its place must be known and is not.
    fn placed(&self, endpoint: Endpoint, check: Option<&Map<Str, Str>>) -> Option<Backend> {
        let check = check.and_then(|options| self.checked(&endpoint, options));
        let mut behind = None;
        if self.distributed {
            let text = self.mapping(endpoint.ip);
            let port = text.map(|text| text.split_once(':').map_or(text, |(port, _)| port));
            let Some(port) = port.filter(|port| !port.is_empty()) else {
                let ip = endpoint.ip;
                let why = format!(
                    "{ip} is not mapped to a port, as distributed asks: left out of the backends"
                );
                (self.complain)("ip_port_mappings", why);
                return None;
            };
            behind = Some(port.into());
        }
        Some(Backend {
            endpoint,
            behind,
            check,
        })
    }

    /// What `ip_port_mappings` says of an address.
    fn mapping(&self, ip: IpAddr) -> Option<&str> {
        let mappings = self.row.ip_port_mappings();
        let text = mappings
            .get(&*ip.to_string())
            .or_else(|| mappings.get(&*format!("[{ip}]")));
        text.map(|text| &**text)
    }

    /// How a backend is checked, if `ip_port_mappings` says where it is.
    fn checked(&self, endpoint: &Endpoint, options: &Map<Str, Str>) -> Option<Check> {
        let ip = endpoint.ip;
        let text = self.mapping(ip);
        let bad = |message: String| {
            (self.complain)("ip_port_mappings", message);
            None
        };
        let Some(text) = text else {
            return bad(format!(
                "{ip} is not mapped to a port: it is not checked, and taken for online"
            ));
        };
        if !matches!(self.proto, Proto::Tcp | Proto::Udp) || endpoint.port.is_none() {
            return bad(format!(
                "{ip} cannot be checked without a tcp or udp port: it is taken for online"
            ));
        }
        let parts = text.split_once(':').and_then(|(port, source)| {
            let source = source.trim_start_matches('[').trim_end_matches(']');
            Some((port, source.parse::<IpAddr>().ok()?))
        });
        match parts {
            Some((port, source)) if !port.is_empty() && source.is_ipv4() == ip.is_ipv4() => {
                Some(Check {
                    logical_port: port.into(),
                    source,
                    options: options.clone(),
                })
            }
            _ => bad(format!(
                "\"{text}\", for {ip}, is no port and source address with : between: it is not checked, and taken for online"
            )),
        }
    }
}

/// Name of a template variable, with `^`.
fn is_name(text: &str) -> bool {
    text.strip_prefix('^').is_some_and(is_plain)
}

fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]`, `[fd00::1]:80`
pub fn endpoint(text: &str) -> Option<Endpoint> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Endpoint { ip, port: None });
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return (socket.port() != 0).then(|| Endpoint {
            ip: socket.ip(),
            port: Some(socket.port()),
        });
    }
    let ip = text
        .strip_prefix('[')?
        .strip_suffix(']')?
        .parse::<std::net::Ipv6Addr>()
        .ok()?;
    Some(Endpoint {
        ip: ip.into(),
        port: None,
    })
}

fn backend(vip: &Vip, text: &str) -> Result<Endpoint, &'static str> {
    let endpoint =
        endpoint(text).ok_or("is no address, nor an address and a port with : between")?;
    if endpoint.ip.is_ipv6() != vip.address.is_v6() {
        return Err("is of another address family");
    }
    match (endpoint.port, &vip.port) {
        (None, Some(_)) => Err("has no port"),
        (Some(_), None) => Err("has a port, the virtual address has none"),
        _ => Ok(endpoint),
    }
}
