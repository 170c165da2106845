//! Says unasked on physical networks what [`crate::announced`] finds: outer addresses of routers when this chassis becomes the
//! one that speaks for them, and ports of switches that have come here.
//!
//! Each is said at once and again after 1, 2, 4, 8 and 16 seconds, then no more: switches outside have learned it or asked.
//! What has been said stays said as long as it stands, also when it takes another way.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use weft_openflow::{Action, ActionList, Field, Message, PacketOut};
use weft_ovsdb::model::Uuid;
use weft_packet::{arp, nd};

use super::learner::Learned;
use crate::announced::{Announced, Subject, What};
use crate::core::Core;
use crate::flow::{REG_INPORT, REG_OUTPORT};
use crate::index::Index;
use crate::program::Output;
use crate::tables;

/// Seconds between the first two announcements; twice as long each time after.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST: Duration = Duration::from_secs(16);

/// Something to be said.
#[derive(Debug)]
struct Said {
    announced: Arc<Announced>,
    /// When again; never if it has been said often enough.
    at: Option<Instant>,
    pause: Duration,
}

/// What is announced here, and what has been.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    said: FxHashMap<Subject, Said>,
    /// What is to be said still, by time.
    due: BTreeSet<(Instant, Subject)>,
}

impl Announcements {
    /// Takes over what the engine added and removed.
    pub(super) fn apply<'o>(
        &mut self,
        removed: impl Iterator<Item = &'o Output>,
        added: impl Iterator<Item = &'o Output>,
        now: Instant,
    ) {
        for output in added {
            let Output::Announced(announced) = output else {
                continue;
            };
            match self.said.get_mut(&announced.subject) {
                Some(said) => said.announced = Arc::clone(announced),
                None => {
                    let said = Said {
                        announced: Arc::clone(announced),
                        at: Some(now),
                        pause: FIRST,
                    };
                    self.said.insert(announced.subject, said);
                    self.due.insert((now, announced.subject));
                }
            }
        }
        for output in removed {
            let Output::Announced(announced) = output else {
                continue;
            };
            // Not if it has just been added with another way.
            let subject = announced.subject;
            if self
                .said
                .get(&subject)
                .is_some_and(|said| said.announced == *announced)
                && let Some(Said { at: Some(at), .. }) = self.said.remove(&subject)
            {
                self.due.remove(&(at, subject));
            }
        }
    }

    /// What is due, and what the routers here learn of it: announcements go straight to the physical network.
    pub(super) fn tick(&mut self, core: &Core, now: Instant) -> (Vec<Message>, Vec<Learned>) {
        let (mut out, mut learned) = (Vec::new(), Vec::new());
        while let Some(&(at, subject)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(said) = self.said.get_mut(&subject) else {
                continue;
            };
            out.push(message(&said.announced));
            learned.extend(heard(core, subject));
            said.at = (said.pause <= LAST).then(|| now + said.pause);
            said.pause *= 2;
            self.due.extend(said.at.map(|at| (at, subject)));
        }
        (out, learned)
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// What the other routers on the switch learn of an outer address of a router.
fn heard(core: &Core, (port, mac, what): Subject) -> Vec<Learned> {
    let inputs = &core.inputs;
    let (What::Address(ip), Some(own)) = (what, inputs.sb.port_binding.get(port)) else {
        return Vec::new();
    };
    if own.type_.is_empty() {
        return Vec::new();
    }
    let peer_of = |link: Uuid| {
        let name = inputs.sb.port_binding.get(link)?.options.get("peer")?;
        let peer = *inputs.idx.find(Index::PortByName, &**name).first()?;
        inputs.sb.port_binding.get(peer)
    };
    let router = peer_of(port).map(|peer| peer.datapath);
    let links = inputs.idx.find(Index::LinksOfDatapath, own.datapath).iter();
    let others = links.filter(|link| **link != port);
    let others = others.filter_map(|link| peer_of(*link));
    others
        .filter(|peer| Some(peer.datapath) != router)
        .filter_map(|peer| {
            let datapath = inputs.sb.datapath_binding.get(peer.datapath)?;
            let key = (&*peer.logical_port, &*ip.to_string());
            let known = !inputs.idx.find(Index::MacBindingByAddress, key).is_empty();
            let learns = datapath
                .external_ids
                .flag("always_learn_from_arp_request", true);
            (known || learns).then_some(Learned::Neighbor {
                datapath: u32::try_from(datapath.tunnel_key).ok()?,
                port: u32::try_from(peer.tunnel_key).ok()?,
                ip,
                mac,
            })
        })
        .collect()
}

/// The packet, straight to the physical network: nobody on this chassis needs it.
fn message(announced: &Announced) -> Message {
    let actions = ActionList::from([
        Action::set(Field::Metadata, announced.datapath),
        Action::set(REG_INPORT, announced.port),
        Action::set(REG_OUTPORT, announced.localnet),
        Action::resubmit(tables::LOCAL_OUTPUT),
    ]);
    let (_, mac, what) = announced.subject;
    let packet = match what {
        What::Address(IpAddr::V4(ip)) => arp::gratuitous(mac, ip),
        What::Address(IpAddr::V6(ip)) => nd::unsolicited(mac, ip, true),
        What::Ethernet => arp::reverse(mac),
    };
    Message::PacketOut(PacketOut::new(packet, actions))
}

#[cfg(test)]
mod tests {
    use weft_packet::Mac;

    use super::*;
    use crate::program::Settings;

    fn announced(localnet: u32) -> Output {
        Output::Announced(Arc::new(Announced {
            subject: (Uuid(1), Mac([2; 6]), What::Ethernet),
            datapath: 3,
            port: 4,
            localnet,
        }))
    }

    #[test]
    fn each_is_said_six_times_unless_it_goes() {
        let core = Core::new(Settings::default()).unwrap();
        let mut all = Announcements::default();
        let start = Instant::now();
        all.apply([].iter(), [announced(1)].iter(), start);
        let mut times = Vec::new();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            if second == 5 {
                all.apply([announced(1)].iter(), [announced(2)].iter(), now);
            }
            let said = all.tick(&core, now).0.len();
            times.extend((0..said).map(|_| second));
        }
        assert_eq!(times, [0, 1, 3, 7, 15, 31]);
        assert_eq!(all.due(), None);
        all.apply([announced(2)].iter(), [].iter(), start);
        all.apply([].iter(), [announced(2)].iter(), start);
        assert_eq!(all.due(), Some(start), "gone and back: said anew");
        all.apply([announced(2)].iter(), [].iter(), start);
        assert!(all.due().is_none() && all.said.is_empty());
    }
}
