//! Packets that are too big for tunnels which they take only because a machine is at several places: on a physical network
//! others know the MTU of that network, which has room for no tunnel's headers.
//!
//! Guarantees: such a packet to or from the machine is answered with "fragmentation needed" (RFC 1191) or "packet too big" (RFC
//! 4443), in the name of whom it was for, with the MTU of the machine's interface here less what the widest of the tunnels
//! adds. Only the chassis the machine is at know that MTU; from others what is too big is lost, as with stock.

use weft_engine::Cx;
use weft_openflow::{Action, ActionList, Controller as ToController, Field, Match};
use weft_ovsdb::model::Uuid;

use super::Port;
use crate::actions::opcode::Opcode;
use crate::flow::{REG_FLAGS, REG_INPORT, REG_OUTPORT, emit};
use crate::program::{Controller, Key, Read};
use crate::tables::{self, flag};
use crate::tunnels::{Carrier, TUNNEL, Tunnels};

/// Whether the packet is too big; between its pipelines a packet has no other use for the register.
const TOO_BIG: Field = Field::Reg9;
const TOO_BIG_BIT: u8 = 1;
/// `check_pkt_larger` measures frames.
const ETHERNET: u16 = 14;
/// No network of IPv6 has less (RFC 8200, section 5), nor one of IPv4 (RFC 791).
const LEAST: [u16; 2] = [68, 1280];
const TTL: u32 = 255;

/// One version of IP.
struct Family {
    ethertype: u32,
    least: u16,
    addresses: (Field, Field),
    kind: (Field, u32),
    code: (Field, u32),
    error: Opcode,
}

const V4: Family = Family {
    ethertype: 0x0800,
    least: LEAST[0],
    addresses: (Field::Ipv4Src, Field::Ipv4Dst),
    kind: (Field::IcmpType, 3),
    code: (Field::IcmpCode, 4),
    error: Opcode::Icmp4Error,
};
const V6: Family = Family {
    ethertype: 0x86dd,
    least: LEAST[1],
    addresses: (Field::Ipv6Src, Field::Ipv6Dst),
    kind: (Field::Icmpv6Type, 2),
    code: (Field::Icmpv6Code, 0),
    error: Opcode::Icmp6Error,
};

/// Bytes that a tunnel adds to what is in a frame: its own headers, and the frame's.
fn overhead(carrier: Carrier, over_ip6: bool) -> u16 {
    let ip = if over_ip6 { 40 } else { 20 };
    let tunnel = match carrier {
        // UDP, Geneve, OVN's option.
        Carrier::Geneve => 8 + 8 + 8,
        // What looks like TCP, and STT.
        Carrier::Stt => 20 + 18,
        // UDP, VXLAN.
        Carrier::Vxlan => 8 + 8,
    };
    ip + tunnel + ETHERNET
}

/// What fits in every tunnel to some chassis, of what an interface takes; `None` where there is none.
fn limit(cx: &Cx<'_, Controller>, mtu: Option<u16>, chassis: &[Uuid]) -> Option<u16> {
    let rec = cx.sb_rec();
    let to = chassis.iter().filter_map(|chassis| {
        let tunnels = cx.value::<Tunnels>(TUNNEL.id(), Key::Row(*chassis))?;
        let over_ip6 = |end| {
            let row = cx.sb().encap.tracked(end, &rec);
            row.is_some_and(|row| row.ip().contains(':'))
        };
        let all = tunnels.0.iter();
        all.map(|tunnel| overhead(tunnel.carrier, over_ip6(tunnel.remote)))
            .max()
    });
    let widest = to.max()?;
    mtu?.checked_sub(widest)
}

/// Answers what of `matches` is too big to be carried to some chassis, where an interface takes `mtu`.
pub(super) fn answer(
    cx: &Cx<'_, Controller>,
    port: &Port,
    matches: &Match,
    mtu: Option<u16>,
    chassis: &[Uuid],
) {
    let Some(limit) = limit(cx, mtu, chassis) else {
        return;
    };
    // What stays here takes no tunnel.
    let matches = &matches
        .clone()
        .with_masked(REG_FLAGS, 0u32, flag::LOCAL_ONLY | flag::LOCALPORT);
    for family in [V4, V6] {
        let limit = limit.max(family.least);
        let add = |table, matches: Match, actions: &[Action]| {
            let matches = matches.with(Field::EthType, family.ethertype);
            emit(cx, table, 100, port.cookie(), matches, actions);
        };
        let measure = [
            Action::CheckPktLarger {
                len: limit.saturating_add(ETHERNET),
                dst: TOO_BIG.bits(TOO_BIG_BIT, TOO_BIG_BIT),
            },
            Action::resubmit(tables::OUTPUT_LARGE_PROCESS),
        ];
        add(tables::OUTPUT_LARGE_DETECT, matches.clone(), &measure);
        let measured = |big: bool| {
            let bit = |set: bool| u32::from(set) << TOO_BIG_BIT;
            matches.clone().with_masked(TOO_BIG, bit(big), bit(true))
        };
        let table = tables::OUTPUT_LARGE_PROCESS;
        add(table, measured(true), &[told(&family, limit)]);
        let go_on = Action::resubmit(tables::REMOTE_OUTPUT);
        add(table, measured(false), &[go_on]);
    }
}

fn to_controller(opcode: Opcode, params: &[u8], pause: bool) -> Action {
    Action::Controller(Box::new(ToController {
        pause,
        ..opcode.request(params)
    }))
}

/// Has the error made, which goes back where the packet came from.
fn told(family: &Family, mtu: u16) -> Action {
    let (src, dst) = family.addresses;
    let mut back = Vec::new();
    back.extend(Action::exchange(Field::EthSrc, Field::EthDst));
    back.extend(Action::exchange(src, dst));
    back.push(Action::set(Field::IpTtl, TTL));
    back.push(Action::set(family.kind.0, family.kind.1));
    back.push(Action::set(family.code.0, family.code.1));
    back.push(match family.error {
        Opcode::Icmp4Error => to_controller(Opcode::PutIcmp4FragMtu, &mtu.to_be_bytes(), true),
        _ => to_controller(Opcode::PutIcmp6FragMtu, &u32::from(mtu).to_be_bytes(), true),
    });
    back.extend(Action::exchange(REG_INPORT, REG_OUTPORT));
    back.push(Action::resubmit(tables::LOCAL_OUTPUT));
    let back = ActionList::from(back.as_slice());
    to_controller(family.error, back.wire_bytes(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tunnels_add() {
        let all = [Carrier::Geneve, Carrier::Vxlan, Carrier::Stt];
        assert_eq!(all.map(|carrier| overhead(carrier, false)), [58, 50, 72]);
        assert_eq!(all.map(|carrier| overhead(carrier, true)), [78, 70, 92]);
    }
}
