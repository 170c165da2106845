//! What a chassis does most, on one switch: compile, compare, encode, answer packets. `cargo bench -p weft-controller`.
#![allow(missing_docs)]

use std::time::Instant;

use weft_controller::core::Core;
use weft_controller::install::{Batch, Installer, Step};
use weft_controller::pinctrl::{Now, PinCtrl};
use weft_controller::program::{Controller, Settings};
use weft_controller::testing::{local_database, map};
use weft_engine::Delta;
use weft_openflow::{
    Action, ActionList, Field, FlowStats, Instructions, Match, Message, PacketIn, PacketInReason,
    ToMessage,
};
use weft_ovsdb::model::{RowUpdate, Str, Uuid};
use weft_packet::{Ethernet, IpHeader, Mac, ethertype, transport};
use weft_schemas::sb;

fn main() {
    divan::main();
}

const SWITCH: Uuid = Uuid(7 << 96);

fn uuid(sort: u32, n: usize) -> Uuid {
    Uuid(u128::from(sort) << 96 | (n as u128 + 1))
}

/// A chassis with one switch of so many ports, half of them here.
fn switch(ports: usize) -> Core {
    let mut core = Core::new(Settings::default()).expect("the kinds have no circle");
    let ids: Vec<String> = (0..ports / 2).map(|n| format!("p{n}")).collect();
    core.apply_vs(local_database(&ids), false);
    let datapath = sb::DatapathBinding {
        tunnel_key: 3,
        ..Default::default()
    };
    let mut rows: Vec<sb::Update> = vec![RowUpdate::insert(SWITCH, datapath).into()];
    for n in 0..ports {
        let row = sb::PortBinding {
            logical_port: format!("p{n}").into(),
            datapath: SWITCH,
            tunnel_key: n as i64 + 1,
            ..Default::default()
        };
        rows.push(RowUpdate::insert(uuid(2, n), row).into());
    }
    core.apply_sb(rows, false);
    core
}

fn flow(n: usize, table: i64, match_: &str, actions: &str) -> sb::Update {
    let row = sb::LogicalFlow {
        logical_datapath: Some(SWITCH),
        pipeline: "ingress".into(),
        table_id: table,
        priority: 50,
        match_: match_.into(),
        actions: actions.into(),
        ..Default::default()
    };
    RowUpdate::insert(uuid(100 + n as u32, 0), row).into()
}

/// What northd says of each port: who may send, who answers ARP, where packets go, who is balanced.
fn flows_of_ports(ports: usize) -> Vec<sb::Update> {
    let of_port = |n: usize| {
        let (ip, mac) = (
            format!("10.0.{}.{}", n >> 8, n & 255),
            format!("0a:00:00:00:{:02x}:{:02x}", n >> 8, n & 255),
        );
        [
            flow(
                4 * n,
                0,
                &format!("inport == \"p{n}\" && eth.src == {mac}"),
                "next;",
            ),
            flow(
                4 * n + 1,
                20,
                &format!("arp.tpa == {ip} && arp.op == 1"),
                &format!(
                    "eth.dst = eth.src; eth.src = {mac}; arp.op = 2; arp.tha = arp.sha; arp.sha = {mac}; \
                     arp.tpa = arp.spa; arp.spa = {ip}; outport = inport; flags.loopback = 1; output;"
                ),
            ),
            flow(
                4 * n + 2,
                25,
                &format!("eth.dst == {mac}"),
                &format!("outport = \"p{n}\"; output;"),
            ),
            flow(
                4 * n + 3,
                12,
                &format!(
                    "ct.new && ip4.dst == 10.96.{}.{} && tcp.dst == 80",
                    n >> 8,
                    n & 255
                ),
                &format!("reg0[1] = 0; ct_lb_mark(backends={ip}:8080);"),
            ),
        ]
    };
    (0..ports).flat_map(of_port).collect()
}

fn settled(ports: usize) -> (Core, Delta<Controller>) {
    let mut core = switch(ports);
    core.apply_sb(flows_of_ports(ports), false);
    let delta = core.run();
    (core, delta)
}

