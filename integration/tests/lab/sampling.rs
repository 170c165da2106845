//! Samples of packets as IPFIX, received where Open vSwitch sends them.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::acl_log::{pair, send_udp};

/// Receives IPFIX on a host (RFC 7011).
struct Collector {
    /// Observation domain and point of every record so far.
    seen: Arc<Mutex<BTreeSet<(u32, u32)>>>,
}

const PORT: u16 = 4739;

impl Collector {
    /// Listens on a host, and has the host's bridge send what is sampled for a collector set there.
    fn start(lab: &Lab, host: &str, set: u32) -> Collector {
        let netns = lab.netns(host);
        let seen: Arc<Mutex<BTreeSet<(u32, u32)>>> = Arc::default();
        let alive = Arc::downgrade(&seen);
        let address = lab.address(host);
        let target = format!("{address}:{PORT}");
        let (ready, listening) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            let file = File::open(format!("/var/run/netns/{netns}")).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let socket = UdpSocket::bind((address.as_str(), PORT)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 65536];
            while let Some(seen) = alive.upgrade() {
                if let Ok(len) = socket.recv(&mut buffer) {
                    seen.lock().unwrap().extend(records(&buffer[..len]));
                }
            }
        });
        listening.recv().unwrap();
        lab.vs(
            host,
            &format!(
                "--id=@bridge get bridge br-int
                 --id=@ipfix create ipfix 'targets=\"{target}\"'
                 create flow_sample_collector_set id={set} bridge=@bridge ipfix=@ipfix"
            ),
        );
        Collector { seen }
    }

    fn seen(&self) -> BTreeSet<(u32, u32)> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `send` brings about a record that is as wanted.
    fn wait(&self, what: &str, send: impl Fn(), wanted: impl Fn((u32, u32)) -> bool) -> (u32, u32) {
        wait_for(CONVERGE, what, || {
            send();
            let seen = self.seen();
            let found = seen.iter().copied().find(|record| wanted(*record));
            found.ok_or_else(|| format!("{seen:x?}"))
        })
    }
}

/// Observation domain and point of the first record of each data set: Open vSwitch's templates for flows begin with the point.
fn records(message: &[u8]) -> Vec<(u32, u32)> {
    let u16_at = |at: usize| u16::from_be_bytes(message[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
    let mut found = Vec::new();
    let mut at = 16;
    while at + 8 <= message.len() {
        // Statistics of the exporter itself have no domain.
        if u16_at(at) >= 256 && u32_at(12) != 0 {
            found.push((u32_at(12), u32_at(at + 4)));
        }
        at += usize::from(u16_at(at + 2)).max(4);
    }
    found
}

fn datapath_key(lab: &Lab, name: &str) -> u32 {
    let key = lab.sb_get(
        "datapath_binding",
        "tunnel_key",
        &format!("external_ids:name={name}"),
    );
    key.parse().unwrap()
}

/// What is dropped is sampled: the domain names the datapath, the point the logical flow.
pub fn drops_are_sampled(impls: Impls) {
    let lab = pair(impls);
    let collector = Collector::start(&lab, "h2", 77);
    lab.nb(
        "acl-add s to-lport 100 'outport == \"p2\" && udp.dst == 1001' drop
            set nb_global . options:debug_drop_collector_set=77 options:debug_drop_domain_id=5",
    );
    lab.ready();
    let domain = 5 << 24 | datapath_key(&lab, "s");
    let send = || send_udp(&lab, "p1", "10.0.0.2", 1001, 3);
    let flow = || -> String {
        let rows = lab.sb(
            "--bare --columns=_uuid,match find logical_flow external_ids:stage-name=ls_out_acl",
        );
        let all = rows.trim().replace("\n\n", "\x1d");
        let row = all
            .split('\x1d')
            .find(|row| row.contains("udp.dst == 1001"));
        row.map_or_else(String::new, |row| row.lines().next().unwrap().to_owned())
    };
    let point = u32::from_str_radix(&flow()[..8], 16).unwrap();
    collector.wait("a sample of what the ACL drops", send, |record| {
        record == (domain, point)
    });
    if impls.or_from_env().northd == Impl::Weft {
        // Newer than stock 23.03: an application with a number of its own.
        lab.nb("create sampling_app type=drop id=9");
        lab.ready();
        let domain = 9 << 24 | datapath_key(&lab, "s");
        let point = u32::from_str_radix(&flow()[..8], 16).unwrap();
        collector.wait("a sample for the application", send, |record| {
            record == (domain, point)
        });
    }
    lab.reaches("p1", "10.0.0.2");
    lab.nb("remove nb_global . options debug_drop_collector_set");
    lab.ready();
    wait_for(CONVERGE, "no more sampling", || {
        let flows = lab.flows("h2", "");
        ensure(!flows.contains("sample("), flows)
    });
}

/// What an ACL lets begin, and what belongs to it. Stock 23.03 has no such samples.
pub fn acls_are_sampled(impls: Impls) {
    if impls.or_from_env().northd == Impl::Stock {
        return;
    }
    let lab = pair(impls);
    let collector = Collector::start(&lab, "h2", 78);
    lab.nb("create sampling_app type=acl-new id=11
            create sampling_app type=acl-est id=12
            --id=@c create sample_collector id=1 name=c probability=65535 set_id=78
            --id=@n create sample collectors=@c metadata=1001
            --id=@e create sample collectors=@c metadata=1002
            --name=ping --sample-new=@n --sample-est=@e acl-add s to-lport 100 'outport == \"p2\" && icmp4' allow-related");
    lab.ready();
    let key = datapath_key(&lab, "s");
    let send = || drop(lab.ping("p1", "10.0.0.2", 3, "-i 0.1"));
    let new = (11 << 24 | key, 1001);
    collector.wait("a sample of a new connection", send, |record| record == new);
    let established = (12 << 24 | key, 1002);
    collector.wait("a sample of an established one", send, |record| {
        record == established
    });
    let others: Vec<_> = collector
        .seen()
        .into_iter()
        .filter(|r| *r != new && *r != established)
        .collect();
    assert_eq!(others, []);
}
