//! What is learned and ages stands as long as it is used.
//!
//! Guarantees: when three quarters of the time of a row are over, the counters of its flows tell when it was last used; if
//! that was after its timestamp, the timestamp becomes that time. A neighbour that is only sent to is asked for (ARP, neighbour
//! solicitation) by the chassis that speaks for the router port, so that it shows itself before its time is over. Of
//! several chassis that see one in use any may say so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, FlowStats, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_ovsdb::txn::Txn;
use weft_packet::{Mac, arp, nd};
use weft_schemas::sb;

use super::Now;
use super::learner;
use crate::address::{Addresses, link_local};
use crate::ageing::{Ageing, Learned};
use crate::binding::{BINDING, Place};
use crate::core::Core;
use crate::flow::{REG_INPORT, REG_OUTPORT};
use crate::index::Index;
use crate::physical::port_key;
use crate::program::{Key, Output};
use crate::tables;

/// Between two looks at the counters, at least.
const SPACING: Duration = Duration::from_millis(500);
/// A row that goes on being looked at is so after this share of its time.
const SHARE: i64 = 8;

/// A row that ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Of MAC_Binding.
    MacBinding(Uuid),
    /// Of FDB.
    Fdb(Uuid),
}

impl Row {
    fn of(ageing: &Ageing) -> Row {
        match ageing.learned {
            Learned::Neighbor(..) => Row::MacBinding(ageing.row),
            Learned::Place => Row::Fdb(ageing.row),
        }
    }

    /// Its name in its table.
    pub fn uuid(self) -> Uuid {
        match self {
            Row::MacBinding(uuid) | Row::Fdb(uuid) => uuid,
        }
    }
}

/// When rows are to be looked at. Times of rows are those of the wall clock.
#[derive(Debug, Default)]
pub struct Refresher {
    rows: FxHashMap<Uuid, Ageing>,
    /// When each is due.
    dues: BTreeSet<(i64, Uuid)>,
    due_of: FxHashMap<Uuid, i64>,
    /// Rows whose counters have been asked for.
    asked: Option<Vec<Uuid>>,
    not_before: Option<Instant>,
}

impl Refresher {
    fn look_at(&mut self, row: Uuid, at_ms: Option<i64>) {
        if let Some(old) = self.due_of.remove(&row) {
            self.dues.remove(&(old, row));
        }
        if let Some(at_ms) = at_ms {
            self.due_of.insert(row, at_ms);
            self.dues.insert((at_ms, row));
        }
    }

