//! A logical port that has an OpenFlow port: VIF, container, localport, localnet, l2gateway.

use weft_engine::Cx;
use weft_openflow::{Action, Field, Match, Port as OfPort};

use super::{Port, VLAN_PRESENT, load_zones};
use crate::activation;
use crate::binding::Attachment;
use crate::flow::{REG_FLAGS, REG_INPORT, REG_OUTPORT, emit};
use crate::program::Controller;
use crate::tables::{self, flag};

/// Physical to logical.
pub(super) fn input(cx: &Cx<'_, Controller>, port: &Port, kind: &str, at: &Attachment) {
    let mut load = Vec::new();
    load_zones(cx, port, &mut load);
    load.push(Action::set(Field::Metadata, port.dp_key));
    load.push(Action::set(REG_INPORT, port.key));
    if kind == "localport" {
        load.push(set_flag(flag::LOCALPORT));
    }
    if at.encap != 0 {
        load.push(Action::SetField {
            field: REG_FLAGS,
            value: (u32::from(at.encap) << tables::ENCAP_SHIFT).into(),
            mask: tables::ENCAP_MASK.into(),
        });
    }
    load.push(Action::resubmit(tables::LOG_INGRESS));
    let from = Match::any().with(Field::InPort, at.ofport);
    let tagged = |vid: u16| {
        from.clone()
            .with(Field::VlanVid, VLAN_PRESENT | u32::from(vid))
    };
    let untagged = || from.clone().with_masked(Field::VlanVid, 0u32, VLAN_PRESENT);
    let popped = |first: Option<Action>| -> Vec<Action> {
        first
            .into_iter()
            .chain([Action::PopVlan])
            .chain(load.iter().cloned())
            .collect()
    };
    let add = |priority: u16, matches: Match, actions: &[Action]| {
        emit(
            cx,
            tables::PHY_TO_LOG,
            priority,
            port.cookie(),
            matches,
            actions,
        );
    };
    match at.tag {
        Some(tag) => {
            // A container's packets must not count as looped back to the VIF around it.
            let nested = at.parent.map(|_| set_flag(flag::NESTED_CONTAINER));
            let enter = popped(nested);
            activation::block(cx, port, at, &enter);
            add(150, tagged(tag), &enter);
        }
        None if matches!(kind, "localnet" | "l2gateway") => {
            add(100, untagged(), &load);
            // Priority-tagged: VLAN 0 is no VLAN.
            add(100, tagged(0), &popped(None));
        }
        None => {
            activation::block(cx, port, at, &load);
            add(100, from.clone(), &load);
        }
    }
}

/// Logical to physical.
pub(super) fn output(cx: &Cx<'_, Controller>, port: &Port, at: &Attachment) {
    let out = Action::Output(OfPort(at.ofport));
    let actions = match at.tag {
        Some(tag) => vec![
            Action::PushVlan(0x8100),
            Action::set(Field::VlanVid, VLAN_PRESENT | u32::from(tag)),
            out,
            Action::PopVlan,
        ],
        None => vec![out],
    };
    emit(
        cx,
        tables::LOG_TO_PHY,
        100,
        port.cookie(),
        port.to(),
        actions.as_slice(),
    );
    let Some(parent) = at.parent else { return };
    // To and from containers everything goes by the VIF's port: Open vSwitch's loopback prevention must not apply.
    let no_loopback = lift_loopback();
    emit(
        cx,
        tables::SAVE_INPORT,
        100,
        port.cookie(),
        port.to(),
        no_loopback.as_slice(),
    );
    if let Some(parent) = Port::local(cx, parent) {
        let from_nested =
            parent
                .to()
                .with_masked(REG_FLAGS, flag::NESTED_CONTAINER, flag::NESTED_CONTAINER);
        emit(
            cx,
            tables::SAVE_INPORT,
            100,
            0,
            from_nested,
            no_loopback.as_slice(),
        );
    }
}

/// Sets a bit of the flags register.
pub(super) fn set_flag(bit: u32) -> Action {
    Action::SetField {
        field: REG_FLAGS,
        value: bit.into(),
        mask: bit.into(),
    }
}

/// Goes on to logical-to-physical translation as if the packet had no input port.
pub(super) fn lift_loopback() -> Vec<Action> {
    vec![
        Action::Push(Field::InPortNxm.whole()),
        // The 16-bit field: Open vSwitch takes "no port" only there.
        Action::set(Field::InPortNxm, u16::MAX),
        Action::resubmit(tables::LOG_TO_PHY),
        Action::Pop(Field::InPortNxm.whole()),
    ]
}

/// Drops packets that would leave by the logical port they came from, unless their flags allow it.
pub(super) fn check_loopback(cx: &Cx<'_, Controller>, port: &Port) {
    let same = Match::any()
        .with(Field::Metadata, port.dp_key)
        .with(REG_INPORT, port.key)
        .with(REG_OUTPORT, port.key)
        .with_masked(REG_FLAGS, 0u32, flag::ALLOW_LOOPBACK);
    emit(cx, tables::CHECK_LOOPBACK, 100, port.cookie(), same, []);
    let allowed = port
        .to()
        .with_masked(REG_FLAGS, flag::ALLOW_LOOPBACK, flag::ALLOW_LOOPBACK);
    emit(
        cx,
        tables::SAVE_INPORT,
        100,
        port.cookie(),
        allowed,
        lift_loopback().as_slice(),
    );
}
