//! The codec against bytes that ovs-ofctl and ovs-vswitchd 3.1 exchanged.
#![allow(clippy::unwrap_used)]

use weft_openflow::{FlowMod, Message, MultipartReply};

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.split_once(' ').unwrap_or((l, "")))
}

fn shown(flow: &FlowMod) -> String {
    let sep = if flow.matching.is_any() { "" } else { "," };
    format!(
        "priority={}{sep}{} actions={}",
        flow.priority, flow.matching, flow.instructions
    )
}

/// What ovs-ofctl sends decodes, shows as ovs-ofctl shows it, and encodes to the same bytes.
#[test]
fn flow_mods() {
    let mut bad = Vec::new();
    for (bytes, text) in lines(include_str!("flows.txt")) {
        let (xid, message) =
            Message::decode(&unhex(bytes)).unwrap_or_else(|e| panic!("{text}: {e}"));
        let Message::FlowMod(flow) = &message else {
            panic!("{text}: {message:?}")
        };
        if flow.instructions.other.is_empty()
            && !text.contains("load:")
            && shown(flow) != text
            && !shown(flow).contains("raw:")
        {
            bad.push(format!("shown\n  {}\n  {text}", shown(flow)));
        }
        let mut again = Vec::new();
        message.encode(xid, &mut again).unwrap();
        if hex(&again) != bytes {
            bad.push(format!("{text}\n  {bytes}\n  {}", hex(&again)));
        }
        let second = Message::decode(&again).unwrap().1;
        assert_eq!(second, message, "{text}");
    }
    assert!(bad.is_empty(), "{} differ:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn flow_dumps() {
    let mut bad = Vec::new();
    for (bytes, text) in lines(include_str!("dumps.txt")) {
        let (_, message) = Message::decode(&unhex(bytes)).unwrap_or_else(|e| panic!("{text}: {e}"));
        let Message::MultipartReply {
            body: MultipartReply::Flows(flows),
            more: false,
        } = message
        else {
            panic!("{text}: {message:?}")
        };
        let flow = &flows[0];
        let sep = if flow.matching.is_any() { "" } else { "," };
        let shown = format!(
            "priority={}{sep}{} actions={}",
            flow.priority, flow.matching, flow.instructions
        );
        if shown != text {
            bad.push(format!("  {shown}\n  {text}"));
        }
    }
    assert!(bad.is_empty(), "{} differ:\n{}", bad.len(), bad.join("\n"));
}

/// All other messages decode to what encodes to the same.
#[test]
fn messages() {
    let mut bad = Vec::new();
    for (bytes, _) in lines(include_str!("messages.txt")) {
        let (xid, message) =
            Message::decode(&unhex(bytes)).unwrap_or_else(|e| panic!("{bytes}: {e}"));
        let mut again = Vec::new();
        message.encode(xid, &mut again).unwrap();
        assert_eq!(Message::decode(&again).unwrap().1, message, "{bytes}");
        // Registers come in pairs from the switch, counters and ports have more properties than we keep.
        let lossy = matches!(
            message,
            Message::MultipartReply { .. } | Message::PortStatus(_) | Message::Hello(_)
        );
        if hex(&again) != bytes
            && !lossy
            && !bytes.contains("80010f10")
            && !bytes.contains("80010110")
        {
            bad.push(format!("{message:?}\n  {bytes}\n  {}", hex(&again)));
        }
    }
    assert!(bad.is_empty(), "{} differ:\n{}", bad.len(), bad.join("\n"));
}
