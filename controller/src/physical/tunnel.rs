//! Packets in and out of tunnels.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_openflow::{Action, Field, Match};
use weft_ovsdb::model::Uuid;

use crate::flow::{REG_FLAGS, REG_INPORT, REG_OUTPORT, emit};
use crate::program::{Controller, Key};
use crate::tables;
use crate::tunnels::{Carrier, TUNNEL, Tunnel, Tunnels};

/// Flows for what comes from a chassis; keyed by chassis.
pub const INPUT: Kind<Controller> = Kind::pure("tunnel-input", &["tunnel"], input);

/// The class of OVN's Geneve option.
pub const GENEVE_CLASS: u16 = 0x0102;
/// The type of OVN's Geneve option; critical.
pub const GENEVE_TYPE: u8 = 0x80;
/// The bytes of OVN's Geneve option.
pub const GENEVE_LEN: u8 = 4;

/// The first tunnel key of a multicast group.
const MULTICAST_MIN: u32 = 1 << 15;
/// The first multicast key among the 12 bits that VXLAN has for the output port.
const VXLAN_MULTICAST_MIN: u32 = 1 << 11;

/// Loads what the tunnel is to carry.
fn encapsulate(carrier: Carrier, dp_key: u32, outport: u32, out: &mut Vec<Action>) {
    match carrier {
        Carrier::Geneve => {
            out.push(Action::load(dp_key, Field::TunId.bits(0, 23)));
            out.push(Action::set(Field::TunMetadata0, outport));
            out.push(Action::copy(
                REG_INPORT.bits(0, 14),
                Field::TunMetadata0.bits(16, 30),
            ));
        }
        Carrier::Stt => {
            out.push(Action::set(
                Field::TunId,
                u64::from(dp_key) | u64::from(outport) << 24,
            ));
            out.push(Action::copy(
                REG_INPORT.bits(0, 14),
                Field::TunId.bits(40, 54),
            ));
        }
        Carrier::Vxlan => {
            out.push(Action::load(
                dp_key & 0xfff | vxlan_port(outport) << 12,
                Field::TunId.bits(0, 23),
            ));
        }
    }
}

/// An output port in the 12 bits that VXLAN has for it.
fn vxlan_port(outport: u32) -> u32 {
    let key = if outport >= MULTICAST_MIN {
        outport - MULTICAST_MIN + VXLAN_MULTICAST_MIN
    } else {
        outport
    };
    key & 0xfff
}

/// What sends a copy through each of some tunnels, by the place among our addresses that they are left from.
pub(crate) type Way = (u8, Vec<Action>);

/// The ways to chassis, at the ends `wanted` where they are among theirs. The first is for whatever has not chosen another
/// address; none where no chassis is reached.
pub(crate) fn ways(to: &[Arc<Tunnels>], wanted: &[Uuid], dp_key: u32, outport: u32) -> Vec<Way> {
    let locals: BTreeSet<u8> = to.iter().flat_map(|tunnels| tunnels.locals()).collect();
    let way = |local: u8| {
        let chosen: BTreeSet<Tunnel> = to
            .iter()
            .filter_map(|tunnels| tunnels.choose(wanted, local))
            .collect();
        let mut actions = Vec::new();
        copies(chosen, dp_key, outport, &mut actions);
        (local, actions)
    };
    let first = way(0);
    if first.1.is_empty() {
        return Vec::new();
    }
    let others = locals.into_iter().filter(|local| *local != 0).map(way);
    let others: Vec<Way> = others.filter(|other| other.1 != first.1).collect();
    std::iter::once(first).chain(others).collect()
}

/// Narrows a match to what chose to leave from the address at a place, above what takes all.
pub(crate) fn from_local(priority: u16, matches: &Match, local: u8) -> (u16, Match) {
    if local == 0 {
        return (priority, matches.clone());
    }
    let bits = u32::from(local) << tables::ENCAP_SHIFT;
    let narrowed = matches
        .clone()
        .with_masked(REG_FLAGS, bits, tables::ENCAP_MASK);
    (priority + 1, narrowed)
}

fn copies(
    tunnels: impl IntoIterator<Item = Tunnel>,
    dp_key: u32,
    outport: u32,
    out: &mut Vec<Action>,
) {
    let mut carrier = None;
    for tunnel in tunnels {
        if carrier != Some(tunnel.carrier) {
            encapsulate(tunnel.carrier, dp_key, outport, out);
            carrier = Some(tunnel.carrier);
        }
        out.push(Action::Output(weft_openflow::Port(tunnel.ofport)));
    }
}

