//! Router advertisements (RFC 4861): what a router port says of itself to the hosts of its switch, when one asks and, with
//! `send_periodic`, by itself.
//!
//! Guarantees: a port with a valid `ipv6_ra_configs:address_mode` whose peer is a switch answers solicitations with its
//! prefixes; a key that cannot be used costs that key and is reported. What chassis need to advertise unasked is in the
//! options of the port's binding. Link-local networks are no prefixes; without one there is nothing to answer.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use weft_lang::action::{OptionsKind, PacketOption};
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use super::loopback;
use super::port::{self, RouterPort};
use crate::pipeline::{ND_RA_READY, Stage};
use crate::program::{Cx, Feature, Key, Per};

/// All routers of a link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The least MTU of IPv6 (RFC 8200, section 5).
const MTU_MIN: u32 = 1280;
const MODES: [&str; 3] = ["slaac", "dhcpv6_stateful", "dhcpv6_stateless"];
/// RFC 4191, section 2.1.
const PREFERENCES: [&str; 3] = ["HIGH", "MEDIUM", "LOW"];

/// What a port says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advert {
    mode: &'static str,
    mtu: Option<u32>,
    preference: Option<&'static str>,
    rdnss: Option<Ipv6Addr>,
    /// Domains, separated by commas.
    dnssl: Option<Str>,
    /// `PREFERENCE-PREFIX/LENGTH`, separated by commas.
    routes: Option<Str>,
    prefixes: Vec<Ipv6Net>,
    /// Least and greatest number of seconds between advertisements that nobody has asked for.
    periodic: Option<(u32, u32)>,
    link_local: Ipv6Addr,
}

/// Publishes an [`Advert`] per router port that has one.
pub struct Adverts;

impl Feature for Adverts {
    const NAME: &'static str = "router_advert";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.lrp(key.row()) else { return };
        let configs = row.ipv6_ra_configs();
        if configs.is_empty() {
            return;
        }
        let Some(port) = port::port(cx, key.row()).filter(|port| port.enabled) else {
            return;
        };
        if port.peer.is_some() || cx.switch_ports_towards(&port.name).is_empty() {
            return;
        }
        let say = |message: String| {
            cx.diagnose::<nb::LogicalRouterPort>(&port.name, key.row(), "ipv6_ra_configs", message);
        };
        if let Some(advert) = Advert::new(&port, configs, &say) {
            cx.publish(advert);
        }
    }
}

impl Advert {
    fn new(port: &RouterPort, configs: &Map<Str, Str>, say: &dyn Fn(String)) -> Option<Advert> {
        let mode = configs.get("address_mode")?;
        let Some(mode) = MODES.into_iter().find(|known| *known == &**mode) else {
            say(format!(
                "address_mode \"{mode}\" is none of {}: nothing is advertised",
                MODES.join(", ")
            ));
            return None;
        };
        let local = |net: &&Ipv6Net| net.addr().is_unicast_link_local();
        let prefixes = port.v6.iter().filter(|net| !local(net));
        Some(Advert {
            mode,
            mtu: mtu(configs, say),
            preference: configs
                .nonempty("router_preference")
                .and_then(|text| preference("router_preference", text, say)),
            rdnss: configs.nonempty("rdnss").and_then(|text| rdnss(text, say)),
            dnssl: configs
                .get("dnssl")
                .and_then(|text| listed("dnssl", text, domain, say)),
            routes: configs
                .get("route_info")
                .and_then(|text| listed("route_info", text, route, say)),
            prefixes: prefixes.map(Ipv6Net::trunc).collect(),
            periodic: configs
                .flag("send_periodic", false)
                .then(|| intervals(configs, say)),
            link_local: port
                .v6
                .iter()
                .find(local)
                .map_or(port.link_local, Ipv6Net::addr),
        })
    }

