//! Any packets with any user data, at any ports, over any time: answered or refused, never a panic, and what is answered can be
//! sent. Shared by the fuzz target `packet_in` and the test beside this file, which runs its seeds and changed copies of them.
//!
//! An input is a series of packets, each with a head of nine bytes:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the opcode's place among all |
//! | 1 | bits 0 to 2: key of the port; 3: at the router; 4: the packet is paused; 5: what was written before failed; 6: time passes |
//! | 4 | register 0 |
//! | 1 | length of what the opcode is given |
//! | 2 | length of the packet, big-endian |

use std::time::{Duration, Instant};

use weft_controller::actions::opcode::Opcode;
use weft_controller::core::Core;
use weft_controller::pinctrl::{Effect, Now, PinCtrl};
use weft_controller::program::{Controller, Settings};
use weft_controller::testing::{local_database, map};
use weft_engine::Delta;
use weft_openflow::{Field, Match, PacketIn, PacketInReason};
use weft_ovsdb::model::{RowUpdate, Str, Uuid};
use weft_ovsdb::txn::TxnError;
use weft_schemas::sb;

const CHASSIS: Uuid = Uuid(1);
const SWITCH: Uuid = Uuid(2);
const ROUTER: Uuid = Uuid(3);

/// Keys of both datapaths.
const KEYS: [u32; 2] = [3, 4];

fn port(key: i64, name: &str, kind: &str, datapath: Uuid, options: &[(&str, &str)]) -> sb::Update {
    let row = sb::PortBinding {
        logical_port: name.into(),
        type_: kind.into(),
        datapath,
        tunnel_key: key,
        chassis: Some(CHASSIS),
        mac: [Str::from("0a:00:00:00:00:01 10.0.0.1 fd00::1")].into(),
        options: map(options),
        ..Default::default()
    };
    RowUpdate::insert(Uuid(datapath.0 << 64 | key as u128), row).into()
}

/// A chassis with a switch and a router on which all that answers packets has something to do.
pub struct World {
    core: Core,
    /// What there was to follow until then.
    changes: Vec<sb::Change>,
    delta: Delta<Controller>,
}

/// Makes it.
pub fn world() -> World {
    let mut core = Core::new(Settings::default()).expect("the kinds have no circle");
    core.apply_vs(local_database(&["vm", "twin"]), false);
    let chassis = sb::Chassis {
        name: "c0".into(),
        ..Default::default()
    };
    let mut rows: Vec<sb::Update> = vec![RowUpdate::insert(CHASSIS, chassis).into()];
    for (uuid, tunnel_key) in [(SWITCH, KEYS[0]), (ROUTER, KEYS[1])] {
        let row = sb::DatapathBinding {
            tunnel_key: tunnel_key.into(),
            ..Default::default()
        };
        rows.push(RowUpdate::insert(uuid, row).into());
    }
    let outside = [
        ("l3gateway-chassis", "c0"),
        ("ipv6_prefix_delegation", "true"),
        ("ipv6_prefix", "true"),
        ("ipv6_ra_send_periodic", "true"),
        ("ipv6_ra_address_mode", "slaac"),
        ("ipv6_ra_src_eth", "0a:00:00:00:ff:01"),
        ("ipv6_ra_src_addr", "fe80::1"),
        ("ipv6_ra_prefixes", "fd00::/64"),
        ("ipv6_ra_min_interval", "3"),
        ("ipv6_ra_max_interval", "4"),
    ];
    let twin = [
        ("requested-chassis", "c1,c0"),
        ("activation-strategy", "rarp"),
    ];
    rows.extend([
        port(1, "vm", "", SWITCH, &[]),
        port(
            2,
            "sw-r",
            "l3gateway",
            SWITCH,
            &[("peer", "r-sw"), ("l3gateway-chassis", "c0")],
        ),
        port(3, "vip", "virtual", SWITCH, &[("virtual-parents", "vm")]),
        port(4, "twin", "", SWITCH, &twin),
        port(
            1,
            "r-sw",
            "l3gateway",
            ROUTER,
            &[("peer", "sw-r"), ("l3gateway-chassis", "c0")],
        ),
        port(2, "r-out", "l3gateway", ROUTER, &outside),
    ]);
    rows.extend(subjects());
    let changes = core.apply_sb(rows, false);
    let delta = core.run();
    World {
        core,
        changes,
        delta,
    }
}