    /// Follows what ages.
    pub(super) fn apply<'o>(
        &mut self,
        removed: impl Iterator<Item = &'o Output>,
        added: impl Iterator<Item = &'o Output>,
    ) {
        for output in removed {
            if let Output::Ageing(ageing) = output
                && self.rows.get(&ageing.row) == Some(&**ageing)
            {
                self.rows.remove(&ageing.row);
                self.look_at(ageing.row, None);
            }
        }
        for output in added {
            if let Output::Ageing(ageing) = output {
                let life_ms = i64::from(ageing.seconds) * 1000;
                self.rows.insert(ageing.row, **ageing);
                self.look_at(ageing.row, Some(ageing.timestamp_ms + life_ms * 3 / 4));
            }
        }
    }

    /// The tables to read, if it is time.
    pub(super) fn tick(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.asked.is_some() || self.not_before.is_some_and(|then| now.instant < then) {
            return None;
        }
        let due: Vec<Uuid> = self
            .dues
            .iter()
            .take_while(|(at, _)| *at <= now.ms)
            .map(|(_, row)| *row)
            .collect();
        let of = |learned: fn(&Learned) -> bool| {
            due.iter()
                .filter_map(|row| self.rows.get(row))
                .any(|ageing| learned(&ageing.learned))
        };
        let mut tables = Vec::new();
        if of(|learned| matches!(learned, Learned::Neighbor(..))) {
            tables.extend([tables::MAC_CACHE_USE, tables::MAC_BINDING]);
        }
        if of(|learned| matches!(learned, Learned::Place)) {
            tables.push(tables::LOOKUP_FDB);
        }
        if tables.is_empty() {
            return None;
        }
        self.asked = Some(due);
        self.not_before = Some(now.instant + SPACING);
        Some(tables)
    }

    /// When [`Refresher::tick`] has something to do.
    pub(super) fn due(&self, now: Now) -> Option<Instant> {
        let (at_ms, _) = self.dues.first().filter(|_| self.asked.is_none())?;
        let wait = Duration::from_millis(u64::try_from(at_ms - now.ms).unwrap_or(0));
        let at = now.instant + wait;
        Some(self.not_before.map_or(at, |then| then.max(at)))
    }

    /// Judges by the counters: rows that were used and when, packets that ask neighbours.
    pub(super) fn counted(
        &mut self,
        flows: &[FlowStats],
        core: &Core,
        now: Now,
    ) -> (Vec<learner::Learned>, Vec<Message>) {
        let (mut used, mut probes) = (Vec::new(), Vec::new());
        let seen = LastUses::new(flows, now.ms);
        for row in self.asked.take().unwrap_or_default() {
            let Some(&ageing) = self.rows.get(&row) else {
                continue;
            };
            let life_ms = i64::from(ageing.seconds) * 1000;
            let of = |table| seen.of(table, row).filter(|at| *at > ageing.timestamp_ms);
            let mut next_ms = now.ms + (life_ms / SHARE).max(1);
            let heard = match ageing.learned {
                Learned::Neighbor(..) => of(tables::MAC_CACHE_USE),
                Learned::Place => of(tables::LOOKUP_FDB),
            };
            match (heard, ageing.learned) {
                (Some(at), _) => {
                    next_ms = next_ms.max(at + life_ms * 3 / 4);
                    used.push(learner::Learned::Used(Row::of(&ageing), at));
                }
                (None, Learned::Neighbor(port, ip)) if of(tables::MAC_BINDING).is_some() => {
                    probes.extend(probe(core, port, ip));
                }
                (None, _) => {}
            }
            // What nobody used by its end is northd's to delete; until it does, there is no hurry.
            if now.ms > ageing.timestamp_ms + life_ms {
                next_ms = now.ms + life_ms;
            }
            self.look_at(row, Some(next_ms));
        }
        (used, probes)
    }
}

/// When flows were last used, by table and cookie.
struct LastUses(BTreeMap<(u8, u64), i64>);

impl LastUses {
    fn new(flows: &[FlowStats], now_ms: i64) -> LastUses {
        let mut uses = BTreeMap::new();
        for flow in flows.iter().filter(|flow| flow.counters.packets > 0) {
            let idle_ms = i64::try_from(flow.counters.idle_ns / 1_000_000).unwrap_or(i64::MAX);
            let at = uses.entry((flow.table, flow.cookie)).or_insert(i64::MIN);
            *at = (*at).max(now_ms.saturating_sub(idle_ms));
        }
        LastUses(uses)
    }

    fn of(&self, table: u8, row: Uuid) -> Option<i64> {
        self.0.get(&(table, u64::from(row.short()))).copied()
    }
}

/// Says in a row when it was last used, unless it is said.
pub(super) fn write(core: &Core, row: Row, ms: i64, txn: &mut Txn) {
    match row {
        Row::MacBinding(uuid) => {
            let old = core.inputs.sb.mac_binding.get(uuid);
            if old.is_some_and(|old| old.timestamp < ms) {
                let new = sb::MacBinding {
                    timestamp: ms,
                    ..sb::MacBinding::default()
                };
                txn.update(uuid, &new, sb::mac_binding::TIMESTAMP);
            }
        }
        Row::Fdb(uuid) => {
            let old = core.inputs.sb.fdb.get(uuid);
            if old.is_some_and(|old| old.timestamp < ms) {
                let new = sb::Fdb {
                    timestamp: ms,
                    ..sb::Fdb::default()
                };
                txn.update(uuid, &new, sb::fdb::TIMESTAMP);
            }
        }
    }
}

