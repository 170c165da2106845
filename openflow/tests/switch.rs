//! Against a real ovs-vswitchd in a network namespace of its own (needs root and Open vSwitch; skipped without).
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weft_openflow::{
    Action, ActionList, Bucket, BundleError, Conn, Controller, Event, Field, FlowMod, FlowSelect,
    Group, GroupMod, GroupType, Match, Message, Meter, MeterBand, MeterCommand, MeterMod,
    PacketOut, Port, Selection, TlvCommand, TlvMap, meter_flags,
};

struct Switch {
    dir: tempfile::TempDir,
    netns: String,
}

impl Switch {
    fn start(name: &str) -> Option<Self> {
        let have = |p: &str| {
            Command::new(p)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        };
        if !have("ovs-vswitchd") || !have("ovsdb-server") {
            return None;
        }
        let netns = format!("weftof{}{name}", std::process::id());
        if !Command::new("ip")
            .args(["netns", "add", &netns])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
        {
            return None;
        }
        let switch = Self {
            dir: tempfile::tempdir().unwrap(),
            netns,
        };
        let d = |f: &str| switch.path(f).display().to_string();
        switch.run(&["ip", "link", "set", "lo", "up"]);
        switch.run(&[
            "ovsdb-tool",
            "create",
            &d("conf.db"),
            "/usr/share/openvswitch/vswitch.ovsschema",
        ]);
        let common = |name: &str| {
            [
                format!("--unixctl={}", d(&format!("{name}.ctl"))),
                format!("--pidfile={}", d(&format!("{name}.pid"))),
            ]
        };
        let [ctl, pid] = common("ovsdb");
        switch.run(&[
            "ovsdb-server",
            &d("conf.db"),
            &format!("--remote=punix:{}", d("db.sock")),
            &ctl,
            &pid,
            "-vconsole:off",
            "--log-file=/dev/null",
            "--detach",
        ]);
        switch.vsctl("--no-wait init");
        let [ctl, pid] = common("vswitchd");
        switch.run(&[
            "ovs-vswitchd",
            &format!("unix:{}", d("db.sock")),
            &ctl,
            &pid,
            "-vconsole:off",
            "--log-file=/dev/null",
            "--detach",
        ]);
        switch.vsctl(
            "add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure \
             -- add-port br-int p1 -- set interface p1 type=internal ofport_request=1 \
             -- add-port br-int p2 -- set interface p2 type=internal ofport_request=2",
        );
        Some(switch)
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(file)
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns]).args(args);
        for var in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(var, self.dir.path());
        }
        let out = command.output().unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    fn vsctl(&self, args: &str) -> String {
        let db = format!("--db=unix:{}", self.path("db.sock").display());
        let args: Vec<&str> = ["ovs-vsctl", "--timeout=20", &db]
            .into_iter()
            .chain(args.split_whitespace())
            .collect();
        self.run(&args)
    }

    fn target(&self) -> String {
        format!("unix:{}", self.path("br-int.mgmt").display())
    }

    fn ofctl(&self, command: &str) -> Vec<String> {
        let out = self.run(&[
            "ovs-ofctl",
            "-O",
            "OpenFlow15",
            "--no-names",
            command,
            &self.target(),
        ]);
        out.lines()
            .filter(|l| !l.contains("reply"))
            .map(|l| l.trim().to_owned())
            .collect()
    }

    async fn connect(&self) -> (Conn, weft_openflow::Events) {
        Conn::connect(&self.target()).await.unwrap()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in ["vswitchd", "ovsdb"] {
            if let Ok(pid) = std::fs::read_to_string(self.path(&format!("{daemon}.pid"))) {
                let _ = Command::new("kill").arg(pid.trim()).status();
                let end = Instant::now() + Duration::from_secs(5);
                while Path::new("/proc").join(pid.trim()).exists() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        let _ = Command::new("ip")
            .args(["netns", "del", &self.netns])
            .status();
    }
}

macro_rules! switch {
    ($name:literal) => {
        match Switch::start($name) {
            Some(switch) => switch,
            None => {
                eprintln!("skipped: no Open vSwitch or no right to make namespaces");
                return;
            }
        }
    };
}

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap())
        .collect()
}