/// What sessions, probes, names and groups are about.
fn subjects() -> [sb::Update; 5] {
    let names = sb::Dns {
        records: map(&[
            ("vm.example", "10.0.0.1 fd00::1"),
            ("1.0.0.10.in-addr.arpa", "vm.example"),
        ]),
        datapaths: [SWITCH].into(),
        ..Default::default()
    };
    let owned = sb::Dns {
        records: map(&[("own.example", "10.0.0.2")]),
        datapaths: [SWITCH].into(),
        options: map(&[("ovn-owned", "true")]),
        ..Default::default()
    };
    let snooped = sb::IpMulticast {
        datapath: SWITCH,
        enabled: Some(true),
        querier: Some(true),
        table_size: Some(3),
        eth_src: "0a:00:00:00:00:02".into(),
        ip4_src: "10.0.0.254".into(),
        ip6_src: "fe80::2".into(),
        ..Default::default()
    };
    let session = sb::Bfd {
        logical_port: "r-out".into(),
        dst_ip: "172.16.0.2".into(),
        src_port: 49152,
        disc: 77,
        min_tx: 100,
        min_rx: 100,
        detect_mult: 3,
        status: "down".into(),
        chassis_name: "c0".into(),
        ..Default::default()
    };
    let probed = sb::ServiceMonitor {
        logical_port: "vm".into(),
        ip: "10.0.0.1".into(),
        port: 80,
        protocol: Some("tcp".into()),
        src_ip: "10.0.0.254".into(),
        src_mac: "0a:00:00:00:00:fe".into(),
        chassis_name: "c0".into(),
        options: map(&[("interval", "1"), ("timeout", "1")]),
        ..Default::default()
    };
    [
        RowUpdate::insert(Uuid(21), names).into(),
        RowUpdate::insert(Uuid(22), owned).into(),
        RowUpdate::insert(Uuid(23), snooped).into(),
        RowUpdate::insert(Uuid(24), session).into(),
        RowUpdate::insert(Uuid(25), probed).into(),
    ]
}

/// What goes ahead of a packet in an input.
const HEAD: usize = 9;

/// Takes one packet off an input: the packet-in, and the bits of its second byte.
fn next(input: &mut &[u8]) -> Option<(PacketIn, u8)> {
    let (head, rest) = input.split_first_chunk::<HEAD>()?;
    let [opcode, bits, r0, r1, r2, r3, params, high, low] = *head;
    let opcode = Opcode::ALL[usize::from(opcode) % Opcode::ALL.len()];
    let (params, rest) = rest.split_at(usize::from(params).min(rest.len()));
    let len = usize::from(u16::from_be_bytes([high, low]));
    let (packet, rest) = rest.split_at(len.min(rest.len()));
    *input = rest;
    let metadata = Match::any()
        .with(Field::Metadata, KEYS[usize::from(bits >> 3 & 1)])
        .with(Field::Reg14, u32::from(bits & 7))
        .with(Field::Reg15, u32::from(bits & 1) + 1)
        .with(Field::Reg0, u32::from_be_bytes([r0, r1, r2, r3]));
    let packet = PacketIn {
        full_len: packet.len() as u32,
        packet: packet.to_vec(),
        reason: PacketInReason::Action,
        table: 0,
        cookie: 0,
        metadata,
        userdata: opcode.userdata(params).into(),
        continuation: (bits & 16 != 0).then(Vec::new),
    };
    Some((packet, bits))
}

/// Carries effects out as the shell would, and counts them.
fn carry_out(effects: Vec<Effect>, answers: &mut PinCtrl, fails: bool, now: Now) -> usize {
    let count = effects.len();
    for effect in effects {
        match effect {
            Effect::Send(message) => {
                let mut wire = Vec::new();
                message
                    .encode(1, &mut wire)
                    .expect("an answer fits into a message");
            }
            Effect::Write(_) => {
                let result = match fails {
                    true => Err(TxnError::NotConnected),
                    false => Ok(()),
                };
                answers.written(&result, now);
            }
            Effect::Count(_) | Effect::Activate(_) => {}
        }
    }
    count
}

/// Runs an input; returns how much was to be done for its packets at once (what is learned is written later).
pub fn run(world: &World, mut input: &[u8]) -> usize {
    let core = &world.core;
    let mut answers = PinCtrl::default();
    let mut now = Now {
        instant: Instant::now(),
        ms: 1_000_000,
    };
    answers.apply(&world.delta, now);
    answers.follow(&world.changes, core, now);
    // What is asked and announced unasked goes first: answers to it are understood only then.
    let (effects, _) = answers.tick(core, now);
    carry_out(effects, &mut answers, false, now);
    let mut count = 0;
    while let Some((packet, bits)) = next(&mut input) {
        let effects = answers.packet_in(&packet, core, now);
        count += carry_out(effects, &mut answers, false, now);
        if bits & 64 != 0 {
            now.instant += Duration::from_millis(1500);
            now.ms += 1500;
        }
        let (effects, _) = answers.tick(core, now);
        carry_out(effects, &mut answers, bits & 32 != 0, now);
    }
    count
}
