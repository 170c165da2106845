//! Machines on the move: an additional chassis of a port lets nothing in or out before the machine is heard there.
//!
//! `activation-strategy` of a port with several chassis lists what counts as being heard: `rarp` (what QEMU sends), `garp`
//! (a gratuitous ARP), `na` (an unsolicited neighbour advertisement). Until then the machine's packets are dropped but for
//! those, and so are packets to it. The first of them comes up to the controller (and goes its way): the port is let in at
//! once, and `additional-chassis-activated` of its row says so for good, whatever happens to this process. northd takes
//! that away with the chassis it was for.

use std::net::IpAddr;

use weft_engine::Cx;
use weft_openflow::{Action, Field, Match};

use crate::actions::opcode::Opcode;
use crate::address::Addresses;
use crate::binding::{Attachment, PortRef, Role, port_diagnostic};
use crate::config::Me;
use crate::flow::emit;
use crate::physical::Port;
use crate::program::{Controller, Read};
use crate::tables;

/// The option of a port's row that lists the chassis where its machine has been heard.
pub const ACTIVATED: &str = "additional-chassis-activated";

/// Above all other flows of a port in its tables.
const BLOCK: u16 = 1000;
/// Above that.
const LISTEN: u16 = 1010;

/// Ethernet type of RARP.
const RARP: u32 = 0x8035;
/// Ethernet type of ARP.
const ARP: u32 = 0x0806;
/// Ethernet type of IPv6.
const IPV6: u32 = 0x86dd;
/// IP protocol of ICMPv6.
const ICMPV6: u32 = 58;
/// ICMPv6 type of a neighbour advertisement.
const ADVERTISEMENT: u32 = 136;

/// What is waited for; the port is not blocked if it is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waits {
    rarp: bool,
    garp: bool,
    na: bool,
}

impl Waits {
    /// Whether anything is waited for.
    pub(crate) fn any(self) -> bool {
        self != Waits::default()
    }
}

/// What has to be heard before a port is let in here.
pub(crate) fn waits(
    cx: &Cx<'_, Controller>,
    me: &Me,
    row: PortRef<'_, '_, '_>,
    role: Role,
) -> Waits {
    let mut waits = Waits::default();
    let Some(text) = row
        .options()
        .nonempty("activation-strategy")
        .filter(|_| role == Role::Additional)
    else {
        return waits;
    };
    let done = row.options().get(ACTIVATED).is_some_and(|list| {
        let mut names = list.split(',').map(str::trim);
        names.any(|name| name == &*me.name)
    });
    if done || cx.activated(row.uuid()) {
        return waits;
    }
    for word in text.split(',').map(str::trim) {
        match word {
            "rarp" => waits.rarp = true,
            "garp" => waits.garp = true,
            "na" => waits.na = true,
            other => cx.diagnose(port_diagnostic(
                row,
                "options",
                format!(
                    "activation-strategy \"{other}\" is none of rarp, garp, na: not waited for"
                ),
            )),
        }
    }
    waits
}

/// Blocks a port that waits, but for what it waits for. `enter` is what brings its packets into its pipeline.
pub(crate) fn block(cx: &Cx<'_, Controller>, port: &Port, at: &Attachment, enter: &[Action]) {
    if !at.waits.any() {
        return;
    }
    let from = at.from();
    let mut heard = enter.to_vec();
    let tell = Action::Controller(Box::new(Opcode::ActivationStrategy.request(&[])));
    // The last of them goes on into the pipeline.
    heard.insert(heard.len().saturating_sub(1), tell);
    for matches in signs(cx, port, at.waits, &from) {
        emit(
            cx,
            tables::PHY_TO_LOG,
            LISTEN,
            port.cookie(),
            matches,
            heard.as_slice(),
        );
    }
    emit(cx, tables::PHY_TO_LOG, BLOCK, port.cookie(), from, []);
    emit(cx, tables::LOG_TO_PHY, BLOCK, port.cookie(), port.to(), []);
}

/// Matches what is waited for. Without known addresses any ARP and any advertisement will do.
fn signs(cx: &Cx<'_, Controller>, port: &Port, waits: Waits, from: &Match) -> Vec<Match> {
    let rec = cx.sb_rec();
    let row = cx.sb().port_binding.tracked(port.uuid, &rec);
    let own = row
        .iter()
        .flat_map(|row| row.mac().iter())
        .filter_map(|text| Addresses::parse(text).ok());
    let ips: Vec<IpAddr> = own.flat_map(|own| own.ips).map(|net| net.addr()).collect();
    let of_type = |ethertype: u32| from.clone().with(Field::EthType, ethertype);
    let mut signs = Vec::new();
    if waits.rarp {
        signs.push(of_type(RARP));
    }
    if waits.garp {
        let v4 = ips.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(
                of_type(ARP)
                    .with(Field::ArpSpa, u32::from(*ip))
                    .with(Field::ArpTpa, u32::from(*ip)),
            ),
            IpAddr::V6(_) => None,
        });
        signs.extend(or_any(v4, of_type(ARP)));
    }
    if waits.na {
        let any = of_type(IPV6)
            .with(Field::IpProto, ICMPV6)
            .with(Field::Icmpv6Type, ADVERTISEMENT)
            .with(Field::Icmpv6Code, 0u32);
        let v6 = ips.iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(any.clone().with(Field::NdTarget, *ip)),
            IpAddr::V4(_) => None,
        });
        let v6: Vec<Match> = v6.collect();
        signs.extend(or_any(v6.into_iter(), any));
    }
    signs
}

fn or_any(some: impl Iterator<Item = Match>, any: Match) -> Vec<Match> {
    let some: Vec<Match> = some.collect();
    if some.is_empty() { vec![any] } else { some }
}