#[divan::bench(args = [100, 1_000], sample_count = 10)]
fn compile_a_switch(bencher: divan::Bencher<'_, '_>, ports: usize) {
    let flows = || {
        let mut core = switch(ports);
        core.apply_sb(flows_of_ports(ports), false);
        core
    };
    bencher
        .with_inputs(flows)
        .bench_local_values(|mut core| (core.run().added.len(), core));
}

#[divan::bench(args = [100, 1_000])]
fn one_more_port(bencher: divan::Bencher<'_, '_>, ports: usize) {
    let (mut core, _) = settled(ports);
    let row = sb::PortBinding {
        logical_port: "more".into(),
        datapath: SWITCH,
        tunnel_key: ports as i64 + 1,
        ..Default::default()
    };
    let more = || vec![RowUpdate::insert(uuid(2, ports), row.clone()).into()];
    let none = || vec![RowUpdate::<sb::PortBinding>::delete(uuid(2, ports)).into()];
    bencher.bench_local(|| {
        core.apply_sb(more(), false);
        let came = core.run().added.len();
        core.apply_sb(none(), false);
        (came, core.run().removed.len())
    });
}

/// A rule of a group of ports and a set of addresses: a conjunctive match.
#[divan::bench(args = [(10, 100), (50, 1_000)], sample_count = 10)]
fn conjunctive_rule(bencher: divan::Bencher<'_, '_>, (ports, addresses): (usize, usize)) {
    let group = sb::PortGroup {
        name: "3_pg".into(),
        ports: (0..ports).map(|n| Str::from(format!("p{n}"))).collect(),
    };
    let set = sb::AddressSet {
        name: "as".into(),
        addresses: (0..addresses)
            .map(|n| Str::from(format!("10.1.{}.{}", n >> 8, n & 255)))
            .collect(),
        ..Default::default()
    };
    let rule = || {
        let mut core = switch(2 * ports);
        core.run();
        let text = "inport == @pg && ip4.dst == $as && tcp.dst == {80, 443, 8080}";
        let rows = vec![
            RowUpdate::insert(uuid(5, 0), group.clone()).into(),
            RowUpdate::insert(uuid(6, 0), set.clone()).into(),
            flow(0, 8, text, "next;"),
        ];
        core.apply_sb(rows, false);
        core
    };
    bencher
        .with_inputs(rule)
        .bench_local_values(|mut core| (core.run().added.len(), core));
}

fn batch_of(installer: &mut Installer, delta: &Delta<Controller>) -> Batch {
    installer.apply(delta.removed.iter(), delta.added.iter());
    installer.batch()
}

fn messages(batch: &Batch) -> Vec<Message> {
    let steps = batch.bundle.iter();
    steps.map(|step| step.to_message().into_owned()).collect()
}

/// An empty bridge gets everything.
#[divan::bench(args = [1_000], sample_count = 10)]
fn first_difference(bencher: divan::Bencher<'_, '_>, ports: usize) {
    let (_core, delta) = settled(ports);
    bencher
        .with_inputs(Installer::default)
        .bench_local_values(|mut installer| {
            batch_of(&mut installer, &delta).bundle.len();
            installer
        });
}

/// A restart finds everything there.
#[divan::bench(args = [1_000], sample_count = 10)]
fn difference_after_a_restart(bencher: divan::Bencher<'_, '_>, ports: usize) {
    let (_core, delta) = settled(ports);
    let stats = |message: Message| match message {
        Message::FlowMod(flow) => Some(FlowStats {
            table: flow.table,
            priority: flow.priority,
            matching: flow.matching,
            cookie: flow.cookie,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: 0,
            counters: Default::default(),
            instructions: flow.instructions,
        }),
        _ => None,
    };
    let first = batch_of(&mut Installer::default(), &delta);
    let there: Vec<FlowStats> = messages(&first).into_iter().filter_map(stats).collect();
    bencher
        .with_inputs(|| there.clone())
        .bench_local_values(|there| {
            let mut installer = Installer::default();
            installer.read_back(there, Vec::new(), Vec::new());
            let batch = batch_of(&mut installer, &delta);
            let is_flow = |step: &Step| matches!(step, Step::Flow { .. });
            assert!(!batch.bundle.iter().any(is_flow), "all flows were there");
            installer
        });
}

