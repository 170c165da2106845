//! Multicast with real receivers: the kernels of the machines speak IGMP and MLD by themselves when a socket joins.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impl, Impls, Lab, wait_for};

const PORT: u16 = 5007;
const GROUP4: &str = "239.1.1.1";
const GROUP6: &str = "ff0e::1:1";
const GROUPS: [&str; 2] = [GROUP4, GROUP6];

/// A machine `vN` has 10.SWITCH.0.N, fdSWITCH::N and a link-local address.
#[derive(Clone, Copy, Debug)]
struct Guest {
    switch: u8,
    n: u8,
}

impl Guest {
    fn name(self) -> String {
        format!("v{}{}", self.switch, self.n)
    }

    fn v4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.switch, 0, self.n)
    }

    fn v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, self.switch.into(), 0, 0, 0, self.n.into())
    }

    fn ip_for(self, group: IpAddr) -> IpAddr {
        match group {
            IpAddr::V4(_) => self.v4().into(),
            IpAddr::V6(_) => self.v6().into(),
        }
    }
}

const fn guest(switch: u8, n: u8) -> Guest {
    Guest { switch, n }
}

/// Adds machines to switches that exist.
fn add(lab: &Lab, guests: &[(&str, Guest)]) {
    for &(host, guest) in guests {
        let (name, Guest { switch, n }) = (guest.name(), guest);
        let mac = format!("0a:00:00:00:0{switch}:0{n}");
        lab.nb(&format!(
            "lsp-add s{switch} {name}
             lsp-set-addresses {name} '{mac} {} {}'",
            guest.v4(),
            guest.v6()
        ));
        let (v4, v6) = (guest.v4(), guest.v6());
        lab.vm(
            host,
            &name,
            &format!("{mac} {v4}/24 {v6}/64 fe80::{switch}:{n}/64 via 10.{switch}.0.254"),
        );
    }
}

/// A switch that snoops and asks often.
fn switch(lab: &Lab, n: u8, more: &str) {
    lab.nb(&format!(
        "ls-add s{n}
         set logical_switch s{n} other_config:mcast_snoop=true other_config:mcast_eth_src=0a:00:00:00:0{n}:fe other_config:mcast_ip4_src=10.{n}.0.253 other_config:mcast_ip6_src=fe80::{n}:fd other_config:mcast_query_interval=2 {more}"
    ));
}

/// A socket that has joined a group, until dropped.
struct Receiver {
    socket: UdpSocket,
    who: String,
}

fn join(lab: &Lab, guest: Guest, group: &str) -> Receiver {
    let (name, ip) = (guest.name(), group.parse::<IpAddr>().unwrap());
    let index = lab.vm_run(&name, &format!("ip -o link show {name}")).ok();
    let index: u32 = index.split(':').next().unwrap().trim().parse().unwrap();
    let socket = lab.inside(&name, || {
        let socket = UdpSocket::bind((ip, PORT)).unwrap();
        match ip {
            IpAddr::V4(ip) => socket.join_multicast_v4(&ip, &guest.v4()).unwrap(),
            IpAddr::V6(ip) => socket.join_multicast_v6(&ip, index).unwrap(),
        }
        socket
    });
    socket.set_nonblocking(true).unwrap();
    Receiver {
        socket,
        who: format!("{name} in {group}"),
    }
}

