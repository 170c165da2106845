//! `igmp;`: who is behind which port of a switch and wants which multicast groups, and where multicast routers are.
//!
//! One [`Table`] per switch that snoops (`IP_Multicast.enabled`); what it holds becomes rows of `IGMP_Group`
//! ([`super::groups`]). Guarantees: a table has no more groups than the switch's `table_size`, what exceeds it is refused and
//! counted; members that no report names for `idle_timeout` are forgotten, routers after [`ROUTER_TIMEOUT`]; reserved
//! groups, which everybody gets anyhow, are never held. A leave counts at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use weft_packet::membership::{Change, Message, is_reserved};
use weft_packet::{Frame, Ip, IpHeader, ParseError, igmp, mld};

/// A multicast router that is silent for so long is gone: twice the usual time between queries and that of an answer
/// (RFC 3376, section 8.5).
const ROUTER_TIMEOUT: Duration = Duration::from_secs(255);
/// Between two looks for what has expired.
const LOOK: Duration = Duration::from_secs(1);

/// What a row of `IGMP_Group` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// The receivers of a group.
    Group(IpAddr),
    /// Multicast routers.
    Routers,
}

impl Subject {
    /// `IGMP_Group.address`
    pub(super) fn text(self) -> String {
        match self {
            Subject::Group(ip) => ip.to_string(),
            Subject::Routers => "mrouters".to_owned(),
        }
    }

    /// From [`Subject::text`].
    pub(super) fn parse(text: &str) -> Option<Subject> {
        match text {
            "mrouters" => Some(Subject::Routers),
            _ => text.parse().ok().map(Subject::Group),
        }
    }
}

/// The protocol that a group was last heard of in: `IGMP_Group.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    v6: bool,
    version: u8,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}v{}",
            if self.v6 { "MLD" } else { "IGMP" },
            self.version
        )
    }
}

/// How a switch snoops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Most groups.
    pub(super) table_size: usize,
    /// After which a group is forgotten.
    pub(super) idle: Duration,
    /// Raised to have everything forgotten.
    pub(super) seq_no: i64,
    /// From where the switch asks itself, on every chassis: no routers are there.
    pub(super) own: [Option<IpAddr>; 2],
}

/// A message, whichever protocol it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody asks; a router, if it has an address.
    Query { source: Option<IpAddr> },
    /// A host says what it wants.
    Report {
        protocol: Protocol,
        changes: Vec<(IpAddr, Change)>,
    },
}

impl Heard {
    /// Reads a packet.
    pub(super) fn parse(packet: &[u8]) -> Result<Heard, ParseError> {
        let frame = Frame::parse(packet)?;
        let ip = Ip::parse(&frame)?;
        let source = Some(ip.header.src()).filter(|src| !src.is_unspecified());
        Ok(match ip.header {
            IpHeader::V4 { .. } => Heard::of(igmp::parse(&ip)?, false, source),
            IpHeader::V6 { .. } => Heard::of(mld::parse(&ip)?, true, source),
        })
    }

    fn of<A: Into<IpAddr>>(message: Message<A>, v6: bool, source: Option<IpAddr>) -> Heard {
        match message {
            // RFC 4541, section 2.1.1: a query without a source is a switch's, behind which nobody forwards.
            Message::Query { .. } => Heard::Query { source },
            Message::Report { version, changes } => Heard::Report {
                protocol: Protocol { v6, version },
                changes: changes.into_iter().map(|(a, c)| (a.into(), c)).collect(),
            },
        }
    }
}

#[derive(Debug)]
struct Group {
    protocol: Option<Protocol>,
    /// Ports by key, and until when they are members.
    ports: BTreeMap<u32, Instant>,
}

/// What came of a packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lesson {
    /// Whose ports have changed.
    pub(super) changed: Vec<Subject>,
    /// Groups for which there was no room.
    pub(super) refused: u64,
}

/// What is known of one switch.
#[derive(Debug)]
pub(super) struct Table {
    settings: Settings,
    groups: IndexMap<IpAddr, Group>,
    routers: BTreeMap<u32, Instant>,
    /// Nothing expires before.
    look: Instant,
}

impl Table {
    pub(super) fn new(settings: Settings, now: Instant) -> Table {
        Table {
            settings,
            groups: IndexMap::new(),
            routers: BTreeMap::new(),
            look: now + LOOK,
        }
    }

    /// Other settings; a raised number forgets everything.
    pub(super) fn configure(&mut self, settings: Settings) -> Vec<Subject> {
        let flush = settings.seq_no != self.settings.seq_no;
        self.settings = settings;
        let mut changed = Vec::new();
        if flush {
            changed = self.subjects().collect();
            self.groups.clear();
            self.routers.clear();
        }
        while self.groups.len() > settings.table_size {
            changed.extend(self.groups.pop().map(|(ip, _)| Subject::Group(ip)));
        }
        changed
    }

