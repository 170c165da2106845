//! The same questions to our controller and to stock's, under the same northd, on a bridge each: the same answers, byte for
//! byte, but for what [`asked::Question::but`] names. What differs on purpose beyond that is listed in `docs/responders.md`.
//! Where stock's northd of 23.03 knows less than ours (proxies for IPv6 and for networks), both are under ours.
//!
//! Questions are put into the bridge as if the machine had sent them, and answers are what reaches its device; the machine
//! itself has no address and says nothing.
#![allow(clippy::unwrap_used)]

mod asked;
mod packets;
mod unasked;

use std::ops::Range;
use std::time::{Duration, Instant};

use asked::Question;
use weft_integration::capture::Capture;
use weft_integration::{Impls, Lab};

/// An answer that has not come by then will not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that may differ, and why.
type But = &'static [(Range<usize>, &'static str)];

const NETWORK: &str = r#"ls-add s
    ls-add t
    lr-add r
    lrp-add r r-s 0a:00:00:00:00:fe 10.0.0.254/24 fd00::fe/64
    lrp-add r r-t 0a:00:00:00:01:fe 10.1.0.254/24 fd01::fe/64
    lsp-add s s-r
    lsp-set-type s-r router
    lsp-set-options s-r router-port=r-s arp_proxy="10.0.0.200 10.0.0.208/29 fd00::200 fd00::3:0/112"
    lsp-set-addresses s-r router
    lsp-add t t-r
    lsp-set-type t-r router
    lsp-set-options t-r router-port=r-t
    lsp-set-addresses t-r router
    lsp-add s p1
    lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
    lsp-add s p2
    lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'
    lsp-add t t1
    lsp-set-addresses t1 '0a:00:00:00:01:01 10.1.0.1 fd01::1'
    set logical_router_port r-s ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:mtu=1400
    acl-add s from-lport 100 'inport == "p1" && (ip4.dst == 10.0.0.77 || ip6.dst == fd00::77)' reject
    acl-add s to-lport 100 'outport == "p2" && (ip4.src == 10.0.0.1 || ip6.src == fd00::1)' reject
    lb-add none4 10.0.0.88:9 ""
    lb-add none6 [fd00::88]:9 ""
    set load_balancer none4 options:reject=true
    set load_balancer none6 options:reject=true
    ls-lb-add s none4
    ls-lb-add s none6
    --id=@d create dns records='{"vm1.org"="10.0.0.4 fd00::4"}' -- add logical_switch s dns_records @d
    --id=@d4 create dhcp_options cidr=10.0.0.0/24 options='{"server_id"="10.0.0.253","server_mac"="0a:00:00:00:00:fd","lease_time"="3600","router"="10.0.0.254","dns_server"="{10.0.0.8,10.0.0.9}","mtu"="1400"}' -- set logical_switch_port p1 dhcpv4_options=@d4
    --id=@d6 create dhcp_options cidr='"fd00::/64"' options='{"server_id"="0a:00:00:00:00:fd","dns_server"="fd00::8"}' -- set logical_switch_port p1 dhcpv6_options=@d6"#;

/// Where something is heard.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Where questions come from.
    Near,
    /// Behind the router.
    Far,
    /// On the physical network.
    Outside,
}

/// One host with silent machines, and what reaches `p1` and `t1`, and the network outside if there is one.
struct Bed {
    lab: Lab,
    near: Capture,
    far: Capture,
    outside: Option<Capture>,
}

/// What has come so far, in order.
fn frames(capture: &Capture) -> Vec<Vec<u8>> {
    let packets = capture.packets().into_iter();
    let frames = packets.filter_map(|packet| {
        // The bytes come last, in lines that begin with an offset; options of router advertisements are shown so too.
        let (_, bytes) = packet.rsplit_once("0x0000:")?;
        let bytes = bytes.split_whitespace();
        let digits: String = bytes.filter(|word| !word.ends_with(':')).collect();
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len() / 2).map(|n| byte(2 * n)).collect()
    });
    frames.collect()
}

