//! `put_arp(P, A, E);` and `put_nd(P, A, E);`: rows of MAC_Binding, and what they say of neighbours that packets wait for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_openflow::Field;
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_packet::Mac;
use weft_schemas::sb;

use super::learner::Learned;
use super::port;
use super::respond::{Answer, Refusal, Request};
use super::waiting::Hop;
use crate::actions::opcode::Opcode;
use crate::core::Core;
use crate::flow::REG_INPORT;
use crate::index::Index;

/// A row that says the same as what is learned again is told so after this many milliseconds, not at every packet.
const REFRESH_MS: i64 = 60_000;

/// The arguments are in the input port's register, the first registers and the Ethernet source.
pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let value = |field| request.packet.metadata_value(field);
    let register = |n| value(Field::reg(n)) & 0xffff_ffff;
    let ip: IpAddr = match request.opcode {
        Opcode::PutArp => Ipv4Addr::from(u32::try_from(register(0)).unwrap_or(0)).into(),
        _ => Ipv6Addr::from((0..4).fold(0, |ip, n| ip << 32 | register(n))).into(),
    };
    let mac = request.frame()?.ethernet.src;
    // RFC 1812, section 3.3.2: no host has the address of a group.
    if ip.is_unspecified() || ip.is_multicast() || mac.is_multicast() || mac == Mac::ZERO {
        return Err(Refusal::NotOneHost);
    }
    let key = |field| u32::try_from(value(field)).map_err(|_| Refusal::Params);
    let learned = Learned::Neighbor {
        datapath: key(Field::Metadata)?,
        port: key(REG_INPORT)?,
        ip,
        mac,
    };
    Ok(Answer {
        learned: Some(learned),
        ..Answer::default()
    })
}

fn row<'c>(core: &'c Core, port: &Str, ip: &str) -> Option<(Uuid, &'c sb::MacBinding)> {
    let uuid = *core
        .inputs
        .idx
        .find(Index::MacBindingByAddress, (&**port, ip))
        .first()?;
    Some((uuid, core.inputs.sb.mac_binding.get(uuid)?))
}

/// Adds what is missing in the southbound. A port that is gone has no neighbours.
pub(super) fn write(core: &Core, hop: Hop, mac: Mac, ms: i64, txn: &mut Txn) {
    use sb::mac_binding as c;
    let Some((datapath, port)) = port::find(core, hop.datapath, hop.port) else {
        return;
    };
    let (ip, mac) = (hop.ip.to_string(), mac.to_string());
    let known = row(core, &port.logical_port, &ip);
    let new = sb::MacBinding {
        logical_port: port.logical_port.clone(),
        ip: ip.into(),
        mac: mac.into(),
        timestamp: ms,
        datapath,
    };
    match known {
        None => {
            txn.insert(
                &new,
                c::LOGICAL_PORT | c::IP | c::MAC | c::TIMESTAMP | c::DATAPATH,
                Uuid::random(),
            );
        }
        Some((uuid, old)) if old.mac != new.mac || old.datapath != datapath => {
            txn.update(uuid, &new, c::MAC | c::TIMESTAMP | c::DATAPATH);
        }
        Some((uuid, old)) if old.timestamp + REFRESH_MS <= ms => {
            txn.update(uuid, &new, c::TIMESTAMP);
        }
        Some(_) => {}
    }
}

/// Those of the neighbours that the southbound knows.
pub(super) fn known<'h>(core: &Core, hops: impl Iterator<Item = &'h Hop>) -> Vec<(Hop, Mac)> {
    let mac = |hop: &Hop| {
        let (_, port) = port::find(core, hop.datapath, hop.port)?;
        row(core, &port.logical_port, &hop.ip.to_string())?
            .1
            .mac
            .parse()
            .ok()
    };
    hops.filter_map(|hop| Some((*hop, mac(hop)?))).collect()
}

#[cfg(test)]
mod tests {
    use weft_packet::{Ethernet, ethertype};

    use super::super::testing::packet_in;
    use super::*;

    fn learn(opcode: Opcode, registers: [u32; 4], src: Mac) -> Result<Option<Learned>, Refusal> {
        let frame = Ethernet::new(src, Mac::BROADCAST, ethertype::ARP).frame(&[]);
        let mut packet = packet_in(opcode, &[], &frame);
        for (n, value) in registers.into_iter().enumerate() {
            packet.metadata.set(Field::reg(n as u8), value);
        }
        Ok(respond(&Request {
            opcode,
            params: &[],
            packet: &packet,
        })?
        .learned)
    }

    #[test]
    fn arguments_are_in_registers_and_the_source() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let expected = |ip: &str| Learned::Neighbor {
            datapath: 3,
            port: 1,
            ip: ip.parse().unwrap(),
            mac,
        };
        assert_eq!(
            learn(Opcode::PutArp, [0x0a00_0001, 7, 7, 7], mac),
            Ok(Some(expected("10.0.0.1")))
        );
        assert_eq!(
            learn(Opcode::PutNd, [0xfd01_0000, 0, 0, 9], mac),
            Ok(Some(expected("fd01::9")))
        );
    }

    #[test]
    fn groups_are_no_neighbours() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        assert_eq!(learn(Opcode::PutArp, [0; 4], mac), Err(Refusal::NotOneHost));
        assert_eq!(
            learn(Opcode::PutArp, [0xe000_0001, 0, 0, 0], mac),
            Err(Refusal::NotOneHost)
        );
        assert_eq!(
            learn(Opcode::PutArp, [0x0a00_0001, 0, 0, 0], Mac::BROADCAST),
            Err(Refusal::NotOneHost)
        );
        assert_eq!(
            learn(Opcode::PutNd, [0xff02_0000, 0, 0, 1], mac),
            Err(Refusal::NotOneHost)
        );
    }
}
