//! Random topologies with ports on two hosts, random packets through br-int: `ofproto/trace` on a bridge programmed by our
//! controller and on one programmed by stock's, and `weft-trace` on the southbound of each.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use weft_integration::compare::{Flow, Topology, Verdict};
use weft_integration::datapath::{Event, Headers, events};
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Topologies and packets of each, unless `WEFT_COMPARE=TOPOLOGIES,PACKETS,FIRST_SEED` says otherwise.
const DEFAULT: (u64, usize) = (3, 25);

const HOSTS: [&str; 2] = ["h1", "h2"];

#[test]
fn same_fate_in_open_vswitch() {
    let setting = std::env::var("WEFT_COMPARE").unwrap_or_default();
    let mut parts = setting.split(',').map(|part| part.trim().parse::<u64>());
    let topologies = parts.next().and_then(Result::ok).unwrap_or(DEFAULT.0);
    let flows = parts
        .next()
        .and_then(Result::ok)
        .map_or(DEFAULT.1, |n| usize::try_from(n).unwrap());
    let first = parts.next().and_then(Result::ok).unwrap_or(0);
    let mut combinations = vec![("ours", Impls::WEFT), ("stock", Impls::STOCK)];
    if std::env::var_os("WEFT_COMPARE_SWAPS").is_some() {
        combinations.extend([
            ("our northd", Impls::WEFT_NORTHD),
            ("our controller", Impls::WEFT_CONTROLLER),
        ]);
    }
    let labs: Vec<(&str, Lab)> = std::thread::scope(|scope| {
        let handles: Vec<_> = combinations
            .iter()
            .map(|(name, impls)| scope.spawn(|| (*name, lab(*impls))))
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let trace = &labs[0].1.programs.trace;
    let mut differences = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for index in 0..topologies {
        let seed = first + index;
        let mut topology = Topology::random(seed, &format!("t{index}"));
        let places: BTreeMap<String, &str> = topology
            .ports()
            .zip(HOSTS.iter().cycle())
            .map(|((_, port), host)| (port.to_string(), *host))
            .collect();
        std::thread::scope(|scope| {
            for (_, lab) in &labs {
                let (topology, places) = (&topology, &places);
                scope.spawn(move || build(lab, topology, places));
            }
        });
        let names: Vec<Names> = labs.iter().map(|(_, lab)| Names::read(lab)).collect();
        let before = differences.len();
        for _ in 0..flows {
            let flow = topology.flow();
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let handles: Vec<_> = labs
                    .iter()
                    .zip(&names)
                    .map(|((_, lab), names)| scope.spawn(|| ask(lab, trace, names, &flow, &places)))
                    .collect();
                handles.into_iter().map(|h| h.join().unwrap()).collect()
            });
            if answers.iter().any(|answer| answer.by_chance) {
                continue;
            }
            let Flow { datapath, packet } = &flow;
            let inport = packet.split('"').nth(1).unwrap();
            let mut tell = |what: String| {
                differences.push(format!("seed {seed}: {datapath} {packet}\n  {what}"));
            };
            let stock = &answers[1].fate;
            for ((name, _), answer) in labs.iter().zip(&answers) {
                for fate in &answer.fate {
                    let kind = match fate {
                        Fate::Port(..) => "out by a port",
                        Fate::Tunnel(..) => "into a tunnel",
                        Fate::Controller(_) => "to the controller",
                    };
                    *seen.entry(kind).or_default() += 1;
                }
                let Answer {
                    fate,
                    verdict,
                    text,
                    ..
                } = answer;
                if fate != stock {
                    let theirs = &answers[1].text;
                    tell(format!(
                        "{name}: {fate:?}\n  stock: {stock:?}\n{text}\n{theirs}"
                    ));
                } else if let Some(what) = contradiction(answer, inport, &places) {
                    tell(format!(
                        "{name}, bridge and trace: {what}\n  {fate:?}\n  {verdict:?}\n{text}"
                    ));
                }
            }
        }
        if !setting.is_empty() && differences.len() > before {
            eprintln!("{places:?}\n{}", topology.commands);
        }
        std::thread::scope(|scope| {
            for (_, lab) in &labs {
                let (topology, places) = (&topology, &places);
                scope.spawn(move || raze(lab, topology, places));
            }
        });
    }
    eprintln!("{seen:?}");
    assert!(seen.len() == 3, "what was compared says little: {seen:?}");
    assert!(
        differences.is_empty(),
        "{} packets with another fate (WEFT_COMPARE=1,{flows},SEED repeats one):\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Two hosts, both connected to physnet.
fn lab(impls: Impls) -> Lab {
    let lab = Lab::new(impls, HOSTS.len());
    for host in HOSTS {
        lab.mapped_bridge(host, "br-ext", "physnet");
        // A trace builds tunnel headers only when the other end's Ethernet address is known: the switch learns it from the
        // answer to a question.
        for other in HOSTS.iter().filter(|other| **other != host) {
            let to = lab.address(other);
            lab.run(host, "ip neigh flush dev br-phys").ok();
            lab.run(host, &format!("ping -c 1 -W 2 {to}")).ok();
        }
    }
    lab
}

fn build(lab: &Lab, topology: &Topology, places: &BTreeMap<String, &str>) {
    lab.nb(&topology.commands);
    if topology.commands.contains(" localnet") {
        // Stock controllers announce machines on networks that go outside, and write into MAC_Binding at once what these
        // announcements would teach the routers there. With this option they do not.
        let names = topology
            .commands
            .lines()
            .filter_map(|line| line.strip_prefix("lr-add "));
        for name in names {
            lab.nb(&format!(
                "set logical_router {name} options:always_learn_from_arp_request=false"
            ));
        }
    }
    for host in HOSTS {
        let script: String = places
            .iter()
            .filter(|(_, at)| **at == host)
            .map(|(port, _)| {
                format!(
                    "add-port br-int {port}\n set interface {port} type=internal external_ids:iface-id={port}\n"
                )
            })
            .collect();
        if !script.is_empty() {
            lab.vs(host, &script);
        }
    }
    wait_for(CONVERGE, "all ports up", || {
        let up = lab
            .sbctl("--bare --columns=logical_port find port_binding up=true")
            .result()?;
        let missing: Vec<&String> = places
            .keys()
            .filter(|port| !up.lines().any(|line| line == **port))
            .collect();
        ensure(missing.is_empty(), format!("{missing:?}"))
    });
    lab.nb("--timeout=30 --wait=hv sync");
}

fn raze(lab: &Lab, topology: &Topology, places: &BTreeMap<String, &str>) {
    for (port, host) in places {
        lab.vs(host, &format!("del-port br-int {port}"));
    }
    lab.nb(&topology.removal());
    lab.nb("--timeout=30 --wait=hv sync");
}

/// What becomes of a packet, in names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Sent out by a port of this host.
    Port(String, Headers),
    /// Through a tunnel: host, datapath, ingress and egress port or multicast group.
    Tunnel(String, String, String, String, Headers),
    /// To the controller.
    Controller(u32),
}

/// What the numbers in tunnel headers mean.
struct Names {
    hosts: BTreeMap<String, String>,
    datapaths: BTreeMap<u32, String>,
    ports: BTreeMap<(u32, u32), String>,
}

impl Names {
    fn read(lab: &Lab) -> Names {
        let rows = |table: &str, columns: &str| -> Vec<Vec<String>> {
            let text = lab.sb(&format!(
                "--format=csv --data=bare --no-headings --columns={columns} list {table}"
            ));
            let line = |line: &str| {
                line.split(',')
                    .map(|cell| cell.trim_matches('"').to_string())
                    .collect()
            };
            text.lines().map(line).collect()
        };
        let number = |text: &str| text.parse::<u32>().unwrap();
        let (mut datapaths, mut key_of, mut ports) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for row in rows("datapath_binding", "_uuid,tunnel_key,external_ids") {
            let name = row[2..].join(" ");
            let name = name
                .split_whitespace()
                .find_map(|pair| pair.strip_prefix("name="))
                .unwrap_or("?");
            datapaths.insert(number(&row[1]), name.to_string());
            key_of.insert(row[0].clone(), number(&row[1]));
        }
        for (table, column) in [
            ("port_binding", "logical_port"),
            ("multicast_group", "name"),
        ] {
            for row in rows(table, &format!("datapath,tunnel_key,{column}")) {
                ports.insert((key_of[&row[0]], number(&row[1])), row[2].clone());
            }
        }
        let hosts = HOSTS
            .iter()
            .map(|host| (lab.address(host), (*host).to_string()))
            .collect();
        Names {
            hosts,
            datapaths,
            ports,
        }
    }

    fn fate(&self, event: Event) -> Fate {
        let (tunnel, headers) = match event {
            Event::Port(name, headers) => return Fate::Port(name, headers),
            Event::Controller(number) => return Fate::Controller(number),
            Event::Tunnel(tunnel, headers) => (tunnel, headers),
        };
        let port = |key| match self.ports.get(&(tunnel.vni, key)) {
            Some(name) => name.clone(),
            None => format!("key {key}"),
        };
        let (from, to) = tunnel.keys.unwrap_or((0, 0));
        Fate::Tunnel(
            self.hosts
                .get(&tunnel.remote)
                .cloned()
                .unwrap_or(tunnel.remote),
            self.datapaths.get(&tunnel.vni).cloned().unwrap_or_default(),
            port(from),
            port(to),
            headers,
        )
    }
}

/// What one lab says of a packet.
struct Answer {
    fate: BTreeSet<Fate>,
    verdict: Verdict,
    /// Numbers of what the trace wants of the controller: to make packets, and to learn.
    makes: BTreeSet<u32>,
    learns: BTreeSet<u32>,
    /// Ports at which an egress pipeline began: where they are elsewhere, so is that pipeline.
    egress: BTreeSet<String>,
    /// Whether it went one of several equal ways: each bridge chooses by a hash of its own.
    by_chance: bool,
    /// The trace of the bridge.
    text: String,
}

/// What has a packet made, and what has something learned, with its number in user data.
const MAKES: [(&str, u32); 8] = [
    ("arp", 0),
    ("nd_na", 3),
    ("nd_ns", 9),
    ("icmp4", 10),
    ("icmp6", 10),
    ("tcp_reset", 11),
    ("nd_na_router", 12),
    ("icmp4_error", 14),
];
const LEARNS: [(&str, u32); 3] = [("put_arp(", 1), ("put_nd(", 4), ("put_fdb(", 25)];

fn ask(
    lab: &Lab,
    trace: &Path,
    names: &Names,
    flow: &Flow,
    places: &BTreeMap<String, &str>,
) -> Answer {
    let options = "--detailed --minimal --select-id=1";
    let logical = lab
        .trace_with(trace, options, &flow.datapath, &flow.packet)
        .ok();
    let inport = flow.packet.split('"').nth(1).unwrap();
    let (head, _) = logical.split_once('\n').unwrap();
    let packet = format!("in_port={inport},{}", fields(head));
    let text = lab
        .run(
            places[inport],
            &format!(
                "ovs-appctl -t {}/vswitchd.ctl ofproto/trace --names br-int '{packet}'",
                lab.host_dir(places[inport]).display()
            ),
        )
        .ok();
    let (detailed, minimal) = logical.split_once("# Minimal trace.").unwrap();
    // Outermost blocks of the minimal form are packets that are made.
    let titles: BTreeSet<&str> = minimal
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.trim_end_matches(['{', ';']).trim())
        .collect();
    Answer {
        fate: events(&text)
            .into_iter()
            .map(|event| names.fate(event))
            .collect(),
        verdict: Verdict::parse(minimal),
        makes: MAKES
            .iter()
            .filter(|(name, _)| titles.contains(name))
            .map(|(_, number)| *number)
            .collect(),
        learns: LEARNS
            .iter()
            .filter(|(name, _)| detailed.contains(name))
            .map(|(_, number)| *number)
            .collect(),
        egress: detailed
            .lines()
            .filter(|line| line.trim().starts_with("egress("))
            .filter_map(|line| line.split("outport=\"").nth(1)?.split('"').next())
            .map(str::to_string)
            .collect(),
        by_chance: detailed.contains(" = select("),
        text: format!("{packet}\n{text}"),
    }
}

