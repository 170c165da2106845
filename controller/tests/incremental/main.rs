//! Whatever the order of changes, the controller wants what a fresh start would want.
//!
//! Random edits of southbound and Open vSwitch rows, some of them senseless, disconnects (snapshots) among them. After
//! each handful the outputs of the running core are compared with those of a new one that sees the same rows for the first
//! time with the same ledgers; so are the flow tables of the installers behind them.
#![allow(clippy::unwrap_used)]

mod hosts;
mod logical;
mod world;

use weft_controller::program::Output;
use weft_ovsdb::model::{Map, Row, RowUpdate, Str, Table, Uuid};
use weft_schemas::{sb, vs};

use world::World;

/// Edits for each seed.
const EDITS: usize = 700;
/// Edits between two comparisons, at most.
const STRIDE: usize = 8;

fn uuid(sort: u32, n: usize) -> Uuid {
    Uuid(u128::from(sort) << 96 | 0xabcd_0000 << 32 | (n as u128 + 1))
}

fn s(text: &str) -> Str {
    text.into()
}

fn map(pairs: &[(&str, &str)]) -> Map<Str, Str> {
    pairs.iter().map(|(k, v)| (s(k), s(v))).collect()
}

const DATAPATHS: usize = 6;
const PORTS: usize = 18;
const CHASSIS: usize = 4;
const FLOWS: usize = 30;

const MATCHES: &[&str] = &[
    "ip4.dst == ^VIP",
    "1",
    "ip4.dst == 10.0.0.0/24 && tcp",
    "inport == \"p1\" && eth.src == 00:00:00:00:00:01",
    "outport == \"p2\"",
    "outport == \"_MC_flood\" && ip6",
    "ip4.src == $as1 && tcp.dst == {80, 443, 8080, 22}",
    "ip4.src == $as1 && ip4.dst == $as2",
    "inport == @pg1 && udp",
    "is_chassis_resident(\"p3\") && ip4",
    "!is_chassis_resident(\"cr\") && arp",
    "ip.ttl == {0, 1} && tcp.src != 5",
    "this is no match",
    "inport == \"p4\" && outport == \"none\"",
];

const ACTIONS: &[&str] = &[
    "ct_lb_mark(backends=^B);",
    "mirror(\"p1\"); next;",
    "next;",
    "drop;",
    "output;",
    "outport = \"p2\"; output;",
    "outport = \"_MC_flood\"; output;",
    "reg0[3] = 1; next;",
    "ct_next;",
    "ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:80);",
    "ct_lb_mark_local(backends=\"p1\":10.0.0.1:80,\"p3\":10.0.0.2:80);",
    "ct_commit { ct_mark.blocked = 1; }; next;",
    "get_arp(outport, reg0); next;",
    "arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };",
    "log(name=\"x\", meter=\"m1\"); next;",
    "nonsense(1);",
    "reg0[3] = put_dhcp_opts(offerip = 10.0.0.1, router = 10.0.0.254, mtu = 1400); next;",
    "reg0[3] = put_dhcpv6_opts(ia_addr = fd00::1, server_id = 0a:00:00:00:ff:02); next;",
    "reg9[7] = dhcp_relay_req_chk(10.0.0.254, 10.1.0.1); next;",
    "clone { outport = \"p5\"; output; }; next;",
    "reg8[0..15] = select(1=20, 2=30);",
    "fwd_group(liveness=\"true\", childports=\"p1\", \"p2\");",
    "fwd_group(childports=\"p4\");",
    "reg0[4] = dns_lookup(); next;",
    "mac_cache_use; next;",
    "reg0[5] = put_nd_ra_opts(addr_mode = \"slaac\", slla = 0a:00:00:00:00:01, prefix = fd00::/64); next;",
];

const TYPES: &[&str] = &[
    "",
    "",
    "",
    "patch",
    "patch",
    "localnet",
    "localport",
    "l3gateway",
    "l2gateway",
    "chassisredirect",
    "virtual",
    "mirror",
];

fn text(output: &Output) -> String {
    format!("{output:?}")
}

