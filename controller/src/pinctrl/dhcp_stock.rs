//! DHCP answers against those of a stock controller, captured with the questions; and what it leaves unanswered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_lang::options::OptionType;
use weft_lang::{Pipeline, parse_actions};
use weft_openflow::{Action, Field, Message, PacketIn};
use weft_ovsdb::model::Str;
use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, ethertype, transport};

use super::respond::{Request, respond};
use super::testing::{hex, packet_in};
use crate::actions::dhcp::OptionRow;
use crate::actions::opcode::Opcode;
use crate::actions::{Context, Unsupported, encode};

/// Options by name.
type Options = BTreeMap<String, OptionRow>;

/// What the action sends to the controller.
fn userdata(options: &Options, action: &str) -> Result<Box<[u8]>, Unsupported> {
    let context = Context {
        pipeline: Pipeline::Ingress,
        table: 20,
        cookie: 0,
        dp_key: 1,
        is_router: false,
        controller_meter: None,
        port_key: &|_| None,
        is_resident: &|_| false,
        tunnel_to: &|_| None,
        has_meter: &|_| false,
        dhcp_option: &|_, name: &Str| options.get(&**name).copied(),
    };
    let encoded = encode(&context, &parse_actions(action).unwrap())?;
    let list: Vec<Action> = encoded.actions.list.iter().collect();
    let [Action::Controller(to)] = &list[..] else {
        panic!("{list:?}")
    };
    assert!(to.pause);
    Ok(to.userdata.clone())
}

/// Asks the responder with a payload; the answer's destination and payload.
fn ask(userdata: &[u8], v6: bool, payload: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let (ip, kind, ports) = if v6 {
        let (src, dst) = ("fe80::800:ff:fe00:1", "ff02::1:2");
        let ip = IpHeader::V6 {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
        };
        (ip, ethertype::IPV6, (546, 547))
    } else {
        let ip = IpHeader::V4 {
            src: [0, 0, 0, 0].into(),
            dst: [255, 255, 255, 255].into(),
        };
        (ip, ethertype::IPV4, (68, 67))
    };
    let ethernet = Ethernet::new(Mac([10, 0, 0, 0, 0, 1]), Mac([255; 6]), kind);
    let question = transport::udp(&ethernet, ip, 64, ports.0, ports.1, payload);
    let (opcode, params) = Opcode::split(userdata).unwrap();
    let mut packet: PacketIn = packet_in(opcode, params, &question);
    packet.continuation = Some(vec![1]);
    let request = Request {
        opcode,
        params,
        packet: &packet,
    };
    let answer = respond(&request).unwrap();
    let [Message::Resume(resumed)] = &answer.send[..] else {
        panic!("{answer:?}")
    };
    let resumed = resumed.packet_in();
    if resumed.metadata_value(Field::Reg0) == 8 {
        return Some(read(&resumed.packet));
    }
    assert_eq!(resumed, &packet, "it goes on as it came");
    None
}

/// Destination and payload of a datagram whose lengths and checksums are right.
fn read(bytes: &[u8]) -> (IpAddr, Vec<u8>) {
    let frame = Frame::parse(bytes).unwrap();
    let ip = Ip::parse(&frame).unwrap();
    assert_eq!(ip.packet.len(), frame.payload.len());
    let len = u16::from_be_bytes([ip.payload[4], ip.payload[5]]);
    assert_eq!(usize::from(len), ip.payload.len());
    match ip.header {
        IpHeader::V4 { .. } => {
            assert_eq!(weft_packet::internet_checksum(&[&ip.packet[..20]]), 0);
            assert_eq!(ip.payload[6..8], [0, 0]);
        }
        IpHeader::V6 { .. } => {
            let sum = ip
                .header
                .transport_checksum(weft_packet::protocol::UDP, ip.payload);
            assert_eq!(sum, 0);
        }
    }
    (ip.header.dst(), ip.payload[8..].to_vec())
}