impl Bed {
    fn new(impls: Impls) -> Bed {
        let lab = Lab::new(impls, 1);
        lab.nb(NETWORK);
        for (name, mac) in [("p1", "00:01"), ("p2", "00:02"), ("t1", "01:01")] {
            lab.vm("h1", name, &format!("0a:00:00:00:{mac}"));
            lab.vm_run(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
                .ok();
        }
        let capture = |vm: &str| lab.capture(vm, vm, "-Q in -xx");
        let (near, far) = (capture("p1"), capture("t1"));
        lab.ready();
        Bed {
            lab,
            near,
            far,
            outside: None,
        }
    }

    /// As if `p1` had sent it.
    fn send(&self, frame: &[u8]) {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!(
            "ovs-ofctl -O OpenFlow15 packet-out br-int in_port=p1,packet={hex},actions=resubmit(,0)"
        );
        self.lab.run("h1", &line).ok();
    }

    /// What there is new at a place beyond so many frames, once there is something; nothing if nothing comes. Not what is said unasked.
    fn hear(&self, at: Place, before: usize) -> Vec<Vec<u8>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let new = frames(self.at(at)).into_iter().skip(before);
            let new: Vec<_> = new.filter(|frame| !unasked::is_unasked(frame)).collect();
            if !new.is_empty() || Instant::now() > until {
                return new;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn at(&self, at: Place) -> &Capture {
        match at {
            Place::Near => &self.near,
            Place::Far => &self.far,
            Place::Outside => self.outside.as_ref().unwrap(),
        }
    }
}

fn masked(frame: &[u8], but: But) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for (range, _) in but {
        if let Some(bytes) = frame.get_mut(range.clone()) {
            bytes.fill(0);
        }
    }
    frame
}

fn hex(frame: &[u8]) -> String {
    let words: Vec<String> = frame
        .chunks(2)
        .map(|w| w.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    words.join(" ")
}

/// What a bed answers to each, masked.
fn answers(bed: &Bed, questions: &[Question]) -> Vec<Vec<Vec<u8>>> {
    let answer = |question: &Question| {
        let before = frames(bed.at(question.at)).len();
        bed.send(&question.frame);
        let heard = bed.hear(question.at, before).into_iter();
        heard.map(|frame| masked(&frame, question.but)).collect()
    };
    questions.iter().map(answer).collect()
}

/// Asks both; what they answer differently, or not at all.
fn ask(beds: &[Bed; 2], questions: &[Question]) -> String {
    let [ours, stock] = std::thread::scope(|scope| {
        let asked = beds
            .each_ref()
            .map(|bed| scope.spawn(|| answers(bed, questions)));
        asked.map(|thread| thread.join().unwrap())
    });
    let list = |all: &[Vec<u8>]| {
        let all: Vec<String> = all.iter().map(|f| hex(f)).collect();
        all.join("\n    ")
    };
    let answered = questions.iter().zip(ours.iter().zip(&stock));
    let differing = answered.filter(|(_, (ours, stock))| ours != stock || ours.is_empty());
    let told = differing.map(|(question, (ours, stock))| {
        let (name, ours, stock) = (question.name, list(ours), list(stock));
        format!("{name}:\n  ours\n    {ours}\n  stock\n    {stock}\n")
    });
    told.collect()
}

#[test]
fn same_answers_byte_for_byte() {
    let beds = [Bed::new(Impls::WEFT), Bed::new(Impls::WEFT_NORTHD)];
    let lists = [
        asked::neighbours,
        asked::servers,
        asked::errors,
        asked::refusals,
    ];
    let differences = lists.map(|list| ask(&beds, &list())).concat();
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn same_words_unasked() {
    let beds = [Impls::WEFT_CONTROLLER, Impls::STOCK].map(|impls| {
        let mut bed = Bed::new(impls);
        unasked::prepare(&mut bed);
        bed
    });
    let said = unasked::compare(&beds);
    let answered = unasked::answer_probes(&beds);
    let differences = said + &answered + &ask(&beds, &asked::too_big());
    assert!(differences.is_empty(), "\n{differences}");
}