/// The first line of a trace as `ofproto/trace` wants it.
fn fields(head: &str) -> String {
    const MEANINGLESS: [&str; 5] = [
        "reg14=",
        "nd_tll=",
        "vlan_tci=",
        "nw_frag=no",
        "ipv6_label=",
    ];
    let fields: Vec<&str> = head
        .trim_start_matches("# ")
        .split(',')
        .filter(|field| !MEANINGLESS.iter().any(|part| field.starts_with(part)))
        .collect();
    let packet = fields.join(",");
    // Here the names that serve several protocols do not.
    match fields[0] {
        "icmp6" => packet.replace("icmp_", "icmpv6_"),
        "udp" | "udp6" => packet.replace("tp_", "udp_"),
        "tcp" | "tcp6" => packet.replace("tp_", "tcp_"),
        _ => packet,
    }
}

/// Where the bridge does other than the trace says.
fn contradiction(answer: &Answer, inport: &str, places: &BTreeMap<String, &str>) -> Option<String> {
    let here = places[inport];
    let direct: BTreeSet<&str> = answer
        .verdict
        .outputs
        .iter()
        .filter(|(path, port)| path.is_empty() && !port.is_empty())
        .map(|(_, port)| &**port)
        .collect();
    let place = |port: &str| places.get(port).copied();
    let outside = direct.iter().any(|port| port.ends_with("-ln"));
    let (mut local, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let (mut to_outside, mut tunnels) = (false, Vec::new());
    for fate in &answer.fate {
        match fate {
            Fate::Port(port, _) if port == "br-ext" => to_outside = true,
            Fate::Port(port, _) => drop(local.insert(&**port)),
            Fate::Controller(number) => drop(numbers.insert(*number)),
            Fate::Tunnel(host, _, _, port, _) => tunnels.push((&**host, &**port)),
        }
    }
    let expected: BTreeSet<&str> = direct
        .iter()
        .copied()
        .filter(|port| place(port) == Some(here))
        .collect();
    if local != expected {
        return Some(format!("ports {local:?}, expected {expected:?}"));
    }
    for port in direct
        .iter()
        .filter(|port| place(port).is_some_and(|at| at != here))
    {
        // The other hosts of a switch with a localnet port are reached through that.
        if !to_outside && !tunnels.iter().any(|(host, _)| Some(*host) == place(port)) {
            return Some(format!("{port} is not reached"));
        }
    }
    for (host, port) in &tunnels {
        if !port.starts_with('_') && (!answer.egress.contains(*port) || place(port) != Some(*host))
        {
            return Some(format!("{port} on {host} gets what is not for it"));
        }
    }
    let mut beyond = answer.egress.iter().map(|port| place(port));
    let remote = beyond.any(|at| at.is_some_and(|at| at != here));
    if outside && !to_outside || to_outside && !outside && !remote {
        return Some(format!("outside: {to_outside}, expected {outside}"));
    }
    let learned: BTreeSet<u32> = numbers
        .iter()
        .copied()
        .filter(|n| LEARNS.iter().any(|(_, l)| l == n))
        .collect();
    let made: BTreeSet<u32> = numbers.difference(&learned).copied().collect();
    if made != answer.makes {
        return Some(format!("makes {made:?}, expected {:?}", answer.makes));
    }
    // What a made packet teaches, the controller's later packet does.
    let too_few = answer.makes.is_empty() && learned != answer.learns;
    if too_few || !learned.is_subset(&answer.learns) {
        return Some(format!("learns {learned:?}, expected {:?}", answer.learns));
    }
    None
}
