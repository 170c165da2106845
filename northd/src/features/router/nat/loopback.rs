//! From inside to an outer address of the same router: out by the gateway port and in again (hairpin).

use weft_lang::{Action, Expr, Pipeline, field, pred};

use super::super::{SWAP_ETH, set};
use super::Writer;
use super::rule::Kind;
use crate::pipeline::{self, Stage};

pub(super) fn write(writer: &Writer<'_>) {
    let rule = writer.rule;
    let known = Expr::all([pred::IP, field::CT_MARK_NATTED.eq(1)]);
    let mark = || vec![set(pipeline::DNAT_LOCAL, 1), Action::NEXT];
    writer.common(Stage::LrOutChkDnatLocal, 50, known, mark());
    let Some(port) = rule.place.port() else {
        return;
    };
    let resident = || rule.place.resident();
    let local = Expr::all([pred::IP, rule.to_external(), resident()]);
    writer.flow(Stage::LrOutChkDnatLocal, 50, local, mark());
    let again = Expr::all([rule.to_external(), writer.goes_out(), resident()]);
    writer.flow(Stage::LrOutEgrLoop, 100, again, vec![round()]);
    if rule.kind == Kind::Snat {
        // Such a packet comes in with the outer address as its source.
        let source = Expr::all([field::INPORT.eq(&port.name), rule.src().eq(rule.external)]);
        writer.flow(Stage::LrInIpInput, 120, source, vec![Action::NEXT]);
    }
    // What comes by the gateway port for an outer address that nothing has translated must not circle.
    let untranslated = Expr::all([writer.comes_in(), writer.goes_out(), rule.to_external()]);
    writer.flow(Stage::LrInArpResolve, 150, untranslated, vec![Action::Drop]);
}

/// A copy without state enters the router by the port it would have left by.
fn round() -> Action {
    let head = [
        Action::CtClear,
        Action::Move(field::INPORT, field::OUTPORT),
        Action::set(field::OUTPORT, ""),
        SWAP_ETH,
        Action::set(field::FLAGS, 0),
        Action::set(field::FLAGS_LOOPBACK, 1),
        Action::Move(field::FLAGS_USE_SNAT_ZONE, pipeline::DNAT_LOCAL.field()),
    ];
    let registers = [
        field::REG0,
        field::REG1,
        field::REG2,
        field::REG3,
        field::REG4,
        field::REG5,
        field::REG6,
        field::REG7,
        field::REG8,
        field::REG9,
    ];
    let clear = registers.map(|register| Action::set(register, 0));
    let tail = [
        set(pipeline::EGRESS_LOOPBACK, 1),
        Action::NextIn(Pipeline::Ingress, Stage::LrInAdmission.table()),
    ];
    Action::cloned(head.into_iter().chain(clear).chain(tail))
}
