//! A host that fills the log as fast as it can: it costs nobody else anything.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::acl_log::pair;

/// Packets that the host sends, if the machine that the test runs on can; and what it must be able to.
const PER_SECOND: u64 = 60_000;
const AT_LEAST: u64 = 20_000;

/// Messages that a controller writes at most: its rate for packets of a sort, in the long run and at once.
const LINES_PER_SECOND: u64 = 5_000;
const LINES_AT_ONCE: u64 = 1_000;

/// Memory that the flood may take in the controller.
const GROWTH_KIB: u64 = 24 << 10;

/// Resident memory of the controller of a host.
fn resident_kib(lab: &Lab, host: &str) -> u64 {
    let pid = fs::read_to_string(lab.host_dir(host).join("ovn-controller.pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Bytes and lines of the log about ACLs.
fn lines(lab: &Lab) -> u64 {
    let log = fs::read_to_string(lab.host_dir("h1").join("ovn-controller.log")).unwrap();
    log.lines().filter(|line| line.contains("|acl_log")).count() as u64
}

/// What has been counted under a name.
fn counted(lab: &Lab, name: &str) -> u64 {
    let told = lab.controller_appctl("h1", &format!("coverage/read-counter {name}"));
    told.ok().trim().parse().unwrap_or(0)
}

/// Binds a port and takes it away again, with a rule that comes and goes; how long it took until the flows were in.
fn bind_and_release(lab: &Lab, n: usize) -> Duration {
    let start = Instant::now();
    lab.nb(&format!(
        "lsp-add s new{n}
         lsp-set-addresses new{n} '0a:00:00:00:01:{n:02x} 10.0.1.{n}'
         acl-add s to-lport {} 'outport == \"new{n}\" && tcp' drop",
        200 + n
    ));
    lab.vs(
        "h1",
        &format!("add-port br-int new{n} -- set interface new{n} type=internal external_ids:iface-id=new{n}"),
    );
    wait_for(CONVERGE, "a port bound", || {
        let up = lab.sb_get("port_binding", "up", &format!("logical_port=new{n}"));
        ensure(up.trim() == "true", up)
    });
    lab.nb("--timeout=30 --wait=hv sync");
    let took = start.elapsed();
    lab.vs("h1", &format!("del-port br-int new{n}"));
    lab.nb(&format!("lsp-del new{n}"));
    took
}

/// While a host sends far more packets than can be logged, ports are bound and flows installed as before, memory stays, and
/// what is not logged is counted.
pub fn a_flood_of_logs_slows_nothing(impls: Impls) {
    let lab = pair(impls);
    lab.nb("--log --name=flood --severity=info acl-add s from-lport 100 'inport == \"p1\" && udp' allow");
    lab.ready();
    let calm = (0..3).map(|n| bind_and_release(&lab, n)).max().unwrap();
    let before = resident_kib(&lab, "h1");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    let (busy, rate) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            lab.inside("p1", || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect("10.0.0.2:9").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // In bursts, so that the rate is kept and no more: two cores must do for everybody.
                    let due = start.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
                    while sent.load(Ordering::Relaxed) < due {
                        // What the kernel has no room for, or what is refused, was sent all the same.
                        let _ = socket.send(&[0; 18]);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        let busy = (3..8).map(|n| bind_and_release(&lab, n)).max().unwrap();
        stop.store(true, Ordering::Relaxed);
        flood.join().unwrap();
        (
            busy,
            sent.load(Ordering::Relaxed) * 1_000_000 / start.elapsed().as_micros() as u64,
        )
    });
    let seconds = start.elapsed().as_secs() + 1;
    let grown = resident_kib(&lab, "h1").saturating_sub(before);
    let written = lines(&lab);
    let dropped =
        counted(&lab, "pinctrl_drop_rate_limit") + counted(&lab, "pinctrl_drop_queue_full");
    eprintln!(
        "{rate} packets/s for {seconds} s: {written} lines, {dropped} dropped; a port took {busy:?}, before {calm:?}; {grown} KiB more"
    );
    assert!(rate >= AT_LEAST, "only {rate} packets a second");
    assert!(written >= 100, "{written} lines only");
    assert!(
        written <= LINES_PER_SECOND * seconds + LINES_AT_ONCE,
        "{written} lines in {seconds} s"
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB more than before");
    // The cores are shared with the switch that carries the flood.
    assert!(
        busy < calm * 5 + Duration::from_secs(3),
        "a port took {busy:?}, without the flood {calm:?}"
    );
    lab.reaches("p1", "10.0.0.2");
}
