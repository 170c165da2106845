//! Tunnel keys of ports: stable, unique within the datapath, `options:requested-tnl-key` honoured.

use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::datapath::{DatapathKey, datapath_key};
use super::global::{Tunnels, key_ranges};
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::program::{Allocator, Cx, Fact, Feature, Key, Per};

/// Allocates and publishes, as `u32`. [`Key::Row`] is a switch or router port, [`Key::Pair`] with the same router port
/// twice its `chassisredirect` port.
pub struct PortKey;

/// The unit of the `chassisredirect` port of a router port.
pub fn redirect_key(router_port: Uuid) -> Key {
    Key::Pair(router_port, router_port)
}

/// The unit of the port by which packets of a switch reach the sink of a mirror.
pub fn mirror_key(switch: Uuid, sink: Uuid) -> Key {
    Key::Pair(switch, sink)
}

/// The tunnel key of a port.
pub fn port_key(cx: &Cx<'_>, key: Key) -> Option<u32> {
    cx.value::<u32>(PortKey::ID, key).map(|number| *number)
}

impl Allocator for PortKey {
    const NAME: &'static str = "port_key";
    const PER: &'static [Per] = &[
        Per::Nb(nb::TableId::LogicalSwitchPort),
        Per::Nb(nb::TableId::LogicalRouterPort),
        Per::Demand,
    ];
    const READS: &'static [&'static str] = &[Tunnels::NAME, DatapathKey::NAME];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let uuid = key.row();
        let datapath = cx.switch_of(uuid).or_else(|| cx.router_of(uuid));
        // Ports for mirrors are named after their switch.
        let datapath = datapath.or_else(|| cx.ls(uuid).map(|_| uuid));
        let Some(datapath) = datapath.filter(|&dp| datapath_key(cx, dp).is_some()) else {
            Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
            return;
        };
        let max = key_ranges(cx).port_max;
        let space = Space::Ports(datapath.into());
        let wished = wish(cx, key).and_then(|text| match text.parse::<u32>() {
            Ok(n) if (1..=max).contains(&n) => Some(n),
            _ => {
                complain(
                    cx,
                    uuid,
                    format!("\"{text}\" is not between 1 and {max}: another key is used"),
                );
                None
            }
        });
        if let Some(wished) = wished {
            cx.track(number_fact(space, wished));
        }
        let given = ledgers
            .ports
            .assign(datapath, key, wished, (1, max), &mut |dp, n| {
                changed_hands(Space::Ports(dp.into()), n, |fact| cx.wake(fact));
            });
        if let (true, Some(wished)) = (given.refused, wished) {
            complain(
                cx,
                uuid,
                format!("{wished} is requested by another port too: another key is used"),
            );
        }
        match given.number {
            Some(number) => {
                cx.track(number_fact(space, number));
                cx.publish(number);
            }
            None => {
                cx.track(number_fact(space, 0));
                complain(
                    cx,
                    uuid,
                    format!(
                        "all {max} tunnel keys of the datapath are taken: the port does not exist"
                    ),
                );
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.ports.let_go(key, &mut |dp, n| {
            changed_hands(Space::Ports(dp.into()), n, |fact| wake(fact, 1))
        });
    }
}

fn wish(cx: &Cx<'_>, key: Key) -> Option<Str> {
    let Key::Row(uuid) = key else { return None };
    let options = if let Some(lsp) = cx.lsp(uuid) {
        lsp.options()
    } else {
        cx.lrp(uuid)?.options()
    };
    options.get("requested-tnl-key").cloned()
}

fn complain(cx: &Cx<'_>, uuid: Uuid, message: String) {
    if let Some(lsp) = cx.lsp(uuid) {
        cx.diagnose::<nb::LogicalSwitchPort>(
            lsp.name(),
            uuid,
            "options:requested-tnl-key",
            message,
        );
    } else if let Some(lrp) = cx.lrp(uuid) {
        cx.diagnose::<nb::LogicalRouterPort>(
            lrp.name(),
            uuid,
            "options:requested-tnl-key",
            message,
        );
    }
}