/// Every flow of the captures, told apart by table and cookie.
fn all_flows() -> Vec<FlowMod> {
    let lines = include_str!("flows.txt")
        .lines()
        .filter(|l| !l.starts_with('#'));
    let flows = lines.enumerate().map(|(i, l)| {
        match Message::decode(&unhex(l.split(' ').next().unwrap()))
            .unwrap()
            .1
        {
            Message::FlowMod(mut flow) => {
                flow.priority = 100 + u16::try_from(i).unwrap();
                flow.cookie = u64::try_from(i).unwrap() + 1;
                flow
            }
            other => panic!("{other:?}"),
        }
    });
    flows.collect()
}

async fn prepare(conn: &Conn) {
    conn.request_tlv().await;
    let meter = Meter {
        flags: meter_flags::KBPS | meter_flags::BURST | meter_flags::STATS,
        bands: vec![MeterBand {
            rate: 1000,
            burst_size: 2000,
        }],
    };
    let refused = conn
        .send_all(&[Message::MeterMod(MeterMod {
            command: MeterCommand::Add,
            meter_id: 1,
            meter,
        })])
        .await
        .unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    let group = Group {
        buckets: vec![Bucket::new(0, [Action::Output(Port(1))])],
        ..Group::default()
    };
    conn.send_bundle(&[Message::GroupMod(GroupMod::add(1, group))])
        .await
        .unwrap();
}

trait Tlv {
    async fn request_tlv(&self);
}

impl Tlv for Conn {
    async fn request_tlv(&self) {
        let refused = self
            .send_all(&[Message::TlvTableMod(
                TlvCommand::Add,
                vec![TlvMap::OVN_GENEVE],
            )])
            .await
            .unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(self.tlv_table().await.unwrap().maps, [TlvMap::OVN_GENEVE]);
    }
}

#[tokio::test]
async fn installed_flows_read_back_equal() {
    let switch = switch!("a");
    let (conn, _events) = switch.connect().await;
    prepare(&conn).await;
    let mut flows = all_flows();
    let with_option = Match::any()
        .with_masked(Field::TunMetadata0, 0x10000u32, 0x7fff_0000u32)
        .with(Field::TunId, 5u32);
    let option = [
        Action::set(Field::TunMetadata0, 0x1234u32),
        Action::load(5u32, Field::TunMetadata0.bits(16, 30)),
        Action::copy(Field::Reg14.bits(0, 14), Field::TunMetadata0.bits(16, 30)),
        Action::load(1u32, Field::InPortNxm),
    ];
    flows.push(FlowMod::add(9, 7, with_option, ActionList::from(option)).cookie(777));
    conn.send_bundle(
        &flows
            .iter()
            .cloned()
            .map(Message::FlowMod)
            .collect::<Vec<_>>(),
    )
    .await
    .unwrap();

    assert_eq!(conn.flow_count().await.unwrap() as usize, flows.len());
    let mut read = conn.dump_flows(FlowSelect::default()).await.unwrap();
    read.sort_by_key(|f| f.cookie);
    flows.sort_by_key(|f| f.cookie);
    for (sent, read) in flows.iter().zip(&read) {
        assert_eq!(
            (sent.table, sent.priority, sent.cookie),
            (read.table, read.priority, read.cookie)
        );
        assert_eq!(sent.matching, read.matching, "{sent}");
        assert_eq!(
            sent.instructions,
            read.instructions,
            "{sent}\n{:02x?}\n{:02x?}",
            sent.instructions.apply.wire_bytes(),
            read.instructions.apply.wire_bytes()
        );
    }
    // And ovs-ofctl shows each as this crate does.
    let shown = switch.ofctl("dump-flows");
    for flow in flows
        .iter()
        .filter(|f| f.instructions.other.is_empty() && !f.instructions.to_string().contains("raw:"))
    {
        let line = shown
            .iter()
            .find(|l| l.contains(&format!("cookie={:#x},", flow.cookie)))
            .unwrap();
        let sep = if flow.matching.is_any() { "" } else { "," };
        let ours = format!(
            "priority={}{sep}{} actions={}",
            flow.priority, flow.matching, flow.instructions
        );
        assert!(line.ends_with(&ours), "{line}\n{ours}");
    }
}

