//! How many flows expressions become, and what they are.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::Ipv4Addr;

use weft_lang::lower::FieldBits;
use weft_lang::{
    Env, FlowKind, Format, Int, Name, NoEnv, OfField, field, parse_match, to_openflow,
};

struct Big;

impl Env for Big {
    fn port(&self, _: &str) -> Option<u32> {
        Some(7)
    }
    fn address_set(&self, _: &str) -> Option<Vec<Int>> {
        Some(
            (0..10_000)
                .map(|i| Int::new(0x0a00_0000 + 2 * i, Format::Ip4))
                .collect(),
        )
    }
    fn port_group(&self, _: weft_lang::Field, _: &str) -> Option<Vec<u32>> {
        Some((1..=500).collect())
    }
    fn is_resident(&self, _: &str) -> bool {
        true
    }
}

fn count(text: &str) -> usize {
    to_openflow(&parse_match(text).unwrap(), &Big).flows.len()
}

#[test]
fn sizes() {
    assert_eq!(count("1"), 1);
    assert_eq!(count("0"), 0);
    assert_eq!(
        count("ip4 && ip6"),
        0,
        "prerequisites contradict each other"
    );
    assert_eq!(count("ip"), 2);
    assert_eq!(count("tcp.dst == 80"), 2, "IPv4 and IPv6");
    assert_eq!(count("ip4 && tcp.dst == 80"), 1);
    assert_eq!(count("ip4 && 1024 <= tcp.dst <= 65535"), 6);
    assert_eq!(count("ip4 && tcp.dst != 80"), 16);
    assert_eq!(
        count("ip4 && tcp.dst == {80, 443} && ip4.src == {10.0.0.1, 10.0.0.2}"),
        4,
        "no conjunction for 2 x 2"
    );
    assert_eq!(count("inport == @pg1 && ip4.src == $as1"), 500 + 10_000 + 1);
    assert_eq!(
        count("outport == @pg1 && ip4.src == $as1 && tcp.dst == {1, 3, 5, 7}"),
        500 + 10_000 + 4 + 1
    );
    assert_eq!(
        count("inport == @pg1 && ip4 && !(ip4.src == 10.0.0.0/8)"),
        500 + 8 + 1
    );
    // The complement of a set is one list, not a choice for every member.
    assert!(count("ip4.src != $as1") < 20_100);
}

#[test]
fn one_flow_in_detail() {
    let lowered = to_openflow(
        &parse_match("inport == \"p\" && ip4.dst == 10.0.0.0/24 && ct.est").unwrap(),
        &Big,
    );
    assert_eq!(lowered.flows.len(), 1);
    assert_eq!(lowered.flows[0].kind, FlowKind::Apply);
    let bits = |field, value, mask| FieldBits { field, value, mask };
    assert_eq!(
        lowered.flows[0].fields.as_slice(),
        [
            bits(OfField::Reg(14), 7, 0xffff_ffff),
            bits(OfField::EthType, 0x800, 0xffff),
            bits(OfField::Ip4Dst, 0x0a00_0000, 0xffff_ff00),
            bits(OfField::CtState, 0x22, 0x22),
        ]
    );
    assert_eq!(lowered.asked, [Name::Port("p".into())]);
}

#[test]
fn registers_overlay_each_other() {
    let lowered = to_openflow(&(field::XXREG0.eq(5) & field::REG3.bit(0).is_set()), &NoEnv);
    assert_eq!(lowered.flows.len(), 1);
    assert_eq!(lowered.flows[0].fields.len(), 4);
    assert!(
        to_openflow(&(field::XXREG0.eq(4) & field::REG3.bit(0).is_set()), &NoEnv)
            .flows
            .is_empty()
    );
}

#[test]
fn names_without_meaning_are_reported() {
    let text = "inport == \"p\" || ip4.src == $as || ip4.src != $as || outport == @pg";
    let lowered = to_openflow(&parse_match(text).unwrap(), &NoEnv);
    assert!(lowered.flows.is_empty());
    let wanted = [
        Name::Port("p".into()),
        Name::AddressSet("as".into()),
        Name::PortGroup("pg".into()),
    ];
    assert_eq!(lowered.unknown, wanted);
    assert_eq!(lowered.asked, wanted);
}

#[test]
fn monstrous_expressions_are_refused() {
    // Twenty choices between two conjunctions, each with a choice of its own: 2^20 combinations.
    let choice =
        |n: u8| format!("((reg{n}[0] && reg{n}[1..2] != 0) || (reg{n}[3] && reg{n}[4..5] != 0))");
    let text: Vec<String> = (0..10)
        .map(choice)
        .chain((0..10).map(|n| choice(n).replace("[0]", "[9]")))
        .collect();
    let lowered = to_openflow(&parse_match(&text.join(" && ")).unwrap(), &NoEnv);
    assert_eq!(lowered.flows.len(), 0);
    assert_eq!(lowered.inexpressible.len(), 1);
    // Seventy values under masks that are no prefixes: more choices than a conjunctive match can have.
    let masked: Vec<String> = (0..70)
        .map(|i| format!("{:#x}/{:#x}", 5u128 << i, 5u128 << i))
        .collect();
    let text = format!("xxreg0 != {{{}}}", masked.join(", "));
    let lowered = to_openflow(&parse_match(&text).unwrap(), &NoEnv);
    assert_eq!(lowered.inexpressible, ["conjunction of 70 choices"]);
}

#[test]
fn sets_of_mixed_families() {
    struct Mixed;
    impl Env for Mixed {
        fn port(&self, _: &str) -> Option<u32> {
            None
        }
        fn address_set(&self, _: &str) -> Option<Vec<Int>> {
            let v4 = Int::new(
                u128::from(Ipv4Addr::new(10, 0, 0, 1).to_bits()),
                Format::Ip4,
            );
            Some(vec![v4, Int::new(1, Format::Ip6), Int::new(1, Format::Mac)])
        }
        fn port_group(&self, _: weft_lang::Field, _: &str) -> Option<Vec<u32>> {
            None
        }
        fn is_resident(&self, _: &str) -> bool {
            false
        }
    }
    for text in ["ip4.src == $as", "ip6.src == $as", "eth.src == $as"] {
        assert_eq!(
            to_openflow(&parse_match(text).unwrap(), &Mixed).flows.len(),
            1,
            "{text}"
        );
    }
}
