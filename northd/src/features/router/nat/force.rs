//! `dnat_force_snat_ip` of gateway routers: whoever comes by a translated destination comes, inside, from an address of
//! the router, so that replies find back to it.

use std::net::IpAddr;

use weft_lang::action::NatKind;
use weft_lang::{Action, Expr, field, pred};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::super::port;
use crate::pipeline::Stage;
use crate::program::{Cx, Feature, Key, Per};

const OPTION: &str = "dnat_force_snat_ip";

/// Per router.
pub struct Force;

impl Feature for Force {
    const NAME: &'static str = "nat_force_snat";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouter)];
    const READS: &'static [&'static str] = &[port::Routers::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        if port::router(cx, uuid).is_none() {
            return;
        }
        let Some(row) = cx.lr(uuid) else { return };
        if let Some(text) = row.options().get(OPTION)
            && parse(text).is_none()
        {
            let message = format!("\"{text}\" is not one address per family: left out");
            let column = "options:dnat_force_snat_ip";
            cx.diagnose::<nb::LogicalRouter>(row.name(), uuid, column, message);
        }
        for ip in addresses(cx, uuid) {
            let (family, dst) = match ip {
                IpAddr::V4(_) => (pred::IP4, field::IP4_DST),
                IpAddr::V6(_) => (pred::IP6, field::IP6_DST),
            };
            let flow = |stage, priority, match_, action: Action| {
                cx.flow(uuid, stage, priority, match_, [action], Some(uuid));
            };
            let back = Expr::all([family.clone(), dst.eq(ip)]);
            let undo = Action::CtNat(NatKind::Snat, None);
            flow(Stage::LrInUnsnat, 110, back, undo);
            let forced = Expr::all([field::FLAGS_FORCE_SNAT_FOR_DNAT.eq(1), family]);
            flow(
                Stage::LrOutSnat,
                100,
                forced,
                Action::nat_to(NatKind::Snat, ip),
            );
        }
    }
}

fn parse(text: &str) -> Option<Vec<IpAddr>> {
    let all: Vec<IpAddr> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let v6 = all.iter().filter(|ip| ip.is_ipv6()).count();
    (v6 <= 1 && all.len() - v6 <= 1).then_some(all)
}

/// The addresses, at most one per family; none for a router that is not bound to a chassis.
pub fn addresses(cx: &Cx<'_>, router: Uuid) -> Vec<IpAddr> {
    let Some(row) = cx.lr(router) else {
        return Vec::new();
    };
    let options = row.options();
    if options.get("chassis").is_none() {
        return Vec::new();
    }
    let text = options.get(OPTION);
    text.and_then(|text| parse(text)).unwrap_or_default()
}

/// Whether sources are translated along with destinations.
pub fn is_forced(cx: &Cx<'_>, router: Uuid) -> bool {
    !addresses(cx, router).is_empty()
}
