//! Round trips and the agreement of evaluation and lowering, on random expressions, packets and actions.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use weft_lang::field::{self, Home, Level};
use weft_lang::{Const, Env, Expr, Field, Format, Int, OfField, Packet, Predicate, RelOp, Str};
use weft_lang::{
    FlowMatch, Lowered, Templated, annotate, check, eval, parse_match, simplify, to_openflow,
    to_templates,
};

struct Names {
    sets: BTreeMap<&'static str, Vec<Int>>,
    groups: BTreeMap<&'static str, Vec<u32>>,
}

impl Env for Names {
    fn port(&self, name: &str) -> Option<u32> {
        name.strip_prefix('p')?.parse().ok()
    }
    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        self.sets.get(name).cloned()
    }
    fn port_group(&self, _: weft_lang::Field, name: &str) -> Option<Vec<u32>> {
        self.groups.get(name).cloned()
    }
    fn is_resident(&self, port: &str) -> bool {
        port == "p1"
    }
}

fn names() -> Names {
    let ip = |text: &str| {
        Int::new(
            u128::from(text.parse::<Ipv4Addr>().unwrap().to_bits()),
            Format::Ip4,
        )
    };
    let ip6 = |text: &str| Int::new(text.parse::<Ipv6Addr>().unwrap().to_bits(), Format::Ip6);
    let net = Int::masked(0x0a00_0100, 0xffff_ff00, Format::Ip4);
    Names {
        sets: BTreeMap::from([
            (
                "as1",
                vec![ip("10.0.0.1"), ip("10.0.0.2"), net, ip6("fd00::1")],
            ),
            ("empty", vec![]),
        ]),
        groups: BTreeMap::from([("pg1", vec![1, 2, 3])]),
    }
}

/// Few values, so that random packets meet random comparisons.
fn value(width: u8) -> impl Strategy<Value = u128> {
    let mask = weft_lang::of::ones(width);
    prop_oneof![
        4 => 0u128..4,
        1 => Just(0x0a00_0001),
        1 => Just(0xfd00_0000_0000_0000_0000_0000_0000_0001),
        1 => any::<u128>(),
    ]
    .prop_map(move |value| value & mask)
}

fn matchable() -> Vec<Field> {
    Field::all()
        .filter(|field| field.symbol().home != Home::Controller)
        .collect()
}

fn any_field() -> impl Strategy<Value = Field> {
    (
        proptest::sample::select(matchable()),
        any::<(u8, u8)>(),
        any::<bool>(),
    )
        .prop_map(|(field, (a, b), whole)| {
            if whole || field.symbol().level != Level::Ordinal {
                return field;
            }
            let (a, b) = (a % field.width(), b % field.width());
            field.bits(a.min(b)..=a.max(b))
        })
}

fn constant(field: Field) -> BoxedStrategy<Const> {
    if field.is_text() {
        return prop_oneof![
            (1u8..4).prop_map(|n| Const::from(format!("p{n}"))),
            Just(Const::from("odd \"name\"\\")),
            Just(Const::Group("pg1".into())),
        ]
        .boxed();
    }
    let width = field.width();
    let format = move |bits: u128| {
        let mut formats = vec![Format::Dec, Format::Hex];
        formats.extend(match width {
            32 => Some(Format::Ip4),
            48 => Some(Format::Mac),
            128 => Some(Format::Ip6),
            _ => None,
        });
        // Decimals have at most 64 bits.
        formats.retain(|format| *format != Format::Dec || bits >> 64 == 0);
        proptest::sample::select(formats)
    };
    let exact = value(width)
        .prop_flat_map(move |v| format(v).prop_map(move |f| Const::Int(Int::new(v, f))));
    if field.symbol().level != Level::Ordinal {
        return exact.boxed();
    }
    let masked = (value(width), value(width)).prop_flat_map(move |(v, m)| {
        format(v | m).prop_map(move |f| Const::Int(Int::masked(v, m, f)))
    });
    let set = Just(Const::Set(Str::from("as1")));
    prop_oneof![5 => exact, 2 => masked, 1 => set].boxed()
}

fn comparison() -> impl Strategy<Value = Expr> {
    any_field().prop_flat_map(|field| {
        let relation = prop_oneof![
            4 => Just(RelOp::Eq), 2 => Just(RelOp::Ne), 1 => Just(RelOp::Lt), 1 => Just(RelOp::Le), 1 => Just(RelOp::Gt), 1 => Just(RelOp::Ge),
        ];
        (relation, proptest::collection::vec(constant(field), 1..5)).prop_map(move |(op, constants)| match op {
            RelOp::Eq => field.one_of(constants),
            RelOp::Ne => field.none_of(constants),
            op => field.cmp_with(op, constants[0].clone()),
        })
    })
}

fn leaf() -> impl Strategy<Value = Expr> {
    let bits: Vec<Field> = matchable()
        .into_iter()
        .filter(|field| field.width() == 1 && !field.is_text())
        .collect();
    prop_oneof![
        6 => comparison(),
        2 => proptest::sample::select(Predicate::all().collect::<Vec<_>>()).prop_map(Expr::Pred),
        1 => proptest::sample::select(bits).prop_map(Expr::Bit),
        1 => (1u8..3).prop_map(|n| Expr::is_chassis_resident(format!("p{n}"))),
        1 => any::<bool>().prop_map(Expr::Bool),
    ]
}