fn settings(encaps: &str) -> Map<Str, Str> {
    map(&[
        ("system-id", "c0"),
        ("hostname", "host0"),
        ("ovn-encap-type", encaps),
        ("ovn-encap-ip", "1.1.1.0"),
        ("ovn-bridge-mappings", "phys:br-ex"),
    ])
}

fn rows<R: Row, U: From<RowUpdate<R>>>(table: &Table<R>, out: &mut Vec<U>) {
    let mut all: Vec<(Uuid, &R)> = table.iter().collect();
    all.sort_by_key(|(uuid, _)| *uuid);
    out.extend(
        all.into_iter()
            .map(|(uuid, row)| RowUpdate::insert(uuid, row.clone()).into()),
    );
}

fn everything(db: &sb::Db) -> Vec<sb::Update> {
    let mut out = Vec::new();
    rows(&db.port_binding, &mut out);
    rows(&db.datapath_binding, &mut out);
    rows(&db.chassis, &mut out);
    rows(&db.encap, &mut out);
    rows(&db.logical_flow, &mut out);
    rows(&db.logical_dp_group, &mut out);
    rows(&db.multicast_group, &mut out);
    rows(&db.ip_multicast, &mut out);
    rows(&db.igmp_group, &mut out);
    rows(&db.mac_binding, &mut out);
    rows(&db.static_mac_binding, &mut out);
    rows(&db.fdb, &mut out);
    rows(&db.mirror, &mut out);
    rows(&db.address_set, &mut out);
    rows(&db.port_group, &mut out);
    rows(&db.ha_chassis, &mut out);
    rows(&db.ha_chassis_group, &mut out);
    rows(&db.gateway_chassis, &mut out);
    rows(&db.sb_global, &mut out);
    rows(&db.meter, &mut out);
    rows(&db.meter_band, &mut out);
    rows(&db.dhcp_options, &mut out);
    rows(&db.dhcpv6_options, &mut out);
    rows(&db.load_balancer, &mut out);
    rows(&db.chassis_template_var, &mut out);
    rows(&db.dns, &mut out);
    out
}

fn everything_vs(db: &vs::Db) -> Vec<vs::Update> {
    let mut out = Vec::new();
    rows(&db.open_vswitch, &mut out);
    rows(&db.bridge, &mut out);
    rows(&db.port, &mut out);
    rows(&db.interface, &mut out);
    rows(&db.qos, &mut out);
    rows(&db.queue, &mut out);
    out
}

/// Edits at random; returns how many flows were wanted at most.
fn play(seed: u64) -> usize {
    let mut world = World::new(seed);
    world.run();
    let mut flows = 0;
    let mut edits = 0;
    let wanted = std::env::var("WEFT_EDITS").ok();
    let wanted = wanted.and_then(|text| text.parse().ok());
    let wanted = wanted.unwrap_or(EDITS);
    while edits < wanted {
        for _ in 0..1 + world.pick(STRIDE) {
            world.edit();
            edits += 1;
        }
        if world.chance(3) {
            world.reconnect();
        }
        world.run();
        world.compare(&format!("seed {seed}, after {edits} edits"));
        flows = flows.max(world.installer.wanted_count());
    }
    flows
}

fn play_chosen(seed: u64) {
    let flows = play(seed);
    assert!(
        flows > 100,
        "the edits never made anything worth comparing: {flows} flows at most"
    );
}

#[test]
fn what_is_read_is_among_the_edits() {
    let mut world = World::new(7);
    for _ in 0..250 {
        for _ in 0..20 {
            world.edit();
        }
        world.run();
    }
    let missing = world.seen.missing();
    assert!(missing.is_empty(), "read but never changed: {missing:?}");
}

#[test]
fn incremental_equals_from_scratch_seed_1() {
    play_chosen(1);
}

#[test]
fn incremental_equals_from_scratch_seed_2() {
    play_chosen(2);
}

#[test]
fn incremental_equals_from_scratch_seed_3() {
    play_chosen(3);
}

#[test]
fn incremental_equals_from_scratch_fresh_seed() {
    play(weft_engine::testing::seed());
}
