//! Packets seen on a device, decoded by tcpdump.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::command::{prepare, words};
use crate::lab::{CONVERGE, Lab};
use crate::wait::ensure;
use crate::wait_for;

/// A tcpdump that runs until it is dropped.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

/// A tunnel header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelHeader {
    /// Virtual network identifier.
    pub vni: u32,
    /// OVN's option (class 0x0102, type 0x80): 16 bits ingress key, 16 bits egress key. Geneve only.
    pub option: Option<u32>,
    /// The packet inside, as tcpdump tells it.
    pub inner: String,
}

impl TunnelHeader {
    /// Reads one packet of `tcpdump -vv`, its lines joined.
    pub fn parse(text: &str) -> Option<TunnelHeader> {
        let after =
            |marker: &str| -> Option<&str> { text.split_once(marker).map(|(_, rest)| rest) };
        let token = |rest: &str| -> String {
            rest.chars()
                .take_while(|c| c.is_ascii_hexdigit() || *c == 'x')
                .collect()
        };
        if let Some(rest) = after("Geneve,") {
            let vni = token(rest.split_once("vni ")?.1);
            let option = rest
                .split_once("(0x102) type 0x80(C) len 8 data ")
                .and_then(|(_, data)| u32::from_str_radix(&token(data), 16).ok());
            let vni = u32::from_str_radix(vni.strip_prefix("0x")?, 16).ok()?;
            Some(TunnelHeader {
                vni,
                option,
                inner: rest.to_string(),
            })
        } else {
            let rest = after("VXLAN,")?;
            let vni = token(rest.split_once("vni ")?.1).parse().ok()?;
            Some(TunnelHeader {
                vni,
                option: None,
                inner: rest.to_string(),
            })
        }
    }
}

impl Capture {
    /// The packets so far, each in one line.
    pub fn packets(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let mut out: Vec<String> = Vec::new();
        for line in text.lines() {
            match out.last_mut() {
                // A packet starts with its time, 12:34:56.789; an inner Ethernet address has no dot there.
                Some(packet)
                    if line.as_bytes().get(8) != Some(&b'.')
                        || line.starts_with(char::is_whitespace) =>
                {
                    packet.push(' ');
                    packet.push_str(line.trim());
                }
                _ => out.push(line.to_string()),
            }
        }
        out
    }

    /// Waits for a packet that `wanted` makes something of.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        wait_for(CONVERGE, what, || {
            let packets = self.packets();
            packets
                .iter()
                .find_map(|packet| wanted(packet))
                .ok_or_else(|| packets.join("\n"))
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    /// Starts capturing on a device of a host or VM; returns once it captures.
    #[track_caller]
    pub fn capture(&self, place: &str, device: &str, filter: &str) -> Capture {
        let file = self
            .host_dir(&self.hosts()[0])
            .join(format!("capture-{place}-{device}.txt"));
        let errors = file.with_extension("err");
        let mut argv = words(&format!("tcpdump -l -nn -e -vv -i {device}"));
        argv.extend(words(filter));
        let create = |path: &PathBuf| {
            File::create(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
        };
        let child = prepare(Some(&self.netns(place)), None, &argv)
            .stdout(Stdio::from(create(&file)))
            .stderr(Stdio::from(create(&errors)))
            .spawn()
            .unwrap_or_else(|why| panic!("tcpdump does not start: {why}"));
        let capture = Capture { child, file };
        wait_for(Duration::from_secs(10), "tcpdump to listen", || {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            ensure(said.contains("listening on"), said)
        });
        capture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnel_headers() {
        let geneve = "02:00 > 02:01, IPv4 192.168.50.10.1 > 192.168.50.11.6081: [no cksum] Geneve, Flags [C], vni 0x1f, proto TEB \
            (0x6558), options [class Open Virtual Networking (OVN) (0x102) type 0x80(C) len 8 data 00020001]";
        let header = TunnelHeader::parse(geneve).unwrap();
        assert_eq!((header.vni, header.option), (0x1f, Some(0x0002_0001)));
        let vxlan = "192.168.50.10.1 > 192.168.50.11.4789: [no cksum] VXLAN, flags [I] (0x08), vni 4097 12:34";
        assert_eq!(TunnelHeader::parse(vxlan).unwrap().vni, 4097);
    }
}
