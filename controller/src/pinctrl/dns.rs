//! `R = dns_lookup();`: makes an answer of a question for a name that the southbound's DNS table has for the datapath.
//!
//! Guarantees: what is not a plain question for such a name goes on as it came. Names are compared without case; a value is
//! addresses, separated by commas or blanks, or else one name, of which PTR questions learn. Names that are `ovn-owned`
//! are told by nobody else: a question for an address of a family that they do not have is answered at once, with nothing
//! (RFC 2308, section 2.2). Stock of 24.03 and newer refuses it, for which the C library musl asks again and again until it
//! gives up on the other family too. Questions for anything but addresses go on, as with stock.
//!
//! The same question has the same answer from stock 23.03, byte for byte, but for:
//! * EDNS, which it leaves unanswered (RFC 6891: answered in kind), and the flags TC and AD, which it copies from the question
//!   (RFC 1035, RFC 4035: TC says that something is left out of the answer, AD that it was validated);
//! * answers that are longer than the asker takes: it sends them whole; here names become pointers, then what does not fit
//!   is left out and TC set (RFC 1035, section 4.2.1);
//! * several questions in one (RFC 9619), questions with answers or junk behind, other operations than QUERY and other
//!   classes than IN: it answers, here they go on;
//! * PTR for a name that has addresses: it tells the addresses' text as a name; here that goes on, and ANY has names as well;
//! * commas between addresses: it stops at the first; and names with upper case in the DNS table, which it never finds;
//! * the checksum of UDP over IPv4, which it leaves out.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use weft_openflow::Field;
use weft_ovsdb::model::{Str, Uuid};
use weft_packet::dns::{Name, Question, Record, kind};
use weft_packet::{ParseError, transport};
use weft_schemas::sb;

use super::respond::{Answer, Refusal, Request};
use super::verdict::Verdict;
use crate::core::Core;
use crate::index::Index;

/// What the table says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Every record.
    pub records: Vec<Record>,
    /// Nobody else knows of it.
    pub owned: bool,
}

/// Answers a question; `known` says what a datapath (by its key) knows of a name in lower case.
///
/// # Errors
/// When the packet is not paused or the parameters are not those of the action.
pub fn respond(
    request: &Request<'_>,
    known: impl FnOnce(u32, &str) -> Option<Known>,
) -> Result<Answer, Refusal> {
    let (verdict, _) = Verdict::split(request)?;
    let answer = answer(request, known).ok().flatten();
    verdict.resume(request, answer)
}

fn answer(
    request: &Request<'_>,
    known: impl FnOnce(u32, &str) -> Option<Known>,
) -> Result<Option<Vec<u8>>, ParseError> {
    let (_, ip) = request.ip()?;
    let question = Question::parse(transport::udp_payload(&ip)?)?;
    let datapath = request.packet.metadata_value(Field::Metadata);
    let datapath = u32::try_from(datapath).unwrap_or(0);
    let known = question.name().and_then(|name| known(datapath, &name));
    let Some(mut known) = known else {
        return Ok(None);
    };
    known.records.retain(|record| record.is_of(question.kind));
    // As stock has it: IPv4 first.
    known
        .records
        .sort_by_key(|record| !matches!(record, Record::A(_)));
    let address = matches!(question.kind, kind::A | kind::AAAA | kind::ANY);
    if known.records.is_empty() && !(known.owned && address) {
        return Ok(None);
    }
    let payload = question.answer(&known.records);
    transport::with_udp_payload(&request.packet.packet, &payload).map(Some)
}

/// What a value of `records` says.
fn records(value: &str) -> Vec<Record> {
    let words = || value.split([' ', ',']).filter(|word| !word.is_empty());
    let addresses = words().filter_map(|word| word.parse().ok());
    let addresses: Vec<Record> = addresses
        .map(|ip| match ip {
            IpAddr::V4(ip) => Record::A(ip),
            IpAddr::V6(ip) => Record::Aaaa(ip),
        })
        .collect();
    let mut names = words();
    match (names.next(), names.next()) {
        (Some(name), None) if addresses.is_empty() => {
            Name::new(name).ok().map(Record::Ptr).into_iter().collect()
        }
        _ => addresses,
    }
}

