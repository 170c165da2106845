//! `bind_vport(V, P);`: a virtual port is where the port that last announced its address is. That chassis writes itself and
//! the parent into the port's row; [`crate::binding`] keeps the claim for as long as the parent is here.

use weft_openflow::Field;
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::learner::Learned;
use super::port;
use super::respond::{Answer, Refusal, Request};
use crate::core::Core;
use crate::flow::REG_INPORT;

/// The virtual port's key is the parameter, the parent's is in the input port's register.
pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let port = request.params.first_chunk().ok_or(Refusal::Params)?;
    let key =
        |field| u32::try_from(request.packet.metadata_value(field)).map_err(|_| Refusal::Params);
    let learned = Learned::Parent {
        datapath: key(Field::Metadata)?,
        port: u32::from_be_bytes(*port),
        parent: key(REG_INPORT)?,
    };
    Ok(Answer {
        learned: Some(learned),
        ..Answer::default()
    })
}

/// Adds what is missing in the southbound. A parent that is gone has nothing.
pub(super) fn write(core: &Core, datapath: u32, port: u32, parent: u32, txn: &mut Txn) {
    use sb::port_binding as c;
    let own = core.me().and_then(|me| me.chassis);
    let (Some(own), Some((uuid, row)), Some((_, parent))) = (
        own,
        port::row(core, datapath, port),
        port::row(core, datapath, parent),
    ) else {
        return;
    };
    let there =
        row.chassis == Some(own) && row.virtual_parent.as_ref() == Some(&parent.logical_port);
    if &*row.type_ != "virtual" || there {
        return;
    }
    let new = sb::PortBinding {
        chassis: Some(own),
        virtual_parent: Some(parent.logical_port.clone()),
        ..Default::default()
    };
    txn.update(uuid, &new, c::CHASSIS | c::VIRTUAL_PARENT);
}

#[cfg(test)]
mod tests {
    use super::super::testing::answer;
    use super::*;
    use crate::actions::opcode::Opcode;

    #[test]
    fn the_input_port_becomes_the_parent() {
        let learn = |params: &[u8]| answer(Opcode::BindVport, params, &[]).map(|a| a.learned);
        let expected = Learned::Parent {
            datapath: 3,
            port: 7,
            parent: 1,
        };
        assert_eq!(learn(&[0, 0, 0, 7]), Ok(Some(expected)));
        assert_eq!(learn(&[7]), Err(Refusal::Params));
    }
}