/// `0*N` are N zero bytes, other words hexadecimal digits.
fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .flat_map(|word| match word.strip_prefix("0*") {
            Some(n) => vec![0; n.parse().unwrap()],
            None => hex(word),
        })
        .collect()
}

/// Goes through a file; how many questions there were.
fn compare(file: &str, v6: bool) -> usize {
    let mut options = Options::new();
    let (mut data, mut name, mut question, mut asked) = (None, "", Vec::new(), 0);
    for line in file.lines().filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "#" => name = rest,
            "option" => {
                let [name, code, ty] = rest.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}")
                };
                let row = OptionRow {
                    code: code.parse().unwrap(),
                    ty: OptionType::from_name(ty).unwrap(),
                };
                options.insert(name.to_owned(), row);
            }
            "offer" => data = Some(userdata(&options, rest).unwrap()),
            "asks" => question = bytes(rest),
            "gets" => {
                asked += 1;
                let expected = rest.split_once(' ').map(|(to, payload)| {
                    let payload = bytes(payload);
                    (to.parse::<IpAddr>().unwrap(), payload)
                });
                let got = ask(data.as_ref().unwrap(), v6, &question);
                // Of DHCPv6 the flow sets it.
                let to =
                    |answer: (IpAddr, Vec<u8>)| (if v6 { None } else { Some(answer.0) }, answer.1);
                assert_eq!(got.map(to), expected.map(to), "{name}");
            }
            other => panic!("{other}"),
        }
    }
    asked
}

#[test]
fn dhcpv4_answers_are_those_of_stock() {
    assert_eq!(compare(include_str!("testdata/stock_dhcp4.txt"), false), 36);
}

#[test]
fn dhcpv6_answers_are_those_of_stock() {
    assert_eq!(compare(include_str!("testdata/stock_dhcp6.txt"), true), 22);
}

fn options_v6() -> Options {
    [
        ("server_id", 2, OptionType::Mac),
        ("ia_addr", 5, OptionType::Ipv6),
        ("domain_search", 24, OptionType::Str),
        ("fqdn", 39, OptionType::Domain),
        ("bootfile_name", 59, OptionType::Str),
        ("bootfile_name_alt", 254, OptionType::Str),
    ]
    .into_iter()
    .map(|(name, code, ty)| (name.to_owned(), OptionRow { code, ty }))
    .collect()
}

const CLIENT: &str = "0001 000a 000300010a0000000001";
const SERVER: &str = "0002 000a 000300010a000000ff02";
const WANTED: &str = "0003 000c 00000022 0*8";
const GIVEN: &str = "0003 0028 00000022ffffffffffffffff 0005 0018 fd00 0*13 01 ffffffffffffffff";

/// What stock leaves unanswered or answers otherwise: the payload sent for a question.
fn ours(action: &str, question: &str) -> Option<Vec<u8>> {
    let data = userdata(&options_v6(), action).unwrap();
    ask(&data, true, &bytes(question)).map(|(_, payload)| payload)
}

#[test]
fn leases_are_renewed_and_given_back() {
    let action = "reg0[3] = put_dhcpv6_opts(ia_addr = fd00::1, server_id = 0a:00:00:00:ff:02);";
    for kind in ["05", "06"] {
        let got = ours(action, &format!("{kind}abcdef {CLIENT} {WANTED}"));
        assert_eq!(
            got,
            Some(bytes(&format!("07abcdef {CLIENT} {GIVEN} {SERVER}")))
        );
    }
    let got = ours(action, &format!("08abcdef {CLIENT} {SERVER} {WANTED}"));
    assert_eq!(
        got,
        Some(bytes(&format!("07abcdef {CLIENT} 000d 0002 0000 {SERVER}")))
    );
}