#[tokio::test]
async fn groups_and_meters_read_back_equal() {
    let switch = switch!("b");
    let (conn, _events) = switch.connect().await;
    prepare(&conn).await;
    let bucket = |id, weight, table| Bucket {
        weight,
        watch_port: None,
        ..Bucket::new(id, [Action::resubmit(table)])
    };
    let select = |selection| Group {
        kind: GroupType::Select,
        buckets: vec![bucket(0, 100, 3), bucket(1, 50, 4)],
        selection,
    };
    let groups = [
        (2, select(Some(Selection::DpHash))),
        (
            3,
            select(Some(Selection::Hash(vec![
                (Field::Ipv4Src, u128::from(u32::MAX)),
                (Field::Ipv4Dst, u128::from(u32::MAX)),
            ]))),
        ),
        (4, select(None)),
        (
            5,
            Group {
                kind: GroupType::Indirect,
                buckets: vec![Bucket::new(7, [Action::Output(Port(2))])],
                selection: None,
            },
        ),
    ];
    let adds: Vec<_> = groups
        .iter()
        .map(|(id, g)| Message::GroupMod(GroupMod::add(*id, g.clone())))
        .collect();
    conn.send_bundle(&adds).await.unwrap();
    let read = conn.dump_groups().await.unwrap();
    let shown = switch.ofctl("dump-groups");
    for (id, group) in &groups {
        let found = read.iter().find(|g| g.group_id == *id).unwrap();
        assert_eq!(&found.group, group);
        assert!(shown.contains(&found.to_string()), "{found}\n{shown:?}");
    }
    let (id, group) = (
        5,
        Group {
            buckets: vec![bucket(1, 0, 9), bucket(2, 0, 10)],
            ..Group::default()
        },
    );
    conn.send_bundle(&[
        Message::GroupMod(GroupMod::modify(id, group.clone())),
        Message::GroupMod(GroupMod::delete(4)),
    ])
    .await
    .unwrap();
    let read = conn.dump_groups().await.unwrap();
    assert_eq!(read.iter().find(|g| g.group_id == id).unwrap().group, group);
    assert!(read.iter().all(|g| g.group_id != 4));
    let meters = conn.dump_meters().await.unwrap();
    assert_eq!(
        (
            meters.len(),
            meters[0].meter_id,
            meters[0].meter.bands[0].rate
        ),
        (1, 1, 1000)
    );
    let mut ports: Vec<_> = conn
        .dump_ports()
        .await
        .unwrap()
        .into_iter()
        .map(|p| p.name)
        .collect();
    ports.sort();
    assert_eq!(ports, ["br-int", "p1", "p2"]);
}

#[tokio::test]
async fn bad_flows_are_named_and_the_rest_installed() {
    let switch = switch!("c");
    let (conn, _events) = switch.connect().await;
    let good = |p| {
        Message::FlowMod(FlowMod::add(
            0,
            p,
            Match::any(),
            ActionList::from([Action::Output(Port(1))]),
        ))
    };
    // One that the switch cannot read, two that it cannot do.
    let prerequisite = Message::FlowMod(FlowMod::add(
        0,
        2,
        Match::any().with(Field::TcpDst, 80u16),
        ActionList::new(),
    ));
    let group = |p| {
        Message::FlowMod(FlowMod::add(
            0,
            p,
            Match::any(),
            ActionList::from([Action::Group(99)]),
        ))
    };
    let too_long = Message::FlowMod(FlowMod::add(
        0,
        3,
        Match::any(),
        ActionList::from([Action::Note(vec![0; 70_000].into())]),
    ));
    let all = vec![
        good(1),
        prerequisite,
        too_long,
        good(4),
        group(5),
        good(6),
        group(7),
    ];
    let Err(BundleError::Refused(refused)) = conn.send_bundle(&all).await else {
        panic!("accepted")
    };
    assert!(
        !refused.is_empty() && refused.iter().all(|(i, _)| [1, 2].contains(i)),
        "{refused:?}"
    );
    assert_eq!(conn.flow_count().await.unwrap(), 0);
    let refused = conn.install(all.clone()).await.unwrap();
    let place = |m: &Message| all.iter().position(|other| other == m).unwrap();
    let mut refused: Vec<usize> = refused.iter().map(|(m, _)| place(m)).collect();
    refused.sort_unstable();
    assert_eq!(refused, [1, 2, 4, 6]);
    assert_eq!(conn.flow_count().await.unwrap(), 3);
    conn.send_bundle(&[Message::FlowMod(FlowMod::delete_all())])
        .await
        .unwrap();
    assert_eq!(conn.flow_count().await.unwrap(), 0);
}