/// Asks a neighbour of a router port, if this chassis speaks for it.
fn probe(core: &Core, port: Uuid, ip: IpAddr) -> Option<Message> {
    let inputs = &core.inputs;
    let row = inputs.sb.port_binding.get(port)?;
    let place = |port| core.engine().value::<Place>(BINDING.id(), Key::Row(port));
    let speaks = match row.options.nonempty("chassis-redirect-port") {
        Some(name) => *inputs.idx.find(Index::PortByName, &**name).first()?,
        None => port,
    };
    if !place(speaks)?.is_here() {
        return None;
    }
    let own = Addresses::parse(row.mac.iter().next()?).ok()?;
    let near = own.ips.iter().find(|net| net.contains(&ip));
    let mac = Mac::from_u64(own.mac);
    let packet = match (ip, near.map(ipnet::IpNet::addr)) {
        (IpAddr::V4(ip), Some(IpAddr::V4(src))) => arp::request(mac, src, ip),
        (IpAddr::V6(ip), Some(IpAddr::V6(src))) => nd::solicit(mac, src, ip),
        (IpAddr::V6(ip), _) => nd::solicit(mac, link_local(own.mac), ip),
        _ => return None,
    };
    let datapath = inputs.sb.datapath_binding.get(row.datapath)?;
    let actions = ActionList::from([
        Action::set(Field::Metadata, u32::try_from(datapath.tunnel_key).ok()?),
        Action::set(REG_INPORT, 0u32),
        Action::set(REG_OUTPORT, port_key(row.tunnel_key)?),
        Action::resubmit(tables::LOCAL_OUTPUT),
    ]);
    Some(Message::PacketOut(PacketOut::new(packet, actions)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_openflow::{Counters, Instructions, Match};

    use super::*;
    use crate::program::Settings;

    const ROW: Uuid = Uuid(7 << 96);

    fn ageing(learned: Learned, timestamp_ms: i64) -> Output {
        Output::Ageing(Arc::new(Ageing {
            row: ROW,
            learned,
            timestamp_ms,
            seconds: 8,
        }))
    }

    fn flow(table: u8, packets: u64, idle_ms: u64) -> FlowStats {
        FlowStats {
            table,
            priority: 100,
            matching: Match::any(),
            cookie: ROW.short().into(),
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: 0,
            counters: Counters {
                packets,
                idle_ns: idle_ms * 1_000_000,
                ..Counters::default()
            },
            instructions: Instructions::default(),
        }
    }

    fn at(start: Instant, ms: i64) -> Now {
        Now {
            instant: start + Duration::from_millis(ms as u64),
            ms,
        }
    }

    #[test]
    fn what_is_used_is_told_so_and_what_is_not_is_left() {
        let core = Core::new(Settings::default()).unwrap();
        let start = Instant::now();
        let mut refresher = Refresher::default();
        let first = ageing(Learned::Place, 10_000);
        refresher.apply([].iter(), [first.clone()].iter());
        assert_eq!(refresher.tick(at(start, 15_999)), None);
        assert_eq!(
            refresher.tick(at(start, 16_000)),
            Some(vec![tables::LOOKUP_FDB])
        );
        // Nothing more while it waits for the counters.
        assert_eq!(refresher.tick(at(start, 17_000)), None);
        // A flow without packets has been idle since it was made.
        let counted = |refresher: &mut Refresher, flow, ms| {
            refresher.counted(&[flow], &core, at(start, ms)).0
        };
        assert_eq!(
            counted(&mut refresher, flow(tables::LOOKUP_FDB, 0, 10), 17_000),
            []
        );
        // Last used before the timestamp.
        assert!(refresher.tick(at(start, 18_000)).is_some());
        assert_eq!(
            counted(&mut refresher, flow(tables::LOOKUP_FDB, 9, 8_500), 18_000),
            []
        );
        let next = ageing(Learned::Place, 12_000);
        refresher.apply([first].iter(), [next].iter());
        assert_eq!(
            refresher.tick(at(start, 17_999)),
            None,
            "three quarters of its new time"
        );
        assert!(refresher.tick(at(start, 18_600)).is_some());
        assert_eq!(
            counted(&mut refresher, flow(tables::LOOKUP_FDB, 9, 600), 18_600),
            [learner::Learned::Used(Row::Fdb(ROW), 18_000)]
        );
    }

    #[test]
    fn a_row_that_is_gone_is_not_looked_at() {
        let start = Instant::now();
        let mut refresher = Refresher::default();
        let row = ageing(Learned::Neighbor(Uuid(1), [10, 0, 0, 1].into()), 0);
        refresher.apply([].iter(), [row.clone()].iter());
        assert_eq!(
            refresher.due(at(start, 0)),
            Some(start + Duration::from_secs(6))
        );
        refresher.apply([row].iter(), [].iter());
        assert_eq!(refresher.due(at(start, 0)), None);
        assert_eq!(refresher.tick(at(start, 60_000)), None);
    }
}
