//! The packet that a microflow describes: every field it mentions must have one value, all others are zero.

use weft_lang::lower::{Cube, FieldBits};
use weft_lang::{
    Cmp, Const, Env, Expr, FlowKind, Format, Int, Operand, Packet, RelOp, annotate, field,
};

use crate::error::{Error, fail};

/// Name of the one port that the microflow enters by.
pub fn inport(expr: &Expr) -> Result<String, Error> {
    let mut names: Vec<String> = Vec::new();
    collect(&annotate(expr), &mut names);
    names.dedup();
    match names.as_slice() {
        [] => fail("error parsing flow: flow match expression does not match on inport"),
        [name] => Ok(name.clone()),
        _ => fail("error parsing flow: flow match expression matches on multiple inports"),
    }
}

fn collect(expr: &Expr, names: &mut Vec<String>) {
    match expr {
        Expr::Cmp(cmp) if cmp.field == field::INPORT && cmp.op == RelOp::Eq => {
            for constant in cmp.operand.constants() {
                if let Const::Str(name) = constant {
                    names.push(name.to_string());
                }
            }
        }
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| collect(part, names)),
        _ => {}
    }
}

/// Why there is no packet, or not just one.
enum Trouble {
    Contradiction,
    Ambiguity,
}

/// The packet.
pub fn packet(expr: &Expr, env: &impl Env) -> Result<Packet, Error> {
    let expr = annotate(expr);
    match resolve(&expr, &Cube::new(), env) {
        Ok(bits) => {
            let mut packet = Packet::new();
            for FieldBits { field, value, mask } in bits {
                packet.write_masked(field, value, mask);
            }
            Ok(packet)
        }
        Err(Trouble::Contradiction) => fail("error parsing flow: Constraints are contradictory."),
        Err(Trouble::Ambiguity) => fail(format!(
            "error parsing flow: Constraints are ambiguous: {}.",
            plain(&expr)
        )),
    }
}

/// The bits that `expr` asks for beside those in `known`, merged into them.
fn resolve(expr: &Expr, known: &Cube, env: &impl Env) -> Result<Cube, Trouble> {
    match expr {
        Expr::And(parts) => conjunction(parts, known, env),
        Expr::Or(parts) => choice(parts.iter().map(|part| resolve(part, known, env)), known),
        leaf => {
            let lowered = weft_lang::to_openflow(leaf, env);
            let options = lowered.flows.iter().map(|flow| match flow.kind {
                FlowKind::Apply => merge(known, &flow.fields),
                _ => Err(Trouble::Ambiguity),
            });
            choice(options, known)
        }
    }
}

/// What is certain narrows down what is a matter of choice, until nothing is left or nothing moves.
fn conjunction(parts: &[Expr], known: &Cube, env: &impl Env) -> Result<Cube, Trouble> {
    let mut known = known.clone();
    let mut open: Vec<&Expr> = parts.iter().collect();
    loop {
        let before = open.len();
        let mut left = Vec::new();
        for part in open {
            match resolve(part, &known, env) {
                Ok(more) => known = more,
                Err(Trouble::Contradiction) => return Err(Trouble::Contradiction),
                Err(Trouble::Ambiguity) => left.push(part),
            }
        }
        match left.len() {
            0 => return Ok(known),
            still if still == before => return Err(Trouble::Ambiguity),
            _ => open = left,
        }
    }
}

fn choice(
    options: impl Iterator<Item = Result<Cube, Trouble>>,
    known: &Cube,
) -> Result<Cube, Trouble> {
    let mut found: Option<Cube> = None;
    for option in options {
        match option {
            Ok(bits) if bits == *known => return Ok(bits),
            Ok(bits) => match &found {
                Some(other) if *other != bits => return Err(Trouble::Ambiguity),
                _ => found = Some(bits),
            },
            Err(Trouble::Ambiguity) => return Err(Trouble::Ambiguity),
            Err(Trouble::Contradiction) => {}
        }
    }
    found.ok_or(Trouble::Contradiction)
}