impl Receiver {
    /// The numbers that have arrived since the last look.
    fn numbers(&self) -> BTreeSet<u32> {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| {
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(buffer[..len].try_into().map_or(0, u32::from_be_bytes))
        })
        .collect()
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Sends a datagram to a group; its number.
fn send(lab: &Lab, from: Guest, group: &str) -> u32 {
    let group: IpAddr = group.parse().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    lab.inside(&from.name(), || {
        let socket = UdpSocket::bind((from.ip_for(group), 0)).unwrap();
        match group {
            IpAddr::V4(_) => socket.set_multicast_ttl_v4(8).unwrap(),
            IpAddr::V6(_) => sockopt::set_ipv6_multicast_hops(&socket, 8).unwrap(),
        }
        socket
            .send_to(&number.to_be_bytes(), SocketAddr::new(group, PORT))
            .unwrap();
    });
    number
}

/// Waits until every receiver gets what a machine sends to the group, a datagram once.
#[track_caller]
fn reaches(lab: &Lab, from: Guest, group: &str, receivers: &[&Receiver]) {
    let mut sent = BTreeSet::new();
    let mut missing: Vec<&Receiver> = receivers.to_vec();
    let what = format!("{} to {group}", from.name());
    wait_for(CONVERGE, &what, || {
        sent.insert(send(lab, from, group));
        std::thread::sleep(Duration::from_millis(50));
        missing.retain(|receiver| receiver.numbers().is_disjoint(&sent));
        let names: Vec<&str> = missing.iter().map(|r| r.who.as_str()).collect();
        ensure(missing.is_empty(), format!("not got by {names:?}"))
    });
}

/// Waits until nothing that a machine sends to a group reaches the receiver.
#[track_caller]
fn misses(lab: &Lab, from: Guest, group: &str, receiver: &Receiver) {
    let what = format!("{} no longer reached", receiver.who);
    wait_for(CONVERGE, &what, || {
        receiver.numbers();
        let sent: BTreeSet<u32> = (0..3).map(|_| send(lab, from, group)).collect();
        std::thread::sleep(Duration::from_millis(300));
        ensure(
            receiver.numbers().is_disjoint(&sent),
            "it still gets the group",
        )
    });
}

/// The ports that the southbound has for a group of a switch, by name.
fn members(lab: &Lab, switch: &str, group: &str) -> String {
    let dp = lab.sb_get(
        "datapath_binding",
        "_uuid",
        &format!("external_ids:name={switch}"),
    );
    let rows = lab.sb_get(
        "igmp_group",
        "ports",
        &format!("datapath={dp} 'address=\"{group}\"'"),
    );
    let mut names: Vec<String> = rows
        .split_whitespace()
        .map(|port| lab.sb(&format!("get port_binding {port} logical_port")))
        .map(|name| name.trim().trim_matches('"').to_owned())
        .collect();
    names.sort();
    names.join(" ")
}

#[track_caller]
fn has_members(lab: &Lab, switch: &str, group: &str, ports: &str) {
    wait_for(
        CONVERGE,
        &format!("{ports:?} in {group} of {switch}"),
        || {
            let seen = members(lab, switch, group);
            ensure(seen == ports, seen)
        },
    );
}

/// Four machines on two hosts and one switch.
fn four(impls: Impls, more: &str) -> (Lab, [Guest; 4]) {
    let lab = Lab::new(impls, 2);
    switch(&lab, 1, more);
    let guests = [guest(1, 1), guest(1, 2), guest(1, 3), guest(1, 4)];
    let [a, b, c, d] = guests;
    add(&lab, &[("h1", a), ("h1", b), ("h2", c), ("h2", d)]);
    lab.ready();
    (lab, guests)
}

/// What is registered reaches those who joined and nobody else, on both hosts, until they leave.
pub fn registered_groups_reach_their_members(impls: Impls) {
    let (lab, [a, b, c, d]) = four(impls, "");
    let others = lab.capture(&d.name(), &d.name(), &format!("udp port {PORT}"));
    for group in GROUPS {
        let near = join(&lab, b, group);
        let far = join(&lab, c, group);
        has_members(&lab, "s1", group, "v12 v13");
        reaches(&lab, a, group, &[&near, &far]);
        drop(near);
        has_members(&lab, "s1", group, "v13");
        reaches(&lab, a, group, &[&far]);
        drop(far);
        has_members(&lab, "s1", group, "");
    }
    let seen = others.packets();
    assert!(seen.is_empty(), "somebody who never joined got {seen:?}");
}

/// What nobody joined is dropped, reaches all, or reaches the ports that want everything, as the switch is told.
pub fn unregistered_groups(impls: Impls) {
    let (lab, [a, b, c, d]) = four(impls, "");
    let told = |ports: &[Guest]| -> Vec<_> {
        ports
            .iter()
            .map(|g| lab.capture(&g.name(), &g.name(), &format!("udp port {PORT}")))
            .collect()
    };
    let captures = told(&[b, c, d]);
    let floods = |which: [bool; 3]| {
        wait_for(
            CONVERGE,
            &format!("unregistered packets at {which:?}"),
            || {
                let before: Vec<usize> = captures.iter().map(|c| c.packets().len()).collect();
                for group in GROUPS {
                    send(&lab, a, group);
                }
                std::thread::sleep(Duration::from_millis(300));
                let counts = captures.iter().zip(&before);
                let more: Vec<usize> = counts.map(|(c, was)| c.packets().len() - was).collect();
                let wanted: Vec<usize> = which.iter().map(|w| if *w { 2 } else { 0 }).collect();
                ensure(more == wanted, format!("{more:?}"))
            },
        );
    };
    floods([false, false, false]);
    lab.nb("lsp-set-options v13 mcast_flood=true");
    floods([false, true, false]);
    // A port that gets everything gets what is registered too, once.
    let near = join(&lab, b, GROUP4);
    let all = join(&lab, c, GROUP4);
    has_members(&lab, "s1", GROUP4, "v12 v13");
    reaches(&lab, a, GROUP4, &[&near, &all]);
    drop((near, all));
    has_members(&lab, "s1", GROUP4, "");
    lab.nb("set logical_switch s1 other_config:mcast_flood_unregistered=true");
    floods([true, true, true]);
    lab.nb("set logical_switch s1 other_config:mcast_snoop=false");
    floods([true, true, true]);
}

/// Groups age where nobody asks, and live where the switch does; versions of the protocols that are older by decades work.
pub fn a_querier_keeps_groups_alive(impls: Impls) {
    let lab = Lab::new(impls, 2);
    switch(&lab, 1, "other_config:mcast_idle_timeout=15");
    switch(
        &lab,
        2,
        "other_config:mcast_idle_timeout=15 other_config:mcast_querier=false",
    );
    let (asked, sender, alone) = (guest(1, 1), guest(1, 2), guest(2, 1));
    add(&lab, &[("h1", asked), ("h2", sender), ("h2", alone)]);
    lab.ready();
    let old = asked.name();
    for (key, version) in [
        ("ipv4", "force_igmp_version=2"),
        ("ipv6", "force_mld_version=1"),
    ] {
        lab.vm_run(&old, &format!("sysctl -w net.{key}.conf.{old}.{version}"))
            .ok();
    }
    let queries = lab.capture(&old, &old, "igmp or icmp6[0] == 130");
    let asked = GROUPS.map(|group| join(&lab, asked, group));
    let _alone = GROUPS.map(|group| join(&lab, alone, group));
    for group in GROUPS {
        has_members(&lab, "s2", group, "v21");
        has_members(&lab, "s1", group, "v11");
    }
    let began = Instant::now();
    for group in GROUPS {
        has_members(&lab, "s2", group, "");
    }
    assert!(began.elapsed() > Duration::from_secs(5), "it aged too fast");
    for (group, receiver) in GROUPS.iter().zip(&asked) {
        reaches(&lab, sender, group, &[receiver]);
    }
    queries.wait_for("a query of IGMP", |p| {
        p.contains("10.1.0.253 > 224.0.0.1: igmp query v3")
            .then_some(())
    });
    queries.wait_for("a report of version 2", |p| {
        p.contains("igmp v2 report 239.1.1.1").then_some(())
    });
    if lab.impls().controller == Impl::Weft && lab.impls().northd == Impl::Weft {
        let versions =
            GROUPS.map(|g| lab.sb_get("igmp_group", "protocol", &format!("'address=\"{g}\"'")));
        assert_eq!(versions, ["IGMPv2", "MLDv1"]);
    }
    drop(asked);
    for group in GROUPS {
        has_members(&lab, "s1", group, "");
    }
}

/// A router relays between its switches: to where receivers are, and to nowhere else.
pub fn a_router_relays(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r
            set logical_router r options:mcast_relay=true");
    for n in 1..=3 {
        switch(&lab, n, "");
        lab.nb(&format!(
            "lrp-add r r-s{n} 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd00:0:0:{n}::254/64
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r-s{n}
             lsp-set-addresses s{n}-r router"
        ));
    }
    let (source, local, far, other) = (guest(1, 1), guest(1, 2), guest(2, 1), guest(3, 1));
    add(
        &lab,
        &[("h1", source), ("h2", local), ("h2", far), ("h1", other)],
    );
    lab.ready();
    let silent = lab.capture(&other.name(), &other.name(), &format!("udp port {PORT}"));
    let frames = lab.capture(&far.name(), &far.name(), &format!("udp port {PORT}"));
    for group in GROUPS {
        // Receivers on the far switch only, then on both.
        let there = join(&lab, far, group);
        has_members(&lab, "s2", group, "v21");
        reaches(&lab, source, group, &[&there]);
        let here = join(&lab, local, group);
        has_members(&lab, "s1", group, "v12");
        reaches(&lab, source, group, &[&there, &here]);
        drop(there);
        has_members(&lab, "s2", group, "");
        reaches(&lab, source, group, &[&here]);
    }
    frames.wait_for("a relayed packet", |p| {
        (p.contains("0a:00:00:00:ff:02 >") && p.contains("ttl 7")).then_some(())
    });
    let seen = silent.packets();
    assert!(seen.is_empty(), "nobody joined there, yet {seen:?}");
    // A router port that wants everything.
    lab.nb("set logical_router_port r-s3 options:mcast_flood=true
            lsp-set-options v31 mcast_flood=true");
    wait_for(
        CONVERGE,
        "an unregistered packet on the third switch",
        || {
            send(&lab, source, "239.9.9.9");
            std::thread::sleep(Duration::from_millis(100));
            ensure(!silent.packets().is_empty(), "none")
        },
    );
}

/// Multicast routers are found by their queries; they and whoever wants reports get reports, others do not.
pub fn reports_reach_those_who_route(impls: Impls) {
    let (lab, [a, b, c, d]) = four(impls, "other_config:mcast_querier=false");
    lab.nb("lsp-set-options v14 mcast_flood_reports=true");
    let about = [a, b, c, d].map(|g| lab.capture(&g.name(), &g.name(), "igmp or ip6 proto 0"));
    // A router on the second host asks.
    let ask = || {
        lab.inside(&c.name(), || {
            let socket = rustix::net::socket(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::RAW,
                Some(rustix::net::ipproto::IGMP),
            )
            .unwrap();
            let from: SocketAddr = (c.v4(), 0).into();
            rustix::net::bind(&socket, &from).unwrap();
            let to: SocketAddr = ([224, 0, 0, 1], 0).into();
            let query = [0x11, 100, 0xee, 0x9b, 0, 0, 0, 0];
            rustix::net::sendto(&socket, &query, rustix::net::SendFlags::empty(), &to).unwrap();
        });
    };
    wait_for(CONVERGE, "a multicast router behind v13", || {
        ask();
        std::thread::sleep(Duration::from_millis(200));
        let seen = members(&lab, "s1", "mrouters");
        ensure(seen == "v13", seen)
    });
    about[3].wait_for("the query everywhere", |p| {
        p.contains("10.1.0.3 > 224.0.0.1: igmp query").then_some(())
    });
    let group_has = |port: &str| {
        let ports = lab.sb_get("multicast_group", "ports", "name=_MC_mrouter_flood");
        let port = lab.sb_get("port_binding", "_uuid", &format!("logical_port={port}"));
        ensure(ports.contains(&port), ports)
    };
    wait_for(CONVERGE, "both in the group", || {
        group_has("v13").and_then(|()| group_has("v14"))
    });
    let _member = join(&lab, a, GROUP4);
    let report = |p: &str| (p.contains("10.1.0.1 >") && p.contains("report")).then_some(());
    about[2].wait_for("a report at the router", report);
    about[3].wait_for("a report where reports are wanted", report);
    let seen: Vec<String> = about[1].packets();
    assert!(
        seen.iter().all(|p| report(p).is_none()),
        "a host got another's report: {seen:?}"
    );
    // Data goes to the router too (RFC 4541, 2.1.2): only where both sides are ours.
    if lab.impls().northd == Impl::Weft {
        let data = lab.capture("v13", "v13", &format!("udp port {PORT}"));
        wait_for(CONVERGE, "data at the router", || {
            send(&lab, b, GROUP4);
            std::thread::sleep(Duration::from_millis(100));
            ensure(!data.packets().is_empty(), "none")
        });
    }
}

/// Told to, controllers forget all groups, and learn them anew from the answers to their queries; a controller that starts
/// goes on with what was known.
pub fn groups_are_flushed_and_survive_restarts(impls: Impls) {
    let (lab, [a, b, c, _]) = four(impls, "other_config:mcast_querier=false");
    let near = join(&lab, b, GROUP4);
    let far = join(&lab, c, GROUP4);
    has_members(&lab, "s1", GROUP4, "v12 v13");
    reaches(&lab, a, GROUP4, &[&near, &far]);
    if lab.impls().controller == Impl::Weft {
        lab.stop("h2", "ovn-controller", rustix::process::Signal::KILL);
        lab.start_controller("h2");
        lab.ready();
        assert_eq!(members(&lab, "s1", GROUP4), "v12 v13");
        reaches(&lab, a, GROUP4, &[&near, &far]);
    }
    // Hosts say everything twice, the second time up to a second later: it may come behind the first flush.
    wait_for(CONVERGE, "no members", || {
        lab.sb("ip-multicast-flush s1");
        std::thread::sleep(Duration::from_millis(300));
        let seen = members(&lab, "s1", GROUP4);
        ensure(seen.is_empty(), seen)
    });
    misses(&lab, a, GROUP4, &far);
    lab.nb("set logical_switch s1 other_config:mcast_querier=true");
    has_members(&lab, "s1", GROUP4, "v12 v13");
    reaches(&lab, a, GROUP4, &[&near, &far]);
    lab.nb("set logical_switch s1 other_config:mcast_snoop=false");
    has_members(&lab, "s1", GROUP4, "");
}

/// Somebody who joins thousands of groups fills the table of the switch and nothing else.
pub fn a_flood_of_reports_is_bounded(impls: Impls) {
    let (lab, [a, b, c, _]) = four(impls, "other_config:mcast_table_size=20");
    let first = join(&lab, c, GROUP4);
    has_members(&lab, "s1", GROUP4, "v13");
    lab.inside(&b.name(), || {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::IGMP),
        )
        .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((b.v4(), 0))).unwrap();
        for n in 0..5_000_u16 {
            let [high, low] = n.to_be_bytes();
            let sum = 0x1600 + 0xef05 + u32::from(n);
            let [c0, c1] = (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
            let report = [0x16, 0, c0, c1, 239, 5, high, low];
            let to = SocketAddr::from(([239, 5, high, low], 0));
            // What the socket has no room for is lost, as it may be on the way.
            let _ = rustix::net::sendto(&socket, &report, rustix::net::SendFlags::empty(), &to);
        }
    });
    let rows = || {
        lab.sb("--bare --columns=address list igmp_group")
            .split_whitespace()
            .count()
    };
    wait_for(CONVERGE, "a full table", || {
        let rows = rows();
        ensure(rows >= 20, format!("{rows} groups"))
    });
    // Per chassis, and what it has for multicast routers.
    assert!(rows() <= 2 * (20 + 1), "{} groups", rows());
    // Who was there before stays, and others get on with their lives.
    reaches(&lab, a, GROUP4, &[&first]);
    lab.reaches("v11", "10.1.0.3");
}