#[tokio::test]
async fn packets_come_pause_and_go_on() {
    let switch = switch!("d");
    let (conn, mut events) = switch.connect().await;
    prepare(&conn).await;
    let pause = Action::Controller(Box::new(Controller {
        userdata: [0, 0, 0, 10, 1].into(),
        pause: true,
        ..Controller::default()
    }));
    let again = Action::Controller(Box::new(Controller {
        userdata: [2].into(),
        max_len: 20,
        ..Controller::default()
    }));
    let first = [
        Action::set(Field::Reg14, 9u32),
        Action::set(Field::XXReg0, 1u128 << 100 | 5),
        pause,
        Action::resubmit(1),
    ];
    conn.send_bundle(&[
        Message::FlowMod(
            FlowMod::add(
                0,
                10,
                Match::any().with(Field::Metadata, 5u64),
                ActionList::from(first),
            )
            .cookie(0x77),
        ),
        Message::FlowMod(
            FlowMod::add(
                1,
                10,
                Match::any().with(Field::Reg14, 10u32),
                ActionList::from([again]),
            )
            .cookie(0x78),
        ),
    ])
    .await
    .unwrap();
    let packet: Vec<u8> = [[2u8; 6], [4u8; 6]]
        .concat()
        .into_iter()
        .chain([0x12, 0x34])
        .chain(0..46)
        .collect();
    let mut out = PacketOut::from_port(Port(1), packet.clone(), [Action::resubmit(0)]);
    out.metadata.set(Field::Metadata, 5u64);
    conn.send(&Message::PacketOut(out)).await.unwrap();
    let mut next = async || loop {
        match tokio::time::timeout(Duration::from_secs(10), events.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Event::PacketIn(p) => return p,
            Event::PortStatus(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let mut came = next().await;
    assert_eq!(
        (&came.packet, &came.userdata[..], came.in_port()),
        (&packet, &[0, 0, 0, 10, 1][..], Port(1))
    );
    assert_eq!(came.metadata_value(Field::Metadata), 5);
    assert_eq!(came.metadata_value(Field::Reg14), 9);
    assert_eq!(
        (
            came.metadata_value(Field::Reg0),
            came.metadata_value(Field::Reg3)
        ),
        (16, 5)
    );
    // On its way back both packet and registers are changed.
    came.packet[0] = 6;
    came.metadata.set(Field::Reg14, 10u32);
    conn.send(&Message::Resume(came.resume().unwrap()))
        .await
        .unwrap();
    let came = next().await;
    // Open vSwitch buffers nothing, and so sends the whole packet whatever the limit.
    assert_eq!(
        (
            came.packet.len(),
            came.packet[0],
            &came.userdata[..],
            came.cookie,
            came.table
        ),
        (60, 6, &[2][..], 0x78, 1)
    );
    assert_eq!(came.full_len as usize, packet.len());
    assert!(came.continuation.is_none());
}

/// Twenty thousand flows go in, are read back and go out while answers come.
#[tokio::test]
async fn many_flows() {
    let switch = switch!("e");
    let (conn, _events) = switch.connect().await;
    let flows: Vec<_> = (0..20_000u32)
        .map(|i| {
            let m = Match::any()
                .with(Field::EthType, 0x0800u16)
                .with(Field::Metadata, u64::from(i % 100))
                .with(Field::Ipv4Dst, i);
            Message::FlowMod(
                FlowMod::add(
                    20,
                    50,
                    m,
                    ActionList::from([Action::set(Field::Reg15, i), Action::resubmit(21)]),
                )
                .cookie(i.into()),
            )
        })
        .collect();
    conn.send_bundle(&flows).await.unwrap();
    assert_eq!(
        conn.dump_flows(FlowSelect::default()).await.unwrap().len(),
        flows.len()
    );
    drop(conn);
    let (conn, _events) = switch.connect().await;
    assert_eq!(conn.flow_count().await.unwrap(), 20_000);
    conn.send_bundle(&[Message::FlowMod(FlowMod::delete_all())])
        .await
        .unwrap();
    assert_eq!(conn.flow_count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_dead_switch_ends_requests_and_events() {
    let switch = switch!("f");
    let (conn, mut events) = switch.connect().await;
    let pid = std::fs::read_to_string(switch.path("vswitchd.pid")).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
    while tokio::time::timeout(Duration::from_secs(10), events.recv())
        .await
        .unwrap()
        .is_some()
    {}
    assert!(conn.barrier().await.is_err());
    assert!(conn.is_closed());
    assert!(Conn::connect("tcp:127.0.0.1:1").await.is_err());
}