fn merge(known: &Cube, more: &Cube) -> Result<Cube, Trouble> {
    let mut all = known.clone();
    for bits in more {
        match all.iter_mut().find(|own| own.field == bits.field) {
            Some(own) if (own.value ^ bits.value) & own.mask & bits.mask != 0 => {
                return Err(Trouble::Contradiction);
            }
            Some(own) => {
                own.value |= bits.value;
                own.mask |= bits.mask;
            }
            None => all.push(*bits),
        }
    }
    Ok(all)
}

/// The expression with all numbers in hexadecimal, as the stock tool shows it when it complains.
fn plain(expr: &Expr) -> Expr {
    let hex = |constant: &Const| match constant {
        Const::Int(int) => Const::Int(match int.mask() {
            Some(mask) => Int::masked(int.value(), mask, Format::Hex),
            None => Int::new(int.value(), Format::Hex),
        }),
        other => other.clone(),
    };
    let one = |field, op, constant: &Const| {
        Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::One(hex(constant)),
        })
    };
    match expr {
        Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::Many(constants),
        }) => {
            let parts = constants.iter().map(|constant| one(*field, *op, constant));
            match op {
                RelOp::Eq => Expr::any(parts),
                _ => Expr::all(parts),
            }
        }
        Expr::Cmp(Cmp {
            field,
            op,
            operand: Operand::One(constant),
        }) => one(*field, *op, constant),
        Expr::And(parts) => Expr::all(parts.iter().map(plain)),
        Expr::Or(parts) => Expr::any(parts.iter().map(plain)),
        other => other.clone(),
    }
}

/// Reads the microflow; an error shows where it is.
pub fn parse(text: &str) -> Result<Expr, Error> {
    weft_lang::parse_match(text).map_err(|error| {
        let marker = " ".repeat(
            text.get(..error.span.start)
                .map_or(0, |before| before.chars().count()),
        );
        Error::new(format!("error parsing flow: {error}")).help(format!("  {text}\n  {marker}^"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_lang::{FieldReader, OfField};

    struct Ports;

    impl Env for Ports {
        fn port(&self, name: &str) -> Option<u32> {
            name.strip_prefix('p')?.parse().ok()
        }
        fn address_set(&self, _: &str) -> Option<Vec<Int>> {
            None
        }
        fn port_group(&self, _: weft_lang::Field, _: &str) -> Option<Vec<u32>> {
            None
        }
        fn is_resident(&self, _: &str) -> bool {
            true
        }
    }

    fn message(text: &str) -> String {
        packet(&parse(text).unwrap(), &Ports).unwrap_err().message
    }

    #[test]
    fn one_packet() {
        let expr =
            parse("inport == \"p3\" && ip4 && tcp.dst == 80 && ip4.src == 10.0.0.0/8").unwrap();
        assert_eq!(inport(&expr), Ok("p3".to_string()));
        let packet = packet(&expr, &Ports).unwrap();
        assert_eq!(packet.read(OfField::Reg(14)), 3);
        assert_eq!(packet.read(OfField::IpProto), 6);
        assert_eq!(packet.read(OfField::Ip4Src), 0x0a00_0000);
    }

    #[test]
    fn refusals() {
        assert!(message("ip4 && ip6").contains("contradictory"));
        let ambiguous = "error parsing flow: Constraints are ambiguous: inport == \"p1\" && tcp.src == 0x50 && \
                         ip.proto == 0x6 && (eth.type == 0x800 || eth.type == 0x86dd).";
        assert_eq!(message("inport == \"p1\" && tcp.src == 80"), ambiguous);
        assert!(inport(&parse("ip4").unwrap()).is_err());
        assert!(inport(&parse("inport == {\"p1\", \"p2\"}").unwrap()).is_err());
    }
}