    /// Everything it knows of.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let groups = self.groups.keys().copied().map(Subject::Group);
        let routers = (!self.routers.is_empty()).then_some(Subject::Routers);
        groups.chain(routers)
    }

    /// Ports by key and the protocol; empty if nothing is known.
    pub(super) fn ports(&self, subject: Subject) -> (Vec<u32>, Option<Protocol>) {
        match subject {
            Subject::Routers => (self.routers.keys().copied().collect(), None),
            Subject::Group(ip) => self.groups.get(&ip).map_or_else(Default::default, |group| {
                (group.ports.keys().copied().collect(), group.protocol)
            }),
        }
    }

    /// Whether it is a query that the switch sent itself on another chassis, which a physical network has carried here.
    pub(super) fn is_own(&self, heard: &Heard) -> bool {
        matches!(heard, Heard::Query { source } if source.is_some() && self.settings.own.contains(source))
    }

    /// A port said something.
    pub(super) fn hear(&mut self, heard: &Heard, port: u32, now: Instant) -> Lesson {
        let mut lesson = Lesson::default();
        match heard {
            Heard::Query { source: None } => {}
            Heard::Query { .. } if self.is_own(heard) => {}
            Heard::Query { .. } => {
                if self.routers.insert(port, now + ROUTER_TIMEOUT).is_none() {
                    lesson.changed.push(Subject::Routers);
                }
            }
            Heard::Report { protocol, changes } => {
                for &(ip, change) in changes {
                    let changed = match change {
                        _ if is_reserved(ip) => Some(false),
                        Change::Join => self.join(ip, port, Some(*protocol), now),
                        Change::Leave => Some(self.leave(ip, port)),
                    };
                    match changed {
                        Some(true) => lesson.changed.push(Subject::Group(ip)),
                        Some(false) => {}
                        None => lesson.refused += 1,
                    }
                }
            }
        }
        lesson
    }

    /// Whether that makes a difference; `None` if there is no room.
    fn join(
        &mut self,
        ip: IpAddr,
        port: u32,
        protocol: Option<Protocol>,
        now: Instant,
    ) -> Option<bool> {
        let until = now + self.settings.idle;
        let full = self.groups.len() >= self.settings.table_size;
        if full && !self.groups.contains_key(&ip) {
            return None;
        }
        let group = self.groups.entry(ip).or_insert_with(|| Group {
            protocol,
            ports: BTreeMap::new(),
        });
        group.protocol = protocol.or(group.protocol);
        Some(group.ports.insert(port, until).is_none())
    }

    fn leave(&mut self, ip: IpAddr, port: u32) -> bool {
        let Some(group) = self.groups.get_mut(&ip) else {
            return false;
        };
        let was = group.ports.remove(&port).is_some();
        if group.ports.is_empty() {
            self.groups.swap_remove(&ip);
        }
        was
    }

    /// Takes over what an earlier process had learned, as if it had been said just now.
    pub(super) fn adopt(&mut self, subject: Subject, port: u32, now: Instant) {
        match subject {
            Subject::Routers => {
                let routers = self.routers.entry(port);
                routers.or_insert(now + ROUTER_TIMEOUT);
            }
            Subject::Group(ip) if is_reserved(ip) => {}
            Subject::Group(ip) => {
                let known = self.groups.get(&ip);
                if known.is_none_or(|group| !group.ports.contains_key(&port)) {
                    let _ = self.join(ip, port, None, now);
                }
            }
        }
    }

    /// A port is gone, or has another key; whose ports have changed.
    pub(super) fn forget(&mut self, port: u32) -> Vec<Subject> {
        let mut changed = Vec::new();
        if self.routers.remove(&port).is_some() {
            changed.push(Subject::Routers);
        }
        self.groups.retain(|ip, group| {
            if group.ports.remove(&port).is_some() {
                changed.push(Subject::Group(*ip));
            }
            !group.ports.is_empty()
        });
        changed
    }

    /// Forgets what is due; whose ports have changed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Subject> {
        if now < self.look {
            return Vec::new();
        }
        let mut changed = Vec::new();
        let mut next = now + self.settings.idle.min(ROUTER_TIMEOUT);
        let mut keep = |until: Instant| {
            if until > now {
                next = next.min(until);
            }
            until > now
        };
        let before = self.routers.len();
        self.routers.retain(|_, until| keep(*until));
        if self.routers.len() != before {
            changed.push(Subject::Routers);
        }
        self.groups.retain(|ip, group| {
            let before = group.ports.len();
            group.ports.retain(|_, until| keep(*until));
            if group.ports.len() != before {
                changed.push(Subject::Group(*ip));
            }
            !group.ports.is_empty()
        });
        self.look = next.max(now + LOOK);
        changed
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.groups.is_empty() || !self.routers.is_empty()).then_some(self.look)
    }

    /// How many groups it holds.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.groups.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP2: Protocol = Protocol {
        v6: false,
        version: 2,
    };

    fn settings() -> Settings {
        Settings {
            table_size: 2,
            idle: Duration::from_secs(30),
            seq_no: 0,
            own: [Some(OWN), None],
        }
    }

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 253));

    fn query(source: Option<IpAddr>) -> Heard {
        Heard::Query { source }
    }

    fn router() -> Heard {
        query(Some([10, 0, 0, 9].into()))
    }

    fn group(last: u8) -> IpAddr {
        [239, 0, 0, last].into()
    }

    fn says(change: Change, groups: &[u8]) -> Heard {
        Heard::Report {
            protocol: IGMP2,
            changes: groups.iter().map(|g| (group(*g), change)).collect(),
        }
    }

    fn ports(table: &Table, last: u8) -> Vec<u32> {
        table.ports(Subject::Group(group(last))).0
    }

    #[test]
    fn members_come_and_go() {
        let start = Instant::now();
        let mut table = Table::new(settings(), start);
        let one = Subject::Group(group(1));
        let join = says(Change::Join, &[1]);
        assert_eq!(table.hear(&join, 7, start).changed, [one]);
        assert_eq!(table.hear(&join, 7, start).changed, []);
        assert_eq!(table.hear(&join, 8, start).changed, [one]);
        assert_eq!(table.ports(one), (vec![7, 8], Some(IGMP2)));
        let leave = says(Change::Leave, &[1]);
        assert_eq!(table.hear(&leave, 9, start).changed, []);
        assert_eq!(table.hear(&leave, 7, start).changed, [one]);
        assert_eq!(ports(&table, 1), [8]);
        table.hear(&router(), 8, start);
        assert_eq!(table.forget(7), []);
        assert_eq!(table.forget(8), [Subject::Routers, one]);
        assert_eq!(table.len(), 0);
        assert_eq!(table.due(), None);
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut table = Table::new(settings(), start);
        table.hear(&says(Change::Join, &[1]), 7, start);
        table.hear(&says(Change::Join, &[1]), 8, start);
        table.hear(&router(), 9, start);
        table.hear(&query(None), 6, start);
        table.hear(&query(Some(OWN)), 5, start);
        table.hear(&says(Change::Join, &[1]), 8, after(20));
        assert_eq!(table.expire(after(29)), []);
        assert_eq!(table.due(), Some(after(30)));
        assert_eq!(table.expire(after(30)), [Subject::Group(group(1))]);
        assert_eq!(ports(&table, 1), [8]);
        assert_eq!(table.expire(after(50)), [Subject::Group(group(1))]);
        assert_eq!(table.ports(Subject::Routers).0, [9]);
        assert_eq!(table.expire(after(255)), [Subject::Routers]);
        assert_eq!(table.due(), None);
    }

    #[test]
    fn a_flood_of_groups_finds_a_bound() {
        let start = Instant::now();
        let mut table = Table::new(settings(), start);
        let lesson = table.hear(&says(Change::Join, &[1, 2, 3, 4]), 7, start);
        assert_eq!((lesson.changed.len(), lesson.refused), (2, 2));
        // Those that are there can still be joined and left.
        assert_eq!(table.hear(&says(Change::Join, &[2]), 8, start).refused, 0);
        table.hear(&says(Change::Leave, &[1]), 7, start);
        assert_eq!(table.hear(&says(Change::Join, &[4]), 7, start).refused, 0);
        let smaller = Settings {
            table_size: 1,
            ..settings()
        };
        assert_eq!(table.configure(smaller).len(), 1);
        let flushed = Settings {
            seq_no: 1,
            ..smaller
        };
        assert_eq!(table.configure(flushed).len(), 1);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn reserved_groups_are_everybodys() {
        let start = Instant::now();
        let mut table = Table::new(settings(), start);
        let reserved = ["224.0.0.251", "ff02::1:ff00:7", "ff02::1"];
        let changes = reserved.map(|ip| (ip.parse().unwrap(), Change::Join));
        let report = Heard::Report {
            protocol: IGMP2,
            changes: changes.into(),
        };
        assert_eq!(table.hear(&report, 7, start), Lesson::default());
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn subjects_and_protocols_as_text() {
        for subject in [Subject::Routers, Subject::Group(group(1))] {
            assert_eq!(Subject::parse(&subject.text()), Some(subject));
        }
        assert_eq!(Subject::parse("junk"), None);
        let mld = Protocol {
            v6: true,
            version: 2,
        };
        assert_eq!([IGMP2, mld].map(|p| p.to_string()), ["IGMPv2", "MLDv2"]);
    }
}