/// Names of a row that are not in lower case, as stock northd of 23.03 writes them, by what they are in lower case.
#[derive(Debug)]
struct Mixed {
    row: Arc<sb::Dns>,
    names: FxHashMap<String, Str>,
}

impl Mixed {
    fn new(row: &Arc<sb::Dns>) -> Mixed {
        let upper = |name: &Str| name.bytes().any(|b| b.is_ascii_uppercase());
        let mixed = row.records.iter().filter(|(name, _)| upper(name));
        Mixed {
            row: Arc::clone(row),
            names: mixed
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect(),
        }
    }
}

/// The DNS table as questions need it.
#[derive(Debug, Default)]
pub struct Names {
    /// Of the rows that have been asked for.
    mixed: FxHashMap<Uuid, Mixed>,
}

impl Names {
    pub(super) fn respond(
        &mut self,
        request: &Request<'_>,
        core: &Core,
    ) -> Result<Answer, Refusal> {
        respond(request, |datapath, name| self.known(core, datapath, name))
    }

    /// What the rows of a datapath say of a name, all together.
    fn known(&mut self, core: &Core, datapath: u32, name: &str) -> Option<Known> {
        let (idx, table) = (&core.inputs.idx, &core.inputs.sb.dns);
        if self.mixed.len() > table.len() {
            self.mixed.retain(|row, _| table.contains(*row));
        }
        let datapath = *idx
            .find(Index::DatapathByKey, i64::from(datapath))
            .first()?;
        let mut found: Option<Known> = None;
        for &uuid in idx.find(Index::DnsOfDatapath, datapath) {
            let Some(row) = table.get_arc(uuid) else {
                continue;
            };
            let mixed = self.mixed.entry(uuid).or_insert_with(|| Mixed::new(row));
            if !Arc::ptr_eq(&mixed.row, row) {
                *mixed = Mixed::new(row);
            }
            let value = row.records.get(name).or_else(|| mixed.names.get(name));
            let Some(value) = value else { continue };
            let known = found.get_or_insert_default();
            known.owned |= row.options.flag("ovn-owned", false);
            for record in records(value) {
                if !known.records.contains(&record) {
                    known.records.push(record);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use weft_openflow::{Message, PacketIn};
    use weft_packet::{Ethernet, Frame, Ip, IpHeader, Mac, ethertype};
    use weft_schemas::sb;

    use super::super::testing::{hex, packet_in};
    use super::*;
    use crate::actions::opcode::Opcode;

    const TABLE: &[(&str, &str)] = &[
        ("vm1.ovn.org", "10.0.0.4 aef0::4"),
        ("4.0.0.10.in-addr.arpa", "vm1.ovn.org"),
        ("many.ovn.org", "10.0.0.6 aef0::6 10.0.0.7"),
        ("comma.ovn.org", "10.0.0.10,10.0.0.11, 10.0.0.12"),
        ("owned.ovn.org", "10.0.0.9"),
        ("bad.ovn.org", "x y"),
    ];

    fn known(_: u32, name: &str) -> Option<Known> {
        let (_, value) = TABLE.iter().find(|(known, _)| *known == name)?;
        Some(Known {
            records: records(value),
            owned: name.starts_with("owned"),
        })
    }

    fn datagram(payload: &[u8], v6: bool) -> Vec<u8> {
        let ip = match v6 {
            false => IpHeader::V4 {
                src: [10, 0, 0, 1].into(),
                dst: [10, 0, 0, 2].into(),
            },
            true => IpHeader::V6 {
                src: "fd00::1".parse().unwrap(),
                dst: "fd00::2".parse().unwrap(),
            },
        };
        let ethernet = Ethernet::new(Mac([2; 6]), Mac([4; 6]), ethertype::IPV4);
        transport::udp(&ethernet, ip, 64, 40000, 53, payload)
    }

    fn paused(packet: &[u8]) -> PacketIn {
        let mut packet = packet_in(Opcode::DnsLookup, &[0, 4], packet);
        packet.continuation = Some(vec![9]);
        packet
    }

    fn send(packet: &PacketIn, known: impl FnOnce(u32, &str) -> Option<Known>) -> Vec<Message> {
        let request = Request {
            opcode: Opcode::DnsLookup,
            params: &[0, 4],
            packet,
        };
        respond(&request, known).unwrap().send
    }

    /// What the packet with the payload goes on with, the bit of the result set.
    fn changed(payload: &[u8], v6: bool) -> Option<Vec<u8>> {
        let packet = paused(&datagram(payload, v6));
        let sent = send(&packet, known);
        if sent == [Message::Resume(packet.clone().resume().unwrap())] {
            return None;
        }
        let [Message::Resume(_)] = &sent[..] else {
            panic!("{sent:?}")
        };
        // The answer is found by what it must be: resumptions are opaque.
        let question = Question::parse(payload).unwrap();
        let mut known = known(3, &question.name().unwrap()).unwrap();
        known.records.retain(|record| record.is_of(question.kind));
        known
            .records
            .sort_by_key(|record| !matches!(record, Record::A(_)));
        let answer = question.answer(&known.records);
        let mut expected = packet;
        expected.packet = datagram(&answer, v6);
        expected.full_len = expected.packet.len() as u32;
        expected.metadata.set(Field::Reg0, 0x10u32);
        assert_eq!(sent, [Message::Resume(expected.clone().resume().unwrap())]);
        let frame = Frame::parse(&expected.packet).unwrap();
        let ip = Ip::parse(&frame).unwrap();
        Some(transport::udp_payload(&ip).unwrap().to_vec())
    }

    /// Questions and what stock's controller of 23.03 answered to them.
    const OF_STOCK: &[(&str, &str)] = &[
        // A, its name in mixed case, AAAA, ANY.
        (
            "12340100000100000000000003766d31036f766e036f72670000010001",
            "12348100000100010000000003766d31036f766e036f7267000001000103766d31036f766e036f7267000001000100000e1000040a000004",
        ),
        (
            "12340100000100000000000003564d31036f766e034f52470000010001",
            "12348100000100010000000003564d31036f766e034f5247000001000103564d31036f766e034f5247000001000100000e1000040a000004",
        ),
        (
            "12340100000100000000000003766d31036f766e036f726700001c0001",
            "12348100000100010000000003766d31036f766e036f726700001c000103766d31036f766e036f726700001c000100000e100010aef00000000000000000000000000004",
        ),
        (
            "12340100000100000000000003766d31036f766e036f72670000ff0001",
            "12348100000100020000000003766d31036f766e036f72670000ff000103766d31036f766e036f7267000001000100000e1000040a00000403766d31036f766e036f726700001c000100000e100010aef00000000000000000000000000004",
        ),
        // No recursion wanted.
        (
            "12340000000100000000000003766d31036f766e036f72670000010001",
            "12348000000100010000000003766d31036f766e036f7267000001000103766d31036f766e036f7267000001000100000e1000040a000004",
        ),
        // Class ANY.
        (
            "12340100000100000000000003766d31036f766e036f726700000100ff",
            "12348100000100010000000003766d31036f766e036f726700000100ff03766d31036f766e036f7267000001000100000e1000040a000004",
        ),
        // A name of an address.
        (
            "12340100000100000000000001340130013002313007696e2d61646472046172706100000c0001",
            "12348100000100010000000001340130013002313007696e2d61646472046172706100000c000101340130013002313007696e2d61646472046172706100000c000100000e10000d03766d31036f766e036f726700",
        ),
        // Several addresses, and all of them.
        (
            "123401000001000000000000046d616e79036f766e036f72670000ff0001",
            "123481000001000300000000046d616e79036f766e036f72670000ff0001046d616e79036f766e036f7267000001000100000e1000040a000006046d616e79036f766e036f7267000001000100000e1000040a000007046d616e79036f766e036f726700001c000100000e100010aef00000000000000000000000000006",
        ),
        (
            "123401000001000000000000046d616e79036f766e036f72670000010001",
            "123481000001000200000000046d616e79036f766e036f72670000010001046d616e79036f766e036f7267000001000100000e1000040a000006046d616e79036f766e036f7267000001000100000e1000040a000007",
        ),
    ];

    #[test]
    fn answers_as_stock() {
        for (question, answer) in OF_STOCK {
            for v6 in [false, true] {
                let got = changed(&hex(question), v6);
                assert_eq!(got, Some(hex(answer)), "{question} {v6}");
            }
        }
    }

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(Name::new(name).unwrap().as_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out
    }

    #[test]
    fn what_is_not_known_goes_on() {
        for (name, kind) in [
            ("nx.ovn.org", kind::A),
            ("vm1.ovn.org", 15),
            ("vm1.ovn.org", kind::PTR),
            ("4.0.0.10.in-addr.arpa", kind::A),
            ("owned.ovn.org", 15),
            ("bad.ovn.org", kind::A),
        ] {
            assert_eq!(changed(&ask(name, kind), false), None, "{name} {kind}");
        }
        assert_eq!(changed(b"not DNS", true), None);
        let all = changed(&ask("comma.ovn.org", kind::A), false).unwrap();
        assert_eq!(all[7], 3);
        let any = changed(&ask("4.0.0.10.in-addr.arpa", kind::ANY), false).unwrap();
        assert_eq!(any[7], 1);
    }

    #[test]
    fn what_an_owned_name_has_not_is_told_with_authority() {
        let answer = changed(&ask("owned.ovn.org", kind::AAAA), false).unwrap();
        assert_eq!((answer[2] & 4, answer[3] & 0xf, answer[7]), (4, 0, 0));
        let answer = changed(&ask("owned.ovn.org", kind::A), false).unwrap();
        assert_eq!((answer[2] & 4, answer[3] & 0xf, answer[7]), (0, 0, 1));
    }

    #[test]
    fn rows_of_the_datapath_are_looked_at_together() {
        use weft_ovsdb::model::RowUpdate;
        let mut core = Core::new(crate::program::Settings::default()).unwrap();
        let datapath = |n: u128| {
            let row = sb::DatapathBinding {
                tunnel_key: n as i64,
                ..Default::default()
            };
            RowUpdate::insert(Uuid(n), row).into()
        };
        let dns = |n: u128, records: &[(&str, &str)], owned: &str| {
            let records = records.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            sb::Dns {
                records: records.collect(),
                datapaths: [Uuid(n)].into(),
                options: [("ovn-owned", owned)].into(),
                ..Default::default()
            }
        };
        let insert = |n: u128, row: sb::Dns| RowUpdate::insert(Uuid(n), row).into();
        core.apply_sb(
            vec![
                datapath(1),
                datapath(2),
                insert(11, dns(1, &[("a", "10.0.0.1")], "false")),
                insert(
                    12,
                    dns(1, &[("a", "10.0.0.1 10.0.0.2"), ("B.c", "fd00::1")], "true"),
                ),
                insert(13, dns(2, &[("a", "10.0.0.3")], "false")),
            ],
            false,
        );
        let mut names = Names::default();
        let a = names.known(&core, 1, "a").unwrap();
        assert_eq!((a.records.len(), a.owned), (2, true));
        assert!(names.known(&core, 1, "b.c").is_some());
        assert_eq!(names.known(&core, 2, "a").unwrap().records.len(), 1);
        assert_eq!(names.known(&core, 2, "b.c"), None);
        assert_eq!(names.known(&core, 3, "a"), None);
        // Changed live.
        let changed = dns(1, &[("B.d", "fd00::1")], "true");
        core.apply_sb(
            vec![RowUpdate::replace(Uuid(12), changed, !0).into()],
            false,
        );
        assert_eq!(names.known(&core, 1, "b.c"), None);
        assert!(names.known(&core, 1, "b.d").is_some());
        assert_eq!(names.known(&core, 1, "a").unwrap().records.len(), 1);
        let gone = [11, 12, 13].map(|n| RowUpdate::<sb::Dns>::delete(Uuid(n)).into());
        core.apply_sb(gone.into(), false);
        assert_eq!(names.known(&core, 1, "a"), None);
        assert!(names.mixed.is_empty());
    }
}