    /// As options of the action.
    fn options(&self, port: &RouterPort) -> Vec<PacketOption> {
        let mut all = vec![
            PacketOption::new("addr_mode", self.mode),
            PacketOption::new("slla", port.mac),
        ];
        all.extend(self.mtu.map(|mtu| PacketOption::new("mtu", mtu)));
        let preference = self.preference;
        all.extend(preference.map(|text| PacketOption::new("router_preference", text)));
        all.extend(self.rdnss.map(|ip| PacketOption::new("rdnss", ip)));
        all.extend(self.dnssl.as_ref().map(|t| PacketOption::new("dnssl", t)));
        let routes = self.routes.as_ref();
        all.extend(routes.map(|text| PacketOption::new("route_info", text)));
        let prefixes = self.prefixes.iter();
        all.extend(prefixes.map(|net| PacketOption::new("prefix", *net)));
        all
    }

    /// As options of the port's binding, if chassis are to advertise it by themselves.
    fn binding(&self, port: &RouterPort) -> Vec<(Str, Str)> {
        let Some((least, most)) = self.periodic else {
            return Vec::new();
        };
        let prefixes: Vec<String> = self.prefixes.iter().map(ToString::to_string).collect();
        let mut all: Vec<(&str, Str)> = vec![
            ("send_periodic", "true".into()),
            ("address_mode", self.mode.into()),
            ("min_interval", least.to_string().into()),
            ("max_interval", most.to_string().into()),
            ("prf", self.preference.unwrap_or("MEDIUM").into()),
            ("src_eth", port.mac.to_string().into()),
            ("src_addr", self.link_local.to_string().into()),
            ("prefixes", prefixes.join(" ").into()),
        ];
        all.extend(self.mtu.map(|mtu| ("mtu", mtu.to_string().into())));
        all.extend(self.rdnss.map(|ip| ("rdnss", ip.to_string().into())));
        all.extend(self.dnssl.clone().map(|text| ("dnssl", text)));
        all.extend(self.routes.clone().map(|text| ("route_info", text)));
        let named = all.into_iter();
        named
            .map(|(key, value)| (format!("ipv6_ra_{key}").into(), value))
            .collect()
    }
}

/// What the binding of a router port says to chassis about advertisements. The reader lists [`Adverts`] and
/// [`port::Ports`] among its `READS`.
pub fn binding_options(cx: &Cx<'_>, lrp: Uuid) -> Vec<(Str, Str)> {
    let advert = cx.value::<Advert>(Adverts::ID, Key::Row(lrp));
    let port = advert.as_ref().and_then(|_| port::port(cx, lrp));
    match (advert, port) {
        (Some(advert), Some(port)) => advert.binding(&port),
        _ => Vec::new(),
    }
}

fn mtu(configs: &Map<Str, Str>, say: &dyn Fn(String)) -> Option<u32> {
    let text = configs.nonempty("mtu")?;
    match text.parse::<u32>() {
        Ok(mtu) => Some(mtu).filter(|mtu| *mtu >= MTU_MIN),
        Err(_) => {
            say(format!("mtu \"{text}\" is no number: left out"));
            None
        }
    }
}

fn preference(key: &str, text: &str, say: &dyn Fn(String)) -> Option<&'static str> {
    let known = PREFERENCES
        .into_iter()
        .find(|known| text.eq_ignore_ascii_case(known));
    if known.is_none() {
        say(format!(
            "{key}: \"{text}\" is none of {}: left out",
            PREFERENCES.join(", ")
        ));
    }
    known
}

/// One server: more do not go into an advertisement of any controller.
fn rdnss(text: &str, say: &dyn Fn(String)) -> Option<Ipv6Addr> {
    let ip = text.trim().parse().ok();
    if ip.is_none() {
        say(format!(
            "rdnss \"{text}\" is not one IPv6 address: left out"
        ));
    }
    ip
}

