//! Packets in words, as `ovs-ofctl` says them: well-formed ones of every kind, each damaged in random ways.
//!
//! `WEFT_SEED` chooses other damage.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use weft_controller::pinctrl::flow_text::describe;

const ROUNDS: usize = 40;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Ethernet header and what follows.
fn frames() -> Vec<Vec<u8>> {
    let head = "0a0000000002 0a0000000001";
    let v4 = |tos: &str, len: &str, place: &str, protocol: &str| {
        format!("0800 45{tos} {len} 0007 {place} 40{protocol} 0000 0a000001 0a000002")
    };
    let v6 = |len: &str, next: &str| {
        format!(
            "86dd 60412345 {len} {next} ff fd000000000000000000000000000001 fd000000000000000000000000000002"
        )
    };
    let (tcp, udp) = (
        "04d2 0050 00000001 00000000 5012 0064 0000 0000",
        "03e8 0035 0008 0000",
    );
    let arp = "0001 0800 0604 0001 0a0000000001 0a000001 000000000000 0a000002";
    let target = "fd000000000000000000000000000002";
    [
        format!("{} {tcp}", v4("b9", "0028", "4000", "06")),
        format!("{} {udp}", v4("00", "001c", "0000", "11")),
        format!("{} {udp}", v4("00", "001c", "2000", "11")),
        format!("{} {udp}", v4("00", "001c", "2003", "11")),
        format!(
            "{} 1388 1770 00000001 00000000 01000004",
            v4("00", "0024", "4000", "84")
        ),
        format!("{} 0800 0000 0001 0001", v4("00", "001c", "4000", "01")),
        format!("{} 1600 0000 e0000005", v4("00", "001c", "4000", "02")),
        format!("{} 31323334", v4("00", "0018", "4000", "2f")),
        format!("{} {tcp}", v6("0014", "06")),
        format!("{} {udp}", v6("0008", "11")),
        format!("{} 1100 0001 00000005 {udp}", v6("0010", "2c")),
        format!("{} 1100 0019 00000005 {udp}", v6("0010", "2c")),
        format!("{} 1100 0104 00000000 {udp}", v6("0010", "00")),
        format!("{} 0600 0000 00000000 {tcp}", v6("001c", "2b")),
        format!("{} 8000 0000 0001 0001", v6("0008", "3a")),
        format!(
            "{} 8700 0000 00000000 {target} 0101 0a0000000001",
            v6("0020", "3a")
        ),
        format!(
            "{} 8800 0000 60000000 {target} 0201 0a0000000002",
            v6("0020", "3a")
        ),
        v6("0000", "3b"),
        format!("0806 {arp}"),
        format!("8035 {arp}"),
        format!("8100 6005 {} {tcp}", v4("00", "0028", "4000", "06")),
        format!(
            "88a8 0007 8100 2005 {} {udp}",
            v4("00", "001c", "0000", "11")
        ),
        "88b5 68656c6c6f".to_owned(),
        "0014 4242 03 0000000000000000000000000000000000".to_owned(),
    ]
    .iter()
    .map(|rest| hex(&format!("{head} {rest}")))
    .collect()
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let words = |out: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| out.extend(word.to_le_bytes()))
    };
    words(&mut out, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1]);
    for packet in packets {
        let len = packet.len() as u32;
        words(&mut out, &[0, 0, len, len]);
        out.extend(packet);
    }
    out
}

/// Changes bytes behind the Ethernet header, or the length.
fn damage(dice: &mut Dice, packet: &mut Vec<u8>) {
    let behind = packet.len() - 14;
    for _ in 0..dice.below(3) {
        let at = 14 + dice.below(behind);
        packet[at] = dice.below(256) as u8;
    }
    match dice.below(6) {
        0 => packet.truncate(14 + dice.below(behind + 1)),
        1 => packet.extend(vec![0; 1 + dice.below(30)]),
        _ => {}
    }
}

#[test]
fn packets_in_the_words_of_open_vswitch() {
    let seed = std::env::var("WEFT_SEED").map_or(1, |seed| seed.parse().unwrap());
    let dice = &mut Dice(seed);
    let mut packets = frames();
    for _ in 0..ROUNDS {
        packets.extend(frames().into_iter().map(|mut packet| {
            damage(dice, &mut packet);
            packet
        }));
    }
    let file = std::env::temp_dir().join(format!("weft-flow-text-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap(&packets)).unwrap();
    let out = Command::new("ovs-ofctl")
        .arg("parse-pcap")
        .arg(&file)
        .output();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    let theirs: Vec<String> = text
        .lines()
        .map(|l| l.replace("in_port=ANY,", ""))
        .collect();
    assert_eq!(theirs.len(), packets.len());
    let differ: Vec<String> = packets
        .iter()
        .zip(&theirs)
        .filter(|(packet, theirs)| describe(packet) != **theirs)
        .map(|(packet, theirs)| {
            format!(
                "{packet:02x?}\n theirs {theirs}\n ours   {}",
                describe(packet)
            )
        })
        .collect();
    assert!(
        differ.is_empty(),
        "seed {seed}, {} differ:\n{}",
        differ.len(),
        differ[..differ.len().min(8)].join("\n")
    );
}
