//! What Open vSwitch does with a packet, as `ofproto/trace --names` tells it.

use std::collections::{BTreeMap, BTreeSet};

/// Something that happens to a packet or a copy of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It leaves by a port with these headers (those that were set on the way).
    Port(String, Headers),
    /// It goes into a tunnel.
    Tunnel(Tunnelled, Headers),
    /// It is sent to the controller, with the number of what is asked of it.
    Controller(u32),
}

/// Values of header fields by field (`ipv4.ttl`).
pub type Headers = BTreeMap<String, String>;

/// A tunnel and what its header says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnelled {
    /// Address of the other end.
    pub remote: String,
    /// VNI.
    pub vni: u32,
    /// OVN's option of Geneve: ingress and egress port key.
    pub keys: Option<(u32, u32)>,
}

/// All that happens to a packet; nothing if it is dropped.
pub fn events(trace: &str) -> BTreeSet<Event> {
    let mut all = BTreeSet::new();
    for line in trace.lines().map(str::trim) {
        if let Some(actions) = line.strip_prefix("Datapath actions: ") {
            walk(actions, &mut Headers::new(), &mut all);
        } else if let Some(data) = line.strip_prefix("controller(userdata=") {
            let bytes: Vec<u32> = data
                .split(['.', ',', ')'])
                .map_while(|byte| u32::from_str_radix(byte, 16).ok())
                .take(4)
                .collect();
            let number = bytes.iter().fold(0, |number, byte| number << 8 | byte);
            all.insert(Event::Controller(number));
        }
    }
    all
}

fn walk(actions: &str, headers: &mut Headers, all: &mut BTreeSet<Event>) {
    // What follows on a tunnel header is the way of the outer packet.
    let mut outer = false;
    for action in split(actions) {
        match action.split_once('(') {
            None if matches!(action, "drop" | "ct_clear" | "pop_vlan" | "") => {}
            None if !outer => {
                all.insert(Event::Port(action.to_string(), headers.clone()));
            }
            None => {}
            Some((name, rest)) => {
                let inside = rest.strip_suffix(')').unwrap_or(rest);
                match name {
                    "set" => set("", inside, headers),
                    "clone" => walk(inside, &mut headers.clone(), all),
                    "tnl_push" => {
                        outer = true;
                        all.insert(Event::Tunnel(tunnelled(inside), headers.clone()));
                    }
                    "push_vlan" => set("vlan.", inside, headers),
                    "check_pkt_len" => {
                        for branch in split(inside) {
                            if let Some(rest) = branch.strip_prefix("le(") {
                                walk(
                                    rest.strip_suffix(')').unwrap_or(rest),
                                    &mut headers.clone(),
                                    all,
                                );
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// `eth(src=a,dst=b)` as `eth.src` and `eth.dst`.
fn set(prefix: &str, text: &str, headers: &mut Headers) {
    for part in split(text) {
        match (part.split_once('('), part.split_once('=')) {
            (Some((name, rest)), _) if !name.contains('=') => set(
                &format!("{prefix}{name}."),
                rest.strip_suffix(')').unwrap_or(rest),
                headers,
            ),
            (_, Some((name, value))) => {
                headers.insert(format!("{prefix}{name}"), value.to_string());
            }
            _ => {}
        }
    }
}

fn tunnelled(text: &str) -> Tunnelled {
    let number = |text: &str| {
        let token: String = text
            .chars()
            .take_while(|c| c.is_ascii_hexdigit() || *c == 'x')
            .collect();
        match token.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).unwrap_or(0),
            None => token.parse().unwrap_or(0),
        }
    };
    let after = |marker: &str| text.split_once(marker).map(|(_, rest)| rest);
    let remote = after("ipv4(")
        .and_then(|rest| rest.split_once("dst="))
        .map_or("", |(_, rest)| rest.split([',', ')']).next().unwrap_or(""));
    let option = after("{class=0x102,type=0x80,len=4,").map(number);
    Tunnelled {
        remote: remote.to_string(),
        vni: after("vni=").map_or(0, number),
        keys: option.map(|bits| (bits >> 16, bits & 0xffff)),
    }
}

/// At commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_tunnels_and_headers() {
        let text = "bridge(\"br-int\")\n 0. x\n   controller(userdata=00.00.00.0c.01,pause)\nFinal flow: x\n\
            Datapath actions: p1,set(eth(src=0a:00:00:00:00:01,dst=0a:00:00:00:00:02)),set(ipv4(ttl=63)),\
            clone(tnl_push(tnl_port(genev_sys_6081),header(size=58,type=5,eth(dst=a,src=b,dl_type=0x0800),\
            ipv4(src=192.168.50.10,dst=192.168.50.11,proto=17),udp(src=0,dst=6081),geneve(crit,vni=0x2,\
            options({class=0x102,type=0x80,len=4,0x10003}))),out_port(br-phys)),eth1),p2\n";
        let events = events(text);
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(events.contains(&Event::Port("p1".into(), Headers::new())));
        assert!(events.contains(&Event::Controller(12)));
        let at_p2 = events.iter().find_map(|event| match event {
            Event::Port(name, headers) if name == "p2" => Some(headers),
            _ => None,
        });
        assert_eq!(at_p2.unwrap()["ipv4.ttl"], "63");
        let tunnel = events.iter().find_map(|event| match event {
            Event::Tunnel(tunnel, _) => Some(tunnel.clone()),
            _ => None,
        });
        let expected = Tunnelled {
            remote: "192.168.50.11".into(),
            vni: 2,
            keys: Some((1, 3)),
        };
        assert_eq!(tunnel, Some(expected));
    }
}
