//! One client of prefix delegation: the exchanges of RFC 8415, section 18.2, without any I/O.
//!
//! Guarantees: what it has been given it asks to keep in time, and has no longer than it is valid; what an earlier process was
//! given is asked for again before anything else; what is not needed any more is given back, by a few messages at most.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use weft_packet::delegation::{Association, Message, Prefix, kind, status};

/// For ever.
const INFINITE: u32 = u32::MAX;
/// How an exchange is repeated (section 7.6): first and longest pause, and how often.
struct Pace {
    first: Duration,
    longest: Duration,
    times: Option<u32>,
}

const fn pace(first: u64, longest: u64, times: Option<u32>) -> Pace {
    Pace {
        first: Duration::from_secs(first),
        longest: Duration::from_secs(longest),
        times,
    }
}

const SOLICIT: Pace = pace(1, 3600, None);
const REQUEST: Pace = pace(1, 30, Some(10));
const RENEW: Pace = pace(10, 600, None);
const REBIND: Pace = pace(10, 600, None);
/// What an earlier process had: asked for three times.
const CONFIRM: Pace = pace(1, 4, Some(3));

/// What is given back (section 18.2.7): so often, however long it takes to wait between.
const RELEASE: Pace = pace(1, 600, Some(4));

/// What is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Looking for somebody who gives prefixes.
    Soliciting,
    /// Somebody has offered one.
    Requesting(Prefix),
    /// An earlier process had one.
    Confirming,
    /// Nothing to do until it is time to renew.
    Bound,
    /// Asking who gave it.
    Renewing,
    /// Asking anybody.
    Rebinding,
    /// Giving it back.
    Releasing,
    /// It was given back, or nobody wants it.
    Over,
}

impl State {
    fn pace(&self) -> Option<Pace> {
        Some(match self {
            State::Soliciting => SOLICIT,
            State::Requesting(_) => REQUEST,
            State::Confirming => CONFIRM,
            State::Bound | State::Over => return None,
            State::Renewing => RENEW,
            State::Rebinding => REBIND,
            State::Releasing => RELEASE,
        })
    }
}

/// A prefix that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    prefix: Prefix,
    since: Instant,
    t1: u32,
    t2: u32,
}