/// A physical network carries groups between hosts and to machines on it, each packet once.
pub fn groups_on_a_physical_network(impls: Impls) {
    let lab = Lab::new(impls, 2);
    switch(&lab, 1, "");
    lab.nb("lsp-add s1 ln
            lsp-set-type ln localnet
            lsp-set-addresses ln unknown
            lsp-set-options ln network_name=phys");
    let (near, far, outside) = (guest(1, 1), guest(1, 2), guest(1, 9));
    // A wire between the hosts' outer bridges with a machine that is silent, and one that is not, on the first.
    lab.outside(&["h1", "h2"], "phys", "silent", "0a:00:00:00:09:08");
    lab.machine(
        "h1",
        "br-ext",
        &outside.name(),
        0,
        "0a:00:00:00:09:09 10.1.0.9/24 fd00:0:0:1::9/64 fe80::1:9/64",
    );
    add(&lab, &[("h1", near), ("h2", far)]);
    lab.ready();
    for group in GROUPS {
        let there = join(&lab, outside, group);
        // Both hosts hear it.
        has_members(&lab, "s1", group, "ln ln");
        reaches(&lab, near, group, &[&there]);
        reaches(&lab, far, group, &[&there]);
        let here = join(&lab, far, group);
        has_members(&lab, "s1", group, "ln ln v12");
        reaches(&lab, outside, group, &[&here]);
        reaches(&lab, near, group, &[&here, &there]);
        let copies = lab.capture(&far.name(), &far.name(), &format!("udp port {PORT}"));
        let before = copies.packets().len();
        for _ in 0..5 {
            send(&lab, near, group);
        }
        wait_for(CONVERGE, "five packets", || {
            let packets = copies.packets().len() - before;
            ensure(packets >= 5, format!("{packets}"))
        });
        assert_eq!(copies.packets().len() - before, 5, "some came twice");
        drop((there, here));
        has_members(&lab, "s1", group, "");
    }
    // Machines there are asked too.
    let asked = lab.capture("silent", "silent", "igmp or ip6 proto 0");
    for query in [
        "10.1.0.253 > 224.0.0.1: igmp query",
        "fe80::1:fd > ff02::1:",
    ] {
        asked.wait_for(query, |p| p.contains(query).then_some(()));
    }
}
