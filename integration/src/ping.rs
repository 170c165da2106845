//! Pings and what came of them.

use std::io::Read;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{self, words};
use crate::lab::Lab;
use crate::programs::Impl;

/// What a run of ping(8) told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Echo requests sent.
    pub sent: u32,
    /// Replies (duplicates not counted).
    pub received: u32,
    /// Replies that came twice.
    pub duplicates: u32,
    /// TTL or hop limit of each reply.
    pub ttls: Vec<u8>,
    /// All it wrote.
    pub text: String,
}

impl Ping {
    /// Reads the output of iputils' ping.
    pub fn parse(text: &str) -> Option<Ping> {
        let summary = text
            .lines()
            .find(|line| line.contains("packets transmitted"))?;
        let number = |what: &str| -> Option<u32> {
            let part = summary.split(',').find(|part| part.contains(what))?;
            part.split_whitespace()
                .next()?
                .trim_start_matches('+')
                .parse()
                .ok()
        };
        Some(Ping {
            sent: number("transmitted")?,
            received: number("received")?,
            duplicates: number("duplicates").unwrap_or(0),
            ttls: text
                .lines()
                .filter_map(|line| {
                    line.split("ttl=")
                        .nth(1)?
                        .split_whitespace()
                        .next()?
                        .parse()
                        .ok()
                })
                .collect(),
            text: text.to_string(),
        })
    }

    /// The replies around each gap, for messages.
    pub fn gaps(&self) -> String {
        let seq = |line: &str| -> Option<u32> {
            let rest = line.split("icmp_seq=").nth(1)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let replies: Vec<(u32, &str)> = self
            .text
            .lines()
            .filter_map(|line| Some((seq(line)?, line)))
            .collect();
        let gaps = replies.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1);
        gaps.map(|pair| format!("{}\n{}\n", pair[0].1, pair[1].1))
            .collect()
    }

    /// How many were lost.
    pub fn lost(&self) -> u32 {
        self.sent - self.received
    }
}

/// A ping running in the background until [`PingAcross::stop`].
#[derive(Debug)]
pub struct PingAcross {
    child: Child,
    what: String,
}

impl PingAcross {
    /// Interrupts it and reads its summary.
    #[track_caller]
    pub fn stop(mut self) -> Ping {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a child has an id");
        // It may have ended by itself, which its summary will tell.
        let _ = kill_process(pid, Signal::INT);
        let mut text = String::new();
        if let Some(out) = self.child.stdout.as_mut() {
            out.read_to_string(&mut text).expect("ping writes text");
        }
        let _ = self.child.wait();
        let mut ping = Ping::parse(&text)
            .unwrap_or_else(|| panic!("no summary of ping {}:\n{text}", self.what));
        // The interrupt may come between the last request and its reply: that one says nothing.
        if ping.lost() > 0 && !text.contains(&format!("icmp_seq={} ", ping.sent)) {
            ping.sent -= 1;
        }
        ping
    }
}

impl Lab {
    /// Sends `count` pings, 0.2 s apart, each waiting up to one second for its reply. `more` are options of ping(8).
    #[track_caller]
    pub fn ping(&self, vm: &str, to: &str, count: u32, more: &str) -> Ping {
        let line = format!("ping -n -c {count} -i 0.2 -W 1 {more} {to}");
        let done = self.vm_run(vm, &line);
        Ping::parse(&done.stdout)
            .unwrap_or_else(|| panic!("`{line}` in {vm}:\n{}{}", done.stdout, done.stderr))
    }

    /// Pings every `interval` seconds until stopped.
    #[track_caller]
    pub fn ping_across(&self, vm: &str, to: &str, interval: &str) -> PingAcross {
        let argv = words(&format!("ping -n -D -i {interval} {to}"));
        let child = command::prepare(Some(&self.netns(vm)), None, &argv)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("ping does not start: {why}"));
        PingAcross {
            child,
            what: format!("{vm} -> {to}"),
        }
    }

    /// Waits until `vm` gets a first answer from `to` (a tunnel's first packet is lost while its neighbour resolves,
    /// flows may still be on their way), then demands every answer of three, none twice.
    ///
    /// A stock controller may lose another packet while it puts in what the first one taught it (a claim, a neighbour):
    /// it has as long as for the first answer to settle.
    #[track_caller]
    pub fn reaches(&self, vm: &str, to: &str) -> Ping {
        crate::wait_for(
            crate::lab::CONVERGE,
            &format!("a first answer, {vm} -> {to}"),
            || {
                let first = self.ping(vm, to, 1, "");
                crate::wait::ensure(first.received == 1, first.text)
            },
        );
        let whole = || {
            let ping = self.ping(vm, to, 3, "");
            if ping.lost() == 0 && ping.duplicates == 0 {
                Ok(ping)
            } else {
                Err(ping.text)
            }
        };
        let what = format!("{vm} -> {to}, all of three");
        match self.impls().controller {
            Impl::Weft => whole().unwrap_or_else(|seen| panic!("{what} expected:\n{seen}")),
            Impl::Stock => crate::wait_for(crate::lab::CONVERGE, &what, whole),
        }
    }

    /// [`Lab::reaches`], with every reply at this TTL or hop limit.
    #[track_caller]
    pub fn reaches_with_ttl(&self, vm: &str, to: &str, ttl: u8) {
        let ping = self.reaches(vm, to);
        assert!(
            ping.ttls.iter().all(|&seen| seen == ttl),
            "{vm} -> {to}, expected ttl {ttl}:\n{}",
            ping.text
        );
    }

    /// Demands that none of three pings is answered.
    #[track_caller]
    pub fn never_reaches(&self, vm: &str, to: &str) {
        let ping = self.ping(vm, to, 3, "");
        assert!(
            ping.received == 0,
            "{vm} -> {to}, no answer expected:\n{}",
            ping.text
        );
    }

    /// Waits until `vm` gets no more answers from `to`.
    #[track_caller]
    pub fn loses(&self, vm: &str, to: &str) {
        crate::wait_for(
            crate::lab::CONVERGE,
            &format!("no more answers, {vm} -> {to}"),
            || {
                let ping = self.ping(vm, to, 1, "");
                crate::wait::ensure(ping.received == 0, ping.text)
            },
        );
        self.never_reaches(vm, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_iputils() {
        let text = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n\
            64 bytes from 10.0.0.2: icmp_seq=1 ttl=63 time=0.5 ms\n\
            64 bytes from 10.0.0.2: icmp_seq=1 ttl=63 time=0.6 ms (DUP!)\n\n--- 10.0.0.2 ping statistics ---\n\
            2 packets transmitted, 1 received, +1 duplicates, 50% packet loss, time 201ms\n";
        let ping = Ping::parse(text).unwrap();
        assert_eq!(
            (ping.sent, ping.received, ping.duplicates, ping.lost()),
            (2, 1, 1, 1)
        );
        assert_eq!(ping.ttls, [63, 63]);
    }
}
