//! `put_fdb(P, A);`: rows of FDB, which tell behind which port of a switch an Ethernet address is.

use weft_openflow::Field;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::Txn;
use weft_packet::Mac;
use weft_schemas::sb;

use super::learner::Learned;
use super::port;
use super::respond::{Answer, Refusal, Request};
use crate::core::Core;
use crate::flow::REG_INPORT;
use crate::index::Index;

/// The arguments are in the input port's register and the Ethernet source.
pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let mac = request.frame()?.ethernet.src;
    if mac.is_multicast() || mac == Mac::ZERO {
        return Err(Refusal::NotOneHost);
    }
    let key =
        |field| u32::try_from(request.packet.metadata_value(field)).map_err(|_| Refusal::Params);
    let learned = Learned::Place {
        datapath: key(Field::Metadata)?,
        mac,
        port: key(REG_INPORT)?,
    };
    Ok(Answer {
        learned: Some(learned),
        ..Answer::default()
    })
}

/// Adds what is missing in the southbound. Nothing is behind a port that is gone.
pub(super) fn write(core: &Core, datapath: u32, mac: Mac, port: u32, ms: i64, txn: &mut Txn) {
    use sb::fdb as c;
    if port::find(core, datapath, port).is_none() {
        return;
    }
    let mac = mac.to_string();
    let known = core
        .inputs
        .idx
        .find(Index::FdbByMac, (i64::from(datapath), &*mac))
        .first()
        .copied();
    let known = known.and_then(|uuid| Some((uuid, core.inputs.sb.fdb.get(uuid)?)));
    let new = sb::Fdb {
        mac: mac.into(),
        dp_key: datapath.into(),
        port_key: port.into(),
        timestamp: ms,
    };
    match known {
        None => {
            txn.insert(
                &new,
                c::MAC | c::DP_KEY | c::PORT_KEY | c::TIMESTAMP,
                Uuid::random(),
            );
        }
        Some((uuid, old)) if old.port_key != new.port_key => {
            txn.update(uuid, &new, c::PORT_KEY | c::TIMESTAMP);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use weft_packet::{Ethernet, ethertype};

    use super::super::testing::answer;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn the_source_is_behind_the_input_port() {
        let learn = |src| {
            let frame = Ethernet::new(src, Mac::BROADCAST, ethertype::IPV4).frame(&[]);
            answer(Opcode::PutFdb, &[], &frame).map(|answer| answer.learned)
        };
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        assert_eq!(
            learn(mac),
            Ok(Some(Learned::Place {
                datapath: 3,
                mac,
                port: 1
            }))
        );
        assert_eq!(learn(Mac([3, 0, 0, 0, 0, 1])), Err(Refusal::NotOneHost));
    }
}