#[divan::bench(args = [1_000])]
fn encode_flow_mods(bencher: divan::Bencher<'_, '_>, ports: usize) {
    let (_core, delta) = settled(ports);
    let batch = batch_of(&mut Installer::default(), &delta);
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        for step in &batch.bundle {
            let encoded = step.to_message().encode(1, &mut out);
            encoded.expect("flows of a switch fit into messages");
        }
        out.len()
    });
}

/// The packet-in that a logical action makes, as its flow says it.
fn packet_in(core: &mut Core, actions: &str, packet: Vec<u8>) -> PacketIn {
    let before: Vec<sb::Update> = vec![flow(5_000, 15, "udp || arp || ip4", actions)];
    core.apply_sb(before, false);
    let added = core.run().added;
    let batch = {
        let mut installer = Installer::default();
        installer.apply([].iter(), added.iter());
        installer.batch()
    };
    let to_controller = |list: &ActionList| {
        list.iter().find_map(|action| match action {
            Action::Controller(controller) => Some(controller.userdata.to_vec()),
            _ => None,
        })
    };
    let of_flow = |message: Message| match message {
        Message::FlowMod(flow) => {
            let Instructions { apply, .. } = &flow.instructions;
            to_controller(apply)
        }
        _ => None,
    };
    let userdata = messages(&batch).into_iter().find_map(of_flow);
    PacketIn {
        full_len: packet.len() as u32,
        packet,
        reason: PacketInReason::Action,
        table: 23,
        cookie: 0,
        metadata: Match::any()
            .with(Field::Metadata, 3u32)
            .with(Field::Reg14, 1u32)
            .with(Field::Reg15, 2u32),
        userdata: userdata.expect("the action sends packets up"),
        continuation: Some(vec![9; 64]),
    }
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let ip = IpHeader::V4 {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
    };
    let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4);
    transport::udp(&ethernet, ip, 64, from, to, payload)
}

fn discover() -> Vec<u8> {
    let mut payload = vec![0; 240];
    payload[..4].copy_from_slice(&[1, 1, 6, 0]);
    payload[28..34].copy_from_slice(&[4; 6]);
    payload[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    payload.extend([53, 1, 1, 255]);
    udp(68, 67, &payload)
}

fn question() -> Vec<u8> {
    let mut payload = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    payload.extend(b"\x03vm1\x03ovn\x03org\x00\x00\x01\x00\x01");
    udp(40_000, 53, &payload)
}

#[divan::bench(args = ["arp", "dhcp", "dns"])]
fn answer_a_packet(bencher: divan::Bencher<'_, '_>, what: &str) {
    let mut core = switch(10);
    let option = sb::DhcpOptions {
        name: "router".into(),
        code: 3,
        type_: "ipv4".into(),
    };
    let offer = sb::DhcpOptions {
        name: "offerip".into(),
        code: 0,
        type_: "ipv4".into(),
    };
    let names = sb::Dns {
        records: map(&[("vm1.ovn.org", "10.0.0.4")]),
        datapaths: [SWITCH].into(),
        ..Default::default()
    };
    let rows = vec![
        RowUpdate::insert(uuid(30, 0), option).into(),
        RowUpdate::insert(uuid(30, 1), offer).into(),
        RowUpdate::insert(uuid(31, 0), names).into(),
    ];
    core.apply_sb(rows, false);
    let (actions, packet) = match what {
        "arp" => (
            "arp { eth.dst = ff:ff:ff:ff:ff:ff; arp.op = 1; output; };",
            udp(1, 2, b"held"),
        ),
        "dhcp" => (
            "reg0[3] = put_dhcp_opts(offerip = 10.0.0.4, router = 10.0.0.1); next;",
            discover(),
        ),
        _ => ("reg0[4] = dns_lookup(); next;", question()),
    };
    let packet = packet_in(&mut core, actions, packet);
    let mut responders = PinCtrl::default();
    let now = Now {
        instant: Instant::now(),
        ms: 0,
    };
    assert!(
        !responders.packet_in(&packet, &core, now).is_empty() || what == "arp",
        "{what} is answered"
    );
    bencher.bench_local(|| responders.packet_in(&packet, &core, now));
}