impl Lease {
    fn at(&self, seconds: u32) -> Option<Instant> {
        (seconds != INFINITE).then(|| self.since + Duration::from_secs(seconds.into()))
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Session {
    /// Who the client is (DUID).
    duid: Vec<u8>,
    /// Its number for the prefix.
    id: u32,
    state: State,
    server: Vec<u8>,
    lease: Option<Lease>,
    transaction: [u8; 3],
    /// Messages of this exchange, and of all.
    sent: u32,
    all_sent: u32,
    began: Instant,
    next: Instant,
    pause: Duration,
}

impl Session {
    /// A client; `had` is what an earlier process was given.
    pub(super) fn new(
        duid: Vec<u8>,
        id: u32,
        had: Option<(Ipv6Addr, u8)>,
        now: Instant,
    ) -> Session {
        let mut session = Session {
            duid,
            id,
            state: State::Soliciting,
            server: Vec::new(),
            lease: None,
            transaction: [0; 3],
            sent: 0,
            all_sent: 0,
            began: now,
            next: now,
            pause: Duration::ZERO,
        };
        match had {
            Some((prefix, len)) => {
                // For how long is not known: until it is told otherwise.
                let prefix = Prefix {
                    preferred: INFINITE,
                    valid: INFINITE,
                    len,
                    prefix,
                };
                session.lease = Some(Lease {
                    prefix,
                    since: now,
                    t1: INFINITE,
                    t2: INFINITE,
                });
                session.begin(State::Confirming, now);
            }
            None => session.begin(State::Soliciting, now),
        }
        session
    }

    /// Whether the client is still the same.
    pub(super) fn is_of(&self, duid: &[u8]) -> bool {
        self.duid == duid
    }

    /// Gives back what it has. False if there is nothing, or nobody to give it to: who had it of an earlier process does not
    /// know the server yet.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        let has = self.lease.is_some() && !self.server.is_empty();
        if has {
            self.begin(State::Releasing, now);
        }
        has
    }

    /// Whether what was to be given back has been, as far as that can be known.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What it has, as the southbound writes it.
    pub(super) fn text(&self) -> Option<String> {
        let prefix = self.lease.as_ref()?.prefix;
        Some(format!("{}:{}/{}", self.id, prefix.prefix, prefix.len))
    }

    /// A number that looks like chance: by who and how often.
    fn mixed(&self) -> u64 {
        let who = self.duid.iter().fold(u64::from(self.id), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (who ^ u64::from(self.all_sent) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn begin(&mut self, state: State, now: Instant) {
        self.state = state;
        let [.., a, b, c] = (self.mixed() >> 16).to_be_bytes();
        self.transaction = [a, b, c];
        (self.sent, self.began, self.next) = (0, now, now);
    }

    /// Starts over; at first after a pause, for it was just told that there is nothing.
    fn start_over(&mut self, now: Instant) {
        self.lease = None;
        self.begin(State::Soliciting, now);
        self.next = now + SOLICIT.first;
    }

    /// Does what is due. Returns the datagram to send.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Vec<u8>> {
        let past = |then: Option<Instant>| then.is_some_and(|then| then <= now);
        if let Some(lease) = self.lease
            && self.state != State::Releasing
        {
            if past(lease.at(lease.prefix.valid)) {
                self.start_over(now);
                self.next = now;
            } else if self.state == State::Bound && past(lease.at(lease.t1)) {
                self.begin(State::Renewing, now);
            } else if self.state == State::Renewing && past(lease.at(lease.t2)) {
                self.begin(State::Rebinding, now);
            }
        }
        let pace = self.state.pace()?;
        if self.next > now {
            return None;
        }
        if pace.times.is_some_and(|times| self.sent >= times) {
            // Nobody has answered: what was confirmed by nobody is not had.
            self.lease = None;
            if self.state == State::Releasing {
                self.state = State::Over;
                return None;
            }
            self.begin(State::Soliciting, now);
            return self.tick(now);
        }
        let message = self.message(now);
        self.sent += 1;
        self.all_sent = self.all_sent.wrapping_add(1);
        let doubled = match self.sent {
            1 => pace.first,
            _ => (self.pause * 2).min(pace.longest),
        };
        self.pause = doubled;
        // By up to a tenth more or less.
        self.next = now + doubled * (90 + (self.mixed() >> 40) as u32 % 21) / 100;
        Some(message.to_bytes())
    }

    fn message(&self, now: Instant) -> Message {
        let kind = match self.state {
            State::Soliciting | State::Bound | State::Over => kind::SOLICIT,
            State::Releasing => kind::RELEASE,
            State::Requesting(_) => kind::REQUEST,
            State::Renewing => kind::RENEW,
            State::Confirming | State::Rebinding => kind::REBIND,
        };
        let server = match self.state {
            State::Requesting(_) | State::Renewing | State::Releasing => self.server.clone(),
            _ => Vec::new(),
        };
        let prefix = match &self.state {
            State::Requesting(offered) => Some(*offered),
            _ => self.lease.map(|lease| lease.prefix),
        };
        let elapsed = now.saturating_duration_since(self.began).as_millis() / 10;
        Message {
            kind,
            transaction: self.transaction,
            client: self.duid.clone(),
            server,
            elapsed: Some(u16::try_from(elapsed).unwrap_or(u16::MAX)),
            status: status::SUCCESS,
            associations: vec![Association {
                id: self.id,
                t1: 0,
                t2: 0,
                status: status::SUCCESS,
                prefixes: prefix.into_iter().collect(),
            }],
        }
    }

    /// Takes an answer; false if it is not for this client.
    pub(super) fn receive(&mut self, told: &Message, now: Instant) -> bool {
        if told.client != self.duid || told.transaction != self.transaction {
            return false;
        }
        let ours = told.associations.iter().find(|a| a.id == self.id);
        let code = match (told.status, ours) {
            (status::SUCCESS, Some(ours)) => ours.status,
            (code, _) => code,
        };
        let given = ours.and_then(|ours| ours.prefixes.first().map(|prefix| (ours, *prefix)));
        let good = given.filter(|_| code == status::SUCCESS && !told.server.is_empty());
        match (&self.state, told.kind, good) {
            (State::Soliciting, kind::ADVERTISE, Some((_, offered))) => {
                self.server.clone_from(&told.server);
                self.begin(State::Requesting(offered), now);
            }
            (State::Releasing, kind::REPLY, _) => {
                self.lease = None;
                self.state = State::Over;
            }
            (State::Soliciting | State::Bound | State::Releasing | State::Over, ..) => {}
            (_, kind::REPLY, Some((_, prefix))) if prefix.valid == 0 => self.start_over(now),
            (_, kind::REPLY, Some((ours, prefix))) => {
                self.server.clone_from(&told.server);
                self.lease = Some(lease(ours, prefix, now));
                self.state = State::Bound;
            }
            (_, kind::REPLY, None) => {
                if matches!(code, status::NO_BINDING | status::NO_PREFIX) {
                    self.start_over(now);
                }
            }
            _ => {}
        }
        true
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let lease = self.lease.as_ref();
        let of_lease = lease.and_then(|lease| match self.state {
            State::Bound => lease.at(lease.t1),
            State::Renewing => lease.at(lease.t2),
            _ => None,
        });
        let keeps = self.state != State::Releasing;
        let end = lease
            .filter(|_| keeps)
            .and_then(|lease| lease.at(lease.prefix.valid));
        let send = self.state.pace().map(|_| self.next);
        [of_lease, end, send].into_iter().flatten().min()
    }
}

/// Where the server leaves the times to the client, or says what cannot be, they are shares of the time that the prefix is
/// preferred (section 14.2).
fn lease(ours: &Association, prefix: Prefix, since: Instant) -> Lease {
    let share = |tenths: u64| match prefix.preferred {
        INFINITE => INFINITE,
        // A second at least: who has been given less is not to ask without end.
        preferred => u32::try_from(u64::from(preferred) * tenths / 10)
            .unwrap_or(INFINITE)
            .max(1),
    };
    let (t1, t2) = match (ours.t1, ours.t2) {
        (t1, t2) if t1 != 0 && t2 != 0 && t1 <= t2 => (t1, t2),
        _ => (share(5), share(8)),
    };
    Lease {
        prefix,
        since,
        t1,
        t2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUID: [u8; 3] = [1, 2, 3];

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn sent(session: &mut Session, now: Instant) -> Option<Message> {
        session
            .tick(now)
            .map(|bytes| Message::parse(&bytes).unwrap())
    }

    fn prefix(valid: u32) -> Prefix {
        Prefix {
            preferred: valid / 2,
            valid,
            len: 64,
            prefix: "fd55::".parse().unwrap(),
        }
    }

    fn answer(kind: u8, to: &Message, code: u16, valid: Option<u32>) -> Message {
        Message {
            kind,
            server: vec![9],
            elapsed: None,
            associations: vec![Association {
                status: code,
                t1: 10,
                t2: 20,
                prefixes: valid.map(prefix).into_iter().collect(),
                ..to.associations[0].clone()
            }],
            ..to.clone()
        }
    }

    fn bound(now: Instant) -> Session {
        let mut session = Session::new(DUID.into(), 7, None, now);
        let solicit = sent(&mut session, now).unwrap();
        assert_eq!((solicit.kind, session.text()), (kind::SOLICIT, None));
        assert!(session.receive(&answer(kind::ADVERTISE, &solicit, 0, Some(40)), now));
        let request = sent(&mut session, now).unwrap();
        assert_eq!(
            (request.kind, &request.server[..]),
            (kind::REQUEST, &[9][..])
        );
        assert_eq!(request.associations[0].prefixes, [prefix(40)]);
        assert!(session.receive(&answer(kind::REPLY, &request, 0, Some(40)), now));
        assert_eq!(session.text().as_deref(), Some("7:fd55::/64"));
        session
    }

    #[test]
    fn four_messages_give_a_prefix() {
        let now = Instant::now();
        let mut session = bound(now);
        assert_eq!(session.tick(now), None);
        assert_eq!(session.due(), Some(now + seconds(10)));
    }

    #[test]
    fn it_is_renewed_then_rebound_then_lost() {
        let start = Instant::now();
        let mut session = bound(start);
        let renew = sent(&mut session, start + seconds(10)).unwrap();
        assert_eq!((renew.kind, &renew.server[..]), (kind::RENEW, &[9][..]));
        assert!(session.receive(
            &answer(kind::REPLY, &renew, 0, Some(40)),
            start + seconds(10)
        ));
        assert_eq!(session.tick(start + seconds(19)), None);
        assert_eq!(
            sent(&mut session, start + seconds(20)).unwrap().kind,
            kind::RENEW
        );
        let rebind = sent(&mut session, start + seconds(30)).unwrap();
        assert_eq!((rebind.kind, rebind.server.len()), (kind::REBIND, 0));
        assert!(session.text().is_some());
        let again = sent(&mut session, start + seconds(50)).unwrap();
        assert_eq!((again.kind, session.text()), (kind::SOLICIT, None));
    }

    #[test]
    fn what_is_not_needed_is_given_back() {
        let start = Instant::now();
        let mut session = bound(start);
        assert!(session.release(start + seconds(1)));
        let release = sent(&mut session, start + seconds(1)).unwrap();
        assert_eq!(
            (release.kind, &release.server[..]),
            (kind::RELEASE, &[9][..])
        );
        assert_eq!(release.associations[0].prefixes, [prefix(40)]);
        assert!(!session.is_over());
        assert!(session.receive(
            &answer(kind::REPLY, &release, status::NO_BINDING, None),
            start + seconds(2)
        ));
        assert!(session.is_over() && session.due().is_none());
        assert_eq!(session.tick(start + seconds(60)), None);
        // Nobody answers, not even while it is valid.
        let mut session = bound(start);
        assert!(session.release(start));
        let mut times = Vec::new();
        while let Some(due) = session.due() {
            times.extend(session.tick(due).map(|_| (due - start).as_secs()));
        }
        assert_eq!((times.len(), session.is_over()), (4, true), "{times:?}");
        assert!(*times.last().unwrap() < 10, "{times:?}");
        // Nothing to give back, or nobody to give it to.
        let had = Some(("fd77::".parse().unwrap(), 60));
        for had in [None, had] {
            assert!(!Session::new(DUID.into(), 7, had, start).release(start));
        }
    }

    #[test]
    fn messages_are_repeated_ever_less() {
        let mut now = Instant::now();
        let mut session = Session::new(DUID.into(), 7, None, now);
        let mut pauses = Vec::new();
        for _ in 0..16 {
            assert_eq!(sent(&mut session, now).unwrap().kind, kind::SOLICIT);
            let due = session.due().unwrap();
            pauses.push((due - now).as_millis());
            now = due;
        }
        assert!((900..=1100).contains(&pauses[0]), "{pauses:?}");
        assert!((3_600_000 * 9 / 10..=3_960_000).contains(pauses.last().unwrap()));
    }

    #[test]
    fn an_earlier_prefix_is_asked_for_first() {
        let now = Instant::now();
        let had = || Some(("fd77::".parse().unwrap(), 60));
        let mut session = Session::new(DUID.into(), 7, had(), now);
        assert_eq!(session.text().as_deref(), Some("7:fd77::/60"));
        let rebind = sent(&mut session, now).unwrap();
        assert_eq!(rebind.kind, kind::REBIND);
        assert!(session.receive(&answer(kind::REPLY, &rebind, 0, Some(40)), now));
        assert_eq!(session.text().as_deref(), Some("7:fd55::/64"));
        // Nobody answers, or nobody knows of it.
        let mut session = Session::new(DUID.into(), 7, had(), now);
        let kinds: Vec<u8> = (0..5)
            .map(|n| sent(&mut session, now + seconds(n * 5)).unwrap().kind)
            .collect();
        assert_eq!(kinds, [6, 6, 6, 1, 1]);
        assert_eq!(session.text(), None);
        let mut session = Session::new(DUID.into(), 7, had(), now);
        let rebind = sent(&mut session, now).unwrap();
        session.receive(&answer(kind::REPLY, &rebind, status::NO_BINDING, None), now);
        assert_eq!(session.text(), None);
        assert_eq!(session.tick(now), None, "not at once");
        assert_eq!(
            sent(&mut session, now + seconds(2)).unwrap().kind,
            kind::SOLICIT
        );
    }

    #[test]
    fn answers_to_others_and_refusals() {
        let now = Instant::now();
        let mut session = Session::new(DUID.into(), 7, None, now);
        let solicit = sent(&mut session, now).unwrap();
        let good = answer(kind::ADVERTISE, &solicit, 0, Some(40));
        for bad in [
            Message {
                client: vec![1],
                ..good.clone()
            },
            Message {
                transaction: [0xff; 3],
                ..good.clone()
            },
        ] {
            assert!(!session.receive(&bad, now));
        }
        for useless in [
            answer(kind::ADVERTISE, &solicit, status::NO_PREFIX, None),
            answer(kind::REPLY, &solicit, 0, Some(40)),
            Message {
                associations: Vec::new(),
                ..good.clone()
            },
            Message {
                server: Vec::new(),
                ..good.clone()
            },
        ] {
            assert!(session.receive(&useless, now));
            assert_eq!(session.state, State::Soliciting);
        }
        session.receive(&good, now);
        let request = sent(&mut session, now).unwrap();
        session.receive(&answer(kind::REPLY, &request, 0, Some(0)), now);
        assert_eq!(
            (session.state.clone(), session.text()),
            (State::Soliciting, None)
        );
    }
}