/// The sound elements of a list, separated by commas.
fn listed(
    key: &str,
    text: &str,
    element: fn(&str) -> Option<String>,
    say: &dyn Fn(String),
) -> Option<Str> {
    let elements = text.split(',').map(str::trim).filter(|e| !e.is_empty());
    let sound: Vec<String> = elements
        .filter_map(|text| {
            let found = element(text);
            if found.is_none() {
                say(format!("{key}: \"{text}\" is malformed: left out"));
            }
            found
        })
        .collect();
    (!sound.is_empty()).then(|| sound.join(",").into())
}

/// A domain (RFC 1035, section 2.3.4).
fn domain(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label =
        |label: &str| (1..=63).contains(&label.len()) && !label.contains(char::is_whitespace);
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_owned())
}

/// `PREFERENCE-PREFIX/LENGTH`.
fn route(text: &str) -> Option<String> {
    let (preference, prefix) = text.split_once('-')?;
    let preference = PREFERENCES
        .into_iter()
        .find(|known| preference.eq_ignore_ascii_case(known))?;
    prefix.parse::<Ipv6Net>().ok()?;
    Some(format!("{preference}-{prefix}"))
}

/// Least and greatest number of seconds between advertisements, within the bounds of RFC 4861, section 6.2.1.
fn intervals(configs: &Map<Str, Str>, say: &dyn Fn(String)) -> (u32, u32) {
    let seconds = |key: &str| {
        let text = configs.nonempty(key)?;
        let number = text.parse::<i64>().ok();
        if number.is_none() {
            say(format!("{key} \"{text}\" is no number: left out"));
        }
        Some(number?.clamp(0, 1800) as u32)
    };
    let most = seconds("max_interval").unwrap_or(600).clamp(4, 1800);
    let by_default = if most >= 9 { most / 3 } else { most * 3 / 4 };
    let least = seconds("min_interval").unwrap_or(by_default);
    (least.clamp(3, most * 3 / 4), most)
}

/// Writes the flows that answer solicitations.
pub struct Answers;