/// Well-typed expressions.
fn expr() -> impl Strategy<Value = Expr> {
    leaf()
        .prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::all),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::any),
                inner.prop_map(|e| !e),
            ]
        })
        .prop_filter("well typed", |expr| check(expr).is_ok())
}

/// Packets that are of a real protocol more often than chance would have it.
fn packet() -> impl Strategy<Value = Packet> {
    let kind = proptest::sample::select(vec![
        (0x800, 6),
        (0x800, 17),
        (0x800, 1),
        (0x800, 2),
        (0x86dd, 6),
        (0x86dd, 17),
        (0x86dd, 58),
        (0x86dd, 132),
        (0x806, 0),
        (0x8035, 0),
        (0x9999, 0),
    ]);
    let all: Vec<OfField> = (0..16)
        .map(OfField::Reg)
        .chain(OfField::NAMED.iter().copied())
        .collect();
    let values: Vec<_> = all.iter().map(|of| value(of.width())).collect();
    (kind, values, any::<bool>(), 130u8..144).prop_map(
        move |((eth_type, proto), values, nd, icmp6)| {
            let mut packet = Packet::new();
            for (of, value) in all.iter().zip(values) {
                packet.write(*of, value);
            }
            packet.write(OfField::EthType, eth_type);
            packet.write(OfField::IpProto, proto);
            if nd {
                packet.write(OfField::Icmp6Type, u128::from(icmp6));
                packet.write(OfField::Icmp6Code, 0);
                packet.write(OfField::IpTtl, 255);
            }
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn text_round_trip(expr in expr()) {
        let text = expr.to_string();
        let parsed = parse_match(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(&parsed, &expr, "{}", text);
    }

    #[test]
    fn simplified_means_the_same(expr in expr(), packets in proptest::collection::vec(packet(), 8)) {
        let env = names();
        let simple = simplify(expr.clone());
        prop_assert!(check(&simple).is_ok(), "{} -> {}", expr, simple);
        for packet in &packets {
            prop_assert_eq!(eval(&simple, packet, &env), eval(&expr, packet, &env), "{} -> {}", expr, simple);
        }
    }

    #[test]
    fn lowered_means_the_same(expr in expr(), packets in proptest::collection::vec(packet(), 12)) {
        let env = names();
        let annotated = annotate(&expr);
        let lowered = to_openflow(&expr, &env);
        prop_assert!(lowered.inexpressible.is_empty(), "{:?}", lowered.inexpressible);
        for packet in &packets {
            let wanted = eval(&expr, packet, &env);
            prop_assert_eq!(eval(&annotated, packet, &env), wanted, "{} -> {}", expr, annotated);
            prop_assert_eq!(lowered.matches(packet), wanted, "{} on {:?}\n{:?}", expr, packet.nonzero().collect::<Vec<_>>(), lowered);
        }
        if let Some(packet) = weft_lang::microflow(&expr, &env) {
            prop_assert!(eval(&expr, &packet, &env), "{} does not hold for its own microflow", expr);
        }
    }

    #[test]
    fn parsers_never_panic(text in "[a-z0-9.$@\"(){}\\[\\]=<>!&|;:,/ -]{0,60}") {
        let _ = parse_match(&text);
        let _ = weft_lang::parse_actions(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn members_in_place_of_made_up_ones_mean_the_same(
        (first, second, on) in (expr(), expr(), proptest::sample::select(vec![field::IP4_SRC, field::IP6_DST, field::ETH_SRC])),
        packets in proptest::collection::vec(packet(), 12),
    ) {
        let env = names();
        let compared = on.in_set("as1");
        for expr in [
            Expr::all([compared.clone(), first.clone()]),
            Expr::any([Expr::all([compared.clone(), first.clone()]), second.clone()]),
            Expr::all([Expr::any([compared, first]), second]),
        ] {
            let Some(templated) = to_templates(&expr, &env, |set| set == "as1") else {
                continue;
            };
            let whole = instantiated(&templated, &env);
            for packet in &packets {
                let wanted = eval(&expr, packet, &env);
                prop_assert_eq!(whole.matches(packet), wanted, "{} on {:?}\n{:?}", expr, packet.nonzero().collect::<Vec<_>>(), whole);
            }
        }
    }
}

/// The flows with the members that sets have.
fn instantiated(templated: &Templated, env: &Names) -> Lowered {
    let mut whole = templated.rest.clone();
    for set in &templated.sets {
        let members = env.address_set(&set.set).unwrap();
        for bits in members.iter().filter_map(|member| set.member(member)) {
            let flows = set.flows.iter().map(|flow| FlowMatch {
                fields: flow.fields.iter().chain(&bits).copied().collect(),
                kind: flow.kind.clone(),
            });
            whole.flows.extend(flows);
        }
    }
    whole
}

#[test]
fn what_can_be_templated() {
    let env = names();
    let sets = |text: &str| {
        let templated = to_templates(&parse_match(text).unwrap(), &env, |set| set == "as1")?;
        Some((
            templated.rest.flows.len(),
            templated
                .sets
                .iter()
                .map(|set| set.flows.len())
                .collect::<Vec<_>>(),
        ))
    };
    assert_eq!(sets("ip4.src == $as1"), Some((0, vec![1])));
    assert_eq!(sets("ip4.src == $as1 && tcp.dst == 80"), Some((0, vec![1])));
    // A conjunctive match: clauses for ports, the flow that applies, and a clause for each member.
    assert_eq!(
        sets("ip4.src == $as1 && tcp.dst == {80, 443}"),
        Some((3, vec![1]))
    );
    assert_eq!(
        sets("ip4.src == $as1 && ip4.dst == $as1"),
        Some((1, vec![1, 1]))
    );
    assert_eq!(
        sets("ip4.src == $as1 || ip6.src == $as1 || udp"),
        Some((2, vec![1, 1]))
    );
    assert_eq!(sets("ip4.src == {$as1, 10.0.0.7}"), Some((1, vec![1])));
    for not in [
        "ip4.src == $empty",
        "ip4.src != $as1",
        "!(ip4.src == $as1)",
        "ip4.src == $as1 && ip4.src == 10.0.0.0/8",
        "ip4.src == $as1 || (ip4.src == $as1 && tcp)",
        "tcp.dst == $as1",
        "eth.dst == $as1 && eth.mcast",
    ] {
        assert_eq!(sets(not), None, "{not}");
    }
}

/// Conjunctions of choices, large enough for conjunctive matches.
fn choices() -> impl Strategy<Value = Expr> {
    let few = |field: Field| {
        proptest::collection::vec(0u32..6, 1..5).prop_map(move |values| field.one_of(values))
    };
    let relation = |field: Field| prop_oneof![3 => few(field), 1 => (0u32..6).prop_map(move |v| field.ne(v)), 1 => (0u32..6).prop_map(move |v| field.ge(v))];
    let block = (
        few(field::IP4_SRC),
        relation(field::TCP_DST),
        relation(field::REG0),
        relation(field::REG1),
        any::<bool>(),
    )
        .prop_map(|(a, b, c, d, e)| {
            Expr::all([
                a,
                b,
                c | if e {
                    field::INPORT.in_group("pg1")
                } else {
                    field::REG2.eq(1)
                },
                d,
            ])
        });
    (block.clone(), block, 0..3u8).prop_map(|(a, b, how)| match how {
        0 => a,
        1 => a | b,
        _ => Expr::all([a, field::UDP_SRC.eq(1) | b]),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn conjunctive_matches_mean_the_same(expr in choices(), packets in proptest::collection::vec(proptest::collection::vec(0u32..6, 6), 30)) {
        let env = names();
        let lowered = to_openflow(&expr, &env);
        for values in packets {
            let mut packet = Packet::new();
            packet.write(OfField::EthType, 0x800);
            packet.write(OfField::IpProto, 6);
            let fields = [field::IP4_SRC, field::TCP_DST, field::REG0, field::REG1, field::REG2, field::INPORT];
            for (field, value) in fields.into_iter().zip(values) {
                packet.set(field, value.into());
            }
            prop_assert_eq!(lowered.matches(&packet), eval(&expr, &packet, &env), "{} {:?}", expr, lowered);
        }
        // Every flow of a conjunctive match tells Open vSwitch what its fields need.
        for flow in &lowered.flows {
            let has = |field| flow.fields.iter().any(|bits| bits.field == field);
            prop_assert!(!has(OfField::TcpDst) || has(OfField::IpProto) && has(OfField::EthType), "{:?}", flow);
            prop_assert!(!has(OfField::Ip4Src) || has(OfField::EthType), "{:?}", flow);
        }
    }
}

#[test]
fn choices_make_conjunctive_matches() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made = (0..100).filter(|_| {
        let expr = choices().new_tree(&mut runner).unwrap().current();
        to_openflow(&expr, &names()).groups > 0
    });
    assert!(made.count() > 20);
}

#[test]
fn tables_are_sound() {
    for predicate in Predicate::all() {
        assert!(parse_match(predicate.expansion()).is_ok(), "{predicate}");
        assert!(
            Field::by_name(predicate.name()).is_none(),
            "{predicate} is both"
        );
    }
    for field in Field::all() {
        let condition = field.symbol().prerequisite;
        assert!(
            condition.is_empty()
                || Predicate::by_name(condition).is_some()
                || condition == "ct.trk",
            "{field}"
        );
        assert_eq!(Field::by_name(field.symbol().name), Some(field));
        if field.symbol().home != Home::Controller {
            let covered: u8 = field.pieces().map(|piece| piece.len).sum();
            assert_eq!(covered, field.width(), "{field}");
        }
    }
    assert_eq!(
        field::XXREG0.bits(96..=127).pieces().next().unwrap().of,
        OfField::Reg(0)
    );
}