#[test]
fn names_to_search_are_as_rfc_1035_writes_them() {
    let action = "reg0[3] = put_dhcpv6_opts(domain_search = \"ovn.org,a.b\", server_id = 0a:00:00:00:ff:02);";
    let got = ours(action, &format!("0babcdef {CLIENT}"));
    let list = "0018 000e 036f766e036f726700 0161016200";
    assert_eq!(
        got,
        Some(bytes(&format!("07abcdef {CLIENT} {list} {SERVER}")))
    );
}

#[test]
fn a_name_is_told_to_who_asks() {
    let action = "reg0[3] = put_dhcpv6_opts(fqdn = \"vm.x\", server_id = 0a:00:00:00:ff:02);";
    let got = |option: &str| ours(action, &format!("0babcdef {CLIENT} {option}"));
    let told = |flags: &str| {
        let fqdn = format!("0027 0007 {flags} 02766d017800");
        Some(bytes(&format!("07abcdef {CLIENT} {fqdn} {SERVER}")))
    };
    assert_eq!(
        got("0027 0002 01 00"),
        told("06"),
        "the client wants the server to register it"
    );
    assert_eq!(got("0027 0002 00 00"), told("04"));
    assert_eq!(got("0006 0002 0027"), told("04"));
    assert_eq!(got(""), Some(bytes(&format!("07abcdef {CLIENT} {SERVER}"))));
}

#[test]
fn who_boots_gets_its_file() {
    let action = "reg0[3] = put_dhcpv6_opts(bootfile_name = \"x\", bootfile_name_alt = \"yy\", server_id = 0a:00:00:00:ff:02);";
    let got = |option: &str| ours(action, &format!("0babcdef {CLIENT} {option}"));
    let file = |file: &str| Some(bytes(&format!("07abcdef {CLIENT} 003b {file} {SERVER}")));
    assert_eq!(got(""), file("0002 7979"));
    assert_eq!(got("000f 0006 0004 69505845"), file("0001 78"));
}

#[test]
fn options_that_are_not_there_leave_the_flow_out() {
    let bad = |action: &str| userdata(&options_v6(), action).unwrap_err().to_string();
    assert_eq!(
        bad("reg0[3] = put_dhcpv6_opts(ia_addr = fd00::1, bogus = 1);"),
        "option bogus is not among the southbound's options"
    );
    assert_eq!(
        bad("reg0[3] = put_dhcpv6_opts(ia_addr = 10.0.0.1);"),
        "option ia_addr has a value of another type"
    );
    assert_eq!(
        userdata(&Options::new(), "reg0[3] = put_dhcp_opts();")
            .unwrap_err()
            .to_string(),
        "option offerip is missing"
    );
}

proptest::proptest! {
    /// Whatever comes with a sound question, and whatever question comes with sound options, is answered or goes on; an answer
    /// is sound.
    #[test]
    fn nothing_comes_of_nonsense(v6: bool, rest: Vec<u8>, payload: Vec<u8>, sound in 0..3u8) {
        let (action, question) = if v6 {
            let action = "reg0[3] = put_dhcpv6_opts(ia_addr = fd00::1, server_id = 0a:00:00:00:ff:02);";
            (action, bytes(&format!("01abcdef {CLIENT} {WANTED}")))
        } else {
            let question = bytes("01010600 0*24 0a0000000001 0*202 63825363 350101");
            ("reg0[3] = put_dhcp_opts(offerip = 10.0.0.1);", question)
        };
        let mut options = options_v6();
        let row = OptionRow { code: 0, ty: OptionType::Ipv4 };
        options.insert("offerip".to_owned(), row);
        let mut data = userdata(&options, action).unwrap().into_vec();
        if sound != 0 {
            data.extend(&rest);
        }
        let question = match sound {
            1 => question,
            _ => [question, payload].concat(),
        };
        let answer = ask(&data, v6, &question);
        proptest::prop_assert!(v6 || sound != 1 || answer.is_some());
    }
}