impl Feature for Answers {
    const NAME: &'static str = "router_advert_answer";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[Adverts::NAME, port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(advert) = cx.value::<Advert>(Adverts::ID, key) else {
            return;
        };
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        if advert.prefixes.is_empty() {
            return;
        }
        let hint = Some(port.uuid);
        let here = |more: Expr| {
            Expr::all([
                field::INPORT.eq(&port.name),
                field::IP6_DST.eq(ALL_ROUTERS),
                more,
            ])
        };
        let options = advert.options(&port);
        let put = vec![
            Action::PutOptions(OptionsKind::NdRa, ND_RA_READY.field(), options),
            Action::NEXT,
        ];
        let stage = Stage::LrInNdRaOptions;
        cx.flow(port.router, stage, 50, here(pred::ND_RS), put, hint);
        let ready = Expr::all([pred::ND_RA, ND_RA_READY.field().is_set()]);
        let back = vec![
            Action::Move(field::ETH_DST, field::ETH_SRC),
            Action::set(field::ETH_SRC, port.mac),
            Action::Move(field::IP6_DST, field::IP6_SRC),
            Action::set(field::IP6_SRC, port.link_local),
            Action::Move(field::OUTPORT, field::INPORT),
            loopback(),
            Action::Output,
        ];
        let stage = Stage::LrInNdRaResponse;
        cx.flow(port.router, stage, 50, here(ready), back, hint);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::{Output, Port};
    use crate::testing::{Bed, map};

    fn bed() -> Bed {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let networks = ["10.0.0.1/24", "fd00::1/64", "fd01::1/80", "fe80::77/64"];
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &networks);
        bed
    }

    fn configs(bed: &mut Bed, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let configs: Map<Str, Str> = configs.collect();
        bed.edit_router_port("r-sw", |row| row.ipv6_ra_configs = configs);
    }

    fn binding(bed: &mut Bed) -> Arc<Port> {
        bed.flows("");
        let found = bed.outputs().find_map(|output| match output {
            Output::Port(port) if &*port.logical_port == "r-sw" => Some(port.clone()),
            _ => None,
        });
        found.unwrap()
    }

    const ALL: &[(&str, &str)] = &[
        ("address_mode", "slaac"),
        ("mtu", "1400"),
        ("router_preference", "HIGH"),
        ("route_info", "HIGH-aef1::11/48,low-aef2::11/96"),
        ("rdnss", "fd00::53"),
        ("dnssl", "a.b.c, d.e.f"),
        ("send_periodic", "true"),
        ("max_interval", "30"),
        ("min_interval", "5"),
    ];

    #[test]
    fn solicitations_are_answered() {
        let mut bed = bed();
        assert_eq!(bed.all_flows("put_nd_ra_opts"), "");
        configs(&mut bed, ALL);
        insta::assert_snapshot!(bed.all_flows(" 50 | inport == \"r-sw\" && ip6.dst == ff02::2"));
        assert_eq!(bed.diagnostics(), "");
        // A port without a prefix has nothing to say, nor has one that is joined to another router.
        for edit in [
            |row: &mut nb::LogicalRouterPort| row.networks = crate::testing::set(["10.0.0.1/24"]),
            |row: &mut nb::LogicalRouterPort| row.networks = crate::testing::set(["fe80::5/64"]),
            |row: &mut nb::LogicalRouterPort| row.peer = Some("other".into()),
            |row: &mut nb::LogicalRouterPort| row.enabled = Some(false),
        ] {
            let mut bed = self::bed();
            configs(&mut bed, ALL);
            bed.edit_router_port("r-sw", edit);
            assert_eq!(bed.all_flows("put_nd_ra_opts"), "");
        }
    }

    #[test]
    fn chassis_are_told_to_advertise() {
        let mut bed = bed();
        configs(&mut bed, ALL);
        let options = binding(&mut bed).options.clone();
        let lines: Vec<String> = options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        insta::assert_snapshot!(lines.join("\n"));
        configs(&mut bed, &[("address_mode", "slaac")]);
        assert_eq!(binding(&mut bed).options, map([("peer", "sw-r")]));
    }

    #[test]
    fn a_bad_key_costs_itself() {
        let mut bed = bed();
        let bad = [
            ("address_mode", "slaac"),
            ("mtu", "x"),
            ("router_preference", "odd"),
            ("route_info", "x,HIGH-fd00::/48"),
            ("rdnss", "fd00::1 fd00::2"),
            ("dnssl", "a..b,c"),
            ("send_periodic", "true"),
            ("max_interval", "y"),
        ];
        configs(&mut bed, &bad);
        let flows = bed.all_flows("put_nd_ra_opts");
        let expected = "addr_mode = \"slaac\", slla = 0a:00:00:00:00:01, dnssl = \"c\", route_info = \"HIGH-fd00::/48\", prefix";
        assert!(flows.contains(expected), "{flows}");
        let said = bed.diagnostics();
        for key in ["mtu", "router_pref", "\"x\"", "rdnss", "a..b", "max_int"] {
            assert!(said.contains(key), "{key}: {said}");
        }
        configs(&mut bed, &[("address_mode", "none"), ("mtu", "1400")]);
        assert_eq!(bed.all_flows("put_nd_ra_opts"), "");
        assert!(bed.diagnostics().contains("address_mode"));
    }

    #[test]
    fn intervals_are_those_of_the_standard() {
        let of = |configs: &[(&str, &str)]| {
            let configs = configs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            intervals(&configs.collect(), &|_| {})
        };
        for (least, most, expected) in [
            ("", "", (200, 600)),
            ("", "8", (6, 8)),
            ("", "9", (3, 9)),
            ("", "4", (3, 4)),
            ("90", "100", (75, 100)),
            ("1900", "1", (3, 4)),
            ("2", "2000", (3, 1800)),
            ("700", "", (450, 600)),
            ("0", "-5", (3, 4)),
        ] {
            assert_eq!(
                of(&[("min_interval", least), ("max_interval", most)]),
                expected,
                "{least} {most}"
            );
        }
    }
}