fn input(cx: &Cx<'_, Controller>, key: Key) {
    let Some(tunnels) = cx.value::<Tunnels>(TUNNEL.id(), key) else {
        return;
    };
    for &Tunnel {
        carrier, ofport, ..
    } in &tunnels.0
    {
        let from = Match::any().with(Field::InPort, ofport);
        let go = Action::resubmit(tables::LOCAL_OUTPUT);
        match carrier {
            Carrier::Geneve => emit(
                cx,
                tables::PHY_TO_LOG,
                100,
                0,
                from,
                [
                    Action::copy(Field::TunId.bits(0, 23), Field::Metadata.bits(0, 23)),
                    Action::copy(Field::TunMetadata0.bits(16, 30), REG_INPORT.bits(0, 14)),
                    Action::copy(Field::TunMetadata0.bits(0, 15), REG_OUTPORT.bits(0, 15)),
                    go,
                ],
            ),
            Carrier::Stt => emit(
                cx,
                tables::PHY_TO_LOG,
                100,
                0,
                from,
                [
                    Action::copy(Field::TunId.bits(0, 23), Field::Metadata.bits(0, 23)),
                    Action::copy(Field::TunId.bits(24, 39), REG_OUTPORT.bits(0, 15)),
                    Action::copy(Field::TunId.bits(40, 54), REG_INPORT.bits(0, 14)),
                    go,
                ],
            ),
            Carrier::Vxlan => {
                let datapath = Action::copy(Field::TunId.bits(0, 11), Field::Metadata.bits(0, 11));
                let multicast = u64::from(VXLAN_MULTICAST_MIN) << 12;
                emit(
                    cx,
                    tables::PHY_TO_LOG,
                    105,
                    0,
                    from.clone().with_masked(Field::TunId, multicast, multicast),
                    [
                        Action::load(1u32, REG_OUTPORT.bit(15)),
                        Action::copy(Field::TunId.bits(12, 22), REG_OUTPORT.bits(0, 10)),
                        datapath.clone(),
                        go.clone(),
                    ],
                );
                emit(
                    cx,
                    tables::PHY_TO_LOG,
                    100,
                    0,
                    from,
                    [
                        Action::copy(Field::TunId.bits(12, 23), REG_OUTPORT.bits(0, 11)),
                        datapath,
                        go,
                    ],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_for_each_address_that_matters() {
        let tunnels = |ofports: &[(u8, u32)]| {
            let tunnel = |&(local, ofport): &(u8, u32)| Tunnel {
                carrier: Carrier::Geneve,
                ofport,
                remote: Uuid(1),
                local,
                bfd_up: None,
            };
            Arc::new(Tunnels(ofports.iter().map(tunnel).collect()))
        };
        let locals = |to: &[Arc<Tunnels>]| -> Vec<u8> {
            let ways = ways(to, &[], 1, 2);
            ways.into_iter().map(|(local, _)| local).collect()
        };
        assert_eq!(locals(&[]), Vec::<u8>::new());
        assert_eq!(locals(&[tunnels(&[(0, 5)])]), [0]);
        assert_eq!(
            locals(&[tunnels(&[(0, 5), (1, 6)]), tunnels(&[(0, 7)])]),
            [0, 1]
        );
        assert_eq!(locals(&[tunnels(&[(1, 6)])]), [0], "all leave by that one");
        let (priority, matches) = from_local(100, &Match::any(), 2);
        assert_eq!(priority, 101);
        assert_eq!(
            matches,
            Match::any().with_masked(REG_FLAGS, 2u32 << 24, 0xffu32 << 24)
        );
    }

    #[test]
    fn vxlan_squeezes_both_keys_into_the_vni() {
        let mut actions = Vec::new();
        encapsulate(Carrier::Vxlan, 3, 5, &mut actions);
        assert_eq!(actions, [Action::load(0x5003u32, Field::TunId.bits(0, 23))]);
        actions.clear();
        encapsulate(Carrier::Vxlan, 1, 0x8004, &mut actions);
        assert_eq!(
            actions,
            [Action::load(0x80_4001u32, Field::TunId.bits(0, 23))]
        );
    }
}
